//! `gpu/nvidia`: the device nodes of exactly those GPUs, or parts of them (`mig.rs`), that a container was given (attack 58). Which these
//! are is in its placement; which node belongs to which is read from the driver's directory, `gpus/<PCI address>/information`, or said by a
//! specification of the maker (`cdi.rs`), which then says what else the container sees. What keeps a container from the others is `cgroups/devices`; this isolator only opens. The variables
//! `NVIDIA_VISIBLE_DEVICES` and `CUDA_VISIBLE_DEVICES` are the agent's to set (`actors/src/agent/environment.rs`).

mod cdi;
mod mig;

use crate::cgroups::devices::Rule;
use crate::isolator::{Contribution, Error, Isolator, Mount};
use crate::linux::has_own_root;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::id::ContainerId;
use kaon_kernel::placement::{DeviceShare, Placement};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of [`Nvidia`].
pub const NVIDIA: &str = "gpu/nvidia";

/// What every program that uses some GPU opens beside its node. Those that are there are opened.
const CONTROL_NODES: [&str; 3] = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"];

/// Where a driver tells of its GPUs, and where their nodes are.
#[derive(Clone, Debug)]
pub struct Gpus {
    /// The driver's directory (`--nvidia-driver-directory`).
    pub driver: PathBuf,
    /// The directory of device nodes.
    pub nodes: PathBuf,
    /// The directories of specifications (`--cdi-spec-dirs`), the later before the earlier.
    pub cdi: Vec<PathBuf>,
}

impl Default for Gpus {
    fn default() -> Self {
        Self { driver: "/proc/driver/nvidia".into(), nodes: "/dev".into(), cdi: Vec::new() }
    }
}

/// One GPU as its driver tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    /// Its address on the bus, as the driver writes it.
    place: String,
    uuid: Option<String>,
    minor: u32,
}

/// What a container with GPUs needs.
#[derive(Debug, Default)]
struct Needs {
    /// Nodes: where the machine has them, and where the container sees them.
    nodes: Vec<(PathBuf, PathBuf)>,
    /// Files of the machine that one with an image sees.
    mounts: Vec<Mount>,
    environment: Vec<(String, String)>,
}

impl Gpus {
    /// The GPUs of the driver in the order of their places on the bus.
    fn told(&self) -> io::Result<Vec<Told>> {
        let explain = |error: io::Error| {
            let text = format!("can't read the driver's directory '{}': {error}", self.driver.display());
            io::Error::new(error.kind(), text)
        };
        let mut places: Vec<PathBuf> =
            fs::read_dir(self.driver.join("gpus")).map_err(explain)?.flatten().map(|entry| entry.path()).collect();
        places.sort();
        let read = |place: &PathBuf| {
            let (uuid, minor) = told(&fs::read_to_string(place.join("information")).ok()?)?;
            Some(Told { place: place.file_name()?.to_str()?.to_owned(), uuid, minor })
        };
        Ok(places.iter().filter_map(read).collect())
    }

    /// What a container with these GPUs may open; nothing without any.
    pub fn rules(&self, placement: &Placement) -> io::Result<Vec<Rule>> {
        self.needs(placement)?.nodes.iter().map(|(node, _)| Rule::of_node(node)).collect()
    }

    /// What these GPUs need, and what goes with any; nothing without any.
    fn needs(&self, placement: &Placement) -> io::Result<Needs> {
        let mut needs = Needs::default();
        if placement.devices.is_empty() {
            return Ok(needs);
        }
        let told = self.told()?;
        let mut is_plain = false;
        for share in &placement.devices {
            let own = self.nodes_of(&told, share)?;
            let names = [share.id.clone(), share.ordinal.to_string()];
            // A number could be another one's: what is said by it has to have the node that the driver tells.
            let by_name = cdi::of(&self.cdi, &names[..1])?;
            let by_number = match by_name.is_none() && !mig::is_instance(&share.id) {
                true => cdi::of(&self.cdi, &names[1..])?.filter(|edits| edits.nodes().any(|(from, _)| own[0] == from)),
                false => None,
            };
            match by_name.or(by_number) {
                Some(edits) => needs.take(&edits),
                None => {
                    is_plain = true;
                    needs.nodes.extend(own.into_iter().map(|node| (node.clone(), node)));
                }
            }
        }
        if is_plain {
            let control = CONTROL_NODES.iter().map(|name| self.nodes.join(name)).filter(|node| node.exists());
            needs.nodes.extend(control.map(|node| (node.clone(), node)));
        }
        let mut seen = std::collections::BTreeSet::new();
        needs.nodes.retain(|(_, to)| seen.insert(to.clone()));
        Ok(needs)
    }

    /// The nodes of one GPU or of a part of one, by the driver's directory; that of the GPU first.
    fn nodes_of(&self, told: &[Told], share: &DeviceShare) -> io::Result<Vec<PathBuf>> {
        if mig::is_instance(&share.id) {
            return self.nodes_of_instance(told, &share.id);
        }
        let gpu = find(told, share).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("the driver knows no GPU '{}'", share.id))
        })?;
        Ok(vec![self.nodes.join(format!("nvidia{}", gpu.minor))])
    }
}

impl Needs {
    fn take(&mut self, edits: &cdi::Edits) {
        self.nodes.extend(edits.nodes().map(|(from, to)| (from.to_owned(), to.to_owned())));
        let bind = |(from, to, is_read_only): (&Path, &Path, bool)| Mount::Bind {
            from: from.to_owned(),
            to: to.to_owned(),
            is_read_only,
            follows: false,
        };
        for mount in edits.mounts().map(bind) {
            if !self.mounts.contains(&mount) {
                self.mounts.push(mount);
            }
        }
        for variable in edits.variables() {
            if !self.environment.contains(&variable) {
                self.environment.push(variable);
            }
        }
    }
}

/// By the maker's identity; by the place on the bus where the driver tells none.
fn find<'a>(told: &'a [Told], share: &DeviceShare) -> Option<&'a Told> {
    let by_uuid = told.iter().find(|gpu| gpu.uuid.as_ref() == Some(&share.id));
    by_uuid.or_else(|| told.get(share.ordinal as usize).filter(|gpu| gpu.uuid.is_none()))
}

/// Identity and number of a GPU.
fn told(information: &str) -> Option<(Option<String>, u32)> {
    let field = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        line.map(str::trim).filter(|text| !text.is_empty())
    };
    let minor = field("Device Minor")?.parse().ok()?;
    // A driver that does not know it writes question marks.
    let uuid = field("GPU UUID").filter(|uuid| !uuid.contains('?')).map(str::to_owned);
    Some((uuid, minor))
}

/// The isolator: checks at launch that the GPUs are there, and shows their nodes in a root of the container's own.
#[derive(Clone, Debug)]
pub struct Nvidia(pub Arc<Gpus>);

impl Isolator for Nvidia {
    fn name(&self) -> &'static str {
        NVIDIA
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn prepare(&self, _: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let needs = spec.placement.as_ref().map_or_else(|| Ok(Needs::default()), |placement| self.0.needs(placement));
        let needs = needs.map_err(|error| Error::Refused { isolator: NVIDIA, reason: error.to_string() })?;
        let mut wanted = Contribution { environment: needs.environment, ..Contribution::default() };
        // Without an image it sees the machine's nodes and files.
        if has_own_root(spec) {
            let node = |(from, to)| Mount::Bind { from, to, is_read_only: false, follows: false };
            wanted.mounts = needs.nodes.into_iter().map(node).chain(needs.mounts).collect();
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(id: &str, ordinal: u32) -> DeviceShare {
        DeviceShare { id: id.to_owned(), ordinal, share: 1000, memory_bytes: 0 }
    }

    #[test]
    fn the_node_of_a_gpu_is_the_one_its_driver_tells() {
        let folder = tempfile::tempdir().unwrap();
        let gpus = Gpus { driver: folder.path().to_owned(), nodes: "/dev".into(), cdi: Vec::new() };
        let write = |place: &str, text: &str| {
            let place = folder.path().join("gpus").join(place);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("information"), text).unwrap();
        };
        write("0000:81:00.0", "Model: \t\t X\nGPU UUID: \t GPU-b\nDevice Minor: \t 0\n");
        write("0000:01:00.0", "Model: \t\t X\nGPU UUID: \t GPU-a\nDevice Minor: \t 1\n");
        write("0000:02:00.0", "GPU UUID: \t GPU-????\nDevice Minor: \t 7\n");
        write("0000:03:00.0", "nothing");
        let told = gpus.told().unwrap();
        assert_eq!(told.iter().map(|gpu| gpu.minor).collect::<Vec<_>>(), [1, 7, 0]);
        let minor = |id, ordinal| find(&told, &share(id, ordinal)).map(|gpu| gpu.minor);
        assert_eq!((minor("GPU-b", 0), minor("GPU-a", 5)), (Some(0), Some(1)), "by identity, whatever the place");
        assert_eq!((minor("cuda1", 1), minor("cuda0", 0)), (Some(7), None), "by place only where there is no identity");
        let placement = Placement { devices: vec![share("GPU-none", 0)], ..Placement::default() };
        assert!(gpus.rules(&placement).unwrap_err().to_string().contains("no GPU 'GPU-none'"));
        assert!(gpus.rules(&Placement::default()).unwrap().is_empty());
        assert!(Gpus { driver: "/no/such".into(), ..gpus }.rules(&placement).is_err());
    }
}
