//! A topology for people: counts, memory, caches, devices, matrices.

use super::{Device, DeviceKind, Matrix, MatrixKind, MatrixObject, PartKind, Topology};
use core::fmt;

/// A size in the largest unit that leaves at least one, with one decimal where it is not whole; `unknown` for zero.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        if self.0 == 0 {
            return formatter.write_str("unknown");
        }
        let Some((shift, unit)) = UNITS.into_iter().find(|(shift, _)| self.0 >> shift > 0) else {
            return write!(formatter, "{} B", self.0);
        };
        let whole = self.0 >> shift;
        // The first decimal, cut.
        let tenths = (u128::from(self.0 - (whole << shift)) * 10) >> shift;
        match tenths {
            0 => write!(formatter, "{whole} {unit}"),
            _ => write!(formatter, "{whole}.{tenths} {unit}"),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gpu => "GPU",
            Self::Network => "network",
            Self::Fabric => "fabric",
            Self::Disk => "disk",
        })
    }
}

impl fmt::Display for MatrixKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Latency => "latency",
            Self::Bandwidth => "bandwidth, MB/s",
            Self::Other => "relation",
        })
    }
}

/// The lines of `kaon topology`.
impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("packages", PartKind::Package),
            ("NUMA nodes", PartKind::NumaNode),
            ("L3 groups", PartKind::L3Group),
            ("cores", PartKind::Core),
            ("processing units", PartKind::ProcessingUnit),
        ];
        for (word, kind) in kinds {
            writeln!(formatter, "{word:<18}{}", self.count(kind))?;
        }
        let count = |kind| self.devices.iter().filter(|device| device.kind == kind).count();
        writeln!(formatter, "{:<18}{}", "GPUs", count(DeviceKind::Gpu))?;
        writeln!(formatter, "{:<18}{}", "memory", Size(self.memory_bytes))?;
        for part in self.all(PartKind::NumaNode) {
            let Some(memory) = part.memory else { continue };
            let number = part.number.unwrap_or_default();
            write!(formatter, "node {number:<5} {:<4} {:>10}", memory.kind.name(), Size(memory.bytes).to_string())?;
            if memory.side_cache_bytes > 0 {
                write!(formatter, ", cached by {}", Size(memory.side_cache_bytes))?;
            }
            writeln!(formatter, ", near {} units {}", part.units.count(), part.units)?;
        }
        let groups: Vec<u64> = self.all(PartKind::L3Group).map(|part| part.units.count()).collect();
        if let (Some(least), Some(most)) = (groups.iter().min(), groups.iter().max()) {
            writeln!(formatter, "units in an L3 group: {least} to {most}")?;
        }
        for device in &self.devices {
            write_device(device, formatter)?;
        }
        self.matrices.iter().try_for_each(|matrix| write_matrix(matrix, &self.devices, formatter))
    }
}

fn write_device(device: &Device, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(formatter, "{} {}", device.kind, device.name)?;
    if let Some(pci) = device.pci.filter(|pci| device.name != pci.to_string()) {
        write!(formatter, " at {pci}")?;
    }
    for text in [&device.vendor, &device.model].into_iter().flatten() {
        write!(formatter, ", {text}")?;
    }
    if device.memory_bytes > 0 {
        write!(formatter, ", {}", Size(device.memory_bytes))?;
    }
    if let Some(node) = device.numa_node {
        write!(formatter, ", node {node}")?;
    }
    write!(formatter, ", near units {}", device.units)?;
    if let Some(group) = device.link_group {
        write!(formatter, ", link group {group}")?;
    }
    if let Some(uuid) = &device.uuid {
        write!(formatter, ", {uuid}")?;
    }
    writeln!(formatter)
}

fn write_matrix(matrix: &Matrix, devices: &[Device], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(formatter, "{} ({})", matrix.name, matrix.kind)?;
    let name = |object: &MatrixObject| match *object {
        MatrixObject::NumaNode(number) => format!("node {number}"),
        MatrixObject::Device(place) => devices.get(place as usize).map_or_else(String::new, |one| one.name.clone()),
        MatrixObject::Switch => "switch".to_owned(),
        MatrixObject::Package(number) => format!("package {number}"),
        MatrixObject::Other => "other".to_owned(),
    };
    for (row, object) in matrix.objects.iter().enumerate() {
        write!(formatter, "  {:<12}", name(object))?;
        for column in 0..matrix.objects.len() {
            write!(formatter, " {:>5}", matrix.value(row, column).unwrap_or_default())?;
        }
        writeln!(formatter)?;
    }
    Ok(())
}
