//! `/roles`, `/weights`, `/quota`: roles and what operators have set for them (reference 2).

use serde_json::{Map, Value, json};

use super::json as shown;
use crate::view::Snapshot;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::ResourceName;

/// `/roles`.
pub(super) fn roles(snapshot: &Snapshot) -> Value {
    let roles = snapshot.roles();
    let shown = roles.iter().map(|(name, role)| {
        let mut out = json!({
            "name": name.as_str(),
            "weight": role.weight(),
            "resources": shown::resources(&role.held()),
            "allocated": shown::resources(&role.used),
            "offered": shown::resources(&role.offered),
            "reserved": shown::resources(&role.reserved),
            "frameworks": role.frameworks.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        });
        let quota = role.quota.cloned().unwrap_or_default();
        out["quota"] = json!({
            "role": name.as_str(),
            "guarantee": amounts(&quota.guarantees),
            "limit": amounts(&quota.limits),
            "consumed": shown::resources(&role.held()),
        });
        out
    });
    json!({ "roles": shown.collect::<Vec<_>>() })
}

/// `/weights`.
pub(super) fn weights(snapshot: &Snapshot) -> Value {
    let weights = snapshot.settings.weights.iter();
    weights.map(|(role, weight)| json!({"role": role.as_str(), "weight": f64::from(*weight) / 1000.0})).collect()
}

/// `/quota`.
pub(super) fn quota(snapshot: &Snapshot) -> Value {
    let config = |role: &str, quota: &Quota| {
        let scalars = |pairs: &[(ResourceName, Quantity)]| -> Map<String, Value> {
            let scalar = |amount: Quantity| json!({ "value": amount.as_scalar() });
            pairs.iter().map(|(name, amount)| (name.as_str().to_owned(), scalar(*amount))).collect()
        };
        json!({"role": role, "guarantees": scalars(&quota.guarantees), "limits": scalars(&quota.limits)})
    };
    let quotas = &snapshot.settings.quotas;
    let configs: Vec<Value> = quotas.iter().map(|(role, quota)| config(role.as_str(), quota)).collect();
    // The older form knows guarantees alone.
    let info = |role: &str, quota: &Quota| {
        let guarantee = quota.guarantees.iter().map(|(name, amount)| {
            json!({"name": name.as_str(), "type": "SCALAR", "scalar": {"value": amount.as_scalar()}, "role": "*"})
        });
        json!({"role": role, "guarantee": guarantee.collect::<Vec<_>>()})
    };
    let infos: Vec<Value> = quotas.iter().map(|(role, quota)| info(role.as_str(), quota)).collect();
    json!({"infos": infos, "configs": configs})
}

fn amounts(pairs: &[(ResourceName, Quantity)]) -> Map<String, Value> {
    pairs.iter().map(|(name, amount)| (name.as_str().to_owned(), amount.as_scalar().into())).collect()
}
