//! `network/ports`: who listens on ports of the machine that were not offered to it (attack 55). The kernel lists who listens
//! (`/proc/net/tcp`, `proc_pid_net(5)`) by numbers of sockets, and each process its open files; what they have in common is looked at now
//! and then, as in Mesos (reference 12.1, 15.2). A container with a network of its own may listen where it likes.

use crate::isolator::{Contribution, Error, Isolator, Limitation, Survivor, Watch};
use crate::process;
use kaon_kernel::container::{LaunchSpec, LimitKind};
use kaon_kernel::container_info::Limits;
use kaon_kernel::id::ContainerId;
use kaon_kernel::resource::{Resource, ResourceName, Resources, Value};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name of [`Ports`].
pub const PORTS: &str = "network/ports";

/// The state of a TCP socket that listens (`include/net/tcp_states.h`).
const LISTENS: &str = "0A";

/// The most ports that a message names.
const NAMED_MAX: usize = 16;

/// How ports are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortWatching {
    /// How often (`--container-ports-watch-interval`).
    pub interval: Duration,
    /// Whether who listens where it may not ends (`--enforce-container-ports`).
    pub is_enforced: bool,
    /// The ports that are watched, as ranges (`--container-ports-isolated-range`, `--check-agent-port-range-only`); all without.
    pub watched: Option<Vec<(u64, u64)>>,
}

impl Default for PortWatching {
    /// Mesos's: every 30 s, without consequences.
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), is_enforced: false, watched: None }
    }
}

/// What is known of a container, and kept for the agent after this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The ports that it took, as ranges.
    ports: Vec<(u64, u64)>,
    /// Its first process.
    pid: Option<i32>,
}

/// The isolator.
#[derive(Debug)]
pub struct Ports {
    watching: PortWatching,
    books: Arc<Books>,
}

#[derive(Debug)]
struct Books {
    records: PathBuf,
    known: Mutex<BTreeMap<ContainerId, Entry>>,
}

impl Books {
    fn known(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, container: &ContainerId, change: impl FnOnce(&mut Entry)) -> Result<(), Error> {
        let mut entry = self.known().get(container).cloned().unwrap_or(Entry { ports: Vec::new(), pid: None });
        change(&mut entry);
        let written = || -> io::Result<()> {
            fs::create_dir_all(&self.records)?;
            // Names of containers end with no tilde.
            let aside = self.records.join(format!("{container}~"));
            fs::write(&aside, serde_json::to_vec(&entry)?)?;
            fs::rename(aside, self.records.join(container.as_str()))
        };
        written().map_err(failed("write its ports"))?;
        self.known().insert(container.clone(), entry);
        Ok(())
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { isolator: PORTS, action: action.to_owned(), source }
}

impl Ports {
    /// For the containers of an agent with this runtime directory.
    pub fn new(watching: PortWatching, runtime_directory: &Path) -> Self {
        let books = Books { records: runtime_directory.join("ports"), known: Mutex::default() };
        Self { watching, books: Arc::new(books) }
    }
}

impl Isolator for Ports {
    fn name(&self) -> &'static str {
        PORTS
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        for Survivor { container, .. } in survivors {
            let text = fs::read(self.books.records.join(container.as_str()));
            // One of an agent that did not watch ports took none that are known: it is left alone.
            if let Some(entry) = text.ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                self.books.known().insert(container.clone(), entry);
            }
        }
        orphans.iter().try_for_each(|container| self.cleanup(container))
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        self.books.change(container, |entry| entry.ports = taken(&spec.resources))?;
        Ok(Contribution::default())
    }

    fn is_awaited(&self, container: &ContainerId) -> bool {
        self.books.known().contains_key(container)
    }

    fn isolate(&self, container: &ContainerId, pid: i32) -> Result<(), Error> {
        self.books.change(container, |entry| entry.pid = Some(pid))
    }

    fn watch(&self, container: &ContainerId) -> Option<Watch> {
        let (books, container, watching) = (Arc::clone(&self.books), container.clone(), self.watching.clone());
        if !books.known().contains_key(&container) {
            return None;
        }
        Some(Box::pin(async move {
            loop {
                tokio::time::sleep(watching.interval).await;
                let Some(entry) = books.known().get(&container).cloned() else { continue };
                let watched = watching.watched.clone();
                let found = tokio::task::spawn_blocking(move || beyond(&entry, watched.as_deref())).await;
                // One that can't be looked at is looked at again.
                let Ok(Ok(ports)) = found else { continue };
                if ports.is_empty() {
                    continue;
                }
                let text = told(&container, &ports);
                if watching.is_enforced {
                    return Limitation { kind: LimitKind::Other, message: text, resources: as_resources(&ports) };
                }
                tracing::warn!("{text}");
            }
        }))
    }

    fn update(&self, container: &ContainerId, resources: &Resources, _: &Limits) -> Result<(), Error> {
        // Not held on to: what follows takes the books again.
        let is_known = self.books.known().contains_key(container);
        match is_known {
            true => self.books.change(container, |entry| entry.ports = taken(resources)),
            false => Ok(()),
        }
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.books.known().remove(container);
        match fs::remove_file(self.books.records.join(container.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("forget its ports")(error)),
            _ => Ok(()),
        }
    }
}

/// The ports among resources.
pub fn taken(resources: &Resources) -> Vec<(u64, u64)> {
    let ports = resources.iter().filter(|entry| entry.name == ResourceName::Ports);
    let ranges = ports.filter_map(|entry| match &entry.value {
        Value::Ranges(ranges) => Some(ranges.iter()),
        _ => None,
    });
    ranges.flatten().collect()
}

fn told(container: &ContainerId, ports: &BTreeSet<u16>) -> String {
    let mut names: Vec<String> = ports.iter().take(NAMED_MAX).map(u16::to_string).collect();
    names.extend((ports.len() > NAMED_MAX).then(|| "..".to_owned()));
    format!("Container {container} is listening on unallocated port(s): {}", names.join(", "))
}

fn as_resources(ports: &BTreeSet<u16>) -> Resources {
    let ranges = ports.iter().map(|&port| (u64::from(port), u64::from(port))).collect();
    let Ok(ranges) = kaon_kernel::resource::Ranges::covering(ranges) else { return Resources::default() };
    let entry = Resource { name: ResourceName::Ports, identity: None, value: Value::Ranges(ranges) };
    Resources::collect([entry]).unwrap_or_default()
}

/// The ports of the machine that processes of a container listen on and that it did not take. Cost: reading the lists of sockets, and
/// the open files of each of its processes.
fn beyond(entry: &Entry, watched: Option<&[(u64, u64)]>) -> io::Result<BTreeSet<u16>> {
    let Some(launcher) = entry.pid.and_then(process::Process::read).map(|program| program.parent) else {
        return Ok(BTreeSet::new());
    };
    let mut listening = BTreeMap::new();
    for list in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        match fs::read_to_string(list) {
            // A machine without the sixth version.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            text => listening.extend(text?.lines().skip(1).filter_map(listener)),
        }
    }
    listening.retain(|_, port| {
        let is_in =
            |ranges: &[(u64, u64)]| ranges.iter().any(|(first, last)| (first..=last).contains(&&u64::from(*port)));
        watched.is_none_or(is_in) && !is_in(&entry.ports)
    });
    if listening.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut found = BTreeSet::new();
    for member in process::descendants(launcher)? {
        // Its files may be gone with it.
        for file in fs::read_dir(format!("/proc/{}/fd", member.pid)).into_iter().flatten().flatten() {
            let link = fs::read_link(file.path()).ok().and_then(|link| link.into_os_string().into_string().ok());
            let socket =
                link.as_deref().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            found.extend(socket.and_then(|socket: u64| listening.get(&socket)).copied());
        }
    }
    Ok(found)
}

/// Number and port of a socket that listens, by a line of the list.
fn listener(line: &str) -> Option<(u64, u16)> {
    let mut fields = line.split_ascii_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    let number = fields.nth(5)?.parse().ok()?;
    (state == LISTENS).then_some((number, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_sockets_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000 100 0 0 10 0";
        assert_eq!(listener(line), Some((4242, 8080)));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None, "a connection");
        for bad in ["", "  sl  local_address rem_address   st", "0: x 0 0A 0 0 0 0 0 1", "0: 0:zz 0 0A 0 0 0 0 0 1"] {
            assert_eq!(listener(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_told_names_the_ports() {
        let message = told(&ContainerId::trusted("c"), &BTreeSet::from([80, 8080]));
        assert_eq!(message, "Container c is listening on unallocated port(s): 80, 8080");
        assert!(told(&ContainerId::trusted("c"), &(1..100).collect()).ends_with("16, .."));
        let parsed = |text| kaon_kernel::resource::parse::resources(text).unwrap();
        assert_eq!(as_resources(&BTreeSet::from([80, 81, 90])), parsed("ports:[80-81,90-90]"));
        let resources = parsed("cpus:1;ports:[1-2,9-9]");
        assert_eq!(taken(&resources), [(1, 2), (9, 9)]);
    }
}
