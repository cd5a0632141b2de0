//! Tests of the world with actors made for the purpose: every effect, supervision, sessions.

mod effects;
mod supervision;
mod toy;
