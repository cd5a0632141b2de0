//! What `/proc` tells of processes (`proc(5)`): trees, times, start times.
//!
//! A process number alone names nobody for long: with its start time and the machine's boot id it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The longest environment read when looking for a marker, in bytes: Linux's own limit for arguments and environment
/// together is a quarter of the stack, 2 MiB by default.
const ENVIRONMENT_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The longest that a process is waited for which becomes another program: the kernel does that in well under a
/// millisecond, unless the disk that has the program hangs.
const BECOMING_MAX: Duration = Duration::from_secs(1);

/// The pause between two looks at it.
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
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
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
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
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
    fs::File::open(format!("/proc/{pid}/environ"))?.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut bytes)?;
    let pairs = bytes.split(|&byte| byte == 0).filter_map(|entry| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    });
    Ok(pairs.collect())
}

/// Whether the environment with which a process was started holds one of these `NAME=value` texts. False for a
/// process that may not be looked at. Waits, at most [`BECOMING_MAX`], for one that is just becoming another program: it
/// shows no environment then, whatever it was started with.
pub(crate) fn was_started_with(pid: i32, variables: &[String]) -> bool {
    let begun = Instant::now();
    loop {
        let mut environment = Vec::new();
        let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
        if file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment).is_err() {
            return false;
        }
        if !environment.is_empty() {
            let mut entries = environment.split(|&byte| byte == 0);
            return entries.any(|entry| variables.iter().any(|variable| variable.as_bytes() == entry));
        }
        let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        if shows_no_environment(&line) || begun.elapsed() > BECOMING_MAX {
            return false;
        }
        std::thread::sleep(BECOMING_PAUSE);
    }
}

/// Whether a process whose environment read as empty has none for good, from its line of `/proc/PID/stat`: it has no memory
/// (a thread of the kernel, or dead), or it was started with nothing. In the middle of `execve(2)` it has memory already, and
/// its environment no place there yet.
fn shows_no_environment(line: &str) -> bool {
    let Some((_, rest)) = line.rsplit_once(')') else { return true };
    let mut fields = rest.split_ascii_whitespace().skip(20);
    // `vsize` is the 23rd field of the line, `env_start` and `env_end` are the 50th and 51st.
    let has_memory = fields.next().is_some_and(|size| size != "0");
    let (start, end) = (fields.nth(26), fields.next());
    !has_memory || end.is_none() || (start == end && end != Some("0"))
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

    /// A parent goes on as soon as its child has left the memory that they shared, which is before the child's own
    /// environment has its place: to look right then is to look in the middle of `execve(2)`, most times.
    #[test]
    fn a_process_that_is_just_becoming_another_program_is_not_overlooked() {
        let mark = ["KAON_TEST_MARK=here".to_owned()];
        for round in 0..50 {
            let mut command = std::process::Command::new("sleep");
            let mut child = command.arg("300").env("KAON_TEST_MARK", "here").spawn().expect("sleep is everywhere");
            let was_found = was_started_with(child.id().cast_signed(), &mark);
            child.kill().and_then(|()| child.wait()).expect("our child");
            assert!(was_found, "round {round}");
        }
    }

    #[test]
    fn who_has_no_environment_for_good_is_not_waited_for() {
        let line = |size: u64, start: u64, end: u64| {
            let zeros = "0 ".repeat(26);
            format!("7 (a) b) S {}{size} {zeros}{start} {end} 0", "1 ".repeat(19))
        };
        assert!(shows_no_environment(&line(0, 0, 0)), "a thread of the kernel");
        assert!(shows_no_environment(&line(4096, 77, 77)), "started with nothing");
        assert!(!shows_no_environment(&line(4096, 0, 0)), "in the middle of it");
        assert!(!shows_no_environment(&line(4096, 77, 99)), "done since it was read");
        assert!(shows_no_environment("7 (a) S 1") && shows_no_environment(""));
        let mut bare = std::process::Command::new("sleep");
        let mut child = bare.arg("300").env_clear().spawn().expect("sleep is everywhere");
        assert!(!was_started_with(child.id().cast_signed(), &["A=b".to_owned()]));
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
