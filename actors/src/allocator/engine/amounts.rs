//! Sums of scalars as short rows of numbers: what shares are computed from.
//!
//! A share is asked for far more often than a resource changes its name, so names become positions once
//! ([`ScalarNames`]) and every sum is a row indexed by them ([`Amounts`]). Ranges, sets and devices do not count, as in
//! the sorter of Mesos. Sums are exact: 128 bits hold any number of agents at any quantity that the edge lets in.

use kaon_kernel::resource::{ResourceName, Resources, Value};

/// So many names of scalars can count in shares; a name that appears later does not. Bounds the rows of every client
/// against agents that invent names.
pub const SCALAR_NAMES_MAX: usize = 64;

/// The names of scalars that count in shares, in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct ScalarNames {
    names: Vec<ResourceName>,
    excluded: Vec<ResourceName>,
}

impl ScalarNames {
    /// No names yet; those in `excluded` never count (Mesos `--fair_sharing_excluded_resource_names`).
    pub fn new(excluded: Vec<ResourceName>) -> Self {
        Self { names: Vec::new(), excluded }
    }

    /// The scalars of a bag, identities added up, into `amounts`. Cost: entries times known names, both few.
    pub fn measure(&mut self, resources: &Resources, amounts: &mut Amounts) {
        amounts.0.fill(0);
        for entry in resources {
            if let Value::Scalar(quantity) = entry.value
                && let Some(at) = self.position(&entry.name)
            {
                *amounts.at(at) += u128::from(quantity.0);
            }
        }
    }

    /// The amounts by name, in thousandths.
    pub fn named<'a>(&'a self, amounts: &'a Amounts) -> impl Iterator<Item = (&'a ResourceName, u128)> {
        self.names.iter().zip(amounts.0.iter().copied())
    }

    fn position(&mut self, name: &ResourceName) -> Option<usize> {
        let known = self.names.iter().position(|probe| probe == name);
        if known.is_some() || self.excluded.contains(name) || self.names.len() >= SCALAR_NAMES_MAX {
            return known;
        }
        self.names.push(name.clone());
        Some(self.names.len() - 1)
    }
}

/// Sums of scalars in thousandths, by position of their names. A position beyond the end holds zero.
#[derive(Clone, Debug, Default)]
pub struct Amounts(Vec<u128>);

impl Amounts {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds.
    pub fn add(&mut self, more: &Self) {
        for (at, &amount) in more.0.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            *self.at(at) += amount;
        }
    }

    /// Takes out.
    ///
    /// # Panics
    /// When more is taken than is in: the books are wrong.
    pub fn subtract(&mut self, less: &Self) {
        for (at, &amount) in less.0.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            let have = self.at(at);
            *have = have.checked_sub(amount).unwrap_or_else(|| panic!("{amount} taken out of {have} at position {at}"));
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&amount| amount == 0)
    }

    /// The dominant share: the largest part that this is of `total`, over all scalars of which `total` has any
    /// (policies 1.2). Equal fractions give equal floats, since a division rounds correctly.
    pub fn share_of(&self, total: &Self) -> f64 {
        let parts = self.0.iter().zip(&total.0).filter(|&(&amount, &whole)| amount > 0 && whole > 0);
        parts.fold(0.0, |share: f64, (&amount, &whole)| share.max(float(amount) / float(whole)))
    }

    /// So many positions are in use; what lies beyond is zero.
    pub(super) fn width(&self) -> usize {
        self.0.len()
    }

    /// The amounts as floats, by position.
    pub(super) fn floats(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|&amount| float(amount))
    }

    fn at(&mut self, at: usize) -> &mut u128 {
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        &mut self.0[at]
    }
}

impl PartialEq for Amounts {
    fn eq(&self, other: &Self) -> bool {
        let (short, long) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        short.0 == long.0[..short.0.len()] && long.0[short.0.len()..].iter().all(|&amount| amount == 0)
    }
}

/// The conversion of 64 bits is one instruction, that of 128 a call.
fn float(amount: u128) -> f64 {
    u64::try_from(amount).map_or(amount as f64, |small| small as f64)
}
