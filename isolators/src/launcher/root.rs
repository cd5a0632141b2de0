//! The root of a container with an image: its layers over one another, what every program expects to find (`/proc`, `/sys`,
//! `/dev`, a few files of the network), its sandbox, and then no way back.
//!
//! All of it happens in a view of mounts that is the container's own: it goes with the last of its processes, however they
//! end. The image is hostile: every place in it is looked up as the container itself would see it (`openat2(2)`,
//! `RESOLVE_IN_ROOT`), and where the system's own file systems are mounted no link at all is followed (attacks 50 and 52). What is
//! mounted, hidden and read-only is what Mesos and Docker show (reference 12.1, `filesystem/linux`).

use super::description::User;
use super::program::step;
use super::walls::Kind;
use crate::images::{Files, SANDBOX_DIRECTORY};
use crate::syscall;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat, umask};
use nix::unistd::{UnlinkatFlags, fchdir, pivot_root, symlinkat, unlinkat};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

const NONE: Option<&str> = None;

/// What must hold for the file systems of the kernel.
const BARE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// What of `/proc` is shown and can't be written, and what is not shown at all, of `/sys` too (Docker's lists).
pub(super) const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
const HIDDEN: [&str; 10] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

/// The nodes in `/dev`: name, major and minor number.
const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What of the machine's own view of memory is the container's too: that may be its own already.
const SHARED: [&str; 2] = ["dev/shm", "dev/mqueue"];

/// The files of the network that come from the machine.
const NETWORK: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// The largest file of users of an image, in bytes.
const USERS_BYTES_MAX: u64 = 1 << 20;

/// Makes one tree of layers, and holds it open.
pub(super) fn build(files: &Files) -> Result<OwnedFd, String> {
    let root = files.root();
    let failed = |what: &str, errno: Errno| step(&format!("{what} the files of the image"), errno);
    if files.layers.is_empty() {
        let bound = mount(Some(&root), &root, NONE, MsFlags::MS_BIND, NONE);
        bound.map_err(|errno| failed("show", errno))?;
        // No device of an image is one.
        let bare = mount(NONE, &root, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NODEV, NONE);
        bare.map_err(|errno| failed("show", errno))?;
        return hold(&root);
    }
    // By descriptors: a path may hold what the option list takes for a separator, and many of them would not fit in a page.
    let held = files.layers.iter().map(|layer| hold(layer)).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (hold(&files.upper())?, hold(&files.work())?);
    let name = |descriptor: &OwnedFd| format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let lower = held.iter().map(name).collect::<Vec<_>>().join(":");
    let options = format!("lowerdir={lower},upperdir={},workdir={}", name(&upper), name(&work));
    let made = mount(Some("overlay"), &root, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()));
    made.map_err(|errno| failed("overlay", errno))?;
    hold(&root)
}

fn hold(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| step(&format!("open '{}'", path.display()), errno))
}

/// Reaches a place below the root as the container would; what is missing is made. Links lead no further than the root,
/// and nowhere when they are not to be followed.
pub(super) fn place(root: &OwnedFd, path: &Path, kind: Kind, follows: bool) -> Result<OwnedFd, String> {
    let failed = |errno: Errno| step(&format!("reach '{}' in the image", path.display()), errno);
    let mut resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    resolve.set(ResolveFlag::RESOLVE_NO_SYMLINKS, !follows);
    let look =
        |path: &Path| openat2(root, path, OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve));
    let mut here = look(Path::new(".")).map_err(failed)?;
    let mut reached = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir => continue,
            _ => return Err(failed(Errno::EINVAL)),
        };
        reached.push(name);
        here = match look(&reached) {
            Err(Errno::ENOENT) if kind != Kind::There => {
                if kind == Kind::File && parts.peek().is_none() {
                    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    let made = openat(&here, name, flags, Mode::from_bits_truncate(0o644));
                    drop(made.map_err(failed)?);
                } else {
                    mkdirat(&here, name, Mode::from_bits_truncate(0o755)).map_err(failed)?;
                }
                look(&reached).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
    }
    Ok(here)
}

fn shown(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Mounts a file system of the kernel in the root.
fn system(root: &OwnedFd, kind: &str, at: &str, flags: MsFlags, options: Option<&str>) -> Result<(), String> {
    let target = place(root, Path::new(at), Kind::Directory, false)?;
    let made = mount(Some(kind), shown(&target).as_str(), Some(kind), flags, options);
    made.map_err(|errno| step(&format!("mount '/{at}'"), errno))
}

/// Gives the root what every program expects.
pub(super) fn furnish(root: &OwnedFd, files: &Files, hostname: Option<&str>) -> Result<(), String> {
    system(root, "proc", "proc", BARE, None)?;
    system(root, "sysfs", "sys", BARE | MsFlags::MS_RDONLY, None)?;
    for at in READ_ONLY {
        let Ok(target) = place(root, Path::new(at), Kind::There, false) else { continue };
        let path = shown(&target);
        let bound = mount(Some(path.as_str()), path.as_str(), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE);
        bound.map_err(|errno| step(&format!("protect '/{at}'"), errno))?;
        // What is on top now is another mount than the one that was looked up.
        let top = place(root, Path::new(at), Kind::There, false)?;
        let done = syscall::mount_read_only(Path::new(&shown(&top)));
        done.map_err(|error| step(&format!("protect '/{at}'"), error))?;
    }
    for at in HIDDEN {
        let Ok(target) = place(root, Path::new(at), Kind::There, false) else { continue };
        let path = shown(&target);
        let hidden = match Path::new(&path).is_dir() {
            true => mount(Some("tmpfs"), path.as_str(), Some("tmpfs"), BARE | MsFlags::MS_RDONLY, Some("size=0")),
            false => mount(Some("/dev/null"), path.as_str(), NONE, MsFlags::MS_BIND, NONE),
        };
        hidden.map_err(|errno| step(&format!("hide '/{at}'"), errno))?;
    }
    devices(root)?;
    network(root, files, hostname)
}

fn devices(root: &OwnedFd) -> Result<(), String> {
    system(root, "tmpfs", "dev", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some("mode=755,size=64k"))?;
    let dev = place(root, Path::new("dev"), Kind::There, false)?;
    // The mode of a node is what is said here, whatever the mask of this process is.
    let before = umask(Mode::empty());
    let made = NODES.iter().try_for_each(|(name, major, minor)| {
        let mode = Mode::from_bits_truncate(0o666);
        match mknodat(&dev, *name, SFlag::S_IFCHR, mode, makedev(*major, *minor)) {
            // A group of devices that lets nobody make nodes: the machine's own is shown.
            Err(Errno::EPERM) => {
                let target = place(root, &Path::new("dev").join(name), Kind::File, false)?;
                let source = format!("/dev/{name}");
                let bound = mount(Some(source.as_str()), shown(&target).as_str(), NONE, MsFlags::MS_BIND, NONE);
                bound.map_err(|errno| step(&format!("show '/dev/{name}'"), errno))
            }
            made => made.map_err(|errno| step(&format!("make '/dev/{name}'"), errno)),
        }
    });
    umask(before);
    made?;
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).map_err(|errno| step(&format!("make '/dev/{name}'"), errno))?;
    }
    let options = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    system(root, "devpts", "dev/pts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some(options))?;
    for at in SHARED {
        let source = Path::new("/").join(at);
        if source.is_dir() {
            let target = place(root, Path::new(at), Kind::Directory, false)?;
            let bound = mount(Some(&source), shown(&target).as_str(), NONE, MsFlags::MS_BIND, NONE);
            bound.map_err(|errno| step(&format!("show '/{at}'"), errno))?;
        }
    }
    Ok(())
}

/// The machine's names and addresses, read-only. A link in their place would lead to a file of the image: it is taken away.
fn network(root: &OwnedFd, files: &Files, hostname: Option<&str>) -> Result<(), String> {
    for name in NETWORK {
        let mut source = Path::new("/etc").join(name);
        if let (Some(hostname), "hostname") = (hostname, name) {
            source = files.home.join("hostname");
            fs::write(&source, format!("{hostname}\n")).map_err(|error| step("write the host name", error))?;
        }
        if !source.is_file() {
            continue;
        }
        let etc = place(root, Path::new("etc"), Kind::Directory, false)?;
        let at = Path::new("etc").join(name);
        let target = match place(root, &at, Kind::File, false) {
            Ok(target) => target,
            Err(_) => {
                let gone = unlinkat(&etc, name, UnlinkatFlags::NoRemoveDir);
                gone.map_err(|errno| step(&format!("replace '/etc/{name}'"), errno))?;
                place(root, &at, Kind::File, false)?
            }
        };
        let bound = mount(Some(&source), shown(&target).as_str(), NONE, MsFlags::MS_BIND, NONE);
        bound.map_err(|errno| step(&format!("show '/etc/{name}'"), errno))?;
        let top = place(root, &at, Kind::There, false)?;
        let done = syscall::mount_read_only(Path::new(&shown(&top)));
        done.map_err(|error| step(&format!("show '/etc/{name}'"), error))?;
    }
    Ok(())
}

/// Shows the sandbox in the root, makes that the root of this process, and lets go of the machine's.
pub(super) fn enter(root: &OwnedFd, home: &OwnedFd) -> Result<(), String> {
    let target = place(root, Path::new(SANDBOX_DIRECTORY), Kind::Directory, true)?;
    let bound =
        mount(Some(shown(home).as_str()), shown(&target).as_str(), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE);
    bound.map_err(|errno| step("show the sandbox", errno))?;
    let failed = |errno: Errno| step("enter the root", errno);
    fchdir(root).map_err(failed)?;
    // The old root is laid over the new one (`pivot_root(2)`, notes), and taken away.
    pivot_root(".", ".").map_err(failed)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed)?;
    nix::unistd::chdir("/").map_err(failed)
}

/// Opens the directory that a program starts in, within the root that this process has; made when it is missing. The image says
/// which: no link of the kernel's own is followed (`/proc/PID/root`, `/proc/PID/fd`), since what is behind it may lie outside.
pub(super) fn working_directory(path: &Path) -> Result<OwnedFd, String> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    place(&hold(Path::new("/"))?, &clean, Kind::Directory, true)
}

/// Opens something that is there, within the root that this process has, as warily.
pub(super) fn open_within(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let root = nix::fcntl::open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    openat2(&root, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

/// The user that an image names, `NAME[:GROUP]`, each by name or number, as the image's own files have them.
pub(super) fn user(text: &str) -> Result<User, String> {
    let refuse = || format!("the image wants to run as '{}', whom it does not know", text.escape_default());
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let users = table("/etc/passwd");
    let groups = table("/etc/group");
    let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    let field = |line: &[String], at: usize| line.get(at).and_then(|field| number(field));
    let line = match number(name) {
        Some(id) => users.iter().find(|line| field(line, 2) == Some(id)),
        None => users.iter().find(|line| line.first().is_some_and(|known| known == name)),
    };
    let user_id = number(name).or_else(|| line.and_then(|line| field(line, 2))).ok_or_else(refuse)?;
    let group_id = match group.filter(|group| !group.is_empty()) {
        Some(group) => {
            let named = groups.iter().find(|line| line.first().is_some_and(|known| known == group));
            number(group).or_else(|| named.and_then(|line| field(line, 2))).ok_or_else(refuse)?
        }
        // One that the image does not know is in the group of root, as with Docker.
        None => line.and_then(|line| field(line, 3)).unwrap_or(0),
    };
    let own = line.and_then(|line| line.first());
    let is_member = |line: &&Vec<String>| {
        line.get(3).is_some_and(|members| members.split(',').any(|member| Some(member) == own.map(String::as_str)))
    };
    let mut all = vec![group_id];
    if group.is_none() {
        all.extend(groups.iter().filter(is_member).filter_map(|line| field(line, 2)).filter(|id| *id != group_id));
    }
    Ok(User { user_id, group_id, groups: all })
}

/// The lines of a file of users or groups, by their fields; nothing of one that can't be read.
fn table(path: &str) -> Vec<Vec<String>> {
    let mut text = String::new();
    // A pipe in its place keeps nobody waiting.
    if let Ok(file) = open_within(Path::new(path), OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        // Of a file that is no text only what was text is taken.
        let _ = File::from(file).take(USERS_BYTES_MAX).read_to_string(&mut text);
    }
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}
