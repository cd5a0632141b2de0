//! Offers: free resources of one agent, held out to one framework under one role.

use crate::agent::{Attribute, Domain};
use crate::cause::Defect;
use crate::id::{AgentId, ExecutorId, OfferId, OperationId, RoleName};
use crate::maintenance::Unavailability;
use crate::resource::Resources;
use crate::resource::operation::Operation;
use crate::task::{ExecutorInfo, TaskInfo};
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// An offer as the framework sees it.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct Offer {
    /// Its name, unique in one master's life.
    pub id: OfferId,
    /// Whose resources.
    pub agent_id: AgentId,
    /// Name of that machine.
    pub hostname: String,
    /// Address of the agent's HTTP endpoint.
    pub ip: String,
    /// Port of the agent's HTTP endpoint.
    pub port: u16,
    /// The role under which they are offered.
    pub role: RoleName,
    /// What is offered.
    pub resources: Resources,
    /// Facts about the machine.
    pub attributes: Vec<Attribute>,
    /// The framework's executors on it.
    pub executors: Vec<ExecutorId>,
    /// Its fault domain.
    pub domain: Option<Domain>,
    /// When the machine will be away, if that is known.
    pub unavailability: Option<Unavailability>,
}

/// A framework is asked to leave an agent before its machine goes (`InverseOffer` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct InverseOffer {
    /// Its name, of one series with those of offers.
    pub id: OfferId,
    /// Which agent.
    pub agent_id: AgentId,
    /// Name of its machine.
    pub hostname: String,
    /// Address of the agent's HTTP endpoint.
    pub ip: String,
    /// Port of the agent's HTTP endpoint.
    pub port: u16,
    /// When it goes.
    pub unavailability: Unavailability,
}

/// How long not to offer the same again (`Filters.refuse_seconds`, reference 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Refusal(pub Duration);

impl Refusal {
    /// What an absent or unusable `refuse_seconds` means.
    pub const DEFAULT: Self = Self(Duration::secs(5));
    /// The longest refusal, 365 days.
    pub const MAX: Self = Self(Duration::secs(31_536_000));

    /// The refusal of a v1 call: absent, negative or not a number means the default, too long is cut.
    pub fn from_seconds(seconds: Option<f64>) -> Self {
        match seconds {
            Some(seconds) if seconds >= 0.0 => {
                Duration::from_seconds(seconds).map_or(Self::MAX, |length| Self(length.min(Self::MAX.0)))
            }
            _ => Self::DEFAULT,
        }
    }
}

/// What an ACCEPT does with offered resources, in order (reference 4).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum OfferOperation {
    /// Launch tasks, each checked by itself.
    Launch {
        /// The tasks.
        tasks: Vec<TaskInfo>,
    },
    /// Launch tasks on one executor, all or none.
    LaunchGroup {
        /// The executor, new or running.
        executor: Box<ExecutorInfo>,
        /// The tasks. The first thing that is wrong with the group as a whole is the defect of each.
        tasks: Vec<TaskInfo>,
    },
    /// Turn resources into others.
    Convert {
        /// What the framework calls it, when it wants to hear what becomes of it.
        operation_id: Option<OperationId>,
        /// The role under which it says that its resources were offered.
        allocation: Option<String>,
        /// What to do; or what the edge found wrong with it, which the master turns into OPERATION_ERROR.
        operation: Result<Box<Operation>, Defect>,
    },
}
