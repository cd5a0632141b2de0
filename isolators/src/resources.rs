//! What a machine shares out: found by looking, changed by what the operator says (reference 10).
//!
//! A name that the `--resources` flag mentions is taken from it, with whatever it says there (a zero or an empty range
//! switches it off); the first-class names that it does not mention are found: `cpus` from the processing units, `mem`
//! from the memory, `disk` from the file system of the work directory, `ports` a fixed range, `gpus` by counting those
//! that a driver names. A GPU without a driver is no use to a task; an operator who knows better says `gpus:N`.

use kaon_kernel::agent::{Attribute, AttributeValue};
use kaon_kernel::id::RoleName;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::parse::Said;
use kaon_kernel::resource::{Ranges, Reservation, Resource, ResourceName, Resources, ResourcesError, Value, role};
use kaon_kernel::topology::{MemoryKind, PartKind, Topology};
use std::io;
use std::path::Path;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// The ports that a machine shares out unless told otherwise (Mesos's default).
pub const PORTS_DEFAULT: (u64, u64) = (31_000, 32_000);

/// Mesos's figures where nothing can be found: 1 cpu, 1 GiB of memory, 10 GiB of disk.
const CPUS_FALLBACK: u64 = 1;
const MEMORY_FALLBACK_BYTES: u64 = GIB;
const DISK_FALLBACK_BYTES: u64 = 10 * GIB;

/// The resources that are found on a machine: all its processing units as `cpus`; its memory without 1 GiB, or half of it
/// below 2 GiB; the disk (size of the file system in bytes, zero when unknown) without 5 GiB, or half of it below
/// 10 GiB; GPUs with a driver; and [`PORTS_DEFAULT`]. Memory and disk in whole MiB.
pub fn auto_detect(topology: &Topology, disk_bytes: u64) -> Resources {
    let cpus = match topology.count(PartKind::ProcessingUnit) as u64 {
        0 => CPUS_FALLBACK,
        units => units,
    };
    let memory = left_for_others(topology.memory_bytes(), GIB, 2 * GIB, MEMORY_FALLBACK_BYTES);
    let disk = left_for_others(disk_bytes, 5 * GIB, 10 * GIB, DISK_FALLBACK_BYTES);
    let scalar = |name, value| Resource::scalar(name, Quantity::units(value));
    let ports = Ranges::new(vec![PORTS_DEFAULT]).expect("one range overlaps nothing");
    let found = [
        scalar(ResourceName::Cpus, cpus),
        scalar(ResourceName::Mem, memory / MIB),
        scalar(ResourceName::Disk, disk / MIB),
        scalar(ResourceName::Gpus, topology.gpus().filter(|gpu| gpu.has_driver).count() as u64),
        Resource { name: ResourceName::Ports, identity: None, value: Value::Ranges(ports) },
    ];
    let there = found.into_iter().filter(|entry| !entry.value.is_empty());
    Resources::collect(there).expect("five names, each once")
}

/// What tasks may have of `total`: all but `kept`, or half when there is less than `plenty`.
fn left_for_others(total: u64, kept: u64, plenty: u64, fallback: u64) -> u64 {
    match total {
        0 => fallback,
        total if total >= plenty => total - kept,
        total => total / 2,
    }
}

/// The resources of a machine: what the operator says, and what is found for the first-class names (`cpus`, `mem`, `disk`,
/// `ports`, `gpus`) that are not mentioned, under whatever role. What is reserved to nobody then becomes a static reservation of
/// `default_role`, unless that is `*`.
///
/// # Errors
/// When two entries that were under `*` and under the default role do not add up.
pub fn machine(
    said: &Said,
    default_role: &RoleName,
    topology: &Topology,
    disk_bytes: u64,
) -> Result<Resources, ResourcesError> {
    let mut resources = said.resources.clone();
    resources.add(&auto_detect(topology, disk_bytes).filter(|entry| !said.names.contains(&entry.name)))?;
    if default_role.as_str() == role::DEFAULT {
        return Ok(resources);
    }
    let reserved = resources.iter().cloned().map(|mut entry| {
        if entry.reservation_role().is_none() {
            let reservation =
                Reservation { dynamic: false, role: default_role.clone(), principal: None, labels: Vec::new() };
            entry.identity.get_or_insert_default().reservations.push(reservation);
        }
        entry
    });
    Resources::collect(reserved)
}

/// The size of the file system that holds a directory, in bytes (`statvfs(3)`). Blocks when the file system does.
pub fn disk_bytes(directory: &Path) -> io::Result<u64> {
    let status = nix::sys::statvfs::statvfs(directory)?;
    Ok(status.blocks().saturating_mul(status.fragment_size()))
}

/// What frameworks may choose by, of the topology: `packages`, `numa_nodes` (those with processing units; memory of
/// devices does not count) and `cores` as numbers. One that is unknown is left out.
pub fn attributes(topology: &Topology) -> Vec<Attribute> {
    let numa_nodes = topology.all(PartKind::NumaNode).filter(|node| {
        let is_memory = node.memory.is_some_and(|memory| memory.kind != MemoryKind::Gpu);
        is_memory && !node.units.is_empty()
    });
    let numa_nodes = numa_nodes.count();
    let counts = [
        ("packages", topology.count(PartKind::Package)),
        ("numa_nodes", numa_nodes),
        ("cores", topology.count(PartKind::Core)),
    ];
    let known = counts.into_iter().filter(|(_, count)| *count > 0);
    let attribute = |(name, count): (&str, usize)| Attribute {
        name: name.to_owned(),
        value: AttributeValue::Scalar(Quantity::units(count as u64)),
    };
    known.map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::topology::Uniform;

    fn topology(memory_bytes: u64) -> Topology {
        let topology = crate::topology::from_synthetic("pack:2 [numa(memory=4GiB)] core:4 pu:2").unwrap();
        topology.with_memory_bytes(memory_bytes)
    }

    #[test]
    fn the_rules_of_mesos() {
        let found = |memory, disk| auto_detect(&topology(memory), disk).to_string();
        assert_eq!(found(8 * GIB, 100 * GIB), "cpus:16; mem:7168; disk:97280; ports:[31000-32000]");
        assert_eq!(found(2 * GIB, 10 * GIB), "cpus:16; mem:1024; disk:5120; ports:[31000-32000]");
        assert_eq!(found(2 * GIB - 1, 10 * GIB - 1), "cpus:16; mem:1023; disk:5119; ports:[31000-32000]");
        assert_eq!(found(0, 0), "cpus:16; mem:1024; disk:10240; ports:[31000-32000]");
    }

    /// The machine that a text and a default role make of a topology with 20 GiB of disk.
    fn shared(text: &str, role: &str, topology: &Topology) -> Result<Resources, ResourcesError> {
        let said = kaon_kernel::resource::parse::said(text).unwrap();
        machine(&said, &RoleName::trusted(role), topology, 20 * GIB)
    }

    #[test]
    fn what_is_said_wins_over_what_is_found() {
        let under = |role: &str, text| shared(text, role, &topology(8 * GIB));
        let said = |text| under("*", text).unwrap().to_string();
        assert_eq!(said(""), "cpus:16; mem:7168; disk:15360; ports:[31000-32000]");
        assert_eq!(said("cpus:2.5"), "cpus:2.5; mem:7168; disk:15360; ports:[31000-32000]");
        assert_eq!(said("mem:0;disk:0;ports:[]"), "cpus:16");
        assert_eq!(
            said(" cpus (web) : 3 ;bananas:7"),
            "cpus(web):3; mem:7168; disk:15360; ports:[31000-32000]; bananas:7"
        );
        assert_eq!(
            under("web", "cpus:1;cpus(web):2;mem(db):3;disk:0").unwrap().to_string(),
            "cpus(web):3; mem(db):3; ports(web):[31000-32000]"
        );
        assert!(under("web", "ports:[1-3];ports(web):[3-4]").is_err(), "a port would be there twice");
    }

    #[test]
    fn gpus_are_counted_where_a_driver_names_them() {
        let gpus = Uniform { gpus: 3, node_memory_bytes: 8 * GIB, ..Uniform::default() };
        let said = |text, topology: &Topology| shared(text, "*", topology).unwrap().to_string();
        let found = |topology: Topology| said("disk:0;ports:[]", &topology);
        assert_eq!(found(gpus.build().unwrap()), "cpus:1; mem:7168; gpus:3");
        let mut devices = gpus.build().unwrap().devices().to_vec();
        devices[1].has_driver = false;
        let some = Topology::new(gpus.build().unwrap().parts().to_vec(), devices, Vec::new()).unwrap();
        assert_eq!(found(some.clone()), "cpus:1; mem:7168; gpus:2");
        assert_eq!(said("cpus:1;mem:0;disk:0;ports:[];gpus:0", &some), "cpus:1");
    }

    #[test]
    fn attributes_count_what_is_there() {
        let text = |topology| {
            let attributes = attributes(&topology).into_iter().map(|a| format!("{}:{:?}", a.name, a.value));
            attributes.collect::<Vec<_>>().join(";")
        };
        assert_eq!(text(topology(0)), "packages:Scalar(2);numa_nodes:Scalar(2);cores:Scalar(8)");
    }

    #[test]
    fn the_disk_of_this_machine_has_a_size() {
        assert!(disk_bytes(&std::env::temp_dir()).unwrap() > MIB);
        assert!(disk_bytes(Path::new("/does/not/exist")).is_err());
    }
}
