//! A store in memory, for the tests of transfers. Exact about keys, places of refusals and the order of commits; it finds
//! nothing by meaning and knows no views.
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Answers, Memories};
use crate::contract::memory::{Archive, Change, Effect, ListRequest, Model, Outcome, Page, Promise, Reason, Version};
use crate::contract::types::{Content, Error, Memory, Refusal, Scope, State};

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Store>>);

#[derive(Default)]
pub(super) struct Store {
    /// In the order of their commits.
    pub(super) memories: Vec<Archive>,
    /// Answers of the next calls, before any memory is looked at.
    pub(super) errors: VecDeque<Option<Error>>,
    /// A call with more items fails with `timeout`.
    pub(super) most_items: Option<usize>,
    /// A read of more memories or versions is more than a call carries.
    pub(super) most: Option<usize>,
    /// A call with this text is refused as a whole, at the place of the item.
    pub(super) poison: Option<String>,
    /// Items of each call that began.
    pub(super) calls: Vec<usize>,
    in_flight: Vec<HashSet<String>>,
    pub(super) most_in_flight: usize,
    /// Calls that began while another one had one of their scopes.
    pub(super) overlaps: usize,
}

impl Fake {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap()
    }

    /// Texts of one scope in the order of their commits.
    pub(super) fn texts(&self, scope: &Scope) -> Vec<String> {
        let store = self.store();
        let contents = store.memories.iter().map(|archive| &archive.present.memory.content);
        contents.filter(|content| content.scope == *scope).map(|content| content.text.clone()).collect()
    }

    async fn commit(&self, items: Vec<Archive>) -> Answers {
        let scopes: HashSet<String> =
            items.iter().map(|item| format!("{:?}", item.present.memory.content.scope)).collect();
        let delay = {
            let mut store = self.store();
            let number = store.calls.len();
            store.calls.push(items.len());
            if let Some(Some(error)) = store.errors.pop_front() {
                return Err(error);
            }
            if store.most_items.is_some_and(|most| items.len() > most) {
                return Err(Error::Timeout);
            }
            if let Some(n) =
                items.iter().position(|item| store.poison.as_ref() == Some(&item.present.memory.content.text))
            {
                return Err(invalid(&format!("items[{n}].text"), "is poison"));
            }
            store.overlaps += usize::from(store.in_flight.iter().any(|other| !other.is_disjoint(&scopes)));
            store.in_flight.push(scopes.clone());
            store.most_in_flight = store.most_in_flight.max(store.in_flight.len());
            // Later calls often finish first.
            [7, 1, 4, 2][number % 4]
        };
        for _ in 0..delay {
            tokio::task::yield_now().await;
        }
        let mut store = self.store();
        store.in_flight.retain(|other| *other != scopes);
        Ok(items.into_iter().enumerate().map(|(n, item)| store.put(n, item)).collect())
    }
}

impl Store {
    fn put(&mut self, n: usize, mut item: Archive) -> Result<Outcome, Error> {
        let new = &mut item.present.memory;
        let content = &new.content;
        if content.text.trim().is_empty() && new.state != State::Deleted {
            return Err(invalid(&format!("items[{n}].text"), "the text is blank"));
        }
        let same = self.memories.iter_mut().find(|other| {
            let other = &other.present.memory;
            let same_key =
                content.key.is_some() && other.content.key == content.key && other.content.scope == content.scope;
            same_key || other.id == new.id
        });
        let same = same.map(|other| &mut other.present.memory);
        let (id, version, change) = match same {
            Some(other) if other.content == *content => (other.id.clone(), other.version, Change::Unchanged),
            Some(other) => {
                other.content = content.clone();
                other.version += 1;
                (other.id.clone(), other.version, Change::Updated)
            }
            None => {
                if new.id.is_empty() {
                    new.id = format!("0197a3c4-0000-7000-8000-{:012}", self.memories.len());
                }
                let (id, version) = (new.id.clone(), new.version);
                self.memories.push(item);
                (id, version, Change::Added)
            }
        };
        let item = Effect { id, version, change, reason: Reason::Requested, similarity: None };
        Ok(Outcome { item, others: Vec::new(), truncated_tokens: 0 })
    }
}

impl Memories for Fake {
    async fn add(&self, items: Vec<Content>, _: Promise) -> Answers {
        let as_new = |content| {
            let memory = Memory {
                id: String::new(),
                version: 1,
                content,
                state: State::Live,
                superseded_by: None,
                created_at: 0,
                updated_at: 0,
            };
            let present = Version { memory, change: Change::Added, reason: Reason::Requested, similarity: None };
            Archive { present, earlier: Vec::new() }
        };
        self.commit(items.into_iter().map(as_new).collect()).await
    }

    async fn take_over(&self, items: Vec<Archive>, _: Promise) -> Answers {
        self.commit(items).await
    }

    async fn list(&self, request: ListRequest) -> Result<Page, Error> {
        let store = self.store();
        let from: usize = request.after.map_or(0, |after| after.parse().unwrap());
        let to = store.memories.len().min(from + request.limit as usize);
        carried(&store, to - from)?;
        Ok(Page {
            memories: store.memories[from..to].iter().map(|archive| archive.present.memory.clone()).collect(),
            next: (to < store.memories.len()).then(|| to.to_string()),
            total: request.count.then(|| u32::try_from(store.memories.len()).unwrap()),
        })
    }

    async fn history(&self, ids: Vec<String>, limit: u32, before: Option<u32>) -> Result<Vec<Vec<Version>>, Error> {
        let store = self.store();
        let history = |id: &String| {
            let archive = store.memories.iter().find(|archive| archive.present.memory.id == *id).unwrap();
            if archive.present.change == Change::Erased {
                return Vec::new();
            }
            let all = std::iter::once(&archive.present).chain(&archive.earlier);
            let wanted = all.filter(|version| before.is_none_or(|before| version.memory.version < before));
            wanted.take(limit as usize).cloned().collect()
        };
        let answers: Vec<Vec<Version>> = ids.iter().map(history).collect();
        carried(&store, answers.iter().map(Vec::len).sum())?;
        Ok(answers)
    }

    async fn vectors(&self, ids: Vec<String>) -> Result<Vec<Option<Vec<Vec<f32>>>>, Error> {
        Ok(ids.iter().map(|_| Some(vec![vec![0.5, -1.0]])).collect())
    }

    async fn model(&self) -> Result<Option<Model>, Error> {
        Ok(Some(Model { name: "small".to_owned(), fingerprint: "f1".to_owned() }))
    }
}

fn carried(store: &Store, n: usize) -> Result<(), Error> {
    let refusal = || Refusal { place: String::new(), message: "too much for a call".to_owned() };
    if store.most.is_some_and(|most| n > most) { Err(Error::LimitExceeded(refusal())) } else { Ok(()) }
}

fn invalid(place: &str, message: &str) -> Error {
    Error::InvalidArgument(Refusal { place: place.to_owned(), message: message.to_owned() })
}
