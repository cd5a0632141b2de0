//! The integration tests of the binary, one harness: a list of modules and nothing else.

mod client;
mod cluster;
mod conversation;
mod deadline;
mod demo;
mod explain;
mod failover;
mod faults;
mod fetch;
mod fleet;
mod framework;
mod hostile;
mod idle;
mod impostor;
mod outside;
mod panics;
mod processes;
mod pymesos;
mod run;
mod security;
mod settings;
mod study;
mod tidy;
mod topology;
mod up;
mod volumes;
