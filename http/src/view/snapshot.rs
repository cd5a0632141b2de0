//! What readers see: the cluster at one moment, immutable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kaon_kernel::actor::Term;
use kaon_kernel::id::{AgentId, ExecutorId, FrameworkId, MasterId, OfferId, RoleName, TaskId, Uuid};
use kaon_kernel::maintenance::{InverseAnswer, Unavailability};
use kaon_kernel::message::agent_master::RunningExecutor;
use kaon_kernel::message::view::{AgentView, FrameworkView, MaintenanceView, SettingsView};
use kaon_kernel::operation::HeldOperation;
use kaon_kernel::resource::Resources;
use kaon_kernel::table::Set;
use kaon_kernel::task::{Task, TaskState};
use kaon_kernel::time::WallTime;

use super::shelves::Shelves;
use super::together::together;

/// How much is remembered of what is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// How many completed frameworks (Mesos: `--max_completed_frameworks`).
    pub frameworks: usize,
    /// How many completed tasks of a framework (Mesos: `--max_completed_tasks_per_framework`).
    pub tasks: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { frameworks: 50, tasks: 1000 }
    }
}

/// How many unreachable agents are remembered by name (Mesos's registry keeps 102,400).
pub const UNREACHABLE_AGENTS_MAX: usize = 102_400;

/// The cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether our master leads, and since when.
    pub leadership: Option<Leadership>,
    /// The agents that are registered or known from the registry.
    pub agents: Shelves<AgentId, AgentView>,
    /// Agents out of reach, in the order in which they were lost.
    pub unreachable: Arc<Set<AgentId>>,
    /// The frameworks.
    pub frameworks: Shelves<FrameworkId, Framework>,
    /// How much is remembered of what is over.
    pub history: History,
    /// Frameworks that are gone, the latest last.
    pub completed: Arc<VecDeque<Arc<Completed>>>,
    /// Outstanding offers.
    pub offers: Shelves<OfferId, Offered>,
    /// How many tasks have ended in each state since this master leads, by the state's number; those included that were
    /// never launched.
    pub ended: [u64; TaskState::ALL.len()],
    /// The same by the numbers of state, source and reason, as far as a reason was given.
    pub reasons: Arc<BTreeMap<(u8, u8, u8), u64>>,
    /// The operations whose end is not acknowledged, by agent and uuid.
    pub operations: Arc<BTreeMap<(AgentId, Uuid), HeldOperation>>,
    /// What operators have set.
    pub settings: Arc<SettingsView>,
    /// The schedule of maintenance.
    pub maintenance: Arc<MaintenanceView>,
    /// Inverse offers that are not answered.
    pub inverse_offers: Arc<BTreeMap<OfferId, InverseOffered>>,
    /// What frameworks answered when they were asked to leave an agent, and when.
    pub answers: Arc<BTreeMap<AgentId, InverseAnswers>>,
}

/// The newest answer of each framework about one agent.
pub type InverseAnswers = BTreeMap<FrameworkId, (InverseAnswer, WallTime)>;

/// An inverse offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseOffered {
    /// To whom.
    pub framework_id: FrameworkId,
    /// Which agent is to be left.
    pub agent_id: AgentId,
    /// When it goes.
    pub unavailability: Unavailability,
}

/// The leadership of our master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// This life of the master.
    pub master_id: MasterId,
    /// Its term.
    pub term: Term,
    /// When it was elected.
    pub elected: WallTime,
}

/// A framework with what it runs.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Its words and standing.
    pub view: FrameworkView,
    /// Its tasks, those that have ended included until their end is acknowledged.
    pub tasks: Shelves<TaskId, Held>,
    /// Tasks that are done with, the latest last.
    pub completed: Arc<VecDeque<Arc<Held>>>,
    /// Its executors. Those of commands are not among them.
    pub executors: Arc<BTreeMap<(AgentId, ExecutorId), RunningExecutor>>,
    /// The roles under which it wants no offers now.
    pub suppressed: Vec<RoleName>,
    /// How many offers it was made since this master leads.
    pub offers_made: u64,
    /// What became of them, by the number of the [`OfferFate`](kaon_kernel::message::view::OfferFate).
    pub offers_over: [u64; 4],
    /// How many of its tasks have ended in each state since this master leads, by the state's number.
    pub ended: [u64; TaskState::ALL.len()],
}

/// A task.
#[derive(Clone, Debug)]
pub struct Held {
    /// Under which role.
    pub role: RoleName,
    /// The task.
    pub task: Task,
}

/// A framework that is gone.
#[derive(Clone, Debug)]
pub struct Completed {
    /// What it was.
    pub framework: Framework,
    /// When it went.
    pub at: WallTime,
}

/// An offer.
#[derive(Clone, Debug)]
pub struct Offered {
    /// To whom.
    pub framework_id: FrameworkId,
    /// Of which agent.
    pub agent_id: AgentId,
    /// Under which role.
    pub role: RoleName,
    /// What.
    pub resources: Resources,
}

impl Held {
    /// Whether it holds resources of its agent.
    pub fn is_using(&self) -> bool {
        !self.task.state.is_terminal() && self.task.state != TaskState::Unreachable
    }
}

impl Framework {
    /// One that runs nothing.
    pub(crate) fn of(view: FrameworkView) -> Self {
        let (tasks, completed, executors, suppressed) = Default::default();
        let (offers_made, offers_over, ended) = (0, [0; 4], [0; TaskState::ALL.len()]);
        Self { view, tasks, completed, executors, suppressed, offers_made, offers_over, ended }
    }

    /// What each of its tasks and executors uses.
    pub(crate) fn users(&self) -> impl Iterator<Item = &Resources> {
        let tasks = self.tasks.values().filter(|held| held.is_using()).map(|held| &held.task.info.resources);
        tasks.chain(self.executors.values().map(|executor| &executor.info.resources))
    }

    /// What its tasks and executors use, on one agent or on all.
    pub fn used(&self, agent: Option<&AgentId>) -> Resources {
        let tasks = self.tasks.values().filter(|held| held.is_using()).map(|held| &held.task.info);
        let tasks = tasks.filter(|info| agent.is_none_or(|agent| info.agent_id == *agent));
        let executors = self.executors.iter().filter(|((on, _), _)| agent.is_none_or(|agent| on == agent));
        let executors = executors.map(|(_, executor)| &executor.info.resources);
        together(tasks.map(|info| &info.resources).chain(executors))
    }
}

impl Snapshot {
    /// What each task and executor uses, and on which agent.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&AgentId, &Resources)> {
        self.frameworks.values().flat_map(|framework| {
            let tasks = framework.tasks.values().filter(|held| held.is_using());
            let tasks = tasks.map(|held| (&held.task.info.agent_id, &held.task.info.resources));
            let executors = framework.executors.iter();
            tasks.chain(executors.map(|((agent, _), executor)| (agent, &executor.info.resources)))
        })
    }

    /// What is offered to a framework.
    pub fn offered_to(&self, framework: &FrameworkId) -> Resources {
        let offers = self.offers.values().filter(|offer| offer.framework_id == *framework);
        together(offers.map(|offer| &offer.resources))
    }
}
