//! Reference 1.1 and 1.2: paths, methods, `Content-Type`, `Accept`, the order of the checks, keep-alive.

use crate::contest::arena::{Arena, MASTER_CALL, OPERATOR, SCHEDULER, SCHEDULER_CALL};
use crate::contest::framework::Framework;
use crate::contest::plain_call;
use crate::contest::row::{Row, row};
use crate::contest::wire::{Answer, Connection, exchange};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// A request whose status is judged before any call is looked at.
struct Refusal {
    given: &'static str,
    method: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

const REFUSALS: &[Refusal] = &[
    Refusal { given: "GET", method: "GET", headers: &[], body: "", status: 405 },
    Refusal { given: "PUT", method: "PUT", headers: &[JSON], body: "{}", status: 405 },
    Refusal { given: "DELETE", method: "DELETE", headers: &[], body: "", status: 405 },
    Refusal {
        given: "PUT with a bad Content-Type",
        method: "PUT",
        headers: &[("Content-Type", "x/y")],
        body: "{}",
        status: 405,
    },
    Refusal { given: "no Content-Type", method: "POST", headers: &[], body: "{}", status: 400 },
    Refusal {
        given: "Content-Type text/plain",
        method: "POST",
        headers: &[("Content-Type", "text/plain")],
        body: "{}",
        status: 415,
    },
    Refusal {
        given: "Content-Type with a charset",
        method: "POST",
        headers: &[("Content-Type", "application/json; charset=utf-8")],
        body: "{}",
        status: 415,
    },
    Refusal {
        given: "Content-Type in capitals",
        method: "POST",
        headers: &[("Content-Type", "APPLICATION/JSON")],
        body: "{}",
        status: 415,
    },
    Refusal {
        given: "Content-Type application/recordio",
        method: "POST",
        headers: &[("Content-Type", "application/recordio")],
        body: "{}",
        status: 415,
    },
    Refusal {
        given: "a bad Content-Type before a bad body",
        method: "POST",
        headers: &[("Content-Type", "x/y")],
        body: "{",
        status: 415,
    },
    Refusal { given: "an empty body", method: "POST", headers: &[JSON], body: "", status: 400 },
    Refusal { given: "half an object", method: "POST", headers: &[JSON], body: "{\"type\":", status: 400 },
    Refusal { given: "a list", method: "POST", headers: &[JSON], body: "[]", status: 400 },
    Refusal { given: "a string", method: "POST", headers: &[JSON], body: "\"x\"", status: 400 },
    Refusal { given: "no type", method: "POST", headers: &[JSON], body: "{}", status: 400 },
    Refusal { given: "a null type", method: "POST", headers: &[JSON], body: "{\"type\":null}", status: 400 },
    Refusal { given: "a type by number", method: "POST", headers: &[JSON], body: "{\"type\":1}", status: 400 },
    Refusal {
        given: "a bad body before a bad Accept",
        method: "POST",
        headers: &[JSON, ("Accept", "text/html")],
        body: "{",
        status: 400,
    },
    Refusal {
        given: "protobuf that breaks off",
        method: "POST",
        headers: &[("Content-Type", "application/x-protobuf")],
        body: "\u{a}\u{7f}x",
        status: 400,
    },
    Refusal {
        given: "JSON as protobuf",
        method: "POST",
        headers: &[("Content-Type", "application/x-protobuf")],
        body: "{\"type\":\"GET_HEALTH\"}",
        status: 400,
    },
    Refusal {
        given: "an empty protobuf body",
        method: "POST",
        headers: &[("Content-Type", "application/x-protobuf")],
        body: "",
        status: 400,
    },
];

/// What an Accept header leads to: JSON, protobuf, or 406.
const ACCEPTS: &[(&str, &str)] = &[
    ("application/json", "application/json"),
    ("application/x-protobuf", "application/x-protobuf"),
    ("*/*", "application/json"),
    ("application/*", "application/json"),
    ("application/x-protobuf, application/json", "application/json"),
    ("application/x-protobuf;q=1.0, application/json;q=0.1", "application/json"),
    ("application/json;q=0, application/x-protobuf", "application/x-protobuf"),
    ("application/json;q=0, */*", "application/x-protobuf"),
    ("text/html, application/x-protobuf", "application/x-protobuf"),
    ("text/html", ""),
    ("text/*", ""),
    ("application/json;q=0, application/x-protobuf;q=0", ""),
    ("application/recordio", ""),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in [SCHEDULER, OPERATOR] {
        for refusal in REFUSALS {
            let answer = format!("{}, said in plain text", refusal.status);
            let trial = move |arena: Arena| async move { refused(&arena, path, refusal).await };
            rows.push(row("1.2", format!("POST {path}"), refusal.given, answer, trial).once());
        }
        let unknown = move |arena: Arena| async move {
            let answer = post(&arena, path, &[JSON], r#"{"type":"UNKNOWN"}"#).await?;
            answer.expect(501).map(drop)
        };
        rows.push(row("1.2", format!("POST {path}"), "type UNKNOWN", "501", unknown).once());
        let no_name = move |arena: Arena| async move {
            let answer = post(&arena, path, &[JSON], r#"{"type":"NO_SUCH_CALL"}"#).await?;
            ensure!(matches!(answer.status, 400 | 501), "{}", answer.shown());
            Ok(())
        };
        rows.push(row("1.2", format!("POST {path}"), "a type that no version has", "400 or 501", no_name).once());
    }
    let order = |arena: Arena| async move {
        post(&arena, OPERATOR, &[JSON, ("Accept", "text/html")], r#"{"type":"UNKNOWN"}"#).await?.expect(406).map(drop)
    };
    rows.push(row("1.2", "POST /api/v1", "type UNKNOWN and a bad Accept", "406 comes first", order).once());
    for &(accept, media) in ACCEPTS {
        let said = if media.is_empty() { "406".to_owned() } else { media.to_owned() };
        let read = move |arena: Arena| async move {
            judged(&post(&arena, OPERATOR, &[JSON, ("Accept", accept)], r#"{"type":"GET_HEALTH"}"#).await?, media)
        };
        rows.push(row("1.2", "GET_HEALTH", format!("Accept: {accept}"), said.clone(), read).once());
        let stream = move |arena: Arena| async move {
            let call = Framework::subscribe_call(&arena.info()).to_string();
            let mut connection = Connection::open(arena.master()).await?;
            connection.send("POST", SCHEDULER, &[JSON, ("Accept", accept)], call.as_bytes()).await?;
            judged(&connection.head().await?, media)
        };
        rows.push(row("1.2", "SUBSCRIBE", format!("Accept: {accept}"), said, stream).once());
    }
    rows.extend(paths());
    rows.extend(connections());
    rows
}

fn judged(answer: &Answer, media: &str) -> Result<()> {
    if media.is_empty() {
        ensure!(answer.status == 406, "expected 406, got {}", answer.shown());
    } else {
        let kind = answer.header("content-type");
        ensure!(answer.status == 200 && kind == Some(media), "got {} {kind:?}", answer.status);
    }
    Ok(())
}

async fn post(arena: &Arena, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    exchange(arena.master(), "POST", path, headers, body.as_bytes()).await
}

async fn refused(arena: &Arena, path: &str, refusal: &Refusal) -> Result<()> {
    let answer = exchange(arena.master(), refusal.method, path, refusal.headers, refusal.body.as_bytes()).await?;
    let answer = answer.expect(refusal.status)?;
    if refusal.status == 405 {
        let allow = answer.header("allow").unwrap_or_default();
        ensure!(allow.contains("POST"), "Allow says {allow}");
    } else {
        let kind = answer.header("content-type").unwrap_or_default();
        ensure!(kind.starts_with("text/plain") && !answer.body.is_empty(), "{kind}: {}", answer.shown());
    }
    Ok(())
}

fn paths() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in ["/api/v1", "/master/api/v1"] {
        let trial = move |arena: Arena| async move {
            arena.post(path, MASTER_CALL, &plain_call("GET_HEALTH")).await?.expect(200).map(drop)
        };
        rows.push(row("1.1", "GET_HEALTH", format!("at {path}"), "200", trial));
    }
    for path in ["/api/v1/scheduler", "/master/api/v1/scheduler"] {
        let trial = move |arena: Arena| async move {
            let call = json!({"type": "TEARDOWN", "framework_id": {"value": arena.name("none")}});
            arena.post(path, SCHEDULER_CALL, &call).await?.expect(400).map(drop)
        };
        rows.push(row("1.1", "TEARDOWN", format!("of an unknown framework, at {path}"), "400", trial));
    }
    let operator = |arena: Arena| async move {
        arena.post("/api/v1/operator", MASTER_CALL, &plain_call("GET_HEALTH")).await?.expect(200).map(drop)
    };
    rows.push(row("clients", "GET_HEALTH", "at /api/v1/operator", "200", operator));
    let unknown = |arena: Arena| async move { arena.get("/no/such/endpoint").await?.expect(404).map(drop) };
    rows.push(row("1.1", "GET", "a path that nothing answers", "404", unknown).once());
    let agent = |arena: Arena| async move {
        for path in ["/api/v1", "/slave(1)/api/v1", "/slave%281%29/api/v1"] {
            let answer = exchange(arena.agent(), "GET", path, &[], b"").await?;
            ensure!(answer.status != 404, "{path} is not there");
        }
        Ok(())
    };
    rows.push(row("1.1", "GET", "the agent's /api/v1, bare and below /slave(1)", "it is there", agent).once());
    rows
}

fn connections() -> Vec<Row> {
    let pipelined = |arena: Arena| async move {
        let mut connection = Connection::open(arena.master()).await?;
        let paths = [("/version", 200), ("/health", 200), ("/no/such/path", 404), ("/version", 200)];
        for (path, _) in paths {
            connection.send("GET", path, &[], b"").await?;
        }
        for (path, status) in paths {
            let answer = connection.answer().await?;
            ensure!(answer.status == status, "{path}: {}", answer.shown());
        }
        Ok(())
    };
    let kept = |arena: Arena| async move {
        let mut connection = Connection::open(arena.master()).await?;
        for _ in 0..3 {
            let body = r#"{"type":"GET_HEALTH"}"#;
            connection.send("POST", OPERATOR, &[JSON], body.as_bytes()).await?;
            connection.answer().await?.expect(200)?;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        Ok(())
    };
    let refused = |arena: Arena| async move {
        let mut connection = Connection::open(arena.master()).await?;
        connection.send("POST", OPERATOR, &[JSON], b"{").await?;
        connection.answer().await?.expect(400)?;
        connection.send("GET", "/health", &[], b"").await?;
        connection.answer().await?.expect(200).map(drop)
    };
    let chunked = |arena: Arena| async move {
        let body = arena.media.write(MASTER_CALL, &plain_call("GET_HEALTH"))?;
        let (one, two) = body.split_at(1);
        let mut bytes = format!(
            "POST {OPERATOR} HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            arena.media.name()
        )
        .into_bytes();
        for part in [one, two] {
            if !part.is_empty() {
                bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
        }
        bytes.extend(b"0\r\n\r\n");
        let mut connection = Connection::open(arena.master()).await?;
        connection.send_bytes(&bytes).await?;
        connection.answer().await?.expect(200).map(drop)
    };
    let sized = |arena: Arena| async move {
        for kind in ["GET_HEALTH", "GET_STATE", "GET_FLAGS"] {
            let answer = arena.operator(&plain_call(kind)).await?.expect(200)?;
            let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
            ensure!(length == Some(answer.body.len()), "{kind}: Content-Length {length:?}");
        }
        Ok(())
    };
    let plain = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        // The encoding of a call need not be that of the stream.
        for media in [crate::contest::media::Media::Json, crate::contest::media::Media::Protobuf] {
            let body = media.write(SCHEDULER_CALL, &framework.call_of("REVIVE", Value::Null))?;
            let id = framework.stream.id().unwrap_or_default().to_owned();
            let headers = [("Content-Type", media.name()), ("Accept", "text/html"), ("Mesos-Stream-Id", id.as_str())];
            exchange(arena.master(), "POST", SCHEDULER, &headers, &body).await?.expect(202)?;
        }
        framework.listen(std::time::Duration::from_millis(50)).await?;
        framework.teardown().await
    };
    vec![
        row("1.2", "GET", "four requests at once on one connection", "answered in their order", pipelined).once(),
        row("clients", "POST", "three calls on one connection, with pauses", "it stays open", kept).once(),
        row("clients", "POST", "a refused call", "the connection stays open", refused).once(),
        row("1.2", "POST", "a chunked body", "read like any other", chunked),
        row("clients", "GET_*", "an answer that is no stream", "it has a Content-Length", sized),
        row("1.2", "REVIVE", "either encoding on one stream, Accept: text/html", "202, Accept is not looked at", plain),
    ]
}
