//! Groups of tasks on the default executor: all or none, each member in a sandbox of its own, one bad end ends its group.

use super::*;
use crate::executor::run::RUNS_MAX;
use kaon_kernel::task::ExecutorKind;
use std::collections::BTreeSet;

fn member(name: &str) -> TaskInfo {
    let mut member = TaskInfo { task_id: TaskId::trusted(name), role: RoleName::trusted("web"), ..task() };
    let command = member.command.as_mut().expect("a task of the bench has a command");
    command.environment.push((TASK.to_owned(), name.to_owned()));
    member
}

fn group(names: &[&str]) -> Vec<TaskInfo> {
    names.iter().map(|name| member(name)).collect()
}

impl Bench {
    /// A default executor that its agent knows.
    fn of_groups() -> Self {
        let mut bench = Self::with(config_of_groups());
        bench.link(LinkState::Up);
        bench.agent(ToExecutor::Registered { task_killing_state: true, user: Some("nobody".to_owned()) });
        bench.said.clear();
        bench
    }

    fn launch_group(&mut self, tasks: Vec<TaskInfo>) {
        self.agent(ToExecutor::LaunchGroup { tasks });
        self.flush();
    }

    /// A group that runs, its statuses told.
    fn with_group(names: &[&str]) -> Self {
        let mut bench = Self::of_groups();
        bench.launch_group(group(names));
        names.iter().for_each(|_| bench.launched());
        bench.settle_all();
        bench
    }

    /// The container of a task: launches carry the name of their task in a variable.
    fn container_of(&self, name: &str) -> ContainerId {
        self.named.iter().rev().find(|(task, _)| task == name).map(|(_, id)| id.clone()).expect("it was launched")
    }

    fn exit_of(&mut self, name: &str, status: ExitStatus) {
        let id = self.container_of(name);
        let exit = Exit { status: Some(status), limitation: None, usage: Usage::default() };
        let is_wait =
            |request: &ContainerRequest| matches!(request, ContainerRequest::Wait { container } if *container == id);
        self.answer(is_wait, ContainerOutcome::Exited(exit));
    }

    /// The tasks that were asked to end, in order, each once.
    fn killed(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for (_, request) in &self.asked {
            let ContainerRequest::Kill { container, .. } = request else { continue };
            let name = self.named.iter().find(|(_, id)| id == container).map(|(task, _)| task.clone()).expect("a task");
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// Writes and acknowledges until nothing is left to say: task and state, in order of their arrival.
    fn settle_all(&mut self) -> Vec<(String, TaskState)> {
        let statuses = self.settle_statuses();
        statuses.iter().map(|status| (status.task_id.to_string(), status.state)).collect()
    }
}

fn config_of_groups() -> ExecutorConfig {
    let mut all = variables();
    all.push(("KAON_EXECUTOR_KIND".to_owned(), "default".to_owned()));
    all.push(("MESOS_DIRECTORY".to_owned(), "/base/sandbox".to_owned()));
    all.push(("LIBPROCESS_IP".to_owned(), "10.0.0.1".to_owned()));
    let config = ExecutorConfig::from_environment(Inherited::fold(&all)).expect("a good environment");
    assert_eq!(config.kind, ExecutorKind::Default);
    config
}

fn of(all: &[(String, TaskState)], name: &str) -> Vec<TaskState> {
    all.iter().filter(|(task, _)| task == name).map(|(_, state)| *state).collect()
}

#[test]
fn a_kind_that_is_none_is_refused_by_name() {
    let mut all = variables();
    all.push(("KAON_EXECUTOR_KIND".to_owned(), "other".to_owned()));
    assert!(matches!(
        ExecutorConfig::from_environment(Inherited::fold(&all)),
        Err(Error::Kind { name: "KAON_EXECUTOR_KIND", .. })
    ));
}

#[test]
fn each_member_has_a_sandbox_and_an_environment_of_its_own() {
    let mut bench = Bench::of_groups();
    let mut tasks = group(&["a", "b"]);
    tasks[1].command.as_mut().expect("a command").user = Some("daemon".to_owned());
    bench.agent(ToExecutor::LaunchGroup { tasks: tasks.clone() });
    assert!(bench.asked.is_empty() && bench.said.is_empty(), "neither started nor told before it is on disk (L5)");
    bench.agent(ToExecutor::LaunchGroup { tasks });
    bench.flush();
    let launches = bench.launches();
    assert_eq!(launches.len(), 2, "it is taken once");
    for (container, spec) in &launches {
        assert_eq!((spec.sandbox.clone(), spec.join), (format!("sandbox/containers/{container}"), false));
        let find = |name: &str| spec.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let directory = format!("/base/sandbox/containers/{container}");
        assert_eq!((find("MESOS_SANDBOX"), find("MESOS_DIRECTORY")), (Some(&*directory), Some(&*directory)));
        assert_eq!((find("MESOS_CONTAINER_IP"), find("MESOS_ALLOCATION_ROLE")), (Some("10.0.0.1"), Some("web")));
        assert_eq!((find("WORD"), find("KAON_KEY")), (Some("x"), None));
    }
    let users: Vec<_> = launches.iter().map(|(_, spec)| spec.user.as_deref()).collect();
    assert_eq!(users, [Some("nobody"), Some("daemon")], "a task's own user, else the framework's");
    let sandboxes: BTreeSet<_> = launches.iter().map(|(_, spec)| spec.sandbox.clone()).collect();
    assert_eq!(sandboxes.len(), 2);
}

#[test]
fn a_group_runs_when_all_of_it_was_started() {
    let mut bench = Bench::of_groups();
    bench.launch_group(group(&["a", "b", "c"]));
    bench.launched();
    bench.launched();
    let all = bench.settle_all();
    assert!(all.iter().all(|(_, state)| *state == TaskState::Starting), "{all:?}");
    bench.launched();
    let all = bench.settle_all();
    assert_eq!(all.iter().filter(|(_, state)| *state == TaskState::Running).count(), 3, "{all:?}");
    for name in ["a", "b", "c"] {
        bench.exit_of(name, ExitStatus::Code(0));
    }
    let ends = bench.settle_all();
    assert_eq!(ends.iter().filter(|(_, state)| *state == TaskState::Finished).count(), 3, "{ends:?}");
    assert_eq!(bench.finished, Some(0), "its last group has ended, and the agent knows");
}

#[test]
fn a_member_that_cannot_be_started_calls_the_group_off() {
    let mut bench = Bench::of_groups();
    bench.launch_group(group(&["a", "b", "c"]));
    bench.launched();
    let is_launch = |request: &ContainerRequest| matches!(request, ContainerRequest::Launch { .. });
    bench.answer(is_launch, ContainerOutcome::Failed { reason: "no room".to_owned() });
    assert_eq!(bench.killed(), ["a"], "what was started is ended");
    bench.launched();
    assert_eq!(bench.killed(), ["a", "c"], "and what is started after that");
    bench.exit_of("a", ExitStatus::Signal(15));
    bench.exit_of("c", ExitStatus::Signal(15));
    let all = bench.settle_all();
    assert_eq!(of(&all, "b"), [TaskState::Starting, TaskState::Failed]);
    for name in ["a", "c"] {
        assert_eq!(of(&all, name), [TaskState::Starting, TaskState::Killing, TaskState::Killed], "{name}");
    }
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn a_bad_end_ends_its_group_and_no_other_and_a_good_one_ends_nothing() {
    let mut bench = Bench::with_group(&["a", "b", "c"]);
    bench.launch_group(group(&["x", "y"]));
    bench.launched();
    bench.launched();
    bench.settle_all();
    bench.exit_of("a", ExitStatus::Code(0));
    assert!(bench.killed().is_empty(), "a task that has finished leaves its group alone");
    bench.exit_of("b", ExitStatus::Code(1));
    assert_eq!(bench.killed(), ["c"]);
    bench.exit_of("c", ExitStatus::Code(0));
    let all = bench.settle_all();
    assert_eq!(of(&all, "a"), [TaskState::Finished]);
    assert_eq!(of(&all, "b"), [TaskState::Failed]);
    assert_eq!(of(&all, "c"), [TaskState::Killing, TaskState::Killed], "killed, even when it exits well");
    assert_eq!(bench.finished, None, "the other group goes on");
    bench.exit_of("x", ExitStatus::Code(0));
    bench.exit_of("y", ExitStatus::Code(0));
    bench.settle_all();
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn a_kill_of_one_ends_the_rest_after_it() {
    let mut bench = Bench::with_group(&["a", "b"]);
    bench.agent(ToExecutor::Kill { task_id: TaskId::trusted("a"), grace: Some(Duration::secs(9)) });
    assert_eq!(bench.killed(), ["a"]);
    assert_eq!(bench.kills(), [Duration::secs(9)]);
    bench.exit_of("a", ExitStatus::Signal(15));
    assert_eq!(bench.killed(), ["a", "b"]);
    assert_eq!(bench.kills().last(), Some(&Duration::secs(3)), "with its own grace");
    bench.exit_of("b", ExitStatus::Signal(15));
    let all = bench.settle_all();
    for name in ["a", "b"] {
        assert_eq!(of(&all, name), [TaskState::Killing, TaskState::Killed]);
    }
}

#[test]
fn a_kill_before_the_start_starts_nothing_of_the_group() {
    let mut bench = Bench::of_groups();
    bench.agent(ToExecutor::LaunchGroup { tasks: group(&["a", "b"]) });
    bench.agent(ToExecutor::Kill { task_id: TaskId::trusted("b"), grace: None });
    let all = bench.settle_all();
    assert!(bench.launches().is_empty());
    assert_eq!(of(&all, "a"), [TaskState::Starting, TaskState::Killed]);
    assert_eq!(of(&all, "b"), [TaskState::Starting, TaskState::Killing, TaskState::Killed]);
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn a_member_that_runs_too_long_fails_and_ends_its_group() {
    let mut bench = Bench::of_groups();
    let mut tasks = group(&["a", "b"]);
    tasks[0].max_completion_time = Some(Duration::secs(30));
    bench.launch_group(tasks);
    bench.launched();
    bench.launched();
    bench.settle_all();
    bench.pass(Duration::secs(30));
    assert_eq!(bench.killed(), ["a"]);
    bench.exit_of("a", ExitStatus::Signal(15));
    assert_eq!(bench.killed(), ["a", "b"]);
    bench.exit_of("b", ExitStatus::Signal(15));
    let all = bench.settle_all();
    assert_eq!((of(&all, "a"), of(&all, "b").pop()), (vec![TaskState::Failed], Some(TaskState::Killed)));
}

#[test]
fn a_single_task_is_not_for_it() {
    let mut bench = Bench::with_group(&["a"]);
    bench.agent(ToExecutor::Launch { task: Box::new(member("z")) });
    assert_eq!(bench.killed(), ["a"], "like Mesos's it ends");
    let mut command = Bench::registered();
    command.launch_group(group(&["a"]));
    assert!(command.launches().is_empty(), "nor a group for a command executor");
}

#[test]
fn a_shutdown_ends_every_group_first() {
    let mut bench = Bench::with_group(&["a", "b"]);
    bench.agent(ToExecutor::Shutdown);
    assert_eq!(bench.killed(), ["a", "b"]);
    assert!(bench.kills().iter().all(|grace| *grace == Duration::secs(4)));
    bench.exit_of("a", ExitStatus::Signal(15));
    bench.exit_of("b", ExitStatus::Signal(15));
    bench.settle_all();
    assert_eq!(bench.finished, Some(0));
    // One that never had a task waits for one.
    let mut idle = Bench::of_groups();
    idle.pass(Duration::secs(500));
    assert_eq!(idle.finished, None);
    idle.agent(ToExecutor::Shutdown);
    assert_eq!(idle.finished, Some(0));
}

#[test]
fn an_agent_that_began_afresh_hears_the_oldest_status_of_each_task() {
    let mut bench = Bench::with_group(&["a", "b"]);
    bench.link(LinkState::Down);
    bench.exit_of("a", ExitStatus::Code(0));
    bench.flush();
    bench.link(LinkState::Up);
    let Some(ToAgent::Register { unacknowledged, tasks, .. }) = bench.said.last() else { panic!("{:?}", bench.said) };
    let names: Vec<_> = tasks.iter().map(TaskId::as_str).collect();
    assert_eq!((states(unacknowledged), names), (vec![TaskState::Finished], vec!["a", "b"]));
    bench.agent(ToExecutor::Registered { task_killing_state: true, user: None });
    let all = bench.settle_all();
    assert_eq!(of(&all, "a").last(), Some(&TaskState::Finished));
    assert_eq!(bench.finished, None);
    assert_eq!(bench.durable.len(), 1, "what the agent has is forgotten here");
}

#[test]
fn a_panic_keeps_every_group() {
    let mut bench = Bench::with_group(&["a", "b"]);
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.agent(ToExecutor::Registered { task_killing_state: true, user: None });
    bench.agent(ToExecutor::LaunchGroup { tasks: group(&["a", "b"]) });
    bench.flush();
    assert!(bench.launches().is_empty(), "it is not started again");
    bench.exit_of("b", ExitStatus::Code(1));
    assert_eq!(bench.killed(), ["a"], "its group is known still");
    bench.exit_of("a", ExitStatus::Signal(15));
    let all = bench.settle_all();
    assert_eq!((of(&all, "a").pop(), of(&all, "b").pop()), (Some(TaskState::Killed), Some(TaskState::Failed)));
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn what_it_holds_is_bounded() {
    let mut bench = Bench::of_groups();
    let names: Vec<String> = (0..=RUNS_MAX).map(|number| format!("t{number}")).collect();
    bench.launch_group(names.iter().map(|name| member(name)).collect());
    assert!(bench.launches().is_empty(), "one too many");
    bench.launch_group(names[1..].iter().map(|name| member(name)).collect());
    assert_eq!(bench.launches().len(), RUNS_MAX);
}
