//! What pages say of the tree: commands, flags, files, variables, tests, decisions, dependencies.

use super::reader::words;
use super::{Tree, none};
use kaon_kernel::cause::Cause;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What stands as code on a page: each line of a fence, each span in backticks.
fn snippets(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            found.push(line.trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The commands of a line of shell, each as its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" # ").next().unwrap_or_default();
    let parts = line.split("&&").flat_map(|part| part.split([';', '|']));
    let whole = |part: &str| {
        let words = part.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned());
        words.skip_while(|word| word == "$" || word.contains('=') && !word.starts_with('-')).collect::<Vec<_>>()
    };
    parts.map(whole).filter(|words| !words.is_empty()).collect()
}

/// The help of a command, if there is such a command.
fn help(path: &[String]) -> Option<String> {
    let mut kaon = Command::new(env!("CARGO_BIN_EXE_kaon"));
    let output = kaon.args(path).arg("--help").env_remove("KAON_CONFIG").output().expect("the binary runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What is wrong with a call of the binary, if anything.
fn check_call(words: &[String], helps: &mut BTreeMap<Vec<String>, Option<String>>) -> Option<String> {
    let mut path: Vec<String> = Vec::new();
    let words = words.split(|word| word == "--").next().unwrap_or_default();
    let mut rest = words.iter().filter(|word| !word.starts_with('.') && *word != "&" && !word.starts_with('['));
    let mut text = helps.entry(Vec::new()).or_insert_with(|| help(&[])).clone()?;
    while text.contains("\nCommands:\n") {
        let Some(word) = rest.next() else { break };
        if word.starts_with('-') {
            return (!text.contains(word.as_str())).then(|| format!("kaon {} has no {word}", path.join(" ")));
        }
        let listed = text.split("\nCommands:\n").nth(1).unwrap_or_default();
        let listed = listed.split("\n\n").next().unwrap_or_default();
        if !listed.lines().any(|line| line.starts_with("  ") && line.split_whitespace().next() == Some(word)) {
            return Some(format!("kaon {} has no command {word}", path.join(" ")));
        }
        path.push(word.clone());
        text = helps.entry(path.clone()).or_insert_with(|| help(&path)).clone()?;
    }
    let flags = rest.filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap_or(word));
    let known: BTreeSet<&str> = text.split(|c: char| c.is_whitespace() || ",=[]".contains(c)).collect();
    let unknown: Vec<&str> = flags.filter(|flag| !known.contains(flag)).collect();
    (!unknown.is_empty()).then(|| format!("kaon {} has no {}", path.join(" "), unknown.join(", ")))
}

#[test]
fn pages_name_only_commands_that_exist() {
    let tree = Tree::read();
    let makefile = tree.text("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let (mut findings, mut helps, mut calls) = (Vec::new(), BTreeMap::new(), 0);
    for name in tree.pages() {
        for words in snippets(&tree.text(name)).iter().flat_map(|line| commands(line)) {
            let (program, rest) = (words[0].rsplit('/').next().unwrap_or_default(), &words[1..]);
            let wrong: Vec<String> = match program {
                "make" => {
                    let named = rest.iter().filter(|word| !word.contains('=') && !word.starts_with('-'));
                    let named = named.filter(|word| !targets.contains(word.as_str()));
                    named.map(|word| format!("make has no target {word}")).collect()
                }
                "kaon" => check_call(rest, &mut helps).into_iter().collect(),
                _ => continue,
            };
            calls += 1;
            findings.extend(wrong.into_iter().map(|what| format!("{name}: {what}")));
        }
    }
    assert!(calls > 20, "only {calls} commands were found");
    none("commands in README and docs", &findings);
}

#[test]
fn pages_name_only_files_variables_and_tests_that_exist() {
    let tree = Tree::read();
    let sources: String = tree.files.iter().filter(|name| !name.ends_with(".md")).map(|name| tree.text(name)).collect();
    let tops: BTreeSet<&str> = tree.files.iter().filter_map(|name| name.split_once('/')).map(|(top, _)| top).collect();
    let mut findings = Vec::new();
    for name in tree.pages() {
        let page = tree.text(name);
        let spans = snippets(&page);
        for span in &spans {
            let is_path = span.split_once('/').is_some_and(|(top, _)| tops.contains(top));
            let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            // Names of metrics look like paths; they stand in quotes somewhere.
            if is_path && is_plain && !tree.is_there(span) && !sources.contains(&format!("\"{span}\"")) {
                findings.push(format!("{name}: no file {span}"));
            }
            let variables = words(span).filter(|word| word.starts_with("KAON_") && word.len() > "KAON_".len());
            let missing = variables.filter(|word| !sources.contains(*word));
            findings.extend(missing.map(|word| format!("{name}: no variable {word}")));
            let is_test = span.matches('_').count() > 2 && span.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_test && !sources.contains(&format!("fn {span}(")) {
                findings.push(format!("{name}: no test {span}"));
            }
        }
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        for link in page.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = tree.root.join(folder).join(link);
            if !target.exists() {
                findings.push(format!("{name}: the link {link} leads nowhere"));
            }
        }
    }
    none("files, variables, tests and links in README and docs", &findings);
}

/// A client can be sent no cause that the page has not, since they are one enumeration.
#[test]
fn the_table_of_causes_is_whole() {
    let page = Tree::read().text("docs/api.md");
    let rows = page.lines().skip_while(|line| *line != "| cause | what it means |").skip(2);
    let shown: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let line = |cause: &Cause| format!("| `{}` | {} |", cause.word(), cause.meaning());
    let wanted: Vec<String> = Cause::ALL.iter().map(line).collect();
    assert_eq!(shown, wanted, "the table of docs/api.md and kernel/src/cause.rs differ");
}

#[test]
fn decisions_have_their_three_parts() {
    let tree = Tree::read();
    let pages: Vec<&str> = tree.ending(".md").filter(|name| name.starts_with("docs/decisions/")).collect();
    let mut findings = Vec::new();
    for (number, name) in pages.iter().enumerate() {
        let begin = format!("docs/decisions/{:04}-", number + 1);
        if !name.starts_with(&begin) {
            findings.push(format!("{name}: expected {begin}.."));
        }
        let page = tree.text(name);
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        if headings != ["## Context", "## Choice", "## Gave up"] {
            findings.push(format!("{name}: has {headings:?}"));
        }
    }
    assert!(pages.len() >= 10, "only {} decisions", pages.len());
    none("decisions", &findings);
}

#[test]
fn every_dependency_has_its_reason() {
    let tree = Tree::read();
    let manifest: toml::Table = toml::from_str(&tree.text("Cargo.toml")).expect("Cargo.toml is TOML");
    let declared = manifest["workspace"]["dependencies"].as_table().expect("a table of dependencies");
    let version = |value: &toml::Value| {
        let text = value.as_str().or_else(|| value.get("version").and_then(toml::Value::as_str));
        text.unwrap_or_default().to_owned()
    };
    let foreign = declared.iter().filter(|(name, _)| !name.starts_with("kaon-"));
    let declared: BTreeSet<(String, String)> = foreign.map(|(name, value)| (name.clone(), version(value))).collect();
    let page = tree.text("docs/dependencies.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
    let told: BTreeSet<(String, String)> = cells.map(|cells| (cells[1].to_owned(), cells[2].to_owned())).collect();
    let missing = declared.difference(&told).map(|(name, version)| format!("{name} {version} is not in the page"));
    let stale = told.difference(&declared).map(|(name, version)| format!("{name} {version} is not in Cargo.toml"));
    none("docs/dependencies.md", &missing.chain(stale).collect::<Vec<_>>());
}
