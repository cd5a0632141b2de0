//! What an executor is told at its start: its environment, read as a value (reference 6.1).

use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, IdError};
use kaon_kernel::task::ExecutorKind;
use kaon_kernel::time::Duration;
use std::sync::Arc;

/// How long an executor whose framework does not checkpoint waits for an agent whose link fell. Mesos does not wait at
/// all; here a session may break while both ends live, and comes back at once.
const RECOVERY_TIMEOUT_PLAIN: Duration = Duration::secs(2);

/// The longest wait between two registrations when the agent says nothing (`--executor_reregistration_timeout`).
const REGISTER_BACKOFF_MAX: Duration = Duration::secs(2);

/// The grace of a shutdown when the agent says nothing (`--executor_shutdown_grace_period`).
const SHUTDOWN_GRACE: Duration = Duration::secs(5);

/// Variables with this prefix are between agent and executor, such as the executor's certificate; no task sees them.
const PRIVATE_PREFIX: &str = "KAON_";

/// The executor's own credential, which no task sees (reference 6.1).
const TOKEN: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN";

/// The variable by which an agent says which of the built-in executors it starts.
const KIND: &str = "KAON_EXECUTOR_KIND";

/// Why an environment is not one of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A variable is missing.
    #[error("variable {0} is not set")]
    Missing(&'static str),
    /// A variable holds no id.
    #[error("variable {name} holds no id")]
    Id {
        /// Which.
        name: &'static str,
        /// Why not.
        source: IdError,
    },
    /// A variable holds no kind of executor.
    #[error("variable {name} holds no kind of executor: '{text}'")]
    Kind {
        /// Which.
        name: &'static str,
        /// What it holds.
        text: String,
    },
    /// A variable holds no duration.
    #[error("variable {name} holds no duration: '{text}'")]
    Duration {
        /// Which.
        name: &'static str,
        /// What it holds.
        text: String,
    },
}

/// Variables in one piece of memory, shared by its clones: a simulated cluster has a hundred thousand executors with
/// seventeen each.
#[derive(Clone, PartialEq, Eq)]
pub struct Inherited {
    /// All names and values in turn.
    text: Arc<str>,
    /// Where each of them ends.
    ends: Arc<[u32]>,
}

impl Inherited {
    /// Folds the environment of an executor's process.
    pub fn fold(variables: &[(String, String)]) -> Self {
        let bytes = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (mut text, mut ends) = (String::with_capacity(bytes), Vec::with_capacity(2 * variables.len()));
        for part in variables.iter().flat_map(|(name, value)| [name, value]) {
            text.push_str(part);
            ends.push(u32::try_from(text.len()).expect("the environment of a process is far below 4 GiB"));
        }
        Self { text: text.into(), ends: ends.into() }
    }

    /// All variables in their order.
    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        let mut parts = self.ends.iter().map(move |&end| {
            let part = &self.text[begin..end as usize];
            begin = end as usize;
            part
        });
        core::iter::from_fn(move || parts.next().zip(parts.next()))
    }

    /// The variables that a task inherits, in their order.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().filter(|(name, _)| !name.starts_with(PRIVATE_PREFIX) && *name != TOKEN)
    }

    /// One of the variables that a task inherits.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.variables().find(|(present, _)| *present == name).map(|(_, value)| value)
    }
}

/// Without what no task sees.
impl core::fmt::Debug for Inherited {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_map().entries(self.variables()).finish()
    }
}

/// What an executor is told at its start. Every interval that it waits is here.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutorConfig {
    /// Whether it runs one command or groups of tasks (`KAON_EXECUTOR_KIND`, `default` for groups).
    pub kind: ExecutorKind,
    /// Whose.
    pub framework_id: FrameworkId,
    /// Which.
    pub executor_id: ExecutorId,
    /// Of which agent.
    pub agent_id: AgentId,
    /// In which container; its certificate names the same.
    pub container_id: ContainerId,
    /// The sandbox below the work directory. A command runs in it too; tasks of a group run below it.
    pub sandbox: String,
    /// The environment itself, with what its task inherits.
    pub environment: Inherited,
    /// The first wait for an answer to a registration.
    pub register_backoff: Duration,
    /// The longest (`MESOS_SUBSCRIPTION_BACKOFF_MAX`, else 2 s).
    pub register_backoff_max: Duration,
    /// How long after its start the first link may take: that of the agent's registration timeout (1 min).
    pub first_contact_timeout: Duration,
    /// How long it waits for an agent that is gone (`MESOS_RECOVERY_TIMEOUT`; 2 s when the framework does not
    /// checkpoint).
    pub recovery_timeout: Duration,
    /// How long the agent waits between Shutdown and the end (`MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD`, else 5 s).
    pub shutdown_grace: Duration,
    /// How much of that it keeps to tell the agent how its task ended.
    pub shutdown_margin: Duration,
    /// How long between TERM and KILL when neither the kill nor the task says (3 s).
    pub kill_grace: Duration,
    /// The first wait for the agent to have a status on disk.
    pub resend: Duration,
    /// The longest.
    pub resend_max: Duration,
    /// How long it waits for the agent to have the last status (reference 6.5, 60 s).
    pub farewell: Duration,
}

impl ExecutorConfig {
    /// Reads the environment that an agent has set.
    pub fn from_environment(environment: Inherited) -> Result<Self, Error> {
        let find = |name: &str| environment.all().find(|(key, _)| *key == name).map(|(_, value)| value);
        let text = |name: &'static str| find(name).ok_or(Error::Missing(name));
        let duration = |name: &'static str| match find(name) {
            None => Ok(None),
            Some(text) => {
                Duration::from_text(text).map(Some).ok_or_else(|| Error::Duration { name, text: text.to_owned() })
            }
        };
        let named = |name: &'static str| move |source: IdError| Error::Id { name, source };
        let shutdown_grace = duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD")?.unwrap_or(SHUTDOWN_GRACE);
        let kind = match find(KIND) {
            None => ExecutorKind::Command,
            Some("default") => ExecutorKind::Default,
            Some(text) => return Err(Error::Kind { name: KIND, text: text.to_owned() }),
        };
        Ok(Self {
            kind,
            framework_id: FrameworkId::parse(text("MESOS_FRAMEWORK_ID")?).map_err(named("MESOS_FRAMEWORK_ID"))?,
            executor_id: ExecutorId::parse(text("MESOS_EXECUTOR_ID")?).map_err(named("MESOS_EXECUTOR_ID"))?,
            agent_id: AgentId::parse(text("MESOS_SLAVE_ID")?).map_err(named("MESOS_SLAVE_ID"))?,
            container_id: ContainerId::parse(text("KAON_CONTAINER_ID")?).map_err(named("KAON_CONTAINER_ID"))?,
            sandbox: text("KAON_SANDBOX")?.to_owned(),
            register_backoff: Duration::millis(100),
            register_backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX")?.unwrap_or(REGISTER_BACKOFF_MAX),
            first_contact_timeout: Duration::secs(60),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT")?.unwrap_or(RECOVERY_TIMEOUT_PLAIN),
            shutdown_grace,
            shutdown_margin: Duration::secs(1).min(Duration(shutdown_grace.0 / 2)),
            kill_grace: Duration::secs(3),
            resend: Duration::millis(500),
            resend_max: Duration::secs(10),
            farewell: Duration::secs(60),
            environment,
        })
    }
}
