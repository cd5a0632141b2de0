//! Namespaces, rights, volumes and the size of sandboxes, as a container sees them and as the machine does not.

use crate::Test;
use crate::groups::isolated;
use crate::rig::{Machine, is_alive, shell};
use kaon_isolators::linux::parse_capabilities;
use kaon_isolators::secrets::Directory;
use kaon_kernel::container::{ExitStatus, LaunchSpec, VolumeLink};
use kaon_kernel::container_info::{ContainerInfo, IpcMode, LinuxInfo, Propagation, Volume, VolumeSource};
use kaon_kernel::secret::{Secret, SecretReference};
use kaon_kernel::time::Duration as Length;
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    ("views::each_namespace_is_its_own", each_namespace_is_its_own),
    ("views::process_numbers_begin_anew", process_numbers_begin_anew),
    ("views::rights_are_bounded", rights_are_bounded),
    ("views::volumes_show_inside_only", volumes_show_inside_only),
    ("views::private_directories_lie_over_shared_ones", private_directories_lie_over_shared_ones),
    ("views::secrets_come_by_reference", secrets_come_by_reference),
    ("views::links_lead_no_volume_out", links_lead_no_volume_out),
    ("views::members_share_what_lies_around_them", members_share_what_lies_around_them),
    ("views::persistent_volumes_are_mounted", persistent_volumes_are_mounted),
    ("views::what_is_asked_for_in_vain_is_refused", what_is_asked_for_in_vain_is_refused),
    ("views::a_flood_of_output_has_a_bound", a_flood_of_output_has_a_bound),
    ("views::rights_count_only_within", rights_count_only_within),
];

const ALL: &str = "namespaces/pid,namespaces/mnt,namespaces/ipc,namespaces/uts,namespaces/cgroup";

fn asking(spec: LaunchSpec, container: ContainerInfo) -> LaunchSpec {
    LaunchSpec { container: Some(Box::new(container)), ..spec }
}

fn namespaces_of(pid: &str) -> Vec<String> {
    let name = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    ["pid", "mnt", "ipc", "uts", "cgroup"].map(name).to_vec()
}

fn each_namespace_is_its_own() {
    let Some(machine) = isolated(ALL, |_| {}) else { return };
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let spec = asking(
        shell("c", "hostname; sleep 60"),
        ContainerInfo { hostname: Some("inside".to_owned()), ..ContainerInfo::default() },
    );
    let pid = machine.launch("c", spec);
    crate::rig::eventually("it has told its name", || machine.output("c", "stdout") == "inside\n");
    let (ours, theirs) = (namespaces_of("self"), namespaces_of(&pid.to_string()));
    for (one, two) in ours.iter().zip(&theirs) {
        assert_ne!(one, two, "{ours:?} {theirs:?}");
    }
    let launcher = namespaces_of(&machine.launcher_of(pid).to_string());
    assert_eq!(launcher, ours, "the launcher stays outside");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before, "the machine sees no mount of it");
    machine.kill("c", Length::ZERO);
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Signal(9)));
    // What may be shared is shared when it is asked for.
    let linux = LinuxInfo { share_pid_namespace: Some(true), ipc: Some(IpcMode::ShareParent), ..LinuxInfo::default() };
    let shared = asking(shell("d", "sleep 60"), ContainerInfo { linux, ..ContainerInfo::default() });
    let pid = machine.launch("d", shared);
    let theirs = namespaces_of(&pid.to_string());
    assert_eq!((&theirs[0], &theirs[2]), (&ours[0], &ours[2]));
    machine.kill("d", Length::ZERO);
    machine.wait("d");
    let Some(strict) = isolated("namespaces/pid", |settings| settings.keeps_pids = true) else { return };
    let linux = LinuxInfo { share_pid_namespace: Some(true), ..LinuxInfo::default() };
    let refused =
        strict.try_launch("e", asking(shell("e", "true"), ContainerInfo { linux, ..ContainerInfo::default() }));
    assert!(refused.unwrap_err().contains("is not allowed"));
}

fn process_numbers_begin_anew() {
    let Some(machine) = isolated("namespaces/pid,namespaces/ipc", |_| {}) else { return };
    let text = "echo $$; ls -d /proc/[0-9]* | wc -l; df -k /dev/shm | tail -n 1; sleep 300 & sleep 300";
    let linux = LinuxInfo { ipc: Some(IpcMode::Private), shm_mib: Some(4), ..LinuxInfo::default() };
    let pid = machine.launch("c", asking(shell("c", text), ContainerInfo { linux, ..ContainerInfo::default() }));
    crate::rig::eventually("it has looked around", || machine.output("c", "stdout").lines().count() == 3);
    let out = machine.output("c", "stdout");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "1", "{out}");
    assert!(lines[1].trim().parse::<u32>().unwrap() < 6, "only its own processes: {out}");
    assert!(lines[2].contains("4096"), "its own /dev/shm of 4 MiB: {out}");
    // The kernel takes all of them down with the first.
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    assert!(!is_alive(pid));
}

fn rights_are_bounded() {
    let chown = parse_capabilities("CHOWN,NET_RAW").unwrap();
    let Some(machine) = isolated("linux/capabilities,linux/nnp", |settings| settings.rights.bounding = Some(chown))
    else {
        return;
    };
    let text = "grep -E 'Cap(Eff|Bnd|Prm)|NoNewPrivs' /proc/self/status";
    let effective = Some(parse_capabilities("CHOWN").unwrap());
    let linux = LinuxInfo { effective, ..LinuxInfo::default() };
    let asked = ContainerInfo { linux, ..ContainerInfo::default() };
    let (_, out) = machine.run("c", asking(shell("c", text), asked.clone()));
    let value = |out: &str, name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).expect("a number")
    };
    assert_eq!([value(&out, "CapEff"), value(&out, "CapPrm"), value(&out, "CapBnd")], [1, 1, 1 | 1 << 13], "{out}");
    assert_eq!(value(&out, "NoNewPrivs"), 1, "{out}");
    // Another user keeps exactly what it was given.
    let nobody = LaunchSpec { user: Some("nobody".to_owned()), ..asking(shell("d", text), asked) };
    if nix::unistd::User::from_name("nobody").is_ok_and(|user| user.is_some()) {
        let (_, out) = machine.run("d", nobody);
        assert_eq!([value(&out, "CapEff"), value(&out, "CapBnd")], [1, 1 | 1 << 13], "{out}");
    }
    let effective = Some(parse_capabilities("SYS_ADMIN").unwrap());
    let linux = LinuxInfo { effective, ..LinuxInfo::default() };
    let refused =
        machine.try_launch("e", asking(shell("e", "true"), ContainerInfo { linux, ..ContainerInfo::default() }));
    assert!(refused.unwrap_err().contains("not among the bounding ones"));
}

fn rights_count_only_within() {
    let Some(machine) = isolated("namespaces/user,namespaces/pid,filesystem/linux", |_| {}) else { return };
    // What root of the machine may do: mount, make nodes, name the machine, set its clock, its limits. And what it still may:
    // whatever is its users'.
    let text = "cat /proc/self/uid_map /proc/self/gid_map; grep CapEff /proc/self/status; touch f; chown 65534:65534 f && stat -c %u f; \
        mkdir d; mount -t tmpfs none d && echo MOUNTED; mknod n c 1 3 && echo MADE; hostname changed && echo NAMED; \
        date -s @0; readlink /proc/self/ns/user; sleep 60";
    let pid = machine.launch("c", shell("c", text));
    crate::rig::eventually("it has tried", || machine.output("c", "stdout").contains("user:["));
    let out = machine.output("c", "stdout");
    let everybody = out.lines().filter(|line| line.split_whitespace().eq(["0", "0", "4294967295"])).count();
    assert_eq!(everybody, 2, "each is who it is outside: {out}");
    assert!(out.contains("\n65534\n"), "its own files are its own: {out}");
    let held = out.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    assert!(held.is_some_and(|held| held & 1 << 21 != 0), "it holds the right to mount, within: {out}");
    for word in ["MOUNTED", "MADE", "NAMED"] {
        assert!(!out.contains(word), "{word}: {out}");
    }
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    assert!(now.as_secs() > 365 * 24 * 3600, "the clock was set: {now:?}");
    let user = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(user(&pid.to_string()), user("self"));
    assert_eq!(user(&machine.launcher_of(pid).to_string()), user("self"), "the launcher stays outside");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    // As another user, who has no rights at all.
    if nix::unistd::User::from_name("nobody").is_ok_and(|user| user.is_some()) {
        let nobody =
            LaunchSpec { user: Some("nobody".to_owned()), ..shell("d", "id -u; grep CapEff /proc/self/status") };
        let (_, out) = machine.run("d", nobody);
        assert!(out.starts_with("65534\n") && out.contains("0000000000000000"), "{out}");
    }
}

fn volume(container_path: &str, is_read_only: bool, source: VolumeSource) -> Volume {
    Volume { container_path: container_path.to_owned(), is_read_only, source }
}

fn volumes_show_inside_only() {
    let Some(machine) = isolated("filesystem/linux,volume/secret", |_| {}) else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "of the host").unwrap();
    let path = outside.path().display().to_string();
    let host = || VolumeSource::Host { path: path.clone(), propagation: Propagation::Private };
    let volumes = vec![
        volume("shown", true, host()),
        volume("a/b/open", false, host()),
        volume("again", false, VolumeSource::Sandbox { is_parents: false, path: "data".to_owned() }),
        volume("key", true, VolumeSource::Secret(Secret::Value(b"s3cret".to_vec()))),
    ];
    let text = "cat shown/f key; touch shown/g; echo new > a/b/open/h; echo x > again/y; cat data/y; echo z > key; stat -f -c %T key";
    let (_, out) = machine.run("c", asking(shell("c", text), ContainerInfo { volumes, ..ContainerInfo::default() }));
    assert!(out.starts_with("of the hosts3cretx\n"), "{out}");
    assert!(out.trim_end().ends_with("tmpfs"), "the secret is in memory: {out}");
    let refused = machine.output("c", "stderr");
    assert_eq!(refused.matches("Read-only file system").count(), 2, "{refused}");
    assert_eq!(fs::read_to_string(outside.path().join("h")).unwrap(), "new\n");
    assert!(!outside.path().join("g").exists());
    let sandbox = machine.sandbox("c");
    assert_eq!(fs::read(sandbox.join("key")).unwrap(), b"", "the secret is on no disk");
    assert_eq!(fs::read_dir(sandbox.join("shown")).unwrap().count(), 0, "the machine sees an empty place");
    assert_eq!(fs::read_to_string(sandbox.join("data/y")).unwrap(), "x\n");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(sandbox.to_str().unwrap()));

    let bidirectional = VolumeSource::Host { path: path.clone(), propagation: Propagation::Bidirectional };
    for (source, words) in [
        (bidirectional, "never shown to the machine"),
        (VolumeSource::Host { path: "/no/such".into(), propagation: Propagation::Private }, "there is no '/no/such'"),
        (VolumeSource::Sandbox { is_parents: false, path: "../x".to_owned() }, "is no path in the sandbox"),
    ] {
        let asked = ContainerInfo { volumes: vec![volume("v", false, source)], ..ContainerInfo::default() };
        let refused = machine.try_launch("d", asking(shell("d", "true"), asked)).unwrap_err();
        assert!(refused.contains(words), "{refused}");
        fs::remove_dir_all(machine.sandbox("d")).unwrap();
    }
}

/// Secrets that the agent's resolver knows: in the environment and in a file of the container, and nowhere else on the machine.
fn secrets_come_by_reference() {
    let Some(mut machine) = isolated("filesystem/linux,volume/secret", |_| {}) else { return };
    let known = tempfile::tempdir().unwrap();
    fs::create_dir(known.path().join("db")).unwrap();
    fs::write(known.path().join("token"), "t0ken-value").unwrap();
    fs::write(known.path().join("db/password"), "p4ssword-value").unwrap();
    let reference =
        |name: &str, key: Option<&str>| SecretReference { name: name.to_owned(), key: key.map(str::to_owned) };
    let asking = |name: &str, variable: SecretReference| {
        let key = VolumeSource::Secret(Secret::Reference(reference("db", Some("password"))));
        let asked = ContainerInfo { volumes: vec![volume("key", true, key)], ..ContainerInfo::default() };
        let text = "echo $TOKEN; cat key; echo; while [ ! -e go ]; do sleep 0.01; done";
        LaunchSpec { secrets: vec![("TOKEN".to_owned(), variable)], ..asking(shell(name, text), asked) }
    };
    let refused = machine.try_launch("a", asking("a", reference("token", None))).unwrap_err();
    assert!(refused.contains("the secret 'token' is asked for, and there is no resolver"), "{refused}");
    machine.stop();
    machine.config.secrets = Some(std::sync::Arc::new(Directory(known.path().to_owned())));
    machine.start();
    machine.recover(&[]);
    for (name, words) in
        [("none", "there is no secret 'none'"), ("../token", "there is no secret"), ("db", "no secret 'db'")]
    {
        let refused = machine.try_launch("b", asking("b", reference(name, None))).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    let pid = machine.launch("c", asking("c", reference("token", None)));
    crate::rig::eventually("it has told", || machine.output("c", "stdout").ends_with("p4ssword-value\n"));
    assert_eq!(machine.output("c", "stdout"), "t0ken-value\np4ssword-value\n");
    let is_told = |bytes: &[u8]| {
        ["t0ken-value", "p4ssword-value"]
            .iter()
            .any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
    };
    assert!(is_told(&fs::read(format!("/proc/{pid}/environ")).unwrap()), "as its own it has it");
    let launcher = machine.launcher_of(pid);
    for file in ["environ", "cmdline"] {
        assert!(!is_told(&fs::read(format!("/proc/{launcher}/{file}")).unwrap()), "{file} of the launcher");
    }
    let mut places = vec![machine.directory.path().to_owned()];
    let mut looked = 0;
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                places.push(entry.path());
            } else if kind.is_file() && entry.file_name() != "stdout" {
                looked += 1;
                assert!(!is_told(&fs::read(entry.path()).unwrap_or_default()), "{}", entry.path().display());
            }
        }
    }
    assert!(looked > 2, "records and the sandbox were looked through");
    fs::write(machine.sandbox("c").join("go"), "").unwrap();
    machine.wait("c");
}

fn private_directories_lie_over_shared_ones() {
    let Some(machine) = isolated("filesystem/shared", |_| {}) else { return };
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().display().to_string();
    fs::write(shared.path().join("everybodys"), "").unwrap();
    let private = VolumeSource::Host { path: "private".to_owned(), propagation: Propagation::Private };
    let volumes = vec![volume(&path, false, private)];
    let text = format!("ls {path}; echo mine > {path}/f");
    let (exit, out) =
        machine.run("c", asking(shell("c", &text), ContainerInfo { volumes, ..ContainerInfo::default() }));
    assert_eq!((exit.status, out.as_str()), (Some(ExitStatus::Code(0)), ""));
    assert!(!shared.path().join("f").exists() && shared.path().join("everybodys").exists());
    assert_eq!(fs::read_to_string(machine.sandbox("c").join("private/f")).unwrap(), "mine\n");
}

/// What a task can put into its sandbox leads no mount of a later container elsewhere (attack 46).
fn links_lead_no_volume_out() {
    let Some(machine) = isolated("filesystem/linux", |_| {}) else { return };
    let target = tempfile::tempdir().unwrap();
    machine.run("c", shell("c", &format!("ln -s {} data; ln -s /etc v", target.path().display())));
    let source = VolumeSource::Sandbox { is_parents: false, path: "data".to_owned() };
    let asked = ContainerInfo { volumes: vec![volume("w", false, source)], ..ContainerInfo::default() };
    let joined = |text: &str| LaunchSpec { join: true, sandbox: crate::rig::sandbox("c"), ..shell("c", text) };
    let refused = machine.try_launch("d", asking(joined("touch w/f"), asked)).unwrap_err();
    assert!(refused.contains("is a link or not a directory"), "{refused}");
    let source = VolumeSource::Sandbox { is_parents: false, path: "fresh".to_owned() };
    let asked = ContainerInfo { volumes: vec![volume("v", false, source)], ..ContainerInfo::default() };
    let refused = machine.try_launch("e", asking(joined("touch v/f"), asked)).unwrap_err();
    assert!(refused.contains("is a link or not a directory"), "{refused}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

/// What containers within another share lies in that one's sandbox, belongs to who asked first, and leads nowhere else.
fn members_share_what_lies_around_them() {
    let Some(machine) = isolated("filesystem/linux", |_| {}) else { return };
    let outside = tempfile::tempdir().unwrap();
    let begun = format!(
        "ln -s {} link; mkdir -p containers/other .executor; echo there > begun; sleep 60",
        outside.path().display()
    );
    machine.launch("e", shell("e", &begun));
    crate::rig::eventually("the outer one has begun", || machine.sandbox("e").join("begun").exists());
    let member = |name: &str, path: &str, is_read_only: bool, text: &str| {
        let source = VolumeSource::Sandbox { is_parents: true, path: path.to_owned() };
        let asked = ContainerInfo { volumes: vec![volume("v", is_read_only, source)], ..ContainerInfo::default() };
        let sandbox = format!("{}/containers/{name}", crate::rig::sandbox("e"));
        LaunchSpec { sandbox, user: Some("nobody".to_owned()), ..asking(shell(name, text), asked) }
    };
    let out = |name: &str, file: &str| {
        fs::read_to_string(machine.sandbox("e").join("containers").join(name).join(file)).unwrap()
    };
    machine.launch("writes", member("writes", "a/shared", false, "echo word > v/file"));
    assert_eq!(machine.wait("writes").status, Some(ExitStatus::Code(0)), "{}", out("writes", "stderr"));
    assert_eq!(fs::read_to_string(machine.sandbox("e").join("a/shared/file")).unwrap(), "word\n");
    machine.launch("reads", member("reads", "a/shared", true, "cat v/file; echo no > v/file || echo refused"));
    assert_eq!(machine.wait("reads").status, Some(ExitStatus::Code(0)));
    assert_eq!(out("reads", "stdout"), "word\nrefused\n");
    let held = fs::read_dir(machine.sandbox("e").join("containers/writes/v")).unwrap().count();
    assert_eq!(held, 0, "the machine sees an empty place");

    for (path, words) in [
        ("link", "is a link or not a directory"),
        ("link/x", "is a link or not a directory"),
        ("../x", "is no path in the sandbox"),
        ("/etc", "is no path in the sandbox"),
        ("containers/other", "is not for sharing"),
        (".executor", "is not for sharing"),
    ] {
        let refused = machine.try_launch("bad", member("bad", path, false, "touch v/f")).unwrap_err();
        assert!(refused.contains(words), "{path}: {refused}");
        fs::remove_dir_all(machine.sandbox("e").join("containers/bad")).unwrap();
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    let alone = LaunchSpec { sandbox: crate::rig::sandbox("alone"), ..member("alone", "a", false, "true") };
    let refused = machine.try_launch("alone", alone).unwrap_err();
    assert!(refused.contains("this container has no other around it"), "{refused}");
    machine.kill("e", Length::ZERO);
    machine.wait("e");
}

/// In a view of its own a container's persistent volumes are mounts, which may be read-only.
fn persistent_volumes_are_mounted() {
    let Some(machine) = isolated("filesystem/linux", |_| {}) else { return };
    let link = |container_path: &str, writable| VolumeLink {
        source: "volumes/roles/web/kept".to_owned(),
        container_path: container_path.to_owned(),
        writable,
        shared: false,
    };
    let text = "echo word > a/data/file; cat seen/file; echo no > seen/file || echo refused; test -L seen || grep -c ' - ' /proc/self/mountinfo > count";
    let spec = LaunchSpec { volumes: vec![link("a/data", true), link("seen", false)], ..shell("c", text) };
    let (exit, out) = machine.run("c", LaunchSpec { user: Some("nobody".to_owned()), ..spec });
    assert_eq!((exit.status, out.as_str()), (Some(ExitStatus::Code(0)), "word\nrefused\n"));
    assert!(machine.sandbox("c").join("count").exists(), "it is a mount and no link");
    let kept = machine.config.work_directory.join("volumes/roles/web/kept/file");
    assert_eq!(fs::read_to_string(kept).unwrap(), "word\n");
    assert_eq!(fs::read_dir(machine.sandbox("c").join("seen")).unwrap().count(), 0, "the machine sees an empty place");
    // A path that its user has turned into a link leads nowhere.
    machine.run("d", shell("d", "ln -s /etc way"));
    let joined = LaunchSpec {
        join: true,
        sandbox: crate::rig::sandbox("d"),
        volumes: vec![link("way/in", true)],
        ..shell("e", "true")
    };
    let refused = machine.try_launch("e", joined).unwrap_err();
    assert!(refused.contains("is a link or not a directory"), "{refused}");
}

fn what_is_asked_for_in_vain_is_refused() {
    let machine = Machine::new();
    let asked = ContainerInfo { hostname: Some("h".to_owned()), ..ContainerInfo::default() };
    let refused = machine.try_launch("c", asking(shell("c", "true"), asked)).unwrap_err();
    assert!(refused.contains("a host name is asked for, but the isolator namespaces/uts is not enabled"), "{refused}");
    assert!(!machine.record("c").exists() && !machine.sandbox("c").exists());
}

/// Attack 53: a log flood.
fn a_flood_of_output_has_a_bound() {
    let rotation = kaon_isolators::launcher::Rotation { bytes_max: 10_000, files_max: 2 };
    let machine = Machine::with(|config| config.rotation = Some(rotation));
    let text = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo over >&2";
    let (exit, last) = machine.run("c", shell("c", text));
    assert_eq!(exit.status, Some(ExitStatus::Code(0)));
    assert!(last.ends_with("line 19999\n"), "{last}");
    assert_eq!(machine.output("c", "stderr"), "over\n");
    let sizes = ["stdout", "stdout.1", "stdout.2"].map(|name| machine.output("c", name).len());
    assert!(sizes[0] <= 10_000 && sizes[1..] == [10_000, 10_000], "{sizes:?}");
    assert!(!machine.sandbox("c").join("stdout.3").exists());
    let whole = ["stdout.2", "stdout.1", "stdout"].map(|name| machine.output("c", name)).concat();
    assert!(whole.contains("line 19000\nline 19001\n"), "nothing is lost in between");
}
