//! How single values look in JSON. ASCII only, so that a client that counts a record in characters counts its bytes; no
//! raw line end, since some clients read records by lines.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The standard alphabet; writes padding, reads with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(super) fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(out, value.unsigned_abs());
}

pub(super) fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The shortest digits that read back as the same double, with a fraction or an exponent (`15.0`, `1e21`); what is not
/// finite as a bare word, as Mesos writes it.
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else if let Some(thousandths) = thousandths(value) {
        unsigned(out, thousandths / 1000);
        out.push(b'.');
        let digit = |unit: u64| b'0' + (thousandths / unit % 10) as u8;
        let digits = [digit(100), digit(10), digit(1)];
        let length = if digits[2] != b'0' { 3 } else { 1 + usize::from(digits[1] != b'0') };
        out.extend_from_slice(&digits[..length]);
    } else {
        write!(out, "{value:?}").expect("a vector takes all that is written");
    }
}

/// A value of at most three decimals and fifteen digits, as quantities are: no two such numbers are the same double, so the
/// digits that it has are the shortest that read back as it.
fn thousandths(value: f64) -> Option<u64> {
    const MOST: f64 = 1e15;
    let scaled = (value * 1000.0).round();
    let is_exact = value.is_sign_positive() && scaled < MOST && scaled / 1000.0 == value;
    is_exact.then_some(scaled as u64)
}

/// Whether a text in quotes is these bytes and nothing else. Looks at all of them, so that it is done in wide steps.
pub(super) fn is_plain(value: &[u8]) -> bool {
    !value.iter().fold(false, |any, byte| any | needs_escape(*byte))
}

/// A text that [`is_plain`].
pub(super) fn plain(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + 2);
    out.push(b'"');
    out.extend_from_slice(value);
    out.push(b'"');
}

pub(super) fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut rest = value;
    while let Some(at) = rest.bytes().position(needs_escape) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut chars = rest[at..].chars();
        if let Some(special) = chars.next() {
            escape(out, special);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\'
}

fn escape(out: &mut Vec<u8>, special: char) {
    match special {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        other => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                let digit = |shift: u32| HEX[usize::from((*unit >> shift) & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
            }
        }
    }
}

pub(super) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    let start = out.len();
    let length = base64::encoded_len(value.len(), true).expect("a message in memory has a length");
    out.resize(start + length, 0);
    let written = general_purpose::STANDARD.encode_slice(value, &mut out[start..]).expect("the room was made");
    debug_assert_eq!(written, length);
    out.push(b'"');
}

pub(super) fn bytes_from(value: &str) -> Option<Vec<u8>> {
    BASE64.decode(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn doubles_have_a_fraction_or_an_exponent() {
        for (value, wanted) in [
            (15.0, "15.0"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e21, "1e21"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            (0.0, "0.0"),
            (0.001, "0.001"),
            (0.25, "0.25"),
            (0.05, "0.05"),
            (65536.5, "65536.5"),
            (999999999999.999, "999999999999.999"),
            (1e12, "1000000000000.0"),
            (0.0005, "0.0005"),
            (1e16, "1e16"),
        ] {
            assert_eq!(shown(|out| double(out, value)), wanted);
        }
    }

    #[test]
    fn strings_are_ascii_without_line_ends() {
        let written = shown(|out| string(out, "a\"\\\n\r\t\u{8}\u{c}\0\u{7f}/\u{e9}\u{1f600}"));
        assert_eq!(written, r#""a\"\\\n\r\t\b\f\u0000\u007f/\u00e9\ud83d\ude00""#);
    }

    proptest! {
        #[test]
        fn quantities_are_written_as_every_other_double(thousandths in 0_u64..2_000_000_000_000_000) {
            let value = thousandths as f64 / 1000.0;
            prop_assert_eq!(shown(|out| double(out, value)), format!("{value:?}"));
        }

        #[test]
        fn what_is_written_reads_back(words in ".*", number: i64, large: u64, real: f64, blob: Vec<u8>) {
            let written = shown(|out| string(out, &words));
            prop_assert!(written.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), words);
            prop_assert_eq!(shown(|out| signed(out, number)), number.to_string());
            prop_assert_eq!(shown(|out| unsigned(out, large)), large.to_string());
            if real.is_finite() {
                let written = shown(|out| double(out, real));
                prop_assert_eq!(serde_json::from_str::<f64>(&written).unwrap().to_bits(), real.to_bits());
            }
            let written = shown(|out| bytes(out, &blob));
            prop_assert_eq!(bytes_from(written.trim_matches('"')).unwrap(), blob);
        }
    }
}
