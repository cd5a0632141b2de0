//! Checks of tasks: what is tried, how often, and what came of it (reference 6.6).
//!
//! Two kinds. A *health check* judges: its verdicts go out with the task's statuses, and a task that fails often enough
//! is killed. A generic *check* only tells its result, whenever that changed. Who carries them out is the executor
//! (`actors/src/executor/check.rs`) by [`crate::container::ContainerRequest::Probe`].

use crate::task::CommandInfo;
use crate::time::Duration;
use rkyv::{Archive, Deserialize, Serialize};

/// The checks of one task; at least one of them is set.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct Checks {
    /// The one that judges.
    pub health: Option<HealthCheck>,
    /// The one that tells.
    pub check: Option<Check>,
}

/// Something that is tried again and again (`CheckInfo` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct Check {
    /// What is tried.
    pub target: CheckTarget,
    /// How long after the start of the task it is tried first.
    pub delay: Duration,
    /// How long after one result it is tried again.
    pub interval: Duration,
    /// How long one try may take; [`Duration::MAX`] for as long as it likes.
    pub timeout: Duration,
}

/// A check that judges (`HealthCheck` of the v1 API).
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is tried, and when.
    pub check: Check,
    /// So many failures in a row end the task; zero counts as one.
    pub failures_max: u32,
    /// How long after the start of the task failures are passed over, until the first success.
    pub grace: Duration,
}

/// What a check tries.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum CheckTarget {
    /// A command beside the task, in its sandbox and with its environment; well when it exits with 0.
    Command(Box<CommandInfo>),
    /// A GET to the task's own machine; well when the status of the answer is within [`HTTP_WELL`].
    Http(HttpTarget),
    /// A connection to the task's own machine; well when it is accepted.
    Tcp(TcpTarget),
}

/// Statuses of HTTP that count as well: all before the first that speaks of a mistake.
pub const HTTP_WELL: core::ops::Range<u16> = 200..400;

/// Where an HTTP check asks.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HttpTarget {
    /// By TLS. Whose certificate it is does not matter (`curl -k`).
    pub is_secure: bool,
    /// At this address and port of loopback.
    pub at: TcpTarget,
    /// What it asks for: empty, or begins with `/`.
    pub path: String,
}

/// A port of loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TcpTarget {
    /// `[::1]` in place of `127.0.0.1`.
    pub is_ipv6: bool,
    /// The port.
    pub port: u16,
}

/// The newest result of a generic check (`CheckStatusInfo` of the v1 API); `None` within it while there is none, before
/// the first try and after one that could not be carried through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum CheckStatus {
    /// The exit code of the command.
    Command(Option<i32>),
    /// The status of the answer.
    Http(Option<u16>),
    /// Whether the connection was accepted.
    Tcp(Option<bool>),
}

impl CheckTarget {
    /// The status of a check of this kind that has no result.
    pub const fn without_result(&self) -> CheckStatus {
        match self {
            Self::Command(_) => CheckStatus::Command(None),
            Self::Http(_) => CheckStatus::Http(None),
            Self::Tcp(_) => CheckStatus::Tcp(None),
        }
    }
}
