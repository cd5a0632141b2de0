//! Scripts for the command executor, on a bench with a machine and an agent that answer by hand.

mod checks;
mod groups;
mod panics;

use crate::executor::{Error, Executor, ExecutorConfig, Inherited};
use crate::testing::{Disk, Rig, sent, write};
use kaon_kernel::actor::{
    ActorKind, Address, Batch, Effect, HostId, Link, LinkState, Outcome, StorageError, Ticket, exit,
};
use kaon_kernel::container::{
    ContainerOutcome, ContainerRequest, Exit, ExitStatus, LaunchSpec, Limitation, Program, Usage,
};
use kaon_kernel::id::{AgentId, ContainerId, RoleName, TaskId, Uuid};
use kaon_kernel::message::executor_agent::{ToAgent, ToExecutor};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, ExecutorMessage};
use kaon_kernel::task::{CommandInfo, Reason, TaskInfo, TaskState, TaskStatus};
use kaon_kernel::time::Duration;
use std::collections::VecDeque;

const AGENT: HostId = HostId(2);
const HERE: HostId = HostId(9);

fn variables() -> Vec<(String, String)> {
    let all = [
        ("PATH", "/bin"),
        ("MESOS_FRAMEWORK_ID", "f"),
        ("MESOS_EXECUTOR_ID", "t"),
        ("MESOS_SLAVE_ID", "m-S0"),
        ("MESOS_SANDBOX", "/sandbox"),
        ("MESOS_ALLOCATION_ROLE", "eng"),
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "15mins"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
        ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "secret"),
        ("KAON_CONTAINER_ID", "c"),
        ("KAON_SANDBOX", "sandbox"),
        ("KAON_KEY", "secret"),
    ];
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn config() -> ExecutorConfig {
    ExecutorConfig::from_environment(Inherited::fold(&variables())).expect("a good environment")
}

fn task() -> TaskInfo {
    let environment = vec![("WORD".to_owned(), "x".to_owned()), ("PATH".to_owned(), "/usr/bin".to_owned())];
    let command = CommandInfo { shell: true, value: Some("true".to_owned()), environment, ..CommandInfo::default() };
    TaskInfo {
        name: "t".to_owned(),
        command: Some(command),
        ..TaskInfo::bare(TaskId::trusted("t"), AgentId::trusted("m-S0"), RoleName::trusted("eng"))
    }
}

/// The variable by which the bench tells the members of a group apart.
const TASK: &str = "TASK";

struct Bench {
    rig: Rig<Executor>,
    config: ExecutorConfig,
    /// Tasks by that variable, with their containers, as they were launched.
    named: Vec<(String, ContainerId)>,
    unwritten: VecDeque<(Ticket, Batch)>,
    durable: Disk,
    asked: Vec<(Ticket, ContainerRequest)>,
    said: Vec<ToAgent>,
    finished: Option<i32>,
    lives: u32,
}

impl Bench {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: ExecutorConfig) -> Self {
        let mut bench = Self {
            rig: Rig::new(Executor::new(config.clone()), Address::only(HERE, ActorKind::Executor)),
            config,
            named: Vec::new(),
            unwritten: VecDeque::new(),
            durable: Disk::new(),
            asked: Vec::new(),
            said: Vec::new(),
            finished: None,
            lives: 0,
        };
        let effects = bench.rig.start();
        bench.absorb(effects);
        bench
    }

    /// Known to its agent.
    fn registered() -> Self {
        let mut bench = Self::new();
        bench.link(LinkState::Up);
        bench.agent(ToExecutor::Registered { task_killing_state: true, user: None });
        bench.said.clear();
        bench
    }

    /// With its task running.
    fn running(task: TaskInfo) -> Self {
        let mut bench = Self::registered();
        bench.agent(ToExecutor::Launch { task: Box::new(task) });
        bench.flush();
        bench.launched();
        bench.settle_statuses();
        bench
    }

    fn restart(&mut self, journal: Disk) {
        self.lives += 1;
        self.rig = Rig::new(Executor::new(self.config.clone()), Address::nth(HERE, ActorKind::Executor, self.lives));
        self.unwritten.clear();
        self.asked.clear();
        self.said.clear();
        self.durable.clone_from(&journal);
        self.rig.journal = journal;
        let effects = self.rig.start();
        self.absorb(effects);
        self.link(LinkState::Up);
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        for (_, message) in sent::<AgentMessage>(&effects) {
            match message {
                AgentMessage::Executor(message) => self.said.push(message),
                other => panic!("an executor said {other:?}"),
            }
        }
        for effect in effects {
            match effect {
                Effect::Persist { ticket, batch } => self.unwritten.push_back((ticket, batch)),
                Effect::Contain { ticket, request } => {
                    if let ContainerRequest::Launch { container, spec } = &request
                        && let Some((_, task)) = spec.environment.iter().find(|(name, _)| name == TASK)
                    {
                        self.named.push((task.clone(), container.clone()));
                    }
                    self.asked.push((ticket, request));
                }
                Effect::Finish { code, .. } => {
                    assert_eq!(self.finished.replace(code), None, "it ends once");
                }
                _ => {}
            }
        }
    }

    fn flush_one(&mut self) -> bool {
        let Some((ticket, batch)) = self.unwritten.pop_front() else { return false };
        write(&mut self.durable, batch);
        let effects = self.rig.done(ticket, Outcome::Persisted(Ok(())));
        self.absorb(effects);
        true
    }

    fn flush(&mut self) {
        while self.flush_one() {}
    }

    fn link(&mut self, state: LinkState) {
        let effects = self.rig.link(Link { host: AGENT, role: PeerRole::Agent, identity: "a".to_owned(), state });
        self.absorb(effects);
    }

    fn agent(&mut self, message: ToExecutor) {
        let from = Address::only(AGENT, ActorKind::Agent);
        let effects = self.rig.message(from, &ExecutorMessage::Agent(message));
        self.absorb(effects);
    }

    fn kill(&mut self, grace: Option<Duration>) {
        self.agent(ToExecutor::Kill { task_id: TaskId::trusted("t"), grace });
    }

    fn pass(&mut self, length: Duration) {
        let effects = self.rig.pass(length);
        self.absorb(effects);
    }

    fn answer(&mut self, fits: impl Fn(&ContainerRequest) -> bool, outcome: ContainerOutcome) {
        let at = self.asked.iter().position(|(_, request)| fits(request));
        let at = at.unwrap_or_else(|| panic!("no such request among {:?}", self.asked));
        let (ticket, _) = self.asked.remove(at);
        let effects = self.rig.done(ticket, Outcome::Container(outcome));
        self.absorb(effects);
    }

    fn launched(&mut self) {
        let is_launch = |request: &ContainerRequest| matches!(request, ContainerRequest::Launch { .. });
        self.answer(is_launch, ContainerOutcome::Launched { pid: 4, addresses: Vec::new() });
    }

    fn exit(&mut self, status: Option<ExitStatus>) {
        let exit = Exit { status, limitation: None, usage: Usage::default() };
        self.answer(|request| matches!(request, ContainerRequest::Wait { .. }), ContainerOutcome::Exited(exit));
    }

    fn launches(&self) -> Vec<(ContainerId, LaunchSpec)> {
        let launches = self.asked.iter().filter_map(|(_, request)| match request {
            ContainerRequest::Launch { container, spec } => Some((container.clone(), (**spec).clone())),
            _ => None,
        });
        launches.collect()
    }

    fn kills(&self) -> Vec<Duration> {
        let kills = self.asked.iter().filter_map(|(_, request)| match request {
            ContainerRequest::Kill { grace, .. } => Some(*grace),
            _ => None,
        });
        kills.collect()
    }

    fn take_updates(&mut self) -> Vec<TaskStatus> {
        let all = core::mem::take(&mut self.said).into_iter();
        let updates = all.filter_map(|message| match message {
            ToAgent::Update { status } => Some(*status),
            _ => None,
        });
        updates.collect()
    }

    /// Writes and acknowledges until nothing is left to say; the statuses in order.
    fn settle_statuses(&mut self) -> Vec<TaskStatus> {
        let mut all = Vec::new();
        loop {
            self.flush();
            let updates = self.take_updates();
            if updates.is_empty() {
                return all;
            }
            for status in updates {
                let (task_id, uuid) = (status.task_id.clone(), status.uuid.expect("a status wants an answer"));
                all.push(status);
                self.agent(ToExecutor::Acknowledged { task_id, uuid });
            }
        }
    }
}

fn states(statuses: &[TaskStatus]) -> Vec<TaskState> {
    statuses.iter().map(|status| status.state).collect()
}

#[test]
fn an_environment_is_read_or_refused_by_name() {
    let config = config();
    assert_eq!((config.container_id.as_str(), config.sandbox.as_str()), ("c", "sandbox"));
    assert_eq!(config.recovery_timeout, Duration::secs(900));
    assert_eq!((config.register_backoff_max, config.shutdown_grace), (Duration::secs(2), Duration::secs(5)));
    assert!(!config.environment.variables().any(|(_, value)| value == "secret"), "a task must not see credentials");
    assert!(!format!("{config:?}").contains("secret"), "nor does a log");
    for (name, _) in variables().iter().filter(|(name, _)| {
        ["MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID", "MESOS_SLAVE_ID", "KAON_CONTAINER_ID", "KAON_SANDBOX"]
            .contains(&name.as_str())
    }) {
        let rest: Vec<_> = variables().into_iter().filter(|(other, _)| other != name).collect();
        let missing = ExecutorConfig::from_environment(Inherited::fold(&rest)).expect_err("it is needed");
        assert!(matches!(missing, Error::Missing(what) if what == name), "{name}: {missing}");
    }
    let with = |name: &str, value: &str| {
        let mut all = variables();
        all.retain(|(other, _)| other != name);
        all.push((name.to_owned(), value.to_owned()));
        ExecutorConfig::from_environment(Inherited::fold(&all))
    };
    assert!(matches!(with("MESOS_EXECUTOR_ID", "a/b"), Err(Error::Id { name: "MESOS_EXECUTOR_ID", .. })));
    for bad in ["", "15", "mins", "-1secs", "1parsec", "1e400secs"] {
        assert!(matches!(with("MESOS_RECOVERY_TIMEOUT", bad), Err(Error::Duration { .. })), "{bad}");
    }
    let half = with("MESOS_RECOVERY_TIMEOUT", "1.5hrs").expect("a duration");
    assert_eq!(half.recovery_timeout, Duration::secs(5400));
}

#[test]
fn it_registers_again_with_backoff_until_it_is_known() {
    let mut bench = Bench::new();
    bench.pass(Duration::secs(5));
    assert!(bench.said.is_empty());
    bench.link(LinkState::Up);
    let [ToAgent::Register { container_id, tasks, unacknowledged, .. }] = &bench.said[..] else { panic!("one word") };
    assert_eq!((container_id.as_str(), tasks.len(), unacknowledged.len()), ("c", 0, 0));
    bench.pass(Duration::secs(10));
    assert!((8..=10).contains(&bench.said.len()), "{}", bench.said.len());
    bench.agent(ToExecutor::Registered { task_killing_state: false, user: None });
    bench.said.clear();
    bench.pass(Duration::secs(10));
    assert!(bench.said.is_empty());
    bench.agent(ToExecutor::Reconnect);
    assert_eq!(bench.said.len(), 1, "an agent that began afresh asks for it");
}

#[test]
fn a_command_runs_in_the_sandbox_and_its_life_is_told_in_order() {
    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Launch { task: Box::new(task()) });
    assert!(bench.asked.is_empty() && bench.said.is_empty(), "neither started nor told before it is on disk (L5)");
    bench.agent(ToExecutor::Launch { task: Box::new(task()) });
    bench.flush();
    let [(_, spec)] = &bench.launches()[..] else { panic!("it is started once") };
    assert_eq!((spec.program.clone(), spec.join), (Program::Shell("true".to_owned()), true));
    assert_eq!((spec.sandbox.as_str(), spec.user.as_deref()), ("sandbox", None));
    let find = |name: &str| spec.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((find("WORD"), find("PATH")), (Some("x"), Some("/usr/bin")));
    assert_eq!((find("MESOS_SANDBOX"), find("MESOS_ALLOCATION_ROLE")), (Some("/sandbox"), Some("eng")));
    assert_eq!((find("KAON_KEY"), find("MESOS_EXECUTOR_AUTHENTICATION_TOKEN")), (None, None));
    bench.launched();
    bench.exit(Some(ExitStatus::Code(0)));
    assert_eq!(states(&bench.take_updates()), vec![TaskState::Starting], "one at a time");
    let first = bench.rig.now();
    bench.pass(Duration::millis(500));
    let repeated = bench.take_updates();
    assert_eq!(states(&repeated), vec![TaskState::Starting], "repeated after {}", bench.rig.now().since(first));
    bench.agent(ToExecutor::Acknowledged { task_id: TaskId::trusted("t"), uuid: Uuid([0; 16]) });
    bench.agent(ToExecutor::Acknowledged { task_id: TaskId::trusted("t"), uuid: repeated[0].uuid.expect("a uuid") });
    let rest = bench.settle_statuses();
    assert_eq!(states(&rest), vec![TaskState::Running, TaskState::Finished]);
    assert_eq!(rest[1].message.as_deref(), Some("Command exited with status 0"));
    assert_eq!(bench.finished, Some(0));
    let cleaned = bench.asked.iter().any(|(_, request)| matches!(request, ContainerRequest::Cleanup { .. }));
    assert!(cleaned);
}

#[test]
fn every_end_has_its_state_and_its_words() {
    let cases = [
        (Some(ExitStatus::Code(7)), "Command exited with status 7"),
        (Some(ExitStatus::Signal(11)), "Command terminated with signal Segmentation fault"),
        (Some(ExitStatus::Signal(40)), "Command terminated with signal 40"),
        (None, "Command terminated; its exit status is unknown"),
    ];
    for (status, words) in cases {
        let mut bench = Bench::running(task());
        bench.exit(status);
        let last = bench.settle_statuses();
        assert_eq!((states(&last), last[0].message.as_deref()), (vec![TaskState::Failed], Some(words)));
    }
    let mut bench = Bench::running(task());
    let limitation = Some(Box::new(Limitation::other("memory")));
    let exit = ContainerOutcome::Exited(Exit { status: None, limitation, usage: Usage::default() });
    bench.answer(|request| matches!(request, ContainerRequest::Wait { .. }), exit);
    let last = bench.settle_statuses();
    assert_eq!((last[0].state, last[0].reason), (TaskState::Failed, Some(Reason::ContainerLimitation)));

    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Launch { task: Box::new(task()) });
    bench.flush();
    let is_launch = |request: &ContainerRequest| matches!(request, ContainerRequest::Launch { .. });
    bench.answer(is_launch, ContainerOutcome::Failed { reason: "no such file".to_owned() });
    let last = bench.settle_statuses().remove(1);
    assert_eq!((last.state, last.reason), (TaskState::Failed, Some(Reason::ContainerLaunchFailed)));
    assert!(last.message.unwrap_or_default().contains("no such file"));
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn a_killed_task_is_killed_even_when_it_exits_well_and_the_grace_is_the_nearest_word() {
    let grace_of_task = TaskInfo { kill_grace: Some(Duration::secs(8)), ..task() };
    let cases = [
        (task(), None, Duration::secs(3)),
        (grace_of_task.clone(), None, Duration::secs(8)),
        (grace_of_task, Some(Duration::secs(1)), Duration::secs(1)),
    ];
    for (task, said, wanted) in cases {
        let mut bench = Bench::running(task);
        bench.kill(said);
        assert_eq!(bench.kills(), vec![wanted]);
        bench.kill(Some(Duration::ZERO));
        assert_eq!(bench.kills().last(), Some(&Duration::ZERO), "a later kill may hurry");
        bench.exit(Some(ExitStatus::Code(0)));
        let rest = bench.settle_statuses();
        assert_eq!(states(&rest), vec![TaskState::Killing, TaskState::Killed]);
        assert_eq!(bench.finished, Some(0));
    }
    // A framework that does not know the word is not told TASK_KILLING.
    let mut bench = Bench::running(task());
    bench.agent(ToExecutor::Registered { task_killing_state: false, user: None });
    bench.kill(None);
    bench.exit(Some(ExitStatus::Signal(15)));
    let rest = bench.settle_statuses();
    assert_eq!(states(&rest), vec![TaskState::Killed]);
    assert_eq!(rest[0].message.as_deref(), Some("Command terminated with signal Terminated"));
}

#[test]
fn a_kill_overtakes_the_start() {
    // Before the task is on disk nothing is started.
    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Launch { task: Box::new(task()) });
    bench.kill(None);
    let all = bench.settle_statuses();
    assert_eq!(states(&all), vec![TaskState::Starting, TaskState::Killing, TaskState::Killed]);
    assert!(bench.launches().is_empty());
    // While the machine starts it, it is killed as soon as it runs.
    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Launch { task: Box::new(task()) });
    bench.flush();
    bench.kill(None);
    assert!(bench.kills().is_empty());
    bench.launched();
    assert_eq!(bench.kills(), vec![Duration::secs(3)]);
    bench.exit(Some(ExitStatus::Signal(15)));
    assert_eq!(states(&bench.settle_statuses()), vec![TaskState::Starting, TaskState::Killing, TaskState::Killed]);
}

#[test]
fn a_task_that_runs_too_long_fails() {
    let mut bench = Bench::running(TaskInfo { max_completion_time: Some(Duration::secs(30)), ..task() });
    bench.pass(Duration::secs(29));
    assert!(bench.kills().is_empty());
    bench.pass(Duration::secs(1));
    assert_eq!(bench.kills(), vec![Duration::secs(3)]);
    bench.exit(Some(ExitStatus::Signal(15)));
    let rest = bench.settle_statuses();
    assert_eq!(states(&rest), vec![TaskState::Failed]);
    assert_eq!(rest[0].reason, Some(Reason::MaxCompletionTimeReached));
}

#[test]
fn it_says_farewell_after_a_minute_when_nobody_acknowledges() {
    let mut bench = Bench::running(task());
    bench.exit(Some(ExitStatus::Code(0)));
    bench.flush();
    bench.pass(Duration::secs(59));
    assert!(bench.take_updates().len() > 5, "it repeats");
    assert_eq!(bench.finished, None);
    bench.pass(Duration::secs(1));
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn a_broken_link_leaves_the_task_alone_until_the_recovery_timeout() {
    let mut bench = Bench::running(task());
    bench.link(LinkState::Down);
    bench.exit_is_kept_while_away();
    let mut bench = Bench::running(task());
    bench.link(LinkState::Down);
    bench.pass(Duration::secs(899));
    assert!(bench.kills().is_empty() && bench.finished.is_none());
    bench.link(LinkState::Up);
    bench.pass(Duration::secs(2000));
    assert!(bench.kills().is_empty(), "the agent is there");
    bench.link(LinkState::Down);
    bench.pass(Duration::secs(900));
    assert_eq!(bench.kills().len(), 1);
    bench.exit(Some(ExitStatus::Signal(9)));
    assert_eq!(bench.finished, Some(exit::ABANDONED));
}

impl Bench {
    fn exit_is_kept_while_away(&mut self) {
        self.exit(Some(ExitStatus::Code(0)));
        self.flush();
        assert!(self.take_updates().is_empty(), "nobody is there");
        self.link(LinkState::Up);
        let [ToAgent::Register { unacknowledged, tasks, .. }] = &self.said[..] else { panic!("one word") };
        assert_eq!((states(unacknowledged), tasks.len()), (vec![TaskState::Finished], 1));
        let uuid = unacknowledged[0].uuid.expect("a uuid");
        self.agent(ToExecutor::Registered { task_killing_state: true, user: None });
        self.agent(ToExecutor::Acknowledged { task_id: TaskId::trusted("t"), uuid });
        assert_eq!(self.finished, Some(0));
    }
}

#[test]
fn a_shutdown_ends_the_task_first() {
    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Shutdown);
    assert_eq!(bench.finished, Some(0), "there is nothing to end");
    let mut bench = Bench::running(task());
    bench.agent(ToExecutor::Shutdown);
    assert_eq!(bench.kills(), vec![Duration::secs(4)], "a second before the agent destroys the container");
    assert_eq!(bench.finished, None);
    bench.exit(Some(ExitStatus::Signal(15)));
    assert_eq!(states(&bench.settle_statuses()), vec![TaskState::Killing, TaskState::Killed]);
    assert_eq!(bench.finished, Some(0));
}

#[test]
fn only_its_agent_gives_it_orders() {
    let mut bench = Bench::running(task());
    for from in [Address::only(HostId(77), ActorKind::Agent), Address::only(AGENT, ActorKind::Master)] {
        let effects = bench.rig.message(from, &ExecutorMessage::Agent(ToExecutor::Shutdown));
        bench.absorb(effects);
    }
    assert!(bench.kills().is_empty());
}

#[test]
fn a_disk_that_takes_nothing_more_ends_it() {
    let mut bench = Bench::registered();
    bench.agent(ToExecutor::Launch { task: Box::new(task()) });
    let (ticket, _) = bench.unwritten.pop_front().expect("a batch");
    let effects = bench.rig.done(ticket, Outcome::Persisted(Err(StorageError("full".to_owned()))));
    bench.absorb(effects);
    assert_eq!(bench.finished, Some(exit::STORAGE));
    assert!(bench.asked.is_empty());
}
