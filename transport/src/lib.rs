//! QUIC sessions with mutual TLS that carry frames between hosts.
//!
//! An [`Endpoint`] is a host's one UDP socket: it keeps sessions to the addresses that it is told to, takes those of
//! others, brings frames in through [`kaon_kernel::port::Ingress`], and takes frames out as a
//! [`kaon_kernel::port::Network`]. The certificates come from an [`Authority`].
//!
//! What it guarantees: a frame that comes in is from the host that its header names, that host holds a certificate for
//! its role from an authority that may give it, its role may send this message, and every byte of it was validated. What
//! one actor says to another arrives in order, or the link goes down. Nothing grows without bound. What it leaves to
//! others: what frames mean, retries of lost ones (the actors' timers), names and discovery.
//!
//! Reading order: [`CloseReason`] (all that can go wrong), `session` (the life of a session), `lane` (frames on
//! streams), `outbox` (bounds and congestion), `tls` and `permission` (whom we believe what), `ca` (certificates).

pub mod ca;
mod complaints;
mod connector;
mod counters;
mod endpoint;
mod files;
pub mod identity;
mod lane;
mod outbox;
mod permission;
mod reason;
mod session;
mod table;
pub mod tls;

pub use ca::{Authority, AuthorityCertificate, Credentials, Request};
pub use connector::{BACKOFF_MAX, BACKOFF_MIN, Target};
pub use counters::Snapshot;
pub use endpoint::{Endpoint, EndpointConfig, Error, HANDSHAKES_MAX, IDLE_TIMEOUT, SOCKET_BUFFER_BYTES, TARGETS_MAX};
pub use files::Error as FileError;
pub use identity::Identity;
pub use lane::DELIVERY_WAIT_MAX;
pub use outbox::{BYTES as QUEUE_BYTES, FRAMES as QUEUE_FRAMES, URGENT_FRAMES as QUEUE_URGENT_FRAMES};
pub use reason::CloseReason;
pub use session::LEAVE_WAIT_MAX;
pub use table::SESSIONS_MAX;
pub use tls::{ALPN, Trust};
