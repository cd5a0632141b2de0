//! Tar, read as a stream: ustar, GNU's long names, and the records of pax that say where something goes.
//!
//! What is no file, directory or link inside the sandbox is refused: devices, pipes, sparse files (whose size is a claim),
//! links out, absolute paths (attack 48). Owners are not looked at: everything is the user's own.

use super::super::bounds::Budget;
use super::super::error::Error;
use super::super::name::{PATH_BYTES_MAX, shown};
use super::super::tree::Tree;
use super::copy;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use std::io::{self, Read};
use tar::Header;

/// Everything in a tar archive comes in blocks.
const BLOCK_BYTES: u64 = 512;

/// The largest pax header in bytes; a long path and link target take 8 KiB.
const PAX_BYTES_MAX: u64 = 64 * 1024;

/// What the headers before an entry say about it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Unpacks a tar archive.
pub(super) fn unpack(from: &mut impl Read, tree: &mut Tree, budget: &mut Budget) -> Result<(), Error> {
    let mut said = Said::default();
    let mut is_empty = true;
    while let Some(header) = next_header(from)? {
        is_empty = false;
        budget.entry()?;
        let size = header.entry_size().map_err(damaged)?;
        let kind = header.as_bytes()[156];
        match kind {
            b'L' => said.path = Some(text(from, size, PATH_BYTES_MAX as u64)?),
            b'K' => said.link = Some(text(from, size, PATH_BYTES_MAX as u64)?),
            b'x' => pax(&body(from, size, PAX_BYTES_MAX)?, &mut said)?,
            // What it says of all entries is nothing that is looked at.
            b'g' => drop(body(from, size, PAX_BYTES_MAX)?),
            // The name of the whole.
            b'V' => {}
            _ => {
                let said = std::mem::take(&mut said);
                entry(from, kind, &header, size, said, tree, budget)?;
            }
        }
    }
    match is_empty {
        true => Err(Error::Damaged("it is empty".to_owned())),
        false => Ok(()),
    }
}

fn entry(
    from: &mut impl Read,
    kind: u8,
    header: &Header,
    size: u64,
    said: Said,
    tree: &mut Tree,
    budget: &mut Budget,
) -> Result<(), Error> {
    let path = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let refuse = |what| Err(Error::Entry { path: shown(&path), what });
    let mode = header.mode().map_err(damaged)?;
    let is_directory = kind == b'5' || (matches!(kind, 0 | b'0') && path.ends_with(b"/"));
    let link = || said.link.clone().or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    match kind {
        _ if is_directory => tree.directory(&path, mode),
        0 | b'0' | b'7' => {
            let size = said.size.unwrap_or(size);
            budget.announced(size)?;
            let mut file = tree.file(&path, mode)?;
            if copy(&mut from.take(size), &mut file, budget)? < size {
                return Err(Error::Damaged("it ends within a file".to_owned()));
            }
            if let Some(seconds) = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()) {
                let time = TimeSpec::new(seconds, 0);
                // A time that the file system can't hold is left out.
                let _ = futimens(&file, &time, &time);
            }
            skip(from, padding(size))
        }
        b'1' => tree.hard_link(&path, &link().unwrap_or_default()),
        b'2' => tree.symbolic_link(&path, &link().unwrap_or_default()),
        b'3' | b'4' => refuse("a device"),
        b'6' => refuse("a pipe"),
        b'S' => refuse("a sparse file"),
        _ => refuse("an entry of a kind that is not known"),
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
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                said.size = Some(size.ok_or_else(malformed)?);
            }
            sparse if sparse.starts_with(b"GNU.sparse.") => {
                let path = said.path.as_deref().unwrap_or_default();
                return Err(Error::Entry { path: shown(path), what: "a sparse file" });
            }
            _ => {}
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
    skip(from, padding(size))?;
    Ok(body)
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES
}

fn skip(from: &mut impl Read, bytes: u64) -> Result<(), Error> {
    // The last file of an archive may lack its padding.
    io::copy(&mut from.take(bytes), &mut io::sink()).map(|_| ()).map_err(damaged)
}

fn damaged(error: io::Error) -> Error {
    Error::Damaged(error.to_string())
}
