//! The container's first process, from the fork to the exec.
//!
//! The order of the steps matters: what needs rights (host actions, limits, groups) comes before they are given up, the
//! sandbox is entered as the user, and the last thing before exec is that nothing but the three standard descriptors and
//! the error pipe, which closes itself, is open.

use super::SOCKET_VARIABLE;
use super::description::{Description, File as ProgramFile, User};
use super::root;
use super::walls::{self, Site};
use super::within::Surrounding;
use crate::isolator::{Contribution, HostAction};
use crate::{posix, sandbox, syscall};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, execve, fchdir};
use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{self, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The variable in which an agent tells its executors where it listens.
const AGENT_VARIABLE: &str = "KAON_AGENT_ADDRESS";

/// The longest text by which a program says why it could not start, in bytes.
pub(super) const ERROR_BYTES_MAX: u64 = 4096;

/// The code of a process that could not start its program, as shells have it. Nobody sees it: the reason is told.
const CODE_NOT_STARTED: i32 = 127;

/// Everything for the start, with all texts in the form that the kernel takes.
pub(super) struct Plan {
    work_directory: PathBuf,
    runtime_directory: PathBuf,
    sandbox: String,
    ends: Ends,
    surrounding: Option<Surrounding>,
    /// A socket of the machine's network for an executor of ours that has another.
    socket: Option<UdpSocket>,
    /// Whether the program is the launcher's own executable.
    is_ours: bool,
    /// Files to try, in order.
    files: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    user: Option<User>,
    rlimits: Vec<(Resource, u64, u64)>,
    walls: Contribution,
    /// Whether the control group of version 2 still has to be joined.
    pub(super) joins_late: bool,
}

/// The program's ends of what it reads and writes.
pub(super) enum Ends {
    /// Its standard input, `/dev/null` if there is none, its standard output and error.
    Files(Option<File>, [File; 2]),
    /// A terminal for all three.
    Terminal(OwnedFd),
}

impl Ends {
    /// Ends of which the outputs are two.
    pub(super) fn files(input: Option<File>, outputs: Vec<File>) -> io::Result<Self> {
        let outputs = <[File; 2]>::try_from(outputs).map_err(|_| io::Error::other("two outputs were made"))?;
        Ok(Self::Files(input, outputs))
    }

    /// Makes them the standard descriptors of this process, which leads a session.
    fn connect(&self) -> Result<(), String> {
        let (input, output) = (|errno| step("set standard input", errno), |errno| step("set standard output", errno));
        let error = |errno| step("set standard error", errno);
        match self {
            Self::Files(given, [out, err]) => {
                match given {
                    Some(given) => dup2_stdin(given).map_err(input)?,
                    None => {
                        let nothing = File::open("/dev/null").map_err(|error| step("open '/dev/null'", error))?;
                        dup2_stdin(&nothing).map_err(input)?;
                    }
                }
                dup2_stdout(out).map_err(output)?;
                dup2_stderr(err).map_err(error)
            }
            Self::Terminal(terminal) => {
                let taken = syscall::take_terminal(terminal.as_fd());
                taken.map_err(|error| step("take the terminal", error))?;
                dup2_stdin(terminal).map_err(input)?;
                dup2_stdout(terminal).map_err(output)?;
                dup2_stderr(terminal).map_err(error)
            }
        }
    }
}

impl Plan {
    pub(super) fn new(description: &Description, ends: Ends, surrounding: Option<Surrounding>) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let texts =
            |texts: &[String]| texts.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>();
        let with_nul = |_: NulError| invalid("a NUL in a file name, argument or variable".into());
        let (files, arguments) = match &description.program {
            // The link of the own process leads to the file that it was started from, replaced or not.
            ProgramFile::Own { arguments } => (vec!["/proc/self/exe".to_owned()], arguments),
            ProgramFile::Named { file, arguments } => (candidates(file, &description.environment), arguments),
        };
        let rlimits = description.walls.rlimits.iter().map(|limit| {
            let resource = posix::resource(&limit.name).ok_or_else(|| invalid(format!("no limit {}", limit.name)))?;
            Ok((resource, limit.soft.unwrap_or(RLIM_INFINITY), limit.hard.unwrap_or(RLIM_INFINITY)))
        });
        let socket = outer_socket(description)?;
        let mut variables: Vec<_> =
            description.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        variables.extend(socket.iter().map(|socket| format!("{SOCKET_VARIABLE}={}", socket.as_raw_fd())));
        Ok(Self {
            work_directory: description.work_directory.clone(),
            runtime_directory: description.runtime_directory.clone(),
            sandbox: description.sandbox.clone(),
            ends,
            surrounding,
            socket,
            is_ours: matches!(description.program, ProgramFile::Own { .. }),
            files: texts(&files).map_err(with_nul)?,
            arguments: texts(arguments).map_err(with_nul)?,
            environment: texts(&variables).map_err(with_nul)?,
            user: description.user.clone(),
            rlimits: rlimits.collect::<io::Result<_>>()?,
            walls: description.walls.clone(),
            joins_late: false,
        })
    }
}

/// A socket of the network around a container, made before there is another: an executor of ours that has a network of its own
/// reaches its agent by it, wherever that listens.
fn outer_socket(description: &Description) -> io::Result<Option<UdpSocket>> {
    let is_executor = matches!(description.program, ProgramFile::Own { .. });
    if !(is_executor && description.walls.namespaces.net) {
        return Ok(None);
    }
    let agent = description.environment.iter().find(|(name, _)| name == AGENT_VARIABLE);
    let is_six = agent.is_some_and(|(_, address)| address.starts_with('['));
    UdpSocket::bind(if is_six { "[::]:0" } else { "0.0.0.0:0" }).map(Some)
}

/// Where a program may lie: itself when it has a slash, else in each directory of the container's `PATH` (`execvp(3)`).
fn candidates(file: &str, environment: &[(String, String)]) -> Vec<String> {
    if file.contains('/') {
        return vec![file.to_owned()];
    }
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    path.split(':').map(|directory| format!("{}/{file}", if directory.is_empty() { "." } else { directory })).collect()
}

/// Introduces itself, builds its walls and becomes the program. Runs in the child, which may live in the launcher's memory; returns only
/// when that failed, with the code to end with.
pub(super) fn start(plan: &Plan, error: &OwnedFd, introduce: impl FnOnce() -> Result<(), String>) -> i32 {
    let Err(reason) = stand_apart().and_then(|()| introduce()).and_then(|()| {
        let home = build(plan)?;
        become_program(plan, home, error)
    });
    let told = reason.as_bytes();
    let length = told.len().min(usize::try_from(ERROR_BYTES_MAX).unwrap_or(usize::MAX));
    // A few bytes in an empty pipe: all of it or nothing.
    let _ = nix::unistd::write(error, &told[..length]);
    CODE_NOT_STARTED
}

/// Cuts what ties it to the launcher, but for one thing: it does not outlive that before it is another program.
fn stand_apart() -> Result<(), String> {
    // Its own session from the first moment, so that no signal to the launcher's reaches it, nor the other way about.
    nix::unistd::setsid().map_err(|errno| step("begin a session", errno))?;
    let bound = nix::sys::prctl::set_pdeathsig(Some(Signal::SIGKILL));
    bound.map_err(|errno| step("end with the launcher", errno))?;
    // Whoever it becomes, others of that user must not look into memory that may be the launcher's.
    match nix::unistd::geteuid().is_root() {
        true => nix::sys::prctl::set_dumpable(false).map_err(|errno| step("close its memory", errno)),
        false => Ok(()),
    }
}

pub(super) fn step(what: &str, error: impl std::fmt::Display) -> String {
    format!("can't {what}: {error}")
}

/// Where a program begins, if it is not told by its path.
type Home = Option<OwnedFd>;

/// Everything that is built around the program, with the rights to. Nothing of the container can be in it yet.
fn build(plan: &Plan) -> Result<Home, String> {
    let walls = &plan.walls;
    // The groups first: what the steps below use is already the container's.
    walls.groups.iter().try_for_each(|group| walls::join(group, walls::TASKS))?;
    walls.group.iter().filter(|_| plan.joins_late).try_for_each(|group| walls::join(group, walls::PROCESSES))?;
    if walls.namespaces.cgroup {
        // Not before the groups are joined: what the process is in now will look like the root.
        unshare(CloneFlags::CLONE_NEWCGROUP).map_err(|errno| step("begin a view of control groups", errno))?;
    }
    for action in &walls.actions {
        let HostAction::Write { path, text } = action;
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| step(&format!("write '{text}' to '{}'", path.display()), error))?;
    }
    for (resource, soft, hard) in &plan.rlimits {
        setrlimit(*resource, *soft, *hard).map_err(|errno| step(&format!("set {resource:?}"), errno))?;
    }
    if walls.namespaces.net {
        syscall::raise_loopback().map_err(|error| step("bring loopback up", error))?;
    }
    if let Some(surrounding) = &plan.surrounding {
        surrounding.enter()?;
    }
    if let Some(hostname) = &walls.hostname {
        nix::unistd::sethostname(hostname).map_err(|errno| step("set the host name", errno))?;
    }
    if walls.namespaces.mnt {
        let site = Site {
            work_directory: &plan.work_directory,
            sandbox: &plan.sandbox,
            runtime_directory: &plan.runtime_directory,
            user: plan.user.as_ref(),
            root: None,
        };
        walls::mount_all(&site, walls)?;
    }
    // Opened in the view of mounts that the program will have: through an older one it could see the machine's.
    let directory = plan.surrounding.as_ref().and_then(Surrounding::directory);
    Ok(match (&walls.root, directory) {
        (_, Some(_)) => None,
        (Some(root), None) => Some(root::working_directory(root.working_directory())?),
        (None, None) => Some(sandbox::open(&plan.work_directory, &plan.sandbox).map_err(|error| error.to_string())?),
    })
}

/// Gives up what the program shall not have, and becomes it.
fn become_program(plan: &Plan, home: Home, error: &OwnedFd) -> Result<Infallible, String> {
    let walls = &plan.walls;
    let directory = plan.surrounding.as_ref().and_then(Surrounding::directory);
    let of_image = walls.root.as_ref().and_then(|root| root.run.user.as_deref()).filter(|user| !user.is_empty());
    let user = match (&plan.user, of_image) {
        (None, Some(text)) => Some(root::user(text)?),
        (said, _) => said.clone(),
    };
    walls::settle(&walls.units, &walls.memory_nodes)?;
    if !plan.is_ours {
        // The agent does without huge pages for itself and its executors; a program has what the machine gives.
        let _ = nix::sys::prctl::set_thp_disable(false);
    }
    plan.ends.connect()?;
    if walls.namespaces.user {
        // What has been built so far stays the machine's: from here on nobody in the container can change it.
        walls::begin_users()?;
    }
    // Who can gain no rights may be filtered by anybody: as late as can be. Else it takes rights that are given up below.
    let filter = |is_last: bool| match &walls.system_calls {
        Some(program) if walls.is_bound_to_its_rights == is_last => {
            syscall::filter_system_calls(program).map_err(|error| step("filter the system calls", error))
        }
        _ => Ok(()),
    };
    walls::gate(walls, user.as_ref())?;
    filter(false)?;
    if let Some(sets) = &walls.capabilities {
        walls::bound(sets)?;
    }
    if let Some(user) = &user {
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(user.user_id), Gid::from_raw(user.group_id));
        nix::unistd::setgroups(&groups).map_err(|errno| step("set the groups", errno))?;
        nix::unistd::setresgid(gid, gid, gid).map_err(|errno| step("set the group", errno))?;
        nix::unistd::setresuid(uid, uid, uid).map_err(|errno| step("set the user", errno))?;
    }
    if let Some(sets) = &walls.capabilities {
        walls::hold(sets)?;
    }
    if walls.is_bound_to_its_rights {
        syscall::rights::gain_no_rights().map_err(|error| step("give up new rights", error))?;
    }
    match (home, directory) {
        (Some(home), _) => fchdir(home).map_err(|errno| step("enter the sandbox", errno))?,
        // The path is what a process of the container says. As its user: where that may not go it does not begin.
        (None, directory) => {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            let opened = root::open_within(Path::new(directory.unwrap_or("/")), flags).and_then(fchdir);
            opened.or_else(|_| nix::unistd::chdir("/")).map_err(|errno| step("enter its directory", errno))?;
        }
    }
    if walls.root.is_some() || directory.is_some() {
        // Where it begins has a name in its root, or it would be a way out.
        nix::unistd::getcwd().map_err(|errno| step("name its directory", errno))?;
    }
    // Not at the exec: a path of the container could lead through one of ours (`/proc/self/fd`).
    let kept: Vec<BorrowedFd<'_>> = [error.as_fd()].into_iter().chain(plan.socket.iter().map(AsFd::as_fd)).collect();
    syscall::close_all_but(&kept).map_err(|error| step("close what is open", error))?;
    if let Some(socket) = &plan.socket {
        let kept = fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()));
        kept.map_err(|errno| step("keep the socket", errno))?;
    }
    nix::sys::prctl::set_pdeathsig(None).map_err(|errno| step("outlive the launcher", errno))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| step("unblock the signals", errno))?;
    filter(true)?;
    Err(execute(plan))
}

/// Tries each file as `execvp(3)` does; returns why none became the program.
fn execute(plan: &Plan) -> String {
    let mut worst = Errno::ENOENT;
    for file in &plan.files {
        let Err(errno) = execve(file, &plan.arguments, &plan.environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // Not allowed here, but perhaps in a later directory.
            Errno::EACCES => worst = errno,
            // A script without a first line that names its interpreter is the shell's.
            Errno::ENOEXEC => {
                let mut arguments = vec![c"/bin/sh".to_owned(), file.clone()];
                arguments.extend(plan.arguments.iter().skip(1).cloned());
                let Err(errno) = execve(c"/bin/sh", &arguments, &plan.environment);
                worst = errno;
                break;
            }
            errno => {
                worst = errno;
                break;
            }
        }
    }
    let name = plan.files.last().and_then(|file| file.to_str().ok()).unwrap_or_default();
    let name = if plan.files.len() > 1 { name.rsplit('/').next().unwrap_or(name) } else { name };
    step(&format!("execute '{name}'"), worst)
}
