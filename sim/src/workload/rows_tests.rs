//! Tests of reading rows: what is accepted, what is refused and with which words.

use super::*;

#[derive(Debug)]
struct Pairs;

impl Format for Pairs {
    type Row = (String, u64);

    fn split(&self) -> Split {
        Split::At(',')
    }

    fn columns(&self) -> &'static [(&'static str, bool)] {
        &[("name", true), ("size", true), ("note", false)]
    }

    fn has_header(&self) -> bool {
        true
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<(String, u64)>, Fault> {
        Ok(Some((fields.text(0).to_owned() + fields.text(2), fields.unsigned(1, 99)?)))
    }
}

fn read(text: &'static str, strictness: Strictness) -> Result<(Vec<(String, u64)>, Skipped), String> {
    let rows = Rows::bytes(text.as_bytes(), "pairs.csv", Pairs, strictness).map_err(|error| error.to_string())?;
    rows.collect_all().map(|(rows, _, skipped)| (rows, skipped)).map_err(|error| error.to_string())
}

#[test]
fn columns_are_found_by_name_and_quotes_are_understood() {
    let (rows, _) = read("size,x,name\r\n1,,a\r\n\r\n2,\"x,\"\"y\",\"b,c\"", Strictness::Strict).expect("sound");
    assert_eq!(rows, [("a".to_owned(), 1), ("b,c".to_owned(), 2)]);
    let (rows, _) = read("\u{feff}name,size,note\na,1,z\nb,2", Strictness::Strict).expect("sound");
    assert_eq!(rows, [("az".to_owned(), 1), ("b".to_owned(), 2)]);
    let (rows, _) = read("Name, SIZE , note\na, 1.0 , z\n \"b \" ,2e1,\" c\"\n", Strictness::Strict).expect("sound");
    assert_eq!(rows, [("az".to_owned(), 1), ("b  c".to_owned(), 20)], "blanks, decimals, and letters of any case");
}

#[test]
fn a_bad_row_is_named_with_file_and_line() {
    let cases = [
        (
            "name,size\na,1\nb,x\n",
            "pairs.csv:3: column \"size\" should be a whole number from zero within its bound, not \"x\"",
        ),
        (
            "name,size\na,100\n",
            "pairs.csv:2: column \"size\" should be a whole number from zero within its bound, not \"100\"",
        ),
        (
            "name,size\na,1.5\n",
            "pairs.csv:2: column \"size\" should be a whole number from zero within its bound, not \"1.5\"",
        ),
        ("name,size\na\n", "pairs.csv:2: the row has 1 fields, column \"size\" is missing"),
        ("name\na\n", "pairs.csv:1: the header has no column \"size\""),
        ("name,size\n\"a,1\n", "pairs.csv:2: a quoted field does not end where a field ends"),
        ("name,size\n\"a\"b,1\n", "pairs.csv:2: a quoted field does not end where a field ends"),
    ];
    for (text, error) in cases {
        assert_eq!(read(text, Strictness::Strict), Err(error.to_owned()), "{text:?}");
    }
}

#[test]
fn odd_but_legal_tables_are_read() {
    let strict = |text| read(text, Strictness::Strict).expect("sound").0;
    let two = [("a".to_owned(), 1), ("b".to_owned(), 2)];
    for text in [
        "name,size\ra,1\rb,2",
        "\u{feff}name,size\ra,1\r\rb,2\r",
        "name,size\r\na,1\r\n\r\nb,2",
        "size,name\n1,a\n2,b\r\n",
    ] {
        assert_eq!(strict(text), two, "{text:?}");
    }
    let text = "name,size\r\n\"a\r\nb\",1\r\n\"x\"\"\n\n\"\"y\",2\n";
    assert_eq!(strict(text), [("a b".to_owned(), 1), ("x\"  \"y".to_owned(), 2)], "a line's end in quotes");
    // A quote too many spoils one row, not the rest.
    let (rows, skipped) = read("name,size\na,1\n\"c,3\nb,2\n", Strictness::Lenient).expect("lenient");
    assert_eq!((rows, skipped.rows), (two.to_vec(), 1));
    assert!(skipped.shown[0].starts_with("pairs.csv:3: "), "{skipped:?}");
}

#[test]
fn a_table_without_a_header_or_with_a_column_twice_is_refused() {
    for (text, error) in [
        ("", "pairs.csv:1: there is no header"),
        ("\n \n\r\n", "pairs.csv:3: there is no header"),
        ("name,size,Size ,name\na,1,2,b\n", "pairs.csv:1: the header has column \"name\" more than once"),
        ("name,Size,SIZE\na,1,2\n", "pairs.csv:1: the header has column \"size\" more than once"),
    ] {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            assert_eq!(read(text, strictness), Err(error.to_owned()), "{text:?}");
        }
    }
    let (rows, _) = read("name,size,SIZE,x,x\na,1,2,3,4\n", Strictness::Strict).expect("sound");
    assert_eq!(rows, [("a".to_owned(), 1)], "the very name comes first, and what nobody wants may be there twice");
}

#[test]
fn a_lenient_reader_counts_and_goes_on() {
    let (rows, skipped) = read("name,size\na,1\nb,x\nc\nd,4\n", Strictness::Lenient).expect("lenient");
    assert_eq!(rows, [("a".to_owned(), 1), ("d".to_owned(), 4)]);
    assert_eq!(skipped.rows, 2);
    assert!(skipped.shown[0].starts_with("pairs.csv:3: "), "{skipped:?}");
    assert!(read("name\na\n", Strictness::Lenient).is_err(), "a missing column is no bad row");
}

#[test]
fn a_file_without_line_ends_is_refused() {
    let text: &'static str = Box::leak(format!("name,size\n{}", "a".repeat(LINE_BYTES_MAX as usize + 9)).into());
    let error = read(text, Strictness::Lenient).expect_err("too long");
    assert_eq!(error, format!("pairs.csv:2: the line is longer than {LINE_BYTES_MAX} bytes"));
}

#[test]
fn packed_text_is_unpacked() {
    use std::io::Write;
    let text = b"name,size\na,1\n";
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(text).expect("into memory");
    let packed = packer.finish().expect("into memory");
    let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
    let one = [("a".to_owned(), 1)];
    let two = [("a".to_owned(), 1), ("b".to_owned(), 2)];
    let frame = |text: &[u8]| ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
    // What packers with several threads write: frames in a row, and some that hold nothing for a reader.
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"size"].concat();
    let frames =
        [skipped.clone(), zstd.clone(), skipped.clone(), frame(b""), frame(b"b,2\n"), skipped.clone()].concat();
    let members = [packed.clone(), {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"b,2").expect("into memory");
        packer.finish().expect("into memory")
    }];
    let cases = [(packed.clone(), &one[..]), (zstd.clone(), &one), (frames.clone(), &two), (members.concat(), &two)];
    for (bytes, wanted) in cases {
        let bytes: &'static [u8] = Box::leak(bytes.into());
        let rows = Rows::bytes(bytes, "pairs", Pairs, Strictness::Strict).expect("opens");
        assert_eq!(rows.collect_all().expect("sound").0, wanted);
    }
    for torn in [&frames[..frames.len() - 2], &[&zstd[..], b"\x28\xb5\x2f"].concat(), &zstd[..zstd.len() - 3]] {
        let torn: &'static [u8] = Box::leak(torn.to_vec().into());
        let rows = Rows::bytes(torn, "torn", Pairs, Strictness::Lenient).expect("opens");
        let error = rows.collect_all().expect_err("torn");
        assert!(error.to_string().starts_with("torn:") && std::error::Error::source(&error).is_none(), "{error}");
    }
    let torn: &'static [u8] = Box::leak(packed[..packed.len() - 9].to_vec().into());
    let rows = Rows::bytes(torn, "torn", Pairs, Strictness::Lenient).expect("opens");
    assert!(rows.collect_all().expect_err("torn").to_string().starts_with("torn:"));
}
