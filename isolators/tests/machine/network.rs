//! Networks of containers' own, by real plugins in a view of the network that stands for the machine: its own stays untouched.

use crate::Test;
use crate::groups::isolated;
use crate::nested;
use crate::rig::{Machine, eventually, id, shell};
use kaon_isolators::build::Settings;
use kaon_isolators::network::PortWatching;
use kaon_kernel::container::{ContainerOutcome, ContainerRequest, LaunchSpec};
use kaon_kernel::container_info::{ContainerInfo, Limits, Network, PortMapping};
use kaon_kernel::resource::parse;
use kaon_kernel::time::Duration as Length;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("network::a_container_alone_has_nothing_but_loopback", a_container_alone_has_nothing_but_loopback),
    ("network::plugins_connect_a_container_and_nothing_is_left", plugins_connect_a_container_and_nothing_is_left),
    (
        "network::networks_outlive_the_agent_and_end_with_their_container",
        networks_outlive_the_agent_and_end_with_their_container,
    ),
    (
        "network::what_can_not_be_connected_is_refused_and_leaves_nothing",
        what_can_not_be_connected_is_refused_and_leaves_nothing,
    ),
    ("network::who_listens_where_it_may_not_ends", who_listens_where_it_may_not_ends),
    ("network::who_listens_where_nobody_looks_goes_on", who_listens_where_nobody_looks_goes_on),
];

/// Where Debian keeps the plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// Answers every connection with one line, for ever.
pub(crate) fn greet(port: &str) -> ExitCode {
    use std::io::Write;
    let Ok(listener) = std::net::TcpListener::bind(("0.0.0.0", port.parse().unwrap_or(0))) else {
        return ExitCode::FAILURE;
    };
    for mut connection in listener.incoming().flatten() {
        let _ = connection.write_all(b"hello\n");
    }
    ExitCode::SUCCESS
}

/// A view of the network that plays the machine's, and plugins that take it for that.
struct Host {
    name: String,
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Option<Self> {
        let has = |name: &str| Command::new(name).arg("--version").output().is_ok();
        let is_there = Path::new(PLUGINS).join("ptp").exists() && has("ip") && has("nsenter") && has("bash");
        if !nix::unistd::geteuid().is_root() || !is_there {
            println!("SKIPPED, needs root, ip, nsenter, bash, and containernetworking-plugins in {PLUGINS}");
            return None;
        }
        let name = format!("kaon-test-{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).status().expect("ip runs");
        if !made.success() {
            println!("SKIPPED, this machine lets nobody have a network of their own");
            return None;
        }
        let host = Self { name, directory: tempfile::tempdir().expect("a directory") };
        host.run("ip link set lo up");
        for folder in ["plugins", "networks", "leases"] {
            fs::create_dir(host.path(folder)).expect("a directory");
        }
        for plugin in ["ptp", "host-local", "portmap", "bridge"] {
            let text = format!("#!/bin/sh\nexec nsenter --net=/run/netns/{} {PLUGINS}/{plugin}\n", host.name);
            let path = host.path("plugins").join(plugin);
            fs::write(&path, text).expect("a plugin");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a plugin");
        }
        let failing = host.path("plugins").join("failing");
        fs::write(&failing, "#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = DEL ] && exit 0\necho '{\"code\": 7, \"msg\": \"no such luck\"}'\nexit 1\n").expect("a plugin");
        fs::set_permissions(&failing, fs::Permissions::from_mode(0o755)).expect("a plugin");
        let leases = host.path("leases").display().to_string();
        let network = serde_text(&leases);
        fs::write(host.path("networks").join("1.conflist"), network).expect("a network");
        let failing = r#"{"name": "bad", "cniVersion": "0.4.0", "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "dataDir": "LEASES", "ranges": [[{"subnet": "10.78.0.0/24"}]]}}, {"type": "failing"}]}"#;
        fs::write(host.path("networks").join("2.conflist"), failing.replace("LEASES", &leases)).expect("a network");
        Some(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a shell text in it; what it wrote.
    fn run(&self, text: &str) -> String {
        let net = format!("--net=/run/netns/{}", self.name);
        let output = Command::new("nsenter").args([&net, "bash", "-c", text]).output().expect("nsenter runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn links(&self) -> usize {
        self.run("ip -o link").lines().count()
    }

    fn leases(&self) -> usize {
        let is_lease = |name: &str| name.starts_with("10.");
        let folders = fs::read_dir(self.path("leases")).expect("leases").flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("leases").flatten());
        files.filter(|file| file.file_name().to_str().is_some_and(is_lease)).count()
    }

    fn machine(&self) -> Option<Machine> {
        isolated("network/cni,namespaces/pid", |settings| {
            settings.cni_configurations = Some(self.path("networks"));
            settings.cni_plugins = vec![self.path("plugins")];
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn serde_text(leases: &str) -> String {
    r#"{"name": "web", "cniVersion": "0.4.0", "plugins": [
        {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "LEASES",
         "ranges": [[{"subnet": "10.77.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
         "dns": {"nameservers": ["10.77.0.1"], "search": ["here"]}},
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}"#
        .replace("LEASES", leases)
}

fn on(name: &str, network: &str, ports: Vec<PortMapping>, text: &str) -> LaunchSpec {
    let network = Network { name: Some(network.to_owned()), ports, labels: Vec::new() };
    let info =
        ContainerInfo { networks: vec![network], hostname: Some("webby".to_owned()), ..ContainerInfo::default() };
    LaunchSpec {
        container: Some(Box::new(info)),
        resources: parse::resources("ports:[31000-31001]").expect("resources"),
        ..shell(name, text)
    }
}

/// Launches, and tells the addresses.
fn launch(machine: &Machine, name: &str, spec: LaunchSpec) -> Vec<String> {
    match machine.ask(ContainerRequest::Launch { container: id(name), spec: Box::new(spec) }) {
        ContainerOutcome::Launched { addresses, .. } => addresses,
        other => panic!("{other:?}"),
    }
}

fn mounted(machine: &Machine) -> usize {
    let records = machine.config.runtime_directory.join("cni").display().to_string();
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains(&records)).count()
}

fn records(machine: &Machine) -> usize {
    fs::read_dir(machine.config.runtime_directory.join("cni")).map_or(0, Iterator::count)
}

fn a_container_alone_has_nothing_but_loopback() {
    let Some(machine) = isolated("namespaces/net", |_| {}) else { return };
    // A line of `/proc/net/if_inet6` for each interface that is up.
    let text = "tail -n +3 /proc/net/dev | wc -l; grep -c lo /proc/net/if_inet6; readlink /proc/self/ns/net; sleep 300";
    machine.launch("c", shell("c", text));
    eventually("it has looked around", || machine.output("c", "stdout").lines().count() == 3);
    let out = machine.output("c", "stdout");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[1]), ("1", "1"), "{out}");
    assert_ne!(lines[2], fs::read_link("/proc/self/ns/net").unwrap().display().to_string());
    // What is within it shares it.
    let order = nested::order("c.n", "readlink /proc/self/ns/net");
    let runtime = crate::rig::runtime();
    runtime.block_on(machine.containers().launch_nested(order)).unwrap();
    runtime.block_on(machine.containers().wait_nested(&id("c.n"))).unwrap();
    let inner = fs::read_to_string(machine.sandbox("c").join("containers/n/stdout")).unwrap();
    assert_eq!(inner.trim(), lines[2]);
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn plugins_connect_a_container_and_nothing_is_left() {
    let Some(host) = Host::new() else { return };
    let before = host.links();
    let Some(machine) = host.machine() else { return };
    let own = std::env::current_exe().unwrap().display().to_string();
    let text = format!("hostname; cat /etc/hosts /etc/hostname /etc/resolv.conf; exec {own} greet 8080");
    let ports = vec![PortMapping { host: 31_000, container: 8080, is_udp: false }];
    let addresses = launch(&machine, "c", on("c", "web", ports, &text));
    assert!(addresses.len() == 1 && addresses[0].starts_with("10.77.0."), "{addresses:?}");
    let address = &addresses[0];
    let talk = |at: &str| host.run(&format!("exec 3<>/dev/tcp/{at} && head -n 1 <&3"));
    eventually("it answers at its own address", || talk(&format!("{address}/8080")) == "hello\n");
    let out = machine.output("c", "stdout");
    for line in ["webby", &format!("{address} webby"), "127.0.0.1 localhost", "nameserver 10.77.0.1", "search here"] {
        assert!(out.lines().any(|there| there == line), "{line} in {out}");
    }
    assert!(fs::read_to_string("/etc/hosts").unwrap_or_default() != out, "the machine's own files are not touched");
    // The machine's port leads to it; the gateway's address is the machine's.
    if host.run("iptables -w -t nat -S").contains("31000") {
        let gateway = host.run("ip -o -4 addr show | grep -o '10.77.0.[0-9]*' | head -n 1");
        eventually("the machine's port leads to it", || talk(&format!("{}/31000", gateway.trim())) == "hello\n");
    } else {
        println!("SKIPPED, no iptables: what portmap leads where is not looked at");
    }
    assert_eq!((host.links() - before, host.leases(), mounted(&machine)), (1, 1, 1));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    assert_eq!((host.links(), host.leases(), mounted(&machine), records(&machine)), (before, 0, 0, 0));
    assert!(!host.run("iptables -w -t nat -S").contains("31000"), "no rule is left");
}

fn networks_outlive_the_agent_and_end_with_their_container() {
    let Some(host) = Host::new() else { return };
    let before = host.links();
    let Some(mut machine) = host.machine() else { return };
    let addresses = launch(&machine, "c", on("c", "web", Vec::new(), "sleep 300; true"));
    launch(&machine, "d", on("d", "web", Vec::new(), "sleep 300; true"));
    assert_eq!((host.links() - before, host.leases()), (2, 2));
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["c"]), ["c"], "the other is nobody's, and goes");
    assert_eq!((host.links() - before, host.leases(), mounted(&machine)), (1, 1, 1));
    assert_eq!(machine.config.isolators.addresses(&id("c")), addresses);
    // One that ended while nobody looked.
    let pid = machine.launch("e", on("e", "web", Vec::new(), "sleep 300; true"));
    machine.stop();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("it has ended", || !crate::rig::is_alive(pid));
    machine.start();
    machine.recover(&["c", "e"]);
    machine.wait("e");
    eventually("its network is gone", || (host.links() - before, host.leases()) == (1, 1));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    assert_eq!((host.links(), host.leases(), mounted(&machine), records(&machine)), (before, 0, 0, 0));
}

fn what_can_not_be_connected_is_refused_and_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let before = host.links();
    let Some(machine) = host.machine() else { return };
    let refused = |spec: LaunchSpec| machine.try_launch("c", spec).unwrap_err();
    let reason = refused(on("c", "nowhere", Vec::new(), "touch ran"));
    assert!(reason.contains("no network 'nowhere'"), "{reason}");
    let foreign = PortMapping { host: 22, container: 22, is_udp: false };
    let reason = refused(LaunchSpec { join: true, ..on("c", "web", vec![foreign.clone()], "touch ran") });
    assert!(reason.contains("port 22 is mapped, but not among its resources"), "{reason}");
    let own = PortMapping { host: 31_001, container: 22, is_udp: false };
    let reason = refused(LaunchSpec { join: true, ..on("c", "bad", vec![own], "touch ran") });
    assert!(reason.contains("maps no ports"), "{reason}");
    let reason = refused(LaunchSpec { join: true, ..on("c", "bad", Vec::new(), "touch ran") });
    assert!(reason.contains("no such luck"), "{reason}");
    assert!(!machine.sandbox("c").join("ran").exists());
    assert_eq!((host.links(), host.leases(), mounted(&machine), records(&machine)), (before, 0, 0, 0));
    let Some(without) = isolated("namespaces/uts", |_| {}) else { return };
    let reason = without.try_launch("c", on("c", "web", Vec::new(), "true")).unwrap_err();
    assert!(reason.contains("network/cni is not enabled"), "{reason}");
}

/// Where only some ports are watched, others are anybody's.
fn who_listens_where_nobody_looks_goes_on() {
    let free = || std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let (watched, other) = (free(), free());
    let watching = |settings: &mut Settings| {
        let ranges = Some(vec![(u64::from(watched), u64::from(watched))]);
        settings.ports = PortWatching { interval: Duration::from_millis(50), is_enforced: true, watched: ranges };
    };
    let Some(machine) = isolated("network/ports", watching) else { return };
    let own = std::env::current_exe().unwrap();
    let listening = |name: &str, port: u16| shell(name, &format!("{} greet {port}", own.display()));
    machine.launch("a", listening("a", other));
    eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", other)).is_ok());
    // By the time that this one is caught the other has been looked at.
    machine.launch("b", listening("b", watched));
    assert!(machine.wait("b").limitation.is_some());
    assert!(std::net::TcpStream::connect(("127.0.0.1", other)).is_ok(), "it goes on");
    machine.kill("a", Length::ZERO);
    assert_eq!(machine.wait("a").limitation, None);
}

/// Attack 55: ports of the machine that a container did not take, whoever of its processes listens; those that it took are its own, and
/// a new agent knows them.
fn who_listens_where_it_may_not_ends() {
    let free = || std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let (taken, other) = (free(), free());
    let watching = |settings: &mut Settings| {
        settings.ports = PortWatching { interval: Duration::from_millis(50), is_enforced: true, watched: None };
    };
    let Some(mut machine) = isolated("network/ports", watching) else { return };
    let own = std::env::current_exe().unwrap();
    let listening = |name: &str, port: u16, resources: &str| {
        let text = format!("setsid {} greet {port} & wait", own.display());
        LaunchSpec { resources: parse::resources(resources).unwrap(), ..shell(name, &text) }
    };
    machine.launch("a", listening("a", taken, &format!("cpus:1;ports:[{taken}-{taken}]")));
    eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", taken)).is_ok());
    machine.launch("b", listening("b", other, &format!("cpus:1;ports:[{taken}-{taken}]")));
    let limitation = machine.wait("b").limitation.expect("it has broken a limit");
    let words = format!("Container b is listening on unallocated port(s): {other}");
    assert_eq!((limitation.message, limitation.resources.to_string()), (words, format!("ports:[{other}-{other}]")));
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["a"]), ["a"]);
    // It has been looked at often by the time that another one is caught.
    machine.launch("c", listening("c", other, "cpus:1"));
    assert!(machine.wait("c").limitation.is_some());
    assert!(std::net::TcpStream::connect(("127.0.0.1", taken)).is_ok(), "who may listen goes on");
    let update = ContainerRequest::Update {
        container: id("a"),
        resources: parse::resources("cpus:1").unwrap(),
        limits: Limits::default(),
    };
    assert_eq!(machine.ask(update), ContainerOutcome::Updated(Ok(())));
    assert!(machine.wait("a").limitation.is_some(), "what was taken from it is not its own any more");
}
