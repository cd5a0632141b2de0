//! The v1 codec seen from outside: laws over random messages of every type, bytes and JSON made by another implementation,
//! the rules of Mesos's JSON one by one, and hostile input.

mod golden;
mod hostile;
mod laws;
pub(crate) mod random;
mod rules;
mod schema;
mod typed;
