//! Maintenance: when a machine will not be there, and what operators and frameworks say to it (reference 7.1, 11.3).

use crate::agent::AgentInfo;
use crate::time::{Duration, WallTime};
use rkyv::{Archive, Deserialize, Serialize};

/// When a machine will be away (`Unavailability` of the v1 API).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Unavailability {
    /// From when on.
    pub start: WallTime,
    /// For how long; `None` is for good.
    pub duration: Option<Duration>,
}

/// What a framework answers to an inverse offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(derive(Clone, Copy, Debug, PartialEq, Eq))]
pub enum InverseAnswer {
    /// It will leave in time.
    Accepted,
    /// It can't leave in time.
    Declined,
}

/// A machine as an operator names it (`MachineID` of the v1 API). Agents run on the machine whose name and address they
/// have both, as in Mesos: a machine without an address is that of no agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct MachineId {
    /// Its name; empty when it is not given.
    pub hostname: String,
    /// Its address; empty when it is not given.
    pub ip: String,
}

impl MachineId {
    /// That of an agent.
    pub fn of(info: &AgentInfo) -> Self {
        Self { hostname: info.hostname.clone(), ip: info.ip.clone() }
    }

    /// The form by which machines are compared: names of hosts know no case.
    pub fn key(&self) -> Self {
        Self { hostname: self.hostname.to_ascii_lowercase(), ip: self.ip.clone() }
    }
}

impl core::fmt::Display for MachineId {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.hostname.as_str(), self.ip.as_str()) {
            (hostname, "") => out.write_str(hostname),
            ("", ip) => out.write_str(ip),
            (hostname, ip) => write!(out, "{hostname} ({ip})"),
        }
    }
}

/// Machines that go at the same time (`maintenance.Window` of the v1 API).
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Window {
    /// Which; never empty.
    pub machines: Vec<MachineId>,
    /// When.
    pub unavailability: Unavailability,
}

/// So many machines can be scheduled at once. With [`MACHINE_BYTES_MAX`] the schedule fits into one entry of the
/// registry's log.
pub const MACHINES_MAX: usize = 10_000;

/// The names and addresses of all scheduled machines together, in bytes.
pub const MACHINE_BYTES_MAX: usize = 512 << 10;

/// What operators have said about one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AgentOrders {
    /// Nothing of it is offered.
    pub deactivated: bool,
    /// Everything on it is to end.
    pub drain: Option<Drain>,
}

/// The draining of an agent (`DrainInfo` of the v1 API).
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Drain {
    /// How far it has come.
    pub state: DrainState,
    /// How it is done.
    pub config: DrainConfig,
    /// When it was ordered.
    pub since: WallTime,
}

/// How far the draining of an agent has come. The numbers are those of the v1 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum DrainState {
    /// Something is still on it, or it was not asked yet.
    Draining = 1,
    /// Nothing is on it any more.
    Drained = 2,
}

/// How an agent is drained (`DrainConfig` of the v1 API).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DrainConfig {
    /// The longest time that a task has to end; `None` leaves each its own.
    pub grace_max: Option<Duration>,
    /// Whether the agent is marked gone once nothing is on it any more.
    pub mark_gone: bool,
}

impl DrainConfig {
    /// What overrides the grace of a task: the longest time where the task's own is longer or not said.
    pub fn grace(&self, own: Option<Duration>) -> Option<Duration> {
        self.grace_max.filter(|longest| own.is_none_or(|own| own > *longest))
    }
}
