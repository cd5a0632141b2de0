//! `kaon sim` with scenarios, from outside: files, exit codes, sentences.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn sim(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaon"));
    let Output { status, stdout, stderr } =
        command.arg("sim").args(arguments).current_dir(folder).output().expect("kaon starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_study_is_run_written_down_replayed_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let small = ["--set", "workload.jobs=200", "--seeds", "1-2", "--policy", "fcfs,easy"];
    let run =
        |out: &str, more: &[&str]| sim(folder, &[&["run", "backfilling", "--out", out][..], &small, more].concat());
    let (code, out, err) = run("one", &["--jobs", "1"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("flow_time_mean") && out.contains("easy"), "{out}");
    assert_eq!(run("two", &["--jobs", "2"]).0, Some(0));
    let (one, two) = (json(&folder.join("one/summary.json")), json(&folder.join("two/summary.json")));
    assert_eq!(one["policies"], two["policies"], "the number of jobs changes nothing");
    assert_eq!(one["scenario"], "backfilling");
    assert_eq!(one["parameters"]["workload.jobs"], 200);
    assert!(one["kaon"]["commit"].as_str().is_some_and(|commit| !commit.is_empty()));
    let first = &one["policies"][0];
    assert_eq!((first["policy"].as_str(), first["seeds"].as_array().map(Vec::len)), (Some("fcfs"), Some(2)));
    assert!(first["seeds"][0]["trace_hash"].as_str().is_some_and(|hash| hash.len() == 16));
    let spread = &first["metrics"]["flow_time_mean"];
    assert!(spread["mean"].is_f64() && spread["sd"].is_f64() && spread["ci95"][1].is_f64(), "{spread}");
    for file in ["report.html", "tasks/easy-2.csv", "tasks/easy-2.parquet", "intervals/fcfs-1.csv"] {
        assert!(folder.join("one").join(file).is_file(), "no {file}");
    }
    let (code, out, _) = sim(folder, &["replay", "one"]);
    assert_eq!((code, out.as_str()), (Some(0), "4 of 4 runs came out as recorded\n"));
    let (code, out, _) = sim(folder, &["compare", "one", "two"]);
    assert!(code == Some(0) && out.contains("4 of 4 common runs have the same trace"), "{out}");
}

#[test]
fn assertions_decide_the_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |assertion: &str| {
        let arguments = ["check", "drf-example", "--assert", assertion, "--junit", "junit.xml"];
        sim(folder.path(), &arguments)
    };
    let (code, out, err) = check("drf:tasks_a == 3");
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, _) = check("drf:tasks_a > drf:tasks_b");
    assert_eq!(code, Some(0), "{out}");
    let (code, out, _) = check("tasks_b > 1.9");
    assert_eq!(code, Some(1));
    assert!(out.contains("\"tasks_b > 1.9\" does not hold: tasks_b of ceei is 1.63"), "{out}");
    let report = std::fs::read_to_string(folder.path().join("junit.xml")).expect("a report");
    assert!(report.contains("tests=\"3\" failures=\"1\""), "{report}");
    let (code, _, err) = check("flow_tiem_mean < 3");
    assert!(code == Some(1) && err.contains("names no metric"), "{err}");
}

#[test]
fn mistakes_in_scenarios_are_told_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "kind = 'batch'\nquestion = 'q'\nanswer = 'a'\npolicies = ['fcfs']\n[workload]\nlgo = 'x.swf'\n";
    std::fs::write(folder.path().join("s.toml"), text).expect("a file");
    let (code, _, err) = sim(folder.path(), &["run", "s.toml"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("s.toml:6: there is no key 'workload.lgo'; did you mean 'workload.log'?"), "{err}");
    let (code, _, err) = sim(folder.path(), &["run", "backfilling", "--policy", "eesy"]);
    assert!(code == Some(1) && err.contains("did you mean 'easy'?"), "{err}");
    let (code, _, err) = sim(folder.path(), &["run", "backfilling", "--faults"]);
    assert!(code == Some(2) && err.contains("cannot be used with"), "{err}");
    for flag in [&["--agents", "5"][..], &["--volumes"]] {
        let (code, _, err) = sim(folder.path(), &[&["run", "chaos"], flag].concat());
        assert!(code == Some(2) && err.contains("cannot be used with"), "{err}");
    }
    let (code, _, err) = sim(folder.path(), &["run", "backfilling", "--policy", "easy,easy"]);
    assert!(code == Some(1) && err.contains("'easy' is named twice"), "{err}");
    let (code, out, _) = sim(folder.path(), &["list", "--keys"]);
    assert_eq!(code, Some(0));
    for word in [
        "openb",
        "easy-sjbf-exact",
        "fgd",
        "bounded_slowdown_*",
        "workload.log",
        "[[framework]] behaviour",
        "[[trouble]] whom",
        "[[cluster.group]] gpu_type",
        "[[cluster.hwloc]] file",
        "[[tenant]] weight",
        "[[scheduler]] job_time",
        "crash-looper",
        "count 1 to 100000",
        "(required)",
    ] {
        assert!(out.contains(word), "no {word}");
    }
}

#[test]
fn seeds_that_break_a_claim_are_kept_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = ["--set", "workload.count=30", "--set", "cluster.agents=4"];
    let (code, out, err) = sim(folder.path(), &[&["explore", "chaos", "--seeds", "1-3"][..], &small].concat());
    assert!(code == Some(0) && out.contains("3 runs,") && out.contains(" 0 seeds failed"), "{out}{err}");
    assert!(out.contains("marks reached; the rarest: "), "{out}");
    // A deadline that nothing can meet.
    let hasty = [&small[..], &["--set", "duration=2 s", "--out", "failed"]].concat();
    let (code, out, _) = sim(folder.path(), &[&["explore", "chaos", "--seeds", "5-6"][..], &hasty].concat());
    assert!(code == Some(1) && out.contains("every task ends") && out.contains("2 seeds failed"), "{out}");
    let (code, out, _) = sim(folder.path(), &["replay", "failed/seed-5.json"]);
    assert!(code == Some(0) && out.contains("1 of 1 runs came out as recorded"), "{out}");
    let (code, _, _) = sim(folder.path(), &[&["replay", "5"][..], &small].concat());
    assert_eq!(code, Some(0));
}

/// The line that a failed run prints does the same run, whatever the scenario's file is called and whatever was set.
#[test]
fn a_failed_run_of_a_file_is_repeated_by_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "kind = 'cluster'\nquestion = 'q'\nanswer = 'a'\npolicies = ['drf', 'lottery']\nseeds = '1-2'\n\
                [[framework]]\nname = 'one'\ntasks = 9\n";
    std::fs::create_dir(folder.path().join("a folder")).expect("a folder in it");
    std::fs::write(folder.path().join("a folder/hasty's.toml"), text).expect("a file");
    let how = ["--set", "cluster.agents=3", "--set", "duration=2 s", "--policy", "lottery", "--seeds", "7"];
    let repeats = |command: &str| {
        let (code, out, err) = sim(folder.path(), &[&[command, "a folder/hasty's.toml"], &how[..]].concat());
        assert_eq!(code, Some(1), "{out}{err}");
        let at = |line: &str| line.find("kaon sim replay").map(|at| line[at..].to_owned());
        out.lines().filter_map(at).collect::<Vec<_>>()
    };
    let hash = |out: &str| out.lines().find_map(|line| line.strip_prefix("trace hash").map(str::to_owned));
    let (_, first, _) = sim(folder.path(), &[&["run", "a folder/hasty's.toml"], &how[..]].concat());
    for line in [repeats("run"), repeats("explore")].concat() {
        assert!(line.starts_with("kaon sim replay 7 --scenario 'a folder/hasty'\\''s.toml' --set "), "{line}");
        let shell = line.replacen("kaon", "\"$KAON\"", 1);
        let mut command = Command::new("sh");
        command.args(["-c", &shell]).env("KAON", env!("CARGO_BIN_EXE_kaon")).current_dir(folder.path());
        let Output { status, stdout, .. } = command.output().expect("a shell starts");
        let again = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.code() == Some(1) && again.contains("every task ends"), "{again}");
        assert!(hash(&first).is_some() && hash(&first) == hash(&again), "{first}\n{again}");
    }
}

#[test]
fn a_failing_seed_is_made_smaller() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = ["run", "--agents", "4", "--frameworks", "2", "--tasks", "40", "--plant", "overtaking", "--shrink"];
    let (code, out, err) = sim(folder.path(), &[&cluster[..], &["--faults", "--seed", "4", "--seeds", "6"]].concat());
    assert_eq!(code, Some(1), "{out}{err}");
    let shrunk = out.lines().find_map(|line| line.strip_prefix("shrunk in ")?.split_once(" to ")).expect("it is told");
    let sizes: Vec<u32> = shrunk.1.split(", ").filter_map(|part| part.split_once(' ')?.0.parse().ok()).collect();
    let [agents, frameworks, tasks, _] = sizes[..] else { panic!("agents, frameworks, tasks, faults: {shrunk:?}") };
    assert!(agents < 4 && frameworks <= 2 && tasks < 40, "{shrunk:?}");
    let repeat = out.lines().filter_map(|line| line.trim().strip_prefix("repeat: kaon sim ")).next_back();
    let words: Vec<&str> = repeat.expect("a line that repeats it").split(' ').collect();
    let (code, again, _) = sim(folder.path(), &words);
    assert!(code == Some(1) && again.contains("claim broken"), "{again}");
}

#[test]
fn workloads_are_converted_to_the_native_format() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("log.swf"), "; MaxProcs: 8\n1 0 0 60 2 -1 -1 2 90 -1 1 7 1 1 1 1 -1 -1\n")
        .expect("a file");
    let (code, out, err) = sim(folder.path(), &["convert", "swf", "log.swf"]);
    assert_eq!(code, Some(0), "{err}");
    let mut lines = out.lines();
    assert!(lines.next().is_some_and(|header| header.starts_with("job,task,tenant,submit_us,run_us")), "{out}");
    assert!(
        lines.next().is_some_and(|row| row.starts_with("1,0,") && row.contains(",60000000,90000000,2000,")),
        "{out}"
    );
    let (code, _, err) = sim(folder.path(), &["convert", "swf", "log.swf", "--out", "native.csv"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(folder.path().join("native.csv")).expect("a table"), out);
    let (code, again, _) = sim(folder.path(), &["convert", "native", "native.csv"]);
    assert!(code == Some(0) && again == out, "native is native: {again}");
    std::fs::write(folder.path().join("bad.csv"), "job,submit_us,cpus_milli\n1,0,x\n2,0,500\n").expect("a file");
    let (code, _, err) = sim(folder.path(), &["convert", "native", "bad.csv", "--out", "half.csv"]);
    assert!(code == Some(1) && err.contains("bad.csv:2"), "{err}");
    assert!(!folder.path().join("half.csv").exists() && !folder.path().join("half.unfinished").exists());
    let (code, out, err) = sim(folder.path(), &["convert", "native", "bad.csv", "--lenient"]);
    assert!(code == Some(0) && out.lines().count() == 2 && err.contains("1 rows left out"), "{out}{err}");
    let (code, _, err) = sim(folder.path(), &["convert", "sfw", "log.swf"]);
    assert!(code == Some(2) && err.contains("swf"), "{err}");
}
