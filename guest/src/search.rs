//! Finding memories by words and by meaning: many queries in one call, each with its own answer. What is asked of the index
//! is `ask.rs`, the order of the candidates `rank.rs`, what is shown of them `hits.rs`.
use crate::Result;
use crate::ask::{Asked, has_model, probe, understand};
use crate::capability::Host;
use crate::check::{self, too_much};
use crate::hits::answer;
use crate::memory::{Found, Query};
use crate::types::Error;

/// Finds memories; see `memory.search` of the contract.
pub fn search(host: &impl Host, queries: &[Query]) -> Result<Vec<Result<Found>>> {
    if queries.len() > check::QUERIES {
        return Err(too_much(
            "queries",
            format!("{} queries, at most {} are taken in one call", queries.len(), check::QUERIES),
        ));
    }
    let model = has_model(host)?;
    let checked: Vec<Result<Asked<'_>>> = (0..)
        .zip(queries)
        .map(|(n, query): (usize, &Query)| Asked::new(host, model, query, &format!("queries[{n}]")))
        .collect();
    let mut refusals: Vec<Option<Error>> = vec![];
    let mut asked = vec![];
    for one in checked {
        match one {
            Ok(one) => {
                asked.push(one);
                refusals.push(None);
            }
            Err(error) => refusals.push(Some(error)),
        }
    }
    let mut answers = found(host, model, asked)?.into_iter();
    let answer = |refusal: Option<Error>| match refusal {
        Some(error) => Err(error),
        None => Ok(answers.next().expect("every query was refused or asked")),
    };
    Ok(refusals.into_iter().map(answer).collect())
}

/// Answers queries that were checked, in order.
pub(crate) fn found(host: &impl Host, model: bool, mut asked: Vec<Asked<'_>>) -> Result<Vec<Found>> {
    if asked.is_empty() {
        return Ok(vec![]);
    }
    understand(host, model, &mut asked)?;
    let found = probe(host, model, &asked)?;
    let snapshot = host.snapshot()?;
    asked.iter().zip(found).map(|(one, candidates)| answer(host, &snapshot, model, one, candidates)).collect()
}
