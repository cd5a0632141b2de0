//! Many seeds: small worlds, one after the other, several at once.

pub(crate) mod plant;
pub(crate) mod shrink;
pub(crate) mod story;

use crate::options::{Error, Options};
use crate::report::{Exploration, Report};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs every seed of a range with faults; `each` sees each report, in no particular order. `options.workers` says how
/// many seeds run at once, each with one worker. The failures come in order of their seeds.
pub fn explore(seeds: Range<u64>, options: &Options, each: &(dyn Fn(&Report) + Sync)) -> Result<Exploration, Error> {
    options.check()?;
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Exploration::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let report = crate::run(&Options { seed, faults: true, workers: 1, ..options.clone() })?;
            each(&report);
            let mut sum = sum.lock().expect("nobody panics with the sum in hand");
            sum.seeds += 1;
            sum.events += report.events;
            sum.faults += report.faults.len() as u64;
            sum.relaunched += report.relaunched;
            for mark in report.marks {
                *sum.marks.entry(mark).or_default() += 1;
            }
            sum.failures.extend(report.failures);
        }
    };
    let scope = crossbeam::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.workers).map(|_| scope.spawn(|_| work())).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    scope.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let mut sum = sum.into_inner().expect("nobody panics with the sum in hand");
    sum.failures.sort_by_key(|failure| failure.seed);
    Ok(sum)
}
