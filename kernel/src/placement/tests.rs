//! What each policy means, on machines that people know.

use super::label::{LabelError, parse};
use super::*;
use crate::framework::Label;
use crate::resource::parse as read;
use crate::topology::{Device as TopologyDevice, MemoryKind, Part, PartKind, Topology, Uniform};

const GIB: u64 = 1 << 30;

/// Two packages of one node each, two L3 groups of four cores of two threads; four GPUs near each node, linked by four.
fn uniform() -> Uniform {
    Uniform {
        packages: 2,
        l3_groups: 2,
        cores: 4,
        threads: 2,
        node_memory_bytes: 64 * GIB,
        gpus: 4,
        gpu_memory_bytes: 16 * GIB,
        linked: 4,
        networks: 1,
        ..Uniform::default()
    }
}

fn machine(resources: &str) -> Machine {
    Machine::new(&uniform().build().unwrap(), &read::resources(resources).unwrap()).unwrap()
}

fn demand(resources: &str) -> Demand {
    Demand::of(&read::resources(resources).unwrap()).unwrap()
}

fn request(labels: &[(&str, &str)]) -> PlacementRequest {
    parse(&self::labels(labels)).unwrap().unwrap_or_default()
}

fn labels(labels: &[(&str, &str)]) -> Vec<Label> {
    let label =
        |(key, value): &(&str, &str)| Label { key: format!("kaon.placement/{key}"), value: Some((*value).to_owned()) };
    labels.iter().map(label).collect()
}

fn units(placement: &Placement) -> String {
    placement.unit_numbers().to_string()
}

fn ids(placement: &Placement) -> Vec<u32> {
    placement.devices.iter().map(|device| device.ordinal).collect()
}

const ALL: &str = "cpus:32;mem:131072;gpus:8";

#[test]
fn one_node_takes_units_and_memory_of_one_node_and_fills_it_first() {
    let mut machine = machine(ALL);
    let numa = request(&[("policy", "numa")]);
    let first = machine.place(&demand("cpus:10;mem:40960"), &numa).unwrap();
    // An L3 group of the first node, whole cores of it, and one core of the other.
    assert_eq!(units(&first), "[0-4, 16-20]");
    assert_eq!(first.memory, [NodeMemory { node: 0, bytes: 40 * GIB }]);
    let refusal = machine.place(&demand("cpus:17;mem:1"), &numa).unwrap_err();
    let (wanted, best) = (Quantity::units(17), Quantity::units(16));
    assert_eq!(refusal, Reason::Cores { wanted, policy: Policy::OneNode, best });
    assert_eq!(refusal.to_string(), "17 cpus wanted near one NUMA node, the most free there is 16");
    let refusal = machine.place(&demand("cpus:1;mem:65537"), &numa).unwrap_err();
    assert!(
        matches!(refusal, Reason::NodeMemory { policy: Policy::OneNode, best, .. } if best == 64 * GIB),
        "{refusal}"
    );
    // Six units and 24 GiB are left there: the next one fits exactly, the one after goes to the other node.
    assert_eq!(machine.place(&demand("cpus:6;mem:24576"), &numa).unwrap().node_numbers().to_string(), "[0-0]");
    assert_eq!(machine.place(&demand("cpus:2;mem:1"), &numa).unwrap().node_numbers().to_string(), "[1-1]");
}

#[test]
fn packed_goes_beyond_a_node_only_when_it_must_and_spread_takes_turns() {
    let mut packed = machine(ALL);
    let policy = |name| request(&[("policy", name)]);
    assert_eq!(units(&packed.place(&demand("cpus:2"), &policy("packed")).unwrap()), "[0-0, 16-16]");
    let large = packed.place(&demand("cpus:20;mem:8192"), &policy("packed")).unwrap();
    assert_eq!(large.unit_numbers().count(), 20);
    // Sixteen units near one node and four near the other; memory in proportion.
    let bytes: Vec<u64> = large.memory.iter().map(|memory| memory.bytes).collect();
    assert_eq!(bytes.iter().sum::<u64>(), 8 * GIB);
    assert!(bytes.iter().any(|bytes| *bytes >= 8 * GIB * 16 / 20));
    let refusal = packed.place(&demand("cpus:14"), &policy("package")).unwrap_err();
    assert_eq!(refusal, Reason::Cpus { wanted: Quantity::units(14), free: Quantity::units(10) });

    let mut spread = machine(ALL);
    let four = spread.place(&demand("cpus:4;mem:4096"), &policy("spread")).unwrap();
    // One core of each of the two L3 groups of each node.
    assert_eq!(units(&four), "[0-0, 4-4, 8-8, 12-12]");
    assert_eq!(four.memory.iter().map(|memory| memory.bytes).collect::<Vec<_>>(), [2 * GIB, 2 * GIB]);
    // Cores that are wholly free come before the second threads of others.
    assert_eq!(units(&spread.place(&demand("cpus:4"), &policy("spread")).unwrap()), "[1-1, 5-5, 9-9, 13-13]");
}

#[test]
fn parts_of_units_are_packed_and_never_summed() {
    let mut machine = machine(ALL);
    let numa = request(&[("policy", "numa")]);
    let shares = |placement: Placement| placement.units.iter().map(|one| (one.unit, one.share)).collect::<Vec<_>>();
    assert_eq!(shares(machine.place(&demand("cpus:0.6"), &numa).unwrap()), [(0, 600)]);
    assert_eq!(shares(machine.place(&demand("cpus:0.5"), &numa).unwrap()), [(16, 500)]);
    // 0.4 fits into what the first left, 0.5 into what the second left; 1.3 needs a whole unit and a part of another.
    assert_eq!(shares(machine.place(&demand("cpus:0.4"), &numa).unwrap()), [(0, 400)]);
    let more = shares(machine.place(&demand("cpus:1.3"), &numa).unwrap());
    assert_eq!(more.iter().map(|(_, share)| *share).collect::<Vec<_>>(), [1000, 300].map(|share| share));
    assert!(more.contains(&(16, 300)));
}

#[test]
fn exclusive_cores_are_whole_and_nobody_elses() {
    let mut machine = machine(ALL);
    let (shared, own) = (request(&[("policy", "numa")]), request(&[("cores", "exclusive")]));
    let half = machine.place(&demand("cpus:0.5"), &shared).unwrap();
    assert_eq!(units(&half), "[0-0]");
    let four = machine.place(&demand("cpus:4"), &own).unwrap();
    assert!(four.exclusive);
    assert_eq!(units(&four), "[1-2, 17-18]", "the core in use is nobody's own");
    let refusal = machine.place(&demand("cpus:3"), &own).unwrap_err();
    assert_eq!(refusal.to_string(), "3 cpus are no whole cores: a core here has 2");
    let one_node = PlacementRequest { policy: Policy::OneNode, ..own.clone() };
    let rest = machine.place(&demand("cpus:16"), &one_node).unwrap();
    assert_eq!(rest.node_numbers(), Ranges::default(), "no memory was asked for");
    // What is left is shared: five whole cores, and the other thread of the one in use.
    assert_eq!(units(&machine.place(&demand("cpus:11"), &shared).unwrap()), "[3-7, 16-16, 19-23]");

    let mut machine = self::machine(ALL);
    machine.place(&demand("cpus:8"), &request(&[("policy", "spread")])).unwrap();
    let refusal = machine.place(&demand("cpus:20"), &own).unwrap_err();
    let (wanted, best) = (Quantity::units(20), Quantity::units(16));
    assert_eq!(refusal, Reason::ExclusiveCores { wanted, policy: Policy::Packed, best });
}

#[test]
fn whole_gpus_keep_to_link_groups_and_to_the_cores() {
    let mut machine = machine(ALL);
    let linked = request(&[("gpu-links", "group")]);
    assert_eq!(ids(&machine.place(&demand("gpus:3"), &linked).unwrap()), [0, 1, 2]);
    assert_eq!(ids(&machine.place(&demand("gpus:4"), &linked).unwrap()), [4, 5, 6, 7]);
    let refusal = machine.place(&demand("gpus:2"), &linked).unwrap_err();
    assert_eq!(refusal, Reason::WholeGpus { wanted: 2, free: 1 });

    let mut machine = self::machine(ALL);
    let together = request(&[("policy", "numa"), ("gpu-near", "cores")]);
    machine.place(&demand("cpus:4;gpus:3"), &together).unwrap();
    let two = machine.place(&demand("cpus:2;gpus:2;mem:64"), &together).unwrap();
    assert_eq!((two.node_numbers().to_string(), ids(&two)), ("[1-1]".into(), vec![4, 5]), "where both are");
    // Near is a rule, not a wish.
    let refusal = machine.place(&demand("gpus:2"), &request(&[("gpu-near", "units:0-3")])).unwrap_err();
    assert_eq!(refusal, Reason::WholeGpus { wanted: 2, free: 1 });
    let one = machine.place(&demand("gpus:1"), &request(&[("gpu-near", "nic:eth1")])).unwrap();
    assert_eq!(ids(&one), [6]);
    let refusal = machine.place(&demand("gpus:1"), &request(&[("gpu-near", "nic:eth9")])).unwrap_err();
    assert_eq!(refusal, Reason::NoNetwork("eth9".into()));
    assert_eq!(machine.place(&demand("cpus:1"), &linked), Err(Reason::NoGpus));
    let three = machine.place(&demand("gpus:3"), &linked).unwrap_err();
    assert!(matches!(three, Reason::WholeGpus { free: 2, .. }), "{three}");
    let two = machine.place(&demand("gpus:2"), &linked).unwrap_err();
    assert_eq!(two, Reason::LinkGroup { wanted: 2, best: 1 });
}

#[test]
fn a_part_of_a_gpu_comes_from_one_gpu_that_nobody_was_promised() {
    let mut machine = machine("cpus:32;mem:1024;gpus:6");
    let part = |labels| request(labels);
    let first = machine.place(&demand("cpus:1"), &part(&[("gpu-share", "0.7")])).unwrap();
    assert_eq!(first.devices[0].share, 700);
    assert_eq!(first.devices[0].memory_bytes, 16 * GIB * 7 / 10);
    // Half a GPU is not 0.3 of one and 0.2 of another.
    let second = machine.place(&demand("cpus:1"), &part(&[("gpu-memory", "8GiB")])).unwrap();
    assert_eq!((second.devices[0].share, second.devices[0].memory_bytes), (500, 8 * GIB));
    assert_ne!(first.devices[0].id, second.devices[0].id);
    let third = machine.place(&demand("cpus:1"), &part(&[("gpu-share", "0.3")])).unwrap();
    assert_eq!(third.devices[0].id, first.devices[0].id, "the least left that is enough");
    // The other six are promised whole.
    let refusal = machine.place(&demand("cpus:1"), &part(&[("gpu-share", "0.6")])).unwrap_err();
    assert_eq!(refusal, Reason::GpuPart { share: 600, memory_bytes: 0 });
    assert_eq!(machine.place(&demand("gpus:6"), &PlacementRequest::default()).unwrap().devices.len(), 6);
    let both = machine.place(&demand("gpus:1"), &part(&[("gpu-share", "0.1")]));
    assert_eq!(both, Err(Reason::PartAndWhole));
}

#[test]
fn devices_that_are_shared_out_by_name_have_accounts_of_their_own() {
    let device = |place: u32, share: u32, gib: u64| crate::resource::Device {
        id: format!("GPU-{place:08x}"),
        share,
        memory_bytes: gib * GIB,
        numa_node: None,
        link_group: None,
    };
    let bag = |devices: Vec<crate::resource::Device>| {
        let value = crate::resource::Value::Devices(devices);
        let entry = crate::resource::Resource { name: crate::resource::ResourceName::Gpus, identity: None, value };
        crate::resource::Resources::collect([entry]).unwrap()
    };
    let topology = uniform().build().unwrap();
    let total = bag(vec![device(1, 1000, 16), device(2, 500, 8)]);
    let mut machine = Machine::new(&topology, &total).unwrap();
    let nothing = PlacementRequest::default();
    let take = |devices| Demand::of(&bag(devices)).unwrap();
    let half = machine.place(&take(vec![device(1, 400, 4), device(2, 500, 8)]), &nothing).unwrap();
    assert_eq!(ids(&half), [1, 2]);
    let refusal = machine.place(&take(vec![device(1, 700, 1)]), &nothing).unwrap_err();
    assert!(matches!(refusal, Reason::Device { share: 700, free_share: 600, .. }), "{refusal}");
    assert!(matches!(machine.place(&take(vec![device(3, 1, 0)]), &nothing), Err(Reason::Device { .. })));
    machine.release(&half);
    assert_eq!(machine, machine.emptied());
    let unknown = MachineError::Device("GPU-00000009".into());
    assert_eq!(Machine::new(&topology, &bag(vec![device(9, 1, 0)])).unwrap_err(), unknown);
    assert!(Machine::new(&topology, &bag(vec![device(1, 1000, 17)])).is_err());
    let too_many = read::resources("gpus:9").unwrap();
    assert_eq!(Machine::new(&topology, &too_many).unwrap_err(), MachineError::Gpus { wanted: 9, there: 8 });
}

/// A NUMA node that spans packages, and packages that span NUMA nodes, and memory of several kinds.
#[test]
fn a_package_is_no_node_and_a_kind_of_memory_is_found_beside_the_cores() {
    let plain = Uniform { packages: 2, cores: 4, node_memory_bytes: GIB, ..Uniform::default() }.build().unwrap();
    let mut parts: Vec<Part> = plain.parts().iter().filter(|part| part.kind != PartKind::NumaNode).cloned().collect();
    // Parents move up by the nodes that are gone.
    let mut open = Vec::new();
    for (at, part) in parts.iter_mut().enumerate() {
        let depth = [PartKind::Machine, PartKind::Package, PartKind::L3Group, PartKind::Core, PartKind::ProcessingUnit]
            .iter()
            .position(|kind| *kind == part.kind)
            .unwrap();
        open.truncate(depth);
        part.parent = open.last().copied().unwrap_or(0);
        open.push(at as u32);
    }
    let node = |number, kind| Part {
        kind: PartKind::NumaNode,
        parent: 0,
        number: Some(number),
        units: parts[0].units.clone(),
        memory: Some(crate::topology::Memory { kind, bytes: GIB, side_cache_bytes: 0 }),
    };
    let nodes = [node(3, MemoryKind::HighBandwidth), node(5, MemoryKind::Dram)];
    parts.extend(nodes);
    let topology = Topology::new(parts, Vec::<TopologyDevice>::new(), Vec::new()).unwrap();
    let mut machine = Machine::new(&topology, &read::resources("cpus:8;mem:2048").unwrap()).unwrap();
    let refusal = machine.place(&demand("cpus:5"), &request(&[("policy", "package")])).unwrap_err();
    assert!(matches!(refusal, Reason::Cores { policy: Policy::OnePackage, .. }), "{refusal}");
    let five = machine.place(&demand("cpus:5;mem:16"), &request(&[("policy", "numa")])).unwrap();
    assert_eq!(five.node_numbers().to_string(), "[5-5]", "the ordinary one is home");
    let fast = machine.place(&demand("cpus:1;mem:1024"), &request(&[("memory", "hbm")])).unwrap();
    assert_eq!(fast.memory, [NodeMemory { node: 3, bytes: GIB }]);
    let refusal = machine.place(&demand("cpus:1;mem:1"), &request(&[("memory", "cxl")])).unwrap_err();
    assert!(matches!(refusal, Reason::NodeMemory { kind: Some(MemoryKind::Cxl), best: 0, .. }), "{refusal}");
}

#[test]
fn labels_are_read_or_refused_with_the_nearest_key() {
    let refusal = |pairs: &[(&str, &str)]| parse(&labels(pairs)).unwrap_err().to_string();
    assert_eq!(parse(&[Label { key: "other".into(), value: None }]), Ok(None));
    let all = request(&[
        ("policy", "spread"),
        ("cores", "exclusive"),
        ("memory", "hbm"),
        ("gpu-share", "0.25"),
        ("gpu-memory", "512MiB"),
        ("gpu-near", "units:0-3,8"),
    ]);
    assert_eq!((all.policy, all.exclusive, all.memory), (Policy::Spread, true, Some(MemoryKind::HighBandwidth)));
    assert_eq!((all.gpu_share, all.gpu_memory_bytes), (Some(250), Some(512 << 20)));
    assert_eq!(all.gpus_near, Some(Near::Units(Ranges::new(vec![(0, 3), (8, 8)]).unwrap())));
    assert_eq!(
        refusal(&[("polcy", "numa")]),
        "there is no label 'kaon.placement/polcy'; did you mean 'kaon.placement/policy'?"
    );
    assert!(refusal(&[("quite-another", "x")]).contains("; there are policy, cores, memory"));
    assert_eq!(
        refusal(&[("policy", "numma")]),
        "label 'kaon.placement/policy': expected none, numa, package, packed or spread, not 'numma'"
    );
    for (key, values) in [
        ("gpu-share", &["0", "1.001", "0.0001", "-1", "x", "", ".", "2", "1e-1"][..]),
        ("gpu-memory", &["16", "GiB", "0GiB", "99999999999999TiB", "1.5GiB", "16 GiB"]),
        ("gpu-near", &["", "nic:", "core", "units:", "units:3-1", "units:a", "units:1-2,2-3", "units:0-99999999"]),
        ("gpu-links", &["all"]),
        ("cores", &["2"]),
        ("memory", &["gpu", "ram"]),
    ] {
        for value in values {
            let found = parse(&labels(&[(key, value)]));
            assert!(
                matches!(&found, Err(LabelError::Value { key: one, .. }) if *one == key),
                "{key}={value}: {found:?}"
            );
        }
    }
    assert!(refusal(&[("policy", "numa"), ("policy", "numa")]).contains("twice"));
    assert!(refusal(&[("gpu-near", "cores")]).contains("gives the task its own"));
    assert!(refusal(&[("gpu-links", "group"), ("gpu-share", "0.5")]).contains("has no links"));
    let long = "x".repeat(1_000_000);
    assert!(refusal(&[(&long, "x")]).len() < 500 && refusal(&[("policy", &long)]).len() < 500);
}
