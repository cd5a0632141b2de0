//! What an image changes of a launch: the program, its environment, its user, and for whom the root is built.
//!
//! A framework's own program lives in the root of its image. The executor that is built in does not: its own files are the
//! machine's. It stays outside as the agent's user, and is told in a file that only that user reads what to build around its task;
//! the walls that take rights away go with the root, or it could not be built (Mesos's command executor does the same).

use super::join::{EXECUTOR_KIND, Join};
use super::nested::is_private;
use super::{ContainersConfig, Inner};
use crate::docker::DockerContainers;
use crate::images::{self, SANDBOX_DIRECTORY, merged};
use crate::isolator::{Contribution, Mount};
use crate::launcher::description::{User, Within};
use crate::process;
use crate::record::{Directory, Nested};
use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::id::ContainerId;
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// The variable that tells an executor where it is said what stands around its task.
pub const INSIDE_VARIABLE: &str = "KAON_EXECUTOR_INSIDE";

/// The variable that tells an executor with more rights than its task where it may keep its own files: not in the sandbox, which
/// is its task's.
pub const RUNTIME_VARIABLE: &str = "KAON_EXECUTOR_RUNTIME";

/// The variable that tells an executor of groups which rights its tasks have (JSON): it has more itself, since it builds their walls.
pub const RIGHTS_VARIABLE: &str = "KAON_EXECUTOR_RIGHTS";

/// The name of that directory in the runtime directory of its container.
const RUNTIME: &str = "executor";

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
    is_docker(spec) || (images::are_asked_for(spec.container.as_deref()) && config.inside.is_none())
}

/// Whether a Docker engine runs it.
fn is_docker(spec: &LaunchSpec) -> bool {
    let is_asked_for = spec.container.as_ref().is_some_and(|asked| asked.docker.is_some());
    is_asked_for && spec.program != Program::BuiltinExecutor
}

impl Inner {
    /// Brings the images that a container asks for; one of Docker is started by its engine.
    pub(super) async fn bring_images(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<(), String> {
        if is_docker(spec) {
            let Some(docker) = &self.config.docker else { return Err("there is no Docker engine".to_owned()) };
            let (config, container, spec, docker) =
                (self.config.clone(), container.clone(), spec.clone(), docker.clone());
            let name = container.clone();
            // Noted before it is there, so that nothing stays behind whatever happens.
            let noted = self.block(move || {
                let noted = DockerContainers::new(docker, &config.runtime_directory).note(&name);
                noted.map_err(|error| format!("can't note the Docker container: {error}"))?;
                let more = (config.executor_environment)(&name, &spec);
                let more = more.map_err(|error| format!("can't make the environment of the executor: {error}"))?;
                Ok::<_, String>((config, spec, more))
            });
            let (config, spec, more) = noted.await??;
            let Some(docker) = &config.docker else { return Err("there is no Docker engine".to_owned()) };
            return docker.start(&container, &spec, &more, &config.work_directory).await;
        }
        let Some(asked) = spec.container.as_deref().filter(|_| are_needed(&self.config, spec)) else { return Ok(()) };
        match &self.config.images {
            Some(images) => images.provide(container, asked).await,
            None => Err("the container asks for an image, and there is no store of images".to_owned()),
        }
    }
}

impl Inner {
    /// What a check of a container runs, and what it takes part in: beside what runs at the engine, or in the root of an image.
    pub(super) async fn beside(
        self: &Arc<Self>,
        of: &ContainerId,
        mut spec: LaunchSpec,
    ) -> Result<(LaunchSpec, Option<Join>), String> {
        let Some(asked) = spec.container.take() else { return Ok((spec, None)) };
        if asked.docker.is_some() {
            let docker = self.config.docker.as_ref().ok_or("there is no Docker engine")?;
            spec.program = docker.beside(of, &spec.program);
            return Ok((spec, None));
        }
        let (inner, of) = (Arc::clone(self), of.clone());
        let found = self.block(move || {
            let target = inner.of_table(&of).ok_or("what is checked has ended")?;
            let theirs = process::environment(target.program.pid);
            let theirs = theirs.map_err(|error| format!("what is checked can't be looked at: {error}"))?;
            let record = Nested { parent: None, is_session: false };
            let directory = Some(SANDBOX_DIRECTORY.to_owned());
            let within = Within { of: target.program, namespaces: libc::CLONE_NEWNS, directory };
            Ok::<_, String>((theirs, Join::of(&target, record, inner.config.isolators.only(&[]), within)?))
        });
        let (theirs, join) = found.await??;
        let own = std::mem::take(&mut spec.environment).into_iter().filter(|(name, _)| name != "MESOS_SANDBOX");
        spec.environment = theirs.into_iter().filter(|(name, _)| !is_private(name)).chain(own).collect();
        Ok((spec, Some(join)))
    }
}

/// Puts what an image says where it belongs.
pub(super) fn shape(
    container: &ContainerId,
    config: &ContainersConfig,
    spec: &LaunchSpec,
    directory: &Directory,
    user: &mut Option<User>,
    wanted: &mut Contribution,
) -> Result<Shape, String> {
    let mut after = Vec::new();
    let is_its_task = spec.join && spec.container.as_ref().is_some_and(|asked| asked.image.is_some());
    if let Some(inside) = config.inside.as_ref().filter(|_| is_its_task) {
        user.clone_from(&inside.user);
        let own = std::mem::replace(wanted, inside.walls.clone());
        (wanted.rlimits, wanted.environment) = (own.rlimits, own.environment);
    }
    let has_docker = spec.container.as_ref().is_some_and(|asked| asked.docker.is_some());
    if has_docker {
        // The engine's socket is the agent's user's.
        *user = None;
    }
    if spec.program == Program::BuiltinExecutor && (has_docker || wanted.root.is_some()) {
        let runtime = directory.path().join(RUNTIME).display().to_string();
        after.push((RUNTIME_VARIABLE.to_owned(), runtime));
    }
    if let Some(docker) = config.docker.as_ref().filter(|_| is_docker(spec)) {
        let program = docker.follower(container);
        return Ok(Shape { program, before: Vec::new(), after });
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
        walls.namespaces.user = std::mem::take(&mut wanted.namespaces.user);
        walls.is_bound_to_its_rights = std::mem::take(&mut wanted.is_bound_to_its_rights);
        let told = Inside { user: user.take(), walls }.write(directory);
        after.push((INSIDE_VARIABLE.to_owned(), told.map_err(|error| format!("can't tell the executor: {error}"))?));
    }
    let is_for_groups = spec.environment.iter().any(|(name, _)| name == EXECUTOR_KIND);
    let is_root = user.as_ref().is_none_or(|user| user.user_id == 0);
    if spec.program == Program::BuiltinExecutor
        && is_for_groups
        && is_root
        && let Some(sets) = wanted.capabilities.take()
    {
        let told = serde_json::to_string(&sets).map_err(|error| error.to_string())?;
        after.push((RIGHTS_VARIABLE.to_owned(), told));
    }
    let Some(root) = &wanted.root else {
        return Ok(Shape { program: spec.program.clone(), before: Vec::new(), after });
    };
    after.push(("MESOS_SANDBOX".to_owned(), SANDBOX_DIRECTORY.to_owned()));
    Ok(Shape { program: merged(&spec.program, &root.run)?, before: root.run.variables().collect(), after })
}
