//! 1,000 frameworks, some of which read 10 KB/s: what the others notice, and what becomes of the slow ones.

use crate::client::Framework;
use crate::world::{Tasks, World, percentile};
use kaon_http::codec::MediaType;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FRAMEWORKS: usize = 1000;
const SLOW: usize = 100;

/// What a slow reader takes a second, in bytes.
const SLOW_RATE: f64 = 10_000.0;

/// What each framework is sent: so many bytes in a message, so often, for so long.
const MESSAGE_BYTES: usize = 2000;
const EVERY: Duration = Duration::from_millis(200);
const LENGTH: Duration = Duration::from_secs(10);

pub(crate) fn measure() {
    for slow in [0, SLOW] {
        let world = World::new(1, 8, Tasks::Stay);
        let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let client = client.expect("a runtime");
        let times = Arc::new(Mutex::new(Vec::new()));
        let ids = client.block_on(async {
            let mut ids = Vec::new();
            for number in 0..FRAMEWORKS {
                let framework = Framework::subscribe(world.address, MediaType::Json, "load").await;
                ids.push(framework.id.clone());
                if number < slow {
                    tokio::spawn(crawl(framework));
                } else {
                    tokio::spawn(read(framework, Arc::clone(&times)));
                }
            }
            ids
        });
        let origin = Instant::now();
        ORIGIN.lock().expect("nobody panics with it").replace(origin);
        while origin.elapsed() < LENGTH {
            let round = Instant::now();
            for id in &ids {
                let mut data = vec![b'x'; MESSAGE_BYTES];
                data[..8].copy_from_slice(&(origin.elapsed().as_micros() as u64).to_le_bytes());
                world.agents.message(id, data);
            }
            std::thread::sleep(EVERY.saturating_sub(round.elapsed()));
        }
        std::thread::sleep(Duration::from_secs(1));
        let mut times = std::mem::take(&mut *times.lock().expect("nobody panics with it"));
        times.sort_unstable();
        println!(
            "slow: {slow} of {FRAMEWORKS} frameworks read {SLOW_RATE:.0} B/s; the others had {} events of {MESSAGE_BYTES} B, \
             {:?} p50, {:?} p99, {:?} at most; {} streams stand",
            times.len(),
            percentile(&times, 0.5),
            percentile(&times, 0.99),
            times.last().copied().unwrap_or_default(),
            world.edge.open_streams()
        );
        client.shutdown_background();
        world.end();
    }
}

/// When the messages began.
static ORIGIN: Mutex<Option<Instant>> = Mutex::new(None);

async fn read(mut framework: Framework, times: Arc<Mutex<Vec<Duration>>>) {
    loop {
        let event = framework.event().await;
        let (Some(message), Some(origin)) = (event.message, *ORIGIN.lock().expect("nobody panics with it")) else {
            continue;
        };
        let mut micros = [0; 8];
        micros.copy_from_slice(&message.data[..8]);
        let sent = origin + Duration::from_micros(u64::from_le_bytes(micros));
        times.lock().expect("nobody panics with it").push(sent.elapsed());
    }
}

async fn crawl(mut framework: Framework) {
    loop {
        let bytes = framework.raw_event().await;
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / SLOW_RATE)).await;
    }
}
