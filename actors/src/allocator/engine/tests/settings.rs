//! Constraints, whitelist, minimum sizes, weights, maintenance, conversions, shared volumes.

use super::{Play, bag, grant, role};
use crate::allocator::engine::tables::AgentFacts;
use crate::allocator::engine::{Error, InverseOffer, Partition, Rules};
use kaon_kernel::agent::{Attribute, AttributeValue, Domain};
use kaon_kernel::constraint::{AttributeConstraint, ConstraintGroup, OfferConstraints, Predicate, Selector};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentId, AgentIndex, FrameworkIndex};
use kaon_kernel::maintenance::Unavailability;
use kaon_kernel::offer::Refusal;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Identity, Reservation, Resource, ResourceName, Resources};
use kaon_kernel::time::{Duration, WallTime};

fn text(name: &str, value: &str) -> Attribute {
    Attribute { name: name.to_owned(), value: AttributeValue::Text(value.to_owned()) }
}

fn agent_with(play: &mut Play, agent: u32, attributes: Vec<Attribute>, zone: Option<&str>) {
    let domain = zone.map(|zone| Domain { region: "here".to_owned(), zone: zone.to_owned() });
    let (id, hostname) = (AgentId::trusted(format!("S{agent}")), format!("machine-{agent}"));
    let facts = AgentFacts { id, hostname, attributes, domain };
    play.engine.add_agent(AgentIndex(agent), facts, bag("cpus:1"), &[]).expect("it has begun");
}

fn one(selector: Selector, predicate: Predicate) -> ConstraintGroup {
    ConstraintGroup(vec![AttributeConstraint { selector, predicate }])
}

fn named(name: &str, predicate: Predicate) -> ConstraintGroup {
    one(Selector::Attribute(name.to_owned()), predicate)
}

/// The agents that constraints let through, of five.
fn allowed(groups: Vec<ConstraintGroup>) -> Vec<u32> {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    let constraints = OfferConstraints { groups };
    play.engine.set_constraints(FrameworkIndex(1), &role("web"), &constraints).expect("well formed");
    let number = AttributeValue::Scalar(Quantity(1000));
    agent_with(&mut play, 1, vec![text("rack", "r1")], Some("z1"));
    agent_with(&mut play, 2, vec![text("rack", "r2"), text("rack", "r1")], Some("z2"));
    agent_with(&mut play, 3, vec![Attribute { name: "rack".to_owned(), value: number }], None);
    agent_with(&mut play, 4, vec![text("disk", "ssd")], None);
    agent_with(&mut play, 5, vec![text("rack", "r1\n")], None);
    let mut agents = play.round().iter().map(|grant| grant.agent.0).collect::<Vec<_>>();
    agents.sort_unstable();
    for agent in 1..6 {
        let reasons = if agents.contains(&agent) { vec!["nothing_free"] } else { vec!["constrained"] };
        assert_eq!(play.reasons(1, "web", agent)[..1], reasons[..1]);
    }
    agents
}

#[test]
fn constraints_choose_agents() {
    use Predicate::{Exists, NotExists, TextEquals, TextMatches, TextNotEquals, TextNotMatches};
    let (r1, one_or_two) = (|| "r1".to_owned(), || "r[12]".to_owned());
    assert_eq!(allowed(vec![]), [1, 2, 3, 4, 5]);
    assert_eq!(allowed(vec![named("rack", Exists)]), [1, 2, 3, 5]);
    assert_eq!(allowed(vec![named("rack", NotExists)]), [4]);
    assert_eq!(allowed(vec![named("rack", TextEquals(r1()))]), [1, 3], "the first of the name; a number satisfies all");
    assert_eq!(allowed(vec![named("rack", TextNotEquals(r1()))]), [2, 3, 4, 5]);
    assert_eq!(
        allowed(vec![named("rack", TextMatches(one_or_two()))]),
        [1, 2, 3],
        "all of it matches, line ends included"
    );
    assert_eq!(allowed(vec![named("rack", TextNotMatches(one_or_two()))]), [3, 4, 5]);
    assert_eq!(allowed(vec![one(Selector::Hostname, TextMatches("machine-[1-2]".to_owned()))]), [1, 2]);
    assert_eq!(allowed(vec![one(Selector::Zone, TextEquals("z2".to_owned()))]), [2]);
    assert_eq!(allowed(vec![one(Selector::Region, NotExists)]), [3, 4, 5]);
    let either = vec![named("disk", Exists), one(Selector::Zone, Exists)];
    assert_eq!(allowed(either), [1, 2, 4]);
    let both = ConstraintGroup([named("rack", Exists).0, one(Selector::Zone, Exists).0].concat());
    assert_eq!(allowed(vec![both]), [1, 2]);
}

#[test]
fn constraints_that_are_none_are_refused_and_those_of_an_agent_that_came_anew_are_asked_anew() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    let mut set = |groups| play.engine.set_constraints(FrameworkIndex(1), &role("web"), &OfferConstraints { groups });
    for bad in ["a)|(b", "(", "a{1000000}", &"a".repeat(1025)] {
        assert_eq!(
            set(vec![named("rack", Predicate::TextMatches(bad.to_owned()))]),
            Err(Error::BadConstraints),
            "{bad}"
        );
    }
    assert_eq!(set(vec![ConstraintGroup(Vec::new())]), Err(Error::BadConstraints));
    assert_eq!(set(vec![named("rack", Predicate::Exists)]), Ok(()));
    let elsewhere = play.engine.set_constraints(FrameworkIndex(1), &role("db"), &OfferConstraints::default());
    assert_eq!(elsewhere, Err(Error::NotSubscribed));
    agent_with(&mut play, 1, vec![], None);
    assert!(play.round().is_empty());
    play.engine.remove_agent(AgentIndex(1)).expect("it is there");
    agent_with(&mut play, 1, vec![text("rack", "r1")], None);
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn an_agent_that_says_other_things_of_itself_is_chosen_by_these() {
    let mut play = Play::with(Rules { region: Some("here".to_owned()), ..Rules::default() }, &[]);
    play.framework(1, &["web"]);
    let groups = vec![named("rack", Predicate::Exists)];
    play.engine.set_constraints(FrameworkIndex(1), &role("web"), &OfferConstraints { groups }).expect("well formed");
    play.engine.set_whitelist(Some(&["machine-1".to_owned()])).expect("it has begun");
    agent_with(&mut play, 1, vec![], None);
    assert!(play.round().is_empty());
    let mut say = |hostname: &str, attributes: Vec<Attribute>, region: &str| {
        let domain = Some(Domain { region: region.to_owned(), zone: "z".to_owned() });
        play.engine.describe_agent(AgentIndex(1), hostname.to_owned(), attributes, domain).expect("it is there");
        play.winners()
    };
    let rack = || vec![text("rack", "r1")];
    assert_eq!(say("machine-2", rack(), "here"), [], "not listed");
    assert_eq!(say("machine-1", rack(), "there"), [], "another region");
    assert_eq!(say("machine-1", vec![], "here"), [], "no rack");
    assert_eq!(say("machine-1", rack(), "here"), [(1, 1)]);
    let unknown = play.engine.describe_agent(AgentIndex(2), String::new(), Vec::new(), None);
    assert_eq!(unknown, Err(Error::UnknownAgent(AgentIndex(2))));
}

#[test]
fn an_expression_costs_no_more_than_its_text() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    // Exponential where matching goes back and tries again.
    let groups = vec![named("rack", Predicate::TextMatches("(a*)*b".to_owned()))];
    play.engine.set_constraints(FrameworkIndex(1), &role("web"), &OfferConstraints { groups }).expect("well formed");
    agent_with(&mut play, 1, vec![text("rack", &"a".repeat(100_000))], None);
    assert!(play.round().is_empty());
}

#[test]
fn only_listed_hosts_are_offered() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.engine.set_whitelist(Some(&["machine-2".to_owned()])).expect("it has begun");
    for agent in 1..4 {
        play.agent(agent, "cpus:1");
    }
    assert_eq!(play.winners(), [(1, 2)]);
    assert_eq!(play.reasons(1, "web", 1), ["not_listed"]);
    play.engine.set_whitelist(None).expect("it has begun");
    assert_eq!(play.round().len(), 2);
}

#[test]
fn a_framework_may_want_larger_or_smaller_offers_than_the_cluster() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    let large = vec![vec![(ResourceName::Cpus, Quantity::units(2)), (ResourceName::Mem, Quantity::units(64))]];
    play.engine.set_minimums(FrameworkIndex(1), &role("web"), Some(large)).expect("it is subscribed");
    play.agent(1, "cpus:2;mem:63");
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["below_minimum"]);
    play.agent(2, "cpus:2;mem:64");
    assert_eq!(play.winners(), [(1, 2)]);
    play.agent(3, "disk:1");
    play.engine.set_minimums(FrameworkIndex(1), &role("web"), Some(Vec::new())).expect("it is subscribed");
    assert_eq!(play.round().len(), 2, "none at all");
    // They go with the subscription.
    play.engine.update_framework(FrameworkIndex(1), &[role("db")], &[], Default::default()).expect("it is there");
    play.engine.update_framework(FrameworkIndex(1), &[role("web")], &[], Default::default()).expect("it is there");
    play.agent(4, "disk:1");
    assert!(play.round().is_empty());
}

#[test]
fn a_weight_counts_from_the_moment_it_is_set() {
    let mut play = Play::new();
    play.framework(1, &["a"]);
    play.framework(2, &["b"]);
    let used = [grant(1, "a", 1, "cpus:2"), grant(2, "b", 1, "cpus:3")];
    play.agent_in_use(1, "cpus:5", &used);
    play.engine.set_weight(&role("b"), 2000).expect("it has begun");
    assert_eq!(play.engine.set_weight(&role("b"), 0), Err(Error::NoWeight));
    play.agent(2, "cpus:1");
    assert_eq!(play.winners(), [(2, 2)], "3/2 is less than 2");
}

#[test]
fn who_holds_something_of_a_machine_that_will_go_is_asked_to_leave() {
    let mut play = Play::new();
    play.framework(1, &["a"]);
    play.framework(2, &["b"]);
    let used = [grant(1, "a", 1, "cpus:1"), grant(2, "b", 1, "cpus:1"), grant(9, "b", 1, "cpus:1")];
    play.agent_in_use(1, "cpus:4", &used);
    let when = Unavailability { start: WallTime(5), duration: None };
    let (agent, mut offers) = (AgentIndex(1), Vec::new());
    play.engine.set_unavailability(agent, Some(when)).expect("it is there");
    play.engine.inverse_offers(play.now, &mut offers);
    let to = |framework| InverseOffer { framework: FrameworkIndex(framework), agent, unavailability: when };
    assert_eq!(offers, [to(1), to(2)], "framework 9 is not there");
    offers.clear();
    play.engine.inverse_offers(play.now, &mut offers);
    assert!(offers.is_empty(), "they have been asked");
    let mut answer = |framework, seconds| {
        let refusal = Some(Refusal(Duration::secs(seconds)));
        play.engine.answer_inverse(play.now, FrameworkIndex(framework), agent, refusal)
    };
    answer(1, 60).expect("it was asked");
    answer(2, 5).expect("it was asked");
    assert_eq!(answer(9, 5), Err(Error::UnknownFramework(FrameworkIndex(9))));
    play.now = play.now + Duration::secs(5);
    play.engine.inverse_offers(play.now, &mut offers);
    assert_eq!(offers, [to(2)]);
    play.engine.revive(FrameworkIndex(1), &[role("a")]).expect("it is there");
    play.engine.inverse_offers(play.now, &mut offers);
    assert_eq!(offers, [to(2), to(1)]);
    assert_eq!(play.winners(), [(1, 1)], "offers of the machine go on");
    play.engine.set_unavailability(agent, None).expect("it is there");
    assert_eq!(play.engine.unavailability(agent), None);
}

fn reserved(name: &str, units: u64, shared: bool) -> Resource {
    let reservation = Reservation { dynamic: true, role: role(name), principal: None, labels: Vec::new() };
    let identity = Identity { reservations: vec![reservation], shared, ..Identity::default() };
    Resource { identity: Some(identity.into()), ..Resource::scalar(ResourceName::Disk, Quantity::units(units)) }
}

fn with(text: &str, entries: &[Resource]) -> Resources {
    Resources::collect(bag(text).iter().cloned().chain(entries.iter().cloned())).expect("they add up")
}

#[test]
fn what_is_held_can_become_a_reservation_and_back() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, "cpus:4;disk:10");
    assert_eq!(play.winners(), [(1, 1)]);
    play.framework(2, &["db"]);
    let (framework, web, agent) = (FrameworkIndex(1), role("web"), AgentIndex(1));
    let (plain, kept) = (bag("disk:10"), with("cpus:0", &[reserved("web", 10, false)]));
    play.engine.convert(framework, &web, agent, &plain, &kept).expect("it holds it");
    play.engine.invariants();
    assert_eq!(play.engine.convert(framework, &web, agent, &plain, &kept), Err(Error::NotConvertible));
    play.recover(grant(1, "web", 1, "cpus:4"), Some(Duration::secs(60)));
    assert_eq!(play.winners(), [(2, 1)]);
    let back = kaon_kernel::message::allocator::Grant { framework, role: web, agent, resources: kept.clone() };
    play.recover(back, None);
    assert_eq!(play.reasons(2, "db", 1), ["reserved_to_others"]);
    play.engine.convert_free(agent, &kept, &plain).expect("it is free");
    play.engine.invariants();
    assert_eq!(play.engine.agent(agent).expect("it is there").free(), &plain);
    assert_eq!(play.engine.convert_free(agent, &kept, &plain), Err(Error::NotConvertible));
}

#[test]
fn a_shared_volume_is_offered_while_it_is_held() {
    let mut play = Play::with(Rules::default(), &[]);
    let capabilities = [Capability::SharedResources];
    play.framework_with(1, &["web"], &[], &capabilities);
    play.framework_with(2, &["web"], &[], &capabilities);
    play.framework(3, &["web"]);
    let volume = reserved("web", 5, true);
    let total = with("cpus:4", std::slice::from_ref(&volume));
    play.engine.add_agent(AgentIndex(1), super::facts(1, None), total.clone(), &[]).expect("it has begun");
    let first = play.round();
    assert_eq!(first.iter().map(|grant| grant.framework.0).collect::<Vec<_>>(), [1]);
    assert_eq!(first[0].resources, total);
    // Half of the processors come back; the volume is still free to others, in a copy.
    play.recover(grant(1, "web", 1, "cpus:2"), Some(Duration::secs(60)));
    let second = play.round();
    assert_eq!((second[0].framework.0, &second[0].resources), (2, &with("cpus:2", &[volume])));
    for grant in first.iter().chain(&second) {
        let resources = grant.resources.filter(|entry| entry.name == ResourceName::Disk);
        play.recover(kaon_kernel::message::allocator::Grant { resources, ..grant.clone() }, None);
        play.engine.invariants();
    }
    assert_eq!(play.engine.held(FrameworkIndex(1), &role("web"), AgentIndex(1)), bag("cpus:2"));
}

#[test]
fn a_shared_volume_goes_to_the_first_who_may_have_it() {
    let mut play = Play::with(Rules { minimums: Vec::new(), ..Rules::default() }, &[]);
    play.framework(1, &["a"]);
    play.framework_with(2, &["web"], &[], &[Capability::SharedResources]);
    let volume = reserved("web", 5, true);
    let total = with("cpus:4;cpus(a):1", std::slice::from_ref(&volume));
    play.engine.add_agent(AgentIndex(1), super::facts(1, None), total, &[]).expect("it has begun");
    let grants = play.round();
    assert_eq!((grants[0].framework.0, &grants[0].resources), (1, &bag("cpus:4;cpus(a):1")));
    let volume = Resources::collect([volume]).expect("one entry is a bag");
    assert_eq!((grants[1].framework.0, &grants[1].resources), (2, &volume), "the grant before had no copy");
    // The agent loses the volume under its holder, who gives it back all the same.
    play.engine.update_agent(AgentIndex(1), bag("cpus:4;cpus(a):1")).expect("it is there");
    play.engine.invariants();
    play.recover(grants[1].clone(), None);
    play.engine.invariants();
}

#[test]
fn a_parted_cluster_is_offered_by_its_parts() {
    let mut partition = Partition::default();
    partition.assign("machine-1", &role("eng"));
    partition.assign("machine-2", &role("ops"));
    let mut play = Play::with(Rules { partition: Some(partition), ..Rules::default() }, &[]);
    play.framework(1, &["eng/web"]);
    play.framework(2, &["ops"]);
    for agent in 1..=3 {
        play.agent(agent, "cpus:4;mem:1024");
    }
    assert_eq!(play.reasons(1, "eng/web", 2), ["not_owned"]);
    assert_eq!(play.reasons(2, "ops", 3), ["not_owned"], "what is nobody's is offered to nobody");
    let mut winners = play.winners();
    winners.sort_unstable();
    assert_eq!(winners, [(1, 1), (2, 2)]);
    let reasons = play.engine.explain(FrameworkIndex(1), &role("eng/web"), AgentIndex(2));
    assert_eq!(reasons[0].to_string(), "the agent belongs to role ops");
}

#[test]
fn what_is_left_for_a_role_finds_it_among_many() {
    let mut play = Play::new();
    let names = (0..40).map(|number| format!("role-{number:02}")).collect::<Vec<_>>();
    for (framework, name) in (1..).zip(&names) {
        play.framework(framework, &[name.as_str()]);
    }
    play.framework(41, &["role-07/below"]);
    for agent in 1..=4 {
        play.agent(agent, "cpus:2;mem:512;cpus(role-07):4;mem(role-07):256;cpus(role-31):1");
    }
    let grants = play.round();
    let of = |name: &str| {
        let held = grants.iter().filter(|grant| grant.resources.iter().any(|entry| entry.is_reserved_to(&role(name))));
        held.map(|grant| grant.role.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("role-07").len(), 4, "each agent's part is granted at once");
    assert!(of("role-07").iter().all(|holder| holder == "role-07" || holder == "role-07/below"));
    assert_eq!(of("role-31"), ["role-31"; 4]);
    assert!(play.engine.agent(AgentIndex(1)).is_some_and(|found| found.free().is_empty()));
}
