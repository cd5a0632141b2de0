//! Walks through the tree of roles, depth first: all of it, or only below some of its nodes.

use super::hierarchy::Order;
use super::ring::{self, Tally, Who};
use super::tree::{Node, ROOT, client};
use super::{Class, Client};
use crate::allocator::engine::amounts::Amounts;
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;

/// The first in order of dominant shares when that is plain to see, in a tree where everybody stands where he belongs.
pub(super) fn first(nodes: &[Node], tallies: &[Tally], total: &Amounts, mut classes: &[Class]) -> Option<Client> {
    let mut at = ROOT;
    loop {
        let node = &nodes[at as usize];
        if at == ROOT || node.has_children() {
            let next = node.ring.first(tallies, total, classes)?;
            if let Who::Node(child) = tallies[next as usize].who {
                (at, classes) = (child, &Class::ALL);
                continue;
            }
        }
        let own = node.own.as_ref()?;
        let first = own.ring.first(tallies, &tallies[own.leaf as usize].amounts, &Class::ALL)?;
        return client(&tallies[first as usize]);
    }
}

/// One walk through the tree.
pub(super) struct Walk<'a> {
    pub(super) nodes: &'a mut [Node],
    pub(super) tallies: &'a [Tally],
    pub(super) total: (&'a Amounts, u64),
    pub(super) roles_by: Order,
    pub(super) frameworks_by: Order,
    pub(super) chance: &'a mut Chance,
    /// Who should change its list.
    pub(super) moves: &'a mut Vec<u32>,
}

impl Walk<'_> {
    /// Walks a node. Recursion is bounded by the components of a path.
    pub(super) fn descend(
        &mut self,
        at: u32,
        classes: &[Class],
        visit: &mut dyn FnMut(Client) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if at != ROOT && !self.nodes[at as usize].has_children() {
            return self.visit_own(at, visit);
        }
        let mut ring = core::mem::take(&mut self.nodes[at as usize].ring);
        let (tallies, total, by) = (self.tallies, self.total, self.roles_by);
        let mut moves = Vec::new();
        let lots = Chance::new(if by == Order::Random { self.chance.bits() } else { 0 });
        let mut go = |next: u32| match tallies[next as usize].who {
            Who::Node(child) => self.descend(child, &Class::ALL, visit),
            Who::Leaf(_) | Who::Member(_) => self.visit_own(at, visit),
        };
        let flow = match by {
            Order::Drf => ring.walk(tallies, total, classes, &mut moves, &mut go),
            Order::Random => ring.draw(tallies, classes, lots, &mut go),
        };
        self.nodes[at as usize].ring = ring;
        self.moves.append(&mut moves);
        flow
    }

    /// Walks those nodes that are `asked` for, each wholly; `way` are the nodes above them with the children to go through,
    /// in order. Recursion is bounded by the components of a path.
    pub(super) fn descend_along(
        &mut self,
        at: u32,
        way: &[(u32, u32)],
        asked: &[u32],
        classes: &[Class],
        visit: &mut dyn FnMut(Client) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if asked.contains(&at) {
            return self.descend(at, &Class::ALL, visit);
        }
        let tally = |node: u32| &self.tallies[self.nodes[node as usize].tally as usize];
        let begin = way.partition_point(|(above, _)| *above < at);
        let below = way[begin..].iter().take_while(|(above, _)| *above == at).map(|(_, below)| *below);
        let is_in = |node: &u32| tally(*node).stands() && (at != ROOT || classes.contains(&tally(*node).class));
        let below = below.filter(is_in).map(|node| self.nodes[node as usize].tally);
        let mut below = below.collect::<Vec<_>>();
        if below.len() > 1 {
            ring::sort(&mut below, self.tallies, self.total.0);
        }
        below.into_iter().try_for_each(|next| match self.tallies[next as usize].who {
            Who::Node(child) => self.descend_along(child, way, asked, classes, visit),
            Who::Leaf(_) | Who::Member(_) => ControlFlow::Continue(()),
        })
    }

    fn visit_own(&mut self, at: u32, visit: &mut dyn FnMut(Client) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(own) = &mut self.nodes[at as usize].own else { return ControlFlow::Continue(()) };
        let tallies = self.tallies;
        let total = &tallies[own.leaf as usize].amounts;
        let mut go = |next: u32| client(&tallies[next as usize]).map_or(ControlFlow::Continue(()), &mut *visit);
        match self.frameworks_by {
            Order::Drf => own.ring.walk(tallies, (total, 0), &Class::ALL, self.moves, &mut go),
            Order::Random => own.ring.draw(tallies, &Class::ALL, Chance::new(self.chance.bits()), &mut go),
        }
    }
}
