//! Placement policies of researchers: each one file here, and one line in [`OWN`]. `docs/adding/policy.md` shows how.

mod snug;

use kaon_actors::allocator::direct::{Parameters, Placement};

/// A placement policy.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    /// Its name in scenarios and after `--policy`.
    pub(crate) name: &'static str,
    /// What it does, in a line.
    pub(crate) about: &'static str,
    /// Makes it for one run.
    pub(crate) make: fn(&Parameters) -> Box<dyn Placement>,
}

/// The policies: the line of each is all that has to be said of it outside its file.
pub(crate) const OWN: &[Own] = &[
    snug::POLICY, //
];
