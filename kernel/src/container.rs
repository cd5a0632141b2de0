//! Containers as effects: what an agent or an executor asks of its machine, and what comes back.
//!
//! The real side is `isolators/`, the simulated one `sim/`. A container is one process tree with its own sandbox
//! directory; which walls stand around it is the business of the isolators.

use crate::check::{HttpTarget, TcpTarget};
use crate::container_info::{ContainerInfo, Limits, Window};
use crate::id::ContainerId;
use crate::placement::Placement;
use crate::quantity::Quantity;
use crate::resource::Resources;
use crate::secret::SecretReference;
use crate::task::{Reason, Uri};
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// A request about one container. Each comes back exactly once.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerRequest {
    /// Make the sandbox, build the walls, start the program. Answered by [`ContainerOutcome::Launched`] or
    /// [`ContainerOutcome::Failed`].
    Launch {
        /// Its name, new on this machine.
        container: ContainerId,
        /// What to start.
        spec: Box<LaunchSpec>,
    },
    /// Tell me when it has ended and its whole process tree is gone: [`ContainerOutcome::Exited`].
    Wait {
        /// Which.
        container: ContainerId,
    },
    /// End its whole process tree: TERM, then KILL after the grace. Answered at once by [`ContainerOutcome::Signalled`];
    /// the end is told to who waits. A container that is gone already is answered alike. One that is being launched gives
    /// up what it fetches, or gets the signals as soon as it runs.
    Kill {
        /// Which.
        container: ContainerId,
        /// How long after TERM comes KILL; zero means KILL at once.
        grace: Duration,
    },
    /// Try whether what runs in a container is well: [`ContainerOutcome::Probed`]. A kill of `container` ends a command
    /// before its time; whatever is still tried ends with the asker.
    Probe {
        /// The name of what runs for a command, new on this machine; forgotten by itself when it has ended.
        container: ContainerId,
        /// The container that is tried.
        of: ContainerId,
        /// How.
        probe: Box<Probe>,
        /// How long it may take; [`Duration::MAX`] for as long as it likes.
        timeout: Duration,
    },
    /// How much it uses: [`ContainerOutcome::Used`].
    Usage {
        /// Which.
        container: ContainerId,
    },
    /// Change its limits while it runs: [`ContainerOutcome::Updated`].
    Update {
        /// Which.
        container: ContainerId,
        /// What it may use from now on.
        resources: Resources,
        /// How far it may go beyond that.
        limits: Limits,
    },
    /// Which containers of mine does the machine still know, running or ended but not cleaned up? The rest of what this
    /// work directory ever started is destroyed. Answered by [`ContainerOutcome::Recovered`].
    Recover {
        /// The containers that the asker remembers.
        known: Vec<ContainerId>,
    },
    /// Make, remove, empty and link persistent volumes. Answered by [`ContainerOutcome::Volumes`]. What is so already stays
    /// so. Paths are relative to the work directory, or absolute.
    Volumes {
        /// Directories to make.
        make: Vec<String>,
        /// Directories to remove with all that is in them.
        remove: Vec<String>,
        /// Directories of which only what is in them goes: a file system may be mounted there.
        empty: Vec<String>,
        /// What a sandbox that exists already gets: that of an executor that runs, when a task with volumes follows.
        links: Option<Box<VolumeLinks>>,
    },
    /// Forget an ended container; its sandbox stays for people to read. Answered by [`ContainerOutcome::Cleaned`].
    Cleanup {
        /// Which.
        container: ContainerId,
    },
    /// Remove the sandboxes of executors that ended long enough ago. Those of containers that are not forgotten stay.
    /// Answered by [`ContainerOutcome::Swept`].
    Sweep(SweepPolicy),
}

/// How long the sandboxes of what has ended stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepPolicy {
    /// How long on an empty disk (`--gc_delay`).
    pub delay: Duration,
    /// Which part of the disk is to stay free, in thousandths of it (`--gc_disk_headroom`).
    pub headroom: Quantity,
}

impl SweepPolicy {
    /// A week, and a tenth of the disk: those of Mesos (reference 15.2).
    pub const DEFAULT: Self = Self { delay: Duration::secs(7 * 24 * 3600), headroom: Quantity(100) };

    /// How old a sandbox may become where so many thousandths of the disk are used: the fuller, the less, and nothing once
    /// the headroom is touched (reference 9).
    pub fn age_max(&self, used: Quantity) -> Duration {
        let free = 1000_u64.saturating_sub(self.headroom.0).saturating_sub(used.0);
        Duration(self.delay.0 / 1000 * free)
    }
}

/// What to start.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchSpec {
    /// The program.
    pub program: Program,
    /// Its whole environment, in this order; nothing is inherited but a default `PATH`.
    pub environment: Vec<(String, String)>,
    /// Variables whose values are looked up when it is launched.
    pub secrets: Vec<(String, SecretReference)>,
    /// Its sandbox, relative to the work directory of the machine; made with mode 0750, working directory of the program.
    pub sandbox: String,
    /// Share the sandbox of a container that exists already (a task beside its executor) instead of making one.
    pub join: bool,
    /// The user to run as; `None` keeps the agent's.
    pub user: Option<String>,
    /// What it has for sure.
    pub resources: Resources,
    /// How far it may go, where that is more.
    pub limits: Limits,
    /// What it asks of its walls; `None` for nothing.
    pub container: Option<Box<ContainerInfo>>,
    /// Its exact processing units, memory nodes and devices; `None` for one that runs anywhere. A container that shares the
    /// sandbox of another lies within that one's, and has none of its own.
    pub placement: Option<Placement>,
    /// Persistent volumes that it finds below its sandbox.
    pub volumes: Vec<VolumeLink>,
    /// Resource limits as in `setrlimit`: name (`RLMT_NOFILE`), soft, hard; `None` means unlimited.
    pub rlimits: Vec<(String, Option<u64>, Option<u64>)>,
    /// What is fetched into its sandbox before its program starts. A launch that can't fetch fails with the reason.
    pub uris: Vec<Uri>,
    /// The terminal that its program is started with; without one it reads nothing and writes to its files alone.
    pub terminal: Option<Window>,
}

impl LaunchSpec {
    /// A program in a sandbox of its own that asks for nothing more.
    pub fn bare(program: Program, sandbox: String) -> Self {
        Self {
            program,
            environment: Vec::new(),
            secrets: Vec::new(),
            sandbox,
            join: false,
            user: None,
            resources: Resources::new(),
            limits: Limits::default(),
            container: None,
            placement: None,
            volumes: Vec::new(),
            rlimits: Vec::new(),
            uris: Vec::new(),
            terminal: None,
        }
    }
}

/// A persistent volume in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeLink {
    /// Its directory, relative to the work directory or absolute; made when it is not there.
    pub source: String,
    /// Where the container finds it, relative to its sandbox.
    pub container_path: String,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether others may use it at the same time.
    pub shared: bool,
}

impl VolumeLink {
    /// The persistent volumes among resources: what a container that holds these finds in its sandbox.
    pub fn all_of(resources: &Resources) -> Vec<Self> {
        let links = resources.without_copies();
        let links = links.iter().filter_map(|entry| {
            let volume = entry.disk()?.volume.as_ref()?;
            let source = entry.volume_directory()?;
            let container_path = volume.container_path.clone();
            Some(Self { source, container_path, writable: volume.writable, shared: entry.is_shared() })
        });
        links.collect()
    }
}

/// Persistent volumes for one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeLinks {
    /// The sandbox, relative to the work directory.
    pub sandbox: String,
    /// What it gets.
    pub links: Vec<VolumeLink>,
}

/// The program of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// `/bin/sh -c TEXT`.
    Shell(String),
    /// A file, by path or looked up in `PATH`, and all its arguments beginning with the zeroth.
    Exec {
        /// The file; empty for what the container's image starts.
        file: String,
        /// Argument vector.
        arguments: Vec<String>,
    },
    /// The executor built into this binary.
    BuiltinExecutor,
}

/// One try whether what runs in a container is well.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Run a command beside it.
    Command(LaunchSpec),
    /// Ask by HTTP.
    Http(HttpTarget),
    /// Connect.
    Tcp(TcpTarget),
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The command has ended.
    Exited(ExitStatus),
    /// This status was answered, after redirections.
    Answered(u16),
    /// The connection was accepted, or refused.
    Connected(bool),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerOutcome {
    /// It runs.
    Launched {
        /// Process id of the program, as the machine sees it; zero where there is none.
        pid: u32,
        /// Its own addresses; none when it has the machine's.
        addresses: Vec<String>,
    },
    /// It could not be started; nothing is left of it.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// It has ended; nothing of its tree is left.
    Exited(Exit),
    /// The signals are on their way, or there was nothing to kill.
    Signalled,
    /// What came of a probe, or why nothing did: it took too long, or could not be tried.
    Probed(Result<ProbeResult, String>),
    /// What it uses; `None` when it is gone.
    Used(Option<Usage>),
    /// Its limits are changed, or why not.
    Updated(Result<(), String>),
    /// What the machine still knows of those asked for.
    Recovered(Vec<ContainerId>),
    /// The volumes are as asked for, or why not.
    Volumes(Result<(), String>),
    /// It is forgotten.
    Cleaned,
    /// Old sandboxes are removed.
    Swept {
        /// How many.
        removed: u64,
        /// How many should have gone, and could not.
        failed: u64,
        /// How many are left that may go one day, those that could not go included.
        left: u64,
    },
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// What its first process reported; `None` when nobody could know, as after a crash of the launcher.
    pub status: Option<ExitStatus>,
    /// The limit that ended it.
    pub limitation: Option<Box<Limitation>>,
    /// What it used in all.
    pub usage: Usage,
}

/// A limit that ended a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Limitation {
    /// Which kind of limit.
    pub kind: LimitKind,
    /// The limit and the figures, for people.
    pub message: String,
    /// What it used of the resource when the limit was hit, or the limit where that is not known.
    pub resources: Resources,
}

/// Kinds of limits, as statuses tell them apart (reference 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Anything else.
    Other,
}

impl LimitKind {
    /// What a status gives as reason.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Memory => Reason::ContainerLimitationMemory,
            Self::Disk => Reason::ContainerLimitationDisk,
            Self::Other => Reason::ContainerLimitation,
        }
    }
}

impl Limitation {
    /// A limit of another kind than memory and disk, with no resource to name.
    pub fn other(message: impl Into<String>) -> Self {
        Self { kind: LimitKind::Other, message: message.into(), resources: Resources::new() }
    }
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// The raw wait status that the v1 API carries (`waitpid(2)`).
    pub fn raw(self) -> i32 {
        match self {
            Self::Code(code) => (code & 0xff) << 8,
            Self::Signal(signal) => signal & 0x7f,
        }
    }

    /// What its text, as [`core::fmt::Display`] writes it, says somewhere in a longer one.
    pub fn found_in(text: &str) -> Option<Self> {
        let code = text.split_once(EXITED).and_then(|(_, rest)| {
            let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '-').unwrap_or(rest.len());
            Some(Self::Code(rest[..end].parse().ok()?))
        });
        let signal = || {
            let (_, rest) = text.split_once(TERMINATED)?;
            SIGNALS.iter().find(|(_, name)| rest.starts_with(name)).map(|(signal, _)| Self::Signal(*signal))
        };
        code.or_else(signal)
    }
}

const EXITED: &str = "exited with status ";
const TERMINATED: &str = "terminated with signal ";

/// The names of signals, as `strsignal(3)` has them and Mesos tells them.
const SIGNALS: [(i32, &str); 18] = [
    (1, "Hangup"),
    (2, "Interrupt"),
    (3, "Quit"),
    (4, "Illegal instruction"),
    (5, "Trace/breakpoint trap"),
    (6, "Aborted"),
    (7, "Bus error"),
    (8, "Floating point exception"),
    (9, "Killed"),
    (10, "User defined signal 1"),
    (11, "Segmentation fault"),
    (12, "User defined signal 2"),
    (13, "Broken pipe"),
    (14, "Alarm clock"),
    (15, "Terminated"),
    (24, "CPU time limit exceeded"),
    (25, "File size limit exceeded"),
    (31, "Bad system call"),
];

impl core::fmt::Display for ExitStatus {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "{EXITED}{code}"),
            Self::Signal(signal) => match SIGNALS.iter().find(|(number, _)| number == signal) {
                Some((_, name)) => write!(formatter, "{TERMINATED}{name}"),
                None => write!(formatter, "{TERMINATED}{signal}"),
            },
        }
    }
}

/// What a container uses or used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user mode.
    pub user_time: Duration,
    /// Processor time in the kernel.
    pub system_time: Duration,
    /// Resident memory in bytes: now, or the largest after the end.
    pub memory_bytes: u64,
    /// Processes in its tree.
    pub processes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_found_in_what_is_told_of_it() {
        let signals = SIGNALS.map(|(signal, _)| ExitStatus::Signal(signal));
        for status in [0, 1, 127, 255, -1].map(ExitStatus::Code).into_iter().chain(signals) {
            for text in [format!("Command {status}"), format!("Command {status} (pid: 1); more")] {
                assert_eq!(ExitStatus::found_in(&text), Some(status), "{text}");
            }
        }
        for text in ["", "Command exited with status", "terminated with signal Unheard of", "Executor terminated"] {
            assert_eq!(ExitStatus::found_in(text), None, "{text}");
        }
    }
}
