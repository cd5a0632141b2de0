//! What an agent gives an executor that it starts, in its environment: whom it may trust, who it is, and how its tasks are
//! run. `executor.rs` reads it in the process that it becomes.

use super::executor;
use anyhow::{Context, Result};
use kaon_http::agent::token::Tokens;
use kaon_isolators::docker::DockerConfig;
use kaon_isolators::fetcher::FetcherConfig;
use kaon_isolators::images::ImagesConfig;
use kaon_isolators::launcher::Rotation;
use kaon_isolators::members::Members;
use kaon_isolators::secrets::DIRECTORY_VARIABLE;
use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::id::{ContainerId, ExecutorId, FrameworkId};
use kaon_kernel::message::session::PeerRole;
use kaon_transport::{Authority, Request};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What the executors of one agent are given.
pub(super) struct Provision {
    /// Vouches for the built-in ones.
    pub(super) authority: Authority,
    /// The certificate of the cluster's authority (PEM), which vouches for the agent.
    pub(super) authority_pem: String,
    /// Where they reach the agent, and the name in its certificate.
    pub(super) agent: (SocketAddr, String),
    /// How members of pods are fetched for, where their images come from, what they are shown, which Docker engine runs them.
    pub(super) fetcher: FetcherConfig,
    pub(super) images: Option<ImagesConfig>,
    pub(super) members: Members,
    pub(super) docker: Option<DockerConfig>,
    /// Where secrets are, for the members of pods.
    pub(super) secrets: Option<PathBuf>,
    /// How large the outputs of tasks may be.
    pub(super) rotation: Option<Rotation>,
    /// Where built-in ones panic, for tests.
    pub(super) plants: Vec<String>,
    /// For frameworks' own.
    pub(super) tokens: Option<Tokens>,
}

impl Provision {
    /// The variables of the executor in a container.
    ///
    /// # Errors
    /// When no certificate can be made for it.
    pub(super) fn environment(&self, container: &ContainerId, spec: &LaunchSpec) -> io::Result<Vec<(String, String)>> {
        if spec.program != Program::BuiltinExecutor {
            return Ok(self.tokens.as_ref().map(|tokens| token(tokens, container, spec)).into_iter().collect());
        }
        let request = Request { role: PeerRole::Executor, name: container.to_string(), names: Vec::new() };
        let credentials = self.authority.issue(&request).map_err(io::Error::other)?;
        let (address, name) = &self.agent;
        let mut pairs = vec![
            (executor::AGENT_ADDRESS, address.to_string()),
            (executor::AGENT_NAME, name.clone()),
            (executor::CERTIFICATE, credentials.certificate_pem().to_owned()),
            (executor::KEY, credentials.key_pem().to_owned()),
            (executor::AUTHORITY, self.authority_pem.clone()),
            (executor::FETCHER, serde_json::to_string(&self.fetcher)?),
        ];
        let owner = || Some(container.to_string());
        if let Some(images) = &self.images {
            let config = ImagesConfig { owner: owner(), ..images.clone() };
            pairs.push((executor::IMAGES, serde_json::to_string(&config)?));
        }
        if self.members != Members::default() {
            pairs.push((executor::MEMBERS, serde_json::to_string(&self.members)?));
        }
        if let Some(docker) = &self.docker {
            let config = DockerConfig { owner: owner(), ..docker.clone() };
            pairs.push((executor::DOCKER, serde_json::to_string(&config)?));
        }
        if let Some(secrets) = &self.secrets {
            pairs.push((DIRECTORY_VARIABLE, secrets.display().to_string()));
        }
        if let Some(rotation) = self.rotation {
            pairs.push((executor::ROTATION, format!("{},{}", rotation.bytes_max, rotation.files_max)));
        }
        if !self.plants.is_empty() {
            pairs.push((executor::PLANTS, self.plants.join(",")));
        }
        Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// The credential of a framework's own executor, which it shows with each of its calls.
fn token(tokens: &Tokens, container: &ContainerId, spec: &LaunchSpec) -> (String, String) {
    let find = |name: &str| spec.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let framework = FrameworkId::trusted(find("MESOS_FRAMEWORK_ID").unwrap_or_default());
    let executor = ExecutorId::trusted(find("MESOS_EXECUTOR_ID").unwrap_or_default());
    ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN".to_owned(), tokens.issue(&framework, &executor, container))
}

/// The authority that vouches for the executors of the agent of a directory: the cluster's key never leaves its place.
pub(super) fn authority(dir: &Path, cluster: &str) -> Result<Authority> {
    let home = dir.join("executors");
    if home.exists() {
        return Authority::load(&home).with_context(|| format!("the authority in {} can't be read", home.display()));
    }
    std::fs::DirBuilder::new().mode(0o700).create(&home)?;
    let authority = Authority::create(cluster, "executors")?;
    authority.save(&home)?;
    Ok(authority)
}
