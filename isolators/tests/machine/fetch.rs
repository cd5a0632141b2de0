//! What a command names is in its sandbox before it starts; what is hostile fails the launch and nothing else.

use crate::Test;
use crate::rig::{Machine, PATIENCE, all, eventually, id, root_or_skip, shell};
use crate::serve::{self, Server, redirect, whole};
use kaon_isolators::containers::Executable;
use kaon_isolators::fetcher::{ARGUMENT, Bounds, Fetcher, FetcherConfig};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, ExitStatus, LaunchSpec};
use kaon_kernel::task::Uri;
use kaon_kernel::time::Duration as Length;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("fetch::files_and_archives_are_there_before_the_program", files_and_archives_are_there_before_the_program),
    ("fetch::what_is_fetched_is_the_users_own", what_is_fetched_is_the_users_own),
    ("fetch::servers_that_lie_fail_the_launch", servers_that_lie_fail_the_launch),
    ("fetch::redirects_are_followed_as_far_as_is_safe", redirects_are_followed_as_far_as_is_safe),
    ("fetch::hostile_archives_fail_the_launch", hostile_archives_fail_the_launch),
    ("fetch::a_kill_ends_the_fetch", a_kill_ends_the_fetch),
    ("fetch::what_is_cached_is_fetched_once", what_is_cached_is_fetched_once),
    ("fetch::the_cache_is_bounded", the_cache_is_bounded),
    ("fetch::a_worker_dies_with_its_agent", a_worker_dies_with_its_agent),
    ("fetch::https_servers_are_verified", https_servers_are_verified),
];

pub(crate) fn uri(value: &str) -> Uri {
    Uri { value: value.to_owned(), executable: false, extract: true, cache: false, output_file: None }
}

fn cached(value: &str) -> Uri {
    Uri { cache: true, ..uri(value) }
}

fn fetching(name: &str, text: &str, uris: Vec<Uri>) -> LaunchSpec {
    LaunchSpec { uris, ..shell(name, text) }
}

/// A fetcher with small bounds.
fn small(config: FetcherConfig) -> impl FnOnce(&mut kaon_isolators::containers::ContainersConfig) {
    move |containers| {
        let executable = Executable::current().expect("own executable");
        containers.fetcher = Some(Fetcher::new(config, executable).expect("a fetcher"));
    }
}

fn refused(machine: &Machine, name: &str, uris: Vec<Uri>) -> String {
    let reason = machine.try_launch(name, fetching(name, "touch started", uris)).expect_err("it can't be fetched");
    assert!(!machine.sandbox(name).join("started").exists(), "nothing was started");
    reason
}

fn workers() -> Vec<i32> {
    let is_worker = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).nth(1) == Some(ARGUMENT.as_bytes())
    };
    all().into_iter().filter(is_worker).collect()
}

fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, body) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o755);
        // As it is written: the builder's own verb refuses what a test wants.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *body).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn files_and_archives_are_there_before_the_program() {
    let machine = Machine::new();
    let archive = tar_gz(&[("app/run", b"#!/bin/sh\necho from the archive\n")]);
    let server = Server::new(move |path, to| match path {
        "/app.tgz" => whole(to, &archive),
        "/tool?x=1" => whole(to, b"#!/bin/sh\necho from the tool\n"),
        _ => whole(to, b"plain"),
    });
    let local = machine.directory.path().join("local.txt");
    fs::write(&local, "local").unwrap();
    let uris = vec![
        uri(&server.uri("/app.tgz")),
        Uri { executable: true, output_file: Some("bin/tool".to_owned()), ..uri(&server.uri("/tool?x=1")) },
        Uri { extract: false, output_file: Some("kept.tgz".to_owned()), ..uri(&server.uri("/kept")) },
        uri(local.to_str().unwrap()),
        Uri { output_file: Some("again".to_owned()), ..uri(&format!("file://{}", local.display())) },
    ];
    let text = "app/run && bin/tool && cat kept.tgz local.txt again && ls";
    let (exit, out) = machine.run("a", fetching("a", text, uris));
    assert_eq!(exit.status, Some(ExitStatus::Code(0)), "{}", machine.output("a", "stderr"));
    assert!(out.starts_with("from the archive\nfrom the tool\nplainlocallocal"), "{out}");
    assert!(out.contains("app.tgz"), "what was downloaded stays, as in Mesos: {out}");
    let log = machine.output("a", "stderr");
    assert!(log.contains("Fetched http://127.0.0.1:") && log.contains("/tool?..."), "{log}");
    let statistics = machine.config.fetcher.as_ref().expect("there is one").statistics();
    assert_eq!((statistics.succeeded, statistics.failed), (1, 0));
}

fn what_is_fetched_is_the_users_own() {
    if !root_or_skip("files of the task's user, and what it may not read") {
        return;
    }
    let machine = Machine::new();
    fs::set_permissions(machine.directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let archive = tar_gz(&[("d/f", b"x")]);
    let server = Server::new(move |_, to| whole(to, &archive));
    let nobody = |name: &str, uris| LaunchSpec { user: Some("nobody".to_owned()), ..fetching(name, "cat d/f", uris) };
    let (exit, _) = machine.run("a", nobody("a", vec![uri(&server.uri("/a.tgz")), cached(&server.uri("/b.tgz"))]));
    assert_eq!(exit.status, Some(ExitStatus::Code(0)));
    let owner = nix::unistd::User::from_name("nobody").unwrap().expect("every machine has it").uid.as_raw();
    for path in ["a.tgz", "d", "d/f", "stderr"] {
        assert_eq!(fs::metadata(machine.sandbox("a").join(path)).unwrap().uid(), owner, "{path}");
    }
    assert!(!machine.sandbox("a").join("b.tgz").exists(), "an archive of the cache is only unpacked, as in Mesos");
    // What only root may read is not read for another, whatever the agent may.
    let secret = machine.directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for (name, one) in [("b", uri(secret.to_str().unwrap())), ("c", cached(secret.to_str().unwrap()))] {
        let reason = machine.try_launch(name, nobody(name, vec![one])).expect_err("it is not nobody's");
        assert!(reason.contains("secret': Permission denied"), "{reason}");
    }
    // Root got it, and its cache is not nobody's.
    machine.run("d", fetching("d", "cat secret", vec![cached(secret.to_str().unwrap())]));
    assert!(machine.try_launch("e", nobody("e", vec![cached(secret.to_str().unwrap())])).is_err());
}

fn servers_that_lie_fail_the_launch() {
    let config = FetcherConfig {
        stall_timeout: Duration::from_secs(1),
        bounds: Bounds { bytes_max: 1 << 20, ..Bounds::default() },
        ..FetcherConfig::default()
    };
    let machine = Machine::with(small(config));
    let server = Server::new(|path, to| {
        let ok = "HTTP/1.1 200 OK\r\n";
        let _ = match path {
            "/short" => write!(to, "{ok}Content-Length: 100\r\n\r\nshort"),
            "/long" => write!(to, "{ok}Content-Length: 1152921504606846976\r\n\r\nlong"),
            "/negative" => write!(to, "{ok}Content-Length: -1\r\n\r\nx"),
            "/chunk" => write!(to, "{ok}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx"),
            "/endless" => {
                let _ = write!(to, "{ok}Transfer-Encoding: chunked\r\n\r\n");
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
                while to.write_all(chunk.as_bytes()).is_ok() {}
                Ok(())
            }
            "/head" => {
                let _ = write!(to, "{ok}");
                while to.write_all(&b"X-Header: value\r\n".repeat(100)).is_ok() {}
                Ok(())
            }
            "/silent" | "/drip" => {
                let _ = write!(to, "{ok}Content-Length: 1000\r\n\r\nx");
                std::thread::sleep(Duration::from_secs(10));
                Ok(())
            }
            "/nothing" => {
                std::thread::sleep(Duration::from_secs(10));
                Ok(())
            }
            "/garbage" => to.write_all(&[0xff; 4000]),
            "/404" => write!(to, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            _ => write!(to, "HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx"),
        };
    });
    for (path, word) in [
        ("/short", "can't talk to the server"),
        ("/long", "1048576 bytes are not fetched"),
        ("/negative", "can't talk to the server"),
        ("/chunk", "can't talk to the server"),
        ("/endless", "1048576 bytes are not fetched"),
        ("/head", "can't talk to the server"),
        ("/silent", "nothing came for 1 s"),
        ("/nothing", "nothing came for 1 s"),
        ("/garbage", "can't talk to the server"),
        ("/404", "the server answered 404 Not Found"),
        ("/206", "the server answered 206"),
    ] {
        let reason = refused(&machine, &path[1..], vec![uri(&server.uri(path))]);
        assert!(reason.contains(word) && reason.contains(&server.uri(path)), "{path}: {reason}");
    }
    for (name, value, word) in [
        ("scheme", "ftp://127.0.0.1/x", "scheme 'ftp' is not served"),
        ("relative", "x/y", "--frameworks-home"),
        ("metadata", "http://169.254.169.254/latest/meta-data", "metadata services"),
        ("closed", "http://127.0.0.1:1/x", "refused"),
        ("device", "/dev/zero", "no plain file"),
        ("missing", "/no/such/file", "No such file"),
        ("directory", "/etc", "no plain file"),
        ("quote", "http://127.0.0.1/a'b", "a quote"),
    ] {
        let reason = refused(&machine, name, vec![uri(value)]);
        assert!(reason.contains(word), "{value}: {reason}");
    }
    let secret = server.uri("/404?token=hush").replace("http://", "http://user:hush@");
    let reason = refused(&machine, "secret", vec![uri(&secret)]);
    assert!(reason.contains("206") && !reason.contains("hush"), "{reason}");
    for output_file in ["../x", "/x", "a/../../x"] {
        let name = format!("out{}", output_file.len());
        let one = Uri { output_file: Some(output_file.to_owned()), ..uri(&server.uri("/short")) };
        assert!(refused(&machine, &name, vec![one]).contains("is refused"));
    }
    let many = vec![uri(&server.uri("/short")); 1025];
    assert!(refused(&machine, "many", many).contains("1025 URIs, at most 1024"));
}

fn redirects_are_followed_as_far_as_is_safe() {
    let machine = Machine::new();
    let other = Server::new(|_, to| whole(to, b"at last"));
    let there = other.uri("/end");
    let server = Server::new(move |path, to| match path {
        "/good" => redirect(to, "/next"),
        "/next" => redirect(to, &there),
        "/loop" => redirect(to, "/loop"),
        "/file" => redirect(to, "file:///etc/passwd"),
        "/metadata" => redirect(to, "http://169.254.169.254/latest/"),
        "/mapped" => redirect(to, "http://[::ffff:169.254.169.254]/latest/"),
        _ => redirect(to, "gopher://x"),
    });
    let secret = server.uri("/good").replace("http://", "http://user:pass@");
    let (_, out) = machine.run("a", fetching("a", "cat good", vec![uri(&secret)]));
    assert_eq!(out, "at last");
    assert!(server.heads.lock().unwrap()[1].contains("authorization: Basic dXNlcjpwYXNz"), "the same server");
    assert!(!other.heads.lock().unwrap()[0].to_lowercase().contains("authorization"), "another one");
    for (path, word) in [
        ("/loop", "10 redirects were not enough"),
        ("/file", "not http or https"),
        ("/metadata", "metadata services"),
        ("/mapped", "metadata services"),
        ("/gopher", "not http or https"),
    ] {
        let reason = refused(&machine, &path[1..], vec![uri(&server.uri(path))]);
        assert!(reason.contains(word), "{path}: {reason}");
    }
}

fn hostile_archives_fail_the_launch() {
    let bounds =
        Bounds { bytes_max: 4 << 20, entries_max: 100, ratio_free_bytes: 1 << 20, ratio_max: 50, ..Bounds::default() };
    let machine = Machine::with(small(FetcherConfig { bounds, ..FetcherConfig::default() }));
    let zeros = vec![0; 3 << 20];
    let names: Vec<String> = (0..200).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let archives = [
        ("escape", tar_gz(&[("../../escaped", b"x")]), "'..'"),
        ("absolute", tar_gz(&[("/tmp/kaon-escaped", b"x")]), "absolute"),
        ("bomb", tar_gz(&[("zeros", &zeros)]), "taken for a bomb"),
        ("many", tar_gz(&many), "100 entries"),
        ("damaged", tar_gz(&[("a", b"x")])[..20].to_vec(), "damaged"),
        ("empty", Vec::new(), "damaged"),
    ];
    let bodies = archives.clone();
    let server = Server::new(move |path, to| {
        let body = bodies.iter().find(|(name, ..)| path.starts_with(&format!("/{name}"))).map(|(_, body, _)| body);
        whole(to, body.expect("a known path"));
    });
    for (name, _, word) in archives {
        for (prefix, one) in
            [("", uri(&server.uri(&format!("/{name}.tgz")))), ("c", uri(&server.uri(&format!("/{name}.tar.gz"))))]
        {
            let reason = refused(&machine, &format!("{prefix}{name}"), vec![one]);
            assert!(reason.contains(word), "{name}: {reason}");
        }
    }
    assert!(!std::path::Path::new("/tmp/kaon-escaped").exists());
    assert!(!machine.config.work_directory.join("slaves/S0/escaped").exists());
    let statistics = machine.config.fetcher.as_ref().expect("there is one").statistics();
    assert_eq!((statistics.succeeded, statistics.failed), (0, 12));
}

/// A server whose answers never end, and a word when one begins.
fn hanging() -> (Server, mpsc::Receiver<()>) {
    let (began, begins) = mpsc::channel();
    let server = Server::new(move |_, to| {
        let _ = write!(to, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx");
        let _ = to.flush();
        let _ = began.send(());
        std::thread::sleep(PATIENCE);
    });
    (server, begins)
}

fn a_kill_ends_the_fetch() {
    let machine = Machine::new();
    let (server, begins) = hanging();
    for (name, one) in [("a", uri(&server.uri("/x"))), ("b", cached(&server.uri("/y")))] {
        let spec = Box::new(fetching(name, "touch started", vec![one]));
        let outcome = machine.begin(ContainerRequest::Launch { container: id(name), spec });
        begins.recv_timeout(PATIENCE).expect("it is being fetched");
        let killed = Instant::now();
        machine.kill(name, Length::secs(5));
        match outcome.recv_timeout(PATIENCE).expect("an answer") {
            ContainerOutcome::Failed { reason } => assert!(reason.contains("killed while"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(killed.elapsed() < Duration::from_secs(10), "it did not wait for the server");
        eventually("the worker is gone", || workers().is_empty());
        assert!(!machine.sandbox(name).join("started").exists());
    }
    // The cache lets go of it once the worker has been reaped.
    let fetcher = machine.config.fetcher.as_ref().expect("there is one");
    eventually("what nobody waits for leaves nothing", || fetcher.statistics().cache_bytes == 0);
}

fn what_is_cached_is_fetched_once() {
    let machine = Machine::new();
    let server = Server::new(|_, to| {
        // Long enough that all ask while it comes.
        std::thread::sleep(Duration::from_millis(300));
        whole(to, &vec![b'x'; 100_000]);
    });
    let one = server.uri("/shared");
    let names = ["a", "b", "c", "d", "e"];
    let outcomes: Vec<_> = names
        .map(|name| {
            let spec = Box::new(fetching(name, "wc -c shared", vec![cached(&one)]));
            machine.begin(ContainerRequest::Launch { container: id(name), spec })
        })
        .into();
    for (name, outcome) in names.into_iter().zip(outcomes) {
        let outcome = outcome.recv_timeout(PATIENCE).expect("an answer");
        assert!(matches!(outcome, ContainerOutcome::Launched { .. }), "{outcome:?}");
        machine.wait(name);
        assert!(machine.output(name, "stdout").starts_with("100000"));
    }
    assert_eq!(server.hits(), 1);
    machine.run("f", fetching("f", "true", vec![uri(&one)]));
    assert_eq!(server.hits(), 2, "who does not ask for the cache does not get it");
    let fetcher = machine.config.fetcher.clone().expect("there is one");
    assert_eq!(fetcher.statistics().cache_bytes, 100_000);
    // Another life begins with nothing.
    let config =
        FetcherConfig { cache_directory: Some(machine.directory.path().join("cache")), ..FetcherConfig::default() };
    let fresh = Fetcher::new(config, Executable::current().unwrap()).unwrap();
    assert_eq!(fresh.statistics().cache_bytes, 0);
    assert_eq!(fs::read_dir(machine.directory.path().join("cache")).unwrap().count(), 0);
}

fn the_cache_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let config = FetcherConfig {
        cache_directory: Some(directory.path().to_owned()),
        cache_bytes_max: 250_000,
        ..FetcherConfig::default()
    };
    let machine = Machine::with(small(config));
    let server = Server::new(|path, to| match path {
        "/large" => whole(to, &vec![b'x'; 300_000]),
        "/unknown" => {
            let _ = write!(to, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(300_000));
        }
        "/broken" => {
            let _ = write!(to, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx");
        }
        _ => whole(to, &vec![b'x'; 100_000]),
    });
    let mut number = 0;
    let mut fetch = |path: &str| {
        number += 1;
        let name = format!("c{number}");
        let before = server.hits();
        machine.run(&name, fetching(&name, "true", vec![cached(&server.uri(path))]));
        let bytes = machine.config.fetcher.as_ref().expect("there is one").statistics().cache_bytes;
        assert!(bytes <= 250_000, "{bytes}");
        let on_disk: u64 =
            fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(on_disk, bytes);
        server.hits() - before
    };
    assert_eq!([fetch("/a"), fetch("/b"), fetch("/a"), fetch("/b")], [1, 1, 0, 0]);
    assert_eq!([fetch("/a"), fetch("/c")], [0, 1], "the longest unused goes");
    assert_eq!([fetch("/a"), fetch("/b")], [0, 1], "b had gone");
    // What does not fit is asked for once for the cache, and fetched without it. It may take nothing of the cache along
    // that is larger than all of it.
    assert_eq!(fetch("/large"), 2);
    assert_eq!(fetch("/unknown"), 2);
    let reason = refused(&machine, "broken", vec![cached(&server.uri("/broken"))]);
    assert!(reason.contains("can't talk to the server"), "{reason}");
    fetch("/a");
}

fn a_worker_dies_with_its_agent() {
    let mut machine = Machine::new();
    machine.stop();
    let (server, begins) = hanging();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.arg("agent").arg(machine.directory.path()).arg("1000").arg(server.uri("/x"));
    let mut agent = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    begins.recv_timeout(PATIENCE).expect("it is being fetched");
    assert_eq!(workers().len(), 1);
    agent.kill().unwrap();
    agent.wait().unwrap();
    eventually("the worker is gone", || workers().is_empty());
    machine.start();
    machine.recover(&["c"]);
    assert_eq!(machine.wait("c").status, None, "it never ran");
}

fn https_servers_are_verified() {
    let (tls, pem) = serve::tls();
    let server = Server::with(Some(tls), |path, to| match path {
        "/down" => redirect(to, "http://127.0.0.1:1/"),
        _ => whole(to, b"secure"),
    });
    let secure = |path: &str| format!("https://127.0.0.1:{}{path}", server.port);
    let stranger = Machine::new();
    let reason = refused(&stranger, "a", vec![uri(&secure("/x"))]);
    assert!(reason.contains("certificate") || reason.contains("authority"), "{reason}");
    drop(stranger);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorities.pem");
    fs::write(&file, pem).unwrap();
    let friend = Machine::with(small(FetcherConfig { authorities: Some(file), ..FetcherConfig::default() }));
    let (_, out) = friend.run("a", fetching("a", "cat x", vec![uri(&secure("/x"))]));
    assert_eq!(out, "secure");
    assert!(refused(&friend, "b", vec![uri(&secure("/down"))]).contains("from https to http"));
    assert!(refused(&friend, "c", vec![uri(&secure("/x").replace("127.0.0.1", "localhost"))]).contains("can't talk"));
}
