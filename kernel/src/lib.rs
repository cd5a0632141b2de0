//! The ground of Kaon: values, messages, and the contract between an actor and its host.
//!
//! Everything here is pure: no clock, entropy, file, socket, environment, thread or unordered map (law L1, kept by
//! `clippy.toml` beside this crate). It imports none of our crates; every other crate imports it.
//!
//! Reading order for a newcomer: [`actor`] (what an actor is and what it may ask of its host), [`frame`] (how a message
//! travels), [`message`] (one file per conversation), [`resource`] (what is shared out), [`task`] (what runs).
#![deny(unsafe_code)]

pub mod actor;
pub mod agent;
#[allow(missing_docs, reason = "as for `message`")]
pub mod cause;
pub mod chance;
#[allow(missing_docs, reason = "as for `message`")]
pub mod check;
pub mod constraint;
pub mod container;
#[allow(missing_docs, reason = "as for `message`")]
pub mod container_info;
pub mod frame;
pub mod framework;
pub mod id;
pub mod maintenance;
#[allow(missing_docs, reason = "rkyv's derive leaves the fields of archived variants without the docs that ours have")]
pub mod message;
pub mod nearest;
pub mod nested;
#[allow(missing_docs, reason = "as for `message`")]
pub mod offer;
pub mod operation;
pub mod placement;
pub mod port;
pub mod quantity;
pub mod quota;
pub mod resource;
pub mod secret;
pub mod statistics;
pub mod table;
pub mod task;
pub mod time;
pub mod topology;
