//! Random histories of everything that can be told to an allocator.

use super::allocator::Given;
use super::bag::sum_of;
use super::both::Both;
use super::constraints::EXPRESSIONS;
use crate::allocator::engine::arrangement::AgentOrder;
use crate::allocator::engine::{Minimums, Rules};
use kaon_kernel::agent::{Attribute, Domain};
use kaon_kernel::constraint::{AttributeConstraint, ConstraintGroup, OfferConstraints, Predicate, Selector};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{Disk, DiskKind, DiskSource, Identity, Persistence, Reservation};
use kaon_kernel::resource::{Resource, ResourceName, Resources, parse};
use kaon_kernel::time::Duration;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ROLES: [&str; 6] = ["a", "a/b", "a/b/c", "a/d", "c", "*"];
const TOPS: [&str; 3] = ["a", "c", "*"];
/// Powers of two: shares are then the same as fractions and as floats.
const WEIGHTS: [u32; 4] = [500, 1000, 2000, 4000];

fn bag(text: &str) -> Resources {
    parse::resources(text).expect("a resource text of a test")
}

fn reservation(role: &str, dynamic: bool) -> Reservation {
    Reservation { dynamic, role: RoleName::trusted(role), principal: None, labels: Vec::new() }
}

fn identified(name: ResourceName, units: u64, identity: Identity) -> Resource {
    Resource { identity: Some(identity.into()), ..Resource::scalar(name, Quantity::units(units)) }
}

/// What an agent can have.
fn total(kind: u8) -> Resources {
    let plain = match kind % 11 {
        0 => "cpus:4;mem:64;ports:[1-9]",
        1 => "cpus:2;cpus(a):2;mem:8",
        2 => "cpus:8;gpus:1",
        3 => "disk:5;things:{x,y,z}",
        4 => "cpus:4;mem:64;cpus(a/b):1;mem(a/b):32;ports(c):[3-5]",
        _ => "cpus:3;mem:96",
    };
    let special = match kind % 11 {
        5 => identified(ResourceName::Cpus, 2, Identity { revocable: true, ..Identity::default() }),
        6 => {
            let reservations = vec![reservation("a", true), reservation("a/b", true)];
            identified(ResourceName::Cpus, 2, Identity { reservations, ..Identity::default() })
        }
        // A volume, the second one shared.
        kind @ (7 | 10) => {
            let persistence = Some(Persistence { id: "volume".to_owned(), principal: None });
            let disk = Some(Disk { persistence, volume: None, source: None });
            let (reservations, shared) = (vec![reservation("a", true)], kind == 10);
            identified(ResourceName::Disk, 7, Identity { reservations, disk, shared, ..Identity::default() })
        }
        8 => {
            let source = DiskSource {
                kind: DiskKind::Mount,
                root: Some("/mnt".to_owned()),
                id: None,
                profile: None,
                vendor: None,
                metadata: Vec::new(),
            };
            let disk = Some(Disk { persistence: None, volume: None, source: Some(source) });
            identified(ResourceName::Disk, 6, Identity { disk, ..Identity::default() })
        }
        _ => return bag(plain),
    };
    Resources::collect(bag(plain).iter().cloned().chain([special])).expect("different entries")
}

fn place(kind: u8) -> (Vec<Attribute>, Option<Domain>) {
    let attributes = ["", "rack:rack-1;rack:rack-2", "rack:rack;gen:2", "rack:7"][usize::from(kind % 4)];
    let domain = |region: &str| Some(Domain { region: region.to_owned(), zone: format!("zone-{}", kind % 2) });
    let domain = [None, domain("here"), domain("there")][usize::from(kind / 4 % 3)].clone();
    (parse::attributes(attributes).expect("attributes of a test"), domain)
}

fn constraints(one: u8, two: u8) -> OfferConstraints {
    let selectors = [Selector::Attribute("rack".to_owned()), Selector::Hostname, Selector::Region, Selector::Zone];
    let predicate = |kind: u8| {
        let expression = EXPRESSIONS[usize::from(kind / 6) % 3].to_owned();
        match kind % 6 {
            0 => Predicate::Exists,
            1 => Predicate::NotExists,
            2 => Predicate::TextEquals("rack".to_owned()),
            3 => Predicate::TextNotEquals("rack-1".to_owned()),
            4 => Predicate::TextMatches(expression),
            _ => Predicate::TextNotMatches(expression),
        }
    };
    let constraint = |kind: u8| AttributeConstraint {
        selector: selectors[usize::from(kind) % 4].clone(),
        predicate: predicate(kind / 4),
    };
    let groups = match one % 4 {
        0 => vec![],
        1 => vec![ConstraintGroup(vec![constraint(two)])],
        2 => vec![ConstraintGroup(vec![constraint(two), constraint(one)])],
        _ => vec![ConstraintGroup(vec![constraint(two)]), ConstraintGroup(vec![constraint(one)])],
    };
    OfferConstraints { groups }
}

fn quota(one: u8, two: u8) -> Quota {
    let amount = |units: u8| Quantity::units(u64::from(units));
    let guarantees = match one % 4 {
        0 => vec![],
        1 => vec![(ResourceName::Cpus, amount(one / 16))],
        _ => vec![(ResourceName::Cpus, amount(one / 32)), (ResourceName::Mem, amount(one / 2))],
    };
    let above = |name: &ResourceName, more: u8| {
        let promised = guarantees.iter().find(|(other, _)| other == name).map_or(0, |(_, amount)| amount.0);
        (name.clone(), Quantity(promised + amount(more).0))
    };
    let limits = match two % 4 {
        0 | 1 => vec![],
        2 => vec![above(&ResourceName::Cpus, two / 32)],
        _ => vec![above(&ResourceName::Cpus, two / 16), above(&ResourceName::Mem, two / 4)],
    };
    Quota { guarantees, limits }
}

fn minimums(kind: u8) -> Option<Minimums> {
    match kind % 4 {
        0 => None,
        1 => Some(vec![]),
        2 => Some(vec![vec![(ResourceName::Cpus, Quantity::units(3))]]),
        _ => {
            let both = vec![(ResourceName::Cpus, Quantity::units(1)), (ResourceName::Mem, Quantity::units(40))];
            Some(vec![both, vec![(ResourceName::Disk, Quantity::units(5))]])
        }
    }
}

fn capabilities(kind: u8) -> BTreeSet<Capability> {
    let wanted = [
        Capability::GpuResources,
        Capability::RevocableResources,
        Capability::ReservationRefinement,
        Capability::RegionAware,
        Capability::SharedResources,
    ];
    wanted.into_iter().enumerate().filter(|(at, _)| kind & (1 << at) != 0).map(|(_, capability)| capability).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What happens next, and its details.
type Step = (u8, u8, u8, u8);

/// A history under way.
struct History {
    both: Both,
    next: u32,
}

impl History {
    fn new(order: AgentOrder) -> Self {
        let rules = Rules { order, region: Some("here".to_owned()), ..Rules::default() };
        Self { both: Both::new(rules, &[("a/b", 2000), ("c", 500)]), next: 0 }
    }

    fn framework(&self, place: u8) -> Option<u32> {
        let known = &self.both.reference.frameworks;
        known.keys().nth(usize::from(place) % known.len().max(1)).copied()
    }

    fn agent(&self, place: u8) -> Option<u32> {
        let known = &self.both.reference.agents;
        known.keys().nth(usize::from(place) % known.len().max(1)).copied()
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn act(&mut self, (kind, one, two, three): Step) {
        let name = ROLES[usize::from(two) % ROLES.len()];
        let other = ROLES[usize::from(two / 8) % ROLES.len()];
        let suppressed = if three.is_multiple_of(5) { set(&[name]) } else { set(&[]) };
        let (framework, agent) = (self.framework(one), self.agent(one));
        match (kind, framework, agent) {
            (0..=3, ..) => {
                let index = self.number();
                self.both.add_framework(index, set(&[name, other]), suppressed, capabilities(three));
            }
            (4..=7, ..) => {
                let index = self.number();
                let total = total(three);
                // Some of it is in use, by a framework that is known or will never be.
                let user = framework.filter(|_| two.is_multiple_of(2)).unwrap_or(5000);
                let used = total.filter(|entry| entry.reservation_role().is_none() && entry.name != ResourceName::Disk);
                let used = (two.is_multiple_of(3) && !used.is_empty()).then(|| (user, name.to_owned(), index, used));
                self.both.add_agent(index, total, place(one), used.as_slice());
            }
            (8, _, Some(agent)) => self.both.update_agent(agent, total(two)),
            (9, _, Some(agent)) => self.both.set_agent_active(agent, two.is_multiple_of(2)),
            (10, _, Some(agent)) if two.is_multiple_of(2) => self.both.remove_agent(agent),
            (11, Some(framework), _) => self.both.suppress(framework, name),
            (12 | 13, Some(framework), _) if self.both.reference.frameworks[&framework].roles.contains(name) => {
                self.both.revive(framework, name);
            }
            (14, Some(framework), _) => self.both.set_framework_active(framework, two.is_multiple_of(2)),
            (15, Some(framework), _) => {
                self.both.update_framework(framework, set(&[name, other]), suppressed, capabilities(three));
            }
            (16, Some(framework), _) if two.is_multiple_of(2) => self.both.remove_framework(framework),
            (17, ..) => self.both.pause(one.is_multiple_of(2)),
            (18..=20, ..) => self.both.now = self.both.now + Duration::millis(u64::from(one) * 9),
            (21..=28, ..) => self.give_back(one, two, three),
            (29, ..) => self.reserve(one, name),
            (40 | 41, ..) => self.both.set_quota(TOPS[usize::from(three) % 3], quota(one, two)),
            (42, ..) => self.both.set_weight(name, WEIGHTS[usize::from(three) % 4]),
            (43, _, Some(agent)) => {
                let names = [agent, u32::from(two % 8)];
                self.both.set_whitelist(three.is_multiple_of(2).then_some(&names[..]));
            }
            (44, Some(framework), _) if self.both.reference.frameworks[&framework].roles.contains(name) => {
                self.both.set_constraints(framework, name, constraints(one, three));
            }
            (45, Some(framework), _) if self.both.reference.frameworks[&framework].roles.contains(name) => {
                self.both.set_minimums(framework, name, minimums(three));
            }
            _ => {
                // What quota keeps back waits for a batch round, so only those are defined to the last agent.
                self.both.round(one.is_multiple_of(2) || !self.both.reference.quotas.is_empty());
            }
        }
        self.both.compare();
    }

    fn held(&self, place: u8) -> Option<Given> {
        let agents = self.both.reference.agents.iter();
        let held = agents.flat_map(|(&agent, there)| {
            there.held.iter().map(move |((framework, role), held)| (*framework, role.clone(), agent, held.clone()))
        });
        let held = held.collect::<Vec<_>>();
        held.get(usize::from(place) % held.len().max(1)).cloned()
    }

    /// All or a part of a grant comes back, with or without a refusal.
    fn give_back(&mut self, one: u8, two: u8, three: u8) {
        let Some((framework, role, agent, whole)) = self.held(one) else { return };
        let first = whole.iter().next().expect("never empty").clone();
        let part = match two % 3 {
            0 => whole.filter(|entry| *entry == first),
            1 if first.value == parse_units(2) => {
                Resources::collect([Resource { value: parse_units(1), ..first }]).expect("one entry")
            }
            _ => whole,
        };
        let refusals = [None, Some(Duration::ZERO), Some(Duration::millis(5)), Some(Duration::secs(3))];
        let refusal = refusals[usize::from(three % 4)];
        let filters = &self.both.reference.filters;
        let standing = filters
            .iter()
            .filter(|other| (other.who.0, other.who.1.as_str(), other.agent) == (framework, role.as_str(), agent));
        // Eight are kept of one client on one agent; histories stay below.
        let refusal = refusal.filter(|_| standing.count() < 7);
        self.both.recover(&(framework, role, agent, part), refusal);
    }

    /// A framework reserves the plain processors that it holds of an agent, or frees them again.
    fn reserve(&mut self, one: u8, name: &str) {
        let Some((framework, role, agent, whole)) = self.held(one) else { return };
        if self.both.reference.free(agent).is_empty() && role == "*" {
            return;
        }
        let is_reserved = |entry: &Resource| {
            entry.identity.as_ref().is_some_and(|identity| {
                identity.disk.is_none() && identity.reservations.len() == 1 && identity.reservations[0].dynamic
            })
        };
        let cpus = |entry: &Resource| entry.name == ResourceName::Cpus;
        let plain = whole.filter(|entry| cpus(entry) && entry.identity.is_none());
        let reserved = whole.filter(|entry| cpus(entry) && is_reserved(entry));
        // Of an agent that has shrunk below what is held it is open whose part is still there.
        let there = &self.both.reference.agents[&agent];
        let is_whole = there.total.minus(&sum_of(there.held.iter().map(|(_, held)| held))).is_ok();
        let (from, to) = match (plain.is_empty(), reserved.is_empty()) {
            (_, false) => (reserved.clone(), reserved.to_unreserved().expect("one reservation less")),
            (false, true) if role != "*" => {
                let reservation = reservation(if name == "*" { &role } else { name }, true);
                (plain.clone(), plain.with_reservation(&reservation).expect("one reservation more"))
            }
            _ => return,
        };
        if is_whole {
            self.both.convert(&(framework, role, agent, from), &to);
        }
    }
}

fn parse_units(units: u64) -> kaon_kernel::resource::Value {
    kaon_kernel::resource::Value::Scalar(Quantity::units(units))
}

fn play(order: AgentOrder, steps: Vec<Step>) {
    let mut history = History::new(order);
    for step in steps {
        history.act(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_reference_grants_the_same_in_the_given_order(
        steps in prop::collection::vec((0u8..40, any::<u8>(), any::<u8>(), any::<u8>()), 1..80),
    ) {
        play(AgentOrder::Given, steps);
    }

    #[test]
    fn the_reference_grants_the_same_in_the_shuffled_order(
        steps in prop::collection::vec((0u8..40, any::<u8>(), any::<u8>(), any::<u8>()), 1..80),
    ) {
        play(AgentOrder::Random, steps);
    }

    #[test]
    fn the_reference_grants_the_same_whatever_operators_set(
        steps in prop::collection::vec((0u8..60, any::<u8>(), any::<u8>(), any::<u8>()), 1..80),
    ) {
        play(AgentOrder::Given, steps);
    }
}
