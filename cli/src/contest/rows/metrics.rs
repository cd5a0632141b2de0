//! Reference 16: the numbers that Mesos always publishes, and those of frameworks.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use crate::contest::wire::exchange;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// What a master of Mesos publishes before anything has happened; `{a,b}` stands for each of them.
const MASTER: &[&str] = &[
    "master/{uptime_secs,elected,outstanding_offers,operator_event_stream_subscribers}",
    "master/slaves_{connected,disconnected,active,inactive,unreachable}",
    "master/frameworks_{connected,disconnected,active,inactive}",
    "master/tasks_{staging,starting,running,killing,unreachable}",
    "master/tasks_{finished,failed,killed,lost,error,dropped,gone,gone_by_operator}",
    "master/{dropped_messages,http_cache_hits}",
    "master/messages_{register_framework,reregister_framework,unregister_framework,deactivate_framework}",
    "master/messages_{kill_task,status_update_acknowledgement,operation_status_update_acknowledgement}",
    "master/messages_{resource_request,launch_tasks,decline_offers,revive_offers,suppress_offers}",
    "master/messages_{reconcile_operations,reconcile_tasks,framework_to_executor,executor_to_framework}",
    "master/messages_{register_slave,reregister_slave,unregister_slave,status_update,operation_status_update}",
    "master/messages_{exited_executor,update_slave,authenticate}",
    "master/{valid,invalid}_{framework_to_executor_messages,executor_to_framework_messages}",
    "master/{valid,invalid}_{status_updates,status_update_acknowledgements}",
    "master/{valid,invalid}_{operation_status_updates,operation_status_update_acknowledgements}",
    "master/{recovery_slave_removals,slave_registrations,slave_reregistrations,slave_removals}",
    "master/slave_removals/{reason_unhealthy,reason_unregistered,reason_registered}",
    "master/slave_{unreachable,shutdowns}_{scheduled,completed,canceled}",
    "master/event_queue_{messages,dispatches,http_requests}",
    "master/{cpus,gpus,mem,disk}_{total,used,percent,revocable_total,revocable_used,revocable_percent}",
    "master/operations/{total,pending,recovering,unreachable,finished,failed,error,dropped,gone_by_operator}",
    "master/operations/{reserve,unreserve,create,destroy,grow_volume,shrink_volume,create_disk,destroy_disk}\
     /{total,pending,recovering,unreachable,finished,failed,error,dropped,gone_by_operator}",
    "allocator/mesos/{allocation_runs,event_queue_dispatches}",
    "allocator/event_queue_dispatches",
    "allocator/mesos/{allocation_run,allocation_run_latency}_ms",
    "allocator/mesos/{allocation_run,allocation_run_latency}_ms/{count,min,max,p50,p90,p95,p99,p999,p9999}",
    "allocator/mesos/resources/{cpus,mem,disk}/{total,offered_or_allocated}",
    "registrar/{queued_operations,registry_size_bytes,state_fetch_ms,state_store_ms}",
    "registrar/{state_fetch,state_store}_ms/{count,min,max,p50,p90,p95,p99,p999,p9999}",
    "registrar/log/{recovered,ensemble_size}",
    "system/{cpus_total,load_1min,load_5min,load_15min,mem_total_bytes,mem_free_bytes}",
];

/// What an agent of Mesos publishes.
const AGENT: &[&str] = &[
    "slave/{uptime_secs,registered,recovery_errors,recovery_time_secs,frameworks_active,container_launch_errors}",
    "slave/executors_{registering,running,terminating,terminated,preempted}",
    "slave/executor_directory_max_allowed_age_secs",
    "slave/tasks_{staging,starting,running,killing,finished,failed,killed,lost,gone}",
    "slave/{valid,invalid}_{status_updates,framework_messages}",
    "slave/{cpus,gpus,mem,disk}_{total,used,percent,revocable_total,revocable_used,revocable_percent}",
    "gc/path_removals_{pending,succeeded,failed}",
    "resource_provider_manager/{subscribed,events/subscribe,events/disconnect}",
    "containerizer/mesos/{container_destroy_errors,filesystem/containers_new_rootfs}",
    "containerizer/mesos/provisioner/{remove_container_errors,bind/remove_rootfs_errors}",
    "containerizer/fetcher/{task_fetches_succeeded,task_fetches_failed,cache_size_total_bytes,cache_size_used_bytes}",
    "system/{cpus_total,load_1min,load_5min,load_15min,mem_total_bytes,mem_free_bytes}",
];

/// What a framework has, below its prefix.
const FRAMEWORK: &[&str] = &[
    "{subscribed,calls,events,operations}",
    "calls/{subscribe,teardown,accept,decline,accept_inverse_offers,decline_inverse_offers,revive,kill,shutdown}",
    "calls/{acknowledge,acknowledge_operation_status,reconcile,reconcile_operations,message,request,suppress}",
    "calls/update_framework",
    "events/{subscribed,offers,inverse_offers,rescind,rescind_inverse_offer,update,update_operation_status}",
    "events/{message,failure,error,heartbeat}",
    "offers/{sent,accepted,declined,rescinded}",
    "operations/{launch,launch_group,reserve,unreserve,create,destroy,grow_volume,shrink_volume}",
    "operations/{create_disk,destroy_disk}",
    "tasks/active/{task_staging,task_starting,task_running,task_killing,task_unreachable}",
    "tasks/terminal/{task_finished,task_failed,task_killed,task_lost,task_error,task_dropped,task_gone}",
    "tasks/terminal/task_gone_by_operator",
];

/// The names that a pattern stands for.
fn expanded(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, after) = rest.split_once('}').unwrap_or((rest, ""));
    choices.split(',').flat_map(|choice| expanded(&format!("{before}{choice}{after}"))).collect()
}

fn holds(metrics: &Map<String, Value>, prefix: &str, patterns: &[&str]) -> Result<()> {
    let names = patterns.iter().flat_map(|pattern| expanded(&format!("{prefix}{pattern}")));
    let missing: Vec<String> = names.filter(|name| !metrics.get(name).is_some_and(Value::is_number)).collect();
    ensure!(missing.is_empty(), "missing: {missing:?}");
    Ok(())
}

async fn snapshot(arena: &Arena) -> Result<Map<String, Value>> {
    let metrics = arena.get_json("/metrics/snapshot").await?;
    metrics.as_object().cloned().context("no object")
}

pub(super) fn rows() -> Vec<Row> {
    [always(), frameworks()].concat().into_iter().map(Row::once).collect()
}

fn always() -> Vec<Row> {
    let master = |arena: Arena| async move { holds(&snapshot(&arena).await?, "", MASTER) };
    let agent = |arena: Arena| async move {
        let answer = exchange(arena.agent(), "GET", "/metrics/snapshot", &[], b"").await?.expect(200)?;
        let metrics: Value = serde_json::from_slice(&answer.body)?;
        holds(metrics.as_object().context("no object")?, "", AGENT)
    };
    let called = |arena: Arena| async move {
        let call = json!({"type": "GET_METRICS", "get_metrics": {}});
        let answer = arena.operator(&call).await?.expect(200)?;
        let response = arena.media.read("mesos.v1.master.Response", &answer.body)?;
        let named = items(&response["get_metrics"]["metrics"]).iter();
        let metrics = named.filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["value"].clone())));
        holds(&metrics.collect(), "", MASTER)
    };
    vec![
        row("16", "GET /metrics/snapshot", "a cluster", "every name that a master of Mesos always has", master),
        row("16", "GET /metrics/snapshot of an agent", "an agent", "every name that an agent of Mesos has", agent),
        row("16", "GET_METRICS", "a cluster", "the same names as GET /metrics/snapshot", called),
    ]
}

/// Runs `work` of a framework with a name that needs encoding, then looks at its numbers until they are those.
async fn counted(arena: &Arena, framework: &Framework, wanted: &[(&str, f64)]) -> Result<()> {
    let prefix = format!("master/frameworks/a%2Fb%20c/{}/", framework.id);
    let look = || async {
        let metrics = snapshot(arena).await?;
        let is_there = |(name, value): &(&str, f64)| metrics.get(&format!("{prefix}{name}")) == Some(&json!(value));
        let off: Vec<_> = wanted.iter().filter(|one| !is_there(one)).collect();
        Ok(off.is_empty().then_some(()))
    };
    let seen = arena.eventually("the framework's numbers", look).await;
    if seen.is_err() {
        let metrics = snapshot(arena).await?;
        let found: Vec<_> = wanted.iter().map(|(name, _)| metrics.get(&format!("{prefix}{name}"))).collect();
        anyhow::bail!("wanted {wanted:?}, found {found:?}");
    }
    Ok(())
}

fn frameworks() -> Vec<Row> {
    let names = |arena: Arena| async move {
        let framework = Framework::quiet_with(&arena, json!({"name": "a/b c"})).await?;
        let prefix = format!("master/frameworks/a%2Fb%20c/{}/", framework.id);
        holds(&snapshot(&arena).await?, &prefix, FRAMEWORK)?;
        let id = framework.id.clone();
        framework.teardown().await?;
        let gone = || async { Ok((!snapshot(&arena).await?.keys().any(|name| name.contains(&id))).then_some(())) };
        arena.eventually("its numbers to go with it", gone).await
    };
    let life = |arena: Arena| async move {
        let info = arena.info_with(json!({"name": "a/b c"}));
        let mut framework = Framework::subscribe(&arena, info).await?;
        let (_, id) = framework.launch_one("true").await?;
        framework.status(&id, "TASK_FINISHED").await?;
        let wanted = [
            ("subscribed", 1.0),
            ("calls/subscribe", 1.0),
            ("calls/accept", 1.0),
            ("calls/kill", 0.0),
            ("events/subscribed", 1.0),
            ("operations", 1.0),
            ("operations/launch", 1.0),
            ("offers/accepted", 1.0),
            ("tasks/terminal/task_finished", 1.0),
            ("tasks/active/task_running", 0.0),
        ];
        counted(&arena, &framework, &wanted).await?;
        framework.teardown().await
    };
    let declined = |arena: Arena| async move {
        let info = arena.info_with(json!({"name": "a/b c"}));
        let mut framework = Framework::subscribe(&arena, info).await?;
        let offer = framework.offer().await?;
        framework.decline(&offer, 600.0).await?;
        framework.decline(&offer, 600.0).await?;
        // Other agents' offers were declined on the way, each once.
        let prefix = format!("master/frameworks/a%2Fb%20c/{}/", framework.id);
        let look = || async {
            let metrics = snapshot(&arena).await?;
            let value = |name: &str| metrics.get(&format!("{prefix}{name}")).and_then(Value::as_f64).unwrap_or(-1.0);
            let (calls, declined, accepted) =
                (value("calls/decline"), value("offers/declined"), value("offers/accepted"));
            Ok((declined >= 1.0 && (calls - declined - 1.0).abs() < 0.5 && accepted.abs() < 0.5).then_some(()))
        };
        arena.eventually("one more call than offers declined", look).await?;
        framework.teardown().await
    };
    let suppressed = |arena: Arena| async move {
        let framework = Framework::quiet_with(&arena, json!({"name": "a/b c", "roles": ["m1", "m2"]})).await?;
        framework.must("REVIVE", json!({})).await?;
        counted(&arena, &framework, &[("roles/m1/suppressed", 0.0), ("roles/m2/suppressed", 0.0)]).await?;
        framework.must("SUPPRESS", json!({"roles": ["m2"]})).await?;
        counted(&arena, &framework, &[("roles/m1/suppressed", 0.0), ("roles/m2/suppressed", 1.0)]).await?;
        framework.teardown().await
    };
    vec![
        row(
            "16",
            "GET /metrics/snapshot",
            "a framework",
            "all its numbers below its encoded name; none when gone",
            names,
        ),
        row(
            "16",
            "GET /metrics/snapshot",
            "a task that ran",
            "calls, events, operations, offers, tasks are counted",
            life,
        ),
        row(
            "16",
            "GET /metrics/snapshot",
            "an offer declined twice",
            "the second time counts as a call alone",
            declined,
        ),
        row(
            "16",
            "GET /metrics/snapshot",
            "SUPPRESS of one role",
            "roles/ROLE/suppressed is 1 for that one",
            suppressed,
        ),
    ]
}
