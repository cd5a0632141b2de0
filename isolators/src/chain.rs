//! The isolators of a machine in their order: prepared and isolated from first to last, undone from last to first.

use crate::build::Settings;
use crate::isolator::{Contribution, Error, Isolator, Limitation, Survivor, Watch, merge};
use crate::process::Tree;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::resource::Resources;
use kaon_kernel::statistics::Statistics;
use std::fmt;
use std::sync::Arc;

/// Why a list of isolators is not a chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A name that this version does not know.
    #[error("no isolator is called '{0}'; there are {names}", names = crate::build::NAMES.join(", "))]
    Unknown(String),
    /// Of `filesystem/*` there is one.
    #[error("of filesystem/posix, filesystem/linux and filesystem/shared only one can be chosen")]
    TwoFilesystems,
    /// Of `disk/*` there is one.
    #[error("of disk/du (posix/disk), disk/xfs and disk/btrfs only one can be chosen")]
    TwoDisks,
    /// One that works only with another.
    #[error("isolator '{0}' needs '{1}' too")]
    Needs(&'static str, &'static str),
    /// One that this machine can't carry out.
    #[error("this machine or its user can't have the isolator")]
    Machine(#[from] Error),
    /// A name that is there twice (a mistake in Mesos too, reference 12.1).
    #[error("isolator '{0}' is named twice")]
    Twice(String),
}

/// Isolators in order. Cheap to clone.
#[derive(Clone)]
pub struct Chain(Arc<[Arc<dyn Isolator>]>);

impl Chain {
    /// A chain of these isolators.
    ///
    /// # Errors
    /// When two have the same name.
    pub fn new(isolators: Vec<Arc<dyn Isolator>>) -> Result<Self, ChainError> {
        for (position, isolator) in isolators.iter().enumerate() {
            if isolators[..position].iter().any(|other| other.name() == isolator.name()) {
                return Err(ChainError::Twice(isolator.name().to_owned()));
            }
        }
        Ok(Self(isolators.into()))
    }

    /// The chain of an `--isolation` text: names with commas between (reference 12.1), everything else as usual.
    ///
    /// # Errors
    /// As [`Settings::chain`].
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        Settings::usual(text).chain()
    }

    /// Those that a container within another has for itself.
    #[must_use]
    pub(crate) fn unshared(&self) -> Self {
        Self(self.0.iter().filter(|isolator| !isolator.is_shared()).cloned().collect())
    }

    /// Those of these names.
    #[must_use]
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|isolator| names.contains(&isolator.name())).cloned().collect())
    }

    /// The same with one more at the end.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn and(&self, isolator: Arc<dyn Isolator>) -> Result<Self, ChainError> {
        Self::new(self.0.iter().cloned().chain([isolator]).collect())
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|isolator| isolator.name())
    }

    /// Tells all of them what has survived. All are told; the first error is returned.
    pub fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        let told: Vec<_> = self.0.iter().map(|isolator| isolator.recover(survivors, orphans)).collect();
        told.into_iter().collect()
    }

    /// Tells all of them of a new sandbox. When one refuses, all are cleaned up, last first.
    pub fn home(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<(), Error> {
        let told = self.0.iter().try_for_each(|isolator| isolator.home(container, spec));
        told.inspect_err(|_| self.cleanup(container))
    }

    /// Prepares a container and merges what the isolators want. When one refuses, or two disagree, those that had
    /// prepared are cleaned up, last first.
    pub fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let mut contributions = Vec::with_capacity(self.0.len());
        for (position, isolator) in self.0.iter().enumerate() {
            match isolator.prepare(container, spec) {
                Ok(contribution) => contributions.push((isolator.name(), contribution)),
                Err(error) => {
                    // The one that refused has cleaned up after itself no more than we know: it is asked too.
                    self.undo(container, position + 1);
                    return Err(error);
                }
            }
        }
        merge(contributions).inspect_err(|_| self.undo(container, self.0.len()))
    }

    /// Whether the first process of a container must wait to be put behind walls.
    pub fn is_awaited(&self, container: &ContainerId) -> bool {
        self.0.iter().any(|isolator| isolator.is_awaited(container))
    }

    /// Puts a waiting process behind all walls. On an error the caller cleans up.
    pub fn isolate(&self, container: &ContainerId, pid: i32) -> Result<(), Error> {
        self.0.iter().try_for_each(|isolator| isolator.isolate(container, pid))
    }

    /// The addresses that a container has to itself.
    pub fn addresses(&self, container: &ContainerId) -> Vec<String> {
        self.0.iter().flat_map(|isolator| isolator.addresses(container)).collect()
    }

    /// What to wait for while a container runs.
    pub fn watches(&self, container: &ContainerId) -> Vec<Watch> {
        self.0.iter().filter_map(|isolator| isolator.watch(container)).collect()
    }

    /// Whether a limit was hit that nobody has told yet.
    pub fn breach(&self, container: &ContainerId) -> Option<Limitation> {
        self.0.iter().find_map(|isolator| isolator.breach(container))
    }

    /// What a container uses: each figure from the first isolator that knows it.
    pub fn usage(&self, container: &ContainerId, tree: &Tree) -> Result<Statistics, Error> {
        self.0.iter().try_fold(Statistics::default(), |known, isolator| Ok(known.or(isolator.usage(container, tree)?)))
    }

    /// Tells all of them the new resources, in order, up to the first that refuses.
    pub fn update(&self, container: &ContainerId, resources: &Resources, limits: &Limits) -> Result<(), Error> {
        self.0.iter().try_for_each(|isolator| isolator.update(container, resources, limits))
    }

    /// Cleans up after a container, last first. An isolator that fails is logged and does not keep the others from it.
    pub fn cleanup(&self, container: &ContainerId) {
        self.undo(container, self.0.len());
    }

    fn undo(&self, container: &ContainerId, count: usize) {
        for isolator in self.0[..count].iter().rev() {
            if let Err(error) = isolator.cleanup(container) {
                tracing::error!(%container, isolator = isolator.name(), error = chained(&error), "cleanup failed");
            }
        }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.names()).finish()
    }
}

/// An error with its causes, in one line.
pub(crate) fn chained(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
