//! LAUNCH to TASK_RUNNING acknowledged, through HTTP, against 1,000 agents.

use crate::client::Framework;
use crate::world::{Tasks, World};
use kaon_http::codec::MediaType;
use kaon_http::v1::mesos::{Offer, TaskState};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const AGENTS: usize = 1000;
const FRAMEWORKS: usize = 4;

/// Tasks of one LAUNCH.
const BATCH: u64 = 20;

/// Processors of a task.
const SIZE: f64 = 0.5;

/// Tasks of one framework between LAUNCH and the acknowledgement of TASK_RUNNING.
const WINDOW: u64 = 2000;

/// How long is measured, after as long a time to warm up.
const LENGTH: Duration = Duration::from_secs(10);

pub(crate) fn measure(media: MediaType) {
    let world = World::new(AGENTS, 64, Tasks::End);
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let running = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let counts: Vec<_> = client.block_on(async {
        let mut counts = Vec::new();
        for number in 0..FRAMEWORKS {
            let framework = Framework::subscribe(world.address, media, &format!("role{number}")).await;
            counts.push((Arc::clone(&framework.taken), Arc::clone(&framework.refused)));
            tokio::spawn(drive(framework, Arc::clone(&running), Arc::clone(&is_over)));
        }
        counts
    });
    let taken = || counts.iter().map(|(taken, _)| taken.load(Ordering::Relaxed)).sum::<u64>();
    std::thread::sleep(LENGTH);
    let (before, calls_before, began) = (running.load(Ordering::Relaxed), taken(), Instant::now());
    std::thread::sleep(LENGTH);
    let (after, calls, seconds) = (running.load(Ordering::Relaxed), taken(), began.elapsed().as_secs_f64());
    is_over.store(true, Ordering::Relaxed);
    let refused: u64 = counts.iter().map(|(_, refused)| refused.load(Ordering::Relaxed)).sum();
    println!(
        "throughput {media:?}: {:.0} tasks/s, each with three statuses acknowledged; {:.0} calls/s ({AGENTS} agents, \
         {FRAMEWORKS} frameworks, LAUNCH of {BATCH}, {refused} calls refused)",
        (after - before) as f64 / seconds,
        (calls - calls_before) as f64 / seconds
    );
    client.shutdown_background();
    world.end();
}

fn cpus(offer: &Offer) -> f64 {
    let cpus = offer.resources.iter().filter(|resource| resource.name == "cpus");
    cpus.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value).sum()
}

async fn drive(mut framework: Framework, running: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    let mut offers: VecDeque<Offer> = VecDeque::new();
    let (mut open, mut next) = (0, 0_u64);
    while !is_over.load(Ordering::Relaxed) {
        let event = framework.event().await;
        if let Some(more) = event.offers {
            offers.extend(more.offers);
        }
        if let Some(rescind) = event.rescind {
            offers.retain(|offer| offer.id != rescind.offer_id);
        }
        if let Some(update) = event.update {
            framework.acknowledge(&update.status);
            match update.status.state {
                state if state == TaskState::TaskRunning as i32 => {
                    running.fetch_add(1, Ordering::Relaxed);
                    open -= 1;
                }
                state if state == TaskState::TaskStarting as i32 || state == TaskState::TaskFinished as i32 => {}
                state => panic!("a task is {state}: {:?}", update.status.message),
            }
        }
        while open + BATCH <= WINDOW
            && let Some(offer) = offers.pop_front()
        {
            // What is too little for one task goes back as it is.
            let tasks = ((cpus(&offer) / SIZE) as u64).min(BATCH);
            framework.launch(&offer, (next..next + tasks).map(|number| format!("t{number}")), SIZE, 0.0);
            (open, next) = (open + tasks, next + tasks);
        }
        if !framework.has_more() {
            framework.flush().await;
        }
    }
}
