//! Sorters beside hierarchical DRF, for the seat of "who is next".
//!
//! They share one tree of roles, with the rules of hierarchical DRF (policies 1.3): siblings in ascending order of share,
//! then of allocations ever made, then of name; depth first; a role with both frameworks and children competes with its
//! children through a virtual leaf of weight 1; frameworks follow the same rule with what their role holds as the total.
//! Only what a share is differs: that is the [`Yardstick`].
//!
//! The order is made anew when it is walked after a change, which costs a look at every client: less quick than the
//! engine's own sorter, which mends its order.

use super::ceei::Market;
use super::name::{UnknownPolicy, named};
use crate::allocator::engine::amounts::{Amounts, SCALAR_NAMES_MAX};
use crate::allocator::engine::sorter::{Client, RoleIndex, Sorter};
use core::cmp::Reverse;
use core::ops::ControlFlow;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::table::Table;

/// Prices of [`Yardstick::Ceei`] are kept for so many allocations and returns.
pub const PRICES_KEPT: u64 = 64;

const ROOT: usize = 0;
const WEIGHT_DEFAULT: u32 = 1000;

/// What a share is.
#[derive(Clone, Debug)]
pub enum Yardstick {
    /// The sum of the parts of all resources (policies 1.4).
    Asset,
    /// The part of one resource (1.1).
    MaxMin {
        /// Any amount of it and of nothing else, as the engine measures amounts.
        resource: Amounts,
    },
    /// The dominant share, after a class: the higher class first (1.6). A role not named is of class 0.
    StrictPriority {
        /// The classes of roles.
        classes: Table<RoleName, u32>,
    },
    /// The cost of what is held at the prices at which the market of all top-level roles clears, each seeking more of
    /// what it holds now (1.5). One over it is how far its bundle would grow in the equilibrium of incomes: the order is
    /// that of the distance from there. Prices are those of the last time that the total or the roles changed, or of the
    /// last [`PRICES_KEPT`] changes.
    Ceei,
}

/// The names of the sorters here, with what they are.
pub const SORTERS: [(SorterName, &str, &str); 4] = [
    (SorterName::Asset, "asset-fairness", "the smallest sum of parts of all resources"),
    (SorterName::MaxMin, "max-min", "the smallest part of one resource"),
    (SorterName::StrictPriority, "strict-priority", "the highest class, then the smallest dominant share"),
    (SorterName::Ceei, "ceei", "the cheapest bundle at the prices of the equilibrium of equal incomes"),
];

/// A sorter of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SorterName {
    /// [`Yardstick::Asset`].
    Asset,
    /// [`Yardstick::MaxMin`].
    MaxMin,
    /// [`Yardstick::StrictPriority`].
    StrictPriority,
    /// [`Yardstick::Ceei`].
    Ceei,
}

impl SorterName {
    /// The sorter of a name.
    ///
    /// # Errors
    /// When there is none; the error names the nearest.
    pub fn parse(name: &str) -> Result<Self, UnknownPolicy> {
        named("sorter", name, SORTERS.iter().map(|(one, name, _)| (*one, *name)))
    }
}

/// Makes a sorter. `resource` is for max-min, `classes` for strict priority.
pub fn sorter(name: SorterName, resource: Amounts, classes: Table<RoleName, u32>) -> Box<dyn Sorter> {
    Box::new(Ranked::new(match name {
        SorterName::Asset => Yardstick::Asset,
        SorterName::MaxMin => Yardstick::MaxMin { resource },
        SorterName::StrictPriority => Yardstick::StrictPriority { classes },
        SorterName::Ceei => Yardstick::Ceei,
    }))
}

#[derive(Debug, Default)]
struct Tally {
    amounts: Amounts,
    count: u64,
}

#[derive(Debug)]
struct Node {
    path: RoleName,
    parent: usize,
    children: Vec<usize>,
    weight: u32,
    tally: Tally,
    own: Option<Own>,
}

/// The frameworks of one role.
#[derive(Debug)]
struct Own {
    role: RoleIndex,
    tally: Tally,
    members: Table<FrameworkIndex, Member>,
}

#[derive(Debug)]
struct Member {
    id: FrameworkId,
    is_active: bool,
    tally: Tally,
}

/// A sorter by a yardstick.
#[derive(Debug)]
pub struct Ranked {
    yardstick: Yardstick,
    /// One thousandth of each scalar, by which its amount is read.
    units: Vec<Amounts>,
    /// Those of which the cluster has something.
    counted: Vec<Amounts>,
    nodes: Vec<Node>,
    vacant: Vec<usize>,
    paths: Table<RoleName, usize>,
    roles: Table<RoleIndex, usize>,
    weights: Table<RoleName, u32>,
    total: Amounts,
    /// Of what is counted; none until they are needed.
    prices: Option<Vec<f64>>,
    changes: u64,
    /// Valid until something changes.
    order: Option<Vec<Client>>,
}

impl Ranked {
    /// A sorter without roles.
    pub fn new(yardstick: Yardstick) -> Self {
        Self {
            yardstick,
            units: (0..SCALAR_NAMES_MAX).map(Amounts::unit).collect(),
            counted: Vec::new(),
            nodes: vec![Node::new(RoleName::trusted(""), ROOT, WEIGHT_DEFAULT)],
            vacant: Vec::new(),
            paths: Table::default(),
            roles: Table::default(),
            weights: Table::default(),
            total: Amounts::new(),
            prices: None,
            changes: 0,
            order: None,
        }
    }

    /// The weight of a role from now on, in thousandths and above zero; the role need not be there yet.
    ///
    /// # Panics
    /// When it is zero.
    pub fn weigh(&mut self, role: &RoleName, thousandths: u32) {
        assert!(thousandths > 0, "the weight of role {role} is zero");
        self.weights.insert(role.clone(), thousandths);
        if let Some(&at) = self.paths.get(role) {
            self.nodes[at].weight = thousandths;
        }
        self.unsettle(true);
    }

    fn own(&mut self, role: RoleIndex) -> (usize, &mut Own) {
        let at = *self.roles.get(&role).unwrap_or_else(|| panic!("{role:?} is not in the tree"));
        (at, self.nodes[at].own.as_mut().expect("a node that a role points to has its own frameworks"))
    }

    fn grow(&mut self, path: &RoleName) -> usize {
        if let Some(&at) = self.paths.get(path) {
            return at;
        }
        let parent = match path.as_str().rsplit_once('/') {
            Some((above, _)) => self.grow(&RoleName::trusted(above)),
            None => ROOT,
        };
        let weight = self.weights.get(path).copied().unwrap_or(WEIGHT_DEFAULT);
        let node = Node::new(path.clone(), parent, weight);
        let at = self.vacant.pop().unwrap_or(self.nodes.len());
        if at == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[at] = node;
        }
        self.paths.insert(path.clone(), at);
        self.nodes[parent].children.push(at);
        at
    }

    /// Something changed that moves shares, or more: who is there.
    fn unsettle(&mut self, is_structure: bool) {
        self.order = None;
        self.changes += 1;
        if is_structure || self.changes >= PRICES_KEPT {
            (self.prices, self.changes) = (None, 0);
        }
    }

    fn change(&mut self, client: Client, mut book: impl FnMut(&mut Tally)) {
        let (mut at, own) = self.own(client.role);
        book(&mut own.tally);
        let member = own.members.get_mut(&client.framework);
        book(&mut member.unwrap_or_else(|| panic!("{client:?} is not in the tree")).tally);
        while at != ROOT {
            book(&mut self.nodes[at].tally);
            at = self.nodes[at].parent;
        }
        self.unsettle(false);
    }

    /// The parts that are held of a total, resource by resource; nothing for what the total has nothing of.
    fn parts(&self, held: &Amounts, total: &Amounts) -> Vec<f64> {
        let part = |unit: &Amounts| {
            let whole = total.share_of(unit);
            if whole > 0.0 { held.share_of(unit) / whole } else { 0.0 }
        };
        self.counted.iter().map(part).collect()
    }

    fn measure(&self, held: &Amounts, total: &Amounts) -> f64 {
        match &self.yardstick {
            Yardstick::Asset => self.parts(held, total).iter().sum(),
            Yardstick::MaxMin { resource } => {
                let whole = total.share_of(resource);
                if whole > 0.0 { held.share_of(resource) / whole } else { 0.0 }
            }
            Yardstick::StrictPriority { .. } => held.share_of(total),
            Yardstick::Ceei => {
                let parts = self.parts(held, total);
                let price = |at: usize| self.prices.as_ref().map_or(1.0, |prices| prices[at]);
                parts.iter().enumerate().map(|(at, part)| part * price(at)).sum()
            }
        }
    }

    fn class(&self, node: &Node) -> u32 {
        match &self.yardstick {
            Yardstick::StrictPriority { classes } => classes.get(&node.path).copied().unwrap_or(0),
            _ => 0,
        }
    }

    /// Prices at which the market of the top-level roles clears; all equal while it does not.
    fn price(&mut self) {
        if !matches!(self.yardstick, Yardstick::Ceei) || self.prices.is_some() {
            return;
        }
        let top = self.nodes[ROOT].children.iter().map(|&at| &self.nodes[at]);
        let mut rows = Vec::new();
        let mut weights = Vec::new();
        for node in top {
            let parts = self.parts(&node.tally.amounts, &self.total);
            if parts.iter().any(|&part| part > 0.0) {
                rows.push(parts);
                weights.push(f64::from(node.weight) / f64::from(WEIGHT_DEFAULT));
            }
        }
        // The solver meets only resources of which somebody holds some.
        let held = (0..self.counted.len()).filter(|&at| rows.iter().any(|row| row[at] > 0.0)).collect::<Vec<_>>();
        let rows = rows.iter().map(|row| held.iter().map(|&at| row[at]).collect()).collect::<Vec<_>>();
        let mut prices = vec![1.0; self.counted.len()];
        if let Some(market) = Market::clear(&rows, &weights) {
            prices.fill(0.0);
            held.iter().zip(market.prices).for_each(|(&at, price)| prices[at] = price);
        }
        self.prices = Some(prices);
    }

    fn descend(&self, at: usize, order: &mut Vec<Client>) {
        let node = &self.nodes[at];
        let mut level = Vec::with_capacity(node.children.len() + 1);
        for &child in &node.children {
            let below = &self.nodes[child];
            let name = below.path.as_str().rsplit('/').next().unwrap_or_default();
            level.push((Reverse(self.class(below)), self.weighted(below), below.tally.count, name, Some(child)));
        }
        if let Some(own) = &node.own {
            let share = self.measure(&own.tally.amounts, &self.total).to_bits();
            level.push((Reverse(0), share, own.tally.count, ".", None));
        }
        level.sort_unstable();
        for (.., child) in level {
            match child {
                Some(child) => self.descend(child, order),
                None => self.visit_own(node, order),
            }
        }
    }

    fn visit_own(&self, node: &Node, order: &mut Vec<Client>) {
        let Some(own) = &node.own else { return };
        let active = own.members.iter().filter(|(_, member)| member.is_active);
        let mut members = active
            .map(|(&framework, member)| {
                let share = self.measure(&member.tally.amounts, &own.tally.amounts).to_bits();
                (share, member.tally.count, &member.id, framework)
            })
            .collect::<Vec<_>>();
        members.sort_unstable();
        order.extend(members.into_iter().map(|(.., framework)| Client { framework, role: own.role }));
    }

    /// A weighted share, as bits, which order as the floats do.
    fn weighted(&self, node: &Node) -> u64 {
        let weight = f64::from(node.weight) / f64::from(WEIGHT_DEFAULT);
        (self.measure(&node.tally.amounts, &self.total) / weight).to_bits()
    }
}

impl Node {
    fn new(path: RoleName, parent: usize, weight: u32) -> Self {
        Self { path, parent, children: Vec::new(), weight, tally: Tally::default(), own: None }
    }
}

impl Sorter for Ranked {
    fn reset(&mut self, weights: &[(RoleName, u32)]) {
        *self = Self::new(self.yardstick.clone());
        weights.iter().for_each(|(role, weight)| self.weigh(role, *weight));
    }

    fn add_role(&mut self, role: RoleIndex, name: &RoleName) {
        let at = self.grow(name);
        assert!(self.nodes[at].own.is_none(), "role {name} is added twice");
        self.nodes[at].own = Some(Own { role, tally: Tally::default(), members: Table::default() });
        self.roles.insert(role, at);
        self.unsettle(true);
    }

    fn remove_role(&mut self, role: RoleIndex) {
        let (mut at, own) = self.own(role);
        assert!(own.members.is_empty(), "{role:?} is removed with frameworks in it");
        self.nodes[at].own = None;
        self.roles.swap_remove(&role);
        while at != ROOT && self.nodes[at].own.is_none() && self.nodes[at].children.is_empty() {
            let parent = self.nodes[at].parent;
            self.paths.swap_remove(&self.nodes[at].path);
            self.nodes[parent].children.retain(|&child| child != at);
            self.vacant.push(at);
            at = parent;
        }
        self.unsettle(true);
    }

    fn add_framework(&mut self, client: Client, id: &FrameworkId) {
        let (_, own) = self.own(client.role);
        let member = own.members.entry(client.framework);
        let fresh = || Member { id: id.clone(), is_active: false, tally: Tally::default() };
        member.or_insert_with(fresh).id = id.clone();
        self.unsettle(true);
    }

    fn remove_framework(&mut self, client: Client) {
        let member = self.own(client.role).1.members.swap_remove(&client.framework);
        let is_clean = member.is_some_and(|member| member.tally.amounts.is_zero());
        assert!(is_clean, "{client:?} is removed with what it holds");
        self.unsettle(true);
    }

    fn set_active(&mut self, client: Client, active: bool) {
        let member = self.own(client.role).1.members.get_mut(&client.framework);
        member.unwrap_or_else(|| panic!("{client:?} is not in the tree")).is_active = active;
        self.order = None;
    }

    fn allocated(&mut self, client: Client, amounts: &Amounts) {
        self.change(client, |tally| {
            tally.amounts.add(amounts);
            tally.count += 1;
        });
    }

    fn unallocated(&mut self, client: Client, amounts: &Amounts) {
        self.change(client, |tally| tally.amounts.subtract(amounts));
    }

    fn set_total(&mut self, total: &Amounts) {
        self.total.clone_from(total);
        self.counted = self.units.iter().filter(|unit| total.share_of(unit) > 0.0).cloned().collect();
        self.unsettle(true);
    }

    fn walk(&mut self, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) {
        if self.order.is_none() {
            self.price();
            let mut order = Vec::new();
            self.descend(ROOT, &mut order);
            self.order = Some(order);
        }
        let _ = self.order.iter().flatten().try_for_each(|client| visit(*client));
    }

    fn share(&self, role: RoleIndex) -> f64 {
        self.roles.get(&role).map_or(0.0, |&at| f64::from_bits(self.weighted(&self.nodes[at])))
    }

    fn holds(&self, client: Client) -> Option<(&Amounts, u64)> {
        let own = self.nodes[*self.roles.get(&client.role)?].own.as_ref()?;
        let member = own.members.get(&client.framework)?;
        Some((&member.tally.amounts, member.tally.count))
    }
}
