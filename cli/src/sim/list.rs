//! `kaon sim list`: what there is to simulate with.

use crate::arguments::SimList;
use crate::table::{Table, say};
use anyhow::Result;
use kaon_sim::study::{Fidelity, METRICS, SHIPPED, Scenario, aliases, policies};
use kaon_sim::workload::convert::FORMATS;
use std::path::Path;

/// Prints scenarios, formats, policies and metrics, a line each.
pub(super) fn list(arguments: &SimList) -> Result<()> {
    let mut table = Table::new(&["scenario", "kind", "question"]);
    for shipped in SHIPPED {
        let scenario = Scenario::open(Path::new(shipped.name), &[])?;
        let question = scenario.question().to_owned();
        table.row(vec![shipped.name.to_owned(), scenario.fidelity.word().to_owned(), question]);
    }
    say(&table)?;
    let mut table = Table::new(&["workload format", "what it is"]);
    for (name, about) in FORMATS {
        table.row([name, about].map(str::to_owned).to_vec());
    }
    say(&table)?;
    let mut table = Table::new(&["policy", "kind", "what it does"]);
    for (fidelity, word) in Fidelity::ALL {
        for row in policies(fidelity) {
            let also = aliases(row.name);
            let also = if also.is_empty() { String::new() } else { format!(" (also: {})", also.join(", ")) };
            table.row(vec![row.name.to_owned(), word.to_owned(), format!("{}{also}", row.about)]);
        }
    }
    say(&table)?;
    let mut table = Table::new(&["metric", "definition"]);
    for row in METRICS {
        table.row(vec![row.name.to_owned(), row.about.to_owned()]);
    }
    say(table.to_string().trim_end())?;
    if arguments.keys {
        for (fidelity, word) in Fidelity::ALL {
            let mut table = Table::new(&[&format!("key ({word})"), "holds", "default", "what it is for"]);
            for key in Scenario::keys(fidelity) {
                let default = if key.is_required { "(required)" } else { key.default.unwrap_or("") };
                let words = if key.words.is_empty() { String::new() } else { format!(" ({})", key.words.join(", ")) };
                table.row(vec![key.name, key.holds, default.to_owned(), format!("{}{words}", key.about)]);
            }
            say(format_args!("\n{}", table.to_string().trim_end()))?;
        }
    }
    Ok(())
}
