//! The keys of scenarios: what each is called, what it holds, and what it is for.
//!
//! A key that is not here is an error, so this list is the whole language; `kaon sim list --keys` prints it.

/// What a study simulates, and with it which keys its scenario has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fidelity {
    /// Tasks placed on machines one after the other, none ever leaves (policies 7).
    Placement,
    /// Jobs with run times on a pool of processors (policies 2).
    Batch,
    /// One pool divided between tenants by a rule (policies 1); no time passes.
    Sharing,
    /// Several schedulers on one cell (policies 4).
    Architecture,
    /// Jobs of tasks on machines, over time (policies 2.5 to 2.7).
    Machines,
    /// Jobs whose tasks prefer machines (policies 2.7 and 4.5).
    Locality,
    /// The whole cluster: the very actors, in virtual time.
    Cluster,
}

impl Fidelity {
    /// Every fidelity with its word.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Placement, "placement"),
        (Self::Batch, "batch"),
        (Self::Sharing, "sharing"),
        (Self::Architecture, "architecture"),
        (Self::Machines, "machines"),
        (Self::Locality, "locality"),
        (Self::Cluster, "cluster"),
    ];

    /// Its word in a scenario.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, word)| word)
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A file, relative to the scenario; relative to the working directory in an override.
    Path,
    /// A whole number in these bounds.
    Count(u64, u64),
    /// A number in these bounds.
    Number(f64, f64),
    /// A time with its unit.
    Time,
    /// A time with its unit, or a range of two.
    Span,
    /// Memory with its unit.
    Memory,
    /// True or false.
    Switch,
    /// Seeds, such as `1-10`.
    Seeds,
    /// A list of words.
    Names,
    /// A list of tables with these keys.
    Rows(&'static [Key]),
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Key {
    /// Its full name, with dots.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it is when nothing is said, as it would be written; none when it must be said or may be missing.
    pub(crate) default: Option<&'static str>,
    /// Whether a scenario without it is refused.
    pub(crate) must: bool,
    /// One line for people.
    pub(crate) about: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default: Some(default), must: false, about }
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, default: None, must: true, about }
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, default: None, must: false, about }
}

const KINDS: &[&str] = &["placement", "batch", "sharing", "architecture", "machines", "locality", "cluster"];

/// Keys of every scenario.
const COMMON: &[Key] = &[
    must("kind", Kind::Choice(KINDS), "what is simulated; decides which other keys there are"),
    must("question", Kind::Text, "what the scenario asks, in a sentence"),
    must("answer", Kind::Text, "what is expected, and why"),
    must("policies", Kind::Names, "the policies to compare; `--policy` overrides"),
    key("seeds", Kind::Seeds, "1", "the seeds, as in \"1-10\"; `--seeds` overrides"),
    key("output.intervals", Kind::Count(2, 10_000), "240", "rows of the per-interval table"),
    key("output.tasks", Kind::Switch, "true", "whether per-task tables are written"),
];

/// What a group of machines has.
const GROUP: &[Key] = &[
    must("count", Kind::Count(1, 1_000_000), "machines of the group"),
    must("cpus", Kind::Number(0.0, 1e6), "cores of each"),
    must("memory", Kind::Memory, "memory of each"),
    key("gpus", Kind::Count(0, 16), "0", "GPUs of each"),
    key("gpu_type", Kind::Text, "", "the type of its GPUs"),
];

const FORMAT: Key = key(
    "workload.format",
    Kind::Choice(&["auto", "native", "openb", "swf", "swim", "gavel", "alibaba-dlrm"]),
    "auto",
    "the format of the workload's file; auto: told by how it begins",
);
const LENIENT: Key =
    key("workload.lenient", Kind::Switch, "false", "whether bad rows are counted and left out, in place of an error");
const NODES: Key =
    may("cluster.nodes", Kind::Path, "a node list: native, openb or Alibaba's (plain, gzip, zstd or Parquet)");
const GROUPS: Key = may("cluster.group", Kind::Rows(GROUP), "machines without a file, group by group");

const PLACEMENT: &[Key] = &[
    NODES,
    GROUPS,
    must("workload.tasks", Kind::Path, "tasks: openb's pods or any other format (plain, gzip, zstd or Parquet)"),
    FORMAT,
    LENIENT,
    key("workload.load", Kind::Number(0.01, 10.0), "1.3", "GPU request that arrives, over the cluster's GPU capacity"),
    key("workload.covered_percent", Kind::Count(1, 100), "95", "pods that the target workload of `fgd` covers"),
    key(
        "cluster.compaction",
        Kind::Switch,
        "false",
        "whether the smallest sufficient part of the cluster is sought (11 shuffles a seed)",
    ),
];

const ARRIVALS: Key = key(
    "workload.arrivals",
    Kind::Choice(&["poisson", "bursty", "diurnal", "closed"]),
    "poisson",
    "when drawn jobs come; closed: each tenant submits again when its job has ended, after the gap",
);
const GAP: Key = key("workload.gap", Kind::Time, "60 s", "mean time between two drawn jobs");
const DENSITY: Key =
    key("workload.density", Kind::Number(1.001, 1e5), "5", "bursty: how many times denser bursts are than the mean");
const BURST: Key = key("workload.burst", Kind::Time, "10 min", "bursty: mean length of a burst");
const SWING: Key =
    key("workload.swing", Kind::Number(0.0, 1.0), "0.8", "diurnal: how far the rate goes up and down over 24 h");

const BATCH: &[Key] = &[
    may(
        "workload.log",
        Kind::Path,
        "a batch log (SWF), or tasks in any other format as jobs on one pool; without one, jobs are drawn",
    ),
    FORMAT,
    LENIENT,
    key("workload.closed_loop", Kind::Switch, "false", "whether the log's preceding jobs and think times are followed"),
    key(
        "cluster.unit",
        Kind::Choice(&["auto", "processors", "gpus"]),
        "auto",
        "what the pool is made of; auto: GPUs where the tasks of the file need any",
    ),
    key("cluster.processors", Kind::Count(0, 1_000_000_000), "0", "processors; 0 takes the log's header at its word"),
    key(
        "workload.jobs",
        Kind::Count(0, 50_000_000),
        "0",
        "jobs; with a log only so many from its beginning, 0 for all",
    ),
    ARRIVALS,
    GAP,
    DENSITY,
    BURST,
    SWING,
    key(
        "workload.lengths",
        Kind::Text,
        "exp:600",
        "run times of drawn jobs in seconds, a law: `5`, `1..20`, `exp:8`, `pareto:1..1000:1.1`",
    ),
    key("workload.processors", Kind::Text, "1", "processors of drawn jobs, a law"),
    key("workload.overestimate", Kind::Text, "1", "planned over actual run time of drawn jobs, a law"),
    key("workload.tenants", Kind::Count(1, 100_000), "10", "tenants of drawn jobs"),
    key(
        "engine.order",
        Kind::Choice(&["submissions-first", "completions-first"]),
        "submissions-first",
        "which of two events at one instant comes first",
    ),
    key(
        "engine.passes",
        Kind::Choice(&["each-event", "each-time"]),
        "each-event",
        "whether jobs are started after each event, or once when all of an instant are handled",
    ),
    key("engine.preemption_cost", Kind::Time, "0 s", "work that a preemption adds to the job it stops (srpt, las)"),
    key("engine.levels", Kind::Names, "1 h", "processor time at which each queue of `las` ends, ascending"),
    key(
        "output.finish_time_fairness",
        Kind::Switch,
        "false",
        "whether each tenant's jobs also run alone on its equal part of the pool, for `finish_time_fairness`",
    ),
];

const MACHINES: &[Key] = &[
    NODES,
    GROUPS,
    key("cluster.rack", Kind::Count(1, 100_000), "20", "machines of a rack, in the order of the list"),
    may("workload.tasks", Kind::Path, "tasks in any format; without them, jobs are drawn from the keys below"),
    FORMAT,
    LENIENT,
    key("workload.jobs", Kind::Count(0, 10_000_000), "0", "drawn jobs"),
    ARRIVALS,
    GAP,
    DENSITY,
    BURST,
    SWING,
    key("workload.lengths", Kind::Text, "exp:600", "how long the tasks of a drawn job run in seconds, a law"),
    key("workload.overestimate", Kind::Text, "1", "planned over actual run time of drawn jobs, a law"),
    key("workload.width", Kind::Text, "1", "tasks of a drawn job, a law: `5`, `1..20`, `exp:8`, `pareto:1..1000:1.1`"),
    key("workload.cpus", Kind::Number(0.0, 1e6), "1", "cores of each drawn task"),
    key("workload.memory", Kind::Memory, "1 GiB", "memory of each drawn task"),
    key("workload.gpus", Kind::Number(0.0, 1e6), "0", "GPUs of each drawn task"),
    key("workload.priorities", Kind::Text, "0", "priorities of drawn jobs, a law; the larger goes first"),
    key("workload.tenants", Kind::Count(1, 100_000), "10", "tenants of drawn jobs"),
    key("workload.replicas", Kind::Count(0, 100), "0", "machines, drawn by the seed, that hold the data of each task"),
    key("wait.machine", Kind::Time, "3 s", "delay-scheduling: how long a job waits for a machine with its data"),
    key("wait.rack", Kind::Time, "3 s", "delay-scheduling: how long it then waits for one of their racks"),
    key("engine.holding", Kind::Time, "60 s", "gang-hoarding: how long a job holds a part of what it needs"),
    key("engine.checkpoint", Kind::Time, "10 min", "strict-priority-checkpoint: time between two checkpoints"),
    key("engine.bands", Kind::Names, "", "lower ends of bands of priorities: nobody evicts within a band"),
];

/// What one who shares is.
const TENANT: &[Key] = &[
    must("name", Kind::Text, "a word; metrics are named after it"),
    must("cpus", Kind::Number(0.0, 1e6), "cores that one of its tasks needs"),
    must("memory", Kind::Memory, "memory that one of its tasks needs"),
    key("gpus", Kind::Number(0.0, 1e6), "0", "GPUs that one of its tasks needs"),
    key("weight", Kind::Count(1, 1_000_000), "1", "its weight; only the proportions count"),
    key("tasks", Kind::Count(0, 1 << 40), "0", "tasks it has; 0 for no end"),
    key("class", Kind::Count(0, 1_000_000), "0", "its class for `strict-priority`; the higher goes first"),
];

const SHARING: &[Key] = &[
    must("cluster.cpus", Kind::Number(0.0, 1e9), "cores of the pool"),
    must("cluster.memory", Kind::Memory, "memory of the pool"),
    key("cluster.gpus", Kind::Number(0.0, 1e9), "0", "GPUs of the pool"),
    must("tenant", Kind::Rows(TENANT), "those who share"),
    key(
        "engine.unfit",
        Kind::Choice(&["skip", "stop"]),
        "skip",
        "whole tasks: what happens when the next does not fit; the tenant is left out, or all stops",
    ),
];

/// What a scheduler is and is asked to do.
const SCHEDULER: &[Key] = &[
    must("name", Kind::Text, "a word; metrics are named after it"),
    must("job_time", Kind::Time, "how long it thinks about a job"),
    must("task_time", Kind::Time, "how long it thinks about each task in addition"),
    key("gap", Kind::Time, "10 s", "mean time between two of its jobs (Poisson)"),
    key("tasks", Kind::Text, "1", "tasks of a job, a law: `5`, `1..20`, `exp:8`, `pareto:1..1000:1.1`"),
    key("lengths", Kind::Text, "exp:100", "how long its tasks run in seconds, a law"),
    key("cpus", Kind::Number(0.0, 1e6), "1", "cores of each task"),
    key("memory", Kind::Memory, "1 GiB", "memory of each task"),
];

const ARCHITECTURE: &[Key] = &[
    must("cluster.machines", Kind::Count(1, 1_000_000), "machines of the cell"),
    must("cluster.cpus", Kind::Number(0.001, 1e6), "cores of each"),
    must("cluster.memory", Kind::Memory, "memory of each"),
    key(
        "cluster.slots",
        Kind::Count(0, 1_000_000),
        "0",
        "sampling and flow: tasks that a machine runs at once; 0: its cores",
    ),
    key("cluster.rack", Kind::Count(1, 100_000), "20", "min-cost-flow: machines of a rack"),
    must("scheduler", Kind::Rows(SCHEDULER), "the schedulers"),
    may("workload.tasks", Kind::Path, "jobs in any format; a tenant is the scheduler of its name, or the first"),
    FORMAT,
    LENIENT,
    may("workload.interarrivals", Kind::Path, "samples of an Omega cell in place of 'gap'; 0 is the first scheduler"),
    may("workload.sizes", Kind::Path, "samples of an Omega cell in place of 'tasks'"),
    may("workload.run_times", Kind::Path, "samples of an Omega cell in place of 'lengths'"),
    key("engine.probes", Kind::Count(1, 1000), "2", "sampling: probes for each task"),
    key("engine.delay", Kind::Time, "500 us", "sampling: time of a message, one way"),
    key("engine.round", Kind::Time, "1 s", "min-cost-flow: time between two rounds"),
    key("duration", Kind::Time, "0 s", "virtual time after which the run ends; 0: when all is done (a trace only)"),
];

const LOCALITY: &[Key] = &[
    must("cluster.machines", Kind::Count(1, 100_000), "machines"),
    must("cluster.slots", Kind::Count(1, 1_000_000), "tasks that run on each at a time"),
    must("cluster.rack", Kind::Count(1, 100_000), "machines of a rack"),
    must("workload.jobs", Kind::Count(1, 10_000_000), "jobs"),
    must("workload.gap", Kind::Time, "mean time between two jobs (Poisson)"),
    must("workload.tasks", Kind::Text, "tasks of a job, a law: `5`, `1..20`, `exp:8`, `pareto:1..1000:1.1`"),
    must("workload.lengths", Kind::Text, "how long the tasks of a job run in seconds, a law"),
    key("workload.replicas", Kind::Count(0, 100), "3", "machines that hold the data of each task"),
    key("workload.tenants", Kind::Count(1, 100_000), "10", "tenants"),
    key("workload.input", Kind::Text, "256", "min-cost-flow: MiB that each task reads, a law"),
    key("engine.round", Kind::Time, "1 s", "min-cost-flow: time between two rounds"),
    must("wait.machine", Kind::Time, "how long a job waits for a machine with its data"),
    must("wait.rack", Kind::Time, "how long it then waits for one of their racks"),
];

/// What frameworks that are alike are.
const FRAMEWORK: &[Key] = &[
    must("name", Kind::Text, "a word; metrics and the role are named after it"),
    key("count", Kind::Count(1, 100_000), "1", "frameworks of this kind"),
    key(
        "behaviour",
        Kind::Choice(&["batch", "service", "gang", "mpi", "spark", "hoarder", "crash-looper"]),
        "batch",
        "how it takes offers and what its tasks do",
    ),
    key("class", Kind::Count(0, 1_000_000), "0", "the class of its role for `strict-priority`; the higher goes first"),
    key("tasks", Kind::Count(0, 4_294_967_295), "100", "tasks of each framework"),
    key("cpus", Kind::Number(0.0, 1e6), "1", "cores of each task"),
    key("memory", Kind::Memory, "512 MiB", "memory of each task"),
    key("lengths", Kind::Text, "1..20", "how long tasks run in seconds, a law"),
    key("gap", Kind::Time, "0 s", "mean time between two submissions (Poisson); 0: all at the beginning"),
    key("gang", Kind::Count(1, 100_000), "4", "gang, mpi: tasks of a gang"),
    key("holding", Kind::Time, "10 s", "gang, mpi, hoarder: how long an offer is held"),
    key("executors", Kind::Count(1, 1_000_000), "10", "spark: tasks at a time"),
    key("refusal", Kind::Time, "120 s", "spark: how long a declined offer is not wanted again"),
    key("attempts", Kind::Count(1, 1_000_000), "5", "crash-looper: launches of each task, all of which fail"),
    key("replicas", Kind::Count(0, 100), "0", "agents, drawn by the seed, that hold the data of each task"),
    key("wait", Kind::Time, "0 s", "how long it waits for an agent with the data of one of its tasks"),
];

/// What goes wrong at a stated time.
const TROUBLE: &[Key] = &[
    must("at", Kind::Time, "when it begins"),
    key("for", Kind::Time, "10 s", "how long it lasts"),
    must(
        "what",
        Kind::Choice(&[
            "crash",
            "power",
            "executor",
            "partition",
            "partition-to-master",
            "partition-from-master",
            "flapping",
            "slow-disk",
            "full-disk",
            "pause",
            "slow",
            "clock",
            "drain",
            "deactivate",
            "gone",
            "maintenance",
        ]),
        "what it is; the last four are what operators do to agents",
    ),
    key(
        "whom",
        Kind::Text,
        "master",
        "master, agent:NUMBER (from 1), rack:NUMBER, zone:NUMBER, framework:NUMBER (from 0), agents:PERCENT%",
    ),
];

/// A machine that hwloc has written down.
const HWLOC: &[Key] = &[
    must("file", Kind::Path, "an export of hwloc (XML)"),
    key("count", Kind::Count(1, 1_000_000), "1", "agents like it"),
];

const CLUSTER: &[Key] = &[
    key("cluster.agents", Kind::Count(1, 1_000_000), "100", "machines in the pool"),
    key("cluster.cpus", Kind::Number(0.001, 1e6), "8", "cores of each machine"),
    key("cluster.memory", Kind::Memory, "16 GiB", "memory of each machine"),
    NODES,
    GROUPS,
    may("cluster.hwloc", Kind::Rows(HWLOC), "machines as hwloc exports them; their units and memory count"),
    key("cluster.rack", Kind::Count(0, 1_000_000), "0", "agents of a rack, in order; 0: no racks"),
    key("cluster.zone", Kind::Count(0, 1_000_000), "0", "racks of a zone; 0: no zones"),
    key("churn.joining", Kind::Count(0, 1_000_000), "0", "agents, the last ones, that are not there at the beginning"),
    key("churn.over", Kind::Time, "10 min", "they come evenly spread over this time"),
    key("churn.failing", Kind::Time, "0 s", "mean time between two losses of power of some agent; 0: none"),
    key("churn.away", Kind::Time, "1 min", "mean time until it has power again"),
    key("churn.until", Kind::Time, "10 min", "nothing fails after this"),
    key(
        "network.latency",
        Kind::Span,
        "250 us..500 us",
        "time from machine to machine, one way: one or a range; at least 1 us",
    ),
    key("network.tail_percent", Kind::Number(0.0, 100.0), "0", "messages that take 20 times the range longer"),
    key("network.loss_percent", Kind::Number(0.0, 100.0), "0", "messages that are lost, their session with them"),
    key("network.lossy", Kind::Time, "1 min", "until when messages are lost"),
    key("network.gigabits", Kind::Number(0.0, 1e6), "0", "Gbit/s that leave a machine; 0: no bound"),
    may("framework", Kind::Rows(FRAMEWORK), "frameworks by kind, in place of 'frameworks' and 'workload'"),
    may("trouble", Kind::Rows(TROUBLE), "what goes wrong when"),
    may(
        "workload.tasks",
        Kind::Path,
        "tasks in any format, in place of drawn ones; tenants are spread over the frameworks",
    ),
    FORMAT,
    LENIENT,
    key("frameworks.count", Kind::Count(1, 100_000), "2", "frameworks, each with its share of the tasks"),
    key("frameworks.teardown", Kind::Switch, "false", "whether frameworks remove themselves when they are done"),
    key("workload.count", Kind::Count(0, 4_294_967_295), "1000", "tasks over all frameworks"),
    key("workload.cpus", Kind::Number(0.001, 1e6), "1", "cores of each task"),
    key("workload.memory", Kind::Memory, "512 MiB", "memory of each task"),
    key("workload.lengths", Kind::Text, "1..20", "how long tasks run in seconds: `5`, `1..20` or `exp:8`"),
    key("workload.varied", Kind::Switch, "true", "whether some tasks fail and some are killed (2 % each)"),
    key(
        "faults.random",
        Kind::Switch,
        "false",
        "whether each seed draws its crashes, cuts, losses, slow disks, panics",
    ),
    key("duration", Kind::Time, "6 h", "virtual time after which a run that is not done has failed"),
    key("engine.workers", Kind::Count(1, 64), "1", "threads of one run; the result is the same with any number"),
];

/// The keys of a kind of study beyond the common ones.
fn own(fidelity: Fidelity) -> &'static [Key] {
    match fidelity {
        Fidelity::Placement => PLACEMENT,
        Fidelity::Batch => BATCH,
        Fidelity::Sharing => SHARING,
        Fidelity::Machines => MACHINES,
        Fidelity::Locality => LOCALITY,
        Fidelity::Architecture => ARCHITECTURE,
        Fidelity::Cluster => CLUSTER,
    }
}

/// All keys of a kind of study.
pub(crate) fn keys(fidelity: Fidelity) -> impl Iterator<Item = &'static Key> + Clone {
    COMMON.iter().chain(own(fidelity))
}

/// The kinds of study that have a key.
pub(crate) fn kinds_with(name: &str) -> Vec<&'static str> {
    let has = |fidelity: Fidelity| own(fidelity).iter().any(|key| key.name == name);
    Fidelity::ALL.iter().filter(|(one, _)| has(*one)).map(|(_, word)| *word).collect()
}
