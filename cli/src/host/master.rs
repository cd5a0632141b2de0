//! `kaon master`.

use super::allocation;
use super::{JOURNAL_DIRECTORY, credentials, fresh_host_id, journal, plants, seconds};
use crate::arguments::Master as Options;
use crate::config::Flags;
use anyhow::{Context, Result, bail};
use kaon_actors::allocator::{Allocator, AllocatorConfig};
use kaon_actors::framework::{FrameworkConfig, FrameworkProxy};
use kaon_actors::master::{Master, MasterConfig};
use kaon_actors::registrar::{Peer, Registrar, RegistrarConfig};
use kaon_http::{Limits, MasterEdge};
use kaon_kernel::actor::supervision::MASTER_TREE;
use kaon_kernel::actor::{ActorCell, ActorKind, Cell, ChildSpec};
use kaon_kernel::id::RoleName;
use kaon_kernel::message::session::PeerRole;
use kaon_kernel::resource::role;
use kaon_runtime::{Birth, Host, HostConfig, Origin, Ports};
use kaon_transport::{Endpoint, EndpointConfig};
use std::sync::Arc;
use std::time::Duration;

/// Runs the master until it is told to stop.
pub(crate) async fn run(options: Options, given: Flags) -> Result<i32> {
    let (own, cluster) = credentials(&options.credentials, PeerRole::Master)?;
    let number = options.number;
    let me = Peer { number, identity: own.identity().name.clone() };
    std::fs::create_dir_all(&options.dir).with_context(|| format!("can't make {}", options.dir.display()))?;
    let http = kaon_http::listen(options.http)
        .with_context(|| format!("can't listen on {} for HTTP; --http ADDR chooses another", options.http))?;
    let http_address = http.local_addr()?;
    let hostname = options.hostname.clone().unwrap_or_else(|| http_address.ip().to_string());

    let config = config(&options)?;
    let registrar = RegistrarConfig::new(number, vec![me]);
    registrar.check()?;
    let id = fresh_host_id();
    let domain = config.domain.clone();
    let region = domain.as_ref().map(|domain| domain.region.clone());
    let factory = factory(config, allocation::config(&options.allocation, region)?, registrar);
    let mut setup = HostConfig::new(id, super::random(), MASTER_TREE, journal(&options.dir.join(JOURNAL_DIRECTORY))?);
    setup.plants = plants(&options.plant_panic)?;
    let host = Host::prepare(setup, factory)?;
    let endpoint = EndpointConfig::new(id, own, vec![cluster], options.listen);
    let endpoint = Endpoint::bind(endpoint, Arc::new(host.clone()))?;
    let metrics = host.clone();
    let edge = MasterEdge::new(kaon_http::MasterConfig {
        host: id,
        flags: super::flags(
            given,
            [
                ("hostname", hostname.clone()),
                ("ip", http_address.ip().to_string()),
                ("port", http_address.port().to_string()),
                ("work_dir", options.dir.display().to_string()),
            ],
        ),
        hostname,
        ip: http_address.ip(),
        port: http_address.port(),
        domain,
        cluster: Some(options.cluster.clone()),
        metrics: Arc::new(move || super::samples(&metrics)),
        // One voter: whoever leads is this master.
        leader: Arc::new(|| None),
        verbosity: crate::log::verbosity(),
        log: options.logging.external_log_file.clone(),
        history: kaon_http::History {
            frameworks: options.history.max_completed_frameworks,
            tasks: options.history.max_completed_tasks_per_framework,
        },
        framework_metrics: options.publish_per_framework_metrics,
    })?;
    host.plug(Ports { network: Some(endpoint.clone()), streams: Some(edge.clone()), containers: None })?;
    edge.plug(Arc::new(host.clone()));
    host.begin()?;
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let over = async move { drop(is_stopped.await) };
    let serving = tokio::spawn(kaon_http::serve(http, edge.clone(), Limits::default(), over));
    let signals = super::StopSignals::hear(options.leash)?;
    until_leading(&edge).await;
    super::say_ready(http_address, endpoint.address()?);
    let code = super::until_over(host, signals).await?;
    drop(stop);
    endpoint.close().await;
    serving.await??;
    Ok(code)
}

/// How long a master may wait for its term before it says that it is ready without one: a standby never leads.
const LEADING_WITHIN: Duration = Duration::from_secs(5);

/// How often it looks.
const LEADING_LOOK: Duration = Duration::from_millis(2);

/// Waits until calls are answered: whoever reads that we are ready may subscribe at once.
pub(crate) async fn until_leading(edge: &MasterEdge) {
    let leads = async {
        while edge.view().snapshot().leadership.is_none() {
            tokio::time::sleep(LEADING_LOOK).await;
        }
    };
    if tokio::time::timeout(LEADING_WITHIN, leads).await.is_err() {
        tracing::info!("ready, but nobody leads yet");
    }
}

fn factory(config: MasterConfig, allocation: AllocatorConfig, registrar: RegistrarConfig) -> kaon_runtime::Factory {
    Arc::new(move |birth: Birth| {
        let (address, seed) = (birth.address, birth.seed);
        match birth.origin {
            Origin::Standing(ActorKind::Master) => cell(Master::new(config.clone()), address, seed),
            Origin::Standing(ActorKind::Registrar) => {
                let actor =
                    Registrar::new(registrar.clone()).expect("the configuration was checked before the host began");
                cell(actor, address, seed)
            }
            Origin::Standing(ActorKind::Allocator) => cell(Allocator::new(allocation.clone()), address, seed),
            Origin::Child { spec: ChildSpec::Framework { framework_id, stream }, .. } => {
                let heartbeat_interval = config.heartbeat_interval;
                cell(FrameworkProxy::new(FrameworkConfig { framework_id, stream, heartbeat_interval }), address, seed)
            }
            Origin::Standing(other) => unreachable!("a master's host has no {}", other.word()),
        }
    })
}

fn cell<A: kaon_kernel::actor::Actor>(actor: A, address: kaon_kernel::actor::Address, seed: u64) -> Box<dyn Cell> {
    Box::new(ActorCell::new(actor, address, seed))
}

fn config(options: &Options) -> Result<MasterConfig> {
    let roles = options.roles.iter().map(|text| Ok(role::parse(text)?)).collect::<Result<Vec<RoleName>>>()?;
    let weights = options.weights.iter().map(|text| weight(text)).collect::<Result<_>>()?;
    let offer_timeout = options.offer_timeout.map(|value| seconds("offer-timeout", value)).transpose()?;
    if options.max_agent_ping_timeouts == 0 {
        bail!("--max-agent-ping-timeouts 0: every agent would be unreachable at once");
    }
    Ok(MasterConfig {
        ping_interval: seconds("agent-ping-timeout", options.agent_ping_timeout)?,
        pings_missed_max: options.max_agent_ping_timeouts,
        session_silence: seconds("idle timeout of sessions", kaon_transport::IDLE_TIMEOUT.as_secs_f64())?,
        agent_return: seconds("agent-reregister-timeout", options.agent_reregister_timeout)?,
        offer_timeout,
        roles,
        weights,
        domain: options.domain.as_deref().map(super::domain).transpose()?,
        require_agent_domain: options.require_agent_domain,
        whitelist: options.allocation.whitelist.as_deref().map(allocation::whitelist).transpose()?,
        unreachable_tasks_max: options.history.max_unreachable_tasks_per_framework,
        ..MasterConfig::default()
    })
}

/// `role=2.5` in thousandths.
fn weight(text: &str) -> Result<(RoleName, u32)> {
    let (name, value) = text.split_once('=').with_context(|| format!("--weights {text}: expected ROLE=WEIGHT"))?;
    let value: f64 = value.parse().with_context(|| format!("--weights {text}: '{value}' is no number"))?;
    let thousandths = (value * 1000.0).round();
    if !(1.0..=1e9).contains(&thousandths) {
        bail!("--weights {text}: a weight lies between 0.001 and 1000000");
    }
    Ok((role::parse(name)?, thousandths as u32))
}
