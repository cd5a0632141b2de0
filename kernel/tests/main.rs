//! The laws of the ground: frames, resources, states.

mod frames;
mod resources;
