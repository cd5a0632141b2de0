//! Request targets: the path in its components, the query in its pairs. Each component is decoded once; what can't be is
//! refused, and no decoded slash or NUL ever joins or ends a component.

/// Why a target is refused. All answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the request target has an invalid percent-encoding")]
    Encoding,
    /// A NUL byte, or a slash inside a component.
    #[error("the request target has a byte that no path may have")]
    Byte,
    /// No leading slash.
    #[error("the request target is not a path")]
    Relative,
}

/// The components of a path. A slash at the end adds none.
pub(crate) fn components(path: &str) -> Result<Vec<String>, Error> {
    let inner = path.strip_prefix('/').ok_or(Error::Relative)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    let decoded = inner.split('/').map(|part| {
        let part = decode(part, false)?;
        if part.contains(['\0', '/']) { Err(Error::Byte) } else { Ok(part) }
    });
    decoded.collect()
}

/// The pairs of a query. A key without `=` has an empty value.
pub(crate) fn query(query: Option<&str>) -> Result<Vec<(String, String)>, Error> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key, true)?, decode(value, true)?))
    });
    decoded.collect()
}

/// The first value of a key.
pub(crate) fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn decode(text: &str, plus_is_space: bool) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(Error::Encoding);
                let value = digit()? * 16 + digit()?;
                bytes.push(u8::try_from(value).map_err(|_| Error::Encoding)?);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_decoded_once() {
        assert_eq!(components("/slave%281%29/state"), Ok(vec!["slave(1)".to_owned(), "state".to_owned()]));
        assert_eq!(components("/a%2525/"), Ok(vec!["a%25".to_owned()]));
        assert_eq!(components("/"), Ok(Vec::new()));
        assert_eq!(components("//a"), Ok(vec![String::new(), "a".to_owned()]));
    }

    #[test]
    fn bad_targets_are_refused() {
        assert_eq!(components(""), Err(Error::Relative));
        assert_eq!(components("state"), Err(Error::Relative));
        assert_eq!(components("*"), Err(Error::Relative));
        for bad in ["/%", "/%4", "/%zz", "/%ff", "/a%"] {
            assert_eq!(components(bad), Err(Error::Encoding), "{bad}");
        }
        for bad in ["/a%00", "/a%2fb", "/%2F"] {
            assert_eq!(components(bad), Err(Error::Byte), "{bad}");
        }
    }

    #[test]
    fn queries_have_pairs() {
        let pairs = query(Some("path=/a%20b+c&offset=-1&x&=y&")).expect("valid");
        assert_eq!(value(&pairs, "path"), Some("/a b c"));
        assert_eq!(value(&pairs, "offset"), Some("-1"));
        assert_eq!(value(&pairs, "x"), Some(""));
        assert_eq!(value(&pairs, "y"), None);
        assert_eq!(query(None), Ok(Vec::new()));
        assert_eq!(query(Some("a=%")), Err(Error::Encoding));
    }
}
