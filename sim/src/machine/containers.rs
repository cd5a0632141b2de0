//! Simulated containers: the contract of [`kaon_kernel::container`], with programs that only take time.
//!
//! A container belongs to the process that launched it. One that the agent launched survives the agent's process and
//! dies with the machine; what runs inside an executor's container ends with that executor.

use crate::machine::Machine;
use crate::machine::happening::Happening;
use crate::machine::place::At;
use crate::machine::program::{self, Course};
use crate::world::lane::Lane;
use crate::world::laws::{CONTAINER_CALL, SIGNAL};
use kaon_actors::executor::Inherited;
use kaon_kernel::actor::{Outcome, Ticket};
use kaon_kernel::container::{
    ContainerOutcome, ContainerRequest, Exit, ExitStatus, LaunchSpec, Probe, ProbeResult, Program, Usage, VolumeLinks,
};
use kaon_kernel::id::ContainerId;
use kaon_kernel::resource::ResourceName;
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant};
use std::collections::BTreeSet;

/// The first process id that a simulated machine gives away.
const PID_FIRST: u32 = 1000;
const TERM: i32 = 15;
const KILL: i32 = 9;

enum Phase {
    /// Being built; answers this launch.
    Starting(At, Ticket, Box<LaunchSpec>),
    /// It runs since then.
    Running(Instant),
    /// It has ended and is not cleaned up.
    Ended(Exit),
}

struct Container {
    id: ContainerId,
    /// The process slot that launched it.
    owner: u16,
    phase: Phase,
    course: Course,
    /// The executor's process in it.
    process: Option<u16>,
    memory_bytes: u64,
    waiters: Vec<(At, Ticket)>,
    /// The signal that it gets as soon as it runs.
    doomed: Option<i32>,
    /// The directories of its persistent volumes.
    volumes: Box<[String]>,
}

/// The containers of one machine.
#[derive(Default)]
pub(crate) struct Containers {
    /// Holes are reused; the generation tells a container from an earlier one in the same hole.
    slots: Vec<(u32, Option<Container>)>,
    free: Vec<u32>,
    by_id: Table<ContainerId, u32>,
    started: u32,
    /// The directories of persistent volumes. They are on the disk: a power cut leaves them.
    volumes: BTreeSet<String>,
}

impl Containers {
    fn add(&mut self, container: Container) -> u32 {
        let id = container.id.clone();
        let index = match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                *slot = (slot.0 + 1, Some(container));
                index
            }
            None => {
                self.slots.push((0, Some(container)));
                (self.slots.len() - 1) as u32
            }
        };
        self.by_id.insert(id, index);
        index
    }

    fn remove(&mut self, index: u32) -> Option<Container> {
        let container = self.slots[index as usize].1.take()?;
        self.by_id.swap_remove(&container.id);
        self.free.push(index);
        Some(container)
    }

    fn get(&mut self, index: u32) -> Option<&mut Container> {
        self.slots[index as usize].1.as_mut()
    }

    fn generation(&self, index: u32) -> u32 {
        self.slots[index as usize].0
    }

    /// The machine has lost its power.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.slots.len() as u32 {
            self.remove(index);
        }
    }

    /// Makes and removes directories of volumes.
    ///
    /// # Panics
    /// When one is removed under a container that has it: somebody's data is lost.
    fn volumes(&mut self, make: &[String], remove: &[String], empty: &[String], links: Option<&VolumeLinks>) {
        self.volumes.extend(make.iter().cloned());
        for path in remove.iter().chain(empty) {
            let mut live = self.slots.iter().filter_map(|(_, slot)| slot.as_ref());
            let user = live.find(|one| !matches!(one.phase, Phase::Ended(_)) && one.volumes.contains(path));
            if let Some(container) = user {
                panic!("volume {path} is removed under container {}", container.id);
            }
            self.volumes.remove(path);
        }
        self.volumes.extend(links.iter().flat_map(|links| &links.links).map(|link| link.source.clone()));
    }

    fn owned_by(&self, owner: u16) -> Vec<u32> {
        let owned =
            |index: &u32| self.slots[*index as usize].1.as_ref().is_some_and(|container| container.owner == owner);
        (0..self.slots.len() as u32).filter(owned).collect()
    }
}

impl Machine {
    /// Carries out a request about a container. Each is answered once.
    pub(crate) fn contain(&mut self, at: At, ticket: Ticket, request: ContainerRequest, lane: &mut Lane) {
        let outcome = match request {
            ContainerRequest::Launch { container, spec } => match self.launch(at, ticket, container, spec, lane) {
                Ok(()) => return,
                Err(reason) => ContainerOutcome::Failed { reason },
            },
            ContainerRequest::Wait { container } => match self.container(&container) {
                None => ContainerOutcome::Exited(Exit { status: None, limitation: None, usage: Usage::default() }),
                Some(index) => {
                    let Some(container) = self.containers.get(index) else { return };
                    match &container.phase {
                        Phase::Ended(exit) => ContainerOutcome::Exited(exit.clone()),
                        Phase::Starting(..) | Phase::Running(_) => {
                            container.waiters.push((at, ticket));
                            return;
                        }
                    }
                }
            },
            ContainerRequest::Kill { container, grace } => {
                if let Some(index) = self.container(&container) {
                    self.signal(index, grace, lane);
                }
                ContainerOutcome::Signalled
            }
            ContainerRequest::Probe { container: _, of, probe, timeout } => {
                return self.probe(at, ticket, &of, &probe, timeout, lane);
            }
            ContainerRequest::Usage { container } => ContainerOutcome::Used(self.usage(&container, lane.now())),
            ContainerRequest::Update { container, resources, .. } => {
                let found = self.container(&container).and_then(|index| self.containers.get(index));
                ContainerOutcome::Updated(match found {
                    Some(container) => {
                        container.memory_bytes = memory_bytes(&resources);
                        Ok(())
                    }
                    None => Err(format!("no container {container}")),
                })
            }
            ContainerRequest::Volumes { make, remove, empty, links } => {
                self.containers.volumes(&make, &remove, &empty, links.as_deref());
                ContainerOutcome::Volumes(Ok(()))
            }
            ContainerRequest::Recover { known } => ContainerOutcome::Recovered(self.recover(at.slot, &known, lane)),
            ContainerRequest::Cleanup { container } => {
                if let Some(index) = self.container(&container)
                    && self.containers.get(index).is_some_and(|found| matches!(found.phase, Phase::Ended(_)))
                {
                    self.containers.remove(index);
                }
                ContainerOutcome::Cleaned
            }
            // Simulated programs leave nothing behind.
            ContainerRequest::Sweep(_) => ContainerOutcome::Swept { removed: 0, failed: 0, left: 0 },
        };
        self.answer(at, ticket, outcome, lane);
    }

    fn answer(&mut self, at: At, ticket: Ticket, outcome: ContainerOutcome, lane: &mut Lane) {
        self.answer_after(Duration::ZERO, at, ticket, outcome, lane);
    }

    fn answer_after(&mut self, wait: Duration, at: At, ticket: Ticket, outcome: ContainerOutcome, lane: &mut Lane) {
        let due = lane.now() + wait + CONTAINER_CALL.draw(&mut self.chance);
        if lane.setup.plant.is_some_and(|plant| plant.doubles(lane.now().0)) {
            let outcome = Box::new(Outcome::Container(outcome.clone()));
            lane.push(&mut self.stamp, self.index, due, Happening::Done { at, ticket, outcome });
        }
        let outcome = Box::new(Outcome::Container(outcome));
        lane.push(&mut self.stamp, self.index, due, Happening::Done { at, ticket, outcome });
    }

    /// A command of a probe takes its time, as a container's does; whether something listens is known at once.
    fn probe(&mut self, at: At, ticket: Ticket, of: &ContainerId, probe: &Probe, timeout: Duration, lane: &mut Lane) {
        let age = self.container(of).and_then(|index| self.containers.get(index)).and_then(|container| {
            let Phase::Running(since) = container.phase else { return None };
            Some((container.course, lane.now().since(since)))
        });
        let listens = |port| age.is_some_and(|(course, age)| course.is_listening(port, age));
        let (wait, result) = match probe {
            Probe::Command(spec) => {
                let course = program::course(&spec.program);
                match course.length > timeout {
                    true => (timeout, Err(format!("timed out after {timeout}"))),
                    false => (course.length, Ok(ProbeResult::Exited(course.status))),
                }
            }
            Probe::Http(target) if listens(target.at.port) => (Duration::ZERO, Ok(ProbeResult::Answered(200))),
            Probe::Http(_) => (Duration::ZERO, Err("nothing listens".to_owned())),
            Probe::Tcp(target) => (Duration::ZERO, Ok(ProbeResult::Connected(listens(target.port)))),
        };
        self.answer_after(wait, at, ticket, ContainerOutcome::Probed(result), lane);
    }

    fn container(&self, id: &ContainerId) -> Option<u32> {
        self.containers.by_id.get(id).copied()
    }

    fn launch(
        &mut self,
        at: At,
        ticket: Ticket,
        id: ContainerId,
        spec: Box<LaunchSpec>,
        lane: &mut Lane,
    ) -> Result<(), String> {
        if self.container(&id).is_some() {
            return Err(format!("container {id} exists already"));
        }
        let laws = lane.setup.laws;
        let due = lane.now() + laws.launch.draw(&mut self.chance);
        let volumes: Box<[String]> = spec.volumes.iter().map(|link| link.source.clone()).collect();
        self.containers.volumes.extend(volumes.iter().cloned());
        let container = Container {
            id,
            owner: at.slot,
            course: program::course(&spec.program),
            memory_bytes: memory_bytes(&spec.resources),
            phase: Phase::Starting(at, ticket, spec),
            process: None,
            waiters: Vec::new(),
            doomed: None,
            volumes,
        };
        let container = self.containers.add(container);
        let generation = self.containers.generation(container);
        lane.push(&mut self.stamp, self.index, due, Happening::Started { container, generation });
        Ok(())
    }

    /// A container is built: its program starts, or it failed.
    pub(crate) fn container_started(&mut self, index: u32, generation: u32, lane: &mut Lane) {
        if self.containers.generation(index) != generation {
            return;
        }
        let Some(container) = self.containers.get(index) else { return };
        let Phase::Starting(..) = container.phase else { return };
        let running = Phase::Running(lane.now());
        let Phase::Starting(at, ticket, spec) = core::mem::replace(&mut container.phase, running) else { return };
        let failures = if lane.is_calm() { 0 } else { lane.setup.laws.launch_failure_parts };
        if failures > 0 && self.chance.parts_per_million(failures) {
            self.containers.remove(index);
            let reason = "the simulated machine refuses".to_owned();
            return self.answer(at, ticket, ContainerOutcome::Failed { reason }, lane);
        }
        let (course, identity, doomed) = (container.course, container.id.to_string(), container.doomed);
        self.containers.started += 1;
        let pid = PID_FIRST + self.containers.started;
        self.trace(lane, 8, u64::from(pid), &[]);
        if spec.program == Program::BuiltinExecutor {
            let slot = self.start_executor(index, &identity, inherited(&spec.environment), lane);
            if let Some(container) = self.containers.get(index) {
                container.process = Some(slot);
            }
        } else if course.length != Duration::MAX {
            let ended = Happening::Ended { container: index, generation, status: course.status };
            lane.push(&mut self.stamp, self.index, lane.now() + course.length, ended);
        }
        if let Some(signal) = doomed {
            self.kill(index, signal, Duration::ZERO, lane);
        }
        self.answer(at, ticket, ContainerOutcome::Launched { pid, addresses: Vec::new() }, lane);
    }

    /// TERM, and KILL after the grace. One that is still being built gets them when it runs.
    fn signal(&mut self, index: u32, grace: Duration, lane: &mut Lane) {
        let Some(container) = self.containers.get(index) else { return };
        let signal = if grace == Duration::ZERO || container.course.ignores_term { KILL } else { TERM };
        let grace = if container.course.ignores_term { grace } else { Duration::ZERO };
        match container.phase {
            Phase::Ended(_) => {}
            Phase::Starting(..) => container.doomed = Some(signal),
            Phase::Running(_) => self.kill(index, signal, grace, lane),
        }
    }

    fn kill(&mut self, container: u32, signal: i32, after: Duration, lane: &mut Lane) {
        let generation = self.containers.generation(container);
        let ended = Happening::Ended { container, generation, status: ExitStatus::Signal(signal) };
        let due = lane.now() + after + SIGNAL.draw(&mut self.chance);
        lane.push(&mut self.stamp, self.index, due, ended);
    }

    /// The first process of a container has ended by itself or by a signal; with it goes everything inside.
    pub(crate) fn container_ended(&mut self, index: u32, generation: u32, status: ExitStatus, lane: &mut Lane) {
        if self.containers.generation(index) != generation {
            return;
        }
        let Some(container) = self.containers.get(index) else { return };
        if let Some(slot) = container.process.take() {
            self.kill_process(slot, lane);
            self.close_inner(slot, lane);
        }
        self.end_container(index, status, lane);
    }

    /// The executor in a container has ended.
    pub(crate) fn executor_ended(&mut self, index: u32, status: ExitStatus, lane: &mut Lane) {
        let Some(slot) = self.containers.get(index).and_then(|container| container.process.take()) else { return };
        self.close_inner(slot, lane);
        self.end_container(index, status, lane);
    }

    fn close_inner(&mut self, slot: u16, lane: &mut Lane) {
        for inner in self.containers.owned_by(slot) {
            self.containers.remove(inner);
            self.trace(lane, 9, u64::from(inner), &[]);
        }
    }

    fn end_container(&mut self, index: u32, status: ExitStatus, lane: &mut Lane) {
        let now = lane.now();
        let Some(container) = self.containers.get(index) else { return };
        let Phase::Running(since) = container.phase else { return };
        let usage = Usage { memory_bytes: container.memory_bytes, user_time: now.since(since), ..Usage::default() };
        let exit = Exit { status: Some(status), limitation: None, usage };
        container.phase = Phase::Ended(exit.clone());
        let waiters = core::mem::take(&mut container.waiters);
        let generation = self.containers.generation(index);
        let hidden = lane.setup.plant.is_some_and(|plant| plant.hides_end(index, generation));
        for (at, ticket) in waiters.into_iter().filter(|_| !hidden) {
            self.answer(at, ticket, ContainerOutcome::Exited(exit.clone()), lane);
        }
        self.trace(lane, 9, u64::from(index), &[]);
    }

    fn usage(&mut self, id: &ContainerId, now: Instant) -> Option<Usage> {
        let index = self.container(id)?;
        let container = self.containers.get(index)?;
        let Phase::Running(since) = container.phase else { return None };
        let (user_time, memory_bytes) = (now.since(since), container.memory_bytes);
        Some(Usage { user_time, system_time: Duration::ZERO, memory_bytes, processes: 1 })
    }

    /// The known ones that the machine has; the rest of the asker's is destroyed.
    fn recover(&mut self, owner: u16, known: &[ContainerId], lane: &mut Lane) -> Vec<ContainerId> {
        for index in self.containers.owned_by(owner) {
            let is_known = self.containers.get(index).is_some_and(|container| known.contains(&container.id));
            if is_known {
                continue;
            }
            if let Some(slot) = self.containers.remove(index).and_then(|container| container.process) {
                self.kill_process(slot, lane);
                self.close_inner(slot, lane);
            }
        }
        let there = known.iter().filter(|id| self.container(id).is_some());
        there.cloned().collect()
    }
}

/// The environment that a process finds. As on a real machine a NUL ends a text.
fn inherited(environment: &[(String, String)]) -> Inherited {
    let is_cut = |text: &String| text.as_bytes().contains(&0);
    if !environment.iter().any(|(name, value)| is_cut(name) || is_cut(value)) {
        return Inherited::fold(environment);
    }
    let cut = |text: &String| text.split('\0').next().unwrap_or_default().to_owned();
    let variables: Vec<_> = environment.iter().map(|(name, value)| (cut(name), cut(value))).collect();
    Inherited::fold(&variables)
}

fn memory_bytes(resources: &kaon_kernel::resource::Resources) -> u64 {
    resources.scalar(&ResourceName::Mem).0.saturating_mul((1 << 20) / 1000)
}
