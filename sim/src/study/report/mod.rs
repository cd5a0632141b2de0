//! The report of a study: one page of HTML that needs nothing else, with the plots that one would draw anyway. It reads on
//! a light screen, on a dark one and on paper.

mod axis;
mod plot;

#[cfg(test)]
mod tests;

use super::figures::{Curve, Figures};
use super::metrics::timeline::TENANTS_SHOWN;
use super::runner::Findings;
use super::summary::Summary;
use crate::table::Table;
use axis::{Spacing, Unit, number};
use plot::{Labels, Series, areas, dots, escape, gantt, lines};
use std::fmt::Write as _;

/// So many of them are drawn.
const DRAWN: usize = 6;

/// The page.
pub(super) fn html(findings: &Findings) -> String {
    let Findings { summary, figures } = findings;
    let mut page = String::with_capacity(1 << 18);
    page.push_str("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let name = escape(&summary.scenario);
    let mut put = |text: &str| page.push_str(text);
    put(&format!("<title>{name} - Kaon</title><style>{}</style><body>", include_str!("style.css")));
    put(&head(summary));
    put(&section("Policy against policy", &against(summary)));
    put(&table_of(summary));
    let seed = figures.first().map_or(0, |one| one.seed);
    put(&section(&format!("Over the run (seed {seed})"), &course(figures)));
    put(&section(&format!("Distributions (seed {seed})"), &distributions(figures)));
    put(&section(&format!("Shares by tenant (seed {seed})"), &shares(figures)));
    put(&section(&format!("A stretch of the schedule (seed {seed})"), &schedules(figures)));
    put(&end(summary));
    put("</body></html>\n");
    page
}

fn section(title: &str, plots: &str) -> String {
    if plots.is_empty() {
        return String::new();
    }
    format!("<h2>{}</h2><div class=\"plots\">{plots}</div>", escape(title))
}

fn head(summary: &Summary) -> String {
    let said = |key: &str| escape(summary.parameters.get(key).and_then(|value| value.as_str()).unwrap_or_default());
    let seeds = summary.policies.first().map_or(0, |policy| policy.seeds.len());
    let speed = &summary.speed;
    format!(
        "<h1>{}</h1><p><b>Question.</b> {}</p><p><b>Expected.</b> {}</p><p class=\"soft\">Policies: {}, seeds: {seeds}; \
         {} events in {} s of wall time ({} a second, {} runs at a time on {}).</p>",
        escape(&summary.scenario),
        said("question"),
        said("answer"),
        summary.policies.len(),
        number(speed.events as f64),
        number(speed.wall_seconds),
        number(speed.events_per_second),
        speed.jobs,
        escape(if speed.processor.is_empty() { "an unnamed processor" } else { &speed.processor }),
    )
}

fn against(summary: &Summary) -> String {
    if summary.policies.len() < 2 {
        return String::new();
    }
    let names = summary.headline().into_iter().filter(|name| *name != "events");
    let plot = |name: &str| {
        let row = |(number, policy): (usize, &super::PolicySummary)| {
            policy.metrics.get(name).map(|spread| (policy.policy.clone(), number, spread.mean, spread.ci95))
        };
        let rows: Vec<_> = summary.policies.iter().enumerate().filter_map(row).collect();
        // Where all are equal there is nothing to see.
        rows.iter().any(|one| one.2 != rows[0].2).then(|| dots(name, &rows))
    };
    names.filter_map(plot).take(DRAWN).collect()
}

/// A table of metrics, a column for each policy: the usual ones open, all of them folded.
fn table_of(summary: &Summary) -> String {
    let first = summary.headline();
    let rest: Vec<&str> = summary.metric_names().into_iter().filter(|name| !first.contains(name)).collect();
    let usual = rows(summary, &first);
    let all = rows(summary, &rest);
    format!(
        "<h2>Metrics</h2><p class=\"soft\">Mean over seeds, with half the width of its 95 % interval of confidence where there \
         are several. Times in seconds; percentiles by nearest rank.</p>{usual}\
         <details><summary>All other metrics</summary>{all}</details>"
    )
}

fn rows(summary: &Summary, names: &[&str]) -> String {
    let mut table = String::from("<div class=\"scroll\"><table><tr><th>metric</th>");
    for policy in &summary.policies {
        write!(table, "<th>{}</th>", escape(&policy.policy)).expect("a text takes what is written");
    }
    table.push_str("</tr>");
    for name in names {
        write!(table, "<tr><td>{}</td>", escape(name)).expect("a text takes what is written");
        for policy in &summary.policies {
            let cell = policy.metrics.get(*name).map_or_else(String::new, |spread| match spread.ci95 {
                Some([low, high]) => format!("{} &#177; {}", number(spread.mean), number((high - low) / 2.0)),
                None => number(spread.mean),
            });
            write!(table, "<td>{cell}</td>").expect("a text takes what is written");
        }
        table.push_str("</tr>");
    }
    table.push_str("</table></div>");
    table
}

/// The columns of the per-interval tables that are drawn, each with its title and unit.
const COURSES: &[(&str, &str, Unit)] = &[
    ("gpu_allocation_ratio", "GPU allocated", Unit::Percent),
    ("fragmentation_ratio", "Fragmented part of the idle GPU", Unit::Percent),
    ("fragmentation_amount", "Fragmented part of all GPU", Unit::Percent),
    ("utilisation_cpus", "CPU in use", Unit::Part),
    ("utilisation_mem", "Memory in use", Unit::Part),
    ("utilisation_gpus", "GPU in use", Unit::Part),
    ("queue_length", "Tasks waiting", Unit::Plain),
    ("running", "Tasks running", Unit::Plain),
];

fn course(figures: &[Figures]) -> String {
    let plot = |&(column, title, y_unit): &(&str, &str, Unit)| {
        let of = |(colour, one): (usize, &'_ Figures)| {
            let table = one.course.as_ref()?;
            Some((one.policy.clone(), colour, abscissa(table)?.0, table.real(column)?.to_vec()))
        };
        let found: Vec<_> = figures.iter().enumerate().filter_map(of).collect();
        let series: Vec<Series<'_>> = found
            .iter()
            .map(|(name, colour, x, y)| Series { name: name.clone(), colour: *colour, x: x.clone(), y })
            .collect();
        let (x, x_unit) = figures
            .iter()
            .find_map(|one| abscissa(one.course.as_ref()?).map(|(_, label, unit)| (label, unit)))
            .unwrap_or(("", Unit::Plain));
        let y = "";
        lines(&Labels { title, x, y, x_unit, y_unit, x_spacing: Spacing::Even }, &series)
    };
    COURSES.iter().map(plot).collect()
}

/// What a per-interval table goes along.
fn abscissa(table: &Table) -> Option<(Vec<f64>, &'static str, Unit)> {
    let time = || table.real("begin_seconds").map(|x| (x.to_vec(), "time since the first submit", Unit::Seconds));
    let load =
        || table.real("arrived_percent").map(|x| (x.to_vec(), "GPU request arrived, of capacity", Unit::Percent));
    let step = || table.real("step").map(|x| (x.to_vec(), "whole tasks given", Unit::Plain));
    time().or_else(load).or_else(step)
}

fn distributions(figures: &[Figures]) -> String {
    let plot = |title: &str, x: &str, x_unit: Unit, of: fn(&Figures) -> &Curve| {
        let split: Vec<(usize, &Figures, Vec<f64>, Vec<f64>)> = figures
            .iter()
            .enumerate()
            .filter(|(_, one)| !of(one).is_empty())
            .map(|(colour, one)| {
                (colour, one, of(one).iter().map(|p| p.0).collect(), of(one).iter().map(|p| p.1).collect())
            })
            .collect();
        let series: Vec<Series<'_>> = split
            .iter()
            .map(|(colour, one, x, y)| Series { name: one.policy.clone(), colour: *colour, x: x.clone(), y })
            .collect();
        let labels =
            Labels { title, x, y: "part of tasks", x_unit, y_unit: Unit::Part, x_spacing: Spacing::Magnitudes };
        lines(&labels, &series)
    };
    let waiting = plot("Waiting, cumulative", "queueing delay", Unit::Seconds, |one| &one.waiting);
    waiting + &plot("Bounded slowdown, cumulative", "bounded slowdown", Unit::Plain, |one| &one.slowdown)
}

fn shares(figures: &[Figures]) -> String {
    let plot = |one: &Figures| {
        let Some(table) = &one.course else { return String::new() };
        let Some((x, x_label, x_unit)) = abscissa(table) else { return String::new() };
        let columns = table.columns().iter().filter_map(|(name, _)| Some((name.strip_prefix("share_")?, name)));
        let columns: Vec<_> = columns.filter_map(|(tenant, name)| Some((tenant, table.real(name)?))).collect();
        let others = columns.iter().filter(|(tenant, _)| *tenant != "others").count();
        if others < 2 {
            // One tenant and nobody else: the plot of use says it all.
            return String::new();
        }
        let drawn = columns.iter().filter(|(_, y)| y.iter().any(|share| *share > 0.0));
        let series: Vec<Series<'_>> = drawn
            .map(|(tenant, y)| {
                let (name, colour) =
                    tenant.parse().map_or_else(|_| ((*tenant).to_owned(), TENANTS_SHOWN), |number| one.tenant(number));
                Series { name, colour, x: x.clone(), y }
            })
            .collect();
        let title = format!("Dominant shares, {}", one.policy);
        let labels = Labels { title: &title, x: x_label, y: "", x_unit, y_unit: Unit::Part, x_spacing: Spacing::Even };
        areas(&labels, &series)
    };
    figures.iter().map(plot).collect()
}

fn schedules(figures: &[Figures]) -> String {
    let plot = |one: &Figures| {
        let title = format!("{} tasks from the middle of the run, {}", one.bars.len(), one.policy);
        let labels = Labels {
            title: &title,
            x: "time since the first submit",
            y: "lane",
            x_unit: Unit::Seconds,
            y_unit: Unit::Plain,
            x_spacing: Spacing::Even,
        };
        gantt(&labels, &one.bars, &|tenant| one.tenant(tenant))
    };
    figures.iter().map(plot).collect()
}

fn end(summary: &Summary) -> String {
    let mut text = String::from("<h2>How it was made</h2><div class=\"scroll\"><table>");
    let mut row = |name: &str, value: &str| {
        write!(text, "<tr><td>{}</td><td class=\"wrap\"><code>{}</code></td></tr>", escape(name), escape(value))
            .expect("a text takes what is written");
    };
    row("kaon", &format!("{} ({})", summary.kaon.version, summary.kaon.commit));
    for input in &summary.inputs {
        row(&input.path, &input.sha256);
    }
    if let Some(parameters) = summary.parameters.as_object() {
        for (key, value) in parameters.iter().filter(|(key, _)| !["question", "answer"].contains(&key.as_str())) {
            row(key, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
    for policy in &summary.policies {
        let hashes: Vec<String> =
            policy.seeds.iter().take(3).map(|run| format!("{}: {}", run.seed, run.trace_hash)).collect();
        row(&format!("trace hashes, {}", policy.policy), &hashes.join(", "));
    }
    text.push_str("</table></div>");
    for (policy, seed, what) in summary.failures() {
        write!(text, "<p><b>Claim broken</b> ({} seed {seed}): {}</p>", escape(policy), escape(what))
            .expect("a text takes what is written");
    }
    text
}
