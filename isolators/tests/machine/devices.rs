//! Nodes of devices in the root of a container with an image.

use crate::Test;
use crate::groups::isolated;
use crate::images::{IMAGES, asked, assert_nothing_left, machine_with, with};
use crate::registry::{Registry, busybox, image, layer};
use crate::rig::{root_or_skip, shell};
use kaon_isolators::cgroups::devices::Rule;
use kaon_isolators::gpu::Gpus;
use kaon_isolators::linux::parse_capabilities;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::placement::{DeviceShare, Placement};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[
    ("devices::only_what_is_allowed_is_a_device", only_what_is_allowed_is_a_device),
    ("devices::parts_of_others_stay_shut", parts_of_others_stay_shut),
    ("devices::a_specification_says_what_goes_with_a_gpu", a_specification_says_what_goes_with_a_gpu),
    ("devices::real_gpus_open_to_who_was_given_them", real_gpus_open_to_who_was_given_them),
];

/// Attack 58, with an image: nodes of devices that were allowed and of GPUs that were given show, and open; no other.
fn only_what_is_allowed_is_a_device() {
    let Some(items) = busybox() else { return };
    if !root_or_skip("device nodes") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(folder.path());
    let gpus = fake.0.clone();
    let node = |name: &str, major, minor| {
        let path = gpus.nodes.join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)).expect("a node");
        path
    };
    for minor in 0..2 {
        fake.tell(minor);
        fake.node(&format!("nvidia{minor}"), minor);
    }
    // Of the usual ones `kmsg` is none.
    let (allowed, other) = (node("allowed", 1, 11), node("other", 1, 12));
    let isolation = format!("{IMAGES},cgroups/devices,linux/devices,linux/capabilities,gpu/nvidia");
    let rule = Rule::of_node(&allowed).expect("a node");
    let machine = machine_with(
        &isolation,
        |settings| {
            (settings.devices, settings.device_nodes) = (vec![rule], vec![allowed.clone()]);
            settings.gpus = gpus.clone();
            // By default it would make no node at all.
            settings.rights.bounding = parse_capabilities("DAC_OVERRIDE,MKNOD,SYSLOG").ok();
        },
        |_| {},
    );
    let Some(machine) = machine else { return };
    let registry = Registry::new();
    let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
    let at = gpus.nodes.display();
    let text = format!(
        "ls {at}; for n in allowed nvidia1; do busybox head -c 1 {at}/$n > /dev/null && echo $n open; done; busybox mknod /n c 1 12; busybox head -c 1 /n"
    );
    let share = DeviceShare { id: "GPU-1".to_owned(), ordinal: 1, share: 1000, memory_bytes: 0 };
    let placement = Some(Placement { devices: vec![share], ..Placement::default() });
    let (_, out) = machine.run("c", LaunchSpec { placement, ..with(shell("c", &text), asked(&registry, &name)) });
    let errors = machine.output("c", "stderr");
    assert!(out.starts_with("allowed\nnvidia1\nallowed open\n"), "{other:?} is not among them: {out}{errors}");
    assert!(errors.contains("nvidia1: No such device or address"), "it may be opened; there is no driver: {errors}");
    assert!(errors.contains("/n: Permission denied"), "nodes that it makes itself stay shut: {errors}");
    let (_, out) = machine.run("d", with(shell("d", &text), asked(&registry, &name)));
    assert!(out.starts_with("allowed\nallowed open\n"), "without GPUs none shows: {out}");
    assert_nothing_left(&machine);
}

/// A part of a GPU opens to who was given it, and other parts of the same GPU do not (attack 58).
fn parts_of_others_stay_shut() {
    if !root_or_skip("device nodes") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let gpus = Fake::new(folder.path());
    gpus.node("nvidia0", 0);
    gpus.tell(0);
    for (at, number) in [("gi1", 12), ("gi1/ci0", 13), ("gi2", 30), ("gi2/ci0", 31)] {
        let home = gpus.0.driver.join("capabilities/gpu0/mig").join(at);
        fs::create_dir_all(&home).expect("a directory");
        fs::write(home.join("access"), format!("DeviceFileMinor: {number}\nDeviceFileMode: 292\n")).expect("a file");
        gpus.node(&format!("nvidia-caps/nvidia-cap{number}"), number);
    }
    let settings = gpus.0.clone();
    let Some(machine) = isolated("cgroups/devices,gpu/nvidia", |all| all.gpus = settings) else { return };
    let at = gpus.0.nodes.display();
    let text = format!(
        "for n in nvidia0 nvidia-caps/nvidia-cap12 nvidia-caps/nvidia-cap13 nvidia-caps/nvidia-cap30 nvidia-caps/nvidia-cap31; do head -c 1 {at}/$n; done"
    );
    let launch = |name: &str, id: &str| {
        let share = DeviceShare { id: id.to_owned(), ordinal: 0, share: 1000, memory_bytes: 0 };
        let placement = Some(Placement { devices: vec![share], ..Placement::default() });
        machine.try_launch(name, LaunchSpec { placement, ..shell(name, &text) })
    };
    launch("c", "MIG-GPU-0/1/0").expect("it is there");
    machine.wait("c");
    let told = machine.output("c", "stderr");
    let lines: Vec<&str> = told.lines().collect();
    // There is no driver behind the nodes: one that may be opened says so.
    assert!(lines[..3].iter().all(|line| line.contains("No such device or address")), "its own: {told}");
    assert!(lines[3..].len() == 2 && lines[3..].iter().all(|line| line.contains("Operation not permitted")), "{told}");
    assert!(launch("d", "MIG-GPU-0/7/0").expect_err("there is none").contains("knows no instance 'MIG-GPU-0/7/0'"));
}

/// What the maker's specification says a container with a GPU sees: nodes, files and variables; and without one nothing of it.
fn a_specification_says_what_goes_with_a_gpu() {
    let Some(items) = busybox() else { return };
    if !root_or_skip("device nodes") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let mut gpus = Fake::new(folder.path());
    for minor in 0..2 {
        gpus.tell(minor);
        gpus.node(&format!("nvidia{minor}"), minor);
    }
    let control = gpus.node("control", 7);
    let library = folder.path().join("library");
    fs::write(&library, "of the driver\n").expect("a file");
    let nodes = gpus.0.nodes.clone();
    let device = |name: &str| {
        let node = json!({"path": "/dev/nvidia0", "hostPath": nodes.join("nvidia1")});
        json!({"name": name, "containerEdits": {"deviceNodes": [node]}})
    };
    let common = json!({"env": ["NVIDIA_VISIBLE_DEVICES=void", "DRIVER=here"], "deviceNodes": [{"path": "/dev/control", "hostPath": control}],
        "mounts": [{"hostPath": library, "containerPath": "/usr/lib/driver", "options": ["ro", "rbind"]}]});
    let all = json!({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [device("GPU-1"), device("0")], "containerEdits": common});
    let specifications = folder.path().join("cdi");
    fs::create_dir(&specifications).expect("a directory");
    fs::write(specifications.join("nvidia.json"), all.to_string()).expect("a file");
    gpus.0.cdi = vec![specifications];
    let isolation = format!("{IMAGES},cgroups/devices,gpu/nvidia");
    let settings = gpus.0.clone();
    let Some(machine) = machine_with(&isolation, |all| all.gpus = settings, |_| {}) else { return };
    let registry = Registry::new();
    let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
    let text = "echo $DRIVER; ls -d /dev/nvidia* /dev/control; cat /usr/lib/driver; echo x > /usr/lib/driver; \
        busybox head -c 1 /dev/nvidia0; busybox head -c 1 /dev/control";
    let run = |container: &str, devices: &[(&str, u32)]| {
        let share =
            |&(id, ordinal): &(&str, u32)| DeviceShare { id: id.to_owned(), ordinal, share: 1000, memory_bytes: 0 };
        let placement = Some(Placement { devices: devices.iter().map(share).collect(), ..Placement::default() });
        let (_, out) =
            machine.run(container, LaunchSpec { placement, ..with(shell(container, text), asked(&registry, &name)) });
        (out, machine.output(container, "stderr"))
    };
    let (out, errors) = run("c", &[("GPU-1", 1)]);
    assert_eq!(out, "here\n/dev/control\n/dev/nvidia0\nof the driver\n", "{errors}");
    assert_eq!(errors.matches("No such device or address").count(), 2, "both may be opened: {errors}");
    assert!(errors.contains("Read-only file system"), "{errors}");
    let (out, errors) = run("d", &[]);
    assert!(out == "\n" && errors.contains("/usr/lib/driver"), "without a GPU none of it: {out}{errors}");
    // One that is said by its number, but is another's node: then it is the driver's word that counts.
    let (out, _) = run("e", &[("GPU-0", 0)]);
    assert_eq!(out, "\n", "{out}");
    assert_nothing_left(&machine);
}

/// A driver's directory and nodes that stand for no hardware.
struct Fake(Gpus);

impl Fake {
    fn new(folder: &Path) -> Self {
        let gpus = Gpus { driver: folder.join("driver"), nodes: folder.join("dev"), cdi: Vec::new() };
        fs::create_dir_all(gpus.nodes.join("nvidia-caps")).expect("a directory");
        Self(gpus)
    }

    /// Makes a node of the maker's number.
    fn node(&self, name: &str, minor: u64) -> PathBuf {
        let path = self.0.nodes.join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(195, minor)).expect("a node");
        path
    }

    /// Has the driver tell of a GPU.
    fn tell(&self, minor: u64) {
        let place = self.0.driver.join("gpus").join(format!("0000:0{minor}:00.0"));
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join("information"), format!("GPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n"))
            .expect("a file");
    }
}

/// The same on real hardware (`make test-gpu`): by the driver's own files, and by the maker's tool where it is installed.
fn real_gpus_open_to_who_was_given_them() {
    let driver = Gpus::default().driver.join("gpus");
    let told = fs::read_dir(driver).into_iter().flatten().flatten();
    let told = told.filter_map(|place| fs::read_to_string(place.path().join("information")).ok());
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned())
    };
    let found: Vec<(String, String)> =
        told.filter_map(|text| Some((field(&text, "GPU UUID")?, field(&text, "Device Minor")?))).collect();
    if found.is_empty() {
        return println!("SKIPPED, this machine has no GPU with NVIDIA's driver: real devices");
    }
    let Some(machine) = isolated("cgroups/devices,gpu/nvidia", |_| {}) else { return };
    let open = |minor: &str| format!("(exec 3<>/dev/nvidia{minor}) 2>/dev/null && echo {minor}");
    let text = found.iter().map(|(_, minor)| open(minor)).collect::<Vec<_>>().join("; ");
    for (ordinal, (id, minor)) in (0_u32..).zip(&found) {
        let share = DeviceShare { id: id.clone(), ordinal, share: 1000, memory_bytes: 0 };
        let placement = Some(Placement { devices: vec![share], ..Placement::default() });
        let name = format!("gpu-{ordinal}");
        let text = format!("{text}; command -v nvidia-smi >/dev/null && nvidia-smi -L; true");
        let (_, out) = machine.run(&name, LaunchSpec { placement, ..shell(&name, &text) });
        assert!(out.starts_with(&format!("{minor}\n")), "its own alone opens: {out}");
        let listed = out.lines().filter(|line| line.contains("UUID")).collect::<Vec<_>>();
        assert!(listed.iter().all(|line| line.contains(id.as_str())), "the tool sees its own alone: {out}");
        println!("  {id} is /dev/nvidia{minor}; nvidia-smi lists {}", listed.len());
    }
    let (_, out) = machine.run("none", shell("none", &text));
    assert_eq!(out, "", "without one none opens");
}
