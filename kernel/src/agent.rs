//! What an agent says of its machine.

use crate::id::AgentId;
use crate::quantity::Quantity;
use crate::resource::{Ranges, Resources};
use rkyv::{Archive, Deserialize, Serialize};

/// A machine in the pool (`AgentInfo` of the v1 API).
#[derive(Clone, Debug, Default, PartialEq, Archive, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Given by the master at the first registration; kept as long as the agent keeps its state.
    pub id: Option<AgentId>,
    /// Name under which clients reach it.
    pub hostname: String,
    /// Address of its HTTP endpoint.
    pub ip: String,
    /// Port of its HTTP endpoint.
    pub port: u16,
    /// All that it shares out.
    pub resources: Resources,
    /// What frameworks may choose by, in order; names may repeat.
    pub attributes: Vec<Attribute>,
    /// The fault domain, if the cluster has any.
    pub domain: Option<Domain>,
    /// The version of Kaon that it runs.
    pub version: String,
}

/// A named fact about a machine.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum AttributeValue {
    /// A number.
    Scalar(Quantity),
    /// Ranges of numbers.
    Ranges(Ranges),
    /// A text.
    Text(String),
}

/// Region and zone of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Domain {
    /// Region.
    pub region: String,
    /// Zone in the region.
    pub zone: String,
}
