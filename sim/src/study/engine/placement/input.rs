//! Machines and tasks for placement: those of the scenario, with GPU types by number and demands as the placements take them.

use super::super::input::{self, Left};
use crate::study::error::Error;
use crate::study::scenario::Settings;
use crate::workload::model::{Node, Task};
use kaon_actors::allocator::direct::{GPU_TYPES_MAX, GPUS_MAX, GpuDemand, GpuType, GpuTypes, NodeSpec, Shape};
use std::path::Path;

/// A task that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) shape: Shape,
}

/// GPU types by name, numbered in the order in which they come up.
#[derive(Clone, Debug, Default)]
pub(super) struct Types(Vec<String>);

impl Types {
    fn of(&mut self, name: &str) -> Result<GpuType, Error> {
        let at = self.0.iter().position(|one| one == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        let number = u8::try_from(at).ok().filter(|number| *number < GPU_TYPES_MAX);
        number.map(GpuType).ok_or_else(|| Error::Unfit(format!("more than {GPU_TYPES_MAX} types of GPU")))
    }
}

fn node(node: &Node, types: &mut Types) -> Result<NodeSpec, Error> {
    let gpus = u8::try_from(node.gpus).ok().filter(|gpus| usize::from(*gpus) <= GPUS_MAX);
    let gpus = gpus
        .ok_or_else(|| Error::Unfit(format!("machine {} has {} GPUs, the most is {GPUS_MAX}", node.name, node.gpus)))?;
    let gpu_type = if gpus == 0 { GpuType::default() } else { types.of(&node.gpu_type)? };
    Ok(NodeSpec { cpu_milli: node.cpus_milli, mem_mib: node.mem_mib, gpus, gpu_type, domain: 0 })
}

fn pod(task: &Task, types: &mut Types) -> Result<Pod, Error> {
    let wrong = |why: String| Error::Unfit(format!("task {}: {why}", task.job));
    let count = u8::try_from(task.gpus).map_err(|_| wrong(format!("{} GPUs", task.gpus)))?;
    let units = u16::try_from(task.gpu_milli).map_err(|_| wrong(format!("{} thousandths", task.gpu_milli)))?;
    let gpu = GpuDemand::request(count, units).map_err(|error| wrong(error.to_string()))?;
    let accepted = task.gpu_types.iter().map(|name| types.of(name)).collect::<Result<Vec<_>, _>>()?;
    let types = GpuTypes::of(&accepted);
    Ok(Pod { shape: Shape { cpu_milli: task.cpus_milli, mem_mib: task.mem_mib, gpu, types } })
}

/// The machines of a scenario.
pub(super) fn read_nodes(settings: &Settings, types: &mut Types, left: &mut Left) -> Result<Vec<NodeSpec>, Error> {
    input::nodes(settings, left)?.iter().map(|one| node(one, types)).collect()
}

/// The tasks of a scenario.
pub(super) fn read_pods(settings: &Settings, types: &mut Types, left: &mut Left) -> Result<Vec<Pod>, Error> {
    let path = settings.path("workload.tasks").unwrap_or(Path::new(""));
    input::tasks(path, settings, left)?.iter().map(|task| pod(task, types)).collect()
}
