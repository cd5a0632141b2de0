//! The law of placement (`kernel/src/placement/mod.rs`) over random machines and random histories of launches and ends.

use kaon_kernel::placement::{Demand, Machine, Near, Placement, PlacementRequest, Policy, Reason};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Device, Ranges, Resource, ResourceName, Resources, Value};
use kaon_kernel::topology::{MemoryKind, PartKind, Topology, Uniform};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MIB: u64 = 1 << 20;

fn uniform() -> impl Strategy<Value = Uniform> {
    let cores = (1..4_u32, 1..3_u32, 1..3_u32, 1..5_u32, 1..4_u32);
    (cores, 0..3_u64, 0..4_u32, 0..2_u64, 0..5_u32, 0..2_u32).prop_map(
        |((packages, nodes, l3_groups, cores, threads), memory, gpus, gpu_memory, linked, networks)| Uniform {
            packages,
            nodes,
            l3_groups,
            cores,
            threads,
            node_memory_bytes: memory * 512 * MIB,
            gpus,
            gpu_memory_bytes: gpu_memory * 7777 * MIB + gpu_memory,
            linked,
            networks,
        },
    )
}

/// What of a machine is shared out: a part of its processing units and memory, or more than it has; so many GPUs by count,
/// and some of the others by name.
#[derive(Clone, Debug)]
struct Shared {
    cpus_percent: u64,
    mem: u64,
    counted_percent: u32,
    named: Vec<(u32, u8)>,
}

fn shared() -> impl Strategy<Value = Shared> {
    let named = prop::collection::vec((1..=1000_u32, any::<u8>()), 0..3);
    (50..150_u64, 1..3_000_000_u64, 0..=100_u32, named).prop_map(|(cpus_percent, mem, counted_percent, named)| Shared {
        cpus_percent,
        mem,
        counted_percent,
        named,
    })
}

impl Shared {
    fn of(&self, topology: &Topology) -> Resources {
        let units = topology.count(PartKind::ProcessingUnit) as u64;
        let gpus: Vec<_> = topology.gpus().collect();
        let named = self.named.iter().zip(&gpus).map(|((share, memory), gpu)| Device {
            id: gpu.id().to_owned(),
            share: *share,
            memory_bytes: (gpu.memory_bytes / 256) * u64::from(*memory),
            numa_node: gpu.numa_node,
            link_group: gpu.link_group,
        });
        let named: Vec<Device> = named.collect();
        let counted = (gpus.len() - named.len()) as u64 * u64::from(self.counted_percent) / 100;
        bag(Quantity(units * 10 * self.cpus_percent), Quantity(self.mem), counted as u32, named)
    }
}

fn bag(cpus: Quantity, mem: Quantity, gpus: u32, devices: Vec<Device>) -> Resources {
    let devices = devices.into_iter().filter(|device| device.share > 0 || device.memory_bytes > 0).collect();
    let mut entries = vec![Resource::scalar(ResourceName::Cpus, cpus), Resource::scalar(ResourceName::Mem, mem)];
    // A bag has one kind of value under one name and identity; devices of a role of their own stand beside the count.
    entries.push(Resource::scalar(ResourceName::Gpus, Quantity::units(gpus.into())));
    let identity = kaon_kernel::resource::Identity { revocable: true, ..Default::default() };
    entries.push(Resource {
        name: ResourceName::Gpus,
        identity: Some(identity.into()),
        value: Value::Devices(devices),
    });
    Resources::collect(entries.into_iter().filter(|entry| !entry.value.is_empty())).expect("each once")
}

fn policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![Policy::None, Policy::OneNode, Policy::OnePackage, Policy::Packed, Policy::Spread])
}

fn near() -> impl Strategy<Value = Option<Near>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Near::Cores)),
        1 => Just(Some(Near::AnyNetwork)),
        1 => Just(Some(Near::Network("eth0".into()))),
        1 => Just(Some(Near::Units(Ranges::new(vec![(0, 1)]).unwrap()))),
    ]
}

/// What a task asks. Mostly something that makes sense with what it takes, see [`part_of`]; sometimes anything.
fn request() -> impl Strategy<Value = Option<Box<PlacementRequest>>> {
    let nothing = PlacementRequest::default;
    let memory = prop_oneof![8 => Just(None), 1 => Just(Some(MemoryKind::Dram)), 1 => Just(Some(MemoryKind::Cxl))];
    let share = || prop_oneof![1 => Just(None), 2 => (1..=1000_u32).prop_map(Some)];
    let bytes = || prop_oneof![2 => Just(None), 1 => (1..9000 * MIB).prop_map(Some)];
    let pinned = policy().prop_map(move |policy| PlacementRequest { policy, ..nothing() });
    let own = policy().prop_map(move |policy| PlacementRequest { policy, exclusive: true, ..nothing() });
    let part =
        (policy(), share(), bytes(), near()).prop_map(move |(policy, gpu_share, gpu_memory_bytes, gpus_near)| {
            let gpus_near = gpus_near.filter(|near| *near != Near::Cores || policy != Policy::None);
            PlacementRequest { policy, gpu_share, gpu_memory_bytes, gpus_near, ..nothing() }
        });
    let whole = (policy(), any::<bool>(), near()).prop_map(move |(policy, one_link_group, gpus_near)| {
        PlacementRequest { policy, one_link_group, gpus_near, ..nothing() }
    });
    let anything = (policy(), any::<bool>(), memory, share(), bytes(), any::<bool>(), near()).prop_map(
        |(policy, exclusive, memory, gpu_share, gpu_memory_bytes, one_link_group, gpus_near)| PlacementRequest {
            policy,
            exclusive,
            memory,
            gpu_share,
            gpu_memory_bytes,
            one_link_group,
            gpus_near,
        },
    );
    prop_oneof![
        3 => Just(None),
        4 => pinned.prop_map(|request| Some(Box::new(request))),
        3 => own.prop_map(|request| Some(Box::new(request))),
        3 => part.prop_map(|request| Some(Box::new(request))),
        2 => whole.prop_map(|request| Some(Box::new(request))),
        1 => anything.prop_map(|request| Some(Box::new(request))),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    /// A task takes these percents of what is free.
    Launch {
        cpus: u64,
        whole_cpus: bool,
        mem: u64,
        gpus: u32,
        devices: Vec<u64>,
        request: Option<Box<PlacementRequest>>,
    },
    /// One of the tasks ends.
    End(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let percent = || prop_oneof![1 => Just(0), 1 => Just(100), 8 => 0..60_u64];
    let devices = prop::collection::vec(percent(), 0..3);
    prop_oneof![
        3 => (percent(), any::<bool>(), percent(), percent(), devices, request()).prop_map(
            |(cpus, whole_cpus, mem, gpus, devices, request)| Step::Launch {
                cpus, whole_cpus, mem, gpus: gpus as u32, devices, request
            }
        ),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
    ]
}

/// A part of what is free: what an allocator might offer, and a task take. Cores of its own are whole ones, and beside a
/// part of a GPU there are no whole ones, seven times of eight.
fn part_of(free: &Resources, threads: u32, step: &Step) -> Resources {
    let Step::Launch { cpus, whole_cpus, mem, gpus, devices, request } = step else { return Resources::new() };
    let have = Demand::of(free).expect("counts stay whole");
    let (exclusive, part) = request.as_ref().map_or((false, false), |one| (one.exclusive, one.wants_part()));
    let is_odd = mem % 8 == 7;
    let grain = match (exclusive && !is_odd, whole_cpus) {
        (true, _) => u64::from(threads) * 1000,
        (false, true) => 1000,
        (false, false) => 1,
    };
    let cpus = have.cpus.0 * cpus / 100 / grain * grain;
    let mem = Quantity(have.mem.0 * mem / 100);
    if part && !is_odd {
        return bag(Quantity(cpus), mem, 0, Vec::new());
    }
    let taken = have.devices.iter().zip(devices).map(|(device, percent)| Device {
        share: (u64::from(device.share) * percent / 100) as u32,
        memory_bytes: device.memory_bytes / 100 * percent,
        ..device.clone()
    });
    bag(Quantity(cpus), mem, have.gpus * gpus / 100, taken.collect())
}

/// Law 2 and 3, from the placements alone.
fn audit(topology: &Topology, total: &Resources, tasks: &[(Resources, PlacementRequest, Placement)]) {
    let cores: Vec<Ranges> = topology.all(PartKind::Core).map(|part| part.units.clone()).collect();
    let core_of = |unit: u32| {
        let one = Ranges::new(vec![(u64::from(unit), u64::from(unit))]).unwrap();
        cores.iter().position(|core| core.contains(&one)).expect("every unit is in a core")
    };
    let mut units: BTreeMap<u32, u64> = BTreeMap::new();
    let mut owners: BTreeMap<usize, usize> = BTreeMap::new();
    let mut nodes: BTreeMap<u32, u64> = BTreeMap::new();
    let mut devices: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut whole = BTreeSet::new();
    for (task, (resources, request, placement)) in tasks.iter().enumerate() {
        let demand = Demand::of(resources).unwrap();
        assert_eq!((placement.cpus, placement.mem, placement.whole_gpus), (demand.cpus, demand.mem, demand.gpus));
        let placed: u64 = placement.units.iter().map(|one| u64::from(one.share)).sum();
        assert_eq!(placed, if request.is_pinned() { demand.cpus.0 } else { 0 });
        let memory: u64 = placement.memory.iter().map(|one| one.bytes).sum();
        assert_eq!(memory, if request.is_pinned() { (demand.mem.0 * MIB).div_ceil(1000) } else { 0 });
        for one in &placement.units {
            *units.entry(one.unit).or_default() += u64::from(one.share);
        }
        for one in &placement.memory {
            *nodes.entry(one.node).or_default() += one.bytes;
        }
        for one in &placement.devices {
            let (share, bytes) = devices.entry(one.id.as_str()).or_default();
            *share += u64::from(one.share);
            *bytes += one.memory_bytes;
        }
        let named: BTreeSet<&str> = demand.devices.iter().map(|device| device.id.as_str()).collect();
        let by_count = placement.devices.iter().filter(|one| !named.contains(one.id.as_str()));
        let by_count: Vec<_> = by_count.filter(|_| !request.wants_part()).collect();
        assert_eq!(by_count.len() as u32, demand.gpus);
        for one in by_count {
            assert_eq!(one.share, 1000);
            assert!(whole.insert(&one.id), "a whole GPU is one task's");
        }
        if request.wants_part() {
            assert_eq!(placement.devices.len(), 1, "a part is of one GPU");
        }
        let spans = |kind| {
            let numbers = placement.unit_numbers();
            topology.all(kind).any(|part| part.units.contains(&numbers))
        };
        assert!(request.policy != Policy::OneNode || spans(PartKind::NumaNode) && placement.memory.len() <= 1);
        assert!(request.policy != Policy::OnePackage || spans(PartKind::Package));
        if request.one_link_group && placement.devices.len() > 1 {
            let group = |id: &str| topology.gpus().find(|gpu| gpu.id() == id).and_then(|gpu| gpu.link_group);
            let groups: BTreeSet<_> = placement.devices.iter().map(|one| group(&one.id)).collect();
            assert!(groups.len() == 1 && !groups.contains(&None), "{groups:?}");
        }
        if request.exclusive {
            for one in &placement.units {
                assert_eq!(one.share, 1000);
                assert!(owners.insert(core_of(one.unit), task).is_none_or(|owner| owner == task));
            }
        }
    }
    for (task, (_, _, placement)) in tasks.iter().enumerate() {
        for one in &placement.units {
            assert!(owners.get(&core_of(one.unit)).is_none_or(|owner| *owner == task), "a core is nobody else's");
        }
    }
    assert!(units.values().all(|share| *share <= 1000), "{units:?}");
    let sizes: BTreeMap<u32, u64> =
        topology.all(PartKind::NumaNode).map(|part| (part.number.unwrap(), part.memory.unwrap().bytes)).collect();
    let is_known = sizes.values().any(|bytes| *bytes > 0);
    assert!(!is_known || nodes.iter().all(|(node, bytes)| *bytes <= sizes[node]), "{nodes:?} of {sizes:?}");
    let named = Demand::of(total).unwrap().devices;
    for (id, (share, bytes)) in devices {
        let gpu = topology.gpus().find(|gpu| gpu.id() == id).expect("it is there");
        let (most, most_bytes) = match named.iter().find(|device| device.id == id) {
            Some(device) => (u64::from(device.share), device.memory_bytes),
            None => (1000, gpu.memory_bytes),
        };
        assert!(share <= most && bytes <= most_bytes, "{id}: {share} of {most}, {bytes} of {most_bytes}");
        assert!(!whole.contains(&id.to_owned()) || share == 1000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_offered_can_be_carried_out_and_nothing_is_used_twice(
        uniform in uniform(),
        shared in shared(),
        steps in prop::collection::vec(step(), 1..32),
    ) {
        let topology = uniform.build().unwrap();
        let total = shared.of(&topology);
        let mut machine = Machine::new(&topology, &total).unwrap();
        let unused = machine.clone();
        let mut free = total.clone();
        let mut tasks: Vec<(Resources, PlacementRequest, Placement)> = Vec::new();
        for step in &steps {
            match step {
                Step::Launch { request, .. } => {
                    let taken = part_of(&free, uniform.threads, step);
                    prop_assert!(free.contains(&taken));
                    let demand = Demand::of(&taken).unwrap();
                    let before = machine.clone();
                    let asked = request.as_deref().cloned().unwrap_or_default();
                    let answer = machine.place(&demand, &asked);
                    // Law 5: a refusal changes nothing, says something, and concerns the request alone (law 1).
                    let (asked, placement) = match answer {
                        Ok(placement) => (asked, placement),
                        Err(reason) => {
                            prop_assert_eq!(&machine, &before);
                            prop_assert!(request.is_some(), "an offer was not carried out: {}", reason);
                            let is_sum = matches!(reason, Reason::Cpus { .. } | Reason::Memory { .. });
                            prop_assert!(!is_sum, "the sum was in the offer");
                            let plain = PlacementRequest::default();
                            let placement = machine.place(&demand, &plain);
                            prop_assert!(placement.is_ok(), "an offer was not carried out: {:?}", placement);
                            (plain, placement.unwrap())
                        }
                    };
                    free.subtract(&taken).unwrap();
                    tasks.push((taken, asked, placement));
                }
                Step::End(index) if !tasks.is_empty() => {
                    let (taken, _, placement) = tasks.swap_remove(index.index(tasks.len()));
                    machine.release(&placement);
                    free.add(&taken).unwrap();
                }
                Step::End(_) => {}
            }
            audit(&topology, &total, &tasks);
            // What a restarted agent books again from its checkpoint is the same.
            let mut again = machine.emptied();
            for (_, _, placement) in &tasks {
                prop_assert!(again.occupy(placement));
            }
            prop_assert_eq!(&again, &machine);
        }
        // Law 4.
        for (_, _, placement) in tasks {
            machine.release(&placement);
        }
        prop_assert_eq!(machine, unused);
    }
}
