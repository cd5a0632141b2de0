//! `cgroups/cpu`: processor time by weight, and by quota where there is a limit (reference 12.1).
//!
//! The weight is 1024 for each processor (100 in version 2); of revocable ones 10, so that they give way to all others. The
//! quota of 100 ms periods is the task's limit; with `--cgroups-enable-cfs` what it takes of the offer is its limit too.

use super::hierarchy::Version;
use super::{Controller, Groups, Wish};
use kaon_kernel::container_info::Limit;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::ResourceName;
use kaon_kernel::statistics::Statistics;
use std::io;

/// The weight of one processor, and of a revocable one, in version 1.
const SHARES: u64 = 1024;
const SHARES_REVOCABLE: u64 = 10;
/// The least that the kernel takes.
const SHARES_MIN: u64 = 2;
/// Weights of version 2: one processor is the kernel's default.
const WEIGHT: u64 = 100;
const WEIGHT_MAX: u64 = 10_000;

/// A period of accounting, in microseconds, and the least quota of it.
const PERIOD_MICROS: u64 = 100_000;
const QUOTA_MIN_MICROS: u64 = 1_000;

/// Kernel clock ticks in a second, as `cpuacct.stat` counts them on every Linux that we run on (`USER_HZ`).
const TICK_NANOS: u64 = 10_000_000;

/// The controller.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// Whether what a container takes of the offer is also its limit, when it names none (`--cgroups-enable-cfs`).
    pub is_capped: bool,
}

impl Controller for Cpu {
    fn name(&self) -> &'static str {
        "cgroups/cpu"
    }

    fn controllers(&self) -> &'static [&'static str] {
        &["cpu", "cpuacct"]
    }

    fn set(&self, groups: &Groups, wish: &Wish<'_>) -> io::Result<()> {
        let group = groups.main()?;
        let request = wish.resources.scalar(&ResourceName::Cpus);
        let revocable = wish.resources.revocable().scalar(&ResourceName::Cpus);
        let shares = shares(request, revocable);
        let limit = wish.limits.cpus.or(self.is_capped.then_some(Limit::Amount(request)));
        let quota = match limit {
            Some(Limit::Amount(cpus)) => Some((cpus.0 * PERIOD_MICROS / 1000).max(QUOTA_MIN_MICROS)),
            Some(Limit::Unlimited) | None => None,
        };
        match group.version {
            Version::V1 => {
                group.write("cpu.shares", shares)?;
                // A new group has no quota, and a machine without the feature no such file.
                if quota.is_some() || !wish.is_launch {
                    group.write("cpu.cfs_period_us", PERIOD_MICROS)?;
                    group.write("cpu.cfs_quota_us", quota.map_or("-1".to_owned(), |quota| quota.to_string()))?;
                }
                Ok(())
            }
            Version::V2 => {
                group.write("cpu.weight", (shares * WEIGHT / SHARES).clamp(1, WEIGHT_MAX))?;
                let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
                group.write("cpu.max", format_args!("{quota} {PERIOD_MICROS}"))
            }
        }
    }

    fn read(&self, groups: &Groups, figures: &mut Statistics) {
        let Ok(group) = groups.main() else { return };
        let stat = |key| group.keyed("cpu.stat", key);
        figures.periods = stat("nr_periods");
        figures.throttled_periods = stat("nr_throttled");
        match group.version {
            Version::V1 => {
                figures.throttled_nanos = stat("throttled_time");
                let counted = groups.of("cpuacct");
                let ticks = |key| counted?.keyed("cpuacct.stat", key);
                figures.user_nanos = ticks("user").map(|ticks| ticks.saturating_mul(TICK_NANOS));
                figures.system_nanos = ticks("system").map(|ticks| ticks.saturating_mul(TICK_NANOS));
                let quota = group.number("cpu.cfs_quota_us").zip(group.number("cpu.cfs_period_us"));
                figures.cpus_limit_millis = quota.and_then(|(quota, period)| (quota * 1000).checked_div(period));
                figures.cpus_request_millis = group.number("cpu.shares").map(request_millis);
            }
            Version::V2 => {
                let micros = |key| stat(key).map(|micros: u64| micros.saturating_mul(1000));
                figures.throttled_nanos = micros("throttled_usec");
                figures.user_nanos = micros("user_usec");
                figures.system_nanos = micros("system_usec");
                let max = group.read("cpu.max").unwrap_or_default();
                let mut words = max.split_ascii_whitespace().map(str::parse::<u64>);
                if let (Some(Ok(quota)), Some(Ok(period))) = (words.next(), words.next()) {
                    figures.cpus_limit_millis = (quota * 1000).checked_div(period);
                }
                figures.cpus_request_millis = group.number("cpu.weight").map(|weight| weight * 1000 / WEIGHT);
            }
        }
    }
}

fn shares(request: Quantity, revocable: Quantity) -> u64 {
    let sure = request.0.saturating_sub(revocable.0);
    ((sure * SHARES + revocable.0 * SHARES_REVOCABLE) / 1000).max(SHARES_MIN)
}

/// The thousandths of a processor that shares were made of: these were cut, so what comes back is rounded up.
fn request_millis(shares: u64) -> u64 {
    (shares * 1000).div_ceil(SHARES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_tell_exactly_what_they_were_made_of() {
        for millis in 2..70_000 {
            assert_eq!(request_millis(shares(Quantity(millis), Quantity(0))), millis);
        }
    }

    #[test]
    fn weights_are_those_of_mesos() {
        let units = Quantity::units;
        assert_eq!(shares(units(2), units(0)), 2048);
        assert_eq!(shares(Quantity(100), units(0)), 102);
        assert_eq!(shares(units(3), units(3)), 30);
        assert_eq!(shares(units(0), units(0)), 2);
    }
}
