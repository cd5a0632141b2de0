//! A framework as a scheduler writes one: it keeps offers, acknowledges updates, comes back when its stream breaks, and
//! asks for what it missed.

use crate::client::{self, Answer, Next, Stream};
use crate::deadline::{SOON, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often a framework that comes back asks for the truth about tasks that have not ended.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);

/// Cores and MiB of a task.
const SHARE: (f64, f64) = (0.1, 16.0);

/// A framework of the tests.
pub(crate) struct Framework {
    api: String,
    info: Value,
    /// Its id.
    pub(crate) id: String,
    /// Its stream.
    pub(crate) stream: Stream,
    /// Offers that it holds.
    pub(crate) offers: Vec<Value>,
    /// Every status, in order.
    pub(crate) updates: Vec<Value>,
    /// Every other event, heartbeats excepted.
    pub(crate) others: Vec<Value>,
    /// The agent of each task that was launched.
    pub(crate) launched: BTreeMap<String, Value>,
    /// Whether it comes back when its stream breaks.
    pub(crate) returns: bool,
    /// Whether it acknowledges.
    pub(crate) acknowledges: bool,
    reconciled: Instant,
}

/// What a framework of the tests says of itself.
pub(crate) fn info(name: &str) -> Value {
    json!({"user": user(), "name": name, "roles": ["*"], "checkpoint": true, "failover_timeout": 60.0,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]})
}

/// Who we are: tasks run as a user, and only root may choose another.
pub(crate) fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("a user database");
    user.expect("a name for our user").name
}

/// A scalar resource.
pub(crate) fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

/// A task with a shell command, whose agent is not known yet.
pub(crate) fn task(id: &str, command: &str) -> Value {
    json!({"name": id, "task_id": {"value": id}, "resources": [scalar("cpus", SHARE.0), scalar("mem", SHARE.1)],
        "command": {"value": command}})
}

/// Whether a task ends with this state.
pub(crate) fn is_terminal(state: &str) -> bool {
    !matches!(
        state,
        "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING" | "TASK_UNREACHABLE" | "TASK_UNKNOWN"
    )
}

impl Framework {
    /// Subscribes as a new framework.
    pub(crate) fn subscribe(api: &str, info: Value) -> Self {
        Self::begin(api, info, false)
    }

    /// Subscribes as a new framework that comes back when its stream breaks, the first one included.
    pub(crate) fn subscribe_durably(api: &str, info: Value) -> Self {
        Self::begin(api, info, true)
    }

    fn begin(api: &str, info: Value, returns: bool) -> Self {
        let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        // A master that has just begun may not lead yet: it says so, and a framework tries again.
        let stream =
            wait_for("a master that takes us", SOON, || match Stream::open(api, &call).expect("the master answers") {
                Ok(stream) => Some(stream),
                Err(answer) if answer.status == 503 => None,
                Err(answer) => panic!("no stream, but {} {}", answer.status, answer.text()),
            });
        let mut framework = Self {
            api: api.to_owned(),
            info,
            id: String::new(),
            stream,
            offers: Vec::new(),
            updates: Vec::new(),
            others: Vec::new(),
            launched: BTreeMap::new(),
            returns,
            acknowledges: true,
            reconciled: Instant::now(),
        };
        framework.until("SUBSCRIBED", |framework| !framework.id.is_empty());
        framework
    }

    /// The same framework on a new stream.
    ///
    /// # Errors
    /// The answer of a master that opens none; `None` when there is no master.
    pub(crate) fn open_again(&self) -> Result<Stream, Option<Answer>> {
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": self.info}});
        if !self.id.is_empty() {
            call["framework_id"] = json!({"value": self.id});
            call["subscribe"]["framework_info"]["id"] = json!({"value": self.id});
        }
        match Stream::open(&self.api, &call) {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(answer)) => Err(Some(answer)),
            Err(_) => Err(None),
        }
    }

    /// The same framework on a new stream that the master has confirmed, in place of the old one, which is given back.
    /// Before that a call would be refused.
    pub(crate) fn resubscribe(&mut self) -> Stream {
        let mut stream = self.open_again().expect("the master takes us back");
        match stream.next(SOON) {
            Next::Event(event) => assert_eq!(event["subscribed"]["framework_id"]["value"], self.id, "{event}"),
            other => panic!("{} came back, and got {other:?}", self.id),
        }
        std::mem::replace(&mut self.stream, stream)
    }

    /// A call, whatever the answer.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn call(&self, kind: &str, body: Value) -> std::io::Result<Answer> {
        let mut call = json!({"type": kind, "framework_id": {"value": self.id}});
        if !body.is_null() {
            call[kind.to_ascii_lowercase()] = body;
        }
        let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", self.stream.id.as_str())];
        client::exchange(&self.api, "POST", "/api/v1/scheduler", &headers, call.to_string().as_bytes())
    }

    /// A call that must be taken: 202 with nothing in it. A framework that returns shrugs when the master is away.
    pub(crate) fn must(&self, kind: &str, body: Value) {
        match self.call(kind, body.clone()) {
            Ok(answer) if answer.status == 202 => {
                assert_eq!(answer.body, b"", "202 has no body");
                assert_eq!(answer.header("content-type"), None, "nothing has no type");
            }
            Ok(answer) if self.returns && matches!(answer.status, 400 | 403 | 503) => {}
            Err(_) if self.returns => {}
            other => panic!("{kind} {body} was answered {other:?}"),
        }
    }

    /// Handles events until `done`.
    ///
    /// # Panics
    /// When that takes too long, or the stream ends and the framework is not one that returns.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        self.until_within(what, SOON, done);
    }

    /// The same with a limit of its own.
    pub(crate) fn until_within(&mut self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            let left = limit.saturating_sub(begin.elapsed());
            assert!(!left.is_zero(), "waited {limit:?} in vain for: {what}; {}", self.story());
            match self.stream.next(left.min(RECONCILE_EVERY / 4)) {
                Next::Event(event) => self.on_event(event),
                Next::Silence => {}
                Next::Ended if self.returns => self.come_back(),
                Next::Ended => panic!("the stream ended while waiting for: {what}; {}", self.story()),
            }
            if self.returns && self.reconciled.elapsed() > RECONCILE_EVERY {
                self.reconcile();
            }
        }
    }

    fn on_event(&mut self, event: Value) {
        match event["type"].as_str() {
            Some("SUBSCRIBED") => {
                let subscribed = &event["subscribed"];
                let id = subscribed["framework_id"]["value"].as_str().expect("an id").to_owned();
                assert!(self.id.is_empty() || self.id == id, "{} came back as {id}", self.id);
                self.id = id;
            }
            Some("OFFERS") => {
                let offers = event["offers"]["offers"].as_array().expect("offers");
                self.offers.extend(offers.iter().cloned());
            }
            Some("RESCIND") => {
                let id = &event["rescind"]["offer_id"];
                self.offers.retain(|offer| offer["id"] != *id);
                self.others.push(event);
            }
            Some("UPDATE") => {
                let status = event["update"]["status"].clone();
                if self.acknowledges && status["uuid"].is_string() {
                    self.acknowledge(&status);
                }
                self.updates.push(status);
            }
            Some("HEARTBEAT") => {}
            _ => self.others.push(event),
        }
    }

    /// Acknowledges a status.
    pub(crate) fn acknowledge(&self, status: &Value) {
        let body = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        self.must("ACKNOWLEDGE", body);
    }

    fn come_back(&mut self) {
        self.offers.clear();
        let limit = Duration::from_secs(60);
        self.stream = wait_for("a master that takes us back", limit, || self.open_again().ok());
        self.reconciled = Instant::now().checked_sub(RECONCILE_EVERY).unwrap_or_else(Instant::now);
    }

    /// Asks for the state of every task that has not ended.
    pub(crate) fn reconcile(&mut self) {
        self.reconciled = Instant::now();
        let open = self.launched.iter().filter(|(task, _)| !self.latest(task).is_some_and(is_terminal));
        let tasks: Vec<Value> =
            open.map(|(task, agent)| json!({"task_id": {"value": task}, "agent_id": agent})).collect();
        if !tasks.is_empty() {
            self.must("RECONCILE", json!({"tasks": tasks}));
        }
    }

    /// Launches tasks as offers come in, as many on each as fit.
    pub(crate) fn launch(&mut self, tasks: Vec<Value>) {
        let mut waiting: std::collections::VecDeque<Value> = tasks.into();
        while !waiting.is_empty() {
            self.until("an offer", |framework| !framework.offers.is_empty());
            let offer = self.offers.remove(0);
            let room =
                ((amount(&offer, "cpus") / SHARE.0 + 1e-6) as usize).min((amount(&offer, "mem") / SHARE.1) as usize);
            let chosen: Vec<Value> = waiting.drain(..room.min(waiting.len())).collect();
            self.accept(&[&offer], chosen, 0.1);
        }
    }

    /// ACCEPT with LAUNCH of tasks that get the agent of the first offer.
    pub(crate) fn accept(&mut self, offers: &[&Value], mut tasks: Vec<Value>, refuse_seconds: f64) {
        for task in &mut tasks {
            if task["agent_id"].is_null() {
                task["agent_id"] = offers[0]["agent_id"].clone();
            }
            if let Some(id) = task["task_id"]["value"].as_str() {
                self.launched.insert(id.to_owned(), task["agent_id"].clone());
            }
        }
        let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
        let launch = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
        let filters = json!({"refuse_seconds": refuse_seconds});
        self.must("ACCEPT", json!({"offer_ids": ids, "operations": [launch], "filters": filters}));
    }

    /// Launches tasks and waits until all are in `state`.
    pub(crate) fn launch_until(&mut self, tasks: Vec<Value>, state: &str) {
        let ids: Vec<String> =
            tasks.iter().map(|task| task["task_id"]["value"].as_str().expect("an id").to_owned()).collect();
        self.launch(tasks);
        self.until(state, |framework| ids.iter().all(|id| framework.latest(id) == Some(state)));
    }

    /// The next offer.
    pub(crate) fn offer(&mut self) -> Value {
        self.until("an offer", |framework| !framework.offers.is_empty());
        self.offers.remove(0)
    }

    /// The last status of a task.
    pub(crate) fn status(&self, task: &str) -> Option<&Value> {
        self.updates.iter().rev().find(|status| status["task_id"]["value"] == task)
    }

    /// The state in it.
    pub(crate) fn latest(&self, task: &str) -> Option<&str> {
        self.status(task).and_then(|status| status["state"].as_str())
    }

    /// Every state of a task that was told, in order, repetitions left out.
    pub(crate) fn states(&self, task: &str) -> Vec<&str> {
        let mine = self.updates.iter().filter(|status| status["task_id"]["value"] == task);
        let mut states: Vec<&str> = mine.filter_map(|status| status["state"].as_str()).collect();
        states.dedup();
        states
    }

    /// Whether all tasks that were launched have ended, as far as we know.
    pub(crate) fn all_ended(&self) -> bool {
        self.launched.keys().all(|task| self.latest(task).is_some_and(is_terminal))
    }

    /// Ends the framework, and waits until the master has ended its stream.
    pub(crate) fn teardown(mut self) {
        self.must("TEARDOWN", Value::Null);
        let begin = Instant::now();
        while !matches!(self.stream.next(SOON), Next::Ended) {
            assert!(begin.elapsed() < SOON, "a stream outlives its framework");
        }
    }

    fn story(&self) -> String {
        let message = |task: &str| self.status(task).and_then(|status| status["message"].as_str()).unwrap_or_default();
        let told: Vec<(&str, Vec<&str>, &str)> =
            self.launched.keys().map(|task| (task.as_str(), self.states(task), message(task))).collect();
        format!("framework {} was told {told:?} and {:?}, holds {} offers", self.id, self.others, self.offers.len())
    }
}

/// The sum of a scalar in an offer.
pub(crate) fn amount(offer: &Value, name: &str) -> f64 {
    let resources = offer["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = resources.iter().filter(|resource| resource["name"] == name);
    named.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
}
