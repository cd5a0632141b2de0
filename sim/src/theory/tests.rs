//! The engines against the formulas, and the formulas against the published numbers.

use super::*;

fn is_near(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 0.00006
}

#[test]
fn the_formulas_give_the_published_numbers() {
    assert!(is_near(waiting_probability(10, 0.8), 0.40918));
    assert!(is_near(mean_wait(10, 0.8), 0.20459));
    for (load, time) in [(0.5, 1.2657), (0.7, 1.6145), (0.9, 2.6141)] {
        assert!(is_near(shortest_of(2, load), time), "{}", shortest_of(2, load));
        assert!(is_near(shortest_of(1, load), one_server(load)));
    }
}

#[test]
fn one_server_and_ten_are_as_theory_says() {
    let [_, _, time] = servers(1, 0.7, 20_000, 12).expect("sound");
    assert!(time.agrees(one_server(0.7)), "{time:?}");
    let [waits, wait, _] = servers(10, 0.8, 20_000, 12).expect("sound");
    assert!(waits.agrees(waiting_probability(10, 0.8)), "{waits:?}");
    assert!(wait.agrees(mean_wait(10, 0.8)), "{wait:?}");
    assert!(waits.error < 0.02 && wait.error < 0.02, "{waits:?} {wait:?}: too coarse to tell anything");
}

#[test]
fn the_shorter_of_two_queues_is_as_theory_says() {
    let two = choices(1200, 2, 0.7, 40_000, 10).expect("sound");
    assert!(two.agrees(shortest_of(2, 0.7)), "{two:?}");
    assert!(two.error < 0.01, "{two:?}: too coarse to tell anything");
    // Without a choice the queues are independent: few of them will do, for longer.
    let one = choices(100, 1, 0.5, 40_000, 10).expect("sound");
    assert!(one.agrees(one_server(0.5)), "{one:?}");
}

#[test]
fn offers_ramp_up_as_the_model_says() {
    let (slots, beta) = (100, 3.0);
    let harmonic: f64 = (1..=slots).map(|count| 1.0 / f64::from(count)).sum();
    let constant = ramp(slots, beta, false, 400);
    let count = f64::from(slots);
    assert!(constant.ramp_up.agrees(count / (count + 1.0)), "{constant:?}");
    assert!(constant.elastic.agrees(0.5 + beta), "{constant:?}");
    assert!(constant.rigid.agrees(count / (count + 1.0) + beta), "{constant:?}");
    let exponential = ramp(slots, beta, true, 400);
    // T ln k of the paper is the harmonic number without Euler's constant.
    assert!(exponential.ramp_up.agrees(harmonic), "{exponential:?}");
    assert!((harmonic - f64::from(slots).ln() - 0.5772).abs() < 0.01);
    assert!(exponential.rigid.agrees(harmonic + beta), "{exponential:?}");
    assert!(exponential.elastic.agrees(elastic_completion(beta, true)), "{exponential:?}");
    assert!((elastic_completion(beta, true) - (1.0 + beta)).abs() < 0.02, "the figure of the paper is nearly this");
}

#[test]
fn a_node_is_full_of_long_tasks_as_the_model_says() {
    for (slots, long) in [(1, 0.3), (2, 0.5), (4, 0.7), (8, 0.9)] {
        let full = filled(slots, long, 20);
        let defined = long.powi(slots as i32);
        assert!(full.agrees(defined), "{slots} slots, {long}: {full:?}, phi^S is {defined}");
        assert!(full.error < 0.05 * defined, "{full:?}: too coarse to tell anything");
    }
}
