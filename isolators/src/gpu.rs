//! `gpu/nvidia`: the device nodes of exactly those GPUs that a container was given (attack 58). Which these are is in its
//! placement; which node belongs to which is read from the driver's directory, `gpus/<PCI address>/information`. What
//! keeps a container from the others is `cgroups/devices`; this isolator only opens. The variables
//! `NVIDIA_VISIBLE_DEVICES` and `CUDA_VISIBLE_DEVICES` are the agent's to set (`actors/src/agent/environment.rs`).

use crate::cgroups::devices::Rule;
use crate::isolator::{Contribution, Error, Isolator};
use crate::linux::shown;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::id::ContainerId;
use kaon_kernel::placement::{DeviceShare, Placement};
use std::fs;
use std::io;
use std::path::PathBuf;
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
}

impl Default for Gpus {
    fn default() -> Self {
        Self { driver: "/proc/driver/nvidia".into(), nodes: "/dev".into() }
    }
}

/// One GPU as its driver tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    uuid: Option<String>,
    minor: u32,
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
        let read = |place: &PathBuf| told(&fs::read_to_string(place.join("information")).ok()?);
        Ok(places.iter().filter_map(read).collect())
    }

    /// What a container with these GPUs may open; nothing without any.
    pub fn rules(&self, placement: &Placement) -> io::Result<Vec<Rule>> {
        self.nodes_of(placement)?.iter().map(|node| Rule::of_node(node)).collect()
    }

    /// The nodes of these GPUs, and those that go with any; nothing without any.
    fn nodes_of(&self, placement: &Placement) -> io::Result<Vec<PathBuf>> {
        if placement.devices.is_empty() {
            return Ok(Vec::new());
        }
        let told = self.told()?;
        let mut nodes = Vec::with_capacity(placement.devices.len() + CONTROL_NODES.len());
        for share in &placement.devices {
            let gpu = find(&told, share).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("the driver knows no GPU '{}'", share.id))
            })?;
            nodes.push(self.nodes.join(format!("nvidia{}", gpu.minor)));
        }
        nodes.extend(CONTROL_NODES.iter().map(|name| self.nodes.join(name)).filter(|node| node.exists()));
        Ok(nodes)
    }
}

/// By the maker's identity; by the place on the bus where the driver tells none.
fn find<'a>(told: &'a [Told], share: &DeviceShare) -> Option<&'a Told> {
    let by_uuid = told.iter().find(|gpu| gpu.uuid.as_ref() == Some(&share.id));
    by_uuid.or_else(|| told.get(share.ordinal as usize).filter(|gpu| gpu.uuid.is_none()))
}

fn told(information: &str) -> Option<Told> {
    let field = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        line.map(str::trim).filter(|text| !text.is_empty())
    };
    let minor = field("Device Minor")?.parse().ok()?;
    // A driver that does not know it writes question marks.
    let uuid = field("GPU UUID").filter(|uuid| !uuid.contains('?')).map(str::to_owned);
    Some(Told { uuid, minor })
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
        let placement = spec.placement.as_ref();
        let nodes = placement.map_or(Ok(Vec::new()), |placement| self.0.nodes_of(placement));
        let nodes = nodes.map_err(|error| Error::Refused { isolator: NVIDIA, reason: error.to_string() })?;
        Ok(Contribution { mounts: shown(spec, nodes.into_iter()), ..Contribution::default() })
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
        let gpus = Gpus { driver: folder.path().to_owned(), nodes: "/dev".into() };
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
