//! Task groups and executors with several tasks.

use super::play::{Play, framework_info, resources, task, to_agent};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{ExecutorId, FrameworkIndex, OfferId};
use kaon_kernel::message::agent_master::{self, ToAgent};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::{Call, ClientOffer};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resources, parse};
use kaon_kernel::task::{ExecutorInfo, ExecutorKind, Reason, TaskInfo, TaskState};
use kaon_kernel::time::Duration;

fn executor(resources: Resources) -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId::trusted("pod"),
        name: String::new(),
        kind: ExecutorKind::Default,
        command: None,
        resources,
        shutdown_grace: None,
        data: None,
        labels: Vec::new(),
        container: None,
        rest: Vec::new(),
    }
}

fn own() -> Resources {
    parse::resources("cpus:0.1;mem:32;disk:10").unwrap()
}

fn pool(cpus: u64, mem: u64) -> Resources {
    let disk = parse::resources("disk:100").unwrap();
    resources(cpus, mem).plus(&disk).unwrap()
}

fn launch(play: &mut Play, framework: FrameworkIndex, offer: OfferId, executor: ExecutorInfo, tasks: Vec<TaskInfo>) {
    let operations = vec![OfferOperation::LaunchGroup { executor: Box::new(executor), tasks }];
    let offers = vec![ClientOffer::Known(offer)];
    play.call(framework, Call::Accept { offers, operations, refusal: Refusal::DEFAULT });
}

#[test]
fn a_group_goes_whole_to_its_agent_and_its_executor_is_charged_once_until_it_exits() {
    let mut play = Play::leading();
    let (id, agent) = play.agent_with(1, pool(4, 4096));
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, pool(2, 1024));
    let member = |name: &str| task(name, &id, resources(1, 128));
    launch(
        &mut play,
        framework,
        offer,
        executor(own()),
        vec![
            member("b"),
            TaskInfo { resources: Resources::cpus_and_mem(Quantity(500), Quantity::units(128)), ..member("a") },
        ],
    );
    let sent = to_agent(&play.effects);
    let [ToAgent::RunTaskGroup { tasks, starts_executor: true, .. }] = &sent[..] else { panic!("{sent:?}") };
    let names: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert!(tasks.iter().all(|task| task.executor.is_some() && task.command.is_some()), "the executor is filled in");
    let rest = play.recovered().remove(0);
    assert_eq!(rest.to_string(), "cpus:0.4; mem:736; disk:90");
    // A second group on the same executor pays for its tasks alone.
    let offer = play.grant(framework, agent, resources(1, 128));
    launch(&mut play, framework, offer, executor(own()), vec![member("c")]);
    assert!(matches!(&to_agent(&play.effects)[..], [ToAgent::RunTaskGroup { starts_executor: false, .. }]));
    assert!(play.recovered().iter().all(Resources::is_empty), "{:?}", play.recovered());
    let (framework_id, executor_id) = (play.framework_id(framework), ExecutorId::trusted("pod"));
    play.agent_says(1, agent_master::ToMaster::ExecutorExited { framework_id, executor_id, status: 9 });
    assert_eq!(play.recovered(), [own()]);
    let failure = play.events().into_iter().any(|event| {
        matches!(event, FrameworkEvent::Failure { executor_id: Some(id), status: Some(9), .. } if id.as_str() == "pod")
    });
    assert!(failure);
}

#[test]
fn one_bad_member_or_a_bad_executor_refuses_the_whole_group() {
    let mut play = Play::leading();
    let (id, agent) = play.agent_with(1, pool(4, 4096));
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let member = |name: &str| task(name, &id, resources(1, 128));
    let meagre = |text: &str| executor(parse::resources(text).unwrap());
    let other = TaskInfo { executor: Some(ExecutorInfo { name: "x".to_owned(), ..executor(own()) }), ..member("b") };
    let flawed = TaskInfo { defect: Some(Box::new(Defect::new(Cause::GroupInvalid, "flawed"))), ..member("b") };
    let cases: Vec<(ExecutorInfo, Vec<TaskInfo>)> = vec![
        (executor(own()), vec![member("a"), member("a")]),
        (executor(own()), vec![member("a"), other]),
        (executor(own()), vec![member("a"), flawed]),
        (executor(own()), vec![member("a"), TaskInfo { resources: Resources::new(), ..member("b") }]),
        (executor(own()), vec![member("a"), task("b", &id, resources(3, 128))]),
        (meagre("cpus:0.001;mem:32;disk:1"), vec![member("a")]),
        (meagre("cpus:0.1;mem:31;disk:1"), vec![member("a")]),
        (meagre("cpus:0.1;mem:32"), vec![member("a")]),
        (ExecutorInfo { kind: ExecutorKind::Custom, ..executor(own()) }, vec![member("a")]),
        (executor(Resources::new()), vec![member("a")]),
    ];
    for (executor, tasks) in cases {
        let offer = play.grant(framework, agent, pool(2, 1024));
        let count = tasks.len();
        launch(&mut play, framework, offer, executor, tasks);
        let told = play.statuses();
        assert_eq!(told.len(), count);
        let is_refused = |(_, state, reason): &(String, TaskState, Option<Reason>)| {
            (*state, *reason) == (TaskState::Error, Some(Reason::TaskGroupInvalid))
        };
        assert!(told.iter().all(is_refused), "{told:?}");
        assert!(to_agent(&play.effects).is_empty());
        assert_eq!(play.recovered(), [pool(2, 1024)], "all of it comes back");
        assert!(play.rig.actor().state.agents[&agent].executors.is_empty());
    }
}

#[test]
fn tasks_share_a_running_executor_that_must_be_the_same() {
    let mut play = Play::leading();
    let (id, agent) = play.agent_with(1, pool(4, 4096));
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let own_executor = |data: u8| ExecutorInfo {
        kind: ExecutorKind::Custom,
        command: task("x", &id, resources(1, 1)).command,
        data: Some(vec![data]),
        ..executor(own())
    };
    let on = |name: &str, data: u8| TaskInfo {
        command: None,
        executor: Some(own_executor(data)),
        ..task(name, &id, resources(1, 128))
    };
    let offer = play.grant(framework, agent, pool(3, 1024));
    let operations = vec![OfferOperation::Launch { tasks: vec![on("a", 1), on("b", 1), on("c", 2)] }];
    play.call(
        framework,
        Call::Accept { offers: vec![ClientOffer::Known(offer)], operations, refusal: Refusal::DEFAULT },
    );
    let starts: Vec<bool> = to_agent(&play.effects)
        .iter()
        .filter_map(|message| match message {
            ToAgent::RunTask { starts_executor, .. } => Some(*starts_executor),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [true, false]);
    assert_eq!(play.statuses(), [("c".to_owned(), TaskState::Error, Some(Reason::TaskInvalid))]);
    assert_eq!(play.recovered().remove(0).to_string(), "cpus:0.9; mem:736; disk:90");
}
