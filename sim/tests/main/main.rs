//! Whole clusters in virtual time, seen from outside.

mod faults;
mod liveness;
mod operators;
mod plants;
mod repeat;
mod shrinking;
mod starvation;
