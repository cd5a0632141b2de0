//! ACCEPT: offers are taken out of the framework's hands, operations are carried out in order against their sum, and
//! what is left over goes back (reference 4). Mesos: `Master::accept`, `Master::_accept`.

use super::{Master, MasterContext};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, OfferId, RoleName};
use kaon_kernel::message::allocator::{Grant, ToAllocator};
use kaon_kernel::message::scheduler::ClientOffer;
use kaon_kernel::message::view::OfferFate;
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::resource::operation::Conversion;
use kaon_kernel::resource::{Resource, Resources};
use kaon_kernel::table::Set;
use kaon_kernel::task::{Reason, TaskState};

/// What an ACCEPT works with: the sum of its offers.
pub(super) struct Basket {
    pub(super) framework: FrameworkIndex,
    pub(super) agent: AgentIndex,
    pub(super) role: RoleName,
    /// What is not used yet.
    pub(super) left: Resources,
    /// One copy of each shared volume that was offered or made: a task may use what another task uses already.
    shared: Resources,
    /// What operations made for later operations of the same call, as far as it is not used.
    made: Resources,
    /// What operations made for later offers only.
    later: Resources,
}

impl Basket {
    fn new(framework: FrameworkIndex, agent: AgentIndex, role: RoleName, offered: Resources) -> Self {
        let shared = offered.shared().without_copies();
        let (made, later) = (Resources::new(), Resources::new());
        Self { framework, agent, role, left: offered, shared, made, later }
    }

    /// The copies of shared volumes that are wanted beyond those that are left.
    fn further_copies(&self, wanted: &Resources) -> Resources {
        let wanted = wanted.shared();
        if wanted.is_empty() {
            return wanted;
        }
        let further = wanted.minus(&wanted.common(&self.left)).unwrap_or_default();
        further.filter(|copy| self.shared.iter().any(|shared| shared == copy))
    }

    /// Whether so much is left.
    pub(super) fn has(&self, wanted: &Resources) -> bool {
        let left = self.left.plus(&self.further_copies(wanted));
        left.is_ok_and(|left| left.contains(wanted))
    }

    /// Takes what is there out. The copies of shared volumes that were made up for it.
    pub(super) fn take(&mut self, wanted: &Resources) -> Resources {
        let further = self.further_copies(wanted);
        let left = self.left.plus(&further).and_then(|left| left.minus(wanted));
        self.left = left.unwrap_or_else(|error| panic!("what is taken is not there: {error}"));
        further
    }

    /// Carries an operation out, which is known to fit. What is made is for later operations, or for later offers.
    pub(super) fn convert(&mut self, conversion: &Conversion, is_for_later: bool) {
        let is_gone = |shared: &Resource| conversion.consumed.iter().any(|gone| gone == shared);
        self.shared = self.shared.filter(|shared| !is_gone(shared));
        let done = self.left.subtract(&conversion.consumed).and_then(|()| match is_for_later {
            true => self.later.add(&conversion.converted),
            false => {
                self.shared.add(&conversion.converted.shared())?;
                self.made.add(&conversion.converted)?;
                self.left.add(&conversion.converted)
            }
        });
        done.unwrap_or_else(|error| panic!("a checked operation does not fit: {error}"));
    }

    /// What goes back: without a filter, since nobody has seen it yet; and with that of the call.
    fn into_rest(self) -> (Resources, Resources) {
        let Self { left, made, later, .. } = self;
        let is_made =
            |entry: &Resource| made.iter().any(|made| made.name == entry.name && made.identity == entry.identity);
        let fresh = left.filter(is_made).plus(&later);
        let fresh = fresh.unwrap_or_else(|error| panic!("parts of one agent overlap: {error}"));
        (fresh, left.filter(|entry| !is_made(entry)))
    }
}

impl Master {
    /// A framework accepts offers.
    pub(super) fn on_accept(
        &mut self,
        framework: FrameworkIndex,
        offers: Vec<ClientOffer>,
        operations: Vec<OfferOperation>,
        refusal: Refusal,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_launch_tasks", 1);
        let mut basket = match self.collect(framework, &offers, context) {
            Ok(basket) => basket,
            Err(reason) => {
                return self.refuse_operations(framework, operations, &reason, context);
            }
        };
        // An agent whose session broke lost its offers in that moment, so the agent of a valid offer is connected.
        for operation in operations {
            match operation {
                OfferOperation::Launch { tasks } => {
                    for task in tasks {
                        self.launch(&mut basket, task, context);
                    }
                }
                OfferOperation::LaunchGroup { executor, tasks } => {
                    self.launch_group(&mut basket, *executor, tasks, context);
                }
                OfferOperation::Convert { operation_id, allocation, operation } => {
                    self.operate(&mut basket, operation_id, allocation.as_deref(), operation, context);
                }
            }
        }
        let (framework, agent, role) = (basket.framework, basket.agent, basket.role.clone());
        let (made, rest) = basket.into_rest();
        if made.is_empty() || rest.is_empty() {
            let refusal = made.is_empty().then_some(refusal);
            let resources = if made.is_empty() { rest } else { made };
            return self.recover(Grant { framework, role, agent, resources }, refusal, context);
        }
        let made = Grant { framework, role, agent, resources: made };
        self.allocate(&ToAllocator::RecoverMade { made, rest, refusal }, context);
    }

    /// Takes the offers, or gives back those that exist and says what is wrong.
    fn collect(
        &mut self,
        framework: FrameworkIndex,
        offers: &[ClientOffer],
        context: &mut MasterContext<'_>,
    ) -> Result<Basket, String> {
        let checked = self.check_offers(framework, offers);
        let mut taken = Vec::with_capacity(offers.len());
        for offer in offers {
            if let Some(id) = self.owned(framework, offer) {
                taken.extend(self.take_offer(id, OfferFate::Accepted, context));
            }
        }
        match checked {
            Err(reason) => {
                for offer in taken {
                    self.recover_offer(offer, None, context);
                }
                Err(reason)
            }
            Ok((agent, role)) => {
                let mut left = Resources::new();
                for offer in taken {
                    let added = left.add(&offer.resources);
                    added.unwrap_or_else(|error| panic!("offers of one agent overlap: {error}"));
                }
                Ok(Basket::new(framework, agent, role, left))
            }
        }
    }

    fn check_offers(
        &self,
        framework: FrameworkIndex,
        offers: &[ClientOffer],
    ) -> Result<(AgentIndex, RoleName), String> {
        let mut seen = Set::default();
        let mut common: Option<(AgentIndex, &RoleName)> = None;
        for offer in offers {
            let Some(id) = self.owned(framework, offer) else {
                return Err(match offer {
                    ClientOffer::Known(id) => format!("Offer {} is no longer valid", self.offer_text(*id)),
                    ClientOffer::Foreign(text) => format!("Offer {} is no longer valid", clip(text)),
                });
            };
            if !seen.insert(id) {
                return Err(format!("Duplicate offer {}", self.offer_text(id)));
            }
            let held = &self.state.offers[&id];
            match common {
                Some((agent, _)) if agent != held.agent => {
                    let offer = self.offer_text(id);
                    return Err(format!("Aggregated offers must belong to one single agent; {offer} does not"));
                }
                Some((_, role)) if *role != held.role => {
                    return Err("Aggregated offers must be allocated to the same role".to_owned());
                }
                _ => common = Some((held.agent, &held.role)),
            }
        }
        let (agent, role) = common.ok_or("No offers specified")?;
        Ok((agent, role.clone()))
    }

    fn offer_text(&self, id: OfferId) -> String {
        self.leadership().map_or_else(|| id.0.to_string(), |leadership| id.text(leadership.master_id.as_str()))
    }

    /// Tells the framework that nothing of an ACCEPT was done.
    fn refuse_operations(
        &mut self,
        framework: FrameworkIndex,
        operations: Vec<OfferOperation>,
        message: &str,
        context: &mut MasterContext<'_>,
    ) {
        let told = self.as_told(framework, TaskState::Dropped);
        let invalid = |words: &str| Defect::new(Cause::OffersInvalid, words);
        let words = format!("Task launched with invalid offers: {message}");
        for operation in operations {
            match operation {
                OfferOperation::Launch { tasks } | OfferOperation::LaunchGroup { tasks, .. } => {
                    for task in tasks {
                        self.refuse_task(framework, &task, told, Reason::InvalidOffers, invalid(&words), context);
                    }
                }
                OfferOperation::Convert { operation_id, .. } => {
                    let words = format!("Operation attempted with invalid offers: {message}");
                    self.refuse_operation(framework, operation_id, invalid(&words), context);
                }
            }
        }
    }
}

/// The beginning of a client's text: what it sent may be a megabyte.
pub(super) fn clip(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
