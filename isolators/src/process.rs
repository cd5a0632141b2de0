//! What `/proc` tells of processes (`proc(5)`): trees, times, start times.
//!
//! A process number alone names nobody for long: with its start time and the machine's boot id it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest environment read when looking for a marker, in bytes: Linux's own limit for arguments and environment
/// together is a quarter of the stack, 2 MiB by default.
const ENVIRONMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How much is read at once, in bytes: the kernel shows a page of most of its files, or all of it.
const PAGE_BYTES: usize = 4096;

/// The pause between two looks at a process that becomes another program.
const BECOMING_PAUSE: Duration = Duration::from_micros(200);

/// One process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Its state letter; `Z` and `X` are dead.
    pub state: char,
    /// Processor time in user mode, in clock ticks.
    pub user_ticks: u64,
    /// Processor time in the kernel, in clock ticks.
    pub system_ticks: u64,
    /// User time of its children that it has waited for, in clock ticks.
    pub waited_user_ticks: u64,
    /// Kernel time of its children that it has waited for, in clock ticks.
    pub waited_system_ticks: u64,
    /// When it began, in clock ticks since boot.
    pub start_ticks: u64,
    /// Resident memory in pages.
    pub resident_pages: u64,
}

impl Process {
    /// Reads one process; `None` when there is none of this number.
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &kernel_text(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads this process. Its number is that in the view of processes which `/proc` shows.
    pub(crate) fn own() -> Option<Self> {
        let line = kernel_text("/proc/self/stat").ok()?;
        Self::parse(line.split_once(' ')?.0.parse().ok()?, &line)
    }

    /// Reads a line of `/proc/PID/stat`. The command in it may hold anything, so fields count from the last `)`.
    fn parse(pid: i32, line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let id = |at: usize| fields.get(at)?.parse::<i32>().ok();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            user_ticks: number(11)?,
            system_ticks: number(12)?,
            // Waited times are signed in the kernel's text; a negative one can't be and would read as zero.
            waited_user_ticks: number(13).unwrap_or(0),
            waited_system_ticks: number(14).unwrap_or(0),
            start_ticks: number(19)?,
            resident_pages: number(21).unwrap_or(0),
        })
    }

    /// Whether it still runs, rather than waiting to be reaped.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// The launcher of a container and all processes below it, at one moment.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The launcher; it is not part of the container, but what it has waited for is.
    pub launcher: Process,
    /// The container's processes.
    pub members: Vec<Process>,
}

/// The boot of the machine, a random UUID (`/proc/sys/kernel/random/boot_id`).
pub(crate) fn boot_id() -> io::Result<String> {
    kernel_text("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// Reads a file that the kernel makes when it is read, and which has no size that could be asked for: a page at a time.
pub(crate) fn kernel_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut bytes = vec![0; PAGE_BYTES];
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..])? {
            0 => break,
            more => length += more,
        }
        if length == bytes.len() {
            bytes.resize(length + length, 0);
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// All processes of the machine that may be seen. One small read each.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter_map(Process::read).collect())
}

/// The processes below `root`, parents before their children, without `root`. Walks the kernel's lists of children;
/// where the kernel has none (no `CONFIG_PROC_CHILDREN`) it reads all processes. Either is a picture that may be old when
/// it is looked at: who needs certainty repeats it.
pub(crate) fn descendants(root: i32) -> io::Result<Vec<Process>> {
    if !fs::exists(format!("/proc/{root}/task/{root}/children"))? {
        return Ok(below(&all()?, &BTreeSet::from([root])));
    }
    let (mut found, mut seen) = (Vec::new(), BTreeSet::from([root]));
    let mut open = children(root);
    while let Some(pid) = open.pop() {
        if !seen.insert(pid) {
            continue;
        }
        if let Some(process) = Process::read(pid) {
            found.push(process);
            open.extend(children(pid));
        }
    }
    Ok(found)
}

fn children(pid: i32) -> Vec<i32> {
    // A process that ends while it is read has no children any more: they went to the next reaper.
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Those of `processes` that are below one of `roots`, without the roots.
pub(crate) fn below(processes: &[Process], roots: &BTreeSet<i32>) -> Vec<Process> {
    let mut by_parent: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        by_parent.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut seen) = (Vec::new(), roots.clone());
    let mut open: Vec<i32> = roots.iter().copied().collect();
    while let Some(parent) = open.pop() {
        for child in by_parent.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push((*child).clone());
                open.push(child.pid);
            }
        }
    }
    found
}

/// Whether two processes run the same file.
pub(crate) fn run_the_same(one: i32, other: i32) -> bool {
    let file = |pid: i32| fs::metadata(format!("/proc/{pid}/exe")).ok().map(|data| (data.dev(), data.ino()));
    file(one).is_some_and(|theirs| file(other) == Some(theirs))
}

/// The argument after the zeroth with which a process was started.
pub(crate) fn first_argument(pid: i32) -> Option<Vec<u8>> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    arguments.split(|&byte| byte == 0).nth(1).map(<[u8]>::to_vec)
}

/// The environment with which a process was started, as far as it is text; bounded.
pub(crate) fn environment(pid: i32) -> io::Result<Vec<(String, String)>> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/environ"))?.take(ENVIRONMENT_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let pairs = bytes.split(|&byte| byte == 0).filter_map(|entry| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    });
    Ok(pairs.collect())
}

/// Whether the environment with which a process was started holds one of these `NAME=value` texts. False for a
/// process that may not be looked at. One that is just becoming another program shows no environment, whatever it was
/// started with: it is waited for until `deadline`.
pub(crate) fn was_started_with(pid: i32, variables: &[String], deadline: Instant) -> bool {
    let mut before = EnvironmentPlace::NotYet;
    loop {
        let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let place = EnvironmentPlace::parse(&line);
        if place == EnvironmentPlace::Nowhere {
            return false;
        }
        let Ok(mut file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
        // One call shows one program's environment. A second call would show nothing of it if there were another by then.
        let mut environment = vec![0; place.bytes().min(ENVIRONMENT_BYTES_MAX) + 1];
        let shown = file.read(&mut environment).unwrap_or(0);
        let is_whole = shown > 0 && (shown < environment.len() || shown > ENVIRONMENT_BYTES_MAX);
        let mut entries = environment[..shown].split(|&byte| byte == 0);
        if entries.any(|entry| variables.iter().any(|variable| variable.as_bytes() == entry)) {
            return true;
        }
        // Nothing twice from one program: it has given the memory back in which its environment was.
        let is_gone = place == before && place != EnvironmentPlace::NotYet;
        if is_whole || is_gone || Instant::now() >= deadline {
            return false;
        }
        before = place;
        std::thread::sleep(BECOMING_PAUSE);
    }
}

/// Where the environment of a process is in its memory, by its line of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EnvironmentPlace {
    /// It has none for good: it has no memory (a thread of the kernel, or dead), or it was started with nothing.
    Nowhere,
    /// It is in the middle of `execve(2)`: the place of the environment is written down bit by bit before that of the code.
    NotYet,
    /// There.
    At { start: usize, end: usize },
}

impl EnvironmentPlace {
    fn parse(line: &str) -> Self {
        let Some((_, rest)) = line.rsplit_once(')') else { return Self::Nowhere };
        let mut fields = rest.split_ascii_whitespace().skip(20).map(|field| field.parse::<usize>().unwrap_or(0));
        // `vsize` is the 23rd field of the line, `end_code` the 27th, `env_start` and `env_end` are the 50th and 51st.
        let (size, code) = (fields.next(), fields.nth(3));
        match (size, code, fields.nth(22), fields.next()) {
            (Some(1..), Some(1..), Some(start), Some(end)) if start < end => Self::At { start, end },
            (Some(1..), Some(0), Some(_), Some(_)) => Self::NotYet,
            _ => Self::Nowhere,
        }
    }

    fn bytes(self) -> usize {
        if let Self::At { start, end } = self { end - start } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_self_can_be_read() {
        let me = Process::read(std::process::id().cast_signed()).expect("this process exists");
        assert!(me.is_alive() && me.parent > 0 && me.start_ticks > 0 && me.resident_pages > 0, "{me:?}");
    }

    #[test]
    fn a_command_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = "7 (a) R 1 (b) S 5 6 7 0 -1 4194560 1 2 3 4 100 50 20 10 20 0 1 0 4242 999 33 18446744073709551615";
        let process = Process::parse(7, line).expect("well formed");
        assert_eq!((process.state, process.parent, process.group, process.session), ('S', 5, 6, 7));
        assert_eq!((process.user_ticks, process.waited_system_ticks), (100, 10));
        assert_eq!((process.start_ticks, process.resident_pages), (4242, 33));
    }

    /// Its pid is known before it has become `setsid`, and then `sleep`: it is looked at all the way through.
    #[test]
    fn a_process_that_is_just_becoming_another_program_is_not_overlooked() {
        use std::io::BufRead;
        let mark = ["KAON_TEST_MARK=here".to_owned()];
        let until = Instant::now() + Duration::from_secs(60);
        for round in 0..20 {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", "setsid sleep 300 & echo $!; wait"]).env("KAON_TEST_MARK", "here");
            let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().expect("a shell is everywhere");
            let mut line = String::new();
            let mut told = io::BufReader::new(shell.stdout.take().expect("piped"));
            told.read_line(&mut line).expect("it tells");
            let pid: i32 = line.trim().parse().expect("a pid");
            let seen = || first_argument(pid).as_deref() == Some(b"300");
            let (mut was_overlooked, mut looks_more) = (false, 20);
            while looks_more > 0 && Instant::now() < until {
                was_overlooked |= !was_started_with(pid, &mark, until);
                looks_more -= i32::from(seen());
            }
            let ended = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            shell.wait().expect("our child");
            assert!(ended.is_ok() && looks_more == 0 && !was_overlooked, "round {round}");
        }
    }

    #[test]
    fn who_has_no_environment_for_good_is_not_waited_for() {
        let place = |size: u64, code: u64, start: u64, end: u64| {
            let (before, after) = ("1 ".repeat(19), "1 ".repeat(22));
            EnvironmentPlace::parse(&format!("7 (a) b) S {before}{size} 1 1 1 {code} {after}{start} {end} 0"))
        };
        assert_eq!(place(0, 0, 0, 0), EnvironmentPlace::Nowhere, "a thread of the kernel");
        assert_eq!(place(4096, 9, 77, 77), EnvironmentPlace::Nowhere, "started with nothing");
        assert_eq!(place(4096, 0, 0, 0), EnvironmentPlace::NotYet, "in the middle of it");
        assert_eq!(place(4096, 0, 77, 77), EnvironmentPlace::NotYet, "further on");
        assert_eq!(place(4096, 9, 77, 99), EnvironmentPlace::At { start: 77, end: 99 }, "done");
        for line in ["7 (a) S 1", "7 (a) S", ""] {
            assert_eq!(EnvironmentPlace::parse(line), EnvironmentPlace::Nowhere, "{line:?}");
        }
        let mut bare = std::process::Command::new("sleep");
        let mut child = bare.arg("300").env_clear().spawn().expect("sleep is everywhere");
        assert!(!was_started_with(
            child.id().cast_signed(),
            &["A=b".to_owned()],
            Instant::now() + Duration::from_secs(10)
        ));
        child.kill().and_then(|()| child.wait()).expect("our child");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fall(line in "\\PC{0,200}") {
            let _ = Process::parse(1, &line);
        }

        /// Every process lies below the root of a forest, or not: asked one by one by walking up.
        #[test]
        fn below_is_what_walking_up_says(parents in proptest::collection::vec(0_i32..30, 1..30), root in 1_i32..30) {
            let process = |(at, &parent): (usize, &i32)| {
                let pid = i32::try_from(at).unwrap() + 1;
                let line = format!("1 (x) S {parent} 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 1 0 0");
                Process::parse(pid, &line).unwrap()
            };
            let processes: Vec<_> = parents.iter().enumerate().map(process).collect();
            let found: BTreeSet<i32> = below(&processes, &BTreeSet::from([root])).iter().map(|p| p.pid).collect();
            for process in &processes {
                let (mut at, mut is_below) = (process.parent, false);
                for _ in 0..processes.len() {
                    is_below |= at == root;
                    at = processes.iter().find(|p| p.pid == at).map_or(0, |p| p.parent);
                }
                prop_assert_eq!(found.contains(&process.pid), is_below && process.pid != root);
            }
        }
    }
}
