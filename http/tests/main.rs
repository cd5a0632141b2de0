//! The integration tests of the crate, one binary.

mod codec;
mod convert;
mod fuzz;
mod server;
