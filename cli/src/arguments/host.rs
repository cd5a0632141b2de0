//! Arguments of the processes that a cluster is made of: a master, an agent, and `kaon up`, which starts both.

use super::docker::Docker;
use super::images::Images;
use super::isolation::Isolation;
use super::logging::Logging;
use super::sandboxes::Sandboxes;
use super::{Allocation, Fetcher};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `kaon up`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Up {
    /// How many masters. This version runs one.
    #[arg(long, env = "KAON_MASTERS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1))]
    pub(crate) masters: u16,
    /// How many agents.
    #[arg(long, env = "KAON_AGENTS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) agents: u16,
    /// Where the master answers HTTP: the v1 API, metrics, state.
    #[arg(long, env = "KAON_HTTP", default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub(crate) http: SocketAddr,
    /// Where everything is kept; a later `kaon up` on the same directory goes on from there.
    #[arg(long, env = "KAON_DIR", default_value = ".kaon", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Resources of each agent, such as `cpus:2;mem:1024`; what is not named is read from the machine.
    #[arg(long, env = "KAON_RESOURCES", value_name = "TEXT")]
    pub(crate) resources: Option<String>,
    /// The topology of each agent, in place of this machine's: a file exported by hwloc, or a description such as
    /// `pack:2 core:8 pu:2`.
    #[arg(long, env = "KAON_TOPOLOGY", value_name = "FILE|TEXT")]
    pub(crate) topology: Option<String>,
    /// The isolators of each agent, as in `kaon agent --isolation`.
    #[arg(long, env = "KAON_ISOLATION", value_name = "LIST")]
    pub(crate) isolation: Option<String>,
    /// A further flag of each agent, such as `--agent-flag=--docker-registry=/archives`; any number.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) agent_flag: Vec<String>,
    /// How long executors may take to come back to an agent that was started again, in seconds.
    #[arg(long, env = "KAON_EXECUTOR_REREGISTRATION_TIMEOUT", default_value_t = 2.0, value_name = "SECONDS")]
    pub(crate) executor_reregistration_timeout: f64,
    /// Print one JSON line when the cluster is up.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who a host is to the others.
#[derive(Args, Debug, Clone)]
pub(crate) struct Credentials {
    /// Its certificate (PEM), as made by `kaon ca issue`.
    #[arg(long, env = "KAON_CERTIFICATE", value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The key of the certificate (PEM).
    #[arg(long, env = "KAON_KEY", value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The certificate of the cluster's authority (PEM).
    #[arg(long, env = "KAON_AUTHORITY", value_name = "FILE")]
    pub(crate) authority: PathBuf,
}

/// `kaon master`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Master {
    /// Where it answers HTTP.
    #[arg(long, env = "KAON_HTTP", default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub(crate) http: SocketAddr,
    /// Where agents reach it (QUIC).
    #[arg(long, env = "KAON_LISTEN", default_value = "127.0.0.1:5049", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where it keeps its registry.
    #[arg(long, env = "KAON_DIR", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Its number among the masters, from 1; never given to another machine.
    #[arg(long, env = "KAON_NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) number: u64,
    /// Name of the cluster, for people.
    #[arg(long, env = "KAON_CLUSTER", default_value = "kaon", value_name = "NAME")]
    pub(crate) cluster: String,
    /// Name under which clients reach it; its HTTP address when not given.
    #[arg(long, env = "KAON_HOSTNAME", value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// How often an agent in doubt is pinged, in seconds; below 8 every agent is, always.
    #[arg(long, env = "KAON_AGENT_PING_TIMEOUT", default_value_t = 15.0, value_name = "SECONDS")]
    pub(crate) agent_ping_timeout: f64,
    /// An agent whose session is broken for so many times that, or that misses so many pings, is unreachable.
    #[arg(long, env = "KAON_MAX_AGENT_PING_TIMEOUTS", default_value_t = 5)]
    pub(crate) max_agent_ping_timeouts: u32,
    /// How long agents may take to come back to a new master, in seconds; those of a broken session have no longer.
    #[arg(long, env = "KAON_AGENT_REREGISTER_TIMEOUT", default_value_t = 600.0, value_name = "SECONDS")]
    pub(crate) agent_reregister_timeout: f64,
    /// Rescind offers held longer than this, in seconds.
    #[arg(long, env = "KAON_OFFER_TIMEOUT", value_name = "SECONDS")]
    pub(crate) offer_timeout: Option<f64>,
    /// Roles that frameworks may use; all when not given.
    #[arg(long, env = "KAON_ROLES", value_delimiter = ',', value_name = "ROLE,..")]
    pub(crate) roles: Vec<String>,
    /// Its fault domain, as `DomainInfo` in JSON; agents in a domain are taken only when it has one, and those of other
    /// regions are offered only to frameworks that are REGION_AWARE.
    #[arg(long, env = "KAON_DOMAIN", value_name = "JSON")]
    pub(crate) domain: Option<String>,
    /// Ignore agents without a domain.
    #[arg(long, env = "KAON_REQUIRE_AGENT_DOMAIN")]
    pub(crate) require_agent_domain: bool,
    /// Weights of roles, such as `eng=2,web=0.5`.
    #[arg(long, env = "KAON_WEIGHTS", value_delimiter = ',', value_name = "ROLE=WEIGHT,..")]
    pub(crate) weights: Vec<String>,
    #[command(flatten)]
    pub(crate) history: History,
    /// Whether `/metrics` shows numbers of each framework.
    #[arg(long, env = "KAON_PUBLISH_PER_FRAMEWORK_METRICS", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(value_name = "BOOL")]
    pub(crate) publish_per_framework_metrics: bool,
    #[command(flatten)]
    pub(crate) logging: Logging,
    #[command(flatten)]
    pub(crate) allocation: Allocation,
    /// Stop when stdin ends: for members whose parent must not leave them behind.
    #[arg(long, hide = true)]
    pub(crate) leash: bool,
    /// Crash an actor on its n-th event, once, to watch its supervisor: `master:1000`. For tests.
    #[arg(long, env = "KAON_PLANT_PANIC", value_delimiter = ',', hide = true)]
    pub(crate) plant_panic: Vec<String>,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
}

/// How much a master remembers of what is over.
#[derive(Args, Debug, Clone)]
pub(crate) struct History {
    /// How many frameworks that are gone its state shows.
    #[arg(long, env = "KAON_MAX_COMPLETED_FRAMEWORKS", default_value_t = 50, value_name = "NUMBER")]
    pub(crate) max_completed_frameworks: usize,
    /// How many tasks of a framework that have ended its state shows.
    #[arg(long, env = "KAON_MAX_COMPLETED_TASKS_PER_FRAMEWORK", default_value_t = 1000, value_name = "NUMBER")]
    pub(crate) max_completed_tasks_per_framework: usize,
    /// How many tasks of a framework it remembers whose agents are out of reach.
    #[arg(long, env = "KAON_MAX_UNREACHABLE_TASKS_PER_FRAMEWORK", default_value_t = 1000, value_name = "NUMBER")]
    pub(crate) max_unreachable_tasks_per_framework: usize,
}

/// `kaon agent`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Agent {
    /// The masters' addresses (QUIC).
    #[arg(long, env = "KAON_MASTER", value_delimiter = ',', required = true, value_name = "HOST:PORT,..")]
    pub(crate) master: Vec<String>,
    /// Where it answers HTTP.
    #[arg(long, env = "KAON_HTTP", default_value = "127.0.0.1:5051", value_name = "ADDR")]
    pub(crate) http: SocketAddr,
    /// Where its executors reach it (QUIC).
    #[arg(long, env = "KAON_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Its work directory: checkpoints, sandboxes.
    #[arg(long, env = "KAON_DIR", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// What it shares out: `cpus:4;mem(web):2048;ports:[31000-32000]`, a JSON array of v1 resources, or `file:///PATH` of
    /// either; what is not named is read from the machine.
    #[arg(long, env = "KAON_RESOURCES", value_name = "TEXT")]
    pub(crate) resources: Option<String>,
    /// The role to which what says no role is reserved.
    #[arg(long, env = "KAON_DEFAULT_ROLE", default_value = "*", value_name = "ROLE")]
    pub(crate) default_role: String,
    /// What frameworks may choose by, such as `rack:r1;gen:2`, or `file:///PATH`.
    #[arg(long, env = "KAON_ATTRIBUTES", value_name = "TEXT")]
    pub(crate) attributes: Option<String>,
    /// Its fault domain, as `DomainInfo` in JSON: `{"fault_domain": {"region": {"name": "r"}, "zone": {"name": "z"}}}`.
    #[arg(long, env = "KAON_DOMAIN", value_name = "JSON")]
    pub(crate) domain: Option<String>,
    /// The machine's topology in place of the live one: a file exported by hwloc, or a description such as
    /// `pack:2 core:8 pu:2`.
    #[arg(long, env = "KAON_TOPOLOGY", value_name = "FILE|TEXT")]
    pub(crate) topology: Option<String>,
    /// Name under which clients reach it; its HTTP address when not given.
    #[arg(long, env = "KAON_HOSTNAME", value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// The longest wait before its first registration, in seconds.
    #[arg(long, env = "KAON_REGISTRATION_BACKOFF_FACTOR", default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) registration_backoff_factor: f64,
    /// How long executors may take to come back after the agent restarted, in seconds.
    #[arg(long, env = "KAON_EXECUTOR_REREGISTRATION_TIMEOUT", default_value_t = 2.0, value_name = "SECONDS")]
    pub(crate) executor_reregistration_timeout: f64,
    #[command(flatten)]
    pub(crate) fetcher: Fetcher,
    #[command(flatten)]
    pub(crate) sandboxes: Sandboxes,
    /// How long a new executor may take to register, in seconds.
    #[arg(long, env = "KAON_EXECUTOR_REGISTRATION_TIMEOUT", default_value_t = 60.0, value_name = "SECONDS")]
    pub(crate) executor_registration_timeout: f64,
    /// How long executors have between the word that they are to end and their end, in seconds.
    #[arg(long, env = "KAON_EXECUTOR_SHUTDOWN_GRACE_PERIOD", default_value_t = 5.0, value_name = "SECONDS")]
    pub(crate) executor_shutdown_grace_period: f64,
    /// How long executors wait for an agent that is gone, in seconds.
    #[arg(long, env = "KAON_RECOVERY_TIMEOUT", default_value_t = 900.0, value_name = "SECONDS")]
    pub(crate) recovery_timeout: f64,
    /// How many executors of a framework that have ended its state shows, with their tasks; with 0 nothing that has ended.
    #[arg(long, env = "KAON_MAX_COMPLETED_EXECUTORS_PER_FRAMEWORK", default_value_t = 150, value_name = "NUMBER")]
    pub(crate) max_completed_executors_per_framework: usize,
    /// Variables for every executor: a JSON object of texts, or `file:///PATH` of one.
    #[arg(long, env = "KAON_EXECUTOR_ENVIRONMENT_VARIABLES", value_name = "JSON")]
    pub(crate) executor_environment_variables: Option<String>,
    /// A file with the key for the tokens of executors that speak HTTP, of at least 32 bytes.
    #[arg(long, env = "KAON_JWT_SECRET_KEY", value_name = "FILE")]
    pub(crate) jwt_secret_key: Option<PathBuf>,
    /// Hear executors that speak HTTP only when they show their token.
    #[arg(long, env = "KAON_AUTHENTICATE_HTTP_EXECUTORS")]
    pub(crate) authenticate_http_executors: bool,
    /// Stop when stdin ends: for members whose parent must not leave them behind.
    #[arg(long, hide = true)]
    pub(crate) leash: bool,
    /// Crash an actor on its n-th event, once, to watch its supervisor: `agent:100`. For tests.
    #[arg(long, env = "KAON_PLANT_PANIC", value_delimiter = ',', hide = true)]
    pub(crate) plant_panic: Vec<String>,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
    #[command(flatten)]
    pub(crate) logging: Logging,
    #[command(flatten)]
    pub(crate) isolation: Isolation,
    #[command(flatten)]
    pub(crate) images: Images,
    #[command(flatten)]
    pub(crate) docker: Docker,
}
