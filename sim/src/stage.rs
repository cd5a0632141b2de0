//! What only scenarios say of a run: machines that differ, groups of frameworks with their behaviours and workloads, the network,
//! troubles at stated times, churn.

use crate::workload::generate::Law;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;

/// What a scenario says beyond sizes and numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// The command that repeats the run; empty where the flags of a cluster do.
    pub repeat: String,
    /// Processors and memory in MiB of each agent, when they are not all alike.
    pub sizes: Vec<(Quantity, Quantity)>,
    /// Agents of a rack, in order of their numbers; zero for no racks.
    pub rack: u32,
    /// Racks of a zone; zero for no zones.
    pub zone: u32,
    /// Who schedules; empty for frameworks that are all alike.
    pub groups: Vec<Group>,
    /// Waits of all frameworks with data, in place of their groups' own.
    pub wait: Option<Duration>,
    /// How messages travel between machines.
    pub network: Option<Network>,
    /// What goes wrong when.
    pub incidents: Vec<Incident>,
    /// Agents that come late, leave and fail.
    pub churn: Churn,
    /// Whether the course of every task is reported.
    pub is_recorded: bool,
}

/// Frameworks that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// A word; metrics and roles are named after it.
    pub name: String,
    /// How many.
    pub frameworks: u32,
    /// How they take offers, and what they do with their tasks.
    pub behaviour: Behaviour,
    /// The class of their role, for strict priority.
    pub class: u32,
    /// Delay scheduling: agents, drawn by the seed, that hold the data of each task.
    pub replicas: u32,
    /// Delay scheduling: how long a framework waits for one of them.
    pub wait: Duration,
    /// What each of them has to do.
    pub work: Work,
}

/// How a framework takes offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As many tasks as fit into each offer.
    Batch,
    /// The same; tasks run until the framework ends them, so long after each was seen to run.
    Service,
    /// Tasks start in gangs of so many: offers are held up to this time until a whole gang fits.
    Gang {
        /// Tasks of a gang.
        size: u32,
        /// How long an offer is held.
        holding: Duration,
    },
    /// A gang in which the loss of one task ends and starts all.
    Mpi {
        /// Tasks of a gang.
        size: u32,
        /// How long an offer is held.
        holding: Duration,
    },
    /// At most so many tasks at a time; what is not needed is declined for a long time, as Spark does.
    Spark {
        /// Tasks at a time.
        executors: u32,
        /// How long a declined offer is not wanted again.
        refusal: Duration,
    },
    /// Offers are sat on for this time before they are used.
    Hoarder {
        /// How long.
        holding: Duration,
    },
    /// Tasks fail as soon as they have run; each is launched so many times.
    CrashLooper {
        /// Launches of each task.
        attempts: u32,
    },
}

/// What a framework has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Tasks that are drawn.
    Drawn {
        /// How many a framework has.
        tasks: u32,
        /// Processors of each.
        cpus: Quantity,
        /// Memory of each in MiB.
        mem: Quantity,
        /// How long they run, in seconds.
        lengths: Law,
        /// Mean time between two submissions (Poisson); zero for all at the beginning.
        gap: Duration,
    },
    /// Tasks of a trace, by framework.
    Listed(Vec<Vec<Listed>>),
}

/// A task of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its job.
    pub job: u64,
    /// When it is submitted, from the beginning of the run.
    pub submit: Duration,
    /// How long it runs.
    pub length: Duration,
    /// Processors.
    pub cpus: Quantity,
    /// Memory in MiB.
    pub mem: Quantity,
}

/// How messages travel between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest time from machine to machine; above zero.
    pub least: Duration,
    /// Evenly spread so far above it.
    pub spread: Duration,
    /// So many of a million messages take 20 times the spread.
    pub tail_parts: u32,
    /// So many of a million messages break their session, until `lossy`.
    pub loss_parts: u32,
    /// Until when messages are lost.
    pub lossy: Duration,
    /// Bytes in a second that leave a machine; zero for no bound.
    pub bytes_per_second: u64,
}

/// A trouble at a stated time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// What it is.
    pub trouble: Trouble,
    /// Whom it strikes.
    pub whom: Whom,
}

/// What can go wrong at a stated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The process ends without warning, and comes back.
    Crash,
    /// The machine loses its power, and gets it back.
    Power,
    /// One executor of an agent ends.
    Executor,
    /// The line to the master is cut in both directions.
    Partition,
    /// Only towards the master.
    PartitionTo,
    /// Only from the master.
    PartitionFrom,
    /// The line is cut and mended again and again.
    Flapping,
    /// Flushes take 100 times as long.
    SlowDisk,
    /// Nothing can be written.
    FullDisk,
    /// The machine stands still; its clock runs on.
    Pause,
    /// Every message costs its actors 5 ms.
    Slow,
    /// The wall clock is 30 s ahead.
    Clock,
    /// An operator drains the agent, and reactivates it at the end.
    Drain,
    /// An operator deactivates the agent, and reactivates it at the end.
    Deactivate,
    /// An operator marks the agent gone, and starts a new one on its machine at the end.
    Gone,
    /// An operator schedules the machine, brings it down half-way, and up at the end.
    Maintenance,
}

impl Trouble {
    /// Every trouble with its word.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::Crash, "crash"),
        (Self::Power, "power"),
        (Self::Executor, "executor"),
        (Self::Partition, "partition"),
        (Self::PartitionTo, "partition-to-master"),
        (Self::PartitionFrom, "partition-from-master"),
        (Self::Flapping, "flapping"),
        (Self::SlowDisk, "slow-disk"),
        (Self::FullDisk, "full-disk"),
        (Self::Pause, "pause"),
        (Self::Slow, "slow"),
        (Self::Clock, "clock"),
        (Self::Drain, "drain"),
        (Self::Deactivate, "deactivate"),
        (Self::Gone, "gone"),
        (Self::Maintenance, "maintenance"),
    ];

    /// Whether it is what an operator does to an agent.
    pub fn is_an_operators(self) -> bool {
        matches!(self, Self::Drain | Self::Deactivate | Self::Gone | Self::Maintenance)
    }
}

/// Whom a trouble strikes. Numbers count from one, as agents are named; those of racks and zones from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The master.
    Master,
    /// One agent.
    Agent(u32),
    /// All agents of a rack.
    Rack(u32),
    /// All agents of a zone.
    Zone(u32),
    /// So many of a hundred agents, drawn by the seed.
    Percent(u32),
    /// One framework, from zero.
    Framework(u32),
}

/// A text names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is master, agent:NUMBER, rack:NUMBER, zone:NUMBER, framework:NUMBER or agents:PERCENT%, not {0:?}")]
pub struct WhomError(String);

impl core::str::FromStr for Whom {
    type Err = WhomError;

    fn from_str(text: &str) -> Result<Self, WhomError> {
        let wrong = || WhomError(text.to_owned());
        if text == "master" {
            return Ok(Self::Master);
        }
        let (kind, number) = text.split_once(':').ok_or_else(wrong)?;
        let count = |number: &str| number.parse::<u32>().map_err(|_| wrong());
        match kind {
            "agent" => count(number).and_then(|number| if number > 0 { Ok(Self::Agent(number)) } else { Err(wrong()) }),
            "rack" => count(number).map(Self::Rack),
            "zone" => count(number).map(Self::Zone),
            "framework" => count(number).map(Self::Framework),
            "agents" => count(number.strip_suffix('%').ok_or_else(wrong)?).map(Self::Percent),
            _ => Err(wrong()),
        }
    }
}

/// Agents that come late, leave and fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// So many agents, the last ones, are not there at the beginning.
    pub joining: u32,
    /// They come evenly spread over this time.
    pub over: Duration,
    /// Mean time between two losses of power of some agent (Poisson); zero for none.
    pub failing: Duration,
    /// Mean time until it has power again.
    pub away: Duration,
    /// Nothing fails after this.
    pub until: Duration,
}

impl Group {
    /// Its role, which has its name.
    pub fn role(&self) -> RoleName {
        RoleName::trusted(self.name.clone())
    }

    /// Tasks of all its frameworks.
    pub fn tasks(&self) -> u32 {
        match &self.work {
            Work::Drawn { tasks, .. } => tasks.saturating_mul(self.frameworks),
            Work::Listed(lists) => lists.iter().map(|list| list.len() as u32).sum(),
        }
    }
}

impl Stage {
    /// Whether it says nothing that a run of numbers alone does not have.
    pub fn is_plain(&self) -> bool {
        self.sizes.is_empty() && self.groups.is_empty() && self.incidents.is_empty() && self.churn == Churn::default()
    }

    /// The group of a framework, and its place in it.
    pub(crate) fn group(&self, number: u32) -> Option<(&Group, u32)> {
        let mut first = 0;
        for group in &self.groups {
            if number - first < group.frameworks {
                return Some((group, number - first));
            }
            first += group.frameworks;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_struck_is_read() {
        for (text, whom) in [
            ("master", Whom::Master),
            ("agent:3", Whom::Agent(3)),
            ("rack:0", Whom::Rack(0)),
            ("zone:1", Whom::Zone(1)),
            ("agents:25%", Whom::Percent(25)),
            ("framework:0", Whom::Framework(0)),
        ] {
            assert_eq!(text.parse(), Ok(whom));
        }
        for text in ["", "agent", "agent:0", "agent:x", "agents:25", "servant:1"] {
            assert!(text.parse::<Whom>().is_err(), "{text}");
        }
    }
}
