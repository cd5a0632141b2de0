//! What of the machine's files a container sees: `filesystem/posix` (the machine's own), `filesystem/linux` (in a view of
//! its own, with volumes), `filesystem/shared` (private directories over shared ones), and the volumes `volume/host_path`,
//! `volume/sandbox_path` and `volume/secret` (reference 12.1). The mounts themselves are made by the launcher.

use crate::isolator::{Contribution, Error, Isolator, Mount};
use crate::linux::has_own_root;
use crate::sandbox;
use crate::secrets::SECRET_BYTES_MAX;
use crate::way;
use kaon_kernel::container::{LaunchSpec, VolumeLink};
use kaon_kernel::container_info::{ContainerInfo, Propagation, Volume, VolumeSource};
use kaon_kernel::id::ContainerId;
use kaon_kernel::secret::Secret;
use std::path::{Component, Path, PathBuf};

/// The name of the one that shows a container's files in a view of its own.
pub const LINUX: &str = "filesystem/linux";

/// How files are shown, and the volumes of each kind, as isolators.
#[derive(Clone, Debug)]
pub enum Filesystem {
    /// `filesystem/posix`: as the machine has them.
    Posix,
    /// `filesystem/linux`: in a view of the container's own, with its persistent volumes.
    Linux {
        /// The machine's work directory.
        work_directory: PathBuf,
    },
    /// `filesystem/shared`: as the machine has them, with directories of the sandbox over some.
    Shared {
        /// The machine's work directory.
        work_directory: PathBuf,
    },
    /// `volume/host_path`.
    HostPath {
        /// The machine's work directory.
        work_directory: PathBuf,
        /// Whether a missing directory is made (`--host-path-volume-force-creation`).
        is_made: bool,
    },
    /// `volume/sandbox_path`.
    SandboxPath {
        /// The machine's work directory.
        work_directory: PathBuf,
    },
    /// `volume/secret`.
    Secret {
        /// The machine's work directory.
        work_directory: PathBuf,
    },
}

impl Filesystem {
    fn refuse(&self, reason: String) -> Error {
        Error::Refused { isolator: self.name(), reason }
    }

    fn volume(&self, work: &Path, sandbox: &str, volume: &Volume, has_root: bool) -> Result<Option<Mount>, Error> {
        let home = &work.join(sandbox);
        let to = || placed(home, &volume.container_path, has_root).map_err(|reason| self.refuse(reason));
        match (self, &volume.source) {
            (Self::HostPath { is_made, .. }, VolumeSource::Host { path, propagation }) if path.starts_with('/') => {
                let from = PathBuf::from(path);
                if *propagation == Propagation::Bidirectional {
                    let reason = "mounts of a container are never shown to the machine (BIDIRECTIONAL)".to_owned();
                    return Err(self.refuse(reason));
                }
                if !from.exists() && *is_made {
                    let made = way::make(&from, 0o755);
                    made.map_err(|error| self.refuse(format!("can't make '{path}': {error}")))?;
                }
                if !from.exists() {
                    return Err(self.refuse(format!("there is no '{path}' on this machine")));
                }
                let follows = *propagation == Propagation::HostToContainer;
                Ok(Some(Mount::Bind { from, to: to()?, is_read_only: volume.is_read_only, follows }))
            }
            (Self::Shared { .. }, VolumeSource::Host { path, .. }) if !path.starts_with('/') => {
                let from = below(home, path).map_err(|reason| self.refuse(reason))?;
                let to = PathBuf::from(&volume.container_path);
                if !to.is_absolute() || !to.is_dir() {
                    return Err(self.refuse(format!("'{}' is no directory of this machine", volume.container_path)));
                }
                Ok(Some(Mount::Bind { from, to, is_read_only: volume.is_read_only, follows: false }))
            }
            (Self::SandboxPath { .. }, VolumeSource::Sandbox { is_parents, path }) => {
                let from = match is_parents {
                    true => of_parent(work, sandbox, path),
                    false => below(home, path),
                };
                let from = from.map_err(|reason| self.refuse(reason))?;
                Ok(Some(Mount::Bind { from, to: to()?, is_read_only: volume.is_read_only, follows: false }))
            }
            // A reference has been looked up by now.
            (Self::Secret { .. }, VolumeSource::Secret(Secret::Value(data))) => {
                if data.len() > SECRET_BYTES_MAX {
                    let reason = format!("a secret of {} bytes, at most {SECRET_BYTES_MAX} go", data.len());
                    return Err(self.refuse(reason));
                }
                if volume.container_path.starts_with('/') {
                    return Err(self.refuse("a secret can only be shown in the sandbox".to_owned()));
                }
                Ok(Some(Mount::Secret { to: to()?, data: data.clone() }))
            }
            _ => Ok(None),
        }
    }
}

impl Filesystem {
    /// A persistent volume, which `volumes::prepare` has made.
    fn persistent(&self, work: &Path, sandbox: &str, link: &VolumeLink, has_root: bool) -> Result<Mount, Error> {
        let to = placed(&work.join(sandbox), &link.container_path, has_root).map_err(|reason| self.refuse(reason))?;
        Ok(Mount::Bind { from: work.join(&link.source), to, is_read_only: !link.writable, follows: false })
    }
}

impl Isolator for Filesystem {
    fn name(&self) -> &'static str {
        match self {
            Self::Posix => "filesystem/posix",
            Self::Linux { .. } => LINUX,
            Self::Shared { .. } => "filesystem/shared",
            Self::HostPath { .. } => "volume/host_path",
            Self::SandboxPath { .. } => "volume/sandbox_path",
            Self::Secret { .. } => "volume/secret",
        }
    }

    fn prepare(&self, _: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let mut wanted = Contribution::default();
        let work_directory = match self {
            Self::Posix => return Ok(wanted),
            Self::Linux { work_directory } => {
                wanted.namespaces.mnt = true;
                let has_root = has_own_root(spec);
                let mounts =
                    spec.volumes.iter().map(|link| self.persistent(work_directory, &spec.sandbox, link, has_root));
                wanted.mounts = mounts.collect::<Result<_, _>>()?;
                return Ok(wanted);
            }
            Self::Shared { work_directory }
            | Self::HostPath { work_directory, .. }
            | Self::SandboxPath { work_directory }
            | Self::Secret { work_directory } => work_directory,
        };
        let Some(container) = spec.container.as_ref().filter(|asked| asked.docker.is_none()) else { return Ok(wanted) };
        for volume in &container.volumes {
            wanted.mounts.extend(self.volume(work_directory, &spec.sandbox, volume, container.image.is_some())?);
        }
        wanted.namespaces.mnt = !wanted.mounts.is_empty();
        Ok(wanted)
    }
}

/// Which isolator a volume needs.
fn needed(volume: &Volume) -> &'static str {
    match &volume.source {
        VolumeSource::Host { path, .. } if path.starts_with('/') => "volume/host_path",
        VolumeSource::Host { .. } => "filesystem/shared",
        VolumeSource::Sandbox { .. } => "volume/sandbox_path",
        VolumeSource::Secret(_) => "volume/secret",
        VolumeSource::Image(_) => "volume/image",
    }
}

/// What a container asks for and none of the isolators would carry out: it is refused rather than run without.
pub(crate) fn missing(asked: &ContainerInfo, has: impl Fn(&str) -> bool) -> Option<String> {
    if asked.docker.is_some() {
        // What else it asks for is the engine's business.
        let reason = "a Docker container is asked for, but --containerizers does not name docker";
        return (!has(crate::docker::DOCKER)).then(|| reason.to_owned());
    }
    let linux = &asked.linux;
    let mut needs: Vec<(&str, &str)> = asked.volumes.iter().map(|volume| ("a volume", needed(volume))).collect();
    let is_networked = asked.networks.iter().any(|network| network.name.is_some() || !network.ports.is_empty());
    // Who has a network of its own has a name of its own there.
    let is_named = asked.hostname.is_some() && !is_networked;
    needs.extend(is_named.then_some(("a host name", "namespaces/uts")));
    needs.extend(linux.effective.or(linux.bounding).map(|_| ("capabilities", crate::linux::CAPABILITIES)));
    needs.extend(linux.seccomp.as_ref().map(|_| ("a seccomp profile", "linux/seccomp")));
    needs.extend(is_networked.then_some(("a network", "network/cni")));
    needs.extend(linux.ipc.map(|_| ("an IPC mode", "namespaces/ipc")));
    let own_pids = linux.share_pid_namespace == Some(false);
    needs.extend(own_pids.then_some(("process numbers of its own", "namespaces/pid")));
    if asked.image.is_some() {
        needs.extend([("an image", "filesystem/linux"), ("an image", "docker/runtime")]);
    }
    let (what, isolator) = needs.into_iter().find(|(_, isolator)| !has(isolator))?;
    Some(format!("{what} is asked for, but the isolator {isolator} is not enabled"))
}

/// Where a volume shows: one in the sandbox, made when missing; or an absolute place, of the machine or of a root of its own,
/// where it is made too.
pub(crate) fn placed(home: &Path, path: &str, has_root: bool) -> Result<PathBuf, String> {
    match path.strip_prefix('/') {
        Some(rest) if has_root => inside(rest).map(|clean| Path::new("/").join(clean)),
        Some(_) if Path::new(path).exists() => Ok(PathBuf::from(path)),
        Some(_) => Err(format!("'{path}' is not there to be mounted upon")),
        None => inside(path).map(|clean| home.join(clean)),
    }
}

/// A directory in the sandbox of the container around this one: what lies in it for everyone, not the sandboxes of others within it.
fn of_parent(work: &Path, sandbox: &str, path: &str) -> Result<PathBuf, String> {
    let around = sandbox::around(sandbox).ok_or("this container has no other around it")?;
    let clean = inside(path)?;
    match clean.components().next() {
        Some(Component::Normal(first)) if sandbox::KEPT.iter().any(|kept| first == *kept) => {
            Err(format!("'{path}' is not for sharing"))
        }
        _ => Ok(work.join(around).join(clean)),
    }
}

/// A directory in the sandbox.
fn below(home: &Path, path: &str) -> Result<PathBuf, String> {
    inside(path).map(|clean| home.join(clean))
}

/// A path that stays where it is put: no `..`, nothing absolute.
fn inside(path: &str) -> Result<PathBuf, String> {
    let clean: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
    let is_inside = clean.components().all(|part| matches!(part, Component::Normal(_)));
    let text = clean.to_str().filter(|text| is_inside && sandbox::components(text).is_ok());
    text.map(PathBuf::from).ok_or_else(|| format!("'{path}' is no path in the sandbox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_volumes_stay_in_the_sandbox() {
        for bad in ["", "..", "a/../../b", "/etc", "a/..", "."] {
            assert!(inside(bad).is_err(), "{bad}");
        }
        assert_eq!(inside("./a/b").unwrap(), PathBuf::from("a/b"));
        let placed = |path: &str, has_root| placed(Path::new("/s"), path, has_root);
        assert!(placed("/no/such/place", false).is_err() && placed("/a/../../b", true).is_err());
        assert_eq!(placed("/no//such/./place", true).unwrap(), PathBuf::from("/no/such/place"));
    }

    #[test]
    fn what_members_share_lies_in_the_sandbox_around_them() {
        let of = |sandbox: &str, path: &str| of_parent(Path::new("/w"), sandbox, path);
        assert_eq!(of("runs/e/containers/m", "shared/a").unwrap(), PathBuf::from("/w/runs/e/shared/a"));
        assert_eq!(of("a/containers/b/containers/c", "s").unwrap(), PathBuf::from("/w/a/containers/b/s"));
        for sandbox in ["runs/e", "containers/alone", "containers/", "m", ""] {
            assert!(of(sandbox, "shared").unwrap_err().contains("no other around it"), "{sandbox}");
        }
        for path in ["", ".", "..", "/etc", "a/../../b", "containers/other", ".executor", "./.executor/run"] {
            assert!(of("runs/e/containers/m", path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_no_isolator_carries_out_is_refused_by_name() {
        let volume = |source| Volume { container_path: "v".into(), is_read_only: false, source };
        let host = VolumeSource::Host { path: "/srv".into(), propagation: Propagation::Private };
        let mut asked = ContainerInfo { volumes: vec![volume(host)], ..ContainerInfo::default() };
        assert!(missing(&asked, |_| false).unwrap().contains("volume/host_path is not enabled"));
        assert_eq!(missing(&asked, |name| name == "volume/host_path"), None);
        asked.hostname = Some("h".into());
        assert!(missing(&asked, |name| name == "volume/host_path").unwrap().contains("namespaces/uts"));
    }
}
