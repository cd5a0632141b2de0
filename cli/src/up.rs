//! `kaon up`: a whole cluster on this machine. Each master and agent is a process of its own; we make their
//! certificates, start them, start again what falls, and stop them all within [`STOP_WITHIN`].

use crate::arguments::Up;
use crate::ca;
use crate::host::agent::passable_directory;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The log of a member, in its directory.
const LOG_FILE: &str = "log";

/// How long members have from TERM to their end; KILL follows.
pub(crate) const STOP_WITHIN: Duration = Duration::from_millis(2000);

/// How long may then go by until nothing is left of the tasks.
const END_WITHIN: Duration = Duration::from_millis(900);

/// How long a member may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A member that fell is started again after this; it doubles up to [`RESTART_MAX`] while it keeps falling.
const RESTART_MIN: Duration = Duration::from_millis(200);

/// The longest wait before a restart.
const RESTART_MAX: Duration = Duration::from_secs(5);

/// How much of a log is shown of a member that did not start.
const LAST_WORDS_LINES: usize = 5;
/// In how many bytes these are looked for.
const LAST_WORDS_BYTES: u64 = 16 << 10;

/// Runs the cluster until Ctrl-C or SIGTERM. `filter` says what its members log.
pub(crate) async fn up(options: Up, filter: &str) -> Result<i32> {
    passable_directory(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let _lock = lock(&dir)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let members = members(&options, &dir)?;
    let leash = std::io::pipe()?;
    let mut cluster = Cluster { members: Vec::new(), dir: dir.clone(), filter: filter.to_owned(), leash };
    let started = tokio::select! {
        started = cluster.start(members) => started,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted while the cluster came up")),
        _ = terminate.recv() => Err(anyhow::anyhow!("stopped while the cluster came up")),
    };
    if let Err(error) = started {
        cluster.stop().await;
        return Err(error);
    }
    cluster.announce(&options);
    let code = tokio::select! {
        _ = interrupt.recv() => 0,
        _ = terminate.recv() => 0,
        error = cluster.watch() => { eprintln!("kaon up: {error:#}"); 1 }
    };
    cluster.stop().await;
    Ok(code)
}

/// Takes the directory for us alone.
fn lock(dir: &Path) -> Result<nix::fcntl::Flock<File>> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).map_err(|(_, _)| {
        anyhow::anyhow!("another `kaon up` runs on {}; stop it, or give another --dir", dir.display())
    })
}

/// How to start one member.
struct Plan {
    name: String,
    arguments: Vec<String>,
    /// Agents need the master's address, which is known once it is ready.
    needs_master: bool,
}

fn members(options: &Up, dir: &Path) -> Result<Vec<Plan>> {
    let authority = ca::open_or_create(&dir.join("ca"))?;
    let mut plans = Vec::new();
    let mut plan = |role: &str, number: u16, extra: Vec<String>| -> Result<()> {
        let name = format!("{role}-{number}");
        let home = dir.join(&name);
        passable_directory(&home)?;
        let files = ca::issue_unless_there(&authority, role, &name, vec![options.http.ip().to_string()], &home)?;
        let path = |path: &Path| path.display().to_string();
        let mut arguments = vec![role.to_owned(), "--dir".to_owned(), path(&home)];
        for (flag, file) in [("--certificate", &files.certificate), ("--key", &files.key)] {
            arguments.extend([flag.to_owned(), path(file)]);
        }
        arguments
            .extend(["--authority".to_owned(), path(&dir.join("ca").join(kaon_transport::ca::AUTHORITY_CERTIFICATE))]);
        arguments.extend(["--external-log-file".to_owned(), path(&home.join(LOG_FILE))]);
        arguments.extend(extra);
        plans.push(Plan { name, arguments, needs_master: role == "agent" });
        Ok(())
    };
    for number in 1..=options.masters {
        let own = ["--http", &options.http.to_string(), "--listen", &format!("{}:0", options.http.ip())];
        let number_text = number.to_string();
        let more = ["--number", &number_text, "--agent-reregister-timeout", "60"];
        plan("master", number, own.iter().chain(&more).map(|part| (*part).to_owned()).collect())?;
    }
    for number in 1..=options.agents {
        let any = format!("{}:0", options.http.ip());
        let mut own = vec!["--http".to_owned(), any.clone(), "--listen".to_owned(), any];
        own.extend(["--registration-backoff-factor".to_owned(), "0.05".to_owned()]);
        own.extend(["--hostname".to_owned(), options.http.ip().to_string()]);
        if let Some(topology) = &options.topology {
            own.extend(["--topology".to_owned(), topology.clone()]);
        }
        if let Some(resources) = &options.resources {
            own.extend(["--resources".to_owned(), resources.clone()]);
        }
        if let Some(isolation) = &options.isolation {
            own.extend(["--isolation".to_owned(), isolation.clone()]);
        }
        own.extend(options.agent_flag.iter().cloned());
        let timeout = options.executor_reregistration_timeout.to_string();
        own.extend(["--executor-reregistration-timeout".to_owned(), timeout]);
        plan("agent", number, own)?;
    }
    Ok(plans)
}

/// A member that runs, or is about to again.
struct Member {
    plan: Plan,
    child: Child,
    /// What it said when it was ready.
    ready: Value,
    started: Instant,
    backoff: Duration,
}

struct Cluster {
    members: Vec<Member>,
    dir: PathBuf,
    /// What members log.
    filter: String,
    /// The members' stdin. We alone hold its other end: should we be killed, they end by themselves.
    leash: (PipeReader, PipeWriter),
}

impl Cluster {
    async fn start(&mut self, plans: Vec<Plan>) -> Result<()> {
        let (agents, masters): (Vec<Plan>, Vec<Plan>) = plans.into_iter().partition(|plan| plan.needs_master);
        let mut addresses = Vec::new();
        for plan in masters {
            let (child, ready) = self.spawn(&plan).await?;
            let listen = ready["listen"].as_str().context("the master told no address")?.to_owned();
            let plan = pinned(plan, &ready);
            self.members.push(Member { plan, child, ready, started: Instant::now(), backoff: RESTART_MIN });
            addresses.push(listen);
        }
        let mut waiting = Vec::new();
        for mut plan in agents {
            plan.arguments.extend(["--master".to_owned(), addresses.join(",")]);
            let child = self.launch(&plan)?;
            waiting.push((plan, child));
        }
        for (plan, mut child) in waiting {
            let ready = ready(&plan, &mut child, &self.log(&plan)).await?;
            let plan = pinned(plan, &ready);
            self.members.push(Member { plan, child, ready, started: Instant::now(), backoff: RESTART_MIN });
        }
        Ok(())
    }

    fn log(&self, plan: &Plan) -> PathBuf {
        self.dir.join(&plan.name).join(LOG_FILE)
    }

    fn launch(&self, plan: &Plan) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(plan))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&plan.arguments).args(["--leash", "--log", &self.filter]).stdin(self.leash.0.try_clone()?);
        command.stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // Ctrl-C is for us: members get TERM from us, in order. Our own settings are not theirs.
        command.process_group(0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KAON_")) {
            if name != "KAON_LOG" {
                command.env_remove(name);
            }
        }
        command.spawn().with_context(|| format!("can't start {}", plan.name))
    }

    async fn spawn(&self, plan: &Plan) -> Result<(Child, Value)> {
        let mut child = self.launch(plan)?;
        let ready = ready(plan, &mut child, &self.log(plan)).await?;
        Ok((child, ready))
    }

    fn announce(&self, options: &Up) {
        let rows: Vec<Value> = self
            .members
            .iter()
            .map(|member| {
                json!({"name": member.plan.name, "pid": member.child.id(), "http": member.ready["http"],
                "listen": member.ready["listen"]})
            })
            .collect();
        if options.json {
            println!("{}", json!({"dir": self.dir.display().to_string(), "members": rows}));
            return;
        }
        for row in &rows {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            println!("{:<10} http://{}  (quic {}, pid {})", text("name"), text("http"), text("listen"), row["pid"]);
        }
        println!("\nstate and logs: {}", self.dir.display());
        if let Some(http) = rows.first().and_then(|row| row["http"].as_str()) {
            let api = if http == "127.0.0.1:5050" { String::new() } else { format!(" --api {http}") };
            println!("try:  kaon run{api} -- echo hello        (Ctrl-C here stops the cluster)");
        }
    }

    /// Starts again what falls; returns only when that does not help.
    async fn watch(&mut self) -> anyhow::Error {
        loop {
            let exits = self.members.iter_mut().map(|member| Box::pin(member.child.wait()));
            let (_, index, _) = futures::future::select_all(exits).await;
            if let Err(error) = self.restart(index).await {
                return error;
            }
        }
    }

    async fn restart(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        if member.started.elapsed() > RESTART_MAX {
            member.backoff = RESTART_MIN;
        }
        let wait = member.backoff;
        member.backoff = (wait * 2).min(RESTART_MAX);
        eprintln!("kaon up: {} fell, starting it again in {} ms", member.plan.name, wait.as_millis());
        tokio::time::sleep(wait).await;
        let mut child = self.launch(&self.members[index].plan)?;
        let log = self.log(&self.members[index].plan);
        match ready(&self.members[index].plan, &mut child, &log).await {
            Ok(ready) => self.members[index].ready = ready,
            Err(error) if self.members[index].backoff >= RESTART_MAX => return Err(error),
            Err(error) => eprintln!("kaon up: {error:#}"),
        }
        self.members[index].child = child;
        self.members[index].started = Instant::now();
        Ok(())
    }

    /// TERM to all, agents first, so that nobody waits for a peer that is gone; KILL to who is left.
    async fn stop(&mut self) {
        let deadline = Instant::now() + STOP_WITHIN;
        for member in self.members.iter().rev() {
            if let Some(pid) = member.child.id() {
                // It may have ended in this moment; then there is nobody to tell.
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            }
        }
        for member in &mut self.members {
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, member.child.wait()).await.is_err() {
                eprintln!("kaon up: {} did not stop by itself", member.plan.name);
                let _ = member.child.kill().await;
            }
        }
        // Executors outlive their agent, which is right where it comes back; here it does not.
        let agents = self.members.iter().filter(|member| member.plan.needs_master);
        let ends = agents.map(|agent| async {
            let home = self.dir.join(&agent.plan.name);
            match tokio::time::timeout(END_WITHIN, crate::host::remains::end_containers(&home)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("kaon up: the tasks of {} may go on: {error:#}", agent.plan.name),
                Err(_) => eprintln!("kaon up: the tasks of {} do not end", agent.plan.name),
            }
        });
        futures::future::join_all(ends).await;
    }
}

/// A member that is started again must be where the others know it to be.
fn pinned(mut plan: Plan, ready: &Value) -> Plan {
    for flag in ["http", "listen"] {
        let at = plan.arguments.iter().position(|argument| *argument == format!("--{flag}"));
        if let (Some(at), Some(address)) = (at, ready[flag].as_str()) {
            plan.arguments[at + 1] = address.to_owned();
        }
    }
    plan
}

/// Waits for the line in which a member says that it is ready.
async fn ready(plan: &Plan, child: &mut Child, log: &Path) -> Result<Value> {
    let stdout = child.stdout.take().context("a member's stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    match tokio::time::timeout(READY_WITHIN, lines.next_line()).await {
        Ok(Ok(Some(line))) => {
            let ready: Value = serde_json::from_str(&line).with_context(|| format!("{} said: {line}", plan.name))?;
            for key in ["http", "listen"] {
                ready[key].as_str().and_then(|text| text.parse::<SocketAddr>().ok()).context("an address")?;
            }
            Ok(ready)
        }
        Ok(_) => {
            let last = last_words(log).unwrap_or_else(|error| format!("(they can't be read: {error})"));
            bail!("{} did not start; its last words in {}:\n{last}", plan.name, log.display())
        }
        Err(_) => bail!("{} is not ready after {} s; see {}", plan.name, READY_WITHIN.as_secs(), log.display()),
    }
}

/// The last lines of a log. It may be long, and it may be no file at all.
fn last_words(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n"))
}
