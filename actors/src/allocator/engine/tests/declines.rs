//! Filters: what a refusal keeps away, how long, and what lifts it.

use super::{Play, bag, grant, role};
use crate::allocator::engine::filter::{AgentFilters, FILTERS_PER_AGENT_MAX, Filters};
use kaon_kernel::id::{AgentIndex, FrameworkIndex};
use kaon_kernel::time::{Duration, Instant};

const ALL: &str = "cpus:4;mem:1024;ports:[1-9]";

/// One framework was offered all of one agent and declined it.
fn declined(refusal: Duration) -> Play {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, ALL);
    assert_eq!(play.winners(), [(1, 1)]);
    play.recover(grant(1, "web", 1, ALL), Some(refusal));
    play
}

#[test]
fn a_refusal_lasts_as_long_as_it_says() {
    let mut play = declined(Duration::secs(5));
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["filtered"]);
    assert_eq!(play.engine.next_expiry(), Some(Instant(0) + Duration::secs(5)));
    play.now = Instant(Duration::secs(5).0 - 1);
    assert!(play.round().is_empty());
    play.now = Instant(Duration::secs(5).0);
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn a_refusal_lasts_at_least_an_interval() {
    let mut play = declined(Duration::millis(1));
    play.now = Instant(Duration::millis(999).0);
    assert!(play.round().is_empty());
    play.now = Instant(Duration::secs(1).0);
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn a_refusal_of_no_length_lasts_until_the_next_batch_round() {
    let mut play = declined(Duration::ZERO);
    assert!(play.round().is_empty());
    assert_eq!(play.engine.next_expiry(), Some(Instant(Duration::secs(1).0)));
    play.now = Instant(Duration::millis(1000).0);
    assert_eq!(play.winners(), [(1, 1)]);
    play.now = Instant(Duration::millis(1900).0);
    play.recover(grant(1, "web", 1, ALL), Some(Duration::ZERO));
    assert_eq!(play.engine.next_expiry(), Some(Instant(Duration::secs(2).0)), "no more than is left of the interval");
}

#[test]
fn more_than_was_refused_gets_through() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.agent(1, ALL);
    play.round();
    // A task keeps one processor and a port; the rest is declined.
    play.recover(grant(1, "web", 1, "cpus:3;mem:1024;ports:[2-9]"), Some(Duration::secs(60)));
    assert!(play.round().is_empty());
    play.recover(grant(1, "web", 1, "ports:[1-1]"), None);
    let grants = play.round();
    assert_eq!(grants.len(), 1, "eight ports were refused, nine are free");
    assert_eq!(grants[0].resources, bag("cpus:3;mem:1024;ports:[1-9]"));
}

#[test]
fn less_than_was_refused_does_not() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.framework(2, &["web"]);
    play.agent(1, ALL);
    play.round();
    play.recover(grant(1, "web", 1, ALL), Some(Duration::secs(60)));
    assert_eq!(play.winners(), [(2, 1)], "a filter is of one framework");
    play.recover(grant(2, "web", 1, "cpus:2"), Some(Duration::secs(60)));
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["filtered"]);
    assert_eq!(play.reasons(2, "web", 1), ["filtered"]);
}

#[test]
fn revive_and_changes_of_the_agent_lift_filters() {
    let mut play = declined(Duration::secs(60));
    play.engine.revive(FrameworkIndex(1), &[role("web")]).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)]);

    let mut play = declined(Duration::secs(60));
    play.engine.update_agent(AgentIndex(1), bag("cpus:3;mem:1024")).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)]);

    let mut play = declined(Duration::secs(60));
    play.engine.deactivate_framework(FrameworkIndex(1)).expect("it is there");
    assert!(play.round().is_empty());
    play.engine.activate_framework(FrameworkIndex(1)).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)]);
}

#[test]
fn suppression_ends_with_revive_and_with_an_update_that_does_not_name_it() {
    let mut play = declined(Duration::secs(60));
    let (framework, web) = (FrameworkIndex(1), [role("web")]);
    play.engine.suppress(framework, &web).expect("it is there");
    assert!(play.round().is_empty());
    assert_eq!(play.reasons(1, "web", 1), ["suppressed", "filtered"], "filters stay");
    play.engine.update_framework(framework, &web, &web, Default::default()).expect("it is there");
    assert_eq!(play.reasons(1, "web", 1), ["suppressed", "filtered"]);
    play.engine.update_framework(framework, &web, &[], Default::default()).expect("it is there");
    assert_eq!(play.winners(), [(1, 1)], "a role that is no longer suppressed loses its filters");

    let mut play = declined(Duration::secs(60));
    play.engine.update_framework(framework, &web, &[], Default::default()).expect("it is there");
    assert!(play.round().is_empty(), "a role that was not suppressed keeps its filters");
}

/// Filters of one owner on one agent, and how many there are.
fn count(filters: &Filters, on: &AgentFilters) -> usize {
    let mut count = 0;
    filters.on(on, &bag("cpus:1"), |_, _| count += 1);
    count
}

#[test]
fn filters_are_bounded_and_say_nothing_twice() {
    let (mut filters, mut on) = (Filters::default(), AgentFilters::default());
    let owner = filters.own(0, FrameworkIndex(1), false).expect("there is room");
    let (agent, at) = (AgentIndex(1), |seconds| Instant(Duration::secs(seconds).0));
    let refuse = |filters: &mut Filters, on: &mut AgentFilters, refused: &str, until: Instant| {
        filters.insert(on, agent, owner, bag(refused), until);
        filters.invariants([(agent, &*on)].into_iter());
    };
    refuse(&mut filters, &mut on, "cpus:2", at(10));
    refuse(&mut filters, &mut on, "cpus:1", at(5));
    assert_eq!(count(&filters, &on), 1, "the first says as much, and longer");
    refuse(&mut filters, &mut on, "cpus:3", at(10));
    assert_eq!(count(&filters, &on), 1, "the third says more");
    for place in 0..2 * FILTERS_PER_AGENT_MAX as u64 {
        refuse(&mut filters, &mut on, &format!("ports:[{place}-{place}]"), at(20 + place));
    }
    assert_eq!(count(&filters, &on), FILTERS_PER_AGENT_MAX);
    let mut expiries = Vec::new();
    while let Some(next) = filters.next_expiry() {
        let (tick, agents) = filters.due(next).expect("something is due");
        assert_eq!(agents, [agent]);
        if filters.expire_on(&mut on, agent, tick, next) {
            expiries.push(next);
        }
        filters.invariants([(agent, &on)].into_iter());
    }
    assert_eq!((count(&filters, &on), expiries.len()), (0, FILTERS_PER_AGENT_MAX));
    assert!(expiries[0] >= at(20 + FILTERS_PER_AGENT_MAX as u64), "those that lasted longest were kept");
}

#[test]
fn filters_given_up_are_swept_up_and_their_owners_used_again() {
    let (mut filters, mut on) = (Filters::default(), AgentFilters::default());
    let agent = AgentIndex(1);
    let mut owners = std::collections::BTreeSet::new();
    for round in 0..1000u64 {
        let owner = filters.own(0, FrameworkIndex(1), false).expect("there is room");
        owners.insert(format!("{owner:?}"));
        filters.insert(&mut on, agent, owner, bag("cpus:1"), Instant(Duration::secs(1_000_000 - round).0));
        assert_eq!(count(&filters, &on), 1);
        filters.give_up(owner);
        assert_eq!(count(&filters, &on), 0);
        filters.invariants([(agent, &on)].into_iter());
    }
    assert!(owners.len() < 20, "{} owners for one client", owners.len());
    assert!(
        !filters.is_cluttered(1) || {
            filters.requeue([(agent, &on)].into_iter());
            !filters.is_cluttered(1)
        }
    );
}
