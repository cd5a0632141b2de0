//! The agent begins afresh: what was on disk is taken up, what ran is found again or told as lost.

use super::*;
use kaon_kernel::task::Reason;

const HOST: HostId = HostId(100);

fn known(bench: &Bench) -> Vec<ContainerId> {
    let request = bench.asked.iter().find_map(|(_, request)| match request {
        ContainerRequest::Recover { known } => Some(known.clone()),
        _ => None,
    });
    request.expect("the machine is asked what it runs")
}

fn with_a_running_task() -> (Bench, ContainerId) {
    let mut bench = Bench::registered(config());
    let container = bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    (bench, container)
}

#[test]
fn an_empty_journal_destroys_what_a_former_life_left() {
    let bench = Bench::new(config());
    assert_eq!(known(&bench), Vec::new());
}

#[test]
fn an_executor_that_comes_back_goes_on_and_only_then_the_agent_registers() {
    let (mut bench, container) = with_a_running_task();
    let journal = bench.durable.clone();
    bench.restart(journal);
    assert_eq!(known(&bench), vec![container.clone()]);
    // The links of the host stand: after a panic nobody but the host tells of them.
    bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    assert_eq!(bench.to_executors, vec![(HOST, ToExecutor::Reconnect)]);
    bench.to_executors.clear();
    bench.recovered(vec![container.clone()]);
    assert_eq!(bench.to_executors, vec![(HOST, ToExecutor::Reconnect)]);
    bench.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
    bench.pass(Duration::millis(1500));
    assert!(bench.to_master.is_empty(), "it does not know yet what it runs");
    let mut message = Bench::register_message("t", &container, &["t"]);
    if let FromExecutor::Register { unacknowledged, .. } = &mut message {
        unacknowledged.push(status("t", TaskState::Running, 1));
        unacknowledged.push(status("t", TaskState::Killing, 2));
    }
    bench.executor(HOST, message);
    bench.flush();
    assert_eq!(bench.take_acknowledged(), vec![uuid(1), uuid(2)], "the one it had, and the one it missed");
    bench.pass(Duration::secs(1));
    let [ToMaster::Reregister { info, frameworks, executors, tasks, .. }] = &bench.take_registrations()[..] else {
        panic!("one registration")
    };
    assert_eq!(info.id, Some(AgentId::trusted("m-S0")));
    assert_eq!((frameworks.len(), executors.len(), tasks.len()), (1, 1, 1));
    assert_eq!(executors[0].role, RoleName::trusted("eng"));
    let task = &tasks[0].1;
    assert_eq!((task.state, task.unacknowledged), (TaskState::Killing, Some((TaskState::Running, uuid(1)))));
    bench.welcome();
    let status = bench.take_update();
    assert_eq!((status.uuid, status.container.and_then(|place| place.executor_pid)), (Some(uuid(1)), Some(77)));
    bench.pass(Duration::secs(5));
    assert_eq!(bench.kills(), 0);
}

#[test]
fn an_executor_that_does_not_come_back_is_destroyed_and_its_task_is_gone() {
    let (mut bench, container) = with_a_running_task();
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.recovered(vec![container]);
    bench.pass(Duration::millis(1999));
    assert_eq!(bench.kills(), 0);
    bench.pass(Duration::millis(1));
    assert_eq!(bench.kills(), 1);
    bench.join();
    bench.exit(exited(9));
    bench.flush();
    bench.to_master.clear();
    bench.acknowledge("t", uuid(1));
    bench.flush();
    let status = bench.take_update();
    assert_eq!((status.state, status.reason), (TaskState::Gone, Some(Reason::ExecutorReregistrationTimeout)));
}

#[test]
fn a_container_that_is_gone_fails_its_task_and_one_that_ended_tells_how() {
    for survives in [false, true] {
        let (mut bench, container) = with_a_running_task();
        let journal = bench.durable.clone();
        bench.restart(journal);
        bench.recovered(if survives { vec![container] } else { Vec::new() });
        if survives {
            bench.exit(exited(4));
        }
        bench.flush();
        bench.join();
        assert_eq!(bench.take_update().uuid, Some(uuid(1)), "the older one first");
        bench.acknowledge("t", uuid(1));
        bench.flush();
        let status = bench.take_update();
        assert_eq!((status.state, status.reason), (TaskState::Failed, Some(Reason::ExecutorTerminated)));
        let words = if survives { "exited with status 4" } else { "while the agent was away" };
        assert!(status.message.clone().unwrap_or_default().contains(words), "{status:?}");
        bench.acknowledge("t", status.uuid.expect("it wants an answer"));
        bench.flush();
        assert!(bench.keys().is_empty(), "{:?}", bench.keys());
    }
}

#[test]
fn a_task_that_its_executor_does_not_hold_any_more_has_failed() {
    let (mut bench, container) = with_a_running_task();
    bench.acknowledge("t", uuid(1));
    bench.flush();
    bench.to_master.clear();
    bench.executor(HOST, Bench::register_message("t", &container, &[]));
    bench.flush();
    let status = bench.take_update();
    assert_eq!((status.state, status.reason), (TaskState::Failed, Some(Reason::ExecutorTerminated)));
}

#[test]
fn a_status_that_was_done_with_before_the_restart_is_not_told_again() {
    let (mut bench, container) = with_a_running_task();
    bench.acknowledge("t", uuid(1));
    bench.flush();
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.recovered(vec![container.clone()]);
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    let mut message = Bench::register_message("t", &container, &["t"]);
    if let FromExecutor::Register { unacknowledged, .. } = &mut message {
        unacknowledged.push(status("t", TaskState::Running, 1));
    }
    bench.executor(HOST, message);
    assert_eq!(bench.take_acknowledged(), vec![uuid(1)], "it is remembered by its uuid");
    bench.join();
    assert!(bench.take_updates().is_empty());
}

#[test]
fn records_that_do_not_read_are_skipped_and_never_stop_the_agent() {
    let (mut bench, container) = with_a_running_task();
    bench.update(HOST, "t", TaskState::Finished, 2);
    bench.flush();
    let journal = bench.durable.clone();
    assert_eq!(journal.len(), 7, "agent, executor, framework, stream, task, two updates");
    for key in journal.keys() {
        for damage in 0..4 {
            let mut damaged = journal.clone();
            let value = damaged.get_mut(key).expect("it is there");
            match damage {
                0 => value.clear(),
                1 => value[0] ^= 0xff,
                2 => value.truncate(value.len() / 2),
                _ => value.iter_mut().for_each(|byte| *byte = 0xa5),
            }
            bench.counted.clear();
            bench.restart(damaged);
            assert_eq!(bench.counted.get("slave/recovery_errors"), Some(&1), "{key:?}");
            let survivors = known(&bench);
            bench.recovered(survivors.clone());
            if survivors == vec![container.clone()] {
                bench.exit(exited(0));
            }
            bench.flush();
            bench.pass(Duration::secs(2));
            if key.starts_with(b"agent") {
                continue;
            }
            bench.join();
            // Whatever was damaged, the task that is still known comes to its end.
            for _ in 0..3 {
                for (status, _) in bench.take_updates() {
                    bench.acknowledge("t", status.uuid.expect("it wants an answer"));
                }
                bench.flush();
            }
            assert_eq!(bench.rig.actor().load(), (0, 0), "{}", String::from_utf8_lossy(key));
        }
    }
}
