//! `kaon sim run` without a scenario: one simulated cluster from its flags, or many seeds of it.

use super::{bar, show};
use crate::arguments::SimRun;
use crate::table::say;
use anyhow::{Context, Result, bail};
use kaon_kernel::quantity::Quantity;
use kaon_sim::{Lengths, Options, Plant, Progress, Sharing};

/// Runs, prints, and tells by the exit code whether every claim held.
pub(super) fn run(arguments: &SimRun) -> Result<i32> {
    let plant = arguments.plant.as_deref();
    let options = Options {
        agents: arguments.agents,
        frameworks: arguments.frameworks,
        tasks: arguments.tasks,
        seed: arguments.seed,
        workers: arguments.workers,
        faults: arguments.faults,
        kept_faults: arguments.keep_faults.as_deref().map(numbers).transpose()?,
        plant: plant.and_then(|word| Plant::ALL.into_iter().find(|plant| plant.word() == word)),
        agent_cpus: amount("agent-cpus", arguments.agent_cpus)?,
        agent_mem: amount("agent-mem", arguments.agent_mem)?,
        task_cpus: amount("task-cpus", arguments.task_cpus)?,
        task_mem: amount("task-mem", arguments.task_mem)?,
        lengths: match &arguments.lengths {
            Some(text) => text.parse().with_context(|| format!("--lengths {text}"))?,
            None => Lengths::Uniform(1.0, 20.0),
        },
        varied: !arguments.plain,
        placed: arguments.placed,
        volumes: arguments.volumes,
        teardown: arguments.teardown,
        courses: false,
        sharing: match &arguments.how.policy {
            Some(name) => Sharing::parse(name).with_context(|| format!("--policy {name}"))?,
            None => Sharing::Drf,
        },
        deadline: crate::host::seconds("deadline", arguments.deadline)?,
        invariants_every: arguments.invariants_every,
        stage: None,
    };
    let scenario_only = &arguments.how;
    if !scenario_only.set.is_empty() || scenario_only.out.is_some() {
        bail!("--set and --out are for scenarios; name one, such as `kaon sim run openb.toml`");
    }
    match &arguments.seeds {
        Some(seeds) => {
            let seeds =
                seeds.parse().with_context(|| format!("--seeds {seeds}: without a scenario, a number of seeds"))?;
            explore(&options, seeds, arguments)
        }
        None => once(&options, arguments),
    }
}

fn numbers(text: &str) -> Result<Vec<u32>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let number =
        |part: &str| part.trim().parse().with_context(|| format!("--keep-faults {text}: '{part}' is no number"));
    text.split(',').map(number).collect()
}

/// Makes a failing run small and tells of it.
fn shrink(options: &Options) -> Result<()> {
    eprintln!("making the failure smaller, up to {} runs", kaon_sim::RUNS_MAX);
    match kaon_sim::shrink(options)? {
        Some(shrunk) => say(shrunk)?,
        None => say("it does not fail again")?,
    }
    Ok(())
}

fn amount(flag: &str, value: f64) -> Result<Quantity> {
    Quantity::from_scalar(value).with_context(|| format!("--{flag} {value}: not an amount"))
}

fn once(options: &Options, arguments: &SimRun) -> Result<i32> {
    let bar = bar(u64::from(options.tasks), "{bar:30} {pos}/{len} tasks  {msg}  {elapsed}");
    let begun = std::time::Instant::now();
    let mut show = |progress: &Progress| {
        bar.set_position(progress.ended);
        let speed = progress.events as f64 / begun.elapsed().as_secs_f64().max(1e-3);
        bar.set_message(format!("{:.0} events/s, {:.0} s simulated", speed, progress.simulated_seconds));
    };
    let report = kaon_sim::run_with_progress(options, &mut show)?;
    bar.finish_and_clear();
    if arguments.json {
        say(serde_json::to_string_pretty(&report)?)?;
    } else {
        say(report.to_string().trim_end())?;
    }
    if arguments.shrink && !report.is_well() {
        shrink(options)?;
    }
    Ok(i32::from(!report.is_well()))
}

fn explore(options: &Options, seeds: u64, arguments: &SimRun) -> Result<i32> {
    let bar = bar(seeds, "{bar:30} {pos}/{len} seeds  {elapsed}");
    let end = options.seed.checked_add(seeds).context("--seed plus --seeds is beyond the last seed")?;
    let each = |_: &kaon_sim::Report| bar.inc(1);
    let begun = std::time::Instant::now();
    let sum = kaon_sim::explore(options.seed..end, options, &each)?;
    let speed = seeds as f64 / begun.elapsed().as_secs_f64().max(1e-3);
    bar.finish_and_clear();
    if arguments.json {
        say(serde_json::to_string_pretty(&sum)?)?;
    } else {
        for failure in &sum.failures {
            say(failure)?;
        }
        say(format_args!("{} events, {} faults, {} launches anew", sum.events, sum.faults, sum.relaunched))?;
        let mut failed: Vec<u64> = sum.failures.iter().map(|failure| failure.seed).collect();
        failed.dedup();
        say(show::marks(&sum.marks))?;
        say(format_args!("{speed:.1} seeds a second"))?;
        say(format_args!("seeds: {} passed, {} failed", sum.seeds - failed.len() as u64, failed.len()))?;
    }
    if let Some(failure) = sum.failures.first().filter(|_| arguments.shrink) {
        shrink(&Options { seed: failure.seed, faults: true, workers: 1, ..options.clone() })?;
    }
    Ok(i32::from(!sum.failures.is_empty()))
}
