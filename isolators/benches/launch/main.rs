//! What a container costs: `cargo bench --workspace --bench launch`, as root on a machine with control groups of version 1.
//!
//! Figures, each beside what stands under it: from the decision to the exec, with four namespaces and control groups (beside the
//! bare floor, taken in turns with it), with a network and a root of its own too; a thousand started and destroyed; and what other
//! runtimes take for one, where they are installed. What is measured is `ProcessContainers` as the agent uses it. Wall time is that of
//! a quiet machine only; processor time, of all processes that have a part in a container's life, holds on a busy one too.
#![allow(missing_docs, reason = "a program")]

mod floor;

use kaon_isolators::build::Settings;
use kaon_isolators::containers::{ContainersConfig, Executable, ProcessContainers};
use kaon_isolators::images::{Images, ImagesConfig};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, LaunchSpec, Program};
use kaon_kernel::container_info::{ContainerInfo, Image};
use kaon_kernel::id::ContainerId;
use kaon_kernel::port::Containers;
use kaon_kernel::resource::parse;
use kaon_kernel::time::Duration as Length;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// The walls of a usual container: four namespaces, and the groups that the floor makes too.
const WALLS: &str = "cgroups/cpu,cgroups/mem,cgroups/pids,namespaces/pid,namespaces/mnt,namespaces/ipc,namespaces/uts";

/// With a network and a root of its own.
const MORE: &str = "namespaces/net,filesystem/linux,docker/runtime";

/// Turns of floor and ours, and containers of one turn.
const TURNS: usize = 5;
const OF_A_TURN: usize = 60;

/// How many are started and destroyed, and how many at once.
const THOUSAND: usize = 1000;
const AT_ONCE: usize = 8;

/// A clock tick of `/proc` in microseconds (`USER_HZ` is 100 on every machine that Linux runs on).
const TICK_MICROS: u64 = 10_000;

/// How often another runtime is tried.
const TRIES: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(kaon_isolators::launcher::ARGUMENT) => return kaon_isolators::launcher::main(),
        Some(kaon_isolators::images::ARGUMENT) => return kaon_isolators::images::main(),
        Some(floor::ARGUMENT) => {
            floor::main(OF_A_TURN);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || !Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() || !Path::new("/bin/busybox").exists() {
        println!("SKIPPED, needs root, control groups of version 1, and a static /bin/busybox");
        return ExitCode::SUCCESS;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let bed = Bed::new(WALLS, runtime.handle());
    let mut floors = Vec::new();
    let mut ours = Vec::new();
    bed.one("warm", false);
    let before = bed.processor();
    for turn in 0..TURNS {
        floors.push(floor());
        ours.extend((0..OF_A_TURN).map(|number| bed.one(&format!("{turn}-{number}"), false)));
    }
    let median_of = |at: usize| median(floors.iter().map(|figures| figures[at]).collect());
    let (bare, bare_processor) = (median_of(0), median_of(2));
    println!("bare floor, decision to exec           p50 {bare} us; of its whole life processor {bare_processor} us");
    let told = median(ours.clone());
    let each = (bed.processor() - before) / ours.len() as u64;
    println!(
        "four namespaces and control groups     p50 {told} us, {:.2} times the floor; p90 {} us; processor {each} us, {:.2} times",
        told as f64 / bare as f64,
        at(&ours, 90),
        each as f64 / bare_processor as f64
    );
    drop(bed);
    let bed = Bed::new(&format!("{WALLS},{MORE}"), runtime.handle());
    bed.one("warm", true);
    let before = bed.processor();
    let ours: Vec<u64> = (0..TURNS * OF_A_TURN).map(|number| bed.one(&number.to_string(), true)).collect();
    let each = (bed.processor() - before) / ours.len() as u64;
    println!(
        "with a network and a root of its own   p50 {} us; p90 {} us; processor {each} us",
        median(ours.clone()),
        at(&ours, 90)
    );
    drop(bed);
    let bed = Bed::new(WALLS, runtime.handle());
    bed.one("warm", false);
    let before = bed.processor();
    let taken = bed.thousand().as_secs_f64();
    let spent = (bed.processor() - before) as f64 / 1e6;
    println!("{THOUSAND} started and destroyed, {AT_ONCE} at once: {taken:.2} s; processor {spent:.2} s");
    drop(bed);
    peers();
    ExitCode::SUCCESS
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all[all.len() / 2]
}

fn at(all: &[u64], percent: usize) -> u64 {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() * percent / 100]
}

/// The three figures of the floor, in a process of one thread.
fn floor() -> [u64; 3] {
    let own = std::env::current_exe().expect("own executable");
    let output = Command::new(own).arg(floor::ARGUMENT).output().expect("the floor");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<u64> = text.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    figures.try_into().unwrap_or_else(|_| panic!("the floor says {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// An agent's machine.
struct Bed {
    containers: Arc<ProcessContainers>,
    _directory: tempfile::TempDir,
}

impl Bed {
    fn new(isolation: &str, runtime: &tokio::runtime::Handle) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        save_image(&at("images"));
        let mut images = ImagesConfig::usual(directory.path());
        images.registry = at("images").display().to_string();
        let mut settings = Settings::usual(isolation);
        (settings.work_directory, settings.runtime_directory) = (at("work"), at("run"));
        settings.images = images.clone();
        settings.cgroups_root = format!("kaon-bench-{}", std::process::id());
        let executable = Executable::current().expect("own executable");
        let config = ContainersConfig {
            work_directory: at("work"),
            runtime_directory: at("run"),
            executable: executable.clone(),
            executor_environment: Arc::new(|_, _| Ok(Vec::new())),
            isolators: settings.chain().expect("isolators"),
            switch_user: true,
            fetcher: None,
            images: Some(Images::new(images, executable).expect("a store")),
            docker: None,
            inside: None,
            rights: None,
            secrets: None,
            rotation: None,
            parent: None,
        };
        let containers = Arc::new(ProcessContainers::new(config, runtime.clone()).expect("containers"));
        Self { containers, _directory: directory }
    }

    /// The processor time of this process and of the nursery with all that it forked, in microseconds. The floor is another's.
    fn processor(&self) -> u64 {
        let own = std::process::id().to_string();
        let ticks = |pid: &str, fields: std::ops::Range<usize>| {
            let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let rest = line.rsplit_once(')').map_or("", |(_, rest)| rest).to_owned();
            let fields = rest.split_whitespace().skip(fields.start).take(fields.len());
            fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
        };
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let threads = fs::read_dir(format!("/proc/{own}/task")).into_iter().flatten().flatten();
        let children: String = threads.fold(children, |all, thread| {
            all + " " + &fs::read_to_string(thread.path().join("children")).unwrap_or_default()
        });
        let mut nurseries: Vec<&str> = children.split_whitespace().collect();
        nurseries.sort_unstable();
        nurseries.dedup();
        // User and system time, then those of children that were waited for.
        let all = ticks(&own, 11..13) + nurseries.into_iter().map(|pid| ticks(pid, 11..15)).sum::<u64>();
        all * TICK_MICROS
    }

    fn begin(&self, request: ContainerRequest) -> mpsc::Receiver<ContainerOutcome> {
        let (sender, receiver) = mpsc::channel();
        self.containers.request(request, Box::new(move |outcome| sender.send(outcome).unwrap_or_default()));
        receiver
    }

    fn launch(&self, name: &str, has_image: bool, arguments: &[&str]) -> mpsc::Receiver<ContainerOutcome> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let image = Image { name: "bench".to_owned(), is_cached: true, credentials: None };
        let container = ContainerInfo { image: has_image.then_some(image), ..ContainerInfo::default() };
        let program = Program::Exec { file: "/bin/busybox".to_owned(), arguments };
        let spec = LaunchSpec {
            resources: parse::resources("cpus:1;mem:64").expect("resources"),
            container: Some(Box::new(container)),
            ..LaunchSpec::bare(program, format!("slaves/S/frameworks/F/executors/E/runs/{name}"))
        };
        self.begin(ContainerRequest::Launch { container: ContainerId::trusted(name), spec: Box::new(spec) })
    }

    fn finish(&self, name: &str) {
        let container = || ContainerId::trusted(name);
        self.begin(ContainerRequest::Wait { container: container() }).recv().expect("an end");
        let gone = self.begin(ContainerRequest::Cleanup { container: container() }).recv();
        assert_eq!(gone, Ok(ContainerOutcome::Cleaned));
    }

    /// Starts one, and destroys it. From the decision to the exec, in microseconds.
    fn one(&self, name: &str, has_image: bool) -> u64 {
        let decision = Instant::now();
        let launched = self.launch(name, has_image, &["sleep", "1000"]).recv();
        let taken = decision.elapsed();
        assert!(matches!(launched, Ok(ContainerOutcome::Launched { .. })), "{launched:?}");
        let kill = ContainerRequest::Kill { container: ContainerId::trusted(name), grace: Length::ZERO };
        self.begin(kill).recv().expect("a kill");
        self.finish(name);
        u64::try_from(taken.as_micros()).expect("not for ages")
    }

    /// Runs a thousand to their end.
    fn thousand(&self) -> Duration {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for worker in 0..AT_ONCE {
                scope.spawn(move || {
                    for number in (worker..THOUSAND).step_by(AT_ONCE) {
                        let name = format!("t{number}");
                        let launched = self.launch(&name, false, &["true"]).recv();
                        assert!(matches!(launched, Ok(ContainerOutcome::Launched { .. })), "{launched:?}");
                        self.finish(&name);
                    }
                });
            }
        });
        begin.elapsed()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.begin(ContainerRequest::Recover { known: Vec::new() }).recv().expect("an answer");
    }
}

/// A busybox, as `docker save` writes it.
fn save_image(registry: &Path) {
    let busybox = fs::read("/bin/busybox").expect("a busybox");
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "bin/busybox", &busybox);
    let layer = layer.into_inner().expect("in memory");
    let digest = ring::digest::digest(&ring::digest::SHA256, &layer);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{hex}")]}});
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": ["bench:latest"], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "layer.tar", &layer);
    append(&mut archive, "config.json", config.to_string().as_bytes());
    append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    fs::create_dir(registry).expect("a directory");
    fs::write(registry.join("bench.tar"), archive.into_inner().expect("in memory")).expect("an archive");
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    archive.append_data(&mut header, name, bytes).expect("in memory");
}

/// What others take from call to end for one container that runs `true`.
fn peers() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("rootfs");
    for name in ["bin", "proc", "dev", "sys"] {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("a busybox");
    let at = root.display().to_string();
    let bwrap = ["--bind", &at, "/", "--proc", "/proc", "--dev", "/dev", "--unshare-all", "/bin/busybox", "true"];
    time("bwrap --unshare-all", directory.path(), "bwrap", &bwrap);
    for runtime in ["runc", "crun"] {
        let _ = fs::remove_file(directory.path().join("config.json"));
        let made = Command::new(runtime).arg("spec").current_dir(directory.path()).status();
        if made.is_ok_and(|status| status.success()) {
            let path = directory.path().join("config.json");
            let text = fs::read_to_string(&path).expect("a configuration");
            let mut config: serde_json::Value = serde_json::from_str(&text).expect("a configuration");
            config["process"]["args"] = serde_json::json!(["/bin/busybox", "true"]);
            config["process"]["terminal"] = false.into();
            config["process"]["rlimits"] = serde_json::json!([]);
            fs::write(&path, config.to_string()).expect("a configuration");
        }
        time(&format!("{runtime} run"), directory.path(), runtime, &["run", "kaon-bench"]);
    }
    let image = std::env::var("KAON_BENCH_DOCKER_IMAGE").unwrap_or_else(|_| "busybox".to_owned());
    let docker = ["run", "--rm", "--network", "none", &image, "/bin/busybox", "true"];
    time("docker run --network none", directory.path(), "docker", &docker);
}

fn time(what: &str, directory: &Path, program: &str, arguments: &[&str]) {
    let mut taken = Vec::new();
    for _ in 0..TRIES {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        if !command.status().is_ok_and(|status| status.success()) {
            return println!("{what:<38} SKIPPED, it is not installed or does not run here");
        }
        taken.push(u64::try_from(begin.elapsed().as_micros()).expect("not for ages"));
    }
    println!("{what:<38} p50 {} us, from call to end", median(taken));
}
