//! `kaon explain`: each answer names the first reason, who holds the capacity, and a change that really helps.

use crate::client::get;
use crate::cluster::{Cluster, kaon};
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, info, task};
use serde_json::{Value, json};

fn asked(cluster: &Cluster, path: &str) -> Value {
    let answer = get(&cluster.api, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn first_group(answer: &Value) -> String {
    answer["clients"][0]["groups"][0]["obstacle"]["reason"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn the_reason_follows_what_happens() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:1;mem:512;disk:0;ports:[]"]);
    let mut framework = Framework::subscribe(&cluster.api, info("asking"));
    framework.until("an offer", |framework| !framework.offers.is_empty());
    let about = format!("/explain/framework/{}", framework.id);

    // All of it lies in an offer.
    let answer = asked(&cluster, &about);
    assert_eq!(first_group(&answer), "nothing_free", "{answer}");
    assert_eq!(answer["holders"][0]["framework_id"], framework.id.as_str());
    assert_eq!(answer["capacity"]["cpus"], json!({"total": 1.0, "held": 1.0}));

    // Declined for long: its own filter, with the time that is left.
    let offer = framework.offer();
    framework.must("DECLINE", json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 1000.0}}));
    let answer = wait_for("the filter", SOON, || {
        let answer = asked(&cluster, &about);
        (first_group(&answer) == "filtered").then_some(answer)
    });
    let change = answer["clients"][0]["nearest"]["obstacle"]["change"].as_str().expect("a change");
    assert!(change.starts_with("wait ") && change.contains("REVIVE"), "{change}");

    // And the change helps.
    framework.must("SUPPRESS", json!({}));
    wait_for("the suppression", SOON, || {
        let standing = &asked(&cluster, &about)["clients"][0]["standing"][0];
        (standing["reason"] == "suppressed" && standing["change"] == "REVIVE the framework in this role").then_some(())
    });
    framework.must("REVIVE", json!({}));
    framework.until("an offer", |framework| !framework.offers.is_empty());

    // A wish that what runs there keeps back, and one that nothing would help; an agent; a role.
    framework.launch_until(vec![task("small", "sleep 1000")], "TASK_RUNNING");
    let rest = wait_for("the rest to come back", SOON, || {
        let answer = asked(&cluster, &format!("{about}?wants=cpus:1"));
        matches!(first_group(&answer).as_str(), "too_small" | "filtered" | "nothing_free").then_some(answer)
    });
    assert_eq!(rest["clients"][0]["agents_open"], 0, "{rest}");
    let never = &asked(&cluster, &format!("{about}?wants=cpus:4"))["clients"][0];
    assert_eq!((&never["agents_open"], &never["nearest"]), (&json!(0), &Value::Null), "{never}");
    assert_eq!(never["never"]["text"], "no agent has 4 cpus; the largest has 1");
    let agent = framework.launched["small"]["value"].as_str().expect("an id").to_owned();
    for path in [format!("/explain/agent/{agent}"), "/explain/role/*".to_owned(), "/explain/task/small".to_owned()] {
        let answer = wait_for("the read side", SOON, || {
            let answer = get(&cluster.api, &path);
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!(answer["clients"][0]["framework_id"], framework.id.as_str(), "{path}: {answer}");
    }
    // The read side is behind the stream by a moment.
    let is_shown = || (asked(&cluster, "/explain/task/small")["task"]["state"] == "TASK_RUNNING").then_some(());
    wait_for("the task's state", SOON, is_shown);
    framework.teardown();
}

/// A filter or a quota does not hide that no agent is large enough, and the change that is named for the others helps.
#[test]
fn what_fits_nowhere_is_told_by_name_and_what_helps_helps() {
    let cluster = Cluster::start_with(2, &["--resources", "cpus:4;mem:512;cpus(web):2;disk:0;ports:[]"]);
    let mut framework = Framework::subscribe(&cluster.api, info("asking"));
    for _ in 0..2 {
        let offer = framework.offer();
        framework.must("DECLINE", json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 1000.0}}));
    }
    let ask = |wants: &str| {
        let arguments = ["explain", "--api", &cluster.api, "framework", &framework.id, "--wants", wants];
        let out = kaon().args(arguments).output().expect("kaon runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let path = format!("/explain/framework/{}?wants={wants}", framework.id);
        (String::from_utf8_lossy(&out.stdout).into_owned(), asked(&cluster, &path)["clients"][0].clone())
    };
    wait_for("the filters", SOON, || (ask("cpus:1").1["groups"][0]["agents"] == 2).then_some(()));
    for (wants, said) in
        [("cpus:100", "no agent has 100 cpus; the largest has 6"), ("gpus:1;cpus:1", "no agent has any gpus")]
    {
        let (text, told) = ask(wants);
        assert!(text.contains(&format!("it fits nowhere: {said}")) && !text.contains("REVIVE"), "{text}");
        assert_eq!((&told["never"]["reason"], &told["never"]["text"]), (&json!("never_fits"), &json!(said)));
        assert_eq!((&told["nearest"], &told["agents_open"]), (&Value::Null, &json!(0)), "{told}");
    }
    let (_, told) = ask("cpus:5");
    let change = &told["nearest"]["obstacle"]["change"];
    assert_eq!((change, &told["never"]), (&json!("subscribe in web, or take the reservation back"), &Value::Null));
    let (text, told) = ask("cpus:4;mem:500");
    let change = told["nearest"]["obstacle"]["change"].as_str().expect("a change").to_owned();
    assert!(change.starts_with("wait ") && change.ends_with("or REVIVE the framework in this role"), "{text}");
    framework.must("REVIVE", json!({}));
    framework.until("an offer", |framework| !framework.offers.is_empty());
    framework.teardown();
}

/// Agents of another make than this machine, two NUMA nodes of eight processing units each.
#[test]
fn a_place_that_no_machine_has_is_the_reason() {
    let flags = ["--topology", "pack:2 numa:1 core:4 pu:2", "--resources", "cpus:16;mem:1024;disk:0;ports:[]"];
    let cluster = Cluster::start_with(2, &flags);
    let mut framework = Framework::subscribe(&cluster.api, info("asking"));
    for _ in 0..2 {
        let offer = framework.offer();
        framework.must("DECLINE", json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 1000.0}}));
    }
    let ask = |cpus: u32, policy: &str| {
        let (wants, policy) = (format!("cpus:{cpus};mem:64"), format!("policy={policy}"));
        let arguments = ["explain", "--api", &cluster.api, "framework", &framework.id];
        let out = kaon().args(arguments).args(["--wants", &wants, "--placement", &policy]).output().expect("kaon runs");
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    };
    let reason = "12 cpus wanted near one NUMA node, the most free there is 8";
    let said = wait_for("the offers to be free again", SOON, || {
        let said = ask(12, "numa");
        said.contains(&format!("2 agents: {reason}")).then_some(said)
    });
    assert!(said.contains("ask for less in one place, or loosen the placement policy"), "{said}");
    for (cpus, policy) in [(8, "numa"), (12, "packed")] {
        let said = ask(cpus, policy);
        assert!(said.contains("declined") && !said.contains("wanted near"), "{cpus} {policy}: {said}");
    }
    // The agents say the same, and either change helps.
    let run = |cpus: &str, policy: &str| {
        let label = format!("kaon.placement/policy={policy}");
        let out = cluster.command("run").args(["--cpus", cpus, "--label", &label, "--", "true"]).output();
        let out = out.expect("kaon runs");
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (done, said) = run("12", "numa");
    assert!(!done && said.contains(reason), "{said}");
    for (cpus, policy) in [("8", "numa"), ("12", "packed")] {
        let (done, said) = run(cpus, policy);
        assert!(done, "{cpus} {policy}: {said}");
    }
    framework.teardown();
}

#[test]
fn the_command_prints_it_and_what_nobody_knows_is_said() {
    let cluster = Cluster::start(1);
    let api = cluster.api.as_str();
    let mut framework = Framework::subscribe(api, info("asking"));
    framework.until("an offer", |framework| !framework.offers.is_empty());
    let run = |arguments: &[&str]| {
        let out = kaon().args(["explain", "--api", api]).args(arguments).output().expect("kaon runs");
        (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (done, said) = run(&["framework", &framework.id, "--wants", "cpus:1000"]);
    assert!(done && said.contains(&framework.id) && said.contains("held"), "{said}");
    let (done, said) = run(&["framework", &framework.id, "--json"]);
    assert!(done && serde_json::from_str::<Value>(&said).is_ok(), "{said}");
    for (arguments, needle) in [
        (&["framework", "nobody"][..], "is not subscribed"),
        (&["agent", "nowhere"][..], "is not registered"),
        (&["role", "unused"][..], "no framework is subscribed under role 'unused'"),
        (&["task", "never"][..], "no task 'never'"),
        (&["role", "a//b"][..], "400"),
        (&["role", "*", "--wants", "cpus"][..], "character"),
        (&["cluster", "x"][..], "framework"),
    ] {
        let (done, said) = run(arguments);
        assert!(!done && said.contains(needle), "{arguments:?}: {said}");
    }
    assert_eq!(get(api, "/explain").status, 404);
    assert_eq!(get(api, "/explain/framework/x/y").status, 404);
    framework.teardown();
}
