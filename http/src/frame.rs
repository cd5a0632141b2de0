//! Frames at this edge: reading them, and making those that go to the actors.

use kaon_kernel::frame::{BODY_BYTES_MAX, Frame, Root, Route};
use rkyv::rancor::{self, Panic};

/// A message that no frame can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call takes {0} bytes inside, at most {BODY_BYTES_MAX} are allowed; split it")]
pub(crate) struct TooLarge(usize);

/// Copies a part of a message out. Copying out of valid memory can't fail.
pub(crate) fn copy<T, A: rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<Panic>>>(archived: &A) -> T {
    rkyv::api::high::deserialize::<T, Panic>(archived).unwrap_or_else(|never| match never {})
}

/// Puts a message that came from outside into a frame. `weight` says whether it may be large: then it is measured first,
/// since a frame beyond its bound is a mistake of ours and not the client's.
///
/// # Errors
/// When it does not fit.
pub(crate) fn encode<M: Root>(route: Route, message: &M, weight: Weight) -> Result<Frame, TooLarge> {
    if weight == Weight::MayBeLarge {
        let measured = rkyv::api::high::to_bytes_in::<_, rancor::Error>(message, rkyv::util::AlignedVec::<16>::new());
        let length = measured.map_or(usize::MAX, |bytes| bytes.len());
        if length > BODY_BYTES_MAX {
            return Err(TooLarge(length));
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
    MayBeLarge,
}

impl Weight {
    /// The most bytes of a body that is light. Strings and what is kept whole take each of them at most three times.
    const BODY_BYTES: usize = 256 << 10;
    /// The most parts (tasks, offers, questions) that are light. The largest takes less than 4 KiB besides its strings.
    const PARTS: usize = 1000;

    pub(crate) fn of(body_bytes: usize, parts: usize) -> Self {
        if body_bytes <= Self::BODY_BYTES && parts <= Self::PARTS { Self::Light } else { Self::MayBeLarge }
    }
}
