//! What isolators want of a launch, and how the wishes of all become one.

use crate::images::{Files, Root};
use crate::isolator::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A resource limit of `setrlimit(2)`. `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name as in the v1 API, such as `RLMT_NOFILE`.
    pub name: String,
    /// The soft limit, in the limit's own unit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// Something that the container's first process does on the machine before it gives up its rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAction {
    /// Writes a text to a file that exists, in one write.
    Write {
        /// The file.
        path: PathBuf,
        /// What to write.
        text: String,
    },
}

/// Views of the machine that a container has to itself (`namespaces(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Process numbers.
    pub pid: bool,
    /// Mounts.
    pub mnt: bool,
    /// System V objects and message queues.
    pub ipc: bool,
    /// Host name.
    pub uts: bool,
    /// Control groups: its own look like the root.
    pub cgroup: bool,
    /// Networks.
    #[serde(default)]
    pub net: bool,
    /// Users and their rights.
    #[serde(default)]
    pub user: bool,
}

/// Something mounted in a container's own view, in the order of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the machine, shown in another place too.
    Bind {
        /// What.
        from: PathBuf,
        /// Where; made when it is missing and lies in the sandbox.
        to: PathBuf,
        /// Whether it can't be written there.
        is_read_only: bool,
        /// Whether mounts that the machine makes below it later show there as well.
        follows: bool,
    },
    /// The processes that it sees (`proc(5)`), over `/proc`.
    Proc,
    /// The files of an image.
    Image {
        /// Its files.
        files: Files,
        /// Where.
        to: PathBuf,
        /// Whether they can't be written there.
        is_read_only: bool,
    },
    /// Its own message queues, over `/dev/mqueue` where there is one.
    MessageQueues,
    /// Memory as a file system.
    Memory {
        /// Where.
        to: PathBuf,
        /// At most so many bytes; the kernel's default (half of all memory) without.
        bytes: Option<u64>,
    },
    /// A file in memory.
    Secret {
        /// Where, in the sandbox.
        to: PathBuf,
        /// Its bytes.
        data: Vec<u8>,
    },
}

/// Capabilities (`capabilities(7)`), bit n for the one that Linux numbers n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySets {
    /// What the program begins with, whoever its user is; what its user has of the bounding ones without.
    pub effective: Option<u64>,
    /// What it could ever get.
    pub bounding: u64,
}

/// What an isolator wants of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contribution {
    /// Environment variables; they win over what the container asked for.
    pub environment: Vec<(String, String)>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Actions, carried out in this order.
    pub actions: Vec<HostAction>,
    /// Control groups of version 1 to join, by their directories.
    pub groups: Vec<PathBuf>,
    /// The control group of version 2 to begin in.
    pub group: Option<PathBuf>,
    /// Views of its own.
    pub namespaces: Namespaces,
    /// Its host name.
    pub hostname: Option<String>,
    /// What is mounted, in this order.
    pub mounts: Vec<Mount>,
    /// Capabilities; without, those of its user.
    pub capabilities: Option<CapabilitySets>,
    /// Whether what changes the kernel can't be written: `/proc/sys` and its like, `/sys`, control groups. A root of its own is
    /// always furnished so.
    pub is_guarded: bool,
    /// Whether no program in it can gain rights (`PR_SET_NO_NEW_PRIVS`).
    pub is_bound_to_its_rights: bool,
    /// A program of the kernel that answers its system calls (`seccomp(2)`); without, all are let pass.
    pub system_calls: Option<Vec<u64>>,
    /// Which processing units it begins on; empty for any.
    pub units: Vec<u32>,
    /// From which memory nodes alone its memory comes; empty for any.
    pub memory_nodes: Vec<u32>,
    /// The root of its own; the machine's without.
    pub root: Option<Root>,
}

/// What all isolators together want of a launch: names once, lists in the order of the chain.
///
/// # Errors
/// When two want different things of the same name.
pub fn merge(contributions: Vec<(&'static str, Contribution)>) -> Result<Contribution, Error> {
    let mut environment: BTreeMap<String, (&'static str, String)> = BTreeMap::new();
    let mut rlimits: BTreeMap<String, (&'static str, Rlimit)> = BTreeMap::new();
    let mut merged = Contribution::default();
    let mut singles = Singles::default();
    for (second, contribution) in contributions {
        for (name, value) in contribution.environment {
            match environment.get(&name) {
                Some((first, other)) if *other != value => {
                    return Err(Error::Conflict { first, second, what: format!("the variable {name}") });
                }
                Some(_) => {}
                None => {
                    merged.environment.push((name.clone(), value.clone()));
                    environment.insert(name, (second, value));
                }
            }
        }
        for rlimit in contribution.rlimits {
            match rlimits.get(&rlimit.name) {
                Some((first, other)) if *other != rlimit => {
                    return Err(Error::Conflict { first, second, what: format!("the limit {}", rlimit.name) });
                }
                Some(_) => {}
                None => {
                    merged.rlimits.push(rlimit.clone());
                    rlimits.insert(rlimit.name.clone(), (second, rlimit));
                }
            }
        }
        // Controllers that share a hierarchy share its group.
        let fresh = contribution.groups.into_iter().filter(|group| !merged.groups.contains(group)).collect::<Vec<_>>();
        merged.groups.extend(fresh);
        let Contribution { group, hostname, capabilities, system_calls, units, memory_nodes, root, .. } = contribution;
        singles.set(&mut merged.group, group, second, "the control group")?;
        singles.set(&mut merged.hostname, hostname, second, "the host name")?;
        singles.set(&mut merged.root, root, second, "the root")?;
        singles.set(&mut merged.capabilities, capabilities, second, "the capabilities")?;
        singles.set(&mut merged.system_calls, system_calls, second, "the filter of system calls")?;
        let mut list = |slot: &mut Vec<u32>, wanted: Vec<u32>, what| {
            let mut single = Some(core::mem::take(slot)).filter(|list| !list.is_empty());
            let set = singles.set(&mut single, Some(wanted).filter(|list| !list.is_empty()), second, what);
            *slot = single.unwrap_or_default();
            set
        };
        list(&mut merged.units, units, "the processing units")?;
        list(&mut merged.memory_nodes, memory_nodes, "the memory nodes")?;
        merged.namespaces = merged.namespaces.with(contribution.namespaces);
        merged.is_bound_to_its_rights |= contribution.is_bound_to_its_rights;
        merged.mounts.extend(contribution.mounts);
        merged.actions.extend(contribution.actions);
    }
    Ok(merged)
}

/// Who has set what can be set once.
#[derive(Default)]
struct Singles(BTreeMap<&'static str, &'static str>);

impl Singles {
    fn set<T: PartialEq>(
        &mut self,
        slot: &mut Option<T>,
        wanted: Option<T>,
        second: &'static str,
        what: &'static str,
    ) -> Result<(), Error> {
        let Some(wanted) = wanted else { return Ok(()) };
        match (&*slot, self.0.get(what)) {
            (Some(there), Some(first)) if *there != wanted => {
                Err(Error::Conflict { first, second, what: what.to_owned() })
            }
            _ => {
                self.0.entry(what).or_insert(second);
                *slot = Some(wanted);
                Ok(())
            }
        }
    }
}

impl Namespaces {
    /// These and those of another wish.
    fn with(self, other: Self) -> Self {
        Self {
            pid: self.pid | other.pid,
            mnt: self.mnt | other.mnt,
            ipc: self.ipc | other.ipc,
            uts: self.uts | other.uts,
            cgroup: self.cgroup | other.cgroup,
            net: self.net | other.net,
            user: self.user | other.user,
        }
    }
}
