//! Which format a file is in, told by how its text begins; a Parquet file is text by then.

use super::compressed;
use std::io::{self, BufRead, Read};
use std::path::Path;

/// So much of a file is looked at, in bytes: the header of a batch log is some kilobytes.
const LOOKED_AT_BYTES: u64 = 1 << 18;
/// Fields of a line of a batch log.
const SWF_FIELDS: usize = 18;
/// Fields of a line of SWIM, with its extra ones.
const SWIM_FIELDS: usize = 6;

/// The format of a file, by its name in [`super::convert::FORMATS`]; none when it looks like none of them. An empty file has
/// none.
///
/// # Errors
/// When the file cannot be read.
pub fn format_of(path: &Path) -> io::Result<Option<&'static str>> {
    let mut start = Vec::new();
    compressed::open(path)?.take(LOOKED_AT_BYTES).read_to_end(&mut start)?;
    let mut lines = start.lines().map_while(Result::ok);
    Ok(lines.find_map(|line| of_line(line.trim_start_matches('\u{feff}').trim_end())).flatten())
}

/// What a line says: none says nothing, as an empty one.
fn of_line(line: &str) -> Option<Option<&'static str>> {
    if line.trim().is_empty() {
        return None;
    }
    if line.trim_start().starts_with(';') {
        return Some(Some("swf"));
    }
    let names =
        |mark: char| -> Vec<String> { line.split(mark).map(|name| name.trim().trim_matches('"').to_owned()).collect() };
    let (by_comma, by_tab) = (names(','), names('\t'));
    let has = |list: &[String], wanted: &[&str]| wanted.iter().all(|name| list.iter().any(|one| one == name));
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    Some(match () {
        () if has(&by_comma, &["job", "submit_us", "cpus_milli"]) => Some("native"),
        () if has(&by_comma, &["instance_sn", "app_name"]) => Some("alibaba-dlrm"),
        () if has(&by_comma, &["gpu_model", "gpu_capacity_num"]) => Some("alibaba-spot-nodes"),
        () if has(&by_comma, &["num_gpu", "gpu_milli"]) => Some("openb"),
        () if has(&by_comma, &["sn", "cpu_milli"]) => Some("openb-nodes"),
        () if has(&by_comma, &["name", "cpus_milli"]) => Some("native-nodes"),
        () if has(&by_tab, &["job_type", "scale_factor"]) => Some("gavel"),
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
    }
}
