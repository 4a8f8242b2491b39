//! `cairn demo`: a small story of two users over five days, told step by step in a store of its own. Each step is checked
//! as it is told: a step that comes out otherwise ends the demo with an error.
use std::time::Instant;

use super::arguments::{in_words, present, write_options};
use super::change;
use super::failure::{Exit, Failure};
use super::output::{Form, Output};
use super::search::{milliseconds, show};
use super::session::Session;
use crate::contract::memory::{
    AddOptions, Change, Comparison, Deletion, Edit, Erasure, Extraction, Found, ListRequest, Order, Outcome, Patch,
    Query, Restoration, Target,
};
use crate::contract::types::{Content, Error, Kind, Scope};
use crate::engine::Engine;
use crate::times;
use crate::wire::ErrorObject;

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn demo                                             needs nothing, leaves nothing behind
  cairn demo --json                                      {\"steps\":11,\"ms\":…}";

/// User, day, metadata and text of what is remembered.
const STORY: [(&str, &str, &str, &str); 12] = [
    ("ana", "2025-03-03", "", "Ana moved from Lisbon to Berlin in January"),
    ("ana", "2025-03-03", "", "Ana is vegetarian, and peanuts make her ill"),
    ("ana", "2025-03-04", "", "The router in the flat is a FritzBox 7590, its password is under the lid"),
    ("ana", "2025-03-04", "", "Her sister Rita visits on 14 April and stays for a week"),
    ("ana", "2025-03-05", "", "Ana is training for the half marathon in Hamburg"),
    (
        "ana",
        "2025-03-06",
        r#"{"project":"books","amount":1250.00}"#,
        "Ticket DX-4417: Nordwind paid the same invoice twice",
    ),
    ("ana", "2025-03-07", r#"{"project":"ops"}"#, "The deploy on Friday failed because the disk was full"),
    ("ana", "2025-03-07", "", "Ana likes short answers with one example"),
    ("ben", "2025-03-03", "", "Ben eats fish but no meat"),
    ("ben", "2025-03-05", "", "Ben's bicycle is in the repair shop until Thursday"),
    ("ben", "2025-03-06", r#"{"project":"books"}"#, "The rent for Ben's studio is due on the first of each month"),
    ("ben", "2025-03-07", "", "Ben plays the cello in an orchestra on Wednesdays"),
];

/// Where the story's memories stand in it.
const VEGETARIAN: usize = 1;
const ROUTER: usize = 2;
const TICKET: usize = 5;
const FISH: usize = 8;

pub(crate) async fn run(session: &Session) -> Result<Exit, Failure> {
    #[derive(serde::Serialize)]
    struct Document {
        steps: u32,
        ms: f64,
    }
    let directory = tempfile::Builder::new().prefix("cairn-demo-").tempdir()?;
    let mut session = Session {
        config: session.config.clone(),
        output: session.output.clone(),
        interrupt: session.interrupt.clone(),
        verb: session.verb,
    };
    directory.path().clone_into(&mut session.config.data.value);
    let start = Instant::now();
    let mut demo = Demo { session, steps: 0, ids: Vec::new() };
    demo.tell().await?;
    let ms = milliseconds(start);
    let Demo { session, steps, .. } = demo;
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&Document { steps, ms })?,
        Form::People => {
            session
                .output
                .say(&format!("\nAll {steps} steps came out as told, in {:.2} s. The store is removed.", ms / 1e3))?;
            session.output.say("Now your own:  cairn add \"…\"  and  cairn search \"…\"")?;
        }
    }
    Ok(Exit::Done)
}

struct Demo {
    session: Session,
    steps: u32,
    /// Of the story's memories, in its order.
    ids: Vec<String>,
}

impl Demo {
    async fn tell(&mut self) -> Result<(), Failure> {
        let engine = self.session.open()?;
        let told = self.remember(&engine).await;
        engine.close().await;
        told?;
        let engine = self.session.open()?;
        let told = self.use_it(&engine).await;
        engine.close().await;
        told
    }

    async fn remember(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.step("Remember twelve things about two people, over five days", "cairn add -u ana --at 2025-03-03 \"…\"")?;
        let mut items = Vec::with_capacity(STORY.len());
        for (user, day, metadata, text) in STORY {
            let at = times::parse(day).map_err(|reason| came_out_otherwise(&reason))?;
            items.push(content(user, at, metadata, text));
            self.session.output.say(&format!("   {day}  {user}  {text}"))?;
        }
        let outcomes = add(engine, items).await?;
        let added = |outcome: &Result<Outcome, Error>| {
            outcome.as_ref().is_ok_and(|outcome| outcome.item.change == Change::Added)
        };
        check(outcomes.len() == STORY.len() && outcomes.iter().all(added), "twelve memories are added")?;
        self.ids = outcomes.into_iter().flatten().map(|outcome| outcome.item.id).collect();
        self.says("12 added, durable on disk")
    }

    async fn use_it(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.after_a_restart(engine).await?;
        self.by_meaning(engine).await?;
        self.by_words(engine).await?;
        self.by_filter(engine).await?;
        self.only_ones_own(engine).await?;
        self.change(engine).await?;
        self.twice(engine).await?;
        self.delete(engine).await
    }

    async fn after_a_restart(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.step("Close the store and open it again: a restart", "cairn stats")?;
        let statistics = engine.stats(anyone()).await?;
        check(statistics.live == 12, "twelve memories are there after the restart")?;
        let model = statistics.model.map_or_else(|| "no model".to_owned(), |model| model.name);
        self.says(&format!("12 memories, {} bytes, {model}", statistics.bytes))
    }

    async fn by_meaning(&mut self, engine: &Engine) -> Result<(), Failure> {
        let question = "which food must Ana avoid?";
        self.step(
            "Ask in other words than were stored, and see why",
            &format!("cairn search -u ana {question:?} --explain"),
        )?;
        let found = search(engine, Query { explain: true, ..query("ana", question) }).await?;
        show(&found, &self.session.output)?;
        check(holds(&found, self.id(VEGETARIAN)?), "what Ana does not eat is among the hits")?;
        check(found.hits.iter().all(|hit| hit.explanation.is_some()), "each hit says why it is there")
    }

    async fn by_words(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.step("Find an exact name that no model knows", "cairn search \"DX-4417\"")?;
        let found = search(engine, Query { scope: anyone(), limit: 1, ..query("", "DX-4417") }).await?;
        show(&found, &self.session.output)?;
        check(first(&found) == Some(self.id(TICKET)?), "the ticket comes first")?;
        check(found.hits.iter().all(|hit| hit.raw.lexical > 0.0), "it is found by its words")
    }

    async fn by_filter(&mut self, engine: &Engine) -> Result<(), Failure> {
        let filter = r#"{"metadata.project":"books"}"#;
        self.step("List by metadata, across both users", &format!("cairn list --filter '{filter}'"))?;
        let request = ListRequest {
            scope: anyone(),
            filter: Some(filter.to_owned()),
            view: present(),
            order: Order::OldestFirst,
            limit: 10,
            after: None,
            count: false,
        };
        let page = engine.list(request).await?;
        for memory in &page.memories {
            let content = &memory.content;
            self.says(&format!("{}: {} {}", in_words(&content.scope), content.text, content.metadata))?;
        }
        let kept = page.memories.iter().any(|memory| memory.content.metadata.contains("1250.00"));
        check(page.memories.len() == 2 && kept, "two memories have the project, with metadata as they were given")
    }

    async fn only_ones_own(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.step("Ben's question never sees what is Ana's", "cairn search -u ben \"what does he eat?\"")?;
        let found = search(engine, query("ben", "what does he eat?")).await?;
        show(&found, &self.session.output)?;
        let own = found.hits.iter().all(|hit| hit.memory.content.scope.user.as_deref() == Some("ben"));
        check(own && holds(&found, self.id(FISH)?), "all hits are Ben's, with what he eats among them")
    }

    async fn change(&mut self, engine: &Engine) -> Result<(), Failure> {
        let text = "Ana eats fish now, and peanuts still make her ill";
        self.step("People change: update a memory", &format!("cairn update ID {text:?}"))?;
        let patch = Patch {
            text: Some(text.to_owned()),
            metadata: None,
            kind: None,
            at: None,
            valid_from: None,
            valid_to: None,
            expires_at: None,
            links: None,
        };
        let target = self.target(VEGETARIAN)?;
        let edit = Edit { target: target.clone(), patch, expect_version: Some(1) };
        let updated = one(engine.update(vec![edit], write_options(false)).await?)?;
        check(updated.item.change == Change::Updated && updated.item.version == 2, "it is version 2 now")?;
        let found = search(engine, query("ana", "can she eat fish?")).await?;
        check(first(&found) == Some(self.id(VEGETARIAN)?), "the new text is found")?;
        self.says("updated, and found by its new text")?;

        self.step("The earlier version is not lost", "cairn history ID")?;
        let versions = engine.history(vec![target], 10, None).await?.pop().unwrap_or_default();
        let rows: Vec<Vec<String>> = versions.iter().map(change::row).collect();
        self.session.output.table(&["VERSION", "SINCE", "CHANGE", "REASON", "TEXT"], &rows)?;
        let texts: Vec<&str> = versions.iter().map(|version| version.memory.content.text.as_str()).collect();
        check(texts == [text, STORY[VEGETARIAN].3], "the history has both versions, newest first")
    }

    async fn twice(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.step("Hearing the same thing twice does not make two memories", "cairn add -u ben --at 2025-03-03 \"…\"")?;
        let (user, day, metadata, text) = STORY[FISH];
        let at = times::parse(day).map_err(|reason| came_out_otherwise(&reason))?;
        let again = one(add(engine, vec![content(user, at, metadata, text)]).await?)?;
        let same = again.item.change == Change::Unchanged && again.item.id == self.id(FISH)?;
        check(same, "it is unchanged, under the id that was there")?;
        self.says("unchanged: it is there already")
    }

    async fn delete(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.step("Delete a memory", "cairn delete ID")?;
        let target = self.target(ROUTER)?;
        let deletion = Deletion { target: target.clone(), expect_version: None };
        let deleted = one(engine.delete(vec![deletion], Erasure::KeepHistory, write_options(false)).await?)?;
        check(deleted.item.change == Change::Deleted, "it is deleted")?;
        let found = search(engine, query("ana", "FritzBox 7590")).await?;
        let gone = engine.get(vec![target.clone()], present()).await? == [None];
        check(gone && !holds(&found, self.id(ROUTER)?), "no read sees it any more")?;
        self.says("deleted: neither get nor search sees it")?;

        self.step("A deletion can be undone; `cairn forget` could not", "cairn restore ID --version 1")?;
        let restoration = Restoration { target: target.clone(), version: 1, expect_version: None };
        let restored = one(engine.restore(vec![restoration], write_options(false)).await?)?;
        check(restored.item.change == Change::Restored, "it is restored")?;
        let text = engine.get(vec![target], present()).await?.pop().flatten().map(|memory| memory.content.text);
        check(text.as_deref() == Some(STORY[ROUTER].3), "its text is back")?;
        self.says("restored, with its text and its history")
    }

    /// Begins a step: what it shows, and the command that would do it.
    fn step(&mut self, title: &str, command: &str) -> Result<(), Failure> {
        self.steps += 1;
        let output = &self.session.output;
        output.say(&format!("\n{}", output.bold(&format!("{}. {title}", self.steps))))?;
        output.say(&output.dim(&format!("   $ {command}")))
    }

    fn says(&self, text: &str) -> Result<(), Failure> {
        self.session.output.say(&format!("   {text}"))
    }

    fn id(&self, place: usize) -> Result<&str, Failure> {
        self.ids.get(place).map(String::as_str).ok_or_else(|| came_out_otherwise("each memory has an id"))
    }

    fn target(&self, place: usize) -> Result<Target, Failure> {
        Ok(Target::Id(self.id(place)?.to_owned()))
    }
}

fn anyone() -> Scope {
    Scope { user: None, agent: None, app: None, run: None }
}

fn of_user(user: &str) -> Scope {
    Scope { user: Some(user.to_owned()), ..anyone() }
}

fn content(user: &str, at: i64, metadata: &str, text: &str) -> Content {
    Content {
        text: text.to_owned(),
        scope: of_user(user),
        key: None,
        actor: None,
        role: None,
        kind: Kind::Fact,
        metadata: metadata.to_owned(),
        at: Some(at),
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: Vec::new(),
    }
}

fn query(user: &str, text: &str) -> Query {
    Query {
        text: text.to_owned(),
        scope: of_user(user),
        filter: None,
        view: present(),
        limit: 3,
        minimum: None,
        diversity: None,
        rerank: false,
        tuning: None,
        explain: false,
    }
}

async fn add(engine: &Engine, items: Vec<Content>) -> Result<Vec<Result<Outcome, Error>>, Failure> {
    let options =
        AddOptions { write: write_options(false), comparison: Comparison::Exact, extraction: Extraction::None };
    Ok(engine.add(items, options).await?.items)
}

async fn search(engine: &Engine, query: Query) -> Result<Found, Failure> {
    let found = engine.search(vec![query]).await?.pop();
    Ok(found.ok_or_else(|| came_out_otherwise("a query has an answer"))??)
}

fn one(outcomes: Vec<Result<Outcome, Error>>) -> Result<Outcome, Failure> {
    let outcome = outcomes.into_iter().next();
    Ok(outcome.ok_or_else(|| came_out_otherwise("an item has an outcome"))??)
}

fn first(found: &Found) -> Option<&str> {
    found.hits.first().map(|hit| hit.memory.id.as_str())
}

fn holds(found: &Found, id: &str) -> bool {
    found.hits.iter().any(|hit| hit.memory.id == id)
}

fn check(holds: bool, expectation: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(came_out_otherwise(expectation)) }
}

fn came_out_otherwise(expectation: &str) -> Failure {
    let error = ErrorObject::new("internal", format!("this step came out otherwise; expected: {expectation}"));
    Failure::Failed(error.hint("a defect; please report it with the output of `cairn version`"))
}
