//! Machines and tasks for placement: lists in the columns of openb, or groups in the scenario.

use crate::study::error::Error;
use crate::study::scenario::Settings;
use crate::workload::rows::{Fault, Fields, Format, Rows, Split, Strictness};
use kaon_actors::allocator::direct::{GPU_TYPES_MAX, GPUS_MAX, GpuDemand, GpuType, GpuTypes, NodeSpec, Shape};
use std::path::Path;

/// The most machines that groups make.
const NODES_MAX: u64 = 1_000_000;
/// The largest amount of one resource in a list: far from where sums end.
const AMOUNT_MAX: u64 = 1 << 40;

/// A task that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) shape: Shape,
}

/// GPU types by name, numbered in the order in which they come up.
#[derive(Clone, Debug, Default)]
pub(super) struct Types(Vec<String>);

impl Types {
    fn of(&mut self, name: &str) -> Result<GpuType, Fault> {
        let at = self.0.iter().position(|one| one == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        let number = u8::try_from(at).ok().filter(|number| *number < GPU_TYPES_MAX);
        number.map(GpuType).ok_or_else(|| Fault::Unsound(format!("more than {GPU_TYPES_MAX} types of GPU")))
    }
}

struct Nodes<'a>(&'a mut Types);

impl Format for Nodes<'_> {
    type Row = NodeSpec;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("cpu_milli", true), ("memory_mib", true), ("gpu", true), ("model", false)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<NodeSpec>, Fault> {
        let gpus = fields.unsigned(2, GPUS_MAX as u64)? as u8;
        let gpu_type = if gpus == 0 { GpuType::default() } else { self.0.of(fields.text(3))? };
        let (cpu_milli, mem_mib) = (fields.unsigned(0, AMOUNT_MAX)?, fields.unsigned(1, AMOUNT_MAX)?);
        Ok(Some(NodeSpec { cpu_milli, mem_mib, gpus, gpu_type, domain: 0 }))
    }
}

struct Pods<'a>(&'a mut Types);

impl Format for Pods<'_> {
    type Row = Pod;

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("cpu_milli", true), ("memory_mib", true), ("num_gpu", true), ("gpu_milli", true), ("gpu_spec", false)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Pod>, Fault> {
        let (count, units) = (fields.unsigned(2, GPUS_MAX as u64)? as u8, fields.unsigned(3, 1000)? as u16);
        let gpu = GpuDemand::request(count, units).map_err(|error| Fault::Unsound(error.to_string()))?;
        let names = fields.text(4).split('|').filter(|name| !name.is_empty());
        let types = names.map(|name| self.0.of(name)).collect::<Result<Vec<_>, _>>()?;
        let (cpu_milli, mem_mib) = (fields.unsigned(0, AMOUNT_MAX)?, fields.unsigned(1, AMOUNT_MAX)?);
        Ok(Some(Pod { shape: Shape { cpu_milli, mem_mib, gpu, types: GpuTypes::of(&types) } }))
    }
}

fn read<F: Format>(path: &Path, format: F) -> Result<Vec<F::Row>, Error> {
    let rows = Rows::open(path, format, Strictness::Strict).and_then(Rows::collect_all);
    rows.map(|(rows, _, _)| rows).map_err(|error| Error::Unfit(error.to_string()))
}

/// The machines of a scenario.
pub(super) fn read_nodes(settings: &Settings, types: &mut Types) -> Result<Vec<NodeSpec>, Error> {
    let groups = settings.rows("cluster.group");
    let mut nodes = match settings.path("cluster.nodes") {
        Some(path) => read(path, Nodes(types))?,
        None if groups.is_empty() => {
            return Err(Error::Unfit(
                "no machines: name a list with 'cluster.nodes' or groups with [[cluster.group]]".into(),
            ));
        }
        None => Vec::new(),
    };
    for group in groups {
        let gpus = group.count("gpus") as u8;
        let gpu_type = match types.of(group.text("gpu_type")) {
            Ok(gpu_type) => gpu_type,
            Err(fault) => return Err(Error::Unfit(fault.to_string())),
        };
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
    let pods = read(path, Pods(types))?;
    if pods.is_empty() { Err(Error::Input { path: path.to_owned(), why: "no task".to_owned() }) } else { Ok(pods) }
}
