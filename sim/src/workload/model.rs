//! Tasks and nodes as every format is turned into: whole numbers, and what a trace does not say is zero or empty.

/// A task of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its job.
    pub job: u64,
    /// Its place in the job.
    pub task: u32,
    /// Whose it is; a name, empty when the trace names nobody.
    pub tenant: String,
    /// When it is submitted.
    pub submit_us: i64,
    /// How long it runs; none when it outlives the trace.
    pub run_us: Option<i64>,
    /// How long its owner said it would run; none when nobody said.
    pub planned_us: Option<i64>,
    /// CPU in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB.
    pub mem_mib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Of each GPU so many thousandths; 1000 is a whole one. Zero without GPUs.
    pub gpu_milli: u32,
    /// The GPU types it accepts; empty accepts all.
    pub gpu_types: Vec<String>,
    /// Larger goes first.
    pub priority: i32,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// CPU in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB; zero when the trace does not say.
    pub mem_mib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Their type; empty without GPUs.
    pub gpu_type: String,
}

/// The largest CPU amount of a task or node, in thousandths; the others have the same bound in their units.
pub const AMOUNT_MAX: u64 = 1 << 40;
/// The most GPUs of a node or task.
pub const GPUS_MAX: u64 = 1024;
/// The longest time in a trace, in seconds.
pub const SECONDS_MAX: u64 = 100_000 * 366 * 86_400;
