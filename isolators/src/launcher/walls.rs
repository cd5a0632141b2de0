//! What the container's first process builds around itself, in views that are its own already: nothing here is seen by
//! the rest of the machine. All of it fails closed: a wall that can't be built is the end of the launch.

use super::description::User;
use super::program::step;
use super::root;
use crate::isolator::{CapabilitySets, Contribution, Mount};
use crate::seccomp::gate;
use crate::syscall::rights;
use crate::{guard, mounts, sandbox, syscall};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::stat::Mode;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// No filesystem type, source or data.
const NONE: Option<&str> = None;

/// What must hold for every file system of ours.
const BARE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// A mount follows what happens to the one that it is a copy of, and not the other way about (`MS_SLAVE` of `mount(2)`).
const FOLLOWS: MsFlags = MsFlags::from_bits_retain(1 << 19);

/// Where the walls are built.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// The machine's work directory.
    pub(super) work_directory: &'a Path,
    /// The sandbox, relative to it.
    pub(super) sandbox: &'a str,
    /// The container's runtime directory: nobody else looks at it.
    pub(super) runtime_directory: &'a Path,
    /// Whose the sandbox is.
    pub(super) user: Option<&'a User>,
    /// The root that the container will have, when that is not the machine's.
    pub(super) root: Option<&'a OwnedFd>,
}

/// The file by which a single thread joins a control group of version 1. The kernel moves a whole process only after every processor
/// has taken note of it, which takes milliseconds; one that has a single thread moves as that thread.
pub(super) const TASKS: &str = "tasks";

/// The file by which a process joins a control group of version 2.
pub(super) const PROCESSES: &str = "cgroup.procs";

/// Joins a control group: the writer itself, whatever its number is in which namespace.
pub(super) fn join(group: &Path, by: &str) -> Result<(), String> {
    let file = group.join(by);
    let written = File::options().write(true).open(&file).and_then(|mut file| file.write_all(b"0"));
    written.map_err(|error| step(&format!("join '{}'", group.display()), error))
}

/// Cuts this view of mounts off from the machine's, which still shows its own changes here, and makes the mounts. With an
/// image the root is built, furnished and entered: nothing of the machine's files can be named afterwards.
pub(super) fn mount_all(site: &Site<'_>, walls: &Contribution) -> Result<(), String> {
    let cut = mount(NONE, "/", NONE, MsFlags::MS_REC | FOLLOWS, NONE);
    cut.map_err(|errno| step("cut off the view of mounts", errno))?;
    let Some(wanted) = &walls.root else {
        walls.mounts.iter().try_for_each(|mount| mount_one(site, mount))?;
        return if walls.is_guarded { guard() } else { Ok(()) };
    };
    // What changes this process's own view comes first: the root is furnished from it.
    let is_view = |mount: &&Mount| matches!(mount, Mount::Proc | Mount::MessageQueues | Mount::Memory { .. });
    walls.mounts.iter().filter(is_view).try_for_each(|mount| mount_one(site, mount))?;
    let held = root::build(&wanted.files)?;
    root::furnish(&held, &wanted.files, walls.hostname.as_deref())?;
    let within = Site { root: Some(&held), ..*site };
    let placed = walls.mounts.iter().filter(|mount| !is_view(mount));
    placed.into_iter().try_for_each(|mount| mount_one(&within, mount))?;
    let home = sandbox::open(site.work_directory, site.sandbox).map_err(|error| error.to_string())?;
    root::enter(&held, &home)
}

/// What changes the kernel when it is written (`/proc/sys`, control groups and the rest of `/sys`) is root's by its number alone,
/// whatever rights root has: so it can't be written at all. A root of the container's own is furnished so.
fn guard() -> Result<(), String> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| step(&format!("protect '{}'", path.display()), error);
    for at in root::READ_ONLY {
        let path = Path::new("/").join(at);
        match mount(Some(&path), &path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE) {
            Err(Errno::ENOENT) => continue,
            bound => bound.map_err(|errno| failed(&path, &errno))?,
        }
        syscall::mount_read_only(&path).map_err(|error| failed(&path, &error))?;
    }
    let mounted = mounts::of(&["sysfs", "cgroup", "cgroup2"]).map_err(|error| step("read the mounts", error))?;
    // What is mounted below `/sys` goes with it.
    let outer = mounted.iter().filter(|one| !mounted.iter().any(|other| *one != other && one.starts_with(other)));
    for path in outer {
        syscall::mount_read_only(path).map_err(|error| failed(path, &error))?;
    }
    Ok(())
}

fn mount_one(site: &Site<'_>, what: &Mount) -> Result<(), String> {
    match what {
        Mount::Proc => {
            let made = mount(Some("proc"), "/proc", Some("proc"), BARE, NONE);
            made.map_err(|errno| step("mount '/proc'", errno))
        }
        Mount::MessageQueues => match fs::exists("/dev/mqueue") {
            Ok(true) => {
                let made = mount(Some("mqueue"), "/dev/mqueue", Some("mqueue"), BARE, NONE);
                made.map_err(|errno| step("mount '/dev/mqueue'", errno))
            }
            _ => Ok(()),
        },
        Mount::Memory { to, bytes } => {
            let size = bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
            let data = format!("mode=1777{size}");
            let made = mount(Some("tmpfs"), to.as_path(), Some("tmpfs"), BARE, Some(data.as_str()));
            made.map_err(|errno| step(&format!("mount memory on '{}'", to.display()), errno))
        }
        Mount::Bind { from, to, is_read_only, follows } => {
            let source = Place::of_machine(site, from, Kind::Directory)?;
            let kind = if source.is_directory() { Kind::Directory } else { Kind::File };
            bind(site, &source, to, kind)?;
            let target = Place::of_container(site, to, Kind::There)?;
            if !follows {
                let alone = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                let cut = mount(NONE, &target.path(), NONE, alone, NONE);
                cut.map_err(|errno| step(&format!("cut off '{}'", to.display()), errno))?;
            }
            match is_read_only {
                true => make_read_only(&target, to),
                false => Ok(()),
            }
        }
        Mount::Secret { to, data } => secret(site, to, data),
        Mount::Image { files, to, is_read_only } => {
            root::build(files)?;
            bind(site, &Place::Path(files.root()), to, Kind::Directory)?;
            match is_read_only {
                true => make_read_only(&Place::of_container(site, to, Kind::There)?, to),
                false => Ok(()),
            }
        }
    }
}

fn make_read_only(target: &Place, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| step(&format!("make '{}' read-only", to.display()), error);
    syscall::mount_read_only(&target.path()).map_err(failed)
}

fn bind(site: &Site<'_>, source: &Place, to: &Path, kind: Kind) -> Result<(), String> {
    let target = Place::of_container(site, to, kind)?;
    let bound = mount(Some(&source.path()), &target.path(), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE);
    bound.map_err(|errno| step(&format!("mount upon '{}'", to.display()), errno))
}

/// A file in memory. It is made in a file system that only this process sees, and which is gone when the file is shown.
fn secret(site: &Site<'_>, to: &Path, data: &[u8]) -> Result<(), String> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| step(&format!("{what} the secret '{}'", to.display()), error);
    let hidden = site.runtime_directory;
    let made = mount(Some("tmpfs"), hidden, Some("tmpfs"), BARE, Some("mode=700"));
    made.map_err(|errno| failed("make", &errno))?;
    let path = hidden.join("secret");
    let shown = (|| {
        let opened = File::options().write(true).create_new(true).mode(0o400).open(&path);
        let mut file = opened.map_err(|error| failed("make", &error))?;
        file.write_all(data).map_err(|error| failed("write", &error))?;
        if let Some(user) = site.user {
            let given = fchown(&file, Some(user.user_id), Some(user.group_id));
            given.map_err(|error| failed("give its user", &error))?;
        }
        drop(file);
        bind(site, &Place::Path(path.clone()), to, Kind::File)?;
        make_read_only(&Place::of_container(site, to, Kind::There)?, to)
    })();
    let gone = umount2(hidden, MntFlags::MNT_DETACH);
    shown.and(gone.map_err(|errno| failed("hide", &errno)))
}

/// What a place should be when it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    /// It is there.
    There,
}

/// A place to mount from or upon. In the sandbox, which others may write, no link is ever followed: the place is held
/// open. Elsewhere it is the operator's path.
enum Place {
    Held(OwnedFd),
    Path(PathBuf),
}

impl Place {
    /// One that the container will have under this path.
    fn of_container(site: &Site<'_>, path: &Path, kind: Kind) -> Result<Self, String> {
        let is_inside = path.starts_with(site.work_directory.join(site.sandbox));
        match site.root {
            Some(root) if !is_inside => root::place(root, path, kind, true).map(Self::Held),
            _ => Self::of_machine(site, path, kind),
        }
    }

    /// One of the machine.
    fn of_machine(site: &Site<'_>, path: &Path, kind: Kind) -> Result<Self, String> {
        // What the container around shares lies in that one's sandbox, which its members may write too.
        let homes = std::iter::once(site.sandbox).chain(sandbox::around(site.sandbox));
        let mut within = homes.filter_map(|home| Some((home, path.strip_prefix(site.work_directory.join(home)).ok()?)));
        let Some((home, inside)) = within.next() else { return Ok(Self::Path(path.to_owned())) };
        let named = |error: sandbox::Error| error.to_string();
        let base = sandbox::open(site.work_directory, home).map_err(named)?;
        let Some(inside) = inside.to_str().filter(|inside| !inside.is_empty()) else { return Ok(Self::Held(base)) };
        let owner = site.user.map(|user| (user.user_id.into(), user.group_id.into()));
        let held = sandbox::reach(base, inside, kind == Kind::File, kind != Kind::There, owner);
        held.map(Self::Held).map_err(named)
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Held(descriptor) => format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into(),
            Self::Path(path) => path.clone(),
        }
    }

    fn is_directory(&self) -> bool {
        self.path().is_dir()
    }
}

/// All numbers of users, each for itself (`user_namespaces(7)`).
const EVERYBODY: &[u8] = b"0 0 4294967295";

/// Begins a view of users of its own, in which everybody is who it is outside, and rights hold for files and processes alone.
/// Whose numbers stand for whom is written by a child that stays outside: who is inside may name nobody but itself.
pub(super) fn begin_users() -> Result<(), String> {
    let failed = |errno: Errno| step("begin a view of users", errno);
    // Held before: whatever this process is called in which view of processes.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let me = nix::fcntl::open("/proc/self", flags, Mode::empty()).map_err(failed)?;
    let (wait, go) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    let mut go = Some(go);
    let scribe = syscall::fork(|| {
        drop(go.take());
        let mut byte = [0];
        let begun = File::from(wait).read_exact(&mut byte);
        let written = begun.and_then(|()| {
            ["uid_map", "gid_map"].into_iter().try_for_each(|name| {
                let map = nix::fcntl::openat(&me, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
                File::from(map).write_all(EVERYBODY)
            })
        });
        i32::from(written.is_err())
    });
    let scribe = Pid::from_raw(scribe.map_err(|error| step("fork", error))?);
    let begun = unshare(CloneFlags::CLONE_NEWUSER);
    if let (Ok(()), Some(go)) = (begun, go.take()) {
        // One that has died tells by its end.
        let _ = File::from(go).write_all(&[1]);
    }
    let ended = nix::sys::wait::waitpid(scribe, None).map_err(failed)?;
    begun.map_err(failed)?;
    match ended {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ => Err("can't say who is who in the view of users".to_owned()),
    }
}

/// Begins on these processing units, with memory of these nodes alone.
pub(super) fn settle(units: &[u32], memory_nodes: &[u32]) -> Result<(), String> {
    if !units.is_empty() {
        let mut set = CpuSet::new();
        for &unit in units {
            set.set(unit as usize).map_err(|errno| step(&format!("name the processing unit {unit}"), errno))?;
        }
        sched_setaffinity(Pid::from_raw(0), &set).map_err(|errno| step("begin on its processing units", errno))?;
    }
    if memory_nodes.is_empty() {
        return Ok(());
    }
    syscall::bind_memory(memory_nodes).map_err(|error| step("bind its memory to its nodes", error))
}

/// Who is root and may never have `SYS_ADMIN`, or has it over a view of its own alone, begins no view in which it would count for more.
pub(super) fn gate(walls: &Contribution, user: Option<&User>) -> Result<(), String> {
    let is_root = user.is_none_or(|user| user.user_id == 0);
    let is_bounded = walls.capabilities.is_some_and(|sets| sets.bounding & guard::SYS_ADMIN == 0);
    let Some(program) = gate::instructions().filter(|_| is_root && (is_bounded || walls.namespaces.user)) else {
        return Ok(());
    };
    syscall::filter_system_calls(&program).map_err(|error| step("shut the views of users", error))
}

/// Takes capabilities for ever out of reach; while there are still rights to do so.
pub(super) fn bound(sets: &CapabilitySets) -> Result<(), String> {
    let bounded = rights::bound_capabilities(sets.bounding).and_then(|()| match sets.effective {
        // From here on root gets none of them by an exec for being root.
        Some(_) => rights::root_is_nobody(),
        None => rights::inherit_no_capabilities(),
    });
    bounded.map_err(|error| step("bound the capabilities", error))
}

/// Has exactly the capabilities that are said from now on, as whoever the process is by now.
pub(super) fn hold(sets: &CapabilitySets) -> Result<(), String> {
    let Some(effective) = sets.effective else { return Ok(()) };
    rights::hold_capabilities(effective).map_err(|error| step("set the capabilities", error))
}
