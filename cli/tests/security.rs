//! Who may be part of a cluster: what the certificates of its own authority say, and nobody else.

use crate::client::get;
use crate::cluster::{START_WITHIN, first_line};
use crate::deadline::{SOON, wait_for};
use crate::fleet::{Fleet, ca, text};
use crate::framework::{Framework, info, task};
use std::os::unix::fs::PermissionsExt;

fn agents(api: &str) -> usize {
    get(api, "/state").json()["slaves"].as_array().expect("slaves").len()
}

#[test]
fn an_agent_of_another_cluster_or_of_a_false_authority_is_shut_out_and_the_cluster_goes_on() {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", &[]);
    let api = fleet.api();
    wait_for("the good agent", SOON, || (agents(&api) == 1).then_some(()));
    let master = fleet.hosts[0].listen.clone();
    // The second bears the name of our cluster, but another signed it.
    for cluster in ["elsewhere", "fleet"] {
        let (authority, home) = (fleet.path(&format!("ca-{cluster}")), fleet.path(&format!("stranger-{cluster}")));
        assert!(ca(&["init", "--cluster", cluster, "--dir", text(&authority)]).status.success());
        let out = ["--role", "agent", "--name", "agent-9", "--out", text(&home)];
        assert!(ca(&[&["issue", "--dir", text(&authority)][..], &out[..]].concat()).status.success());
        // Once with its own idea of who is right, once with ours, which everybody may read.
        for trusted in [authority.join("authority.pem"), fleet.path("ca/authority.pem")] {
            let (certificate, key) = (home.join("agent-9.pem"), home.join("agent-9.key"));
            let mut arguments = vec!["agent", "--http", "127.0.0.1:0", "--registration-backoff-factor", "0.05"];
            arguments.extend(["--log", "info", "--master", &master, "--authority", text(&trusted)]);
            arguments.extend(["--certificate", text(&certificate), "--key", text(&key)]);
            let mut stranger = fleet.stranger(&arguments, &home);
            if first_line(&mut stranger, START_WITHIN).is_some() {
                let log = || std::fs::read_to_string(home.join("log")).unwrap_or_default();
                let why = ["certificate not accepted", "another cluster"];
                wait_for("the refusal in its log", SOON, || why.iter().any(|why| log().contains(why)).then_some(()));
            }
            let _ = stranger.kill();
            stranger.wait().expect("our child");
            assert_eq!(agents(&api), 1, "{cluster}");
        }
    }
    let mut framework = Framework::subscribe(&api, info("undisturbed"));
    framework.launch_until(vec![task("good", "true")], "TASK_FINISHED");
    framework.teardown();
}

#[test]
fn an_agent_takes_orders_from_masters_alone() {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.agent("agent-1", &[]);
    fleet.issue("agent", "agent-2");
    let home = fleet.path("agent-2");
    let (certificate, key, authority) =
        (home.join("agent-2.pem"), home.join("agent-2.key"), fleet.path("ca/authority.pem"));
    // Another agent in the place of a master.
    let master = fleet.hosts[1].listen.clone();
    let mut arguments = vec!["agent", "--http", "127.0.0.1:0", "--master", &master, "--authority", text(&authority)];
    arguments.extend(["--certificate", text(&certificate), "--key", text(&key)]);
    let mut misled = fleet.stranger(&arguments, &home);
    assert!(first_line(&mut misled, START_WITHIN).is_some(), "it starts, and looks for its master");
    let log = || std::fs::read_to_string(home.join("log")).unwrap_or_default();
    wait_for("a word about who answered", SOON, || log().contains("not connected").then_some(()));
    let _ = misled.kill();
    misled.wait().expect("our child");
    let api = fleet.api();
    wait_for("the good agent alone", SOON, || (agents(&api) == 1).then_some(()));
    let mut framework = Framework::subscribe(&api, info("undisturbed"));
    framework.launch_until(vec![task("good", "true")], "TASK_FINISHED");
    framework.teardown();
}

#[test]
fn a_host_without_the_certificate_of_its_role_does_not_start_and_says_why() {
    let mut fleet = Fleet::new();
    fleet.master(&[]);
    fleet.issue("agent", "agent-1");
    let home = fleet.path("agent-1");
    let authority = fleet.path("ca/authority.pem");
    let listen = fleet.hosts[0].listen.clone();
    let (certificate, key) = (home.join("agent-1.pem"), home.join("agent-1.key"));
    let own = ["--certificate", text(&certificate), "--key", text(&key), "--authority", text(&authority)];
    let stolen = fleet.path("master-1");
    let (certificate, key) = (stolen.join("master-1.pem"), stolen.join("master-1.key"));
    let masters = ["--certificate", text(&certificate), "--key", text(&key), "--authority", text(&authority)];
    let mixed = ["--certificate", own[1], "--key", masters[3], "--authority", own[5]];
    let none = ["--certificate", "nothing.pem", "--key", "nothing.key", "--authority", text(&authority)];
    let master = ["master", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let agent = ["agent", "--http", "127.0.0.1:0", "--master", &listen];
    for (host, credentials, needle) in [
        (&master[..], &own[..], "has the role of"),
        (&agent[..], &masters[..], "has the role of"),
        (&agent[..], &none[..], "kaon ca issue"),
        (&agent[..], &mixed[..], "key"),
        (&agent[..], &[][..], "--certificate"),
    ] {
        let place = fleet.path("nobody");
        let mut child = fleet.stranger(&[host, credentials].concat(), &place);
        let status = wait_for("a refusal", SOON, || child.try_wait().expect("our child"));
        let log = std::fs::read_to_string(place.join("log")).expect("a log");
        assert!(!status.success() && log.contains(needle), "{host:?} {credentials:?}: {status} {log}");
    }
    assert_eq!(agents(&fleet.api()), 0);
}

#[test]
fn an_authority_is_never_overwritten_and_its_keys_are_for_its_owner_alone() {
    let mut fleet = Fleet::new();
    let home = fleet.path("ca");
    let before = std::fs::read(home.join("authority.key")).expect("a key");
    let again = ca(&["init", "--dir", text(&home)]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && said.contains("authority"), "{said}");
    assert_eq!(std::fs::read(home.join("authority.key")).expect("a key"), before);
    fleet.issue("agent", "agent-1");
    for key in [home.join("authority.key"), fleet.path("agent-1/agent-1.key")] {
        let mode = std::fs::metadata(&key).expect("a key").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", key.display());
    }
    let before = std::fs::read(fleet.path("agent-1/agent-1.key")).expect("a key");
    let own = fleet.path("agent-1");
    let again = ca(&["issue", "--dir", text(&home), "--role", "agent", "--name", "agent-1", "--out", text(&own)]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && said.contains("there already"), "{said}");
    assert_eq!(std::fs::read(own.join("agent-1.key")).expect("a key"), before);
    for (name, role) in [("../evil", "agent"), ("a/b", "agent"), ("", "agent"), ("x", "king")] {
        let refused = ca(&[
            "issue",
            "--dir",
            text(&home),
            "--role",
            role,
            "--name",
            name,
            "--out",
            text(&fleet.path("out/deep")),
        ]);
        assert!(!refused.status.success(), "{name:?} {role}");
    }
    assert!(!fleet.path("out/evil.pem").exists() && !fleet.path("evil.pem").exists());
    let missing = ca(&["issue", "--dir", "/nonexistent", "--role", "agent", "--name", "a", "--out", text(&home)]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("kaon ca init"), "it says what to do");
    fleet.master(&[]);
}
