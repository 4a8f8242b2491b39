//! The constants of ranking: the caller's wishes over the defaults of the contract, and what each step of the ladder leaves
//! out. Decides nothing about memories.
use crate::Result;
use crate::check::{self, invalid};
use crate::memory::{Pipeline, Tuning};
use crate::types::Error;

/// More than any weight or constant means.
const MOST: f32 = 1_000.0;

/// The constants of one search, all there. What a step does without weighs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Constants {
    pub(crate) pipeline: Pipeline,
    pub(crate) dense: f32,
    pub(crate) k1: f32,
    pub(crate) b: f32,
    pub(crate) actor: f32,
    pub(crate) date: f32,
    pub(crate) neighbours: f32,
    pub(crate) run: f32,
    pub(crate) answer: f32,
    pub(crate) question: f32,
    pub(crate) recency: f32,
    pub(crate) mask_share: f32,
    pub(crate) mask_floor: u32,
    pub(crate) candidates: u32,
}

impl Constants {
    /// Refuses what is out of range, whether or not its step takes part. Without a model every step is `lexical`.
    pub(crate) fn new(tuning: Option<&Tuning>, limit: u32, place: &str, model: bool) -> Result<Constants> {
        let tuning = tuning.unwrap_or(&NOTHING);
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
        within("late", tuning.late, 0.75, MOST)?;
        let all = Constants {
            pipeline: match tuning.pipeline.unwrap_or(Pipeline::Context) {
                Pipeline::Late => {
                    return Err(Error::Unavailable("this store keeps no token vectors; `context` is there".to_owned()));
                }
                _ if !model => Pipeline::Lexical,
                step => step,
            },
            dense: within("dense", tuning.dense, 0.6, 1.0)?,
            k1: within("k1", tuning.k1, 0.9, MOST)?,
            b: within("b", tuning.b, 0.4, 1.0)?,
            actor: within("actor", tuning.actor, 0.15, MOST)?,
            date: within("date", tuning.date, 0.15, MOST)?,
            neighbours: within("neighbours", tuning.neighbours, 0.3, MOST)?,
            run: within("run", tuning.run, 0.4, MOST)?,
            answer: within("answer", tuning.answer, 0.8, MOST)?,
            question: within("question", tuning.question, 0.1, MOST)?,
            recency: within("recency", tuning.recency, 0.0, MOST)?,
            mask_share: within("mask-share", tuning.mask_share, 0.15, 1.0)?,
            mask_floor: tuning.mask_floor.unwrap_or(10),
            candidates: candidates.max(limit),
        };
        Ok(match all.pipeline {
            Pipeline::Lexical => Constants { dense: 0.0, neighbours: 0.0, ..all },
            Pipeline::Core => Constants { neighbours: 0.0, run: 0.0, answer: 0.0, question: 0.0, ..all },
            Pipeline::Context | Pipeline::Late => all,
        })
    }

    /// Whether the run of a memory says something about it.
    pub(crate) fn uses_runs(&self) -> bool {
        self.neighbours > 0.0 || self.run > 0.0 || self.answer > 0.0
    }

    /// As used, complete; `dense` as it was for this query.
    pub(crate) fn used(self, dense: f32) -> Tuning {
        Tuning {
            pipeline: Some(self.pipeline),
            dense: Some(dense),
            k1: Some(self.k1),
            b: Some(self.b),
            actor: Some(self.actor),
            date: Some(self.date),
            neighbours: Some(self.neighbours),
            run: Some(self.run),
            answer: Some(self.answer),
            late: Some(0.0),
            question: Some(self.question),
            recency: Some(self.recency),
            mask_share: Some(self.mask_share),
            mask_floor: Some(self.mask_floor),
            candidates: Some(self.candidates),
        }
    }
}

/// No wish at all.
pub(crate) const NOTHING: Tuning = Tuning {
    pipeline: None,
    dense: None,
    k1: None,
    b: None,
    actor: None,
    date: None,
    neighbours: None,
    run: None,
    answer: None,
    late: None,
    question: None,
    recency: None,
    mask_share: None,
    mask_floor: None,
    candidates: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn with(tuning: Tuning, model: bool) -> Result<Constants> {
        Constants::new(Some(&tuning), 10, "queries[0].tuning", model)
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        let error = with(Tuning { dense: Some(1.5), ..NOTHING }, true).unwrap_err();
        assert_eq!(error, invalid("queries[0].tuning.dense", "1.5 is not within 0 and 1"));
        for wrong in [
            Tuning { dense: Some(f32::NAN), ..NOTHING },
            Tuning { late: Some(-1.0), ..NOTHING },
            Tuning { answer: Some(f32::INFINITY), ..NOTHING },
            Tuning { candidates: Some(0), ..NOTHING },
        ] {
            assert!(with(wrong, true).is_err(), "{wrong:?}");
        }
        let late = Tuning { pipeline: Some(Pipeline::Late), ..NOTHING };
        assert!(matches!(with(late, true), Err(Error::Unavailable(_))));
    }

    #[test]
    fn a_step_weighs_only_what_it_knows() {
        let step = |pipeline: Option<Pipeline>, model: bool| {
            let c = with(Tuning { pipeline, ..NOTHING }, model).unwrap();
            (c.pipeline, c.dense, c.neighbours, c.run, c.answer, c.question)
        };
        let lexical = (Pipeline::Lexical, 0.0, 0.0, 0.4, 0.8, 0.1);
        assert_eq!(step(None, true), (Pipeline::Context, 0.6, 0.3, 0.4, 0.8, 0.1));
        assert_eq!(step(Some(Pipeline::Core), true), (Pipeline::Core, 0.6, 0.0, 0.0, 0.0, 0.0));
        assert_eq!(step(Some(Pipeline::Lexical), true), lexical);
        assert_eq!(step(None, false), lexical);
        assert_eq!(step(Some(Pipeline::Core), false), lexical, "a step without its means falls back");
    }
}
