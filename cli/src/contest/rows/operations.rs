//! Reference 4, 7.1, 8.4: operations on resources, their feedback, and the same as orders of operators.

use crate::contest::arena::{Arena, items, merge};
use crate::contest::framework::{Framework, amount, scalar};
use crate::contest::plain_call;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// A framework with a role of its own that knows reservation stacks, and its first offer.
pub(super) async fn begin(arena: &Arena) -> Result<(Framework, Value, String)> {
    let role = arena.name("reserver");
    let kinds = ["MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT"].map(|kind| json!({"type": kind}));
    let info = arena.info_with(json!({"roles": [role], "capabilities": kinds}));
    let mut framework = Framework::subscribe(arena, info).await?;
    let offer = framework.offer().await?;
    Ok((framework, offer, role))
}

/// A scalar that is reserved to a role.
pub(super) fn reserved(name: &str, value: f64, role: &str) -> Value {
    let mut resource = scalar(name, value);
    resource["reservations"] = json!([{"type": "DYNAMIC", "role": role}]);
    resource["allocation_info"] = json!({"role": role});
    resource
}

/// The next status of an operation.
pub(super) async fn status_of(framework: &mut Framework, id: &str) -> Result<Value> {
    let find = |framework: &Framework| {
        let statuses = framework.others.iter().map(|event| &event["update_operation_status"]["status"]);
        let mut mine = statuses.filter(|status| status["operation_id"]["value"] == id);
        mine.next().cloned()
    };
    framework.until(&format!("a status of the operation {id}"), find).await
}

/// An operation that is wrong. `ROLE` in it becomes the framework's role.
fn invalid() -> Vec<(&'static str, &'static str, Value)> {
    let disk = |role: &str| reserved("disk", 16.0, role);
    let volume = |changes: Value| {
        let mut volume = reserved("disk", 16.0, "ROLE");
        volume["disk"] = json!({"persistence": {"id": "p"}, "volume": {"mode": "RW", "container_path": "p"}});
        merge(&mut volume, &changes);
        volume
    };
    let mut fixed = disk("ROLE");
    fixed["reservations"][0]["type"] = json!("STATIC");
    let free = || {
        let mut free = scalar("disk", 16.0);
        free["allocation_info"] = json!({"role": "ROLE"});
        free
    };
    vec![
        ("RESERVE", "a static reservation", json!({"reserve": {"resources": [fixed]}})),
        ("RESERVE", "for a role that the offer is not for", json!({"reserve": {"resources": [disk("other")]}})),
        ("RESERVE", "for the role *", json!({"reserve": {"resources": [disk("*")]}})),
        ("RESERVE", "more than was offered", json!({"reserve": {"resources": [reserved("disk", 1e9, "ROLE")]}})),
        ("RESERVE", "with a source", json!({"reserve": {"resources": [disk("ROLE")], "source": [disk("ROLE")]}})),
        ("RESERVE", "without its part", json!({})),
        ("UNRESERVE", "what is not reserved", json!({"unreserve": {"resources": [disk("ROLE")]}})),
        ("UNRESERVE", "without a reservation", json!({"unreserve": {"resources": [free()]}})),
        ("CREATE", "on disk that is not reserved", json!({"create": {"volumes": [volume(json!({}))]}})),
        (
            "CREATE",
            "without a persistence id",
            json!({"create": {"volumes": [volume(json!({"disk": {"persistence": null}}))]}}),
        ),
        ("CREATE", "without a volume", json!({"create": {"volumes": [volume(json!({"disk": {"volume": null}}))]}})),
        (
            "CREATE",
            "a volume that is read only",
            json!({"create": {"volumes": [volume(json!({"disk": {"volume": {"mode": "RO"}}}))]}}),
        ),
        (
            "CREATE",
            "a volume with a host path",
            json!({"create": {"volumes": [volume(json!({"disk": {"volume": {"host_path": "/h"}}}))]}}),
        ),
        ("DESTROY", "a volume that is not there", json!({"destroy": {"volumes": [volume(json!({}))]}})),
        (
            "GROW_VOLUME",
            "a volume that is not there",
            json!({"grow_volume": {"volume": volume(json!({})), "addition": disk("ROLE")}}),
        ),
        (
            "SHRINK_VOLUME",
            "a volume that is not there",
            json!({"shrink_volume": {"volume": volume(json!({})), "subtract": {"value": 1.0}}}),
        ),
        (
            "CREATE_DISK",
            "of no resource provider",
            json!({"create_disk": {"source": disk("ROLE"), "target_type": "MOUNT"}}),
        ),
        ("DESTROY_DISK", "of no resource provider", json!({"destroy_disk": {"source": disk("ROLE")}})),
    ]
}

/// Puts a role in place of `ROLE`.
fn for_role(value: &Value, role: &str) -> Value {
    match value {
        Value::String(text) if text == "ROLE" => json!(role),
        Value::Array(all) => all.iter().map(|one| for_role(one, role)).collect(),
        Value::Object(all) => all.iter().map(|(key, one)| (key.clone(), for_role(one, role))).collect(),
        other => other.clone(),
    }
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, given, part) in invalid() {
        let trial = move |arena: Arena| {
            let part = part.clone();
            async move {
                let (mut framework, offer, role) = begin(&arena).await?;
                let mut operation = for_role(&part, &role);
                merge(&mut operation, &json!({"type": kind, "id": {"value": "wrong"}}));
                framework.accept(&[&offer], vec![operation]).await?;
                let status = status_of(&mut framework, "wrong").await?;
                ensure!(status["state"] == "OPERATION_ERROR" && status.get("uuid").is_none(), "{status}");
                ensure!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "{status}");
                framework.teardown().await
            }
        };
        rows.push(row("4", kind, given, "OPERATION_ERROR by the master, no uuid", trial));
    }
    rows.extend(carried_out());
    rows.extend(orders());
    rows
}

fn carried_out() -> Vec<Row> {
    let round = |arena: Arena| async move {
        let (mut framework, offer, role) = begin(&arena).await?;
        let resources = json!([reserved("cpus", 0.1, &role), reserved("disk", 16.0, &role)]);
        let reserve = json!({"type": "RESERVE", "id": {"value": "reserve"}, "reserve": {"resources": resources}});
        framework.accept(&[&offer], vec![reserve]).await?;
        let status = status_of(&mut framework, "reserve").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        ensure!(status["uuid"]["value"].is_string() && status["agent_id"] == offer["agent_id"], "{status}");
        let body = json!({"agent_id": offer["agent_id"], "uuid": status["uuid"]["value"], "operation_id": {"value": "reserve"}});
        framework.must("ACKNOWLEDGE_OPERATION_STATUS", body).await?;
        // The next offer of the agent has the reservation.
        let (next, _) = framework.revived_offer_of(&offer["agent_id"]).await?;
        let mine = |one: &&Value| one["reservations"][0]["role"] == role.as_str();
        let held: Vec<Value> = items(&next["resources"]).iter().filter(mine).cloned().collect();
        ensure!((amount(&json!({"resources": held}), "cpus") - 0.1).abs() < 1e-9, "{next}");
        let back = json!({"type": "UNRESERVE", "id": {"value": "back"}, "unreserve": {"resources": held}});
        framework.accept(&[&next], vec![back]).await?;
        let status = status_of(&mut framework, "back").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        framework.teardown().await
    };
    let silent = |arena: Arena| async move {
        let (mut framework, offer, _) = begin(&arena).await?;
        let reserve = json!({"type": "RESERVE", "reserve": {"resources": [reserved("disk", 1.0, "other")]}});
        framework.accept(&[&offer], vec![reserve]).await?;
        framework.listen(Duration::from_millis(300)).await?;
        ensure!(framework.others.iter().all(|event| event["type"] != "UPDATE_OPERATION_STATUS"), "it was told");
        framework.teardown().await
    };
    let unknown = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        let asked = json!({"operations": [{"operation_id": {"value": "asked"}}]});
        framework.must("RECONCILE_OPERATIONS", asked).await?;
        let status = status_of(&mut framework, "asked").await?;
        ensure!(status["state"] == "OPERATION_UNKNOWN" && status.get("uuid").is_none(), "{status}");
        framework.teardown().await
    };
    let short = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let body = json!({"agent_id": {"value": "a"}, "uuid": "AAEC", "operation_id": {"value": "o"}});
        framework.call("ACKNOWLEDGE_OPERATION_STATUS", body).await?.expect(400).map(drop)
    };
    let without = |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        for kind in ["ACKNOWLEDGE_OPERATION_STATUS", "RECONCILE_OPERATIONS"] {
            framework.call(kind, Value::Null).await?.expect(400)?;
        }
        Ok(())
    };
    vec![
        row(
            "4",
            "RESERVE, UNRESERVE",
            "with ids",
            "OPERATION_FINISHED with a uuid; the next offer has the reservation, until it is given back",
            round,
        ),
        row("4", "RESERVE", "wrong, without an id", "dropped without a word", silent),
        row("8.4", "RECONCILE_OPERATIONS", "an operation that nobody knows", "OPERATION_UNKNOWN, no uuid", unknown),
        row("1.6", "ACKNOWLEDGE_OPERATION_STATUS", "a uuid of 3 bytes", "400", short),
        row("1.2", "ACKNOWLEDGE_OPERATION_STATUS, RECONCILE_OPERATIONS", "no part of their own", "400", without),
    ]
}

fn orders() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, field) in [
        ("RESERVE_RESOURCES", "resources"),
        ("UNRESERVE_RESOURCES", "resources"),
        ("CREATE_VOLUMES", "volumes"),
        ("DESTROY_VOLUMES", "volumes"),
    ] {
        let unknown = move |arena: Arena| async move {
            let role = arena.name("role");
            let mut resource = reserved("disk", 1.0, &role);
            merge(&mut resource, &json!({"allocation_info": null}));
            let mut call = plain_call(kind);
            call[kind.to_ascii_lowercase()] = json!({"agent_id": {"value": "no-such-agent"}, field: [resource]});
            arena.operator(&call).await?.expect(400).map(drop)
        };
        rows.push(row("7.1", kind, "an agent that nobody knows", "400", unknown));
        let without = move |arena: Arena| async move { arena.operator(&plain_call(kind)).await?.expect(400).map(drop) };
        rows.push(row("1.2", kind, "no part of its own", "400", without));
    }
    let round = |arena: Arena| async move {
        let role = arena.name("ordered");
        let agents = arena.read("GET_AGENTS").await?;
        let agent = items(&agents["agents"]).first().context("an agent")?["agent_info"]["id"].clone();
        let mut resource = reserved("disk", 16.0, &role);
        merge(&mut resource, &json!({"allocation_info": null}));
        let order = |kind: &str| {
            let mut call = plain_call(kind);
            call[kind.to_ascii_lowercase()] = json!({"agent_id": agent, "resources": [resource]});
            call
        };
        arena.operator(&order("RESERVE_RESOURCES")).await?.expect(202)?;
        let is_there = |wanted: bool| {
            let (arena, role) = (arena.clone(), role.clone());
            move || {
                let (arena, role) = (arena.clone(), role.clone());
                async move {
                    let agents = arena.read("GET_AGENTS").await?;
                    Ok((agents.to_string().contains(&role) == wanted).then_some(()))
                }
            }
        };
        arena.eventually("the reservation", is_there(true)).await?;
        arena.operator(&order("UNRESERVE_RESOURCES")).await?.expect(202)?;
        arena.eventually("no reservation", is_there(false)).await
    };
    rows.push(
        row(
            "7.1",
            "RESERVE_RESOURCES, UNRESERVE_RESOURCES",
            "free disk",
            "202; GET_AGENTS shows it, until it is given back",
            round,
        )
        .alone(),
    );
    let read = |arena: Arena| async move { arena.read("GET_OPERATIONS").await.map(drop) };
    rows.push(row("7.1", "GET_OPERATIONS", "a cluster", "200 and a list", read));
    rows
}
