//! What is booked is exact, and what can't be is refused and changes nothing.

use super::*;

#[test]
fn demands_are_what_traces_can_ask_for() {
    assert_eq!(GpuDemand::request(0, 700), Ok(GpuDemand::None));
    assert_eq!(GpuDemand::request(1, 460), Ok(GpuDemand::Part(460)));
    assert_eq!(GpuDemand::request(1, 1000), Ok(GpuDemand::Whole(1)));
    assert_eq!(GpuDemand::request(8, 1000), Ok(GpuDemand::Whole(8)));
    assert_eq!(GpuDemand::request(2, 500), Err(BadDemand::PartOfMany { count: 2, units: 500 }));
    assert_eq!(GpuDemand::request(1, 1001), Err(BadDemand::BeyondWhole(1001)));
    assert_eq!(GpuDemand::request(1, 0), Err(BadDemand::NoUnits));
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let mut cluster = cluster(&[machine(8, 8, 2, 3)]);
    let node = NodeIndex(0);
    let on = |gpus: u16| Choice { node, gpus: GpuSet(gpus) };
    let half = task(1, 1, GpuDemand::Part(500));
    assert_eq!(
        cluster.place(Choice { node: NodeIndex(1), gpus: GpuSet(1) }, &half),
        Err(Misfit::UnknownNode(NodeIndex(1)))
    );
    assert_eq!(cluster.place(on(0), &task(9, 1, GpuDemand::None)), Err(Misfit::NoRoom(node)));
    assert_eq!(cluster.place(on(0), &task(1, 9, GpuDemand::None)), Err(Misfit::NoRoom(node)));
    assert_eq!(cluster.place(on(7), &task(1, 1, GpuDemand::Whole(3))), Err(Misfit::NoRoom(node)));
    let other_type = Task::of(Shape { types: GpuTypes::of(&[GpuType(2)]), ..half.shape });
    assert_eq!(cluster.place(on(1), &other_type), Err(Misfit::NoRoom(node)));
    for wrong in [0, 3, 4] {
        let gpus = GpuSet(wrong);
        assert_eq!(cluster.place(on(wrong), &half), Err(Misfit::WrongGpus { node, gpus }));
    }
    cluster.place(on(1), &half).expect("it fits");
    assert_eq!(cluster.place(on(2), &task(1, 1, GpuDemand::Whole(2))), Err(Misfit::NoRoom(node)));
    let gpus = GpuSet(1);
    assert_eq!(cluster.place(on(1), &task(1, 1, GpuDemand::Whole(1))), Err(Misfit::WrongGpus { node, gpus }));
    assert_eq!(cluster.release(on(2), &half), Err(Misfit::NotHeld(node)));
    assert_eq!(cluster.release(on(1), &task(2, 1, GpuDemand::Part(500))), Err(Misfit::NotHeld(node)));
    cluster.open(node, false).expect("it is there");
    assert_eq!(cluster.place(on(2), &half), Err(Misfit::NoRoom(node)));
    cluster.release(on(1), &half).expect("a closed machine gives back");
    assert_eq!(cluster.release(on(1), &half), Err(Misfit::NotHeld(node)));
    assert_eq!(cluster.node(node).gpu_free(), [1000, 1000]);
}

#[test]
fn machines_beyond_the_columns_are_refused() {
    let mut cluster = Cluster::default();
    assert_eq!(cluster.add(machine(1, 1, 17, 0)), Err(ClusterError::TooManyGpus(17)));
    assert_eq!(cluster.add(machine(1, 1, 1, 64)), Err(ClusterError::UnknownType(64)));
    assert!(cluster.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is placed and given back, free and held are the whole, and nothing is free twice.
    #[test]
    fn free_and_held_are_all_there_is(
        machines in prop::collection::vec(any_machine(), 1..5),
        steps in prop::collection::vec((any_task(), 0u32..6, 0u16..=u16::MAX, any::<bool>()), 1..80),
    ) {
        let mut cluster = cluster(&machines);
        let mut held: Vec<(Choice, Task)> = Vec::new();
        for (task, node, gpus, is_release) in steps {
            if is_release && !held.is_empty() {
                let (choice, task) = held.swap_remove(usize::from(gpus) % held.len());
                cluster.release(choice, &task).expect("it is held");
            } else {
                // Any choice at all: what does not fit must be refused, the rest booked.
                let choice = Choice { node: NodeIndex(node), gpus: GpuSet(gpus & gpus.rotate_left(7) & 0xff) };
                if cluster.place(choice, &task).is_ok() {
                    held.push((choice, task));
                }
            }
            for (at, (node, spec)) in cluster.nodes().zip(&machines).enumerate() {
                let here = held.iter().filter(|(choice, _)| choice.node.0 as usize == at).collect::<Vec<_>>();
                let cpu: u64 = here.iter().map(|(_, task)| task.shape.cpu_milli).sum();
                let mem: u64 = here.iter().map(|(_, task)| task.shape.mem_mib).sum();
                prop_assert_eq!((node.cpu_free() + cpu, node.mem_free() + mem), (spec.cpu_milli, spec.mem_mib));
                for (number, &free) in node.gpu_free().iter().enumerate() {
                    let on_it = here.iter().filter(|(choice, _)| choice.gpus.numbers().any(|gpu| gpu == number));
                    let units: u64 = on_it.map(|(_, task)| u64::from(task.shape.gpu.units())).sum();
                    prop_assert_eq!(u64::from(free) + units, 1000);
                }
                let free = node.gpu_free();
                prop_assert_eq!(node.gpu_units_free(), free.iter().map(|&one| u64::from(one)).sum::<u64>());
                prop_assert_eq!(node.gpus_idle(), free.iter().filter(|&&one| one == 1000).count());
            }
        }
    }
}
