//! Conversations with a master alone on a bench: registrar, allocator, agents and proxies are played by the test.

mod agents;
mod conversation;
mod group;
mod health;
mod operating;
mod operations;
mod play;
mod settings;
mod update;
