//! Scheduler architectures on one cell, with jobs drawn for each scheduler (reference `policies.md`, section 4).

use super::{Engine, Outcome, PolicyRow};
use crate::architecture::{ARCHITECTURES, Architecture, Cell, Commit, Conflict, Job, Lengths, OFFERS, Scheduler, run};
use crate::study::error::Error;
use crate::study::meter::Meter;
use crate::study::scenario::{Scenario, Settings, law};
use crate::workload::generate::{self, Arrivals, Law, Shape};

/// The architectures in which schedulers share one cell; probing and flows take other inputs.
pub(super) fn policies() -> Vec<PolicyRow> {
    let shared = ARCHITECTURES.iter().filter(|(name, _)| architecture(name).is_some());
    shared.map(|&(name, about)| PolicyRow { name, about }).collect()
}

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

/// A cell, its schedulers, and what they are asked to do.
pub(super) struct Architectures {
    cell: Cell,
    schedulers: Vec<Scheduler>,
    loads: Vec<Load>,
    until_us: i64,
}

impl Architectures {
    pub(super) fn open(scenario: &Scenario) -> Result<Self, Error> {
        let settings = &scenario.settings;
        let milli = |settings: &Settings, key: &str| (settings.number(key) * 1000.0).round() as u64;
        let machines = u32::try_from(settings.count("cluster.machines")).unwrap_or(u32::MAX);
        let cell = Cell::uniform(machines, milli(settings, "cluster.cpus"), settings.mebibytes("cluster.memory"));
        let until_us = settings.micros("duration");
        let (mut schedulers, mut loads) = (Vec::new(), Vec::new());
        for row in settings.rows("scheduler") {
            let name = row.text("name").to_owned();
            let read = |key: &str, unit: f64| {
                law::law(row.text(key), unit).map_err(|why| Error::Unfit(format!("scheduler {name}: '{key}': {why}")))
            };
            let gap_us = row.micros("gap").max(1) as f64;
            let shape = Shape {
                jobs: (until_us as f64 / gap_us).clamp(1.0, f64::from(generate::JOBS_MAX)) as u32,
                arrivals: Arrivals::Poisson { gap_us },
                run_us: read("lengths", 1e6)?,
                processors: read("tasks", 1.0)?,
                overestimate: Law::Fixed(1.0),
                tenants: 1,
            };
            generate::jobs(&Shape { jobs: 1, ..shape.clone() }, 0)
                .map_err(|error| Error::Unfit(format!("scheduler {name}: {error}")))?;
            loads.push(Load { shape, cpus_milli: milli(row, "cpus"), mem_mib: row.mebibytes("memory") });
            schedulers.push(Scheduler { name, job_us: row.micros("job_time"), task_us: row.micros("task_time") });
        }
        if schedulers.is_empty() {
            return Err(Error::Unfit("no schedulers: add a [[scheduler]]".to_owned()));
        }
        super::words("scheduler", schedulers.iter().map(|scheduler| scheduler.name.as_str()))?;
        Ok(Self { cell, schedulers, loads, until_us })
    }

    /// All jobs in the order of submission.
    fn jobs(&self, seed: u64) -> Result<Vec<Job>, String> {
        let mut jobs = Vec::new();
        for (scheduler, load) in self.loads.iter().enumerate() {
            // Each scheduler has streams of its own.
            let own = generate::stream(seed, &self.schedulers[scheduler].name).bits();
            let drawn = generate::jobs(&load.shape, own).map_err(|error| error.to_string())?;
            jobs.extend(drawn.into_iter().filter(|job| job.submit_us < self.until_us).map(|job| Job {
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
}

impl Engine for Architectures {
    fn run(&self, policy: &str, seed: u64, _: &mut Meter<'_>) -> Result<Outcome, String> {
        let architecture = architecture(policy).ok_or_else(|| format!("there is no architecture {policy}"))?;
        let jobs = self.jobs(seed)?;
        let records = run(&self.cell, &self.schedulers, &jobs, architecture, Some(self.until_us), seed);
        let records = records.map_err(|error| error.to_string())?;
        Ok(Outcome {
            trace_hash: records.trace_hash(),
            events: records.events,
            records: Some(records),
            ..Outcome::default()
        })
    }
}
