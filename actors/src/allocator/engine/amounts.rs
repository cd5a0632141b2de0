//! Sums of scalars as short rows of numbers: what shares and quotas are computed from.
//!
//! A share is asked for far more often than a resource changes its name, so names become positions once
//! ([`ScalarNames`]) and every sum is a row indexed by them ([`Amounts`]). Ranges, sets and devices do not count, as in
//! the sorter of Mesos. Sums are exact: 128 bits hold any number of agents at any quantity that the edge lets in; almost
//! all fit into a word, so what is beyond lies elsewhere and is not touched as long as there is nothing.

use super::share::{Dominant, Share};
use kaon_kernel::resource::{Resource, ResourceName, Resources, Value};

/// So many names of scalars can count in shares and quotas; a name that appears later does not. Bounds the rows of every
/// client against agents that invent names.
pub const SCALAR_NAMES_MAX: usize = 64;

/// The common names: processors, memory, disk and GPUs.
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
                amounts.raise(at, quantity.0);
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
#[derive(Clone, Debug, Default)]
pub struct Amounts {
    /// The lower [`NEAR_BITS`] of the common names.
    near: [u64; NEAR],
    /// What has no room there: almost always nothing.
    rest: Option<Box<Rest>>,
}

/// The highest bit of a sum of two such numbers says whether it is one.
const NEAR_BITS: u32 = 63;

/// Whether all of some sums or differences are numbers of [`NEAR_BITS`].
#[inline]
fn are_near(numbers: &[u64; NEAR]) -> bool {
    numbers.iter().fold(0, |bits, number| bits | number) >> NEAR_BITS == 0
}

/// Amounts of more bits, and of further names.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// The upper bits of the common names.
    high: [u64; NEAR],
    far: Vec<u128>,
}

impl Amounts {
    /// Nothing.
    pub const fn new() -> Self {
        Self { near: [0; NEAR], rest: None }
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
    #[inline]
    pub fn add(&mut self, more: &Self) {
        let sums = core::array::from_fn(|at| self.near[at].wrapping_add(more.near[at]));
        if self.rest.is_some() || more.rest.is_some() || !are_near(&sums) {
            return self.add_far(more);
        }
        self.near = sums;
    }

    #[cold]
    fn add_far(&mut self, more: &Self) {
        for (at, amount) in more.iter() {
            self.set(at, self.of(at) + amount);
        }
    }

    /// Takes out.
    ///
    /// # Panics
    /// When more is taken than is in: the books are wrong.
    #[inline]
    pub fn subtract(&mut self, less: &Self) {
        let left = core::array::from_fn(|at| self.near[at].wrapping_sub(less.near[at]));
        if self.rest.is_some() || less.rest.is_some() || !are_near(&left) {
            return self.subtract_far(less);
        }
        self.near = left;
    }

    #[cold]
    fn subtract_far(&mut self, less: &Self) {
        for (at, amount) in less.iter() {
            let have = self.of(at);
            let left = have.checked_sub(amount);
            self.set(at, left.unwrap_or_else(|| panic!("{amount} taken out of {have} at position {at}")));
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        self.near == [0; NEAR] && self.rest.as_ref().is_none_or(|_| self.iter().next().is_none())
    }

    /// The dominant share: the largest part that this is of `total`, over all scalars of which `total` has any
    /// (policies 1.2). Equal fractions give equal floats, since a division rounds correctly.
    pub fn share_of(&self, total: &Self) -> f64 {
        self.dominant(total, 1000).share.float
    }

    /// The resource of the dominant share, and the share divided by a weight in thousandths.
    pub(super) fn dominant(&self, total: &Self, weight: u32) -> Dominant {
        if self.rest.is_some() || total.rest.is_some() {
            return self.dominant_far(total, weight);
        }
        // Fractions are compared by their products, which have less than 128 bits.
        let mut best = None;
        for (at, (&amount, &whole)) in self.near.iter().zip(&total.near).enumerate() {
            let is_more = |(_, other, of): &(usize, u64, u64)| {
                u128::from(amount) * u128::from(*of) > u128::from(*other) * u128::from(whole)
            };
            if amount > 0 && whole > 0 && best.as_ref().is_none_or(is_more) {
                best = Some((at, amount, whole));
            }
        }
        best.map_or(Dominant::NONE, |(at, amount, whole)| Dominant { at, share: Share::near(amount, whole, weight) })
    }

    #[cold]
    fn dominant_far(&self, total: &Self, weight: u32) -> Dominant {
        let mut best: Option<(usize, u128, u128)> = None;
        for (at, amount, whole) in self.iter().map(|(at, amount)| (at, amount, total.of(at))) {
            let share = Share::new(amount, whole, 1000);
            if whole > 0 && best.is_none_or(|(_, other, of)| share.cmp(&Share::new(other, of, 1000)).is_gt()) {
                best = Some((at, amount, whole));
            }
        }
        best.map_or(Dominant::NONE, |(at, amount, whole)| Dominant { at, share: Share::new(amount, whole, weight) })
    }

    /// The amount at a position.
    #[inline]
    pub(super) fn of(&self, at: usize) -> u128 {
        let low = self.near.get(at).copied().unwrap_or(0);
        match &self.rest {
            None => u128::from(low),
            Some(rest) => rest.of(at, low),
        }
    }

    /// Sets the amount at a position.
    pub(super) fn set(&mut self, at: usize, amount: u128) {
        let low = (amount >> NEAR_BITS == 0).then_some(amount as u64);
        match (self.near.get_mut(at), low, &mut self.rest) {
            (Some(near), Some(low), None) => *near = low,
            (None, Some(0), None) => {}
            (Some(near), _, rest) => {
                *near = amount as u64 & (u64::MAX >> (u64::BITS - NEAR_BITS));
                rest.get_or_insert_default().high[at] = u64::try_from(amount >> NEAR_BITS).expect("less than 127 bits");
            }
            (None, _, rest) => {
                let far = &mut rest.get_or_insert_default().far;
                if far.len() <= at - NEAR {
                    far.resize(at - NEAR + 1, 0);
                }
                far[at - NEAR] = amount;
            }
        }
    }

    /// Adds to the amount at a position.
    fn raise(&mut self, at: usize, more: u64) {
        let is_near = self.rest.is_none() && more >> NEAR_BITS == 0;
        match self.near.get_mut(at) {
            Some(near) if is_near && (*near + more) >> NEAR_BITS == 0 => *near += more,
            _ => self.set(at, self.of(at) + u128::from(more)),
        }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.near = [0; NEAR];
        if let Some(rest) = &mut self.rest {
            rest.high = [0; NEAR];
            rest.far.fill(0);
        }
    }

    /// Positions that hold something, with what they hold.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u128)> + '_ {
        let positions = NEAR + self.rest.as_ref().map_or(0, |rest| rest.far.len());
        (0..positions).map(|at| (at, self.of(at))).filter(|(_, amount)| *amount > 0)
    }
}

impl Rest {
    /// The amount at a position of which the lower bits are `low`.
    #[cold]
    fn of(&self, at: usize, low: u64) -> u128 {
        match self.high.get(at) {
            Some(&high) => u128::from(high) << NEAR_BITS | u128::from(low),
            None => self.far.get(at - NEAR).copied().unwrap_or(0),
        }
    }
}

impl PartialEq for Amounts {
    fn eq(&self, other: &Self) -> bool {
        match (&self.rest, &other.rest) {
            (None, None) => self.near == other.near,
            _ => self.iter().eq(other.iter()),
        }
    }
}
