//! Reference 3.1, 3.2, 3.6, 11.1: what a framework may say of itself.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// SUBSCRIBE that must end with ERROR as the only event of its stream; the message.
pub(super) async fn turned_away(arena: &Arena, call: &Value) -> Result<String> {
    let mut stream = match Framework::open(arena, call).await? {
        Ok(stream) => stream,
        Err(answer) => bail!("expected a stream with an ERROR, the answer was {}", answer.shown()),
    };
    let events = stream.until_end().await?;
    match events.as_slice() {
        [event] if event["type"] == "ERROR" => {
            let message = event["error"]["message"].as_str().context("a message")?;
            ensure!(!message.is_empty(), "an ERROR without a reason");
            Ok(message.to_owned())
        }
        other => bail!("expected one ERROR, got {other:?}"),
    }
}

/// SUBSCRIBE that must be taken.
async fn taken(arena: &Arena, call: &Value) -> Result<()> {
    let mut stream = match Framework::open(arena, call).await? {
        Ok(stream) => stream,
        Err(answer) => bail!("refused: {}", answer.shown()),
    };
    let first = stream.event().await?;
    ensure!(first["type"] == "SUBSCRIBED", "{first}");
    Ok(())
}

const NO_MULTI_ROLE: &str = r#"{"capabilities": [], "roles": null}"#;

/// What breaks a rule of FrameworkInfo: what is given, changes to the words, and further parts of `subscribe`.
fn refused() -> Vec<(&'static str, &'static str, Value, Value)> {
    let many = |role: &str| json!({"roles": [role]});
    let constraint = |inner: Value| json!({"offer_constraints": {"role_constraints": {"*": inner}}});
    let regex = |regex: String| {
        let text = json!({"selector": {"attribute_name": "a"}, "predicate": {"text_matches": {"regex": regex}}});
        json!({"groups": [{"attribute_constraints": [text]}]})
    };
    let filter = |role: &str, cpus: f64| {
        json!({"offer_filters": {role: {"min_allocatable_resources": {"quantities":
            [{"quantities": {"cpus": {"value": cpus}}}]}}}})
    };
    vec![
        ("3.1", "role with MULTI_ROLE", json!({"role": "a", "roles": null}), json!({})),
        ("3.1", "role and roles with MULTI_ROLE", json!({"role": "a"}), json!({})),
        ("3.1", "roles without MULTI_ROLE", json!({"capabilities": []}), json!({})),
        ("3.1", "a role twice", json!({"roles": ["a", "b", "a"]}), json!({})),
        ("11.1", "role with a leading slash", many("/a"), json!({})),
        ("11.1", "role with a slash at its end", many("a/"), json!({})),
        ("11.1", "role with two slashes together", many("a//b"), json!({})),
        ("11.1", "role .", many("."), json!({})),
        ("11.1", "role ..", many(".."), json!({})),
        ("11.1", "role with a component .", many("a/./b"), json!({})),
        ("11.1", "role with a component ..", many("a/.."), json!({})),
        ("11.1", "role with a component *", many("a/*"), json!({})),
        ("11.1", "role that begins with -", many("-a"), json!({})),
        ("11.1", "role with a component that begins with -", many("a/-b"), json!({})),
        ("11.1", "role with a space", many("a b"), json!({})),
        ("11.1", "role with a tab", many("a\tb"), json!({})),
        ("11.1", "role with a line end", many("a\nb"), json!({})),
        ("11.1", "role with a backspace", many("a\u{8}"), json!({})),
        ("11.1", "role with a DEL", many("a\u{7f}"), json!({})),
        ("11.1", "an empty role", many(""), json!({})),
        ("3.1", "failover_timeout before every duration", json!({"failover_timeout": -1e10}), json!({})),
        ("3.1", "failover_timeout beyond every duration", json!({"failover_timeout": 1e10}), json!({})),
        ("3.1", "an offer filter with a negative quantity", filter("*", -1.0), json!({})),
        (
            "3.1",
            "an offer filter with an empty set",
            json!({"offer_filters": {"*": {"min_allocatable_resources":
            {"quantities": [{}]}}}}),
            json!({}),
        ),
        ("3.1", "suppressed_roles beyond roles", json!({}), json!({"suppressed_roles": ["other"]})),
        (
            "3.6",
            "offer constraints for a role beyond roles",
            json!({}),
            json!({"offer_constraints": {"role_constraints": {"other": {"groups": [{"attribute_constraints":
                [{"selector": {"attribute_name": "a"}, "predicate": {"exists": {}}}]}]}}}}),
        ),
        ("3.6", "offer constraints without a group", json!({}), constraint(json!({}))),
        ("3.6", "offer constraints with an empty group", json!({}), constraint(json!({"groups": [{}]}))),
        ("3.6", "a regular expression that is none", json!({}), constraint(regex("(".to_owned()))),
        (
            "3.6",
            "a regular expression too large to compile",
            json!({}),
            constraint(regex("(a{1,500}){1,500}".to_owned())),
        ),
        (
            "3.6",
            "an offer constraint without a predicate",
            json!({}),
            constraint(json!({"groups": [{"attribute_constraints":
                [{"selector": {"attribute_name": "a"}, "predicate": {}}]}]})),
        ),
        (
            "3.6",
            "an offer constraint without a selector",
            json!({}),
            constraint(json!({"groups": [{"attribute_constraints":
                [{"selector": {}, "predicate": {"exists": {}}}]}]})),
        ),
    ]
}

/// What breaks none.
fn taken_words() -> Vec<(&'static str, &'static str, Value, Value)> {
    let kinds = [
        "REVOCABLE_RESOURCES",
        "TASK_KILLING_STATE",
        "GPU_RESOURCES",
        "SHARED_RESOURCES",
        "PARTITION_AWARE",
        "MULTI_ROLE",
        "RESERVATION_REFINEMENT",
        "REGION_AWARE",
    ]
    .map(|kind| json!({"type": kind}));
    let constraint = |selector: Value, predicate: Value| {
        json!({"offer_constraints": {"role_constraints": {"*": {"groups": [{"attribute_constraints":
            [{"selector": selector, "predicate": predicate}]}]}}}})
    };
    let named = || json!({"attribute_name": "a"});
    vec![
        ("3.1", "failover_timeout -1.0", json!({"failover_timeout": -1.0}), json!({})),
        ("3.2", "every capability there is", json!({"capabilities": kinds}), json!({})),
        ("3.1", "no roles with MULTI_ROLE", json!({"roles": null}), json!({})),
        ("3.1", "a role without MULTI_ROLE", json!({"capabilities": null, "roles": null, "role": "a"}), json!({})),
        (
            "3.1",
            "neither role nor roles without MULTI_ROLE",
            serde_json::from_str(NO_MULTI_ROLE).unwrap_or_default(),
            json!({}),
        ),
        ("11.1", "a role three deep", json!({"roles": ["a/b/c"]}), json!({})),
        ("11.1", "a role with dots and dashes inside", json!({"roles": ["a.b-c..d"]}), json!({})),
        ("11.1", "a role and its parent", json!({"roles": ["a", "a/b"]}), json!({})),
        ("3.1", "a principal, where nobody authenticates", json!({"principal": "somebody"}), json!({})),
        ("3.1", "an empty id", json!({"id": {"value": ""}}), json!({})),
        ("3.1", "suppressed_roles among roles", json!({"roles": ["a", "b"]}), json!({"suppressed_roles": ["b"]})),
        (
            "3.5",
            "an offer filter without a set",
            json!({"offer_filters": {"*": {"min_allocatable_resources": {}}}}),
            json!({}),
        ),
        ("3.6", "a constraint that an attribute exists", json!({}), constraint(named(), json!({"exists": {}}))),
        (
            "3.6",
            "a constraint that an attribute does not exist",
            json!({}),
            constraint(named(), json!({"not_exists": {}})),
        ),
        (
            "3.6",
            "a constraint on the hostname",
            json!({}),
            constraint(json!({"pseudoattribute_type": "HOSTNAME"}), json!({"text_equals": {"value": "h"}})),
        ),
        (
            "3.6",
            "a constraint on the region",
            json!({}),
            constraint(json!({"pseudoattribute_type": "REGION"}), json!({"text_not_equals": {"value": "r"}})),
        ),
        (
            "3.6",
            "a constraint by regular expression",
            json!({}),
            constraint(named(), json!({"text_matches": {"regex": "a.*b|[0-9]+"}})),
        ),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let call_of = |arena: &Arena, changes: &Value, more: &Value| {
        let mut call = Framework::subscribe_call(&arena.info_with(changes.clone()));
        crate::contest::arena::merge(&mut call["subscribe"], more);
        call
    };
    for (source, given, changes, more) in refused() {
        let trial = move |arena: Arena| {
            let call = call_of(&arena, &changes, &more);
            async move { turned_away(&arena, &call).await.map(drop) }
        };
        rows.push(row(source, "SUBSCRIBE", given, "200, ERROR as the only event, the stream ends", trial));
    }
    for (source, given, changes, more) in taken_words() {
        let trial = move |arena: Arena| {
            let call = call_of(&arena, &changes, &more);
            async move { taken(&arena, &call).await }
        };
        rows.push(row(source, "SUBSCRIBE", given, "SUBSCRIBED", trial));
    }
    for (given, id) in [
        ("a slash", "a/b"),
        ("a backslash", "a\\b"),
        ("two dots", ".."),
        ("a control character", "a\u{1}"),
        ("256 bytes", ""),
    ] {
        let trial = move |arena: Arena| async move {
            let id = if id.is_empty() { "x".repeat(256) } else { id.to_owned() };
            let mut call = Framework::subscribe_call(&arena.info_with(json!({"id": {"value": id}})));
            call["framework_id"] = json!({"value": id});
            turned_away(&arena, &call).await.map(drop)
        };
        rows.push(row("3.1", "SUBSCRIBE", format!("a framework id with {given}"), "ERROR", trial));
    }
    rows.extend(shown());
    rows
}

fn shown() -> Vec<Row> {
    let required = |arena: Arena| async move {
        for missing in [r#"{"name":"n"}"#, r#"{"user":"u"}"#] {
            let body = format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{missing}}}}}"#);
            let headers = [("Content-Type", "application/json")];
            let path = crate::contest::arena::SCHEDULER;
            let master = arena.master();
            crate::contest::wire::exchange(master, "POST", path, &headers, body.as_bytes()).await?.expect(400)?;
        }
        Ok(())
    };
    let part =
        |arena: Arena| async move { arena.scheduler(&json!({"type": "SUBSCRIBE"})).await?.expect(400).map(drop) };
    let words = |arena: Arena| async move {
        let words = json!({"failover_timeout": 7.5, "checkpoint": true, "hostname": "a.host", "webui_url": "http://ui/",
            "principal": "somebody", "labels": {"labels": [{"key": "k", "value": "v"}, {"key": "only"}]},
            "roles": ["r1", "r2/inner"]});
        let framework = Framework::quiet_with(&arena, words.clone()).await?;
        let shown = arena.eventually("the framework", || arena.shown_framework(&framework.id, "frameworks")).await?;
        for (key, value) in words.as_object().into_iter().flatten() {
            ensure!(&shown["framework_info"][key] == value, "{key}: {shown}");
        }
        ensure!(shown["active"] == true && shown["connected"] == true && shown["recovered"] == false, "{shown}");
        ensure!(shown["registered_time"]["nanoseconds"].is_number(), "{shown}");
        ensure!(items(&shown["framework_info"]["capabilities"]).len() == 2, "{shown}");
        framework.teardown().await
    };
    let twice = |arena: Arena| async move {
        let info = arena.info();
        let call = Framework::subscribe_call(&info);
        let one = Framework::by_call(&arena, info.clone(), call.clone()).await?;
        let two = Framework::by_call(&arena, info, call).await?;
        ensure!(one.id != two.id, "one framework for two subscriptions");
        one.teardown().await?;
        two.teardown().await
    };
    let minted = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let (master, number) = framework.id.rsplit_once('-').context("an id of two parts")?;
        ensure!(master.len() == 36, "the id does not begin with a UUID: {}", framework.id);
        ensure!(number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit()), "{}", framework.id);
        let later = Framework::quiet(&arena).await?;
        let count = |id: &str| id.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
        ensure!(count(&later.id) > count(&framework.id), "{} came after {}", later.id, framework.id);
        Ok(())
    };
    vec![
        row("1.2", "SUBSCRIBE", "no user or no name", "400", required).once(),
        row("1.2", "SUBSCRIBE", "no part of its own", "400", part),
        row("3.1", "SUBSCRIBE", "all words of a framework", "GET_FRAMEWORKS shows them, active and connected", words),
        row("3.1", "SUBSCRIBE", "twice without an id", "two frameworks", twice),
        row(
            "3.1",
            "SUBSCRIBE",
            "no id",
            "the master's UUID, a dash, a number of four digits or more that counts up",
            minted,
        ),
    ]
}
