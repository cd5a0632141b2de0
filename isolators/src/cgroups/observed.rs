//! The memory of the container around an executor, as the executor sees it. When the kernel kills a task for want of memory, the
//! executor would tell of a signal; but the agent knows the limit and its figures, and ends the whole container for it. So the
//! executor waits a little before it tells, and as a rule is ended meanwhile.

use super::group::Group;
use super::hierarchy::Version;
use super::mem;
use crate::isolator::{Isolator, Limitation};
use kaon_kernel::id::ContainerId;
use std::time::Duration;

/// The variable that names the group to an executor: the version of its interface and its directory, with a colon between.
pub const GROUP_VARIABLE: &str = "KAON_EXECUTOR_MEMORY_GROUP";

/// How long an executor leaves the word to its agent.
const AGENT_FIRST: Duration = Duration::from_secs(5);

/// The isolator of an executor: it only looks.
#[derive(Clone, Debug)]
pub struct Observed(Group);

impl Observed {
    /// That of the value of [`GROUP_VARIABLE`]; none when it means nothing.
    pub fn parse(value: &str) -> Option<Self> {
        let (version, path) = value.split_once(':')?;
        let version = if version == "1" { Version::V1 } else { Version::V2 };
        Some(Self(Group::at(version, path.into())))
    }

    /// The value for a group.
    pub(super) fn value(group: &Group) -> String {
        let version = if group.version == Version::V1 { "1" } else { "2" };
        format!("{version}:{}", group.path().display())
    }
}

impl Isolator for Observed {
    fn name(&self) -> &'static str {
        "cgroups/observed"
    }

    fn breach(&self, _: &ContainerId) -> Option<Limitation> {
        let told = mem::breach(&self.0)?;
        std::thread::sleep(AGENT_FIRST);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_and_found_again() {
        let group = Group::at(Version::V1, "/sys/fs/cgroup/memory/x".into());
        assert_eq!(Observed::parse(&Observed::value(&group)).unwrap().0, group);
        assert!(Observed::parse("nothing").is_none());
    }
}
