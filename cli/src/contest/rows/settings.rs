//! Reference 7.1: quotas and weights. Each row has roles of its own and takes its settings back.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, amount};
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn scalars(pairs: &[(&str, f64)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({"value": value})))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn quota(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> Value {
    json!({"role": role, "guarantees": scalars(guarantees), "limits": scalars(limits)})
}

fn update(configs: Vec<Value>, force: bool) -> Value {
    json!({"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": configs}})
}

fn weigh(infos: Value) -> Value {
    json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}})
}

async fn quota_of(arena: &Arena, role: &str) -> Result<Option<Value>> {
    let quotas = arena.read("GET_QUOTA").await?;
    Ok(items(&quotas["status"]["configs"]).iter().find(|one| one["role"] == role).cloned())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(quotas());
    rows.extend(weights());
    rows
}

fn refused() -> Vec<Row> {
    type Pairs = &'static [(&'static str, f64)];
    let quotas: [(&str, &str, Pairs, Pairs, bool); 10] = [
        ("a role below another", "a/b", &[("cpus", 0.1)], &[], false),
        ("a role below another, by force", "a/b", &[("cpus", 0.1)], &[], true),
        ("an invalid role", "a b", &[("cpus", 0.1)], &[], true),
        ("an empty role", "", &[("cpus", 0.1)], &[], true),
        ("a guarantee above its limit", "r", &[("cpus", 2.0)], &[("cpus", 1.0)], true),
        ("a guarantee beyond the cluster", "r", &[("cpus", 1e9)], &[], false),
        ("a negative guarantee", "r", &[("cpus", -1.0)], &[], true),
        ("a negative limit", "r", &[], &[("cpus", -1.0)], true),
        ("a guarantee above 1e12", "r", &[("cpus", 2e12)], &[], true),
        ("a limit above 1e12", "r", &[], &[("mem", 2e12)], true),
    ];
    let mut rows = Vec::new();
    for (given, role, guarantees, limits, force) in quotas {
        let trial = move |arena: Arena| async move {
            let role = if role == "r" { arena.name("quota") } else { role.to_owned() };
            let answer = arena.operator(&update(vec![quota(&role, guarantees, limits)], force)).await?;
            ensure!(!answer.body.is_empty(), "no reason is given");
            answer.expect(400)?;
            ensure!(quota_of(&arena, &role).await?.is_none(), "it was set");
            Ok(())
        };
        rows.push(row("7.1", "UPDATE_QUOTA", given, "400, and nothing is set", trial));
    }
    let together = |arena: Arena| async move {
        let good = arena.name("quota");
        let configs = vec![quota(&good, &[("cpus", 0.1)], &[]), quota("a/b", &[("cpus", 0.1)], &[])];
        arena.operator(&update(configs, false)).await?.expect(400)?;
        ensure!(quota_of(&arena, &good).await?.is_none(), "a part of it was set");
        Ok(())
    };
    rows.push(row("7.1", "UPDATE_QUOTA", "a good quota beside a bad one", "400, all or nothing", together));
    let without = |arena: Arena| async move {
        arena.operator(&json!({"type": "UPDATE_QUOTA"})).await?.expect(400)?;
        arena.operator(&json!({"type": "UPDATE_WEIGHTS"})).await?.expect(400).map(drop)
    };
    rows.push(row("1.2", "UPDATE_QUOTA, UPDATE_WEIGHTS", "no part of their own", "400", without));
    for (given, role, weight) in [
        ("a weight of zero", "w", 0.0),
        ("a weight below zero", "w", -1.0),
        ("an invalid role", "a//b", 2.0),
        ("an empty role", "", 2.0),
    ] {
        let trial = move |arena: Arena| async move {
            let role = if role == "w" { arena.name("weight") } else { role.to_owned() };
            arena.operator(&weigh(json!([{"role": role, "weight": weight}]))).await?.expect(400).map(drop)
        };
        rows.push(row("7.1", "UPDATE_WEIGHTS", given, "400", trial));
    }
    rows
}

fn quotas() -> Vec<Row> {
    let shown = |arena: Arena| async move {
        let role = arena.name("quota");
        let config = quota(&role, &[("cpus", 0.2), ("mem", 64.0)], &[("cpus", 0.5)]);
        arena.order(&update(vec![config.clone()], false)).await?;
        let set = arena.eventually("the quota", || quota_of(&arena, &role)).await?;
        ensure!(set == config, "{set}");
        let listed = arena.get_json("/quota").await?;
        let found = items(&listed["configs"]).iter().any(|one| one["role"] == role.as_str());
        ensure!(found, "{listed}");
        let roles = arena.get_json("/roles").await?;
        let entry = items(&roles["roles"]).iter().find(|one| one["name"] == role.as_str()).cloned();
        let entry = entry.context("the role is not in /roles")?;
        ensure!(entry["quota"]["guarantee"]["cpus"] == json!(0.2), "{entry}");
        arena.order(&update(vec![quota(&role, &[], &[])], false)).await?;
        let gone = || async { Ok(quota_of(&arena, &role).await?.is_none().then_some(())) };
        arena.eventually("no quota", gone).await
    };
    let limited = |arena: Arena| async move {
        let role = arena.name("limited");
        arena.order(&update(vec![quota(&role, &[], &[("cpus", 0.5), ("mem", 128.0)])], false)).await?;
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": [role]}))).await?;
        let offer = framework.offer().await?;
        ensure!(amount(&offer, "cpus") <= 0.5 && amount(&offer, "mem") <= 128.0, "{offer}");
        framework.teardown().await?;
        arena.order(&update(vec![quota(&role, &[], &[])], false)).await
    };
    let force = |arena: Arena| async move {
        let role = arena.name("quota");
        arena.order(&update(vec![quota(&role, &[("no-such-resource", 1.0)], &[])], true)).await?;
        arena.eventually("the quota", || quota_of(&arena, &role)).await?;
        arena.order(&update(vec![quota(&role, &[], &[])], false)).await
    };
    let removed = |arena: Arena| async move {
        // A quota with nothing in it is none: removing what is not there is no mistake.
        arena.order(&update(vec![quota(&arena.name("quota"), &[], &[])], false)).await
    };
    vec![
        row(
            "7.1",
            "UPDATE_QUOTA",
            "a guarantee and a limit",
            "200; GET_QUOTA, /quota and /roles show it, until it is removed",
            shown,
        )
        .alone(),
        row("7.1", "UPDATE_QUOTA", "a limit", "offers of the role stay below it", limited).alone(),
        row("7.1", "UPDATE_QUOTA", "a guarantee beyond the cluster, by force", "200", force).alone(),
        row("7.1", "UPDATE_QUOTA", "nothing for a role that has no quota", "200", removed).alone(),
    ]
}

fn weights() -> Vec<Row> {
    let shown = |arena: Arena| async move {
        let roles = [arena.name("weight"), format!("{}/inner", arena.name("weight"))];
        let infos = json!([{"role": roles[0], "weight": 2.5}, {"role": roles[1], "weight": 0.5}]);
        arena.order(&weigh(infos)).await?;
        let set = || async {
            let weights = arena.read("GET_WEIGHTS").await?;
            let of = |role: &str| items(&weights["weight_infos"]).iter().find(|one| one["role"] == role).cloned();
            Ok(of(&roles[0]).zip(of(&roles[1])))
        };
        let (one, two) = arena.eventually("the weights", set).await?;
        ensure!(one["weight"] == json!(2.5) && two["weight"] == json!(0.5), "{one} {two}");
        let listed = arena.get_json("/weights").await?;
        ensure!(
            items(&listed).iter().any(|one| one["role"] == roles[0].as_str() && one["weight"] == json!(2.5)),
            "{listed}"
        );
        let back = json!([{"role": roles[0], "weight": 1.0}, {"role": roles[1], "weight": 1.0}]);
        arena.order(&weigh(back)).await
    };
    let none = |arena: Arena| async move { arena.order(&weigh(json!([]))).await };
    vec![
        row("7.1", "UPDATE_WEIGHTS", "two roles, one below another", "200; GET_WEIGHTS and /weights show them", shown)
            .alone(),
        row("7.1", "UPDATE_WEIGHTS", "no roles", "200", none).alone(),
    ]
}
