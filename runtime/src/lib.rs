//! The real-time host of actors, on actix and tokio.
