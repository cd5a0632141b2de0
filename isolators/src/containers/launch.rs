//! From a request to a running program: the agent's side of the conversation with a launcher (`launcher/mod.rs`).

use super::image::{self, Shape};
use super::join::Join;
use super::nursery::Nursery;
use super::table::UNKNOWN;
use super::{ContainersConfig, Inner, PATH_DEFAULT, Running};
use crate::chain::{Chain, chained};
use crate::isolator::Contribution;
use crate::launcher::description::{Description, File, Report, Talk, User};
use crate::launcher::{self, CONTAINER_VARIABLE, EXECUTOR_ARGUMENT, MARK_VARIABLE, PARENT_VARIABLE};
use crate::record::{Directory, Known};
use crate::way::{self, Walker};
use crate::{fetcher, filesystem, guard, orphans, posix, sandbox, secrets, syscall, volumes};
use kaon_kernel::container::{ContainerOutcome, LaunchSpec, Program, VolumeLinks};
use kaon_kernel::id::ContainerId;
use kaon_kernel::task::Uri;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// How long a launcher may take for each of its answers. It works for milliseconds; what takes longer is a file system
/// that hangs.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// The longest answer of a launcher in bytes: a reason may quote a path and a text.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// A launcher that has been started and waits for its description.
struct Started {
    launcher: Known,
    pidfd: OwnedFd,
    /// Whether the program waits for the isolators.
    is_awaited: bool,
    /// What it has not been told yet.
    description: Vec<u8>,
    sandbox: String,
    to_launcher: OwnedFd,
    from_launcher: OwnedFd,
}

impl Inner {
    /// Launches a container that is reserved in the table, within another one perhaps. `stopped` says when that is not wanted
    /// any more: what is being fetched then is given up.
    pub(super) async fn launch(
        self: &Arc<Self>,
        container: ContainerId,
        spec: LaunchSpec,
        join: Option<Join>,
        stopped: oneshot::Receiver<()>,
    ) -> ContainerOutcome {
        match self.try_launch(&container, spec, join, stopped).await {
            Ok((pid, running)) => {
                let kill = self.table().started(&container, Arc::clone(&running));
                if let Some(grace) = kill {
                    running.kill(grace);
                }
                let addresses = self.addresses(&container).await;
                self.runtime.spawn(Arc::clone(self).watch(container, running));
                ContainerOutcome::Launched { pid: pid.unsigned_abs(), addresses }
            }
            Err(reason) => {
                tracing::warn!(%container, reason, "launch failed");
                let waiters = self.table().failed(&container);
                for done in waiters {
                    done(ContainerOutcome::Exited(UNKNOWN));
                }
                ContainerOutcome::Failed { reason }
            }
        }
    }

    /// The addresses that a container has to itself.
    async fn addresses(&self, container: &ContainerId) -> Vec<String> {
        let (isolators, container) = (self.config.isolators.clone(), container.clone());
        match self.config.docker.is_some() {
            // The engine has to be asked.
            true => self.block(move || isolators.addresses(&container)).await.unwrap_or_default(),
            false => isolators.addresses(&container),
        }
    }

    async fn try_launch(
        &self,
        container: &ContainerId,
        mut spec: LaunchSpec,
        join: Option<Join>,
        stopped: oneshot::Receiver<()>,
    ) -> Result<(i32, Arc<Running>), String> {
        if secrets::are_asked_for(&spec) {
            let resolver = self.config.secrets.clone();
            let filled = self.block(move || secrets::fill(spec, resolver.as_deref())).await?;
            spec = filled.map_err(|error| error.to_string())?;
        }
        let uris = std::mem::take(&mut spec.uris);
        let mut config = self.config.clone();
        if let Some(join) = &join {
            config.isolators = join.isolators.clone();
        }
        let (isolators, name, nursery) = (config.isolators.clone(), container.clone(), Arc::clone(&self.nursery));
        let started = if uris.is_empty() && !image::are_needed(&self.config, &spec) {
            self.block(move || start(&config, &nursery, &name, &spec, join)).await??
        } else {
            let made = self.block(move || {
                let home = make_home(&config, &name, &spec, join)?;
                Ok::<_, String>((home, spec, config, name))
            });
            let (home, spec, config, name) = made.await??;
            self.bring(container, &spec, &home, uris, stopped).await?;
            self.block(move || begin(&config, &nursery, &name, &spec, home)).await??
        };
        let launcher = started.launcher;
        let talked = self.talk(container, isolators, started).await;
        match talked {
            Ok(launched) => Ok(launched),
            Err(reason) => {
                let (config, name) = (self.config.clone(), container.clone());
                self.block(move || undo(&config, &name, launcher)).await?;
                Err(reason)
            }
        }
    }

    /// Brings the images that the container asks for and what its command names. When that fails or is stopped nothing is
    /// left but the sandbox.
    async fn bring(
        &self,
        container: &ContainerId,
        spec: &LaunchSpec,
        home: &Home,
        uris: Vec<Uri>,
        stopped: oneshot::Receiver<()>,
    ) -> Result<(), String> {
        let work = async {
            self.bring_images(container, spec).await?;
            self.fetch(container, spec, home, uris).await
        };
        let brought = tokio::select! {
            biased;
            Ok(()) = stopped => Err("killed while what it needs was fetched".to_owned()),
            brought = work => brought,
        };
        if brought.is_err() {
            let (config, name) = (self.config.clone(), container.clone());
            // Finds the worker by its mark, if it has not gone yet.
            self.block(move || give_up(&config, &name)).await?;
        }
        brought
    }

    /// Fetches what the command names.
    async fn fetch(
        &self,
        container: &ContainerId,
        spec: &LaunchSpec,
        home: &Home,
        uris: Vec<Uri>,
    ) -> Result<(), String> {
        if uris.is_empty() {
            return Ok(());
        }
        let mut environment = vec![
            (CONTAINER_VARIABLE.to_owned(), container.to_string()),
            (MARK_VARIABLE.to_owned(), home.directory.mark()),
        ];
        environment.extend(self.config.parent.iter().map(|parent| (PARENT_VARIABLE.to_owned(), parent.clone())));
        let request = fetcher::Request {
            work_directory: self.config.work_directory.clone(),
            sandbox: spec.sandbox.clone(),
            user: home.user.clone(),
            uris,
            environment,
        };
        match &self.config.fetcher {
            None => Err("the command names URIs, and there is no fetcher".to_owned()),
            Some(fetcher) => fetcher.fetch(request).await,
        }
    }

    /// Talks with the launcher until the program runs.
    async fn talk(
        &self,
        container: &ContainerId,
        isolators: Chain,
        started: Started,
    ) -> Result<(i32, Arc<Running>), String> {
        let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let mut to = pipe::Sender::from_owned_fd(started.to_launcher).map_err(failed("can't use the pipe"))?;
        let from = pipe::Receiver::from_owned_fd(started.from_launcher).map_err(failed("can't use the pipe"))?;
        let mut from = BufReader::new(from.take(ANSWER_BYTES_MAX));
        let running = Running::held(started.launcher, started.pidfd, started.sandbox);
        let running = Arc::new(running.map_err(failed("can't watch the launcher"))?);

        let told = tokio::time::timeout(ANSWER_DEADLINE, to.write_all(&started.description)).await;
        // When it does not listen to the end it says why in its answer.
        let told = told.map_err(|_| "the launcher does not listen")?;
        let pid = match answer(&mut from).await {
            Ok(Report::Forked { pid }) => pid,
            Ok(Report::Failed { reason }) => return Err(reason),
            Ok(Report::Running) => return Err("the launcher runs the program before it may".to_owned()),
            Err(reason) => return Err(told.err().map_or(reason, |error| format!("the launcher fell: {error}"))),
        };
        if started.is_awaited {
            let name = container.clone();
            self.block(move || isolators.isolate(&name, pid).map_err(|error| chained(&error))).await??;
            let go = tokio::time::timeout(ANSWER_DEADLINE, to.write_all(&[1])).await;
            go.map_err(|_| "the launcher does not listen")?.map_err(failed("the launcher fell"))?;
        }
        match answer(&mut from).await? {
            Report::Running => Ok((pid, running)),
            Report::Failed { reason } => Err(reason),
            Report::Forked { .. } => Err("the launcher forked twice".to_owned()),
        }
    }
}

async fn answer(from: &mut BufReader<tokio::io::Take<pipe::Receiver>>) -> Result<Report, String> {
    let mut line = String::new();
    let read = tokio::time::timeout(ANSWER_DEADLINE, from.read_line(&mut line)).await;
    match read.map_err(|_| "the launcher does not answer")? {
        Err(error) => Err(format!("the launcher can't be heard: {error}")),
        Ok(0) => Err("the launcher fell without a word".to_owned()),
        Ok(_) => serde_json::from_str(&line).map_err(|error| format!("the launcher speaks in riddles: {error}")),
    }
}

/// What a container has before its walls: its runtime directory and its sandbox.
struct Home {
    user: Option<User>,
    directory: Directory,
    join: Option<Join>,
}

/// Everything up to the launcher's own work; on an error nothing is left but the sandbox.
fn start(
    config: &ContainersConfig,
    nursery: &Nursery,
    container: &ContainerId,
    spec: &LaunchSpec,
    join: Option<Join>,
) -> Result<Started, String> {
    begin(config, nursery, container, spec, make_home(config, container, spec, join)?)
}

/// The part of a start before what is fetched.
fn make_home(
    config: &ContainersConfig,
    container: &ContainerId,
    spec: &LaunchSpec,
    join: Option<Join>,
) -> Result<Home, String> {
    let user = match (&join, &spec.user) {
        // Who is within another is whoever that one is.
        (Some(Join { user: Some(theirs), .. }), None) => Some(theirs.clone()),
        _ => user(config, spec)?,
    };
    if !spec.rlimits.is_empty() && !config.isolators.names().any(|name| name == posix::RLIMITS) {
        return Err(format!("resource limits are asked for, but the isolator {} is not enabled", posix::RLIMITS));
    }
    if let Some(asked) = spec.container.as_ref().filter(|_| config.inside.is_none())
        && let Some(reason) = filesystem::missing(asked, |wanted| config.isolators.names().any(|name| name == wanted))
    {
        return Err(reason);
    }
    if let Some(reason) = closed_way(config, spec, user.as_ref()) {
        return Err(reason);
    }
    let directory = Directory::of(&config.runtime_directory, container.as_str());
    directory.create().map_err(|error| format!("can't make the runtime directory: {error}"))?;
    let owner = user.as_ref().map(|user| (user.user_id.into(), user.group_id.into()));
    if let Some(Err(error)) = join.as_ref().map(|join| directory.write_nested(&join.record)) {
        remove(&directory, container);
        return Err(format!("can't write the record: {error}"));
    }
    let home = match spec.join {
        true => sandbox::open(&config.work_directory, &spec.sandbox).map(drop).map_err(|error| error.to_string()),
        false => sandbox::create(&config.work_directory, &spec.sandbox, owner)
            .map_err(|error| error.to_string())
            .and_then(|_| config.isolators.home(container, spec).map_err(|error| chained(&error))),
    };
    home.inspect_err(|_| remove(&directory, container))?;
    Ok(Home { user, directory, join })
}

/// Why an executor of ours could not work as its user: it opens its sandbox by its path, as whoever it is. Other programs begin in
/// theirs, and may do without the path.
fn closed_way(config: &ContainersConfig, spec: &LaunchSpec, user: Option<&User>) -> Option<String> {
    let user = user.filter(|_| spec.program == Program::BuiltinExecutor)?;
    let walker = Walker { user_id: user.user_id, groups: &user.groups };
    let closed = way::closed_to(walker, &config.work_directory)?;
    let name = spec.user.as_deref().unwrap_or_default();
    Some(format!("user '{name}' may not pass '{}' on the way to its sandbox", closed.display()))
}

/// The part of a start after what is fetched.
fn begin(
    config: &ContainersConfig,
    nursery: &Nursery,
    container: &ContainerId,
    spec: &LaunchSpec,
    home: Home,
) -> Result<Started, String> {
    let Home { user, directory, join } = home;
    let made = || -> Result<Started, String> {
        let links = VolumeLinks { sandbox: spec.sandbox.clone(), links: spec.volumes.clone() };
        let shows = config.isolators.names().any(|name| name == filesystem::LINUX);
        let placed = if shows { volumes::give_all } else { volumes::link };
        placed(&config.work_directory, &links).map_err(|error| error.to_string())?;
        let mut wanted = config.isolators.prepare(container, spec).map_err(|error| chained(&error))?;
        if let Some(join) = &join {
            join.add_to(&mut wanted).inspect_err(|_| config.isolators.cleanup(container))?;
        }
        let described = describe(config, container, spec, &directory, user, wanted, join.as_ref());
        let started = described.and_then(|description| spawn(config, nursery, container, &directory, &description));
        started.inspect_err(|_| config.isolators.cleanup(container))
    };
    made().inspect_err(|_| remove(&directory, container))
}

/// Takes back a launch that went wrong before its walls were built. Blocks until nothing is left but the sandbox.
fn give_up(config: &ContainersConfig, container: &ContainerId) {
    let directory = Directory::of(&config.runtime_directory, container.as_str());
    if let Err(error) = orphans::destroy(&directory) {
        tracing::error!(%container, %error, "something is left of a fetch");
    }
    config.isolators.cleanup(container);
    remove(&directory, container);
}

fn remove(directory: &Directory, container: &ContainerId) {
    if let Err(error) = directory.remove() {
        tracing::warn!(%container, %error, "the runtime directory can't be removed");
    }
}

fn describe(
    config: &ContainersConfig,
    container: &ContainerId,
    spec: &LaunchSpec,
    directory: &Directory,
    mut user: Option<User>,
    mut wanted: Contribution,
    join: Option<&Join>,
) -> Result<Description, String> {
    wanted.capabilities = wanted.capabilities.or(config.rights);
    guard::complete(&mut wanted);
    let Shape { program, before, after } = image::shape(container, config, spec, directory, &mut user, &mut wanted)?;
    let mut more = std::mem::take(&mut wanted.environment);
    more.extend(after);
    let text = |text: &str| text.to_owned();
    let program = match &program {
        Program::Shell(command) => {
            File::Named { file: text("/bin/sh"), arguments: vec![text("sh"), text("-c"), command.clone()] }
        }
        Program::Exec { file, .. } if file.is_empty() => return Err("no program is named".to_owned()),
        // Without a zeroth argument many programs fall: its own name is the rule.
        Program::Exec { file, arguments } if arguments.is_empty() => {
            File::Named { file: file.clone(), arguments: vec![file.clone()] }
        }
        Program::Exec { file, arguments } => File::Named { file: file.clone(), arguments: arguments.clone() },
        Program::BuiltinExecutor => File::Own { arguments: vec![text("kaon"), text(EXECUTOR_ARGUMENT)] },
    };
    let is_session = join.is_some_and(|join| join.record.is_session);
    let terminal = spec.terminal.map(|window| (window.rows, window.columns));
    Ok(Description {
        runtime_directory: directory.path().to_owned(),
        work_directory: config.work_directory.clone(),
        sandbox: spec.sandbox.clone(),
        program,
        environment: environment(config, container, spec, directory, before, more, join.is_some())?,
        user,
        is_awaited: config.isolators.is_awaited(container),
        walls: wanted,
        // The built-in executor's own output is a few lines; that of its task is turned over by the task's own launcher.
        rotation: config.rotation.filter(|_| spec.program != Program::BuiltinExecutor),
        talk: (is_session || terminal.is_some()).then_some(Talk { terminal, is_session }),
        within: join.and_then(|join| join.within.clone()),
    })
}

/// The whole environment, each name once: what the container asks for, then what we add, the later winning.
fn environment(
    config: &ContainersConfig,
    container: &ContainerId,
    spec: &LaunchSpec,
    directory: &Directory,
    mut given: Vec<(String, String)>,
    wanted: Vec<(String, String)>,
    is_nested: bool,
) -> Result<Vec<(String, String)>, String> {
    let is_executor = spec.program == Program::BuiltinExecutor;
    given.extend(spec.environment.iter().cloned());
    if is_executor {
        // It holds a credential of its own: what could change its code stays out (attack 56).
        given.retain(|(name, _)| !changes_the_loader(name));
    }
    if !is_nested {
        let more = (config.executor_environment)(container, spec);
        given.extend(more.map_err(|error| format!("can't make the environment of the executor: {error}"))?);
    }
    given.extend(wanted);
    given.push((CONTAINER_VARIABLE.to_owned(), container.to_string()));
    given.push((MARK_VARIABLE.to_owned(), directory.mark()));
    given.extend(config.parent.iter().map(|parent| (PARENT_VARIABLE.to_owned(), parent.clone())));
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    let mut environment: Vec<(String, String)> = Vec::with_capacity(given.len() + 1);
    for (name, value) in given {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("'{}' can't be an environment variable", name.escape_default()));
        }
        match at.get(&name) {
            Some(&position) => environment[position].1 = value,
            None => {
                at.insert(name.clone(), environment.len());
                environment.push((name, value));
            }
        }
    }
    if !at.contains_key("PATH") {
        environment.push(("PATH".to_owned(), PATH_DEFAULT.to_owned()));
    }
    Ok(environment)
}

/// The variables that the C library itself ignores in programs with raised rights (`ld.so(8)`), and hwloc's.
fn changes_the_loader(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "GCONV_PATH",
        "GETCONF_DIR",
        "GLIBC_TUNABLES",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
    ];
    name.starts_with("LD_") || name.starts_with("MALLOC_") || name.starts_with("HWLOC_") || NAMES.contains(&name)
}

/// Whom the container runs as.
fn user(config: &ContainersConfig, spec: &LaunchSpec) -> Result<Option<User>, String> {
    let Some(name) = spec.user.as_deref().filter(|_| config.switch_user) else { return Ok(None) };
    let found = nix::unistd::User::from_name(name).map_err(|errno| format!("can't look up user '{name}': {errno}"))?;
    let found = found.ok_or_else(|| format!("there is no user '{name}' on this machine"))?;
    if !nix::unistd::geteuid().is_root() {
        return match found.uid == nix::unistd::geteuid() {
            true => Ok(None),
            false => Err(format!("only an agent that is root can run something as user '{name}'")),
        };
    }
    let c_name = CString::new(name).map_err(|error| error.to_string())?;
    let groups = nix::unistd::getgrouplist(&c_name, found.gid);
    let groups = groups.map_err(|errno| format!("can't look up the groups of '{name}': {errno}"))?;
    let groups = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
    Ok(Some(User { user_id: found.uid.as_raw(), group_id: found.gid.as_raw(), groups }))
}

/// Has a launcher begin, and tells it as much of its description as the pipe takes: it need not wait for anybody. It is forked by
/// the nursery for an agent. An executor, which launches once or twice, starts its own executable: nothing runs between fork and
/// exec there, the standard library's own spawn does it all.
fn spawn(
    config: &ContainersConfig,
    nursery: &Nursery,
    container: &ContainerId,
    directory: &Directory,
    description: &Description,
) -> Result<Started, String> {
    let failed = |error: io::Error| format!("can't start the launcher: {error}");
    let log = directory.log().map_err(failed)?;
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()));
    let ((input, to_launcher), (from_launcher, output)) = (pipe()?, pipe()?);
    let bytes = description.write().map_err(|error| error.to_string())?;
    let room = fcntl(&to_launcher, FcntlArg::F_GETPIPE_SZ).map_err(|errno| failed(errno.into()))?;
    let (told, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or_default()));
    let to_launcher = {
        let mut file = fs::File::from(to_launcher);
        file.write_all(told).map_err(failed)?;
        OwnedFd::from(file)
    };
    let mark = directory.mark();
    let mut variables = vec![(CONTAINER_VARIABLE, container.as_str()), (MARK_VARIABLE, mark.as_str())];
    let (launcher, pidfd) = match &config.parent {
        None => {
            let variables: String = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
            nursery.bear(variables.as_bytes(), [input.as_fd(), output.as_fd(), log.as_fd()]).map_err(failed)?
        }
        Some(parent) => {
            variables.push((PARENT_VARIABLE, parent));
            let mut command = Command::new(config.executable.path());
            command.arg0("kaon").arg(launcher::ARGUMENT).env_clear().envs(variables).current_dir("/");
            let child = command.stdin(input).stdout(output).stderr(log).spawn().map_err(failed)?;
            // The child is reaped through its pidfd: dropping the object neither kills it nor waits for it. Until then its number
            // is its own.
            let pid = child.id().cast_signed();
            (Known::of(pid).ok_or("the launcher is gone")?, syscall::pidfd_open(pid).map_err(failed)?)
        }
    };
    let (is_awaited, sandbox, description) = (description.is_awaited, description.sandbox.clone(), rest.to_vec());
    Ok(Started { launcher, pidfd, is_awaited, description, sandbox, to_launcher, from_launcher })
}

/// Takes back a launch that went wrong after its launcher was started. Blocks until nothing is left.
fn undo(config: &ContainersConfig, container: &ContainerId, launcher: Known) {
    let directory = Directory::of(&config.runtime_directory, container.as_str());
    // The pipes are closed by now: a launcher that is sound ends by itself and takes the program along. This finds the
    // other kind, and what it started.
    if let Err(error) = orphans::destroy(&directory) {
        tracing::error!(%container, %error, "something is left of a launch that failed");
    }
    orphans::reap(launcher);
    config.isolators.cleanup(container);
    remove(&directory, container);
}
