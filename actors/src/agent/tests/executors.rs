//! Executors of frameworks: several tasks on one, groups, and those that speak HTTP.

use super::*;
use kaon_kernel::container::Program;
use kaon_kernel::message::agent_outside::{Call, CallRefusal, Caller};
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, Reason};

const STREAM: StreamId = StreamId(7);
const HOST: HostId = HostId(100);

fn executor(kind: ExecutorKind) -> ExecutorInfo {
    let command = CommandInfo {
        shell: true,
        value: Some("./executor".to_owned()),
        environment: vec![("MINE".to_owned(), "yes".to_owned()), ("LIBPROCESS_PORT".to_owned(), "5".to_owned())],
        ..CommandInfo::default()
    };
    ExecutorInfo {
        executor_id: ExecutorId::trusted("e"),
        name: "e".to_owned(),
        kind,
        command: Some(command).filter(|_| kind == ExecutorKind::Custom),
        resources: Resources::cpus_and_mem(Quantity(100), Quantity::units(32)),
        shutdown_grace: Some(Duration::secs(7)),
        data: Some(vec![9, 8]),
        labels: Vec::new(),
        container: None,
        rest: Vec::new(),
    }
}

fn on(kind: ExecutorKind, id: &str) -> TaskInfo {
    let command = task(id).command.filter(|_| kind == ExecutorKind::Default);
    TaskInfo { command, executor: Some(executor(kind)), ..task(id) }
}

fn custom(id: &str) -> TaskInfo {
    on(ExecutorKind::Custom, id)
}

fn caller() -> Box<Caller> {
    let framework_id = FrameworkId::trusted(FRAMEWORK);
    Box::new(Caller { framework_id, executor_id: ExecutorId::trusted("e"), container_id: None })
}

fn subscribe(stream: StreamId, tasks: &[&str], updates: Vec<TaskStatus>) -> FromOutside {
    let tasks = tasks.iter().map(|id| TaskId::trusted(*id)).collect();
    FromOutside::Subscribe { caller: caller(), tasks, updates, stream }
}

fn say(id: &str, state: TaskState, number: u128) -> FromOutside {
    let call = Call::Update { status: Box::new(status(id, state, number)) };
    FromOutside::Call { caller: caller(), call, reply: StreamId(1_000 + number as u64) }
}

impl Bench {
    /// More of an executor that is there.
    fn more(&mut self, task: TaskInfo) {
        let (framework, task) = (Box::new(framework()), Box::new(task));
        self.master(ToAgent::RunTask { framework, task, starts_executor: false });
    }

    fn group(&mut self, tasks: Vec<TaskInfo>, starts_executor: bool) {
        self.master(ToAgent::RunTaskGroup { framework: Box::new(framework()), tasks, starts_executor });
    }

    fn resized(&mut self) {
        let is_update = |request: &ContainerRequest| matches!(request, ContainerRequest::Update { .. });
        self.answer(is_update, ContainerOutcome::Updated(Ok(())));
    }

    /// Up to a container that runs.
    fn started(&mut self) -> ContainerId {
        self.flush();
        let (container, _) = self.launch();
        self.launched(77);
        self.flush();
        container
    }

    /// What went out on a stream since the last call.
    fn heard(&mut self, stream: StreamId) -> Vec<AgentEvent> {
        let all = core::mem::take(&mut self.emitted).into_iter();
        let (mine, others): (Vec<_>, Vec<_>) = all.partition(|(to, _)| *to == stream);
        self.emitted = others;
        mine.into_iter().map(|(_, event)| event).collect()
    }

    /// The tasks that the stream was given since the last call, single ones in brackets of their own.
    fn given(&mut self, stream: StreamId) -> Vec<Vec<String>> {
        let told = self.heard(stream).into_iter().filter_map(|event| match event {
            AgentEvent::Told(told) => Some(told),
            _ => None,
        });
        launched(told)
    }
}

fn launched(told: impl Iterator<Item = ToExecutor>) -> Vec<Vec<String>> {
    let names = told.filter_map(|told| match told {
        ToExecutor::Launch { task } => Some(vec![task.task_id.to_string()]),
        ToExecutor::LaunchGroup { tasks } => Some(tasks.iter().map(|task| task.task_id.to_string()).collect()),
        _ => None,
    });
    names.collect()
}

fn subscribed() -> Bench {
    let mut bench = Bench::registered(config());
    bench.run(custom("a"));
    bench.started();
    bench.outside(subscribe(STREAM, &[], Vec::new()));
    bench.resized();
    bench
}

#[test]
fn a_frameworks_executor_is_started_with_its_environment_and_gets_its_tasks_when_it_has_subscribed() {
    let mut bench = Bench::registered(AgentConfig { switch_user: true, ..config() });
    bench.run(custom("a"));
    bench.flush();
    let (container, spec) = bench.launch();
    assert_eq!((&spec.program, spec.user.as_deref()), (&Program::Shell("./executor".to_owned()), Some("nobody")));
    assert_eq!(spec.resources, Resources::cpus_and_mem(Quantity(1100), Quantity::units(160)));
    let value = |name: &str| spec.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((value("MINE"), value("LIBPROCESS_PORT")), (Some("yes"), Some("5")), "what the command says wins");
    assert_eq!((value("MESOS_EXECUTOR_ID"), value("MESOS_CHECKPOINT")), (Some("e"), Some("1")));
    assert_eq!(value("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"), Some("7secs"));
    assert!(!spec.environment.iter().any(|(key, _)| key.starts_with("KAON_")), "what is ours stays ours");
    // A second task while it is started: it waits, and takes nothing of its own.
    bench.more(custom("b"));
    bench.flush();
    bench.launched(77);
    bench.outside(subscribe(STREAM, &[], Vec::new()));
    let heard = bench.heard(STREAM);
    let AgentEvent::Subscribed { executor: told, framework, agent, container_id } = &heard[0] else {
        panic!("{heard:?}")
    };
    assert_eq!((&told.data, &framework.id), (&Some(vec![9, 8]), &Some(FrameworkId::trusted(FRAMEWORK))));
    assert_eq!((&agent.id, container_id), (&Some(AgentId::trusted("m-S0")), &container));
    assert_eq!(heard.len(), 1, "no task before the container has room for it: {heard:?}");
    let update = bench.asked.iter().find_map(|(_, request)| match request {
        ContainerRequest::Update { resources, .. } => Some(resources.clone()),
        _ => None,
    });
    assert_eq!(update, Some(Resources::cpus_and_mem(Quantity(2100), Quantity::units(288))));
    bench.resized();
    assert_eq!(bench.given(STREAM), [["a"], ["b"]]);
    assert_eq!(bench.rig.actor().load(), (1, 2), "one container, two tasks");
}

#[test]
fn a_status_over_http_is_accepted_stored_and_acknowledged_and_another_task_follows_it() {
    let mut bench = subscribed();
    bench.heard(STREAM);
    bench.outside(say("a", TaskState::Running, 1));
    assert_eq!(bench.heard(StreamId(1_001)), [AgentEvent::Accepted]);
    assert!(bench.heard(STREAM).is_empty(), "not before it is on disk (L5)");
    bench.flush();
    let told = ToExecutor::Acknowledged { task_id: TaskId::trusted("a"), uuid: uuid(1) };
    assert_eq!(bench.heard(STREAM), [AgentEvent::Told(told)]);
    assert_eq!(bench.take_update().executor_id, Some(ExecutorId::trusted("e")));
    bench.acknowledge("a", uuid(1));
    bench.outside(say("a", TaskState::Finished, 2));
    bench.flush();
    bench.acknowledge("a", uuid(2));
    bench.flush();
    bench.heard(STREAM);
    // It did not hear that, and repeats a status of a task that is forgotten.
    bench.outside(say("a", TaskState::Finished, 2));
    assert_eq!(bench.heard(STREAM).len(), 1, "it is put at ease");
    bench.more(custom("b"));
    assert!(bench.given(STREAM).is_empty(), "not before it is on disk (L5)");
    bench.flush();
    bench.resized();
    bench.resized();
    assert_eq!(bench.given(STREAM), [["b"]]);
}

#[test]
fn who_calls_is_judged_before_anything_else() {
    let mut bench = subscribed();
    let mut refusal = |caller: Caller| {
        let call = Call::Message { data: vec![1] };
        bench.outside(FromOutside::Call { caller: Box::new(caller), call, reply: StreamId(50) });
        bench.heard(StreamId(50)).remove(0)
    };
    let known = *caller();
    let foreign = Caller { framework_id: FrameworkId::trusted("x"), ..known.clone() };
    assert_eq!(refusal(foreign), AgentEvent::Refused(CallRefusal::UnknownFramework));
    let foreign = Caller { executor_id: ExecutorId::trusted("x"), ..known.clone() };
    assert_eq!(refusal(foreign), AgentEvent::Refused(CallRefusal::UnknownExecutor));
    let foreign = Caller { container_id: Some(ContainerId::trusted("x")), ..known.clone() };
    assert_eq!(refusal(foreign), AgentEvent::Refused(CallRefusal::NotYours), "a token of another container");
    assert_eq!(refusal(known.clone()), AgentEvent::Accepted);
    bench.outside(FromOutside::StreamClosed { stream: STREAM });
    bench.outside(FromOutside::Call { caller: caller(), call: Call::Message { data: vec![1] }, reply: StreamId(50) });
    assert_eq!(bench.heard(StreamId(50)), [AgentEvent::Refused(CallRefusal::NotSubscribed)]);
    // A command executor has a certificate; nobody speaks for it over HTTP.
    bench.running("t", HOST);
    let caller = Caller { executor_id: ExecutorId::trusted("t"), ..known };
    let (tasks, updates) = (Vec::new(), Vec::new());
    bench.outside(FromOutside::Subscribe { caller: Box::new(caller), tasks, updates, stream: StreamId(51) });
    assert_eq!(bench.heard(StreamId(51)), [AgentEvent::Refused(CallRefusal::NotYours)]);
    assert!(bench.closed.contains(&StreamId(51)));
}

#[test]
fn nobody_from_elsewhere_speaks_as_the_outside() {
    let mut bench = subscribed();
    let message = AgentMessage::Outside(subscribe(StreamId(9), &[], Vec::new()));
    for from in [Address::only(HOST, ActorKind::Outside), Address::only(AGENT, ActorKind::Executor)] {
        let effects = bench.rig.message(from, &message);
        bench.absorb(effects);
    }
    assert!(bench.heard(StreamId(9)).is_empty());
    assert_eq!(bench.counted["slave/refused_senders"], 2);
}

#[test]
fn a_new_stream_ends_the_old_one_and_what_did_not_arrive_is_dropped() {
    let mut bench = subscribed();
    assert_eq!(bench.given(STREAM), [["a"]]);
    bench.take_updates();
    let newer = StreamId(8);
    bench.outside(subscribe(newer, &["a"], vec![status("a", TaskState::Starting, 3)]));
    assert!(bench.closed.contains(&STREAM));
    bench.flush();
    assert_eq!(bench.take_update().uuid, Some(uuid(3)), "what it had not been told is stored is taken again");
    bench.outside(FromOutside::StreamClosed { stream: STREAM });
    bench.more(custom("b"));
    bench.flush();
    bench.resized();
    assert_eq!(bench.given(newer), [["b"]], "the end of the old stream is not that of the new one");
    bench.outside(FromOutside::StreamClosed { stream: newer });
    bench.more(custom("c"));
    bench.flush();
    bench.resized();
    let newest = StreamId(9);
    bench.outside(subscribe(newest, &["a"], Vec::new()));
    bench.flush();
    let dropped = bench.take_updates().into_iter().find(|(told, _)| told.task_id == TaskId::trusted("b"));
    let (told, _) = dropped.expect("its stream fell before it arrived");
    assert_eq!((told.state, told.reason), (TaskState::Dropped, Some(Reason::AgentRestarted)));
    bench.resized();
    assert_eq!(bench.given(newest), [["c"]], "what waited for it is delivered");
}

#[test]
fn kills_before_delivery_end_at_the_agent_and_an_executor_without_work_is_not_started() {
    let mut bench = Bench::registered(config());
    bench.run(custom("a"));
    bench.more(custom("b"));
    bench.flush();
    bench.kill("a");
    bench.flush();
    let told = bench.take_update();
    assert_eq!((told.state, told.reason), (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch)));
    bench.launched(77);
    bench.outside(subscribe(STREAM, &[], Vec::new()));
    bench.resized();
    assert_eq!(bench.given(STREAM), [["b"]], "the other one still runs");
    bench.kill("b");
    let kill = ToExecutor::Kill { task_id: TaskId::trusted("b"), grace: None };
    assert_eq!(bench.heard(STREAM), [AgentEvent::Told(kill)]);
    // All killed before it subscribes: it is ended.
    let mut bench = Bench::registered(config());
    bench.run(custom("a"));
    bench.started();
    bench.kill("a");
    assert_eq!(bench.kills(), 1);
}

#[test]
fn a_group_is_delivered_whole_and_killed_whole_while_it_waits() {
    let mut bench = Bench::registered(config());
    let pod = |names: &[&str]| names.iter().map(|name| on(ExecutorKind::Default, name)).collect::<Vec<_>>();
    bench.group(pod(&["z", "a"]), true);
    bench.flush();
    let (container, spec) = bench.launch();
    assert_eq!((&spec.program, &spec.user), (&Program::BuiltinExecutor, &None));
    assert!(spec.environment.contains(&("KAON_EXECUTOR_KIND".to_owned(), "default".to_owned())));
    assert_eq!(spec.resources, Resources::cpus_and_mem(Quantity(2100), Quantity::units(288)));
    bench.group(pod(&["k1", "k2"]), false);
    bench.flush();
    bench.kill("k2");
    bench.flush();
    let killed: Vec<_> =
        bench.take_updates().into_iter().map(|(told, _)| (told.task_id.to_string(), told.state)).collect();
    assert_eq!(killed, [("k1".to_owned(), TaskState::Killed), ("k2".to_owned(), TaskState::Killed)]);
    bench.launched(77);
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("e", &container, &[]));
    bench.resized();
    let told = core::mem::take(&mut bench.to_executors).into_iter().map(|(_, told)| told);
    assert_eq!(launched(told), [["z", "a"]], "in the order of the group");
    bench.group(pod(&["late"]), false);
    bench.flush();
    bench.resized();
    let told = core::mem::take(&mut bench.to_executors).into_iter().map(|(_, told)| told);
    assert_eq!(launched(told), [["late"]]);
    // A delivered one is its executor's to end.
    bench.kill("a");
    let kill = ToExecutor::Kill { task_id: TaskId::trusted("a"), grace: None };
    assert_eq!(bench.to_executors, [(HOST, kill)]);
}

#[test]
fn tasks_for_an_executor_that_has_ended_are_dropped_and_groups_are_refused_whole() {
    let mut bench = Bench::registered(config());
    bench.more(custom("a"));
    bench.flush();
    let told = bench.take_update();
    assert_eq!((told.state, told.reason), (TaskState::Dropped, Some(Reason::ExecutorTerminated)));
    assert_eq!(bench.rig.actor().load(), (0, 1), "nothing is started that nobody has paid for");
    let astray = TaskInfo { agent_id: AgentId::trusted("m-S9"), ..on(ExecutorKind::Default, "q") };
    bench.to_master.clear();
    bench.group(vec![on(ExecutorKind::Default, "p"), astray], true);
    bench.flush();
    let exited = bench.to_master.iter().any(|message| matches!(message, ToMaster::ExecutorExited { .. }));
    assert!(exited, "the master takes back what it has set aside");
    let refused = bench.take_updates();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|(told, _)| told.state == TaskState::Error), "{refused:?}");
}

#[test]
fn the_end_of_an_executor_ends_all_its_tasks_and_its_stream() {
    let mut bench = subscribed();
    bench.more(custom("b"));
    bench.flush();
    bench.to_master.clear();
    bench.exit(exited(3));
    bench.flush();
    assert!(bench.closed.contains(&STREAM));
    let told = bench.take_updates();
    let ends: Vec<_> = told.iter().map(|(told, _)| (told.task_id.as_str(), told.state, told.reason)).collect();
    let reason = Some(Reason::ExecutorTerminated);
    assert_eq!(ends, [("a", TaskState::Failed, reason), ("b", TaskState::Failed, reason)]);
    bench.resized();
    bench.outside(subscribe(StreamId(9), &[], Vec::new()));
    assert_eq!(bench.heard(StreamId(9)), [AgentEvent::Refused(CallRefusal::UnknownExecutor)]);
}

#[test]
fn a_shutdown_is_told_and_enforced_and_a_late_subscription_hears_it() {
    let mut bench = subscribed();
    bench.heard(STREAM);
    let (framework_id, executor_id) = (FrameworkId::trusted(FRAMEWORK), ExecutorId::trusted("e"));
    bench.master(ToAgent::ShutdownExecutor { framework_id, executor_id });
    assert_eq!(bench.heard(STREAM), [AgentEvent::Told(ToExecutor::Shutdown)]);
    bench.outside(subscribe(StreamId(8), &[], Vec::new()));
    assert_eq!(bench.heard(StreamId(8)), [AgentEvent::Told(ToExecutor::Shutdown)]);
    assert!(bench.closed.contains(&StreamId(8)));
    bench.pass(Duration::secs(6));
    assert_eq!(bench.kills(), 0, "it has seven seconds by its own words");
    bench.pass(Duration::secs(1));
    assert_eq!(bench.kills(), 1);
}

#[test]
fn a_restarted_agent_takes_its_executor_in_again_and_calls_wait_until_it_has_recovered() {
    let mut bench = subscribed();
    bench.outside(say("a", TaskState::Running, 1));
    bench.flush();
    bench.more(custom("b"));
    bench.flush();
    let container = bench.durable.keys().find_map(|key| {
        String::from_utf8_lossy(key).strip_prefix("executor/").map(|id| ContainerId::trusted(id.to_owned()))
    });
    let container = container.expect("it is on disk");
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.emitted.clear();
    bench.outside(subscribe(STREAM, &[], Vec::new()));
    assert_eq!(bench.heard(STREAM), [AgentEvent::Refused(CallRefusal::Recovering)], "the machine has not answered");
    bench.recovered(vec![container]);
    bench.outside(say("a", TaskState::Running, 5));
    assert_eq!(bench.heard(StreamId(1_005)), [AgentEvent::Refused(CallRefusal::Recovering)]);
    bench.outside(subscribe(STREAM, &["a"], vec![status("a", TaskState::Running, 1)]));
    assert!(matches!(bench.heard(STREAM)[0], AgentEvent::Subscribed { .. }));
    bench.join();
    let told = bench.take_updates();
    let dropped = told.iter().find(|(told, _)| told.task_id.as_str() == "b").expect("it never got that one");
    assert_eq!((dropped.0.state, dropped.0.reason), (TaskState::Dropped, Some(Reason::AgentRestarted)));
    bench.outside(say("a", TaskState::Finished, 6));
    assert_eq!(bench.heard(StreamId(1_006)), [AgentEvent::Accepted]);
}

#[test]
fn messages_go_both_ways_and_a_stream_is_kept_alive() {
    let mut bench = subscribed();
    bench.heard(STREAM);
    let (framework_id, executor_id) = (FrameworkId::trusted(FRAMEWORK), ExecutorId::trusted("e"));
    bench.master(ToAgent::Message { framework_id, executor_id, data: vec![1] });
    assert_eq!(bench.heard(STREAM), [AgentEvent::Told(ToExecutor::Message { data: vec![1] })]);
    bench.to_master.clear();
    bench.outside(FromOutside::Call { caller: caller(), call: Call::Message { data: vec![2] }, reply: StreamId(50) });
    assert!(matches!(&bench.to_master[..], [ToMaster::Message { data, .. }] if *data == [2]));
    for _ in 0..29 {
        bench.master(ToAgent::Ping { connected: true });
        bench.pass(Duration::secs(60));
    }
    assert!(bench.heard(STREAM).is_empty(), "the first comes after the interval");
    bench.master(ToAgent::Ping { connected: true });
    bench.pass(Duration::secs(60));
    assert_eq!(bench.heard(STREAM), [AgentEvent::Heartbeat]);
}

#[test]
fn who_looks_sees_everything_without_the_frameworks_bytes() {
    let mut bench = subscribed();
    bench.outside(FromOutside::Look { reply: StreamId(60) });
    let shown = bench.heard(StreamId(60));
    let (mut executors, mut tasks) = (0, 0);
    for event in &shown {
        match event {
            AgentEvent::Executor { pid, .. } => executors += usize::from(*pid == Some(77)),
            AgentEvent::Task { task, is_queued, .. } => tasks += usize::from(task.info.data.is_none() && !is_queued),
            _ => {}
        }
    }
    assert_eq!((executors, tasks, shown.last()), (1, 1, Some(&AgentEvent::End)), "{shown:?}");
}

#[test]
fn a_name_that_is_about_to_come_free_is_waited_for() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Finished, 1);
    bench.flush();
    bench.acknowledge("t", uuid(1));
    bench.run(task("t"));
    let is_launch = |(_, request): &(Ticket, ContainerRequest)| matches!(request, ContainerRequest::Launch { .. });
    assert!(!bench.asked.iter().any(is_launch), "the first is not forgotten yet");
    bench.flush();
    assert!(bench.asked.iter().any(is_launch), "and then it is run");
    bench.run(task("t"));
    bench.flush();
    assert_eq!(bench.asked.iter().filter(|one| is_launch(one)).count(), 1, "one that lives is not run twice");
}
