//! Where the machine keeps its control groups: read from `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`), never assumed.
//! A controller is either in a hierarchy of version 1, alone or with others, or in the one of version 2; a machine may
//! have both at once (hybrid), with some controllers here and the others there.

use crate::mounts::unescape;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The controllers of version 1 that we know by name; other mount options are none.
const CONTROLLERS_V1: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "pids",
    "devices",
    "blkio",
    "freezer",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

/// What version 2 has without being asked: no file names them, every group of it is good for them.
const IMPLICIT_V2: [&str; 3] = ["devices", "perf_event", "freezer"];

/// The two interfaces of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One for all (`cgroup2`).
    V2,
}

/// The hierarchies of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Mount points of version 1, by controller.
    first: BTreeMap<&'static str, PathBuf>,
    /// The mount point of version 2.
    second: Option<PathBuf>,
    /// The controllers that version 2 has.
    unified: Vec<String>,
}

impl Hierarchies {
    /// Those of this machine.
    pub fn discover() -> io::Result<Self> {
        let mut found = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        if let Some(mount) = &found.second {
            let list = fs::read_to_string(mount.join("cgroup.controllers"))?;
            found.unified = list.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(found)
    }

    /// Those that a `mountinfo` text names, without the controllers of version 2, which only its root tells.
    pub fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount) = left.split(' ').nth(4).map(unescape) else { continue };
            let mut kind = right.split(' ');
            match (kind.next(), kind.nth(1)) {
                (Some("cgroup2"), _) => {
                    // The first: a later mount shows the same hierarchy.
                    found.second.get_or_insert(mount);
                }
                (Some("cgroup"), Some(options)) => {
                    for option in options.split(',') {
                        if let Some(name) = CONTROLLERS_V1.iter().find(|name| **name == option) {
                            found.first.entry(name).or_insert_with(|| mount.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Which interface has a controller (by its name in version 1), and its mount point.
    pub fn of(&self, controller: &str) -> Option<(Version, &Path)> {
        if let Some(mount) = self.first.get(controller) {
            return Some((Version::V1, mount));
        }
        let name = name_in_v2(controller);
        let has = IMPLICIT_V2.contains(&name) || self.unified.iter().any(|unified| unified == name);
        self.second.as_deref().filter(|_| has).map(|mount| (Version::V2, mount))
    }

    /// The mount point of version 2, whatever controllers it has.
    pub fn unified(&self) -> Option<&Path> {
        self.second.as_deref()
    }
}

/// What version 2 calls a controller; processor time is counted by `cpu`, and `io` is new.
pub(crate) fn name_in_v2(controller: &str) -> &str {
    match controller {
        "blkio" => "io",
        "cpuacct" => "cpu",
        same => same,
    }
}

/// Whether a controller of version 2 has to be switched on for the groups below a group.
pub(crate) fn is_switched(controller: &str) -> bool {
    !IMPLICIT_V2.contains(&name_in_v2(controller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
39 31 0:38 / /mnt/again rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn controllers_are_found_where_they_are() {
        let mut found = Hierarchies::parse(HYBRID);
        found.unified = vec!["hugetlb".into(), "io".into()];
        let at = |controller| found.of(controller).map(|(version, path)| (version, path.to_str().unwrap().to_owned()));
        let first = |path: &str| Some((Version::V1, path.to_owned()));
        let second = Some((Version::V2, "/sys/fs/cgroup/unified".to_owned()));
        assert_eq!(at("cpu"), first("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(at("cpuacct"), first("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(at("memory"), first("/sys/fs/cgroup/with space"));
        assert_eq!((at("hugetlb"), at("blkio"), at("devices")), (second.clone(), second.clone(), second));
        assert_eq!((at("pids"), at("net_cls"), at("name=systemd")), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fall(text in "(\\PC|\n| - |\\\\){0,200}") {
            let _ = Hierarchies::parse(&text);
        }
    }
}
