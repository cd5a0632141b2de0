//! An isolator: one kind of wall around a container, or one way to measure it.
//!
//! Isolators do not share a specification that each of them changes. Each returns a [`Contribution`], and [`merge`], a
//! pure function, makes the one launch description of them: two that disagree are a refusal with both names in it, and
//! what a set of isolators means can be tested without root. The life of a container, in the order of the calls
//! (Mesos's isolator interface, reference 12.1 and 18):
//!
//! ```text
//! recover ─┐ (once, at the start of the agent)
//!          ├─► prepare ──► isolate ──► watch, usage, update (any number) ──► cleanup
//!          └─────────────────────────► watch, usage, update ───────────────► cleanup
//! ```
//!
//! All but `watch` may block: they run on blocking threads, never on the host's.

use crate::process::Tree;
pub use kaon_kernel::container::Limitation;
use kaon_kernel::container::{LaunchSpec, Usage};
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::resource::Resources;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

/// Why an isolator can't do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the container asks for can't be.
    #[error("{isolator}: {reason}")]
    Refused {
        /// Who says so.
        isolator: &'static str,
        /// Why, for people.
        reason: String,
    },
    /// Two isolators want different things of the same name.
    #[error("{first} and {second} both set {what}, differently")]
    Conflict {
        /// The earlier in the chain.
        first: &'static str,
        /// The later.
        second: &'static str,
        /// What both set.
        what: String,
    },
    /// The machine failed.
    #[error("{isolator}: can't {action}")]
    Io {
        /// Who tried.
        isolator: &'static str,
        /// What was tried, with its path.
        action: String,
        /// What came back.
        #[source]
        source: io::Error,
    },
}

/// A resource limit of `setrlimit(2)`. `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name as in the v1 API, such as `RLMT_NOFILE`.
    pub name: String,
    /// The soft limit, in the limit's own unit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// Something that the container's first process does on the machine before it gives up its rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAction {
    /// Writes a text to a file that exists, in one write: how a process joins a control group (`0` to `cgroup.procs`).
    Write {
        /// The file.
        path: PathBuf,
        /// What to write.
        text: String,
    },
}

/// What an isolator wants of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Environment variables; they win over what the container asked for.
    pub environment: Vec<(String, String)>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Actions, carried out in this order.
    pub actions: Vec<HostAction>,
}

/// A container that an isolator is told about again after a restart of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Which.
    pub container: ContainerId,
    /// Its program, as it was handed to `isolate`.
    pub pid: i32,
}

/// A future that resolves when a container hits a limit, and never otherwise.
pub type Watch = Pin<Box<dyn Future<Output = Limitation> + Send>>;

/// One kind of wall, or one way to measure. The defaults do nothing.
pub trait Isolator: Send + Sync + 'static {
    /// Its name, as in `--isolation`.
    fn name(&self) -> &'static str;

    /// The agent has started again: these containers still run, and of these others, which ran before, nothing does: what
    /// is left of them is to be removed. Called once, before anything else.
    fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        let _ = (survivors, orphans);
        Ok(())
    }

    /// A container is about to be made: build what does not need its process, and say what the launch must contain.
    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let _ = (container, spec);
        Ok(Contribution::default())
    }

    /// Its first process is there but waits: put it behind the wall. Nothing of the container's own code has run yet.
    fn isolate(&self, container: &ContainerId, pid: i32) -> Result<(), Error> {
        let _ = (container, pid);
        Ok(())
    }

    /// What to wait for while it runs; `None` when this isolator limits nothing. Must not block.
    fn watch(&self, container: &ContainerId) -> Option<Watch> {
        let _ = container;
        None
    }

    /// What the container uses, as far as this isolator knows; zero stands for "not mine to know".
    fn usage(&self, container: &ContainerId, tree: &Tree) -> Result<Usage, Error> {
        let _ = (container, tree);
        Ok(Usage::default())
    }

    /// Its resources and limits change while it runs.
    fn update(&self, container: &ContainerId, resources: &Resources, limits: &Limits) -> Result<(), Error> {
        let _ = (container, resources, limits);
        Ok(())
    }

    /// It is gone, or was never started: remove what `prepare` and `isolate` made. May be called again for the same
    /// container, and after a restart of the agent for one that this object has never seen.
    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        let _ = container;
        Ok(())
    }
}

/// What all isolators together want of a launch: environment and limits by name, actions in the order of the chain.
///
/// # Errors
/// When two set the same variable or limit to different values.
pub fn merge(contributions: Vec<(&'static str, Contribution)>) -> Result<Contribution, Error> {
    let mut environment: BTreeMap<String, (&'static str, String)> = BTreeMap::new();
    let mut rlimits: BTreeMap<String, (&'static str, Rlimit)> = BTreeMap::new();
    let mut merged = Contribution::default();
    for (second, contribution) in contributions {
        for (name, value) in contribution.environment {
            match environment.get(&name) {
                Some((first, other)) if *other != value => {
                    return Err(Error::Conflict { first, second, what: format!("the variable {name}") });
                }
                Some(_) => {}
                None => {
                    merged.environment.push((name.clone(), value.clone()));
                    environment.insert(name, (second, value));
                }
            }
        }
        for rlimit in contribution.rlimits {
            match rlimits.get(&rlimit.name) {
                Some((first, other)) if *other != rlimit => {
                    return Err(Error::Conflict { first, second, what: format!("the limit {}", rlimit.name) });
                }
                Some(_) => {}
                None => {
                    merged.rlimits.push(rlimit.clone());
                    rlimits.insert(rlimit.name.clone(), (second, rlimit));
                }
            }
        }
        merged.actions.extend(contribution.actions);
    }
    Ok(merged)
}
