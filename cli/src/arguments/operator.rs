//! The commands of operators: `kaon explain`, `kaon quota`, `kaon weight`, `kaon drain` and its siblings,
//! `kaon maintenance`, `kaon contest`.

use super::Api;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `kaon explain`.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Examples:\n  kaon explain framework ID\n  kaon explain role web --wants 'cpus:4;mem:8192'\n  kaon explain agent ID\n  kaon explain task ID"
)]
pub(crate) struct Explain {
    /// What the question is about.
    #[arg(value_parser = ["framework", "role", "agent", "task"])]
    pub(crate) subject: String,
    /// Its id, or the role's name.
    pub(crate) id: String,
    /// What a task would need; without it any offer would do. A task is asked about with its own resources.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) wants: String,
    /// Where a task would have to lie: placement labels without their prefix. A task is asked about with its own.
    #[arg(long, default_value = "", value_name = "KEY=VALUE;..")]
    pub(crate) placement: String,
    /// Print JSON in place of text.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon quota`.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Quota {
    /// Set the quota of a role at the top of its tree; it counts for all roles below.
    #[command(after_help = "Example:\n  kaon quota set web --guarantee 'cpus:8;mem:16384' --limit 'cpus:32'")]
    Set(SetQuota),
    /// Promise and limit nothing any more.
    Remove(RemoveQuota),
}

/// `kaon quota set`. What is not named keeps nothing of the quota before.
#[derive(Args, Debug, Clone)]
pub(crate) struct SetQuota {
    /// The role.
    pub(crate) role: String,
    /// What it is promised, such as `cpus:8;mem:16384`.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) guarantee: String,
    /// The most that it may have; what is not named has no limit.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) limit: String,
    /// Set it although the cluster is too small, or the role has more already.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon quota remove`.
#[derive(Args, Debug, Clone)]
pub(crate) struct RemoveQuota {
    /// The role.
    pub(crate) role: String,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon weight`.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Weight {
    /// Set weights; a role without one has 1.
    #[command(after_help = "Example:\n  kaon weight set web=2 batch=0.5")]
    Set(SetWeight),
}

/// `kaon weight set`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SetWeight {
    /// Roles with their weights.
    #[arg(required = true, value_name = "ROLE=WEIGHT")]
    pub(crate) weights: Vec<String>,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon contest`.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Frameworks, roles and tasks of its own come and go on the cluster, and some rows set quotas and weights for a moment.\n\nExamples:\n  kaon contest --master 127.0.0.1:5050\n  kaon contest --master 127.0.0.1:5050 --filter 'LAUNCH check' --media json\n  kaon contest --list"
)]
pub(crate) struct Contest {
    /// The master's HTTP address; any master that speaks the Mesos v1 API.
    #[arg(long, env = "KAON_API", default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub(crate) master: String,
    /// The HTTP address of one agent; one that the master lists when not given.
    #[arg(long, value_name = "ADDR")]
    pub(crate) agent: Option<String>,
    /// Only rows in which all these words occur.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) filter: String,
    /// In which encoding.
    #[arg(long, default_value = "both", value_parser = ["json", "protobuf", "both"])]
    pub(crate) media: String,
    /// List the rows, and try none.
    #[arg(long)]
    pub(crate) list: bool,
}

/// `kaon deactivate`, `kaon reactivate`, `kaon gone`.
#[derive(Args, Debug, Clone)]
pub(crate) struct AgentOrder {
    /// The agent's id, as `kaon agents` lists it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon drain`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Drain {
    /// The agent's id, as `kaon agents` lists it.
    pub(crate) id: String,
    /// The longest time that a task has to end, in seconds; each has its own when not given.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u32>,
    /// Say that the agent is gone once nothing is on it any more.
    #[arg(long)]
    pub(crate) mark_gone: bool,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon maintenance`.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Maintenance {
    /// Show the schedule, what frameworks say to it, and which machines are down, as JSON.
    Show(Api),
    /// Replace the schedule by that of a file: a JSON object with `windows`, as UPDATE_MAINTENANCE_SCHEDULE takes it.
    Set {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        api: Api,
    },
    /// Take scheduled machines down: their agents are shut down and stay out.
    Start(Machines),
    /// Bring machines up again: their agents may come back, and they leave the schedule.
    Stop(Machines),
}

/// `kaon maintenance start`, `kaon maintenance stop`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Machines {
    /// The machines as the schedule names them.
    #[arg(required = true, value_name = "HOSTNAME=IP")]
    pub(crate) machines: Vec<String>,
    #[command(flatten)]
    pub(crate) api: Api,
}
