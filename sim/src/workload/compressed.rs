//! Opens a file or a shipped trace as text, whatever it is packed in: gzip, zstd and Parquet are told by their first bytes, not by the name.

use crate::table::read as parquet;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes that begin a frame of zstd which holds nothing for us; the first is 0x50 to 0x5f. Packers with several
/// threads begin with one.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Opens `path`, unpacking on the way.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    match super::shipped::bytes(path) {
        Some(bytes) => unpack(bytes),
        None => unpack(BufReader::new(File::open(path)?)),
    }
}

/// Unpacks a stream of bytes if it is packed. Several gzip members or zstd frames in a row are one text; a Parquet table is CSV.
pub(super) fn unpack(mut source: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    let first = source.fill_buf()?;
    if first.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(source))));
    }
    if first.starts_with(&ZSTD) || is_skipped(first) {
        return Ok(Box::new(BufReader::new(Frames { source, decoder: FrameDecoder::new(), is_within: false })));
    }
    if first.starts_with(parquet::MAGIC) {
        return Ok(Box::new(io::Cursor::new(parquet::to_csv(source)?)));
    }
    Ok(Box::new(source))
}

fn is_skipped(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0xf0 == 0x50) && bytes[1..].starts_with(&ZSTD_SKIPPED)
}

/// The text of all frames of a zstd file; the decoder itself ends with the first. A window is 128 MiB at most.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// A frame is begun and its text not taken to its end.
    is_within: bool,
}

impl<R: BufRead> Frames<R> {
    /// Passes over what is to be skipped.
    fn skip(&mut self) -> io::Result<()> {
        while is_skipped(self.source.fill_buf()?) {
            let mut head = [0; 8];
            self.source.read_exact(&mut head)?;
            let length = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
            if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty() {
            if !self.is_within {
                self.skip()?;
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.decoder.init(&mut self.source).map_err(io::Error::other)?;
                self.is_within = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let more = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
                more.map_err(io::Error::other)?;
            }
            let read = self.decoder.read(into)?;
            if read > 0 {
                return Ok(read);
            }
            let sums = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
            if matches!(sums, (Some(said), Some(found)) if said != found) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the sum of a zstd frame is wrong"));
            }
            self.is_within = false;
        }
        Ok(0)
    }
}
