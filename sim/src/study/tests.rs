//! Studies from file to verdict.

use super::assertion::{Assertion, junit};
use super::*;
use std::path::{Path, PathBuf};

/// A small cluster study.
const SMALL: &str = "kind = 'cluster'\nquestion = 'q'\nanswer = 'a'\npolicies = ['drf']\nseeds = '1-3'\n\
                     [cluster]\nagents = 4\n[workload]\ncount = 12\nlengths = '1'\n";

/// A folder of this test's own, removed at its end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kaon-study-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file in it");
        path
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(path: &Path, overrides: &[&str], request: &Request) -> Summary {
    let overrides: Vec<String> = overrides.iter().map(|one| (*one).to_owned()).collect();
    let scenario = Scenario::open(path, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let study = Study::open(scenario).unwrap_or_else(|error| panic!("{error}"));
    study.run(request, &|_| ()).unwrap_or_else(|error| panic!("{error}"))
}

/// The page that people read says what the registry says, and names the tests that there are.
#[test]
fn the_page_of_policies_names_every_policy() {
    let page = include_str!("../../../docs/policies.md");
    for (fidelity, kind) in Fidelity::ALL {
        let rows = policies(fidelity);
        assert!(!rows.is_empty(), "{kind}");
        for PolicyRow { name, about } in rows {
            let said = match fidelity {
                // The definitions stand in a table of their own, with their sources.
                Fidelity::Placement => format!("| `{name}` |"),
                _ => format!("| `{name}` | {about} |"),
            };
            assert!(page.lines().any(|line| line.starts_with(&said)), "docs/policies.md has no line: {said}");
        }
    }
    let listed = |name: &str| Fidelity::ALL.iter().any(|(kind, _)| policies(*kind).iter().any(|row| row.name == name));
    let (_, tables) = page.split_once("## Orders of a batch queue").expect("the tables");
    let (tables, examples) = tables.split_once("## Worked examples").expect("the examples");
    let names = tables.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    names.for_each(|(name, _)| assert!(listed(name), "there is no policy {name}"));
    assert!(examples.lines().filter(|line| line.starts_with("| 8.")).count() >= 13, "every example of section 8");
}

#[test]
fn a_study_is_the_same_with_any_number_of_jobs_and_replays() {
    let folder = Folder::new("jobs");
    let path = folder.file("small.toml", SMALL);
    let out = folder.path().join("out");
    let one = run(&path, &[], &Request { jobs: 1, out: Some(out.clone()), ..Request::default() });
    let two = run(&path, &[], &Request { jobs: 2, ..Request::default() });
    assert_eq!(one.policies, two.policies);
    assert_eq!(one.policies[0].seeds.len(), 3);
    assert_eq!(one.policies[0].metrics["tasks_finished"].mean, 12.0);
    let read = Summary::open(&out).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.policies, one.policies);
    assert!(out.join(REPORT_FILE).is_file());
    let again = replay(&out, &Request::default(), &|_| ()).unwrap_or_else(|error| panic!("{error}"));
    assert!(again.mismatches.is_empty() && again.inputs_changed.is_empty(), "{again:?}");
    let comparison = compare::compare(&one, &two);
    assert_eq!((comparison.runs_common, comparison.traces_equal, comparison.differences.len()), (3, 3, 0));
    let other = run(&path, &["workload.count=8", "seeds=1-3"], &Request::default());
    let comparison = compare::compare(&one, &other);
    assert_eq!(comparison.traces_equal, 0);
    let tasks = comparison.differences.iter().find(|one| one.metric == "tasks").expect("other tasks");
    assert_eq!((tasks.before, tasks.after, tasks.is_beyond_chance()), (12.0, 8.0, Some(true)));
}

#[test]
fn every_shipped_scenario_runs() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"));
    let log =
        "; MaxProcs: 10\n1 0 0 60 4 -1 -1 4 100 -1 1 1 1 1 1 1 -1 -1\n2 5 0 60 8 -1 -1 8 100 -1 1 2 1 1 1 1 -1 -1\n";
    let temporary = Folder::new("shipped");
    let log = temporary.file("log.swf", log);
    let log = format!("workload.log={}", log.display());
    // Smaller than they are shipped, so that a debug build is quick; every policy, two seeds where seeds matter.
    let few = "framework=[{name='few',count=2,tasks=15,lengths='1..5',gap='100 ms',replicas=2}]";
    let small: [(&str, &[&str]); 17] = [
        ("backfilling", &["workload.jobs=200", "seeds=1-2"]),
        ("chaos", &["seeds=1-2", "workload.count=20"]),
        ("datacenter-day", &["cluster.agents=20", few, "duration=1 h"]),
        ("delay-scheduling", &["workload.jobs=50", "seeds=1-2"]),
        ("drf-example", &[]),
        ("gavel", &["workload.jobs=100"]),
        ("hardware", &["seeds=1", few]),
        ("mesos-delay", &["seeds=1-2", "cluster.agents=8", few]),
        ("mesos-failover", &["seeds=1-2", "cluster.agents=8", few]),
        ("mesos-scale", &["cluster.agents=20", few]),
        ("mixed", &["seeds=1", few, "policies=drf,strict-priority"]),
        ("omega", &["duration=10 min", "cluster.machines=20", "seeds=1-2"]),
        ("omega-cell", &["duration=5 min", "seeds=1-2"]),
        ("openb", &["workload.load=0.02", "seeds=1-2"]),
        ("priorities", &["workload.jobs=40", "seeds=1-2"]),
        (
            "sparrow",
            &[
                "cluster.machines=20",
                "scheduler=[{name='a',job_time='0 s',task_time='0 s',gap='100 ms',tasks='10',lengths='exp:0.1'}]",
                "seeds=1-2",
            ],
        ),
        ("swf", &[&log]),
    ];
    assert_eq!(small.map(|(name, _)| name), SHIPPED.map(|one| one.name));
    for (name, overrides) in small {
        let out = temporary.path().join(name);
        let path = folder.join(format!("{name}.toml"));
        let summary = run(&path, overrides, &Request { out: Some(out.clone()), ..Request::default() });
        assert_eq!(summary.failures(), [], "{name}");
        assert!(summary.headline().len() >= 2, "{name}: {:?}", summary.headline());
        let unknown: Vec<&str> =
            summary.metric_names().into_iter().filter(|metric| !super::metrics::listing::is_known(metric)).collect();
        assert!(unknown.is_empty(), "{name}: not in the listing: {unknown:?}");
        let page = std::fs::read_to_string(out.join(REPORT_FILE)).expect("a report");
        assert!(page.ends_with("</html>\n"), "{name}");
    }
}

#[test]
fn a_policy_that_is_not_there_is_refused_with_the_nearest() {
    let folder = Folder::new("policy");
    let path = folder.file("small.toml", SMALL);
    let scenario = Scenario::open(&path, &["policies=dfr".to_owned()]).unwrap_or_else(|error| panic!("{error}"));
    let study = Study::open(scenario).unwrap_or_else(|error| panic!("{error}"));
    let error = study.run(&Request::default(), &|_| ()).expect_err("no such policy").to_string();
    assert!(error.contains("'dfr'") && error.contains("did you mean 'drf'?"), "{error}");
}

#[test]
fn assertions_are_judged_policy_by_policy() {
    let metrics = |value: f64| Metrics::from([("jct_p99".to_owned(), value)]);
    let seed = |value| SeedSummary {
        seed: 1,
        trace_hash: "0".to_owned(),
        metrics: metrics(value),
        marks: Default::default(),
        failures: Vec::new(),
    };
    let policy = |name, value| PolicySummary::of(name, vec![seed(value)]);
    let summary = Summary {
        scenario: "s".to_owned(),
        kaon: Program { version: "0".to_owned(), commit: "0".to_owned() },
        inputs: Vec::new(),
        notes: Vec::new(),
        parameters: serde_json::Value::Null,
        policies: vec![policy("one", 500.0), policy("two", 700.0)],
        speed: Speed::default(),
    };
    let judge = |text: &str| {
        let verdicts = Assertion::parse(text).and_then(|one| one.judge(&summary)).map_err(|error| error.to_string())?;
        Ok::<_, String>(verdicts.into_iter().map(|one| one.failure).collect::<Vec<_>>())
    };
    assert_eq!(judge("jct.p99 <= 700"), Ok(vec![None, None]));
    let failed = judge("jct.p99 < 600").expect("a good assertion");
    assert_eq!(failed[0], None);
    let said = "\"jct.p99 < 600\" does not hold: jct_p99 of two is 700, the bound is 600";
    assert_eq!(failed[1].as_deref(), Some(said));
    assert_eq!(judge("one:jct_p99 < two:jct_p99"), Ok(vec![None]));
    assert!(judge("one:jct_p99 == two:jct_p99").expect("a good assertion")[0].is_some());
    assert!(
        judge("makespan < 1").expect("a good assertion")[0].as_deref().is_some_and(|why| why.contains("no makespan"))
    );
    for (text, why) in [
        ("jct.p99", "has none of"),
        ("1 < 2", "two numbers"),
        ("jtc.p99 < 2", "names no metric"),
        ("three:jct_p99 < 2", "does not have"),
        ("queueing_dely_p99 < 2", "no metric"),
    ] {
        let error = judge(text).expect_err("a bad assertion");
        assert!(error.contains(why), "{error}");
    }
    let family = Assertion::parse("jct < 600").expect_err("which of them?").to_string();
    assert!(family.contains("jct_*") && family.contains("p99"), "{family}");
    let verdicts = Assertion::parse("jct.p99 < 600").and_then(|one| one.judge(&summary)).expect("a good assertion");
    let report = junit("s", &verdicts);
    assert!(report.contains("tests=\"2\" failures=\"1\"") && report.contains("jct.p99 &lt; 600"), "{report}");
}
