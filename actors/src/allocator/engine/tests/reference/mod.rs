//! An independent, naive allocator beside the engine: on random histories both must grant the same, in the same order.

mod allocator;
mod bag;
mod both;
mod constraints;
mod histories;
mod hostile;
mod lots;
mod starvation;
