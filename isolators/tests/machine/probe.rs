//! Probes of what runs: by a command, by a connection, by HTTP with and without TLS.

use crate::Test;
use crate::rig::{Machine, eventually, id, mark, shell, sleepers};
use kaon_kernel::check::{HttpTarget, TcpTarget};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, ExitStatus, LaunchSpec, Probe, ProbeResult};
use kaon_kernel::time::Duration as Length;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

pub(crate) const TESTS: &[Test] = &[
    ("probe::a_command_runs_beside_what_it_probes", a_command_runs_beside_what_it_probes),
    ("probe::a_command_that_hangs_is_ended_with_all_it_started", a_command_that_hangs_is_ended_with_all_it_started),
    ("probe::a_connection_is_accepted_or_not", a_connection_is_accepted_or_not),
    ("probe::http_is_asked_and_redirections_are_followed", http_is_asked_and_redirections_are_followed),
    ("probe::answers_have_bounds", answers_have_bounds),
    ("probe::certificates_do_not_matter", certificates_do_not_matter),
];

/// Long enough for all that is meant to succeed.
const LONG: Length = Length::secs(20);

fn probe(name: &str, probe: Probe, timeout: Length) -> ContainerRequest {
    ContainerRequest::Probe { container: id(name), of: id("task"), probe: Box::new(probe), timeout }
}

fn ask(machine: &Machine, request: ContainerRequest) -> Result<ProbeResult, String> {
    match machine.ask(request) {
        ContainerOutcome::Probed(result) => result,
        other => panic!("{other:?}"),
    }
}

fn beside(text: &str) -> Probe {
    Probe::Command(LaunchSpec { join: true, ..shell("task", text) })
}

fn a_command_runs_beside_what_it_probes() {
    let machine = Machine::new();
    machine.launch("task", shell("task", "echo word > file; exec sleep 1000"));
    eventually("the task has begun", || machine.sandbox("task").join("file").exists());
    let exited = |code| Ok(ProbeResult::Exited(ExitStatus::Code(code)));
    assert_eq!(ask(&machine, probe("p0", beside("test $(cat file) = word"), LONG)), exited(0), "in its sandbox");
    assert_eq!(ask(&machine, probe("p1", beside("exit 7"), LONG)), exited(7));
    assert_eq!(ask(&machine, probe("p2", beside("kill -9 $$"), LONG)), Ok(ProbeResult::Exited(ExitStatus::Signal(9))));
    let missing = Probe::Command(LaunchSpec { join: true, ..shell("nowhere", "true") });
    assert!(ask(&machine, probe("p3", missing, LONG)).is_err());
    for name in ["p0", "p1", "p2", "p3"] {
        assert!(!machine.record(name).exists(), "nothing is left of {name}");
    }
    machine.kill("task", Length::ZERO);
}

fn a_command_that_hangs_is_ended_with_all_it_started() {
    let machine = Machine::new();
    machine.launch("task", shell("task", "exec sleep 1000"));
    let mark = mark();
    let hanging = format!("trap '' TERM; sleep {mark} & sleep {mark}");
    let late = ask(&machine, probe("p0", beside(&hanging), Length::millis(300)));
    assert!(late.as_ref().is_err_and(|reason| reason.contains("timed out")), "{late:?}");
    assert_eq!(sleepers(&mark), Vec::<i32>::new());
    // The asker may lose its patience before.
    let waiting = machine.begin(probe("p1", beside(&hanging), Length::MAX));
    eventually("it hangs", || sleepers(&mark).len() == 2);
    machine.kill("p1", Length::ZERO);
    let ended = waiting.recv_timeout(crate::rig::PATIENCE).expect("an answer");
    assert_eq!(ended, ContainerOutcome::Probed(Ok(ProbeResult::Exited(ExitStatus::Signal(9)))));
    assert_eq!(sleepers(&mark), Vec::<i32>::new());
    machine.kill("task", Length::ZERO);
}

fn a_connection_is_accepted_or_not() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = TcpTarget { is_ipv6: false, port: listener.local_addr().expect("an address").port() };
    assert_eq!(ask(&machine, probe("p0", Probe::Tcp(at), LONG)), Ok(ProbeResult::Connected(true)));
    drop(listener);
    assert_eq!(ask(&machine, probe("p1", Probe::Tcp(at), LONG)), Ok(ProbeResult::Connected(false)));
    match TcpListener::bind("[::1]:0") {
        Ok(listener) => {
            let at = TcpTarget { is_ipv6: true, port: listener.local_addr().expect("an address").port() };
            assert_eq!(ask(&machine, probe("p2", Probe::Tcp(at), LONG)), Ok(ProbeResult::Connected(true)));
        }
        Err(error) => println!("SKIPPED: no IPv6 here ({error})"),
    }
}

/// Answers each connection with the text that belongs to the path that it asks for.
fn serve(listener: TcpListener, answers: fn(&str) -> String) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer(&stream, &stream, answers);
        }
    });
}

fn answer(from: impl Read, mut to: impl Write, answers: fn(&str) -> String) {
    let mut lines = BufReader::new(from).lines().map_while(Result::ok);
    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    // The head is read to its end: closing before would reset the connection.
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let _ = to.write_all(answers(&path).as_bytes());
}

fn http(listener: &TcpListener, is_secure: bool, path: &str) -> Probe {
    let at = TcpTarget { is_ipv6: false, port: listener.local_addr().expect("an address").port() };
    Probe::Http(HttpTarget { is_secure, at, path: path.to_owned() })
}

fn http_is_asked_and_redirections_are_followed() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    serve(listener.try_clone().expect("a listener"), |path| match path {
        "/" => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/gone?x=1" => "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/here" => "HTTP/1.1 302 Found\r\nlocation: /gone?x=1\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/round" => "HTTP/1.1 301 Moved\r\nlocation: round\r\ncontent-length: 0\r\n\r\n".to_owned(),
        // Without end: nobody waits for it.
        "/endless" => format!("HTTP/1.1 204 No\r\ncontent-length: 99999999\r\n\r\n{}", "x".repeat(100_000)),
        _ => "garbage\r\n\r\n".to_owned(),
    });
    let asked = |path: &str| ask(&machine, probe("p", http(&listener, false, path), LONG));
    assert_eq!(asked(""), Ok(ProbeResult::Answered(200)));
    assert_eq!(asked("/gone?x=1"), Ok(ProbeResult::Answered(410)));
    assert_eq!(asked("/here"), Ok(ProbeResult::Answered(410)));
    assert_eq!(asked("/endless"), Ok(ProbeResult::Answered(204)));
    assert!(asked("/round").is_err_and(|reason| reason.contains("redirections")));
    assert!(asked("/other").is_err());
}

fn answers_have_bounds() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    serve(listener.try_clone().expect("a listener"), |_| format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1 << 20)));
    let much = ask(&machine, probe("p0", http(&listener, false, "/"), LONG));
    assert!(much.as_ref().is_err_and(|reason| !reason.contains("timed out")), "{much:?}");
    // One that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let late = ask(&machine, probe("p1", http(&silent, false, "/"), Length::millis(200)));
    assert!(late.as_ref().is_err_and(|reason| reason.contains("timed out")), "{late:?}");
}

fn certificates_do_not_matter() {
    let machine = Machine::new();
    let signed = rcgen::generate_simple_self_signed(vec!["elsewhere".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let config = std::sync::Arc::new(builder.with_single_cert(vec![signed.cert.der().clone()], key).expect("a key"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (sender, served) = mpsc::channel();
    let accepting = listener.try_clone().expect("a listener");
    std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = accepting.accept().expect("a connection");
        let mut connection = rustls::ServerConnection::new(config).expect("a connection");
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut head = [0; 4096];
        let read = tls.read(&mut head).unwrap_or(0);
        let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        sender.send(String::from_utf8_lossy(&head[..read]).into_owned()).expect("heard");
    });
    assert_eq!(ask(&machine, probe("p", http(&listener, true, "/x"), LONG)), Ok(ProbeResult::Answered(204)));
    let head = served.recv_timeout(crate::rig::PATIENCE).expect("a request");
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
}
