//! Fragmentation against its definition, shape by shape.

use super::*;

/// What is fragmented on a machine for a shape (policies 3.6), word by word.
fn defined(node: Node<'_>, shape: &Shape) -> u64 {
    let all = node.gpu_units_free();
    let (count, units) = (shape.gpu.count() as usize, shape.gpu.units());
    let is_hosted =
        node.gpu_free().iter().filter(|&&free| free >= units).count() >= count && node.cpu_free() >= shape.cpu_milli;
    if count == 0 || !shape.types.accepts(node.gpu_type()) || !is_hosted {
        return all;
    }
    node.gpu_free().iter().filter(|&&free| free < units).map(|&free| u64::from(free)).sum()
}

fn defined_sum(node: Node<'_>, shapes: &[(Shape, u64)]) -> u64 {
    shapes.iter().map(|(shape, count)| count * defined(node, shape)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn fragmentation_and_scores_are_the_defined_ones(
        spec in any_machine(),
        shapes in prop::collection::vec((any_shape(), 1u64..50), 1..12),
        placed in prop::collection::vec(any_task(), 0..12),
        next in any_task(),
    ) {
        let mut cluster = cluster(&[spec]);
        let workload = Workload::of(&shapes);
        let mut fgd = Best::new(Fgd::new(workload.clone()), TieBreak::Index);
        let mut fragments = Fragments::new(workload.clone());
        let mut chance = Chance::new(1);
        for task in &placed {
            if let Some(choice) = fgd.choose(&cluster, task, &mut chance) {
                cluster.place(choice, task).expect("it fits");
            }
            let sum = defined_sum(cluster.node(NodeIndex(0)), &shapes);
            prop_assert_eq!(workload.fragmentation(cluster.node(NodeIndex(0))), sum);
            prop_assert_eq!(fragments.units(&cluster), sum as f64 / workload.tasks() as f64);
        }
        let node = cluster.node(NodeIndex(0));
        if !node.admits(&next.shape) {
            return Ok(());
        }
        let before = defined_sum(node, &shapes);
        let after = |gpus: GpuSet| {
            let mut then = cluster.clone();
            then.place(Choice { node: NodeIndex(0), gpus }, &next).expect("it fits");
            defined_sum(then.node(NodeIndex(0)), &shapes)
        };
        let score = |gpus: GpuSet| {
            let fall = (before as f64 - after(gpus) as f64) / workload.tasks() as f64;
            (100.0 / (1.0 + (-fall / 1000.0).exp())).floor() as u64
        };
        let sets = match next.shape.gpu {
            GpuDemand::Part(units) => {
                let free = node.gpu_free();
                (0..free.len()).filter(|&gpu| free[gpu] >= units).map(GpuSet::one).collect::<Vec<_>>()
            }
            _ => vec![node.tightest(&next.shape)],
        };
        let best = sets.iter().map(|&gpus| score(gpus)).max().expect("it is admitted");
        let first = sets.iter().copied().find(|&gpus| score(gpus) == best).expect("one has the best");
        prop_assert_eq!(Fgd::new(workload).worth(node, &next.shape), best + 1);
        prop_assert_eq!(fgd.choose(&cluster, &next, &mut chance).map(|choice| choice.gpus), Some(first));
    }
}

#[test]
fn a_workload_is_its_most_popular_shapes() {
    let shape = |cores: u64| task(cores, 1, GpuDemand::Part(500)).shape;
    let pods = [(1u64, 50), (2, 25), (3, 20), (4, 3), (5, 2)];
    let pods = || pods.into_iter().flat_map(|(cores, count)| std::iter::repeat_n(shape(cores), count));
    assert_eq!(Workload::covering(pods(), 95).tasks(), 95);
    assert_eq!(Workload::covering(pods(), 96).tasks(), 98);
    assert_eq!(Workload::covering(pods(), 100).tasks(), 100);
    assert_eq!(Workload::covering([].into_iter(), 95).tasks(), 0);
    let mut cluster = cluster(&[machine(1, 1, 1, 0)]);
    assert_eq!(Fragments::new(Workload::covering([].into_iter(), 95)).units(&cluster), 0.0);
    // Of equal counts the larger comes first: the one left out asks for one core, and is the only one that fits here.
    let twice = [shape(1), shape(2), shape(2), shape(1), shape(3), shape(3)].into_iter();
    let workload = Workload::covering(twice, 60);
    book(&mut cluster, 0, &[0], task(0, 0, GpuDemand::Part(300)));
    assert_eq!((workload.tasks(), Fragments::new(workload).units(&cluster)), (4, 700.0));
}
