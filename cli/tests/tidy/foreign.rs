//! What others wrote, by the rules of `deny.toml`: licences, banned crates, sources. `cargo deny check` knows advisories too;
//! this needs no more than cargo.

use super::{Tree, metadata, none};
use serde_json::Value;
use std::collections::BTreeSet;

/// One of the targets of `deny.toml`; the others have the same crates.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How the name of the one place begins that crates come from: the index of cargo itself.
const REGISTRY: &str = "registry+https://github.com/rust-lang/";

/// The words of an SPDX expression; cargo's older `MIT/Apache-2.0` is one, too.
fn words(expression: &str) -> Vec<String> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// Whether a licence, or enough of an expression of licences, is allowed. `words` loses what was read. Of licences that are
/// joined by AND every one counts, and AND binds before OR.
fn is_allowed(words: &mut std::iter::Peekable<impl Iterator<Item = String>>, allowed: &BTreeSet<&str>) -> bool {
    let (mut one_of, mut all_of) = (false, true);
    loop {
        let word = words.next().expect("an expression does not end with an operator");
        all_of &= match word.as_str() {
            "(" => is_allowed(words, allowed),
            licence if words.next_if(|next| next == "WITH").is_some() => {
                let exception = words.next().expect("an exception has a name");
                allowed.contains(format!("{licence} WITH {exception}").as_str())
            }
            licence => allowed.contains(licence),
        };
        match words.next().as_deref() {
            Some("AND") => {}
            Some("OR") => (one_of, all_of) = (one_of | all_of, true),
            Some(")") | None => return one_of | all_of,
            Some(other) => panic!("'{other}' where an operator is expected"),
        }
    }
}

/// The crates of the tree, each with its words in `cargo metadata`.
fn crates(metadata: &Value) -> Vec<&Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("a graph");
    let in_tree: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().filter(|one| one["id"].as_str().is_some_and(|id| in_tree.contains(id))).collect()
}

#[test]
fn what_others_wrote_is_under_the_rules() {
    let rules: toml::Table = Tree::read().text("deny.toml").parse().expect("TOML");
    let list = |section: &str, key: &str| rules[section][key].as_array().cloned().unwrap_or_default();
    let (allow, deny) = (list("licenses", "allow"), list("bans", "deny"));
    let allowed: BTreeSet<&str> = allow.iter().filter_map(toml::Value::as_str).collect();
    let banned: BTreeSet<&str> = deny.iter().filter_map(|entry| entry["crate"].as_str()).collect();
    assert!(!allowed.is_empty() && !banned.is_empty(), "rules are read");
    let metadata = metadata(&["--filter-platform", TARGET]);
    let mut findings = Vec::new();
    let mut unused = allowed.clone();
    for one in crates(&metadata) {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let words = words(text("license"));
        unused.retain(|licence| !words.iter().any(|word| word == licence));
        if words.is_empty() || !is_allowed(&mut words.into_iter().peekable(), &allowed) {
            findings.push(format!("{} {} is under '{}'", text("name"), text("version"), text("license")));
        }
        if banned.contains(text("name")) {
            findings.push(format!("{} is banned", text("name")));
        }
        if one["source"].as_str().is_some_and(|source| !source.starts_with(REGISTRY)) {
            findings.push(format!("{} comes from {}", text("name"), text("source")));
        }
    }
    findings.extend(unused.iter().map(|licence| format!("nothing is under {licence}")));
    none("deny.toml: licences, bans and sources", &findings);
}

#[test]
fn expressions_of_licences_are_understood() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("(ISC AND GPL-3.0) OR GPL-2.0", false),
        ("GPL-3.0 OR ISC AND MIT", true),
        ("MIT AND GPL-3.0 OR GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_allowed(&mut words(expression).into_iter().peekable(), &allowed), expected, "{expression}");
    }
}
