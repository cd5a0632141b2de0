//! The traces of `sim/data/`, in the binary: a scenario that is run by its name finds them from any folder.
//!
//! A path that begins with [`PREFIX`] means one of them. Origins and licences are in `sim/data/README.md`.

use std::path::{Path, PathBuf};

/// What the path of a shipped trace begins with.
pub const PREFIX: &str = "shipped:";
/// How scenarios in `sim/scenarios/` reach the data.
const FROM_SCENARIOS: &str = "../data/";

macro_rules! traces {
    ($($name:literal),* $(,)?) => {
        /// Every trace: its path below `sim/data/`, its bytes.
        const TRACES: [(&str, &[u8]); [$($name),*].len()] =
            [$(($name, include_bytes!(concat!("../../data/", $name)))),*];
    };
}

traces!(
    "gavel/isolated_throughputs.tsv",
    "gavel/vc_0e4a51.tsv.gz",
    "gavel/vc_11cb48.tsv.gz",
    "gavel/vc_7f04ca.tsv.gz",
    "gavel/vc_ee9e8c.tsv.gz",
    "hwloc/40intel64-2g2n4c+pci.xml.gz",
    "hwloc/96em64t-4n4d3ca2co-pci.xml.gz",
    "omega/csizes_cmb.log",
    "omega/init_cluster_state.log",
    "omega/interarrival_cmb.log",
    "omega/runtimes_cmb.log",
    "openb/node_list_all_node.csv.gz",
    "openb/node_list_gpu_node.csv.gz",
    "openb/pod_list_cpu050.csv.gz",
    "openb/pod_list_cpu100.csv.gz",
    "openb/pod_list_default.csv.gz",
    "openb/pod_list_gpushare40.csv.gz",
    "openb/pod_list_gpushare60.csv.gz",
    "openb/pod_list_gpuspec10.csv.gz",
    "openb/pod_list_gpuspec20.csv.gz",
    "openb/pod_list_multigpu20.csv.gz",
    "openb/pod_list_multigpu30.csv.gz",
    "swim/FB-2009_samples_24_times_1hr_0.tsv.gz",
    "swim/FB-2010_samples_24_times_1hr_0.tsv.gz",
);

/// The bytes of a shipped trace; none for a path that means a file.
pub fn bytes(path: &Path) -> Option<&'static [u8]> {
    let name = path.to_str()?.strip_prefix(PREFIX)?;
    TRACES.iter().find(|(one, _)| *one == name).map(|(_, bytes)| *bytes)
}

/// The path that a scenario in the binary means by what it says of a file.
pub fn resolve(text: &str) -> PathBuf {
    match text.strip_prefix(FROM_SCENARIOS) {
        Some(name) => PathBuf::from(format!("{PREFIX}{name}")),
        None => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_holds_what_the_folder_holds() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data"));
        let mut found = Vec::new();
        for kind in std::fs::read_dir(folder).expect("the data").flatten().filter(|entry| entry.path().is_dir()) {
            for file in std::fs::read_dir(kind.path()).expect("a folder of it").flatten() {
                let name =
                    [kind.file_name(), file.file_name()].map(|name| name.to_string_lossy().into_owned()).join("/");
                let embedded =
                    bytes(&resolve(&format!("../data/{name}"))).unwrap_or_else(|| panic!("{name} is missing"));
                assert_eq!(embedded, std::fs::read(file.path()).expect("a file"), "{name}");
                found.push(name);
            }
        }
        assert_eq!(found.len(), TRACES.len());
        assert_eq!(bytes(Path::new("../data/openb/x")), None);
    }
}
