//! Images: from a registry of our own, from layouts and archives, to what a container sees of them and what the machine keeps.

use crate::Test;
use crate::registry::{Item, Made, Registry, busybox, image, layer, sha, text};
use crate::rig::{Machine, eventually, exec, id, root_or_skip, shell, spec};
use kaon_isolators::build::Settings;
use kaon_isolators::containers::{ContainersConfig, Executable};
use kaon_isolators::images::{Backend, Images, ImagesConfig};
use kaon_isolators::linux::parse_capabilities;
use kaon_kernel::container::{ExitStatus, LaunchSpec, Program};
use kaon_kernel::container_info::{ContainerInfo, Image, Propagation, Volume, VolumeSource};
use kaon_kernel::time::Duration as Length;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[
    ("images::a_container_sees_its_image_and_nothing_else", a_container_sees_its_image_and_nothing_else),
    ("images::layers_lie_over_one_another_and_hide", layers_lie_over_one_another_and_hide),
    ("images::commands_merge_with_what_the_image_says", commands_merge_with_what_the_image_says),
    ("images::what_many_want_is_fetched_once", what_many_want_is_fetched_once),
    ("images::lies_of_a_registry_are_seen", lies_of_a_registry_are_seen),
    ("images::hostile_layers_reach_nothing", hostile_layers_reach_nothing),
    ("images::archives_and_layouts_are_images_too", archives_and_layouts_are_images_too),
    ("images::volumes_show_in_the_root", volumes_show_in_the_root),
    ("images::a_restart_keeps_what_runs_and_lets_go_of_the_rest", a_restart_keeps_what_runs_and_lets_go_of_the_rest),
    ("images::a_fetch_that_hangs_is_given_up", a_fetch_that_hangs_is_given_up),
    ("images::the_own_binary_stays_whole", the_own_binary_stays_whole),
    ("images::no_directory_and_no_program_lies_outside", no_directory_and_no_program_lies_outside),
];

/// The isolators that images need.
pub(crate) const IMAGES: &str = "filesystem/linux,docker/runtime";

const ISOLATION: &str = "filesystem/linux,docker/runtime,namespaces/pid,namespaces/ipc,namespaces/uts,posix/rlimits";

fn machine(change: impl FnOnce(&mut ImagesConfig)) -> Option<Machine> {
    machine_with(ISOLATION, |_| {}, change)
}

/// A machine with images and these isolators.
pub(crate) fn machine_with(
    isolation: &str,
    set: impl FnOnce(&mut Settings),
    change: impl FnOnce(&mut ImagesConfig),
) -> Option<Machine> {
    root_or_skip("images").then(|| Machine::with(|config| use_images(config, isolation, set, change)))
}

/// Gives a machine a store of images and these isolators.
pub(crate) fn use_images(
    config: &mut ContainersConfig,
    isolation: &str,
    set: impl FnOnce(&mut Settings),
    change: impl FnOnce(&mut ImagesConfig),
) {
    let directory = config.work_directory.parent().expect("below it").to_owned();
    let mut images = ImagesConfig::usual(&directory);
    images.stall_timeout = std::time::Duration::from_secs(10);
    change(&mut images);
    let mut settings = Settings::usual(isolation);
    settings.work_directory.clone_from(&config.work_directory);
    settings.runtime_directory.clone_from(&config.runtime_directory);
    settings.images = images.clone();
    set(&mut settings);
    config.isolators = settings.chain().expect("a chain");
    config.images = Some(Images::new(images, Executable::current().expect("own")).expect("a store"));
}

pub(crate) fn asked(registry: &Registry, name: &str) -> ContainerInfo {
    let image = Image { name: name.to_owned(), is_cached: true, credentials: Some(registry.credentials()) };
    ContainerInfo { image: Some(image), ..ContainerInfo::default() }
}

pub(crate) fn with(spec: LaunchSpec, container: ContainerInfo) -> LaunchSpec {
    LaunchSpec { container: Some(Box::new(container)), ..spec }
}

fn images(machine: &Machine) -> &Images {
    machine.config.images.as_ref().expect("images")
}

/// Nothing of containers is left: no tree, no lease.
pub(crate) fn assert_nothing_left(machine: &Machine) {
    let config = images(machine).config();
    let count = |path: PathBuf| fs::read_dir(path).map_or(0, |entries| entries.count());
    assert_eq!(count(config.roots.join("containers")), 0);
    for agent in fs::read_dir(config.store.join("leases")).expect("a store") {
        assert_eq!(count(agent.expect("an entry").path()), 0);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&config.roots.display().to_string()), "a mount is left: {mounts}");
}

fn layers_of(machine: &Machine) -> usize {
    fs::read_dir(images(machine).config().store.join("layers")).expect("a store").count()
}

fn a_container_sees_its_image_and_nothing_else() {
    let (Some(machine), Some(items)) = (machine(|_| {}), busybox()) else { return };
    let registry = Registry::new();
    let name = registry.push("team/app", "1", &image(&[layer(&items)], &json!({"Env": ["OF=image", "A=image"]}), true));
    let text = "echo $OF $A $MESOS_SANDBOX; pwd; ls -d /home /usr; cat /etc/hostname; ls /dev; \
         echo x > /proc/sys/kernel/hostname; echo x > /sys/x; echo x > /etc/resolv.conf; echo x > /dev/null && echo null; \
         ls /proc/scsi /sys/firmware | wc -l; ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm; echo mine > /new; cat /new; echo f > file; \
         cat /proc/self/mountinfo | wc -l";
    let mut spec = with(shell("c", text), asked(&registry, &name));
    spec.environment = vec![("A".to_owned(), "command".to_owned())];
    spec.container.as_mut().expect("asked").hostname = Some("inside".to_owned());
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let (exit, out) = machine.run("c", spec);
    let errors = machine.output("c", "stderr");
    assert_eq!(exit.status, Some(ExitStatus::Code(0)), "{out}{errors}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], ["image command /mnt/mesos/sandbox", "/mnt/mesos/sandbox"], "{out}");
    assert_eq!(lines[2], "inside", "no directory of the machine is seen: {out}");
    let rest = &lines[3..];
    for node in ["null", "zero", "full", "random", "urandom", "tty", "fd", "pts", "ptmx", "shm"] {
        assert!(rest.contains(&node), "no /dev/{node}: {out}");
    }
    assert!(!rest.contains(&"vda") && !rest.contains(&"kmsg"), "{out}");
    for denied in ["/proc/sys/kernel/hostname", "/sys/x", "/etc/resolv.conf"] {
        assert!(errors.contains(&format!("{denied}: Read-only file system")), "{errors}");
    }
    for unseen in ["/home", "/usr"] {
        assert!(errors.contains(&format!("{unseen}: No such file")), "{errors}");
    }
    let at = rest.iter().position(|line| *line == "null").expect("the device") + 1;
    let after = &rest[rest.iter().rposition(|line| *line == "null").expect("it was written to") + 1..];
    assert!(at > 0 && after[0].parse::<u32>().is_ok_and(|hidden| hidden <= 2), "hidden directories are empty: {out}");
    assert!(after[1].parse::<u32>().is_ok_and(|own| own < 6), "{out}");
    assert_eq!(after[3], "mine", "{out}");
    assert_eq!(fs::read_to_string(machine.sandbox("c").join("file")).expect("in the sandbox"), "f\n");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("mounts"), before, "the machine sees no mount of it");
    assert!(!Path::new("/new").exists());
    assert_nothing_left(&machine);
    // A second one begins with the image as it was.
    let (_, out) = machine.run("d", with(shell("d", "ls /new || echo fresh"), asked(&registry, &name)));
    assert_eq!(out, "fresh\n");
    // The user of an image that nobody else names.
    let name =
        registry.push("team/app", "2", &image(&[layer(&items)], &json!({"User": "anna", "WorkingDir": "/w/d"}), false));
    let (_, out) = machine.run("e", with(shell("e", "id; pwd"), asked(&registry, &name)));
    assert!(out.contains("uid=4711(anna) gid=4712(annas) groups=4712(annas),4713(more)\n/w/d\n"), "{out}");
}

fn layers_lie_over_one_another_and_hide() {
    let Some(mut items) = busybox() else { return };
    items.extend([
        text("a/gone", "1"),
        text("a/changed", "1"),
        text("a/kept", "1"),
        text("b/one", "1"),
        text("c/d/deep", "1"),
        Item::Hard("a/hard", "a/kept"),
        Item::Link("a/soft", "/a/kept"),
        Item::File("set", b"x".to_vec(), 0o4755),
    ]);
    let upper = layer(&[
        text("a/.wh.gone", ""),
        text("a/changed", "2"),
        text("b/.wh..wh..opq", ""),
        text("b/two", "2"),
        text(".wh.c", ""),
        text("c/new", "2"),
        text("/absolute", "2"),
        Item::Device("dev/left-out"),
    ]);
    let layers = [layer(&items), upper.clone(), layer(&[text("top", "3")]), upper];
    let text = "cat /a/changed /a/kept /a/hard /a/soft /absolute /top; echo; ls /a /b /c; stat -c %a /set; \
         stat -c %h /a/kept";
    let wanted = "211123\n/a:\nchanged\nhard\nkept\nsoft\n\n/b:\ntwo\n\n/c:\nnew\n4755\n2\n";
    for backend in [Backend::Overlay, Backend::Copy] {
        let Some(machine) = machine(|images| images.backend = backend) else { return };
        let registry = Registry::new();
        let name = registry.push("layers", "1", &image(&layers, &json!({}), true));
        let (_, out) = machine.run("c", with(shell("c", text), asked(&registry, &name)));
        assert_eq!(out, wanted, "{backend:?} {}", machine.output("c", "stderr"));
        assert_nothing_left(&machine);
    }
}

fn commands_merge_with_what_the_image_says() {
    let (Some(machine), Some(items)) = (machine(|_| {}), busybox()) else { return };
    let registry = Registry::new();
    let run = json!({"Entrypoint": ["busybox", "echo", "entry"], "Cmd": ["of", "image"], "Env": ["PATH=/bin"]});
    let name = registry.push("app", "latest", &image(&[layer(&items)], &run, true));
    let of_image = |name: &str, arguments: &[&str]| {
        let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        spec(name, Program::Exec { file: String::new(), arguments })
    };
    let run = |container: &str, spec| machine.run(container, with(spec, asked(&registry, &name))).1;
    assert_eq!(run("a", of_image("a", &[])), "entry of image\n");
    assert_eq!(run("b", of_image("b", &["of", "command"])), "entry of command\n");
    assert_eq!(run("c", exec("c", &["/bin/busybox", "echo", "own"])), "own\n");
    assert_eq!(run("d", shell("d", "echo shell")), "shell\n");
    let bare = registry.push("bare", "1", &image(&[layer(&items)], &json!({}), true));
    let refused = machine.try_launch("e", with(of_image("e", &[]), asked(&registry, &bare)));
    assert!(refused.unwrap_err().contains("neither the command nor its image names a program"));
    assert_nothing_left(&machine);
}

fn what_many_want_is_fetched_once() {
    let (Some(machine), Some(items)) = (machine(|_| {}), busybox()) else { return };
    let registry = Registry::new();
    let layers = [layer(&items), layer(&[text("x", "x")])];
    let made = image(&layers, &json!({}), true);
    let name = registry.push("app", "1", &made);
    let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    let begun: Vec<_> = names
        .iter()
        .map(|container| {
            let spec = Box::new(with(shell(container, "cat /x"), asked(&registry, &name)));
            machine.begin(kaon_kernel::container::ContainerRequest::Launch { container: id(container), spec })
        })
        .collect();
    for answer in begun {
        let outcome = answer.recv_timeout(crate::rig::PATIENCE).expect("an answer");
        assert!(matches!(outcome, kaon_kernel::container::ContainerOutcome::Launched { .. }), "{outcome:?}");
    }
    for container in &names {
        machine.wait(container);
        assert_eq!(machine.output(container, "stdout"), "x");
    }
    for blob in &made.layers {
        assert_eq!(registry.asked(&format!("/v2/app/blobs/{}", sha(blob))), 1, "each layer comes once");
    }
    // Another image of the same layers brings only what is new.
    let more = image(&[layers[0].clone(), layer(&[text("y", "y")])], &json!({}), true);
    let other = registry.push("app", "2", &more);
    machine.run("again", with(shell("again", "true"), asked(&registry, &other)));
    assert_eq!(registry.asked(&format!("/v2/app/blobs/{}", sha(&made.layers[0]))), 1);
    assert_eq!(layers_of(&machine), 3);
    // What nobody uses goes when it is asked to, and what is named stays.
    let pruned = images(&machine).prune(std::slice::from_ref(&other)).expect("pruned");
    assert_eq!((pruned.images, pruned.layers, layers_of(&machine)), (1, 1, 2));
    let long = with(shell("long", "sleep 60"), asked(&registry, &other));
    machine.launch("long", long);
    let pruned = images(&machine).prune(&[]).expect("pruned");
    assert_eq!((pruned.images, pruned.layers), (0, 0), "a container uses it");
    machine.kill("long", Length::ZERO);
    machine.wait("long");
    let pruned = images(&machine).prune(&[]).expect("pruned");
    assert_eq!((pruned.images, pruned.layers, layers_of(&machine)), (1, 2, 0));
}

fn lies_of_a_registry_are_seen() {
    let Some(machine) = machine(|_| {}) else { return };
    let registry = Registry::new();
    let plain = image(&[layer(&[text("x", "x")])], &json!({}), true);
    let refused = |name: &str, container: ContainerInfo| {
        machine.try_launch(name, with(shell(name, "true"), container)).expect_err("refused")
    };
    let manifest = |name: &str, made: &Made, change: &dyn Fn(&mut serde_json::Value)| {
        let mut made = made.clone();
        change(&mut made.manifest);
        registry.push(name, "1", &made)
    };
    // Bytes that are not those of the digest.
    let name = registry.push("swapped", "1", &plain);
    let mut other = plain.layers[0].clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    registry.lie(&format!("/v2/swapped/blobs/{}", sha(&plain.layers[0])), other);
    assert!(refused("a", asked(&registry, &name)).contains("a layer is not what it should be"));
    // Sizes that are not those of the bytes.
    let name = manifest("size", &plain, &|manifest| manifest["layers"][0]["size"] = json!(1));
    assert!(refused("b", asked(&registry, &name)).contains("is not as large as it should be"));
    // A layer that holds something else than the configuration says.
    let mut made = plain.clone();
    made.config["rootfs"]["diff_ids"][0] = json!(sha(b"other"));
    made.describe();
    let name = registry.push("diff", "1", &made);
    assert!(refused("c", asked(&registry, &name)).contains("what a layer holds is not what it should be"));
    // A manifest that is not the one that was asked for.
    registry.push("pinned", "1", &plain);
    let pin = format!("{}/pinned@{}", registry.address, sha(b"another"));
    registry.lie(&format!("/v2/pinned/manifests/{}", sha(b"another")), serde_json::to_vec(&plain.manifest).unwrap());
    assert!(refused("d", asked(&registry, &pin)).contains("the manifest is not what it should be"));
    // A configuration that is not the one of the manifest.
    let name = registry.push("config", "1", &plain);
    let config = serde_json::to_vec(&plain.config).unwrap();
    let mut swapped = config.clone();
    swapped[0] = b' ';
    registry.lie(&format!("/v2/config/blobs/{}", sha(&config)), swapped);
    assert!(refused("e", asked(&registry, &name)).contains("the configuration is not what it should be"));
    // Nothing, and nobody.
    let nothing = format!("{}/nothing:1", registry.address);
    assert!(refused("f", asked(&registry, &nothing)).contains("there is no image 'nothing'"));
    let name = registry.push("secret", "1", &plain);
    let mut nobody = asked(&registry, &name);
    nobody.image.as_mut().unwrap().credentials = None;
    let reason = refused("g", nobody);
    assert!(reason.contains("the credentials are wrong"), "{reason}");
    let mut wrong = asked(&registry, &name);
    let config = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"YTpi\"}}}}}}", registry.address);
    wrong.image.as_mut().unwrap().credentials = Some(config.into_bytes());
    let reason = refused("h", wrong);
    assert!(reason.contains("the credentials are wrong") && !reason.contains("YTpi"), "{reason}");
    for (number, bad) in ["http://x/y", "../x", "x y", "x@sha256:1"].into_iter().enumerate() {
        let reason = refused(&format!("i{number}"), asked(&registry, bad));
        assert!(reason.contains("names no image"), "{bad}: {reason}");
    }
    assert_eq!(layers_of(&machine), 0, "nothing of a lie is kept");
    assert_nothing_left(&machine);
}

fn hostile_layers_reach_nothing() {
    let Some(machine) = machine(|images| {
        images.bounds.entries_max = 200;
        images.bounds.ratio_free_bytes = 1 << 20;
        images.bounds.ratio_max = 20;
    }) else {
        return;
    };
    let registry = Registry::new();
    let outside = machine.directory.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("file"), "whole").expect("written");
    let out: &'static str = outside.display().to_string().leak();
    let through: &'static str = format!("{out}/file").leak();
    let flood: Vec<Item> = (0..300).map(|_| Item::Directory("d/", 0o755)).collect();
    let tricks: Vec<(&str, Vec<Item>, &str)> = vec![
        ("dots", vec![text("../../outside/new", "x")], "'..'"),
        ("hidden-dots", vec![text("a/../../../outside/new", "x")], "'..'"),
        ("parent-link", vec![Item::Link("way", out), text("way/new", "x")], "can't make the directories"),
        ("directory-link", vec![Item::Link("way", out), Item::Directory("way/new/", 0o777)], "can't make"),
        (
            "replaced-parent",
            vec![Item::Directory("way/", 0o755), Item::Link("way", out), text("way/new", "x")],
            "can't make",
        ),
        ("hard-out", vec![Item::Hard("mine", through)], "a hard link to what is no file of its layer"),
        ("hard-dots", vec![Item::Hard("mine", "../../outside/file")], "'..'"),
        ("hard-link", vec![Item::Link("way", out), Item::Hard("mine", "way/file")], "can't make"),
        ("device", vec![Item::Device("disk")], "a device"),
        ("hidden-device", vec![Item::Device("deviant/disk")], "a device"),
        ("whiteout-up", vec![text("a/.wh...", "")], "a whiteout of nothing"),
        ("whiteout-here", vec![text("a/.wh..", "")], "a whiteout of nothing"),
        ("whiteout-empty", vec![text("a/.wh.", "")], "a whiteout of nothing"),
        ("whiteout-through", vec![Item::Link("way", out), text("way/.wh.file", "")], "can't make"),
        ("opaque-through", vec![Item::Link("way", out), text("way/.wh..wh..opq", "")], "can't make"),
        ("the-whole", vec![Item::Link(".", out)], "in place of the whole"),
        ("flood", flood, "more than 200 entries"),
        ("bomb", vec![Item::File("zeros", vec![0; 8 << 20], 0o644)], "taken for a bomb"),
    ];
    for (number, (name, items, words)) in tricks.into_iter().enumerate() {
        let image = registry.push(name, "1", &image(&[layer(&items)], &json!({}), true));
        let container = format!("c{number}");
        let refused = machine.try_launch(&container, with(shell(&container, "true"), asked(&registry, &image)));
        let reason = refused.expect_err(name);
        assert!(reason.contains(words), "{name}: {reason}");
    }
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 1, "something was made outside");
    assert_eq!(fs::read_to_string(outside.join("file")).expect("there"), "whole");
    assert_eq!(layers_of(&machine), 0, "nothing of them is kept");
    let staging = images(&machine).config().store.join("staging");
    assert_eq!(fs::read_dir(staging).expect("a store").count(), 0);
    // What only looks like a way out leads nowhere: the root of the container is the root of everything in it.
    let Some(mut items) = busybox() else { return };
    items.retain(|item| !matches!(item, Item::Directory("etc/", _)));
    items.extend([Item::Link("out", out), Item::Link("mnt", "/../../../.."), Item::Link("etc/hosts", "/out/file")]);
    let name = registry.push("links", "1", &image(&[layer(&items)], &json!({"WorkingDir": "/mnt/w"}), false));
    let text = "cat /out/file || echo nothing; cat /etc/hosts > /dev/null; pwd";
    let (_, told) = machine.run("links", with(shell("links", text), asked(&registry, &name)));
    assert_eq!(told, "nothing\n/w\n", "{}", machine.output("links", "stderr"));
    // Links in the place of what the system mounts end the launch.
    for (number, path) in ["proc", "sys", "dev", "etc"].into_iter().enumerate() {
        let mut items = busybox().expect("it was there");
        items.retain(
            |item| !matches!(item, Item::Directory(place, _) | Item::File(place, ..) if place.starts_with(path)),
        );
        items.push(Item::Link(path, "/tmp"));
        let name = registry.push("system", path, &image(&[layer(&items)], &json!({}), false));
        let container = format!("s{number}");
        let refused = machine.try_launch(&container, with(shell(&container, "true"), asked(&registry, &name)));
        assert!(refused.expect_err(path).contains("in the image"), "{path}");
    }
    assert_nothing_left(&machine);
}

fn archives_and_layouts_are_images_too() {
    let Some(items) = busybox() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let archives = directory.path();
    let made = image(
        &[layer(&items), layer(&[text("x", "saved")])],
        &json!({"Cmd": ["cat", "/x"], "Env": ["PATH=/bin"]}),
        false,
    );
    // As `docker save` writes it.
    let mut builder = tar::Builder::new(fs::File::create(archives.join("saved:1.tar")).expect("a file"));
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).expect("written");
    };
    add("0/layer.tar", &made.layers[0]);
    add("1/layer.tar", &made.layers[1]);
    add("config.json", &serde_json::to_vec(&made.config).expect("in memory"));
    let saved = json!([{"Config": "config.json", "RepoTags": ["saved:1"], "Layers": ["0/layer.tar", "1/layer.tar"]}]);
    add("manifest.json", &serde_json::to_vec(&saved).expect("in memory"));
    builder.finish().expect("written");
    drop(builder);
    // An OCI layout.
    let layout = archives.join("team/laid");
    fs::create_dir_all(layout.join("blobs/sha256")).expect("made");
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).expect("written");
    let packed = image(
        &[layer(&items), layer(&[text("x", "laid")])],
        &json!({"Cmd": ["cat", "/x"], "Env": ["PATH=/bin"]}),
        true,
    );
    let manifest = serde_json::to_vec(&packed.manifest).expect("in memory");
    for blob in packed.blobs().iter().chain([&manifest]) {
        fs::write(layout.join("blobs/sha256").join(&sha(blob)[7..]), blob).expect("written");
    }
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sha(&manifest), "size": manifest.len(), "annotations": {"org.opencontainers.image.ref.name": "2"}}]});
    fs::write(layout.join("index.json"), index.to_string()).expect("written");
    let Some(machine) = machine(|images| images.registry = archives.display().to_string()) else { return };
    let local = |name: &str| {
        let image = Image { name: name.to_owned(), is_cached: true, credentials: None };
        ContainerInfo { image: Some(image), ..ContainerInfo::default() }
    };
    let of_image = |name: &str| spec(name, Program::Exec { file: String::new(), arguments: Vec::new() });
    assert_eq!(machine.run("a", with(of_image("a"), local("saved:1"))).1, "saved");
    assert_eq!(machine.run("b", with(of_image("b"), local("team/laid:2"))).1, "laid");
    let refused = machine.try_launch("c", with(of_image("c"), local("saved:2"))).expect_err("not there");
    assert!(refused.contains("there is no image"), "{refused}");
    // A layer of a layout that was changed.
    fs::write(layout.join("blobs/sha256").join(&sha(&packed.layers[1])[7..]), "x").expect("written");
    images(&machine).prune(&[]).expect("pruned");
    let refused = machine.try_launch("d", with(of_image("d"), local("team/laid:2"))).expect_err("changed");
    assert!(refused.contains("is not as large as it should be"), "{refused}");
    assert_nothing_left(&machine);
}

fn volumes_show_in_the_root() {
    let (Some(machine), Some(items)) = (machine(|_| {}), busybox()) else { return };
    let registry = Registry::new();
    let root = registry.push("root", "1", &image(&[layer(&items)], &json!({}), true));
    let data = registry.push("data", "1", &image(&[layer(&[text("data", "of an image")])], &json!({}), true));
    let host = machine.directory.path().join("host");
    fs::create_dir(&host).expect("made");
    fs::write(host.join("file"), "of the machine\n").expect("written");
    let path = host.display().to_string();
    let volume = |container_path: &str, is_read_only, source| Volume {
        container_path: container_path.to_owned(),
        is_read_only,
        source,
    };
    let of_image = || {
        VolumeSource::Image(Image { name: data.clone(), is_cached: true, credentials: Some(registry.credentials()) })
    };
    let of_host = VolumeSource::Host { path, propagation: Propagation::Private };
    let volumes = vec![
        volume("/deep/in/host", true, of_host),
        volume("/data", false, of_image()),
        volume("below", true, of_image()),
        volume("/etc/../../x", false, of_image()),
    ];
    let mut container = ContainerInfo { volumes, ..asked(&registry, &root) };
    let refused = machine.try_launch("a", with(shell("a", "true"), container.clone())).expect_err("a path with ..");
    assert!(refused.contains("is no path"), "{refused}");
    container.volumes.pop();
    let text = "cat /deep/in/host/file /data/data; echo; cat below/data; echo x > /data/new && echo written; \
         echo x > below/new; echo x > /deep/in/host/file";
    let (_, out) = machine.run("b", with(shell("b", text), container));
    assert_eq!(out, "of the machine\nof an image\nof an imagewritten\n");
    assert_eq!(machine.output("b", "stderr").matches("Read-only file system").count(), 2);
    assert_eq!(fs::read_dir(machine.sandbox("b").join("below")).expect("made").count(), 0, "seen inside only");
    assert_nothing_left(&machine);
    // A volume of an image for a container without one.
    let container = ContainerInfo { volumes: vec![volume("v", false, of_image())], ..ContainerInfo::default() };
    assert_eq!(machine.run("c", with(shell("c", "cat v/data"), container)).1, "of an image");
    assert_nothing_left(&machine);
}

fn a_restart_keeps_what_runs_and_lets_go_of_the_rest() {
    let (Some(mut machine), Some(items)) = (machine(|_| {}), busybox()) else { return };
    let registry = Registry::new();
    let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
    for container in ["kept", "doomed"] {
        let text = "while ! ls go 2> /dev/null; do sleep 0.01; done; cat /etc/passwd | wc -l";
        machine.launch(container, with(shell(container, text), asked(&registry, &name)));
    }
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["kept"]), ["kept"]);
    let config = images(&machine).config().clone();
    let roots = fs::read_dir(config.roots.join("containers")).expect("made").map(|entry| entry.unwrap().file_name());
    assert_eq!(roots.collect::<Vec<_>>(), ["kept"]);
    assert_eq!(images(&machine).prune(&[]).expect("pruned").layers, 0, "what runs uses it");
    fs::write(machine.sandbox("kept").join("go"), "").expect("written");
    assert_eq!(machine.wait("kept").status, Some(ExitStatus::Code(0)));
    assert!(machine.output("kept", "stdout").ends_with("2\n"));
    assert_nothing_left(&machine);
}

fn a_fetch_that_hangs_is_given_up() {
    let Some(machine) = machine(|images| images.stall_timeout = std::time::Duration::from_secs(600)) else { return };
    let registry = Registry::new();
    let made = image(&[layer(&[text("x", &"x".repeat(1000))])], &json!({}), false);
    let name = registry.push("slow", "1", &made);
    let path = format!("/v2/slow/blobs/{}", sha(&made.layers[0]));
    registry.hang(&path);
    let spec = Box::new(with(shell("c", "true"), asked(&registry, &name)));
    let answer = machine.begin(kaon_kernel::container::ContainerRequest::Launch { container: id("c"), spec });
    eventually("the layer is asked for", || registry.asked(&path) == 1);
    let staging = images(&machine).config().store.join("staging");
    let held = || fs::read_dir(&staging).expect("a store").count();
    assert_eq!(held(), 1, "what is on its way lies there");
    machine.kill("c", Length::ZERO);
    let outcome = answer.recv_timeout(crate::rig::PATIENCE).expect("an answer");
    assert!(format!("{outcome:?}").contains("killed while what it needs was fetched"), "{outcome:?}");
    eventually("what the worker had on its way is gone", || held() == 0);
    // So is what a worker left that nobody waited for, as soon as somebody removes.
    fs::create_dir_all(staging.join("1.0/tree")).expect("as a killed one leaves it");
    images(&machine).prune(&[]).expect("nobody fetches");
    assert_eq!(held(), 0);
    assert_nothing_left(&machine);
}

/// Attack 51: an image whose working directory or program is behind a link of the kernel's own, to another process's root or to
/// what the launcher has open.
fn no_directory_and_no_program_lies_outside() {
    let (Some(machine), Some(mut items)) = (machine(|_| {}), busybox()) else { return };
    items.push(Item::Link("lnk", "/proc/1/cwd/etc"));
    items.push(Item::Link("own", "/proc/self/root"));
    items.push(Item::Directory("there/", 0o755));
    items.push(Item::Link("near", "there"));
    let registry = Registry::new();
    let made = layer(&items);
    let mut number = 0;
    let mut begin = |directory: &str, spec: LaunchSpec| {
        number += 1;
        let run = json!({"WorkingDir": directory});
        let name = registry.push("team/odd", &number.to_string(), &image(std::slice::from_ref(&made), &run, false));
        let answer = machine.try_launch("c", with(spec, asked(&registry, &name)));
        let ended = answer.map(|_| (machine.wait("c"), machine.output("c", "stdout")));
        fs::remove_dir_all(machine.sandbox("c")).expect("its sandbox");
        machine.ask(kaon_kernel::container::ContainerRequest::Cleanup { container: id("c") });
        ended.map(|(_, out)| out)
    };
    let mut outside =
        vec!["/proc/1/root".to_owned(), "/proc/1/cwd".to_owned(), "/lnk".to_owned(), "/own/etc".to_owned()];
    outside.extend((3..16).map(|number| format!("/proc/self/fd/{number}")));
    for directory in &outside {
        let refused = begin(directory, shell("c", "pwd; ls")).expect_err(directory);
        assert!(refused.contains("in the image"), "{directory}: {refused}");
    }
    for (directory, at) in [("/near", "/there\n"), ("/a/../b//./c", "/b/c\n"), ("/../..", "/\n")] {
        assert_eq!(begin(directory, shell("c", "pwd -P")).as_deref(), Ok(at), "{directory}");
    }
    // From each that could be open, the way up to the machine's shell.
    for number in 3..24 {
        let path = format!("/proc/self/fd/{number}{}/bin/sh", "/..".repeat(20));
        let refused = begin("/", crate::rig::exec("c", &[&path, "-c", "echo out"])).expect_err(&path);
        assert!(refused.contains("can't execute"), "{refused}");
    }
}

/// Attack 50: an image whose program is a link to the executable that started it, and a program that writes to it.
fn the_own_binary_stays_whole() {
    let privileged = |settings: &mut Settings| settings.rights.bounding = parse_capabilities("ALL").ok();
    let privileged = machine_with(&format!("{ISOLATION},linux/capabilities"), privileged, |_| {});
    let (Some(machine), Some(privileged), Some(mut items)) = (machine(|_| {}), privileged, busybox()) else { return };
    let own = fs::read("/proc/self/exe").expect("own");
    let registry = Registry::new();
    items.extend([
        Item::Link("bin/entry", "/proc/self/exe"),
        Item::File("bin/script", b"#!/proc/self/exe\n".to_vec(), 0o755),
    ]);
    let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
    let mut container = asked(&registry, &name);
    container.linux.share_pid_namespace = Some(true);
    // The launcher is the parent of the program, and seen by it when it shares the process numbers.
    let text =
        "test -e /proc/$PPID/exe && echo there; echo x 2>&1 > /proc/$PPID/exe; echo x 2>&1 >> /proc/$PPID/exe; true";
    let (_, out) = machine.run("a", with(shell("a", text), container.clone()));
    assert_eq!(out.matches("Permission denied").count(), 2, "the launcher has rights that it has not: {out}");
    let (_, out) = privileged.run("a", with(shell("a", text), container.clone()));
    let errors = privileged.output("a", "stderr");
    assert!(out.starts_with("there"), "{out}");
    let refusals = ["Read-only file system", "Text file busy"].map(|words| out.matches(words).count());
    assert_eq!(refusals.iter().sum::<usize>(), 2, "{errors}{out}");
    for (number, program) in ["/bin/entry", "/bin/script"].into_iter().enumerate() {
        let container_name = format!("b{number}");
        let spec = with(exec(&container_name, &[program, "--list"]), container.clone());
        // It may start ourselves, without the machine's libraries: that ends at once, and nothing is written.
        if machine.try_launch(&container_name, spec).is_ok() {
            machine.wait(&container_name);
        }
    }
    assert_eq!(fs::read("/proc/self/exe").expect("own"), own);
    assert_nothing_left(&machine);
}
