//! What a master is told when it begins.

use kaon_kernel::agent::Domain;
use kaon_kernel::id::RoleName;
use kaon_kernel::quota::Quota;
use kaon_kernel::time::Duration;

/// The settings of a master. Defaults are those of Mesos (reference 15.1).
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// How often an agent in doubt is pinged (`--agent_ping_timeout`).
    pub ping_interval: Duration,
    /// After so many pings without an answer an agent is out of reach (`--max_agent_ping_timeouts`).
    pub pings_missed_max: u32,
    /// After so much silence from the other side the host says that a session is down. What notices sooner than this
    /// has to ping.
    pub session_silence: Duration,
    /// How long an agent known from the registry only may take to come back, and a disconnected one at most
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
            session_silence: Duration::secs(8),
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

/// How often an agent is pinged whose session stands: its process is there, or the session would have broken; this finds an
/// actor that is stuck in it (decision 0017).
const LOOK_INTERVAL: Duration = Duration::secs(600);

impl MasterConfig {
    /// How long an agent in doubt has: the product of the two flags.
    pub(super) fn patience(&self) -> Duration {
        self.ping_interval.times(u64::from(self.pings_missed_max))
    }

    /// How long a disconnected agent may take to come back.
    pub(super) fn disconnected_max(&self) -> Duration {
        self.patience().min(self.agent_return)
    }

    /// Whether sessions notice a silent agent as soon as pings do.
    pub(super) fn trusts_sessions(&self) -> bool {
        self.ping_interval >= self.session_silence
    }

    /// From one ping to the next as long as there is no doubt.
    pub(super) fn look_interval(&self) -> Duration {
        if self.trusts_sessions() { self.ping_interval.max(LOOK_INTERVAL) } else { self.ping_interval }
    }

    /// How long an agent waits for a ping before it looks for its master again.
    pub(super) fn agents_patience(&self) -> Duration {
        if self.trusts_sessions() { self.look_interval() + self.patience() } else { self.patience() }
    }
}

/// How many tasks one framework may have at once: a bound against a client gone wild, far above any real one.
pub const TASKS_MAX: usize = 1_000_000;

/// How many changes may wait for the registrar. Beyond it agents, frameworks and operators are left to try again.
pub(super) const PENDING_MAX: usize = 65_536;

/// How many operations one agent may have whose end is not acknowledged; agents hold no more either.
pub(super) const OPERATIONS_MAX: usize = 1_000;

/// How many operators' orders for resources may wait for the allocator, whose answer takes microseconds.
pub(super) const CONVERSIONS_MAX: usize = 1_000;

/// How often what an operator wants is taken back from those to whom it was granted in the meantime.
pub(super) const CONVERSION_TRIES_MAX: u32 = 3;

/// How many kills are remembered for an agent that is away; beyond it the framework's reconciliation has to do.
pub(super) const KILLS_WAITING_MAX: usize = 10_000;
