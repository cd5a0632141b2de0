//! Scenarios: small TOML files that say what a study simulates. What is wrong in one is told with its line, and with the
//! key that was probably meant.
//!
//! `node` reads text into a tree with places, `schema` is the list of all keys, `settings` the checked values, `unit` the
//! amounts with units. What the values mean is up to the engines.

pub(crate) mod law;
pub(crate) mod node;
mod schema;
mod settings;
mod shipped;
pub(crate) mod unit;

#[cfg(test)]
mod tests;

pub use schema::Fidelity;
pub use settings::Settings;
pub use shipped::{SHIPPED, Shipped};

use crate::study::Error;
use node::{Node, Place, What};
use schema::Kind;
use std::path::{Path, PathBuf};

/// A scenario with its overrides, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// What is simulated.
    pub fidelity: Fidelity,
    /// The values of all keys.
    pub settings: Settings,
    origin: Origin,
}

/// Where a scenario came from, for the line that repeats a run of it.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    /// A file, or the name of one that is shipped, with its overrides.
    File(PathBuf, Vec<String>),
    /// The record of an earlier run.
    Record(String),
}

/// A key of scenarios, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its full name; that of a key in a list of tables begins with the table's, as in `[[framework]] tasks`.
    pub name: String,
    /// What it holds, with its bounds.
    pub holds: String,
    /// The words that it takes, when no others are.
    pub words: &'static [&'static str],
    /// Its default as it would be written.
    pub default: Option<&'static str>,
    /// Whether a scenario, or a table, without it is refused.
    pub is_required: bool,
    /// What it is for.
    pub about: &'static str,
}

impl Scenario {
    /// Reads a scenario from a file, or one of those that are shipped by its name.
    ///
    /// # Errors
    /// A file that can't be read, no TOML, an unknown key, a value of the wrong kind, unit or size.
    pub fn open(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let (name, text, base) = load(path)?;
        let file = path.file_name().map_or_else(|| name.clone(), |file| file.to_string_lossy().into_owned());
        let mut root = node::read(&text, &file).map_err(Error::scenario)?;
        for text in overrides {
            set(&mut root, text)?;
        }
        Self::of(name, &root, &base, Origin::File(path.to_owned(), overrides.to_vec()))
    }

    /// Reads a scenario from the parameters that a summary holds.
    ///
    /// # Errors
    /// As [`Self::open`]; places are then named by `file`.
    pub fn from_parameters(name: &str, parameters: &serde_json::Value, file: &str) -> Result<Self, Error> {
        let place = Place::Record(file.to_owned());
        let flat = node::read_json(parameters, &place).map_err(Error::scenario)?;
        let What::Table(entries) = flat.what else {
            return Err(Error::scenario((place, "the parameters are no table".to_owned())));
        };
        let mut root = Node { place, what: What::Table(Vec::new()) };
        for (key, value) in entries {
            node::put(&mut root, &key, value).map_err(Error::scenario)?;
        }
        Self::of(name.to_owned(), &root, Path::new(""), Origin::Record(file.to_owned()))
    }

    fn of(name: String, root: &Node, base: &Path, origin: Origin) -> Result<Self, Error> {
        let fidelity = fidelity(root).map_err(Error::scenario)?;
        let unknown = |key: &str| {
            let kinds = schema::kinds_with(key);
            (!kinds.is_empty())
                .then(|| format!(" in kind '{}'; it belongs to kind '{}'", fidelity.word(), kinds.join("', '")))
        };
        let settings = Settings::read(root, schema::keys(fidelity), base, &unknown).map_err(Error::scenario)?;
        Ok(Self { name, fidelity, settings, origin })
    }

    /// Every key of a kind of study, those of each list of tables behind it.
    pub fn keys(fidelity: Fidelity) -> Vec<KeyRow> {
        let row = |key: &schema::Key, name: String| KeyRow {
            name,
            holds: holds(key.kind),
            words: if let Kind::Choice(words) = key.kind { words } else { &[] },
            default: key.default,
            is_required: key.must,
            about: key.about,
        };
        let mut rows = Vec::new();
        for key in schema::keys(fidelity) {
            rows.push(row(key, key.name.to_owned()));
            if let Kind::Rows(own) = key.kind {
                rows.extend(own.iter().map(|one| row(one, format!("[[{}]] {}", key.name, one.name))));
            }
        }
        rows
    }

    /// The command that repeats the runs of a seed under these policies, for a shell; paths that are not absolute begin in
    /// the working directory of now. A record is repeated as a whole.
    pub fn command(&self, seed: u64, policies: &[&str]) -> String {
        let (path, overrides) = match &self.origin {
            Origin::File(path, overrides) => (path, overrides),
            Origin::Record(file) => return format!("kaon sim replay {}", quoted(file)),
        };
        let mut line = format!("kaon sim replay {seed} --scenario {}", quoted(&path.to_string_lossy()));
        // The seed is that of the replay, and the policies are named.
        let own = |text: &&String| !["seeds", "policies"].contains(&text.split('=').next().unwrap_or_default().trim());
        for text in overrides.iter().filter(own) {
            line.push_str(&format!(" --set {}", quoted(text)));
        }
        format!("{line} --policy {}", quoted(&policies.join(",")))
    }

    /// What it asks.
    pub fn question(&self) -> &str {
        self.settings.text("question")
    }

    /// The seeds to run.
    pub fn seeds(&self) -> &[u64] {
        self.settings.seeds("seeds")
    }

    /// The policies to compare.
    pub fn policies(&self) -> &[String] {
        self.settings.names("policies")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%@+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn load(path: &Path) -> Result<(String, String, PathBuf), Error> {
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text, path.parent().unwrap_or(Path::new("")).to_owned())),
        // A folder of that name is what a study of it has left.
        Err(error)
            if path.components().count() == 1
                && matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory) =>
        {
            let shipped = SHIPPED.iter().find(|one| one.name == name).ok_or_else(|| Error::NoScenario {
                path: path.to_owned(),
                shipped: SHIPPED.map(|one| one.name).join(", "),
            })?;
            Ok((name, shipped.text.to_owned(), PathBuf::from(crate::workload::shipped::PREFIX)))
        }
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// Carries out one override, `key=value`.
fn set(root: &mut Node, text: &str) -> Result<(), Error> {
    let place = Place::Override(text.to_owned());
    let Some((key, value)) = text.split_once('=') else {
        return Err(Error::scenario((place, "an override is key=value".to_owned())));
    };
    let value = node::read_value(value.trim(), place).map_err(Error::scenario)?;
    node::put(root, key.trim(), value).map_err(Error::scenario)
}

fn fidelity(root: &Node) -> Result<Fidelity, (Place, String)> {
    let What::Table(entries) = &root.what else { return Err((root.place.clone(), "a scenario is a table".to_owned())) };
    let kinds = || Fidelity::ALL.map(|(_, word)| word).join(", ");
    let Some((_, node)) = entries.iter().find(|(key, _)| key == "kind") else {
        return Err((root.place.clone(), format!("the key 'kind' is missing: one of {}", kinds())));
    };
    let What::Text(word) = &node.what else {
        return Err((node.place.clone(), format!("'kind' must be one of {}, not {}", kinds(), node.what.kind())));
    };
    Fidelity::ALL.iter().find(|(_, one)| one == word).map(|(fidelity, _)| *fidelity).ok_or_else(|| {
        let near = super::nearest::hint(word, Fidelity::ALL.map(|(_, word)| word));
        (node.place.clone(), format!("'kind' must be one of {}, not \"{word}\"{near}", kinds()))
    })
}

fn holds(kind: Kind) -> String {
    let word = match kind {
        Kind::Count(least, most) => return format!("count {least} to {most}"),
        Kind::Number(least, most) => return format!("number {least} to {most}"),
        Kind::Text => "text",
        Kind::Choice(_) => "word",
        Kind::Path => "file",
        Kind::Time => "time",
        Kind::Span => "time or range",
        Kind::Memory => "memory",
        Kind::Switch => "true/false",
        Kind::Seeds => "seeds",
        Kind::Names => "words",
        Kind::Rows(_) => "tables",
    };
    word.to_owned()
}
