//! Workloads and node lists of scenarios: any format that Kaon reads, told by the file or named by the scenario, plain, gzip,
//! zstd or Parquet. What a lenient reader leaves out is counted and told.

use crate::study::error::Error;
use crate::study::metrics::{Metrics, enter};
use crate::study::scenario::{Settings, law};
use crate::workload::convert;
use crate::workload::generate::{Arrivals, Law, Shape};
use crate::workload::model::{Node, Task};
use crate::workload::rows::{Skipped, Strictness};
use std::collections::BTreeMap;
use std::path::Path;

/// The period of the time of day.
const DAY_US: f64 = 86_400e6;
/// The most machines that groups make.
const NODES_MAX: u64 = 1_000_000;

/// What was left out of the inputs, in words and in number.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    /// Bad rows that a lenient reader passed over.
    pub(super) rows: u64,
    /// Jobs or tasks that cannot be part of the study.
    pub(super) jobs: u64,
    pub(super) notes: Vec<String>,
}

impl Left {
    /// Bad rows of a file.
    pub(super) fn skip(&mut self, path: &Path, skipped: &Skipped) {
        if skipped.rows > 0 {
            self.rows += skipped.rows;
            self.notes.push(format!("{}: {} bad rows are left out", path.display(), skipped.rows));
        }
        self.notes.extend(skipped.shown.iter().cloned());
    }

    /// Jobs or tasks that are no part of the study.
    pub(super) fn drop(&mut self, path: &Path, count: u64, why: &str) {
        if count > 0 {
            self.jobs += count;
            self.notes.push(format!("{}: {count} {why}", path.display()));
        }
    }

    pub(super) fn add(&self, metrics: &mut Metrics) {
        enter(metrics, "rows_skipped", Some(self.rows as f64));
        enter(metrics, "jobs_dropped", Some(self.jobs as f64));
    }
}

/// How bad rows are taken.
pub(super) fn strictness(settings: &Settings) -> Strictness {
    if settings.switch("workload.lenient") { Strictness::Lenient } else { Strictness::Strict }
}

/// The tasks of a file, in its order.
pub(super) fn tasks(path: &Path, settings: &Settings, left: &mut Left) -> Result<Vec<Task>, Error> {
    let read = convert::tasks(settings.text("workload.format"), path, strictness(settings));
    let (tasks, skipped) = read.map_err(|error| Error::Unfit(error.to_string()))?;
    left.skip(path, &skipped);
    if tasks.is_empty() { Err(Error::Input { path: path.to_owned(), why: "no task".to_owned() }) } else { Ok(tasks) }
}

/// The machines of a scenario: a list, groups, or both.
pub(super) fn nodes(settings: &Settings, left: &mut Left) -> Result<Vec<Node>, Error> {
    let groups = settings.rows("cluster.group");
    let mut nodes = match settings.path("cluster.nodes") {
        Some(path) => {
            let read = convert::nodes(convert::AUTO, path, strictness(settings));
            let (nodes, skipped) = read.map_err(|error| Error::Unfit(error.to_string()))?;
            left.skip(path, &skipped);
            if nodes.is_empty() {
                return Err(Error::Input { path: path.to_owned(), why: "no machine".to_owned() });
            }
            nodes
        }
        None if groups.is_empty() => {
            return Err(Error::Unfit(
                "no machines: name a list with 'cluster.nodes' or groups with [[cluster.group]]".into(),
            ));
        }
        None => Vec::new(),
    };
    for (number, group) in groups.iter().enumerate() {
        if nodes.len() as u64 + group.count("count") > NODES_MAX {
            return Err(Error::Unfit(format!("more than {NODES_MAX} machines")));
        }
        let node = |index: u64| Node {
            name: format!("{number}-{index}"),
            cpus_milli: milli(group, "cpus"),
            mem_mib: group.mebibytes("memory"),
            gpus: group.count("gpus") as u32,
            gpu_type: group.text("gpu_type").to_owned(),
        };
        nodes.extend((0..group.count("count")).map(node));
    }
    Ok(nodes)
}

/// A number of cores or GPUs in thousandths.
pub(super) fn milli(settings: &Settings, key: &str) -> u64 {
    (settings.number(key) * 1000.0).round() as u64
}

/// A law of a scenario.
pub(super) fn law(settings: &Settings, key: &str, unit: f64) -> Result<Law, Error> {
    law::law(settings.text(key), unit).map_err(|why| settings.wrong(key, why))
}

/// When drawn jobs come.
pub(super) fn arrivals(settings: &Settings) -> Arrivals {
    let gap_us = settings.micros("workload.gap").max(1) as f64;
    match settings.text("workload.arrivals") {
        "bursty" => {
            let burst_us = settings.micros("workload.burst") as f64;
            Arrivals::Bursty { gap_us, density: settings.number("workload.density"), burst_us }
        }
        "diurnal" => Arrivals::Diurnal { gap_us, swing: settings.number("workload.swing"), period_us: DAY_US },
        "closed" => Arrivals::ClosedLoop { users: tenants(settings), think_us: Law::Exponential(gap_us) },
        _ => Arrivals::Poisson { gap_us },
    }
}

/// Tenants of drawn jobs.
pub(super) fn tenants(settings: &Settings) -> u32 {
    u32::try_from(settings.count("workload.tenants")).unwrap_or(u32::MAX)
}

/// The shape of drawn jobs; `processors` is the key of the law of their width.
pub(super) fn shape(settings: &Settings, processors: &str) -> Result<Shape, Error> {
    Ok(Shape {
        jobs: u32::try_from(settings.count("workload.jobs")).unwrap_or(u32::MAX),
        arrivals: arrivals(settings),
        run_us: law(settings, "workload.lengths", 1e6)?,
        processors: law(settings, processors, 1.0)?,
        overestimate: law(settings, "workload.overestimate", 1.0)?,
        tenants: tenants(settings),
    })
}

/// Tenants by number: names that are all numbers keep theirs, others are numbered as they come up.
pub(super) struct Tenants(BTreeMap<String, u32>);

impl Tenants {
    pub(super) fn of(tasks: &[Task]) -> Self {
        let mut order: Vec<&str> = Vec::new();
        let mut known = BTreeMap::new();
        for task in tasks {
            if !known.contains_key(&task.tenant) {
                known.insert(task.tenant.clone(), order.len() as u32);
                order.push(&task.tenant);
            }
        }
        let own: Option<Vec<u32>> = order.iter().map(|name| name.parse().ok()).collect();
        if let Some(own) = own {
            known.values_mut().for_each(|number| *number = own[*number as usize]);
        }
        Self(known)
    }

    pub(super) fn number(&self, name: &str) -> u32 {
        self.0.get(name).copied().unwrap_or_default()
    }
}
