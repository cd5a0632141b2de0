//! A master with its HTTP edge, and scripted agents.

use crate::agents::Agents;
use kaon_actors::allocator::{Allocator, AllocatorConfig};
use kaon_actors::framework::{FrameworkConfig, FrameworkProxy};
use kaon_actors::master::{Master, MasterConfig};
use kaon_actors::registrar::{Peer, Registrar, RegistrarConfig};
use kaon_http::{Limits, MasterEdge};
use kaon_kernel::actor::supervision::MASTER_TREE;
use kaon_kernel::actor::{Actor, ActorCell, ActorKind, Address, Cell, ChildSpec, HostId};
use kaon_runtime::journal::MemoryJournal;
use kaon_runtime::{Birth, Host, HostConfig, Origin, Ports};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) const MASTER: HostId = HostId(1);

/// How long anything may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) edge: Arc<MasterEdge>,
    pub(crate) agents: Arc<Agents>,
    pub(crate) host: Host,
    // Two threads for sockets, as in the binary.
    server: Runtime,
}

/// Whether agents end tasks by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tasks {
    /// They are over as soon as TASK_RUNNING is acknowledged.
    End,
    /// They run on.
    Stay,
}

impl World {
    /// A master with `count` agents of `cpus` processors each, all registered.
    pub(crate) fn new(count: usize, cpus: u64, tasks: Tasks) -> Self {
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let server = server.expect("a runtime");
        let setup = HostConfig::new(MASTER, 7, MASTER_TREE, Box::new(MemoryJournal::fresh()));
        let host = Host::prepare(setup, Arc::new(|birth| make(birth))).expect("a host");
        let listener = server.block_on(async { kaon_http::listen((Ipv4Addr::LOCALHOST, 0).into()) }).expect("a port");
        let address = listener.local_addr().expect("an address");
        let metrics = host.clone();
        let edge = edge(address, move || {
            let _ = metrics.series();
        });
        let agents = Agents::new(count, cpus, tasks);
        let ports = Ports { network: Some(agents.clone()), streams: Some(edge.clone()), containers: None };
        host.plug(ports).expect("nothing is plugged yet");
        edge.plug(Arc::new(host.clone()));
        host.begin().expect("threads");
        server.spawn(kaon_http::serve(listener, edge.clone(), Limits::default(), std::future::pending()));
        let world = Self { address, edge, agents, host, server };
        world.until("a leader", |world| world.edge.view().snapshot().leadership.is_some());
        world.agents.start(Arc::new(world.host.clone()));
        world.until("all agents", |world| world.agents.registered() == count);
        world
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "it never came: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.agents.stop();
        let _ = self.host.stop(Duration::from_secs(10));
        self.server.shutdown_background();
    }
}

/// The HTTP edge of a master at an address. `looked_at` is called when somebody wants the host's numbers.
pub(crate) fn edge(address: SocketAddr, looked_at: impl Fn() + Send + Sync + 'static) -> Arc<MasterEdge> {
    let config = kaon_http::MasterConfig {
        host: MASTER,
        hostname: "localhost".to_owned(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: address.port(),
        domain: None,
        cluster: None,
        flags: Default::default(),
        metrics: Arc::new(move || {
            looked_at();
            Vec::new()
        }),
        leader: Arc::new(|| None),
        verbosity: kaon_http::Verbosity::mute(),
        log: None,
        history: Default::default(),
        framework_metrics: true,
    };
    MasterEdge::new(config).expect("a read side")
}

/// As in `cli/src/host/master.rs`.
fn make(birth: Birth) -> Box<dyn Cell> {
    let (address, seed) = (birth.address, birth.seed);
    let config = MasterConfig::default();
    match birth.origin {
        Origin::Standing(ActorKind::Master) => cell(Master::new(config), address, seed),
        Origin::Standing(ActorKind::Registrar) => {
            let registrar = RegistrarConfig::new(1, vec![Peer::numbered(1)]);
            cell(Registrar::new(registrar).expect("a good configuration"), address, seed)
        }
        Origin::Standing(ActorKind::Allocator) => cell(Allocator::new(AllocatorConfig::default()), address, seed),
        Origin::Child { spec: ChildSpec::Framework { framework_id, stream }, .. } => {
            let heartbeat_interval = config.heartbeat_interval;
            cell(FrameworkProxy::new(FrameworkConfig { framework_id, stream, heartbeat_interval }), address, seed)
        }
        Origin::Standing(other) => unreachable!("a master's host has no {}", other.word()),
    }
}

fn cell<A: Actor>(actor: A, address: Address, seed: u64) -> Box<dyn Cell> {
    Box::new(ActorCell::new(actor, address, seed))
}

/// The value below which a share of the sorted ones lies.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
