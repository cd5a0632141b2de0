//! The readers against the published traces: their known totals, and what is shipped with Kaon.

use super::model::{Node, Task};
use super::rows::{Format, Rows, Strictness};
use super::{alibaba, convert, gavel, native, omega, openb, swf, swim};
use std::path::{Path, PathBuf};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/traces");

fn all<F: Format>(path: &Path, format: F) -> Vec<F::Row> {
    let rows = Rows::open(path, format, Strictness::Strict).unwrap_or_else(|error| panic!("{error}"));
    rows.collect_all().unwrap_or_else(|error| panic!("{error}")).0
}

fn shipped(name: &str) -> PathBuf {
    Path::new(SHIPPED).join(name)
}

/// A file that is not shipped; says so when it is not here.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(SHARED).join(name);
    if path.exists() {
        return Some(path);
    }
    println!("NOT TESTED: the trace {} is not here", path.display());
    None
}

#[test]
fn openb_has_its_known_totals() {
    let nodes = all(&shipped("openb/node_list_gpu_node.csv.gz"), openb::Nodes);
    assert_eq!((nodes.len(), nodes.iter().map(|node| node.gpus).sum::<u32>()), (1213, 6212));
    assert_eq!(nodes.iter().map(|node| node.cpus_milli).sum::<u64>(), 107_018_000);
    assert_eq!(nodes.iter().filter(|node| node.gpu_type == "G2").count(), 549);
    let every = all(&shipped("openb/node_list_all_node.csv.gz"), openb::Nodes);
    assert_eq!((every.len(), every.iter().map(|node| node.cpus_milli).sum::<u64>()), (1523, 125_514_000));
    let pods = all(&shipped("openb/pod_list_default.csv.gz"), openb::Pods::default());
    let count = |fits: fn(&Task) -> bool| pods.iter().filter(|pod| fits(pod)).count();
    assert_eq!((pods.len(), count(|pod| pod.gpus == 0)), (8152, 1088));
    assert_eq!((count(|pod| pod.gpus == 1 && pod.gpu_milli < 1000), count(|pod| pod.gpus == 8)), (3078, 44));
    let asked: u64 = pods.iter().map(|pod| u64::from(pod.gpus) * u64::from(pod.gpu_milli)).sum();
    assert_eq!(asked * 10_000 / 6_212_000, 9798);
    let short = all(&shipped("openb/pod_list_multigpu20.csv.gz"), openb::Pods::default());
    assert!(!short.is_empty() && short.iter().all(|pod| pod.run_us.is_none()), "this mix has no times");
    let picky = all(&shipped("openb/pod_list_gpuspec10.csv.gz"), openb::Pods::default());
    assert_eq!(picky.iter().filter(|pod| !pod.gpu_types.is_empty()).count(), 732);
}

#[test]
fn swim_has_its_known_totals() {
    for (name, count) in [("FB-2009_samples_24_times_1hr_0", 5894), ("FB-2010_samples_24_times_1hr_0", 24_442)] {
        let jobs = all(&shipped(&format!("swim/{name}.tsv.gz")), swim::Swim);
        assert_eq!(jobs.len(), count, "{name}");
        assert!(jobs.is_sorted_by_key(|job| job.submit_s));
    }
    let job = |input_bytes, shuffle_bytes| swim::Job {
        name: String::new(),
        submit_s: 7,
        input_bytes,
        shuffle_bytes,
        output_bytes: 0,
    };
    let conversion = swim::Conversion::default();
    let stages = conversion.stages(&job((640 << 20) + 1, 1 << 30));
    assert_eq!((stages.maps, stages.reduces), (11, 1));
    assert_eq!(stages.reduce_us, 51_200_000);
    let least = conversion.stages(&job(0, 0));
    assert_eq!((least.maps, least.reduces, least.map_us), (1, 0, 1_000_000));
    assert_eq!(conversion.tasks(3, &job(1, 1)).len(), 2);
}

#[test]
fn gavel_has_its_known_totals_and_rates() {
    let mut total = 0;
    let rates = gavel::Rates::new(all(&shipped("gavel/isolated_throughputs.tsv"), gavel::RateRows));
    for (name, count) in [("0e4a51", 1181), ("11cb48", 2000), ("7f04ca", 972), ("ee9e8c", 2000)] {
        let jobs = all(&shipped(&format!("gavel/vc_{name}.tsv.gz")), gavel::Jobs);
        assert_eq!(jobs.len(), count, "{name}");
        total += jobs.len();
        assert!(jobs.iter().filter(|job| rates.run_us(job, "v100").is_some()).count() > count / 2, "{name}");
    }
    assert_eq!(total, 6153);
    let job = gavel::Job { job_type: "A3C".to_owned(), steps: 3_438_768, arrival_us: 0, gpus: 1 };
    assert_eq!(rates.run_us(&job, "k80"), Some(1_000_000_000_000));
    assert_eq!(rates.run_us(&job, "h100"), None);
}

#[test]
fn the_omega_cell_is_read() {
    let state = all(&shipped("omega/init_cluster_state.log"), omega::State);
    assert_eq!(state.len(), 5);
    let first = omega::Initial::Runs {
        job: 49_475_829_738_997_701,
        is_service: true,
        tasks: 1,
        cpus_milli: 170,
        mem_bytes: 524_288_000,
    };
    assert_eq!(state[0], first);
    assert_eq!(state[3], omega::Initial::Ends { job: 610_339_428_128_088_085, end_us: 6_844_149 });
    for name in ["csizes_cmb.log", "interarrival_cmb.log", "runtimes_cmb.log"] {
        let samples = all(&shipped(&format!("omega/{name}")), omega::Samples);
        assert_eq!((samples.len(), samples.iter().filter(|one| one.is_service).count()), (20, 10), "{name}");
    }
}

#[test]
fn alibaba_has_its_known_totals() {
    if let Some(path) = shared("alibaba-dlrm-2025/disaggregated_DLRM_trace.csv.gz") {
        let instances = all(&path, alibaba::Instances::default());
        let applications: std::collections::BTreeSet<&str> =
            instances.iter().map(|one| one.task.tenant.as_str()).collect();
        assert_eq!((instances.len(), applications.len()), (23_871, 156));
        assert_eq!(instances.iter().filter(|one| one.is_gpu_node).count(), 7386);
        assert_eq!(instances.iter().filter(|one| one.task.run_us.is_none()).count(), 8878);
    }
    if let Some(path) = shared("alibaba-spot-gpu-2026/node_info_df.csv.gz") {
        let nodes = all(&path, alibaba::Fleet);
        assert_eq!((nodes.len(), nodes.iter().map(|node| node.gpus).sum::<u32>()), (4278, 10_412));
        assert_eq!(nodes.iter().map(|node| node.cpus_milli).sum::<u64>(), 632_636_000);
    }
}

#[test]
fn archive_logs_have_their_known_totals() {
    let table = [("SDSC-SP2-1998-4.2-cln", 59_715, 53_999, 128), ("LCG-2005-1", 188_041, 187_520, 24_515)];
    for (name, entries, jobs, processors) in table {
        let Some(path) = shared(&format!("swf-parallel-workloads/{name}.swf.gz")) else { continue };
        let log = swf::read(&path, swf::Options::default()).expect("the log");
        assert_eq!((log.entries, log.jobs.len(), log.processors), (entries, jobs, processors), "{name}");
        assert!(!log.acknowledge.is_empty(), "{name}: nobody to thank");
    }
}

#[test]
fn what_is_written_natively_is_read_back() {
    let task = Task {
        job: 3,
        task: 1,
        tenant: "a, \"b\"".to_owned(),
        submit_us: 5,
        run_us: None,
        planned_us: Some(9),
        cpus_milli: 500,
        mem_mib: 7,
        gpus: 1,
        gpu_milli: 250,
        gpu_types: vec!["T4".to_owned(), "V100".to_owned()],
        priority: -2,
    };
    let tasks = vec![task, Task::default()];
    let mut text = Vec::new();
    native::write_tasks(tasks.clone(), &mut text).expect("into memory");
    let rows = Rows::bytes(Box::leak(text.into_boxed_slice()), "tasks.csv", native::Tasks, Strictness::Strict);
    assert_eq!(rows.expect("opens").collect_all().expect("sound").0, tasks);
    let nodes = vec![Node { name: "n,1".to_owned(), cpus_milli: 4000, mem_mib: 1, gpus: 2, gpu_type: "T4".to_owned() }];
    let mut text = Vec::new();
    native::write_nodes(nodes.clone(), &mut text).expect("into memory");
    let rows = Rows::bytes(Box::leak(text.into_boxed_slice()), "nodes.csv", native::Nodes, Strictness::Strict);
    assert_eq!(rows.expect("opens").collect_all().expect("sound").0, nodes);
    let broken = Task { tenant: "a\nb".to_owned(), ..Task::default() };
    assert!(native::write_tasks([broken], &mut Vec::new()).is_err());
}

#[test]
fn every_shipped_format_is_converted() {
    let files = [
        ("openb", "openb/pod_list_default.csv.gz", 8152),
        ("openb-nodes", "openb/node_list_gpu_node.csv.gz", 1213),
        ("gavel", "gavel/vc_0e4a51.tsv.gz", 1),
    ];
    for (format, name, least) in files {
        let mut text = Vec::new();
        convert::convert(format, &shipped(name), Strictness::Strict, convert::Written::Csv, &mut text)
            .unwrap_or_else(|error| panic!("{error}"));
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        assert!(lines > least, "{format}: {lines}");
        assert!(convert::FORMATS.iter().any(|known| known.0 == format));
    }
    let unknown = convert::convert("csv", &shipped("x"), Strictness::Strict, convert::Written::Csv, &mut Vec::new());
    assert_eq!(unknown.expect_err("unknown").to_string(), "no workload format is called \"csv\"");
    let nodes = shipped("openb/node_list_gpu_node.csv.gz");
    let mistaken = convert::tasks("auto", &nodes, Strictness::Strict).expect_err("machines are no tasks").to_string();
    assert!(mistaken.contains("\"openb-nodes\", and tasks are wanted"), "{mistaken}");
}

#[test]
fn headers_of_logs_are_read_as_people_write_them() {
    let folder = std::env::temp_dir().join(format!("kaon-swf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let row = "1 0 0 60 4 -1 -1 4 100 -1 1 1 1 1 1 1 -1 -1\n";
    let read = |name: &str, header: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, [header, row.as_bytes()].concat()).expect("a file");
        swf::read(&path, swf::Options::default())
    };
    for header in [
        &b"; Installation: K\xf6ln\n; MaxProcs: 80\n"[..],
        b"; MaxProcs: 80 (20 x 4)\n",
        b";maxprocs = 80\n",
        b"; MaxProcs: 80\r\n",
        b"\xef\xbb\xbf; MaxProcs:80\n",
    ] {
        let log = read("a.swf", header).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((log.processors, log.jobs.len()), (80, 1), "{}", String::from_utf8_lossy(header));
    }
    assert_eq!(read("b.swf", b"; MaxProcs: 12,800\n").map(|log| log.processors).ok(), Some(12_800));
    let error = read("c.swf", b"; MaxNodes: 8\n").expect_err("nodes are no processors").to_string();
    assert!(error.contains("MaxNodes, 8") && error.contains("cluster.processors"), "{error}");
    let pods = folder.join("pods.csv");
    std::fs::write(&pods, "name,cpu_milli,num_gpu\na,1,1\n").expect("a file");
    let error = convert::tasks("auto", &pods, Strictness::Strict).expect_err("a column is missing").to_string();
    assert!(error.contains("openb has a column gpu_milli"), "{error}");
    std::fs::remove_dir_all(&folder).expect("our folder");
}
