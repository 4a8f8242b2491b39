//! The writer on files and on disks that fail: what is there after reopening, what damage does, what a power cut leaves.
use super::shelf::{Fault, Shelf};
use super::*;

fn on_disk(directory: &Path) -> Result<Rig, StoreError> {
    let options = OpenOptions { wait: Duration::ZERO, holder: "cairn test".to_owned(), cache_bytes: 1 << 20 };
    Store::open(directory, &options).map(over)
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let rig = on_disk(directory.path()).unwrap();
    let operations =
        vec![put("k", b"1"), Operation::IndexPut(entry("e", "x", Some(vec![("a", Some(0)), ("b", Some(1))])))];
    rig.apply_with(operations, vec![ready(&[0.6, 0.8]), BatchVector::Owed("b".to_owned())]).await;
    let relaxed = Batch { durability: Durability::Relaxed, ..rig.batch(vec![put("r", b"1")]) };
    rig.writer.apply(relaxed).await.unwrap();
    let (before, owed, changes) =
        (rig.entry("e"), rig.owed(), rig.store.snapshot().unwrap().changes(rig.tenant, Seq(0), 9).unwrap());
    rig.writer.close();
    drop((rig.store, std::fs::remove_file(directory.path().join("cairn.lock"))));

    let rig = on_disk(directory.path()).unwrap();
    let snapshot = rig.store.snapshot().unwrap();
    assert_eq!((rig.get("k"), rig.get("r")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
    assert_eq!(snapshot.entry(rig.tenant, "e").unwrap(), before);
    assert_eq!((rig.owed(), snapshot.changes(rig.tenant, Seq(0), 9).unwrap()), (owed, changes));
    drop((snapshot, rig));
    let options = OpenOptions { wait: Duration::ZERO, holder: "cairn test".to_owned(), cache_bytes: 1 << 20 };
    assert_eq!(Store::verify(directory.path(), &options).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_file_opens_or_says_so_and_never_panics() {
    let directory = tempfile::tempdir().unwrap();
    let rig = on_disk(directory.path()).unwrap();
    for n in 0..40 {
        let operations = vec![
            put(&format!("k{n}"), &[7; 900]),
            Operation::IndexPut(entry(&format!("e{n}"), "x", Some(vec![("a", Some(0))]))),
        ];
        rig.apply_with(operations, vec![ready(&[1.0; 32])]).await;
    }
    rig.writer.close();
    drop(rig.store);
    let path = directory.path().join("cairn.redb");
    let sound = std::fs::read(&path).unwrap();
    let mut random = Random(99);
    for round in 0..40 {
        let mut bytes = sound.clone();
        if round % 4 == 0 {
            bytes.truncate(usize::try_from(random.below(sound.len() as u64)).unwrap());
        } else {
            for _ in 0..=random.below(200) {
                // Every other round spoils the header and the first pages, where most depends on each byte.
                let end = if round % 2 == 0 { sound.len() as u64 } else { 8192.min(sound.len() as u64) };
                let at = usize::try_from(random.below(end)).unwrap();
                bytes[at] ^= 1 << random.below(8);
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let Ok(store) = Store::open(
            directory.path(),
            &OpenOptions { wait: Duration::ZERO, holder: "x".to_owned(), cache_bytes: 1 << 20 },
        ) else {
            continue;
        };
        let _ = store.check();
        let Ok(tenant) = store.tenant("t") else { continue };
        if let Ok(snapshot) = store.snapshot() {
            let _ = (
                snapshot.scan(tenant, "a", &all(100)),
                snapshot.entries(tenant, None, 100),
                snapshot.changes(tenant, Seq(0), 100),
            );
        }
        let rig = over(store);
        let _ = rig.apply(vec![put("new", b"")]).await;
    }
}

// ---- failing disks

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let shelf = Shelf::with(vec![]);
    let rig = over(Store::in_place(shelf.clone()).unwrap());
    rig.apply(vec![put("k", b"1"), Operation::IndexPut(entry("e", "x", Some(vec![("a", None)])))]).await.unwrap();
    shelf.fail(Fault::Full, 0);
    for _ in 0..3 {
        let refused = rig.apply(vec![put("k", b"2"), Operation::IndexDelete("e".to_owned())]).await.unwrap_err();
        assert_eq!(refused.to_string(), "the disk of the store at memory is full");
        assert_eq!((rig.get("k"), rig.head()), (Some(b"1".to_vec()), Seq(1)));
    }
    assert_eq!(rig.absorbed.lock().unwrap().len(), 1);
    assert_eq!(rig.entry("e").unwrap().entry.key, "e");
    shelf.recover();
    assert_eq!(rig.apply(vec![put("k", b"3")]).await.unwrap(), Applied::Committed(2));
    assert_eq!((rig.get("k"), rig.store.check().unwrap()), (Some(b"3".to_vec()), vec![]));
}

#[tokio::test]
async fn a_broken_disk_refuses_writes_and_serves_reads() {
    let shelf = Shelf::with(vec![]);
    let rig = over(Store::in_place(shelf.clone()).unwrap());
    rig.apply(vec![put("k", b"1")]).await.unwrap();
    shelf.fail(Fault::Broken, 0);
    for _ in 0..2 {
        assert!(matches!(rig.apply(vec![put("k", b"2")]).await, Err(StoreError::Io { .. })));
        assert_eq!(rig.get("k"), Some(b"1".to_vec()));
    }
}

#[tokio::test]
async fn a_relaxed_commit_is_synced_without_being_asked_for() {
    let shelf = Shelf::with(vec![]);
    let synced = shelf.syncs();
    let rig = over(Store::in_place(shelf).unwrap());
    rig.apply(vec![put("k", b"1")]).await.unwrap();
    let _ = synced.try_iter().count();
    let relaxed = Batch { durability: Durability::Relaxed, ..rig.batch(vec![put("k", b"2")]) };
    rig.writer.apply(relaxed).await.unwrap();
    synced.recv_timeout(Duration::from_secs(20)).unwrap();
}

// ---- power cuts

/// Batches of entries with a counter beside them; after each cut all that was acknowledged is there, and whole.
async fn power_cuts(durability: Durability) -> Result<(), String> {
    let mut random = Random(0xDEAD_BEEF);
    let mut image = vec![];
    let mut acknowledged = 0_u64;
    for round in 0..40 {
        let disk = Shelf::with(image.clone());
        disk.fail(Fault::Dies, 20 + random.below(400));
        if let Ok(store) = Store::in_place(disk.clone())
            && let Ok(tenant) = store.tenant("t")
        {
            let writer = Writer::start(store.clone(), |_| {});
            let rig = Rig { store, writer, tenant, absorbed: Absorbed::default() };
            loop {
                let next = acknowledged + 1;
                let key = format!("e{:02}", next % 50);
                let operations = vec![
                    Operation::IndexPut(entry(&key, &next.to_string(), Some(vec![("a", Some(0)), ("b", Some(1))]))),
                    put("n", &next.to_le_bytes()),
                    put(&key, &[next.to_le_bytes()[0]; 300]),
                ];
                let vectors = vec![ready(&[1.0; 64]), BatchVector::Owed("b".to_owned())];
                let batch = Batch { vectors, durability, ..rig.batch(operations) };
                if rig.writer.apply(batch).await.is_err() {
                    break;
                }
                acknowledged = next;
            }
            // A dead machine closes nothing.
        }
        let disk = Shelf::with(disk.after_cut(&mut |end| random.below(end)));
        let store = Store::in_place(disk.clone()).map_err(|error| format!("round {round} does not open: {error}"))?;
        let tenant = store.tenant("t").map_err(|error| error.to_string())?;
        let snapshot = store.snapshot().map_err(|error| error.to_string())?;
        let count = snapshot.get(tenant, "a", &[b"n".to_vec()]).map_err(|error| error.to_string())?.remove(0);
        let count = count.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        if count < acknowledged {
            return Err(format!("round {round}: {acknowledged} acknowledged, {count} there"));
        }
        if snapshot.head(tenant).unwrap() != Seq(count) {
            return Err(format!("round {round}: half a batch"));
        }
        for number in count.saturating_sub(49).max(1)..=count {
            let stored = snapshot.entry(tenant, &format!("e{:02}", number % 50)).map_err(|error| error.to_string())?;
            if stored.and_then(|stored| stored.entry.actor) != Some(number.to_string()) {
                return Err(format!("round {round}: entry {number} of {count} is not there"));
            }
        }
        let problems = store.check().map_err(|error| error.to_string())?;
        if !problems.is_empty() {
            return Err(format!("round {round}: {problems:?}"));
        }
        acknowledged = count;
        drop((snapshot, store));
        image = disk.image();
    }
    assert!(acknowledged > 100, "{acknowledged}: the cuts came too early to mean anything");
    Ok(())
}

#[tokio::test]
async fn no_acknowledged_batch_is_lost_in_a_power_cut() {
    assert_eq!(power_cuts(Durability::Durable).await, Ok(()));
}

#[tokio::test]
async fn the_power_cut_test_sees_what_is_not_synced() {
    let lost = power_cuts(Durability::Relaxed).await.unwrap_err();
    assert!(lost.contains("acknowledged"), "{lost}");
}

#[tokio::test]
async fn relaxed_commits_survive_a_power_cut_after_sync() {
    let disk = Shelf::with(vec![]);
    let rig = over(Store::in_place(disk.clone()).unwrap());
    let relaxed = |key| Batch { durability: Durability::Relaxed, ..rig.batch(vec![put(key, b"1")]) };
    rig.writer.apply(relaxed("k")).await.unwrap();
    rig.writer.apply(relaxed("l")).await.unwrap();
    assert_eq!(rig.get("l"), Some(b"1".to_vec()));
    rig.writer.sync().await.unwrap();
    let image = disk.synced();
    let again = self::over(Store::in_place(Shelf::with(image)).unwrap());
    assert_eq!((again.get("k"), again.get("l")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
}
