//! What the engine grants, agents can do: over random machines with GPUs, counted and in parts, and random histories of
//! launches, ends, reservations and volumes, also shared ones. An agent here knows its own total, what runs on it and the places of that, nothing of the engine.

use super::{Play, facts, role};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::placement::{Demand, Machine, Placement, PlacementRequest, Policy};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::{
    Device, Disk, Identity, Persistence, Ranges, Reservation, Resource, ResourceName, Resources, Value, Volume, parse,
};
use kaon_kernel::time::Duration;
use kaon_kernel::topology::{Topology, Uniform};
use proptest::prelude::*;

const ROLES: [&str; 3] = ["a", "a/b", "c"];

/// An agent of its own books.
struct Host {
    total: Resources,
    used: Resources,
    machine: Machine,
}

struct Task {
    grant: Grant,
    placement: Option<Placement>,
}

struct World {
    play: Play,
    hosts: Vec<Host>,
    granted: Vec<Grant>,
    tasks: Vec<Task>,
    volumes: u32,
    /// What came about: launches, placed ones, reservations, volumes, parts of named GPUs, shared volumes, further tasks on
    /// one, parts of a GPU that was asked for.
    seen: [u32; 8],
}

/// A machine, in percent what of it is shared out, and how its GPUs are.
type Make = ((u32, u32, u32), u32, u64, Gpus);

/// How GPUs are shared out.
#[derive(Clone, Copy, Debug)]
enum Gpus {
    /// By count, whole.
    Counted,
    /// Each by its name, in parts.
    Named,
    /// One by its name, to one role; the others by count.
    Mixed,
}

#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    pick: u32,
    percents: [u8; 4],
}

fn host((shape, gpus, percent, how): &Make) -> Host {
    let &(packages, cores, threads) = shape;
    let gpu_memory_bytes = 1 << 30;
    let uniform = Uniform {
        packages,
        cores,
        threads,
        gpus: *gpus,
        gpu_memory_bytes,
        node_memory_bytes: 8 << 30,
        ..Uniform::default()
    };
    let topology = uniform.build().expect("a machine");
    let named = match how {
        Gpus::Counted => 0,
        Gpus::Named => packages * gpus,
        Gpus::Mixed => 1.min(packages * gpus),
    };
    let units = u64::from(packages * cores * threads);
    let gpus = u64::from(packages * gpus - named) * percent / 100;
    let mem = u64::from(packages) * 8192 * percent / 100;
    let gpus = if gpus > 0 { format!("gpus:{gpus};") } else { String::new() };
    let total =
        format!("cpus:{};mem:{mem};{gpus}disk:4096;disk(a):512;ports:[1-40]", units as f64 * *percent as f64 / 100.0);
    let total = parse::resources(&total).expect("a resource text of a test");
    let devices = devices(&topology, named as usize, *percent as u32, matches!(how, Gpus::Mixed));
    let total = bag(total.iter().cloned().chain(devices));
    let machine = Machine::new(&topology, &total).expect("it has what it shares out");
    Host { total, used: Resources::new(), machine }
}

/// So many GPUs of a machine by their names; reserved, where others are counted: a bag has one kind of value under one name and identity.
fn devices(topology: &Topology, count: usize, percent: u32, is_reserved: bool) -> Option<Resource> {
    let some = |gpu: &kaon_kernel::topology::Device| Device {
        id: gpu.id().to_owned(),
        share: 10 * percent,
        memory_bytes: gpu.memory_bytes,
        numa_node: gpu.numa_node,
        link_group: gpu.link_group,
    };
    let mut named: Vec<Device> = topology.gpus().take(count).map(some).collect();
    named.sort_unstable();
    let layer = Reservation { dynamic: false, role: role("a"), principal: None, labels: Vec::new() };
    let identity = is_reserved.then(|| Identity { reservations: vec![layer], ..Identity::default() }.into());
    (!named.is_empty()).then_some(Resource { name: ResourceName::Gpus, identity, value: Value::Devices(named) })
}

/// A part of an entry: what is counted whole is taken whole or not at all.
fn part(entry: &Resource, percent: u8) -> Option<Resource> {
    let percent = u64::from(percent.min(100));
    let value = match &entry.value {
        _ if entry.is_indivisible() || entry.is_persistent_volume() => {
            return (percent >= 50).then(|| entry.clone());
        }
        Value::Scalar(have) => {
            let grain = if entry.name == ResourceName::Gpus { 1000 } else { 1 };
            Value::Scalar(Quantity(have.0 * percent / 100 / grain * grain))
        }
        Value::Ranges(have) => {
            let (begin, end) = have.iter().next()?;
            Value::Ranges(Ranges::new(vec![(begin, begin + (end - begin) * percent / 100)]).expect("one range"))
        }
        Value::Devices(have) => {
            let part = |device: &Device| Device {
                share: device.share * percent as u32 / 100,
                memory_bytes: device.memory_bytes * percent / 100,
                ..device.clone()
            };
            let parts = have.iter().map(part).filter(|device| device.share > 0 || device.memory_bytes > 0);
            Value::Devices(parts.collect())
        }
        other => other.clone(),
    };
    (!value.is_empty()).then(|| Resource { value, ..entry.clone() })
}

fn bag(entries: impl IntoIterator<Item = Resource>) -> Resources {
    Resources::collect(entries).expect("parts of one bag")
}

impl World {
    fn new(makes: &[Make]) -> Self {
        let mut play = Play::new();
        for (index, name) in ROLES.iter().enumerate() {
            play.framework_with(index as u32, &[name], &[], &Capability::ALL);
        }
        let hosts = makes.iter().map(host).collect::<Vec<_>>();
        for (index, host) in hosts.iter().enumerate() {
            let (index, total) = (index as u32, host.total.clone());
            play.engine.add_agent(AgentIndex(index), facts(index, None), total, &[]).expect("it has begun");
        }
        Self { play, hosts, granted: Vec::new(), tasks: Vec::new(), volumes: 0, seen: [0; 8] }
    }

    fn act(&mut self, step: &Step) {
        match step.kind {
            0..=2 => self.round(),
            3..=7 if !self.granted.is_empty() => {
                let grant = self.granted.swap_remove(step.pick as usize % self.granted.len());
                self.accept(grant, step);
            }
            _ if !self.tasks.is_empty() => {
                let Task { grant, placement } = self.tasks.swap_remove(step.pick as usize % self.tasks.len());
                let host = &mut self.hosts[grant.agent.0 as usize];
                host.used.subtract(&grant.resources).expect("it ran");
                placement.iter().for_each(|placement| host.machine.release(placement));
                self.play.recover(grant, None);
            }
            _ => {}
        }
        self.play.engine.invariants();
    }

    /// What is granted of an agent is there, and neither in use nor granted to another, but for what is shared.
    fn round(&mut self) {
        self.play.now = self.play.now + Duration::millis(700);
        self.play.engine.mark_batch();
        for grant in self.play.round() {
            let host = &self.hosts[grant.agent.0 as usize];
            let others = self.granted.iter().filter(|other| other.agent == grant.agent);
            let taken = others.fold(host.used.clone(), |sum, other| sum.plus(&other.resources).expect("nothing twice"));
            let own = |bag: &Resources| bag.filter(|entry| !entry.is_shared());
            let free = own(&host.total).minus(&own(&taken)).expect("no more is taken than there is");
            assert!(free.contains(&own(&grant.resources)), "{free} are free, {} are granted", grant.resources);
            let copies = grant.resources.shared();
            assert!(host.total.contains(&copies), "{copies} are granted of {}", host.total);
            self.granted.push(grant);
        }
    }

    /// An acceptance: an operation perhaps, a launch perhaps, and the rest comes back.
    fn accept(&mut self, mut grant: Grant, step: &Step) {
        if step.percents[3].is_multiple_of(2) {
            self.operate(&mut grant, step.percents);
        }
        let taken = grant.resources.iter().zip(step.percents.iter().cycle());
        let taken = bag(taken.filter_map(|(entry, percent)| part(entry, *percent)));
        let pinned = |policy| Some(PlacementRequest { policy, ..PlacementRequest::default() });
        let wish = match step.percents[0] % 8 {
            0 | 4 => pinned(Policy::Packed),
            1 => pinned(Policy::OneNode),
            2 => Some(PlacementRequest { gpu_share: Some(300), ..PlacementRequest::default() }),
            _ => None,
        };
        let mut rest = grant.resources.minus(&taken).expect("a part of it");
        let copies = taken.shared().without_copies();
        self.start(Grant { resources: taken, ..grant.clone() }, wish);
        let more = rest.iter().find(|entry| entry.name == ResourceName::Cpus).and_then(|entry| part(entry, 50));
        if let Some(more) = more.filter(|_| !copies.is_empty() && step.percents[1].is_multiple_of(2)) {
            // A second task on the same volume: a copy more than was offered, as the master counts it.
            let Grant { framework, role, agent, .. } = &grant;
            assert_eq!(self.play.engine.share(*framework, role, *agent, &copies), Ok(()));
            let more = bag([more]);
            rest = rest.minus(&more).expect("a part of it");
            let resources = copies.plus(&more).expect("a volume and processors");
            self.start(Grant { resources, ..grant.clone() }, None);
            self.seen[6] += 1;
        }
        if !rest.is_empty() {
            let refusal = step.percents[1].is_multiple_of(2).then(|| Duration::secs(1));
            self.play.recover(Grant { resources: rest, ..grant }, refusal);
        }
    }

    fn start(&mut self, task: Grant, wish: Option<PlacementRequest>) {
        match self.launch(&task, wish) {
            Some(placement) => self.tasks.push(Task { grant: task, placement }),
            None => self.play.recover(task, None),
        }
    }

    /// The agent starts a task; only one with a wish for its place may be refused.
    fn launch(&mut self, task: &Grant, wish: Option<PlacementRequest>) -> Option<Option<Placement>> {
        if task.resources.is_empty() {
            return None;
        }
        let host = &mut self.hosts[task.agent.0 as usize];
        let demand = Demand::of(&task.resources).expect("GPUs are granted whole");
        let placement = match wish {
            None if demand.gpus == 0 && demand.devices.is_empty() => None,
            None => {
                let placed = host.machine.place(&demand, &PlacementRequest::default());
                Some(placed.unwrap_or_else(|reason| panic!("{} can't be carried out: {reason}", task.resources)))
            }
            Some(request) => {
                let placement = host.machine.place(&demand, &request).ok()?;
                self.seen[7] += u32::from(request.wants_part());
                Some(placement)
            }
        };
        host.used.add(&task.resources).expect("nothing is used twice");
        let used = host.used.without_copies();
        assert!(host.total.contains(&used), "{used} are used of {}", host.total);
        self.seen[0] += 1;
        self.seen[4] += u32::from(!demand.devices.is_empty());
        self.seen[1] += u32::from(placement.is_some());
        Some(placement)
    }

    /// What lies in other offers and holds a copy of these volumes comes back before they go, as the master sees to it.
    fn take_back(&mut self, agent: AgentIndex, copies: &Resources) {
        let holds = |grant: &Grant| {
            grant.agent == agent && copies.iter().any(|copy| grant.resources.iter().any(|entry| entry == copy))
        };
        let (back, kept) = core::mem::take(&mut self.granted).into_iter().partition(holds);
        self.granted = kept;
        let back: Vec<Grant> = back;
        back.into_iter().for_each(|grant| self.play.recover(grant, None));
    }

    /// Reserves, gives a reservation back, makes or destroys a volume: engine and agent both turn what they have.
    fn operate(&mut self, grant: &mut Grant, percents: [u8; 4]) {
        let holder = grant.role.clone();
        let reservation = Reservation { dynamic: true, role: holder.clone(), principal: None, labels: Vec::new() };
        let some = |keep: &dyn Fn(&Resource) -> bool| {
            let kept = grant.resources.iter().filter(|entry| keep(entry));
            bag(kept.zip(percents.iter().cycle()).filter_map(|(entry, percent)| part(entry, *percent)))
        };
        let disk = |entry: &Resource| entry.name == ResourceName::Disk && !entry.is_persistent_volume();
        let operation = match percents[2] % 4 {
            0 => {
                let plain = some(&|entry| entry.identity.is_none());
                let resources = plain.with_reservation(&reservation).expect("the first reservation");
                Operation::Reserve { source: None, resources }
            }
            1 => {
                let kept = |entry: &Resource| entry.is_dynamically_reserved() && !entry.is_persistent_volume();
                Operation::Unreserve { resources: some(&|entry| kept(entry) && entry.is_reserved_to(&holder)) }
            }
            2 => {
                let reserved = some(&|entry| disk(entry) && entry.is_reserved_to(&holder));
                let Some(entry) = reserved.iter().next() else { return };
                self.volumes += 1;
                let is_shared = percents[1].is_multiple_of(2);
                self.seen[5] += u32::from(is_shared);
                Operation::Create { volumes: bag([volume(entry.clone(), self.volumes, is_shared)]) }
            }
            _ => Operation::Destroy { volumes: some(&|entry| entry.is_persistent_volume()) },
        };
        if let Operation::Destroy { volumes } = &operation {
            let copies = volumes.shared();
            let used = &self.hosts[grant.agent.0 as usize].used;
            if copies.iter().any(|copy| used.iter().any(|entry| entry == copy)) {
                // The master refuses: a task is on it.
                return;
            }
            self.take_back(grant.agent, &copies);
        }
        let before = grant.resources.clone();
        let Ok(conversion) = grant.resources.operate(&operation) else {
            assert_eq!(grant.resources, before, "what is refused changes nothing");
            return;
        };
        let (consumed, converted) = (&conversion.consumed, &conversion.converted);
        let done = self.play.engine.convert(grant.framework, &grant.role, grant.agent, consumed, converted);
        assert_eq!(done, Ok(()), "the engine turns what it granted: {operation:?}");
        let host = &mut self.hosts[grant.agent.0 as usize];
        host.total.convert(&conversion).unwrap_or_else(|error| panic!("{operation:?} can't be carried out: {error}"));
        match operation {
            Operation::Create { .. } => self.seen[3] += 1,
            _ => self.seen[2] += 1,
        }
    }
}

fn volume(entry: Resource, number: u32, shared: bool) -> Resource {
    let mut identity = entry.identity.as_deref().cloned().unwrap_or_else(Identity::default);
    let mount = Volume { container_path: "data".to_owned(), host_path: None, writable: true };
    let persistence = Some(Persistence { id: format!("volume-{number}"), principal: None });
    identity.shared = shared;
    identity.disk = Some(Disk { persistence, volume: Some(mount), source: None });
    Resource { identity: Some(identity.into()), ..entry }
}

fn step() -> impl Strategy<Value = Step> {
    (0..12_u8, any::<u32>(), any::<[u8; 4]>()).prop_map(|(kind, pick, percents)| Step { kind, pick, percents })
}

fn gpus() -> impl Strategy<Value = Gpus> {
    prop::sample::select(vec![Gpus::Counted, Gpus::Named, Gpus::Mixed])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_granted_can_be_carried_out_and_nothing_is_used_twice(
        makes in prop::collection::vec(((1..3_u32, 1..5_u32, 1..3_u32), 0..4_u32, 50..=100_u64, gpus()), 1..4),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut world = World::new(&makes);
        steps.iter().for_each(|step| world.act(step));
    }
}

/// The histories do what they are meant to try.
#[test]
fn histories_launch_place_reserve_and_make_volumes() {
    let mut world = World::new(&[
        ((2, 4, 2), 2, 100, Gpus::Counted),
        ((1, 4, 1), 2, 90, Gpus::Mixed),
        ((1, 2, 2), 3, 80, Gpus::Named),
    ]);
    let mut chance = kaon_kernel::chance::Chance::new(7);
    for _ in 0..2000 {
        let percents = [(); 4].map(|()| chance.below(256) as u8);
        world.act(&Step { kind: chance.below(12) as u8, pick: chance.below(1000) as u32, percents });
    }
    assert!(world.seen.iter().all(|&count| count > 3), "{:?}", world.seen);
    let held = world.play.engine.held(FrameworkIndex(0), &role("a"), AgentIndex(0));
    assert!(world.hosts[0].total.contains(&held));
}
