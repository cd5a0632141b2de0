//! Reference 3.3: ACCEPT with offers that are not good: every task in it gets INVALID_OFFERS.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// What a task must be told whose ACCEPT named bad offers.
fn judged(status: &Value, state: &str) -> Result<()> {
    ensure!(status["state"] == state, "{status}");
    ensure!(status["reason"] == "REASON_INVALID_OFFERS" && status["source"] == "SOURCE_MASTER", "{status}");
    ensure!(status.get("uuid").is_none(), "the master's own status asks to be acknowledged: {status}");
    ensure!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "no reason is given: {status}");
    Ok(())
}

/// A task that needs no offer to be written.
fn loose(framework: &Framework, agent: &Value) -> (String, Value) {
    framework.task(&json!({"agent_id": agent}), "true")
}

async fn accepted(framework: &mut Framework, offers: Vec<Value>, agent: &Value, state: &str) -> Result<()> {
    let (id, task) = loose(framework, agent);
    let launch = json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}]);
    framework.must("ACCEPT", json!({"offer_ids": offers, "operations": launch})).await?;
    let status = framework.first_status(&id).await?;
    judged(&status, state)
}

pub(super) fn rows() -> Vec<Row> {
    let none = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        accepted(&mut framework, Vec::new(), &json!({"value": "a"}), "TASK_DROPPED").await?;
        framework.teardown().await
    };
    let unknown = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let offers = vec![json!({"value": "no-such-offer"})];
        accepted(&mut framework, offers, &json!({"value": "a"}), "TASK_DROPPED").await?;
        framework.teardown().await
    };
    let old = |arena: Arena| async move {
        let mut framework = Framework::quiet_with(&arena, json!({"capabilities": [{"type": "MULTI_ROLE"}]})).await?;
        let offers = vec![json!({"value": "no-such-offer"})];
        accepted(&mut framework, offers, &json!({"value": "a"}), "TASK_LOST").await?;
        framework.teardown().await
    };
    let many = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let tasks: Vec<(String, Value)> = (0..3).map(|_| loose(&framework, &json!({"value": "a"}))).collect();
        let (one, rest) = tasks.split_at(1);
        let launch = |some: &[(String, Value)]| {
            let infos: Vec<&Value> = some.iter().map(|(_, task)| task).collect();
            json!({"type": "LAUNCH", "launch": {"task_infos": infos}})
        };
        let body = json!({"offer_ids": [{"value": "no-such-offer"}], "operations": [launch(one), launch(rest)]});
        framework.must("ACCEPT", body).await?;
        for (id, _) in &tasks {
            judged(&framework.first_status(id).await?, "TASK_DROPPED")?;
        }
        framework.teardown().await
    };
    let again = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        framework.decline(&offer, 3600.0).await?;
        accepted(&mut framework, vec![offer["id"].clone()], &offer["agent_id"], "TASK_DROPPED").await?;
        framework.teardown().await
    };
    let used = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (offer, id) = framework.launch_one("true").await?;
        accepted(&mut framework, vec![offer["id"].clone()], &offer["agent_id"], "TASK_DROPPED").await?;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    let foreign = |arena: Arena| async move {
        let (mut one, mut two) = (Framework::start(&arena).await?, Framework::quiet(&arena).await?);
        let offer = one.offer().await?;
        accepted(&mut two, vec![offer["id"].clone()], &offer["agent_id"], "TASK_DROPPED").await?;
        // And it is still its owner's.
        let (id, task) = one.task(&offer, "true");
        one.launch(&offer, vec![task]).await?;
        let status = one.first_status(&id).await?;
        ensure!(status["reason"] != "REASON_INVALID_OFFERS", "{status}");
        one.teardown().await?;
        two.teardown().await
    };
    let twice = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let offers = vec![offer["id"].clone(), offer["id"].clone()];
        accepted(&mut framework, offers, &offer["agent_id"], "TASK_DROPPED").await?;
        framework.teardown().await
    };
    let partly = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let offers = vec![offer["id"].clone(), json!({"value": "no-such-offer"})];
        accepted(&mut framework, offers, &offer["agent_id"], "TASK_DROPPED").await?;
        // The good offer was released: its resources come again.
        framework.offer_of(&offer["agent_id"]).await?;
        framework.teardown().await
    };
    let agents = |arena: Arena| async move {
        let listed = arena.read("GET_AGENTS").await?;
        ensure!(items(&listed["agents"]).len() > 1, "this row needs two agents");
        let mut framework = Framework::start(&arena).await?;
        framework.wanted = 100;
        let two = |framework: &Framework| {
            let first = framework.offers.first()?;
            let other = framework.offers.iter().find(|offer| offer["agent_id"] != first["agent_id"])?;
            Some((first.clone(), other.clone()))
        };
        let (one, other) = framework.until("offers of two agents", two).await?;
        let offers = vec![one["id"].clone(), other["id"].clone()];
        accepted(&mut framework, offers, &one["agent_id"], "TASK_DROPPED").await?;
        framework.teardown().await
    };
    let unknown_operation = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "true");
        let operations = vec![json!({"type": "UNKNOWN"}), json!({"type": "LAUNCH", "launch": {"task_infos": [task]}})];
        framework.accept(&[&offer], operations).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    let with_id = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (id, task) = framework.task(&offer, "true");
        let launch = json!({"type": "LAUNCH", "id": {"value": "an-id"}, "launch": {"task_infos": [task]}});
        framework.accept(&[&offer], vec![launch]).await?;
        let status = framework.first_status(&id).await?;
        ensure!(status["state"] == "TASK_ERROR" && status["source"] == "SOURCE_MASTER", "{status}");
        framework.teardown().await
    };
    let two_launches = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let (one, first) = framework.task(&offer, "true");
        let (two, second) = framework.task(&offer, "true");
        let launch = |task: Value| json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
        framework.accept(&[&offer], vec![launch(first), launch(second)]).await?;
        framework.status(&one, "TASK_FINISHED").await?;
        framework.status(&two, "TASK_FINISHED").await?;
        framework.teardown().await
    };
    let said = "every task TASK_DROPPED, INVALID_OFFERS, by the master, no uuid";
    vec![
        row("3.3", "ACCEPT", "no offers", said, none),
        row("3.3", "ACCEPT", "an offer that nobody knows", said, unknown),
        row("3.3", "ACCEPT", "an offer that nobody knows, not PARTITION_AWARE", "TASK_LOST, INVALID_OFFERS", old),
        row("3.3", "ACCEPT", "two LAUNCHes and a bad offer", said, many),
        row("3.3", "ACCEPT", "an offer that was declined", said, again),
        row("3.3", "ACCEPT", "an offer that was accepted", said, used),
        row("3.3", "ACCEPT", "another framework's offer", "INVALID_OFFERS, and its owner keeps it", foreign),
        row("3.3", "ACCEPT", "an offer named twice", said, twice),
        row("3.3", "ACCEPT", "a good offer beside a bad one", "INVALID_OFFERS, and the good one is released", partly),
        row("3.3", "ACCEPT", "offers of two agents", said, agents).alone(),
        row("4", "ACCEPT", "an operation of type UNKNOWN before a LAUNCH", "it is ignored", unknown_operation),
        row("4", "ACCEPT", "a LAUNCH with an operation id", "TASK_ERROR for its tasks", with_id),
        row("4", "ACCEPT", "two LAUNCHes", "both are carried out", two_launches),
    ]
}
