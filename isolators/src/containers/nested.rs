//! Containers that calls ask for, beside those of the actors: within another one, by themselves, or as sessions (reference
//! 7.2), named as [`kaon_kernel::nested`] says.
//!
//! They end with the container around them. Those that are no sessions outlive the agent, as everything does; a session ends
//! with who listens to it. What has ended is remembered, so that its end can be asked for, up to a bound.

use super::join::{Join, Target};
use super::{Inner, ProcessContainers};
use crate::launcher::description::Within;
use crate::launcher::within::VIEWS;
use crate::process;
use crate::record::{Directory, Nested};
use crate::{orphans, sandbox, syscall};
use kaon_kernel::container::{ContainerOutcome, Exit, LaunchSpec};
use kaon_kernel::container_info::{ContainerInfo, IpcMode};
use kaon_kernel::id::{self, ContainerId};
use kaon_kernel::nested::{DEPTH_MAX, Order};
use kaon_kernel::time::Duration;
use nix::libc;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many ended ones are remembered, of all containers together; the oldest is forgotten first.
const ENDED_MAX: usize = 256;

/// The most that run within one container, sessions included.
const CHILDREN_MAX: usize = 128;

/// Why a container is not launched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// There is one of this name; it may be this very one, asked for twice.
    #[error("the container exists already")]
    Exists,
    /// The container around it does not run.
    #[error("the container around it cannot be found")]
    NoParent,
    /// It can't be.
    #[error("{0}")]
    Failed(String),
}

/// Why a container is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// There is none of this name.
    #[error("the container cannot be found")]
    Unknown,
    /// It has not ended.
    #[error("the container has not ended")]
    Runs,
}

/// The containers that calls asked for.
#[derive(Debug, Default)]
pub(super) struct Nest {
    known: BTreeMap<ContainerId, String>,
    /// Those that ended, the oldest first.
    ended: VecDeque<ContainerId>,
}

impl ProcessContainers {
    /// Launches a container that a call asks for.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn launch_nested(&self, order: Order) -> Result<(), LaunchError> {
        let inner = Arc::clone(&self.inner);
        let failed = |reason: &str| LaunchError::Failed(reason.to_owned());
        id::check(order.container.as_str()).map_err(|error| LaunchError::Failed(error.to_string()))?;
        if order.container.chain().any(str::is_empty) || order.container.chain().count() > DEPTH_MAX {
            return Err(failed("the chain of names has an empty one, or is too long"));
        }
        let parent = order.container.parent();
        let target = match &parent {
            None if order.is_session => return Err(failed("a session is within a container")),
            None => None,
            Some(parent) => {
                let (finder, name) = (Arc::clone(&inner), parent.clone());
                let found = inner.block(move || finder.target(&name)).await.map_err(LaunchError::Failed)?;
                Some(found.ok_or(LaunchError::NoParent)?)
            }
        };
        let name = order.container.clone();
        let (stopped, sandbox) = {
            let mut table = inner.table();
            if table.contains(&name) {
                return Err(LaunchError::Exists);
            }
            if let Some(parent) = &parent {
                let below = table.all().iter().filter(|other| other.is_within(parent.as_str())).count();
                if below >= CHILDREN_MAX + ENDED_MAX {
                    return Err(failed("too many containers are within this one"));
                }
            }
            let sandbox = match &target {
                None => format!("containers/{name}"),
                Some(target) if order.is_session => target.sandbox.clone(),
                Some(target) => format!("{}/{}/{}", target.sandbox, sandbox::WITHIN, name.own_name()),
            };
            (table.reserve(&name).map_err(LaunchError::Failed)?, sandbox)
        };
        inner.nest().known.insert(name.clone(), sandbox.clone());
        let prepared = {
            let (inner, order) = (Arc::clone(&inner), order.clone());
            self.inner.block(move || inner.shape(&order, target.as_ref(), sandbox)).await
        };
        let (spec, join) = match prepared.and_then(|prepared| prepared) {
            Ok(prepared) => prepared,
            Err(reason) => {
                inner.table().failed(&name);
                inner.nest().known.remove(&name);
                return Err(LaunchError::Failed(reason));
            }
        };
        match inner.launch(name.clone(), spec, Some(join), stopped).await {
            ContainerOutcome::Launched { .. } => Ok(()),
            ContainerOutcome::Failed { reason } => {
                inner.nest().known.remove(&name);
                Err(LaunchError::Failed(reason))
            }
            other => Err(LaunchError::Failed(format!("a launch came back as {other:?}"))),
        }
    }

    /// Waits for the end of a container; nothing for one that nobody knows.
    pub async fn wait_nested(&self, container: &ContainerId) -> Option<Exit> {
        let (sender, receiver) = oneshot::channel();
        let known = {
            let mut table = self.inner.table();
            if !table.contains(container) {
                return None;
            }
            // Who waits may be gone by then.
            table.wait(container, Box::new(move |outcome| drop(sender.send(outcome))))
        };
        let outcome = match known {
            Some((_, outcome)) => outcome,
            None => receiver.await.ok()?,
        };
        match outcome {
            ContainerOutcome::Exited(exit) => Some(exit),
            _ => None,
        }
    }

    /// Sends a signal to a container: KILL ends all of it, any other reaches its program. False when there is none that runs.
    pub async fn signal(&self, container: &ContainerId, signal: i32) -> bool {
        let inner = Arc::clone(&self.inner);
        if signal == libc::SIGKILL {
            let is_known = inner.table().contains(container);
            let running = inner.table().kill(container, Duration::ZERO);
            if let Some(running) = running {
                running.kill(Duration::ZERO);
                return true;
            }
            if is_known {
                // It is being started, or has ended.
                return true;
            }
        }
        let name = container.clone();
        let sent = self.inner.block(move || {
            let target = inner.target(&name)?;
            let pidfd = syscall::pidfd_open(target.program.pid).ok()?;
            target.program.find()?;
            syscall::pidfd_signal(pidfd.as_fd(), signal).ok()
        });
        matches!(sent.await, Ok(Some(())))
    }

    /// Forgets a container that a call asked for and that has ended, with its sandbox.
    ///
    /// # Errors
    /// When there is none, or it runs.
    pub async fn remove_nested(&self, container: &ContainerId) -> Result<(), RemoveError> {
        let inner = Arc::clone(&self.inner);
        let sandbox = inner.nest().known.get(container).cloned().ok_or(RemoveError::Unknown)?;
        match inner.forget(container.clone()).await {
            ContainerOutcome::Cleaned => {}
            _ => return Err(RemoveError::Runs),
        }
        let work_directory = inner.config.work_directory.clone();
        let is_own = sandbox.rsplit('/').next() == Some(container.own_name());
        let removed =
            self.inner.block(move || if is_own { crate::volumes::remove(&work_directory, &sandbox) } else { Ok(()) });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%container, %error, "a sandbox can't be removed");
        }
        Ok(())
    }

    /// The containers that calls asked for and that run, in order.
    pub fn nested(&self) -> Vec<ContainerId> {
        let known: Vec<ContainerId> = self.inner.nest().known.keys().cloned().collect();
        let table = self.inner.table();
        known.into_iter().filter(|container| table.running(container).is_some()).collect()
    }
}

impl Inner {
    pub(super) fn nest(&self) -> MutexGuard<'_, Nest> {
        self.nested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those within a container, however deep.
    pub(super) fn children(&self, container: &ContainerId) -> Vec<ContainerId> {
        let nest = self.nest();
        let after = nest.known.range(container.clone()..).skip_while(|(name, _)| *name == container);
        // In order of their bytes other names may lie between ("a-b" before "a.b"), but all begin alike.
        let alike = after.take_while(|(name, _)| name.as_str().starts_with(container.as_str()));
        alike.filter(|(name, _)| name.is_within(container.as_str())).map(|(name, _)| name.clone()).collect()
    }

    /// A container has ended: so do those within it. And if it was one that a call asked for it is remembered for a while.
    pub(super) fn end_children(&self, container: &ContainerId) {
        for child in self.children(container) {
            let running = self.table().kill(&child, Duration::ZERO);
            if let Some(running) = running {
                running.kill(Duration::ZERO);
            }
        }
        let mut nest = self.nest();
        if !nest.known.contains_key(container) {
            return;
        }
        nest.ended.push_back(container.clone());
        let oldest = (nest.ended.len() > ENDED_MAX).then(|| nest.ended.pop_front()).flatten();
        drop(nest);
        if let Some(oldest) = oldest
            && self.table().forget(&oldest).is_ok()
        {
            self.nest().known.remove(&oldest);
            let directory = Directory::of(&self.config.runtime_directory, oldest.as_str());
            self.runtime.spawn_blocking(move || directory.remove());
        }
    }

    /// What was asked for by calls and is known from before a restart.
    pub(super) fn remember_nested(&self, container: ContainerId, sandbox: String) {
        self.nest().known.insert(container, sandbox);
    }

    /// Whether a call asked for it.
    pub(super) fn is_nested(&self, container: &ContainerId) -> bool {
        self.nest().known.contains_key(container)
    }

    /// It is forgotten.
    pub(super) fn forget_nested(&self, container: &ContainerId) {
        let mut nest = self.nest();
        if nest.known.remove(container).is_some() {
            nest.ended.retain(|other| other != container);
        }
    }

    /// From what a call asks for to a launch. Blocks.
    fn shape(&self, order: &Order, target: Option<&Target>, sandbox: String) -> Result<(LaunchSpec, Join), String> {
        let asked = order.asked.as_deref();
        let mut environment = Vec::new();
        let join = match target {
            None => Join::nothing(self.config.isolators.clone()),
            Some(target) => {
                let parent = order.container.parent().map(|parent| parent.as_str().to_owned());
                let record = Nested { parent, is_session: order.is_session };
                let theirs = process::environment(target.program.pid);
                let theirs = theirs.map_err(|error| format!("the container around it can't be looked at: {error}"))?;
                let directory = theirs.iter().find(|(name, _)| name == "MESOS_SANDBOX").map(|(_, value)| value.clone());
                if order.is_session {
                    refuse_own_walls(asked)?;
                    environment.extend(theirs.into_iter().filter(|(name, _)| !is_private(name)));
                }
                let within = Within {
                    of: target.program,
                    namespaces: shared(order),
                    directory: order.is_session.then(|| directory.unwrap_or_else(|| "/".to_owned())),
                };
                let isolators = match order.is_session {
                    true => self.config.isolators.only(&[crate::seccomp::SECCOMP]),
                    false if asked.is_some_and(|asked| asked.linux.has_own_groups) => self.config.isolators.clone(),
                    false => self.config.isolators.unshared(),
                };
                Join::of(target, record, isolators, within)?
            }
        };
        for (name, value) in &order.environment {
            environment.retain(|(there, _)| there != name);
            environment.push((name.clone(), value.clone()));
        }
        if !order.is_session {
            let directory = self.config.work_directory.join(&sandbox).display().to_string();
            for name in ["MESOS_DIRECTORY", "MESOS_SANDBOX"] {
                environment.retain(|(there, _)| there != name);
                environment.push((name.to_owned(), directory.clone()));
            }
        }
        let spec = LaunchSpec {
            program: order.program.clone(),
            environment,
            secrets: order.secrets.clone(),
            sandbox,
            join: order.is_session,
            user: order.user.clone(),
            resources: order.resources.clone(),
            limits: order.limits,
            container: order.asked.clone().filter(|_| !order.is_session),
            placement: None,
            volumes: Vec::new(),
            rlimits: asked.map_or_else(Vec::new, |asked| asked.rlimits.clone()),
            uris: order.uris.clone(),
            terminal: asked.and_then(|asked| asked.terminal),
        };
        Ok((spec, join))
    }

    /// A session may leave processes behind that belong to nobody in the views that it shared: they are found by their mark.
    pub(super) fn clear_session(&self, container: &ContainerId) {
        if self.is_nested(container) {
            let directory = Directory::of(&self.config.runtime_directory, container.as_str());
            if directory.nested().is_some_and(|nested| nested.is_session)
                && let Err(error) = orphans::destroy(&directory)
            {
                tracing::error!(%container, %error, "something is left of a session");
            }
        }
    }
}

/// Which views of the container around it a container shares.
fn shared(order: &Order) -> i32 {
    if order.is_session {
        return VIEWS.iter().fold(0, |all, (flag, _)| all | flag);
    }
    let linux = order.asked.as_ref().map(|asked| &asked.linux);
    let shares_pids = linux.is_some_and(|linux| linux.share_pid_namespace == Some(true));
    let shares_ipc = linux.is_some_and(|linux| linux.ipc == Some(IpcMode::ShareParent));
    let has_name = order.asked.as_ref().is_some_and(|asked| asked.hostname.is_some());
    let views = [
        (true, libc::CLONE_NEWNET),
        (!has_name, libc::CLONE_NEWUTS),
        (shares_pids, libc::CLONE_NEWPID),
        (shares_ipc, libc::CLONE_NEWIPC),
    ];
    views.into_iter().filter(|(is_shared, _)| *is_shared).fold(0, |all, (_, flag)| all | flag)
}

/// A session has the walls of the container around it: it can't ask for others.
fn refuse_own_walls(asked: Option<&ContainerInfo>) -> Result<(), String> {
    let Some(asked) = asked else { return Ok(()) };
    let plain = ContainerInfo { terminal: asked.terminal, ..ContainerInfo::default() };
    if *asked == plain { Ok(()) } else { Err("a session has the walls of its container and no others".to_owned()) }
}

/// What only the executor itself may know, and what names the container.
pub(super) fn is_private(name: &str) -> bool {
    name.starts_with("KAON_") || name == "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
}
