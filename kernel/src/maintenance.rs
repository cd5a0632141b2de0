//! Maintenance: when a machine will not be there, and what frameworks say to it (reference 11.3).

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
pub enum InverseAnswer {
    /// It will leave in time.
    Accepted,
    /// It can't leave in time.
    Declined,
}
