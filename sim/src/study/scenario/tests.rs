//! Scenarios are read with their units, and what is wrong is told with its line and the nearest key.

use super::*;
use crate::study::tests::Folder;

const GOOD: &str = "kind = 'cluster'\nquestion = 'q'\nanswer = 'a'\npolicies = ['drf']\n[cluster]\nagents = 4\n";

fn open(text: &str, overrides: &[&str]) -> Result<Scenario, String> {
    let folder = Folder::new(&format!("scenario-{:?}", std::thread::current().id()).replace(['(', ')'], ""));
    let path = folder.file("s.toml", text);
    let overrides: Vec<String> = overrides.iter().map(|one| (*one).to_owned()).collect();
    Scenario::open(&path, &overrides).map_err(|error| error.to_string())
}

#[test]
fn values_are_read_with_their_units_and_defaults() {
    let scenario = open(&format!("{GOOD}memory = '8 GiB'\n"), &["duration=90 min", "seeds=1-3", "policies=a, b"]);
    let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
    let settings = &scenario.settings;
    assert_eq!((settings.count("cluster.agents"), settings.mebibytes("cluster.memory")), (4, 8192));
    assert_eq!((settings.micros("duration"), settings.number("cluster.cpus")), (5_400_000_000, 8.0));
    assert_eq!((scenario.seeds(), scenario.policies()), (&[1, 2, 3][..], &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((scenario.name.as_str(), scenario.fidelity), ("s", Fidelity::Cluster));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let with = |line: &str| open(&format!("{GOOD}{line}\n"), &[]).expect_err("a bad scenario");
    for (line, why) in [
        ("agnts = 4", "s.toml:7: there is no key 'cluster.agnts'; did you mean 'cluster.agents'?"),
        ("memory = 8", "s.toml:7: 'cluster.memory' is an amount of memory and needs its unit"),
        (
            "memory = '8 GB'",
            "s.toml:7: 'cluster.memory' 'GB' is no unit of an amount of memory (units: TiB, GiB, MiB); did you mean 'GiB'?",
        ),
        ("cpus = 'four'", "s.toml:7: 'cluster.cpus' must be a number, not the text \"four\""),
        ("cpus = -1", "s.toml:7: 'cluster.cpus' must be between 0.001 and 1000000, not -1"),
        (
            "processors = 4",
            "s.toml:7: there is no key 'cluster.processors' in kind 'cluster'; it belongs to kind 'batch'",
        ),
        ("nodes = {a = 1}", "s.toml:7: there is no key 'cluster.nodes.a'"),
        ("cpus = ", "s.toml:7: "),
        ("[workload]\n\ncount = 1.5", "s.toml:9: 'workload.count' must be a whole number, not 1.5"),
    ] {
        let error = with(line);
        assert!(error.starts_with(why), "{line}: {error}");
    }
    let error = open(GOOD, &["cluster.agnts=3"]).expect_err("a bad override");
    assert!(error.starts_with("--set cluster.agnts=3: there is no key 'cluster.agnts'; did you mean"), "{error}");
    let error = open(GOOD, &["cluster"]).expect_err("a bad override");
    assert!(error.contains("an override is key=value"), "{error}");
    let error = open("kind = 'clutser'", &[]).expect_err("a bad kind");
    assert!(error.contains("s.toml:1") && error.contains("did you mean 'cluster'?"), "{error}");
    let error = open("kind = 'cluster'", &[]).expect_err("too little");
    assert!(error.contains("the key 'question' is missing"), "{error}");
    let error = Scenario::open(Path::new("no-such"), &[]).expect_err("no file").to_string();
    assert!(error.contains("these are shipped: ") && error.contains("chaos"), "{error}");
}

#[test]
fn parameters_are_read_back() {
    for shipped in SHIPPED {
        let scenario = Scenario::open(Path::new(shipped.name), &[]).unwrap_or_else(|error| panic!("{error}"));
        let parameters = scenario.settings.to_json();
        let again = Scenario::from_parameters(&scenario.name, &parameters, "record");
        let again = again.unwrap_or_else(|error| panic!("{}: {error}", shipped.name));
        assert_eq!(again.settings.to_json(), parameters, "{}", shipped.name);
        for key in ["question", "answer"] {
            assert!(scenario.settings.text(key).len() > 20, "{} has no {key}", shipped.name);
        }
        let lines = shipped.text.lines().count();
        assert!(lines <= 60, "{}: {lines} lines are more than a page", shipped.name);
        let known = crate::study::policies(scenario.fidelity);
        let unknown = scenario.policies().iter().find(|name| !known.iter().any(|row| row.name == name.as_str()));
        assert_eq!(unknown, None, "{}", shipped.name);
    }
}

#[test]
fn every_default_is_a_value_of_its_key() {
    for (fidelity, _) in Fidelity::ALL {
        // Reading puts in all defaults and fails on one that is wrong.
        let keys: Vec<&'static schema::Key> = schema::keys(fidelity).filter(|key| !key.must).collect();
        let root = Node { place: Place::Record("none".to_owned()), what: What::Table(Vec::new()) };
        let settings = Settings::read(&root, keys.iter().copied(), Path::new(""), &|_| None);
        let settings = settings.unwrap_or_else(|(_, why)| panic!("{why}"));
        let with_default = keys.iter().filter(|key| key.default.is_some()).count();
        assert_eq!(settings.to_json().as_object().map(|map| map.len()), Some(with_default));
    }
}
