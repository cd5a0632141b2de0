//! Tests of the architectures: the worked examples, conservation, repetition.

use super::sampling::Probing;
use super::*;

fn scheduler(name: &str, job_us: i64, task_us: i64) -> Scheduler {
    Scheduler { name: name.to_owned(), job_us, task_us }
}

fn job(id: u64, scheduler: u32, submit_us: i64, tasks: u32, length_us: i64) -> Job {
    let lengths_us = Lengths::Same(length_us);
    Job { id, scheduler, submit_us, tasks, lengths_us, cpus_milli: 1000, mem_mib: 1 }
}

const S: i64 = 1_000_000;

const SHARED: Architecture = Architecture::Shared { conflict: Conflict::Fine, commit: Commit::Incremental };

#[test]
fn decision_times_are_those_of_the_omega_simulator() {
    // One machine, jobs i = 1..4 of i tasks of length i, submitted at i; one second for a job, one for a task.
    let cell = Cell::uniform(1, 10_000, 20);
    let jobs: Vec<Job> = (1..=4u32).map(|i| job(u64::from(i), 0, i64::from(i) * S, i, i64::from(i) * S)).collect();
    for architecture in [Architecture::Monolithic, SHARED] {
        let records = run(&cell, &[scheduler("one", S, S)], &jobs, architecture, None, 1).expect("sound");
        let waits: Vec<i64> =
            records.jobs.iter().map(|job| (job.first_attempt_us.expect("tried") - job.submit_us) / S).collect();
        assert_eq!(waits, [0, 1, 3, 6]);
        let thinking: Vec<i64> = records
            .jobs
            .iter()
            .map(|job| (job.placed_us.expect("placed") - job.first_attempt_us.expect("tried")) / S)
            .collect();
        assert_eq!(thinking, [2, 3, 4, 5]);
        assert_eq!(records.schedulers[0].busy_us, 14 * S);
    }
}

#[test]
fn sequence_numbers_let_the_second_of_two_commits_conflict() {
    let mut cell = Cell::uniform(2, 1000, 1000);
    let mut copies = [cell.clone(), cell.clone()];
    let claims: Vec<Claim> = copies.iter_mut().filter_map(|copy| copy.claim(0, 250, 750)).collect();
    assert_eq!(cell.commit(&claims[..1], Conflict::Sequence, Commit::Incremental), [true]);
    let before = cell.clone();
    assert_eq!(cell.commit(&claims[1..], Conflict::Sequence, Commit::Incremental), [false]);
    assert_eq!(cell, before);
    // What still fits is no conflict by the finer rule; here the memory does not.
    assert_eq!(cell.commit(&claims[1..], Conflict::Fine, Commit::Incremental), [false]);
    cell.release(0, 250, 750);
    assert_eq!(cell.commit(&claims[1..], Conflict::Fine, Commit::Incremental), [true]);
}

#[test]
fn a_commit_of_all_or_nothing_leaves_nothing() {
    let mut cell = Cell::uniform(2, 1000, 10);
    let mut copy = cell.clone();
    let claims: Vec<Claim> = [0, 1, 1].into_iter().filter_map(|machine| copy.claim(machine, 500, 1)).collect();
    cell.claim(1, 600, 1);
    let before = cell.clone();
    assert_eq!(cell.commit(&claims, Conflict::Fine, Commit::AllOrNothing), [false; 3]);
    assert_eq!(cell, before);
    assert_eq!(cell.commit(&claims, Conflict::Fine, Commit::Incremental), [true, false, false]);
    // A job's own claims on one machine do not conflict with each other.
    let mut fresh = Cell::uniform(1, 1000, 10);
    let mut copy = fresh.clone();
    let claims: Vec<Claim> = (0..3).filter_map(|_| copy.claim(0, 300, 1)).collect();
    assert_eq!(fresh.commit(&claims, Conflict::Sequence, Commit::AllOrNothing), [true; 3]);
}

fn mixed() -> (Cell, Vec<Scheduler>, Vec<Job>) {
    let jobs = (0..60).map(|id| job(id, (id % 2) as u32, id as i64 * S / 4, 3 + (id % 5) as u32, 4 * S + id as i64));
    (
        Cell::uniform(12, 4000, 16),
        vec![scheduler("batch", S / 10, S / 100), scheduler("service", S, S / 10)],
        jobs.collect(),
    )
}

#[test]
fn every_architecture_places_all_and_repeats_itself() {
    let (cell, schedulers, jobs) = mixed();
    let shared = |conflict, commit| Architecture::Shared { conflict, commit };
    let all = [
        Architecture::Monolithic,
        OFFERS,
        SHARED,
        shared(Conflict::Fine, Commit::AllOrNothing),
        shared(Conflict::Sequence, Commit::Incremental),
        shared(Conflict::Sequence, Commit::AllOrNothing),
    ];
    for architecture in all {
        let records = run(&cell, &schedulers, &jobs, architecture, None, 7).expect("sound");
        let again = run(&cell, &schedulers, &jobs, architecture, None, 7).expect("sound");
        assert_eq!(records.trace_hash(), again.trace_hash(), "{architecture:?}");
        assert_ne!(
            records.trace_hash(),
            run(&cell, &schedulers, &jobs, architecture, None, 8).expect("sound").trace_hash()
        );
        assert!(records.tasks.iter().all(|task| task.end_us.is_some()), "{architecture:?}");
        let placed: u64 = records.schedulers.iter().map(|one| one.jobs_placed).sum();
        assert_eq!(placed, 60, "{architecture:?}");
        // Never more on a machine than it has.
        for moment in records.tasks.iter().filter_map(|task| task.start_us) {
            for node in 0..12 {
                let at = records.tasks.iter().filter(|task| {
                    task.node == Some(node) && task.start_us <= Some(moment) && Some(moment) < task.end_us
                });
                assert!(at.count() <= 4, "{architecture:?}");
            }
        }
    }
}

#[test]
fn conflicts_happen_where_they_can_and_only_there() {
    let (cell, schedulers, jobs) = mixed();
    let conflicts = |architecture| -> u64 {
        let records = run(&cell, &schedulers, &jobs, architecture, None, 7).expect("sound");
        records.schedulers.iter().map(|one| one.conflicted).sum()
    };
    let sequence = Architecture::Shared { conflict: Conflict::Sequence, commit: Commit::Incremental };
    assert_eq!((conflicts(Architecture::Monolithic), conflicts(OFFERS)), (0, 0));
    assert!(conflicts(SHARED) > 0);
    assert!(conflicts(sequence) > conflicts(SHARED));
}

#[test]
fn a_slow_scheduler_with_an_offer_starves_the_other() {
    // The service scheduler thinks for 50 s with everything locked; the batch job comes a second after it.
    let schedulers = [scheduler("batch", S / 10, 0), scheduler("service", 50 * S, 0)];
    let jobs = [job(0, 1, 0, 1, S), job(1, 0, S * 3 / 2, 1, S)];
    let cell = Cell::uniform(4, 4000, 16);
    let placed = |architecture| {
        let records = run(&cell, &schedulers, &jobs, architecture, None, 1).expect("sound");
        records.jobs[1].placed_us.expect("placed")
    };
    assert_eq!(placed(OFFERS), 51_001_000 + 1000 + S / 10);
    assert_eq!(placed(SHARED), S * 3 / 2 + S / 10);
    assert_eq!(placed(Architecture::Monolithic), 50 * S + S / 10);
}

#[test]
fn what_never_fits_is_given_up() {
    let big = Job { cpus_milli: 5000, ..job(0, 0, 0, 1, S) };
    for architecture in [Architecture::Monolithic, OFFERS, SHARED] {
        let records = run(
            &Cell::uniform(2, 4000, 16),
            &[scheduler("one", S, 0)],
            core::slice::from_ref(&big),
            architecture,
            None,
            1,
        );
        let records = records.expect("sound");
        assert!(records.jobs[0].abandoned && records.jobs[0].attempts == FRUITLESS_ATTEMPTS_MAX, "{architecture:?}");
    }
}

#[test]
fn probing_beats_chance_and_late_binding_wastes_nothing() {
    let jobs: Vec<Job> = (0..300).map(|id| job(id, 0, id as i64 * 110_000, 10, S)).collect();
    let mean = |probing| {
        let cluster = sampling::Cluster { workers: 50, slots: 2, delay_us: 500, probing };
        let records = sampling::run(cluster, &jobs, &[], 3).expect("sound");
        assert!(records.tasks.iter().all(|task| task.end_us == task.start_us.map(|start| start + S)));
        records.tasks.iter().map(|task| task.start_us.expect("started") - task.submit_us).sum::<i64>() / 3000
    };
    let [random, each, batch, late] =
        [Probing::Random, Probing::PerTask(2), Probing::Batch(2), Probing::Late(2)].map(mean);
    assert!(late < each && batch < each && each < random, "{random} {each} {batch} {late}");
}

#[test]
fn constrained_tasks_run_only_where_they_may() {
    let jobs: Vec<Job> = (0..40).map(|id| job(id, 0, id as i64, 5, S)).collect();
    let allowed: Vec<Option<Vec<u32>>> = (0..40).map(|id| (id % 2 == 0).then(|| vec![3, 7])).collect();
    for probing in [Probing::Random, Probing::PerTask(3), Probing::Batch(2), Probing::Late(2)] {
        let cluster = sampling::Cluster { workers: 10, slots: 1, delay_us: 10, probing };
        let records = sampling::run(cluster, &jobs, &allowed, 3).expect("sound");
        let is_right = |task: &crate::record::TaskRecord| task.job % 2 == 1 || [Some(3), Some(7)].contains(&task.node);
        assert!(records.tasks.iter().all(is_right), "{probing:?}");
    }
}

#[test]
fn a_flow_of_least_cost_is_the_best_assignment() {
    use super::flow::{Cluster, ShortestPaths, Solver, Task, Transfers, network};
    // Three tasks with data on nodes, one slot each: every assignment is tried against the solver.
    let cluster = Cluster { nodes: 4, rack_nodes: 2, slots: 1, round_us: S };
    let task = |input: &[(u32, u64)]| Task { job: 0, submit_us: 0, run_us: S, input_mib: input.to_vec() };
    let tasks = [task(&[(0, 100), (1, 30)]), task(&[(0, 90)]), task(&[(0, 10), (3, 60)])];
    let costs = Transfers { rack_cost: 1, core_cost: 2, wait_cost: 10_000 };
    let asked: Vec<&Task> = tasks.iter().collect();
    let network = network(&cluster, &[1; 4], &asked, 0, &costs);
    let flow = ShortestPaths.solve(&network);
    let cost: i64 = network.arcs.iter().zip(&flow).map(|(arc, units)| arc.cost * units).sum();
    // By hand: tasks 0, 1, 2 on nodes 1, 0, 3 move 100 + 0 + 20; on nodes 0, 1, 3 they would move 30 + 90 + 20.
    assert_eq!(cost, 120 * 4);
    let records = super::flow::run(&cluster, &tasks, &costs, &ShortestPaths).expect("sound");
    assert_eq!(records.tasks.iter().map(|task| task.node).collect::<Vec<_>>(), [Some(1), Some(0), Some(3)]);
    assert_eq!((records.locality.node, records.locality.rack), (3, 0));
    let records =
        super::flow::run(&Cluster { slots: 1, nodes: 1, ..cluster }, &[task(&[]), task(&[])], &costs, &ShortestPaths)
            .expect("sound");
    assert_eq!(records.tasks.iter().map(|task| task.start_us).collect::<Vec<_>>(), [Some(0), Some(S)]);
}

#[test]
fn what_cannot_run_is_refused() {
    let cell = Cell::uniform(1, 1000, 1);
    let one = [scheduler("one", S, S)];
    assert_eq!(run(&Cell::uniform(0, 1, 1), &one, &[], SHARED, None, 1), Err(Error::Machines(0)));
    assert_eq!(run(&cell, &[], &[], SHARED, None, 1), Err(Error::NoScheduler));
    assert_eq!(run(&cell, &one, &[job(5, 1, 0, 1, 1)], SHARED, None, 1), Err(Error::Scheduler(5)));
    assert_eq!(run(&cell, &one, &[job(5, 0, 0, 0, 1)], SHARED, None, 1), Err(Error::Tasks(5)));
    assert!(run(&cell, &one, &[job(5, 0, -1, 1, 1)], SHARED, None, 1).is_err());
    let timeless = Architecture::Offers { gather_us: 0, think_us: 0 };
    assert!(run(&cell, &one, &[], timeless, None, 1).is_err());
}
