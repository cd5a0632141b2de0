//! Sums of scalars as short rows of numbers: what shares and quotas are computed from.
//!
//! A share is asked for far more often than a resource changes its name, so names become positions once
//! ([`ScalarNames`]) and every sum is a row indexed by them ([`Amounts`]). Ranges, sets and devices do not count, as in
//! the sorter of Mesos. Sums are exact: 128 bits hold any number of agents at any quantity that the edge lets in.

use kaon_kernel::resource::{Resource, ResourceName, Resources, Value};
use std::cmp::Ordering;

/// So many names of scalars can count in shares and quotas; a name that appears later does not. Bounds the rows of every
/// client against agents that invent names.
pub const SCALAR_NAMES_MAX: usize = 64;

/// Rows up to this long lie in place: processors, memory, disk and GPUs.
const NEAR: usize = 4;

/// The names of scalars, in order of appearance.
#[derive(Clone, Debug)]
pub struct ScalarNames {
    names: Vec<ResourceName>,
    excluded: Vec<ResourceName>,
    /// Whether the name at a position is excluded.
    silent: Vec<bool>,
}

/// The names that almost every agent has stand first, in every cluster: most questions are about them.
const COMMON: [ResourceName; NEAR] = [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk, ResourceName::Gpus];

/// Where a common name stands.
fn common(name: &ResourceName) -> Option<usize> {
    Some(match name {
        ResourceName::Cpus => 0,
        ResourceName::Mem => 1,
        ResourceName::Disk => 2,
        ResourceName::Gpus => 3,
        ResourceName::Ports | ResourceName::Other(_) => return None,
    })
}

impl ScalarNames {
    /// The common names; those in `excluded` never count in shares (Mesos `--fair_sharing_excluded_resource_names`).
    pub fn new(excluded: Vec<ResourceName>) -> Self {
        let silent = COMMON.iter().map(|name| excluded.contains(name)).collect();
        Self { names: COMMON.to_vec(), excluded, silent }
    }

    /// The scalars of a bag that count in shares, identities added up, into `amounts`. Cost: entries times known names,
    /// both few.
    pub fn measure(&mut self, resources: &Resources, amounts: &mut Amounts) {
        self.measure_where(resources, amounts, |_| true);
        self.silence(amounts);
    }

    /// The scalars of those entries that satisfy a condition, excluded names among them.
    pub(super) fn measure_where(
        &mut self,
        resources: &Resources,
        amounts: &mut Amounts,
        condition: impl Fn(&Resource) -> bool,
    ) {
        amounts.clear();
        for entry in resources {
            if let Value::Scalar(quantity) = entry.value
                && condition(entry)
                && let Some(at) = self.position(&entry.name)
            {
                *amounts.at(at) += u128::from(quantity.0);
            }
        }
    }

    /// Takes out of a row what doesn't count in shares.
    pub(super) fn silence(&self, amounts: &mut Amounts) {
        if !self.excluded.is_empty() {
            for (at, _) in self.silent.iter().enumerate().filter(|(_, silent)| **silent) {
                amounts.set(at, 0);
            }
        }
    }

    /// The amounts by name, in thousandths.
    pub fn named<'a>(&'a self, amounts: &'a Amounts) -> impl Iterator<Item = (&'a ResourceName, u128)> {
        self.names.iter().enumerate().map(|(at, name)| (name, amounts.of(at)))
    }

    /// The name at a position.
    pub(super) fn name(&self, at: usize) -> Option<&ResourceName> {
        self.names.get(at)
    }

    /// The position of a name; `None` when there are too many.
    pub(super) fn position(&mut self, name: &ResourceName) -> Option<usize> {
        let known = self.find(name);
        if known.is_some() || self.names.len() >= SCALAR_NAMES_MAX {
            return known;
        }
        self.names.push(name.clone());
        self.silent.push(self.excluded.contains(name));
        Some(self.names.len() - 1)
    }

    /// The position of a name that was seen before.
    pub(super) fn find(&self, name: &ResourceName) -> Option<usize> {
        common(name).or_else(|| self.names.iter().skip(NEAR).position(|probe| probe == name).map(|at| NEAR + at))
    }
}

/// Sums of scalars in thousandths, by position of their names. A position beyond the end holds zero.
#[derive(Debug, Default)]
pub struct Amounts {
    near: [u128; NEAR],
    /// Almost always empty, and then not to be copied or filled: the C library does such nothing by a masked access to no
    /// address, which costs more than all the rest here together.
    far: Vec<u128>,
}

impl Clone for Amounts {
    fn clone(&self) -> Self {
        Self { near: self.near, far: if self.far.is_empty() { Vec::new() } else { self.far.clone() } }
    }
    fn clone_from(&mut self, other: &Self) {
        self.near = other.near;
        if !(self.far.is_empty() && other.far.is_empty()) {
            self.far.clone_from(&other.far);
        }
    }
}

impl Amounts {
    /// Nothing.
    pub const fn new() -> Self {
        Self { near: [0; NEAR], far: Vec::new() }
    }

    /// One thousandth of the scalar at a position, and nothing else.
    pub(in crate::allocator) fn unit(at: usize) -> Self {
        let mut unit = Self::new();
        unit.set(at, 1);
        unit
    }

    /// One thousandth of a scalar that every cluster knows: processors, memory, disk, GPUs; `None` for any other.
    pub fn unit_of(name: &ResourceName) -> Option<Self> {
        common(name).map(Self::unit)
    }

    /// Adds.
    pub fn add(&mut self, more: &Self) {
        for (have, more) in self.near.iter_mut().zip(&more.near) {
            *have += more;
        }
        for (at, &amount) in more.far.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            *self.at(NEAR + at) += amount;
        }
    }

    /// Takes out.
    ///
    /// # Panics
    /// When more is taken than is in: the books are wrong.
    pub fn subtract(&mut self, less: &Self) {
        let taken = |have: u128, amount: u128, at: usize| {
            have.checked_sub(amount).unwrap_or_else(|| panic!("{amount} taken out of {have} at position {at}"))
        };
        for (at, (have, less)) in self.near.iter_mut().zip(&less.near).enumerate() {
            *have = taken(*have, *less, at);
        }
        for (at, &amount) in less.far.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            let have = self.at(NEAR + at);
            *have = taken(*have, amount, NEAR + at);
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        self.near.iter().chain(&self.far).all(|&amount| amount == 0)
    }

    /// The dominant share: the largest part that this is of `total`, over all scalars of which `total` has any
    /// (policies 1.2). Equal fractions give equal floats, since a division rounds correctly.
    pub fn share_of(&self, total: &Self) -> f64 {
        self.dominant(total, 1000).share.float
    }

    /// The resource of the dominant share, and the share divided by a weight in thousandths.
    pub(super) fn dominant(&self, total: &Self, weight: u32) -> Dominant {
        let (mut best, mut most) = (None, 0.0);
        let mut consider = |at: usize, amount: u128, whole: u128| {
            if amount == 0 || whole == 0 {
                return;
            }
            let part = float(amount) / float(whole);
            // What differs by more than all rounding needs no fraction.
            if part < most * (1.0 - ROUNDING) {
                return;
            }
            let is_more = part > most * (1.0 + ROUNDING)
                || best.is_none_or(|(_, other, of)| {
                    Share::new(amount, whole, 1000).cmp(&Share::new(other, of, 1000)).is_gt()
                });
            if is_more {
                (best, most) = (Some((at, amount, whole)), part);
            }
        };
        for at in 0..NEAR {
            consider(at, self.near[at], total.near[at]);
        }
        for (at, (&amount, &whole)) in self.far.iter().zip(&total.far).enumerate() {
            consider(NEAR + at, amount, whole);
        }
        best.map_or(Dominant { at: 0, share: Share::ZERO }, |(at, amount, whole)| Dominant {
            at,
            share: Share::new(amount, whole, weight),
        })
    }

    /// The amount at a position.
    pub(super) fn of(&self, at: usize) -> u128 {
        match self.near.get(at) {
            Some(&amount) => amount,
            None => self.far.get(at - NEAR).copied().unwrap_or(0),
        }
    }

    /// Sets the amount at a position.
    pub(super) fn set(&mut self, at: usize, amount: u128) {
        if amount > 0 || at < NEAR + self.far.len() {
            *self.at(at) = amount;
        }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.near = [0; NEAR];
        if !self.far.is_empty() {
            self.far.fill(0);
        }
    }

    /// Positions that hold something, with what they hold.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u128)> + '_ {
        self.near.iter().chain(&self.far).copied().enumerate().filter(|(_, amount)| *amount > 0)
    }

    pub(super) fn at(&mut self, at: usize) -> &mut u128 {
        if at < NEAR {
            return &mut self.near[at];
        }
        let at = at - NEAR;
        if self.far.len() <= at {
            self.far.resize(at + 1, 0);
        }
        &mut self.far[at]
    }
}

impl PartialEq for Amounts {
    fn eq(&self, other: &Self) -> bool {
        let (short, long) = if self.far.len() < other.far.len() { (self, other) } else { (other, self) };
        self.near == other.near
            && short.far == long.far[..short.far.len()]
            && long.far[short.far.len()..].iter().all(|&amount| amount == 0)
    }
}

/// Three roundings on each side of a comparison are far below this.
const ROUNDING: f64 = 1e-14;

/// A dominant share and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dominant {
    /// Position of the resource; 0 when nothing is held.
    pub(super) at: usize,
    pub(super) share: Share,
}

/// A weighted share as an exact fraction, with its float beside it: most comparisons need no more than the float.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) float: f64,
    amount: u128,
    whole: u128,
    weight: u32,
}

impl Share {
    pub(super) const ZERO: Self = Self { float: 0.0, amount: 0, whole: 1, weight: 1000 };

    /// `amount` of `whole`, divided by a weight in thousandths. None of it where there is no whole.
    pub(super) fn new(amount: u128, whole: u128, weight: u32) -> Self {
        if amount == 0 || whole == 0 {
            return Self::ZERO;
        }
        let part = float(amount) / float(whole);
        let float = if weight == 1000 { part } else { part / (f64::from(weight) / 1000.0) };
        Self { float, amount, whole, weight }
    }

    /// Exact: floats that differ by more than their rounding decide, and the fractions otherwise.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        let difference = self.float - other.float;
        if difference.abs() > ROUNDING * self.float.max(other.float) {
            return if difference < 0.0 { Ordering::Less } else { Ordering::Greater };
        }
        if self.whole == other.whole && self.weight == other.weight {
            return self.amount.cmp(&other.amount);
        }
        let cross = |one: &Self, two: &Self| {
            let part = one.amount.checked_mul(u128::from(two.weight))?;
            if one.whole == two.whole { Some(part) } else { part.checked_mul(two.whole) }
        };
        match (cross(self, other), cross(other, self)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Beyond 128 bits the floats have to do.
            _ => self.float.total_cmp(&other.float),
        }
    }
}

/// The conversion of 64 bits is one instruction, that of 128 a call.
fn float(amount: u128) -> f64 {
    if amount >> 64 == 0 { amount as u64 as f64 } else { large(amount) }
}

#[cold]
fn large(amount: u128) -> f64 {
    amount as f64
}
