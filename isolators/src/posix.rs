//! The isolators that every Unix can carry out: `posix/cpu` and `posix/mem` measure and limit nothing, `posix/rlimits`
//! sets what `setrlimit(2)` offers (reference 12.1). What they measure covers the whole tree below the launcher, which
//! no process can leave: the launcher is its subreaper.

use crate::isolator::{Contribution, Error, Isolator, Rlimit};
use crate::process::{Process, Tree};
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::id::ContainerId;
use kaon_kernel::statistics::Statistics;
use nix::sys::resource::Resource;
use nix::unistd::{SysconfVar, sysconf};

/// Name of [`Cpu`].
pub const CPU: &str = "posix/cpu";
/// Name of [`Mem`].
pub const MEM: &str = "posix/mem";
/// Name of [`Rlimits`].
pub const RLIMITS: &str = "posix/rlimits";

/// Measures processor time, in steps of the kernel's clock tick (10 ms as a rule).
pub struct Cpu;

impl Isolator for Cpu {
    fn name(&self) -> &'static str {
        CPU
    }

    fn usage(&self, _: &ContainerId, tree: &Tree) -> Result<Statistics, Error> {
        // What is dead is in what its parent, or at last the launcher, has waited for; the launcher's own time is not
        // the container's.
        let sum = |of: fn(&Process) -> u64, waited: fn(&Process) -> u64| {
            let members =
                tree.members.iter().fold(0, |sum: u64, member| sum.saturating_add(of(member) + waited(member)));
            members.saturating_add(waited(&tree.launcher))
        };
        let nanos_per_tick = 1_000_000_000 / system_value(SysconfVar::CLK_TCK, 100);
        let nanos = |ticks: u64| Some(ticks.saturating_mul(nanos_per_tick));
        Ok(Statistics {
            user_nanos: nanos(sum(|process| process.user_ticks, |process| process.waited_user_ticks)),
            system_nanos: nanos(sum(|process| process.system_ticks, |process| process.waited_system_ticks)),
            processes: Some(count(tree)),
            ..Statistics::default()
        })
    }
}

/// Measures resident memory: the sum over the tree, so that shared pages count for each process, as in Mesos.
pub struct Mem;

impl Isolator for Mem {
    fn name(&self) -> &'static str {
        MEM
    }

    fn usage(&self, _: &ContainerId, tree: &Tree) -> Result<Statistics, Error> {
        let pages = tree.members.iter().fold(0, |sum: u64, member| sum.saturating_add(member.resident_pages));
        let resident = Some(pages.saturating_mul(system_value(SysconfVar::PAGE_SIZE, 4096)));
        Ok(Statistics { resident_bytes: resident, processes: Some(count(tree)), ..Statistics::default() })
    }
}

fn count(tree: &Tree) -> u64 {
    tree.members.iter().filter(|member| member.is_alive()).count() as u64
}

fn system_value(variable: SysconfVar, usual: u64) -> u64 {
    let value = sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok());
    value.filter(|&value| value > 0).unwrap_or(usual)
}

/// Sets the resource limits that a container asks for. Raising a hard limit needs CAP_SYS_RESOURCE; without it the
/// launch fails with a reason.
pub struct Rlimits;

impl Isolator for Rlimits {
    fn name(&self) -> &'static str {
        RLIMITS
    }

    fn prepare(&self, _: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let refused = |reason: String| Error::Refused { isolator: RLIMITS, reason };
        let mut rlimits: Vec<Rlimit> = Vec::with_capacity(spec.rlimits.len());
        for (name, soft, hard) in &spec.rlimits {
            if resource(name).is_none() {
                return Err(refused(format!("'{name}' is not a resource limit of this system")));
            }
            if rlimits.iter().any(|other| other.name == *name) {
                return Err(refused(format!("{name} is set twice")));
            }
            if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
                return Err(refused(format!("the soft limit of {name} is above its hard limit")));
            }
            rlimits.push(Rlimit { name: name.clone(), soft: *soft, hard: *hard });
        }
        Ok(Contribution { rlimits, ..Contribution::default() })
    }
}

/// The limit of a v1 name (`RLimitInfo.RLimit.Type`, reference 17).
pub(crate) fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLMT_AS" => Resource::RLIMIT_AS,
        "RLMT_CORE" => Resource::RLIMIT_CORE,
        "RLMT_CPU" => Resource::RLIMIT_CPU,
        "RLMT_DATA" => Resource::RLIMIT_DATA,
        "RLMT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLMT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLMT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLMT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLMT_NICE" => Resource::RLIMIT_NICE,
        "RLMT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLMT_NPROC" => Resource::RLIMIT_NPROC,
        "RLMT_RSS" => Resource::RLIMIT_RSS,
        "RLMT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLMT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLMT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLMT_STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}
