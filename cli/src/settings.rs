//! `kaon quota` and `kaon weight`: what operators set for roles.

use crate::arguments::{Api, Quota, SetQuota, Weight};
use crate::client::Client;
use crate::table::say;
use anyhow::{Context, Result, bail};
use kaon_kernel::resource::{Value as Kind, parse};
use serde_json::{Map, Value, json};

/// Sets or removes a quota.
pub(crate) async fn quota(command: Quota) -> Result<()> {
    match command {
        Quota::Set(SetQuota { role, guarantee, limit, force, api }) => {
            let guarantees = amounts("--guarantee", &guarantee)?;
            let limits = amounts("--limit", &limit)?;
            if guarantees.is_empty() && limits.is_empty() {
                bail!("neither --guarantee nor --limit says anything; `kaon quota remove {role}` removes a quota");
            }
            update(&api, json!({"role": role, "guarantees": guarantees, "limits": limits}), force).await?;
            Ok(say(format!("the quota of {role} is set"))?)
        }
        Quota::Remove(options) => {
            update(&options.api, json!({"role": options.role}), false).await?;
            Ok(say(format!("the quota of {} is removed", options.role))?)
        }
    }
}

async fn update(api: &Api, config: Value, force: bool) -> Result<()> {
    let update = json!({"force": force, "quota_configs": [config]});
    Client::new(&api.api).order(json!({"type": "UPDATE_QUOTA", "update_quota": update})).await
}

/// Sets weights.
pub(crate) async fn weight(command: Weight) -> Result<()> {
    let Weight::Set(options) = command;
    let infos = options.weights.iter().map(|text| {
        let (role, weight) = text.split_once('=').with_context(|| format!("'{text}': expected ROLE=WEIGHT"))?;
        let weight: f64 = weight.parse().with_context(|| format!("'{text}': '{weight}' is no number"))?;
        Ok(json!({"role": role, "weight": weight}))
    });
    let infos = infos.collect::<Result<Vec<Value>>>()?;
    let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}});
    Client::new(&options.api.api).order(call).await?;
    Ok(say("the weights are set")?)
}

/// A resource text as the API's map of scalars.
fn amounts(flag: &'static str, text: &str) -> Result<Map<String, Value>> {
    let bag = parse::resources(text).context(flag)?;
    let entries = bag.iter().map(|entry| match (&entry.value, &entry.identity) {
        (Kind::Scalar(quantity), None) => Ok((entry.name.as_str().to_owned(), json!({"value": quantity.as_scalar()}))),
        _ => bail!("{flag}: {entry} is no plain number"),
    });
    entries.collect()
}
