//! The page holds what it should, is well-formed, and obeys no text that it shows.

use super::*;
use crate::record::{Capacity, Records, TaskRecord};
use crate::study::metrics;
use crate::study::summary::{PolicySummary, Program, SeedSummary, Speed};

fn findings() -> Findings {
    let task = |number: i64| TaskRecord {
        job: number as u64,
        task: 0,
        tenant: (number % 3) as u32,
        submit_us: number * 1_000_000,
        start_us: Some(number * 2_000_000),
        end_us: Some(number * 2_000_000 + 9_000_000),
        run_us: 9_000_000,
        cpus_milli: 1000,
        mem_mib: 0,
        gpus_milli: 0,
        node: None,
    };
    let capacity = Capacity { nodes: 0, cpus_milli: 5000, mem_mib: 0, gpus_milli: 0 };
    let records = Records { tasks: (0..50).map(task).collect(), capacity, ..Records::default() };
    let (found, timeline) = metrics::of(&records, 20);
    let seed = |seed| SeedSummary {
        seed,
        trace_hash: "00".to_owned(),
        metrics: found.clone(),
        marks: Default::default(),
        failures: Vec::new(),
    };
    let slower = |mut run: SeedSummary| {
        run.metrics.insert("flow_time_mean".to_owned(), 99.0);
        run
    };
    let policy = |name: &str| match name {
        "one" => PolicySummary::of(name, vec![seed(1), seed(2)]),
        _ => PolicySummary::of(name, vec![slower(seed(1)), slower(seed(2))]),
    };
    let figures = |name: &str| Figures::of(name, 1, Some(&records), timeline.table());
    let summary = Summary {
        scenario: "a<b>".to_owned(),
        kaon: Program { version: "0".to_owned(), commit: "c".to_owned() },
        inputs: Vec::new(),
        notes: Vec::new(),
        parameters: serde_json::json!({"question": "is <script> shown?", "answer": "yes"}),
        policies: vec![policy("one"), policy("two")],
        speed: Speed::default(),
    };
    Findings { summary, figures: vec![figures("one"), figures("two")] }
}

/// Tags that are opened and not closed, in order.
fn unclosed(page: &str) -> Vec<&str> {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let name = tag.split([' ', '>', '/']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            let closed = closed.split('>').next().unwrap_or_default();
            assert_eq!(open.pop(), Some(closed), "before </{closed}>");
        } else if !tag.contains("/>") && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    open
}

#[test]
fn the_page_is_well_formed_and_has_its_plots() {
    let page = html(&findings());
    assert_eq!(unclosed(&page), Vec::<&str>::new());
    for title in ["Policy against policy", "CPU in use", "Tasks waiting", "Waiting, cumulative", "Dominant shares, two"]
    {
        assert!(page.contains(title), "no {title}");
    }
    assert!(page.contains("is &lt;script&gt; shown?") && !page.contains("<script"));
    let outside = ["http://", "https://", "src=", "@import", "url("];
    assert!(outside.iter().all(|what| !page.contains(what)), "the page needs something else");
    assert!(!page.contains("NaN") && !page.contains(">inf") && !page.contains("\"inf"), "a number without a place");
}
