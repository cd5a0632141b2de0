//! Hierarchical weighted dominant resource fairness, the default of Mesos (policies 1.2, 1.3; reference 11.2).
//!
//! Roles form a tree by their paths. The share of a node is the largest part that its whole subtree, inactive clients
//! included, has of the cluster, divided by the node's weight; siblings are walked in ascending order of (share,
//! allocations ever made, path), depth first. A role that has both frameworks and children competes with its children
//! through a virtual leaf of weight 1. Inside a role frameworks follow the same rule, with what the role itself holds
//! as the total.

use super::super::amounts::Amounts;
use super::tree::{Member, Node, OWN, Own, Staleness, shift};
use super::{Client, RoleIndex, Sorter};
use core::ops::ControlFlow;
use kaon_kernel::id::{FrameworkId, RoleName};
use kaon_kernel::table::Table;

const ROOT: usize = 0;
const WEIGHT_DEFAULT: u32 = 1000;

/// The sorter. A grant costs the depth of the role's path times the logarithm of its siblings, and a pass over the
/// role's frameworks when it is walked next.
#[derive(Debug)]
pub struct Drf {
    nodes: Vec<Node>,
    vacant: Vec<usize>,
    paths: Table<RoleName, usize>,
    /// The node of each role, by role index.
    roles: Vec<Option<usize>>,
    weights: Table<RoleName, u32>,
    total: Amounts,
    /// Raised when the total changes: every order of an older epoch is stale.
    epoch: u64,
}

impl Default for Drf {
    fn default() -> Self {
        let nodes = vec![Node::new(RoleName::trusted(""), ROOT, WEIGHT_DEFAULT)];
        let (paths, weights) = (Table::default(), Table::default());
        Self { nodes, vacant: Vec::new(), paths, roles: Vec::new(), weights, total: Amounts::new(), epoch: 1 }
    }
}

impl Drf {
    fn node_of(&self, role: RoleIndex) -> Option<usize> {
        self.roles.get(role.0 as usize).copied().flatten()
    }

    fn own(&mut self, role: RoleIndex) -> (usize, &mut Own) {
        let at = self.node_of(role).unwrap_or_else(|| panic!("{role:?} is not in the tree"));
        (at, self.nodes[at].own.as_mut().expect("a node that a role points to has its own frameworks"))
    }

    /// The node of a path, made with its ancestors when it is new. Recursion is bounded by the components of a path.
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
        let at = match self.vacant.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.paths.insert(path.clone(), at);
        let among = self.nodes[parent].children.partition_point(|&child| self.nodes[child].path < *path);
        self.nodes[parent].children.insert(among, at);
        self.nodes[parent].settled = 0;
        at
    }

    /// Removes a node that stands for nothing any more, and its ancestors that stood for it alone.
    fn prune(&mut self, mut at: usize) {
        while at != ROOT && self.nodes[at].own.is_none() && self.nodes[at].children.is_empty() {
            let parent = self.nodes[at].parent;
            self.paths.swap_remove(&self.nodes[at].path);
            self.nodes[parent].children.retain(|&child| child != at);
            self.nodes[parent].settled = 0;
            self.vacant.push(at);
            at = parent;
        }
    }

    /// Books a change of what a client holds, in its role and in every node above, and mends the orders.
    fn change(&mut self, client: Client, mut book: impl FnMut(&mut Amounts, &mut u64)) {
        let (at, own) = self.own(client.role);
        own.change(client.framework, &mut book);
        let Self { nodes, total, epoch, .. } = self;
        let node = &mut nodes[at];
        if let Some(own) = &mut node.own {
            let old = own.tally.key(OWN);
            book(&mut own.tally.amounts, &mut own.tally.count);
            own.tally.share = own.tally.amounts.share_of(total).to_bits();
            if node.settled == *epoch && own.active > 0 && !node.children.is_empty() {
                shift(&mut node.order, old, own.tally.key(OWN));
            }
        }
        let mut current = at;
        while current != ROOT {
            let node = &mut nodes[current];
            let (parent, active) = (node.parent, node.active);
            let old = node.tally.key(current as u32);
            book(&mut node.tally.amounts, &mut node.tally.count);
            node.tally.share = weighted(&node.tally.amounts, total, node.weight);
            let new = node.tally.key(current as u32);
            if nodes[parent].settled == *epoch && active > 0 {
                shift(&mut nodes[parent].order, old, new);
            }
            current = parent;
        }
    }

    /// Makes the order of a node's children valid.
    fn settle(&mut self, at: usize) {
        if self.nodes[at].settled == self.epoch {
            return;
        }
        let children = core::mem::take(&mut self.nodes[at].children);
        let mut order = core::mem::take(&mut self.nodes[at].order);
        order.clear();
        let has_own = self.nodes[at].own.is_some();
        let before_own = match has_own {
            true => children.partition_point(|&child| self.nodes[at].beside_own(&self.nodes[child]).is_lt()),
            false => children.len(),
        };
        for (position, &child) in children.iter().enumerate() {
            let node = &mut self.nodes[child];
            node.tally.rank = (position + usize::from(position >= before_own)) as u32;
            node.tally.share = weighted(&node.tally.amounts, &self.total, node.weight);
            if node.active > 0 {
                order.push(node.tally.key(child as u32));
            }
        }
        let node = &mut self.nodes[at];
        if let Some(own) = &mut node.own {
            own.tally.rank = before_own as u32;
            own.tally.share = own.tally.amounts.share_of(&self.total).to_bits();
            if own.active > 0 {
                order.push(own.tally.key(OWN));
            }
        }
        order.sort_unstable();
        (node.children, node.order, node.settled) = (children, order, self.epoch);
    }

    fn descend(&mut self, at: usize, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) -> ControlFlow<()> {
        self.settle(at);
        for place in 0..self.nodes[at].order.len() {
            match self.nodes[at].order[place].who {
                OWN => self.visit_own(at, visit)?,
                child if self.nodes[child as usize].children.is_empty() => self.visit_own(child as usize, visit)?,
                child => self.descend(child as usize, visit)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn visit_own(&mut self, at: usize, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(own) = &mut self.nodes[at].own else { return ControlFlow::Continue(()) };
        own.settle();
        own.in_order().try_for_each(|framework| visit(Client { framework, role: own.role }))
    }
}

/// A weighted share, as bits.
fn weighted(amounts: &Amounts, total: &Amounts, weight: u32) -> u64 {
    (amounts.share_of(total) / (f64::from(weight) / f64::from(WEIGHT_DEFAULT))).to_bits()
}

impl Sorter for Drf {
    fn reset(&mut self, weights: &[(RoleName, u32)]) {
        *self = Self::default();
        for (role, weight) in weights {
            assert!(*weight > 0, "the weight of role {role} is zero");
            self.weights.insert(role.clone(), *weight);
        }
    }

    fn add_role(&mut self, role: RoleIndex, name: &RoleName) {
        let at = self.grow(name);
        assert!(self.nodes[at].own.is_none(), "role {name} is added twice");
        self.nodes[at].own = Some(Own::new(role));
        self.nodes[at].settled = 0;
        let place = role.0 as usize;
        if self.roles.len() <= place {
            self.roles.resize(place + 1, None);
        }
        self.roles[place] = Some(at);
    }

    fn remove_role(&mut self, role: RoleIndex) {
        let (at, own) = self.own(role);
        assert!(own.members.is_empty(), "{role:?} is removed with frameworks in it");
        self.nodes[at].own = None;
        self.nodes[at].settled = 0;
        self.roles[role.0 as usize] = None;
        self.prune(at);
    }

    fn add_framework(&mut self, client: Client, id: &FrameworkId) {
        let (_, own) = self.own(client.role);
        let member = match own.remove(client.framework) {
            Some(member) => Member { id: id.clone(), ..member },
            None => Member { id: id.clone(), active: false, amounts: Amounts::new(), count: 0 },
        };
        own.insert(client.framework, member);
    }

    fn remove_framework(&mut self, client: Client) {
        self.set_active(client, false);
        let member = self.own(client.role).1.remove(client.framework);
        assert!(member.is_some_and(|member| member.amounts.is_zero()), "{client:?} is removed with what it holds");
    }

    fn set_active(&mut self, client: Client, active: bool) {
        let (at, own) = self.own(client.role);
        let member = own.member(client.framework);
        if member.active == active {
            return;
        }
        member.active = active;
        let step = |count: &mut usize| {
            *count = if active { *count + 1 } else { *count - 1 };
            // The first to come and the last to go change who is in the order above.
            *count == usize::from(active)
        };
        own.unsettle(Staleness::Members);
        if step(&mut own.active) {
            self.nodes[at].settled = 0;
        }
        let mut current = at;
        loop {
            let turned = step(&mut self.nodes[current].active);
            if current == ROOT {
                break;
            }
            let parent = self.nodes[current].parent;
            if turned {
                self.nodes[parent].settled = 0;
            }
            current = parent;
        }
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

    fn set_total(&mut self, total: &Amounts) {
        self.total.clone_from(total);
        self.epoch += 1;
    }

    fn walk(&mut self, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) {
        if self.nodes[ROOT].active > 0 {
            let _ = self.descend(ROOT, visit);
        }
    }

    fn share(&self, role: RoleIndex) -> f64 {
        let node = self.node_of(role).map(|at| &self.nodes[at]);
        node.map_or(0.0, |node| f64::from_bits(weighted(&node.tally.amounts, &self.total, node.weight)))
    }

    fn holds(&self, client: Client) -> Option<(&Amounts, u64)> {
        let own = self.nodes[self.node_of(client.role)?].own.as_ref()?;
        let member = &own.members[own.position(client.framework)?];
        Some((&member.amounts, member.count))
    }
}
