//! Which memory nodes: where the processing units are, in their proportion.

use super::cores::Spot;
use super::{Demand, Machine, NodeMemory, Policy, Reason};
use crate::topology::MemoryKind;

impl Machine {
    /// The nodes for a task's memory within a spot. Each home gives in proportion to the units that are taken there; what
    /// one lacks comes from the others that are used, then from the nearest of the spot.
    pub(super) fn choose_memory(
        &self,
        spot: &Spot<'_>,
        policy: Policy,
        units: &[(u32, u16)],
        demand: &Demand,
        kind: Option<MemoryKind>,
    ) -> Result<Vec<NodeMemory>, Reason> {
        let wanted = demand.mem_bytes();
        let mut weights = vec![0_u64; self.layout.homes.len()];
        for (unit, share) in units {
            weights[self.layout.units[*unit as usize].home as usize] += u64::from(*share);
        }
        let total = weights.iter().sum::<u64>();
        let order = self.order(spot, &weights);
        let mut free = self.nodes.clone();
        let mut taken = vec![0_u64; free.len()];
        let mut take = |home: u32, most: u64| {
            let mut left = most;
            for node in self.nodes_of(home, kind) {
                let share = left.min(free[node as usize]);
                free[node as usize] -= share;
                taken[node as usize] += share;
                left -= share;
            }
            most - left
        };
        let mut left = wanted;
        for home in order.iter().filter(|_| total > 0) {
            let share = u128::from(wanted) * u128::from(weights[*home as usize]) / u128::from(total);
            left -= take(*home, u64::try_from(share).unwrap_or(u64::MAX).min(left));
        }
        for home in &order {
            left -= take(*home, left);
        }
        if left > 0 {
            let best = wanted - left;
            return Err(Reason::NodeMemory { wanted, kind, policy, best });
        }
        let placed = self.layout.nodes.iter().zip(taken).filter(|(_, bytes)| *bytes > 0);
        Ok(placed.map(|(node, bytes)| NodeMemory { node: node.number, bytes }).collect())
    }

    /// The homes of a spot: those that are used by weight, then the rest by their distance to the first.
    fn order(&self, spot: &Spot<'_>, weights: &[u64]) -> Vec<u32> {
        let mut order = spot.homes.to_vec();
        let heaviest = order.iter().copied().max_by_key(|home| (weights[*home as usize], core::cmp::Reverse(*home)));
        let Some(first) = heaviest else { return order };
        let by_distance = &self.layout.homes[first as usize].by_distance;
        let distance = |home: u32| by_distance.iter().position(|one| *one == home);
        order.sort_by_cached_key(|home| (core::cmp::Reverse(weights[*home as usize]), distance(*home)));
        order
    }

    /// The nodes of a kind that a home is near to; its own when no kind is asked for.
    fn nodes_of(&self, home: u32, kind: Option<MemoryKind>) -> impl Iterator<Item = u32> {
        let home = &self.layout.homes[home as usize];
        let fits = move |node: &u32| match kind {
            None => *node == home.node,
            Some(kind) => self.layout.nodes[*node as usize].kind == kind,
        };
        home.near.iter().copied().filter(fits)
    }
}
