//! Studies from the command line: run, explore, replay.

use super::{bar, show};
use crate::arguments::{Explore, Replay, Scenario as How, SimRun};
use crate::table::say;
use anyhow::{Context, Result};
use kaon_sim::study::{self, Progress, Request, Scenario, Study, Summary};
use std::path::Path;
use std::time::Instant;

/// `kaon sim run SCENARIO`.
pub(super) fn run(scenario: &Path, arguments: &SimRun) -> Result<i32> {
    let summary = carry_out(scenario, &arguments.how, arguments.seeds.as_deref())?;
    if arguments.json {
        say(serde_json::to_string_pretty(&summary)?)?;
    } else {
        say(show::summary(&summary).trim_end())?;
        if let Some(out) = &arguments.how.out {
            say(format_args!("written to {}: {}, {}", out.display(), study::SUMMARY_FILE, study::REPORT_FILE))?;
        }
    }
    Ok(i32::from(!summary.failures().is_empty()))
}

/// Opens a scenario with its overrides, and runs it behind a bar.
pub(super) fn carry_out(path: &Path, how: &How, seeds: Option<&str>) -> Result<Summary> {
    conduct(open(path, how, seeds)?, how)
}

fn conduct(scenario: Scenario, how: &How) -> Result<Summary> {
    let summary = with_bar(|progress| Study::open(scenario)?.run(&request(how), progress))?;
    summary.notes.iter().for_each(|note| eprintln!("{note}"));
    Ok(summary)
}

fn open(path: &Path, how: &How, seeds: Option<&str>) -> Result<Scenario> {
    let mut overrides = how.set.clone();
    overrides.extend(how.policy.iter().map(|policies| format!("policies={policies}")));
    overrides.extend(how.lenient.then(|| "workload.lenient=true".to_owned()));
    overrides.extend(seeds.iter().map(|seeds| format!("seeds={seeds}")));
    Ok(Scenario::open(path, &overrides)?)
}

fn request(how: &How) -> Request {
    let commit = Some(env!("KAON_BUILT_FROM").to_owned());
    Request { jobs: how.jobs, out: how.out.clone(), commit }
}

/// Does something that takes time, showing how far it is: events a second and the time left.
fn with_bar<T>(work: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> T) -> T {
    let bar = bar(1, "{bar:30} {percent:>3} %  {msg}  {elapsed} gone, {eta} left");
    let begun = Instant::now();
    let progress = |progress: Progress| {
        bar.set_length(progress.parts);
        bar.set_position(progress.parts_done);
        let speed = progress.events as f64 / begun.elapsed().as_secs_f64().max(1e-3);
        bar.set_message(format!("{}/{} runs, {speed:.0} events/s", progress.runs_done, progress.runs));
    };
    let done = work(&progress);
    bar.finish_and_clear();
    done
}

/// `kaon sim explore`.
pub(super) fn explore(arguments: &Explore) -> Result<i32> {
    let how = &arguments.how;
    // Files are written for the seeds that failed only.
    let quiet = How { out: None, ..how.clone() };
    let scenario = open(&arguments.scenario, &quiet, arguments.seeds.as_deref())?;
    let policies: Vec<&str> = scenario.policies().iter().map(String::as_str).collect();
    let summary = conduct(scenario.clone(), &quiet)?;
    let failures = summary.failures();
    let mut failed: Vec<u64> = failures.iter().map(|(_, seed, _)| *seed).collect();
    failed.sort_unstable();
    failed.dedup();
    if let Some(out) = &how.out {
        std::fs::create_dir_all(out).with_context(|| format!("can't make {}", out.display()))?;
        for &seed in &failed {
            let path = out.join(format!("seed-{seed}.json"));
            let text = serde_json::to_string_pretty(&summary.only(seed))?;
            std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    let runs: usize = summary.policies.iter().map(|policy| policy.seeds.len()).sum();
    if arguments.json {
        let failures: Vec<_> = failures
            .iter()
            .map(|(policy, seed, what)| serde_json::json!({ "policy": policy, "seed": seed, "failure": what }))
            .collect();
        let speed = &summary.speed;
        say(serde_json::to_string_pretty(
            &serde_json::json!({ "runs": runs, "failures": failures, "marks": summary.marks(), "speed": speed }),
        )?)?;
    } else {
        for (policy, seed, what) in &failures {
            say(format_args!("policy {policy}, seed {seed}\n{what}"))?;
        }
        for seed in &failed {
            match &how.out {
                Some(out) => say(format_args!("kaon sim replay {}", out.join(format!("seed-{seed}.json")).display()))?,
                None => say(scenario.command(*seed, &policies))?,
            }
        }
        let marks = summary.marks();
        if !marks.is_empty() {
            say(show::marks(&marks))?;
        }
        let speed = runs as f64 / summary.speed.wall_seconds.max(1e-3);
        let events = summary.speed.events;
        say(format_args!("{events} events; {runs} runs, {speed:.1} a second, {} seeds failed", failed.len()))?;
    }
    if let Some((policy, seed, _)) = failures.first().filter(|_| arguments.shrink) {
        let study = Study::open(scenario.clone())?;
        say(study.shrink(policy, *seed)?.unwrap_or_else(|| "it could not be made smaller".to_owned()))?;
    }
    Ok(i32::from(!failed.is_empty()))
}

/// `kaon sim replay`.
pub(super) fn replay(arguments: &Replay) -> Result<i32> {
    if let Ok(seed) = arguments.what.parse::<u64>() {
        let summary = carry_out(&arguments.scenario, &arguments.how, Some(&seed.to_string()))?;
        if arguments.json {
            say(serde_json::to_string_pretty(&summary)?)?;
        } else {
            say(show::summary(&summary).trim_end())?;
        }
        return Ok(i32::from(!summary.failures().is_empty()));
    }
    let path = Path::new(&arguments.what);
    let replayed = with_bar(|progress| study::replay(path, &request(&arguments.how), progress))?;
    let runs: usize = replayed.summary.policies.iter().map(|policy| policy.seeds.len()).sum();
    if arguments.json {
        let mismatches: Vec<_> = replayed
            .mismatches
            .iter()
            .map(|one| {
                serde_json::json!({ "policy": one.policy, "seed": one.seed, "recorded": one.recorded, "found": one.found })
            })
            .collect();
        let changed = &replayed.inputs_changed;
        let value = serde_json::json!({ "runs": runs, "mismatches": mismatches, "inputs_changed": changed });
        say(serde_json::to_string_pretty(&value)?)?;
    } else {
        for (policy, seed, what) in replayed.summary.failures() {
            say(format_args!("policy {policy}, seed {seed}\n{what}"))?;
        }
        for path in &replayed.inputs_changed {
            say(format_args!("{path} is not the file that was recorded"))?;
        }
        for one in &replayed.mismatches {
            let found = one.found.as_deref().unwrap_or("nothing");
            say(format_args!("{} seed {}: {} was recorded, {found} came out", one.policy, one.seed, one.recorded))?;
        }
        say(format_args!("{} of {runs} runs came out as recorded", runs.saturating_sub(replayed.mismatches.len())))?;
    }
    Ok(i32::from(!replayed.mismatches.is_empty()))
}
