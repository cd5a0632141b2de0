//! What a machine could give at most, in a few numbers: for whoever explains decisions without the machine's own books.
//!
//! A shape knows nothing of what is in use. What it refuses the machine can never carry out, not even with nothing on it;
//! what it does not refuse may still be refused by [`Machine::place`], which alone decides. It comes from an agent, so all
//! of it is taken with care: numbers that point nowhere count as nothing.

use super::{Demand, Machine, Near, PlacementRequest, Policy, Reason};
use crate::quantity::Quantity;
use crate::topology::MemoryKind;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeMap;

/// A shape of more parts is not looked at: no machine has so many NUMA nodes in so many packages, or GPUs.
pub const SHAPE_PARTS_MAX: usize = 1024;

/// The processing units of one package that are nearest to one NUMA node.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HomeShape {
    /// The NUMA node, by its place among them.
    pub node: u32,
    /// The package.
    pub package: u32,
    /// How many processing units.
    pub units: u32,
    /// Bytes of memory near them, by kind.
    pub memory: Vec<(MemoryKind, u64)>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct GpuShape {
    /// The homes that it is near to, by their places.
    pub homes: Vec<u32>,
    /// GPUs with fast links between each other share a group.
    pub link_group: Option<u32>,
    /// Its memory in bytes; 0 where that is not known.
    pub memory_bytes: u64,
    /// Whether a network interface or fabric adapter is near.
    pub is_near_network: bool,
}

/// A machine's shape. Machines of one make have equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Shape {
    /// Where processing units and memory are.
    pub homes: Vec<HomeShape>,
    /// Its GPUs.
    pub gpus: Vec<GpuShape>,
}

impl Machine {
    /// The machine's shape.
    pub fn shape(&self) -> Shape {
        let layout = &self.layout;
        let homes = layout.homes.iter().map(|home| {
            let mut memory: BTreeMap<MemoryKind, u64> = BTreeMap::new();
            for node in home.near.iter().map(|near| &layout.nodes[*near as usize]) {
                let bytes = memory.entry(node.kind).or_default();
                *bytes = bytes.saturating_add(node.bytes);
            }
            let units = home.cores.iter().map(|core| layout.cores[*core as usize].len() as u32).sum();
            HomeShape { node: home.node, package: home.package, units, memory: memory.into_iter().collect() }
        });
        let gpus = layout.gpus.iter().map(|gpu| GpuShape {
            homes: gpu.homes.clone(),
            link_group: gpu.link_group,
            memory_bytes: gpu.memory_bytes,
            is_near_network: layout.networks.iter().any(|one| one.homes.iter().any(|home| gpu.homes.contains(home))),
        });
        Shape { homes: homes.collect(), gpus: gpus.collect() }
    }
}

impl Shape {
    /// Whether it has no more parts than [`SHAPE_PARTS_MAX`].
    pub fn is_bounded(&self) -> bool {
        let lists = self.homes.iter().map(|home| home.memory.len()).chain(self.gpus.iter().map(|gpu| gpu.homes.len()));
        self.homes.len() + self.gpus.len() + lists.sum::<usize>() <= SHAPE_PARTS_MAX
    }

    /// Why the machine can't carry out a request, whatever is in use on it; `None` where it could. Cost: linear in the parts
    /// times the places that would do.
    pub fn refusal(&self, demand: &Demand, request: &PlacementRequest) -> Option<Reason> {
        if request.is_pinned()
            && let Some(reason) = self.no_spot(demand, request)
        {
            return Some(reason);
        }
        if request.wants_part() {
            let least = request.gpu_memory_bytes.unwrap_or(0);
            let fits = |gpu: &GpuShape| gpu.memory_bytes == 0 || gpu.memory_bytes >= least;
            return (!self.gpus.iter().any(fits))
                .then(|| Reason::GpuPart { share: request.gpu_share.unwrap_or(0), memory_bytes: least });
        }
        let near = |gpu: &&GpuShape| request.gpus_near != Some(Near::AnyNetwork) || gpu.is_near_network;
        let free = self.gpus.iter().filter(near).count() as u32;
        if request.is_about_gpus() && free < demand.gpus {
            return Some(Reason::WholeGpus { wanted: demand.gpus, free });
        }
        if request.one_link_group && demand.gpus > 1 {
            let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
            for group in self.gpus.iter().filter(near).filter_map(|gpu| gpu.link_group) {
                *groups.entry(group).or_default() += 1;
            }
            let best = groups.into_values().max().unwrap_or(0);
            return (best < demand.gpus).then_some(Reason::LinkGroup { wanted: demand.gpus, best });
        }
        None
    }

    /// Why no place of the wanted extent is large enough.
    fn no_spot(&self, demand: &Demand, request: &PlacementRequest) -> Option<Reason> {
        let policy = if request.policy == Policy::None { Policy::Packed } else { request.policy };
        let mut spots: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (at, home) in (0..).zip(&self.homes) {
            let spot = match policy {
                Policy::OneNode => home.node,
                Policy::OnePackage => home.package,
                Policy::None | Policy::Packed | Policy::Spread => 0,
            };
            spots.entry(spot).or_default().push(at);
        }
        let sum = |spot: &[u32], of: &dyn Fn(&HomeShape) -> u64| {
            spot.iter().fold(0, |sum: u64, home| sum.saturating_add(of(&self.homes[*home as usize])))
        };
        let units = |spot: &[u32]| sum(spot, &|home| u64::from(home.units) * 1000);
        let bytes = |spot: &[u32]| {
            let is_meant = |kind: MemoryKind| request.memory.is_none_or(|wanted| wanted == kind);
            let of = |home: &HomeShape| {
                let meant = home.memory.iter().filter(|(kind, _)| is_meant(*kind));
                meant.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes))
            };
            sum(spot, &of)
        };
        let gpus = |spot: &[u32]| {
            self.gpus.iter().filter(|gpu| gpu.homes.iter().any(|home| spot.contains(home))).count() as u32
        };
        let wanted = demand.mem_bytes();
        let best = spots.values().map(|spot| units(spot)).max().unwrap_or(0);
        spots.retain(|_, spot| units(spot) >= demand.cpus.0);
        if spots.is_empty() {
            return Some(Reason::Cores { wanted: demand.cpus, policy, best: Quantity(best) });
        }
        let best = spots.values().map(|spot| bytes(spot)).max().unwrap_or(0);
        spots.retain(|_, spot| bytes(spot) >= wanted);
        if spots.is_empty() {
            return Some(Reason::NodeMemory { wanted, kind: request.memory, policy, best });
        }
        let free = spots.values().map(|spot| gpus(spot)).max().unwrap_or(0);
        let is_far = request.gpus_near == Some(Near::Cores) && free < demand.gpus;
        is_far.then_some(Reason::WholeGpus { wanted: demand.gpus, free })
    }
}
