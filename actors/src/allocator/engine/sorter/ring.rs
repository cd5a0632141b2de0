//! Rings: those who compete with each other, in an order that is worked out only as far as somebody looks.
//!
//! The share of a competitor is the largest of its parts over all resources, and every part changes when the total does.
//! To sort anew after each grant would be quadratic. So a ring keeps one list for each resource, in which those stand for
//! whom it was the dominant one when they last moved, ordered by how much they hold of it (by weight): an order that no
//! change of the total disturbs. What stands at the head of a list bounds the shares of all behind it from below; a walk
//! merges the lists by these bounds and puts aside for a moment whose share turns out larger, since another resource has
//! become the dominant one. It then moves to the list of that one.
//!
//! Nor is anybody moved when what it holds changes: it is noted as restless, and stands where it stood until somebody
//! walks. Ten thousand returns in one breath then cost a move for each competitor, not for each return.

use super::super::amounts::Amounts;
use super::super::share::{Dominant, Share};
use super::{Class, Client};
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap, btree_set};

/// Who a competitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The subtree of a node.
    Node(u32),
    /// The frameworks of a node's very role, beside its children (`.` in Mesos).
    Leaf(u32),
    /// A framework in a role.
    Member(Client),
}

/// What a competitor holds, and what else orders it.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) who: Who,
    pub(super) amounts: Amounts,
    /// Allocations ever made; not reset by what comes back.
    pub(super) count: u64,
    /// Orders as the names in the ring do. Labels have gaps, so that a new name seldom moves others.
    pub(super) rank: u64,
    /// In thousandths.
    pub(super) weight: u32,
    pub(super) class: Class,
    /// The node in whose ring it competes.
    pub(super) node: u32,
    /// Where it stands, when it stands in its ring.
    place: Option<Place>,
    /// Whether it is noted as one whose place may be another by now.
    is_restless: bool,
}

/// Where a competitor stands: by what it held when it was put there.
#[derive(Clone, Copy, Debug)]
struct Place {
    class: Class,
    list: u16,
    key: Key,
}

impl Tally {
    pub(super) fn new(who: Who, node: u32, weight: u32) -> Self {
        let (amounts, class) = (Amounts::new(), Class::Open);
        Self { who, amounts, count: 0, rank: 0, weight, class, node, place: None, is_restless: false }
    }

    /// Whether it stands in its ring.
    pub(super) fn stands(&self) -> bool {
        self.place.is_some()
    }

    /// Notes that its place may be another by now. Whether it was not noted before.
    pub(super) fn unsettle(&mut self) -> bool {
        self.stands() && !core::mem::replace(&mut self.is_restless, true)
    }

    fn key(&self, at: u32, list: u16) -> Key {
        let amount = self.amounts.of(usize::from(list));
        Key { amount, weight: self.weight, at, count: self.count, rank: self.rank }
    }
}

/// A place in a list: ascending by amount over weight, then fewer allocations, then name.
#[derive(Clone, Copy, Debug)]
struct Key {
    amount: u128,
    weight: u32,
    at: u32,
    count: u64,
    rank: u64,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_amount = match self.weight == other.weight {
            true => self.amount.cmp(&other.amount),
            // An amount has far less than 96 bits.
            false => (self.amount * u128::from(other.weight)).cmp(&(other.amount * u128::from(self.weight))),
        };
        by_amount.then(self.count.cmp(&other.count)).then(self.rank.cmp(&other.rank)).then(self.at.cmp(&other.at))
    }
}
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Key {}

/// The competitors that take part, by class and list.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// So many stand in it.
    count: u32,
    /// Who stands in it alone and has nobody to be ordered with. It is in no list.
    sole: Option<u32>,
    lists: [Vec<BTreeSet<Key>>; 3],
    /// The order of all, once a walk went to the end, with the version of the total by which it is one.
    order: Vec<u32>,
    ordered_at: Option<u64>,
}

impl Ring {
    /// Takes a competitor in, where it belongs by `total`.
    pub(super) fn insert(&mut self, at: u32, tallies: &mut [Tally], total: &Amounts) {
        self.ordered_at = None;
        self.count += 1;
        if self.count == 1 {
            let tally = &mut tallies[at as usize];
            (self.sole, tally.place) = (Some(at), Some(Place { class: tally.class, list: 0, key: tally.key(at, 0) }));
            return;
        }
        if let Some(sole) = self.sole.take() {
            self.enlist(sole, &mut tallies[sole as usize], total);
        }
        self.enlist(at, &mut tallies[at as usize], total);
    }

    fn enlist(&mut self, at: u32, tally: &mut Tally, total: &Amounts) {
        let list = tally.amounts.dominant(total, tally.weight).at as u16;
        let place = Place { class: tally.class, list, key: tally.key(at, list) };
        tally.place = Some(place);
        let lists = &mut self.lists[place.class as usize];
        if lists.len() <= usize::from(list) {
            lists.resize_with(usize::from(list) + 1, BTreeSet::new);
        }
        lists[usize::from(list)].insert(place.key);
    }

    /// Takes a competitor out, if it is in.
    pub(super) fn remove(&mut self, tally: &mut Tally) -> bool {
        let Some(place) = tally.place.take() else { return false };
        self.ordered_at = None;
        self.count -= 1;
        if self.sole.take().is_none() {
            self.strike(place);
        }
        true
    }

    fn strike(&mut self, Place { class, list, key }: Place) {
        let was_there = self.lists[class as usize][usize::from(list)].remove(&key);
        assert!(was_there, "{key:?} is not in the list that should hold it");
    }

    /// Puts a restless competitor where it belongs now. An order that stood through what made it restless stands on.
    pub(super) fn settle(&mut self, at: u32, tally: &mut Tally, total: &Amounts) {
        if !core::mem::take(&mut tally.is_restless) || self.sole.is_some() {
            return;
        }
        if let Some(place) = tally.place {
            self.strike(place);
            self.enlist(at, tally, total);
        }
    }

    /// Who stands alone, when that is one of some classes.
    fn alone(&self, tallies: &[Tally], classes: &[Class]) -> Option<u32> {
        self.sole.filter(|&sole| classes.contains(&tallies[sole as usize].class))
    }

    /// Who competes holds something else now, or the total has changed without another version.
    pub(super) fn unsettle(&mut self) {
        self.ordered_at = None;
    }

    fn lists(&self, classes: &[Class]) -> impl Iterator<Item = (usize, &BTreeSet<Key>)> {
        let lists = classes.iter().flat_map(|class| self.lists[*class as usize].iter().enumerate());
        lists.filter(|(_, list)| !list.is_empty())
    }

    /// Visits those of some classes in order; all of them stand where they belong. Who should change its list afterwards,
    /// since the total has changed, is noted in `moves`.
    pub(super) fn walk(
        &mut self,
        tallies: &[Tally],
        (total, version): (&Amounts, u64),
        classes: &[Class],
        moves: &mut Vec<u32>,
        visit: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(sole) = self.alone(tallies, classes) {
            return visit(sole);
        }
        let is_whole = classes.len() == Class::ALL.len();
        if self.ordered_at == Some(version) && is_whole {
            return self.order.iter().try_for_each(|&at| visit(at));
        }
        // Most walks end where they begin; for those nothing is merged.
        let first = self.first(tallies, total, classes);
        if let Some(first) = first {
            self.ordered_at = None;
            visit(first)?;
        }
        let mut order = core::mem::take(&mut self.order);
        order.clear();
        let mut merge = Merge::new(self.lists(classes), tallies, total);
        let mut flow = ControlFlow::Continue(());
        let mut is_next_first = true;
        while let Some(at) = merge.next(moves) {
            if is_whole {
                order.push(at);
            }
            if is_next_first && first.is_some() {
                is_next_first = false;
                continue;
            }
            flow = visit(at);
            if flow.is_break() {
                break;
            }
        }
        (self.order, self.ordered_at) = (order, (is_whole && flow.is_continue()).then_some(version));
        flow
    }

    /// The first in order, when it is plain to see: the head of a list whose share is what the list says.
    pub(super) fn first(&self, tallies: &[Tally], total: &Amounts, classes: &[Class]) -> Option<u32> {
        if self.sole.is_some() {
            return self.alone(tallies, classes);
        }
        let mut best: Option<(Share, Key)> = None;
        for (list, keys) in self.lists(classes) {
            let head = keys.first()?;
            if total.of(list) == 0 && keys.last().is_some_and(|last| last.amount > 0) {
                return None;
            }
            let one = (Share::new(head.amount, total.of(list), head.weight), *head);
            if best.is_none_or(|best| order(&one, &best).is_lt()) {
                best = Some(one);
            }
        }
        let (bound, key) = best?;
        let share = tallies[key.at as usize].amounts.dominant(total, key.weight).share;
        share.cmp(&bound).is_eq().then_some(key.at)
    }

    /// Visits those of some classes in an order drawn by lot, each next one with a chance by its weight.
    pub(super) fn draw(
        &self,
        tallies: &[Tally],
        classes: &[Class],
        mut chance: Chance,
        visit: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let listed = self.lists(classes).flat_map(|(_, list)| list.iter().map(|key| key.at));
        let mut rest = listed.chain(self.alone(tallies, classes)).collect::<Vec<_>>();
        rest.sort_unstable_by_key(|&at| tallies[at as usize].rank);
        let weight = |at: u32| u64::from(tallies[at as usize].weight);
        let mut sum = rest.iter().map(|&at| weight(at)).sum::<u64>();
        let is_even = rest.windows(2).all(|pair| weight(pair[0]) == weight(pair[1]));
        while !rest.is_empty() {
            let lot = chance.below(sum);
            let place = match is_even {
                true => (lot / weight(rest[0])) as usize,
                false => {
                    let mut beyond = lot;
                    let hit = rest.iter().position(|&at| match beyond.checked_sub(weight(at)) {
                        Some(left) => {
                            beyond = left;
                            false
                        }
                        None => true,
                    });
                    hit.unwrap_or(0)
                }
            };
            let at = rest.swap_remove(place.min(rest.len() - 1));
            sum -= weight(at);
            visit(at)?;
        }
        ControlFlow::Continue(())
    }
}

/// One list under a walk.
struct Cursor<'a> {
    keys: btree_set::Iter<'a, Key>,
    list: usize,
    /// The next of the list, with what its share is at least.
    head: Key,
    bound: Share,
}

/// One whose share is larger than its list says. The greatest is the first in order.
struct Aside(Share, Key);

impl Ord for Aside {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&(other.0, other.1), &(self.0, self.1))
    }
}
impl PartialOrd for Aside {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Aside {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Aside {}

/// The lists of a ring, merged into one order.
struct Merge<'a> {
    cursors: Vec<Cursor<'a>>,
    aside: BinaryHeap<Aside>,
    tallies: &'a [Tally],
    total: &'a Amounts,
}

impl<'a> Merge<'a> {
    fn new(lists: impl Iterator<Item = (usize, &'a BTreeSet<Key>)>, tallies: &'a [Tally], total: &'a Amounts) -> Self {
        let mut merge = Self { cursors: Vec::new(), aside: BinaryHeap::new(), tallies, total };
        for (list, keys) in lists {
            // Of what there is nothing nobody has a part, so such a list says nothing about the order.
            if total.of(list) == 0 && keys.last().is_some_and(|last| last.amount > 0) {
                let exact = keys.iter().map(|key| Aside(merge.exact(key), *key)).collect::<Vec<_>>();
                merge.aside.extend(exact);
                continue;
            }
            let mut keys = keys.iter();
            if let Some(&head) = keys.next() {
                merge.cursors.push(Cursor { keys, list, head, bound: merge.bound(list, &head) });
            }
        }
        merge
    }

    fn bound(&self, list: usize, head: &Key) -> Share {
        Share::new(head.amount, self.total.of(list), head.weight)
    }

    fn exact(&self, key: &Key) -> Share {
        self.tallies[key.at as usize].amounts.dominant(self.total, key.weight).share
    }

    fn next(&mut self, moves: &mut Vec<u32>) -> Option<u32> {
        loop {
            let mut best: Option<usize> = None;
            for (place, cursor) in self.cursors.iter().enumerate() {
                let earlier = |other: usize| {
                    let other = &self.cursors[other];
                    order(&(cursor.bound, cursor.head), &(other.bound, other.head)).is_lt()
                };
                if best.is_none_or(earlier) {
                    best = Some(place);
                }
            }
            let waiting = self.aside.peek();
            let Some(best) = best else { return self.aside.pop().map(|Aside(_, key)| key.at) };
            let (head, bound, list) = {
                let cursor = &self.cursors[best];
                (cursor.head, cursor.bound, cursor.list)
            };
            if waiting.is_some_and(|Aside(share, key)| order(&(*share, *key), &(bound, head)).is_lt()) {
                return self.aside.pop().map(|Aside(_, key)| key.at);
            }
            match self.cursors[best].keys.next() {
                Some(&next) => {
                    let bound = self.bound(list, &next);
                    let cursor = &mut self.cursors[best];
                    (cursor.head, cursor.bound) = (next, bound);
                }
                None => {
                    self.cursors.swap_remove(best);
                }
            }
            let share = self.exact(&head);
            if share.cmp(&bound).is_eq() {
                return Some(head.at);
            }
            self.aside.push(Aside(share, head));
            moves.push(head.at);
        }
    }
}

/// Puts some competitors of one ring in their order.
pub(super) fn sort(some: &mut [u32], tallies: &[Tally], total: &Amounts) {
    some.sort_by_cached_key(|&at| {
        let tally = &tallies[at as usize];
        let Dominant { at: list, share } = tally.amounts.dominant(total, tally.weight);
        Reverse(Aside(share, tally.key(at, list as u16)))
    });
}

/// Ascending share, then fewer allocations, then name.
fn order(one: &(Share, Key), two: &(Share, Key)) -> Ordering {
    let ((share, one), (other, two)) = (one, two);
    share.cmp(other).then(one.count.cmp(&two.count)).then(one.rank.cmp(&two.rank)).then(one.at.cmp(&two.at))
}
