//! Machines and tasks for placement: lists in the columns of openb, or groups in the scenario.

use crate::study::error::Error;
use crate::study::scenario::Settings;
use crate::workload::model::{Node, Task};
use crate::workload::openb;
use crate::workload::rows::{Format, Rows, Strictness};
use kaon_actors::allocator::direct::{GPU_TYPES_MAX, GPUS_MAX, GpuDemand, GpuType, GpuTypes, NodeSpec, Shape};
use std::path::Path;

/// The most machines that groups make.
const NODES_MAX: u64 = 1_000_000;

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

fn read<F: Format>(path: &Path, format: F) -> Result<Vec<F::Row>, Error> {
    let rows = Rows::open(path, format, Strictness::Strict).and_then(Rows::collect_all);
    rows.map(|(rows, _, _)| rows).map_err(|error| Error::Unfit(error.to_string()))
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
pub(super) fn read_nodes(settings: &Settings, types: &mut Types) -> Result<Vec<NodeSpec>, Error> {
    let groups = settings.rows("cluster.group");
    let mut nodes = match settings.path("cluster.nodes") {
        Some(path) => {
            let listed = read(path, openb::Nodes)?;
            listed.iter().map(|one| node(one, types)).collect::<Result<Vec<_>, _>>()?
        }
        None if groups.is_empty() => {
            return Err(Error::Unfit(
                "no machines: name a list with 'cluster.nodes' or groups with [[cluster.group]]".into(),
            ));
        }
        None => Vec::new(),
    };
    for group in groups {
        let gpus = group.count("gpus") as u8;
        let gpu_type = types.of(group.text("gpu_type"))?;
        let cpu_milli = (group.number("cpus") * 1000.0).round() as u64;
        let spec = NodeSpec { cpu_milli, mem_mib: group.mebibytes("memory"), gpus, gpu_type, domain: 0 };
        if nodes.len() as u64 + group.count("count") > NODES_MAX {
            return Err(Error::Unfit(format!("more than {NODES_MAX} machines")));
        }
        nodes.extend((0..group.count("count")).map(|_| spec));
    }
    Ok(nodes)
}

/// The tasks of a scenario.
pub(super) fn read_pods(settings: &Settings, types: &mut Types) -> Result<Vec<Pod>, Error> {
    let path = settings.path("workload.tasks").unwrap_or(Path::new(""));
    let tasks = read(path, openb::Pods::default())?;
    let pods = tasks.iter().map(|task| pod(task, types)).collect::<Result<Vec<_>, _>>()?;
    if pods.is_empty() { Err(Error::Input { path: path.to_owned(), why: "no task".to_owned() }) } else { Ok(pods) }
}
