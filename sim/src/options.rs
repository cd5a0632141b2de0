//! What a run is asked to be. A run is a function of these values and nothing else.

use crate::explore::plant::Plant;
use crate::sharing::Sharing;
use crate::stage::Stage;
use crate::workload::Lengths;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;
use kaon_kernel::topology::UNITS_MAX;
use std::sync::Arc;

/// The most agents of a run.
pub const AGENTS_MAX: u32 = 1_000_000;
/// The most frameworks of a run.
pub const FRAMEWORKS_MAX: u32 = 100_000;
/// The most workers; more never helped, the master's machine is one.
pub const WORKERS_MAX: usize = 64;

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Machines in the pool.
    pub agents: u32,
    /// Simulated frameworks.
    pub frameworks: u32,
    /// Tasks of all frameworks together.
    pub tasks: u32,
    /// All chance comes from it.
    pub seed: u64,
    /// Worker threads. Any number gives the same trace.
    pub workers: usize,
    /// Whether the seed also chooses faults: crashes, partitions, losses, slow disks, panics.
    pub faults: bool,
    /// Of the faults that the seed chooses only these, by their place in [`crate::Report::faults`] of a run with all of them.
    pub kept_faults: Option<Vec<u32>>,
    /// A mistake to plant.
    pub plant: Option<Plant>,
    /// Processors of each machine.
    pub agent_cpus: Quantity,
    /// Memory of each machine in MiB.
    pub agent_mem: Quantity,
    /// Processors of each task.
    pub task_cpus: Quantity,
    /// Memory of each task in MiB.
    pub task_mem: Quantity,
    /// How long tasks run.
    pub lengths: Lengths,
    /// Some tasks fail by themselves and some are killed by their framework (2 % each), rather than all going well.
    pub varied: bool,
    /// Every task asks for processing units and memory of its own, packed.
    pub placed: bool,
    /// Frameworks reserve, make persistent volumes, run tasks on them and give them back; machines have disk.
    pub volumes: bool,
    /// Frameworks remove themselves when they are done.
    pub teardown: bool,
    /// Whether the report tells the course of each task, step by step: for holding a run against a real cluster.
    pub courses: bool,
    /// Who is next in the allocator.
    pub sharing: Sharing,
    /// Virtual time after which the run has failed if it is not done.
    pub deadline: Duration,
    /// Invariants of actors are asserted after each of so many events of a machine; `None` chooses by the size.
    pub invariants_every: Option<u64>,
    /// What a scenario says beyond this.
    pub stage: Option<Arc<Stage>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agents: 10,
            frameworks: 2,
            tasks: 100,
            seed: 1,
            workers: 1,
            faults: false,
            kept_faults: None,
            plant: None,
            agent_cpus: Quantity::units(8),
            agent_mem: Quantity::units(16_384),
            task_cpus: Quantity::units(1),
            task_mem: Quantity::units(512),
            lengths: Lengths::Uniform(1.0, 20.0),
            varied: true,
            placed: false,
            volumes: false,
            teardown: false,
            courses: false,
            sharing: Sharing::Drf,
            deadline: Duration::secs(6 * 3600),
            invariants_every: None,
            stage: None,
        }
    }
}

/// Options that make no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A number is out of its range.
    #[error("{name} must be between {least} and {most}, it is {value}")]
    Range {
        /// Which.
        name: &'static str,
        /// The smallest that is allowed.
        least: u64,
        /// The largest that is allowed.
        most: u64,
        /// What was asked for.
        value: u64,
    },
    /// No task would ever be launched.
    #[error("a task does not fit into a machine: it takes {task}, the machine has {agent} of {what}")]
    TooLarge {
        /// Of which resource.
        what: &'static str,
        /// What a task takes.
        task: Quantity,
        /// What a machine has.
        agent: Quantity,
    },
}

impl Options {
    /// Checks the ranges.
    pub fn check(&self) -> Result<(), Error> {
        let ranges = [
            ("agents", 1, u64::from(AGENTS_MAX), u64::from(self.agents)),
            ("frameworks", 1, u64::from(FRAMEWORKS_MAX), u64::from(self.frameworks)),
            ("tasks", 0, u64::from(u32::MAX), u64::from(self.tasks)),
            ("workers", 1, WORKERS_MAX as u64, self.workers as u64),
            ("invariants-every", 1, u64::MAX, self.invariants_every.unwrap_or(1)),
            // A role without a machine would never run its tasks.
            ("agents", self.sharing.machines_min(self.frameworks), u64::from(AGENTS_MAX), u64::from(self.agents)),
            // A machine whose places are told apart has a unit for each processor.
            ("agent-cpus", 1, UNITS_MAX as u64, if self.placed { self.agent_cpus.0.div_ceil(1000) } else { 1 }),
        ];
        for (name, least, most, value) in ranges {
            if !(least..=most).contains(&value) {
                return Err(Error::Range { name, least, most, value });
            }
        }
        let sizes = [("cpus", self.task_cpus, self.agent_cpus), ("mem", self.task_mem, self.agent_mem)];
        match sizes.into_iter().find(|(_, task, agent)| task > agent) {
            Some((what, task, agent)) => Err(Error::TooLarge { what, task, agent }),
            None => Ok(()),
        }
    }

    /// After how many events of a machine an actor's invariants are asserted: each one in a small world, seldom in a
    /// large one, where a walk over the master's tables costs as much as thousands of events.
    pub(crate) fn invariants_interval(&self) -> u64 {
        let size = u64::from(self.agents) * 4 + u64::from(self.tasks);
        self.invariants_every.unwrap_or(match size {
            0..=1_000 => 1,
            _ => size.saturating_mul(20),
        })
    }

    /// The one line that repeats this run.
    pub fn command(&self) -> String {
        if let Some(stage) = self.stage.as_ref().filter(|stage| !stage.repeat.is_empty()) {
            return stage.repeat.clone();
        }
        let default = Self::default();
        let mut line = format!(
            "kaon sim run --agents {} --frameworks {} --tasks {} --seed {} --workers {}",
            self.agents, self.frameworks, self.tasks, self.seed, self.workers
        );
        if self.faults {
            line.push_str(" --faults");
        }
        if let Some(kept) = &self.kept_faults {
            let kept: Vec<String> = kept.iter().map(u32::to_string).collect();
            line.push_str(&format!(
                " --keep-faults {}",
                if kept.is_empty() { "none".to_owned() } else { kept.join(",") }
            ));
        }
        if let Some(plant) = self.plant {
            line.push_str(" --plant ");
            line.push_str(plant.word());
        }
        let amounts = [
            ("agent-cpus", self.agent_cpus, default.agent_cpus),
            ("agent-mem", self.agent_mem, default.agent_mem),
            ("task-cpus", self.task_cpus, default.task_cpus),
            ("task-mem", self.task_mem, default.task_mem),
        ];
        for (name, amount, usual) in amounts {
            if amount != usual {
                line.push_str(&format!(" --{name} {amount}"));
            }
        }
        if self.lengths != default.lengths {
            line.push_str(&format!(" --lengths {}", self.lengths));
        }
        if !self.varied {
            line.push_str(" --plain");
        }
        if self.placed {
            line.push_str(" --placed");
        }
        if self.volumes {
            line.push_str(" --volumes");
        }
        if self.teardown {
            line.push_str(" --teardown");
        }
        if self.sharing != default.sharing {
            line.push_str(&format!(" --policy {}", self.sharing.name()));
        }
        if self.deadline != default.deadline {
            line.push_str(&format!(" --deadline {}", self.deadline.as_seconds()));
        }
        if let Some(every) = self.invariants_every {
            line.push_str(&format!(" --invariants-every {every}"));
        }
        line
    }
}
