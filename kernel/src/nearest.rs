//! The word that was meant: for refusals that name it.

/// The known word that the fewest changes lead to, if they are at most a third of its length. Cost: the product of the
/// lengths for each known word; callers bound both.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = known.into_iter().map(|other| (changes(word, other), other)).min();
    best.filter(|(changes, _)| *changes <= word.chars().count().div_ceil(3)).map(|(_, other)| other)
}

/// How many characters have to be put in, taken out, replaced or swapped with their neighbour (optimal string alignment).
/// Cost: the product of the lengths.
pub fn changes(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut fewest = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                fewest = fewest.min(rows[i - 2][j - 2] + 1);
            }
            row.push(fewest);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_leads_to_the_word_and_another_word_to_none() {
        let known = ["policy", "cores", "gpu-share"];
        assert_eq!(nearest("polciy", known), Some("policy"));
        assert_eq!(nearest("gpu_share", known), Some("gpu-share"));
        assert_eq!(nearest("quite-another", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn changes_are_counted() {
        let pairs = [("", "abc"), ("abc", "abc"), ("abd", "abc"), ("kitten", "sitting"), ("wrost", "worst")];
        assert_eq!(pairs.map(|(from, to)| changes(from, to)), [3, 0, 1, 3, 1]);
    }
}
