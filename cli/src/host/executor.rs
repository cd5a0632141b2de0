//! `kaon executor`: the built-in executors as a process of their own, with one session: to its agent.

use super::fresh_host_id;
use anyhow::{Context, Result};
use kaon_actors::executor::{Executor, ExecutorConfig, Inherited};
use kaon_isolators::cgroups::{GROUP_VARIABLE, Observed};
use kaon_isolators::chain::Chain;
use kaon_isolators::containers::{
    ContainersConfig, Executable, INSIDE_VARIABLE, Inside, ProcessContainers, RIGHTS_VARIABLE, RUNTIME_VARIABLE,
};
use kaon_isolators::docker::{DockerConfig, DockerContainers};
use kaon_isolators::fetcher::Fetcher;
use kaon_isolators::images::{Images, ImagesConfig};
use kaon_isolators::isolator::Isolator;
use kaon_isolators::launcher::{Rotation, inherited_socket};
use kaon_isolators::members::Members;
use kaon_isolators::posix;
use kaon_isolators::sandbox;
use kaon_isolators::secrets::{DIRECTORY_VARIABLE, Directory, GIVEN_VARIABLE, Given, Secrets};
use kaon_kernel::actor::supervision::EXECUTOR_TREE;
use kaon_kernel::actor::{ActorCell, Cell, HostId};
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::port::Containers;
use kaon_kernel::task::ExecutorKind;
use kaon_runtime::journal::MemoryJournal;
use kaon_runtime::{Birth, Host, HostConfig, Ports};
use kaon_transport::{AuthorityCertificate, Credentials, Endpoint, EndpointConfig, Target, Trust};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an agent tells its executors beyond the contract of reference 6.1. No task sees these.
pub(crate) const AGENT_ADDRESS: &str = "KAON_AGENT_ADDRESS";
/// The name in the agent's certificate.
pub(crate) const AGENT_NAME: &str = "KAON_AGENT_NAME";
/// The certificate of this one container (PEM), made by the agent's own authority.
pub(crate) const CERTIFICATE: &str = "KAON_EXECUTOR_CERTIFICATE";
/// Its key (PEM).
pub(crate) const KEY: &str = "KAON_EXECUTOR_KEY";
/// The certificate of the cluster's authority (PEM), which vouches for the agent.
pub(crate) const AUTHORITY: &str = "KAON_EXECUTOR_AUTHORITY";
/// How the agent's fetcher works (JSON); the cache is the agent's alone.
pub(crate) const FETCHER: &str = "KAON_EXECUTOR_FETCHER";
/// Panics planted for tests, as in `kaon agent --plant-panic`.
pub(crate) const PLANTS: &str = "KAON_EXECUTOR_PLANT_PANIC";

/// Where images come from and are kept, for the members of a pod (JSON).
pub(crate) const IMAGES: &str = "KAON_EXECUTOR_IMAGES";

/// The Docker engine that runs tasks of its type (JSON).
pub(crate) const DOCKER: &str = "KAON_EXECUTOR_DOCKER";

/// How large the task's outputs may be: bytes of a file, number of older files.
pub(crate) const ROTATION: &str = "KAON_EXECUTOR_LOG_ROTATION";

/// What of the agent's isolators its members have for themselves (JSON).
pub(crate) const MEMBERS: &str = "KAON_EXECUTOR_MEMBERS";

/// Measures and sets limits; what stands around is the agent's. One that shares a group for memory with its tasks looks there.
fn isolators(members: Option<&Members>, images: Option<&ImagesConfig>, work_directory: &Path) -> Result<Chain> {
    let mut all: Vec<Arc<dyn Isolator>> = vec![Arc::new(posix::Cpu), Arc::new(posix::Mem), Arc::new(posix::Rlimits)];
    if let Some(observed) = std::env::var(GROUP_VARIABLE).ok().as_deref().and_then(Observed::parse) {
        all.push(Arc::new(observed));
    }
    if let Some(members) = members {
        all.extend(members.isolators(images, work_directory)?);
    }
    Ok(Chain::new(all)?)
}

fn rotation(text: &str) -> Option<Rotation> {
    let (bytes, files) = text.split_once(',')?;
    Some(Rotation { bytes_max: bytes.parse().ok().filter(|&bytes| bytes > 0)?, files_max: files.parse().ok()? })
}

/// A variable that every agent sets.
fn text(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: an executor is started by its agent"))
}

/// Who knows what the secrets of its tasks are: its agent has handed them on, or said where they are.
fn secrets() -> Result<Option<Arc<dyn Secrets>>> {
    if let Ok(text) = std::env::var(GIVEN_VARIABLE) {
        return Ok(Some(Arc::new(Given::parse(&text).context("the secrets of the task")?)));
    }
    Ok(std::env::var_os(DIRECTORY_VARIABLE).map(|path| Arc::new(Directory(path.into())) as Arc<dyn Secrets>))
}

/// The containers of its tasks, as the agent that started it said.
fn containers(config: &ExecutorConfig) -> Result<ProcessContainers> {
    let home = PathBuf::from(text("MESOS_DIRECTORY")?);
    let work_directory = home.ancestors().nth(PathBuf::from(&config.sandbox).components().count());
    let work_directory = work_directory.context("the sandbox lies below the work directory")?.to_owned();
    let inside = std::env::var(INSIDE_VARIABLE).ok().map(PathBuf::from);
    let rights = std::env::var(RIGHTS_VARIABLE).ok();
    // The sandbox is its task's, which may not lead an executor with more rights astray.
    let apart = std::env::var(RUNTIME_VARIABLE).ok().map(PathBuf::from);
    let runtime_directory = apart.unwrap_or_else(|| home.join(sandbox::EXECUTOR));
    let docker: Option<DockerConfig> =
        std::env::var(DOCKER).ok().map(|text| serde_json::from_str(&text)).transpose().context("the Docker engine")?;
    // Who builds the walls of several tasks needs the rights to.
    let is_builder = config.kind == ExecutorKind::Default && nix::unistd::geteuid().is_root();
    let told = |name: &str| std::env::var(name).ok().filter(|_| is_builder);
    let images: Option<ImagesConfig> = told(IMAGES).map(|text| serde_json::from_str(&text)).transpose()?;
    let members: Option<Members> = told(MEMBERS).map(|text| serde_json::from_str(&text)).transpose()?;
    let mut isolators = isolators(members.as_ref(), images.as_ref(), &work_directory)?;
    if let Some(docker) = &docker {
        isolators = isolators.and(Arc::new(DockerContainers::new(docker.clone(), &runtime_directory)))?;
    }
    let containers = ContainersConfig {
        executable: Executable::current()?,
        executor_environment: Arc::new(|_, _| Ok(Vec::new())),
        isolators,
        docker,
        runtime_directory,
        work_directory,
        // A command executor runs as the user of its task already.
        switch_user: config.kind == ExecutorKind::Default,
        fetcher: Some(Fetcher::new(serde_json::from_str(&text(FETCHER)?)?, Executable::current()?)?),
        images: images
            .map(|images| Images::new(images, Executable::current().map_err(std::io::Error::other)?))
            .transpose()?,
        secrets: secrets()?,
        rights: rights.as_deref().map(serde_json::from_str).transpose().context("the rights of tasks")?,
        inside: inside.as_deref().map(Inside::read).transpose().context("what stands around the task")?,
        rotation: std::env::var(ROTATION).ok().as_deref().and_then(rotation),
        // Its end must be its task's, even when both launchers are killed at once.
        parent: Some(text(kaon_isolators::launcher::MARK_VARIABLE)?),
    };
    Ok(ProcessContainers::new(containers, tokio::runtime::Handle::current())?)
}

/// The host of an executor. Its journal lives as long as its process.
fn prepare(id: HostId, config: ExecutorConfig) -> Result<Host> {
    let factory = move |birth: Birth| -> Box<dyn Cell> {
        Box::new(ActorCell::new(Executor::new(config.clone()), birth.address, birth.seed))
    };
    let mut setup = HostConfig::new(id, super::random(), EXECUTOR_TREE, Box::new(MemoryJournal::fresh()));
    setup.arbiters = 1;
    let plants: Vec<String> =
        std::env::var(PLANTS).iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
    setup.plants = super::plants(&plants)?;
    Ok(Host::prepare(setup, Arc::new(factory))?)
}

/// Runs until the task has ended and the agent knows.
pub(crate) async fn run() -> Result<i32> {
    let environment = Inherited::fold(&std::env::vars().collect::<Vec<_>>());
    let config = ExecutorConfig::from_environment(environment).context("an executor is started by its agent")?;
    let credentials = Credentials::from_pem(&text(CERTIFICATE)?, &text(KEY)?)?;
    let authority = AuthorityCertificate::from_pem(&text(AUTHORITY)?)?;
    let agent = Target {
        address: text(AGENT_ADDRESS)?.parse().context("the agent's address")?,
        server_name: None,
        role: Some(PeerRole::Agent),
        name: Some(text(AGENT_NAME)?),
    };
    let containers: Arc<dyn Containers> = Arc::new(containers(&config)?);
    let id = fresh_host_id();
    let host = prepare(id, config)?;
    let bind = if agent.address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let trust = Trust { authority, roles: vec![PeerRole::Agent] };
    let mut endpoint = EndpointConfig::new(id, credentials, vec![trust], bind.parse()?);
    endpoint.inherited = inherited_socket().context("the socket of the launcher")?.map(Arc::new);
    let endpoint = Endpoint::bind(endpoint, Arc::new(host.clone()))?;
    host.plug(Ports { network: Some(endpoint.clone()), streams: None, containers: Some(containers) })?;
    let signals = super::StopSignals::hear(false)?;
    host.begin()?;
    endpoint.connect(agent)?;
    let code = super::until_over(host, signals).await?;
    endpoint.close().await;
    Ok(code)
}
