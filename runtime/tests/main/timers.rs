//! Timers in real time.

use crate::stage::*;
use kaon_kernel::actor::{ActorKind, Effect, Event};
use kaon_kernel::time::{Duration, Instant};
use kaon_runtime::journal::MemoryDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ONE: &[ActorKind] = &[ActorKind::Master];

#[test]
fn timers_fire_in_order_not_early_and_only_as_last_armed() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), |_| {
        Box::new(|event, craft| match event {
            Event::Start(_) => {
                craft.arm(30, Duration::millis(30));
                craft.arm(10, Duration::millis(10));
                craft.arm(20, Duration::millis(20));
                craft.arm(21, Duration::millis(20));
                craft.arm(1, Duration::ZERO);
                // Replaced: earlier, later, and one that was disarmed.
                craft.arm(5, Duration::secs(3600));
                craft.arm(5, Duration::millis(5));
                craft.arm(40, Duration::millis(1));
                craft.arm(40, Duration::millis(40));
                craft.arm(99, Duration::millis(15));
                craft.effects.push(Effect::Disarm { timer: 99 });
                craft.arm(98, Duration::millis(25));
            }
            // Due in the same batch perhaps, and disarmed before its turn.
            Event::Timer(21) => craft.effects.push(Effect::Disarm { timer: 98 }),
            Event::Timer(40) => craft.effects.push(Effect::Finish { code: 0, words: String::new() }),
            _ => {}
        })
    });
    let start = stage.until_started(MASTER, 1).moment.now;
    stage.until("the last timer", |note| matches!(note.event, Event::Timer(40)));
    let notes = stage.finish();
    let fired = notes.iter().filter_map(|note| match note.event {
        Event::Timer(timer) => Some((timer, note.moment.now)),
        _ => None,
    });
    let fired: Vec<_> = fired.collect();
    assert_eq!(fired.iter().map(|(timer, _)| *timer).collect::<Vec<_>>(), [1, 5, 10, 20, 21, 30, 40]);
    for (timer, at) in fired {
        let asked = if timer == 1 {
            0
        } else if timer == 21 {
            20
        } else {
            timer
        };
        assert!(at.since(start) >= Duration::millis(asked), "{timer} after {}", at.since(start));
    }
}

#[test]
fn none_of_a_hundred_thousand_timers_is_lost_or_fires_twice() {
    const TIMERS: u64 = 100_000;
    const LAST: u64 = u64::MAX - 1;
    let fired = Arc::new(AtomicU64::new(0));
    let sum = Arc::new(AtomicU64::new(0));
    let (count, total) = (Arc::clone(&fired), Arc::clone(&sum));
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), move |_| {
        let (fired, sum) = (Arc::clone(&count), Arc::clone(&total));
        let mut last = Instant(0);
        let mut wanted = vec![Instant(0); TIMERS as usize];
        Box::new(move |event, craft| match event {
            Event::Start(_) => {
                for timer in 0..TIMERS {
                    // Spread over 200 ms; every third is set again, later; every tenth is taken back.
                    let after = Duration::micros(timer * 7_919 % 200_000);
                    craft.arm(timer, after);
                    wanted[timer as usize] = craft.moment.now + after;
                    if timer % 3 == 0 {
                        craft.arm(timer, after + Duration::millis(30));
                        wanted[timer as usize] = craft.moment.now + after + Duration::millis(30);
                    }
                    if timer % 10 == 0 {
                        craft.effects.push(Effect::Disarm { timer });
                    }
                }
            }
            Event::Timer(LAST) => craft.effects.push(Effect::Finish { code: 0, words: String::new() }),
            Event::Timer(timer) => {
                assert!(timer % 10 != 0, "{timer} was disarmed");
                let at = wanted[*timer as usize];
                assert!(at <= craft.moment.now, "early");
                assert!(at >= last, "out of order");
                last = at;
                sum.fetch_add(*timer, Ordering::Relaxed);
                if fired.fetch_add(1, Ordering::Relaxed) + 1 == TIMERS / 10 * 9 {
                    // Room for one that should not be there.
                    craft.arm(LAST, Duration::millis(20));
                }
            }
            _ => {}
        })
    });
    // A broken promise panics, and the second life counts on: both show in the sums.
    assert_eq!(stage.host.wait(), 0);
    let expected: u64 = (0..TIMERS).filter(|timer| timer % 10 != 0).sum();
    assert_eq!((fired.load(Ordering::Relaxed), sum.load(Ordering::Relaxed)), (TIMERS / 10 * 9, expected));
}

#[test]
fn timers_die_with_their_incarnation() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(ONE), &disk), |birth| {
        let incarnation = birth.incarnation;
        Box::new(move |event, craft| match event {
            Event::Start(_) if incarnation == 1 => {
                craft.arm(1, Duration::millis(20));
                craft.arm(2, Duration::ZERO);
            }
            Event::Start(_) => craft.arm(3, Duration::millis(60)),
            Event::Timer(2) => panic!("falls with a timer armed"),
            _ => {}
        })
    });
    stage.until("the timer of the second life", |note| matches!(note.event, Event::Timer(3)));
    assert!(stage.finish().iter().all(|note| !matches!(note.event, Event::Timer(1))));
}

#[test]
fn an_actor_that_always_wakes_itself_still_hears_others() {
    let disk = MemoryDisk::default();
    let stage = Stage::start(config(tree(&[ActorKind::Master, ActorKind::Registrar]), &disk), |_| {
        let mut woken = 0u64;
        Box::new(move |event, craft| match event {
            Event::Start(_) if craft.me == MASTER => craft.arm(1, Duration::ZERO),
            Event::Timer(1) => {
                woken += 1;
                craft.arm(1, Duration::ZERO);
            }
            Event::Message(_) if craft.me == MASTER => {
                // The registrar shares the arbiter, and has its turn too.
                assert!(woken > 0);
                craft.send(REGISTRAR, 9);
                craft.effects.push(Effect::Disarm { timer: 1 });
            }
            _ => {}
        })
    });
    stage.until("a timer", |note| matches!(note.event, Event::Timer(1)));
    stage.tell(MASTER, 8);
    stage.until_number(REGISTRAR, 9);
    stage.finish();
}
