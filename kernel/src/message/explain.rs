//! Questions about the allocator's decisions, and its answers: why something is not offered, what is nearest to being
//! offered, who holds the capacity, and what would have to change.
//!
//! A question goes from the HTTP edge to the allocator; the answer comes on a stream of its own, as for an order
//! ([`super::operator`]). It changes nothing.

use crate::actor::StreamId;
use crate::id::{AgentId, FrameworkId, RoleName};
use crate::placement::PlacementRequest;
use crate::resource::Resources;
use rkyv::{Archive, Deserialize, Serialize};

/// A question.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct Question {
    /// About whom.
    pub subject: Subject,
    /// What a task would need, whatever its reservation; nothing when any offer would do.
    pub wants: Resources,
    /// Where a task would have to lie; nothing when any place would do.
    pub placement: Option<Box<PlacementRequest>>,
    /// Where the answer is awaited.
    pub reply: StreamId,
}

/// About whom a question is.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Subject {
    /// A framework, in all its roles.
    Framework(FrameworkId),
    /// A role: every framework in it.
    Role(RoleName),
    /// An agent: every framework that could be offered something of it.
    Agent(AgentId),
}

/// So many clients (a framework in a role) are explained in one answer; others are counted.
pub const CLIENTS_MAX: usize = 64;

/// So many holders of capacity are named.
pub const HOLDERS_MAX: usize = 10;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub struct Explanation {
    /// Of each client in question, in order of framework and role, at most [`CLIENTS_MAX`].
    pub clients: Vec<ClientAccount>,
    /// Clients that are left out.
    pub clients_left_out: u32,
    /// Who holds most, by dominant share, largest first, at most [`HOLDERS_MAX`]. For an agent: of that agent.
    pub holders: Vec<Holder>,
    /// Scalars by name: all there is, and what is held of it, in thousandths. For an agent: of that agent.
    pub capacity: Vec<(String, u64, u64)>,
}

/// What stands between one framework, in one role, and an offer.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct ClientAccount {
    /// Which framework.
    pub framework_id: FrameworkId,
    /// In which role.
    pub role: RoleName,
    /// The weighted share by which its role is ordered among its siblings, in millionths.
    pub role_share_millionths: u64,
    /// Allocations that it was ever given in this role.
    pub allocations: u64,
    /// What keeps it from offers on any agent; empty when nothing does.
    pub standing: Vec<Obstacle>,
    /// Agents on which nothing speaks against an offer of all that is wanted.
    pub agents_open: u32,
    /// The other agents by the first reason against each, the most frequent first.
    pub groups: Vec<Group>,
    /// The agent that is nearest to an offer, when none is open and one could hold what is wanted if all of it were free.
    pub nearest: Option<Nearest>,
    /// Why what is wanted fits on no agent, whatever ends or is set.
    pub never: Option<Obstacle>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Obstacle {
    /// One word, for programs.
    pub word: String,
    /// A sentence, for people.
    pub text: String,
    /// The smallest change that would remove it, for people.
    pub change: String,
}

/// Agents with the same kind of reason.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Group {
    /// What is against it on `example`.
    pub obstacle: Obstacle,
    /// How many agents.
    pub agents: u32,
    /// One of them: the one with the least to overcome, the first of several.
    pub example: AgentId,
}

/// The agent that is nearest to an offer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Nearest {
    /// Which.
    pub agent_id: AgentId,
    /// All that is against it, and all that would have to change, in order.
    pub obstacle: Obstacle,
}

/// Somebody who holds resources.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Holder {
    /// Which framework; empty while only its holdings are known.
    pub framework_id: FrameworkId,
    /// In which role.
    pub role: RoleName,
    /// Scalars by name, in thousandths.
    pub held: Vec<(String, u64)>,
}
