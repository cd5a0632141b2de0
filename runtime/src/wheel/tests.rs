//! The wheel against a sorted table that does the same slowly.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Default)]
struct Model {
    armed: BTreeMap<u64, (Instant, u64)>,
    sequence: u64,
}

impl Model {
    fn fire(&mut self, now: Instant) -> Option<u64> {
        let next = self.armed.iter().map(|(&timer, &key)| (key, timer)).min()?;
        let ((at, _), timer) = next;
        (at <= now).then(|| {
            self.armed.remove(&timer);
            timer
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arm(u64, u64),
    Disarm(u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Delays of every magnitude, so that each level is used and timers move down through all of them.
    let delay = (0u32..60, any::<u64>()).prop_map(|(bits, noise)| noise >> (63 - bits));
    let step = prop_oneof![
        4 => (0u64..12, delay.clone()).prop_map(|(timer, delay)| Step::Arm(timer, delay)),
        1 => (0u64..12).prop_map(Step::Disarm),
        3 => delay.prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn fires_what_the_model_fires_in_its_order(steps in steps()) {
        let (mut wheel, mut model, mut now) = (TimerWheel::default(), Model::default(), Instant(0));
        for step in steps {
            match step {
                Step::Arm(timer, delay) => {
                    let at = Instant(now.0.saturating_add(delay));
                    wheel.arm(timer, at);
                    model.sequence += 1;
                    model.armed.insert(timer, (at, model.sequence));
                }
                Step::Disarm(timer) => {
                    wheel.disarm(timer);
                    model.armed.remove(&timer);
                }
                Step::Pass(length) => now = Instant(now.0.saturating_add(length)),
            }
            loop {
                let fired = wheel.fire(now);
                prop_assert_eq!(fired, model.fire(now));
                if fired.is_none() {
                    break;
                }
            }
            prop_assert_eq!(wheel.len(), model.armed.len());
            let earliest = model.armed.values().map(|&(at, _)| at).min();
            match (wheel.wake_at(), earliest) {
                (None, None) => {}
                (Some(wake), Some(at)) => prop_assert!(wake <= at && wake > now, "wakes at {wake:?} for {at:?}"),
                other => prop_assert!(false, "{other:?}"),
            }
        }
        // Sleeping from one wake-up to the next reaches every timer that is left, in few steps each.
        let mut wakes = 0;
        let bound = model.armed.len() * LEVELS;
        while let Some(at) = wheel.wake_at() {
            now = now.max(at);
            wakes += 1;
            while let Some(timer) = wheel.fire(now) {
                prop_assert_eq!(Some(timer), model.fire(now));
            }
        }
        prop_assert!(model.armed.is_empty());
        prop_assert!(wakes <= bound, "{wakes} wake-ups, {bound} allowed");
    }
}

#[test]
fn a_wheel_that_is_armed_again_and_again_keeps_its_size() {
    let mut wheel = TimerWheel::default();
    for round in 0..100_000u64 {
        wheel.arm(round % 7, Instant(round << 21));
        while wheel.fire(Instant(round << 20)).is_some() {}
    }
    assert!(wheel.entries.len() <= 8, "{} entries for seven timers", wheel.entries.len());
    assert!(wheel.due.len() <= 8);
}
