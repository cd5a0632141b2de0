//! The same small workload on a real cluster and in the simulator: the same offers taken, the same statuses of each task in
//! the same order from the same senders, and times that are of one kind.

use crate::cluster::Cluster;
use crate::framework::{Framework, info, task};
use kaon_kernel::quantity::Quantity;
use kaon_sim::{Lengths, Options};
use std::collections::BTreeMap;
use std::time::Instant;

/// How long every task runs, in seconds.
const LENGTH_SECONDS: f64 = 1.0;
/// How far the mean time from the launch to the end of a task may be from the simulated one, as a factor. The real machine
/// starts some twenty processes a task on two cores, in a debug build beside other tests.
const TIME_FACTOR_MAX: f64 = 10.0;

/// Cores of an agent. A task of the tests takes 0.1 of them and 16 MiB.
const CPUS: f64 = 2.0;
/// MiB of an agent.
const MEM: f64 = 512.0;
/// So many tasks fit into an agent.
const ROOM: usize = 20;
/// One agent is filled, the other takes four.
const TASKS: usize = ROOM + 4;

/// What a framework saw of a task.
type Statuses = Vec<(String, String)>;

/// A workload as it went.
#[derive(Debug)]
struct Seen {
    /// Tasks by acceptance, in order.
    acceptances: Vec<usize>,
    /// The statuses of each task.
    statuses: Vec<Statuses>,
    /// From launch to end, in seconds, on average.
    mean_seconds: f64,
}

/// Two agents: fills the first one that is offered and puts the rest onto the other.
fn really() -> Seen {
    let cluster = Cluster::start_with(2, &["--resources", &format!("cpus:{CPUS};mem:{MEM};disk:0;ports:[]")]);
    let mut framework = Framework::subscribe(&cluster.api, info("fidelity"));
    framework.until("two offers", |framework| framework.offers.len() == 2);
    let names: Vec<String> = (0..TASKS).map(|number| format!("task-{number}")).collect();
    let tasks = names.iter().map(|name| task(name, &format!("sleep {LENGTH_SECONDS}")));
    let mut tasks: Vec<_> = tasks.collect();
    let mut launched = BTreeMap::new();
    let mut ended = BTreeMap::new();
    let mut acceptances = Vec::new();
    while !tasks.is_empty() {
        let offer = framework.offer();
        let chosen: Vec<_> = tasks.drain(..ROOM.min(tasks.len())).collect();
        for name in chosen.iter().filter_map(|task| task["name"].as_str()) {
            launched.insert(name.to_owned(), Instant::now());
        }
        acceptances.push(chosen.len());
        framework.accept(&[&offer], chosen, 600.0);
    }
    while ended.len() < names.len() {
        let told = framework.updates.len();
        framework.until("another status", |framework| framework.updates.len() > told);
        for status in &framework.updates[told..] {
            let name = status["task_id"]["value"].as_str().expect("an id");
            if status["state"] == "TASK_FINISHED" {
                ended.entry(name.to_owned()).or_insert_with(Instant::now);
            }
        }
    }
    let of = |name: &String| {
        let mine = framework.updates.iter().filter(|status| status["task_id"]["value"] == name.as_str());
        let word = |status: &serde_json::Value, key: &str| status[key].as_str().unwrap_or_default().to_owned();
        mine.map(|status| (word(status, "state"), word(status, "source"))).collect::<Statuses>()
    };
    let statuses = names.iter().map(of).collect();
    let seconds = launched.iter().map(|(name, launched)| (ended[name] - *launched).as_secs_f64()).sum::<f64>();
    let mean_seconds = seconds / names.len() as f64;
    framework.teardown();
    Seen { acceptances, statuses, mean_seconds }
}

fn simulated() -> Seen {
    let amount = |value: f64| Quantity::from_scalar(value).expect("an amount");
    let options = Options {
        agents: 2,
        frameworks: 1,
        tasks: TASKS as u32,
        agent_cpus: amount(CPUS),
        agent_mem: amount(MEM),
        task_cpus: amount(0.1),
        task_mem: amount(16.0),
        lengths: Lengths::Fixed(LENGTH_SECONDS),
        varied: false,
        courses: true,
        ..Options::default()
    };
    let report = kaon_sim::run(&options).expect("the options are sound");
    assert!(report.is_well(), "{report}");
    let mut acceptances: BTreeMap<u64, usize> = BTreeMap::new();
    for course in &report.courses {
        *acceptances.entry(course.acceptance).or_default() += 1;
    }
    let end = |course: &kaon_sim::Course| course.statuses.last().map_or(f64::NAN, |(_, _, at)| *at);
    let seconds: f64 = report.courses.iter().map(|course| end(course) - course.launched_seconds).sum();
    let told = |course: &kaon_sim::Course| {
        course.statuses.iter().map(|(state, source, _)| (state.clone(), source.clone())).collect()
    };
    Seen {
        acceptances: acceptances.into_values().collect(),
        statuses: report.courses.iter().map(told).collect(),
        mean_seconds: seconds / report.courses.len() as f64,
    }
}

#[test]
fn a_simulated_cluster_behaves_as_a_real_one() {
    let (real, simulated) = (really(), simulated());
    println!("from launch to end: {:.3} s really, {:.3} s simulated", real.mean_seconds, simulated.mean_seconds);
    assert_eq!(real.acceptances, simulated.acceptances, "tasks by offer");
    assert_eq!(real.statuses.len(), simulated.statuses.len());
    for (task, (real, simulated)) in real.statuses.iter().zip(&simulated.statuses).enumerate() {
        assert_eq!(real, simulated, "task {task}");
    }
    let factor = real.mean_seconds / simulated.mean_seconds;
    assert!((1.0 / TIME_FACTOR_MAX..TIME_FACTOR_MAX).contains(&factor), "{real:?} against {simulated:?}");
}
