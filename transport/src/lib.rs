//! QUIC sessions with mutual TLS that carry frames between hosts.
