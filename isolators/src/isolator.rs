//! An isolator: one kind of wall around a container, or one way to measure it.
//!
//! Isolators do not share a specification that each of them changes. Each returns a [`Contribution`], and [`merge`], a
//! pure function, makes the one launch description of them: two that disagree are a refusal with both names in it, and
//! what a set of isolators means can be tested without root. The life of a container, in the order of the calls
//! (Mesos's isolator interface, reference 12.1 and 18):
//!
//! ```text
//! recover ─┐ (once, at the start of the agent)
//!          ├─► home ──► prepare ──► isolate ──► watch, usage, update (any number) ──► cleanup
//!          └──────────────────────────────────► watch, usage, update ───────────────► cleanup
//! ```
//!
//! All but `watch` may block: they run on blocking threads, never on the host's.

pub use crate::contribution::{CapabilitySets, Contribution, HostAction, Mount, Namespaces, Rlimit, merge};
use crate::process::Tree;
use kaon_kernel::container::LaunchSpec;
pub use kaon_kernel::container::Limitation;
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::resource::Resources;
use kaon_kernel::statistics::Statistics;
use std::future::Future;
use std::io;
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

    /// Whether a container within another one shares that one's wall of this kind: then it is prepared without.
    fn is_shared(&self) -> bool {
        false
    }

    /// The agent has started again: these containers still run, and of these others, which ran before, nothing does: what
    /// is left of them is to be removed. Called once, before anything else.
    fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        let _ = (survivors, orphans);
        Ok(())
    }

    /// The sandbox of a container has just been made, and nothing is in it: what shall hold for all that will be is done here.
    /// Not called for one that shares another's.
    fn home(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<(), Error> {
        let _ = (container, spec);
        Ok(())
    }

    /// A container is about to be made: build what does not need its process, and say what the launch must contain.
    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let _ = (container, spec);
        Ok(Contribution::default())
    }

    /// Whether its first process must wait for [`Isolator::isolate`]. When none of its isolators says so, nothing is waited for
    /// between the record of a launch and its program, and `isolate` is not called. Asked after `prepare`.
    fn is_awaited(&self, container: &ContainerId) -> bool {
        let _ = container;
        false
    }

    /// Its first process is there but waits: put it behind the wall. Nothing of the container's own code has run yet.
    fn isolate(&self, container: &ContainerId, pid: i32) -> Result<(), Error> {
        let _ = (container, pid);
        Ok(())
    }

    /// The addresses that a container has to itself since it was isolated.
    fn addresses(&self, container: &ContainerId) -> Vec<String> {
        let _ = container;
        Vec::new()
    }

    /// What to wait for while it runs; `None` when this isolator limits nothing. Must not block.
    fn watch(&self, container: &ContainerId) -> Option<Watch> {
        let _ = container;
        None
    }

    /// Whether a limit was hit that nobody has told yet: asked when the container has ended and before `cleanup`, since an
    /// end may be faster than its sign.
    fn breach(&self, container: &ContainerId) -> Option<Limitation> {
        let _ = container;
        None
    }

    /// What the container uses, as far as this isolator knows.
    fn usage(&self, container: &ContainerId, tree: &Tree) -> Result<Statistics, Error> {
        let _ = (container, tree);
        Ok(Statistics::default())
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
