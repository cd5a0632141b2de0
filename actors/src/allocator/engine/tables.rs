//! What the engine knows: agents with what is held of them, frameworks with their roles, names of roles.

use super::bags::split;
use super::sorter::{Client, RoleIndex};
use kaon_kernel::agent::{Attribute, Domain};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, FrameworkId, RoleName};
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::table::Table;

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

/// An agent, and who holds what of it.
///
/// The books balance at every step: `free` and what the holdings cover are together `total`, exactly. An agent can
/// come back smaller than what runs on it, though; the part of a holding that no resource stands for is kept beside as
/// its excess. Nothing is free of what anybody has in excess: what comes back stands for that first.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(super) facts: AgentFacts,
    pub(super) total: Resources,
    pub(super) free: Resources,
    /// In ascending order of clients.
    pub(super) holdings: Vec<(Client, Holding)>,
    pub(super) active: bool,
    /// Whether it has GPUs at all.
    pub(super) has_gpus: bool,
    /// Whether it lies in another region than the master.
    pub(super) is_remote: bool,
    /// Whether nothing in `free` has an identity: it is the same offer to everybody.
    pub(super) is_plain: bool,
    /// Whether the master once told of used resources that can't be in one bag (a port in two tasks). From then on more
    /// may come back than is booked.
    pub(super) is_disputed: bool,
}

/// What one client holds of one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// Resources of the agent.
    pub(super) covered: Resources,
    /// What it holds beyond what the agent has.
    pub(super) excess: Resources,
}

impl Agent {
    pub(super) fn new(facts: AgentFacts, total: Resources, home_region: Option<&str>) -> Self {
        let region = facts.domain.as_ref().map(|domain| domain.region.as_str());
        let is_remote = region.is_some_and(|region| home_region.is_some_and(|home| home != region));
        let (free, holdings) = (total.clone(), Vec::new());
        let mut agent = Self {
            facts,
            total,
            free,
            holdings,
            active: true,
            has_gpus: false,
            is_remote,
            is_plain: true,
            is_disputed: false,
        };
        agent.refresh();
        agent
    }

    /// What the master told of it.
    pub fn facts(&self) -> &AgentFacts {
        &self.facts
    }
    /// All that it has.
    pub fn total(&self) -> &Resources {
        &self.total
    }
    /// What nobody holds.
    pub fn free(&self) -> &Resources {
        &self.free
    }
    /// Whether it may be offered.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Whether there is anything to offer on it now.
    pub(super) fn is_available(&self) -> bool {
        self.active && !self.free.is_empty()
    }

    pub(super) fn holding(&self, client: Client) -> Option<&Holding> {
        let at = self.holdings.binary_search_by_key(&client, |(holder, _)| *holder).ok()?;
        Some(&self.holdings[at].1)
    }

    fn holding_mut(&mut self, client: Client) -> &mut Holding {
        let at = match self.holdings.binary_search_by_key(&client, |(holder, _)| *holder) {
            Ok(at) => at,
            Err(at) => {
                self.holdings.insert(at, (client, Holding::default()));
                at
            }
        };
        &mut self.holdings[at].1
    }

    /// Books free resources to a client.
    pub(super) fn take(&mut self, client: Client, resources: &Resources) {
        if self.free == *resources {
            self.free = Resources::new();
        } else if let Err(error) = self.free.subtract(resources) {
            panic!("a grant on agent {} of what is not free: {error}", self.facts.id);
        }
        if let Err(error) = self.holding_mut(client).covered.add(resources) {
            panic!("a grant on agent {} of what its holder has already: {error}", self.facts.id);
        }
        self.refresh();
    }

    /// Books resources that are in use already, whether the agent has them or not. False when they can't be in one bag
    /// with what the client uses already; they are not booked then.
    pub(super) fn take_used(&mut self, client: Client, resources: &Resources) -> bool {
        if self.holding(client).is_some_and(|holding| holding.whole().plus(resources).is_err()) {
            self.is_disputed = true;
            return false;
        }
        let holding = self.holding_mut(client);
        holding.excess.add(resources).expect("what adds up with a whole adds up with a part of it");
        self.cover();
        self.refresh();
        true
    }

    /// Lets free resources stand for what is in excess, in order of clients.
    fn cover(&mut self) {
        for (_, holding) in self.holdings.iter_mut().filter(|(_, holding)| !holding.excess.is_empty()) {
            let (covered, excess) = split(&holding.excess, &self.free);
            self.free.subtract(&covered).expect("what was split off from the free resources is among them");
            holding.covered.add(&covered).expect("the two parts of a holding are one bag");
            holding.excess = excess;
        }
    }

    /// Books what comes back of a client that holds something. Answers what was booked of it: all, unless `is_lenient`.
    pub(super) fn give_back(&mut self, client: Client, resources: &Resources, is_lenient: bool) -> Resources {
        let id = self.facts.id.clone();
        let holding = self.holding_mut(client);
        let (paid, rest) = match holding.excess.is_empty() {
            true => (Resources::new(), resources.clone()),
            false => split(resources, &holding.excess),
        };
        let freed = match holding.covered.contains(&rest) {
            true => rest,
            false if is_lenient => split(&rest, &holding.covered).0,
            false => panic!("{resources} come back to agent {id} of {client:?}, who holds {}", holding.covered),
        };
        holding.excess.subtract(&paid).expect("what pays the excess was split off from it");
        holding.covered.subtract(&freed).expect("what is freed is covered, as checked before");
        let is_over = holding.covered.is_empty() && holding.excess.is_empty();
        if is_over {
            self.holdings.retain(|(holder, _)| *holder != client);
        }
        self.free.add(&freed).unwrap_or_else(|error| panic!("what comes back to agent {id} is free already: {error}"));
        self.cover();
        self.refresh();
        freed.plus(&paid).expect("two parts of one bag add up")
    }

    /// Gives it another total: holdings keep what they can, in order of clients, and what is left is free.
    pub(super) fn resize(&mut self, total: Resources) {
        for (_, holding) in &mut self.holdings {
            *holding = Holding { excess: holding.whole(), covered: Resources::new() };
        }
        (self.total, self.free) = (total.clone(), total);
        self.cover();
        self.refresh();
    }

    fn refresh(&mut self) {
        self.has_gpus = self.total.iter().any(|entry| entry.name == ResourceName::Gpus);
        self.is_plain = self.free.iter().all(|entry| entry.identity.is_none());
    }

    /// Asserts that free and covered are together the total.
    pub(super) fn invariants(&self) {
        let id = &self.facts.id;
        let mut sum = self.free.clone();
        for (client, holding) in &self.holdings {
            assert!(
                !holding.covered.is_empty() || !holding.excess.is_empty(),
                "an empty holding of {client:?} on {id}"
            );
            assert!(split(&holding.excess, &self.free).0.is_empty(), "free on {id}, and in excess of {client:?}");
            sum.add(&holding.covered).unwrap_or_else(|error| panic!("agent {id}: {error}"));
        }
        assert!(sum == self.total, "agent {id}: free and held are {sum}, the total is {}", self.total);
        assert!(self.holdings.is_sorted_by_key(|(client, _)| *client));
    }
}

impl Holding {
    /// All that the master thinks it holds.
    pub(super) fn whole(&self) -> Resources {
        if self.excess.is_empty() {
            return self.covered.clone();
        }
        self.covered.plus(&self.excess).expect("the two parts of a holding are one bag")
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
    /// By role: where it is subscribed or holds something.
    pub(super) memberships: Table<RoleIndex, Membership>,
}

impl Framework {
    pub(super) fn expected() -> Self {
        let id = FrameworkId::trusted("");
        let (capabilities, memberships) = (Capabilities::default(), Table::default());
        Self { id, is_known: false, active: false, capabilities, memberships }
    }
}

/// A framework in a role.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Membership {
    pub(super) is_subscribed: bool,
    pub(super) is_suppressed: bool,
    /// On how many agents it holds something under this role.
    pub(super) holdings: u32,
}

/// The names of roles in use. An index is given again once the last user of its name has let go.
#[derive(Debug, Default)]
pub(super) struct Roles {
    by_name: Table<RoleName, RoleIndex>,
    entries: Vec<Option<(RoleName, u32)>>,
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

    /// One user more; true when it is the first.
    pub(super) fn acquire(&mut self, name: &RoleName) -> (RoleIndex, bool) {
        if let Some(&role) = self.by_name.get(name) {
            if let Some((_, users)) = &mut self.entries[role.0 as usize] {
                *users += 1;
            }
            return (role, false);
        }
        let role = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            RoleIndex(self.entries.len() as u32 - 1)
        });
        self.entries[role.0 as usize] = Some((name.clone(), 1));
        self.by_name.insert(name.clone(), role);
        (role, true)
    }

    /// One user less; true when it was the last.
    pub(super) fn release(&mut self, role: RoleIndex) -> bool {
        let entry = &mut self.entries[role.0 as usize];
        let Some((name, users)) = entry else { return false };
        *users -= 1;
        if *users > 0 {
            return false;
        }
        self.by_name.swap_remove(name);
        *entry = None;
        self.vacant.push(role);
        true
    }
}
