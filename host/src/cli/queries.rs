//! `cairn search --queries`: many queries in one process, a hundred a call and a few calls at a time, answered in the
//! order of the input.
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use super::failure::{Exit, Failure, with_hint};
use super::lines::{Line, Lines};
use super::output::{Form, Output, complain};
use super::search::milliseconds;
use super::session::Session;
use crate::contract::memory::{Found, Query};
use crate::contract::types::{Error, Scope};
use crate::engine::Engine;
use crate::wire::{ErrorObject, HitObject};

/// The most that the contract admits.
const PER_CALL: usize = 100;
/// More than one, so that the model and the index work at the same time.
const CALLS: usize = 4;

/// One line of the input. Other fields are ignored: data sets carry the expected answers there.
#[derive(Deserialize)]
struct QueryLine {
    /// Echoed as it is written.
    query_id: Option<Box<RawValue>>,
    query: String,
    user: Option<String>,
    agent: Option<String>,
    app: Option<String>,
    run: Option<String>,
    filter: Option<Box<RawValue>>,
}

/// One line of the output.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<&'a RawValue>,
    #[serde(flatten)]
    result: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Found { hits: Vec<HitObject<'a>>, ms: f64 },
    Refused { error: &'a ErrorObject },
}

/// A query on its way: a refused line has no query.
struct Asked {
    line: u64,
    query_id: Option<Box<RawValue>>,
    query: Result<Query, ErrorObject>,
}

struct Answered {
    query_id: Option<Box<RawValue>>,
    result: Result<Found, ErrorObject>,
    ms: f64,
}

impl Answered {
    fn object(&self) -> Answer<'_> {
        let result = match &self.result {
            Ok(found) => Outcome::Found { hits: found.hits.iter().map(HitObject::from).collect(), ms: self.ms },
            Err(error) => Outcome::Refused { error },
        };
        Answer { query_id: self.query_id.as_deref(), result }
    }
}

/// Answers all queries of the file. `pattern` has everything that the lines leave open.
pub(crate) async fn run(engine: &Engine, file: &Path, pattern: &Query, session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        answers: Vec<Answer<'a>>,
    }
    let mut lines = Lines::open(file)?;
    let mut calls: VecDeque<JoinHandle<Vec<Answered>>> = VecDeque::new();
    let mut kept = Vec::new();
    let mut failed = false;
    let mut more = true;
    while more || !calls.is_empty() {
        // The oldest call first: whoever waits for an answer before asking on gets it.
        let answers = tokio::select! {
            biased;
            answers = oldest(&mut calls), if !calls.is_empty() => {
                calls.pop_front();
                answers?
            }
            batch = lines.batch(PER_CALL, &session.interrupt), if more && calls.len() < CALLS => {
                let batch = batch?;
                more = !batch.is_empty();
                let asked: Vec<Asked> = batch.into_iter().filter_map(|line| read(&line, pattern)).collect();
                if !asked.is_empty() {
                    calls.push_back(tokio::spawn(answer(engine.clone(), asked)));
                }
                continue;
            }
        };
        for error in answers.iter().filter_map(|answer| answer.result.as_ref().err()) {
            failed = true;
            complain(error);
        }
        if session.output.form == Form::Json {
            kept.extend(answers);
        } else {
            Output::objects(answers.iter().map(Answered::object))?;
        }
    }
    if session.output.form == Form::Json {
        Output::object(&Document { answers: kept.iter().map(Answered::object).collect() })?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// The answers of the first call.
async fn oldest(calls: &mut VecDeque<JoinHandle<Vec<Answered>>>) -> Result<Vec<Answered>, Error> {
    let call = calls.front_mut().ok_or_else(|| Error::Internal("no call is under way".to_owned()))?;
    call.await.map_err(|error| Error::Internal(error.to_string()))
}

/// None for a blank line.
fn read(line: &Line, pattern: &Query) -> Option<Asked> {
    let refused = |message: String| Asked {
        line: line.number,
        query_id: None,
        query: Err(ErrorObject::new("invalid-argument", message)
            .hint(r#"a line looks like {"query_id":"q1","query":"…","user":"u1"}"#)
            .line(line.number)),
    };
    let Some(text) = &line.text else { return Some(refused("the line is not UTF-8".to_owned())) };
    if text.trim().is_empty() {
        return None;
    }
    let asked = match serde_json::from_str::<QueryLine>(text) {
        Err(error) => refused(format!("not a query: {error}")),
        Ok(asked) => Asked {
            line: line.number,
            query: Ok(Query {
                text: asked.query,
                scope: Scope {
                    user: asked.user.or_else(|| pattern.scope.user.clone()),
                    agent: asked.agent.or_else(|| pattern.scope.agent.clone()),
                    app: asked.app.or_else(|| pattern.scope.app.clone()),
                    run: asked.run.or_else(|| pattern.scope.run.clone()),
                },
                filter: both(asked.filter.as_deref().map(RawValue::get), pattern.filter.as_deref()),
                ..pattern.clone()
            }),
            query_id: asked.query_id,
        },
    };
    Some(asked)
}

/// The filter of the line and that of the command line.
fn both(line: Option<&str>, command: Option<&str>) -> Option<String> {
    match (line, command) {
        (Some(line), Some(command)) => Some(format!(r#"{{"AND":[{line},{command}]}}"#)),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

/// Asks the engine once; alone each, if it refuses the call as a whole for one of them. The time of a call is shared
/// out equally.
async fn answer(engine: Engine, asked: Vec<Asked>) -> Vec<Answered> {
    let queries: Vec<Query> = asked.iter().filter_map(|asked| asked.query.as_ref().ok().cloned()).collect();
    let start = Instant::now();
    let count = queries.len().max(1);
    let results = match engine.search(queries.clone()).await {
        Ok(results) => results,
        Err(Error::InvalidArgument(_) | Error::LimitExceeded(_)) if queries.len() > 1 => {
            let mut results = Vec::with_capacity(queries.len());
            for query in queries {
                let found = engine.search(vec![query]).await.map(|mut found| found.pop());
                results.push(found.and_then(|found| found.unwrap_or_else(|| Err(unanswered()))));
            }
            results
        }
        Err(error) => vec![Err(error); queries.len()],
    };
    #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
    let ms = (milliseconds(start) / count as f64 * 1e3).round() / 1e3;
    let mut results = results.into_iter();
    let answered = asked.into_iter().map(|asked| {
        let result = asked.query.and_then(|_| {
            let result = results.next().unwrap_or_else(|| Err(unanswered()));
            result.map_err(|error| with_hint((&error).into()).line(asked.line))
        });
        Answered { query_id: asked.query_id, result, ms }
    });
    answered.collect()
}

fn unanswered() -> Error {
    Error::Internal("the engine answered fewer queries than it was given".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::present;

    fn pattern() -> Query {
        Query {
            text: String::new(),
            scope: Scope { user: Some("command".into()), agent: None, app: None, run: Some("r".into()) },
            filter: Some(r#"{"kind":"fact"}"#.into()),
            view: present(),
            limit: 10,
            minimum: None,
            diversity: None,
            rerank: false,
            tuning: None,
            explain: false,
        }
    }

    fn asked(text: &str) -> Option<Asked> {
        read(&Line { number: 7, text: Some(text.to_owned()) }, &pattern())
    }

    #[test]
    fn the_command_line_fills_what_a_line_leaves_out() {
        let asked = asked(r#"{"query_id":17,"query":"tea","user":"line","gold":["x"],"filter":{"n": 1.0}}"#).unwrap();
        assert_eq!(asked.query_id.unwrap().get(), "17");
        let query = asked.query.unwrap();
        assert_eq!(query.text, "tea");
        assert_eq!(query.scope, Scope { user: Some("line".into()), ..pattern().scope });
        assert_eq!(query.filter.as_deref(), Some(r#"{"AND":[{"n": 1.0},{"kind":"fact"}]}"#));
    }

    #[test]
    fn a_bad_line_is_an_answer_and_a_blank_one_is_none() {
        assert!(asked("  ").is_none());
        let answered = Answered { query_id: None, result: Err(asked("{}").unwrap().query.unwrap_err()), ms: 0.0 };
        assert_eq!(
            serde_json::to_string(&answered.object()).unwrap(),
            concat!(
                r#"{"error":{"kind":"invalid-argument","message":"not a query: missing field `query` at line 1 column 2","#,
                r#""line":7,"hint":"a line looks like {\"query_id\":\"q1\",\"query\":\"…\",\"user\":\"u1\"}"}}"#,
            )
        );
    }

    #[test]
    fn an_answer_carries_its_id_as_it_was_written() {
        let found = Found { hits: Vec::new(), doubts: Vec::new(), pending: 0, trace: None };
        let query_id = Some(RawValue::from_string("\"q1\"".into()).unwrap());
        let answered = Answered { query_id, result: Ok(found), ms: 1.9 };
        assert_eq!(serde_json::to_string(&answered.object()).unwrap(), r#"{"query_id":"q1","hits":[],"ms":1.9}"#);
    }
}
