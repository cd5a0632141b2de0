//! What the log adds up to: the registry as a state machine.
//!
//! Every registrar of the group applies the same operations in the same order and must come to the same registry, so
//! nothing here depends on anything but the operation and what was applied before. Applying an operation twice changes
//! nothing more. The book knows nothing of the log, of terms or of masters.
//!
//! Sources: Mesos `master/registry_operations.cpp` for what admitting, marking and removing mean;
//! `--registry_max_agent_count` and its pruning of the oldest for the bounds. Mesos keeps no frameworks; we do.

use super::rows::Rows;
use kaon_kernel::agent::AgentInfo;
use kaon_kernel::frame::{BODY_BYTES_MAX, RootSerialize};
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, FrameworkId, RoleName};
use kaon_kernel::maintenance::{AgentOrders, MachineId, Window};
use kaon_kernel::message::registrar::{
    AdmittedAgent, GONE_MAX, REMOVED_MAX, Registry, RegistryOperation, UNREACHABLE_MAX,
};
use kaon_kernel::quota::Quota;
use kaon_kernel::time::WallTime;

/// The largest registry in bytes of its archive. It travels in one frame, to the master and to a registrar that lags
/// too far behind; a 1/16 of the frame is left for what goes around it. Room for 20,000 agents of 780 bytes.
pub const REGISTRY_BYTES_MAX: usize = BODY_BYTES_MAX - (BODY_BYTES_MAX >> 4);

/// The bounds of a registry. All registrars of a group must have the same, or they would drift apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Agents out of reach; beyond, the oldest is forgotten.
    pub unreachable_max: usize,
    /// Removed frameworks; beyond, the oldest is forgotten.
    pub removed_max: usize,
    /// Agents that are gone; beyond, the oldest is forgotten.
    pub gone_max: usize,
    /// Bytes of all tables. Beyond, the oldest agents out of reach are forgotten, then the oldest removed frameworks,
    /// then the oldest agents that are gone; what does not fit even then is not admitted.
    pub bytes_max: usize,
}

impl Limits {
    /// The bounds of every real group.
    pub const DEFAULT: Self = Self {
        unreachable_max: UNREACHABLE_MAX,
        removed_max: REMOVED_MAX,
        gone_max: GONE_MAX,
        bytes_max: REGISTRY_BYTES_MAX,
    };
}

/// Why an operation changed nothing although it asked for something that does not hold. The master checks all of these
/// first, except the last: one of the others is heard of only when two changes crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// An admission without an id.
    #[error("no id was given")]
    Unnamed,
    /// The agent's id belongs to the bearer of another certificate.
    #[error("the id belongs to another identity")]
    Identity,
    /// The framework was removed and may not come back.
    #[error("the framework was removed")]
    Removed,
    /// The agent was marked gone and may not come back.
    #[error("the agent was marked gone")]
    Gone,
    /// The agent is neither in the pool nor out of reach.
    #[error("the agent is not known")]
    UnknownAgent,
    /// A machine is not scheduled for maintenance.
    #[error("a machine is not part of a maintenance schedule")]
    Unscheduled,
    /// The registry is as large as [`Limits::bytes_max`] allows, and nothing can be forgotten.
    #[error("the registry is full")]
    Full,
}

/// The registry with its indexes. Every operation costs a look-up, a few steps in a tree, and one pass over what it
/// writes.
#[derive(Clone, Debug)]
pub struct Book {
    limits: Limits,
    pub(super) agents: Rows<AgentId, AdmittedAgent>,
    pub(super) unreachable: Rows<AgentId, (AdmittedAgent, WallTime)>,
    frameworks: Rows<FrameworkId, FrameworkInfo>,
    removed: Rows<FrameworkId, WallTime>,
    quotas: Rows<RoleName, Quota>,
    weights: Rows<RoleName, u32>,
    /// Of agents in the two tables above only.
    pub(super) orders: Rows<AgentId, AgentOrders>,
    pub(super) gone: Rows<AgentId, WallTime>,
    pub(super) schedule: Vec<Window>,
    pub(super) down: Vec<MachineId>,
    /// What the schedule and the list of machines that are down take.
    pub(super) schedule_bytes: usize,
}

impl Book {
    /// An empty registry.
    pub fn new(limits: Limits) -> Self {
        let (agents, unreachable) = (Rows::default(), Rows::default());
        let (frameworks, removed) = (Rows::default(), Rows::default());
        let (quotas, weights, orders, gone) = (Rows::default(), Rows::default(), Rows::default(), Rows::default());
        let (schedule, down) = (Vec::new(), Vec::new());
        let schedule_bytes = schedule_bytes(&schedule, &down);
        Self {
            limits,
            agents,
            unreachable,
            frameworks,
            removed,
            quotas,
            weights,
            orders,
            gone,
            schedule,
            down,
            schedule_bytes,
        }
    }

    /// A registry as it was written down; `None` when it could not have come from [`Book::registry`]: a row without an
    /// id, or two with the same. Linear cost.
    pub fn restore(limits: Limits, registry: Registry) -> Option<Self> {
        let mut book = Self::new(limits);
        for agent in registry.agents {
            let id = agent.info.id.clone()?;
            book.agents.push(id, agent_bytes(&agent.info, &agent.identity), agent)?;
        }
        for (agent, since) in registry.unreachable {
            let id = agent.info.id.clone()?;
            book.unreachable.push(id, agent_bytes(&agent.info, &agent.identity), (agent, since))?;
        }
        for info in registry.frameworks {
            book.frameworks.push(info.id.clone()?, archive_bytes(&info), info)?;
        }
        for (id, since) in registry.removed {
            let bytes = archive_bytes(&id);
            book.removed.push(id, bytes, since)?;
        }
        for (role, quota) in registry.quotas {
            let bytes = setting_bytes(&role, &quota);
            book.quotas.push(role, bytes, quota)?;
        }
        for (role, weight) in registry.weights {
            let bytes = setting_bytes(&role, &weight);
            book.weights.push(role, bytes, weight)?;
        }
        for (id, orders) in registry.orders {
            let bytes = setting_bytes(&id, &orders);
            book.orders.push(id, bytes, orders)?;
        }
        for (id, since) in registry.gone {
            let bytes = archive_bytes(&id);
            book.gone.push(id, bytes, since)?;
        }
        book.schedule_bytes = schedule_bytes(&registry.schedule, &registry.down);
        (book.schedule, book.down) = (registry.schedule, registry.down);
        Some(book)
    }

    /// The registry as the master and the snapshot take it. Linear cost.
    pub fn registry(&self) -> Registry {
        Registry {
            agents: self.agents.iter().map(|(_, agent)| agent.clone()).collect(),
            unreachable: self.unreachable.iter().map(|(_, row)| row.clone()).collect(),
            frameworks: self.frameworks.iter().map(|(_, info)| info.clone()).collect(),
            removed: self.removed.iter().map(|(id, since)| (id.clone(), *since)).collect(),
            quotas: self.quotas.iter().map(|(role, quota)| (role.clone(), quota.clone())).collect(),
            weights: self.weights.iter().map(|(role, weight)| (role.clone(), *weight)).collect(),
            schedule: self.schedule.clone(),
            down: self.down.clone(),
            orders: self.orders.iter().map(|(id, orders)| (id.clone(), orders.clone())).collect(),
            gone: self.gone.iter().map(|(id, since)| (id.clone(), *since)).collect(),
        }
    }

    /// How large the registry is, in bytes of its archive; somewhat more than it will be.
    pub fn bytes(&self) -> usize {
        self.kept_bytes() + self.unreachable.bytes + self.removed.bytes + self.gone.bytes
    }

    /// How large that is which is never forgotten.
    fn kept_bytes(&self) -> usize {
        let settings = self.quotas.bytes + self.weights.bytes + self.orders.bytes + self.schedule_bytes;
        self.agents.bytes + self.frameworks.bytes + settings
    }

    /// Applies one operation. An error says that it asked for what does not hold, and that nothing has changed.
    pub fn apply(&mut self, operation: RegistryOperation) -> Result<(), Ignored> {
        match operation {
            RegistryOperation::AdmitAgent { info, identity } => self.admit_agent(info, identity)?,
            RegistryOperation::MarkUnreachable { agent_id, since } => {
                if let Some((bytes, agent)) = self.agents.remove(agent_id.as_str()) {
                    self.unreachable.put(agent_id, bytes, (agent, since));
                }
            }
            RegistryOperation::RemoveAgent { agent_id } => {
                self.agents.remove(agent_id.as_str());
                self.unreachable.remove(agent_id.as_str());
                self.orders.remove(agent_id.as_str());
            }
            RegistryOperation::AdmitFramework { info } => self.admit_framework(info)?,
            RegistryOperation::RemoveFramework { framework_id, since } => {
                self.frameworks.remove(framework_id.as_str());
                if !self.removed.has(framework_id.as_str()) {
                    let bytes = archive_bytes(&framework_id);
                    self.removed.put(framework_id, bytes, since);
                }
            }
            RegistryOperation::SetQuotas { quotas } => self.set_quotas(quotas)?,
            RegistryOperation::SetWeights { weights } => self.set_weights(weights)?,
            RegistryOperation::SetSchedule { windows } => self.set_schedule(windows)?,
            RegistryOperation::StartMaintenance { machines } => self.start_maintenance(machines)?,
            RegistryOperation::StopMaintenance { machines } => self.stop_maintenance(&machines),
            RegistryOperation::DrainAgent { agent_id, config, since } => self.drain_agent(agent_id, config, since)?,
            RegistryOperation::MarkDrained { agent_id } => self.mark_drained(agent_id),
            RegistryOperation::DeactivateAgent { agent_id } => self.deactivate_agent(agent_id)?,
            RegistryOperation::ReactivateAgent { agent_id } => {
                self.orders.remove(agent_id.as_str());
            }
            RegistryOperation::MarkGone { agent_id, since } => self.mark_gone(agent_id, since),
        }
        self.shed();
        Ok(())
    }

    fn admit_agent(&mut self, info: AgentInfo, identity: String) -> Result<(), Ignored> {
        let id = info.id.clone().ok_or(Ignored::Unnamed)?;
        if self.gone.has(id.as_str()) {
            return Err(Ignored::Gone);
        }
        let known = self.agents.find(id.as_str());
        let known = known.or_else(|| self.unreachable.find(id.as_str()).map(|(agent, _)| agent));
        if known.is_some_and(|agent| agent.identity != identity) {
            return Err(Ignored::Identity);
        }
        let bytes = agent_bytes(&info, &identity);
        self.check_room(bytes, self.agents.bytes_of(id.as_str()))?;
        self.unreachable.remove(id.as_str());
        self.agents.put(id, bytes, AdmittedAgent { info, identity });
        Ok(())
    }

    fn admit_framework(&mut self, info: FrameworkInfo) -> Result<(), Ignored> {
        let id = info.id.clone().ok_or(Ignored::Unnamed)?;
        if self.removed.has(id.as_str()) {
            return Err(Ignored::Removed);
        }
        let bytes = archive_bytes(&info);
        self.check_room(bytes, self.frameworks.bytes_of(id.as_str()))?;
        self.frameworks.put(id, bytes, info);
        Ok(())
    }

    fn set_quotas(&mut self, quotas: Vec<(RoleName, Quota)>) -> Result<(), Ignored> {
        let (removed, set): (Vec<_>, Vec<_>) = quotas.into_iter().partition(|(_, quota)| quota.is_default());
        self.check_settings(&set, |book, role| book.quotas.bytes_of(role))?;
        for (role, _) in removed {
            self.quotas.remove(role.as_str());
        }
        for (role, quota) in set {
            let bytes = setting_bytes(&role, &quota);
            self.quotas.put(role, bytes, quota);
        }
        Ok(())
    }

    fn set_weights(&mut self, weights: Vec<(RoleName, u32)>) -> Result<(), Ignored> {
        self.check_settings(&weights, |book, role| book.weights.bytes_of(role))?;
        for (role, weight) in weights {
            let bytes = setting_bytes(&role, &weight);
            self.weights.put(role, bytes, weight);
        }
        Ok(())
    }

    /// Whether settings fit in the place of what `before` says of each role.
    fn check_settings<T>(
        &self,
        settings: &[(RoleName, T)],
        before: impl Fn(&Self, &str) -> usize,
    ) -> Result<(), Ignored>
    where
        T: for<'a> RootSerialize<'a>,
    {
        let bytes = settings.iter().map(|(role, value)| setting_bytes(role, value)).sum();
        let before = settings.iter().map(|(role, _)| before(self, role.as_str())).sum();
        self.check_room(bytes, before)
    }

    /// Whether a row of `bytes` in place of one of `before` fits once all is forgotten that may be.
    pub(super) fn check_room(&self, bytes: usize, before: usize) -> Result<(), Ignored> {
        let kept = self.kept_bytes() - before;
        if kept + bytes > self.limits.bytes_max { Err(Ignored::Full) } else { Ok(()) }
    }

    fn shed(&mut self) {
        while self.unreachable.len() > self.limits.unreachable_max {
            self.forget_unreachable();
        }
        while self.removed.len() > self.limits.removed_max {
            self.removed.pop_oldest();
        }
        while self.gone.len() > self.limits.gone_max {
            self.gone.pop_oldest();
        }
        while self.bytes() > self.limits.bytes_max {
            if !self.forget_unreachable() && self.removed.pop_oldest().is_none() && self.gone.pop_oldest().is_none() {
                break;
            }
        }
    }

    /// Forgets the agent that is out of reach for longest, and what was ordered about it.
    fn forget_unreachable(&mut self) -> bool {
        let forgotten = self.unreachable.pop_oldest();
        if let Some(id) = &forgotten {
            self.orders.remove(id.as_str());
        }
        forgotten.is_some()
    }

    /// Asserts the bounds and that indexes and rows agree. Constant cost.
    pub fn invariants(&self) {
        assert!(self.unreachable.len() <= self.limits.unreachable_max);
        assert!(self.removed.len() <= self.limits.removed_max);
        assert!(self.gone.len() <= self.limits.gone_max);
        assert!(self.orders.len() <= self.agents.len() + self.unreachable.len(), "orders about nobody");
        assert!(self.bytes() <= self.limits.bytes_max, "registry of {} bytes", self.bytes());
        self.agents.invariants();
        self.unreachable.invariants();
        self.frameworks.invariants();
        self.removed.invariants();
        self.quotas.invariants();
        self.weights.invariants();
        self.orders.invariants();
        self.gone.invariants();
    }
}

/// What an agent's row may take in the archive.
fn agent_bytes(info: &AgentInfo, identity: &String) -> usize {
    archive_bytes(info) + archive_bytes(identity)
}

/// What a row of a key and a value may take in the archive.
pub(super) fn setting_bytes<K, T>(key: &K, value: &T) -> usize
where
    K: for<'a> RootSerialize<'a>,
    T: for<'a> RootSerialize<'a>,
{
    archive_bytes(key) + archive_bytes(value)
}

/// What the schedule of maintenance may take in the archive.
pub(super) fn schedule_bytes(schedule: &Vec<Window>, down: &Vec<MachineId>) -> usize {
    setting_bytes(schedule, down)
}

/// What a value may take inside a larger archive: its own archive, and something for padding and for its row.
pub(super) fn archive_bytes<T: for<'a> RootSerialize<'a>>(value: &T) -> usize {
    let buffer = kaon_kernel::frame::Buffer::with_capacity(512);
    let written = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(value, buffer);
    let bytes = written.expect("writing to memory can't fail").len();
    bytes + bytes / 16 + 32
}
