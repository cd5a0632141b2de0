//! The environment of an executor's process (reference 6.1).

use crate::agent::AgentConfig;
use kaon_kernel::framework::FrameworkInfo;
use kaon_kernel::id::{AgentId, ContainerId, ExecutorId, FrameworkId, RoleName};
use kaon_kernel::placement::{DeviceShare, Placement};
use kaon_kernel::task::CommandInfo;
use kaon_kernel::time::Duration;

/// The names of one executor.
pub(super) struct Names<'a> {
    pub(super) agent_id: &'a AgentId,
    pub(super) framework_id: &'a FrameworkId,
    pub(super) executor_id: &'a ExecutorId,
    pub(super) container_id: &'a ContainerId,
}

impl Names<'_> {
    /// The sandbox below the work directory. The words are on the wire: tools that poll find files by this path
    /// (reference 9).
    pub(super) fn sandbox(&self) -> String {
        let Self { agent_id, framework_id, executor_id, container_id } = self;
        let (agent, framework) = (agent_id.as_str(), framework_id.as_str());
        let (executor, run) = (executor_id.as_str(), container_id.as_str());
        ["slaves/", agent, "/frameworks/", framework, "/executors/", executor, "/runs/", run].concat()
    }
}

/// How many variables the agent itself sets.
const VARIABLES: usize = 17;

/// The whole environment of a built-in executor, or what that of a framework's own begins with. A task's own variables are not in it: they reach the task, not the
/// executor, whose process holds the certificate of the container.
///
/// Beside what Mesos sets: `KAON_CONTAINER_ID`, and `KAON_SANDBOX`, the sandbox below the work directory, which the
/// executor names when it starts its task there.
pub(super) fn executor_environment(
    config: &AgentConfig,
    names: &Names<'_>,
    framework: &FrameworkInfo,
    shutdown_grace: Duration,
    role: &RoleName,
) -> Vec<(String, String)> {
    let sandbox = names.sandbox();
    let directory = [config.work_dir.trim_end_matches('/'), "/", &sandbox].concat();
    let given = config.executor_environment.len();
    let mut all = Vec::with_capacity(given + VARIABLES);
    all.extend_from_slice(&config.executor_environment);
    let mut set = |name: &str, value: String| {
        if given > 0 {
            all.retain(|(present, _)| present != name);
        }
        all.push((name.to_owned(), value));
    };
    set("MESOS_FRAMEWORK_ID", names.framework_id.to_string());
    set("MESOS_EXECUTOR_ID", names.executor_id.to_string());
    set("MESOS_SLAVE_ID", names.agent_id.to_string());
    set("MESOS_SLAVE_PID", format!("slave(1)@{}", config.agent_endpoint));
    set("MESOS_AGENT_ENDPOINT", config.agent_endpoint.clone());
    set("MESOS_DIRECTORY", directory.clone());
    set("MESOS_SANDBOX", directory);
    set("MESOS_CHECKPOINT", u8::from(framework.checkpoint).to_string());
    if framework.checkpoint {
        set("MESOS_RECOVERY_TIMEOUT", config.recovery_timeout.text());
        set("MESOS_SUBSCRIPTION_BACKOFF_MAX", config.executor_reregistration_timeout.text());
    }
    set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", shutdown_grace.text());
    set("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned());
    set("LIBPROCESS_PORT", "0".to_owned());
    set("LIBPROCESS_IP", config.info.ip.clone());
    set("MESOS_ALLOCATION_ROLE", role.to_string());
    set("KAON_CONTAINER_ID", names.container_id.to_string());
    set("KAON_SANDBOX", sandbox);
    all
}

/// Which of the built-in executors a process is: the variable and what it says to the one that runs task groups. The one
/// for commands is told nothing.
const EXECUTOR_KIND: (&str, &str) = ("KAON_EXECUTOR_KIND", "default");

/// Makes an environment that of the default executor.
pub(super) fn make_default(environment: &mut Vec<(String, String)>) {
    environment.push((EXECUTOR_KIND.0.to_owned(), EXECUTOR_KIND.1.to_owned()));
}

/// Makes an environment that of a framework's own executor: without what only those built in need, and with the variables
/// of its command, which win.
pub(super) fn make_custom(environment: &mut Vec<(String, String)>, command: &CommandInfo) {
    environment.retain(|(name, _)| !name.starts_with("KAON_"));
    for (name, value) in command.variables() {
        environment.retain(|(present, _)| present != name);
        environment.push((name.to_owned(), value.to_owned()));
    }
}

/// Tells a task which GPUs are its own: `CUDA_VISIBLE_DEVICES`, which programs obey, and `NVIDIA_VISIBLE_DEVICES`, which
/// container runtimes do. By identity where each has one that NVIDIA's libraries know, else by their order on the bus.
pub(super) fn add_devices(environment: &mut Vec<(String, String)>, placement: &Placement) {
    for (name, value) in devices(placement) {
        environment.retain(|(present, _)| *present != name);
        environment.push((name, value));
    }
}

/// The same for a task of a group, in the variables of its command: where these say something else, that stands.
pub(super) fn offer_devices(environment: &mut Vec<(String, String)>, placement: &Placement) {
    let mut all = devices(placement);
    all.retain(|(name, _)| environment.iter().all(|(present, _)| present != name));
    environment.extend(all);
}

fn devices(placement: &Placement) -> Vec<(String, String)> {
    if placement.devices.is_empty() {
        return Vec::new();
    }
    let is_identity = |id: &str| id.starts_with("GPU-") || id.starts_with("MIG-");
    let has_identities = placement.devices.iter().all(|device| is_identity(&device.id));
    let word = |device: &DeviceShare| match has_identities {
        true => device.id.clone(),
        false => device.ordinal.to_string(),
    };
    let visible = placement.devices.iter().map(word).collect::<Vec<_>>().join(",");
    let mut all =
        vec![("CUDA_VISIBLE_DEVICES".to_owned(), visible.clone()), ("NVIDIA_VISIBLE_DEVICES".to_owned(), visible)];
    if !has_identities {
        all.push(("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned()));
    }
    all
}
