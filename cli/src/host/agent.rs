//! `kaon agent`: this machine joins the pool.

use super::calls::Calls;
use super::provision::{self, Provision};
use super::{JOURNAL_DIRECTORY, address, credentials, fresh_host_id, journal, plants, remains, seconds};
use crate::arguments::Agent as Options;
use crate::config::Flags;
use anyhow::{Context, Result, bail};
use kaon_actors::agent::{Agent, AgentConfig};
use kaon_http::agent::token::Tokens;
use kaon_http::convert::resource_flag;
use kaon_http::{AgentEdge, ContainerFigures, ContainerSource, ImagePruner, Kind, Limits, Sample};
use kaon_isolators::chain::Chain;
use kaon_isolators::containers::{ContainersConfig, Executable, ProcessContainers};
use kaon_isolators::docker::{DockerConfig, DockerContainers};
use kaon_isolators::fetcher::{Fetcher, FetcherConfig, Statistics};
use kaon_isolators::images::{Images, ImagesConfig};
use kaon_isolators::members::Members;
use kaon_isolators::resources;
use kaon_isolators::topology::{self, apart};
use kaon_isolators::way;
use kaon_kernel::actor::supervision::AGENT_TREE;
use kaon_kernel::actor::{ActorCell, ActorKind, Cell, HostId};
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::container::SweepPolicy;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::placement::Machine;
use kaon_kernel::port::Containers;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resources, parse, role};
use kaon_runtime::{Birth, Host, HostConfig, Ports};
use kaon_transport::{Endpoint, EndpointConfig, Target, Trust};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the agent until it is told to stop; its executors live on.
pub(crate) async fn run(options: Options, given: Flags) -> Result<i32> {
    let (own, cluster) = credentials(&options.credentials, PeerRole::Agent)?;
    passable_directory(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let http = kaon_http::listen(address::HTTP.choose(&dir, options.http))
        .with_context(|| format!("can't listen on {} for HTTP; --http ADDR chooses another", options.http))?;
    let http_address = http.local_addr()?;
    address::HTTP.keep(&dir, http_address)?;
    let (info, machine, memory_bytes) = describe(&options, &dir, http_address)?;

    let id = fresh_host_id();
    let (of_executors, plants): (Vec<_>, Vec<_>) =
        plants(&options.plant_panic)?.into_iter().partition(|(kind, _)| *kind == ActorKind::Executor);
    let config = config(&options, &info, machine, http_address, &dir)?;
    let switch_user = config.switch_user;
    if let Some(closed) = way::closed_to_others(&dir).filter(|_| switch_user) {
        tracing::warn!("users without a part in '{}' may not pass it: their tasks can't run here", closed.display());
    }
    let host = prepare(id, config, plants, &dir)?;

    let authority = provision::authority(&dir, &own.identity().cluster)?;
    let executors = Trust { authority: authority.certificate().clone(), roles: vec![PeerRole::Executor] };
    let name = own.identity().name.clone();
    let authority_pem = cluster.authority.pem().to_owned();
    let endpoint = EndpointConfig::new(id, own, vec![cluster, executors], address::QUIC.choose(&dir, options.listen));
    let endpoint = Endpoint::bind(endpoint, Arc::new(host.clone()))?;
    let listen = endpoint.address()?;
    address::QUIC.keep(&dir, listen)?;

    let fetching = options.fetcher.config(&dir)?;
    let fetcher = Fetcher::new(fetching.clone(), Executable::current()?).context("can't set up the fetcher's cache")?;
    let tokens = tokens(&options)?;
    let Walls { isolators, images, images_config, docker } = walls(&options, &dir, &info.resources, memory_bytes)?;
    remains::remember(&dir, &options.isolation, &images_config, docker.as_ref())?;
    let rotation = options.isolation.rotation();
    let provision = Provision {
        authority,
        authority_pem,
        agent: (listen, name),
        fetcher: FetcherConfig { cache_directory: None, ..fetching },
        images: images.is_some().then_some(images_config),
        members: Members::of(&isolators, options.isolation.host_path_volume_force_creation),
        docker: docker.clone(),
        secrets: options.isolation.secret_resolver.clone(),
        rotation,
        plants: of_executors.iter().map(|(_, nth)| format!("executor:{nth}")).collect(),
        tokens: tokens.clone(),
    };
    let containers = ContainersConfig {
        work_directory: dir.clone(),
        runtime_directory: dir.join(RUNTIME_DIRECTORY),
        executable: Executable::current()?,
        executor_environment: Arc::new(move |container, spec| provision.environment(container, spec)),
        isolators,
        switch_user,
        fetcher: Some(fetcher.clone()),
        images: images.clone(),
        docker,
        inside: None,
        rights: None,
        secrets: options.isolation.secrets(),
        rotation,
        parent: None,
    };
    let containers = Arc::new(ProcessContainers::new(containers, tokio::runtime::Handle::current())?);
    let edge = AgentEdge::new(kaon_http::AgentConfig {
        flags: flags(given, &info, &dir),
        work_dir: dir.clone(),
        info,
        metrics: numbers(host.clone(), fetcher, images.clone(), options.sandboxes.policy()?, dir.clone()),
        host: id,
        tokens,
        containers: containers_source(Arc::clone(&containers)),
        verbosity: crate::log::verbosity(),
        log: options.logging.external_log_file.clone(),
        calls: Some(Arc::new(Calls(Arc::clone(&containers)))),
        pruner: images.map(|images| Arc::new(move |kept: &[String]| images.prune(kept).map(drop)) as ImagePruner),
    });
    let containers = Some(containers as Arc<dyn Containers>);
    host.plug(Ports { network: Some(endpoint.clone()), streams: Some(edge.clone()), containers })?;
    edge.plug(Arc::new(host.clone()));
    host.begin()?;
    for master in &options.master {
        endpoint.connect(target(master)?)?;
    }
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let over = async move { drop(is_stopped.await) };
    let serving = tokio::spawn(kaon_http::serve(http, edge.clone(), Limits::default(), over));
    let signals = super::StopSignals::hear(options.leash)?;
    let mut farewell = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while farewell.recv().await.is_some() {
            tracing::info!("SIGUSR1: unregistering and shutting down");
            edge.leave();
        }
    });
    super::say_ready(http_address, listen);
    let code = super::until_over(host, signals).await?;
    drop(stop);
    endpoint.close().await;
    serving.await??;
    Ok(code)
}

/// What the agent is told.
fn config(options: &Options, info: &AgentInfo, machine: Machine, http: SocketAddr, dir: &Path) -> Result<AgentConfig> {
    let mut config = AgentConfig::new(info.clone(), http.to_string(), dir.display().to_string());
    config.registration_backoff = seconds("registration-backoff-factor", options.registration_backoff_factor)?;
    config.executor_reregistration_timeout =
        seconds("executor-reregistration-timeout", options.executor_reregistration_timeout)?;
    config.executor_registration_timeout =
        seconds("executor-registration-timeout", options.executor_registration_timeout)?;
    config.executor_shutdown_grace = seconds("executor-shutdown-grace-period", options.executor_shutdown_grace_period)?;
    config.recovery_timeout = seconds("recovery-timeout", options.recovery_timeout)?;
    config.sweep = options.sandboxes.policy()?;
    config.disk_watch_interval = seconds("disk-watch-interval", options.sandboxes.disk_watch_interval)?;
    config.executor_environment = executor_variables(options.executor_environment_variables.as_deref())?;
    config.completed_executors_max = options.max_completed_executors_per_framework;
    config.machine = Some(machine);
    config.switch_user = nix::unistd::geteuid().is_root();
    Ok(config)
}

/// The host of an agent, with its journal below the work directory.
fn prepare(id: HostId, config: AgentConfig, plants: Vec<(ActorKind, u64)>, dir: &Path) -> Result<Host> {
    let factory = move |birth: Birth| -> Box<dyn Cell> {
        Box::new(ActorCell::new(Agent::new(config.clone()), birth.address, birth.seed))
    };
    let mut setup = HostConfig::new(id, super::random(), AGENT_TREE, journal(&dir.join(JOURNAL_DIRECTORY))?);
    setup.arbiters = 1;
    setup.plants = plants;
    Ok(Host::prepare(setup, Arc::new(factory))?)
}

/// What stands around the containers of an agent.
struct Walls {
    isolators: Chain,
    images: Option<Images>,
    images_config: ImagesConfig,
    docker: Option<DockerConfig>,
}

fn walls(options: &Options, dir: &Path, resources: &Resources, memory_bytes: u64) -> Result<Walls> {
    let runtime_directory = dir.join(RUNTIME_DIRECTORY);
    let mut settings = options.isolation.settings(dir, &runtime_directory, resources, memory_bytes)?;
    settings.images = options.images.config(dir, options.fetcher.fetcher_authorities.as_ref())?;
    let images = super::images::open(&options.images, &settings)?;
    let credentials = settings.images.credentials.clone();
    let docker = options.docker.config(&runtime_directory, credentials, settings.caps_cpus)?;
    let isolators = settings.chain();
    let mut isolators = isolators.with_context(|| format!("--isolation {}", options.isolation.isolation))?;
    if let Some(docker) = &docker {
        isolators = isolators.and(Arc::new(DockerContainers::new(docker.clone(), &runtime_directory)))?;
    }
    Ok(Walls { isolators, images, images_config: settings.images, docker })
}

/// What `/flags` shows.
fn flags(given: Flags, info: &AgentInfo, dir: &Path) -> Flags {
    super::flags(
        given,
        [
            ("hostname", info.hostname.clone()),
            ("ip", info.ip.clone()),
            ("port", info.port.to_string()),
            ("work_dir", dir.display().to_string()),
        ],
    )
}

/// The numbers of the host, of what it fetched and of its images, and how old sandboxes may become now.
fn numbers(
    host: Host,
    fetcher: Fetcher,
    images: Option<Images>,
    policy: SweepPolicy,
    dir: PathBuf,
) -> kaon_http::metric::Source {
    Arc::new(move || {
        let mut samples = super::samples(&host);
        if let Ok(free) = super::images::free(&dir) {
            let used = Quantity(((1.0 - free) * 1000.0).ceil() as u64);
            let age = policy.age_max(used).as_seconds();
            samples.push(Sample::gauge("slave/executor_directory_max_allowed_age_secs", age));
        }
        samples.extend(fetched(&fetcher.statistics()));
        samples.extend(images.iter().flat_map(super::images::samples));
        samples
    })
}

/// What was fetched, under Mesos's names.
fn fetched(statistics: &Statistics) -> [Sample; 4] {
    let sample = |name: &str, value: u64, kind| Sample {
        name: format!("containerizer/fetcher/{name}"),
        value: value as f64,
        kind,
    };
    [
        sample("task_fetches_succeeded", statistics.succeeded, Kind::Counter),
        sample("task_fetches_failed", statistics.failed, Kind::Counter),
        sample("cache_size_total_bytes", statistics.cache_bytes_max, Kind::Gauge),
        sample("cache_size_used_bytes", statistics.cache_bytes, Kind::Gauge),
    ]
}

/// The tokens of executors, when there is a key for them.
fn tokens(options: &Options) -> Result<Option<Tokens>> {
    let Some(path) = &options.jwt_secret_key else {
        if options.authenticate_http_executors {
            bail!("--authenticate-http-executors needs --jwt-secret-key FILE");
        }
        return Ok(None);
    };
    let read = || -> Result<Tokens> {
        let mut key = Vec::new();
        std::fs::File::open(path)?.take(KEY_BYTES_MAX).read_to_end(&mut key)?;
        Ok(Tokens::new(&key, options.authenticate_http_executors)?)
    };
    read().map(Some).with_context(|| format!("--jwt-secret-key {}", path.display()))
}

/// The largest key that is read; more would not make it better.
const KEY_BYTES_MAX: u64 = 4_096;

/// What the containers use, for the HTTP side; called on threads that may block.
fn containers_source(containers: Arc<ProcessContainers>) -> ContainerSource {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move || {
        let all = runtime.block_on(containers.all_statistics());
        let told = all.into_iter();
        told.map(|(container, _, figures)| ContainerFigures { container_id: container.to_string(), figures }).collect()
    })
}

/// Where the records of containers are, below the work directory.
pub(super) const RUNTIME_DIRECTORY: &str = "run";

fn target(master: &str) -> Result<Target> {
    let mut addresses = master.to_socket_addrs().with_context(|| format!("--master {master}: expected HOST:PORT"))?;
    let address = addresses.next().with_context(|| format!("--master {master} has no address"))?;
    let host = master.rsplit_once(':').map_or(master, |(host, _)| host).trim_matches(['[', ']']);
    let server_name = (host.parse::<std::net::IpAddr>().is_err()).then(|| host.to_owned());
    Ok(Target { address, server_name, role: Some(PeerRole::Master), name: None })
}

/// What the agent says of its machine, the machine with nothing used, and its memory in bytes.
fn describe(options: &Options, dir: &Path, http: SocketAddr) -> Result<(AgentInfo, Machine, u64)> {
    let topology = match &options.topology {
        Some(word) => apart::named(word, &Executable::current()?).with_context(|| format!("--topology {word}"))?,
        // Parts of GPUs are those of this machine.
        None => options.isolation.gpus().split(topology::discover()?).context("the instances of GPUs")?,
    };
    let text = flag_text(options.resources.as_deref().unwrap_or_default()).context("--resources")?;
    let said = resource_flag::said(&text).context("--resources")?;
    let default_role = role::parse(&options.default_role).context("--default-role")?;
    let disk_bytes = resources::disk_bytes(dir)?;
    let resources = resources::machine(&said, &default_role, &topology, disk_bytes).context("--resources")?;
    if resources.is_empty() {
        bail!("nothing to share out: --resources switches everything off");
    }
    let machine = Machine::new(&topology, &resources).context("--resources and the topology do not agree")?;
    let text = flag_text(options.attributes.as_deref().unwrap_or_default()).context("--attributes")?;
    let mut attributes = parse::attributes(&text).context("--attributes")?;
    attributes.extend(resources::attributes(&topology));
    let info = AgentInfo {
        id: None,
        hostname: options.hostname.clone().unwrap_or_else(|| http.ip().to_string()),
        ip: http.ip().to_string(),
        port: http.port(),
        resources,
        attributes,
        domain: options.domain.as_deref().map(super::domain).transpose()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok((info, machine, topology.memory_bytes()))
}

/// Variables for every executor: a JSON object of texts.
fn executor_variables(value: Option<&str>) -> Result<Vec<(String, String)>> {
    let flag = "--executor-environment-variables";
    let text = flag_text(value.unwrap_or("{}")).context(flag)?;
    let variables: BTreeMap<String, String> =
        serde_json::from_str(&text).with_context(|| format!("{flag}: expected a JSON object of texts"))?;
    Ok(variables.into_iter().collect())
}

/// The value of a flag, or of the file that it names as `file:///PATH`.
fn flag_text(value: &str) -> Result<Cow<'_, str>> {
    /// The largest file that a flag may name: room for some thousands of resources.
    const FILE_BYTES_MAX: u64 = 1 << 20;
    let Some(path) = value.strip_prefix("file://") else { return Ok(Cow::Borrowed(value)) };
    if !path.starts_with('/') {
        bail!("expected file:///PATH with an absolute path, not {value}");
    }
    let file = std::fs::File::open(path).with_context(|| format!("can't read {path}"))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(|| format!("can't read {path}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("{path} has more than {FILE_BYTES_MAX} bytes");
    }
    Ok(Cow::Owned(text))
}

/// Mode of a directory that others may pass, but not list.
const PASSABLE: u32 = 0o711;

/// The work directory, and those above it that are missing: others may pass through to their sandboxes, but list nothing.
pub(crate) fn passable_directory(dir: &Path) -> Result<()> {
    way::make(dir, PASSABLE).with_context(|| format!("can't make {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_may_name_a_file() {
        let path = std::env::temp_dir().join(format!("kaon-resources-{}", std::process::id()));
        let value = format!("file://{}", path.display());
        assert!(flag_text(&value).unwrap_err().to_string().contains("can't read"), "it is not there yet");
        std::fs::write(&path, "[{\"name\": \"cpus\", \"type\": \"SCALAR\", \"scalar\": {\"value\": 2}}]\n").unwrap();
        let said = resource_flag::said(&flag_text(&value).unwrap()).unwrap();
        assert_eq!(said.resources.to_string(), "cpus:2");
        std::fs::write(&path, "cpus:2;\nmem:?\n").unwrap();
        let error = resource_flag::said(&flag_text(&value).unwrap()).unwrap_err();
        assert!(error.to_string().contains("at line 2, character 5\n  mem:?\n      ^"), "{error}");
        std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(flag_text(&value).unwrap_err().to_string().contains("more than 1048576 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert!(flag_text("file://relative").is_err());
        assert_eq!(flag_text("cpus:2").unwrap(), "cpus:2");
    }
}
