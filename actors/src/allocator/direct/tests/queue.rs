//! Tetris choosing tasks and machines together.

use super::*;

fn contender<'a>(remaining_work: f64, deficit: f64, tasks: &'a [Candidate<'a>]) -> Contender<'a> {
    Contender { remaining_work, deficit, stage_done: 0.0, tasks }
}

fn free(cores: u64, gib: u64) -> Candidate<'static> {
    Candidate { shape: task(cores, gib, GpuDemand::None).shape, local: &[] }
}

#[test]
fn alignment_and_remaining_work_are_weighed() {
    let cluster = cluster(&[machine(16, 16, 0, 0)]);
    let efficient = Knobs { fairness: 0.0, ..Knobs::default() };
    let mut queue = TetrisQueue::new(efficient, TieBreak::Index);
    let (big, small) = ([free(8, 8)], [free(2, 2)]);
    let next =
        |queue: &mut TetrisQueue, jobs: &[Contender<'_>]| queue.next(&cluster, jobs).map(|pick| (pick.job, pick.task));
    assert_eq!(next(&mut queue, &[contender(5.0, 0.0, &small), contender(5.0, 0.0, &big)]), Some((1, 0)));
    // A of 0.25 and 1, a mean of 0.625; P of 1 and 9, a mean of 5; eps 0.125: 0.25 - 0.125 against 1 - 1.125.
    assert_eq!(next(&mut queue, &[contender(1.0, 0.0, &small), contender(9.0, 0.0, &big)]), Some((0, 0)));
    assert_eq!(
        next(&mut queue, &[contender(1.0, 0.0, &[]), contender(9.0, 0.0, &[free(99, 1), free(1, 1)])]),
        Some((1, 1))
    );
    assert_eq!(next(&mut queue, &[]), None);
}

#[test]
fn fairness_leaves_the_jobs_that_are_furthest_behind() {
    let cluster = cluster(&[machine(16, 16, 0, 0)]);
    let (big, small) = ([free(8, 8)], [free(2, 2)]);
    let jobs = [contender(5.0, 0.1, &big), contender(5.0, 0.4, &small)];
    let job = |fairness| {
        let mut queue = TetrisQueue::new(Knobs { fairness, ..Knobs::default() }, TieBreak::Index);
        queue.next(&cluster, &jobs).expect("there is room").job
    };
    assert_eq!([job(0.0), job(0.5), job(0.999)], [0, 1, 1]);
}

#[test]
fn a_job_before_its_barrier_goes_first() {
    let cluster = cluster(&[machine(16, 16, 0, 0)]);
    let (big, small) = ([free(8, 8)], [free(2, 2)]);
    let late = Contender { stage_done: 0.95, ..contender(5.0, 0.0, &small) };
    let mut queue = TetrisQueue::new(Knobs { fairness: 0.0, ..Knobs::default() }, TieBreak::Index);
    assert_eq!(queue.next(&cluster, &[contender(5.0, 0.0, &big), late]).expect("there is room").job, 1);
}

#[test]
fn remote_reads_cost_a_tenth() {
    let mut cluster = cluster(&[machine(16, 16, 0, 0); 2]);
    let mut queue = TetrisQueue::new(Knobs { fairness: 0.0, ..Knobs::default() }, TieBreak::Index);
    let mut node = |cluster: &Cluster| {
        let tasks = [Candidate { local: &[NodeIndex(1), NodeIndex(9)], ..free(2, 2) }];
        queue.next(cluster, &[contender(5.0, 0.0, &tasks)]).expect("there is room").choice.node.0
    };
    book(&mut cluster, 1, &[], task(1, 1, GpuDemand::None));
    assert_eq!(node(&cluster), 1, "15/16 of the best alignment is more than nine tenths");
    book(&mut cluster, 1, &[], task(1, 1, GpuDemand::None));
    assert_eq!(node(&cluster), 0, "14/16 is less");
}
