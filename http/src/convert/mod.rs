//! The v1 messages and the kernel's types, both ways: one file for each subject.
//!
//! What the kernel has a type for is converted and checked. Every other field of a v1 message travels as protobuf in the
//! `rest` of the kernel's value and is put back on the way out, so that a framework finds in its task what it wrote there.
//!
//! Rules that a shape alone can break (reference 5.1, rules 4, 5, 7, 8 and the quantities of rule 6) are judged here. What
//! breaks one becomes [`Error`]; in a task it is kept as `TaskInfo.defect`, so that the master answers with TASK_ERROR.
//! Rules about the cluster's state are the master's (`actors/src/master/validate.rs`).
//!
//! Where the behaviour comes from: Mesos's `src/master/validation.cpp`, `src/common/resources.cpp`,
//! `src/common/validation.cpp`.

pub mod agent;
pub mod call;
pub mod command;
pub mod constraint;
pub mod container;
mod disk;
pub mod event;
pub mod executor;
pub mod executor_call;
pub mod framework;
pub mod group;
pub mod health;
pub mod labels;
pub(crate) mod limits;
pub mod maintenance;
pub mod offer;
pub mod operation;
pub mod quota;
pub mod resource;
pub mod resource_flag;
mod secret;
pub mod status;
pub mod task;

use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::resource::role::RoleError;
use kaon_kernel::resource::{RangesError, ReservationError, ResourcesError};
use kaon_kernel::time::{Duration, WallTime};

use crate::v1::mesos as v1;

/// What is wrong with the shape of a v1 message. The text is for the framework's people.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A scalar that is no quantity.
    #[error("Invalid scalar resource '{name}': {value} is negative, not a number, or beyond 1e12")]
    Quantity {
        /// Of which resource.
        name: String,
        /// The value.
        value: f64,
    },
    /// Ranges that are none.
    #[error("Invalid ranges resource '{name}': {reason}")]
    Ranges {
        /// Of which resource.
        name: String,
        /// Why.
        reason: RangesError,
    },
    /// A resource of another wrong shape.
    #[error("Invalid resource '{name}': {reason}")]
    Resource {
        /// Which.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A stack of reservations that is none.
    #[error("Invalid reservation of resource '{name}': {reason}")]
    Reservation {
        /// Of which resource.
        name: String,
        /// Why.
        reason: ReservationError,
    },
    /// What a form of v1 can't say.
    #[error("{entry} can't be said in this form: {reason}")]
    Unsayable {
        /// The entry.
        entry: String,
        /// Why.
        reason: &'static str,
    },
    /// Resources that do not add up.
    #[error("Invalid resources: {0}")]
    Sum(#[from] ResourcesError),
    /// Resources under several roles.
    #[error("Resources are allocated to different roles: '{0}' and '{1}'")]
    Allocations(String, String),
    /// A role that is none.
    #[error("Invalid role: {0}")]
    Role(#[from] RoleError),
    /// A time that is none.
    #[error("{0} must be non-negative and below 2^63 nanoseconds")]
    Time(&'static str),
    /// Labels that ask for a place and mean nothing.
    #[error(transparent)]
    Placement(#[from] kaon_kernel::placement::label::LabelError),
    /// A rule about one field.
    #[error("{1}")]
    Rule(Cause, String),
    /// What this version does not carry out.
    #[error("{0} is not supported by this version of Kaon")]
    Unsupported(&'static str),
}

impl Error {
    /// The same for programs.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Quantity { .. } | Self::Ranges { .. } | Self::Resource { .. } | Self::Sum(_) => {
                Cause::ResourcesInvalid
            }
            Self::Reservation { .. } | Self::Unsayable { .. } => Cause::ReservationInvalid,
            Self::Allocations(..) => Cause::RoleMismatch,
            Self::Role(_) => Cause::RoleInvalid,
            Self::Time(_) => Cause::TimeInvalid,
            Self::Placement(_) => Cause::PlacementInvalid,
            Self::Rule(cause, _) => *cause,
            Self::Unsupported(_) => Cause::Unsupported,
        }
    }
}

impl From<Error> for Defect {
    fn from(error: Error) -> Self {
        Self::new(error.cause(), error.to_string())
    }
}

/// A length of time that may not be negative.
fn duration(value: &v1::DurationInfo, field: &'static str) -> Result<Duration, Error> {
    u64::try_from(value.nanoseconds).map(Duration::nanos).map_err(|_| Error::Time(field))
}

/// The v1 form of a length of time.
fn duration_info(value: Duration) -> v1::DurationInfo {
    v1::DurationInfo { nanoseconds: i64::try_from(value.0).unwrap_or(i64::MAX) }
}

/// The v1 form of a moment.
pub fn time_info(value: WallTime) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: i64::try_from(value.0).unwrap_or(i64::MAX) }
}

/// What is left of a message once the typed fields are taken out, as protobuf; nothing when nothing is left.
fn rest_of<M: prost::Message + Default + PartialEq>(message: &M) -> Vec<u8> {
    if *message == M::default() { Vec::new() } else { message.encode_to_vec() }
}

/// The message that [`rest_of`] wrote. Bytes of a newer version that can't be read give the message without them.
fn with_rest<M: prost::Message + Default>(rest: &[u8]) -> M {
    M::decode(rest).unwrap_or_default()
}
