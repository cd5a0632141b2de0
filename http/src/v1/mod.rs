//! The Mesos v1 types, one module for each protobuf package, made by `build.rs` from `proto/`.
//!
//! They are data and nothing else: what a field means is in the Mesos documentation, what is done with it in the server
//! and in the translation to kernel types. Three things to know when using them:
//!
//! * A required field is a plain value here. That it was really present in what a client sent is checked by
//!   [`crate::codec::decode`], before one of these types is made.
//! * An enum is an `i32`. Read it through the accessor of the same name (`call.r#type()`): a number that this version
//!   does not know then reads as the first value, `UNKNOWN` where the Mesos schema foresaw it.
//! * A map (`TaskInfo.limits`) is a list of entries in the order of the sender, for the reason told in `build.rs`. Keys are
//!   unique in whatever [`crate::codec::decode`] accepts.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

#[allow(missing_docs, unreachable_pub, reason = "generated from proto/; the Mesos documentation tells the meaning")]
#[allow(clippy::all, reason = "generated code")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/v1.rs"));
}

pub use generated::mesos::v1 as mesos;
pub use generated::mesos::v1::{agent, allocator, executor, maintenance, master, quota, resource_provider, scheduler};

/// The compiled descriptors of all v1 packages, as a serialised `FileDescriptorSet` (with `google.protobuf.Duration`).
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("build.rs compiled these descriptors"));

/// The descriptors of all v1 packages. The first use parses them (a few milliseconds).
pub fn descriptor_pool() -> &'static DescriptorPool {
    &POOL
}
