//! Tests of the batch orders: published figures, plain re-statements of the rules, invariants.

mod naive;
mod published;
mod small;

use super::*;

fn policy(name: &str) -> Policy {
    name.parse().expect("a policy")
}

fn pool(processors: u64) -> Pool {
    Pool { processors, unit: Unit::Processor }
}

fn job(id: u64, submit_us: i64, processors: u64, run_us: i64, planned_us: i64) -> Job {
    Job { id, tenant: 0, submit_us, after: None, processors, run_us, planned_us }
}

fn starts(processors: u64, jobs: &[Job], name: &str, parameters: &Parameters) -> Vec<i64> {
    let records = run(pool(processors), jobs, policy(name), parameters).expect("a sound workload");
    records.tasks.iter().map(|task| task.start_us.expect("all start")).collect()
}
