//! One script for each conversation, refusals included.

use super::*;
use kaon_kernel::actor::exit;
use kaon_kernel::container::{LimitKind, Limitation, Program};
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, Reason};

const HOST: HostId = HostId(100);

#[test]
fn registration_waits_for_a_leader_then_repeats_with_backoff_until_answered() {
    let mut bench = Bench::new(config());
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
    bench.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
    bench.pass(Duration::secs(100));
    assert!(bench.to_master.is_empty(), "it registers before it knows what it runs");
    bench.recovered(Vec::new());
    let (mut times, started) = (Vec::new(), bench.rig.now());
    for _ in 0..25_000 {
        bench.pass(Duration::millis(10));
        if !bench.take_registrations().is_empty() {
            times.push(bench.rig.now().since(started).as_seconds());
        }
    }
    assert!(times[0] <= 1.01, "the first comes within the bound of the random wait: {times:?}");
    let waits: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).round() as u64).collect();
    assert_eq!(waits, vec![1, 2, 4, 8, 16, 32, 60, 60, 60]);
    bench.welcome();
    bench.pass(Duration::secs(60));
    assert!(bench.rig.actor().is_registered());
    assert_eq!(bench.take_registrations().len(), 0);
    bench.flush();
    assert!(bench.durable.contains_key(checkpoint::AGENT_KEY.as_bytes()));
}

#[test]
fn a_master_that_says_twice_that_it_leads_is_registered_with_once() {
    let mut bench = Bench::new(config());
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
    // The agent asks who leads, and the answer comes after what the master said when the session began.
    bench.recovered(Vec::new());
    let leading = ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) };
    bench.master(leading.clone());
    bench.pass(Duration::secs(1));
    assert_eq!(bench.take_registrations().len(), 1);
    bench.master(leading);
    bench.welcome();
    assert!(bench.rig.actor().is_registered(), "what was granted to the first wish is taken");
    bench.run(task("t"));
    bench.pass(Duration::secs(60));
    assert_eq!((bench.take_registrations().len(), bench.rig.actor().load()), (0, (1, 1)));
}

#[test]
fn an_agent_that_is_refused_stops() {
    let mut bench = Bench::new(config());
    bench.recovered(Vec::new());
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
    bench.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
    bench.pass(Duration::secs(1));
    bench.master(ToAgent::Refused { reason: "it is full here".to_owned() });
    assert_eq!(bench.finished, Some(exit::REFUSED));
    assert!(bench.last_words.contains("it is full here"), "{}", bench.last_words);
}

#[test]
fn pings_are_answered_and_their_absence_or_a_doubt_leads_to_a_new_registration() {
    let mut bench = Bench::registered(config());
    bench.to_master.clear();
    bench.master(ToAgent::Ping { connected: true });
    assert_eq!(bench.to_master, vec![ToMaster::Pong]);
    bench.pass(Duration::secs(74));
    bench.master(ToAgent::Ping { connected: true });
    bench.to_master.clear();
    bench.pass(Duration::secs(74));
    assert!(bench.to_master.is_empty());
    bench.pass(Duration::secs(2));
    assert!(matches!(bench.take_registrations()[..], [ToMaster::Reregister { .. }]), "75 s without a ping");
    bench.welcome();
    bench.master(ToAgent::Ping { connected: false });
    bench.pass(Duration::secs(1));
    assert!(matches!(bench.take_registrations()[..], [ToMaster::Reregister { .. }]), "it holds us for disconnected");
}

#[test]
fn a_ping_tells_a_restarted_agent_who_leads() {
    let mut bench = Bench::registered(config());
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.recovered(Vec::new());
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
    bench.pass(Duration::secs(10));
    assert!(bench.to_master.is_empty());
    bench.master(ToAgent::Ping { connected: true });
    bench.pass(Duration::secs(1));
    assert!(matches!(bench.take_registrations()[..], [ToMaster::Reregister { .. }]));
}

#[test]
fn old_terms_and_masters_that_do_not_lead_change_nothing() {
    let mut bench = Bench::registered(config());
    let newer = HostId(3);
    bench.link(newer, PeerRole::Master, "master-2", LinkState::Up);
    bench.master_at(newer, 2, ToAgent::Leading { master_id: MasterId::trusted("n"), term: Term(2) });
    assert!(!bench.rig.actor().is_registered());
    bench.flush();
    bench.run(task("old"));
    bench.master(ToAgent::Ping { connected: true });
    bench.master(ToAgent::Shutdown { reason: "old".to_owned() });
    assert_eq!(bench.counted["slave/stale_messages"], 3);
    // The same after a restart: the term is on disk.
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.recovered(Vec::new());
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
    bench.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
    bench.pass(Duration::secs(5));
    assert!(bench.to_master.is_empty(), "{:?}", bench.to_master);
    assert_eq!(bench.rig.actor().load(), (0, 0));
}

#[test]
fn only_a_certificate_of_a_master_may_give_orders() {
    let mut bench = Bench::registered(config());
    let container = bench.running("t", HOST);
    bench.link(HostId(9), PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.master_at(HostId(9), 1, ToAgent::Shutdown { reason: "mine".to_owned() });
    bench.master_at(HostId(8), 1, ToAgent::Shutdown { reason: "mine".to_owned() });
    assert_eq!(bench.counted["slave/refused_senders"], 2);
    assert_eq!(bench.rig.actor().load(), (1, 1));
}

#[test]
fn a_task_is_on_disk_before_its_container_is_started_with_the_whole_environment() {
    let mut bench = Bench::registered(AgentConfig { switch_user: true, ..config() });
    bench.run(task("t"));
    assert!(bench.asked.is_empty(), "started before it is on disk (L5)");
    bench.flush();
    let (container, spec) = bench.launch();
    let sandbox = format!("slaves/m-S0/frameworks/{FRAMEWORK}/executors/t/runs/{container}");
    assert_eq!(spec.sandbox, sandbox);
    assert_eq!((spec.program, spec.join, spec.user.as_deref()), (Program::BuiltinExecutor, false, Some("nobody")));
    assert_eq!(spec.resources, Resources::cpus_and_mem(Quantity(1100), Quantity::units(160)));
    let directory = format!("/var/lib/kaon/{sandbox}");
    let wanted = [
        ("MESOS_FRAMEWORK_ID", FRAMEWORK),
        ("MESOS_EXECUTOR_ID", "t"),
        ("MESOS_SLAVE_ID", "m-S0"),
        ("MESOS_SLAVE_PID", "slave(1)@10.0.0.7:5051"),
        ("MESOS_AGENT_ENDPOINT", "10.0.0.7:5051"),
        ("MESOS_DIRECTORY", &directory),
        ("MESOS_SANDBOX", &directory),
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "15mins"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0"),
        ("LIBPROCESS_PORT", "0"),
        ("LIBPROCESS_IP", "10.0.0.7"),
        ("MESOS_ALLOCATION_ROLE", "eng"),
        ("KAON_CONTAINER_ID", container.as_str()),
        ("KAON_SANDBOX", &sandbox),
    ];
    let wanted: Vec<(String, String)> = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(spec.environment, wanted);
    bench.run(task("t"));
    bench.flush();
    assert_eq!(bench.asked.len(), 1, "a task that is known is not run twice");
}

#[test]
fn a_task_goes_from_launch_to_the_last_acknowledgement_and_leaves_nothing() {
    let mut bench = Bench::registered(config());
    let container = bench.running("t", HOST);
    let launched = bench.to_executors.iter().any(|(host, message)| {
        *host == HOST && matches!(message, ToExecutor::Launch { task } if task.data == Some(vec![1, 2, 3]))
    });
    assert!(
        launched
            && bench.to_executors.contains(&(HOST, ToExecutor::Registered { task_killing_state: true, user: None }))
    );
    bench.to_executors.clear();
    bench.to_master.clear();
    bench.update(HOST, "t", TaskState::Running, 1);
    assert!(bench.to_executors.is_empty() && bench.to_master.is_empty(), "told before it is on disk (L5)");
    bench.flush();
    assert_eq!(bench.take_acknowledged(), vec![uuid(1)]);
    let told = bench.take_update();
    let place = told.container.clone().expect("a container status");
    assert_eq!(
        (told.uuid, told.source, told.agent_id),
        (Some(uuid(1)), Source::Executor, Some(AgentId::trusted("m-S0")))
    );
    assert_eq!((place.container_id, place.executor_pid), (container, Some(77)));
    assert_eq!(place.ip_addresses, vec!["10.0.0.7".to_owned()]);
    // The next one waits for the first.
    bench.update(HOST, "t", TaskState::Finished, 2);
    bench.flush();
    assert_eq!(bench.take_acknowledged(), vec![uuid(2)]);
    assert!(bench.take_updates().is_empty());
    bench.acknowledge("t", uuid(9));
    bench.flush();
    assert!(bench.take_updates().is_empty(), "a wrong uuid changes nothing");
    bench.acknowledge("t", uuid(1));
    assert!(bench.take_updates().is_empty(), "the acknowledgement is not on disk yet");
    bench.flush();
    let (last, latest) = bench.take_updates().remove(0);
    assert_eq!((last.uuid, latest), (Some(uuid(2)), TaskState::Finished));
    bench.acknowledge("t", uuid(2));
    bench.flush();
    assert_eq!(bench.rig.actor().load(), (1, 0));
    // The executor did not hear it and repeats: it is put at ease.
    bench.update(HOST, "t", TaskState::Finished, 2);
    assert_eq!(bench.take_acknowledged(), vec![uuid(2)]);
    bench.exit(exited(0));
    bench.flush();
    let cleaned = bench.asked.iter().any(|(_, request)| matches!(request, ContainerRequest::Cleanup { .. }));
    assert!(cleaned && bench.keys().is_empty(), "{:?}", bench.keys());
    assert_eq!(bench.rig.actor().load(), (0, 0));
    assert!(bench.to_master.iter().any(|message| matches!(message, ToMaster::ExecutorExited { status: 0, .. })));
}

#[test]
fn statuses_are_repeated_with_backoff_and_at_once_after_a_registration_but_not_without_a_master() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    bench.take_update();
    let mut waits = Vec::new();
    let mut last = bench.rig.now();
    for _ in 0..900 {
        bench.master(ToAgent::Ping { connected: true });
        bench.pass(Duration::secs(5));
        if !bench.take_updates().is_empty() {
            waits.push(bench.rig.now().since(last).as_seconds() as u64);
            last = bench.rig.now();
        }
    }
    assert_eq!(waits, vec![10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600, 600]);
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Down);
    bench.pass(Duration::secs(2000));
    assert!(bench.take_updates().is_empty(), "there is no master");
    bench.join();
    assert_eq!(bench.take_update().uuid, Some(uuid(1)));
    bench.pass(Duration::secs(10));
    assert_eq!(bench.take_update().uuid, Some(uuid(1)), "the backoff begins anew");
}

#[test]
fn statuses_that_come_twice_or_take_a_wrong_step_are_taken_once_or_not() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.take_acknowledged();
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    assert_eq!(bench.take_acknowledged(), vec![uuid(1)]);
    bench.update(HOST, "t", TaskState::Running, 1);
    assert_eq!(bench.take_acknowledged(), vec![uuid(1)], "its executor did not hear it");
    bench.update(HOST, "t", TaskState::Starting, 2);
    bench.update(HOST, "t", TaskState::Staging, 3);
    bench.flush();
    assert_eq!(bench.take_updates().len(), 1);
    assert_eq!(bench.counted["slave/invalid_status_updates"], 2);
    for number in 10..200 {
        bench.update(HOST, "t", TaskState::Running, number);
    }
    bench.flush();
    assert_eq!(bench.keys().iter().filter(|key| key.starts_with("update/")).count(), 64, "no more may wait");
    bench.update(HOST, "t", TaskState::Finished, 300);
    bench.flush();
    assert!(bench.take_acknowledged().contains(&uuid(300)), "there is always room for the last");
}

#[test]
fn an_executor_speaks_for_its_own_container_alone() {
    let mut bench = Bench::registered(config());
    let first = bench.running("a", HostId(100));
    bench.running("b", HostId(101));
    bench.to_master.clear();
    bench.update(HostId(101), "a", TaskState::Failed, 1);
    bench.executor(HostId(101), Bench::register_message("a", &first, &[]));
    bench.update(HostId(102), "a", TaskState::Failed, 2);
    // A host that claims a container by name, but has no certificate for it.
    bench.link(HostId(103), PeerRole::Executor, "somebody", LinkState::Up);
    bench.executor(HostId(103), Bench::register_message("a", &first, &[]));
    bench.flush();
    assert!(bench.take_updates().is_empty());
    assert_eq!(bench.counted["slave/invalid_status_updates"], 1);
    assert_eq!(bench.counted["slave/refused_senders"], 3);
    bench.update(HostId(100), "a", TaskState::Running, 3);
    bench.flush();
    assert_eq!(bench.take_update().uuid, Some(uuid(3)));
}

fn refused(bench: &mut Bench, task_id: &str) -> (TaskState, Option<Reason>, String) {
    bench.flush();
    let status = bench.take_update();
    assert_eq!((status.task_id.as_str(), status.source), (task_id, Source::Agent));
    (status.state, status.reason, status.message.unwrap_or_default())
}

#[test]
fn tasks_that_can_not_run_are_refused_with_a_status_that_is_kept() {
    let mut bench = Bench::registered(config());
    let info = ExecutorInfo {
        executor_id: ExecutorId::trusted("e"),
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
    bench.to_master.clear();
    bench.run(TaskInfo { executor: Some(info), command: None, ..task("custom") });
    let message = "the task has neither a command nor an executor that can be started".to_owned();
    assert_eq!(refused(&mut bench, "custom"), (TaskState::Error, Some(Reason::TaskInvalid), message));
    bench.run(TaskInfo { command: None, ..task("empty") });
    assert_eq!(refused(&mut bench, "empty").0, TaskState::Error);
    bench.run(TaskInfo { command: Some(CommandInfo::default()), ..task("blank") });
    assert_eq!(refused(&mut bench, "blank").0, TaskState::Error);
    bench.run(TaskInfo { agent_id: AgentId::trusted("m-S1"), ..task("elsewhere") });
    assert_eq!(refused(&mut bench, "elsewhere").0, TaskState::Error);
    bench.run(TaskInfo { task_id: TaskId::trusted("a/b"), ..task("x") });
    assert_eq!(bench.counted["slave/ignored_orders"], 1, "a name that can't be one");
    assert!(!bench.asked.iter().any(|(_, request)| matches!(request, ContainerRequest::Launch { .. })));
    bench.master(ToAgent::Ping { connected: false });
    bench.run(task("early"));
    bench.flush();
    bench.pass(Duration::secs(1));
    bench.welcome();
    let updates = bench.take_updates();
    let early = updates.iter().find(|(status, _)| status.task_id.as_str() == "early").expect("a status");
    assert_eq!((early.0.state, early.0.reason), (TaskState::Dropped, Some(Reason::AgentDisconnected)));
    // Each is forgotten when its scheduler has seen it.
    for (status, _) in updates {
        bench.acknowledge(status.task_id.as_str(), status.uuid.expect("it wants an answer"));
    }
    bench.flush();
    assert!(bench.keys().is_empty(), "{:?}", bench.keys());
}

#[test]
fn a_task_that_never_arrived_is_dropped_when_the_master_asks() {
    let mut bench = Bench::registered(config());
    bench.run(task("here"));
    bench.flush();
    bench.to_master.clear();
    let framework_id = FrameworkId::trusted(FRAMEWORK);
    let tasks = ["here", "lost"].map(|id| (framework_id.clone(), TaskId::trusted(id)));
    bench.master(ToAgent::Reconcile { tasks: tasks.to_vec() });
    bench.flush();
    let status = bench.take_update();
    assert_eq!(
        (status.task_id.as_str(), status.state, status.reason),
        ("lost", TaskState::Dropped, Some(Reason::Reconciliation))
    );
}

#[test]
fn a_kill_before_the_executor_is_there_ends_the_task_and_its_container() {
    // While its record is being written: nothing is ever started.
    let mut bench = Bench::registered(config());
    bench.to_master.clear();
    bench.run(task("t"));
    bench.kill("t");
    bench.flush();
    let status = bench.take_update();
    assert_eq!((status.state, status.reason), (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch)));
    assert!(!bench.asked.iter().any(|(_, request)| matches!(request, ContainerRequest::Launch { .. })));
    assert_eq!(bench.rig.actor().load().0, 0);
    // While the machine builds it, and while its executor starts.
    for is_launched in [false, true] {
        let mut bench = Bench::registered(config());
        bench.to_master.clear();
        bench.run(task("t"));
        bench.flush();
        if is_launched {
            bench.launched(5);
            bench.kill("t");
        } else {
            bench.kill("t");
            assert_eq!(bench.kills(), 1, "what it fetches is given up at once");
            bench.launched(5);
        }
        bench.flush();
        let status = bench.take_update();
        assert_eq!((status.state, status.reason), (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch)));
        assert_eq!(bench.kills(), if is_launched { 1 } else { 2 });
        bench.exit(exited(9));
        bench.flush();
        assert!(bench.take_updates().is_empty(), "it has ended once");
        assert_eq!(bench.rig.actor().load().0, 0);
    }
}

#[test]
fn a_kill_is_told_to_the_executor_and_again_when_it_comes_back() {
    let mut bench = Bench::registered(config());
    let container = bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    bench.to_executors.clear();
    let kill = ToExecutor::Kill { task_id: TaskId::trusted("t"), grace: None };
    bench.kill("t");
    assert_eq!(bench.to_executors, vec![(HOST, kill.clone())]);
    bench.to_executors.clear();
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Down);
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("t", &container, &["t"]));
    assert!(bench.to_executors.contains(&(HOST, kill)));
    bench.kill("unknown");
    assert_eq!(bench.counted["slave/ignored_orders"], 1);
}

#[test]
fn failures_of_a_container_are_told_with_their_reasons() {
    let cases: [(&str, TaskState, Reason, &str); 6] = [
        ("launch", TaskState::Failed, Reason::ContainerLaunchFailed, "no such image"),
        ("silence", TaskState::Failed, Reason::ExecutorRegistrationTimeout, "did not register within"),
        ("exit", TaskState::Failed, Reason::ExecutorTerminated, "Executor exited with status 3"),
        ("limit", TaskState::Failed, Reason::ContainerLimitation, "pids: 40 of 32"),
        ("memory", TaskState::Failed, Reason::ContainerLimitationMemory, "40 of 32 MB"),
        ("disk", TaskState::Failed, Reason::ContainerLimitationDisk, "40 of 32 MB"),
    ];
    for (case, state, reason, words) in cases {
        let mut bench = Bench::registered(config());
        bench.run(task("t"));
        bench.flush();
        bench.to_master.clear();
        match case {
            "launch" => {
                let is_launch = |request: &ContainerRequest| matches!(request, ContainerRequest::Launch { .. });
                bench.answer(is_launch, ContainerOutcome::Failed { reason: "no such image".to_owned() });
            }
            "silence" => {
                bench.launched(1);
                bench.pass(Duration::secs(60));
                assert_eq!(bench.kills(), 1);
                bench.exit(exited(9));
            }
            "exit" => {
                bench.launched(1);
                bench.exit(exited(3));
            }
            _ => {
                bench.launched(1);
                let kind = match case {
                    "memory" => LimitKind::Memory,
                    "disk" => LimitKind::Disk,
                    _ => LimitKind::Other,
                };
                let resources = Resources::cpus_and_mem(Quantity::default(), Quantity::units(40));
                let limitation = Limitation { kind, resources, ..Limitation::other(words) };
                let limitation = Some(Box::new(limitation));
                bench.exit(ContainerOutcome::Exited(Exit { status: None, limitation, usage: Usage::default() }));
            }
        }
        bench.flush();
        let exits = bench.to_master.iter().filter(|message| matches!(message, ToMaster::ExecutorExited { .. })).count();
        assert_eq!(exits, 1, "{case}");
        let status = bench.take_update();
        assert_eq!((status.state, status.reason), (state, Some(reason)), "{case}");
        let message = status.message.unwrap_or_default();
        assert!(message.contains(words), "{case}: {message}");
        let is_limit = matches!(case, "limit" | "memory" | "disk");
        assert_eq!(status.limitation.is_some(), is_limit, "{case}: {:?}", status.limitation);
        assert_eq!(bench.rig.actor().load(), (0, 1));
    }
}

#[test]
fn an_executor_is_shut_down_with_its_grace_then_destroyed() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    let (framework_id, executor_id) = (FrameworkId::trusted(FRAMEWORK), ExecutorId::trusted("t"));
    bench.master(ToAgent::ShutdownExecutor { framework_id, executor_id });
    assert!(bench.to_executors.contains(&(HOST, ToExecutor::Shutdown)));
    bench.pass(Duration::millis(4999));
    assert_eq!(bench.kills(), 0);
    bench.pass(Duration::millis(1));
    assert_eq!(bench.kills(), 1);
    bench.exit(exited(9));
    bench.flush();
    bench.to_master.clear();
    bench.acknowledge("t", uuid(1));
    bench.flush();
    assert_eq!(bench.take_update().state, TaskState::Failed);
}

#[test]
fn a_framework_that_is_ended_leaves_nothing_and_its_statuses_are_told_to_nobody() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.run(TaskInfo { command: None, ..task("refused") });
    bench.flush();
    bench.to_master.clear();
    bench.take_acknowledged();
    bench.master(ToAgent::ShutdownFramework { framework_id: FrameworkId::trusted(FRAMEWORK) });
    bench.run(task("late"));
    bench.update(HOST, "t", TaskState::Killed, 1);
    assert_eq!(bench.take_acknowledged(), vec![uuid(1)]);
    bench.exit(exited(0));
    bench.flush();
    assert!(bench.take_updates().is_empty());
    assert!(bench.keys().is_empty(), "{:?}", bench.keys());
    assert_eq!(bench.rig.actor().load(), (0, 0));
}

#[test]
fn a_shutdown_ends_everything_and_forgets_the_name() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.master(ToAgent::Shutdown { reason: "bye".to_owned() });
    assert!(bench.to_executors.contains(&(HOST, ToExecutor::Shutdown)));
    bench.exit(exited(0));
    assert_eq!(bench.finished, None, "it is not forgotten yet");
    bench.flush();
    assert_eq!(bench.finished, Some(0));
    assert!(bench.durable.is_empty(), "{:?}", bench.keys());
}

#[test]
fn messages_between_scheduler_and_executor_are_passed_on_when_both_are_there() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.to_master.clear();
    bench.executor(HOST, FromExecutor::Message { data: vec![7] });
    assert!(matches!(&bench.to_master[..], [ToMaster::Message { data, .. }] if *data == vec![7]));
    let to = |executor: &str| {
        let (framework_id, executor_id) = (FrameworkId::trusted(FRAMEWORK), ExecutorId::trusted(executor));
        ToAgent::Message { framework_id, executor_id, data: vec![8] }
    };
    bench.master(to("t"));
    bench.master(to("nobody"));
    assert!(bench.to_executors.contains(&(HOST, ToExecutor::Message { data: vec![8] })));
    assert_eq!(bench.counted["slave/invalid_framework_messages"], 1);
}

#[test]
fn a_report_of_very_much_still_fits_into_a_frame() {
    let mut bench = Bench::registered(config());
    for number in 0..40 {
        let mut large = task(&format!("t{number}"));
        large.rest = vec![0; 1 << 19];
        bench.run(large);
    }
    bench.flush();
    bench.to_master.clear();
    bench.master(ToAgent::Ping { connected: false });
    bench.pass(Duration::secs(1));
    let [ToMaster::Reregister { tasks, .. }] = &bench.take_registrations()[..] else { panic!("one registration") };
    assert_eq!(tasks.len(), 40);
    assert!(tasks.iter().all(|(_, task)| !task.info.resources.is_empty()), "the books need resources");
}

#[test]
fn a_disk_that_takes_nothing_more_ends_the_agent() {
    let mut bench = Bench::registered(config());
    bench.run(task("t"));
    let (ticket, _) = bench.unwritten.pop_front().expect("a batch");
    let error = kaon_kernel::actor::StorageError("full".to_owned());
    let effects = bench.rig.done(ticket, Outcome::Persisted(Err(error)));
    bench.absorb(effects);
    assert_eq!(bench.finished, Some(exit::STORAGE));
    assert!(bench.asked.is_empty(), "nothing is started on a disk that forgets");
}
