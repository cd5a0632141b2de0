//! Unpacking, entry by entry, within the bounds and below one directory. An archive that breaks a rule is refused as a
//! whole at the entry that breaks it: what came before stays in the sandbox for people to read, and the program does not
//! start.

pub(crate) mod tape;
mod tar;
mod zip;
mod zstd;

use super::bounds::Budget;
use super::error::Error;
use super::name::{Kind, Packing};
use super::tree::Tree;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

/// How much is copied at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The most memory of the xz decoder in KiB: the highest setting of xz takes 65 MiB.
const XZ_MEMORY_KIB_MAX: u32 = 512 * 1024;

/// Unpacks a file below the tree. `name` is its path there: one packed file becomes its name without the ending.
pub(crate) fn unpack(kind: Kind, file: File, name: &str, tree: &mut Tree, budget: &mut Budget) -> Result<(), Error> {
    let packed_bytes = file.metadata().map_err(Error::io("look at the archive"))?.len();
    budget.begin_archive(packed_bytes);
    let done = match kind {
        Kind::Tar(packing) => {
            let mut plain = decoder(packing, file);
            // To the end of it: what the decoder says of the whole comes last.
            tar::unpack(&mut plain, tree, budget).and_then(|()| copy(&mut plain, &mut io::sink(), budget).map(|_| ()))
        }
        Kind::Zip => zip::unpack(file, tree, budget),
        Kind::Packed(packing) => {
            let plain = name.rsplit_once('.').map_or(name, |(plain, _)| plain);
            budget.entry()?;
            let mut to = tree.file(plain.as_bytes(), 0o644)?;
            copy(&mut decoder(packing, file), &mut to, budget).map(|_| ())
        }
    };
    budget.end_archive();
    done
}

/// The plain bytes of a packed file, of all its parts one after the other.
pub(crate) fn decoder(packing: Packing, file: File) -> Box<dyn Read> {
    let file = BufReader::with_capacity(CHUNK_BYTES, file);
    match packing {
        Packing::None => Box::new(file),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Packing::Xz => Box::new(BufReader::with_capacity(
            CHUNK_BYTES,
            lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB_MAX),
        )),
        Packing::Zstd => Box::new(zstd::Frames::new(file)),
    }
}

/// Copies to the end, and says how much that was.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write, budget: &mut Budget) -> Result<u64, Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Damaged(error.to_string())),
        };
        budget.take(read as u64)?;
        to.write_all(&chunk[..read]).map_err(Error::io("write"))?;
        copied += read as u64;
    }
}

#[cfg(test)]
mod tests;
