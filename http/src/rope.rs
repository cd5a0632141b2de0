//! Large answers in pieces, written by several threads.
//!
//! `/state` of 100,000 tasks is a hundred megabytes. In one vector it would be moved as often as the vector grows, into
//! memory that nobody has touched before; in pieces it stays where it was written, and the length is known in the end, as
//! clients want it. Parts of an answer are independent of each other: they are written side by side and joined in order.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use hyper::body::{Body, Frame as Chunk, SizeHint};

use crate::answer::Broken;

/// A piece takes nothing more once it has so many bytes.
const PIECE_BYTES: usize = 256 << 10;

/// An answer of fewer parts is written by one thread.
const PARTS_ALONE: usize = 16;

/// Threads that help with answers at once, over all answers: the processors beside the one that asks, and at least one.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Bytes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    closed: Vec<Bytes>,
    closed_bytes: usize,
    open: Vec<u8>,
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Self {
        Self { open: bytes, ..Self::default() }
    }
}

impl Rope {
    pub(crate) fn len(&self) -> usize {
        self.closed_bytes + self.open.len()
    }

    /// Where the next thing is written, whole.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.open.len() >= PIECE_BYTES {
            self.close();
        }
        &mut self.open
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed_bytes += self.open.len();
            self.closed.push(core::mem::take(&mut self.open).into());
        }
    }

    /// Puts bytes behind it that are there already. What is large is not moved.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < PIECE_BYTES / 16 {
            return self.room().extend_from_slice(&bytes);
        }
        self.close();
        self.closed_bytes += bytes.len();
        self.closed.push(bytes);
    }

    /// The same without its first byte.
    pub(crate) fn without_first(mut self) -> Self {
        match self.closed.first_mut() {
            Some(piece) => {
                let _ = piece.split_to(1);
                self.closed_bytes -= 1;
            }
            None => drop(self.open.drain(..1)),
        }
        self
    }

    /// Puts another behind it. What is large is not moved.
    pub(crate) fn append(&mut self, mut other: Self) {
        if other.closed.is_empty() && other.open.len() < PIECE_BYTES / 16 {
            return self.room().extend_from_slice(&other.open);
        }
        self.close();
        other.close();
        self.closed_bytes += other.closed_bytes;
        self.closed.append(&mut other.closed);
    }

    pub(crate) fn into_pieces(mut self) -> Vec<Bytes> {
        self.close();
        self.closed
    }
}

/// Writes a part of an answer.
pub(crate) type Part<'a> = Box<dyn Fn(&mut Rope) + Send + Sync + 'a>;

/// A part that is known.
pub(crate) fn text<'a>(text: impl Into<String>) -> Part<'a> {
    let text = text.into();
    Box::new(move |rope| rope.room().extend_from_slice(text.as_bytes()))
}

/// Writes all parts; what came of each, in their order.
pub(crate) fn written(parts: &[Part<'_>]) -> Vec<Rope> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, part)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, parts.get(at)?)))
        {
            let mut rope = Rope::default();
            part(&mut rope);
            done.push((at, rope));
        }
        done
    };
    let help = if parts.len() < PARTS_ALONE { Help(0) } else { Help::take() };
    let mut done = thread::scope(|scope| {
        let helpers: Vec<_> = (0..help.0).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for helper in helpers {
            // A panic in a part is a panic of the answer, whoever wrote it.
            done.extend(helper.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)));
        }
        done
    });
    drop(help);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, rope)| rope).collect()
}

/// Threads that may be started; given back when dropped.
struct Help(usize);

impl Help {
    /// As many as are free.
    fn take() -> Self {
        let most = thread::available_parallelism().map_or(1, |all| (all.get() - 1).max(1));
        let busy = HELPERS.fetch_max(most, Ordering::Relaxed);
        Self(most.saturating_sub(busy))
    }
}

impl Drop for Help {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// The body of an answer in pieces; its length is known.
pub(crate) struct Pieces {
    rest: std::vec::IntoIter<Bytes>,
    bytes: u64,
}

impl Pieces {
    pub(crate) fn new(pieces: Vec<Bytes>) -> Self {
        Self { bytes: pieces.iter().map(|piece| piece.len() as u64).sum(), rest: pieces.into_iter() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Chunk<Bytes>, Broken>>> {
        let piece = self.rest.next();
        self.bytes -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Chunk::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(rope: Rope) -> Vec<u8> {
        rope.into_pieces().concat()
    }

    #[test]
    fn parts_are_joined_in_their_order_whoever_writes_them() {
        let parts: Vec<Part<'_>> = (0..1000).map(|number| text(format!("{number},"))).collect();
        let mut all = Rope::default();
        written(&parts).into_iter().for_each(|rope| all.append(rope));
        let expected: String = (0..1000).map(|number| format!("{number},")).collect();
        assert_eq!(all.len(), expected.len());
        assert_eq!(whole(all), expected.into_bytes());
    }

    #[test]
    fn what_is_large_lies_in_pieces() {
        let mut rope = Rope::default();
        for number in 0..100 {
            let line = vec![number; 10_000];
            rope.room().extend_from_slice(&line);
        }
        let mut other = Rope::from(b",".to_vec()).without_first();
        other.room().extend_from_slice(b"head");
        other.append(rope);
        other.push(Bytes::from_static(b"tail"));
        assert_eq!(other.len(), 1_000_008);
        let pieces = other.into_pieces();
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 10_000));
        let whole_bytes = pieces.concat();
        assert_eq!((whole_bytes[4 + 10_000 * 50], &whole_bytes[1_000_004..]), (50, b"tail".as_slice()));
        let mut large = Rope::default();
        large.push(vec![7; PIECE_BYTES].into());
        assert_eq!(large.without_first().into_pieces(), [vec![7; PIECE_BYTES - 1]]);
    }
}
