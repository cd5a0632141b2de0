//! MIG: parts of a GPU that the driver keeps apart, each a device of its own. Which there are is read from the driver's directory,
//! `capabilities/gpu<minor>/mig/gi<instance>/ci<instance>`, as NVIDIA's guide to MIG has it; who may open the two nodes that go with
//! one (`nvidia-caps/nvidia-cap<number>`) may use it, and no other.
//!
//! One is called `MIG-<identity of the GPU>/<GPU instance>/<compute instance>`, which `CUDA_VISIBLE_DEVICES` understands.

use super::{Gpus, Told};
use kaon_kernel::topology::{Device, DeviceKind, MatrixObject, Topology, TopologyError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most instances of one GPU that are looked at; NVIDIA's have up to seven of each kind.
const INSTANCES_MAX: usize = 64;

/// How the names of instances begin.
const PREFIX: &str = "MIG-";

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place<'a> {
    gpu: &'a str,
    instance: u32,
    compute: u32,
}

impl<'a> Place<'a> {
    /// Reads the name of an instance.
    fn parse(id: &'a str) -> Option<Self> {
        let mut parts = id.strip_prefix(PREFIX)?.split('/');
        let place = Self {
            gpu: parts.next().filter(|gpu| !gpu.is_empty())?,
            instance: parts.next()?.parse().ok()?,
            compute: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }
}

/// Whether this is the name of an instance.
pub(super) fn is_instance(id: &str) -> bool {
    id.starts_with(PREFIX)
}

impl Gpus {
    /// The topology with the instances of each GPU that has any in the place of the GPU. Links between GPUs are none of instances.
    ///
    /// # Errors
    /// When two devices would have one identity.
    pub fn split(&self, topology: Topology) -> Result<Topology, TopologyError> {
        let told = self.told().unwrap_or_default();
        let instances = |device: &Device| {
            let pci = device.pci?.to_string();
            let is_it = |gpu: &&Told| gpu.place == pci || (gpu.uuid.is_some() && gpu.uuid == device.uuid);
            let gpu = told.iter().find(is_it).filter(|_| device.kind == DeviceKind::Gpu)?;
            let names: Vec<String> = self.instances(gpu).into_iter().collect();
            (!names.is_empty()).then_some(names)
        };
        let split: Vec<Option<Vec<String>>> = topology.devices().iter().map(instances).collect();
        if split.iter().all(Option::is_none) {
            return Ok(topology);
        }
        let (mut devices, mut moved) = (Vec::new(), Vec::new());
        for (device, names) in topology.devices().iter().zip(split) {
            match names {
                None => {
                    moved.push(u32::try_from(devices.len()).ok());
                    devices.push(device.clone());
                }
                Some(names) => {
                    moved.push(None);
                    devices.extend(names.into_iter().map(|name| Device {
                        name: name.clone(),
                        uuid: Some(name),
                        // The driver's directory does not tell how much each has.
                        memory_bytes: 0,
                        link_group: None,
                        ..device.clone()
                    }));
                }
            }
        }
        let mut matrices = topology.matrices().to_vec();
        for object in matrices.iter_mut().flat_map(|matrix| &mut matrix.objects) {
            if let MatrixObject::Device(place) = *object {
                let now = moved.get(place as usize).copied().flatten();
                *object = now.map_or(MatrixObject::Other, MatrixObject::Device);
            }
        }
        let made = Topology::new(topology.parts().to_vec(), devices, matrices)?;
        Ok(made.with_memory_bytes(topology.memory_bytes()))
    }

    /// The names of the instances of a GPU, in order; none of one that is whole.
    fn instances(&self, gpu: &Told) -> Vec<String> {
        let Some(uuid) = &gpu.uuid else { return Vec::new() };
        let home = self.capabilities(gpu.minor);
        let mut found = Vec::new();
        for instance in numbered(&home, "gi") {
            for compute in numbered(&home.join(format!("gi{instance}")), "ci") {
                found.push((instance, compute));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(instance, compute)| format!("{PREFIX}{uuid}/{instance}/{compute}")).collect()
    }

    fn capabilities(&self, minor: u32) -> PathBuf {
        self.driver.join(format!("capabilities/gpu{minor}/mig"))
    }

    /// The nodes of an instance, that of its GPU first.
    pub(super) fn nodes_of_instance(&self, told: &[Told], id: &str) -> io::Result<Vec<PathBuf>> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("the driver knows no instance '{id}'"));
        let place = Place::parse(id).ok_or_else(unknown)?;
        let gpu = told.iter().find(|gpu| gpu.uuid.as_deref() == Some(place.gpu)).ok_or_else(unknown)?;
        let instance = self.capabilities(gpu.minor).join(format!("gi{}", place.instance));
        let compute = instance.join(format!("ci{}", place.compute));
        let mut nodes = vec![self.nodes.join(format!("nvidia{}", gpu.minor))];
        for home in [instance, compute] {
            let number = capability(&home.join("access")).ok_or_else(unknown)?;
            nodes.push(self.nodes.join(format!("nvidia-caps/nvidia-cap{number}")));
        }
        Ok(nodes)
    }
}

/// The numbers of the directories of one kind.
fn numbered(home: &Path, kind: &str) -> Vec<u32> {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix(kind)?.parse().ok();
    entries.filter_map(number).take(INSTANCES_MAX).collect()
}

/// The number of the node that stands for a right (`DeviceFileMinor` of an `access` file).
fn capability(access: &Path) -> Option<u32> {
    let text = fs::read_to_string(access).ok()?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("DeviceFileMinor:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::topology::{MatrixKind, Uniform};

    #[test]
    fn names_of_instances_say_where_they_are() {
        let place = Place::parse("MIG-GPU-a/1/0").unwrap();
        assert_eq!(place, Place { gpu: "GPU-a", instance: 1, compute: 0 });
        for bad in
            ["GPU-a/1/0", "MIG-", "MIG-/1/0", "MIG-GPU-a/1", "MIG-GPU-a/1/0/0", "MIG-GPU-a/x/0", "MIG-GPU-a/1/-1"]
        {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn instances_take_the_place_of_their_gpu() {
        let whole = Uniform { gpus: 2, linked: 2, ..Uniform::default() }.build().unwrap();
        let first = whole.gpus().next().unwrap().clone();
        let folder = tempfile::tempdir().unwrap();
        let gpus = Gpus { driver: folder.path().to_owned(), nodes: "/dev".into(), cdi: Vec::new() };
        assert_eq!(gpus.split(whole.clone()).unwrap(), whole, "no driver, nothing to split");
        let place = folder.path().join("gpus").join(first.pci.unwrap().to_string());
        fs::create_dir_all(&place).unwrap();
        let uuid = first.uuid.clone().unwrap();
        fs::write(place.join("information"), format!("GPU UUID: \t {uuid}\nDevice Minor: \t 0\n")).unwrap();
        assert_eq!(gpus.split(whole.clone()).unwrap(), whole, "a GPU that is whole stays so");
        for (at, number) in [("gi2", 30), ("gi2/ci0", 31), ("gi1", 12), ("gi1/ci0", 13), ("gi1/ci1", 14)] {
            let home = folder.path().join("capabilities/gpu0/mig").join(at);
            fs::create_dir_all(&home).unwrap();
            fs::write(home.join("access"), format!("DeviceFileMinor: {number}\nDeviceFileMode: 292\n")).unwrap();
        }
        let split = gpus.split(whole.clone()).unwrap();
        let second = whole.gpus().nth(1).unwrap();
        let name = |at: &str| format!("MIG-{uuid}/{at}");
        let names: Vec<&str> = split.gpus().map(Device::id).collect();
        assert_eq!(names, [&*name("1/0"), &name("1/1"), &name("2/0"), second.id()]);
        assert!(split.gpus().all(|gpu| gpu.link_group.is_none()), "what is linked to nobody has no group");
        assert!(split.gpus().take(3).all(|part| part.units == first.units && part.pci == first.pci));
        let links = split.matrices().iter().find(|matrix| matrix.kind == MatrixKind::Bandwidth).unwrap();
        let at = split.devices().iter().position(|device| device.id() == second.id()).unwrap();
        assert_eq!(links.objects, [MatrixObject::Other, MatrixObject::Device(u32::try_from(at).unwrap())]);
        let told = gpus.told().unwrap();
        let nodes = gpus.nodes_of_instance(&told, &name("1/1")).unwrap();
        assert_eq!(
            nodes,
            ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap14"].map(PathBuf::from)
        );
        for bad in [name("3/0"), name("2/1"), "MIG-GPU-other/1/0".to_owned(), "MIG-x".to_owned()] {
            assert!(gpus.nodes_of_instance(&told, &bad).unwrap_err().to_string().contains("knows no instance"));
        }
    }
}
