//! The networks of an agent: files in a directory, each with one network, a list of plugins (`.conflist`) or a single one
//! (`.conf`, `.json`). Mesos's own `mesos-cni-port-mapper`, which wraps another plugin, is read as that one with `portmap` after it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The largest file in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The most plugins of one network.
const PLUGINS_MAX: usize = 16;

/// The versions of the interface that are spoken.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "0.2.0"];

/// Mesos's mapper of ports.
const MESOS_MAPPER: &str = "mesos-cni-port-mapper";

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Configuration {
    pub(super) name: String,
    pub(super) version: String,
    /// In the order in which they are run.
    pub(super) plugins: Vec<Value>,
}

impl Configuration {
    fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let name =
            value["name"].as_str().filter(|name| !name.is_empty() && !name.contains('/')).ok_or("it has no name")?;
        let version = value["cniVersion"].as_str().unwrap_or("0.2.0");
        if !VERSIONS.contains(&version) {
            return Err(format!("version {version} is not spoken; there are {}", VERSIONS.join(", ")));
        }
        let plugins = match &value["plugins"] {
            Value::Array(plugins) => plugins.clone(),
            Value::Null if value["type"] == MESOS_MAPPER => {
                if !value["delegate"].is_object() {
                    return Err(format!("{MESOS_MAPPER} has no delegate"));
                }
                vec![
                    value["delegate"].clone(),
                    json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}),
                ]
            }
            Value::Null => vec![value.clone()],
            _ => return Err("its plugins are no list".to_owned()),
        };
        let is_plugin = |plugin: &Value| {
            plugin["type"]
                .as_str()
                .is_some_and(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))
        };
        if plugins.is_empty() || plugins.len() > PLUGINS_MAX || !plugins.iter().all(is_plugin) {
            return Err("its plugins are none, too many, or without a type".to_owned());
        }
        Ok(Self { name: name.to_owned(), version: version.to_owned(), plugins })
    }

    /// Whether one of its plugins leads ports of the machine into containers.
    pub(super) fn maps_ports(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin["capabilities"]["portMappings"] == true)
    }
}

/// All networks in a directory.
///
/// # Errors
/// A file that does not read, or a name that is there twice.
pub(super) fn all(directory: &Path) -> Result<Vec<Configuration>, String> {
    let failed = |error: std::io::Error| format!("'{}' can't be read: {error}", directory.display());
    let mut paths: Vec<_> =
        fs::read_dir(directory).map_err(failed)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| matches!(path.extension().and_then(|end| end.to_str()), Some("conf" | "conflist" | "json")));
    paths.sort();
    let mut found: Vec<Configuration> = Vec::new();
    for path in paths {
        let wrong = |reason: String| format!("'{}': {reason}", path.display());
        let size = fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(wrong(format!("it has {size} bytes, at most {FILE_BYTES_MAX} go")));
        }
        let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let one = Configuration::parse(&text).map_err(wrong)?;
        if found.iter().any(|other| other.name == one.name) {
            return Err(format!("there are two networks of the name '{}'", one.name));
        }
        found.push(one);
    }
    Ok(found)
}

/// A network by its name, as it is now.
pub(super) fn find(directory: &Path, name: &str) -> Result<Configuration, String> {
    let found = all(directory)?.into_iter().find(|network| network.name == name);
    found.ok_or_else(|| format!("there is no network '{name}' on this agent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_all_their_forms() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        put("1.conf", r#"{"name": "one", "cniVersion": "0.3.1", "type": "bridge"}"#);
        put(
            "2.conflist",
            r#"{"name": "two", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}, {"type": "portmap", "capabilities": {"portMappings": true}}]}"#,
        );
        put(
            "3.json",
            r#"{"name": "three", "type": "mesos-cni-port-mapper", "chain": "MESOS", "delegate": {"type": "bridge"}}"#,
        );
        put("readme.txt", "no network");
        let found = all(directory.path()).unwrap();
        assert_eq!(found.iter().map(|one| one.plugins.len()).collect::<Vec<_>>(), [1, 2, 2]);
        assert_eq!(found.iter().map(Configuration::maps_ports).collect::<Vec<_>>(), [false, true, true]);
        assert!(find(directory.path(), "four").unwrap_err().contains("no network 'four'"));
        for bad in [
            "{",
            "[]",
            r#"{"name": "x", "type": "../x"}"#,
            r#"{"type": "bridge"}"#,
            r#"{"name": "x", "plugins": []}"#,
            r#"{"name": "x", "type": "y", "cniVersion": "9.0"}"#,
            r#"{"name": "one", "type": "bridge"}"#,
            r#"{"name": "x", "type": "mesos-cni-port-mapper"}"#,
        ] {
            put("4.conf", bad);
            assert!(all(directory.path()).is_err(), "{bad}");
        }
    }
}
