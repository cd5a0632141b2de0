//! The sessions that stand, by host and by name, and which of two sessions with one peer stays.
//!
//! One peer has one session. Which one, when there could be two:
//!
//! - The same name, another host id: its process was restarted. The newer session stays.
//! - The same name and host id, opened by the same side: that side has lost the older one. The newer stays.
//! - The same name and host id, opened by both sides at once (two masters that look for each other): the one that the
//!   host with the lower id opened stays. Both sides decide alike, so they do not close each other's in turns.
//! - The same host id, another name: a peer that takes another's host id is refused, or any agent could push out a master.

use crate::identity::Identity;
use crate::outbox::Stage;
use crate::reason::CloseReason;
use crate::session::Session;
use dashmap::DashMap;
use kaon_kernel::actor::HostId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions that one host may hold: the 10,000 agents of the largest cluster we plan for, all of them twice during a
/// failover, and room.
pub const SESSIONS_MAX: usize = 32_768;

/// The sessions of an endpoint.
#[derive(Default)]
pub(crate) struct Table {
    by_host: DashMap<HostId, Arc<Session>>,
    /// Also the lock under which the table changes; reading `by_host` needs none.
    names: Mutex<BTreeMap<Identity, HostId>>,
}

/// A session's place in the table. It is given back when this is dropped, however its task ends.
pub(crate) struct Claim {
    table: Arc<Table>,
    pub(crate) session: Arc<Session>,
}

impl Table {
    /// Takes the place of a peer for `session`. When another session holds it and must go, this waits until it has ended
    /// and its host was told so; what refuses the new one comes back at once.
    pub(crate) async fn claim(self: &Arc<Self>, session: Arc<Session>, ours: HostId) -> Result<Claim, CloseReason> {
        loop {
            let rival = {
                let mut names = self.lock();
                let rival = names.get(&session.identity).and_then(|host| self.of_host(*host));
                match rival {
                    Some(rival) if rival.host == session.host && !is_newcomer_preferred(&rival, &session, ours) => {
                        return Err(CloseReason::Duplicate);
                    }
                    Some(rival) => rival,
                    None if self.by_host.contains_key(&session.host) => return Err(CloseReason::HostTaken),
                    None if self.by_host.len() >= SESSIONS_MAX => return Err(CloseReason::Crowded),
                    None => {
                        names.insert(session.identity.clone(), session.host);
                        self.by_host.insert(session.host, Arc::clone(&session));
                        return Ok(Claim { table: Arc::clone(self), session });
                    }
                }
            };
            rival.close(CloseReason::Replaced);
            rival.ended().await;
        }
    }

    /// The session to a host. Cost: one look into a concurrent table.
    pub(crate) fn of_host(&self, host: HostId) -> Option<Arc<Session>> {
        self.by_host.get(&host).map(|session| Arc::clone(&session))
    }

    /// The session to a peer of that name.
    pub(crate) fn of_identity(&self, identity: &Identity) -> Option<Arc<Session>> {
        let host = self.lock().get(identity).copied()?;
        self.of_host(host)
    }

    /// How many stand.
    pub(crate) fn len(&self) -> usize {
        self.by_host.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, HostId>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_newcomer_preferred(rival: &Session, newcomer: &Session, ours: HostId) -> bool {
    rival.is_opened_by_us == newcomer.is_opened_by_us || newcomer.is_opened_by_us == (ours < newcomer.host)
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.table.lock();
        names.remove(&self.session.identity);
        self.table.by_host.remove(&self.session.host);
        drop(names);
        self.session.outbox.advance(Stage::Closed);
        self.session.set_ended();
    }
}
