//! The tree of roles under a sorter: nodes by path, what each holds, and orders that mend themselves.
//!
//! A node's order of its children stays sorted while single shares move ([`shift`]) and is built anew only after the
//! cluster's total, the children or their activity changed. So a grant costs a few comparisons for each level.

use super::super::amounts::Amounts;
use super::RoleIndex;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};
use std::cmp::Ordering;

/// What a walk is ordered by: ascending share, then fewer allocations, then name. Shares are kept as the bits of a
/// float, which order as the floats do when none is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) share: u64,
    pub(super) count: u64,
    pub(super) rank: u32,
    pub(super) who: u32,
}

/// In a node's order: its own frameworks, the virtual leaf beside its children (`.` in Mesos).
pub(super) const OWN: u32 = u32::MAX;

/// What somebody holds, and where that puts him.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) amounts: Amounts,
    /// Allocations ever made; not reset by what comes back.
    pub(super) count: u64,
    pub(super) share: u64,
    /// Position by name among those it is compared with.
    pub(super) rank: u32,
}

impl Tally {
    pub(super) fn key(&self, who: u32) -> Key {
        Key { share: self.share, count: self.count, rank: self.rank, who }
    }
}

/// One path of the tree. The root is the node without a path.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: RoleName,
    pub(super) parent: usize,
    /// In ascending order of their paths.
    pub(super) children: Vec<usize>,
    /// In thousandths.
    pub(super) weight: u32,
    /// Of the whole subtree.
    pub(super) tally: Tally,
    /// Active frameworks in the whole subtree.
    pub(super) active: usize,
    /// The frameworks of this very role, when it has any.
    pub(super) own: Option<Own>,
    /// Children with active frameworks, and [`OWN`], in order; valid at epoch `settled`.
    pub(super) order: Vec<Key>,
    pub(super) settled: u64,
}

impl Node {
    pub(super) fn new(path: RoleName, parent: usize, weight: u32) -> Self {
        let (children, order) = (Vec::new(), Vec::new());
        Self { path, parent, children, weight, tally: Tally::default(), active: 0, own: None, order, settled: 0 }
    }

    /// How the last component of a child's path compares with that of the virtual leaf.
    pub(super) fn beside_own(&self, child: &Self) -> Ordering {
        child.path.as_str()[self.path.as_str().len() + 1..].cmp(".")
    }
}

/// The frameworks of one role. Lists run in parallel, in ascending order of the frameworks' names.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) role: RoleIndex,
    pub(super) tally: Tally,
    pub(super) frameworks: Vec<FrameworkIndex>,
    pub(super) members: Vec<Member>,
    pub(super) active: usize,
    /// What each member holds as floats, `width` of them for each: what shares are divided from, in one piece.
    rows: Vec<f64>,
    width: usize,
    order: Vec<Key>,
    staleness: Staleness,
}

/// One framework in a role.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: FrameworkId,
    pub(super) active: bool,
    pub(super) amounts: Amounts,
    pub(super) count: u64,
}

/// What must be done before an order of frameworks can be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Staleness {
    Fresh,
    /// Shares moved.
    Shares,
    /// Somebody came, went or changed activity, or holds something new.
    Members,
}

impl Own {
    pub(super) fn new(role: RoleIndex) -> Self {
        Self {
            role,
            tally: Tally::default(),
            frameworks: Vec::new(),
            members: Vec::new(),
            active: 0,
            rows: Vec::new(),
            width: 0,
            order: Vec::new(),
            staleness: Staleness::Fresh,
        }
    }

    pub(super) fn position(&self, framework: FrameworkIndex) -> Option<usize> {
        self.frameworks.iter().position(|&probe| probe == framework)
    }

    fn place(&self, framework: FrameworkIndex) -> usize {
        self.position(framework).unwrap_or_else(|| panic!("{framework:?} is not in {:?}", self.role))
    }

    pub(super) fn member(&mut self, framework: FrameworkIndex) -> &mut Member {
        let at = self.place(framework);
        &mut self.members[at]
    }

    /// Changes what a member holds.
    pub(super) fn change(&mut self, framework: FrameworkIndex, book: impl FnOnce(&mut Amounts, &mut u64)) {
        let at = self.place(framework);
        let member = &mut self.members[at];
        book(&mut member.amounts, &mut member.count);
        if member.amounts.width() > self.width {
            self.unsettle(Staleness::Members);
            return;
        }
        let row = self.rows.iter_mut().skip(at * self.width);
        row.zip(self.members[at].amounts.floats()).for_each(|(cell, float)| *cell = float);
        self.unsettle(Staleness::Shares);
    }

    pub(super) fn insert(&mut self, framework: FrameworkIndex, member: Member) {
        let later = |at: &usize| (&self.members[*at].id, self.frameworks[*at]) > (&member.id, framework);
        let at = (0..self.members.len()).find(later).unwrap_or(self.members.len());
        self.frameworks.insert(at, framework);
        self.members.insert(at, member);
        self.unsettle(Staleness::Members);
    }

    pub(super) fn remove(&mut self, framework: FrameworkIndex) -> Option<Member> {
        let at = self.position(framework)?;
        self.frameworks.remove(at);
        self.unsettle(Staleness::Members);
        Some(self.members.remove(at))
    }

    pub(super) fn unsettle(&mut self, staleness: Staleness) {
        self.staleness = self.staleness.max(staleness);
    }

    /// Puts the active frameworks in order. Their total is what the role holds, so one grant moves every share; the order
    /// changes little then, and is mended rather than sorted.
    pub(super) fn settle(&mut self) {
        if self.staleness == Staleness::Members {
            self.rebuild();
        }
        if self.staleness != Staleness::Fresh {
            // Of what the role holds nothing of, nobody has a part.
            let total = self.tally.amounts.floats().map(|whole| if whole > 0.0 { whole } else { f64::INFINITY });
            let total = total.chain(core::iter::repeat(f64::INFINITY)).take(self.width).collect::<Vec<_>>();
            for key in &mut self.order {
                let at = key.who as usize;
                let row = &self.rows[at * self.width..][..self.width];
                let parts = row.iter().zip(&total).map(|(held, whole)| held / whole);
                key.share = parts.fold(0.0, f64::max).to_bits();
                key.count = self.members[at].count;
            }
            mend(&mut self.order);
            self.staleness = Staleness::Fresh;
        }
    }

    fn rebuild(&mut self) {
        self.width = self.members.iter().map(|member| member.amounts.width()).max().unwrap_or(0);
        self.rows.clear();
        for member in &self.members {
            let padded = member.amounts.floats().chain(core::iter::repeat(0.0));
            self.rows.extend(padded.take(self.width));
        }
        let active = self.members.iter().enumerate().filter(|(_, member)| member.active);
        let keys = active.map(|(at, _)| Key { share: 0, count: 0, rank: at as u32, who: at as u32 });
        self.order.clear();
        self.order.extend(keys);
    }

    /// The active frameworks in the order that [`Own::settle`] made.
    pub(super) fn in_order(&self) -> impl Iterator<Item = FrameworkIndex> {
        self.order.iter().map(|key| self.frameworks[key.who as usize])
    }
}

/// Sorts what is almost sorted: by insertion as long as that moves little, from scratch when it does not.
fn mend(order: &mut [Key]) {
    let mut moves_left = 8 * order.len();
    for at in 1..order.len() {
        let key = order[at];
        let mut to = at;
        while to > 0 && key < order[to - 1] && moves_left > 0 {
            order[to] = order[to - 1];
            to -= 1;
            moves_left -= 1;
        }
        order[to] = key;
        if moves_left == 0 {
            order.sort_unstable();
            return;
        }
    }
}

/// Moves one entry of a sorted order from its `old` place to its `new` one.
pub(super) fn shift(order: &mut [Key], old: Key, new: Key) {
    let from = order.binary_search(&old);
    let from = from.unwrap_or_else(|_| panic!("{old:?} is not in an order that should hold it"));
    let to = order.partition_point(|key| *key < new);
    if to > from {
        order[from..to].rotate_left(1);
        order[to - 1] = new;
    } else {
        order[to..=from].rotate_right(1);
        order[to] = new;
    }
}
