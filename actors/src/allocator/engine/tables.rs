//! What the engine knows: facts of agents and frameworks, frameworks with their roles, clients, names of roles.

use super::Minimums;
use super::amounts::Amounts;
use super::filter::Owner;
use super::sorter::{Client, RoleIndex};
use crate::constraints::{Constrained, Facts};
use kaon_kernel::agent::{Attribute, Domain};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, FrameworkId, RoleName};
use kaon_kernel::table::Table;
use std::collections::BTreeMap;

pub use super::agent::Agent;

/// What a master tells of an agent.
#[derive(Clone, Debug)]
pub struct AgentFacts {
    /// Its name, for explanations.
    pub id: AgentId,
    /// Name of its machine.
    pub hostname: String,
    /// What frameworks may choose by.
    pub attributes: Vec<Attribute>,
    /// Its fault domain.
    pub domain: Option<Domain>,
}

impl AgentFacts {
    /// Whether it is known to be of another region than this one.
    pub(super) fn is_remote(&self, home_region: Option<&str>) -> bool {
        let region = self.domain.as_ref().map(|domain| domain.region.as_str());
        region.is_some_and(|region| home_region.is_some_and(|home| home != region))
    }

    /// What constraints look at.
    pub(super) fn to_choose_by(&self) -> Facts<'_> {
        Facts { hostname: &self.hostname, attributes: &self.attributes, domain: self.domain.as_ref() }
    }
}

/// What a master tells of a framework.
#[derive(Clone, Debug)]
pub struct FrameworkFacts {
    /// Its name, the last tie-break.
    pub id: FrameworkId,
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// Those of its roles that want nothing now.
    pub suppressed: Vec<RoleName>,
    /// What it understands.
    pub capabilities: Capabilities,
}

/// What a framework understands, as a set in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// Whether it has one.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }

    /// What one or the other has.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl<'a> FromIterator<&'a Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = &'a Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |word, &capability| word | 1 << capability as u16))
    }
}

/// A framework. One of which only holdings are known, since its agents came first, has no name yet.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    pub(super) is_known: bool,
    pub(super) active: bool,
    pub(super) capabilities: Capabilities,
    /// Its clients by role: where it is subscribed or holds something.
    pub(super) memberships: Memberships,
}

/// The places of a framework's clients, ascending by role: most frameworks have one.
#[derive(Debug, Default)]
pub(super) struct Memberships(Vec<(RoleIndex, u32)>);

impl Memberships {
    fn seek(&self, role: RoleIndex) -> Result<usize, usize> {
        self.0.binary_search_by_key(&role, |(role, _)| *role)
    }

    pub(super) fn get(&self, role: RoleIndex) -> Option<u32> {
        Some(self.0[self.seek(role).ok()?].1)
    }

    pub(super) fn insert(&mut self, role: RoleIndex, at: u32) {
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        match self.seek(role) {
            Ok(place) => self.0[place].1 = at,
            Err(place) => self.0.insert(place, (role, at)),
        }
    }

    pub(super) fn remove(&mut self, role: RoleIndex) {
        if let Ok(place) = self.seek(role) {
            self.0.remove(place);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RoleIndex, u32)> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Framework {
    pub(super) fn expected() -> Self {
        let id = FrameworkId::trusted("");
        let (capabilities, memberships) = (Capabilities::default(), Memberships::default());
        Self { id, is_known: false, active: false, capabilities, memberships }
    }
}

/// A framework in a role.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) client: Client,
    /// The top-level role above its role, in the books of quota.
    pub(super) top: u32,
    pub(super) is_subscribed: bool,
    pub(super) is_suppressed: bool,
    pub(super) capabilities: Capabilities,
    /// On how many agents it holds something under this role.
    pub(super) holdings: u32,
    /// What it holds of all agents together.
    pub(super) held: Amounts,
    /// Allocations that it was ever given.
    pub(super) allocations: u64,
    /// Of its filters, when it has any.
    pub(super) owner: Option<Owner>,
    pub(super) minimums: Option<Box<Minimums>>,
    pub(super) constrained: Option<Box<Constrained>>,
}

impl Membership {
    fn new(client: Client, top: u32, capabilities: Capabilities) -> Self {
        Self {
            client,
            top,
            is_subscribed: false,
            is_suppressed: false,
            capabilities,
            holdings: 0,
            held: Amounts::new(),
            allocations: 0,
            owner: None,
            minimums: None,
            constrained: None,
        }
    }
}

/// All clients, each at a place that stays its own.
#[derive(Debug, Default)]
pub(super) struct Clients {
    entries: Vec<Option<Membership>>,
    vacant: Vec<u32>,
    by_client: Table<Client, u32>,
    /// Whether who stands at a place is in the sorter's walk, close together.
    is_walked: Vec<bool>,
    /// How many are in the sorter's walk.
    pub(super) walked: u32,
}

impl Clients {
    pub(super) fn insert(&mut self, client: Client, top: u32, capabilities: Capabilities) -> u32 {
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.is_walked.push(false);
            self.entries.len() as u32 - 1
        });
        self.entries[at as usize] = Some(Membership::new(client, top, capabilities));
        self.by_client.insert(client, at);
        at
    }

    pub(super) fn remove(&mut self, at: u32) {
        if let Some(gone) = self.entries[at as usize].take() {
            self.by_client.swap_remove(&gone.client);
            self.vacant.push(at);
        }
    }

    /// Notes whether a client is in the walk; whether that is new.
    pub(super) fn walk(&mut self, at: u32, is_walked: bool) -> bool {
        let was = core::mem::replace(&mut self.is_walked[at as usize], is_walked);
        self.walked = self.walked + u32::from(is_walked) - u32::from(was);
        was != is_walked
    }

    /// Whether the client at a place is in the walk: subscribed, not suppressed, and its framework is there and connected.
    pub(super) fn is_walked(&self, at: u32) -> bool {
        self.is_walked[at as usize]
    }

    pub(super) fn find(&self, client: Client) -> Option<u32> {
        self.by_client.get(&client).copied()
    }

    pub(super) fn get(&self, at: u32) -> Option<&Membership> {
        self.entries.get(at as usize)?.as_ref()
    }

    pub(super) fn at(&self, at: u32) -> &Membership {
        self.get(at).unwrap_or_else(|| panic!("no client is at place {at}"))
    }

    pub(super) fn at_mut(&mut self, at: u32) -> &mut Membership {
        let entry = self.entries.get_mut(at as usize).and_then(Option::as_mut);
        entry.unwrap_or_else(|| panic!("no client is at place {at}"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Membership)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| Some((at as u32, entry.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Membership> {
        self.entries.iter_mut().flatten()
    }

    /// So many places there are.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }
}

/// The names of roles in use, with the places of who is in them. An index is given again once the last client of its role
/// is gone.
#[derive(Debug, Default)]
pub(super) struct Roles {
    by_name: Table<RoleName, RoleIndex>,
    /// By path, for all that lies below one.
    in_order: BTreeMap<RoleName, RoleIndex>,
    entries: Vec<Option<(RoleName, Vec<u32>)>>,
    vacant: Vec<RoleIndex>,
}

impl Roles {
    pub(super) fn find(&self, name: &RoleName) -> Option<RoleIndex> {
        self.by_name.get(name).copied()
    }

    /// The name of a role in use.
    pub(super) fn name(&self, role: RoleIndex) -> &RoleName {
        let entry = self.entries.get(role.0 as usize).and_then(Option::as_ref);
        &entry.unwrap_or_else(|| panic!("{role:?} is not in use")).0
    }

    /// The places of the clients in a role and in those below it. Cost: what it answers, and the logarithm of the roles.
    pub(super) fn clients_within(&self, role: &RoleName) -> impl Iterator<Item = u32> {
        // What lies below a path begins with it and a slash; what follows the slash in the alphabet is the zero.
        let bound = |end: &str| RoleName::trusted([role.as_str(), end].concat());
        let below = self.in_order.range(bound("/")..bound("0")).map(|(_, index)| *index);
        let indexes = self.find(role).into_iter().chain(below);
        indexes.flat_map(|index| self.entries[index.0 as usize].iter().flat_map(|(_, places)| places.iter().copied()))
    }

    /// The index of a role in which a client is going to be; true when nobody was.
    pub(super) fn acquire(&mut self, name: &RoleName) -> (RoleIndex, bool) {
        if let Some(&role) = self.by_name.get(name) {
            return (role, false);
        }
        let role = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            RoleIndex(self.entries.len() as u32 - 1)
        });
        self.entries[role.0 as usize] = Some((name.clone(), Vec::new()));
        self.by_name.insert(name.clone(), role);
        self.in_order.insert(name.clone(), role);
        (role, true)
    }

    /// The client at a place is in a role that was acquired for it.
    pub(super) fn join(&mut self, role: RoleIndex, at: u32) {
        if let Some((_, places)) = &mut self.entries[role.0 as usize] {
            places.push(at);
        }
    }

    /// The client at a place has left a role; true when it was the last.
    pub(super) fn leave(&mut self, role: RoleIndex, at: u32) -> bool {
        let entry = &mut self.entries[role.0 as usize];
        let Some((name, places)) = entry else { return false };
        if let Some(place) = places.iter().position(|other| *other == at) {
            places.swap_remove(place);
        }
        if !places.is_empty() {
            return false;
        }
        self.by_name.swap_remove(name);
        self.in_order.remove(name);
        *entry = None;
        self.vacant.push(role);
        true
    }
}
