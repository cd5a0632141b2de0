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

/// Every legal way to write a table down: the same rows come out of each.
fn ways(text: &str, columns: Option<char>) -> Vec<Vec<u8>> {
    let mut ways: Vec<String> = vec![
        text.replace('\n', "\r\n"),
        text.replace('\n', "\r"),
        text.replace('\n', "\n\n \n"),
        format!("\u{feff}{text}"),
        text.trim_end().to_owned(),
    ];
    match columns {
        // In the other order, one more of them, in quotes, and with blanks around.
        Some(mark) => {
            let lines = |change: &dyn Fn(&str) -> String| text.lines().map(|line| change(line) + "\n").collect();
            let joined = |fields: Vec<String>| fields.join(&mark.to_string());
            ways.push(lines(&|line| joined(line.split(mark).rev().map(str::to_owned).collect())));
            ways.push(lines(&|line| format!("more{mark}{line}{mark}more")));
            ways.push(lines(&|line| joined(line.split(mark).map(|field| format!("\"{field}\"")).collect())));
            ways.push(lines(&|line| joined(line.split(mark).map(|field| format!(" {field} ")).collect())));
            ways.push(text.replacen(
                text.lines().next().unwrap_or(""),
                &text.lines().next().unwrap_or("").to_uppercase(),
                1,
            ));
        }
        None => ways.push(text.replace(' ', " \t ").replace('\n', " \n  ")),
    }
    let mut ways: Vec<Vec<u8>> = ways.into_iter().map(String::into_bytes).collect();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, text.as_bytes()).expect("into memory");
    ways.push(packer.finish().expect("into memory"));
    ways.push(ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest));
    ways
}

/// Reads a table in every way, and answers with its rows.
fn every_way<F: Format>(text: &str, columns: Option<char>, format: impl Fn() -> F) -> Vec<F::Row>
where
    F::Row: PartialEq + std::fmt::Debug,
{
    let read = |bytes: Vec<u8>| {
        let bytes: &'static [u8] = Box::leak(bytes.into());
        let rows = Rows::bytes(bytes, "table", format(), Strictness::Strict).and_then(Rows::collect_all);
        rows.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(bytes))).0
    };
    let rows = read(text.as_bytes().to_vec());
    for way in ways(text, columns) {
        assert_eq!(read(way.clone()), rows, "{:?}", String::from_utf8_lossy(&way));
    }
    rows
}

/// The one row of a table, or what is wrong with it.
fn one<F: Format>(header: &str, row: &str, format: F) -> Result<F::Row, String> {
    let bytes: &'static [u8] = Box::leak(format!("{header}{row}\n").into_bytes().into());
    let rows = Rows::bytes(bytes, "table", format, Strictness::Strict).and_then(Rows::collect_all);
    rows.map(|mut all| all.0.remove(0)).map_err(|error| error.to_string())
}

#[test]
fn gavels_tables_are_read_however_they_are_written() {
    const HEADER: &str = "job_type\ttotal_steps\tarrival_s\tscale_factor\n";
    let jobs = every_way(&format!("{HEADER}A3C\t95121\t0.5\t1\nLM (batch size 80)\t1e3\t6\t2.0\n"), Some('\t'), || {
        gavel::Jobs
    });
    let last = gavel::Job { job_type: "LM (batch size 80)".to_owned(), steps: 1000, arrival_us: 6_000_000, gpus: 2 };
    assert_eq!(jobs[1], last);
    let rates = "job_type\tscale_factor\tgpu_type\tsteps_per_s\nA3C\t1\tv100\t4.5\nA3C\t2\tv100\t0\n";
    let rates = gavel::Rates::new(every_way(rates, Some('\t'), || gavel::RateRows));
    assert_eq!(rates.run_us(&jobs[0], "v100"), Some(21_138_000_000));
    // Nothing to do is done at once; what no clock holds has no length.
    let idle = one(HEADER, "A3C\t0\t0\t1", gavel::Jobs).expect("sound");
    assert_eq!(rates.run_us(&idle, "v100"), Some(0));
    let huge = one(HEADER, "A3C\t1125899906842624\t3000000000\t1024", gavel::Jobs).expect("at every bound");
    assert_eq!((huge.steps, huge.gpus), (1 << 50, 1024));
    for row in [
        "A3C\t1125899906842625\t0\t1",
        "A3C\t1\t4e12\t1",
        "A3C\t1\t0\t1025",
        "A3C\t1\t0\t0",
        "\t1\t0\t1",
        "A3C\t-1\t0\t1",
    ] {
        let error = one(HEADER, row, gavel::Jobs).expect_err(row);
        assert!(error.starts_with("table:2: "), "{error}");
    }
}

#[test]
fn omegas_logs_are_read_however_they_are_written() {
    let state = "11 0.0 1 1 3 2 0.17 524288000\n11 0 2 0 0 1 1e-3 1.5e7\n12 6.844149 2 0 0\n";
    let state = every_way(state, None, || omega::State);
    assert_eq!(state[2], omega::Initial::Ends { job: 2, end_us: 6_844_149 });
    let runs = omega::Initial::Runs { job: 2, is_service: false, tasks: 1, cpus_milli: 1, mem_bytes: 15_000_000 };
    assert_eq!(state[1], runs);
    let samples = every_way("cell cmb-new 0 2.5\ncell cmb-new 1 0\ncell cmb-new 1 1e6\n", None, || omega::Samples);
    let values: Vec<(bool, u64)> = samples.iter().map(|one| (one.is_service, one.value_millionths)).collect();
    assert_eq!(values, [(false, 2_500_000), (true, 0), (true, 1_000_000_000_000)]);
    let last = one("", "11 0 18446744073709551615 1 2 2147483648 1e12 9e18", omega::State).expect("at every bound");
    assert!(matches!(last, omega::Initial::Runs { job: u64::MAX, tasks: 2_147_483_648, .. }), "{last:?}");
    for row in ["13 0 1 0 0", "11 0 1 0 4 1 1 1", "11 0 1 2 0 1 1 1", "12 4e12 1 0 0", "11 0 1 0 0 1 1 1e19", "11 0 1"]
    {
        assert!(one("", row, omega::State).is_err(), "{row}");
    }
    for row in ["cell cmb-new 2 1", "cell cmb-new 0 -1", "cell cmb-new 0", "cell cmb-new 0 inf"] {
        assert!(one("", row, omega::Samples).is_err(), "{row}");
    }
}

#[test]
fn alibabas_tables_are_read_however_they_are_written() {
    const HEADER: &str = "instance_sn,role,app_name,cpu_request,gpu_request,rdma_request,memory_request,disk_request,\
                          max_instance_per_node,creation_time,deletion_time\n";
    let text = format!("{HEADER}i0,HN,app_0,12,1,25,120.0,640.0,8,,\ni1,CN,app_1,0.5,0,0,1e1,0,-1,60,3600.25\n");
    let all = every_way(&text, Some(','), alibaba::Instances::default);
    assert_eq!((all[0].task.run_us, all[0].per_node_max, all[0].task.gpus), (None, Some(8), 1));
    assert_eq!((all[1].task.submit_us, all[1].task.run_us), (60_000_000, Some(3_540_250_000)));
    assert_eq!((all[1].task.cpus_milli, all[1].task.mem_mib), (500, 10_240));
    // Gone as it came; and what is not said is not asked for.
    let bare = one(HEADER, "i,CN,app,1,,,1,,,60,60", alibaba::Instances::default()).expect("sound");
    assert_eq!((bare.task.run_us, bare.task.gpus, bare.per_node_max, bare.disk_mib), (Some(0), 0, None, 0));
    for row in [
        "i,XN,app,1,0,0,1,0,-1,,",
        "i,CN,app,1,0.5,0,1,0,-1,,",
        "i,CN,app,1,0,101,1,0,-1,,",
        "i,CN,app,1,0,0,1,0,0,,",
        "i,CN,app,1,0,0,1,0,-1,60,59",
        "i,CN,app,,0,0,1,0,-1,,",
        "i,CN,app,1,0,0,1e18,0,-1,,",
        "i,CN,app,1,0,0,1,0,-1,4e12,",
    ] {
        let error = one(HEADER, row, alibaba::Instances::default()).err();
        assert!(error.as_ref().is_some_and(|error| error.starts_with("table:2: ")), "{row}: {error:?}");
    }
    const FLEET: &str = "gpu_model,gpu_capacity_num,cpu_num,node_name\n";
    let nodes = every_way(&format!("{FLEET}A10,4,192,0\nH800,8.0,1e2,1\n"), Some(','), || alibaba::Fleet);
    assert_eq!((nodes[1].gpus, nodes[1].cpus_milli, nodes[1].name.as_str()), (8, 100_000, "1"));
    let plain = one(FLEET, "A10,0,64,n", alibaba::Fleet).expect("a machine without GPUs");
    assert_eq!((plain.gpus, plain.gpu_type.as_str()), (0, ""));
    for row in ["A10,1025,64,n", "A10,1,-1,n", "A10,1,1e15,n", "A10,1,64", "A10,one,64,n"] {
        assert!(one(FLEET, row, alibaba::Fleet).is_err(), "{row}");
    }
}
