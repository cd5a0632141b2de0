//! The tree of roles under a sorter: nodes by path, the frameworks in each role, and the labels that order names.

use super::Client;
use super::ring::{Ring, Tally, Who};
use kaon_kernel::id::{FrameworkId, RoleName};

/// The node without a path.
pub(super) const ROOT: u32 = 0;

/// One path of the tree. The root is the node without a path.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: RoleName,
    pub(super) parent: u32,
    /// Tallies of the children, and of the leaf when there is one, in ascending order of the last components.
    pub(super) siblings: Vec<u32>,
    /// In which they compete. Without children nothing stands in it.
    pub(super) ring: Ring,
    /// What the whole subtree holds.
    pub(super) tally: u32,
    /// Active frameworks in the whole subtree.
    pub(super) active: u32,
    /// The frameworks of this very role, when it has any.
    pub(super) own: Option<Own>,
}

impl Node {
    pub(super) fn new(path: RoleName, parent: u32, tally: u32) -> Self {
        Self { path, parent, siblings: Vec::new(), ring: Ring::default(), tally, active: 0, own: None }
    }

    pub(super) fn has_children(&self) -> bool {
        self.siblings.len() > usize::from(self.own.is_some())
    }

    /// The last component of its path.
    pub(super) fn component(&self) -> &str {
        self.path.as_str().rsplit_once('/').map_or(self.path.as_str(), |(_, last)| last)
    }
}

/// The frameworks of one role.
#[derive(Debug)]
pub(super) struct Own {
    /// What they hold together: their total.
    pub(super) leaf: u32,
    /// Tallies in ascending order of the frameworks' names.
    pub(super) members: Vec<u32>,
    pub(super) ring: Ring,
    pub(super) active: u32,
}

/// One framework in a role.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: FrameworkId,
    pub(super) node: u32,
    pub(super) tally: u32,
    pub(super) active: bool,
}

/// Labels of names that come in order lie so far apart.
const GAP: u64 = 1 << 32;

/// Puts a tally at a place among others that are in order, and labels it. `None` when there is no label left between its
/// neighbours: all labels are new then, and every place in the ring is old.
pub(super) fn place(order: &mut Vec<u32>, at: usize, tally: u32, tallies: &mut [Tally]) -> Option<()> {
    let rank = |other: Option<&u32>| other.map(|&other| tallies[other as usize].rank);
    let before = at.checked_sub(1).and_then(|before| rank(order.get(before)));
    let after = rank(order.get(at));
    order.insert(at, tally);
    let label = match (before, after) {
        (None, None) => Some(1 << 62),
        (Some(before), None) => before.checked_add(GAP),
        (None, Some(after)) => after.checked_sub(GAP),
        (Some(before), Some(after)) => (after - before > 1).then(|| before + (after - before) / 2),
    };
    tallies[tally as usize].rank = label?;
    Some(())
}

/// Gives all of an order new labels with gaps between them.
pub(super) fn relabel(order: &[u32], tallies: &mut [Tally]) {
    for (place, &tally) in order.iter().enumerate() {
        tallies[tally as usize].rank = (1 << 62) + place as u64 * GAP;
    }
}

/// The name of a child or of the leaf among its siblings.
pub(super) fn name(who: Who, nodes: &[Node]) -> &str {
    match who {
        Who::Node(node) => nodes[node as usize].component(),
        Who::Leaf(_) | Who::Member(_) => ".",
    }
}

/// The client of a member.
pub(super) fn client(tally: &Tally) -> Option<Client> {
    match tally.who {
        Who::Member(client) => Some(client),
        Who::Node(_) | Who::Leaf(_) => None,
    }
}
