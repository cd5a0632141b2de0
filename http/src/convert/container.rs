//! `ContainerInfo`: the rules of reference 5.1 number 8, and what this version can do of it.
//!
//! What the kernel has a type for is converted, and the isolators of the agent carry it out or refuse it. A `ContainerInfo`
//! that asks for more (images, networks, terminals, Docker) is refused by the name of what it asks for, rather than run
//! without it.

use kaon_kernel::container_info::{
    Capabilities, ContainerInfo, IpcMode, LinuxInfo, Propagation, Seccomp, Volume, VolumeSource,
};

use super::Error;
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
    let asked = [
        (docker, "A container of type DOCKER"),
        (container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()), "A container image"),
        (!container.network_infos.is_empty(), "ContainerInfo.network_infos"),
        (container.tty_info.is_some(), "ContainerInfo.tty_info"),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(Error::Unsupported(what)),
        None => Ok(()),
    }
}

fn rule(text: &str) -> Result<(), Error> {
    Err(Error::Rule(text.to_owned()))
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
    if there { Ok(()) } else { Err(Error::Rule(format!("'source.{name}' is not set for its type"))) }
}

/// What the kernel knows of a container from outside; nothing when it asks for nothing.
///
/// # Errors
/// The first rule that it breaks, or the first thing that it asks for and can't have.
pub fn from_v1(container: &v1::ContainerInfo) -> Result<Option<Box<ContainerInfo>>, Error> {
    judge(container)?;
    let rlimits = container.rlimit_info.iter().flat_map(|info| &info.rlimits).map(rlimit);
    let typed = ContainerInfo {
        hostname: container.hostname.clone().filter(|name| !name.is_empty()),
        volumes: container.volumes.iter().map(volume).collect::<Result<_, _>>()?,
        rlimits: rlimits.collect::<Result<_, _>>()?,
        linux: container.linux_info.as_ref().map_or_else(|| Ok(LinuxInfo::default()), linux)?,
    };
    Ok((typed != ContainerInfo::default()).then(|| Box::new(typed)))
}

fn rlimit(limit: &v1::r_limit_info::RLimit) -> Result<(String, Option<u64>, Option<u64>), Error> {
    use v1::r_limit_info::r_limit::Type;
    let name = match limit.r#type.map(Type::try_from) {
        Some(Ok(Type::Unknown) | Err(_)) | None => return Err(Error::Rule("Invalid rlimit type".to_owned())),
        Some(Ok(known)) => known.as_str_name().to_owned(),
    };
    // Both or none (Mesos's rule): none is unlimited.
    if limit.soft.is_some() != limit.hard.is_some() {
        return Err(Error::Rule(format!("Invalid rlimit configuration for '{name}': set both limits or none")));
    }
    Ok((name, limit.soft, limit.hard))
}

fn linux(info: &v1::LinuxInfo) -> Result<LinuxInfo, Error> {
    use v1::linux_info::IpcMode as Mode;
    if info.share_cgroups == Some(false) {
        return Err(Error::Unsupported("LinuxInfo.share_cgroups=false"));
    }
    // The older name of the effective set; both at once contradict each other.
    if info.capability_info.is_some() && info.effective_capabilities.is_some() {
        let text = "Only one of 'capability_info' or 'effective_capabilities' is allowed";
        return Err(Error::Rule(text.to_owned()));
    }
    let effective = info.effective_capabilities.as_ref().or(info.capability_info.as_ref());
    let seccomp = match &info.seccomp {
        Some(seccomp) if seccomp.unconfined == Some(true) && seccomp.profile_name.is_some() => {
            let text = "'SeccompInfo.profile_name' given even though 'SeccompInfo.unconfined' is set";
            return Err(Error::Rule(text.to_owned()));
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
        return Err(Error::Rule(text.to_owned()));
    }
    Ok(LinuxInfo {
        effective: effective.map(capabilities).transpose()?,
        bounding: info.bounding_capabilities.as_ref().map(capabilities).transpose()?,
        share_pid_namespace: info.share_pid_namespace,
        seccomp,
        ipc,
        shm_mib: info.shm_size,
    })
}

/// The number of the first capability in the v1 API; Linux counts from zero.
const CAPABILITY_FIRST: i32 = 1000;

fn capabilities(info: &v1::CapabilityInfo) -> Result<Capabilities, Error> {
    info.capabilities.iter().try_fold(Capabilities(0), |set, &number| {
        let bit = number.checked_sub(CAPABILITY_FIRST).filter(|bit| (0..64).contains(bit));
        let bit = bit.ok_or_else(|| Error::Rule(format!("Unknown capability {number}")))?;
        Ok(Capabilities(set.0 | 1 << bit))
    })
}

fn volume(volume: &v1::Volume) -> Result<Volume, Error> {
    let is_read_only = volume.mode == v1::volume::Mode::Ro as i32;
    let made = |source| Ok(Volume { container_path: volume.container_path.clone(), is_read_only, source });
    if volume.container_path.is_empty() {
        return Err(Error::Rule("Volume 'container_path' is empty".to_owned()));
    }
    if let Some(path) = &volume.host_path {
        return made(VolumeSource::Host { path: path.clone(), propagation: Propagation::Private });
    }
    let Some(source) = &volume.source else { return Err(Error::Unsupported("An image volume")) };
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
            _ => return Err(Error::Rule("'source.sandbox_path' is of unknown type".to_owned())),
        };
        return made(VolumeSource::Sandbox { is_parents, path: sandbox.path.clone() });
    }
    match &source.secret {
        Some(secret) => match &secret.value {
            Some(value) => made(VolumeSource::Secret(value.data.clone())),
            None => Err(Error::Unsupported("A secret by reference")),
        },
        None => Err(Error::Unsupported("A volume of this source")),
    }
}
