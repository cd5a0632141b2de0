//! Probes: a command beside a container that runs, or what `probe.rs` tries over loopback. The walls around this process
//! are those around what is probed, since who asks is its executor.

use super::Inner;
use crate::probe;
use kaon_kernel::container::{ContainerOutcome, LaunchSpec, Probe, ProbeResult};
use kaon_kernel::id::ContainerId;
use kaon_kernel::time::Duration;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Inner {
    /// Carries out a probe. A command's container is reserved in the table.
    pub(super) async fn probe(
        self: Arc<Self>,
        container: ContainerId,
        probe: Probe,
        limit: Duration,
    ) -> ContainerOutcome {
        ContainerOutcome::Probed(match probe {
            Probe::Command(spec) => self.probe_by_command(container, spec, limit).await,
            Probe::Http(target) => within(limit, probe::ask(&target)).await.and_then(|answered| answered),
            Probe::Tcp(at) => within(limit, probe::connect(at)).await,
        })
    }

    /// Runs a command to its end, by force when it takes too long, and leaves nothing of it.
    async fn probe_by_command(
        self: &Arc<Self>,
        container: ContainerId,
        spec: LaunchSpec,
        limit: Duration,
    ) -> Result<ProbeResult, String> {
        match self.launch(container.clone(), spec).await {
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
