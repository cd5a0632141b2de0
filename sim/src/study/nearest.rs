//! The word that was meant, as the end of a sentence.

use kaon_kernel::nearest::nearest;

/// What a refusal ends with when a known word is near; else nothing.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |other| format!("; did you mean '{other}'?"))
}
