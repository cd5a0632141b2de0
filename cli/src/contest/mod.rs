//! `kaon contest`: the v1 API of a cluster against the rules that a client can see, one row each.
//!
//! A black box: it knows the master by its HTTP address alone and shares no code with what it tries, so it judges any master
//! that speaks the Mesos v1 API. [`rows`] are the rules, [`framework`] and [`wire`] the client they use. The sources are
//! sections of the project's v1 reference; what only known clients lean on says `clients`.
//!
//! Rows about long times are tried on a master that lets virtual time pass (`kaon sim serve`), and there no others.
//!
//! Left to others: what no client can see, what takes a restart or a broken network (the tests of this crate).

mod arena;
mod framework;
mod http1;
mod media;
mod row;
mod rows;
mod story;
mod stream;
mod wire;

use crate::arguments::Contest;
use crate::table::{Table, say};
use anyhow::{Context, Result};
use arena::Arena;
use media::Media;
use row::{Company, Row};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Rows tried at once: enough that the slow ones hide behind each other, few enough for two agents' offers.
const AT_ONCE: usize = 4;

/// How long the master may take until it has an agent.
const AGENT_WITHIN: Duration = Duration::from_secs(20);

/// Virtual seconds within which the agents of a simulated cluster are registered.
const SIMULATED_START_SECONDS: u32 = 30;

/// One trial: a row in an encoding.
struct Trial {
    row: Row,
    media: Option<Media>,
}

/// What came of it.
struct Outcome {
    result: Result<(), String>,
    took: Duration,
}

/// Tries the rows and prints what came of them; the exit code is 1 when one failed.
pub(crate) async fn contest(options: Contest) -> Result<i32> {
    let mut trials = trials(&options);
    if options.list {
        let mut table = Table::new(&["SOURCE", "MEDIA", "CALL", "GIVEN", "ANSWER"]);
        trials.iter().for_each(|trial| table.row(cells(trial)));
        say(table.to_string().trim_end())?;
        say(format!("{} rows, {} trials", rows_of(&trials), trials.len()))?;
        return Ok(0);
    }
    let is_simulated = has_clock(&plain(&options.master)).await?;
    trials.retain(|trial| trial.row.is_simulated == is_simulated);
    let arena = arena(&options).await?;
    let begin = Instant::now();
    let outcomes = run(&arena, &trials).await;
    report(&trials, &outcomes, begin.elapsed())?;
    Ok(i32::from(outcomes.iter().any(|outcome| outcome.result.is_err())))
}

/// Whether virtual time passes there when it is told to; then its agents are up soon.
async fn has_clock(master: &str) -> Result<bool> {
    if wire::exchange(master, "GET", "/simulator", &[], b"").await?.status != 200 {
        return Ok(false);
    }
    let path = format!("/simulator/advance?seconds={SIMULATED_START_SECONDS}");
    wire::exchange(master, "POST", &path, &[], b"").await?.expect(200)?;
    Ok(true)
}

fn plain(address: &str) -> String {
    address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/').to_owned()
}

fn trials(options: &Contest) -> Vec<Trial> {
    let wanted = |media: Media| options.media == "both" || options.media == media.label();
    let mut trials = Vec::new();
    for row in rows::all().into_iter().filter(|row| row.is_found_by(&options.filter)) {
        if row.media.is_empty() {
            trials.push(Trial { row: row.clone(), media: None });
        }
        let encodings = row.media.iter().copied().filter(|media| wanted(*media));
        trials.extend(encodings.map(|media| Trial { row: row.clone(), media: Some(media) }));
    }
    trials
}

fn rows_of(trials: &[Trial]) -> usize {
    let mut names: Vec<_> = trials.iter().map(|trial| (&trial.row.call, &trial.row.given, &trial.row.answer)).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

fn cells(trial: &Trial) -> Vec<String> {
    let row = &trial.row;
    let media = trial.media.map_or("-", Media::label).to_owned();
    vec![row.source.to_owned(), media, row.call.clone(), row.given.clone(), row.answer.clone()]
}

async fn arena(options: &Contest) -> Result<Arena> {
    let master = plain(&options.master);
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("our user has no name")?.name;
    let run = std::process::id().to_string();
    let agent = match &options.agent {
        Some(agent) => plain(agent),
        None => {
            let unknown = Arena::new(master.clone(), String::new(), user.clone(), run.clone());
            let begin = Instant::now();
            loop {
                let listed = unknown.read("GET_AGENTS").await?;
                if let Some(agent) = arena::items(&listed["agents"]).first() {
                    let info = &agent["agent_info"];
                    let host = info["hostname"].as_str().context("an agent without a name")?;
                    break format!("{host}:{}", info["port"].as_i64().unwrap_or(5051));
                }
                anyhow::ensure!(begin.elapsed() < AGENT_WITHIN, "http://{master} has no agents: tasks have no place");
                tokio::time::sleep(framework::PAUSE).await;
            }
        }
    };
    Ok(Arena::new(master, agent, user, run))
}

/// Tries all; the outcomes are in the order of the trials. First those that bear any company, then the calm ones together,
/// then one by one what must be alone.
async fn run(arena: &Arena, trials: &[Trial]) -> Vec<Outcome> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let attempt = |trial: &Trial| {
        let place = arena.in_media(trial.media.unwrap_or(Media::Json));
        let (row, room) = (trial.row.clone(), Arc::clone(&room));
        tokio::spawn(async move {
            let permit = room.acquire_owned().await;
            let begin = Instant::now();
            let tried = tokio::time::timeout(row.within, (row.trial)(place)).await;
            drop(permit);
            let result = match tried {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(_) => Err(format!("not done after {} s", row.within.as_secs())),
            };
            Outcome { result, took: begin.elapsed() }
        })
    };
    // Those that wait for the clock begin first: the others fill the time.
    let mut order: Vec<usize> = (0..trials.len()).collect();
    order.sort_by_key(|&at| (trials[at].row.company, std::cmp::Reverse(trials[at].row.within)));
    let mut outcomes: Vec<Option<Outcome>> = trials.iter().map(|_| None).collect();
    let fallen = |error: tokio::task::JoinError| Outcome { result: Err(error.to_string()), took: Duration::ZERO };
    let together = order.chunk_by(|&one, &next| {
        trials[one].row.company == trials[next].row.company && trials[one].row.company != Company::None
    });
    for together in together {
        let running: Vec<_> = together.iter().map(|&at| (at, attempt(&trials[at]))).collect();
        for (at, handle) in running {
            outcomes[at] = Some(handle.await.unwrap_or_else(fallen));
        }
    }
    outcomes.into_iter().flatten().collect()
}

fn report(trials: &[Trial], outcomes: &[Outcome], took: Duration) -> Result<()> {
    let mut table = Table::new(&["RESULT", "SECONDS", "SOURCE", "MEDIA", "CALL", "GIVEN", "ANSWER"]);
    for (trial, outcome) in trials.iter().zip(outcomes) {
        let word = if outcome.result.is_ok() { "passed" } else { "FAILED" };
        let mut row = vec![word.to_owned(), format!("{:.2}", outcome.took.as_secs_f64())];
        row.extend(cells(trial));
        table.row(row);
    }
    say(table.to_string().trim_end())?;
    for (trial, outcome) in trials.iter().zip(outcomes) {
        if let Err(reason) = &outcome.result {
            say(format!("\nFAILED {}\n  {reason}", cells(trial).join(" | ")))?;
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    say(format!("\n{} rows in {:.1} s", rows_of(trials), took.as_secs_f64()))?;
    say(format!("{} passed, {failed} failed", outcomes.len() - failed))?;
    Ok(())
}

/// A call of the operator API without a part of its own.
pub(crate) fn plain_call(kind: &str) -> Value {
    json!({"type": kind})
}
