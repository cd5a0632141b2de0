//! Names of content by what is in it: SHA-256, the one algorithm that registries of today use.

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use std::io::{self, Read};

/// A SHA-256 of something, as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest([u8; 32]);

/// A text that names no content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no digest of the kind sha256")]
pub(super) struct NoDigest(String);

impl Digest {
    /// That of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut sum = Sum::new();
        sum.add(bytes);
        sum.finish()
    }

    /// The digits alone: a name that every file system takes.
    pub(super) fn digits(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// One by its digits.
    pub(super) fn parse_digits(digits: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 64 || !digits.bytes().all(is_hex) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;
    fn try_from(text: String) -> Result<Self, NoDigest> {
        let digest = text.strip_prefix("sha256:").and_then(Self::parse_digits);
        digest.ok_or_else(|| NoDigest(text.chars().take(100).flat_map(char::escape_default).collect()))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.digits())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A digest that is being taken.
#[derive(Clone)]
pub(super) struct Sum(Context);

impl Sum {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    pub(super) fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

/// A reader that takes the digest of what is read through it.
pub(super) struct Summed<R> {
    from: R,
    sum: Sum,
}

impl<R: Read> Summed<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, sum: Sum::new() }
    }
    pub(super) fn finish(self) -> Digest {
        self.sum.finish()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.sum.add(&into[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_everybody_else_takes_it_for() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(Digest::try_from(empty.to_owned()), Ok(Digest::of(b"")));
        let mut summed = Summed::new(&b"abc"[..]);
        io::copy(&mut summed, &mut io::sink()).unwrap();
        assert_eq!(summed.finish(), Digest::of(b"abc"));
        for bad in
            ["", "sha256:", "md5:00", "sha256:../../etc", &empty[..70], &empty.to_uppercase(), &format!("{empty}0")]
        {
            assert!(Digest::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
