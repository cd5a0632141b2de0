//! What the launcher needs to build the files of a container: values only, made by the agent and carried in the launch
//! description.

use super::manifest::RunConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a container with an image finds its sandbox (Mesos's `--sandbox_directory`).
pub(crate) const SANDBOX_DIRECTORY: &str = "/mnt/mesos/sandbox";

/// A tree of files made of layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The layers for overlayfs, the topmost first; empty when the tree lies at `home/root` already, copied.
    pub(crate) layers: Vec<PathBuf>,
    /// A directory of the container's own. Overlayfs writes to `upper` and works in `work` there; the tree appears at `root`.
    pub(crate) home: PathBuf,
}

impl Files {
    /// Where the tree is.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.join("root")
    }
    /// What was written over the layers.
    pub(crate) fn upper(&self) -> PathBuf {
        self.home.join("upper")
    }
    /// Overlayfs's own.
    pub(crate) fn work(&self) -> PathBuf {
        self.home.join("work")
    }
}

/// The root of a container, and what its image says of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its files.
    pub(crate) files: Files,
    /// What its image says.
    pub(crate) run: RunConfig,
}

impl Root {
    /// Where its program starts: where the image says, else in the sandbox.
    pub(crate) fn working_directory(&self) -> &Path {
        match self.run.working_dir.as_deref() {
            Some(directory) if directory.starts_with('/') => Path::new(directory),
            _ => Path::new(SANDBOX_DIRECTORY),
        }
    }
}
