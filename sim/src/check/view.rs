//! What the master shows, checked for conservation (L6).

use super::Violation;
use super::ledger::state_of;
use kaon_kernel::id::{AgentId, FrameworkId, TaskId};
use kaon_kernel::message::view::{ArchivedViewEvent, ViewEvent};
use kaon_kernel::resource::Resources;
use kaon_kernel::table::Table;
use kaon_kernel::task::TaskState;
use rkyv::rancor;

/// The claims of the master's view:
/// what is offered and what runs on an agent fits into it, at every step; an offer is in one place; and at the end no
/// task is left, but for those that went out of reach and never came back.
#[derive(Default)]
pub(crate) struct View {
    agents: Table<AgentId, Book>,
    offers: Table<u64, (AgentId, Resources)>,
    tasks: Table<(FrameworkId, TaskId), Held>,
    executors: Table<(AgentId, FrameworkId, kaon_kernel::id::ExecutorId), Resources>,
    /// Frameworks that were shown and are gone.
    pub(crate) frameworks_removed: u64,
}

struct Book {
    total: Resources,
    held: Resources,
}

struct Held {
    agent: AgentId,
    resources: Resources,
    /// Whether it is part of its agent's book.
    counted: bool,
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
    pub(crate) fn observe(&mut self, event: &ArchivedViewEvent) -> Result<(), Violation> {
        // Frequent, and needs nothing of the status but its words on the state.
        if let ArchivedViewEvent::TaskUpdated { framework_id, status, latest, .. } = event {
            let key = (FrameworkId::trusted(framework_id.as_str()), TaskId::trusted(status.task_id.as_str()));
            return self.task_is(&key, state_of(*latest));
        }
        let event = rkyv::deserialize::<ViewEvent, rancor::Error>(event);
        let event = event.map_err(|error| Violation::new("the view can be read", error.to_string()))?;
        match event {
            ViewEvent::Reset { .. } | ViewEvent::Following => {
                *self = Self { frameworks_removed: self.frameworks_removed, ..Self::default() };
            }
            ViewEvent::Agent(agent) => {
                let Some(id) = agent.info.id.clone() else {
                    return Err(Violation::new("an agent in the view has an id", agent.info.hostname));
                };
                let held = Resources::new();
                self.agents.entry(id).or_insert(Book { total: Resources::new(), held }).total = agent.info.resources;
            }
            ViewEvent::AgentRemoved { agent_id, .. } => {
                self.agents.swap_remove(&agent_id);
                for held in self.tasks.values_mut().filter(|held| held.agent == agent_id) {
                    held.counted = false;
                }
                self.executors.retain(|(agent, _, _), _| *agent != agent_id);
                if let Some((number, _)) = self.offers.iter().find(|(_, (agent, _))| *agent == agent_id) {
                    return Err(Violation::new(ONE_PLACE, format!("offer {number} outlives {agent_id}")));
                }
            }
            ViewEvent::Offered { offer_id, agent_id, resources, .. } => {
                if self.offers.contains_key(&offer_id.0) {
                    return Err(Violation::new(ONE_PLACE, format!("offer {} is made twice", offer_id.0)));
                }
                self.take(&agent_id, &resources)?;
                self.offers.insert(offer_id.0, (agent_id, resources));
            }
            ViewEvent::OfferRemoved { offer_id } => {
                let Some((agent_id, resources)) = self.offers.swap_remove(&offer_id.0) else {
                    return Err(Violation::new(ONE_PLACE, format!("offer {} ends twice", offer_id.0)));
                };
                self.give(&agent_id, &resources)?;
            }
            ViewEvent::Task { framework_id, task, .. } => {
                let key = (framework_id, task.info.task_id.clone());
                self.task_over(&key)?;
                let counted = counts(task.state) && self.agents.contains_key(&task.info.agent_id);
                let away = task.state == TaskState::Unreachable;
                let held = Held { agent: task.info.agent_id, resources: task.info.resources, counted, away };
                if counted {
                    self.take(&held.agent, &held.resources)?;
                }
                self.tasks.insert(key, held);
            }
            ViewEvent::TaskCompleted { framework_id, task_id } => self.task_over(&(framework_id, task_id))?,
            ViewEvent::Executor { agent_id, executor } => {
                let key = (agent_id.clone(), executor.framework_id, executor.info.executor_id);
                if !self.executors.contains_key(&key) {
                    self.take(&agent_id, &executor.info.resources)?;
                    self.executors.insert(key, executor.info.resources);
                }
            }
            ViewEvent::ExecutorRemoved { agent_id, framework_id, executor_id } => {
                if let Some(resources) = self.executors.swap_remove(&(agent_id.clone(), framework_id, executor_id)) {
                    self.give(&agent_id, &resources)?;
                }
            }
            ViewEvent::TaskUpdated { .. } | ViewEvent::Framework(_) | ViewEvent::Settings(_) => {}
            ViewEvent::FrameworkRemoved { framework_id, .. } => {
                self.frameworks_removed += 1;
                let keys: Vec<_> =
                    self.tasks.keys().filter(|(framework, _)| *framework == framework_id).cloned().collect();
                for key in keys {
                    self.task_over(&key)?;
                }
            }
        }
        Ok(())
    }

    /// What must hold when all is done.
    pub(crate) fn at_the_end(&self) -> Result<(), Violation> {
        let mut left = self.tasks.iter().filter(|(_, held)| !held.away).map(|(key, _)| key);
        match left.next() {
            None => Ok(()),
            Some((framework, task)) => {
                let words = format!("{} are left, such as {task} of {framework}", 1 + left.count());
                Err(Violation::new("no task is left at the end", words))
            }
        }
    }

    fn task_is(&mut self, key: &(FrameworkId, TaskId), state: TaskState) -> Result<(), Violation> {
        let Some(held) = self.tasks.get_mut(key) else { return Ok(()) };
        let known = self.agents.contains_key(&held.agent);
        let counted = counts(state) && known;
        let before = core::mem::replace(&mut held.counted, counted);
        held.away = state == TaskState::Unreachable;
        let (agent, resources) = (held.agent.clone(), held.resources.clone());
        match (before, counted) {
            (true, false) if known => self.give(&agent, &resources),
            (false, true) => self.take(&agent, &resources),
            _ => Ok(()),
        }
    }

    fn task_over(&mut self, key: &(FrameworkId, TaskId)) -> Result<(), Violation> {
        match self.tasks.swap_remove(key) {
            Some(held) if held.counted => self.give(&held.agent, &held.resources),
            _ => Ok(()),
        }
    }

    fn take(&mut self, agent_id: &AgentId, resources: &Resources) -> Result<(), Violation> {
        let Some(book) = self.agents.get_mut(agent_id) else {
            return Err(Violation::new(CONSERVED, format!("{resources} of {agent_id}, which is not there")));
        };
        let fits = book.held.add(resources).is_ok() && book.total.contains(&book.held);
        let words = || format!("{agent_id} has {}, of which {} are held with {resources}", book.total, book.held);
        if fits { Ok(()) } else { Err(Violation::new(CONSERVED, words())) }
    }

    fn give(&mut self, agent_id: &AgentId, resources: &Resources) -> Result<(), Violation> {
        let Some(book) = self.agents.get_mut(agent_id) else { return Ok(()) };
        let words = |error| format!("{agent_id} gives back {resources}: {error}");
        book.held.subtract(resources).map_err(|error| Violation::new(CONSERVED, words(error)))
    }
}
