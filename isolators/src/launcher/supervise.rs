//! The launcher while its program runs: reaps what ends, kills on request, and at the end takes the rest of the tree down.
//!
//! The launcher is the subreaper of all that its program ever starts: a process that daemonises, begins a session or
//! loses its parents becomes its child. So "no child is left" is proof that nothing of the container is left, and the
//! walks over `/proc`, which may miss what is being forked, only have to be repeated until then.

use super::output::Output;
use super::switchboard::Switchboard;
use super::{GRACE_DEFAULT, kill_signal};
use crate::process::{self, Process};
use crate::record::Status;
use crate::syscall::{self, Reaped};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The first pause between two rounds of KILL. A round costs a read or two for each process of the tree.
const ROUND_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest pause between two rounds of KILL: what is left then hangs in the kernel.
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Where the container is on its way to the end.
enum Phase {
    /// Its program runs and nobody has asked for its end.
    Running,
    /// It has been told TERM and has until then.
    Terminating(Instant),
    /// It is killed, with this pause until the next round.
    Killing(Duration),
}

/// What a program writes and is told, on the launcher's side.
pub(super) struct Wiring {
    /// What it writes.
    pub(super) outputs: Vec<Output>,
    /// Who listens and speaks, if anybody may.
    pub(super) switchboard: Option<Switchboard>,
    /// The program's end of its terminal.
    pub(super) terminal: Option<OwnedFd>,
}

impl Wiring {
    fn waited(&self) -> impl Iterator<Item = PollFd<'_>> {
        let has_room = self.switchboard.as_ref().is_none_or(Switchboard::has_room);
        let outputs = self.outputs.iter().filter_map(Output::descriptor).filter(move |_| has_room);
        let outputs = outputs.map(|one| PollFd::new(one, PollFlags::POLLIN));
        outputs.chain(self.switchboard.iter().flat_map(Switchboard::waited))
    }

    /// Hands on at most one piece of each output; whether there was any.
    fn serve(&mut self) -> bool {
        let mut has_moved = false;
        if let Some(board) = &mut self.switchboard {
            board.serve();
        }
        for output in &mut self.outputs {
            if self.switchboard.as_ref().is_some_and(|board| !board.has_room()) {
                break;
            }
            let Some(piece) = output.take() else { continue };
            has_moved = true;
            if let Some(board) = &mut self.switchboard {
                board.tell(output.kind(), &piece);
                board.serve();
            }
        }
        has_moved
    }

    /// Hands on all that is left, when nobody writes any more. Those who listen are waited for as long as they take something,
    /// for a bounded time.
    fn drain(&mut self) -> io::Result<()> {
        // Nothing more comes through the terminal once both ends are closed.
        self.terminal = None;
        let (mut waiting_before, mut since) = (usize::MAX, Instant::now());
        loop {
            let has_moved = self.serve();
            let Some(board) = &self.switchboard else {
                if has_moved {
                    continue;
                }
                return Ok(());
            };
            let waiting = board.waiting_bytes();
            if has_moved || waiting < waiting_before {
                since = Instant::now();
            }
            waiting_before = waiting;
            match board.farewell() {
                Some(patience) if since.elapsed() < patience => {
                    wait_for(self.waited(), PollTimeout::from(100_u8))?;
                }
                None if has_moved => {}
                _ => return Ok(()),
            }
        }
    }
}

fn wait_for<'a>(descriptors: impl Iterator<Item = PollFd<'a>>, timeout: PollTimeout) -> io::Result<()> {
    let mut waited: Vec<PollFd<'_>> = descriptors.collect();
    match poll(&mut waited, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits for the program and its whole tree to be gone, however that comes about.
pub(super) fn until_all_is_gone(program: i32, wiring: &mut Wiring) -> io::Result<Status> {
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut status = Status::default();
    let mut phase = Phase::Running;
    loop {
        // Signals first: a kill asked for before the program ended is a kill.
        while let Some(signal) = signals.read_signal()? {
            let number = signal.ssi_signo.cast_signed();
            if number == kill_signal() {
                phase = asked_to_kill(phase, Duration::from_millis(signal.ssi_ptr))?;
            } else if number == libc::SIGTERM {
                phase = asked_to_kill(phase, GRACE_DEFAULT)?;
            }
        }
        let has_ended = loop {
            match syscall::reap()? {
                Reaped::Ended(pid, raw) if pid == program => {
                    status = ended(raw);
                    // Unless a grace runs, which is the whole tree's, the end of the program is the end of the tree.
                    if let Phase::Running = phase {
                        phase = Phase::Killing(ROUND_PAUSE_MIN);
                    }
                }
                Reaped::Ended(..) => {}
                Reaped::None => break false,
                Reaped::NoChildren => break true,
            }
        };
        if has_ended {
            wiring.drain()?;
            return Ok(with_usage(status));
        }
        let board = wiring.switchboard.as_ref();
        if board.is_some_and(Switchboard::is_let_go) && !matches!(phase, Phase::Killing(_)) {
            phase = Phase::Killing(ROUND_PAUSE_MIN);
        }
        let wait = match phase {
            Phase::Running => board.and_then(Switchboard::patience),
            Phase::Terminating(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(rest) if !rest.is_zero() => Some(rest),
                _ => {
                    phase = Phase::Killing(ROUND_PAUSE_MIN);
                    Some(Duration::ZERO)
                }
            },
            Phase::Killing(pause) => {
                kill_all()?;
                phase = Phase::Killing((pause * 2).min(ROUND_PAUSE_MAX));
                Some(pause)
            }
        };
        let timeout = wait.map_or(PollTimeout::NONE, |wait| {
            // Rounded up, or the last part of a millisecond would be spent in a loop.
            let millis = wait.as_nanos().div_ceil(1_000_000);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        let signal = std::iter::once(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        wait_for(signal.chain(wiring.waited()), timeout)?;
        wiring.serve();
    }
}

/// A kill: TERM to all, once; a later one may only bring the end nearer.
fn asked_to_kill(phase: Phase, grace: Duration) -> io::Result<Phase> {
    // A grace beyond what the clock can count is one that never ends.
    let deadline = Instant::now().checked_add(grace);
    match phase {
        Phase::Killing(pause) => Ok(Phase::Killing(pause)),
        _ if grace.is_zero() => Ok(Phase::Killing(ROUND_PAUSE_MIN)),
        Phase::Terminating(before) => Ok(Phase::Terminating(deadline.map_or(before, |deadline| deadline.min(before)))),
        Phase::Running => {
            terminate_all()?;
            Ok(Phase::Terminating(deadline.unwrap_or_else(|| Instant::now() + FOREVER)))
        }
    }
}

/// As good as for ever, and within every clock.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// TERM to each process of the tree, and CONT, so that a stopped one hears it. Launchers below this one are left out:
/// what they hold hears it from here, and a second TERM means "at once" to many programs.
fn terminate_all() -> io::Result<()> {
    for process in process::descendants(std::process::id().cast_signed())? {
        if !is_launcher(process.pid) {
            let pid = Pid::from_raw(process.pid);
            let _ = kill(pid, Signal::SIGTERM);
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
    Ok(())
}

/// KILL to each process of the tree and to their process groups: the kernel signals a group in one step, so that a group
/// of processes that fork without end is caught whole.
fn kill_all() -> io::Result<()> {
    let me = std::process::id().cast_signed();
    let found: Vec<Process> = process::descendants(me)?.into_iter().filter(Process::is_alive).collect();
    // Groups of sessions that began in the tree: no process outside can be in one.
    let groups: BTreeSet<i32> =
        found.iter().map(|process| process.group).filter(|&group| group > 1 && group != me).collect();
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    for process in found {
        // What ended since it was read is a zombie of this tree as a rule; its number is free only once it is reaped, and
        // numbers come round again after tens of thousands of others.
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    Ok(())
}

fn is_launcher(pid: i32) -> bool {
    let me = std::process::id().cast_signed();
    process::run_the_same(pid, me) && process::first_argument(pid).as_deref() == Some(super::ARGUMENT.as_bytes())
}

fn ended(raw: i32) -> Status {
    let signal = libc::WIFSIGNALED(raw).then(|| libc::WTERMSIG(raw));
    Status { code: libc::WIFEXITED(raw).then(|| libc::WEXITSTATUS(raw)), signal, ..Status::default() }
}

/// What all reaped processes used together: everything, since nothing is left.
fn with_usage(status: Status) -> Status {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return status };
    let nanos = |time: TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_usec()).unwrap_or(0) * 1000
    };
    Status {
        user_nanos: nanos(usage.user_time()),
        system_nanos: nanos(usage.system_time()),
        // In kibibytes on Linux (getrusage(2)).
        memory_bytes: u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(1024),
        ..status
    }
}
