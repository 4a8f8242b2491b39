//! Graphs, filters and files of the whole index, against the exact scan.
use std::collections::BTreeSet;

use super::tests::{
    Random, WIDTH, admits, attribute, condition, entry, filled, keys, negated, probe, product, put, text, unit, unit_of,
};
use super::*;
use crate::contract::index::{Test, Value};
use crate::entry::StoredEntry;

#[test]
fn a_graph_finds_nearly_all_and_small_filters_find_everything() {
    let mut random = Random(11);
    let centres: Vec<Vec<f32>> = (0..30).map(|_| random.unit(32)).collect();
    let near = |random: &mut Random| {
        let centre = &centres[random.below(30)];
        let noise = random.unit(32);
        unit_of(centre.iter().zip(&noise).map(|(value, noise)| value + 0.7 * noise).collect())
    };
    let (graphed, exact) = (Index::with_graph_threshold(32, 600), Index::new(32));
    let mut order = 0;
    let mut commit = |random: &mut Random, size: usize| {
        let fresh = |_| {
            order += 1;
            let mut fresh = entry(&format!("k{order}"), order, "word");
            fresh.vectors = vec![Some(near(random))];
            fresh.entry.attributes = vec![attribute("n", Value::Number(f64::from(u32::try_from(order).unwrap())))];
            put(fresh)
        };
        let mut changes: Vec<Change> = (0..size).map(fresh).collect();
        changes.extend((0..20).map(|_| Change::Delete(format!("k{}", 1 + random.below(1_000)))));
        let seq = Seq(graphed.absorbed().0 + 1);
        graphed.absorb(seq, changes.clone());
        exact.absorb(seq, changes);
    };
    commit(&mut random, 2_000);
    graphed.settle();
    assert!(graphed.graph_rows() > 1_900, "{}", graphed.graph_rows());
    commit(&mut random, 300);
    graphed.settle();
    assert!(graphed.graph_rows() < 2_000, "the newest are scanned");
    assert_eq!(exact.graph_rows(), 0);

    let (mut hits, mut wanted) = (0, 0);
    for _ in 0..50 {
        let vector = near(&mut random);
        let asked = Probe { limit: 10, effort: Some(64), ..probe() };
        let (found, all) = (graphed.search(&asked, Some(&vector)), exact.search(&asked, Some(&vector)));
        assert!(!found.exact && all.exact);
        assert_eq!((found.dense.unwrap().min, found.admitted), (None, all.admitted));
        let expected: BTreeSet<String> = keys(&all).into_iter().collect();
        wanted += expected.len();
        hits += keys(&found).into_iter().filter(|key| expected.contains(key)).count();
    }
    assert!(hits * 100 >= wanted * 95, "{hits} of {wanted}");

    let newest = condition("n", Test::Above(Value::Number(2_290.0)));
    let narrow = Probe { conditions: vec![vec![newest]], limit: 10, ..probe() };
    let found = graphed.search(&narrow, Some(&near(&mut random)));
    assert_eq!((found.entries.len(), found.admitted, found.exact), (10, 10, true));
    assert_eq!(graphed.compare(&exact), Vec::<String>::new());
}

#[test]
fn a_graph_outlives_the_compaction_of_its_vectors() {
    let mut random = Random(5);
    let (graphed, exact) = (Index::with_graph_threshold(WIDTH, 1_000), Index::new(WIDTH));
    let mut fresh = |n: u64| {
        let mut fresh = entry(&format!("k{n}"), n, "word");
        fresh.vectors = vec![Some(random.unit(WIDTH))];
        put(fresh)
    };
    // The same 600 entries again and again: the dead soon make a third of all vectors, but not of those in the graph.
    let mut commits: Vec<Vec<Change>> = vec![(0..3_200).map(&mut fresh).collect()];
    commits.extend((0..4).map(|_| (0..600).map(|n| fresh(n * 5)).collect()));
    for (commit, changes) in commits.into_iter().enumerate() {
        let seq = Seq(commit as u64 + 1);
        graphed.absorb(seq, changes.clone());
        exact.absorb(seq, changes);
        graphed.settle();
        let vector = random.unit(WIDTH);
        let asked = Probe { limit: 5, effort: Some(400), ..probe() };
        let found = graphed.search(&asked, Some(&vector));
        assert!(!found.exact);
        assert_eq!(keys(&found), keys(&exact.search(&asked, Some(&vector))));
    }
    assert_eq!(graphed.compare(&exact), Vec::<String>::new());
}

/// Every share from all to none, by text, by number and by exclusion, before and after deletions.
#[test]
fn filters_of_every_selectivity_find_what_brute_force_finds() {
    let mut random = Random(21);
    let index = Index::with_graph_threshold(16, 1_500);
    let mut all: Vec<StoredEntry> = (0..6_000u32)
        .map(|n| {
            let mut fresh = entry(&format!("k{n}"), u64::from(n), "word");
            fresh.vectors = vec![Some(random.unit(16))];
            let power = (0..5u32).rev().find(|power| n.is_multiple_of(10u32.pow(*power))).unwrap_or_default();
            fresh.entry.attributes =
                (0..=power).map(|power| attribute("share", text(&format!("1e-{power}")))).collect();
            fresh.entry.attributes.push(attribute("n", Value::Number(f64::from(n))));
            fresh
        })
        .collect();
    for (commit, changes) in (1..).zip(all.chunks(500)) {
        index.absorb(Seq(commit), changes.iter().cloned().map(put).collect());
    }
    index.settle();
    assert!(index.graph_rows() > 4_000, "{}", index.graph_rows());
    for round in 0..2 {
        for power in 0..5 {
            let share = Test::AnyOf(vec![text(&format!("1e-{power}"))]);
            let below = Test::Below(Value::Number(6_000.0 * 0.1f64.powi(power)));
            let filters = [condition("share", share.clone()), condition("n", below), negated("share", share)];
            for filter in filters {
                let (mut hits, mut wanted) = (0, 0);
                for _ in 0..10 {
                    let vector = random.unit(16);
                    let asked = Probe { conditions: vec![vec![filter.clone()]], effort: Some(128), ..probe() };
                    let found = index.search(&asked, Some(&vector));
                    let admitted = all.iter().filter(|stored| admits(&asked, stored));
                    let mut expected: Vec<(f32, &str)> = admitted
                        .map(|stored| (product(stored.vectors[0].as_deref().unwrap(), &vector), &*stored.entry.key))
                        .collect();
                    assert_eq!(found.admitted as usize, expected.len());
                    expected.sort_by(|left, right| right.0.total_cmp(&left.0));
                    expected.truncate(10);
                    assert_eq!(found.entries.len(), expected.len());
                    let here = expected.iter().filter(|(_, key)| found.entries.iter().any(|found| found.key == *key));
                    let (here, there) = (here.count(), expected.len());
                    assert!(!found.exact || here == there, "{filter:?}: {here} of {there}");
                    (hits, wanted) = (hits + here, wanted + there);
                }
                assert!(hits * 100 >= wanted * 95, "{filter:?}: {hits} of {wanted}");
            }
        }
        if round == 0 {
            let mut n = 0;
            let doomed: Vec<Change> = all
                .extract_if(.., |_| {
                    n += 1;
                    n % 5 == 0
                })
                .map(|stored| Change::Delete(stored.entry.key))
                .collect();
            index.absorb(Seq(20), doomed);
        }
    }
}

#[test]
fn graphs_of_an_earlier_process_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Index::made(WIDTH, 100, Some(Shelf::new(directory.path(), 7)));
    let mut random = Random(3);
    let mut entries: Vec<StoredEntry> = (0..900)
        .map(|n| {
            let mut fresh = entry(&format!("k{n}"), n, "word");
            // Some vectors occur more than once.
            fresh.vectors = vec![Some(if n % 10 == 0 { unit(&[1.0, 2.0]) } else { random.unit(WIDTH) })];
            fresh
        })
        .collect();
    let index = open();
    for (commit, entries) in (1..).zip(entries.chunks(300)) {
        index.absorb(Seq(commit), entries.iter().cloned().map(put).collect());
        index.settle();
    }
    let covered = index.graph_rows();
    assert!(covered > 800, "{covered}");
    drop(index);
    let files = || {
        let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
        files.collect::<BTreeSet<std::path::PathBuf>>()
    };
    let whole: Vec<(std::path::PathBuf, Vec<u8>)> =
        files().into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(whole.len() > 1, "{}", whole.len());

    // The rows come in another order, some are gone and some are new.
    entries.reverse();
    entries.truncate(850);
    entries[3].vectors = vec![Some(random.unit(WIDTH))];
    let exact = filled(WIDTH, entries.clone());
    let mut check = |least: usize| {
        let index = open();
        for entries in entries.chunks(100) {
            index.fill(Seq(1), entries.iter().cloned().map(put).collect());
        }
        let taken_over = index.graph_rows();
        index.absorb(Seq(1), vec![]);
        assert!(taken_over >= least && taken_over <= covered, "{taken_over}");
        index.settle();
        for _ in 0..5 {
            let vector = random.unit(WIDTH);
            let asked = Probe { effort: Some(2_000), ..probe() };
            assert_eq!(keys(&index.search(&asked, Some(&vector))), keys(&exact.search(&asked, Some(&vector))));
        }
        assert_eq!(index.compare(&exact), Vec::<String>::new());
        taken_over
    };
    check(covered - 60);
    let restore = || {
        for path in files() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &whole {
            std::fs::write(path, bytes).unwrap();
        }
    };
    for damage in [0, 7, 40, 200, 5_000] {
        restore();
        let (path, bytes) = &whole[0];
        let mut flipped = bytes.clone();
        let place = damage % flipped.len();
        flipped[place] ^= 4;
        std::fs::write(path, flipped).unwrap();
        let left = check(0);
        restore();
        std::fs::write(path, &bytes[..place]).unwrap();
        assert_eq!(check(0), left);
        assert!(left < covered - 60, "{left} of {covered}");
    }
    // Of files that were not removed in time nothing is found twice, and they go.
    restore();
    std::fs::copy(&whole[0].0, directory.path().join("7-77.segment")).unwrap();
    std::fs::write(directory.path().join("7-78.new"), b"half").unwrap();
    std::fs::write(directory.path().join("8-1.segment"), b"of another tenant").unwrap();
    check(covered - 60);
    let left: Vec<String> =
        files().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert!(left.contains(&"8-1.segment".to_owned()) && left.len() <= whole.len() + 1, "{left:?}");
}

#[test]
fn nothing_of_vectors_that_are_gone_is_left_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Index::made(WIDTH, 100, Some(Shelf::new(directory.path(), 7)));
    let mut random = Random(5);
    let mut entries: Vec<StoredEntry> = (0..300)
        .map(|n| {
            let mut fresh = entry(&format!("k{n}"), n, "word");
            fresh.vectors = vec![Some(random.unit(WIDTH))];
            fresh
        })
        .collect();
    let index = open();
    index.absorb(Seq(1), entries.iter().cloned().map(put).collect());
    index.settle();
    let gone: Vec<StoredEntry> = entries.drain(20..60).collect();
    let traces = || {
        let files = std::fs::read_dir(directory.path()).unwrap();
        let files: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        let holds = |vector: &[f32]| {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect();
            files.iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes))
        };
        gone.iter().filter(|entry| holds(entry.vectors[0].as_deref().unwrap())).count()
    };
    index.absorb(Seq(2), gone.iter().map(|entry| Change::Delete(entry.entry.key.clone())).collect());
    assert_eq!(traces(), 40);
    index.erase();
    assert_eq!(traces(), 0);
    let exact = filled(WIDTH, entries.clone());
    let same = |index: &Index, random: &mut Random| {
        let vector = random.unit(WIDTH);
        let asked = Probe { effort: Some(2_000), ..probe() };
        assert_eq!(keys(&index.search(&asked, Some(&vector))), keys(&exact.search(&asked, Some(&vector))));
    };
    (0..5).for_each(|_| same(&index, &mut random));
    let covered = index.graph_rows();
    drop(index);
    let index = open();
    index.fill(Seq(2), entries.into_iter().map(put).collect());
    index.absorb(Seq(2), vec![]);
    assert_eq!(index.graph_rows(), covered);
    (0..5).for_each(|_| same(&index, &mut random));
}
