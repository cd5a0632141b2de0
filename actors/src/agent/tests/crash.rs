//! Crashes at every point, and random orders of events: no status is lost, none overtakes another, none is told before
//! it is on disk. A model of the machine, of the executors and of the scheduler runs against the agent; both kinds of
//! crash happen, before and after the disk has what is under way.

use super::*;
use crate::agent::checkpoint::{Entry, read};
use kaon_kernel::actor::{Operation, Record};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// An executor as the world knows it.
#[derive(Clone, Debug)]
struct Model {
    host: HostId,
    container: ContainerId,
    is_running: bool,
    /// Has the task, from a Launch.
    has_task: bool,
    /// Statuses that the agent has not acknowledged, oldest first.
    outbox: VecDeque<TaskStatus>,
    made: usize,
}

struct World {
    bench: Bench,
    executors: BTreeMap<String, Model>,
    /// What was ever on disk: uuid, by task and sequence.
    durable: BTreeMap<[u8; 16], (String, u64)>,
    /// What executors were told is on disk.
    promised: BTreeSet<[u8; 16]>,
    /// What the scheduler got, in order of first arrival.
    got: BTreeMap<String, Vec<[u8; 16]>>,
    /// The newest sequence told for each task.
    newest: BTreeMap<String, u64>,
    unanswered: Vec<(String, Uuid)>,
    ended: BTreeSet<String>,
    next_uuid: u128,
    tasks: usize,
}

const LIFE: [TaskState; 3] = [TaskState::Starting, TaskState::Running, TaskState::Finished];

impl World {
    fn new() -> Self {
        let config = AgentConfig { registration_backoff: Duration::millis(1), ..config() };
        Self {
            bench: Bench::registered(config),
            executors: BTreeMap::new(),
            durable: BTreeMap::new(),
            promised: BTreeSet::new(),
            got: BTreeMap::new(),
            newest: BTreeMap::new(),
            unanswered: Vec::new(),
            ended: BTreeSet::new(),
            next_uuid: 1,
            tasks: 0,
        }
    }

    /// Whatever came out of the agent is checked against the claims, then acted upon.
    fn observe(&mut self) {
        for (host, message) in core::mem::take(&mut self.bench.to_executors) {
            let Some((task_id, model)) = self.executors.iter_mut().find(|(_, model)| model.host == host) else {
                continue;
            };
            match message {
                ToExecutor::Launch { .. } => model.has_task = true,
                ToExecutor::Shutdown => model.is_running = false,
                ToExecutor::Acknowledged { uuid, .. } => {
                    let is_durable = self.durable.contains_key(&uuid.0);
                    assert!(is_durable || self.ended.contains(task_id), "acknowledged before it was on disk");
                    if is_durable {
                        self.promised.insert(uuid.0);
                    }
                    model.outbox.retain(|status| status.uuid != Some(uuid));
                }
                _ => {}
            }
        }
        for message in core::mem::take(&mut self.bench.to_master) {
            match message {
                ToMaster::Update { status, .. } => {
                    let uuid = status.uuid.expect("a status wants an answer");
                    let (task_id, sequence) = self.durable.get(&uuid.0).expect("told before it was on disk").clone();
                    assert_eq!(task_id, status.task_id.as_str());
                    let newest = self.newest.entry(task_id.clone()).or_default();
                    assert!(sequence >= *newest, "an older status after a newer one");
                    *newest = sequence;
                    let got = self.got.entry(task_id.clone()).or_default();
                    if !got.contains(&uuid.0) {
                        got.push(uuid.0);
                    }
                    self.unanswered.push((task_id, uuid));
                }
                ToMaster::Register { .. } | ToMaster::Reregister { .. } => {
                    self.bench.welcome();
                    self.observe();
                }
                _ => {}
            }
        }
    }

    fn flush_one(&mut self) {
        let Some((_, batch)) = self.bench.unwritten.front() else { return };
        let batch = batch.clone();
        self.note(&batch);
        self.bench.flush_one();
        self.observe();
    }

    fn note(&mut self, batch: &Batch) {
        for operation in &batch.0 {
            let Operation::Put(Record { key, value }) = operation else { continue };
            let record = Record { key: key.clone(), value: value.clone() };
            if let Ok(Entry::Update(update)) = read(&record) {
                let task_id = update.status.task_id.as_str().to_owned();
                if update.status.state.is_terminal() {
                    self.ended.insert(task_id.clone());
                }
                let uuid = update.status.uuid.expect("a status on disk has a uuid");
                let before = self.durable.insert(uuid.0, (task_id, update.sequence));
                assert!(before.is_none_or(|(_, sequence)| sequence == update.sequence), "one status taken twice");
            }
        }
    }

    fn launch(&mut self) {
        if self.tasks < 3 {
            let id = format!("t{}", self.tasks);
            self.tasks += 1;
            self.bench.run(task(&id));
            self.observe();
        }
    }

    fn machine(&mut self, pick: usize) {
        if self.bench.asked.is_empty() {
            return;
        }
        let (ticket, request) = self.bench.asked.remove(pick % self.bench.asked.len());
        let running = |id: &ContainerId| self.executors.values().any(|one| one.container == *id && one.is_running);
        let outcome = match &request {
            ContainerRequest::Launch { container, spec } => {
                let id = spec.environment.iter().find(|(name, _)| name == "MESOS_EXECUTOR_ID");
                let id = id.expect("an executor has a name").1.clone();
                let host = HostId(100 + self.executors.len() as u64);
                let model = Model {
                    host,
                    container: container.clone(),
                    is_running: true,
                    has_task: false,
                    outbox: VecDeque::new(),
                    made: 0,
                };
                self.executors.insert(id, model);
                ContainerOutcome::Launched { pid: 5, addresses: Vec::new() }
            }
            ContainerRequest::Wait { container } if running(container) => {
                return self.bench.asked.push((ticket, request));
            }
            ContainerRequest::Wait { .. } => exited(0),
            ContainerRequest::Kill { container, .. } => {
                if let Some(model) = self.executors.values_mut().find(|one| one.container == *container) {
                    model.is_running = false;
                }
                ContainerOutcome::Signalled
            }
            ContainerRequest::Recover { known } => {
                ContainerOutcome::Recovered(known.iter().filter(|id| running(id)).cloned().collect())
            }
            ContainerRequest::Sweep(_) => ContainerOutcome::Swept { removed: 0, failed: 0, left: 0 },
            _ => ContainerOutcome::Cleaned,
        };
        let effects = self.bench.rig.done(ticket, Outcome::Container(outcome));
        self.bench.absorb(effects);
        self.observe();
    }

    fn executor(&mut self, pick: usize, act: usize) {
        let live: Vec<String> =
            self.executors.iter().filter(|(_, one)| one.is_running).map(|(id, _)| id.clone()).collect();
        let Some(id) = live.get(pick % live.len().max(1)) else { return };
        let model = self.executors.get_mut(id).expect("it was just there");
        let host = model.host;
        let container = model.container.clone();
        match act {
            0 => {
                let held: Vec<&str> = model.has_task.then_some(id.as_str()).into_iter().collect();
                let mut message = Bench::register_message(id, &container, &held);
                if let FromExecutor::Register { unacknowledged, .. } = &mut message {
                    unacknowledged.extend(model.outbox.iter().cloned());
                }
                self.bench.link(host, PeerRole::Executor, container.as_str(), LinkState::Up);
                self.bench.executor(host, message);
            }
            1 if model.has_task && model.made < LIFE.len() => {
                let status = status(id, LIFE[model.made], self.next_uuid);
                model.made += 1;
                self.next_uuid += 1;
                model.outbox.push_back(status);
            }
            2 => {
                if let Some(status) = model.outbox.front().cloned() {
                    self.bench.executor(host, FromExecutor::Update { status: Box::new(status) });
                }
            }
            3 if model.made == LIFE.len() && model.outbox.is_empty() => model.is_running = false,
            4 => model.is_running = false,
            _ => {}
        }
        self.observe();
    }

    fn acknowledge(&mut self, pick: usize, forget: bool) {
        if self.unanswered.is_empty() {
            return;
        }
        let at = pick % self.unanswered.len();
        let (id, uuid) = if forget { self.unanswered.remove(at) } else { self.unanswered[at].clone() };
        self.bench.acknowledge(&id, uuid);
        self.observe();
    }

    /// The process falls; with `lucky` what was being written is on disk all the same.
    fn crash(&mut self, lucky: usize) {
        let mut journal = self.bench.durable.clone();
        let batches: Vec<Batch> = self.bench.unwritten.iter().take(lucky).map(|(_, batch)| batch.clone()).collect();
        for batch in batches {
            self.note(&batch);
            write(&mut journal, batch);
        }
        // A launch that was under way is done or not; here it is not.
        self.bench.restart(journal);
        self.reconnect();
    }

    fn reconnect(&mut self) {
        self.bench.link(MASTER, PeerRole::Master, "master", LinkState::Up);
        let links: Vec<(HostId, ContainerId)> =
            self.executors.values().filter(|one| one.is_running).map(|one| (one.host, one.container.clone())).collect();
        for (host, container) in links {
            self.bench.link(host, PeerRole::Executor, container.as_str(), LinkState::Up);
        }
        self.bench.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
        self.observe();
    }

    /// Faults are over: everything must come to its end.
    fn settle(&mut self) {
        self.reconnect();
        for round in 0..200 {
            while !self.bench.unwritten.is_empty() {
                self.flush_one();
            }
            for pick in 0..self.bench.asked.len() {
                self.machine(pick);
            }
            for pick in 0..self.executors.len() {
                for act in [0, 1, 2, 3] {
                    self.executor(pick, act);
                    while !self.bench.unwritten.is_empty() {
                        self.flush_one();
                    }
                }
            }
            while !self.unanswered.is_empty() {
                self.acknowledge(0, true);
            }
            self.bench.master(ToAgent::Ping { connected: true });
            self.bench.pass(Duration::secs(if round < 100 { 1 } else { 20 }));
            self.observe();
        }
        assert_eq!(self.bench.rig.actor().load(), (0, 0), "{:?} {:?}", self.bench.keys(), self.executors);
        assert!(self.bench.keys().is_empty(), "{:?}", self.bench.keys());
        for uuid in &self.promised {
            let (task_id, _) = &self.durable[uuid];
            assert!(self.got.get(task_id).is_some_and(|got| got.contains(uuid)), "a status of {task_id} was lost");
        }
        for (task_id, got) in &self.got {
            let sequences: Vec<u64> = got.iter().map(|uuid| self.durable[uuid].1).collect();
            assert!(sequences.is_sorted(), "{task_id}: {sequences:?}");
            assert!(self.ended.contains(task_id), "{task_id} never ended");
        }
    }

    fn step(&mut self, what: u8, pick: usize) {
        match what {
            0 => self.launch(),
            1..=6 => self.flush_one(),
            7..=10 => self.machine(pick),
            11 | 12 => self.executor(pick, 0),
            13..=15 => self.executor(pick, 1),
            16..=18 => self.executor(pick, 2),
            19 => self.executor(pick, 3),
            20 if pick.is_multiple_of(8) => self.executor(pick, 4),
            21..=23 => self.acknowledge(pick, true),
            24 => self.acknowledge(pick, false),
            25 => self.crash(pick % 4),
            26 => {
                self.bench.kill(&format!("t{}", pick % 3));
                self.observe();
            }
            27 => {
                self.bench.link(MASTER, PeerRole::Master, "master", LinkState::Down);
                self.reconnect();
            }
            _ => {
                self.bench.pass(Duration::millis(1 + (pick as u64 % 10_000)));
                self.observe();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// In any order of events, with crashes among them.
    #[test]
    fn no_status_is_lost_reordered_or_told_too_early(steps in prop::collection::vec((0u8..30, 0usize..1000), 0..150)) {
        let mut world = World::new();
        for (what, pick) in steps {
            world.step(what, pick);
        }
        world.settle();
    }
}

/// One whole life of a task with a crash after each of its steps, before and after the disk has what is under way.
#[test]
fn a_crash_at_every_point_of_a_life_loses_nothing() {
    let life: [u8; 26] = [0, 1, 7, 1, 11, 1, 13, 16, 1, 21, 1, 13, 16, 1, 21, 1, 13, 16, 1, 21, 1, 19, 7, 1, 7, 1];
    for at in 0..=life.len() {
        for lucky in 0..3 {
            let mut world = World::new();
            for (step, what) in life.into_iter().enumerate() {
                if step == at {
                    world.crash(lucky);
                }
                world.step(what, 0);
            }
            if at == life.len() {
                world.crash(lucky);
            }
            world.settle();
            assert!(world.tasks == 1);
        }
    }
}
