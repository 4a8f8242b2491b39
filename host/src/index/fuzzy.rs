//! A word that nobody wrote, and the nearest one that somebody did: one edit away, two for a long word. Bounded: only words of
//! nearly the same length with the same first letter are compared, and only for a query word without any entry.

/// Shorter words have too many neighbours that mean something else.
const SHORTEST: usize = 5;
/// From here on two edits.
const LONG: usize = 9;

/// The nearest of the words, of equally near ones the one in the most rows, then the first by its letters. `words`: number,
/// name and rows of each. None where nothing is near, or the word is too short or has a digit.
pub(super) fn nearest<'n>(word: &str, words: impl Iterator<Item = (u32, &'n str, u32)>) -> Option<u32> {
    let wanted: Vec<char> = word.chars().collect();
    if wanted.len() < SHORTEST || !wanted.iter().all(|c| c.is_alphabetic()) {
        return None;
    }
    let edits = if wanted.len() < LONG { 1 } else { 2 };
    let first = word.chars().next()?;
    let mut best: Option<(usize, std::cmp::Reverse<u32>, &str, u32)> = None;
    for (number, name, rows) in words {
        // Bytes first: it costs nothing, and letters have at most four.
        if rows == 0 || !name.starts_with(first) || name.len().abs_diff(word.len()) > 4 * edits {
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
        let numbered = (0..).zip(words).map(|(number, name)| (number, name, u32::from(name != "violinist")));
        assert_eq!(nearest(word, numbered).map(|number| words[number as usize]), expected, "{word}");
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
