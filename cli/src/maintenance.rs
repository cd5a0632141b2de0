//! `kaon drain`, `kaon deactivate`, `kaon reactivate`, `kaon gone` and `kaon maintenance`: agents and machines that go.

use crate::arguments::{AgentOrder, Api, Drain, Machines, Maintenance};
use crate::client::Client;
use crate::table::say;
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Drains an agent.
pub(crate) async fn drain(options: Drain) -> Result<()> {
    let mut drain = json!({"agent_id": {"value": options.id}, "mark_gone": options.mark_gone});
    if let Some(seconds) = options.grace {
        drain["max_grace_period"] = json!({"seconds": seconds});
    }
    give(&options.api, "DRAIN_AGENT", drain).await?;
    Ok(say(format!("agent {} is being drained; `kaon agents` shows when it is done", options.id))?)
}

/// Gives an order that needs nothing but the agent's id.
pub(crate) async fn order(kind: &str, options: AgentOrder) -> Result<()> {
    give(&options.api, kind, json!({"agent_id": {"value": options.id}})).await?;
    let done = match kind {
        "DEACTIVATE_AGENT" => "deactivated",
        "REACTIVATE_AGENT" => "active again",
        _ => "gone",
    };
    Ok(say(format!("agent {} is {done}", options.id))?)
}

/// Reads or changes the schedule of maintenance.
pub(crate) async fn maintenance(command: Maintenance) -> Result<()> {
    match command {
        Maintenance::Show(api) => {
            let client = Client::new(&api.api);
            let schedule = client.json("/maintenance/schedule").await?;
            let status = client.json("/maintenance/status").await?;
            Ok(say(serde_json::to_string_pretty(&json!({"schedule": schedule, "status": status}))?)?)
        }
        Maintenance::Set { file, api } => {
            let text = std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
            let schedule: Value =
                serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", file.display()))?;
            give(&api, "UPDATE_MAINTENANCE_SCHEDULE", json!({"schedule": schedule})).await?;
            Ok(say("the schedule is set")?)
        }
        Maintenance::Start(options) => {
            give(&options.api, "START_MAINTENANCE", machines(&options)?).await?;
            Ok(say("the machines are down")?)
        }
        Maintenance::Stop(options) => {
            give(&options.api, "STOP_MAINTENANCE", machines(&options)?).await?;
            Ok(say("the machines are up")?)
        }
    }
}

fn machines(options: &Machines) -> Result<Value> {
    let machine = |text: &String| {
        let (hostname, ip) = text.split_once('=').with_context(|| format!("'{text}': expected HOSTNAME=IP"))?;
        Ok(json!({"hostname": hostname, "ip": ip}))
    };
    let machines = options.machines.iter().map(machine).collect::<Result<Vec<Value>>>()?;
    Ok(json!({"machines": machines}))
}

/// Makes a call of the operator API; its part is named as its type is.
async fn give(api: &Api, kind: &str, part: Value) -> Result<()> {
    let mut call = json!({"type": kind});
    call[kind.to_ascii_lowercase()] = part;
    Client::new(&api.api).order(call).await
}
