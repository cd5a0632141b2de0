//! What a run found out, as values, as JSON, and as a table for people.

use crate::record::Records;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Runs over every event that was delivered, in hex. Equal seeds have equal traces, with any number of workers.
    pub trace_hash: String,
    /// The seed.
    pub seed: u64,
    /// Machines in the pool.
    pub agents: u32,
    /// Frameworks.
    pub frameworks: u32,
    /// Workers.
    pub workers: usize,
    /// Tasks by the name of their last state; `open` are those that have none yet.
    pub tasks: BTreeMap<String, u64>,
    /// Launches of tasks that the cluster had lost.
    pub relaunched: u64,
    /// Subscriptions after the first.
    pub resubscribed: u64,
    /// Frameworks that the master has removed.
    pub frameworks_removed: u64,
    /// Offers taken.
    pub offers_accepted: u64,
    /// Offers declined.
    pub offers_declined: u64,
    /// Calls that the master had no room for; their frameworks said them again.
    pub calls_turned_away: u64,
    /// Statuses told to frameworks.
    pub statuses: u64,
    /// Events delivered.
    pub events: u64,
    /// Events in a second of wall time.
    pub events_per_second: f64,
    /// Virtual time in seconds.
    pub simulated_seconds: f64,
    /// Wall time in seconds.
    pub wall_seconds: f64,
    /// The largest resident memory of the process so far in bytes.
    pub peak_memory_bytes: u64,
    /// What went wrong on its way.
    pub mishaps: Mishaps,
    /// The faults that were planned, in words, in order.
    pub faults: Vec<String>,
    /// What the actors recorded, added up over the cluster.
    pub metrics: BTreeMap<String, f64>,
    /// The course of each task, when it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub courses: Vec<Course>,
    /// What was reached at all: each way a status was worded (state, source, reason), each counter of an actor that moved.
    /// Rare branches show as marks that few seeds have.
    pub marks: BTreeSet<String>,
    /// Every task as a record, when a scenario asked for it.
    #[serde(skip)]
    pub records: Option<Records>,
    /// Claims that did not hold; empty when all is well.
    pub failures: Vec<Failure>,
}

/// What a framework saw of one launch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Course {
    /// Framework and task, as they are numbered.
    pub task: (u32, u32),
    /// Which of the framework's acceptances launched it, from zero.
    pub acceptance: u64,
    /// When, in seconds of virtual time.
    pub launched_seconds: f64,
    /// Each status with who says so and when, in order.
    pub statuses: Vec<(String, String, f64)>,
}

/// What was lost, refused and ended before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mishaps {
    /// Frames between processes.
    pub frames: u64,
    /// Of these, how many found no session or a broken one.
    pub frames_dropped: u64,
    /// Messages that a full mailbox refused.
    pub messages_refused: u64,
    /// Frames that their senders repeated.
    pub frames_twice: u64,
    /// Messages for an actor that was not there.
    pub messages_misdirected: u64,
    /// Sessions that a lost frame broke.
    pub sessions_broken: u64,
    /// Panics healed.
    pub panics: u64,
    /// Processes that ended before their time.
    pub crashes: u64,
}

/// A claim that did not hold, and how to see it again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Which claim.
    pub claim: String,
    /// What was seen.
    pub words: String,
    /// On which machine.
    pub place: String,
    /// When, in seconds of virtual time.
    pub at_seconds: f64,
    /// The seed.
    pub seed: u64,
    /// One line that repeats the run.
    pub repeat: String,
    /// The last events before it, one line each.
    pub story: Vec<String>,
}

impl Report {
    /// Whether every claim held.
    pub fn is_well(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "claim broken: {}", self.claim)?;
        writeln!(formatter, "  {} ({}, {:.6} s, seed {})", self.words, self.place, self.at_seconds, self.seed)?;
        writeln!(formatter, "  repeat: {}", self.repeat)?;
        for line in &self.story {
            writeln!(formatter, "  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(formatter, "{name:<24}{value:>20}");
        row("agents", self.agents.to_string())?;
        row("frameworks", self.frameworks.to_string())?;
        for (state, count) in &self.tasks {
            row(&format!("tasks {state}"), count.to_string())?;
        }
        row("launched anew", self.relaunched.to_string())?;
        row("subscribed anew", self.resubscribed.to_string())?;
        row("offers accepted", self.offers_accepted.to_string())?;
        row("offers declined", self.offers_declined.to_string())?;
        row("calls turned away", self.calls_turned_away.to_string())?;
        row("statuses", self.statuses.to_string())?;
        row("faults planned", self.faults.len().to_string())?;
        row("crashes", self.mishaps.crashes.to_string())?;
        row("panics healed", self.mishaps.panics.to_string())?;
        row("frames", self.mishaps.frames.to_string())?;
        row("frames dropped", self.mishaps.frames_dropped.to_string())?;
        row("events", self.events.to_string())?;
        row("events a second", format!("{:.0}", self.events_per_second))?;
        row("virtual time", format!("{:.1} s", self.simulated_seconds))?;
        row("wall time", format!("{:.2} s", self.wall_seconds))?;
        row("peak memory", format!("{:.0} MiB", self.peak_memory_bytes as f64 / f64::from(1 << 20)))?;
        row("trace hash", self.trace_hash.clone())?;
        row("failures", self.failures.len().to_string())?;
        self.failures.iter().try_for_each(|failure| write!(formatter, "\n{failure}"))
    }
}

/// The result of many seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Exploration {
    /// Seeds that ran.
    pub seeds: u64,
    /// Events of all of them.
    pub events: u64,
    /// Faults planned in all of them.
    pub faults: u64,
    /// Tasks launched anew in all of them.
    pub relaunched: u64,
    /// What was reached, and by how many seeds.
    pub marks: BTreeMap<String, u64>,
    /// What failed, by seed.
    pub failures: Vec<Failure>,
}
