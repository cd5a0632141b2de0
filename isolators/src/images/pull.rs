//! The worker: a process of its own that brings one image into the store and ends. It stays root, since the files of an image
//! have owners of their own, but gives up memory, processor time and new rights; a decoder that is led astray ends with it.
//!
//! Order in the worker: manifest, configuration, then layer by layer: its bytes into `staging`, their digest and size compared,
//! unpacked aside, the digest of the plain tar compared, and only then given its name.

use super::digest::{Digest, Summed};
use super::local::{Local, blob_path};
use super::manifest::{Config, Descriptor, Document, choose};
use super::reference::Reference;
use super::registry::Registry;
use super::store::{Record, Store, now};
use super::{Error, Found, Part, Source, layer};
use crate::fetcher::bounds::{Bounds, Budget};
use crate::fetcher::error::Error as Fetch;
use crate::fetcher::name::Packing;
use crate::fetcher::order::{self, Report};
use crate::fetcher::{archive, worker};
use crate::syscall;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Everything that the worker must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The store, absolute.
    pub(super) store: PathBuf,
    /// The image's whole name, under which it is remembered.
    pub(super) name: String,
    /// Where it comes from.
    pub(super) source: Source,
    /// Its name as it was asked for.
    pub(super) reference: String,
    /// Who may fetch it.
    pub(super) credentials: Option<Vec<u8>>,
    pub(super) stall_timeout: Duration,
    pub(super) bounds: Bounds,
}

/// The whole program of a worker. To be called at the very start of `main`, with one thread, when the first argument is
/// [`super::ARGUMENT`]: it closes every file descriptor that it was not meant to have.
pub fn main() -> ExitCode {
    let report = match syscall::close_from(3).map_err(|error| error.to_string()).and_then(|()| run()) {
        Ok(()) => Report::Done,
        Err(reason) => Report::Failed { reason },
    };
    match worker::say(&report) {
        Ok(()) if report == Report::Done => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run() -> Result<(), String> {
    let order: Order = order::read(&mut io::stdin().lock()).map_err(|error| format!("no order: {error}"))?;
    worker::limit(order.bounds.memory_bytes_max)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sys::prctl::set_no_new_privs().map_err(|errno| format!("can't give up rights: {errno}"))?;
    worker::listen().map_err(|error| format!("can't hear the agent: {error}"))?;
    pull(&order).map_err(|error| format!("can't fetch image {}: {}", order.name, crate::chain::chained(&error)))
}

/// Where the parts of an image come from.
enum From {
    Registry(Registry, tokio::runtime::Runtime),
    Local(Local),
}

fn pull(order: &Order) -> Result<(), Error> {
    let store = Store::open(&order.store).map_err(Fetch::io("open the store"))?;
    let _kept = store.share().map_err(Fetch::io("lock the store"))?;
    let reference = Reference::parse(&order.reference)?;
    let mut budget = Budget::new(order.bounds);
    let aside = Aside(store.aside().map_err(Fetch::io("begin"))?);
    let (mut from, found) = match &order.source {
        Source::Url(url) => {
            let credentials = order.credentials.as_deref();
            let mut registry = Registry::new(url, &reference.repository, credentials, order.stall_timeout)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(Fetch::io("start"))?;
            let found = runtime.block_on(resolve(&mut registry, &reference))?;
            (From::Registry(registry, runtime), found)
        }
        Source::Directory(directory) => {
            let (local, found) = Local::find(directory, &reference, &aside.0, &mut budget)?;
            (From::Local(local), found)
        }
    };
    let config = Config::parse(&found.config, found.layers.len())?;
    for (diff_id, part) in config.diff_ids.iter().zip(&found.layers) {
        store.have(diff_id, |into| {
            let blob = Aside(store.aside()?);
            let file = from.bring(part, &blob.0, &budget)?;
            unpack(file, diff_id, into, &mut budget)
        })?;
    }
    let record = Record {
        name: order.name.clone(),
        digest: found.digest,
        layers: config.diff_ids,
        run: config.run,
        fetched_at: now(),
    };
    store.put(&order.name, &record).map_err(Fetch::io("remember the image"))?;
    Ok(())
}

async fn resolve(registry: &mut Registry, reference: &Reference) -> Result<Found, Error> {
    let (bytes, digest) = registry.manifest(&reference.version()).await?;
    let (manifest, digest) = match Document::parse(&bytes)? {
        Document::Manifest(manifest) => (manifest, digest),
        Document::Index(all) => {
            let chosen = choose(&all)?;
            let (bytes, digest) = registry.manifest(&chosen.digest.to_string()).await?;
            chosen.check("the manifest", &bytes)?;
            match Document::parse(&bytes)? {
                Document::Manifest(manifest) => (manifest, digest),
                Document::Index(_) => return Err(Error::Document("a choice of choices of images".to_owned())),
            }
        }
    };
    let config = registry.small(&manifest.config).await?;
    Ok(Found { digest: Some(digest), config, layers: manifest.layers.into_iter().map(Part::Blob).collect() })
}

impl From {
    /// The bytes of a layer, whose digest and size are right where they are said. `place` is a file that is not there yet.
    fn bring(&mut self, part: &Part, place: &Path, budget: &Budget) -> Result<File, Error> {
        match (self, part) {
            (Self::Registry(registry, runtime), Part::Blob(descriptor)) => {
                budget.announced(descriptor.size)?;
                let opened = File::options().read(true).write(true).create_new(true).open(place);
                let mut file = opened.map_err(Fetch::io("make a file for a layer"))?;
                runtime.block_on(registry.blob(descriptor, &mut file))?;
                file.rewind().map_err(Fetch::io("read a layer"))?;
                Ok(file)
            }
            (Self::Local(local), Part::Blob(descriptor)) => {
                let mut file = local.open(&blob_path(descriptor))?;
                check(&mut file, descriptor)?;
                Ok(file)
            }
            (Self::Local(local), Part::File(path)) => local.open(path),
            (Self::Registry(..), Part::File(_)) => unreachable!("registries have blobs only"),
        }
    }
}

fn check(file: &mut File, descriptor: &Descriptor) -> Result<(), Error> {
    if file.metadata().map_err(Fetch::io("look at a layer"))?.len() != descriptor.size {
        return Err(Error::Size { wanted: descriptor.size });
    }
    let mut summed = Summed::new(&mut *file);
    io::copy(&mut summed, &mut io::sink()).map_err(Fetch::io("read a layer"))?;
    let found = summed.finish();
    if found != descriptor.digest {
        let (wanted, found) = (descriptor.digest.to_string(), found.to_string());
        return Err(Error::Digest { what: "a layer", wanted, found });
    }
    file.rewind().map_err(Fetch::io("read a layer"))?;
    Ok(())
}

/// Unpacks a layer, whose packing its first bytes tell, and compares what came out of it.
fn unpack(mut file: File, diff_id: &Digest, into: &Path, budget: &mut Budget) -> Result<(), Error> {
    let packed_bytes = file.metadata().map_err(Fetch::io("look at a layer"))?.len();
    let mut first = Vec::new();
    (&mut file).take(6).read_to_end(&mut first).map_err(Fetch::io("read a layer"))?;
    file.rewind().map_err(Fetch::io("read a layer"))?;
    let packing = match first.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Packing::Xz,
        [b'B', b'Z', b'h', ..] => Packing::Bzip2,
        _ => Packing::None,
    };
    let root: OwnedFd = File::open(into).map_err(Fetch::io("unpack a layer"))?.into();
    let mut summed = Summed::new(archive::decoder(packing, file));
    budget.begin_archive(packed_bytes);
    let done = layer::unpack(&mut summed, root, budget);
    budget.end_archive();
    done?;
    match summed.finish() {
        found if found == *diff_id => Ok(()),
        found => {
            Err(Error::Digest { what: "what a layer holds", wanted: diff_id.to_string(), found: found.to_string() })
        }
    }
}

/// Something in the store's `staging` that goes with this object.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // What is left in spite of this goes when nobody uses the store.
        let _ = if self.0.is_dir() { std::fs::remove_dir_all(&self.0) } else { std::fs::remove_file(&self.0) };
    }
}
