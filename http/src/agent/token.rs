//! Tokens of executors: a JSON Web Token (RFC 7519) that names the executor's framework, its own id and its container,
//! signed by the agent with a key of its own (HMAC with SHA-256). An agent gives it to the executor in its environment,
//! and takes it back in `Authorization: Bearer` (reference 6.1, 14).
//!
//! Only this one form is read: no other algorithm, and no token without all three names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kaon_kernel::id::{ContainerId, ExecutorId, FrameworkId};
use ring::hmac;
use serde::Deserialize;
use serde_json::json;

/// The largest token that is looked at, in bytes: three ids of the longest kind, with room.
const TOKEN_BYTES_MAX: usize = 4_096;

/// The fewest bytes of a key: as many as the hash has (RFC 7518, 3.2).
pub const KEY_BYTES_MIN: usize = 32;

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Of which framework.
    #[serde(rename = "fid")]
    pub framework_id: String,
    /// Which executor.
    #[serde(rename = "eid")]
    pub executor_id: String,
    /// In which container.
    #[serde(rename = "cid")]
    pub container_id: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Signs and reads the tokens of one agent.
#[derive(Clone, Debug)]
pub struct Tokens {
    key: hmac::Key,
    is_required: bool,
}

/// Why a key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key for tokens has at least {KEY_BYTES_MIN} bytes, this one has {0}")]
pub struct WeakKey(usize);

impl Tokens {
    /// Tokens under a key. `is_required` says whether an executor is heard without one.
    ///
    /// # Errors
    /// When the key is short enough to be guessed.
    pub fn new(key: &[u8], is_required: bool) -> Result<Self, WeakKey> {
        if key.len() < KEY_BYTES_MIN {
            return Err(WeakKey(key.len()));
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), is_required })
    }

    /// Whether an executor must show one.
    pub(crate) fn is_required(&self) -> bool {
        self.is_required
    }

    /// The token of an executor.
    pub fn issue(&self, framework: &FrameworkId, executor: &ExecutorId, container: &ContainerId) -> String {
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let claims = json!({"fid": framework.as_str(), "eid": executor.as_str(), "cid": container.as_str()});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whom the token in an `Authorization` header names; `None` when it is not one of ours.
    pub(crate) fn read(&self, authorization: &str) -> Option<Claims> {
        let (scheme, token) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Bearer") || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.trim().rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // The signature first: nothing that somebody else wrote is read. Compared in constant time.
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "HS256" {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(byte: u8) -> Tokens {
        Tokens::new(&[byte; KEY_BYTES_MIN], true).expect("long enough")
    }

    fn issue(tokens: &Tokens) -> String {
        tokens.issue(&FrameworkId::trusted("f"), &ExecutorId::trusted("e"), &ContainerId::trusted("c"))
    }

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let ours = tokens(1);
        let token = issue(&ours);
        let claims = ours.read(&format!("Bearer {token}")).expect("it is ours");
        let names = (claims.framework_id.as_str(), claims.executor_id.as_str(), claims.container_id.as_str());
        assert_eq!(names, ("f", "e", "c"));
        assert_eq!(ours.read(&format!("bearer {token}")), Some(claims), "the scheme is not case-sensitive");
        assert_eq!(ours.read(&token), None, "without its scheme");
        assert_eq!(ours.read(&format!("Basic {token}")), None);
        assert_eq!(ours.read(&format!("Bearer {}", issue(&tokens(2)))), None, "another agent's");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(bytes).expect("text");
            // The last character of a part holds bits that decode to nothing.
            assert!(ours.read(&format!("Bearer {damaged}")).is_none_or(|read| read.framework_id == "f"), "{at}");
        }
        let unsigned = format!("{}.", token.rsplit_once('.').expect("three parts").0);
        assert_eq!(ours.read(&format!("Bearer {unsigned}")), None);
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = |header: &str, claims: &str| {
            let signed = format!("{}.{}", encode(header), encode(claims));
            format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&ours.key, signed.as_bytes())))
        };
        let whole = r#"{"fid":"f","eid":"e","cid":"c"}"#;
        assert!(ours.read(&signed(r#"{"alg":"HS256"}"#, whole)).is_some());
        assert_eq!(ours.read(&signed(r#"{"alg":"none"}"#, whole)), None);
        assert_eq!(ours.read(&signed(r#"{"alg":"HS256"}"#, r#"{"fid":"f","eid":"e"}"#)), None);
        assert!(Tokens::new(&[0; KEY_BYTES_MIN - 1], true).is_err());
    }
}
