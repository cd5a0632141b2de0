//! Reference 1.6, 3.3: calls whose answer says little: parts that must be there, and ids that nothing answers to.

use crate::contest::arena::{Arena, OPERATOR, SCHEDULER};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::wire::exchange;
use anyhow::ensure;
use serde_json::{Value, json};
use std::time::Duration;

/// Calls that need a part of their own.
const WITH_PART: [&str; 8] =
    ["ACCEPT", "DECLINE", "KILL", "SHUTDOWN", "ACKNOWLEDGE", "RECONCILE", "MESSAGE", "REQUEST"];

/// Calls whose part lacks a required field.
fn incomplete() -> Vec<(&'static str, Value)> {
    let agent = json!({"value": "a"});
    vec![
        ("KILL", json!({})),
        ("KILL", json!({"task_id": {}})),
        ("SHUTDOWN", json!({"agent_id": agent})),
        ("SHUTDOWN", json!({"executor_id": {"value": "e"}})),
        ("ACKNOWLEDGE", json!({"agent_id": agent, "task_id": {"value": "t"}})),
        ("ACKNOWLEDGE", json!({"agent_id": agent, "uuid": "AAECAwQFBgcICQoLDA0ODw=="})),
        ("MESSAGE", json!({"agent_id": agent, "executor_id": {"value": "e"}})),
        ("RECONCILE", json!({"tasks": [{}]})),
        ("DECLINE", json!({"offer_ids": [{}]})),
        (
            "ACCEPT",
            json!({"offer_ids": [{"value": "o"}], "operations": [{"type": "LAUNCH", "launch": {"task_infos": [{}]}}]}),
        ),
    ]
}

/// Calls about what is not there: taken, and nothing comes of them.
fn idle() -> Vec<(&'static str, &'static str, Value)> {
    let (agent, task, executor) = (json!({"value": "a"}), json!({"value": "t"}), json!({"value": "e"}));
    vec![
        ("SHUTDOWN", "an executor of an unknown agent", json!({"agent_id": agent, "executor_id": executor})),
        (
            "ACKNOWLEDGE",
            "a task and an agent that nobody knows",
            json!({"agent_id": agent, "task_id": task, "uuid": "AAECAwQFBgcICQoLDA0ODw=="}),
        ),
        (
            "MESSAGE",
            "an executor of an unknown agent",
            json!({"agent_id": agent, "executor_id": executor, "data": "AAE="}),
        ),
        (
            "REQUEST",
            "resources",
            json!({"requests": [{"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]}]}),
        ),
        ("REQUEST", "nothing", json!({})),
        ("DECLINE", "an offer that nobody knows", json!({"offer_ids": [{"value": "no-such-offer"}]})),
        ("DECLINE", "no offers", json!({})),
        ("REVIVE", "a role that it does not have", json!({"roles": ["other"]})),
        ("REVIVE", "an invalid role", json!({"roles": ["a//b"]})),
        ("SUPPRESS", "a role that it does not have", json!({"roles": ["other"]})),
        ("RECONCILE", "no tasks, of a framework without tasks", json!({})),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in WITH_PART {
        let trial = move |arena: Arena| async move {
            let framework = Framework::quiet(&arena).await?;
            let answer = framework.call(kind, Value::Null).await?;
            ensure!(!answer.body.is_empty(), "no reason is given");
            answer.expect(400).map(drop)
        };
        rows.push(row("1.2", kind, "the part named after it is absent", "400", trial));
    }
    for (kind, part) in incomplete() {
        let given = format!("without a required field: {part}");
        let trial = move |arena: Arena| {
            let part = part.clone();
            async move {
                let framework = Framework::quiet(&arena).await?;
                framework.call(kind, part).await?.expect(400).map(drop)
            }
        };
        rows.push(row("1.2", kind, given, "400", trial));
    }
    for (kind, given, part) in idle() {
        let trial = move |arena: Arena| {
            let part = part.clone();
            async move {
                let mut framework = Framework::quiet(&arena).await?;
                framework.must(kind, part).await?;
                framework.listen(Duration::from_millis(100)).await?;
                ensure!(framework.updates.is_empty() && framework.others.len() == 1, "something came of it");
                framework.teardown().await
            }
        };
        rows.push(row("3.3", kind, given, "202, and nothing comes of it", trial));
    }
    for (given, uuid) in [("15 bytes", "AAECAwQFBgcICQoLDA0O"), ("17 bytes", "AAECAwQFBgcICQoLDA0ODxA="), ("none", "")]
    {
        let trial = move |arena: Arena| async move {
            let framework = Framework::quiet(&arena).await?;
            let body = json!({"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": uuid});
            framework.call("ACKNOWLEDGE", body).await?.expect(400).map(drop)
        };
        rows.push(row("1.6", "ACKNOWLEDGE", format!("a uuid of {given}"), "400", trial));
    }
    let stray = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let mut call = framework.call_of("KILL", json!({"task_id": {"value": "t"}}));
        call["acknowledge"] = json!({"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": "AAEC"});
        framework.send(&call, framework.stream.id()).await?.expect(202)?;
        framework.teardown().await
    };
    rows.push(row("1.6", "KILL", "a part of another call, which is wrong, beside its own", "202", stray));
    let empty = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let answer = framework.call("REVIVE", Value::Null).await?.expect(202)?;
        ensure!(answer.body.is_empty() && answer.header("content-type").is_none(), "{}", answer.shown());
        Ok(())
    };
    rows.push(row("1.6", "REVIVE", "a connected framework", "202 with no body and no Content-Type", empty));
    let mixed = |arena: Arena| async move {
        // A call of the operator's API is none of the scheduler's, and the other way round.
        let headers = [("Content-Type", "application/json")];
        for (path, kind) in [(SCHEDULER, "GET_HEALTH"), (OPERATOR, "ACCEPT")] {
            let body = format!(r#"{{"type":"{kind}"}}"#);
            let answer = exchange(arena.master(), "POST", path, &headers, body.as_bytes()).await?;
            ensure!(matches!(answer.status, 400 | 501), "{kind} at {path}: {}", answer.shown());
        }
        Ok(())
    };
    rows.push(row("1.2", "POST", "a call of the other API", "400 or 501", mixed).once());
    rows
}
