//! Containers that calls ask for: sessions, terminals, containers within others and by themselves.

use crate::Test;
use crate::groups::isolated;
use crate::rig::{Machine, all, eventually, id, is_alive, mark, runtime, shell, sleepers};
use kaon_isolators::containers::{AttachError, LaunchError, Listener, ProcessContainers, RemoveError, Speaker};
use kaon_isolators::linux::parse_capabilities;
use kaon_kernel::container::{Exit, ExitStatus, LaunchSpec, Program};
use kaon_kernel::container_info::{ContainerInfo, Limits, LinuxInfo, Window};
use kaon_kernel::nested::{Order, Piece, Said};
use kaon_kernel::resource::Resources;
use kaon_kernel::time::Duration as Length;
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    ("nested::a_session_takes_part_in_its_container", a_session_takes_part_in_its_container),
    ("nested::what_is_said_to_a_session_reaches_it_whole", what_is_said_to_a_session_reaches_it_whole),
    ("nested::a_session_ends_with_who_listens", a_session_ends_with_who_listens),
    ("nested::a_session_leaves_nothing_behind", a_session_leaves_nothing_behind),
    ("nested::a_session_has_no_more_rights_than_its_container", a_session_has_no_more_rights_than_its_container),
    ("nested::a_terminal_is_one_and_changes_its_size", a_terminal_is_one_and_changes_its_size),
    ("nested::a_task_with_a_terminal_can_be_attached_to", a_task_with_a_terminal_can_be_attached_to),
    ("nested::a_container_within_another_ends_with_it", a_container_within_another_ends_with_it),
    ("nested::a_container_within_another_outlives_the_agent", a_container_within_another_outlives_the_agent),
    ("nested::what_can_not_be_is_refused", what_can_not_be_is_refused),
];

const WALLS: &str = "namespaces/pid,namespaces/mnt,namespaces/ipc,namespaces/uts,cgroups/pids,cgroups/cpu";

/// A container that runs `text` and asks for nothing else.
pub(crate) fn order(name: &str, text: &str) -> Order {
    Order {
        container: id(name),
        is_session: false,
        program: Program::Shell(text.to_owned()),
        environment: Vec::new(),
        secrets: Vec::new(),
        user: None,
        asked: None,
        resources: Resources::new(),
        limits: Limits::default(),
        uris: Vec::new(),
    }
}

/// The same as a session.
pub(crate) fn session(name: &str, text: &str) -> Order {
    Order { is_session: true, ..order(name, text) }
}

fn on_terminal(order: Order, rows: u16, columns: u16) -> Order {
    let asked = ContainerInfo { terminal: Some(Window { rows, columns }), ..ContainerInfo::default() };
    Order { asked: Some(Box::new(asked)), ..order }
}

fn containers(machine: &Machine) -> &ProcessContainers {
    machine.containers()
}

fn launch(machine: &Machine, order: Order) {
    runtime().block_on(containers(machine).launch_nested(order)).unwrap();
}

fn listen(machine: &Machine, name: &str) -> Listener {
    runtime().block_on(containers(machine).listen(&id(name))).unwrap()
}

fn speak(machine: &Machine, name: &str) -> Speaker {
    runtime().block_on(containers(machine).speak(&id(name))).unwrap()
}

fn say(speaker: &mut Speaker, said: Said) {
    runtime().block_on(speaker.say(said)).unwrap();
}

fn input(text: &str) -> Said {
    Said::Input(text.as_bytes().to_vec())
}

/// Everything that is heard until the end: output and error apart.
fn heard(listener: &mut Listener) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    runtime().block_on(async {
        while let Some(piece) = listener.next().await {
            match piece {
                Piece::Out(bytes) => out.extend(bytes),
                Piece::Err(bytes) => err.extend(bytes),
            }
        }
    });
    (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

/// Hears until this text has come.
fn hear(listener: &mut Listener, wanted: &str) -> String {
    let mut out = Vec::new();
    runtime().block_on(async {
        let heard = tokio::time::timeout(crate::rig::PATIENCE, async {
            while !String::from_utf8_lossy(&out).contains(wanted) {
                match listener.next().await {
                    Some(Piece::Out(bytes) | Piece::Err(bytes)) => out.extend(bytes),
                    None => break,
                }
            }
        });
        heard.await.unwrap_or_else(|_| panic!("'{wanted}' never came"));
    });
    String::from_utf8_lossy(&out).into_owned()
}

fn wait(machine: &Machine, name: &str) -> Exit {
    runtime().block_on(containers(machine).wait_nested(&id(name))).expect("it is known")
}

fn run(machine: &Machine, order: Order) -> (Exit, String, String) {
    let name = order.container.to_string();
    launch(machine, order);
    let (out, err) = heard(&mut listen(machine, &name));
    (wait(machine, &name), out, err)
}

fn namespaces(pid: &str) -> Vec<String> {
    let name = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    ["pid", "mnt", "ipc", "uts", "net", "cgroup"].map(name).to_vec()
}

fn a_session_takes_part_in_its_container() {
    let Some(machine) = isolated(WALLS, |_| {}) else { return };
    let asked = ContainerInfo { hostname: Some("inside".to_owned()), ..ContainerInfo::default() };
    let spec = LaunchSpec {
        container: Some(Box::new(asked)),
        environment: vec![("COLOUR".to_owned(), "green".to_owned()), ("KAON_KEY".to_owned(), "secret".to_owned())],
        ..shell("c", "sleep 300; true")
    };
    let pid = machine.launch("c", spec);
    let text = "for n in pid mnt ipc uts net cgroup; do readlink /proc/self/ns/$n; done; hostname; \
                echo $COLOUR $SHAPE \"<$KAON_KEY>\"; ls -d /proc/1 >/dev/null && cat /proc/self/cgroup; echo bad >&2; exit 7";
    let shape = vec![("SHAPE".to_owned(), "round".to_owned())];
    let (exit, out, err) = run(&machine, Order { environment: shape, ..session("c.s", text) });
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..6].to_vec(), namespaces(&pid.to_string()), "the views of its container");
    assert_eq!((lines[6], lines[7], err.as_str()), ("inside", "green round <>", "bad\n"));
    assert_eq!(lines[8..].join("\n"), fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().trim_end());
    assert_eq!(exit.status, Some(ExitStatus::Code(7)));
    assert!(!machine.sandbox("c").join("stdout.1").exists() && machine.output("c", "stdout").is_empty());
    assert_eq!(run(&machine, session("c.t", "kill -TERM $$")).0.status, Some(ExitStatus::Signal(15)));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn is_session(pid: i32, name: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let is_its =
        environment.split(|&byte| byte == 0).any(|entry| entry == format!("KAON_CONTAINER_ID={name}").as_bytes());
    is_its && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "cat\n")
}

/// Whether a process sleeps in a write to its standard output (`proc_pid_syscall(5)`).
fn writes(pid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.starts_with(&format!("{} 0x1 ", nix::libc::SYS_write))
}

fn what_is_said_to_a_session_reaches_it_whole() {
    let machine = Machine::new();
    machine.launch("c", shell("c", "sleep 300"));
    launch(&machine, session("c.s", "cat; echo end"));
    let (mut listener, mut speaker) = (listen(&machine, "c.s"), speak(&machine, "c.s"));
    let second = runtime().block_on(containers(&machine).speak(&id("c.s")));
    assert!(matches!(second, Err(AttachError::Busy(_))), "{second:?}");
    let text: String = (0..400_000).map(|number| format!("{number}\n")).collect();
    let said = text.clone();
    let speaking = runtime().spawn(async move {
        speaker.say(Said::Input(said.into_bytes())).await.unwrap();
        speaker.say(Said::Input(Vec::new())).await.unwrap();
        speaker.ended().await;
    });
    // A slow ear: the program waits until it is heard, nothing is lost, and the launcher keeps little.
    eventually("what it writes has to wait", || all().into_iter().any(|pid| is_session(pid, "c.s") && writes(pid)));
    let (out, _) = heard(&mut listener);
    assert!(out == format!("{text}end\n"), "{} of {} bytes", out.len(), text.len());
    assert_eq!(wait(&machine, "c.s").status, Some(ExitStatus::Code(0)));
    runtime().block_on(speaking).unwrap();
    // What is said by who goes away is heard, and another may go on.
    launch(&machine, session("c.t", "cat"));
    let mut listener = listen(&machine, "c.t");
    say(&mut speak(&machine, "c.t"), input("one "));
    assert_eq!(hear(&mut listener, "one "), "one ");
    let mut other = loop {
        // The first has to be seen to have gone.
        match runtime().block_on(containers(&machine).speak(&id("c.t"))) {
            Ok(speaker) => break speaker,
            Err(AttachError::Busy(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    say(&mut other, input("two"));
    say(&mut other, input(""));
    assert_eq!(heard(&mut listener).0, "two");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn a_session_ends_with_who_listens() {
    let machine = Machine::new();
    machine.launch("c", shell("c", "sleep 300"));
    let mark = mark();
    launch(&machine, session("c.s", &format!("trap '' TERM HUP; sleep {mark} & setsid sleep {mark} & sleep {mark}")));
    let listener = listen(&machine, "c.s");
    eventually("it runs", || sleepers(&mark).len() == 3);
    drop(listener);
    assert_eq!(wait(&machine, "c.s").status, Some(ExitStatus::Signal(9)));
    assert!(sleepers(&mark).is_empty());
    // A second ear is welcome, and its end is nothing to the session.
    launch(&machine, session("c.t", "cat; echo over"));
    let (mut first, second) = (listen(&machine, "c.t"), listen(&machine, "c.t"));
    drop(second);
    let mut speaker = speak(&machine, "c.t");
    say(&mut speaker, input(""));
    assert_eq!(heard(&mut first).0, "over\n");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn a_session_leaves_nothing_behind() {
    let Some(machine) = isolated("namespaces/pid", |_| {}) else { return };
    let pid = machine.launch("c", shell("c", "sleep 300; true"));
    let mark = mark();
    // What begins a session of its own belongs to nobody when its parents are gone, and is not the container's.
    let (exit, _, _) = run(&machine, session("c.s", &format!("setsid sleep {mark} >/dev/null 2>&1 </dev/null &")));
    assert_eq!(exit.status, Some(ExitStatus::Code(0)));
    assert!(sleepers(&mark).is_empty(), "the daemon of a session went with it");
    let before = fs::read_dir("/proc/self/fd").unwrap().count();
    for round in 0..20 {
        run(&machine, session(&format!("c.r{round}"), "true"));
    }
    assert!(fs::read_dir("/proc/self/fd").unwrap().count() <= before + 2, "no descriptor is kept");
    assert!(is_alive(pid));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn a_session_has_no_more_rights_than_its_container() {
    let few = parse_capabilities("CHOWN").unwrap();
    let Some(machine) = isolated("linux/capabilities,linux/nnp", |settings| settings.rights.bounding = Some(few))
    else {
        return;
    };
    machine.launch("c", shell("c", "sleep 300; true"));
    let (_, out, err) = run(&machine, session("c.s", "grep -E 'CapBnd|NoNewPrivs' /proc/self/status"));
    assert!(out.contains("CapBnd:\t0000000000000001") && out.contains("NoNewPrivs:\t1"), "{out} {err}");
    let linux = LinuxInfo { effective: Some(parse_capabilities("NET_RAW").unwrap()), ..LinuxInfo::default() };
    let more = ContainerInfo { linux, ..ContainerInfo::default() };
    let refused = Order { asked: Some(Box::new(more)), ..session("c.t", "true") };
    let refused = runtime().block_on(containers(&machine).launch_nested(refused)).unwrap_err();
    assert!(refused.to_string().contains("the walls of its container"), "{refused}");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    // Whoever the container is, the session is too.
    let nobody = LaunchSpec { user: Some("nobody".to_owned()), ..shell("d", "sleep 300; true") };
    machine.launch("d", nobody);
    let (_, out, _) = run(&machine, session("d.s", "id -un; echo x > ../made 2>/dev/null || echo no"));
    assert_eq!(out, "nobody\nno\n");
    machine.kill("d", Length::ZERO);
    machine.wait("d");
}

fn a_terminal_is_one_and_changes_its_size() {
    let machine = Machine::new();
    machine.launch("c", shell("c", "sleep 300"));
    let text = "test -t 0 && test -t 1 && test -t 2 && echo all; stty size; trap 'stty size; exit 3' WINCH; \
                echo ready; while :; do read line; echo \"<$line>\"; done";
    launch(&machine, on_terminal(session("c.s", text), 33, 99));
    let (mut listener, mut speaker) = (listen(&machine, "c.s"), speak(&machine, "c.s"));
    let heard_first = hear(&mut listener, "ready");
    assert!(heard_first.contains("all") && heard_first.contains("33 99"), "{heard_first}");
    say(&mut speaker, input("hello\n"));
    hear(&mut listener, "<hello>");
    say(&mut speaker, Said::Window(Window { rows: 5, columns: 40 }));
    say(&mut speaker, input("\n"));
    assert!(hear(&mut listener, "5 40").contains("5 40"));
    heard(&mut listener);
    assert_eq!(wait(&machine, "c.s").status, Some(ExitStatus::Code(3)));
    // The end of what is said is the end of lines; Ctrl-C reaches what runs (dash may lose one while it forks: it does not here).
    launch(&machine, on_terminal(session("c.t", "cat; echo over; exec sleep 300"), 24, 80));
    let (mut listener, mut speaker) = (listen(&machine, "c.t"), speak(&machine, "c.t"));
    say(&mut speaker, input("line\n"));
    say(&mut speaker, input(""));
    hear(&mut listener, "over");
    say(&mut speaker, input("\x03"));
    heard(&mut listener);
    assert_eq!(wait(&machine, "c.t").status, Some(ExitStatus::Signal(2)));
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}

fn a_task_with_a_terminal_can_be_attached_to() {
    let mut machine = Machine::new();
    let text = "stty size; echo begun; while read line; do echo \"got $line\"; done";
    let spec = LaunchSpec { terminal: Some(Window { rows: 10, columns: 20 }), ..shell("c", text) };
    machine.launch("c", spec);
    eventually("it writes to its file", || machine.output("c", "stdout").contains("begun"));
    let mut listener = listen(&machine, "c");
    let mut speaker = speak(&machine, "c");
    say(&mut speaker, input("one\n"));
    hear(&mut listener, "got one");
    drop((listener, speaker));
    // Nobody needs to listen, and another agent may come.
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["c"]), ["c"]);
    let mut listener = listen(&machine, "c");
    let mut speaker = speak(&machine, "c");
    say(&mut speaker, input("two\n"));
    hear(&mut listener, "got two");
    say(&mut speaker, input(""));
    heard(&mut listener);
    assert_eq!(machine.wait("c").status, Some(ExitStatus::Code(0)));
    let out = machine.output("c", "stdout");
    assert!(out.starts_with("10 20") && out.contains("got one") && out.contains("got two"), "{out}");
    machine.launch("d", shell("d", "sleep 300"));
    let deaf = runtime().block_on(containers(&machine).listen(&id("d")));
    assert!(matches!(deaf, Err(AttachError::Deaf(_))), "{deaf:?}");
    let unknown = runtime().block_on(containers(&machine).listen(&id("e")));
    assert!(matches!(unknown, Err(AttachError::Unknown(_))), "{unknown:?}");
    machine.kill("d", Length::ZERO);
    machine.wait("d");
}

fn a_container_within_another_ends_with_it() {
    let Some(machine) = isolated(WALLS, |_| {}) else { return };
    let pid = machine.launch("c", shell("c", "sleep 300; true"));
    let text = "echo $$; for n in net uts; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; pwd; sleep 300";
    launch(&machine, order("c.n", text));
    let sandbox = machine.sandbox("c").join("containers/n");
    let out = || fs::read_to_string(sandbox.join("stdout")).unwrap_or_default();
    eventually("it has looked around", || out().contains("containers/n"));
    let all = namespaces(&pid.to_string());
    let told = out();
    assert!(told.starts_with("1\n"), "its own process numbers: {told}");
    assert!(told.contains(&all[3]) && told.contains(&all[4]), "the name and network of its container: {told}");
    assert!(told.contains(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().trim_end()), "{told}");
    launch(&machine, order("c.n.deeper", "sleep 300"));
    let again = runtime().block_on(containers(&machine).launch_nested(order("c.n", "true")));
    assert_eq!(again, Err(LaunchError::Exists));
    assert_eq!(runtime().block_on(containers(&machine).remove_nested(&id("c.n"))), Err(RemoveError::Runs));
    assert!(runtime().block_on(containers(&machine).signal(&id("c.n.deeper"), 9)));
    assert_eq!(wait(&machine, "c.n.deeper").status, Some(ExitStatus::Signal(9)));
    runtime().block_on(containers(&machine).remove_nested(&id("c.n.deeper"))).unwrap();
    assert!(!sandbox.join("containers/deeper").exists());
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    assert_eq!(wait(&machine, "c.n").status, Some(ExitStatus::Signal(9)));
    assert_eq!(
        runtime().block_on(containers(&machine).launch_nested(order("c.m", "true"))),
        Err(LaunchError::NoParent)
    );
    // One by itself is nobody's.
    launch(&machine, order("alone", "echo here"));
    assert_eq!(wait(&machine, "alone").status, Some(ExitStatus::Code(0)));
    let sandbox = machine.config.work_directory.join("containers/alone");
    assert_eq!(fs::read_to_string(sandbox.join("stdout")).unwrap(), "here\n");
    runtime().block_on(containers(&machine).remove_nested(&id("alone"))).unwrap();
    assert!(!sandbox.exists());
    assert_eq!(runtime().block_on(containers(&machine).remove_nested(&id("alone"))), Err(RemoveError::Unknown));
    assert!(runtime().block_on(containers(&machine).wait_nested(&id("alone"))).is_none());
}

fn a_container_within_another_outlives_the_agent() {
    let mut machine = Machine::new();
    machine.launch("c", shell("c", "sleep 300"));
    let (kept, left) = (mark(), mark());
    launch(&machine, order("c.n", &format!("sleep {kept}")));
    launch(&machine, order("alone", &format!("sleep {left}")));
    eventually("they run", || sleepers(&kept).len() == 1 && sleepers(&left).len() == 1);
    machine.stop();
    machine.start();
    assert_eq!(machine.recover(&["c"]), ["c"], "who recovers is told of its own alone");
    assert_eq!((sleepers(&kept).len(), sleepers(&left).len()), (1, 1));
    assert_eq!(containers(&machine).nested(), [id("alone"), id("c.n")]);
    machine.kill("c", Length::ZERO);
    machine.wait("c");
    assert_eq!(wait(&machine, "c.n").status, Some(ExitStatus::Signal(9)));
    assert!(runtime().block_on(containers(&machine).signal(&id("alone"), 15)));
    assert_eq!(wait(&machine, "alone").status, Some(ExitStatus::Signal(15)));
    // Its container is not known any more: it goes as well.
    machine.launch("d", shell("d", "sleep 300"));
    launch(&machine, order("d.n", &format!("sleep {kept}")));
    machine.stop();
    machine.start();
    assert!(machine.recover(&[]).is_empty());
    assert!(sleepers(&kept).is_empty());
}

fn what_can_not_be_is_refused() {
    let machine = Machine::new();
    machine.launch("c", shell("c", "sleep 300"));
    let refused = |order: Order| runtime().block_on(containers(&machine).launch_nested(order)).unwrap_err().to_string();
    assert!(refused(session("s", "true")).contains("within a container"));
    assert!(refused(order("c..s", "true")).contains("empty"));
    assert!(refused(order("c/../x", "true")).contains("disallowed"));
    let nowhere = Program::Exec { file: "/no/such/program".to_owned(), arguments: Vec::new() };
    let text = refused(Order { program: nowhere, ..session("c.s", "") });
    assert!(text.contains("/no/such/program"), "{text}");
    assert!(runtime().block_on(containers(&machine).wait_nested(&id("c.s"))).is_none(), "nothing is left of it");
    let asked = ContainerInfo { hostname: Some("h".to_owned()), ..ContainerInfo::default() };
    let text = refused(Order { asked: Some(Box::new(asked)), ..order("c.n", "true") });
    assert!(text.contains("namespaces/uts is not enabled"), "{text}");
    machine.kill("c", Length::ZERO);
    machine.wait("c");
}
