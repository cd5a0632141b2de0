//! What makes a decision cheap: for one shape of task, which machines admit it and which is worth most.
//!
//! Machines stand at positions, which are the order of ties: the lowest position wins.

/// So many neighbours have one maximum above them: as many as a cache line holds.
const FAN: usize = 8;

/// Bits of a word, and words that are counted together.
const WORD: usize = 64;
const GROUP: usize = 64;

/// An index over positions. A worth of zero says that the machine there does not admit the shape.
pub(super) trait Index: Default + Send {
    /// Forgets everything and takes the worths of the first, second, .. position.
    fn load(&mut self, worths: impl Iterator<Item = u64>);
    /// The machine at a position is worth something else.
    fn set(&mut self, at: usize, worth: u64);
}

/// The largest worth: levels of maxima of eight. A change costs one line for each level it reaches, a question one line
/// for each level.
#[derive(Clone, Debug, Default)]
pub(super) struct Largest {
    /// From the leaves up; every level is padded with zeros to whole groups, the last is one group.
    levels: Vec<Vec<u64>>,
}

impl Index for Largest {
    fn load(&mut self, worths: impl Iterator<Item = u64>) {
        let mut level = self.levels.first_mut().map(core::mem::take).unwrap_or_default();
        level.clear();
        level.extend(worths);
        self.levels.clear();
        loop {
            level.resize(level.len().next_multiple_of(FAN).max(FAN), 0);
            let above = level.chunks_exact(FAN).map(largest).collect::<Vec<_>>();
            self.levels.push(level);
            if above.len() == 1 {
                return;
            }
            level = above;
        }
    }

    fn set(&mut self, mut at: usize, mut worth: u64) {
        let mut levels = self.levels.iter_mut();
        let Some(leaves) = levels.next() else { return };
        let mut before = core::mem::replace(&mut leaves[at], worth);
        let mut below = leaves;
        for level in levels {
            at /= FAN;
            // Above, only the largest of a group counts: one that was not and is not it changes nothing.
            if worth < level[at] {
                if before < level[at] {
                    return;
                }
                worth = largest(&below[at * FAN..][..FAN]);
            }
            before = core::mem::replace(&mut level[at], worth);
            if before == worth {
                return;
            }
            below = level;
        }
    }
}

impl Largest {
    /// The lowest position of the largest worth, unless none admits.
    pub(super) fn best(&self) -> Option<usize> {
        let top = self.levels.last()?;
        let worth = largest(top);
        let mut at = 0;
        if worth == 0 {
            return None;
        }
        for level in self.levels.iter().rev() {
            let group = &level[at * FAN..][..FAN];
            at = at * FAN + group.iter().position(|&one| one == worth)?;
        }
        Some(at)
    }

    /// The worth at a position.
    pub(super) fn worth(&self, at: usize) -> u64 {
        self.levels[0][at]
    }
}

fn largest(group: &[u64]) -> u64 {
    group.iter().copied().fold(0, u64::max)
}

/// Which positions admit at all: bits, counted in groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Admitting {
    words: Vec<u64>,
    /// Of each group of words.
    counts: Vec<u32>,
    count: u32,
}

impl Index for Admitting {
    fn load(&mut self, worths: impl Iterator<Item = u64>) {
        self.words.clear();
        for (at, worth) in worths.enumerate() {
            if at.is_multiple_of(WORD) {
                self.words.push(0);
            }
            self.words[at / WORD] |= u64::from(worth != 0) << (at % WORD);
        }
        let count = |group: &[u64]| group.iter().map(|word| word.count_ones()).sum();
        self.counts = self.words.chunks(GROUP).map(count).collect();
        self.count = self.counts.iter().sum();
    }

    fn set(&mut self, at: usize, worth: u64) {
        let (word, bit) = (&mut self.words[at / WORD], 1 << (at % WORD));
        let count = &mut self.counts[at / WORD / GROUP];
        match (*word & bit != 0, worth != 0) {
            (false, true) => (*count, self.count) = (*count + 1, self.count + 1),
            (true, false) => (*count, self.count) = (*count - 1, self.count - 1),
            _ => return,
        }
        *word ^= bit;
    }
}

impl Admitting {
    /// Positions that admit.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The position with `skipped` admitting positions before it. Costs a look at each group, and at one group's words.
    pub(super) fn nth(&self, mut skipped: u32) -> Option<usize> {
        let mut group = 0;
        while skipped >= *self.counts.get(group)? {
            skipped -= self.counts[group];
            group += 1;
        }
        for (at, &word) in self.words.iter().enumerate().skip(group * GROUP) {
            let ones = word.count_ones();
            if skipped < ones {
                return Some(at * WORD + select(word, skipped));
            }
            skipped -= ones;
        }
        None
    }

    /// The first admitting position at or after `from`.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / WORD;
        let mut word = self.words.get(at)? & (u64::MAX << (from % WORD));
        while word == 0 {
            at += 1;
            while at.is_multiple_of(GROUP) && *self.counts.get(at / GROUP)? == 0 {
                at += GROUP;
            }
            word = *self.words.get(at)?;
        }
        Some(at * WORD + word.trailing_zeros() as usize)
    }
}

/// The place of the bit with `skipped` set bits below it.
fn select(mut word: u64, skipped: u32) -> usize {
    for _ in 0..skipped {
        word &= word - 1;
    }
    word.trailing_zeros() as usize
}
