//! Reference 3.6 and 3.3: which agents offer constraints let through, and that a later call replaces them.

use super::offers::gets_none;
use crate::contest::arena::{Arena, merge};
use crate::contest::framework::Framework;
use crate::contest::row::{Row, row};
use anyhow::Result;
use serde_json::{Value, json};

fn on(attribute: &str, predicate: Value) -> Value {
    json!({"selector": {"attribute_name": attribute}, "predicate": predicate})
}

fn nobody_has(predicate: Value) -> Value {
    on("no-such-attribute", predicate)
}

fn every_host() -> Value {
    json!({"selector": {"pseudoattribute_type": "HOSTNAME"}, "predicate": {"text_matches": {"regex": ".+"}}})
}

/// A group for each list.
fn constraints(groups: &[Vec<Value>]) -> Value {
    let groups: Vec<Value> = groups.iter().map(|all| json!({"attribute_constraints": all})).collect();
    json!({"role_constraints": {"*": {"groups": groups}}})
}

async fn subscribed(arena: &Arena, wanted: &Value) -> Result<Framework> {
    let info = arena.info();
    let mut call = Framework::subscribe_call(&info);
    call["subscribe"]["offer_constraints"] = wanted.clone();
    Framework::by_call(arena, info, call).await
}

async fn is_as_said(framework: &mut Framework, is_offered: bool) -> Result<()> {
    if is_offered { framework.offer().await.map(drop) } else { gets_none(framework).await }
}

pub(super) fn rows() -> Vec<Row> {
    let equals = || json!({"text_equals": {"value": "x"}});
    let differs = || json!({"text_not_equals": {"value": "x"}});
    let matches = || json!({"text_matches": {"regex": "x.*"}});
    let matches_not = || json!({"text_not_matches": {"regex": "x.*"}});
    let region = json!({"selector": {"pseudoattribute_type": "REGION"}, "predicate": {"text_equals": {"value": "no-such-region"}}});
    let zone = json!({"selector": {"pseudoattribute_type": "ZONE"}, "predicate": {"text_not_equals": {"value": "no-such-zone"}}});
    let cases = [
        ("text_equals of an attribute that nobody has", vec![vec![nobody_has(equals())]], false),
        ("text_not_equals of an attribute that nobody has", vec![vec![nobody_has(differs())]], true),
        ("text_matches of an attribute that nobody has", vec![vec![nobody_has(matches())]], false),
        ("text_not_matches of an attribute that nobody has", vec![vec![nobody_has(matches_not())]], true),
        ("a region that no agent is in", vec![vec![region]], false),
        ("another zone than one that no agent is in", vec![vec![zone]], true),
        ("two constraints in one group, one holds", vec![vec![every_host(), nobody_has(equals())]], false),
        ("two constraints in one group, both hold", vec![vec![every_host(), nobody_has(differs())]], true),
        ("two groups, one holds", vec![vec![nobody_has(equals())], vec![every_host()]], true),
        ("two groups, none holds", vec![vec![nobody_has(equals())], vec![nobody_has(matches())]], false),
    ];
    let mut rows = Vec::new();
    for (given, groups, is_offered) in cases {
        let trial = move |arena: Arena| {
            let wanted = constraints(&groups);
            async move {
                let mut framework = subscribed(&arena, &wanted).await?;
                is_as_said(&mut framework, is_offered).await?;
                framework.teardown().await
            }
        };
        rows.push(row("3.6", "SUBSCRIBE", given, if is_offered { "offers" } else { "no offers" }, trial));
    }
    rows.extend(replaced());
    rows
}

/// UPDATE_FRAMEWORK of a framework as it is, with these constraints.
async fn update(framework: &Framework, wanted: Option<Value>) -> Result<()> {
    let mut info = framework.info.clone();
    merge(&mut info, &json!({"id": {"value": framework.id}}));
    let mut body = json!({"framework_info": info});
    if let Some(wanted) = wanted {
        body["offer_constraints"] = wanted;
    }
    framework.call("UPDATE_FRAMEWORK", body).await?.expect(200).map(drop)
}

fn replaced() -> Vec<Row> {
    let never = || constraints(&[vec![nobody_has(json!({"exists": {}}))]]);
    let cleared = move |arena: Arena| async move {
        let mut framework = subscribed(&arena, &never()).await?;
        gets_none(&mut framework).await?;
        update(&framework, None).await?;
        framework.offer().await?;
        framework.teardown().await
    };
    let set = move |arena: Arena| async move {
        let mut framework = Framework::quiet(&arena).await?;
        update(&framework, Some(never())).await?;
        framework.must("REVIVE", Value::Null).await?;
        gets_none(&mut framework).await?;
        framework.teardown().await
    };
    let back = move |arena: Arena| async move {
        let mut framework = subscribed(&arena, &never()).await?;
        gets_none(&mut framework).await?;
        // It comes back without any.
        drop(framework.come_back().await?);
        framework.offer().await?;
        framework.teardown().await
    };
    let refused = move |arena: Arena| async move {
        let framework = Framework::quiet(&arena).await?;
        let mut info = framework.info.clone();
        merge(&mut info, &json!({"id": {"value": framework.id}}));
        for wanted in [
            json!({"role_constraints": {"no-such-role": {"groups": [{"attribute_constraints": [every_host()]}]}}}),
            json!({"role_constraints": {"*": {"groups": []}}}),
            json!({"role_constraints": {"*": {"groups": [{"attribute_constraints": []}]}}}),
            constraints(&[vec![on("rack", json!({"text_matches": {"regex": "(a+){50}"}}))]]),
        ] {
            let body = json!({"framework_info": info, "offer_constraints": wanted});
            framework.call("UPDATE_FRAMEWORK", body).await?.expect(400)?;
        }
        framework.teardown().await
    };
    vec![
        row("3.3", "UPDATE_FRAMEWORK", "no offer constraints where there were some", "offers again", cleared),
        row("3.3", "UPDATE_FRAMEWORK", "offer constraints that no agent fulfils", "no offers from then on", set),
        row("3.1", "SUBSCRIBE", "a failover without the offer constraints of before", "offers again", back),
        row(
            "3.6",
            "UPDATE_FRAMEWORK",
            "constraints of another role, empty ones, too large an expression",
            "400",
            refused,
        ),
    ]
}
