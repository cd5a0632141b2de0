//! What keeps a task from an agent: in words, how far away that is, and the smallest change that would remove it.
//!
//! What is found against a wish on an agent is the business of [`super::wanted`] and [`super::feasible`].

use super::feasible::Reason;
use kaon_kernel::id::RoleName;
use kaon_kernel::message::explain::Obstacle;
use kaon_kernel::placement::Reason as Misplaced;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::ResourceName;
use kaon_kernel::time::Instant;

/// The words for what nothing that ends, expires or is set on an agent helps against.
pub(super) const TOPOLOGY: &str = "topology";
pub(super) const NEVER: &str = "never_fits";

/// How much there is to overcome: the kind of obstacle first, then its size. Less is nearer.
pub(super) type Distance = (u8, u64);

/// How far away a wish is: the greatest distance of what is to overcome, and how much there is of that.
pub(super) type Way = (Distance, usize);

/// Agents at this distance and beyond could not hold the wish if all of them were free.
pub(super) const NEVER_FROM: u8 = 10;

/// Scalars by name.
pub(super) type Amounts = Vec<(ResourceName, Quantity)>;

/// What keeps one agent from a wish.
#[derive(Debug, PartialEq)]
pub(super) enum Against<'a> {
    /// All of it together would not hold the wish: what is lacking then.
    Never(Amounts),
    /// Its hardware can't give the place that is asked for.
    Topology(Misplaced),
    /// There is no offer.
    Offer(Reason<'a>),
    /// It would hold the wish but for what is reserved to these roles.
    Reserved(Vec<&'a RoleName>),
    /// The role would have to be allowed so much more of something by its own limit, or by the guarantees of others.
    Quota { name: &'a ResourceName, more: u128, is_limit: bool },
    /// It holds the wish, but others have of it: what is lacking now, and whether all is taken.
    Size { lacks: Amounts, is_empty: bool },
}

impl Against<'_> {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Never(_) => NEVER,
            Self::Topology(_) => TOPOLOGY,
            Self::Offer(reason) => reason.word(),
            Self::Reserved(_) => "reserved_to_others",
            Self::Quota { is_limit: true, .. } => "quota_limit",
            Self::Quota { is_limit: false, .. } => "headroom",
            Self::Size { is_empty: true, .. } => "nothing_free",
            Self::Size { is_empty: false, .. } => "too_small",
        }
    }

    /// What time or the framework alone overcomes is nearest, then what a few resources overcome, then what others must
    /// do, and last what nothing that is done there overcomes.
    pub(super) fn distance(&self, now: Instant) -> Distance {
        match self {
            Self::Offer(Reason::Filtered { until, .. }) => (1, until.since(now).0),
            Self::Size { lacks, .. } => (2, sum(lacks)),
            Self::Offer(Reason::BelowMinimum { .. }) => (3, 0),
            Self::Offer(Reason::QuotaLimit { left, .. } | Reason::Headroom { left, .. }) => {
                (4, u64::MAX - narrow(*left))
            }
            Self::Quota { more, .. } => (4, narrow(*more)),
            Self::Offer(Reason::NotUnderstood { .. } | Reason::GpuOptIn | Reason::OtherRegion { .. }) => (5, 0),
            Self::Offer(Reason::Constrained) => (6, 0),
            Self::Offer(Reason::ReservedToOthers { .. }) | Self::Reserved(_) => (7, 0),
            Self::Offer(Reason::NothingFree) => (8, 0),
            Self::Offer(_) => (9, 0),
            Self::Topology(_) => (NEVER_FROM, 0),
            Self::Never(lacks) => (NEVER_FROM + 1, sum(lacks)),
        }
    }

    /// All that is against a wish on one agent, told as one: the first of it gives the word.
    pub(super) fn obstacle(all: &[Self], now: Instant) -> Option<Obstacle> {
        let word = all.first()?.word().to_owned();
        let texts: Vec<String> = all.iter().map(Self::text).collect();
        let changes: Vec<String> = all.iter().map(|one| one.change(now)).collect();
        Some(Obstacle { word, text: texts.join(", and "), change: changes.join("; then ") })
    }

    fn text(&self) -> String {
        match self {
            Self::Never(lacks) => format!("all of it together lacks {}", said(lacks)),
            Self::Topology(reason) => reason.to_string(),
            Self::Offer(reason) => reason.to_string(),
            Self::Reserved(roles) => format!("too much of it is reserved to {}", list(roles)),
            Self::Quota { name, more, is_limit: true } => {
                let (name, more) = (name.as_str(), Quantity(narrow(*more)));
                format!("the limit of the role's quota leaves {name}:{more} too little")
            }
            Self::Quota { name, more, is_limit: false } => {
                let (name, more) = (name.as_str(), Quantity(narrow(*more)));
                format!("guarantees of other roles leave {name}:{more} too little")
            }
            Self::Size { is_empty: true, .. } => Reason::NothingFree.to_string(),
            Self::Size { lacks, .. } => format!("{} are lacking", said(lacks)),
        }
    }

    /// The smallest change that would remove it.
    fn change(&self, now: Instant) -> String {
        match self {
            Self::Never(_) => "add an agent that is larger, or ask for less".to_owned(),
            Self::Topology(Misplaced::NoTopology) => "give the agent a topology: --topology".to_owned(),
            Self::Topology(_) => "ask for less in one place, or loosen the placement policy".to_owned(),
            Self::Offer(reason) => change(reason, now),
            Self::Reserved(roles) => match roles.as_slice() {
                [role] => format!("subscribe in {role}, or take the reservation back"),
                _ => format!("take the reservations to {} back", list(roles)),
            },
            Self::Quota { name, more, is_limit: true } => {
                format!("raise the role's limit of {} by {}", name.as_str(), Quantity(narrow(*more)))
            }
            Self::Quota { name, more, is_limit: false } => {
                let (name, more) = (name.as_str(), Quantity(narrow(*more)));
                format!("lower the guarantees of other roles for {name} by {more}, or add an agent")
            }
            Self::Size { lacks, .. } => format!("wait until {} more are free there", said(lacks)),
        }
    }
}

/// A sum as the API shows it.
pub(super) fn narrow(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

fn sum(lacks: &Amounts) -> u64 {
    lacks.iter().fold(0, |sum, (_, lack)| sum.saturating_add(lack.0))
}

/// Amounts as in a flag; those of what has none are some of it.
pub(super) fn said(amounts: &[(ResourceName, Quantity)]) -> String {
    let amounts: Vec<String> = amounts.iter().map(|(name, amount)| format!("{}:{amount}", name.as_str())).collect();
    if amounts.is_empty() { "some of the ports, names or devices".to_owned() } else { amounts.join("; ") }
}

fn list(roles: &[&RoleName]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" and ")
}

/// The smallest change that would remove a reason.
fn change(reason: &Reason<'_>, now: Instant) -> String {
    match reason {
        Reason::Paused => "wait until the master has told everything".to_owned(),
        Reason::Recovering => "wait for the agents, at most ten minutes from the master's beginning".to_owned(),
        Reason::FrameworkUnknown | Reason::FrameworkInactive => "connect the framework: SUBSCRIBE".to_owned(),
        Reason::AgentUnknown => "register the agent".to_owned(),
        Reason::NotSubscribed => "subscribe the framework in this role".to_owned(),
        Reason::Suppressed => "REVIVE the framework in this role".to_owned(),
        Reason::AgentInactive => "bring the agent back, or reactivate it if it was drained or deactivated".to_owned(),
        Reason::NotListed => "add its hostname to --whitelist".to_owned(),
        Reason::NotOwned { .. } => "give the agent to the role: --static-partition".to_owned(),
        Reason::Constrained => "loosen the framework's offer constraints in this role".to_owned(),
        Reason::NothingFree => "end something there, or add an agent".to_owned(),
        Reason::ReservedToOthers { role } => format!("subscribe in {role}, or take the reservation back"),
        Reason::NotUnderstood { capability } => format!("give the framework the capability {capability:?}"),
        Reason::GpuOptIn => {
            "give the framework the capability GpuResources, or --filter-gpu-resources false".to_owned()
        }
        Reason::OtherRegion { .. } => "give the framework the capability RegionAware".to_owned(),
        Reason::QuotaLimit { name, .. } => {
            format!("raise the role's limit of {}, or end some of its tasks", name.as_str())
        }
        Reason::Headroom { name, .. } => {
            format!("lower the guarantees of other roles for {}, or add an agent", name.as_str())
        }
        Reason::BelowMinimum { .. } => {
            "lower --min-allocatable-resources, or that of the framework for this role".to_owned()
        }
        Reason::Filtered { until, .. } => {
            format!("wait {:.1} s, or REVIVE the framework in this role", until.since(now).0 as f64 / 1e9)
        }
    }
}
