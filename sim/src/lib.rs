//! The virtual-time host: the same actors, ten thousand machines, faults included.
