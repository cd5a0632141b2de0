//! SWIM: Hadoop jobs sampled from Facebook (Chen et al., MASCOTS 2011); New BSD.
//!
//! The files have sizes of data and no tasks. The conversion is the usual one and a choice: one map task for each block of
//! input, at least one; one reduce task for each GB of shuffle, at least one where there is shuffle; a task moves its part
//! of the data at a stated rate.

use super::model::{SECONDS_MAX, Task};
use super::rows::{Fault, Fields, Format, Split};

/// A job as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When it is submitted, from the start of the file.
    pub submit_s: u64,
    /// Map input.
    pub input_bytes: u64,
    /// Shuffle.
    pub shuffle_bytes: u64,
    /// Reduce output.
    pub output_bytes: u64,
}

/// The format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swim;

impl Format for Swim {
    type Row = Job;

    fn split(&self) -> Split {
        Split::At('\t')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[
            ("job name", true),
            ("submit time", true),
            ("gap", true),
            ("map input", true),
            ("shuffle", true),
            ("reduce output", true),
        ]
    }

    fn has_header(&self) -> bool {
        false
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Job>, Fault> {
        const BYTES_MAX: u64 = 1 << 60;
        fields.unsigned(2, SECONDS_MAX)?;
        Ok(Some(Job {
            name: fields.text(0).to_owned(),
            submit_s: fields.unsigned(1, SECONDS_MAX)?,
            input_bytes: fields.unsigned(3, BYTES_MAX)?,
            shuffle_bytes: fields.unsigned(4, BYTES_MAX)?,
            output_bytes: fields.unsigned(5, BYTES_MAX)?,
        }))
    }
}

/// How sizes become tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Input of one map task: 64 MB for the file of 2009, 128 MB for that of 2010.
    pub block_bytes: u64,
    /// Shuffle of one reduce task.
    pub reduce_bytes: u64,
    /// What a task reads or writes in a second.
    pub bytes_per_second: u64,
    /// The shortest task.
    pub least_us: i64,
    /// The most tasks of one kind in a job; the largest job of the files that are shipped has 112,571.
    pub tasks_max: u32,
}

impl Default for Conversion {
    fn default() -> Self {
        Self {
            block_bytes: 64 << 20,
            reduce_bytes: 1 << 30,
            bytes_per_second: 20 << 20,
            least_us: 1_000_000,
            tasks_max: 1_000_000,
        }
    }
}

/// Map and reduce tasks of a job: how many of each, and how long each runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Map tasks.
    pub maps: u32,
    /// Time of each.
    pub map_us: i64,
    /// Reduce tasks.
    pub reduces: u32,
    /// Time of each.
    pub reduce_us: i64,
}

impl Conversion {
    /// The tasks of a job.
    pub fn stages(&self, job: &Job) -> Stages {
        let count = |bytes: u64, each: u64| bytes.div_ceil(each.max(1)).clamp(1, u64::from(self.tasks_max)) as u32;
        let time = |bytes: u64, tasks: u32| {
            let micros = u128::from(bytes) * 1_000_000 / u128::from(tasks) / u128::from(self.bytes_per_second.max(1));
            i64::try_from(micros).unwrap_or(i64::MAX / 1_000_000).max(self.least_us)
        };
        let maps = count(job.input_bytes, self.block_bytes);
        let reduces = if job.shuffle_bytes > 0 { count(job.shuffle_bytes, self.reduce_bytes) } else { 0 };
        let map_output = if reduces > 0 { job.shuffle_bytes } else { job.output_bytes };
        Stages {
            maps,
            map_us: time(job.input_bytes.saturating_add(map_output), maps),
            reduces,
            reduce_us: time(job.shuffle_bytes.saturating_add(job.output_bytes), reduces.max(1)),
        }
    }

    /// Whether a job would have more tasks than are made of it.
    pub fn cuts(&self, job: &Job) -> bool {
        let most = u64::from(self.tasks_max);
        job.input_bytes.div_ceil(self.block_bytes.max(1)) > most
            || job.shuffle_bytes.div_ceil(self.reduce_bytes.max(1)) > most
    }

    /// The tasks of a job as tasks of one core and 1 GiB, maps first, all submitted with the job.
    pub fn tasks(&self, number: u64, job: &Job) -> Vec<Task> {
        let stages = self.stages(job);
        let task = |task: u32| Task {
            job: number,
            task,
            submit_us: job.submit_s as i64 * 1_000_000,
            run_us: Some(if task < stages.maps { stages.map_us } else { stages.reduce_us }),
            cpus_milli: 1000,
            mem_mib: 1024,
            ..Task::default()
        };
        (0..stages.maps + stages.reduces).map(task).collect()
    }
}
