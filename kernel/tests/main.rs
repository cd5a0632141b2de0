//! The laws of the ground: frames, placement, resources, states.

mod frames;
mod placement;
mod resources;
