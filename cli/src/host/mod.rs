//! The composition roots: here, and nowhere else, actors meet the runtime, the transport, the isolators and http.

mod address;
pub(crate) mod agent;
mod allocation;
mod calls;
pub(crate) mod executor;
mod images;
pub(crate) mod master;
mod provision;
pub(crate) mod remains;
mod system;

use crate::config::Flags;
use anyhow::{Context, Result, bail};
use kaon_http::{Kind, Sample};
use kaon_kernel::actor::{ActorKind, HostId};
use kaon_kernel::message::session::PeerRole;
use kaon_runtime::metrics::{Reading, Series};
use kaon_transport::{AuthorityCertificate, Credentials, Trust};
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a host's actors have to end after TERM.
const STOP_WITHIN: Duration = Duration::from_millis(1500);

/// 64 bits of the system's entropy: host ids, seeds, names.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("Linux has getrandom(2) since 3.17");
    u64::from_le_bytes(bytes)
}

/// A fresh name for this life of the process.
fn fresh_host_id() -> HostId {
    HostId(random())
}

/// A host's credentials, and the cluster's authority limited to what it may vouch for.
fn credentials(options: &crate::arguments::Credentials, role: PeerRole) -> Result<(Credentials, Trust)> {
    let credentials = Credentials::load(&options.certificate, &options.key)
        .with_context(|| format!("no credentials in {}; `kaon ca issue` makes them", options.certificate.display()))?;
    let found = credentials.identity().role;
    if found != role {
        let (certificate, found, role) = (options.certificate.display(), found.word(), role.word());
        bail!("{certificate} has the role of {found}, and this host is to be: {role}");
    }
    let authority = AuthorityCertificate::load(&options.authority)
        .with_context(|| format!("no authority in {}", options.authority.display()))?;
    Ok((credentials, Trust { authority, roles: vec![PeerRole::Master, PeerRole::Agent] }))
}

/// Reads `master:17`: crash the actor in place of handling its 17th event.
fn plants(texts: &[String]) -> Result<Vec<(ActorKind, u64)>> {
    let plants = texts.iter().map(|text| {
        let (word, count) = text.split_once(':').with_context(|| format!("'{text}': expected ACTOR:COUNT"))?;
        let kind = ActorKind::of_word(word).filter(|kind| *kind != ActorKind::Outside);
        Ok((kind.with_context(|| format!("'{word}' is no actor"))?, count.parse()?))
    });
    plants.collect()
}

/// Seconds of a flag as a duration.
pub(crate) fn seconds(flag: &str, value: f64) -> Result<kaon_kernel::time::Duration> {
    kaon_kernel::time::Duration::from_seconds(value).with_context(|| format!("--{flag} {value}: not a length of time"))
}

/// Where a host's journal is in its directory.
pub(crate) const JOURNAL_DIRECTORY: &str = "journal";

/// Opens the journal of a host, with what to do when it can't be.
pub(crate) fn journal(directory: &Path) -> Result<Box<dyn kaon_runtime::journal::Journal>> {
    match kaon_runtime::journal::SledJournal::open(directory) {
        Ok(journal) => Ok(Box::new(journal)),
        Err(error) => bail!("{}\n{}", error.chain(), error.advice()),
    }
}

/// What stops a host from outside, heard from the moment that this is made on: whoever reads that we are ready may stop
/// us at once.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// Whether the end of stdin stops us as well.
    leash: bool,
}

impl StopSignals {
    pub(crate) fn hear(leash: bool) -> Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, leash })
    }

    /// Waits for Ctrl-C, TERM or the end of a leash.
    pub(crate) async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = stdin_ends(), if self.leash => {}
        }
    }
}

/// Waits until the host has ended by itself, or Ctrl-C, TERM or the end of a leash asks it to. Its exit code.
async fn until_over(host: kaon_runtime::Host, mut stop: StopSignals) -> Result<i32> {
    let waiting = host.clone();
    let mut ended = tokio::task::spawn_blocking(move || waiting.wait());
    tokio::select! {
        code = &mut ended => return Ok(code?),
        () = stop.wanted() => {}
    }
    let stopped = tokio::task::spawn_blocking(move || host.stop(STOP_WITHIN)).await?;
    Ok(stopped?)
}

/// Waits until whoever holds the other end of stdin is gone. A thread of its own reads: it may never return.
async fn stdin_ends() {
    let (ended, is_ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // What is written there does not matter, nor why it ended.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = is_ended.await;
}

/// Says in one line on stdout that this member is ready, for `kaon up` and for scripts.
fn say_ready(http: std::net::SocketAddr, listen: std::net::SocketAddr) {
    println!("{}", serde_json::json!({"http": http.to_string(), "listen": listen.to_string()}));
}

/// A host's numbers, as http shows them.
fn samples(host: &kaon_runtime::Host) -> Vec<Sample> {
    let sample = |one: Series| {
        let name = one.flat_name();
        match one.reading {
            Reading::Counter(value) => Sample::counter(name, value),
            Reading::Gauge(value) => Sample::gauge(name, value),
            Reading::Histogram { buckets, count, sum_seconds: sum } => {
                Sample { name, value: count as f64, kind: Kind::Histogram { buckets, sum } }
            }
        }
    };
    let mut samples: Vec<Sample> = host.series().into_iter().map(sample).collect();
    system::add(&mut samples);
    samples
}

/// The fault domain that `--domain` names.
fn domain(text: &str) -> Result<kaon_kernel::agent::Domain> {
    kaon_http::convert::agent::domain_from_json(text).map_err(|error| anyhow::anyhow!("--domain {text}: {error}"))
}

/// What `/flags` shows: every flag that has a value, and what is known better than it was said.
fn flags<const N: usize>(given: Flags, known: [(&str, String); N]) -> Flags {
    given.into_iter().chain(known.map(|(name, value)| (name.to_owned(), value))).collect()
}
