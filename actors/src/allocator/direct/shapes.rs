//! One index for each shape of task, kept for as long as shapes repeat, and mended from the cluster's log.

use super::index::Index;
use super::{Cluster, NodeIndex, Shape};
use kaon_kernel::chance::Chance;
use kaon_kernel::table::Table;

/// A placement keeps the indexes of so many shapes, about 90 KiB each at 10,000 machines where scores are kept. The one
/// not asked for the longest goes first. The default mix of the openb trace has 151 shapes.
pub const SHAPES_MAX: usize = 256;

/// Which of equal machines wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TieBreak {
    /// The lowest index.
    #[default]
    Index,
    /// The first in a permutation drawn once from this seed (policies 0.3; what the openb results use).
    Permutation(u64),
}

/// Positions of machines in the order of ties.
#[derive(Clone, Debug, Default)]
struct Positions {
    nodes: Vec<u32>,
    of: Vec<u32>,
}

impl Positions {
    fn draw(&mut self, tie: TieBreak, count: usize) {
        self.nodes.clear();
        self.nodes.extend(0..count as u32);
        if let TieBreak::Permutation(seed) = tie {
            Chance::new(seed).shuffle(&mut self.nodes);
        }
        self.of.clear();
        self.of.resize(count, 0);
        for (position, &node) in self.nodes.iter().enumerate() {
            self.of[node as usize] = position as u32;
        }
    }
}

/// An index and how much of the log it has seen.
#[derive(Debug, Default)]
struct Entry<I> {
    index: I,
    seen: u64,
    /// When it was asked for last, in questions.
    asked: u64,
}

/// The indexes of one placement.
#[derive(Debug)]
pub(super) struct Shapes<I> {
    tie: TieBreak,
    entries: Table<Shape, Entry<I>>,
    positions: Positions,
    epoch: u64,
    questions: u64,
    /// For each machine the question in which it was mended last, so that many changes of one machine cost one look.
    mended: Vec<u64>,
}

impl<I: Index> Shapes<I> {
    pub(super) fn new(tie: TieBreak) -> Self {
        let (entries, positions) = (Table::default(), Positions::default());
        Self { tie, entries, positions, epoch: 0, questions: 0, mended: Vec::new() }
    }

    /// Whether machines were added since the last call; every index is dropped then.
    pub(super) fn renew(&mut self, cluster: &Cluster) -> bool {
        if self.epoch == cluster.epoch() {
            return false;
        }
        self.epoch = cluster.epoch();
        self.entries.clear();
        self.positions.draw(self.tie, cluster.len());
        self.mended.clear();
        self.mended.resize(cluster.len(), 0);
        true
    }

    /// The machine at a position.
    pub(super) fn node(&self, position: usize) -> NodeIndex {
        NodeIndex(self.positions.nodes[position])
    }

    /// The index of a shape, up to date. `worth` is zero for machines that do not admit it, and is a function of the shape
    /// and the machine's state alone.
    pub(super) fn settle(&mut self, cluster: &Cluster, shape: &Shape, worth: impl Fn(NodeIndex) -> u64) -> &I {
        self.questions += 1;
        let at = self.entries.get_index_of(shape);
        let at = at.unwrap_or_else(|| {
            self.evict();
            let mut entry = Entry::default();
            self.load(&mut entry, cluster, &worth);
            self.entries.insert_full(*shape, entry).0
        });
        let Self { entries, positions, mended, questions, .. } = self;
        let entry = &mut entries[at];
        entry.asked = *questions;
        let written = cluster.log().written();
        if entry.seen == written {
            return &self.entries[at].index;
        }
        match cluster.log().since(entry.seen) {
            Some(changes) => {
                for node in changes {
                    let mended = &mut mended[node.0 as usize];
                    if *mended != *questions {
                        *mended = *questions;
                        entry.index.set(positions.of[node.0 as usize] as usize, worth(node));
                    }
                }
            }
            None => entry.index.load(positions.nodes.iter().map(|&node| worth(NodeIndex(node)))),
        }
        entry.seen = written;
        &self.entries[at].index
    }

    fn load(&self, entry: &mut Entry<I>, cluster: &Cluster, worth: impl Fn(NodeIndex) -> u64) {
        entry.index.load(self.positions.nodes.iter().map(|&node| worth(NodeIndex(node))));
        entry.seen = cluster.log().written();
    }

    fn evict(&mut self) {
        if self.entries.len() >= SHAPES_MAX {
            let ages = self.entries.values().enumerate().map(|(at, entry)| (entry.asked, at));
            let oldest = ages.min().map_or(0, |(_, at)| at);
            self.entries.swap_remove_index(oldest);
        }
    }
}
