//! Flags of the Docker containerizer. Names and meanings are those of Mesos's flags (reference 12.2, 15.2), with dashes.

use anyhow::{Result, bail};
use clap::Args;
use kaon_isolators::docker::{DOCKER, DockerConfig, SOCKET_DEFAULT};
use std::path::{Path, PathBuf};

/// Which containerizers an agent has.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Docker")]
pub(crate) struct Docker {
    /// Who runs containers: `mesos`, or `docker,mesos`. Which of them runs a container is the type of its ContainerInfo.
    #[arg(long, env = "KAON_CONTAINERIZERS", default_value = "mesos", value_name = "LIST")]
    pub(crate) containerizers: String,
    /// The socket of the Docker engine.
    #[arg(long, env = "KAON_DOCKER_SOCKET", default_value = SOCKET_DEFAULT, value_name = "PATH")]
    pub(crate) docker_socket: PathBuf,
    /// Whether Docker containers of this agent that nobody knows any more are removed when it starts.
    #[arg(long, env = "KAON_DOCKER_KILL_ORPHANS", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) docker_kill_orphans: bool,
}

impl Docker {
    /// How the engine is used, if it is.
    ///
    /// # Errors
    /// A list that names others.
    pub(crate) fn config(
        &self,
        runtime_directory: &Path,
        credentials: Option<PathBuf>,
        caps_cpus: bool,
    ) -> Result<Option<DockerConfig>> {
        let names: Vec<&str> = self.containerizers.split(',').map(str::trim).collect();
        if !names.contains(&"mesos") || names.iter().any(|name| !["mesos", DOCKER].contains(name)) {
            bail!("--containerizers {}: expected mesos, or docker,mesos", self.containerizers);
        }
        if !names.contains(&DOCKER) {
            return Ok(None);
        }
        Ok(Some(DockerConfig {
            socket: std::path::absolute(&self.docker_socket)?,
            credentials,
            agent: runtime_directory.display().to_string(),
            owner: None,
            caps_cpus,
            kills_orphans: self.docker_kill_orphans,
        }))
    }
}
