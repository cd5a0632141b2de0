//! A scheduler as rows need one: it subscribes, keeps the offers that it asked for and declines the rest, so that frameworks of
//! other rows get theirs, acknowledges, and remembers everything that it was told.

use super::arena::{Arena, SCHEDULER, SCHEDULER_CALL, items};
pub(crate) use super::stream::{Next, Stream};
use super::wire::Answer;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long something that must come may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Between two looks at something that nobody announces.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// How long something that must not come is watched for: longer than an allocation interval.
pub(crate) const WATCHED: Duration = Duration::from_millis(1200);

/// How long a framework refuses what it does not want: longer than any row.
pub(crate) const LONG_SECONDS: f64 = 3600.0;

/// A scheduler.
pub(crate) struct Framework {
    /// Where it is.
    pub(crate) arena: Arena,
    /// What it says of itself.
    pub(crate) info: Value,
    /// Its id.
    pub(crate) id: String,
    /// Its stream.
    pub(crate) stream: Stream,
    /// The offers that it holds.
    pub(crate) offers: Vec<Value>,
    /// Every status, in order.
    pub(crate) updates: Vec<Value>,
    /// Every other event, offers and heartbeats excepted.
    pub(crate) others: Vec<Value>,
    /// Whether it acknowledges by itself.
    pub(crate) acknowledges: bool,
    /// How many offers it keeps; it declines what is above.
    pub(crate) wanted: usize,
    /// Of which agent alone; of any when not set.
    pub(crate) only: Option<Value>,
    /// Whether it declines what others have left too little of.
    needs_room: bool,
    has_declined: bool,
}

/// The messages of the scheduler API.
const MESSAGES: (&str, &str) = (SCHEDULER_CALL, "mesos.v1.scheduler.Event");

impl Framework {
    /// The SUBSCRIBE of a new framework.
    pub(crate) fn subscribe_call(info: &Value) -> Value {
        json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
    }

    /// SUBSCRIBE, whatever comes of it.
    pub(crate) async fn open(arena: &Arena, call: &Value) -> Result<Result<Stream, Answer>> {
        Stream::open(arena, (arena.master(), SCHEDULER), MESSAGES, call).await
    }

    /// A new framework that says nothing special of itself.
    pub(crate) async fn start(arena: &Arena) -> Result<Self> {
        Self::subscribe(arena, arena.info()).await
    }

    /// A new framework that wants no offers.
    pub(crate) async fn quiet(arena: &Arena) -> Result<Self> {
        Self::quiet_with(arena, json!({})).await
    }

    /// The same with changes to what it says of itself.
    pub(crate) async fn quiet_with(arena: &Arena, changes: Value) -> Result<Self> {
        let info = arena.info_with(changes);
        let mut call = Self::subscribe_call(&info);
        call["subscribe"]["suppressed_roles"] = info["roles"].clone();
        Self::by_call(arena, info, call).await
    }

    /// A new framework.
    pub(crate) async fn subscribe(arena: &Arena, info: Value) -> Result<Self> {
        let call = Self::subscribe_call(&info);
        Self::by_call(arena, info, call).await
    }

    /// A framework that subscribes with a call of the row's own.
    pub(crate) async fn by_call(arena: &Arena, info: Value, call: Value) -> Result<Self> {
        let mut stream = match Self::open(arena, &call).await? {
            Ok(stream) => stream,
            Err(answer) => bail!("SUBSCRIBE was answered {}", answer.shown()),
        };
        let first = stream.event().await?;
        ensure!(first["type"] == "SUBSCRIBED", "the first event is {first}");
        let id = first["subscribed"]["framework_id"]["value"].as_str().context("an id")?.to_owned();
        let stream = stream.followed(&id);
        Ok(Self {
            arena: arena.clone(),
            info,
            id,
            stream,
            offers: Vec::new(),
            updates: Vec::new(),
            others: vec![first],
            acknowledges: true,
            wanted: 0,
            only: None,
            needs_room: false,
            has_declined: false,
        })
    }

    /// The SUBSCRIBE with which this framework comes back.
    pub(crate) fn return_call(&self) -> Value {
        let mut call = Self::subscribe_call(&self.info);
        call["framework_id"] = json!({"value": self.id});
        call["subscribe"]["framework_info"]["id"] = json!({"value": self.id});
        call
    }

    /// Comes back on a new stream, and gives back the old one.
    pub(crate) async fn come_back(&mut self) -> Result<Stream> {
        let call = self.return_call();
        self.come_back_with(&call).await
    }

    /// The same with a call of the row's own.
    pub(crate) async fn come_back_with(&mut self, call: &Value) -> Result<Stream> {
        let again = Self::by_call(&self.arena, self.info.clone(), call.clone()).await?;
        ensure!(again.id == self.id, "{} came back as {}", self.id, again.id);
        self.offers.clear();
        Ok(std::mem::replace(&mut self.stream, again.stream))
    }

    /// The call with our id; the part of it named after its type is `body`.
    pub(crate) fn call_of(&self, kind: &str, body: Value) -> Value {
        let mut call = json!({"type": kind, "framework_id": {"value": self.id}});
        if !body.is_null() {
            call[kind.to_ascii_lowercase()] = body;
        }
        call
    }

    /// A call on our stream, whatever the answer.
    pub(crate) async fn call(&self, kind: &str, body: Value) -> Result<Answer> {
        self.send(&self.call_of(kind, body), self.stream.id()).await
    }

    /// A call as it is, with the stream id given.
    pub(crate) async fn send(&self, call: &Value, stream_id: Option<&str>) -> Result<Answer> {
        let body = self.arena.media.write(SCHEDULER_CALL, call)?;
        let mut headers = vec![("Content-Type", self.arena.media.name())];
        headers.extend(stream_id.map(|id| ("Mesos-Stream-Id", id)));
        super::wire::exchange(self.arena.master(), "POST", SCHEDULER, &headers, &body).await
    }

    /// A call that must be taken: 202 with nothing in it.
    pub(crate) async fn must(&self, kind: &str, body: Value) -> Result<()> {
        let answer = self.call(kind, body).await?;
        ensure!(answer.status == 202, "{kind} was answered {}", answer.shown());
        ensure!(answer.body.is_empty(), "a call is answered with nothing, not {}", answer.shown());
        ensure!(answer.header("content-type").is_none(), "nothing has no type");
        Ok(())
    }

    /// Handles events until `done` gives something.
    pub(crate) async fn until<T>(&mut self, what: &str, mut done: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let begin = Instant::now();
        if self.stream.take_declined() {
            self.has_declined = true;
            if self.wanted > 0 {
                self.revive_declined().await?;
            }
        }
        loop {
            if let Some(found) = done(self) {
                return Ok(found);
            }
            let left = SOON.saturating_sub(begin.elapsed());
            match self.stream.next(left).await? {
                Next::Event(event) => self.on_event(event).await?,
                Next::Silence => bail!("waited in vain for {what}; {}", self.heard()),
                Next::Ended => bail!("the stream ended before {what}; {}", self.heard()),
            }
        }
    }

    /// Handles events for a while.
    pub(crate) async fn listen(&mut self, time: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            match self.stream.next(time.saturating_sub(begin.elapsed())).await? {
                Next::Event(event) => self.on_event(event).await?,
                Next::Silence => return Ok(()),
                Next::Ended => bail!("the stream ended; {}", self.heard()),
            }
        }
    }

    fn heard(&self) -> String {
        let updates: Vec<String> = self.updates.iter().map(Value::to_string).collect();
        let others: Vec<String> = self.others.iter().skip(1).map(Value::to_string).collect();
        format!("{} heard [{}] and [{}]", self.id, updates.join(" "), others.join(" "))
    }

    async fn on_event(&mut self, event: Value) -> Result<()> {
        match event["type"].as_str() {
            Some("OFFERS") => {
                for offer in items(&event["offers"]["offers"]) {
                    let is_wanted = self.only.as_ref().is_none_or(|agent| *agent == offer["agent_id"])
                        && (!self.needs_room || has_room(offer));
                    if is_wanted && self.offers.len() < self.wanted {
                        self.offers.push(offer.clone());
                    } else {
                        self.has_declined = true;
                        self.decline(offer, LONG_SECONDS).await?;
                    }
                }
            }
            Some("RESCIND") => {
                self.offers.retain(|offer| offer["id"] != event["rescind"]["offer_id"]);
                self.others.push(event);
            }
            Some("UPDATE") => {
                let status = event["update"]["status"].clone();
                if self.acknowledges && status["uuid"].is_string() {
                    self.acknowledge(&status).await?;
                }
                self.updates.push(status);
            }
            Some("HEARTBEAT") => {}
            _ => self.others.push(event),
        }
        Ok(())
    }

    /// Acknowledges a status.
    pub(crate) async fn acknowledge(&self, status: &Value) -> Result<()> {
        let body = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        self.must("ACKNOWLEDGE", body).await
    }

    /// Declines an offer.
    pub(crate) async fn decline(&self, offer: &Value, refuse_seconds: f64) -> Result<()> {
        let filters = json!({"refuse_seconds": refuse_seconds});
        self.must("DECLINE", json!({"offer_ids": [offer["id"]], "filters": filters})).await
    }

    /// The next offer with room for small tasks, a port and a little disk; what is offered beside it is declined. Rows run
    /// side by side, and an offer may be what another has left.
    pub(crate) async fn offer(&mut self) -> Result<Value> {
        self.revive_declined().await?;
        (self.wanted, self.needs_room) = (1, true);
        let offer = self.until("an offer", |framework| framework.offers.first().cloned()).await?;
        self.offers.clear();
        (self.wanted, self.needs_room) = (0, false);
        Ok(offer)
    }

    async fn revive_declined(&mut self) -> Result<()> {
        match std::mem::take(&mut self.has_declined) {
            true => self.must("REVIVE", Value::Null).await,
            false => Ok(()),
        }
    }

    /// The next offer of one agent, and how long it took; what else is offered is declined.
    pub(crate) async fn offer_of(&mut self, agent: &Value) -> Result<(Value, Duration)> {
        let begin = Instant::now();
        self.only = Some(agent.clone());
        self.wanted = 1;
        let offer = self.until("an offer of the agent", |framework| framework.offers.first().cloned()).await?;
        (self.only, self.wanted) = (None, 0);
        self.offers.clear();
        Ok((offer, begin.elapsed()))
    }

    /// The same after a REVIVE.
    pub(crate) async fn revived_offer_of(&mut self, agent: &Value) -> Result<(Value, Duration)> {
        self.must("REVIVE", Value::Null).await?;
        self.offer_of(agent).await
    }

    /// The same with room for small tasks, as in [`Self::offer`].
    pub(crate) async fn roomy_offer_of(&mut self, agent: &Value) -> Result<Value> {
        self.needs_room = true;
        let offer = self.revived_offer_of(agent).await;
        self.needs_room = false;
        offer.map(|(offer, _)| offer)
    }

    /// Handles what was under way before the last call was carried out: an answer to a question behind it is awaited. The answer
    /// is none of the framework's statuses.
    async fn catch_up(&mut self) -> Result<()> {
        let nobody = self.arena.name("nobody");
        self.must("RECONCILE", json!({"tasks": [{"task_id": {"value": nobody}}]})).await?;
        self.first_status(&nobody).await?;
        self.updates.retain(|status| status["task_id"]["value"] != nobody.as_str());
        Ok(())
    }

    /// Whether what was refused is offered again soon. An offer of the same agent with more of something, or with other ports, may come, since tasks of
    /// others end; what else is offered is declined.
    pub(crate) async fn is_offered(&mut self, refused: &Value) -> Result<bool> {
        self.catch_up().await?;
        (self.only, self.wanted) = (Some(refused["agent_id"].clone()), usize::MAX);
        self.listen(WATCHED).await?;
        (self.only, self.wanted) = (None, 0);
        let is_larger = |offer: &Value| {
            let more = |name: &&str| amount(offer, name) > amount(refused, name) + 1e-6;
            let has_new_port = ports(offer).into_iter().any(|port| !ports(refused).contains(&port));
            has_new_port || ["cpus", "mem", "disk", "gpus"].iter().any(more)
        };
        Ok(!std::mem::take(&mut self.offers).iter().all(is_larger))
    }

    /// ACCEPT of offers with operations; what is left is refused for long.
    pub(crate) async fn accept(&self, offers: &[&Value], operations: Vec<Value>) -> Result<()> {
        let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
        let filters = json!({"refuse_seconds": LONG_SECONDS});
        self.must("ACCEPT", json!({"offer_ids": ids, "operations": operations, "filters": filters})).await
    }

    /// ACCEPT of an offer with LAUNCH of tasks.
    pub(crate) async fn launch(&self, offer: &Value, tasks: Vec<Value>) -> Result<()> {
        self.accept(&[offer], vec![json!({"type": "LAUNCH", "launch": {"task_infos": tasks}})]).await
    }

    /// Takes an offer for a task with a shell command; the offer, and the task's id.
    pub(crate) async fn launch_one(&mut self, command: &str) -> Result<(Value, String)> {
        let offer = self.offer().await?;
        let (id, task) = self.task(&offer, command);
        self.launch(&offer, vec![task]).await?;
        Ok((offer, id))
    }

    /// A task for an offer with a shell command, and its id.
    pub(crate) fn task(&self, offer: &Value, command: &str) -> (String, Value) {
        let id = self.arena.name("task");
        let task = json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)], "command": {"value": command}});
        (id, task)
    }

    /// The next status of a task in this state.
    pub(crate) async fn status(&mut self, task: &str, state: &str) -> Result<Value> {
        let find = |framework: &Self| {
            let mut mine = framework.updates.iter().filter(|status| status["task_id"]["value"] == task);
            mine.find(|status| status["state"] == state).cloned()
        };
        self.until(&format!("{state} of {task}"), find).await
    }

    /// The first status of a task, whatever it is.
    pub(crate) async fn first_status(&mut self, task: &str) -> Result<Value> {
        let find =
            |framework: &Self| framework.updates.iter().find(|status| status["task_id"]["value"] == task).cloned();
        self.until(&format!("a status of {task}"), find).await
    }

    /// Ends the framework, and waits until its stream has ended.
    pub(crate) async fn teardown(mut self) -> Result<()> {
        self.must("TEARDOWN", Value::Null).await?;
        self.stream.until_end().await.map(drop)
    }
}

/// A scalar resource.
pub(crate) fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

/// The sum of a scalar in an offer.
pub(crate) fn amount(offer: &Value, name: &str) -> f64 {
    let named = items(&offer["resources"]).iter().filter(|resource| resource["name"] == name);
    named.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
}

/// Every port of an offer.
fn ports(offer: &Value) -> BTreeSet<u64> {
    let resources = items(&offer["resources"]).iter().filter(|resource| resource["name"] == "ports");
    let ranges = resources.flat_map(|resource| items(&resource["ranges"]["range"]));
    let bound = |range: &Value, key: &str| range[key].as_u64().or_else(|| range[key].as_str()?.parse().ok());
    ranges.filter_map(|range| Some(bound(range, "begin")?..=bound(range, "end")?)).flatten().collect()
}

/// Whether an offer has room for what a row launches: some small tasks, a port, a little disk.
fn has_room(offer: &Value) -> bool {
    let least = [("cpus", 0.3), ("mem", 96.0), ("disk", 32.0)];
    let has_ports = items(&offer["resources"]).iter().any(|resource| resource["name"] == "ports");
    has_ports && least.iter().all(|(name, least)| amount(offer, name) >= *least)
}
