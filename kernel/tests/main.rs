//! The laws of the ground: frames, placement, resources, states.

mod frames;
mod operations;
mod placement;
mod resources;
mod texts;
