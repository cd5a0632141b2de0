//! The agent's endpoints; above all that its files stay those of its sandboxes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use kaon_http::{AgentConfig, AgentEdge, Limits, Sample, Verbosity};
use kaon_kernel::actor::HostId;
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::resource::parse::resources;
use serde_json::json;

use super::rig::{Answer, Server, get};

const RUN: &str = "slaves/m-S1/frameworks/f/executors/e/runs/c1";

struct Agent {
    work: tempfile::TempDir,
    server: Server,
}

impl Agent {
    async fn start() -> Self {
        let work = tempfile::tempdir().expect("a directory");
        let sandbox = work.path().join(RUN);
        fs::create_dir_all(sandbox.join("inner")).expect("made");
        fs::write(sandbox.join("stdout"), "hello\nworld\n").expect("written");
        fs::write(sandbox.join("inner/data.json"), "{}").expect("written");
        fs::write(sandbox.join("big"), vec![b'x'; 200_000]).expect("written");
        fs::write(work.path().join("secret"), "key").expect("written");
        let info = AgentInfo {
            hostname: "a.test".to_owned(),
            ip: "10.0.0.2".to_owned(),
            port: 5051,
            resources: resources("cpus:2;mem:64").expect("valid"),
            version: "0.1.0".to_owned(),
            ..AgentInfo::default()
        };
        let config = AgentConfig {
            pruner: None,
            work_dir: work.path().to_owned(),
            info,
            flags: BTreeMap::new(),
            metrics: Arc::new(|| vec![Sample::gauge("slave/registered", 1.0)]),
            host: HostId(2),
            tokens: None,
            containers: Arc::new(Vec::new),
            verbosity: Verbosity::mute(),
            log: None,
            calls: None,
        };
        let server = Server::start(AgentEdge::new(config), Limits::default()).await;
        Self { work, server }
    }

    fn sandbox(&self) -> std::path::PathBuf {
        self.work.path().join(RUN)
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.server.address, path).await
    }

    /// An endpoint of files, for a path below the sandbox, by its real path.
    async fn file(&self, endpoint: &str, below: &str, more: &str) -> Answer {
        let path = self.sandbox().join(below);
        self.get(&format!("/files/{endpoint}?path={}{more}", path.display())).await
    }
}

#[tokio::test]
async fn an_agent_says_who_it_is() {
    let agent = Agent::start().await;
    for path in ["/health", "/slave(1)/health", "/slave%281%29/health"] {
        assert_eq!(agent.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(agent.get("/version").await.json()["version"], "1.11.0");
    let state = agent.get("/slave(1)/state").await.json();
    assert_eq!(state["id"], "m-S1", "read off its sandboxes");
    assert_eq!(state["pid"], "slave(1)@10.0.0.2:5051");
    assert_eq!(state["resources"]["cpus"], 2.0);
    let numbers = agent.get("/metrics/snapshot").await.json();
    assert_eq!((&numbers["slave/registered"], &numbers["slave/mem_total"]), (&json!(1.0), &json!(64.0)));
    assert!(agent.get("/metrics").await.text().contains("slave_registered 1\n"));
    assert_eq!(agent.get("/nope").await.status(), 404);
    assert_eq!(agent.get("/api/v1/executor").await.status(), 405);
}

#[tokio::test]
async fn files_are_browsed_read_and_downloaded() {
    let agent = Agent::start().await;
    let listed = agent.file("browse", "", "").await.json();
    let names: Vec<_> =
        listed.as_array().expect("a list").iter().map(|one| one["path"].as_str().expect("a path")).collect();
    let sandbox = agent.sandbox();
    let expected = ["big", "inner", "stdout"].map(|name| sandbox.join(name).display().to_string());
    assert_eq!(names, expected);
    assert_eq!(listed[2]["size"], 12);
    assert!(listed[2]["mode"].as_str().is_some_and(|mode| mode.starts_with("-rw")), "{listed}");
    assert!(listed[1]["mode"].as_str().is_some_and(|mode| mode.starts_with("drwx")), "{listed}");

    assert_eq!(agent.file("read", "stdout", "").await.json(), json!({"offset": 12, "data": ""}));
    assert_eq!(agent.file("read", "stdout", "&offset=-1&length=5").await.json(), json!({"offset": 12, "data": ""}));
    let piece = agent.file("read", "stdout", "&offset=6&length=3").await.json();
    assert_eq!(piece, json!({"offset": 6, "data": "wor"}));
    assert_eq!(agent.file("read", "stdout", "&offset=99").await.json(), json!({"offset": 99, "data": ""}));
    let end = agent.file("read", "stdout", "&offset=18446744073709551615").await.json();
    assert_eq!(end["data"], "");
    let big = agent.file("read", "big", "&offset=0&length=-1").await.json();
    assert_eq!(big["data"].as_str().map(str::len), Some(65_536));

    let whole = agent.file("download", "big", "").await;
    assert_eq!((whole.status(), whole.body.len()), (200, 200_000));
    assert_eq!(whole.head.header("content-disposition"), Some("attachment; filename=\"big\""));
    assert_eq!(whole.head.header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        agent.file("download", "inner/data.json", "").await.head.header("content-type"),
        Some("application/json")
    );
    assert_eq!(agent.file("download", "stdout", "&offset=6").await.text(), "world\n");
    for beyond in ["12", "13", "18446744073709551615"] {
        let none = agent.file("download", "stdout", &format!("&offset={beyond}")).await;
        assert_eq!((none.status(), none.body.len()), (200, 0), "{beyond}");
    }
    for (endpoint, below, more, status) in [
        ("read", "", "", 400),
        ("download", "inner", "", 400),
        ("read", "none", "", 404),
        ("browse", "stdout", "", 404),
        ("read", "stdout", "&offset=-2", 400),
        ("download", "stdout", "&offset=x", 400),
    ] {
        let answer = agent.file(endpoint, below, more).await;
        assert_eq!(answer.status(), status, "{endpoint} {below} {more}");
    }
    assert_eq!(agent.get("/files/read").await.status(), 400);
}

#[tokio::test]
async fn the_latest_run_has_a_name_of_its_own() {
    let agent = Agent::start().await;
    let runs = agent.work.path().join("slaves/m-S1/frameworks/f/executors/e/runs");
    let newer = runs.join("c2");
    fs::create_dir(&newer).expect("made");
    fs::write(newer.join("stdout"), "second").expect("written");
    let old = fs::File::open(runs.join("c1")).expect("there");
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    old.set_modified(past).expect("set");
    let alias = "/frameworks/f/executors/e/runs";
    for (path, text) in [
        (format!("{alias}/latest/stdout"), "second"),
        (format!("{alias}/c1/stdout"), "hello\nworld\n"),
        (runs.join("latest/stdout").display().to_string(), "second"),
    ] {
        for endpoint in ["/files/download", "/slave(1)/files/download.json"] {
            let answer = agent.get(&format!("{endpoint}?path={path}")).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, text), "{path}");
        }
    }
    let listed = agent.get(&format!("/files/browse?path={alias}/latest/")).await.json();
    assert_eq!(listed[0]["path"], format!("{alias}/latest/stdout"));
    assert_eq!(agent.get("/files/browse?path=/frameworks/g/executors/e/runs/latest").await.status(), 404);
}

#[tokio::test]
async fn nothing_outside_of_a_sandbox_is_given() {
    let agent = Agent::start().await;
    let (sandbox, work) = (agent.sandbox(), agent.work.path().to_owned());
    let link = |to: &Path, name: &str| symlink(to, sandbox.join(name)).expect("made");
    link(&work.join("secret"), "link");
    link(Path::new("/etc"), "etc");
    link(Path::new("stdout"), "inside");
    link(Path::new("/proc/self/environ"), "environ");
    nix::unistd::mkfifo(&sandbox.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.join("socket")).expect("made");
    for name in ["link", "etc/passwd", "inside", "environ", "pipe", "socket", "../../../../../../../../secret"] {
        for endpoint in ["read", "download", "browse"] {
            let answer = agent.file(endpoint, name, "&offset=0").await;
            assert!((400..=404).contains(&answer.status()), "{endpoint} {name} answered {}", answer.status());
        }
    }
    let work = work.display();
    for path in [
        "/etc/passwd".to_owned(),
        "/".to_owned(),
        "//".to_owned(),
        format!("{work}"),
        format!("{work}/secret"),
        format!("{work}/slaves"),
        format!("{work}/slaves/m-S1/frameworks/f/executors/e/runs"),
        format!("{work}/meta/slaves/latest"),
        format!("{work}x/{RUN}/stdout"),
        format!("{work}/{RUN}/../c1/stdout"),
        format!("{work}/{RUN}/./stdout"),
        format!("{work}/{RUN}/%2e%2e/c1/stdout"),
        format!("{work}/{RUN}/stdout%00"),
        format!("{work}/{RUN}/{}", "a/".repeat(200)),
        format!("{work}/{RUN}/{}", "a".repeat(5000)),
        "/frameworks/../../secret".to_owned(),
        "/frameworks/f/executors/e/runs/../../../../../../../secret".to_owned(),
        "%ff".to_owned(),
    ] {
        for endpoint in ["read", "download", "browse"] {
            let answer = agent.get(&format!("/files/{endpoint}?path={path}&offset=0")).await;
            assert!((400..=404).contains(&answer.status()), "{endpoint} {path} answered {}", answer.status());
            assert!(!answer.text().contains("key"), "{path}");
        }
    }
    // What is listed is the link itself, not what it leads to.
    let listed = agent.file("browse", "", "").await.json();
    let entry = listed
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["path"].as_str().is_some_and(|path| path.ends_with("/link")));
    assert!(entry.expect("listed")["mode"].as_str().is_some_and(|mode| mode.starts_with('l')));
    agent.file("download", "stdout", "").await.text().starts_with("hello").then_some(()).expect("still there");
}

/// Attack 46: between two steps on the way to a file its owner puts links in the place of the file and of its directory.
#[tokio::test]
async fn links_swapped_in_while_it_is_read_lead_nowhere() {
    let agent = Agent::start().await;
    let (sandbox, work) = (agent.sandbox(), agent.work.path().to_owned());
    let put = |name: &str| sandbox.join(name);
    fs::create_dir(put("own")).expect("made");
    fs::write(put("own/secret"), "mine").expect("written");
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let (over, sandbox) = (Arc::clone(&over), sandbox.clone());
        move || {
            let at = |name: &str| sandbox.join(name);
            let mut swaps = 0_u32;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(at("next"), "mine").expect("written");
                fs::rename(at("next"), at("file")).expect("renamed");
                symlink(work.join("secret"), at("next")).expect("made");
                fs::rename(at("next"), at("file")).expect("renamed");
                fs::rename(at("own"), at("way")).expect("renamed");
                fs::rename(at("way"), at("own")).expect("renamed");
                symlink(&work, at("way")).expect("made");
                fs::remove_file(at("way")).expect("removed");
                swaps += 1;
            }
            swaps
        }
    });
    let mut answers = std::collections::BTreeMap::new();
    for _ in 0..300 {
        for (endpoint, below) in
            [("read", "file"), ("download", "file"), ("read", "way/secret"), ("download", "way/secret")]
        {
            let answer = agent.file(endpoint, below, "&offset=0").await;
            *answers.entry(answer.status()).or_insert(0) += 1;
            assert!(!answer.text().contains("key"), "{endpoint} {below} gave what lies outside");
        }
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let swaps = swapping.join().expect("it swapped");
    assert!(swaps > 100 && answers.len() > 1, "{swaps} swaps, answers {answers:?}: nothing was raced");
}

#[tokio::test]
async fn a_second_name_of_somebody_elses_file_is_not_read() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can give a sandbox to another user");
        return;
    }
    let agent = Agent::start().await;
    let sandbox = agent.sandbox();
    fs::hard_link(agent.work.path().join("secret"), sandbox.join("hard")).expect("made");
    fs::hard_link(sandbox.join("stdout"), sandbox.join("again")).expect("made");
    let nobody = Some(nix::unistd::Uid::from_raw(65_534));
    nix::unistd::chown(&sandbox, nobody, None).expect("given away");
    nix::unistd::chown(&sandbox.join("stdout"), nobody, None).expect("given away");
    assert_eq!(agent.file("download", "hard", "").await.status(), 403);
    assert_eq!(agent.file("download", "again", "").await.text(), "hello\nworld\n");
}
