// Understanding a query and a run: context, time, diversity, doubts, why-not, and what a prompt carries.

/// One conversation, a turn every minute.
fn conversation(subject: &mut Subject, run: &str, at: i64, turns: &[(&str, &str)]) -> Vec<String> {
    let turn = |(n, (actor, text)): (i64, &(&str, &str))| Content {
        scope: Scope { run: Some(run.to_owned()), ..scope("ana") },
        actor: Some((*actor).to_owned()),
        kind: Kind::Episode,
        at: Some(at + n * 60_000),
        ..fact(text)
    };
    added(subject, (0..).zip(turns).map(turn).collect())
}

#[expect(clippy::unnecessary_wraps, reason = "as a query takes it")]
fn step(pipeline: Pipeline) -> Option<Tuning> {
    Some(Tuning { pipeline: Some(pipeline), ..untuned() })
}

const VIOLA: &str = "the viola, an instrument with a past";

fn evening(subject: &mut Subject) -> Vec<String> {
    let ids = conversation(
        subject,
        "r1",
        START,
        &[
            ("Ana", "good evening to you"),
            ("Mel", "which instrument did you give up?"),
            ("Ana", VIOLA),
            ("Mel", "what a pity"),
        ],
    );
    conversation(subject, "r2", START + DAY, &[("Ana", "instrument panels are heavy"), ("Mel", "so they say")]);
    ids
}

pub(crate) fn an_answer_has_the_words_of_its_question(subject: &mut Subject) {
    evening(subject);
    for pipeline in [Pipeline::Lexical, Pipeline::Context] {
        let query = Query { tuning: step(pipeline), explain: true, ..query("which instrument was given up") };
        let answer = found(subject, query);
        let place = answer.hits.iter().position(|hit| hit.memory.content.text == VIOLA).unwrap();
        assert!(place <= usize::from(pipeline == Pipeline::Context), "{pipeline:?}: behind its question at most");
        let hit = &answer.hits[place];
        let parts = &hit.explanation.as_ref().unwrap().parts;
        let part = |name: &str| parts.iter().find(|part| part.name == name).unwrap().share;
        assert!(part("answer") > 0.0 && part("run") > 0.0, "{parts:?}");
        let sum: f32 = parts.iter().map(|part| part.share).sum();
        assert!((sum - hit.score).abs() < 1e-5);
    }
    let core = Query { tuning: step(Pipeline::Core), ..query("which instrument was given up") };
    assert_ne!(hits(subject, core)[0], VIOLA);
}

pub(crate) fn without_runs_context_orders_as_core_does(subject: &mut Subject) {
    let items: Vec<Content> = (0..40).map(|n| fact(&format!("note {n} on cats, {} of them", n % 7))).collect();
    added(subject, items);
    let mut ranked = |pipeline: Pipeline| {
        hits(subject, Query { tuning: step(pipeline), limit: 40, ..query("3 of the cats, note 12") })
    };
    assert_eq!(ranked(Pipeline::Context), ranked(Pipeline::Core));
}

pub(crate) fn words_are_searched_without_a_model(_: &mut Subject) {
    let mut subject = Subject::without_a_model();
    evening(&mut subject);
    let query = Query { tuning: step(Pipeline::Context), explain: true, ..query("which instrument was given up") };
    let answer = found(&mut subject, query);
    assert_eq!(answer.hits[0].memory.content.text, VIOLA);
    assert_eq!(answer.trace.unwrap().tuning.pipeline, Some(Pipeline::Lexical), "the step before");
    assert_eq!(answer.pending, 6);
}

pub(crate) fn times_are_told_from_the_readers_day(subject: &mut Subject) {
    let on = |day: &str, at: i64| Content { at: Some(at), ..fact(&format!("tea on {day}")) };
    // 2024-01-01 was a Monday.
    added(
        subject,
        vec![
            on("alpha", START),
            on("beta", START - 30 * DAY),
            on("gamma", START - 120 * DAY),
            on("delta", START - 500 * DAY),
        ],
    );
    let mut first = |text: &str| {
        let view = View { now: Some(START + 7 * DAY), ..now() };
        let query = Query { view, explain: true, tuning: step(Pipeline::Lexical), ..query(text) };
        let answer = found(subject, query);
        (answer.hits[0].memory.content.text.clone(), answer.trace.unwrap().dates.len())
    };
    assert_eq!(first("tea last week"), ("tea on alpha".to_owned(), 1));
    assert_eq!(first("tea 37 days ago"), ("tea on beta".to_owned(), 1));
    assert_eq!(first("tea last September"), ("tea on gamma".to_owned(), 1));
    assert_eq!(first("tea in 2022"), ("tea on delta".to_owned(), 1));
    assert_eq!(first("tea 上周"), ("tea on alpha".to_owned(), 1));
    assert_eq!(first("tea 2022年8月"), ("tea on delta".to_owned(), 1));
}

pub(crate) fn what_yesterday_was_is_found(subject: &mut Subject) {
    let said = |text: &str, at: i64| Content { at: Some(at), ..fact(text) };
    added(subject, vec![said("we planted tomatoes yesterday", START), said("we planted cabbage", START - 20 * DAY)]);
    let query =
        Query { tuning: Some(Tuning { dense: Some(0.0), date: Some(0.0), ..untuned() }), ..query("31 December") };
    let answer = found(subject, query);
    assert_eq!(answer.hits[0].memory.content.text, "we planted tomatoes yesterday");
    assert!(answer.hits[0].raw.lexical > answer.hits.get(1).map_or(0.0, |hit| hit.raw.lexical));
}

pub(crate) fn versions_of_then_are_shown(subject: &mut Subject) {
    let id = one(subject, keyed("diet", "Ana is vegetarian"));
    let known = subject.get(vec![Target::Id(id.clone())], now()).unwrap()[0].as_ref().unwrap().updated_at;
    subject.advance(DAY);
    one(subject, keyed("diet", "Ana is vegan"));
    let then = View { known_at: Some(known), ..now() };
    assert_eq!(seen(subject, Target::Id(id.clone()), then), Some("Ana is vegetarian (live 1)".to_owned()));
    assert_eq!(listed(subject, ListRequest { view: then, ..request(scope("ana")) }), ["Ana is vegetarian (live 1)"]);
    assert_eq!(listed(subject, request(scope("ana"))), ["Ana is vegan (live 2)"]);
    assert_eq!(seen(subject, Target::Id(id), View { known_at: Some(START - DAY), ..now() }), None);
}

pub(crate) fn doubts_are_raised(subject: &mut Subject) {
    let texts = ["grey cat adopted", "violin lesson Tuesday", "peanut allergy", "invoice paid twice", "trip to Graz"];
    added(subject, texts.map(fact).to_vec());
    let mut doubts = |text: &str| found(subject, query(text)).doubts;
    assert_eq!(doubts("who adopted the grey cat"), []);
    assert_eq!(doubts("zebra quantum flux capacitor"), [Doubt::NothingNear]);
    let mut words = Subject::without_a_model();
    added(&mut words, texts.map(fact).to_vec());
    assert_eq!(found(&mut words, query("grey cat adopted")).doubts, []);
    assert_eq!(found(&mut words, query("zebra quantum flux capacitor cat")).doubts, [Doubt::NothingNear]);
}

pub(crate) fn hits_are_spread(subject: &mut Subject) {
    let again = "green tea in the garden of the old house, again";
    let turns = [("Ana", "green tea in the garden of the old house"), ("Ana", again)];
    conversation(subject, "r1", START, &turns);
    conversation(subject, "r2", START + DAY, &[("Mel", "tea is what Mel drinks")]);
    one(subject, fact("unrelated words"));
    let mut told = |diversity: Diversity| {
        let query = Query { diversity: Some(diversity), explain: true, limit: 2, ..query("green tea") };
        let answer = found(subject, query);
        for hit in &answer.hits {
            let sum: f32 = hit.explanation.as_ref().unwrap().parts.iter().map(|part| part.share).sum();
            assert!((sum - hit.score).abs() < 1e-5);
        }
        assert!(answer.hits[0].score >= answer.hits[1].score);
        answer.hits.into_iter().map(|hit| hit.memory.content.scope.run.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(told(Diversity { per_run: 0, spread: 0.0 }), ["r1", "r1"]);
    assert_eq!(told(Diversity { per_run: 1, spread: 0.0 }), ["r1", "r2"]);
    assert_eq!(told(Diversity { per_run: 0, spread: 1.0 }), ["r1", "r2"]);
    for spread in [-0.1, 1.1, f32::NAN] {
        let query = Query { diversity: Some(Diversity { per_run: 0, spread }), ..query("tea") };
        let error = subject.search(vec![query]).unwrap().remove(0).unwrap_err();
        assert_eq!(refused(&error), "invalid queries[0].diversity.spread: a share lies within 0 and 1");
    }
}

pub(crate) fn why_a_memory_did_not_come_back(subject: &mut Subject) {
    let first = one(subject, fact("Ana adopted a grey cat"));
    let again = one(subject, Content { links: vec![link(Relation::Duplicates, &first)], ..fact("Ana adopted a cat") });
    let gone = one(subject, Content { expires_at: Some(START), ..fact("a passing cat") });
    let tagged = one(subject, Content { metadata: "{\"n\":1}".into(), ..fact("a tagged cat") });
    let other = one(subject, of("mel", "a cat of Mel"));
    let deleted = one(subject, fact("a deleted cat"));
    subject.delete(vec![deletion(id(&deleted))], Erasure::KeepHistory, plain()).unwrap();
    let far = one(subject, fact("unrelated words"));
    let unknown = "01890000-0000-7000-8000-000000000000".to_owned();
    let asked = Query { limit: 1, ..query("grey cat adopted") };
    let targets = [&first, &again, &gone, &other, &deleted, &unknown].map(|one| id(one)).to_vec();
    let verdicts = subject.why_not(asked.clone(), targets).unwrap();
    let Verdict::Ranked(ranked) = &verdicts[0] else { panic!("{:?}", verdicts[0]) };
    assert_eq!(ranked.place, 1);
    let sum: f32 = ranked.explanation.parts.iter().map(|part| part.share).sum();
    assert!((sum - ranked.score).abs() < 1e-5 && ranked.raw.lexical > 0.0);
    let expected = [
        Verdict::Folded(first),
        Verdict::Hidden(State::Expired),
        Verdict::Excluded("scope.user".to_owned()),
        Verdict::Hidden(State::Deleted),
        Verdict::Unknown,
    ];
    assert_eq!(verdicts[1..], expected);

    let place_of = |verdict: &Verdict| match verdict {
        Verdict::Ranked(ranked) => ranked.place,
        other => panic!("{other:?}"),
    };
    let verdict = subject.why_not(asked.clone(), vec![id(&far)]).unwrap().remove(0);
    assert!(place_of(&verdict) > 1, "beyond the limit");
    let strict = Query { minimum: Some(Minimum { dense: Some(0.99), lexical: Some(1.0) }), ..asked.clone() };
    let verdict = subject.why_not(strict, vec![id(&far)]).unwrap().remove(0);
    assert!(matches!(verdict, Verdict::BelowMinimum(raw) if raw.lexical == 0.0), "{verdict:?}");
    let filter = "{\"AND\":[{\"kind\":\"fact\"},{\"metadata.n\":{\"gt\":1}}]}".to_owned();
    let filtered = Query { filter: Some(filter), ..asked };
    let verdict = subject.why_not(filtered, vec![id(&tagged)]).unwrap().remove(0);
    assert_eq!(verdict, Verdict::Excluded("filter#/AND/1/metadata.n".to_owned()));
    let error = subject.why_not(query(" "), vec![]).unwrap_err();
    assert_eq!(refused(&error), "invalid query.text: the query is blank");
}

pub(crate) fn what_no_branch_finds_is_no_candidate(subject: &mut Subject) {
    let items: Vec<Content> = (0..30).map(|n| fact(&format!("cat number {n}"))).collect();
    added(subject, items);
    let far = one(subject, fact("something else"));
    let few = Tuning { candidates: Some(2), ..untuned() };
    let asked = Query { tuning: Some(few), limit: 1, ..query("cat") };
    let verdict = subject.why_not(asked, vec![id(&far)]).unwrap().remove(0);
    assert!(matches!(verdict, Verdict::NoCandidate(raw) if raw.dense.is_some() && raw.lexical == 0.0), "{verdict:?}");
}

fn packed(subject: &mut Subject, text: &str, max_tokens: u32, around: u32) -> Result<Pack, Error> {
    let query = Query { limit: 2, ..query(text) };
    subject.context(vec![ContextRequest { query, max_tokens, around }]).unwrap().remove(0)
}

pub(crate) fn a_prompt_carries_citations(subject: &mut Subject) {
    let core = one(subject, Content { kind: Kind::Core, ..fact("Ana is vegetarian") });
    one(subject, Content { kind: Kind::Core, ..of("mel", "Mel is not asked about") });
    let ids = evening(subject);
    let pack = packed(subject, "which instrument was given up", 200, 0).unwrap();
    let expected = "[1] Ana is vegetarian\n\n[2] 1 January 2024, Mel: which instrument did you give up?\n\n\
                    [3] 1 January 2024, Ana: the viola, an instrument with a past";
    assert_eq!(pack.text, expected);
    let told: Vec<(u32, &str, Origin)> = pack.citations.iter().map(|c| (c.number, &c.id[..], c.origin)).collect();
    assert_eq!(told, [(1, &core[..], Origin::Core), (2, &ids[1], Origin::Hit), (3, &ids[2], Origin::Hit)]);
    assert!(pack.citations[1].score.is_some() && pack.citations[0].score.is_none());
    assert_eq!(pack.omitted, Vec::<String>::new());
    assert!(pack.tokens > 10 && pack.tokens <= 200);

    let around = packed(subject, "which instrument was given up", 200, 1).unwrap();
    let origins: Vec<Origin> = around.citations.iter().map(|c| c.origin).collect();
    assert_eq!(origins, [Origin::Core, Origin::Neighbour, Origin::Hit, Origin::Hit, Origin::Neighbour]);
    assert_eq!(packed(subject, "which instrument was given up", 200, 1).unwrap(), around, "the same again");

    // What the filter excludes stands beside nothing either.
    let query = Query { limit: 1, filter: Some("{\"actor\":\"Ana\"}".to_owned()), ..query("which instrument") };
    let request = ContextRequest { query, max_tokens: 200, around: 3 };
    let pack = subject.context(vec![request]).unwrap().remove(0).unwrap();
    assert!(pack.citations.len() > 1 && !pack.text.contains("Mel"), "{}", pack.text);
}

pub(crate) fn a_prompt_stays_within_its_budget(subject: &mut Subject) {
    one(subject, Content { kind: Kind::Core, ..fact("Ana is vegetarian") });
    let ids = evening(subject);
    let whole = packed(subject, "which instrument was given up", 200, 0).unwrap();
    let tight = packed(subject, "which instrument was given up", whole.tokens - 3, 0).unwrap();
    assert!(tight.tokens <= whole.tokens - 3);
    assert_eq!((tight.citations.len(), tight.omitted.len()), (2, 1));
    assert!(ids.contains(&tight.omitted[0]));
    let error = packed(subject, "viola", 2, 0).unwrap_err();
    assert_eq!(refused(&error), "limit requests[0].max-tokens: the core memories alone have more than 2 tokens");
    let error = packed(subject, "viola", 100, 11).unwrap_err();
    assert_eq!(refused(&error), "limit requests[0].around: 11 turns around a hit, at most 10 are taken");
    let newest = packed(subject, "", 200, 0).unwrap();
    assert!(
        newest
            .text
            .ends_with("[2] 2 January 2024, Ana: instrument panels are heavy\n\n[3] 2 January 2024, Mel: so they say"),
        "{}",
        newest.text
    );
    let error = packed(subject, " ", 100, 0).unwrap_err();
    assert_eq!(refused(&error), "invalid requests[0].query.text: the query is blank");
}

pub(crate) fn misspelt_words_find_the_nearest(subject: &mut Subject) {
    added(subject, vec![fact("Ana is vegetarian"), fact("the violin lesson"), fact("car and cat")]);
    let mut words = |text: &str| {
        let answer = found(subject, Query { tuning: step(Pipeline::Lexical), explain: true, ..query(text) });
        let term =
            |hit: &Hit| hit.explanation.as_ref().unwrap().terms.iter().map(|t| t.term.clone()).collect::<Vec<_>>();
        answer.hits.iter().flat_map(term).collect::<Vec<String>>()
    };
    assert_eq!(words("vegetarain"), ["vegetarian"]);
    assert_eq!(words("violn"), ["violin"]);
    assert_eq!(words("cab"), Vec::<String>::new(), "short words have too many neighbours");
    assert_eq!(words("violin"), ["violin"]);
}

pub(crate) fn strange_queries_have_defined_answers(subject: &mut Subject) {
    added(subject, vec![fact("the is a"), fact("party 🎉🎉 on the roof"), fact("日本語のメモ"), fact("plain words")]);
    let mut count = |query: Query| found(subject, query).hits.len();
    for text in ["the", "🎉🎉", "???", "日本語", "\u{0}\u{1}", "ﷺ", "a\u{301}"] {
        assert!(count(query(text)) <= 4, "{text:?}");
        assert!(count(Query { tuning: step(Pipeline::Lexical), ..query(text) }) <= 4, "{text:?}");
    }
    let nothing = "{\"AND\":[{\"user\":\"ana\"},{\"user\":\"mel\"}]}".to_owned();
    assert_eq!(count(Query { filter: Some(nothing), ..query("words") }), 0, "contradictory");
    assert_eq!(count(Query { view: View { valid_at: Some(-62_135_596_800_000), ..now() }, ..query("words") }), 4);
    let dated = Content { valid_from: Some(START), ..fact("since now") };
    one(subject, dated);
    let before = Query { view: View { valid_at: Some(START - 1), ..now() }, ..query("since now") };
    assert!(!hits(subject, before).contains(&"since now".to_owned()));
}
