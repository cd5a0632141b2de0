//! What fits into an offer, and who is next: in order of submission, or beside its data.

use super::{Client, ClientContext, Phase};
use kaon_kernel::id::AgentId;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::task::TaskInfo;
use kaon_kernel::time::Instant;

/// So many waiting tasks are looked at for one that fits.
const LOOKED_AT: usize = 64;
/// So many are looked at for one whose data lie on the agent.
const LOOKED_AT_FOR_DATA: usize = 4096;

/// What is left of an offer: processors in thousandths, memory in thousandths of a MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) cpus: u64,
    pub(super) mem: u64,
}

impl Room {
    pub(super) fn of(resources: &Resources) -> Self {
        Self { cpus: resources.scalar(&ResourceName::Cpus).0, mem: resources.scalar(&ResourceName::Mem).0 }
    }

    /// Without so much; none left of what does not suffice.
    pub(super) fn without(self, cpus: u64, mem: u64) -> Self {
        Self { cpus: self.cpus.saturating_sub(cpus), mem: self.mem.saturating_sub(mem) }
    }
}

impl Client {
    /// Whether a job fits.
    pub(super) fn fits(&self, job: u32, room: Room) -> bool {
        let plan = &self.jobs[job as usize].plan;
        plan.cpus.0 <= room.cpus && plan.mem.0 <= room.mem
    }

    /// Launches up to `most` tasks of those that wait on an agent, as far as there is room.
    pub(super) fn fill(
        &mut self,
        mut room: Room,
        most: usize,
        (agent, machine): (&AgentId, u32),
        context: &mut ClientContext<'_>,
    ) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        while tasks.len() < most
            && let Some(position) = self.next_job(room, machine, context.now())
            && let Some(job) = self.queue.remove(position)
        {
            let plan = &self.jobs[job as usize].plan;
            room = room.without(plan.cpus.0, plan.mem.0);
            if tasks.is_empty() {
                // All alike, as a rule.
                let like = room.cpus / plan.cpus.0.max(1) + 1;
                tasks.reserve_exact((like as usize).min(self.queue.len() + 1).min(most));
            }
            let task = self.launch(job, agent, machine, context);
            tasks.push(task);
        }
        tasks
    }

    /// The place in the queue of the task to launch next on an agent.
    fn next_job(&mut self, room: Room, machine: u32, now: Instant) -> Option<usize> {
        if self.queue.is_empty() || self.is_at_its_bound() {
            return None;
        }
        let first = || self.queue.iter().take(LOOKED_AT).position(|job| self.fits(*job, room));
        if self.config.copies.is_empty() {
            return first();
        }
        let is_local = |job: &u32| self.config.copies[*job as usize].contains(&machine) && self.fits(*job, room);
        if let Some(position) = self.queue.iter().take(LOOKED_AT_FOR_DATA).position(is_local) {
            self.waits_since = None;
            return Some(position);
        }
        let position = first()?;
        let since = *self.waits_since.get_or_insert(now);
        (now.since(since) >= self.config.wait).then_some(position)
    }

    /// Whether as many tasks run as it wants at a time.
    fn is_at_its_bound(&self) -> bool {
        self.most_at_once().is_some_and(|most| {
            self.jobs.iter().filter(|job| job.phase == Phase::Launched).take(most as usize).count() == most as usize
        })
    }
}
