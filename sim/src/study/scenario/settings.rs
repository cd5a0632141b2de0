//! Values of known keys, checked against the schema: kinds, units, bounds.

use super::node::{Node, Place, What};
use super::schema::{Key, Kind};
use super::unit;
use crate::study::Error;
use crate::study::nearest::hint;
use crate::workload::shipped;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The most words of a list and rows of a table in a scenario.
const ITEMS_MAX: usize = 10_000;

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Path(PathBuf),
    Count(u64),
    Number(f64),
    Micros(i64),
    Span(i64, i64),
    Mebibytes(u64),
    Switch(bool),
    Seeds(Vec<u64>),
    Names(Vec<String>),
    Rows(Vec<Settings>),
}

/// The values of a scenario, or of one row of a table in it. Every key of the schema that has a default is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    /// Where each was said, for what shows to be wrong later; the whole stands under no name.
    places: BTreeMap<&'static str, Place>,
}

/// Asked for by code with a name and a kind that the schema does not have: our own mistake.
const NOT_IN_SCHEMA: &str = "a key of the schema, of this kind";

impl Settings {
    /// Reads a tree by its keys. Values that were not said are their defaults. `base` is where paths begin;
    /// for a scenario in the binary it is [`shipped::PREFIX`].
    pub(crate) fn read<'k>(
        root: &Node,
        keys: impl Iterator<Item = &'k Key> + Clone,
        base: &Path,
        unknown: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, (Place, String)> {
        let mut said = Vec::new();
        flatten(root, "", &keys, &mut said);
        let mut values = BTreeMap::new();
        let mut places = BTreeMap::from([("", root.place.clone())]);
        for (name, node) in said {
            let Some(key) = keys.clone().find(|key| key.name == name) else {
                let end = unknown(&name).unwrap_or_else(|| hint(&name, keys.clone().map(|key| key.name)));
                return Err((node.place.clone(), format!("there is no key '{name}'{end}")));
            };
            let value = read_value(key, node, base).map_err(|why| match why {
                Why::Here(why) => (node.place.clone(), format!("'{name}' {why}")),
                Why::There(place, why) => (place, why),
            })?;
            values.insert(key.name, value);
            places.insert(key.name, node.place.clone());
        }
        for key in keys {
            if values.contains_key(key.name) {
                continue;
            }
            match key.default {
                Some(text) => {
                    let node = Node { place: root.place.clone(), what: default(key.kind, text) };
                    let value = read_value(key, &node, base);
                    values.insert(key.name, value.unwrap_or_else(|_| panic!("the default of {} is wrong", key.name)));
                }
                None if key.must => {
                    return Err((root.place.clone(), format!("the key '{}' is missing: {}", key.name, key.about)));
                }
                None => {}
            }
        }
        Ok(Self { values, places })
    }

    /// All of it as JSON: full names of keys, amounts with their units. Reads back to the same values.
    pub fn to_json(&self) -> serde_json::Value {
        let entries = self.values.iter().map(|(key, value)| ((*key).to_owned(), show(value)));
        serde_json::Value::Object(entries.collect())
    }

    /// A refusal of all of it, with the place where it begins.
    pub(crate) fn refused(&self, why: String) -> Error {
        match self.places.get("") {
            Some(place) => Error::scenario((place.clone(), why)),
            None => Error::Unfit(why),
        }
    }

    /// A refusal of what a key holds, with the place where that was said, or where its table begins.
    pub(crate) fn wrong(&self, key: &str, why: impl Display) -> Error {
        let why = format!("'{key}' {why}");
        match self.places.get(key) {
            Some(place) => Error::scenario((place.clone(), why)),
            None => self.refused(why),
        }
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        match self.values.get(key) {
            Some(Value::Text(text)) => text,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn path(&self, key: &str) -> Option<&Path> {
        match self.values.get(key) {
            Some(Value::Path(path)) => Some(path),
            None => None,
            Some(_) => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    /// Every file that the scenario reads.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.values.values().filter_map(|value| if let Value::Path(path) = value { Some(path.as_path()) } else { None })
    }

    pub(crate) fn count(&self, key: &str) -> u64 {
        match self.values.get(key) {
            Some(Value::Count(count)) => *count,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn number(&self, key: &str) -> f64 {
        match self.values.get(key) {
            Some(Value::Number(number)) => *number,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn micros(&self, key: &str) -> i64 {
        match self.values.get(key) {
            Some(Value::Micros(micros)) => *micros,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    /// The least and the most in microseconds.
    pub(crate) fn span(&self, key: &str) -> (i64, i64) {
        match self.values.get(key) {
            Some(Value::Span(least, most)) => (*least, *most),
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn mebibytes(&self, key: &str) -> u64 {
        match self.values.get(key) {
            Some(Value::Mebibytes(mebibytes)) => *mebibytes,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn switch(&self, key: &str) -> bool {
        match self.values.get(key) {
            Some(Value::Switch(on)) => *on,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn seeds(&self, key: &str) -> &[u64] {
        match self.values.get(key) {
            Some(Value::Seeds(seeds)) => seeds,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    pub(crate) fn names(&self, key: &str) -> &[String] {
        match self.values.get(key) {
            Some(Value::Names(names)) => names,
            _ => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }

    /// The rows of a table; none when it was not said.
    pub(crate) fn rows(&self, key: &str) -> &[Settings] {
        match self.values.get(key) {
            Some(Value::Rows(rows)) => rows,
            None => &[],
            Some(_) => panic!("{key}: {NOT_IN_SCHEMA}"),
        }
    }
}

/// Names the leaves of a tree, with dots; the rows of a table of tables stay together.
fn flatten<'n, 'k>(
    node: &'n Node,
    name: &str,
    keys: &(impl Iterator<Item = &'k Key> + Clone),
    into: &mut Vec<(String, &'n Node)>,
) {
    match &node.what {
        What::Table(entries) if !entries.is_empty() || name.is_empty() => {
            for (key, node) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(node, &name, keys, into);
            }
        }
        // An empty table says nothing, if something could stand in it.
        What::Table(_) if keys.clone().any(|key| key.name.starts_with(&format!("{name}."))) => {}
        _ => into.push((name.to_owned(), node)),
    }
}

/// A default as it would stand in a file.
fn default(kind: Kind, text: &str) -> What {
    match kind {
        Kind::Count(..) => What::Whole(text.parse().unwrap_or_default()),
        Kind::Number(..) => What::Real(text.parse().unwrap_or_default()),
        Kind::Switch => What::Switch(text == "true"),
        _ => What::Text(text.to_owned()),
    }
}

enum Why {
    /// Wrong as it stands; the key is still to be named.
    Here(String),
    /// Wrong in a part of it.
    There(Place, String),
}

fn read_value(key: &Key, node: &Node, base: &Path) -> Result<Value, Why> {
    let expected = |what: &str| Err(Why::Here(format!("must be {what}, not {}", node.what.kind())));
    let here = Why::Here;
    Ok(match (key.kind, &node.what) {
        (Kind::Text, What::Text(text)) => Value::Text(text.clone()),
        (Kind::Text, What::Whole(number)) => Value::Text(number.to_string()),
        (Kind::Text, _) => return expected("a text"),
        (Kind::Choice(words), What::Text(text)) if words.contains(&text.as_str()) => Value::Text(text.clone()),
        (Kind::Choice(words), what) => {
            let near = if let What::Text(text) = what { hint(text, words.iter().copied()) } else { String::new() };
            return Err(here(format!("must be one of {}, not {}{near}", words.join(", "), what.kind())));
        }
        (Kind::Path, What::Text(text)) => Value::Path(match node.place {
            Place::Line(..) if base == Path::new(shipped::PREFIX) => shipped::resolve(text),
            Place::Line(..) => base.join(text),
            Place::Override(_) | Place::Record(_) => PathBuf::from(text),
        }),
        (Kind::Path, _) => return expected("the name of a file"),
        (Kind::Count(least, most), What::Whole(number)) => match u64::try_from(*number) {
            Ok(count) if (least..=most).contains(&count) => Value::Count(count),
            _ => return expected(&format!("between {least} and {most}")),
        },
        (Kind::Count(..), _) => return expected("a whole number"),
        (Kind::Number(least, most), What::Whole(_) | What::Real(_)) => {
            let number = if let What::Real(real) = node.what { real } else { whole(&node.what) };
            if !(least..=most).contains(&number) {
                return expected(&format!("between {least} and {most}"));
            }
            Value::Number(number)
        }
        (Kind::Number(..), _) => return expected("a number"),
        (Kind::Time, What::Text(text)) => Value::Micros(unit::micros(text).map_err(here)?),
        (Kind::Time, What::Whole(_) | What::Real(_)) => return Err(here(unit::time_without_unit())),
        (Kind::Time, _) => return expected("a time, as in \"10 s\""),
        (Kind::Span, What::Text(text)) => {
            let (least, most) = unit::span(text).map_err(here)?;
            Value::Span(least, most)
        }
        (Kind::Span, What::Whole(_) | What::Real(_)) => return Err(here(unit::time_without_unit())),
        (Kind::Span, _) => return expected("a time or a range, as in \"250 us..500 us\""),
        (Kind::Memory, What::Text(text)) => Value::Mebibytes(unit::mebibytes(text).map_err(here)?),
        (Kind::Memory, What::Whole(_) | What::Real(_)) => return Err(here(unit::memory_without_unit())),
        (Kind::Memory, _) => return expected("an amount of memory, as in \"16 GiB\""),
        (Kind::Switch, What::Switch(on)) => Value::Switch(*on),
        (Kind::Switch, _) => return expected("true or false"),
        (Kind::Seeds, What::Text(text)) => Value::Seeds(unit::seeds(text).map_err(here)?),
        (Kind::Seeds, What::Whole(number)) => Value::Seeds(unit::seeds(&number.to_string()).map_err(here)?),
        (Kind::Seeds, _) => return expected("seeds, as in \"1-10\""),
        (Kind::Names, What::Text(text)) => {
            Value::Names(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
        }
        (Kind::Names, What::List(items)) => Value::Names(bounded(items)?.iter().map(name).collect::<Result<_, _>>()?),
        (Kind::Names, _) => return expected("a list of words"),
        (Kind::Rows(keys), What::List(items)) => {
            let row = |item: &Node| match &item.what {
                What::Table(_) => Settings::read(item, keys.iter(), base, &|_| None)
                    .map_err(|(place, why)| Why::There(place, format!("in '{}': {why}", key.name))),
                other => Err(Why::There(item.place.clone(), format!("'{}' holds {}", key.name, other.kind()))),
            };
            Value::Rows(bounded(items)?.iter().map(row).collect::<Result<_, _>>()?)
        }
        (Kind::Rows(_), _) => return expected(&format!("a list of tables: [[{}]]", key.name)),
    })
}

fn whole(what: &What) -> f64 {
    if let What::Whole(number) = what { *number as f64 } else { 0.0 }
}

fn bounded(items: &[Node]) -> Result<&[Node], Why> {
    if items.len() <= ITEMS_MAX { Ok(items) } else { Err(Why::Here(format!("has more than {ITEMS_MAX} entries"))) }
}

fn name(node: &Node) -> Result<String, Why> {
    match &node.what {
        What::Text(text) => Ok(text.clone()),
        other => Err(Why::There(node.place.clone(), format!("a list of words holds {}", other.kind()))),
    }
}

fn show(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => json!(text),
        Value::Path(path) => json!(path.to_string_lossy()),
        Value::Count(count) => json!(count),
        Value::Number(number) => json!(number),
        Value::Micros(micros) => json!(unit::show_micros(*micros)),
        Value::Span(least, most) => json!(unit::show_span((*least, *most))),
        Value::Mebibytes(mebibytes) => json!(unit::show_mebibytes(*mebibytes)),
        Value::Switch(on) => json!(on),
        Value::Seeds(seeds) => json!(unit::show_seeds(seeds)),
        Value::Names(names) => json!(names),
        Value::Rows(rows) => rows.iter().map(Settings::to_json).collect(),
    }
}
