//! The decoder against every way of cutting a stream.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1000;

fn all(stream: &[u8]) -> Result<Vec<Bytes>, Error> {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(stream);
    let mut records = Vec::new();
    while let Some(record) = decoder.next_record()? {
        records.push(record);
    }
    decoder.finish()?;
    Ok(records)
}

proptest! {
    #[test]
    fn records_come_back_whatever_the_chunks(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..20),
        cuts in prop::collection::vec(1_usize..50, 1..100),
    ) {
        let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
        let mut decoder = Decoder::new(LIMIT);
        let mut taken = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            decoder.push(chunk);
            while let Some(record) = decoder.next_record().unwrap() {
                taken.push(record.to_vec());
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(taken, records);
    }

    #[test]
    fn any_bytes_end_in_records_or_an_error_and_chunks_do_not_matter(stream: Vec<u8>) {
        let whole = all(&stream);
        let mut decoder = Decoder::new(LIMIT);
        let mut records = Vec::new();
        let mut failed = None;
        for byte in &stream {
            decoder.push(std::slice::from_ref(byte));
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (whole, failed) {
            (Ok(whole), None) => prop_assert_eq!(whole, records),
            (Err(Error::Truncated), None) => prop_assert_eq!(decoder.finish(), Err(Error::Truncated)),
            (Err(_), Some(_)) => {}
            (whole, failed) => prop_assert!(false, "{whole:?} at once, {failed:?} byte by byte"),
        }
    }
}

#[test]
fn lies_about_lengths_are_refused() {
    let too_large = |length_bytes| Err(Error::TooLarge { length_bytes, limit_bytes: LIMIT });
    for (stream, wanted) in [
        (&b"0\n"[..], Err(Error::Zero)),
        (b"007\n1234567", Err(Error::Zero)),
        (b"\n", Err(Error::Junk(b'\n'))),
        (b" 3\nabc", Err(Error::Junk(b' '))),
        (b"+3\nabc", Err(Error::Junk(b'+'))),
        (b"-3\nabc", Err(Error::Junk(b'-'))),
        (b"3\r\nabc", Err(Error::Junk(b'\r'))),
        (b"{\"type\":\"SUBSCRIBE\"}", Err(Error::Junk(b'{'))),
        (b"1001\n", too_large(1001)),
        (b"1001", too_large(1001)),
        (b"18446744073709551615\n", too_large(u64::MAX)),
        (b"18446744073709551616\n", too_large(u64::MAX)),
        (b"3\nab", Err(Error::Truncated)),
        (b"3", Err(Error::Truncated)),
        (b"3\n", Err(Error::Truncated)),
        (b"2\nab3\n", Err(Error::Truncated)),
    ] {
        assert_eq!(all(stream), wanted.map(|()| Vec::new()), "{}", stream.escape_ascii());
    }
    let mut endless = Decoder::new(usize::MAX);
    endless.push(b"111111111111111111111");
    assert_eq!(endless.next_record(), Err(Error::Digits));
}

#[test]
fn a_failed_stream_stays_failed_and_keeps_nothing() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(b"2\nabx");
    assert_eq!(decoder.next_record().unwrap().as_deref(), Some(&b"ab"[..]));
    assert_eq!(decoder.next_record(), Err(Error::Junk(b'x')));
    decoder.push(b"2\nab");
    assert_eq!(decoder.next_record(), Err(Error::Junk(b'x')));
    assert_eq!(decoder.buffer.len(), 0);
    assert_eq!(decoder.finish(), Err(Error::Junk(b'x')));
}

#[test]
fn a_record_is_its_length_a_line_feed_and_its_bytes() {
    assert_eq!(encode(b"{\"type\":\"HEARTBEAT\"}").as_ref(), b"20\n{\"type\":\"HEARTBEAT\"}");
}
