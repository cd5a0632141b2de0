//! Offers that are held: until a whole gang fits into them, or for a while without a reason.

use super::offers::NO_USE;
use super::room::Room;
use super::{Client, ClientContext, Phase, Timer};
use crate::stage::Behaviour;
use kaon_kernel::id::{AgentId, OfferId};
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::task::{TaskInfo, TaskState};
use kaon_kernel::time::Duration;

/// An offer in hand.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: OfferId,
    pub(super) agent: AgentId,
    pub(super) machine: u32,
    pub(super) room: Room,
}

impl Client {
    /// How long it holds offers; none uses each at once.
    pub(super) fn holding(&self) -> Option<Duration> {
        match self.config.behaviour {
            Behaviour::Gang { holding, .. } | Behaviour::Mpi { holding, .. } | Behaviour::Hoarder { holding } => {
                Some(holding)
            }
            _ => None,
        }
    }

    /// Tasks of a gang; none where each starts by itself.
    fn gang(&self) -> Option<u32> {
        match self.config.behaviour {
            Behaviour::Gang { size, .. } | Behaviour::Mpi { size, .. } => Some(size.max(1)),
            _ => None,
        }
    }

    pub(super) fn hold(&mut self, offer: Held, wait: Duration, context: &mut ClientContext<'_>) {
        if self.held.is_empty() {
            context.arm(Timer::Hold, wait);
        }
        self.held.push(offer);
    }

    /// The master takes an offer back.
    pub(super) fn rescinded(&mut self, id: OfferId) {
        self.held.retain(|held| held.id != id);
    }

    /// Starts gangs as long as one fits as a whole into what is held; what nobody waits for is given back.
    pub(super) fn start_gangs(&mut self, context: &mut ClientContext<'_>) {
        let Some(size) = self.gang() else { return };
        while let Some(front) = self.queue.front().copied() {
            let gang = front / size * size..(front / size + 1) * size;
            let members: Vec<u32> = self.queue.iter().copied().filter(|job| gang.contains(job)).collect();
            let is_mpi = matches!(self.config.behaviour, Behaviour::Mpi { .. });
            let is_whole = |job: u32| self.jobs.get(job as usize).is_none_or(|job| job.phase != Phase::Launched);
            if is_mpi && !gang.clone().all(is_whole) {
                // Those of the last start have not all ended yet.
                return;
            }
            let mut rooms: Vec<Room> = self.held.iter().map(|held| held.room).collect();
            let mut places = Vec::with_capacity(members.len());
            for job in &members {
                let Some(place) = rooms.iter().position(|room| self.fits(*job, *room)) else { return };
                let plan = &self.jobs[*job as usize].plan;
                rooms[place] = rooms[place].without(plan.cpus.0, plan.mem.0);
                places.push(place);
            }
            self.queue.retain(|job| !gang.contains(job));
            let mut held = core::mem::take(&mut self.held);
            for (place, offer) in held.iter().enumerate() {
                let mine = members.iter().zip(&places).filter(|(_, at)| **at == place).map(|(job, _)| *job);
                let tasks: Vec<TaskInfo> =
                    mine.map(|job| self.launch(job, &offer.agent, offer.machine, context)).collect();
                if !tasks.is_empty() {
                    self.accept(offer.id, vec![OfferOperation::Launch { tasks }], context);
                }
            }
            let mut place = 0;
            held.retain(|_| {
                place += 1;
                !places.contains(&(place - 1))
            });
            self.held = held;
        }
        self.give_all_back(NO_USE, context);
    }

    /// It has held for long enough.
    pub(super) fn stop_holding(&mut self, context: &mut ClientContext<'_>) {
        if matches!(self.config.behaviour, Behaviour::Hoarder { .. }) {
            for held in core::mem::take(&mut self.held) {
                let tasks = self.fill(held.room, usize::MAX, (&held.agent, held.machine), context);
                if tasks.is_empty() {
                    self.tally.declined += 1;
                    self.call(
                        Call::Decline { offers: vec![ClientOffer::Known(held.id)], refusal: Refusal::DEFAULT },
                        context,
                    );
                } else {
                    self.accept(held.id, vec![OfferOperation::Launch { tasks }], context);
                }
            }
            self.ask_for_offers(context);
        } else {
            self.give_all_back(Refusal::DEFAULT, context);
        }
    }

    fn give_all_back(&mut self, refusal: Refusal, context: &mut ClientContext<'_>) {
        context.disarm(Timer::Hold);
        if self.held.is_empty() {
            return;
        }
        let offers: Vec<ClientOffer> = self.held.drain(..).map(|held| ClientOffer::Known(held.id)).collect();
        self.tally.declined += offers.len() as u64;
        self.call(Call::Decline { offers, refusal }, context);
    }

    /// A member of a gang is lost: in the manner of MPI the others end, and all start again.
    pub(super) fn member_lost(&mut self, number: u32, context: &mut ClientContext<'_>) {
        let Behaviour::Mpi { size, .. } = self.config.behaviour else { return };
        let first = number / size.max(1) * size.max(1);
        for other in first..(first + size).min(self.jobs.len() as u32) {
            let job = &mut self.jobs[other as usize];
            if job.phase == Phase::Launched && !job.restarting && job.state != TaskState::Finished {
                job.restarting = true;
                self.kill(other, context);
            }
        }
    }
}
