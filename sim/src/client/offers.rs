//! Offers: as many tasks as fit, the rest declined.

use super::group::{EXECUTOR, EXECUTOR_DISK, GROUP_MAX, executor};
use super::held::Held;
use super::room::Room;
use super::task::task_id;
use super::{Client, ClientContext, Phase};
use crate::report::Course;
use crate::stage::Behaviour;
use crate::world::cast::machine_of;
use kaon_kernel::id::{AgentId, ArchivedOfferId, OfferId};
use kaon_kernel::maintenance::InverseAnswer;
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{ArchivedInverseOffer, ArchivedOffer, OfferOperation, Refusal};
use kaon_kernel::placement::{PlacementRequest, Policy};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::task::{CommandInfo, TaskInfo, TaskState};
use kaon_kernel::time::Duration;
use rkyv::rancor::Panic;

/// How long an agent without the data it waits for is not offered again.
const ELSEWHERE: Refusal = Refusal(Duration::millis(500));
/// How long it does not want an offer again that it has no use for at all.
pub(super) const NO_USE: Refusal = Refusal(Duration::secs(600));

impl Client {
    pub(super) fn on_offers(
        &mut self,
        offers: &rkyv::vec::ArchivedVec<ArchivedOffer>,
        context: &mut ClientContext<'_>,
    ) {
        let mut declined = Vec::new();
        for offer in offers.iter() {
            let known = |id: &ArchivedOfferId| ClientOffer::Known(OfferId(id.0.to_native()));
            let resources = rkyv::api::high::deserialize::<Resources, Panic>(&offer.resources);
            let resources = resources.unwrap_or_else(|never| match never {});
            let agent = AgentId::trusted(offer.agent_id.as_str());
            let machine = machine_of(offer.hostname.as_str());
            if let Some(wait) = self.holding() {
                let id = OfferId(offer.id.0.to_native());
                self.hold(Held { id, agent, machine, room: Room::of(&resources.unreserved()) }, wait, context);
                continue;
            }
            let mut left = resources;
            let mut operations = Vec::new();
            if self.config.volumes {
                let kept = if self.queue.is_empty() { None } else { self.kept_task(&mut left) };
                if let Some((before, used)) = kept
                    && let Some(job) = self.queue.pop_front()
                {
                    operations.extend(before);
                    let task = TaskInfo { resources: used, ..self.launch(job, &agent, machine, context) };
                    operations.push(OfferOperation::Launch { tasks: vec![task] });
                }
                operations.extend(self.give_back(&mut left, context));
            }
            let room = self.room(&left.unreserved());
            let most = if self.config.grouped { GROUP_MAX } else { usize::MAX };
            let tasks = self.fill(room, most, (&agent, machine), context);
            if tasks.is_empty() && operations.is_empty() {
                declined.push(known(&offer.id));
                continue;
            }
            if !tasks.is_empty() {
                operations.push(match self.config.grouped {
                    true => OfferOperation::LaunchGroup { executor: Box::new(executor(&tasks)), tasks },
                    false => OfferOperation::Launch { tasks },
                });
            }
            self.accept(OfferId(offer.id.0.to_native()), operations, context);
        }
        if !declined.is_empty() {
            self.tally.declined += declined.len() as u64;
            let refusal = match self.config.behaviour {
                Behaviour::Spark { refusal, .. } => Refusal(refusal),
                _ if self.queue.is_empty() => NO_USE,
                _ if self.waits_since.is_some() => ELSEWHERE,
                _ => Refusal::DEFAULT,
            };
            self.call(Call::Decline { offers: declined, refusal }, context);
        }
        self.start_gangs(context);
        self.ask_for_offers(context);
    }

    /// The framework is asked to leave machines: it says yes and ends what it has there, to launch it anew, or it says no, or
    /// nothing.
    pub(super) fn on_inverse_offers(
        &mut self,
        offers: &rkyv::vec::ArchivedVec<ArchivedInverseOffer>,
        context: &mut ClientContext<'_>,
    ) {
        for offer in offers.iter() {
            let answer = match context.chance().below(3) {
                0 => InverseAnswer::Accepted,
                1 => InverseAnswer::Declined,
                _ => continue,
            };
            let offers = vec![ClientOffer::Known(OfferId(offer.id.0.to_native()))];
            self.call(Call::AnswerInverse { offers, answer, refusal: Refusal::DEFAULT }, context);
            if answer == InverseAnswer::Accepted {
                self.leave(machine_of(offer.hostname.as_str()), context);
            }
        }
    }

    /// Ends all that runs on a machine, to launch it anew.
    fn leave(&mut self, machine: u32, context: &mut ClientContext<'_>) {
        for number in 0..self.jobs.len() as u32 {
            let job = &mut self.jobs[number as usize];
            if job.phase == Phase::Launched && job.machine == machine && !job.killing {
                job.restarting = true;
                self.kill(number, context);
            }
        }
    }

    /// What of an offer its tasks may take: an executor of groups takes its part first.
    fn room(&self, resources: &Resources) -> Room {
        let own = if self.config.grouped { EXECUTOR } else { (Quantity::ZERO, Quantity::ZERO) };
        if self.config.grouped && resources.scalar(&ResourceName::Disk) < EXECUTOR_DISK {
            return Room { cpus: 0, mem: 0 };
        }
        Room::of(resources).without(own.0.0, own.1.0)
    }

    /// The launch of a job on an agent, which is counted from here on.
    pub(super) fn launch(
        &mut self,
        number: u32,
        agent: &AgentId,
        machine: u32,
        context: &mut ClientContext<'_>,
    ) -> TaskInfo {
        if let Some(copies) = self.config.copies.get(number as usize) {
            let local = copies.contains(&machine);
            self.tally.local += u64::from(local);
            self.tally.remote += u64::from(!local);
        }
        if let Some(courses) = self.courses.as_mut() {
            let launched_seconds = context.now().0 as f64 / 1e9;
            let (task, acceptance) = ((self.config.number, number), self.tally.accepted);
            courses.push(Course { task, acceptance, launched_seconds, statuses: Vec::new() });
        }
        let job = &mut self.jobs[number as usize];
        self.tally.relaunched += u64::from(job.attempt > 0);
        job.phase = Phase::Launched;
        job.state = TaskState::Staging;
        job.heard = context.now();
        job.killing = false;
        job.restarting = false;
        job.machine = machine;
        job.agent = Some(agent.clone());
        let value = Some(job.plan.command());
        TaskInfo {
            name: format!("{}-{number}", self.config.name),
            resources: Resources::cpus_and_mem(job.plan.cpus, job.plan.mem),
            command: Some(CommandInfo { shell: true, value, ..CommandInfo::default() }),
            checks: job.plan.checks(),
            placement: self
                .config
                .placed
                .then(|| Box::new(PlacementRequest { policy: Policy::Packed, ..PlacementRequest::default() })),
            ..TaskInfo::bare(task_id(number, job.attempt), agent.clone(), self.config.role.clone())
        }
    }
}
