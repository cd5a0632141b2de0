//! Keeps a session to an address: connects, waits until it ends, waits a little, connects again.
//!
//! The waits double from [`BACKOFF_MIN`] to [`BACKOFF_MAX`], and half of each is chance: after a failover thousands of
//! agents come back, and they must not come in step. A refusal that time alone does not heal (another cluster, a
//! certificate that is not accepted) waits the longest at once. While the peer at an address holds a session that it
//! opened itself, there is nothing to do.

use crate::endpoint::Shared;
use crate::identity::Identity;
use crate::reason::CloseReason;
use crate::session::{self, Failure, Greeted, HELLO_WAIT_MAX, stopped};
use core::time::Duration;
use kaon_kernel::chance::Chance;
use kaon_kernel::message::session::PeerRole;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The first wait before connecting again.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait before connecting again.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A session that stood so long was a good one: the next wait is short again.
const SETTLED: Duration = Duration::from_secs(5);

/// Whom to connect to, and whom to expect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// The DNS name or IP address that must stand in the peer's certificate; None for the address itself.
    pub server_name: Option<String>,
    /// What it must be; None for whatever may meet us.
    pub role: Option<PeerRole>,
    /// Its name must be this; None for any.
    pub name: Option<String>,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, server_name: None, role: None, name: None }
    }
}

impl Target {
    pub(crate) fn expects(&self, identity: &Identity) -> bool {
        self.role.is_none_or(|role| role == identity.role)
            && self.name.as_ref().is_none_or(|name| *name == identity.name)
    }
}

/// The waits between attempts.
struct Backoff {
    attempts: u32,
    chance: Chance,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Self { attempts: 0, chance: Chance::new(seed) }
    }

    fn settle(&mut self) {
        self.attempts = 0;
    }

    /// The wait after an attempt that ended for `reason`.
    fn next(&mut self, reason: CloseReason) -> Duration {
        let whole = if reason.is_passing() {
            BACKOFF_MAX.min(BACKOFF_MIN * 2u32.saturating_pow(self.attempts.min(16)))
        } else {
            BACKOFF_MAX
        };
        self.attempts = self.attempts.saturating_add(1);
        whole / 2 + whole.mul_f64(self.chance.unit() / 2.0)
    }
}

/// Keeps a session to `target` until `stop`.
pub(crate) async fn keep(shared: Arc<Shared>, target: Target, mut stop: watch::Receiver<bool>) {
    let seed = shared.host.0 ^ u64::from(target.address.port());
    let mut backoff = Backoff::new(seed);
    let mut known: Option<Identity> = None;
    let mut told = None;
    let mut stood_before = false;
    loop {
        let connecting = async {
            if let Some(rival) = known.as_ref().and_then(|identity| shared.table.of_identity(identity)) {
                rival.ended().await;
            }
            connect(&shared, &target, &mut known).await
        };
        let outcome = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            outcome = connecting => outcome,
        };
        let reason = match outcome {
            Ok(greeted) => {
                if stood_before {
                    shared.counters.reconnects.add(1);
                }
                stood_before = true;
                told = None;
                let since = Instant::now();
                let reason = session::stand(&shared, greeted, stop.clone()).await;
                if since.elapsed() >= SETTLED {
                    backoff.settle();
                }
                reason
            }
            Err(Failure::Refused(reason) | Failure::Closed(reason)) => {
                if told != Some(reason) {
                    tracing::warn!(address = %target.address, reason = reason.word(), "not connected");
                    told = Some(reason);
                }
                reason
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = sleep(backoff.next(reason)) => {}
        }
    }
}

/// One attempt. `known` becomes who has answered.
async fn connect(shared: &Shared, target: &Target, known: &mut Option<Identity>) -> Result<Greeted, Failure> {
    shared.counters.attempts.add(1);
    let name = target.server_name.clone().unwrap_or_else(|| target.address.ip().to_string());
    let connecting = match shared.quinn.connect(target.address, &name) {
        Ok(connecting) => connecting,
        Err(error) => {
            tracing::debug!(address = %target.address, %error, "can't connect");
            return Err(Failure::Closed(CloseReason::Other));
        }
    };
    let connection = match timeout(HELLO_WAIT_MAX, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(address = %target.address, %error, "no handshake");
            let failure = Failure::of_connection(&error);
            shared.count(failure);
            return Err(failure);
        }
        Err(_) => {
            let failure = Failure::Closed(CloseReason::Lost);
            shared.count(failure);
            return Err(failure);
        }
    };
    let greeted = session::introduce(shared, &connection, target).await;
    *known = session::identity_of(&connection);
    greeted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_chance_up_to_a_bound_and_begin_anew_after_a_good_session() {
        let mut backoff = Backoff::new(7);
        let mut whole = BACKOFF_MIN;
        for _ in 0..20 {
            let wait = backoff.next(CloseReason::Lost);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = BACKOFF_MAX.min(whole * 2);
        }
        backoff.settle();
        assert!(backoff.next(CloseReason::Closing) <= BACKOFF_MIN);
        assert!(backoff.next(CloseReason::Cluster) >= BACKOFF_MAX / 2);
    }

    #[test]
    fn two_hosts_do_not_wait_in_step() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            [(); 4].map(|()| backoff.next(CloseReason::Lost))
        };
        assert_ne!(waits(1), waits(2));
    }
}
