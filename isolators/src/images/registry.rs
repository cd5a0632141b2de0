//! The conversation with a registry (OCI distribution specification, and Docker's token authentication).
//!
//! ```text
//! us                                   registry              whoever it trusts
//!   │ GET /v2/REPOSITORY/manifests/TAG ────►│
//!   │◄──── 401, WWW-Authenticate: Bearer ───│
//!   │ GET REALM?service=..&scope=.. (Basic, if we have any) ─────►│
//!   │◄──────────────────────────────────────────── {"token"} ─────│
//!   │ GET again, with the token ───────────►│
//! ```
//! Every address is judged as the fetcher judges it (attack 47): neither a redirect nor the realm of a token leads further
//! inside than the registry itself lies, and credentials stay with their server. Nothing that comes back is believed before its digest
//! and size are those that were asked for.

use super::digest::{Digest, Sum};
use super::manifest::{ACCEPTED, DOCUMENT_BYTES_MAX, Descriptor};
use super::{Error, credentials};
use crate::fetcher::address::Depth;
use crate::fetcher::error::Error as Fetch;
use crate::fetcher::http;
use crate::fetcher::target::Location;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::WWW_AUTHENTICATE;
use serde::Deserialize;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

/// The largest answer of a server of tokens in bytes.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// How often something is asked for whose connection falls, in all, and the pause between.
const TRIES_MAX: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// One repository of a registry.
pub(super) struct Registry {
    /// The registry's root, without authorization.
    base: Location,
    repository: String,
    /// The value of a Basic authorization.
    basic: Option<String>,
    /// The value of the authorization that it takes.
    authorization: Option<String>,
    /// How far inside it lies, once that is known.
    depth: Option<Depth>,
    stall: Duration,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Registry {
    /// A repository of the registry at a URL; `config` holds credentials as `docker login` writes them.
    pub(super) fn new(url: &str, repository: &str, config: Option<&[u8]>, stall: Duration) -> Result<Self, Error> {
        let base = Location::parse(url)?;
        let host = base.host_header();
        let basic = config.map(|config| credentials::find(config, &host)).transpose().map_err(Error::Credentials)?;
        Ok(Self {
            // What the URL itself names counts as well.
            basic: basic.flatten().or_else(|| base.authorization.clone()),
            base: Location { authorization: None, path_and_query: "/".to_owned(), ..base },
            repository: repository.to_owned(),
            authorization: None,
            depth: None,
            stall,
        })
    }

    /// A manifest by tag or digest, and its digest. What was asked for by digest is that.
    pub(super) async fn manifest(&mut self, version: &str) -> Result<(Vec<u8>, Digest), Error> {
        let path = format!("/v2/{}/manifests/{version}", self.repository);
        let response = self.get(&path, Some(ACCEPTED)).await?;
        let said =
            response.headers().get("docker-content-digest").and_then(|said| said.to_str().ok()).map(str::to_owned);
        let bytes = self.document(response, DOCUMENT_BYTES_MAX).await?;
        let digest = Digest::of(&bytes);
        let wanted = match version.contains(':') {
            true => Some(version.to_owned()),
            // A registry that names another algorithm says nothing that could be compared.
            false => said.filter(|said| said.starts_with("sha256:")),
        };
        match wanted {
            Some(wanted) if wanted != digest.to_string() => {
                Err(Error::Digest { what: "the manifest", wanted, found: digest.to_string() })
            }
            _ => Ok((bytes, digest)),
        }
    }

    /// A small blob.
    pub(super) async fn small(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        if descriptor.size > DOCUMENT_BYTES_MAX {
            return Err(Error::Document(format!("a document of {} bytes", descriptor.size)));
        }
        let response = self.get(&self.blob_path(descriptor), None).await?;
        let bytes = self.document(response, DOCUMENT_BYTES_MAX).await?;
        descriptor.check("the configuration", &bytes)?;
        Ok(bytes)
    }

    /// A blob into an empty file; asked for anew when its connection falls.
    pub(super) async fn blob(&mut self, descriptor: &Descriptor, to: &mut File) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.try_blob(descriptor, to).await {
                Err(Error::Fetch(Fetch::Connection(_) | Fetch::Stalled(_))) if tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                    to.set_len(0).map_err(Fetch::io("begin a layer anew"))?;
                    std::io::Seek::rewind(to).map_err(Fetch::io("begin a layer anew"))?;
                }
                other => return other,
            }
        }
    }

    async fn try_blob(&mut self, descriptor: &Descriptor, to: &mut File) -> Result<(), Error> {
        let response = self.get(&self.blob_path(descriptor), None).await?;
        if http::length(&response).is_some_and(|length| length != descriptor.size) {
            return Err(Error::Size { wanted: descriptor.size });
        }
        let (mut sum, mut bytes) = (Sum::new(), 0_u64);
        let mut is_too_long = false;
        let received = http::receive(response, self.stall, |piece| {
            bytes += piece.len() as u64;
            if bytes > descriptor.size {
                is_too_long = true;
                return Err(Fetch::TooMany { what: "bytes", most: descriptor.size });
            }
            sum.add(piece);
            to.write_all(piece).map_err(Fetch::io("write a layer"))
        });
        let received = received.await;
        if is_too_long {
            return Err(Error::Size { wanted: descriptor.size });
        }
        received?;
        if bytes != descriptor.size {
            return Err(Error::Size { wanted: descriptor.size });
        }
        descriptor.compare("a layer", sum.finish())
    }

    fn blob_path(&self, descriptor: &Descriptor) -> String {
        format!("/v2/{}/blobs/{}", self.repository, descriptor.digest)
    }

    /// Asks the registry, and who it trusts when it wants to know who asks.
    async fn get(&mut self, path: &str, accept: Option<&str>) -> Result<Response<Incoming>, Error> {
        let mut has_asked = false;
        loop {
            let location = Location {
                path_and_query: path.to_owned(),
                authorization: self.authorization.clone(),
                ..self.base.clone()
            };
            let (response, depth) = http::get(location, accept, None, self.stall).await?;
            // A blob may come from elsewhere, further outside; what is inside most is the registry itself.
            self.depth = self.depth.max(Some(depth));
            match response.status().as_u16() {
                200 => return Ok(response),
                401 if !has_asked => {
                    has_asked = true;
                    self.authorization = Some(self.authorize(&response).await?);
                }
                401 | 403 => return Err(Error::Denied { repository: self.repository.clone() }),
                404 => return Err(Error::Absent { repository: self.repository.clone() }),
                _ => return Err(Fetch::Status(response.status().to_string()).into()),
            }
        }
    }

    /// What a 401 asks for.
    async fn authorize(&self, response: &Response<Incoming>) -> Result<String, Error> {
        let denied = || Error::Denied { repository: self.repository.clone() };
        let all = response.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<Challenge<'_>> =
            all.iter().filter_map(|value| Challenge::parse(value.to_str().ok()?)).collect();
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer")) {
            return self.token(bearer).await;
        }
        let is_basic = challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"));
        self.basic.clone().filter(|_| is_basic).ok_or_else(denied)
    }

    async fn token(&self, challenge: &Challenge<'_>) -> Result<String, Error> {
        let realm = challenge.find("realm").ok_or_else(|| Error::Token("it names no realm".to_owned()))?;
        let mut location = Location::parse(&realm)?;
        if self.base.is_secure && !location.is_secure {
            return Err(Error::Token("its realm is not https".to_owned()));
        }
        let mut query = vec![format!("scope=repository:{}:pull", escaped(&self.repository))];
        query.extend(challenge.find("service").map(|service| format!("service={}", escaped(&service))));
        let separator = if location.path_and_query.contains('?') { '&' } else { '?' };
        location.path_and_query = format!("{}{separator}{}", location.path_and_query, query.join("&"));
        location.authorization.clone_from(&self.basic);
        let (response, _) = http::get(location, None, self.depth, self.stall).await?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(Error::Denied { repository: self.repository.clone() }),
            _ => return Err(Error::Token(format!("it was answered {}", response.status()))),
        }
        let bytes = self.document(response, TOKEN_BYTES_MAX).await?;
        // Never quoted: it is a secret.
        let unreadable = || Error::Token("the answer can't be read".to_owned());
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty()).ok_or_else(unreadable)?;
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(format!("Bearer {token}")) } else { Err(unreadable()) }
    }

    async fn document(&self, response: Response<Incoming>, most: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let received = http::receive(response, self.stall, |piece| {
            if bytes.len() + piece.len() > most as usize {
                return Err(Fetch::TooMany { what: "bytes of a document", most });
            }
            bytes.extend_from_slice(piece);
            Ok(())
        });
        received.await?;
        Ok(bytes)
    }
}

/// One challenge of a `WWW-Authenticate` header: a scheme and its parameters.
#[derive(Debug)]
struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

impl<'a> Challenge<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut parameters = Vec::new();
        while let Some((name, after)) = rest.trim_start_matches([' ', ',']).split_once('=') {
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let end = quoted.find('"')?;
                    (quoted[..end].to_owned(), &quoted[end + 1..])
                }
                None => match after.split_once(',') {
                    Some((value, rest)) => (value.trim().to_owned(), rest),
                    None => (after.trim().to_owned(), ""),
                },
            };
            parameters.push((name.trim(), value));
        }
        Some(Self { scheme, parameters })
    }

    fn find(&self, name: &str) -> Option<String> {
        let found = self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }
}

/// A text as part of a query (RFC 3986: all but the unreserved characters, and slashes, as `%XX`).
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Descriptor {
    /// Whether these bytes are what it describes.
    pub(super) fn check(&self, what: &'static str, bytes: &[u8]) -> Result<(), Error> {
        match bytes.len() as u64 == self.size {
            true => self.compare(what, Digest::of(bytes)),
            false => Err(Error::Size { wanted: self.size }),
        }
    }

    fn compare(&self, what: &'static str, found: Digest) -> Result<(), Error> {
        match found == self.digest {
            true => Ok(()),
            false => Err(Error::Digest { what, wanted: self.digest.to_string(), found: found.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let text = r#"Bearer realm="https://auth.x/token?a=b",service="r,x", scope="repository:a:pull""#;
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.find("Realm").as_deref(), Some("https://auth.x/token?a=b"));
        assert_eq!(challenge.find("service").as_deref(), Some("r,x"));
        assert_eq!(Challenge::parse("Basic realm=x, charset=UTF-8").unwrap().find("charset").as_deref(), Some("UTF-8"));
        assert_eq!(Challenge::parse("Negotiate").unwrap().parameters.len(), 0);
        assert!(Challenge::parse("Bearer realm=\"open").is_none());
        assert_eq!(escaped("a b&c=d/e"), "a%20b%26c%3Dd/e");
    }
}
