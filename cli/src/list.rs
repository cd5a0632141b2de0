//! `kaon agents`, `frameworks`, `tasks`, `offers`, `roles`: what the master knows, as tables or JSON.

use crate::arguments::List;
use crate::client::Client;
use crate::table::{Table, say};
use anyhow::Result;
use serde_json::{Value, json};

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Agents.
    Agents,
    /// Frameworks.
    Frameworks,
    /// Tasks.
    Tasks,
    /// Offers.
    Offers,
    /// Roles.
    Roles,
}

/// Prints the list.
pub(crate) async fn list(what: What, options: List) -> Result<()> {
    let client = Client::new(&options.api.api);
    let (rows, table) = match what {
        What::Agents => agents(client.operator(json!({"type": "GET_AGENTS"})).await?),
        What::Frameworks => frameworks(client.operator(json!({"type": "GET_FRAMEWORKS"})).await?),
        What::Tasks => tasks(client.operator(json!({"type": "GET_TASKS"})).await?),
        What::Offers => offers(client.json("/state").await?),
        What::Roles => roles(client.json("/roles").await?),
    };
    if options.json {
        say(serde_json::to_string_pretty(&rows)?)?;
    } else {
        say(table.to_string().trim_end())?;
    }
    Ok(())
}

fn agents(answer: Value) -> (Vec<Value>, Table) {
    let rows = items(&answer["get_agents"]["agents"]).to_vec();
    let mut table = Table::new(&["ID", "HOSTNAME", "ACTIVE", "DRAIN", "RESOURCES", "USED"]);
    for agent in &rows {
        let info = &agent["agent_info"];
        table.row(vec![
            text(&info["id"]["value"]),
            text(&info["hostname"]),
            yes(&agent["active"]),
            text(&agent["drain_info"]["state"]).to_ascii_lowercase(),
            resources(&agent["total_resources"]),
            resources(&agent["allocated_resources"]),
        ]);
    }
    (rows, table)
}

fn frameworks(answer: Value) -> (Vec<Value>, Table) {
    let rows = items(&answer["get_frameworks"]["frameworks"]).to_vec();
    let mut table = Table::new(&["ID", "NAME", "ROLES", "CONNECTED", "USED", "OFFERED"]);
    for framework in &rows {
        let info = &framework["framework_info"];
        let roles = items(&info["roles"]).iter().map(text).collect::<Vec<_>>().join(",");
        let roles = if roles.is_empty() { info["role"].as_str().unwrap_or("*").to_owned() } else { roles };
        table.row(vec![
            text(&info["id"]["value"]),
            text(&info["name"]),
            roles,
            yes(&framework["connected"]),
            resources(&framework["allocated_resources"]),
            resources(&framework["offered_resources"]),
        ]);
    }
    (rows, table)
}

fn tasks(answer: Value) -> (Vec<Value>, Table) {
    let answer = &answer["get_tasks"];
    let groups = ["tasks", "unreachable_tasks", "completed_tasks"];
    let rows: Vec<Value> = groups.iter().flat_map(|group| items(&answer[*group]).to_vec()).collect();
    let mut table = Table::new(&["TASK", "FRAMEWORK", "STATE", "AGENT", "SECONDS", "RESOURCES"]);
    for task in &rows {
        table.row(vec![
            text(&task["task_id"]["value"]),
            text(&task["framework_id"]["value"]),
            text(&task["state"]),
            text(&task["agent_id"]["value"]),
            seconds(task),
            resources(&task["resources"]),
        ]);
    }
    (rows, table)
}

fn offers(state: Value) -> (Vec<Value>, Table) {
    let mut rows = Vec::new();
    let mut table = Table::new(&["OFFER", "FRAMEWORK", "AGENT", "RESOURCES"]);
    for framework in items(&state["frameworks"]) {
        for offer in items(&framework["offers"]) {
            let shown = amounts(&offer["resources"]);
            table.row(vec![text(&offer["id"]), text(&offer["framework_id"]), text(&offer["slave_id"]), shown]);
            rows.push(offer.clone());
        }
    }
    (rows, table)
}

fn roles(answer: Value) -> (Vec<Value>, Table) {
    let rows = items(&answer["roles"]).to_vec();
    let mut table = Table::new(&["ROLE", "WEIGHT", "GUARANTEE", "LIMIT", "USED", "OFFERED", "FRAMEWORKS"]);
    for role in &rows {
        table.row(vec![
            text(&role["name"]),
            role["weight"].to_string(),
            amounts(&role["quota"]["guarantee"]),
            amounts(&role["quota"]["limit"]),
            amounts(&role["allocated"]),
            amounts(&role["offered"]),
            items(&role["frameworks"]).len().to_string(),
        ]);
    }
    (rows, table)
}

/// The old form of resources, as flags write them; what there is nothing of is left out.
fn amounts(object: &Value) -> String {
    let shown = object.as_object().into_iter().flatten().filter(|(_, value)| value.as_f64() != Some(0.0));
    shown.map(|(name, value)| format!("{name}:{}", plain(value))).collect::<Vec<_>>().join("; ")
}

/// How long a task has run: from its first status to its last, or until now.
fn seconds(task: &Value) -> String {
    let times: Vec<f64> = items(&task["statuses"]).iter().filter_map(|status| status["timestamp"].as_f64()).collect();
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
    let end = match crate::locate::is_over(task["state"].as_str().unwrap_or_default()) {
        true => times.last().copied().filter(|_| times.len() > 1),
        false => Some(now()),
    };
    match (times.first(), end) {
        (Some(first), Some(end)) => format!("{:.2}", (end - first).max(0.0)),
        _ => "-".to_owned(),
    }
}

/// The elements of a list; none where the answer leaves an empty one out, as JSON of protobuf does.
fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn yes(value: &Value) -> String {
    if value.as_bool().unwrap_or(false) { "yes" } else { "no" }.to_owned()
}

/// The v1 form of resources, as flags write them.
fn resources(list: &Value) -> String {
    let show = |resource: &Value| {
        let value = match (&resource["scalar"]["value"], items(&resource["ranges"]["range"])) {
            (Value::Number(number), _) => number.to_string().trim_end_matches(".0").to_owned(),
            (_, ranges) if !ranges.is_empty() => {
                let parts = ranges.iter().map(|range| format!("{}-{}", range["begin"], range["end"]));
                format!("[{}]", parts.collect::<Vec<_>>().join(","))
            }
            _ => format!("{{{}}}", items(&resource["set"]["item"]).iter().map(text).collect::<Vec<_>>().join(",")),
        };
        format!("{}:{value}", text(&resource["name"]))
    };
    items(list).iter().map(show).collect::<Vec<_>>().join("; ")
}
