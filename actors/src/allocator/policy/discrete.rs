//! Division in whole tasks, one by one (policies 1.1, 1.2, 1.4, 1.6).

use super::ceei::equilibrium;
use super::fraction::{Fraction, Number};
use super::problem::{Problem, Refused, Rule};
use kaon_kernel::chance::Chance;

/// So many tasks are handed out in one go.
pub const TASKS_MAX: u64 = 1 << 20;

/// What happens when the next task of the tenant that is next does not fit in what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unfit {
    /// Everything stops: the pseudo-code of the DRF paper.
    Stop,
    /// The tenant is passed over from then on.
    #[default]
    Skip,
}

/// Who was given a task, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Tasks of each tenant, in the order of the problem.
    pub tasks: Vec<u64>,
    /// The tenant of each task that was handed out one by one. For the equilibrium of incomes only what filled up after
    /// rounding down.
    pub picks: Vec<usize>,
}

/// Hands out whole tasks by a rule: to the tenant with the smallest share, then the fewest tasks, then the smallest name.
/// Only [`Rule::Lottery`] draws from `chance`, once for each task. Costs tenants times resources for each task.
///
/// # Errors
/// As [`super::divide`]; besides, more than [`TASKS_MAX`] tasks.
pub fn serve(problem: &Problem, rule: &Rule, unfit: Unfit, chance: &mut Chance) -> Result<Service, Refused> {
    problem.check()?;
    let mut counter = Counter {
        problem,
        left: problem.capacity.clone(),
        tasks: vec![0; problem.tenants.len()],
        shares: vec![None; problem.tenants.len()],
    };
    let mut rule = rule;
    if *rule == Rule::Ceei {
        let found = equilibrium(problem)?;
        for (at, near) in found.tasks.iter().enumerate() {
            // A float a little below a whole number that it stands for must not lose a task.
            let rounded = (near + 1e-9 * near.abs().max(1.0)).floor() as u64;
            let tasks = found.exact.as_ref().and_then(|tasks| tasks[at].floor()).unwrap_or(rounded);
            for _ in 0..tasks.min(TASKS_MAX) {
                if counter.fits(rule, at) {
                    counter.take(at);
                }
            }
        }
        rule = &Rule::Drf;
    }
    let mut picks = Vec::new();
    let mut waiting = (0..problem.tenants.len()).collect::<Vec<_>>();
    loop {
        waiting.retain(|&at| counter.may(rule, at));
        if waiting.is_empty() {
            break;
        }
        let at = counter.pick(rule, &waiting, chance)?;
        if counter.fits(rule, at) {
            counter.take(at);
            picks.push(at);
        } else if unfit == Unfit::Stop {
            break;
        } else {
            waiting.retain(|&other| other != at);
        }
        if picks.len() as u64 > TASKS_MAX {
            return Err(Refused::TooManyTasks);
        }
    }
    Ok(Service { tasks: counter.tasks, picks })
}

struct Counter<'a> {
    problem: &'a Problem,
    left: Vec<u64>,
    tasks: Vec<u64>,
    /// Of one task of each tenant, once asked for.
    shares: Vec<Option<Fraction>>,
}

impl Counter<'_> {
    /// Whether a tenant wants a task and may have one, room aside.
    fn may(&self, rule: &Rule, at: usize) -> bool {
        let tenant = &self.problem.tenants[at];
        let next = u128::from(self.tasks[at]) + 1;
        let within = |(limit, need): (&u64, &u64)| *need == 0 || next * u128::from(*need) <= u128::from(*limit);
        let in_limits = match rule {
            Rule::Quota(inside) => tenant.limit.iter().zip(&tenant.demand).all(within) && self.may(inside, at),
            Rule::StrictPriority(inside) => self.may(inside, at),
            _ => true,
        };
        in_limits && tenant.tasks_max.is_none_or(|most| self.tasks[at] < most)
    }

    fn fits(&self, rule: &Rule, at: usize) -> bool {
        let tenant = &self.problem.tenants[at];
        match rule {
            Rule::StaticPartition => {
                let next = u128::from(self.tasks[at]) + 1;
                let owned = |resource: usize| tenant.owned.get(resource).copied().unwrap_or(0);
                let fits = |(resource, need): (usize, &u64)| next * u128::from(*need) <= u128::from(owned(resource));
                tenant.demand.iter().enumerate().all(fits)
            }
            _ => tenant.demand.iter().zip(&self.left).all(|(need, left)| need <= left),
        }
    }

    fn take(&mut self, at: usize) {
        self.tasks[at] += 1;
        for (left, need) in self.left.iter_mut().zip(&self.problem.tenants[at].demand) {
            // What is owned may be more than what is shared.
            *left = left.saturating_sub(*need);
        }
    }

    /// Which of these is next.
    fn pick(&mut self, rule: &Rule, who: &[usize], chance: &mut Chance) -> Result<usize, Refused> {
        let tenants = &self.problem.tenants;
        match rule {
            Rule::StrictPriority(inside) => {
                let highest = who.iter().map(|&at| tenants[at].class).max();
                let members = who.iter().filter(|&&at| Some(tenants[at].class) == highest).copied().collect::<Vec<_>>();
                self.pick(inside, &members, chance)
            }
            Rule::Quota(inside) => {
                let is_below = |at: &&usize| {
                    let (tenant, tasks) = (&tenants[**at], u128::from(self.tasks[**at]));
                    let mut rows = tenant.guarantee.iter().zip(&tenant.demand);
                    rows.any(|(promised, need)| *need > 0 && tasks * u128::from(*need) < u128::from(*promised))
                };
                let below = who.iter().filter(is_below).copied().collect::<Vec<_>>();
                self.pick(inside, if below.is_empty() { who } else { &below }, chance)
            }
            Rule::Lottery => {
                let tickets = who.iter().map(|&at| tenants[at].weight).fold(0, u64::saturating_add);
                let mut drawn = chance.below(tickets);
                for &at in who {
                    match drawn.checked_sub(tenants[at].weight) {
                        Some(rest) => drawn = rest,
                        None => return Ok(at),
                    }
                }
                Ok(who[who.len() - 1])
            }
            Rule::StaticPartition => {
                let first = who.iter().copied().min_by_key(|&at| (self.tasks[at], &tenants[at].name));
                Ok(first.unwrap_or(who[0]))
            }
            rule => {
                let mut best: Option<(Fraction, usize)> = None;
                for &at in who {
                    let of_one = match self.shares[at] {
                        Some(share) => share,
                        None => self.problem.share(rule, &tenants[at])?,
                    };
                    self.shares[at] = Some(of_one);
                    let share = of_one.times(Fraction::ratio(self.tasks[at], 1)?)?;
                    let is_before = |(other, rival): (Fraction, usize)| {
                        let last = |at: usize| (self.tasks[at], &tenants[at].name, at);
                        (share, last(at)) < (other, last(rival))
                    };
                    if best.is_none_or(is_before) {
                        best = Some((share, at));
                    }
                }
                Ok(best.map_or(who[0], |(_, at)| at))
            }
        }
    }
}
