//! What has ended here, for who looks: frameworks, executors, tasks (Mesos's `completed_frameworks`, `completed_executors`,
//! `completed_tasks`). A memory and no more: it is not on disk, and a restart begins with none. Simulated agents have
//! nobody who looks, and remember nothing.

use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{ContainerId, FrameworkId};
use kaon_kernel::message::agent_master::RunningExecutor;
use kaon_kernel::task::Task;
use std::collections::VecDeque;

/// How many frameworks that have nothing here any more are remembered (Mesos `MAX_COMPLETED_FRAMEWORKS`).
const FRAMEWORKS_MAX: usize = 50;

/// How many executors of all frameworks together. Mesos bounds those of each framework alone.
const EXECUTORS_MAX: usize = 1_000;

/// How many tasks of one executor (Mesos `MAX_COMPLETED_TASKS_PER_EXECUTOR`).
const EXECUTOR_TASKS_MAX: usize = 200;

/// How many tasks in all; some 2 KiB each.
const TASKS_MAX: usize = 2_000;

/// An executor that has ended.
#[derive(Clone, Debug)]
pub(super) struct PastExecutor {
    pub(super) executor: RunningExecutor,
    pub(super) container_id: ContainerId,
}

/// What has ended, the oldest first.
#[derive(Debug)]
pub(super) struct Past {
    executors_max: usize,
    frameworks: VecDeque<FrameworkInfo>,
    executors: VecDeque<PastExecutor>,
    tasks: VecDeque<(FrameworkId, Task)>,
}

impl Past {
    /// A memory for so many executors of each framework; `None` for none at all.
    pub(super) fn new(executors_max: usize) -> Option<Box<Self>> {
        let (frameworks, executors, tasks) = Default::default();
        (executors_max > 0).then(|| Box::new(Self { executors_max, frameworks, executors, tasks }))
    }

    pub(super) fn frameworks(&self) -> impl Iterator<Item = &FrameworkInfo> {
        self.frameworks.iter()
    }
    pub(super) fn executors(&self) -> impl Iterator<Item = &PastExecutor> {
        self.executors.iter()
    }
    pub(super) fn tasks(&self) -> impl Iterator<Item = &(FrameworkId, Task)> {
        self.tasks.iter()
    }

    /// A framework has nothing here any more. With one that is forgotten goes all that it had.
    pub(super) fn add_framework(&mut self, info: FrameworkInfo) {
        self.frameworks.push_back(info);
        if self.frameworks.len() > FRAMEWORKS_MAX
            && let Some(id) = self.frameworks.pop_front().and_then(|oldest| oldest.id)
        {
            self.executors.retain(|one| one.executor.framework_id != id);
            self.tasks.retain(|(framework_id, _)| *framework_id != id);
        }
    }
    /// A framework is here again; what it had stays.
    pub(super) fn remove_framework(&mut self, id: &FrameworkId) {
        self.frameworks.retain(|info| info.id.as_ref() != Some(id));
    }
    /// An executor has ended. Cost: all that are remembered.
    pub(super) fn add_executor(&mut self, ended: PastExecutor) {
        let framework_id = &ended.executor.framework_id;
        let mut alike = self.executors.iter().enumerate().filter(|(_, one)| one.executor.framework_id == *framework_id);
        let oldest = alike.next().map(|(at, _)| at);
        let count = alike.count() + usize::from(oldest.is_some());
        self.executors.push_back(ended);
        if count >= self.executors_max
            && let Some(oldest) = oldest
        {
            self.executors.remove(oldest);
        } else if self.executors.len() > EXECUTORS_MAX {
            self.executors.pop_front();
        }
    }
    /// The end of a task is acknowledged. Cost: all that are remembered.
    pub(super) fn add_task(&mut self, framework_id: FrameworkId, mut task: Task) {
        // The largest part of some, and shown to nobody.
        task.info.data = None;
        let is_alike = |(id, other): &(FrameworkId, Task)| *id == framework_id && other.executor_id == task.executor_id;
        let count = self.tasks.iter().filter(|one| is_alike(one)).count();
        let oldest = self.tasks.iter().position(is_alike).filter(|_| count >= EXECUTOR_TASKS_MAX);
        self.tasks.push_back((framework_id, task));
        if let Some(oldest) = oldest {
            self.tasks.remove(oldest);
        } else if self.tasks.len() > TASKS_MAX {
            self.tasks.pop_front();
        }
    }

    pub(super) fn invariants(&self) {
        assert!(self.frameworks.len() <= FRAMEWORKS_MAX, "too many frameworks are remembered");
        assert!(self.executors.len() <= EXECUTORS_MAX, "too many executors are remembered");
        assert!(self.tasks.len() <= TASKS_MAX, "too many tasks are remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::id::{AgentId, ExecutorId, RoleName, TaskId};
    use kaon_kernel::resource::Resources;
    use kaon_kernel::task::{ExecutorInfo, ExecutorKind, TaskInfo, TaskState};

    fn framework(number: usize) -> FrameworkId {
        FrameworkId::trusted(format!("f{number}"))
    }

    fn executor(of: usize, name: &str) -> PastExecutor {
        let info = ExecutorInfo {
            executor_id: ExecutorId::trusted(name),
            name: String::new(),
            kind: ExecutorKind::Custom,
            command: None,
            resources: Resources::new(),
            container: None,
            shutdown_grace: None,
            data: None,
            labels: Vec::new(),
            rest: Vec::new(),
        };
        let executor = RunningExecutor { framework_id: framework(of), role: RoleName::trusted("*"), info };
        PastExecutor { executor, container_id: ContainerId::trusted(name) }
    }

    fn task(executor: &str, name: &str) -> Task {
        let info = TaskInfo::bare(TaskId::trusted(name), AgentId::trusted("a"), RoleName::trusted("*"));
        Task {
            info: TaskInfo { data: Some(vec![1; 1000]), ..info },
            executor_id: ExecutorId::trusted(executor),
            state: TaskState::Finished,
            statuses: Vec::new(),
            unacknowledged: None,
        }
    }

    #[test]
    fn the_oldest_is_forgotten_and_a_framework_with_all_that_it_had() {
        assert!(Past::new(0).is_none());
        let mut past = Past::new(2).expect("a memory");
        for number in 0..2 * FRAMEWORKS_MAX {
            for name in ["a", "b", "c"] {
                past.add_executor(executor(number, name));
                past.add_task(framework(number), task(name, name));
                past.invariants();
            }
            past.add_framework(FrameworkInfo { id: Some(framework(number)), ..FrameworkInfo::default() });
            past.invariants();
        }
        let oldest = framework(FRAMEWORKS_MAX);
        assert_eq!(past.frameworks().next().and_then(|info| info.id.clone()), Some(oldest.clone()));
        let names = |past: &Past, id: &FrameworkId| -> Vec<String> {
            let own = past.executors().filter(|one| one.executor.framework_id == *id);
            own.map(|one| one.executor.info.executor_id.to_string()).collect()
        };
        assert_eq!(names(&past, &oldest), ["b", "c"], "two of each framework");
        assert_eq!(names(&past, &framework(0)), Vec::<String>::new());
        assert!(past.tasks().all(|(id, task)| *id != framework(0) && task.info.data.is_none()));
        // One that comes back is no past framework; what it had stays.
        past.remove_framework(&oldest);
        assert_ne!(past.frameworks().next().and_then(|info| info.id.clone()), Some(oldest.clone()));
        assert_eq!(names(&past, &oldest).len(), 2);
    }

    #[test]
    fn tasks_are_bounded_by_executor_and_in_all() {
        let mut past = Past::new(150).expect("a memory");
        for number in 0..2 * EXECUTOR_TASKS_MAX {
            past.add_task(framework(0), task("e", &format!("t{number}")));
        }
        assert_eq!(past.tasks().count(), EXECUTOR_TASKS_MAX);
        let first = past.tasks().next().map(|(_, task)| task.info.task_id.to_string());
        assert_eq!(first, Some(format!("t{EXECUTOR_TASKS_MAX}")));
        for number in 0..2 * TASKS_MAX {
            past.add_task(framework(1), task(&format!("e{number}"), "t"));
            past.add_executor(executor(number, "e"));
        }
        past.invariants();
        assert_eq!((past.tasks().count(), past.executors().count()), (TASKS_MAX, EXECUTORS_MAX));
    }
}
