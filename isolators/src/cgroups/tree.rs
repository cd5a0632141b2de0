//! The groups of one agent: `<mount>/<root>/<agent>/<container>` in each hierarchy that it uses.
//!
//! Agents of one machine share the root and have a directory each below it, named after their runtime directories, so
//! that none takes the other's containers for orphans. The directories are made when first needed and removed with this
//! object when nothing is in them any more.

use super::group::{Group, groups_below};
use super::hierarchy::{Hierarchies, Version, is_switched, name_in_v2};
use kaon_kernel::id::ContainerId;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The root of all our groups unless told otherwise (Mesos's default is `mesos`).
pub const ROOT_DEFAULT: &str = "kaon";

/// The groups of one agent.
#[derive(Debug)]
pub struct Cgroups {
    hierarchies: Hierarchies,
    root: PathBuf,
    agent: String,
    /// Containers whose groups this object has made or recovered.
    live: Mutex<BTreeSet<ContainerId>>,
}

impl Cgroups {
    /// The groups of the agent with this runtime directory, below `root` (relative to each mount point). Touches nothing.
    ///
    /// # Errors
    /// When the hierarchies can't be read, or the root is no relative path.
    pub fn new(root: &str, runtime_directory: &Path) -> io::Result<Self> {
        let is_path = !root.is_empty() && root.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        if !is_path {
            let text =
                format!("'{root}' can't be the root of control groups: it must be a relative path of plain names");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self {
            hierarchies: Hierarchies::discover()?,
            root: root.into(),
            agent: format!("agent-{:016x}", fingerprint(runtime_directory)),
            live: Mutex::default(),
        })
    }

    /// The hierarchies of the machine.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// The agent's own group of a controller, in which those of its containers are.
    fn agent(&self, controller: &str) -> io::Result<Group> {
        let found = self.hierarchies.of(controller);
        let (version, mount) = found.ok_or_else(|| {
            let text = format!("this machine has no control group hierarchy with the controller '{controller}'");
            io::Error::new(io::ErrorKind::NotFound, text)
        })?;
        Ok(Group::at(version, mount.join(&self.root).join(&self.agent)))
    }

    /// The group of a container, there or not.
    pub fn group(&self, controller: &str, container: &ContainerId) -> io::Result<Group> {
        let agent = self.agent(controller)?;
        Ok(Group::at(agent.version, agent.file(container.as_str())))
    }

    /// Makes the way down to the groups of containers and hands the controller down to them.
    pub fn prepare(&self, controller: &str) -> io::Result<()> {
        let agent = self.agent(controller)?;
        let mount = self.hierarchies.of(controller).map(|(_, mount)| mount.to_owned()).unwrap_or_default();
        let below: PathBuf = self.root.join(&self.agent);
        let mut here = Group::at(agent.version, mount);
        for name in below.iter() {
            hand_down(&here, controller)?;
            let next = Group::at(agent.version, here.path().join(name));
            next.create()?;
            inherit(&here, &next, controller)?;
            pass_on(&next, controller)?;
            here = next;
        }
        hand_down(&here, controller)
    }

    /// Makes the group of a container.
    pub fn create(&self, controller: &str, container: &ContainerId) -> io::Result<Group> {
        self.live().insert(container.clone());
        let group = self.group(controller, container)?;
        match group.create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The first container, or somebody has removed the empty way.
                self.prepare(controller)?;
                group.create()?;
            }
            other => other?,
        }
        inherit(&self.agent(controller)?, &group, controller)?;
        Ok(group)
    }

    /// Kills what is left in the group of a container, and removes it.
    pub fn destroy(&self, controller: &str, container: &ContainerId) -> io::Result<()> {
        self.live().remove(container);
        self.group(controller, container)?.destroy()
    }

    /// After a restart: these containers live. Groups of others that are there are destroyed.
    pub fn recover(&self, controller: &str, survivors: impl Iterator<Item = ContainerId>) -> io::Result<()> {
        let live = {
            let mut live = self.live();
            live.extend(survivors);
            live.clone()
        };
        let agent = self.agent(controller)?;
        let is_known = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| live.iter().any(|container| container.as_str() == name))
        };
        let orphans = groups_below(agent.path()).into_iter().filter(|path| !is_known(path));
        let destroyed: Vec<_> = orphans.map(|path| Group::at(agent.version, path).destroy()).collect();
        destroyed.into_iter().collect()
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeSet<ContainerId>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // What still holds something stays: `rmdir` refuses.
        for controller in super::ALL_CONTROLLERS {
            if let Ok(agent) = self.agent(controller) {
                let _ = fs::remove_dir(agent.path());
                let mut above = agent.path().parent();
                for _ in self.root.iter() {
                    let Some(here) = above else { break };
                    let _ = fs::remove_dir(here);
                    above = here.parent();
                }
            }
        }
    }
}

/// Switches a controller of version 2 on for the groups below.
fn hand_down(group: &Group, controller: &str) -> io::Result<()> {
    let name = name_in_v2(controller);
    if group.version == Version::V1 || !is_switched(controller) {
        return Ok(());
    }
    let on = fs::read_to_string(group.file("cgroup.subtree_control")).unwrap_or_default();
    if on.split_ascii_whitespace().any(|one| one == name) {
        return Ok(());
    }
    group.write("cgroup.subtree_control", format_args!("+{name}"))
}

/// A new group of the `cpuset` controller of version 1 has no processors and no memory, and takes no process.
fn inherit(above: &Group, group: &Group, controller: &str) -> io::Result<()> {
    if controller != "cpuset" || group.version == Version::V2 {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if group.read(file)?.trim().is_empty() {
            group.write(file, above.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// From now on the kernel itself gives new groups of the `cpuset` controller of version 1 what this one has, which costs it far less
/// than to be told.
fn pass_on(group: &Group, controller: &str) -> io::Result<()> {
    match controller == "cpuset" && group.version == Version::V1 {
        true => group.write("cgroup.clone_children", 1),
        false => Ok(()),
    }
}

/// A short name for a path: FNV-1a, 64 bits. Not against malice; two agents of one machine have different directories.
fn fingerprint(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
