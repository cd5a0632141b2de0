//! What studies give: the openb mixes against their published results, and the set-ups of the Mesos paper on whole clusters.

use kaon_sim::study::{Request, Scenario, Spread, Study, Summary};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::path::Path;

/// Policies as we call them and as the published results do, in the order in which they are published.
const POLICIES: [(&str, &str); 6] = [
    ("random", "01-Random"),
    ("dot-product", "02-DotProd"),
    ("gpu-clustering", "03-GpuClustering"),
    ("gpu-packing", "04-GpuPacking"),
    ("best-fit", "05-BestFit"),
    ("fgd", "06-FGD"),
];
/// The mixes of tasks.
const MIXES: [&str; 9] =
    ["default", "cpu050", "cpu100", "gpushare40", "gpushare60", "gpuspec10", "gpuspec20", "multigpu20", "multigpu30"];
/// Metric, published table, its column: what is compared.
const COMPARED: [(&str, &str, &str); 3] = [
    ("gpu_allocation_ratio_at_130", "alloc_ratio.csv.gz", "130"),
    ("fragmentation_ratio_at_50", "frag_ratio.csv.gz", "50"),
    ("fragmentation_ratio_at_90", "frag_ratio.csv.gz", "90"),
];
/// The rule of acceptance: the means differ by at most this plus twice the combined standard error.
const APART_MAX: f64 = 0.3;

fn study(scenario: &str, overrides: &[String]) -> Result<Summary, Box<dyn Error>> {
    let scenario = Scenario::open(Path::new(scenario), overrides)?;
    Ok(Study::open(scenario)?.run(&Request::default(), &|_| ())?)
}

/// Means and squared standard errors, by mix and policy.
type Means = BTreeMap<(String, String), (f64, f64)>;

/// A published table's column.
fn published(file: &Path, column: &str) -> Result<Means, Box<dyn Error>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file)?).read_to_string(&mut text)?;
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().ok_or("an empty table")?;
    let place = |name: &str| header.iter().position(|one| *one == name).ok_or("a column is missing");
    let (mix, policy, value) = (place("workload")?, place("sc_policy")?, place(column)?);
    let mut values = BTreeMap::<(String, String), Vec<f64>>::new();
    for row in rows {
        let key = (row[mix].trim_start_matches("openb_pod_list_").to_owned(), row[policy].to_owned());
        values.entry(key).or_default().push(row[value].parse()?);
    }
    let spread = |(key, values): ((String, String), Vec<f64>)| {
        Spread::of(&values).map(|spread| (key, (spread.mean, spread.sd.unwrap_or(0.0).powi(2) / values.len() as f64)))
    };
    Ok(values.into_iter().filter_map(spread).collect())
}

/// All mixes under all policies with ten seeds; `traces` holds the folder with the published tables.
pub(crate) fn openb(traces: &Path) -> Result<(), Box<dyn Error>> {
    println!("\n## GPU sharing on openb\n");
    println!(
        "`kaon sim run openb --set workload.tasks=shipped:openb/pod_list_MIX.csv.gz`, ten seeds of our own against ten published ones"
    );
    println!(
        "(Weng et al., USENIX ATC 2023): percent allocated when 130 % has arrived, fragmentation ratio at 50 % and 90 %. A row is met when"
    );
    println!("each mean is at most 0.3 plus twice the combined standard error from the published one.\n");
    let expected = traces.join("openb-gpu-2023/expected");
    if !expected.is_dir() {
        println!("The published tables are not here.");
        return Ok(());
    }
    println!(
        "| mix | policy | allocated: published | ours | at 50: published | ours | at 90: published | ours | met |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let tables = COMPARED.iter().map(|(_, file, column)| published(&expected.join(file), column));
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    for mix in MIXES {
        let tasks = format!("workload.tasks=shipped:openb/pod_list_{mix}.csv.gz");
        let summary = study("openb", &[tasks, "output.tasks=false".to_owned()])?;
        for (name, theirs) in POLICIES {
            let found = summary.policies.iter().find(|policy| policy.policy == name).ok_or("a policy is missing")?;
            let mut cells = String::new();
            let mut is_met = true;
            for ((metric, ..), table) in COMPARED.iter().zip(&tables) {
                let ours = found.metrics.get(*metric).ok_or("a metric is missing")?;
                let error = ours.sd.unwrap_or(0.0).powi(2) / found.seeds.len() as f64;
                let Some((mean, their_error)) = table.get(&(mix.to_owned(), theirs.to_owned())) else {
                    cells.push_str(&format!(" | {:.2} |", ours.mean));
                    continue;
                };
                is_met &= (ours.mean - mean).abs() <= APART_MAX + 2.0 * (error + their_error).sqrt();
                cells.push_str(&format!(" {mean:.2} | {:.2} |", ours.mean));
            }
            println!("| {mix} | {name} |{cells} {} |", if is_met { "yes" } else { "no" });
        }
    }
    Ok(())
}

/// The set-ups of the Mesos paper, every actor and message.
pub(crate) fn mesos() -> Result<(), Box<dyn Error>> {
    println!("\n## Set-ups of the Mesos paper, every message\n");
    println!(
        "`kaon sim run mesos-scale --set cluster.agents=N`, 200 frameworks with two tasks an agent in all at a time and three rounds of them,"
    );
    println!(
        "30 ± 10 s each; extra delay of the probe's tasks of 10 s. The paper: below 1 s at every size up to 50,000.\n"
    );
    println!("| agents | tasks | extra delay: mean in s | largest in s | failures | events |");
    println!("|---|---|---|---|---|---|");
    for agents in [50, 500, 2000, 5000, 10_000] {
        let tasks = (agents * 6_u32).div_ceil(200);
        let groups = format!(
            "framework=[{{name='busy',count=200,tasks={tasks},cpus=1.5,memory='1 GiB',lengths='20..40'}},\
             {{name='probe',tasks=10,cpus=0.5,memory='512 MiB',lengths='10',gap='8 s'}}]"
        );
        let summary = study("mesos-scale", &[format!("cluster.agents={agents}"), groups])?;
        let metric = |name: &str| summary.policies[0].metrics.get(name).map_or(f64::NAN, |spread| spread.mean);
        println!(
            "| {agents} | {} | {:.3} | {:.3} | {} | {} |",
            metric("tasks"),
            metric("extra_delay_probe_mean"),
            metric("extra_delay_probe_max"),
            metric("failures"),
            metric("events")
        );
    }
    println!(
        "\n`kaon sim run mesos-failover --set cluster.agents=N`: from the fall of the master until all agents are back, three seeds."
    );
    println!("The paper: 4 to 8 s, within 10 s, for 200 to 4,000 agents.\n");
    println!("| agents | mean in s | largest in s | tasks launched anew | failures |");
    println!("|---|---|---|---|---|");
    for agents in [200, 1000, 2000, 4000] {
        let summary = study("mesos-failover", &[format!("cluster.agents={agents}")])?;
        let policy = &summary.policies[0];
        let each =
            |name: &str| policy.seeds.iter().filter_map(|seed| seed.metrics.get(name).copied()).collect::<Vec<_>>();
        let back = each("agents_back_seconds_max");
        let mean = Spread::of(&back).map_or(f64::NAN, |spread| spread.mean);
        let largest = back.iter().copied().fold(f64::NAN, f64::max);
        let sum = |name: &str| each(name).iter().sum::<f64>();
        println!("| {agents} | {mean:.2} | {largest:.2} | {} | {} |", sum("tasks_relaunched"), sum("failures"));
    }
    println!(
        "\n`kaon sim run mesos-delay`: parts of tasks beside their data, three seeds. The paper (16 Hadoop instances): about half without"
    );
    println!("waiting, 90 % with 1 s, 95 % with 5 s.\n");
    println!("| wait | beside their data | mean completion time in s |");
    println!("|---|---|---|");
    for policy in study("mesos-delay", &[])?.policies {
        let metric = |name: &str| policy.metrics.get(name).map_or(f64::NAN, |spread| spread.mean);
        println!("| {} | {:.1} % | {:.1} |", policy.policy, metric("locality_node") * 100.0, metric("jct_mean"));
    }
    Ok(())
}
