//! The old GET endpoints that tools still poll (reference 2), answered from snapshots.

pub(crate) mod amounts;
pub(crate) mod json;
pub(crate) mod metrics;
mod registry;
mod settings;
mod state;
pub(crate) mod task;

use std::sync::Arc;

use hyper::StatusCode;

use crate::answer::{self, Answer};
use crate::edge::MasterEdge;
use crate::server::Request;
use crate::{metric, path, process, version};

/// The endpoints of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Health,
    Version,
    Redirect,
    Flags,
    Snapshot,
    Metrics,
    State,
    Summary,
    Frameworks,
    Agents,
    Tasks,
    Roles,
    Weights,
    Quota,
    Registry,
    Toggle,
    System,
    Files,
}

impl Endpoint {
    pub(crate) fn of(parts: &[&str]) -> Option<Self> {
        Some(match parts {
            ["health"] => Self::Health,
            ["version"] => Self::Version,
            ["redirect"] => Self::Redirect,
            ["flags"] => Self::Flags,
            ["metrics", "snapshot"] => Self::Snapshot,
            ["metrics"] => Self::Metrics,
            ["state" | "state.json"] => Self::State,
            ["state-summary"] => Self::Summary,
            ["frameworks"] => Self::Frameworks,
            ["slaves"] => Self::Agents,
            ["tasks" | "tasks.json"] => Self::Tasks,
            ["roles" | "roles.json"] => Self::Roles,
            ["weights"] => Self::Weights,
            ["quota"] => Self::Quota,
            ["registrar(1)", "registry"] => Self::Registry,
            ["logging", "toggle"] => Self::Toggle,
            ["system", "stats.json"] => Self::System,
            ["files", _] => Self::Files,
            _ => return None,
        })
    }

    /// Whether only the leader answers it (reference 1.5).
    fn needs_leader(self) -> bool {
        use Endpoint as E;
        let of_any =
            [E::Health, E::Version, E::Redirect, E::Flags, E::Snapshot, E::Metrics, E::Toggle, E::System, E::Files];
        !of_any.contains(&self)
    }
}

/// The answer to a GET.
pub(crate) async fn handle(edge: Arc<MasterEdge>, endpoint: Endpoint, request: Request) -> Answer {
    if endpoint.needs_leader()
        && let Some(elsewhere) = edge.unless_leading(&request)
    {
        return elsewhere;
    }
    let query = match path::query(request.query()) {
        Ok(query) => query,
        Err(error) => return answer::bad(error),
    };
    if endpoint == Endpoint::Toggle {
        return edge.config.verbosity.toggle(&query);
    }
    let made = tokio::task::spawn_blocking(move || match endpoint {
        Endpoint::Files => {
            let parts = path::components(request.path()).unwrap_or_default();
            let parts: Vec<&str> = parts.iter().map(String::as_str).skip_while(|part| *part != "files").collect();
            let none = || answer::refusal(StatusCode::NOT_FOUND, "No such endpoint");
            edge.files.answer(&parts, &query).unwrap_or_else(none)
        }
        _ => make(&edge, endpoint, &query),
    })
    .await;
    made.unwrap_or_else(|_| answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made"))
}

fn make(edge: &MasterEdge, endpoint: Endpoint, query: &[(String, String)]) -> Answer {
    let (snapshot, jsonp) = (|| edge.view.snapshot(), path::value(query, "jsonp"));
    let value = match endpoint {
        Endpoint::Health | Endpoint::Redirect | Endpoint::Toggle | Endpoint::Files => {
            return answer::empty(StatusCode::OK);
        }
        Endpoint::System => process::system(&edge.samples()),
        Endpoint::Metrics => return prometheus(&edge.samples()),
        Endpoint::Version => version::body(),
        Endpoint::Flags => process::flags_json(&edge.config.flags),
        Endpoint::Snapshot => metric::snapshot(&edge.samples()),
        Endpoint::State => return answer::json_pieces(state::state(edge, &snapshot()), jsonp),
        Endpoint::Summary => state::summary(edge, &snapshot()),
        Endpoint::Frameworks => {
            let wanted = path::value(query, "framework_id");
            return answer::json_pieces(state::frameworks(&snapshot(), wanted), jsonp);
        }
        Endpoint::Agents => state::agents(&snapshot(), path::value(query, "slave_id")),
        Endpoint::Roles => settings::roles(&snapshot()),
        Endpoint::Weights => settings::weights(&snapshot()),
        Endpoint::Quota => settings::quota(&snapshot()),
        Endpoint::Registry => registry::registry(edge, &snapshot()),
        Endpoint::Tasks => match state::tasks(&snapshot(), query) {
            Ok(value) => value,
            Err(reason) => return answer::bad(reason),
        },
    };
    answer::json(&value, jsonp)
}

/// The answer of `/metrics`.
pub(crate) fn prometheus(samples: &[metric::Sample]) -> Answer {
    answer::with(StatusCode::OK, "text/plain; version=0.0.4", metric::prometheus(samples))
}
