//! Groups of tasks: a few at a time, each group on a default executor of its own.

use kaon_kernel::id::ExecutorId;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, TaskInfo};

/// The most tasks of one group.
pub(super) const GROUP_MAX: usize = 3;

/// Processors and memory in MiB of an executor of groups.
pub(super) const EXECUTOR: (Quantity, Quantity) = (Quantity(100), Quantity::units(32));

/// Its disk in MiB.
pub(super) const EXECUTOR_DISK: Quantity = Quantity::units(1);

/// So much disk.
fn disk(amount: Quantity) -> Resources {
    parse::resources(&format!("disk:{amount}")).expect("a scalar is written as it is read")
}

/// The executor of a group, named after its first task.
pub(super) fn executor(tasks: &[TaskInfo]) -> ExecutorInfo {
    let first = tasks.first().map_or("", |task| task.task_id.as_str());
    let resources = Resources::cpus_and_mem(EXECUTOR.0, EXECUTOR.1).plus(&disk(EXECUTOR_DISK));
    ExecutorInfo {
        executor_id: ExecutorId::trusted(format!("pod-{first}")),
        name: String::new(),
        kind: ExecutorKind::Default,
        command: None,
        resources: resources.expect("disk beside processors and memory"),
        container: None,
        shutdown_grace: None,
        data: None,
        labels: Vec::new(),
        rest: Vec::new(),
    }
}
