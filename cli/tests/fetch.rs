//! What a task names is fetched before it starts, through the whole of a cluster: over the v1 API, from a server, with
//! archives that a machine's own tools made.

use crate::cluster::Cluster;
use crate::framework::{Framework, info, task};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server of files: those given, 404 for others, and an answer that never ends for `/hang`.
struct Server {
    port: u16,
    hits: Arc<AtomicUsize>,
}

impl Server {
    fn new(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (hits, files) = (Arc::new(AtomicUsize::new(0)), Arc::new(files));
        let counter = Arc::clone(&hits);
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (hits, files) = (Arc::clone(&counter), Arc::clone(&files));
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    let _ = stream.read_line(&mut line);
                    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    while stream.read_line(&mut line).is_ok_and(|read| read > 2) {}
                    hits.fetch_add(1, Ordering::SeqCst);
                    let body = files.iter().find(|(name, _)| *name == path).map(|(_, body)| body.clone());
                    let (status, body, length) = match body {
                        _ if path == "/hang" => ("200 OK", b"x".to_vec(), 1000),
                        Some(body) => ("200 OK", body.clone(), body.len()),
                        None => ("404 Not Found", Vec::new(), 0),
                    };
                    let stream = stream.get_mut();
                    let _ =
                        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(&body);
                    // Until who fetches goes away.
                    let _ = stream.read(&mut [0]);
                });
            }
        });
        Self { port, hits }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn fetching(id: &str, command: &str, uris: Value) -> Value {
    let mut task = task(id, command);
    task["command"]["uris"] = uris;
    task
}

fn ends(framework: &mut Framework, id: &str, state: &str) -> Value {
    let is_over = |framework: &Framework| framework.latest(id).is_some_and(crate::framework::is_terminal);
    framework.until("the end of a task", is_over);
    let status = framework.status(id).expect("it was waited for").clone();
    assert_eq!(status["state"], state, "{status}");
    status
}

/// What a shell makes of a directory with a program in it; the tools are on every machine that runs these tests.
fn packed(command: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("app")).expect("a directory");
    std::fs::write(directory.path().join("app/run"), "echo it runs\n").expect("a file");
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(directory.path()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{command}");
    output.stdout
}

#[test]
fn a_task_starts_with_what_it_names() {
    let mut tar = Command::new("tar");
    if !tar.arg("--version").output().is_ok_and(|output| output.status.success()) {
        return println!("SKIPPED, no tar on this machine: archives of its own making");
    }
    let server = Server::new(vec![
        ("/app.tgz", packed("tar czf - app")),
        ("/tool", b"#!/bin/sh\necho a tool\n".to_vec()),
        ("/data", b"data".to_vec()),
    ]);
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("fetching"));
    let offer = framework.offer();
    let uris = json!([{"value": server.uri("/app.tgz")}, {"value": server.uri("/tool"), "executable": true},
        {"value": server.uri("/data"), "output_file": "in/there", "cache": true}]);
    let command = "sh app/run && ./tool && test $(cat in/there) = data";
    framework.accept(&[&offer], vec![fetching("a", command, uris.clone())], 0.1);
    ends(&mut framework, "a", "TASK_FINISHED");
    let before = server.hits.load(Ordering::SeqCst);
    assert_eq!(before, 3);
    let offer = framework.offer();
    framework.accept(&[&offer], vec![fetching("b", command, uris)], 0.1);
    ends(&mut framework, "b", "TASK_FINISHED");
    assert_eq!(server.hits.load(Ordering::SeqCst), before + 2, "what is cached is not fetched again");
    framework.teardown();
}

#[test]
fn what_cannot_be_fetched_fails_its_task_with_the_reason() {
    let bomb = packed("head -c 300000000 /dev/zero | gzip -9");
    let server = Server::new(vec![
        ("/escape.tar", packed("tar cPf - ../$(basename $PWD)/app/run")),
        ("/absolute.tar", packed("tar cPf - $PWD/app/run")),
        ("/link.tar", packed("ln -s / app/link && tar cf - app")),
        ("/pipe.tar", packed("mkfifo app/pipe && tar cf - app")),
        ("/bomb.gz", bomb),
        ("/broken.tgz", b"\x1f\x8bnothing".to_vec()),
    ]);
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("unlucky"));
    for (number, (value, word)) in [
        (server.uri("/missing"), "404 Not Found"),
        (server.uri("/escape.tar"), "'..'"),
        (server.uri("/absolute.tar"), "absolute"),
        (server.uri("/link.tar"), "a link to an absolute path"),
        (server.uri("/pipe.tar"), "a pipe"),
        (server.uri("/bomb.gz"), "taken for a bomb"),
        (server.uri("/broken.tgz"), "damaged"),
        ("http://169.254.169.254/latest/meta-data/iam".to_owned(), "metadata services"),
        ("ftp://127.0.0.1/x".to_owned(), "scheme 'ftp'"),
        ("/dev/zero".to_owned(), "no plain file"),
        ("relative".to_owned(), "--frameworks-home"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("f{number}");
        let offer = framework.offer();
        framework.accept(&[&offer], vec![fetching(&id, "touch /tmp/never", json!([{"value": value}]))], 0.1);
        let status = ends(&mut framework, &id, "TASK_FAILED");
        assert_eq!(
            (&status["source"], &status["reason"]),
            (&json!("SOURCE_AGENT"), &json!("REASON_CONTAINER_LAUNCH_FAILED"))
        );
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.contains(word) && message.contains(&value), "{value}: {message}");
    }
    framework.teardown();
}

#[test]
fn a_task_that_is_killed_while_it_is_fetched_ends_at_once() {
    let server = Server::new(Vec::new());
    let cluster = Cluster::start(1);
    let mut framework = Framework::subscribe(&cluster.api, info("impatient"));
    let offer = framework.offer();
    framework.accept(&[&offer], vec![fetching("a", "true", json!([{"value": server.uri("/hang")}]))], 0.1);
    framework.until("the fetch", |_| server.hits.load(Ordering::SeqCst) == 1);
    framework.must("KILL", json!({"task_id": {"value": "a"}, "agent_id": offer["agent_id"]}));
    let status = ends(&mut framework, "a", "TASK_KILLED");
    assert_eq!(status["reason"], "REASON_TASK_KILLED_DURING_LAUNCH");
    // Its resources come back: the launch is over, not only told to be.
    let offer = framework.offer();
    framework.accept(&[&offer], vec![task("b", "true")], 0.1);
    ends(&mut framework, "b", "TASK_FINISHED");
    framework.teardown();
}
