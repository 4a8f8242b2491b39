// Reading: targets, pages, filters, views, counts.

pub(crate) fn get_answers_in_the_order_of_the_targets(subject: &mut Subject) {
    let ids = added(subject, vec![fact("one"), keyed("two", "two"), fact("three")]);
    let nobody = "01977a3e-5b00-7abc-8def-0123456789ab";
    let targets = vec![id(&ids[2]), key("nothing"), key("two"), id(nobody), id(&ids[0]), id(&ids[2])];
    let shown: Vec<Option<String>> =
        subject.get(targets, now()).unwrap().iter().map(|m| m.as_ref().map(line)).collect();
    let shown: Vec<&str> = shown.iter().map(|line| line.as_deref().unwrap_or("-")).collect();
    assert_eq!(shown, ["three (live 1)", "-", "two (live 1)", "-", "one (live 1)", "three (live 1)"]);
    let whole = subject.get(vec![key("two")], now()).unwrap().remove(0).unwrap();
    assert_eq!((whole.id, whole.version, whole.state, whole.superseded_by), (ids[1].clone(), 1, State::Live, None));
    assert_eq!((whole.content, whole.created_at), (keyed("two", "two"), whole.updated_at));
    let error = subject.get(vec![key("two"), id("TWO")], now()).unwrap_err();
    assert_eq!(
        refused(&error),
        "invalid targets[1]: this is no id: ids are 36 characters, hexadecimal in lower case with hyphens"
    );
}

pub(crate) fn within_hides_what_lies_outside(subject: &mut Subject) {
    let ids = added(subject, vec![fact("Ana sings"), of("mel", "Mel paints")]);
    let within = |n: usize, scope: Scope| Target::Within(ScopedId { scope, id: ids[n].clone() });
    assert_eq!(seen(subject, within(0, scope("ana")), now()).unwrap(), "Ana sings (live 1)");
    assert_eq!(seen(subject, within(1, scope("ana")), now()), None);
    assert_eq!(seen(subject, within(1, everywhere()), now()).unwrap(), "Mel paints (live 1)");
    let patch = || Patch { text: Some("changed".into()), ..unpatched() };
    let answer = subject.update(vec![edit(within(1, scope("ana")), patch())], plain()).unwrap();
    assert_eq!(told(&answer), [format!("not found: there is no memory {}", ids[1])]);
    let answer = subject.delete(vec![deletion(within(1, scope("ana")))], Erasure::Erase, plain()).unwrap();
    assert_eq!(told(&answer), [format!("not found: there is no memory {}", ids[1])]);
    let target = || within(1, scope("ana"));
    assert_eq!(subject.history(vec![target()], 10, None).unwrap(), [vec![]]);
    let back = Restoration { target: target(), version: 1, expect_version: None };
    assert_eq!(
        told(&subject.restore(vec![back], plain()).unwrap()),
        [format!("not found: there is no memory {}", ids[1])]
    );
    assert_eq!(seen(subject, id(&ids[1]), now()).unwrap(), "Mel paints (live 1)");
}

pub(crate) fn lists_in_both_orders(subject: &mut Subject) {
    added(subject, vec![fact("one"), of("mel", "two"), fact("three")]);
    let of_ana = || request(scope("ana"));
    assert_eq!(listed(subject, of_ana()), ["one (live 1)", "three (live 1)"]);
    let newest = |request: ListRequest| ListRequest { order: Order::NewestFirst, ..request };
    assert_eq!(listed(subject, newest(of_ana())), ["three (live 1)", "one (live 1)"]);
    assert_eq!(listed(subject, newest(request(everywhere()))), ["three (live 1)", "two (live 1)", "one (live 1)"]);
    assert_eq!(listed(subject, request(scope("nobody"))), Vec::<String>::new());
    let narrow = Scope { app: Some("x".into()), ..scope("ana") };
    assert_eq!(listed(subject, request(narrow)), Vec::<String>::new());
}

pub(crate) fn pages_hold_everything_once(subject: &mut Subject) {
    let items =
        (0..25).map(|n| if n % 5 == 4 { of("mel", &format!("m{n}")) } else { fact(&format!("f{n}")) }).collect();
    let ids = added(subject, items);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for whose in [scope("ana"), everywhere()] {
            let mut wanted: Vec<String> =
                (0..25).filter(|n| whose.user.is_none() || n % 5 != 4).map(|n| ids[n].clone()).collect();
            if order == Order::NewestFirst {
                wanted.reverse();
            }
            let mut request = ListRequest { order, limit: 7, count: true, ..request(whose) };
            let mut shown: Vec<String> = vec![];
            loop {
                let page = subject.list(request.clone()).unwrap();
                assert_eq!(page.total, Some(u32::try_from(wanted.len()).unwrap()));
                assert!(page.memories.len() == 7 || page.next.is_none());
                shown.extend(page.memories.into_iter().map(|memory| memory.id));
                request.count = true;
                match page.next {
                    Some(next) => request.after = Some(next),
                    None => break,
                }
            }
            assert_eq!(shown, wanted);
        }
    }
    // Exactly full pages end without an empty one; what is added meanwhile comes at most once.
    let page = subject.list(ListRequest { limit: 20, ..request(scope("ana")) }).unwrap();
    assert_eq!((page.memories.len(), page.next, page.total), (20, None, None));
    let first = subject.list(ListRequest { limit: 19, ..request(scope("ana")) }).unwrap();
    one(subject, fact("late"));
    let rest = subject.list(ListRequest { after: first.next, ..request(scope("ana")) }).unwrap();
    assert_eq!(rest.memories.iter().map(line).collect::<Vec<_>>(), ["f23 (live 1)", "late (live 1)"]);
}

pub(crate) fn a_cursor_is_bound_to_its_request(subject: &mut Subject) {
    added(subject, vec![fact("one"), fact("two"), fact("three")]);
    let first = ListRequest { limit: 1, ..request(scope("ana")) };
    let cursor = subject.list(first.clone()).unwrap().next;
    let next = ListRequest { after: cursor, ..first };
    assert_eq!(listed(subject, next.clone()), ["two (live 1)"]);
    let foreign = "invalid request.after: the cursor belongs to another scope, filter or order";
    let others = [
        ListRequest { scope: everywhere(), ..next.clone() },
        ListRequest { order: Order::NewestFirst, ..next.clone() },
        ListRequest { filter: Some("{\"kind\":\"fact\"}".into()), ..next.clone() },
    ];
    for other in others {
        assert_eq!(refused(&subject.list(other).unwrap_err()), foreign);
    }
    for garbage in ["", "next", "01977a3e-5b00-7abc-8def-0123456789a"] {
        let error = subject.list(ListRequest { after: Some(garbage.into()), ..next.clone() }).unwrap_err();
        assert_eq!(refused(&error), "invalid request.after: this is no cursor; take `next` of the page before");
    }
    // Limit and count may differ from page to page.
    assert_eq!(listed(subject, ListRequest { limit: 5, ..next }), ["two (live 1)", "three (live 1)"]);
}

fn people(subject: &mut Subject) {
    let a = Content {
        metadata: r#"{"age":30,"tags":["x","y"],"pet":{"name":"Mia"},"a.b":1,"none":null}"#.into(),
        actor: Some("Ana".into()),
        role: Some(Role::User),
        at: Some(1_700_000_000_000),
        ..fact("Ana eats Tofu")
    };
    let b = Content { metadata: r#"{"age":"30","tags":[]}"#.into(), kind: Kind::Episode, ..keyed("b", "Bo eats fish") };
    let c = Content { scope: Scope { run: Some("r".into()), ..scope("mel") }, ..fact("Mel naps") };
    let first = added(subject, vec![a, b, c]).remove(0);
    one(subject, Content { links: vec![link(Relation::DerivedFrom, &first)], ..fact("linked") });
}

/// First the whole text, then what a search would be restricted to; both must agree with the table of the contract.
pub(crate) fn filters_select(subject: &mut Subject) {
    people(subject);
    let (a, b, c, d) = ("Ana eats Tofu", "Bo eats fish", "Mel naps", "linked");
    let cases: &[(&str, &[&str])] = &[
        ("{}", &[a, b, c, d]),
        (r#"{"user":"mel"}"#, &[c]),
        (r#"{"run":"*"}"#, &[c]),
        (r#"{"run":null}"#, &[a, b, d]),
        (r#"{"actor":{"ne":"Ana"}}"#, &[b, c, d]),
        (r#"{"role":"user"}"#, &[a]),
        (r#"{"kind":"episode"}"#, &[b]),
        (r#"{"kind":{"in":["episode","core"]}}"#, &[b]),
        (r#"{"kind":{"nin":["episode","core"]}}"#, &[a, c, d]),
        (r#"{"key":{"exists":true}}"#, &[b]),
        (r#"{"key":{"exists":false}}"#, &[a, c, d]),
        (r#"{"metadata.age":30}"#, &[a]),
        (r#"{"metadata.age":{"gte":30,"lt":31}}"#, &[a]),
        (r#"{"metadata.age":{"gt":"3"}}"#, &[b]),
        (r#"{"metadata.age":{"ne":30}}"#, &[b, c, d]),
        (r#"{"metadata.tags":"x"}"#, &[a]),
        (r#"{"metadata.tags":{"contains":"y"}}"#, &[a]),
        (r#"{"metadata.tags":{"nin":["x"]}}"#, &[b, c, d]),
        (r#"{"metadata.tags":"*"}"#, &[a, b]),
        (r#"{"metadata.pet.name":{"icontains":"mI"}}"#, &[a]),
        (r#"{"metadata.pet":"*"}"#, &[a]),
        (r#"{"metadata.pet":{"contains":"Mia"}}"#, &[]),
        (r#"{"metadata.a\\.b":1}"#, &[a]),
        (r#"{"metadata.none":null}"#, &[a, b, c, d]),
        (r#"{"text":{"icontains":"TOFU"}}"#, &[a]),
        (r#"{"text":{"contains":"tofu"}}"#, &[]),
        (r#"{"at":{"gte":"2023-11-14T22:13:20Z"}}"#, &[a]),
        (r#"{"at":1700000000000}"#, &[a]),
        (r#"{"created_at":{"gt":"2025-01-01T00:00:00Z"}}"#, &[]),
        (r#"{"version":1,"links":"*"}"#, &[d]),
        (r#"{"AND":[{"user":"ana"},{"NOT":[{"key":"b"}]}]}"#, &[a, d]),
        (r#"{"OR":[{"user":"mel"},{"key":"b"}]}"#, &[b, c]),
        (r#"{"NOT":[{"user":"mel"},{"key":"b"}]}"#, &[a, d]),
        (r#"{"user":"ana","kind":"fact"}"#, &[a, d]),
    ];
    for (filter, expected) in cases {
        assert_eq!(filtered(subject, filter), *expected, "{filter}");
        let query = Query { filter: Some((*filter).to_owned()), scope: everywhere(), ..query("eats") };
        let mut texts = hits(subject, query);
        texts.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(texts, expected, "search with {filter}");
    }
    let first = subject.list(request(everywhere())).unwrap().memories.remove(0).id;
    assert_eq!(filtered(subject, &format!(r#"{{"links":"{first}"}}"#)), [d]);
    assert_eq!(filtered(subject, &format!(r#"{{"id":{{"in":["{first}"]}}}}"#)), [a]);
}

pub(crate) fn bad_filters_are_refused_with_their_place(subject: &mut Subject) {
    people(subject);
    let cases = [
        ("", "invalid request.filter: the filter ends too early at byte 0"),
        ("[]", "invalid request.filter#: a filter is an object, as in {\"user\": \"ana\"}"),
        (r#"{"AND":[]}"#, "invalid request.filter#/AND: AND, OR and NOT take a list of filters that is not empty"),
        (
            r#"{"AND":[{"user":"a"},3]}"#,
            "invalid request.filter#/AND/1: a filter is an object, as in {\"user\": \"ana\"}",
        ),
    ];
    for (filter, expected) in cases {
        let error = subject.list(ListRequest { filter: Some(filter.to_owned()), ..request(everywhere()) }).unwrap_err();
        assert_eq!(refused(&error), expected, "{filter}");
    }
    for filter in [
        r#"{"usr":"ana"}"#.to_owned(),
        r#"{"metadata":1}"#.to_owned(),
        r#"{"user":{"like":"a"}}"#.to_owned(),
        r#"{"user":{}}"#.to_owned(),
        r#"{"user":{"gt":true}}"#.to_owned(),
        r#"{"user":{"gt":null}}"#.to_owned(),
        r#"{"user":{"in":"ana"}}"#.to_owned(),
        r#"{"user":{"exists":1}}"#.to_owned(),
        r#"{"user":["ana"]}"#.to_owned(),
        r#"{"at":{"gt":"yesterday"}}"#.to_owned(),
        r#"{"user":"ana"} x"#.to_owned(),
    ] {
        let error = subject.list(ListRequest { filter: Some(filter.clone()), ..request(everywhere()) }).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{filter}: {error:?}");
    }
    let wide = (0..1_001).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let deep = format!("{}{{\"user\":\"a\"}}{}", "{\"NOT\":[".repeat(8), "]}".repeat(8));
    for filter in
        [format!(r#"{{"version":{{"in":[{wide}]}}}}"#), deep, format!("{{\"user\":\"{}\"}}", "x".repeat(16 << 10))]
    {
        let error = subject.list(ListRequest { filter: Some(filter.clone()), ..request(everywhere()) }).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded(_)), "{filter:.60}: {error:?}");
    }
}

pub(crate) fn views_show_what_was_valid(subject: &mut Subject) {
    let ids = added(
        subject,
        vec![
            Content { valid_from: Some(START + DAY), ..fact("future") },
            Content { valid_to: Some(START), ..fact("past") },
            Content { valid_from: Some(START - DAY), valid_to: Some(START + DAY), ..fact("present") },
            Content { expires_at: Some(START + 2 * DAY), ..fact("passing") },
            fact("gone"),
        ],
    );
    subject.delete(vec![deletion(id(&ids[4]))], Erasure::KeepHistory, plain()).unwrap();
    let mut show = |view: View| listed(subject, ListRequest { view, ..request(scope("ana")) });
    let at = |at: i64| View { valid_at: Some(at), ..now() };
    assert_eq!(show(now()), ["present (live 1)", "passing (live 1)"]);
    assert_eq!(show(at(START - 1)), ["past (live 1)", "present (live 1)", "passing (live 1)"]);
    assert_eq!(show(at(START + DAY)), ["future (live 1)", "passing (live 1)"], "until just before, from here on");
    assert_eq!(show(at(START - DAY - 1)), ["past (live 1)", "passing (live 1)"]);
    assert_eq!(
        show(also(Including::OUTDATED)),
        ["future (outdated 1)", "past (outdated 1)", "present (live 1)", "passing (live 1)"]
    );
    let later = View { now: Some(START + 3 * DAY), ..also(Including::EXPIRED) };
    assert_eq!(show(later), ["future (live 1)", "passing (expired 1)"]);
    assert_eq!(show(also(Including::DELETED)), ["present (live 1)", "passing (live 1)", "gone (deleted 2)"]);
    let error = subject.get(vec![], View { valid_at: Some(i64::MAX), ..now() }).unwrap_err();
    assert_eq!(refused(&error), "invalid view.valid-at: the time lies outside the years 1 to 9999");
}

pub(crate) fn views_show_what_was_known(subject: &mut Subject) {
    let first = one(subject, keyed("diet", "vegetarian"));
    subject.advance(DAY);
    one(subject, keyed("diet", "vegan"));
    subject.advance(DAY);
    subject.delete(vec![deletion(id(&first))], Erasure::KeepHistory, plain()).unwrap();
    let known = |days: i64| View { known_at: Some(START + days * DAY + DAY / 2), ..now() };
    assert_eq!(seen(subject, id(&first), known(-1)), None);
    assert_eq!(seen(subject, id(&first), known(0)).unwrap(), "vegetarian (live 1)");
    assert_eq!(seen(subject, id(&first), known(1)).unwrap(), "vegan (live 2)");
    assert_eq!(seen(subject, id(&first), known(2)), None);
    let deleted = View { including: Including::DELETED, ..known(2) };
    assert_eq!(seen(subject, id(&first), deleted).unwrap(), "vegan (deleted 3)");
    let page = |view: View| ListRequest { view, ..request(scope("ana")) };
    assert_eq!(listed(subject, page(known(0))), ["vegetarian (live 1)"]);
    assert_eq!(listed(subject, page(known(1))), ["vegan (live 2)"]);
    assert_eq!(listed(subject, page(known(-1))), Vec::<String>::new());
    // The filter asks the version of then.
    let filter =
        |text: &str, days: i64| ListRequest { filter: Some(format!("{{\"text\":\"{text}\"}}")), ..page(known(days)) };
    assert_eq!(listed(subject, filter("vegan", 1)), ["vegan (live 2)"]);
    assert_eq!(listed(subject, filter("vegetarian", 0)), ["vegetarian (live 1)"]);
    assert_eq!(listed(subject, filter("vegan", 0)), Vec::<String>::new());
}

pub(crate) fn the_reader_brings_the_present(subject: &mut Subject) {
    one(subject, Content { expires_at: Some(START + DAY), ..fact("The code is 1234") });
    let at = |now_: i64| View { now: Some(now_), ..now() };
    for (view, shown) in [(now(), 1), (at(START + DAY - 1), 1), (at(START + DAY), 0)] {
        assert_eq!(listed(subject, ListRequest { view, ..request(scope("ana")) }).len(), shown);
        assert_eq!(hits(subject, Query { view, ..query("code") }).len(), shown);
    }
    subject.advance(2 * DAY);
    assert_eq!(hits(subject, query("code")).len(), 0);
    assert_eq!(hits(subject, Query { view: at(START), ..query("code") }).len(), 1);
}

pub(crate) fn scopes_count_what_lies_within(subject: &mut Subject) {
    let place = |user: &str, run: Option<&str>, text: &str| Content {
        scope: Scope { run: run.map(Into::into), ..scope(user) },
        ..fact(text)
    };
    let ids = added(
        subject,
        vec![
            place("mel", None, "one"),
            place("ana", Some("r1"), "two"),
            place("ana", Some("r2"), "three"),
            place("ana", None, "four"),
            place("\u{e9}va", None, "five"),
            Content { scope: everywhere(), ..fact("six") },
        ],
    );
    subject.delete(vec![deletion(id(&ids[3]))], Erasure::KeepHistory, plain()).unwrap();
    let ask = |field: ScopeField| ScopesRequest { within: everywhere(), field, limit: 10, after: None };
    let mut show = |request: ScopesRequest| {
        let page = subject.scopes(request).unwrap();
        (page.entries.into_iter().map(|e| format!("{} {}", e.value, e.memories)).collect::<Vec<_>>(), page.next)
    };
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>();
    assert_eq!(show(ask(ScopeField::User)), (lines(&["ana 2", "mel 1", "\u{e9}va 1"]), None));
    assert_eq!(show(ask(ScopeField::Run)), (lines(&["r1 1", "r2 1"]), None));
    assert_eq!(show(ask(ScopeField::App)), (vec![], None));
    let of_mel = ScopesRequest { within: scope("mel"), ..ask(ScopeField::Run) };
    assert_eq!(show(of_mel), (vec![], None));
    let first = ScopesRequest { limit: 2, ..ask(ScopeField::User) };
    assert_eq!(show(first.clone()), (lines(&["ana 2", "mel 1"]), Some("mel".to_owned())));
    assert_eq!(show(ScopesRequest { after: Some("mel".into()), ..first }), (lines(&["\u{e9}va 1"]), None));
    let patch = Patch { text: Some("changed".into()), ..unpatched() };
    subject.update(vec![edit(id(&ids[1]), patch)], plain()).unwrap();
    let entries = subject.scopes(ask(ScopeField::User)).unwrap().entries;
    let (of_ana, of_mel) = (&entries[0], &entries[1]);
    assert_eq!((of_ana.created_at, of_mel.updated_at), (of_mel.created_at, of_mel.created_at));
    assert!(of_ana.updated_at > of_ana.created_at, "{of_ana:?}");
}

pub(crate) fn stats_count_states(subject: &mut Subject) {
    let empty = subject.stats(everywhere()).unwrap();
    assert_eq!((empty.live, empty.deleted, empty.lag, empty.pending, empty.stale), (0, 0, 0, 0, 0));
    let ids = added(
        subject,
        vec![
            fact("live"),
            Content { valid_to: Some(START), ..fact("outdated") },
            Content { expires_at: Some(START + DAY), ..fact("passing") },
            fact("deleted"),
            fact("erased"),
            of("mel", "hers"),
        ],
    );
    subject.delete(vec![deletion(id(&ids[3]))], Erasure::KeepHistory, plain()).unwrap();
    subject.delete(vec![deletion(id(&ids[4]))], Erasure::Erase, plain()).unwrap();
    let mut counts = |scope: Scope| {
        let stats = subject.stats(scope).unwrap();
        (stats.live, stats.outdated, stats.expired, stats.deleted)
    };
    assert_eq!(counts(scope("ana")), (2, 1, 0, 2));
    assert_eq!(counts(scope("mel")), (1, 0, 0, 0));
    subject.advance(2 * DAY);
    let stats = subject.stats(everywhere()).unwrap();
    assert_eq!((stats.live, stats.outdated, stats.expired, stats.deleted), (2, 1, 1, 2));
    assert_eq!(stats.model.unwrap(), Model { name: "hash".into(), fingerprint: "hash-64-256".into() });
    subject.flush(1_000).unwrap();
}
