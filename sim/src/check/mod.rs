//! The checkers: claims about the cluster as it is seen from outside, told from its messages alone, so that they do not
//! share a mistake with what they check. What actors know of themselves is asserted by their own `invariants`.

mod ledger;
mod promises;
mod rules;
mod view;

pub(crate) use ledger::{Ledger, state_of};
pub(crate) use promises::Promises;
pub(crate) use view::View;

/// A claim that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which claim.
    pub(crate) claim: &'static str,
    /// What was seen.
    pub(crate) words: String,
}

impl Violation {
    fn new(claim: &'static str, words: String) -> Self {
        Self { claim, words }
    }
}
