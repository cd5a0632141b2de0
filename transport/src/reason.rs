//! Why a session ends or never begins: one closed set, with the code that goes over the wire in QUIC's close frame
//! (RFC 9000, section 19.19) and the words for people and metrics.

use kaon_kernel::frame::{FrameError, Kind};
use quinn::{ConnectionError, VarInt};

/// Declares the reasons once: variants, codes and words.
macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $word:literal;)*) => {
        /// Why one side ends a session, or refuses to begin it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum CloseReason { $($(#[$meta])* $name = $code),* }

        impl CloseReason {
            /// All of them, in order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The words for it, in logs, metrics and on the wire.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

reasons! {
    /// A goodbye: the host stops, or wants this link no more.
    Closing = 1, "closing";
    /// It speaks another version of the protocol.
    Protocol = 2, "another protocol version";
    /// It belongs to another cluster.
    Cluster = 3, "another cluster";
    /// What it says it is is not what its certificate says, or hosts of these roles have nothing to say to each other.
    Role = 4, "wrong role";
    /// It has shown no certificate.
    NoCertificate = 5, "no certificate";
    /// Its certificate is not from an authority that may vouch for it, is out of date, or is for another name.
    Certificate = 6, "certificate not accepted";
    /// It is ourselves.
    Itself = 7, "own host id";
    /// Its host id is that of another peer.
    HostTaken = 8, "host id of another peer";
    /// It is not the peer that was looked for at this address.
    Unexpected = 9, "not the expected peer";
    /// The two hosts have a session already, opened by the side that is preferred.
    Duplicate = 10, "duplicate of a standing session";
    /// A newer session of the same peer takes its place.
    Replaced = 11, "replaced by a newer session";
    /// It did not introduce itself in time.
    Silent = 12, "no hello in time";
    /// Its first frame was no hello.
    NoHello = 13, "first frame was no hello";
    /// The host holds as many sessions as it may.
    Crowded = 14, "too many sessions";
    /// A message that must not be dropped found no room for too long.
    Overloaded = 15, "receiver overloaded";
    /// A stream was reset, stopped, or opened where none is allowed.
    Stream = 16, "stream broken";
    /// A stream ended inside a frame.
    Truncated = 32, "truncated frame";
    /// Bytes that do not begin as a frame does.
    Magic = 33, "not a frame";
    /// Another version of the envelope.
    Version = 34, "another envelope version";
    /// A message type that we do not know.
    UnknownKind = 35, "unknown message kind";
    /// A message type in another layout.
    Schema = 36, "another message layout";
    /// A header field without meaning.
    Field = 37, "bad field in an envelope";
    /// The receiver is of a kind that does not take this message.
    Misdirected = 38, "misdirected frame";
    /// Larger than a frame may be.
    Oversized = 39, "oversized frame";
    /// The body is no valid archive.
    Archive = 40, "invalid archive";
    /// The sender's host is not the peer.
    Spoofed = 41, "spoofed sender";
    /// The receiver's host is not this one.
    Stray = 42, "receiver on another host";
    /// A message that a peer of this role may not send.
    Forbidden = 43, "message not allowed for this role";
    /// The network or the peer's process went away without a word.
    Lost = 64, "connection lost";
    /// A code or a TLS failure that this build knows no better word for.
    Other = 65, "other";
}

impl CloseReason {
    /// The code in a close frame.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The reason of a code; [`CloseReason::Other`] when it has none.
    pub fn from_code(code: u64) -> Self {
        let known = Self::ALL.iter().find(|reason| u64::from(reason.code()) == code);
        known.copied().unwrap_or(Self::Other)
    }

    /// Whether trying again soon can help. Where it can't, whoever connects waits as long as it ever does.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Closing | Self::Silent | Self::Crowded | Self::Overloaded | Self::Lost | Self::Other)
    }

    pub(crate) fn variable(self) -> VarInt {
        VarInt::from_u32(self.code())
    }

    /// Where it stands in [`CloseReason::ALL`].
    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|reason| *reason == self).unwrap_or_default()
    }

    /// What a broken connection means. Failures of the TLS handshake come as the alert of RFC 8446, section 6.2.
    pub(crate) fn of_connection(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::from_code(close.error_code.into_inner()),
            ConnectionError::ConnectionClosed(close) => Self::of_transport(u64::from(close.error_code)),
            ConnectionError::TransportError(error) => Self::of_transport(u64::from(error.code)),
            ConnectionError::LocallyClosed => Self::Closing,
            ConnectionError::VersionMismatch => Self::Protocol,
            ConnectionError::Reset | ConnectionError::TimedOut => Self::Lost,
            ConnectionError::CidsExhausted => Self::Other,
        }
    }

    fn of_transport(code: u64) -> Self {
        /// RFC 9000, section 20.1: TLS alerts are codes from here on.
        const CRYPTO: u64 = 0x100;
        /// RFC 9000, section 20.1: the server takes no more connections.
        const CONNECTION_REFUSED: u64 = 2;
        if code == CONNECTION_REFUSED {
            return Self::Crowded;
        }
        match code.checked_sub(CRYPTO) {
            Some(116) => Self::NoCertificate,
            Some(42..=46 | 48 | 49 | 51) => Self::Certificate,
            // no_application_protocol: its ALPN is not ours.
            Some(120) => Self::Protocol,
            _ => Self::Other,
        }
    }
}

impl From<FrameError> for CloseReason {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Truncated { .. } => Self::Truncated,
            FrameError::Magic(_) => Self::Magic,
            FrameError::Version(_) => Self::Version,
            FrameError::Kind(_) => Self::UnknownKind,
            FrameError::Schema { kind: Kind::Hello, .. } => Self::Protocol,
            FrameError::Schema { .. } => Self::Schema,
            FrameError::Field(_) => Self::Field,
            FrameError::Misdirected(_) => Self::Misdirected,
            FrameError::Oversized(_) => Self::Oversized,
            // The first two can't come from a stream: its reader takes exactly `length` bytes into an aligned buffer.
            FrameError::Trailing(_) | FrameError::Unaligned | FrameError::Archive(_) => Self::Archive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire_and_has_its_own_words() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::from_code(reason.code().into()), *reason);
            assert_eq!(CloseReason::ALL[reason.index()], *reason);
            assert_eq!(CloseReason::ALL.iter().filter(|other| other.word() == reason.word()).count(), 1);
        }
        assert_eq!(CloseReason::from_code(u64::MAX), CloseReason::Other);
    }
}
