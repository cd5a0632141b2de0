//! Quotas and weights as an operator sets them: over the API and with `kaon quota` and `kaon weight`.

use crate::client::{get, post};
use crate::cluster::{Cluster, kaon};
use crate::deadline::{SOON, wait_for};
use crate::framework::{Framework, amount, info, task};
use serde_json::{Value, json};

fn kaon_at(api: &str, arguments: &[&str]) -> (bool, String) {
    let out = kaon().args(arguments).args(["--api", api]).output().expect("kaon runs");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn quotas(api: &str) -> Value {
    post(api, "/api/v1", &json!({"type": "GET_QUOTA"})).json()["get_quota"]["status"]["configs"].clone()
}

#[test]
fn a_quota_is_kept_over_restarts_limits_its_role_and_is_removed() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api.clone();
    wait_for("the agent", SOON, || get(&api, "/state").json()["slaves"].get(0).map(drop));
    let (done, said) =
        kaon_at(&api, &["quota", "set", "limited", "--guarantee", "cpus:1", "--limit", "cpus:1;mem:256"]);
    assert!(done, "{said}");
    let config = wait_for("the quota", SOON, || quotas(&api).get(0).cloned());
    assert_eq!(config["role"], "limited");
    assert_eq!(config["limits"]["cpus"]["value"], 1.0);
    assert_eq!(config["guarantees"]["cpus"]["value"], 1.0);

    cluster.restart(1);
    let api = cluster.api.clone();
    let config = wait_for("the quota, after a restart", SOON, || quotas(&api).get(0).cloned());
    assert_eq!(config["limits"]["mem"]["value"], 256.0);

    let mut words = info("limited");
    words["roles"] = json!(["limited"]);
    let mut framework = Framework::subscribe(&api, words);
    framework.until("an offer", |framework| !framework.offers.is_empty());
    let offer = &framework.offers[0];
    assert!(amount(offer, "cpus") <= 1.0 && amount(offer, "mem") <= 256.0, "beyond the limit: {offer}");
    framework.launch_until(vec![task("within", "true")], "TASK_FINISHED");
    framework.teardown();

    let (done, said) = kaon_at(&api, &["quota", "remove", "limited"]);
    assert!(done, "{said}");
    wait_for("no quota", SOON, || quotas(&api).as_array().is_none_or(Vec::is_empty).then_some(()));
}

#[test]
fn what_can_not_be_is_refused_with_a_reason() {
    let cluster = Cluster::start_with(1, &["--resources", "cpus:4;mem:1024"]);
    let api = cluster.api.as_str();
    wait_for("the agent", SOON, || get(api, "/state").json()["slaves"].get(0).map(drop));
    for (arguments, needle) in [
        (&["quota", "set", "a/b", "--guarantee", "cpus:1"][..], "top of its tree"),
        (&["quota", "set", "a", "--guarantee", "cpus:100"][..], "force=true"),
        (&["quota", "set", "a", "--guarantee", "cpus:2", "--limit", "cpus:1"][..], "above its limit"),
        (&["quota", "set", "a", "--limit", "ports:[1-2]"][..], "no plain number"),
        (&["quota", "set", "a"][..], "neither"),
        (&["weight", "set", "a=0"][..], "0.001"),
        (&["weight", "set", "a"][..], "ROLE=WEIGHT"),
    ] {
        let (done, said) = kaon_at(api, arguments);
        assert!(!done && said.contains(needle), "{arguments:?}: {said}");
    }
    for call in [
        json!({"type": "UPDATE_QUOTA"}),
        json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [{"role": "a", "limits": {"cpus": {"value": -1.0}}}]}}),
        json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [{"role": "..", "weight": 1.0}]}}),
    ] {
        assert_eq!(post(api, "/api/v1", &call).status, 400, "{call}");
    }
    assert!(quotas(api).as_array().is_none_or(Vec::is_empty));
    let (done, said) = kaon_at(api, &["weight", "set", "a=2.5", "b=0.5"]);
    assert!(done, "{said}");
    // The read side is behind the answer by a moment.
    let expected = json!([{"role": "a", "weight": 2.5}, {"role": "b", "weight": 0.5}]);
    wait_for("the weights", SOON, || (get(api, "/weights").json() == expected).then_some(()));
    let roles = get(api, "/roles").json();
    let names: Vec<&str> =
        roles["roles"].as_array().expect("roles").iter().filter_map(|role| role["name"].as_str()).collect();
    assert_eq!(names, ["*", "a", "b"]);
    let (done, said) = kaon_at(api, &["roles"]);
    assert!(done && said.contains("2.5"), "{said}");
}
