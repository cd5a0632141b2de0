//! Which format a file is in, told by how its text begins; a Parquet file is text by then.

use super::compressed;
use std::io::{self, Read};
use std::path::Path;

/// So much of a file is looked at, in bytes: the header of a batch log is some kilobytes.
const LOOKED_AT_BYTES: u64 = 1 << 18;
/// Fields of a line of a batch log.
const SWF_FIELDS: usize = 18;
/// Fields of a line of SWIM, with its extra ones.
const SWIM_FIELDS: usize = 6;

/// Columns that tell a format, with what stands between them; the first whose columns are all there is taken.
const MARKS: [(&str, char, &[&str]); 7] = [
    ("native", ',', &["job", "submit_us", "cpus_milli"]),
    ("alibaba-dlrm", ',', &["instance_sn", "app_name"]),
    ("alibaba-spot-nodes", ',', &["gpu_model", "gpu_capacity_num"]),
    ("openb", ',', &["num_gpu", "gpu_milli"]),
    ("openb-nodes", ',', &["sn", "cpu_milli"]),
    ("native-nodes", ',', &["name", "cpus_milli"]),
    ("gavel", '\t', &["job_type", "scale_factor"]),
];

/// The format of a file, by its name in [`super::convert::FORMATS`]; none when it looks like none of them. An empty file has
/// none.
///
/// # Errors
/// When the file cannot be read.
pub fn format_of(path: &Path) -> io::Result<Option<&'static str>> {
    Ok(start(path)?.lines().find_map(|line| of_line(line.trim_end())).flatten())
}

/// What a file of no format lacks to be one, in words; none when it is like none.
pub(super) fn lacking(path: &Path) -> Option<String> {
    let text = start(path).ok()?;
    let header = text.lines().find(|line| !line.trim().is_empty())?;
    let missing = |(format, between, columns): &(&'static str, char, &'static [&'static str])| {
        let names = names(header, *between);
        let missing: Vec<&str> = columns.iter().copied().filter(|name| !has(&names, name)).collect();
        (missing.len() < columns.len()).then_some((missing.len(), *format, missing))
    };
    let (_, format, missing) = MARKS.iter().filter_map(missing).min_by_key(|(count, ..)| *count)?;
    Some(format!("{format} has a column {}", missing.join(", and ")))
}

/// The beginning of a file as text, whatever ends its lines; comments may be in any encoding.
fn start(path: &Path) -> io::Result<String> {
    let mut start = Vec::new();
    compressed::open(path)?.take(LOOKED_AT_BYTES).read_to_end(&mut start)?;
    Ok(String::from_utf8_lossy(&start).trim_start_matches('\u{feff}').replace('\r', "\n"))
}

fn names(line: &str, between: char) -> Vec<String> {
    line.trim_end().split(between).map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

/// Whether a column is among those of a header, in letters of any case.
fn has(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
}

/// What a line says: none says nothing, as an empty one.
fn of_line(line: &str) -> Option<Option<&'static str>> {
    if line.trim().is_empty() {
        return None;
    }
    if line.trim_start().starts_with(';') {
        return Some(Some("swf"));
    }
    let has = |(_, between, columns): &&(&str, char, &[&str])| {
        let names = names(line, *between);
        columns.iter().all(|wanted| self::has(&names, wanted))
    };
    let by_tab = names(line, '\t');
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    if let Some((format, ..)) = MARKS.iter().find(has) {
        return Some(Some(format));
    }
    Some(match () {
        () if by_tab.len() >= SWIM_FIELDS && by_tab[1..SWIM_FIELDS].iter().all(|text| is_number(text)) => Some("swim"),
        () if line.split_ascii_whitespace().count() >= SWF_FIELDS && line.split_ascii_whitespace().all(is_number) => {
            Some("swf")
        }
        () => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_trace_is_known() {
        for (path, format) in [
            ("openb/node_list_gpu_node.csv.gz", Some("openb-nodes")),
            ("openb/pod_list_multigpu20.csv.gz", Some("openb")),
            ("gavel/vc_0e4a51.tsv.gz", Some("gavel")),
            ("swim/FB-2009_samples_24_times_1hr_0.tsv.gz", Some("swim")),
            ("omega/csizes_cmb.log", None),
        ] {
            let found = format_of(&super::super::shipped::resolve(&format!("../data/{path}"))).expect("it is there");
            assert_eq!(found, format, "{path}");
        }
    }

    #[test]
    fn lines_tell_their_format() {
        assert_eq!(of_line(" "), None);
        assert_eq!(of_line("; MaxProcs: 8"), Some(Some("swf")));
        assert_eq!(of_line(&"1 ".repeat(18)), Some(Some("swf")));
        assert_eq!(of_line("cpus_milli,job,\"submit_us\""), Some(Some("native")));
        assert_eq!(of_line("name,cpus_milli"), Some(Some("native-nodes")));
        assert_eq!(of_line("something else"), Some(None));
        assert_eq!(of_line("name,num_gpu,gpu_milli"), Some(Some("openb")));
    }
}
