//! What the master shows, checked for conservation (L6). What operators have said is held against it in [`super::rules`].

use super::Violation;
use super::ledger::state_of;
use super::rules::{Rules, Standing};
use crate::world::cast::machine_of;
use kaon_kernel::frame::copy;
use kaon_kernel::id::{AgentId, FrameworkId, RoleName, TaskId};
use kaon_kernel::message::view::{AgentView, ArchivedViewEvent, ViewEvent};
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::table::{Set, Table};
use kaon_kernel::task::{ArchivedTask, TaskState};
use kaon_kernel::time::Instant;
use rkyv::string::ArchivedString;

/// The claims of the master's view:
/// what is offered and what runs on an agent fits into it, at every step; an offer is in one place; and at the end no
/// task is left, but for those that went out of reach and never came back. And those of [`Rules`].
#[derive(Default)]
pub(crate) struct View {
    pub(super) agents: Table<AgentId, Book>,
    pub(super) offers: Table<u64, Offered>,
    pub(super) tasks: Table<FrameworkId, Table<TaskId, Held>>,
    pub(super) executors: Table<(AgentId, FrameworkId, kaon_kernel::id::ExecutorId), (Resources, RoleNumber)>,
    /// Every role that was named, in order.
    pub(super) roles: Set<RoleName>,
    pub(super) rules: Rules,
    /// Frameworks that were shown and are gone.
    pub(crate) frameworks_removed: u64,
    /// Agents that are connected.
    connected: usize,
    /// After a change of leaders: how many agents were connected before.
    awaited: Option<usize>,
    /// Changes of leaders after which all agents came back.
    pub(crate) returns: u32,
}

/// The place of a role among [`View::roles`].
pub(super) type RoleNumber = u16;

pub(super) struct Book {
    /// What its agent was started with.
    started: Resources,
    /// What it has now, where that is something else.
    converted: Option<Box<Resources>>,
    held: Resources,
    /// The number of its machine.
    pub(super) machine: u32,
    pub(super) is_connected: bool,
    /// It has registered with this master.
    pub(super) is_registered: bool,
    pub(super) standing: Standing,
}

impl Book {
    pub(super) fn total(&self) -> &Resources {
        self.converted.as_deref().unwrap_or(&self.started)
    }
}

/// What lies in an offer.
pub(super) struct Offered {
    pub(super) agent: AgentId,
    pub(super) resources: Resources,
    pub(super) role: RoleNumber,
}

pub(super) struct Held {
    pub(super) agent: AgentId,
    pub(super) resources: Resources,
    pub(super) role: RoleNumber,
    /// Whether it is part of its agent's book.
    pub(super) counted: bool,
    /// Out of reach: it may come back or not, and nobody waits for it.
    away: bool,
}

const CONSERVED: &str = "offered and used fit into each agent";
const ONE_PLACE: &str = "an offer is in one place";

fn counts(state: TaskState) -> bool {
    !state.is_terminal() && state != TaskState::Unreachable
}

impl View {
    /// The master shows a change.
    pub(crate) fn observe(&mut self, event: &ArchivedViewEvent, now: Instant) -> Result<(), Violation> {
        // The frequent ones are read in place; of a task no more is copied than what is checked.
        match event {
            ArchivedViewEvent::TaskUpdated { framework_id, status, latest, .. } => {
                return self.task_is(framework_id.as_str(), status.task_id.as_str(), state_of(*latest));
            }
            ArchivedViewEvent::TaskCompleted { framework_id, task_id } => {
                return self.task_over(framework_id.as_str(), task_id.as_str());
            }
            ArchivedViewEvent::Task { framework_id, role, task } => {
                return self.task_begins(framework_id, role.as_str(), task);
            }
            _ => {}
        }
        match copy::<ViewEvent, _>(event) {
            ViewEvent::Reset { .. } | ViewEvent::Following => self.begin_anew(),
            ViewEvent::Agent(agent) => self.agent_is(agent, now)?,
            ViewEvent::AgentRemoved { agent_id, .. } => self.agent_is_gone(&agent_id)?,
            ViewEvent::Offered { offer_id, agent_id, resources, role, .. } => {
                if self.offers.contains_key(&offer_id.0) {
                    return Err(Violation::new(ONE_PLACE, format!("offer {} is made twice", offer_id.0)));
                }
                take(self.agents.get_mut(&agent_id), &agent_id, &resources)?;
                let role = self.number_of(role.as_str());
                self.offers.insert(offer_id.0, Offered { agent: agent_id, resources, role });
                self.may_be_offered(offer_id.0, now)?;
            }
            ViewEvent::OfferRemoved { offer_id, .. } => {
                let Some(Offered { agent, resources, .. }) = self.offers.swap_remove(&offer_id.0) else {
                    return Err(Violation::new(ONE_PLACE, format!("offer {} ends twice", offer_id.0)));
                };
                give(self.agents.get_mut(&agent), &agent, &resources)?;
            }
            ViewEvent::Executor { agent_id, executor } => {
                let key = (agent_id.clone(), executor.framework_id, executor.info.executor_id);
                if !self.executors.contains_key(&key) {
                    take(self.agents.get_mut(&agent_id), &agent_id, &executor.info.resources)?;
                    let role = self.number_of(executor.role.as_str());
                    self.executors.insert(key, (executor.info.resources, role));
                }
            }
            ViewEvent::ExecutorRemoved { agent_id, framework_id, executor_id } => {
                if let Some((resources, _)) = self.executors.swap_remove(&(agent_id.clone(), framework_id, executor_id))
                {
                    give(self.agents.get_mut(&agent_id), &agent_id, &resources)?;
                }
            }
            ViewEvent::AgentConverted { agent_id, converted } => {
                let Some(book) = self.agents.get_mut(&agent_id) else { return Ok(()) };
                book.converted = converted;
                if book.total().quantities() != book.started.quantities() {
                    let words = format!("{agent_id} was started with {} and has {}", book.started, book.total());
                    return Err(Violation::new("operations keep amounts", words));
                }
            }
            ViewEvent::Operation { .. } | ViewEvent::OperationRemoved { .. } => {}
            ViewEvent::Settings(settings) => self.rules.settings = settings,
            ViewEvent::Maintenance(schedule) => self.rules.schedule = schedule,
            ViewEvent::InverseOffered { offer_id, framework_id, agent_id, unavailability } => {
                self.is_asked(offer_id.0, framework_id, agent_id, unavailability)?;
            }
            ViewEvent::InverseOfferRemoved { offer_id, .. } => self.rules.is_asked_no_more(offer_id.0)?,
            ViewEvent::Framework(_)
            | ViewEvent::Suppressed { .. }
            | ViewEvent::InverseAnswersDropped { .. }
            | ViewEvent::TaskRefused { .. } => {}
            ViewEvent::Task { .. } | ViewEvent::TaskUpdated { .. } | ViewEvent::TaskCompleted { .. } => {
                unreachable!("read in place above")
            }
            ViewEvent::FrameworkRemoved { framework_id, .. } => {
                self.frameworks_removed += 1;
                self.rules.nobody_is_asked(|framework, _| *framework == framework_id)?;
                let tasks = self.tasks.swap_remove(&framework_id).unwrap_or_default();
                for held in tasks.into_values().filter(|held| held.counted) {
                    give(self.agents.get_mut(&held.agent), &held.agent, &held.resources)?;
                }
            }
        }
        Ok(())
    }

    /// The number of a role.
    fn number_of(&mut self, role: &str) -> RoleNumber {
        let number = self.roles.get_index_of(role);
        let number = number.unwrap_or_else(|| self.roles.insert_full(RoleName::trusted(role)).0);
        RoleNumber::try_from(number).expect("a simulated cluster has few roles")
    }

    fn task_begins(&mut self, framework_id: &ArchivedString, role: &str, task: &ArchivedTask) -> Result<(), Violation> {
        let task_id = task.info.task_id.as_str();
        self.task_over(framework_id.as_str(), task_id)?;
        let role = self.number_of(role);
        let (agent, resources): (AgentId, Resources) = (copy(&task.info.agent_id), copy(&task.info.resources));
        let state = state_of(task.state);
        let counted = counts(state) && self.agents.contains_key(&agent);
        let away = state == TaskState::Unreachable;
        let held = Held { agent, resources, role, counted, away };
        if counted {
            take(self.agents.get_mut(&held.agent), &held.agent, &held.resources)?;
        }
        if !self.tasks.contains_key(framework_id.as_str()) {
            self.tasks.insert(copy(framework_id), Table::default());
        }
        self.tasks[framework_id.as_str()].insert(TaskId::trusted(task_id), held);
        Ok(())
    }

    /// Another master shows what it has, from nothing on.
    fn begin_anew(&mut self) {
        let Self { frameworks_removed, returns, awaited, connected, .. } = *self;
        let awaited = awaited.max((connected > 0).then_some(connected));
        *self = Self { frameworks_removed, returns, awaited, ..Self::default() };
    }

    fn agent_is(&mut self, agent: AgentView, now: Instant) -> Result<(), Violation> {
        let Some(id) = agent.info.id.clone() else {
            return Err(Violation::new("an agent in the view has an id", agent.info.hostname));
        };
        let is_connected = agent.registered && agent.connected;
        let standing = Standing::of(agent.orders.as_deref());
        let book = self.agents.entry(id.clone()).or_insert_with(|| Book {
            started: Resources::new(),
            converted: None,
            held: Resources::new(),
            machine: machine_of(&agent.info.hostname),
            is_connected: false,
            is_registered: false,
            standing: Standing::Open,
        });
        (book.started, book.converted) = (agent.info.resources, agent.converted);
        book.is_registered = agent.registered;
        let was_connected = core::mem::replace(&mut book.is_connected, is_connected);
        let before = core::mem::replace(&mut book.standing, standing);
        if is_connected && !was_connected {
            self.rules.somebody_came(now);
        }
        if before != standing {
            self.stands(&id, standing)?;
        }
        self.connected = self.connected + usize::from(is_connected) - usize::from(was_connected);
        if self.awaited.is_some_and(|awaited| self.connected >= awaited) {
            self.awaited = None;
            self.returns += 1;
        }
        Ok(())
    }

    fn agent_is_gone(&mut self, agent_id: &AgentId) -> Result<(), Violation> {
        let gone = self.agents.swap_remove(agent_id);
        self.connected -= usize::from(gone.is_some_and(|book| book.is_connected));
        let held = self.tasks.values_mut().flat_map(|tasks| tasks.values_mut());
        held.filter(|held| held.agent == *agent_id).for_each(|held| held.counted = false);
        self.executors.retain(|(agent, _, _), _| *agent != *agent_id);
        if let Some((number, _)) = self.offers.iter().find(|(_, offered)| offered.agent == *agent_id) {
            return Err(Violation::new(ONE_PLACE, format!("offer {number} outlives {agent_id}")));
        }
        self.rules.nobody_is_asked(|_, agent| agent == agent_id)
    }

    /// What is offered or in use of a resource in the whole cluster, in thousandths.
    pub(crate) fn held(&self, name: &ResourceName) -> u128 {
        self.agents.values().map(|book| u128::from(book.held.scalar(name).0)).sum()
    }

    /// What must hold when all is done.
    pub(crate) fn at_the_end(&self) -> Result<(), Violation> {
        let all = self.tasks.iter().flat_map(|(framework, tasks)| tasks.iter().map(move |task| (framework, task)));
        let mut left = all.filter(|(_, (_, held))| !held.away).map(|(framework, (task, _))| (framework, task));
        match left.next() {
            None => Ok(()),
            Some((framework, task)) => {
                let words = format!("{} are left, such as {task} of {framework}", 1 + left.count());
                Err(Violation::new("no task is left at the end", words))
            }
        }
    }

    fn task_is(&mut self, framework: &str, task: &str, state: TaskState) -> Result<(), Violation> {
        let Some(held) = self.tasks.get_mut(framework).and_then(|tasks| tasks.get_mut(task)) else { return Ok(()) };
        let book = self.agents.get_mut(&held.agent);
        let counted = counts(state) && book.is_some();
        let before = core::mem::replace(&mut held.counted, counted);
        held.away = state == TaskState::Unreachable;
        match (before, counted) {
            (true, false) => give(book, &held.agent, &held.resources),
            (false, true) => take(book, &held.agent, &held.resources),
            _ => Ok(()),
        }
    }

    fn task_over(&mut self, framework: &str, task: &str) -> Result<(), Violation> {
        match self.tasks.get_mut(framework).and_then(|tasks| tasks.swap_remove(task)) {
            Some(held) if held.counted => give(self.agents.get_mut(&held.agent), &held.agent, &held.resources),
            _ => Ok(()),
        }
    }
}

fn take(book: Option<&mut Book>, agent_id: &AgentId, resources: &Resources) -> Result<(), Violation> {
    let Some(book) = book else {
        return Err(Violation::new(CONSERVED, format!("{resources} of {agent_id}, which is not there")));
    };
    let fits = book.held.add(resources).is_ok() && book.total().contains(&book.held.without_copies());
    let words = || format!("{agent_id} has {}, of which {} are held with {resources}", book.total(), book.held);
    if fits { Ok(()) } else { Err(Violation::new(CONSERVED, words())) }
}

/// What is given back to an agent that is gone is gone with it.
fn give(book: Option<&mut Book>, agent_id: &AgentId, resources: &Resources) -> Result<(), Violation> {
    let Some(book) = book else { return Ok(()) };
    let words = |error| format!("{agent_id} gives back {resources}: {error}");
    book.held.subtract(resources).map_err(|error| Violation::new(CONSERVED, words(error)))
}
