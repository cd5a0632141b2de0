//! Real endpoints on loopback sockets: what holds between hosts that mean well, and what is refused to those that don't.

mod certificates;
mod exchange;
mod hostile;
mod introductions;
mod pressure;
mod restart;
mod stage;
