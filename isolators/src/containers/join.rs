//! What a container within another shares with that one: found by looking at a process of it, so that it holds for every
//! container that runs, whoever started it. A container within another never has more rights than that one.

use super::Inner;
use super::image::RIGHTS_VARIABLE;
use crate::chain::Chain;
use crate::isolator::{CapabilitySets, Contribution};
use crate::launcher::description::{User, Within};
use crate::launcher::{ARGUMENT, CONTAINER_VARIABLE, EXECUTOR_ARGUMENT, MARK_VARIABLE};
use crate::process::{self, Process};
use crate::record::{Directory, Known, Nested};
use crate::{cgroups, guard};
use kaon_kernel::id::ContainerId;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable by which the built-in executor that runs groups is known.
pub(super) const EXECUTOR_KIND: &str = "KAON_EXECUTOR_KIND";

/// A container that runs, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its launcher.
    pub(super) launcher: Known,
    /// Its program; for the executor of one command that command.
    pub(super) program: Known,
    /// Its sandbox, relative to the work directory.
    pub(super) sandbox: String,
    /// Where its launcher keeps its socket, as this process sees it.
    pub(super) directory: PathBuf,
}

/// What a container shares.
#[derive(Clone, Debug)]
pub(super) struct Join {
    /// What is written of it.
    pub(super) record: Nested,
    /// The isolators that it has for itself.
    pub(super) isolators: Chain,
    /// What it enters; a container by itself nothing.
    pub(super) within: Option<Within>,
    /// Whom it runs as if it names nobody.
    pub(super) user: Option<User>,
    /// The control groups of the container around it.
    groups: Vec<PathBuf>,
    group: Option<PathBuf>,
    /// The rights of that one, where they are bounded.
    capabilities: Option<CapabilitySets>,
    is_bound_to_its_rights: bool,
    /// Whether its system calls are filtered.
    is_filtered: bool,
}

impl Join {
    /// A container by itself.
    pub(super) fn nothing(isolators: Chain) -> Self {
        Self {
            record: Nested { parent: None, is_session: false },
            isolators,
            within: None,
            user: None,
            groups: Vec::new(),
            group: None,
            capabilities: None,
            is_bound_to_its_rights: false,
            is_filtered: false,
        }
    }

    /// A part in a container that runs.
    pub(super) fn of(target: &Target, record: Nested, isolators: Chain, within: Within) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the container around it can't be looked at: {error}");
        let pid = target.program.pid;
        let status = Standing::read(pid).map_err(failed)?;
        let own = Standing::read(std::process::id().cast_signed()).map_err(failed)?;
        let (groups, group) = cgroups::surrounding(pid).map_err(failed)?;
        let is_root = nix::unistd::geteuid().is_root();
        // An executor that bounds its tasks is no way around that.
        let told = variable(pid, RIGHTS_VARIABLE).and_then(|text| serde_json::from_str::<CapabilitySets>(&text).ok());
        let is_bounded = is_root && (status.bounding != own.bounding || told.is_some());
        let bounding = status.bounding & told.map_or(u64::MAX, |sets| sets.bounding);
        let sets = CapabilitySets { effective: Some(status.effective & bounding), bounding };
        // The gate of those who are bounded is set anew.
        let is_gated = is_bounded && bounding & guard::SYS_ADMIN == 0;
        if target.program.find().is_none() {
            return Err("the container around it has ended".to_owned());
        }
        Ok(Self {
            record,
            isolators,
            within: Some(within),
            user: is_root.then_some(status.user),
            groups,
            group,
            capabilities: is_bounded.then_some(sets),
            is_bound_to_its_rights: status.is_bound_to_its_rights,
            is_filtered: status.filters > own.filters + u32::from(is_gated),
        })
    }

    /// Adds what is shared to what the isolators want.
    ///
    /// # Errors
    /// When the container around it is filtered, and nobody here knows how.
    pub(super) fn add_to(&self, wanted: &mut Contribution) -> Result<(), String> {
        if self.record.is_session && self.is_filtered && wanted.system_calls.is_none() {
            let text = "the container's system calls are filtered, and the isolator linux/seccomp is not enabled";
            return Err(text.to_owned());
        }
        let fresh = self.groups.iter().filter(|group| !wanted.groups.contains(group)).cloned().collect::<Vec<_>>();
        wanted.groups.extend(fresh);
        if wanted.group.is_none() {
            wanted.group.clone_from(&self.group);
        }
        wanted.is_bound_to_its_rights |= self.is_bound_to_its_rights;
        if let Some(outer) = self.capabilities {
            let inner = wanted.capabilities.unwrap_or(outer);
            let bounding = inner.bounding & outer.bounding;
            let effective = inner.effective.or(outer.effective).unwrap_or(u64::MAX) & bounding;
            wanted.capabilities = Some(CapabilitySets { effective: Some(effective), bounding });
        }
        Ok(())
    }
}

/// Who a process is and what it may do (`proc_pid_status(5)`).
struct Standing {
    user: User,
    effective: u64,
    bounding: u64,
    is_bound_to_its_rights: bool,
    /// How many programs answer its system calls.
    filters: u32,
}

impl Standing {
    fn read(pid: i32) -> std::io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("");
        // Real, effective, saved, of the file system: the second is what it is now.
        let id = |name: &str| line(name).split_ascii_whitespace().nth(1).and_then(|id| id.parse().ok());
        let set = |name: &str| u64::from_str_radix(line(name).trim(), 16).ok();
        let damaged = || std::io::Error::other("its status does not read");
        let groups = line("Groups").split_ascii_whitespace().filter_map(|group| group.parse().ok()).collect();
        let (user_id, group_id) = (id("Uid").ok_or_else(damaged)?, id("Gid").ok_or_else(damaged)?);
        Ok(Self {
            user: User { user_id, group_id, groups },
            effective: set("CapEff").ok_or_else(damaged)?,
            bounding: set("CapBnd").ok_or_else(damaged)?,
            is_bound_to_its_rights: line("NoNewPrivs").trim() == "1",
            // Linux 5.9; before that whether there are any.
            filters: line("Seccomp_filters").trim().parse().unwrap_or(u32::from(line("Seccomp").trim() == "2")),
        })
    }
}

impl Inner {
    /// Finds a container that runs: one of the table, or the task of an executor of ours, which is asked for by the executor's
    /// container and its own, or by the executor's alone when that has one task for all its life. Blocks.
    pub(super) fn target(&self, container: &ContainerId) -> Option<Target> {
        if let Some(found) = self.of_table(container) {
            let Some(kind) = builtin_executor(found.program, found.launcher) else { return Some(found) };
            if kind == Kind::Groups {
                return Some(found);
            }
            // Checks run beside the task and are younger.
            let tasks = launchers_below(found.launcher);
            let task = tasks.into_iter().min_by_key(|(known, _)| known.start_ticks)?;
            return below(&found, task.0);
        }
        let (found, name) = (self.of_table(&container.parent()?)?, container.own_name());
        let (known, _) = launchers_below(found.launcher).into_iter().find(|(_, theirs)| theirs == name)?;
        let mut task = below(&found, known)?;
        task.sandbox = format!("{}/containers/{name}", found.sandbox);
        Some(task)
    }

    /// One of the table that runs.
    pub(super) fn of_table(&self, container: &ContainerId) -> Option<Target> {
        let running = self.table().running(container)?;
        let directory = Directory::of(&self.config.runtime_directory, container.as_str());
        let record = directory.launcher().filter(|record| record.launcher == running.known)?;
        Some(Target {
            launcher: running.known,
            program: record.program,
            sandbox: running.sandbox.clone(),
            directory: directory.path().to_owned(),
        })
    }
}

/// The built-in executors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Groups,
}

fn builtin_executor(program: Known, launcher: Known) -> Option<Kind> {
    let is_executor = process::run_the_same(program.pid, launcher.pid)
        && process::first_argument(program.pid).as_deref() == Some(EXECUTOR_ARGUMENT.as_bytes());
    let environment = if is_executor { process::environment(program.pid).ok()? } else { return None };
    let has_groups = environment.iter().any(|(name, _)| name == EXECUTOR_KIND);
    Some(if has_groups { Kind::Groups } else { Kind::Command })
}

/// The launchers below another, with the names of their containers. They run the same file as the one above, whom we started.
fn launchers_below(above: Known) -> Vec<(Known, String)> {
    let found = process::descendants(above.pid).unwrap_or_default();
    let launchers = found.into_iter().filter(|process: &Process| {
        process::run_the_same(process.pid, above.pid)
            && process::first_argument(process.pid).as_deref() == Some(ARGUMENT.as_bytes())
    });
    launchers
        .filter_map(|process| {
            let known = Known { pid: process.pid, start_ticks: process.start_ticks };
            variable(process.pid, CONTAINER_VARIABLE).map(|name| (known, name))
        })
        .collect()
}

fn variable(pid: i32, name: &str) -> Option<String> {
    process::environment(pid).ok()?.into_iter().find(|(there, _)| there == name).map(|(_, value)| value)
}

/// The container of a launcher below that of another container.
fn below(around: &Target, launcher: Known) -> Option<Target> {
    // The program is the first that the launcher forked, and leads its own session; what it adopted came later.
    let children = process::descendants(launcher.pid).ok()?;
    let own = children.iter().filter(|child| child.parent == launcher.pid && child.session == child.pid);
    let program = own.min_by_key(|child| (child.start_ticks, child.pid))?;
    let mark = variable(launcher.pid, MARK_VARIABLE)?;
    let directory = Path::new("/proc").join(launcher.pid.to_string()).join("root").join(mark.trim_start_matches('/'));
    Some(Target {
        launcher,
        program: Known { pid: program.pid, start_ticks: program.start_ticks },
        sandbox: around.sandbox.clone(),
        directory,
    })
}
