//! Answers to questions agree with the reasons that they are made of, agent by agent, and point at what is nearest.

use super::{Play, bag};
use crate::allocator::engine::Rules;
use kaon_kernel::actor::StreamId;
use kaon_kernel::framework::{Capability, Label};
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkId, FrameworkIndex, RoleName};
use kaon_kernel::message::allocator::Grant;
use kaon_kernel::message::explain::{ClientAccount, Explanation, Question, Subject};
use kaon_kernel::offer::Refusal;
use kaon_kernel::placement::{GpuShape, HomeShape, Shape, label};
use kaon_kernel::time::Duration;
use kaon_kernel::topology::MemoryKind;
use std::collections::BTreeMap;

fn ask(play: &Play, subject: Subject, wants: &str) -> Option<Explanation> {
    let question = Question { subject, wants: bag(wants), placement: None, reply: StreamId(9) };
    play.engine.answer(&question, play.now)
}

fn about_framework(play: &Play, framework: u32, wants: &str) -> ClientAccount {
    let subject = Subject::Framework(FrameworkId::trusted(format!("{framework:04}")));
    ask(play, subject, wants).expect("it is known").clients.remove(0)
}

fn counts(account: &ClientAccount) -> BTreeMap<String, u32> {
    account.groups.iter().map(|group| (group.obstacle.word.clone(), group.agents)).collect()
}

#[test]
fn groups_are_the_first_reasons_counted() {
    let mut play = Play::with(Rules::default(), &[]);
    play.framework(1, &["web"]);
    play.framework_with(2, &["db"], &[], &[Capability::GpuResources]);
    for (agent, resources) in
        [(1, "cpus:4;mem:1024"), (2, "cpus:4;mem:1024;gpus:1"), (3, "cpus(other):4;mem(other):64"), (4, "cpus:0.001")]
    {
        play.agent(agent, resources);
    }
    play.round();
    play.agent(5, "cpus:2;mem:512");
    for framework in [1, 2] {
        let summary = play.engine.summary(FrameworkIndex(framework)).expect("it is known").remove(0);
        let account = about_framework(&play, framework, "");
        let expected: BTreeMap<String, u32> =
            summary.agents_by_reason.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
        assert_eq!(counts(&account), expected, "framework {framework}");
        assert_eq!(account.agents_open, summary.agents_open);
        assert_eq!(account.agents_open + account.groups.iter().map(|group| group.agents).sum::<u32>(), 5);
    }
}

#[test]
fn a_wish_is_measured_and_the_nearest_agent_lacks_least() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:2;mem:1024");
    play.agent(2, "cpus:6;mem:1024");
    play.agent(3, "cpus:7;mem:2048");
    play.agent(4, "cpus:8;mem:4096");
    assert_eq!(about_framework(&play, 1, "cpus:8;mem:1024").agents_open, 1);
    for grant in play.round() {
        // Half of it comes back.
        let half = match grant.agent.0 {
            3 => "cpus:6;mem:1024",
            4 => "cpus:4;mem:2048",
            _ => continue,
        };
        play.recover(Grant { resources: bag(half), ..grant }, None);
    }
    let account = about_framework(&play, 1, "cpus:7;mem:2048");
    let nearest = account.nearest.as_ref().expect("none is open");
    assert_eq!(nearest.agent_id, AgentId::trusted("S4"), "nobody else could hold it and lacks as little");
    assert_eq!(nearest.obstacle.word, "too_small");
    assert_eq!(nearest.obstacle.text, "cpus:3 are lacking");
    assert_eq!(counts(&account), BTreeMap::from([("never_fits".to_owned(), 2), ("too_small".to_owned(), 2)]));
}

#[test]
fn an_agent_with_a_filter_is_told_apart_from_one_that_is_like_it() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    for agent in 1..=3 {
        play.agent(agent, "cpus:4;mem:1024");
    }
    let grants = play.round();
    assert_eq!(grants.len(), 3);
    for (number, grant) in grants.into_iter().enumerate() {
        let refusal = (number == 1).then_some(Refusal(Duration::secs(60)));
        play.engine.recover(play.now, grant, refusal).expect("it is known");
    }
    let account = about_framework(&play, 1, "");
    assert_eq!(account.agents_open, 2);
    assert_eq!(counts(&account), BTreeMap::from([("filtered".to_owned(), 1)]));
}

#[test]
fn holders_and_capacity_are_those_of_the_books() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4;mem:1024");
    play.round();
    let answer = ask(&play, Subject::Agent(AgentId::trusted("S1")), "").expect("it is known");
    assert_eq!(answer.capacity, [("cpus".to_owned(), 4_000, 4_000), ("mem".to_owned(), 1_024_000, 1_024_000)]);
    assert_eq!(answer.holders.len(), 1);
    assert_eq!(answer.holders[0].held, [("cpus".to_owned(), 4_000), ("mem".to_owned(), 1_024_000)]);
    let all = ask(&play, Subject::Role(RoleName::trusted("web")), "").expect("it is known");
    assert_eq!((all.capacity, all.holders), (answer.capacity, answer.holders));
    for unknown in [
        Subject::Framework(FrameworkId::trusted("nobody")),
        Subject::Agent(AgentId::trusted("nowhere")),
        Subject::Role(RoleName::trusted("nothing")),
    ] {
        assert!(ask(&play, unknown, "").is_none());
    }
}

/// What is free on an agent of the test below, by a number; some have identities or are below every minimum.
const KINDS: [&str; 8] = [
    "cpus:4;mem:1024",
    "cpus:2;mem:2048;disk:100",
    "cpus:4;mem:1024;gpus:1",
    "cpus(web):2;mem(web):512",
    "cpus:0.001;mem:1",
    "cpus:1;mem:64;licences:3",
    "cpus:8;mem:64;ports:[1-9]",
    "cpus:1;cpus(web):3;mem:600",
];

proptest::proptest! {
    #[test]
    fn a_glance_says_what_the_checks_say(
        kinds in proptest::collection::vec(0_usize..KINDS.len(), 1..12),
        declined in proptest::collection::vec(proptest::bool::ANY, 12),
        inactive in 0_usize..12,
        is_opted_in in proptest::bool::ANY,
        wish in 0_usize..6,
    ) {
        let wants = bag(["", "cpus:2", "cpus:2;mem:600", "disk:1", "licences:2;cpus:1", "cpus:100;mem:100000"][wish]);
        let mut play = Play::with(Rules::default(), &[]);
        let capabilities: &[Capability] = if is_opted_in { &[Capability::GpuResources] } else { &[] };
        play.framework_with(1, &["web"], &[], capabilities);
        for (agent, kind) in kinds.iter().enumerate() {
            play.agent(agent as u32 + 1, KINDS[*kind]);
        }
        for grant in play.round() {
            // Declined ones are filtered, the others are held until they come back.
            let refusal = declined[grant.agent.0 as usize - 1].then_some(Duration::secs(60));
            play.recover(grant, refusal);
        }
        let gone = kaon_kernel::id::AgentIndex(inactive as u32 + 1);
        let _ = play.engine.set_agent_active(gone, false);
        let engine = &play.engine;
        let role = RoleName::trusted("web");
        let client = engine.clients.iter().map(|(_, member)| member).next().expect("one client");
        let wanted = super::super::wanted::Wanted::anywhere(&wants);
        let mut ready = super::super::glance::Wish::new(engine, client, &wanted).expect("amounts alone");
        for (agent, found) in &engine.agents {
            use super::super::glance::Glance;
            let close = engine.verdict(FrameworkIndex(1), &role, found, &wanted, play.now);
            match ready.glance(engine, found) {
                Glance::Open => proptest::prop_assert_eq!(close, None, "{:?}", agent),
                Glance::Against(word, distance) => {
                    let close = close.map(|(word, (distance, _))| (word, distance));
                    proptest::prop_assert_eq!(close, Some((word, distance)), "{:?}", agent);
                }
                Glance::Unclear => {}
            }
        }
    }
}

#[test]
fn hardware_that_can_never_give_the_place_is_told_first() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    let home = |node, units| HomeShape { node, package: 0, units, memory: vec![(MemoryKind::Dram, 64 << 30)] };
    let gpu = |link_group| GpuShape { homes: vec![0], link_group, memory_bytes: 80 << 30, is_near_network: false };
    for agent in 1..=5 {
        play.agent(agent, "cpus:32;mem:65536");
    }
    for agent in 1..=2 {
        let shape = Shape { homes: vec![home(0, 16), home(1, 16)], gpus: vec![gpu(Some(1)), gpu(Some(2))] };
        play.engine.set_shape(AgentIndex(agent), shape).expect("it is there");
    }
    let large = Shape { homes: vec![home(0, 64)], gpus: (0..4).map(|_| gpu(Some(1))).collect() };
    play.engine.set_shape(AgentIndex(3), large).expect("it is there");
    // What runs on the fourth says nothing of its hardware.
    play.engine.set_shape(AgentIndex(4), Shape { homes: vec![home(0, 8)], gpus: Vec::new() }).expect("it is there");
    let about = |labels: &[(&str, &str)], wants: &str| {
        let labels = labels
            .iter()
            .map(|(key, value)| Label { key: format!("{}{key}", label::PREFIX), value: Some((*value).to_owned()) });
        let placement = label::parse(&labels.collect::<Vec<_>>()).expect("labels that are ours").map(Box::new);
        let subject = Subject::Framework(FrameworkId::trusted("0001"));
        let question = Question { subject, wants: bag(wants), placement, reply: StreamId(9) };
        play.engine.answer(&question, play.now).expect("it is known").clients.remove(0)
    };
    let account = about(&[("policy", "numa")], "cpus:20;mem:1024");
    assert_eq!((account.agents_open, counts(&account)), (1, BTreeMap::from([("topology".to_owned(), 4)])));
    assert_eq!(
        account.groups[0].obstacle.text, "20 cpus wanted near one NUMA node, the most free there is 16",
        "told of the first such agent"
    );
    assert_eq!(about(&[("policy", "packed")], "cpus:20;mem:1024").agents_open, 3);
    assert_eq!(about(&[("policy", "numa")], "cpus:8;mem:65536").agents_open, 4);
    assert_eq!(about(&[("policy", "numa")], "cpus:8;mem:65537").agents_open, 0);
    let linked = about(&[("gpu-links", "group")], "cpus:1;gpus:4");
    assert_eq!(counts(&linked), BTreeMap::from([("topology".to_owned(), 4), ("never_fits".to_owned(), 1)]));
    assert_eq!((linked.nearest, linked.never.expect("it fits nowhere").word.as_str()), (None, "topology"));
    assert_eq!(about(&[("policy", "none")], "cpus:20;mem:1024").agents_open, 5, "any place will do");
}
