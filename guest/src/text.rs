//! The strings that are made of a memory: what is embedded, what is indexed as words, and how long texts are cut
//! (passages). Nothing here asks the host.
use crate::calendar::Date;
use crate::moments::moments;
use crate::types::Content;
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// NFC without outer white space: what makes two texts the same.
pub(crate) fn normal(text: &str) -> String {
    text.trim().nfc().collect()
}

/// In any case, by Unicode's default folding, character by character.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// What makes of each passage the text that is embedded: `ACTOR: ` before it, unless the whole text names its actor
/// itself.
pub(crate) fn embedded(content: &Content) -> impl Fn(&str) -> String {
    let actor = content.actor.as_deref().filter(|actor| !names(&content.text, actor));
    move |passage| match actor {
        Some(actor) => format!("{actor}: {passage}"),
        None => passage.to_owned(),
    }
}

/// `[7 May 2023] ACTOR: ` before what is indexed as words.
///
/// Relative times of the passage follow as dates: whoever asks later cannot know what "yesterday" was.
pub(crate) fn indexed(content: &Content, passage: &str) -> String {
    let mut out = String::with_capacity(passage.len() + 40);
    if let Some(at) = content.at {
        out.push('[');
        out.push_str(&Date::of(at).spoken());
        out.push_str("] ");
    }
    if let Some(actor) = &content.actor {
        out.push_str(actor);
        out.push_str(": ");
    }
    out.push_str(passage);
    if let Some(at) = content.at {
        for moment in moments(passage, Date::of(at).days()) {
            out.push_str(" [");
            out.push_str(&moment.spoken());
            out.push(']');
        }
    }
    out
}

/// Whether a text names someone: the name as whole words, in any case.
pub(crate) fn names(text: &str, name: &str) -> bool {
    names_folded(&fold(text), name)
}

/// As [`names`], for a text that is folded.
pub(crate) fn names_folded(text: &str, name: &str) -> bool {
    let name = fold(name);
    let bounded = |place: usize| {
        let before = text[..place].chars().next_back();
        let after = text[place + name.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    };
    !name.is_empty() && text.match_indices(&name).any(|(place, _)| bounded(place))
}

/// A text of at most so many words stays whole …
const WHOLE: usize = 175;
/// … otherwise sentences are packed up to so many …
const PACKED: usize = 140;
/// … and a piece without breaks is cut once it passes so many.
const UNBROKEN: usize = 210;
/// What the contract takes of one entry.
const PASSAGES: usize = 4_096;

/// Cuts a text into the passages that the model reads in one go, in order; together they cover it, white space between
/// them aside.
pub(crate) fn passages(text: &str) -> Vec<Range<usize>> {
    let words = words(text);
    if words.iter().map(|w| w.weight).sum::<usize>() <= WHOLE {
        let trimmed = text.trim_start();
        let start = text.len() - trimmed.len();
        let whole = start..start + trimmed.trim_end().len();
        return Vec::from([whole]);
    }
    let packed = pack(&words, true);
    if packed.len() > PASSAGES { pack(&words, false) } else { packed }
}

/// How many words a text has that ends in a question mark.
pub(crate) fn words_of_question(text: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a text has at most a million words")]
    let count = |words: Vec<Word>| words.iter().map(|word| word.weight).sum::<usize>() as f64;
    text.trim_end().ends_with(['?', '？']).then(|| count(words(text)))
}

/// A stretch without white space.
struct Word {
    bytes: Range<usize>,
    /// How many words the model sees in it: 1 up to 12 characters; characters of scripts without spaces count singly.
    weight: usize,
    /// A sentence or a line ends behind it.
    ends: bool,
}

fn words(text: &str) -> Vec<Word> {
    let mut out: Vec<Word> = vec![];
    let mut place = 0;
    for stretch in text.split_inclusive(char::is_whitespace) {
        let word = stretch.trim_end();
        let line_end = stretch.ends_with(['\n', '\r', '\u{2028}', '\u{2029}']);
        if word.is_empty() {
            if let Some(last) = out.last_mut() {
                last.ends |= line_end;
            }
        } else {
            let sentence_end = word.ends_with(['.', '!', '?', '。', '！', '？']);
            split_long(place..place + word.len(), word, &mut out);
            let last = out.last_mut().expect("one was pushed");
            last.ends = sentence_end || line_end;
        }
        place += stretch.len();
    }
    out
}

/// Pushes a stretch as one word, or in pieces that a passage can hold where it has no spaces.
fn split_long(bytes: Range<usize>, word: &str, out: &mut Vec<Word>) {
    let mut start = bytes.start;
    let (mut singly, mut others) = (0, 0);
    let weight = |singly: usize, others: usize| (singly + others.div_ceil(12)).max(1);
    for (place, c) in word.char_indices() {
        if weight(singly, others) >= 35 {
            out.push(Word { bytes: start..bytes.start + place, weight: weight(singly, others), ends: false });
            start = bytes.start + place;
            (singly, others) = (0, 0);
        }
        *(if is_dense_script(c) { &mut singly } else { &mut others }) += 1;
        if matches!(c, '。' | '！' | '？') {
            let end = bytes.start + place + c.len_utf8();
            out.push(Word { bytes: start..end, weight: weight(singly, others), ends: true });
            start = end;
            (singly, others) = (0, 0);
        }
    }
    if start < bytes.end {
        out.push(Word { bytes: start..bytes.end, weight: weight(singly, others), ends: false });
    }
}

/// Scripts in which about every character is a word piece of its own.
fn is_dense_script(c: char) -> bool {
    matches!(u32::from(c), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x1_f000..=0x1_faff | 0x2_0000..=0x3_ffff)
}

/// How many characters stand where a script has no spaces.
pub(crate) fn unspaced(text: &str) -> usize {
    text.chars().filter(|c| is_dense_script(*c)).count()
}

fn pack(words: &[Word], at_sentences: bool) -> Vec<Range<usize>> {
    let mut pieces: Vec<(Range<usize>, usize)> = vec![];
    let mut start = 0;
    let mut weight = 0;
    // Sentences; what has no break is cut at PACKED once it passes UNBROKEN.
    for (place, word) in words.iter().enumerate() {
        weight += word.weight;
        let last = place + 1 == words.len();
        if !(last || (at_sentences && word.ends) || weight > UNBROKEN) {
            continue;
        }
        while weight > UNBROKEN || (weight > PACKED && !at_sentences) {
            let mut kept = 0;
            let mut end = start;
            while end <= place && (end == start || kept + words[end].weight <= PACKED) {
                kept += words[end].weight;
                end += 1;
            }
            pieces.push((words[start].bytes.start..words[end - 1].bytes.end, kept));
            start = end;
            weight -= kept;
        }
        if start <= place && (last || (at_sentences && word.ends)) {
            pieces.push((words[start].bytes.start..word.bytes.end, weight));
            start = place + 1;
            weight = 0;
        }
    }
    // Greedily packed up to PACKED.
    let mut out: Vec<(Range<usize>, usize)> = vec![];
    for (bytes, weight) in pieces {
        match out.last_mut() {
            Some((packed, sum)) if *sum + weight <= PACKED => {
                packed.end = bytes.end;
                *sum += weight;
            }
            _ => out.push((bytes, weight)),
        }
    }
    out.into_iter().map(|(bytes, _)| bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lengths(text: &str, expected: &[usize]) {
        let found = passages(text);
        let mut covered: String = found.iter().map(|range| &text[range.clone()]).collect();
        covered.retain(|c| !c.is_whitespace());
        assert_eq!(covered, text.split_whitespace().collect::<String>(), "passages cover the text");
        let found: Vec<usize> = found.iter().map(|range| text[range.clone()].split_whitespace().count()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn short_texts_stay_whole() {
        lengths(" Ana is vegetarian. ", &[3]);
        lengths(&"word ".repeat(175), &[175]);
    }

    #[test]
    fn long_texts_are_packed_by_sentences() {
        let sentence = format!("{}end. ", "word ".repeat(49));
        lengths(&sentence.repeat(4), &[100, 100]);
        lengths(&format!("{}\n", "word ".repeat(100)).repeat(3), &[100, 100, 100]);
        lengths(&"word ".repeat(300), &[140, 160]);
        lengths(&format!("{} {}", "word ".repeat(205), "end. ".repeat(3)), &[206, 2]);
    }

    #[test]
    fn scripts_without_spaces_are_cut_too() {
        let text = "我喜欢在周末去山里散步。".repeat(40);
        let found = passages(&text);
        assert!(found.len() >= 3, "{}", found.len());
        assert!(found.iter().all(|range| text[range.clone()].chars().count() <= 140));
        assert_eq!(found.iter().map(ExactSizeIterator::len).sum::<usize>(), text.len());
    }

    #[test]
    fn the_largest_texts_fit_an_entry() {
        for text in [
            "a ".repeat(1 << 19),
            "x".repeat(1 << 20),
            "a. ".repeat(300_000),
            format!("{}. b. ", "a ".repeat(139)).repeat(3_600),
        ] {
            assert!(passages(&text).len() <= PASSAGES);
        }
    }

    #[test]
    fn whole_names_in_any_case() {
        assert!(names("caroline adopted a dog", "Caroline"));
        assert!(names("Is this Caroline's dog?", "Caroline"));
        assert!(!names("Anabel slept", "Ana"));
        assert!(!names("a dog", ""));
        assert!(names("STRASSE", "straße"));
    }

    #[test]
    fn words_carry_date_and_actor() {
        let mut content = crate::fakes::content("Hi there", "u");
        assert_eq!((embedded(&content)("Hi"), indexed(&content, "Hi")), ("Hi".into(), "Hi".into()));
        content.actor = Some("Mel".into());
        content.at = Some(1_683_554_160_000);
        assert_eq!(embedded(&content)("Hi"), "Mel: Hi");
        assert_eq!(indexed(&content, "Hi"), "[8 May 2023] Mel: Hi");
        assert_eq!(indexed(&content, "I left yesterday"), "[8 May 2023] Mel: I left yesterday [7 May 2023]");
        content.text = "Mel said hi".into();
        assert_eq!(embedded(&content)("Mel said hi"), "Mel said hi");
    }
}
