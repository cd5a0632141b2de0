//! 100,000 connections that ask for nothing, from several addresses, half of them after one request: what they cost, and what
//! those notice that work: a newcomer, a framework on its stream, a client whose own connection is idle.
//!
//! The master is a process of its own, since a process may have 20,000 descriptors where this was written: this program once
//! more. Whoever was put out by the master is let go on our side too; the others are held.

use crate::client::Framework;
use crate::world::{Tasks, World, percentile};
use kaon_http::codec::MediaType;
use nix::time::{ClockId, clock_gettime};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

const CONNECTIONS: usize = 100_000;

/// The addresses they come from; each has some 28,000 ports.
const SOURCES: usize = 8;

/// How often a message goes to the framework, and a newcomer asks for `/health`.
const EVERY: Duration = Duration::from_millis(10);

/// How long is measured before they come, and with all of them open.
const LENGTH: Duration = Duration::from_secs(10);

/// How many of them this process holds: more than the master does, and fewer than it may have descriptors.
const HELD_MAX: usize = 18_500;

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";

/// The word by which this program is the master.
pub(crate) const MASTER_WORD: &str = "idle-master";

/// What all processes of this machine agree on.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock").into()
}

/// A master that says where it is, is told a framework's id, and sends it the time until its input ends.
pub(crate) fn serve() {
    let world = World::new(1, 8, Tasks::Stay);
    println!("{}", world.address);
    let mut lines = std::io::stdin().lines();
    let id = lines.next().and_then(Result::ok).expect("an id");
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                world.agents.message(&id, (now().as_micros() as u64).to_le_bytes().to_vec());
                std::thread::sleep(EVERY);
            }
        });
        lines.for_each(drop);
        is_over.store(true, Ordering::Relaxed);
    });
    world.end();
}

struct Master {
    process: Child,
    address: SocketAddr,
}

impl Master {
    fn start() -> Self {
        let program = std::env::current_exe().expect("a program has a path");
        let mut process = Command::new(program)
            .arg(MASTER_WORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it is");
        Self { process, address: line.trim().parse().expect("an address") }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("it runs")
    }

    /// Seconds of all its threads.
    fn cpu_seconds(&self) -> f64 {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).expect("a number");
        // utime and stime, in ticks of 10 ms as Linux shows them.
        (ticks(11) + ticks(12)) / 100.0
    }

    fn resident_kib(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    }
}

pub(crate) fn measure() {
    let mut master = Master::start();
    let mut kept = TcpStream::connect(master.address).expect("the master listens");
    asked(&mut kept);
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let framework = client.block_on(Framework::subscribe(master.address, MediaType::Json, "load"));
    let mut input = master.process.stdin.take().expect("piped");
    writeln!(input, "{}", framework.id).expect("it listens");
    let events = Arc::new(Mutex::new(Vec::new()));
    let reading = client.spawn(read(framework, Arc::clone(&events)));
    let opened = Arc::new(AtomicUsize::new(0));
    let address = master.address;

    let begun = Instant::now();
    watch(&master, "before", &events, &|| begun.elapsed() > LENGTH);
    let flood = std::thread::spawn({
        let opened = Arc::clone(&opened);
        move || flood(address, &opened)
    });
    let begun = Instant::now();
    watch(&master, "while they come", &events, &|| flood.is_finished());
    println!("idle: {} connections were opened in {:?}", opened.load(Ordering::Relaxed), begun.elapsed());
    let held = flood.join().expect("it ends");
    let begun = Instant::now();
    watch(&master, "while they stand", &events, &|| begun.elapsed() > LENGTH);
    println!(
        "idle: {} of {CONNECTIONS} stand, the others were put out",
        held.iter().filter(|one| !is_put_out(one)).count()
    );
    asked(&mut kept);
    assert!(!reading.is_finished(), "the framework's stream stands");
    println!("idle: the connection that was idle before is still good, and so is the framework's stream");
    client.shutdown_background();
    drop((held, input));
    let _ = master.process.wait();
}

/// Notes what those who work notice until something holds.
fn watch(master: &Master, what: &str, events: &Mutex<Vec<Duration>>, is_over: &dyn Fn() -> bool) {
    let (mut newcomers, cpu, began) = (Vec::new(), master.cpu_seconds(), Instant::now());
    events.lock().expect("nobody panics with it").clear();
    while !is_over() {
        let begin = Instant::now();
        asked(&mut TcpStream::connect(master.address).expect("the master listens"));
        newcomers.push(begin.elapsed());
        std::thread::sleep(EVERY.saturating_sub(begin.elapsed()));
    }
    let mut events = std::mem::take(&mut *events.lock().expect("nobody panics with it"));
    let worst = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        let most = times.last().copied().unwrap_or_default();
        format!("{:?} p50, {:?} p99, {most:?} at most", percentile(times, 0.5), percentile(times, 0.99))
    };
    println!(
        "idle: {what}: a newcomer is answered in {}; an event is read after {}; the master takes {:.1} % of a processor and \
         {} MiB",
        worst(&mut newcomers),
        worst(&mut events),
        (master.cpu_seconds() - cpu) / began.elapsed().as_secs_f64() * 100.0,
        master.resident_kib() >> 10
    );
}

/// Opens connections and holds those that are not put out.
fn flood(address: SocketAddr, opened: &AtomicUsize) -> Vec<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut held: Vec<TcpStream> = Vec::new();
        for number in 0..CONNECTIONS {
            let socket = TcpSocket::new_v4().expect("a socket");
            let source = Ipv4Addr::new(127, 0, 0, 2 + (number % SOURCES) as u8);
            socket.bind((source, 0).into()).expect("a port");
            let connection = socket.connect(address).await.expect("the master listens");
            if number % 2 == 0 {
                // Its answer is not read: it lies in the socket.
                let _ = connection.try_write(REQUEST);
            }
            held.push(connection.into_std().expect("a socket"));
            opened.store(number + 1, Ordering::Relaxed);
            // Those that were put out are let go before there are too many for one process.
            if held.len() >= HELD_MAX {
                held.retain(|one| !is_put_out(one));
            }
        }
        held.retain(|one| !is_put_out(one));
        held
    })
}

/// Whether the other side has closed it.
fn is_put_out(socket: &TcpStream) -> bool {
    let mut rest = [0; 1024];
    let mut socket = socket;
    loop {
        match socket.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Asks for `/health` on a connection.
fn asked(socket: &mut TcpStream) {
    socket.write_all(REQUEST).expect("a connection that is good");
    let mut answer = [0; 512];
    let bytes = socket.read(&mut answer).expect("a connection that is good");
    let answer = String::from_utf8_lossy(&answer[..bytes]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

async fn read(mut framework: Framework, events: Arc<Mutex<Vec<Duration>>>) {
    loop {
        let Some(message) = framework.event().await.message else { continue };
        let mut micros = [0; 8];
        micros.copy_from_slice(&message.data[..8]);
        let took = now().saturating_sub(Duration::from_micros(u64::from_le_bytes(micros)));
        events.lock().expect("nobody panics with it").push(took);
    }
}
