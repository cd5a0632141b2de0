//! From a resource that comes free to the framework that reads its offer, under 100 frameworks.

use crate::client::Framework;
use crate::world::{PATIENCE, Tasks, World, percentile};
use kaon_http::codec::MediaType;
use kaon_http::v1::mesos::{Offer, TaskState};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const AGENTS: usize = 200;
const FRAMEWORKS: usize = 100;
const ROUNDS: usize = 2000;

enum Said {
    /// An offer, who has it, and when it was read.
    Offered(usize, Box<Offer>, Instant),
    /// A task runs, and this was acknowledged.
    Running(String),
}

pub(crate) fn measure() {
    let world = World::new(AGENTS, 8, Tasks::Stay);
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut latencies = client.block_on(rounds(&world));
    latencies.sort_unstable();
    println!(
        "offer: freed to read in {:?} p50, {:?} p99, {:?} at most ({FRAMEWORKS} frameworks, {AGENTS} agents, {} rounds)",
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99),
        latencies.last().copied().unwrap_or_default(),
        latencies.len()
    );
    client.shutdown_background();
    world.end();
}

async fn rounds(world: &World) -> Vec<Duration> {
    let (said, mut hears) = unbounded_channel();
    let mut launchers = Vec::new();
    let mut ids = Vec::new();
    for number in 0..FRAMEWORKS {
        let framework = Framework::subscribe(world.address, MediaType::Json, &format!("role{number}")).await;
        ids.push(framework.id.clone());
        let (launcher, launches) = unbounded_channel();
        launchers.push(launcher);
        tokio::spawn(hold(number, framework, launches, said.clone()));
    }
    // Everybody holds what it has: all agents are offered.
    let mut held: Vec<(usize, Box<Offer>)> = Vec::new();
    while held.len() < AGENTS {
        if let Some(Said::Offered(who, offer, _)) = next(&mut hears).await {
            held.push((who, offer));
        }
    }
    let mut latencies = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        // The oldest: each framework in its turn.
        let (who, offer) = held.remove(0);
        let task = format!("t{round}");
        let _ = launchers[who].send((offer.clone(), task.clone()));
        while !matches!(next(&mut hears).await, Some(Said::Running(id)) if id == task) {}
        // The acknowledgement reaches the agent before the end does.
        tokio::time::sleep(Duration::from_millis(2)).await;
        world.agents.end_task(&offer.agent_id.value, &ids[who], &task);
        let ended = world.agents.ended().expect("just now");
        loop {
            if let Some(Said::Offered(who, again, read)) = next(&mut hears).await
                && again.agent_id == offer.agent_id
            {
                latencies.push(read.duration_since(ended));
                held.push((who, again));
                break;
            }
        }
    }
    latencies
}

async fn next(hears: &mut tokio::sync::mpsc::UnboundedReceiver<Said>) -> Option<Said> {
    tokio::time::timeout(PATIENCE, hears.recv()).await.expect("something is said")
}

async fn hold(
    number: usize,
    mut framework: Framework,
    mut launches: tokio::sync::mpsc::UnboundedReceiver<(Box<Offer>, String)>,
    said: UnboundedSender<Said>,
) {
    let mut launched: Option<(Box<Offer>, String)> = None;
    loop {
        if let Some((offer, id)) = launched.take() {
            // The whole of it: nothing comes back before it ends.
            framework.launch(&offer, std::iter::once(id), 8.0, 0.0);
            framework.flush().await;
        }
        // A read that is given up loses nothing: no event is under way when a launch is asked for, and the next comes
        // after it.
        tokio::select! {
            biased;
            wanted = launches.recv() => launched = wanted,
            event = framework.event() => {
                let read = Instant::now();
                for offer in event.offers.map(|offers| offers.offers).unwrap_or_default() {
                    let _ = said.send(Said::Offered(number, Box::new(offer), read));
                }
                if let Some(update) = event.update {
                    framework.acknowledge(&update.status);
                    framework.flush().await;
                    if update.status.state == TaskState::TaskRunning as i32 {
                        let _ = said.send(Said::Running(update.status.task_id.value));
                    }
                }
            }
        }
    }
}
