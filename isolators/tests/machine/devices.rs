//! Nodes of devices in the root of a container with an image.

use crate::Test;
use crate::groups::isolated;
use crate::images::{IMAGES, asked, assert_nothing_left, machine_with, with};
use crate::registry::{Registry, busybox, image, layer};
use crate::rig::{root_or_skip, shell};
use kaon_isolators::cgroups::devices::Rule;
use kaon_isolators::gpu::Gpus;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::placement::{DeviceShare, Placement};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    ("devices::only_what_is_allowed_is_a_device", only_what_is_allowed_is_a_device),
    ("devices::real_gpus_open_to_who_was_given_them", real_gpus_open_to_who_was_given_them),
];

/// Attack 58, with an image: nodes of devices that were allowed and of GPUs that were given show, and open; no other.
fn only_what_is_allowed_is_a_device() {
    let Some(items) = busybox() else { return };
    if !root_or_skip("device nodes") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let gpus = Gpus { driver: folder.path().join("driver"), nodes: folder.path().join("dev") };
    fs::create_dir(&gpus.nodes).expect("a directory");
    let node = |name: &str, major, minor| {
        let path = gpus.nodes.join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)).expect("a node");
        path
    };
    for minor in 0..2 {
        let place = gpus.driver.join("gpus").join(format!("0000:0{minor}:00.0"));
        fs::create_dir_all(&place).expect("a directory");
        let told = format!("GPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n");
        fs::write(place.join("information"), told).expect("a file");
        node(&format!("nvidia{minor}"), 195, minor);
    }
    // Of the usual ones `kmsg` is none.
    let (allowed, other) = (node("allowed", 1, 11), node("other", 1, 12));
    let isolation = format!("{IMAGES},cgroups/devices,linux/devices,gpu/nvidia");
    let rule = Rule::of_node(&allowed).expect("a node");
    let machine = machine_with(
        &isolation,
        |settings| {
            (settings.devices, settings.device_nodes) = (vec![rule], vec![allowed.clone()]);
            settings.gpus = gpus.clone();
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
