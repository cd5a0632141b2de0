//! Scheduler architectures on one cell, with jobs drawn for each scheduler, or those of a trace (reference `policies.md`,
//! section 4).

use super::input::{self, Left};
use super::{Engine, Outcome, PolicyRow};
use crate::architecture::flow::{self, ShortestPaths, Transfers};
use crate::architecture::sampling::{self, Probing};
use crate::architecture::{ARCHITECTURES, Architecture, Cell, Commit, Conflict, Job, Lengths, OFFERS, Scheduler, run};
use crate::record::Records;
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::scenario::{Scenario, Settings};
use crate::workload::generate::{self, Arrivals, Law, Shape};
use crate::workload::model::Task;
use crate::workload::omega;
use crate::workload::rows::Rows;
use std::collections::BTreeMap;
use std::path::Path;

/// All of them.
pub(super) fn policies() -> Vec<PolicyRow> {
    ARCHITECTURES.iter().map(|&(name, about)| PolicyRow { name, about }).collect()
}

/// The architectures in which schedulers claim resources of one cell.
fn architecture(name: &str) -> Option<Architecture> {
    let shared = |conflict, commit| Some(Architecture::Shared { conflict, commit });
    match name {
        "monolithic" => Some(Architecture::Monolithic),
        "offers" => Some(OFFERS),
        "shared" => shared(Conflict::Fine, Commit::Incremental),
        "shared-gang" => shared(Conflict::Fine, Commit::AllOrNothing),
        "shared-sequence" => shared(Conflict::Sequence, Commit::Incremental),
        "shared-sequence-gang" => shared(Conflict::Sequence, Commit::AllOrNothing),
        _ => None,
    }
}

/// What one scheduler is asked to do.
struct Load {
    shape: Shape,
    cpus_milli: u64,
    mem_mib: u64,
}

/// Where jobs come from.
enum Source {
    Drawn(Vec<Load>),
    Trace(Vec<Job>),
}

/// A cell, its schedulers, and what they are asked to do.
pub(super) struct Architectures {
    cell: Cell,
    schedulers: Vec<Scheduler>,
    source: Source,
    until_us: Option<i64>,
    /// For sampling; how it probes is the policy's.
    workers: sampling::Cluster,
    probes: u32,
    flow: flow::Cluster,
    left: Left,
}

impl Architectures {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let small = |key: &str| u32::try_from(settings.count(key)).unwrap_or(u32::MAX);
        let machines = small("cluster.machines");
        let cell =
            Cell::uniform(machines, input::milli(settings, "cluster.cpus"), settings.mebibytes("cluster.memory"));
        let until_us = Some(settings.micros("duration")).filter(|until| *until > 0);
        let rows = settings.rows("scheduler");
        if rows.is_empty() {
            return Err(Error::Unfit("no schedulers: add a [[scheduler]]".to_owned()));
        }
        super::words(rows)?;
        let scheduler = |row: &Settings| Scheduler {
            name: row.text("name").to_owned(),
            job_us: row.micros("job_time"),
            task_us: row.micros("task_time"),
        };
        let schedulers: Vec<Scheduler> = rows.iter().map(scheduler).collect();
        let mut left = Left::default();
        let source = match settings.path("workload.tasks") {
            Some(path) => Source::Trace(trace(path, settings, &schedulers, &mut left)?),
            None => {
                let tables = Tables::read(settings, &mut left)?;
                let until_us = until_us.ok_or_else(|| Error::Unfit("drawn jobs need a 'duration'".to_owned()))?;
                let loads = rows.iter().enumerate().map(|(number, row)| load(row, number, &tables, until_us));
                Source::Drawn(loads.collect::<Result<_, _>>()?)
            }
        };
        // A worker has a slot for each of its cores unless the scenario says otherwise.
        let cores = settings.number("cluster.cpus").max(1.0) as u32;
        let slots = if settings.count("cluster.slots") == 0 { cores } else { small("cluster.slots") };
        let workers = sampling::Cluster {
            workers: machines,
            slots,
            delay_us: settings.micros("engine.delay"),
            probing: Probing::Random,
        };
        let round_us = settings.micros("engine.round").max(1);
        let flow = flow::Cluster { nodes: machines, rack_nodes: small("cluster.rack"), slots, round_us };
        let probes = small("engine.probes");
        Ok(Self { cell, schedulers, source, until_us, workers, probes, flow, left })
    }

    /// All jobs in the order of submission.
    fn jobs(&self, seed: u64) -> Result<Vec<Job>, String> {
        let loads = match &self.source {
            Source::Trace(jobs) => return Ok(jobs.clone()),
            Source::Drawn(loads) => loads,
        };
        let until_us = self.until_us.unwrap_or(i64::MAX);
        let mut jobs = Vec::new();
        for (scheduler, load) in loads.iter().enumerate() {
            // Each scheduler has streams of its own.
            let own = generate::stream(seed, &self.schedulers[scheduler].name).bits();
            let drawn = generate::jobs(&load.shape, own).map_err(|error| error.to_string())?;
            jobs.extend(drawn.into_iter().filter(|job| job.submit_us < until_us).map(|job| Job {
                id: 0,
                scheduler: scheduler as u32,
                submit_us: job.submit_us,
                tasks: u32::try_from(job.processors).unwrap_or(u32::MAX),
                lengths_us: Lengths::Same(job.run_us),
                cpus_milli: load.cpus_milli,
                mem_mib: load.mem_mib,
            }));
        }
        jobs.sort_by_key(|job| (job.submit_us, job.scheduler));
        for (id, job) in (1..).zip(&mut jobs) {
            job.id = id;
        }
        Ok(jobs)
    }

    fn sampled(&self, jobs: &[Job], probing: Probing, seed: u64) -> Result<Records, String> {
        let cluster = sampling::Cluster { probing, ..self.workers };
        sampling::run(cluster, jobs, &[], seed).map_err(|error| error.to_string())
    }

    fn flowed(&self, jobs: &[Job]) -> Result<Records, String> {
        let task = |job: &Job, task: u32| flow::Task {
            job: job.id,
            submit_us: job.submit_us,
            run_us: job.length_us(task),
            input_mib: Vec::new(),
        };
        let tasks: Vec<flow::Task> =
            jobs.iter().flat_map(|job| (0..job.tasks).map(move |number| task(job, number))).collect();
        flow::run(&self.flow, &tasks, &Transfers::default(), &ShortestPaths).map_err(|error| error.to_string())
    }
}

/// What a scheduler is asked to do: by its laws, or by the tables of an Omega cell.
fn load(row: &Settings, number: usize, tables: &Tables, until_us: i64) -> Result<Load, Error> {
    let name = row.text("name");
    let gap_us = row.micros("gap").max(1) as f64;
    let table = |of: &BTreeMap<bool, Vec<f64>>| of.get(&(number > 0)).cloned().map(Law::Table);
    let gaps = table(&tables.gaps_us);
    let mean_us = gaps.as_ref().map_or(gap_us, Law::mean).max(1.0);
    let shape = Shape {
        jobs: (until_us as f64 / mean_us * JOBS_SPARE + JOBS_LEAST).clamp(1.0, f64::from(generate::JOBS_MAX)) as u32,
        arrivals: gaps.map_or(Arrivals::Poisson { gap_us }, Arrivals::Gaps),
        run_us: table(&tables.lengths_us).map_or_else(|| input::law(row, "lengths", 1e6), Ok)?,
        processors: table(&tables.sizes).map_or_else(|| input::law(row, "tasks", 1.0), Ok)?,
        overestimate: Law::Fixed(1.0),
        tenants: 1,
    };
    generate::jobs(&Shape { jobs: 1, ..shape.clone() }, 0)
        .map_err(|error| Error::Unfit(format!("scheduler {name}: {error}")))?;
    Ok(Load { shape, cpus_milli: input::milli(row, "cpus"), mem_mib: row.mebibytes("memory") })
}

/// So many times the jobs that are to be expected are drawn, and so many more; those after the end are not submitted.
const JOBS_SPARE: f64 = 1.1;
/// See [`JOBS_SPARE`].
const JOBS_LEAST: f64 = 100.0;

/// The empirical distributions of an Omega cell: false for batch, the first scheduler; true for service, the others.
#[derive(Default)]
struct Tables {
    gaps_us: BTreeMap<bool, Vec<f64>>,
    sizes: BTreeMap<bool, Vec<f64>>,
    lengths_us: BTreeMap<bool, Vec<f64>>,
}

impl Tables {
    fn read(settings: &Settings, left: &mut Left) -> Result<Self, Error> {
        let mut one = |key: &str, unit: f64| {
            let mut values = BTreeMap::<bool, Vec<f64>>::new();
            let Some(path) = settings.path(key) else { return Ok(values) };
            let rows = Rows::open(path, omega::Samples, input::strictness(settings)).and_then(Rows::collect_all);
            let (rows, _, skipped) = rows.map_err(|error| Error::Unfit(error.to_string()))?;
            left.skip(path, &skipped);
            for row in rows {
                values.entry(row.is_service).or_default().push(row.value_millionths as f64 / 1e6 * unit);
            }
            if values.is_empty() {
                return Err(Error::Input { path: path.to_owned(), why: "no sample".to_owned() });
            }
            Ok(values)
        };
        Ok(Self {
            gaps_us: one("workload.interarrivals", 1e6)?,
            sizes: one("workload.sizes", 1.0)?,
            lengths_us: one("workload.run_times", 1e6)?,
        })
    }
}

/// The jobs of a trace: a job goes to the scheduler that its tenant is named after, else to the first. Its tasks are as large
/// as the largest of them. Tasks that do not end within the trace are left out.
fn trace(path: &Path, settings: &Settings, schedulers: &[Scheduler], left: &mut Left) -> Result<Vec<Job>, Error> {
    let listed = input::tasks(path, settings, left)?;
    let mut jobs: BTreeMap<u64, Vec<&Task>> = BTreeMap::new();
    listed.iter().filter(|task| task.run_us.is_some()).for_each(|task| jobs.entry(task.job).or_default().push(task));
    let endless = listed.iter().filter(|task| task.run_us.is_none()).count() as u64;
    left.drop(path, endless, "tasks do not end within the trace");
    let job = |(id, tasks): (&u64, &Vec<&Task>)| {
        let scheduler = schedulers.iter().position(|one| one.name == tasks[0].tenant).unwrap_or(0);
        Job {
            id: *id,
            scheduler: scheduler as u32,
            submit_us: tasks.iter().map(|task| task.submit_us).min().unwrap_or(0),
            tasks: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
            lengths_us: Lengths::Each(tasks.iter().filter_map(|task| task.run_us).collect()),
            cpus_milli: tasks.iter().map(|task| task.cpus_milli).max().unwrap_or(0),
            mem_mib: tasks.iter().map(|task| task.mem_mib).max().unwrap_or(0),
        }
    };
    let mut jobs: Vec<Job> = jobs.iter().map(job).collect();
    jobs.sort_by_key(|job| (job.submit_us, job.id));
    if jobs.is_empty() { Err(Error::Input { path: path.to_owned(), why: "no job ends".to_owned() }) } else { Ok(jobs) }
}

impl Engine for Architectures {
    fn notes(&self) -> &[String] {
        &self.left.notes
    }

    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let jobs = self.jobs(seed)?;
        let probes = self.probes;
        let records = match policy {
            "random-sampling" => self.sampled(&jobs, Probing::Random, seed)?,
            "per-task-sampling" => self.sampled(&jobs, Probing::PerTask(probes), seed)?,
            "batch-sampling" => self.sampled(&jobs, Probing::Batch(probes), seed)?,
            "late-binding" => self.sampled(&jobs, Probing::Late(probes), seed)?,
            "min-cost-flow" => self.flowed(&jobs)?,
            other => {
                let architecture = architecture(other).ok_or_else(|| format!("there is no architecture {other}"))?;
                let records = run(&self.cell, &self.schedulers, &jobs, architecture, self.until_us, seed);
                records.map_err(|error| error.to_string())?
            }
        };
        let mut outcome = Outcome::of(records);
        self.left.add(&mut outcome.metrics);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::meter::Sum;
    use crate::study::tests::Folder;

    /// The example of `policies.md`, 8.4: waits 0, 1, 3, 6.
    #[test]
    fn a_trace_waits_as_published() {
        let folder = Folder::new("architecture");
        let task =
            |job: u64| format!("{job},one,{},{},1000,1\n", job * 1_000_000, job * 1_000_000).repeat(job as usize);
        let rows: String = (1..=4).map(task).collect();
        let path = folder.file("jobs.csv", &format!("job,tenant,submit_us,run_us,cpus_milli,mem_mib\n{rows}"));
        let text = format!(
            "kind = 'architecture'\nquestion = 'q'\nanswer = 'a'\npolicies = ['monolithic']\n[cluster]\nmachines = 1\n\
             cpus = 10\nmemory = '20 MiB'\n[workload]\ntasks = '{}'\n[[scheduler]]\nname = 'one'\njob_time = '1 s'\n\
             task_time = '1 s'\n",
            path.display()
        );
        let scenario = Scenario::open(&folder.file("s.toml", &text), &[]).unwrap_or_else(|error| panic!("{error}"));
        let study = Architectures::open(&scenario).unwrap_or_else(|error| panic!("{error}"));
        let sum = Sum::new(1, &|_| ());
        let run = |policy: &str| {
            let outcome =
                study.run(policy, 1, &mut Meter::new(&sum)).unwrap_or_else(|error| panic!("{policy}: {error}"));
            outcome.records.unwrap_or_else(|| panic!("{policy}"))
        };
        let waits: Vec<_> =
            run("monolithic").jobs.iter().map(|job| job.first_attempt_us.map(|first| first - job.submit_us)).collect();
        assert_eq!(waits, [0, 1, 3, 6].map(|seconds| Some(seconds * 1_000_000)));
        for row in policies() {
            assert!(run(row.name).tasks.iter().all(|task| task.end_us.is_some()), "{}", row.name);
        }
    }
}
