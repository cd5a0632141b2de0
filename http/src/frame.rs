//! Frames at this edge: reading them, and making those that go to the actors.

use kaon_kernel::frame::{BODY_BYTES_MAX, Frame, Root, Route};
use rkyv::rancor;

/// The largest call inside, in bytes. Behind the edge it is put into other frames, once with its framework's words beside
/// it, and none of them may be larger than a frame can be.
pub(crate) const CALL_BYTES_MAX: usize = BODY_BYTES_MAX - 2 * FRAMEWORK_BYTES_MAX;

/// The largest words of a framework inside, in bytes. Every agent that runs its tasks is sent them with each.
pub(crate) const FRAMEWORK_BYTES_MAX: usize = 1 << 20;

/// A message that is larger than the actors take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this takes {bytes} bytes inside, at most {bytes_max} are allowed")]
pub(crate) struct TooLarge {
    bytes: usize,
    bytes_max: usize,
}

/// Puts a message that came from outside into a frame. `weight` says whether it may be large: then it is measured first,
/// since a frame beyond its bound is a mistake of ours and not the client's.
///
/// # Errors
/// When it does not fit.
pub(crate) fn encode<M: Root>(route: Route, message: &M, weight: Weight) -> Result<Frame, TooLarge> {
    if let Weight::MayBeLarge { bytes_max } = weight {
        let measured = rkyv::api::high::to_bytes_in::<_, rancor::Error>(message, rkyv::util::AlignedVec::<16>::new());
        let bytes = measured.map_or(usize::MAX, |bytes| bytes.len());
        if bytes > bytes_max {
            return Err(TooLarge { bytes, bytes_max });
        }
    }
    Ok(Frame::encode(route, message))
}

/// What is known of a message's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Far below the bound: few parts, out of a small body.
    Light,
    /// To be measured.
    MayBeLarge {
        /// The most that it may be.
        bytes_max: usize,
    },
}

impl Weight {
    /// The most bytes of a body that is light. Strings and what is kept whole take each of them at most three times.
    const BODY_BYTES: usize = 256 << 10;
    /// The most parts (tasks, offers, questions) that are light. The largest takes less than 4 KiB besides its strings.
    const PARTS: usize = 1000;

    pub(crate) fn of(body_bytes: usize, parts: usize) -> Self {
        if body_bytes <= Self::BODY_BYTES && parts <= Self::PARTS {
            Self::Light
        } else {
            Self::MayBeLarge { bytes_max: CALL_BYTES_MAX }
        }
    }
}
