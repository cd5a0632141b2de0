//! Offer constraints: which agents a framework wants offers of, in one of its roles (reference 3.6).

use crate::id::RoleName;
use crate::quantity::Quantity;
use crate::resource::ResourceName;
use rkyv::{Archive, Deserialize, Serialize};

/// Sets of quantities of which an offer must hold at least one; with no set there is no minimum.
pub type Minimums = Vec<Vec<(ResourceName, Quantity)>>;

/// What a framework says about the offers that it wants, by role. A role that is not named has no constraints and the
/// cluster's minimum size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct OfferRules {
    /// Constraints (`offer_constraints` of SUBSCRIBE).
    pub constraints: Vec<(RoleName, OfferConstraints)>,
    /// Minimum sizes (`FrameworkInfo.offer_filters`).
    pub minimums: Vec<(RoleName, Minimums)>,
}

/// The constraints of one framework in one role: an agent is offered when all constraints of any group hold. Without a
/// group every agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct OfferConstraints {
    /// Alternatives.
    pub groups: Vec<ConstraintGroup>,
}

/// Constraints that must hold together; none is no group.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ConstraintGroup(pub Vec<AttributeConstraint>);

/// What must be true of one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AttributeConstraint {
    /// Of which.
    pub selector: Selector,
    /// What.
    pub predicate: Predicate,
}

/// Which attribute.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Selector {
    /// The first of this name.
    Attribute(String),
    /// The agent's hostname.
    Hostname,
    /// The region of its fault domain.
    Region,
    /// The zone of its fault domain.
    Zone,
}

/// What must be true. Attributes that are not texts satisfy every text predicate.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not.
    NotExists,
    /// It is there and equal.
    TextEquals(String),
    /// It is not there, or another.
    TextNotEquals(String),
    /// It is there, and all of it matches the expression.
    TextMatches(String),
    /// It is not there, or does not match.
    TextNotMatches(String),
}

/// So many groups of one role are taken; Mesos has no bound.
pub const GROUPS_MAX: usize = 64;

/// So many constraints of one group are taken; Mesos has no bound.
pub const CONSTRAINTS_PER_GROUP_MAX: usize = 64;

/// The longest regular expression in bytes. Its program is bounded as well, as in Mesos.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
