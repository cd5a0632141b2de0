//! What a task or an executor asks of the walls around it: `ContainerInfo` of the v1 API as far as the kernel knows it, and
//! the limits of `TaskInfo.limits`. The edge makes these; the isolators carry them out or refuse them by name.

use crate::quantity::Quantity;
use crate::secret::Secret;
use rkyv::{Archive, Deserialize, Serialize};

/// How far a container may go, where that differs from what it takes of the offer (bursting, `TaskInfo.limits`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Limits {
    /// Processors; `None` is as much as it takes of the offer.
    pub cpus: Option<Limit>,
    /// Memory, in MiB.
    pub mem: Option<Limit>,
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Limit {
    /// So much and no more.
    Amount(Quantity),
    /// As much as the machine has.
    Unlimited,
}

impl Limits {
    /// Whether nothing differs from what is taken of the offer.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These limits, each larger by what an executor takes beside its task.
    #[must_use]
    pub fn beside(self, cpus: Quantity, mem: Quantity) -> Self {
        Self { cpus: self.cpus.map(|limit| limit.plus(cpus)), mem: self.mem.map(|limit| limit.plus(mem)) }
    }
}

impl Limit {
    /// A limit larger by `more`; what can't be counted is unlimited.
    #[must_use]
    pub fn plus(self, more: Quantity) -> Self {
        match self {
            Self::Amount(amount) => amount.plus(more).map_or(Self::Unlimited, Self::Amount),
            Self::Unlimited => Self::Unlimited,
        }
    }
}

/// What is asked of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Its own host name.
    pub hostname: Option<String>,
    /// What is put into its file system.
    pub volumes: Vec<Volume>,
    /// Resource limits as in `setrlimit`: name (`RLMT_NOFILE`), soft, hard; `None` means unlimited.
    pub rlimits: Vec<(String, Option<u64>, Option<u64>)>,
    /// What only Linux has.
    pub linux: LinuxInfo,
    /// The image that its files come from; the machine's own without.
    pub image: Option<Image>,
    /// What a Docker engine is to run it with; `None` when Kaon's own containers do.
    pub docker: Option<Box<Docker>>,
    /// The terminal that its program is started with, if it wants one.
    pub terminal: Option<Window>,
    /// The networks that it joins; without one it has the machine's.
    pub networks: Vec<Network>,
}

impl ContainerInfo {
    /// Whether its files, and perhaps its program, are those of an image.
    pub fn has_image(&self) -> bool {
        self.image.is_some() || self.docker.is_some()
    }
}

/// An image in a registry (`Image` of the v1 API, type DOCKER).
#[derive(Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Image {
    /// Its name, such as `busybox`, `registry:5000/team/app:2` or `app@sha256:..`.
    pub name: String,
    /// Whether one that the machine has already will do.
    pub is_cached: bool,
    /// Who may fetch it: a configuration as `docker login` writes it, in JSON.
    pub credentials: Option<Vec<u8>>,
}

/// Without the credentials.
impl core::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut debug = formatter.debug_struct("Image");
        debug.field("name", &self.name).field("is_cached", &self.is_cached).finish_non_exhaustive()
    }
}

/// What a Docker engine is asked for (`ContainerInfo.DockerInfo` of the v1 API).
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Docker {
    /// The image.
    pub image: String,
    /// Whose network it has.
    pub network: DockerNetwork,
    /// Which of its ports are the machine's too.
    pub ports: Vec<PortMapping>,
    /// Whether it has all rights.
    pub is_privileged: bool,
    /// Options as Docker's command line has them, without the dashes: name and value.
    pub parameters: Vec<(String, String)>,
    /// Whether the image is asked for anew even if the machine has it.
    pub pulls: bool,
}

/// Whose network a container of Docker has.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum DockerNetwork {
    /// The machine's.
    Host,
    /// Docker's own bridge.
    Bridge,
    /// None but loopback.
    None,
    /// One that its users made, by its name.
    User(String),
}

/// The size of a terminal's window, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// A network that a container joins (`NetworkInfo` of the v1 API).
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Network {
    /// Its name among the agent's networks; `None` for the machine's own.
    pub name: Option<String>,
    /// Ports of the machine that lead to ports of the container.
    pub ports: Vec<PortMapping>,
    /// For people and plugins.
    pub labels: Vec<(String, Option<String>)>,
}

/// A port of the machine that leads into a container.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PortMapping {
    /// On the machine.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// Whether it is UDP rather than TCP.
    pub is_udp: bool,
}

/// What a container asks of Linux (`LinuxInfo` of the v1 API).
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LinuxInfo {
    /// The capabilities that its program begins with.
    pub effective: Option<Capabilities>,
    /// Those that it could ever get.
    pub bounding: Option<Capabilities>,
    /// Whether it shares the process numbers of what is around it.
    pub share_pid_namespace: Option<bool>,
    /// Which system calls it may make.
    pub seccomp: Option<Seccomp>,
    /// Whether its System V objects are its own.
    pub ipc: Option<IpcMode>,
    /// The size of its own `/dev/shm`, in MiB.
    pub shm_mib: Option<u32>,
    /// Whether a container within another has control groups of its own below that one's (`share_cgroups` is false).
    pub has_own_groups: bool,
}

/// A set of capabilities: bit n is the capability that Linux numbers n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Capabilities(pub u64);

/// Which system calls a container may make.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Seccomp {
    /// All.
    Unconfined,
    /// Those of the profile of this name on the agent.
    Profile(String),
}

/// Whose System V objects, message queues and `/dev/shm` a container sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum IpcMode {
    /// Its own.
    Private,
    /// Those of what is around it.
    ShareParent,
}

/// Something put into a container's file system.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Volume {
    /// Where it shows: absolute, or relative to the sandbox.
    pub container_path: String,
    /// Whether it can't be written.
    pub is_read_only: bool,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum VolumeSource {
    /// A path of the machine.
    Host {
        /// The path: absolute, or relative to the sandbox.
        path: String,
        /// What mounts below it go where.
        propagation: Propagation,
    },
    /// A directory of the container's own sandbox, or of that of the container around it.
    Sandbox {
        /// Whether it is that of the container around it.
        is_parents: bool,
        /// The path, relative to that sandbox.
        path: String,
    },
    /// A secret, shown as a file in memory.
    Secret(Secret),
    /// The files of an image.
    Image(Image),
}

/// Which mounts that are made later show where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// Those of the machine in the container.
    HostToContainer,
    /// Those of either in the other.
    Bidirectional,
}
