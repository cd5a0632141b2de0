//! The registry as a state machine.

use super::*;
use crate::registrar::apply::{Book, Ignored, Limits};
use kaon_kernel::chance::Chance;
use kaon_kernel::id::RoleName;
use kaon_kernel::maintenance::{DrainConfig, MachineId, Unavailability, Window};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::ResourceName;

fn names(book: &Book) -> [Vec<String>; 4] {
    let registry = book.registry();
    let name = |info: &AgentInfo| info.id.as_ref().map(ToString::to_string).unwrap_or_default();
    [
        registry.agents.iter().map(|agent| name(&agent.info)).collect(),
        registry.unreachable.iter().map(|(agent, _)| name(&agent.info)).collect(),
        registry.frameworks.iter().map(|info| info.name.clone()).collect(),
        registry.removed.iter().map(|(id, _)| id.to_string()).collect(),
    ]
}

#[test]
fn an_agent_comes_falls_silent_comes_back_and_leaves() {
    let mut book = Book::new(Limits::DEFAULT);
    book.apply(admit_agent("a", "cert-a")).unwrap();
    book.apply(admit_agent("b", "cert-b")).unwrap();
    book.apply(mark_unreachable("a", 5)).unwrap();
    assert_eq!(names(&book)[..2], [vec!["b".to_owned()], vec!["a".to_owned()]]);
    // The first time stamp stands.
    book.apply(mark_unreachable("a", 9)).unwrap();
    assert_eq!(book.registry().unreachable[0].1, WallTime(5));
    book.apply(admit_agent("a", "cert-a")).unwrap();
    assert_eq!(names(&book)[..2], [vec!["b".to_owned(), "a".to_owned()], vec![]]);
    book.apply(RegistryOperation::RemoveAgent { agent_id: AgentId::trusted("b") }).unwrap();
    assert_eq!(names(&book)[..2], [vec!["a".to_owned()], vec![]]);
}

#[test]
fn an_id_stays_with_its_identity() {
    let mut book = Book::new(Limits::DEFAULT);
    book.apply(admit_agent("a", "cert-a")).unwrap();
    assert_eq!(book.apply(admit_agent("a", "thief")), Err(Ignored::Identity));
    book.apply(mark_unreachable("a", 5)).unwrap();
    assert_eq!(book.apply(admit_agent("a", "thief")), Err(Ignored::Identity));
    assert_eq!(book.registry().unreachable[0].0.identity, "cert-a");
    let nameless = AgentInfo { id: None, ..agent("x") };
    let operation = RegistryOperation::AdmitAgent { info: nameless, identity: "cert-x".into() };
    assert_eq!(book.apply(operation), Err(Ignored::Unnamed));
}

#[test]
fn a_removed_framework_does_not_come_back() {
    let mut book = Book::new(Limits::DEFAULT);
    book.apply(admit_framework("f")).unwrap();
    book.apply(remove_framework("f", 1)).unwrap();
    assert_eq!(book.apply(admit_framework("f")), Err(Ignored::Removed));
    assert_eq!(names(&book)[2..], [vec![], vec!["f".to_owned()]]);
}

#[test]
fn the_oldest_is_forgotten_beyond_each_bound() {
    let mut book = Book::new(Limits { unreachable_max: 2, removed_max: 3, ..Limits::DEFAULT });
    for number in 0..5 {
        book.apply(admit_agent(&format!("a{number}"), "cert")).unwrap();
        book.apply(mark_unreachable(&format!("a{number}"), number)).unwrap();
        book.apply(remove_framework(&format!("f{number}"), number)).unwrap();
        book.invariants();
    }
    assert_eq!(names(&book)[1], ["a3", "a4"]);
    assert_eq!(names(&book)[3], ["f2", "f3", "f4"]);
}

#[test]
fn a_full_registry_forgets_before_it_refuses() {
    let mut book = Book::new(Limits { bytes_max: 2_000, ..Limits::DEFAULT });
    book.apply(admit_agent("old", "cert")).unwrap();
    book.apply(mark_unreachable("old", 1)).unwrap();
    let mut admitted = 0;
    while book.apply(admit_agent(&format!("a{admitted}"), "cert")).is_ok() {
        admitted += 1;
        book.invariants();
    }
    assert!(admitted > 3 && names(&book)[1].is_empty(), "{admitted}");
    assert_eq!(book.apply(admit_framework("f")), Err(Ignored::Full));
    // Who is in may still come back.
    book.apply(admit_agent("a0", "cert")).unwrap();
    assert_eq!(book.registry().agents.len(), admitted);
}

#[test]
fn the_measure_of_the_registry_covers_its_archive() {
    let mut book = Book::new(Limits::DEFAULT);
    for number in 0..300 {
        book.apply(admit_agent(&format!("agent-{number}"), &"i".repeat(number % 40))).unwrap();
        book.apply(admit_framework(&format!("framework-{number}"))).unwrap();
        if number % 3 == 0 {
            book.apply(mark_unreachable(&format!("agent-{number}"), 1)).unwrap();
            book.apply(remove_framework(&format!("framework-{number}"), 1)).unwrap();
        }
    }
    let archive = rkyv::to_bytes::<rkyv::rancor::Error>(&book.registry()).unwrap().len();
    assert!(book.bytes() >= archive && book.bytes() < 2 * archive, "{} for {archive}", book.bytes());
}

/// The laws: applying twice changes nothing more, a refused operation changes nothing at all, and writing the registry
/// down and reading it back changes nothing that later operations could see.
#[test]
fn operations_are_idempotent_and_survive_a_snapshot() {
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let limits = Limits { unreachable_max: 3, removed_max: 3, gone_max: 3, bytes_max: 4_000 };
        let mut book = Book::new(limits);
        for step in 0..200 {
            let name = format!("n{}", chance.below(8));
            let operation = match chance.below(13) {
                0 | 1 => admit_agent(&name, ["one", "two"][chance.below(2) as usize]),
                2 => mark_unreachable(&name, step),
                3 => RegistryOperation::RemoveAgent { agent_id: AgentId::trusted(name.as_str()) },
                4 => admit_framework(&name),
                5..=12 => standing(&mut chance, name, step),
                _ => remove_framework(&name, step),
            };
            let before = book.registry();
            let result = book.apply(operation.clone());
            let once = book.registry();
            assert!(result.is_ok() || before == once, "seed {seed}: {operation:?} was refused and changed something");
            assert_eq!(book.apply(operation.clone()), result, "seed {seed}: {operation:?}");
            assert_eq!(book.registry(), once, "seed {seed}: twice {operation:?}");
            book.invariants();
            if chance.below(10) == 0 {
                let restored = Book::restore(limits, once.clone()).expect("it was a registry");
                assert_eq!((restored.registry(), restored.bytes()), (once, book.bytes()));
                book = restored;
            }
        }
    }
}

#[test]
fn what_is_no_registry_is_not_restored() {
    let mut book = Book::new(Limits::DEFAULT);
    book.apply(admit_agent("a", "cert")).unwrap();
    let mut twice = book.registry();
    twice.agents.push(twice.agents[0].clone());
    assert!(Book::restore(Limits::DEFAULT, twice).is_none());
    let mut nameless = book.registry();
    nameless.agents[0].info.id = None;
    assert!(Book::restore(Limits::DEFAULT, nameless).is_none());
}

#[test]
fn settings_are_kept_replaced_and_removed_by_role() {
    let (role, cpus) = (RoleName::trusted, |units| (ResourceName::Cpus, Quantity::units(units)));
    let quota = |units| Quota { guarantees: vec![cpus(units)], limits: Vec::new() };
    let mut book = Book::new(Limits::DEFAULT);
    let set = |quotas| RegistryOperation::SetQuotas { quotas };
    book.apply(set(vec![(role("a"), quota(1)), (role("b"), quota(2))])).unwrap();
    book.apply(set(vec![(role("a"), quota(3))])).unwrap();
    assert_eq!(book.registry().quotas, [(role("a"), quota(3)), (role("b"), quota(2))]);
    book.apply(set(vec![(role("a"), Quota::default()), (role("never"), Quota::default())])).unwrap();
    assert_eq!(book.registry().quotas, [(role("b"), quota(2))]);
    book.apply(RegistryOperation::SetWeights { weights: vec![(role("a"), 500), (role("b"), 2000)] }).unwrap();
    book.apply(RegistryOperation::SetWeights { weights: vec![(role("a"), 1500)] }).unwrap();
    assert_eq!(book.registry().weights, [(role("a"), 1500), (role("b"), 2000)]);
    book.invariants();
    let again = Book::restore(Limits::DEFAULT, book.registry()).expect("what it wrote itself");
    assert_eq!(again.registry(), book.registry());
    let archive = rkyv::to_bytes::<rkyv::rancor::Error>(&book.registry()).unwrap().len();
    assert!(book.bytes() >= archive, "{} for {archive}", book.bytes());
}

#[test]
fn settings_that_do_not_fit_change_nothing() {
    let mut book = Book::new(Limits { bytes_max: 500, ..Limits::DEFAULT });
    let weights = (0..100).map(|number| (RoleName::trusted(format!("role-{number}")), 1000)).collect();
    assert_eq!(book.apply(RegistryOperation::SetWeights { weights }), Err(Ignored::Full));
    assert_eq!(book.registry(), Default::default());
}

/// Something that an operator says about an agent or about machines.
fn standing(chance: &mut Chance, name: String, step: u64) -> RegistryOperation {
    let agent_id = AgentId::trusted(name.as_str());
    let machines = vec![machine(&format!("m{}", chance.below(3)))];
    match chance.below(8) {
        0 => {
            let config = DrainConfig { grace_max: None, mark_gone: chance.below(2) == 0 };
            RegistryOperation::DrainAgent { agent_id, config, since: WallTime(step) }
        }
        1 => RegistryOperation::MarkDrained { agent_id },
        2 => RegistryOperation::DeactivateAgent { agent_id },
        3 => RegistryOperation::ReactivateAgent { agent_id },
        4 if chance.below(4) == 0 => RegistryOperation::MarkGone { agent_id, since: WallTime(step) },
        5 => RegistryOperation::StartMaintenance { machines },
        6 => RegistryOperation::StopMaintenance { machines },
        _ => RegistryOperation::SetSchedule { windows: vec![window(machines)] },
    }
}

fn machine(name: &str) -> MachineId {
    MachineId { hostname: name.to_owned(), ip: "10.0.0.1".to_owned() }
}

fn window(machines: Vec<MachineId>) -> Window {
    Window { machines, unavailability: Unavailability { start: WallTime(7), duration: None } }
}

#[test]
fn a_gone_agent_is_not_admitted_and_what_was_ordered_about_it_is_forgotten() {
    let mut book = Book::new(Limits::DEFAULT);
    let agent_id = AgentId::trusted("a");
    let config = DrainConfig { grace_max: None, mark_gone: true };
    let drain = RegistryOperation::DrainAgent { agent_id: agent_id.clone(), config, since: WallTime(1) };
    assert_eq!(book.apply(drain.clone()), Err(Ignored::UnknownAgent));
    book.apply(admit_agent("a", "cert")).unwrap();
    book.apply(drain).unwrap();
    book.apply(mark_unreachable("a", 2)).unwrap();
    assert_eq!(book.registry().orders[0].0, agent_id, "it holds while the agent is out of reach");
    book.apply(RegistryOperation::MarkGone { agent_id: agent_id.clone(), since: WallTime(3) }).unwrap();
    assert_eq!(book.apply(admit_agent("a", "cert")), Err(Ignored::Gone));
    let registry = book.registry();
    assert_eq!((registry.agents.len(), registry.unreachable.len(), registry.orders.len()), (0, 0, 0));
    assert_eq!(registry.gone, [(agent_id, WallTime(3))]);
}

#[test]
fn a_machine_that_is_up_again_leaves_the_schedule_and_one_that_leaves_it_is_up() {
    let mut book = Book::new(Limits::DEFAULT);
    let (one, two) = (machine("one"), machine("two"));
    let start = |machines| RegistryOperation::StartMaintenance { machines };
    assert_eq!(book.apply(start(vec![one.clone()])), Err(Ignored::Unscheduled));
    let windows = vec![window(vec![one.clone()]), window(vec![two.clone()])];
    book.apply(RegistryOperation::SetSchedule { windows }).unwrap();
    book.apply(start(vec![one.clone(), two.clone()])).unwrap();
    assert_eq!(book.registry().down, [one.clone(), two.clone()]);
    let upper = MachineId { hostname: "ONE".to_owned(), ..one };
    book.apply(RegistryOperation::StopMaintenance { machines: vec![upper] }).unwrap();
    let registry = book.registry();
    assert_eq!((registry.schedule, registry.down), (vec![window(vec![two.clone()])], vec![two]));
    book.apply(RegistryOperation::SetSchedule { windows: vec![] }).unwrap();
    assert!(book.registry().down.is_empty());
    book.invariants();
}
