//! The competitive equilibrium of equal incomes for linear demands (policies 1.5; Varian 1974).
//!
//! Tasks `x_u` maximise the sum of `w_u ln x_u` within the capacities. In the dual, prices `p_r` of resources are such that
//! `x_u = w_u / sum of p_r d_ur`, and a resource that is not exhausted is free. There are few resources and maybe many
//! tenants, so the prices are what is solved for: a primal-dual interior point method with one small linear system a
//! step. What it gives is checked by complementary slackness before anybody sees it.
//!
//! Where the equilibrium is a set of fractions it is also given exactly, when one of these shapes is found to meet all
//! conditions: one resource alone is exhausted; as many are exhausted as there are tenants.

use super::fraction::{Fraction, Number};
use super::problem::{Problem, Refused, Tenant};
use super::solve::solve;

/// How far prices and slacks may be from the conditions, capacities and the sum of incomes being 1.
pub const RELATIVE_ERROR_MAX: f64 = 1e-9;

/// Steps of the solver; some 30 are usual.
const STEPS_MAX: usize = 200;

/// An equilibrium.
#[derive(Clone, Debug, PartialEq)]
pub struct Equilibrium {
    /// Tasks of each tenant. None for one that needs what there is nothing of.
    pub tasks: Vec<f64>,
    /// The price of each resource; all that is exhausted costs the sum of the weights.
    pub prices: Vec<f64>,
    /// The tasks exactly, when they were recognised.
    pub exact: Option<Vec<Fraction>>,
}

/// Finds the equilibrium to [`RELATIVE_ERROR_MAX`]. Costs some 30 steps of tenants times resources squared.
///
/// # Errors
/// A problem that breaks a bound, or a tenant with a bound of tasks.
pub fn equilibrium(problem: &Problem) -> Result<Equilibrium, Refused> {
    problem.check()?;
    if let Some(tenant) = problem.tenants.iter().find(|tenant| tenant.tasks_max.is_some()) {
        return Err(Refused::Bounded(tenant.name.clone()));
    }
    let used = |resource: &usize| problem.capacity[*resource] > 0;
    let resources = (0..problem.capacity.len()).filter(used).collect::<Vec<_>>();
    let can_run = |tenant: &Tenant| {
        tenant.demand.iter().zip(&problem.capacity).all(|(&need, &capacity)| need == 0 || capacity > 0)
    };
    let who = (0..problem.tenants.len()).filter(|&at| can_run(&problem.tenants[at])).collect::<Vec<_>>();
    let mut found =
        Equilibrium { tasks: vec![0.0; problem.tenants.len()], prices: vec![0.0; problem.capacity.len()], exact: None };
    if who.is_empty() {
        found.exact = Some(vec![Fraction::zero(); problem.tenants.len()]);
        return Ok(found);
    }
    let part = |&at: &usize| {
        let demand = &problem.tenants[at].demand;
        resources.iter().map(|&one| demand[one] as f64 / problem.capacity[one] as f64).collect::<Vec<_>>()
    };
    let rows = who.iter().map(part).collect::<Vec<_>>();
    let weights = who.iter().map(|&at| problem.tenants[at].weight as f64).collect::<Vec<_>>();
    let market = Market::clear(&rows, &weights).ok_or(Refused::Unsolved)?;
    for (&at, &tasks) in who.iter().zip(&market.bundles) {
        found.tasks[at] = tasks;
    }
    for (&resource, &price) in resources.iter().zip(&market.prices) {
        found.prices[resource] = price / problem.capacity[resource] as f64;
    }
    if let Some(exact) = exact(problem, &resources, &who, &market) {
        // Where a resource is exhausted and yet free, the solver comes no nearer than the root of what rounding leaves.
        let mut all = vec![Fraction::zero(); problem.tenants.len()];
        who.iter().zip(exact.tasks).for_each(|(&at, tasks)| all[at] = tasks);
        found.tasks = all.iter().map(|tasks| tasks.float()).collect();
        found.prices = vec![0.0; problem.capacity.len()];
        exact.prices.iter().for_each(|(resource, price)| found.prices[*resource] = price.float());
        found.exact = Some(all);
    }
    Ok(found)
}

/// A market of resources of which there is 1 each.
#[derive(Clone, Debug)]
pub(super) struct Market {
    /// How often each buyer gets his bundle.
    pub(super) bundles: Vec<f64>,
    /// Of each resource; their sum over exhausted ones is that of the weights.
    pub(super) prices: Vec<f64>,
    /// What is left of each resource.
    left: Vec<f64>,
}

impl Market {
    /// Clears the market for these bundles, none of them empty, and incomes above zero. None when the conditions are not
    /// met to [`RELATIVE_ERROR_MAX`].
    pub(super) fn clear(rows: &[Vec<f64>], weights: &[f64]) -> Option<Self> {
        let count = rows.first()?.len();
        let income = weights.iter().sum::<f64>();
        let weights = weights.iter().map(|weight| weight / income).collect::<Vec<_>>();
        let mut point = Point { prices: vec![1.0 / count as f64; count], slacks: vec![0.5; count] };
        let mut best = (f64::INFINITY, point.clone());
        for _ in 0..STEPS_MAX {
            let error = point.error(rows, &weights);
            if error < best.0 {
                best = (error, point.clone());
            }
            let gap = point.gap();
            if gap < 1e-22 && error < 1e-13 {
                break;
            }
            let Some(next) = point.step(rows, &weights, 0.1 * gap) else { break };
            point = next;
        }
        let point = best.1;
        let bundles = point.bundles(rows, &weights);
        let left = point.left(rows, &weights);
        let fine = left.iter().zip(&point.prices).all(|(&left, &price)| {
            left > -RELATIVE_ERROR_MAX && price >= 0.0 && (price * left).abs() < RELATIVE_ERROR_MAX
        });
        let is_fine = fine && bundles.iter().all(|bundle| bundle.is_finite());
        is_fine.then(|| Self { bundles, prices: point.prices.iter().map(|price| price * income).collect(), left })
    }
}

/// Where the solver is: prices and slacks, all above zero.
#[derive(Clone, Debug)]
struct Point {
    prices: Vec<f64>,
    slacks: Vec<f64>,
}

impl Point {
    fn bundles(&self, rows: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
        let cost = |row: &[f64]| row.iter().zip(&self.prices).map(|(part, price)| part * price).sum::<f64>();
        rows.iter().zip(weights).map(|(row, weight)| weight / cost(row)).collect()
    }

    /// What is left of each resource at these prices; below zero for what is sought too much.
    fn left(&self, rows: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
        let mut left = vec![1.0; self.prices.len()];
        for (row, bundle) in rows.iter().zip(self.bundles(rows, weights)) {
            left.iter_mut().zip(row).for_each(|(left, part)| *left -= bundle * part);
        }
        left
    }

    fn gap(&self) -> f64 {
        let products = self.prices.iter().zip(&self.slacks).map(|(price, slack)| price * slack);
        products.sum::<f64>() / self.prices.len() as f64
    }

    /// The largest violation of any condition.
    fn error(&self, rows: &[Vec<f64>], weights: &[f64]) -> f64 {
        let left = self.left(rows, weights);
        let off = left.iter().zip(&self.slacks).map(|(left, slack)| (left - slack).abs());
        off.chain([self.gap()]).fold(0.0, f64::max)
    }

    /// How far from the point of the central path with this gap.
    fn distance(&self, rows: &[Vec<f64>], weights: &[f64], gap: f64) -> f64 {
        let left = self.left(rows, weights);
        let off = left.iter().zip(&self.slacks).map(|(left, slack)| left - slack);
        let products = self.prices.iter().zip(&self.slacks).map(|(price, slack)| price * slack - gap);
        off.chain(products).map(|one| one * one).sum::<f64>()
    }

    /// A damped Newton step towards the central path; none when rounding lets none help.
    fn step(&self, rows: &[Vec<f64>], weights: &[f64], gap: f64) -> Option<Self> {
        let count = self.prices.len();
        let left = self.left(rows, weights);
        let mut curve = vec![vec![0.0; count]; count];
        for ((row, bundle), weight) in rows.iter().zip(self.bundles(rows, weights)).zip(weights) {
            let factor = bundle * bundle / weight;
            for (one, line) in curve.iter_mut().enumerate() {
                line.iter_mut().zip(row).for_each(|(cell, part)| *cell += factor * row[one] * part);
            }
        }
        for (at, line) in curve.iter_mut().enumerate() {
            line[at] += self.slacks[at] / self.prices[at];
        }
        let right = (0..count).map(|at| gap / self.prices[at] - left[at]).collect();
        let prices = solve::<f64>(curve, right)?;
        let slack =
            |at: usize| gap / self.prices[at] - self.slacks[at] - self.slacks[at] / self.prices[at] * prices[at];
        let slacks = (0..count).map(slack).collect::<Vec<_>>();
        let mut length = 1.0_f64;
        for (now, change) in self.prices.iter().zip(&prices).chain(self.slacks.iter().zip(&slacks)) {
            if *change < 0.0 {
                length = length.min(-0.99 * now / change);
            }
        }
        let distance = self.distance(rows, weights, gap);
        for _ in 0..40 {
            let moved = |from: &[f64], by: &[f64]| from.iter().zip(by).map(|(one, step)| one + length * step).collect();
            let next = Self { prices: moved(&self.prices, &prices), slacks: moved(&self.slacks, &slacks) };
            if next.distance(rows, weights, gap) < distance {
                return Some(next);
            }
            length /= 2.0;
        }
        None
    }
}

/// An equilibrium in fractions: the tasks of those who can run, and each price that is not zero with its resource.
struct Exact {
    tasks: Vec<Fraction>,
    prices: Vec<(usize, Fraction)>,
}

/// The equilibrium of `who` in fractions, from the resources that may be exhausted.
fn exact(problem: &Problem, resources: &[usize], who: &[usize], market: &Market) -> Option<Exact> {
    let alone = resources.iter().find_map(|&one| exact_alone(problem, one, who));
    if alone.is_some() {
        return alone;
    }
    if who.len() == 2 {
        let pairs = resources.iter().flat_map(|&one| resources.iter().map(move |&two| [one, two]));
        return pairs.filter(|[one, two]| one < two).find_map(|pair| exact_square(problem, &pair, who));
    }
    let is_paid = |at: &usize| market.prices[*at] > market.left[*at];
    let exhausted = (0..resources.len()).filter(is_paid).map(|at| resources[at]).collect::<Vec<_>>();
    (exhausted.len() == who.len()).then(|| exact_square(problem, &exhausted, who)).flatten()
}

/// Only one resource has a price, and everybody needs it: it is shared by weight.
fn exact_alone(problem: &Problem, resource: usize, who: &[usize]) -> Option<Exact> {
    let weights = who.iter().map(|&at| problem.tenants[at].weight).try_fold(0, u64::checked_add)?;
    let tasks = who.iter().map(|&at| {
        let tenant = &problem.tenants[at];
        let part = Fraction::ratio(tenant.weight, weights).ok()?;
        part.times(Fraction::ratio(problem.capacity[resource], tenant.demand[resource]).ok()?).ok()
    });
    let tasks = tasks.collect::<Option<Vec<_>>>()?;
    let price = Fraction::ratio(weights, problem.capacity[resource]).ok()?;
    is_within(problem, who, &tasks)?.then(|| Exact { tasks, prices: vec![(resource, price)] })
}

/// These resources are exhausted, as many as there are tenants.
fn exact_square(problem: &Problem, exhausted: &[usize], who: &[usize]) -> Option<Exact> {
    let whole = |amount: u64| Fraction::ratio(amount, 1).ok();
    let need = |at: usize, resource: usize| whole(problem.tenants[at].demand[resource]);
    let line = |&resource: &usize| who.iter().map(|&at| need(at, resource)).collect::<Option<Vec<_>>>();
    let rows = exhausted.iter().map(line).collect::<Option<Vec<_>>>()?;
    let right = exhausted.iter().map(|&resource| whole(problem.capacity[resource])).collect::<Option<Vec<_>>>()?;
    let tasks = solve(rows, right)?;
    if tasks.iter().any(|tasks| *tasks <= Fraction::zero()) || !is_within(problem, who, &tasks)? {
        return None;
    }
    // The prices at which everybody spends his income on just that.
    let line = |&at: &usize| exhausted.iter().map(|&resource| need(at, resource)).collect::<Option<Vec<_>>>();
    let rows = who.iter().map(line).collect::<Option<Vec<_>>>()?;
    let spent = |(&at, tasks): (&usize, &Fraction)| whole(problem.tenants[at].weight)?.over(*tasks).ok();
    let right = who.iter().zip(&tasks).map(spent).collect::<Option<Vec<_>>>()?;
    let prices = solve(rows, right)?;
    let are_prices = prices.iter().all(|price| *price >= Fraction::zero());
    are_prices.then(|| Exact { tasks, prices: exhausted.iter().copied().zip(prices).collect() })
}

/// Whether no resource is asked for beyond its capacity; none when that can't be said in 128 bits.
fn is_within(problem: &Problem, who: &[usize], tasks: &[Fraction]) -> Option<bool> {
    for (resource, &capacity) in problem.capacity.iter().enumerate() {
        let mut sum = Fraction::zero();
        for (&at, tasks) in who.iter().zip(tasks) {
            let need = Fraction::ratio(problem.tenants[at].demand[resource], 1).ok()?;
            sum = sum.plus(tasks.times(need).ok()?).ok()?;
        }
        if sum > Fraction::ratio(capacity, 1).ok()? {
            return Some(false);
        }
    }
    Some(true)
}
