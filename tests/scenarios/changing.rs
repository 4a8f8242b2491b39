// Changing: patches, deletions, histories, what supersedes what, what moves between stores.

pub(crate) fn patches_change_what_they_name(subject: &mut Subject) {
    let target = one(subject, fact("The cat is called Mia"));
    let whole = Content {
        actor: Some("Ana".into()),
        role: Some(Role::Tool),
        metadata: "{\"a\":1}".into(),
        at: Some(5),
        ..keyed("diet", "vegetarian")
    };
    one(subject, whole.clone());
    let patch = Patch { text: Some("vegan".into()), kind: Some(Kind::Core), ..unpatched() };
    let answer = subject.update(vec![edit(key("diet"), patch)], plain()).unwrap();
    assert_eq!(told(&answer), ["Updated 2"]);
    let links = vec![link(Relation::DerivedFrom, &target)];
    let patch = Patch { links: Some(links.clone()), ..unpatched() };
    assert_eq!(told(&subject.update(vec![edit(key("diet"), patch)], plain()).unwrap()), ["Updated 3"]);
    let memory = subject.get(vec![key("diet")], now()).unwrap().remove(0).unwrap();
    assert_eq!(memory.content, Content { text: "vegan".into(), kind: Kind::Core, links, ..whole });
    assert!(memory.created_at < memory.updated_at);
    // Items take effect in order, and what is refused stays alone.
    let text = |text: &str| Patch { text: Some(text.to_owned()), ..unpatched() };
    let items = vec![
        edit(key("diet"), text("a")),
        edit(key("diet"), text(" ")),
        edit(key("diet"), text("b")),
        edit(key("none"), text("c")),
        edit(id("x"), text("c")),
    ];
    let answer = subject.update(items, plain()).unwrap();
    let expected = [
        "Updated 4",
        "invalid items[1].patch.text: the text is blank",
        "Updated 5",
        "not found: there is no memory none",
        "invalid items[4].target: this is no id: ids are 36 characters, hexadecimal in lower case with hyphens",
    ];
    assert_eq!(told(&answer), expected);
    assert_eq!(seen(subject, key("diet"), now()).unwrap(), "b (live 5)");
}

pub(crate) fn a_patch_without_effect_is_unchanged(subject: &mut Subject) {
    one(subject, Content { metadata: "{ \"a\": 1 }".into(), ..keyed("diet", "vegan") });
    let patches = vec![
        unpatched(),
        Patch { text: Some("vegan".into()), ..unpatched() },
        Patch { metadata: Some("{\"a\":1}".into()), ..unpatched() },
        Patch { metadata: Some("{\"b\":null}".into()), ..unpatched() },
        Patch { at: Some(TimePatch::Clear), kind: Some(Kind::Fact), links: Some(vec![]), ..unpatched() },
    ];
    for patch in patches {
        let answer = subject.update(vec![edit(key("diet"), patch)], plain()).unwrap();
        assert_eq!(told(&answer), ["Unchanged 1"]);
    }
    let memory = subject.get(vec![key("diet")], now()).unwrap().remove(0).unwrap();
    assert_eq!((memory.created_at, memory.content.metadata), (memory.updated_at, "{ \"a\": 1 }".into()));
}

pub(crate) fn metadata_is_merged(subject: &mut Subject) {
    one(subject, keyed("k", "t"));
    let mut merge = |patch: &str| {
        let patch = Patch { metadata: Some(patch.to_owned()), ..unpatched() };
        let outcome = subject.update(vec![edit(key("k"), patch)], plain()).unwrap().remove(0);
        let metadata = subject.get(vec![key("k")], now()).unwrap().remove(0).unwrap().content.metadata;
        (outcome.map(|_| metadata)).map_err(|error| refused(&error))
    };
    assert_eq!(merge(r#"{"a":{"b":1.0,"c":[1]},"d":"x"}"#).unwrap(), r#"{"a":{"b":1.0,"c":[1]},"d":"x"}"#);
    assert_eq!(merge(r#"{"a":{"b":null,"e":{}},"d":null,"f":1e2}"#).unwrap(), r#"{"a":{"c":[1],"e":{}},"f":1e2}"#);
    assert_eq!(merge(r#"{"a":{"c":[2,null]}}"#).unwrap(), r#"{"a":{"c":[2,null],"e":{}},"f":1e2}"#);
    assert_eq!(merge("7").unwrap_err(), "invalid items[0].patch.metadata: the metadata is not a JSON object");
    let many = (0..1_024).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",");
    assert_eq!(
        merge(&format!("{{{many}}}")).unwrap_err(),
        "limit items[0].patch.metadata: the metadata has more than 1024 values"
    );
    assert_eq!(merge(r#"{"a":null,"f":null}"#).unwrap(), "");
}

pub(crate) fn times_are_set_and_cleared(subject: &mut Subject) {
    one(subject, keyed("k", "t"));
    let mut patch = |patch: Patch| told(&subject.update(vec![edit(key("k"), patch)], plain()).unwrap()).remove(0);
    let set = |at: i64| Some(TimePatch::Set(at));
    let all = Patch { at: set(1), valid_from: set(2), valid_to: set(3), expires_at: set(4), ..unpatched() };
    assert_eq!(patch(all), "Updated 2");
    let reversed = Patch { valid_from: set(3), ..unpatched() };
    assert_eq!(patch(reversed), "invalid items[0].patch.valid-to: the validity ends before it begins");
    let outside = Patch { at: set(i64::MAX), ..unpatched() };
    assert_eq!(patch(outside), "invalid items[0].patch.at: the time lies outside the years 1 to 9999");
    let clear = || Some(TimePatch::Clear);
    let none = Patch { at: clear(), valid_from: clear(), valid_to: clear(), expires_at: clear(), ..unpatched() };
    assert_eq!(patch(none), "Updated 3", "an expired memory can be changed");
    assert_eq!(subject.get(vec![key("k")], now()).unwrap()[0].as_ref().unwrap().content, keyed("k", "t"));
}

pub(crate) fn an_update_needs_the_expected_version(subject: &mut Subject) {
    let memory = one(subject, keyed("k", "t"));
    let text = |text: &str, version: u32| Edit {
        expect_version: Some(version),
        ..edit(key("k"), Patch { text: Some(text.to_owned()), ..unpatched() })
    };
    let answer = subject.update(vec![text("a", 1), text("b", 1), text("c", 2)], plain()).unwrap();
    let conflict =
        |expected: u32, version: u32| format!("conflict: memory {memory} has version {version}, not {expected}");
    assert_eq!(told(&answer), ["Updated 2".to_owned(), conflict(1, 2), "Updated 3".to_owned()]);
    let gone = |version: u32| Deletion { expect_version: Some(version), ..deletion(key("k")) };
    let answer = subject.delete(vec![gone(2), gone(3)], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(told(&answer), [conflict(2, 3), "Deleted 4".to_owned()]);
    let back = |version: u32| Restoration { target: id(&memory), version: 3, expect_version: Some(version) };
    let answer = subject.restore(vec![back(3), back(4)], plain()).unwrap();
    assert_eq!(told(&answer), [conflict(3, 4), "Restored 5".to_owned()]);
}

pub(crate) fn what_is_deleted_cannot_be_updated(subject: &mut Subject) {
    let memory = one(subject, fact("Ana sings"));
    subject.delete(vec![deletion(id(&memory))], Erasure::KeepHistory, plain()).unwrap();
    let patch = Patch { text: Some("Ana hums".into()), ..unpatched() };
    let answer = subject.update(vec![edit(id(&memory), patch)], plain()).unwrap();
    assert_eq!(told(&answer), [format!("not found: memory {memory} is deleted")]);
}

pub(crate) fn a_new_text_is_found_by_its_words(subject: &mut Subject) {
    let memory = one(subject, fact("Ana plays the violin"));
    let patch = |patch: Patch| vec![edit(id(&memory), patch)];
    subject.update(patch(Patch { text: Some("Ana plays chess".into()), ..unpatched() }), plain()).unwrap();
    let raw = |subject: &mut Subject, text: &str| found(subject, query(text)).hits.remove(0).raw;
    assert!(raw(subject, "chess").lexical > 0.0);
    assert!(raw(subject, "violin").lexical == 0.0);
    // Facts beside the text are found at once too, with the words and vectors as they were.
    let before = raw(subject, "chess");
    subject.update(patch(Patch { metadata: Some("{\"a\":1}".into()), ..unpatched() }), plain()).unwrap();
    assert_eq!(raw(subject, "chess"), before);
    assert_eq!(hits(subject, Query { filter: Some("{\"metadata.a\":1}".into()), ..query("chess") }).len(), 1);
    // A changed text can be said again, and the new one cannot.
    let answer = subject.add(vec![fact("Ana plays the violin"), fact("Ana plays chess")], exact()).unwrap();
    assert_eq!(told(&answer.items), ["Added 1", "Unchanged 3 SameText"]);
}

pub(crate) fn updates_of_all_that_match(subject: &mut Subject) {
    let tagged = |text: &str| Content { metadata: "{\"tag\":1}".into(), ..fact(text) };
    let mut items: Vec<Content> = (0..5).map(|n| tagged(&format!("t{n}"))).collect();
    items.push(fact("untagged"));
    items.push(Content { scope: scope("mel"), ..tagged("hers") });
    let ids = added(subject, items);
    subject.delete(vec![deletion(id(&ids[1]))], Erasure::KeepHistory, plain()).unwrap();
    let patch = || Patch { metadata: Some("{\"tag\":2}".into()), ..unpatched() };
    let of_tag = || selection("{\"metadata.tag\":1}");
    let dry = subject.update_matching(Selection { dry_run: true, ..of_tag() }, patch(), plain()).unwrap();
    assert_eq!((dry.ids, dry.remaining), (vec![ids[0].clone(), ids[2].clone(), ids[3].clone(), ids[4].clone()], 0));
    let some = subject.update_matching(Selection { limit: 3, ..of_tag() }, patch(), once("m")).unwrap();
    assert_eq!((&some.ids[..], some.remaining), (&[ids[0].clone(), ids[2].clone(), ids[3].clone()][..], 1));
    assert_eq!(subject.update_matching(Selection { limit: 3, ..of_tag() }, patch(), once("m")).unwrap(), some);
    let rest = subject.update_matching(of_tag(), patch(), plain()).unwrap();
    assert_eq!((&rest.ids[..], rest.remaining), (&ids[4..5], 0));
    assert_eq!(subject.update_matching(of_tag(), patch(), plain()).unwrap(), Matched { ids: vec![], remaining: 0 });
    assert_eq!(seen(subject, id(&ids[6]), now()).unwrap(), "hers (live 1)");
    assert_eq!(seen(subject, id(&ids[0]), now()).unwrap(), "t0 (live 2)");
    // A bad patch is refused whatever matches.
    let bad = Patch { text: Some(String::new()), ..unpatched() };
    let error = subject.update_matching(selection("{\"key\":\"nothing\"}"), bad, plain()).unwrap_err();
    assert_eq!(refused(&error), "invalid patch.text: the text is blank");
}

pub(crate) fn deletes_of_all_that_match(subject: &mut Subject) {
    let ids = added(subject, vec![fact("a"), fact("b"), Content { expires_at: Some(1), ..fact("c") }, of("mel", "d")]);
    let all = || Selection { filter: None, ..selection("") };
    let dry = subject.delete_matching(Selection { dry_run: true, ..all() }, Erasure::KeepHistory, plain()).unwrap();
    assert_eq!((&dry.ids[..], dry.remaining), (&ids[..3], 0), "expired ones too");
    let first = subject.delete_matching(Selection { limit: 1, ..all() }, Erasure::KeepHistory, plain()).unwrap();
    assert_eq!((&first.ids[..], first.remaining), (&ids[..1], 2));
    let rest = subject.delete_matching(all(), Erasure::KeepHistory, plain()).unwrap();
    assert_eq!((&rest.ids[..], rest.remaining), (&ids[1..3], 0));
    // For an erasure, deleted ones match as well; erased ones never again.
    let erased = subject.delete_matching(all(), Erasure::Erase, plain()).unwrap();
    assert_eq!((&erased.ids[..], erased.remaining), (&ids[..3], 0));
    let again = subject.delete_matching(all(), Erasure::Erase, plain()).unwrap();
    assert_eq!((again.ids.len(), again.remaining), (0, 0));
    assert_eq!(listed(subject, request(everywhere())), ["d (live 1)"]);
}

pub(crate) fn a_selection_says_what_it_means(subject: &mut Subject) {
    one(subject, fact("a"));
    let nothing = "invalid selection: a selection needs a field of the scope or a filter";
    for filter in [
        None,
        Some("{}".to_owned()),
        Some("{\"AND\":[{}]}".to_owned()),
        Some("{\"OR\":[{\"user\":\"ana\"},{}]}".to_owned()),
    ] {
        let whole = || Selection { scope: everywhere(), filter: filter.clone(), ..selection("") };
        let error = subject.delete_matching(whole(), Erasure::Erase, plain()).unwrap_err();
        assert_eq!(refused(&error), nothing, "{filter:?}");
        assert_eq!(refused(&subject.update_matching(whole(), unpatched(), plain()).unwrap_err()), nothing);
    }
    let none = Selection { limit: 0, ..selection("{}") };
    let error = subject.delete_matching(none, Erasure::Erase, plain()).unwrap_err();
    assert_eq!(refused(&error), "invalid selection.limit: the limit is 0, at least 1 is needed");
    let wrong = Selection { scope: scope(" "), ..selection("{}") };
    let error = subject.delete_matching(wrong, Erasure::Erase, plain()).unwrap_err();
    assert_eq!(refused(&error), "invalid selection.scope.user: the user is blank; leave it out instead");
    assert_eq!(listed(subject, request(everywhere())), ["a (live 1)"]);
    let answer = subject.delete_matching(selection("{}"), Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(answer.ids.len(), 1, "a scope is enough");
}

pub(crate) fn deletion_keeps_the_history(subject: &mut Subject) {
    let memory = one(subject, fact("Ana sings"));
    let gone = || vec![deletion(id(&memory))];
    let answer = subject.delete(gone(), Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(told(&answer), ["Deleted 2"]);
    assert_eq!(told(&subject.delete(gone(), Erasure::KeepHistory, plain()).unwrap()), ["Unchanged 2"]);
    assert_eq!(seen(subject, id(&memory), now()), None);
    assert_eq!(seen(subject, id(&memory), also(Including::DELETED)).unwrap(), "Ana sings (deleted 2)");
    assert_eq!(versions(subject, id(&memory)), ["Deleted 2: Ana sings", "Added 1: Ana sings"]);
    assert_eq!(hits(subject, query("sings")), Vec::<String>::new());
    let answer = subject.delete(vec![deletion(key("none"))], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(told(&answer), ["not found: there is no memory none"]);
    assert_eq!(told(&subject.delete(gone(), Erasure::Erase, plain()).unwrap()), ["Erased 3"]);
}

pub(crate) fn erasure_leaves_nothing(subject: &mut Subject) {
    let secret = Content {
        key: Some("pin".into()),
        actor: Some("Ana".into()),
        at: Some(START),
        kind: Kind::Core,
        metadata: "{\"bank\":\"secret\"}".into(),
        ..fact("The code is secret")
    };
    let memory = one(subject, secret);
    let patch = Patch { text: Some("The secret code changed".into()), ..unpatched() };
    subject.update(vec![edit(id(&memory), patch)], plain()).unwrap();
    let erase = || vec![deletion(id(&memory))];
    assert_eq!(told(&subject.delete(erase(), Erasure::Erase, plain()).unwrap()), ["Erased 3"]);
    assert_eq!(told(&subject.delete(erase(), Erasure::Erase, plain()).unwrap()), ["Unchanged 3"]);
    assert_eq!(told(&subject.delete(erase(), Erasure::KeepHistory, plain()).unwrap()), ["Unchanged 3"]);
    let left = subject.get(vec![id(&memory)], all()).unwrap().remove(0).unwrap();
    let proof = Content { kind: Kind::Core, at: Some(START), ..fact("") };
    assert_eq!((left.content, left.state, left.version), (proof, State::Deleted, 3));
    assert_eq!(versions(subject, id(&memory)), Vec::<String>::new());
    assert_eq!(seen(subject, key("pin"), all()), None);
    assert_eq!(hits(subject, query("secret code")), Vec::<String>::new());
    let known = View { known_at: Some(left.created_at), ..all() };
    assert_eq!(seen(subject, id(&memory), known), None);
    let back = Restoration { target: id(&memory), version: 1, expect_version: None };
    let answer = subject.restore(vec![back], plain()).unwrap();
    assert_eq!(told(&answer), [format!("not found: memory {memory} has no version 1 to restore")]);
}

pub(crate) fn histories_are_told_newest_first(subject: &mut Subject) {
    let memory = one(subject, keyed("k", "one"));
    for text in ["two", "three", "four"] {
        one(subject, keyed("k", text));
    }
    let all = ["Updated 4: four", "Updated 3: three", "Updated 2: two", "Added 1: one"];
    assert_eq!(versions(subject, key("k")), all);
    let mut some = |limit: u32, before: Option<u32>| {
        let history = subject.history(vec![id(&memory), key("none")], limit, before).unwrap();
        assert!(history[1].is_empty());
        history[0].iter().map(|version| version.memory.version).collect::<Vec<u32>>()
    };
    assert_eq!(some(2, None), [4, 3]);
    assert_eq!(some(1, Some(3)), [2]);
    assert_eq!(some(10, Some(5)), [4, 3, 2, 1]);
    assert_eq!(some(10, Some(1)), [0; 0]);
    let error = subject.history(vec![], 0, None).unwrap_err();
    assert_eq!(refused(&error), "invalid limit: the limit is 0, at least 1 is needed");
    let first = subject.history(vec![id(&memory)], 1, Some(2)).unwrap()[0].remove(0);
    assert_eq!(
        (first.change, first.reason, first.memory.content),
        (Change::Added, Reason::Requested, keyed("k", "one"))
    );
}

pub(crate) fn earlier_versions_come_back(subject: &mut Subject) {
    let memory = one(subject, keyed("k", "one"));
    one(subject, keyed("k", "two"));
    let back = |version: u32| vec![Restoration { target: id(&memory), version, expect_version: None }];
    assert_eq!(told(&subject.restore(back(2), plain()).unwrap()), ["Unchanged 2"]);
    assert_eq!(told(&subject.restore(back(1), plain()).unwrap()), ["Restored 3"]);
    assert_eq!(seen(subject, key("k"), now()).unwrap(), "one (live 3)");
    let missing = |version: u32| format!("not found: memory {memory} has no version {version} to restore");
    assert_eq!(told(&subject.restore(back(9), plain()).unwrap()), [missing(9)]);
    assert_eq!(told(&subject.restore(back(0), plain()).unwrap()), [missing(0)]);
    subject.delete(vec![deletion(key("k"))], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(told(&subject.restore(back(2), plain()).unwrap()), ["Restored 5"]);
    assert_eq!(seen(subject, key("k"), now()).unwrap(), "two (live 5)");
    assert_eq!(hits(subject, query("two")), ["two"]);
    let expected = ["Restored 5: two", "Deleted 4: one", "Restored 3: one", "Updated 2: two", "Added 1: one"];
    assert_eq!(versions(subject, key("k")), expected);
}

pub(crate) fn a_taken_key_blocks_the_return(subject: &mut Subject) {
    let memory = one(subject, keyed("k", "one"));
    subject.delete(vec![deletion(key("k"))], Erasure::KeepHistory, plain()).unwrap();
    let other = one(subject, keyed("k", "two"));
    let back = || vec![Restoration { target: id(&memory), version: 1, expect_version: None }];
    let answer = subject.restore(back(), plain()).unwrap();
    assert_eq!(told(&answer), ["conflict: the key \"k\" stands for another memory now"]);
    subject.delete(vec![deletion(id(&other))], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(told(&subject.restore(back(), plain()).unwrap()), ["Restored 3"]);
}

fn superseding(target: &str, text: &str) -> Content {
    Content { links: vec![link(Relation::Supersedes, target)], ..fact(text) }
}

pub(crate) fn superseding_closes_the_validity(subject: &mut Subject) {
    let old = one(subject, fact("Ana lives in Graz"));
    let new = Content { valid_from: Some(START + DAY), ..superseding(&old, "Ana lives in Wien") };
    let answer = subject.add(vec![new], exact()).unwrap();
    assert_eq!(told(&answer.items), ["Added 1, Superseded 2"]);
    let outcome = answer.items[0].as_ref().unwrap();
    assert_eq!(outcome.others[0].id, old);
    let new = outcome.item.id.clone();
    let mut at = |at: i64| {
        let view = View { valid_at: Some(at), ..also(Including::OUTDATED) };
        seen(subject, id(&old), view).unwrap()
    };
    assert_eq!(at(START + DAY - 1), "Ana lives in Graz (live 2)");
    assert_eq!(at(START + DAY), "Ana lives in Graz (outdated 2)");
    let memory = subject.get(vec![id(&old)], also(Including::OUTDATED)).unwrap().remove(0).unwrap();
    assert_eq!(memory.superseded_by, Some(new));
    subject.advance(2 * DAY);
    assert_eq!(hits(subject, query("Ana lives")), ["Ana lives in Wien"]);
    let then = View { valid_at: Some(START), ..now() };
    assert_eq!(hits(subject, Query { view: then, ..query("Ana lives") }), ["Ana lives in Graz"]);
    let mut both = hits(subject, Query { view: also(Including::OUTDATED), ..query("Ana lives") });
    both.sort_unstable();
    assert_eq!(both, ["Ana lives in Graz", "Ana lives in Wien"]);
    assert_eq!(versions(subject, id(&old)), ["Superseded 2: Ana lives in Graz", "Added 1: Ana lives in Graz"]);
    // Without an own beginning it starts at its event time, else at its creation.
    let old = one(subject, fact("Ana has a dog"));
    let new = Content { at: Some(START - DAY), ..superseding(&old, "Ana has a cat") };
    one(subject, new);
    assert_eq!(seen(subject, id(&old), View { valid_at: Some(START - DAY), ..now() }), None);
    assert_eq!(
        seen(subject, id(&old), View { valid_at: Some(START - DAY - 1), ..now() }).unwrap(),
        "Ana has a dog (live 2)"
    );
}

pub(crate) fn what_supersedes_frees_when_it_goes(subject: &mut Subject) {
    let old = one(subject, fact("Ana lives in Graz"));
    let new = one(subject, superseding(&old, "Ana lives in Wien"));
    let state = |subject: &mut Subject| seen(subject, id(&old), also(Including::OUTDATED)).unwrap();
    assert_eq!(state(subject), "Ana lives in Graz (outdated 2)");
    let unlinked = || vec![edit(id(&new), Patch { links: Some(vec![]), ..unpatched() })];
    assert_eq!(told(&subject.update(unlinked(), plain()).unwrap()), ["Updated 2, Restored 3"]);
    assert_eq!(state(subject), "Ana lives in Graz (live 3)");
    let back = |version: u32| vec![Restoration { target: id(&new), version, expect_version: None }];
    assert_eq!(told(&subject.restore(back(1), plain()).unwrap()), ["Restored 3, Superseded 4"]);
    let gone = |erasure: Erasure, subject: &mut Subject| {
        told(&subject.delete(vec![deletion(id(&new))], erasure, plain()).unwrap())
    };
    assert_eq!(gone(Erasure::KeepHistory, subject), ["Deleted 4, Restored 5"]);
    assert_eq!(state(subject), "Ana lives in Graz (live 5)");
    assert_eq!(told(&subject.restore(back(3), plain()).unwrap()), ["Restored 5, Superseded 6"]);
    assert_eq!(gone(Erasure::Erase, subject), ["Erased 6, Restored 7"]);
    assert_eq!(state(subject), "Ana lives in Graz (live 7)");
    // In one call too, in the order of the items, and by update.
    let third = one(subject, fact("Ana moved"));
    let links = vec![link(Relation::Supersedes, &old), link(Relation::Supersedes, &third)];
    let patch = Patch { links: Some(links), ..unpatched() };
    assert_eq!(told(&subject.update(vec![edit(id(&third), patch)], plain()).unwrap()), ["Updated 2, Superseded 8"]);
    assert_eq!(seen(subject, id(&third), now()).unwrap(), "Ana moved (live 2)", "nothing supersedes itself");
    // A suggestion closes nothing.
    let maybe = Content { links: vec![link(Relation::MaySupersede, &third)], ..fact("Ana moved again") };
    assert_eq!(told(&subject.add(vec![maybe], exact()).unwrap().items), ["Added 1"]);
}

pub(crate) fn expiry_hides_and_purge_erases(subject: &mut Subject) {
    let passing = |n: i64| Content { expires_at: Some(START + n * DAY), ..fact(&format!("passing {n}")) };
    let ids = added(subject, vec![passing(1), passing(2), passing(3), passing(9), fact("kept")]);
    let purge = |subject: &mut Subject, limit: u32| {
        let done = subject.maintain(Chores::PURGE, limit).unwrap();
        (done.purged, done.extracted, done.reindexed, done.remaining)
    };
    assert_eq!(purge(subject, 10), (0, 0, 0, 0));
    subject.advance(4 * DAY);
    assert_eq!(listed(subject, request(scope("ana"))), ["passing 9 (live 1)", "kept (live 1)"]);
    assert_eq!(hits(subject, query("passing")), ["passing 9", "kept"]);
    assert_eq!(seen(subject, id(&ids[0]), also(Including::EXPIRED)).unwrap(), "passing 1 (expired 1)");
    assert_eq!(purge(subject, 2), (2, 0, 0, 1));
    assert_eq!(purge(subject, 2), (1, 0, 0, 0));
    assert_eq!(purge(subject, 2), (0, 0, 0, 0));
    assert_eq!(seen(subject, id(&ids[0]), all()).unwrap(), " (deleted 2)");
    assert_eq!(versions(subject, id(&ids[0])), Vec::<String>::new());
    let idle = subject.maintain(Chores::REINDEX, 10).unwrap();
    assert_eq!((idle.purged, idle.reindexed, idle.remaining), (0, 0, 0));
    let error = subject.maintain(Chores::PURGE, 0).unwrap_err();
    assert_eq!(refused(&error), "invalid limit: the limit is 0, at least 1 is needed");
}

pub(crate) fn what_the_model_reads_can_be_asked_for(subject: &mut Subject) {
    let spoken = Content { actor: Some("Mel".into()), at: Some(START), ..fact("likes tea") };
    let ids = added(subject, vec![spoken, fact(&"word ".repeat(300)), fact("deleted"), fact("erased")]);
    subject.delete(vec![deletion(id(&ids[2]))], Erasure::KeepHistory, plain()).unwrap();
    subject.delete(vec![deletion(id(&ids[3]))], Erasure::Erase, plain()).unwrap();
    let unknown = "0".repeat(8) + "-0000-7000-8000-000000000000";
    let asked = [ids[1].clone(), ids[0].clone(), ids[2].clone(), ids[3].clone(), unknown].to_vec();
    let texts = subject.embedded_texts(asked).unwrap();
    let long = texts[0].as_ref().unwrap();
    assert_eq!(long.iter().map(|text| text.split(' ').count()).collect::<Vec<_>>(), [140, 160]);
    assert_eq!(texts[1..], [Some(vec!["Mel: likes tea".to_owned()]), None, None, None]);
    let error = subject.embedded_texts(vec!["x".to_owned()]).unwrap_err();
    assert!(refused(&error).contains("this is no id"), "{}", refused(&error));
}

/// Everything that a store holds, as `list` and `history` give it.
fn archives(subject: &mut Subject) -> Vec<Archive> {
    let memories = subject.list(ListRequest { view: all(), ..request(everywhere()) }).unwrap().memories;
    let mut out = vec![];
    for memory in memories {
        let mut history = subject.history(vec![id(&memory.id)], 100, None).unwrap().remove(0);
        let erased = Version { memory, change: Change::Erased, reason: Reason::Requested, similarity: None };
        let present = if history.is_empty() { erased } else { history.remove(0) };
        out.push(Archive { present, earlier: history });
    }
    out
}

pub(crate) fn archives_travel_whole(subject: &mut Subject) {
    let ids = added(
        subject,
        vec![
            Content { metadata: "{\"a\": [1.0]}".into(), role: Some(Role::User), ..keyed("k", "one") },
            fact("deleted"),
            fact("secret"),
            Content { expires_at: Some(START + DAY), at: Some(5), actor: Some("Ana".into()), ..fact("passing") },
            fact("Ana lives in Graz"),
        ],
    );
    one(subject, keyed("k", "two"));
    one(subject, Content { valid_from: Some(START + DAY), ..superseding(&ids[4], "Ana lives in Wien") });
    subject.delete(vec![deletion(id(&ids[1]))], Erasure::KeepHistory, plain()).unwrap();
    subject.delete(vec![deletion(id(&ids[2]))], Erasure::Erase, plain()).unwrap();
    subject.advance(2 * DAY);
    let packed = archives(subject);
    assert_eq!(packed.len(), 6);
    let here = told(&subject.import_memories(packed.clone(), plain()).unwrap());
    assert_eq!(here, ["Unchanged 2", "Unchanged 2", "Unchanged 2", "Unchanged 1", "Unchanged 2", "Unchanged 1"]);

    let transcript = std::mem::take(&mut subject.transcript);
    *subject = Subject::new();
    subject.transcript = transcript;
    subject.advance(2 * DAY);
    let there = told(&subject.import_memories(packed.clone(), once("import")).unwrap());
    assert_eq!(there, ["Added 2", "Added 2", "Added 2", "Added 1", "Added 2", "Added 1"]);
    assert_eq!(archives(subject), packed, "everything is as it was");
    let again = told(&subject.import_memories(packed.clone(), plain()).unwrap());
    assert_eq!(again, ["Unchanged 2", "Unchanged 2", "Unchanged 2", "Unchanged 1", "Unchanged 2", "Unchanged 1"]);
    assert_eq!(seen(subject, key("k"), now()).unwrap(), "two (live 2)");
    assert_eq!(hits(subject, query("Ana lives")), ["Ana lives in Wien", "two"]);
    let then = View { valid_at: Some(START + DAY - 1), now: Some(START), ..now() };
    assert_eq!(seen(subject, id(&ids[4]), then).unwrap(), "Ana lives in Graz (live 2)", "superseded from when it was");
    let stats = subject.stats(everywhere()).unwrap();
    assert_eq!((stats.live, stats.outdated, stats.expired, stats.deleted), (2, 1, 1, 2));
    assert_eq!(told(&subject.add(vec![fact("deleted")], exact()).unwrap().items), ["Added 1"]);
    // Life goes on: the next version, a restoration, the undoing of what supersedes.
    assert_eq!(told(&subject.add(vec![keyed("k", "three")], exact()).unwrap().items), ["Updated 3 SameKey"]);
    let back = Restoration { target: id(&ids[1]), version: 1, expect_version: None };
    assert_eq!(told(&subject.restore(vec![back], plain()).unwrap()), ["Restored 3"]);
    let successor = id(&packed[5].present.memory.id);
    let answer = subject.delete(vec![deletion(successor)], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(told(&answer), ["Deleted 2, Restored 3"]);
}

pub(crate) fn archives_that_contradict_are_refused(subject: &mut Subject) {
    one(subject, keyed("k", "one"));
    one(subject, keyed("k", "two"));
    let packed = archives(subject).remove(0);
    let other = |n: u32| format!("01977a3e-5b00-7abc-8def-00000000000{n}");
    let mut changed = packed.clone();
    changed.present.memory.content.text = "other".into();
    let mut same_key = packed.clone();
    same_key.earlier.clear();
    same_key.present.memory.id = other(1);
    let mut foreign = packed.clone();
    foreign.present.memory.id = other(2);
    let mut ascending = packed.clone();
    ascending.earlier[0].memory.version = 2;
    let mut unnumbered = packed.clone();
    unnumbered.earlier.clear();
    unnumbered.present.memory.version = 0;
    let mut blank = packed.clone();
    blank.present.memory.content.text = " ".into();
    let mut unknown = packed.clone();
    unknown.present.memory.id = "x".into();
    let items = vec![changed, same_key, foreign, ascending, unnumbered, blank, unknown, packed.clone()];
    let answer = subject.import_memories(items, plain()).unwrap();
    let expected = [
        format!("conflict: memory {} is there in version 2 with another content than the imported version 2", packed.present.memory.id),
        "conflict: the key \"k\" stands for another memory".to_owned(),
        "invalid items[2].earlier[0].memory.id: the version belongs to another memory".to_owned(),
        "invalid items[3].earlier[0].memory.version: the versions do not descend".to_owned(),
        "invalid items[4].present.memory.version: versions are 1 to 2147483648".to_owned(),
        "invalid items[5].present.memory.content.text: the text is blank".to_owned(),
        "invalid items[6].present.memory.id: this is no id: ids are 36 characters, hexadecimal in lower case with hyphens".to_owned(),
        "Unchanged 2".to_owned(),
    ];
    assert_eq!(told(&answer), expected);
}
