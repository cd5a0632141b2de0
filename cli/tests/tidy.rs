//! Tidiness: the rules of `CONTRIBUTING.md` and `docs/architecture.md` that a machine can check, as tests.
//!
//! They read the files that git tracks or would track, `cargo metadata` and the help of the binary; they write nothing.
//! `tidy/reader.rs` reads Rust, `tidy/pages.rs` checks what pages say of the tree, `tidy/foreign.rs` what others wrote; the rest
//! is here.
//! What only people can judge (names, comments that say why, one idea a file) is left to review.

mod foreign;
mod pages;
mod reader;

use reader::{code, shipped, std_modules, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest Rust file, in lines. Past it, look for the second idea in the file.
const LINES_MAX: usize = 600;

/// The crates of law L1.
const PURE: [&str; 2] = ["kernel", "actors"];

/// The folders of the actors: none names another (I2).
const ACTORS: [&str; 6] = ["master", "allocator", "registrar", "agent", "executor", "framework"];

/// What stands in the tree: files that are tracked, or new and not ignored.
struct Tree {
    root: PathBuf,
    files: Vec<String>,
}

impl Tree {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut git = Command::new("git");
        git.current_dir(&root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let output = git.output().expect("these tests need git");
        assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
        let listed = String::from_utf8(output.stdout).expect("names are UTF-8");
        let listed = listed.split('\0').filter(|name| !name.is_empty() && root.join(name).is_file());
        let files: BTreeSet<String> = listed.map(str::to_owned).collect();
        assert!(files.len() > 100, "only {} files are listed", files.len());
        Self { root, files: files.into_iter().collect() }
    }

    fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.iter().map(String::as_str).filter(move |name| name.ends_with(end))
    }

    /// The pages that speak to people.
    fn pages(&self) -> impl Iterator<Item = &str> {
        self.ending(".md").filter(|name| name.starts_with("docs/") || !name.contains('/'))
    }

    fn is_there(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.iter().any(|name| name == path || name.starts_with(&folder))
    }
}

/// Fails with all findings at once.
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

fn ends_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

#[test]
fn the_pure_crates_name_nothing_of_the_world() {
    let modules = ["time", "fs", "net", "env", "thread", "process", "io", "os"];
    let names = [
        "tokio",
        "actix",
        "async",
        "await",
        "HashMap",
        "HashSet",
        "RandomState",
        "SystemTime",
        "thread_rng",
        "OsRng",
        "getrandom",
        "thread_local",
    ];
    let tree = Tree::read();
    let mut findings = Vec::new();
    for name in tree.ending(".rs").filter(|name| PURE.iter().any(|one| name.starts_with(&format!("{one}/src/")))) {
        if ends_test(name) {
            continue;
        }
        let code = shipped(&tree.text(name));
        let used = std_modules(&code);
        findings.extend(modules.iter().filter(|one| used.contains(**one)).map(|one| format!("{name}: std::{one}")));
        let found: BTreeSet<&str> = words(&code).filter(|word| names.contains(word)).collect();
        findings.extend(found.into_iter().map(|word| format!("{name}: {word}")));
    }
    none("law L1: kernel/ and actors/ are pure", &findings);
}

#[test]
fn the_pure_crates_depend_on_nothing_that_does() {
    let forbidden = ["tokio", "actix", "quinn", "sled", "nix", "hyper", "mio", "socket2", "crossbeam", "dashmap"];
    let tree = Tree::read();
    let lock: toml::Table = toml::from_str(&tree.text("Cargo.lock")).expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("a list of packages");
    let text = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
    let short = |name: &str| name.split(' ').next().unwrap_or_default().to_owned();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        let listed = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        let entry = graph.entry(text(&package["name"])).or_default();
        entry.extend(listed.map(|one| short(&text(one))));
    }
    let mut findings = Vec::new();
    for (name, direct) in dependencies().into_iter().filter(|(name, _)| PURE.contains(&name.as_str())) {
        let (mut open, mut seen) = (direct, BTreeSet::new());
        while let Some(next) = open.pop_first() {
            if forbidden.contains(&next.as_str()) {
                findings.push(format!("{name} reaches {next}"));
            }
            if seen.insert(next.clone()) {
                open.extend(graph.get(&next).cloned().unwrap_or_default());
            }
        }
        assert!(seen.len() > 5, "{name}: the graph was not read");
    }
    none("law L1: what the pure crates are built on", &findings);
}

#[test]
fn actors_do_not_import_each_other() {
    let tree = Tree::read();
    let mut findings = Vec::new();
    for actor in ACTORS {
        let folder = format!("actors/src/{actor}/");
        assert!(tree.is_there(&folder), "{folder} is gone: mend the list");
        for name in tree.ending(".rs").filter(|name| name.starts_with(&folder)) {
            let code: String = code(&tree.text(name)).split_whitespace().collect();
            let others = ACTORS.iter().filter(|other| **other != actor);
            let named = others.filter(|other| code.contains(&format!("crate::{other}::")));
            findings.extend(named.map(|other| format!("{name}: crate::{other}")));
        }
    }
    none("I2: actors share messages only", &findings);
}

/// What `cargo metadata` says.
fn metadata(arguments: &[&str]) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["metadata", "--format-version", "1", "--offline"]).args(arguments);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The normal dependencies of our crates; ours without their prefix.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata(&["--no-deps"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let own = |name: String| name.strip_prefix("kaon-").map_or(name.clone(), str::to_owned);
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let normal = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|one| one["kind"].is_null()).map(|one| own(text(&one["name"]))).collect()
    };
    packages.iter().map(|package| (own(text(&package["name"])), normal(package))).collect()
}

#[test]
fn no_crate_imports_what_the_table_does_not_allow() {
    let tree = Tree::read();
    let page = tree.text("docs/architecture.md");
    let table = page.split("<!-- arrows -->").nth(1).and_then(|rest| rest.split("<!-- /arrows -->").next());
    let table = table.expect("docs/architecture.md marks its table of arrows");
    let mut allowed: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[1].split(',').map(str::trim).filter(|name| !name.is_empty());
        let (optional, must): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with('('));
        let bare = |list: Vec<&str>| list.into_iter().map(|name| name.trim_matches(['(', ')']).to_owned()).collect();
        allowed.insert(cells[0].to_owned(), (bare(must), bare(optional)));
    }
    let found = dependencies();
    let mut findings = Vec::new();
    for name in found.keys().chain(allowed.keys()).collect::<BTreeSet<_>>() {
        let (Some(imports), Some((must, optional))) = (found.get(name), allowed.get(name)) else {
            findings.push(format!("{name} is a crate or a row of the table, not both"));
            continue;
        };
        let ours: BTreeSet<&String> = imports.iter().filter(|one| found.contains_key(*one)).collect();
        let wrong = ours.iter().filter(|one| !must.contains(**one) && !optional.contains(**one));
        findings.extend(wrong.map(|one| format!("{name} -> {one} is not in the table: a decision page first")));
        let gone = must.iter().filter(|one| !ours.contains(one));
        findings.extend(gone.map(|one| format!("{name} -> {one} is in the table and not in the code")));
    }
    none("arrows of docs/architecture.md", &findings);
}

#[test]
fn source_files_are_short_whole_and_introduced() {
    let tree = Tree::read();
    let macros = [["to", "do!"].concat(), ["unimpl", "emented!"].concat()];
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let attributes = [["#[ig", "nore"].concat(), ["allow(dead", "_code)"].concat()];
    let mut findings = Vec::new();
    let is_source = |name: &&String| {
        let ends = [".rs", ".py", ".sh", ".toml", ".proto", "Makefile"];
        ends.iter().any(|end| name.ends_with(end)) || name.starts_with("tools/") || name.starts_with(".ci/")
    };
    for name in tree.files.iter().filter(is_source) {
        let text = tree.text(name);
        let marked = |line: &str| marks.iter().any(|mark| words(line).any(|word| word == mark));
        findings.extend(text.lines().filter(|line| marked(line)).map(|line| format!("{name}: {}", line.trim())));
        if !name.ends_with(".rs") {
            continue;
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
        }
        if !text.starts_with("//!") {
            findings.push(format!("{name}: does not open with //!, what it is for"));
        }
        let dense: String = code(&text).split_whitespace().collect();
        findings.extend(attributes.iter().filter(|one| dense.contains(*one)).map(|one| format!("{name}: {one}")));
        findings.extend(macros.iter().filter(|one| dense.contains(*one)).map(|one| format!("{name}: {one}")));
    }
    none("source files", &findings);
}

#[test]
fn no_file_names_the_machine_it_was_made_on() {
    let tree = Tree::read();
    let paths = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/fa", "rm/"], ["/tmp/te", "am"], ["/tmp/ba", "sh_"]];
    let hosts = [
        ["crates", ".io"],
        ["pypi", ".org"],
        ["python", "hosted.org"],
        ["npm", "js.org"],
        ["golang", ".org"],
        ["deb.deb", "ian.org"],
        ["docker", ".io"],
        ["artif", "actory"],
    ];
    let forbidden: Vec<String> = paths.iter().chain(&hosts).map(|parts| parts.concat()).collect();
    // The lock file names its one index on each line; a mirror of somebody's own must not get in.
    let index = format!("source = \"registry+https://github.com/rust-lang/{}-index\"", forbidden[paths.len()]);
    let mut findings = Vec::new();
    for name in &tree.files {
        let text = tree.text(name);
        // Where images come from by default is a fact of the product, and stands in one file.
        if text.contains('\0') || name == "isolators/src/images/hub.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let is_index = name.ends_with("Cargo.lock") && line == index;
            let found = forbidden.iter().filter(|part| !is_index && line.contains(part.as_str()));
            findings.extend(found.map(|part| format!("{name}:{}: {part}", number + 1)));
        }
        if name.ends_with("Cargo.lock") {
            let foreign = text.lines().filter(|line| line.starts_with("source = ") && *line != index);
            findings.extend(foreign.map(|line| format!("{name}: {line}")));
        }
    }
    none("paths of a build machine, hosts of package registries", &findings);
}

/// Where the old word for an agent may stand, in quotes and comments, and why.
const OLD_WORD_ALLOWED: [(&str, &str); 12] = [
    ("http/", "the v0 and v1 wire demand it, in names too"),
    ("actors/src/agent/environment.rs", "variables and the sandbox path that executors and tools read"),
    ("actors/src/agent/mod.rs", "metric names that dashboards read, and where the behaviour comes from"),
    ("actors/src/agent/recovery.rs", "where the behaviour comes from"),
    ("actors/src/agent/tests/", "tests of these variables, paths and metrics"),
    ("actors/src/executor/config.rs", "the variables that an executor reads"),
    ("actors/src/executor/tests/", "tests of these variables"),
    ("actors/src/master/admission.rs", "metric names, and where the behaviour comes from"),
    ("actors/src/master/health.rs", "metric names that dashboards read"),
    ("cli/", "reads the v0 API; third-party clients in tests"),
    ("isolators/", "the way to sandboxes, which tools know"),
    ("docs/", "the glossary explains the word; operating tells paths and metric names"),
];

#[test]
fn an_agent_is_called_an_agent() {
    let tree = Tree::read();
    let old = ["sla", "ve"].concat();
    let mut findings = Vec::new();
    for name in &tree.files {
        let text = tree.text(name);
        if text.contains('\0') || !text.to_lowercase().contains(&old) {
            continue;
        }
        if !OLD_WORD_ALLOWED.iter().any(|(place, _)| name.starts_with(place)) {
            findings.push(format!("{name}: the word is allowed where the wire demands it, see the list in this test"));
        }
        if name.ends_with(".rs") && !name.starts_with("http/") {
            let code = code(&text).to_lowercase();
            findings.extend(words(&code).filter(|word| word.contains(&old)).map(|word| format!("{name}: {word}")));
        }
    }
    none("say agent", &findings);
}
