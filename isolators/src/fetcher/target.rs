//! Where a URI leads: a file of this machine, or a server; and what a redirect makes of it.

use super::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use std::path::{Path, PathBuf};

/// The longest URI in bytes, redirects included.
const URI_BYTES_MAX: usize = 8192;

/// What a URI leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file of this machine, absolute.
    File(PathBuf),
    /// Something on a server.
    Http(Location),
}

/// Something on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) is_secure: bool,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Begins with a slash.
    pub(crate) path_and_query: String,
    /// The value of the Authorization header that the URI's user and password ask for.
    pub(crate) authorization: Option<String>,
}

impl Target {
    /// Reads a URI as Mesos does: a scheme, or a path, which if it is relative lies below `home`.
    pub(crate) fn parse(text: &str, home: Option<&Path>) -> Result<Self, Error> {
        if text.len() > URI_BYTES_MAX {
            return Err(Error::Uri("it is too long"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match (Path::new(text), home) {
                (path, _) if path.is_absolute() => Ok(Self::File(path.to_owned())),
                (_, Some(home)) => Ok(Self::File(home.join(text))),
                (_, None) => Err(Error::Relative),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                match path.starts_with('/') {
                    true => Ok(Self::File(path.into())),
                    false => Err(Error::Uri("file:///PATH names an absolute path and no other host")),
                }
            }
            "http" | "https" => Location::parse(text).map(Self::Http),
            other => Err(Error::Scheme(other.chars().take(20).flat_map(char::escape_default).collect())),
        }
    }
}

impl Location {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let uri: Uri = text.parse().map_err(|_| Error::Uri("it can't be read"))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(Error::Uri("it has no scheme")),
        };
        let authority = uri.authority().ok_or(Error::Uri("it has no host"))?;
        let credentials = authority.as_str().rsplit_once('@').map(|(credentials, _)| credentials);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Error::Uri("it has no host"));
        }
        let default = if is_secure { 443 } else { 80 };
        // `Authority` takes a port that is none as no port.
        let after_host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let has_port = after_host.rsplit_once(']').map_or(after_host, |(_, rest)| rest).contains(':');
        let port = match authority.port_u16() {
            Some(0) => return Err(Error::Uri("its port is zero")),
            Some(port) => port,
            None if has_port => return Err(Error::Uri("its port is none")),
            None => default,
        };
        let path_and_query = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        let authorization = match credentials {
            Some(credentials) => Some(format!("Basic {}", STANDARD.encode(decoded(credentials)?))),
            None => None,
        };
        Ok(Self { is_secure, host, port, path_and_query, authorization })
    }

    /// Where a redirect leads. Only to http and https, never from https to http; credentials stay with their server.
    pub(crate) fn redirected(&self, to: &str) -> Result<Self, Error> {
        if to.len() > URI_BYTES_MAX {
            return Err(Error::Redirect("it leads to a URI that is too long"));
        }
        let to = to.split('#').next().unwrap_or_default();
        let scheme = if self.is_secure { "https" } else { "http" };
        let mut next = if has_scheme(to) {
            match Target::parse(to, None) {
                Ok(Target::Http(next)) => next,
                _ => return Err(Error::Redirect("it leads to something that is not http or https")),
            }
        } else if let Some(rest) = to.strip_prefix("//") {
            Self::parse(&format!("{scheme}://{rest}"))?
        } else {
            let path = self.path_and_query.split('?').next().unwrap_or_default();
            let path_and_query = match to {
                "" => return Err(Error::Redirect("it leads nowhere")),
                absolute if absolute.starts_with('/') => absolute.to_owned(),
                query if query.starts_with('?') => format!("{path}{query}"),
                relative => format!("{}/{relative}", path.rsplit_once('/').map_or("", |(above, _)| above)),
            };
            if path_and_query.parse::<Uri>().is_err() {
                return Err(Error::Redirect("it leads to a path that can't be read"));
            }
            Self { path_and_query, ..self.clone() }
        };
        if self.is_secure && !next.is_secure {
            return Err(Error::Redirect("it leads from https to http"));
        }
        let is_same_server = (next.is_secure, &next.host, next.port) == (self.is_secure, &self.host, self.port);
        next.authorization = self.authorization.clone().filter(|_| is_same_server);
        Ok(next)
    }

    /// The value of the Host header.
    pub(crate) fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// Whether a text begins with a scheme: a letter, then letters, digits and `+-.`, then a colon.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|one| one.is_ascii_alphanumeric() || "+-.".contains(one))
}

/// A text without its `%XX`.
fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        out.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err(Error::Uri("its user or password is not percent-encoded")),
            },
            byte => byte,
        });
    }
    Ok(out)
}

/// A URI for people: without user, password and query, which may be secret, and at most 300 characters of it.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 300;
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (plain, has_more) = (&rest[..end], end < rest.len());
    let (authority, path) = plain.find('/').map_or((plain, ""), |slash| plain.split_at(slash));
    let authority = if scheme.is_empty() { authority } else { authority.rsplit('@').next().unwrap_or_default() };
    let separator = if scheme.is_empty() { "" } else { "://" };
    let all = format!("{scheme}{separator}{authority}{path}{}", if has_more { "?..." } else { "" });
    all.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(text: &str) -> Location {
        match Target::parse(text, None) {
            Ok(Target::Http(location)) => location,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn uris_are_read_as_mesos_reads_them() {
        assert_eq!(Target::parse("/a/b", None).unwrap(), Target::File("/a/b".into()));
        assert_eq!(Target::parse("file:///a", None).unwrap(), Target::File("/a".into()));
        assert_eq!(Target::parse("file://localhost/a", None).unwrap(), Target::File("/a".into()));
        assert_eq!(Target::parse("b", Some(Path::new("/frameworks"))).unwrap(), Target::File("/frameworks/b".into()));
        let secure = http("https://u:p%40@h:8443/x?y");
        assert!(secure.is_secure && secure.port == 8443 && secure.path_and_query == "/x?y");
        assert_eq!(secure.authorization.as_deref(), Some("Basic dTpwQA=="));
        assert_eq!(http("http://[::1]:80/").host, "::1");
        assert_eq!(http("http://[::1]:81/").host_header(), "[::1]:81");
        for bad in
            ["b", "file://other/a", "ftp://h/a", "hdfs://h/a", "http://", "http:///a", "http://h:x/", "http://h:0/"]
        {
            assert!(Target::parse(bad, None).is_err(), "{bad}");
        }
        assert!(Target::parse(&format!("http://h/{}", "a".repeat(9000)), None).is_err());
    }

    #[test]
    fn redirects_lead_nowhere_else() {
        let from = http("https://u:p@h/a/b?c");
        assert_eq!(from.redirected("/x").unwrap().path_and_query, "/x");
        assert_eq!(from.redirected("x").unwrap().path_and_query, "/a/x");
        assert_eq!(from.redirected("?z#f").unwrap().path_and_query, "/a/b?z");
        assert_eq!(from.redirected("/x").unwrap().authorization, from.authorization);
        assert_eq!(from.redirected("https://other/x").unwrap().authorization, None);
        assert_eq!(from.redirected("//other/x").unwrap().host, "other");
        for bad in ["http://h/", "file:///etc/passwd", "ftp://h/x", "gopher:x", "", "javascript:1", "\0"] {
            assert!(from.redirected(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn people_see_no_secrets() {
        assert_eq!(shown("http://user:secret@h/a?token=secret"), "http://h/a?...");
        assert_eq!(shown("/a/b"), "/a/b");
        assert_eq!(shown("http://h/a\n"), "http://h/a\\n");
    }
}
