//! The `kaon` binary: master, agent, executor, simulator and command line in one, and the one place that wires actors
//! to a host, transport, isolators and http.

mod arguments;
mod ca;
mod client;
mod config;
mod contest;
mod exec;
mod explain;
mod host;
mod journal;
mod list;
mod locate;
mod log;
mod logs;
mod maintenance;
mod memory;
mod run;
mod settings;
mod sim;
mod table;
mod tail;
mod terminal;
mod top;
mod topology;
mod up;

use anyhow::Result;
use arguments::{Arguments, Command};
use list::What;
use std::process::ExitCode;

/// Frames are many small, short-lived allocations, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: kaon_runtime::Allocator = kaon_runtime::Allocator;

/// What runs in place of `main`.
type Program = fn() -> ExitCode;

/// Programs of their own within this one, by the first argument. They come before everything else.
const APART: [(&str, Program); 5] = [
    // It stands between agent and task, and must be single-threaded.
    (kaon_isolators::launcher::ARGUMENT, kaon_isolators::launcher::main),
    // What brings foreign files becomes another user, and so does everything in its process.
    (kaon_isolators::fetcher::ARGUMENT, kaon_isolators::fetcher::main),
    // What stands for a container of Docker is small.
    (kaon_isolators::docker::ARGUMENT, kaon_isolators::docker::main),
    // What unpacks foreign images gets limits.
    (kaon_isolators::images::ARGUMENT, kaon_isolators::images::main),
    // The reader of foreign topologies gets limits that nothing else could live with.
    (kaon_isolators::topology::apart::ARGUMENT, kaon_isolators::topology::apart::main),
];

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    memory::settle(first.as_deref());
    if let Some((_, program)) = APART.iter().find(|(argument, _)| first.as_deref().is_some_and(|one| one == *argument))
    {
        return program();
    }
    match start() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("kaon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<i32> {
    let (arguments, flags) = config::arguments()?;
    log::begin(&arguments.log)?;
    if let Command::Sim(command) = arguments.command {
        return sim::dispatch(command);
    }
    if let Command::Topology(options) = arguments.command {
        return topology::show(&options).map(|()| 0);
    }
    if let Command::Ca(command) = arguments.command {
        return ca::run(command).map(|()| 0);
    }
    if let Command::Journal(command) = arguments.command {
        return journal::run(&command).map(|()| 0);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers(&arguments)).enable_all().build()?;
    let code = runtime.block_on(dispatch(arguments.command, flags, &arguments.log));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

/// Threads for sockets and files. An executor has one session and one task.
fn workers(arguments: &Arguments) -> usize {
    match arguments.command {
        Command::Master(_) | Command::Agent(_) | Command::Contest(_) => 2,
        _ => 1,
    }
}

async fn dispatch(command: Command, flags: config::Flags, log: &str) -> Result<i32> {
    match command {
        Command::Up(options) => up::up(options, log).await,
        Command::Master(options) => host::master::run(options, flags).await,
        Command::Agent(options) => host::agent::run(options, flags).await,
        Command::Executor => host::executor::run().await,
        Command::Run(options) => run::run(options).await,
        Command::Exec(options) => exec::exec(options).await,
        Command::Attach(options) => exec::attach(options).await,
        Command::Logs(options) => logs::logs(options).await.map(|()| 0),
        Command::Top(options) => top::top(options).await.map(|()| 0),
        Command::Agents(options) => list::list(What::Agents, options).await.map(|()| 0),
        Command::Frameworks(options) => list::list(What::Frameworks, options).await.map(|()| 0),
        Command::Tasks(options) => list::list(What::Tasks, options).await.map(|()| 0),
        Command::Offers(options) => list::list(What::Offers, options).await.map(|()| 0),
        Command::Roles(options) => list::list(What::Roles, options).await.map(|()| 0),
        Command::Explain(options) => explain::explain(options).await.map(|()| 0),
        Command::Contest(options) => contest::contest(options).await,
        Command::Quota(options) => settings::quota(options).await.map(|()| 0),
        Command::Weight(options) => settings::weight(options).await.map(|()| 0),
        Command::Drain(options) => maintenance::drain(options).await.map(|()| 0),
        Command::Deactivate(options) => maintenance::order("DEACTIVATE_AGENT", options).await.map(|()| 0),
        Command::Reactivate(options) => maintenance::order("REACTIVATE_AGENT", options).await.map(|()| 0),
        Command::Gone(options) => maintenance::order("MARK_AGENT_GONE", options).await.map(|()| 0),
        Command::Maintenance(command) => maintenance::maintenance(command).await.map(|()| 0),
        Command::Ca(_) | Command::Journal(_) | Command::Sim(_) | Command::Topology(_) => {
            unreachable!("these run without a runtime")
        }
    }
}
