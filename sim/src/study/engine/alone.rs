//! What each tenant would have had alone: its jobs on an equal part of the pool, under the same policy.
//!
//! Finish-time fairness (Mahajan et al., Themis, NSDI 2020) is a job's flow time in the shared cluster over the one here; above
//! 1 the job would have been better off with a part of its own.

use crate::batch::{self, Job, Parameters, Policy, Pool};
use crate::record::{Records, TaskRecord};
use std::collections::BTreeMap;

/// The ratio of each job, tenant by tenant. Left out are jobs that are wider than a tenant's part, which could never run
/// there, with the jobs of a closed loop that come after them; and jobs that take no time alone. Cost: one run a tenant, together
/// as long as one run of all.
///
/// # Errors
/// When jobs that ran together do not run apart, in words.
pub(super) fn finish_time_ratios(
    pool: Pool,
    jobs: &[Job],
    policy: Policy,
    parameters: &Parameters,
    shared: &Records,
) -> Result<Vec<f64>, String> {
    let mut tenants: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        tenants.entry(job.tenant).or_default().push(index);
    }
    let processors = pool.processors / tenants.len().max(1) as u64;
    let mut ratios = Vec::with_capacity(jobs.len());
    for indices in tenants.values().filter(|_| processors > 0) {
        let (own, kept) = own_jobs(jobs, indices, processors);
        let alone =
            batch::run(Pool { processors, ..pool }, &own, policy, parameters).map_err(|error| error.to_string())?;
        let flow = |task: &TaskRecord| task.end_us.map(|end| (end - task.submit_us) as f64);
        for (index, alone) in kept.into_iter().zip(&alone.tasks) {
            if let (Some(shared), Some(alone)) = (flow(&shared.tasks[index]), flow(alone))
                && alone > 0.0
            {
                ratios.push(shared / alone);
            }
        }
    }
    Ok(ratios)
}

/// A tenant's jobs that fit into its part, numbered among themselves, and where each stood.
fn own_jobs(jobs: &[Job], indices: &[usize], processors: u64) -> (Vec<Job>, Vec<usize>) {
    let (mut own, mut kept, mut places) = (Vec::new(), Vec::new(), BTreeMap::new());
    for &index in indices {
        let mut job = jobs[index];
        if let Some(after) = job.after.as_mut() {
            let Some(&place) = places.get(&(after.job as usize)) else { continue };
            after.job = place;
        }
        if job.processors <= processors {
            places.insert(index, own.len() as u32);
            own.push(job);
            kept.push(index);
        }
    }
    (own, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Unit;

    fn job(id: u64, tenant: u32, processors: u64, seconds: i64) -> Job {
        let run_us = seconds * 1_000_000;
        Job { id, tenant, submit_us: 0, after: None, processors, run_us, planned_us: run_us }
    }

    fn ratios(jobs: &[Job]) -> Vec<f64> {
        let pool = Pool { processors: 4, unit: Unit::Processor };
        let (policy, parameters) = ("fcfs".parse().unwrap(), Parameters::default());
        let shared = batch::run(pool, jobs, policy, &parameters).unwrap();
        finish_time_ratios(pool, jobs, policy, &parameters, &shared).unwrap()
    }

    #[test]
    fn sharing_helps_the_one_and_costs_the_other() {
        // Together: the first two run at once, the other tenant's job waits 10 s for the machine. Alone with two processors
        // the first tenant's jobs run one after the other, and the other's at once.
        let jobs = [job(1, 1, 2, 10), job(2, 1, 2, 10), job(3, 2, 2, 10)];
        assert_eq!(ratios(&jobs), [1.0, 0.5, 2.0]);
    }

    #[test]
    fn a_job_wider_than_its_part_is_left_out_with_those_behind_it() {
        let behind = Job { after: Some(batch::After { job: 0, think_us: 0 }), ..job(2, 1, 1, 5) };
        assert_eq!(ratios(&[job(1, 1, 3, 10), behind, job(3, 2, 1, 10)]), [1.0]);
    }
}
