//! Who may fetch from which registry: a configuration as `docker login` writes it, `{"auths": {HOST: {"auth": BASE64}}}`, or
//! in the older form without `auths`. Programs that keep secrets (`credHelpers`) are not run.

use super::hub;
use super::reference::Reference;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The largest configuration in bytes.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, Entry>,
}

/// Whether it is a configuration.
///
/// # Errors
/// When it is none. The text quotes nothing of it.
pub fn check(config: &[u8]) -> Result<(), String> {
    read(config).map(drop)
}

/// The value of a Basic authorization for a registry (`HOST` or `HOST:PORT`), if the configuration has one.
///
/// # Errors
/// When it is no configuration. The text quotes nothing of it.
pub(super) fn find(config: &[u8], registry: &str) -> Result<Option<String>, String> {
    let found = find_pair(config, registry)?;
    Ok(found.map(|(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))))
}

/// Name and password for the registry of an image.
///
/// # Errors
/// As [`find`]; and a name that names no image.
pub(crate) fn pair(config: &[u8], image: &str) -> Result<Option<(String, String)>, String> {
    let reference = Reference::parse(image).map_err(|error| error.to_string())?;
    find_pair(config, reference.registry.as_deref().unwrap_or(hub::HOST))
}

/// The entries of a configuration by what they are for.
fn read(config: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    if config.len() > CONFIG_BYTES_MAX {
        return Err(format!("the credentials have {} bytes, at most {CONFIG_BYTES_MAX} go", config.len()));
    }
    match serde_json::from_slice::<Config>(config) {
        Ok(config) => Ok(config.auths),
        Err(_) => serde_json::from_slice(config).map_err(|_| unreadable()),
    }
}

fn unreadable() -> String {
    "the credentials are no configuration of docker (JSON)".to_owned()
}

fn find_pair(config: &[u8], registry: &str) -> Result<Option<(String, String)>, String> {
    let auths = read(config)?;
    let fits = |key: &str| {
        let host = host_of(key);
        host == registry || (hub::is_named(host) && hub::is_named(registry))
    };
    let Some((_, entry)) = auths.iter().find(|(key, _)| fits(key)) else { return Ok(None) };
    match (&entry.auth, &entry.username, &entry.password) {
        (Some(auth), ..) if !auth.is_empty() => {
            let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or_else(unreadable)?;
            let (name, password) = decoded.split_once(':').ok_or_else(unreadable)?;
            Ok(Some((name.to_owned(), password.to_owned())))
        }
        (_, Some(name), Some(password)) => Ok(Some((name.clone(), password.clone()))),
        _ => Ok(None),
    }
}

/// The host of a key, which may be a whole URL.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_their_own_registry_only() {
        let config = format!(
            r#"{{"auths": {{"https://{}/v1/": {{"auth": "dTpw"}}, "r.x:5000": {{"username": "a", "password": "b"}}}}}}"#,
            hub::LOGIN
        );
        let found = |registry: &str| find(config.as_bytes(), registry).unwrap();
        assert_eq!(found(hub::HOST).as_deref(), Some("Basic dTpw"));
        assert_eq!(found("r.x:5000").as_deref(), Some("Basic YTpi"));
        let evil = format!("{}.evil", hub::LOGIN);
        assert_eq!((found("r.x"), found("evil.r.x:5000"), found(&evil)), (None, None, None));
        let old = br#"{"r.x": {"auth": "dTpw", "email": "e"}}"#;
        assert_eq!(find(old, "r.x").unwrap().as_deref(), Some("Basic dTpw"));
        for bad in
            [&b"{"[..], b"[]", br#"{"auths": {"r.x": {"auth": "s3cr3t!"}}}"#, br#"{"auths": {"r.x": {"auth": "dTo"}}}"#]
        {
            let error = find(bad, "r.x").expect_err("refused");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
