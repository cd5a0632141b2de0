//! What an agent is told of the walls around its containers. Names and meanings are those of Mesos's flags (reference
//! 12.1, 15.2), with dashes.

use anyhow::{Context, Result, bail};
use clap::Args;
use kaon_isolators::build::Settings;
use kaon_isolators::cgroups::Handles;
use kaon_isolators::cgroups::devices::Rule;
use kaon_isolators::disk::{Watching, XfsSettings};
use kaon_isolators::gpu::Gpus;
use kaon_isolators::launcher::Rotation;
use kaon_isolators::linux::{Rights, parse_capabilities};
use kaon_isolators::network::{self, PortWatching};
use kaon_isolators::secrets::{Directory, Secrets};
use kaon_kernel::resource::Resources;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The isolators of an agent that is told nothing: what every user can carry out.
pub(crate) const ISOLATION_DEFAULT: &str = "posix/cpu,posix/mem,posix/rlimits";

/// The size of an output before it is turned over: `max_stdout_size` of Mesos's logger that rotates (10 MB).
const LOG_BYTES_MAX_DEFAULT: u64 = 10 * 1024 * 1024;

/// The walls around containers.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct Isolation {
    /// The isolators, in order: `cgroups/all`, `namespaces/pid`, `filesystem/linux`, `numa`, .. (docs/isolation.md).
    #[arg(long, env = "KAON_ISOLATION", default_value = ISOLATION_DEFAULT, value_name = "LIST")]
    pub(crate) isolation: String,
    /// The directory of all control groups of agents, below each mount point.
    #[arg(long, env = "KAON_CGROUPS_ROOT", default_value = "kaon", value_name = "PATH")]
    pub(crate) cgroups_root: String,
    /// Nobody gets more processor time than it took of the offer, unless it names a limit.
    #[arg(long, env = "KAON_CGROUPS_ENABLE_CFS")]
    pub(crate) cgroups_enable_cfs: bool,
    /// Limits of memory are limits of memory and swap.
    #[arg(long, env = "KAON_CGROUPS_LIMIT_SWAP")]
    pub(crate) cgroups_limit_swap: bool,
    /// The most processes and threads of a container that takes no `pids`.
    #[arg(long, env = "KAON_CGROUPS_PIDS_MAX", default_value_t = 4096, value_name = "N")]
    pub(crate) cgroups_pids_max: u64,
    /// The upper half of all classes of `cgroups/net_cls`, such as 0x0012.
    #[arg(long, env = "KAON_CGROUPS_NET_CLS_PRIMARY_HANDLE", value_name = "NUMBER")]
    pub(crate) cgroups_net_cls_primary_handle: Option<String>,
    /// The lower halves that containers get, such as 0x0001,0xffff.
    #[arg(long, env = "KAON_CGROUPS_NET_CLS_SECONDARY_HANDLES", value_name = "FIRST,LAST")]
    pub(crate) cgroups_net_cls_secondary_handles: Option<String>,
    /// Device nodes that every container may open beside the usual ones.
    #[arg(long, env = "KAON_ALLOWED_DEVICES", value_delimiter = ',', value_name = "PATH,..")]
    pub(crate) allowed_devices: Vec<PathBuf>,
    /// Capabilities that containers begin with, such as CHOWN,NET_RAW; ALL; or JSON as Mesos takes it.
    #[arg(long, env = "KAON_EFFECTIVE_CAPABILITIES", value_name = "LIST")]
    pub(crate) effective_capabilities: Option<String>,
    /// Capabilities that containers can ever get. One that may get SYS_ADMIN is not guarded (docs/isolation.md).
    #[arg(long, env = "KAON_BOUNDING_CAPABILITIES", value_name = "LIST")]
    pub(crate) bounding_capabilities: Option<String>,
    /// The directory of secrets by reference: files NAME, or NAME/KEY of those with parts.
    #[arg(long, env = "KAON_SECRET_RESOLVER", value_name = "DIR")]
    pub(crate) secret_resolver: Option<PathBuf>,
    /// Where profiles of system calls are, in Docker's format (`linux/seccomp`).
    #[arg(long, env = "KAON_SECCOMP_CONFIG_DIR", value_name = "DIR")]
    pub(crate) seccomp_config_dir: Option<PathBuf>,
    /// The profile of containers that name none.
    #[arg(long, env = "KAON_SECCOMP_PROFILE_NAME", value_name = "NAME")]
    pub(crate) seccomp_profile_name: Option<String>,
    /// Where the configurations of networks are (`network/cni`).
    #[arg(long, env = "KAON_NETWORK_CNI_CONFIG_DIR", value_name = "DIR")]
    pub(crate) network_cni_config_dir: Option<PathBuf>,
    /// Where the plugins of networks are.
    #[arg(long, env = "KAON_NETWORK_CNI_PLUGINS_DIR", value_delimiter = ':', value_name = "DIR:..")]
    pub(crate) network_cni_plugins_dir: Vec<PathBuf>,
    /// No container may share the agent's process numbers.
    #[arg(long, env = "KAON_DISALLOW_SHARING_AGENT_PID_NAMESPACE")]
    pub(crate) disallow_sharing_agent_pid_namespace: bool,
    /// The size of a container's own /dev/shm, in MiB.
    #[arg(long, env = "KAON_DEFAULT_CONTAINER_SHM_SIZE", value_name = "MIB")]
    pub(crate) default_container_shm_size: Option<u32>,
    /// Directories of the machine that a volume names are made when they are missing.
    #[arg(long, env = "KAON_HOST_PATH_VOLUME_FORCE_CREATION")]
    pub(crate) host_path_volume_force_creation: bool,
    /// How often the size of each sandbox is measured, in seconds.
    #[arg(long, env = "KAON_CONTAINER_DISK_WATCH_INTERVAL", default_value_t = 15.0, value_name = "SECONDS")]
    pub(crate) container_disk_watch_interval: f64,
    /// A container whose sandbox is larger than the disk it took ends.
    #[arg(long, env = "KAON_ENFORCE_CONTAINER_DISK_QUOTA")]
    pub(crate) enforce_container_disk_quota: bool,
    /// How often it is looked who listens on which ports of the machine, in seconds (`network/ports`).
    #[arg(long, env = "KAON_CONTAINER_PORTS_WATCH_INTERVAL", default_value_t = 30.0, value_name = "SECONDS")]
    pub(crate) container_ports_watch_interval: f64,
    /// A container that listens on a port that it did not take ends.
    #[arg(long, env = "KAON_ENFORCE_CONTAINER_PORTS")]
    pub(crate) enforce_container_ports: bool,
    /// The ports that are watched, such as [31000-32000]; all without.
    #[arg(long, env = "KAON_CONTAINER_PORTS_ISOLATED_RANGE", value_name = "[FIRST-LAST]")]
    pub(crate) container_ports_isolated_range: Option<String>,
    /// Only the ports among the agent's resources are watched: others are anybody's.
    #[arg(long, env = "KAON_CHECK_AGENT_PORT_RANGE_ONLY", conflicts_with = "container_ports_isolated_range")]
    pub(crate) check_agent_port_range_only: bool,
    /// The projects that `disk/xfs` gives to sandboxes.
    #[arg(long, env = "KAON_XFS_PROJECT_RANGE", default_value = "[5000-10000]", value_name = "[FIRST-LAST]")]
    pub(crate) xfs_project_range: String,
    /// A container beyond the disk it took ends, rather than writing no more (`disk/xfs`).
    #[arg(long, env = "KAON_XFS_KILL_CONTAINERS")]
    pub(crate) xfs_kill_containers: bool,
    /// How much more it can write before it ends, in MiB.
    #[arg(long, env = "KAON_XFS_QUOTA_HEADROOM", default_value_t = 10, value_name = "MIB")]
    pub(crate) xfs_quota_headroom: u32,
    /// The size at which `stdout` and `stderr` of a task are turned over, in bytes; zero lets them grow.
    #[arg(long, env = "KAON_LOG_BYTES_MAX", default_value_t = LOG_BYTES_MAX_DEFAULT, value_name = "BYTES")]
    pub(crate) log_bytes_max: u64,
    /// How many older files of each are kept.
    #[arg(long, env = "KAON_LOG_FILES_MAX", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100), value_name = "N")]
    pub(crate) log_files_max: u32,
    /// Where the driver of GPUs tells of them.
    #[arg(long, env = "KAON_NVIDIA_DRIVER_DIRECTORY", default_value = "/proc/driver/nvidia", value_name = "DIR")]
    pub(crate) nvidia_driver_directory: PathBuf,
    /// Where specifications of devices are (Container Device Interface, JSON), the later before the earlier.
    #[arg(
        long,
        env = "KAON_CDI_SPEC_DIRS",
        value_delimiter = ',',
        default_value = "/etc/cdi,/var/run/cdi",
        value_name = "DIR,.."
    )]
    pub(crate) cdi_spec_dirs: Vec<PathBuf>,
    /// Where the device nodes of GPUs are.
    #[arg(long, env = "KAON_NVIDIA_DEVICE_DIRECTORY", default_value = "/dev", value_name = "DIR")]
    pub(crate) nvidia_device_directory: PathBuf,
}

impl Isolation {
    /// The settings for an agent with these directories and resources on a machine with so much memory.
    pub(crate) fn settings(
        &self,
        work_directory: &Path,
        runtime_directory: &Path,
        resources: &Resources,
        machine_bytes: u64,
    ) -> Result<Settings> {
        let set = |text: &Option<String>, flag: &str| {
            let parsed = text.as_deref().map(parse_capabilities).transpose();
            parsed.map_err(|error| anyhow::anyhow!("--{flag}: {error}"))
        };
        let rule = |path: &PathBuf| {
            Rule::of_node(path).map_err(|error| anyhow::anyhow!("--allowed-devices {}: {error}", path.display()))
        };
        let interval = self.container_disk_watch_interval;
        if !(0.01..=86_400.0).contains(&interval) {
            bail!("--container-disk-watch-interval {interval}: expected 0.01 to 86400 seconds");
        }
        is_directory("secret-resolver", self.secret_resolver.as_deref())?;
        is_directory("seccomp-config-dir", self.seccomp_config_dir.as_deref())?;
        let usual = Settings::usual(&self.isolation);
        Ok(Settings {
            work_directory: work_directory.to_owned(),
            runtime_directory: runtime_directory.to_owned(),
            cgroups_root: self.cgroups_root.clone(),
            caps_cpus: self.cgroups_enable_cfs,
            limits_swap: self.cgroups_limit_swap,
            pids_max: self.cgroups_pids_max,
            net_cls: self.handles()?,
            devices: self.allowed_devices.iter().map(rule).collect::<Result<_>>()?,
            device_nodes: self.allowed_devices.clone(),
            machine_bytes,
            gpus: self.gpus(),
            rights: Rights {
                effective: set(&self.effective_capabilities, "effective-capabilities")?,
                bounding: set(&self.bounding_capabilities, "bounding-capabilities")?,
            },
            keeps_pids: self.disallow_sharing_agent_pid_namespace,
            shm_mib: self.default_container_shm_size,
            seccomp_directory: self.seccomp_config_dir.clone(),
            seccomp_profile: self.seccomp_profile_name.clone(),
            cni_configurations: self.network_cni_config_dir.clone(),
            cni_plugins: self.network_cni_plugins_dir.clone(),
            makes_host_paths: self.host_path_volume_force_creation,
            disk: Watching {
                interval: Duration::from_secs_f64(interval),
                is_enforced: self.enforce_container_disk_quota,
            },
            ports: self.ports(resources)?,
            xfs: XfsSettings {
                projects: projects(&self.xfs_project_range)?,
                kills: self.xfs_kill_containers,
                headroom_bytes: u64::from(self.xfs_quota_headroom) << 20,
            },
            ..usual
        })
    }

    /// How ports are watched by an agent with these resources.
    fn ports(&self, resources: &Resources) -> Result<PortWatching> {
        let interval = self.container_ports_watch_interval;
        if !(0.01..=86_400.0).contains(&interval) {
            bail!("--container-ports-watch-interval {interval}: expected 0.01 to 86400 seconds");
        }
        let range = self.container_ports_isolated_range.as_deref().map(|text| {
            let wrong =
                || format!("--container-ports-isolated-range {text}: expected [FIRST-LAST], ports from 1 to 65535");
            let range = numbers(text).with_context(wrong)?;
            let port = |number: u32| u16::try_from(number).map(u64::from).with_context(wrong);
            Ok::<_, anyhow::Error>(vec![(port(*range.start())?, port(*range.end())?)])
        });
        let interval = Duration::from_secs_f64(interval);
        let watched = match self.check_agent_port_range_only {
            true => Some(network::taken(resources)),
            false => range.transpose()?,
        };
        Ok(PortWatching { interval, is_enforced: self.enforce_container_ports, watched })
    }

    /// Where GPUs are told of.
    pub(crate) fn gpus(&self) -> Gpus {
        let (driver, nodes) = (self.nvidia_driver_directory.clone(), self.nvidia_device_directory.clone());
        Gpus { driver, nodes, cdi: self.cdi_spec_dirs.clone() }
    }

    /// Who knows what secrets by reference are.
    pub(crate) fn secrets(&self) -> Option<Arc<dyn Secrets>> {
        self.secret_resolver.as_ref().map(|path| Arc::new(Directory(path.clone())) as Arc<dyn Secrets>)
    }

    /// How large outputs may be.
    pub(crate) fn rotation(&self) -> Option<Rotation> {
        let rotation = Rotation { bytes_max: self.log_bytes_max, files_max: self.log_files_max };
        (self.log_bytes_max > 0).then_some(rotation)
    }

    fn handles(&self) -> Result<Option<Handles>> {
        let Some(primary) = &self.cgroups_net_cls_primary_handle else { return Ok(None) };
        let primary = handle(primary)?;
        let range = self.cgroups_net_cls_secondary_handles.as_deref().unwrap_or("0x0001,0xffff");
        let Some((first, last)) = range.split_once(',') else {
            bail!("--cgroups-net-cls-secondary-handles {range}: expected FIRST,LAST")
        };
        let (first, last) = (handle(first)?, handle(last)?);
        if first == 0 || first > last {
            bail!("--cgroups-net-cls-secondary-handles {range}: the first is zero or above the last");
        }
        Ok(Some(Handles { primary, first, last }))
    }
}

/// Refuses a directory that is named and can't be read: a task would find out first.
fn is_directory(flag: &str, path: Option<&Path>) -> Result<()> {
    match path {
        Some(path) => std::fs::read_dir(path).map(drop).with_context(|| format!("--{flag} {}", path.display())),
        None => Ok(()),
    }
}

/// Numbers of projects. Zero is that of nobody.
fn projects(text: &str) -> Result<RangeInclusive<u32>> {
    numbers(text).with_context(|| format!("--xfs-project-range {text}: expected [FIRST-LAST], the first above zero"))
}

/// Numbers above zero: `[FIRST-LAST]`.
fn numbers(text: &str) -> Option<RangeInclusive<u32>> {
    let bare = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (first, last) = bare.and_then(|range| range.split_once('-')).unwrap_or_default();
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Some(first..=last),
        _ => None,
    }
}

fn handle(text: &str) -> Result<u16> {
    let text = text.trim();
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| anyhow::anyhow!("'{text}' is no handle: expected a number of 16 bits such as 0x0012"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::resource::parse;

    #[test]
    fn handles_are_numbers_of_sixteen_bits() {
        assert_eq!((handle("0x0012").unwrap(), handle(" 7").unwrap()), (0x12, 7));
        assert!(handle("0x10000").is_err() && handle("-1").is_err() && handle("").is_err());
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        isolation: Isolation,
    }

    fn line(flags: &[&str]) -> Result<Isolation, clap::Error> {
        let words = ["agent"].iter().chain(flags);
        <Line as clap::Parser>::try_parse_from(words).map(|line| line.isolation)
    }

    #[test]
    fn the_ports_that_are_watched_are_the_agents_a_range_or_all() {
        let resources = parse::resources("cpus:1;ports:[31000-31010,32000-32000]").unwrap();
        let watched = |flags: &[&str]| line(flags).unwrap().ports(&resources).unwrap().watched;
        let own = watched(&["--check-agent-port-range-only"]);
        assert_eq!(own, Some(vec![(31_000, 31_010), (32_000, 32_000)]));
        assert_eq!(watched(&["--container-ports-isolated-range", "[7-9]"]), Some(vec![(7, 9)]));
        assert_eq!(watched(&[]), None);
        let both = ["--check-agent-port-range-only", "--container-ports-isolated-range", "[7-9]"];
        assert_eq!(line(&both).unwrap_err().kind(), clap::error::ErrorKind::ArgumentConflict);
        let none = line(&["--check-agent-port-range-only"]).unwrap().ports(&parse::resources("cpus:1").unwrap());
        assert_eq!(none.unwrap().watched, Some(Vec::new()), "an agent without ports watches none");
    }

    #[test]
    fn directories_that_are_not_there_are_refused_by_name() {
        let work = tempfile::tempdir().unwrap();
        let (there, missing) = (work.path().display().to_string(), work.path().join("none").display().to_string());
        for flag in ["--secret-resolver", "--seccomp-config-dir"] {
            let settings = |path: &str| {
                let isolation = line(&[flag, path]).unwrap();
                isolation.settings(work.path(), work.path(), &Resources::default(), 1 << 30)
            };
            let error = format!("{:#}", settings(&missing).expect_err("refused"));
            assert!(error.starts_with(&format!("{flag} {missing}: ")), "{error}");
            assert!(settings(&there).is_ok());
        }
    }

    #[test]
    fn projects_are_a_range_above_zero() {
        assert_eq!(projects("[5000-10000]").unwrap(), 5000..=10_000);
        for bad in ["", "[]", "[0-5]", "[7-5]", "5-7", "[5-7", "[a-b]"] {
            assert!(projects(bad).is_err(), "{bad}");
        }
    }
}
