//! The frame: one message in one aligned, shared, immutable buffer (law L3).
//!
//! The same frame goes to a neighbouring actor, onto a QUIC stream, into the simulator's network, and into the recorder
//! and the trace hash. It starts with the [`Envelope`], a fixed header of [`HEADER_BYTES`] bytes in little endian; the
//! rkyv archive of the message follows, so it lies 16-aligned. A [`Frame`] that exists is valid: [`Frame::encode`] made
//! it from a typed message, or [`Frame::admit`] checked every byte of it where it entered the process (bytecheck). Reading
//! is therefore free of further checks, and no actor ever sees bytes that nobody looked at.
//!
//! What bytecheck does not do: notice a flipped bit in a string (in transit QUIC authenticates, on disk the journal has
//! a checksum), or a change of schema. For that each message root has a number, [`Root::SCHEMA`], raised by hand with
//! every change of layout and kept honest by the golden frames in `tests/`.

use crate::actor::{ActorKind, Address, Class, HostId, Term};
use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};
use std::sync::Arc;

/// Size of the envelope in bytes; a multiple of 16, so that the archive behind it keeps its alignment.
pub const HEADER_BYTES: usize = 64;

/// The largest archive a frame may carry, in bytes. A re-registration with 10,000 tasks is about 8 MiB.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// What is set aside for a body while it is written: nearly all fit without growing. The frame itself is as large as
/// what was written.
const BODY_BYTES_USUAL: usize = 1024 - HEADER_BYTES;

/// `KAON` in ASCII.
pub const MAGIC: u32 = u32::from_le_bytes(*b"KAON");

/// Version of the envelope itself.
pub const HEADER_VERSION: u8 = 1;

/// Alignment of every frame buffer, in bytes.
pub const ALIGNMENT: usize = 16;

/// The buffer under a frame.
pub type Buffer = AlignedVec<ALIGNMENT>;

/// The fixed header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The actor it is for.
    pub to: Address,
    /// The actor that sent it.
    pub from: Address,
    /// Counts the sender's frames, from 1 in each of its incarnations.
    pub sequence: u64,
    /// The sender's term of leadership; zero outside masters. Older terms change nothing (law L7).
    pub term: Term,
    /// How a full mailbox treats it.
    pub class: Class,
    /// Which message type the body is.
    pub kind: Kind,
    /// The layout of that type, see [`Root::SCHEMA`].
    pub schema: u32,
    /// Length of the body in bytes.
    pub length: u32,
}

/// Why bytes are not a frame. All are refused before anything is allocated for the body, except the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the header or its length field say.
    #[error("truncated: {have} of {want} bytes")]
    Truncated {
        /// Bytes present.
        have: usize,
        /// Bytes needed.
        want: usize,
    },
    /// More bytes than the length field says.
    #[error("{0} bytes after the end")]
    Trailing(usize),
    /// Does not begin with [`MAGIC`].
    #[error("not a frame (magic {0:#010x})")]
    Magic(u32),
    /// Another version of the envelope.
    #[error("envelope version {0}, this build speaks {HEADER_VERSION}")]
    Version(u8),
    /// A message type that this build does not know.
    #[error("unknown message kind {0}")]
    Kind(u16),
    /// A known type in another layout.
    #[error("schema {got} of {kind:?}, this build speaks {want}")]
    Schema {
        /// The message type.
        kind: Kind,
        /// The layout in the frame.
        got: u32,
        /// The layout of this build.
        want: u32,
    },
    /// A field of the header holds no value that it may.
    #[error("bad {0} in the envelope")]
    Field(&'static str),
    /// The receiver is not an actor that takes this type.
    #[error("{0:?} is not for its receiver")]
    Misdirected(Kind),
    /// The body would be larger than [`BODY_BYTES_MAX`].
    #[error("body of {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    Oversized(usize),
    /// The buffer is not aligned to [`ALIGNMENT`].
    #[error("buffer not aligned to {ALIGNMENT} bytes")]
    Unaligned,
    /// The body is not a valid archive of its type.
    #[error("invalid archive of {0:?}")]
    Archive(Kind),
}

/// A message type that can be the body of a frame: the root of an archive.
pub trait Root:
    Archive<Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Failure>>> + for<'a> RootSerialize<'a>
{
    /// Its number in the envelope.
    const KIND: Kind;
    /// Its layout; raise it with every change that the golden frames show.
    const SCHEMA: u32;
    /// How a full mailbox treats this message.
    fn class(&self) -> Class {
        Class::Ordinary
    }
}

/// What rkyv asks of a type to write it, under a short name.
pub trait RootSerialize<'a>: Serialize<HighSerializer<Buffer, ArenaHandle<'a>, rancor::Error>> {}
impl<'a, T: Serialize<HighSerializer<Buffer, ArenaHandle<'a>, rancor::Error>>> RootSerialize<'a> for T {}

/// Declares the message roots once: the closed enum [`Kind`], its numbers, and the check that belongs to each.
macro_rules! roots {
    ($($(#[$meta:meta])* $name:ident = $number:literal, schema $schema:literal, $type:ty;)*) => {
        /// The message types that a frame can carry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind { $($(#[$meta])* $name = $number),* }

        impl Kind {
            /// Every kind, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
            /// The kind of actor that takes it; `None` for what goes outside or stays in a session.
            pub fn receiver(self) -> Option<ActorKind> {
                match self {
                    Self::Master => Some(ActorKind::Master),
                    Self::Allocator => Some(ActorKind::Allocator),
                    Self::Registrar => Some(ActorKind::Registrar),
                    Self::Agent => Some(ActorKind::Agent),
                    Self::Executor => Some(ActorKind::Executor),
                    Self::Framework => Some(ActorKind::Framework),
                    Self::Event | Self::View | Self::Answer | Self::AgentEvent | Self::Hello => None,
                }
            }
            /// The layout of this kind that this build speaks.
            pub fn schema(self) -> u32 {
                match self { $(Self::$name => <$type as Root>::SCHEMA),* }
            }
            fn is_valid(self, body: &[u8]) -> bool {
                match self { $(Self::$name => {
                    rkyv::access::<<$type as Archive>::Archived, rancor::Failure>(body).is_ok()
                })* }
            }
        }
        $(impl Root for $type {
            const KIND: Kind = Kind::$name;
            const SCHEMA: u32 = $schema;
            fn class(&self) -> Class { Classified::classify(self) }
        })*
    };
}

/// What a message type says of its place in a full mailbox. Kept beside each conversation.
pub trait Classified {
    /// The class of this message.
    fn classify(&self) -> Class {
        Class::Ordinary
    }
}

roots! {
    /// To a master.
    Master = 1, schema 3, crate::message::MasterMessage;
    /// To an allocator.
    Allocator = 2, schema 2, crate::message::AllocatorMessage;
    /// To a registrar.
    Registrar = 3, schema 2, crate::message::RegistrarMessage;
    /// To an agent.
    Agent = 4, schema 3, crate::message::AgentMessage;
    /// To an executor.
    Executor = 5, schema 3, crate::message::ExecutorMessage;
    /// To a framework's proxy.
    Framework = 6, schema 3, crate::message::FrameworkMessage;
    /// On a framework's stream, outwards.
    Event = 16, schema 2, crate::message::event::FrameworkEvent;
    /// On the stream of what changed in the cluster, outwards.
    View = 17, schema 3, crate::message::view::ViewEvent;
    /// To an operator, outwards.
    Answer = 18, schema 2, crate::message::operator::Answer;
    /// From an agent to an executor that speaks HTTP, or to an operator, outwards.
    AgentEvent = 19, schema 1, crate::message::agent_outside::AgentEvent;
    /// The first frame of a session.
    Hello = 32, schema 1, crate::message::session::Hello;
}

impl Envelope {
    fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4] = HEADER_VERSION;
        out[5] = self.class as u8;
        out[6..8].copy_from_slice(&(self.kind as u16).to_le_bytes());
        write_address(self.to, &mut out[8..24]);
        write_address(self.from, &mut out[24..40]);
        out[40..48].copy_from_slice(&self.sequence.to_le_bytes());
        out[48..56].copy_from_slice(&self.term.0.to_le_bytes());
        out[56..60].copy_from_slice(&self.schema.to_le_bytes());
        out[60..64].copy_from_slice(&self.length.to_le_bytes());
    }

    /// Reads and checks a header: magic, version, kind, schema, and the length against [`BODY_BYTES_MAX`], so that a
    /// reader knows what to allocate. Constant cost.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::Truncated { have: bytes.len(), want: HEADER_BYTES });
        };
        let magic = u32::from_le_bytes(part(header, 0));
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        if header[4] != HEADER_VERSION {
            return Err(FrameError::Version(header[4]));
        }
        let number = u16::from_le_bytes(part(header, 6));
        let kind = Kind::from_number(number).ok_or(FrameError::Kind(number))?;
        let schema = u32::from_le_bytes(part(header, 56));
        if schema != kind.schema() {
            return Err(FrameError::Schema { kind, got: schema, want: kind.schema() });
        }
        let length = u32::from_le_bytes(part(header, 60));
        if length as usize > BODY_BYTES_MAX {
            return Err(FrameError::Oversized(length as usize));
        }
        let to = read_address(header, 8).ok_or(FrameError::Field("receiver"))?;
        if kind.receiver().is_some_and(|receiver| receiver != to.kind) {
            return Err(FrameError::Misdirected(kind));
        }
        Ok(Self {
            to,
            from: read_address(header, 24).ok_or(FrameError::Field("sender"))?,
            sequence: u64::from_le_bytes(part(header, 40)),
            term: Term(u64::from_le_bytes(part(header, 48))),
            class: Class::from_number(header[5]).ok_or(FrameError::Field("class"))?,
            kind,
            schema,
            length,
        })
    }
}

fn part<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    core::array::from_fn(|offset| header[at + offset])
}

fn write_address(address: Address, out: &mut [u8]) {
    out[0..8].copy_from_slice(&address.host.0.to_le_bytes());
    out[8..10].copy_from_slice(&(address.kind as u16).to_le_bytes());
    out[10..12].copy_from_slice(&[0, 0]);
    out[12..16].copy_from_slice(&address.index.to_le_bytes());
}

fn read_address(header: &[u8; HEADER_BYTES], at: usize) -> Option<Address> {
    let kind = ActorKind::from_number(u16::from_le_bytes(part(header, at + 8)))?;
    (part::<2>(header, at + 10) == [0, 0]).then(|| Address {
        host: HostId(u64::from_le_bytes(part(header, at))),
        kind,
        index: u32::from_le_bytes(part(header, at + 12)),
    })
}

/// A valid message in its buffer. One pointer: cloning shares the buffer, and queues hold frames as they are.
#[derive(Clone)]
pub struct Frame(Arc<Parts>);

struct Parts {
    envelope: Envelope,
    buffer: Buffer,
}

/// Who sends a frame to whom, before it has a body.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The actor it is for.
    pub to: Address,
    /// The actor that sends it.
    pub from: Address,
    /// See [`Envelope::sequence`].
    pub sequence: u64,
    /// See [`Envelope::term`].
    pub term: Term,
}

impl Frame {
    /// Writes a message. Cost: one pass over the message and a copy of its archive.
    ///
    /// # Panics
    /// When the archive is larger than [`BODY_BYTES_MAX`]: a sender splits what can grow, so this is our mistake.
    pub fn encode<M: Root>(route: Route, message: &M) -> Self {
        let mut buffer = Buffer::with_capacity(HEADER_BYTES + BODY_BYTES_USUAL);
        buffer.resize(HEADER_BYTES, 0);
        let written = rkyv::api::high::to_bytes_in::<_, rancor::Error>(message, buffer);
        let written = written.expect("writing to memory can't fail");
        let mut buffer = Buffer::with_capacity(written.len());
        buffer.extend_from_slice(&written);
        let length = buffer.len() - HEADER_BYTES;
        assert!(length <= BODY_BYTES_MAX, "{:?} of {length} bytes", M::KIND);
        let envelope = Envelope {
            to: route.to,
            from: route.from,
            sequence: route.sequence,
            term: route.term,
            class: message.class(),
            kind: M::KIND,
            schema: M::SCHEMA,
            length: length as u32,
        };
        if let Some(header) = buffer.first_chunk_mut::<HEADER_BYTES>() {
            envelope.write(header);
        }
        Self(Arc::new(Parts { envelope, buffer }))
    }

    /// Admits bytes from outside the process: the header is checked, then every byte of the archive. This is the one
    /// place where bytes become a frame. Cost: one pass over the archive.
    pub fn admit(buffer: Buffer) -> Result<Self, FrameError> {
        let envelope = Envelope::parse(&buffer)?;
        let want = HEADER_BYTES + envelope.length as usize;
        if buffer.len() < want {
            return Err(FrameError::Truncated { have: buffer.len(), want });
        }
        if buffer.len() > want {
            return Err(FrameError::Trailing(buffer.len() - want));
        }
        if !(buffer.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(FrameError::Unaligned);
        }
        if !envelope.kind.is_valid(&buffer[HEADER_BYTES..]) {
            return Err(FrameError::Archive(envelope.kind));
        }
        Ok(Self(Arc::new(Parts { envelope, buffer })))
    }

    /// Admits a copy of `bytes`, wherever they lie.
    pub fn admit_copy(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut buffer = Buffer::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        Self::admit(buffer)
    }

    /// The header.
    pub fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// Header and archive, as they go onto a wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0.buffer
    }

    /// The archive alone.
    pub fn body_bytes(&self) -> &[u8] {
        &self.0.buffer[HEADER_BYTES..]
    }

    /// Reads the message in place; `None` when the frame carries another kind. No copy, no check: see the module's text.
    #[allow(unsafe_code)]
    pub fn body<M: Root>(&self) -> Option<&M::Archived> {
        if self.0.envelope.kind != M::KIND {
            return None;
        }
        // JUSTIFICATION: validating 100 offers and reading them takes 14 us, reading alone 0.5 us (docs/performance.md).
        // SAFETY: a `Frame` is made only by `encode`, which wrote an `M` (kinds and types are one to one, see `roots!`),
        // or by `admit`, which validated an archive of this kind in this same buffer; the buffer never changes.
        Some(unsafe { rkyv::access_unchecked::<M::Archived>(self.body_bytes()) })
    }
}

/// Copies a part of a message out of its frame: what an actor keeps. Copying out of valid memory can't fail.
pub fn copy<T, A: rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<rancor::Panic>>>(archived: &A) -> T {
    rkyv::api::high::deserialize::<T, rancor::Panic>(archived).unwrap_or_else(|never| match never {})
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Envelope { to, from, sequence, kind, length, .. } = self.0.envelope;
        write!(formatter, "{kind:?} {from} -> {to} #{sequence} ({length} B)")
    }
}
