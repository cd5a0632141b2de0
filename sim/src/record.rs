//! What a simulated run leaves behind, whatever engine made it: one record a task, the capacity it ran on, what the
//! schedulers did, and a digest of all of it.
//!
//! The batch engines and the architectures fill these; metrics are computed
//! from them elsewhere. Times are microseconds from the start of the workload; resources are whole thousandths and MiB,
//! as the rules of the policies ask. Two runs with equal records have equal digests on any machine.

use xxhash_rust::xxh3::Xxh3;

/// One task: what it asked for, and when it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// The job it belongs to, as the workload numbers it.
    pub job: u64,
    /// Its place in the job, from zero.
    pub task: u32,
    /// The tenant (user, role, framework).
    pub tenant: u32,
    /// When it was submitted.
    pub submit_us: i64,
    /// When it first started; none when it never did.
    pub start_us: Option<i64>,
    /// When it ended; none when it was still waiting or running at the end of the run, or was given up.
    pub end_us: Option<i64>,
    /// Its processing time without any waiting.
    pub run_us: i64,
    /// CPU held while it runs, in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory held while it runs, in MiB.
    pub mem_mib: u64,
    /// GPU held while it runs, in thousandths of a GPU.
    pub gpus_milli: u64,
    /// The node it last ran on; none when it never started or where the engine does not know nodes.
    pub node: Option<u32>,
}

/// The capacity a run had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Nodes; zero where the engine knows one pool only.
    pub nodes: u64,
    /// CPU in thousandths of a core. A processor of a batch log is one core.
    pub cpus_milli: u64,
    /// Memory in MiB; zero where the workload does not name any.
    pub mem_mib: u64,
    /// GPUs in thousandths; zero where there is none.
    pub gpus_milli: u64,
}

/// What one scheduler of an architecture did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulerRecord {
    /// Its name, as the parameters gave it.
    pub name: String,
    /// Time it spent deciding, over the whole run.
    pub busy_us: i64,
    /// The same by day (86,400 s) of the run, in order.
    pub busy_by_day_us: Vec<i64>,
    /// Attempts to place a job.
    pub attempts: u64,
    /// Commits in which at least one claim conflicted.
    pub conflicted: u64,
    /// Commits by which at least one task was placed.
    pub committed: u64,
    /// Claims (tasks) that conflicted.
    pub claims_conflicted: u64,
    /// Claims (tasks) that were accepted.
    pub claims_accepted: u64,
    /// Offers received, where there are offers.
    pub offers: u64,
    /// Of these, offers of which nothing was used.
    pub offers_declined: u64,
    /// Jobs all of whose tasks were placed.
    pub jobs_placed: u64,
    /// Jobs given up.
    pub jobs_abandoned: u64,
}

/// What became of one job at its scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// The job, as in its tasks.
    pub job: u64,
    /// Index into [`Records::schedulers`].
    pub scheduler: u32,
    /// When it was submitted.
    pub submit_us: i64,
    /// When its scheduler first began to think about it; none when it never did.
    pub first_attempt_us: Option<i64>,
    /// When its last task was placed; none when some never were.
    pub placed_us: Option<i64>,
    /// Attempts made.
    pub attempts: u32,
    /// Attempts that met a conflict.
    pub conflicts: u32,
    /// Given up.
    pub abandoned: bool,
}

/// Where tasks with preferences ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// On a preferred node.
    pub node: u64,
    /// On another node of a preferred rack.
    pub rack: u64,
    /// Anywhere else.
    pub elsewhere: u64,
}

/// Everything a run leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Every task of the workload, in the order of the workload, unfinished ones included.
    pub tasks: Vec<TaskRecord>,
    /// What they ran on.
    pub capacity: Capacity,
    /// The names of the tenants, by number; empty where they have none. No part of the trace hash.
    pub tenants: Vec<String>,
    /// Schedulers, where the engine models them.
    pub schedulers: Vec<SchedulerRecord>,
    /// Jobs at their schedulers, where the engine models them; in the order of the workload.
    pub jobs: Vec<JobRecord>,
    /// Locality of the tasks that had preferences.
    pub locality: Locality,
    /// Times a running task was thrown back into the queue.
    pub preemptions: u64,
    /// Events handled: the measure of the engine's own speed.
    pub events: u64,
}

impl Records {
    /// The trace hash: all that is in the records, in order. Linear in their size.
    pub fn trace_hash(&self) -> u64 {
        let mut digest = Digest::new();
        digest.unsigned(self.tasks.len() as u64);
        for task in &self.tasks {
            task.feed(&mut digest);
        }
        for part in [self.capacity.nodes, self.capacity.cpus_milli, self.capacity.mem_mib, self.capacity.gpus_milli] {
            digest.unsigned(part);
        }
        digest.unsigned(self.schedulers.len() as u64);
        for scheduler in &self.schedulers {
            scheduler.feed(&mut digest);
        }
        digest.unsigned(self.jobs.len() as u64);
        for job in &self.jobs {
            job.feed(&mut digest);
        }
        for part in [self.locality.node, self.locality.rack, self.locality.elsewhere, self.preemptions, self.events] {
            digest.unsigned(part);
        }
        digest.finish()
    }
}

impl TaskRecord {
    fn feed(&self, digest: &mut Digest) {
        digest.unsigned(self.job);
        digest.unsigned(u64::from(self.task));
        digest.unsigned(u64::from(self.tenant));
        digest.signed(self.submit_us);
        digest.maybe(self.start_us);
        digest.maybe(self.end_us);
        digest.signed(self.run_us);
        digest.unsigned(self.cpus_milli);
        digest.unsigned(self.mem_mib);
        digest.unsigned(self.gpus_milli);
        digest.maybe(self.node.map(i64::from));
    }
}

impl SchedulerRecord {
    fn feed(&self, digest: &mut Digest) {
        digest.text(&self.name);
        digest.signed(self.busy_us);
        digest.unsigned(self.busy_by_day_us.len() as u64);
        self.busy_by_day_us.iter().for_each(|day| digest.signed(*day));
        for part in [
            self.attempts,
            self.conflicted,
            self.committed,
            self.claims_conflicted,
            self.claims_accepted,
            self.offers,
            self.offers_declined,
            self.jobs_placed,
            self.jobs_abandoned,
        ] {
            digest.unsigned(part);
        }
    }
}

impl JobRecord {
    fn feed(&self, digest: &mut Digest) {
        digest.unsigned(self.job);
        digest.unsigned(u64::from(self.scheduler));
        digest.signed(self.submit_us);
        digest.maybe(self.first_attempt_us);
        digest.maybe(self.placed_us);
        digest.unsigned(u64::from(self.attempts));
        digest.unsigned(u64::from(self.conflicts));
        digest.unsigned(u64::from(self.abandoned));
    }
}

/// A hash of a sequence of values, the same on every machine (XXH3, 64 bits, little-endian, no seed). Not for secrets.
#[derive(Clone, Default)]
pub struct Digest(Xxh3);

impl core::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Digest({:016x})", self.finish())
    }
}

impl Digest {
    /// Nothing fed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds an unsigned number.
    pub fn unsigned(&mut self, value: u64) {
        self.0.update(&value.to_le_bytes());
    }

    /// Feeds a signed number.
    pub fn signed(&mut self, value: i64) {
        self.0.update(&value.to_le_bytes());
    }

    /// Feeds a number that may be missing; none differs from every number.
    pub fn maybe(&mut self, value: Option<i64>) {
        self.unsigned(u64::from(value.is_some()));
        self.signed(value.unwrap_or_default());
    }

    /// Feeds a text with its length, so that two texts are not one.
    pub fn text(&mut self, value: &str) {
        self.unsigned(value.len() as u64);
        self.0.update(value.as_bytes());
    }

    /// The hash of what was fed so far.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(end_us: Option<i64>) -> Records {
        let task = TaskRecord {
            job: 7,
            task: 0,
            tenant: 1,
            submit_us: 0,
            start_us: Some(5),
            end_us,
            run_us: 10,
            cpus_milli: 1000,
            mem_mib: 0,
            gpus_milli: 0,
            node: None,
        };
        Records { tasks: vec![task], ..Records::default() }
    }

    #[test]
    fn the_hash_tells_records_apart() {
        assert_eq!(record(Some(15)).trace_hash(), record(Some(15)).trace_hash());
        let hashes = [record(Some(15)), record(Some(0)), record(None), Records::default()].map(|one| one.trace_hash());
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{hashes:x?}");
        }
    }

    #[test]
    fn the_hash_does_not_change_from_build_to_build() {
        let mut digest = Digest::new();
        digest.text("kaon");
        digest.maybe(None);
        digest.signed(-1);
        assert_eq!(format!("{digest:?}"), "Digest(259b4f5c829cc768)");
    }
}
