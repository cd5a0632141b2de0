//! Machines made of equal parts, for the simulator and for tests: no library, no file.

use super::{Device, DeviceKind, Matrix, MatrixKind, MatrixObject, Memory, MemoryKind, Part, PartKind};
use super::{PciAddress, Topology, TopologyError, set};

/// How many of each. Every count is that within one of the level above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uniform {
    /// Packages of the machine.
    pub packages: u32,
    /// NUMA nodes of a package.
    pub nodes: u32,
    /// L3 groups of a NUMA node.
    pub l3_groups: u32,
    /// Cores of an L3 group.
    pub cores: u32,
    /// Processing units of a core.
    pub threads: u32,
    /// Memory of a NUMA node in bytes.
    pub node_memory_bytes: u64,
    /// GPUs near a NUMA node.
    pub gpus: u32,
    /// Memory of a GPU in bytes.
    pub gpu_memory_bytes: u64,
    /// How many GPUs, counted over the whole machine, are linked with each other; below two for none.
    pub linked: u32,
    /// Network interfaces near a NUMA node.
    pub networks: u32,
}

impl Default for Uniform {
    /// One processing unit and nothing else.
    fn default() -> Self {
        Self {
            packages: 1,
            nodes: 1,
            l3_groups: 1,
            cores: 1,
            threads: 1,
            node_memory_bytes: 0,
            gpus: 0,
            gpu_memory_bytes: 0,
            linked: 0,
            networks: 0,
        }
    }
}

impl Uniform {
    /// The machine. Numbers are given as Linux does on most machines: first the first processing unit of each core, then
    /// the second of each.
    ///
    /// # Errors
    /// More parts than a topology takes, or none.
    pub fn build(&self) -> Result<Topology, TopologyError> {
        let most = u32::try_from(super::UNITS_MAX).unwrap_or(u32::MAX);
        let counts = [self.packages, self.nodes, self.l3_groups, self.cores, self.threads];
        let units = counts.into_iter().try_fold(1, |product: u32, count| product.checked_mul(count));
        let units = units.filter(|units| *units <= most).ok_or(TopologyError::TooMany {
            what: "processing units",
            count: usize::MAX,
            most: super::UNITS_MAX,
        })?;
        if units == 0 {
            return Err(TopologyError::Empty);
        }
        let cores = units / self.threads;
        let mut parts = Vec::new();
        let in_node = self.l3_groups * self.cores;
        let in_package = in_node * self.nodes;
        // The processing units of some neighbouring cores.
        let covers = |first: u32, count: u32| {
            let of_thread = |thread: u32| (first..first + count).map(move |core| u64::from(thread * cores + core));
            set((0..self.threads).flat_map(of_thread))
        };
        let mut add = |kind, parent, number, units, memory| {
            parts.push(Part { kind, parent, number: Some(number), units, memory });
            (parts.len() - 1) as u32
        };
        let machine = add(PartKind::Machine, 0, 0, covers(0, cores), None);
        let mut devices = Vec::new();
        for package in 0..self.packages {
            let inside = covers(package * in_package, in_package);
            let package_part = add(PartKind::Package, machine, package, inside, None);
            for node in package * self.nodes..(package + 1) * self.nodes {
                let near = covers(node * in_node, in_node);
                let memory = Memory { kind: MemoryKind::Dram, bytes: self.node_memory_bytes, side_cache_bytes: 0 };
                add(PartKind::NumaNode, package_part, node, near.clone(), Some(memory));
                for l3 in node * self.l3_groups..(node + 1) * self.l3_groups {
                    let shared = covers(l3 * self.cores, self.cores);
                    let l3_part = add(PartKind::L3Group, package_part, l3, shared, None);
                    for core in l3 * self.cores..(l3 + 1) * self.cores {
                        let core_part = add(PartKind::Core, l3_part, core, covers(core, 1), None);
                        for thread in 0..self.threads {
                            let unit = thread * cores + core;
                            add(PartKind::ProcessingUnit, core_part, unit, set([u64::from(unit)]), None);
                        }
                    }
                }
                self.add_devices(node, &near, &mut devices);
            }
        }
        let matrices = self.links(&devices);
        Topology::new(parts, devices, matrices)
    }

    fn add_devices(&self, node: u32, near: &crate::resource::Ranges, devices: &mut Vec<Device>) {
        let gpus = (0..self.gpus).map(|gpu| (DeviceKind::Gpu, node * self.gpus + gpu));
        let networks = (0..self.networks).map(|one| (DeviceKind::Network, node * self.networks + one));
        for (kind, number) in gpus.chain(networks) {
            let is_gpu = kind == DeviceKind::Gpu;
            devices.push(Device {
                kind,
                name: if is_gpu { format!("gpu{number}") } else { format!("eth{number}") },
                has_driver: true,
                uuid: is_gpu.then(|| format!("GPU-{number:08x}")),
                pci: Some(PciAddress {
                    domain: node,
                    bus: devices.len() as u8,
                    device: u8::from(!is_gpu),
                    function: 0,
                }),
                bridges: vec![node],
                vendor: None,
                model: None,
                memory_bytes: if is_gpu { self.gpu_memory_bytes } else { 0 },
                units: near.clone(),
                numa_node: Some(node),
                link_group: None,
            });
        }
    }

    /// A matrix that links each run of `linked` GPUs all to all.
    fn links(&self, devices: &[Device]) -> Vec<Matrix> {
        let gpus = (0..).zip(devices).filter(|(_, device)| device.kind == DeviceKind::Gpu);
        let gpus: Vec<u32> = gpus.map(|(place, _)| place).collect();
        if self.linked < 2 || gpus.len() < 2 {
            return Vec::new();
        }
        let group = |place: usize| place as u32 / self.linked;
        let pairs = (0..gpus.len()).flat_map(|row| (0..gpus.len()).map(move |column| (row, column)));
        let value = |(row, column)| if row != column && group(row) == group(column) { 25_000 } else { 0 };
        vec![Matrix {
            name: "NVLinkBandwidth".to_owned(),
            kind: MatrixKind::Bandwidth,
            objects: gpus.iter().map(|place| MatrixObject::Device(*place)).collect(),
            values: pairs.map(value).collect(),
        }]
    }
}
