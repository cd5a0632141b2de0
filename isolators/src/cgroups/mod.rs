//! Isolators by control groups, one file each, over both interfaces of the kernel.
//!
//! [`Cgroups`] knows where the groups of an agent are; a [`Controller`] says what its files mean; [`Isolated`] makes an
//! isolator of the two: it makes the group before the launch and sets its limits, lets the first process of the container
//! join it, reads its counters, waits for its limits, and destroys it with all that is left in it. Names and meanings as in
//! Mesos (reference 12.1); what the kernel's files do: `Documentation/admin-guide/cgroup-v1/` and `cgroup-v2.rst`.

mod blkio;
mod cpu;
mod cpuset;
mod device_program;
pub mod devices;
mod event;
pub(crate) mod group;
mod hierarchy;
mod hugetlb;
mod mem;
mod net_cls;
mod observed;
mod perf_event;
mod pids;
mod tree;

pub use blkio::Blkio;
pub use cpu::Cpu;
pub use cpuset::Cpuset;
pub use devices::Devices;
pub use group::Group;
pub use hierarchy::{Hierarchies, Version};
pub use hugetlb::Hugetlb;
pub use mem::Mem;
pub use net_cls::{Handles, NetCls};
pub use observed::{GROUP_VARIABLE, Observed};
pub use perf_event::PerfEvent;
pub use pids::Pids;
pub use tree::{Cgroups, ROOT_DEFAULT};

use crate::isolator::{Contribution, Error, Isolator, Limitation, Survivor, Watch};
use crate::process::Tree;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::placement::Placement;
use kaon_kernel::resource::Resources;
use kaon_kernel::statistics::Statistics;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Every controller of the isolators here, by its name in version 1.
pub(crate) const ALL_CONTROLLERS: [&str; 10] =
    ["cpu", "cpuacct", "memory", "pids", "cpuset", "devices", "blkio", "hugetlb", "net_cls", "perf_event"];

/// The control groups of a process that are not this process's own: those of version 1, and that of version 2. Of hierarchies
/// that are mounted nowhere nothing is known.
pub(crate) fn surrounding(pid: i32) -> io::Result<(Vec<PathBuf>, Option<PathBuf>)> {
    let hierarchies = Hierarchies::discover()?;
    let read = |of: String| std::fs::read_to_string(format!("/proc/{of}/cgroup"));
    let (theirs, own) = (read(pid.to_string())?, read("self".to_owned())?);
    let (mut first, mut second) = (Vec::new(), None);
    for line in theirs.lines().filter(|line| !own.lines().any(|other| other == *line)) {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let below = path.trim_start_matches('/');
        if controllers.is_empty() {
            second = hierarchies.unified().map(|mount| mount.join(below));
            continue;
        }
        let mount = controllers.split(',').find_map(|name| match hierarchies.of(name) {
            Some((Version::V1, mount)) => Some(mount),
            _ => None,
        });
        first.extend(mount.map(|mount| mount.join(below)));
    }
    Ok((first, second))
}

/// What a container may use, as a controller is told it.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What it has for sure.
    pub resources: &'a Resources,
    /// How far it may go.
    pub limits: &'a Limits,
    /// Its places on the machine; none when it is only changed.
    pub placement: Option<&'a Placement>,
    /// Whether it is about to be launched, rather than changed while it runs.
    pub is_launch: bool,
}

/// What the files of one controller mean.
pub trait Controller: Send + Sync + 'static {
    /// The name of its isolator.
    fn name(&self) -> &'static str;

    /// The controllers that it needs, by their names in version 1; those that version 2 lacks are passed over there.
    fn controllers(&self) -> &'static [&'static str];

    /// Writes the limits of a container.
    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        let _ = (groups, wish);
        Ok(())
    }

    /// What the launch needs beyond joining the groups.
    fn contribution(&self, groups: &Groups, spec: &LaunchSpec) -> Contribution {
        let _ = (groups, spec);
        Contribution::default()
    }

    /// Reads the counters of a container.
    fn read(&self, groups: &Groups, figures: &mut Statistics) {
        let _ = (groups, figures);
    }

    /// What to wait for while a container runs.
    fn watch(&self, groups: Groups) -> Option<Watch> {
        let _ = groups;
        None
    }

    /// Whether a limit was hit, asked when a container has ended: its end may be faster than the sign.
    fn breach(&self, groups: &Groups) -> Option<Limitation> {
        let _ = groups;
        None
    }
}

/// The groups of one container that one isolator works with.
#[derive(Clone, Debug, Default)]
pub struct Groups(Vec<(&'static str, Group)>);

impl Groups {
    /// The group of a controller.
    pub fn of(&self, controller: &str) -> Option<&Group> {
        self.0.iter().find(|(name, _)| *name == controller).map(|(_, group)| group)
    }

    /// The group of the isolator's first controller.
    pub fn main(&self) -> io::Result<&Group> {
        self.0.first().map(|(_, group)| group).ok_or_else(|| io::Error::other("the isolator has no controller"))
    }
}

/// An isolator made of a controller.
pub struct Isolated<C> {
    cgroups: Arc<Cgroups>,
    controller: C,
}

impl<C: Controller> Isolated<C> {
    /// The isolator of a controller.
    ///
    /// # Errors
    /// When the machine has no hierarchy with it, or the agent may not use it.
    pub fn new(cgroups: Arc<Cgroups>, controller: C) -> Result<Self, Error> {
        let isolated = Self { cgroups, controller };
        for name in isolated.used() {
            let prepared = isolated.cgroups.prepare(name);
            prepared.map_err(|source| isolated.failed("prepare its control groups", source))?;
        }
        Ok(isolated)
    }

    /// The controllers in use: of several that version 2 has made one, the first.
    fn used(&self) -> impl Iterator<Item = &'static str> {
        let all = self.controller.controllers();
        all.iter().enumerate().filter_map(|(at, name)| {
            let is_second = self.cgroups.hierarchies().of(name).is_some_and(|(version, _)| version == Version::V2);
            (at == 0 || !is_second).then_some(*name)
        })
    }

    fn groups(&self, container: &ContainerId) -> Result<Groups, Error> {
        let groups = self.used().map(|name| Ok((name, self.cgroups.group(name, container)?)));
        let groups = groups.collect::<io::Result<Vec<_>>>();
        groups.map(Groups).map_err(|source| self.failed("find its control groups", source))
    }

    fn failed(&self, action: &str, source: io::Error) -> Error {
        Error::Io { isolator: self.controller.name(), action: action.to_owned(), source }
    }
}

impl<C: Controller> Isolator for Isolated<C> {
    fn name(&self) -> &'static str {
        self.controller.name()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn recover(&self, survivors: &[Survivor], _: &[ContainerId]) -> Result<(), Error> {
        self.used().try_for_each(|name| {
            let live = survivors.iter().map(|survivor| survivor.container.clone());
            let recovered = self.cgroups.recover(name, live);
            recovered.map_err(|source| self.failed("recover its control groups", source))
        })
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let made = self.used().map(|name| Ok((name, self.cgroups.create(name, container)?)));
        let made = made.collect::<io::Result<Vec<_>>>();
        let groups = Groups(made.map_err(|source| self.failed("make its control groups", source))?);
        let wish = Wish {
            resources: &spec.resources,
            limits: &spec.limits,
            placement: spec.placement.as_ref(),
            is_launch: true,
        };
        self.controller.set(&groups, &wish).map_err(|source| self.failed("set its limits", source))?;
        let mut wanted = self.controller.contribution(&groups, spec);
        for (_, group) in &groups.0 {
            match group.version {
                Version::V1 => wanted.groups.push(group.path().to_owned()),
                Version::V2 => wanted.group = Some(group.path().to_owned()),
            }
        }
        Ok(wanted)
    }

    fn watch(&self, container: &ContainerId) -> Option<Watch> {
        self.controller.watch(self.groups(container).ok()?)
    }

    fn breach(&self, container: &ContainerId) -> Option<Limitation> {
        self.controller.breach(&self.groups(container).ok()?)
    }

    fn usage(&self, container: &ContainerId, _: &Tree) -> Result<Statistics, Error> {
        let mut figures = Statistics::default();
        self.controller.read(&self.groups(container)?, &mut figures);
        Ok(figures)
    }

    fn update(&self, container: &ContainerId, resources: &Resources, limits: &Limits) -> Result<(), Error> {
        let wish = Wish { resources, limits, placement: None, is_launch: false };
        let set = self.controller.set(&self.groups(container)?, &wish);
        set.map_err(|source| self.failed("change its limits", source))
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        let destroyed: Vec<_> = self.used().map(|name| self.cgroups.destroy(name, container)).collect();
        let destroyed = destroyed.into_iter().collect::<io::Result<()>>();
        destroyed.map_err(|source| self.failed("remove its control groups", source))
    }
}
