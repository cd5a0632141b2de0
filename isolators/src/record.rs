//! The runtime directory of a container: what must be known about it after the agent has gone and come back.
//!
//! `<runtime directory>/containers/<id>/`, mode 0700, holds `launcher` (who runs it, written by the launcher before the
//! program may start), `status` (how it ended, written by the launcher when nothing of the tree is left), `limitation`
//! (a limit that ended it, written by the agent), `nested` (that it was asked for by a call, and within what) and `log` (what the launcher says, empty as a rule). Files appear whole
//! or not at all to whoever looks: written aside, renamed. They are not synced, for what they say of processes holds for one boot of
//! the machine, and no boot follows an end of its power. What does not read is treated as absent and said so. Compare Mesos's
//! `containers/<cid>/` under its runtime directory (reference 9), which is memory.

use crate::process::Process;
use kaon_kernel::container::{Exit, ExitStatus, LimitKind, Limitation, Usage};
use kaon_kernel::resource::parse;
use kaon_kernel::time::Duration;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The largest file read back, in bytes; ours are far below.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const LAUNCHER: &str = "launcher";
const STATUS: &str = "status";
const LIMITATION: &str = "limitation";
const NESTED: &str = "nested";
const LOG: &str = "log";

/// A process that can be recognised: by number and start time, within one boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Its number.
    pub(crate) pid: i32,
    /// When it began, in clock ticks since boot.
    pub(crate) start_ticks: u64,
}

impl Known {
    /// The process of this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Process::read(pid).map(|process| Self { pid, start_ticks: process.start_ticks })
    }
    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Process::own().map(|process| Self { pid: process.pid, start_ticks: process.start_ticks })
    }
    /// That very process, if it is still there, a zombie perhaps.
    pub(crate) fn find(self) -> Option<Process> {
        Process::read(self.pid).filter(|process| process.start_ticks == self.start_ticks)
    }
}

/// Who runs a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launcher {
    /// The boot of the machine in which the numbers hold.
    pub(crate) boot_id: String,
    /// The launcher.
    pub(crate) launcher: Known,
    /// The program, leader of its own session.
    pub(crate) program: Known,
    /// The sandbox, relative to the work directory.
    #[serde(default)]
    pub(crate) sandbox: String,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// What the program returned.
    pub(crate) code: Option<i32>,
    /// The signal that ended it; neither when nobody could know.
    pub(crate) signal: Option<i32>,
    /// Processor time in user mode of the whole tree, in nanoseconds.
    pub(crate) user_nanos: u64,
    /// Processor time in the kernel, in nanoseconds.
    pub(crate) system_nanos: u64,
    /// The largest resident size of one of its processes, in bytes.
    pub(crate) memory_bytes: u64,
}

impl Status {
    /// The end as the kernel of Kaon knows it.
    pub(crate) fn exit(&self, limitation: Option<Limitation>) -> Exit {
        let status = self.code.map(ExitStatus::Code).or(self.signal.map(ExitStatus::Signal));
        let usage = Usage {
            user_time: Duration::nanos(self.user_nanos),
            system_time: Duration::nanos(self.system_nanos),
            memory_bytes: self.memory_bytes,
            processes: 0,
        };
        Exit { status, limitation: limitation.map(Box::new), usage }
    }
}

/// A container that no actor knows: it was asked for by a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nested {
    /// The container around it; a container by itself has none.
    pub(crate) parent: Option<String>,
    /// Whether it ends with who listens to it.
    pub(crate) is_session: bool,
}

/// A [`Limitation`] as it is written: resources as a text that reads back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Breach {
    kind: String,
    message: String,
    resources: String,
}

const MEMORY: &str = "memory";
const DISK: &str = "disk";

impl Breach {
    fn of(limitation: &Limitation) -> Self {
        let kind = match limitation.kind {
            LimitKind::Memory => MEMORY,
            LimitKind::Disk => DISK,
            LimitKind::Other => "other",
        };
        let (message, resources) = (limitation.message.clone(), limitation.resources.to_string());
        Self { kind: kind.to_owned(), message, resources }
    }

    fn limitation(self) -> Limitation {
        let kind = match self.kind.as_str() {
            MEMORY => LimitKind::Memory,
            DISK => LimitKind::Disk,
            _ => LimitKind::Other,
        };
        let resources = parse::resources(&self.resources).unwrap_or_default();
        Limitation { kind, message: self.message, resources }
    }
}

/// The runtime directory of one container. A name only: nothing is open.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// That of a container, below the runtime directory of the agent. The id must have been checked: it becomes a name.
    pub(crate) fn of(runtime_directory: &Path, container: &str) -> Self {
        Self(all(runtime_directory).join(container))
    }
    /// One by its path.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }
    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    /// The mark of its container's processes.
    pub(crate) fn mark(&self) -> String {
        self.0.display().to_string()
    }
    /// Makes it; an error when it is there.
    pub(crate) fn create(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.0)
    }
    /// Removes it with all that is in it; nothing to do when it is gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
    /// The launcher's log, for appending.
    pub(crate) fn log(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.0.join(LOG))
    }

    /// Writes who runs the container.
    pub(crate) fn write_launcher(&self, launcher: &Launcher) -> io::Result<()> {
        self.write(LAUNCHER, launcher)
    }
    /// Who runs the container, if that is written and reads.
    pub(crate) fn launcher(&self) -> Option<Launcher> {
        self.read(LAUNCHER)
    }
    /// Writes how the container ended.
    pub(crate) fn write_status(&self, status: &Status) -> io::Result<()> {
        self.write(STATUS, status)
    }
    /// How the container ended, if it did.
    pub(crate) fn status(&self) -> Option<Status> {
        self.read(STATUS)
    }
    /// Writes which limit ended the container.
    pub(crate) fn write_limitation(&self, limitation: &Limitation) -> io::Result<()> {
        self.write(LIMITATION, &Breach::of(limitation))
    }
    /// The limit that ended the container, if one did.
    pub(crate) fn limitation(&self) -> Option<Limitation> {
        self.read(LIMITATION).map(Breach::limitation)
    }

    /// Writes that it was asked for by a call.
    pub(crate) fn write_nested(&self, nested: &Nested) -> io::Result<()> {
        self.write(NESTED, nested)
    }
    /// Whether it was asked for by a call.
    pub(crate) fn nested(&self) -> Option<Nested> {
        self.read(NESTED)
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let bytes = serde_json::to_vec(value)?;
        let directory = File::open(&self.0)?;
        let aside = format!(".{name}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&directory, aside.as_str(), flags, Mode::from_bits_truncate(0o600))?);
        file.write_all(&bytes)?;
        Ok(renameat(&directory, aside.as_str(), &directory, name)?)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.0.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a runtime record can't be read; taken as absent");
                None
            }
            Ok(_) => match serde_json::from_slice(&bytes) {
                Ok(value) => Some(value),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a runtime record is damaged; taken as absent");
                    None
                }
            },
        }
    }
}

/// The directory of all containers' runtime directories.
pub(crate) fn all(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("containers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_written_and_damage_is_absence() {
        let runtime = tempfile::tempdir().unwrap();
        fs::create_dir(all(runtime.path())).unwrap();
        let directory = Directory::of(runtime.path(), "c");
        assert!(directory.status().is_none());
        directory.create().unwrap();
        assert!(directory.create().is_err(), "a container's name is new");
        let me = Known::of(std::process::id().cast_signed()).unwrap();
        let launcher = Launcher { boot_id: "b".into(), launcher: me, program: me, sandbox: "s".into() };
        directory.write_launcher(&launcher).unwrap();
        let resources = parse::resources("mem:12.5").unwrap();
        let limitation = Limitation { kind: LimitKind::Memory, message: "too much".into(), resources };
        directory.write_limitation(&limitation).unwrap();
        let status = Status { signal: Some(9), memory_bytes: 5, ..Status::default() };
        directory.write_status(&status).unwrap();
        assert_eq!((directory.launcher(), directory.status()), (Some(launcher), Some(status.clone())));
        let exit = status.exit(directory.limitation());
        assert_eq!((exit.status, exit.limitation), (Some(ExitStatus::Signal(9)), Some(Box::new(limitation))));
        for damage in [&b"{"[..], b"", b"[]", &[0xff; 100]] {
            fs::write(directory.path().join(LAUNCHER), damage).unwrap();
            assert_eq!(directory.launcher(), None);
        }
        directory.remove().unwrap();
        directory.remove().unwrap();
        assert!(!directory.path().exists());
    }

    #[test]
    fn another_process_of_the_same_number_is_another_process() {
        let me = Known::of(std::process::id().cast_signed()).unwrap();
        assert!(me.find().is_some());
        assert!(Known { start_ticks: me.start_ticks + 1, ..me }.find().is_none());
    }
}
