//! The sorters of Mesos: hierarchical weighted dominant resource fairness, its default, and the weighted lot
//! (policies 1.2, 1.3, 1.6; reference 11.2).
//!
//! Roles form a tree by their paths. The share of a node is the largest part that its whole subtree, inactive clients
//! included, has of the cluster, divided by the node's weight; siblings are walked in ascending order of (share,
//! allocations ever made, path), depth first. A role that has both frameworks and children competes with its children
//! through a virtual leaf of weight 1. Inside a role frameworks follow the same rule, with what the role itself holds
//! as the total. Drawing lots, siblings are walked in an order in which each next one is drawn with a chance by weight.

use super::super::amounts::Amounts;
use super::ring::{Ring, Tally, Who};
use super::tree::{Member, Node, Own, ROOT, name, place, relabel};
use super::walk::{Walk, first};
use super::{Class, Client, RoleIndex, Sorter};
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{FrameworkId, RoleName};
use kaon_kernel::table::Table;

const WEIGHT_DEFAULT: u32 = 1000;

/// How siblings are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By dominant share.
    #[default]
    Drf,
    /// By lot, anew in every walk.
    Random,
}

/// The default sorter.
pub type Drf = Hierarchy;

/// The sorter. A grant costs the depth of the role's path times the logarithm of its siblings; a walk costs what it
/// visits. A change of the total costs nothing.
#[derive(Debug)]
pub struct Hierarchy {
    roles_by: Order,
    frameworks_by: Order,
    nodes: Vec<Node>,
    vacant: Vec<u32>,
    tallies: Vec<Tally>,
    vacant_tallies: Vec<u32>,
    paths: Table<RoleName, u32>,
    /// The node of each role, by role index.
    roles: Vec<Option<u32>>,
    members: Table<Client, Member>,
    weights: Table<RoleName, u32>,
    classes: Table<RoleName, Class>,
    total: Amounts,
    total_version: u64,
    /// For lots.
    chance: Chance,
    /// Who may belong elsewhere in its ring by now.
    restless: Vec<u32>,
}

impl Default for Hierarchy {
    fn default() -> Self {
        Self::new(Order::Drf, Order::Drf)
    }
}

impl Hierarchy {
    /// A sorter that orders roles, and frameworks inside a role, as said (Mesos `--role_sorter`, `--framework_sorter`).
    pub fn new(roles_by: Order, frameworks_by: Order) -> Self {
        let mut sorter = Self {
            roles_by,
            frameworks_by,
            nodes: Vec::new(),
            vacant: Vec::new(),
            tallies: Vec::new(),
            vacant_tallies: Vec::new(),
            paths: Table::default(),
            roles: Vec::new(),
            members: Table::default(),
            weights: Table::default(),
            classes: Table::default(),
            total: Amounts::new(),
            total_version: 0,
            chance: Chance::new(0),
            restless: Vec::new(),
        };
        sorter.clear();
        sorter
    }

    fn clear(&mut self) {
        self.nodes.clear();
        self.vacant.clear();
        self.tallies.clear();
        self.vacant_tallies.clear();
        self.paths.clear();
        self.roles.clear();
        self.members.clear();
        self.weights.clear();
        self.classes.clear();
        self.restless.clear();
        self.total = Amounts::new();
        let tally = self.tally(Tally::new(Who::Node(ROOT), ROOT, WEIGHT_DEFAULT));
        self.nodes.push(Node::new(RoleName::trusted(""), ROOT, tally));
    }

    fn tally(&mut self, tally: Tally) -> u32 {
        match self.vacant_tallies.pop() {
            Some(at) => {
                self.tallies[at as usize] = tally;
                at
            }
            None => {
                self.tallies.push(tally);
                self.tallies.len() as u32 - 1
            }
        }
    }

    fn node_of(&self, role: RoleIndex) -> Option<u32> {
        self.roles.get(role.0 as usize).copied().flatten()
    }

    fn in_use(&self, role: RoleIndex) -> u32 {
        self.node_of(role).unwrap_or_else(|| panic!("{role:?} is not in the tree"))
    }

    fn member(&self, client: Client) -> &Member {
        self.members.get(&client).unwrap_or_else(|| panic!("{client:?} is not in the tree"))
    }

    /// The node of a path, made with its ancestors when it is new. Recursion is bounded by the components of a path.
    fn grow(&mut self, path: &RoleName) -> u32 {
        if let Some(&at) = self.paths.get(path) {
            return at;
        }
        let parent = match path.as_str().rsplit_once('/') {
            Some((above, _)) => self.grow(&RoleName::trusted(above)),
            None => ROOT,
        };
        let weight = self.weights.get(path).copied().unwrap_or(WEIGHT_DEFAULT);
        let at = self.vacant.pop().unwrap_or(self.nodes.len() as u32);
        let mut tally = Tally::new(Who::Node(at), parent, weight);
        if parent == ROOT {
            tally.class = self.classes.get(path).copied().unwrap_or_default();
        }
        let tally = self.tally(tally);
        let node = Node::new(path.clone(), parent, tally);
        match self.nodes.get_mut(at as usize) {
            Some(vacant) => *vacant = node,
            None => self.nodes.push(node),
        }
        self.paths.insert(path.clone(), at);
        let had_children = self.nodes[parent as usize].has_children();
        self.join(parent, tally, had_children);
        at
    }

    /// Puts a child or the leaf among the siblings under a node. It is not in the ring yet.
    fn join(&mut self, node: u32, tally: u32, had_children: bool) {
        let own = name(self.tallies[tally as usize].who, &self.nodes);
        let of = |other: &u32| name(self.tallies[*other as usize].who, &self.nodes);
        let siblings = &self.nodes[node as usize].siblings;
        let among = match siblings.last() {
            Some(last) if of(last) > own => siblings.partition_point(|other| of(other) < own),
            _ => siblings.len(),
        };
        let Self { nodes, tallies, total, .. } = self;
        let found = &mut nodes[node as usize];
        if place(&mut found.siblings, among, tally, tallies).is_none() {
            // Whoever stands in the ring stands there by its old label.
            let standing = found.siblings.iter().copied().filter(|&at| at != tally);
            let standing = standing.filter(|&at| found.ring.remove(&mut tallies[at as usize])).collect::<Vec<_>>();
            relabel(&found.siblings, tallies);
            standing.iter().for_each(|&at| found.ring.insert(at, tallies, total));
        }
        if !had_children && found.has_children() {
            self.settle_leaf(node);
        }
    }

    fn leave(&mut self, node: u32, tally: u32) {
        self.nodes[node as usize].siblings.retain(|&other| other != tally);
        if !self.nodes[node as usize].has_children() {
            self.settle_leaf(node);
        }
        self.vacant_tallies.push(tally);
    }

    /// Removes a node that stands for nothing any more, and its ancestors that stood for it alone.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &self.nodes[at as usize];
            if node.own.is_some() || !node.siblings.is_empty() {
                return;
            }
            let (parent, tally) = (node.parent, node.tally);
            self.paths.swap_remove(&node.path);
            self.leave(parent, tally);
            self.vacant.push(at);
            at = parent;
        }
    }

    /// Changes what orders a node, if its path is in the tree.
    fn reseat(&mut self, path: &RoleName, change: impl Fn(&mut Tally)) {
        let Some(&at) = self.paths.get(path) else { return };
        let Self { nodes, tallies, total, .. } = self;
        let &Node { parent, tally, .. } = &nodes[at as usize];
        let ring = &mut nodes[parent as usize].ring;
        let stood = ring.remove(&mut tallies[tally as usize]);
        change(&mut tallies[tally as usize]);
        if stood {
            ring.insert(tally, tallies, total);
        }
    }

    /// Whether a node's leaf stands in the node's ring: when it has active frameworks and somebody to compete with.
    fn settle_leaf(&mut self, node: u32) {
        let Self { nodes, tallies, total, .. } = self;
        let found = &mut nodes[node as usize];
        let Some(own) = &found.own else { return };
        let (leaf, competes) = (own.leaf, own.active > 0 && found.has_children());
        if competes && !tallies[leaf as usize].stands() {
            found.ring.insert(leaf, tallies, total);
        } else if !competes {
            found.ring.remove(&mut tallies[leaf as usize]);
        }
    }

    /// Books a change of what a client holds: in its role, and in every node above.
    fn change(&mut self, client: Client, book: impl Fn(&mut Amounts, &mut u64)) {
        let &Member { node, tally, .. } = self.member(client);
        let Self { nodes, tallies, restless, .. } = self;
        let mut book = |at: u32, ring: &mut Ring| {
            let tally = &mut tallies[at as usize];
            book(&mut tally.amounts, &mut tally.count);
            if tally.stands() {
                ring.unsettle();
            }
            if tally.unsettle() {
                restless.push(at);
            }
        };
        let found = &mut nodes[node as usize];
        let Some(own) = &mut found.own else { panic!("{client:?} is in a role without frameworks") };
        book(tally, &mut own.ring);
        // The total of the role's frameworks is what their role holds; it has just changed.
        own.ring.unsettle();
        book(own.leaf, &mut found.ring);
        let mut current = node;
        while current != ROOT {
            let &Node { parent, tally, .. } = &nodes[current as usize];
            book(tally, &mut nodes[parent as usize].ring);
            current = parent;
        }
    }

    /// Goes for a walk, after everybody was put where he belongs.
    fn stroll(&mut self, go: impl FnOnce(&mut Walk<'_>) -> ControlFlow<()>) {
        self.settle();
        let mut moves = core::mem::take(&mut self.restless);
        let Self { nodes, tallies, chance, .. } = self;
        let total = (&self.total, self.total_version);
        let (roles_by, frameworks_by) = (self.roles_by, self.frameworks_by);
        let _ = go(&mut Walk { nodes, tallies, total, roles_by, frameworks_by, chance, moves: &mut moves });
        moves.retain(|&at| self.tallies[at as usize].unsettle());
        self.restless = moves;
    }

    /// Puts all who are restless where they belong.
    fn settle(&mut self) {
        let Self { nodes, tallies, total, restless, .. } = self;
        for at in restless.drain(..) {
            let Tally { who, node, .. } = tallies[at as usize];
            let found = &mut nodes[node as usize];
            match (who, &mut found.own) {
                (Who::Member(_), Some(own)) => {
                    let whole = core::mem::take(&mut tallies[own.leaf as usize].amounts);
                    own.ring.settle(at, &mut tallies[at as usize], &whole);
                    tallies[own.leaf as usize].amounts = whole;
                }
                _ => found.ring.settle(at, &mut tallies[at as usize], total),
            }
        }
    }
}

impl Sorter for Hierarchy {
    fn reset(&mut self, weights: &[(RoleName, u32)]) {
        self.clear();
        for (role, weight) in weights {
            assert!(*weight > 0, "the weight of role {role} is zero");
            self.weights.insert(role.clone(), *weight);
        }
    }

    fn add_role(&mut self, role: RoleIndex, path: &RoleName) {
        let at = self.grow(path);
        assert!(self.nodes[at as usize].own.is_none(), "role {path} is added twice");
        let leaf = self.tally(Tally::new(Who::Leaf(at), at, WEIGHT_DEFAULT));
        let own = Own { leaf, members: Vec::new(), ring: Ring::default(), active: 0 };
        let had_children = self.nodes[at as usize].has_children();
        self.nodes[at as usize].own = Some(own);
        self.join(at, leaf, had_children);
        let place = role.0 as usize;
        if self.roles.len() <= place {
            self.roles.resize(place + 1, None);
        }
        self.roles[place] = Some(at);
    }

    fn remove_role(&mut self, role: RoleIndex) {
        let at = self.in_use(role);
        let Some(own) = self.nodes[at as usize].own.take() else { panic!("{role:?} has no frameworks") };
        assert!(own.members.is_empty(), "{role:?} is removed with frameworks in it");
        let node = &mut self.nodes[at as usize];
        node.ring.remove(&mut self.tallies[own.leaf as usize]);
        node.siblings.retain(|&other| other != own.leaf);
        self.vacant_tallies.push(own.leaf);
        self.roles[role.0 as usize] = None;
        self.prune(at);
    }

    fn add_framework(&mut self, client: Client, id: &FrameworkId) {
        let node = self.in_use(client.role);
        let known = self.members.get(&client).map(|member| member.tally);
        let tally = known.unwrap_or_else(|| self.tally(Tally::new(Who::Member(client), node, WEIGHT_DEFAULT)));
        let Self { nodes, tallies, members, .. } = self;
        let Some(own) = &mut nodes[node as usize].own else { panic!("{client:?} is in a role without frameworks") };
        let stood = own.ring.remove(&mut tallies[tally as usize]);
        if known.is_some() {
            own.members.retain(|&other| other != tally);
        }
        let later = |other: u32| match tallies[other as usize].who {
            Who::Member(other) => (&members[&other].id, other.framework) > (id, client.framework),
            Who::Node(_) | Who::Leaf(_) => false,
        };
        let among = match own.members.last() {
            Some(&last) if later(last) => own.members.partition_point(|&other| !later(other)),
            _ => own.members.len(),
        };
        let whole = core::mem::take(&mut tallies[own.leaf as usize].amounts);
        if place(&mut own.members, among, tally, tallies).is_none() {
            let standing = own.members.iter().copied();
            let standing = standing.filter(|&at| own.ring.remove(&mut tallies[at as usize])).collect::<Vec<_>>();
            relabel(&own.members, tallies);
            standing.iter().for_each(|&at| own.ring.insert(at, tallies, &whole));
        }
        if stood {
            own.ring.insert(tally, tallies, &whole);
        }
        tallies[own.leaf as usize].amounts = whole;
        let member = members.entry(client).or_insert_with(|| Member { id: id.clone(), node, tally, active: false });
        member.id.clone_from(id);
    }

    fn remove_framework(&mut self, client: Client) {
        self.set_active(client, false);
        let Some(Member { node, tally, .. }) = self.members.swap_remove(&client) else { return };
        assert!(self.tallies[tally as usize].amounts.is_zero(), "{client:?} is removed with what it holds");
        if let Some(own) = &mut self.nodes[node as usize].own {
            own.members.retain(|&other| other != tally);
        }
        self.vacant_tallies.push(tally);
    }

    fn set_active(&mut self, client: Client, active: bool) {
        let Some(member) = self.members.get_mut(&client) else { panic!("{client:?} is not in the tree") };
        if core::mem::replace(&mut member.active, active) == active {
            return;
        }
        let &mut Member { node, tally, .. } = member;
        let Self { nodes, tallies, total, .. } = self;
        let step = |count: &mut u32| *count = if active { *count + 1 } else { *count - 1 };
        if let Some(own) = &mut nodes[node as usize].own {
            step(&mut own.active);
            let whole = core::mem::take(&mut tallies[own.leaf as usize].amounts);
            match active {
                true => own.ring.insert(tally, tallies, &whole),
                false => {
                    own.ring.remove(&mut tallies[tally as usize]);
                }
            }
            tallies[own.leaf as usize].amounts = whole;
        }
        let mut current = node;
        loop {
            step(&mut nodes[current as usize].active);
            if current == ROOT {
                break;
            }
            // The first to come and the last to go change who competes above.
            let &Node { parent, tally, active: count, .. } = &nodes[current as usize];
            let ring = &mut nodes[parent as usize].ring;
            if count == 0 {
                ring.remove(&mut tallies[tally as usize]);
            } else if !tallies[tally as usize].stands() {
                ring.insert(tally, tallies, total);
            }
            current = parent;
        }
        self.settle_leaf(node);
    }

    fn allocated(&mut self, client: Client, amounts: &Amounts) {
        self.change(client, |holds, count| {
            holds.add(amounts);
            *count += 1;
        });
    }

    fn unallocated(&mut self, client: Client, amounts: &Amounts) {
        self.change(client, |holds, _| holds.subtract(amounts));
    }

    fn adjusted(&mut self, client: Client, amounts: &Amounts, is_more: bool) {
        self.change(client, |holds, _| if is_more { holds.add(amounts) } else { holds.subtract(amounts) });
    }

    fn set_total(&mut self, total: &Amounts) {
        self.total.clone_from(total);
        self.total_version += 1;
    }

    fn walk(&mut self, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) {
        self.walk_classes(&Class::ALL, visit);
    }

    fn share(&self, role: RoleIndex) -> f64 {
        let tally = self.node_of(role).map(|at| &self.tallies[self.nodes[at as usize].tally as usize]);
        tally.map_or(0.0, |tally| tally.amounts.dominant(&self.total, tally.weight).share.float)
    }

    fn holds(&self, client: Client) -> Option<(&Amounts, u64)> {
        let tally = &self.tallies[self.members.get(&client)?.tally as usize];
        Some((&tally.amounts, tally.count))
    }

    fn set_weight(&mut self, role: &RoleName, thousandths: u32) {
        assert!(thousandths > 0, "the weight of role {role} is zero");
        self.weights.insert(role.clone(), thousandths);
        self.reseat(role, |tally| tally.weight = thousandths);
    }

    fn begin_round(&mut self, chance: &mut Chance) {
        if self.roles_by == Order::Random || self.frameworks_by == Order::Random {
            self.chance = Chance::new(chance.bits());
        }
    }

    fn set_class(&mut self, top: &RoleName, class: Class) {
        let old = match class {
            Class::Open => self.classes.swap_remove(top),
            _ => self.classes.insert(top.clone(), class),
        };
        if old.unwrap_or_default() != class {
            self.reseat(top, |tally| tally.class = class);
        }
    }

    fn walk_classes(&mut self, classes: &[Class], visit: &mut dyn FnMut(Client) -> ControlFlow<()>) {
        if self.nodes[ROOT as usize].active == 0 {
            return;
        }
        // Most walks end where they begin.
        self.settle();
        let is_drf = (self.roles_by, self.frameworks_by) == (Order::Drf, Order::Drf);
        let mut first = if is_drf { first(&self.nodes, &self.tallies, &self.total, classes) } else { None };
        if first.is_some_and(|first| visit(first).is_break()) {
            return;
        }
        let mut others = |next: Client| match first.take_if(|first| *first == next) {
            Some(_) => ControlFlow::Continue(()),
            None => visit(next),
        };
        self.stroll(|walk| walk.descend(ROOT, classes, &mut others));
    }

    fn walk_within(
        &mut self,
        roles: &[&RoleName],
        classes: &[Class],
        visit: &mut dyn FnMut(Client) -> ControlFlow<()>,
    ) {
        if (self.roles_by, self.frameworks_by) != (Order::Drf, Order::Drf) {
            return self.walk_classes(classes, visit);
        }
        let asked = roles.iter().filter_map(|role| self.paths.get(*role).copied()).collect::<Vec<_>>();
        let mut way = Vec::new();
        for &node in &asked {
            let mut at = node;
            while at != ROOT {
                let parent = self.nodes[at as usize].parent;
                way.push((parent, at));
                at = parent;
            }
        }
        way.sort_unstable();
        way.dedup();
        self.stroll(|walk| walk.descend_along(ROOT, &way, &asked, classes, visit));
    }
}
