//! The outside: the Mesos v1 and v0 HTTP APIs, RecordIO streams, metrics.
