//! What no client should send (attacks 1 to 15, 29, 36 to 41, and reference 1.4): a clear answer or a hang-up, and a master that
//! goes on.

use crate::contest::arena::{Arena, OPERATOR, SCHEDULER, SCHEDULER_CALL, merge};
use crate::contest::framework::{Framework, Stream, scalar};
use crate::contest::row::{Row, row};
use crate::contest::wire::{Answer, Connection, exchange, raw};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// After whatever was sent, the master answers as before.
async fn lives(arena: &Arena) -> Result<()> {
    arena.get("/health").await?.expect(200).map(drop)
}

/// Statuses with which a bad request may be answered.
fn is_refusal(answer: &Answer) -> bool {
    (400..500).contains(&answer.status) || matches!(answer.status, 501 | 505)
}

/// Raw requests that are refused, or hung up on.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let post = |headers: &str, body: &[u8]| {
        let mut bytes =
            format!("POST {OPERATOR} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n")
                .into_bytes();
        bytes.extend(body);
        bytes
    };
    vec![
        ("an empty path", b"GET  HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a path without a slash", get("state")),
        ("a path of one percent sign", get("/%")),
        ("a percent sign and one digit", get("/%4")),
        ("a percent sign and no digits", get("/%zz")),
        ("a NUL in the path", get("/state%00")),
        ("a slash hidden in the path", get("/master%2fstate")),
        ("bytes in the path that are not UTF-8", get("/%ff%fe")),
        ("a percent-encoded NUL in the query", get("/tasks?limit=%00")),
        ("a broken query", get("/tasks?limit=%")),
        ("dots in the path", get("/../../etc/passwd")),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a version that does not exist", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_vec()),
        ("CONNECT", b"CONNECT example.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a header without a colon", b"GET /health HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n".to_vec()),
        ("a NUL in a header", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n".to_vec()),
        (
            "a header of 1 MB",
            format!("GET /health HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(1 << 20)).into_bytes(),
        ),
        (
            "ten thousand headers",
            format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(10_000)).into_bytes(),
        ),
        ("a path of 1 MB", get(&format!("/{}", "a".repeat(1 << 20)))),
        ("a negative Content-Length", post("Content-Length: -1\r\n", b"{}")),
        ("a Content-Length that is no number", post("Content-Length: two\r\n", b"{}")),
        ("two Content-Lengths that differ", post("Content-Length: 2\r\nContent-Length: 3\r\n", b"{} ")),
        ("a Content-Length beyond every body", post("Content-Length: 18446744073709551615\r\n", b"{}")),
        ("a Content-Length of 1 TB", post("Content-Length: 1099511627776\r\n", b"{}")),
        ("a chunk length that is no number", post("Transfer-Encoding: chunked\r\n", b"xyz\r\n{}\r\n0\r\n\r\n")),
        ("a negative chunk length", post("Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk length of 2^64", post("Transfer-Encoding: chunked\r\n", b"10000000000000000\r\n{}\r\n0\r\n\r\n")),
        ("a chunk without its line end", post("Transfer-Encoding: chunked\r\n", b"2\r\n{}0\r\n\r\n")),
        ("a Transfer-Encoding that does not exist", post("Transfer-Encoding: soup\r\n", b"{}")),
    ]
}

/// Bodies of calls that are refused with 400.
fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let json = "application/json";
    let protobuf = "application/x-protobuf";
    let deep =
        |open: &str, close: &str, times: usize| format!("{}{}", open.repeat(times), close.repeat(times)).into_bytes();
    let mut nested = Vec::new();
    for _ in 0..200 {
        // Field 4 of FrameworkInfo's Call is a message; inside ContainerID.parent messages nest without end.
        let mut outer = vec![0x12];
        push_varint(&mut outer, nested.len());
        outer.extend(&nested);
        nested = outer;
    }
    let mut parents = vec![0x0a, 0x01, b'x'];
    for _ in 0..2_000 {
        let mut outer = vec![0x0a, 0x01, b'x', 0x12];
        push_varint(&mut outer, parents.len());
        outer.extend(&parents);
        parents = outer;
    }
    vec![
        ("lists a million deep", json, deep("[", "]", 1_000_000)),
        ("objects a million deep", json, deep("{\"a\":", "}", 1_000_000)),
        ("a known field with objects ten thousand deep", json, {
            let mut body = b"{\"type\":\"GET_HEALTH\",\"x\":".to_vec();
            body.extend(deep("{\"a\":", "}", 10_000));
            body
        }),
        ("a string without an end", json, b"{\"type\":\"GET_HEALTH".to_vec()),
        ("a lone surrogate", json, br#"{"type":"GET_HEALTH","\ud800":1}"#.to_vec()),
        ("a bad escape", json, br#"{"type":"GET_\x48EALTH"}"#.to_vec()),
        ("a number that is none", json, br#"{"type":"GET_HEALTH","a":01}"#.to_vec()),
        ("the word NaN", json, br#"{"type":NaN}"#.to_vec()),
        ("bytes after the object", json, b"{\"type\":\"GET_HEALTH\"}{\"type\":\"GET_HEALTH\"}".to_vec()),
        ("a byte order mark", json, b"\xef\xbb\xbf{\"type\":\"GET_HEALTH\"}".to_vec()),
        ("UTF-16", json, b"{\0\"\0t\0".to_vec()),
        ("bytes that are not UTF-8 in the type", json, b"{\"type\":\"GET_\xff\xfe\"}".to_vec()),
        (
            "bytes that are not UTF-8 in a field that nobody reads",
            json,
            b"{\"type\":\"GET_HEALTH\",\"x\":\"\xff\"}".to_vec(),
        ),
        ("a name of a field that is not UTF-8", json, b"{\"type\":\"GET_HEALTH\",\"x\":{\"\xc3\":1}}".to_vec()),
        ("a length of 2 GB", protobuf, vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, b'x']),
        ("a length of 2^63", protobuf, vec![0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'x']),
        ("a varint without an end", protobuf, vec![0xff; 11]),
        ("field number zero", protobuf, vec![0x00, 0x00]),
        ("a wire type that does not exist", protobuf, vec![0x0f, 0x00]),
        ("a group without an end", protobuf, vec![0x0b]),
        ("an end of a group without its beginning", protobuf, vec![0x0c]),
        ("a known field of another wire type", protobuf, vec![0x0a, 0x01, 0x01]),
        ("messages 200 deep", protobuf, nested),
        ("containers 2,000 deep", protobuf, parents),
    ]
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, bytes) in requests() {
        let trial = move |arena: Arena| {
            let bytes = bytes.clone();
            async move {
                let answered = tokio::time::timeout(Duration::from_secs(20), raw(arena.master(), &bytes)).await?;
                if let Some(answer) = answered? {
                    ensure!(is_refusal(&answer), "it was answered {}", answer.shown());
                }
                lives(&arena).await
            }
        };
        rows.push(row("attacks", "a request", given, "4xx, 501, 505 or a hang-up; the master goes on", trial).once());
    }
    for (given, media, body) in bodies() {
        for (path, name) in [(OPERATOR, "a call of operators"), (SCHEDULER, "a call of schedulers")] {
            let body = body.clone();
            let trial = move |arena: Arena| {
                let body = body.clone();
                async move {
                    let answer = exchange(arena.master(), "POST", path, &[("Content-Type", media)], &body).await?;
                    answer.expect(400)?;
                    lives(&arena).await
                }
            };
            rows.push(row("attacks", name, given, "400, and the master goes on", trial).once());
        }
    }
    rows.extend(connections());
    rows.extend(values());
    rows
}

fn connections() -> Vec<Row> {
    let smuggled = |arena: Arena| async move {
        // Both lengths: whichever is believed, no second request may be answered.
        let inner = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
        let bytes = format!(
            "POST {OPERATOR} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
            inner.len() + 5
        );
        let mut connection = Connection::open(arena.master()).await?;
        connection.send_bytes(bytes.as_bytes()).await?;
        let first = tokio::time::timeout(Duration::from_secs(20), connection.answer()).await?;
        ensure!(first.as_ref().map_or(true, is_refusal), "{first:?}");
        lives(&arena).await
    };
    let trailers = |arena: Arena| async move {
        let body = "{\"type\":\"GET_HEALTH\"}";
        let bytes = format!(
            "POST {OPERATOR} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nContent-Length: 3\r\nA: b\r\n\r\n",
            body.len()
        );
        let answer = raw(arena.master(), bytes.as_bytes()).await?;
        ensure!(answer.is_none_or(|answer| answer.status == 200 || is_refusal(&answer)), "another answer");
        lives(&arena).await
    };
    let upgrade = |arena: Arena| async move {
        let bytes = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        let answer = raw(arena.master(), bytes.as_bytes()).await?;
        ensure!(answer.is_none_or(|answer| answer.status != 101), "it was upgraded");
        lives(&arena).await
    };
    let half = |arena: Arena| async move {
        let mut connection = Connection::open(arena.master()).await?;
        connection.send_bytes(b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Le").await?;
        connection.half_close().await?;
        drop(connection);
        lives(&arena).await
    };
    let vanish = |arena: Arena| async move {
        for _ in 0..20 {
            let mut connection = Connection::open(arena.master()).await?;
            let call = Framework::subscribe_call(&arena.info()).to_string();
            connection.send("POST", SCHEDULER, &[("Content-Type", "application/json")], call.as_bytes()).await?;
        }
        lives(&arena).await
    };
    let large = |arena: Arena| async move {
        let mut body = b"{\"type\":\"GET_HEALTH\",\"x\":\"".to_vec();
        body.resize(64 << 20, b'a');
        body.extend(b"\"}");
        let mut connection = Connection::open(arena.master()).await?;
        let head = format!(
            "POST {OPERATOR} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.send_bytes(head.as_bytes()).await?;
        // The server need not read what it refuses.
        let _ = tokio::time::timeout(Duration::from_secs(5), connection.send_bytes(&body)).await;
        let answer = tokio::time::timeout(Duration::from_secs(20), connection.answer()).await?;
        ensure!(answer.as_ref().map_or(true, |answer| matches!(answer.status, 200 | 413)), "{answer:?}");
        lives(&arena).await
    };
    vec![
        row("attacks", "a request", "Content-Length and chunked together", "refused or hung up on", smuggled).once(),
        row("attacks", "a call of operators", "trailers after a chunked body", "200 or a refusal", trailers).once(),
        row("attacks", "a request", "an upgrade to HTTP/2", "no upgrade", upgrade).once(),
        row("attacks", "a request", "half a head, then nothing", "the master goes on", half).once(),
        row("attacks", "SUBSCRIBE", "20 clients that vanish at once", "the master goes on", vanish).once(),
        row("attacks", "a call of operators", "a body of 64 MB", "413, or read", large).once(),
    ]
}

/// Launches a task with changes, and wants it refused.
async fn refused(arena: &Arena, changes: &Value) -> Result<()> {
    super::launch::refused(arena, changes).await?;
    lives(arena).await
}

fn values() -> Vec<Row> {
    let mut rows = Vec::new();
    let range = |begin: u64, end: u64| {
        let ports = json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": begin, "end": end}]}});
        json!({"resources": [scalar("cpus", 0.1), scalar("mem", 32.0), ports]})
    };
    for (given, changes) in [
        ("1e18 cpus", json!({"resources": [scalar("cpus", 1e18), scalar("mem", 32.0)]})),
        ("1e308 cpus", json!({"resources": [scalar("cpus", 1e308), scalar("mem", 32.0)]})),
        ("all ports there can be", range(0, u64::MAX)),
        ("ports that overlap", {
            let mut changes = range(31000, 31005);
            merge(
                &mut changes["resources"][2],
                &json!({"ranges": {"range": [{"begin": 1, "end": 9}, {"begin": 5, "end": 12}]}}),
            );
            changes
        }),
        ("a task id of 1 MB", json!({"task_id": {"value": "x".repeat(1 << 20)}})),
    ] {
        let trial = move |arena: Arena| {
            let changes = changes.clone();
            async move { refused(&arena, &changes).await }
        };
        rows.push(row("attacks", "LAUNCH", given, "TASK_ERROR", trial));
    }
    let infinite = |arena: Arena| async move {
        for seconds in ["Infinity", "-Infinity"] {
            let mut framework = Framework::start(&arena).await?;
            let offer = framework.offer().await?;
            let body = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": seconds}});
            let answer = framework.call("DECLINE", body).await?;
            ensure!(matches!(answer.status, 202 | 400), "{}", answer.shown());
            framework.teardown().await?;
        }
        lives(&arena).await
    };
    rows.push(row("attacks", "DECLINE", "filters for ever and for less than never", "202 or 400", infinite));
    let flood = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let mut connection = Connection::open(arena.master()).await?;
        let id = framework.stream.id().unwrap_or_default().to_owned();
        let headers = [("Content-Type", arena.media.name()), ("Mesos-Stream-Id", id.as_str())];
        for number in 0..200 {
            let call = framework.call_of(if number % 2 == 0 { "REVIVE" } else { "SUPPRESS" }, Value::Null);
            let body = arena.media.write(SCHEDULER_CALL, &call)?;
            connection.send("POST", SCHEDULER, &headers, &body).await?;
        }
        for _ in 0..200 {
            let answer = connection.answer().await?;
            ensure!(matches!(answer.status, 202 | 503), "{}", answer.shown());
        }
        framework.teardown().await?;
        lives(&arena).await
    };
    rows.push(row("attacks", "REVIVE, SUPPRESS", "200 in turn on one connection", "each is answered", flood));
    let many = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let tasks: Vec<Value> =
            (0..2_000).map(|_| framework.task(&json!({"agent_id": {"value": "a"}}), "true").1).collect();
        let launch = json!([{"type": "LAUNCH", "launch": {"task_infos": tasks}}]);
        framework.must("ACCEPT", json!({"offer_ids": [{"value": "none"}], "operations": launch})).await?;
        framework.until("2,000 statuses", |framework| (framework.updates.len() == 2_000).then_some(())).await?;
        framework.teardown().await?;
        lives(&arena).await
    };
    rows.push(row("attacks", "ACCEPT", "2,000 tasks on a bad offer", "2,000 statuses", many).within(60));
    let roles = |arena: Arena| async move {
        let roles: Vec<String> = (0..500).map(|number| format!("flood-{number}")).collect();
        let framework = Framework::quiet_with(&arena, json!({"roles": roles})).await?;
        framework.teardown().await?;
        lives(&arena).await
    };
    rows.push(row("attacks", "SUBSCRIBE", "500 roles", "SUBSCRIBED", roles));
    let halves = |arena: Arena| async move {
        let write = |call: Value| arena.media.write(SCHEDULER_CALL, &call);
        let user = write(json!({"type": "TEARDOWN", "subscribe": {"framework_info": {"user": arena.user()}}}))?;
        let name =
            write(json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"name": arena.name("halves")}}}))?;
        let mut connection = Connection::open(arena.master()).await?;
        let headers = [("Content-Type", arena.media.name()), ("Accept", arena.media.name())];
        connection.send("POST", SCHEDULER, &headers, &[user, name].concat()).await?;
        let opened = Stream::opened(&arena, connection, "mesos.v1.scheduler.Event").await?;
        let mut stream = opened.map_err(|answer| anyhow::anyhow!("it was answered {}", answer.shown()))?;
        let first = stream.event().await?;
        ensure!(first["type"] == "SUBSCRIBED", "{first}");
        lives(&arena).await
    };
    let said = "one message: of values the last counts, parts of messages belong together";
    rows.push(row("clients", "SUBSCRIBE", "a call in two halves, each with a type", said, halves).protobuf());
    let fields = |arena: Arena| async move {
        // 100,000 empty strings cost two bytes each: refused or taken, never a crash.
        let roles = vec![""; 100_000];
        let mut call = Framework::subscribe_call(&arena.info());
        call["subscribe"]["suppressed_roles"] = json!(roles);
        match Framework::open(&arena, &call).await? {
            Ok(mut stream) => {
                let first = stream.event().await?;
                ensure!(first["type"] == "ERROR", "{first}");
            }
            Err(answer) => ensure!(is_refusal(&answer), "{}", answer.shown()),
        }
        lives(&arena).await
    };
    rows.push(row("attacks", "SUBSCRIBE", "100,000 empty roles", "ERROR or a refusal", fields));
    rows
}
