//! What a short text says, as far as words tell: whether two say the same, and whether one takes back what the other said.
//! Rules for English, in part for Chinese; nothing here asks the host. A cosine alone decides neither: swapped roles and
//! other numbers look the same to it, and a correction shares a subject with what it corrects, not a wording.
use crate::index::Token;
use crate::text::unspaced;
use std::collections::BTreeSet;

/// A text, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Saying {
    /// Normalised, in order.
    words: Vec<String>,
    /// As indexed, in order, stop words too.
    terms: Vec<String>,
    /// Terms that are neither stop words nor told below.
    content: BTreeSet<String>,
    /// In digits or in words, ascending.
    numbers: Vec<String>,
    /// Weekdays and months, ascending.
    days: Vec<String>,
    /// Words with a capital that do not begin the text.
    names: BTreeSet<String>,
    negated: bool,
}

impl Saying {
    /// `tokens` are those of the text.
    pub(crate) fn new(text: &str, tokens: &[Token]) -> Saying {
        let words: Vec<String> = tokens.iter().map(|token| token.word.clone()).collect();
        let all = |test: fn(&str) -> bool| {
            let mut found: Vec<String> = words.iter().filter(|word| test(word)).cloned().collect();
            found.sort_unstable();
            found
        };
        let content = tokens.iter().filter(|token| !token.stop_word && !told_apart(&token.word));
        let mut names = BTreeSet::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).skip(1) {
            if word.starts_with(char::is_uppercase) {
                names.insert(word.to_lowercase());
            }
        }
        Saying {
            content: content.map(|token| token.term.clone()).collect(),
            terms: tokens.iter().map(|token| token.term.clone()).collect(),
            numbers: all(is_number),
            days: all(is_day),
            names,
            negated: words.iter().any(|word| is_negation(word)),
            words,
        }
    }

    /// Whether both say the same. `cosine`: none where the model does not know the language; then the words have to agree
    /// nearly to the last.
    pub(crate) fn repeats(&self, other: &Saying, cosine: Option<f32>) -> bool {
        if self.words == other.words {
            return true;
        }
        let (likeness, order) = match cosine {
            Some(cosine) if cosine < 0.95 => return false,
            Some(_) => (0.8, 0.8),
            None => (0.9, 0.9),
        };
        self.negated == other.negated
            && self.numbers == other.numbers
            && self.days == other.days
            && self.names.iter().all(|name| other.words.contains(name))
            && other.names.iter().all(|name| self.words.contains(name))
            && !self.opposes(other)
            && jaccard(&self.terms, &other.terms) >= likeness
            && in_order(&self.terms, &other.terms) >= order
    }

    /// Whether this later saying takes back an earlier one: of one subject it says another number, day or place, denies it
    /// or says its opposite. `cosine`: none where the model does not know the language.
    pub(crate) fn corrects(&self, earlier: &Saying, cosine: Option<f32>) -> bool {
        let shared = self.content.intersection(&earlier.content).count();
        let least = self.content.len().min(earlier.content.len());
        if shared == 0 || cosine.is_some_and(|cosine| cosine < 0.5) {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "words are few")]
        let overlap = shared as f32 / least as f32;
        let same_subject = overlap >= 0.6 && (shared >= 2 || least == 1);
        let other = |a: &[String], b: &[String]| !a.is_empty() && !b.is_empty() && a != b;
        let states = self.states() && earlier.states();
        let denies = self.negated != earlier.negated || self.opposes(earlier);
        let differs = states && (other(&self.numbers, &earlier.numbers) || other(&self.days, &earlier.days));
        if same_subject && (denies || differs) {
            return true;
        }
        let moves_on = self.content.difference(&earlier.content).next().is_some();
        moves_on
            && self.subject() == earlier.subject()
            && (self.fills(earlier, overlap) || self.changes() && same_subject)
    }

    /// Whether both give a value to what has only one, and not the same.
    fn fills(&self, earlier: &Saying, overlap: f32) -> bool {
        let lost = earlier.content.difference(&self.content).next().is_some();
        let both = |test: &dyn Fn(&Saying) -> bool| test(self) && test(earlier);
        let followed = |saying: &Saying, verbs: &[&str], by: &[&str]| {
            saying.words.windows(2).any(|pair| verbs.contains(&pair[0].as_str()) && by.contains(&pair[1].as_str()))
        };
        let placed = SINGLE_PLACES.iter().any(|(verbs, by)| both(&|saying| followed(saying, verbs, by)));
        let named = SINGLE_THINGS.iter().any(|thing| both(&|saying| saying.words.iter().any(|word| word == thing)));
        lost && (placed || named && overlap >= 0.6)
    }

    fn subject(&self) -> Option<&String> {
        self.words.iter().find(|word| !matches!(word.as_str(), "the" | "a" | "an" | "now" | "since" | "currently"))
    }

    fn states(&self) -> bool {
        self.words.iter().any(|word| STATES.contains(&word.as_str()))
    }

    fn changes(&self) -> bool {
        let words = || self.words.iter().map(String::as_str);
        words().any(|word| CHANGES.contains(&word)) || words().zip(words().skip(1)).any(|pair| pair == ("no", "longer"))
    }

    fn opposes(&self, other: &Saying) -> bool {
        let has = |saying: &Saying, word: &str| saying.words.iter().any(|w| w == word);
        OPPOSITES.iter().any(|(a, b)| {
            let only = |left: &str, right: &str| {
                has(self, left) && !has(self, right) && has(other, right) && !has(other, left)
            };
            only(a, b) || only(b, a)
        })
    }
}

/// Of all terms the share that both have.
#[expect(clippy::cast_precision_loss, reason = "words are few")]
fn jaccard(a: &[String], b: &[String]) -> f32 {
    let (a, b): (BTreeSet<&String>, BTreeSet<&String>) = (a.iter().collect(), b.iter().collect());
    let shared = a.intersection(&b).count();
    shared as f32 / (a.len() + b.len() - shared).max(1) as f32
}

/// Of the shorter sequence the share that both have in one order (longest common subsequence).
#[expect(clippy::cast_precision_loss, reason = "words are few")]
fn in_order(a: &[String], b: &[String]) -> f32 {
    let mut above = vec![0_usize; b.len() + 1];
    for left in a {
        let mut row = vec![0; b.len() + 1];
        for (place, right) in b.iter().enumerate() {
            row[place + 1] = if left == right { above[place] + 1 } else { above[place + 1].max(row[place]) };
        }
        above = row;
    }
    above[b.len()] as f32 / a.len().min(b.len()).max(1) as f32
}

/// Words that are compared by themselves.
fn told_apart(word: &str) -> bool {
    is_number(word) || is_day(word) || is_negation(word) || CHANGES.contains(&word)
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_numeric()) || NUMBERS.contains(&word)
}

fn is_day(word: &str) -> bool {
    DAYS.contains(&word)
}

/// Contractions come without their apostrophe.
fn is_negation(word: &str) -> bool {
    NEGATIONS.contains(&word) || word.strip_suffix("nt").is_some_and(|verb| AUXILIARIES.contains(&verb))
}

/// Whether the text is short enough for such rules.
pub(crate) fn is_short(text: &str) -> bool {
    text.split_whitespace().count() + unspaced(text) / 2 <= 60
}

#[rustfmt::skip]
const NUMBERS: [&str; 28] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty",
    "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand", "million", "half",
    "double", "twice", "once",
];

#[rustfmt::skip]
const DAYS: [&str; 19] = [
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january", "february", "march", "april",
    "may", "june", "july", "august", "september", "october", "november", "december",
];

const NEGATIONS: [&str; 15] = [
    "no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "不", "没", "無", "无",
    "别",
];

const AUXILIARIES: [&str; 17] = [
    "do", "does", "did", "is", "are", "was", "were", "wo", "would", "ca", "could", "should", "has", "have", "had",
    "must", "need",
];

/// Words that say that something is no longer as it was.
const CHANGES: [&str; 12] = [
    "now", "anymore", "instead", "changed", "switched", "moved", "stopped", "quit", "longer", "renamed", "replaced",
    "became",
];

/// Words of statements that hold, other than of things that happened.
#[rustfmt::skip]
const STATES: [&str; 26] = [
    "is", "are", "am", "im", "has", "have", "costs", "cost", "lives", "live", "works", "work", "weighs", "needs", "wants",
    "prefers", "uses", "owns", "earns", "takes", "starts", "opens", "是", "有", "在", "住",
];

/// Verbs that lead to the one place where someone is, and the words between.
const SINGLE_PLACES: [(&[&str], &[&str]); 3] = [
    (&["live", "lives", "living", "resides", "moved", "relocated", "move"], &["in", "at", "to"]),
    (&["work", "works", "working", "employed"], &["at", "for", "as"]),
    (&["study", "studies", "studying", "enrolled"], &["at", "in"]),
];

/// Things of which there is one.
const SINGLE_THINGS: [&str; 14] = [
    "favourite",
    "favorite",
    "address",
    "email",
    "phone",
    "birthday",
    "name",
    "password",
    "deadline",
    "boss",
    "manager",
    "capital",
    "nickname",
    "job",
];

#[rustfmt::skip]
const OPPOSITES: [(&str, &str); 40] = [
    ("higher", "lower"), ("high", "low"), ("up", "down"), ("rise", "fall"), ("rose", "fell"), ("more", "less"),
    ("before", "after"), ("won", "lost"), ("wins", "loses"), ("buys", "sells"), ("bought", "sold"), ("open", "closed"),
    ("opened", "closed"), ("opens", "closes"), ("started", "stopped"), ("starts", "stops"), ("loves", "hates"),
    ("love", "hate"), ("likes", "dislikes"), ("like", "dislike"), ("likes", "hates"), ("like", "hate"), ("good", "bad"),
    ("best", "worst"), ("hot", "cold"), ("left", "right"), ("increased", "decreased"), ("accepted", "rejected"),
    ("allowed", "forbidden"), ("always", "never"), ("inside", "outside"), ("above", "below"), ("on", "off"),
    ("alive", "dead"), ("married", "divorced"), ("married", "single"), ("with", "without"), ("enabled", "disabled"),
    ("morning", "evening"), ("true", "false"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::words;

    /// Stems as far as these cases need it, and the stop words of the real analyzer that they have.
    fn saying(text: &str) -> Saying {
        const STOP: [&str; 28] = [
            "the", "a", "an", "is", "are", "am", "i", "in", "at", "to", "on", "of", "for", "as", "and", "not", "no",
            "does", "do", "her", "his", "my", "with", "now", "she", "he", "it", "has",
        ];
        let tokens: Vec<Token> = words(&text.replace(['\'', '’'], ""))
            .into_iter()
            .map(|token| {
                let term = token.word.strip_suffix('s').unwrap_or(&token.word).to_owned();
                let stop_word = STOP.contains(&token.word.as_str());
                Token { word: token.word, term, stop_word }
            })
            .collect();
        Saying::new(text, &tokens)
    }

    #[track_caller]
    fn repeats(a: &str, b: &str, expected: bool) {
        assert_eq!(saying(a).repeats(&saying(b), Some(0.97)), expected, "{a} / {b}");
        assert_eq!(saying(b).repeats(&saying(a), Some(0.97)), expected, "{b} / {a}");
    }

    #[test]
    fn the_same_in_other_words() {
        repeats("Ana adopted a grey cat from the shelter", "Ana adopted a grey cat from the shelter.", true);
        repeats("Ana adopted a grey cat from the shelter", "Ana has adopted a grey cat from the shelter", true);
        repeats("The train to Graz leaves at noon each day", "The trains to Graz leave at noon each day", true);
        assert!(saying("A, b; c").repeats(&saying("a b c"), None));
        assert!(!saying("Ana has adopted a grey cat").repeats(&saying("Ana adopted a grey cat"), Some(0.94)));
    }

    #[test]
    fn what_only_looks_the_same() {
        for (a, b) in [
            ("The rent of the flat in Graz is 900 euros", "The rent of the flat in Graz is 950 euros"),
            ("Ana has two cats and a very old dog at home", "Ana has three cats and a very old dog at home"),
            ("Ana does eat fish on most days of the week", "Ana does not eat fish on most days of the week"),
            ("Ana doesn't eat fish on most days of the week", "Ana does eat fish on most days of the week"),
            ("The lesson with her teacher is on Tuesday at noon", "The lesson with her teacher is on Friday at noon"),
            ("The trip to the sea is planned for early May", "The trip to the sea is planned for early June"),
            ("Yesterday Ana met Paul at the station in Graz", "Yesterday Ana met Mel at the station in Graz"),
            ("Shares of the company closed higher at noon today", "Shares of the company closed lower at noon today"),
            ("A man is carrying a canoe with a dog", "A dog is carrying a man in a canoe"),
        ] {
            repeats(a, b, false);
        }
    }

    #[track_caller]
    fn corrects(earlier: &str, later: &str, expected: bool) {
        assert_eq!(saying(later).corrects(&saying(earlier), Some(0.7)), expected, "{earlier} / {later}");
    }

    #[test]
    fn later_sayings_that_take_back_earlier_ones() {
        for (earlier, later) in [
            ("Ana lives in Graz", "Ana lives in Vienna"),
            ("Ana lives in Graz", "Ana moved to Vienna"),
            ("Ana works at Bloom", "Ana works for Root"),
            ("Ana works at Bloom", "Ana now works at Root"),
            ("The rent is 900 euros", "The rent is 950 euros"),
            ("Ana has two cats", "Ana has three cats"),
            ("The violin lesson is on Tuesday", "The violin lesson is on Wednesday"),
            ("Ana eats fish", "Ana does not eat fish"),
            ("Ana eats fish", "Ana no longer eats fish"),
            ("Ana doesn't drink coffee", "Ana drinks coffee"),
            ("Ana likes the new office", "Ana hates the new office"),
            ("Ana is married to Paul", "Ana is divorced from Paul"),
            ("Ana's favourite colour is blue", "Ana's favourite colour is green"),
            ("My email is ana@old.example", "My email is ana@new.example"),
            ("The deploy key is enabled", "The deploy key is disabled"),
        ] {
            corrects(earlier, later, true);
        }
    }

    #[test]
    fn sayings_that_stand_beside_each_other() {
        for (earlier, later) in [
            ("Ana likes tea", "Ana likes coffee"),
            ("Ana lives in Graz", "Ana lives with two cats"),
            ("Ana lives in Graz", "Mel lives in Vienna"),
            ("Ana ran 5 km", "Ana ran 8 km"),
            ("Ana's favourite colour is blue", "Ana's favourite food is pizza"),
            ("Ana visited Graz", "Ana did not like the film"),
            ("The violin lesson is on Tuesday", "The yoga class is on Wednesday"),
            ("Ana adopted a cat", "Ana adopted a dog"),
            ("Ana works at Bloom", "Ana works on weekends"),
            ("Ana has two cats", "Mel has three dogs"),
        ] {
            corrects(earlier, later, false);
        }
        let far = saying("Ana lives in Vienna").corrects(&saying("Ana lives in Graz"), Some(0.4));
        assert!(!far, "what means something else is not corrected");
    }
}
