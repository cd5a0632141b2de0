//! Names of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, by the grammar of Docker's reference package and the rules that
//! Mesos adds: no registry means the agent's, no tag means `latest`, and a bare name on Docker's own registry lies in
//! `library/`.

use super::digest::Digest;
use std::fmt;

/// The longest repository in bytes, and the longest tag (the grammar's).
const REPOSITORY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// The tag of a name that has none.
const TAG_DEFAULT: &str = "latest";

/// A text that names no image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' names no image: {reason}")]
pub struct NoReference {
    name: String,
    reason: &'static str,
}

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The registry: a host, perhaps with a port; `None` for the agent's.
    pub(super) registry: Option<String>,
    /// The repository in it, such as `team/app`.
    pub(super) repository: String,
    /// Its tag; `latest` where neither tag nor digest is said.
    pub(super) tag: Option<String>,
    /// The digest of its manifest.
    pub(super) digest: Option<Digest>,
}

impl Reference {
    /// Takes a name apart.
    pub(super) fn parse(name: &str) -> Result<Self, NoReference> {
        let refuse =
            |reason| NoReference { name: name.chars().take(200).flat_map(char::escape_default).collect(), reason };
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::try_from(digest.to_owned());
                (rest, Some(digest.map_err(|_| refuse("its digest is none of the kind sha256"))?))
            }
            None => (name, None),
        };
        // A port has a slash after it, a tag has not.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("its tag is none"));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, path),
        };
        if registry.is_some_and(|registry| !is_host(registry)) {
            return Err(refuse("its registry is no host"));
        }
        if repository.len() > REPOSITORY_BYTES_MAX || !repository.split('/').all(is_component) {
            return Err(refuse("its repository is none"));
        }
        let tag = tag.or(Some(TAG_DEFAULT).filter(|_| digest.is_none()));
        Ok(Self {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// What a registry is asked for: the digest, which can't be misunderstood, before the tag.
    pub(super) fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => TAG_DEFAULT.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(formatter, "{registry}/")?;
        }
        formatter.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= TAG_BYTES_MAX
        && bytes.next().is_some_and(is_word)
        && bytes.all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// Letters and digits with separators between them: one dot, one or two underscores, or dashes.
fn is_component(component: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_plain = |byte: Option<u8>| byte.is_some_and(is_plain);
    let bytes = component.as_bytes();
    ends_plain(bytes.first().copied())
        && ends_plain(bytes.last().copied())
        && bytes.split(|&byte| is_plain(byte)).all(|between| match between {
            [] | [b'.' | b'_'] | [b'_', b'_'] => true,
            dashes => dashes.iter().all(|&byte| byte == b'-'),
        })
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        !label.is_empty()
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    };
    name.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_as_docker_takes_them_apart() {
        let parsed = |name: &str| {
            let reference = Reference::parse(name).unwrap();
            (reference.registry, reference.repository, reference.tag)
        };
        let owned = |registry: Option<&str>, repository: &str, tag: Option<&str>| {
            (registry.map(str::to_owned), repository.to_owned(), tag.map(str::to_owned))
        };
        assert_eq!(parsed("busybox"), owned(None, "busybox", Some("latest")));
        assert_eq!(parsed("team/app:v1.2"), owned(None, "team/app", Some("v1.2")));
        assert_eq!(parsed("localhost/app"), owned(Some("localhost"), "app", Some("latest")));
        assert_eq!(parsed("127.0.0.1:5000/a/b__c:x"), owned(Some("127.0.0.1:5000"), "a/b__c", Some("x")));
        let digest = Digest::of(b"");
        let by_digest = Reference::parse(&format!("quay.io/app@{digest}")).unwrap();
        assert_eq!((by_digest.tag.as_deref(), by_digest.digest), (None, Some(digest)));
        assert_eq!(by_digest.version(), digest.to_string());
        assert_eq!(by_digest.to_string(), format!("quay.io/app@{digest}"));
        assert_eq!(Reference::parse("busybox").unwrap().to_string(), "busybox:latest");
    }

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        let long = "a".repeat(256);
        for bad in [
            "",
            "/",
            "/app",
            "app/",
            "a//b",
            "..",
            "../app",
            "a/../b",
            "app:",
            "app:..",
            "app:a/b",
            "App",
            "a b",
            "a\0b",
            "app@",
            "app@sha256:zz",
            "host:0/app",
            "host:99999/app",
            "-host.x/app",
            "a?b",
            "a#b",
            "a%2e",
            "a._b",
            "a___b",
            "http://host/app",
            "user@host.x/app",
            &long,
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad:?}");
        }
    }
}
