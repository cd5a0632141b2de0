//! The books of a machine: what is used of it, and the one way to change that.

use super::cores::{Found, Spot};
use super::layout::{Layout, MachineError, WHOLE};
use super::{Demand, DeviceShare, Near, NodeMemory, Placement, PlacementRequest, Policy, Reason, UnitShare};
use crate::quantity::Quantity;
use crate::resource::Resources;
use crate::topology::Topology;
use std::sync::Arc;

/// What is free of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GpuFree {
    pub(super) share: u16,
    pub(super) memory_bytes: u64,
}

/// A machine with what is used of it. Cloning costs the books; the layout is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(super) layout: Arc<Layout>,
    /// What is free of each processing unit, in thousandths.
    pub(super) units: Vec<u16>,
    /// What is free of each node's memory, in bytes.
    pub(super) nodes: Vec<u64>,
    pub(super) gpus: Vec<GpuFree>,
    cpus: Quantity,
    mem: Quantity,
    /// How many whole GPUs are used of those that are counted.
    pub(super) whole_gpus: u32,
}

impl Machine {
    /// A machine of which nothing is used, and which shares out these resources. More `cpus` or `mem` than it has are
    /// taken as the operator's will to share them out more than once: only tasks without a place of their own get those.
    /// Cost: linear in the parts, times the number of NUMA nodes.
    ///
    /// # Errors
    /// Resources that it can't carry out: more GPUs than it has, devices that it does not have.
    pub fn new(topology: &Topology, resources: &Resources) -> Result<Self, MachineError> {
        let layout = Layout::new(topology, resources)?;
        Ok(Self::unused(Arc::new(layout)))
    }

    /// The same machine with nothing used.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::unused(Arc::clone(&self.layout))
    }

    fn unused(layout: Arc<Layout>) -> Self {
        let gpus = layout.gpus.iter().map(|gpu| {
            let (share, memory_bytes) = gpu.named.unwrap_or((WHOLE, gpu.memory_bytes));
            GpuFree { share, memory_bytes }
        });
        Self {
            units: vec![WHOLE; layout.units.len()],
            nodes: layout.nodes.iter().map(|node| node.bytes).collect(),
            gpus: gpus.collect(),
            cpus: layout.cpus,
            mem: layout.mem,
            whole_gpus: 0,
            layout,
        }
    }

    /// Places a task and books it. Cost: linear in the processing units for each NUMA node and package that could hold
    /// it, and in the devices.
    ///
    /// # Errors
    /// What is lacking; nothing is changed then.
    pub fn place(&mut self, demand: &Demand, request: &PlacementRequest) -> Result<Placement, Reason> {
        if demand.cpus > self.cpus {
            return Err(Reason::Cpus { wanted: demand.cpus, free: self.cpus });
        }
        if demand.mem > self.mem {
            return Err(Reason::Memory { wanted: demand.mem, free: self.mem });
        }
        let takes_gpus = demand.gpus > 0 || !demand.devices.is_empty() || request.wants_part();
        if request.is_about_gpus() && !takes_gpus {
            return Err(Reason::NoGpus);
        }
        if request.wants_part() && (demand.gpus > 0 || !demand.devices.is_empty()) {
            return Err(Reason::PartAndWhole);
        }
        if request.gpus_near == Some(Near::Cores) && (!request.is_pinned() || demand.cpus.is_zero()) {
            return Err(Reason::NoCores);
        }
        let mut placement = if request.is_pinned() {
            self.choose_pinned(demand, request)?
        } else {
            let devices = self.choose_gpus(demand, request, &[])?;
            Placement { devices, ..Placement::default() }
        };
        placement.cpus = demand.cpus;
        placement.mem = demand.mem;
        placement.whole_gpus = demand.gpus;
        placement.units.sort_unstable_by_key(|share| share.unit);
        placement.memory.sort_unstable_by_key(|memory| memory.node);
        placement.devices.sort_unstable_by_key(|device| device.ordinal);
        let booked = self.book(&placement);
        assert!(booked, "what was chosen is free: {placement:?}");
        Ok(placement)
    }

    /// The best spot for a task that gets a place of its own.
    fn choose_pinned(&self, demand: &Demand, request: &PlacementRequest) -> Result<Placement, Reason> {
        let policy = if request.policy == Policy::None { Policy::Packed } else { request.policy };
        let homes = self.layout.homes.len() as u32;
        let (nodes, packages) = (&self.layout.by_node, &self.layout.packages);
        let (each, all): (Vec<Vec<u32>>, Vec<u32>) =
            ((0..homes).map(|home| vec![home]).collect(), (0..homes).collect());
        let all = vec![all];
        let tiers = match policy {
            Policy::OneNode => vec![nodes],
            Policy::OnePackage => vec![packages],
            Policy::Spread => vec![&all],
            // A node may lie in several packages, and a package have several nodes.
            Policy::None | Policy::Packed => vec![&each, nodes, packages, &all],
        };
        let mut refusal = Refusals::default();
        for spots in tiers {
            let mut best: Option<(u64, Placement)> = None;
            for homes in spots {
                let spot = Spot { homes, is_spread: policy == Policy::Spread };
                match self.try_spot(&spot, policy, demand, request) {
                    // The spot that is left with the least is the best fit; the first of equals.
                    Ok((rest, placement)) if best.as_ref().is_none_or(|(least, _)| rest < *least) => {
                        best = Some((rest, placement));
                    }
                    Ok(_) => {}
                    Err(reason) => refusal.note(reason),
                }
            }
            if let Some((_, placement)) = best {
                return Ok(placement);
            }
        }
        Err(refusal.most_telling())
    }

    fn try_spot(
        &self,
        spot: &Spot<'_>,
        policy: Policy,
        demand: &Demand,
        request: &PlacementRequest,
    ) -> Result<(u64, Placement), Reason> {
        let Found { units, rest } = self.choose_units(spot, policy, demand.cpus, request.exclusive)?;
        let memory = self.choose_memory(spot, policy, &units, demand, request.memory)?;
        let mut used: Vec<u32> = units.iter().map(|(unit, _)| self.layout.units[*unit as usize].home).collect();
        used.sort_unstable();
        used.dedup();
        let devices = self.choose_gpus(demand, request, &used)?;
        let numbered = |(unit, share): (u32, u16)| UnitShare { unit: self.layout.units[unit as usize].number, share };
        let units = units.into_iter().map(numbered).collect();
        Ok((rest, Placement { units, memory, devices, exclusive: request.exclusive, ..Placement::default() }))
    }

    /// Books a placement that was made before, as an agent does when it recovers.
    ///
    /// # Errors
    /// False when it names what the machine does not have or has not free; nothing is changed then.
    #[must_use]
    pub fn occupy(&mut self, placement: &Placement) -> bool {
        self.book(placement)
    }

    /// Takes all of a placement out of what is free, or nothing.
    fn book(&mut self, placement: &Placement) -> bool {
        let before = self.clone();
        let is_booked = self.try_book(placement).is_some();
        if !is_booked {
            *self = before;
        }
        is_booked
    }

    fn try_book(&mut self, placement: &Placement) -> Option<()> {
        self.cpus = self.cpus.minus(placement.cpus)?;
        self.mem = self.mem.minus(placement.mem)?;
        for UnitShare { unit, share } in &placement.units {
            let place = self.unit_place(*unit)?;
            self.units[place] = self.units[place].checked_sub(*share)?;
        }
        for NodeMemory { node, bytes } in &placement.memory {
            let place = self.layout.nodes.iter().position(|one| one.number == *node)?;
            self.nodes[place] = self.nodes[place].checked_sub(*bytes)?;
        }
        for device in &placement.devices {
            let place = self.gpu_place(&device.id)?;
            self.gpus[place].share = self.gpus[place].share.checked_sub(device.share)?;
            self.gpus[place].memory_bytes = self.gpus[place].memory_bytes.checked_sub(device.memory_bytes)?;
        }
        self.whole_gpus = self.whole_gpus.checked_add(placement.whole_gpus)?;
        let promised = self.layout.counted_gpus.checked_sub(self.whole_gpus)?;
        (self.free_whole_gpus() >= promised).then_some(())
    }

    /// Gives back all of a placement.
    ///
    /// # Panics
    /// When it was not placed, or was given back before: that is a mistake of ours.
    pub fn release(&mut self, placement: &Placement) {
        let plus = |one: Quantity, two: Quantity, most: Quantity| {
            one.plus(two).filter(|sum| *sum <= most).expect("no more is given back than there is")
        };
        self.cpus = plus(self.cpus, placement.cpus, self.layout.cpus);
        self.mem = plus(self.mem, placement.mem, self.layout.mem);
        for UnitShare { unit, share } in &placement.units {
            let place = self.unit_place(*unit).expect("a placed unit is there");
            self.units[place] += share;
            assert!(self.units[place] <= WHOLE, "unit {unit} is given back twice");
        }
        for NodeMemory { node, bytes } in &placement.memory {
            let place = self.layout.nodes.iter().position(|one| one.number == *node).expect("a placed node is there");
            self.nodes[place] += bytes;
            assert!(self.nodes[place] <= self.layout.nodes[place].bytes, "node {node} is given back twice");
        }
        for device in &placement.devices {
            let place = self.gpu_place(&device.id).expect("a placed device is there");
            let gpu = &self.layout.gpus[place];
            let (share, memory_bytes) = gpu.named.unwrap_or((WHOLE, gpu.memory_bytes));
            let free = &mut self.gpus[place];
            free.share += device.share;
            free.memory_bytes += device.memory_bytes;
            let is_right = free.share <= share && free.memory_bytes <= memory_bytes;
            assert!(is_right, "device {} is given back twice", device.id);
        }
        let left = self.whole_gpus.checked_sub(placement.whole_gpus);
        self.whole_gpus = left.expect("no more GPUs are given back than are used");
    }

    fn unit_place(&self, number: u32) -> Option<usize> {
        let at = self.layout.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.layout.by_number[at].1 as usize)
    }

    fn gpu_place(&self, id: &str) -> Option<usize> {
        self.layout.gpus.iter().position(|gpu| gpu.id == id)
    }

    /// What is left of the processing units that are shared out, and of the memory in MiB.
    pub fn free(&self) -> (Quantity, Quantity) {
        (self.cpus, self.mem)
    }

    pub(super) fn share_of(&self, place: usize, share: u16, memory_bytes: u64) -> DeviceShare {
        let gpu = &self.layout.gpus[place];
        DeviceShare { id: gpu.id.clone(), ordinal: gpu.ordinal, share, memory_bytes }
    }
}

/// The refusals of several spots: the one that came furthest tells most, with the best that any spot could give.
#[derive(Default)]
struct Refusals(Option<(u8, Reason)>);

impl Refusals {
    fn note(&mut self, reason: Reason) {
        let stage = match reason {
            Reason::Cores { .. } | Reason::ExclusiveCores { .. } => 1,
            Reason::NodeMemory { .. } => 2,
            _ => 3,
        };
        let best = |reason: &Reason| match reason {
            Reason::Cores { best, .. } | Reason::ExclusiveCores { best, .. } => best.0,
            Reason::NodeMemory { best, .. } => *best,
            Reason::LinkGroup { best, .. } => u64::from(*best),
            Reason::WholeGpus { free, .. } => u64::from(*free),
            _ => 0,
        };
        let rank = |stage: u8, reason: &Reason| (stage, best(reason));
        if self.0.as_ref().is_none_or(|(known, before)| rank(stage, &reason) >= rank(*known, before)) {
            self.0 = Some((stage, reason));
        }
    }

    fn most_telling(self) -> Reason {
        self.0.map_or(Reason::NoTopology, |(_, reason)| reason)
    }
}
