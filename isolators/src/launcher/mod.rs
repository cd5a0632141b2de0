//! The launcher: the small process between the agent and one container's program, which outlives the agent.
//!
//! The agent has many threads, so it may do nothing between fork and exec. Its own executable with the argument [`ARGUMENT`] does
//! instead, started for the one container of an executor, forked by a [`nursery`] for those of an agent; `cli` calls [`main`]
//! before any thread or runtime exists. The conversation, over the launcher's standard input and output:
//!
//! ```text
//! agent                                   launcher                                 program
//!   │ description (length, JSON) ────────►│ own session, subreaper, output files
//!   │                                     │ fork, in one memory ──────────────────►│ own session
//!   │                                     │                                        │ record: who launches, who I am (on disk)
//!   │◄────────────────────────────────────┼───────────────────────── Forked {pid} ─│
//!   │ isolators isolate the pid           │                                        │
//!   │ go (one byte) ──────────────────────┼───────────────────────────────────────►│ walls, user, clean fds, exec
//!   │◄────────────── Running or Failed ───│◄─────────────────── error of a step ───│
//!   │        (the agent may die now)      │ reaps; kills on request; at the end the rest of the tree
//!   │                                     │ status file; exits
//! ```
//!
//! Where no isolator needs the pid the agent is not waited for: `Forked` comes with `Running`. The program lives in the launcher's memory
//! until the exec, and the launcher sleeps as long (`syscall/borrow.rs`): a fork that copies costs more than all walls together.
//!
//! Until `go` the end of the agent is the end of all; from then on it means nothing, and what a new agent needs is in
//! the runtime directory (`record.rs`). So no program ever runs that a new agent could not find. A kill is a queued
//! real-time signal whose value is the grace in milliseconds: any agent can send it, to the pidfd of a launcher that it
//! recognised, and none is lost or merged. Plain SIGTERM does the same with [`GRACE_DEFAULT`].
//!
//! Shape and pitfalls: dependencies reference 7. Nothing here knows of isolators: what they want is in the description.

pub(crate) mod description;
pub(crate) mod nursery;
mod output;
mod program;
mod root;
mod supervise;
pub(crate) mod switchboard;
mod walls;
pub(crate) mod within;

use crate::record::{Directory, Known, Launcher};
use crate::{process, sandbox, syscall};
use description::{Description, Report, Talk};
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stdin, dup2_stdout};
pub use output::Rotation;
use output::{Log, Output};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The argument that makes an executable of ours a launcher.
pub const ARGUMENT: &str = "launcher";

/// The argument that makes an executable of ours the built-in executor.
pub const EXECUTOR_ARGUMENT: &str = "executor";

/// The variable in each container's environment that names the container.
pub const CONTAINER_VARIABLE: &str = "KAON_CONTAINER_ID";

/// The variable by which what is left of a container is found when its launcher was killed: its runtime directory, which
/// is its own on the whole machine, whatever other agents and clusters run there.
pub const MARK_VARIABLE: &str = "KAON_CONTAINER_MARK";

/// The variable with the mark of the container around this one, such as a task's executor's.
pub const PARENT_VARIABLE: &str = "KAON_CONTAINER_PARENT";

/// The variable that tells a built-in executor in a network of its own the number of a socket of the machine's network: by it
/// it reaches its agent.
pub const SOCKET_VARIABLE: &str = "KAON_EXECUTOR_SOCKET";

/// The socket by which a built-in executor reaches its agent, where it has a network of its own. Only the first call gives it.
///
/// # Errors
/// When what it was told is no socket.
pub fn inherited_socket() -> io::Result<Option<std::net::UdpSocket>> {
    static TAKEN: std::sync::Once = std::sync::Once::new();
    let mut is_first = false;
    TAKEN.call_once(|| is_first = true);
    let Some(text) = std::env::var(SOCKET_VARIABLE).ok().filter(|_| is_first) else { return Ok(None) };
    let number = text.parse().map_err(io::Error::other)?;
    syscall::inherited_socket(number).map(Some)
}

/// How long after TERM comes KILL when a person sends the launcher SIGTERM: Mesos's grace of a command executor (3 s,
/// reference 6.5).
pub const GRACE_DEFAULT: Duration = Duration::from_secs(3);

/// The signal that carries a grace in milliseconds: the first real-time signal that the C library leaves to programs.
pub(crate) fn kill_signal() -> i32 {
    libc::SIGRTMIN()
}

/// The whole program of a launcher. To be called at the very start of `main`, with one thread, when the first argument is
/// [`ARGUMENT`]: it closes every file descriptor that it was not meant to have.
///
/// Returns when the container and its whole tree are gone and its status is written, or when it could not be started. With
/// a further argument it is the [`nursery`], and returns when the agent is gone.
pub fn main() -> ExitCode {
    let is_nursery = std::env::args_os().nth(2).is_some_and(|argument| argument == nursery::ARGUMENT);
    let ends_well = if is_nursery { nursery::keep().is_ok() } else { ends_well(false) };
    if ends_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Is a launcher from its first to its last moment; whether nothing went wrong. `is_reset` says that all signals have their default
/// dispositions.
fn ends_well(is_reset: bool) -> bool {
    // Whoever holds a descriptor of ours by mistake loses it here: the sandbox gets what it is meant to get.
    let prepared = syscall::close_from(3).and_then(|()| stand_alone(is_reset));
    let ended = prepared.and_then(|()| run());
    if let Err(error) = &ended {
        // Standard error is the log in the runtime directory. While the agent listens it is told as well.
        let reason = error.to_string();
        eprintln!("{reason}");
        let _ = report(&[&Report::Failed { reason }]);
    }
    ended.is_ok()
}

/// Cuts what ties this process to the one that started it.
fn stand_alone(is_reset: bool) -> io::Result<()> {
    // All signals wait until they are read from a descriptor: none can end the launcher but KILL.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    // The program gets them as they are here.
    if !is_reset {
        syscall::reset_signals();
    }
    nix::unistd::setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    nix::unistd::chdir("/")?;
    Ok(())
}

fn run() -> io::Result<()> {
    let mut from_agent = io::stdin().lock();
    let description = Description::read(&mut from_agent)?;
    let Wires { ends, mut inside } = wires(&description)?;
    let surrounding = description.within.as_ref().map(within::Surrounding::hold).transpose();
    let mut plan = program::Plan::new(&description, ends, surrounding.map_err(io::Error::other)?)?;
    let directory = Directory::at(description.runtime_directory.clone());
    let me = Known::own().ok_or_else(|| io::Error::other("/proc does not show me"))?;

    let (error_read, error_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let pid = begin(&description, &mut plan, |plan| {
        program::start(plan, &error_write, || introduce(&description, &directory, me, &mut from_agent))
    })?;
    let mut child = Waiting { pid, is_over: false };
    // What is the program's alone; and the pipe ends when nobody can write to it.
    drop((plan, error_write, from_agent));
    take_memory_back()?;
    let mut failure = Vec::new();
    File::from(error_read).take(program::ERROR_BYTES_MAX).read_to_end(&mut failure)?;
    if !failure.is_empty() {
        return Err(io::Error::other(String::from_utf8_lossy(&failure).into_owned()));
    }
    child.is_over = true;
    let forked = Report::Forked { pid: child.pid };
    // From here on the agent may be gone: then nobody hears this, and that is all right.
    let _ = match description.is_awaited {
        true => report(&[&Report::Running]),
        false => report(&[&forked, &Report::Running]),
    };
    leave_agent()?;
    let status = supervise::until_all_is_gone(child.pid, &mut inside)?;
    let written = directory.write_status(&status);
    written.map_err(|error| io::Error::other(format!("can't write the status: {error}")))
}

/// What the first process of a container tells of itself before it does anything else: it is on record, and where the agent has
/// something to do first it waits for that.
fn introduce(
    description: &Description,
    directory: &Directory,
    me: Known,
    from_agent: &mut impl Read,
) -> Result<(), String> {
    let failed = |what: &str, error: io::Error| format!("{what}: {error}");
    let program = Known::own().ok_or("/proc does not show the program")?;
    let boot_id = process::boot_id().map_err(|error| failed("can't tell the boot", error))?;
    let record = Launcher { boot_id, launcher: me, program, sandbox: description.sandbox.clone() };
    directory.write_launcher(&record).map_err(|error| failed("can't record the launch", error))?;
    if !description.is_awaited {
        return Ok(());
    }
    let gone = |error| failed("the agent went away before the start", error);
    report(&[&Report::Forked { pid: program.pid }]).map_err(gone)?;
    from_agent.read_exact(&mut [0]).map_err(gone)
}

/// Undoes what a child that lived in this memory did to it: its memory was closed to others, and may have had huge pages.
fn take_memory_back() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(true)?;
    Ok(nix::sys::prctl::set_thp_disable(true)?)
}

/// The two sides of what a container reads and writes.
struct Wires {
    ends: program::Ends,
    inside: supervise::Wiring,
}

/// The outputs of a program, in files of its sandbox or for those who listen, and its input.
fn wires(description: &Description) -> io::Result<Wires> {
    let named = |error: sandbox::Error| io::Error::other(error.to_string());
    let owner = description.user.as_ref().map(|user| (user.user_id.into(), user.group_id.into()));
    let talk = description.talk;
    let is_session = talk.is_some_and(|talk| talk.is_session);
    let mut files = Vec::new();
    let mut home = None;
    if !is_session {
        let opened = sandbox::open(Path::new(&description.work_directory), &description.sandbox).map_err(named)?;
        for name in ["stdout", "stderr"] {
            files.push((name, sandbox::open_output(&opened, name, owner).map_err(named)?));
        }
        home = Some(opened);
    }
    let log = |(name, file): (&'static str, File)| {
        let home = home.as_ref().ok_or_else(|| io::Error::other("a file without a sandbox"))?;
        Log::new(name, file, description.rotation.unwrap_or(Rotation::NONE), home, owner)
    };
    let kinds = [switchboard::OUT, switchboard::ERR];
    let Some(talk) = talk else {
        let (mut outputs, mut ends) = (Vec::new(), Vec::new());
        for (kind, (name, file)) in kinds.into_iter().zip(files) {
            if description.rotation.is_none() {
                ends.push(file);
                continue;
            }
            let (output, end) = Output::new(kind, Some(log((name, file))?))?;
            outputs.push(output);
            ends.push(end);
        }
        let ends = program::Ends::files(None, ends)?;
        return Ok(Wires { ends, inside: supervise::Wiring { outputs, switchboard: None, terminal: None } });
    };
    let logs = files.into_iter().map(log).collect::<io::Result<Vec<_>>>()?;
    talked(description, talk, logs)
}

/// The wires of a container that is talked with.
fn talked(description: &Description, talk: Talk, logs: Vec<Log>) -> io::Result<Wires> {
    let mut board = switchboard::Switchboard::new(&description.runtime_directory, talk.is_session)?;
    let mut logs = logs.into_iter();
    let Some((rows, columns)) = talk.terminal else {
        let (input, feed) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&feed, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        board.feed_pipe(feed);
        let (out, out_end) = Output::new(switchboard::OUT, logs.next())?;
        let (err, err_end) = Output::new(switchboard::ERR, logs.next())?;
        let ends = program::Ends::files(Some(input.into()), vec![out_end, err_end])?;
        let inside = supervise::Wiring { outputs: vec![out, err], switchboard: Some(board), terminal: None };
        return Ok(Wires { ends, inside });
    };
    let owner = description.user.as_ref().map(|user| user.user_id);
    let (terminal, end) = switchboard::terminal(rows, columns, owner)?;
    board.feed_terminal(terminal.try_clone()?);
    let output = Output::of(switchboard::OUT, terminal, logs.next());
    // While the launcher holds this end too, the other one does not fail when the program lets go of it for a moment.
    let terminal = Some(end.try_clone()?);
    let inside = supervise::Wiring { outputs: vec![output], switchboard: Some(board), terminal };
    Ok(Wires { ends: program::Ends::Terminal(end), inside })
}

/// Forks into the namespaces and the control group of the description: in one step where the kernel has one. The child lives in this
/// memory until it is another program, where it can: who begins a view of users may share none, and into a group of version 2 the C
/// library can't fork so. Returns when the child is another program, or before.
fn begin(
    description: &Description,
    plan: &mut program::Plan,
    mut child: impl FnMut(&program::Plan) -> i32,
) -> io::Result<i32> {
    let failed = |error: io::Error| io::Error::other(format!("can't fork: {error}"));
    let wanted = description.walls.namespaces;
    let flags = [
        (wanted.pid, libc::CLONE_NEWPID),
        (wanted.mnt, libc::CLONE_NEWNS),
        (wanted.ipc, libc::CLONE_NEWIPC),
        (wanted.uts, libc::CLONE_NEWUTS),
        (wanted.net, libc::CLONE_NEWNET),
    ];
    let flags = flags.into_iter().filter(|(is_wanted, _)| *is_wanted).fold(0, |flags, (_, flag)| flags | flag);
    match &description.walls.group {
        None if wanted.user => syscall::clone(flags, None, || child(plan)).map_err(failed),
        None => syscall::borrow::borrow(flags, || child(plan)).map_err(failed),
        Some(path) => {
            let group = File::open(path).map_err(failed)?;
            if syscall::has_clone_into_group() {
                return syscall::clone(flags, Some(group.as_fd()), || child(plan)).map_err(failed);
            }
            // An older kernel: the child joins by itself.
            plan.joins_late = true;
            syscall::clone(flags, None, || child(plan)).map_err(failed)
        }
    }
}

/// The program before it is let go: whatever goes wrong, it does not stay behind.
struct Waiting {
    pid: i32,
    is_over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            let pid = nix::unistd::Pid::from_raw(self.pid);
            // It is a child that nobody has reaped, so the number is still its own.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        }
    }
}

fn report(reports: &[&Report]) -> io::Result<()> {
    let mut lines = Vec::new();
    for report in reports {
        serde_json::to_writer(&mut lines, report)?;
        lines.push(b'\n');
    }
    let mut out = io::stdout().lock();
    out.write_all(&lines)?;
    out.flush()
}

/// Lets go of the agent's pipes, so that it sees the end of the conversation.
fn leave_agent() -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    Ok(())
}
