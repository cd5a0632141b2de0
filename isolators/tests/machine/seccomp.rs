//! Filters of system calls, as the kernel carries them out.

use crate::Test;
use crate::groups::isolated;
use crate::nested;
use crate::rig::{Machine, id, runtime, shell};
use kaon_kernel::container::{ExitStatus, LaunchSpec};
use kaon_kernel::container_info::{ContainerInfo, LinuxInfo, Seccomp};
use kaon_kernel::nested::Piece;
use kaon_kernel::time::Duration as Length;
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    ("seccomp::forbidden_calls_fail_as_the_profile_says", forbidden_calls_fail_as_the_profile_says),
    ("seccomp::a_session_has_the_profile_of_its_container", a_session_has_the_profile_of_its_container),
];

/// Every call but those that make directories, which are answered with ENOSYS, and `sync(2)`, which ends who makes it.
const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;

fn machine(usual: Option<&str>) -> Option<(Machine, tempfile::TempDir)> {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("strict.json"), PROFILE).expect("a profile");
    let machine = isolated("linux/seccomp", |settings| {
        settings.seccomp_directory = Some(directory.path().to_owned());
        settings.seccomp_profile = usual.map(str::to_owned);
    });
    machine.map(|machine| (machine, directory))
}

fn asking(name: &str, seccomp: Seccomp, text: &str) -> LaunchSpec {
    let linux = LinuxInfo { seccomp: Some(seccomp), ..LinuxInfo::default() };
    LaunchSpec { container: Some(Box::new(ContainerInfo { linux, ..ContainerInfo::default() })), ..shell(name, text) }
}

const TEXT: &str = "mkdir made; echo $?; grep Seccomp: /proc/self/status; sync; echo $?";

fn forbidden_calls_fail_as_the_profile_says() {
    let Some((machine, _directory)) = machine(Some("strict.json")) else { return };
    for user in [None, Some("nobody")] {
        let name = user.unwrap_or("root");
        let spec = LaunchSpec { user: user.map(str::to_owned), ..shell(name, TEXT) };
        let (_, out) = machine.run(name, spec);
        assert_eq!(out, "1\nSeccomp:\t2\n159\n", "{name}: 159 is the death by SIGSYS");
        assert!(machine.output(name, "stderr").contains("Function not implemented"), "{name}");
    }
    let (exit, out) = machine.run("free", asking("free", Seccomp::Unconfined, TEXT));
    assert_eq!((exit.status, out.as_str()), (Some(ExitStatus::Code(0)), "0\nSeccomp:\t0\n0\n"));
    let missing = machine.try_launch("none", asking("none", Seccomp::Profile("no.json".to_owned()), "true"));
    assert!(missing.unwrap_err().contains("profile 'no.json' can't be read"));
    let out_of_it = machine.try_launch("out", asking("out", Seccomp::Profile("../strict.json".to_owned()), "true"));
    assert!(out_of_it.unwrap_err().contains("is no name of a profile"));
}

fn a_session_has_the_profile_of_its_container() {
    let Some((mut machine, _directory)) = machine(None) else { return };
    machine.launch("c", asking("c", Seccomp::Profile("strict.json".to_owned()), "sleep 300; true"));
    let run = |machine: &Machine, name: &str| {
        runtime().block_on(async {
            machine.containers().launch_nested(nested::session(name, TEXT)).await.unwrap();
            let mut listener = machine.containers().listen(&id(name)).await.unwrap();
            let mut out = Vec::new();
            while let Some(piece) = listener.next().await {
                if let Piece::Out(bytes) = piece {
                    out.extend(bytes);
                }
            }
            String::from_utf8(out).unwrap()
        })
    };
    assert_eq!(run(&machine, "c.s"), "1\nSeccomp:\t2\n159\n");
    machine.stop();
    machine.start();
    machine.recover(&["c"]);
    assert_eq!(run(&machine, "c.t"), "1\nSeccomp:\t2\n159\n", "another agent knows it too");
    // An agent that could not give a session the same filter gives it none of its own.
    machine.stop();
    machine.config.isolators = kaon_isolators::chain::Chain::parse("posix/cpu").unwrap();
    machine.start();
    machine.recover(&["c"]);
    let refused = runtime().block_on(machine.containers().launch_nested(nested::session("c.u", TEXT))).unwrap_err();
    assert!(refused.to_string().contains("linux/seccomp"), "{refused}");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}
