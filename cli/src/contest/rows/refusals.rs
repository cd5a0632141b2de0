//! Ours, not Mesos's: each refusal says why with one stable word (`docs/api.md`, decision 0016). A header for HTTP, a label for
//! tasks, a field for operations and for ERROR.

use super::operations::{begin, status_of};
use crate::contest::arena::{Arena, EXECUTOR, EXECUTOR_CALL, items, merge};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::wire::{self, Answer};
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

const HEADER: &str = "kaon-cause";

fn says(answer: &Answer, status: u16, cause: &str) -> Result<()> {
    let said = answer.header(HEADER);
    ensure!(answer.status == status && said == Some(cause), "{} says {said:?}", answer.shown());
    ensure!(answer.header("content-type") == Some("text/plain"), "the body is text for people");
    Ok(())
}

/// The cause of the TASK_ERROR of a task that breaks a rule.
async fn task_says(arena: &Arena, changes: &Value, cause: &str) -> Result<()> {
    let mut framework = Framework::start(arena).await?;
    let offer = framework.offer().await?;
    let (id, mut task) = framework.task(&offer, "true");
    merge(&mut task, changes);
    framework.launch(&offer, vec![task]).await?;
    let status = framework.first_status(&id).await?;
    label_says(&status, cause)?;
    framework.teardown().await
}

fn label_says(status: &Value, cause: &str) -> Result<()> {
    let labels = items(&status["labels"]["labels"]);
    ensure!(labels == [json!({"key": "kaon.cause", "value": cause})], "{status}");
    Ok(())
}

fn tasks() -> Vec<Row> {
    let wide = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 9999.0}}]);
    let cases = [
        ("another agent's id", json!({"agent_id": {"value": "no-such-agent"}}), "agent-mismatch"),
        ("more than the offer holds", json!({"resources": wide}), "resources-insufficient"),
        ("no resources", json!({"resources": []}), "resources-missing"),
        ("neither command nor executor", json!({"command": null}), "command-or-executor"),
        ("a check that is none", json!({"check": {"type": "UNKNOWN"}}), "check-invalid"),
        ("a time that is negative", json!({"max_completion_time": {"nanoseconds": -1}}), "time-invalid"),
    ];
    let one = |(given, changes, cause): (&'static str, Value, &'static str)| {
        let trial = move |arena: Arena| {
            let changes = changes.clone();
            async move { task_says(&arena, &changes, cause).await }
        };
        row("kaon", "LAUNCH", given, format!("label kaon.cause: {cause}"), trial)
    };
    let offers = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let (id, task) = framework.task(&json!({"agent_id": {"value": "a"}}), "true");
        let launch = json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}]);
        framework.must("ACCEPT", json!({"offer_ids": [{"value": "none"}], "operations": launch})).await?;
        label_says(&framework.first_status(&id).await?, "offers-invalid")?;
        framework.teardown().await
    };
    let mut rows: Vec<Row> = cases.into_iter().map(one).collect();
    rows.push(row("kaon", "ACCEPT", "offers that are gone", "label kaon.cause: offers-invalid", offers));
    rows
}

fn requests() -> Vec<Row> {
    let cases = [
        ("REVIVE", json!({"type": "REVIVE", "framework_id": {"value": "no-such"}}), 400, "framework-unknown"),
        ("no type", json!({}), 400, "field-missing"),
        ("SUBSCRIBE", json!({"type": "SUBSCRIBE"}), 400, "field-missing"),
        ("UNKNOWN", json!({"type": "UNKNOWN", "framework_id": {"value": "f"}}), 501, "not-implemented"),
    ];
    let one = |(kind, call, status, cause): (&'static str, Value, u16, &'static str)| {
        let trial = move |arena: Arena| {
            let call = call.clone();
            async move { says(&arena.scheduler(&call).await?, status, cause) }
        };
        row("kaon", kind, format!("refused with {status}"), format!("Kaon-Cause: {cause}"), trial)
    };
    let stream = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let call = framework.call_of("REVIVE", Value::Null);
        says(&framework.send(&call, None).await?, 400, "stream-id-missing")?;
        says(&framework.send(&call, Some("another")).await?, 400, "stream-id-mismatch")?;
        framework.teardown().await
    };
    let plain = |arena: Arena| async move {
        let master = arena.master();
        says(&arena.get("/no/such/path").await?, 404, "not-found")?;
        says(&wire::exchange(master, "GET", "/api/v1/scheduler", &[], b"").await?, 405, "method-not-allowed")?;
        let typed = [("Content-Type", "text/plain")];
        says(&wire::exchange(master, "POST", "/api/v1/scheduler", &typed, b"x").await?, 415, "unsupported-media-type")?;
        let json = [("Content-Type", "application/json")];
        says(&wire::exchange(master, "POST", "/api/v1/scheduler", &json, b"{").await?, 400, "malformed")
    };
    let executor = |arena: Arena| async move {
        let update = json!({"type": "MESSAGE", "framework_id": {"value": "f"}, "executor_id": {"value": "e"},
            "message": {"data": "AA=="}});
        let answer = arena.post_to((arena.agent(), EXECUTOR), EXECUTOR_CALL, &update).await?;
        says(&answer, 400, "framework-unknown")
    };
    let mut rows: Vec<Row> = cases.into_iter().map(one).collect();
    rows.push(row("kaon", "REVIVE", "a stream id that is not there, or another's", "Kaon-Cause says which", stream));
    rows.push(row("kaon", "any request", "404, 405, 415, a body that is none", "Kaon-Cause says which", plain).once());
    rows.push(row("kaon", "MESSAGE", "of an executor nobody knows", "Kaon-Cause: framework-unknown", executor));
    rows
}

pub(super) fn rows() -> Vec<Row> {
    let operation = |arena: Arena| async move {
        let (mut framework, offer, _) = begin(&arena).await?;
        let part = json!({"type": "UNRESERVE", "id": {"value": "wrong"}, "unreserve": {"resources": [
            {"name": "disk", "type": "SCALAR", "scalar": {"value": 1.0}}]}});
        framework.accept(&[&offer], vec![part]).await?;
        let status = status_of(&mut framework, "wrong").await?;
        ensure!(status["state"] == "OPERATION_ERROR" && status["cause"] == "not-reserved", "{status}");
        framework.teardown().await
    };
    let error = |arena: Arena| async move {
        let info = arena.info_with(json!({"roles": ["a/../b"]}));
        let mut stream = match Framework::open(&arena, &Framework::subscribe_call(&info)).await? {
            Ok(stream) => stream,
            Err(answer) => bail!("SUBSCRIBE was answered {}", answer.shown()),
        };
        let event = stream.event().await?;
        ensure!(event["type"] == "ERROR" && event["error"]["cause"] == "role-invalid", "{event}");
        Ok(())
    };
    let removed = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let call = framework.return_call();
        framework.teardown().await?;
        let mut stream = match Framework::open(&arena, &call).await? {
            Ok(stream) => stream,
            Err(answer) => bail!("SUBSCRIBE was answered {}", answer.shown()),
        };
        let event = stream.event().await?;
        let words = json!({"message": "Framework has been removed", "cause": "framework-removed"});
        ensure!(event["error"] == words, "{event}");
        Ok(())
    };
    let expression = |arena: Arena| async move {
        let with = |text: &str| {
            let predicate = json!({"text_matches": {"regex": text}});
            let group = json!({"attribute_constraints": [{"selector": {"pseudoattribute_type": "HOSTNAME"},
                "predicate": predicate}]});
            let mut call = Framework::subscribe_call(&arena.info());
            call["subscribe"]["offer_constraints"] = json!({"role_constraints": {"*": {"groups": [group]}}});
            call
        };
        let mut stream = match Framework::open(&arena, &with("a(b")).await? {
            Ok(stream) => stream,
            Err(answer) => bail!("SUBSCRIBE was answered {}", answer.shown()),
        };
        let event = stream.event().await?;
        let words = event["error"]["message"].as_str().unwrap_or_default();
        ensure!(event["error"]["cause"] == "constraints-invalid" && words.contains("unclosed group"), "{event}");
        // What RE2 knows of Unicode is taken.
        let taken = Framework::by_call(&arena, arena.info(), with(r"[\p{L}\pN\p{Greek}.:-]+")).await?;
        taken.teardown().await
    };
    let program = |arena: Arena| async move {
        let with = |text: &str| {
            let predicate = json!({"text_not_matches": {"regex": text}});
            let group =
                json!({"attribute_constraints": [{"selector": {"attribute_name": "rack"}, "predicate": predicate}]});
            let mut call = Framework::subscribe_call(&arena.info());
            call["subscribe"]["offer_constraints"] = json!({"role_constraints": {"*": {"groups": [group]}}});
            call
        };
        for text in ["(a+){50}", "(a+){500}"] {
            let mut stream = match Framework::open(&arena, &with(text)).await? {
                Ok(stream) => stream,
                Err(answer) => bail!("SUBSCRIBE was answered {}", answer.shown()),
            };
            let event = stream.event().await?;
            ensure!(event["error"]["cause"] == "constraints-invalid", "{text}: {event}");
        }
        let named: Vec<String> = (0..40).map(|number| format!("rack-{number:02}")).collect();
        for text in ["(a+){10}".to_owned(), named.join("|")] {
            Framework::by_call(&arena, arena.info(), with(&text)).await?.teardown().await?;
        }
        Ok(())
    };
    let mut rows = tasks();
    rows.extend(requests());
    let given = "a regular expression whose program RE2 makes larger than 100; ones that it does not";
    rows.push(row("3.6", "SUBSCRIBE", given, "ERROR; SUBSCRIBED", program));
    let given = "a regular expression that is none; one with classes of Unicode";
    rows.push(row("kaon", "SUBSCRIBE", given, "ERROR that says what is wrong with it; SUBSCRIBED", expression));
    rows.push(row("kaon", "UNRESERVE", "what is not reserved, by its cause", "cause: not-reserved", operation));
    rows.push(row("kaon", "SUBSCRIBE", "a role that is none, by its cause", "ERROR with cause: role-invalid", error));
    rows.push(row(
        "kaon",
        "SUBSCRIBE",
        "an id that was removed, by its cause",
        "ERROR, cause: framework-removed",
        removed,
    ));
    rows
}
