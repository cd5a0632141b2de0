//! `cgroups/mem`: memory, the kernel's own and files' included (reference 12.1).
//!
//! What a container takes of the offer is kept for it when others press; its limit is hard, at least 32 MiB, and never
//! lowered while it runs, since the kernel would kill for it. Out of memory ends the container.

use super::event::Event;
use super::group::Group;
use super::hierarchy::Version;
use super::observed::{GROUP_VARIABLE, Observed};
use super::{Controller, Groups, Wish};
use crate::isolator::{Contribution, HostAction, Limitation, Watch};
use kaon_kernel::container::{LaunchSpec, LimitKind, Program};
use kaon_kernel::container_info::{Limit, Limits};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resource, ResourceName, Resources};
use kaon_kernel::statistics::Statistics;
use std::io;

const MIB: u64 = 1024 * 1024;

/// The least limit in bytes (Mesos's `MIN_MEMORY`).
const LIMIT_MIN_BYTES: u64 = 32 * MIB;

/// The scale of `oom_score_adj` (`proc_pid_oom_score_adj(5)`).
const SCORE_MAX: u64 = 1000;

/// The controller.
#[derive(Clone, Copy, Debug)]
pub struct Mem {
    /// Whether the limit is on memory and swap together (`--cgroups-limit-swap`).
    pub limits_swap: bool,
    /// All memory of the machine in bytes, for the weight of one that goes beyond what it has for sure.
    pub machine_bytes: u64,
}

impl Mem {
    fn write_limit(&self, group: &Group, bytes: Option<u64>, is_raised: bool) -> io::Result<()> {
        match group.version {
            Version::V1 => {
                let text = bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
                let both = "memory.memsw.limit_in_bytes";
                let has_both = self.limits_swap && group.has(both);
                // The limit of both may at no moment be below that of memory.
                if has_both && is_raised {
                    group.write(both, &text)?;
                }
                group.write("memory.limit_in_bytes", &text)?;
                if has_both { group.write(both, &text) } else { Ok(()) }
            }
            Version::V2 => {
                group.write("memory.max", bytes.map_or("max".to_owned(), |bytes| bytes.to_string()))?;
                if self.limits_swap && group.has("memory.swap.max") {
                    group.write("memory.swap.max", 0)?;
                }
                Ok(())
            }
        }
    }
}

impl Controller for Mem {
    fn name(&self) -> &'static str {
        "cgroups/mem"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        let group = groups.main()?;
        let request = bytes(wish.resources.scalar(&ResourceName::Mem)).max(LIMIT_MIN_BYTES);
        let limit = limit_bytes(wish.resources, wish.limits);
        match group.version {
            Version::V1 => group.write("memory.soft_limit_in_bytes", request)?,
            Version::V2 => {
                group.write("memory.low", request)?;
                // One that loses a process to want of memory is not what was asked for any more: all of it goes.
                if group.has("memory.oom.group") {
                    group.write("memory.oom.group", 1)?;
                }
            }
        }
        let now = group.number(limit_file(group));
        let is_raised = limit.is_none_or(|limit| now.is_none_or(|now| limit > now));
        match wish.is_launch || is_raised {
            true => self.write_limit(group, limit, !wish.is_launch && is_raised),
            false => Ok(()),
        }
    }

    fn contribution(&self, groups: &Groups, spec: &LaunchSpec) -> Contribution {
        let mut wanted = Contribution::default();
        if let (Program::BuiltinExecutor, Ok(group)) = (&spec.program, groups.main()) {
            wanted.environment = vec![(GROUP_VARIABLE.to_owned(), Observed::value(group))];
        }
        let request = bytes(spec.resources.scalar(&ResourceName::Mem));
        let goes_beyond =
            limit_bytes(&spec.resources, &spec.limits).is_none_or(|limit| limit > request.max(LIMIT_MIN_BYTES));
        if !goes_beyond || self.machine_bytes == 0 {
            return wanted;
        }
        // The more it has for sure, the less likely it is to go first when the machine itself has no memory left.
        let share = (request / MIB).saturating_mul(SCORE_MAX) / (self.machine_bytes / MIB).max(1);
        let score = SCORE_MAX.saturating_sub(share).clamp(2, SCORE_MAX - 1);
        let action = HostAction::Write { path: "/proc/self/oom_score_adj".into(), text: score.to_string() };
        wanted.actions = vec![action];
        wanted
    }

    fn read(&self, groups: &Groups, figures: &mut Statistics) {
        let Ok(group) = groups.main() else { return };
        let stat = |key| group.keyed("memory.stat", key);
        let finite = |value: Option<u64>| value.filter(|&value| value < u64::MAX / 2);
        figures.oom_kills = oom_kills(group);
        figures.memory_limit_bytes = finite(group.number(limit_file(group)));
        match group.version {
            Version::V1 => {
                figures.memory_bytes = group.number("memory.usage_in_bytes");
                figures.memory_and_swap_bytes = group.number("memory.memsw.usage_in_bytes");
                figures.memory_request_bytes = finite(group.number("memory.soft_limit_in_bytes"));
                figures.memory_peak_bytes = group.number("memory.max_usage_in_bytes");
                figures.anonymous_bytes = stat("total_rss");
                figures.resident_bytes = stat("total_rss");
                figures.file_bytes = stat("total_cache");
                figures.mapped_file_bytes = stat("total_mapped_file");
                figures.swap_bytes = stat("total_swap");
                figures.unevictable_bytes = stat("total_unevictable");
            }
            Version::V2 => {
                figures.memory_bytes = group.number("memory.current");
                figures.swap_bytes = group.number("memory.swap.current");
                let sum = |(memory, swap): (u64, u64)| memory.saturating_add(swap);
                figures.memory_and_swap_bytes = figures.memory_bytes.zip(figures.swap_bytes).map(sum);
                figures.memory_request_bytes = finite(group.number("memory.low"));
                figures.memory_peak_bytes = group.number("memory.peak");
                figures.anonymous_bytes = stat("anon");
                figures.resident_bytes = stat("anon");
                figures.file_bytes = stat("file");
                figures.mapped_file_bytes = stat("file_mapped");
                figures.unevictable_bytes = stat("unevictable");
                let pressure = group.read("memory.pressure").unwrap_or_default();
                let some = pressure.lines().find(|line| line.starts_with("some"));
                figures.memory_stall_micros = some.and_then(|line| line.rsplit_once("total=")?.1.trim().parse().ok());
            }
        }
    }

    fn watch(&self, groups: Groups) -> Option<Watch> {
        let group = groups.main().ok()?.clone();
        let event = match group.version {
            Version::V1 => Event::out_of_memory(&group),
            Version::V2 => Event::modified(&group, "memory.events"),
        };
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "out of memory can't be waited for");
                return None;
            }
        };
        Some(Box::pin(event.until(move |is_told| {
            // In version 1 the sign itself says it, and may come before the counter moves.
            let has_happened = oom_kills(&group).is_some_and(|kills| kills > 0);
            (has_happened || (is_told && group.version == Version::V1)).then(|| limitation(&group))
        })))
    }

    fn breach(&self, groups: &Groups) -> Option<Limitation> {
        breach(groups.main().ok()?)
    }
}

/// Whether the kernel has killed something in a group for want of memory.
pub(super) fn breach(group: &Group) -> Option<Limitation> {
    oom_kills(group).filter(|&kills| kills > 0).map(|_| limitation(group))
}

fn oom_kills(group: &Group) -> Option<u64> {
    let file = if group.version == Version::V1 { "memory.oom_control" } else { "memory.events" };
    group.keyed(file, "oom_kill")
}

fn limit_file(group: &Group) -> &'static str {
    if group.version == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" }
}

/// What ended the container, with the kernel's figures.
fn limitation(group: &Group) -> Limitation {
    let (peak, kinds) = match group.version {
        Version::V1 => ("memory.max_usage_in_bytes", ["total_rss", "total_cache"]),
        Version::V2 => ("memory.peak", ["anon", "file"]),
    };
    let mib = |bytes: Option<u64>| bytes.map_or("an unknown number of".to_owned(), |bytes| (bytes / MIB).to_string());
    let (limit, peak) = (group.number(limit_file(group)), group.number(peak));
    let [anonymous, file] = kinds.map(|key| mib(group.keyed("memory.stat", key)));
    let message = format!(
        "Memory limit exceeded: Requested: {} MB Maximum Used: {} MB; of that {anonymous} MB anonymous, {file} MB of files; \
         {} processes killed by the kernel",
        mib(limit),
        mib(peak),
        oom_kills(group).unwrap_or(1).max(1),
    );
    let used = peak.or(limit).unwrap_or(0).div_ceil(MIB);
    let entry = Resource::scalar(ResourceName::Mem, Quantity::units(used));
    let resources = Resources::collect([entry]).unwrap_or_default();
    Limitation { kind: LimitKind::Memory, message, resources }
}

fn bytes(mib: Quantity) -> u64 {
    // Thousandths of a MiB.
    (u128::from(mib.0) * u128::from(MIB) / 1000).try_into().unwrap_or(u64::MAX)
}

/// The hard limit; none for one that may have all.
fn limit_bytes(resources: &Resources, limits: &Limits) -> Option<u64> {
    let limit = limits.mem.unwrap_or(Limit::Amount(resources.scalar(&ResourceName::Mem)));
    match limit {
        Limit::Amount(mem) => Some(bytes(mem).max(LIMIT_MIN_BYTES)),
        Limit::Unlimited => None,
    }
}
