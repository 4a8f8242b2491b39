//! The writer on stores in memory: what a batch may do, what is committed together, what the changelog tells.
use super::*;
use crate::contract::index::{Attribute, Entry, Passage, Value, WeightedText};
use crate::contract::storage::{Delete, Increment, Pair, Pairs, Put, Range};
use crate::contract::types::Scope;
use crate::entry::StoredEntry;
use crate::store::tests::Random;
use crate::store::{Disk, OpenOptions, Owed, Place, StorageBackend};
use std::path::Path;
use std::sync::mpsc;

mod disks;
mod faults;
#[expect(dead_code, reason = "the tests of the whole engine use the rest")]
#[path = "../../../tests/recover/shelf.rs"]
mod shelf;

type Absorbed = Arc<Mutex<Vec<(Seq, Vec<Change>)>>>;

struct Rig {
    store: Store,
    writer: Writer,
    tenant: Tenant,
    absorbed: Absorbed,
}

fn over(store: Store) -> Rig {
    let absorbed = Absorbed::default();
    let inner = absorbed.clone();
    let writer = Writer::start(store.clone(), move |news| {
        if let News::Commit { seq, changes, .. } = news {
            inner.lock().unwrap().push((seq, changes));
        }
    });
    let tenant = store.tenant("t").unwrap();
    Rig { store, writer, tenant, absorbed }
}

fn memory() -> Rig {
    over(Store::in_memory().unwrap())
}

impl Rig {
    fn batch(&self, operations: Vec<Operation>) -> Batch {
        Batch {
            tenant: self.tenant,
            operations,
            preconditions: vec![],
            vectors: vec![],
            durability: Durability::Durable,
            scrub: false,
        }
    }

    async fn apply(&self, operations: Vec<Operation>) -> Result<Applied, StoreError> {
        self.writer.apply(self.batch(operations)).await
    }

    async fn apply_with(&self, operations: Vec<Operation>, vectors: Vec<BatchVector>) -> Applied {
        self.writer.apply(Batch { vectors, ..self.batch(operations) }).await.unwrap()
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let snapshot = self.store.snapshot().unwrap();
        snapshot.get(self.tenant, "a", &[key.into()]).unwrap().remove(0)
    }

    fn scan(&self, range: &Range) -> Pairs {
        self.store.snapshot().unwrap().scan(self.tenant, "a", range).unwrap()
    }

    /// The entry as stored, and the last one that was absorbed, which must not differ.
    fn entry(&self, key: &str) -> Option<StoredEntry> {
        let stored = self.store.snapshot().unwrap().entry(self.tenant, key).unwrap();
        let absorbed = self.absorbed.lock().unwrap();
        let last = absorbed.iter().rev().flat_map(|(_, changes)| changes).find(|change| match change {
            Change::Put(stored) => stored.entry.key == key,
            Change::Delete(deleted) => deleted == key,
        });
        match last {
            Some(Change::Put(absorbed)) => assert_eq!(stored.as_ref(), Some(&**absorbed)),
            Some(Change::Delete(_)) | None => assert_eq!(stored, None),
        }
        stored
    }

    fn owed(&self) -> Vec<Owed> {
        self.store.snapshot().unwrap().owed(self.tenant, 100).unwrap()
    }

    fn head(&self) -> Seq {
        self.store.snapshot().unwrap().head(self.tenant).unwrap()
    }
}

fn put_in(table: &str, key: &str, value: &[u8]) -> Operation {
    Operation::Put(Put { table: table.to_owned(), key: key.into(), value: value.to_vec() })
}

fn put(key: &str, value: &[u8]) -> Operation {
    put_in("a", key, value)
}

fn delete(key: &str) -> Operation {
    Operation::Delete(Delete { table: "a".to_owned(), key: key.into() })
}

fn increment(key: &str, by: i64) -> Operation {
    Operation::Increment(Increment { table: "a".to_owned(), key: key.into(), by })
}

fn expect(key: &str, value: Option<&[u8]>) -> Precondition {
    Precondition { table: "a".to_owned(), key: key.into(), value: value.map(<[u8]>::to_vec) }
}

fn entry(key: &str, actor: &str, passages: Option<Vec<(&str, Option<u32>)>>) -> Entry {
    Entry {
        key: key.to_owned(),
        scope: Scope { user: Some("u".to_owned()), agent: None, app: None, run: None },
        at: -5,
        actor: Some(actor.to_owned()),
        attributes: vec![Attribute { name: "n".to_owned(), value: Value::Number(0.1) }],
        passages: passages.map(|passages| {
            passages
                .into_iter()
                .map(|(text, vector)| Passage {
                    words: vec![WeightedText { text: text.to_owned(), weight: 1.0 }],
                    vector,
                })
                .collect()
        }),
    }
}

fn ready(numbers: &[f32]) -> BatchVector {
    BatchVector::Ready(Arc::new(numbers.to_vec()))
}

fn all(limit: u32) -> Range {
    Range { start: vec![], end: None, reverse: false, limit, keys_only: false }
}

fn keys(pairs: &Pairs) -> Vec<&str> {
    pairs.pairs.iter().map(|pair| std::str::from_utf8(&pair.key).unwrap()).collect()
}

#[tokio::test]
async fn what_was_put_is_read_and_positions_ascend() {
    let rig = memory();
    assert_eq!(rig.head(), Seq(0));
    assert_eq!(
        rig.apply(vec![put("k", b"1"), put("k", b"2"), put("gone", b"x"), delete("gone")]).await.unwrap(),
        Applied::Committed(1)
    );
    assert_eq!(rig.apply(vec![delete("absent")]).await.unwrap(), Applied::Committed(2));
    assert_eq!((rig.get("k"), rig.get("gone"), rig.head()), (Some(b"2".to_vec()), None, Seq(2)));
    assert_eq!(rig.apply(vec![]).await.unwrap(), Applied::Committed(2));
    let other = rig.store.tenant("other").unwrap();
    assert_eq!(rig.store.snapshot().unwrap().get(other, "a", &[b"k".to_vec()]).unwrap(), [None]);
    let batch = Batch { tenant: other, ..rig.batch(vec![put("k", b"theirs")]) };
    assert_eq!(rig.writer.apply(batch).await.unwrap(), Applied::Committed(1));
    assert_eq!(rig.get("k"), Some(b"2".to_vec()));
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_precondition_changes_nothing_and_names_its_place() {
    let rig = memory();
    rig.apply(vec![put("k", b"1")]).await.unwrap();
    let preconditions = vec![expect("k", Some(b"1")), expect("k", None), expect("new", None), expect("new", Some(b""))];
    let batch = Batch { preconditions, ..rig.batch(vec![put("k", b"2")]) };
    assert_eq!(rig.writer.apply(batch).await.unwrap(), Applied::Conflict(vec![1, 3]));
    assert_eq!((rig.get("k"), rig.head()), (Some(b"1".to_vec()), Seq(1)));
}

#[tokio::test]
async fn increments_add_up_and_zero_is_removed() {
    let rig = memory();
    rig.apply(vec![increment("n", 5), increment("n", -7), put("bad", b"abc"), put("max", &i64::MAX.to_le_bytes())])
        .await
        .unwrap();
    assert_eq!(rig.get("n"), Some((-2_i64).to_le_bytes().to_vec()));
    rig.apply(vec![increment("n", 2)]).await.unwrap();
    assert_eq!(rig.get("n"), None);
    for (key, by) in [("bad", 1), ("max", 1)] {
        let refused = rig.apply(vec![put("other", b""), increment(key, by)]).await.unwrap_err();
        assert!(matches!(refused, StoreError::InvalidArgument { .. }), "{refused}");
    }
    assert_eq!(rig.get("other"), None);
}

#[tokio::test]
async fn scans_go_both_ways_and_say_when_there_is_more() {
    let rig = memory();
    rig.apply(["a", "b", "ba", "c", "d"].iter().map(|key| put(key, key.as_bytes())).collect()).await.unwrap();
    assert_eq!(keys(&rig.scan(&all(10))), ["a", "b", "ba", "c", "d"]);
    let part =
        |reverse, limit| Range { start: b"b".to_vec(), end: Some(b"d".to_vec()), reverse, limit, keys_only: true };
    let found = rig.scan(&part(false, 3));
    assert_eq!((keys(&found), found.more), (vec!["b", "ba", "c"], false));
    let found = rig.scan(&part(false, 2));
    assert_eq!((keys(&found), found.more), (vec!["b", "ba"], true));
    let found = rig.scan(&part(true, 2));
    assert_eq!((keys(&found), found.more), (vec!["c", "ba"], true));
    assert_eq!(found.pairs[0], Pair { key: b"c".to_vec(), value: vec![] });
    let backwards = Range { start: b"z".to_vec(), end: Some(b"a".to_vec()), ..all(5) };
    assert_eq!(rig.scan(&backwards), Pairs { pairs: vec![], more: false });
}

#[tokio::test]
async fn a_scan_ends_at_four_mebibytes() {
    let rig = memory();
    let value = vec![7; 2 << 20];
    rig.apply(["a", "b", "c"].iter().map(|key| put(key, &value)).collect()).await.unwrap();
    let found = rig.scan(&all(10));
    assert_eq!((keys(&found), found.more), (vec!["a"], true));
    let found = rig.scan(&Range { keys_only: true, ..all(10) });
    assert_eq!((keys(&found), found.more), (vec!["a", "b", "c"], false));
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was() {
    let rig = memory();
    rig.apply(vec![put("k", b"1")]).await.unwrap();
    let snapshot = rig.store.snapshot().unwrap();
    rig.apply(vec![put("k", b"2"), put("l", b"")]).await.unwrap();
    let keys = [b"k".to_vec(), b"l".to_vec()];
    assert_eq!(snapshot.get(rig.tenant, "a", &keys).unwrap(), [Some(b"1".to_vec()), None]);
    assert_eq!(snapshot.head(rig.tenant).unwrap(), Seq(1));
}

#[tokio::test]
async fn limits_are_refused_before_anything_is_done() {
    let rig = memory();
    let cases = [
        vec![put("", b"")],
        vec![put(&"k".repeat(2049), b"")],
        vec![put("k", &vec![0; (2 << 20) + 1])],
        vec![put_in("UPPER", "k", b"")],
        vec![delete("k"); 16_385],
        vec![Operation::IndexPut(entry("", "x", Some(vec![("a", None)])))],
        vec![Operation::IndexPut(entry(&"k".repeat(65), "x", Some(vec![("a", None)])))],
        vec![Operation::IndexPut(entry("k", "x", Some(vec![])))],
        vec![Operation::IndexPut(entry("k", "x", Some(vec![("a", Some(0))])))],
        vec![put("k", &vec![0; 2 << 20]); 33],
    ];
    for operations in cases {
        let refused = rig.apply(operations).await.unwrap_err();
        assert!(matches!(refused, StoreError::InvalidArgument { .. } | StoreError::Limit { .. }), "{refused}");
    }
    rig.store.set_model("m", "f", 2).unwrap();
    for numbers in [&[1.0][..], &[1.0, f32::NAN]] {
        let batch = Batch { vectors: vec![ready(numbers)], ..rig.batch(vec![]) };
        assert!(matches!(rig.writer.apply(batch).await, Err(StoreError::InvalidArgument { .. })));
    }
    assert_eq!(rig.head(), Seq(0));
}

#[tokio::test]
async fn the_seventeenth_table_is_refused() {
    let rig = memory();
    let table = |n: u8| put_in(&char::from(b'a' + n).to_string(), "k", b"");
    rig.apply((0..16).map(table).collect()).await.unwrap();
    let refused = rig.apply(vec![table(16)]).await.unwrap_err();
    assert_eq!(refused.to_string(), "operations[0].table: a store has at most 16 tables");
    rig.apply(vec![table(3)]).await.unwrap();
    let reading = Batch {
        preconditions: vec![Precondition { table: "zz".to_owned(), key: vec![1], value: None }],
        ..rig.batch(vec![table(3)])
    };
    assert_eq!(rig.writer.apply(reading).await.unwrap(), Applied::Committed(3));
}

#[tokio::test]
async fn entries_are_kept_with_vectors_and_replaced_in_place() {
    let rig = memory();
    let vectors = vec![ready(&[0.6, 0.8]), BatchVector::Unused, BatchVector::Owed("two".to_owned())];
    let passages = Some(vec![("one", Some(0)), ("two", Some(2)), ("three", None)]);
    rig.apply_with(vec![Operation::IndexPut(entry("k", "x", passages))], vectors).await;
    let first = rig.entry("k").unwrap();
    assert_eq!(first.order, 1 << 20);
    assert_eq!(first.owed, [false, true, false]);
    assert!((first.vectors[0].as_ref().unwrap()[1] - 0.8).abs() < 0.001);
    assert_eq!(rig.owed(), [Owed { key: "k".to_owned(), texts: vec![(1, "two".to_owned())] }]);
    assert_eq!(rig.store.snapshot().unwrap().owed_count(rig.tenant).unwrap(), 1);

    rig.apply(vec![Operation::IndexPut(entry("k", "y", None))]).await.unwrap();
    let mut expected = first.clone();
    expected.entry.actor = Some("y".to_owned());
    assert_eq!(rig.entry("k").unwrap(), expected);

    rig.apply(vec![Operation::IndexPut(entry("k", "z", Some(vec![("four", None)])))]).await.unwrap();
    let third = rig.entry("k").unwrap();
    assert_eq!((third.order, third.vectors, third.owed), (first.order, vec![None], vec![false]));
    assert_eq!(rig.owed(), []);
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());

    rig.apply(vec![Operation::IndexDelete("k".to_owned()), Operation::IndexDelete("absent".to_owned())]).await.unwrap();
    assert_eq!(rig.entry("k"), None);
    assert_eq!(rig.absorbed.lock().unwrap().last(), Some(&(Seq(4), vec![Change::Delete("k".to_owned())])));
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_entry_without_passages_needs_one_that_is_there() {
    let rig = memory();
    let refused = rig.apply(vec![put("k", b""), Operation::IndexPut(entry("e", "x", None))]).await.unwrap_err();
    assert!(matches!(&refused, StoreError::NotFound(key) if key == "e"), "{refused}");
    assert_eq!((rig.get("k"), rig.head()), (None, Seq(0)));
    let both =
        vec![Operation::IndexPut(entry("e", "x", Some(vec![("a", None)]))), Operation::IndexPut(entry("e", "y", None))];
    rig.apply(both).await.unwrap();
    assert_eq!(rig.entry("e").unwrap().entry.actor.as_deref(), Some("y"));
    assert_eq!(rig.absorbed.lock().unwrap()[0].1.len(), 1);
}

#[tokio::test]
async fn the_changelog_tells_what_is_there_by_now() {
    let rig = memory();
    let one = |key: &str| Operation::IndexPut(entry(key, "x", Some(vec![("a", None)])));
    rig.apply(vec![one("b"), one("a")]).await.unwrap();
    rig.apply(vec![put("k", b"")]).await.unwrap();
    rig.apply(vec![one("c"), Operation::IndexDelete("b".to_owned())]).await.unwrap();
    let snapshot = rig.store.snapshot().unwrap();
    let present = |key: &str| Change::Put(Box::new(snapshot.entry(rig.tenant, key).unwrap().unwrap()));
    let gone = Change::Delete("b".to_owned());
    let expected =
        vec![(Seq(1), vec![gone.clone(), present("a")]), (Seq(2), vec![]), (Seq(3), vec![present("c"), gone])];
    assert_eq!(snapshot.changes(rig.tenant, Seq(0), 10).unwrap(), expected);
    assert_eq!(snapshot.changes(rig.tenant, Seq(1), 1).unwrap(), expected[1..2]);
    let found: Vec<String> =
        snapshot.entries(rig.tenant, Some("a"), 5).unwrap().into_iter().map(|stored| stored.entry.key).collect();
    assert_eq!(found, ["c"]);
}

#[tokio::test]
async fn the_changelog_is_cut_and_says_so_to_who_is_too_far_behind() {
    let rig = memory();
    for n in 1..=100 {
        rig.apply(vec![put("n", &[n]), Operation::IndexPut(entry("e", "x", Some(vec![("a", None)])))]).await.unwrap();
    }
    let snapshot = rig.store.snapshot().unwrap();
    let changes = |after| snapshot.changes(rig.tenant, Seq(after), 1000);
    assert!(matches!(changes(0), Err(StoreError::Cut { after: 0, oldest: 48 })), "{:?}", changes(0).map(|c| c.len()));
    assert!(matches!(changes(46), Err(StoreError::Cut { .. })));
    let seqs: Vec<u64> = changes(47).unwrap().into_iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(seqs, (48..=100).collect::<Vec<_>>());
    assert_eq!(changes(100).unwrap(), []);
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn vectors_are_paid_only_for_the_text_they_were_owed_for() {
    let rig = memory();
    let owe = |key: &str, text: &str| {
        (Operation::IndexPut(entry(key, "x", Some(vec![(text, Some(0))]))), vec![BatchVector::Owed(text.to_owned())])
    };
    for (key, text) in [("a", "same"), ("b", "before"), ("c", "gone")] {
        let (operation, vectors) = owe(key, text);
        rig.apply_with(vec![operation], vectors).await;
    }
    let paid = rig.owed().into_iter().map(|owed| Paid {
        key: owed.key,
        vectors: owed.texts.into_iter().map(|(passage, text)| (passage, text, Arc::new(vec![1.0, 0.0]))).collect(),
    });
    let paid: Vec<Paid> = paid.collect();
    let (operation, vectors) = owe("b", "after");
    rig.apply_with(vec![operation, Operation::IndexDelete("c".to_owned())], vectors).await;
    rig.writer.pay(rig.tenant, paid.clone()).await.unwrap();
    assert_eq!(rig.entry("a").unwrap().vectors, [Some(vec![1.0, 0.0])]);
    assert_eq!(rig.entry("a").unwrap().owed, [false]);
    assert_eq!(rig.entry("b").unwrap().vectors, [None]);
    assert_eq!(rig.entry("c"), None);
    assert_eq!(rig.owed(), [Owed { key: "b".to_owned(), texts: vec![(0, "after".to_owned())] }]);
    let head = rig.head();
    rig.writer.pay(rig.tenant, paid).await.unwrap();
    assert_eq!(rig.head(), head);
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
}

/// Holds the writer within the absorption of a first commit until `together` all wait, and returns their answers.
async fn group(together: impl FnOnce(&Rig) -> Vec<Batch>) -> (Rig, Vec<Result<Applied, StoreError>>) {
    let store = Store::in_memory().unwrap();
    let absorbed = Absorbed::default();
    let (entered, has_entered) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let inner = absorbed.clone();
    let writer = Writer::start(store.clone(), move |news| {
        let News::Commit { seq, changes, .. } = news else { return };
        inner.lock().unwrap().push((seq, changes));
        let _ = entered.send(());
        // An error once the gate is gone: later commits pass.
        let _ = gate.recv();
    });
    let tenant = store.tenant("t").unwrap();
    let rig = Rig { store, writer, tenant, absorbed };
    let spawn = |batch: Batch| {
        let writer = rig.writer.clone();
        tokio::spawn(async move { writer.apply(batch).await })
    };
    let first = spawn(rig.batch(vec![put("first", b"1")]));
    tokio::task::yield_now().await;
    has_entered.recv().unwrap();
    let waiting: Vec<_> = together(&rig).into_iter().map(spawn).collect();
    // The runtime comes back to this task before it has been through all of them.
    for _ in &waiting {
        tokio::task::yield_now().await;
    }
    drop(open);
    first.await.unwrap().unwrap();
    let mut answers = vec![];
    for task in waiting {
        answers.push(task.await.unwrap());
    }
    (rig, answers)
}

#[tokio::test]
async fn what_waits_together_is_committed_together_and_sees_what_came_before() {
    let (rig, answers) = group(|rig| {
        vec![
            rig.batch(vec![put("k", b"1"), increment("n", 1)]),
            Batch { preconditions: vec![expect("k", None)], ..rig.batch(vec![put("k", b"lost")]) },
            Batch {
                preconditions: vec![expect("k", Some(b"1"))],
                ..rig.batch(vec![put("k", b"2"), increment("n", 1)])
            },
            rig.batch(vec![put("k", b"never"), Operation::IndexPut(entry("absent", "x", None))]),
            rig.batch(vec![Operation::IndexPut(entry("e", "x", Some(vec![("a", None)])))]),
            rig.batch(vec![
                Operation::IndexPut(entry("f", "x", Some(vec![("a", None)]))),
                Operation::IndexPut(entry("e", "y", None)),
            ]),
        ]
    })
    .await;
    let answers: Vec<Result<Applied, String>> =
        answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect();
    let committed = || Ok(Applied::Committed(2));
    let expected = [
        committed(),
        Ok(Applied::Conflict(vec![0])),
        committed(),
        Err("no entry with key \"absent\"".to_owned()),
        committed(),
        committed(),
    ];
    assert_eq!(answers, expected);
    assert_eq!((rig.get("k"), rig.get("n")), (Some(b"2".to_vec()), Some(2_i64.to_le_bytes().to_vec())));
    assert_eq!(rig.entry("f").unwrap().order, rig.entry("e").unwrap().order + 1);
    let absorbed = rig.absorbed.lock().unwrap();
    assert_eq!(absorbed.iter().map(|(seq, changes)| (seq.0, changes.len())).collect::<Vec<_>>(), [(1, 0), (2, 2)]);
}

#[tokio::test]
async fn above_the_queue_callers_are_told_to_come_back() {
    let (rig, answers) = group(|rig| vec![rig.batch(vec![increment("n", 1)]); QUEUE_BATCHES + 3]).await;
    let refused =
        answers.iter().filter(|answer| matches!(answer, Err(StoreError::Busy { retry_after_ms: 10.. }))).count();
    assert_eq!(refused, 3);
    assert_eq!(rig.get("n"), Some(1024_i64.to_le_bytes().to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_lose_no_increment() {
    let rig = Arc::new(memory());
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let rig = rig.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    rig.apply(vec![increment("n", 1)]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(rig.get("n"), Some(640_i64.to_le_bytes().to_vec()));
    let seqs: Vec<u64> = rig.absorbed.lock().unwrap().iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(seqs, (1..=rig.head().0).collect::<Vec<_>>());
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_panic_of_an_index_does_not_concern_the_store() {
    let store = Store::in_memory().unwrap();
    let writer = Writer::start(store.clone(), |_| panic!("of the index"));
    let rig = Rig { tenant: store.tenant("t").unwrap(), store, writer, absorbed: Absorbed::default() };
    rig.apply(vec![put("k", b"1")]).await.unwrap();
    rig.apply(vec![put("k", b"2")]).await.unwrap();
    assert_eq!(rig.get("k"), Some(b"2".to_vec()));
}

#[tokio::test]
async fn a_closed_writer_refuses() {
    let rig = memory();
    rig.writer.clone().close();
    assert!(matches!(rig.apply(vec![put("k", b"")]).await, Err(StoreError::Closed { .. })));
}
