//! Finding the containers again: after a restart of the agent's actor, and of the whole agent.
//!
//! What is on disk and known is kept: it runs on, or its end can be waited for. What is on disk and unknown is destroyed:
//! nobody would ever ask for it again. Records that are damaged, or of an earlier boot, are no reason to stop: what they
//! named is looked for by its marker and counts as ended (attack 59).

use super::table::Answer;
use super::watch::{note_breach, settle};
use super::{Inner, Running};
use crate::chain::chained;
use crate::isolator::Survivor;
use crate::orphans;
use crate::process::{self, Process};
use crate::record::{self, Directory};
use kaon_kernel::container::{ContainerOutcome, Exit};
use kaon_kernel::id::{self, ContainerId};
use kaon_kernel::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a runtime directory says of its container.
enum Found {
    /// Its launcher runs.
    Running(Arc<Running>, Survivor),
    /// It has ended, like this.
    Ended(Exit),
}

/// Whether the outermost container of a chain of names is known; one by itself has none.
fn is_around(known: &BTreeSet<ContainerId>, container: &ContainerId) -> bool {
    container.as_str().split_once('.').is_none_or(|(root, _)| known.contains(&ContainerId::trusted(root)))
}

impl Inner {
    /// Carries out [`kaon_kernel::container::ContainerRequest::Recover`].
    pub(super) async fn recover(self: &Arc<Self>, known: Vec<ContainerId>) -> ContainerOutcome {
        let _alone = self.recovering.lock().await;
        let known: BTreeSet<ContainerId> = known.into_iter().collect();
        // The disk first: a launch that begins now is in the table before it is on the disk.
        let mut rest = self.on_disk().await;
        let of_this_life = self.table().all();
        rest.retain(|container| of_this_life.binary_search(container).is_err());
        let (mut kept, mut survivors, mut orphans, mut doomed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for container in of_this_life {
            if known.contains(&container) {
                kept.push(container);
            } else if self.is_nested(&container) && is_around(&known, &container) {
                // Its end is the business of who asked for it.
            } else {
                doomed.push(self.runtime.spawn(Arc::clone(self).end_and_forget(container)));
            }
        }
        let mut recovered = Vec::new();
        for container in rest {
            let inner = Arc::clone(self);
            if known.contains(&container) || self.outlives(&known, &container) {
                recovered.push(self.runtime.spawn(async move { (inner.look(&container).await, container) }));
            } else {
                orphans.push(container.clone());
                doomed.push(self.runtime.spawn(async move { inner.destroy(container).await }));
            }
        }
        let mut running = Vec::new();
        for found in recovered {
            match found.await {
                Ok((Found::Running(launcher, survivor), container)) => {
                    survivors.push(survivor);
                    running.push((container, launcher));
                }
                Ok((Found::Ended(exit), container)) => {
                    orphans.push(container.clone());
                    self.table().ended(&container, &exit);
                    kept.push(container);
                }
                Err(error) => tracing::error!(%error, "a container can't be recovered"),
            }
        }
        for ended in doomed {
            if let Err(error) = ended.await {
                tracing::error!(%error, "a container can't be destroyed");
            }
        }
        let isolators = self.config.isolators.clone();
        let told = self.block(move || {
            let told = isolators.recover(&survivors, &orphans).map_err(|error| chained(&error));
            orphans.iter().for_each(|orphan| isolators.cleanup(orphan));
            told
        });
        if let Err(error) = told.await.and_then(|told| told) {
            tracing::error!(error, "the isolators can't recover");
        }
        for (container, launcher) in running {
            self.table().recovered(container.clone(), Arc::clone(&launcher));
            if !known.contains(&container) {
                self.remember_nested(container.clone(), launcher.sandbox.clone());
            }
            self.runtime.spawn(Arc::clone(self).watch(container.clone(), launcher));
            kept.push(container);
        }
        self.end_the_left(&kept);
        kept.retain(|container| known.contains(container));
        kept.sort();
        ContainerOutcome::Recovered(kept)
    }

    /// Whether a container of before that no actor knows is to be found again: one that a call asked for, and the container
    /// around it is known. Sessions ended with the agent that listened to them.
    fn outlives(&self, known: &BTreeSet<ContainerId>, container: &ContainerId) -> bool {
        let directory = Directory::of(&self.config.runtime_directory, container.as_str());
        let nested = directory.nested();
        nested.is_some_and(|nested| !nested.is_session && is_around(known, container))
    }

    /// Ends those whose container did not outlive the agent while they did.
    fn end_the_left(&self, kept: &[ContainerId]) {
        for container in kept {
            let is_left = container.parent().is_some_and(|parent| {
                let task = parent.as_str().split_once('.').map(|(root, _)| ContainerId::trusted(root));
                let runs = |name: &ContainerId| self.table().running(name).is_some();
                !runs(&parent) && !task.is_some_and(|root| runs(&root))
            });
            if is_left {
                let running = self.table().kill(container, Duration::ZERO);
                if let Some(running) = running {
                    running.kill(Duration::ZERO);
                }
            }
        }
    }

    /// The containers that have a runtime directory.
    async fn on_disk(&self) -> Vec<ContainerId> {
        let path = record::all(&self.config.runtime_directory);
        let read = self.block(move || {
            let names = fs::read_dir(&path)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            Ok(names.filter(|name| id::check(name).is_ok()).map(ContainerId::trusted).collect())
        });
        let read: Result<Vec<ContainerId>, String> =
            read.await.and_then(|read: std::io::Result<_>| read.map_err(|error| error.to_string()));
        read.unwrap_or_else(|error| {
            tracing::error!(error, "the runtime directory can't be read");
            Vec::new()
        })
    }

    /// Ends a container of this life, in whatever phase it is, and forgets it.
    async fn end_and_forget(self: Arc<Self>, container: ContainerId) {
        let (sender, receiver) = oneshot::channel();
        let done: Answer = Box::new(move |_| {
            // The receiver is below, unless the service has closed.
            let _ = sender.send(());
        });
        let waiting = self.table().wait(&container, done);
        let launcher = self.table().kill(&container, Duration::ZERO);
        if let Some(launcher) = launcher {
            launcher.kill(Duration::ZERO);
        }
        if waiting.is_none() {
            let _ = receiver.await;
        }
        if self.table().contains(&container) {
            self.forget(container).await;
        }
    }

    /// Looks at a container of before.
    async fn look(&self, container: &ContainerId) -> Found {
        let directory = Directory::of(&self.config.runtime_directory, container.as_str());
        let name = container.clone();
        let (runtime, isolators) = (self.runtime.clone(), self.config.isolators.clone());
        let looked = self.block(move || {
            let record = directory.launcher();
            let boot_id = process::boot_id().unwrap_or_default();
            let of_this_boot = record.filter(|record| record.boot_id == boot_id);
            let launcher = of_this_boot.as_ref().map(|record| record.launcher);
            // A launcher that wrote a status has nothing left to do.
            if let (None, Some(record)) = (directory.status(), of_this_boot)
                && record.launcher.find().is_some_and(|launcher: Process| launcher.is_alive())
            {
                let _inside = runtime.enter();
                match Running::of(record.launcher, record.sandbox) {
                    Ok(Some(running)) => {
                        let survivor = Survivor { container: name, pid: record.program.pid };
                        return Found::Running(Arc::new(running), survivor);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(container = %name, %error, "the launcher can't be watched"),
                }
            }
            note_breach(&isolators, &name, &directory);
            let exit = settle(&name, &directory);
            launcher.into_iter().for_each(orphans::reap);
            Found::Ended(exit)
        });
        looked.await.unwrap_or(Found::Ended(super::table::UNKNOWN))
    }

    /// Destroys a container of before that nobody knows.
    async fn destroy(&self, container: ContainerId) {
        let directory = Directory::of(&self.config.runtime_directory, container.as_str());
        // A launcher among them is killed like the rest: nobody will ask how it ended.
        let destroyed = self.block(move || {
            let destroyed = orphans::destroy(&directory);
            destroyed.map_err(|error| error.to_string())
        });
        match destroyed.await.and_then(|destroyed| destroyed) {
            Ok(()) => self.remove_record(container).await,
            // The record stays, so that the next recovery tries again.
            Err(error) => tracing::error!(%container, error, "an unknown container can't be destroyed"),
        }
    }
}
