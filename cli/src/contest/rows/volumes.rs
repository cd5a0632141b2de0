//! Reference 4, 7.1, 10: reservations and volumes that are used: by tasks, by several at once, by those who may not.

use super::operations::{reserved, status_of};
use crate::contest::arena::{Arena, items, merge};
use crate::contest::framework::{Framework, LONG_SECONDS, amount, scalar};
use crate::contest::plain_call;
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// How much disk a volume has, in MB.
const SIZE: f64 = 16.0;

/// A framework that holds an offer of an agent for a role of its own.
struct Holder {
    framework: Framework,
    offer: Value,
    role: String,
    /// Operations have names by number.
    count: usize,
    /// What was told last of operations, for people.
    told: Vec<Value>,
}

impl Holder {
    async fn start(arena: &Arena, changes: Value) -> Result<Self> {
        let role = arena.name("holder");
        let kinds = ["MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT", "SHARED_RESOURCES"];
        let kinds = kinds.map(|kind| json!({"type": kind}));
        let mut info = arena.info_with(json!({"roles": [role], "capabilities": kinds}));
        merge(&mut info, &changes);
        let mut framework = Framework::subscribe(arena, info).await?;
        let offer = framework.offer().await?;
        Ok(Self { framework, offer, role, count: 0, told: Vec::new() })
    }

    fn disk(&self, size: f64) -> Value {
        reserved("disk", size, &self.role)
    }

    fn volume(&self, id: &str) -> Value {
        let mut volume = self.disk(SIZE);
        volume["disk"] = json!({"persistence": {"id": id}, "volume": {"mode": "RW", "container_path": "data"}});
        volume
    }

    /// Carries operations out of the offer that is held, and takes the next offer; the states of the operations.
    async fn operate(&mut self, mut operations: Vec<Value>) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for operation in &mut operations {
            let name = format!("o{}", self.count);
            self.count += 1;
            operation["id"] = json!({"value": name});
            names.push(name);
        }
        self.framework.accept(&[&self.offer], operations).await?;
        let mut states = Vec::new();
        self.told.clear();
        for name in names {
            let status = status_of(&mut self.framework, &name).await?;
            self.told.push(status.clone());
            states.push(status["state"].as_str().unwrap_or_default().to_owned());
        }
        self.renew().await?;
        Ok(states)
    }

    /// The same, all of which must finish.
    async fn finish(&mut self, operations: Vec<Value>) -> Result<()> {
        let states = self.operate(operations).await?;
        ensure!(states.iter().all(|state| state == "OPERATION_FINISHED"), "{:?}", self.told);
        Ok(())
    }

    async fn renew(&mut self) -> Result<()> {
        let agent = self.offer["agent_id"].clone();
        (self.offer, _) = self.framework.revived_offer_of(&agent).await?;
        Ok(())
    }

    /// What of the offer is reserved to the role.
    fn held(&self) -> Vec<Value> {
        let mine = items(&self.offer["resources"]).iter();
        mine.filter(|one| one["reservations"][0]["role"] == self.role.as_str()).cloned().collect()
    }

    /// The volume of the offer, if there is one.
    fn offered_volume(&self) -> Option<Value> {
        self.held().into_iter().find(|one| one["disk"]["persistence"].is_object())
    }

    /// Takes offers until one has what is wanted: rows run side by side, and what comes back does so piece by piece.
    async fn until(&mut self, wanted: impl Fn(&Self) -> bool) -> Result<()> {
        while !wanted(self) {
            self.framework.decline(&self.offer, 0.0).await?;
            self.renew().await?;
        }
        Ok(())
    }

    /// The volume, once it is offered with room for two tasks.
    async fn await_volume(&mut self) -> Result<Value> {
        let has_room = |offer: &Value| amount(offer, "cpus") >= 0.3 && amount(offer, "mem") >= 96.0;
        self.until(|holder| holder.offered_volume().is_some() && has_room(&holder.offer)).await?;
        self.offered_volume().context("a volume")
    }

    /// Reserves disk and makes a volume of it.
    async fn make(&mut self, id: &str) -> Result<()> {
        let (disk, volume) = (self.disk(SIZE), self.volume(id));
        self.finish(vec![reserve(&[disk]), create(&[volume])]).await
    }

    /// A task that holds resources beside its own.
    fn task(&self, command: &str, more: &[Value]) -> (String, Value) {
        let (id, mut task) = self.framework.task(&self.offer, command);
        task["resources"].as_array_mut().into_iter().for_each(|all| all.extend_from_slice(more));
        (id, task)
    }

    /// Destroys the volumes and gives back what is reserved in the offer that is held.
    async fn give_back(mut self) -> Result<()> {
        self.until(|holder| !holder.held().is_empty()).await?;
        let volumes: Vec<Value> =
            self.held().into_iter().filter(|one| one["disk"]["persistence"].is_object()).collect();
        let mut plain = self.held();
        plain.iter_mut().for_each(|one| {
            if let Some(one) = one.as_object_mut() {
                one.remove("disk");
                one.remove("shared");
            }
        });
        let mut operations = Vec::new();
        if !volumes.is_empty() {
            operations.push(json!({"type": "DESTROY", "destroy": {"volumes": volumes}}));
        }
        operations.push(json!({"type": "UNRESERVE", "unreserve": {"resources": plain}}));
        self.finish(operations).await?;
        ensure!(self.held().is_empty(), "something stays reserved: {}", self.offer);
        self.framework.teardown().await
    }
}

fn reserve(resources: &[Value]) -> Value {
    json!({"type": "RESERVE", "reserve": {"resources": resources}})
}

fn create(volumes: &[Value]) -> Value {
    json!({"type": "CREATE", "create": {"volumes": volumes}})
}

fn launch(tasks: &[Value]) -> Value {
    json!({"type": "LAUNCH", "launch": {"task_infos": tasks}})
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = used();
    rows.extend(resized());
    rows.extend(shared());
    rows.extend(refused());
    rows.extend(formats());
    rows.into_iter().map(|row| row.within(60)).collect()
}

fn used() -> Vec<Row> {
    let kept = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let (disk, volume) = (holder.disk(SIZE), holder.volume("kept"));
        let (first, task) = holder.task("echo kept > data/file", std::slice::from_ref(&volume));
        let operations = vec![reserve(&[disk]), create(&[volume]), launch(&[task])];
        holder.framework.accept(&[&holder.offer], operations).await?;
        holder.framework.status(&first, "TASK_FINISHED").await?;
        holder.renew().await?;
        let volume = holder.await_volume().await?;
        let (second, task) = holder.task("test \"$(cat data/file)\" = kept", std::slice::from_ref(&volume));
        holder.framework.accept(&[&holder.offer], vec![launch(&[task])]).await?;
        let last = holder.framework.until("its end", |framework| ended(framework, &second)).await?;
        ensure!(last["state"] == "TASK_FINISHED", "the data is gone: {last}");
        holder.renew().await?;
        // The same name again is another volume.
        let destroy = json!({"type": "DESTROY", "destroy": {"volumes": [volume]}});
        holder.finish(vec![destroy]).await?;
        let volume = holder.volume("kept");
        holder.finish(vec![create(&[volume])]).await?;
        let volume = holder.await_volume().await?;
        let (third, task) = holder.task("test ! -e data/file", &[volume]);
        holder.framework.accept(&[&holder.offer], vec![launch(&[task])]).await?;
        let last = holder.framework.until("its end", |framework| ended(framework, &third)).await?;
        ensure!(last["state"] == "TASK_FINISHED", "the data outlived its volume: {last}");
        holder.renew().await?;
        holder.give_back().await
    };
    let others = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        holder.make("mine").await?;
        let kinds = ["MULTI_ROLE", "RESERVATION_REFINEMENT"].map(|kind| json!({"type": kind}));
        let mut other = Framework::subscribe(&arena, arena.info_with(json!({"capabilities": kinds}))).await?;
        // What the one holds nobody else is offered.
        let agent = holder.offer["agent_id"].clone();
        holder.framework.decline(&holder.offer, LONG_SECONDS).await?;
        let offer = other.offer_of(&agent).await?.0;
        ensure!(!offer.to_string().contains(&holder.role), "another role is offered it: {offer}");
        other.teardown().await?;
        holder.renew().await?;
        holder.give_back().await
    };
    let busy = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        holder.make("busy").await?;
        let volume = holder.await_volume().await?;
        let (id, task) = holder.task("exec sleep 600", std::slice::from_ref(&volume));
        holder.framework.accept(&[&holder.offer], vec![launch(&[task])]).await?;
        holder.framework.status(&id, "TASK_RUNNING").await?;
        let mut plain = volume;
        merge(&mut plain, &json!({"allocation_info": null}));
        let mut call = plain_call("DESTROY_VOLUMES");
        call["destroy_volumes"] = json!({"agent_id": holder.offer["agent_id"], "volumes": [plain]});
        arena.operator(&call).await?.expect(400)?;
        let body = json!({"task_id": {"value": id}, "agent_id": holder.offer["agent_id"]});
        holder.framework.must("KILL", body).await?;
        holder.framework.status(&id, "TASK_KILLED").await?;
        holder.renew().await?;
        holder.give_back().await
    };
    let operator = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let agent = holder.offer["agent_id"].clone();
        let bare = |mut resource: Value| {
            merge(&mut resource, &json!({"allocation_info": null}));
            resource
        };
        let order = |kind: &str, field: &str, resource: Value| {
            let mut call = plain_call(kind);
            call[kind.to_ascii_lowercase()] = json!({"agent_id": agent, field: [resource]});
            call
        };
        let (disk, volume) = (bare(holder.disk(SIZE)), bare(holder.volume("ordered")));
        arena.operator(&order("RESERVE_RESOURCES", "resources", disk.clone())).await?.expect(202)?;
        arena.operator(&order("CREATE_VOLUMES", "volumes", volume.clone())).await?.expect(202)?;
        // The same again: there is one of the name.
        arena.operator(&order("CREATE_VOLUMES", "volumes", volume.clone())).await?.expect(400)?;
        holder.framework.decline(&holder.offer, 0.0).await?;
        holder.renew().await?;
        holder.await_volume().await?;
        arena.operator(&order("DESTROY_VOLUMES", "volumes", volume)).await?.expect(202)?;
        arena.operator(&order("UNRESERVE_RESOURCES", "resources", disk.clone())).await?.expect(202)?;
        arena.operator(&order("UNRESERVE_RESOURCES", "resources", disk)).await?.expect(409)?;
        let large = bare(holder.disk(1e9));
        arena.operator(&order("RESERVE_RESOURCES", "resources", large)).await?.expect(409)?;
        let free = scalar("disk", SIZE);
        arena.operator(&order("RESERVE_RESOURCES", "resources", free)).await?.expect(400)?;
        holder.framework.teardown().await
    };
    let moved = |arena: Arena| async move {
        let role = arena.name("moved");
        let agents = arena.read("GET_AGENTS").await?;
        let agent = items(&agents["agents"]).first().ok_or_else(|| anyhow::anyhow!("no agent"))?["agent_info"].clone();
        let stacked = |roles: &[&str]| {
            let mut cpus = scalar("cpus", 0.25);
            let stack: Vec<Value> = roles.iter().map(|role| json!({"type": "DYNAMIC", "role": role})).collect();
            if !stack.is_empty() {
                cpus["reservations"] = json!(stack);
            }
            json!([cpus])
        };
        let (one, other) = (format!("{role}/one"), format!("{role}/other"));
        let (free, first, second) = (stacked(&[]), stacked(&[&role, &one]), stacked(&[&role, &other]));
        let order = |source: &Value, resources: &Value| {
            let part = json!({"agent_id": agent["id"], "source": source, "resources": resources});
            let call = json!({"type": "RESERVE_RESOURCES", "reserve_resources": part});
            let arena = arena.clone();
            async move { arena.operator(&call).await }
        };
        let at = format!("{}:{}", agent["hostname"].as_str().unwrap_or_default(), agent["port"]);
        let has = |wanted: String| {
            let (at, role) = (at.clone(), role.clone());
            move || {
                let (at, role, wanted) = (at.clone(), role.clone(), wanted.clone());
                async move {
                    let answer = crate::contest::wire::exchange(&at, "GET", "/state", &[], b"").await?.expect(200)?;
                    let state: Value = serde_json::from_slice(&answer.body)?;
                    let all = state["reserved_resources"].as_object().cloned().unwrap_or_default();
                    let mut mine = all.iter().filter(|(name, _)| name.starts_with(&role));
                    let is_so = mine.all(|(name, amounts)| *name == wanted && amounts["cpus"] == 0.25);
                    Ok((is_so && all.contains_key(&wanted)).then_some(()))
                }
            }
        };
        order(&second, &first).await?.expect(409)?;
        order(&free, &first).await?.expect(202)?;
        arena.eventually("the first reservation", has(one.clone())).await?;
        order(&second, &first).await?.expect(409)?;
        order(&first, &second).await?.expect(202)?;
        arena.eventually("the second reservation", has(other)).await?;
        for left in [second, stacked(&[&role])] {
            let part = json!({"agent_id": agent["id"], "resources": left});
            let call = json!({"type": "UNRESERVE_RESOURCES", "unreserve_resources": part});
            arena.operator(&call).await?.expect(202)?;
        }
        Ok(())
    };
    vec![
        row(
            "4",
            "RESERVE, CREATE, LAUNCH",
            "together in one ACCEPT, then again",
            "the data stays, until DESTROY",
            kept,
        ),
        row("10", "CREATE", "a volume", "only its role is offered it", others),
        row("7.1", "DESTROY_VOLUMES", "a volume in use", "400", busy),
        row(
            "7.1",
            "RESERVE_RESOURCES to DESTROY_VOLUMES",
            "resources that are offered",
            "202, and offers tell; 400 for a name twice, 409 for what is not there",
            operator,
        )
        .alone(),
        row(
            "7.1",
            "RESERVE_RESOURCES with a source",
            "free cpus to a stack of two roles, then from one role to its sister",
            "202, and the agent has it; 409 while there is no such source",
            moved,
        )
        .alone(),
    ]
}

/// The last status of a task.
fn ended(framework: &Framework, task: &str) -> Option<Value> {
    let mut mine = framework.updates.iter().filter(|status| status["task_id"]["value"] == task);
    let is_last = |status: &&Value| {
        let state = status["state"].as_str().unwrap_or_default();
        !matches!(state, "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING")
    };
    mine.find(is_last).cloned()
}

fn resized() -> Vec<Row> {
    let round = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let (disk, volume) = (holder.disk(SIZE + 8.0), holder.volume("sized"));
        holder.finish(vec![reserve(&[disk]), create(&[volume])]).await?;
        for (kind, size) in [("GROW_VOLUME", SIZE + 8.0), ("SHRINK_VOLUME", SIZE)] {
            let volume = holder.await_volume().await?;
            let part = match kind {
                "GROW_VOLUME" => json!({"volume": volume, "addition": holder.disk(8.0)}),
                _ => json!({"volume": volume, "subtract": {"value": 8.0}}),
            };
            let mut operation = json!({"type": kind});
            operation[kind.to_ascii_lowercase()] = part;
            holder.finish(vec![operation]).await?;
            let volume = holder.await_volume().await?;
            ensure!(volume["scalar"]["value"] == size, "{kind}: {volume}");
        }
        holder.give_back().await
    };
    let at_once = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let (disk, volume) = (holder.disk(SIZE + 8.0), holder.volume("early"));
        holder.finish(vec![reserve(&[disk]), create(&[volume])]).await?;
        let volume = holder.await_volume().await?;
        let mut grown = volume.clone();
        grown["scalar"]["value"] = json!(SIZE + 8.0);
        let (id, task) = holder.task("true", &[grown]);
        let grow = json!({"type": "GROW_VOLUME", "id": {"value": "grow"},
            "grow_volume": {"volume": volume, "addition": holder.disk(8.0)}});
        holder.framework.accept(&[&holder.offer], vec![grow, launch(&[task])]).await?;
        let status = holder.framework.first_status(&id).await?;
        ensure!(status["state"] == "TASK_ERROR", "{status}");
        let status = status_of(&mut holder.framework, "grow").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        holder.renew().await?;
        holder.give_back().await
    };
    let wrong = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let (disk, volume) = (holder.disk(SIZE + 8.0), holder.volume("wrong"));
        holder.finish(vec![reserve(&[disk]), create(&[volume])]).await?;
        let volume = holder.await_volume().await?;
        let grow =
            |addition: Value| json!({"type": "GROW_VOLUME", "grow_volume": {"volume": volume, "addition": addition}});
        let shrink =
            |by: f64| json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": volume, "subtract": {"value": by}}});
        let operations = vec![
            grow(holder.disk(0.0)),
            grow(reserved("cpus", 0.1, &holder.role)),
            shrink(0.0),
            shrink(-1.0),
            shrink(SIZE),
            shrink(SIZE + 1.0),
        ];
        let states = holder.operate(operations).await?;
        ensure!(states.iter().all(|state| state == "OPERATION_ERROR"), "{states:?}");
        holder.give_back().await
    };
    vec![
        row("4", "GROW_VOLUME, SHRINK_VOLUME", "a volume and free disk", "the next offers have its new size", round),
        row("4", "GROW_VOLUME, LAUNCH", "a task on the grown volume at once", "TASK_ERROR; the volume grows", at_once),
        row("4", "GROW_VOLUME, SHRINK_VOLUME", "by nothing, by too much, by cpus", "OPERATION_ERROR", wrong),
    ]
}

fn shared() -> Vec<Row> {
    let both = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let (disk, mut volume) = (holder.disk(SIZE), holder.volume("shared"));
        volume["shared"] = json!({});
        holder.finish(vec![reserve(&[disk]), create(&[volume])]).await?;
        let volume = holder.await_volume().await?;
        ensure!(volume["shared"].is_object(), "{volume}");
        let own = std::slice::from_ref(&volume);
        let (one, first) = holder.task("exec sleep 600", own);
        let (two, second) = holder.task("exec sleep 600", own);
        holder.framework.accept(&[&holder.offer], vec![launch(&[first, second])]).await?;
        for id in [&one, &two] {
            holder.framework.status(id, "TASK_RUNNING").await?;
        }
        // It is offered while it is used, and can't be destroyed.
        holder.renew().await?;
        ensure!(holder.offered_volume().is_some(), "it is not offered again: {}", holder.offer);
        let states = holder.operate(vec![json!({"type": "DESTROY", "destroy": {"volumes": [volume]}})]).await?;
        ensure!(states == ["OPERATION_ERROR"], "{states:?}");
        for id in [&one, &two] {
            let body = json!({"task_id": {"value": id}, "agent_id": holder.offer["agent_id"]});
            holder.framework.must("KILL", body).await?;
            holder.framework.status(id, "TASK_KILLED").await?;
        }
        holder.framework.decline(&holder.offer, 0.0).await?;
        holder.renew().await?;
        holder.give_back().await
    };
    let unable = |arena: Arena| async move {
        let kinds = ["MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT"].map(|kind| json!({"type": kind}));
        let mut holder = Holder::start(&arena, json!({"capabilities": kinds})).await?;
        let (disk, mut volume) = (holder.disk(SIZE), holder.volume("shared"));
        volume["shared"] = json!({});
        let states = holder.operate(vec![reserve(&[disk]), create(&[volume])]).await?;
        ensure!(states == ["OPERATION_FINISHED", "OPERATION_ERROR"], "{states:?}");
        holder.give_back().await
    };
    vec![
        row("3.2", "CREATE", "a shared volume, two tasks on it", "offered while used; DESTROY is refused", both),
        row("3.2", "CREATE", "a shared volume, no SHARED_RESOURCES", "OPERATION_ERROR", unable),
    ]
}

fn refused() -> Vec<Row> {
    let twice = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let volume = holder.volume("twice");
        let operations =
            vec![reserve(&[holder.disk(3.0 * SIZE)]), create(std::slice::from_ref(&volume)), create(&[volume])];
        let states = holder.operate(operations).await?;
        ensure!(states == ["OPERATION_FINISHED", "OPERATION_FINISHED", "OPERATION_ERROR"], "{states:?}");
        let volume = holder.await_volume().await?;
        let unreserve = json!({"type": "UNRESERVE", "unreserve": {"resources": [volume]}});
        let states = holder.operate(vec![unreserve]).await?;
        ensure!(states == ["OPERATION_ERROR"], "a volume was unreserved: {states:?}");
        holder.give_back().await
    };
    let principals = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({"principal": "me"})).await?;
        let with = |principal: Value| {
            let mut disk = holder.disk(SIZE);
            merge(&mut disk["reservations"][0], &json!({"principal": principal}));
            disk
        };
        let (none, other, mine) = (with(Value::Null), with(json!("other")), with(json!("me")));
        let states =
            holder.operate(vec![reserve(&[none]), reserve(&[other]), reserve(std::slice::from_ref(&mine))]).await?;
        ensure!(states == ["OPERATION_ERROR", "OPERATION_ERROR", "OPERATION_FINISHED"], "{states:?}");
        let volume = |principal: Value| {
            let mut volume = mine.clone();
            volume["disk"] = json!({"persistence": {"id": "mine"}, "volume": {"mode": "RW", "container_path": "p"}});
            merge(&mut volume["disk"]["persistence"], &json!({"principal": principal}));
            volume
        };
        let (none, other, own) = (volume(Value::Null), volume(json!("other")), volume(json!("me")));
        let states = holder.operate(vec![create(&[none]), create(&[other]), create(&[own])]).await?;
        ensure!(states == ["OPERATION_ERROR", "OPERATION_ERROR", "OPERATION_FINISHED"], "{states:?}");
        holder.give_back().await
    };
    let revocable = |arena: Arena| async move {
        let mut holder = Holder::start(&arena, json!({})).await?;
        let mut cpus = reserved("cpus", 0.1, &holder.role);
        cpus["revocable"] = json!({});
        let states = holder.operate(vec![reserve(&[cpus])]).await?;
        ensure!(states == ["OPERATION_ERROR"], "{states:?}");
        holder.framework.teardown().await
    };
    vec![
        row("4", "CREATE, UNRESERVE", "one persistence id twice; a volume", "OPERATION_ERROR", twice),
        row("4", "RESERVE, CREATE", "principals: none, another's, one's own", "ERROR, ERROR, FINISHED", principals),
        row("4", "RESERVE", "revocable cpus", "OPERATION_ERROR", revocable),
    ]
}

fn formats() -> Vec<Row> {
    let old = |arena: Arena| async move {
        let role = arena.name("old");
        let kinds = ["MULTI_ROLE", "PARTITION_AWARE"].map(|kind| json!({"type": kind}));
        let info = arena.info_with(json!({"roles": [role], "capabilities": kinds}));
        let mut framework = Framework::subscribe(&arena, info).await?;
        let offer = framework.offer().await?;
        let with = |name: &str, value: f64| {
            let mut resource = scalar(name, value);
            merge(&mut resource, &json!({"role": role, "reservation": {}, "allocation_info": {"role": role}}));
            resource
        };
        let (disk, cpus, mem) = (with("disk", SIZE), with("cpus", 0.1), with("mem", 32.0));
        let mut operation = reserve(&[disk, cpus.clone(), mem.clone()]);
        operation["id"] = json!({"value": "reserve"});
        framework.accept(&[&offer], vec![operation]).await?;
        let status = status_of(&mut framework, "reserve").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        let (offer, _) = framework.revived_offer_of(&offer["agent_id"]).await?;
        let held: Vec<Value> =
            items(&offer["resources"]).iter().filter(|one| one["role"] == role.as_str()).cloned().collect();
        ensure!((amount(&json!({"resources": held}), "disk") - SIZE).abs() < 1e-9, "{offer}");
        let is_old = |one: &Value| one["reservation"].is_object() && one.get("reservations").is_none();
        ensure!(held.iter().all(is_old), "{offer}");
        let free = items(&offer["resources"]).iter().filter(|one| one["role"] == "*");
        ensure!({ free }.all(|one| one.get("reservation").is_none()), "{offer}");
        // A task takes it in the same form.
        let (id, mut task) = framework.task(&offer, "true");
        task["resources"] = json!([cpus, mem]);
        framework.launch(&offer, vec![task]).await?;
        framework.status(&id, "TASK_FINISHED").await?;
        let (mut offer, _) = framework.revived_offer_of(&offer["agent_id"]).await?;
        let own = |offer: &Value| -> Vec<Value> {
            items(&offer["resources"]).iter().filter(|one| one["role"] == role.as_str()).cloned().collect()
        };
        while own(&offer).is_empty() {
            framework.decline(&offer, 0.0).await?;
            (offer, _) = framework.revived_offer_of(&offer["agent_id"]).await?;
        }
        let held = own(&offer);
        let back = json!({"type": "UNRESERVE", "id": {"value": "back"}, "unreserve": {"resources": held}});
        framework.accept(&[&offer], vec![back]).await?;
        let status = status_of(&mut framework, "back").await?;
        ensure!(status["state"] == "OPERATION_FINISHED", "{status}");
        framework.teardown().await
    };
    let refined = |arena: Arena| async move {
        let mut parent = Holder::start(&arena, json!({})).await?;
        parent.finish(vec![reserve(&[parent.disk(SIZE)])]).await?;
        parent.framework.decline(&parent.offer, 0.0).await?;
        parent.framework.must("SUPPRESS", Value::Null).await?;
        let child_role = format!("{}/child", parent.role);
        let mut child = Holder::start(&arena, json!({"roles": [child_role]})).await?;
        child.role = child_role.clone();
        let agent = parent.offer["agent_id"].clone();
        if child.offer["agent_id"] != agent {
            child.framework.decline(&child.offer, 0.0).await?;
            (child.offer, _) = child.framework.revived_offer_of(&agent).await?;
        }
        // What is reserved to the parent is offered to the child, which reserves it further.
        let mut disk = parent.disk(SIZE);
        disk["allocation_info"] = json!({"role": child_role});
        disk["reservations"] =
            json!([{"type": "DYNAMIC", "role": parent.role}, {"type": "DYNAMIC", "role": child_role}]);
        child.finish(vec![reserve(&[disk.clone()])]).await?;
        let is_mine = |one: &&Value| one["reservations"][1]["role"] == child_role.as_str();
        let mine: Vec<&Value> = items(&child.offer["resources"]).iter().filter(is_mine).collect();
        ensure!(mine.len() == 1 && mine[0]["scalar"]["value"] == SIZE, "{}", child.offer);
        child.finish(vec![json!({"type": "UNRESERVE", "unreserve": {"resources": [disk]}})]).await?;
        child.framework.teardown().await?;
        parent.framework.must("REVIVE", Value::Null).await?;
        (parent.offer, _) = parent.framework.offer_of(&agent).await?;
        parent.give_back().await
    };
    vec![
        row("3.2", "RESERVE", "no RESERVATION_REFINEMENT: role and reservation", "taken; offers in that form", old),
        row("3.2", "RESERVE", "what is reserved to the role above", "a stack of two, and back", refined),
    ]
}
