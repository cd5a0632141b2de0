//! Amounts with units: times, memory, lists of seeds. A time without a unit is refused, not guessed.

use crate::study::nearest::hint;

/// Units of time with their microseconds, the largest first.
const TIMES: [(&str, i64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of memory with their mebibytes, the largest first.
const MEMORIES: [(&str, i64); 3] = [("TiB", 1 << 20), ("GiB", 1 << 10), ("MiB", 1)];

/// The longest time in a scenario: a hundred years, which is far from the end of the clock.
pub(crate) const TIME_MAX_US: i64 = 100 * 365 * 86_400_000_000;

/// The most memory in a scenario, in MiB: an exbibyte, which is far from where sums over a cluster end.
pub(crate) const MEMORY_MAX_MIB: i64 = 1 << 40;

/// A study goes through at most so many seeds. Each has its own line in the summary.
pub(crate) const SEEDS_MAX: usize = 100_000;

/// A time in microseconds, such as `90 s` or `1.5 h`.
pub(crate) fn micros(text: &str) -> Result<i64, String> {
    match amount(text, &TIMES, "a time", "10 s")? {
        micros if micros > TIME_MAX_US => Err(format!("{} is longer than a hundred years", text.trim())),
        micros => Ok(micros),
    }
}

/// A time or a range of times in microseconds, such as `1 ms` or `250 us..500 us`.
pub(crate) fn span(text: &str) -> Result<(i64, i64), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (micros(least)?, micros(most)?);
    if least <= most { Ok((least, most)) } else { Err(format!("\"{text}\" ends before it begins")) }
}

/// A span as it would be written.
pub(crate) fn show_span((least, most): (i64, i64)) -> String {
    if least == most { show_micros(least) } else { format!("{}..{}", show_micros(least), show_micros(most)) }
}

/// Memory in mebibytes, such as `16 GiB`.
pub(crate) fn mebibytes(text: &str) -> Result<u64, String> {
    match amount(text, &MEMORIES, "an amount of memory", "16 GiB")? {
        mebibytes if mebibytes > MEMORY_MAX_MIB => Err(format!("{} is more than an exbibyte", text.trim())),
        mebibytes => Ok(mebibytes.unsigned_abs()),
    }
}

/// What is said of a number where an amount with a unit belongs.
pub(crate) fn missing(what: &str, example: &str, units: &[(&str, i64)]) -> String {
    let units: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
    format!("is {what} and needs its unit, as in \"{example}\" (units: {})", units.join(", "))
}

pub(crate) fn time_without_unit() -> String {
    missing("a time", "10 s", &TIMES)
}

pub(crate) fn memory_without_unit() -> String {
    missing("an amount of memory", "16 GiB", &MEMORIES)
}

fn amount(text: &str, units: &[(&str, i64)], what: &str, example: &str) -> Result<i64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    if unit.is_empty() || number.is_empty() {
        return Err(missing(what, example, units));
    }
    let Some((_, size)) = units.iter().find(|(one, _)| *one == unit) else {
        let names = units.iter().map(|(unit, _)| *unit);
        let listed: Vec<&str> = names.clone().collect();
        let near = hint(unit, names);
        return Err(format!("'{unit}' is no unit of {what} (units: {}){near}", listed.join(", ")));
    };
    decimal(number, *size).ok_or_else(|| format!("{text} is too much, or not a whole number of the smallest unit"))
}

/// A decimal number times `size`, exactly; none when the product is not whole or too large.
fn decimal(number: &str, size: i64) -> Option<i64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    let scale = 10_i128.checked_pow(part.len().try_into().ok()?)?;
    let product = digits.checked_mul(size.into())?;
    (product % scale == 0).then(|| product / scale).and_then(|value| value.try_into().ok())
}

/// A time as it would be written: in the largest unit of which it is a whole number.
pub(crate) fn show_micros(value: i64) -> String {
    show(value, &TIMES, "s")
}

/// Memory as it would be written.
pub(crate) fn show_mebibytes(value: u64) -> String {
    show(value.try_into().unwrap_or(i64::MAX), &MEMORIES, "MiB")
}

fn show(value: i64, units: &[(&str, i64)], zero: &str) -> String {
    match units.iter().find(|(_, size)| value != 0 && value % size == 0) {
        Some((unit, size)) => format!("{} {unit}", value / size),
        None => format!("{value} {zero}"),
    }
}

/// Seeds, such as `1-10` or `1,5,9-12`; ascending within each part, in the order given.
pub(crate) fn seeds(text: &str) -> Result<Vec<u64>, String> {
    let wrong = || format!("\"{text}\" are no seeds; write them as in \"1-10\" or \"1,5,9-12\"");
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(wrong());
        }
        if last - first >= (SEEDS_MAX - all.len()) as u64 {
            return Err(format!("these are more than {SEEDS_MAX} seeds"));
        }
        all.extend(first..=last);
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() < all.len() { Err(format!("\"{text}\" names a seed twice")) } else { Ok(all) }
}

/// Seeds as they would be written.
pub(crate) fn show_seeds(seeds: &[u64]) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for &seed in seeds {
        match parts.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(seed) => *last = seed,
            _ => parts.push((seed, seed)),
        }
    }
    let show = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    parts.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!(micros("1.5 h"), Ok(5_400_000_000));
        assert_eq!(micros("250ms"), Ok(250_000));
        assert_eq!(mebibytes("16 GiB"), Ok(16_384));
        assert_eq!((span("0.5 ms"), span("250us .. 1 ms")), (Ok((500, 500)), Ok((250, 1000))));
        assert!(span("2 ms..1 ms").is_err() && span("1..2 ms").is_err());
        let wrong = |text: &str| micros(text).expect_err("refused");
        assert!(wrong("10").contains("needs its unit"), "{}", wrong("10"));
        assert!(wrong("10 mins").contains("did you mean 'min'?"), "{}", wrong("10 mins"));
        assert!(wrong("0.5 us").contains("not a whole number"), "{}", wrong("0.5 us"));
        assert!(mebibytes("16 GB").expect_err("refused").contains("did you mean 'GiB'?"));
        assert!(wrong("99999999999999 d").contains("too much"));
    }

    #[test]
    fn seeds_are_listed() {
        assert_eq!(seeds("1-3,7"), Ok(vec![1, 2, 3, 7]));
        for text in ["", "3-1", "1,1", "a", "0-18446744073709551615", "1-"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(value in 0..TIME_MAX_US, memory in 0..=MEMORY_MAX_MIB.unsigned_abs(), first in 0..1000_u64, count in 1..9_u64) {
            prop_assert_eq!(micros(&show_micros(value)), Ok(value));
            let most = value.saturating_add(count as i64).min(TIME_MAX_US);
            prop_assert_eq!(span(&show_span((value, most))), Ok((value, most)));
            prop_assert_eq!(mebibytes(&show_mebibytes(memory)), Ok(memory));
            let list: Vec<u64> = (first..first + count).chain([2000]).collect();
            prop_assert_eq!(seeds(&show_seeds(&list)), Ok(list));
        }
    }
}
