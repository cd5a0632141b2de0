//! `kaon top`: what the tasks use, from the agents' own counters (`/containers`). Processor time is what was used between two
//! looks.

use crate::arguments::Top;
use crate::client::Client;
use crate::locate::{address, items, text};
use crate::table::{Table, say};
use anyhow::{Result, bail};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Agents that are asked at once.
const ASKED_AT_ONCE: usize = 32;

/// Between the two looks when only one picture is wanted.
const ONCE: Duration = Duration::from_millis(500);

/// What one container has used at one moment.
#[derive(Clone, Debug)]
struct Look {
    tasks: Vec<String>,
    framework_id: String,
    hostname: String,
    statistics: Value,
}

/// All containers by their ids.
type Picture = BTreeMap<String, Look>;

/// Shows what the tasks use.
pub(crate) async fn top(options: Top) -> Result<()> {
    if !(0.1..=3600.0).contains(&options.interval) {
        bail!("--interval {}: expected 0.1 to 3600 seconds", options.interval);
    }
    let master = Client::new(&options.api.api);
    let is_live = !options.json && std::io::stdout().is_terminal();
    let interval = if is_live { Duration::from_secs_f64(options.interval) } else { ONCE };
    let mut before = look(&master).await?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = interrupted.recv() => return Ok(()),
        }
        let now = look(&master).await?;
        let rows = rows(&before, &now);
        if options.json {
            return Ok(say(serde_json::to_string_pretty(&rows)?)?);
        }
        let table = table(&rows);
        if !is_live {
            return Ok(say(table.to_string().trim_end())?);
        }
        // From the top of a clean screen.
        let mut out = std::io::stdout().lock();
        write!(out, "\x1b[H\x1b[2J{table}")?;
        out.flush()?;
        before = now;
    }
}

async fn look(master: &Client) -> Result<Picture> {
    let agents = master.operator(json!({"type": "GET_AGENTS"})).await?;
    let tasks = master.operator(json!({"type": "GET_TASKS"})).await?;
    let mut of_executor: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for task in items(&tasks["get_tasks"]["tasks"]) {
        let id = text(&task["task_id"]["value"]);
        let executor = task["executor_id"]["value"].as_str().unwrap_or(&id).to_owned();
        of_executor.entry((text(&task["framework_id"]["value"]), executor)).or_default().push(id);
    }
    let asked = items(&agents["get_agents"]["agents"]).iter().filter(|agent| agent["active"] == true).map(|agent| {
        let (at, hostname) = (address(agent), text(&agent["agent_info"]["hostname"]));
        async move {
            // An agent that does not answer is left out: it may be on its way down.
            let containers = Client::new(&at.ok()?).json("/containers").await.ok()?;
            Some((hostname, containers))
        }
    });
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await;
    let mut picture = Picture::new();
    for (hostname, containers) in answers.into_iter().flatten() {
        for container in items(&containers) {
            let (framework_id, executor) = (text(&container["framework_id"]), text(&container["executor_id"]));
            let tasks = of_executor.get(&(framework_id.clone(), executor)).cloned().unwrap_or_default();
            let statistics = container["statistics"].clone();
            let look = Look { tasks, framework_id, hostname: hostname.clone(), statistics };
            picture.insert(text(&container["container_id"]), look);
        }
    }
    Ok(picture)
}

/// One row for each container that was there at both looks, the busiest first.
fn rows(before: &Picture, now: &Picture) -> Vec<Value> {
    let mut rows: Vec<Value> = now
        .iter()
        .filter_map(|(container, look)| {
            let then = &before.get(container)?.statistics;
            let used = |statistics: &Value| {
                let part = |name: &str| statistics[name].as_f64().unwrap_or(0.0);
                (part("cpus_user_time_secs") + part("cpus_system_time_secs"), part("timestamp"))
            };
            let ((used_then, at_then), (used_now, at_now)) = (used(then), used(&look.statistics));
            let elapsed = at_now - at_then;
            let cpus = if elapsed > 0.0 { ((used_now - used_then) / elapsed).max(0.0) } else { 0.0 };
            Some(json!({
                "tasks": look.tasks, "framework_id": look.framework_id, "container_id": container,
                "hostname": look.hostname, "cpus": (cpus * 1000.0).round() / 1000.0, "statistics": look.statistics,
            }))
        })
        .collect();
    let cpus = |row: &Value| row["cpus"].as_f64().unwrap_or(0.0);
    rows.sort_by(|one, other| cpus(other).total_cmp(&cpus(one)));
    rows
}

fn table(rows: &[Value]) -> Table {
    let mut table =
        Table::new(&["TASK", "FRAMEWORK", "AGENT", "CPUS", "OF", "MEM", "OF", "PROCESSES", "THROTTLED", "DISK"]);
    for row in rows {
        let told = &row["statistics"];
        let number = |name: &str| told[name].as_f64();
        let size = |name: &str| number(name).map_or_else(|| "-".to_owned(), mebibytes);
        let memory = ["mem_total_bytes", "mem_rss_bytes"].into_iter().find_map(number);
        let tasks = items(&row["tasks"]).iter().map(text).collect::<Vec<_>>().join(",");
        table.row(vec![
            if tasks.is_empty() { text(&row["container_id"]) } else { tasks },
            text(&row["framework_id"]),
            text(&row["hostname"]),
            format!("{:.2}", row["cpus"].as_f64().unwrap_or(0.0)),
            number("cpus_limit").map_or_else(|| "-".to_owned(), |cpus| cpus.to_string()),
            memory.map_or_else(|| "-".to_owned(), mebibytes),
            size("mem_limit_bytes"),
            number("processes").map_or_else(|| "-".to_owned(), |count| count.to_string()),
            number("cpus_throttled_time_secs").map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}s")),
            size("disk_used_bytes"),
        ]);
    }
    table
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1}M", bytes / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_what_was_used_between_two_looks() {
        let look = |user: f64, at: f64| Look {
            tasks: vec!["t".to_owned()],
            framework_id: "f".to_owned(),
            hostname: "h".to_owned(),
            statistics: json!({"cpus_user_time_secs": user, "cpus_system_time_secs": 1.0, "timestamp": at}),
        };
        let picture = |idle: f64, busy: f64, at: f64| {
            Picture::from([("a".to_owned(), look(idle, at)), ("b".to_owned(), look(busy, at))])
        };
        let rows = rows(&picture(5.0, 1.0, 100.0), &picture(5.0, 4.0, 102.0));
        assert_eq!((&rows[0]["container_id"], &rows[0]["cpus"]), (&json!("b"), &json!(1.5)));
        assert_eq!(rows[1]["cpus"], json!(0.0));
        assert!(table(&rows).to_string().contains("1.50"));
    }
}
