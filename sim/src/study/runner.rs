//! Runs of a study, several at a time: scoped workers take (policy, seed) pairs from a counter. Results are put where their
//! pair stands, so the number of workers has no effect on what comes out.

use super::engine::{self, Engine, Outcome};
use super::error::Error;
use super::figures::Figures;
use super::meter::{Meter, Progress, Sum};
use super::nearest::hint;
use super::scenario::Scenario;
use super::summary::{Input, PolicySummary, Program, SeedSummary, Speed, Summary};
use super::table;
use super::{files, metrics};
use crate::world::clock::{Stopwatch, peak_memory_bytes};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How a scenario is to be run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Runs at a time; 0 takes as many as the machine has threads.
    pub jobs: usize,
    /// Where files are written; none writes none.
    pub out: Option<PathBuf>,
    /// The commit of the program, for the summary.
    pub commit: Option<String>,
}

/// A scenario whose inputs have been read.
pub struct Study {
    scenario: Scenario,
    engine: Box<dyn Engine>,
    inputs: Vec<Input>,
}

/// A study and its drawings.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) summary: Summary,
    pub(crate) figures: Vec<Figures>,
}

impl Study {
    /// Reads the inputs of a scenario.
    ///
    /// # Errors
    /// What is wrong with them, with file and line.
    pub fn open(scenario: Scenario) -> Result<Self, Error> {
        let inputs = scenario.settings.paths().map(files::input).collect::<Result<_, _>>()?;
        let engine = engine::open(&scenario)?;
        Ok(Self { scenario, engine, inputs })
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Runs it, and writes what was asked for. `progress` is called after each run, from several threads.
    ///
    /// # Errors
    /// An unknown policy, a run that fails by itself, a file that can't be written.
    pub fn run(&self, request: &Request, progress: &(dyn Fn(Progress) + Sync)) -> Result<Summary, Error> {
        let policies = self.scenario.policies();
        self.check(policies)?;
        let seeds = self.scenario.seeds();
        if let Some(out) = &request.out {
            files::folder(out)?;
        }
        let pairs: Vec<(&str, u64)> =
            policies.iter().flat_map(|policy| seeds.iter().map(move |&seed| (policy.as_str(), seed))).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = if request.jobs == 0 { threads } else { request.jobs }.min(pairs.len().max(1));
        let stopwatch = Stopwatch::start();
        let results = self.runs(&pairs, seeds.first().copied(), jobs, request.out.as_ref(), progress);
        let wall_seconds = stopwatch.elapsed().as_seconds();
        let (mut runs, mut figures, mut events) = (Vec::with_capacity(pairs.len()), Vec::new(), 0);
        for result in results.into_iter().flatten() {
            let run = result?;
            events += run.events;
            figures.extend(run.figures);
            runs.push(run.seed);
        }
        let mut runs = runs.into_iter();
        let each = |policy: &String| PolicySummary::of(policy, runs.by_ref().take(seeds.len()).collect());
        let summary = Summary {
            scenario: self.scenario.name.clone(),
            kaon: Program {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: request.commit.clone().unwrap_or_else(|| "unknown".to_owned()),
            },
            inputs: self.inputs.clone(),
            parameters: self.scenario.settings.to_json(),
            notes: self.engine.notes().to_vec(),
            policies: policies.iter().map(each).collect(),
            speed: Speed {
                events,
                wall_seconds,
                events_per_second: events as f64 / wall_seconds.max(1e-9),
                jobs,
                peak_memory_bytes: peak_memory_bytes(),
                processor: files::processor(),
                processor_threads: threads,
            },
        };
        let findings = Findings { summary, figures };
        if let Some(out) = &request.out {
            files::write(out, &findings)?;
        }
        Ok(findings.summary)
    }

    /// A failing run made small, in words; `None` where only whole clusters can be, or the run does not fail.
    ///
    /// # Errors
    /// A run that fails by itself.
    pub fn shrink(&self, policy: &str, seed: u64) -> Result<Option<String>, Error> {
        self.engine.shrink(seed).map_err(|why| Error::Run { policy: policy.to_owned(), seed, why })
    }

    fn check(&self, policies: &[String]) -> Result<(), Error> {
        let known = engine::policies(self.scenario.fidelity);
        let names = || known.iter().map(|row| row.name);
        if policies.is_empty() {
            return Err(Error::Unfit("there is no policy to run".to_owned()));
        }
        if let Some((_, name)) = policies.iter().enumerate().find(|(at, name)| policies[..*at].contains(name)) {
            return Err(Error::Unfit(format!("the policy '{name}' is named twice")));
        }
        let is_known = |name: &str| names().any(|one| one == engine::canonical(self.scenario.fidelity, name));
        match policies.iter().find(|name| !is_known(name)) {
            Some(name) => Err(Error::NoPolicy {
                name: name.clone(),
                kind: self.scenario.fidelity.word(),
                near: hint(name, names()),
                known: names().collect::<Vec<_>>().join(", "),
            }),
            None => Ok(()),
        }
    }

    /// The results of all pairs in their order; what comes after a failure may be missing.
    fn runs(
        &self,
        pairs: &[(&str, u64)],
        drawn: Option<u64>,
        jobs: usize,
        out: Option<&PathBuf>,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Vec<Option<Result<Run, Error>>> {
        let results: Vec<Mutex<Option<Result<Run, Error>>>> = pairs.iter().map(|_| Mutex::new(None)).collect();
        let (next, sum, failed) = (AtomicUsize::new(0), Sum::new(pairs.len() as u64, progress), AtomicBool::new(false));
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(policy, seed)) = pairs.get(at) else { break };
                let mut meter = Meter::new(&sum);
                let result = self.one(policy, seed, &mut meter, drawn == Some(seed), out);
                match &result {
                    Ok(run) => meter.done(run.events),
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                *results[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
            }
        };
        let scope = crossbeam::thread::scope(|scope| {
            let workers: Vec<_> = (1..jobs).map(|_| scope.spawn(|_| work())).collect();
            work();
            workers.into_iter().for_each(|worker| {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            });
        });
        if let Err(panic) = scope {
            std::panic::resume_unwind(panic);
        }
        results
            .into_iter()
            .map(|result| result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
            .collect()
    }

    fn one(
        &self,
        policy: &str,
        seed: u64,
        meter: &mut Meter<'_>,
        is_drawn: bool,
        out: Option<&PathBuf>,
    ) -> Result<Run, Error> {
        let failed = |why| Error::Run { policy: policy.to_owned(), seed, why };
        let Outcome { trace_hash, events, records, metrics: own, tasks, course, marks, failures } =
            self.engine.run(engine::canonical(self.scenario.fidelity, policy), seed, meter).map_err(failed)?;
        let settings = &self.scenario.settings;
        let (mut found, mut course) = (metrics::Metrics::new(), course);
        if let Some(records) = &records {
            let (times, timeline) = metrics::of(records, settings.count("output.intervals") as usize);
            found = times;
            course = course.or_else(|| timeline.table());
        }
        found.extend(own);
        found.insert("events".to_owned(), events as f64);
        if let Some(out) = out {
            let tasks = match &records {
                _ if !settings.switch("output.tasks") => None,
                Some(records) if tasks.is_none() => Some(table::tasks(records)),
                _ => tasks,
            };
            files::tables(out, policy, seed, &[("tasks", tasks.as_ref()), ("intervals", course.as_ref())])?;
        }
        let figures = (is_drawn && out.is_some()).then(|| Figures::of(policy, seed, records.as_ref(), course));
        let trace_hash = format!("{trace_hash:016x}");
        Ok(Run { seed: SeedSummary { seed, trace_hash, metrics: found, marks, failures }, figures, events })
    }
}

/// A run that is done.
struct Run {
    seed: SeedSummary,
    figures: Option<Figures>,
    events: u64,
}
