//! When running jobs are planned to give processors back, in order of time.
//!
//! Blocks of a bounded number of entries, each with its sum, so that the earliest time at which enough is free is found
//! by stepping over blocks.

/// Entries of a block before it is split: small enough to move, large enough to step over.
const BLOCK_MAX: usize = 256;

struct Block {
    /// Time and processors, ascending in time, one entry a time.
    entries: Vec<(i64, u64)>,
    sum: u64,
}

/// The planned releases.
pub(super) struct Releases {
    blocks: Vec<Block>,
}

impl Releases {
    pub(super) fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    fn block_of(&self, time_us: i64) -> usize {
        self.blocks.partition_point(|block| block.entries.last().is_some_and(|last| last.0 < time_us))
    }

    /// So many processors come back at this time.
    pub(super) fn add(&mut self, time_us: i64, processors: u64) {
        let index = self.block_of(time_us).min(self.blocks.len().saturating_sub(1));
        let Some(block) = self.blocks.get_mut(index) else {
            self.blocks.push(Block { entries: vec![(time_us, processors)], sum: processors });
            return;
        };
        block.sum += processors;
        match block.entries.binary_search_by_key(&time_us, |entry| entry.0) {
            Ok(place) => block.entries[place].1 += processors,
            Err(place) => block.entries.insert(place, (time_us, processors)),
        }
        if block.entries.len() > BLOCK_MAX {
            let entries = block.entries.split_off(BLOCK_MAX / 2);
            let sum = entries.iter().map(|entry| entry.1).sum();
            block.sum -= sum;
            self.blocks.insert(index + 1, Block { entries, sum });
        }
    }

    /// So many processors of this time came back before it.
    pub(super) fn remove(&mut self, time_us: i64, processors: u64) {
        let index = self.block_of(time_us);
        let block = &mut self.blocks[index];
        let place = block.entries.binary_search_by_key(&time_us, |entry| entry.0).expect("what runs was planned");
        assert!(block.entries[place].1 >= processors, "more comes back at {time_us} than was planned");
        block.sum -= processors;
        block.entries[place].1 -= processors;
        if block.entries[place].1 == 0 {
            block.entries.remove(place);
            if block.entries.is_empty() {
                self.blocks.remove(index);
            }
        }
    }

    /// Takes out what was to come back until `now`: its sum.
    pub(super) fn due(&mut self, now_us: i64) -> u64 {
        let mut due = 0;
        while let Some(block) = self.blocks.first_mut() {
            let count = block.entries.partition_point(|entry| entry.0 <= now_us);
            let sum: u64 = block.entries.drain(..count).map(|entry| entry.1).sum();
            block.sum -= sum;
            due += sum;
            if !block.entries.is_empty() {
                break;
            }
            self.blocks.remove(0);
        }
        due
    }

    /// The earliest time at which at least `wanted` processors have come back, and how many then have; all that come
    /// back at that time are counted. None when there are never so many.
    pub(super) fn enough(&self, wanted: u64) -> Option<(i64, u64)> {
        let mut sum = 0;
        for block in &self.blocks {
            if sum + block.sum < wanted {
                sum += block.sum;
                continue;
            }
            for (time_us, processors) in &block.entries {
                sum += processors;
                if sum >= wanted {
                    return Some((*time_us, sum));
                }
            }
        }
        None
    }
}
