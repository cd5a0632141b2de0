//! Workloads that nobody recorded: arrivals (Poisson, bursty, by the time of day, closed loop) and laws of sizes
//! (fixed, even, exponential, heavy-tailed, drawn from a table).
//!
//! All draws come from seeded streams with names, one for each purpose, so that one more draw for one purpose changes no
//! other; all arithmetic is the same on every machine.

use super::numbers::{cosine_of_turns, exponential, natural_logarithm};
use crate::batch::{After, Job, TIME_MAX_US};
use crate::record::Digest;
use kaon_kernel::chance::Chance;

/// The most jobs that are generated at once.
pub const JOBS_MAX: u32 = 50_000_000;

/// The stream of `seed` for one purpose.
pub fn stream(seed: u64, purpose: &str) -> Chance {
    let mut digest = Digest::new();
    digest.unsigned(seed);
    digest.text(purpose);
    Chance::new(digest.finish())
}

/// A law that numbers above or equal to zero follow. What the numbers count is said where a law is used.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Always this.
    Fixed(f64),
    /// Evenly between two numbers.
    Uniform(f64, f64),
    /// Exponential with this mean.
    Exponential(f64),
    /// Bounded Pareto: heavy-tailed.
    Pareto {
        /// Nothing is smaller.
        least: f64,
        /// Nothing is larger.
        most: f64,
        /// The exponent of the tail; the smaller, the heavier.
        alpha: f64,
    },
    /// Each entry of a table equally likely.
    Table(Vec<f64>),
}

impl Law {
    fn is_sound(&self) -> bool {
        let is_number = |value: f64| (0.0..=TIME_MAX_US as f64).contains(&value);
        match self {
            Self::Fixed(value) | Self::Exponential(value) => is_number(*value),
            Self::Uniform(least, most) => is_number(*least) && is_number(*most) && least <= most,
            Self::Pareto { least, most, alpha } => {
                *least > 0.0 && is_number(*most) && least <= most && (0.01..=100.0).contains(alpha)
            }
            Self::Table(values) => !values.is_empty() && values.iter().all(|value| is_number(*value)),
        }
    }

    /// Draws a number.
    pub fn draw(&self, chance: &mut Chance) -> f64 {
        match self {
            Self::Fixed(value) => *value,
            Self::Uniform(least, most) => least + (most - least) * chance.unit(),
            Self::Exponential(mean) => -natural_logarithm(1.0 - chance.unit()) * mean,
            Self::Pareto { least, most, alpha } => {
                // The inverse of the distribution function, with the tail cut at the most.
                let cut = exponential(alpha * natural_logarithm(least / most));
                let tail = 1.0 - chance.unit() * (1.0 - cut);
                (least * exponential(-natural_logarithm(tail) / alpha)).min(*most)
            }
            Self::Table(values) => values[chance.below(values.len() as u64) as usize],
        }
    }

    /// The mean of the law.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Fixed(mean) | Self::Exponential(mean) => *mean,
            Self::Uniform(least, most) => (least + most) / 2.0,
            Self::Pareto { least, most, alpha } => {
                let power = |base: f64, exponent: f64| exponential(exponent * natural_logarithm(base));
                let whole = 1.0 - power(least / most, *alpha);
                if (alpha - 1.0).abs() < 1e-9 {
                    least * natural_logarithm(most / least) / whole
                } else {
                    least * alpha / (alpha - 1.0) * (1.0 - power(least / most, alpha - 1.0)) / whole
                }
            }
            Self::Table(values) => values.iter().sum::<f64>() / values.len() as f64,
        }
    }
}

/// When jobs come. Times in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Independently of each other.
    Poisson {
        /// Mean time between two.
        gap_us: f64,
    },
    /// Poisson in bursts, silence between them; both last exponentially long.
    Bursty {
        /// Mean time between two, over all.
        gap_us: f64,
        /// How many times denser a burst is than the mean; above 1.
        density: f64,
        /// Mean length of a burst.
        burst_us: f64,
    },
    /// Poisson with a rate that swings like a cosine; it is lowest at time zero.
    Diurnal {
        /// Mean time between two, over a whole period.
        gap_us: f64,
        /// How far the rate goes up and down, as a part of the mean, 0 to 1.
        swing: f64,
        /// The period; a day has 86,400,000,000.
        period_us: f64,
    },
    /// With gaps of any law.
    Gaps(Law),
    /// So many users; each submits, waits until the job has ended, thinks, and submits again.
    ClosedLoop {
        /// Users.
        users: u32,
        /// Thinking time.
        think_us: Law,
    },
}

/// A workload for a batch pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Jobs in all.
    pub jobs: u32,
    /// When they come.
    pub arrivals: Arrivals,
    /// Run times in microseconds.
    pub run_us: Law,
    /// Processors, rounded down, at least one.
    pub processors: Law,
    /// Planned over actual run time; less than 1 counts as 1.
    pub overestimate: Law,
    /// Tenants, drawn evenly; in a closed loop each user is one. At least one.
    pub tenants: u32,
}

/// A shape that cannot be generated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(&'static str);

/// The jobs of a shape, in the order of submission. The stream names are `arrivals`, `lengths`, `widths`, `plans` and
/// `tenants`.
pub fn jobs(shape: &Shape, seed: u64) -> Result<Vec<Job>, ShapeError> {
    check(shape)?;
    let mut lengths = stream(seed, "lengths");
    let mut widths = stream(seed, "widths");
    let mut plans = stream(seed, "plans");
    let mut tenants = stream(seed, "tenants");
    let submissions = submissions(&shape.arrivals, shape.jobs, seed);
    let make = |(id, (submit_us, after)): (u32, (i64, Option<After>))| {
        let run_us = micros(shape.run_us.draw(&mut lengths)).max(1);
        let planned_us = micros(run_us as f64 * shape.overestimate.draw(&mut plans).max(1.0)).max(run_us);
        let tenant = match shape.arrivals {
            Arrivals::ClosedLoop { users, .. } => id % users,
            _ => tenants.below(u64::from(shape.tenants)) as u32,
        };
        let processors = (shape.processors.draw(&mut widths) as u64).max(1);
        Job { id: u64::from(id), tenant, submit_us, after, processors, run_us, planned_us }
    };
    Ok((0..).zip(submissions).map(make).collect())
}

fn check(shape: &Shape) -> Result<(), ShapeError> {
    let is_gap = |gap: f64| (1.0..=TIME_MAX_US as f64).contains(&gap);
    let is_arrival = match &shape.arrivals {
        Arrivals::Poisson { gap_us } => is_gap(*gap_us),
        Arrivals::Bursty { gap_us, density, burst_us } => {
            is_gap(*gap_us) && *density > 1.0 && *density < 1e6 && is_gap(*burst_us)
        }
        Arrivals::Diurnal { gap_us, swing, period_us } => {
            is_gap(*gap_us) && (0.0..=1.0).contains(swing) && is_gap(*period_us)
        }
        Arrivals::Gaps(law) => law.is_sound(),
        Arrivals::ClosedLoop { users, think_us } => *users > 0 && think_us.is_sound(),
    };
    match () {
        () if shape.jobs > JOBS_MAX => Err(ShapeError("more jobs than can be generated at once")),
        () if shape.tenants == 0 => Err(ShapeError("a workload has at least one tenant")),
        () if !is_arrival => Err(ShapeError("the arrivals have a number outside of its bounds")),
        () if ![&shape.run_us, &shape.processors, &shape.overestimate].iter().all(|law| law.is_sound()) => {
            Err(ShapeError("a law has a number below zero or beyond its bounds"))
        }
        () => Ok(()),
    }
}

/// A time within the bounds of a workload, rounded to the nearest microsecond.
fn micros(time_us: f64) -> i64 {
    (time_us + 0.5).clamp(0.0, TIME_MAX_US as f64) as i64
}

/// The first so many submissions.
fn submissions(arrivals: &Arrivals, count: u32, seed: u64) -> Vec<(i64, Option<After>)> {
    let mut chance = stream(seed, "arrivals");
    let mut now_us = 0.0;
    if let Arrivals::ClosedLoop { users, think_us } = arrivals {
        let turn = |index: u32| {
            let wait_us = micros(think_us.draw(&mut chance));
            match index.checked_sub(*users) {
                None => (wait_us, None),
                Some(job) => (0, Some(After { job, think_us: wait_us })),
            }
        };
        return (0..count).map(turn).collect();
    }
    let mut gap = |mean_us: f64| Law::Exponential(mean_us).draw(&mut chance);
    let mut burst_left_us = 0.0;
    let mut draws = stream(seed, "thinning");
    let next = |_| {
        match arrivals {
            Arrivals::Poisson { gap_us } => now_us += gap(*gap_us),
            Arrivals::Gaps(law) => now_us += law.draw(&mut draws),
            Arrivals::Bursty { gap_us, density, burst_us } => {
                let mut wait_us = gap(gap_us / density);
                while wait_us > burst_left_us {
                    // Silence, then a new burst; what was left of the gap goes on in it.
                    wait_us -= burst_left_us;
                    now_us += burst_left_us + gap(burst_us * (density - 1.0));
                    burst_left_us = gap(*burst_us);
                }
                burst_left_us -= wait_us;
                now_us += wait_us;
            }
            Arrivals::Diurnal { gap_us, swing, period_us } => loop {
                // Thinning: candidates at the highest rate, each kept with the part its time of day has of it.
                now_us += gap(gap_us / (1.0 + swing));
                let rate = 1.0 - swing * cosine_of_turns(now_us / period_us);
                if draws.unit() * (1.0 + swing) < rate {
                    break;
                }
            },
            Arrivals::ClosedLoop { .. } => unreachable!("handled above"),
        }
        (micros(now_us), None)
    };
    (0..count).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: u32 = 40_000;

    fn shape(arrivals: Arrivals) -> Shape {
        Shape {
            jobs: COUNT,
            arrivals,
            run_us: Law::Exponential(5e6),
            processors: Law::Uniform(1.0, 9.0),
            overestimate: Law::Fixed(1.5),
            tenants: 3,
        }
    }

    #[test]
    fn the_rates_are_the_ones_asked_for() {
        let gap_us = 1e6;
        let all = [
            Arrivals::Poisson { gap_us },
            Arrivals::Bursty { gap_us, density: 5.0, burst_us: 30e6 },
            Arrivals::Diurnal { gap_us, swing: 0.8, period_us: 3600e6 },
            Arrivals::Gaps(Law::Uniform(0.0, 2e6)),
        ];
        for arrivals in all {
            let jobs = jobs(&shape(arrivals.clone()), 5).expect("sound");
            let last = jobs.last().expect("many").submit_us as f64;
            assert!((last / f64::from(COUNT) / gap_us - 1.0).abs() < 0.1, "{arrivals:?}: {last}");
            assert!(jobs.is_sorted_by_key(|job| job.submit_us));
        }
    }

    #[test]
    fn bursts_are_denser_and_nights_are_quieter() {
        let busiest = |arrivals| {
            let jobs = jobs(&shape(arrivals), 5).expect("sound");
            let mut counts = vec![0u32; 2000];
            jobs.iter()
                .filter(|job| job.submit_us < 36_000_000_000)
                .for_each(|job| counts[job.submit_us as usize / 18_000_000] += 1);
            let variance = counts.iter().map(|count| (f64::from(*count) - 18.0).powi(2)).sum::<f64>() / 2000.0;
            (variance / 18.0, counts)
        };
        assert!(busiest(Arrivals::Poisson { gap_us: 1e6 }).0 < 1.2);
        assert!(busiest(Arrivals::Bursty { gap_us: 1e6, density: 5.0, burst_us: 30e6 }).0 > 10.0);
        let (_, counts) = busiest(Arrivals::Diurnal { gap_us: 1e6, swing: 0.8, period_us: 3600e6 });
        let at = |part: usize| counts.chunks(200).map(|hour| hour[part..part + 20].iter().sum::<u32>()).sum::<u32>();
        assert!(at(0) * 4 < at(90), "{} at night, {} at noon", at(0), at(90));
    }

    #[test]
    fn laws_have_the_means_they_say() {
        let laws = [
            Law::Fixed(3.0),
            Law::Uniform(1.0, 5.0),
            Law::Exponential(7.0),
            Law::Pareto { least: 1.0, most: 1000.0, alpha: 1.1 },
            Law::Pareto { least: 2.0, most: 50.0, alpha: 1.0 },
            Law::Table(vec![1.0, 1.0, 4.0]),
        ];
        for law in laws {
            let mut chance = stream(3, "laws");
            let mean = (0..200_000).map(|_| law.draw(&mut chance)).sum::<f64>() / 200_000.0;
            assert!((mean / law.mean() - 1.0).abs() < 0.05, "{law:?}: {mean} for {}", law.mean());
        }
    }

    #[test]
    fn one_stream_does_not_disturb_another() {
        let plain = jobs(&shape(Arrivals::Poisson { gap_us: 1e6 }), 5).expect("sound");
        let other = Shape { run_us: Law::Fixed(1e6), ..shape(Arrivals::Poisson { gap_us: 1e6 }) };
        let other = jobs(&other, 5).expect("sound");
        assert!(
            plain
                .iter()
                .zip(&other)
                .all(|(a, b)| (a.submit_us, a.processors, a.tenant) == (b.submit_us, b.processors, b.tenant))
        );
        assert_ne!(plain, jobs(&shape(Arrivals::Poisson { gap_us: 1e6 }), 6).expect("sound"));
    }

    #[test]
    fn a_closed_loop_never_has_more_jobs_than_users() {
        let closed = Arrivals::ClosedLoop { users: 7, think_us: Law::Exponential(1e6) };
        let jobs = jobs(&Shape { jobs: 2000, ..shape(closed) }, 5).expect("sound");
        assert_eq!(jobs.iter().filter(|job| job.after.is_none()).count(), 7);
        let pool = crate::batch::Pool { processors: 9, unit: crate::batch::Unit::Processor };
        let policy = "fcfs".parse().expect("a policy");
        let records = crate::batch::run(pool, &jobs, policy, &crate::batch::Parameters::default()).expect("sound");
        let mut changes: Vec<(i64, i32)> = Vec::new();
        for task in &records.tasks {
            changes.extend([(task.submit_us, 1), (task.end_us.expect("ended"), -1)]);
        }
        changes.sort_unstable();
        let level = |level: &mut i32, change: &(i64, i32)| {
            *level += change.1;
            Some(*level)
        };
        assert_eq!(changes.iter().scan(0, level).max(), Some(7));
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        let gap = |gap_us| shape(Arrivals::Poisson { gap_us });
        for wrong in
            [gap(0.0), gap(f64::NAN), Shape { tenants: 0, ..gap(1.0) }, Shape { run_us: Law::Fixed(-1.0), ..gap(1.0) }]
        {
            assert!(jobs(&wrong, 1).is_err(), "{wrong:?}");
        }
    }
}
