//! CDI: specifications in which the maker of devices says what a container needs that is given one (Container Device Interface, version
//! 1.0; `nvidia-ctk cdi generate --format=json` writes them). Read from the directories of `--cdi-spec-dirs`: files in JSON.
//!
//! Taken are nodes, mounts and variables. Hooks are programs for the machine that run at every launch, and are not run: what they
//! do (links to libraries, the linker's cache) an image has done, or mounts show.

use serde::Deserialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The kind of devices whose specifications are NVIDIA's.
const KIND: &str = "nvidia.com/gpu";

/// The largest specification in bytes; that of a machine with eight GPUs has some 100 KiB.
const SPECIFICATION_BYTES_MAX: u64 = 4 << 20;

/// The most files of one directory that are looked at.
const FILES_MAX: usize = 256;

#[derive(Debug, Deserialize)]
struct Specification {
    kind: String,
    #[serde(default)]
    devices: Vec<Named>,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

/// What a container needs (`containerEdits`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Shown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: PathBuf,
    host_path: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
}

impl Edits {
    /// The nodes: each where the machine has it, and where the container does.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.device_nodes.iter().map(|node| (node.host_path.as_deref().unwrap_or(&node.path), &*node.path))
    }

    /// The files that show: of the machine, in the container, whether they can't be written.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&Path, &Path, bool)> {
        let is_read_only = |one: &Shown| one.options.iter().any(|option| option == "ro");
        self.mounts.iter().map(move |one| (&*one.host_path, &*one.container_path, is_read_only(one)))
    }

    /// The variables but those that say which devices are seen: they are the agent's.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let pairs = self.env.iter().filter_map(|text| text.split_once('='));
        let is_ours = |name: &str| matches!(name, "NVIDIA_VISIBLE_DEVICES" | "CUDA_VISIBLE_DEVICES");
        pairs.filter(move |(name, _)| !is_ours(name)).map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    fn add(&mut self, more: Self) {
        self.env.extend(more.env);
        self.device_nodes.extend(more.device_nodes);
        self.mounts.extend(more.mounts);
    }
}

/// What the specifications say of one device, by the first of its names that any of them knows; `None` where none does.
///
/// # Errors
/// When a specification can't be read: what it would have said is not known.
pub(super) fn of(directories: &[PathBuf], names: &[String]) -> io::Result<Option<Edits>> {
    let all = read(directories)?;
    for name in names {
        for one in &all {
            if let Some(device) = one.devices.iter().find(|device| device.name == *name) {
                let mut edits = one.edits.clone();
                edits.add(device.edits.clone());
                return Ok(Some(edits));
            }
        }
    }
    Ok(None)
}

/// The specifications of GPUs, later directories first, as CDI has it.
fn read(directories: &[PathBuf]) -> io::Result<Vec<Specification>> {
    let mut found = Vec::new();
    for directory in directories.iter().rev() {
        let mut paths: Vec<PathBuf> = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?.flatten().map(|entry| entry.path()).collect(),
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths.into_iter().take(FILES_MAX) {
            let explain = |error: io::Error| {
                io::Error::new(error.kind(), format!("the specification '{}' can't be read: {error}", path.display()))
            };
            let mut text = Vec::new();
            let file = File::open(&path).map_err(explain)?;
            file.take(SPECIFICATION_BYTES_MAX).read_to_end(&mut text).map_err(explain)?;
            let one: Specification = serde_json::from_slice(&text).map_err(|error| explain(error.into()))?;
            if one.kind == KIND {
                found.push(one);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_specification_says_of_a_device_and_of_all() {
        let (usual, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directories = [usual.path().to_owned(), "/no/such".into(), fresh.path().to_owned()];
        let names = ["GPU-a".to_owned(), "0".to_owned()];
        assert_eq!(of(&directories, &names).unwrap(), None);
        let text = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
            "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/x"}]}},
                {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1"}]}}],
            "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=void", "A=b=c"], "deviceNodes": [{"path": "/dev/nvidiactl"}],
                "hooks": [{"hookName": "createContainer", "path": "/bin/false"}],
                "mounts": [{"hostPath": "/lib/a", "containerPath": "/lib/b", "options": ["ro", "nosuid"]}]}}"#;
        fs::write(usual.path().join("nvidia.json"), text).unwrap();
        fs::write(usual.path().join("other.json"), r#"{"kind": "vendor.com/nic", "devices": [{"name": "GPU-a"}]}"#)
            .unwrap();
        fs::write(usual.path().join("nvidia.yaml"), "kind: nvidia.com/gpu").unwrap();
        let edits = of(&directories, &names).unwrap().unwrap();
        let nodes: Vec<_> = edits.nodes().map(|(from, to)| (from.to_str().unwrap(), to.to_str().unwrap())).collect();
        assert_eq!(nodes, [("/dev/nvidiactl", "/dev/nvidiactl"), ("/dev/x", "/dev/nvidia0")]);
        assert_eq!(edits.variables().collect::<Vec<_>>(), [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(edits.mounts().collect::<Vec<_>>(), [(Path::new("/lib/a"), Path::new("/lib/b"), true)]);
        // By identity before by number, the later directory before the earlier one.
        let by_identity = text.replace(r#""name": "0""#, r#""name": "GPU-a""#).replace("/dev/x", "/dev/y");
        fs::write(fresh.path().join("a.json"), by_identity).unwrap();
        let edits = of(&directories, &names).unwrap().unwrap();
        assert!(edits.nodes().any(|(from, _)| from == Path::new("/dev/y")));
        fs::write(fresh.path().join("b.json"), "{").unwrap();
        assert!(of(&directories, &names).unwrap_err().to_string().contains("b.json"));
    }
}
