//! What of an agent's isolators the built-in executor of groups carries out for its members, each of which has files of its own:
//! the views of mounts, volumes and images. Everything else stands around the executor with all of them. An executor that may not
//! mount has none of it, and its members' volumes are refused by name.

use crate::chain::Chain;
use crate::filesystem::{Filesystem, LINUX};
use crate::images::{self, ImageVolumes, ImagesConfig, Runtime};
use crate::isolator::{Error, Isolator};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The name of the one by which an executor has no right to mount.
const USERS: &str = "namespaces/user";

/// What members of pods are shown: part of what the agent's containers are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The names of the isolators, in the order of the agent.
    isolators: Vec<String>,
    /// Whether missing directories of the machine are made (`--host-path-volume-force-creation`).
    makes_host_paths: bool,
}

impl Members {
    /// What an agent with these isolators tells its executors.
    pub fn of(chain: &Chain, makes_host_paths: bool) -> Self {
        let is_passed_on =
            |name: &&str| matches!(name.split('/').next(), Some("filesystem" | "volume")) || *name == images::RUNTIME;
        let isolators = match chain.names().any(|name| name == USERS) {
            true => Vec::new(),
            false => chain.names().filter(is_passed_on).map(str::to_owned).collect(),
        };
        Self { isolators, makes_host_paths }
    }

    /// The isolators of an executor that may mount. `images` are those of the agent, if it has any.
    ///
    /// # Errors
    /// When the machine can't carry one out.
    pub fn isolators(
        &self,
        images: Option<&ImagesConfig>,
        work_directory: &Path,
    ) -> Result<Vec<Arc<dyn Isolator>>, Error> {
        let work = || work_directory.to_owned();
        let mut all: Vec<Arc<dyn Isolator>> = Vec::new();
        for name in &self.isolators {
            let one: Arc<dyn Isolator> = match (name.as_str(), images) {
                (LINUX, _) => Arc::new(Filesystem::Linux { work_directory: work() }),
                ("filesystem/shared", _) => Arc::new(Filesystem::Shared { work_directory: work() }),
                ("volume/host_path", _) => {
                    Arc::new(Filesystem::HostPath { work_directory: work(), is_made: self.makes_host_paths })
                }
                ("volume/sandbox_path", _) => Arc::new(Filesystem::SandboxPath { work_directory: work() }),
                ("volume/secret", _) => Arc::new(Filesystem::Secret { work_directory: work() }),
                (images::VOLUMES, Some(images)) => Arc::new(ImageVolumes::new(Runtime::new(images)?, work_directory)),
                (images::RUNTIME, Some(images)) => Arc::new(Runtime::new(images)?),
                _ => continue,
            };
            all.push(one);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Settings;

    fn names(isolation: &str) -> Vec<&'static str> {
        let members = Members::of(&Settings::usual(isolation).chain().unwrap(), false);
        let text = serde_json::to_string(&members).unwrap();
        let told: Members = serde_json::from_str(&text).unwrap();
        told.isolators(None, Path::new("/w")).unwrap().iter().map(|one| one.name()).collect()
    }

    #[test]
    fn members_have_what_shows_files_and_nothing_else() {
        assert_eq!(names("posix/cpu,posix/mem,posix/rlimits"), Vec::<&str>::new());
        // Without a store of images there are none.
        let shown = ["filesystem/linux", "volume/secret", "volume/host_path", "volume/sandbox_path"];
        assert_eq!(names("posix/rlimits,volume/secret,linux/nnp,filesystem/linux"), shown);
        assert_eq!(names("namespaces/user,filesystem/linux"), Vec::<&str>::new());
    }
}
