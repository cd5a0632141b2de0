//! The images of an agent: opened when its isolators serve any, fetched before they are asked for, removed when the disk is
//! full.

use crate::arguments::images::{Collection, Images as Flags};
use anyhow::{Context, Result};
use kaon_http::{Kind, Sample};
use kaon_isolators::build::Settings;
use kaon_isolators::containers::Executable;
use kaon_isolators::images::{Images, RUNTIME, VOLUMES};
use std::path::Path;

/// The isolators that use images, or bring one along that does.
const USERS: [&str; 3] = [RUNTIME, VOLUMES, "filesystem/linux"];

/// The images of an agent, if its isolators serve any.
///
/// # Errors
/// When the store can't be made, or a value is none.
pub(super) fn open(flags: &Flags, settings: &Settings) -> Result<Option<Images>> {
    let collection = flags.collection()?;
    if !settings.isolation.split(',').any(|name| USERS.contains(&name.trim())) {
        return Ok(None);
    }
    let store = &settings.images.store;
    let images = Images::new(settings.images.clone(), Executable::current()?);
    let images = images.with_context(|| format!("can't make the store of images {}", store.display()))?;
    if let Some(collection) = collection {
        tokio::spawn(collect(images.clone(), collection));
    }
    for name in &flags.pull_images {
        let (images, name) = (images.clone(), name.clone());
        tokio::spawn(async move {
            match images.pull(&name, true).await {
                Ok(()) => tracing::info!(name, "the image is there"),
                Err(error) => tracing::error!(name, error, "the image can't be fetched in advance"),
            }
        });
    }
    Ok(Some(images))
}

/// Removes what nobody uses whenever too little of the file system is free.
async fn collect(images: Images, collection: Collection) {
    let mut ticks = tokio::time::interval(collection.interval());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (images, collection) = (images.clone(), collection.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let free = free(&images.config().store)?;
            match free < collection.image_disk_headroom {
                true => images.prune(&collection.excluded_images).map(Some),
                false => Ok(None),
            }
        });
        match looked.await {
            Ok(Ok(Some(pruned))) => tracing::info!(?pruned, "images that nobody used are removed"),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::error!(error, "images can't be removed"),
            Err(error) => tracing::error!(%error, "images can't be removed"),
        }
    }
}

/// Which part of a file system is free.
pub(super) fn free(path: &Path) -> Result<f64, String> {
    let found =
        nix::sys::statvfs::statvfs(path).map_err(|errno| format!("can't look at {}: {errno}", path.display()))?;
    Ok(found.blocks_available() as f64 / (found.blocks().max(1)) as f64)
}

/// What was fetched, as numbers for monitors.
pub(super) fn samples(images: &Images) -> [Sample; 2] {
    let statistics = images.statistics();
    let sample = |name: &str, value: u64| Sample {
        name: format!("containerizer/mesos/provisioner/docker_store/{name}"),
        value: value as f64,
        kind: Kind::Counter,
    };
    [sample("images_pulled", statistics.pulled), sample("image_pulls_failed", statistics.failed)]
}
