//! Division without whole tasks: progressive filling, all shares rising at one rate (policies 1.1, 1.2, 1.4, 1.6).

use super::ceei::equilibrium;
use super::fraction::Number;
use super::problem::{Problem, Refused, Rule};

/// Who gets how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Division<N> {
    /// Tasks of each tenant, in the order of the problem.
    pub tasks: Vec<N>,
    /// What is left of each resource; for the static partition, what would be left if nobody owned anything.
    pub left: Vec<N>,
}

/// Divides by a rule. Costs at most tenants plus resources steps of tenants times resources each; strict priority and
/// quota once for each class or phase.
///
/// # Errors
/// A problem that breaks a bound, a rule that does not divide, or a fraction that outgrows 128 bits.
pub fn divide<N: Number>(problem: &Problem, rule: &Rule) -> Result<Division<N>, Refused> {
    problem.check()?;
    let mut filling = Filling::new(problem)?;
    let everybody = (0..problem.tenants.len()).collect::<Vec<_>>();
    match rule {
        Rule::Ceei => {
            let found = equilibrium(problem)?;
            for (at, near) in found.tasks.iter().enumerate() {
                let exact = found.exact.as_ref().map(|tasks| tasks[at]);
                filling.give(at, N::pick(exact, *near).ok_or(Refused::Irrational)?)?;
            }
        }
        Rule::StaticPartition => {
            for at in everybody {
                let tenant = &problem.tenants[at];
                let mut most = filling.most[at];
                for (resource, &need) in tenant.demand.iter().enumerate().filter(|(_, need)| **need > 0) {
                    let owned = tenant.owned.get(resource).copied().unwrap_or(0);
                    most = Some(least(most, N::ratio(owned, need)?));
                }
                filling.give(at, most.unwrap_or(N::zero()))?;
            }
        }
        rule => filling.fill(rule, &everybody)?,
    }
    Ok(Division { tasks: filling.tasks, left: filling.left })
}

fn least<N: Number>(one: Option<N>, other: N) -> N {
    match one {
        Some(one) if one < other => one,
        _ => other,
    }
}

struct Filling<'a, N> {
    problem: &'a Problem,
    tasks: Vec<N>,
    /// Where each tenant stops, if it does.
    most: Vec<Option<N>>,
    left: Vec<N>,
}

impl<'a, N: Number> Filling<'a, N> {
    fn new(problem: &'a Problem) -> Result<Self, Refused> {
        let left = problem.capacity.iter().map(|&amount| N::ratio(amount, 1)).collect::<Result<_, _>>()?;
        let most = problem.tenants.iter().map(|tenant| tenant.tasks_max.map(|tasks| N::ratio(tasks, 1)).transpose());
        let most = most.collect::<Result<_, _>>()?;
        Ok(Self { problem, tasks: vec![N::zero(); problem.tenants.len()], most, left })
    }

    fn give(&mut self, at: usize, tasks: N) -> Result<(), Refused> {
        self.tasks[at] = self.tasks[at].plus(tasks)?;
        for (left, &need) in self.left.iter_mut().zip(&self.problem.tenants[at].demand) {
            if need > 0 {
                *left = left.minus(tasks.times(N::ratio(need, 1)?)?)?;
            }
        }
        Ok(())
    }

    /// Raises these tenants by a rule, from what they have.
    fn fill(&mut self, rule: &Rule, who: &[usize]) -> Result<(), Refused> {
        match rule {
            Rule::StrictPriority(inside) => {
                let mut classes = who.iter().map(|&at| self.problem.tenants[at].class).collect::<Vec<_>>();
                classes.sort_unstable();
                classes.dedup();
                for class in classes.into_iter().rev() {
                    let of_class = |at: &&usize| self.problem.tenants[**at].class == class;
                    let members = who.iter().filter(of_class).copied().collect::<Vec<_>>();
                    self.fill(inside, &members)?;
                }
                Ok(())
            }
            Rule::Quota(inside) => self.fill_quota(inside, who),
            Rule::MaxMin { .. } | Rule::Drf | Rule::Asset => self.raise(rule, who),
            other => Err(Refused::Misplaced(other.word())),
        }
    }

    /// Guarantees first, then the rest, both below the limits.
    fn fill_quota(&mut self, inside: &Rule, who: &[usize]) -> Result<(), Refused> {
        let problem = self.problem;
        let before = self.most.clone();
        let mut promised = Vec::new();
        for &at in who {
            let tenant = &problem.tenants[at];
            let per_task = |row: &[u64], resource: usize| N::ratio(row[resource], tenant.demand[resource]);
            let needed = || (0..tenant.demand.len()).filter(|&resource| tenant.demand[resource] > 0);
            for resource in needed().filter(|_| !tenant.limit.is_empty()) {
                self.most[at] = Some(least(self.most[at], per_task(&tenant.limit, resource)?));
            }
            let mut goal = N::zero();
            for resource in needed().filter(|_| !tenant.guarantee.is_empty()) {
                let tasks = per_task(&tenant.guarantee, resource)?;
                goal = if tasks > goal { tasks } else { goal };
            }
            if goal > N::zero() {
                promised.push((at, least(self.most[at], goal)));
            }
        }
        let limits = self.most.clone();
        promised.iter().for_each(|&(at, goal)| self.most[at] = Some(goal));
        let first = promised.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        self.fill(inside, &first)?;
        self.most = limits;
        self.fill(inside, who)?;
        self.most = before;
        Ok(())
    }

    /// All shares of these tenants rise at one rate, the lowest first; who lacks a resource or has all its tasks stays
    /// behind.
    fn raise(&mut self, rule: &Rule, who: &[usize]) -> Result<(), Refused> {
        let problem = self.problem;
        let needs = |at: usize, resource: usize| problem.tenants[at].demand[resource] > 0;
        let mut rising = Vec::new();
        let mut waiting = Vec::new();
        for &at in who {
            let share: N = problem.share(rule, &problem.tenants[at])?;
            let lacks = (0..self.left.len()).any(|resource| needs(at, resource) && self.left[resource] <= N::zero());
            if !lacks && self.most[at].is_none_or(|most| self.tasks[at] < most) {
                waiting.push((self.tasks[at].times(share)?, at, N::ratio(1, 1)?.over(share)?));
            }
        }
        let Some(mut level) = waiting.iter().map(|(share, ..)| *share).reduce(|one, two| least(Some(one), two)) else {
            return Ok(());
        };
        while !rising.is_empty() || !waiting.is_empty() {
            if rising.is_empty() {
                level =
                    waiting.iter().map(|(share, ..)| *share).reduce(|one, two| least(Some(one), two)).unwrap_or(level);
            }
            let joins = |(share, at, rate): &(N, usize, N)| (*share <= level).then_some((*at, *rate));
            rising.extend(waiting.iter().filter_map(joins));
            waiting.retain(|(share, ..)| *share > level);
            // How far until the first event of each kind.
            let mut rates = vec![N::zero(); self.left.len()];
            for &(at, rate) in &rising {
                for (resource, sum) in rates.iter_mut().enumerate().filter(|(resource, _)| needs(at, *resource)) {
                    *sum = sum.plus(rate.times(N::ratio(problem.tenants[at].demand[resource], 1)?)?)?;
                }
            }
            let mut ends = Vec::with_capacity(rates.len());
            for (left, rate) in self.left.iter().zip(&rates) {
                ends.push(if *rate > N::zero() { Some(left.over(*rate)?) } else { None });
            }
            let mut stops = Vec::with_capacity(rising.len());
            for &(at, rate) in &rising {
                let stop = self.most[at].map(|most| most.minus(self.tasks[at])?.over(rate));
                stops.push(stop.transpose()?);
            }
            let mut joins = Vec::with_capacity(waiting.len());
            for (share, ..) in &waiting {
                joins.push(Some(share.minus(level)?));
            }
            let events = ends.iter().chain(&stops).chain(&joins).flatten().copied();
            let Some(step) = events.reduce(|one, two| least(Some(one), two)) else { break };
            for &(at, rate) in &rising {
                self.give(at, rate.times(step)?)?;
            }
            // The waiting whose time has come rise to the level exactly, which floats may miss by a bit.
            let next = joins.iter().position(|join| *join == Some(step)).map(|at| waiting[at].0);
            level = match next {
                Some(share) => share,
                None => level.plus(step)?,
            };
            for (left, end) in self.left.iter_mut().zip(&ends) {
                if *end == Some(step) {
                    *left = N::zero();
                }
            }
            let mut stops = stops.into_iter();
            let left = &self.left;
            rising.retain(|&(at, _)| {
                let is_done = stops.next().flatten() == Some(step);
                let lacks = (0..left.len()).any(|resource| needs(at, resource) && left[resource] <= N::zero());
                !is_done && !lacks
            });
            waiting.retain(|&(_, at, _)| {
                !(0..left.len()).any(|resource| needs(at, resource) && left[resource] <= N::zero())
            });
        }
        Ok(())
    }
}
