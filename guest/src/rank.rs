//! From raw scores to an order: what words, meaning, actor, date and the run of a memory say, summed. Pure; the formulas are
//! explained in ARCHITECTURE.md, their constants are `tuning.rs`.
use crate::calendar::DAY_MS;
use crate::dates::Named;
use crate::entry::asks;
use crate::index::{Candidate, Candidates, Extremes};
use crate::memory::Part;
use crate::text::fold;
use crate::tuning::Constants;
use crate::types::Timestamp;
use std::collections::HashMap;

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
    values: Values,
    /// Likeness to better hits, and what it took.
    lost: Option<(f32, f32)>,
}

impl Ranked {
    /// Gives up a share of a positive score to the likeness with better hits.
    pub(crate) fn lose(&mut self, likeness: f32, share: f32) {
        let loss = share * likeness * self.score.max(0.0);
        self.score -= loss;
        self.lost = Some((likeness, loss));
    }
}

/// The summands of a score before weighting.
#[derive(Clone, Copy, Debug, Default)]
struct Values {
    dense: f32,
    /// In place of it where the vector is owed.
    sketch: f32,
    /// What the vectors of the turns before and after make of it.
    neighbours: f32,
    lexical: f32,
    answer: f32,
    actor: f32,
    date: f32,
    recency: f32,
    question: f32,
    run: f32,
}

/// Least and greatest raw scores of one search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) dense: Option<Extremes>,
    pub(crate) sketch: Option<Extremes>,
    pub(crate) lexical: Option<Extremes>,
}

impl Bounds {
    pub(crate) fn of(found: &Candidates) -> Self {
        Self { dense: found.dense, sketch: found.sketch, lexical: found.lexical }
    }
}

impl Wanted {
    /// Each value with its name and weight; a weight of 0 takes it out.
    fn weighted(&self, values: &Values) -> [(&'static str, f32, f32); 10] {
        let weights = &self.constants;
        let words = 1.0 - self.dense;
        let given = |there: bool, weight: f32| if there { weight } else { 0.0 };
        [
            ("dense", values.dense, self.dense),
            ("sketch", values.sketch, given(values.sketch > 0.0, SKETCH * self.dense)),
            ("neighbours", values.neighbours, given(weights.neighbours > 0.0, self.dense)),
            ("lexical", values.lexical, words),
            ("answer", values.answer, words * weights.answer),
            ("actor", values.actor, given(self.actor.is_some(), weights.actor)),
            ("date", values.date, given(!self.dates.is_empty(), weights.date)),
            ("recency", values.recency, weights.recency),
            ("question", values.question, -weights.question),
            ("run", values.run, weights.run),
        ]
    }

    fn sum(&self, values: &Values) -> f32 {
        self.weighted(values).iter().map(|(_, value, weight)| value * weight).sum()
    }
}

/// Best first; equal scores by creation, oldest first.
pub(crate) fn rank(wanted: &Wanted, found: Candidates) -> Vec<Ranked> {
    let values = valued(wanted, &found);
    let mut ranked: Vec<Ranked> = found
        .entries
        .into_iter()
        .zip(values)
        .map(|(candidate, values)| Ranked { candidate, score: wanted.sum(&values), values, lost: None })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.key.cmp(&b.candidate.key)));
    ranked
}

/// What the score of a candidate is made of.
pub(crate) fn parts(wanted: &Wanted, ranked: &Ranked) -> Vec<Part> {
    let weighted = wanted.weighted(&ranked.values).into_iter().filter(|(_, _, weight)| *weight != 0.0);
    let parts = weighted.map(|(name, value, weight)| Part { name: name.to_owned(), value, share: value * weight });
    let lost = ranked.lost.map(|(value, loss)| Part { name: "spread".to_owned(), value, share: -loss });
    parts.chain(lost).collect()
}

fn valued(wanted: &Wanted, found: &Candidates) -> Vec<Values> {
    let weights = &wanted.constants;
    let is_named: Vec<bool> = found.actors.iter().map(|actor| wanted.actor == Some(fold(actor))).collect();
    let (bounds, found) = (Bounds::of(found), &found.entries);
    let questions: Vec<Option<f32>> =
        found.iter().map(|one| answered(one, found).map(|question| question.lexical)).collect();
    let smoothed: Vec<Option<f32>> = found.iter().map(|one| smoothed(one, weights.neighbours)).collect();

    // What the neighbours add may reach further than any raw score.
    let greatest = |raw: Option<&Extremes>, reached: &mut dyn Iterator<Item = f32>| {
        raw.map(|raw| Extremes { max: reached.reduce(f32::max).unwrap_or(raw.max), ..*raw })
    };
    let dense = greatest(bounds.dense.as_ref(), &mut smoothed.iter().copied().flatten());
    let with_questions =
        |(one, question): (&Candidate, &Option<f32>)| one.lexical + weights.answer * question.unwrap_or(0.0);
    let lexical = greatest(bounds.lexical.as_ref(), &mut found.iter().zip(&questions).map(with_questions));

    let mut values: Vec<Values> = found
        .iter()
        .zip(smoothed.iter().zip(&questions))
        .map(|(one, (smoothed, question))| {
            let own = normalised(one.dense, dense.as_ref());
            let words = normalised(Some(one.lexical), lexical.as_ref());
            let date = wanted.dates.iter().map(|date| date.likeness(one.at)).fold(0.0, f32::max);
            Values {
                dense: own,
                sketch: normalised(one.sketch, bounds.sketch.as_ref()),
                neighbours: normalised(*smoothed, dense.as_ref()) - own,
                lexical: words,
                answer: question.map_or(0.0, |question| normalised(Some(question), lexical.as_ref())),
                actor: share(one.actor.is_some_and(|actor| is_named[actor as usize])),
                date,
                recency: recency(wanted.now, one.at),
                question: share(asks(one).is_some_and(|words| words < SHORT)),
                run: 0.0,
            }
        })
        .collect();
    if weights.run > 0.0 {
        best_of_runs(wanted, found, &mut values);
    }
    values
}

/// What a sketch says counts so much less than what a vector says: beside BM25 alone, the first place loses from a quarter
/// of the sum on, while the first ten still gain.
const SKETCH: f32 = 0.25;

/// Fewer words than this, and a text that asks tells nothing beside.
const SHORT: f32 = 25.0;

/// The question that a turn answers: the turn before, of another actor, if it asks and its words are known.
fn answered<'c>(one: &Candidate, found: &'c [Candidate]) -> Option<&'c Candidate> {
    let previous = one.turn.as_ref()?.previous.as_ref()?;
    let question = &found[previous.entry? as usize];
    (asks(question).is_some() && question.actor != one.actor).then_some(question)
}

/// Cosine of the query with a memory's vector plus those of its neighbours, each of these weighing `weight`. A neighbour
/// without a vector counts as none.
fn smoothed(one: &Candidate, weight: f32) -> Option<f32> {
    let own = one.dense?;
    let Some(turn) = one.turn.as_ref().filter(|_| weight > 0.0) else { return Some(own) };
    let (mut sum, mut square) = (own, 1.0);
    let mut there = 0;
    for neighbour in [&turn.previous, &turn.next].into_iter().flatten() {
        if let (Some(dense), Some(similarity)) = (neighbour.dense, neighbour.similarity) {
            sum += weight * dense;
            square += weight * weight + 2.0 * weight * similarity;
            there += 1;
        }
    }
    if let (2, Some(across)) = (there, turn.across) {
        square += 2.0 * weight * weight * across;
    }
    Some(if square > 0.0 { sum / square.sqrt() } else { own })
}

/// Gives each memory the best sum of its run. One without a run is a run of its own, so all of them gain in proportion and
/// their order stays.
fn best_of_runs(wanted: &Wanted, found: &[Candidate], values: &mut [Values]) {
    let mut best: HashMap<u32, f32> = HashMap::new();
    let sums: Vec<f32> = values.iter().map(|values| wanted.sum(values)).collect();
    let run = |one: &Candidate| one.turn.as_ref().map(|turn| turn.run);
    for (one, sum) in found.iter().zip(&sums) {
        if let Some(run) = run(one) {
            let best = best.entry(run).or_insert(*sum);
            *best = best.max(*sum);
        }
    }
    for ((one, sum), values) in found.iter().zip(sums).zip(values) {
        values.run = run(one).map_or(sum, |run| best[&run]);
    }
}

/// The place of a raw score between the least and the greatest of all admitted memories. Where the least is not known,
/// the share of the greatest; 0 without a score.
fn normalised(raw: Option<f32>, extremes: Option<&Extremes>) -> f32 {
    let (Some(raw), Some(extremes)) = (raw, extremes) else { return 0.0 };
    let low = extremes.min.unwrap_or(0.0);
    let span = extremes.max - low;
    if span > 0.0 { ((raw - low) / span).clamp(0.0, 1.0) } else { share(raw > 0.0) }
}

fn share(whole: bool) -> f32 {
    f32::from(u8::from(whole))
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
    use crate::index::{Attribute, Neighbour, Turn, Value};
    use crate::memory::{Pipeline, Tuning};
    use crate::tuning::NOTHING;

    fn candidate(key: &str, dense: Option<f32>, lexical: f32) -> Candidate {
        let attributes = vec![];
        Candidate {
            key: key.into(),
            dense,
            sketch: None,
            lexical,
            passage: 0,
            at: 0,
            actor: None,
            turn: None,
            terms: vec![],
            attributes,
        }
    }

    fn wanted(pipeline: Pipeline) -> Wanted {
        let tuning = Tuning { pipeline: Some(pipeline), ..NOTHING };
        let constants = Constants::new(Some(&tuning), 10, "tuning", true).unwrap();
        Wanted { dense: constants.dense, constants, actor: None, dates: vec![], now: 0 }
    }

    /// A run of one turn after the other, each with its cosines to the query and to the one before.
    /// They stand first in the answer.
    fn run(number: u32, turns: Vec<Candidate>, similarity: f32) -> Vec<Candidate> {
        let all = turns.clone();
        let place = |n: usize| u32::try_from(n).unwrap();
        let told = |n: Option<usize>| {
            let (n, one) = n.and_then(|n| Some((n, all.get(n)?)))?;
            Some(Neighbour { entry: Some(place(n)), dense: one.dense, similarity: Some(similarity) })
        };
        let turn = |n: usize| Turn {
            run: number,
            position: place(n),
            previous: told(n.checked_sub(1)),
            next: told(Some(n + 1)),
            across: Some(similarity),
        };
        turns.into_iter().enumerate().map(|(n, one)| Candidate { turn: Some(turn(n)), ..one }).collect()
    }

    fn asking(one: Candidate, actor: &str) -> Candidate {
        let attributes = vec![Attribute { name: crate::entry::ASKS.to_owned(), value: Value::Number(5.0) }];
        Candidate { attributes, ..by(actor, one) }
    }

    const ACTORS: [&str; 2] = ["Ana", "Mel"];

    fn by(actor: &str, one: Candidate) -> Candidate {
        let place = ACTORS.iter().position(|known| *known == actor).and_then(|place| u32::try_from(place).ok());
        Candidate { actor: place, ..one }
    }

    fn found(entries: Vec<Candidate>, dense: (Option<f32>, f32), lexical: (Option<f32>, f32)) -> Candidates {
        let extremes = |(min, max)| Some(Extremes { min, max });
        Candidates {
            entries,
            actors: ACTORS.map(str::to_owned).into(),
            dense: extremes(dense),
            sketch: None,
            lexical: extremes(lexical),
            admitted: 0,
            pending: 0,
            exact: true,
        }
    }

    #[track_caller]
    fn check(wanted: &Wanted, found: Candidates, expected: &[(&str, f32)]) {
        let ranked = rank(wanted, found);
        for ranked in &ranked {
            let sum: f32 = parts(wanted, ranked).iter().map(|part| part.share).sum();
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
        let found = found(entries, (Some(0.1), 0.5), (Some(0.0), 8.0));
        check(&wanted(Pipeline::Core), found, &[("a", 0.7), ("b", 0.7), ("c", 0.4)]);
    }

    #[test]
    fn a_sketch_counts_where_a_vector_is_owed() {
        let near = Candidate { sketch: Some(0.8), ..candidate("b", None, 2.0) };
        let far = Candidate { sketch: Some(0.2), ..candidate("c", None, 2.0) };
        let found = found(vec![candidate("a", Some(0.5), 2.0), near, far], (Some(0.1), 0.5), (Some(0.0), 2.0));
        let sketch = Some(Extremes { min: Some(0.2), max: 0.8 });
        // a: 0.6 + 0.4; b: 0.25·0.6 + 0.4; c: 0.4.
        check(&wanted(Pipeline::Core), Candidates { sketch, ..found }, &[("a", 1.0), ("b", 0.55), ("c", 0.4)]);
    }

    #[test]
    fn a_hit_that_only_the_words_find_can_win() {
        let mut wanted = wanted(Pipeline::Core);
        wanted.dense = 0.3;
        let entries = vec![candidate("near", Some(0.9), 0.0), candidate("word", Some(0.1), 5.0)];
        check(&wanted, found(entries, (Some(0.1), 0.9), (Some(0.0), 5.0)), &[("word", 0.7), ("near", 0.3)]);
    }

    #[test]
    fn an_unknown_least_score_counts_as_zero() {
        let entries = vec![candidate("a", Some(0.4), 0.0), candidate("b", Some(0.8), 0.0)];
        check(&wanted(Pipeline::Core), found(entries, (None, 0.8), (Some(0.0), 0.0)), &[("b", 0.6), ("a", 0.3)]);
    }

    #[test]
    fn actor_date_and_recency_add() {
        let mut wanted = wanted(Pipeline::Core);
        wanted.actor = Some("ana".into());
        wanted.dates = crate::dates::named("on 8 May 2023", 0);
        wanted.constants.recency = 0.5;
        wanted.now = calendar::parse("2023-06-07").unwrap();
        let mut by_ana = by("Ana", candidate("a", None, 1.0));
        by_ana.at = calendar::parse("2023-05-08").unwrap();
        check(&wanted, found(vec![by_ana], (None, 0.0), (Some(0.0), 1.0)), &[("a", 0.95)]);
    }

    #[test]
    fn neighbours_smooth_the_meaning() {
        let mut wanted = wanted(Pipeline::Context);
        wanted.constants.run = 0.0;
        let turns = run(0, vec![candidate("a", Some(0.2), 0.0), candidate("b", Some(0.6), 0.0)], 0.5);
        let alone = candidate("c", Some(0.5), 0.0);
        // a: (0.2 + 0.3·0.6)/√(1 + 0.09 + 0.3) = 0.3223; b: (0.6 + 0.3·0.2)/√1.39 = 0.5598, the greatest; c: 0.5.
        let found = found([turns, vec![alone]].concat(), (Some(0.0), 0.6), (Some(0.0), 0.0));
        check(&wanted, found, &[("b", 0.6), ("c", 0.5359), ("a", 0.3455)]);
    }

    #[test]
    fn three_turns_count_what_lies_across() {
        let turns = run(
            0,
            vec![candidate("a", Some(0.0), 0.0), candidate("b", Some(0.5), 0.0), candidate("c", Some(0.5), 0.0)],
            0.5,
        );
        // (0.5 + 0.3·0.5)/√(1 + 2·(0.09 + 0.3) + 0.09).
        let value = smoothed(&turns[1], 0.3).unwrap();
        assert!((value - 0.65 / 1.87_f32.sqrt()).abs() < 1e-6, "{value}");
        assert_eq!(smoothed(&turns[1], 0.0), Some(0.5));
    }

    #[test]
    fn an_answer_has_the_words_of_its_question() {
        let mut wanted = wanted(Pipeline::Lexical);
        wanted.constants.run = 0.0;
        let question = asking(candidate("q", None, 5.0), "Ana");
        let answer = by("Mel", candidate("r", None, 1.0));
        let turns = run(0, vec![question, answer], 0.0);
        // r: 1 + 0.8·5 = 5, as much as the greatest; q: 1 − 0.1.
        check(&wanted, found(turns.clone(), (None, 0.0), (Some(0.0), 5.0)), &[("r", 1.0), ("q", 0.9)]);
        // Whoever goes on after a question of their own does not answer it.
        let own: Vec<Candidate> = turns.into_iter().map(|turn| by("Ana", turn)).collect();
        check(&wanted, found(own, (None, 0.0), (Some(0.0), 5.0)), &[("q", 0.9), ("r", 0.2)]);
    }

    #[test]
    fn a_run_lifts_all_its_turns() {
        let mut wanted = wanted(Pipeline::Lexical);
        wanted.constants.answer = 0.0;
        let turns = run(7, vec![candidate("a", None, 10.0), candidate("b", None, 2.0)], 0.0);
        let found = found([turns, vec![candidate("c", None, 5.0)]].concat(), (None, 0.0), (Some(0.0), 10.0));
        // a: 1 + 0.4; c: 0.5 + 0.4·0.5; b: 0.2 + 0.4·1.
        check(&wanted, found, &[("a", 1.4), ("c", 0.7), ("b", 0.6)]);
    }

    #[test]
    fn without_runs_context_changes_no_order() {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap()) / 65_536.0
        };
        let all: Vec<Candidate> = (0..200).map(|n| candidate(&format!("{n:03}"), Some(next()), 9.0 * next())).collect();
        let max = |score: fn(&Candidate) -> f32| all.iter().map(score).fold(0.0, f32::max);
        let (dense, lexical) = (max(|c| c.dense.unwrap()), max(|c| c.lexical));
        let order = |pipeline: Pipeline| {
            let ranked = rank(&wanted(pipeline), found(all.clone(), (Some(0.0), dense), (Some(0.0), lexical)));
            ranked.into_iter().map(|ranked| ranked.candidate.key).collect::<Vec<_>>()
        };
        assert_eq!(order(Pipeline::Context), order(Pipeline::Core));
    }
}
