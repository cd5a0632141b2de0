//! The flags of a master's allocator.

use clap::Args;
use std::path::PathBuf;

/// How a master's allocator decides.
#[derive(Args, Debug, Clone)]
pub(crate) struct Allocation {
    /// How often all agents are looked at, in seconds; a refusal lasts at least as long.
    #[arg(long, env = "KAON_ALLOCATION_INTERVAL", default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) allocation_interval: f64,
    /// Freed resources are offered at once, but rounds come at least so far apart, in seconds; the interval or more
    /// offers in intervals only.
    #[arg(long, env = "KAON_ALLOCATION_WINDOW", default_value_t = 0.001, value_name = "SECONDS")]
    pub(crate) allocation_window: f64,
    /// The smallest offers: sets of scalars, any of which is enough; empty for no minimum.
    #[arg(long, env = "KAON_MIN_ALLOCATABLE_RESOURCES", default_value = "cpus:0.01|mem:32", value_name = "TEXT")]
    pub(crate) min_allocatable_resources: String,
    /// Resources that don't count in shares.
    #[arg(long, env = "KAON_FAIR_SHARING_EXCLUDED_RESOURCE_NAMES", value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) fair_sharing_excluded_resource_names: Vec<String>,
    /// Keep agents with GPUs for frameworks that opted in.
    #[arg(long, env = "KAON_FILTER_GPU_RESOURCES", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) filter_gpu_resources: bool,
    /// How roles are ordered: by dominant share, by lot, or by another policy, which then orders frameworks as well.
    #[arg(
        long,
        env = "KAON_ROLE_SORTER",
        default_value = "drf",
        value_parser = ["drf", "random", "lottery", "asset-fairness", "max-min", "ceei", "strict-priority"]
    )]
    pub(crate) role_sorter: String,
    /// How the frameworks of a role are ordered: by dominant share, or by lot.
    #[arg(long, env = "KAON_FRAMEWORK_SORTER", default_value = "drf", value_parser = ["drf", "random"])]
    pub(crate) framework_sorter: String,
    /// Classes for --role-sorter strict-priority: the higher is asked first; a role not named is of class 0.
    #[arg(long, env = "KAON_PRIORITY_CLASSES", value_delimiter = ',', value_name = "ROLE=CLASS,..")]
    pub(crate) priority_classes: Vec<String>,
    /// The resource of --role-sorter max-min.
    #[arg(
        long,
        env = "KAON_MAX_MIN_RESOURCE",
        default_value = "cpus",
        value_parser = ["cpus", "mem", "disk", "gpus"]
    )]
    pub(crate) max_min_resource: String,
    /// Part the cluster: agents of this hostname are offered to this role and those below it only; agents that are not
    /// named are offered to nobody.
    #[arg(long, env = "KAON_STATIC_PARTITION", value_delimiter = ',', value_name = "ROLE=HOSTNAME,..")]
    pub(crate) static_partition: Vec<String>,
    /// A file with the hostnames of the agents that may be offered, one a line; read when the master starts.
    #[arg(long, env = "KAON_WHITELIST", value_name = "FILE")]
    pub(crate) whitelist: Option<PathBuf>,
}
