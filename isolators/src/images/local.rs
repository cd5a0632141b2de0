//! Images that lie on the machine: an OCI layout (a directory, or a tar of one), or what `docker save` writes. As in Mesos an
//! agent's registry may be a directory of archives: `NAME:TAG.tar` or `NAME.tar`; beside it a directory `NAME:TAG` or `NAME` that
//! is a layout, or the whole directory being one. An archive is unpacked within the store first, by the fetcher's rules.

use super::digest::Digest;
use super::manifest::{DOCUMENT_BYTES_MAX, Descriptor, Document, LAYERS_MAX, choose};
use super::reference::Reference;
use super::{Error, Found, Part};
use crate::fetcher::archive;
use crate::fetcher::bounds::Budget;
use crate::fetcher::error::Error as Fetch;
use crate::fetcher::name::{Kind, Packing};
use crate::fetcher::tree::Tree;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// The largest number of images in one archive.
const IMAGES_MAX: usize = 1024;

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// A directory that is looked into and never out of.
pub(super) struct Local(File);

impl Local {
    /// Finds an image in a directory. An archive is unpacked into `aside`, a directory that is not there yet.
    pub(super) fn find(
        registry: &Path,
        reference: &Reference,
        aside: &Path,
        budget: &mut Budget,
    ) -> Result<(Self, Found), Error> {
        let (repository, version) = (&reference.repository, reference.version());
        let names = [format!("{repository}:{version}"), repository.clone()];
        for name in &names {
            let archive = registry.join(format!("{name}.tar"));
            if archive.is_file() {
                let opened = File::open(&archive).map_err(Fetch::io(format!("open '{}'", archive.display())))?;
                std::fs::create_dir(aside).map_err(Fetch::io("unpack an archive"))?;
                let mut tree = Tree::new(File::open(aside).map_err(Fetch::io("unpack an archive"))?.into());
                archive::unpack(Kind::Tar(Packing::None), opened, name, &mut tree, budget)?;
                return Self::within(aside, reference);
            }
        }
        let mut layouts: Vec<PathBuf> = names.iter().map(|name| registry.join(name)).collect();
        layouts.push(registry.to_owned());
        match layouts.into_iter().find(|path| path.join("oci-layout").is_file()) {
            Some(layout) => Self::within(&layout, reference),
            None => Err(Error::Absent { repository: reference.to_string() }),
        }
    }

    fn within(directory: &Path, reference: &Reference) -> Result<(Self, Found), Error> {
        let opened = File::open(directory).map_err(Fetch::io(format!("open '{}'", directory.display())))?;
        let local = Self(opened);
        let found = match local.read("manifest.json") {
            Ok(bytes) => local.saved(&bytes, reference)?,
            Err(_) => local.layout(reference)?,
        };
        Ok((local, found))
    }

    /// Opens a file; links are followed as far as they stay inside.
    pub(super) fn open(&self, path: &str) -> Result<File, Error> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let shown = crate::fetcher::name::shown(path.as_bytes());
        let opened = openat2(&self.0, path, how).map_err(Fetch::errno(format!("open '{shown}' of the image")))?;
        let file = File::from(opened);
        match file.metadata().map_err(Fetch::io("look at a file of the image"))?.is_file() {
            true => Ok(file),
            false => Err(Fetch::NotAPlainFile(shown).into()),
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let file = BufReader::new(self.open(path)?);
        file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Fetch::io("read a document of the image"))?;
        match bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            true => Err(Error::Document(format!("a document of more than {DOCUMENT_BYTES_MAX} bytes"))),
            false => Ok(bytes),
        }
    }

    /// What `docker save` wrote: the layers are plain tars, known by the configuration alone.
    fn saved(&self, bytes: &[u8], reference: &Reference) -> Result<Found, Error> {
        let all: Vec<Saved> = serde_json::from_slice(bytes).map_err(|error| Error::Document(error.to_string()))?;
        if all.len() > IMAGES_MAX {
            return Err(Error::Document(format!("an archive of {} images", all.len())));
        }
        let is_named = |saved: &&Saved| {
            let tags = saved.repo_tags.iter().flatten();
            tags.filter_map(|tag| Reference::parse(tag).ok())
                .any(|tag| (&tag.repository, &tag.tag) == (&reference.repository, &reference.tag))
        };
        let found = all.iter().find(is_named).or(match all.as_slice() {
            [only] => Some(only),
            _ => None,
        });
        let saved = found.ok_or_else(|| Error::Absent { repository: reference.to_string() })?;
        if saved.layers.len() > LAYERS_MAX {
            return Err(Error::Document(format!("it has {} layers, 1 to {LAYERS_MAX} are served", saved.layers.len())));
        }
        let layers = saved.layers.iter().map(|path| Part::File(path.clone())).collect();
        let config = self.read(&saved.config)?;
        let digest = reference.digest.map(|wanted| match Digest::of(&config) == wanted {
            true => Ok(wanted),
            false => Err(Error::Absent { repository: reference.to_string() }),
        });
        Ok(Found { digest: digest.transpose()?, config, layers })
    }

    /// An OCI layout.
    fn layout(&self, reference: &Reference) -> Result<Found, Error> {
        let index = self.read("index.json")?;
        let Document::Index(all) = Document::parse(&index)? else {
            return Err(Error::Document("'index.json' is no index".to_owned()));
        };
        let is_named = |descriptor: &&Descriptor| match (&reference.digest, &descriptor.annotations.name) {
            (Some(digest), _) => descriptor.digest == *digest,
            (None, Some(name)) => {
                let tag = reference.tag.as_deref();
                tag == Some(name.as_str()) || Reference::parse(name).is_ok_and(|named| named == *reference)
            }
            (None, None) => false,
        };
        let found = all.iter().find(is_named).or(match (all.as_slice(), &reference.digest) {
            ([only], None) => Some(only),
            _ => None,
        });
        let mut descriptor = found.ok_or_else(|| Error::Absent { repository: reference.to_string() })?.clone();
        // An index of an index of one image is as deep as it goes.
        for _ in 0..2 {
            match Document::parse(&self.blob(&descriptor)?)? {
                Document::Index(all) => descriptor = choose(&all)?.clone(),
                Document::Manifest(manifest) => {
                    let config = self.blob(&manifest.config)?;
                    let layers = manifest.layers.into_iter().map(Part::Blob).collect();
                    return Ok(Found { digest: Some(descriptor.digest), config, layers });
                }
            }
        }
        Err(Error::Document("a choice of choices of images".to_owned()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let bytes = self.read(&blob_path(descriptor))?;
        descriptor.check("a document", &bytes)?;
        Ok(bytes)
    }
}

/// Where a layout keeps something.
pub(super) fn blob_path(descriptor: &Descriptor) -> String {
    format!("blobs/sha256/{}", descriptor.digest.digits())
}
