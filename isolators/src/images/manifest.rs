//! What an image is made of, as registries and archives tell it: manifests and configurations of Docker (version 2, schema
//! 2) and of OCI, which differ in the names of their types only. What is read is small, bounded, and judged before anything
//! of it is used.

use super::Error;
use super::digest::Digest;
use serde::{Deserialize, Serialize};

/// The largest manifest or configuration in bytes (that of Docker's own registry).
pub(super) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// The most layers of an image; Docker's own bound is 127.
pub(super) const LAYERS_MAX: usize = 128;

/// What a registry may answer with.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Something by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: Annotations,
}

/// The one annotation that is looked at: which name something has in a layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub(super) name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What a document is: one image, or a choice of images for several platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads one. What it is is told by what it holds: one that holds both things is refused, since two readers could take it
    /// for two images.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| Error::Document(error.to_string()))?;
        let refuse = |reason: &str| Err(Error::Document(reason.to_owned()));
        if raw.schema_version != 2 {
            return refuse("it is of schema 1, which is not served: push the image anew");
        }
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(config), Some(layers)) => {
                if layers.is_empty() || layers.len() > LAYERS_MAX {
                    return Err(Error::Document(format!(
                        "it has {} layers, 1 to {LAYERS_MAX} are served",
                        layers.len()
                    )));
                }
                if layers.iter().any(|layer| layer.media_type.contains("foreign")) {
                    return refuse("a layer of it lies elsewhere (foreign)");
                }
                Ok(Self::Manifest(Manifest { config, layers }))
            }
            (Some(_), ..) => refuse("it is both an image and a choice of images"),
            _ => refuse("it has neither configuration and layers nor other manifests"),
        }
    }
}

/// The name of this machine's processor in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "riscv64" => "riscv64",
        other => other,
    }
}

/// The one for this machine.
pub(super) fn choose(manifests: &[Descriptor]) -> Result<&Descriptor, Error> {
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        Some(platform) => {
            let is_plain = matches!(platform.variant.as_deref(), None | Some("" | "v8"));
            platform.os == "linux" && platform.architecture == architecture() && is_plain
        }
        None => false,
    };
    let found = manifests.iter().find(fits).or(match manifests {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    });
    found.ok_or_else(|| Error::Document(format!("there is none for linux/{}", architecture())))
}

/// What an image says of how it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    /// Whom to run as: a name or number, perhaps with a group after a colon.
    pub(crate) user: Option<String>,
    /// `NAME=value` each.
    pub(crate) env: Option<Vec<String>>,
    /// What comes before every command.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// The command of those who name none.
    pub(crate) cmd: Option<Vec<String>>,
    /// Where it starts.
    pub(crate) working_dir: Option<String>,
}

/// The configuration of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) run: RunConfig,
    /// The digests of its layers as they are unpacked, the lowest first.
    pub(super) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    config: Option<RunConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

impl Config {
    /// Reads one for an image with so many layers.
    pub(super) fn parse(bytes: &[u8], layers: usize) -> Result<Self, Error> {
        let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| Error::Document(error.to_string()))?;
        if raw.os.as_deref().is_some_and(|os| !os.is_empty() && os != "linux") {
            return Err(Error::Document("it is not for Linux".to_owned()));
        }
        let diff_ids = raw.rootfs.diff_ids;
        if raw.rootfs.kind != "layers" || diff_ids.len() != layers || layers == 0 || layers > LAYERS_MAX {
            let text = format!("its configuration tells of {} layers, its manifest of {layers}", diff_ids.len());
            return Err(Error::Document(text));
        }
        let run = raw.config.unwrap_or_default();
        let texts = [&run.env, &run.entrypoint, &run.cmd].into_iter().flatten().flatten();
        if texts.chain(&run.user).chain(&run.working_dir).any(|text| text.contains('\0')) {
            return Err(Error::Document("a text of its configuration holds a NUL".to_owned()));
        }
        Ok(Self { run, diff_ids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(content: &str) -> Value {
        json!({"mediaType": "x", "digest": Digest::of(content.as_bytes()), "size": content.len()})
    }

    fn parse(value: &Value) -> Result<Document, String> {
        Document::parse(&serde_json::to_vec(value).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_are_images_or_choices_and_never_both() {
        let image = json!({"schemaVersion": 2, "config": descriptor("c"), "layers": [descriptor("l")]});
        assert!(matches!(parse(&image), Ok(Document::Manifest(manifest)) if manifest.layers.len() == 1));
        assert!(matches!(parse(&json!({"schemaVersion": 2, "manifests": []})), Ok(Document::Index(_))));
        let mut both = image.clone();
        both["manifests"] = json!([]);
        let mut many = image.clone();
        many["layers"] = json!(vec![descriptor("l"); LAYERS_MAX + 1]);
        let mut none = image.clone();
        none["layers"] = json!([]);
        let mut foreign = image.clone();
        foreign["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        let mut lie = image.clone();
        lie["layers"][0]["digest"] = "sha256:../../../etc/passwd".into();
        let mut negative = image;
        negative["layers"][0]["size"] = json!(-1);
        let old = json!({"schemaVersion": 1, "fsLayers": []});
        for (bad, words) in [
            (both, "both an image and"),
            (many, "129 layers"),
            (none, "0 layers"),
            (foreign, "foreign"),
            (lie, "no digest"),
            (negative, "invalid value"),
            (old, "schema 1"),
            (json!({"schemaVersion": 2}), "neither"),
            (json!([]), "invalid length"),
        ] {
            let error = parse(&bad).expect_err("refused");
            assert!(error.contains(words), "{error} has no {words:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(Document::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_image_of_this_machine_is_chosen() {
        let platform = |os: &str, architecture: &str| {
            let mut one = descriptor(&format!("{os}{architecture}"));
            one["platform"] = json!({"os": os, "architecture": architecture});
            serde_json::from_value::<Descriptor>(one).unwrap()
        };
        let all = [platform("windows", architecture()), platform("linux", "s390x"), platform("linux", architecture())];
        assert_eq!(choose(&all).unwrap(), &all[2]);
        assert!(choose(&all[..2]).unwrap_err().to_string().contains("there is none for linux/"));
        let bare: Descriptor = serde_json::from_value(descriptor("x")).unwrap();
        assert_eq!(choose(std::slice::from_ref(&bare)).unwrap(), &bare);
    }

    #[test]
    fn a_configuration_agrees_with_its_manifest() {
        let config = |value: Value, layers| Config::parse(&serde_json::to_vec(&value).unwrap(), layers);
        let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(b"")]});
        let whole = json!({"os": "linux", "rootfs": rootfs, "config": {"Env": ["A=b"], "Cmd": null, "User": "1:2"}});
        let parsed = config(whole.clone(), 1).unwrap();
        assert_eq!((parsed.run.user.as_deref(), parsed.run.cmd), (Some("1:2"), None));
        assert!(config(whole.clone(), 2).is_err());
        assert!(config(json!({"os": "windows", "rootfs": rootfs}), 1).is_err());
        assert!(config(json!({"rootfs": rootfs, "config": {"Env": ["A=\0"]}}), 1).is_err());
        assert_eq!(config(json!({"rootfs": rootfs}), 1).unwrap().run, RunConfig::default());
    }
}
