//! From an agent's settings to the chain of its isolators. Names, order of choice and what is added without being named
//! are Mesos's (reference 12.1, 15.2); what `numa` and the further namespaces do is ours.

use crate::cgroups::devices::Rule;
use crate::cgroups::{
    Blkio, Cgroups, Controller, Cpu, Cpuset, Devices, Handles, Hugetlb, Isolated, Mem, NetCls, PerfEvent, Pids,
    ROOT_DEFAULT,
};
use crate::chain::{Chain, ChainError};
use crate::disk::{self, Btrfs, Du, Measured, Meter, Watching, Xfs, XfsSettings};
use crate::filesystem::Filesystem;
use crate::gpu::{self, Gpus, Nvidia};
use crate::images::{self, ImageVolumes, ImagesConfig};
use crate::isolator::{Error, Isolator};
use crate::linux::{NoNewPrivileges, Nodes, Rights};
use crate::namespaces::Namespace;
use crate::network::{self, Cni, PortWatching};
use crate::numa::Numa;
use crate::posix;
use crate::seccomp::{self, Seccomp};
use std::path::PathBuf;
use std::sync::Arc;

/// Every name that `--isolation` takes.
pub const NAMES: [&str; 41] = [
    "posix/cpu",
    "posix/mem",
    "posix/rlimits",
    "posix/disk",
    disk::DU,
    disk::XFS,
    disk::BTRFS,
    "filesystem/posix",
    "filesystem/linux",
    "filesystem/shared",
    "volume/host_path",
    "volume/sandbox_path",
    "volume/secret",
    images::VOLUMES,
    images::RUNTIME,
    ALL_GROUPS,
    "cgroups/cpu",
    "cgroups/mem",
    "cgroups/pids",
    "cgroups/cpuset",
    "cgroups/devices",
    "cgroups/blkio",
    "cgroups/hugetlb",
    "cgroups/net_cls",
    "cgroups/perf_event",
    "namespaces/pid",
    "namespaces/mnt",
    "namespaces/ipc",
    "namespaces/uts",
    "namespaces/cgroup",
    "namespaces/user",
    "linux/capabilities",
    crate::linux::DEVICES,
    "linux/nnp",
    "linux/seccomp",
    "namespaces/net",
    "network/cni",
    network::PORTS,
    SECRET,
    GPU,
    "numa",
];

/// The one of GPUs.
const GPU: &str = gpu::NVIDIA;

/// What the names of all isolators of control groups begin with.
const GROUPS: &str = "cgroups/";

/// The name that stands for all of those.
const ALL_GROUPS: &str = "cgroups/all";

/// Mesos's name for what is always so: secrets reach the environment of the program that they are meant for, and nothing else.
const SECRET: &str = "environment_secret";

/// An isolator that has a name and nothing to do.
struct Named(&'static str);

impl Isolator for Named {
    fn name(&self) -> &'static str {
        self.0
    }
}

/// What an agent is told of its isolators.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--isolation`.
    pub isolation: String,
    /// The machine's work directory, absolute.
    pub work_directory: PathBuf,
    /// The agent's runtime directory, absolute.
    pub runtime_directory: PathBuf,
    /// `--cgroups-root`.
    pub cgroups_root: String,
    /// `--cgroups-enable-cfs`.
    pub caps_cpus: bool,
    /// `--cgroups-limit-swap`.
    pub limits_swap: bool,
    /// `--cgroups-pids-max`.
    pub pids_max: u64,
    /// `--cgroups-net-cls-primary-handle` and `--cgroups-net-cls-secondary-handles`.
    pub net_cls: Option<Handles>,
    /// What may be done with the nodes of `--allowed-devices`.
    pub devices: Vec<Rule>,
    /// These nodes.
    pub device_nodes: Vec<PathBuf>,
    /// All memory of the machine in bytes; zero when unknown.
    pub machine_bytes: u64,
    /// The driver of GPUs.
    pub gpus: Gpus,
    /// `--effective-capabilities` and `--bounding-capabilities`.
    pub rights: Rights,
    /// `--disallow-sharing-agent-pid-namespace`.
    pub keeps_pids: bool,
    /// `--default-container-shm-size`, in MiB.
    pub shm_mib: Option<u32>,
    /// `--host-path-volume-force-creation`.
    pub makes_host_paths: bool,
    /// Where images come from and are kept (`--docker-registry`, `--docker-store-dir` and their like).
    pub images: ImagesConfig,
    /// `--seccomp-config-dir`.
    pub seccomp_directory: Option<PathBuf>,
    /// `--seccomp-profile-name`.
    pub seccomp_profile: Option<String>,
    /// `--network-cni-config-dir`.
    pub cni_configurations: Option<PathBuf>,
    /// `--network-cni-plugins-dir`.
    pub cni_plugins: Vec<PathBuf>,
    /// `--container-disk-watch-interval` and `--enforce-container-disk-quota`.
    pub disk: Watching,
    /// `--container-ports-watch-interval` and its like.
    pub ports: PortWatching,
    /// `--xfs-project-range` and its like.
    pub xfs: XfsSettings,
}

impl Settings {
    /// These isolators, with everything else as usual.
    pub fn usual(isolation: &str) -> Self {
        Self {
            isolation: isolation.to_owned(),
            work_directory: "/".into(),
            runtime_directory: "/".into(),
            cgroups_root: ROOT_DEFAULT.to_owned(),
            caps_cpus: false,
            limits_swap: false,
            pids_max: Pids::default().usual,
            net_cls: None,
            devices: Vec::new(),
            device_nodes: Vec::new(),
            machine_bytes: 0,
            gpus: Gpus::default(),
            rights: Rights::default(),
            keeps_pids: false,
            shm_mib: None,
            makes_host_paths: false,
            images: ImagesConfig::usual(std::path::Path::new("/")),
            seccomp_directory: None,
            seccomp_profile: None,
            cni_configurations: None,
            cni_plugins: Vec::new(),
            disk: Watching::default(),
            ports: PortWatching::default(),
            xfs: XfsSettings::default(),
        }
    }

    /// The chain of these settings.
    ///
    /// # Errors
    /// A name that is none, twice, or without another that it needs; or a machine that can't carry one out.
    pub fn chain(&self) -> Result<Chain, ChainError> {
        let mut names = self.names()?;
        let has = |names: &[&str], name: &str| names.contains(&name);
        let filesystems = names.iter().filter(|name| name.starts_with("filesystem/")).count();
        if filesystems > 1 {
            return Err(ChainError::TwoFilesystems);
        }
        if names.iter().filter(|name| name.starts_with("disk/")).count() > 1 {
            return Err(ChainError::TwoDisks);
        }
        for (name, needed) in [
            (GPU, "cgroups/devices"),
            ("volume/secret", "filesystem/linux"),
            ("volume/host_path", "filesystem/linux"),
            (images::VOLUMES, "filesystem/linux"),
            (images::RUNTIME, "filesystem/linux"),
            (crate::linux::DEVICES, "filesystem/linux"),
        ] {
            if has(&names, name) && !has(&names, needed) {
                return Err(ChainError::Needs(name, needed));
            }
        }
        if has(&names, "filesystem/linux") {
            for volume in ["volume/host_path", "volume/sandbox_path", images::VOLUMES] {
                if !has(&names, volume) {
                    names.push(volume);
                }
            }
        }
        // What files are shown comes first: everything else lies within. Otherwise the order is the operator's.
        names.sort_by_key(|name| match name.split('/').next() {
            Some("filesystem") => 0,
            Some("volume") => 1,
            // What a root is made of is there before its size is looked at.
            Some("docker") => 2,
            _ => 3,
        });
        let uses_groups = names.iter().any(|name| name.starts_with(GROUPS) || *name == crate::numa::NUMA);
        let cgroups = uses_groups.then(|| Cgroups::new(&self.cgroups_root, &self.runtime_directory).map(Arc::new));
        let failed = |source| Error::Io { isolator: "cgroups", action: "find the control groups".into(), source };
        let cgroups = cgroups.transpose().map_err(failed)?;
        let isolators = names.iter().map(|name| {
            self.isolator(name, cgroups.as_ref(), has(&names, GPU), has(&names, crate::linux::CAPABILITIES))
        });
        Chain::new(isolators.collect::<Result<_, _>>()?)
    }

    /// The names, each known, `cgroups/all` resolved.
    fn names(&self) -> Result<Vec<&'static str>, ChainError> {
        let mut names: Vec<&'static str> = Vec::new();
        for said in self.isolation.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let known = NAMES.iter().find(|name| **name == said);
            let known = *known.ok_or_else(|| ChainError::Unknown(said.to_owned()))?;
            // An older name.
            let known = if known == "posix/disk" { disk::DU } else { known };
            if names.contains(&known) {
                return Err(ChainError::Twice(known.to_owned()));
            }
            names.push(known);
        }
        if let Some(at) = names.iter().position(|name| *name == ALL_GROUPS) {
            // It stands for all of them that the machine has, whichever are named beside it.
            let found = crate::cgroups::Hierarchies::discover().unwrap_or_default();
            let is_group = |name: &str| name.starts_with(GROUPS);
            let is_there =
                |name: &&str| is_group(name) && *name != ALL_GROUPS && found.of(controller_of(name)).is_some();
            names.retain(|name| !is_group(name));
            let at = at.min(names.len());
            names.splice(at..at, NAMES.into_iter().filter(is_there));
        }
        Ok(names)
    }

    /// Sizes, measured at times; who is too large ends where `ends` says so.
    fn measured(&self, meter: impl Meter, ends: bool) -> Arc<dyn Isolator> {
        let watching = Watching { is_enforced: ends, ..self.disk };
        let roots = self.images.containers();
        Arc::new(Measured::new(meter, watching, &self.work_directory, &self.runtime_directory, &roots))
    }

    fn isolator(
        &self,
        name: &'static str,
        cgroups: Option<&Arc<Cgroups>>,
        has_gpus: bool,
        has_rights: bool,
    ) -> Result<Arc<dyn Isolator>, ChainError> {
        let work_directory = || self.work_directory.clone();
        let gpus = || Arc::new(self.gpus.clone());
        let group = || cgroups.cloned().ok_or_else(|| ChainError::Unknown(name.to_owned()));
        Ok(match name {
            posix::CPU => Arc::new(posix::Cpu),
            posix::MEM => Arc::new(posix::Mem),
            posix::RLIMITS => Arc::new(posix::Rlimits),
            disk::DU => self.measured(Du, self.disk.is_enforced),
            disk::XFS => {
                let meter = Xfs::new(&self.xfs, self.disk.is_enforced, &self.work_directory);
                self.measured(meter.map_err(|source| unable(disk::XFS, source))?, self.xfs.kills)
            }
            disk::BTRFS => {
                let meter = Btrfs::new(self.disk.is_enforced, &self.work_directory);
                self.measured(meter.map_err(|source| unable(disk::BTRFS, source))?, false)
            }
            "filesystem/posix" => Arc::new(Filesystem::Posix),
            "filesystem/linux" => Arc::new(Filesystem::Linux { work_directory: work_directory() }),
            "filesystem/shared" => Arc::new(Filesystem::Shared { work_directory: work_directory() }),
            "volume/host_path" => {
                Arc::new(Filesystem::HostPath { work_directory: work_directory(), is_made: self.makes_host_paths })
            }
            "volume/sandbox_path" => Arc::new(Filesystem::SandboxPath { work_directory: work_directory() }),
            "volume/secret" => Arc::new(Filesystem::Secret { work_directory: work_directory() }),
            images::RUNTIME => Arc::new(images::Runtime::new(&self.images)?),
            images::VOLUMES => Arc::new(ImageVolumes::new(images::Runtime::new(&self.images)?, &self.work_directory)),
            "namespaces/pid" => Arc::new(Namespace::Pid { is_kept: self.keeps_pids }),
            "namespaces/mnt" => Arc::new(Namespace::Mnt),
            "namespaces/ipc" => Arc::new(Namespace::Ipc { shm_mib: self.shm_mib }),
            "namespaces/uts" => Arc::new(Namespace::Uts),
            "namespaces/cgroup" => Arc::new(Namespace::Cgroup),
            "namespaces/user" => Arc::new(Namespace::User),
            crate::linux::DEVICES => Arc::new(Nodes(self.device_nodes.clone())),
            crate::linux::CAPABILITIES => Arc::new(self.rights),
            crate::linux::NNP => Arc::new(NoNewPrivileges),
            seccomp::SECCOMP => {
                let rights = has_rights.then_some(self.rights);
                let (directory, usual) = (self.seccomp_directory.as_deref(), self.seccomp_profile.as_deref());
                Arc::new(Seccomp::new(directory, usual, rights, &self.runtime_directory)?)
            }
            network::NET => Arc::new(network::Alone),
            network::CNI => {
                let configurations = self.cni_configurations.as_deref();
                Arc::new(Cni::new(configurations, &self.cni_plugins, &self.runtime_directory)?)
            }
            network::PORTS => Arc::new(network::Ports::new(self.ports.clone(), &self.runtime_directory)),
            SECRET => Arc::new(Named(SECRET)),
            crate::numa::NUMA => Arc::new(Numa::new(group()?)?),
            GPU => Arc::new(Nvidia(gpus())),
            "cgroups/cpu" => grouped(group()?, Cpu { is_capped: self.caps_cpus })?,
            "cgroups/mem" => {
                grouped(group()?, Mem { limits_swap: self.limits_swap, machine_bytes: self.machine_bytes })?
            }
            "cgroups/pids" => grouped(group()?, Pids { usual: self.pids_max })?,
            "cgroups/cpuset" => grouped(group()?, Cpuset { name: "cgroups/cpuset" })?,
            "cgroups/devices" => grouped(group()?, Devices { more: self.devices.clone(), gpus: has_gpus.then(gpus) })?,
            "cgroups/blkio" => grouped(group()?, Blkio::default())?,
            "cgroups/hugetlb" => grouped(group()?, Hugetlb)?,
            "cgroups/net_cls" => grouped(group()?, NetCls::new(self.net_cls))?,
            "cgroups/perf_event" => grouped(group()?, PerfEvent)?,
            unknown => return Err(ChainError::Unknown(unknown.to_owned())),
        })
    }
}

fn unable(isolator: &'static str, source: std::io::Error) -> Error {
    Error::Io { isolator, action: "have the kernel count what is written".to_owned(), source }
}

fn grouped(cgroups: Arc<Cgroups>, controller: impl Controller) -> Result<Arc<dyn Isolator>, ChainError> {
    Ok(Arc::new(Isolated::new(cgroups, controller)?))
}

/// The kernel's name of an isolator's controller.
fn controller_of(name: &str) -> &str {
    match name.strip_prefix(GROUPS).unwrap_or(name) {
        "mem" => "memory",
        same => same,
    }
}
