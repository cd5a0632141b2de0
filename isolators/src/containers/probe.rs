//! Probes: a command beside a container that runs, or what `probe.rs` tries over loopback. The walls around this process
//! are those around what is probed, since who asks is its executor.

use super::Inner;
use crate::probe;
use kaon_kernel::check::{HttpTarget, TcpTarget};
use kaon_kernel::container::{ContainerOutcome, LaunchSpec, ProbeResult};
use kaon_kernel::id::ContainerId;
use kaon_kernel::time::Duration;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A GET over loopback.
pub(super) async fn by_http(target: &HttpTarget, limit: Duration) -> Result<ProbeResult, String> {
    within(limit, probe::ask(target)).await.and_then(|answered| answered)
}

/// A connection over loopback.
pub(super) async fn by_tcp(at: TcpTarget, limit: Duration) -> Result<ProbeResult, String> {
    within(limit, probe::connect(at)).await
}

impl Inner {
    /// Runs a command to its end, by force when it takes too long, and leaves nothing of it. Its container is reserved in
    /// the table; `stopped` says that it was killed before it ran.
    pub(super) async fn probe(
        self: &Arc<Self>,
        container: ContainerId,
        of: ContainerId,
        spec: LaunchSpec,
        stopped: oneshot::Receiver<()>,
        limit: Duration,
    ) -> Result<ProbeResult, String> {
        let (spec, join) = match self.beside(&of, spec).await {
            Ok(shaped) => shaped,
            Err(reason) => {
                // Nobody waits for it yet.
                self.table().failed(&container);
                return Err(reason);
            }
        };
        match self.launch(container.clone(), spec, join, stopped).await {
            ContainerOutcome::Launched { .. } => {}
            ContainerOutcome::Failed { reason } => return Err(reason),
            other => return Err(format!("a launch came back as {other:?}")),
        }
        let (sender, mut ended) = oneshot::channel();
        // Who waits may be gone by then.
        let known = self.table().wait(&container, Box::new(move |outcome| drop(sender.send(outcome))));
        if let Some((done, outcome)) = known {
            done(outcome);
        }
        let (outcome, is_late) = match within(limit, &mut ended).await {
            Ok(outcome) => (outcome, None),
            Err(late) => {
                let running = self.table().kill(&container, Duration::ZERO);
                if let Some(running) = running {
                    running.kill(Duration::ZERO);
                }
                (ended.await, Some(late))
            }
        };
        self.forget(container).await;
        match (is_late, outcome) {
            (Some(late), _) => Err(late),
            (None, Ok(ContainerOutcome::Exited(exit))) => {
                exit.status.map(ProbeResult::Exited).ok_or_else(|| "its exit status is unknown".to_owned())
            }
            (None, other) => Err(format!("a wait came back as {other:?}")),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    let done = tokio::time::timeout(std::time::Duration::from_nanos(limit.0), work).await;
    done.map_err(|_| format!("timed out after {limit}"))
}
