//! A scenario before its keys are known: a tree of values, each with the place that it came from.

use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A scenario file is at most so long; the shipped ones are a page.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a line of the scenario, counted from 1.
    Line(String, usize),
    /// In an override on the command line.
    Override(String),
    /// In the parameters of an earlier run.
    Record(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(formatter, "{file}:{line}"),
            Self::Override(text) => write!(formatter, "--set {text}"),
            Self::Record(file) => formatter.write_str(file),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) what: What,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Table(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    Whole(i64),
    Real(f64),
    Switch(bool),
}

impl What {
    /// What it is, for a sentence.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Table(_) => "a table".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Text(text) => format!("the text \"{}\"", text.chars().take(60).collect::<String>()),
            Self::Whole(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
        }
    }
}

/// A text that is no TOML, or a value that scenarios have no use for: where and why.
pub(crate) type Wrong = (Place, String);

/// Reads a scenario's text. `file` is its name in messages.
pub(crate) fn read(text: &str, file: &str) -> Result<Node, Wrong> {
    let place = |at: usize| Place::Line(file.to_owned(), line(text, at));
    if text.len() > FILE_BYTES_MAX {
        return Err((place(0), format!("the scenario is longer than {FILE_BYTES_MAX} bytes")));
    }
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (place(at), error.message().trim().replace('\n', ", "))
    })?;
    from_table(table.get_ref(), place(0), &place)
}

/// Reads the right side of an override: a TOML value, or else a bare text.
pub(crate) fn read_value(text: &str, place: Place) -> Result<Node, Wrong> {
    match DeValue::parse(text) {
        Ok(value) => from_value(&value, &|_| place.clone()),
        Err(_) => Ok(Node { place, what: What::Text(text.to_owned()) }),
    }
}

/// Reads the parameters of an earlier run: keys with their full names, values in JSON.
pub(crate) fn read_json(value: &serde_json::Value, place: &Place) -> Result<Node, Wrong> {
    use serde_json::Value;
    let what = match value {
        Value::Null => return Err((place.clone(), "null is no value of a scenario".to_owned())),
        Value::Bool(on) => What::Switch(*on),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => What::Whole(number),
            (None, Some(number)) => What::Real(number),
            (None, None) => return Err((place.clone(), format!("{number} is out of range"))),
        },
        Value::String(text) => What::Text(text.clone()),
        Value::Array(items) => What::List(items.iter().map(|item| read_json(item, place)).collect::<Result<_, _>>()?),
        Value::Object(entries) => What::Table(
            entries.iter().map(|(key, value)| Ok((key.clone(), read_json(value, place)?))).collect::<Result<_, _>>()?,
        ),
    };
    Ok(Node { place: place.clone(), what })
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

fn from_table(table: &DeTable<'_>, own: Place, place: &dyn Fn(usize) -> Place) -> Result<Node, Wrong> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let mut node = from_value(value, place)?;
        // The key stands where people look; a table's own span begins at its header.
        node.place = place(key.span().start);
        entries.push((key.get_ref().clone().into_owned(), node));
    }
    Ok(Node { place: own, what: What::Table(entries) })
}

fn from_value(value: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Result<Node, Wrong> {
    let own = place(value.span().start);
    let what = match value.get_ref() {
        DeValue::String(text) => What::Text(text.clone().into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => What::Whole(number),
            Err(_) => return Err((own, format!("{number} is out of range"))),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => What::Real(number),
            Err(_) => return Err((own, format!("{number} is no number"))),
        },
        DeValue::Boolean(on) => What::Switch(*on),
        DeValue::Datetime(_) => {
            return Err((own, "scenarios have no dates; times are relative, as in \"10 s\"".into()));
        }
        DeValue::Array(items) => {
            What::List(items.iter().map(|item| from_value(item, place)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => return from_table(table, own, place),
    };
    Ok(Node { place: own, what })
}

/// Puts a value under a dotted key, in place of what is there. A number as a part of the key chooses from a list.
pub(crate) fn put(root: &mut Node, key: &str, value: Node) -> Result<(), Wrong> {
    let (head, rest) = key.split_once('.').map_or((key, None), |(head, rest)| (head, Some(rest)));
    let place = value.place.clone();
    if head.is_empty() {
        return Err((place, "a part of the key is empty".to_owned()));
    }
    let next = match &mut root.what {
        What::Table(entries) => match entries.iter().position(|(name, _)| name == head) {
            Some(at) => &mut entries[at].1,
            None => {
                entries.push((head.to_owned(), Node { place: place.clone(), what: What::Table(Vec::new()) }));
                &mut entries.last_mut().expect("just put there").1
            }
        },
        What::List(items) => {
            let count = items.len();
            match head.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                Some(item) => item,
                None => return Err((place, format!("'{head}' chooses none of {count} entries, counted from 0"))),
            }
        }
        other => return Err((place, format!("'{head}' can't be set inside {}", other.kind()))),
    };
    match rest {
        Some(rest) => put(next, rest, value),
        None => {
            *next = value;
            Ok(())
        }
    }
}
