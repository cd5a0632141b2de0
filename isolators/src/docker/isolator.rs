//! The containerizer `docker` as a member of the chain: it knows which containers have one at the engine, removes that when
//! they are gone, and tells what it uses.

use super::engine::{Engine, Error as Failure};
use super::{AGENT_LABEL, DockerConfig};
use crate::isolator::{Contribution, Error, Isolator, Survivor};
use crate::process::Tree;
use hyper::Method;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::id::ContainerId;
use kaon_kernel::statistics::Statistics;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Its name, in `--containerizers`.
pub const DOCKER: &str = "docker";

/// The containers of a Docker engine.
#[derive(Clone, Debug)]
pub struct DockerContainers {
    config: DockerConfig,
    /// One file for each container that may have one at the engine, with its name there.
    marks: PathBuf,
}

fn failed(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { isolator: DOCKER, action, source }
}

fn told(action: &str, failure: Failure) -> Error {
    failed(action)(io::Error::other(failure.to_string()))
}

impl DockerContainers {
    /// Those of an agent or executor with this runtime directory.
    pub fn new(config: DockerConfig, runtime_directory: &Path) -> Self {
        Self { config, marks: runtime_directory.join("docker") }
    }

    fn mark(&self, container: &ContainerId) -> PathBuf {
        self.marks.join(container.as_str())
    }

    /// The name that a container has at the engine, if it has one there.
    fn named(&self, container: &ContainerId) -> Option<String> {
        fs::read_to_string(self.mark(container)).ok().filter(|name| !name.is_empty())
    }

    /// Notes that a container has one at the engine, or is about to.
    pub(crate) fn note(&self, container: &ContainerId) -> io::Result<()> {
        fs::create_dir_all(&self.marks)?;
        fs::write(self.mark(container), self.config.name(container))
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let engine = Engine::new(&self.config.socket);
        let removed = Engine::block(self.config.remove(&engine, name)).map_err(failed("ask Docker"))?;
        removed.map_err(|failure| told(&format!("remove the Docker container {name}"), failure))
    }
}

impl Isolator for DockerContainers {
    fn name(&self) -> &'static str {
        DOCKER
    }

    fn recover(&self, survivors: &[Survivor], _: &[ContainerId]) -> Result<(), Error> {
        if self.config.owner.is_some() || !self.config.kills_orphans {
            return Ok(());
        }
        let engine = Engine::new(&self.config.socket);
        let filters = json!({"label": [format!("{AGENT_LABEL}={}", self.config.agent)]}).to_string();
        let filters = crate::images::escaped(&filters);
        let path = format!("/containers/json?all=true&filters={filters}");
        let listed = Engine::block(engine.order(Method::GET, &path, None)).map_err(failed("ask Docker"))?;
        let listed = listed.map_err(|failure| told("list the containers of Docker", failure))?;
        let known: BTreeSet<String> = survivors.iter().map(|one| self.config.name(&one.container)).collect();
        let names = listed.as_array().into_iter().flatten().filter_map(|one| one["Names"][0].as_str());
        for name in names.map(|name| name.trim_start_matches('/')).filter(|name| !known.contains(*name)) {
            tracing::info!(name, "a Docker container that nobody knows is removed");
            self.remove(name)?;
        }
        Ok(())
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        // The executor that is built in has its task at the engine, under its own container's name.
        if spec.container.as_ref().is_some_and(|asked| asked.docker.is_some()) {
            self.note(container).map_err(failed("note the Docker container"))?;
        }
        Ok(Contribution::default())
    }

    fn addresses(&self, container: &ContainerId) -> Vec<String> {
        let Some(name) = self.named(container) else { return Vec::new() };
        let engine = Engine::new(&self.config.socket);
        let asked = Engine::block(engine.order(Method::GET, &format!("/containers/{name}/json"), None));
        // One that can't be asked for has none that are known.
        asked.ok().and_then(Result::ok).map(|told| addresses(&told)).unwrap_or_default()
    }

    fn usage(&self, container: &ContainerId, _: &Tree) -> Result<Statistics, Error> {
        let Some(name) = self.named(container) else { return Ok(Statistics::default()) };
        let engine = Engine::new(&self.config.socket);
        let path = format!("/containers/{name}/stats?stream=false&one-shot=true");
        match Engine::block(engine.order(Method::GET, &path, None)).map_err(failed("ask Docker"))? {
            Ok(figures) => Ok(read(&figures)),
            // One that is being made or removed uses nothing that could be told.
            Err(failure) if matches!(failure.status(), Some(404 | 409)) => Ok(Statistics::default()),
            Err(failure) => Err(told("read what a Docker container uses", failure)),
        }
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        let Some(name) = self.named(container) else { return Ok(()) };
        self.remove(&name)?;
        fs::remove_file(self.mark(container)).map_err(failed("forget a Docker container"))
    }
}

/// The addresses of a container at the engine: none in the machine's network.
fn addresses(told: &Value) -> Vec<String> {
    let networks = told["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    let each = networks.flat_map(|(_, network)| [&network["IPAddress"], &network["GlobalIPv6Address"]]);
    each.filter_map(Value::as_str).filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

/// The figures of the engine, as far as they are ours.
fn read(figures: &Value) -> Statistics {
    let cpu = &figures["cpu_stats"]["cpu_usage"];
    Statistics {
        user_nanos: cpu["usage_in_usermode"].as_u64(),
        system_nanos: cpu["usage_in_kernelmode"].as_u64(),
        memory_bytes: figures["memory_stats"]["usage"].as_u64(),
        processes: figures["pids_stats"]["current"].as_u64(),
        ..Statistics::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_all_networks() {
        let told = json!({"NetworkSettings": {"Networks": {
            "bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": ""},
            "more": {"IPAddress": "10.0.0.3", "GlobalIPv6Address": "fd00::3"}}}});
        assert_eq!(addresses(&told), ["172.17.0.2", "10.0.0.3", "fd00::3"]);
        assert!(addresses(&json!({"NetworkSettings": {"Networks": {"host": {"IPAddress": ""}}}})).is_empty());
        assert!(addresses(&Value::Null).is_empty());
    }
}
