//! Tasks with images, seen from a framework, on an agent whose registry is a directory of archives.

use crate::cluster::Cluster;
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    start_with(directory, ISOLATION, &[])
}

fn start_with(directory: &Path, isolation: &str, flags: &[&str]) -> Option<Cluster> {
    let registry = archives(directory)?;
    let registry = format!("--agent-flag=--docker-registry={}", registry.display());
    Some(Cluster::start_with(1, &[&["--isolation", isolation, &registry], flags].concat()))
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

/// A volume of a task.
fn volume(path: &str, mode: &str, source: Value) -> Value {
    json!({"mode": mode, "container_path": path, "source": source})
}

#[test]
fn members_of_a_pod_share_a_directory_and_have_volumes_with_an_image_and_without() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    for name in ["secrets", "host"] {
        fs::create_dir(place(name)).expect("a directory");
    }
    fs::write(place("secrets/key"), "k3y\n").expect("a file");
    fs::write(place("host/word"), "of the host\n").expect("a file");
    let resolver = format!("--agent-flag=--secret-resolver={}", place("secrets").display());
    let isolation = format!("{ISOLATION},volume/secret");
    let Some(cluster) = start_with(directory.path(), &isolation, &[&resolver]) else { return };
    let mut framework = Framework::subscribe(&cluster.api, info("pods"));
    let offer = framework.offer();
    let executor = json!({"executor_id": {"value": "pod"}, "type": "DEFAULT", "framework_id": {"value": framework.id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 1.0)]});
    let shared = json!({"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "shared"}});
    let own = json!({"type": "SANDBOX_PATH", "sandbox_path": {"type": "SELF", "path": "inner"}});
    let host = json!({"type": "HOST_PATH", "host_path": {"path": place("host").display().to_string()}});
    let key = json!({"type": "SECRET", "secret": {"type": "REFERENCE", "reference": {"name": "key"}}});
    let volumes = json!([
        volume("common", "RW", shared),
        volume("mine", "RW", own),
        volume("host", "RO", host),
        volume("key", "RO", key)
    ]);
    // Each says its word to all, hears that of the other, and looks at what else it has.
    let text = |own: &str, other: &str| {
        format!(
            "echo {own} > common/{own}; while ! test -s common/{other}; do sleep 0.1; done
             echo x > mine/f; (echo no > host/new) 2> /dev/null || cat common/{other} host/word key inner/f > {own}-out
             while :; do sleep 0.1; done"
        )
    };
    let mut tasks = vec![with_image("boxed", &text("boxed", "plain")), task("plain", &text("plain", "boxed"))];
    tasks[1]["container"] = json!({"type": "MESOS"});
    for task in &mut tasks {
        task["container"]["volumes"] = volumes.clone();
        task["command"]["user"] = "nobody".into();
        task["agent_id"] = offer["agent_id"].clone();
        let id = task["task_id"]["value"].as_str().expect("an id").to_owned();
        framework.launched.insert(id, offer["agent_id"].clone());
    }
    let group = json!({"executor": executor, "task_group": {"tasks": tasks}});
    let operations = json!([{"type": "LAUNCH_GROUP", "launch_group": group}]);
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations}));
    framework.until("both to run", |framework| {
        ["boxed", "plain"].iter().all(|id| framework.latest(id) == Some("TASK_RUNNING"))
    });
    for (name, other) in [("boxed", "plain"), ("plain", "boxed")] {
        wait_for("what it had", SOON, || {
            let text = fs::read_to_string(found(&cluster, &format!("{name}-out"))?).ok()?;
            (text == format!("{other}\nof the host\nk3y\nx\n")).then_some(())
        });
    }
    let common = found(&cluster, "shared").expect("a directory of the executor's sandbox");
    assert!(!common.to_string_lossy().contains("/containers/"), "{}", common.display());
    assert!(common.join("boxed").exists() && common.join("plain").exists());
    assert!(found(&cluster, "key").is_none_or(|path| fs::read(path).is_ok_and(|bytes| bytes.is_empty())));
    assert!(!place("host/new").exists());
    framework.must("KILL", json!({"task_id": {"value": "plain"}}));
    framework.until("all to end", Framework::all_ended);
    wait_for("nothing to be left", SOON, || nothing_is_left(&cluster).then_some(()));
    framework.teardown();
}

/// `--image-gc-config`: what is excluded stays, what is used stays as long as it is, and the rest goes by itself.
#[test]
fn images_that_nobody_uses_go_when_the_disk_is_full() {
    let directory = tempfile::tempdir().expect("a directory");
    // Less than all of it is free on every disk.
    let config = |excluded: Value| {
        let watch = json!({"nanoseconds": 100_000_000});
        let all = json!({"image_disk_headroom": 1.0, "image_disk_watch_interval": watch, "excluded_images": excluded});
        format!("--agent-flag=--image-gc-config={all}")
    };
    let layers = |cluster: &Cluster| {
        let listed = fs::read_dir(cluster.directory().join("agent-1/store/docker/layers"));
        listed.map_or(0, Iterator::count)
    };
    // Each look begins with what is left in staging: when a second plant is gone, the look that took the first is over.
    let looked = |cluster: &Cluster| {
        let left = cluster.directory().join("agent-1/store/docker/staging/left");
        for _ in 0..2 {
            fs::create_dir(&left).expect("a directory");
            wait_for("a look", SOON, || (!left.exists()).then_some(()));
        }
    };
    for is_excluded in [false, true] {
        let excluded = json!([{"type": "DOCKER", "docker": {"name": "team/box:1"}}]);
        let flag = config(if is_excluded { excluded } else { json!([]) });
        let Some(cluster) = start_with(directory.path(), ISOLATION, &[&flag]) else { return };
        let mut framework = Framework::subscribe(&cluster.api, info("images"));
        let mut boxed = with_image("boxed", "while ! test -e end; do sleep 0.1; done");
        boxed["command"]["user"] = "root".into();
        framework.launch_until(vec![boxed], "TASK_RUNNING");
        looked(&cluster);
        assert_eq!(layers(&cluster), 1, "it is used");
        framework.must("KILL", json!({"task_id": {"value": "boxed"}}));
        framework.until("it to end", Framework::all_ended);
        wait_for("nothing to be leased", SOON, || nothing_is_left(&cluster).then_some(()));
        looked(&cluster);
        match is_excluded {
            true => assert_eq!(layers(&cluster), 1, "it is excluded"),
            false => wait_for("the image to go", SOON, || (layers(&cluster) == 0).then_some(())),
        }
        framework.teardown();
        drop(cluster);
        for name in ["archives", "parts"] {
            fs::remove_dir_all(directory.path().join(name)).expect("made by this test");
        }
    }
}

#[test]
fn persistent_volumes_show_in_images() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = start(directory.path()) else { return };
    let mut words = info("images");
    words["roles"] = json!(["web"]);
    words["principal"] = json!("tester");
    words["capabilities"].as_array_mut().expect("a list").push(json!({"type": "RESERVATION_REFINEMENT"}));
    let mut framework = Framework::subscribe(&cluster.api, words);
    let offer = framework.offer();
    let mut reserved = scalar("disk", 32.0);
    reserved["reservations"] = json!([{"type": "DYNAMIC", "role": "web", "principal": "tester"}]);
    let mut kept = reserved.clone();
    kept["disk"] = json!({"persistence": {"id": "kept", "principal": "tester"},
        "volume": {"container_path": "data", "mode": "RW"}});
    let mut boxed = with_image("boxed", "cat /word > data/file && exec sleep 1000");
    boxed["agent_id"] = offer["agent_id"].clone();
    boxed["resources"].as_array_mut().expect("a list").push(kept.clone());
    framework.launched.insert("boxed".to_owned(), offer["agent_id"].clone());
    let operations = json!([{"type": "RESERVE", "reserve": {"resources": [reserved]}},
        {"type": "CREATE", "create": {"volumes": [kept]}}, {"type": "LAUNCH", "launch": {"task_infos": [boxed]}}]);
    framework.must("ACCEPT", json!({"offer_ids": [offer["id"]], "operations": operations}));
    framework.until("it to run", |framework| framework.latest("boxed") == Some("TASK_RUNNING"));
    let file = cluster.directory().join("agent-1/volumes/roles/web/kept/file");
    wait_for("what it keeps", SOON, || (fs::read_to_string(&file).ok()? == "of the image\n").then_some(()));
    framework.teardown();
}

/// A plugin of networks that gives everybody the same address and does nothing.
const PLUGIN: &str = r#"#!/bin/sh
cat > /dev/null
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.9.8.7/24"}]}' ;;
VERSION) echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.4.0"]}' ;;
esac
"#;

#[test]
fn networks_and_images_go_together_and_statuses_tell_the_address() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    for name in ["plugins", "networks"] {
        fs::create_dir(place(name)).expect("a directory");
    }
    fs::write(place("plugins/still"), PLUGIN).expect("a file");
    fs::set_permissions(place("plugins/still"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let network = json!({"cniVersion": "0.4.0", "name": "still", "plugins": [{"type": "still"}]});
    fs::write(place("networks/still.conflist"), network.to_string()).expect("a file");
    let flags = [("config", "networks"), ("plugins", "plugins")]
        .map(|(flag, name)| format!("--agent-flag=--network-cni-{flag}-dir={}", place(name).display()));
    let isolation = format!("{ISOLATION},network/cni");
    let started = start_with(directory.path(), &isolation, &flags.each_ref().map(String::as_str));
    let Some(cluster) = started else { return };
    let mut framework = Framework::subscribe(&cluster.api, info("networks"));
    let text = |id: &str| format!("cat /etc/hosts > {id}-hosts; exec sleep 1000");
    let mut boxed = with_image("boxed", &text("boxed"));
    let mut plain = task("plain", &text("plain"));
    plain["container"] = json!({"type": "MESOS"});
    for task in [&mut boxed, &mut plain] {
        task["container"]["network_infos"] = json!([{"name": "still"}]);
    }
    framework.launch_until(vec![boxed, plain], "TASK_RUNNING");
    for id in ["boxed", "plain"] {
        let status = framework.status(id).expect("it runs");
        let address = &status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"];
        assert_eq!(address, "10.9.8.7", "{status}");
        let hosts = wait_for("its hosts", SOON, || {
            fs::read_to_string(found(&cluster, &format!("{id}-hosts"))?).ok().filter(|text| text.ends_with('\n'))
        });
        assert!(hosts.contains("10.9.8.7"), "{hosts}");
    }
    // The end of the cluster is theirs, and takes their networks down.
    drop(framework);
    let stopped = cluster.stop();
    assert!(stopped.status.success());
}

/// An executor of a framework: subscribes, and says of its task that it runs, and what is in the root of its image.
const EXECUTOR: &str = r#"
import json, os, http.client, base64, uuid, time
host = os.environ['MESOS_AGENT_ENDPOINT']
ids = {'framework_id': {'value': os.environ['MESOS_FRAMEWORK_ID']}, 'executor_id': {'value': os.environ['MESOS_EXECUTOR_ID']}}
def call(body):
    connection = http.client.HTTPConnection(host)
    connection.request('POST', '/api/v1/executor', json.dumps(dict(ids, **body)), {'Content-Type': 'application/json', 'Accept': 'application/json'})
    return connection.getresponse()
stream = call({'type': 'SUBSCRIBE', 'subscribe': {'unacknowledged_tasks': [], 'unacknowledged_updates': []}})
while True:
    length = b''
    while not length.endswith(b'\n'):
        length += stream.read(1)
    event = json.loads(stream.read(int(length)))
    if event['type'] == 'LAUNCH':
        task = event['launch']['task']['task_id']
        for state in ['TASK_RUNNING', 'TASK_FINISHED']:
            status = {'task_id': task, 'state': state, 'source': 'SOURCE_EXECUTOR', 'timestamp': time.time(), 'message': open('/word').read(),
                'executor_id': ids['executor_id'], 'uuid': base64.b64encode(uuid.uuid4().bytes).decode()}
            call({'type': 'UPDATE', 'update': {'status': status}}).read()
    if event['type'] == 'SHUTDOWN':
        break
"#;

#[test]
fn executors_of_frameworks_run_in_their_images() {
    if !Path::new("/usr/bin/python3").exists() {
        return println!("SKIPPED, needs python3: an executor in an image");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = start(directory.path()) else { return };
    let program = directory.path().join("executor.py");
    fs::write(&program, EXECUTOR).expect("a file");
    let mut framework = Framework::subscribe(&cluster.api, info("images"));
    // The machine's Python in the root of the image.
    let show = |from: &str, to: &str| json!({"mode": "RO", "container_path": to, "host_path": from});
    let mut volumes = vec![show("/usr", "/usr"), show(&program.display().to_string(), "/executor.py")];
    volumes.extend(["/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists()).map(|path| show(path, path)));
    let mut boxed = with_image("boxed", "");
    boxed["container"]["volumes"] = volumes.into();
    let container = boxed["container"].take();
    let mut task = task("own", "");
    task.as_object_mut().expect("a task").remove("command");
    task["executor"] = json!({"executor_id": {"value": "boxed"}, "type": "CUSTOM", "container": container,
        "resources": [scalar("cpus", 0.1), scalar("mem", 64.0)],
        "command": {"shell": false, "value": "/usr/bin/python3", "arguments": ["python3", "/executor.py"]}});
    framework.launch_until(vec![task], "TASK_FINISHED");
    let status = framework.status("own").expect("it ended");
    assert_eq!(status["message"], "of the image\n", "{status}");
}
