//! Small workloads whose schedules can be worked out by hand.

use super::*;

#[test]
fn every_listed_policy_is_one() {
    for (name, _) in POLICIES {
        assert!(name.parse::<Policy>().is_ok(), "{name}");
    }
    assert_eq!("eazy".parse::<Policy>(), Err(PolicyError("eazy".to_owned())));
}

#[test]
fn nobody_passes_the_head_unless_it_does_not_delay_it() {
    // One job holds three of four processors until 10; the head wants four; two are short, one is long.
    let jobs = [job(0, 0, 3, 10, 10), job(1, 1, 4, 5, 5), job(2, 2, 1, 8, 8), job(3, 3, 1, 30, 30), job(4, 3, 1, 2, 2)];
    let parameters = Parameters::default();
    assert_eq!(starts(4, &jobs, "fcfs", &parameters), [0, 10, 15, 15, 15]);
    assert_eq!(starts(4, &jobs, "easy", &parameters), [0, 10, 2, 15, 15]);
    assert_eq!(starts(4, &jobs, "conservative", &parameters), [0, 10, 2, 15, 15]);
    let shorter = [jobs[0], jobs[1], job(2, 3, 1, 8, 8), job(3, 3, 1, 30, 30), job(4, 3, 1, 2, 2)];
    assert_eq!(starts(4, &shorter, "easy-sjbf", &parameters), [0, 10, 15, 15, 3]);
}

#[test]
fn an_early_end_moves_reservations_forward() {
    let jobs = [job(0, 0, 4, 4, 20), job(1, 1, 2, 5, 5), job(2, 2, 4, 5, 5), job(3, 3, 2, 9, 9)];
    assert_eq!(starts(4, &jobs, "conservative", &Parameters::default()), [0, 4, 9, 14]);
    assert_eq!(starts(4, &jobs, "conservative-exact", &Parameters::default()), [0, 4, 9, 14]);
}

#[test]
fn shortest_first_and_shortest_remaining_first() {
    let jobs = [job(0, 0, 1, 10, 10), job(1, 1, 1, 4, 4), job(2, 2, 1, 1, 1)];
    let parameters = Parameters { preemption_cost_us: 1, ..Parameters::default() };
    assert_eq!(starts(1, &jobs, "sjf", &parameters), [0, 11, 10]);
    let records = run(pool(1), &jobs, policy("srpt"), &parameters).expect("sound");
    let ends: Vec<i64> = records.tasks.iter().filter_map(|task| task.end_us).collect();
    // Each of the two that are stopped pays one more microsecond.
    assert_eq!((ends, records.preemptions), (vec![17, 7, 3], 2));
}

#[test]
fn least_attained_service_moves_between_its_queues() {
    let jobs = [job(0, 0, 2, 10, 10), job(1, 1, 2, 3, 3)];
    let parameters = Parameters { levels: Levels::At(vec![8]), ..Parameters::default() };
    let records = run(pool(2), &jobs, policy("las"), &parameters).expect("sound");
    let times: Vec<_> = records.tasks.iter().map(|task| (task.start_us, task.end_us)).collect();
    // The first falls out of its queue at 4, after eight units of processor time.
    assert_eq!(times, [(Some(0), Some(13)), (Some(4), Some(7))]);
    let fine = Parameters { levels: Levels::Every(2), ..Parameters::default() };
    let records = run(pool(2), &jobs, policy("las"), &fine).expect("sound");
    assert_eq!(records.tasks[1].start_us, Some(1));
    assert_eq!(records.tasks[0].end_us, Some(13));
}

#[test]
fn a_turn_of_a_closed_loop_waits_for_the_turn_before() {
    let after = |job: u32, think_us| Some(After { job, think_us });
    let jobs = [
        job(0, 3, 1, 5, 5),
        Job { after: after(0, 2), ..job(1, 0, 1, 4, 4) },
        Job { after: after(1, 0), ..job(2, 0, 1, 1, 1) },
    ];
    for (name, _) in POLICIES {
        let records = run(pool(1), &jobs, policy(name), &Parameters::default()).expect("sound");
        let times: Vec<_> = records.tasks.iter().map(|task| (task.submit_us, task.end_us)).collect();
        assert_eq!(times, [(3, Some(8)), (10, Some(14)), (14, Some(15))], "{name}");
    }
}

#[test]
fn the_order_of_events_at_one_time_is_a_choice() {
    // At 10 the first job ends early and a third is submitted: it either slips in before the head, or finds it started.
    let jobs = [job(0, 0, 2, 10, 20), job(1, 1, 3, 5, 5), job(2, 10, 1, 10, 10)];
    let completions = Parameters { ties: Ties::CompletionsFirst, ..Parameters::default() };
    let once = Parameters { passes: Passes::EachTime, ..Parameters::default() };
    assert_eq!(starts(3, &jobs, "easy", &Parameters::default()), [0, 20, 10]);
    assert_eq!(starts(3, &jobs, "easy", &completions), [0, 10, 15]);
    assert_eq!(starts(3, &jobs, "easy", &once), [0, 10, 15]);
}

#[test]
fn what_cannot_run_is_refused() {
    let sound = job(7, 0, 1, 1, 1);
    let refuse = |pool_size, jobs: &[Job], parameters: &Parameters| {
        run(pool(pool_size), jobs, policy("easy"), parameters).expect_err("refused")
    };
    let plain = Parameters::default();
    assert_eq!(refuse(0, &[], &plain), Error::Pool(0));
    assert_eq!(refuse(2, &[job(7, 0, 3, 1, 1)], &plain), Error::Width { id: 7, processors: 3, pool: 2 });
    assert_eq!(refuse(2, &[job(7, 0, 0, 1, 1)], &plain), Error::Width { id: 7, processors: 0, pool: 2 });
    assert_eq!(refuse(2, &[job(7, -1, 1, 1, 1)], &plain), Error::Time(7));
    assert_eq!(refuse(2, &[job(7, 0, 1, i64::MAX, 1)], &plain), Error::Time(7));
    assert_eq!(refuse(2, &[Job { after: Some(After { job: 0, think_us: 0 }), ..sound }], &plain), Error::After(7));
    let levels = Parameters { levels: Levels::At(vec![5, 5]), ..Parameters::default() };
    assert_eq!(refuse(2, &[sound], &levels), Error::Parameters);
    let names = run(pool(1), &[], policy("easy"), &plain).expect("nothing to do");
    assert!(names.tasks.is_empty());
}
