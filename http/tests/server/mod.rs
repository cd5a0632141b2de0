//! The servers seen from a socket: a real listener, raw bytes in, and a script that plays the actors behind.

mod agent;
mod calls;
mod executors;
mod hostile;
mod negotiation;
mod reads;
mod rig;
mod streams;
