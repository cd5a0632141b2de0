//! The worker: a process of its own that fetches what one order says and ends.
//!
//! ```text
//! agent                                     worker
//!   │ order (length, JSON) ────────────────►│ limits; opens the sandbox and files of the cache
//!   │                                       │ becomes the task's user
//!   │◄──────────── Room {bytes}, NoRoom ────│ only for the cache
//!   │ 1 or 0 ──────────────────────────────►│
//!   │◄──────────────── Done or Failed ──────│ and ends
//! ```
//! It ends, too, when the agent's side of the conversation does. What it did is told in the sandbox's `stderr`, where
//! people of Mesos look for it.

use super::archive;
use super::bounds::Budget;
use super::error::Error;
use super::http;
use super::name::Kind;
use super::order::{self, Job, Order, Report, Source};
use super::target::Target;
use super::tree::Tree;
use crate::launcher::description::User;
use crate::{sandbox, syscall};
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;

/// The most processor time of a worker in seconds: what unpacking 64 GiB takes on a slow machine.
const PROCESSOR_SECONDS_MAX: u64 = 3600;

/// Room in the cache is asked for in steps of so many bytes when the size is not known.
const ROOM_STEP_BYTES: u64 = 16 << 20;

/// How much of a file is copied at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A job with the files that only the agent's user may open.
enum Ready {
    Keep { from: String, shown: String, file: File },
    Place { from: Opened, shown: String, name: String, executable: bool, extract: bool },
}

enum Opened {
    Uri(String),
    Kept(File),
}

/// The whole program of a worker. To be called at the very start of `main`, with one thread, when the first argument is
/// [`super::ARGUMENT`]: it closes every file descriptor that it was not meant to have.
pub fn main() -> ExitCode {
    match syscall::close_from(3).map_err(|error| error.to_string()).and_then(|()| run()) {
        Ok(report) => match say(&report) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(reason) => {
            let _ = say(&Report::Failed { reason });
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("the fetcher can't {what}: {error}");
    let mut order: Order = order::read(&mut io::stdin().lock()).map_err(|error| failed("read its order", &error))?;
    limit(order.bounds.memory_bytes_max)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let owner = order.user.as_ref().map(|user| (user.user_id.into(), user.group_id.into()));
    let mut home = None;
    if let Some(path) = &order.sandbox {
        let opened = sandbox::open(&order.work_directory, path).map_err(|error| failed("open the sandbox", &error))?;
        let log = sandbox::open_output(&opened, "stderr", owner).map_err(|error| failed("log", &error))?;
        home = Some((Tree::new(opened), log));
    }
    let jobs: Result<Vec<Ready>, String> = std::mem::take(&mut order.jobs).into_iter().map(ready).collect();
    let jobs = jobs?;
    if let Some(user) = &order.user {
        become_user(user).map_err(|errno| failed("become the task's user", &errno))?;
    }
    nix::sys::prctl::set_no_new_privs().map_err(|errno| failed("give up rights", &errno))?;
    let answers = listen().map_err(|error| failed("hear the agent", &error))?;
    let mut budget = Budget::new(order.bounds);
    for job in jobs {
        let (shown, done) = match job {
            Ready::Keep { from, shown, file } => (shown, keep(&from, file, &order, &answers, &mut budget)),
            Ready::Place { from, shown, name, executable, extract } => {
                let Some((tree, log)) = &mut home else { return Err("the fetcher has no sandbox".to_owned()) };
                let done = place(from, &name, executable, extract, &order, tree, &mut budget);
                // What can't be logged, since the disk is full perhaps, is told to the agent all the same.
                let _ = match &done {
                    Ok(()) => writeln!(log, "Fetched {shown} to '{name}'"),
                    Err(error) => writeln!(log, "Failed to fetch {shown}: {error}"),
                };
                (shown, done)
            }
        };
        match done {
            Ok(()) => {}
            Err(Error::NoRoom) => return Ok(Report::NoRoom),
            Err(error) => return Ok(Report::Failed { reason: format!("can't fetch {shown}: {error}") }),
        }
    }
    Ok(Report::Done)
}

/// Takes from this process what it will not need: memory beyond so many bytes more, processor time, core dumps.
pub(crate) fn limit(memory_bytes_max: u64) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("the fetcher can't {what}: {error}");
    let memory = data_bytes().map_err(|error| failed("weigh itself", &error))?;
    for (limit, most) in [
        (Resource::RLIMIT_DATA, memory.saturating_add(memory_bytes_max)),
        (Resource::RLIMIT_CPU, PROCESSOR_SECONDS_MAX),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(limit, most, most).map_err(|error| failed("limit itself", &error))?;
    }
    Ok(())
}

fn ready(job: Job) -> Result<Ready, String> {
    let failed = |error: io::Error| format!("the fetcher can't open a file of the cache: {error}");
    Ok(match job {
        Job::Keep { from, shown, path } => {
            let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
            Ready::Keep { from, shown, file }
        }
        Job::Place { from, shown, name, executable, extract } => {
            let from = match from {
                Source::Uri(uri) => Opened::Uri(uri),
                Source::Kept(path) => Opened::Kept(File::open(path).map_err(failed)?),
            };
            Ready::Place { from, shown, name, executable, extract }
        }
    })
}

fn become_user(user: &User) -> nix::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.user_id), Gid::from_raw(user.group_id));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// What this process has of writable memory, in use or set aside by its allocator.
fn data_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Hears the agent's answers, and ends this process when the agent goes away.
pub(crate) fn listen() -> io::Result<mpsc::Receiver<bool>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().lock().read_exact(&mut byte), Ok(())) {
            // Nobody is left to hear when the work is done.
            let _ = sender.send(byte[0] == 1);
        }
        std::process::exit(1);
    })?;
    Ok(receiver)
}

pub(crate) fn say(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Room in the cache, as far as it was granted.
struct Room<'a> {
    answers: &'a mpsc::Receiver<bool>,
    granted: u64,
    used: u64,
}

impl Room<'_> {
    fn ask(&mut self, bytes: u64) -> Result<(), Error> {
        say(&Report::Room { bytes }).map_err(Error::io("ask for room"))?;
        match self.answers.recv() {
            Ok(true) => {
                self.granted += bytes;
                Ok(())
            }
            Ok(false) | Err(mpsc::RecvError) => Err(Error::NoRoom),
        }
    }

    fn announced(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes > 0 { self.ask(bytes) } else { Ok(()) }
    }

    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        self.used += bytes;
        if self.used > self.granted { self.ask((self.used - self.granted).max(ROOM_STEP_BYTES)) } else { Ok(()) }
    }
}

fn keep(
    from: &str,
    mut to: File,
    order: &Order,
    answers: &mpsc::Receiver<bool>,
    budget: &mut Budget,
) -> Result<(), Error> {
    let room = std::cell::RefCell::new(Room { answers, granted: 0, used: 0 });
    let announced = |bytes: Option<u64>| room.borrow_mut().announced(bytes.unwrap_or(0));
    let take = |bytes: &[u8]| {
        room.borrow_mut().take(bytes.len() as u64)?;
        budget.take(bytes.len() as u64)?;
        to.write_all(bytes).map_err(Error::io("write"))
    };
    bring(from, order, announced, take)
}

fn place(
    from: Opened,
    name: &str,
    executable: bool,
    extract: bool,
    order: &Order,
    tree: &mut Tree,
    budget: &mut Budget,
) -> Result<(), Error> {
    let kind = if extract && !executable { Kind::of(name) } else { None };
    let mode = if executable { 0o755 } else { 0o644 };
    match (from, kind) {
        // As in Mesos an archive of the cache is not copied, only unpacked.
        (Opened::Kept(file), Some(kind)) => archive::unpack(kind, file, name, tree, budget),
        (Opened::Kept(mut file), None) => {
            let mut to = tree.file(name.as_bytes(), mode)?;
            copy(&mut file, |bytes| {
                budget.take(bytes.len() as u64)?;
                to.write_all(bytes).map_err(Error::io("write"))
            })
        }
        (Opened::Uri(uri), kind) => {
            let mut to = tree.file(name.as_bytes(), mode)?;
            let most = order.bounds.bytes_max;
            let announced = |bytes: Option<u64>| match bytes {
                Some(bytes) if bytes > most => Err(Error::TooMany { what: "bytes", most }),
                _ => Ok(()),
            };
            bring(&uri, order, announced, |bytes| {
                budget.take(bytes.len() as u64)?;
                to.write_all(bytes).map_err(Error::io("write"))
            })?;
            drop(to);
            match kind {
                Some(kind) => archive::unpack(kind, tree.open(name.as_bytes())?, name, tree, budget),
                None => Ok(()),
            }
        }
    }
}

/// Brings the bytes of a URI.
fn bring(
    uri: &str,
    order: &Order,
    announced: impl FnOnce(Option<u64>) -> Result<(), Error>,
    take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    match Target::parse(uri, order.frameworks_home.as_deref())? {
        Target::File(path) => {
            let mut file = open_plain(&path)?;
            announced(Some(file.metadata().map_err(Error::io("look at it"))?.len()))?;
            copy(&mut file, take)
        }
        Target::Http(location) => http::download(&location, order.stall_timeout, announced, take),
    }
}

/// Opens a file of the machine, with the rights of the task's user. Only plain files have an end.
fn open_plain(path: &Path) -> Result<File, Error> {
    let shown = super::name::shown(path.as_os_str().as_encoded_bytes());
    // Not blocking: the open of a pipe without a writer would never return.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(Error::io(format!("open '{shown}'")))?;
    match file.metadata().map_err(Error::io("look at it"))?.is_file() {
        true => Ok(file),
        false => Err(Error::NotAPlainFile(shown)),
    }
}

fn copy(from: &mut File, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&chunk[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read it")(error)),
        }
    }
}
