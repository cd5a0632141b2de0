//! The seat of "who is next": the order in which roles and their frameworks are asked.
//!
//! A sorter is told of everything that can change its order, and is then walked. It knows amounts and names, nothing of
//! agents, filters or feasibility: whoever walks it decides whom to skip. The engine believes no walk: whoever is visited
//! is checked, and whoever is left out is asked after the others, so that a bad policy can be unfair and nothing worse.

mod hierarchy;
mod ring;
mod tree;
mod walk;

pub use hierarchy::{Drf, Hierarchy, Order};

use super::amounts::Amounts;
use core::ops::ControlFlow;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, RoleName};

/// Position of a role in the engine's tables. Used again once nobody is in the role and nothing is held under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleIndex(pub u32);

/// A framework in one of its roles: who can be granted something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// Which framework.
    pub framework: FrameworkIndex,
    /// In which role.
    pub role: RoleIndex,
}

/// What quota says of a top-level role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// A guarantee is not met.
    Promised,
    /// Nothing special.
    #[default]
    Open,
    /// A limit is reached: only what is reserved to it can still be its.
    Closed,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Promised, Self::Open, Self::Closed];
}

/// Decides who is next. Pure: the same calls give the same walk.
///
/// A role is added before its frameworks, a framework before its allocations; removal goes the other way. A call that
/// breaks this order is a broken invariant and may panic.
pub trait Sorter: Send {
    /// Forgets everything, and takes the weights of roles, in thousandths and above zero; a role not named has 1000.
    fn reset(&mut self, weights: &[(RoleName, u32)]);
    /// A role has clients from now on.
    fn add_role(&mut self, role: RoleIndex, name: &RoleName);
    /// A role has no client any more.
    fn remove_role(&mut self, role: RoleIndex);
    /// A framework is in a role, inactive at first. Told again when its name becomes known.
    fn add_framework(&mut self, client: Client, id: &FrameworkId);
    /// A framework holds nothing under a role and is not in it any more.
    fn remove_framework(&mut self, client: Client);
    /// Whether a client is in the walk. It counts in the shares either way.
    fn set_active(&mut self, client: Client, active: bool);
    /// A client was granted something: one allocation more.
    fn allocated(&mut self, client: Client, amounts: &Amounts);
    /// A client gave something back.
    fn unallocated(&mut self, client: Client, amounts: &Amounts);
    /// All agents together have so much from now on.
    fn set_total(&mut self, total: &Amounts);
    /// Visits the active clients in order until the visitor breaks.
    fn walk(&mut self, visit: &mut dyn FnMut(Client) -> ControlFlow<()>);
    /// The share by which a role is ordered among its siblings, its weight applied; zero for one it does not know.
    fn share(&self, role: RoleIndex) -> f64;
    /// What a client holds by the sorter's books, and how many allocations it was given.
    fn holds(&self, client: Client) -> Option<(&Amounts, u64)>;

    /// What a client holds became something else, without an allocation: more or less of it.
    fn adjusted(&mut self, client: Client, amounts: &Amounts, is_more: bool) {
        match is_more {
            true => self.allocated(client, amounts),
            false => self.unallocated(client, amounts),
        }
    }
    /// The weight of a role, in thousandths and above zero. A sorter without weights has nothing to do.
    fn set_weight(&mut self, _role: &RoleName, _thousandths: u32) {}
    /// A round begins: for sorters that draw lots, from the chance of the round.
    fn begin_round(&mut self, _chance: &mut Chance) {}
    /// What quota says of a top-level role. Only of use to sorters that answer [`Sorter::walk_classes`] faster for it.
    fn set_class(&mut self, _top: &RoleName, _class: Class) {}
    /// As [`Sorter::walk`], where clients of top-level roles of other classes need not be visited.
    fn walk_classes(&mut self, _classes: &[Class], visit: &mut dyn FnMut(Client) -> ControlFlow<()>) {
        self.walk(visit);
    }
    /// As [`Sorter::walk_classes`], where only clients of these roles and of those below them need to be visited. None of
    /// the roles lies below another.
    fn walk_within(
        &mut self,
        _roles: &[&RoleName],
        classes: &[Class],
        visit: &mut dyn FnMut(Client) -> ControlFlow<()>,
    ) {
        self.walk_classes(classes, visit);
    }
}
