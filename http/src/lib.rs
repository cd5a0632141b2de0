//! The outside: the Mesos v1 and v0 HTTP APIs, RecordIO streams, metrics.

pub mod codec;
pub mod recordio;
pub mod v1;
