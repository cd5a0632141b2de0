//! The model of resource offers (Hindman et al., NSDI 2011, table 2).
//!
//! The slots that a framework is entitled to are held by tasks of others, which are at a random point of their lives; each
//! slot comes to the framework when the task on it ends. A rigid framework starts when it has all of them, an elastic one
//! uses each as it comes; its job needs `beta` mean task lengths on all slots.
//!
//! Long tasks among short ones fill nodes: [`filled`].

use super::Estimate;
use crate::workload::generate::{Law, stream};

/// What is measured, in units of the mean task length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Until the framework has all of its slots.
    pub ramp_up: Estimate,
    /// Until the job of an elastic framework is done.
    pub elastic: Estimate,
    /// Until the job of a rigid framework is done.
    pub rigid: Estimate,
}

/// Runs the model with `slots` slots, tasks of constant or exponential lengths, `seeds` times. At least one slot.
pub fn ramp(slots: u32, beta: f64, is_exponential: bool, seeds: u32) -> Ramp {
    let slots = slots.max(1);
    let (mut ramp_up, mut elastic, mut rigid) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=u64::from(seeds) {
        let mut chance = stream(seed, "residual lives");
        // What is left of a constant length at a random point is even; of an exponential one it is the law itself.
        let residual = if is_exponential { Law::Exponential(1.0) } else { Law::Uniform(0.0, 1.0) };
        let mut free: Vec<f64> = (0..slots).map(|_| residual.draw(&mut chance)).collect();
        free.sort_by(f64::total_cmp);
        let all = free[free.len() - 1];
        ramp_up.push(all);
        rigid.push(all + beta);
        // The work is done when the areas under the slots add up to it.
        let work = beta * f64::from(slots);
        let (mut done, mut at) = (0.0, 0.0);
        for (held, next) in free.iter().enumerate() {
            let more = held as f64 * (next - at);
            if done + more >= work {
                break;
            }
            done += more;
            at = *next;
        }
        let held = free.partition_point(|from| *from <= at).max(1);
        elastic.push(at + (work - done) / held as f64);
    }
    Ramp { ramp_up: Estimate::of(&ramp_up), elastic: Estimate::of(&elastic), rigid: Estimate::of(&rigid) }
}

/// How long a long task is, in mean lengths of a short one.
const LONG: f64 = 10.0;
/// A node is watched for so many mean lengths of a long task, after a tenth of it as warm-up.
const WATCHED: f64 = 2000.0;

/// The part of the time in which every slot of a node holds a long task, when the node is always full and a part
/// `long` of the running tasks is long; with exponential lengths. At least one slot, at least two seeds.
pub fn filled(slots: u32, long: f64, seeds: u32) -> Estimate {
    // Long tasks run longer, so fewer of those that start are long.
    let starting = long / (long + LONG * (1.0 - long));
    let (begin, end) = (WATCHED * LONG / 10.0, WATCHED * LONG * 1.1);
    let part = |seed: u64| {
        let mut chance = stream(seed, "tasks of a node");
        let mut next = || {
            let is_long = chance.unit() < starting;
            (is_long, Law::Exponential(if is_long { LONG } else { 1.0 }).draw(&mut chance))
        };
        let mut running: Vec<(bool, f64)> = (0..slots.max(1)).map(|_| next()).collect();
        let (mut now, mut full) = (0.0, 0.0);
        while now < end {
            let first = running.iter().enumerate().min_by(|(_, one), (_, other)| one.1.total_cmp(&other.1));
            let Some((slot, &(_, until))) = first else { break };
            if running.iter().all(|(is_long, _)| *is_long) {
                full += (until.min(end) - f64::max(now, begin)).max(0.0);
            }
            now = until;
            let (is_long, length) = next();
            running[slot] = (is_long, now + length);
        }
        full / (end - begin)
    };
    Estimate::of(&(1..=u64::from(seeds)).map(part).collect::<Vec<_>>())
}
