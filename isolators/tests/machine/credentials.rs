//! Registries that want to know who asks: by token and by name and password, over TLS and without, with what the operator gave
//! (`--docker-config`) and with what a task brings.

use crate::Test;
use crate::images::{IMAGES, assert_nothing_left, machine_with, with};
use crate::registry::{Asks, Registry, busybox, image, layer};
use crate::rig::{Machine, shell};
use crate::serve;
use kaon_isolators::images::ImagesConfig;
use kaon_kernel::container_info::{ContainerInfo, Image};
use serde_json::json;
use std::fs;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("credentials::registries_over_tls_ask_who_comes", registries_over_tls_ask_who_comes),
    ("credentials::a_task_shows_its_own_before_the_operators", a_task_shows_its_own_before_the_operators),
];

fn asking(name: &str, credentials: Option<Vec<u8>>) -> ContainerInfo {
    let image = Image { name: name.to_owned(), is_cached: true, credentials };
    ContainerInfo { image: Some(image), ..ContainerInfo::default() }
}

/// A machine whose own registry is this one, over TLS; with a file of certificates and one of credentials.
fn machine(registry: &Registry, trusted: Option<&Path>, config: Option<&Path>) -> Option<Machine> {
    let change = |images: &mut ImagesConfig| {
        images.registry = format!("https://{}", registry.address);
        images.authorities = trusted.map(Path::to_owned);
        images.credentials = config.map(Path::to_owned);
    };
    machine_with(IMAGES, |_| {}, change)
}

fn registries_over_tls_ask_who_comes() {
    let Some(items) = busybox() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let (tls, pem) = serve::tls();
    let (trusted, config) = (folder.path().join("authorities.pem"), folder.path().join("config.json"));
    fs::write(&trusted, pem).expect("a file");
    for asks in [Asks::Token, Asks::Basic] {
        let registry = Registry::with(asks, Some(tls.clone()));
        registry.push("team/app", "1", &image(&[layer(&items)], &json!({}), true));
        let run = |machine: &Machine| machine.try_launch("a", with(shell("a", "true"), asking("team/app:1", None)));
        fs::write(&config, registry.credentials()).expect("a file");
        // A server that nobody vouches for hears no password.
        let Some(stranger) = machine(&registry, None, Some(&config)) else { return };
        let reason = run(&stranger).expect_err("nobody vouches for it");
        assert!(reason.contains("certificate") || reason.contains("authority"), "{reason}");
        drop(stranger);
        for (user, words) in [(None, "refuses to show"), (Some("ann:wr0ng"), "refuses to show")] {
            let given = user.map(|user| fs::write(&config, registry.credentials_of(user)).expect("a file"));
            let machine = machine(&registry, Some(&trusted), given.map(|()| &*config)).expect("root");
            let reason = run(&machine).expect_err("it does not know them");
            assert!(reason.contains(words) && !reason.contains("wr0ng"), "{reason}");
        }
        assert_eq!(registry.asked("/v2/team/app/manifests/1"), 0, "nobody has seen anything");
        fs::write(&config, registry.credentials()).expect("a file");
        let machine = machine(&registry, Some(&trusted), Some(&config)).expect("root");
        let (_, out) = machine.run("b", with(shell("b", "echo fetched"), asking("team/app:1", None)));
        assert_eq!(out, "fetched\n");
        assert_eq!(registry.asked("/v2/team/app/manifests/1"), 1);
        assert_nothing_left(&machine);
    }
}

fn a_task_shows_its_own_before_the_operators() {
    let Some(items) = busybox() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let config = folder.path().join("config.json");
    let registry = Registry::with(Asks::Basic, None);
    let name = registry.push("app", "1", &image(&[layer(&items)], &json!({}), true));
    fs::write(&config, registry.credentials()).expect("a file");
    let change = |images: &mut ImagesConfig| images.credentials = Some(config.clone());
    let Some(machine) = machine_with(IMAGES, |_| {}, change) else { return };
    let wrong = registry.credentials_of("bob:wr0ng");
    let launch = |machine: &Machine, own| machine.try_launch("a", with(shell("a", "true"), asking(&name, own)));
    let reason = launch(&machine, Some(wrong.clone())).expect_err("its own are wrong");
    assert!(reason.contains("refuses to show") && !reason.contains("wr0ng"), "{reason}");
    let (_, out) = machine.run("b", with(shell("b", "echo fetched"), asking(&name, None)));
    assert_eq!(out, "fetched\n", "with those of the operator");
}
