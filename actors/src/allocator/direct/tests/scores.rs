//! Scores on machines for which they can be worked out by hand.

use super::*;

/// The machine that a placement chooses for a task.
fn chosen(mut placement: impl Placement, cluster: &Cluster, task: Task) -> u32 {
    placement.choose(cluster, &task, &mut Chance::new(1)).expect("there is room").node.0
}

#[test]
fn best_and_worst_fit_look_at_what_is_left() {
    let cluster = cluster(&[machine(16, 16, 0, 0), machine(8, 8, 0, 0), machine(4, 32, 0, 0)]);
    let small = task(2, 2, GpuDemand::None);
    // Left of the largest (16 cores, 32 GiB): 14/16 + 14/32, 6/16 + 6/32, 2/16 + 30/32.
    assert_eq!(chosen(Best::new(BestFit::new(Counted::ALL, Rounding::Exact), TieBreak::Index), &cluster, small), 1);
    assert_eq!(chosen(Best::new(WorstFit::new(Counted::ALL, Rounding::Exact), TieBreak::Index), &cluster, small), 0);
    let cpu = Counted { cpu: true, mem: false, gpu: false };
    assert_eq!(chosen(Best::new(BestFit::new(cpu, Rounding::Exact), TieBreak::Index), &cluster, small), 2);
}

#[test]
fn whole_percents_tie_where_exact_scores_do_not() {
    let mut cluster = cluster(&[machine(100, 100, 0, 0); 2]);
    book(&mut cluster, 1, &[], Task::of(Shape { cpu_milli: 500, ..Shape::default() }));
    let small = task(0, 0, GpuDemand::None);
    // Half a percent of the cores more are used on the second: a quarter of a percent in the mean of two.
    let best = |rounding| Best::new(BestFit::new(Counted::ALL, rounding), TieBreak::Index);
    assert_eq!(chosen(best(Rounding::Exact), &cluster, small), 1);
    assert_eq!(chosen(best(Rounding::Percent), &cluster, small), 0);
}

#[test]
fn the_two_dot_products_are_opposites() {
    let mut cluster = cluster(&[machine(16, 16, 0, 0); 2]);
    book(&mut cluster, 0, &[], task(8, 0, GpuDemand::None));
    let cores = task(4, 1, GpuDemand::None);
    let (counted, rounding) = (Counted::ALL, Rounding::Exact);
    assert_eq!(chosen(Best::new(DotProduct::least(counted, rounding), TieBreak::Index), &cluster, cores), 0);
    assert_eq!(chosen(Best::new(DotProduct::alignment(counted, rounding), TieBreak::Index), &cluster, cores), 1);
}

#[test]
fn e_pvm_shuns_a_machine_that_is_nearly_full() {
    let mut cluster = cluster(&[machine(16, 16, 0, 0); 3]);
    book(&mut cluster, 0, &[], task(1, 14, GpuDemand::None));
    book(&mut cluster, 1, &[], task(7, 7, GpuDemand::None));
    book(&mut cluster, 2, &[], task(8, 6, GpuDemand::None));
    // With 3^u: rises of both resources by 1/16 and 2/16.
    let rise = |used: f64, more: f64| 3f64.powf((used + more) / 16.0) - 3f64.powf(used / 16.0);
    let rises = [(1.0, 14.0), (7.0, 7.0), (8.0, 6.0)].map(|(cpu, mem)| rise(cpu, 1.0) + rise(mem, 2.0));
    let least = (0..3).min_by(|&one, &two| rises[one].total_cmp(&rises[two])).expect("three");
    let choice = chosen(Best::new(EPvm::default(), TieBreak::Index), &cluster, task(1, 2, GpuDemand::None));
    assert_eq!((choice, least), (2, 2), "{rises:?}");
}

#[test]
fn gpu_packing_points_are_the_defined_ones() {
    let mut cluster = cluster(&[machine(64, 64, 8, 0), machine(64, 64, 6, 0), machine(64, 64, 4, 0)]);
    let (part, one) = (task(0, 0, GpuDemand::Part(300)), task(0, 0, GpuDemand::Whole(1)));
    let points =
        |cluster: &Cluster, node: u32, task: Task| GpuPacking::points(cluster.node(NodeIndex(node)), &task.shape);
    assert_eq!(points(&cluster, 0, task(1, 1, GpuDemand::None)), 0);
    assert_eq!(points(&cluster, 0, part), 25, "33 less 8 GPUs, all idle");
    assert_eq!(points(&cluster, 2, part), 29);
    assert_eq!(points(&cluster, 1, part), 27);
    book(&mut cluster, 0, &[0], task(0, 0, GpuDemand::Part(455)));
    // 545 free: 54 of a hundred, 5 of ten.
    assert_eq!(points(&cluster, 0, part), 95);
    assert_eq!(points(&cluster, 0, one), 49, "one idle GPU of a machine in use");
    assert_eq!(points(&cluster, 0, task(0, 0, GpuDemand::Whole(7))), 43);
    assert_eq!(points(&cluster, 0, task(0, 0, GpuDemand::Part(600))), 49);
}

#[test]
fn gpu_clustering_points_are_the_defined_ones() {
    let mut cluster = cluster(&[machine(64, 64, 8, 0)]);
    let (part, one) = (task(0, 0, GpuDemand::Part(300)), task(0, 0, GpuDemand::Whole(1)));
    let points = |cluster: &Cluster, task: Task| GpuClustering::points(cluster.node(NodeIndex(0)), &task.shape);
    assert_eq!(
        [points(&cluster, part), points(&cluster, one), points(&cluster, task(1, 1, GpuDemand::None))],
        [25, 25, 0]
    );
    book(&mut cluster, 0, &[0], one);
    // 1000 of 8000 units used: a base of 25/8, cut.
    assert_eq!(
        [points(&cluster, one), points(&cluster, part), points(&cluster, task(0, 0, GpuDemand::Whole(2)))],
        [78, 3, 3]
    );
    book(&mut cluster, 0, &[1], part);
    assert_eq!([points(&cluster, one), points(&cluster, part)], [54, 54]);
    let back = Choice { node: NodeIndex(0), gpus: GpuSet::one(0) };
    cluster.release(back, &one).expect("it was placed");
    assert_eq!([points(&cluster, one), points(&cluster, part)], [0, 75]);
}

#[test]
fn a_part_goes_to_the_least_free_gpu_that_fits_and_whole_ones_to_the_lowest_idle() {
    let mut cluster = cluster(&[machine(64, 64, 4, 0)]);
    book(&mut cluster, 0, &[0], task(0, 0, GpuDemand::Part(300)));
    book(&mut cluster, 0, &[2], task(0, 0, GpuDemand::Part(600)));
    let mut first = FirstFit::new(TieBreak::Index);
    let mut gpus = |cluster: &Cluster, gpu| {
        let choice = first.choose(cluster, &task(0, 0, gpu), &mut Chance::new(1)).expect("there is room");
        choice.gpus.numbers().collect::<Vec<_>>()
    };
    assert_eq!(gpus(&cluster, GpuDemand::Part(400)), [2]);
    assert_eq!(gpus(&cluster, GpuDemand::Part(401)), [0]);
    assert_eq!(gpus(&cluster, GpuDemand::Part(800)), [1]);
    assert_eq!(gpus(&cluster, GpuDemand::Whole(2)), [1, 3]);
    assert!(gpus(&cluster, GpuDemand::None).is_empty());
}

#[test]
fn borg_weighs_stranding_spread_packages_and_mix() {
    let mut cluster =
        cluster(&[NodeSpec { domain: 0, ..machine(16, 16, 0, 0) }, NodeSpec { domain: 1, ..machine(16, 16, 0, 0) }]);
    let borg = Borg::new(BorgWeights::default(), 8, TieBreak::Index);
    let score = |cluster: &Cluster, node: u32, task: Task| borg.score(cluster, cluster.node(NodeIndex(node)), &task);
    let lopsided = task(8, 0, GpuDemand::None);
    assert_eq!([score(&cluster, 0, lopsided), score(&cluster, 0, task(8, 8, GpuDemand::None))], [-0.5, 0.0]);
    let of_job = Task { job: 7, packages: 0b11, is_production: true, ..task(4, 4, GpuDemand::None) };
    book(&mut cluster, 0, &[], of_job);
    // All of the job is here, and both packages.
    assert_eq!([score(&cluster, 0, of_job), score(&cluster, 1, of_job)], [-0.5 + 0.25, 0.0]);
    let batch = Task { job: 0, packages: 0b101, is_production: false, ..of_job };
    assert_eq!([score(&cluster, 0, batch), score(&cluster, 1, batch)], [0.125 + 0.25, 0.0]);
    let mut placement = Borg::new(BorgWeights::default(), 8, TieBreak::Index);
    assert_eq!(placement.choose(&cluster, &of_job, &mut Chance::new(1)).expect("there is room").node, NodeIndex(1));
}
