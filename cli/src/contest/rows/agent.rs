//! Reference 2: the old endpoints of an agent, and the files of sandboxes.

use crate::contest::arena::{Arena, items};
use crate::contest::row::{Row, row};
use crate::contest::story::{Story, Transcript};
use crate::contest::wire::{Answer, exchange};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;

async fn get(arena: &Arena, path: &str) -> Result<Answer> {
    exchange(arena.agent(), "GET", path, &[], b"").await
}

/// The sandbox of the story that ended well: the agent's address, and the path that every agent has for it.
async fn sandbox(arena: &Arena) -> Result<(String, String, Arc<Transcript>)> {
    let told = arena.story(Story::Finished).await?;
    let address = &told.offer["url"]["address"];
    let agent = format!("{}:{}", address["ip"].as_str().context("an ip")?, address["port"]);
    let task = told.task["task_id"]["value"].as_str().context("an id")?;
    let path = format!("/frameworks/{}/executors/{task}/runs/latest", told.home.id);
    Ok((agent, path, told))
}

async fn file(agent: &str, endpoint: &str, path: &str, more: &str) -> Result<Answer> {
    exchange(agent, "GET", &format!("/files/{endpoint}?path={path}{more}"), &[], b"").await
}

fn json_of(answer: Answer) -> Result<Value> {
    let answer = answer.expect(200)?;
    serde_json::from_slice(&answer.body).with_context(|| answer.shown())
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = polled();
    rows.extend(files());
    rows.into_iter().map(|row| row.once().within(60)).collect()
}

fn polled() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in ["/health", "/slave(1)/health"] {
        let trial = move |arena: Arena| async move { get(&arena, path).await?.expect(200).map(drop) };
        rows.push(row("2", format!("GET {path} of an agent"), "an agent", "200", trial));
    }
    let state = |arena: Arena| async move {
        for path in ["/state", "/slave(1)/state"] {
            let state = json_of(get(&arena, path).await?)?;
            for key in ["version", "start_time", "id", "pid", "hostname", "resources", "attributes", "flags"] {
                ensure!(state.get(key).is_some(), "no {key} in {state}");
            }
            ensure!(state["pid"].as_str().is_some_and(|pid| pid.starts_with("slave(1)@")), "{state}");
            ensure!(state["resources"]["cpus"].is_number(), "{state}");
        }
        Ok(())
    };
    let version = |arena: Arena| async move {
        let version = json_of(get(&arena, "/version").await?)?;
        ensure!(version["version"].as_str().is_some_and(|text| text.split('.').count() == 3), "{version}");
        Ok(())
    };
    let flags = |arena: Arena| async move {
        let flags = json_of(get(&arena, "/flags").await?)?;
        ensure!(flags["flags"].is_object(), "{flags}");
        Ok(())
    };
    let metrics = |arena: Arena| async move {
        let metrics = json_of(get(&arena, "/metrics/snapshot").await?)?;
        for key in ["slave/registered", "slave/uptime_secs", "slave/cpus_total", "slave/mem_total"] {
            ensure!(metrics[key].is_number(), "no {key}");
        }
        Ok(())
    };
    let unknown = |arena: Arena| async move { get(&arena, "/no/such/endpoint").await?.expect(404).map(drop) };
    rows.extend([
        row("2", "GET /state of an agent", "bare and below /slave(1)", "id, pid, resources as numbers, flags", state),
        row("2", "GET /version of an agent", "an agent", "a version of three numbers", version),
        row("2", "GET /flags of an agent", "an agent", "an object", flags),
        row("16", "GET /metrics/snapshot of an agent", "an agent", "the names that dashboards read", metrics),
        row("2", "GET of an agent", "a path that nothing answers", "404", unknown),
    ]);
    rows
}

fn files() -> Vec<Row> {
    let browse = |arena: Arena| async move {
        let (agent, path, _) = sandbox(&arena).await?;
        let listed = json_of(file(&agent, "browse", &path, "").await?)?;
        let out = items(&listed).iter().find(|one| one["path"].as_str().is_some_and(|path| path.ends_with("/stdout")));
        let out = out.with_context(|| listed.to_string())?;
        ensure!(out["size"].as_u64().is_some_and(|size| size > 0) && out["mtime"].is_f64(), "{out}");
        let mode = out["mode"].as_str().unwrap_or_default();
        ensure!(mode.starts_with("-rw") && mode.len() == 10, "{out}");
        ensure!(out["uid"].is_string() && out["gid"].is_string() && out["nlink"].is_number(), "{out}");
        Ok(())
    };
    let size = |arena: Arena| async move {
        let (agent, path, told) = sandbox(&arena).await?;
        for more in ["", "&offset=-1"] {
            let read = json_of(file(&agent, "read", &format!("{path}/stdout"), more).await?)?;
            ensure!(read == json!({"offset": told.stdout.len(), "data": ""}), "{read}");
        }
        Ok(())
    };
    let piece = |arena: Arena| async move {
        let (agent, path, told) = sandbox(&arena).await?;
        let read = json_of(file(&agent, "read", &format!("{path}/stdout"), "&offset=1&length=3").await?)?;
        ensure!(read == json!({"offset": 1, "data": &told.stdout[1..4]}), "{read}");
        let whole = json_of(file(&agent, "read", &format!("{path}/stdout"), "&offset=0&length=-1").await?)?;
        ensure!(whole == json!({"offset": 0, "data": told.stdout}), "{whole}");
        Ok(())
    };
    let beyond = |arena: Arena| async move {
        let (agent, path, _) = sandbox(&arena).await?;
        let read = json_of(file(&agent, "read", &format!("{path}/stdout"), "&offset=1000000&length=5").await?)?;
        ensure!(read["data"] == "", "{read}");
        Ok(())
    };
    let download = |arena: Arena| async move {
        let (agent, path, told) = sandbox(&arena).await?;
        let answer = file(&agent, "download", &format!("{path}/stdout"), "").await?.expect(200)?;
        ensure!(answer.text() == told.stdout, "{}", answer.shown());
        let disposition = answer.header("content-disposition").unwrap_or_default();
        ensure!(disposition.starts_with("attachment; filename="), "{disposition}");
        ensure!(answer.header("content-type") == Some("application/octet-stream"), "{:?}", answer.headers);
        Ok(())
    };
    let refused = |arena: Arena| async move {
        let (agent, path, _) = sandbox(&arena).await?;
        for (endpoint, query) in [("browse", ""), ("read", ""), ("download", "")] {
            let answer = exchange(&agent, "GET", &format!("/files/{endpoint}{query}"), &[], b"").await?;
            ensure!(answer.status == 400, "{endpoint} without a path: {}", answer.shown());
        }
        file(&agent, "read", &path, "&offset=0").await?.expect(400)?;
        file(&agent, "download", &path, "").await?.expect(400)?;
        file(&agent, "read", &format!("{path}/stdout"), "&offset=x").await?.expect(400).map(drop)
    };
    let missing = |arena: Arena| async move {
        let (agent, path, _) = sandbox(&arena).await?;
        for endpoint in ["browse", "read", "download"] {
            file(&agent, endpoint, &format!("{path}/no-such-file"), "&offset=0").await?.expect(404)?;
        }
        Ok(())
    };
    let outside = |arena: Arena| async move {
        let (agent, path, _) = sandbox(&arena).await?;
        for way in ["/etc/passwd", "../../../../../../../../etc/passwd", "/../etc/passwd", "/proc/self/environ"] {
            for path in [way.to_owned(), format!("{path}/{way}")] {
                let answer = file(&agent, "read", &path, "&offset=0").await?;
                ensure!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.shown());
                ensure!(!answer.text().contains("root:"), "{path} was read");
            }
        }
        Ok(())
    };
    vec![
        row("2", "GET /files/browse", "a sandbox", "path, size, mtime, mode, owners of its files", browse),
        row("2", "GET /files/read", "offset -1 or none", "the size, and no data", size),
        row("2", "GET /files/read", "an offset and a length", "that piece", piece),
        row("2", "GET /files/read", "an offset beyond the end", "no data", beyond),
        row("2", "GET /files/download", "stdout", "its bytes as an attachment", download),
        row("2", "GET /files", "no path, a directory to read, a bad offset", "400", refused),
        row("2", "GET /files", "a file that is not there", "404", missing),
        row("attacks", "GET /files/read", "ways out of the sandbox", "400, 403 or 404, and nothing is read", outside),
    ]
}
