//! From raw scores to an order: the convex sum of what words, meaning, actor and date say. Pure; the formulas and their
//! constants are explained in ARCHITECTURE.md, the constants can be set by `memory.tuning`.
use crate::Result;
use crate::calendar::DAY_MS;
use crate::check::{self, invalid};
use crate::dates::Named;
use crate::index::{Candidate, Extremes};
use crate::memory::{Part, Pipeline, Tuning};
use crate::text::fold;
use crate::types::{Error, Timestamp};

/// More than any weight or constant means.
const MOST: f32 = 1_000.0;

/// The constants of one search, all there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Constants {
    pub(crate) dense: f32,
    pub(crate) k1: f32,
    pub(crate) b: f32,
    pub(crate) actor: f32,
    pub(crate) date: f32,
    pub(crate) neighbours: f32,
    pub(crate) run: f32,
    pub(crate) late: f32,
    pub(crate) question: f32,
    pub(crate) recency: f32,
    pub(crate) mask_share: f32,
    pub(crate) mask_floor: u32,
    pub(crate) candidates: u32,
}

impl Constants {
    /// The caller's wishes over the defaults of the contract.
    pub(crate) fn new(tuning: Option<&Tuning>, limit: u32, place: &str) -> Result<Constants> {
        let none = Tuning {
            pipeline: None,
            dense: None,
            k1: None,
            b: None,
            actor: None,
            date: None,
            neighbours: None,
            run: None,
            late: None,
            question: None,
            recency: None,
            mask_share: None,
            mask_floor: None,
            candidates: None,
        };
        let tuning = tuning.unwrap_or(&none);
        let step = match tuning.pipeline {
            None | Some(Pipeline::Core) => None,
            Some(Pipeline::Lexical) => Some("lexical"),
            Some(Pipeline::Context) => Some("context"),
            Some(Pipeline::Late) => Some("late"),
        };
        if let Some(step) = step {
            return Err(Error::Unavailable(format!("the pipeline {step} comes later; `core` is there")));
        }
        let within = |name: &str, value: Option<f32>, default: f32, most: f32| match value {
            None => Ok(default),
            Some(value) if (0.0..=most).contains(&value) => Ok(value),
            Some(value) => Err(invalid(format!("{place}.{name}"), format!("{value} is not within 0 and {most}"))),
        };
        let candidates = match tuning.candidates {
            None => 100,
            Some(given) => {
                check::limit(&format!("{place}.candidates"), given)?;
                given
            }
        };
        Ok(Constants {
            dense: within("dense", tuning.dense, 0.6, 1.0)?,
            k1: within("k1", tuning.k1, 0.9, MOST)?,
            b: within("b", tuning.b, 0.4, 1.0)?,
            actor: within("actor", tuning.actor, 0.15, MOST)?,
            date: within("date", tuning.date, 0.15, MOST)?,
            neighbours: within("neighbours", tuning.neighbours, 0.3, MOST)?,
            run: within("run", tuning.run, 0.4, MOST)?,
            late: within("late", tuning.late, 0.75, MOST)?,
            question: within("question", tuning.question, 0.0, MOST)?,
            recency: within("recency", tuning.recency, 0.0, MOST)?,
            mask_share: within("mask-share", tuning.mask_share, 0.15, 1.0)?,
            mask_floor: tuning.mask_floor.unwrap_or(10),
            candidates: candidates.max(limit),
        })
    }

    /// As used, complete. Terms of steps that took no part weigh nothing.
    pub(crate) fn used(self, dense: f32) -> Tuning {
        Tuning {
            pipeline: Some(Pipeline::Core),
            dense: Some(dense),
            k1: Some(self.k1),
            b: Some(self.b),
            actor: Some(self.actor),
            date: Some(self.date),
            neighbours: Some(0.0),
            run: Some(0.0),
            late: Some(0.0),
            question: Some(0.0),
            recency: Some(self.recency),
            mask_share: Some(self.mask_share),
            mask_floor: Some(self.mask_floor),
            candidates: Some(self.candidates),
        }
    }
}

/// What ranking knows of a query.
pub(crate) struct Wanted {
    pub(crate) constants: Constants,
    /// Share of meaning: `constants.dense`, less for a language that the model does not know.
    pub(crate) dense: f32,
    /// The one actor that the query names.
    pub(crate) actor: Option<String>,
    pub(crate) dates: Vec<Named>,
    pub(crate) now: Timestamp,
}

/// A candidate with its score.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(crate) candidate: Candidate,
    pub(crate) score: f32,
}

/// Least and greatest raw scores of one search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) dense: Option<Extremes>,
    pub(crate) lexical: Option<Extremes>,
}

/// Best first; equal scores by creation, oldest first.
pub(crate) fn rank(wanted: &Wanted, bounds: &Bounds, found: Vec<Candidate>) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = found
        .into_iter()
        .map(|candidate| {
            let mut score = 0.0;
            sum_up(wanted, bounds, &candidate, |_, value, weight| score += weight * value);
            Ranked { candidate, score }
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.key.cmp(&b.candidate.key)));
    ranked
}

/// What the score of a candidate is made of.
pub(crate) fn parts(wanted: &Wanted, bounds: &Bounds, candidate: &Candidate) -> Vec<Part> {
    let mut out = vec![];
    sum_up(wanted, bounds, candidate, |name, value, weight| {
        out.push(Part { name: name.to_owned(), value, share: weight * value });
    });
    out
}

/// Tells each summand of a score: its name, its value and its weight.
fn sum_up(wanted: &Wanted, bounds: &Bounds, candidate: &Candidate, mut push: impl FnMut(&'static str, f32, f32)) {
    let weights = &wanted.constants;
    if wanted.dense > 0.0 {
        push("dense", normalised(candidate.dense, bounds.dense.as_ref()), wanted.dense);
    }
    push("lexical", normalised(Some(candidate.lexical), bounds.lexical.as_ref()), 1.0 - wanted.dense);
    if let Some(actor) = &wanted.actor {
        let says = candidate.actor.as_ref().is_some_and(|a| fold(a) == *actor);
        push("actor", f32::from(u8::from(says)), weights.actor);
    }
    if !wanted.dates.is_empty() {
        let value = wanted.dates.iter().map(|date| date.likeness(candidate.at)).fold(0.0, f32::max);
        push("date", value, weights.date);
    }
    if weights.recency > 0.0 {
        push("recency", recency(wanted.now, candidate.at), weights.recency);
    }
}

/// The place of a raw score between the least and the greatest of all admitted memories. Where the least is not known,
/// the share of the greatest; 0 without a score.
fn normalised(raw: Option<f32>, extremes: Option<&Extremes>) -> f32 {
    let (Some(raw), Some(extremes)) = (raw, extremes) else { return 0.0 };
    let low = extremes.min.unwrap_or(0.0);
    let span = extremes.max - low;
    if span > 0.0 { ((raw - low) / span).clamp(0.0, 1.0) } else { f32::from(u8::from(raw > 0.0)) }
}

/// 1 now, halved every 30 days.
fn recency(now: Timestamp, at: Timestamp) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "days are few")]
    let days = now.saturating_sub(at).max(0) as f32 / DAY_MS as f32;
    (-days / 30.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar;

    fn candidate(key: &str, dense: Option<f32>, lexical: f32) -> Candidate {
        Candidate { key: key.into(), dense, lexical, passage: 0, at: 0, actor: None, turn: None, terms: vec![] }
    }

    fn wanted() -> Wanted {
        let constants = Constants::new(None, 10, "tuning").unwrap();
        Wanted { dense: constants.dense, constants, actor: None, dates: vec![], now: 0 }
    }

    type Found = (Vec<Candidate>, Bounds);

    fn found(entries: Vec<Candidate>, dense: (Option<f32>, f32), lexical: (Option<f32>, f32)) -> Found {
        let extremes = |(min, max)| Some(Extremes { min, max });
        (entries, Bounds { dense: extremes(dense), lexical: extremes(lexical) })
    }

    #[track_caller]
    fn check(wanted: &Wanted, (found, bounds): Found, expected: &[(&str, f32)]) {
        let ranked = rank(wanted, &bounds, found);
        for ranked in &ranked {
            let sum: f32 = parts(wanted, &bounds, &ranked.candidate).iter().map(|part| part.share).sum();
            assert!((sum - ranked.score).abs() < 1e-6, "the parts sum to the score");
        }
        let shown: Vec<(&str, f32)> =
            ranked.iter().map(|r| (&r.candidate.key[..], (r.score * 1e4).round() / 1e4)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_convex_sum_by_hand() {
        let entries = vec![candidate("a", Some(0.5), 2.0), candidate("b", Some(0.3), 8.0), candidate("c", None, 8.0)];
        // a: 0.6·(0.5−0.1)/0.4 + 0.4·2/8; b: 0.6·0.5 + 0.4; c has no vector: 0.4.
        check(&wanted(), found(entries, (Some(0.1), 0.5), (Some(0.0), 8.0)), &[("a", 0.7), ("b", 0.7), ("c", 0.4)]);
    }

    #[test]
    fn a_hit_that_only_the_words_find_can_win() {
        let mut wanted = wanted();
        wanted.dense = 0.3;
        let entries = vec![candidate("near", Some(0.9), 0.0), candidate("word", Some(0.1), 5.0)];
        check(&wanted, found(entries, (Some(0.1), 0.9), (Some(0.0), 5.0)), &[("word", 0.7), ("near", 0.3)]);
    }

    #[test]
    fn an_unknown_least_score_counts_as_zero() {
        let entries = vec![candidate("a", Some(0.4), 0.0)];
        check(&wanted(), found(entries, (None, 0.8), (Some(0.0), 0.0)), &[("a", 0.3)]);
    }

    #[test]
    fn actor_date_and_recency_add() {
        let mut wanted = wanted();
        wanted.actor = Some("ana".into());
        wanted.dates = crate::dates::named("on 8 May 2023", 0);
        wanted.constants.recency = 0.5;
        wanted.now = calendar::parse("2023-06-07").unwrap();
        let mut by_ana = candidate("a", None, 1.0);
        by_ana.actor = Some("Ana".into());
        by_ana.at = calendar::parse("2023-05-08").unwrap();
        check(&wanted, found(vec![by_ana], (None, 0.0), (Some(0.0), 1.0)), &[("a", 0.95)]);
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        let mut tuning = Constants::new(None, 10, "").unwrap().used(0.6);
        tuning.dense = Some(1.5);
        let error = Constants::new(Some(&tuning), 10, "queries[0].tuning").unwrap_err();
        assert_eq!(error, invalid("queries[0].tuning.dense", "1.5 is not within 0 and 1"));
        tuning.dense = Some(f32::NAN);
        assert!(Constants::new(Some(&tuning), 10, "").is_err());
        tuning.dense = None;
        tuning.pipeline = Some(Pipeline::Late);
        assert!(matches!(Constants::new(Some(&tuning), 10, ""), Err(Error::Unavailable(_))));
    }
}
