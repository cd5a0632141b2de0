//! Bodies in gzip: answers that are large enough, to those who take them so, and requests that come so (reference 1.2).

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, HeaderValue};
use tokio::sync::Semaphore;

use crate::answer::{self, Answer, Whole};

/// Answers smaller than this go as they are (libprocess: `GZIP_MINIMUM_BODY_LENGTH`).
const ANSWER_BYTES_MIN: usize = 1024;

/// Bodies larger than this are packed and unpacked on a thread that may take its time, in bytes.
const BLOCKING_BYTES: usize = 64 << 10;

/// Bodies that are unpacked at once: each may take as much as the largest body.
static UNPACKING: Semaphore = Semaphore::const_new(16);

/// Whether `Accept-Encoding` allows gzip: by name, or else by `*`. Without the header it does not, as in libprocess.
pub(super) fn accepts(header: Option<&str>) -> bool {
    let Some(header) = header else { return false };
    let weight = |wanted: &str| {
        header.split(',').find_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            let is_refused = |part: &str| {
                part.strip_prefix("q=").and_then(|q| q.trim().parse::<f64>().ok()).is_some_and(|weight| weight <= 0.0)
            };
            is_it.then(|| !parts.any(is_refused))
        })
    };
    weight("gzip").or_else(|| weight("*")).unwrap_or(false)
}

/// Packs a whole body that is worth it. Streams and files go as they are.
pub(super) async fn pack(mut answer: Answer) -> Answer {
    let Some(Whole(body)) = answer.extensions_mut().remove::<Whole>() else { return answer };
    let bytes: usize = body.iter().map(Bytes::len).sum();
    if bytes < ANSWER_BYTES_MIN || answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let packed = match bytes > BLOCKING_BYTES {
        true => tokio::task::spawn_blocking(move || packed(&body)).await.ok().flatten(),
        false => packed(&body),
    };
    // What can't be packed is sent as it is.
    if let Some(packed) = packed {
        *answer.body_mut() = answer::whole(packed);
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

fn packed(body: &[Bytes]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    body.iter().try_for_each(|piece| encoder.write_all(piece)).ok()?;
    encoder.finish().ok()
}

/// Why a body does not unpack.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("The body is no gzip: {0}")]
    Broken(std::io::Error),
    #[error("The body is larger than {0} bytes when it is unpacked")]
    TooLarge(usize),
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// Unpacks a body, up to `bytes_max`.
///
/// # Errors
/// 400 when it is no gzip, 413 when there is more in it.
pub(super) async fn unpack(body: Bytes, bytes_max: usize) -> Result<Bytes, Answer> {
    let _place = UNPACKING.acquire().await;
    // However small it is: what is in it may be a thousand times as large.
    match tokio::task::spawn_blocking(move || unpacked(&body, bytes_max)).await {
        Ok(unpacked) => unpacked.map_err(|error| answer::refusal(error.status(), error)),
        Err(_) => Err(answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The body could not be unpacked")),
    }
}

fn unpacked(body: &[u8], bytes_max: usize) -> Result<Bytes, Error> {
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    match GzDecoder::new(body).take(limit).read_to_end(&mut out) {
        Err(error) => Err(Error::Broken(error)),
        Ok(_) if out.len() > bytes_max => Err(Error::TooLarge(bytes_max)),
        Ok(_) => Ok(out.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_allowed_by_name_or_by_star_and_refused_by_a_weight_of_nothing() {
        for allowed in ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "identity;q=1, *;q=0.1"] {
            assert!(accepts(Some(allowed)), "{allowed}");
        }
        for refused in ["", "identity", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "x-gzip"] {
            assert!(!accepts(Some(refused)), "{refused}");
        }
        assert!(!accepts(None));
    }

    #[test]
    fn what_is_packed_unpacks_and_bombs_do_not() {
        let text = Bytes::from(vec![b'a'; 100_000]);
        let small = packed(&[text.slice(..9_000), text.slice(9_000..)]).expect("memory takes it");
        assert!(small.len() < 1_000);
        assert_eq!(unpacked(&small, text.len()).ok(), Some(text.clone()));
        assert_eq!(unpacked(&small, text.len() - 1).err().map(|error| error.status().as_u16()), Some(413));
        assert_eq!(unpacked(b"not gzip", 1_000).err().map(|error| error.status().as_u16()), Some(400));
        let cut = &small[..small.len() / 2];
        assert_eq!(unpacked(cut, 1_000_000).err().map(|error| error.status().as_u16()), Some(400));
    }
}
