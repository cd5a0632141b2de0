//! `ContainerInfo`: the rules of reference 5.1 number 8, and what this version can do of it.
//!
//! What the kernel has a type for is converted, and the isolators of the agent carry it out or refuse it. A `ContainerInfo`
//! that asks for more is refused by the name of what it asks for, rather than run without it.

use kaon_kernel::cause::Cause;
use kaon_kernel::container_info::{
    Capabilities, ContainerInfo, Docker, DockerNetwork, Image, IpcMode, LinuxInfo, Network, PortMapping, Propagation,
    Seccomp, Volume, VolumeSource, Window,
};
use kaon_kernel::secret::Secret;

use super::{Error, secret};
use crate::v1::mesos as v1;
use crate::v1::mesos::container_info::Type;
use crate::v1::mesos::volume::source;

/// The first rule that a container breaks, or the first thing that it asks for and can't have.
///
/// # Errors
/// That.
pub fn judge(container: &v1::ContainerInfo) -> Result<(), Error> {
    container.volumes.iter().try_for_each(judge_volume)?;
    let docker = container.r#type == Type::Docker as i32;
    if docker {
        let Some(info) = &container.docker else {
            return rule("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo");
        };
        if info.parameters.iter().any(|parameter| parameter.key == "name") {
            return rule("Parameter in DockerInfo must not be 'name'");
        }
    }
    Ok(())
}

fn rule(text: &str) -> Result<(), Error> {
    Err(Error::Rule(Cause::ContainerInvalid, text.to_owned()))
}

fn judge_volume(volume: &v1::Volume) -> Result<(), Error> {
    let ways = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        return rule("Only one of them should be set: 'host_path', 'image' and 'source'");
    }
    let Some(source) = &volume.source else { return Ok(()) };
    let kind = source.r#type.map(v1::volume::source::Type::try_from);
    let (there, name) = match kind {
        Some(Ok(source::Type::DockerVolume)) => (source.docker_volume.is_some(), "docker_volume"),
        Some(Ok(source::Type::HostPath)) => (source.host_path.is_some(), "host_path"),
        Some(Ok(source::Type::SandboxPath)) => (source.sandbox_path.is_some(), "sandbox_path"),
        Some(Ok(source::Type::Secret)) => (source.secret.is_some(), "secret"),
        Some(Ok(source::Type::CsiVolume)) => {
            let fixed = source.csi_volume.as_ref().is_some_and(|volume| volume.static_provisioning.is_some());
            (fixed, "csi_volume.static_provisioning")
        }
        Some(Ok(source::Type::Unknown) | Err(_)) | None => return rule("'source.type' is unknown"),
    };
    if there {
        Ok(())
    } else {
        Err(Error::Rule(Cause::ContainerInvalid, format!("'source.{name}' is not set for its type")))
    }
}

/// What the kernel knows of a container from outside; nothing when it asks for nothing.
///
/// # Errors
/// The first rule that it breaks, or the first thing that it asks for and can't have.
pub fn from_v1(container: &v1::ContainerInfo) -> Result<Option<Box<ContainerInfo>>, Error> {
    judge(container)?;
    let is_docker = container.r#type == Type::Docker as i32;
    let own_image = container.mesos.as_ref().and_then(|mesos| mesos.image.as_ref()).filter(|_| !is_docker);
    let rlimits = container.rlimit_info.iter().flat_map(|info| &info.rlimits).map(rlimit);
    let typed = ContainerInfo {
        hostname: container.hostname.clone().filter(|name| !name.is_empty()),
        volumes: container.volumes.iter().map(volume).collect::<Result<_, _>>()?,
        rlimits: rlimits.collect::<Result<_, _>>()?,
        linux: container.linux_info.as_ref().map_or_else(|| Ok(LinuxInfo::default()), linux)?,
        image: own_image.map(image).transpose()?,
        docker: match &container.docker {
            Some(info) if is_docker => Some(Box::new(docker(info, &container.network_infos)?)),
            _ => None,
        },
        terminal: container.tty_info.as_ref().map(terminal),
        networks: match is_docker {
            // The engine's business.
            true => Vec::new(),
            false => container.network_infos.iter().map(network).collect::<Result<_, _>>()?,
        },
    };
    Ok((typed != ContainerInfo::default()).then(|| Box::new(typed)))
}

/// The longest name of an image in bytes: a registry, a path of 255 characters, a tag and a digest.
const IMAGE_NAME_BYTES_MAX: usize = 1024;

/// The most mapped ports, and the most parameters of a Docker container.
const DOCKER_LIST_MAX: usize = 1024;

fn image_name(name: &str) -> Result<String, Error> {
    match name.is_empty() || name.len() > IMAGE_NAME_BYTES_MAX || name.contains(|one: char| one <= ' ') {
        true => Err(Error::Rule(
            Cause::ContainerInvalid,
            "The name of an image is empty, too long, or holds a space".to_owned(),
        )),
        false => Ok(name.to_owned()),
    }
}

fn image(image: &v1::Image) -> Result<Image, Error> {
    use v1::image::Type;
    if image.r#type != Type::Docker as i32 {
        return Err(Error::Unsupported("An image of type APPC"));
    }
    let Some(docker) = &image.docker else {
        return Err(Error::Rule(Cause::ContainerInvalid, "'docker' is not set for an image of type DOCKER".to_owned()));
    };
    let credentials = match &docker.config {
        Some(given) => match secret::from_v1(given)? {
            Secret::Value(value) => Some(value),
            Secret::Reference(_) => return Err(Error::Unsupported("The configuration of an image by reference")),
        },
        None => None,
    };
    Ok(Image { name: image_name(&docker.name)?, is_cached: image.cached.unwrap_or(true), credentials })
}

fn docker(info: &v1::container_info::DockerInfo, networks: &[v1::NetworkInfo]) -> Result<Docker, Error> {
    use v1::container_info::docker_info::Network;
    let text = |text: &str| Err(Error::Rule(Cause::ContainerInvalid, text.to_owned()));
    let named = networks.iter().find_map(|network| network.name.clone());
    let network = match info.network.map_or(Ok(Network::Host), Network::try_from) {
        Ok(Network::Host) => DockerNetwork::Host,
        Ok(Network::Bridge) => DockerNetwork::Bridge,
        Ok(Network::None) => DockerNetwork::None,
        Ok(Network::User) => match named.filter(|name| !name.is_empty()) {
            Some(name) => DockerNetwork::User(name),
            None => return text("Docker network 'USER' needs a name in 'network_infos'"),
        },
        Err(_) => return text("Unknown Docker network"),
    };
    if !info.port_mappings.is_empty() && matches!(network, DockerNetwork::Host | DockerNetwork::None) {
        return text("Port mappings are only supported for bridge and user-defined networks");
    }
    if info.port_mappings.len() > DOCKER_LIST_MAX || info.parameters.len() > DOCKER_LIST_MAX {
        return text("DockerInfo has too many port mappings or parameters");
    }
    let mapped = |one: &v1::container_info::docker_info::PortMapping| {
        port_mapping(one.host_port, one.container_port, one.protocol.as_deref())
    };
    Ok(Docker {
        image: image_name(&info.image)?,
        network,
        ports: info.port_mappings.iter().map(mapped).collect::<Result<_, _>>()?,
        is_privileged: info.privileged.unwrap_or(false),
        parameters: info.parameters.iter().map(|one| (one.key.clone(), one.value.clone())).collect(),
        pulls: info.force_pull_image.unwrap_or(false),
    })
}

/// Whether a container asks for control groups of its own, or for those around it; `None` when it does not say.
pub(crate) fn shares_cgroups(container: Option<&v1::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}

fn port_mapping(host: u32, container: u32, protocol: Option<&str>) -> Result<PortMapping, Error> {
    let port = |number: u32| u16::try_from(number).ok().filter(|port| *port > 0);
    let is_udp = match protocol.map(str::to_ascii_lowercase).as_deref() {
        None | Some("tcp") => false,
        Some("udp") => true,
        Some(_) => {
            return Err(Error::Rule(
                Cause::ContainerInvalid,
                "The protocol of a port mapping is neither tcp nor udp".to_owned(),
            ));
        }
    };
    match (port(host), port(container)) {
        (Some(host), Some(container)) => Ok(PortMapping { host, container, is_udp }),
        _ => Err(Error::Rule(Cause::ContainerInvalid, "A port mapping names a port that is none".to_owned())),
    }
}

/// The window of a terminal that is given none.
const WINDOW: Window = Window { rows: 24, columns: 80 };

/// A terminal; sizes beyond what the kernel can say are as large as it can.
pub fn terminal(info: &v1::TtyInfo) -> Window {
    let clipped = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    info.window_size.as_ref().map_or(WINDOW, |size| Window { rows: clipped(size.rows), columns: clipped(size.columns) })
}

fn network(info: &v1::NetworkInfo) -> Result<Network, Error> {
    let mapped =
        |one: &v1::network_info::PortMapping| port_mapping(one.host_port, one.container_port, one.protocol.as_deref());
    let labels = info.labels.iter().flat_map(|labels| &labels.labels);
    Ok(Network {
        name: info.name.clone().filter(|name| !name.is_empty()),
        ports: info.port_mappings.iter().map(mapped).collect::<Result<_, _>>()?,
        labels: labels.map(|label| (label.key.clone(), label.value.clone())).collect(),
    })
}

fn rlimit(limit: &v1::r_limit_info::RLimit) -> Result<(String, Option<u64>, Option<u64>), Error> {
    use v1::r_limit_info::r_limit::Type;
    let name = match limit.r#type.map(Type::try_from) {
        Some(Ok(Type::Unknown) | Err(_)) | None => {
            return Err(Error::Rule(Cause::ContainerInvalid, "Invalid rlimit type".to_owned()));
        }
        Some(Ok(known)) => known.as_str_name().to_owned(),
    };
    // Both or none (Mesos's rule): none is unlimited.
    if limit.soft.is_some() != limit.hard.is_some() {
        return Err(Error::Rule(
            Cause::ContainerInvalid,
            format!("Invalid rlimit configuration for '{name}': set both limits or none"),
        ));
    }
    Ok((name, limit.soft, limit.hard))
}

fn linux(info: &v1::LinuxInfo) -> Result<LinuxInfo, Error> {
    use v1::linux_info::IpcMode as Mode;
    // The older name of the effective set; both at once contradict each other.
    if info.capability_info.is_some() && info.effective_capabilities.is_some() {
        let text = "Only one of 'capability_info' or 'effective_capabilities' is allowed";
        return Err(Error::Rule(Cause::ContainerInvalid, text.to_owned()));
    }
    let effective = info.effective_capabilities.as_ref().or(info.capability_info.as_ref());
    let seccomp = match &info.seccomp {
        Some(seccomp) if seccomp.unconfined == Some(true) && seccomp.profile_name.is_some() => {
            let text = "'SeccompInfo.profile_name' given even though 'SeccompInfo.unconfined' is set";
            return Err(Error::Rule(Cause::ContainerInvalid, text.to_owned()));
        }
        Some(seccomp) if seccomp.unconfined == Some(true) => Some(Seccomp::Unconfined),
        Some(seccomp) => seccomp.profile_name.clone().map(Seccomp::Profile),
        None => None,
    };
    let ipc = match info.ipc_mode.map(Mode::try_from) {
        Some(Ok(Mode::Private)) => Some(IpcMode::Private),
        Some(Ok(Mode::ShareParent)) => Some(IpcMode::ShareParent),
        _ => None,
    };
    if info.shm_size.is_some() && ipc != Some(IpcMode::Private) {
        let text = "Only set 'shm_size' when the IPC mode is 'PRIVATE'";
        return Err(Error::Rule(Cause::ContainerInvalid, text.to_owned()));
    }
    Ok(LinuxInfo {
        effective: effective.map(capabilities).transpose()?,
        bounding: info.bounding_capabilities.as_ref().map(capabilities).transpose()?,
        share_pid_namespace: info.share_pid_namespace,
        seccomp,
        ipc,
        shm_mib: info.shm_size,
        has_own_groups: info.share_cgroups == Some(false),
    })
}

/// The number of the first capability in the v1 API; Linux counts from zero.
const CAPABILITY_FIRST: i32 = 1000;

fn capabilities(info: &v1::CapabilityInfo) -> Result<Capabilities, Error> {
    info.capabilities.iter().try_fold(Capabilities(0), |set, &number| {
        let bit = number.checked_sub(CAPABILITY_FIRST).filter(|bit| (0..64).contains(bit));
        let bit = bit.ok_or_else(|| Error::Rule(Cause::ContainerInvalid, format!("Unknown capability {number}")))?;
        Ok(Capabilities(set.0 | 1 << bit))
    })
}

fn volume(volume: &v1::Volume) -> Result<Volume, Error> {
    let is_read_only = volume.mode == v1::volume::Mode::Ro as i32;
    let made = |source| Ok(Volume { container_path: volume.container_path.clone(), is_read_only, source });
    if volume.container_path.is_empty() {
        return Err(Error::Rule(Cause::ContainerInvalid, "Volume 'container_path' is empty".to_owned()));
    }
    if let Some(path) = &volume.host_path {
        return made(VolumeSource::Host { path: path.clone(), propagation: Propagation::Private });
    }
    if let Some(asked) = &volume.image {
        return made(VolumeSource::Image(image(asked)?));
    }
    let Some(source) = &volume.source else {
        return Err(Error::Rule(Cause::ContainerInvalid, "A volume without a source".to_owned()));
    };
    if let Some(host) = &source.host_path {
        use v1::mount_propagation::Mode;
        let mode = host.mount_propagation.as_ref().and_then(|propagation| propagation.mode).map(Mode::try_from);
        let propagation = match mode {
            Some(Ok(Mode::HostToContainer)) => Propagation::HostToContainer,
            Some(Ok(Mode::Bidirectional)) => Propagation::Bidirectional,
            _ => Propagation::Private,
        };
        return made(VolumeSource::Host { path: host.path.clone(), propagation });
    }
    if let Some(sandbox) = &source.sandbox_path {
        use source::sandbox_path::Type as Whose;
        let is_parents = match sandbox.r#type.map(Whose::try_from) {
            Some(Ok(Whose::Self_)) => false,
            Some(Ok(Whose::Parent)) => true,
            _ => {
                return Err(Error::Rule(
                    Cause::ContainerInvalid,
                    "'source.sandbox_path' is of unknown type".to_owned(),
                ));
            }
        };
        return made(VolumeSource::Sandbox { is_parents, path: sandbox.path.clone() });
    }
    match &source.secret {
        Some(given) => made(VolumeSource::Secret(secret::from_v1(given)?)),
        None => Err(Error::Unsupported("A volume of this source")),
    }
}
