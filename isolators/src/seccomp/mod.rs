//! `linux/seccomp`: which system calls the programs of a container may make, by profiles in the format of Docker (reference
//! 12.1, `--seccomp-config-dir`, `--seccomp-profile-name`). What a profile means is in `profile.rs`, the program of the kernel
//! that carries it out in `program.rs`.
//!
//! A container within another has that one's profile unless it names one of its own, and a session always has it. The kernel
//! adds filters up: one that is inherited is never lost.

mod calls;
pub(crate) mod gate;
mod profile;
mod program;

use crate::isolator::{Contribution, Error, Isolator, Survivor};
use crate::linux::Rights;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::container_info;
use kaon_kernel::id::ContainerId;
use profile::Profile;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Name of [`Seccomp`].
pub const SECCOMP: &str = "linux/seccomp";

/// The largest profile in bytes; Docker's own has some 14 KiB.
const PROFILE_BYTES_MAX: u64 = 1024 * 1024;

/// What is written of a container that may make all calls.
const UNCONFINED: &str = "";

/// The isolator.
#[derive(Debug)]
pub struct Seccomp {
    directory: PathBuf,
    usual: Option<String>,
    /// Which capabilities containers have: rules of profiles may depend on them. Without, all.
    rights: Option<Rights>,
    /// Which profile each container has: those within it need to know.
    records: PathBuf,
}

impl Seccomp {
    /// With profiles in a directory, and the name of the one for containers that name none. `rights` are those of
    /// `linux/capabilities`, when that is enabled.
    ///
    /// # Errors
    /// When the usual profile is none.
    pub fn new(
        directory: Option<&Path>,
        usual: Option<&str>,
        rights: Option<Rights>,
        runtime_directory: &Path,
    ) -> Result<Self, Error> {
        let directory = directory.map(Path::to_owned).unwrap_or_default();
        let records = runtime_directory.join("seccomp");
        let seccomp = Self { directory, usual: usual.map(str::to_owned), rights, records };
        if let Some(name) = &seccomp.usual {
            seccomp.read(name)?.compile(u64::MAX).map_err(|reason| refuse(format!("profile '{name}': {reason}")))?;
        }
        Ok(seccomp)
    }

    fn read(&self, name: &str) -> Result<Profile, Error> {
        if self.directory.as_os_str().is_empty() {
            return Err(refuse(format!("profile '{name}' is asked for, but there is no --seccomp-config-dir")));
        }
        let is_name = !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
        if !is_name {
            return Err(refuse(format!("'{}' is no name of a profile", name.escape_default())));
        }
        let mut text = String::new();
        let read = fs::File::open(self.directory.join(name))
            .and_then(|file| file.take(PROFILE_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|error| refuse(format!("profile '{name}' can't be read: {error}")))?;
        serde_json::from_str(&text).map_err(|error| refuse(format!("profile '{name}' does not read: {error}")))
    }

    /// The profile of the nearest container around one that has any word on it.
    fn surrounding(&self, container: &ContainerId) -> Option<String> {
        let mut name = container.as_str();
        while let Some((parent, _)) = name.rsplit_once('.') {
            if let Ok(text) = fs::read_to_string(self.records.join(parent)) {
                return Some(text);
            }
            name = parent;
        }
        None
    }

    fn record(&self, container: &ContainerId, name: &str) -> io::Result<()> {
        fs::create_dir_all(&self.records)?;
        // Names of containers never begin with a dot twice: ids are checked.
        let aside = self.records.join(format!("{container}~"));
        fs::write(&aside, name)?;
        fs::rename(aside, self.records.join(container.as_str()))
    }
}

fn refuse(reason: String) -> Error {
    Error::Refused { isolator: SECCOMP, reason }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { isolator: SECCOMP, action: action.to_owned(), source }
}

impl Isolator for Seccomp {
    fn name(&self) -> &'static str {
        SECCOMP
    }

    fn recover(&self, survivors: &[Survivor], _: &[ContainerId]) -> Result<(), Error> {
        let Ok(entries) = fs::read_dir(&self.records) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !survivors.iter().any(|survivor| name == survivor.container.as_str()) {
                fs::remove_file(entry.path()).map_err(failed("remove the record of a container"))?;
            }
        }
        Ok(())
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let asked = spec.container.as_ref().and_then(|container| container.linux.seccomp.as_ref());
        let chosen = match asked {
            Some(container_info::Seccomp::Unconfined) => None,
            Some(container_info::Seccomp::Profile(name)) => Some(name.clone()),
            None => match self.surrounding(container) {
                Some(theirs) => Some(theirs).filter(|name| name != UNCONFINED),
                None => self.usual.clone(),
            },
        };
        let mut wanted = Contribution::default();
        if let Some(name) = &chosen {
            let sets = self.rights.map(|rights| rights.prepare(container, spec)).transpose()?;
            let bounding = sets.and_then(|wanted| wanted.capabilities).map_or(u64::MAX, |sets| sets.bounding);
            let program = self.read(name)?.compile(bounding);
            wanted.system_calls = program.map_err(|reason| refuse(format!("profile '{name}': {reason}")))?;
        }
        let told = self.record(container, chosen.as_deref().unwrap_or(UNCONFINED));
        told.map_err(failed("record the profile of a container"))?;
        Ok(wanted)
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        match fs::remove_file(self.records.join(container.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove the record of a container")(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("p"), r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#).unwrap();
        let made = |usual| Seccomp::new(Some(directory.path()), usual, None, directory.path());
        assert!(made(Some("p")).is_ok() && made(None).is_ok());
        for bad in ["q", "../p", "", ".", "/etc/passwd"] {
            assert!(made(Some(bad)).is_err(), "{bad}");
        }
        assert!(Seccomp::new(None, Some("p"), None, directory.path()).is_err());
    }

    #[test]
    fn those_within_have_the_profile_of_the_nearest_around_them() {
        let directory = tempfile::tempdir().unwrap();
        let seccomp = Seccomp::new(None, None, None, directory.path()).unwrap();
        let id = |name: &str| ContainerId::trusted(name);
        seccomp.record(&id("a"), "strict").unwrap();
        seccomp.record(&id("a.b"), UNCONFINED).unwrap();
        assert_eq!(seccomp.surrounding(&id("a.c.d")).as_deref(), Some("strict"));
        assert_eq!(seccomp.surrounding(&id("a.b.c")).as_deref(), Some(UNCONFINED));
        assert_eq!((seccomp.surrounding(&id("a")), seccomp.surrounding(&id("x.y"))), (None, None));
        seccomp.recover(&[Survivor { container: id("a"), pid: 1 }], &[]).unwrap();
        assert_eq!(seccomp.surrounding(&id("a.b.c")).as_deref(), Some("strict"));
        seccomp.cleanup(&id("a")).unwrap();
        seccomp.cleanup(&id("a")).unwrap();
    }
}
