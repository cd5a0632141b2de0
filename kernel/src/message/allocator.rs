//! Master and allocator.
//!
//! The master is the book-keeper: it tells the allocator of everything that is there and everything that comes back.
//! The allocator answers with grants, in its own time; a granted resource is allocated from that moment on, until the
//! master gives it back with [`ToAllocator::Recover`] or [`ToAllocator::RecoverMade`]. Both name agents and frameworks by their index.

use crate::agent::{Attribute, Domain};
use crate::constraint::OfferRules;
use crate::framework::Capability;
use crate::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use crate::maintenance::Unavailability;
use crate::offer::Refusal;
use crate::placement::Shape;
use crate::quota::Quota;
use crate::resource::Resources;
use rkyv::{Archive, Deserialize, Serialize};

/// What a master says to its allocator.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToAllocator {
    /// Forget everything: a master began. Nothing is granted before [`ToAllocator::Resume`].
    Begin {
        /// Counts the beginnings; grants carry it, so that the master knows those of an earlier one (law L7).
        epoch: u64,
        /// Weights by role; one that is not named has 1. In thousandths, above zero.
        weights: Vec<(RoleName, u32)>,
    },
    /// All that was known before is told: start to grant.
    Resume,
    /// Grant nothing for now.
    Pause,
    /// A framework is there.
    AddFramework {
        /// Its index.
        framework: FrameworkIndex,
        /// Its name, for explanations and as the last tie-break.
        id: FrameworkId,
        /// Its roles.
        roles: Vec<RoleName>,
        /// Those of its roles that want nothing now.
        suppressed: Vec<RoleName>,
        /// What it understands.
        capabilities: Vec<Capability>,
        /// Which offers it wants.
        offers: OfferRules,
        /// Whether it is connected.
        active: bool,
    },
    /// A framework changed its roles or capabilities. Roles that are no longer suppressed lose their filters.
    UpdateFramework {
        /// Which.
        framework: FrameworkIndex,
        /// Its roles.
        roles: Vec<RoleName>,
        /// Those of its roles that want nothing now.
        suppressed: Vec<RoleName>,
        /// What it understands.
        capabilities: Vec<Capability>,
        /// Which offers it wants; replaces what it said before.
        offers: OfferRules,
    },
    /// It is connected again.
    ActivateFramework {
        /// Which.
        framework: FrameworkIndex,
    },
    /// It is not connected; what it holds stays with it. Its filters are dropped.
    DeactivateFramework {
        /// Which.
        framework: FrameworkIndex,
    },
    /// It is gone; the master has given back all that it held.
    RemoveFramework {
        /// Which.
        framework: FrameworkIndex,
    },
    /// An agent is there.
    AddAgent {
        /// Its index.
        agent: AgentIndex,
        /// Its name, for explanations.
        id: AgentId,
        /// Name of its machine.
        hostname: String,
        /// All that it has.
        total: Resources,
        /// What frameworks may choose by.
        attributes: Vec<Attribute>,
        /// Its fault domain.
        domain: Option<Domain>,
        /// What is in use on it already, by frameworks that may not be known yet.
        used: Vec<Grant>,
    },
    /// It came back and says other things of itself.
    DescribeAgent {
        /// Which.
        agent: AgentIndex,
        /// Name of its machine.
        hostname: String,
        /// What frameworks may choose by.
        attributes: Vec<Attribute>,
        /// Its fault domain.
        domain: Option<Domain>,
    },
    /// Its total has changed; filters on it are dropped.
    UpdateAgent {
        /// Which.
        agent: AgentIndex,
        /// All that it has now.
        total: Resources,
    },
    /// What its hardware could give at most, for explanations.
    SetShape {
        /// Which.
        agent: AgentIndex,
        /// In a few numbers.
        shape: Box<Shape>,
    },
    /// Grant nothing of it for now.
    DeactivateAgent {
        /// Which.
        agent: AgentIndex,
    },
    /// Grant of it again.
    ActivateAgent {
        /// Which.
        agent: AgentIndex,
    },
    /// It is gone with all that was granted of it.
    RemoveAgent {
        /// Which.
        agent: AgentIndex,
    },
    /// Granted resources come back: declined, left over, or freed by the end of a task.
    Recover {
        /// What.
        grant: Grant,
        /// Set when the framework does not want the same again for a while.
        refusal: Option<Refusal>,
    },
    /// What is left of accepted offers of which operations made something. One message, so that no round falls between the
    /// parts: what is left is offered as one.
    RecoverMade {
        /// What nobody was offered yet: it comes back without a filter.
        made: Grant,
        /// The rest, of the same agent and holder.
        rest: Resources,
        /// For the rest alone.
        refusal: Refusal,
    },
    /// Clear filters, offer again.
    Revive {
        /// Whom.
        framework: FrameworkIndex,
        /// In these roles; never empty.
        roles: Vec<RoleName>,
    },
    /// Offer nothing.
    Suppress {
        /// Whom.
        framework: FrameworkIndex,
        /// In these roles; never empty.
        roles: Vec<RoleName>,
    },
    /// Quotas of roles from here on; the others keep theirs. Sent after [`ToAllocator::Begin`] as well.
    SetQuotas {
        /// Counts these messages; grants carry that of the last one, so that the master knows those made by older quotas.
        number: u64,
        /// Each role once; the default quota removes one.
        quotas: Vec<(RoleName, Quota)>,
    },
    /// Weights of roles from here on; the others keep theirs.
    SetWeights {
        /// In thousandths, above zero, each role once.
        weights: Vec<(RoleName, u32)>,
    },
    /// Offer only agents with these hostnames.
    SetWhitelist {
        /// All of them; `None` offers every agent.
        hostnames: Option<Vec<String>>,
    },
    /// So many agents are known from before; said before [`ToAllocator::Resume`]. With any quota set most of them are
    /// awaited.
    ExpectAgents {
        /// How many.
        known: u32,
    },
    /// A machine will not be there for a while, or will after all.
    SetUnavailability {
        /// Which agent.
        agent: AgentIndex,
        /// When.
        unavailability: Option<Unavailability>,
    },
    /// An inverse offer was answered, or is over without an answer.
    AnswerInverse {
        /// Who was asked.
        framework: FrameworkIndex,
        /// To leave which agent.
        agent: AgentIndex,
        /// How long it is not to be asked again, where it answered.
        refusal: Option<Refusal>,
    },
    /// Granted resources became something else: reserved, made into a volume, or back.
    Convert {
        /// What they were, and who holds them.
        from: Grant,
        /// What they are.
        to: Resources,
    },
    /// A framework uses further copies of shared volumes of which it holds one.
    Share {
        /// The further copies, and who holds them.
        grant: Grant,
    },
    /// Make something else of free resources, by an operator's order. Answered by [`ToMaster::Converted`]: they may have
    /// been granted a moment ago.
    ConvertFree {
        /// Comes back in the answer.
        number: u64,
        /// Of which agent.
        agent: AgentIndex,
        /// What they were.
        from: Resources,
        /// What they are.
        to: Resources,
    },
}

/// Resources of one agent in the hands of one framework under one role.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct Grant {
    /// Whose hands.
    pub framework: FrameworkIndex,
    /// Under which role.
    pub role: RoleName,
    /// Of which agent.
    pub agent: AgentIndex,
    /// What.
    pub resources: Resources,
}

/// What an allocator says to its master.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ToMaster {
    /// I began, knowing nothing: tell me everything.
    Started,
    /// What became of a [`ToAllocator::ConvertFree`].
    Converted {
        /// That of the order.
        number: u64,
        /// False when not all of it was free: nothing was changed.
        is_done: bool,
    },
    /// These are granted; make offers of them.
    Granted {
        /// That of the [`ToAllocator::Begin`] on whose books they are made; grants of an older one change nothing.
        epoch: u64,
        /// That of the last [`ToAllocator::SetQuotas`]; grants by older quotas go straight back.
        quotas: u64,
        /// At most [`GRANTS_MAX`] a message.
        grants: Vec<Grant>,
    },
    /// These frameworks are to be asked to leave these agents before they go; make inverse offers.
    Asked {
        /// As for [`ToMaster::Granted`].
        epoch: u64,
        /// At most [`GRANTS_MAX`] a message.
        asks: Vec<(FrameworkIndex, AgentIndex)>,
    },
}

/// How many grants go into one message, so that a round over 10,000 agents stays far below a frame's bound.
pub const GRANTS_MAX: usize = 1024;
