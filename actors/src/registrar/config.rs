//! How a registrar is set up.

use kaon_kernel::time::Duration;

/// The most voters of a group. More make every commit slower and nothing safer.
pub const PEERS_MAX: usize = 7;

/// How many operations may wait for the log. A master asks for fewer: 65,536 that others wish for, and one for each agent and
/// framework that a registry of [`REGISTRY_BYTES_MAX`](super::apply::REGISTRY_BYTES_MAX) has.
const WAITING_MAX: usize = 262_144;

/// Another master's registrar, or this one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number: above zero, unique, and never given to another machine or to one with an empty disk.
    pub number: u64,
    /// The name in its certificate, by which its link is known.
    pub identity: String,
}

impl Peer {
    /// The peer of a number under its usual name, `master-<number>`.
    pub fn numbered(number: u64) -> Self {
        Self { number, identity: format!("master-{number}") }
    }
}

/// The setup of one registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// My own number.
    pub me: u64,
    /// The whole group, this one included.
    pub peers: Vec<Peer>,
    /// The step of the consensus clock.
    pub tick: Duration,
    /// A follower that has heard of no leader for one to two times as many ticks stands for election, and a leader that
    /// has heard of no majority for as many steps down.
    pub election_ticks: u32,
    /// A leader shows itself after as many ticks.
    pub heartbeat_ticks: u32,
    /// A snapshot is taken after as many entries. The log holds about one and a half times as many.
    pub snapshot_every: u64,
    /// How many operations of the master may wait for the log, beside those that are in it and not committed yet.
    /// Beyond, they are refused.
    pub waiting_max: usize,
}

/// What is wrong with a setup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The group lacks this registrar.
    #[error("registrar {0} is not among its peers")]
    Absent(u64),
    /// A number is zero.
    #[error("a peer has the number 0")]
    Zero,
    /// A number or an identity occurs twice.
    #[error("peer {number} ({identity}) shares its number or its identity with another")]
    Twice {
        /// Its number.
        number: u64,
        /// Its identity.
        identity: String,
    },
    /// Too many voters.
    #[error("{0} peers, at most {PEERS_MAX} are allowed")]
    Crowd(usize),
    /// The ticks do not fit together.
    #[error(
        "an election after {election} ticks and a heartbeat after {heartbeat}: both must be above zero, and the first larger"
    )]
    Ticks {
        /// Ticks to an election.
        election: u32,
        /// Ticks to a heartbeat.
        heartbeat: u32,
    },
    /// A length or a bound is zero.
    #[error("{0} must not be zero")]
    Nothing(&'static str),
}

impl RegistrarConfig {
    /// The usual setup for registrar `me` of a group: ticks of 100 ms, heartbeats after 1 and elections after 10 of
    /// them (raft-rs's and etcd's ratio, etcd's defaults), a snapshot every 10,000 entries (etcd until 3.1).
    pub fn new(me: u64, peers: Vec<Peer>) -> Self {
        Self {
            me,
            peers,
            tick: Duration::millis(100),
            election_ticks: 10,
            heartbeat_ticks: 1,
            snapshot_every: 10_000,
            waiting_max: WAITING_MAX,
        }
    }

    /// A cluster with one master.
    pub fn single() -> Self {
        Self::new(1, vec![Peer::numbered(1)])
    }

    /// Checks the setup.
    pub fn check(&self) -> Result<(), Error> {
        if self.peers.len() > PEERS_MAX {
            return Err(Error::Crowd(self.peers.len()));
        }
        for (at, peer) in self.peers.iter().enumerate() {
            if peer.number == 0 {
                return Err(Error::Zero);
            }
            let earlier = &self.peers[..at];
            if earlier.iter().any(|other| other.number == peer.number || other.identity == peer.identity) {
                return Err(Error::Twice { number: peer.number, identity: peer.identity.clone() });
            }
        }
        if !self.peers.iter().any(|peer| peer.number == self.me) {
            return Err(Error::Absent(self.me));
        }
        let (election, heartbeat) = (self.election_ticks, self.heartbeat_ticks);
        if heartbeat == 0 || election <= heartbeat {
            return Err(Error::Ticks { election, heartbeat });
        }
        let sizes =
            [("tick", self.tick.0), ("snapshot_every", self.snapshot_every), ("waiting_max", self.waiting_max as u64)];
        match sizes.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(Error::Nothing(name)),
            None => Ok(()),
        }
    }

    /// The numbers of the group, ascending.
    pub(super) fn voters(&self) -> Vec<u64> {
        let mut voters: Vec<_> = self.peers.iter().map(|peer| peer.number).collect();
        voters.sort_unstable();
        voters
    }
}
