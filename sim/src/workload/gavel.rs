//! Deep-learning jobs of Philly virtual clusters as prepared for Gavel (Narayanan et al., OSDI 2020), and the training
//! steps each kind of job does in a second on each kind of GPU; MIT.

use super::model::{GPUS_MAX, SECONDS_MAX, Task};
use super::rows::{Fault, Fields, Format, Split};
use std::collections::BTreeMap;

/// A job as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Model and batch size.
    pub job_type: String,
    /// Training steps to run.
    pub steps: u64,
    /// When it comes.
    pub arrival_us: i64,
    /// GPUs, all at once.
    pub gpus: u32,
}

/// The job lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jobs;

impl Format for Jobs {
    type Row = Job;

    fn split(&self) -> Split {
        Split::At('\t')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("job_type", true), ("total_steps", true), ("arrival_s", true), ("scale_factor", true)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Job>, Fault> {
        let arrival_us = fields.scaled(2, 6)?;
        let gpus = fields.unsigned(3, GPUS_MAX)? as u32;
        if gpus == 0 || fields.is_empty(0) || arrival_us > SECONDS_MAX * 1_000_000 {
            return Err(Fault::Unsound("a job needs a type, a GPU, and a time within bounds".to_owned()));
        }
        Ok(Some(Job {
            job_type: fields.text(0).to_owned(),
            steps: fields.unsigned(1, 1 << 50)?,
            arrival_us: arrival_us as i64,
            gpus,
        }))
    }
}

/// How fast a job type runs alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Model and batch size.
    pub job_type: String,
    /// GPUs.
    pub gpus: u32,
    /// Type of GPU; with `_unconsolidated`, on different machines.
    pub gpu_type: String,
    /// Steps in a million seconds.
    pub steps_per_megasecond: u64,
}

/// The table of rates.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateRows;

impl Format for RateRows {
    type Row = Rate;

    fn split(&self) -> Split {
        Split::At('\t')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("job_type", true), ("scale_factor", true), ("gpu_type", true), ("steps_per_s", true)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Rate>, Fault> {
        Ok(Some(Rate {
            job_type: fields.text(0).to_owned(),
            gpus: fields.unsigned(1, GPUS_MAX)? as u32,
            gpu_type: fields.text(2).to_owned(),
            steps_per_megasecond: fields.scaled(3, 6)?,
        }))
    }
}

/// The rates, by job type, GPUs and type of GPU. A rate of zero (the job does not fit there) counts as none.
#[derive(Clone, Debug, Default)]
pub struct Rates(BTreeMap<(String, u32, String), u64>);

impl Rates {
    /// From the rows of the table.
    pub fn new(rows: impl IntoIterator<Item = Rate>) -> Self {
        let entry = |row: Rate| ((row.job_type, row.gpus, row.gpu_type), row.steps_per_megasecond);
        Self(rows.into_iter().map(entry).filter(|entry| entry.1 > 0).collect())
    }

    /// How long a job runs alone on GPUs of a type: none without a rate for its type at its own number of GPUs. Rounded
    /// up to a whole microsecond.
    pub fn run_us(&self, job: &Job, gpu_type: &str) -> Option<i64> {
        let rate = self.0.get(&(job.job_type.clone(), job.gpus, gpu_type.to_owned()))?;
        i64::try_from((u128::from(job.steps) * 1_000_000_000_000).div_ceil(u128::from(*rate))).ok()
    }

    /// The job as a task of whole GPUs of one type.
    pub fn task(&self, number: u64, job: &Job, gpu_type: &str) -> Option<Task> {
        let run_us = self.run_us(job, gpu_type)?;
        Some(Task {
            job: number,
            submit_us: job.arrival_us,
            run_us: Some(run_us),
            gpus: job.gpus,
            gpu_milli: 1000,
            gpu_types: vec![gpu_type.to_owned()],
            ..Task::default()
        })
    }
}
