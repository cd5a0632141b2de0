//! `kaon run`: one command on the cluster, as if it ran here. A small framework on the public v1 API, like any other.

use crate::arguments::Run;
use crate::client::{Client, Events, Refused};
use crate::table::say;
use crate::tail::Tail;
use anyhow::{Context, Result, bail};
use hyper::StatusCode;
use kaon_kernel::container::ExitStatus;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// How long without a fitting offer before we say what we wait for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a cluster that is still starting is waited for: its master leads within a few seconds even on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries meanwhile.
const START_PAUSE: Duration = Duration::from_millis(200);

/// How long a master that was there and is gone is waited for: it starts again, or another one takes the lead.
const RETURN_PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries meanwhile.
const RETURN_PAUSE: Duration = Duration::from_millis(500);

/// How long a task that was told to end may take: a command has 3 s before it is killed, and its agent may be busy.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// How long the status itself is waited for when reconciliation has told that the task ended: its agent repeats what was
/// not acknowledged, after 10 s at first.
const STATUS_PATIENCE: Duration = Duration::from_secs(15);

/// How soon the files of the task are looked at again while it writes; and the longest pause, to which it doubles while
/// nothing new is there.
const TAIL_PAUSE: Duration = Duration::from_millis(50);
/// See [`TAIL_PAUSE`].
const TAIL_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long one look at the files may take.
const TAIL_PATIENCE: Duration = Duration::from_secs(2);

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
    let info = json!({"user": user, "name": format!("kaon run: {name}"), "roles": [options.role],
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": "GPU_RESOURCES"}]});
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
    let mut interrupts = Interrupts { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? };
    let (events, stream_id) = tokio::select! {
        opened = subscribe_when_ready(&client, subscribe) => opened?,
        () = interrupts.next() => return Ok(EXIT_INTERRUPTED),
    };
    let mut session = Session { client, info, stream_id, framework_id: String::new(), events, returning: None };
    let started = Instant::now();
    let placed = session.place(&options, &name, &wish, &mut interrupts).await;
    let ended = match placed {
        Ok(Some(agent)) => session.follow(&agent, &mut interrupts).await,
        Ok(None) => {
            let state = "TASK_KILLED".to_owned();
            Ok(Ended { state, message: String::new(), agent_id: String::new(), is_hearsay: false })
        }
        Err(error) => Err(error),
    };
    let left = session.teardown().await;
    let ended = ended?;
    if let Err(error) = left {
        // What became of the task is known; the framework is one that nobody comes back to.
        eprintln!("kaon run: the master was not told that this framework is done: {error:#}");
    }
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
    /// Told by reconciliation: the status itself says more.
    is_hearsay: bool,
}

impl Ended {
    /// The task's own exit code where it has one, as a shell would tell it: the built-in executor says how a command
    /// ended in the words of Mesos's.
    fn exit_code(&self) -> i32 {
        match self.state.as_str() {
            "TASK_FINISHED" => 0,
            "TASK_KILLED" => EXIT_INTERRUPTED,
            _ => match ExitStatus::found_in(&self.message) {
                Some(ExitStatus::Code(code)) => code,
                Some(ExitStatus::Signal(signal)) => 128 + signal,
                None => 1,
            },
        }
    }
}

struct Session {
    client: Client,
    info: Value,
    stream_id: String,
    framework_id: String,
    events: Events,
    /// The way to another stream, when this one has broken off.
    returning: Option<JoinHandle<Result<Returned>>>,
}

/// A stream that goes on where another broke off.
struct Returned {
    first: Value,
    events: Events,
    stream_id: String,
}

/// Subscribes until a master takes it.
async fn come_back(client: Client, call: Value) -> Result<Returned> {
    let begin = Instant::now();
    loop {
        let error = match client.subscribe(call.clone()).await {
            Ok((mut events, stream_id)) => match events.next().await {
                Ok(Some(first)) => return Ok(Returned { first, events, stream_id }),
                Ok(None) => anyhow::anyhow!("the master ended the stream"),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if begin.elapsed() > RETURN_PATIENCE {
            return Err(error.context(format!(
                "no master came back within {} s; the task may go on: `kaon tasks` shows it when there is one again",
                RETURN_PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(RETURN_PAUSE).await;
    }
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

    /// The next event. When the stream has broken off we subscribe again, and the next event is SUBSCRIBED. Nothing is lost
    /// when it is dropped before it is ready.
    async fn event(&mut self) -> Result<Value> {
        let event = loop {
            if let Some(returning) = &mut self.returning {
                let returned = returning.await;
                self.returning = None;
                let Returned { first, events, stream_id } = returned??;
                (self.events, self.stream_id) = (events, stream_id);
                break first;
            }
            match self.events.next().await {
                Ok(Some(event)) => break event,
                Ok(None) => self.look_for_a_master("the master ended the stream")?,
                Err(error) => self.look_for_a_master(&format!("the stream broke off: {error:#}"))?,
            }
        };
        if event["type"] == "ERROR" {
            bail!("the master refuses us: {}", event["error"]["message"].as_str().unwrap_or("no reason given"));
        }
        Ok(event)
    }

    /// Begins to subscribe again under the same id.
    fn look_for_a_master(&mut self, why: &str) -> Result<()> {
        if self.framework_id.is_empty() {
            bail!("{why}");
        }
        eprintln!(
            "kaon run: {why}; the task goes on, looking for the master for up to {} s",
            RETURN_PATIENCE.as_secs()
        );
        let id = json!({"value": self.framework_id});
        let mut info = self.info.clone();
        info["id"] = id.clone();
        let call = json!({"type": "SUBSCRIBE", "framework_id": id, "subscribe": {"framework_info": info}});
        self.returning = Some(tokio::spawn(come_back(self.client.clone(), call)));
        Ok(())
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
        let mut tails: [Shown; 2] = [
            (Tail::new(&directory, "stdout"), Box::new(std::io::stdout())),
            (Tail::new(&directory, "stderr"), Box::new(std::io::stderr())),
        ];
        let (mut pause, mut killed, mut told) = (TAIL_PAUSE, None, None);
        let left_behind = |why: &str| {
            let (state, message) = ("TASK_KILLED".to_owned(), format!("left behind{why}"));
            Ended { state, message, agent_id: placed.agent_id.clone(), is_hearsay: false }
        };
        loop {
            let patience = killed.map_or(Duration::MAX, |since: Instant| KILL_PATIENCE.saturating_sub(since.elapsed()));
            let rest = told.as_ref().map(|(since, _): &(Instant, _)| STATUS_PATIENCE.saturating_sub(since.elapsed()));
            tokio::select! {
                event = self.event() => match self.on_event(&event?, placed).await? {
                    Some(ended) if ended.is_hearsay => told = told.or(Some((Instant::now(), ended))),
                    Some(ended) => {
                        look(&mut tails, &placed.files).await?;
                        return Ok(ended);
                    }
                    None => {}
                },
                () = tokio::time::sleep(rest.unwrap_or(Duration::MAX)) => {
                    look(&mut tails, &placed.files).await?;
                    if let Some((_, ended)) = told {
                        return Ok(ended);
                    }
                }
                () = tokio::time::sleep(pause) => {
                    let is_new = look(&mut tails, &placed.files).await?;
                    pause = if is_new { TAIL_PAUSE } else { pause.saturating_mul(2).min(TAIL_PAUSE_MAX) };
                }
                () = tokio::time::sleep(patience) => {
                    let why = format!(": it did not end within {} s; its agent may be out of reach", KILL_PATIENCE.as_secs());
                    return Ok(left_behind(&why));
                }
                () = interrupts.next() => {
                    if killed.is_some() {
                        return Ok(left_behind(""));
                    }
                    killed = Some(Instant::now());
                    let kill = json!({"task_id": {"value": placed.task_id}, "agent_id": {"value": placed.agent_id}});
                    if let Err(error) = self.call(json!({"type": "KILL", "kill": kill})).await {
                        eprintln!("kaon run: the task can't be killed now: {error:#}; once more to leave it behind");
                    }
                }
            }
        }
    }

    async fn on_event(&mut self, event: &Value, placed: &Placed) -> Result<Option<Ended>> {
        if event["type"] == "SUBSCRIBED" {
            // We were away: what became of the task?
            let task = json!({"task_id": {"value": placed.task_id}, "agent_id": {"value": placed.agent_id}});
            self.call(json!({"type": "RECONCILE", "reconcile": {"tasks": [task]}})).await?;
        }
        if event["type"] != "UPDATE" {
            return Ok(None);
        }
        let status = &event["update"]["status"];
        if let Some(uuid) = status["uuid"].as_str() {
            let acknowledge = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": uuid});
            if let Err(error) = self.call(json!({"type": "ACKNOWLEDGE", "acknowledge": acknowledge})).await {
                // It comes again until it is acknowledged.
                tracing::info!("a status was not acknowledged: {error:#}");
            }
        }
        let state = text(&status["state"]);
        let terminal = !matches!(
            state.as_str(),
            "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE"
        );
        let (message, agent_id) = (text(&status["message"]), placed.agent_id.clone());
        let is_hearsay = status["reason"] == "REASON_RECONCILIATION";
        Ok(terminal.then_some(Ended { state, message, agent_id, is_hearsay }))
    }

    async fn teardown(&self) -> Result<()> {
        if self.framework_id.is_empty() { Ok(()) } else { self.call(json!({"type": "TEARDOWN"})).await }
    }
}

/// What the task writes, and where it is shown.
type Shown = (Tail, Box<dyn Write + Send>);

/// Shows what is new in all outputs; whether there was any. An agent that can't be asked now has nothing new.
async fn look(tails: &mut [Shown], files: &Client) -> Result<bool> {
    let mut is_new = false;
    for (tail, out) in tails {
        while let Ok(Ok(Some(bytes))) = tokio::time::timeout(TAIL_PATIENCE, tail.next(files)).await {
            is_new = true;
            out.write_all(&bytes)?;
            out.flush()?;
        }
    }
    Ok(is_new)
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
