//! Places on the machine: exact processing units, memory nodes and GPUs for tasks that ask for them.
//!
//! A task that asks nothing and takes no GPU runs anywhere, and nothing is booked for it. A place is booked when the task
//! is planned, is on disk with it, and is given back when the task has ended, before the master hears of that.
//!
//! The master frees the resources of a framework that it removes while the agent still ends its tasks. Who gets them next
//! may come before the place is free. The offer was good, so the task is not refused: it stays staging, its container in
//! [`Stage::Waiting`], until what is ending has ended.

use crate::agent::Agent;
use crate::agent::checkpoint::{self, TaskRecord};
use crate::agent::container::{Container, Stage};
use crate::agent::launch::Refusal;
use crate::agent::state::Waiting;
use kaon_kernel::actor::{Batch, Context};
use kaon_kernel::placement::{Demand, DeviceShare, Placement, PlacementRequest, Reason};
use kaon_kernel::task::TaskInfo;

/// What a task asks of its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    demand: Demand,
    request: PlacementRequest,
}

/// What was found for a task.
pub(super) enum Seat {
    /// It runs anywhere.
    Anywhere,
    /// It has a place, which is booked.
    At(Placement),
    /// Its place is still held by what is ending.
    Later(Wish),
}

impl Agent {
    /// A place for a task, or why there is none.
    pub(super) fn seat(&mut self, task: &TaskInfo) -> Result<Seat, Refusal> {
        let demand = Demand::of(&task.resources)?;
        let takes_gpus = demand.gpus > 0 || !demand.devices.is_empty();
        let request = match &task.placement {
            Some(request) => (**request).clone(),
            None if takes_gpus && self.state.machine().is_some() => PlacementRequest::default(),
            None => return Ok(Seat::Anywhere),
        };
        let wish = Wish { demand, request };
        match self.state.place(&wish.demand, &wish.request) {
            Ok(placement) => Ok(Seat::At(placement)),
            Err(_) if self.comes_free(&wish) => Ok(Seat::Later(wish)),
            Err(reason) => Err(reason.into()),
        }
    }

    /// Places for tasks that share an executor, for each or for none. Such a task can't wait for its place: its executor may
    /// be there already.
    pub(super) fn seat_all(&mut self, tasks: &[TaskInfo]) -> Result<Vec<Option<Placement>>, Refusal> {
        let mut placements: Vec<Option<Placement>> = Vec::with_capacity(tasks.len());
        for task in tasks {
            let refusal = match self.seat(task) {
                Ok(Seat::Anywhere) => {
                    placements.push(None);
                    continue;
                }
                Ok(Seat::At(placement)) => {
                    placements.push(Some(placement));
                    continue;
                }
                Ok(Seat::Later(wish)) => match self.state.place(&wish.demand, &wish.request) {
                    Ok(placement) => {
                        placements.push(Some(placement));
                        continue;
                    }
                    Err(reason) => reason.into(),
                },
                Err(refusal) => refusal,
            };
            placements.iter().flatten().for_each(|placement| self.state.unplace(placement));
            return Err(refusal);
        }
        Ok(placements)
    }

    /// What stands around an executor whose tasks have these places: their GPUs are opened to all of it. Its processors are
    /// nobody's own, since tasks that come later may be anywhere; their places are booked all the same.
    pub(super) fn shared_place(placements: &[Option<Placement>]) -> Option<Placement> {
        let mut devices: Vec<DeviceShare> = Vec::new();
        for share in placements.iter().flatten().flat_map(|placement| &placement.devices) {
            match devices.iter_mut().find(|known| known.id == share.id) {
                Some(known) => {
                    known.share = known.share.saturating_add(share.share);
                    known.memory_bytes = known.memory_bytes.saturating_add(share.memory_bytes);
                }
                None => devices.push(share.clone()),
            }
        }
        devices.sort_by_key(|share| share.ordinal);
        (!devices.is_empty()).then(|| Placement { devices, ..Placement::default() })
    }

    /// Whether there is a place once the tasks of removed frameworks are gone.
    fn comes_free(&self, wish: &Wish) -> bool {
        let Some(mut machine) = self.state.machine().cloned() else { return false };
        let is_ending = |id| self.state.framework(id).is_none_or(|framework| framework.is_ending);
        let ending = self.state.tasks().filter(|(_, entry)| is_ending(&entry.framework_id));
        let held: Vec<&Placement> = ending.filter_map(|(_, entry)| entry.placement.as_ref()).collect();
        held.iter().for_each(|placement| machine.release(placement));
        !held.is_empty() && machine.place(&wish.demand, &wish.request).is_ok()
    }

    /// A planned container with what was found for it.
    pub(super) fn seated(&self, mut container: Container, seat: Seat) -> (Container, Option<Placement>) {
        match seat {
            Seat::Anywhere => (container, None),
            Seat::At(placement) => {
                container.settle_at(&placement);
                (container, Some(placement))
            }
            Seat::Later(wish) => {
                container.wait_for(wish);
                (container, None)
            }
        }
    }

    /// Gives containers that wait for a place what came free, the oldest first.
    pub(super) fn seat_waiting(&mut self, context: &mut Context<'_, Self>) {
        if !self.state.take_vacated() {
            return;
        }
        let waiting = self.state.containers().filter(|(_, one)| one.stage() == Stage::Waiting && one.wish().is_some());
        let waiting: Vec<u64> = waiting.map(|(number, _)| number).collect();
        for number in waiting {
            self.seat_one(number, context);
        }
    }

    /// Books the place of a container that waits, if it is free now, and writes it down; it is started then. One that can
    /// never be, since what was to come free was taken by another, is refused.
    pub(super) fn seat_one(&mut self, number: u64, context: &mut Context<'_, Self>) {
        let Some(wish) = self.state.container(number).and_then(Container::wish).cloned() else { return };
        let Some(task) = self.state.tasks_of_container(number).first().copied() else { return };
        match self.state.place(&wish.demand, &wish.request) {
            Ok(placement) => {
                if let Some(container) = self.state.container_mut(number) {
                    container.settle_at(&placement);
                }
                let container_id = self.state.container(number).map(|container| container.id().clone());
                let Some(entry) = self.state.task_mut(task) else { return };
                entry.placement = Some(placement);
                let record = TaskRecord {
                    framework_id: entry.framework_id.clone(),
                    info: entry.task.info.clone(),
                    executor_id: entry.task.executor_id.clone(),
                    container_id,
                    group: entry.group,
                    placement: entry.placement.clone(),
                };
                let mut batch = Batch::default();
                let key = checkpoint::task_key(&record.framework_id, &record.info.task_id);
                batch.put(key, checkpoint::write(&record));
                let ticket = context.persist(batch);
                self.state.wait(ticket, Waiting::Launch(number));
            }
            Err(_) if self.comes_free(&wish) => {}
            Err(reason) => self.refuse_place(number, task, reason, context),
        }
    }

    fn refuse_place(&mut self, number: u64, task: u64, reason: Reason, context: &mut Context<'_, Self>) {
        let refusal = Refusal::from(reason);
        let (state, reason) = refusal.verdict();
        self.tell(task, state, reason, refusal.to_string(), context);
        self.destroy(number, None, context);
    }
}
