//! What an image changes of a launch: the program, its environment, its user, and for whom the root is built.
//!
//! A framework's own program lives in the root of its image. The executor that is built in does not: its own files are the
//! machine's. It stays outside as the agent's user, and is told in a file that only that user reads what to build around its task;
//! the walls that take rights away go with the root, or it could not be built (Mesos's command executor does the same).

use super::{ContainersConfig, Inner};
use crate::images::{self, SANDBOX_DIRECTORY, merged};
use crate::isolator::{Contribution, Mount};
use crate::launcher::description::User;
use crate::record::Directory;
use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The variable that tells an executor where it is said what stands around its task.
pub const INSIDE_VARIABLE: &str = "KAON_EXECUTOR_INSIDE";

/// The name of that file in the runtime directory of the executor's container.
const INSIDE: &str = "inside";

/// What an executor that stays outside builds around its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    user: Option<User>,
    walls: Contribution,
}

impl Inside {
    /// Reads what an agent has written.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    fn write(&self, directory: &Directory) -> io::Result<String> {
        let path = directory.path().join(INSIDE);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(path.display().to_string())
    }
}

/// What a launch becomes.
pub(super) struct Shape {
    pub(super) program: Program,
    /// Variables that all others win over.
    pub(super) before: Vec<(String, String)>,
    /// Variables that win over all others.
    pub(super) after: Vec<(String, String)>,
}

/// Whether images have to be brought before this can be launched.
pub(super) fn are_needed(config: &ContainersConfig, spec: &LaunchSpec) -> bool {
    // The task of an executor that was told what is around it has its image already.
    images::are_asked_for(spec.container.as_deref()) && config.inside.is_none()
}

impl Inner {
    /// Brings the images that a container asks for.
    pub(super) async fn bring_images(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<(), String> {
        let Some(asked) = spec.container.as_deref().filter(|_| are_needed(&self.config, spec)) else { return Ok(()) };
        match &self.config.images {
            Some(images) => images.provide(container, asked).await,
            None => Err("the container asks for an image, and there is no store of images".to_owned()),
        }
    }
}

/// Puts what an image says where it belongs.
pub(super) fn shape(
    config: &ContainersConfig,
    spec: &LaunchSpec,
    directory: &Directory,
    user: &mut Option<User>,
    wanted: &mut Contribution,
) -> Result<Shape, String> {
    let mut after = Vec::new();
    if let Some(inside) = config.inside.as_ref().filter(|_| spec.join) {
        user.clone_from(&inside.user);
        let own = std::mem::replace(wanted, inside.walls.clone());
        (wanted.rlimits, wanted.environment) = (own.rlimits, own.environment);
    }
    if spec.program == Program::BuiltinExecutor
        && let Some(root) = wanted.root.take()
    {
        let is_below = |mount: &Mount| match mount {
            Mount::Bind { to, .. } | Mount::Secret { to, .. } | Mount::Image { to, .. } => {
                to.starts_with(config.work_directory.join(&spec.sandbox))
            }
            Mount::Proc | Mount::MessageQueues | Mount::Memory { .. } => true,
        };
        let (outer, inner) = std::mem::take(&mut wanted.mounts).into_iter().partition(is_below);
        wanted.mounts = outer;
        let mut walls = Contribution { root: Some(root), mounts: inner, ..Contribution::default() };
        walls.namespaces.mnt = true;
        walls.hostname.clone_from(&wanted.hostname);
        walls.capabilities = wanted.capabilities.take();
        walls.is_bound_to_its_rights = std::mem::take(&mut wanted.is_bound_to_its_rights);
        let told = Inside { user: user.take(), walls }.write(directory);
        after.push((INSIDE_VARIABLE.to_owned(), told.map_err(|error| format!("can't tell the executor: {error}"))?));
    }
    let Some(root) = &wanted.root else {
        return Ok(Shape { program: spec.program.clone(), before: Vec::new(), after });
    };
    after.push(("MESOS_SANDBOX".to_owned(), SANDBOX_DIRECTORY.to_owned()));
    Ok(Shape { program: merged(&spec.program, &root.run)?, before: root.run.variables().collect(), after })
}
