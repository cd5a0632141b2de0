//! Tasks with images, seen from a framework, on an agent whose registry is a directory of archives.

use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ISOLATION: &str =
    "filesystem/linux,docker/runtime,namespaces/pid,namespaces/ipc,posix/rlimits,linux/capabilities";

/// A directory of archives with one image, made of this machine's busybox, as `docker save` writes them.
fn archives(directory: &Path) -> Option<PathBuf> {
    if !nix::unistd::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        println!("SKIPPED, needs root and /bin/busybox (Debian: busybox-static)");
        return None;
    }
    let (archives, parts) = (directory.join("archives"), directory.join("parts"));
    let text = format!(
        "set -e; mkdir -p {a} {p}/tree/bin {p}/tree/tmp {p}/image/0; cd {p}; cp /bin/busybox tree/bin/
         for name in sh cat ls id sleep echo test mkdir wc; do ln -s busybox tree/bin/$name; done
         echo of the image > tree/word
         tar -C tree -cf image/0/layer.tar .
         sum=$(sha256sum < image/0/layer.tar | cut -d' ' -f1)
         echo '{{\"os\":\"linux\",\"config\":{{\"Cmd\":[\"sh\",\"-c\",\"cat /word > out; id -u >> out; echo $WHAT >> out\"],\"Env\":[\"PATH=/bin\",\"WHAT=image\"]}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:'$sum'\"]}}}}' > image/config.json
         echo '[{{\"Config\":\"config.json\",\"RepoTags\":[\"team/box:1\"],\"Layers\":[\"0/layer.tar\"]}}]' > image/manifest.json
         mkdir -p {a}/team; tar -C image -cf {a}/team/box:1.tar 0/layer.tar config.json manifest.json",
        a = archives.display(),
        p = parts.display()
    );
    let made = Command::new("sh").arg("-c").arg(text).status().expect("a shell");
    assert!(made.success(), "the archive could not be made");
    Some(archives)
}

fn with_image(id: &str, command: &str) -> Value {
    let mut task = task(id, command);
    task["container"] =
        json!({"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": "team/box:1"}}}});
    task
}

fn found(cluster: &Cluster, name: &str) -> Option<PathBuf> {
    let found = Command::new("find").arg(cluster.directory()).args(["-name", name]).output().expect("find");
    String::from_utf8_lossy(&found.stdout).lines().find(|line| line.contains("/runs/")).map(PathBuf::from)
}

fn start(directory: &Path) -> Option<Cluster> {
    let registry = archives(directory)?;
    let registry = format!("--agent-flag=--docker-registry={}", registry.display());
    Some(Cluster::start_with(1, &["--isolation", ISOLATION, &registry]))
}

/// Nothing of any container is left below the agents' work directories.
fn nothing_is_left(cluster: &Cluster) -> bool {
    let text = format!("ls -d {}/*/provisioner/containers/* 2> /dev/null | wc -l", cluster.directory().display());
    let counted = Command::new("sh").arg("-c").arg(text).output().expect("a shell");
    String::from_utf8_lossy(&counted.stdout).trim() == "0"
}

#[test]
fn tasks_run_in_their_images_and_executors_beside_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = start(directory.path()) else { return };
    let mut framework = Framework::subscribe(&cluster.api, info("images"));

    // The image's own command, as the user that the task names, with the variables of both.
    let mut own = with_image("own", "");
    own["command"] = json!({"shell": false, "user": "nobody",
        "environment": {"variables": [{"name": "WHAT", "value": "task"}]}});
    framework.launch(vec![own]);
    framework.until("the image's command to end", |framework| framework.latest("own") == Some("TASK_FINISHED"));
    let out = fs::read_to_string(found(&cluster, "out").expect("it wrote")).expect("a text");
    assert_eq!(out, "of the image\n65534\ntask\n");

    // What it asks for is checked from within, what it may do is bounded, its volumes show, and a kill ends it.
    let text = "ls / > seen; cat /volume/word >> seen; cat /proc/self/status >> seen; mkdir -p /run; echo > /run/ready; \
         while :; do sleep 0.1; done";
    let mut long = with_image("long", text);
    let volume = directory.path().join("parts/tree");
    long["container"]["volumes"] =
        json!([{"mode": "RO", "container_path": "/volume", "host_path": volume.display().to_string()}]);
    long["health_check"] = json!({"type": "COMMAND", "delay_seconds": 0.0, "interval_seconds": 0.1,
        "grace_period_seconds": 20.0, "command": {"value": "test -e /run/ready && ! test -e /usr"}});
    long["container"]["linux_info"] = json!({"effective_capabilities": {"capabilities": ["CHOWN"]},
        "bounding_capabilities": {"capabilities": ["CHOWN"]}});
    framework.launch(vec![long]);
    framework.until("it to be healthy", |framework| {
        framework.status("long").is_some_and(|status| status["healthy"] == json!(true))
    });
    let seen = wait_for("what it saw", SOON, || {
        let text = fs::read_to_string(found(&cluster, "seen")?).ok()?;
        text.contains("nonvoluntary").then_some(text)
    });
    assert!(seen.starts_with("bin\ndev\netc\nmnt\nproc\n"), "{seen}");
    assert!(seen.contains("\nof the image\n") && seen.contains("CapBnd:\t0000000000000001\n"), "{seen}");
    framework.must("KILL", json!({"task_id": {"value": "long"}}));
    framework.until("it to be killed", |framework| framework.latest("long") == Some("TASK_KILLED"));

    // What is not there is told with its reason.
    let mut absent = with_image("absent", "true");
    absent["container"]["mesos"]["image"]["docker"]["name"] = "team/none:1".into();
    framework.launch(vec![absent]);
    framework.until("one to fail", |framework| framework.latest("absent") == Some("TASK_FAILED"));
    let status = framework.status("absent").expect("it failed");
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{status}");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("there is no image")), "{status}");
    wait_for("nothing to be left", SOON, || nothing_is_left(&cluster).then_some(()));

    // What nobody uses is removed when the operator says so.
    let agent = &cluster.members.last().expect("an agent").http;
    let layers = format!("ls {}/agent-1/store/docker/layers | wc -l", cluster.directory().display());
    let count = || {
        let counted = Command::new("sh").arg("-c").arg(&layers).output().expect("a shell");
        String::from_utf8_lossy(&counted.stdout).trim().to_owned()
    };
    let excluded = json!([{"type": "DOCKER", "docker": {"name": "team/box:1"}}]);
    for (excluded, left) in [(excluded, "1"), (json!([]), "0")] {
        let call = json!({"type": "PRUNE_IMAGES", "prune_images": {"excluded_images": excluded}});
        let answer = crate::client::post(agent, "/api/v1", &call);
        assert_eq!((answer.status, count().as_str()), (200, left));
    }
}

#[test]
fn members_of_a_pod_have_their_own_images_and_outlive_their_agent() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = start(directory.path()) else { return };
    let mut framework = Framework::subscribe(&cluster.api, info("images"));
    let offer = framework.offer();
    let executor = json!({"executor_id": {"value": "pod"}, "type": "DEFAULT", "framework_id": {"value": framework.id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 1.0)]});
    let mut boxed = with_image(
        "boxed",
        "cat /word > boxed-out; echo $MESOS_SANDBOX >> boxed-out; while ! test -e end; do sleep 0.1; done",
    );
    let mut plain = task("plain", "exec sleep 1000");
    for task in [&mut boxed, &mut plain] {
        task["agent_id"] = offer["agent_id"].clone();
        let id = task["task_id"]["value"].as_str().expect("an id").to_owned();
        framework.launched.insert(id, offer["agent_id"].clone());
    }
    boxed["health_check"] = json!({"type": "COMMAND", "delay_seconds": 0.0, "interval_seconds": 0.1,
        "command": {"value": "test -e /word && test -e boxed-out"}});
    let group = json!({"executor": executor, "task_group": {"tasks": [boxed, plain]}});
    let operations = json!([{"type": "LAUNCH_GROUP", "launch_group": group}]);
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations}));
    framework.until("both to run", |framework| {
        framework.status("boxed").is_some_and(|status| status["healthy"] == json!(true))
            && framework.latest("plain") == Some("TASK_RUNNING")
    });
    let out = wait_for("what it saw", SOON, || {
        let path = found(&cluster, "boxed-out")?;
        (fs::read_to_string(&path).ok()? == "of the image\n/mnt/mesos/sandbox\n").then_some(path)
    });
    cluster.kill("agent-1");
    fs::write(out.with_file_name("end"), "").expect("written");
    framework.until("the one with an image to end", |framework| framework.latest("boxed") == Some("TASK_FINISHED"));
    framework.must("KILL", json!({"task_id": {"value": "plain"}}));
    framework.until("the other to end", |framework| framework.latest("plain") == Some("TASK_KILLED"));
    wait_for("nothing to be left", SOON, || nothing_is_left(&cluster).then_some(()));
}
