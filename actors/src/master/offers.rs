//! Grants become offers; offers come back. An offer is in exactly one place (L6).

use super::state::HeldOffer;
use super::{Master, MasterContext, Timer};
use kaon_kernel::actor::{ActorKind, Address};
use kaon_kernel::framework::Capability;
use kaon_kernel::id::{AgentIndex, ExecutorId, FrameworkIndex, OfferId, RoleName, TaskId};
use kaon_kernel::message::AllocatorMessage;
use kaon_kernel::message::allocator::{Grant, ToAllocator};
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::scheduler::ClientOffer;
use kaon_kernel::message::view::OfferFate;
use kaon_kernel::offer::{Offer, Refusal};
use kaon_kernel::resource::Resources;
use kaon_kernel::table::Table;
use kaon_kernel::task::TaskState;

impl Master {
    /// Says something to the allocator, if it knows anything of this term.
    pub(super) fn allocate(&self, message: &ToAllocator, context: &mut MasterContext<'_>) {
        if self.allocator.started {
            self.send_allocator(message, context);
        }
    }

    pub(super) fn send_allocator(&self, message: &ToAllocator, context: &mut MasterContext<'_>) {
        // The message is small; cloning it into its root costs less than a second encoding path.
        let allocator = Address::only(context.me().host, ActorKind::Allocator);
        context.send(allocator, &AllocatorMessage::Master(message.clone()));
    }

    /// Gives resources back.
    pub(super) fn recover(&self, grant: Grant, refusal: Option<Refusal>, context: &mut MasterContext<'_>) {
        if !grant.resources.is_empty() {
            self.allocate(&ToAllocator::Recover { grant, refusal }, context);
        }
    }

    /// The allocator grants resources: they become offers, or go straight back when either side is away by now, or when
    /// they were granted by quotas that are no more.
    pub(super) fn on_granted(&mut self, epoch: u64, quotas: u64, grants: Vec<Grant>, context: &mut MasterContext<'_>) {
        if epoch != self.allocator.epoch || self.leadership().is_none() {
            return;
        }
        if quotas != self.allocator.quotas {
            context.count("master/outdated_grants", grants.len() as u64);
            return grants.into_iter().for_each(|grant| self.recover(grant, None, context));
        }
        let mut batches: Table<FrameworkIndex, Vec<Offer>> = Table::default();
        for grant in grants {
            let (Some(framework), Some(agent)) =
                (self.state.frameworks.get(&grant.framework), self.state.agents.get(&grant.agent))
            else {
                // Its removal is under way to the allocator, and takes the grant with it.
                continue;
            };
            let is_its = framework.is_connected() && framework.info.roles.contains(&grant.role);
            if !is_its || !self.is_offered(agent) {
                self.recover(grant, None, context);
                continue;
            }
            // What is reserved may have become something else since: an agent came back with less than was ordered.
            let is_settled = agent.converted().is_none() && !grant.resources.iter().any(|entry| entry.is_kept());
            if !is_settled && !agent.has_room_for(&grant.resources) {
                context.count("master/outdated_grants", 1);
                self.recover(grant, None, context);
                continue;
            }
            let (framework, agent) = (grant.framework, grant.agent);
            let (role, resources) = (grant.role.clone(), grant.resources.clone());
            let id = self.state.hold_offer(grant);
            self.show_offer(id, context);
            if let Some(patience) = self.config.offer_timeout {
                context.arm(Timer::Offer(id), patience);
            }
            batches.entry(framework).or_default().push(self.offer(id, framework, agent, role, resources));
        }
        for (framework, offers) in batches {
            context.count("master/messages_resource_offers", offers.len() as u64);
            self.tell_offers(framework, offers, context);
        }
    }

    fn offer(
        &self,
        id: OfferId,
        framework: FrameworkIndex,
        agent: AgentIndex,
        role: RoleName,
        resources: Resources,
    ) -> Offer {
        let agent = &self.state.agents[&agent];
        let custom = agent.executors.keys().filter(|(owner, _)| *owner == framework).map(|(_, id)| id.clone());
        let mut executors: Vec<ExecutorId> = custom.collect();
        executors.sort_unstable();
        Offer {
            id,
            agent_id: agent.id.clone(),
            hostname: agent.info.hostname.clone(),
            ip: agent.info.ip.clone(),
            port: agent.info.port,
            role,
            resources,
            attributes: agent.info.attributes.clone(),
            executors,
            domain: agent.info.domain.clone(),
            unavailability: self.maintenance.unavailability(&agent.info),
        }
    }

    fn tell_offers(&self, index: FrameworkIndex, offers: Vec<Offer>, context: &mut MasterContext<'_>) {
        let Some(leadership) = self.leadership() else { return };
        let framework = &self.state.frameworks[&index];
        let event = FrameworkEvent::Offers {
            master_id: leadership.master_id.clone(),
            multi_role: framework.info.has(Capability::MultiRole),
            reservation_refinement: framework.info.has(Capability::ReservationRefinement),
            framework_id: framework.id.clone(),
            offers,
        };
        self.tell(index, event, context);
    }

    /// Takes an offer back and tells its framework.
    pub(super) fn rescind(&mut self, id: OfferId, context: &mut MasterContext<'_>) {
        let Some(offer) = self.take_offer(id, OfferFate::Rescinded, context) else { return };
        let framework = offer.framework;
        self.recover_offer(offer, None, context);
        if let Some(leadership) = self.leadership() {
            let master_id = leadership.master_id.clone();
            self.tell(framework, FrameworkEvent::Rescind { master_id, offer_id: id }, context);
        }
    }

    /// Takes an offer out of its framework's hands.
    pub(super) fn take_offer(
        &mut self,
        id: OfferId,
        fate: OfferFate,
        context: &mut MasterContext<'_>,
    ) -> Option<HeldOffer> {
        let offer = self.state.take_offer(id)?;
        if self.config.offer_timeout.is_some() {
            context.disarm(Timer::Offer(id));
        }
        self.show_offer_removed(id, fate, context);
        Some(offer)
    }

    /// Gives what lay in an offer back to the allocator.
    pub(super) fn recover_offer(&self, offer: HeldOffer, refusal: Option<Refusal>, context: &mut MasterContext<'_>) {
        let HeldOffer { framework, agent, role, resources } = offer;
        self.recover(Grant { framework, role, agent, resources }, refusal, context);
    }

    /// Takes all offers of a framework back without a word to it.
    pub(super) fn recover_offers(&mut self, framework: FrameworkIndex, context: &mut MasterContext<'_>) {
        let offers: Vec<OfferId> = self.state.frameworks[&framework].offers.iter().copied().collect();
        for id in offers {
            if let Some(offer) = self.take_offer(id, OfferFate::Dropped, context) {
                self.recover_offer(offer, None, context);
            }
        }
    }

    /// Rescinds all offers of an agent.
    pub(super) fn rescind_agent(&mut self, agent: AgentIndex, context: &mut MasterContext<'_>) {
        let offers: Vec<OfferId> = self.state.agents[&agent].offers.iter().copied().collect();
        for id in offers {
            self.rescind(id, context);
        }
    }

    /// DECLINE: each offer that is still the framework's goes back; others are ignored.
    pub(super) fn on_decline(
        &mut self,
        framework: FrameworkIndex,
        offers: Vec<ClientOffer>,
        refusal: Refusal,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_decline_offers", 1);
        for offer in offers {
            if let Some(id) = self.owned(framework, &offer)
                && let Some(offer) = self.take_offer(id, OfferFate::Declined, context)
            {
                self.recover_offer(offer, Some(refusal), context);
            }
        }
    }

    /// The offer of a client's text, when it is in this framework's hands.
    pub(super) fn owned(&self, framework: FrameworkIndex, offer: &ClientOffer) -> Option<OfferId> {
        let ClientOffer::Known(id) = offer else { return None };
        self.state.offers.get(id).filter(|held| held.framework == framework).map(|_| *id)
    }

    /// REVIVE. One wrong role and the whole call is dropped (reference 3.3).
    pub(super) fn on_revive(
        &mut self,
        framework: FrameworkIndex,
        roles: Vec<RoleName>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_revive_offers", 1);
        if let Some(roles) = self.own_roles(framework, roles, context) {
            let suppressed = &mut self.state.frameworks[&framework].suppressed;
            suppressed.retain(|role| !roles.contains(role));
            self.show_suppressed(framework, context);
            self.allocate(&ToAllocator::Revive { framework, roles }, context);
        }
    }

    /// SUPPRESS. Outstanding offers stay.
    pub(super) fn on_suppress(
        &mut self,
        framework: FrameworkIndex,
        roles: Vec<RoleName>,
        context: &mut MasterContext<'_>,
    ) {
        context.count("master/messages_suppress_offers", 1);
        if let Some(roles) = self.own_roles(framework, roles, context) {
            self.state.frameworks[&framework].suppressed.extend(roles.iter().cloned());
            self.show_suppressed(framework, context);
            self.allocate(&ToAllocator::Suppress { framework, roles }, context);
        }
    }

    fn own_roles(
        &self,
        framework: FrameworkIndex,
        roles: Vec<RoleName>,
        context: &mut MasterContext<'_>,
    ) -> Option<Vec<RoleName>> {
        let own = &self.state.frameworks[&framework].info.roles;
        if roles.is_empty() {
            return (!own.is_empty()).then(|| own.clone());
        }
        let known = roles.iter().all(|role| own.contains(role));
        if !known {
            context.count("master/invalid_role_calls", 1);
        }
        known.then_some(roles)
    }

    /// Gives what a task held back, once.
    pub(super) fn free(&mut self, framework: FrameworkIndex, task_id: &TaskId, context: &mut MasterContext<'_>) {
        if let Some(grant) = self.state.free_task(framework, task_id) {
            self.recover(grant, None, context);
        }
    }

    // What the allocator knows of frameworks and agents.

    pub(super) fn allocate_framework(&self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        let framework = &self.state.frameworks[&index];
        let add = ToAllocator::AddFramework {
            framework: index,
            id: framework.id.clone(),
            roles: framework.info.roles.clone(),
            suppressed: framework.suppressed.iter().cloned().collect(),
            capabilities: framework.info.capabilities.clone(),
            offers: framework.offer_rules.clone(),
            active: framework.is_connected(),
        };
        self.allocate(&add, context);
    }

    pub(super) fn update_allocated_framework(&self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        let framework = &self.state.frameworks[&index];
        let update = ToAllocator::UpdateFramework {
            framework: index,
            roles: framework.info.roles.clone(),
            suppressed: framework.suppressed.iter().cloned().collect(),
            capabilities: framework.info.capabilities.clone(),
            offers: framework.offer_rules.clone(),
        };
        self.allocate(&update, context);
        if self.state.frameworks[&index].is_connected() {
            self.allocate(&ToAllocator::ActivateFramework { framework: index }, context);
        }
    }

    pub(super) fn allocate_agent(&self, index: AgentIndex, context: &mut MasterContext<'_>) {
        let agent = &self.state.agents[&index];
        let mut used: Table<(FrameworkIndex, RoleName), Grant> = Table::default();
        let mut charge = |framework: FrameworkIndex, role: &RoleName, resources: &Resources| {
            let grant = used.entry((framework, role.clone())).or_insert_with(|| Grant {
                framework,
                role: role.clone(),
                agent: index,
                resources: Resources::new(),
            });
            let added = grant.resources.add(resources);
            added.unwrap_or_else(|error| panic!("what is held of {}: {error}", agent.id));
        };
        for (framework, task_id) in &agent.tasks {
            let held = &self.state.frameworks[framework].tasks[task_id];
            if !held.freed {
                charge(*framework, &held.role, &held.task.info.resources);
            }
        }
        for ((framework, _), executor) in &agent.executors {
            charge(*framework, &executor.role, &executor.info.resources);
        }
        for id in &agent.offers {
            let offer = &self.state.offers[id];
            charge(offer.framework, &offer.role, &offer.resources);
        }
        let add = ToAllocator::AddAgent {
            agent: index,
            id: agent.id.clone(),
            hostname: agent.info.hostname.clone(),
            total: agent.total().clone(),
            attributes: agent.info.attributes.clone(),
            domain: agent.info.domain.clone(),
            used: used.into_values().collect(),
        };
        self.allocate(&add, context);
        if !self.may_offer(index) {
            self.allocate(&ToAllocator::DeactivateAgent { agent: index }, context);
        }
        self.allocate_unavailability(index, context);
        self.allocate_shape(index, context);
    }

    /// The state that a framework is told of a loss: a finer word only to those who know it.
    pub(super) fn as_told(&self, framework: FrameworkIndex, state: TaskState) -> TaskState {
        state.as_told(self.state.frameworks[&framework].partition_aware())
    }
}
