//! The command line, as data. Every flag has a key of the same name in the configuration file and an environment
//! variable `KAON_<NAME>`; the order is flag, environment, file, default.

mod allocation;
pub(crate) mod docker;
mod fetcher;
mod host;
pub(crate) mod images;
pub(crate) mod isolation;
mod journal;
mod logging;
mod operator;
mod sandboxes;
mod session;
mod sim;

pub(crate) use allocation::Allocation;
pub(crate) use fetcher::Fetcher;
pub(crate) use host::{Agent, Credentials, Master, Up};
pub(crate) use journal::{Journal, JournalFile};
pub(crate) use operator::{AgentOrder, Contest, Drain, Explain, Machines, Maintenance, Quota, SetQuota, Weight};
pub(crate) use session::{Attach, Exec, Logs, Output, Top, Which};
pub(crate) use sim::{Check, Compare, Convert, Explore, Replay, Scenario, Serve, Sim, SimList, SimRun};

use clap::{Args, Parser, Subcommand};
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
    /// Back up what a stopped master or agent keeps, and bring it back.
    #[command(subcommand)]
    Journal(Journal),
    /// Simulate clusters.
    #[command(subcommand)]
    Sim(Sim),
    /// The built-in executor. Started by an agent, never by hand.
    #[command(hide = true)]
    Executor,
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
    /// The task's name, and its id too where it can be one (no slash, no `..`), for `kaon logs NAME` and others; the command
    /// and `run-NUMBER` when not given.
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
