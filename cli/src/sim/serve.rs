//! `kaon sim serve`: a simulated cluster behind the real HTTP front of a master, in virtual time.
//!
//! Beside the master's API it answers `GET /simulator` (where virtual time is) and `POST /simulator/advance?seconds=N`
//! (let so much of it pass now, as fast as the machine can).

use crate::arguments::Serve;
use crate::host::StopSignals;
use crate::host::master::until_leading;
use anyhow::{Context, Result, bail};
use kaon_http::answer::{self, Answer};
use kaon_http::server::{Handler, Request};
use kaon_http::{Limits, MasterEdge, Sample};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::WallTime;
use kaon_sim::serve::{Figure, Served, master_host};
use kaon_sim::{Options, Sharing};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often it is looked whether the world still goes on.
const LOOK: Duration = Duration::from_millis(200);
/// The most seconds of one jump: a year.
const JUMP_MAX: f64 = 366.0 * 86_400.0;

/// The master's front, and two doors to the world's clock.
struct Front {
    edge: Arc<MasterEdge>,
    world: Arc<Served>,
    speed: f64,
}

impl Front {
    fn clock(&self) -> Answer {
        let value = serde_json::json!({ "virtual_seconds": self.world.now().as_seconds(), "speed": self.speed });
        answer::json(&value, None)
    }

    async fn advance(&self, request: &Request) -> Answer {
        if request.method().as_str() != "POST" {
            return answer::not_allowed("POST");
        }
        let seconds = request.query().and_then(|query| query.strip_prefix("seconds=")?.parse().ok());
        let length = seconds.filter(|seconds| (0.0..=JUMP_MAX).contains(seconds));
        let Some(length) = length.and_then(kaon_kernel::time::Duration::from_seconds) else {
            return answer::bad(format!("expected ?seconds=N with N from 0 to {JUMP_MAX}"));
        };
        let world = Arc::clone(&self.world);
        match tokio::task::spawn_blocking(move || world.jump(length)).await {
            Ok(true) => self.clock(),
            _ => answer::bad("the simulated cluster stands still"),
        }
    }
}

impl Handler for Front {
    async fn handle(self: Arc<Self>, request: Request) -> Answer {
        match request.path() {
            "/simulator" => self.clock(),
            "/simulator/advance" => self.advance(&request).await,
            _ => Arc::clone(&self.edge).handle(request).await,
        }
    }
}

/// Serves until it is told to stop; the exit code is 1 when a claim about the cluster did not hold.
pub(super) fn serve(arguments: &Serve) -> Result<i32> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(run(arguments));
    runtime.shutdown_timeout(Duration::from_millis(500));
    code
}

fn options(arguments: &Serve) -> Result<Options> {
    let amount = |flag: &str, value: f64| {
        Quantity::from_scalar(value).with_context(|| format!("--{flag} {value}: not an amount"))
    };
    Ok(Options {
        agents: arguments.agents,
        frameworks: arguments.frameworks,
        tasks: arguments.tasks,
        seed: arguments.seed,
        agent_cpus: amount("agent-cpus", arguments.agent_cpus)?,
        agent_mem: amount("agent-mem", arguments.agent_mem)?,
        sharing: match &arguments.policy {
            Some(name) => Sharing::parse(name).with_context(|| format!("--policy {name}"))?,
            None => Sharing::Drf,
        },
        ..Options::default()
    })
}

async fn run(arguments: &Serve) -> Result<i32> {
    let options = options(arguments)?;
    let http = kaon_http::listen(arguments.http)
        .with_context(|| format!("can't listen on {} for HTTP; --http ADDR chooses another", arguments.http))?;
    let address = http.local_addr()?;
    let world: Arc<OnceLock<Arc<Served>>> = Arc::default();
    let counted = Arc::clone(&world);
    let edge = MasterEdge::new(kaon_http::MasterConfig {
        host: master_host(),
        hostname: address.ip().to_string(),
        ip: address.ip(),
        port: address.port(),
        domain: None,
        cluster: Some("simulated".to_owned()),
        flags: Default::default(),
        metrics: Arc::new(move || counted.get().map_or_else(Vec::new, |world| samples(world))),
        leader: Arc::new(|| None),
        verbosity: crate::log::verbosity(),
        log: None,
        history: Default::default(),
        framework_metrics: true,
    })?;
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let wall = WallTime(u64::try_from(nanoseconds).unwrap_or(0));
    let served = Arc::new(kaon_sim::serve::serve(&options, Arc::clone(&edge) as _, wall, arguments.speed)?);
    if world.set(Arc::clone(&served)).is_err() {
        bail!("the simulated cluster was started twice");
    }
    edge.plug(Arc::clone(&served) as _);
    let front = Arc::new(Front { edge: Arc::clone(&edge), world: Arc::clone(&served), speed: arguments.speed });
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let over = async move { drop(is_stopped.await) };
    let serving = tokio::spawn(kaon_http::serve(http, front, Limits::default(), over));
    let mut signals = StopSignals::hear(false)?;
    until_leading(&edge).await;
    println!("{}", serde_json::json!({ "http": address.to_string() }));
    let broken = tokio::select! {
        () = signals.wanted() => None,
        words = until_broken(&served) => Some(words),
    };
    drop(stop);
    serving.await??;
    if let Some(words) = &broken {
        eprintln!("claim broken: {words}");
    }
    Ok(i32::from(broken.is_some()))
}

async fn until_broken(world: &Served) -> String {
    loop {
        if let Some(words) = world.broken() {
            return words;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn samples(world: &Served) -> Vec<Sample> {
    let sample = |(name, figure): (String, Figure)| match figure {
        Figure::Counter(count) => Sample::counter(name, count),
        Figure::Gauge(value) => Sample::gauge(name, value),
    };
    world.figures().into_iter().map(sample).collect()
}
