//! What the indexes give is what a scan of all machines by the definition gives.

use super::*;

/// The definition: look at every machine in the order of ties.
struct Scan {
    name: PlacementName,
    parameters: Parameters,
    last: usize,
}

impl Scan {
    /// The order of ties: a seed permutes, no seed leaves the indexes.
    fn order(&self, cluster: &Cluster) -> Vec<NodeIndex> {
        let mut order = (0..cluster.len() as u32).map(NodeIndex).collect::<Vec<_>>();
        if let TieBreak::Permutation(seed) = self.parameters.tie {
            let mut numbers = order.iter().map(|node| node.0).collect::<Vec<_>>();
            Chance::new(seed).shuffle(&mut numbers);
            order = numbers.into_iter().map(NodeIndex).collect();
        }
        order
    }

    fn best(&self, mut score: impl Score, cluster: &Cluster, task: &Task) -> Option<Choice> {
        score.prepare(cluster);
        let mut best: Option<(u64, Node<'_>)> = None;
        for node in self.order(cluster).into_iter().map(|node| cluster.node(node)) {
            if node.admits(&task.shape) {
                let worth = score.worth(node, &task.shape);
                if best.is_none_or(|(other, _)| worth > other) {
                    best = Some((worth, node));
                }
            }
        }
        best.map(|(_, node)| Choice { node: node.index(), gpus: score.gpus(node, &task.shape) })
    }

    fn choose(&mut self, cluster: &Cluster, task: &Task, chance: &mut Chance) -> Option<Choice> {
        let Parameters { counted, rounding, .. } = self.parameters;
        let order = self.order(cluster);
        let feasible = (0..order.len()).filter(|&at| cluster.node(order[at]).admits(&task.shape)).collect::<Vec<_>>();
        let tightest = |at: usize| {
            let node = cluster.node(order[at]);
            Choice { node: node.index(), gpus: node.tightest(&task.shape) }
        };
        match self.name {
            PlacementName::Random => {
                let drawn = chance.below(feasible.len() as u64) as usize;
                let mut choice = tightest(*feasible.get(drawn)?);
                if let GpuDemand::Part(units) = task.shape.gpu {
                    let free = cluster.node(choice.node).gpu_free();
                    let fitting = (0..free.len()).filter(|&gpu| free[gpu] >= units).collect::<Vec<_>>();
                    choice.gpus = GpuSet::one(fitting[chance.below(fitting.len() as u64) as usize]);
                }
                Some(choice)
            }
            PlacementName::FirstFit => feasible.first().map(|&at| tightest(at)),
            PlacementName::RoundRobin => {
                let at = feasible.iter().find(|&&at| at >= self.last).or(feasible.first()).copied()?;
                self.last = at + 1;
                Some(tightest(at))
            }
            PlacementName::Borg => {
                let split = feasible.partition_point(|&at| at < self.last);
                let looked = feasible[split..].iter().chain(&feasible[..split]);
                let looked = looked.copied().take(self.parameters.candidates as usize).collect::<Vec<_>>();
                let borg = Borg::new(self.parameters.borg, 1, TieBreak::Index);
                let mut best: Option<(f64, usize)> = None;
                for &at in &looked {
                    let score = borg.score(cluster, cluster.node(order[at]), task);
                    if best.is_none_or(|(other, _)| score > other) {
                        best = Some((score, at));
                    }
                }
                self.last = looked.last().map_or(self.last, |at| at + 1);
                best.map(|(_, at)| tightest(at))
            }
            PlacementName::BestFit => self.best(BestFit::new(counted, rounding), cluster, task),
            PlacementName::WorstFit => self.best(WorstFit::new(counted, rounding), cluster, task),
            PlacementName::DotProduct => self.best(DotProduct::least(counted, rounding), cluster, task),
            PlacementName::DotProductAlignment => self.best(DotProduct::alignment(counted, rounding), cluster, task),
            PlacementName::Tetris => self.best(Tetris, cluster, task),
            PlacementName::EPvm => self.best(EPvm::default(), cluster, task),
            PlacementName::GpuPacking => self.best(GpuPacking, cluster, task),
            PlacementName::GpuClustering => self.best(GpuClustering, cluster, task),
            PlacementName::Fgd => {
                let workload = self.parameters.workload.clone().expect("the tests give one");
                self.best(Fgd::new(workload), cluster, task)
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Place(usize),
    Release(usize),
    Open(usize, bool),
    Add(NodeSpec),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0usize..6).prop_map(Step::Place),
        5 => (0usize..1000).prop_map(Step::Release),
        1 => (0usize..1000, any::<bool>()).prop_map(|(node, is_open)| Step::Open(node, is_open)),
        1 => any_machine().prop_map(Step::Add),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_index_chooses_as_a_scan_does(
        machines in prop::collection::vec(any_machine(), 1..100),
        tasks in prop::collection::vec(any_task(), 6),
        steps in prop::collection::vec(any_step(), 1..120),
        tie in prop_oneof![Just(TieBreak::Index), (0u64..9).prop_map(TieBreak::Permutation)],
        is_percent in any::<bool>(),
    ) {
        let rounding = if is_percent { Rounding::Percent } else { Rounding::Exact };
        let workload = Some(Workload::from(&tasks[..]));
        let parameters = Parameters { tie, rounding, workload, candidates: 5, ..Parameters::default() };
        for (name, word, _) in PLACEMENTS {
            let mut cluster = cluster(&machines);
            let mut indexed = placement(name, &parameters).expect("there is a workload");
            let mut scan = Scan { name, parameters: parameters.clone(), last: 0 };
            let (mut chance, mut same_chance) = (Chance::new(3), Chance::new(3));
            let mut held = Vec::new();
            for step in &steps {
                match step {
                    Step::Place(kind) => {
                        let task = tasks[*kind];
                        let choice = indexed.choose(&cluster, &task, &mut chance);
                        prop_assert_eq!(choice, scan.choose(&cluster, &task, &mut same_chance), "{}", word);
                        if let Some(choice) = choice {
                            cluster.place(choice, &task).expect("what is chosen fits");
                            held.push((choice, task));
                        }
                    }
                    Step::Release(which) if !held.is_empty() => {
                        let (choice, task) = held.swap_remove(which % held.len());
                        cluster.release(choice, &task).expect("it was placed");
                    }
                    Step::Release(_) => {}
                    Step::Open(node, is_open) => {
                        let node = NodeIndex((node % cluster.len()) as u32);
                        cluster.open(node, *is_open).expect("a machine that is there");
                    }
                    Step::Add(spec) => {
                        cluster.add(*spec).expect("a machine of a test");
                    }
                }
            }
        }
    }
}

#[test]
fn more_shapes_than_are_kept_are_placed_all_the_same() {
    let mut cluster = cluster(&[machine(64, 64, 0, 0), machine(64, 64, 0, 0)]);
    let mut placement = FirstFit::new(TieBreak::Index);
    let mut chance = Chance::new(1);
    for round in 0..2 {
        for mem_mib in 0..2 * SHAPES_MAX as u64 {
            let task = Task::of(Shape { cpu_milli: 50, mem_mib, ..Shape::default() });
            let choice = placement.choose(&cluster, &task, &mut chance).expect("there is room");
            let expected = Shape { cpu_milli: 50, mem_mib, ..Shape::default() };
            let first = cluster.nodes().find(|node| node.admits(&expected)).map(Node::index);
            assert_eq!(Some(choice.node), first, "round {round}, {mem_mib} MiB");
            if round == 0 {
                cluster.place(choice, &Task::of(Shape { mem_mib: 0, ..expected })).expect("it fits");
            }
        }
    }
}

#[test]
fn a_reader_that_fell_behind_the_log_looks_at_everything() {
    let mut cluster = cluster(&[machine(8, 8, 0, 0); 3]);
    let (big, small) = (task(5, 1, GpuDemand::None), task(1, 1, GpuDemand::None));
    let mut placement = FirstFit::new(TieBreak::Index);
    let mut chance = Chance::new(1);
    assert_eq!(placement.choose(&cluster, &big, &mut chance).expect("there is room").node, NodeIndex(0));
    for _ in 0..4 {
        book(&mut cluster, 0, &[], small);
    }
    for _ in 0..5000 {
        book(&mut cluster, 2, &[], small);
        let back = Choice { node: NodeIndex(2), gpus: GpuSet::default() };
        cluster.release(back, &small).expect("it was placed");
    }
    assert_eq!(placement.choose(&cluster, &big, &mut chance).expect("there is room").node, NodeIndex(1));
}

#[test]
fn a_random_choice_is_uniform_over_the_machines_that_fit() {
    let mut cluster = cluster(&vec![machine(8, 8, 0, 0); 300]);
    for full in (0..300).filter(|node| node % 3 != 0) {
        book(&mut cluster, full, &[], task(8, 1, GpuDemand::None));
    }
    let mut placement = Random::new(TieBreak::Index);
    let mut chance = Chance::new(5);
    let mut counts = vec![0u32; 300];
    for _ in 0..20_000 {
        let choice = placement.choose(&cluster, &task(1, 1, GpuDemand::None), &mut chance).expect("there is room");
        counts[choice.node.0 as usize] += 1;
    }
    // 200 draws each, with a standard deviation of 14.
    let far = (0..300).filter(|&node| (node % 3 == 0) != (130..=270).contains(&counts[node])).collect::<Vec<_>>();
    assert!(far.is_empty(), "{far:?} were drawn too rarely or too often");
}

#[test]
fn every_name_leads_to_its_placement() {
    let workload = Some(Workload::of(&[(task(1, 1, GpuDemand::Part(500)).shape, 1)]));
    let parameters = Parameters { workload, ..Parameters::default() };
    for (at, (name, word, about)) in PLACEMENTS.into_iter().enumerate() {
        assert_eq!((PlacementName::parse(word), name.word(), name.about()), (Ok(name), word, about));
        assert_eq!(name as usize, at);
        placement(name, &parameters).expect("nothing is missing");
    }
    let refused = PlacementName::parse("best fit").expect_err("no such name");
    assert_eq!(refused.nearest, "best-fit");
    assert_eq!(placement(PlacementName::Fgd, &Parameters::default()).err(), Some(Unsuited::NoWorkload));
}
