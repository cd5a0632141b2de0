//! Where a task is: its agent, its container, its sandbox. From what the master tells.

use crate::arguments::Which;
use crate::client::Client;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A task and where it is.
pub(crate) struct Located {
    /// Its agent's HTTP side.
    pub(crate) agent: Client,
    /// Its container, as the v1 API names it.
    pub(crate) container: Value,
    /// Its sandbox, as a path of the agent's files.
    pub(crate) sandbox: String,
    /// Its framework.
    pub(crate) framework_id: String,
    /// Its state when it was looked at.
    pub(crate) state: String,
}

/// Finds a task: one that has not ended, else the one that ended last.
pub(crate) async fn locate(which: &Which) -> Result<Located> {
    let master = Client::new(&which.api.api);
    let task = find(&master, which).await?;
    let agent_id = text(&task["agent_id"]["value"]);
    let agents = master.operator(json!({"type": "GET_AGENTS"})).await?;
    let agent =
        items(&agents["get_agents"]["agents"]).iter().find(|agent| agent["agent_info"]["id"]["value"] == agent_id);
    let agent = agent.with_context(|| format!("agent {agent_id} of the task is not there"))?;
    let statuses = items(&task["statuses"]);
    let container = statuses.iter().rev().map(|status| &status["container_status"]["container_id"]);
    let container = container.into_iter().find(|container| container.is_object());
    let container = container.with_context(|| format!("task {} has no container yet", which.task))?.clone();
    let framework_id = text(&task["framework_id"]["value"]);
    let executor_id = task["executor_id"]["value"].as_str().unwrap_or(&which.task);
    let run = container["parent"]["value"].as_str().or(container["value"].as_str()).unwrap_or_default();
    let mut sandbox = format!("/slaves/{agent_id}/frameworks/{framework_id}/executors/{executor_id}/runs/{run}");
    if container["parent"].is_object() {
        sandbox.push_str(&format!("/containers/{}", text(&container["value"])));
    }
    let state = text(&task["state"]);
    Ok(Located { agent: Client::new(&address(agent)?), container, sandbox, framework_id, state })
}

/// The task as the master tells it.
async fn find(master: &Client, which: &Which) -> Result<Value> {
    let answer = master.operator(json!({"type": "GET_TASKS"})).await?;
    let fits = |task: &&Value| {
        let framework = which.framework.as_deref();
        task["task_id"]["value"] == which.task && framework.is_none_or(|id| task["framework_id"]["value"] == id)
    };
    let named = |list: &str| -> Vec<Value> { items(&answer["get_tasks"][list]).iter().filter(fits).cloned().collect() };
    let live = named("tasks");
    let all = if live.is_empty() { named("completed_tasks") } else { live };
    let frameworks: std::collections::BTreeSet<&str> =
        all.iter().filter_map(|task| task["framework_id"]["value"].as_str()).collect();
    if frameworks.len() > 1 {
        let list = frameworks.into_iter().collect::<Vec<_>>().join(", ");
        bail!("several frameworks have a task {}: {list}; --framework ID chooses one", which.task);
    }
    let newest = all.last().cloned();
    newest.with_context(|| format!("the master knows no task {}; `kaon tasks` lists them", which.task))
}

/// The state of a task now; nothing when the master has forgotten it.
pub(crate) async fn state(which: &Which, located: &Located) -> Result<Option<String>> {
    let which = Which { framework: Some(located.framework_id.clone()), ..which.clone() };
    let task = find(&Client::new(&which.api.api), &which).await;
    Ok(task.ok().map(|task| text(&task["state"])))
}

/// Whether a task in this state has ended.
pub(crate) fn is_over(state: &str) -> bool {
    !matches!(
        state,
        "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE" | "TASK_UNKNOWN"
    )
}

/// Where an agent answers HTTP: `slave(1)@IP:PORT`.
pub(crate) fn address(agent: &Value) -> Result<String> {
    let pid = text(&agent["pid"]);
    let address = pid.rsplit_once('@').map(|(_, address)| address.to_owned());
    address.with_context(|| format!("the agent's address '{pid}' does not read"))
}

/// The entries of a list, none where there is none.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text, empty where there is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_follows_the_name() {
        assert_eq!(address(&json!({"pid": "slave(1)@10.0.0.2:5051"})).unwrap(), "10.0.0.2:5051");
        assert!(address(&json!({})).is_err());
        assert!(is_over("TASK_FINISHED") && !is_over("TASK_RUNNING"));
    }
}
