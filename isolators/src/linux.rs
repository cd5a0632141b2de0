//! `linux/capabilities` and `linux/nnp`: which rights a container's programs have and can gain; `linux/devices`: which nodes of
//! devices its own root shows (reference 12.1).

pub use crate::guard::USUAL as USUAL_CAPABILITIES;
use crate::isolator::{CapabilitySets, Contribution, Error, Isolator, Mount};
use crate::syscall::rights;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::container_info::Capabilities;
use kaon_kernel::id::ContainerId;
use std::path::PathBuf;

/// Name of [`Rights`].
pub const CAPABILITIES: &str = "linux/capabilities";
/// Name of [`NoNewPrivileges`].
pub const NNP: &str = "linux/nnp";
/// Name of [`Nodes`].
pub const DEVICES: &str = "linux/devices";

/// The names of capabilities in the order of their numbers (`include/uapi/linux/capability.h`).
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Mesos's flags take (reference 15.2): a `CapabilityInfo` in JSON.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    capabilities: Vec<String>,
}

/// The word for all that the agent itself has.
const ALL: &str = "ALL";

/// Names with commas between, such as `CHOWN,NET_RAW`, as a set; the word `ALL`; or JSON as Mesos has it, such as
/// `{"capabilities": ["CHOWN"]}`.
///
/// # Errors
/// The name that is none.
pub fn parse_capabilities(text: &str) -> Result<Capabilities, String> {
    if text.trim() == ALL {
        return rights::permitted_capabilities().map(Capabilities).map_err(|error| error.to_string());
    }
    let names = match text.trim().starts_with('{') {
        true => serde_json::from_str::<Told>(text).map_err(|error| error.to_string())?.capabilities,
        false => text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
    };
    names.iter().try_fold(Capabilities(0), |set, name| {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        let bit = CAPABILITY_NAMES.iter().position(|known| *known == bare);
        bit.map(|bit| Capabilities(set.0 | 1 << bit)).ok_or_else(|| format!("'{name}' is no capability"))
    })
}

/// The capabilities of containers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rights {
    /// What a container begins with that asks for nothing (`--effective-capabilities`); without, what its user has.
    pub effective: Option<Capabilities>,
    /// What it can ever get (`--bounding-capabilities`), and the most that one may ask for.
    pub bounding: Option<Capabilities>,
}

impl Isolator for Rights {
    fn name(&self) -> &'static str {
        CAPABILITIES
    }

    fn prepare(&self, _: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let own = spec.container.as_ref().filter(|container| container.docker.is_none());
        let asked = own.map(|container| &container.linux);
        let effective = asked.and_then(|linux| linux.effective).or(self.effective);
        // What can never be had can't be had at the beginning either; without a word of it both are the same.
        let bounding = asked.and_then(|linux| linux.bounding).or(self.bounding).or(effective);
        let Some(bounding) = bounding else { return Ok(Contribution::default()) };
        let effective = effective.unwrap_or(bounding);
        let refuse = |reason: &str| Err(Error::Refused { isolator: CAPABILITIES, reason: reason.to_owned() });
        if effective.0 & !bounding.0 != 0 {
            return refuse("the effective capabilities are not among the bounding ones");
        }
        if self.bounding.is_some_and(|most| bounding.0 & !most.0 != 0) {
            return refuse("more capabilities are asked for than the agent allows");
        }
        let sets = CapabilitySets { effective: Some(effective.0), bounding: bounding.0 };
        Ok(Contribution { capabilities: Some(sets), ..Contribution::default() })
    }
}

/// No program of a container can gain rights by being executed, whatever bits its file has.
#[derive(Clone, Copy, Debug)]
pub struct NoNewPrivileges;

impl Isolator for NoNewPrivileges {
    fn name(&self) -> &'static str {
        NNP
    }

    fn prepare(&self, _: &ContainerId, _: &LaunchSpec) -> Result<Contribution, Error> {
        Ok(Contribution { is_bound_to_its_rights: true, ..Contribution::default() })
    }
}

/// The nodes of devices (`--allowed-devices`) that show in the `/dev` of a container with an image; without one it has the
/// machine's. Whether they may be opened is the business of `cgroups/devices`.
#[derive(Clone, Debug)]
pub struct Nodes(pub Vec<PathBuf>);

impl Isolator for Nodes {
    fn name(&self) -> &'static str {
        DEVICES
    }

    fn prepare(&self, _: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let node =
            |node: &PathBuf| Mount::Bind { from: node.clone(), to: node.clone(), is_read_only: false, follows: false };
        let nodes = if has_own_root(spec) { &self.0[..] } else { &[] };
        Ok(Contribution { mounts: nodes.iter().map(node).collect(), ..Contribution::default() })
    }
}

/// Whether a container has a root of its own, which shows of the machine what is shown on purpose.
pub(crate) fn has_own_root(spec: &LaunchSpec) -> bool {
    spec.container.as_ref().is_some_and(|asked| asked.image.is_some() && asked.docker.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_capabilities_are_the_kernels() {
        assert_eq!(parse_capabilities("CHOWN, CAP_NET_RAW,").unwrap(), Capabilities(1 | 1 << 13));
        assert_eq!(parse_capabilities("").unwrap(), Capabilities(0));
        assert_eq!(parse_capabilities(r#"{"capabilities": ["CHOWN", "NET_RAW"]}"#).unwrap(), Capabilities(1 | 1 << 13));
        assert_eq!(parse_capabilities("ALL").unwrap().0, rights::permitted_capabilities().unwrap());
        assert!(parse_capabilities(r#"{"capability": []}"#).is_err() && parse_capabilities("{").is_err());
        assert_eq!(parse_capabilities("CHOWN,chown").unwrap_err(), "'chown' is no capability");
        assert_eq!(CAPABILITY_NAMES.iter().position(|name| *name == "CHECKPOINT_RESTORE"), Some(40));
    }
}
