//! The beginning of a term: the same for a first start, a restart and a failover. And its end.
//!
//! The registry tells which agents and frameworks there are; agents tell what they run; frameworks subscribe again.

use super::maintenance::Maintenance;
use super::settings::Settings;
use super::standing::Standing;
use super::state::{Proxy, State};
use super::{Leadership, Master, MasterContext, Phase, Timer};
use kaon_kernel::actor::{ActorKind, Address, HostId, Term};
use kaon_kernel::id::{AgentIndex, FrameworkIndex, MasterId};
use kaon_kernel::message::RegistrarMessage;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::registrar::{Registry, ToRegistrar};
use kaon_kernel::message::view::ViewEvent;

impl Master {
    /// Asks the registrar who leads.
    pub(super) fn begin(&mut self, context: &mut MasterContext<'_>) {
        let registrar = Address::only(context.me().host, ActorKind::Registrar);
        context.send(registrar, &RegistrarMessage::Master(ToRegistrar::Attach));
    }

    /// We lead from here on.
    pub(super) fn on_leading(&mut self, term: Term, registry: Registry, context: &mut MasterContext<'_>) {
        if self.leadership().is_some_and(|leadership| leadership.term == term) {
            return;
        }
        self.forget(context);
        let master_id = MasterId::trusted(context.chance().uuid().to_string());
        self.phase = Phase::Leading(Leadership { term, master_id: master_id.clone() });
        context.set_term(term);
        context.count("master/elections_won", 1);
        context.emit(Self::VIEW, &ViewEvent::Reset { master_id, term, elected: context.wall() });
        for (id, _) in registry.removed {
            self.state.removed_frameworks.insert(id);
        }
        for (agent, since) in registry.unreachable {
            if let Some(id) = agent.info.id {
                self.state.unreachable_agents.insert(id, since);
            }
        }
        let orders = if self.config.plant_forget_standing { Vec::new() } else { registry.orders };
        self.standing = Standing::new(orders, registry.gone);
        self.maintenance = Maintenance::new(registry.schedule, registry.down);
        self.show_maintenance(context);
        for agent in registry.agents {
            self.show_recovered_agent(&agent, context);
            if let Some(id) = agent.info.id.clone() {
                self.state.recovered_agents.insert(id, agent);
            }
        }
        self.settings = Settings::new(&self.config, registry.weights, registry.quotas);
        self.show_settings(context);
        if self.allocator.started {
            self.fill_allocator(context);
        }
        for info in registry.frameworks {
            self.recover_framework(info, context);
        }
        context.arm(Timer::RecoveredAgents, self.config.agent_return);
        let hosts: Vec<HostId> = self.links.keys().copied().collect();
        for host in hosts {
            self.announce(host, context);
        }
    }

    /// Somebody else leads, or nobody.
    pub(super) fn on_following(&mut self, context: &mut MasterContext<'_>) {
        self.forget(context);
        self.phase = Phase::Waiting;
        context.set_term(Term(0));
        if self.allocator.started {
            self.send_allocator(&ToAllocator::Pause, context);
        }
        context.emit(Self::VIEW, &ViewEvent::Following);
    }

    /// Drops all that belongs to a term: frameworks are cut off and find the leader by themselves.
    fn forget(&mut self, context: &mut MasterContext<'_>) {
        for (&index, framework) in &self.state.frameworks {
            if let Some(stream) = framework.stream {
                context.close(stream);
            }
            if framework.proxy != Proxy::None {
                context.stop(Self::proxy_address(index, context));
            }
            context.disarm(Timer::FrameworkReturn(index));
        }
        for &index in self.state.agents.keys() {
            context.disarm(Timer::Ping(index));
            context.disarm(Timer::AgentReturn(index));
        }
        for &offer in self.state.offers.keys() {
            context.disarm(Timer::Offer(offer));
        }
        context.disarm(Timer::RecoveredAgents);
        self.state = State::beyond(&self.state);
        self.pending.forget();
        self.admitting.clear();
        self.drop_conversions(context);
        self.maintenance = Maintenance::default();
        self.standing = Standing::default();
    }

    /// The allocator began, knowing nothing.
    pub(super) fn on_allocator_started(&mut self, context: &mut MasterContext<'_>) {
        self.allocator.started = true;
        if self.leadership().is_some() {
            self.fill_allocator(context);
        }
    }

    /// Tells the allocator everything that is known. What it granted on older books is void.
    fn fill_allocator(&mut self, context: &mut MasterContext<'_>) {
        self.allocator.epoch += 1;
        self.drop_conversions(context);
        let begin = ToAllocator::Begin { epoch: self.allocator.epoch, weights: self.settings.weights() };
        self.send_allocator(&begin, context);
        // It knows of nobody that was asked, and asks them anew.
        self.rescind_inverse(|_| true, true, context);
        self.allocator.quotas += 1;
        let quotas = ToAllocator::SetQuotas { number: self.allocator.quotas, quotas: self.settings.quotas() };
        self.send_allocator(&quotas, context);
        if let Some(hostnames) = &self.config.whitelist {
            self.send_allocator(&ToAllocator::SetWhitelist { hostnames: Some(hostnames.clone()) }, context);
        }
        let known = self.state.recovered_agents.len() + self.state.agents.len();
        self.send_allocator(&ToAllocator::ExpectAgents { known: known as u32 }, context);
        let frameworks: Vec<FrameworkIndex> = self.state.frameworks.keys().copied().collect();
        for index in frameworks {
            self.allocate_framework(index, context);
        }
        let agents: Vec<AgentIndex> = self.state.agents.keys().copied().collect();
        for index in agents {
            self.allocate_agent(index, context);
        }
        self.send_allocator(&ToAllocator::Resume, context);
    }
}
