//! Operations on resources: what they do to the books, what is refused, what agents and frameworks are told.

use super::play::{Play, agent_info, framework_info, register, reregister, task, to_agent, to_allocator};
use crate::testing::sent;
use kaon_kernel::actor::{LinkState, StreamId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkIndex, OfferId, OperationId, RoleName, Uuid};
use kaon_kernel::message::agent_master::{ToAgent, ToMaster};
use kaon_kernel::message::allocator::{self, Grant, ToAllocator};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::scheduler::{self, Call, ClientOffer};
use kaon_kernel::message::{MasterMessage, allocator as from_allocator};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::operation::{HeldOperation, OperationState, OperationStatus};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::operation::Operation;
use kaon_kernel::resource::{Disk, Persistence, Reservation, Resource, ResourceName, Resources, Volume, parse};
use kaon_kernel::task::TaskState;
use kaon_kernel::time::Duration;

const REPLY: StreamId = StreamId(77);

fn bag(text: &str) -> Resources {
    parse::resources(text).expect("a text")
}

fn one(entry: Resource) -> Resources {
    Resources::collect([entry]).expect("one entry")
}

fn web() -> RoleName {
    RoleName::trusted("web")
}

fn reserved(name: ResourceName, units: u64) -> Resource {
    let layer = Reservation { dynamic: true, role: web(), principal: None, labels: Vec::new() };
    Resource::scalar(name, Quantity::units(units)).with_reservation(layer).expect("a stack")
}

fn volume(units: u64, shared: bool) -> Resource {
    let mut entry = reserved(ResourceName::Disk, units);
    let persistence = Some(Persistence { id: "v".to_owned(), principal: None });
    let volume = Some(Volume { container_path: "data".to_owned(), host_path: None, writable: true });
    let identity = entry.identity.get_or_insert_default();
    identity.disk = Some(Disk { persistence, volume, source: None });
    identity.shared = shared;
    entry
}

fn convert(id: &str, operation: Operation) -> OfferOperation {
    let operation_id = (!id.is_empty()).then(|| OperationId::trusted(id));
    OfferOperation::Convert { operation_id, allocation: None, operation: Ok(Box::new(operation)) }
}

fn reserve(id: &str, resources: Resources) -> OfferOperation {
    convert(id, Operation::Reserve { source: None, resources })
}

fn create(id: &str, volume: Resource) -> OfferOperation {
    convert(id, Operation::Create { volumes: one(volume) })
}

fn destroy(id: &str, volume: Resource) -> OfferOperation {
    convert(id, Operation::Destroy { volumes: one(volume) })
}

fn info() -> FrameworkInfo {
    let capabilities = vec![Capability::SharedResources, Capability::PartitionAware];
    FrameworkInfo { roles: vec![web()], capabilities, ..framework_info(Duration::secs(60)) }
}

fn words() -> AgentInfo {
    AgentInfo { resources: bag("cpus:4;mem:4096;disk:100"), ..agent_info() }
}

/// A master with one agent that has disk, and one framework in a role of its own.
struct Stage {
    play: Play,
    agent_id: AgentId,
    agent: AgentIndex,
    framework: FrameworkIndex,
}

impl Stage {
    fn new() -> Self {
        let mut play = Play::leading();
        play.link(1, LinkState::Up);
        play.agent_says(1, register(words()));
        play.write();
        let registered = to_agent(&play.effects).into_iter().find_map(|message| match message {
            ToAgent::Registered { agent_id, .. } => Some(agent_id),
            _ => None,
        });
        let agent_id = registered.expect("it is registered");
        let agent = play.rig.actor().state.agent_index(agent_id.as_str()).expect("it is known");
        let framework = play.framework(info(), 1);
        Self { play, agent_id, agent, framework }
    }

    fn grant_to(&mut self, framework: FrameworkIndex, resources: Resources) -> Option<OfferId> {
        let grant = Grant { framework, role: web(), agent: self.agent, resources };
        let granted =
            allocator::ToMaster::Granted { epoch: self.play.epoch, quotas: self.play.quotas, grants: vec![grant] };
        self.play.send(kaon_kernel::actor::ActorKind::Allocator, super::play::HOST, MasterMessage::Allocator(granted));
        self.play.events().into_iter().find_map(|event| match event {
            FrameworkEvent::Offers { offers, .. } => Some(offers[0].id),
            _ => None,
        })
    }

    fn grant(&mut self, resources: Resources) -> OfferId {
        self.grant_to(self.framework, resources).expect("an offer is made")
    }

    fn accept(&mut self, offers: &[OfferId], operations: Vec<OfferOperation>) {
        let offers = offers.iter().map(|id| ClientOffer::Known(*id)).collect();
        self.play.call(self.framework, Call::Accept { offers, operations, refusal: Refusal::DEFAULT });
    }

    /// Grants and accepts in one go.
    fn does(&mut self, resources: Resources, operations: Vec<OfferOperation>) {
        let offer = self.grant(resources);
        self.accept(&[offer], operations);
    }

    fn launch(&self, name: &str, resources: Resources) -> OfferOperation {
        let task = kaon_kernel::task::TaskInfo { role: web(), ..task(name, &self.agent_id, resources) };
        OfferOperation::Launch { tasks: vec![task] }
    }

    /// The operations that the agent was ordered last.
    fn ordered(&self) -> Vec<HeldOperation> {
        let all = to_agent(&self.play.effects).into_iter();
        let orders = all.filter_map(|message| match message {
            ToAgent::ApplyOperation { operation } => Some(*operation),
            _ => None,
        });
        orders.collect()
    }

    /// What frameworks were told of operations last: id, state, words, whether it is to be acknowledged.
    fn told(&self) -> Vec<(String, OperationState, String, bool)> {
        let all = self.play.events().into_iter();
        let told = all.filter_map(|event| match event {
            FrameworkEvent::OperationUpdated { status, .. } => {
                let id = status.operation_id.map(|id| id.to_string()).unwrap_or_default();
                Some((id, status.state, status.message.unwrap_or_default(), status.uuid.is_some()))
            }
            _ => None,
        });
        told.collect()
    }

    /// The agent has carried an operation out, or not.
    fn ends(&mut self, held: &HeldOperation, state: OperationState) {
        let status = OperationStatus { state, uuid: Some(Uuid([8; 16])), ..held.status.clone() };
        let operation = Box::new(HeldOperation { status, ..held.clone() });
        self.play.agent_says(1, ToMaster::UpdateOperation { operation });
    }

    /// The agent registers again and says what was made of its resources, and by what.
    fn is_back(&mut self, made: Resources, by: &HeldOperation) {
        let info = AgentInfo { id: Some(self.agent_id.clone()), ..words() };
        let mut report = reregister(info, vec![], vec![]);
        if let ToMaster::Reregister { checkpointed, operations, .. } = &mut report {
            (*checkpointed, *operations) = (made, vec![by.clone()]);
        }
        self.play.agent_says(1, report);
    }

    fn acknowledge(&mut self, name: &str) {
        let (operation_id, uuid) = (OperationId::trusted(name), Uuid([8; 16]));
        self.play.call(self.framework, Call::AcknowledgeOperation { operation_id, agent_id: None, uuid });
    }

    fn total(&self) -> Resources {
        self.play.rig.actor().state.agents[&self.agent].total().clone()
    }

    fn reconcile(&mut self, operations: Vec<(OperationId, Option<AgentId>)>) {
        self.play.call(self.framework, Call::ReconcileOperations { operations });
    }

    fn order(&mut self, operation: Operation) {
        let agent_id = self.agent_id.clone();
        let order = scheduler::ToMaster::Convert { agent_id, operation: Box::new(operation), reply: REPLY };
        let outside = kaon_kernel::actor::ActorKind::Outside;
        self.play.send(outside, super::play::HOST, MasterMessage::Outside(order));
    }

    fn answer(&self) -> Option<Answer> {
        sent::<Answer>(&self.play.effects).pop().map(|(_, answer)| answer)
    }

    fn converted(&mut self, is_done: bool) {
        let numbers = to_allocator(&self.play.effects).into_iter().filter_map(|message| match message {
            ToAllocator::ConvertFree { number, .. } => Some(number),
            _ => None,
        });
        let number = { numbers }.last().expect("the allocator was asked");
        let answer = from_allocator::ToMaster::Converted { number, is_done };
        let allocator = kaon_kernel::actor::ActorKind::Allocator;
        self.play.send(allocator, super::play::HOST, MasterMessage::Allocator(answer));
    }
}

#[test]
fn a_launch_uses_what_a_reservation_and_a_volume_before_it_made() {
    let mut stage = Stage::new();
    let kept = one(reserved(ResourceName::Cpus, 2)).plus(&one(reserved(ResourceName::Disk, 50))).expect("a sum");
    let used = one(reserved(ResourceName::Cpus, 1)).plus(&one(volume(40, false))).expect("a sum");
    let launch = stage.launch("one", used.clone());
    stage.does(bag("cpus:4;mem:4096;disk:100"), vec![reserve("", kept), create("mine", volume(40, false)), launch]);
    let messages: Vec<&'static str> = to_agent(&stage.play.effects)
        .iter()
        .map(|message| match message {
            ToAgent::ApplyOperation { .. } => "operation",
            ToAgent::RunTask { .. } => "task",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(messages, ["operation", "operation", "task"], "in one order");
    let conversions = to_allocator(&stage.play.effects);
    let conversions = conversions.iter().filter(|message| matches!(message, ToAllocator::Convert { .. })).count();
    assert_eq!(conversions, 2);
    // What was made goes back without a filter, what was only offered with that of the call.
    let back: Vec<(Resources, Resources)> = to_allocator(&stage.play.effects)
        .into_iter()
        .filter_map(|message| match message {
            ToAllocator::RecoverMade { made, rest, .. } => Some((made.resources, rest)),
            ToAllocator::Recover { grant, .. } => panic!("{} comes back apart", grant.resources),
            _ => None,
        })
        .collect();
    let made = one(reserved(ResourceName::Cpus, 1)).plus(&one(reserved(ResourceName::Disk, 10))).expect("a sum");
    assert_eq!(back, [(made, bag("cpus:2;mem:4096;disk:50"))]);
    assert!(stage.total().contains(&used));
    assert_eq!(stage.total().quantities(), bag("cpus:4;mem:4096;disk:100").quantities());

    // The one without a name is acknowledged by the master, the other by its framework.
    let orders = stage.ordered();
    stage.ends(&orders[0], OperationState::Finished);
    assert_eq!(stage.told(), []);
    let seen = ToAgent::AcknowledgeOperation { operation: orders[0].uuid, status: Uuid([8; 16]) };
    assert_eq!(to_agent(&stage.play.effects), [seen]);
    stage.ends(&orders[1], OperationState::Finished);
    assert_eq!(stage.told(), [("mine".to_owned(), OperationState::Finished, String::new(), true)]);
    assert_eq!(to_agent(&stage.play.effects), []);
    stage.reconcile(Vec::new());
    assert_eq!(stage.told(), [("mine".to_owned(), OperationState::Finished, String::new(), false)]);
    stage.acknowledge("mine");
    let seen = ToAgent::AcknowledgeOperation { operation: orders[1].uuid, status: Uuid([8; 16]) };
    assert_eq!(to_agent(&stage.play.effects), [seen]);
    stage.reconcile(Vec::new());
    assert_eq!(stage.told(), [], "it is done with");
}

#[test]
fn each_refusal_is_told_to_those_who_named_their_operation() {
    let mut stage = Stage::new();
    let other = {
        let layer = Reservation { dynamic: true, role: RoleName::trusted("db"), principal: None, labels: Vec::new() };
        Resource::scalar(ResourceName::Cpus, Quantity::units(1)).with_reservation(layer).expect("a stack")
    };
    let invalid = |id: &str, reason: &str| OfferOperation::Convert {
        operation_id: Some(OperationId::trusted(id)),
        allocation: None,
        operation: Err(Defect::new(Cause::VolumeInvalid, reason)),
    };
    let elsewhere = OfferOperation::Convert {
        operation_id: Some(OperationId::trusted("elsewhere")),
        allocation: Some("db".to_owned()),
        operation: Ok(Box::new(Operation::Reserve { source: None, resources: one(reserved(ResourceName::Cpus, 1)) })),
    };
    let moved = Operation::Reserve { source: Some(bag("cpus:1")), resources: one(reserved(ResourceName::Cpus, 1)) };
    let refused = vec![
        reserve("role", one(other)),
        reserve("much", one(reserved(ResourceName::Cpus, 9))),
        reserve("static", bag("cpus(web):1")),
        convert("none", Operation::Unreserve { resources: Resources::new() }),
        create("unreserved", volume(40, false)),
        destroy("unknown", volume(40, false)),
        convert("moved", moved),
        invalid("shape", "Expecting 'reserve' to be present"),
        elsewhere,
        // Nobody is told of this one.
        reserve("", one(reserved(ResourceName::Cpus, 9))),
        reserve("good", one(reserved(ResourceName::Cpus, 1))),
        reserve("good", one(reserved(ResourceName::Cpus, 1))),
    ];
    stage.does(bag("cpus:4;mem:4096;disk:100"), refused);
    let told = stage.told();
    let names: Vec<&str> = told.iter().map(|(id, ..)| id.as_str()).collect();
    let wanted = ["role", "much", "static", "none", "unreserved", "unknown", "moved", "shape", "elsewhere", "good"];
    assert_eq!(names, wanted, "{told:?}");
    assert!(
        told.iter().all(|(_, state, words, uuid)| { *state == OperationState::Error && !words.is_empty() && !uuid })
    );
    assert!(told[9].2.contains("already in use"), "{told:?}");
    assert_eq!(stage.ordered().len(), 1);
    // Offers that are gone.
    stage.accept(&[OfferId(99)], vec![reserve("late", one(reserved(ResourceName::Cpus, 1)))]);
    let told = stage.told();
    assert_eq!((told[0].0.as_str(), told[0].1), ("late", OperationState::Error));
    assert!(told[0].2.contains("invalid offers"), "{told:?}");
}

#[test]
fn a_volume_has_one_name_on_its_agent_and_is_not_destroyed_in_use() {
    let mut stage = Stage::new();
    stage.does(
        bag("disk:100"),
        vec![reserve("", one(reserved(ResourceName::Disk, 100))), create("", volume(40, false))],
    );
    stage.does(one(reserved(ResourceName::Disk, 60)), vec![create("twice", volume(40, false))]);
    assert!(stage.told()[0].2.contains("in use"), "{:?}", stage.told());
    // Destroyed and made anew: not before the old data is gone.
    stage.does(one(volume(40, false)), vec![destroy("gone", volume(40, false)), create("again", volume(40, false))]);
    let orders = stage.ordered();
    assert_eq!(orders.len(), 1);
    assert!(stage.told()[0].2.contains("still being destroyed"), "{:?}", stage.told());
    stage.ends(&orders[0], OperationState::Finished);
    stage.does(one(reserved(ResourceName::Disk, 100)), vec![create("again", volume(40, false))]);
    assert_eq!((stage.told().len(), stage.ordered().len()), (0, 1));
    // Grown and shrunk for later offers.
    let offered = one(volume(40, false)).plus(&one(reserved(ResourceName::Disk, 60))).expect("a sum");
    let (volume_, addition) = (volume(40, false), reserved(ResourceName::Disk, 10));
    let launch = stage.launch("early", one(volume(50, false)));
    stage.does(offered, vec![convert("", Operation::Grow { volume: volume_, addition }), launch]);
    assert_eq!(stage.play.statuses()[0].1, TaskState::Error, "it is not offered yet");
    let shrink = Operation::Shrink { volume: volume(50, false), subtract: Quantity::units(20) };
    stage.does(one(volume(50, false)), vec![convert("", shrink)]);
    assert!(stage.total().contains(&one(volume(30, false))));
}

#[test]
fn several_tasks_use_a_shared_volume_and_it_goes_when_none_does() {
    let mut stage = Stage::new();
    let shared = || volume(40, true);
    let make = vec![reserve("", one(reserved(ResourceName::Disk, 100))), create("", shared())];
    stage.does(bag("disk:100"), make);
    let wanted = |cpus: u64| bag(&format!("cpus:{cpus}")).plus(&one(shared())).expect("a sum");
    let launches = vec![stage.launch("one", wanted(1)), stage.launch("two", wanted(1))];
    stage.does(bag("cpus:4").plus(&one(shared())).expect("a sum"), launches);
    assert_eq!(stage.play.statuses(), [], "both are taken");
    let further: Vec<Resources> = to_allocator(&stage.play.effects)
        .into_iter()
        .filter_map(|message| match message {
            ToAllocator::Share { grant } => Some(grant.resources),
            _ => None,
        })
        .collect();
    assert_eq!(further, [one(shared())], "one more copy than was offered");
    stage.does(one(shared()), vec![destroy("used", shared())]);
    assert!(stage.told()[0].2.contains("in use"), "{:?}", stage.told());
    for (name, number) in [("one", 1), ("two", 2)] {
        let status = super::play::status(name, TaskState::Finished, number);
        let framework_id = stage.play.framework_id(stage.framework);
        let update = ToMaster::Update { framework_id, status: Box::new(status), latest: TaskState::Finished };
        stage.play.agent_says(1, update);
    }
    // Another framework holds an offer of it: that is taken back.
    let other = stage.play.framework(info(), 2);
    stage.grant_to(other, one(shared())).expect("an offer");
    stage.does(one(shared()), vec![destroy("free", shared())]);
    assert!(stage.play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    assert_eq!(stage.ordered().len(), 1);
    // A grant of it that was on its way goes back.
    assert_eq!(stage.grant_to(other, one(shared())), None);
    assert_eq!(stage.play.recovered(), [one(shared())]);
}

/// Two offers may hold a copy each; there is still one volume to destroy.
#[test]
fn copies_of_a_shared_volume_are_not_destroyed_one_by_one() {
    let mut stage = Stage::new();
    let shared = || volume(40, true);
    let make = vec![reserve("", one(reserved(ResourceName::Disk, 100))), create("", shared())];
    stage.does(bag("disk:100"), make);
    let offers = [stage.grant(one(shared())), stage.grant(one(shared()))];
    let volumes = Resources::collect([shared(), shared()]).expect("two copies");
    stage.accept(&offers, vec![convert("twice", Operation::Destroy { volumes })]);
    assert!(stage.told()[0].2.contains("more than once"), "{:?}", stage.told());
    assert!(stage.total().contains(&one(shared())), "nothing has changed");
    stage.does(one(shared()), vec![destroy("once", shared())]);
    assert!(!stage.total().contains(&one(shared())));
}

/// The session broke before the agent got anything: what it says it has is how it is.
#[test]
fn operations_that_never_arrived_are_undone_with_the_launches_behind_them() {
    let mut stage = Stage::new();
    let launch = stage.launch("lost", one(reserved(ResourceName::Cpus, 1)));
    stage.does(bag("cpus:4"), vec![reserve("lost", one(reserved(ResourceName::Cpus, 2))), launch]);
    stage.play.link(1, LinkState::Down);
    stage.play.link(1, LinkState::Up);
    let info = AgentInfo { id: Some(stage.agent_id.clone()), ..words() };
    stage.play.agent_says(1, reregister(info, vec![], vec![]));
    assert_eq!(stage.told()[0].1, OperationState::Dropped);
    assert_eq!(stage.play.statuses()[0].1, TaskState::Dropped);
    assert_eq!(stage.total(), bag("cpus:4;mem:4096;disk:100"));
    let updated = to_allocator(&stage.play.effects).into_iter().any(
        |message| matches!(message, ToAllocator::UpdateAgent { total, .. } if total == bag("cpus:4;mem:4096;disk:100")),
    );
    assert!(updated, "the allocator hears what there is");
    // A grant by the old books.
    assert_eq!(stage.grant_to(stage.framework, one(reserved(ResourceName::Cpus, 1))), None);
    assert_eq!(stage.play.recovered(), [one(reserved(ResourceName::Cpus, 1))]);
    for (id, state) in [(Some(stage.agent_id.clone()), OperationState::Dropped), (None, OperationState::Unknown)] {
        stage.reconcile(vec![(OperationId::trusted("lost"), id)]);
        assert_eq!(stage.told()[0].1, state);
    }
}

#[test]
fn a_new_master_learns_from_agents_what_is_reserved_and_what_is_not_acknowledged() {
    let mut stage = Stage::new();
    stage.does(bag("cpus:4"), vec![reserve("mine", one(reserved(ResourceName::Cpus, 2)))]);
    let order = stage.ordered().remove(0);
    let status = OperationStatus { state: OperationState::Finished, uuid: Some(Uuid([8; 16])), ..order.status.clone() };
    let held = HeldOperation { status, ..order };
    stage.play.link(1, LinkState::Down);
    stage.play.link(1, LinkState::Up);
    let checkpointed = one(reserved(ResourceName::Cpus, 2));
    stage.is_back(checkpointed.clone(), &held);
    assert_eq!(stage.total(), bag("cpus:2;mem:4096;disk:100").plus(&checkpointed).expect("a sum"));
    stage.reconcile(vec![(OperationId::trusted("mine"), None)]);
    assert_eq!(stage.told()[0].1, OperationState::Finished);
    stage.is_back(one(reserved(ResourceName::Cpus, 9)), &held);
    assert!(matches!(to_agent(&stage.play.effects)[..], [ToAgent::Refused { .. }]), "it has four processors");
}

/// The framework has acknowledged it and we have forgotten it; whether the agent has heard so is not known while it is away.
#[test]
fn of_an_agent_that_is_away_nobody_says_that_it_dropped_an_operation() {
    let mut stage = Stage::new();
    stage.does(bag("cpus:4"), vec![reserve("mine", one(reserved(ResourceName::Cpus, 2)))]);
    let order = stage.ordered().remove(0);
    let status = OperationStatus { state: OperationState::Finished, uuid: Some(Uuid([8; 16])), ..order.status.clone() };
    stage.ends(&order, OperationState::Finished);
    stage.acknowledge("mine");
    let state = |stage: &mut Stage| {
        stage.reconcile(vec![(OperationId::trusted("mine"), Some(stage.agent_id.clone()))]);
        stage.told().remove(0).1
    };
    assert_eq!(state(&mut stage), OperationState::Dropped, "it holds none of that name");
    // Its session stands, but it has not answered a ping yet.
    let effects = stage.play.rig.pass(Duration::secs(600));
    stage.play.note(effects);
    assert_eq!(state(&mut stage), OperationState::Recovering);
    stage.play.agent_says(1, ToMaster::Pong);
    assert_eq!(state(&mut stage), OperationState::Dropped);
    stage.play.link(1, LinkState::Down);
    assert_eq!(state(&mut stage), OperationState::Recovering);
    stage.play.link(1, LinkState::Up);
    assert_eq!(state(&mut stage), OperationState::Recovering, "it has not said yet what it holds");
    // It had not heard.
    stage.is_back(one(reserved(ResourceName::Cpus, 2)), &HeldOperation { status, ..order });
    assert_eq!(state(&mut stage), OperationState::Finished);
}

/// The agent asked twice before it heard the answer; what it was ordered since is not in its words.
#[test]
fn a_repeated_registration_undoes_nothing() {
    let mut stage = Stage::new();
    let info = AgentInfo { id: Some(stage.agent_id.clone()), ..words() };
    let report = reregister(info, vec![], vec![]);
    stage.play.agent_says(1, report.clone());
    let launch = stage.launch("one", one(reserved(ResourceName::Cpus, 1)));
    stage.does(bag("cpus:4"), vec![reserve("mine", one(reserved(ResourceName::Cpus, 2))), launch]);
    stage.play.agent_says(1, report);
    assert!(matches!(to_agent(&stage.play.effects)[..], [ToAgent::Registered { .. }]));
    assert_eq!((stage.told(), stage.play.statuses()), (vec![], vec![]));
    assert_eq!(stage.total().reserved_to(&web()), one(reserved(ResourceName::Cpus, 2)));
}

#[test]
fn an_operation_that_failed_makes_the_agent_say_what_it_has() {
    let mut stage = Stage::new();
    stage.does(bag("cpus:4"), vec![reserve("mine", one(reserved(ResourceName::Cpus, 2)))]);
    let order = stage.ordered().remove(0);
    stage.ends(&order, OperationState::Failed);
    assert_eq!(stage.told()[0].1, OperationState::Failed);
    assert_eq!(to_agent(&stage.play.effects), [ToAgent::Ping { connected: false }]);
    stage.ends(&order, OperationState::Failed);
    assert_eq!(to_agent(&stage.play.effects), [], "once is enough");
}

#[test]
fn operations_of_lost_agents_and_of_removed_frameworks_have_an_end() {
    let mut stage = Stage::new();
    stage.does(bag("cpus:4"), vec![reserve("mine", one(reserved(ResourceName::Cpus, 2)))]);
    let order = stage.ordered().remove(0);
    stage.play.call(stage.framework, Call::Teardown);
    stage.play.write();
    stage.ends(&order, OperationState::Finished);
    let seen = ToAgent::AcknowledgeOperation { operation: order.uuid, status: Uuid([8; 16]) };
    assert_eq!(to_agent(&stage.play.effects), [seen]);

    stage.framework = stage.play.framework(info(), 2);
    stage.does(bag("cpus:2"), vec![reserve("gone", one(reserved(ResourceName::Cpus, 2)))]);
    stage.play.link(1, LinkState::Down);
    let effects = stage.play.rig.pass(Duration::secs(600));
    stage.play.note(effects);
    stage.play.write();
    assert_eq!(stage.told()[0].1, OperationState::Unreachable);
    stage.reconcile(vec![(OperationId::trusted("gone"), Some(stage.agent_id.clone()))]);
    assert_eq!(stage.told()[0].1, OperationState::Unreachable);
}

#[test]
fn operators_convert_what_is_free_and_take_back_what_is_offered() {
    let mut stage = Stage::new();
    let reserve = |units| Operation::Reserve { source: None, resources: one(reserved(ResourceName::Cpus, units)) };
    stage.order(reserve(9));
    assert!(matches!(stage.answer(), Some(Answer::Conflict { .. })), "{:?}", stage.answer());
    stage.order(Operation::Create { volumes: one(volume(40, false)) });
    assert!(matches!(stage.answer(), Some(Answer::Conflict { .. })), "nothing is reserved");
    stage.order(Operation::Unreserve { resources: bag("cpus:1") });
    assert!(matches!(stage.answer(), Some(Answer::Refused { .. })));
    // Free.
    stage.order(reserve(1));
    assert_eq!(stage.answer(), None, "the allocator is asked first");
    stage.converted(true);
    assert_eq!((stage.answer(), stage.ordered().len()), (Some(Answer::Accepted), 1));
    // In an offer, and granted again in the meantime.
    stage.grant(bag("cpus:3"));
    stage.order(reserve(2));
    assert!(stage.play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    let effects = std::mem::take(&mut stage.play.effects);
    stage.grant(bag("cpus:2"));
    stage.play.effects = effects;
    stage.converted(false);
    assert!(stage.play.events().iter().any(|event| matches!(event, FrameworkEvent::Rescind { .. })));
    stage.converted(true);
    assert_eq!(stage.answer(), Some(Answer::Accepted));
    assert_eq!(stage.total().reserved_to(&web()), one(reserved(ResourceName::Cpus, 3)));
    // In use.
    let launch = stage.launch("one", bag("cpus:1"));
    stage.does(bag("cpus:1"), vec![launch]);
    stage.order(reserve(1));
    assert!(matches!(stage.answer(), Some(Answer::Conflict { .. })), "{:?}", stage.answer());
    // The agent goes while the allocator is asked.
    stage.order(Operation::Unreserve { resources: one(reserved(ResourceName::Cpus, 3)) });
    let effects = std::mem::take(&mut stage.play.effects);
    stage.play.link(1, LinkState::Down);
    stage.play.effects = effects;
    stage.converted(true);
    assert!(matches!(stage.answer(), Some(Answer::Conflict { .. })), "{:?}", stage.answer());
    stage.order(reserve(1));
    assert!(matches!(stage.answer(), Some(Answer::Conflict { .. })));
}
