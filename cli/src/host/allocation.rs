//! The flags of a master's allocator, as values.

use super::seconds;
use crate::arguments::Allocation;
use anyhow::{Context, Result, bail};
use kaon_actors::allocator::engine::sorter::Order;
use kaon_actors::allocator::engine::{Minimums, Partition, Rules};
use kaon_actors::allocator::policy::SorterName;
use kaon_actors::allocator::{AllocatorConfig, Policy};
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, role};
use std::path::Path;

/// What an allocator is started with.
pub(super) fn config(options: &Allocation, region: Option<String>) -> Result<AllocatorConfig> {
    let interval = seconds("allocation-interval", options.allocation_interval)?;
    if interval == kaon_kernel::time::Duration::ZERO {
        bail!("--allocation-interval 0: there must be time between two looks at all agents");
    }
    let order = |word: &str| if matches!(word, "random" | "lottery") { Order::Random } else { Order::Drf };
    let excluded = options.fair_sharing_excluded_resource_names.iter();
    Ok(AllocatorConfig {
        rules: Rules {
            interval,
            minimums: minimums(&options.min_allocatable_resources)?,
            excluded_from_shares: excluded.map(|name| ResourceName::of(name.trim())).collect(),
            filter_gpu_resources: options.filter_gpu_resources,
            region,
            partition: partition(options)?,
            roles_by: order(&options.role_sorter),
            frameworks_by: order(&options.framework_sorter),
            ..Rules::default()
        },
        window: seconds("allocation-window", options.allocation_window)?,
        policy: policy(options)?,
        ..AllocatorConfig::default()
    })
}

/// The sorter in place of those of Mesos, if one is asked for.
fn policy(options: &Allocation) -> Result<Option<Policy>> {
    let is_strict = options.role_sorter == "strict-priority";
    if !is_strict && !options.priority_classes.is_empty() {
        bail!("--priority-classes says nothing without --role-sorter strict-priority");
    }
    if matches!(options.role_sorter.as_str(), "drf" | "random" | "lottery") {
        return Ok(None);
    }
    if options.framework_sorter != "drf" {
        bail!("--role-sorter {} orders frameworks as well: leave --framework-sorter out", options.role_sorter);
    }
    let class = |text: &String| {
        let whole = || format!("--priority-classes {text}: expected ROLE=CLASS");
        let (role, class) = text.split_once('=').with_context(whole)?;
        Ok((role::parse(role.trim())?, class.trim().parse().with_context(whole)?))
    };
    let classes = options.priority_classes.iter().map(class).collect::<Result<_>>()?;
    let resource = ResourceName::of(&options.max_min_resource);
    Ok(Some(Policy { sorter: SorterName::parse(&options.role_sorter)?, classes, resource }))
}

/// Which roles agents belong to, if they are parted.
fn partition(options: &Allocation) -> Result<Option<Partition>> {
    let mut partition = Partition::default();
    for text in &options.static_partition {
        let (role, hostname) =
            text.split_once('=').with_context(|| format!("--static-partition {text}: expected ROLE=HOSTNAME"))?;
        partition.assign(hostname.trim(), &role::parse(role.trim())?);
    }
    Ok((!options.static_partition.is_empty()).then_some(partition))
}

/// `cpus:0.01|mem:32;disk:1` as sets of quantities.
fn minimums(text: &str) -> Result<Minimums> {
    let quantity = |part: &str| {
        let whole = || format!("--min-allocatable-resources {text}: expected NAME:NUMBER, not '{part}'");
        let (name, value) = part.split_once(':').with_context(whole)?;
        let value = value.trim().parse().ok().and_then(Quantity::from_scalar).with_context(whole)?;
        Ok((ResourceName::of(name.trim()), value))
    };
    let sets = text.split('|').filter(|set| !set.trim().is_empty());
    sets.map(|set| set.split(';').map(str::trim).filter(|part| !part.is_empty()).map(quantity).collect()).collect()
}

/// The hostnames of a whitelist, one a line.
pub(super) fn whitelist(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read --whitelist {}", path.display()))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_sizes_are_sets_of_scalars() {
        let sets = minimums("cpus:0.01|mem:32; disk:1").expect("well formed");
        let expected = [
            vec![(ResourceName::Cpus, Quantity(10))],
            vec![(ResourceName::Mem, Quantity::units(32)), (ResourceName::Disk, Quantity::units(1))],
        ];
        assert_eq!(sets, expected);
        assert_eq!(minimums("").expect("nothing"), Minimums::new());
        for bad in ["cpus", "cpus:x", "cpus:-1", "mem:32|cpus:nan"] {
            assert!(minimums(bad).is_err(), "{bad}");
        }
    }
}
