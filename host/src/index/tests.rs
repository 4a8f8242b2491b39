//! The whole index against an implementation that looks at every entry anew for every search.
use std::collections::{BTreeMap, BTreeSet};

use super::entries::count;
use super::*;
use crate::contract::index::{
    Attribute, Condition, Entry, Extremes, Neighbour, Passage, Test, Token, Turn, Value, WeightedText,
};
use crate::entry::StoredEntry;

pub(super) const WIDTH: usize = 8;

#[test]
fn random_commits_are_found_as_by_brute_force() {
    assert_eq!(check_random_commits(&Index::new(WIDTH), 900), (0, 0));
}

/// With more effort than there are vectors a walk comes to every one of them.
#[test]
fn random_commits_are_found_in_graphs_as_by_brute_force() {
    let (walks, segments) = check_random_commits(&Index::with_graph_threshold(WIDTH, 8), 900);
    assert!(walks > 0 && segments > 1, "{walks} walks, {segments} segments");
}

/// Returns how many searches were answered by walking, and how many segments there were at most.
#[track_caller]
fn check_random_commits(index: &Index, commits: u64) -> (usize, usize) {
    let (mut walks, mut segments) = (0, 0);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut model = Model::default();
    for commit in 1..=commits {
        let changes = (0..=random.below(9)).map(|_| model.change(&mut random)).collect();
        index.absorb(Seq(commit), changes);
        if commit % 12 == 0 {
            let (probe, vector) = Model::probe(&mut random);
            let found = index.search(&Probe { effort: Some(2_000), ..probe.clone() }, vector.as_deref());
            let mut expected = model.search(&probe, vector.as_deref());
            if !found.exact {
                walks += 1;
                expected.exact = false;
                expected.dense = expected.dense.map(|extremes| Extremes { min: None, ..extremes });
            }
            assert_alike(&found, &expected);
        }
        if commit % 50 == 0 {
            index.settle();
        }
        segments = segments.max(index.shared.read().dense.segments());
        if commit % 150 == 0 {
            model.check_counts(index);
        }
    }
    assert_eq!(index.absorbed(), Seq(commits));
    (walks, segments)
}

#[test]
fn what_a_vector_is_owed_for_is_found_by_its_sketch_until_it_comes() {
    // Two words mean nearly the same and one another thing.
    let meanings = |words: &[(&str, f32)]| {
        let known = |word: &str| match word {
            "Cat" | "cat" => Some([1.0, 0.0]),
            "kitten" => Some([0.8, 0.6]),
            "stone" => Some([0.0, 1.0]),
            _ => None,
        };
        words.iter().find_map(|(word, _)| known(word)).map(Vec::from)
    };
    let index = Index::new(WIDTH).sketched(Arc::new(meanings));
    let owed = |key: &str, order: u64, words: &str| StoredEntry {
        vectors: vec![None],
        owed: vec![true],
        ..entry(key, order, words)
    };
    let commit = vec![put(owed("a", 1, "the kitten")), put(owed("b", 2, "a stone")), put(entry("c", 3, "a cat"))];
    index.absorb(Seq(1), commit);
    let asked = Probe { words: "my Cat".to_owned(), limit: 1, ..probe() };
    let sketches = |index: &Index, vector: Option<&[f32]>| {
        let mut found = index.search(&asked, vector);
        found.entries.sort_by(|left, right| left.key.cmp(&right.key));
        let rounded = |value: f32| (value * 100.0).round() / 100.0;
        let told: Vec<(String, Option<f32>)> =
            found.entries.into_iter().map(|one| (one.key, one.sketch.map(rounded))).collect();
        (told, found.sketch.map(|extremes| (extremes.min.map(rounded), rounded(extremes.max))))
    };
    let query = unit(&[0.0, 1.0]);
    let told = |key: &str, sketch: Option<f32>| (key.to_owned(), sketch);
    let expected = vec![told("a", Some(0.8)), told("c", None)];
    assert_eq!(sketches(&index, Some(&query)), (expected, Some((Some(0.0), 0.8))));
    // Where meaning is not asked for there are no sketches.
    assert_eq!(sketches(&index, None), (vec![told("c", None)], None));
    index.absorb(Seq(2), vec![put(entry("a", 1, "the kitten")), Change::Delete("b".to_owned())]);
    assert_eq!(sketches(&index, Some(&query)).1, None);
}

#[test]
fn every_difference_is_told() {
    let rebuilt = || filled(WIDTH, vec![entry("a", 1, "one two"), entry("b", 2, "two three")]);
    assert_eq!(rebuilt().compare(&rebuilt()), Vec::<String>::new());
    let planted = |changes: Vec<Change>| {
        let index = rebuilt();
        index.absorb(Seq(1), changes);
        index.compare(&rebuilt())
    };
    assert_eq!(
        planted(vec![put(entry("b", 2, "two four"))]),
        [
            "entry b differs in its words",
            "term four is counted in 1 passages instead of 0",
            "term three is counted in 0 passages instead of 1",
        ]
    );
    assert_eq!(
        planted(vec![Change::Delete("a".into()), put(entry("c", 3, "one two"))]),
        [
            "entry a is missing",
            "entry c should not be there",
            "the run in Scope { user: Some(\"u\"), agent: None, app: None, run: Some(\"r\") } has another sequence"
        ]
    );
    let mut changed = entry("a", 1, "one two");
    changed.entry.actor = Some("someone".into());
    changed.vectors = vec![Some(unit(&[1.0, 1.0]))];
    assert_eq!(planted(vec![put(changed)]), ["entry a differs in its actor", "entry a differs in its vectors"]);
}

#[test]
fn bm25_is_the_formula_of_the_textbook() {
    // Three passages of 2, 3 and 1 words: N = 3, mean length 2; "cat" is in two of them.
    let index = filled(0, vec![entry("a", 1, "the cat sat"), entry("b", 2, "cat cat dog"), entry("c", 3, "dog")]);
    let found = index.search(&Probe { words: "a cat! Cats".into(), terms: true, ..probe() }, None);
    let rarity = (1.0f32 + 1.5 / 2.5).ln();
    // The query has the term twice.
    let sat = 2.0 * rarity * 1.9 / (1.0 + 0.9);
    let twice = 2.0 * rarity * 2.0 * 1.9 / (2.0 + 0.9 * (0.6 + 0.4 * 1.5));
    let scores: Vec<(&str, f32)> = found.entries.iter().map(|found| (found.key.as_str(), found.lexical)).collect();
    assert_close(scores[0].1, sat);
    assert_close(scores[1].1, twice);
    assert_eq!((scores[0].0, scores[1].0, scores.len()), ("a", "b", 2));
    assert_eq!(found.entries[0].terms, [("cat".to_owned(), scores[0].1)]);
    assert_eq!(found.lexical, Some(Extremes { min: Some(0.0), max: scores[1].1 }));
    assert_eq!((found.dense, found.admitted, found.pending, found.exact), (None, 3, 0, true));
}

#[test]
fn nothing_asked_and_nothing_known_differ() {
    let index = filled(0, vec![entry("a", 1, "cat")]);
    assert_eq!(index.search(&Probe { words: "the, of!".into(), ..probe() }, None).lexical, None);
    let unknown = index.search(&Probe { words: "zebra".into(), ..probe() }, None);
    assert_eq!(unknown.lexical, Some(Extremes { min: Some(0.0), max: 0.0 }));
    let all = index.search(&Probe { words: "cat".into(), ..probe() }, None).lexical.unwrap();
    assert_eq!(all.min, Some(all.max));
    let nobody = Scope { user: Some("nobody".into()), ..scope(None, None) };
    let none = index.search(&Probe { words: "cat".into(), scope: nobody, ..probe() }, None);
    assert_eq!((none.lexical, none.admitted), (None, 0));
}

#[test]
fn equal_scores_rank_the_older_first() {
    let entries = (0..5).map(|n| entry(&format!("k{n}"), 10 - n, "same words")).collect();
    let found =
        filled(WIDTH, entries).search(&Probe { words: "same".into(), limit: 1, ..probe() }, Some(&unit(&[1.0])));
    assert_eq!(keys(&found), ["k4"]);
}

#[test]
fn an_owed_vector_that_arrives_later_is_found() {
    let mut owing = entry("a", 1, "late");
    (owing.vectors, owing.owed) = (vec![None], vec![true]);
    let index = filled(WIDTH, vec![owing]);
    assert_eq!(index.progress().pending, 1);
    let before = index.search(&probe(), Some(&unit(&[1.0])));
    assert_eq!((before.pending, before.dense, before.entries.len()), (1, None, 0));
    index.absorb(Seq(2), vec![put(entry("a", 1, "late"))]);
    let after = index.search(&probe(), Some(&unit(&[1.0])));
    assert_eq!((after.pending, after.entries[0].dense), (0, Some(1.0)));
    assert_eq!((index.progress().pending, index.progress().entries), (0, 1));
    assert_eq!(index.vectors(&["x".into(), "a".into()]), (vec![unit(&[1.0])], vec![0, 1]));
}

#[test]
fn a_vector_of_another_space_counts_as_none() {
    let mut wrong = entry("a", 1, "words");
    wrong.vectors = vec![Some(vec![f32::NAN; WIDTH])];
    let index = filled(WIDTH, vec![wrong]);
    assert_eq!(index.search(&probe(), Some(&unit(&[1.0]))).dense, None);
}

#[test]
fn statistics_count_what_lies_in_the_scope() {
    let mut foreign = entry("c", 3, "cat");
    foreign.entry.scope.user = Some("other".into());
    let (mut first, mut second) = (entry("a", 1, "the cat"), entry("b", 2, "dog 猫狗"));
    (first.entry.actor, second.entry.actor) = (Some("Ann".into()), Some("Ann".into()));
    let index = filled(WIDTH, vec![first, second, foreign]);
    let counted = index.statistics(&scope(Some("u"), None), &["cat".into(), "zebra".into()]);
    let terms: Vec<u32> = counted.terms.iter().map(|term| term.entries).collect();
    assert_eq!((counted.entries, counted.actors, terms), (2, vec!["Ann".to_owned()], vec![1, 0]));
    assert_close(counted.mean_words, 2.5);
}

#[test]
fn texts_of_attributes_outlive_those_that_were_replaced() {
    let index = filled(WIDTH, vec![entry("a", 1, "words")]);
    let with = |n: u64| {
        let mut changed = entry("a", 1, "words");
        changed.entry.attributes = vec![attribute("tag", text(&format!("t{n}")))];
        changed
    };
    let mut other = with(7);
    other.entry.key = "b".into();
    index.absorb(Seq(2), vec![put(other)]);
    for n in 0..5_000 {
        index.absorb(Seq(3 + n), vec![put(with(n))]);
    }
    let tagged = |tag: &str| {
        let conditions = vec![vec![condition("tag", Test::AnyOf(vec![text(tag)]))]];
        index.search(&Probe { conditions, ..probe() }, Some(&unit(&[1.0]))).entries.len()
    };
    assert_eq!([tagged("t7"), tagged("t8"), tagged("t4999")], [1, 0, 1]);
    assert!(index.progress().bytes < 200_000, "{}", index.progress().bytes);
}

/// Entries by key, as the store would have them.
#[derive(Default)]
struct Model {
    entries: BTreeMap<String, StoredEntry>,
    orders: u64,
}

impl Model {
    fn change(&mut self, random: &mut Random) -> Change {
        let key = format!("k{}", random.below(160));
        if random.below(10) < 2 {
            self.entries.remove(&key);
            return Change::Delete(key);
        }
        self.orders += 1;
        let before = self.entries.get(&key);
        let mut stored = random_entry(random, &key, before.map_or(self.orders, |before| before.order));
        if let Some(before) = before
            && random.below(2) == 0
        {
            stored.entry.passages.clone_from(&before.entry.passages);
            stored.vectors = before.vectors.iter().map(|vector| vector.clone().or_else(|| random.vector())).collect();
            stored.owed = vec![false; stored.vectors.len()];
        }
        self.entries.insert(key, stored.clone());
        put(stored)
    }

    fn probe(random: &mut Random) -> (Probe, Option<Vec<f32>>) {
        let mut words: Vec<String> = (0..random.below(5)).map(|_| random.word()).collect();
        words.push("the".into());
        let n = Value::Number(f64::from(u32::try_from(random.below(10)).unwrap()));
        let conditions = match random.below(5) {
            0 => vec![vec![condition("n", Test::AtLeast(n))], vec![negated("tag", Test::AnyOf(vec![text("t1")]))]],
            1 => vec![vec![condition("missing", Test::Present), condition("tag", Test::Icontains("T".into()))]],
            2 => vec![
                vec![negated("missing", Test::Present)],
                vec![condition("n", Test::Below(n)), negated("n", Test::Present)],
            ],
            _ => vec![],
        };
        let among = (random.below(6) == 0).then(|| (0..60).map(|n| format!("k{}", n * 2)).collect());
        let asked = Probe {
            words: words.join(" "),
            scope: scope(random.pick(&["u", "v"]), random.pick(&["r0", "r1"])),
            conditions,
            among,
            limit: 1 + u32::try_from(random.below(20)).unwrap(),
            neighbours: random.below(2) == 0,
            attributes: random.pick(&["tag", "nothing"]).into_iter().map(str::to_owned).collect(),
            ..probe()
        };
        (asked, random.vector())
    }

    fn search(&self, probe: &Probe, query: Option<&[f32]>) -> Candidates {
        let admitted: Vec<&StoredEntry> = self.entries.values().filter(|stored| admits(probe, stored)).collect();
        let nearest = |stored: &StoredEntry| {
            let vectors = stored.vectors.iter().enumerate();
            let cosines = vectors.filter_map(|(place, vector)| Some((product(vector.as_deref()?, query?), place)));
            cosines.reduce(|best, next| if next.0 > best.0 { next } else { best })
        };
        let scores = |stored: &StoredEntry| {
            let sums = passages(stored).into_iter().map(|counts| self.bm25(probe, &counts)).enumerate();
            sums.reduce(|best, next| if next.1 > best.1 { next } else { best }).unwrap()
        };
        let dense: Vec<(f32, u64, &str)> = admitted
            .iter()
            .filter_map(|stored| Some((nearest(stored)?.0, stored.order, stored.entry.key.as_str())))
            .collect();
        let lexical: Vec<(f32, u64, &str)> =
            admitted.iter().map(|stored| (scores(stored).1, stored.order, stored.entry.key.as_str())).collect();
        let best = |mut branch: Vec<(f32, u64, &str)>| -> BTreeSet<String> {
            branch.retain(|(score, _, _)| !score.is_nan());
            branch.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
            branch.into_iter().take(probe.limit as usize).map(|(_, _, key)| key.to_owned()).collect()
        };
        let mut found = best(dense.clone());
        found.extend(best(lexical.iter().copied().filter(|(score, _, _)| *score > 0.0).collect()));
        let is_admitted = |key: &String| admitted.iter().any(|stored| stored.entry.key == *key);
        if probe.neighbours {
            let direct: Vec<String> = found.iter().flat_map(|key| self.around(key).1).flatten().collect();
            found.extend(direct.into_iter().filter(|key| is_admitted(key)));
        }
        let words = probe.words.split(' ').any(|word| word != "the");
        let actors: BTreeSet<String> = found.iter().filter_map(|key| self.entries[key].entry.actor.clone()).collect();
        let candidate = |key: &String| {
            let stored = &self.entries[key];
            let (place, score) = scores(stored);
            let near = nearest(stored);
            let told = stored.entry.attributes.iter().filter(|one| probe.attributes.contains(&one.name));
            let passage = near.map_or(if words { place } else { 0 }, |(_, place)| place);
            let [previous, next] = self.around(key).1.map(|key| key.filter(is_admitted));
            let neighbour = |key: &String| {
                let vector = self.first(key);
                let own = stored.vectors[passage].as_deref().or(self.first(&stored.entry.key));
                Neighbour {
                    entry: found.iter().position(|found| found == key).map(count),
                    dense: vector.and_then(|vector| Some(product(vector, query?))),
                    similarity: vector.and_then(|vector| Some(product(vector, own?))),
                }
            };
            let first = |key: &Option<String>| self.first(key.as_ref()?);
            let turn = self.around(key).0.filter(|_| probe.neighbours).map(|position| Turn {
                run: 0,
                position,
                across: first(&previous).and_then(|before| Some(product(before, first(&next)?))),
                previous: previous.as_ref().map(neighbour),
                next: next.as_ref().map(neighbour),
            });
            crate::contract::index::Candidate {
                key: key.clone(),
                dense: near.map(|(cosine, _)| cosine),
                sketch: None,
                lexical: score,
                passage: u32::try_from(passage).unwrap(),
                at: stored.entry.at,
                actor: stored
                    .entry
                    .actor
                    .as_ref()
                    .map(|actor| count(actors.iter().position(|known| known == actor).unwrap())),
                turn,
                terms: vec![],
                attributes: told.cloned().collect(),
            }
        };
        Candidates {
            entries: found.iter().map(candidate).collect(),
            actors: actors.iter().cloned().collect(),
            dense: extremes(&dense),
            sketch: None,
            lexical: if words { extremes(&lexical) } else { None },
            admitted: u32::try_from(admitted.len()).unwrap(),
            pending: u32::try_from(admitted.iter().filter(|stored| stored.owed.contains(&true)).count()).unwrap(),
            exact: true,
        }
    }

    fn bm25(&self, probe: &Probe, counts: &BTreeMap<String, f32>) -> f32 {
        let all: Vec<BTreeMap<String, f32>> =
            self.entries.values().flat_map(passages).filter(|counts| !counts.is_empty()).collect();
        let n = f64::from(u32::try_from(all.len()).unwrap());
        let length = |counts: &BTreeMap<String, f32>| f64::from(counts.values().sum::<f32>());
        let mean = all.iter().map(length).sum::<f64>() / n;
        let summand = |word: &str| {
            let having = all.iter().filter(|counts| counts.contains_key(word)).count();
            let having = f64::from(u32::try_from(having).unwrap());
            let times = f64::from(*counts.get(word)?);
            let (k1, b) = (f64::from(probe.k1), f64::from(probe.b));
            let rarity = (1.0 + (n - having + 0.5) / (having + 0.5)).ln();
            Some(rarity * times * (k1 + 1.0) / (times + k1 * (1.0 - b + b * length(counts) / mean)))
        };
        #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
        let sum = probe.words.split(' ').filter_map(summand).sum::<f64>() as f32;
        sum
    }

    /// Position in the run, and the keys before and after.
    fn around(&self, key: &str) -> (Option<u32>, [Option<String>; 2]) {
        let stored = &self.entries[key];
        if stored.entry.scope.run.is_none() {
            return (None, [None, None]);
        }
        let mut run: Vec<&StoredEntry> =
            self.entries.values().filter(|other| other.entry.scope == stored.entry.scope).collect();
        run.sort_by_key(|stored| (stored.entry.at, stored.order));
        let position = run.iter().position(|other| other.entry.key == key).unwrap();
        let key = |place: Option<usize>| Some(run.get(place?)?.entry.key.clone());
        (Some(u32::try_from(position).unwrap()), [key(position.checked_sub(1)), key(Some(position + 1))])
    }

    fn first(&self, key: &str) -> Option<&[f32]> {
        self.entries[key].vectors.iter().flatten().next().map(Vec::as_slice)
    }

    /// The index has what one built from the entries has.
    fn check_counts(&self, index: &Index) {
        let rebuilt = Index::new(WIDTH);
        let (head, all): (Seq, Vec<&StoredEntry>) = (index.absorbed(), self.entries.values().collect());
        for chunk in all.chunks(50) {
            rebuilt.absorb(head, chunk.iter().map(|stored| put((*stored).clone())).collect());
        }
        assert_eq!(index.compare(&rebuilt), Vec::<String>::new());
        let terms: Vec<String> = (0..30).map(|n| format!("w{n}")).collect();
        let scope = scope(Some("u"), None);
        let counted = index.statistics(&scope, &terms);
        assert_eq!(counted, rebuilt.statistics(&scope, &terms));
        let inside = || self.entries.values().filter(|stored| stored.entry.scope.user == scope.user);
        assert_eq!(counted.entries as usize, inside().count());
        for (term, counted) in terms.iter().zip(&counted.terms) {
            let having = inside().filter(|stored| passages(stored).iter().any(|counts| counts.contains_key(term)));
            assert_eq!(counted.entries as usize, having.count());
        }
        let owed = self.entries.values().filter(|stored| stored.owed.contains(&true)).count();
        assert_eq!(index.progress().pending as usize, owed);
    }
}

pub(super) fn admits(probe: &Probe, stored: &StoredEntry) -> bool {
    let (asked, own) = (&probe.scope, &stored.entry.scope);
    let fields = [(&asked.user, &own.user), (&asked.agent, &own.agent), (&asked.app, &own.app), (&asked.run, &own.run)];
    let holds = |condition: &Condition| {
        let mut values = stored.entry.attributes.iter().filter(|attribute| attribute.name == condition.field);
        values.any(|attribute| passes(&condition.test, &attribute.value)) != condition.negated
    };
    fields.iter().all(|(asked, own)| asked.is_none() || asked == own)
        && probe.conditions.iter().all(|alternatives| alternatives.iter().any(holds))
        && probe.among.as_ref().is_none_or(|keys| keys.contains(&stored.entry.key))
}

fn passes(test: &Test, value: &Value) -> bool {
    match (test, value) {
        (Test::Present, _) => true,
        (Test::AnyOf(values), value) => values.contains(value),
        (Test::AtLeast(Value::Number(least)), Value::Number(number)) => number >= least,
        (Test::Below(Value::Number(bound)), Value::Number(number)) => number < bound,
        (Test::Icontains(part), Value::Text(text)) => text.to_lowercase().contains(&part.to_lowercase()),
        _ => false,
    }
}

/// Weighted counts of the terms of each passage; test texts are terms, spaces and "the".
fn passages(stored: &StoredEntry) -> Vec<BTreeMap<String, f32>> {
    let counts = |passage: &Passage| {
        let mut counts = BTreeMap::new();
        for text in &passage.words {
            for word in text.text.split(' ').filter(|word| *word != "the" && !word.is_empty()) {
                *counts.entry(word.to_owned()).or_default() += text.weight;
            }
        }
        counts
    };
    stored.entry.passages.iter().flatten().map(counts).collect()
}

fn extremes(scores: &[(f32, u64, &str)]) -> Option<Extremes> {
    let scores = scores.iter().map(|(score, _, _)| *score);
    Some(Extremes { min: Some(scores.clone().reduce(f32::min)?), max: scores.reduce(f32::max)? })
}

/// Equal up to rounding of the scores; the numbers of runs have no meaning.
#[track_caller]
fn assert_alike(found: &Candidates, expected: &Candidates) {
    let [(found, found_scores), (expected, expected_scores)] = [found, expected].map(taken_apart);
    assert_eq!(found, expected);
    assert_eq!(found_scores.len(), expected_scores.len());
    for (found, expected) in found_scores.into_iter().zip(expected_scores) {
        match (found, expected) {
            (Some(found), Some(expected)) => assert_close(found, expected),
            (found, expected) => assert_eq!(found, expected),
        }
    }
}

/// The answer without its scores, ascending by key, and the scores in that order.
fn taken_apart(candidates: &Candidates) -> (Candidates, Vec<Option<f32>>) {
    let mut candidates = candidates.clone();
    let keys: BTreeSet<String> = candidates.entries.iter().map(|candidate| candidate.key.clone()).collect();
    let actors: BTreeSet<String> = candidates.actors.iter().cloned().collect();
    let place = |all: &BTreeSet<String>, name: &String| count(all.iter().position(|known| known == name).unwrap());
    let places: Vec<u32> = candidates.entries.iter().map(|candidate| place(&keys, &candidate.key)).collect();
    for candidate in &mut candidates.entries {
        candidate.actor = candidate.actor.map(|actor| place(&actors, &candidates.actors[actor as usize]));
        let neighbours = candidate.turn.iter_mut().flat_map(|turn| [&mut turn.previous, &mut turn.next]).flatten();
        neighbours.for_each(|neighbour| neighbour.entry = neighbour.entry.map(|entry| places[entry as usize]));
    }
    candidates.entries.sort_by(|left, right| left.key.cmp(&right.key));
    candidates.actors.sort_unstable();
    let mut scores = Vec::new();
    for extremes in [&mut candidates.dense, &mut candidates.lexical].into_iter().flatten() {
        scores.extend([extremes.min.take(), Some(std::mem::take(&mut extremes.max))]);
    }
    for candidate in &mut candidates.entries {
        scores.extend([candidate.dense.take(), Some(std::mem::take(&mut candidate.lexical))]);
        let Some(turn) = &mut candidate.turn else { continue };
        turn.run = 0;
        scores.push(turn.across.take());
        for neighbour in [&mut turn.previous, &mut turn.next].into_iter().flatten() {
            scores.extend([neighbour.dense.take(), neighbour.similarity.take()]);
        }
    }
    (candidates, scores)
}

#[track_caller]
fn assert_close(left: f32, right: f32) {
    assert!((left - right).abs() < 1e-5, "{left} and {right}");
}

pub(super) fn keys(candidates: &Candidates) -> Vec<String> {
    let mut keys: Vec<String> = candidates.entries.iter().map(|candidate| candidate.key.clone()).collect();
    keys.sort_unstable();
    keys
}

pub(super) fn filled(dimensions: usize, entries: Vec<StoredEntry>) -> Index {
    let index = Index::new(dimensions);
    index.absorb(Seq(1), entries.into_iter().map(put).collect());
    index
}

pub(super) fn put(stored: StoredEntry) -> Change {
    Change::Put(Box::new(stored))
}

pub(super) fn probe() -> Probe {
    Probe {
        vector: None,
        common: None,
        words: String::new(),
        scope: scope(None, None),
        conditions: vec![],
        among: None,
        limit: 10,
        neighbours: false,
        k1: 0.9,
        b: 0.4,
        effort: None,
        terms: false,
        attributes: vec![],
    }
}

fn scope(user: Option<&str>, run: Option<&str>) -> Scope {
    Scope { user: user.map(str::to_owned), agent: None, app: None, run: run.map(str::to_owned) }
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn attribute(name: &str, value: Value) -> Attribute {
    Attribute { name: name.to_owned(), value }
}

pub(super) fn condition(field: &str, test: Test) -> Condition {
    Condition { field: field.to_owned(), test, negated: false }
}

pub(super) fn negated(field: &str, test: Test) -> Condition {
    Condition { negated: true, ..condition(field, test) }
}

/// Of user "u" in run "r", in one passage with the first unit vector.
pub(super) fn entry(key: &str, order: u64, words: &str) -> StoredEntry {
    let words = vec![WeightedText { text: words.to_owned(), weight: 1.0 }];
    let entry = Entry {
        key: key.to_owned(),
        scope: scope(Some("u"), Some("r")),
        at: 0,
        actor: None,
        attributes: vec![],
        passages: Some(vec![Passage { words, vector: None }]),
    };
    StoredEntry { entry, order, vectors: vec![Some(unit(&[1.0]))], owed: vec![false] }
}

fn random_entry(random: &mut Random, key: &str, order: u64) -> StoredEntry {
    let mut stored = entry(key, order, "");
    let n_passages = 1 + random.below(3);
    let words = |random: &mut Random| {
        let mut words: Vec<String> = (0..random.below(6)).map(|_| random.word()).collect();
        words.push("the".into());
        WeightedText { text: words.join(" "), weight: [0.5, 1.0, 2.0][random.below(3)] }
    };
    let passage = |_| Passage { words: (0..random.below(3)).map(|_| words(random)).collect(), vector: None };
    stored.entry.passages = Some((0..n_passages).map(passage).collect());
    stored.entry.scope = scope(random.pick(&["u", "v"]), random.pick(&["r0", "r1", "r2"]));
    stored.entry.at = i64::try_from(random.below(20)).unwrap();
    stored.entry.actor = random.pick(&["Ann", "Bob"]).map(str::to_owned);
    for _ in 0..random.below(4) {
        let n = random.below(10);
        stored.entry.attributes.push(match n % 3 {
            0 => attribute("n", Value::Number(f64::from(u32::try_from(n).unwrap()))),
            1 => attribute("tag", text(&format!("t{n}"))),
            _ => attribute("tag", Value::Boolean(true)),
        });
    }
    stored.vectors = (0..n_passages).map(|_| random.vector()).collect();
    stored.owed = stored.vectors.iter().map(|vector| vector.is_none() && random.below(2) == 0).collect();
    stored
}

/// Zeros behind what is given, scaled to unit length.
pub(super) fn unit(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    values.resize(WIDTH, 0.0);
    unit_of(values)
}

pub(super) fn unit_of(mut values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    for value in &mut values {
        *value = half::f16::from_f32(*value / length).to_f32();
    }
    values
}

#[expect(clippy::cast_possible_truncation, reason = "cosines are f32")]
pub(super) fn product(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum::<f64>() as f32
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % bound
    }

    fn word(&mut self) -> String {
        format!("w{}", self.below(30))
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> Option<&'a str> {
        choices.get(self.below(choices.len() + 1)).copied()
    }

    /// Of the index's length, or now and then none.
    fn vector(&mut self) -> Option<Vec<f32>> {
        (self.below(4) > 0).then(|| self.unit(WIDTH))
    }

    pub(super) fn unit(&mut self, width: usize) -> Vec<f32> {
        let value = |_| (f32::from(u16::try_from(self.below(20_001)).unwrap()) - 10_000.0) / 10_000.0;
        unit_of((0..width).map(value).collect())
    }
}

#[test]
fn analysis_and_index_agree() {
    let index = filled(0, vec![entry("a", 1, "Caroline's running shoes, 咖啡 2023")]);
    let tokens: Vec<Token> = analyzer::analyze("caroline RUNS shoe 咖 2023");
    for token in tokens {
        let found = index.search(&Probe { words: token.word.clone(), ..probe() }, None);
        assert_eq!(keys(&found), ["a"], "{}", token.word);
    }
}
