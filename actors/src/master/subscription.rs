//! Frameworks, in and back. The newest subscription of an id wins (reference 3.1).
//!
//! Mesos: `Master::subscribe`, `Master::_subscribe`, `Master::failoverFramework`.

use super::state::Proxy;
use super::{Master, MasterContext, Pending, Timer};
use kaon_kernel::actor::{ActorKind, Address, ChildSpec, StreamId};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::constraint::OfferRules;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{FrameworkId, FrameworkIndex, OfferId, RoleName};
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::framework_master::ToFramework;
use kaon_kernel::message::registrar::RegistryOperation;
use kaon_kernel::message::{AgentMessage, FrameworkMessage};
use kaon_kernel::resource::role;
use kaon_kernel::time::Duration;

/// A framework on its way in.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// Its words; `id` is set once it has one.
    pub(super) info: FrameworkInfo,
    /// The roles in which it wants nothing now.
    pub(super) suppressed_roles: Vec<RoleName>,
    /// Which offers it wants.
    pub(super) offers: OfferRules,
    /// Where it reads.
    pub(super) stream: StreamId,
}

/// Frameworks compare the words.
fn removed() -> Defect {
    Defect::new(Cause::FrameworkRemoved, "Framework has been removed")
}

impl Master {
    /// A framework wants in, or back in.
    pub(super) fn on_subscribe(&mut self, mut subscription: Subscription, context: &mut MasterContext<'_>) {
        let Some(leadership) = self.leadership() else {
            let defect = Defect::new(Cause::NoLeader, "This master does not lead; ask for the leader again");
            return Self::turn_away(subscription.stream, defect, context);
        };
        if let Err(defect) = self.check_framework(&subscription.info, &subscription.offers) {
            return Self::turn_away(subscription.stream, defect, context);
        }
        let master_id = leadership.master_id.clone();
        let id = subscription.info.id.clone().unwrap_or_else(|| {
            let number = self.state.take_framework_number();
            FrameworkId::trusted(format!("{master_id}-{number:04}"))
        });
        subscription.info.id = Some(id.clone());
        if self.state.removed_frameworks.contains(&id) || self.pending.is_removing(&id) {
            return Self::turn_away(subscription.stream, removed(), context);
        }
        let known = self.state.framework_index(id.as_str()).map(|index| &self.state.frameworks[&index]);
        if let Some(framework) = known {
            if framework.info.principal != subscription.info.principal {
                let defect = Defect::new(Cause::PrincipalChanged, "Changing a framework's principal is not allowed");
                return Self::turn_away(subscription.stream, defect, context);
            }
            // A changed user or checkpoint is ignored, as Mesos does: tasks were started under the old one.
            subscription.info.user.clone_from(&framework.info.user);
            subscription.info.checkpoint = framework.info.checkpoint;
        }
        if known.is_some_and(|framework| framework.info == subscription.info) {
            return self.on_subscription_admitted(subscription, context);
        }
        let operation = RegistryOperation::AdmitFramework { info: subscription.info.clone() };
        let stream = subscription.stream;
        if !self.register_wish(operation, Pending::Subscribe(Box::new(subscription)), context) {
            let defect = Defect::new(Cause::Unavailable, "The master is overloaded; subscribe again later");
            Self::turn_away(stream, defect, context);
        }
    }

    /// The default role always may be (Mesos: `Master::initialize` puts it into the list).
    pub(super) fn may_use(&self, role: &RoleName) -> bool {
        self.config.roles.is_empty() || role.as_str() == role::DEFAULT || self.config.roles.contains(role)
    }

    pub(super) fn turn_away(stream: StreamId, defect: Defect, context: &mut MasterContext<'_>) {
        context.count("master/subscriptions_refused", 1);
        let Defect { cause, words: message } = defect;
        context.emit(stream, &FrameworkEvent::Error { message, cause });
        context.close(stream);
    }

    /// The registry has the framework: it is in, on its new stream.
    pub(super) fn on_subscription_admitted(&mut self, subscription: Subscription, context: &mut MasterContext<'_>) {
        let Subscription { info, suppressed_roles, offers, stream } = subscription;
        let Some(id) = info.id.clone() else { return };
        if self.pending.is_removing(&id) || self.state.removed_frameworks.contains(&id) {
            return Self::turn_away(stream, removed(), context);
        }
        let (index, is_new) = match self.state.framework_index(id.as_str()) {
            Some(index) => (index, false),
            None => (self.state.add_framework(id.clone(), info.clone(), context.wall()), true),
        };
        // On a failover the outstanding offers are discarded without a rescind: the new scheduler never saw them.
        self.recover_offers(index, context);
        self.rescind_inverse(|asked| asked.framework == index, false, context);
        let proxy = Self::proxy_address(index, context);
        let framework = &mut self.state.frameworks[&index];
        if !is_new {
            framework.reregistered_time = Some(context.wall());
        }
        if framework.recovered && !is_new {
            // When it first came no registry says (Mesos: `connectAndActivateRecoveredFramework`).
            framework.registered_time = context.wall();
        }
        framework.recovered = false;
        framework.info = info;
        framework.suppressed = suppressed_roles.into_iter().collect();
        framework.offer_rules = offers;
        framework.stream = Some(stream);
        context.disarm(Timer::FrameworkReturn(index));
        if framework.proxy == Proxy::None {
            framework.proxy = Proxy::Spawned;
            context.spawn(proxy, ChildSpec::Framework { framework_id: id.clone(), stream });
        } else {
            context.send(proxy, &FrameworkMessage::Master(ToFramework::Reattach { stream }));
        }
        self.welcome_framework(index, id, context);
        if is_new {
            self.allocate_framework(index, context);
        } else {
            self.update_allocated_framework(index, context);
            self.tell_agents_of(index, context);
        }
        self.show_framework(index, context);
    }

    fn welcome_framework(&self, index: FrameworkIndex, framework_id: FrameworkId, context: &mut MasterContext<'_>) {
        let Some(leadership) = self.leadership() else { return };
        let master_id = leadership.master_id.clone();
        let heartbeat_interval = self.config.heartbeat_interval;
        self.tell(index, FrameworkEvent::Subscribed { framework_id, master_id, heartbeat_interval }, context);
    }

    /// The agents that run its tasks keep a copy of its words.
    pub(super) fn tell_agents_of(&self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        let framework = &self.state.frameworks[&index];
        let agents = self.agents_of(index);
        for agent in agents.iter().map(|agent| &self.state.agents[agent]).filter(|agent| agent.connected) {
            let update = ToAgent::UpdateFramework { framework: Box::new(framework.info.clone()) };
            context.send(agent.address, &AgentMessage::Master(update));
        }
    }

    /// Where the proxy of a framework lives.
    pub(super) fn proxy_address(index: FrameworkIndex, context: &MasterContext<'_>) -> Address {
        Address::nth(context.me().host, ActorKind::Framework, index.0)
    }

    /// Tells a framework something, if it listens.
    pub(super) fn tell(&self, index: FrameworkIndex, event: FrameworkEvent, context: &mut MasterContext<'_>) {
        if self.state.frameworks.get(&index).is_some_and(|framework| framework.is_connected()) {
            let proxy = Self::proxy_address(index, context);
            context.send(proxy, &FrameworkMessage::Master(ToFramework::Deliver(event)));
        }
    }

    /// A proxy reports. A second report means that it fell and lost what was under way on its stream: its offers may
    /// never have been seen, so they are rescinded and made anew; statuses are repeated by the agents anyway.
    pub(super) fn on_attached(&mut self, from: Address, stream: StreamId, context: &mut MasterContext<'_>) {
        let index = FrameworkIndex(from.index);
        let Some(framework) = self.state.frameworks.get_mut(&index) else { return };
        let before = core::mem::replace(&mut framework.proxy, Proxy::Attached);
        if before != Proxy::Attached {
            return;
        }
        let (current, framework_id) = (framework.stream, framework.id.clone());
        if let Some(current) = current {
            if current != stream {
                context.send(from, &FrameworkMessage::Master(ToFramework::Reattach { stream: current }));
            }
            // Its framework may not even know that it is in. Told twice it takes no harm.
            self.welcome_framework(index, framework_id, context);
        }
        let Some(framework) = self.state.frameworks.get(&index) else { return };
        let offers: Vec<OfferId> = framework.offers.iter().copied().collect();
        for offer in offers {
            self.rescind(offer, context);
        }
        self.rescind_inverse(|asked| asked.framework == index, true, context);
    }

    /// The stream of a framework is gone; a newer one may stand already.
    pub(super) fn on_disconnected(&mut self, from: Address, stream: StreamId, context: &mut MasterContext<'_>) {
        let index = FrameworkIndex(from.index);
        if self.state.frameworks.get(&index).is_some_and(|framework| framework.stream == Some(stream)) {
            self.disconnect_framework(index, context);
        }
    }

    /// The edge lost a stream that may not have a proxy yet.
    pub(super) fn on_stream_closed(&mut self, stream: StreamId, context: &mut MasterContext<'_>) {
        let mut streams = self.state.frameworks.iter();
        if let Some((&index, _)) = streams.find(|(_, framework)| framework.stream == Some(stream)) {
            self.disconnect_framework(index, context);
        }
    }

    fn disconnect_framework(&mut self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        self.recover_offers(index, context);
        self.rescind_inverse(|asked| asked.framework == index, false, context);
        let framework = &mut self.state.frameworks[&index];
        framework.stream = None;
        let patience = framework.info.failover_timeout;
        context.arm(Timer::FrameworkReturn(index), patience);
        self.allocate(&ToAllocator::DeactivateFramework { framework: index }, context);
        self.show_framework(index, context);
    }

    /// A framework did not come back in its time.
    pub(super) fn on_framework_return_over(&mut self, index: FrameworkIndex, context: &mut MasterContext<'_>) {
        if let Some(framework) = self.state.frameworks.get(&index).filter(|framework| !framework.is_connected()) {
            let id = framework.id.clone();
            context.count("master/frameworks_not_returned", 1);
            self.teardown(&id, context);
        }
    }

    /// A proxy fell too often. Its framework has to subscribe again.
    pub(super) fn on_proxy_lost(&mut self, child: Address, context: &mut MasterContext<'_>) {
        let index = FrameworkIndex(child.index);
        let Some(framework) = self.state.frameworks.get_mut(&index) else { return };
        framework.proxy = Proxy::None;
        if let Some(stream) = framework.stream {
            context.close(stream);
            self.disconnect_framework(index, context);
        }
    }

    /// A framework known from the registry or from an agent only: it has tasks, but no scheduler here yet. Mesos keeps
    /// such a framework for ever when it never returns; here it has its failover timeout beyond the time that agents have.
    pub(super) fn recover_framework(&mut self, info: FrameworkInfo, context: &mut MasterContext<'_>) {
        let Some(id) = info.id.clone() else { return };
        let patience = info.failover_timeout + self.config.agent_return.max(Duration::secs(1));
        let index = self.state.add_framework(id, info, context.wall());
        context.arm(Timer::FrameworkReturn(index), patience);
        self.allocate_framework(index, context);
        self.show_framework(index, context);
    }
}
