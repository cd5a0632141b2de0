//! Reference 1.4: JSON as Mesos reads and writes it, which differs from proto3's.

use crate::contest::arena::{Arena, OPERATOR, SCHEDULER};
use crate::contest::framework::{Framework, Next, SOON, Stream};
use crate::contest::row::{Row, row};
use crate::contest::wire::{Answer, Connection, exchange};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = inputs();
    rows.extend(outputs());
    rows.into_iter().map(Row::json).collect()
}

/// SUBSCRIBE with a body as it is.
async fn subscribe_text(arena: &Arena, body: &str) -> Result<Result<Stream, Answer>> {
    let mut connection = Connection::open(arena.master()).await?;
    let json = "application/json";
    connection.send("POST", SCHEDULER, &[("Content-Type", json), ("Accept", json)], body.as_bytes()).await?;
    Stream::opened(arena, connection, "mesos.v1.scheduler.Event").await
}

/// The words of the framework that a body subscribes, as the operator API shows them.
async fn taken(arena: &Arena, body: &str) -> Result<Value> {
    let mut stream = match subscribe_text(arena, body).await? {
        Ok(stream) => stream,
        Err(answer) => bail!("refused: {}", answer.shown()),
    };
    let first = stream.event().await?;
    let id = first["subscribed"]["framework_id"]["value"].as_str().with_context(|| first.to_string())?.to_owned();
    let shown = arena.eventually("the framework", || arena.shown_framework(&id, "frameworks")).await?;
    Ok(shown["framework_info"].clone())
}

/// A SUBSCRIBE whose FrameworkInfo has this text after its first fields.
fn with_fields(arena: &Arena, fields: &str) -> String {
    let (user, name) = (arena.user(), arena.name("json"));
    format!(
        r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"{user}","name":"{name}"{}{fields}}}}}}}"#,
        if fields.is_empty() { "" } else { "," }
    )
}

/// Input that is taken: what is given, the fields, and what FrameworkInfo then says.
fn taken_fields() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("an unknown field", r#""no_such_field":{"a":[1]}"#, json!({})),
        ("null for a scalar", r#""hostname":null"#, json!({"hostname": null})),
        ("null for a message", r#""labels":null"#, json!({"labels": null})),
        ("null for a list", r#""capabilities":null"#, json!({"capabilities": null})),
        (
            "one object for a list",
            r#""capabilities":{"type":"PARTITION_AWARE"}"#,
            json!({"capabilities": [{"type": "PARTITION_AWARE"}]}),
        ),
        ("one string for a list", r#""roles":"*","capabilities":{"type":"MULTI_ROLE"}"#, json!({"roles": ["*"]})),
        ("a number as a string", r#""failover_timeout":"0.5""#, json!({"failover_timeout": 0.5})),
        ("an integer for a double", r#""failover_timeout":2"#, json!({"failover_timeout": 2.0})),
        ("an exponent", r#""failover_timeout":1e-1"#, json!({"failover_timeout": 0.1})),
        ("a boolean as a string", r#""checkpoint":"true""#, json!({"checkpoint": true})),
        ("an unknown enum name in an optional field", r#""capabilities":[{"type":"NO_SUCH_CAPABILITY"}]"#, json!({})),
        (
            "escapes in a string",
            r#""hostname":"a\u00e9\ud83d\ude00\n\"\\b""#,
            json!({"hostname": "a\u{e9}\u{1f600}\n\"\\b"}),
        ),
        ("white space everywhere", " \"hostname\" \t:\r\n \"h\" ", json!({"hostname": "h"})),
    ]
}

/// Input that is refused with 400.
fn refused_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("a list for a scalar", r#""hostname":["h"]"#),
        ("a list for a message", r#""labels":[{}]"#),
        ("an object for a string", r#""hostname":{"value":"h"}"#),
        ("a string for a message", r#""id":"abc""#),
        ("a number for a string", r#""hostname":7"#),
        ("a number for a boolean", r#""checkpoint":1"#),
        ("a word for a number", r#""failover_timeout":"soon""#),
        ("a number for an enum", r#""capabilities":[{"type":6}]"#),
        ("a boolean for a number", r#""failover_timeout":true"#),
        ("a missing required field deep inside", r#""labels":{"labels":[{"value":"no key"}]}"#),
        ("an object for a list element", r#""roles":[{"a":1}],"capabilities":[{"type":"MULTI_ROLE"}]"#),
        ("two values without a comma", r#""hostname":"a" "webui_url":"b""#),
        ("a raw line end in a string", "\"hostname\":\"a\nb\""),
        ("a bare word", r#""hostname":h"#),
    ]
}

fn inputs() -> Vec<Row> {
    let mut rows = Vec::new();
    for (given, fields, wanted) in taken_fields() {
        let trial = move |arena: Arena| {
            let wanted = wanted.clone();
            async move {
                let info = taken(&arena, &with_fields(&arena, fields)).await?;
                for (key, value) in wanted.as_object().into_iter().flatten() {
                    ensure!(info.get(key).unwrap_or(&Value::Null) == value, "{key} became {}: {info}", info[key]);
                }
                Ok(())
            }
        };
        rows.push(row("1.4", "SUBSCRIBE", given, "taken, and shown as it was meant", trial));
    }
    for (given, fields) in refused_fields() {
        let trial = move |arena: Arena| async move {
            match subscribe_text(&arena, &with_fields(&arena, fields)).await? {
                Ok(_) => bail!("it was taken"),
                Err(answer) => answer.expect(400).map(drop),
            }
        };
        rows.push(row("1.4", "SUBSCRIBE", given, "400", trial));
    }
    let base64 = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        for data in ["\"a*b\"", "\"AAE\u{e9}\"", "[0,1]", "{}"] {
            let call = format!(
                r#"{{"type":"MESSAGE","framework_id":{{"value":"{}"}},"message":{{"agent_id":{{"value":"a"}},
                "executor_id":{{"value":"e"}},"data":{data}}}}}"#,
                framework.id
            );
            let headers =
                [("Content-Type", "application/json"), ("Mesos-Stream-Id", framework.stream.id().unwrap_or(""))];
            let answer = exchange(arena.master(), "POST", SCHEDULER, &headers, call.as_bytes()).await?;
            ensure!(answer.status == 400, "{data}: {}", answer.shown());
        }
        Ok(())
    };
    rows.push(row("1.4", "MESSAGE", "data that is no base64", "400", base64));
    let required_enum = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let call = json!({"resources": [{"name": "cpus", "type": "NO_SUCH_TYPE", "scalar": {"value": 1}}]});
        let answer = framework.call("REQUEST", json!({"requests": [call]})).await?;
        answer.expect(400).map(drop)
    };
    rows.push(row("1.4", "REQUEST", "an unknown name in a required enum field", "400", required_enum));
    let truncated = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let policy = json!({"task_id": {"value": "none"}, "kill_policy": {"grace_period": {"nanoseconds": 5.5}}});
        framework.call("KILL", policy).await?.expect(202).map(drop)
    };
    rows.push(row("1.4", "KILL", "a fraction for an integer", "truncated, 202", truncated));
    let text_number = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let policy = json!({"task_id": {"value": "none"}, "kill_policy": {"grace_period": {"nanoseconds": "5000"}}});
        framework.call("KILL", policy).await?.expect(202).map(drop)
    };
    rows.push(row("1.4", "KILL", "a 64-bit integer as a string", "202", text_number));
    rows
}

fn outputs() -> Vec<Row> {
    let defaults = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let shown = arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        let info = &shown["framework_info"];
        ensure!(info["checkpoint"] == json!(false), "checkpoint is not written: {info}");
        ensure!(info["failover_timeout"] == json!(0.0), "failover_timeout is not written: {info}");
        ensure!(info.get("role").is_none(), "a deprecated default is written: {info}");
        ensure!(info.get("hostname").is_none_or(|name| name != ""), "an unset field is written: {info}");
        Ok(())
    };
    let order = |arena: Arena| async move {
        let text = arena.operator(&json!({"type": "GET_VERSION"})).await?.expect(200)?.text();
        let at = |key: &str| text.find(&format!("\"{key}\"")).with_context(|| format!("no {key} in {text}"));
        ensure!(at("type")? < at("get_version")? && at("get_version")? < at("version_info")?, "{text}");
        let framework = Framework::quiet(&arena).await?;
        arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        let text = arena.operator(&json!({"type": "GET_FRAMEWORKS"})).await?.expect(200)?.text();
        let mine = text.find(&framework.id).context("our framework")?;
        let begin = text[..mine].rfind("framework_info").context("its words")?;
        let text = &text[begin..];
        let at = |key: &str| text.find(&format!("\"{key}\"")).with_context(|| format!("no {key} in {text}"));
        // Field numbers are 1, 2, 3, 4, 5, 12, 10: in the file roles stand before capabilities.
        let keys = ["user", "name", "id", "failover_timeout", "checkpoint", "roles", "capabilities"];
        for pair in keys.windows(2) {
            ensure!(at(pair[0])? < at(pair[1])?, "{} stands after {}", pair[0], pair[1]);
        }
        Ok(())
    };
    let doubles = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let text = framework.others[0].to_string();
        ensure!(text.contains("\"heartbeat_interval_seconds\":15.0"), "{text}");
        Ok(())
    };
    let integers = |arena: Arena| async move {
        let agents = arena.read("GET_AGENTS").await?;
        let time = &agents["agents"][0]["registered_time"]["nanoseconds"];
        ensure!(time.is_i64() || time.is_u64(), "a 64-bit integer is written as {time}");
        Ok(())
    };
    let lists = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let shown = arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        for key in ["offers", "inverse_offers", "allocated_resources"] {
            ensure!(shown.get(key).is_none(), "an empty {key} is written: {shown}");
        }
        Ok(())
    };
    let maps = |arena: Arena| async move {
        let role = arena.name("role");
        let filters = json!({role.clone(): {"min_allocatable_resources": {"quantities": [{"quantities": {"cpus": {"value": 0.5}}}]}}});
        let changes = json!({"roles": [role], "offer_filters": filters});
        let framework = Framework::quiet_with(&arena, changes).await?;
        let shown = arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        ensure!(shown["framework_info"]["offer_filters"] == filters, "{shown}");
        Ok(())
    };
    let names = |arena: Arena| async move {
        let text = arena.operator(&json!({"type": "GET_STATE"})).await?.expect(200)?.text();
        for camel in ["getTasks", "frameworkInfo", "agentInfo"] {
            ensure!(!text.contains(camel), "{camel} is written");
        }
        Ok(())
    };
    let ascii = |arena: Arena| async move {
        let name = format!("{} \u{e9}\u{1f600}\n\u{7f}", arena.name("ascii"));
        let framework = Framework::quiet_with(&arena, json!({"name": name})).await?;
        let shown = arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        ensure!(shown["framework_info"]["name"] == json!(name), "{shown}");
        let body = arena.operator(&json!({"type": "GET_FRAMEWORKS"})).await?.expect(200)?.body;
        ensure!(body.iter().all(|byte| (0x20..0x7f).contains(byte)), "the answer is not ASCII on one line");
        Ok(())
    };
    let infinity = |arena: Arena| async move {
        let info = arena.info_with(json!({"failover_timeout": "Infinity"}));
        let mut stream = match Framework::open(&arena, &Framework::subscribe_call(&info)).await? {
            Ok(stream) => stream,
            Err(answer) => bail!("{}", answer.shown()),
        };
        match stream.next(SOON).await? {
            // It is read as a double; that no duration is so long is said in an event.
            Next::Event(event) if event["type"] == "ERROR" => Ok(()),
            other => bail!("{other:?}"),
        }
    };
    let operator = |arena: Arena| async move {
        for body in [r#"{"type":"GET_METRICS","get_metrics":null}"#, r#"{"type":"GET_METRICS"}"#] {
            let answer =
                exchange(arena.master(), "POST", OPERATOR, &[("Content-Type", "application/json")], body.as_bytes())
                    .await?;
            ensure!(answer.status == 400, "{body}: {}", answer.shown());
        }
        Ok(())
    };
    vec![
        row("1.4", "GET_FRAMEWORKS", "unset fields with a default", "written, deprecated ones not", defaults),
        row("1.4", "GET_FRAMEWORKS", "fields whose numbers are out of order", "written as declared", order),
        row("1.4", "SUBSCRIBED", "a whole double", "written with a fraction", doubles),
        row("1.4", "GET_AGENTS", "a 64-bit integer", "written as a number", integers),
        row("1.4", "GET_FRAMEWORKS", "empty lists", "left out", lists),
        row("1.4", "GET_FRAMEWORKS", "a map", "an object by its keys", maps),
        row("1.4", "GET_STATE", "field names", "as in the schema, never in camel case", names),
        row("clients", "GET_FRAMEWORKS", "a name beyond ASCII", "escaped, one line of ASCII", ascii),
        row("1.4", "SUBSCRIBE", "the word Infinity for a double", "read as infinite: ERROR, not 400", infinity),
        row("1.4", "GET_METRICS", "null for the part of the call", "unset: 400", operator),
    ]
}
