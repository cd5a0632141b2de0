//! The answers that show everything: `/state`, GET_STATE in both encodings, of a cluster of 10,000 agents and 100,000 tasks,
//! while events of the master keep coming: how long an answer takes, how large it is, and how long at most the master had to
//! wait to tell of a change, and another client for `/health`.
//!
//! The cluster is told to the edge as its master tells it, event by event; no actor runs.

use crate::world::{self, percentile};
use kaon_http::codec::MediaType;
use kaon_http::convert;
use kaon_http::v1::mesos as v1;
use kaon_http::{Limits, MasterEdge};
use kaon_kernel::actor::{ActorKind, Address, HostId, StreamId, Term};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::{Frame, Route};
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, MasterId, RoleName, Uuid};
use kaon_kernel::message::view::{AgentView, FrameworkView, ViewEvent};
use kaon_kernel::port::Streams;
use kaon_kernel::resource::parse::resources;
use kaon_kernel::task::{ContainerStatus, Source, Task, TaskState, TaskStatus};
use kaon_kernel::time::WallTime;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const AGENTS: usize = 10_000;
const FRAMEWORKS: usize = 20;
const TASKS: usize = 100_000;

/// Answers of each kind.
const ROUNDS: usize = 5;

/// How often the master tells of a change meanwhile.
const EVENT_EVERY: Duration = Duration::from_micros(200);

const HOST: HostId = HostId(1);

fn agent_id(number: usize) -> AgentId {
    AgentId::trusted(format!("11111111-2222-3333-4444-555555555555-S{number}"))
}

fn framework_id(number: usize) -> FrameworkId {
    FrameworkId::trusted(format!("11111111-2222-3333-4444-555555555555-{number:04}"))
}

fn frame(event: &ViewEvent) -> Frame {
    let from = Address::only(HOST, ActorKind::Master);
    Frame::encode(Route { to: Address::outside(HOST), from, sequence: 1, term: Term(1) }, event)
}

fn agent(number: usize) -> ViewEvent {
    let info = AgentInfo {
        id: Some(agent_id(number)),
        hostname: format!("agent-{number}.test"),
        ip: format!("10.{}.{}.1", number / 256, number % 256),
        port: 5051,
        resources: resources("cpus:16;mem:65536;disk:1000000;ports:[31000-32000]").expect("valid"),
        version: "0.1.0".to_owned(),
        ..AgentInfo::default()
    };
    let registered_time = WallTime(1_700_000_000_000_000_000);
    ViewEvent::Agent(AgentView {
        info,
        converted: None,
        registered: true,
        connected: true,
        active: true,
        registered_time,
        reregistered_time: None,
        orders: None,
    })
}

fn framework(number: usize) -> ViewEvent {
    let info =
        v1::FrameworkInfo { user: "root".to_owned(), name: format!("f{number}"), ..v1::FrameworkInfo::default() };
    let (mut info, _) = convert::framework::from_v1(info, &[]).expect("valid");
    info.id = Some(framework_id(number));
    let registered_time = WallTime(1_700_000_000_000_000_000);
    ViewEvent::Framework(FrameworkView {
        info,
        connected: true,
        active: true,
        recovered: false,
        stream: None,
        proxy: None,
        registered_time,
        reregistered_time: None,
    })
}

fn status(number: usize, state: TaskState) -> TaskStatus {
    let task_id = kaon_kernel::id::TaskId::trusted(format!("service-{number}"));
    TaskStatus {
        uuid: Some(Uuid([7; 16])),
        agent_id: Some(agent_id(number % AGENTS)),
        executor_id: Some(ExecutorId::trusted(task_id.as_str())),
        container: Some(ContainerStatus {
            container_id: ContainerId::trusted("01234567-89ab-cdef-0123-456789abcdef"),
            parent: None,
            executor_pid: Some(4242),
            ip_addresses: vec!["10.0.0.1".to_owned()],
        }),
        ..TaskStatus::bare(task_id, state, Source::Executor, WallTime(1_700_000_000_123_000_000))
    }
}

fn task(number: usize) -> ViewEvent {
    let port = 31_000 + (number / AGENTS) as u64;
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    };
    let ports = v1::Resource {
        name: "ports".to_owned(),
        r#type: v1::value::Type::Ranges as i32,
        ranges: Some(v1::value::Ranges { range: vec![v1::value::Range { begin: port, end: port }] }),
        ..v1::Resource::default()
    };
    let label = |key: &str| v1::Label { key: key.to_owned(), value: Some("some value".to_owned()) };
    let info = v1::TaskInfo {
        name: format!("service-{number}"),
        task_id: v1::TaskId { value: format!("service-{number}") },
        agent_id: v1::AgentId { value: agent_id(number % AGENTS).to_string() },
        resources: vec![scalar("cpus", 0.5), scalar("mem", 128.0), ports],
        command: Some(v1::CommandInfo { value: Some("exec serve".to_owned()), ..v1::CommandInfo::default() }),
        labels: Some(v1::Labels { labels: vec![label("owner"), label("version")] }),
        ..v1::TaskInfo::default()
    };
    let info = convert::task::from_v1(info, framework_id(number % FRAMEWORKS).as_str());
    let statuses = vec![status(number, TaskState::Starting), status(number, TaskState::Running)];
    let executor_id = ExecutorId::trusted(info.task_id.as_str());
    let task = Task { info, executor_id, state: TaskState::Running, statuses, unacknowledged: None };
    ViewEvent::Task { framework_id: framework_id(number % FRAMEWORKS), role: RoleName::trusted("*"), task }
}

/// A request on a connection of its own: how long it took, and the bytes of the answer.
fn ask(address: SocketAddr, head: &str, body: &[u8]) -> (Duration, usize) {
    let begin = Instant::now();
    let mut socket = TcpStream::connect(address).expect("the edge listens");
    let head = format!("{head}Host: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).expect("a socket");
    socket.write_all(body).expect("a socket");
    // The answer is read, not kept: the memory of a client is not what is measured.
    let mut room = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let count = socket.read(&mut room).expect("an answer");
        if count == 0 {
            return (begin.elapsed(), bytes);
        }
        assert!(bytes > 0 || room.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&room[..count.min(200)]));
        bytes += count;
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n")
}

fn post(media: MediaType) -> String {
    format!("POST /api/v1 HTTP/1.1\r\nContent-Type: application/json\r\nAccept: {}\r\n", media.name())
}

pub(crate) fn measure() {
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let listener = server.block_on(async { kaon_http::listen((Ipv4Addr::LOCALHOST, 0).into()) }).expect("a port");
    let address = listener.local_addr().expect("an address");
    let edge = world::edge(address, || ());
    server.spawn(kaon_http::serve(listener, edge.clone(), Limits::default(), std::future::pending()));
    let (master_id, elected) = (MasterId::trusted("11111111-2222-3333-4444-555555555555"), WallTime(1));
    let reset = ViewEvent::Reset { master_id, term: Term(1), elected };
    let all = core::iter::once(reset)
        .chain((0..AGENTS).map(agent))
        .chain((0..FRAMEWORKS).map(framework))
        .chain((0..TASKS).map(task));
    for event in all {
        edge.emit(StreamId::VIEW, frame(&event));
    }
    let held =
        |edge: &MasterEdge| -> usize { edge.view().snapshot().frameworks.values().map(|one| one.tasks.len()).sum() };
    while held(&edge) < TASKS {
        std::thread::sleep(Duration::from_millis(5));
    }
    let state = br#"{"type":"GET_STATE"}"#.as_slice();
    let kinds = [
        ("GET /state", get("/state"), b"".as_slice()),
        ("GET_STATE, JSON", post(MediaType::Json), state),
        ("GET_STATE, protobuf", post(MediaType::Protobuf), state),
        ("GET /metrics/snapshot", get("/metrics/snapshot"), b""),
    ];
    for (name, head, body) in kinds {
        let is_over = Arc::new(AtomicBool::new(false));
        let telling = std::thread::spawn({
            let (edge, is_over) = (edge.clone(), Arc::clone(&is_over));
            move || {
                let (mut longest, mut number) = (Duration::ZERO, 0);
                while !is_over.load(Ordering::Relaxed) {
                    number = (number + 7919) % TASKS;
                    let event = ViewEvent::TaskUpdated {
                        framework_id: framework_id(number % FRAMEWORKS),
                        agent_id: agent_id(number % AGENTS),
                        status: status(number, TaskState::Running),
                        latest: TaskState::Running,
                    };
                    let event = frame(&event);
                    let begin = Instant::now();
                    edge.emit(StreamId::VIEW, event);
                    longest = longest.max(begin.elapsed());
                    std::thread::sleep(EVENT_EVERY);
                }
                longest
            }
        });
        let asking = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut times = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    times.push(ask(address, &get("/health"), b"").0);
                    std::thread::sleep(Duration::from_millis(5));
                }
                times
            }
        });
        let mut answers: Vec<(Duration, usize)> = (0..ROUNDS).map(|_| ask(address, &head, body)).collect();
        is_over.store(true, Ordering::Relaxed);
        let longest = telling.join().expect("it tells");
        let mut health = asking.join().expect("it asks");
        answers.sort_unstable();
        health.sort_unstable();
        println!(
            "state: {name} of {AGENTS} agents and {TASKS} tasks: {:?} (median of {ROUNDS}), {:?} at most, {} MB; the master \
             waited {longest:?} at most to tell of a change, /health took {:?} p99",
            answers[ROUNDS / 2].0,
            answers[ROUNDS - 1].0,
            answers[0].1 >> 20,
            percentile(&health, 0.99),
        );
    }
    server.shutdown_background();
}
