//! An operator: what it does to the cluster in the middle of a run, and how it puts everything right at the end.
//!
//! It stands at the master's edge, so that its orders are the messages that the operator API makes of calls, and answers come
//! on streams of their own. It knows of the cluster what the view shows. What was answered `Done` is a promise, held
//! against all that the master shows from then on ([`crate::check::Promises`]).

use crate::check::{Promises, View};
use crate::explore::story::Note;
use crate::machine::Machine;
use crate::machine::happening::Happening;
use crate::world::cast::{address, hostname};
use crate::world::lane::Lane;
use kaon_kernel::actor::{ActorKind, Address, StreamId};
use kaon_kernel::frame::{Frame, copy};
use kaon_kernel::id::{AgentId, RoleName};
use kaon_kernel::maintenance::{DrainConfig, MachineId, Unavailability, Window};
use kaon_kernel::message::MasterMessage;
use kaon_kernel::message::operator::{Answer, Order};
use kaon_kernel::message::scheduler::ToMaster;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::quota::Quota;
use kaon_kernel::resource::ResourceName;
use kaon_kernel::table::Table;
use kaon_kernel::time::{Duration, Instant, WallTime};

/// How often it looks whether everything is as it was, from the end of the storm on.
pub(crate) const ROUND: Duration = Duration::secs(1);
/// After this it gives an order again for which the master had no time.
const AGAIN: Duration = Duration::millis(500);
/// Its streams have numbers from here on: neither those of clients, which have their machine above 32 bits, nor the view's.
const STREAMS: u64 = 1 << 24;
/// The weight of a role of which nothing was said, in thousandths.
const WEIGHT: u32 = 1000;

/// What an operator does. Agents are named by their machines, roles by their place among those of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// DRAIN_AGENT.
    Drain {
        /// Which.
        agent: u32,
        /// The longest grace of a task in seconds; each its own without it.
        grace_seconds: Option<u16>,
        /// Whether it ends as gone.
        mark_gone: bool,
    },
    /// DEACTIVATE_AGENT.
    Deactivate(u32),
    /// REACTIVATE_AGENT.
    Reactivate(u32),
    /// MARK_AGENT_GONE.
    MarkGone(u32),
    /// The process of an agent is started, if it is not there.
    Start(u32),
    /// UPDATE_MAINTENANCE_SCHEDULE: one machine more will be away.
    Schedule {
        /// Which.
        agent: u32,
        /// From then on, in seconds.
        after_seconds: u16,
        /// For so long, in seconds; zero is for good.
        length_seconds: u16,
    },
    /// UPDATE_MAINTENANCE_SCHEDULE: one machine less.
    Unschedule(u32),
    /// START_MAINTENANCE.
    StartMaintenance(u32),
    /// STOP_MAINTENANCE.
    StopMaintenance(u32),
    /// UPDATE_QUOTA, for processors.
    SetQuota {
        /// Of which role.
        role: u8,
        /// Promised, in thousandths.
        guarantee: u32,
        /// The most, in thousandths.
        limit: Option<u32>,
        /// Whether what is in use already does not count.
        force: bool,
    },
    /// UPDATE_WEIGHTS, in thousandths.
    SetWeight {
        /// Of which role.
        role: u8,
        /// Above zero.
        weight: u32,
    },
    /// Whatever is not as it was is put right, round by round.
    PutRight,
}

/// An order that is not answered yet.
struct Given {
    act: Act,
    order: Order,
}

/// An operator.
pub(crate) struct Operator {
    agents: u32,
    roles: Vec<RoleName>,
    given: Table<StreamId, Given>,
    /// Counts its orders.
    orders: u64,
    /// What it was promised.
    pub(crate) promises: Promises,
    /// Whether the cluster is as it was.
    pub(crate) is_at_rest: bool,
}

impl Operator {
    /// One of a cluster of so many agents, with the roles of its frameworks.
    pub(crate) fn new(agents: u32, roles: Vec<RoleName>) -> Self {
        let (given, promises) = (Table::default(), Promises::default());
        Self { agents, roles, given, orders: 0, promises, is_at_rest: false }
    }

    fn role(&self, place: u8) -> Option<RoleName> {
        self.roles.get(usize::from(place) % self.roles.len().max(1)).cloned()
    }

    /// The orders of an act; none when what it names is not there now.
    fn orders(&self, act: Act, view: &View, now: WallTime) -> Vec<Order> {
        let of_agent = |agent: u32, order: fn(AgentId) -> Order| view.agent_id(agent).map(order).into_iter().collect();
        match act {
            Act::Drain { agent, grace_seconds, mark_gone } => {
                let grace_max = grace_seconds.map(|seconds| Duration::secs(seconds.into()));
                let config = DrainConfig { grace_max, mark_gone };
                view.agent_id(agent).map(|agent_id| Order::Drain { agent_id, config }).into_iter().collect()
            }
            Act::Deactivate(agent) => of_agent(agent, |agent_id| Order::Deactivate { agent_id }),
            Act::Reactivate(agent) => of_agent(agent, |agent_id| Order::Reactivate { agent_id }),
            Act::MarkGone(agent) => of_agent(agent, |agent_id| Order::MarkGone { agent_id }),
            Act::Schedule { agent, after_seconds, length_seconds } => {
                let mut windows = without(view.windows(), agent);
                let length = Duration::secs(length_seconds.into());
                windows.push(Window {
                    machines: vec![machine(agent)],
                    unavailability: Unavailability {
                        start: now + Duration::secs(after_seconds.into()),
                        duration: (length > Duration::ZERO).then_some(length),
                    },
                });
                vec![Order::SetSchedule { windows }]
            }
            Act::Unschedule(agent) => vec![Order::SetSchedule { windows: without(view.windows(), agent) }],
            Act::StartMaintenance(agent) => vec![Order::StartMaintenance { machines: vec![machine(agent)] }],
            Act::StopMaintenance(agent) => vec![Order::StopMaintenance { machines: vec![machine(agent)] }],
            Act::SetQuota { role, guarantee, limit, force } => {
                let amount = |thousandths: u32| (ResourceName::Cpus, Quantity(thousandths.into()));
                let guarantees = (guarantee > 0).then(|| amount(guarantee)).into_iter().collect();
                let quota = Quota { guarantees, limits: limit.map(amount).into_iter().collect() };
                let set = |role| Order::SetQuotas { quotas: vec![(role, quota)], force };
                self.role(role).map(set).into_iter().collect()
            }
            Act::SetWeight { role, weight } => {
                self.role(role).map(|role| Order::SetWeights { weights: vec![(role, weight)] }).into_iter().collect()
            }
            Act::Start(_) => Vec::new(),
            Act::PutRight => Self::to_put_right(view),
        }
    }

    /// What is to be ordered so that everything is as it was. Drains are left to come to their end.
    fn to_put_right(view: &View) -> Vec<Order> {
        let mut orders: Vec<Order> = view.put_aside().map(|agent_id| Order::Reactivate { agent_id }).collect();
        // One change of the schedule at a time.
        if !view.down().is_empty() {
            orders.push(Order::StopMaintenance { machines: view.down().to_vec() });
        } else if !view.windows().is_empty() {
            orders.push(Order::SetSchedule { windows: Vec::new() });
        }
        let settings = view.settings();
        if !settings.quotas.is_empty() {
            let quotas = settings.quotas.iter().map(|(role, _)| (role.clone(), Quota::default())).collect();
            orders.push(Order::SetQuotas { quotas, force: true });
        }
        let weights = settings.weights.iter().filter(|(_, weight)| *weight != WEIGHT);
        let weights: Vec<_> = weights.map(|(role, _)| (role.clone(), WEIGHT)).collect();
        if !weights.is_empty() {
            orders.push(Order::SetWeights { weights });
        }
        orders
    }

    /// Gives an order: the stream on which it is answered.
    fn give(&mut self, act: Act, order: &Order) -> StreamId {
        self.orders += 1;
        let reply = StreamId(STREAMS + self.orders);
        self.promises.ordered(reply, order);
        self.given.insert(reply, Given { act, order: order.clone() });
        reply
    }
}

/// The machine of an agent, as orders name it.
fn machine(agent: u32) -> MachineId {
    MachineId { hostname: hostname(agent), ip: address(agent) }
}

/// A schedule without one machine.
fn without(windows: &[Window], agent: u32) -> Vec<Window> {
    let (mut windows, gone) = (windows.to_vec(), machine(agent));
    windows.iter_mut().for_each(|window| window.machines.retain(|machine| *machine != gone));
    windows.retain(|window| !window.machines.is_empty());
    windows
}

impl Machine {
    /// The operator does something, on the master's machine.
    pub(crate) fn operate(&mut self, act: Act, lane: &mut Lane) {
        lane.note(self.index, || Note::Words(format!("the operator: {act:?}")));
        let (Some(operator), Some(view)) = (self.operator.as_deref_mut(), self.view.as_deref()) else { return };
        if let Act::Start(agent) = act {
            return self.start_agent(agent, lane);
        }
        let orders = operator.orders(act, view, lane.moment().wall);
        let orders: Vec<(StreamId, Order)> =
            orders.into_iter().map(|order| (operator.give(act, &order), order)).collect();
        if act == Act::PutRight {
            operator.is_at_rest = orders.is_empty() && view.is_as_it_was();
            let absent: Vec<u32> = (1..=operator.agents).filter(|agent| view.agent_id(*agent).is_none()).collect();
            absent.into_iter().for_each(|agent| self.start_agent(agent, lane));
            let due = lane.now() + ROUND;
            lane.push(&mut self.stamp, self.index, due, Happening::Operate { act });
        }
        let master = Address::only(self.standing().host(), ActorKind::Master);
        for (reply, order) in orders {
            let ask = MasterMessage::Outside(ToMaster::Order { order: Box::new(order), reply });
            self.speak_as_edge(0, master, &ask, lane);
        }
    }

    /// Somebody goes to the machine of an agent and starts its process. One that is there stays.
    fn start_agent(&mut self, agent: u32, lane: &mut Lane) {
        let due = lane.now() + lane.setup.laws.network.least;
        lane.push(&mut self.stamp, agent, due, Happening::Boot { slot: 0 });
    }

    /// What the master answers to the operator; false when it is not for it.
    pub(crate) fn operator_hears(&mut self, reply: StreamId, answer: &Frame, lane: &mut Lane) -> bool {
        let Some(operator) = self.operator.as_deref_mut() else { return false };
        let Some(Given { act, order }) = operator.given.swap_remove(&reply) else { return false };
        let Some(answer) = answer.body::<Answer>().map(copy::<Answer, _>) else { return false };
        let counted = match &answer {
            Answer::Done | Answer::Accepted | Answer::Explained(_) => "operator/orders_done",
            Answer::Refused(_) | Answer::NotFound { .. } => "operator/orders_refused",
            Answer::Conflict { .. } | Answer::Unavailable { .. } => "operator/orders_postponed",
        };
        lane.count(counted, 1);
        if answer == Answer::Done {
            operator.promises.kept_from(reply, &order);
        }
        // In the storm only: at its end there are rounds.
        if matches!(answer, Answer::Unavailable { .. }) && act != Act::PutRight && !lane.is_calm() {
            let due = lane.now() + AGAIN;
            lane.push(&mut self.stamp, self.index, due, Happening::Operate { act });
        }
        true
    }
}

/// An act at a stated time: something for the master's machine, from which operators speak.
pub(crate) fn at(due: Instant, act: Act) -> (u32, Instant, Happening) {
    (0, due, Happening::Operate { act })
}
