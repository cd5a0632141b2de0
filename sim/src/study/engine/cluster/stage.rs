//! What a scenario of a whole cluster says beyond numbers: nodes, frameworks, network, troubles, churn.

use super::super::input::{self, Left, Tenants};
use crate::stage::{Behaviour, Churn, Group, Incident, Listed, Network, Stage, Trouble, Whom, Work};
use crate::study::error::Error;
use crate::study::scenario::Settings;
use crate::workload::hwloc;
use crate::workload::model::Task;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::time::Duration;
use std::path::Path;

fn time(settings: &Settings, key: &str) -> Duration {
    Duration::micros(settings.micros(key).unsigned_abs())
}

fn small(settings: &Settings, key: &str) -> u32 {
    u32::try_from(settings.count(key)).unwrap_or(u32::MAX)
}

fn cores(settings: &Settings, key: &str) -> Quantity {
    Quantity(input::milli(settings, key))
}

/// Reads all of it. `Stage::wait` is the policy's.
pub(super) fn read(settings: &Settings, left: &mut Left) -> Result<Stage, Error> {
    let has_list = settings.path("cluster.nodes").is_some() || !settings.rows("cluster.group").is_empty();
    let sizes = if has_list {
        let nodes = input::nodes(settings, left)?;
        nodes.iter().map(|node| (Quantity(node.cpus_milli), Quantity::units(node.mem_mib))).collect()
    } else {
        topology(settings)?
    };
    let mut groups = settings.rows("framework").iter().map(group).collect::<Result<Vec<_>, _>>()?;
    super::super::words(settings.rows("framework"))?;
    if let Some(path) = settings.path("workload.tasks") {
        groups.push(trace(path, settings, left)?);
    }
    let incidents = settings.rows("trouble").iter().map(incident).collect::<Result<_, _>>()?;
    Ok(Stage {
        sizes,
        rack: small(settings, "cluster.rack"),
        zone: small(settings, "cluster.zone"),
        groups,
        network: network(settings)?,
        incidents,
        churn: Churn {
            joining: small(settings, "churn.joining"),
            over: time(settings, "churn.over"),
            failing: time(settings, "churn.failing"),
            away: time(settings, "churn.away"),
            until: time(settings, "churn.until"),
        },
        is_recorded: true,
        ..Stage::default()
    })
}

/// Machines that hwloc has written down: so many of each file, all of its processing units and memory.
fn topology(settings: &Settings) -> Result<Vec<(Quantity, Quantity)>, Error> {
    let mut sizes = Vec::new();
    for row in settings.rows("cluster.hwloc") {
        let Some(path) = row.path("file") else { continue };
        let text = hwloc::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let (units, bytes) = hwloc::size(&text).map_err(|why| Error::Input { path: path.to_owned(), why })?;
        let size = (Quantity::units(units), Quantity::units(bytes >> 20));
        sizes.extend((0..row.count("count")).map(|_| size));
    }
    Ok(sizes)
}

fn network(settings: &Settings) -> Result<Option<Network>, Error> {
    let (least, most) = settings.span("network.latency");
    if least < 1 {
        return Err(settings.wrong("network.latency", "must be at least a microsecond"));
    }
    let parts = |key: &str| (settings.number(key) * 1e4).round() as u32;
    Ok(Some(Network {
        least: Duration::micros(least.unsigned_abs()),
        spread: Duration::micros((most - least).unsigned_abs()),
        tail_parts: parts("network.tail_percent"),
        loss_parts: parts("network.loss_percent"),
        lossy: time(settings, "network.lossy"),
        bytes_per_second: (settings.number("network.gigabits") * 1e9 / 8.0) as u64,
    }))
}

fn group(row: &Settings) -> Result<Group, Error> {
    let (size, holding) = (small(row, "gang"), time(row, "holding"));
    let behaviour = match row.text("behaviour") {
        "service" => Behaviour::Service,
        "gang" => Behaviour::Gang { size, holding },
        "mpi" => Behaviour::Mpi { size, holding },
        "spark" => Behaviour::Spark { executors: small(row, "executors"), refusal: time(row, "refusal") },
        "hoarder" => Behaviour::Hoarder { holding },
        "crash-looper" => Behaviour::CrashLooper { attempts: small(row, "attempts") },
        _ => Behaviour::Batch,
    };
    let work = Work::Drawn {
        tasks: small(row, "tasks"),
        cpus: cores(row, "cpus"),
        mem: Quantity::units(row.mebibytes("memory")),
        lengths: input::law(row, "lengths", 1.0)?,
        gap: time(row, "gap"),
    };
    Ok(Group {
        name: row.text("name").to_owned(),
        frameworks: small(row, "count"),
        behaviour,
        class: small(row, "class"),
        replicas: small(row, "replicas"),
        wait: time(row, "wait"),
        work,
    })
}

/// The tasks of a trace, spread over as many frameworks as the scenario has: those of a tenant go to one. GPUs are not part of
/// this cluster's machines, so a task needs its processors and memory alone.
fn trace(path: &Path, settings: &Settings, left: &mut Left) -> Result<Group, Error> {
    let listed = input::tasks(path, settings, left)?;
    let tenants = Tenants::of(&listed);
    let frameworks = small(settings, "frameworks.count");
    let mut lists = vec![Vec::new(); frameworks as usize];
    let begin = listed.iter().map(|task| task.submit_us).min().unwrap_or(0);
    let most = settings.count("workload.count");
    let mut dropped = 0;
    let ordered = |tasks: &[Task]| {
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.sort_by_key(|index| tasks[*index].submit_us);
        order
    };
    for task in
        ordered(&listed).into_iter().map(|index| &listed[index]).take(usize::try_from(most).unwrap_or(usize::MAX))
    {
        let Some(run_us) = task.run_us else {
            dropped += 1;
            continue;
        };
        // Where nobody is named, jobs take turns.
        let whose = if task.tenant.is_empty() { task.job } else { tenants.number(&task.tenant).into() };
        lists[(whose % u64::from(frameworks)) as usize].push(Listed {
            job: task.job,
            submit: Duration::micros((task.submit_us - begin).unsigned_abs()),
            length: Duration::micros(run_us.unsigned_abs()),
            cpus: Quantity(task.cpus_milli),
            mem: Quantity::units(task.mem_mib),
        });
    }
    left.drop(path, dropped, "tasks do not end within the trace");
    Ok(Group {
        name: "trace".to_owned(),
        frameworks,
        behaviour: Behaviour::Batch,
        class: 0,
        replicas: 0,
        wait: Duration::ZERO,
        work: Work::Listed(lists),
    })
}

fn incident(row: &Settings) -> Result<Incident, Error> {
    let word = row.text("what");
    let trouble = Trouble::ALL.iter().find(|(_, one)| *one == word).map(|(trouble, _)| *trouble);
    let trouble = trouble.ok_or_else(|| row.wrong("what", format_args!("is no trouble: {word}")))?;
    let whom: Whom = row.text("whom").parse().map_err(|why| row.wrong("whom", format_args!("{why}")))?;
    let is_line = matches!(
        trouble,
        Trouble::Partition | Trouble::PartitionTo | Trouble::PartitionFrom | Trouble::Flapping | Trouble::Executor
    );
    let is_nothing_to = trouble == Trouble::Executor && matches!(whom, Whom::Framework(_));
    if is_line && whom == Whom::Master || is_nothing_to {
        return Err(row.wrong("whom", format_args!("must name agents for '{word}', as in agents:100%")));
    }
    if trouble.is_an_operators() && matches!(whom, Whom::Master | Whom::Framework(_)) {
        return Err(row.wrong("whom", format_args!("must name agents for '{word}', as in agent:1")));
    }
    Ok(Incident { at: time(row, "at"), length: time(row, "for"), trouble, whom })
}

/// Refuses what strikes nobody, or somebody else than it names.
pub(super) fn check_targets(settings: &Settings, stage: &Stage, agents: u32, frameworks: u32) -> Result<(), Error> {
    let parts = |count: u32, size: u32| if size > 0 { count.div_ceil(size) } else { 0 };
    let racks = parts(agents, stage.rack);
    let zones = parts(racks, stage.zone);
    let among = |what: &str, number: u32, first: u32, count: u32| match count {
        0 => Err(format!("strikes nobody: there are no {what}s")),
        _ if (first..first + count).contains(&number) => Ok(()),
        _ => Err(format!("strikes nobody: {what}s are numbered {first} to {}", first + count - 1)),
    };
    for (incident, row) in stage.incidents.iter().zip(settings.rows("trouble")) {
        let there_is = match incident.whom {
            Whom::Master => Ok(()),
            Whom::Agent(number) => among("agent", number, 1, agents),
            Whom::Rack(number) => among("rack", number, 0, racks),
            Whom::Zone(number) => among("zone", number, 0, zones),
            Whom::Percent(percent) if (1..=100).contains(&percent) => Ok(()),
            Whom::Percent(_) => Err("must be agents:1% to agents:100%".to_owned()),
            Whom::Framework(number) => among("framework", number, 0, frameworks),
        };
        there_is.map_err(|why| row.wrong("whom", why))?;
    }
    match stage.churn.joining > agents {
        true => Err(settings.wrong("churn.joining", format_args!("is more than the {agents} agents that there are"))),
        false => Ok(()),
    }
}

/// Drops the tasks of a trace that fit on no machine, which would wait for ever.
pub(super) fn drop_unfit(
    settings: &Settings,
    stage: &mut Stage,
    alike: (Quantity, Quantity),
    left: &mut Left,
) -> Result<(), Error> {
    let largest = stage.sizes.iter().copied().max().unwrap_or(alike);
    let fits = |cpus: Quantity, mem: Quantity| match stage.sizes.is_empty() {
        true => cpus <= largest.0 && mem <= largest.1,
        false => stage.sizes.iter().any(|size| cpus <= size.0 && mem <= size.1),
    };
    let mut count = 0;
    // The group of a trace is the last one and has no row.
    for (number, group) in stage.groups.iter_mut().enumerate() {
        match &mut group.work {
            Work::Listed(lists) => {
                for list in lists {
                    let before = list.len();
                    list.retain(|task| fits(task.cpus, task.mem));
                    count += (before - list.len()) as u64;
                }
            }
            Work::Drawn { cpus, mem, .. } if !fits(*cpus, *mem) => {
                let why = format!("a task of framework {} fits on no machine", group.name);
                let row = settings.rows("framework").get(number);
                return Err(row.map_or(Error::Unfit(why.clone()), |row| row.refused(why)));
            }
            Work::Drawn { .. } => {}
        }
    }
    left.drop(Path::new("workload.tasks"), count, "tasks fit on no machine");
    Ok(())
}
