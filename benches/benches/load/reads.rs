//! `/state` and GET_STATE of 10,000 agents with 100,000 tasks, and how long the master answers nobody meanwhile.

use crate::client::{self, Framework};
use crate::world::{Tasks, World, percentile};
use kaon_http::codec::MediaType;
use kaon_http::v1::mesos::{TaskId, TaskState};
use kaon_http::v1::scheduler::call::{self, Type};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const AGENTS: usize = 10_000;
const TASKS_EACH: u64 = 10;

/// Reads of each kind.
const READS: usize = 5;

pub(crate) fn measure() {
    let world = World::new(AGENTS, 8, Tasks::Stay);
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    client.block_on(async {
        let mut framework = Framework::subscribe(world.address, MediaType::Protobuf, "load").await;
        fill(&mut framework).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let alone = pauses(framework, Arc::clone(&is_over));
        tokio::time::sleep(Duration::from_secs(5)).await;
        is_over.store(true, Ordering::Relaxed);
        let (framework, quiet) = alone.await.expect("it ends");
        report("no reader", &quiet);
        let is_over = Arc::new(AtomicBool::new(false));
        let meanwhile = pauses(framework, Arc::clone(&is_over));
        let json = "Content-Type: application/json\r\nAccept: application/json";
        let protobuf = "Content-Type: application/x-protobuf\r\nAccept: application/x-protobuf";
        let post = |headers: &str, body: &[u8]| {
            let length = body.len();
            let head = format!(
                "POST /api/v1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\nContent-Length: {length}\r\n\r\n"
            );
            [head.as_bytes(), body].concat()
        };
        // GET_STATE is call 9 of the operator API, field 1 its type.
        for (name, request) in [
            ("/state", b"GET /state HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec()),
            ("GET_STATE in JSON", post(json, br#"{"type":"GET_STATE"}"#)),
            ("GET_STATE in protobuf", post(protobuf, &[8, GET_STATE])),
        ] {
            let mut times = Vec::new();
            for _ in 0..READS {
                times.push(client::read(world.address, &request).await);
            }
            let (first, whole, bytes) = times.into_iter().min_by_key(|(_, whole, _)| *whole).unwrap_or_default();
            println!(
                "reads: {name}: first byte after {first:?}, all {:.1} MB after {whole:?}, best of {READS}",
                bytes as f64 / 1e6
            );
        }
        is_over.store(true, Ordering::Relaxed);
        let (_, busy) = meanwhile.await.expect("it ends");
        report("with readers", &busy);
    });
    client.shutdown_background();
    world.end();
}

/// The number of GET_STATE among the operator's calls.
const GET_STATE: u8 = 9;

fn report(what: &str, round_trips: &[Duration]) {
    println!(
        "reads: {what}: a RECONCILE comes back in {:?} p50, {:?} p99, {:?} at most, of {}",
        percentile(round_trips, 0.5),
        percentile(round_trips, 0.99),
        round_trips.last().copied().unwrap_or_default(),
        round_trips.len()
    );
}

/// Launches all tasks, and waits until all run.
async fn fill(framework: &mut Framework) {
    let (mut launched, mut running) = (0, 0);
    let began = Instant::now();
    while running < AGENTS as u64 * TASKS_EACH {
        let event = framework.event().await;
        for offer in event.offers.map(|offers| offers.offers).unwrap_or_default() {
            let ids = (launched..launched + TASKS_EACH).map(|number| format!("t{number}"));
            framework.launch(&offer, ids, 0.5, 100_000.0);
            launched += TASKS_EACH;
        }
        if let Some(update) = event.update {
            framework.acknowledge(&update.status);
            running += u64::from(update.status.state == TaskState::TaskRunning as i32);
        }
        if !framework.has_more() {
            framework.flush().await;
        }
    }
    println!("reads: {running} tasks on {AGENTS} agents run after {:?}", began.elapsed());
}

/// Asks for the state of one task, again and again: how long each answer took.
fn pauses(mut framework: Framework, is_over: Arc<AtomicBool>) -> tokio::task::JoinHandle<(Framework, Vec<Duration>)> {
    tokio::spawn(async move {
        let mut times = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let task = call::reconcile::Task { task_id: TaskId { value: "t7".to_owned() }, agent_id: None };
            framework.call(Type::Reconcile, |call| call.reconcile = Some(call::Reconcile { tasks: vec![task] }));
            framework.flush().await;
            while framework.event().await.update.is_none() {}
            times.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.sort_unstable();
        (framework, times)
    })
}
