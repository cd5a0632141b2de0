//! Flags of the images of containers. Names and meanings are those of Mesos's flags (reference 12.3, 15.2), with dashes.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kaon_isolators::images::{Backend, CONFIG_BYTES_MAX, ImagesConfig, REGISTRY_DEFAULT, check_credentials};
use serde::Deserialize;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where images come from and how long they stay.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Images")]
pub(crate) struct Images {
    /// The kinds of images that are served: DOCKER, which OCI images are too.
    #[arg(long, env = "KAON_IMAGE_PROVIDERS", default_value = "DOCKER", value_name = "LIST")]
    pub(crate) image_providers: String,
    /// The registry of images that name none: a URL, or a directory of archives (NAME:TAG.tar) and OCI layouts.
    #[arg(long, env = "KAON_DOCKER_REGISTRY", default_value = REGISTRY_DEFAULT, value_name = "URL|DIR")]
    pub(crate) docker_registry: String,
    /// Who may fetch: what `docker login` writes, as JSON or as the path of a file.
    #[arg(long, env = "KAON_DOCKER_CONFIG", value_name = "JSON|FILE")]
    pub(crate) docker_config: Option<String>,
    /// Where layers are kept; below the work directory when not given. Several agents may share one.
    #[arg(long, env = "KAON_DOCKER_STORE_DIR", value_name = "DIR")]
    pub(crate) docker_store_dir: Option<PathBuf>,
    /// How layers become one tree: `overlay`, or `copy`; what the kernel can do best when not given.
    #[arg(long, env = "KAON_IMAGE_PROVISIONER_BACKEND", value_name = "NAME")]
    pub(crate) image_provisioner_backend: Option<String>,
    /// When images that nobody uses are removed: JSON, such as {"image_disk_headroom": 0.1}. Never when not given.
    #[arg(long, env = "KAON_IMAGE_GC_CONFIG", value_name = "JSON")]
    pub(crate) image_gc_config: Option<String>,
    /// Images that are fetched when the agent starts.
    #[arg(long, env = "KAON_PULL_IMAGES", value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) pull_images: Vec<String>,
}

/// When images go by themselves (`ImageGcConfig` of Mesos).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Collection {
    /// Images go when less than this part of the file system is free.
    #[serde(default = "headroom_default")]
    pub(crate) image_disk_headroom: f64,
    /// How often that is looked at.
    #[serde(default)]
    image_disk_watch_interval: Interval,
    /// Those that stay.
    #[serde(default, deserialize_with = "names")]
    pub(crate) excluded_images: Vec<String>,
}

/// An image by its name, or as Mesos writes one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Excluded {
    Name(String),
    Image { docker: Named },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn names<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Vec<String>, D::Error> {
    let read = Vec::<Excluded>::deserialize(from)?;
    let name = |one| match one {
        Excluded::Name(name) | Excluded::Image { docker: Named { name } } => name,
    };
    Ok(read.into_iter().map(name).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Interval {
    nanoseconds: u64,
}

/// Mesos's: a tenth, once an hour.
fn headroom_default() -> f64 {
    0.1
}

impl Default for Interval {
    fn default() -> Self {
        Self { nanoseconds: 3_600_000_000_000 }
    }
}

impl Collection {
    /// How often the file system is looked at: at most a hundred times a second.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.image_disk_watch_interval.nanoseconds).max(Duration::from_millis(10))
    }
}

/// The file below the work directory that holds credentials that were said as JSON.
const CREDENTIALS_FILE: &str = "docker-config";

impl Images {
    /// Where the images of an agent with this work directory come from.
    ///
    /// # Errors
    /// When a value is none.
    pub(crate) fn config(&self, work_directory: &Path, authorities: Option<&PathBuf>) -> Result<ImagesConfig> {
        if self.image_providers.split(',').any(|name| name.trim() != "DOCKER") {
            bail!("--image-providers {}: only DOCKER is served", self.image_providers);
        }
        let backend = match self.image_provisioner_backend.as_deref() {
            None => Backend::Best,
            Some("overlay") => Backend::Overlay,
            Some("copy") => Backend::Copy,
            Some(other) => bail!("--image-provisioner-backend {other}: expected overlay or copy"),
        };
        let is_url = ["http://", "https://"].iter().any(|scheme| self.docker_registry.starts_with(scheme));
        let directory = self.docker_registry.strip_prefix("file://").unwrap_or(&self.docker_registry);
        let registry = match is_url {
            true => self.docker_registry.clone(),
            false if Path::new(directory).is_absolute() => directory.to_owned(),
            false => bail!("--docker-registry {}: expected a URL or an absolute path", self.docker_registry),
        };
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let usual = ImagesConfig::usual(work_directory);
        Ok(ImagesConfig {
            registry,
            credentials: self.docker_config.as_deref().map(|said| credentials(said, work_directory)).transpose()?,
            store: self.docker_store_dir.as_ref().map(absolute).transpose()?.unwrap_or(usual.store.clone()),
            backend,
            authorities: authorities.map(absolute).transpose()?,
            ..usual
        })
    }

    /// When images go by themselves.
    ///
    /// # Errors
    /// When the value is none.
    pub(crate) fn collection(&self) -> Result<Option<Collection>> {
        let Some(text) = &self.image_gc_config else { return Ok(None) };
        let read: Collection = serde_json::from_str(text).context("--image-gc-config")?;
        if !(0.0..=1.0).contains(&read.image_disk_headroom) {
            bail!("--image-gc-config: expected an image_disk_headroom from 0 to 1");
        }
        Ok(Some(read))
    }
}

/// The file of the credentials: the one that is named, or one that holds what is said. Whoever starts an agent with credentials that
/// can't be read is told so at once, and not by a registry that shows nothing to strangers.
fn credentials(said: &str, work_directory: &Path) -> Result<PathBuf> {
    let path = Path::new(said.strip_prefix("file://").unwrap_or(said));
    if !said.trim_start().starts_with('{') {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut text = Vec::new();
            // One byte more than may be there tells that it is too long.
            std::fs::File::open(path)?.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().with_context(|| format!("--docker-config {}", path.display()))?;
        check_credentials(&text).map_err(|error| anyhow!("--docker-config {}: {error}", path.display()))?;
        return std::path::absolute(path).context("--docker-config");
    }
    check_credentials(said.as_bytes()).map_err(|error| anyhow!("--docker-config: {error}"))?;
    let path = work_directory.join(CREDENTIALS_FILE);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        std::io::Write::write_all(&mut file, said.as_bytes())
    };
    write().with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_mesos_values() {
        let flags = |text: &str| Images {
            image_providers: "DOCKER".into(),
            docker_registry: "/archives".into(),
            docker_config: None,
            docker_store_dir: None,
            image_provisioner_backend: None,
            image_gc_config: Some(text.to_owned()),
            pull_images: Vec::new(),
        };
        let read = flags(r#"{"image_disk_watch_interval": {"nanoseconds": 1000000000}, "excluded_images": ["a"]}"#);
        let read = read.collection().unwrap().unwrap();
        assert_eq!((read.image_disk_headroom, read.interval()), (0.1, Duration::from_secs(1)));
        let read = flags(r#"{"excluded_images": ["a", {"type": "DOCKER", "docker": {"name": "b:1"}}]}"#);
        assert_eq!(read.collection().unwrap().unwrap().excluded_images, ["a", "b:1"]);
        assert!(flags(r#"{"excluded_images": [{"type": "APPC"}]}"#).collection().is_err());
        assert!(
            flags("{\"image_disk_headroom\": 2}").collection().is_err() && flags("{\"x\": 1}").collection().is_err()
        );
        let work = std::env::temp_dir();
        assert_eq!(flags("{}").config(&work, None).unwrap().registry, "/archives");
        for (registry, backend) in [("archives", "copy"), ("ftp://x", "copy"), ("/a", "aufs")] {
            let mut bad = flags("{}");
            (bad.docker_registry, bad.image_provisioner_backend) = (registry.into(), Some(backend.into()));
            assert!(bad.config(&work, None).is_err(), "{registry} {backend}");
        }
    }

    #[test]
    fn credentials_that_can_not_be_read_are_refused_by_name() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("config.json");
        let said = |text: &str| credentials(text, work.path()).map_err(|error| format!("{error:#}"));
        let (there, secret) = (file.display().to_string(), r#"{"auths": {"r": {"auth": "s3cr3t"}}"#);
        for bad in [there.as_str(), &format!("file://{there}"), "{", secret, ""] {
            let error = said(bad).expect_err("refused");
            assert!(error.starts_with("--docker-config") && !error.contains("s3cr3t"), "{error}");
        }
        assert!(said(&there).unwrap_err().contains(&there), "it says which");
        std::fs::write(&file, secret).unwrap();
        assert!(said(&there).unwrap_err().contains("no configuration of docker"));
        std::fs::write(&file, format!("{secret}}}")).unwrap();
        assert_eq!(said(&there), Ok(file));
        assert_eq!(said(&format!("{secret}}}")), Ok(work.path().join(CREDENTIALS_FILE)));
    }
}
