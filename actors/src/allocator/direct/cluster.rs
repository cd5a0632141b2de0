//! The machines as columns: what each has, what of it is free, and what stands on it.
//!
//! One column for each fact, since a decision reads few facts of many machines. Sums over a machine's GPUs (units free,
//! largest free part, GPUs that are idle) are kept up to date, not computed when asked.

use super::log::Log;
use super::{Choice, GPU_TYPES_MAX, GpuDemand, GpuSet, GpuType, Shape, Task};
use kaon_kernel::table::Table;
use thiserror::Error;

/// A machine has at most so many GPUs: the bits of [`GpuSet`]. Traces have 8.
pub const GPUS_MAX: usize = 16;

/// What one GPU is divided into.
pub const GPU_UNITS: u16 = 1000;

/// A cluster has at most so many machines, ten times what the project aims for.
pub const NODES_MAX: usize = 1 << 20;

/// Kinds of tasks by their GPUs: sharing one, and each number of whole ones.
pub(super) const KINDS: usize = GPUS_MAX + 1;

/// A machine, by its position in the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u32);

/// What a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory.
    pub mem_mib: u64,
    /// GPUs, at most [`GPUS_MAX`].
    pub gpus: u8,
    /// Their type.
    pub gpu_type: GpuType,
    /// The failure domain, such as a rack, over which the tasks of a job are spread.
    pub domain: u32,
}

/// Why a machine can't be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClusterError {
    /// More than the columns hold.
    #[error("{0} GPUs on one machine, the most is {GPUS_MAX}")]
    TooManyGpus(u8),
    /// A type without a bit.
    #[error("GPU type {0}, there are only {GPU_TYPES_MAX}")]
    UnknownType(u8),
    /// The cluster is full.
    #[error("the cluster has its {NODES_MAX} machines")]
    TooManyNodes,
}

/// Why a choice can't be booked or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misfit {
    /// No such machine.
    #[error("there is no machine {}", .0.0)]
    UnknownNode(NodeIndex),
    /// The task does not fit on the machine, or the machine is closed.
    #[error("the task does not fit on machine {}", .0.0)]
    NoRoom(NodeIndex),
    /// The GPUs are not those that the task can use there.
    #[error("GPUs {gpus:?} of machine {} are not what the task asks for", .node.0)]
    WrongGpus {
        /// The machine.
        node: NodeIndex,
        /// The GPUs that were chosen.
        gpus: GpuSet,
    },
    /// More is given back than is in use.
    #[error("machine {} does not hold what is given back", .0.0)]
    NotHeld(NodeIndex),
}

/// The largest capacity of any machine, resource by resource: what fits are normalised by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Largest {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory.
    pub mem_mib: u64,
    /// Thousandths of a GPU.
    pub gpu_units: u64,
}

/// The machines.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    cpu_capacity: Vec<u64>,
    cpu_free: Vec<u64>,
    mem_capacity: Vec<u64>,
    mem_free: Vec<u64>,
    gpus: Vec<u8>,
    gpu_type: Vec<GpuType>,
    gpu_free: Vec<[u16; GPUS_MAX]>,
    gpu_units_free: Vec<u32>,
    gpu_largest: Vec<u16>,
    gpus_idle: Vec<u8>,
    is_open: Vec<bool>,
    domain: Vec<u32>,
    /// GPU tasks on each machine by their kind.
    kinds: Vec<[u16; KINDS]>,
    packages: Vec<u64>,
    /// Tasks on each machine: production, others.
    bands: Vec<[u32; 2]>,
    /// Tasks of a job in a failure domain, and in all.
    spread: Table<(u32, u32), u32>,
    jobs: Table<u32, u32>,
    largest: Largest,
    log: Log,
    epoch: u64,
}

impl Cluster {
    /// Adds a machine, open and empty.
    ///
    /// # Errors
    /// When it has more than the columns hold.
    pub fn add(&mut self, spec: NodeSpec) -> Result<NodeIndex, ClusterError> {
        if usize::from(spec.gpus) > GPUS_MAX {
            return Err(ClusterError::TooManyGpus(spec.gpus));
        }
        if spec.gpu_type.0 >= GPU_TYPES_MAX {
            return Err(ClusterError::UnknownType(spec.gpu_type.0));
        }
        if self.len() >= NODES_MAX {
            return Err(ClusterError::TooManyNodes);
        }
        let node = NodeIndex(self.len() as u32);
        let mut gpu_free = [0; GPUS_MAX];
        gpu_free[..usize::from(spec.gpus)].fill(GPU_UNITS);
        let gpu_units = u32::from(spec.gpus) * u32::from(GPU_UNITS);
        self.cpu_capacity.push(spec.cpu_milli);
        self.cpu_free.push(spec.cpu_milli);
        self.mem_capacity.push(spec.mem_mib);
        self.mem_free.push(spec.mem_mib);
        self.gpus.push(spec.gpus);
        self.gpu_type.push(spec.gpu_type);
        self.gpu_free.push(gpu_free);
        self.gpu_units_free.push(gpu_units);
        self.gpu_largest.push(gpu_free[0]);
        self.gpus_idle.push(spec.gpus);
        self.is_open.push(true);
        self.domain.push(spec.domain);
        self.kinds.push([0; KINDS]);
        self.packages.push(0);
        self.bands.push([0; 2]);
        self.largest.cpu_milli = self.largest.cpu_milli.max(spec.cpu_milli);
        self.largest.mem_mib = self.largest.mem_mib.max(spec.mem_mib);
        self.largest.gpu_units = self.largest.gpu_units.max(u64::from(gpu_units));
        self.log.widen(self.cpu_free.len());
        self.epoch += 1;
        Ok(node)
    }

    /// How many machines there are, closed ones included.
    pub fn len(&self) -> usize {
        self.cpu_free.len()
    }

    /// Whether there is no machine.
    pub fn is_empty(&self) -> bool {
        self.cpu_free.is_empty()
    }

    /// The machines in order.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.len() as u32).map(|at| self.node(NodeIndex(at)))
    }

    /// One machine, to be asked.
    ///
    /// # Panics
    /// When there is no such machine, as soon as it is asked something.
    pub fn node(&self, index: NodeIndex) -> Node<'_> {
        Node { cluster: self, index }
    }

    /// The largest capacities.
    pub fn largest(&self) -> Largest {
        self.largest
    }

    /// Opens a machine for new tasks, or closes it; what stands on it stays.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn open(&mut self, node: NodeIndex, is_open: bool) -> Result<(), Misfit> {
        *self.is_open.get_mut(node.0 as usize).ok_or(Misfit::UnknownNode(node))? = is_open;
        self.log.write(node);
        Ok(())
    }

    /// Books a task where it was chosen to go.
    ///
    /// # Errors
    /// When it does not fit there; nothing is changed then.
    pub fn place(&mut self, choice: Choice, task: &Task) -> Result<(), Misfit> {
        let (node, shape) = (choice.node, &task.shape);
        let at = self.position(node)?;
        if !self.node(node).admits(shape) {
            return Err(Misfit::NoRoom(node));
        }
        let units = shape.gpu.units();
        let fits = |number: usize| number < usize::from(self.gpus[at]) && self.gpu_free[at][number] >= units;
        if choice.gpus.count() != shape.gpu.count() || !choice.gpus.numbers().all(fits) {
            return Err(Misfit::WrongGpus { node, gpus: choice.gpus });
        }
        self.cpu_free[at] -= shape.cpu_milli;
        self.mem_free[at] -= shape.mem_mib;
        choice.gpus.numbers().for_each(|number| self.gpu_free[at][number] -= units);
        if let Some(kind) = shape.gpu.kind() {
            self.kinds[at][kind] += 1;
        }
        self.packages[at] |= task.packages;
        self.bands[at][usize::from(!task.is_production)] += 1;
        if task.job != 0 {
            *self.spread.entry((task.job, self.domain[at])).or_default() += 1;
            *self.jobs.entry(task.job).or_default() += 1;
        }
        self.changed(node);
        Ok(())
    }

    /// Takes back what [`Cluster::place`] booked for the same choice and task. Packages stay on the machine.
    ///
    /// # Errors
    /// When the machine does not hold that much; nothing is changed then.
    pub fn release(&mut self, choice: Choice, task: &Task) -> Result<(), Misfit> {
        let (node, shape) = (choice.node, &task.shape);
        let at = self.position(node)?;
        let held = |capacity: u64, free: u64, amount: u64| amount <= capacity - free;
        let units = shape.gpu.units();
        let gpu_held = |number: usize| {
            number < usize::from(self.gpus[at]) && units <= GPU_UNITS - self.gpu_free[at][number].min(GPU_UNITS)
        };
        let band = usize::from(!task.is_production);
        let in_domain = (task.job, self.domain[at]);
        let is_held = held(self.cpu_capacity[at], self.cpu_free[at], shape.cpu_milli)
            && held(self.mem_capacity[at], self.mem_free[at], shape.mem_mib)
            && choice.gpus.count() == shape.gpu.count()
            && choice.gpus.numbers().all(gpu_held)
            && shape.gpu.kind().is_none_or(|kind| self.kinds[at][kind] > 0)
            && self.bands[at][band] > 0
            && (task.job == 0 || self.spread.contains_key(&in_domain));
        if !is_held {
            return Err(Misfit::NotHeld(node));
        }
        self.cpu_free[at] += shape.cpu_milli;
        self.mem_free[at] += shape.mem_mib;
        choice.gpus.numbers().for_each(|number| self.gpu_free[at][number] += units);
        if let Some(kind) = shape.gpu.kind() {
            self.kinds[at][kind] -= 1;
        }
        self.bands[at][band] -= 1;
        if task.job != 0 {
            count_down(&mut self.spread, in_domain);
            count_down(&mut self.jobs, task.job);
        }
        self.changed(node);
        Ok(())
    }

    /// Tasks of a job in the failure domain of a machine, and in the whole cluster.
    pub(super) fn spread(&self, job: u32, node: NodeIndex) -> (u32, u32) {
        let here = self.spread.get(&(job, self.domain[node.0 as usize])).copied().unwrap_or(0);
        (here, self.jobs.get(&job).copied().unwrap_or(0))
    }

    /// Raised when machines are added: what was computed of all machines is stale then.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    fn position(&self, node: NodeIndex) -> Result<usize, Misfit> {
        let at = node.0 as usize;
        if at < self.len() { Ok(at) } else { Err(Misfit::UnknownNode(node)) }
    }

    fn changed(&mut self, node: NodeIndex) {
        let at = node.0 as usize;
        let free = &self.gpu_free[at];
        self.gpu_units_free[at] = free.iter().map(|&units| u32::from(units)).sum();
        self.gpu_largest[at] = free.iter().copied().fold(0, u16::max);
        self.gpus_idle[at] = free.iter().map(|&units| u8::from(units == GPU_UNITS)).sum();
        self.log.write(node);
    }
}

fn count_down<K: core::hash::Hash + Eq>(table: &mut Table<K, u32>, key: K) {
    if let Some(count) = table.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            table.swap_remove(&key);
        }
    }
}

/// One machine of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    index: NodeIndex,
}

impl<'a> Node<'a> {
    /// Which one.
    pub fn index(self) -> NodeIndex {
        self.index
    }

    fn at(self) -> usize {
        self.index.0 as usize
    }

    /// Thousandths of a core that it has.
    pub fn cpu_capacity(self) -> u64 {
        self.cluster.cpu_capacity[self.at()]
    }

    /// Thousandths of a core that are free.
    pub fn cpu_free(self) -> u64 {
        self.cluster.cpu_free[self.at()]
    }

    /// MiB that it has.
    pub fn mem_capacity(self) -> u64 {
        self.cluster.mem_capacity[self.at()]
    }

    /// MiB that are free.
    pub fn mem_free(self) -> u64 {
        self.cluster.mem_free[self.at()]
    }

    /// GPUs that it has.
    pub fn gpus(self) -> usize {
        usize::from(self.cluster.gpus[self.at()])
    }

    /// Thousandths of all its GPUs.
    pub fn gpu_units_capacity(self) -> u64 {
        self.gpus() as u64 * u64::from(GPU_UNITS)
    }

    /// Thousandths of GPUs that are free.
    pub fn gpu_units_free(self) -> u64 {
        u64::from(self.cluster.gpu_units_free[self.at()])
    }

    /// What is free of each GPU, by its number.
    pub fn gpu_free(self) -> &'a [u16] {
        &self.cluster.gpu_free[self.at()][..self.gpus()]
    }

    /// GPUs that are completely free.
    pub fn gpus_idle(self) -> usize {
        usize::from(self.cluster.gpus_idle[self.at()])
    }

    /// The type of its GPUs.
    pub fn gpu_type(self) -> GpuType {
        self.cluster.gpu_type[self.at()]
    }

    /// Whether new tasks may come.
    pub fn is_open(self) -> bool {
        self.cluster.is_open[self.at()]
    }

    /// Packages that were installed on it.
    pub(super) fn packages(self) -> u64 {
        self.cluster.packages[self.at()]
    }

    /// Tasks on it: of production bands, and others.
    pub(super) fn bands(self) -> [u32; 2] {
        self.cluster.bands[self.at()]
    }

    /// GPU tasks on it by their kind.
    pub(super) fn kinds(self) -> &'a [u16; KINDS] {
        &self.cluster.kinds[self.at()]
    }

    /// Whether a task of this shape fits now: the machine is open, of an accepted type, and has CPU, memory and GPUs.
    pub fn admits(self, shape: &Shape) -> bool {
        let (cluster, at) = (self.cluster, self.at());
        let gpus_fit = match shape.gpu {
            GpuDemand::None => true,
            GpuDemand::Part(units) => cluster.gpus[at] > 0 && cluster.gpu_largest[at] >= units,
            GpuDemand::Whole(count) => cluster.gpus_idle[at] >= count,
        };
        gpus_fit
            && cluster.cpu_free[at] >= shape.cpu_milli
            && cluster.mem_free[at] >= shape.mem_mib
            && cluster.is_open[at]
            && shape.types.accepts(cluster.gpu_type[at])
    }

    /// The GPUs that a task of this shape takes unless a policy says otherwise: for a part the least free one that fits,
    /// for whole ones the idle ones of the lowest numbers.
    pub(super) fn tightest(self, shape: &Shape) -> GpuSet {
        match shape.gpu {
            GpuDemand::None => GpuSet::default(),
            GpuDemand::Part(units) => {
                let fitting = self.gpu_free().iter().enumerate().filter(|(_, free)| **free >= units);
                let least = fitting.min_by_key(|&(number, &free)| (free, number));
                least.map_or(GpuSet::default(), |(number, _)| GpuSet::one(number))
            }
            GpuDemand::Whole(count) => {
                let idle = self.gpu_free().iter().enumerate().filter(|(_, free)| **free == GPU_UNITS);
                GpuSet(idle.take(usize::from(count)).fold(0, |bits, (number, _)| bits | 1 << number))
            }
        }
    }
}
