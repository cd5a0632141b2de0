//! `docker/runtime` and `volume/image`: what was leased for a container becomes its root and its volumes, and is let go
//! when it is gone. The images were brought before (`Images::provide`); here is only what the disk says of them.

use super::root::{Files, Root};
use super::store::{Lease, Record, Store};
use super::{Backend, ImagesConfig, copy, has_overlay, image_of};
use crate::filesystem::placed;
use crate::isolator::{Contribution, Error, Isolator, Mount, Survivor};
use crate::way;
use kaon_kernel::container::LaunchSpec;
use kaon_kernel::id::ContainerId;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The roots of containers.
#[derive(Clone, Debug)]
pub struct Runtime {
    config: ImagesConfig,
    store: Store,
    is_overlaid: bool,
}

/// The volumes of containers that are images.
#[derive(Clone, Debug)]
pub struct ImageVolumes {
    runtime: Runtime,
    work_directory: PathBuf,
}

/// Name of [`Runtime`].
pub const RUNTIME: &str = "docker/runtime";
/// Name of [`ImageVolumes`].
pub const VOLUMES: &str = "volume/image";

fn failed(isolator: &'static str, action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { isolator, action, source }
}

impl Runtime {
    /// The roots that are made of a store.
    ///
    /// # Errors
    /// When overlayfs is asked for and missing.
    pub fn new(config: &ImagesConfig) -> Result<Self, Error> {
        if config.backend == Backend::Overlay && !has_overlay() {
            let reason = "overlayfs is asked for, and this kernel has none".to_owned();
            return Err(Error::Refused { isolator: RUNTIME, reason });
        }
        let is_overlaid = config.backend != Backend::Copy && has_overlay();
        Ok(Self { config: config.clone(), store: Store::at(&config.store), is_overlaid })
    }

    fn lease(&self, container: &ContainerId) -> Lease {
        let (agent, owner) = (self.config.agent(), self.config.owner_of(container));
        self.store.leased(&agent, owner, container.as_str()).unwrap_or_default()
    }

    /// Makes what the tree of an image needs beside its layers.
    fn files(&self, record: &Record, home: PathBuf) -> io::Result<Files> {
        DirBuilder::new().recursive(true).mode(0o700).create(&home)?;
        let layers = self.store.stack(record);
        let mut files = Files { layers: Vec::new(), home };
        // What the container sees as the mode of its root.
        let make = |path: &Path| way::make_one(path, 0o755);
        make(&files.root())?;
        if self.is_overlaid {
            make(&files.upper())?;
            make(&files.work())?;
            files.layers = layers;
        } else {
            for layer in layers.iter().rev() {
                copy::over(layer, &files.root())?;
            }
        }
        Ok(files)
    }

    /// Lets go of what a container used: itself, and what is within it.
    fn release(&self, container: &str) -> io::Result<()> {
        let (agent, roots) = (self.config.agent(), self.config.roots.join("containers"));
        let directory = match &self.config.owner {
            Some(owner) => roots.join(owner).join(container),
            None => roots.join(container),
        };
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match &self.config.owner {
            Some(owner) => self.store.release(&agent, owner, Some(container)),
            None => self.store.release(&agent, container, None),
        }
    }
}

impl Isolator for Runtime {
    fn name(&self) -> &'static str {
        RUNTIME
    }

    fn recover(&self, survivors: &[Survivor], _: &[ContainerId]) -> Result<(), Error> {
        if self.config.owner.is_some() {
            return Ok(());
        }
        let mut found = self.store.owners(&self.config.agent());
        let directories = fs::read_dir(self.config.roots.join("containers")).into_iter().flatten();
        found.extend(directories.filter_map(|entry| entry.ok()?.file_name().into_string().ok()));
        let is_alive = |name: &String| survivors.iter().any(|one| one.container.as_str() == name);
        for gone in found.iter().filter(|name| !is_alive(name)) {
            self.release(gone).map_err(failed(RUNTIME, format!("let go of the images of {gone}")))?;
        }
        Ok(())
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let asked = spec.container.as_ref().is_some_and(|asked| asked.image.is_some() && asked.docker.is_none());
        if !asked {
            return Ok(Contribution::default());
        }
        let Some(record) = self.lease(container).root else {
            return Err(Error::Refused { isolator: RUNTIME, reason: "its image was not leased".to_owned() });
        };
        let made = self.files(&record, self.config.root(container).join("rootfs"));
        let files = made.map_err(failed(RUNTIME, "make the root of the container"))?;
        let mut wanted = Contribution { root: Some(Root { files, run: record.run }), ..Contribution::default() };
        wanted.namespaces.mnt = true;
        Ok(wanted)
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.release(container.as_str()).map_err(failed(RUNTIME, "let go of its images"))
    }
}

impl ImageVolumes {
    /// The volumes that are made of the same store.
    pub fn new(runtime: Runtime, work_directory: &Path) -> Self {
        Self { runtime, work_directory: work_directory.to_owned() }
    }
}

impl Isolator for ImageVolumes {
    fn name(&self) -> &'static str {
        VOLUMES
    }

    fn prepare(&self, container: &ContainerId, spec: &LaunchSpec) -> Result<Contribution, Error> {
        let Some(asked) = spec.container.as_ref().filter(|asked| asked.docker.is_none()) else {
            return Ok(Contribution::default());
        };
        let volumes: Vec<_> = asked.volumes.iter().filter(|one| image_of(&one.source).is_some()).collect();
        if volumes.is_empty() {
            return Ok(Contribution::default());
        }
        let refuse = |reason| Error::Refused { isolator: VOLUMES, reason };
        let leased = self.runtime.lease(container).volumes;
        if leased.len() != volumes.len() {
            return Err(refuse("its images were not leased".to_owned()));
        }
        let home = self.work_directory.join(&spec.sandbox);
        let mut wanted = Contribution::default();
        for (position, (volume, record)) in volumes.into_iter().zip(&leased).enumerate() {
            let to = placed(&home, &volume.container_path, asked.image.is_some()).map_err(refuse)?;
            let place = self.runtime.config.root(container).join(format!("volume-{position}"));
            let files = self.runtime.files(record, place);
            let files = files.map_err(failed(VOLUMES, "make a volume of an image"))?;
            wanted.mounts.push(Mount::Image { files, to, is_read_only: volume.is_read_only });
        }
        wanted.namespaces.mnt = true;
        Ok(wanted)
    }

    fn recover(&self, survivors: &[Survivor], orphans: &[ContainerId]) -> Result<(), Error> {
        self.runtime.recover(survivors, orphans)
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), Error> {
        self.runtime.cleanup(container)
    }
}
