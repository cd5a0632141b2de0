//! Conversations of the allocator with its master, on the rig.

use super::policy::SorterName;
use super::{Allocator, AllocatorConfig, Policy, messages};
use crate::testing::{Rig, sent};
use kaon_kernel::actor::{ActorKind, Address, Effect, HostId};
use kaon_kernel::constraint::OfferRules;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::{GRANTS_MAX, Grant, ToAllocator, ToMaster};
use kaon_kernel::message::{AllocatorMessage, MasterMessage};
use kaon_kernel::offer::Refusal;
use kaon_kernel::resource::{ResourceName, Resources, parse};
use kaon_kernel::time::Duration;

const HOST: HostId = HostId(5);
const MASTER: Address = Address::only(HOST, ActorKind::Master);
const EPOCH: u64 = 3;

fn bag(text: &str) -> Resources {
    parse::resources(text).expect("a resource text of a test")
}

fn web() -> RoleName {
    RoleName::trusted("web")
}

fn rig(config: AllocatorConfig) -> Rig<Allocator> {
    let mut rig = Rig::new(Allocator::new(config), Address::only(HOST, ActorKind::Allocator));
    let begun = sent::<MasterMessage>(&rig.start());
    assert_eq!(begun, [(MASTER, MasterMessage::Allocator(ToMaster::Started))]);
    rig
}

/// Without a distance between rounds.
fn at_once() -> AllocatorConfig {
    AllocatorConfig { window: Duration::ZERO, ..AllocatorConfig::default() }
}

fn tell(rig: &mut Rig<Allocator>, message: ToAllocator) -> Vec<Effect> {
    rig.message(MASTER, &AllocatorMessage::Master(message))
}

fn add_framework(framework: u32) -> ToAllocator {
    ToAllocator::AddFramework {
        framework: FrameworkIndex(framework),
        id: FrameworkId::trusted(format!("F{framework}")),
        roles: vec![web()],
        suppressed: Vec::new(),
        capabilities: Vec::new(),
        offers: OfferRules::default(),
        active: true,
    }
}

fn add_agent(agent: u32, total: &str) -> ToAllocator {
    ToAllocator::AddAgent {
        agent: AgentIndex(agent),
        id: AgentId::trusted(format!("S{agent}")),
        hostname: format!("machine-{agent}"),
        total: bag(total),
        attributes: Vec::new(),
        domain: None,
        used: Vec::new(),
    }
}

fn begun(config: AllocatorConfig) -> Rig<Allocator> {
    let mut rig = rig(config);
    tell(&mut rig, ToAllocator::Begin { epoch: EPOCH, weights: Vec::new() });
    rig
}

fn granted(effects: &[Effect]) -> Vec<Vec<Grant>> {
    let granted = sent::<MasterMessage>(effects).into_iter().map(|(to, message)| match message {
        MasterMessage::Allocator(ToMaster::Granted { epoch: EPOCH, grants, .. }) if to == MASTER => grants,
        other => panic!("{other:?}"),
    });
    granted.collect()
}

fn who(effects: &[Effect]) -> Vec<(u32, u32)> {
    granted(effects).concat().iter().map(|grant| (grant.framework.0, grant.agent.0)).collect()
}

fn recover(framework: u32, agent: u32, resources: &str, refusal: Option<Duration>) -> ToAllocator {
    let (framework, agent) = (FrameworkIndex(framework), AgentIndex(agent));
    let grant = Grant { framework, role: web(), agent, resources: bag(resources) };
    ToAllocator::Recover { grant, refusal: refusal.map(Refusal) }
}

#[test]
fn an_allocator_may_move_between_threads() {
    fn moves<T: Send>(_: &T) {}
    moves(&Allocator::new(at_once()));
}

#[test]
fn nothing_is_granted_before_resume() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:1"));
    assert!(granted(&rig.pass(Duration::secs(5))).is_empty());
    assert!(granted(&tell(&mut rig, ToAllocator::Resume)).is_empty(), "a round is of the timer, not of the message");
    assert_eq!(who(&rig.pass(Duration::ZERO)), [(1, 1)]);
    tell(&mut rig, ToAllocator::Pause);
    tell(&mut rig, add_agent(2, "cpus:1"));
    assert!(granted(&rig.pass(Duration::secs(5))).is_empty());
    tell(&mut rig, ToAllocator::Resume);
    assert_eq!(who(&rig.pass(Duration::ZERO)), [(1, 2)]);
}

#[test]
fn what_arrives_before_a_master_begins_is_ignored_and_counted() {
    let mut rig = rig(at_once());
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:1"));
    tell(&mut rig, ToAllocator::Resume);
    assert_eq!(rig.actor().strays(), 3);
    assert!(rig.pass(Duration::secs(5)).is_empty());
    tell(&mut rig, ToAllocator::Begin { epoch: EPOCH, weights: Vec::new() });
    tell(&mut rig, add_agent(1, "cpus:1"));
    assert_eq!(rig.actor().strays(), 3);
}

#[test]
fn only_the_master_of_this_host_is_heard() {
    let mut rig = begun(at_once());
    for kind in [ActorKind::Agent, ActorKind::Framework, ActorKind::Outside] {
        rig.message(Address::only(HOST, kind), &AllocatorMessage::Master(add_agent(1, "cpus:1")));
    }
    let elsewhere = Address::only(HostId(6), ActorKind::Master);
    rig.message(elsewhere, &AllocatorMessage::Master(ToAllocator::Begin { epoch: 9, weights: Vec::new() }));
    assert_eq!(rig.actor().strays(), 4);
    assert!(rig.actor().engine().agent(AgentIndex(1)).is_none());
}

#[test]
fn a_freed_resource_is_offered_at_once_and_within_the_window_under_load() {
    let config = AllocatorConfig { window: Duration::micros(300), ..AllocatorConfig::default() };
    let mut rig = begun(config);
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_framework(2));
    tell(&mut rig, ToAllocator::Resume);
    tell(&mut rig, add_agent(1, "cpus:1"));
    tell(&mut rig, add_agent(2, "cpus:2"));
    let grants = granted(&rig.pass(Duration::ZERO));
    assert_eq!((grants.len(), grants[0].len()), (1, 2), "both agents at once, in one message");
    tell(&mut rig, ToAllocator::Recover { grant: grants[0][0].clone(), refusal: None });
    assert!(granted(&rig.pass(Duration::micros(299))).is_empty(), "the last round was just before");
    assert_eq!(granted(&rig.pass(Duration::micros(1))).concat().len(), 1);
    rig.pass(Duration::millis(5));
    tell(&mut rig, ToAllocator::Recover { grant: grants[0][1].clone(), refusal: None });
    assert_eq!(granted(&rig.pass(Duration::ZERO)).concat().len(), 1);
}

#[test]
fn what_is_made_of_an_offer_comes_back_with_its_rest_in_one_offer() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:4;mem:1024"));
    tell(&mut rig, ToAllocator::Resume);
    let offered = granted(&rig.pass(Duration::ZERO)).concat().remove(0);
    let part = |resources: &str| Grant { resources: bag(resources), ..offered.clone() };
    let (made, rest) = (part("cpus:1"), bag("cpus:3;mem:1024"));
    tell(&mut rig, ToAllocator::RecoverMade { made, rest, refusal: Refusal(Duration::secs(60)) });
    let again = granted(&rig.pass(Duration::ZERO)).concat();
    assert_eq!(again, [offered], "more than what was refused, at once and whole");
}

#[test]
fn a_window_of_an_interval_leaves_batch_rounds_only() {
    let mut rig = begun(AllocatorConfig { window: Duration::secs(1), ..AllocatorConfig::default() });
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:1"));
    tell(&mut rig, ToAllocator::Resume);
    assert!(granted(&rig.pass(Duration::millis(999))).is_empty());
    let grants = granted(&rig.pass(Duration::millis(1))).concat();
    assert_eq!(grants.len(), 1);
    tell(&mut rig, ToAllocator::Recover { grant: grants[0].clone(), refusal: None });
    assert!(granted(&rig.pass(Duration::millis(999))).is_empty());
    assert_eq!(granted(&rig.pass(Duration::millis(1))).concat().len(), 1);
}

#[test]
fn what_operators_and_frameworks_set_reaches_the_engine() {
    let mut rig = begun(at_once());
    let scalar = |amount| vec![(kaon_kernel::resource::ResourceName::Cpus, kaon_kernel::quantity::Quantity(amount))];
    let quota = kaon_kernel::quota::Quota { guarantees: Vec::new(), limits: scalar(1000) };
    tell(&mut rig, ToAllocator::SetQuotas { number: 1, quotas: vec![(web(), quota)] });
    tell(&mut rig, ToAllocator::SetWhitelist { hostnames: Some(vec!["machine-2".to_owned()]) });
    tell(&mut rig, ToAllocator::SetWeights { weights: vec![(web(), 500)] });
    tell(&mut rig, ToAllocator::Resume);
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:4"));
    tell(&mut rig, add_agent(2, "cpus:4"));
    let grants = granted(&rig.pass(Duration::ZERO)).concat();
    assert_eq!(grants.iter().map(|grant| grant.resources.clone()).collect::<Vec<_>>(), [bag("cpus:1")]);
    let from = grants[0].clone();
    tell(&mut rig, ToAllocator::Convert { from: Grant { ..from }, to: bag("cpus(web):1") });
    for (number, amount, is_done) in [(7, 2, true), (8, 3, false)] {
        let (from, to) = (bag(&format!("cpus:{amount}")), bag(&format!("cpus(web):{amount}")));
        let convert = ToAllocator::ConvertFree { number, agent: AgentIndex(1), from, to };
        let effects = tell(&mut rig, convert);
        let answers = sent::<MasterMessage>(&effects).into_iter().map(|(_, answer)| answer);
        let wanted = MasterMessage::Allocator(ToMaster::Converted { number, is_done });
        assert_eq!(answers.collect::<Vec<_>>(), [wanted], "two of four, then there are not three");
    }
    let minimums = vec![(web(), vec![scalar(3000)])];
    let offers = OfferRules { constraints: Vec::new(), minimums };
    let (framework, roles) = (FrameworkIndex(1), vec![web()]);
    let (suppressed, capabilities) = (Vec::new(), Vec::new());
    tell(&mut rig, ToAllocator::UpdateFramework { framework, roles, suppressed, capabilities, offers });
    tell(&mut rig, ToAllocator::SetWhitelist { hostnames: None });
    assert!(granted(&rig.pass(Duration::ZERO)).is_empty(), "two reserved processors are less than three");
    assert_eq!(rig.actor().strays(), 0);
}

#[test]
fn a_declined_offer_goes_to_the_next_and_comes_back_when_the_filter_expires() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_framework(2));
    tell(&mut rig, add_agent(1, "cpus:4;mem:64"));
    tell(&mut rig, ToAllocator::Resume);
    assert_eq!(who(&rig.pass(Duration::ZERO)), [(1, 1)]);
    tell(&mut rig, recover(1, 1, "cpus:4;mem:64", Some(Duration::secs(5))));
    assert_eq!(who(&rig.pass(Duration::ZERO)), [(2, 1)]);
    tell(&mut rig, recover(2, 1, "cpus:4;mem:64", Some(Duration::secs(10))));
    assert!(granted(&rig.pass(Duration::millis(4_999))).is_empty());
    assert_eq!(who(&rig.pass(Duration::millis(1))), [(1, 1)]);
}

#[test]
fn expiries_close_together_are_one_wake_up() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    for agent in 0..100 {
        tell(&mut rig, add_agent(agent, "cpus:1"));
    }
    tell(&mut rig, ToAllocator::Resume);
    assert_eq!(who(&rig.pass(Duration::ZERO)).len(), 100);
    for agent in 0..100 {
        tell(&mut rig, recover(1, agent, "cpus:1", Some(Duration::millis(1_500))));
        rig.pass(Duration::micros(90));
    }
    rig.pass(Duration::millis(1_400));
    let back = rig.pass(Duration::millis(200));
    assert_eq!(who(&back).len(), 100, "all are offered again");
    assert!(granted(&back).len() <= 3, "in {} messages", granted(&back).len());
}

#[test]
fn a_quiet_cluster_is_left_alone() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "disk:1"));
    tell(&mut rig, ToAllocator::Resume);
    let runs =
        |effects: &[Effect]| effects.iter().filter(|effect| format!("{effect:?}").contains("allocation_runs")).count();
    assert_eq!(runs(&rig.pass(Duration::secs(3))), 1, "nothing changed since the first round");
    tell(&mut rig, ToAllocator::Suppress { framework: FrameworkIndex(1), roles: vec![web()] });
    assert_eq!(runs(&rig.pass(Duration::secs(3))), 1, "one batch round after a change");
}

#[test]
fn grants_are_cut_into_messages() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    for agent in 0..GRANTS_MAX as u32 + 1 {
        tell(&mut rig, add_agent(agent, "cpus:1"));
    }
    tell(&mut rig, ToAllocator::Resume);
    let sizes = granted(&rig.pass(Duration::ZERO)).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes, [GRANTS_MAX, 1]);
}

#[test]
fn large_grants_are_cut_by_size() {
    let ranges = (0..20_000).map(|place| format!("{}-{}", 3 * place, 3 * place)).collect::<Vec<_>>().join(",");
    let resources = bag(&format!("ports:[{ranges}]"));
    let grant = Grant { framework: FrameworkIndex(1), role: web(), agent: AgentIndex(1), resources };
    let cut = messages(vec![grant; 100]);
    assert_eq!(cut.iter().map(Vec::len).sum::<usize>(), 100);
    assert!(cut.len() > 1);
    for grants in cut {
        let message = MasterMessage::Allocator(ToMaster::Granted { epoch: EPOCH, quotas: 0, grants });
        let route =
            kaon_kernel::frame::Route { to: MASTER, from: MASTER, sequence: 1, term: kaon_kernel::actor::Term(0) };
        let bytes = kaon_kernel::frame::Frame::encode(route, &message).body_bytes().len();
        assert!(bytes <= super::MESSAGE_BYTES_MAX, "{bytes} bytes");
    }
}

#[test]
fn a_master_that_begins_again_is_served_anew() {
    let mut rig = begun(at_once());
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:1"));
    tell(&mut rig, ToAllocator::Resume);
    assert_eq!(who(&rig.pass(Duration::ZERO)), [(1, 1)]);
    tell(&mut rig, ToAllocator::Begin { epoch: EPOCH + 1, weights: Vec::new() });
    tell(&mut rig, recover(1, 1, "cpus:1", None));
    assert_eq!(rig.actor().strays(), 1, "what was granted before is of no account");
    tell(&mut rig, add_framework(1));
    tell(&mut rig, add_agent(1, "cpus:1"));
    tell(&mut rig, ToAllocator::Resume);
    let effects = rig.pass(Duration::ZERO);
    let [(_, MasterMessage::Allocator(ToMaster::Granted { epoch, grants, .. }))] = &sent::<MasterMessage>(&effects)[..]
    else {
        panic!("one message");
    };
    assert_eq!((*epoch, grants.len()), (EPOCH + 1, 1));
}

#[test]
fn one_script_gives_one_transcript() {
    let play = || {
        let mut rig = begun(at_once());
        let mut frames = Vec::new();
        for framework in 0..5 {
            tell(&mut rig, add_framework(framework));
        }
        for agent in 0..50 {
            tell(&mut rig, add_agent(agent, "cpus:1;mem:32"));
        }
        tell(&mut rig, ToAllocator::Resume);
        for round in 0..20 {
            let effects = rig.pass(Duration::millis(300));
            for effect in &effects {
                if let Effect::Send(frame) = effect {
                    frames.push(frame.bytes().to_vec());
                }
            }
            for grant in granted(&effects).concat() {
                let refusal = (grant.agent.0 % 3 != round % 3).then_some(Refusal::DEFAULT);
                tell(&mut rig, ToAllocator::Recover { grant, refusal });
            }
        }
        frames
    };
    let one = play();
    assert!(one.len() > 10, "{} frames", one.len());
    assert_eq!(one, play());
}

#[test]
fn a_policy_of_the_configuration_decides_who_is_next() {
    let winner = |policy: Option<Policy>| {
        let mut rig = begun(AllocatorConfig { policy, ..at_once() });
        for (framework, role) in [(1, "a-low"), (2, "b-high")] {
            let mut message = add_framework(framework);
            if let ToAllocator::AddFramework { roles, .. } = &mut message {
                *roles = vec![RoleName::trusted(role)];
            }
            tell(&mut rig, message);
        }
        tell(&mut rig, add_agent(1, "cpus:1"));
        tell(&mut rig, ToAllocator::Resume);
        granted(&rig.pass(Duration::millis(1)))[0][0].role.to_string()
    };
    assert_eq!(winner(None), "a-low", "equal shares: by name");
    let classes = vec![(RoleName::trusted("b-high"), 1)];
    let policy = |sorter, resource| Policy { sorter, classes: classes.clone(), resource };
    assert_eq!(winner(Some(policy(SorterName::StrictPriority, ResourceName::Cpus))), "b-high");
    assert_eq!(winner(Some(policy(SorterName::MaxMin, ResourceName::Mem))), "a-low", "no class counts there");
}
