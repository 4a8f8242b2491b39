// Adding: what is new, what is there already, what is refused.

pub(crate) fn a_batch_takes_effect_in_order(subject: &mut Subject) {
    let items = vec![fact("Ana is vegetarian"), fact("Ana lives in Graz"), fact("  Ana is vegetarian\n")];
    let answer = subject.add(items, exact()).unwrap();
    assert_eq!(told(&answer.items), ["Added 1", "Added 1", "Unchanged 1 SameText"]);
    assert!(answer.extracted.is_empty());
    let ids = ids(&answer.items);
    assert!(ids[0] < ids[1], "ids ascend within a call");
    assert_eq!(ids[0], ids[2]);
    let later = one(subject, fact("Ana has a cat"));
    assert!(later > ids[1], "and across calls");
    let expected = ["Ana is vegetarian (live 1)", "Ana lives in Graz (live 1)", "Ana has a cat (live 1)"];
    assert_eq!(listed(subject, request(scope("ana"))), expected);
    assert_eq!(subject.add(vec![], exact()).unwrap().items.len(), 0);
}

pub(crate) fn items_are_refused_at_their_places(subject: &mut Subject) {
    let text = |text: &str| fact(text);
    let place = |change: fn(&mut Content)| {
        let mut item = fact("Ana sings");
        change(&mut item);
        item
    };
    let metadata = |metadata: String| Content { metadata, ..fact("Ana sings") };
    let linked = |relation: Relation| Content {
        links: vec![link(relation, "01977a3e-5b00-7abc-8def-0123456789ab")],
        ..fact("Ana sings")
    };
    let many =
        |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(","));
    let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let cases: Vec<(Content, &str)> = vec![
        (text(""), "invalid .text: the text is blank"),
        (text(" \n\u{3000}"), "invalid .text: the text is blank"),
        (text(&"x".repeat((1 << 20) + 1)), "limit .text: the text has 1048577 bytes, at most 1048576 are taken"),
        (keyed(&"k".repeat(257), "t"), "limit .key: the key has 257 bytes, at most 256 are taken"),
        (keyed(&"k".repeat(256), "t"), "Added 1"),
        (keyed("", "t"), "invalid .key: the key is empty; leave it out instead"),
        (keyed("a\u{7}b", "t"), "invalid .key: the key has a control character"),
        (keyed(" a", "t"), "invalid .key: the key begins or ends with white space"),
        (of("", "t"), "invalid .scope.user: the user is empty; leave it out instead"),
        (of(" ", "t"), "invalid .scope.user: the user is blank; leave it out instead"),
        (of("a\nb", "t"), "invalid .scope.user: the user has a control character"),
        (
            place(|i| i.scope.agent = Some("ä".repeat(129))),
            "limit .scope.agent: the agent has 258 bytes, at most 256 are taken",
        ),
        (place(|i| i.scope.app = Some("a ".into())), "invalid .scope.app: the app begins or ends with white space"),
        (place(|i| i.scope.run = Some(String::new())), "invalid .scope.run: the run is empty; leave it out instead"),
        (place(|i| i.actor = Some("\t".into())), "invalid .actor: the actor is blank; leave it out instead"),
        (place(|i| i.at = Some(253_402_300_800_000)), "invalid .at: the time lies outside the years 1 to 9999"),
        (place(|i| i.valid_from = Some(i64::MIN)), "invalid .valid-from: the time lies outside the years 1 to 9999"),
        (place(|i| i.expires_at = Some(i64::MAX)), "invalid .expires-at: the time lies outside the years 1 to 9999"),
        (
            place(|i| (i.valid_from, i.valid_to) = (Some(5), Some(5))),
            "invalid .valid-to: the validity ends before it begins",
        ),
        (metadata("[]".into()), "invalid .metadata: the metadata is not a JSON object"),
        (metadata("{\"a\":1,\"a\":2}".into()), "invalid .metadata: the metadata has the name \"a\" twice at byte 10"),
        (metadata("{\"a\":".into()), "invalid .metadata: the metadata ends too early at byte 5"),
        (metadata(many(1_025)), "limit .metadata: the metadata has more than 1024 values"),
        (metadata(deep(65)), "limit .metadata: the metadata has more than 64 levels"),
        (
            metadata(format!("{{\"a\":\"{}\"}}", "x".repeat(65_536))),
            "limit .metadata: the metadata has 65544 bytes, at most 65536 are taken",
        ),
        (
            linked(Relation::Other("supersedes".into())),
            "invalid .links[0].relation: \"supersedes\" is a relation of the contract, not an own name",
        ),
        (
            linked(Relation::Other(String::new())),
            "invalid .links[0].relation: the relation is empty; leave it out instead",
        ),
        (
            Content { links: vec![link(Relation::Duplicates, "nobody")], ..fact("Ana sings") },
            "invalid .links[0].target: this is no id: ids are 36 characters, hexadecimal in lower case with hyphens",
        ),
        (
            Content { links: (0..65).map(|_| link(Relation::Duplicates, "x")).collect(), ..fact("Ana sings") },
            "limit .links: 65 links, at most 64 are taken",
        ),
        (fact("Ana sings"), "Added 1"),
    ];
    let (items, expected): (Vec<Content>, Vec<&str>) = cases.into_iter().unzip();
    let answer = subject.add(items, exact()).unwrap();
    let expected: Vec<String> =
        expected.iter().enumerate().map(|(n, expected)| expected.replacen(" .", &format!(" items[{n}]."), 1)).collect();
    for (said, expected) in told(&answer.items).iter().zip(&expected) {
        assert_eq!(said, expected);
    }
    assert_eq!(listed(subject, request(scope("ana"))).len(), 2, "only what was accepted is there");
}

pub(crate) fn calls_above_the_limits_change_nothing(subject: &mut Subject) {
    let many = (0..1_001).map(|n| fact(&format!("fact {n}"))).collect();
    let error = subject.add(many, exact()).unwrap_err();
    assert_eq!(refused(&error), "limit items: 1001 items, at most 1000 are taken in one call");
    let large = (0..17).map(|_| fact(&"y".repeat(1 << 20))).collect();
    let error = subject.add(large, exact()).unwrap_err();
    assert_eq!(
        refused(&error),
        "limit items: the items have 17825792 bytes together, at most 16777216 are taken in one call"
    );
    let targets = vec![key("a"); 1_001];
    let error = subject.get(targets, now()).unwrap_err();
    assert_eq!(refused(&error), "limit targets: 1001 items, at most 1000 are taken in one call");
    let error = subject.list(ListRequest { limit: 0, ..request(everywhere()) }).unwrap_err();
    assert_eq!(refused(&error), "invalid request.limit: the limit is 0, at least 1 is needed");
    let error = subject.list(ListRequest { limit: 1_001, ..request(everywhere()) }).unwrap_err();
    assert_eq!(refused(&error), "limit request.limit: the limit is 1001, at most 1000 is taken");
    let full = (0..1_000).map(|n| fact(&format!("fact {n}"))).collect();
    assert_eq!(subject.add(full, exact()).unwrap().items.len(), 1_000, "a full call is one commit");
}

pub(crate) fn links_lead_to_memories_that_are_there(subject: &mut Subject) {
    let nobody = "01977a3e-5b00-7abc-8def-0123456789ab";
    let there = one(subject, fact("Ana has a cat"));
    let gone = one(subject, fact("Ana has a dog"));
    subject.delete(vec![deletion(id(&gone))], Erasure::KeepHistory, plain()).unwrap();
    let own = || Relation::Other("mentions".to_owned());
    let item = |text: &str, target: &str| Content { links: vec![link(own(), target)], ..fact(text) };
    let answer = subject.add(vec![item("one", &there), item("two", nobody), item("three", &gone)], exact()).unwrap();
    let expected = [
        "Added 1".to_owned(),
        format!("not found: items[1].links[0].target: there is no memory {nobody}"),
        format!("not found: items[2].links[0].target: there is no memory {gone}"),
    ];
    assert_eq!(told(&answer.items), expected);
    let twice = Content { links: vec![link(own(), &there), link(own(), &there)], ..fact("four") };
    let answer = subject.add(vec![twice], exact()).unwrap();
    assert_eq!(told(&answer.items), ["invalid items[0].links[1]: the link is there twice"]);
}

pub(crate) fn the_same_text_is_the_same_memory(subject: &mut Subject) {
    let first = one(subject, fact("Caf\u{e9} at eight"));
    for same in ["Caf\u{e9} at eight", "  Caf\u{e9} at eight\n", "Cafe\u{301} at eight"] {
        let answer = subject.add(vec![fact(same)], exact()).unwrap();
        assert_eq!(told(&answer.items), ["Unchanged 1 SameText"], "{same:?}");
        assert_eq!(ids(&answer.items), std::slice::from_ref(&first));
    }
    // What is beside the text does not make another memory.
    let beside = Content { metadata: "{\"a\":1}".into(), role: Some(Role::User), ..fact("Caf\u{e9} at eight") };
    assert_eq!(told(&subject.add(vec![beside], exact()).unwrap().items), ["Unchanged 1 SameText"]);
    let again = subject.add(vec![fact("Caf\u{e9} at eight")], AddOptions { comparison: Comparison::None, ..exact() });
    assert_eq!(told(&again.unwrap().items), ["Added 1"]);
    // Of several the oldest answers.
    assert_eq!(added(subject, vec![fact("Caf\u{e9} at eight")]), [first]);
}

pub(crate) fn what_differs_is_not_the_same_text(subject: &mut Subject) {
    one(subject, Content { actor: Some("Ana".into()), at: Some(1_000), ..fact("Tea!") });
    let same = || Content { actor: Some("Ana".into()), at: Some(1_000), ..fact("Tea!") };
    let others = vec![
        Content { actor: Some("Mel".into()), ..same() },
        Content { actor: None, ..same() },
        Content { kind: Kind::Episode, ..same() },
        Content { at: Some(2_000), ..same() },
        Content { at: None, ..same() },
        Content { scope: scope("mel"), ..same() },
        Content { scope: Scope { run: Some("r".into()), ..scope("ana") }, ..same() },
        Content { text: "tea!".into(), ..same() },
        Content { key: Some("tea".into()), ..same() },
        same(),
    ];
    let answer = subject.add(others, exact()).unwrap();
    let mut expected = vec!["Added 1"; 9];
    expected.push("Unchanged 1 SameText");
    assert_eq!(told(&answer.items), expected);
}

pub(crate) fn hidden_memories_do_not_hide_a_repetition(subject: &mut Subject) {
    let expiring = Content { expires_at: Some(1_704_067_300_000), ..fact("The code is 1234") };
    let outdated = Content { valid_to: Some(1_000), ..fact("Ana lives in Graz") };
    let ids = added(subject, vec![expiring, outdated, fact("Ana sings")]);
    subject.delete(vec![deletion(id(&ids[2]))], Erasure::KeepHistory, plain()).unwrap();
    let answer = subject.add(vec![fact("The code is 1234")], exact()).unwrap();
    assert_eq!(told(&answer.items), ["Unchanged 1 SameText"]);
    subject.advance(1_000_000);
    let again = vec![fact("The code is 1234"), fact("Ana lives in Graz"), fact("Ana sings")];
    let answer = subject.add(again, exact()).unwrap();
    assert_eq!(told(&answer.items), ["Added 1"; 3]);
    let newer = Content {
        links: vec![link(Relation::Supersedes, &added(subject, vec![fact("Ana sings")])[0])],
        ..fact("Ana hums")
    };
    one(subject, newer);
    assert_eq!(told(&subject.add(vec![fact("Ana sings")], exact()).unwrap().items), ["Added 1"]);
}

pub(crate) fn a_key_stands_for_one_memory(subject: &mut Subject) {
    let answer =
        subject.add(vec![keyed("diet", "vegetarian"), keyed("diet", "vegetarian"), keyed("diet", "vegan")], exact());
    let answer = answer.unwrap();
    assert_eq!(told(&answer.items), ["Added 1", "Unchanged 1 SameKey", "Updated 2 SameKey"]);
    let ids = ids(&answer.items);
    assert!(ids[0] == ids[1] && ids[1] == ids[2]);
    assert_eq!(seen(subject, key("diet"), now()).unwrap(), "vegan (live 2)");
    // Everything of the content counts, and all of it is replaced.
    let described = Content { metadata: "{\"a\":1}".into(), actor: Some("Ana".into()), ..keyed("diet", "vegan") };
    assert_eq!(told(&subject.add(vec![described], exact()).unwrap().items), ["Updated 3 SameKey"]);
    assert_eq!(told(&subject.add(vec![keyed("diet", "vegan")], exact()).unwrap().items), ["Updated 4 SameKey"]);
    assert_eq!(subject.get(vec![key("diet")], now()).unwrap()[0].as_ref().unwrap().content, keyed("diet", "vegan"));
    // The key belongs to the exact scope.
    let elsewhere = Content { scope: scope("mel"), ..keyed("diet", "omnivore") };
    let in_run = Content { scope: Scope { run: Some("r".into()), ..scope("ana") }, ..keyed("diet", "fasting") };
    assert_eq!(told(&subject.add(vec![elsewhere, in_run], exact()).unwrap().items), ["Added 1"; 2]);
    assert_eq!(seen(subject, key("diet"), now()).unwrap(), "vegan (live 4)");
    // Two keys with the same text are two memories, and neither is the same text as one without.
    assert_eq!(told(&subject.add(vec![keyed("food", "vegan"), fact("vegan")], exact()).unwrap().items), ["Added 1"; 2]);
    assert_eq!(versions(subject, key("diet")).len(), 4);
}

pub(crate) fn a_key_is_free_again_after_deletion(subject: &mut Subject) {
    let first = one(subject, keyed("diet", "vegetarian"));
    subject.delete(vec![deletion(key("diet"))], Erasure::KeepHistory, plain()).unwrap();
    assert_eq!(seen(subject, key("diet"), all()), None);
    assert_eq!(seen(subject, id(&first), all()).unwrap(), "vegetarian (deleted 2)");
    let answer = subject.add(vec![keyed("diet", "vegetarian")], exact()).unwrap();
    assert_eq!(told(&answer.items), ["Added 1"]);
    assert_ne!(ids(&answer.items)[0], first);
}

pub(crate) fn idempotency_keys_repeat_the_answer(subject: &mut Subject) {
    let write = |key: &str| AddOptions { write: once(key), ..exact() };
    let items = || vec![fact("Ana sings"), fact(""), keyed("k", "v")];
    let first = subject.add(items(), write("call-1")).unwrap();
    subject.advance(1_000);
    assert_eq!(subject.add(items(), write("call-1")).unwrap(), first, "also its errors");
    let error = subject.add(vec![fact("Ana hums")], write("call-1")).unwrap_err();
    assert_eq!(refused(&error), "conflict: the idempotency key was used for another call");
    let error = subject.delete(vec![deletion(key("k"))], Erasure::KeepHistory, once("call-1")).unwrap_err();
    assert_eq!(refused(&error), "conflict: the idempotency key was used for another call");
    let gone = subject.delete(vec![deletion(key("k"))], Erasure::KeepHistory, once("call-2")).unwrap();
    assert_eq!(told(&gone), ["Deleted 2"]);
    assert_eq!(subject.delete(vec![deletion(key("k"))], Erasure::KeepHistory, once("call-2")).unwrap(), gone);
    assert_eq!(subject.add(items(), write("call-1")).unwrap(), first, "though the world has moved on");
    for (key, said) in [
        (String::new(), "invalid options.idempotency-key: the idempotency key is empty; leave it out instead"),
        ("k".repeat(129), "limit options.idempotency-key: the idempotency key has 129 bytes, at most 128 are taken"),
    ] {
        assert_eq!(refused(&subject.add(items(), write(&key)).unwrap_err()), said);
    }
    subject.advance(24 * 60 * 60 * 1_000);
    let answer = subject.add(items(), write("call-1")).unwrap();
    assert_eq!(told(&answer.items)[2], "Added 1", "a day later the key is forgotten");
}

pub(crate) fn what_comes_later_says_so(subject: &mut Subject) {
    for extraction in [Extraction::Now, Extraction::Later] {
        let error = subject.add(vec![fact("Ana sings")], AddOptions { extraction, ..exact() }).unwrap_err();
        assert_eq!(refused(&error), "unavailable: extraction comes later; add with `none`");
    }
    let error = subject.maintain(Chores::EXTRACT | Chores::PURGE, 10).unwrap_err();
    assert_eq!(refused(&error), "unavailable: extraction comes later");
    assert!(listed(subject, request(everywhere())).is_empty());
}

pub(crate) fn a_failing_model_stores_nothing(subject: &mut Subject) {
    one(subject, keyed("diet", "vegetarian"));
    subject.break_model(true);
    let broken = "unavailable: cannot run the model: it is out of order";
    assert_eq!(refused(&subject.add(vec![fact("Ana sings"), keyed("diet", "vegan")], exact()).unwrap_err()), broken);
    let patch = Patch { text: Some("vegan".into()), ..unpatched() };
    assert_eq!(refused(&subject.update(vec![edit(key("diet"), patch)], plain()).unwrap_err()), broken);
    assert_eq!(refused(&subject.search(vec![query("diet")]).unwrap_err()), broken);
    assert_eq!(listed(subject, request(everywhere())), ["vegetarian (live 1)"]);
    // What needs no vector goes on.
    let patch = Patch { metadata: Some("{\"a\":1}".into()), ..unpatched() };
    assert_eq!(told(&subject.update(vec![edit(key("diet"), patch)], plain()).unwrap()), ["Updated 2"]);
    subject.break_model(false);
    one(subject, fact("Ana sings"));
}

pub(crate) fn words_are_enough_without_a_model(subject: &mut Subject) {
    *subject = Subject::without_a_model();
    added(subject, vec![fact("Ana is vegetarian"), fact("Ana lives in Graz")]);
    let answer = found(subject, query("vegetarian food"));
    assert_eq!(answer.hits.len(), 1);
    assert_eq!(answer.hits[0].raw.dense, None);
    assert_eq!(answer.pending, 2, "all that is admitted");
    assert_eq!(subject.stats(everywhere()).unwrap().model, None);
    subject.flush(1_000).unwrap();
}

pub(crate) fn deferred_meaning_follows(subject: &mut Subject) {
    let deferred = |promise: Promise| AddOptions { write: WriteOptions { promise, ..plain() }, ..exact() };
    subject.break_model(true);
    subject.add(vec![fact("Ana is vegetarian")], deferred(Promise::Deferred)).unwrap();
    subject.add(vec![fact("Ana sings")], deferred(Promise::Relaxed)).unwrap();
    let words = Query { tuning: Some(Tuning { dense: Some(0.0), ..untuned() }), ..query("vegetarian") };
    let answer = found(subject, words);
    assert_eq!((answer.hits.len(), answer.pending), (1, 2));
    subject.break_model(false);
    subject.flush(60_000).unwrap();
    let answer = found(subject, query("vegetarian"));
    assert_eq!((answer.hits.len(), answer.pending), (2, 0));
    assert!(answer.hits[0].raw.dense.unwrap() > 0.5);
    assert_eq!(subject.stats(everywhere()).unwrap().pending, 0);
}
