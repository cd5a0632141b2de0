//! A reader of Rust that is good enough for tidiness: what is code, and which names it uses.

use std::collections::BTreeSet;

/// Rust without comments and without what stands in quotes; lines stay where they are.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let keep_lines = |out: &mut String, part: &str| out.extend(part.chars().filter(|&c| c == '\n'));
    while let Some(first) = rest.chars().next() {
        let is_word_before = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            quoted(rest)
        } else if !is_word_before && let Some(length) = raw(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if length > 0 {
            keep_lines(&mut out, &rest[..length]);
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A raw text `r#".."#` at the beginning.
fn raw(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inner = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - inner.len();
    Some(inner.find(&end).map_or(rest.len(), |at| begin + at + end.len()))
}

/// The length of a character in quotes; of a lifetime only the quote is nothing.
fn character(rest: &str) -> usize {
    let mut inner = rest.char_indices().skip(1);
    match inner.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| 3 + at + 1),
        Some((_, c)) if rest[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// The code of a file without a test module at its end.
pub(super) fn shipped(text: &str) -> String {
    let mut code = code(text);
    if let Some(at) = code.find("#[cfg(test)]").filter(|&at| code[at..].contains("mod tests {")) {
        code.truncate(at);
    }
    code
}

pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The modules of the standard library that code names: what follows `std::`, in braces too.
pub(super) fn std_modules(code: &str) -> BTreeSet<String> {
    let dense: String = code.split_whitespace().collect::<Vec<_>>().join(" ").replace(":: ", "::").replace(" ::", "::");
    let mut found = BTreeSet::new();
    for (at, _) in dense.match_indices("std::") {
        let rest = &dense[at + "std::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let (mut depth, mut expects_name) = (0, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expects_name = true,
                c if expects_name && c.is_alphabetic() => {
                    found.extend(words(&list[at..]).next().map(str::to_owned));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn the_reader_of_code_knows_comments_and_quotes() {
    let text = "a /* x */ b // y\n\"z \\\" q\" r#\"w\" \"#; 'c' '\\'' <'d> b'e' name_r\"f\"";
    assert_eq!(code(text), "a  b \n ;   <'d> b name_r");
    let named = std_modules(&code("use std::{fs::File, sync::{Arc, Mutex}, net}; std :: env::var(); mystd::time"));
    let expected = ["env", "fs", "net", "sync", "time"].map(str::to_owned);
    assert_eq!(named, BTreeSet::from(expected));
}
