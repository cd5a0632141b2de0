//! Which API we speak, and who we are.

use serde_json::{Value, json};

/// The Mesos version whose API this is. Clients convert its three parts to integers and ask for at least 1.5.0.
pub const MESOS_VERSION: &str = "1.11.0";

/// Our own version.
pub const KAON_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The body of `/version`.
pub fn body() -> Value {
    json!({
        "version": MESOS_VERSION,
        "kaon_version": KAON_VERSION,
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
    })
}
