//! The sorter alone: the worked examples of policies 8.3, ties, trees, and a comparison with the definition.

use super::role;
use crate::allocator::engine::amounts::{Amounts, ScalarNames};
use crate::allocator::engine::sorter::{Client, Drf, RoleIndex, Sorter};
use core::ops::ControlFlow;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn amounts(cpus: u64, mem: u64) -> Amounts {
    let mut measured = Amounts::new();
    let bag = Resources::cpus_and_mem(Quantity::units(cpus), Quantity::units(mem));
    let mut names = ScalarNames::new(Vec::new());
    // Both names in this order first, so that every row has the same positions.
    names.measure(&Resources::cpus_and_mem(Quantity(1), Quantity(1)), &mut measured);
    names.measure(&bag, &mut measured);
    measured
}

/// A sorter whose clients are roles with one framework each.
struct Clients(Drf, Vec<String>);

impl Clients {
    fn new(weights: &[(&str, u32)]) -> Self {
        let mut sorter = Drf::default();
        sorter.reset(&weights.iter().map(|(name, weight)| (role(name), *weight)).collect::<Vec<_>>());
        sorter.set_total(&amounts(100, 100));
        Self(sorter, Vec::new())
    }
    fn client(&self, name: &str) -> Client {
        let at = self.1.iter().position(|other| other == name).expect("a client that was added") as u32;
        Client { framework: FrameworkIndex(at), role: RoleIndex(at) }
    }
    fn add(&mut self, name: &str) {
        self.1.push(name.to_owned());
        let client = self.client(name);
        self.0.add_role(client.role, &role(name));
        self.0.add_framework(client, &FrameworkId::trusted("0"));
        self.0.set_active(client, true);
    }
    fn give(&mut self, name: &str, cpus: u64, mem: u64) {
        self.0.allocated(self.client(name), &amounts(cpus, mem));
    }
    fn with(&mut self, name: &str, cpus: u64, mem: u64) {
        self.add(name);
        self.give(name, cpus, mem);
    }
    fn take(&mut self, name: &str, cpus: u64, mem: u64) {
        self.0.unallocated(self.client(name), &amounts(cpus, mem));
    }
    fn remove(&mut self, name: &str, cpus: u64, mem: u64) {
        self.take(name, cpus, mem);
        let client = self.client(name);
        self.0.remove_framework(client);
        self.0.remove_role(client.role);
    }
    fn order(&mut self) -> String {
        let mut names = Vec::new();
        self.0.walk(&mut |client| {
            names.push(self.1[client.role.0 as usize].clone());
            ControlFlow::Continue(())
        });
        names.join(" ")
    }
}

#[test]
fn clients_follow_their_dominant_shares() {
    let mut clients = Clients::new(&[]);
    clients.with("a", 5, 5);
    clients.with("b", 6, 6);
    assert_eq!(clients.order(), "a b");
    clients.with("c", 1, 1);
    clients.with("d", 3, 1);
    assert_eq!(clients.order(), "c d a b");
    clients.remove("a", 5, 5);
    clients.take("b", 4, 4);
    assert_eq!(clients.order(), "c b d");
    clients.with("e", 1, 5);
    clients.0.set_total(&amounts(50, 100));
    assert_eq!(clients.order(), "c b e d");
    clients.0.set_total(&amounts(50, 200));
    clients.with("f", 5, 1);
    clients.give("c", 0, 15);
    assert_eq!(clients.order(), "e b d c f");
}

#[test]
fn weights_divide_shares() {
    let mut clients = Clients::new(&[("b", 2000), ("d", 10_000), ("e", 100)]);
    clients.with("a", 5, 5);
    clients.with("b", 6, 6);
    assert_eq!(clients.order(), "b a");
    clients.with("c", 4, 4);
    assert_eq!(clients.order(), "b c a");
    clients.with("d", 10, 20);
    assert_eq!(clients.order(), "d b c a");
    clients.remove("b", 6, 6);
    clients.give("d", 10, 25);
    assert_eq!(clients.order(), "c d a");
    clients.with("e", 1, 1);
    assert_eq!(clients.order(), "c d a e");
}

#[test]
fn fewer_allocations_win_a_tie_and_then_the_name() {
    let mut clients = Clients::new(&[]);
    for name in ["e", "d", "c", "b", "a"] {
        clients.add(name);
    }
    for name in ["a", "b", "e"] {
        clients.give(name, 3, 3);
    }
    clients.give("d", 2, 2);
    clients.give("d", 1, 1);
    for _ in 0..3 {
        clients.give("c", 1, 1);
    }
    assert_eq!(clients.order(), "a b e d c");
    clients.take("c", 1, 1);
    clients.give("c", 1, 1);
    clients.take("a", 3, 3);
    clients.give("a", 3, 3);
    assert_eq!(clients.order(), "b e a d c", "what comes back does not reset the count");
}

#[test]
fn an_inactive_client_keeps_its_share_and_its_count() {
    let mut clients = Clients::new(&[]);
    clients.with("a", 1, 1);
    clients.with("b", 1, 1);
    clients.give("a", 0, 0);
    assert_eq!(clients.order(), "b a");
    clients.0.set_active(clients.client("a"), false);
    assert_eq!(clients.order(), "b");
    clients.give("b", 0, 0);
    clients.0.set_active(clients.client("a"), true);
    assert_eq!(clients.order(), "a b", "a tie at two allocations each");
}

#[test]
fn a_role_with_children_competes_with_them_through_a_virtual_leaf() {
    let mut clients = Clients::new(&[("a/b", 4000), ("a", 500)]);
    clients.with("a", 4, 4);
    clients.with("a/b", 8, 8);
    clients.with("c", 20, 20);
    // a: 12/100 with weight 0.5 is 0.24, c is 0.2. Inside a: its own 0.04 against 0.08 / 4.
    assert_eq!(clients.order(), "c a/b a");
    clients.give("c", 5, 5);
    assert_eq!(clients.order(), "a/b a c");
    clients.give("a/b", 0, 0);
    clients.take("a", 2, 2);
    assert_eq!(clients.order(), "a a/b c", "both at 0.02, and the leaf had fewer allocations");
    clients.remove("a/b", 8, 8);
    assert_eq!(clients.order(), "a c");
    clients.remove("a", 2, 2);
    assert_eq!(clients.order(), "c");
}

#[test]
fn roles_go_and_leave_nothing_behind() {
    let mut clients = Clients::new(&[]);
    clients.with("a/b/c", 1, 1);
    clients.with("a/x", 3, 3);
    clients.remove("a/b/c", 1, 1);
    clients.with("a", 2, 2);
    assert_eq!(clients.order(), "a a/x");
    clients.remove("a/x", 3, 3);
    clients.remove("a", 2, 2);
    assert_eq!(clients.order(), "");
}

/// What a client holds, how often it was given something, and whether it is in the order.
#[derive(Clone, Default)]
struct Held {
    cpus: u64,
    mem: u64,
    count: u64,
    active: bool,
}

/// The order by its definition (policies 1.3), computed anew from nothing but what each client holds.
fn defined_order(
    held: &BTreeMap<(&'static str, u32), Held>,
    total: (u64, u64),
    weights: &BTreeMap<&'static str, u32>,
) -> Vec<(String, u32)> {
    let mut order = Vec::new();
    defined_level(held, total, weights, "", &mut order);
    order
}

fn share(clients: &[&Held], total: (u64, u64)) -> f64 {
    let part = |held: u64, total: u64| if total == 0 { 0.0 } else { held as f64 / total as f64 };
    let sum = |of: fn(&Held) -> u64| clients.iter().map(|held| of(held)).sum::<u64>();
    part(sum(|held| held.cpus), total.0).max(part(sum(|held| held.mem), total.1))
}

fn defined_level(
    held: &BTreeMap<(&'static str, u32), Held>,
    total: (u64, u64),
    weights: &BTreeMap<&'static str, u32>,
    above: &str,
    order: &mut Vec<(String, u32)>,
) {
    let below = |path: &str| path == above || above.is_empty() || path.starts_with(&format!("{above}/"));
    let mut groups: BTreeMap<String, Vec<&Held>> = BTreeMap::new();
    for ((path, _), client) in held.iter().filter(|((path, _), _)| below(path)) {
        let rest = path[above.len()..].trim_start_matches('/');
        let child = match rest.split('/').next() {
            Some("") | None => ".".to_owned(),
            Some(component) => component.to_owned(),
        };
        groups.entry(child).or_default().push(client);
    }
    let mut level = Vec::new();
    for (child, clients) in groups {
        let path = if above.is_empty() { child.clone() } else { format!("{above}/{child}") };
        let weight = weights.get(path.as_str()).copied().unwrap_or(1000);
        let count = clients.iter().map(|held| held.count).sum::<u64>();
        level.push((share(&clients, total) / (f64::from(weight) / 1000.0), count, child, path));
    }
    level.sort_by(|one, two| one.partial_cmp(two).expect("no share is a NaN"));
    for (_, _, child, path) in level {
        if child != "." {
            defined_level(held, total, weights, &path, order);
            continue;
        }
        let own = held.iter().filter(|((path, _), _)| *path == above);
        let own = own.map(|((_, framework), held)| (*framework, held)).collect::<Vec<_>>();
        let holds = |of: fn(&Held) -> u64| own.iter().map(|(_, held)| of(held)).sum::<u64>();
        let role_total = (holds(|held| held.cpus), holds(|held| held.mem));
        let mut own =
            own.iter().map(|(framework, held)| (share(&[held], role_total), held.count, *framework, held.active));
        let mut sorted = own.by_ref().collect::<Vec<_>>();
        sorted.sort_by(|one, two| one.partial_cmp(two).expect("no share is a NaN"));
        order.extend(
            sorted.into_iter().filter(|(.., active)| *active).map(|(_, _, framework, _)| (above.to_owned(), framework)),
        );
    }
}

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "a-e", "f/+g", "f", "*"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, the order that is kept up to date is the one that the definition gives.
    #[test]
    fn the_kept_order_is_the_defined_one(
        steps in prop::collection::vec((0u8..8, 0usize..8, 0u32..3, 0u64..4, 0u64..4), 1..60),
    ) {
        let weights = BTreeMap::from([("a/b", 2000u32), ("f", 500)]);
        let mut sorter = Drf::default();
        sorter.reset(&weights.iter().map(|(name, weight)| (role(name), *weight)).collect::<Vec<_>>());
        let mut total = (40, 50);
        sorter.set_total(&amounts(total.0, total.1));
        let mut held: BTreeMap<(&'static str, u32), Held> = BTreeMap::new();
        for (kind, place, framework, cpus, mem) in steps {
            let path = PATHS[place];
            let client = Client { framework: FrameworkIndex(framework), role: RoleIndex(place as u32) };
            let key = (path, framework);
            match kind {
                0..=3 => {
                    if !held.contains_key(&key) {
                        if !held.keys().any(|(other, _)| *other == path) {
                            sorter.add_role(client.role, &RoleName::trusted(path));
                        }
                        sorter.add_framework(client, &FrameworkId::trusted(format!("{framework}")));
                        sorter.set_active(client, true);
                        held.insert(key, Held { active: true, ..Held::default() });
                    }
                    let entry = held.entry(key).or_default();
                    (entry.cpus, entry.mem, entry.count) = (entry.cpus + cpus, entry.mem + mem, entry.count + 1);
                    sorter.allocated(client, &amounts(cpus, mem));
                }
                4 | 5 => if let Some(entry) = held.get_mut(&key) {
                    entry.active = kind == 4;
                    sorter.set_active(client, entry.active);
                },
                6 => if let Some(entry) = held.remove(&key) {
                    sorter.unallocated(client, &amounts(entry.cpus, entry.mem));
                    sorter.remove_framework(client);
                    if !held.keys().any(|(other, _)| *other == path) {
                        sorter.remove_role(client.role);
                    }
                    // Counts of inner nodes outlive their clients, which the definition by clients can't say.
                    return Ok(());
                },
                _ => {
                    total = (total.0 + cpus, total.1 + mem);
                    sorter.set_total(&amounts(total.0, total.1));
                }
            }
            let mut walked = Vec::new();
            sorter.walk(&mut |client| {
                walked.push((PATHS[client.role.0 as usize].to_owned(), client.framework.0));
                ControlFlow::Continue(())
            });
            prop_assert_eq!(walked, defined_order(&held, total, &weights));
        }
    }
}
