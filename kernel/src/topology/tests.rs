//! Machines that are whole, and pieces that make none.

use super::*;
use crate::frame::BODY_BYTES_MAX;

fn dgx() -> Uniform {
    Uniform {
        packages: 2,
        cores: 24,
        threads: 2,
        node_memory_bytes: 1 << 40,
        gpus: 8,
        gpu_memory_bytes: 32 << 30,
        linked: 8,
        networks: 4,
        ..Uniform::default()
    }
}

#[test]
fn a_uniform_machine_is_what_it_says() {
    let topology = dgx().build().unwrap();
    let kinds = [PartKind::Package, PartKind::NumaNode, PartKind::L3Group, PartKind::Core, PartKind::ProcessingUnit];
    assert_eq!(kinds.map(|kind| topology.count(kind)), [2, 2, 2, 48, 96]);
    assert_eq!(topology.memory_bytes(), 2 << 40);
    let groups: Vec<_> = topology.gpus().map(|gpu| gpu.link_group).collect();
    assert_eq!(groups, [[Some(0); 8], [Some(1); 8]].concat());
    let first = topology.all(PartKind::NumaNode).next().unwrap();
    assert_eq!(first.units.to_string(), "[0-23, 48-71]");
    assert!(Uniform { packages: u32::MAX, cores: 2, ..dgx() }.build().is_err());
    assert_eq!(Uniform { threads: 0, ..dgx() }.build(), Err(TopologyError::Empty));
}

#[test]
fn link_groups_are_made_by_links_and_switches_and_not_by_processors() {
    let mut devices = Uniform { gpus: 6, ..Uniform::default() }.build().unwrap().devices;
    let others = [MatrixObject::Switch, MatrixObject::Switch, MatrixObject::Package(0)];
    let objects: Vec<_> = (0..6).map(MatrixObject::Device).chain(others).collect();
    let mut values = vec![0; 81];
    // 0 and 2 by a direct link, 1 and 3 each by a port of a switch of its own, 4 and 5 over the package; the diagonal says nothing.
    for (one, two) in [(0, 2), (1, 6), (3, 7), (4, 8), (5, 8), (4, 4)] {
        values[one * 9 + two] = 40_000;
    }
    let matrix = Matrix { name: "XGMIBandwidth".into(), kind: MatrixKind::Bandwidth, objects, values };
    matrix::group(&mut devices, &[matrix]);
    let groups: Vec<_> = devices.iter().map(|device| device.link_group).collect();
    assert_eq!(groups, [Some(0), Some(1), Some(0), Some(1), None, None]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let topology = dgx().build().unwrap();
    let broken = |change: fn(&mut Topology)| {
        let mut topology = topology.clone();
        change(&mut topology);
        topology.check().unwrap_err()
    };
    assert_eq!(broken(|one| one.parts.truncate(1)), TopologyError::Empty);
    assert_eq!(broken(|one| one.parts[3].parent = 3), TopologyError::Misplaced(3));
    assert_eq!(broken(|one| one.parts[0].kind = PartKind::Die), TopologyError::Misplaced(0));
    assert_eq!(broken(|one| one.parts[5].number = one.parts[6].number), TopologyError::Number(6));
    assert_eq!(broken(|one| one.parts[5].number = None), TopologyError::Number(5));
    assert_eq!(broken(|one| one.parts[5].number = Some(1 << 20)), TopologyError::Number(5));
    assert_eq!(broken(|one| one.parts[2].memory = None), TopologyError::Memory(2));
    assert_eq!(broken(|one| one.parts[1].units = set([5000])), TopologyError::Units("part 1".into()));
    assert_eq!(
        broken(|one| one.devices[0].uuid = one.devices[1].uuid.clone()),
        TopologyError::Twice("GPU-00000001".into())
    );
    let matrix = TopologyError::Matrix("NVLinkBandwidth".into());
    assert_eq!(broken(|one| one.matrices[0].objects[0] = MatrixObject::Device(99)), matrix);
    assert_eq!(broken(|one| one.matrices[0].objects[0] = MatrixObject::NumaNode(2)), matrix);
    assert_eq!(broken(|one| one.matrices[0].values.truncate(1)), matrix);
    assert!(matches!(broken(|one| one.devices[0].name = "x".repeat(257)), TopologyError::TooMany { .. }));
    assert!(matches!(
        broken(|one| one.parts.resize(PARTS_MAX + 1, one.parts[9].clone())),
        TopologyError::TooMany { .. }
    ));
}

#[test]
fn the_largest_machine_fits_into_a_frame_and_reads_back() {
    let largest = Uniform {
        packages: 64,
        nodes: 4,
        l3_groups: 4,
        cores: 4,
        threads: 2,
        gpus: 1,
        linked: 256,
        networks: 3,
        ..Uniform::default()
    };
    let topology = largest.build().unwrap();
    assert_eq!((topology.count(PartKind::ProcessingUnit), topology.devices().len()), (UNITS_MAX, DEVICES_MAX));
    assert_eq!(topology.matrices()[0].values.len(), MATRIX_VALUES_MAX);
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&topology).unwrap();
    assert!(bytes.len() < BODY_BYTES_MAX / 2, "{} bytes", bytes.len());
    let back = rkyv::from_bytes::<Topology, rkyv::rancor::Error>(&bytes).unwrap();
    assert_eq!(back.check(), Ok(()));
    assert_eq!(back, topology);
}

#[test]
fn sizes_are_written_for_people() {
    let text = |bytes| table::Size(bytes).to_string();
    assert_eq!(
        [0, 1, 1536, 5 << 30, (1 << 40) + (1 << 39)].map(text),
        ["unknown", "1 B", "1.5 KiB", "5 GiB", "1.5 TiB"]
    );
    assert_eq!(text(u64::MAX), "16777215.9 TiB");
}
