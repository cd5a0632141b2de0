//! From a running container to its end: waits for the launcher, or for a limit that ends the container.

use super::{Inner, Running};
use crate::chain::Chain;
use crate::isolator::{Limitation, Watch};
use crate::orphans;
use crate::record::{Directory, Status};
use kaon_kernel::container::Exit;
use kaon_kernel::id::ContainerId;
use kaon_kernel::time::Duration;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

impl Inner {
    /// Waits for the end of a container and tells it to who waits for that. Ends early when the service closes.
    pub(super) async fn watch(self: Arc<Self>, container: ContainerId, running: Arc<Running>) {
        let mut watches = self.config.isolators.watches(&container);
        let mut open = self.open.clone();
        loop {
            tokio::select! {
                biased;
                _ = open.changed() => return,
                readable = running.pidfd.readable() => match readable {
                    Ok(_) => break,
                    Err(error) => {
                        // Only when the runtime itself ends.
                        tracing::error!(%container, %error, "the launcher can't be waited for");
                        return;
                    }
                },
                limitation = first(&mut watches) => {
                    // One is enough: the container ends for it.
                    watches.clear();
                    self.limit(&container, limitation).await;
                    running.kill(Duration::ZERO);
                }
            }
        }
        let exit = self.collect(&container, &running).await;
        self.ended(&container, &exit);
    }

    /// Writes down why a container will be killed, before it is.
    async fn limit(&self, container: &ContainerId, limitation: Limitation) {
        tracing::info!(%container, reason = limitation.message, "a limit ends the container");
        let directory = Directory::of(&self.config.runtime_directory, container.as_str());
        let written = self.block(move || directory.write_limitation(&limitation).map_err(|e| e.to_string()));
        if let Err(error) = written.await.and_then(|written| written) {
            tracing::error!(%container, error, "the limitation can't be written");
        }
    }

    /// What a launcher that has ended leaves. Heals when it was killed: then nothing of the container is left either.
    async fn collect(self: &Arc<Self>, container: &ContainerId, running: &Arc<Running>) -> Exit {
        let (running, name) = (Arc::clone(running), container.clone());
        let directory = Directory::of(&self.config.runtime_directory, container.as_str());
        let isolators = self.config.isolators.clone();
        let inner = Arc::clone(self);
        let collected = self.block(move || {
            // Its zombie, if this process started it; who started it else has reaped it.
            let _ = waitid(Id::PIDFd(running.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
            note_breach(&isolators, &name, &directory);
            let exit = settle(&name, &directory);
            inner.clear_session(&name);
            isolators.cleanup(&name);
            exit
        });
        collected.await.unwrap_or(super::table::UNKNOWN)
    }
}

/// An end may be faster than the sign of the limit that brought it: the isolators are asked once more. One that was written
/// down stays. Blocks.
pub(super) fn note_breach(isolators: &Chain, container: &ContainerId, directory: &Directory) {
    if directory.limitation().is_none()
        && let Some(limitation) = isolators.breach(container)
        && let Err(error) = directory.write_limitation(&limitation)
    {
        tracing::error!(%container, %error, "the limitation can't be written");
    }
}

/// The end of a container whose launcher is gone: as the launcher wrote it, or after a search for what is left. Blocks.
pub(super) fn settle(container: &ContainerId, directory: &Directory) -> Exit {
    let status = directory.status().unwrap_or_else(|| {
        tracing::warn!(%container, "the launcher ended without a status; what is left of the container is killed");
        if let Err(error) = orphans::destroy(directory) {
            tracing::error!(%container, %error, "something is left of the container");
        }
        let unknown = Status::default();
        if let Err(error) = directory.write_status(&unknown) {
            tracing::warn!(%container, %error, "the status can't be written");
        }
        unknown
    });
    status.exit(directory.limitation())
}

/// The first of several futures; never, when there is none.
fn first(watches: &mut [Watch]) -> impl Future<Output = Limitation> + '_ {
    poll_fn(move |context| {
        let ready = watches.iter_mut().find_map(|watch| match Pin::new(watch).poll(context) {
            Poll::Ready(limitation) => Some(limitation),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
}
