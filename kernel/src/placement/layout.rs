//! The unchanging side of a machine: what placement needs of a topology, with places in lists for numbers.

use super::Demand;
use crate::quantity::Quantity;
use crate::resource::{Device, Ranges, Resources};
use crate::topology::{DeviceKind, MatrixKind, MatrixObject, MemoryKind, Part, PartKind, Topology, set};
use core::ops::Range;

/// A processing unit is whole at this share, and so is a GPU.
pub(super) const WHOLE: u16 = 1000;

/// Why what a machine is said to share out can't be placed on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// More GPUs are shared out than there are.
    #[error("{wanted} GPUs are to be shared out, the topology has {there} beside those that are shared out by name")]
    Gpus {
        /// How many.
        wanted: u32,
        /// How many there are.
        there: u32,
    },
    /// A part of a GPU can't be shared out by counting.
    #[error("{0} GPUs are to be shared out: `gpus` counts whole ones")]
    PartOfGpus(Quantity),
    /// A device is shared out that is not there, or more of it than there is.
    #[error("the device '{0}' is not in the topology, or is smaller, or is named twice")]
    Device(String),
    /// There is no NUMA node near a processing unit.
    #[error("no NUMA node is near processing unit {0}")]
    NoNode(u32),
}

/// A processing unit. They stand in the order of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) number: u32,
    /// The L3 group that it is in; machines without have one for each home.
    pub(super) l3: u32,
    /// The home that it belongs to.
    pub(super) home: u32,
}

/// A NUMA node with memory for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) number: u32,
    pub(super) kind: MemoryKind,
    pub(super) bytes: u64,
}

/// The processing units of one package that are nearest to one NUMA node. Each unit has exactly one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Its place among the nodes.
    pub(super) node: u32,
    /// Its package; the whole machine where there are none.
    pub(super) package: u32,
    /// Its cores, by their places.
    pub(super) cores: Vec<u32>,
    /// Nodes of any kind that its units are near to, its own first.
    pub(super) near: Vec<u32>,
    /// All homes, the nearest first by the matrix of latencies, itself before all others.
    pub(super) by_distance: Vec<u32>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gpu {
    pub(super) id: String,
    pub(super) ordinal: u32,
    pub(super) memory_bytes: u64,
    pub(super) link_group: Option<u32>,
    /// The homes that it is near to.
    pub(super) homes: Vec<u32>,
    pub(super) bridges: Vec<u32>,
    /// What is shared out of it by its name; `None` for one that is counted, or not shared out.
    pub(super) named: Option<(u16, u64)>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) name: String,
    /// The homes that it is near to.
    pub(super) homes: Vec<u32>,
    pub(super) bridges: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) units: Vec<Unit>,
    /// The places of units, sorted by their numbers.
    pub(super) by_number: Vec<(u32, u32)>,
    /// The units of each core, side by side in `units`.
    pub(super) cores: Vec<Range<u32>>,
    pub(super) nodes: Vec<Node>,
    pub(super) homes: Vec<Home>,
    /// The homes of each package.
    pub(super) packages: Vec<Vec<u32>>,
    /// The homes of each NUMA node.
    pub(super) by_node: Vec<Vec<u32>>,
    pub(super) gpus: Vec<Gpu>,
    pub(super) networks: Vec<Network>,
    /// What is shared out: processing units, memory in MiB, whole GPUs by count.
    pub(super) cpus: Quantity,
    pub(super) mem: Quantity,
    pub(super) counted_gpus: u32,
}

impl Layout {
    pub(super) fn new(topology: &Topology, resources: &Resources) -> Result<Self, MachineError> {
        let total = Demand::of(resources)
            .map_err(|_| MachineError::PartOfGpus(resources.scalar(&crate::resource::ResourceName::Gpus)))?;
        let (units, cores) = units_and_cores(topology);
        let mut by_number: Vec<(u32, u32)> = units.iter().map(|unit| unit.number).zip(0..).collect();
        by_number.sort_unstable();
        let mut layout = Self {
            units,
            by_number,
            cores,
            nodes: Vec::new(),
            homes: Vec::new(),
            packages: Vec::new(),
            by_node: Vec::new(),
            gpus: Vec::new(),
            networks: Vec::new(),
            cpus: total.cpus,
            mem: total.mem,
            counted_gpus: total.gpus,
        };
        layout.add_nodes(topology)?;
        layout.add_l3_groups(topology);
        layout.add_devices(topology, &total.devices)?;
        layout.spread_unknown_memory(total.mem_bytes());
        let spare = layout.gpus.iter().filter(|gpu| gpu.named.is_none()).count();
        let spare = u32::try_from(spare).unwrap_or(u32::MAX);
        if total.gpus > spare {
            return Err(MachineError::Gpus { wanted: total.gpus, there: spare });
        }
        Ok(layout)
    }

    /// Nodes, homes and packages.
    fn add_nodes(&mut self, topology: &Topology) -> Result<(), MachineError> {
        let parts = topology.all(PartKind::NumaNode).filter_map(|part| {
            let memory = part.memory.filter(|memory| memory.kind != MemoryKind::Gpu)?;
            Some((part, memory, part.number?))
        });
        let parts: Vec<_> = parts.collect();
        self.nodes = parts
            .iter()
            .map(|(_, memory, number)| Node { number: *number, kind: memory.kind, bytes: memory.bytes })
            .collect();
        // Of the nodes around a unit its home is the most ordinary, then the one that the fewest share.
        let mut by_rank: Vec<usize> = (0..parts.len()).filter(|at| !parts[*at].0.units.is_empty()).collect();
        by_rank.sort_by_key(|&at| (parts[at].1.kind, parts[at].0.units.count(), at));
        let packages: Vec<&Part> = topology.all(PartKind::Package).collect();
        let mut known = std::collections::BTreeMap::new();
        self.packages = vec![Vec::new(); packages.len().max(1)];
        for (place, core) in self.cores.clone().into_iter().enumerate() {
            let first = self.units[core.start as usize].number;
            let one = set([u64::from(first)]);
            let node = by_rank.iter().copied().find(|at| parts[*at].0.units.contains(&one));
            let node = node.ok_or(MachineError::NoNode(first))?;
            let package = packages.iter().position(|package| package.units.contains(&one)).unwrap_or(0);
            let home = *known.entry((node, package)).or_insert_with(|| {
                let mut near: Vec<u32> = vec![node as u32];
                let around = |at: &usize| *at != node && parts[*at].0.units.contains(&one);
                near.extend((0..parts.len()).filter(around).map(|at| at as u32));
                let (package, cores) = (package as u32, Vec::new());
                self.homes.push(Home { node: node as u32, package, cores, near, by_distance: Vec::new() });
                self.packages[package as usize].push(self.homes.len() as u32 - 1);
                self.homes.len() as u32 - 1
            });
            self.homes[home as usize].cores.push(place as u32);
            for unit in &mut self.units[core.start as usize..core.end as usize] {
                unit.home = home;
            }
        }
        self.packages.retain(|homes| !homes.is_empty());
        let nodes = 0..self.nodes.len() as u32;
        let homes_of = |node: u32| (0..).zip(&self.homes).filter(move |(_, home)| home.node == node).map(|(at, _)| at);
        let by_node = nodes.map(|node| homes_of(node).collect::<Vec<u32>>());
        self.by_node = by_node.filter(|homes| !homes.is_empty()).collect();
        self.add_distances(topology);
        Ok(())
    }

    fn add_distances(&mut self, topology: &Topology) {
        let latencies = topology.matrices().iter().find(|matrix| {
            matrix.kind == MatrixKind::Latency && matches!(matrix.objects.first(), Some(MatrixObject::NumaNode(_)))
        });
        let numbers: Vec<u32> = self.homes.iter().map(|home| self.nodes[home.node as usize].number).collect();
        let row = |number| latencies?.objects.iter().position(|object| *object == MatrixObject::NumaNode(number));
        let rows: Vec<Option<usize>> = numbers.iter().map(|number| row(*number)).collect();
        let packages: Vec<u32> = self.homes.iter().map(|home| home.package).collect();
        for (at, home) in self.homes.iter_mut().enumerate() {
            let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
            order.sort_by_key(|&other| {
                let pair = rows[at].zip(rows[other as usize]);
                let value = pair.and_then(|(from, to)| latencies?.value(from, to)).unwrap_or(u64::MAX);
                let is_away = packages[at] != packages[other as usize];
                (other as usize != at, value, is_away, other)
            });
            home.by_distance = order;
        }
    }

    fn add_l3_groups(&mut self, topology: &Topology) {
        // Where there are no such caches, each home counts as one group.
        let groups: Vec<&Part> = topology.all(PartKind::L3Group).collect();
        let mut group_of = std::collections::BTreeMap::new();
        for (group, part) in (0..).zip(&groups) {
            for (begin, end) in part.units.iter() {
                group_of.extend((begin..=end).map(|number| (number, group)));
            }
        }
        let first_home = groups.len() as u32;
        for unit in &mut self.units {
            unit.l3 = group_of.get(&u64::from(unit.number)).copied().unwrap_or(first_home + unit.home);
        }
    }

    fn add_devices(&mut self, topology: &Topology, named: &[Device]) -> Result<(), MachineError> {
        for (ordinal, device) in (0..).zip(topology.gpus()) {
            self.gpus.push(Gpu {
                id: device.id().to_owned(),
                ordinal,
                memory_bytes: device.memory_bytes,
                link_group: device.link_group,
                homes: self.homes_of(&device.units),
                bridges: device.bridges.clone(),
                named: None,
            });
        }
        for device in named {
            let refusal = || MachineError::Device(device.id.clone());
            let gpu = self.gpus.iter_mut().find(|gpu| gpu.id == device.id).ok_or_else(refusal)?;
            let share = u16::try_from(device.share).ok().filter(|share| *share <= WHOLE).ok_or_else(refusal)?;
            let is_larger = gpu.memory_bytes > 0 && device.memory_bytes > gpu.memory_bytes;
            if is_larger || gpu.named.is_some() {
                return Err(refusal());
            }
            gpu.named = Some((share, device.memory_bytes));
        }
        let networks = topology.devices().iter();
        let networks = networks.filter(|one| matches!(one.kind, DeviceKind::Network | DeviceKind::Fabric));
        self.networks = networks
            .map(|one| Network {
                name: one.name.clone(),
                homes: self.homes_of(&one.units),
                bridges: one.bridges.clone(),
            })
            .collect();
        Ok(())
    }

    /// Where no node knows its size, what is shared out is split by processing units.
    fn spread_unknown_memory(&mut self, bytes: u64) {
        if self.nodes.iter().any(|node| node.bytes > 0) {
            return;
        }
        let all = self.units.len() as u128;
        let mut left = bytes;
        for home in &self.homes {
            let units = home.cores.iter().map(|core| self.cores[*core as usize].len()).sum::<usize>();
            let share = u64::try_from(u128::from(bytes) * units as u128 / all).unwrap_or(u64::MAX).min(left);
            self.nodes[home.node as usize].bytes += share;
            left -= share;
        }
        if let Some(first) = self.homes.first() {
            self.nodes[first.node as usize].bytes += left;
        }
    }

    /// The homes that some units belong to.
    pub(super) fn homes_of(&self, units: &Ranges) -> Vec<u32> {
        let is_near = |home: &Home| {
            home.cores.iter().any(|core| {
                let core = &self.cores[*core as usize];
                let mut inside = self.units[core.start as usize..core.end as usize].iter();
                let holds = |number: u64| units.iter().any(|(begin, end)| (begin..=end).contains(&number));
                inside.any(|unit| holds(unit.number.into()))
            })
        };
        (0..).zip(&self.homes).filter(|(_, home)| is_near(home)).map(|(place, _)| place).collect()
    }
}

/// The units in the order of the tree, and where the cores among them begin and end. A unit that is in no core is one.
fn units_and_cores(topology: &Topology) -> (Vec<Unit>, Vec<Range<u32>>) {
    let (mut units, mut cores): (Vec<Unit>, Vec<Range<u32>>) = (Vec::new(), Vec::new());
    let mut last = None;
    for part in topology.parts().iter().filter(|part| part.kind == PartKind::ProcessingUnit) {
        let place = units.len() as u32;
        let parent = topology.parts()[part.parent as usize].kind;
        let core = (parent == PartKind::Core).then_some(part.parent);
        match cores.last_mut() {
            Some(open) if core.is_some() && core == last => open.end = place + 1,
            _ => cores.push(place..place + 1),
        }
        last = core;
        units.push(Unit { number: part.number.unwrap_or_default(), l3: 0, home: 0 });
    }
    (units, cores)
}
