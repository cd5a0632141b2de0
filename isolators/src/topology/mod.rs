//! The hardware of a machine, read through hwloc: from the live machine, from an XML file that `lstopo` exported on another
//! one, or from a synthetic text.
//!
//! `hwloc.rs` is the only file that touches the C library; it copies the tree once and frees it. What comes out is
//! [`kaon_kernel::topology::Topology`], a plain value that is the same for the same source. What is made of it as
//! resources is in [`crate::resources`].

pub mod apart;
mod convert;
mod device;
mod hwloc;
mod text;
mod tree;

use kaon_kernel::topology::{Topology, TopologyError};
use std::io;
use std::path::PathBuf;

/// The largest XML file taken, in bytes. That of a machine with 384 processing units has 0.4 MB.
pub const XML_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The longest synthetic text in bytes.
pub const SYNTHETIC_BYTES_MAX: usize = 4096;

/// The most objects that are copied; a topology with more is refused. The largest machines have some ten thousand.
const OBJECTS_MAX: usize = 200_000;

/// Why a topology can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library that was linked is another one than was compiled for.
    #[error("the hwloc library does not fit the program")]
    Library,
    /// hwloc refuses a step.
    #[error("hwloc can't {action}: {source}")]
    Refused {
        /// Which step.
        action: &'static str,
        /// The system's word for it.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("can't read '{path}': {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The source is beyond [`XML_BYTES_MAX`], [`SYNTHETIC_BYTES_MAX`] or another bound.
    #[error("the topology is too large")]
    TooLarge,
    /// A text that is none for C.
    #[error("the text holds a NUL")]
    Nul,
    /// The text is no export of hwloc 2; found before hwloc sees it.
    #[error("the text is no topology of hwloc 2: {0}")]
    Format(&'static str),
    /// The process that reads foreign texts gave no topology.
    #[error("the topology can't be read: {reason}")]
    Reader {
        /// What it said, or how it ended.
        reason: String,
    },
    /// What hwloc understood makes no machine.
    #[error(transparent)]
    Machine(#[from] TopologyError),
}

/// Reads the machine that this runs on. Only what this process may use counts (control groups, affinity of the kernel).
/// Blocks for some milliseconds, longer on large machines.
pub fn discover() -> Result<Topology, Error> {
    let topology = read(hwloc::Source::Live)?;
    // The sizes of NUMA nodes may be smaller while memory is still being added to a guest.
    match memory_of_the_kernel() {
        Ok(bytes) if bytes > 0 => return Ok(topology.with_memory_bytes(bytes)),
        Ok(_) => tracing::warn!("/proc/meminfo has no MemTotal; memory is taken from hwloc"),
        Err(error) => tracing::warn!(%error, "/proc/meminfo can't be read; memory is taken from hwloc"),
    }
    Ok(topology)
}

/// Reads the text of a file that `lstopo --of xml` (hwloc 2) wrote, in this process: only for texts that are trusted, for
/// damage in them may crash hwloc. [`apart`] is for all others. What is plainly no topology, or could exhaust memory or
/// stack, is refused before hwloc's parser sees it.
pub fn from_xml_text(text: &[u8]) -> Result<Topology, Error> {
    text::check(text)?;
    read(hwloc::Source::Xml(text))
}

/// Makes a machine from a description such as `pack:2 [numa(memory=64GiB)] l3:1 core:8 pu:2`, in this process: for those
/// that are trusted.
pub fn from_synthetic(description: &str) -> Result<Topology, Error> {
    text::check_synthetic(description)?;
    read(hwloc::Source::Synthetic(description))
}

fn read(source: hwloc::Source<'_>) -> Result<Topology, Error> {
    let (machine, matrices) = hwloc::load(source)?;
    Ok(convert::topology(&machine, matrices)?)
}

/// `MemTotal` of `/proc/meminfo`, in bytes; zero when it is not there.
fn memory_of_the_kernel() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    Ok(total.and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok()).map_or(0, |kibibytes| kibibytes * 1024))
}

#[cfg(test)]
mod tests;
