// Adding with a comparison: near duplicates and corrections, linked or superseding, and all of it reversible.

fn comparing(comparison: Comparison) -> AddOptions {
    AddOptions { comparison, ..exact() }
}

#[track_caller]
fn compared(subject: &mut Subject, comparison: Comparison, item: Content) -> Outcome {
    subject.add(vec![item], comparing(comparison)).unwrap().items.remove(0).unwrap()
}

/// Relations and targets of the links.
#[track_caller]
fn links_of(subject: &mut Subject, of: &str) -> Vec<(Relation, String)> {
    let memory = subject.get(vec![id(of)], all()).unwrap().remove(0).unwrap();
    memory.content.links.into_iter().map(|link| (link.relation, link.target)).collect()
}

const ADOPTED: &str = "Ana adopted a grey cat from the shelter in the old town of Graz this spring";
const ADOPTED_AGAIN: &str = "Ana adopted a grey cat from the shelter in the old town of Graz, this spring!";

pub(crate) fn near_duplicates_are_linked_and_folded(subject: &mut Subject) {
    let first = one(subject, fact(ADOPTED));
    one(subject, fact("Mel paints"));
    let outcome = compared(subject, Comparison::Similar, fact(ADOPTED_AGAIN));
    assert_eq!(did(&outcome.item), "Added 1 NearDuplicate");
    assert!(outcome.item.similarity.unwrap() > 0.95);
    assert_eq!(outcome.others, []);
    assert_eq!(links_of(subject, &outcome.item.id), [(Relation::Duplicates, first.clone())]);
    let answer = found(subject, query("grey cat"));
    assert_eq!(answer.hits.len(), 2, "both are one hit");
    assert_eq!(answer.hits[0].folded.len(), 1);
    let third = compared(subject, Comparison::Supersede, fact(&format!("- {ADOPTED}")));
    assert_eq!(links_of(subject, &third.item.id), [(Relation::Duplicates, first)], "all lead to the first");
    // Without its link it is a hit of its own again.
    let unlinked = Patch { links: Some(vec![]), ..unpatched() };
    subject.update(vec![edit(id(&outcome.item.id), unlinked)], plain()).unwrap();
    assert_eq!(found(subject, query("grey cat")).hits.len(), 3);
}

pub(crate) fn what_only_looks_the_same_is_kept_apart(subject: &mut Subject) {
    let said = |text: &str| Content { at: Some(START), kind: Kind::Episode, ..fact(text) };
    one(subject, said(ADOPTED));
    for item in [
        Content { at: Some(START - DAY), ..said(ADOPTED_AGAIN) },
        Content { actor: Some("Mel".into()), ..said(ADOPTED_AGAIN) },
        Content { kind: Kind::Fact, ..said(ADOPTED_AGAIN) },
        Content { scope: scope("mel"), ..said(ADOPTED_AGAIN) },
        said(&ADOPTED.replace("a grey cat", "two grey cats")),
        said(&ADOPTED.replace("spring", "summer").replace("Graz", "Linz")),
    ] {
        let text = item.text.clone();
        let outcome = compared(subject, Comparison::Similar, item);
        assert_eq!(did(&outcome.item), "Added 1", "{text}");
    }
    let outcome = compared(subject, Comparison::Similar, Content { key: Some("k".into()), ..said(ADOPTED) });
    assert_eq!(did(&outcome.item), "Added 1", "a key settles the question");
    let outcome = compared(subject, Comparison::Exact, said(ADOPTED_AGAIN));
    assert_eq!(did(&outcome.item), "Added 1", "exact compares nothing");
    let outcome = compared(subject, Comparison::Similar, said(ADOPTED));
    assert_eq!(did(&outcome.item), "Unchanged 1 SameText", "each case includes the one before");
}

pub(crate) fn corrections_are_suggested(subject: &mut Subject) {
    let old = one(subject, fact("Ana lives in Graz"));
    let outcome = compared(subject, Comparison::Similar, fact("Ana lives in Vienna"));
    assert_eq!(did(&outcome.item), "Added 1 Contradiction");
    assert!(outcome.item.similarity.is_some() && outcome.others.is_empty());
    assert_eq!(links_of(subject, &outcome.item.id), [(Relation::MaySupersede, old.clone())]);
    assert_eq!(seen(subject, id(&old), now()), Some("Ana lives in Graz (live 1)".to_owned()), "nothing is hidden");
    let texts = hits(subject, query("Ana lives in Graz"));
    assert_eq!(texts[..2], ["Ana lives in Vienna", "Ana lives in Graz"], "the newer one first");
}

pub(crate) fn corrections_supersede_and_can_be_undone(subject: &mut Subject) {
    let old = one(subject, fact("Ana lives in Graz"));
    let outcome = compared(subject, Comparison::Supersede, fact("Ana lives in Vienna"));
    assert_eq!(told(&[Ok(outcome.clone())]), ["Added 1 Contradiction, Superseded 2 Contradiction"]);
    assert_eq!(outcome.others[0].similarity, outcome.item.similarity);
    assert_eq!(hits(subject, query("where does Ana live")), ["Ana lives in Vienna"]);
    assert_eq!(seen(subject, id(&old), all()), Some("Ana lives in Graz (outdated 2)".to_owned()));
    let history = subject.history(vec![id(&old)], 10, None).unwrap().remove(0);
    assert_eq!((history[0].change, history[0].reason), (Change::Superseded, Reason::Contradiction));
    assert_eq!(history[0].similarity, outcome.item.similarity);
    // Whoever deletes the correction takes it back.
    subject.delete(vec![deletion(id(&outcome.item.id))], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(hits(subject, query("where does Ana live")), ["Ana lives in Graz"]);
}

pub(crate) fn only_what_is_later_corrects(subject: &mut Subject) {
    let at = |text: &str, days: i64| Content { at: Some(START + days * DAY), ..fact(text) };
    one(subject, at("The rent is 950 euros", 0));
    let outcome = compared(subject, Comparison::Supersede, at("The rent is 900 euros", -30));
    assert_eq!(did(&outcome.item), "Added 1", "what was said before takes nothing back");
    let outcome = compared(subject, Comparison::Supersede, at("The rent is 990 euros", 30));
    assert_eq!(outcome.others.len(), 2);
    let view = View { valid_at: Some(START + DAY), now: Some(START + 40 * DAY), ..now() };
    let then = hits(subject, Query { view, ..query("how high is the rent") });
    assert!(then.contains(&"The rent is 950 euros".to_owned()), "as it was then: {then:?}");
    let later = View { now: Some(START + 40 * DAY), ..now() };
    assert_eq!(hits(subject, Query { view: later, ..query("how high is the rent") }), ["The rent is 990 euros"]);
    let episode = Content { kind: Kind::Episode, ..at("The rent is 999 euros", 40) };
    assert_eq!(did(&compared(subject, Comparison::Supersede, episode).item), "Added 1", "what happened stays true");
}

pub(crate) fn a_later_item_sees_an_earlier_one(subject: &mut Subject) {
    let items = vec![
        fact("Ana lives in Graz"),
        fact("Mel paints"),
        fact("Ana lives in Vienna"),
        fact(ADOPTED),
        fact(ADOPTED_AGAIN),
    ];
    let outcomes = subject.add(items, comparing(Comparison::Supersede)).unwrap().items;
    assert_eq!(
        told(&outcomes),
        ["Added 1", "Added 1", "Added 1 Contradiction, Superseded 2 Contradiction", "Added 1", "Added 1 NearDuplicate"]
    );
    assert_eq!(hits(subject, query("where does Ana live"))[0], "Ana lives in Vienna");
}

pub(crate) fn words_compare_without_a_model(_: &mut Subject) {
    let mut subject = Subject::without_a_model();
    one(&mut subject, fact(ADOPTED));
    let outcome = compared(&mut subject, Comparison::Similar, fact(ADOPTED_AGAIN));
    assert_eq!(did(&outcome.item), "Added 1 NearDuplicate");
    assert_eq!(outcome.item.similarity, None);
    one(&mut subject, fact("Ana lives in Graz"));
    let outcome = compared(&mut subject, Comparison::Similar, fact("Ana lives in Vienna"));
    assert_eq!(did(&outcome.item), "Added 1 Contradiction");
}
