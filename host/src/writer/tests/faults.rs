//! The writer and its store on a disk that fails at each of its calls once, with a rewriting of the file in the middle.
use super::shelf::{Fault, Shelf};
use super::*;

const BATCHES: u8 = 6;

async fn write(rig: &Rig, number: u8) -> Result<(), StoreError> {
    let name = format!("e{number}");
    let operations = vec![
        Operation::IndexPut(entry(&name, &name, Some(vec![("a", Some(0)), ("b", Some(1))]))),
        put("n", &[number]),
        put(&name, &[number; 700]),
    ];
    let vectors = vec![ready(&[1.0; 64]), BatchVector::Owed("b".to_owned())];
    rig.writer.apply(Batch { vectors, ..rig.batch(operations) }).await.map(drop)
}

/// Opens, writes all batches behind those that are there, and writes the file anew after half of them. Answers how many
/// batches are acknowledged, and whether everything went well.
async fn work(shelf: &Shelf) -> (u8, Result<(), StoreError>) {
    let Ok(rig) = open(shelf) else { return (0, Err(StoreError::Expired)) };
    let mut done = there(&rig);
    while done < BATCHES {
        let written = write(&rig, done + 1).await;
        if written.is_err() {
            return (done, written);
        }
        done += 1;
        if done == BATCHES / 2
            && let Err(error) = rig.store.compact()
        {
            return (done, Err(error));
        }
    }
    (done, Ok(()))
}

fn open(shelf: &Shelf) -> Result<Rig, StoreError> {
    let store = Store::in_place(shelf.clone())?;
    let tenant = store.tenant("t")?;
    let writer = Writer::start(store.clone(), |_| {});
    Ok(Rig { store, writer, tenant, absorbed: Absorbed::default() })
}

fn there(rig: &Rig) -> u8 {
    rig.get("n").map_or(0, |value| value[0])
}

/// Everything acknowledged is there, whole, and nothing by half.
#[track_caller]
fn check(shelf: &Shelf, acknowledged: u8, context: &str) {
    let rig = open(shelf).unwrap_or_else(|error| panic!("{context}: {error}"));
    let there = there(&rig);
    assert!(
        (acknowledged..=acknowledged + 1).contains(&there),
        "{context}: {acknowledged} acknowledged, {there} there"
    );
    let snapshot = rig.store.snapshot().unwrap();
    for number in 1..=BATCHES {
        let name = format!("e{number}");
        let stored = snapshot.entry(rig.tenant, &name).unwrap();
        assert_eq!(stored.is_some(), number <= there, "{context}: entry {number}");
        assert_eq!(rig.get(&name), (number <= there).then(|| vec![number; 700]), "{context}: row {number}");
    }
    assert_eq!(snapshot.owed(rig.tenant, 100).unwrap().len(), usize::from(there), "{context}");
    assert_eq!(rig.store.check().unwrap(), [""; 0], "{context}");
}

/// How many calls it takes where nothing fails.
async fn calls() -> u64 {
    let shelf = Shelf::with(vec![]);
    let (done, went) = work(&shelf).await;
    assert!(done == BATCHES && went.is_ok());
    let calls = shelf.calls();
    assert!(calls > 100, "{calls} calls: too few to mean anything");
    calls
}

#[tokio::test]
async fn a_power_cut_at_any_call_loses_nothing_acknowledged() {
    let mut random = Random(0x5EED);
    for call in 0..calls().await {
        let shelf = Shelf::with(vec![]);
        shelf.fail(Fault::Dies, call);
        let (acknowledged, _) = work(&shelf).await;
        let shelf = Shelf::with(shelf.after_cut(&mut |end| random.below(end)));
        let context = format!("power lost at call {call}");
        check(&shelf, acknowledged, &context);
        let (done, went) = work(&shelf).await;
        assert!(done == BATCHES && went.is_ok(), "{context}: the rest cannot be done: {went:?}");
        check(&shelf, BATCHES, &context);
    }
}

#[tokio::test]
async fn what_is_acknowledged_after_a_sync_failed_survives_a_power_cut() {
    let mut random = Random(0xF51C);
    let mut told = 0;
    for call in 0..calls().await {
        let shelf = Shelf::with(vec![]);
        shelf.fail(Fault::LosesSync, call);
        let context = format!("a sync failed at call {call} or later");
        let mut outcome = work(&shelf).await;
        if outcome.1.is_err() {
            told += 1;
            outcome = work(&shelf).await;
        }
        assert!(outcome.0 == BATCHES && outcome.1.is_ok(), "{context}: {outcome:?}");
        let shelf = Shelf::with(shelf.after_cut(&mut |end| random.below(end)));
        check(&shelf, BATCHES, &context);
    }
    assert!(told > 20, "only {told} failures were told");
}

#[tokio::test]
async fn where_there_is_no_room_at_any_call_nothing_is_lost_and_work_goes_on_with_room() {
    for call in 0..calls().await {
        let shelf = Shelf::with(vec![]);
        shelf.fail(Fault::Full, call);
        let context = format!("no room from call {call} on");
        let (acknowledged, _) = work(&shelf).await;
        shelf.recover();
        check(&shelf, acknowledged, &context);
        let (done, went) = work(&shelf).await;
        assert!(done == BATCHES && went.is_ok(), "{context}: {went:?}");
        check(&shelf, BATCHES, &context);
    }
}

#[tokio::test]
async fn that_a_failed_sync_may_have_lost_relaxed_commits_is_told_to_whoever_waits_for_them() {
    let shelf = Shelf::with(vec![]);
    let rig = open(&shelf).unwrap();
    let relaxed = Batch { durability: Durability::Relaxed, ..rig.batch(vec![put("k", b"1")]) };
    rig.writer.apply(relaxed).await.unwrap();
    assert_eq!(rig.get("k"), Some(b"1".to_vec()));
    shelf.fail(Fault::LosesSync, shelf.calls());
    // Also where the timer of relaxed commits has met the failure before.
    let answers = [rig.writer.sync().await, rig.writer.sync().await, rig.writer.sync().await];
    let lost = answers.iter().filter(|answer| matches!(answer, Err(StoreError::Lost { .. }))).count();
    assert_eq!((lost, answers[2].is_ok()), (1, true), "{answers:?}");
}

#[tokio::test]
async fn erased_bytes_are_in_the_file_until_it_is_written_anew() {
    let shelf = Shelf::with(vec![]);
    let rig = open(&shelf).unwrap();
    let secret = b"the secret of the house";
    let traces = || shelf.image().windows(secret.len()).filter(|window| window == secret).count();
    rig.apply(vec![put("k", secret), put("kept", b"kept for good")]).await.unwrap();
    let erase = Batch { scrub: true, ..rig.batch(vec![delete("k")]) };
    rig.writer.apply(erase).await.unwrap();
    assert!(traces() > 0 && rig.store.owes_erasure().unwrap());
    // Somebody still reads the old file; who reads from now on reads the new one.
    let before = rig.store.snapshot().unwrap();
    rig.store.compact().unwrap();
    assert_eq!((traces(), rig.store.owes_erasure().unwrap()), (0, false));
    let kept = |snapshot: &crate::store::Snapshot| snapshot.get(rig.tenant, "a", &[b"kept".to_vec()]).unwrap();
    assert_eq!(kept(&before), kept(&rig.store.snapshot().unwrap()));
    drop(before);
    rig.apply(vec![put("k", b"another")]).await.unwrap();
    assert_eq!((rig.get("k"), rig.store.check().unwrap()), (Some(b"another".to_vec()), vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_the_file_is_written_anew_is_in_the_new_one() {
    let rig = Arc::new(open(&Shelf::with(vec![])).unwrap());
    for number in 0..20 {
        rig.apply((0..50).map(|row| put(&format!("{number}-{row}"), &[7; 300])).collect()).await.unwrap();
    }
    let writing = rig.clone();
    let writer = tokio::spawn(async move {
        for number in 0..300_u32 {
            let gone = delete(&format!("{}-{}", number % 20, number % 50));
            writing.apply(vec![put(&format!("new-{number}"), &number.to_le_bytes()), gone]).await.unwrap();
        }
    });
    while !writer.is_finished() {
        rig.store.compact().unwrap();
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    for number in 0..300_u32 {
        assert_eq!(rig.get(&format!("new-{number}")), Some(number.to_le_bytes().to_vec()));
        assert_eq!(rig.get(&format!("{}-{}", number % 20, number % 50)), None);
    }
    assert_eq!(rig.head(), Seq(320));
    assert_eq!(rig.store.check().unwrap(), Vec::<String>::new());
}
