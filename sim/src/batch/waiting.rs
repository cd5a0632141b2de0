//! The jobs that wait, in a fixed order of places, and the next of them that could start.
//!
//! A tree over all places holds the smallest width and the smallest planned time below each node, so that a scan for
//! what fits steps over whole stretches of the queue that do not.

/// What is known of the jobs below a node: none of them is narrower, none shorter.
#[derive(Clone, Copy)]
pub(super) struct Least {
    /// The fewest processors; `u64::MAX` where nobody waits.
    pub(super) processors: u64,
    /// The shortest planned time.
    pub(super) planned_us: i64,
}

impl Least {
    const NOBODY: Self = Self { processors: u64::MAX, planned_us: i64::MAX };

    fn of(self, other: Self) -> Self {
        Self { processors: self.processors.min(other.processors), planned_us: self.planned_us.min(other.planned_us) }
    }
}

/// The queue.
pub(super) struct Waiting {
    nodes: Vec<Least>,
    leaves: usize,
}

impl Waiting {
    /// Nobody waits, in a queue of `places`.
    pub(super) fn new(places: usize) -> Self {
        let leaves = places.next_power_of_two().max(2);
        Self { nodes: vec![Least::NOBODY; 2 * leaves], leaves }
    }

    /// A job takes its place.
    pub(super) fn insert(&mut self, place: usize, processors: u64, planned_us: i64) {
        self.set(place, Least { processors, planned_us });
    }

    /// A job leaves its place.
    pub(super) fn remove(&mut self, place: usize) {
        self.set(place, Least::NOBODY);
    }

    fn set(&mut self, place: usize, leaf: Least) {
        let mut node = place + self.leaves;
        self.nodes[node] = leaf;
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node].of(self.nodes[2 * node + 1]);
        }
    }

    /// The first place from `from` on whose job `fits`. What fits a job must also fit a narrower and a shorter one, and
    /// never `Least::NOBODY`.
    pub(super) fn next(&self, from: usize, fits: impl Fn(Least) -> bool) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let mut node = from + self.leaves;
        loop {
            if fits(self.nodes[node]) {
                if node >= self.leaves {
                    return Some(node - self.leaves);
                }
                node *= 2;
                continue;
            }
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
    }

    /// The first place from `from` on where anybody waits.
    pub(super) fn first(&self, from: usize) -> Option<usize> {
        self.next(from, |least| least.processors != u64::MAX)
    }
}
