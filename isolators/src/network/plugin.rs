//! Runs the plugins of a network, one after the other (CNI `SPEC.md`, sections 2 and 3): the configuration on their standard
//! input, what it is about in their environment, the result on their standard output. They are the operator's programs: trusted,
//! but bounded in time and in what they say.

use super::configuration::Configuration;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

/// How long one plugin may take; they work for milliseconds, and wait for locks of others.
const RUNS_AT_MOST: Duration = Duration::from_secs(60);

/// The longest result in bytes.
const RESULT_BYTES_MAX: u64 = 1024 * 1024;

/// How often a plugin that has closed its output is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What is asked of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Delete,
}

/// What a call of plugins is about.
pub(super) struct Attachment<'a> {
    /// Where plugins are looked for.
    pub(super) plugins: &'a [PathBuf],
    pub(super) container: &'a str,
    /// The container's view of the network.
    pub(super) view: &'a Path,
    pub(super) interface: &'a str,
    /// Port of the machine, port of the container, whether UDP.
    pub(super) ports: &'a [(u16, u16, bool)],
    pub(super) labels: &'a [(String, Option<String>)],
}

/// Runs all plugins of a network: forwards to add, each with the result of the one before; backwards to delete, each with the
/// result of the whole. Answers the result.
pub(super) fn run(
    network: &Configuration,
    attachment: &Attachment<'_>,
    command: Command,
    before: Option<Value>,
) -> Result<Option<Value>, String> {
    let mut result = before;
    let all: Vec<&Value> = match command {
        Command::Add => network.plugins.iter().collect(),
        Command::Delete => network.plugins.iter().rev().collect(),
    };
    for plugin in all {
        let input = input(network, plugin, attachment, result.as_ref());
        let name = plugin["type"].as_str().unwrap_or_default();
        let said = run_one(name, &input, attachment, command)
            .map_err(|reason| format!("plugin '{name}' of network '{}': {reason}", network.name))?;
        if command == Command::Add {
            result = Some(said);
        }
    }
    Ok(result)
}

fn input(network: &Configuration, plugin: &Value, attachment: &Attachment<'_>, before: Option<&Value>) -> Value {
    let mut input = plugin.clone();
    input["name"] = json!(network.name);
    input["cniVersion"] = json!(network.version);
    let wants = |capability: &str| plugin["capabilities"][capability] == true;
    if wants("portMappings") && !attachment.ports.is_empty() {
        let mapped = attachment.ports.iter().map(|(host, container, is_udp)| {
            json!({"hostPort": host, "containerPort": container, "protocol": if *is_udp { "udp" } else { "tcp" }})
        });
        input["runtimeConfig"] = json!({"portMappings": mapped.collect::<Vec<_>>()});
    }
    if let Some(object) = input.as_object_mut() {
        object.remove("capabilities");
    }
    if !attachment.labels.is_empty() {
        // As Mesos hands them on.
        let labels = attachment.labels.iter().map(|(key, value)| json!({"key": key, "value": value}));
        input["args"]["org.apache.mesos"]["network_info"]["labels"] = json!({"labels": labels.collect::<Vec<_>>()});
    }
    if let Some(before) = before {
        input["prevResult"] = before.clone();
    }
    input
}

fn run_one(name: &str, input: &Value, attachment: &Attachment<'_>, command: Command) -> Result<Value, String> {
    let found = attachment.plugins.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    let path = found.ok_or("it is in none of the directories of plugins")?;
    let mut directories = OsString::new();
    for directory in attachment.plugins {
        if !directories.is_empty() {
            directories.push(":");
        }
        directories.push(directory);
    }
    let word = if command == Command::Add { "ADD" } else { "DEL" };
    let mut program = Program::new(path);
    program.env_clear().env("PATH", crate::containers::PATH_DEFAULT).env("CNI_COMMAND", word);
    program.env("CNI_CONTAINERID", attachment.container).env("CNI_NETNS", attachment.view);
    program.env("CNI_IFNAME", attachment.interface).env("CNI_PATH", directories).env("CNI_ARGS", "IgnoreUnknown=1");
    program.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().map_err(|error| format!("it can't be started: {error}"))?;
    let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("it has no pipes".to_owned());
    };
    let began = Instant::now();
    // A plugin that does not read its input says why in its answer.
    let _ = to.write_all(input.to_string().as_bytes());
    drop(to);
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        from.take(RESULT_BYTES_MAX).read_to_end(&mut text).map(|_| text)
    });
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if began.elapsed() > RUNS_AT_MOST => {
                let _ = (child.kill(), child.wait());
                return Err(format!("it took longer than {RUNS_AT_MOST:?}"));
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let said = reading.join().ok().and_then(Result::ok).unwrap_or_default();
    let value: Value = match said.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&said).map_err(|error| format!("its answer does not read: {error}"))?,
    };
    match (status.success(), command) {
        (true, Command::Add) if !value.is_object() => Err("it answered nothing".to_owned()),
        (true, _) => Ok(value),
        (false, _) => {
            let words = [value["msg"].as_str(), value["details"].as_str()];
            let words: Vec<&str> = words.into_iter().flatten().filter(|text| !text.is_empty()).collect();
            Err(if words.is_empty() { format!("it failed: {status}") } else { words.join("; ") })
        }
    }
}

/// The addresses of a result, without the lengths of their prefixes.
pub(super) fn addresses(result: &Value) -> Vec<String> {
    let lists = result["ips"].as_array().into_iter().flatten().map(|ip| &ip["address"]);
    // Version 0.2 has one of each kind.
    let older = ["ip4", "ip6"].map(|kind| &result[kind]["ip"]);
    let all = lists.chain(older).filter_map(Value::as_str);
    all.map(|address| address.split('/').next().unwrap_or(address).to_owned()).collect()
}

/// What a result says for `resolv.conf`; nothing when it says nothing.
pub(super) fn name_servers(result: &Value) -> Option<String> {
    let dns = &result["dns"];
    let list =
        |name: &str| -> Vec<&str> { dns[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let servers = list("nameservers");
    if servers.is_empty() {
        return None;
    }
    let mut text = String::new();
    if let Some(domain) = dns["domain"].as_str().filter(|domain| !domain.is_empty()) {
        text.push_str(&format!("domain {domain}\n"));
    }
    for (word, values) in [("search", list("search")), ("options", list("options"))] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_versions_are_understood() {
        let new = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/16"}, {"address": "fd00::2/64"}]});
        assert_eq!(addresses(&new), ["10.1.0.2", "fd00::2"]);
        assert_eq!(addresses(&json!({"ip4": {"ip": "10.1.0.3/24"}})), ["10.1.0.3"]);
        assert_eq!((addresses(&Value::Null).len(), name_servers(&new)), (0, None));
        let dns = json!({"dns": {"nameservers": ["10.0.0.1"], "domain": "d", "search": ["a", "b"]}});
        assert_eq!(name_servers(&dns).unwrap(), "domain d\nsearch a b\nnameserver 10.0.0.1\n");
    }

    #[test]
    fn plugins_are_told_what_they_can_do_and_no_more() {
        let network = Configuration {
            name: "n".into(),
            version: "0.4.0".into(),
            plugins: vec![json!({"type": "a"}), json!({"type": "b", "capabilities": {"portMappings": true}})],
        };
        let labels = [("k".to_owned(), Some("v".to_owned()))];
        let attachment = Attachment {
            plugins: &[],
            container: "c",
            view: Path::new("/v"),
            interface: "eth0",
            ports: &[(31_000, 80, false)],
            labels: &labels,
        };
        let [first, second] =
            [0, 1].map(|at| input(&network, &network.plugins[at], &attachment, Some(&json!({"x": 1}))));
        assert!(first["runtimeConfig"].is_null() && first["name"] == "n" && first["prevResult"]["x"] == 1);
        assert_eq!(second["runtimeConfig"]["portMappings"][0]["hostPort"], 31_000);
        assert!(second["capabilities"].is_null());
        assert_eq!(first["args"]["org.apache.mesos"]["network_info"]["labels"]["labels"][0]["key"], "k");
    }
}
