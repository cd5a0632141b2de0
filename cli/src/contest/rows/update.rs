//! Reference 3.1, 3.3: UPDATE_FRAMEWORK, the one call whose answer says what became of it.

use crate::contest::arena::{Arena, merge};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What an update says: what the framework said before, with changes.
fn update(framework: &Framework, changes: &Value) -> Value {
    let mut info = framework.info.clone();
    info["id"] = json!({"value": framework.id});
    merge(&mut info, changes);
    json!({"framework_info": info})
}

async fn shown(arena: &Arena, id: &str) -> Result<Value> {
    arena.shown_framework(id, "frameworks").await?.context("the framework")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = taken();
    rows.extend(refused());
    rows
}

fn taken() -> Vec<Row> {
    let applied = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let changes = json!({"name": "another", "hostname": "h.test", "webui_url": "http://w.test",
            "failover_timeout": 7.0, "labels": {"labels": [{"key": "k", "value": "v"}]}});
        let answer = framework.call("UPDATE_FRAMEWORK", update(&framework, &changes)).await?.expect(200)?;
        ensure!(answer.body.is_empty(), "{}", answer.shown());
        let id = framework.id.clone();
        let changed = || async {
            let info = shown(&arena, &id).await?["framework_info"].clone();
            Ok(changes.as_object().is_some_and(|all| all.iter().all(|(key, value)| info[key] == *value)).then_some(()))
        };
        arena.eventually("the new words", changed).await?;
        framework.teardown().await
    };
    let roles = |arena: Arena| async move {
        let (first, second) = (arena.name("role"), arena.name("role"));
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": [first]}))).await?;
        let offer = framework.offer().await?;
        ensure!(offer["allocation_info"]["role"] == first.as_str(), "{offer}");
        let body = update(&framework, &json!({"roles": [second]}));
        framework.call("UPDATE_FRAMEWORK", body).await?.expect(200)?;
        framework.info["roles"] = json!([second]);
        let rescinded = |framework: &Framework| {
            let mut others = framework.others.iter();
            others.any(|event| event["rescind"]["offer_id"] == offer["id"]).then_some(())
        };
        framework.until("a rescind of the first role's offer", rescinded).await?;
        let offer = framework.offer().await?;
        ensure!(offer["allocation_info"]["role"] == second.as_str(), "{offer}");
        framework.teardown().await
    };
    let suppressed = |arena: Arena| async move {
        let role = arena.name("role");
        let mut framework = Framework::quiet_with(&arena, json!({"roles": [role]})).await?;
        framework.wanted = 1;
        framework.listen(crate::contest::framework::WATCHED).await?;
        ensure!(framework.offers.is_empty(), "a suppressed role was offered {:?}", framework.offers);
        let body = update(&framework, &json!({}));
        framework.call("UPDATE_FRAMEWORK", body).await?.expect(200)?;
        framework.until("an offer", |framework| framework.offers.first().cloned()).await?;
        framework.teardown().await
    };
    vec![
        row("3.3", "UPDATE_FRAMEWORK", "other words", "200, and GET_FRAMEWORKS shows them", applied),
        row("3.3", "UPDATE_FRAMEWORK", "another role", "200; the old role's offers are rescinded", roles),
        row("3.3", "UPDATE_FRAMEWORK", "no suppressed roles where all were", "200, and offers", suppressed),
    ]
}

fn refused() -> Vec<Row> {
    let cases: [(&str, Value); 8] = [
        ("another user", json!({"user": "somebody-else"})),
        ("another checkpoint", json!({"checkpoint": true})),
        ("an invalid role", json!({"roles": ["a b"]})),
        ("a role twice", json!({"roles": ["r", "r"]})),
        ("`role` beside MULTI_ROLE", json!({"role": "r"})),
        ("a failover_timeout before all bounds", json!({"failover_timeout": -1e30})),
        ("a failover_timeout beyond all bounds", json!({"failover_timeout": 1e30})),
        ("another id", json!({"id": {"value": "no-such-framework"}})),
    ];
    let mut rows = Vec::new();
    for (given, changes) in cases {
        let trial = move |arena: Arena| {
            let changes = changes.clone();
            async move {
                let framework = Framework::quiet(&arena).await?;
                let before = shown(&arena, &framework.id).await?["framework_info"].clone();
                let answer = framework.call("UPDATE_FRAMEWORK", update(&framework, &changes)).await?;
                ensure!(answer.status == 400 && !answer.body.is_empty(), "{}", answer.shown());
                let after = shown(&arena, &framework.id).await?["framework_info"].clone();
                ensure!(before == after, "it was changed to {after}");
                framework.teardown().await
            }
        };
        rows.push(row("3.1", "UPDATE_FRAMEWORK", given, "400, and nothing changes", trial));
    }
    let alone = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        framework.call("UPDATE_FRAMEWORK", Value::Null).await?.expect(400)?;
        let mut body = update(&framework, &json!({}));
        body["suppressed_roles"] = json!([arena.name("role")]);
        framework.call("UPDATE_FRAMEWORK", body).await?.expect(400)?;
        framework.teardown().await
    };
    rows.push(row("3.1", "UPDATE_FRAMEWORK", "no part; a suppressed role that is not its", "400", alone));
    rows
}
