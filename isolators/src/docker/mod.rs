//! Containers of a Docker engine (`--containerizers=docker,mesos`, reference 12.2): what a container of type `DOCKER` asks for is
//! carried out over the Engine API.
//!
//! ```text
//! launch ─► engine: pull, create, start ─► launcher ─► `kaon docker` follows its output, forwards TERM, ends as it does
//!                                                            │ the end of the tree
//! cleanup ◄── isolator `docker`: removes the engine's container, whatever state it is in ◄──┘
//! ```
//! So a Docker container has a process of ours that stands for it (`follow.rs`), with a launcher like every other: it outlives the agent,
//! its output lands in the sandbox and is turned over, a kill has its grace, its end is waited for, its status is on disk. What the engine
//! holds is named after the container and labelled with its agent; what nobody knows after a restart is removed.

mod body;
mod engine;
mod follow;
mod isolator;

pub use follow::main;
pub use isolator::{DOCKER, DockerContainers};

use crate::images::credentials;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use engine::{Engine, Error};
use hyper::Method;
use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::container_info::Docker;
use kaon_kernel::id::ContainerId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The argument with which the binary follows a container of Docker.
pub const ARGUMENT: &str = "docker";

/// The label with the agent of a container.
const AGENT_LABEL: &str = "kaon.agent";

/// How an agent uses a Docker engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerConfig {
    /// The engine's socket (`--docker-socket`).
    pub socket: PathBuf,
    /// Who may fetch images: a file as `docker login` writes it.
    pub credentials: Option<PathBuf>,
    /// Which agent's the containers are: its runtime directory.
    pub agent: String,
    /// The container that those of an executor are named after.
    pub owner: Option<String>,
    /// Whether what a container takes of the offer is also its limit of processors (`--cgroups-enable-cfs`).
    pub caps_cpus: bool,
    /// Whether what nobody knows is removed (`--docker-kill-orphans`).
    pub kills_orphans: bool,
}

/// The socket of those who name none (Mesos's `--docker_socket`).
pub const SOCKET_DEFAULT: &str = "/var/run/docker.sock";

impl DockerConfig {
    /// The name of a container at the engine.
    pub(crate) fn name(&self, container: &ContainerId) -> String {
        format!("mesos-{}", self.owner.as_deref().unwrap_or(container.as_str()))
    }

    /// The program that stands for a container at the engine.
    pub(crate) fn follower(&self, container: &ContainerId) -> Program {
        self.own(vec!["run".to_owned(), self.name(container)])
    }

    /// The program that runs a command beside what runs in a container at the engine.
    pub(crate) fn beside(&self, container: &ContainerId, command: &Program) -> Program {
        let mut arguments = vec!["exec".to_owned(), self.name(container)];
        match command {
            Program::Shell(text) => arguments.extend(["/bin/sh".to_owned(), "-c".to_owned(), text.clone()]),
            Program::Exec { file, arguments: theirs } => {
                arguments.push(file.clone());
                arguments.extend(theirs.iter().skip(1).cloned());
            }
            Program::BuiltinExecutor => {}
        }
        self.own(arguments)
    }

    fn own(&self, rest: Vec<String>) -> Program {
        let mut arguments = vec!["kaon".to_owned(), ARGUMENT.to_owned(), self.socket.display().to_string()];
        arguments.extend(rest);
        // The link of the launcher's own process, which becomes this program.
        Program::Exec { file: "/proc/self/exe".to_owned(), arguments }
    }

    /// Has the image, makes the container and starts it; `more` are variables for it beside its own. What was made is removed by the isolator's cleanup.
    pub(crate) async fn start(
        &self,
        container: &ContainerId,
        spec: &LaunchSpec,
        more: &[(String, String)],
        work_directory: &Path,
    ) -> Result<(), String> {
        let Some(asked) = spec.container.as_deref() else { return Err("nothing is asked for".to_owned()) };
        let Some(docker) = asked.docker.as_deref() else { return Err("no Docker container is asked for".to_owned()) };
        let name = self.name(container);
        let mut body = body::of(self, asked, docker, spec, more, work_directory)?;
        body["Labels"][AGENT_LABEL] = json!(self.agent);
        let engine = Engine::new(&self.socket);
        self.have_image(&engine, docker)
            .await
            .map_err(|error| format!("can't fetch image {}: {error}", docker.image))?;
        let path = format!("/containers/create?name={name}");
        let mut made = engine.order(Method::POST, &path, Some(&body)).await;
        if matches!(&made, Err(error) if error.status() == Some(409)) {
            // One of this very name that an earlier try left: names are never used twice.
            self.remove(&engine, &name).await.map_err(|error| error.to_string())?;
            made = engine.order(Method::POST, &path, Some(&body)).await;
        }
        made.map_err(|error| format!("Docker does not make the container: {error}"))?;
        let started = engine.order(Method::POST, &format!("/containers/{name}/start"), None).await;
        started.map(drop).map_err(|error| format!("Docker does not start the container: {error}"))
    }

    async fn have_image(&self, engine: &Engine, docker: &Docker) -> Result<(), Error> {
        let image = &docker.image;
        if !docker.pulls {
            match engine.order(Method::GET, &format!("/images/{image}/json"), None).await {
                Ok(_) => return Ok(()),
                Err(error) if error.status() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        // Without a tag the engine would fetch all of them.
        let has_version = image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let from = if has_version { image.clone() } else { format!("{image}:latest") };
        engine.pull(&format!("/images/create?fromImage={from}"), self.authority(image)?.as_deref()).await
    }

    /// Who fetches, in the form that the engine takes.
    fn authority(&self, image: &str) -> Result<Option<String>, Error> {
        let Some(path) = &self.credentials else { return Ok(None) };
        let config = std::fs::read(path).map_err(|source| Error::Io { action: "read the credentials", source })?;
        let pair = credentials::pair(&config, image).map_err(Error::Credentials)?;
        Ok(pair.map(|(username, password)| {
            URL_SAFE.encode(json!({"username": username, "password": password}).to_string())
        }))
    }

    async fn remove(&self, engine: &Engine, name: &str) -> Result<(), Error> {
        match engine.order(Method::DELETE, &format!("/containers/{name}?force=true&v=true"), None).await {
            Err(error) if !matches!(error.status(), Some(404 | 409)) => Err(error),
            // Gone, or on its way.
            _ => Ok(()),
        }
    }
}
