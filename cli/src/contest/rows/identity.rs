//! Reference 3.1, 1.6: ids, failover, disconnection, removal.

use super::subscribe::turned_away;
use crate::contest::arena::{Arena, items, plain_completed};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const STAYS: f64 = 60.0;

async fn lasting(arena: &Arena) -> Result<Framework> {
    Framework::quiet_with(arena, json!({"failover_timeout": STAYS})).await
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = ids();
    rows.extend(failover());
    rows.extend(changes());
    rows.extend(gone());
    rows
}

fn ids() -> Vec<Row> {
    let outer = |arena: Arena| async move {
        let mut call = Framework::subscribe_call(&arena.info());
        call["framework_id"] = json!({"value": arena.name("id")});
        arena.scheduler(&call).await?.expect(400).map(drop)
    };
    let inner = |arena: Arena| async move {
        let call = Framework::subscribe_call(&arena.info_with(json!({"id": {"value": arena.name("id")}})));
        arena.scheduler(&call).await?.expect(400).map(drop)
    };
    let different = |arena: Arena| async move {
        let mut call = Framework::subscribe_call(&arena.info_with(json!({"id": {"value": arena.name("id")}})));
        call["framework_id"] = json!({"value": arena.name("id")});
        arena.scheduler(&call).await?.expect(400).map(drop)
    };
    let chosen = |arena: Arena| async move {
        let id = arena.name("chosen");
        let info = arena.info_with(json!({"id": {"value": id}}));
        let mut call = Framework::subscribe_call(&info);
        call["framework_id"] = json!({"value": id});
        let framework = Framework::by_call(&arena, info, call).await?;
        ensure!(framework.id == id, "{} in place of {id}", framework.id);
        framework.teardown().await
    };
    vec![
        row("3.1", "SUBSCRIBE", "framework_id without framework_info.id", "400", outer),
        row("3.1", "SUBSCRIBE", "framework_info.id without framework_id", "400", inner),
        row("3.1", "SUBSCRIBE", "two ids that differ", "400", different),
        row("3.1", "SUBSCRIBE", "an id that the master does not know", "SUBSCRIBED under that id", chosen),
    ]
}

fn failover() -> Vec<Row> {
    let newest = |arena: Arena| async move {
        let mut framework = lasting(&arena).await?;
        let mut before = framework.come_back().await?;
        let events = before.until_end().await?;
        let last = events.last().map_or(&Value::Null, |event| event);
        ensure!(last["type"] == "ERROR" && last["error"]["message"] == "Framework failed over", "{events:?}");
        framework.must("SUPPRESS", Value::Null).await?;
        framework.teardown().await
    };
    let fresh = |arena: Arena| async move {
        let mut framework = lasting(&arena).await?;
        let before = framework.come_back().await?;
        ensure!(before.id() != framework.stream.id(), "the stream id is the same");
        let second = framework.stream.event().await?;
        ensure!(second["type"] == "HEARTBEAT", "the second event is {second}");
        framework.teardown().await
    };
    let silent = |arena: Arena| async move {
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"failover_timeout": STAYS}))).await?;
        let offer = framework.offer().await?;
        let mut before = framework.come_back().await?;
        let events = before.until_end().await?;
        ensure!(events.iter().all(|event| event["type"] != "RESCIND"), "{events:?}");
        // The offer is void, wherever it is accepted.
        let (id, task) = framework.task(&offer, "true");
        framework.launch(&offer, vec![task]).await?;
        let status = framework.first_status(&id).await?;
        ensure!(status["reason"] == "REASON_INVALID_OFFERS", "{status}");
        framework.teardown().await
    };
    let reoffered = |arena: Arena| async move {
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"failover_timeout": STAYS}))).await?;
        framework.offer().await?;
        framework.come_back().await?;
        framework.offer().await?;
        framework.teardown().await
    };
    let counted = |arena: Arena| async move {
        let mut framework = lasting(&arena).await?;
        framework.come_back().await?;
        let shown = arena
            .eventually("a time of return", || async {
                let shown = arena.shown_framework(&framework.id, "frameworks").await?;
                Ok(shown.filter(|shown| shown["reregistered_time"]["nanoseconds"].is_number()))
            })
            .await?;
        ensure!(shown["connected"] == true && shown["active"] == true, "{shown}");
        framework.teardown().await
    };
    let broken = |arena: Arena| async move {
        let mut framework = lasting(&arena).await?;
        let (call, id) = (framework.call_of("REVIVE", Value::Null), framework.stream.id().map(str::to_owned));
        framework.come_back().await?;
        let (framework_id, again) = disconnected(&arena, framework).await?;
        let mut headers = vec![("Content-Type", arena.media.name())];
        headers.extend(id.as_deref().map(|id| ("Mesos-Stream-Id", id)));
        let body = arena.media.write(crate::contest::arena::SCHEDULER_CALL, &call)?;
        let path = crate::contest::arena::SCHEDULER;
        crate::contest::wire::exchange(arena.master(), "POST", path, &headers, &body).await?.expect(403)?;
        // And it may come back.
        let info = again["subscribe"]["framework_info"].clone();
        let framework = Framework::by_call(&arena, info, again).await?;
        ensure!(framework.id == framework_id, "{} in place of {framework_id}", framework.id);
        framework.teardown().await
    };
    vec![
        row(
            "3.1",
            "SUBSCRIBE",
            "the id of a connected framework",
            "the newest wins; the old stream: ERROR 'Framework failed over', end",
            newest,
        ),
        row(
            "3.1",
            "SUBSCRIBE",
            "the id of a connected framework",
            "a new Mesos-Stream-Id, SUBSCRIBED, HEARTBEAT",
            fresh,
        ),
        row("3.1", "SUBSCRIBE", "a failover while an offer is out", "no RESCIND, and the offer is void", silent),
        row("3.1", "SUBSCRIBE", "a failover while an offer is out", "its resources are offered again", reoffered),
        row("3.1", "SUBSCRIBE", "a failover", "GET_FRAMEWORKS shows when it came back", counted),
        row(
            "1.6",
            "REVIVE",
            "the stream broke, the failover timeout has not passed",
            "403, until it comes back",
            broken,
        ),
    ]
}

/// Hangs up, and waits until the master has seen it; the id, and the call to come back with.
async fn disconnected(arena: &Arena, framework: Framework) -> Result<(String, Value)> {
    let (id, call) = (framework.id.clone(), framework.return_call());
    drop(framework);
    arena
        .eventually("the end of the stream to be seen", || async {
            let shown = arena.shown_framework(&id, "frameworks").await?;
            Ok(shown.filter(|shown| shown["connected"] == false && shown["active"] == false).map(drop))
        })
        .await?;
    Ok((id, call))
}

fn changes() -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, before, after) in [
        ("name", json!("before"), json!("after")),
        ("hostname", json!("before"), json!("after")),
        ("webui_url", json!("http://before/"), json!("http://after/")),
        ("failover_timeout", json!(60.0), json!(61.5)),
        (
            "labels",
            json!({"labels": [{"key": "k", "value": "before"}]}),
            json!({"labels": [{"key": "k", "value": "after"}]}),
        ),
        ("roles", json!(["before"]), json!(["after", "more"])),
        ("capabilities", json!([{"type": "MULTI_ROLE"}]), json!([{"type": "GPU_RESOURCES"}, {"type": "MULTI_ROLE"}])),
    ] {
        let trial = move |arena: Arena| {
            let (before, after) = (before.clone(), after.clone());
            async move {
                let mut framework =
                    Framework::quiet_with(&arena, json!({"failover_timeout": STAYS, key: before})).await?;
                framework.info[key] = after.clone();
                framework.come_back().await?;
                let changed = || async {
                    let shown = arena.shown_framework(&framework.id, "frameworks").await?;
                    Ok(shown.filter(|shown| shown["framework_info"][key] == after).map(drop))
                };
                arena.eventually("the change", changed).await?;
                framework.teardown().await
            }
        };
        rows.push(row("3.1", "SUBSCRIBE", format!("a failover with another {key}"), "it is taken", trial));
    }
    for (key, before, after) in
        [("user", json!(null), json!("somebody-else")), ("checkpoint", json!(false), json!(true))]
    {
        let trial = move |arena: Arena| {
            let (before, after) = (before.clone(), after.clone());
            async move {
                let before = if before.is_null() { json!(arena.user()) } else { before };
                let mut framework =
                    Framework::quiet_with(&arena, json!({"failover_timeout": STAYS, key: before, "name": "one"}))
                        .await?;
                framework.info[key] = after;
                framework.info["name"] = json!("two");
                framework.come_back().await?;
                let renamed = || async {
                    let shown = arena.shown_framework(&framework.id, "frameworks").await?;
                    Ok(shown.filter(|shown| shown["framework_info"]["name"] == "two"))
                };
                let shown = arena.eventually("the change of the name", renamed).await?;
                let kept = shown["framework_info"].get(key).cloned().unwrap_or(json!(false));
                ensure!(kept == before, "{key} became {kept}");
                framework.teardown().await
            }
        };
        rows.push(row("3.1", "SUBSCRIBE", format!("a failover with another {key}"), "the old value is kept", trial));
    }
    let principal = |arena: Arena| async move {
        let words = json!({"failover_timeout": STAYS, "principal": "one"});
        let mut framework = Framework::quiet_with(&arena, words).await?;
        framework.info["principal"] = json!("two");
        turned_away(&arena, &framework.return_call()).await?;
        framework.must("SUPPRESS", Value::Null).await?;
        framework.teardown().await
    };
    rows.push(row(
        "3.1",
        "SUBSCRIBE",
        "a failover with another principal",
        "ERROR, and the old stream stays",
        principal,
    ));
    let invalid = |arena: Arena| async move {
        let mut framework = lasting(&arena).await?;
        framework.info["roles"] = json!(["a//b"]);
        turned_away(&arena, &framework.return_call()).await?;
        framework.must("SUPPRESS", Value::Null).await?;
        framework.teardown().await
    };
    rows.push(row("3.1", "SUBSCRIBE", "a failover with an invalid role", "ERROR, and the old stream stays", invalid));
    rows
}

fn gone() -> Vec<Row> {
    let unknown = |arena: Arena| async move {
        let call = json!({"type": "REVIVE", "framework_id": {"value": arena.name("unknown")}});
        arena.scheduler(&call).await?.expect(400).map(drop)
    };
    let anonymous = |arena: Arena| async move {
        arena.scheduler(&json!({"type": "REVIVE"})).await?.expect(400)?;
        arena.scheduler(&json!({"type": "REVIVE", "framework_id": {"value": ""}})).await?.expect(400).map(drop)
    };
    let removed = |arena: Arena| async move {
        let framework = lasting(&arena).await?;
        let again = framework.return_call();
        framework.teardown().await?;
        let message = turned_away(&arena, &again).await?;
        ensure!(message == "Framework has been removed", "{message}");
        Ok(())
    };
    let after = |arena: Arena| async move {
        let framework = lasting(&arena).await?;
        let (call, id) = (framework.call_of("REVIVE", Value::Null), framework.stream.id().map(str::to_owned));
        framework.teardown().await?;
        let gone = || async {
            let body = arena.media.write(crate::contest::arena::SCHEDULER_CALL, &call)?;
            let mut headers = vec![("Content-Type", arena.media.name())];
            headers.extend(id.as_deref().map(|id| ("Mesos-Stream-Id", id)));
            let path = crate::contest::arena::SCHEDULER;
            let answer = crate::contest::wire::exchange(arena.master(), "POST", path, &headers, &body).await?;
            Ok((answer.status == 400).then_some(()))
        };
        arena.eventually("400", gone).await
    };
    let at_once = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let again = framework.return_call();
        let id = framework.id.clone();
        drop(framework);
        arena.eventually("the removal", || plain_completed(&arena, &id)).await?;
        let message = turned_away(&arena, &again).await?;
        ensure!(message == "Framework has been removed", "{message}");
        Ok(())
    };
    let in_time = |arena: Arena| async move {
        let framework = Framework::quiet_with(&arena, json!({"failover_timeout": 2.0})).await?;
        let id = framework.id.clone();
        let begin = Instant::now();
        let _ = disconnected(&arena, framework).await?;
        arena.eventually("the removal", || plain_completed(&arena, &id)).await?;
        let took = begin.elapsed();
        ensure!(took > Duration::from_millis(1900), "removed after {took:?}");
        Ok(())
    };
    let back_in_time = |arena: Arena| async move {
        let framework = Framework::quiet_with(&arena, json!({"failover_timeout": 2.0})).await?;
        let (_, call) = disconnected(&arena, framework).await?;
        let info = call["subscribe"]["framework_info"].clone();
        let mut framework = Framework::by_call(&arena, info, call).await?;
        // The timer of the broken stream must not end the new one.
        framework.listen(Duration::from_millis(3000)).await?;
        framework.must("SUPPRESS", Value::Null).await?;
        framework.teardown().await
    };
    let offers = |arena: Arena| async move {
        let mut one = Framework::subscribe(&arena, arena.info_with(json!({"failover_timeout": STAYS}))).await?;
        one.offer().await?;
        let (id, _) = disconnected(&arena, one).await?;
        let without = || async {
            let shown = arena.shown_framework(&id, "frameworks").await?;
            Ok(shown.filter(|shown| items(&shown["offers"]).is_empty()).map(drop))
        };
        arena.eventually("no offers", without).await?;
        arena.order(&json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}})).await
    };
    vec![
        row("1.6", "REVIVE", "a framework id that nobody has", "400", unknown),
        row("1.2", "REVIVE", "no framework id, or an empty one", "400", anonymous),
        row(
            "3.1",
            "SUBSCRIBE",
            "the id of a framework that was torn down",
            "ERROR 'Framework has been removed'",
            removed,
        ),
        row("1.6", "REVIVE", "a framework that was torn down", "400", after),
        row("3.1", "the stream breaks", "no failover timeout", "removed at once, completed", at_once),
        row("3.1", "the stream breaks", "a failover timeout of 2 s", "removed after 2 s, not before", in_time),
        row(
            "3.1",
            "SUBSCRIBE",
            "within the failover timeout",
            "the framework stays, also after the timeout",
            back_in_time,
        ),
        row("3.1", "the stream breaks", "an offer is out", "the offer is taken back", offers),
    ]
}
