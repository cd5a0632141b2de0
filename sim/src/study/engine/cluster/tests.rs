//! Small whole clusters from scenarios.

use super::*;
use crate::study::meter::Sum;
use crate::study::tests::Folder;

fn cluster(folder: &Folder, text: &str) -> Cluster {
    let text = format!("kind = 'cluster'\nquestion = 'q'\nanswer = 'a'\npolicies = ['drf']\n{text}");
    let scenario = Scenario::open(&folder.file("s.toml", &text), &[]).unwrap_or_else(|error| panic!("{error}"));
    Cluster::open(&scenario).unwrap_or_else(|error| panic!("{error}"))
}

fn run(cluster: &Cluster, policy: &str) -> Outcome {
    let sum = Sum::new(1, &|_| ());
    let outcome = cluster.run(policy, 1, &mut Meter::new(&sum)).unwrap_or_else(|error| panic!("{policy}: {error}"));
    assert_eq!(outcome.failures, Vec::<String>::new(), "{policy}");
    outcome
}

fn records(outcome: &Outcome) -> &Records {
    outcome.records.as_ref().unwrap_or_else(|| panic!("a cluster keeps records"))
}

#[test]
fn what_does_not_go_together_is_named_with_its_line() {
    let folder = Folder::new("cluster-wrong");
    let refusal = |text: &str| {
        let text = format!("kind = 'cluster'\nquestion = 'q'\nanswer = 'a'\npolicies = ['drf']\n{text}");
        let opened = Scenario::open(&folder.file("s.toml", &text), &[]).and_then(|scenario| Cluster::open(&scenario));
        opened.map(|_| ()).expect_err("a bad scenario").to_string()
    };
    let trouble =
        |whom: &str| format!("[cluster]\nagents = 3\n[[trouble]]\nat = '1 s'\nwhat = 'pause'\nwhom = '{whom}'");
    let framework = |keys: &str| format!("[[framework]]\nname = 'a'\n[[framework]]\n{keys}");
    for (text, why) in [
        (trouble("agent:4"), "s.toml:10: 'whom' strikes nobody: agents are numbered 1 to 3"),
        (trouble("rack:0"), "s.toml:10: 'whom' strikes nobody: there are no racks"),
        (trouble("nobody"), "s.toml:10: 'whom' "),
        ("[network]\nlatency = '0.5'".into(), "s.toml:6: 'network.latency' is a time and needs its unit"),
        ("[network]\nlatency = '0 s'".into(), "s.toml:6: 'network.latency' must be at least a microsecond"),
        (framework("name = 'a'"), "s.toml:8: 'name' \"a\" is given twice"),
        (framework("name = 'a b'"), "s.toml:8: 'name' \"a b\" is no word"),
        (framework("name = 'b'\nlengths = '5..'"), "s.toml:9: 'lengths' \"5..\" is no law"),
        (framework("name = 'b'\ncpus = 99"), "s.toml:7: a task of framework b fits on no machine"),
        ("[workload]\n\ncpus = 99".into(), "s.toml:7: 'workload.cpus' a task does not fit into a machine"),
        ("[workload]\nlengths = 'x'".into(), "s.toml:6: 'workload.lengths' "),
        ("[churn]\njoining = 101".into(), "s.toml:6: 'churn.joining' is more than the 100 agents"),
    ] {
        let error = refusal(&text);
        assert!(error.starts_with(why), "{text}: {error}");
    }
}

#[test]
fn every_behaviour_brings_its_tasks_to_an_end() {
    let folder = Folder::new("behaviours");
    for (behaviour, more) in [
        ("batch", ""),
        ("service", ""),
        ("gang", "gang = 3\n"),
        ("mpi", "gang = 3\n"),
        ("spark", "executors = 2\n"),
        ("hoarder", "holding = '3 s'\n"),
        ("crash-looper", "attempts = 3\n"),
    ] {
        let text = format!(
            "[cluster]\nagents = 3\ncpus = 2\n[[framework]]\nname = 'one'\nbehaviour = '{behaviour}'\ntasks = 9\n\
             lengths = '1..5'\n{more}"
        );
        let outcome = run(&cluster(&folder, &text), "drf");
        let tasks = &records(&outcome).tasks;
        assert!(tasks.len() == 9 && tasks.iter().all(|task| task.end_us.is_some()), "{behaviour}: {tasks:?}");
        let starts = |from: usize| tasks[from..from + 3].iter().filter_map(|task| task.start_us);
        let spread = |from: usize| starts(from).max().unwrap_or(0) - starts(from).min().unwrap_or(0);
        match behaviour {
            "gang" | "mpi" => assert!((0..3).all(|gang| spread(gang * 3) < 100_000), "{behaviour}: {tasks:?}"),
            "crash-looper" => assert_eq!(outcome.metrics["tasks_relaunched"], 18.0),
            "hoarder" => assert!(outcome.metrics["queueing_delay_one_mean"] > 3.0, "{:?}", outcome.metrics),
            "spark" => {
                let running =
                    |at: i64| tasks.iter().filter(|task| task.start_us < Some(at) && task.end_us > Some(at)).count();
                assert!((0..30).all(|second| running(second * 1_000_000) <= 2), "{tasks:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn machines_are_as_large_as_hwloc_says() {
    let folder = Folder::new("hwloc");
    let machine = "<topology><object type='Machine'><object type=\"NUMANode\" local_memory=\"8589934592\"/>\
                   <object type=\"PU\"/><object type=\"PU\"/><object type=\"PU\"/></object></topology>";
    folder.file("three.xml", machine);
    let small = machine.replace("<object type=\"PU\"/><object type=\"PU\"/>", "");
    folder.file("one.xml", &small);
    let text = "[[cluster.hwloc]]\nfile = 'three.xml'\ncount = 2\n[[cluster.hwloc]]\nfile = 'one.xml'\n\
                [[framework]]\nname = 'wide'\ntasks = 6\ncpus = 3\nlengths = '2'\n\
                [[framework]]\nname = 'narrow'\ntasks = 6\nlengths = '2'\n";
    let outcome = run(&cluster(&folder, text), "drf");
    let records = records(&outcome);
    assert_eq!((records.capacity.cpus_milli, records.capacity.mem_mib), (7000, 3 * 8192));
    let wide = records.tasks.iter().filter(|task| task.cpus_milli == 3000);
    let places: std::collections::BTreeSet<_> = wide.filter_map(|task| task.node).collect();
    assert_eq!(places, [1, 2].into(), "three processors are on the machines that have them alone");
    let shipped = Scenario::open(std::path::Path::new("hardware"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let shipped = Cluster::open(&shipped).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(shipped.options.agents, 30);
    let cores: u64 = shipped.stage.sizes.iter().map(|size| size.0.0).sum();
    assert_eq!(cores, (24 * 40 + 6 * 96) * 1000);
}

#[test]
fn a_trace_runs_on_listed_machines() {
    let folder = Folder::new("cluster-trace");
    let nodes = folder.file("nodes.csv", "name,cpus_milli,mem_mib\na,2000,4096\nb,4000,8192\n");
    let tasks = "job,tenant,submit_us,run_us,cpus_milli,mem_mib\n7,x,5000000,2000000,4000,100\n8,y,20000000,1500000,500,100\n\
                 9,y,20000000,1000000,8000,100\n";
    let tasks = folder.file("tasks.csv", tasks);
    let text = format!(
        "[cluster]\nnodes = '{}'\n[frameworks]\ncount = 2\n[workload]\ntasks = '{}'\n",
        nodes.display(),
        tasks.display()
    );
    let cluster = cluster(&folder, &text);
    assert_eq!(cluster.left.jobs, 1, "eight cores are on no machine: {:?}", cluster.left.notes);
    let outcome = run(&cluster, "drf");
    let records = records(&outcome);
    let seen: Vec<_> = records.tasks.iter().map(|task| (task.job, task.submit_us, task.run_us)).collect();
    // Time begins with the first of them.
    assert_eq!(seen, [(7, 0, 2_000_000), (8, 15_000_000, 1_500_000)]);
    assert!(records.tasks[0].node == Some(2) && records.tasks[1].start_us >= Some(15_000_000), "{records:?}");
    assert_eq!((records.capacity.nodes, records.capacity.cpus_milli), (2, 6000));
    assert!(outcome.metrics["extra_delay_max"] < 5.0, "{:?}", outcome.metrics);
}

#[test]
fn troubles_churn_and_policies_pass() {
    let folder = Folder::new("troubles");
    let troubles: String = crate::stage::Trouble::ALL
        .iter()
        .zip(5..)
        .map(|((_, word), at)| {
            format!("[[trouble]]\nat = '{at} s'\nfor = '8 s'\nwhat = '{word}'\nwhom = 'agents:30%'\n")
        })
        .collect();
    let text = format!(
        "[cluster]\nagents = 6\nrack = 2\nzone = 2\n[frameworks]\ncount = 2\n[workload]\ncount = 60\n[churn]\njoining = 2\n\
         over = '20 s'\nfailing = '10 s'\naway = '5 s'\nuntil = '40 s'\n[network]\nlatency = '1 ms..2 ms'\ngigabits = 1\n\
         {troubles}[[trouble]]\nat = '3 s'\nfor = '3 s'\nwhat = 'crash'\n[[trouble]]\nat = '30 s'\nwhat = 'power'\nwhom = 'zone:0'\n"
    );
    let cluster = cluster(&folder, &text);
    for policy in policies() {
        let outcome = run(&cluster, policy.name);
        assert_eq!(outcome.metrics["tasks_unfinished"], 0.0, "{}", policy.name);
        let back = outcome.metrics.get("agents_back_seconds_max");
        assert!(back.is_some_and(|&seconds| seconds > 3.0), "{}: {:?}", policy.name, outcome.metrics);
    }
}

#[test]
fn a_framework_that_falls_comes_back_as_itself() {
    let folder = Folder::new("framework-falls");
    let fall = |at: u32, what: &str, whom: u32| {
        format!("[[trouble]]\nat = '{at} s'\nfor = '4 s'\nwhat = '{what}'\nwhom = 'framework:{whom}'\n")
    };
    let falls: String =
        (0..12).map(|n| fall(4 + 5 * n, if n % 2 == 0 { "crash" } else { "power" }, n / 2 % 2)).collect();
    for (behaviour, more) in [("batch", ""), ("service", ""), ("mpi", "gang = 3\n")] {
        let text = format!(
            "[cluster]\nagents = 6\ncpus = 4\n[[framework]]\nname = 'b'\ncount = 2\ntasks = 30\nlengths = '5..30'\n\
             gap = '1 s'\nbehaviour = '{behaviour}'\n{more}{falls}"
        );
        let outcome = run(&cluster(&folder, &text), "drf");
        let tasks = &records(&outcome).tasks;
        assert!(tasks.len() == 60 && tasks.iter().all(|task| task.end_us.is_some()), "{behaviour}: {tasks:?}");
        let metrics = &outcome.metrics;
        assert!(metrics["crashes"] >= 12.0 && metrics["resubscriptions"] >= 12.0, "{behaviour}: {metrics:?}");
        // What ran goes on: what is launched anew are calls that a fall cut off, not all tasks of each life.
        assert!(metrics["tasks_relaunched"] < 12.0, "{behaviour}: {metrics:?}");
    }
}

#[test]
fn waiting_for_data_makes_tasks_local() {
    let folder = Folder::new("cluster-data");
    let text = "[cluster]\nagents = 8\ncpus = 2\n[[framework]]\nname = 'one'\ncount = 2\ntasks = 40\nlengths = '2..4'\n\
                replicas = 2\n";
    let cluster = cluster(&folder, text);
    let local = |policy: &str| {
        let outcome = run(&cluster, policy);
        let locality = records(&outcome).locality;
        locality.node as f64 / (locality.node + locality.elsewhere) as f64
    };
    let (none, long) = (local("no-delay"), local("delay-5s"));
    assert!(long > none + 0.1, "{none} without waiting, {long} with");
}
