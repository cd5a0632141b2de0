//! What operators and frameworks set: quota, weights, whitelist, constraints, minimum sizes, maintenance.

use super::{Engine, Error};
use kaon_kernel::constraint::OfferConstraints;
use kaon_kernel::id::{AgentIndex, FrameworkIndex, RoleName};
use kaon_kernel::maintenance::{InverseAnswer, Unavailability};
use kaon_kernel::offer::Refusal;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::{ResourceName, Resources};
use kaon_kernel::time::Instant;

/// An offer must hold at least one of these sets of quantities; with no set there is no minimum.
pub type Minimums = Vec<Vec<(ResourceName, Quantity)>>;

/// A framework that holds something of an agent is to be asked to leave before the agent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InverseOffer {
    /// Whom to ask.
    pub framework: FrameworkIndex,
    /// Of which agent.
    pub agent: AgentIndex,
    /// When it goes.
    pub unavailability: Unavailability,
}

impl Engine {
    /// Sets the quota of a top-level role; the default quota removes it.
    pub fn set_quota(&mut self, _role: &RoleName, _quota: &Quota) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Sets the weight of a role, in thousandths and above zero.
    pub fn set_weight(&mut self, _role: &RoleName, _thousandths: u32) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Offers only agents with one of these hostnames; `None` offers all.
    pub fn set_whitelist(&mut self, _hostnames: Option<&[String]>) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Replaces the offer constraints of a framework in a role; those without a group remove them.
    pub fn set_constraints(
        &mut self,
        _framework: FrameworkIndex,
        _role: &RoleName,
        _constraints: &OfferConstraints,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Replaces the minimum size of offers to a framework in a role; `None` is that of the rules.
    pub fn set_minimums(
        &mut self,
        _framework: FrameworkIndex,
        _role: &RoleName,
        _minimums: Option<Minimums>,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Says when an agent will not be there. Every framework that holds something of it is asked anew.
    pub fn set_unavailability(&mut self, _agent: AgentIndex, _when: Option<Unavailability>) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Whom to ask to leave which agent, at `now`: each that holds something of an agent with an unavailability, was not
    /// asked yet or answered, and against whom no filter stands.
    pub fn inverse_offers(&mut self, _now: Instant, _offers: &mut Vec<InverseOffer>) {}

    /// A framework answered an inverse offer, or it was taken back (`None`). It is asked again when its filter expires.
    pub fn answer_inverse(
        &mut self,
        _now: Instant,
        _framework: FrameworkIndex,
        _agent: AgentIndex,
        _answer: Option<InverseAnswer>,
        _refusal: Option<Refusal>,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// So many agents are known from before: with any quota set, nothing is granted before 80 % of them are back or 10
    /// minutes have passed since the master began.
    pub fn expect_agents(&mut self, _known: u32) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// What a framework holds of an agent becomes something else (RESERVE, UNRESERVE, CREATE, DESTROY ..).
    pub fn convert(
        &mut self,
        _framework: FrameworkIndex,
        _role: &RoleName,
        _agent: AgentIndex,
        _from: &Resources,
        _to: &Resources,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// What is free on an agent becomes something else, by an operator's order.
    pub fn convert_free(&mut self, _agent: AgentIndex, _from: &Resources, _to: &Resources) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}
