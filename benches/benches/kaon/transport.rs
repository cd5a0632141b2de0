//! Two endpoints on loopback, mutual TLS: a round trip of a small message, messages a second one way, and the floor of
//! a bare UDP echo.

use criterion::{Criterion, Throughput};
use kaon_kernel::actor::{ActorKind, Address, HostId, Link, LinkState, Term};
use kaon_kernel::frame::{Frame, Route};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::message::{AgentMessage, MasterMessage, agent_master};
use kaon_kernel::port::{Ingress, Network, Refused};
use kaon_transport::{Authority, Endpoint, EndpointConfig, Request, Trust};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

const MASTER: HostId = HostId(1);
const AGENT: HostId = HostId(2);
const BURST: u64 = 20_000;

/// Takes what comes: the agent's side answers pings, the master's side reports.
struct Side {
    endpoint: OnceLock<Arc<Endpoint>>,
    echo: bool,
    arrived: Mutex<Sender<()>>,
    up: Mutex<Sender<()>>,
    /// Report only each so manieth arrival.
    every: AtomicU64,
    count: AtomicU64,
}

impl Ingress for Side {
    fn deliver(&self, _: Frame) -> Result<(), Refused> {
        if let Some(endpoint) = self.endpoint.get().filter(|_| self.echo) {
            endpoint.send(pong())?;
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(self.every.load(Ordering::Relaxed)) {
            let _ = self.arrived.lock().expect("nobody panics with it").send(());
        }
        Ok(())
    }
    fn link(&self, link: Link) {
        if link.state == LinkState::Up {
            let _ = self.up.lock().expect("nobody panics with it").send(());
        }
    }
}

fn ping() -> Frame {
    let route = Route {
        to: Address::only(AGENT, ActorKind::Agent),
        from: Address::only(MASTER, ActorKind::Master),
        sequence: 1,
        term: Term(1),
    };
    let message = agent_master::ToAgent::ShutdownFramework { framework_id: kaon_kernel::id::FrameworkId::trusted("f") };
    Frame::encode(route, &AgentMessage::Master(message))
}

fn pong() -> Frame {
    let route = Route {
        to: Address::only(MASTER, ActorKind::Master),
        from: Address::only(AGENT, ActorKind::Agent),
        sequence: 1,
        term: Term(0),
    };
    let agent_id = kaon_kernel::id::AgentId::trusted("a");
    Frame::encode(route, &MasterMessage::Agent(agent_master::ToMaster::Unregister { agent_id }))
}

fn side(echo: bool, arrived: Sender<()>, up: Sender<()>) -> Arc<Side> {
    Arc::new(Side {
        endpoint: OnceLock::new(),
        echo,
        arrived: Mutex::new(arrived),
        up: Mutex::new(up),
        every: AtomicU64::new(1),
        count: AtomicU64::new(0),
    })
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let authority = Authority::create("bench", "authority").expect("an authority");
    let issue = |role, name: &str| {
        let request = Request { role, name: name.to_owned(), names: vec!["127.0.0.1".to_owned()] };
        authority.issue(&request).expect("a certificate")
    };
    let roles = vec![PeerRole::Master, PeerRole::Agent];
    let trust = Trust { authority: authority.certificate().clone(), roles };
    let bind = "127.0.0.1:0".parse().expect("an address");
    let ((arrived, has_arrived), (up, is_up)) = (channel(), channel());
    let (nobody, _) = channel();
    let (master_side, agent_side) = (side(false, arrived, up.clone()), side(true, nobody, up));
    let _guard = runtime.enter();
    let master = EndpointConfig::new(MASTER, issue(PeerRole::Master, "master-1"), vec![trust.clone()], bind);
    let master = Endpoint::bind(master, master_side.clone()).expect("a socket");
    let agent = EndpointConfig::new(AGENT, issue(PeerRole::Agent, "agent-1"), vec![trust], bind);
    let agent = Endpoint::bind(agent, agent_side.clone()).expect("a socket");
    let _ = agent_side.endpoint.set(agent.clone());
    agent.connect(master.address().expect("an address")).expect("a target");
    for _ in 0..2 {
        is_up.recv_timeout(Duration::from_secs(10)).expect("a session");
    }
    let mut group = criterion.benchmark_group("transport");
    group.sample_size(20);
    group.bench_function("round-trip", |b| {
        b.iter(|| {
            master.send(ping()).expect("there is room");
            has_arrived.recv().expect("an answer");
        });
    });
    group.throughput(Throughput::Elements(BURST));
    group.bench_function("there-and-back-burst", |b| {
        b.iter_custom(|rounds| {
            let begun = Instant::now();
            for _ in 0..rounds {
                master_side.count.store(0, Ordering::Relaxed);
                master_side.every.store(BURST, Ordering::Relaxed);
                for _ in 0..BURST {
                    while master.send(ping()).is_err() {
                        std::thread::yield_now();
                    }
                }
                has_arrived.recv().expect("all answers");
            }
            begun.elapsed()
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("round-trip-bare-udp", |b| {
        let (one, two) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (one, two) = (one.expect("a socket"), two.expect("a socket"));
        let (to_one, to_two) = (one.local_addr().expect("an address"), two.local_addr().expect("an address"));
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(length) = two.recv(&mut buffer) {
                if length == 1 || two.send_to(&buffer[..length], to_one).is_err() {
                    return;
                }
            }
        });
        let mut buffer = [7; 64];
        b.iter(|| {
            one.send_to(&buffer, to_two).expect("sends");
            one.recv(&mut buffer).expect("receives");
        });
        let _ = one.send_to(&[0], to_two);
    });
    group.finish();
    runtime.block_on(async {
        agent.close().await;
        master.close().await;
    });
}
