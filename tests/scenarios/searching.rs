// Searching: what is found, what is hidden, and how it is explained.

fn pets(subject: &mut Subject) {
    added(
        subject,
        vec![
            fact("Ana adopted a grey cat from the shelter"),
            fact("The violin lesson is on Tuesday"),
            fact("Ana is allergic to peanuts"),
            fact("Her invoice number is ZX-4711"),
            of("mel", "Mel adopted a dog"),
        ],
    );
}

pub(crate) fn a_word_alone_can_win(subject: &mut Subject) {
    pets(subject);
    let words = Tuning { dense: Some(0.2), ..untuned() };
    let answer = found(subject, Query { tuning: Some(words), ..query("ZX-4711") });
    assert_eq!(answer.hits[0].memory.content.text, "Her invoice number is ZX-4711");
    assert!(answer.hits[0].raw.lexical > 0.0);
    assert!(answer.hits[1..].iter().all(|hit| hit.raw.lexical == 0.0));
    assert_eq!((answer.pending, answer.doubts, answer.trace), (0, vec![], None));
    let empty = found(subject, Query { scope: scope("nobody"), ..query("cat") });
    assert_eq!(empty.hits, []);
}

pub(crate) fn meaning_finds_what_shares_words(subject: &mut Subject) {
    pets(subject);
    let answer = found(subject, query("grey cat adopted"));
    assert_eq!(answer.hits[0].memory.content.text, "Ana adopted a grey cat from the shelter");
    let score = |n: usize| answer.hits[n].score;
    assert!((score(0) - 1.4).abs() < 1e-6, "best in words and meaning, and of its own run: {}", score(0));
    assert!((1..answer.hits.len()).all(|n| score(n - 1) >= score(n)));
    assert!(answer.hits[0].raw.dense.unwrap() > answer.hits[1].raw.dense.unwrap());
    assert_eq!(answer.hits.len(), 4, "the nearest, however far");
    assert_eq!(hits(subject, Query { limit: 1, ..query("peanuts") }), ["Ana is allergic to peanuts"]);
    // The stop words are no words, and a query of them alone is found by meaning.
    assert!(found(subject, query("the is on")).hits.iter().all(|hit| hit.raw.lexical == 0.0));
}

pub(crate) fn scopes_are_walls(subject: &mut Subject) {
    pets(subject);
    let run = Scope { run: Some("r".into()), ..scope("ana") };
    one(subject, Content { scope: run.clone(), ..fact("adopted in a run") });
    assert_eq!(hits(subject, Query { scope: scope("mel"), ..query("adopted") }), ["Mel adopted a dog"]);
    assert_eq!(hits(subject, Query { scope: run, ..query("adopted") }), ["adopted in a run"]);
    assert_eq!(found(subject, query("adopted")).hits.len(), 5);
    assert_eq!(found(subject, Query { scope: everywhere(), ..query("adopted") }).hits.len(), 6);
}

pub(crate) fn filters_lose_nothing(subject: &mut Subject) {
    let mut items: Vec<Content> = (0..300).map(|n| fact(&format!("note {n} about cats"))).collect();
    items.push(Content { metadata: "{\"rare\":true}".into(), ..fact("something else entirely") });
    added(subject, items);
    let narrow = |filter: &str| Query { filter: Some(filter.to_owned()), limit: 1, ..query("note about cats") };
    assert_eq!(hits(subject, narrow("{\"metadata.rare\":true}")), ["something else entirely"]);
    assert_eq!(hits(subject, narrow("{\"text\":{\"contains\":\"entirely\"}}")), ["something else entirely"]);
    assert_eq!(hits(subject, narrow("{\"text\":{\"contains\":\"nowhere\"}}")), Vec::<String>::new());
}

pub(crate) fn paths_beside_the_index_agree(subject: &mut Subject) {
    let tagged =
        |n: u32| Content { metadata: format!("{{\"n\":{n},\"tags\":[{n},null]}}"), ..fact(&format!("cat {n}")) };
    let ids = added(subject, (0..6).map(tagged).collect());
    let mut admitted = |filter: String| {
        let query = Query { filter: Some(filter), explain: true, ..query("cat") };
        let answer = found(subject, query);
        assert_eq!(answer.trace.unwrap().admitted as usize, answer.hits.len(), "the index admits just these");
        answer.hits.len()
    };
    assert_eq!(admitted("{\"metadata.n\":{\"gte\":2,\"lt\":5}}".into()), 3);
    assert_eq!(admitted("{\"text\":{\"icontains\":\"CAT 3\"}}".into()), 1);
    assert_eq!(admitted("{\"metadata.n\":{\"in\":[1,null]}}".into()), 1);
    assert_eq!(admitted("{\"metadata.tags\":{\"contains\":4}}".into()), 1);
    assert_eq!(admitted("{\"metadata.tags\":{\"nin\":[4,5]}}".into()), 4);
    assert_eq!(admitted(format!("{{\"id\":{{\"in\":[\"{}\",\"{}\"]}}}}", ids[0], ids[5])), 2);
    assert_eq!(admitted("{\"NOT\":[{\"AND\":[{\"metadata.n\":1},{\"text\":\"cat 1\"}]}]}".into()), 5);
    assert_eq!(admitted("{}".into()), 6);
}

pub(crate) fn the_view_rules_a_search(subject: &mut Subject) {
    added(
        subject,
        vec![
            Content { valid_to: Some(START), ..fact("old cat") },
            Content { valid_from: Some(START + DAY), ..fact("new cat") },
            Content { expires_at: Some(START + DAY), ..fact("passing cat") },
        ],
    );
    let mut show = |view: View| {
        let mut texts = hits(subject, Query { view, ..query("cat") });
        texts.sort_unstable();
        texts
    };
    assert_eq!(show(now()), ["passing cat"]);
    assert_eq!(show(View { valid_at: Some(START - 1), ..now() }), ["old cat", "passing cat"]);
    assert_eq!(show(View { now: Some(START + DAY), ..now() }), ["new cat"]);
    assert_eq!(show(View { now: Some(START + DAY), ..also(Including::EXPIRED) }), ["new cat", "passing cat"]);
    assert_eq!(show(also(Including::OUTDATED | Including::EXPIRED)), ["new cat", "old cat", "passing cat"]);
}

pub(crate) fn scores_below_the_minimum_drop_out(subject: &mut Subject) {
    pets(subject);
    let least = |dense: Option<f32>, lexical: Option<f32>| Query {
        minimum: Some(Minimum { dense, lexical }),
        ..query("grey cat")
    };
    assert_eq!(found(subject, least(None, None)).hits.len(), 4);
    assert_eq!(found(subject, least(None, Some(0.01))).hits.len(), 1);
    assert_eq!(found(subject, least(Some(0.99), None)).hits.len(), 0);
    assert_eq!(found(subject, least(Some(0.99), Some(0.01))).hits.len(), 1, "one of those given is enough");
    for (dense, lexical, said) in [
        (Some(f32::NAN), None, "minimum.dense: a cosine lies within -1 and 1"),
        (Some(1.1), None, "minimum.dense: a cosine lies within -1 and 1"),
        (None, Some(0.0), "minimum.lexical: a smallest BM25 score lies above 0"),
        (None, Some(f32::INFINITY), "minimum.lexical: a smallest BM25 score lies above 0"),
    ] {
        let answer = subject.search(vec![least(dense, lexical)]).unwrap().remove(0);
        assert_eq!(refused(&answer.unwrap_err()), format!("invalid queries[0].{said}"));
    }
}

pub(crate) fn explanations_sum_to_the_score(subject: &mut Subject) {
    added(
        subject,
        vec![
            Content { actor: Some("Mel".into()), at: Some(START - 30 * DAY), ..fact("the cat sat on the cat mat") },
            Content { actor: Some("Ana".into()), at: Some(START), ..fact("a grey cat") },
            fact("no animal at all"),
        ],
    );
    let tuning = Tuning { recency: Some(0.25), ..untuned() };
    let query =
        Query { explain: true, tuning: Some(tuning), ..query("did Mel see the grey cat cat on 2 December 2023?") };
    let answer = found(subject, query);
    assert_eq!(answer.hits.len(), 3);
    for hit in &answer.hits {
        let explanation = hit.explanation.as_ref().unwrap();
        let sum: f32 = explanation.parts.iter().map(|part| part.share).sum();
        assert!((sum - hit.score).abs() < 1e-5, "{explanation:?} of {}", hit.score);
        let names: Vec<&str> = explanation.parts.iter().map(|part| &part.name[..]).collect();
        let all = ["dense", "neighbours", "lexical", "answer", "actor", "date", "recency", "question", "run"];
        assert_eq!(names, all);
        let terms: f32 = explanation.terms.iter().map(|term| term.share).sum();
        assert!((terms - hit.raw.lexical).abs() < 1e-4, "{explanation:?} of {:?}", hit.raw);
    }
    let trace = answer.trace.unwrap();
    assert_eq!((trace.admitted, trace.candidates, trace.exact), (3, 3, true));
    assert_eq!(trace.dates.len(), 1);
    assert_eq!(trace.dates[0].1, START - 30 * DAY);
    assert_eq!(trace.tuning.pipeline, Some(Pipeline::Context));
    assert_eq!((trace.tuning.recency, trace.tuning.neighbours), (Some(0.25), Some(0.3)));
}

pub(crate) fn actors_and_dates_lift(subject: &mut Subject) {
    let said = |actor: &str, at: i64, text: &str| Content {
        actor: Some(actor.to_owned()),
        at: Some(at),
        kind: Kind::Episode,
        ..fact(text)
    };
    let (may, july) = (1_683_504_000_000, 1_688_515_200_000);
    added(subject, vec![said("Ana", may, "tea please"), said("Mel", july, "tea please")]);
    let mut first = |text: &str| {
        let tuning = Some(Tuning { dense: Some(0.0), ..untuned() });
        let hit = found(subject, Query { tuning, ..query(text) }).hits.remove(0);
        hit.memory.content.actor.unwrap()
    };
    assert_eq!(first("what did Mel drink"), "Mel");
    assert_eq!(first("what did Ana drink"), "Ana");
    assert_eq!(first("what was drunk on 5 July 2023"), "Mel");
    assert_eq!(first("what was drunk in May 2023"), "Ana");
    assert_eq!(first("what was drunk on 2023-07-05"), "Mel");
}

pub(crate) fn ubiquitous_names_are_masked(subject: &mut Subject) {
    let said = |n: usize| Content { actor: Some("Caroline".into()), ..fact(&format!("topic number {n}")) };
    added(subject, (0..20).map(said).collect());
    let query = Query { explain: true, limit: 3, ..query("What does Caroline say of topic 7?") };
    let trace = found(subject, query.clone()).trace.unwrap();
    assert_eq!(trace.dense_text, "What does say of topic 7?");
    let tuning = Tuning { mask_floor: Some(21), ..untuned() };
    let trace = found(subject, Query { tuning: Some(tuning), ..query }).trace.unwrap();
    assert_eq!(trace.dense_text, "What does Caroline say of topic 7?");
}

pub(crate) fn long_texts_are_found_by_passages(subject: &mut Subject) {
    let filler = |n: usize| format!("{} of part {n}. ", "Nothing much happened ".repeat(40));
    let long = format!("{}{}The lighthouse keeper lost a blue umbrella. {}", filler(1), filler(2), filler(3));
    let answer = subject.add(vec![fact(&long), fact("short")], exact()).unwrap();
    assert_eq!(answer.items[0].as_ref().unwrap().truncated_tokens, 0, "split, not cut");
    let hit = found(subject, query("lighthouse umbrella")).hits.remove(0);
    let passage = hit.passage.unwrap();
    assert!(passage.contains("blue umbrella") && passage.len() < long.len(), "{passage}");
    assert_eq!(hit.memory.content.text, long);
    assert_eq!(found(subject, query("short")).hits[0].passage, None);
}

pub(crate) fn recency_prefers_the_new(subject: &mut Subject) {
    let at = |days: i64, text: &str| Content { at: Some(START - days * DAY), ..fact(text) };
    added(subject, vec![at(60, "the cat, long ago"), at(0, "the cat, just now")]);
    let tuning = Tuning { recency: Some(1.0), dense: Some(0.0), ..untuned() };
    let query = Query { tuning: Some(tuning), explain: true, view: View { now: Some(START), ..now() }, ..query("cat") };
    let answer = found(subject, query);
    let value = |n: usize| {
        let parts = &answer.hits[n].explanation.as_ref().unwrap().parts;
        parts.iter().find(|part| part.name == "recency").unwrap().value
    };
    assert_eq!(answer.hits[0].memory.content.text, "the cat, just now");
    assert_eq!((value(0), value(1)), (1.0, 0.25));
}

pub(crate) fn duplicates_fold_into_one_hit(subject: &mut Subject) {
    let first = one(subject, fact("Ana adopted a cat"));
    let again = Content { links: vec![link(Relation::Duplicates, &first)], ..fact("Ana adopted a grey cat") };
    let again = one(subject, again);
    one(subject, fact("Ana feeds the cat"));
    let answer = found(subject, Query { limit: 2, ..query("grey cat adopted") });
    let told: Vec<(&str, &[String])> =
        answer.hits.iter().map(|hit| (&hit.memory.content.text[..], &hit.folded[..])).collect();
    assert_eq!(told, [("Ana adopted a grey cat", &[first.clone()][..]), ("Ana feeds the cat", &[])]);
    let answer = found(subject, query("Ana adopted a cat"));
    assert_eq!((&answer.hits[0].memory.id, &answer.hits[0].folded[..]), (&first, &[again][..]), "in either direction");
}

pub(crate) fn a_suggested_successor_ranks_first(subject: &mut Subject) {
    let old = one(subject, fact("Ana lives in Graz"));
    let new = Content { links: vec![link(Relation::MaySupersede, &old)], ..fact("Ana moved to Wien, she lives there") };
    added(subject, vec![new, fact("Mel paints")]);
    let answer = found(subject, Query { explain: true, ..query("Ana lives in Graz") });
    let texts: Vec<&str> = answer.hits.iter().map(|hit| &hit.memory.content.text[..]).collect();
    assert_eq!(texts, ["Ana moved to Wien, she lives there", "Ana lives in Graz", "Mel paints"]);
    for hit in &answer.hits {
        let sum: f32 = hit.explanation.as_ref().unwrap().parts.iter().map(|part| part.share).sum();
        assert!((sum - hit.score).abs() < 1e-5);
    }
    let last = answer.hits[1].explanation.as_ref().unwrap().parts.last().unwrap();
    assert!(last.name == "superseded" && last.share < 0.0, "{last:?}");
}

pub(crate) fn bad_queries_fail_at_their_place(subject: &mut Subject) {
    pets(subject);
    let tuned = |tuning: Tuning| Query { tuning: Some(tuning), ..query("cat") };
    let cases = vec![
        (query("cat"), None),
        (query(" "), Some("invalid queries[1].text: the query is blank")),
        (query(&"x".repeat(8_193)), Some("limit queries[2].text: the query has 8193 bytes, at most 8192 are taken")),
        (Query { limit: 0, ..query("cat") }, Some("invalid queries[3].limit: the limit is 0, at least 1 is needed")),
        (
            Query { limit: 1_001, ..query("cat") },
            Some("limit queries[4].limit: the limit is 1001, at most 1000 is taken"),
        ),
        (
            Query { scope: scope(""), ..query("cat") },
            Some("invalid queries[5].scope.user: the user is empty; leave it out instead"),
        ),
        (
            Query { filter: Some("[]".into()), ..query("cat") },
            Some("invalid queries[6].filter#: a filter is an object, as in {\"user\": \"ana\"}"),
        ),
        (
            tuned(Tuning { dense: Some(1.5), ..untuned() }),
            Some("invalid queries[7].tuning.dense: 1.5 is not within 0 and 1"),
        ),
        (
            tuned(Tuning { k1: Some(-1.0), ..untuned() }),
            Some("invalid queries[8].tuning.k1: -1 is not within 0 and 1000"),
        ),
        (
            tuned(Tuning { b: Some(f32::NAN), ..untuned() }),
            Some("invalid queries[9].tuning.b: NaN is not within 0 and 1"),
        ),
        (
            tuned(Tuning { candidates: Some(0), ..untuned() }),
            Some("invalid queries[10].tuning.candidates: the limit is 0, at least 1 is needed"),
        ),
        (query("dog"), None),
    ];
    let (queries, expected): (Vec<Query>, Vec<Option<&str>>) = cases.into_iter().unzip();
    let answers = subject.search(queries).unwrap();
    let refusals: Vec<Option<String>> = answers.iter().map(|answer| answer.as_ref().err().map(refused)).collect();
    assert_eq!(refusals, expected.iter().map(|e| e.map(str::to_owned)).collect::<Vec<_>>());
    let error = subject.search(vec![query("cat"); 101]).unwrap_err();
    assert_eq!(refused(&error), "limit queries: 101 queries, at most 100 are taken in one call");
    assert_eq!(subject.search(vec![]).unwrap().len(), 0);
}

pub(crate) fn what_no_search_offers_says_so(subject: &mut Subject) {
    pets(subject);
    let late = Tuning { pipeline: Some(Pipeline::Late), ..untuned() };
    let queries = vec![
        Query { rerank: true, ..query("cat") },
        Query { view: View { known_at: Some(START), ..now() }, ..query("cat") },
        Query { view: also(Including::DELETED), ..query("cat") },
        Query { tuning: Some(late), ..query("cat") },
    ];
    let answers = subject.search(queries).unwrap();
    let refusals: Vec<String> = answers.into_iter().map(|answer| refused(&answer.unwrap_err())).collect();
    let expected = [
        "unavailable: there is no reranker",
        "unavailable: this store keeps no index entries of earlier versions; get, list and history take known-at",
        "unavailable: deleted memories are not in the index; list shows them",
        "unavailable: this store keeps no token vectors; `context` is there",
    ];
    assert_eq!(refusals, expected);
}
