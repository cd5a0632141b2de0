//! Tests of the orders that know machines.

use super::*;

fn cores(cpus_milli: u64) -> Amounts {
    Amounts { cpus_milli, ..Amounts::default() }
}

fn task(job: u64, submit_us: i64, run_us: i64, cpus_milli: u64, priority: i32) -> Task {
    Task { job, submit_us, run_us, request: cores(cpus_milli), priority, ..Task::default() }
}

fn times(records: &Records) -> Vec<(Option<i64>, Option<i64>)> {
    records.tasks.iter().map(|task| (task.start_us, task.end_us)).collect()
}

#[test]
fn the_victims_are_the_cheapest_and_go_on_later() {
    let tasks = [task(0, 0, 100, 2, 5), task(1, 0, 100, 2, 1), task(2, 10, 20, 2, 9)];
    let lost = priority::run(&[cores(2), cores(2)], &tasks, &priority::Parameters::default()).expect("sound");
    assert_eq!(times(&lost), [(Some(0), Some(100)), (Some(0), Some(130)), (Some(10), Some(30))]);
    assert_eq!(lost.preemptions, 1);
    let kept = priority::Parameters { checkpoint_us: Some(4), ..Default::default() };
    let kept = priority::run(&[cores(2), cores(2)], &tasks, &kept).expect("sound");
    // Eight of the ten it had done are kept.
    assert_eq!(kept.tasks[1].end_us, Some(122));
    let bands = priority::Parameters { bands: vec![0, 6], ..Default::default() };
    let calm = [task(0, 0, 100, 2, 5), task(1, 0, 100, 2, 1), task(2, 10, 20, 2, 5)];
    let calm = priority::run(&[cores(2), cores(2)], &calm, &bands).expect("sound");
    assert_eq!((calm.preemptions, calm.tasks[2].start_us), (0, Some(100)));
}

#[test]
fn victims_for_whom_room_is_left_are_put_back() {
    // Three of 1, 1 and 2 cores; 2 are wanted: the lowest two would go, but the larger alone is enough.
    let tasks = [task(0, 0, 50, 2, 3), task(1, 1, 50, 1, 2), task(2, 2, 50, 1, 1), task(3, 5, 10, 2, 9)];
    let records = priority::run(&[cores(4)], &tasks, &priority::Parameters::default()).expect("sound");
    assert_eq!(times(&records)[0], (Some(0), Some(50)));
    assert_eq!(records.preemptions, 2);
    let uneven = [task(0, 0, 50, 2, 2), task(1, 1, 50, 1, 1), task(2, 5, 10, 2, 9)];
    let records = priority::run(&[cores(3)], &uneven, &priority::Parameters::default()).expect("sound");
    assert_eq!((records.preemptions, records.tasks[1].end_us), (1, Some(51)));
}

#[test]
fn a_gang_starts_at_one_instant_and_hoarding_costs() {
    let gang = |job: u64, count: usize| vec![task(job, 0, 10, 1, 0); count];
    let tasks: Vec<Task> = [gang(0, 2), gang(1, 3), gang(2, 1)].concat();
    let sizes = [cores(1), cores(1), cores(1)];
    let whole = gang::run(&sizes, &tasks, None).expect("sound");
    let starts: Vec<Option<i64>> = whole.tasks.iter().map(|task| task.start_us).collect();
    assert_eq!(starts, [Some(0), Some(0), Some(10), Some(10), Some(10), Some(0)]);
    // Holding: the second job sits on the third node and the last one has to wait for it.
    let held = gang::run(&sizes, &tasks, Some(100)).expect("sound");
    assert_eq!(held.tasks[5].start_us, Some(20));
    let short = gang::run(&sizes, &tasks, Some(5)).expect("sound");
    assert_eq!(short.tasks[5].start_us, Some(5));
    // Too wide for the cluster as a whole: it never starts, and the others go on.
    let wide: Vec<Task> = [gang(0, 4), gang(1, 1)].concat();
    let records = gang::run(&sizes, &wide, None).expect("sound");
    assert_eq!((records.tasks[0].start_us, records.tasks[4].end_us), (None, Some(10)));
    let hoarded = gang::run(&sizes, &wide, Some(5)).expect("sound");
    assert_eq!((hoarded.tasks[0].start_us, hoarded.tasks[4].end_us.is_some()), (None, true));
}

#[test]
fn waiting_a_little_makes_tasks_local() {
    // Nodes 0..4 of one core, racks of two. The job's data is on node 0, which is busy until 10.
    let local = |job, submit_us, run_us, node| Task { preferred: vec![node], ..task(job, submit_us, run_us, 1, 0) };
    let tasks = [local(0, 0, 10, 0), local(1, 1, 5, 0)];
    let sizes = [cores(1); 4];
    let run = |rack_us, anywhere_us| {
        let records =
            delay::run(&sizes, &tasks, delay::Parameters { rack_nodes: 2, rack_us, anywhere_us }).expect("sound");
        (records.tasks[1].start_us, records.tasks[1].node, records.locality)
    };
    let locality = |node, rack, elsewhere| crate::record::Locality { node, rack, elsewhere };
    assert_eq!(run(0, 0).0, Some(1));
    assert_eq!(run(20, 20), (Some(10), Some(0), locality(2, 0, 0)));
    assert_eq!(run(3, 20), (Some(4), Some(1), locality(1, 1, 0)));
    let far = [tasks[0].clone(), local(1, 0, 10, 1), local(2, 1, 5, 0)];
    let parameters = delay::Parameters { rack_nodes: 2, rack_us: 3, anywhere_us: 2 };
    let records = delay::run(&sizes, &far, parameters).expect("sound");
    assert_eq!((records.tasks[2].start_us, records.locality), (Some(6), locality(2, 0, 1)));
}

#[test]
fn what_cannot_run_is_refused() {
    let plain = priority::Parameters::default();
    assert_eq!(priority::run(&[], &[], &plain), Err(Error::Nodes));
    assert_eq!(priority::run(&[cores(1)], &[task(4, 0, 1, 2, 0)], &plain), Err(Error::Width(4)));
    assert_eq!(gang::run(&[cores(1)], &[task(4, -1, 1, 1, 0)], None), Err(Error::Time(4)));
    let lost = Task { preferred: vec![1], ..task(4, 0, 1, 1, 0) };
    let parameters = delay::Parameters { rack_nodes: 1, rack_us: 0, anywhere_us: 0 };
    assert_eq!(delay::run(&[cores(1)], &[lost], parameters), Err(Error::Preferred(4)));
    assert!(delay::run(&[cores(1)], &[], delay::Parameters { rack_nodes: 0, ..parameters }).is_err());
}
