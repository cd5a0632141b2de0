//! `ContainerInfo`: the rules of reference 5.1 number 8, and what this version can do of it.
//!
//! Tasks run in containers without images, volumes or networks of their own. A `ContainerInfo` that asks for no more is
//! taken and kept; one that asks for more is refused by the name of what it asks for, rather than run without it.

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
        (!container.volumes.is_empty(), "ContainerInfo.volumes"),
        (!container.network_infos.is_empty(), "ContainerInfo.network_infos"),
        (container.hostname.is_some(), "ContainerInfo.hostname"),
        (container.linux_info.is_some(), "ContainerInfo.linux_info"),
        (container.rlimit_info.is_some(), "ContainerInfo.rlimit_info"),
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
