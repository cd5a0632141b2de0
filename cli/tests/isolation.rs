//! Walls around tasks, seen from a framework: limits end tasks with their reasons and figures, and what an agent can't have
//! it says.

use crate::client;
use crate::cluster::{Cluster, kaon};
use crate::framework::{Framework, info, scalar, task};
use serde_json::{Value, json};

/// Whether this machine lets us have control groups.
fn has_groups() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let has = is_root && mounts.lines().any(|line| line.contains(" - cgroup ") || line.contains(" - cgroup2 "));
    if !has {
        println!("SKIPPED, needs root and control groups");
    }
    has
}

const ISOLATION: &str =
    "cgroups/cpu,cgroups/mem,cgroups/pids,namespaces/pid,namespaces/ipc,namespaces/uts,filesystem/linux,posix/rlimits";

#[test]
fn limits_end_tasks_with_their_reasons_and_walls_are_real() {
    if !has_groups() {
        return;
    }
    let cluster = Cluster::start_with(1, &["--isolation", ISOLATION]);
    let mut framework = Framework::subscribe(&cluster.api, info("walls"));

    // Memory: what `tail` keeps of an endless line.
    let mut hog = task("hog", "tail /dev/zero");
    hog["resources"] = json!([scalar("cpus", 0.1), scalar("mem", 32.0)]);
    let offer = framework.offer();
    framework.accept(&[&offer], vec![hog], 0.1);
    framework.until("the hog to end", |framework| framework.latest("hog") == Some("TASK_FAILED"));
    let status = framework.status("hog").expect("it ended").clone();
    assert_eq!(status["reason"], "REASON_CONTAINER_LIMITATION_MEMORY", "{status}");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("Maximum Used")), "{status}");
    assert_eq!(status["limitation"]["resources"][0]["name"], "mem", "{status}");
    assert!(status["limitation"]["resources"][0]["scalar"]["value"].as_f64() >= Some(32.0), "{status}");

    // Bursting, a host name, process numbers of its own, a volume in memory only.
    let text = "hostname > out; cat /proc/self/oom_score_adj >> out; cat key >> out; ls -d /proc/[0-9]* | wc -l >> out; sleep 300";
    let mut walled = task("walled", text);
    walled["limits"] = json!({"cpus": {"value": 0.5}, "mem": {"value": 256.0}});
    let secret = json!({"type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "czNjcmV0Cg=="}}});
    walled["container"] = json!({"type": "MESOS", "hostname": "inside",
        "rlimit_info": {"rlimits": [{"type": "RLMT_NOFILE", "soft": 64, "hard": 128}]}});
    let mut refused = task("refused", "true");
    refused["container"] = json!({"type": "MESOS",
        "volumes": [{"mode": "RO", "container_path": "key", "source": secret}]});
    walled["command"]["value"] = text.replace("cat key", "ulimit -n").into();
    framework.launch(vec![walled, refused]);
    framework.until("one to run and one to fail", |framework| {
        framework.latest("walled") == Some("TASK_RUNNING") && framework.latest("refused") == Some("TASK_FAILED")
    });
    let status = framework.status("refused").expect("it failed");
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{status}");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("volume/secret is not enabled")), "{status}");
    let agent = &cluster.members.last().expect("an agent").http;
    let figures = crate::deadline::wait_for("what it uses", crate::deadline::SOON, || {
        let all: Value = client::get(agent, "/monitor/statistics").json();
        all.as_array()?.iter().find(|one| one["executor_id"] == "walled").cloned()
    });
    let told = &figures["statistics"];
    assert_eq!(told["cpus_limit"], 0.6, "the limit and what the executor takes: {figures}");
    assert_eq!(told["mem_limit_bytes"], (256 + 32) << 20, "{figures}");
    assert!(told["mem_total_bytes"].as_u64() > Some(0) && told["threads"].as_u64() > Some(2), "{figures}");
    let container = framework.status("walled").expect("it runs")["container_status"]["container_id"]["value"].clone();
    let all: Value = client::get(agent, "/containers").json();
    assert!(all.as_array().is_some_and(|all| all.iter().any(|one| one["container_id"] == container)), "{all}");

    let out = crate::deadline::wait_for("what it saw", crate::deadline::SOON, || {
        let found = find(&cluster.directory(), "out")?;
        std::fs::read_to_string(found).ok().filter(|text| text.lines().count() == 4)
    });
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("inside", "64"), "{out}");
    assert!(lines[1].parse::<u32>().is_ok_and(|score| score > 1), "{out}");
    assert!(lines[3].trim().parse::<u32>().is_ok_and(|count| count < 12), "only its own processes: {out}");
    let stopped = cluster.stop();
    assert!(stopped.status.success());
}

/// A file of this name in a sandbox.
fn find(directory: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let mut open = vec![directory.to_owned()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(here).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(_)
                    if entry.file_name() == name
                        && entry.path().components().any(|part| part.as_os_str() == "runs") =>
                {
                    return Some(entry.path());
                }
                _ => {}
            }
        }
    }
    None
}

#[test]
fn an_agent_that_can_not_have_its_isolators_says_so() {
    for (list, words) in [
        ("cgroups/cp", "no isolator is called 'cgroups/cp'"),
        ("posix/cpu,posix/cpu", "named twice"),
        ("gpu/nvidia", "needs 'cgroups/devices' too"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut up = kaon();
        up.args(["up", "--agents", "1", "--http", "127.0.0.1:0", "--isolation", list, "--dir"]);
        let output = up.arg(folder.path().join("c")).output().expect("kaon starts");
        let log = std::fs::read_to_string(folder.path().join("c/agent-1/log")).unwrap_or_default();
        let said = format!("{}{log}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && said.contains(words), "{list}: {said}");
    }
}

#[test]
fn an_executor_in_a_network_of_its_own_reaches_its_agent() {
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED, needs root: a network of a container's own");
    }
    let cluster = Cluster::start_with(1, &["--isolation", "namespaces/net"]);
    let mut framework = Framework::subscribe(&cluster.api, info("alone"));
    // Two lines of heading, and loopback.
    framework.launch_until(vec![task("alone", "test $(wc -l < /proc/net/dev) = 3")], "TASK_FINISHED");
    framework.teardown();
}

/// The work directory that an agent makes may be passed through and not listed (mode 0711), whatever the umask (it is 077 in these
/// tests): whoever runs a task needs no more. One that the operator closed is named.
#[test]
fn users_pass_the_work_directory_and_do_not_list_it() {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED, needs root: tasks of another user");
    }
    let cluster = Cluster::start(1);
    let work = cluster.directory().join("agent-1");
    for made in [&cluster.directory(), &work] {
        assert_eq!(metadata(made).expect("a directory").permissions().mode() & 0o7777, 0o711, "{}", made.display());
    }
    let mut framework = Framework::subscribe(&cluster.api, info("users"));
    let theirs = |name: &str| {
        // By its path: whoever begins in a directory need not be able to pass what is above it.
        let text = "test $(id -un) = nobody && cd / && echo mine > $MESOS_SANDBOX/file";
        let text = format!("{text} && ! ls {}", work.display());
        let mut theirs = task(name, &text);
        theirs["command"]["user"] = "nobody".into();
        theirs
    };
    framework.launch_until(vec![theirs("theirs")], "TASK_FINISHED");
    set_permissions(&work, Permissions::from_mode(0o700)).expect("a mode");
    framework.launch(vec![theirs("shut")]);
    framework.until("its end", Framework::all_ended);
    let last = framework.status("shut").expect("a status");
    let reason = format!("user 'nobody' may not pass '{}'", work.display());
    assert!(last["message"].as_str().is_some_and(|message| message.contains(&reason)), "{last}");
    framework.teardown();
}
