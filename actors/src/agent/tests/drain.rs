//! Draining: tasks are ended in their time, say why, and nothing new is taken until all are gone.

use super::{Bench, config, framework, task, uuid};
use kaon_kernel::actor::{HostId, LinkState};
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::maintenance::DrainConfig;
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::executor_agent::ToExecutor;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::task::{Reason, TaskState};
use kaon_kernel::time::Duration;

const HOST: HostId = HostId(50);

fn drain(bench: &mut Bench, mark_gone: bool) {
    bench.master(ToAgent::Drain { config: DrainConfig { grace_max: Some(Duration::secs(2)), mark_gone } });
}

/// Grace of the kill that the executor was told.
fn grace(bench: &Bench) -> Option<Duration> {
    let mut kills = bench.to_executors.iter().filter_map(|(_, message)| match message {
        ToExecutor::Kill { grace, .. } => Some(*grace),
        _ => None,
    });
    kills.next_back().expect("a kill was told")
}

#[test]
fn the_longest_grace_holds_where_a_task_has_a_longer_one_or_none() {
    for (own, told) in [(None, Some(2)), (Some(1), None), (Some(2), None), (Some(3), Some(2))] {
        let config = DrainConfig { grace_max: Some(Duration::secs(2)), mark_gone: false };
        assert_eq!(config.grace(own.map(Duration::secs)), told.map(Duration::secs), "{own:?}");
    }
    assert_eq!(DrainConfig::default().grace(None), None);
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.flush();
    drain(&mut bench, false);
    assert_eq!(grace(&bench), Some(Duration::secs(2)));
}

#[test]
fn a_drained_task_says_so_and_the_order_ends_with_the_last() {
    let mut bench = Bench::registered(config());
    bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    bench.acknowledge("t", uuid(1));
    bench.flush();
    drain(&mut bench, false);
    bench.flush();
    assert!(bench.keys().contains(&"drain".to_owned()), "{:?}", bench.keys());
    // What arrives now is dropped.
    bench.take_updates();
    bench.run(task("late"));
    bench.flush();
    let late = bench.take_update();
    assert_eq!((late.state, late.reason), (TaskState::Dropped, Some(Reason::AgentDraining)));
    bench.acknowledge("late", late.uuid.expect("it has one"));
    bench.update(HOST, "t", TaskState::Killing, 2);
    bench.flush();
    let killing = bench.take_update();
    assert_eq!((killing.state, killing.reason), (TaskState::Killing, Some(Reason::AgentDraining)));
    bench.acknowledge("t", uuid(2));
    bench.flush();
    bench.update(HOST, "t", TaskState::Killed, 3);
    bench.flush();
    let killed = bench.take_update();
    assert_eq!((killed.state, killed.reason), (TaskState::Killed, Some(Reason::AgentDraining)));
    bench.acknowledge("t", uuid(3));
    bench.flush();
    bench.exit(super::exited(0));
    bench.flush();
    assert!(!bench.keys().contains(&"drain".to_owned()), "nothing is left: {:?}", bench.keys());
    drain(&mut bench, false);
    assert!(bench.unwritten.is_empty(), "an empty agent has nothing to write down");
}

#[test]
fn a_drain_that_ends_in_a_gone_agent_is_told_to_those_who_know_the_word() {
    for (capabilities, expected) in [
        (vec![Capability::PartitionAware], TaskState::GoneByOperator),
        (vec![Capability::TaskKillingState], TaskState::Killed),
    ] {
        let mut bench = Bench::registered(config());
        let words = FrameworkInfo { capabilities, ..framework() };
        bench.running("t", HOST);
        bench.master(ToAgent::UpdateFramework { framework: Box::new(words) });
        bench.update(HOST, "t", TaskState::Running, 1);
        bench.flush();
        bench.acknowledge("t", uuid(1));
        bench.flush();
        drain(&mut bench, true);
        bench.take_updates();
        bench.update(HOST, "t", TaskState::Killed, 2);
        bench.flush();
        let killed = bench.take_update();
        assert_eq!((killed.state, killed.reason), (expected, Some(Reason::AgentDraining)));
    }
}

#[test]
fn an_agent_that_began_afresh_is_still_draining() {
    let mut bench = Bench::registered(config());
    let container = bench.running("t", HOST);
    bench.update(HOST, "t", TaskState::Running, 1);
    bench.flush();
    drain(&mut bench, false);
    bench.flush();
    let journal = bench.durable.clone();
    bench.restart(journal);
    bench.recovered(vec![container.clone()]);
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("t", &container, &["t"]));
    bench.join();
    bench.welcome();
    bench.flush();
    bench.take_updates();
    bench.run(task("late"));
    bench.flush();
    let updates = bench.take_updates();
    let late = updates.iter().find(|(status, _)| status.task_id.as_str() == "late").expect("it is refused");
    assert_eq!(late.0.reason, Some(Reason::AgentDraining));
}
