//! The rules, by subject. Each file says which sections of the reference it covers.

mod accept;
mod agent;
mod agent_calls;
mod agent_state;
mod calls;
mod checks;
mod constraints;
mod declined;
mod events;
mod executor;
mod groups;
mod hostile;
mod identity;
mod json;
mod launch;
mod legacy;
mod maintenance;
mod metrics;
mod negotiation;
mod nested;
mod offers;
mod operations;
mod operator;
mod pods;
mod polled;
mod reconcile;
mod refusals;
mod resources;
mod runs;
mod settings;
mod streams;
mod subscribe;
mod tasks;
mod update;
mod virtual_time;
mod volumes;

use super::row::Row;

/// All rows, in the order of the reference.
pub(super) fn all() -> Vec<Row> {
    [
        negotiation::rows(),
        json::rows(),
        streams::rows(),
        polled::rows(),
        metrics::rows(),
        agent::rows(),
        agent_calls::rows(),
        agent_state::rows(),
        nested::rows(),
        subscribe::rows(),
        identity::rows(),
        calls::rows(),
        update::rows(),
        offers::rows(),
        constraints::rows(),
        declined::rows(),
        accept::rows(),
        launch::rows(),
        resources::rows(),
        groups::rows(),
        pods::rows(),
        operations::rows(),
        volumes::rows(),
        operator::rows(),
        settings::rows(),
        legacy::rows(),
        maintenance::rows(),
        events::rows(),
        tasks::rows(),
        checks::rows(),
        reconcile::rows(),
        refusals::rows(),
        executor::rows(),
        runs::rows(),
        hostile::rows(),
        virtual_time::rows(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_source() {
        let mut names = BTreeSet::new();
        for row in super::all() {
            assert!(
                names.insert(format!("{} | {} | {}", row.call, row.given, row.answer)),
                "{} {}",
                row.call,
                row.given
            );
            let source = row.source.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            assert!(
                source.is_empty() && !row.source.is_empty() || ["clients", "attacks", "kaon"].contains(&source),
                "{}",
                row.source
            );
        }
        assert!(names.len() >= 400, "only {} rows", names.len());
    }
}
