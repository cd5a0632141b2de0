//! Foreign texts, read in a process of their own. hwloc's importer is C, and damage in the right place makes it crash; what
//! crashes then is not the agent. The process is this binary again, started with [`ARGUMENT`]: it gets the text on stdin,
//! limits on time and memory, and no environment, and answers with an archive that is checked like a message.

use super::{Error, XML_BYTES_MAX, from_synthetic, from_xml_text, text};
use crate::containers::Executable;
use kaon_kernel::topology::Topology;
use nix::sys::resource::{Resource, setrlimit};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The argument with which the binary becomes a reader.
pub const ARGUMENT: &str = "topology-reader";

/// The most processor time of a reader in seconds. A machine with 384 processing units takes 0.03 s.
const PROCESSOR_SECONDS_MAX: u64 = 20;

/// The most address space of a reader in bytes.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// The largest answer in bytes: the largest archive of a topology is half of that.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How much of a reader's last words is repeated, in bytes.
const WORDS_BYTES_MAX: usize = 512;

/// What a text is, as the second argument of a reader.
const KINDS: [&str; 2] = ["xml", "synthetic"];

/// A topology by a word of the operator: a file if there is one of that name, else a synthetic description if it looks like
/// one (`kind:count ..`). Blocks for some hundredths of a second.
pub fn named(word: &str, executable: &Executable) -> Result<Topology, Error> {
    let is_description = word.contains(':') && !word.contains('/') && !Path::new(word).exists();
    if is_description { synthetic(word, executable) } else { xml(Path::new(word), executable) }
}

/// Reads a file that `lstopo --of xml` (hwloc 2) wrote, wherever it comes from.
pub fn xml(path: &Path, executable: &Executable) -> Result<Topology, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    // One byte more than allowed tells a file that is too large, whatever its metadata say.
    file.take(XML_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    xml_text(&bytes, executable)
}

/// Reads the text of such a file.
pub fn xml_text(bytes: &[u8], executable: &Executable) -> Result<Topology, Error> {
    text::check(bytes)?;
    read(KINDS[0], bytes, executable)
}

/// Makes a machine from a description, wherever it comes from.
pub fn synthetic(description: &str, executable: &Executable) -> Result<Topology, Error> {
    text::check_synthetic(description)?;
    read(KINDS[1], description.as_bytes(), executable)
}

fn read(kind: &str, bytes: &[u8], executable: &Executable) -> Result<Topology, Error> {
    let failed = |source| Error::Reader { reason: format!("it can't be run: {source}") };
    let mut command = Command::new(executable.path());
    command.args([ARGUMENT, kind]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A reader that is gone already says why by its end.
        let _ = stdin.write_all(bytes);
    }
    // It reads all of its stdin before it writes; what it writes to stderr is a few lines.
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(failed)?;
    }
    let ended = child.wait_with_output().map_err(failed)?;
    if let Some(signal) = ended.status.signal() {
        return Err(Error::Reader { reason: format!("it was ended by signal {signal}: the text is damaged") });
    }
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stderr);
        let words = words.trim();
        let start = (0..=words.len().saturating_sub(WORDS_BYTES_MAX)).rev().find(|at| words.is_char_boundary(*at));
        return Err(Error::Reader { reason: words[start.unwrap_or(0)..].to_owned() });
    }
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(answer.len());
    aligned.extend_from_slice(&answer);
    let topology = rkyv::from_bytes::<Topology, rkyv::rancor::Error>(&aligned)
        .map_err(|_| Error::Reader { reason: "its answer is no topology".to_owned() })?;
    topology.check()?;
    Ok(topology)
}

/// The reader's own `main`, before any thread exists.
pub fn main() -> ExitCode {
    let kind = std::env::args().nth(2);
    match answer(kind.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(kind: Option<&str>) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Reader { reason: source.to_string() };
    for (limit, most) in [
        (Resource::RLIMIT_CPU, PROCESSOR_SECONDS_MAX),
        (Resource::RLIMIT_AS, MEMORY_BYTES_MAX),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(limit, most, most).map_err(|error| failed(error.into()))?;
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(XML_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let topology = match kind {
        Some("synthetic") => from_synthetic(&String::from_utf8_lossy(&bytes))?,
        _ => from_xml_text(&bytes)?,
    };
    let archive = rkyv::to_bytes::<rkyv::rancor::Error>(&topology)
        .map_err(|error| Error::Reader { reason: error.to_string() })?;
    let mut out = io::stdout().lock();
    out.write_all(&archive).and_then(|()| out.flush()).map_err(failed)
}
