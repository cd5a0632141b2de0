//! `/help` and `/`: which endpoints there are, for people and for those who look for them (reference 2); `/__processes__`.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::path;
use crate::version;

/// A path and what it is for.
type Line = (&'static str, &'static str);

/// The endpoints of a master.
pub(crate) const MASTER: &[Line] = &[
    ("/api/v1", "POST: calls of operators"),
    ("/api/v1/scheduler", "POST: calls of schedulers, SUBSCRIBE answers with a stream"),
    ("/create-volumes", "POST: make persistent volumes of reserved disk"),
    ("/destroy-volumes", "POST: make reserved disk of persistent volumes"),
    ("/explain", "GET: why a task, a framework or a role waits"),
    ("/files/browse", "GET: what a directory holds"),
    ("/files/debug", "GET: which directories can be read"),
    ("/files/download", "GET: a file"),
    ("/files/read", "GET: a part of a file"),
    ("/flags", "GET: the flags it was started with"),
    ("/frameworks", "GET: frameworks with their tasks"),
    ("/health", "GET: 200 as long as it answers"),
    ("/logging/toggle", "GET, POST: log more for a while"),
    ("/machine/down", "POST: machines of the schedule go down"),
    ("/machine/up", "POST: machines come back"),
    ("/maintenance/schedule", "GET, POST: the schedule of maintenance"),
    ("/maintenance/status", "GET: which machines drain or are down"),
    ("/metrics", "GET: all numbers for Prometheus"),
    ("/metrics/snapshot", "GET: all numbers as JSON"),
    ("/quota", "GET, POST, DELETE: quotas of roles"),
    ("/redirect", "GET: 307 to the leader"),
    ("/registrar(1)/registry", "GET: what outlives the master"),
    ("/reserve", "POST: reserve resources"),
    ("/roles", "GET: roles with what they hold"),
    ("/slaves", "GET: agents"),
    ("/state", "GET: everything"),
    ("/state-summary", "GET: counts of everything"),
    ("/system/stats.json", "GET: load and memory of the machine"),
    ("/tasks", "GET: tasks, a page at a time"),
    ("/teardown", "POST: end a framework"),
    ("/unreserve", "POST: undo a reservation"),
    ("/version", "GET: which version it is"),
    ("/weights", "GET, PUT: weights of roles"),
];

/// The endpoints of an agent.
pub(crate) const AGENT: &[Line] = &[
    ("/api/v1", "POST: calls of operators"),
    ("/api/v1/executor", "POST: calls of executors, SUBSCRIBE answers with a stream"),
    ("/containerizer/debug", "GET: what launches wait for"),
    ("/containers", "GET: containers with what they use"),
    ("/files/browse", "GET: what a directory holds"),
    ("/files/debug", "GET: which directories can be read"),
    ("/files/download", "GET: a file"),
    ("/files/read", "GET: a part of a file"),
    ("/flags", "GET: the flags it was started with"),
    ("/health", "GET: 200 as long as it answers"),
    ("/logging/toggle", "GET, POST: log more for a while"),
    ("/metrics", "GET: all numbers for Prometheus"),
    ("/metrics/snapshot", "GET: all numbers as JSON"),
    ("/monitor/statistics", "GET: what containers use"),
    ("/state", "GET: everything"),
    ("/system/stats.json", "GET: load and memory of the machine"),
    ("/version", "GET: which version it is"),
];

/// The answer, when the path is one of these. `process` is the name in the old protocol.
pub(crate) fn answer(process: &str, lines: &[Line], parts: &[&str], query: &[(String, String)]) -> Option<Answer> {
    match parts {
        [] => Some(page(process, lines)),
        ["help", rest @ ..] if rest.len() <= 2 => {
            let is_ours = |name: &str| name == process || lines.iter().any(|(path, _)| path[1..] == *name);
            if !rest.first().is_none_or(|name| is_ours(name)) {
                return None;
            }
            Some(match path::value(query, "format") {
                Some("json") => answer::json(&listed(process, lines), path::value(query, "jsonp")),
                _ => page(process, lines),
            })
        }
        ["__processes__"] => {
            // Events wait in mailboxes of actors, not of this process: metrics tell how many.
            Some(answer::json(&json!([{"id": process, "events": []}]), path::value(query, "jsonp")))
        }
        _ => None,
    }
}

fn listed(process: &str, lines: &[Line]) -> Value {
    let endpoint = |(path, text): &Line| json!({"name": path, "text": text});
    json!({"processes": [{"id": process, "endpoints": lines.iter().map(endpoint).collect::<Value>()}]})
}

fn page(process: &str, lines: &[Line]) -> Answer {
    let row = |(path, text): &Line| {
        let is_get = text.starts_with("GET");
        let shown = if is_get { format!("<a href=\"{path}\">{path}</a>") } else { (*path).to_owned() };
        format!("<tr><td><code>{shown}</code></td><td>{text}</td></tr>\n")
    };
    let rows: String = lines.iter().map(row).collect();
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{process}</title></head>\n<body>\n\
         <h1>{process}</h1>\n<p>Kaon {}, which speaks the v1 API of Mesos {}.</p>\n<table>\n{rows}</table>\n</body></html>\n",
        version::KAON_VERSION,
        version::MESOS_VERSION
    );
    answer::with(StatusCode::OK, "text/html", html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order_and_say_the_method() {
        for lines in [MASTER, AGENT] {
            assert!(lines.is_sorted());
            assert!(lines.iter().all(|(path, text)| path.starts_with('/') && text.contains(": ")));
        }
    }

    #[test]
    fn only_its_own_paths_are_answered() {
        let asked = |parts: &[&str]| answer("master", MASTER, parts, &[]).is_some();
        assert!(asked(&[]) && asked(&["help"]) && asked(&["help", "master"]) && asked(&["help", "master", "state"]));
        assert!(asked(&["help", "state"]) && asked(&["__processes__"]));
        assert!(!asked(&["help", "nobody"]) && !asked(&["nothing"]) && !asked(&["help", "master", "state", "more"]));
    }
}
