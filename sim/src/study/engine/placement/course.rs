//! How full and how fragmented a cluster is while tasks arrive (policies 7, step 8).

use crate::study::metrics::{Metrics, enter};
use crate::table::{Column, Table};
use kaon_actors::allocator::direct::{Cluster, Fragments, Workload};

/// What is averaged over the arrivals at one whole percent.
#[derive(Clone, Copy, Default)]
struct Percent {
    arrivals: u64,
    allocated: f64,
    ratio: f64,
    amount: f64,
}

/// The course of a run, by the GPU request that has arrived in whole percents of the capacity.
pub(super) struct Course {
    fragments: Fragments,
    capacity: u64,
    arrived: u64,
    allocated: u64,
    percents: Vec<Percent>,
    first_refused: Option<u64>,
}

impl Course {
    pub(super) fn new(workload: Workload, capacity: u64) -> Self {
        let (fragments, percents) = (Fragments::new(workload), Vec::new());
        Self { fragments, capacity, arrived: 0, allocated: 0, percents, first_refused: None }
    }

    fn percent(&self, units: f64) -> f64 {
        units * 100.0 / self.capacity as f64
    }

    /// A task that asks for so many GPU units has arrived, and was placed or not.
    pub(super) fn note(&mut self, cluster: &Cluster, units: u64, is_placed: bool) {
        self.arrived += units;
        if is_placed {
            self.allocated += units;
        } else if self.first_refused.is_none() {
            self.first_refused = Some(self.arrived);
        }
        // The arrived percentage, rounded to a whole one.
        let at = (self.arrived * 200 / self.capacity).div_ceil(2) as usize;
        if self.percents.len() <= at {
            self.percents.resize(at + 1, Percent::default());
        }
        let fragmented = self.fragments.units(cluster);
        let idle = self.capacity - self.allocated;
        let (allocated, amount) = (self.percent(self.allocated as f64), self.percent(fragmented));
        let percent = &mut self.percents[at];
        percent.arrivals += 1;
        percent.allocated += allocated;
        percent.ratio += if idle == 0 { 0.0 } else { fragmented * 100.0 / idle as f64 };
        percent.amount += amount;
    }

    /// The percentages at which something arrived, with what was found there.
    fn rows(&self) -> impl Iterator<Item = (usize, [f64; 3])> {
        self.percents.iter().enumerate().filter(|(_, one)| one.arrivals > 0).map(|(at, one)| {
            let count = one.arrivals as f64;
            (at, [one.allocated / count, one.ratio / count, one.amount / count])
        })
    }

    pub(super) fn table(&self) -> Table {
        let column = |one: usize| Column::Real(self.rows().map(|(_, row)| row[one]).collect());
        Table::new()
            .with("arrived_percent", Column::Real(self.rows().map(|(at, _)| at as f64).collect()))
            .with("gpu_allocation_ratio", column(0))
            .with("fragmentation_ratio", column(1))
            .with("fragmentation_amount", column(2))
    }

    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let names = ["gpu_allocation_ratio", "fragmentation_ratio", "fragmentation_amount"];
        let last = self.rows().last();
        for (at, row) in self.rows().filter(|(at, _)| at % 10 == 0) {
            for (name, value) in names.iter().zip(row) {
                enter(&mut metrics, format!("{name}_at_{at}"), Some(value));
            }
        }
        for (one, name) in names.iter().enumerate() {
            enter(&mut metrics, *name, last.map(|(_, row)| row[one]));
        }
        enter(&mut metrics, "inflation_ratio", self.first_refused.map(|arrived| self.percent(arrived as f64)));
        metrics
    }
}
