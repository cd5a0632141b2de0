//! Topologies: the live machine, texts, and the exported files.

use super::*;
use std::collections::BTreeSet;

fn data(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hwloc");
    if !folder.is_dir() {
        eprintln!("SKIPPED: the shared topologies are not at {}", folder.display());
        return None;
    }
    Some(folder.join(name))
}

/// Packages, NUMA nodes, L3 caches, cores, processing units (`hwloc-calc -i FILE -N TYPE all`, hwloc 2.9.0), and graphics
/// processors, disks, network interfaces, fabric adapters (`lstopo-no-graphics -i FILE --of console`, read by hand).
const TABLE: [(&str, [usize; 5], [usize; 4]); 12] = [
    ("192em64t-12gr2n8c2t.xml", [24, 24, 24, 192, 384], [0, 2, 7, 1]),
    ("40intel64-2g2n4c+pci.xml", [4, 4, 4, 40, 40], [0, 2, 5, 1]),
    ("64intel64-fakeKNL-SNC4-hybrid.xml", [1, 8, 4, 16, 64], [0, 0, 0, 0]),
    ("8intel64-4n2t-memattrs.xml", [0, 4, 0, 0, 8], [0, 0, 0, 0]),
    ("96em64t-4n4d3ca2co-pci.xml", [16, 4, 16, 96, 96], [1, 4, 8, 0]),
    ("AMD-17h-Zen-2xEpyc-7451.xml", [2, 8, 16, 48, 96], [0, 0, 0, 0]),
    ("AMD-19h-Zen4-2xEpyc-9654.xml", [2, 2, 24, 192, 384], [0, 0, 0, 0]),
    ("cxlmem+dax.v2.xml", [1, 1, 1, 4, 4], [0, 7, 1, 0]),
    ("memorysidecaches.xml", [2, 4, 2, 40, 80], [0, 0, 0, 0]),
    ("nvidiaDGX2.xml", [2, 2, 2, 4, 4], [16, 0, 0, 0]),
    // Its six GPUs are VGA controllers of an unknown vendor, without a driver: they could be anything.
    ("nvidiagpunumanodes-kept.xml", [2, 8, 4, 8, 32], [0, 0, 0, 0]),
    ("power8gpudistances.xml", [2, 2, 8, 8, 16], [4, 0, 0, 0]),
];

#[test]
fn twelve_machines_have_the_parts_that_hwloc_counts() {
    for (file, parts, devices) in TABLE {
        let Some(path) = data(file) else { return };
        let topology = Topology::from_xml(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let kinds = [Kind::Package, Kind::NumaNode, Kind::Cache(3), Kind::Core, Kind::ProcessingUnit];
        assert_eq!(kinds.map(|kind| topology.count(kind)), parts, "{file}: packages, NUMA nodes, L3, cores, PUs");
        let found = topology.devices();
        let kinds = [DeviceKind::Gpu, DeviceKind::Disk, DeviceKind::Network, DeviceKind::Fabric];
        let counts = kinds.map(|kind| found.iter().filter(|device| device.kind == kind).count());
        assert_eq!(counts, devices, "{file}: GPUs, disks, network interfaces, fabric adapters");
        whole(&topology, file);
    }
}

/// What holds of every machine: numbers are unique, sets are made of their parts, devices are near something.
fn whole(topology: &Topology, file: &str) {
    for kind in [Kind::ProcessingUnit, Kind::NumaNode] {
        let numbers: Vec<_> = topology.all(kind).map(|node| node.os_index.expect("numbered")).collect();
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "{file}: {kind:?} numbers repeat");
    }
    assert_eq!(topology.machine.cpus.count() as usize, topology.count(Kind::ProcessingUnit), "{file}");
    assert_eq!(topology.machine.numa_nodes.count() as usize, topology.count(Kind::NumaNode), "{file}");
    for node in topology.machine.walk() {
        let units = node.walk().filter(|below| below.kind == Kind::ProcessingUnit).count();
        if units > 0 {
            assert_eq!(node.cpus.count() as usize, units, "{file}: {node:?}");
        }
    }
    for device in topology.devices() {
        assert!(!device.cpus.is_empty() && !device.numa_nodes.is_empty(), "{file}: {device:?}");
        assert!(device.name.len() > 1, "{file}: {device:?}");
    }
}

#[test]
fn gpus_know_their_package_and_their_name() {
    let Some(path) = data("nvidiaDGX2.xml") else { return };
    let topology = Topology::from_xml(&path).unwrap();
    let packages: Vec<_> = topology.all(Kind::Package).map(|package| package.cpus.clone()).collect();
    let devices = topology.devices();
    for package in &packages {
        assert_eq!(devices.iter().filter(|device| device.cpus == *package).count(), 8);
    }
    let first = &devices[0];
    assert_eq!((first.name.as_str(), first.pci.unwrap().to_string()), ("nvml0", "0000:34:00.0".to_owned()));
    assert!(first.infos.iter().any(|(name, value)| name == "NVIDIAUUID" && value.starts_with("GPU-")));
    // 1511 GiB, as lstopo rounds it.
    assert_eq!(topology.memory_bytes >> 30, 1510);
}

#[test]
fn memory_of_graphics_processors_is_not_memory_for_tasks() {
    let Some(path) = data("nvidiagpunumanodes-kept.xml") else { return };
    let topology = Topology::from_xml(&path).unwrap();
    let of_gpus = topology.all(Kind::NumaNode).filter(|node| node.subtype.as_deref() == Some("GPUMemory"));
    assert_eq!(of_gpus.count(), 6);
    assert_eq!(topology.memory_bytes >> 30, 251, "two nodes of 124 and 128 GiB, rounded up by lstopo");
}

#[test]
fn a_synthetic_machine_is_what_it_says() {
    let topology = Topology::from_synthetic("pack:2 [numa(memory=64GiB)] l3:8 core:4 pu:2").unwrap();
    let kinds = [Kind::Package, Kind::NumaNode, Kind::Cache(3), Kind::Core, Kind::ProcessingUnit];
    assert_eq!(kinds.map(|kind| topology.count(kind)), [2, 2, 16, 64, 128]);
    assert_eq!(topology.memory_bytes, 128 << 30);
    whole(&topology, "synthetic");
    assert_eq!(topology, Topology::from_synthetic("pack:2 [numa(memory=64GiB)] l3:8 core:4 pu:2").unwrap());
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "nonsense", "pack:0", "pack:2 pack:2 pu", "pu:99999999999", "a\0b", &"pack:1 ".repeat(1000)] {
        assert!(Topology::from_synthetic(text).is_err(), "{:?}", &text[..text.len().min(20)]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.xml");
    for bytes in [&b""[..], b"<topology", b"<?xml version='1.0'?><x/>", b"\0\0", &[0xff; 64]] {
        std::fs::write(&file, bytes).unwrap();
        assert!(Topology::from_xml(&file).is_err(), "{bytes:?}");
    }
    assert!(matches!(Topology::from_xml(&folder.path().join("none")), Err(Error::File { .. })));
}

#[test]
fn a_cut_file_is_refused_or_whole() {
    let Some(path) = data("power8gpudistances.xml") else { return };
    let text = std::fs::read(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.xml");
    for part in 0..16 {
        std::fs::write(&file, &text[..text.len() * part / 16]).unwrap();
        assert!(Topology::from_xml(&file).is_err(), "cut at {part}/16");
    }
}

#[test]
fn this_machine_can_be_read() {
    let topology = Topology::discover().unwrap();
    whole(&topology, "live");
    assert!(topology.count(Kind::ProcessingUnit) >= 1 && topology.count(Kind::NumaNode) >= 1);
    let units = std::thread::available_parallelism().unwrap().get();
    assert!(topology.count(Kind::ProcessingUnit) >= units, "more threads may run than there are units");
    assert!(topology.memory_bytes > 64 << 20);
}
