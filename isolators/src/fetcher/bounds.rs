//! How much one command may bring, and the count of it (attacks 12 and 48).

use super::error::Error;
use serde::{Deserialize, Serialize};

/// Limits for what one command fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The most bytes written, downloaded and unpacked together.
    pub bytes_max: u64,
    /// The most entries of all archives together: files, directories, links.
    pub entries_max: u64,
    /// An archive may grow to so many times its size, ...
    pub ratio_max: u64,
    /// ... but up to so many bytes without regard to its size: small archives of zeros are common.
    pub ratio_free_bytes: u64,
    /// The most memory of a worker in bytes, beyond what it begins with: above what the decoders take at their highest
    /// settings.
    pub memory_bytes_max: u64,
}

impl Default for Bounds {
    /// 64 GiB, half a million entries, 500 to 1 above 256 MiB, 1 GiB of memory. (Deflate packs a thousand zeros into one
    /// byte, so the ratio tells bombs from logs.)
    fn default() -> Self {
        Self {
            bytes_max: 64 << 30,
            entries_max: 500_000,
            ratio_max: 500,
            ratio_free_bytes: 256 << 20,
            memory_bytes_max: 1 << 30,
        }
    }
}

/// What is left of the bounds.
#[derive(Debug)]
pub(crate) struct Budget {
    bounds: Bounds,
    bytes: u64,
    entries: u64,
    /// The archive being unpacked: its size, and the bytes that came out of it.
    archive: Option<(u64, u64)>,
}

impl Budget {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, bytes: 0, entries: 0, archive: None }
    }

    /// An archive of this size is opened; the one before is done.
    pub(crate) fn begin_archive(&mut self, packed_bytes: u64) {
        self.archive = Some((packed_bytes, 0));
    }

    /// What comes now does not come out of an archive.
    pub(crate) fn end_archive(&mut self) {
        self.archive = None;
    }

    /// One more entry.
    pub(crate) fn entry(&mut self) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.bounds.entries_max {
            return Err(Error::TooMany { what: "entries", most: self.bounds.entries_max });
        }
        Ok(())
    }

    /// So many entries are announced: refused before any is made.
    pub(crate) fn entries_announced(&self, entries: u64) -> Result<(), Error> {
        match self.entries.saturating_add(entries) > self.bounds.entries_max {
            true => Err(Error::TooMany { what: "entries", most: self.bounds.entries_max }),
            false => Ok(()),
        }
    }

    /// So many bytes more are about to be written.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Error> {
        self.announced(bytes)?;
        self.bytes += bytes;
        if let Some((packed, unpacked)) = &mut self.archive {
            *unpacked += bytes;
            if *unpacked > self.bounds.ratio_free_bytes && *unpacked / self.bounds.ratio_max.max(1) > *packed {
                return Err(Error::Bomb { ratio: self.bounds.ratio_max });
            }
        }
        Ok(())
    }

    /// So many bytes are announced: refused before any is written.
    pub(crate) fn announced(&self, bytes: u64) -> Result<(), Error> {
        match self.bytes.saturating_add(bytes) > self.bounds.bytes_max {
            true => Err(Error::TooMany { what: "bytes", most: self.bounds.bytes_max }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_entries_and_growth_are_bounded() {
        let bounds =
            Bounds { bytes_max: 1000, entries_max: 2, ratio_max: 10, ratio_free_bytes: 100, ..Bounds::default() };
        let mut budget = Budget::new(bounds);
        budget.begin_archive(20);
        budget.take(100).expect("free of the ratio");
        budget.take(109).expect("ten times its size, rounded down");
        assert!(matches!(budget.take(1), Err(Error::Bomb { .. })));
        budget.end_archive();
        budget.take(790).expect("all that is left");
        assert!(matches!(budget.take(1), Err(Error::TooMany { what: "bytes", .. })));
        assert!(matches!(budget.announced(u64::MAX), Err(Error::TooMany { what: "bytes", .. })));
        budget.entry().expect("one");
        assert!(budget.entries_announced(1).is_ok() && budget.entries_announced(2).is_err());
        budget.entry().expect("two");
        assert!(matches!(budget.entry(), Err(Error::TooMany { what: "entries", .. })));
    }
}
