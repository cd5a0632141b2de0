//! Clusters of real processes, as `kaon up` makes them: started, watched, and looked after until nothing is left.

use crate::deadline::wait_for;
use crate::processes::{self, Process};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a cluster may take to come up, on a machine with two cores that builds something else.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);

/// How long Ctrl-C may take: what the product promises.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(3);

/// How many clusters run at once: the smallest machine of the project has two cores.
const CLUSTERS_MAX: u32 = 2;

/// How much of a log is shown when a test fails, in lines.
const LOG_LINES: usize = 60;

static RUNNING: Mutex<u32> = Mutex::new(0);
static ROOM: Condvar = Condvar::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The binary under test.
pub(crate) fn kaon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaon"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KAON_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// The same, with a umask that leaves nothing to others: what they need they must be given.
fn closed_kaon() -> Command {
    let command = kaon();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(command.get_program()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A directory of its own, a place among the clusters that may run at once, and the duty to leave nothing behind.
pub(crate) struct Ground {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Whether processes may be left at the end: executors outlive their agent, for the next one to find them.
    pub(crate) executors_outlive: bool,
}

impl Ground {
    /// Waits for its place.
    pub(crate) fn take() -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= CLUSTERS_MAX {
            running = ROOM.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kaon-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self { path: path.canonicalize().expect("it was just made"), executors_outlive: false }
    }

    /// Every log below the directory, its end only.
    fn show_logs(&self) {
        let mut open = vec![self.path.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                } else if path.is_file() && matches!(entry.file_name().to_str(), Some("log" | "up.log" | "stderr")) {
                    let text = std::fs::read(&path).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    let skip = text.lines().count().saturating_sub(LOG_LINES);
                    if !text.is_empty() {
                        eprintln!("---- {}", path.display());
                        text.lines().skip(skip).for_each(|line| eprintln!("{line}"));
                    }
                }
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let left = processes::of(&self.path);
        for process in &left {
            processes::signal(process.pid, Signal::SIGKILL);
        }
        let failed = std::thread::panicking();
        if failed {
            self.show_logs();
        }
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ROOM.notify_all();
        if !failed {
            assert!(left.is_empty() || self.executors_outlive, "left behind: {left:#?}");
            let dead = || left.iter().all(|process| !processes::is_alive(process.pid)).then_some(());
            wait_for("what was killed to be dead", STOP_WITHIN, dead);
            std::fs::remove_dir_all(&self.path).expect("nothing writes there any more");
        }
    }
}

/// A member of a cluster as it was when it said that it was ready.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// `master-1`, `agent-2`.
    pub(crate) name: String,
    /// Its first process.
    pub(crate) pid: i32,
    /// Where it answers HTTP.
    pub(crate) http: String,
    /// Where it answers QUIC.
    pub(crate) listen: String,
}

/// How a cluster stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// The exit status of `kaon up`.
    pub(crate) status: ExitStatus,
    /// How long it took.
    pub(crate) took: Duration,
}

/// A cluster under `kaon up`.
pub(crate) struct Cluster {
    /// Its members, the master first.
    pub(crate) members: Vec<Member>,
    /// Where the master answers.
    pub(crate) api: String,
    up: Option<Child>,
    ground: Ground,
}

impl Cluster {
    /// One master and this many agents.
    pub(crate) fn start(agents: u16) -> Self {
        Self::start_with(agents, &[])
    }

    /// The same with more flags for `kaon up`.
    pub(crate) fn start_with(agents: u16, flags: &[&str]) -> Self {
        let ground = Ground::take();
        let (up, members) = start(&ground.path, agents, "127.0.0.1:0", flags);
        let api = members.first().expect("a master").http.clone();
        Self { members, api, up: Some(up), ground }
    }

    /// Where `kaon up` keeps everything.
    pub(crate) fn directory(&self) -> PathBuf {
        self.ground.path.join("cluster")
    }

    /// Everything that runs because of this cluster.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::of(&self.ground.path)
    }

    /// The processes of tasks whose command line has this mark.
    pub(crate) fn tasks(&self, mark: &str) -> Vec<i32> {
        let launchers = |process: &Process| !process.command.contains(env!("CARGO_BIN_EXE_kaon"));
        let all = processes::with(&self.ground.path, mark);
        all.into_iter().filter(launchers).map(|process| process.pid).collect()
    }

    /// The process of a member now; `None` while it is down.
    pub(crate) fn pid(&self, member: &str) -> Option<i32> {
        let role = member.split('-').next().unwrap_or(member);
        let mark = format!("{role} --dir {} ", self.directory().join(member).display());
        processes::with(&self.ground.path, &mark).first().map(|process| process.pid)
    }

    /// `kill -9` of a member; waits until it is gone.
    pub(crate) fn kill(&self, member: &str) -> i32 {
        let pid = self.pid(member).unwrap_or_else(|| panic!("{member} does not run"));
        processes::signal(pid, Signal::SIGKILL);
        wait_for("a killed member to be gone", crate::deadline::SOON, || (!processes::is_alive(pid)).then_some(()));
        pid
    }

    /// `kaon` with `--api` of this cluster, after the given subcommand.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = kaon();
        command.args([subcommand, "--api", &self.api]);
        command
    }

    /// Ctrl-C, and what is promised of it: an end in good time, and no process, no port, no lock left behind.
    pub(crate) fn stop(mut self) -> Stopped {
        self.end(Signal::SIGINT)
    }

    /// The same with another signal.
    pub(crate) fn stop_by(mut self, signal: Signal) -> Stopped {
        self.end(signal)
    }

    /// `kill -9` of `kaon up` itself; its members see to themselves.
    pub(crate) fn kill_up(&mut self) {
        let mut up = self.up.take().expect("it runs");
        up.kill().expect("our child");
        up.wait().expect("our child");
    }

    /// Ctrl-C, and then `kaon up` again in the same directory.
    pub(crate) fn restart(&mut self, agents: u16) {
        self.restart_after(agents, || {});
    }

    /// The same with something done in between.
    pub(crate) fn restart_after(&mut self, agents: u16, between: impl FnOnce()) {
        self.end(Signal::SIGINT);
        between();
        let (up, members) = start(&self.ground.path, agents, "127.0.0.1:0", &[]);
        self.api.clone_from(&members[0].http);
        (self.up, self.members) = (Some(up), members);
    }

    fn end(&mut self, signal: Signal) -> Stopped {
        let mut up = self.up.take().expect("it runs");
        let begin = Instant::now();
        processes::signal(up.id() as i32, signal);
        let status = wait_for("`kaon up` to end", STOP_WITHIN, || up.try_wait().expect("our child"));
        let took = begin.elapsed();
        let left = self.processes();
        assert!(left.is_empty(), "left behind after {took:?}: {left:#?}");
        for member in &self.members {
            let free = TcpListener::bind(&member.http).is_ok() && UdpSocket::bind(&member.listen).is_ok();
            assert!(free, "{} left a port behind: {} or {}", member.name, member.http, member.listen);
        }
        let lock = std::fs::File::open(self.directory().join("lock")).expect("the lock file stays");
        let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock);
        assert!(lock.is_ok(), "the lock was left behind");
        Stopped { status, took }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut up) = self.up.take() {
                eprintln!("what runs: {:#?}", self.processes());
                // Dropping the ground kills its members, and nobody starts them again.
                let _ = (up.kill(), up.wait());
            }
        } else if self.up.is_some() {
            let stopped = self.end(Signal::SIGINT);
            assert!(stopped.status.success(), "Ctrl-C is a good end: {stopped:?}");
        }
    }
}

fn start(ground: &Path, agents: u16, http: &str, flags: &[&str]) -> (Child, Vec<Member>) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(ground.join("up.log")).expect("a log");
    let mut command = closed_kaon();
    command
        .args(["up", "--json", "--http", http, "--agents", &agents.to_string(), "--dir"])
        .arg(ground.join("cluster"));
    let mut up = command.args(flags).process_group(0).stdout(Stdio::piped()).stderr(log).spawn().expect("kaon starts");
    let line = first_line(&mut up, START_WITHIN);
    let Some(said) = line.as_deref().and_then(|line| serde_json::from_str::<Value>(line).ok()) else {
        let _ = (up.kill(), up.wait());
        let log = std::fs::read_to_string(ground.join("up.log")).unwrap_or_default();
        panic!("`kaon up` did not come up; it said {line:?}, and in its log:\n{log}");
    };
    let members = said["members"].as_array().expect("members").iter().map(member).collect();
    (up, members)
}

fn member(value: &Value) -> Member {
    let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}")).to_owned();
    for key in ["http", "listen"] {
        text(key).parse::<SocketAddr>().expect("an address");
    }
    let pid = value["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    Member { name: text("name"), pid, http: text("http"), listen: text("listen") }
}

/// The first line that a child writes to its piped stdout; `None` when it ended or stayed silent. What it writes later
/// is read and forgotten.
pub(crate) fn first_line(child: &mut Child, limit: Duration) -> Option<String> {
    let stdout = child.stdout.take().expect("a piped stdout");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Only the first is wanted; later the receiver is gone.
            let _ = sender.send(line);
        }
    });
    receiver.recv_timeout(limit).ok()
}
