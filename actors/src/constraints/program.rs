//! How large RE2's program for an expression is, which is what Mesos bounds (`--offer_constraints_re2_max_program_size`).
//!
//! Counted off the syntax by what RE2 2025-11-05 makes of it once it is flat: a byte or a range of bytes is one instruction, so is
//! an assertion; a group adds two, `+` and `?` one, `*` and `|` none; alternatives side by side share what they begin with; and
//! four are always there. Where RE2 counts a little otherwise (`^`, a star before a star) the difference is one or two. Classes of
//! Unicode count no more than any character does, and nothing beside what of them is ASCII: they cost RE2 hundreds, and us nothing.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};
use regex_syntax::utf8::{Utf8Range, Utf8Sequences};
use std::collections::BTreeSet;

/// What every program has.
const ALWAYS: u64 = 4;

/// Lead and continuation bytes of all that is not ASCII: RE2 does not tell them apart any further.
const ABOVE_ASCII: u64 = 6;

/// The number of instructions. Cost: the syntax, repetitions counted and not unrolled.
pub(super) fn size(expression: &Hir) -> u64 {
    ALWAYS.saturating_add(body(expression))
}

fn body(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Empty => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(class) => of_class(class),
        HirKind::Look(Look::Start | Look::End) => 0,
        HirKind::Look(_) => 1,
        HirKind::Capture(capture) => body(&capture.sub).saturating_add(2),
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Concat(parts) => parts.iter().map(body).fold(0, u64::saturating_add),
        HirKind::Alternation(choices) => {
            let choices: Vec<Vec<Piece<'_>>> = choices.iter().map(pieces).collect();
            let choices: Vec<&[Piece<'_>]> = choices.iter().map(Vec::as_slice).collect();
            alternatives(&choices)
        }
    }
}

fn of_repetition(repetition: &Repetition) -> u64 {
    let Repetition { min, max, sub, .. } = repetition;
    let one = body(sub);
    let least = one.saturating_mul(u64::from(*min));
    match max {
        None if *min == 0 => one,
        None => least.saturating_add(1),
        Some(max) => {
            let more = u64::from(max.saturating_sub(*min));
            least.saturating_add(one.saturating_add(1).saturating_mul(more))
        }
    }
}

/// A part of an alternative that another one may begin with too: a byte, or anything else as a whole.
#[derive(Clone, Copy, PartialEq)]
enum Piece<'a> {
    Byte(u8),
    Whole(&'a Hir),
}

fn pieces(choice: &Hir) -> Vec<Piece<'_>> {
    match choice.kind() {
        HirKind::Literal(literal) => literal.0.iter().map(|byte| Piece::Byte(*byte)).collect(),
        HirKind::Concat(parts) => parts.iter().flat_map(pieces).collect(),
        _ => vec![Piece::Whole(choice)],
    }
}

/// The alternatives side by side that begin alike share their beginning, and bytes that lie side by side are a range.
fn alternatives(choices: &[&[Piece<'_>]]) -> u64 {
    let bytes: Option<BTreeSet<u8>> =
        choices.iter().map(|choice| if let [Piece::Byte(byte)] = choice { Some(*byte) } else { None }).collect();
    if let Some(bytes) = bytes {
        return bytes.iter().filter(|byte| byte.checked_sub(1).is_none_or(|before| !bytes.contains(&before))).count()
            as u64;
    }
    let mut sum = 0_u64;
    for alike in choices.chunk_by(|one, other| !one.is_empty() && one.first() == other.first()) {
        let Some((first, _)) = alike[0].split_first() else { continue };
        let first = match first {
            Piece::Byte(_) => 1,
            Piece::Whole(part) => body(part),
        };
        let rests: Vec<&[Piece<'_>]> = alike.iter().filter_map(|choice| Some(choice.split_first()?.1)).collect();
        sum = sum.saturating_add(first).saturating_add(alternatives(&rests));
    }
    sum
}

/// The ranges of bytes of a class; ends that are alike are one.
fn of_class(class: &Class) -> u64 {
    let Class::Unicode(class) = class else { return 1 };
    let mut ascii = Vec::new();
    let mut nodes: BTreeSet<Vec<(u8, u8)>> = BTreeSet::new();
    let mut above = 0;
    for range in class.ranges() {
        if range.start() < '\u{80}' {
            ascii.push((range.start() as u8, (range.end() as u32).min(0x7f) as u8));
        }
        if range.start() <= '\u{80}' && range.end() == char::MAX {
            above = ABOVE_ASCII;
        } else if range.end() >= '\u{80}' {
            for sequence in Utf8Sequences::new(range.start().max('\u{80}'), range.end()) {
                let bytes: Vec<(u8, u8)> =
                    sequence.as_slice().iter().map(|Utf8Range { start, end }| (*start, *end)).collect();
                nodes.extend((0..bytes.len()).map(|at| bytes[at..].to_vec()));
            }
        }
    }
    // Small and capital letters are one range to RE2, that does not mind their case.
    let folded = ascii.iter().filter(|(start, end)| {
        let is_letters = start.is_ascii_uppercase() && end.is_ascii_uppercase();
        is_letters && ascii.contains(&(start.to_ascii_lowercase(), end.to_ascii_lowercase()))
    });
    let others = if ascii.is_empty() { (nodes.len() as u64).min(ABOVE_ASCII) } else { 0 };
    ascii.len() as u64 - folded.count() as u64 + above + others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_re2_says() {
        // By google-re2 1.1.20251105, `programsize`.
        for (expression, wanted) in [
            ("", 4),
            ("abc", 7),
            ("a|b", 5),
            ("ab|cd", 8),
            ("abc|abd", 7),
            ("a*", 5),
            ("a+", 6),
            ("a?", 6),
            ("(a)", 7),
            ("(a+){10}", 44),
            ("(a+){50}", 204),
            ("[a-d]+", 6),
            (".", 12),
            (".*", 12),
            ("..", 20),
            ("[a-zA-Z0-9]", 6),
            ("é", 6),
            ("a{3,}", 8),
            ("a{0,3}", 10),
            ("a{3,5}", 11),
            ("(?:ab)+", 7),
            ("(ab)*", 8),
            ("[^a]", 12),
            ("192.168.(1[0-9]|3[4-7]|[1-9]|4[2-9]|[1-4][0-9]|5[3-8]|20[4-7]|53[0-5]).1", 54),
            (r"host-[0-9]+\.example\.com", 23),
            ("(us|eu)-(east|west)-[1-9]", 23),
            ("(?:foo|bar|baz)", 11),
            (r"\w", 7),
            (r"\d{3}", 7),
            ("(a{5}){5}", 39),
        ] {
            let parsed = regex_syntax::parse(expression).expect("an expression");
            assert_eq!(size(&parsed), wanted, "{expression}");
        }
    }

    #[test]
    fn hosts_in_a_row_share_their_names() {
        let hosts: Vec<String> = (0..40).map(|number| format!("rack-01-host-{number:02}")).collect();
        let parsed = regex_syntax::parse(&hosts.join("|")).expect("an expression");
        assert!(size(&parsed) <= 100, "{}", size(&parsed));
    }

    #[test]
    fn a_repetition_of_repetitions_is_counted_and_not_unrolled() {
        let deep = "((((((a{1000}){1000}){1000}){1000}){1000}){1000}){1000}";
        let parsed = regex_syntax::ParserBuilder::new().build().parse(deep).expect("an expression");
        assert!(size(&parsed) > 1 << 60);
    }
}
