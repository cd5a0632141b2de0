//! Tasks and executors of type DOCKER, seen from a framework, on an agent with a Docker engine of the test's own. The engine lives in a
//! network of its own, so that nothing of the machine's is touched.

use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An engine that ends with this object.
struct Engine {
    child: Child,
    directory: tempfile::TempDir,
}

impl Engine {
    /// Starts one with one image, `box:1`; says aloud why when it can't.
    fn start() -> Option<Self> {
        let has = |program: &str| Command::new("which").arg(program).output().is_ok_and(|found| found.status.success());
        if !nix::unistd::geteuid().is_root() || !has("dockerd") || !has("docker") || !Path::new("/bin/busybox").exists()
        {
            println!("SKIPPED, needs root, dockerd and /bin/busybox (busybox-static)");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let log = fs::File::create(at("log")).expect("a log");
        let mut engine = Command::new("unshare");
        engine.args(["--net", "--", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh", "dockerd"]);
        engine.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
        engine.args(["-H", &format!("unix://{}", at("socket"))]);
        let child = engine.stdout(Stdio::null()).stderr(log).spawn().expect("unshare");
        let engine = Self { child, directory };
        let begin = std::time::Instant::now();
        while !engine.docker(&["version"]).0 {
            if begin.elapsed() > std::time::Duration::from_secs(20) {
                let log = fs::read_to_string(engine.directory.path().join("log")).unwrap_or_default();
                println!("SKIPPED, dockerd does not start here: {}", log.lines().last().unwrap_or_default());
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let text = format!(
            "set -e; mkdir -p {d}/tree/bin {d}/tree/tmp; cp /bin/busybox {d}/tree/bin/
             for name in sh cat ls id sleep echo test env trap hostname; do ln -s busybox {d}/tree/bin/$name; done
             tar -C {d}/tree -c . | docker -H unix://{d}/socket import -c 'ENV OF=image' -c 'ENTRYPOINT [\"/bin/busybox\"]' \
             -c 'CMD [\"echo\", \"of\", \"the\", \"image\"]' - box:1",
            d = engine.directory.path().display()
        );
        let made = Command::new("sh").arg("-c").arg(text).stdout(Stdio::null()).status().expect("a shell");
        assert!(made.success(), "no image");
        Some(engine)
    }

    fn docker(&self, arguments: &[&str]) -> (bool, String) {
        let host = format!("unix://{}", self.directory.path().join("socket").display());
        let output = Command::new("docker").args(["-H", &host]).args(arguments).output().expect("docker");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn containers(&self) -> usize {
        self.docker(&["ps", "-aq"]).1.lines().count()
    }

    fn flags(&self) -> [String; 2] {
        let socket = self.directory.path().join("socket").display().to_string();
        ["--agent-flag=--containerizers=docker,mesos".to_owned(), format!("--agent-flag=--docker-socket={socket}")]
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
        let netns = self.directory.path().join("exec/netns/default");
        let _ = Command::new("umount").arg("-q").arg(netns).stderr(Stdio::null()).status();
    }
}

fn dockered(id: &str, command: &str) -> Value {
    let mut task = task(id, command);
    task["resources"] = json!([scalar("cpus", 0.2), scalar("mem", 48.0)]);
    task["container"] = json!({"type": "DOCKER", "docker": {"image": "box:1", "network": "NONE"}});
    task
}

fn found(cluster: &Cluster, name: &str, with: &str) -> Option<PathBuf> {
    let found = Command::new("find").arg(cluster.directory()).args(["-name", name]).output().expect("find");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let paths = found.lines().filter(|line| line.contains("/runs/") && line.contains(with));
    paths.map(PathBuf::from).find(|path| fs::metadata(path).is_ok_and(|data| data.len() > 0))
}

#[test]
fn docker_runs_what_asks_for_it_and_kaon_the_rest() {
    let Some(engine) = Engine::start() else { return };
    let flags = engine.flags();
    let cluster = Cluster::start_with(1, &[flags[0].as_str(), flags[1].as_str()]);
    let mut framework = Framework::subscribe_durably(&cluster.api, info("docker"));

    // Both kinds on one agent; output, variables, sandbox and volumes, limits, codes.
    let volume = engine.directory.path().join("tree/bin");
    let text = "echo out; echo err >&2; echo $OF $WHAT $MESOS_SANDBOX; cat /sys/fs/cgroup/memory/memory.limit_in_bytes; \
        ls volume/busybox; echo mine > file; exit 7";
    let mut seven = dockered("seven", text);
    seven["command"]["environment"] = json!({"variables": [{"name": "WHAT", "value": "task"}]});
    seven["container"]["volumes"] =
        json!([{"mode": "RO", "container_path": "volume", "host_path": volume.display().to_string()}]);
    seven["container"]["docker"]["parameters"] = json!([{"key": "workdir", "value": "/mnt/mesos/sandbox"}]);
    let mut of_image = dockered("image", "");
    of_image["command"] = json!({"shell": false});
    let mut absent = dockered("absent", "true");
    absent["container"]["docker"]["image"] = "127.0.0.1:1/none:1".into();
    let mut odd = dockered("odd", "true");
    odd["container"]["docker"]["parameters"] = json!([{"key": "rm", "value": "true"}]);
    // In a network of the engine's it has an address of its own, which is told.
    let mut bridged =
        dockered("bridged", "cd $MESOS_SANDBOX; hostname -i > address; while ! test -e go; do sleep 0.1; done");
    bridged["container"]["docker"]["network"] = "BRIDGE".into();
    framework.launch(vec![seven, of_image, absent, odd, bridged, task("plain", "true")]);
    framework.until("one to run in a network", |framework| framework.latest("bridged") == Some("TASK_RUNNING"));
    let status = framework.status("bridged").expect("it runs");
    let told = status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"].as_str();
    let address = wait_for("its address", SOON, || found(&cluster, "address", "/bridged/"));
    assert_eq!(told, Some(fs::read_to_string(&address).expect("a text").trim()), "{status}");
    fs::write(address.with_file_name("go"), "").expect("a file");
    framework.until("all to end", Framework::all_ended);
    assert_eq!(framework.latest("seven"), Some("TASK_FAILED"));
    let status = framework.status("seven").expect("a status");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("exited with status 7")), "{status}");
    assert_eq!((framework.latest("image"), framework.latest("plain")), (Some("TASK_FINISHED"), Some("TASK_FINISHED")));
    for (task, words) in [("absent", "can't fetch image"), ("odd", "the Docker parameter 'rm' can't be set")] {
        let status = framework.status(task).expect("a status");
        assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{status}");
        assert!(status["message"].as_str().is_some_and(|text| text.contains(words)), "{status}");
    }
    let out = fs::read_to_string(found(&cluster, "stdout", "/seven/").expect("output")).expect("a text");
    assert!(out.ends_with("out\nimage task /mnt/mesos/sandbox\n50331648\nvolume/busybox\n"), "{out}");
    let err = fs::read_to_string(found(&cluster, "stderr", "/seven/").expect("output")).expect("a text");
    assert!(err.contains("err\n"), "{err}");
    let out = fs::read_to_string(found(&cluster, "stdout", "/image/").expect("output")).expect("a text");
    assert!(out.contains("of the image\n"), "{out}");
    assert!(found(&cluster, "file", "/seven/").is_some());
    wait_for("nothing to be left at the engine", SOON, || (engine.containers() == 0).then_some(()));

    // A check runs inside; the agent is killed and finds it again; a kill has its grace.
    let text = "trap 'echo asked; exit 0' TERM; echo > /ready; while :; do sleep 0.1; done";
    let mut long = dockered("long", text);
    long["health_check"] = json!({"type": "COMMAND", "delay_seconds": 0.0, "interval_seconds": 0.1,
        "grace_period_seconds": 30.0, "command": {"value": "test -e /ready"}});
    let mut stubborn = dockered("stubborn", "trap '' TERM; while :; do sleep 0.1; done");
    stubborn["kill_policy"] = json!({"grace_period": {"nanoseconds": 300_000_000}});
    framework.launch(vec![long, stubborn]);
    framework.until("both to run", |framework| {
        framework.status("long").is_some_and(|status| status["healthy"] == json!(true))
            && framework.latest("stubborn") == Some("TASK_RUNNING")
    });
    assert_eq!(engine.containers(), 2);
    let before = engine.docker(&["ps", "-q", "--no-trunc"]).1;
    cluster.kill("agent-1");
    // What is launched on an offer of before it was killed is dropped, and launched again.
    let runs = |number: u32| {
        let name = format!("after-{number}");
        framework.launch(vec![dockered(&name, "true")]);
        let end = |framework: &Framework| matches!(framework.latest(&name), Some("TASK_FINISHED" | "TASK_DROPPED"));
        framework.until("an end", end);
        framework.latest(&name) == Some("TASK_FINISHED")
    };
    assert!((0..10).any(runs), "the agent comes back");
    assert_eq!(engine.docker(&["ps", "-q", "--no-trunc"]).1, before, "both go on");
    for task in ["long", "stubborn"] {
        framework.must("KILL", json!({"task_id": {"value": task}}));
    }
    framework.until("both to be killed", |framework| {
        ["long", "stubborn"].iter().all(|task| framework.latest(task) == Some("TASK_KILLED"))
    });
    let out = fs::read_to_string(found(&cluster, "stdout", "/long/").expect("output")).expect("a text");
    assert!(out.ends_with("asked\n"), "TERM reaches it: {out}");
    wait_for("nothing to be left at the engine", SOON, || (engine.containers() == 0).then_some(()));

    // What still runs at the end of the cluster is removed.
    framework.launch_until(vec![dockered("orphan", "while :; do sleep 0.1; done")], "TASK_RUNNING");
    assert_eq!(engine.containers(), 1);
    drop(framework);
    cluster.stop();
    assert_eq!(engine.containers(), 0, "the end of a cluster is that of its containers");
}
