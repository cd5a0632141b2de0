//! `/files/browse`, `/files/read`, `/files/download`: what is in a sandbox, and the log of the process; nothing else
//! (reference 2).
//!
//! A sandbox belongs to its task's user, who may put anything in it at any moment, while we read with the agent's rights.
//! So the way to a file is walked component by component from the work directory, each opened relative to the one before
//! and never through a link; only plain files are read, and of those with several names only such as belong to the owner
//! of the sandbox, since another name may have been made for somebody else's file. What is checked is what is open.
//!
//! Two forms of a path: the real one, below the work directory, and `/frameworks/<framework>/executors/<executor>/runs/<run>`.
//! In both the run may be `latest`, the newest by its last change.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use kaon_kernel::id::AgentId;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::answer::{self, Answer, Broken};
use crate::path;
use crate::v1::mesos as v1;

/// Bytes that one `/files/read` gives at most: 16 pages, as in Mesos.
pub(crate) const READ_BYTES_MAX: usize = 16 * 4096;

/// Entries of a directory that `/files/browse` lists at most.
pub(crate) const BROWSE_ENTRIES_MAX: usize = 10_000;

/// Components of a path below the work directory.
const COMPONENTS_MAX: usize = 64;

/// Components of a sandbox below the work directory: `slaves/A/frameworks/F/executors/E/runs/C`.
const SANDBOX_COMPONENTS: usize = 8;

/// Why a file is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("Expecting 'path=value' in query")]
    NoPath,
    #[error("Failed to parse '{0}': expecting a whole number")]
    Number(&'static str),
    #[error("The path has a component that no sandbox has")]
    Path,
    #[error("Cannot read a directory")]
    Directory,
    #[error("Not a plain file of its sandbox")]
    NotPlain,
    #[error("File not found")]
    NotFound,
    #[error("The file can't be read: {0}")]
    System(Errno),
}

impl Error {
    pub(crate) fn answer(&self) -> Answer {
        let status = match self {
            Self::NoPath | Self::Number(_) | Self::Path | Self::Directory => StatusCode::BAD_REQUEST,
            Self::NotPlain | Self::System(Errno::EACCES | Errno::EPERM) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::System(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        answer::refusal(status, self)
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        match errno {
            // A link where a directory is expected is none.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG => Self::NotFound,
            other => Self::System(other),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.raw_os_error().map_or(Self::System(Errno::EIO), |code| Errno::from_raw(code).into())
    }
}

type Query = [(String, String)];

/// The files that a process shows.
pub(crate) struct Files {
    /// Below it are sandboxes; a master has none.
    work_dir: Option<PathBuf>,
    /// The name under which the log is shown, and where it is.
    log: Option<(&'static str, PathBuf)>,
}

/// A file or directory that is open.
struct Opened {
    fd: OwnedFd,
    stat: FileStat,
    /// What was asked for, to name what lies below.
    asked: String,
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// A place in time, for the newest of several.
fn changed(stat: &FileStat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

fn open_directory(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// The names in a directory, up to a bound, without `.` and `..` and such as are not UTF-8.
fn names(directory: &OwnedFd, bound: usize) -> Result<Vec<String>, Error> {
    let mut directory = Dir::from_fd(open_directory(directory, ".")?)?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(_) if names.len() == bound => break,
            Ok(name) => names.push(name.to_owned()),
        }
    }
    names.sort_unstable();
    Ok(names)
}

impl Files {
    pub(crate) fn new(work_dir: Option<PathBuf>, log: Option<(&'static str, PathBuf)>) -> Self {
        Self { work_dir, log }
    }

    fn root(&self) -> Result<OwnedFd, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(open(self.work_dir.as_ref().ok_or(Error::NotFound)?, flags, Mode::empty())?)
    }

    /// `/files/debug`: what is shown under which name.
    pub(crate) fn debug(&self) -> Value {
        let log = self.log.iter().map(|(name, path)| ((*name).to_owned(), path.display().to_string().into()));
        Value::Object(log.collect())
    }

    /// The log, when that is what was asked for. It is the operator's own file, so links are followed.
    fn open_log(&self, asked: &str) -> Option<Result<Opened, Error>> {
        let (_, path) = self.log.as_ref().filter(|(name, _)| asked.trim_end_matches('/') == *name)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let opened = open(path, flags, Mode::empty()).and_then(|fd| Ok((fstat(&fd)?, fd)));
        Some(match opened {
            Ok((stat, fd)) if kind(&stat) == SFlag::S_IFREG => Ok(Opened { fd, stat, asked: asked.to_owned() }),
            Ok(_) => Err(Error::NotPlain),
            Err(errno) => Err(errno.into()),
        })
    }

    /// The agent whose sandboxes changed last.
    pub(crate) fn newest_agent(&self) -> Option<AgentId> {
        let agents = open_directory(&self.root().ok()?, "slaves").ok()?;
        newest(&agents, &[]).ok().flatten().map(AgentId::trusted)
    }

    /// The components below the work directory that a path stands for; the run is still as it was asked.
    fn locate(&self, root: &OwnedFd, text: &str) -> Result<Vec<String>, Error> {
        let work_dir = self.work_dir.as_ref().and_then(|path| path.to_str()).unwrap_or_default().trim_end_matches('/');
        let below = text.strip_prefix(work_dir).filter(|rest| !work_dir.is_empty() && rest.starts_with('/'));
        let parts = below.unwrap_or(text).split('/').filter(|part| !part.is_empty());
        let mut parts: Vec<String> = parts.map(str::to_owned).collect();
        if parts.len() > COMPONENTS_MAX
            || parts.iter().any(|part| matches!(part.as_str(), "." | "..") || part.contains('\0'))
        {
            return Err(Error::Path);
        }
        if below.is_none() && parts.first().is_some_and(|first| first == "frameworks") {
            let agents = open_directory(root, "slaves")?;
            let inside: Vec<&str> = parts.iter().take(SANDBOX_COMPONENTS - 3).map(String::as_str).collect();
            let agent = newest(&agents, &inside)?.ok_or(Error::NotFound)?;
            parts.splice(0..0, ["slaves".to_owned(), agent]);
        }
        let shape = ["slaves", "", "frameworks", "", "executors", "", "runs", ""];
        let fits = parts.len() >= SANDBOX_COMPONENTS
            && shape.iter().zip(&parts).all(|(wanted, part)| wanted.is_empty() || part == wanted);
        if fits { Ok(parts) } else { Err(Error::NotFound) }
    }

    fn open(&self, query: &Query) -> Result<Opened, Error> {
        let asked = path::value(query, "path").filter(|path| !path.is_empty()).ok_or(Error::NoPath)?;
        if let Some(opened) = self.open_log(asked) {
            return opened;
        }
        let root = self.root()?;
        let parts = self.locate(&root, asked)?;
        let (sandbox, inside) = parts.split_at(SANDBOX_COMPONENTS);
        let mut fd = root;
        for part in &sandbox[..SANDBOX_COMPONENTS - 1] {
            fd = open_directory(&fd, part)?;
        }
        let run = match sandbox[SANDBOX_COMPONENTS - 1].as_str() {
            "latest" => newest(&fd, &[])?.ok_or(Error::NotFound)?,
            run => run.to_owned(),
        };
        fd = open_directory(&fd, &run)?;
        let mut stat = fstat(&fd)?;
        let owner = stat.st_uid;
        if let Some((last, between)) = inside.split_last() {
            for part in between {
                fd = open_directory(&fd, part)?;
            }
            // Looked at before it is opened: opening a pipe or a device can have an effect.
            let before = fstatat(&fd, last.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            fd = match kind(&before) {
                SFlag::S_IFDIR => open_directory(&fd, last)?,
                SFlag::S_IFREG => {
                    let flags =
                        OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
                    openat(&fd, last.as_str(), flags, Mode::empty())?
                }
                _ => return Err(Error::NotPlain),
            };
            stat = fstat(&fd)?;
            let is_foreign = stat.st_nlink > 1 && stat.st_uid != owner;
            if !matches!(kind(&stat), SFlag::S_IFDIR | SFlag::S_IFREG) || (kind(&stat) == SFlag::S_IFREG && is_foreign)
            {
                return Err(Error::NotPlain);
            }
        }
        Ok(Opened { fd, stat, asked: asked.trim_end_matches('/').to_owned() })
    }

    fn open_file(&self, query: &Query) -> Result<(File, u64, String), Error> {
        let opened = self.open(query)?;
        if kind(&opened.stat) == SFlag::S_IFDIR {
            return Err(Error::Directory);
        }
        let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
        Ok((File::from(opened.fd), size, opened.asked))
    }

    /// What is in a directory, in order of names. Entries beyond [`BROWSE_ENTRIES_MAX`] are left out.
    fn entries(&self, query: &Query) -> Result<Vec<(String, FileStat, String)>, Error> {
        let opened = self.open(query)?;
        if kind(&opened.stat) != SFlag::S_IFDIR {
            return Err(Error::NotFound);
        }
        let mut entries = Vec::new();
        for name in names(&opened.fd, BROWSE_ENTRIES_MAX)? {
            // It may be gone by now.
            let Ok(stat) = fstatat(&opened.fd, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            let tag = identity(std::fs::symlink_metadata(format!("/proc/self/fd/{}/{name}", opened.fd.as_raw_fd())));
            entries.push((format!("{}/{name}", opened.asked), stat, tag));
        }
        Ok(entries)
    }

    /// `/files/browse`. The tags are ours: those of `/files/download`.
    pub(crate) fn browse(&self, query: &Query) -> Result<Value, Error> {
        let mut people = People::default();
        let listed = self.entries(query)?.into_iter().map(|(path, stat, tag)| {
            json!({
                "path": path,
                "nlink": stat.st_nlink,
                "size": stat.st_size,
                "mtime": stat.st_mtime as f64,
                "mode": mode_text(&stat),
                "uid": people.user(stat.st_uid),
                "gid": people.group(stat.st_gid),
                "tag": tag,
            })
        });
        Ok(Value::Array(listed.collect()))
    }

    /// LIST_FILES.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<v1::FileInfo>, Error> {
        let mut people = People::default();
        let entries = self.entries(&[("path".to_owned(), path.to_owned())])?;
        let listed = entries.into_iter().map(|(path, stat, _)| v1::FileInfo {
            path,
            nlink: i32::try_from(stat.st_nlink).ok(),
            size: u64::try_from(stat.st_size).ok(),
            mtime: Some(v1::TimeInfo { nanoseconds: stat.st_mtime.saturating_mul(1_000_000_000) }),
            mode: Some(stat.st_mode),
            uid: Some(people.user(stat.st_uid).to_owned()),
            gid: Some(people.group(stat.st_gid).to_owned()),
        });
        Ok(listed.collect())
    }

    /// READ_FILE: the size of a file and a piece of it, at most [`READ_BYTES_MAX`] long.
    pub(crate) fn piece(&self, path: &str, offset: u64, length: Option<u64>) -> Result<(u64, Vec<u8>), Error> {
        let (file, size, _) = self.open_file(&[("path".to_owned(), path.to_owned())])?;
        let wanted = length.map_or(READ_BYTES_MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let mut data = vec![0; wanted.min(READ_BYTES_MAX)];
        let read = read_at(&file, &mut data, offset)?;
        data.truncate(read);
        Ok((size, data))
    }

    /// `/files/read`: a piece of a file as text. `offset` absent or -1 asks for the size.
    pub(crate) fn read(&self, query: &Query) -> Result<Value, Error> {
        let (offset, length) = (number(query, "offset")?, number(query, "length")?);
        let (file, size, _) = self.open_file(query)?;
        let Some(offset) = offset else { return Ok(json!({"offset": size, "data": ""})) };
        let wanted = length.map_or(READ_BYTES_MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let mut data = vec![0; wanted.min(READ_BYTES_MAX)];
        let read = read_at(&file, &mut data, offset)?;
        data.truncate(read);
        Ok(json!({"offset": offset, "data": String::from_utf8_lossy(&data)}))
    }

    /// `/files/download`: a file as it is. `offset` skips so many bytes, beyond the end all of them; that is ours, for
    /// readers that follow a file, as is the tag: it stays while the file grows or gets another name, and is never another's.
    pub(crate) fn download(&self, query: &Query) -> Result<Answer, Error> {
        let offset = number(query, "offset")?.unwrap_or(0);
        let (file, size, asked) = self.open_file(query)?;
        let offset = offset.min(size);
        let tag = identity(file.metadata());
        let body = Content { reader: Reader::Idle(file), at: offset, left: size - offset };
        let mut answer = Response::new(body.boxed_unsync());
        let name = asked.rsplit('/').next().unwrap_or_default();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
        if let Ok(value) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, value);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            headers.insert(CONTENT_DISPOSITION, value);
        }
        Ok(answer)
    }
}

impl Files {
    /// `/files/browse`, `/files/read`, `/files/debug` and `/files/download`; `None` for any other path. May wait for the
    /// disk.
    pub(crate) fn answer(&self, parts: &[&str], query: &Query) -> Option<Answer> {
        let shown = match parts {
            ["files", "browse" | "browse.json"] => self.browse(query),
            ["files", "read" | "read.json"] => self.read(query),
            ["files", "debug" | "debug.json"] => Ok(self.debug()),
            ["files", "download" | "download.json"] => {
                return Some(self.download(query).unwrap_or_else(|error| error.answer()));
            }
            _ => return None,
        };
        Some(match shown {
            Ok(value) => answer::json(&value, path::value(query, "jsonp")),
            Err(error) => error.answer(),
        })
    }
}

/// What tells a file from every other, by number and birth: numbers are used again.
fn identity(data: io::Result<std::fs::Metadata>) -> String {
    let number = data.as_ref().map_or(0, std::os::unix::fs::MetadataExt::ino);
    let born = data.and_then(|data| data.created()).ok();
    let born =
        born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos());
    format!("\"{number:x}-{born:x}\"")
}

/// The directory below `parent` that changed last; of those, if anything is in `inside`, that have it, by its change.
fn newest(parent: &OwnedFd, inside: &[&str]) -> Result<Option<String>, Error> {
    let mut best = None;
    'next: for name in names(parent, BROWSE_ENTRIES_MAX)? {
        let Ok(mut fd) = open_directory(parent, &name) else { continue };
        for part in inside {
            match open_directory(&fd, part) {
                Ok(below) => fd = below,
                Err(_) => continue 'next,
            }
        }
        let found = (changed(&fstat(&fd)?), name);
        best = best.max(Some(found));
    }
    Ok(best.map(|(_, name)| name))
}

/// A number of the query; absent and -1 are none.
fn number(query: &Query, key: &'static str) -> Result<Option<u64>, Error> {
    match path::value(query, key) {
        None | Some("-1") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Error::Number(key)),
    }
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An offset that no file has is beyond its end.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("txt" | "log" | "csv" | "md") => "text/plain",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gz" | "tgz") => "application/gzip",
        Some("zip") => "application/zip",
        _ => "application/octet-stream",
    }
}

/// A mode as `ls` writes it.
fn mode_text(stat: &FileStat) -> String {
    let first = match kind(stat) {
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        SFlag::S_IFIFO => 'p',
        SFlag::S_IFSOCK => 's',
        SFlag::S_IFCHR => 'c',
        SFlag::S_IFBLK => 'b',
        _ => '-',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    let bits = bits.map(|(bit, letter)| if stat.st_mode >> bit & 1 == 1 { letter } else { '-' });
    std::iter::once(first).chain(bits).collect()
}

/// Names of users and groups, each looked up once an answer.
#[derive(Default)]
struct People {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl People {
    fn user(&mut self, id: u32) -> &str {
        self.users.entry(id).or_insert_with(|| {
            let user = nix::unistd::User::from_uid(id.into()).ok().flatten();
            user.map_or_else(|| id.to_string(), |user| user.name)
        })
    }
    fn group(&mut self, id: u32) -> &str {
        self.groups.entry(id).or_insert_with(|| {
            let group = nix::unistd::Group::from_gid(id.into()).ok().flatten();
            group.map_or_else(|| id.to_string(), |group| group.name)
        })
    }
}

/// The content of a file, read piece by piece on threads that may wait for the disk. A slow client holds none.
struct Content {
    reader: Reader,
    at: u64,
    left: u64,
}

enum Reader {
    Idle(File),
    Busy(JoinHandle<io::Result<(File, Vec<u8>)>>),
    Done,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Reader::Idle(_) = self.reader
            && let Reader::Idle(file) = std::mem::replace(&mut self.reader, Reader::Done)
        {
            let at = self.at;
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
            self.reader = Reader::Busy(tokio::task::spawn_blocking(move || {
                let mut data = vec![0; wanted];
                let read = read_at(&file, &mut data, at)?;
                data.truncate(read);
                Ok((file, data))
            }));
        }
        let Reader::Busy(piece) = &mut self.reader else { return Poll::Ready(None) };
        let read = match Pin::new(piece).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Ok((file, data)))) if !data.is_empty() => {
                self.reader = Reader::Idle(file);
                data
            }
            Poll::Ready(outcome) => {
                self.reader = Reader::Done;
                let reason = match outcome {
                    Ok(Ok(_)) => "it has become shorter".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                return Poll::Ready(Some(Err(Broken::File(reason))));
            }
        };
        self.at += read.len() as u64;
        self.left -= read.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(read)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
