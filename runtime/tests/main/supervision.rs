//! Panics: who is restarted, from what, how often; children; escalation.

use crate::stage::*;
use kaon_kernel::actor::supervision::{Policy, Strategy, Tree};
use kaon_kernel::actor::{ActorKind, Address, Effect, Event, ExitReason, Outcome, Ticket, exit};
use kaon_kernel::port::{Ingress, Refused};
use kaon_kernel::time::Duration;
use kaon_runtime::journal::MemoryDisk;
use kaon_runtime::{Birth, Origin};

const PANIC: u64 = 1_000_000;
const ONE: &[ActorKind] = &[ActorKind::Master];
const THREE: &[ActorKind] = &[ActorKind::Registrar, ActorKind::Master, ActorKind::Allocator];

/// Persists each number under its own key; panics on [`PANIC`].
fn keeper(_: &Birth) -> Play {
    Box::new(|event, craft| match event {
        Event::Message(frame) if number(frame) == PANIC => panic!("as told"),
        Event::Message(frame) => craft.persist(number(frame), &format!("{:06}", number(frame)), "kept"),
        _ => {}
    })
}

fn is_persisted(event: &Event, number: u64) -> bool {
    matches!(event, Event::Done(Ticket(ticket), Outcome::Persisted(Ok(()))) if *ticket == number)
}

#[test]
fn a_fallen_actor_begins_anew_from_its_journal_and_what_waited_is_handled() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), keeper);
    let first = stage.until_started(MASTER, 1);
    assert_eq!(first.recovered(), Some(&[][..]));
    (1..=50).for_each(|number| stage.tell(MASTER, number));
    stage.until("the last outcome", |note| is_persisted(&note.event, 50));
    stage.tell(MASTER, PANIC);
    stage.tell(MASTER, 51);
    let second = stage.until_started(MASTER, 2);
    let keys: Vec<_> = second.recovered().unwrap().iter().map(|record| record.key.clone()).collect();
    assert_eq!(keys, (1..=50).map(|number| format!("{number:06}").into_bytes()).collect::<Vec<_>>());
    assert_eq!(stage.until_number(MASTER, 51).incarnation, 2, "what came after the fatal message was kept");
    let restarts = stage.host.snapshot().into_iter().find(|(name, _)| name == "runtime/restarts/master");
    assert_eq!(restarts.map(|(_, value)| value), Some(1.0));
    stage.finish();
}

#[test]
fn a_planted_panic_loses_no_acknowledged_state() {
    for nth in [1, 2, 17, 40, 41, 60] {
        let disk = MemoryDisk::default();
        let mut config = config(tree(ONE), &disk);
        config.plants = vec![(ActorKind::Master, nth), (ActorKind::Allocator, 1)];
        let stage = Stage::start(config, keeper);
        (1..=40).for_each(|number| stage.tell(MASTER, number));
        // One of 1 start, 40 messages and 40 outcomes is not handled; the host goes on to the end of what waits.
        let mut acknowledged = Vec::new();
        let second = loop {
            let note = stage.until("outcomes and the second start", |note| {
                note.is_start_of(MASTER, 2) || matches!(note.event, Event::Done(..))
            });
            match &note.event {
                Event::Done(ticket, Outcome::Persisted(Ok(()))) => acknowledged.push(ticket.0),
                Event::Done(..) => panic!("{note:?}"),
                _ => break note,
            }
        };
        let keys: Vec<_> = second.recovered().unwrap().iter().map(|record| record.key.clone()).collect();
        for number in acknowledged {
            assert!(keys.contains(&format!("{number:06}").into_bytes()), "plant {nth}: {number} was acknowledged");
        }
        stage.tell(MASTER, 999);
        assert_eq!(stage.until_number(MASTER, 999).incarnation, 2, "a plant falls once");
        stage.finish();
    }
}

#[test]
fn the_effects_of_a_failing_call_are_dropped() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(THREE), &disk), |_| {
        Box::new(|event, craft| {
            let Event::Message(frame) = event else { return };
            if craft.me == MASTER {
                craft.send(REGISTRAR, number(frame));
                craft.persist(1, "key", "value");
                assert!(number(frame) < PANIC, "as told");
            }
        })
    });
    stage.until_started(ALLOCATOR, 1);
    stage.tell(MASTER, PANIC);
    let second = stage.until_started(MASTER, 2);
    assert_eq!(second.recovered(), Some(&[][..]));
    stage.tell(MASTER, 5);
    stage.until_number(REGISTRAR, 5);
    assert!(stage.finish().iter().all(|note| note.who != REGISTRAR || note.number() != Some(PANIC)));
}

#[test]
fn those_after_the_fallen_are_restarted_with_it_in_order() {
    for strategy in [Strategy::RestForOne, Strategy::OneForOne] {
        let disk = MemoryDisk::default();
        let tree = Tree { policy: Policy { strategy, ..PROMPT }, actors: THREE };
        let stage = Stage::start(config(tree, &disk), keeper);
        stage.until_started(ALLOCATOR, 1);
        stage.tell(MASTER, PANIC);
        stage.until_started(MASTER, 2);
        if strategy == Strategy::RestForOne {
            stage.until_started(ALLOCATOR, 2);
        }
        for address in [REGISTRAR, MASTER, ALLOCATOR] {
            stage.tell(address, 7);
            stage.until_number(address, 7);
        }
        let notes = stage.finish();
        let starts: Vec<_> = notes.iter().filter(|note| matches!(note.event, Event::Start(_))).collect();
        let starts: Vec<_> = starts.iter().map(|note| (note.who.kind, note.incarnation)).collect();
        let mut expected = vec![(ActorKind::Registrar, 1), (ActorKind::Master, 1), (ActorKind::Allocator, 1)];
        expected.push((ActorKind::Master, 2));
        if strategy == Strategy::RestForOne {
            expected.push((ActorKind::Allocator, 2));
        }
        assert_eq!(starts, expected, "{strategy:?}");
    }
}

#[test]
fn falling_too_often_stops_the_host_with_a_code() {
    let disk = MemoryDisk::default();
    let policy = Policy { restarts_max: 3, ..PROMPT };
    let stage = Stage::start(config(Tree { policy, actors: ONE }, &disk), |_| {
        Box::new(|event, _| assert!(!matches!(event, Event::Start(_)), "never begins"))
    });
    stage.until_started(MASTER, 4);
    assert_eq!(stage.host.wait(), exit::ESCALATED);
    assert_eq!(stage.host.exit_code(), Some(exit::ESCALATED));
    assert_eq!(stage.host.deliver(message(MASTER, MASTER, 1)), Err(Refused::NoActor(MASTER)));
}

#[test]
fn an_actor_that_falls_at_once_waits_for_its_minimum_run_time() {
    let disk = MemoryDisk::default();
    let policy = Policy { run_min: Duration::millis(60), ..PROMPT };
    let stage = Stage::start(config(Tree { policy, actors: ONE }, &disk), |birth| {
        let falls = birth.incarnation == 1;
        Box::new(move |_, _| assert!(!falls, "at once"))
    });
    let first = stage.until_started(MASTER, 1);
    let second = stage.until_started(MASTER, 2);
    assert!(second.moment.now.since(first.moment.now) >= Duration::millis(60));
    stage.finish();
}

#[test]
fn a_factory_that_panics_counts_as_a_fall() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), |birth| {
        assert!(birth.incarnation > 2, "no cell yet");
        idle()
    });
    stage.until_started(MASTER, 3);
    stage.finish();
}

const CHILD: Address = Address::nth(HOST, ActorKind::Framework, 3);

/// The master spawns on 1, stops on 2, falls on [`PANIC`]; its child persists, finishes on 8 and falls on [`PANIC`].
fn family(birth: &Birth) -> Play {
    let is_child = matches!(birth.origin, Origin::Child { parent: MASTER, .. });
    Box::new(move |event, craft| {
        let Event::Message(frame) = event else { return };
        match number(frame) {
            PANIC => panic!("as told"),
            1 if !is_child => {
                craft.spawn(CHILD);
                craft.send(CHILD, 77);
            }
            2 if !is_child => craft.effects.push(Effect::Stop { child: CHILD }),
            8 if is_child => craft.effects.push(Effect::Finish { code: 3, words: String::new() }),
            number if is_child => craft.persist(number, "last", &number.to_string()),
            _ => {}
        }
    })
}

fn until_exit(stage: &Stage, reason: ExitReason) {
    let note = stage.until("the end of the child", |note| matches!(note.event, Event::Exit(..)));
    let Event::Exit(child, got) = &note.event else { panic!("{note:?}") };
    assert_eq!((note.who, *child, got), (MASTER, CHILD, &reason));
}

#[test]
fn children_are_spawned_stopped_finished_and_restarted_under_their_parent() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), family);
    stage.tell(MASTER, 1);
    let birth = stage.until_started(CHILD, 1);
    assert_eq!(birth.recovered(), Some(&[][..]));
    stage.until_number(CHILD, 77);
    stage.until("the outcome of 77", |note| is_persisted(&note.event, 77));
    stage.tell(CHILD, PANIC);
    // Two threads tell of it, in either order.
    stage.until("the child's second start or its parent's note", |note| {
        note.is_start_of(CHILD, 2) || matches!(note.event, Event::Exit(CHILD, ExitReason::Restarted))
    });
    stage.until("the other of the two", |note| {
        note.is_start_of(CHILD, 2) || matches!(note.event, Event::Exit(CHILD, ExitReason::Restarted))
    });
    let seen = stage.seen.borrow().clone();
    let second = seen.iter().find(|note| note.is_start_of(CHILD, 2)).expect("both have come");
    assert_eq!(second.recovered().unwrap()[0].value, b"77");
    stage.tell(MASTER, 2);
    until_exit(&stage, ExitReason::Stopped);
    assert_eq!(stage.host.deliver(message(MASTER, CHILD, 1)), Err(Refused::NoActor(CHILD)));
    // The address is free again, and a new child has no past.
    stage.tell(MASTER, 1);
    assert_eq!(stage.until_started(CHILD, 1).recovered(), Some(&[][..]));
    stage.tell(CHILD, 8);
    until_exit(&stage, ExitReason::Finished);
    assert_eq!(stage.host.exit_code(), None, "a child that finishes does not stop the host");
    stage.finish();
}

#[test]
fn a_child_that_falls_too_often_is_given_up_and_the_host_goes_on() {
    let disk = MemoryDisk::default();
    let policy = Policy { restarts_max: 2, ..PROMPT };
    let stage = Stage::start(config(Tree { policy, actors: ONE }, &disk), family);
    stage.tell(MASTER, 1);
    stage.until_number(CHILD, 77);
    (0..3).for_each(|_| stage.tell(CHILD, PANIC));
    for reason in [ExitReason::Restarted, ExitReason::Restarted, ExitReason::GaveUp] {
        until_exit(&stage, reason);
    }
    stage.tell(MASTER, 5);
    assert_eq!(stage.until_number(MASTER, 5).incarnation, 1);
    stage.finish();
}

#[test]
fn children_go_with_their_parent() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(&[ActorKind::Registrar, ActorKind::Master]), &disk), family);
    for (fallen, incarnation) in [(MASTER, 2), (REGISTRAR, 3)] {
        stage.tell(MASTER, 1);
        stage.until_number(CHILD, 77);
        stage.tell(fallen, PANIC);
        stage.until_started(MASTER, incarnation);
        assert_eq!(stage.host.deliver(message(MASTER, CHILD, 1)), Err(Refused::NoActor(CHILD)), "{fallen} fell");
    }
    let notes = stage.finish();
    assert!(notes.iter().all(|note| !matches!(note.event, Event::Exit(..))), "a new incarnation knows no old child");
}

#[test]
fn spawning_where_somebody_lives_is_a_fall_of_the_spawner() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), family);
    stage.tell(MASTER, 1);
    stage.until_number(CHILD, 77);
    stage.tell(MASTER, 1);
    stage.until_started(MASTER, 2);
    stage.finish();
}

#[test]
fn a_standing_actor_that_finishes_stops_the_host_with_its_code() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(THREE), &disk), |_| {
        Box::new(|event, craft| {
            if matches!(event, Event::Message(_)) {
                craft.effects.push(Effect::Finish { code: 17, words: String::new() });
            }
        })
    });
    stage.tell(ALLOCATOR, 1);
    assert_eq!(stage.host.wait(), 17);
}
