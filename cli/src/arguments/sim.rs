//! Arguments of the simulator's commands.

use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `kaon sim`.
#[derive(Subcommand, Debug)]
pub(crate) enum Sim {
    /// Run a scenario and report; without one, one simulated cluster from the flags.
    Run(SimRun),
    /// Run a scenario with many seeds, and keep those for which a claim does not hold.
    Explore(Explore),
    /// Run again what was recorded, or one seed of a scenario, and tell whether the same comes out.
    Replay(Replay),
    /// Set two studies side by side.
    Compare(Compare),
    /// List scenarios, workload formats, policies and metrics.
    List(SimList),
    /// Run a scenario and judge assertions about it; the exit code is 1 when one does not hold.
    Check(Check),
    /// Convert a workload or a list of nodes to the native CSV.
    Convert(Convert),
    /// Serve the master's HTTP API with a simulated cluster behind it, in virtual time.
    Serve(Serve),
}

/// A scenario, and how it is run.
#[derive(Args, Debug, Clone)]
pub(crate) struct Scenario {
    /// Set a key of the scenario, such as `workload.tasks=PATH`; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Policies in place of the scenario's.
    #[arg(long, value_name = "NAME,..")]
    pub(crate) policy: Option<String>,
    /// Count bad rows of the inputs and go on, in place of stopping at the first: `workload.lenient=true`.
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Runs at a time; as many as the machine has threads when not given.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
    /// Where the summary, the report and the tables are written.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `kaon sim explore`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Explore {
    /// The scenario: a file, or the name of one that is shipped.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// The seeds, such as `1-1000`; the scenario's when not given.
    #[arg(long)]
    pub(crate) seeds: Option<String>,
    /// Make the first run that fails smaller: fewer agents, frameworks, tasks and faults. For scenarios of whole clusters.
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) how: Scenario,
}

/// `kaon sim replay`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Replay {
    /// A seed; or a summary, or the folder it is in.
    #[arg(value_name = "SEED|FILE")]
    pub(crate) what: String,
    /// The scenario of the seed.
    #[arg(long, value_name = "SCENARIO", default_value = "chaos")]
    pub(crate) scenario: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) how: Scenario,
}

/// `kaon sim compare`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Compare {
    /// The folder of the first study.
    #[arg(value_name = "DIR")]
    pub(crate) before: PathBuf,
    /// The folder of the second.
    #[arg(value_name = "DIR")]
    pub(crate) after: PathBuf,
    /// Show the differences that may be chance, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kaon sim run`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SimRun {
    /// The scenario: a file, or the name of one that is shipped. Flags that describe a cluster are for runs without one.
    #[arg(
        value_name = "SCENARIO",
        conflicts_with_all = ["agents", "volumes", "frameworks", "tasks", "seed", "workers", "faults", "agent_cpus", "agent_mem", "task_cpus",
            "task_mem", "lengths", "plain", "placed", "teardown", "deadline", "invariants_every", "plant", "keep_faults", "shrink"]
    )]
    pub(crate) scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) how: Scenario,
    /// How many agents.
    #[arg(long, default_value_t = 100)]
    pub(crate) agents: u32,
    /// How many frameworks.
    #[arg(long, default_value_t = 2)]
    pub(crate) frameworks: u32,
    /// How many tasks, over all frameworks.
    #[arg(long, default_value_t = 1000)]
    pub(crate) tasks: u32,
    /// The seed: same seed, same run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// With a scenario its seeds, such as `1-10`; else run so many seeds, counting up from `--seed`, and report failures.
    #[arg(long)]
    pub(crate) seeds: Option<String>,
    /// Worker threads; the result is the same with any number.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: usize,
    /// Crash, cut off and slow down parts of the cluster, as the seed decides.
    #[arg(long)]
    pub(crate) faults: bool,
    /// Of the faults that the seed decides only these, by number, such as `0,4,7`, or `none`.
    #[arg(long, value_name = "NUMBERS", requires = "faults")]
    pub(crate) keep_faults: Option<String>,
    /// Make the first run that fails smaller: fewer agents, frameworks, tasks and faults.
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Processors of each agent.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) agent_cpus: f64,
    /// Memory of each agent in MiB.
    #[arg(long, default_value_t = 16_384.0)]
    pub(crate) agent_mem: f64,
    /// Processors of each task.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) task_cpus: f64,
    /// Memory of each task in MiB.
    #[arg(long, default_value_t = 512.0)]
    pub(crate) task_mem: f64,
    /// How long tasks run, in seconds: `5`, `1..20` (the default), or `exp:8`.
    #[arg(long, value_name = "DISTRIBUTION")]
    pub(crate) lengths: Option<String>,
    /// No task fails by itself and none is killed.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Every task asks for processing units and memory of its own, packed.
    #[arg(long)]
    pub(crate) placed: bool,
    /// Frameworks reserve, make persistent volumes, run tasks on them and give them back.
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Frameworks remove themselves when they are done.
    #[arg(long)]
    pub(crate) teardown: bool,
    /// Virtual time after which a run that is not done has failed, in seconds.
    #[arg(long, default_value_t = 21_600.0, value_name = "SECONDS")]
    pub(crate) deadline: f64,
    /// Assert the actors' invariants after each of so many events of a machine; chosen by the size when not given.
    #[arg(long)]
    pub(crate) invariants_every: Option<u64>,
    /// Plant a bug that the checkers must find. For tests of the simulator.
    #[arg(long, value_parser = kaon_sim::Plant::ALL.map(kaon_sim::Plant::word))]
    pub(crate) plant: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kaon sim convert`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Convert {
    /// What the file is, or `auto`: told by how it begins.
    #[arg(value_name = "FORMAT", value_parser = formats())]
    pub(crate) format: String,
    /// The file: plain, gzip, zstd or Parquet.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the native table goes, as CSV, or as Parquet when the name ends in `.parquet`; standard output when not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Count bad rows and go on, in place of stopping at the first.
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// `kaon sim serve`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Serve {
    /// Where the master's API is served; port 0 chooses one, which is printed.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5050")]
    pub(crate) http: SocketAddr,
    /// Virtual seconds that pass in a second.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) speed: f64,
    /// How many simulated agents.
    #[arg(long, default_value_t = 100)]
    pub(crate) agents: u32,
    /// Processors of each agent.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) agent_cpus: f64,
    /// Memory of each agent in MiB.
    #[arg(long, default_value_t = 16_384.0)]
    pub(crate) agent_mem: f64,
    /// How many simulated frameworks share the cluster with those that call.
    #[arg(long, default_value_t = 0)]
    pub(crate) frameworks: u32,
    /// How many tasks the simulated frameworks have, all together.
    #[arg(long, default_value_t = 0)]
    pub(crate) tasks: u32,
    /// The seed of all chance.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Who is next in the allocator: a policy of kind cluster (`kaon sim list`).
    #[arg(long)]
    pub(crate) policy: Option<String>,
}

/// `kaon sim list`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SimList {
    /// List the keys of scenarios, too.
    #[arg(long)]
    pub(crate) keys: bool,
}

/// `kaon sim check`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Check {
    /// The scenario: a file, or the name of one that is shipped.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// What must hold of the means, such as `jct.p99 < 600` or `fgd:gpu_allocation_ratio > 95`; may be given again.
    #[arg(long = "assert", value_name = "ASSERTION", required = true)]
    pub(crate) assertions: Vec<String>,
    /// Write the verdicts as a JUnit report.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// The seeds, such as `1-10`; the scenario's when not given.
    #[arg(long)]
    pub(crate) seeds: Option<String>,
    #[command(flatten)]
    pub(crate) how: Scenario,
}

/// The names of the formats, and the word for none.
fn formats() -> clap::builder::PossibleValuesParser {
    use kaon_sim::workload::convert::{AUTO, FORMATS};
    FORMATS.iter().map(|(name, _)| *name).chain([AUTO]).collect::<Vec<_>>().into()
}
