//! A word that nobody wrote, and the nearest one that somebody did: one edit away, two for a long word. Only words of
//! nearly the same length with the same first letter are compared, and only for a query word without any entry.
use std::collections::HashMap;

/// Shorter words have too many neighbours that mean something else.
const SHORTEST: usize = 5;
/// From here on two edits.
const LONG: usize = 9;
/// Longer ones are no words.
const LONGEST: usize = 32;

/// Numbers of words by their first letter and how many letters they have.
#[derive(Default)]
pub(super) struct Shelves(HashMap<(char, usize), Vec<u32>>);

impl Shelves {
    /// Takes in a word that is new; one that is near to nothing is left out.
    pub(super) fn insert(&mut self, number: u32, name: &str) {
        let n_letters = name.chars().count();
        if n_letters + 1 >= SHORTEST
            && n_letters <= LONGEST + 2
            && let Some(first) = name.chars().next()
        {
            self.0.entry((first, n_letters)).or_default().push(number);
        }
    }

    /// Those among which the nearest to a word is; none where it is too short or too long, or has a digit.
    pub(super) fn around(&self, word: &str) -> Option<impl Iterator<Item = u32>> {
        let n_letters = word.chars().count();
        if !(SHORTEST..=LONGEST).contains(&n_letters) || !word.chars().all(char::is_alphabetic) {
            return None;
        }
        let first = word.chars().next()?;
        let edits = edits(n_letters);
        let shelf = move |n| self.0.get(&(first, n)).into_iter().flatten().copied();
        Some((n_letters - edits..=n_letters + edits).flat_map(shelf))
    }

    /// Estimate of the memory held.
    pub(super) fn bytes(&self) -> u64 {
        self.0.values().map(|numbers| 4 * numbers.capacity() as u64 + 48).sum()
    }
}

fn edits(n_letters: usize) -> usize {
    if n_letters < LONG { 1 } else { 2 }
}

/// The nearest of the words, of equally near ones the one in the most rows, then the first by its letters. `words`: number,
/// name and rows of each, as [`Shelves::around`] gives them.
pub(super) fn nearest<'n>(word: &str, words: impl Iterator<Item = (u32, &'n str, u32)>) -> Option<u32> {
    let wanted: Vec<char> = word.chars().collect();
    let edits = edits(wanted.len());
    let mut best: Option<(usize, std::cmp::Reverse<u32>, &str, u32)> = None;
    for (number, name, rows) in words {
        if rows == 0 {
            continue;
        }
        let found: Vec<char> = name.chars().collect();
        let Some(distance) = within(&wanted, &found, edits) else { continue };
        let candidate = (distance, std::cmp::Reverse(rows), name, number);
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    best.map(|(_, _, _, number)| number)
}

/// Letters put in, left out, changed or swapped with the next (optimal string alignment); none beyond the limit.
fn within(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>(), vec![0; b.len() + 1]];
    for i in 1..=a.len() {
        let [before, above, row] = &mut rows;
        row[0] = i;
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        if row.iter().all(|distance| *distance > limit) {
            return None;
        }
        rows.rotate_left(1);
    }
    Some(rows[1][b.len()]).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let words =
            ["vegetarian", "violin", "violinist", "lesson", "lessen", "grüße", "shelter", "r2d2x", "adopt", "cat"];
        let mut shelves = Shelves::default();
        (0..).zip(words).for_each(|(number, name)| shelves.insert(number, name));
        let told = |number: u32| {
            let name = words[number as usize];
            (number, name, u32::from(name != "violinist"))
        };
        let found = shelves.around(word).and_then(|around| nearest(word, around.map(told)));
        assert_eq!(found.map(|number| words[number as usize]), expected, "{word}");
    }

    #[test]
    fn one_edit_or_two() {
        check("vegetarain", Some("vegetarian"));
        check("vegitarain", Some("vegetarian"));
        check("vialin", Some("violin"));
        check("violn", Some("violin"));
        check("violins", Some("violin"));
        check("lessan", Some("lessen"));
        check("grüsse", None);
        check("grüsee", None);
        check("adpot", Some("adopt"));
    }

    #[test]
    fn what_is_too_far_or_too_short() {
        check("cat", None);
        check("car", None);
        check("shalters", None);
        check("xiolin", None);
        check("r2d3x", None);
        check("violinest", None);
        check("", None);
    }
}
