//! The host from outside: toy actors on real threads, in real time. Every wait is for an event, with a deadline.

mod effects;
mod ingress;
mod journal;
mod lifecycle;
mod stage;
mod supervision;
mod timers;
