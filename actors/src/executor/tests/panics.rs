//! Panics at any point of a task's life: one start, one end, no status taken back.

use super::*;
use proptest::prelude::*;

/// The order of a life; every end comes after these.
const LIFE: [TaskState; 3] = [TaskState::Starting, TaskState::Running, TaskState::Killing];

/// What the agent and the machine see of a life with panics in it.
#[derive(Default)]
struct Witness {
    /// Statuses that were told, in order of their first arrival.
    told: Vec<(Uuid, TaskState)>,
    /// Those that the agent has acknowledged.
    kept: Vec<Uuid>,
    launched: Vec<ContainerId>,
    runs: bool,
}

impl Witness {
    fn hear(&mut self, bench: &mut Bench) {
        for message in core::mem::take(&mut bench.said) {
            let statuses = match message {
                ToAgent::Update { status } => vec![*status],
                ToAgent::Register { unacknowledged, .. } => unacknowledged,
                ToAgent::Message { .. } => Vec::new(),
            };
            for status in statuses {
                let uuid = status.uuid.expect("a uuid");
                if self.kept.contains(&uuid) {
                    // The agent has it on disk already, and says so again.
                    bench.agent(ToExecutor::Acknowledged { task_id: TaskId::trusted("t"), uuid });
                }
                // What comes again the agent knows by its uuid; what is new must be newer than all before it.
                if self.told.iter().all(|(told, _)| *told != uuid) {
                    let rank = |state| LIFE.iter().position(|known| *known == state).unwrap_or(LIFE.len());
                    let newest = self.told.last().map(|(_, state)| rank(*state));
                    assert!(newest.is_none_or(|newest| newest < rank(status.state)), "{:?} {status:?}", self.told);
                    self.told.push((uuid, status.state));
                }
            }
        }
    }

    fn act(&mut self, bench: &mut Bench, what: u8) {
        match what {
            0 => bench.agent(ToExecutor::Registered { task_killing_state: true, user: None }),
            1 => bench.agent(ToExecutor::Launch { task: Box::new(task()) }),
            2..=4 => {
                bench.flush_one();
            }
            5 | 6 => {
                if let Some((uuid, _)) = self.told.iter().find(|(uuid, _)| !self.kept.contains(uuid)) {
                    self.kept.push(*uuid);
                    bench.agent(ToExecutor::Acknowledged { task_id: TaskId::trusted("t"), uuid: *uuid });
                }
            }
            7 | 8 => {
                let launch = bench.asked.iter().position(|(_, one)| matches!(one, ContainerRequest::Launch { .. }));
                if let Some(at) = launch {
                    let (ticket, request) = bench.asked.remove(at);
                    if let ContainerRequest::Launch { container, .. } = request {
                        self.launched.push(container);
                    }
                    self.runs = true;
                    let effects = bench
                        .rig
                        .done(ticket, Outcome::Container(ContainerOutcome::Launched { pid: 1, addresses: Vec::new() }));
                    bench.absorb(effects);
                }
            }
            9 => self.runs = false,
            10 if bench.asked.iter().any(|(_, one)| matches!(one, ContainerRequest::Wait { .. })) && !self.runs => {
                bench.exit(self.launched.first().map(|_| ExitStatus::Code(0)));
            }
            11 => bench.pass(Duration::secs(1)),
            12 => bench.kill(None),
            13 => {
                let journal = bench.durable.clone();
                bench.restart(journal);
            }
            14 => {
                // The batch was written, but the panic came before the outcome.
                let written = bench.unwritten.front().map(|(_, batch)| batch.clone());
                let mut journal = bench.durable.clone();
                written.into_iter().for_each(|batch| write(&mut journal, batch));
                bench.restart(journal);
            }
            _ => {}
        }
        self.hear(bench);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// In any order of events, with panics among them, the task is started at most once, its end is told exactly once
    /// and after everything else, and nothing that was told is taken back.
    #[test]
    fn a_panic_neither_loses_a_status_nor_starts_the_task_twice(steps in prop::collection::vec(0u8..15, 0..60)) {
        let mut bench = Bench::new();
        let mut witness = Witness::default();
        bench.link(LinkState::Up);
        for what in steps {
            if bench.finished.is_some() {
                break;
            }
            witness.act(&mut bench, what);
        }
        for _ in 0..20 {
            for what in [0, 1, 2, 2, 2, 7, 9, 10, 2, 2, 2, 5, 5] {
                if bench.finished.is_none() {
                    witness.act(&mut bench, what);
                }
            }
        }
        prop_assert!(witness.launched.len() <= 1, "started twice: {:?}", witness.launched);
        let ends = witness.told.iter().filter(|(_, state)| state.is_terminal()).count();
        prop_assert_eq!(ends, 1, "{:?}", witness.told);
        prop_assert!(witness.told.last().is_some_and(|(_, state)| state.is_terminal()), "{:?}", witness.told);
        prop_assert_eq!(bench.finished, Some(0));
    }
}
