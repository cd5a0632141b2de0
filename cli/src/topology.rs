//! `kaon topology`: the hardware of a machine, as agents see it.

use crate::arguments::Topology as Options;
use crate::table::say;
use anyhow::{Context, Result};
use kaon_isolators::containers::Executable;
use kaon_isolators::topology::{apart, discover};
use kaon_kernel::resource::Ranges;
use kaon_kernel::topology::{Device, Matrix, MatrixObject, Part, PartKind, Topology};
use serde_json::{Value, json};

/// Prints the topology that is asked for.
///
/// # Errors
/// A source that can't be read, with the reason.
pub(crate) fn show(options: &Options) -> Result<()> {
    let topology = match (&options.file, &options.synthetic) {
        (Some(file), _) => apart::xml(file, &Executable::current()?).with_context(|| file.display().to_string())?,
        (None, Some(text)) => apart::synthetic(text, &Executable::current()?).with_context(|| text.clone())?,
        (None, None) => discover()?,
    };
    match options.json {
        true => say(as_json(&topology))?,
        // Names come from a file that anybody may have written.
        false => {
            let visible =
                |character: char| if character.is_control() && character != '\n' { '\u{fffd}' } else { character };
            say(topology.to_string().trim_end().chars().map(visible).collect::<String>())?;
        }
    }
    Ok(())
}

fn as_json(topology: &Topology) -> Value {
    json!({
        "packages": topology.count(PartKind::Package),
        "l3_groups": topology.count(PartKind::L3Group),
        "cores": topology.count(PartKind::Core),
        "processing_units": topology.count(PartKind::ProcessingUnit),
        "memory_bytes": topology.memory_bytes(),
        "numa_nodes": topology.all(PartKind::NumaNode).map(node).collect::<Vec<_>>(),
        "devices": topology.devices().iter().map(device).collect::<Vec<_>>(),
        "distances": topology.matrices().iter().map(|matrix| distances(matrix, topology)).collect::<Vec<_>>(),
    })
}

fn node(part: &Part) -> Value {
    let memory = part.memory;
    json!({
        "number": part.number,
        "kind": memory.map(|memory| memory.kind.name()),
        "bytes": memory.map(|memory| memory.bytes),
        "side_cache_bytes": memory.map(|memory| memory.side_cache_bytes),
        "units": units(&part.units),
    })
}

fn device(device: &Device) -> Value {
    json!({
        "kind": device.kind.to_string(),
        "id": device.id(),
        "name": device.name,
        "pci": device.pci.map(|pci| pci.to_string()),
        "vendor": device.vendor,
        "model": device.model,
        "memory_bytes": device.memory_bytes,
        "numa_node": device.numa_node,
        "units": units(&device.units),
        "link_group": device.link_group,
    })
}

fn distances(matrix: &Matrix, topology: &Topology) -> Value {
    let name = |object: &MatrixObject| match *object {
        MatrixObject::NumaNode(number) => format!("node {number}"),
        MatrixObject::Device(place) => topology.devices()[place as usize].name.clone(),
        MatrixObject::Switch => "switch".to_owned(),
        MatrixObject::Package(number) => format!("package {number}"),
        MatrixObject::Other => "other".to_owned(),
    };
    let rows: Vec<&[u64]> = matrix.values.chunks(matrix.objects.len().max(1)).collect();
    json!({
        "name": matrix.name,
        "means": matrix.kind.to_string(),
        "objects": matrix.objects.iter().map(name).collect::<Vec<_>>(),
        "values": rows,
    })
}

fn units(units: &Ranges) -> Vec<[u64; 2]> {
    units.iter().map(|(begin, end)| [begin, end]).collect()
}
