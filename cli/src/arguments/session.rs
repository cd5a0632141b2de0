//! The commands that look into a task: `kaon exec`, `kaon attach`, `kaon logs`, `kaon top`.

use super::Api;
use clap::{Args, ValueEnum};

/// Which task.
#[derive(Args, Debug, Clone)]
pub(crate) struct Which {
    /// The id of the task.
    pub(crate) task: String,
    /// The id of its framework, where several have a task of this id.
    #[arg(long, value_name = "ID")]
    pub(crate) framework: Option<String>,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// `kaon exec`.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Examples:\n  kaon exec web.1 -- ls -l\n  kaon exec -it web.1 -- bash\n  tar c src | kaon exec -i build -- tar x"
)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Give our input to the command; without, it reads nothing.
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Run it on a terminal of its own.
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Set a variable of its environment; may be given again.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<String>,
    /// Run it as this user of the agent's machine; without, as the task's.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `kaon attach`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "Ctrl-P Ctrl-Q leaves the task alone and comes back.")]
pub(crate) struct Attach {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Listen only.
    #[arg(long)]
    pub(crate) no_input: bool,
}

/// `kaon logs`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Go on as the task writes more, until it ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show only one of the two.
    #[arg(long, value_enum)]
    pub(crate) only: Option<Output>,
}

/// What a task writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// `kaon top`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Top {
    /// How often to look, in seconds.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub(crate) interval: f64,
    /// Look once and print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) api: Api,
}
