//! What must hold by the word of operators, as the master itself shows their words.

use super::Violation;
use super::view::{RoleNumber, View};
use crate::world::cast::hostname;
use kaon_kernel::id::{AgentId, FrameworkId};
use kaon_kernel::maintenance::{AgentOrders, DrainState, MachineId, Unavailability, Window};
use kaon_kernel::message::view::{MaintenanceView, SettingsView};
use kaon_kernel::resource::{ResourceName, Resources, role};
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant};

/// An agent that comes back brings tasks that its allocator did not know of when it granted what is on its way to the master:
/// so long limits may be overstepped. Longer than a full mailbox holds a slow master up.
const RETURN: Duration = Duration::secs(5);

/// The claims about operators' words:
/// offers are made of connected agents only that are not deactivated, and deactivation takes back what is out; nothing is on
/// an agent that is drained; an offer brings no role above a limit; frameworks are asked to leave agents whose machines are
/// scheduled, each one once at a time, and nobody is asked about what is gone.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) settings: SettingsView,
    pub(super) schedule: MaintenanceView,
    /// Inverse offers that are out.
    asked: Table<u64, (FrameworkId, AgentId)>,
    /// When an agent came last.
    came: Option<Instant>,
}

/// How it stands with an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is offered.
    #[default]
    Open,
    /// It is not.
    Deactivated,
    /// It is not, and what is on it is to end.
    Draining,
    /// Nothing is on it any more.
    Drained,
}

impl Standing {
    pub(super) fn of(orders: Option<&AgentOrders>) -> Self {
        let Some(orders) = orders else { return Self::Open };
        match orders.drain.as_ref().map(|drain| drain.state) {
            Some(DrainState::Draining) => Self::Draining,
            Some(DrainState::Drained) => Self::Drained,
            None if orders.deactivated => Self::Deactivated,
            None => Self::Open,
        }
    }
}

const OFFERED: &str = "offers are made of agents that may be offered";
const ASKED: &str = "who holds something of a scheduled machine is asked once";
const LIMIT: &str = "no offer brings a role above its limit";

impl Rules {
    /// An agent has come, or has come back.
    pub(super) fn somebody_came(&mut self, now: Instant) {
        self.came = Some(now);
    }

    pub(super) fn is_asked_no_more(&mut self, number: u64) -> Result<(), Violation> {
        match self.asked.swap_remove(&number) {
            Some(_) => Ok(()),
            None => Err(Violation::new(ASKED, format!("inverse offer {number} ends twice"))),
        }
    }

    /// Who is gone, or what is gone, is nobody's question any more.
    pub(super) fn nobody_is_asked(&self, is_gone: impl Fn(&FrameworkId, &AgentId) -> bool) -> Result<(), Violation> {
        match self.asked.iter().find(|(_, (framework, agent))| is_gone(framework, agent)) {
            Some((number, (framework, agent))) => {
                let words = format!("inverse offer {number} of {framework} about {agent} outlives them");
                Err(Violation::new(ASKED, words))
            }
            None => Ok(()),
        }
    }
}

impl View {
    /// An offer is made: whether it may be.
    pub(super) fn may_be_offered(&self, number: u64, now: Instant) -> Result<(), Violation> {
        let offered = &self.offers[&number];
        let book = &self.agents[&offered.agent];
        if !book.is_connected || book.standing != Standing::Open {
            let words = format!("offer {number} of {}, which is {:?}", offered.agent, book.standing);
            return Err(Violation::new(OFFERED, words));
        }
        let quotas = &self.rules.settings.quotas;
        let is_settled = self.rules.came.is_none_or(|came| now.since(came) >= RETURN);
        if quotas.is_empty() || !is_settled {
            return Ok(());
        }
        let own = &self.roles[usize::from(offered.role)];
        for (top, quota) in quotas.iter().filter(|(top, _)| role::is_within(own, top)) {
            for (name, limit) in &quota.limits {
                let more = plain(&offered.resources, name);
                let has = self.consumed(|number| role::is_within(&self.roles[usize::from(number)], top), name)
                    + self.reserved(|holder| role::is_within(holder, top), name);
                if more > 0 && has > u128::from(limit.0) {
                    let words =
                        format!("offer {number} brings {top} to {has} of {}, its limit is {limit}", name.as_str());
                    return Err(Violation::new(LIMIT, words));
                }
            }
        }
        Ok(())
    }

    /// What is offered and in use under some roles, in thousandths. Cost: every task and offer.
    fn consumed(&self, is_its: impl Fn(RoleNumber) -> bool, name: &ResourceName) -> u128 {
        let offers = self.offers.values().map(|offered| (offered.role, &offered.resources));
        let tasks = self.tasks.values().flat_map(|tasks| tasks.values());
        let tasks = tasks.filter(|held| held.counted).map(|held| (held.role, &held.resources));
        let executors = self.executors.values().map(|(resources, role)| (*role, resources));
        let its = offers.chain(tasks).chain(executors).filter(|(role, _)| is_its(*role));
        its.map(|(_, resources)| u128::from(plain(resources, name))).sum()
    }

    /// What is reserved to some roles on the agents that the allocator knows.
    fn reserved(&self, is_its: impl Fn(&kaon_kernel::id::RoleName) -> bool, name: &ResourceName) -> u128 {
        let known = self.agents.values().filter(|book| book.is_registered);
        let its = |entry: &kaon_kernel::resource::Resource| entry.reservation_role().is_some_and(&is_its);
        known.map(|book| u128::from(book.total().filter(its).scalar(name).0)).sum()
    }

    /// An agent stands otherwise than before.
    pub(super) fn stands(&self, id: &AgentId, standing: Standing) -> Result<(), Violation> {
        if standing == Standing::Open {
            return Ok(());
        }
        if let Some((number, _)) = self.offers.iter().find(|(_, offered)| offered.agent == *id) {
            let words = format!("offer {number} of {id}, which is {standing:?}");
            return Err(Violation::new(OFFERED, words));
        }
        let is_on_it = |held: &&super::view::Held| held.counted && held.agent == *id;
        let left = self.tasks.values().flat_map(|tasks| tasks.values()).filter(is_on_it).count();
        match standing == Standing::Drained && left > 0 {
            true => Err(Violation::new("nothing is on a drained agent", format!("{left} tasks on {id}"))),
            false => Ok(()),
        }
    }

    /// A framework is asked to leave an agent.
    pub(super) fn is_asked(
        &mut self,
        number: u64,
        framework: FrameworkId,
        agent: AgentId,
        when: Unavailability,
    ) -> Result<(), Violation> {
        let machine = self.agents.get(&agent).map(|book| hostname(book.machine));
        let is_its = |window: &&Window| window.machines.iter().any(|one| Some(&one.hostname) == machine.as_ref());
        let scheduled = self.rules.schedule.windows.iter().find(is_its).map(|window| window.unavailability);
        if scheduled != Some(when) {
            let words = format!("{framework} is to leave {agent} for {when:?}, the schedule says {scheduled:?}");
            return Err(Violation::new(ASKED, words));
        }
        let key = (framework, agent);
        if self.rules.asked.values().any(|out| *out == key) {
            return Err(Violation::new(ASKED, format!("{} is asked twice to leave {}", key.0, key.1)));
        }
        self.rules.asked.insert(number, key);
        Ok(())
    }
}

/// What an operator looks at.
impl View {
    /// The agent of a machine, if one is connected.
    pub(crate) fn agent_id(&self, machine: u32) -> Option<AgentId> {
        let mut all = self.agents.iter().filter(|(_, book)| book.is_connected);
        all.find(|(_, book)| book.machine == machine).map(|(id, _)| id.clone())
    }

    /// The name of an agent's machine.
    pub(crate) fn machine_of(&self, id: &str) -> Option<u32> {
        self.agents.get(id).map(|book| book.machine)
    }

    /// Agents of which nothing is offered, and that are not on their way to be drained.
    pub(crate) fn put_aside(&self) -> impl Iterator<Item = AgentId> {
        let aside = |standing| matches!(standing, Standing::Deactivated | Standing::Drained);
        self.agents.iter().filter(move |(_, book)| aside(book.standing)).map(|(id, _)| id.clone())
    }

    /// The schedule of maintenance.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.rules.schedule.windows
    }

    /// Machines that are down.
    pub(crate) fn down(&self) -> &[MachineId] {
        &self.rules.schedule.down
    }

    /// Quotas and weights.
    pub(crate) fn settings(&self) -> &SettingsView {
        &self.rules.settings
    }

    /// Whether no operator seems to have said anything that still counts.
    pub(crate) fn is_as_it_was(&self) -> bool {
        let is_open = self.agents.values().all(|book| book.standing == Standing::Open);
        is_open && self.windows().is_empty() && self.rules.asked.is_empty()
    }
}

/// How much of a resource is neither reserved nor revocable, in thousandths.
fn plain(resources: &Resources, name: &ResourceName) -> u64 {
    resources.filter(|entry| entry.reservation_role().is_none() && !entry.is_revocable()).scalar(name).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::agent::AgentInfo;
    use kaon_kernel::frame::{Frame, Route};
    use kaon_kernel::id::{OfferId, RoleName};
    use kaon_kernel::maintenance::{Drain, DrainConfig};
    use kaon_kernel::message::view::{AgentView, ViewEvent};
    use kaon_kernel::quantity::Quantity;
    use kaon_kernel::quota::Quota;
    use kaon_kernel::time::WallTime;

    const LATER: Instant = Instant(60_000_000_000);

    fn id() -> AgentId {
        AgentId::trusted("a")
    }

    fn agent(orders: Option<AgentOrders>) -> ViewEvent {
        let resources = Resources::cpus_and_mem(Quantity::units(4), Quantity::units(1024));
        let info = AgentInfo { id: Some(id()), hostname: hostname(1), resources, ..AgentInfo::default() };
        let (registered_time, orders) = (WallTime(0), orders.map(Box::new));
        ViewEvent::Agent(AgentView {
            info,
            converted: None,
            registered: true,
            connected: true,
            active: true,
            registered_time,
            reregistered_time: None,
            orders,
        })
    }

    fn offered(number: u64, cpus: u64) -> ViewEvent {
        ViewEvent::Offered {
            offer_id: OfferId(number),
            framework_id: FrameworkId::trusted("f"),
            agent_id: id(),
            role: RoleName::trusted("web/front"),
            resources: Resources::cpus_and_mem(Quantity::units(cpus), Quantity::ZERO),
        }
    }

    /// What the checker finds when it is shown these events, one after the other.
    fn found(events: &[(Instant, ViewEvent)]) -> Option<&'static str> {
        let mut view = View::default();
        events.iter().find_map(|(now, event)| {
            let from = kaon_kernel::actor::Address::outside(kaon_kernel::actor::HostId(1));
            let route = Route { to: from, from, sequence: 1, term: kaon_kernel::actor::Term(0) };
            let frame = Frame::encode(route, event);
            let seen = view.observe(frame.body::<ViewEvent>().expect("an event"), *now);
            seen.err().map(|violation| violation.claim)
        })
    }

    #[test]
    fn what_is_put_aside_is_not_offered() {
        let (now, aside) = (LATER, AgentOrders { deactivated: true, drain: None });
        assert_eq!(found(&[(now, agent(None)), (now, offered(1, 1))]), None);
        assert_eq!(found(&[(now, agent(Some(aside.clone()))), (now, offered(1, 1))]), Some(OFFERED));
        let out = [(now, agent(None)), (now, offered(1, 1)), (now, agent(Some(aside)))];
        assert_eq!(found(&out), Some(OFFERED), "what is out is taken back first");
    }

    #[test]
    fn a_limit_holds_for_the_whole_tree_below_a_role() {
        let limits = vec![(ResourceName::Cpus, Quantity::units(2))];
        let quota = Quota { guarantees: Vec::new(), limits };
        let settings = SettingsView { quotas: vec![(RoleName::trusted("web"), quota)], weights: Vec::new() };
        let begin = [(Instant(0), agent(None)), (Instant(0), ViewEvent::Settings(settings))];
        let with = |now, offers: &[u64]| {
            let offers = (1..).zip(offers).map(|(number, cpus)| (now, offered(number, *cpus)));
            found(&begin.iter().cloned().chain(offers).collect::<Vec<_>>())
        };
        assert_eq!(with(LATER, &[1, 1]), None);
        assert_eq!(with(LATER, &[1, 2]), Some(LIMIT));
        assert_eq!(with(Instant(1), &[1, 2]), None, "an agent has just come");
    }

    #[test]
    fn a_drained_agent_is_empty_and_a_schedule_is_what_is_asked_about() {
        let drain = Drain { state: DrainState::Drained, config: DrainConfig::default(), since: WallTime(0) };
        let drained = AgentOrders { deactivated: true, drain: Some(drain) };
        assert_eq!(found(&[(LATER, agent(None)), (LATER, agent(Some(drained)))]), None);
        let unavailability = Unavailability { start: WallTime(5), duration: None };
        let asked = |number| ViewEvent::InverseOffered {
            offer_id: OfferId(number),
            framework_id: FrameworkId::trusted("f"),
            agent_id: id(),
            unavailability,
        };
        assert_eq!(found(&[(LATER, agent(None)), (LATER, asked(1))]), Some(ASKED), "nothing is scheduled");
        let machines = vec![MachineId { hostname: hostname(1), ip: String::new() }];
        let windows = vec![Window { machines, unavailability }];
        let schedule = ViewEvent::Maintenance(MaintenanceView { windows, down: Vec::new() });
        let begin = [(LATER, agent(None)), (LATER, schedule), (LATER, asked(1))];
        assert_eq!(found(&begin), None);
        assert_eq!(found(&[&begin[..], &[(LATER, asked(2))]].concat()), Some(ASKED), "twice");
        let gone = ViewEvent::AgentRemoved { agent_id: id(), unreachable: false };
        assert_eq!(found(&[&begin[..], &[(LATER, gone)]].concat()), Some(ASKED), "it outlives its agent");
    }
}
