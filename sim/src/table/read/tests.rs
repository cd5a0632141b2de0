//! Files that pyarrow 26.0.1 wrote with its several options, the same table in each, and files that are none.

use super::*;

const USUAL: &[u8] = include_bytes!("samples/usual.parquet");

/// What is in them, as CSV.
fn expected() -> String {
    let mut text = "job,tenant,submit_us,run_us,cpus_milli,load,half,is_production\n".to_owned();
    for row in 0..300 {
        let tenant = if row % 50 == 49 { "" } else { ["a", "\"b,c\"", "\"d\"\"e\"", "ü"][row % 4] };
        let run_us = if row % 7 == 0 { String::new() } else { (row * 10).to_string() };
        let load = if row == 5 { String::new() } else { (row as f64 / 4.0).to_string() };
        let (job, submit_us, cpus_milli, half) = (row / 3, row * 1000, 500 + row % 3, row as f64 / 2.0);
        let is_production = row % 2 == 0;
        text.push_str(&format!("{job},{tenant},{submit_us},{run_us},{cpus_milli},{load},{half},{is_production}\n"));
    }
    text
}

#[test]
fn what_others_write_is_read() {
    let files: [(&str, &[u8]); 4] = [
        ("Snappy, with dictionaries", USUAL),
        ("zstd, pages of version 2", include_bytes!("samples/second.parquet")),
        ("plain, many pages", include_bytes!("samples/plain.parquet")),
        ("gzip, several groups", include_bytes!("samples/gzip.parquet")),
    ];
    for (what, file) in files {
        let text = to_csv(file).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(String::from_utf8_lossy(&text), expected(), "{what}");
    }
}

#[test]
fn what_we_write_is_read() {
    use crate::table::{Column, Table, write};
    let table = Table::new()
        .with("job", Column::Whole(vec![1, -2]))
        .with("end_us", Column::Maybe(vec![None, Some(9)]))
        .with("name", Column::Text(vec!["a|b".to_owned(), String::new()]))
        .with("share", Column::Real(vec![0.5, 2.0]));
    let text = to_csv(write::file(&table).as_slice()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(String::from_utf8_lossy(&text), table.to_csv());
}

#[test]
fn what_is_no_table_is_refused() {
    let words = |file: &[u8]| to_csv(file).expect_err("no table").to_string();
    assert!(words(b"PAR1").contains("does not end as one"));
    assert!(words(b"PAR1\xff\xff\xff\xffPAR1").contains("longer than the file"));
    assert!(words(include_bytes!("samples/lists.parquet")).contains("structures or lists"));
    // Whatever byte is wrong, it is told or harmless; nothing panics.
    for at in (0..USUAL.len()).step_by(5) {
        for flip in [0x01, 0x80, 0xff] {
            let mut broken = USUAL.to_vec();
            broken[at] ^= flip;
            let _: io::Result<Vec<u8>> = to_csv(broken.as_slice());
        }
        let _: io::Result<Vec<u8>> = to_csv(&USUAL[..at]);
    }
}
