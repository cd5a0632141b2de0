//! `network/cni` and `namespaces/net`: networks of containers' own.
//!
//! `namespaces/net` gives a container a view of the network with nothing in it but loopback. `network/cni` connects the view of
//! a container that names networks (`NetworkInfo.name`, reference 12.1) by plugins of the Container Network Interface (versions
//! 0.3 to 1.0, containernetworking/cni `SPEC.md`): `configuration.rs` reads what networks there are, `plugin.rs` runs the plugins,
//! `files.rs` makes what a container reads of its network.
//!
//! What must be undone is on disk before it is done: `<runtime directory>/cni/<container>/` holds `networks` (what was asked
//! for), `ns` (the view, mounted, so that it can be taken down when nothing runs in it any more), and `result-N`. So an agent
//! that is killed in the middle leaves nothing that the next one does not find.

mod configuration;
mod files;
mod plugin;
mod ports;

use crate::isolator::{Contribution, Error, Isolator, Mount, Namespaces, Survivor};
use configuration::Configuration;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::container_info::{Network, PortMapping};
use kaon_kernel::id::ContainerId;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use plugin::{Attachment, Command};
pub use ports::{PORTS, PortWatching, Ports, taken};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of [`Cni`].
pub const CNI: &str = "network/cni";
/// Name of [`Alone`].
pub const NET: &str = "namespaces/net";

/// The most networks of one container.
const NETWORKS_MAX: usize = 16;

/// A network of its own with nothing in it but loopback.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Isolator for Alone {
    fn name(&self) -> &'static str {
        NET
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn prepare(&self, _: &ContainerId, _: &LaunchSpec) -> Result<Contribution, Error> {
        let namespaces = Namespaces { net: true, ..Namespaces::default() };
        Ok(Contribution { namespaces, ..Contribution::default() })
    }
}

/// Networks by plugins.
#[derive(Debug)]
pub struct Cni {
    configurations: PathBuf,
    plugins: Vec<PathBuf>,
    records: PathBuf,
}

/// What a container asked for, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    networks: Vec<AskedNetwork>,
    hostname: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AskedNetwork {
    /// Its configuration as it was: what was added by it is deleted by it.
    configuration: Configuration,
    interface: String,
    ports: Vec<(u16, u16, bool)>,
    labels: Vec<(String, Option<String>)>,
}

impl Cni {
    /// With configurations and plugins in these directories (`--network-cni-config-dir`, `--network-cni-plugins-dir`).
    ///
    /// # Errors
    /// When a directory is not given, or two configurations have one name.
    pub fn new(configurations: Option<&Path>, plugins: &[PathBuf], runtime_directory: &Path) -> Result<Self, Error> {
        let Some(configurations) = configurations else {
            return Err(refuse("there is no --network-cni-config-dir".to_owned()));
        };
        if plugins.is_empty() {
            return Err(refuse("there is no --network-cni-plugins-dir".to_owned()));
        }
        let records = runtime_directory.join("cni");
        let cni = Self { configurations: configurations.to_owned(), plugins: plugins.to_vec(), records };
        configuration::all(&cni.configurations).map_err(refuse)?;
        Ok(cni)
    }

    fn directory(&self, container: &ContainerId) -> PathBuf {
        self.records.join(container.as_str())
    }

    fn asked(&self, container: &ContainerId) -> Option<Asked> {
        serde_json::from_slice(&fs::read(self.directory(container).join("networks")).ok()?).ok()
    }

    /// What a container asks for, judged.
    fn judge(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Option<Asked>, Error> {
        let info = spec.container.as_ref();
        let networks: &[Network] = info.map_or(&[], |info| &info.networks);
        let named: Vec<&Network> = networks.iter().filter(|network| network.name.is_some()).collect();
        if named.is_empty() {
            return match networks.iter().any(|network| !network.ports.is_empty()) {
                true => Err(refuse("ports are mapped, but no network is named".to_owned())),
                false => Ok(None),
            };
        }
        if named.len() > NETWORKS_MAX || named.len() < networks.len() {
            return Err(refuse(format!("more than {NETWORKS_MAX} networks, or the machine's own beside others")));
        }
        let own = ports::taken(&spec.resources);
        let is_own = |port: u16| own.iter().any(|&(from, to)| (from..=to).contains(&port.into()));
        let mut asked = Vec::new();
        for (number, network) in named.into_iter().enumerate() {
            let name = network.name.as_deref().unwrap_or_default();
            let configuration = configuration::find(&self.configurations, name).map_err(refuse)?;
            if let Some(foreign) = network.ports.iter().find(|mapping| !is_own(mapping.host)) {
                return Err(refuse(format!("port {} is mapped, but not among its resources", foreign.host)));
            }
            if !network.ports.is_empty() && !configuration.maps_ports() {
                return Err(refuse(format!("network '{name}' maps no ports")));
            }
            asked.push(AskedNetwork {
                configuration,
                interface: format!("eth{number}"),
                ports: network
                    .ports
                    .iter()
                    .map(|PortMapping { host, container, is_udp }| (*host, *container, *is_udp))
                    .collect(),
                labels: network.labels.clone(),
            });
        }
        let hostname = info.and_then(|info| info.hostname.clone()).unwrap_or_else(|| container.to_string());
        Ok(Some(Asked { networks: asked, hostname }))
    }

    fn attachment<'a>(
        &'a self,
        container: &'a ContainerId,
        view: &'a Path,
        network: &'a AskedNetwork,
    ) -> Attachment<'a> {
        Attachment {
            plugins: &self.plugins,
            container: container.as_str(),
            view,
            interface: &network.interface,
            ports: &network.ports,
            labels: &network.labels,
        }
    }

    fn connect(&self, container: &ContainerId, pid: i32, asked: &Asked) -> Result<(), Error> {
        let directory = self.directory(container);
        let view = directory.join("ns");
        fs::File::create(&view).map_err(failed("make the place of its network"))?;
        let theirs = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let none: Option<&str> = None;
        let held = mount(Some(&theirs), &view, none, MsFlags::MS_BIND, none);
        held.map_err(|errno| failed("hold its network")(errno.into()))?;
        let mut addresses = Vec::new();
        let mut servers = None;
        for (number, network) in asked.networks.iter().enumerate() {
            let result =
                plugin::run(&network.configuration, &self.attachment(container, &view, network), Command::Add, None);
            let result = result.map_err(refuse)?.unwrap_or_default();
            let written = serde_json::to_vec(&result).map_err(io::Error::from);
            let written = written.and_then(|bytes| fs::write(directory.join(format!("result-{number}")), bytes));
            written.map_err(failed("record its network"))?;
            addresses.extend(plugin::addresses(&result));
            servers = servers.or_else(|| plugin::name_servers(&result));
        }
        files::write(&directory, &asked.hostname, &addresses, servers.as_deref()).map_err(failed("write its files"))
    }

    /// Takes everything down that is written of a container. What is gone already is passed over.
    fn disconnect(&self, container: &ContainerId) -> Result<(), Error> {
        let directory = self.directory(container);
        if !directory.exists() {
            return Ok(());
        }
        let view = directory.join("ns");
        let mut undone = Ok(());
        let asked = self.asked(container);
        for (number, network) in asked.iter().flat_map(|asked| asked.networks.iter().enumerate()).rev() {
            let before = fs::read(directory.join(format!("result-{number}"))).ok();
            let before = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let attachment = self.attachment(container, &view, network);
            let deleted = plugin::run(&network.configuration, &attachment, Command::Delete, before);
            if let Err(reason) = deleted {
                undone = Err(refuse(reason));
            }
        }
        // What could not be deleted is kept to be tried again.
        undone?;
        match umount2(&view, MntFlags::MNT_DETACH) {
            // It was not mounted, or is not there.
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(failed("let go of its network")(errno.into())),
        }
        fs::remove_dir_all(&directory).map_err(failed("remove the record of its network"))
    }
}

fn refuse(reason: String) -> Error {
    Error::Refused { isolator: CNI, reason }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { isolator: CNI, action: action.to_owned(), source }
}

impl Isolator for Cni {
    fn name(&self) -> &'static str {
        CNI
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn recover(&self, survivors: &[Survivor], _: &[ContainerId]) -> Result<(), Error> {
        let Ok(entries) = fs::read_dir(&self.records) else { return Ok(()) };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let left = names.filter(|name| !survivors.iter().any(|survivor| survivor.container.as_str() == name));
        let undone: Vec<_> = left.map(|name| self.disconnect(&ContainerId::trusted(name))).collect();
        undone.into_iter().collect()
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let Some(asked) = self.judge(container, spec)? else { return Ok(Contribution::default()) };
        let directory = self.directory(container);
        fs::create_dir_all(&directory).map_err(failed("make the record of its network"))?;
        let written = serde_json::to_vec(&asked).map_err(io::Error::from);
        let written = written.and_then(|bytes| fs::write(directory.join("networks"), bytes));
        written.map_err(failed("record its network"))?;
        files::make(&directory).map_err(failed("make its files"))?;
        let namespaces = Namespaces { net: true, uts: true, mnt: true, ..Namespaces::default() };
        let mounts = files::NAMES.map(|name| Mount::Bind {
            from: directory.join(name),
            to: Path::new("/etc").join(name),
            is_read_only: false,
            follows: false,
        });
        // What the machine does not have it does not show either.
        let is_there = |mount: &Mount| matches!(mount, Mount::Bind { to, .. } if to.exists());
        let has_image = spec.container.as_ref().is_some_and(|info| info.has_image());
        let mounts = mounts.into_iter().filter(|mount| has_image || is_there(mount)).collect();
        Ok(Contribution { namespaces, mounts, hostname: Some(asked.hostname), ..Contribution::default() })
    }

    fn is_awaited(&self, container: &ContainerId) -> bool {
        self.directory(container).exists()
    }

    fn isolate(&self, container: &ContainerId, pid: i32) -> Result<(), Error> {
        match self.asked(container) {
            Some(asked) => self.connect(container, pid, &asked),
            None => Ok(()),
        }
    }

    fn addresses(&self, container: &ContainerId) -> Vec<String> {
        let directory = self.directory(container);
        let results = (0..NETWORKS_MAX).map_while(|number| fs::read(directory.join(format!("result-{number}"))).ok());
        let results = results.filter_map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        results.flat_map(|result| plugin::addresses(&result)).collect()
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.disconnect(container)
    }
}
