//! How a query is asked: the arguments that `search`, `why-not` and `context` share. Never runs one.
use super::arguments::{one_of, present};
use crate::contract::memory::{Diversity, Minimum, Pipeline, Query, Tuning, View};
use crate::contract::types::Scope;
use crate::times;

/// The steps of ranking that the engine has.
static PIPELINES: [(&str, Pipeline); 3] =
    [("lexical", Pipeline::Lexical), ("core", Pipeline::Core), ("context", Pipeline::Context)];

#[derive(clap::Args, Debug)]
pub(crate) struct Asking {
    /// Most hits
    #[arg(short, long, value_name = "N", default_value_t = 10, allow_negative_numbers = true)]
    limit: u32,
    /// Only memories that match, such as '{"metadata.project":"books"}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// What was true at this time
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    as_of: Option<i64>,
    /// Your present, for "last week" in the query, for newness and expiry [default: the clock]
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_negative_numbers = true)]
    now: Option<i64>,
    /// How far ranking goes: words alone, with meaning (core), with the run and its neighbours (context, the default)
    #[arg(long, value_parser = one_of(&PIPELINES))]
    pipeline: Option<Pipeline>,
    /// Smallest cosine of query and memory, -1 to 1
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    min_similarity: Option<f32>,
    /// What newness adds to a score, halved every 30 days
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    recency: Option<f32>,
    /// Share of a score that likeness to better hits takes, 0 to 1
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    spread: Option<f32>,
    /// Most hits of one run
    #[arg(long, value_name = "N")]
    per_run: Option<u32>,
}

impl Asking {
    /// The query; without a text for those who have many.
    pub(crate) fn query(&self, text: &str, scope: Scope) -> Query {
        let tuned = self.pipeline.is_some() || self.recency.is_some();
        let tuning = Tuning { pipeline: self.pipeline, recency: self.recency, ..Tuning::default() };
        let diverse = self.spread.is_some() || self.per_run.is_some();
        let diversity =
            Diversity { per_run: self.per_run.unwrap_or_default(), spread: self.spread.unwrap_or_default() };
        Query {
            text: text.to_owned(),
            scope,
            filter: self.filter.clone(),
            view: View { valid_at: self.as_of, now: self.now, ..present() },
            limit: self.limit,
            minimum: self.min_similarity.map(|dense| Minimum { dense: Some(dense), lexical: None }),
            diversity: diverse.then_some(diversity),
            rerank: false,
            tuning: tuned.then_some(tuning),
            explain: false,
        }
    }
}
