//! Topologies: the live machine, texts, and the exported files.

use super::*;
use kaon_kernel::placement::{Demand, Machine, Placement, PlacementRequest, Policy, Reason};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::parse;
use kaon_kernel::topology::{DeviceKind, MemoryKind, PartKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/hwloc").join(name)
}

fn machine(name: &str) -> Topology {
    from_xml_text(&std::fs::read(data(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
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
    // Its six GPUs are VGA controllers of an unknown vendor, without a driver; NUMA nodes name them as theirs.
    ("nvidiagpunumanodes-kept.xml", [2, 8, 4, 8, 32], [6, 0, 0, 0]),
    ("power8gpudistances.xml", [2, 2, 8, 8, 16], [4, 0, 0, 0]),
];

#[test]
fn twelve_machines_have_the_parts_that_hwloc_counts() {
    for (file, parts, devices) in TABLE {
        let topology = machine(file);
        let kinds =
            [PartKind::Package, PartKind::NumaNode, PartKind::L3Group, PartKind::Core, PartKind::ProcessingUnit];
        assert_eq!(kinds.map(|kind| topology.count(kind)), parts, "{file}: packages, NUMA nodes, L3, cores, PUs");
        let found = topology.devices();
        let kinds = [DeviceKind::Gpu, DeviceKind::Disk, DeviceKind::Network, DeviceKind::Fabric];
        let counts = kinds.map(|kind| found.iter().filter(|device| device.kind == kind).count());
        assert_eq!(counts, devices, "{file}: GPUs, disks, network interfaces, fabric adapters");
        whole(&topology, file);
    }
}

/// What is shown of each of the twelve, in full. `KAON_BLESS=1` writes it anew.
#[test]
fn the_tables_of_the_twelve_machines_are_those_of_the_golden_file() {
    let mut shown = String::new();
    for (file, _, _) in TABLE {
        shown.push_str(&format!("== {file}\n{}\n", machine(file)));
    }
    let path = data("tables.txt");
    if std::env::var_os("KAON_BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (shown, golden)) in shown.lines().zip(golden.lines()).enumerate() {
        assert_eq!(shown, golden, "line {}", number + 1);
    }
    assert_eq!(shown, golden);
}

/// What holds of every machine: numbers are unique, sets are made of their parts, devices are near something.
fn whole(topology: &Topology, file: &str) {
    assert_eq!(topology.check(), Ok(()), "{file}");
    let root = &topology.parts()[0];
    assert_eq!(root.units.count() as usize, topology.count(PartKind::ProcessingUnit), "{file}");
    for (place, part) in topology.parts().iter().enumerate() {
        let inside = topology.parts().iter().filter(|unit| unit.kind == PartKind::ProcessingUnit);
        let inside = inside.filter(|unit| {
            let mut at = unit.parent as usize;
            while at > place {
                at = topology.parts()[at].parent as usize;
            }
            at == place
        });
        if !matches!(part.kind, PartKind::NumaNode | PartKind::ProcessingUnit) {
            assert_eq!(part.units.count() as usize, inside.count(), "{file}: {part:?}");
        }
    }
    for device in topology.devices() {
        assert!(!device.units.is_empty() && device.numa_node.is_some(), "{file}: {device:?}");
        assert!(device.name.len() > 1, "{file}: {device:?}");
    }
}

#[test]
fn a_dgx_has_sixteen_gpus_in_one_link_group_each_near_its_package() {
    let topology = machine("nvidiaDGX2.xml");
    for package in topology.all(PartKind::Package) {
        assert_eq!(topology.gpus().filter(|gpu| gpu.units == package.units).count(), 8);
    }
    let first = topology.gpus().next().unwrap();
    assert_eq!((first.name.as_str(), first.pci.unwrap().to_string()), ("nvml0", "0000:34:00.0".to_owned()));
    assert!(first.id().starts_with("GPU-") && first.has_driver);
    assert_eq!(first.memory_bytes, 32 << 30, "told by the name of the model");
    let groups: BTreeSet<_> = topology.gpus().map(|gpu| gpu.link_group).collect();
    assert_eq!(groups, [Some(0)].into());
    assert_eq!(topology.matrices()[1].objects.len(), 28);
    // 1511 GiB, as lstopo rounds it.
    assert_eq!(topology.memory_bytes() >> 30, 1510);
}

#[test]
fn links_over_a_processor_make_no_group() {
    let topology = machine("power8gpudistances.xml");
    let gpus: Vec<_> = topology.gpus().map(|gpu| (gpu.link_group, gpu.memory_bytes >> 20)).collect();
    assert_eq!(gpus, [(Some(0), 16_280), (Some(0), 16_280), (Some(1), 16_280), (Some(1), 16_280)]);
}

#[test]
fn memory_of_graphics_processors_is_not_memory_for_tasks() {
    let topology = machine("nvidiagpunumanodes-kept.xml");
    let kinds = topology.all(PartKind::NumaNode).filter_map(|part| part.memory).map(|memory| memory.kind);
    assert_eq!(kinds.filter(|kind| *kind == MemoryKind::Gpu).count(), 6);
    assert_eq!(topology.memory_bytes() >> 30, 251, "two nodes of 124 and 128 GiB, rounded up by lstopo");
    assert!(topology.gpus().all(|gpu| gpu.memory_bytes == 15 << 30 && !gpu.has_driver));
}

#[test]
fn a_synthetic_machine_is_what_it_says() {
    let text = "pack:2 [numa(memory=64GiB)] l3:8 core:4 pu:2";
    let topology = from_synthetic(text).unwrap();
    let kinds = [PartKind::Package, PartKind::NumaNode, PartKind::L3Group, PartKind::Core, PartKind::ProcessingUnit];
    assert_eq!(kinds.map(|kind| topology.count(kind)), [2, 2, 16, 64, 128]);
    assert_eq!(topology.memory_bytes(), 128 << 30);
    whole(&topology, "synthetic");
    assert_eq!(topology, from_synthetic(text).unwrap());
}

#[test]
fn nonsense_is_refused() {
    let texts = ["", "nonsense", "pack:0", "pack:2 pack:2 pu", "pu:99999999999", "a\0b", &"pack:1 ".repeat(1000)];
    for text in texts {
        assert!(from_synthetic(text).is_err(), "{:?}", &text[..text.len().min(20)]);
    }
    for text in ["pu:8193", "pack:1000 core:1000 pu:1000", "numa:2(memory=1GiB) pack:100 [numa:2] core:100"] {
        assert!(matches!(from_synthetic(text), Err(Error::TooLarge)), "{text}");
    }
    for bytes in [&b""[..], b"<topology", b"<?xml version='1.0'?><x/>", b"\0\0", &[0xff; 64]] {
        assert!(from_xml_text(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_hostile_file_is_refused_before_the_parser_sees_it() {
    let wrap = |inner: &str| format!("<?xml version=\"1.0\"?><topology version=\"2.0\">{inner}</topology>");
    let objects = |count| format!("{}{}", "<object type=\"Group\">".repeat(count), "</object>".repeat(count));
    let refusal = |text: String| from_xml_text(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(refusal(wrap(&objects(100_000))), "the topology is too large");
    assert_eq!(refusal(wrap("<distances2 nbobjs=\"4294967295\"/>")), "the topology is too large");
    assert_eq!(refusal(" ".repeat(XML_BYTES_MAX as usize + 1)), "the topology is too large");
    let entities = "<!DOCTYPE topology [<!ENTITY a \"aaaa\">]>".to_owned() + &wrap("&a;");
    assert!(refusal(entities).contains("entities"));
    assert!(refusal(wrap("").replace("\"2.0\"", "\"3.0\"")).contains("version"));
    assert!(refusal(wrap("</topology>")).contains("closed"));
}

#[test]
fn a_cut_file_is_refused() {
    let text = std::fs::read(data("power8gpudistances.xml")).unwrap();
    for part in 0..16 {
        assert!(from_xml_text(&text[..text.len() * part / 16]).is_err(), "cut at {part}/16");
    }
}

#[test]
fn this_machine_can_be_read() {
    let topology = discover().unwrap();
    whole(&topology, "live");
    assert!(topology.count(PartKind::NumaNode) >= 1);
    let units = std::thread::available_parallelism().unwrap().get();
    assert!(topology.count(PartKind::ProcessingUnit) >= units, "more threads may run than there are units");
    assert!(topology.memory_bytes() > 64 << 20);
}

/// Each of the twelve is filled with tasks of one policy until it refuses; nothing is used twice, and all comes back.
#[test]
fn each_machine_can_be_filled_to_the_last_and_emptied() {
    let policies = [Policy::None, Policy::OneNode, Policy::OnePackage, Policy::Packed, Policy::Spread];
    for (file, parts, _) in TABLE {
        let topology = machine(file);
        let gpus = topology.gpus().count();
        let text = format!("cpus:{};mem:4096;gpus:{gpus}", parts[4]);
        let empty = Machine::new(&topology, &parse::resources(&text).unwrap()).unwrap();
        for policy in policies {
            let mut machine = empty.clone();
            let demand = Demand { cpus: Quantity(500), mem: Quantity::units(4), ..Demand::default() };
            let request = PlacementRequest { policy, ..PlacementRequest::default() };
            let mut placed: Vec<Placement> = Vec::new();
            let refusal = loop {
                match machine.place(&demand, &request) {
                    Ok(placement) => placed.push(placement),
                    Err(reason) => break reason,
                }
            };
            // Half a unit at a time fills every unit to the last; memory would do for 1024 tasks.
            assert_eq!(placed.len(), (parts[4] * 2).min(1024), "{file} {policy:?}: {refusal}");
            let mut used: BTreeMap<u32, u32> = BTreeMap::new();
            for share in placed.iter().flat_map(|placement| &placement.units) {
                *used.entry(share.unit).or_default() += u32::from(share.share);
            }
            assert!(used.values().all(|share| *share <= 1000), "{file} {policy:?}");
            placed.iter().for_each(|placement| machine.release(placement));
            assert_eq!(machine, empty, "{file} {policy:?}");
        }
        let mut machine = empty.clone();
        let one = Demand { gpus: 1, ..Demand::default() };
        let taken: BTreeSet<String> = (0..gpus)
            .map(|_| machine.place(&one, &PlacementRequest::default()).unwrap().devices.remove(0).id)
            .collect();
        assert_eq!(taken.len(), gpus, "{file}");
        let refusal = machine.place(&one, &PlacementRequest::default());
        assert_eq!(refusal, Err(Reason::WholeGpus { wanted: 1, free: 0 }), "{file}");
    }
}
