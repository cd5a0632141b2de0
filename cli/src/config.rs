//! The configuration file: the same keys as the flags, for what neither a flag nor the environment says.

use crate::arguments::Arguments;
use anyhow::{Context, Result, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use kaon_kernel::nearest::nearest;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The flags of a command as a process shows them: names as Mesos writes them, values as texts.
pub(crate) type Flags = BTreeMap<String, String>;

/// Reads the command line, the environment and the configuration file; tells also every flag that has a value.
///
/// # Errors
/// A file that can't be read, that is no TOML, that has a key which no flag has, or a value that its flag does not take.
/// Errors of the command line itself end the process with clap's text.
pub(crate) fn arguments() -> Result<(Arguments, Flags)> {
    let given: Vec<OsString> = std::env::args_os().collect();
    // What is required may be in the file.
    let parsed = lenient(Arguments::command()).try_get_matches_from(&given);
    let matches = parsed.unwrap_or_else(|error| advised(error, &given).exit());
    let mut full = given.clone();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        let extra = from_file(&text, path, &matches)?;
        // What the file adds stands before a `--`, which ends the flags.
        let end = given.iter().position(|part| part == "--").unwrap_or(given.len());
        full.splice(end..end, extra);
    }
    let matches = Arguments::command().try_get_matches_from(full).unwrap_or_else(|error| error.exit());
    Ok((Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()), shown(&matches)))
}

/// The same command, with nothing required.
fn lenient(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| argument.required(false)).mut_subcommands(lenient)
}

/// An error with the command that was meant, where clap has none to suggest: it compares no short words.
fn advised(mut error: clap::Error, given: &[OsString]) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand && error.get(ContextKind::SuggestedSubcommand).is_none() {
        let root = Arguments::command();
        let mut command = &root;
        for word in given.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| !word.starts_with('-')) {
            let Some(next) = command.find_subcommand(word) else {
                let known = command.get_subcommands().filter(|one| !one.is_hide_set());
                if let Some(meant) = nearest(word, known.map(clap::Command::get_name)) {
                    let meant = ContextValue::Strings(vec![meant.to_owned()]);
                    error.insert(ContextKind::SuggestedSubcommand, meant);
                }
                break;
            };
            command = next;
        }
    }
    error
}

/// Flags whose values hold what only their owner may know.
const SECRET: [&str; 2] = ["docker-config", "executor-environment-variables"];

/// Every flag of the chosen command that has a value, given or by default. Lengths of time have Mesos's unit.
fn shown(matches: &ArgMatches) -> Flags {
    let root = Arguments::command();
    let (mut command, mut chosen) = (&root, matches);
    while let Some((name, sub)) = chosen.subcommand() {
        let Some(known) = command.find_subcommand(name) else { break };
        (command, chosen) = (known, sub);
    }
    let mut flags = Flags::new();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let values = chosen.try_get_raw(argument.get_id().as_str()).ok().flatten();
        let (Some(long), Some(values)) = (argument.get_long(), values) else { continue };
        let unit = match argument.get_value_names() {
            Some([name]) if name == "SECONDS" => "secs",
            _ => "",
        };
        let texts: Vec<String> = values.map(|value| format!("{}{unit}", value.to_string_lossy())).collect();
        let text = if SECRET.contains(&long) { "(not shown)".to_owned() } else { texts.join(",") };
        flags.insert(long.replace('-', "_"), text);
    }
    flags
}

/// The flags that a file adds to the chosen command. Keys at the top are of every command; those of a command's table, and of
/// the tables in it, of this command alone, and go before.
fn from_file(text: &str, path: &Path, matches: &ArgMatches) -> Result<Vec<OsString>> {
    let file: toml::Table = toml::from_str(text).with_context(|| format!("{} is not TOML", path.display()))?;
    let root = Arguments::command();
    let (mut command, mut chosen) = (&root, matches);
    let (mut tables, mut table) = (vec![(&file, &root)], Some(&file));
    while let Some((name, sub)) = chosen.subcommand() {
        command = command.find_subcommand(name).context("a parsed command exists")?;
        chosen = sub;
        table = table.and_then(|table| table.get(name)?.as_table());
        tables.extend(table.map(|table| (table, command)));
    }
    let mut extra: BTreeMap<&str, Vec<OsString>> = BTreeMap::new();
    for (table, of) in tables {
        let known = every_key(of);
        for (key, value) in table {
            if value.is_table() && of.find_subcommand(key).is_some() {
                continue;
            }
            if !known.iter().any(|one| one == key) {
                bail!("{}: there is no key '{key}'{}", path.display(), hint(key, &known));
            }
            let holders = [(command, chosen), (&root, matches)].into_iter().filter(|_| key != "config");
            let mut found = holders.filter_map(|(of, holder)| {
                Some((of.get_arguments().find(|argument| argument.get_long() == Some(key))?, holder))
            });
            let Some((argument, holder)) = found.next() else { continue };
            let source = holder.value_source(argument.get_id().as_str());
            if matches!(source, None | Some(ValueSource::DefaultValue)) {
                let of_key = || format!("{}: key '{key}'", path.display());
                let flags = as_flags(key, value).with_context(of_key)?;
                check(argument, &flags).with_context(of_key)?;
                extra.insert(argument.get_id().as_str(), flags);
            }
        }
    }
    Ok(extra.into_values().flatten().collect())
}

/// Whether a flag takes what a file gives it.
fn check(argument: &clap::Arg, flags: &[OsString]) -> Result<()> {
    let alone = clap::Command::new("kaon").no_binary_name(true).arg(argument.clone().required(false));
    let Err(error) = alone.try_get_matches_from(flags) else { return Ok(()) };
    let text = error.to_string();
    let reason = text.lines().next().unwrap_or_default();
    bail!("{}", reason.strip_prefix("error: ").unwrap_or(reason))
}

fn as_flags(key: &str, value: &toml::Value) -> Result<Vec<OsString>> {
    Ok(match value {
        toml::Value::Boolean(true) => vec![format!("--{key}").into()],
        toml::Value::Boolean(false) => Vec::new(),
        toml::Value::String(text) => vec![format!("--{key}={text}").into()],
        toml::Value::Integer(number) => vec![format!("--{key}={number}").into()],
        toml::Value::Float(number) => vec![format!("--{key}={number}").into()],
        toml::Value::Array(items) => {
            let mut flags = Vec::new();
            for item in items {
                flags.extend(as_flags(key, item)?);
            }
            flags
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => bail!("expected a text, a number, true, false or a list"),
    })
}

fn every_key(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(every_key)).collect()
}

/// A hint at the key that was meant.
fn hint(key: &str, known: &[String]) -> String {
    match nearest(key, known.iter().map(String::as_str)) {
        Some(other) => format!("; did you mean '{other}'?"),
        None => "; `kaon --help` lists the flags, which are the keys".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(file: &str, line: &[&str]) -> Result<Vec<String>> {
        let matches = lenient(Arguments::command()).get_matches_from(line);
        let flags = from_file(file, Path::new("kaon.toml"), &matches)?;
        Ok(flags.into_iter().map(|flag| flag.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn a_file_fills_in_what_the_command_line_leaves_open() {
        let file = "agents = 5\nlog = 'info'\n[up]\ndir = '/tmp/x'\n[agent]\nattributes = 'a:b'\n";
        let line = ["kaon", "up", "--agents", "2"];
        assert_eq!(flags(file, &line).expect("a good file"), ["--dir=/tmp/x", "--log=info"]);
    }

    #[test]
    fn what_is_required_may_be_in_the_file_and_a_table_goes_before_the_top() {
        let file = "dir = '/tmp/top'\n[ca]\ndir = '/tmp/ca'\n[ca.init]\ncluster = 'c'\n[agent]\nmaster = 'a:1'\n";
        let given = flags(file, &["kaon", "ca", "init"]).expect("a good file");
        assert_eq!(given, ["--cluster=c", "--dir=/tmp/ca"]);
        assert_eq!(flags(file, &["kaon", "up"]).expect("a good file"), ["--dir=/tmp/top"]);
        let of_another = "[run]\nseed = 1\n";
        assert!(flags(of_another, &["kaon", "sim", "run"]).expect("a good file").is_empty());
    }

    #[test]
    fn a_bad_value_is_told_with_its_file_and_key() {
        let error = flags("[up]\nagents = 'many'", &["kaon", "up"]).expect_err("no number");
        let words = format!("{error:#}");
        assert!(words.starts_with("kaon.toml: key 'agents': invalid value 'many' for '--agents <AGENTS>'"), "{words}");
    }

    #[test]
    fn flags_are_shown_with_their_values() {
        let line = ["kaon", "agent", "--master", "a:1,b:2", "--dir", "d", "--docker-config", "{}", "--leash"];
        let secret = ["--executor-environment-variables", r#"{"PASSWORD":"x"}"#];
        let given = line.into_iter().chain(secret).chain([
            "--certificate",
            "c",
            "--key",
            "k",
            "--authority",
            "e",
            "--attributes",
            "x:y",
        ]);
        let flags = shown(&Arguments::command().get_matches_from(given));
        let show = |name: &str| flags.get(name).map(String::as_str);
        assert_eq!((show("master"), show("attributes")), (Some("a:1,b:2"), Some("x:y")));
        assert_eq!(show("recovery_timeout"), Some("900secs"), "by default, with its unit");
        assert_eq!(show("authenticate_http_executors"), Some("false"));
        assert_eq!(show("docker_config"), Some("(not shown)"));
        assert_eq!(show("executor_environment_variables"), Some("(not shown)"));
        assert_eq!((show("leash"), show("domain")), (None, None), "hidden, or without a value");
    }

    #[test]
    fn a_wrong_key_is_named_with_its_nearest() {
        let error = flags("agnets = 5", &["kaon", "up"]).expect_err("no such key");
        assert!(error.to_string().contains("'agnets'; did you mean 'agents'?"), "{error}");
        let error = flags("quite-another = 5", &["kaon", "up"]).expect_err("no such key");
        assert!(error.to_string().contains("kaon --help"), "{error}");
        assert!(flags("[up]\ncertificate = 'x'", &["kaon", "up"]).is_err(), "a key of another command");
    }
}
