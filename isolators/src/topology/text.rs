//! What is asked of a text before hwloc's parser gets it. A file may come from anywhere; the parser is C, recursive, and
//! allocates what the text says. So: bounded size, depth and counts, no entities, the right version.

use super::{Error, SYNTHETIC_BYTES_MAX, XML_BYTES_MAX};

/// The deepest nesting of elements. A machine behind a chain of bridges and switches has some twenty.
const DEPTH_MAX: usize = 128;

/// The most elements. The largest of our files has about 4,000.
const ELEMENTS_MAX: usize = 400_000;

/// The largest count that a level of a synthetic description may have, and the most processing units in all.
const SYNTHETIC_COUNT_MAX: u64 = 8_192;

/// The most objects of one matrix.
const MATRIX_OBJECTS_MAX: u64 = 1_024;

/// Refuses what can't be an export of hwloc 2. One pass over the text.
pub(super) fn check(text: &[u8]) -> Result<(), Error> {
    if text.len() as u64 > XML_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    if text.contains(&0) {
        return Err(Error::Nul);
    }
    let text = std::str::from_utf8(text).map_err(|_| Error::Format("it is not UTF-8"))?;
    let (mut depth, mut elements, mut has_version) = (0_usize, 0_usize, false);
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let end = if rest.starts_with("<!--") { rest.find("-->").map(|end| end + 2) } else { tag_end(rest) };
        let tag = &rest[..=end.ok_or(Error::Format("a tag does not end"))?];
        rest = &rest[tag.len()..];
        if tag.starts_with("<!--") || tag.starts_with("<?") {
            continue;
        }
        if tag.starts_with("<!") {
            // The type of the document may be named, but nothing declared in it.
            if !tag.starts_with("<!DOCTYPE") || tag.contains('[') {
                return Err(Error::Format("it declares entities or the like"));
            }
            continue;
        }
        if tag.starts_with("</") {
            depth = depth.checked_sub(1).ok_or(Error::Format("a tag is closed that was not opened"))?;
            continue;
        }
        elements += 1;
        if tag.starts_with("<topology") {
            has_version = attribute(tag, "version").is_some_and(|version| version.starts_with("2."));
            if !has_version {
                return Err(Error::Format("its version is not 2.x (lstopo --export-xml-flags v2 writes that)"));
            }
        }
        let objects = attribute(tag, "nbobjs").map(|count| count.parse::<u64>());
        if objects.is_some_and(|count| count.is_err() || count.is_ok_and(|count| count > MATRIX_OBJECTS_MAX)) {
            return Err(Error::TooLarge);
        }
        if !tag.ends_with("/>") {
            depth += 1;
        }
        if depth > DEPTH_MAX || elements > ELEMENTS_MAX {
            return Err(Error::TooLarge);
        }
    }
    match (depth, has_version) {
        (0, true) => Ok(()),
        (0, false) => Err(Error::Format("it has no topology element")),
        _ => Err(Error::Format("it ends before its elements do")),
    }
}

/// Where a tag ends, as seen from its beginning: at the first `>` outside of quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, character)| {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, '>') => return Some(at),
            _ => {}
        }
        None
    })
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}="))?;
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    rest[1..].split(quote).next()
}

/// Refuses a description whose counts multiply to more than a topology takes, before hwloc builds it.
pub(super) fn check_synthetic(description: &str) -> Result<(), Error> {
    if description.len() > SYNTHETIC_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    let mut units = 1_u64;
    // What is in parentheses are attributes, in brackets memory: neither multiplies.
    let mut depth = 0_u32;
    let levels: String = description
        .chars()
        .map(|character| {
            match character {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.saturating_sub(1),
                _ if depth == 0 => return character,
                _ => {}
            }
            ' '
        })
        .collect();
    for level in levels.split_whitespace() {
        let count = level.rsplit(':').next().unwrap_or(level);
        // hwloc says what is wrong with a count that is none.
        let Ok(count) = count.parse::<u64>() else { continue };
        units = units.saturating_mul(count.max(1));
        if units > SYNTHETIC_COUNT_MAX {
            return Err(Error::TooLarge);
        }
    }
    Ok(())
}
