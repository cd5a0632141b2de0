//! The rig: a machine of its own for each test, and ways to look at its processes.

use kaon_isolators::chain::Chain;
use kaon_isolators::containers::{ContainersConfig, Executable, ProcessContainers};
use kaon_isolators::fetcher::{Fetcher, FetcherConfig};
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, Exit, LaunchSpec, Program};
use kaon_kernel::id::ContainerId;
use kaon_kernel::port::Containers;
use kaon_kernel::time::Duration as Length;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

/// How long anything may take on a busy machine before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime")).handle().clone()
}

pub(crate) struct Machine {
    pub(crate) directory: TempDir,
    pub(crate) config: ContainersConfig,
    containers: Option<ProcessContainers>,
}

fn fetcher(directory: &Path) -> Fetcher {
    let config = FetcherConfig { cache_directory: Some(directory.join("cache")), ..FetcherConfig::default() };
    Fetcher::new(config, Executable::current().expect("own executable")).expect("a fetcher")
}

pub(crate) fn config(directory: &Path) -> ContainersConfig {
    ContainersConfig {
        work_directory: directory.join("work"),
        runtime_directory: directory.join("run"),
        executable: Executable::current().expect("own executable"),
        executor_environment: Arc::new(|_, _| Ok(Vec::new())),
        isolators: Chain::parse("posix/cpu,posix/mem,posix/rlimits").expect("known names"),
        switch_user: true,
        fetcher: Some(fetcher(directory)),
        images: None,
        docker: None,
        inside: None,
        rights: None,
        secrets: None,
        rotation: None,
        parent: None,
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ContainersConfig)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = config(directory.path());
        change(&mut config);
        let mut machine = Self { directory, config, containers: None };
        machine.start();
        machine
    }

    /// The agent goes away, as far as one process can play it.
    pub(crate) fn stop(&mut self) {
        self.containers = None;
    }

    pub(crate) fn start(&mut self) {
        self.containers = Some(ProcessContainers::new(self.config.clone(), runtime()).expect("containers"));
    }

    pub(crate) fn containers(&self) -> &ProcessContainers {
        self.containers.as_ref().expect("started")
    }

    /// Asks, and gives the place where the answer will be.
    pub(crate) fn begin(&self, request: ContainerRequest) -> mpsc::Receiver<ContainerOutcome> {
        let (sender, receiver) = mpsc::channel();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap_or_default());
        self.containers.as_ref().expect("started").request(request, done);
        receiver
    }

    pub(crate) fn ask(&self, request: ContainerRequest) -> ContainerOutcome {
        let text = format!("{request:?}");
        self.begin(request).recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no answer to {text}: {error}"))
    }

    pub(crate) fn try_launch(&self, name: &str, spec: LaunchSpec) -> Result<i32, String> {
        match self.ask(ContainerRequest::Launch { container: id(name), spec: Box::new(spec) }) {
            ContainerOutcome::Launched { pid, .. } => Ok(pid.cast_signed()),
            ContainerOutcome::Failed { reason } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn launch(&self, name: &str, spec: LaunchSpec) -> i32 {
        let pid = self.try_launch(name, spec).unwrap_or_else(|reason| panic!("{name} failed: {reason}"));
        // That it runs is told in the middle of `execve(2)`: a moment later it shows what it was started with.
        let shows = || fs::read(format!("/proc/{pid}/environ")).map_or(true, |shown| !shown.is_empty());
        eventually("it shows its variables", || !is_alive(pid) || shows());
        pid
    }

    pub(crate) fn wait(&self, name: &str) -> Exit {
        match self.ask(ContainerRequest::Wait { container: id(name) }) {
            ContainerOutcome::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn kill(&self, name: &str, grace: Length) {
        assert_eq!(self.ask(ContainerRequest::Kill { container: id(name), grace }), ContainerOutcome::Signalled);
    }

    pub(crate) fn recover(&self, known: &[&str]) -> Vec<String> {
        let known = known.iter().map(|name| id(name)).collect();
        match self.ask(ContainerRequest::Recover { known }) {
            ContainerOutcome::Recovered(kept) => kept.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Runs a shell text to its end and gives what it wrote.
    pub(crate) fn run(&self, name: &str, spec: LaunchSpec) -> (Exit, String) {
        self.launch(name, spec);
        let exit = self.wait(name);
        (exit, self.output(name, "stdout"))
    }

    pub(crate) fn sandbox(&self, name: &str) -> PathBuf {
        self.config.work_directory.join(sandbox(name))
    }

    pub(crate) fn output(&self, name: &str, file: &str) -> String {
        fs::read_to_string(self.sandbox(name).join(file)).expect("output")
    }

    /// What a container uses.
    pub(crate) fn statistics(&self, name: &str) -> kaon_kernel::statistics::Statistics {
        let containers = self.containers.as_ref().expect("started");
        runtime().block_on(containers.statistics(id(name))).expect("it runs")
    }

    pub(crate) fn record(&self, name: &str) -> PathBuf {
        self.config.runtime_directory.join("containers").join(name)
    }

    pub(crate) fn launcher_of(&self, program: i32) -> i32 {
        stat(program).expect("it runs").1
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.containers.is_some() && std::thread::panicking() {
            // Nothing may be left for the next test to stumble over.
            let _ = self.begin(ContainerRequest::Recover { known: Vec::new() }).recv_timeout(PATIENCE);
        } else if self.containers.is_some() {
            self.recover(&[]);
            assert_eq!(fs::read_dir(self.config.runtime_directory.join("containers")).unwrap().count(), 0);
        }
        if !std::thread::panicking() {
            eventually("no zombie is left to this process", || {
                all().iter().all(|pid| {
                    stat(*pid)
                        .is_none_or(|(state, parent, _)| state != 'Z' || parent != std::process::id().cast_signed())
                })
            });
        }
    }
}

pub(crate) fn id(name: &str) -> ContainerId {
    ContainerId::trusted(name)
}

pub(crate) fn sandbox(name: &str) -> String {
    format!("slaves/S0/frameworks/f/executors/e/runs/{name}")
}

pub(crate) fn shell(name: &str, text: &str) -> LaunchSpec {
    spec(name, Program::Shell(text.to_owned()))
}

pub(crate) fn exec(name: &str, arguments: &[&str]) -> LaunchSpec {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    spec(name, Program::Exec { file: arguments[0].clone(), arguments })
}

pub(crate) fn spec(name: &str, program: Program) -> LaunchSpec {
    LaunchSpec::bare(program, sandbox(name))
}

/// Waits for something to be true, looking often.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "it never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A duration for `sleep` that no other process uses, to find a process by.
pub(crate) fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{}", 100_000 + std::process::id(), 1000 + NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// State, parent and start time of a process.
pub(crate) fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields[0].chars().next()?, fields[1].parse().ok()?, fields[19].parse().ok()?))
}

pub(crate) fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _, _)| state != 'Z' && state != 'X')
}

/// The living processes that run `sleep` with this mark.
pub(crate) fn sleepers(mark: &str) -> Vec<i32> {
    let has_mark = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        words.first().is_some_and(|first| first.ends_with(b"sleep")) && words.contains(&mark.as_bytes())
    };
    all().into_iter().filter(has_mark).filter(|pid| is_alive(*pid)).collect()
}

/// Whether this runs as root; says aloud what is left out when not.
pub(crate) fn root_or_skip(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED, needs root: {what}");
    }
    root
}
