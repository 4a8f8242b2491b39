//! Memories as the writer gets them, with the rows that an add of the component makes: record, what leads to it, the
//! entry with its vector. Made up from numbers, so that every run has the same.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::index::{Attribute, Entry, Passage, Value, WeightedText};
use crate::contract::storage::{Delete, Durability, Increment, Operation, Precondition, Put};
use crate::contract::types::Scope;
use crate::store::{CACHE_BYTES, OpenOptions, Row, Store, Tenant};
use crate::writer::{Batch, BatchVector};

const WORDS: [&str; 16] = [
    "amber",
    "lamp",
    "cedar",
    "window",
    "meeting",
    "vegetarian",
    "invoice",
    "harbour",
    "garden",
    "letter",
    "morning",
    "violin",
    "ticket",
    "sister",
    "mountain",
    "kitchen",
];
/// Characters of a text.
const TEXT: usize = 200;
/// Bytes of a record beside its text: header, scope, metadata.
const HEAD: usize = 90;
const USERS: usize = 50;

pub(super) fn options() -> OpenOptions {
    OpenOptions { wait: Duration::ZERO, holder: "cairn bench".to_owned(), cache_bytes: CACHE_BYTES }
}

/// Gives out memories, each once.
pub(super) struct Memories {
    dimensions: u32,
    next: usize,
}

impl Memories {
    pub(super) fn new(dimensions: u32) -> Memories {
        Memories { dimensions, next: 0 }
    }

    /// The next so many, one a batch.
    pub(super) fn take(&mut self, n: usize, tenant: Tenant, durability: Durability) -> Vec<Batch> {
        let first = self.next;
        self.next += n;
        (first..self.next).map(|number| self.batch(number, tenant, durability)).collect()
    }

    /// Keys of records that were given out, other ones for each call.
    pub(super) fn keys(&self, n: usize, call: usize) -> Vec<Vec<u8>> {
        (0..n).map(|place| id((call * 7_919 + place * 104_729) % self.next).to_vec()).collect()
    }

    /// Batches that delete every so manieth of those given out, a hundred a batch.
    pub(super) fn removals(&self, every: usize, tenant: Tenant) -> Vec<Batch> {
        let numbers: Vec<usize> = (0..self.next).step_by(every).collect();
        let delete = |table: &str, key: Vec<u8>| Operation::Delete(Delete { table: table.to_owned(), key });
        let operations = |number: &usize| {
            let user = user(*number);
            [
                delete("memory", id(*number).to_vec()),
                delete("place", same_text(*number)),
                delete("place", listing(&user, *number)),
                Operation::IndexDelete(text_of(&id(*number))),
            ]
        };
        let batch = |numbers: &[usize]| Batch {
            tenant,
            operations: numbers.iter().flat_map(operations).collect(),
            preconditions: vec![],
            vectors: vec![],
            durability: Durability::Durable,
            scrub: false,
        };
        numbers.chunks(100).map(batch).collect()
    }

    fn batch(&self, number: usize, tenant: Tenant, durability: Durability) -> Batch {
        let (id, user, text) = (id(number), user(number), text(number));
        let put =
            |table: &str, key: Vec<u8>, value: Vec<u8>| Operation::Put(Put { table: table.to_owned(), key, value });
        let record = [vec![7; HEAD], text.clone().into_bytes()].concat();
        let entry = Entry {
            key: text_of(&id),
            scope: Scope { user: Some(user.clone()), agent: None, app: None, run: None },
            at: 1_700_000_000_000 + i64::try_from(number).unwrap_or_default(),
            actor: None,
            attributes: vec![Attribute { name: "kind".to_owned(), value: Value::Text("fact".to_owned()) }],
            passages: Some(vec![Passage { words: vec![WeightedText { text, weight: 1.0 }], vector: Some(0) }]),
        };
        let operations = vec![
            put("memory", id.to_vec(), record),
            put("place", same_text(number), id.to_vec()),
            put("place", listing(&user, number), vec![]),
            put("place", format!("u{user}").into_bytes(), number.to_le_bytes().to_vec()),
            Operation::Increment(Increment { table: "place".to_owned(), key: format!("c{user}").into_bytes(), by: 1 }),
            Operation::IndexPut(entry),
        ];
        let absent = Precondition { table: "place".to_owned(), key: same_text(number), value: None };
        let vectors = vec![BatchVector::Ready(Arc::new(vector(number, self.dimensions)))];
        Batch { tenant, operations, preconditions: vec![absent], vectors, durability, scrub: false }
    }
}

/// A well mixed number.
fn mixed(number: usize) -> u64 {
    let mut mixed = (number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Ascends with the number, as ids do with time.
fn id(number: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(0x0197_0000_0000_7000 + (number as u64)).to_be_bytes());
    id[8..].copy_from_slice(&mixed(number).to_be_bytes());
    id
}

fn text_of(id: &[u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*id));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn user(number: usize) -> String {
    format!("user-{:02}", number % USERS)
}

fn text(number: usize) -> String {
    let mut text = format!("memory {number}:");
    let mut chance = mixed(number);
    while text.len() < TEXT {
        text.push(' ');
        text.push_str(WORDS[usize::try_from(chance % 16).unwrap_or_default()]);
        chance = mixed(usize::try_from(chance >> 3).unwrap_or_default());
    }
    text.truncate(TEXT);
    text
}

fn same_text(number: usize) -> Vec<u8> {
    [&b"x"[..], &mixed(number).to_be_bytes(), &mixed(number + 1).to_be_bytes()].concat()
}

fn listing(user: &str, number: usize) -> Vec<u8> {
    [b"f0", user.as_bytes(), &[0], &id(number)].concat()
}

/// Unit length.
#[expect(clippy::cast_precision_loss, reason = "any numbers will do")]
fn vector(number: usize, dimensions: u32) -> Vec<f32> {
    let mut chance = mixed(number);
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            (chance >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    for x in &mut vector {
        *x /= length;
    }
    vector
}

/// The rows of a store that [`Memories`] filled, shared out into groups of so many memories, each in the order of tables
/// and keys, as one commit would write them.
pub(super) fn groups(store: &Store, size: usize) -> anyhow::Result<Vec<Vec<Row>>> {
    let all = store.all_rows()?;
    let records: Vec<&[u8]> = all.iter().filter(|row| row.0 == "guest-memory").map(|row| &row.1[4..]).collect();
    let places: HashMap<&[u8], usize> = records.iter().enumerate().map(|(place, id)| (*id, place / size)).collect();
    let n_groups = records.len().div_ceil(size);
    let mut groups = vec![vec![]; n_groups];
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for row @ (table, key, value) in &all {
        let behind = &key[key.len().saturating_sub(16)..];
        match (table.as_str(), places.get(behind).or_else(|| places.get(value.as_slice()))) {
            (_, Some(group)) => groups[*group].push(row.clone()),
            // Counters and heads, which every commit writes.
            ("guest-place" | "meta", None) => groups.iter_mut().for_each(|group| group.push(row.clone())),
            // Rows by the text of an id lie in the order of the ids; the changelog is as long as there were commits.
            (_, None) => {
                let place = seen.entry(table).or_default();
                groups[(*place / size).min(n_groups - 1)].push(row.clone());
                *place += 1;
            }
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Writer;

    #[tokio::test]
    async fn groups_hold_every_row_and_the_same_rows_make_the_same_store() {
        let store = Store::in_memory().unwrap();
        let tenant = store.tenant("bench").unwrap();
        let writer = Writer::start(store.clone(), |_| {});
        let mut memories = Memories::new(8);
        for batch in memories.take(10, tenant, Durability::Durable) {
            writer.apply(batch).await.unwrap();
        }
        let groups = groups(&store, 4).unwrap();
        assert_eq!(groups.len(), 3);
        let again = Store::in_memory().unwrap();
        for group in &groups {
            again.put_rows(group).unwrap();
        }
        assert_eq!(again.all_rows().unwrap(), store.all_rows().unwrap());
        for batch in memories.removals(1, tenant) {
            writer.apply(batch).await.unwrap();
        }
        let left = store.all_rows().unwrap();
        assert!(left.iter().all(|(table, ..)| !matches!(table.as_str(), "entry" | "vector" | "guest-memory")));
    }
}
