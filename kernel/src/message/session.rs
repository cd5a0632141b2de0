//! The first words of a session between two hosts. The side that connects speaks first; the other answers with its own
//! hello or closes with a reason. No other frame is taken before both were accepted.

use crate::actor::HostId;
use crate::frame::Classified;
use rkyv::{Archive, Deserialize, Serialize};

/// The protocol of this build. A peer that speaks another is refused.
pub const PROTOCOL: u32 = 1;

/// Who I am.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the speaker.
    pub protocol: u32,
    /// The cluster it belongs to; peers of another are refused.
    pub cluster: String,
    /// This life of its process.
    pub host: HostId,
    /// What it is; its certificate must say the same.
    pub role: PeerRole,
}

impl Classified for Hello {}

/// What a host is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[rkyv(derive(PartialEq, Eq, Debug))]
pub enum PeerRole {
    /// A master.
    Master,
    /// An agent.
    Agent,
    /// An executor; known to its own agent only.
    Executor,
}

impl PeerRole {
    /// The word in certificates, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Agent => "agent",
            Self::Executor => "executor",
        }
    }
}
