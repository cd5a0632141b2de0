//! What is to be divided, among whom, and by which rule.

use super::fraction::{Number, Overflow};
use thiserror::Error;

/// A division has at most so many tenants.
pub const TENANTS_MAX: usize = 100_000;

/// A division has at most so many resources, as many as the allocator's shares know names.
pub const RESOURCES_MAX: usize = 64;

/// Who wants a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Told apart by it; the last tie-break.
    pub name: String,
    /// Above zero. Only the proportions count.
    pub weight: u64,
    /// Weights resource by resource for DRF; empty to use `weight` for all.
    pub weights: Vec<u64>,
    /// What one task needs of each resource; of at least one it needs something.
    pub demand: Vec<u64>,
    /// Tasks that the tenant has, when that is bounded.
    pub tasks_max: Option<u64>,
    /// For strict priority: the higher goes first.
    pub class: u32,
    /// For quota: below so much of any resource it goes before others. Empty for nothing.
    pub guarantee: Vec<u64>,
    /// For quota: beyond so much of any resource it gets nothing. Empty for no limit.
    pub limit: Vec<u64>,
    /// For the static partition: what its own machines have together.
    pub owned: Vec<u64>,
}

impl Tenant {
    /// A tenant of weight 1 with as many tasks as it may run.
    pub fn new(name: &str, demand: &[u64]) -> Self {
        Self { name: name.to_owned(), weight: 1, demand: demand.to_vec(), ..Self::default() }
    }
}

/// Capacities and tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// What there is of each resource.
    pub capacity: Vec<u64>,
    /// Among whom.
    pub tenants: Vec<Tenant>,
}

/// How to divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Equal amounts of one resource for equal weights (policies 1.1). Every tenant needs some of it.
    MaxMin {
        /// Its position.
        resource: usize,
    },
    /// Equal dominant shares (1.2): the largest part that a tenant holds of any resource.
    Drf,
    /// Equal sums of shares over all resources (1.4).
    Asset,
    /// The market equilibrium of equal incomes (1.5).
    Ceei,
    /// Higher classes first, this rule inside a class (1.6).
    StrictPriority(Box<Rule>),
    /// Guarantees first, nothing beyond limits, this rule otherwise (1.6).
    Quota(Box<Rule>),
    /// Each tenant drawn with the probability of its weight (1.6); whole tasks only.
    Lottery,
    /// Everybody what he owns (1.6).
    StaticPartition,
}

/// Why something can't be divided.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Beyond a bound.
    #[error("{tenants} tenants and {resources} resources, the most is {TENANTS_MAX} and {RESOURCES_MAX}")]
    TooLarge {
        /// Tenants given.
        tenants: usize,
        /// Resources given.
        resources: usize,
    },
    /// A row does not have one entry for each resource.
    #[error("tenant '{0}' does not say something of every resource")]
    WrongLength(String),
    /// A weight of zero.
    #[error("tenant '{0}' has a weight of zero")]
    NoWeight(String),
    /// A task that needs nothing that counts: there is no end of such tasks.
    #[error("tenant '{0}' needs nothing of what is divided")]
    NoDemand(String),
    /// A resource that is not there.
    #[error("there is no resource {0}")]
    UnknownResource(usize),
    /// A result that outgrows exact fractions; floats don't.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// A rule that only hands out whole tasks, or can't stand inside another.
    #[error("rule {0} can't be used here")]
    Misplaced(&'static str),
    /// The market has no bounded tenants.
    #[error("tenant '{0}' has a bound of tasks, which the equilibrium of incomes does not know")]
    Bounded(String),
    /// The equilibrium is not a fraction, or not one that is recognised.
    #[error("the equilibrium is not known as fractions; ask for floats")]
    Irrational,
    /// The solver did not come near enough; never seen.
    #[error("the equilibrium was not found to the tolerance")]
    Unsolved,
    /// More whole tasks than are handed out in one go.
    #[error("more than {} tasks", super::TASKS_MAX)]
    TooManyTasks,
}

impl Problem {
    /// Whether rows and weights are what a division needs.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let (tenants, resources) = (self.tenants.len(), self.capacity.len());
        if tenants > TENANTS_MAX || resources > RESOURCES_MAX {
            return Err(Refused::TooLarge { tenants, resources });
        }
        for tenant in &self.tenants {
            let fits = |row: &[u64]| row.is_empty() || row.len() == resources;
            let rows = [&tenant.weights, &tenant.guarantee, &tenant.limit, &tenant.owned];
            if tenant.demand.len() != resources || !rows.into_iter().all(|row| fits(row)) {
                return Err(Refused::WrongLength(tenant.name.clone()));
            }
            if tenant.weight == 0 || tenant.weights.contains(&0) {
                return Err(Refused::NoWeight(tenant.name.clone()));
            }
            if tenant.demand.iter().all(|&amount| amount == 0) {
                return Err(Refused::NoDemand(tenant.name.clone()));
            }
        }
        Ok(())
    }

    /// The share of one task of a tenant under a rule that has shares, its weight applied. Resources of which there is
    /// nothing are ignored, so it may be zero.
    pub(super) fn share<N: Number>(&self, rule: &Rule, tenant: &Tenant) -> Result<N, Refused> {
        let part = |resource: usize, weight: u64| -> Result<N, Overflow> {
            let share = N::ratio(tenant.demand[resource], self.capacity[resource])?;
            share.over(N::ratio(weight, 1)?)
        };
        let counted = (0..self.capacity.len()).filter(|&resource| self.capacity[resource] > 0);
        match rule {
            Rule::MaxMin { resource } => {
                let capacity = *self.capacity.get(*resource).ok_or(Refused::UnknownResource(*resource))?;
                if tenant.demand[*resource] == 0 {
                    return Err(Refused::NoDemand(tenant.name.clone()));
                }
                Ok(if capacity == 0 { N::zero() } else { part(*resource, tenant.weight)? })
            }
            Rule::Drf => {
                let mut largest = N::zero();
                for resource in counted {
                    let share = part(resource, tenant.weights.get(resource).copied().unwrap_or(tenant.weight))?;
                    if share > largest {
                        largest = share;
                    }
                }
                Ok(largest)
            }
            Rule::Asset => {
                let mut sum = N::zero();
                for resource in counted {
                    sum = sum.plus(part(resource, tenant.weight)?)?;
                }
                Ok(sum)
            }
            other => Err(Refused::Misplaced(other.word())),
        }
    }
}

impl Rule {
    /// Its name.
    pub fn word(&self) -> &'static str {
        match self {
            Self::MaxMin { .. } => "max-min",
            Self::Drf => "drf",
            Self::Asset => "asset-fairness",
            Self::Ceei => "ceei",
            Self::StrictPriority(_) => "strict-priority",
            Self::Quota(_) => "quota",
            Self::Lottery => "lottery",
            Self::StaticPartition => "static-partition",
        }
    }
}
