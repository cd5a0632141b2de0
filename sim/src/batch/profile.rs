//! How many processors are free at which time, as planned: a step function that is searched and changed in stretches.
//!
//! Steps stand in blocks of a bounded size; each block knows its least and most and an amount that is still to be added
//! to all its steps, so that a search passes over a block in one look.

/// Steps of a block before it is split.
const BLOCK_MAX: usize = 128;

#[derive(Clone)]
struct Block {
    /// From when its first step holds.
    begin_us: i64,
    /// From when each step holds; it holds until the next step, the last of all for ever.
    from_us: Vec<i64>,
    /// What is free, less `added`.
    free: Vec<i64>,
    added: i64,
    /// Least and most of `free`, without `added`.
    least: i64,
    most: i64,
}

impl Block {
    fn new(from_us: Vec<i64>, free: Vec<i64>, added: i64) -> Self {
        let mut block = Self { begin_us: 0, from_us, free, added, least: 0, most: 0 };
        block.measure();
        block
    }

    fn measure(&mut self) {
        self.begin_us = self.from_us.first().copied().unwrap_or(i64::MAX);
        self.least = self.free.iter().copied().min().unwrap_or(i64::MAX / 2);
        self.most = self.free.iter().copied().max().unwrap_or(i64::MIN / 2);
    }
}

/// The place of a step: block and index.
type Place = (usize, usize);

/// The profile.
#[derive(Clone)]
pub(super) struct Profile {
    blocks: Vec<Block>,
}

impl Profile {
    /// All of a pool is free from `now` on.
    pub(super) fn new(processors: u64, now_us: i64) -> Self {
        Self { blocks: vec![Block::new(vec![now_us], vec![processors as i64], 0)] }
    }

    /// The step that holds at `time`; the first one when the time is before it.
    fn place(&self, time_us: i64) -> Place {
        let block = self.blocks.partition_point(|block| block.begin_us <= time_us).saturating_sub(1);
        let index = self.blocks[block].from_us.partition_point(|from| *from <= time_us).saturating_sub(1);
        (block, index)
    }

    fn free_at(&self, (block, index): Place) -> i64 {
        self.blocks[block].free[index] + self.blocks[block].added
    }

    /// Makes a step begin at `time`, and says where it stands.
    fn cut(&mut self, time_us: i64) -> Place {
        let (block, index) = self.place(time_us);
        let steps = &mut self.blocks[block];
        if steps.from_us[index] >= time_us {
            return (block, index);
        }
        let free = steps.free[index];
        steps.from_us.insert(index + 1, time_us);
        steps.free.insert(index + 1, free);
        if steps.from_us.len() <= BLOCK_MAX {
            return (block, index + 1);
        }
        let from_us = steps.from_us.split_off(BLOCK_MAX / 2);
        let free = steps.free.split_off(BLOCK_MAX / 2);
        let added = steps.added;
        steps.measure();
        self.blocks.insert(block + 1, Block::new(from_us, free, added));
        self.place(time_us)
    }

    /// Joins a step with the one before it when both are alike.
    fn join(&mut self, time_us: i64) {
        let (block, index) = self.place(time_us);
        if self.blocks[block].from_us[index] != time_us || (block, index) == (0, 0) {
            return;
        }
        let before = if index > 0 { (block, index - 1) } else { (block - 1, self.blocks[block - 1].free.len() - 1) };
        if self.free_at(before) != self.free_at((block, index)) {
            return;
        }
        let steps = &mut self.blocks[block];
        steps.from_us.remove(index);
        steps.free.remove(index);
        if steps.free.is_empty() {
            self.blocks.remove(block);
        } else {
            steps.measure();
        }
    }

    /// Adds to what is free from `from` until `until`.
    pub(super) fn add(&mut self, from_us: i64, until_us: i64, processors: i64) {
        if from_us >= until_us {
            return;
        }
        self.cut(until_us);
        let (first, index) = self.cut(from_us);
        let (last, end) = self.place(until_us);
        for block in first..=last {
            let steps = &mut self.blocks[block];
            let start = if block == first { index } else { 0 };
            let stop = if block == last { end } else { steps.free.len() };
            if start == 0 && stop == steps.free.len() {
                steps.added += processors;
            } else {
                steps.free[start..stop].iter_mut().for_each(|free| *free += processors);
                steps.measure();
            }
        }
        self.join(until_us);
        self.join(from_us);
    }

    /// Forgets what was before `now`.
    pub(super) fn forget(&mut self, now_us: i64) {
        let (block, index) = self.place(now_us);
        self.blocks.drain(..block);
        let first = &mut self.blocks[0];
        first.from_us[index] = first.from_us[index].max(now_us);
        first.begin_us = first.from_us[index];
        if index > 0 {
            first.from_us.drain(..index);
            first.free.drain(..index);
            first.measure();
        }
    }

    /// The first step from `place` on with at least so much free, or with less.
    fn seek(&self, (block, index): Place, processors: i64, is_enough: bool) -> Option<Place> {
        let mut start = index;
        for (number, steps) in self.blocks.iter().enumerate().skip(block) {
            let wanted = processors - steps.added;
            let is_here = if is_enough { steps.most >= wanted } else { steps.least < wanted };
            if is_here {
                let fits = |free: &i64| (*free >= wanted) == is_enough;
                if let Some(found) = steps.free[start..].iter().position(fits) {
                    return Some((number, start + found));
                }
            }
            start = 0;
        }
        None
    }

    /// The earliest time from `from` on at which so many processors are free for so long.
    pub(super) fn find(&self, processors: u64, length_us: i64, from_us: i64) -> Option<i64> {
        self.search(processors, length_us, from_us, i64::MAX, i64::MAX)
    }

    /// The same for a job that has a reservation of this width and length at `reserved`, if it can start earlier and before
    /// `before`. What it holds from then on is its own, so that only the time until then counts.
    pub(super) fn find_earlier(
        &self,
        processors: u64,
        length_us: i64,
        from_us: i64,
        reserved_us: i64,
        before_us: i64,
    ) -> Option<i64> {
        self.search(processors, length_us, from_us, reserved_us, before_us.min(reserved_us))
    }

    fn search(&self, processors: u64, length_us: i64, from_us: i64, reserved_us: i64, before_us: i64) -> Option<i64> {
        let wanted = processors as i64;
        let mut place = self.place(from_us);
        loop {
            place = self.seek(place, wanted, true)?;
            let time_us = self.blocks[place.0].from_us[place.1].max(from_us);
            if time_us >= before_us {
                return None;
            }
            let until_us = time_us.saturating_add(length_us).min(reserved_us);
            match self.seek(place, wanted, false) {
                Some(end) if self.blocks[end.0].from_us[end.1] < until_us => place = end,
                _ => return Some(time_us),
            }
        }
    }

    /// For each new most on the way into the future: from when on it is there, and how much. What needs more than the
    /// most before a time cannot start before it.
    pub(super) fn summits(&self, summits: &mut Vec<(i64, i64)>) {
        summits.clear();
        let mut most = i64::MIN;
        for steps in self.blocks.iter().filter(|block| !block.free.is_empty()) {
            if steps.most + steps.added <= most {
                continue;
            }
            for (from_us, free) in steps.from_us.iter().zip(&steps.free) {
                if free + steps.added > most {
                    most = free + steps.added;
                    summits.push((*from_us, most));
                }
            }
        }
    }

    /// Whether less than nothing is ever planned to be free.
    #[cfg(test)]
    pub(super) fn is_overbooked(&self) -> bool {
        self.seek((0, 0), 0, false).is_some()
    }
}
