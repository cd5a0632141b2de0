//! From an order to running tasks. A single task is a group of one.

use crate::executor::kill::End;
use crate::executor::run::{Cause, Phase, RUNS_MAX, Run};
use crate::executor::{Executor, IGNORED, Timer, Waiting};
use kaon_kernel::actor::Context;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, LaunchSpec, Program, VolumeLink};
use kaon_kernel::container_info::ContainerInfo;
use kaon_kernel::id::ContainerId;
use kaon_kernel::task::{CommandInfo, Reason, TaskInfo, TaskState};

impl Executor {
    /// Takes a single task. A task that it has it takes once; a second one is not for a command executor. An executor of
    /// groups takes no single tasks: like Mesos's it ends when it is given one.
    pub(super) fn on_launch(&mut self, task: TaskInfo, context: &mut Context<'_, Self>) {
        if self.is_for_groups() {
            context.count(IGNORED, 1);
            return self.shut_down(context);
        }
        if !self.runs.is_empty() || self.is_ending {
            return context.count(IGNORED, 1);
        }
        self.take(vec![task], context);
    }

    /// Takes a group, once. An agent sends it again while it has heard of none of its tasks.
    pub(super) fn on_launch_group(&mut self, tasks: Vec<TaskInfo>, context: &mut Context<'_, Self>) {
        let is_known = tasks.iter().any(|task| self.run_of(&task.task_id).is_some());
        let has_room = self.runs.len() + tasks.len() <= RUNS_MAX;
        if !self.is_for_groups() || is_known || !has_room || tasks.is_empty() || self.is_ending {
            return context.count(IGNORED, 1);
        }
        self.take(tasks, context);
    }

    fn take(&mut self, tasks: Vec<TaskInfo>, context: &mut Context<'_, Self>) {
        context.disarm(Timer::Farewell);
        let group = self.next;
        // Most executors hold one task for all their life.
        self.runs.reserve_exact(tasks.len());
        for task in tasks {
            let container = ContainerId::trusted(context.chance().uuid().to_string());
            let number = self.next;
            self.next += 1;
            self.runs.push(Run::new(number, group, task, container));
            self.make_status(number, TaskState::Starting, None, None, context);
        }
        self.note_group(group, context);
    }

    /// The whole group is on disk: it may be started, if it still should.
    pub(super) fn on_group_stored(&mut self, group: u32, context: &mut Context<'_, Self>) {
        let members = self.members(group);
        for number in &members {
            // Each had made its first status when the group was written.
            self.on_stored(*number, 1, context);
        }
        let is_called_off = members.iter().any(|number| self.run(*number).is_some_and(|run| run.stopping.is_some()));
        for number in members {
            if is_called_off {
                self.settle(number, End::before_the_start(), context);
            } else {
                self.launch(number, context);
            }
        }
    }

    fn launch(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run(number).filter(|run| run.phase == Phase::Launching) else { return };
        if run.stopping.is_some() {
            // One before it in the group could not be started.
            return self.settle(number, End::before_the_start(), context);
        }
        let asked = run.task.container.as_deref();
        let Some(program) = run.task.command.as_ref().and_then(|command| command.program_in(asked)) else {
            let end = End::new(TaskState::Failed, None, "The task has no command to run");
            return self.settle(number, end, context);
        };
        let mut spec = self.spec(run, program, None);
        spec.resources = run.task.resources.clone();
        spec.limits = run.task.limits.as_deref().copied().unwrap_or_default();
        spec.rlimits = run.task.container.as_ref().map_or_else(Vec::new, |container| container.rlimits.clone());
        spec.terminal = run.task.container.as_ref().and_then(|container| container.terminal);
        if self.is_for_groups() {
            spec.join = false;
            spec.volumes = VolumeLink::all_of(&run.task.resources);
            spec.uris = run.task.command.as_ref().map_or_else(Vec::new, |command| command.uris.clone());
        }
        let request = ContainerRequest::Launch { container: run.container.clone(), spec: Box::new(spec) };
        let ticket = context.contain(request);
        self.wait(ticket, Waiting::Launched(number));
        if let Some(run) = self.run_mut(number) {
            run.is_asked = true;
        }
    }

    /// What a program of a task is started with: in its sandbox, with its environment. `over` is a command beside it.
    pub(super) fn spec(&self, run: &Run, program: Program, over: Option<&CommandInfo>) -> LaunchSpec {
        let command = run.task.command.as_ref();
        let mut environment: Vec<(String, String)> =
            self.config.environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut sandbox = self.config.sandbox.clone();
        if self.is_for_groups() {
            let below = nested(&run.container);
            sandbox.push_str(&below);
            let directory = self.config.environment.find("MESOS_DIRECTORY").map(|outer| format!("{outer}{below}"));
            for name in ["MESOS_DIRECTORY", "MESOS_SANDBOX"] {
                if let Some(directory) = &directory {
                    set(&mut environment, name, directory);
                }
            }
            if let Some(address) = self.config.environment.find("LIBPROCESS_IP") {
                set(&mut environment, "MESOS_CONTAINER_IP", address);
            }
            set(&mut environment, "MESOS_ALLOCATION_ROLE", run.task.role.as_str());
        }
        for (name, value) in command.into_iter().chain(over).flat_map(CommandInfo::variables) {
            set(&mut environment, name, value);
        }
        // A command executor runs as the user of its task already.
        let user = over.into_iter().chain(command).find_map(|command| command.user.clone());
        LaunchSpec {
            environment,
            secrets: command.into_iter().chain(over).flat_map(CommandInfo::references).collect(),
            join: true,
            user: user.or_else(|| self.user.clone()).filter(|_| self.is_for_groups()),
            // The walls stand around this executor already; an image is the task's alone, and so are the volumes of a member.
            container: run.task.container.as_ref().and_then(|asked| self.own_walls(asked, over.is_some())),
            ..LaunchSpec::bare(program, sandbox)
        }
    }

    /// What of the walls of a task is not around its executor already. What runs beside a task makes no volumes.
    fn own_walls(&self, asked: &ContainerInfo, is_beside: bool) -> Option<Box<ContainerInfo>> {
        if asked.has_image() {
            return Some(Box::new(asked.clone()));
        }
        let has_own = self.is_for_groups() && !is_beside && !asked.volumes.is_empty();
        has_own.then(|| Box::new(ContainerInfo { volumes: asked.volumes.clone(), ..ContainerInfo::default() }))
    }

    /// A task was started, or could not be. A group runs when all of it was started.
    pub(super) fn on_launched(&mut self, number: u32, outcome: ContainerOutcome, context: &mut Context<'_, Self>) {
        let Some(run) = self.run_mut(number) else { return };
        match outcome {
            ContainerOutcome::Launched { addresses, .. } => {
                run.addresses = Some(addresses).filter(|addresses| !addresses.is_empty()).map(Vec::into_boxed_slice);
                run.phase = Phase::Started;
                let (stopping, group) = (run.stopping, run.group);
                if let Some((_, grace)) = stopping {
                    self.watch(number, context);
                    self.note(number, context);
                    return self.kill_container(number, grace, context);
                }
                let members = self.members(group);
                let is_waiting = |run: &Run| run.phase == Phase::Launching;
                if members.iter().filter_map(|member| self.run(*member)).any(is_waiting) {
                    return self.note(number, context);
                }
                for member in members {
                    self.begin_running(member, context);
                }
            }
            ContainerOutcome::Failed { reason } => {
                let message = format!("Failed to launch the command: {reason}");
                let end = End::new(TaskState::Failed, Some(Reason::ContainerLaunchFailed), message);
                self.settle(number, end, context);
            }
            other => panic!("a launch came back as {other:?}"),
        }
    }

    /// All of the group was started: this one runs.
    fn begin_running(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run(number).filter(|run| run.phase == Phase::Started) else { return };
        let longest = run.task.max_completion_time;
        self.watch(number, context);
        if let Some(longest) = longest {
            context.arm(Timer::Completion(number), longest);
        }
        self.make_status(number, TaskState::Running, None, None, context);
        self.begin_checks(number, context);
        self.note(number, context);
    }

    /// Waits for the end of a task that was started.
    pub(super) fn watch(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let Some(run) = self.run_mut(number) else { return };
        run.phase = Phase::Running;
        let ticket = context.contain(ContainerRequest::Wait { container: run.container.clone() });
        self.wait(ticket, Waiting::Exit(number));
    }

    /// The task has run for longer than it may.
    pub(super) fn on_too_long(&mut self, number: u32, context: &mut Context<'_, Self>) {
        let grace = self.run(number).and_then(Run::own_grace).unwrap_or(self.config.kill_grace);
        self.stop_run(number, Cause::TooLong, grace, context);
    }
}

/// Where the sandbox of a task of a group lies below that of its executor.
fn nested(container: &ContainerId) -> String {
    ["/containers/", container.as_str()].concat()
}

fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    environment.retain(|(present, _)| present != name);
    environment.push((name.to_owned(), value.to_owned()));
}
