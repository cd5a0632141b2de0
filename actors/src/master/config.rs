//! What a master is told when it begins.

use kaon_kernel::agent::Domain;
use kaon_kernel::id::RoleName;
use kaon_kernel::quota::Quota;
use kaon_kernel::time::Duration;

/// The settings of a master. Defaults are those of Mesos (reference 15.1).
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// How often an agent is pinged (`--agent_ping_timeout`).
    pub ping_interval: Duration,
    /// After so many pings without an answer an agent is out of reach (`--max_agent_ping_timeouts`).
    pub pings_missed_max: u32,
    /// How long a disconnected agent, or one known from the registry only, may take to come back
    /// (`--agent_reregister_timeout`).
    pub agent_return: Duration,
    /// How long an offer may be held; `None` is for ever (`--offer_timeout`).
    pub offer_timeout: Option<Duration>,
    /// Heartbeats on framework streams. Compiled in, 15 s, in Mesos.
    pub heartbeat_interval: Duration,
    /// Roles that may be used; empty means any (`--roles`).
    pub roles: Vec<RoleName>,
    /// Weights by role in thousandths (`--weights`).
    pub weights: Vec<(RoleName, u32)>,
    /// Quotas of top-level roles.
    pub quotas: Vec<(RoleName, Quota)>,
    /// Hostnames of the agents that may be offered; `None` is all (`--whitelist`).
    pub whitelist: Option<Vec<String>>,
    /// The fault domain of this master (`--domain`). Agents in a domain are taken only by a master that has one.
    pub domain: Option<Domain>,
    /// Whether agents without a domain are ignored (`--require_agent_domain`).
    pub require_agent_domain: bool,
    /// How many tasks on unreachable agents a framework keeps (`--max_unreachable_tasks_per_framework`).
    pub unreachable_tasks_max: usize,
    /// A test plant: each n-th status is acknowledged to its agent and told to nobody. The simulator's checkers must
    /// find it; see `sim/`.
    pub plant_drop_status: Option<u64>,
    /// A test plant: a master that begins does not hear what operators have said about agents.
    pub plant_forget_standing: bool,
}

impl Default for MasterConfig {
    fn default() -> Self {
        Self {
            ping_interval: Duration::secs(15),
            pings_missed_max: 5,
            agent_return: Duration::secs(600),
            offer_timeout: None,
            heartbeat_interval: Duration::secs(15),
            roles: Vec::new(),
            weights: Vec::new(),
            quotas: Vec::new(),
            whitelist: None,
            domain: None,
            require_agent_domain: false,
            unreachable_tasks_max: 1000,
            plant_drop_status: None,
            plant_forget_standing: false,
        }
    }
}

/// How many tasks one framework may have at once: a bound against a client gone wild, far above any real one.
pub const TASKS_MAX: usize = 1_000_000;

/// How many changes may wait for the registrar. Beyond it agents and frameworks are left to try again, as they do anyway.
pub(super) const PENDING_MAX: usize = 65_536;

/// How many operations one agent may have whose end is not acknowledged; agents hold no more either.
pub(super) const OPERATIONS_MAX: usize = 1_000;

/// How many operators' orders for resources may wait for the allocator, whose answer takes microseconds.
pub(super) const CONVERSIONS_MAX: usize = 1_000;

/// How often what an operator wants is taken back from those to whom it was granted in the meantime.
pub(super) const CONVERSION_TRIES_MAX: u32 = 3;

/// How many kills are remembered for an agent that is away; beyond it the framework's reconciliation has to do.
pub(super) const KILLS_WAITING_MAX: usize = 10_000;
