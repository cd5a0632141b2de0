//! What changed in the cluster: the stream from which the read side builds its snapshots.
//!
//! The leading master emits these on [`crate::actor::StreamId::VIEW`], in the order in which things happened, after they
//! took effect. No reader ever asks the master anything (law L10). A master that begins emits `Reset` and then all that
//! it knows. In the simulator the checkers read the same stream.

use crate::actor::{StreamId, Term};
use crate::agent::AgentInfo;
use crate::frame::Classified;
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, FrameworkId, MasterId, OfferId, RoleName, TaskId, Uuid};
use crate::maintenance::{AgentOrders, InverseAnswer, MachineId, Unavailability, Window};
use crate::message::agent_master::RunningExecutor;
use crate::operation::HeldOperation;
use crate::quota::Quota;
use crate::resource::Resources;
use crate::task::{Task, TaskStatus};
use crate::time::WallTime;
use rkyv::{Archive, Deserialize, Serialize};

/// A change.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ViewEvent {
    /// Forget everything: a master leads from here on.
    Reset {
        /// This life of the master.
        master_id: MasterId,
        /// Its term.
        term: Term,
        /// When it was elected.
        elected: WallTime,
    },
    /// The master does not lead any more; nothing below is certain.
    Following,
    /// An agent is there, or its words or standing changed.
    Agent(AgentView),
    /// An agent is gone.
    AgentRemoved {
        /// Which.
        agent_id: AgentId,
        /// Whether it is out of reach, rather than gone for good.
        unreachable: bool,
    },
    /// What an agent has is now something else: reserved, made into volumes, or back.
    AgentConverted {
        /// Which.
        agent_id: AgentId,
        /// As in [`AgentView::converted`].
        converted: Option<Box<Resources>>,
    },
    /// An operation is there, or has a status.
    Operation {
        /// Of which agent.
        agent_id: AgentId,
        /// The operation.
        operation: Box<HeldOperation>,
    },
    /// An operation is done with.
    OperationRemoved {
        /// Of which agent.
        agent_id: AgentId,
        /// Which.
        uuid: Uuid,
    },
    /// A framework is there, or its words or standing changed.
    Framework(FrameworkView),
    /// A framework is gone; it counts as completed.
    FrameworkRemoved {
        /// Which.
        framework_id: FrameworkId,
        /// When.
        at: WallTime,
    },
    /// An executor is there.
    Executor {
        /// Where.
        agent_id: AgentId,
        /// What.
        executor: RunningExecutor,
    },
    /// An executor is gone.
    ExecutorRemoved {
        /// Where.
        agent_id: AgentId,
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        executor_id: crate::id::ExecutorId,
    },
    /// A task is there.
    Task {
        /// Whose.
        framework_id: FrameworkId,
        /// Under which role.
        role: RoleName,
        /// The task.
        task: Task,
    },
    /// A task has a status.
    TaskUpdated {
        /// Whose.
        framework_id: FrameworkId,
        /// Where it runs.
        agent_id: AgentId,
        /// The status, without data.
        status: TaskStatus,
        /// The newest state known, which may be ahead of the status.
        latest: crate::task::TaskState,
    },
    /// A task was not launched; it was never there. For those who count.
    TaskRefused {
        /// As what its framework is told of it.
        state: crate::task::TaskState,
        /// Why.
        reason: crate::task::Reason,
    },
    /// A task is done with: its last status is acknowledged, or it is lost with its agent.
    TaskCompleted {
        /// Whose.
        framework_id: FrameworkId,
        /// Which.
        task_id: TaskId,
    },
    /// An offer is held out.
    Offered {
        /// Its number.
        offer_id: OfferId,
        /// To whom.
        framework_id: FrameworkId,
        /// Of which agent.
        agent_id: AgentId,
        /// Under which role.
        role: RoleName,
        /// What.
        resources: Resources,
    },
    /// What operators have set, all of it.
    Settings(SettingsView),
    /// The schedule of maintenance, all of it.
    Maintenance(MaintenanceView),
    /// A framework is asked to leave an agent.
    InverseOffered {
        /// Its number.
        offer_id: OfferId,
        /// Who is asked.
        framework_id: FrameworkId,
        /// To leave which agent.
        agent_id: AgentId,
        /// When that goes.
        unavailability: Unavailability,
    },
    /// An inverse offer is over.
    InverseOfferRemoved {
        /// Which.
        offer_id: OfferId,
        /// What the framework answered, and when, if it did.
        answer: Option<(InverseAnswer, WallTime)>,
    },
    /// What frameworks answered about an agent does not count any more: its unavailability has changed.
    InverseAnswersDropped {
        /// Which.
        agent_id: AgentId,
    },
    /// An offer is over.
    OfferRemoved {
        /// Which.
        offer_id: OfferId,
        /// What became of it.
        fate: OfferFate,
    },
    /// A framework wants no offers under some of its roles. After [`ViewEvent::Framework`] it wants them under all until
    /// this is said.
    Suppressed {
        /// Which.
        framework_id: FrameworkId,
        /// All the roles.
        roles: Vec<RoleName>,
    },
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum OfferFate {
    /// Its framework accepted it.
    Accepted,
    /// Its framework declined it.
    Declined,
    /// It was taken back, and its framework told.
    Rescinded,
    /// Its framework is not there to be told.
    Dropped,
}

/// What operators have set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SettingsView {
    /// Quotas by role, in order.
    pub quotas: Vec<(RoleName, Quota)>,
    /// Weights by role in thousandths, in order; one that is not named has 1000.
    pub weights: Vec<(RoleName, u32)>,
}

/// The schedule of maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct MaintenanceView {
    /// Its windows.
    pub windows: Vec<Window>,
    /// The machines of it that are down.
    pub down: Vec<MachineId>,
}

/// An agent as the API shows it.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct AgentView {
    /// Its words; `id` is set.
    pub info: AgentInfo,
    /// All that it has, where that is not what it was started with.
    pub converted: Option<Box<Resources>>,
    /// Whether it is registered with this master; false for one that is only known from the registry.
    pub registered: bool,
    /// Whether its session stands.
    pub connected: bool,
    /// Whether offers are made of it.
    pub active: bool,
    /// When it came in.
    pub registered_time: WallTime,
    /// When it came back, if it did.
    pub reregistered_time: Option<WallTime>,
    /// What operators have said about it, if anything.
    pub orders: Option<Box<AgentOrders>>,
}

impl AgentView {
    /// All that it has.
    pub fn total(&self) -> &Resources {
        self.converted.as_deref().unwrap_or(&self.info.resources)
    }
}

/// A framework as the API shows it.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct FrameworkView {
    /// Its words; `id` is set.
    pub info: FrameworkInfo,
    /// Whether its stream stands.
    pub connected: bool,
    /// Whether it takes offers.
    pub active: bool,
    /// Known from agents or the registry only, not subscribed with this master yet.
    pub recovered: bool,
    /// The stream on which it reads.
    pub stream: Option<StreamId>,
    /// The index of its proxy.
    pub proxy: Option<u32>,
    /// When it came in.
    pub registered_time: WallTime,
    /// When it came back, if it did.
    pub reregistered_time: Option<WallTime>,
}

impl Classified for ViewEvent {}
