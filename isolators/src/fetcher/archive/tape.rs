//! Tar, read as a stream of entries: ustar, GNU's long names, and the records of pax that say where something goes and
//! whose it is. What is made of an entry is its reader's business; sparse files, whose size is a claim, are refused here.

use super::super::bounds::Budget;
use super::super::error::Error;
use super::super::name::{PATH_BYTES_MAX, shown};
use std::io::{self, Read};
use tar::Header;

/// Everything in a tar archive comes in blocks.
const BLOCK_BYTES: u64 = 512;

/// The largest pax header in bytes; a long path and link target take 8 KiB.
const PAX_BYTES_MAX: u64 = 64 * 1024;

/// The pax records that hold extended attributes, by what their keys begin with.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What the headers before an entry say about it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u64>,
    group: Option<u64>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry of an archive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its path, as the archive has it.
    pub(crate) path: Vec<u8>,
    /// The bytes of its body; zero for all but files.
    pub(crate) size: u64,
    /// Its mode; only the lower twelve bits mean anything.
    pub(crate) mode: u32,
    /// Whose it is; root's where that can't be told.
    pub(crate) user: u64,
    /// Of which group.
    pub(crate) group: u64,
    /// When it was changed, in seconds since 1970, where that can be told.
    pub(crate) changed: Option<i64>,
    /// Its extended attributes.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// Another name of a file, with that file's path.
    HardLink(Vec<u8>),
    /// With its target.
    SymbolicLink(Vec<u8>),
    Device,
    Pipe,
}

/// An archive that is being read.
pub(crate) struct Tape<R> {
    from: R,
    /// What is left of the body of the entry, and what comes after it.
    left: u64,
    padding: u64,
    is_empty: bool,
}

impl<R: Read> Tape<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0, is_empty: true }
    }

    /// Whether no header has come yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The next entry, or none at the end; what was not read of the one before is passed over.
    pub(crate) fn next(&mut self, budget: &mut Budget) -> Result<Option<Entry>, Error> {
        let rest = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        skip(&mut self.from, rest)?;
        let mut said = Said::default();
        while let Some(header) = next_header(&mut self.from)? {
            self.is_empty = false;
            budget.entry()?;
            let size = header.entry_size().map_err(damaged)?;
            match header.as_bytes()[156] {
                b'L' => said.path = Some(text(&mut self.from, size, PATH_BYTES_MAX as u64)?),
                b'K' => said.link = Some(text(&mut self.from, size, PATH_BYTES_MAX as u64)?),
                b'x' => pax(&body(&mut self.from, size, PAX_BYTES_MAX)?, &mut said)?,
                // What it says of all entries is nothing that is looked at.
                b'g' => drop(body(&mut self.from, size, PAX_BYTES_MAX)?),
                // The name of the whole.
                b'V' => {}
                kind => return self.entry(kind, &header, size, said).map(Some),
            }
        }
        Ok(None)
    }

    fn entry(&mut self, kind: u8, header: &Header, size: u64, said: Said) -> Result<Entry, Error> {
        let path = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let refuse = |what| Err(Error::Entry { path: shown(&path), what });
        let link = said.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let kind = match kind {
            b'5' => Kind::Directory,
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink(link.unwrap_or_default()),
            b'2' => Kind::SymbolicLink(link.unwrap_or_default()),
            b'3' | b'4' => Kind::Device,
            b'6' => Kind::Pipe,
            b'S' => return refuse("a sparse file"),
            _ => return refuse("an entry of a kind that is not known"),
        };
        let size = if kind == Kind::File { said.size.unwrap_or(size) } else { 0 };
        (self.left, self.padding) = (size, size.wrapping_neg() % BLOCK_BYTES);
        Ok(Entry {
            size,
            mode: header.mode().map_err(damaged)? & 0o7777,
            // Some writers leave them empty.
            user: said.user.or_else(|| header.uid().ok()).unwrap_or(0),
            group: said.group.or_else(|| header.gid().ok()).unwrap_or(0),
            changed: header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()),
            attributes: said.attributes,
            kind,
            path,
        })
    }

    /// The body of the entry that was given last.
    pub(crate) fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    /// What follows the end of the archive: what a decoder says of the whole comes last.
    pub(crate) fn into_rest(self) -> R {
        self.from
    }
}

/// The body of an entry.
pub(crate) struct Body<'a, R>(&'a mut Tape<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.0.from.read(&mut into[..most])?;
        self.0.left -= read as u64;
        Ok(read)
    }
}

/// The next header, or none at the end: two blocks of zeros, or no more bytes.
fn next_header(from: &mut impl Read) -> Result<Option<Header>, Error> {
    let mut block = [0; BLOCK_BYTES as usize];
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(Error::Damaged("it ends within a header".to_owned())),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(error)),
        }
    }
    if block.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(&block).clone();
    let sum = |range: std::ops::Range<usize>| block[range].iter().map(|&byte| u32::from(byte)).sum::<u32>();
    // The sum is taken as if its own eight bytes were spaces.
    let expected = sum(0..148) + 8 * u32::from(b' ') + sum(156..block.len());
    match header.cksum() {
        Ok(found) if found == expected => Ok(Some(header)),
        _ => Err(Error::Damaged("a header's sum is wrong".to_owned())),
    }
}

/// The records of pax: `LENGTH KEY=VALUE\n`.
fn pax(mut records: &[u8], said: &mut Said) -> Result<(), Error> {
    let malformed = || Error::Damaged("a pax header can't be read".to_owned());
    let number = |value: &[u8]| -> Result<u64, Error> {
        std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)
    };
    while !records.is_empty() {
        let space = records.iter().position(|&byte| byte == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
        let length = length.filter(|&length| length > space + 1 && length <= records.len()).ok_or_else(malformed)?;
        let record = records[space + 1..length].strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => said.path = Some(value.to_owned()),
            b"linkpath" => said.link = Some(value.to_owned()),
            b"size" => said.size = Some(number(value)?),
            b"uid" => said.user = Some(number(value)?),
            b"gid" => said.group = Some(number(value)?),
            sparse if sparse.starts_with(b"GNU.sparse.") => {
                let path = said.path.as_deref().unwrap_or_default();
                return Err(Error::Entry { path: shown(path), what: "a sparse file" });
            }
            key => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                    said.attributes.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        records = &records[length..];
    }
    Ok(())
}

/// The body of an entry that ends with a NUL.
fn text(from: &mut impl Read, size: u64, most: u64) -> Result<Vec<u8>, Error> {
    let mut text = body(from, size, most + 1)?;
    text.truncate(text.iter().position(|&byte| byte == 0).unwrap_or(text.len()));
    Ok(text)
}

fn body(from: &mut impl Read, size: u64, most: u64) -> Result<Vec<u8>, Error> {
    if size > most {
        return Err(Error::Damaged(format!("a header of {size} bytes")));
    }
    let mut body = vec![0; size as usize];
    from.read_exact(&mut body).map_err(damaged)?;
    skip(from, size.wrapping_neg() % BLOCK_BYTES)?;
    Ok(body)
}

fn skip(from: &mut impl Read, bytes: u64) -> Result<(), Error> {
    // The last file of an archive may lack its padding.
    io::copy(&mut from.take(bytes), &mut io::sink()).map(|_| ()).map_err(damaged)
}

fn damaged(error: io::Error) -> Error {
    Error::Damaged(error.to_string())
}
