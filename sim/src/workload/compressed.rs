//! Opens a file or a shipped trace as text, whatever it is packed in: gzip, zstd and Parquet are told by their first bytes, not by the name.

use crate::table::read as parquet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Opens `path`, unpacking on the way.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    match super::shipped::bytes(path) {
        Some(bytes) => unpack(bytes),
        None => unpack(BufReader::new(File::open(path)?)),
    }
}

/// Unpacks a stream of bytes if it is packed. Several gzip members in a row are one text; a Parquet table is CSV.
pub(super) fn unpack(mut source: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    let first = source.fill_buf()?;
    if first.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(source))));
    }
    if first.starts_with(&ZSTD) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(source).map_err(io::Error::other)?;
        return Ok(Box::new(BufReader::new(Box::new(decoder) as Box<dyn Read>)));
    }
    if first.starts_with(parquet::MAGIC) {
        return Ok(Box::new(io::Cursor::new(parquet::to_csv(source)?)));
    }
    Ok(Box::new(source))
}
