//! The isolators of a machine in their order: prepared and isolated from first to last, undone from last to first.

use crate::isolator::{Contribution, Error, Isolator, Survivor, Watch, merge};
use crate::posix;
use crate::process::Tree;
use kaon_kernel::container::{LaunchSpec, Usage};
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::resource::Resources;
use kaon_kernel::time::Duration;
use std::fmt;
use std::sync::Arc;

/// Why a list of isolators is not a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A name that this version does not know.
    #[error("no isolator is called '{0}'; there are posix/cpu, posix/mem and posix/rlimits")]
    Unknown(String),
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

    /// The chain of an `--isolation` text: names with commas between (reference 12.1).
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let isolators = names.map(|name| match name {
            posix::CPU => Ok(Arc::new(posix::Cpu) as Arc<dyn Isolator>),
            posix::MEM => Ok(Arc::new(posix::Mem) as Arc<dyn Isolator>),
            posix::RLIMITS => Ok(Arc::new(posix::Rlimits) as Arc<dyn Isolator>),
            unknown => Err(ChainError::Unknown(unknown.to_owned())),
        });
        Self::new(isolators.collect::<Result<_, _>>()?)
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

    /// Puts a waiting process behind all walls. On an error the caller cleans up.
    pub fn isolate(&self, container: &ContainerId, pid: i32) -> Result<(), Error> {
        self.0.iter().try_for_each(|isolator| isolator.isolate(container, pid))
    }

    /// What to wait for while a container runs.
    pub fn watches(&self, container: &ContainerId) -> Vec<Watch> {
        self.0.iter().filter_map(|isolator| isolator.watch(container)).collect()
    }

    /// What a container uses: of each figure the largest that an isolator reports.
    pub fn usage(&self, container: &ContainerId, tree: &Tree) -> Result<Usage, Error> {
        self.0.iter().try_fold(Usage::default(), |sum, isolator| {
            let more = isolator.usage(container, tree)?;
            Ok(Usage {
                user_time: Duration::max(sum.user_time, more.user_time),
                system_time: Duration::max(sum.system_time, more.system_time),
                memory_bytes: sum.memory_bytes.max(more.memory_bytes),
                processes: sum.processes.max(more.processes),
            })
        })
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
