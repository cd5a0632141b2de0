//! Reference 3.2, 3.4: what is in an offer, who gets one, who gets none.

use crate::contest::arena::{Arena, items};
use crate::contest::framework::{Framework, WATCHED, amount};
use crate::contest::row::{Row, row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Watches a framework that must get no offers.
pub(super) async fn gets_none(framework: &mut Framework) -> Result<()> {
    framework.wanted = 100;
    framework.listen(WATCHED).await?;
    ensure!(framework.offers.is_empty(), "it was offered {:?}", framework.offers);
    Ok(())
}

/// A framework with one role without MULTI_ROLE.
async fn plain(arena: &Arena, role: Option<&str>) -> Result<Framework> {
    let info = arena.info_with(json!({"capabilities": [], "roles": null, "role": role}));
    Framework::subscribe(arena, info).await
}

/// Further capabilities beside MULTI_ROLE.
fn also(kinds: &[&str]) -> Value {
    let all = ["MULTI_ROLE", "PARTITION_AWARE"].iter().chain(kinds);
    json!({"capabilities": all.map(|kind| json!({"type": kind})).collect::<Vec<_>>()})
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = fields();
    rows.extend(forms());
    rows.extend(who());
    rows
}

fn fields() -> Vec<Row> {
    /// A row about the first offer of a plain framework.
    fn offer(answer: &'static str, judge: fn(&Framework, &Value) -> Result<()>) -> Row {
        row("3.4", "OFFERS", "a framework that says nothing special", answer, move |arena: Arena| async move {
            let mut framework = Framework::start(&arena).await?;
            let offer = framework.offer().await?;
            judge(&framework, &offer).with_context(|| offer.to_string())?;
            framework.teardown().await
        })
    }
    vec![
        offer("its id is the master's, -O and a number", |framework, offer| {
            let master = framework.id.rsplit_once('-').context("an id")?.0;
            let number = offer["id"]["value"].as_str().and_then(|id| id.strip_prefix(&format!("{master}-O")));
            ensure!(number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())), "another id");
            Ok(())
        }),
        offer("it names the framework", |framework, offer| {
            ensure!(offer["framework_id"]["value"] == framework.id.as_str(), "another framework");
            Ok(())
        }),
        offer("the agent's id is a master's, -S and a number", |_, offer| {
            let agent = offer["agent_id"]["value"].as_str().and_then(|id| id.rsplit_once("-S"));
            ensure!(agent.is_some_and(|(_, number)| number.parse::<u64>().is_ok()), "another id");
            Ok(())
        }),
        offer("url: http, the agent's address, path /slave(1)", |_, offer| {
            let url = &offer["url"];
            ensure!(url["scheme"] == "http" && url["path"] == "/slave(1)", "{url}");
            ensure!(url["address"]["ip"].is_string() && url["address"]["port"].is_number(), "{url}");
            ensure!(url["address"]["hostname"] == offer["hostname"], "{url}");
            Ok(())
        }),
        offer("the role it is for, in the offer and in each resource", |_, offer| {
            ensure!(offer["allocation_info"]["role"] == "*", "no allocation_info");
            for resource in items(&offer["resources"]) {
                ensure!(resource["allocation_info"]["role"] == "*", "{resource}");
            }
            Ok(())
        }),
        offer("cpus and mem as scalars, types by name", |_, offer| {
            ensure!(amount(offer, "cpus") > 0.0 && amount(offer, "mem") > 0.0, "nothing to run on");
            for resource in items(&offer["resources"]) {
                let kind = resource["type"].as_str().unwrap_or_default();
                let part = match kind {
                    "SCALAR" => "scalar",
                    "RANGES" => "ranges",
                    "SET" => "set",
                    other => anyhow::bail!("type {other}"),
                };
                ensure!(resource[part].is_object(), "{resource}");
            }
            Ok(())
        }),
        offer("unreserved resources without RESERVATION_REFINEMENT: role *, no reservations", |_, offer| {
            for resource in items(&offer["resources"]) {
                ensure!(resource["role"] == "*" && resource.get("reservations").is_none(), "{resource}");
            }
            Ok(())
        }),
        offer("no executors of a framework that runs none", |_, offer| {
            ensure!(items(&offer["executor_ids"]).is_empty(), "executors");
            Ok(())
        }),
        offer("no unavailability where nothing is scheduled", |_, offer| {
            ensure!(offer.get("unavailability").is_none(), "an unavailability");
            Ok(())
        }),
        offer("no two offers have one id", |framework, offer| {
            let mut ids: Vec<&Value> = framework.offers.iter().map(|offer| &offer["id"]).collect();
            ids.push(&offer["id"]);
            let total = ids.len();
            ids.dedup();
            ensure!(ids.len() == total, "an id twice");
            Ok(())
        }),
    ]
}

fn forms() -> Vec<Row> {
    let refined = |arena: Arena| async move {
        let info = arena.info_with(also(&["RESERVATION_REFINEMENT"]));
        let mut framework = Framework::subscribe(&arena, info).await?;
        let offer = framework.offer().await?;
        for resource in items(&offer["resources"]) {
            let plain = resource.get("role").is_none() && resource.get("reservation").is_none();
            ensure!(plain && items(&resource["reservations"]).is_empty(), "{resource}");
        }
        framework.teardown().await
    };
    let single = |arena: Arena| async move {
        let mut framework = plain(&arena, None).await?;
        let offer = framework.offer().await?;
        ensure!(offer.get("allocation_info").is_none(), "{offer}");
        for resource in items(&offer["resources"]) {
            ensure!(resource.get("allocation_info").is_none(), "{resource}");
        }
        framework.teardown().await
    };
    let launched = |arena: Arena| async move {
        let mut framework = plain(&arena, None).await?;
        let (_, id) = framework.launch_one("true").await?;
        let status = framework.first_status(&id).await?;
        ensure!(status["state"] != "TASK_ERROR" && status["state"] != "TASK_LOST", "{status}");
        framework.teardown().await
    };
    let role = |arena: Arena| async move {
        let role = arena.name("role");
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": [role]}))).await?;
        let offer = framework.offer().await?;
        ensure!(offer["allocation_info"]["role"] == role.as_str(), "{offer}");
        framework.teardown().await
    };
    let roles = |arena: Arena| async move {
        let roles = [arena.name("role"), arena.name("role")];
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": roles}))).await?;
        // Whatever is offered is for one of them, and never for both together.
        let offer = framework.offer().await?;
        let wanted = roles.iter().find(|role| offer["allocation_info"]["role"] == role.as_str());
        let wanted = wanted.with_context(|| offer.to_string())?;
        for resource in items(&offer["resources"]) {
            ensure!(resource["allocation_info"]["role"] == wanted.as_str(), "{offer}");
        }
        framework.teardown().await
    };
    let shown = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let offer = framework.offer().await?;
        let listed = || async {
            let shown = arena.shown_framework(&framework.id, "frameworks").await?.unwrap_or_default();
            let found = items(&shown["offers"]).iter().find(|one| one["id"] == offer["id"]).cloned();
            Ok(found.map(|found| (found, shown)))
        };
        let (found, shown) = arena.eventually("the offer among its framework's", listed).await?;
        ensure!(found["agent_id"] == offer["agent_id"], "{found}");
        ensure!(!items(&shown["offered_resources"]).is_empty(), "{shown}");
        framework.teardown().await
    };
    let executors = |arena: Arena| async move {
        let mut framework = Framework::start(&arena).await?;
        let (offer, id) = framework.launch_one("sleep 600").await?;
        framework.status(&id, "TASK_RUNNING").await?;
        // The executor of a command is the agent's own affair.
        let (next, _) = framework.revived_offer_of(&offer["agent_id"]).await?;
        ensure!(items(&next["executor_ids"]).is_empty(), "{next}");
        framework.teardown().await
    };
    vec![
        row("3.2", "OFFERS", "RESERVATION_REFINEMENT", "no role and no reservation in resources", refined),
        row("3.2", "OFFERS", "no MULTI_ROLE", "no allocation_info anywhere", single),
        row("3.2", "ACCEPT", "no MULTI_ROLE, a task without allocation_info", "it is launched", launched),
        row("3.2", "OFFERS", "a role of its own", "the offer is for that role", role),
        row("3.2", "OFFERS", "two roles", "each offer is for one of them", roles),
        row("7.1", "GET_FRAMEWORKS", "an offer is out", "it is listed with its framework", shown),
        row(
            "3.4",
            "OFFERS",
            "a command of the framework runs on the agent",
            "executor_ids does not name the executor of a command",
            executors,
        ),
    ]
}

fn who() -> Vec<Row> {
    let none = |arena: Arena| async move {
        let mut framework = Framework::subscribe(&arena, arena.info_with(json!({"roles": null}))).await?;
        gets_none(&mut framework).await?;
        framework.teardown().await
    };
    let suppressed = |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        gets_none(&mut framework).await?;
        framework.teardown().await
    };
    let other_suppressed = |arena: Arena| async move {
        let (quiet, loud) = (arena.name("quiet"), arena.name("loud"));
        let info = arena.info_with(json!({"roles": [quiet, loud]}));
        let mut call = Framework::subscribe_call(&info);
        call["subscribe"]["suppressed_roles"] = json!([quiet]);
        let mut framework = Framework::by_call(&arena, info, call).await?;
        let offer = framework.offer().await?;
        ensure!(offer["allocation_info"]["role"] == loud.as_str(), "{offer}");
        framework.teardown().await
    };
    let replaced = |arena: Arena| async move {
        let mut framework = Framework::quiet_with(&arena, json!({"failover_timeout": 60.0})).await?;
        // A failover that names no suppressed roles suppresses none.
        framework.come_back().await?;
        framework.offer().await?;
        framework.teardown().await
    };
    let filter = |given: f64| {
        move |arena: Arena| async move {
            let quantities = json!([{"quantities": {"cpus": {"value": given}}}]);
            let filters = json!({"*": {"min_allocatable_resources": {"quantities": quantities}}});
            let mut framework =
                Framework::subscribe(&arena, arena.info_with(json!({"offer_filters": filters}))).await?;
            if given > 1000.0 {
                gets_none(&mut framework).await?;
            } else {
                framework.offer().await?;
            }
            framework.teardown().await
        }
    };
    let constrained = |predicate: fn() -> Value, is_offered: bool| {
        move |arena: Arena| async move {
            let info = arena.info();
            let mut call = Framework::subscribe_call(&info);
            let group = json!({"attribute_constraints": [predicate()]});
            call["subscribe"]["offer_constraints"] = json!({"role_constraints": {"*": {"groups": [group]}}});
            let mut framework = Framework::by_call(&arena, info, call).await?;
            if is_offered {
                framework.offer().await?;
            } else {
                gets_none(&mut framework).await?;
            }
            framework.teardown().await
        }
    };
    let absent = || json!({"selector": {"attribute_name": "no-such-attribute"}, "predicate": {"not_exists": {}}});
    let there = || json!({"selector": {"attribute_name": "no-such-attribute"}, "predicate": {"exists": {}}});
    let host = || {
        json!({"selector": {"pseudoattribute_type": "HOSTNAME"},
            "predicate": {"text_equals": {"value": "no-such-host.invalid"}}})
    };
    let any_host =
        || json!({"selector": {"pseudoattribute_type": "HOSTNAME"}, "predicate": {"text_matches": {"regex": ".+"}}});
    let part_of_host = || {
        // The whole name has to match: its first letter is not enough.
        json!({"selector": {"pseudoattribute_type": "HOSTNAME"}, "predicate": {"text_matches": {"regex": "^."}}})
    };
    vec![
        row("3.2", "SUBSCRIBE", "MULTI_ROLE and no roles", "no offers", none),
        row("3.1", "SUBSCRIBE", "all roles suppressed", "no offers", suppressed),
        row("3.1", "SUBSCRIBE", "one of two roles suppressed", "offers for the other only", other_suppressed),
        row("3.1", "SUBSCRIBE", "a failover without the suppressed_roles of before", "offers", replaced),
        row("3.5", "SUBSCRIBE", "offer_filters with a minimum that no agent has", "no offers", filter(1e6)),
        row("3.5", "SUBSCRIBE", "offer_filters with a small minimum", "offers", filter(0.1)),
        row("3.6", "SUBSCRIBE", "a constraint that no agent fulfils", "no offers", constrained(there, false)),
        row("3.6", "SUBSCRIBE", "a constraint that every agent fulfils", "offers", constrained(absent, true)),
        row(
            "3.6",
            "SUBSCRIBE",
            "a constraint on the hostname that no agent has",
            "no offers",
            constrained(host, false),
        ),
        row("3.6", "SUBSCRIBE", "a regular expression for every hostname", "offers", constrained(any_host, true)),
        row(
            "3.6",
            "SUBSCRIBE",
            "a regular expression for a part of the hostname",
            "no offers",
            constrained(part_of_host, false),
        ),
    ]
}
