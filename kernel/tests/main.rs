//! The laws of the ground: frames, resources, states.

mod frames;
mod operations;
mod resources;
mod texts;
