//! `cgroups/pids`: how many processes and threads a container may have. The resource `pids` of a container is its limit, or
//! the agent's own (`--cgroups-pids-max`). Mesos only counts; here one that runs into the limit ends (attack 53).

use super::event::Event;
use super::group::Group;
use super::{Controller, Groups, Wish};
use crate::isolator::{Limitation, Watch};
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::statistics::Statistics;
use std::io;

/// The resource that names a limit of its own.
const RESOURCE: &str = "pids";

/// The processes and threads of a container unless it is told otherwise: an eighth of Linux's default `pid_max`.
const PIDS_MAX_DEFAULT: u64 = 4096;

/// The controller.
#[derive(Clone, Copy, Debug)]
pub struct Pids {
    /// The limit of a container that names none.
    pub usual: u64,
}

impl Default for Pids {
    fn default() -> Self {
        Self { usual: PIDS_MAX_DEFAULT }
    }
}

impl Controller for Pids {
    fn name(&self) -> &'static str {
        "cgroups/pids"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["pids"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        groups.main()?.write("pids.max", limit(wish.resources).unwrap_or(self.usual))
    }

    fn read(&self, groups: &Groups, figures: &mut Statistics) {
        let Ok(group) = groups.main() else { return };
        // The controller counts threads as processes (`cgroup-v2.rst`).
        figures.threads = group.number("pids.current");
        figures.processes = Some(group.processes().len() as u64);
        figures.tasks_limit = group.number("pids.max").filter(|&max| max != u64::MAX);
    }

    fn watch(&self, groups: Groups) -> Option<Watch> {
        let group = groups.main().ok()?.clone();
        match Event::modified(&group, "pids.events") {
            Ok(event) => Some(Box::pin(event.until(move |_| breach(&group)))),
            Err(error) => {
                tracing::error!(%error, "the limit of processes can't be waited for");
                None
            }
        }
    }

    fn breach(&self, groups: &Groups) -> Option<Limitation> {
        breach(groups.main().ok()?)
    }
}

fn limit(resources: &Resources) -> Option<u64> {
    // In thousandths, as every scalar.
    let named = resources.scalar(&ResourceName::of(RESOURCE)).0.div_ceil(1000);
    (named > 0).then_some(named)
}

fn breach(group: &Group) -> Option<Limitation> {
    let refused = group.keyed("pids.events", "max").filter(|&refused| refused > 0)?;
    let max = group.number("pids.max").unwrap_or(0);
    Some(Limitation::other(format!(
        "Process limit exceeded: at most {max} processes and threads are allowed, {refused} more were asked for"
    )))
}
