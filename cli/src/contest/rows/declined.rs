//! Reference 3.3, 3.5: DECLINE and its filters, REVIVE, SUPPRESS, rescinding.

use super::offers::gets_none;
use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, Next, amount};
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Declines all that is offered for a while, so that every agent is filtered for long.
async fn refuse_all(framework: &mut Framework) -> Result<()> {
    let offer = framework.offer().await?;
    framework.decline(&offer, 3600.0).await?;
    framework.listen(Duration::from_millis(1200)).await
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = filters();
    rows.extend(revived());
    rows.extend(given_back());
    rows.into_iter().map(Row::calm).collect()
}

/// Four filters, each for a role of its own on one agent, and the time after which each role is offered again.
async fn timed(arena: &Arena) -> Result<()> {
    let filters = [Value::Null, json!({}), json!({"refuse_seconds": -1.0}), json!({"refuse_seconds": 2.0})];
    let roles: Vec<String> = filters.iter().map(|_| arena.name("role")).collect();
    let mut framework = Framework::subscribe(arena, arena.info_with(json!({"roles": roles}))).await?;
    let first = framework.offer().await?;
    let agent = first["agent_id"].clone();
    let mut declined: Vec<(String, Instant)> = Vec::new();
    let mut offer = first;
    loop {
        let role = offer["allocation_info"]["role"].as_str().unwrap_or_default().to_owned();
        let number = roles.iter().position(|one| *one == role).context("a role of ours")?;
        let mut body = json!({"offer_ids": [offer["id"]]});
        if !filters[number].is_null() {
            body["filters"] = filters[number].clone();
        }
        framework.must("DECLINE", body).await?;
        declined.push((role, Instant::now()));
        if declined.len() == roles.len() {
            break;
        }
        offer = framework.offer_of(&agent).await?.0;
    }
    for _ in &roles {
        let (again, _) = framework.offer_of(&agent).await?;
        let role = again["allocation_info"]["role"].as_str().unwrap_or_default();
        let (_, at) = declined.iter().find(|(one, _)| one == role).context("a role of ours")?;
        let number = roles.iter().position(|one| one == role).unwrap_or_default();
        let least = Duration::from_millis(if number == 3 { 1900 } else { 4900 });
        let most = least + Duration::from_secs(3);
        ensure!(at.elapsed() >= least && at.elapsed() < most, "{}: after {:?}", filters[number], at.elapsed());
        framework.decline(&again, 3600.0).await?;
    }
    framework.teardown().await
}

fn filters() -> Vec<Row> {
    let mut rows = Vec::new();
    let filters = |arena: Arena| async move { timed(&arena).await };
    let given = "no filters; filters without refuse_seconds; refuse_seconds -1.0; refuse_seconds 2.0";
    rows.push(row("3.5", "DECLINE", given, "not offered for 5, 5, 5 and 2 s, then again", filters).alone().json());
    let zero = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        framework.decline(&offer, 0.0).await?;
        let (_, took) = framework.offer_of(&offer["agent_id"]).await?;
        ensure!(took < Duration::from_secs(10), "offered again after {took:?}");
        framework.teardown().await
    };
    rows.push(row("3.5", "DECLINE", "refuse_seconds 0.0", "offered again at the next allocation", zero));
    for (given, seconds) in [("3600.0", 3600.0), ("4294967295.0, beyond a year", 4_294_967_295.0), ("1e300", 1e300)] {
        let trial = move |arena: Arena| async move {
            let mut framework = Framework::start(&arena).await?;
            let offer = framework.offer().await?;
            framework.decline(&offer, seconds).await?;
            // What cannot be converted means the default of 5 s, which is longer than we look.
            ensure!(!framework.is_offered(&offer).await?, "the agent is offered again");
            framework.teardown().await
        };
        rows.push(row("3.5", "DECLINE", format!("refuse_seconds {given}"), "the agent is not offered again", trial));
    }
    let other = |arena: Arena| async move {
        let mut one = Framework::start(&arena).await?;
        refuse_all(&mut one).await?;
        let mut two = Framework::start(&arena).await?;
        two.offer().await?;
        one.teardown().await?;
        two.teardown().await
    };
    rows.push(row("3.5", "DECLINE", "by another framework", "a filter is its framework's own", other).alone());
    let role = |arena: Arena| async move {
        let roles = [arena.name("role"), arena.name("role")];
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": roles}))).await?;
        let first = framework.offer().await?;
        framework.decline(&first, 3600.0).await?;
        // The other role is not filtered, on the same agent either.
        let (other, _) = framework.offer_of(&first["agent_id"]).await?;
        ensure!(other["allocation_info"]["role"] != first["allocation_info"]["role"], "{other}");
        framework.teardown().await
    };
    rows.push(row("3.5", "DECLINE", "an offer for one of two roles", "the other role is still offered", role));
    rows
}

fn revived() -> Vec<Row> {
    let revive = |roles: bool| {
        move |arena: Arena| async move {
            let mut framework = Framework::start(&arena).await?;
            refuse_all(&mut framework).await?;
            let body = if roles { json!({"roles": ["*"]}) } else { Value::Null };
            framework.must("REVIVE", body).await?;
            framework.wanted = 1;
            framework.until("an offer", |framework| framework.offers.first().map(drop)).await?;
            framework.teardown().await
        }
    };
    let stays = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        refuse_all(&mut framework).await?;
        framework.must("REVIVE", json!({"roles": ["*", "other"]})).await?;
        gets_none(&mut framework).await?;
        framework.teardown().await
    };
    let suppress = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        framework.must("SUPPRESS", Value::Null).await?;
        framework.decline(&offer, 0.0).await?;
        // What was offered before the call may still be on its way.
        framework.listen(Duration::from_millis(300)).await?;
        gets_none(&mut framework).await?;
        framework.teardown().await
    };
    let held = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        framework.must("SUPPRESS", Value::Null).await?;
        framework.listen(Duration::from_millis(300)).await?;
        ensure!(framework.others.iter().all(|event| event["type"] != "RESCIND"), "it was rescinded");
        let (id, task) = framework.task(&offer, "true");
        framework.launch(&offer, vec![task]).await?;
        let status = framework.first_status(&id).await?;
        ensure!(status["reason"] != "REASON_INVALID_OFFERS", "{status}");
        framework.teardown().await
    };
    let unsuppress = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        framework.must("REVIVE", Value::Null).await?;
        framework.offer().await?;
        framework.teardown().await
    };
    let one_role = |arena: Arena| async move {
        let (quiet, loud) = (arena.name("quiet"), arena.name("loud"));
        let mut framework = Framework::quiet_with(&arena, json!({"roles": [quiet, loud]})).await?;
        framework.must("REVIVE", json!({"roles": [loud]})).await?;
        let offer = framework.offer().await?;
        ensure!(offer["allocation_info"]["role"] == loud.as_str(), "{offer}");
        framework.teardown().await
    };
    vec![
        row("3.3", "REVIVE", "every agent was declined", "offers again", revive(false)),
        row("3.3", "REVIVE", "every agent was declined, roles are named", "offers again", revive(true)),
        // An agent that others hold meanwhile would be offered for the first time.
        row("3.3", "REVIVE", "one of its roles and one that it does not have", "the whole call is dropped", stays)
            .alone(),
        row("3.3", "SUPPRESS", "all roles", "no more offers", suppress),
        row("3.3", "SUPPRESS", "an offer is out", "it stays good", held),
        row("3.3", "REVIVE", "all roles are suppressed", "offers", unsuppress),
        row("3.3", "REVIVE", "one of two suppressed roles", "offers for that role only", one_role),
    ]
}

fn given_back() -> Vec<Row> {
    let passed_on = |arena: Arena| async move {
        let mut one = Framework::start(&arena).await?;
        let offer = one.offer().await?;
        one.must("SUPPRESS", Value::Null).await?;
        one.decline(&offer, 3600.0).await?;
        let mut two = Framework::start(&arena).await?;
        two.offer_of(&offer["agent_id"]).await?;
        one.teardown().await?;
        two.teardown().await
    };
    let twice = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        framework.decline(&offer, 3600.0).await?;
        framework.decline(&offer, 0.0).await?;
        let same = framework.is_offered(&offer).await?;
        ensure!(!same, "the second DECLINE took the filter away");
        framework.teardown().await
    };
    let foreign = |arena: Arena| async move {
        let (mut one, two) = (Framework::start(&arena).await?, Framework::quiet(&arena).await?);
        let offer = one.offer().await?;
        two.decline(&offer, 0.0).await?;
        let (id, task) = one.task(&offer, "true");
        one.launch(&offer, vec![task]).await?;
        let status = one.first_status(&id).await?;
        ensure!(status["reason"] != "REASON_INVALID_OFFERS", "{status}");
        one.teardown().await
    };
    let accepted = |operations: fn() -> Value| {
        move |arena: Arena| async move {
            let mut framework = Framework::start(&arena).await?;
            let offer = framework.offer().await?;
            let filters = json!({"refuse_seconds": 3600.0});
            let body = json!({"offer_ids": [offer["id"]], "operations": operations(), "filters": filters});
            framework.must("ACCEPT", body).await?;
            let same = framework.is_offered(&offer).await?;
            ensure!(!same, "the agent is offered again");
            framework.teardown().await
        }
    };
    let weights = |arena: Arena| async move {
        let role = arena.name("weighed");
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": [role]}))).await?;
        let offer = framework.offer().await?;
        let infos = json!([{"role": role, "weight": 3.0}]);
        arena.order(&json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}})).await?;
        let begin = Instant::now();
        while begin.elapsed() < crate::contest::framework::SOON {
            match framework.stream.next(Duration::from_secs(1)).await? {
                Next::Event(event) if event["type"] == "RESCIND" => {
                    ensure!(event["rescind"]["offer_id"] == offer["id"], "{event}");
                    return framework.teardown().await;
                }
                Next::Ended => bail!("the stream ended"),
                _ => {}
            }
        }
        bail!("no RESCIND")
    };
    let remainder = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "sleep 600");
        framework.accept(&[&offer], vec![json!({"type": "LAUNCH", "launch": {"task_infos": [task]}})]).await?;
        framework.status(&id, "TASK_RUNNING").await?;
        framework.must("SUPPRESS", Value::Null).await?;
        let mut two = Framework::start(&arena).await?;
        let (rest, _) = two.offer_of(&offer["agent_id"]).await?;
        let agents = arena.read("GET_AGENTS").await?;
        let mine = items(&agents["agents"]).iter().find(|agent| agent["agent_info"]["id"] == offer["agent_id"]);
        let total = mine.context("the agent")?["total_resources"].clone();
        let total = amount(&json!({ "resources": total }), "cpus");
        ensure!(amount(&rest, "cpus") <= total - 0.1 + 1e-6, "{rest}");
        framework.teardown().await?;
        two.teardown().await
    };
    vec![
        row("3.3", "DECLINE", "an offer", "its resources are offered to others", passed_on),
        row("3.3", "DECLINE", "the same offer twice", "the second time nothing happens", twice),
        row("3.3", "DECLINE", "another framework's offer", "nothing happens to it", foreign),
        row("4", "ACCEPT", "no operations", "an implicit DECLINE with its filters", accepted(|| json!([]))),
        row(
            "4",
            "ACCEPT",
            "a LAUNCH of no tasks",
            "an implicit DECLINE with its filters",
            accepted(|| json!([{"type": "LAUNCH", "launch": {}}])),
        ),
        row("4", "ACCEPT", "a task that needs a part of the offer", "the rest is offered to others", remainder),
        row("7.1", "UPDATE_WEIGHTS", "an offer for that role is out", "RESCIND of the offer", weights).alone(),
    ]
}
