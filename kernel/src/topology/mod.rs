//! A machine as a value (design 6): packages, NUMA nodes with their kinds of memory, L3 groups, cores, processing units,
//! devices with what they are near, and matrices of distances.
//!
//! Read by `isolators/src/topology` through hwloc from the live machine, an exported file or a synthetic text, or made by
//! [`Uniform`] without it, which is how the simulator gets one. What is used of a machine and by whom is in
//! [`crate::placement`]; what it shares out is in [`crate::resource`]. A topology never changes: it can be archived and
//! sent, and it is bounded, so that an agent could tell it to its master in one frame.
//!
//! The vocabulary follows hwloc 2: a NUMA node is no container of cores but memory that some of them are near to.

mod device;
mod matrix;
mod table;
#[cfg(test)]
mod tests;
mod uniform;

pub use device::{Device, DeviceKind, PciAddress};
pub use matrix::{Matrix, MatrixKind, MatrixObject};
pub use uniform::Uniform;

use crate::resource::Ranges;
use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};

/// The most parts of a machine. One with 384 processing units has about 600.
pub const PARTS_MAX: usize = 32_768;

/// The most processing units of a machine; the largest single images have some thousands.
pub const UNITS_MAX: usize = 8_192;

/// The largest number of a processing unit or a NUMA node at its operating system, excluded.
pub const NUMBER_END: u64 = 1 << 20;

/// The most devices of a machine.
pub const DEVICES_MAX: usize = 1_024;

/// The most values of all matrices of a machine together: one of 256 by 256 objects.
pub const MATRIX_VALUES_MAX: usize = 65_536;

/// The most ranges in all sets of numbers of a machine together.
pub const RANGES_MAX: usize = 131_072;

/// The longest name of anything in a topology, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// What a part of a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum PartKind {
    /// The whole.
    Machine,
    /// What goes into a socket.
    Package,
    /// A die within a package.
    Die,
    /// Something in between without a better name.
    Group,
    /// Memory that is one NUMA node.
    NumaNode,
    /// The processing units that share a third-level cache.
    L3Group,
    /// A core.
    Core,
    /// A processing unit, that which runs one thread; what Mesos counts as a cpu.
    ProcessingUnit,
}

/// What memory of a NUMA node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub enum MemoryKind {
    /// Ordinary memory, and all that is not said to be something else.
    Dram,
    /// High-bandwidth memory (HBM, MCDRAM).
    HighBandwidth,
    /// Memory behind CXL.
    Cxl,
    /// Non-volatile memory used as memory.
    NonVolatile,
    /// Memory set aside for a special purpose (EFI "specific purpose memory").
    SpecialPurpose,
    /// Memory of a GPU that the system sees as a node. Never shared out as memory.
    Gpu,
}

impl MemoryKind {
    /// The word for it, as [`crate::placement`] takes it in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dram => "dram",
            Self::HighBandwidth => "hbm",
            Self::Cxl => "cxl",
            Self::NonVolatile => "nvm",
            Self::SpecialPurpose => "spm",
            Self::Gpu => "gpu",
        }
    }
}

/// The memory of a NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Memory {
    /// What it is made of.
    pub kind: MemoryKind,
    /// Its size; zero where it is unknown.
    pub bytes: u64,
    /// The size of the cache on the memory's side before it; zero where there is none.
    pub side_cache_bytes: u64,
}

/// A part of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// The place of what it is in, among the parts; its own for the machine.
    pub parent: u32,
    /// Its number at the operating system, where it has one: unique among processing units and among NUMA nodes.
    pub number: Option<u32>,
    /// The processing units in it, by their numbers; for a NUMA node those that it is near to.
    pub units: Ranges,
    /// The memory of a NUMA node; `None` for all else.
    pub memory: Option<Memory>,
}

/// Why parts make no topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// More of something than a bound allows.
    #[error("the topology has {count} {what}, at most {most} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// There is nothing to run on.
    #[error("the topology has no processing unit")]
    Empty,
    /// A part is in none that comes before it, or the first is not the machine.
    #[error("part {0} of the topology is out of place")]
    Misplaced(usize),
    /// A processing unit or a NUMA node has no number, or one that another has, or one beyond the bound.
    #[error("the number of part {0} of the topology is missing, repeated or too large")]
    Number(usize),
    /// A set names a processing unit that the machine does not have.
    #[error("{0} names processing units that the machine does not have")]
    Units(String),
    /// Only NUMA nodes have memory, and all of them do.
    #[error("part {0} of the topology and memory do not go together")]
    Memory(usize),
    /// A matrix is not square, or names what is not there.
    #[error("the matrix '{0}' does not fit the topology")]
    Matrix(String),
    /// Two devices have one identity.
    #[error("two devices are called '{0}'")]
    Twice(String),
}

/// A machine. Its parts stand in the order of the tree: each after what it is in, processing units of a core side by side.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Topology {
    parts: Vec<Part>,
    devices: Vec<Device>,
    matrices: Vec<Matrix>,
    memory_bytes: u64,
}

impl Topology {
    /// A topology of its pieces, or what is wrong with them. Link groups of devices are made here, from the matrices.
    /// Cost: linear, but for the sorting of numbers.
    pub fn new(parts: Vec<Part>, devices: Vec<Device>, matrices: Vec<Matrix>) -> Result<Self, TopologyError> {
        let nodes = parts.iter().filter_map(|part| part.memory).filter(|memory| memory.kind != MemoryKind::Gpu);
        let memory_bytes = nodes.fold(0, |sum: u64, memory| sum.saturating_add(memory.bytes));
        let mut topology = Self { parts, devices, matrices, memory_bytes };
        topology.check()?;
        matrix::group(&mut topology.devices, &topology.matrices);
        Ok(topology)
    }

    /// The same machine with another amount of memory for programs, in bytes: the kernel of a live machine knows better
    /// than the sum of its nodes.
    #[must_use]
    pub fn with_memory_bytes(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// Whether it keeps its own rules. One that came from another process must be asked; [`Topology::new`] has done so.
    pub fn check(&self) -> Result<(), TopologyError> {
        let units = self.count(PartKind::ProcessingUnit);
        let values = self.matrices.iter().map(|matrix| matrix.values.len()).sum::<usize>();
        let sets = self.parts.iter().map(|part| &part.units).chain(self.devices.iter().map(|device| &device.units));
        let ranges = sets.map(|set| set.iter().count()).sum::<usize>();
        let texts =
            self.devices.iter().flat_map(Device::texts).chain(self.matrices.iter().map(|one| one.name.as_str()));
        let bounds = [
            ("parts", self.parts.len(), PARTS_MAX),
            ("processing units", units, UNITS_MAX),
            ("devices", self.devices.len(), DEVICES_MAX),
            ("values in its matrices", values, MATRIX_VALUES_MAX),
            ("ranges in its sets", ranges, RANGES_MAX),
            ("bytes in one name", texts.map(str::len).max().unwrap_or(0), TEXT_BYTES_MAX),
        ];
        if let Some((what, count, most)) = bounds.into_iter().find(|(_, count, most)| count > most) {
            return Err(TopologyError::TooMany { what, count, most });
        }
        if units == 0 {
            return Err(TopologyError::Empty);
        }
        for (at, part) in self.parts.iter().enumerate() {
            let is_root = at == 0;
            if is_root != (part.kind == PartKind::Machine) || part.parent as usize >= at.max(1) {
                return Err(TopologyError::Misplaced(at));
            }
            if part.memory.is_some() != (part.kind == PartKind::NumaNode) {
                return Err(TopologyError::Memory(at));
            }
        }
        let all = self.numbers_of(PartKind::ProcessingUnit)?;
        let nodes = self.numbers_of(PartKind::NumaNode)?;
        let known = |set: &Ranges| all.contains(set);
        if let Some(at) = self.parts.iter().position(|part| !known(&part.units)) {
            return Err(TopologyError::Units(format!("part {at}")));
        }
        let mut names: Vec<&str> = self.devices.iter().map(Device::id).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TopologyError::Twice(pair[0].to_owned()));
        }
        if let Some(device) = self.devices.iter().find(|device| !known(&device.units)) {
            return Err(TopologyError::Units(device.id().to_owned()));
        }
        for matrix in &self.matrices {
            if !matrix.fits(&nodes, self.devices.len()) {
                return Err(TopologyError::Matrix(matrix.name.clone()));
            }
        }
        Ok(())
    }

    /// The numbers of all parts of a kind; each must have one of its own.
    fn numbers_of(&self, kind: PartKind) -> Result<Ranges, TopologyError> {
        let mut numbers = Vec::new();
        for (at, part) in self.parts.iter().enumerate().filter(|(_, part)| part.kind == kind) {
            let number = part.number.map(u64::from).filter(|&number| number < NUMBER_END);
            numbers.push((number.ok_or(TopologyError::Number(at))?, at));
        }
        numbers.sort_unstable();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(TopologyError::Number(pair[1].1));
        }
        Ok(set(numbers.into_iter().map(|(number, _)| number)))
    }

    /// All parts, in the order of the tree.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
    /// The parts of one kind, in the order of the tree.
    pub fn all(&self, kind: PartKind) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.kind == kind)
    }
    /// How many parts of one kind there are.
    pub fn count(&self, kind: PartKind) -> usize {
        self.all(kind).count()
    }
    /// The devices, in the order of the tree: that of their places on the bus.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }
    /// The GPUs among the devices.
    pub fn gpus(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.kind == DeviceKind::Gpu)
    }
    /// The matrices of distances and bandwidths.
    pub fn matrices(&self) -> &[Matrix] {
        &self.matrices
    }
    /// All memory that programs of the processors may use, in bytes; zero where it is unknown. Without the memory of GPUs.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

/// The set of numbers that ascend without repeating.
pub(crate) fn set(numbers: impl IntoIterator<Item = u64>) -> Ranges {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if number == last.1 + 1 => last.1 = number,
            _ => ranges.push((number, number)),
        }
    }
    Ranges::new(ranges).expect("numbers ascend")
}

impl fmt::Display for PartKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Machine => "machine",
            Self::Package => "package",
            Self::Die => "die",
            Self::Group => "group",
            Self::NumaNode => "NUMA node",
            Self::L3Group => "L3 group",
            Self::Core => "core",
            Self::ProcessingUnit => "processing unit",
        })
    }
}
