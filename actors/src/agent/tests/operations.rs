//! Operations on what the machine has: on disk before they are told, carried out to their end, told until seen.

use super::*;
use kaon_kernel::actor::exit;
use kaon_kernel::container::VolumeLink;
use kaon_kernel::id::OperationId;
use kaon_kernel::operation::{HeldOperation, OperationState, OperationStatus};
use kaon_kernel::resource::operation::Operation as OnResources;
use kaon_kernel::resource::{Disk, Persistence, Reservation, Resource, ResourceName, Volume, parse};

const STARTED: &str = "cpus:8;mem:8192;disk:100";

fn with_disk() -> AgentConfig {
    let mut config = config();
    config.info.resources = parse::resources(STARTED).expect("a text");
    config
}

fn bag(entry: Resource) -> Resources {
    Resources::collect([entry]).expect("one entry")
}

fn reserved(name: ResourceName, units: u64) -> Resource {
    let role = RoleName::trusted("eng");
    let layer = Reservation { dynamic: true, role, principal: None, labels: Vec::new() };
    Resource::scalar(name, Quantity::units(units)).with_reservation(layer).expect("a stack")
}

fn volume(units: u64) -> Resource {
    let mut entry = reserved(ResourceName::Disk, units);
    let persistence = Some(Persistence { id: "v".to_owned(), principal: None });
    let volume = Some(Volume { container_path: "data".to_owned(), host_path: None, writable: true });
    entry.identity.get_or_insert_default().disk = Some(Disk { persistence, volume, source: None });
    entry
}

fn reserve(name: ResourceName, units: u64) -> OnResources {
    OnResources::Reserve { source: None, resources: bag(reserved(name, units)) }
}

fn order(number: u8, operation: OnResources) -> ToAgent {
    let id = Some(OperationId::trusted(format!("o{number}")));
    let author = Some((FrameworkId::trusted(FRAMEWORK), RoleName::trusted("eng")));
    let status = OperationStatus::bare(id, OperationState::Pending, None);
    let operation = Box::new(HeldOperation { uuid: Uuid([number; 16]), author, operation, status });
    ToAgent::ApplyOperation { operation }
}

impl Bench {
    /// The operations told to the master since the last call.
    fn take_told(&mut self) -> Vec<HeldOperation> {
        let all = core::mem::take(&mut self.to_master).into_iter();
        let told = all.filter_map(|message| match message {
            ToMaster::UpdateOperation { operation } => Some(*operation),
            _ => None,
        });
        told.collect()
    }

    fn answer_volumes(&mut self, outcome: Result<(), String>) {
        let is_volumes = |request: &ContainerRequest| matches!(request, ContainerRequest::Volumes { .. });
        self.answer(is_volumes, ContainerOutcome::Volumes(outcome));
    }

    /// Everything up to the end of the operations under way.
    fn settle(&mut self) {
        self.flush();
        while self.asked.iter().any(|(_, request)| matches!(request, ContainerRequest::Volumes { .. })) {
            self.answer_volumes(Ok(()));
            self.flush();
        }
    }

    /// Registers again after a restart; what is reported.
    fn report(&mut self) -> (Resources, Vec<HeldOperation>) {
        self.recovered(Vec::new());
        self.link(MASTER, PeerRole::Master, "master", LinkState::Up);
        self.master(ToAgent::Leading { master_id: MasterId::trusted("m"), term: Term(1) });
        self.pass(Duration::secs(2));
        match self.take_registrations().pop() {
            Some(ToMaster::Reregister { checkpointed, operations, .. }) => (checkpointed, operations),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reservation_is_on_disk_before_it_is_told_and_told_until_it_is_seen() {
    let mut bench = Bench::registered(with_disk());
    bench.master(order(1, reserve(ResourceName::Cpus, 2)));
    bench.master(order(1, reserve(ResourceName::Cpus, 2)));
    assert_eq!(bench.take_told(), [], "it is not on disk");
    bench.flush();
    let told = bench.take_told();
    assert_eq!((told.len(), told[0].status.state), (1, OperationState::Finished));
    assert_eq!(told[0].status.converted, bag(reserved(ResourceName::Cpus, 2)));
    bench.pass(Duration::secs(10));
    assert_eq!(bench.take_told(), told, "nobody has seen it");
    let acknowledge = |status| ToAgent::AcknowledgeOperation { operation: Uuid([1; 16]), status };
    bench.master(acknowledge(Uuid([9; 16])));
    bench.master(acknowledge(told[0].status.uuid.expect("it is to be acknowledged")));
    bench.flush();
    bench.pass(Duration::secs(1200));
    assert_eq!(bench.take_told(), []);
    assert_eq!(bench.keys(), ["resources"], "the operation is forgotten, what it made is not");
    let journal = bench.durable.clone();
    bench.restart(journal);
    assert_eq!(bench.report(), (bag(reserved(ResourceName::Cpus, 2)), Vec::new()));
}

#[test]
fn the_directory_of_a_volume_follows_the_disk_and_comes_before_the_word() {
    let mut bench = Bench::registered(with_disk());
    bench.master(order(1, reserve(ResourceName::Disk, 50)));
    bench.master(order(2, OnResources::Create { volumes: bag(volume(40)) }));
    let is_volumes = |(_, request): &(Ticket, ContainerRequest)| matches!(request, ContainerRequest::Volumes { .. });
    assert!(!bench.asked.iter().any(is_volumes), "nothing is on disk");
    bench.flush();
    let asked = bench.asked.iter().find(|asked| is_volumes(asked)).expect("a directory is asked for");
    assert!(
        matches!(&asked.1, ContainerRequest::Volumes { make, .. } if *make == ["volumes/roles/eng/v"]),
        "{asked:?}"
    );
    assert_eq!(bench.take_told().len(), 1, "of the reservation only");
    bench.answer_volumes(Ok(()));
    assert_eq!(bench.take_told(), [], "the end is not on disk");
    bench.flush();
    assert_eq!(bench.take_told()[0].status.state, OperationState::Finished);

    // A task that uses it finds it, and it is not destroyed under the task.
    let resources = task("t").resources.plus(&bag(volume(40))).expect("a sum");
    bench.run(TaskInfo { resources, ..task("t") });
    bench.flush();
    let link = VolumeLink {
        source: "volumes/roles/eng/v".to_owned(),
        container_path: "data".to_owned(),
        writable: true,
        shared: false,
    };
    assert_eq!(bench.launch().1.volumes, [link]);
    bench.master(order(3, OnResources::Destroy { volumes: bag(volume(40)) }));
    bench.flush();
    let told = bench.take_told();
    assert_eq!(told[0].status.state, OperationState::Failed);
    assert!(told[0].status.message.as_ref().is_some_and(|words| words.contains("in use")), "{told:?}");
}

#[test]
fn a_broken_disk_ends_the_agent() {
    let mut bench = Bench::registered(with_disk());
    bench.master(order(1, reserve(ResourceName::Disk, 50)));
    bench.master(order(2, OnResources::Create { volumes: bag(volume(40)) }));
    bench.flush();
    bench.answer_volumes(Err("no space left".to_owned()));
    assert_eq!(bench.finished, Some(exit::STORAGE));
}

/// However far the writing came: the next life reports what is on disk, and goes on from there.
#[test]
fn a_crash_anywhere_leaves_an_operation_whole_or_undone() {
    let orders = || {
        [
            order(1, reserve(ResourceName::Disk, 50)),
            order(2, OnResources::Create { volumes: bag(volume(40)) }),
            order(3, OnResources::Destroy { volumes: bag(volume(40)) }),
        ]
    };
    let kept = |bags: &[Resource]| Resources::collect(bags.iter().cloned()).expect("a bag");
    let made = [
        Resources::new(),
        kept(&[reserved(ResourceName::Disk, 50)]),
        kept(&[reserved(ResourceName::Disk, 10), volume(40)]),
        kept(&[reserved(ResourceName::Disk, 50)]),
    ];
    for writes in 0..8 {
        let mut bench = Bench::registered(with_disk());
        orders().into_iter().for_each(|order| bench.master(order));
        for _ in 0..writes {
            if !bench.flush_one() {
                bench.answer_volumes(Ok(()));
            }
        }
        let told: Vec<u8> = bench.take_told().iter().map(|held| held.uuid.0[0]).collect();
        let journal = bench.durable.clone();
        bench.restart(journal);
        let (checkpointed, operations) = bench.report();
        assert_eq!(checkpointed, made[operations.len()], "after {writes} writes");
        for number in &told {
            let found = operations.iter().find(|held| held.uuid.0[0] == *number).expect("what was told is there");
            assert_eq!(found.status.state, OperationState::Finished, "after {writes} writes");
        }
        bench.welcome();
        bench.settle();
        let ended = bench.take_told();
        assert_eq!(ended.len(), operations.len(), "each is told of again");
        assert!(ended.iter().all(|held| held.status.state == OperationState::Finished));
    }
}

#[test]
fn what_comes_while_the_agent_is_not_registered_is_dropped() {
    let mut bench = Bench::registered(with_disk());
    let before = bench.episode;
    bench.master(ToAgent::Ping { connected: false });
    // The answer to a repetition of the last wish is no answer to this one.
    let (agent_id, ping_timeout) = (AgentId::trusted("m-S0"), Duration::secs(75));
    bench.master(ToAgent::Registered { agent_id, ping_timeout, episode: before });
    bench.master(order(1, reserve(ResourceName::Cpus, 2)));
    bench.pass(Duration::millis(1));
    bench.flush();
    bench.pass(Duration::secs(1));
    let Some(ToMaster::Reregister { checkpointed, operations, .. }) = bench.take_registrations().pop() else {
        panic!("it registers again")
    };
    assert!(checkpointed.is_empty());
    assert_eq!(operations[0].status.state, OperationState::Dropped);
    bench.welcome();
    assert_eq!(bench.take_told()[0].status.state, OperationState::Dropped);
}

#[test]
fn what_the_machine_has_not_is_refused() {
    let mut bench = Bench::registered(with_disk());
    bench.master(order(1, reserve(ResourceName::Cpus, 9)));
    bench.master(order(2, OnResources::Destroy { volumes: bag(volume(40)) }));
    bench.flush();
    let told = bench.take_told();
    assert!(told.iter().all(|held| held.status.state == OperationState::Failed), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn a_machine_that_was_started_with_less_than_is_reserved_on_it_stops() {
    let mut bench = Bench::registered(with_disk());
    bench.master(order(1, reserve(ResourceName::Disk, 50)));
    bench.flush();
    let mut config = with_disk();
    config.info.resources = parse::resources("cpus:8;mem:8192;disk:49").expect("a text");
    let less = Bench::with_journal(config, bench.durable.clone());
    assert_eq!(less.finished, Some(exit::INCOMPATIBLE));
    let mut config = with_disk();
    config.info.resources = parse::resources("cpus:9;mem:8192;disk:51").expect("a text");
    let mut more = Bench::with_journal(config, bench.durable.clone());
    assert_eq!(more.report().0, bag(reserved(ResourceName::Disk, 50)));
}
