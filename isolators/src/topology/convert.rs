//! From hwloc's tree to the value that the rest of Kaon knows.

use super::device;
use super::tree::{Kind, Node, RawMatrix};
use kaon_kernel::topology::{
    MATRIX_VALUES_MAX, Matrix, MatrixKind, MatrixObject, Memory, MemoryKind, Part, PartKind, TEXT_BYTES_MAX, Topology,
    TopologyError,
};
use std::collections::BTreeMap;

/// `HWLOC_DISTANCES_KIND_MEANS_LATENCY`.
const MEANS_LATENCY: u64 = 1 << 2;
/// `HWLOC_DISTANCES_KIND_MEANS_BANDWIDTH`.
const MEANS_BANDWIDTH: u64 = 1 << 3;

/// The subtype that hwloc gives to ports of NVIDIA's switches.
const SWITCH: &str = "NVSwitch";

/// The value of a tree. Matrices that are too large for one are left out.
pub(super) fn topology(machine: &Node, matrices: Vec<RawMatrix>) -> Result<Topology, TopologyError> {
    let mut parts = Vec::new();
    add(machine, 0, 0, &mut parts);
    let mut objects = BTreeMap::new();
    for node in machine.walk() {
        let object = match (node.kind, node.os_index) {
            (Kind::NumaNode, Some(number)) => MatrixObject::NumaNode(number),
            (Kind::Package, Some(number)) => MatrixObject::Package(number),
            _ if node.subtype.as_deref() == Some(SWITCH) => MatrixObject::Switch,
            _ => continue,
        };
        objects.insert(node.id, object);
    }
    let mut devices = Vec::new();
    for (place, (device, ids)) in (0..).zip(device::devices(machine)) {
        objects.extend(ids.into_iter().map(|id| (id, MatrixObject::Device(place))));
        devices.push(device);
    }
    let mut room = MATRIX_VALUES_MAX;
    let mut taken = Vec::new();
    for matrix in matrices {
        match room.checked_sub(matrix.values.len()) {
            Some(rest) => room = rest,
            None => {
                tracing::warn!(
                    name = matrix.name,
                    objects = matrix.objects.len(),
                    "a matrix is too large and left out"
                );
                continue;
            }
        }
        let object = |id: &Option<u64>| id.and_then(|id| objects.get(&id).copied()).unwrap_or(MatrixObject::Other);
        taken.push(Matrix {
            name: short(&matrix.name),
            kind: match matrix.kind {
                kind if kind & MEANS_LATENCY != 0 => MatrixKind::Latency,
                kind if kind & MEANS_BANDWIDTH != 0 => MatrixKind::Bandwidth,
                _ => MatrixKind::Other,
            },
            objects: matrix.objects.iter().map(object).collect(),
            values: matrix.values,
        });
    }
    Topology::new(parts, devices, taken)
}

/// Adds a node and what is below it to the parts, in the order of the tree. What is no part is passed through.
fn add(node: &Node, parent: u32, side_cache_bytes: u64, parts: &mut Vec<Part>) {
    let kind = match node.kind {
        Kind::Machine => Some(PartKind::Machine),
        Kind::Package => Some(PartKind::Package),
        Kind::Die => Some(PartKind::Die),
        Kind::Group => Some(PartKind::Group),
        Kind::NumaNode => Some(PartKind::NumaNode),
        Kind::Cache(3) => Some(PartKind::L3Group),
        Kind::Core => Some(PartKind::Core),
        Kind::ProcessingUnit => Some(PartKind::ProcessingUnit),
        Kind::Cache(_) | Kind::MemoryCache => None,
        Kind::Bridge | Kind::Pci(_) | Kind::Os(_) | Kind::Other => return,
    };
    let mut inner = parent;
    if let Some(kind) = kind {
        inner = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let memory = (kind == PartKind::NumaNode).then(|| Memory {
            kind: memory_kind(node),
            bytes: node.bytes,
            side_cache_bytes,
        });
        parts.push(Part { kind, parent, number: node.os_index, units: node.cpus.clone(), memory });
    }
    let cached = if node.kind == Kind::MemoryCache { node.bytes } else { side_cache_bytes };
    node.children.iter().for_each(|child| add(child, inner, cached, parts));
}

/// hwloc's words for kinds of memory: the subtype, in older files a remark of the DAX device that it was.
fn memory_kind(node: &Node) -> MemoryKind {
    match node.subtype.as_deref().or_else(|| node.info("DAXType")) {
        Some("HBM" | "MCDRAM") => MemoryKind::HighBandwidth,
        Some("GPUMemory") => MemoryKind::Gpu,
        Some("NVM") => MemoryKind::NonVolatile,
        Some("SPM") => MemoryKind::SpecialPurpose,
        Some(word) if word.starts_with("CXL") => MemoryKind::Cxl,
        _ => MemoryKind::Dram,
    }
}

/// A text cut to what a topology takes.
pub(super) fn short(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}
