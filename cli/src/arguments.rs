//! The command line, as data. Every flag has a key of the same name in the configuration file and an environment
//! variable `KAON_<NAME>`; the order is flag, environment, file, default.

mod allocation;
pub(crate) mod docker;
mod fetcher;
pub(crate) mod images;
pub(crate) mod isolation;
mod logging;
mod operator;
mod sandboxes;
mod session;
mod sim;

pub(crate) use allocation::Allocation;
pub(crate) use fetcher::Fetcher;
pub(crate) use operator::{AgentOrder, Contest, Drain, Explain, Machines, Maintenance, Quota, SetQuota, Weight};
pub(crate) use session::{Attach, Exec, Logs, Output, Top, Which};
pub(crate) use sim::{Check, Convert, SimList};

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// One binary turns a fleet of machines into one computer.
#[derive(Parser, Debug)]
#[command(
    name = "kaon",
    version,
    arg_required_else_help = true,
    after_help = "First steps:\n  kaon up                      a cluster on this machine, until Ctrl-C\n  kaon run -- echo hello       one command on it, with its output\n  kaon tasks                   what runs\n  kaon sim run --agents 1000   the same actors, simulated"
)]
pub(crate) struct Arguments {
    /// Configuration file (TOML): keys are the flags' names, at the top or in a table named after the command.
    #[arg(long, global = true, env = "KAON_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What goes to stderr: error, warn, info, debug, or a filter such as `kaon_transport=debug`.
    #[arg(long, global = true, env = "KAON_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start a cluster on this machine: masters and agents, each its own process, mutual TLS between them.
    Up(Up),
    /// Run a master.
    Master(Master),
    /// Run an agent: this machine joins the pool.
    Agent(Agent),
    /// Run one command on the cluster; its output and its exit code become ours.
    Run(Run),
    /// Run a command within a task; its output and its exit code become ours.
    Exec(Exec),
    /// See and steer the terminal of a task.
    Attach(Attach),
    /// Show what a task has written.
    Logs(Logs),
    /// Show what the tasks use, live.
    Top(Top),
    /// List the agents.
    Agents(List),
    /// List the frameworks.
    Frameworks(List),
    /// List the tasks, those that ended included.
    Tasks(List),
    /// List the outstanding offers.
    Offers(List),
    /// List the roles: their weights, quotas, and what they hold.
    Roles(List),
    /// Promise a role resources, or limit what it may have.
    #[command(subcommand)]
    Quota(Quota),
    /// Set how much more one role may have than another.
    #[command(subcommand)]
    Weight(Weight),
    /// End everything on an agent and offer nothing of it any more.
    Drain(Drain),
    /// Offer nothing of an agent; what runs there runs on.
    Deactivate(AgentOrder),
    /// Offer of an agent again that was deactivated or drained.
    Reactivate(AgentOrder),
    /// Say that an agent is gone for good: its tasks are lost, and it is never admitted again.
    Gone(AgentOrder),
    /// Plan when machines go, and take them down and up.
    #[command(subcommand)]
    Maintenance(Maintenance),
    /// Show the hardware of a machine: this one, one from a file, or one from a description.
    Topology(Topology),
    /// Say why something is not offered, and what would have to change.
    Explain(Explain),
    /// Try the v1 API of a master, rule by rule.
    Contest(Contest),
    /// The cluster's certificate authority.
    #[command(subcommand)]
    Ca(Ca),
    /// Simulate clusters.
    #[command(subcommand)]
    Sim(Sim),
    /// The built-in executor. Started by an agent, never by hand.
    #[command(hide = true)]
    Executor,
}

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
    /// How often agents are pinged, in seconds.
    #[arg(long, env = "KAON_AGENT_PING_TIMEOUT", default_value_t = 15.0, value_name = "SECONDS")]
    pub(crate) agent_ping_timeout: f64,
    /// After so many missed pings an agent is unreachable.
    #[arg(long, env = "KAON_MAX_AGENT_PING_TIMEOUTS", default_value_t = 5)]
    pub(crate) max_agent_ping_timeouts: u32,
    /// How long an agent may take to come back, in seconds.
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
    pub(crate) logging: logging::Logging,
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
    pub(crate) sandboxes: sandboxes::Sandboxes,
    /// How long a new executor may take to register, in seconds.
    #[arg(long, env = "KAON_EXECUTOR_REGISTRATION_TIMEOUT", default_value_t = 60.0, value_name = "SECONDS")]
    pub(crate) executor_registration_timeout: f64,
    /// How long executors have between the word that they are to end and their end, in seconds.
    #[arg(long, env = "KAON_EXECUTOR_SHUTDOWN_GRACE_PERIOD", default_value_t = 5.0, value_name = "SECONDS")]
    pub(crate) executor_shutdown_grace_period: f64,
    /// How long executors wait for an agent that is gone, in seconds.
    #[arg(long, env = "KAON_RECOVERY_TIMEOUT", default_value_t = 900.0, value_name = "SECONDS")]
    pub(crate) recovery_timeout: f64,
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
    pub(crate) logging: logging::Logging,
    #[command(flatten)]
    pub(crate) isolation: isolation::Isolation,
    #[command(flatten)]
    pub(crate) images: images::Images,
    #[command(flatten)]
    pub(crate) docker: docker::Docker,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
}

/// `kaon topology`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Topology {
    /// A file exported by hwloc (`lstopo --of xml`).
    #[arg(long, value_name = "FILE", conflicts_with = "synthetic")]
    pub(crate) file: Option<PathBuf>,
    /// A description such as `pack:2 [numa(memory=64GiB)] l3:1 core:8 pu:2`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) synthetic: Option<String>,
    /// Print JSON in place of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which cluster to ask.
#[derive(Args, Debug, Clone)]
pub(crate) struct Api {
    /// The master's HTTP address.
    #[arg(long, env = "KAON_API", default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub(crate) api: String,
}

/// `kaon agents` and its siblings.
#[derive(Args, Debug, Clone)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) api: Api,
    /// Print JSON in place of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kaon run`.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Examples:\n  kaon run -- echo hello\n  kaon run --cpus 0.5 --mem 64 --env WHO=me -- sh -c 'echo $WHO'"
)]
pub(crate) struct Run {
    /// A name for people; the command when not given.
    #[arg(long, env = "KAON_NAME")]
    pub(crate) name: Option<String>,
    /// Cores.
    #[arg(long, env = "KAON_CPUS", default_value_t = 0.1)]
    pub(crate) cpus: f64,
    /// Memory in MiB.
    #[arg(long, env = "KAON_MEM", default_value_t = 32.0)]
    pub(crate) mem: f64,
    /// Whole GPUs.
    #[arg(long, default_value_t = 0)]
    pub(crate) gpus: u32,
    /// A label of the task; may be given again. Those under `kaon.placement/` ask for a place on the machine.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// A variable for its environment; may be given again.
    #[arg(long = "env", value_name = "KEY=VALUE")]
    pub(crate) environment: Vec<String>,
    /// The role under which resources are taken.
    #[arg(long, env = "KAON_ROLE", default_value = "*")]
    pub(crate) role: String,
    /// Print one JSON object at the end.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) api: Api,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `kaon ca`.
#[derive(Subcommand, Debug)]
pub(crate) enum Ca {
    /// Make a new authority for a new cluster.
    Init {
        /// Where to keep it: `authority.pem` and `authority.key`.
        #[arg(long, env = "KAON_DIR", value_name = "DIR")]
        dir: PathBuf,
        /// Name of the cluster; peers of another are refused. Random when not given.
        #[arg(long)]
        cluster: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Issue a certificate for a host.
    Issue {
        /// Where the authority is kept.
        #[arg(long, env = "KAON_DIR", value_name = "DIR")]
        dir: PathBuf,
        /// What the host is.
        #[arg(long, value_parser = ["master", "agent"])]
        role: String,
        /// Its name, one of its own for each host: `agent-17`.
        #[arg(long)]
        name: String,
        /// A further DNS name or IP address of the host; may be given again.
        #[arg(long = "address", value_name = "NAME|IP")]
        addresses: Vec<String>,
        /// Where to write `NAME.pem` and `NAME.key`.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `kaon sim`.
#[derive(Subcommand, Debug)]
pub(crate) enum Sim {
    /// Run a scenario and report; without one, one simulated cluster from the flags.
    Run(SimRun),
    /// Run a scenario with many seeds, and keep those for which a claim does not hold.
    Explore(Explore),
    /// Run again what was recorded, or one seed of a scenario, and tell whether the same comes out.
    Replay(Replay),
    /// Set two studies side by side.
    Compare(Compare),
    /// List scenarios, workload formats, policies and metrics.
    List(SimList),
    /// Run a scenario and judge assertions about it; the exit code is 1 when one does not hold.
    Check(Check),
    /// Convert a workload or a list of nodes to the native CSV.
    Convert(Convert),
}

/// A scenario, and how it is run.
#[derive(Args, Debug, Clone)]
pub(crate) struct Scenario {
    /// Set a key of the scenario, such as `workload.tasks=PATH`; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Policies in place of the scenario's.
    #[arg(long, value_name = "NAME,..")]
    pub(crate) policy: Option<String>,
    /// Count bad rows of the inputs and go on, in place of stopping at the first: `workload.lenient=true`.
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Runs at a time; as many as the machine has threads when not given.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) jobs: usize,
    /// Where the summary, the report and the tables are written.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `kaon sim explore`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Explore {
    /// The scenario: a file, or the name of one that is shipped.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// The seeds, such as `1-1000`; the scenario's when not given.
    #[arg(long)]
    pub(crate) seeds: Option<String>,
    /// Make the first run that fails smaller: fewer agents, frameworks, tasks and faults. For scenarios of whole clusters.
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) how: Scenario,
}

/// `kaon sim replay`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Replay {
    /// A seed; or a summary, or the folder it is in.
    #[arg(value_name = "SEED|FILE")]
    pub(crate) what: String,
    /// The scenario of the seed.
    #[arg(long, value_name = "SCENARIO", default_value = "chaos")]
    pub(crate) scenario: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) how: Scenario,
}

/// `kaon sim compare`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Compare {
    /// The folder of the first study.
    #[arg(value_name = "DIR")]
    pub(crate) before: PathBuf,
    /// The folder of the second.
    #[arg(value_name = "DIR")]
    pub(crate) after: PathBuf,
    /// Show the differences that may be chance, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kaon sim run`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SimRun {
    /// The scenario: a file, or the name of one that is shipped. Flags that describe a cluster are for runs without one.
    #[arg(
        value_name = "SCENARIO",
        conflicts_with_all = ["frameworks", "tasks", "seed", "workers", "faults", "agent_cpus", "agent_mem", "task_cpus",
            "task_mem", "lengths", "plain", "placed", "teardown", "deadline", "invariants_every", "plant", "keep_faults", "shrink"]
    )]
    pub(crate) scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) how: Scenario,
    /// How many agents.
    #[arg(long, env = "KAON_AGENTS", default_value_t = 100)]
    pub(crate) agents: u32,
    /// How many frameworks.
    #[arg(long, default_value_t = 2)]
    pub(crate) frameworks: u32,
    /// How many tasks, over all frameworks.
    #[arg(long, default_value_t = 1000)]
    pub(crate) tasks: u32,
    /// The seed: same seed, same run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// With a scenario its seeds, such as `1-10`; else run so many seeds, counting up from `--seed`, and report failures.
    #[arg(long)]
    pub(crate) seeds: Option<String>,
    /// Worker threads; the result is the same with any number.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: usize,
    /// Crash, cut off and slow down parts of the cluster, as the seed decides.
    #[arg(long)]
    pub(crate) faults: bool,
    /// Of the faults that the seed decides only these, by number, such as `0,4,7`, or `none`.
    #[arg(long, value_name = "NUMBERS", requires = "faults")]
    pub(crate) keep_faults: Option<String>,
    /// Make the first run that fails smaller: fewer agents, frameworks, tasks and faults.
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Processors of each agent.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) agent_cpus: f64,
    /// Memory of each agent in MiB.
    #[arg(long, default_value_t = 16_384.0)]
    pub(crate) agent_mem: f64,
    /// Processors of each task.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) task_cpus: f64,
    /// Memory of each task in MiB.
    #[arg(long, default_value_t = 512.0)]
    pub(crate) task_mem: f64,
    /// How long tasks run, in seconds: `5`, `1..20` (the default), or `exp:8`.
    #[arg(long, value_name = "DISTRIBUTION")]
    pub(crate) lengths: Option<String>,
    /// No task fails by itself and none is killed.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Every task asks for processing units and memory of its own, packed.
    #[arg(long)]
    pub(crate) placed: bool,
    /// Frameworks reserve, make persistent volumes, run tasks on them and give them back.
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Frameworks remove themselves when they are done.
    #[arg(long)]
    pub(crate) teardown: bool,
    /// Virtual time after which a run that is not done has failed, in seconds.
    #[arg(long, default_value_t = 21_600.0, value_name = "SECONDS")]
    pub(crate) deadline: f64,
    /// Assert the actors' invariants after each of so many events of a machine; chosen by the size when not given.
    #[arg(long)]
    pub(crate) invariants_every: Option<u64>,
    /// Plant a bug that the checkers must find. For tests of the simulator.
    #[arg(long, value_parser = kaon_sim::Plant::ALL.map(kaon_sim::Plant::word))]
    pub(crate) plant: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
