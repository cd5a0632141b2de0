//! `cgroups/net_cls`: marks the packets of each container with a class of its own, for filters of the operator. The upper 16
//! bits of the class are the agent's (`--cgroups-net-cls-primary-handle`), the lower ones the container's, out of a range
//! (`--cgroups-net-cls-secondary-handles`). Version 2 has nothing of the kind.

use super::{Controller, Groups, Wish};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The classes of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handles {
    /// The upper half of every class.
    pub primary: u16,
    /// The first of the lower halves.
    pub first: u16,
    /// The last of them.
    pub last: u16,
}

/// The controller.
#[derive(Debug)]
pub struct NetCls {
    handles: Option<Handles>,
    /// One choice at a time: two launches would find the same class free.
    choosing: Mutex<()>,
}

impl NetCls {
    /// With classes, or only as a group for each container.
    pub fn new(handles: Option<Handles>) -> Self {
        Self { handles, choosing: Mutex::default() }
    }
}

impl Controller for NetCls {
    fn name(&self) -> &'static str {
        "cgroups/net_cls"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["net_cls"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        let (Some(handles), true) = (self.handles, wish.is_launch) else { return Ok(()) };
        let group = groups.main()?;
        let _alone = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        // What is taken is in the kernel, also after a restart of the agent.
        let siblings = group.path().parent().map(super::group::groups_below).unwrap_or_default();
        let class = |path: &PathBuf| super::Group::at(group.version, path.clone()).number("net_cls.classid");
        let taken: BTreeSet<u64> = siblings.iter().filter_map(class).collect();
        let classes = (handles.first..=handles.last).map(|low| u64::from(handles.primary) << 16 | u64::from(low));
        let free = classes.into_iter().find(|class| !taken.contains(class));
        let free = free.ok_or_else(|| io::Error::other("all classes of the agent are taken"))?;
        group.write("net_cls.classid", free)
    }
}
