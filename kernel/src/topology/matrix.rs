//! Matrices between parts and devices, and the groups of GPUs that fast links make.

use super::{Device, DeviceKind};
use crate::resource::Ranges;
use crate::topology::set;
use rkyv::{Archive, Deserialize, Serialize};

/// What the values of a matrix mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum MatrixKind {
    /// Smaller is nearer. Relative numbers, 10 for a NUMA node to itself (ACPI SLIT).
    Latency,
    /// Larger is nearer, zero is no link. MB/s.
    Bandwidth,
    /// Something else, such as a number of hops.
    Other,
}

/// What a row and a column of a matrix stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum MatrixObject {
    /// A NUMA node, by its number.
    NumaNode(u32),
    /// A device, by its place among the devices of the topology.
    Device(u32),
    /// A port of a switch between GPUs.
    Switch,
    /// A package, by its number at the operating system.
    Package(u32),
    /// Anything else.
    Other,
}

/// Distances or bandwidths between objects.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Matrix {
    /// Such as `NUMALatency` or `NVLinkBandwidth`.
    pub name: String,
    /// What its values mean.
    pub kind: MatrixKind,
    /// The objects of its rows and columns.
    pub objects: Vec<MatrixObject>,
    /// Row by row: from the row's object to the column's.
    pub values: Vec<u64>,
}

impl Matrix {
    /// The value from one object to another, by their places in it.
    pub fn value(&self, from: usize, to: usize) -> Option<u64> {
        (from < self.objects.len() && to < self.objects.len())
            .then(|| self.values.get(from * self.objects.len() + to).copied())
            .flatten()
    }

    pub(super) fn fits(&self, nodes: &Ranges, devices: usize) -> bool {
        let is_there = |object: &MatrixObject| match *object {
            MatrixObject::NumaNode(number) => nodes.contains(&set([u64::from(number)])),
            MatrixObject::Device(place) => (place as usize) < devices,
            MatrixObject::Switch | MatrixObject::Package(_) | MatrixObject::Other => true,
        };
        self.objects.len().checked_mul(self.objects.len()) == Some(self.values.len())
            && self.objects.iter().all(is_there)
    }
}

/// Gives GPUs their link groups: those that a bandwidth matrix connects, one to the other or over switches. All ports of
/// switches count as one switch, since a matrix does not show what connects them (NVIDIA's baseboards do). A way over a
/// processor makes no group. Groups count from zero in the order of their first GPU; a GPU without links has none.
pub(super) fn group(devices: &mut [Device], matrices: &[Matrix]) {
    // The place after the last device stands for the switches.
    let switch = devices.len();
    let mut leader: Vec<usize> = (0..=switch).collect();
    for matrix in matrices.iter().filter(|matrix| matrix.kind == MatrixKind::Bandwidth) {
        let place = |object: &MatrixObject| match *object {
            MatrixObject::Device(place) if devices[place as usize].kind == DeviceKind::Gpu => Some(place as usize),
            MatrixObject::Switch => Some(switch),
            _ => None,
        };
        let places: Vec<Option<usize>> = matrix.objects.iter().map(place).collect();
        for (row, from) in places.iter().enumerate() {
            for (column, to) in places.iter().enumerate() {
                if let (Some(from), Some(to)) = (from, to)
                    && from != to
                    && matrix.value(row, column).is_some_and(|value| value > 0)
                {
                    let (from, to) = (find(&mut leader, *from), find(&mut leader, *to));
                    leader[from.max(to)] = from.min(to);
                }
            }
        }
    }
    let leaders: Vec<usize> = (0..devices.len()).map(|place| find(&mut leader, place)).collect();
    let mut named: Vec<(usize, u32)> = Vec::new();
    for place in 0..devices.len() {
        let alone = leaders.iter().filter(|other| **other == leaders[place]).count() < 2;
        let known = named.iter().find(|(leader, _)| *leader == leaders[place]).map(|(_, group)| *group);
        devices[place].link_group = match known {
            _ if alone => None,
            Some(group) => Some(group),
            None => {
                let group = u32::try_from(named.len()).unwrap_or(u32::MAX);
                named.push((leaders[place], group));
                Some(group)
            }
        };
    }
}

fn find(leader: &mut [usize], mut at: usize) -> usize {
    while leader[at] != at {
        leader[at] = leader[leader[at]];
        at = leader[at];
    }
    at
}
