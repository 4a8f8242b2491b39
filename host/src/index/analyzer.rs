//! Text to terms, in one way for entries and queries: NFKC, lower case, words stemmed by script, single characters and
//! pairs where a script has no spaces. Knows no index and keeps nothing.
use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::contract::index::Token;

/// Splits a text into its tokens, in the order of the text, stop words included and marked.
///
/// A character of a script without spaces is a token, and so is each pair of neighbours.
#[must_use]
pub fn analyze(text: &str) -> Vec<Token> {
    let normalised =
        if text.is_ascii() { text.to_ascii_lowercase() } else { text.nfkc().collect::<String>().to_lowercase() };
    let mut tokens = Vec::new();
    let mut rest = normalised.as_str();
    while let Some(first) = rest.chars().next() {
        let length = if is_unspaced(first) {
            let length = run(rest, is_unspaced);
            push_characters(&rest[..length], &mut tokens);
            length
        } else if begins_word(first) {
            let length = word(rest);
            tokens.push(token(&rest[..length]));
            length
        } else {
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// Whether the term stands for two neighbouring characters, each of which is a term of its own.
pub(super) fn is_pair(term: &str) -> bool {
    let mut characters = term.chars();
    characters.next().is_some_and(is_unspaced) && characters.next().is_some()
}

/// English; ascending.
#[rustfmt::skip]
const STOP_WORDS: [&str; 129] = [
    "a", "about", "above", "after", "again", "against", "all", "am", "an", "and", "any", "are", "as", "at", "be",
    "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "could", "did", "do", "does",
    "doing", "don", "down", "during", "each", "few", "for", "from", "further", "had", "has", "have", "having", "he",
    "her", "here", "hers", "herself", "him", "himself", "his", "how", "i", "if", "in", "into", "is", "it", "its",
    "itself", "just", "me", "more", "most", "my", "myself", "no", "nor", "not", "now", "of", "off", "on", "once",
    "only", "or", "other", "our", "ours", "ourselves", "out", "over", "own", "s", "same", "she", "should", "so", "some",
    "such", "t", "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there", "these", "they",
    "this", "those", "through", "to", "too", "under", "until", "up", "very", "was", "we", "were", "what", "when",
    "where", "which", "while", "who", "whom", "why", "will", "with", "would", "you", "your", "yours", "yourself",
    "yourselves",
];

fn push_characters(characters: &str, tokens: &mut Vec<Token>) {
    let mut push = |term: &str| tokens.push(Token { word: term.to_owned(), term: term.to_owned(), stop_word: false });
    let starts: Vec<usize> = characters.char_indices().map(|(at, _)| at).chain([characters.len()]).collect();
    for at in 0..starts.len() - 1 {
        push(&characters[starts[at]..starts[at + 1]]);
        if let Some(end) = starts.get(at + 2) {
            push(&characters[starts[at]..*end]);
        }
    }
}

/// A word as [`word`] delimits it.
fn token(spelled: &str) -> Token {
    let stem = spelled.strip_suffix("'s").or_else(|| spelled.strip_suffix("’s")).unwrap_or(spelled);
    let word = stem.replace(['\'', '’'], "");
    let stop_word = STOP_WORDS.binary_search(&word.as_str()).is_ok();
    let term = stemmed(&word).into_owned();
    Token { word, term, stop_word }
}

fn stemmed(word: &str) -> Cow<'_, str> {
    let algorithm = match word.chars().find(|c| c.is_alphabetic()) {
        Some('a'..='z' | 'ª' | 'º' | 'À'..='ɏ' | 'Ḁ'..='ỿ' | 'Ⱡ'..='Ɀ' | '꜠'..='ꟿ') => {
            Algorithm::English
        }
        Some('Ѐ'..='ԯ' | 'ᲀ'..='᲏' | 'Ꙁ'..='ꚟ') => Algorithm::Russian,
        _ => return Cow::Borrowed(word),
    };
    Stemmer::create(algorithm).stem(word)
}

/// Bytes of the word that the text begins with: a run, and if one apostrophe follows directly, the run behind it.
fn word(text: &str) -> usize {
    let first = run(text, continues_word);
    let Some(apostrophe) = text[first..].chars().next().filter(|c| matches!(c, '\'' | '’')) else {
        return first;
    };
    let second = first + apostrophe.len_utf8();
    if text[second..].starts_with(begins_word) { second + run(&text[second..], continues_word) } else { first }
}

/// Bytes at the start of the text whose characters all belong.
fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn begins_word(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

fn continues_word(c: char) -> bool {
    begins_word(c) || is_combining_mark(c) && !is_unspaced(c)
}

/// Kana, Han and Hangul.
fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{2fa1f}'
            | '\u{30000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms separated by spaces; a stop word stands in parentheses.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let terms: Vec<String> = analyze(text)
            .into_iter()
            .map(|token| if token.stop_word { format!("({})", token.term) } else { token.term })
            .collect();
        assert_eq!(terms.join(" "), expected);
    }

    #[test]
    fn words_are_lowered_and_stemmed() {
        check("Running RUNNERS ran", "run runner ran");
        check("hiking, camping; running-shoes", "hike camp run shoe");
    }

    #[test]
    fn stop_words_are_marked_before_stemming() {
        check("The cat was here", "(the) cat (was) (here)");
        check("doing", "(do)");
    }

    #[test]
    fn the_list_of_stop_words_ascends() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn one_apostrophe_stays_within_a_word() {
        check("don't can’t", "dont cant");
        check("Caroline's Caroline’s", "carolin carolin");
        check("rock'n'roll", "rockn roll");
        check("'quoted' it'", "quot (it)");
    }

    #[test]
    fn numbers_stay_and_underscores_separate() {
        check("2023 325,000 snake_case a1", "2023 325 000 snake case a1");
    }

    #[test]
    fn forms_of_one_text_are_equal() {
        check("Ｆｕｌｌ１２", "full12");
        check("cafe\u{301} café", "café café");
        check("ﬁne", "fine");
    }

    #[test]
    fn combining_marks_belong_to_their_word() {
        check("हिन्दी भाषा", "हिन्दी भाषा");
        check("x\u{304}t", "x\u{304}t");
    }

    #[test]
    fn scripts_without_spaces_give_characters_and_pairs() {
        check("咖啡店", "咖 咖啡 啡 啡店 店");
        check("猫", "猫");
        check("C语言 test", "c 语 语言 言 test");
        check("한국", "한 한국 국");
        check("𠀀𠀁", "𠀀 𠀀𠀁 𠀁");
        assert!(is_pair("咖啡") && !is_pair("猫") && !is_pair("cat"));
    }

    #[test]
    fn scripts_choose_their_stemmer() {
        check("книги книга", "книг книг");
        check("βιβλία", "βιβλία");
    }

    #[test]
    fn nothing_gives_nothing() {
        check("", "");
        check(" …!? \u{301}'", "");
    }

    #[test]
    fn any_text_passes() {
        let mut state = 1u64;
        for _ in 0..3_000 {
            let text: String = (0..12)
                .filter_map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let ceilings = [0x80, 0x250, 0x530, 0x3100, 0x11_0000];
                    char::from_u32(u32::try_from(state >> 33).unwrap() % ceilings[(state >> 29) as usize % 5])
                })
                .collect();
            for token in analyze(&text) {
                assert!(!token.word.is_empty(), "{text:?}");
            }
        }
    }
}
