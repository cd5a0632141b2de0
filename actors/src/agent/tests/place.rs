//! Places on the machine: booked, told to the container, kept over a restart, given back in time.

use super::*;
use kaon_kernel::placement::{Machine, PlacementRequest, Policy};
use kaon_kernel::resource::parse;
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, Reason};
use kaon_kernel::topology::Uniform;

const HOST: HostId = HostId(100);

/// Two nodes of four processing units, two GPUs near each.
fn placed_config() -> AgentConfig {
    let uniform = Uniform { packages: 2, cores: 4, gpus: 2, node_memory_bytes: 4 << 30, ..Uniform::default() };
    let resources = parse::resources("cpus:8;mem:8192;gpus:4").unwrap();
    let machine = Machine::new(&uniform.build().unwrap(), &resources).unwrap();
    let mut config = config();
    config.info.resources = resources;
    config.machine = Some(machine);
    config
}

fn wanting(id: &str, resources: &str, policy: Policy) -> TaskInfo {
    let request = PlacementRequest { policy, ..PlacementRequest::default() };
    let resources = parse::resources(resources).unwrap();
    TaskInfo { resources, placement: Some(Box::new(request)), ..task(id) }
}

fn units(spec: &LaunchSpec) -> String {
    spec.placement.as_ref().map(|placement| placement.unit_numbers().to_string()).unwrap_or_default()
}

#[test]
fn a_task_gets_the_place_that_it_asks_for_and_leaves_it_when_it_ends() {
    let mut bench = Bench::registered(placed_config());
    bench.run(wanting("one", "cpus:3;mem:64;gpus:2", Policy::OneNode));
    bench.flush();
    let (container, spec) = bench.launch();
    assert_eq!(units(&spec), "[0-2]");
    let placement = spec.placement.clone().unwrap();
    assert_eq!(placement.node_numbers().to_string(), "[0-0]");
    let variable = |name: &str| spec.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!(variable("CUDA_VISIBLE_DEVICES").as_deref(), Some("GPU-00000000,GPU-00000001"));
    assert_eq!(variable("NVIDIA_VISIBLE_DEVICES"), variable("CUDA_VISIBLE_DEVICES"));
    bench.launched(7);
    bench.flush();

    bench.run(wanting("two", "cpus:4;mem:64", Policy::OneNode));
    bench.flush();
    assert_eq!(units(&bench.launch().1), "[4-7]");
    bench.launched(8);
    bench.flush();
    // Two are free, one near each node.
    bench.run(wanting("three", "cpus:2;mem:64", Policy::OneNode));
    bench.flush();
    let refusal = bench.take_update();
    assert_eq!((refusal.state, refusal.reason), (TaskState::Failed, Some(Reason::ContainerLaunchFailed)));
    let message = refusal.message.unwrap();
    assert_eq!(message, "the task can't be placed: 2 cpus wanted, 1 free");

    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("one", &container, &[]));
    bench.flush();
    bench.update(HOST, "one", TaskState::Finished, 1);
    // The master has not heard of it yet; whoever comes after it has finds the place free.
    bench.run(wanting("four", "cpus:4;mem:64;gpus:4", Policy::OneNode));
    bench.flush();
    assert_eq!(units(&bench.launch().1), "[0-3]");
}

#[test]
fn who_asks_nothing_runs_as_before_and_gpus_are_told_apart() {
    let mut bench = Bench::registered(placed_config());
    for (name, gpus) in [("a", "GPU-00000000"), ("b", "GPU-00000001")] {
        let resources = parse::resources("cpus:1;gpus:1").unwrap();
        bench.run(TaskInfo { resources, ..task(name) });
        bench.flush();
        let (_, spec) = bench.launch();
        let placement = spec.placement.unwrap();
        assert_eq!(placement.devices[0].id, gpus);
        assert!(placement.units.is_empty() && placement.memory.is_empty());
        bench.launched(1);
        bench.flush();
    }
    bench.run(task("plain"));
    bench.flush();
    let (_, spec) = bench.launch();
    assert_eq!(spec.placement, None);
    assert!(!spec.environment.iter().any(|(name, _)| name.contains("VISIBLE_DEVICES")));

    let mut bench = Bench::registered(config());
    bench.run(task("plain"));
    bench.flush();
    assert_eq!(bench.launch().1.placement, None);
    bench.run(wanting("place", "cpus:1", Policy::Packed));
    bench.flush();
    let message = bench.take_update().message.unwrap();
    assert_eq!(message, "the task can't be placed: the agent knows no topology to place by");
}

#[test]
fn a_place_outlives_the_agent() {
    let mut bench = Bench::registered(placed_config());
    bench.run(wanting("one", "cpus:3;mem:64;gpus:1", Policy::OneNode));
    bench.flush();
    let (container, _) = bench.launch();
    bench.launched(7);
    bench.flush();
    let journal = bench.durable.clone();
    bench.restart(journal.clone());
    bench.recovered(vec![container.clone()]);
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("one", &container, &["one"]));
    bench.flush();
    bench.join();
    bench.run(wanting("two", "cpus:4;mem:64", Policy::OneNode));
    bench.flush();
    assert_eq!(units(&bench.launch().1), "[4-7]", "the first three of the other node are taken");

    // A container that did not outlive it gives its place back.
    bench.restart(journal);
    bench.recovered(Vec::new());
    bench.flush();
    bench.join();
    bench.run(wanting("two", "cpus:4;mem:64", Policy::OneNode));
    bench.flush();
    assert_eq!(units(&bench.launch().1), "[0-3]");
}

#[test]
fn an_offer_that_comes_before_its_place_is_free_waits_for_it() {
    let mut bench = Bench::registered(placed_config());
    bench.run(wanting("one", "cpus:8;mem:64;gpus:4", Policy::Spread));
    bench.flush();
    let (container, _) = bench.launch();
    bench.launched(7);
    bench.flush();
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("one", &container, &[]));
    bench.flush();
    bench.master(ToAgent::ShutdownFramework { framework_id: FrameworkId::trusted(FRAMEWORK) });
    let other = FrameworkInfo { id: Some(FrameworkId::trusted("m-0001")), ..framework() };
    let run = |bench: &mut Bench, task: TaskInfo| {
        bench.master(ToAgent::RunTask {
            framework: Box::new(other.clone()),
            task: Box::new(task),
            starts_executor: false,
        });
        bench.flush();
    };
    let is_launch = |(_, request): &(Ticket, ContainerRequest)| matches!(request, ContainerRequest::Launch { .. });
    run(&mut bench, wanting("next", "cpus:4;mem:64;gpus:2", Policy::OneNode));
    run(&mut bench, wanting("killed", "cpus:4;mem:64;gpus:2", Policy::OneNode));
    run(&mut bench, wanting("never", "cpus:5;mem:64", Policy::OneNode));
    assert!(!bench.asked.iter().any(is_launch), "nothing is used twice");
    let never = bench.take_update();
    assert_eq!((never.task_id.as_str(), never.state), ("never", TaskState::Failed));
    let (framework_id, task_id) = (FrameworkId::trusted("m-0001"), TaskId::trusted("killed"));
    bench.master(ToAgent::KillTask { framework_id, task_id, grace: None });
    bench.flush();
    assert_eq!(bench.take_update().state, TaskState::Killed);

    bench.exit(exited(0));
    bench.flush();
    let (_, spec) = bench.launch();
    assert_eq!(units(&spec), "[0-3]");
    assert!(spec.environment.iter().any(|(name, _)| name == "CUDA_VISIBLE_DEVICES"));
    bench.launched(9);
    bench.flush();
    assert!(!bench.asked.iter().any(is_launch), "the one that was killed does not come");
    let key = b"task/m-0001/next".to_vec();
    let Ok(checkpoint::Entry::Task(record)) =
        checkpoint::read(&kaon_kernel::actor::Record { key: key.clone(), value: bench.durable[&key].clone() })
    else {
        panic!("the task is on disk")
    };
    assert_eq!(record.placement, spec.placement, "the place is on disk before the launch");
}

#[test]
fn tasks_that_share_an_executor_are_told_their_gpus_and_all_of_them_are_opened_to_it() {
    let mut bench = Bench::registered(placed_config());
    let executor = ExecutorInfo {
        executor_id: ExecutorId::trusted("e"),
        name: "e".to_owned(),
        kind: ExecutorKind::Default,
        command: None,
        resources: Resources::cpus_and_mem(Quantity(100), Quantity::units(32)),
        container: None,
        shutdown_grace: None,
        data: None,
        labels: Vec::new(),
        rest: Vec::new(),
    };
    let member = |id: &str, gpus: u32, own: &[(&str, &str)]| {
        let resources = parse::resources(&format!("cpus:1;mem:64;gpus:{gpus}")).unwrap();
        let mut task = TaskInfo { resources, executor: Some(executor.clone()), ..task(id) };
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        task.command.as_mut().unwrap().environment = own.collect();
        task
    };
    let tasks = vec![member("one", 1, &[]), member("two", 2, &[("NVIDIA_VISIBLE_DEVICES", "none")])];
    bench.master(ToAgent::RunTaskGroup { framework: Box::new(framework()), tasks, starts_executor: true });
    bench.flush();
    let (container, spec) = bench.launch();
    let opened: Vec<&str> = spec.placement.iter().flat_map(|all| &all.devices).map(|one| one.id.as_str()).collect();
    assert_eq!(opened, ["GPU-00000000", "GPU-00000002", "GPU-00000003"]);
    let is_bound = |all: &kaon_kernel::placement::Placement| !all.units.is_empty() || !all.memory.is_empty();
    assert!(!spec.placement.as_ref().is_some_and(is_bound), "its processors are nobody's own");
    assert!(spec.environment.iter().all(|(name, _)| name != "CUDA_VISIBLE_DEVICES"), "that is for each task to know");
    bench.launched(7);
    bench.flush();
    bench.link(HOST, PeerRole::Executor, container.as_str(), LinkState::Up);
    bench.executor(HOST, Bench::register_message("e", &container, &[]));
    let is_update = |request: &ContainerRequest| matches!(request, ContainerRequest::Update { .. });
    bench.answer(is_update, ContainerOutcome::Updated(Ok(())));
    let given = bench.to_executors.iter().find_map(|(_, told)| match told {
        ToExecutor::LaunchGroup { tasks } => Some(tasks.clone()),
        _ => None,
    });
    let told: Vec<Vec<(String, String)>> =
        given.expect("a group").into_iter().map(|task| task.command.unwrap().environment).collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(told[0][0], pair("CUDA_VISIBLE_DEVICES", "GPU-00000000"));
    assert!(told[1].contains(&pair("CUDA_VISIBLE_DEVICES", "GPU-00000002,GPU-00000003")), "{told:?}");
    assert!(told[1].contains(&pair("NVIDIA_VISIBLE_DEVICES", "none")), "what a command says itself stands: {told:?}");
}
