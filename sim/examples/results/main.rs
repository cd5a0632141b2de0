//! Prints `docs/results.md`: what others published or theory says, what the engines give, and the difference.
//!
//! `make results` runs it. Its argument is the folder with the logs of the Parallel Workloads Archive; figures that need
//! a log that is not there are left out, and the page says so.

mod studies;

use kaon_sim::architecture::{self, Architecture, Cell, Lengths, Scheduler};
use kaon_sim::batch::{self, Job, Parameters, Pool, Unit};
use kaon_sim::record::Records;
use kaon_sim::theory;
use kaon_sim::workload::generate::{Arrivals, Law, Shape, jobs};
use kaon_sim::workload::swf;
use std::path::{Path, PathBuf};
use std::time::Instant;

const LOGS: [&str; 3] = ["KTH-SP2-1996", "SDSC-SP2-1998-4.2-cln", "LCG-2005-1"];

/// Log, policy, published mean flow time in seconds, published mean bounded slowdown.
const PUBLISHED: [(&str, &str, f64, f64); 8] = [
    (LOGS[0], "easy", 15_696.798_181_243_6, 92.576_539_733_629_5),
    (LOGS[0], "easy-exact", 15_187.607_703_381_2, 71.722_385_112_441_8),
    (LOGS[0], "easy-sjbf", 14_764.002_668_445_6, 69.405_400_580_303_5),
    (LOGS[0], "easy-sjbf-exact", 14_295.946_841_754_2, 49.847_718_931_340_6),
    (LOGS[1], "easy", 27_850.861_682_035_3, 87.870_324_242_199_1),
    (LOGS[1], "easy-exact", 24_690.206_291_893_5, 70.477_941_966_806_4),
    (LOGS[1], "easy-sjbf", 28_146.695_311_632, 84.888_944_542_265_5),
    (LOGS[1], "easy-sjbf-exact", 23_660.178_961_596_9, 56.836_221_269_454),
];

/// Mean flow time in seconds and mean bounded slowdown with a threshold of 10 s.
fn means(records: &Records) -> (f64, f64) {
    let (mut flow_us, mut slowdown) = (0, 0.0);
    for task in &records.tasks {
        let flow = task.end_us.unwrap_or(task.submit_us) - task.submit_us;
        flow_us += i128::from(flow);
        slowdown += (flow as f64 / task.run_us.max(10_000_000) as f64).max(1.0);
    }
    let count = records.tasks.len() as f64;
    (flow_us as f64 / 1e6 / count, slowdown / count)
}

fn run(processors: u64, jobs: &[Job], name: &str) -> Result<(Records, f64), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let pool = Pool { processors, unit: Unit::Processor };
    let records = batch::run(pool, jobs, name.parse()?, &Parameters::default())?;
    Ok((records, started.elapsed().as_secs_f64()))
}

fn backfilling(logs: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("## Backfilling on logs of the Parallel Workloads Archive\n");
    println!(
        "Published: the artefact of Gaussier et al., SC 2015. The SDSC-SP2 log here is another edition (53,999 jobs after the"
    );
    println!(
        "filter, theirs has 54,006), so these rows agree only roughly. Flow time in seconds; bounded slowdown with 10 s.\n"
    );
    println!(
        "| log | policy | flow time: published | ours | difference | bounded slowdown: published | ours | difference |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (log, name, flow, slowdown) in PUBLISHED {
        let path = logs.join(format!("{log}.swf.gz"));
        if !path.exists() {
            println!("| {log} | {name} | {flow} | the log is not here | | {slowdown} | | |");
            continue;
        }
        let read = swf::read(&path, swf::Options::default())?;
        let ours = means(&run(read.processors, &read.jobs, name)?.0);
        let percent = |ours: f64, published: f64| (ours / published - 1.0) * 100.0;
        let (by_flow, by_slowdown) = (percent(ours.0, flow), percent(ours.1, slowdown));
        println!(
            "| {log} | {name} | {flow} | {:.10} | {by_flow:+.9} % | {slowdown} | {:.13} | {by_slowdown:+.9} % |",
            ours.0, ours.1
        );
    }
    Ok(())
}

fn scale(logs: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("\n## Cost\n");
    println!(
        "Wall time of the run alone, one core, with whatever else the machine was doing. `made` is a generated log of 300,000"
    );
    println!(
        "jobs on 80,000 processors: heavy-tailed widths and lengths, arrivals by the time of day, load 0.9, planned times one to"
    );
    println!("six times too long.\n");
    println!("| log | jobs | processors | policy | seconds | events a second | mean flow time in s | trace hash |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for log in LOGS {
        let path = logs.join(format!("{log}.swf.gz"));
        if !path.exists() {
            println!("| {log} | the log is not here | | | | | | |");
            continue;
        }
        let read = swf::read(&path, swf::Options::default())?;
        all.push((log, read.processors, read.jobs));
    }
    let width = Law::Pareto { least: 1.0, most: 40_000.0, alpha: 0.6 };
    let length = Law::Pareto { least: 1e6, most: 86_400e6, alpha: 0.5 };
    let shape = Shape {
        jobs: 300_000,
        arrivals: Arrivals::Diurnal {
            gap_us: width.mean() * length.mean() / (80_000.0 * 0.9),
            swing: 0.6,
            period_us: 86_400e6,
        },
        run_us: length,
        processors: width,
        overestimate: Law::Uniform(1.0, 6.0),
        tenants: 50,
    };
    all.push(("made", 80_000, jobs(&shape, 1)?));
    for (log, processors, jobs) in &all {
        for name in ["fcfs", "easy", "easy-sjbf", "conservative"] {
            let (records, seconds) = run(*processors, jobs, name)?;
            println!(
                "| {log} | {} | {processors} | {name} | {seconds:.3} | {:.0} | {:.3} | {:016x} |",
                jobs.len(),
                records.events as f64 / seconds,
                means(&records).0,
                records.trace_hash()
            );
        }
    }
    Ok(())
}

fn row(what: &str, expected: f64, ours: theory::Estimate) {
    let errors = (ours.mean - expected) / ours.error;
    println!("| {what} | {expected:.5} | {:.5} ± {:.5} | {errors:+.2} |", ours.mean, ours.error);
}

fn queues() {
    println!("\n## Queueing theory\n");
    println!(
        "Poisson arrivals, exponential service with mean 1; ours is the mean over the seeds ± its standard error; the last column"
    );
    println!("is the difference in standard errors.\n");
    println!("| queue | theory | ours | difference |");
    println!("|---|---|---|---|");
    for load in [0.5, 0.7, 0.9] {
        if let Some([_, _, time]) = theory::servers(1, load, 400_000, 10) {
            row(&format!("one server, load {load}: time in system"), theory::one_server(load), time);
        }
    }
    if let Some([waits, wait, _]) = theory::servers(10, 0.8, 400_000, 10) {
        row("10 servers, load 0.8: probability of waiting", theory::waiting_probability(10, 0.8), waits);
        row("10 servers, load 0.8: mean wait", theory::mean_wait(10, 0.8), wait);
    }
    for load in [0.5, 0.7, 0.9] {
        if let Some(time) = theory::choices(2000, 2, load, 400_000, 10) {
            row(&format!("shortest of 2 among 2,000, load {load}: time in system"), theory::shortest_of(2, load), time);
        }
    }
}

fn offers() {
    println!("\n## Resource offers (Mesos paper, table 2)\n");
    println!(
        "100 slots, a job that needs three mean task lengths on all of them; 4,000 seeds. Where the paper has `ln k` the exact value"
    );
    println!(
        "is the harmonic number of k; where it has one task length (constant lengths) it is k / (k + 1), and where it has 1 + beta (elastic,"
    );
    println!("exponential lengths) the t with t + exp(-t) = 1 + beta.\n");
    println!("| what | lengths | theory | ours | difference |");
    println!("|---|---|---|---|---|");
    let harmonic: f64 = (1..=100).map(|count| 1.0 / f64::from(count)).sum();
    for (kind, is_exponential, all) in [("constant", false, 100.0 / 101.0), ("exponential", true, harmonic)] {
        let ours = theory::ramp(100, 3.0, is_exponential, 4000);
        row(&format!("ramp-up | {kind}"), all, ours.ramp_up);
        row(&format!("completion, elastic | {kind}"), theory::elastic_completion(3.0, is_exponential), ours.elastic);
        row(&format!("completion, rigid | {kind}"), all + 3.0, ours.rigid);
    }
}

fn decisions() -> Result<(), Box<dyn std::error::Error>> {
    println!("\n## Decision times of the Omega simulator\n");
    println!(
        "One scheduler, one second for a job and one for a task, one machine, jobs i = 1..4 of i tasks of length i, submitted at i.\n"
    );
    let second = 1_000_000;
    let make = |tasks: u32| architecture::Job {
        id: u64::from(tasks),
        scheduler: 0,
        submit_us: i64::from(tasks) * second,
        tasks,
        lengths_us: Lengths::Same(i64::from(tasks) * second),
        cpus_milli: 1000,
        mem_mib: 1,
    };
    let jobs: Vec<architecture::Job> = (1..=4).map(make).collect();
    let one = [Scheduler { name: "one".to_owned(), job_us: second, task_us: second }];
    let records = architecture::run(&Cell::uniform(1, 10_000, 20), &one, &jobs, Architecture::Monolithic, None, 1)?;
    let seconds = |from: Option<i64>, to: Option<i64>| (to.unwrap_or(0) - from.unwrap_or(0)) / second;
    let waits: Vec<i64> = records.jobs.iter().map(|job| seconds(Some(job.submit_us), job.first_attempt_us)).collect();
    let thinking: Vec<i64> = records.jobs.iter().map(|job| seconds(job.first_attempt_us, job.placed_us)).collect();
    println!("| what | published | ours |\n|---|---|---|");
    println!("| waits before the first attempt | [0, 1, 3, 6] | {waits:?} |");
    println!("| decision times | [2, 3, 4, 5] | {thinking:?} |");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let logs = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    println!("# Results of the simulator\n");
    println!("Published or theoretical figures, ours, and the difference. `make results` writes this page.\n");
    backfilling(&logs)?;
    scale(&logs)?;
    queues();
    offers();
    decisions()?;
    let traces = logs.parent().unwrap_or(Path::new("."));
    studies::openb(traces)?;
    studies::mesos()
}
