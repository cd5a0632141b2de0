//! `kaon sim`: simulated clusters and studies of them.

mod cluster;
mod convert;
mod judge;
mod list;
mod serve;
mod show;
mod study;

use crate::arguments::Sim;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Carries out a command; the exit code.
pub(crate) fn dispatch(command: Sim) -> Result<i32> {
    match command {
        Sim::Run(arguments) => match &arguments.scenario {
            Some(scenario) => study::run(scenario, &arguments),
            None => cluster::run(&arguments),
        },
        Sim::Explore(arguments) => study::explore(&arguments),
        Sim::Replay(arguments) => study::replay(&arguments),
        Sim::Compare(arguments) => judge::compare(&arguments),
        Sim::List(arguments) => list::list(&arguments).map(|()| 0),
        Sim::Check(arguments) => judge::check(&arguments),
        Sim::Serve(arguments) => serve::serve(&arguments),
        Sim::Convert(arguments) => convert::run(&arguments).map(|()| 0),
    }
}

/// A bar on stderr, and nothing where stderr is no terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
