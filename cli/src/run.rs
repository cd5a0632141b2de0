//! `kaon run`: one command on the cluster, as if it ran here. A small framework on the public v1 API, like any other.

use crate::arguments::Run;
use crate::client::{Client, Events, Refused, encode};
use crate::table::say;
use anyhow::{Context, Result, bail};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long without a fitting offer before we say what we wait for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a cluster that is still starting is waited for: its master leads within a few seconds even on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries meanwhile.
const START_PAUSE: Duration = Duration::from_millis(200);

/// How often the files of the task are looked at while it runs.
const TAIL_INTERVAL: Duration = Duration::from_millis(50);

/// The largest amount of a resource that can be asked for; beyond lie typing errors.
const AMOUNT_MAX: f64 = 1e9;

/// The exit code of a run that was interrupted or whose task did not end by itself: as a shell reports SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// What of a task is given as pairs, in the form of the API.
struct Wish {
    environment: Vec<Value>,
    labels: Vec<Value>,
}

/// Runs the command; our exit code.
pub(crate) async fn run(options: Run) -> Result<i32> {
    let mut environment = Vec::new();
    for pair in &options.environment {
        let (name, value) = pair.split_once('=').with_context(|| format!("--env {pair}: expected KEY=VALUE"))?;
        environment.push(json!({"name": name, "value": value}));
    }
    let mut labels = Vec::new();
    for pair in &options.labels {
        let (key, value) = pair.split_once('=').with_context(|| format!("--label {pair}: expected KEY=VALUE"))?;
        labels.push(json!({"key": key, "value": value}));
    }
    let wish = Wish { environment, labels };
    for (flag, value) in [("--cpus", options.cpus), ("--mem", options.mem)] {
        // Anything else would wait for an offer that never comes.
        if !(0.0..=AMOUNT_MAX).contains(&value) {
            bail!("{flag} {value}: expected a number from 0 to {AMOUNT_MAX}");
        }
    }
    let client = Client::new(&options.api.api);
    let name = options.name.clone().unwrap_or_else(|| options.command.join(" "));
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map_or("root".to_owned(), |u| u.name);
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
        "user": user, "name": format!("kaon run: {name}"), "roles": [options.role],
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": "GPU_RESOURCES"}],
    }}});
    let mut interrupts = Interrupts { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? };
    let (events, stream_id) = tokio::select! {
        opened = subscribe_when_ready(&client, subscribe) => opened?,
        () = interrupts.next() => return Ok(EXIT_INTERRUPTED),
    };
    let mut session = Session { client, stream_id, framework_id: String::new(), events };
    let started = Instant::now();
    let placed = session.place(&options, &name, &wish, &mut interrupts).await;
    let ended = match placed {
        Ok(Some(agent)) => session.follow(&agent, &mut interrupts).await,
        Ok(None) => Ok(Ended { state: "TASK_KILLED".to_owned(), message: String::new(), agent_id: String::new() }),
        Err(error) => Err(error),
    };
    let left = session.teardown().await;
    let ended = ended?;
    left?;
    let code = ended.exit_code();
    if options.json {
        let seconds = started.elapsed().as_secs_f64();
        let report = json!({"state": ended.state, "message": ended.message, "exit_code": code,
            "agent_id": ended.agent_id, "framework_id": session.framework_id, "seconds": seconds});
        say(report)?;
    } else if ended.state != "TASK_FINISHED" {
        eprintln!("kaon run: {} {}", ended.state, ended.message);
    }
    Ok(code)
}

/// Subscribes. A cluster that is still starting, whose master answers 503, is waited for.
async fn subscribe_when_ready(client: &Client, call: Value) -> Result<(Events, String)> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        let error = match client.subscribe(call.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let refused = error.downcast_ref::<Refused>();
        if refused.is_none_or(|refused| refused.status != StatusCode::SERVICE_UNAVAILABLE) {
            return Err(error);
        }
        if begin.elapsed() > START_PATIENCE {
            return Err(error.context(format!(
                "no master has taken the lead within {} s; its log says why (`--external-log-file`, or DIR/master-1/log \
                 of `kaon up --dir DIR`); run the command again when `kaon agents` answers",
                START_PATIENCE.as_secs()
            )));
        }
        if !std::mem::replace(&mut told, true) {
            eprintln!(
                "kaon run: the cluster is still starting ({error}); waiting up to {} s",
                START_PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(START_PAUSE).await;
    }
}

struct Interrupts {
    int: Signal,
    term: Signal,
}

impl Interrupts {
    async fn next(&mut self) {
        tokio::select! { _ = self.int.recv() => {}, _ = self.term.recv() => {} }
    }
}

/// Where our task is.
struct Placed {
    task_id: String,
    agent_id: String,
    files: Client,
}

/// How our task ended.
struct Ended {
    state: String,
    message: String,
    agent_id: String,
}

impl Ended {
    /// The task's own exit code where it has one, as a shell would tell it: the built-in executor says how a command
    /// ended in the words of Mesos's.
    fn exit_code(&self) -> i32 {
        let after = |marker: &str| self.message.split_once(marker).map(|(_, rest)| rest.trim());
        let code = after("exited with status ").and_then(|text| text.parse().ok());
        let signal = after("terminated with signal ").and_then(signal_number).map(|number| 128 + number);
        match self.state.as_str() {
            "TASK_FINISHED" => 0,
            "TASK_KILLED" => EXIT_INTERRUPTED,
            _ => code.or(signal).unwrap_or(1),
        }
    }
}

/// The number of a signal from the words that `strsignal(3)` has for it.
fn signal_number(words: &str) -> Option<i32> {
    let known = [
        ("Hangup", 1),
        ("Interrupt", 2),
        ("Quit", 3),
        ("Illegal instruction", 4),
        ("Trace/breakpoint trap", 5),
        ("Aborted", 6),
        ("Bus error", 7),
        ("Floating point exception", 8),
        ("Killed", 9),
        ("User defined signal 1", 10),
        ("Segmentation fault", 11),
        ("User defined signal 2", 12),
        ("Broken pipe", 13),
        ("Alarm clock", 14),
        ("Terminated", 15),
        ("CPU time limit exceeded", 24),
        ("File size limit exceeded", 25),
        ("Bad system call", 31),
    ];
    known.into_iter().find(|(name, _)| words.starts_with(name)).map(|(_, number)| number)
}

struct Session {
    client: Client,
    stream_id: String,
    framework_id: String,
    events: Events,
}

/// The id of the task: its name, where that is one, so that `kaon logs NAME` finds it; else `run-` and the number that the
/// master gave the framework, which nobody else has.
fn task_id(options: &Run, framework_id: &str) -> String {
    let number = framework_id.rsplit('-').next().unwrap_or_default();
    let named = options.name.clone().filter(|name| kaon_kernel::id::check(name).is_ok());
    named.unwrap_or_else(|| format!("run-{number}"))
}

impl Session {
    async fn call(&self, mut call: Value) -> Result<()> {
        call["framework_id"] = json!({"value": self.framework_id});
        self.client.call(&self.stream_id, call).await
    }

    async fn event(&mut self) -> Result<Value> {
        let event = self.events.next().await?.context("the master ended the stream")?;
        if event["type"] == "ERROR" {
            bail!("the master refuses us: {}", event["error"]["message"].as_str().unwrap_or("no reason given"));
        }
        Ok(event)
    }

    /// Waits for an offer that fits and launches the task on it. `None` when we were interrupted before.
    async fn place(
        &mut self,
        options: &Run,
        name: &str,
        wish: &Wish,
        interrupts: &mut Interrupts,
    ) -> Result<Option<Placed>> {
        let mut told = false;
        let begin = Instant::now();
        loop {
            let wait = if told { PATIENCE.saturating_mul(1000) } else { PATIENCE.saturating_sub(begin.elapsed()) };
            let event = tokio::select! {
                event = self.event() => event?,
                () = interrupts.next() => return Ok(None),
                () = tokio::time::sleep(wait) => {
                    eprintln!(
                        "kaon run: waiting for an offer with cpus:{} mem:{} gpus:{} for role {} ... \
                         (`kaon agents` shows what there is)",
                        options.cpus, options.mem, options.gpus, options.role);
                    told = true;
                    continue;
                }
            };
            match event["type"].as_str() {
                Some("SUBSCRIBED") => {
                    self.framework_id = text(&event["subscribed"]["framework_id"]["value"]);
                }
                Some("OFFERS") => {
                    let offers = event["offers"]["offers"].as_array().cloned().unwrap_or_default();
                    let fits = |offer: &&Value| {
                        amount(offer, "cpus") >= options.cpus
                            && amount(offer, "mem") >= options.mem
                            && amount(offer, "gpus") >= f64::from(options.gpus)
                    };
                    let chosen = offers.iter().find(fits).cloned();
                    let rest: Vec<&Value> = offers.iter().filter(|offer| Some(*offer) != chosen.as_ref()).collect();
                    if !rest.is_empty() {
                        let ids: Vec<&Value> = rest.iter().map(|offer| &offer["id"]).collect();
                        let decline = json!({"offer_ids": ids, "filters": {"refuse_seconds": 1.0}});
                        self.call(json!({"type": "DECLINE", "decline": decline})).await?;
                    }
                    if let Some(offer) = chosen {
                        return self.launch(options, name, wish, &offer).await.map(Some);
                    }
                }
                _ => {}
            }
        }
    }

    async fn launch(&mut self, options: &Run, name: &str, wish: &Wish, offer: &Value) -> Result<Placed> {
        let scalar = |name: &str, value: f64| {
            json!({"name": name, "type": "SCALAR", "scalar": {"value": value},
                "allocation_info": {"role": options.role}})
        };
        let mut resources = vec![scalar("cpus", options.cpus), scalar("mem", options.mem)];
        if options.gpus > 0 {
            resources.push(scalar("gpus", options.gpus.into()));
        }
        let task_id = task_id(options, &self.framework_id);
        let task = json!({
            "name": name, "task_id": {"value": task_id}, "agent_id": offer["agent_id"],
            "resources": resources,
            "command": {"shell": false, "value": options.command[0], "arguments": options.command,
                "environment": {"variables": wish.environment}},
            "labels": {"labels": wish.labels},
        });
        let operation = json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
        let accept = json!({"offer_ids": [offer["id"]], "operations": [operation]});
        self.call(json!({"type": "ACCEPT", "accept": accept})).await?;
        self.call(json!({"type": "SUPPRESS"})).await?;
        let address = &offer["url"]["address"];
        let files = Client::new(&format!("{}:{}", text(&address["ip"]), address["port"]));
        Ok(Placed { task_id, agent_id: text(&offer["agent_id"]["value"]), files })
    }

    /// Shows the task's output until it has ended. An interrupt kills the task; a second one leaves at once.
    async fn follow(&mut self, placed: &Placed, interrupts: &mut Interrupts) -> Result<Ended> {
        let directory = format!("/frameworks/{}/executors/{}/runs/latest", self.framework_id, placed.task_id);
        let mut tails = [
            Tail::new(format!("{directory}/stdout"), Box::new(std::io::stdout())),
            Tail::new(format!("{directory}/stderr"), Box::new(std::io::stderr())),
        ];
        let mut tick = tokio::time::interval(TAIL_INTERVAL);
        let mut killed = false;
        loop {
            tokio::select! {
                event = self.event() => {
                    if let Some(ended) = self.on_event(&event?, placed).await? {
                        for tail in &mut tails {
                            tail.advance(&placed.files).await?;
                        }
                        return Ok(ended);
                    }
                }
                _ = tick.tick() => {
                    for tail in &mut tails {
                        tail.advance(&placed.files).await?;
                    }
                }
                () = interrupts.next() => {
                    if killed {
                        let (state, message) = ("TASK_KILLED".to_owned(), "left behind".to_owned());
                        return Ok(Ended { state, message, agent_id: placed.agent_id.clone() });
                    }
                    killed = true;
                    let kill = json!({"task_id": {"value": placed.task_id}, "agent_id": {"value": placed.agent_id}});
                    self.call(json!({"type": "KILL", "kill": kill})).await?;
                }
            }
        }
    }

    async fn on_event(&mut self, event: &Value, placed: &Placed) -> Result<Option<Ended>> {
        if event["type"] != "UPDATE" {
            return Ok(None);
        }
        let status = &event["update"]["status"];
        if let Some(uuid) = status["uuid"].as_str() {
            let acknowledge = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": uuid});
            self.call(json!({"type": "ACKNOWLEDGE", "acknowledge": acknowledge})).await?;
        }
        let state = text(&status["state"]);
        let terminal = !matches!(
            state.as_str(),
            "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE"
        );
        let agent_id = placed.agent_id.clone();
        Ok(terminal.then(|| Ended { state, message: text(&status["message"]), agent_id }))
    }

    async fn teardown(&self) -> Result<()> {
        if self.framework_id.is_empty() { Ok(()) } else { self.call(json!({"type": "TEARDOWN"})).await }
    }
}

/// A file of the sandbox, shown as it grows.
struct Tail {
    path: String,
    offset: u64,
    out: Box<dyn Write + Send>,
}

impl Tail {
    fn new(path: String, out: Box<dyn Write + Send>) -> Self {
        Self { path, offset: 0, out }
    }

    /// Shows what is new. A file or a sandbox that is not there yet has nothing new.
    async fn advance(&mut self, files: &Client) -> Result<()> {
        loop {
            let path = format!("/files/download?path={}&offset={}", encode(&self.path), self.offset);
            let Ok(data) = files.get(&path).await else { return Ok(()) };
            if data.is_empty() {
                return Ok(());
            }
            self.offset += data.len() as u64;
            self.out.write_all(&data)?;
            self.out.flush()?;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The sum of a scalar in an offer.
fn amount(offer: &Value, name: &str) -> f64 {
    let resources = offer["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = resources.iter().filter(|resource| resource["name"] == name);
    named.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
}
