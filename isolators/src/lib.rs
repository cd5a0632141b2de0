//! The machine: topology, containers, sandboxes, processes.
