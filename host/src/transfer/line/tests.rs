//! Lines of the interchange format, each with what it becomes or why it is refused.
use super::*;

fn rules() -> Rules {
    Rules { scope: super::super::everywhere(), tag: None, lenient: false }
}

fn id(n: u32) -> String {
    format!("0197a3c4-0000-7000-8000-{n:012}")
}

#[track_caller]
fn reads_with(rules: &Rules, line: &str, expected: &Content) {
    match read(line, rules) {
        Ok(Line::Item(Item::Add(content))) => assert_eq!(*content, *expected),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuses(line: &str, place: &str, message: &str) {
    assert_eq!(read(line, &rules()), Err(refusal(place, message.to_owned())), "{line}");
}

fn for_default(text: &str) -> Content {
    let mut content = plain(text.to_owned());
    content.scope.user = Some("default".to_owned());
    content
}

#[test]
fn a_text_alone_goes_to_the_default_user() {
    reads_with(&rules(), r#"{"text":"a"}"#, &for_default("a"));
    let nulls = r#"{"text":"a","user":null,"agent":null,"role":null,"kind":null,"metadata":null,"at":null,"links":null,"id":null,"version":null}"#;
    reads_with(&rules(), nulls, &for_default("a"));
}

#[test]
fn all_fields_of_an_add_are_taken() {
    let line = format!(
        r#"{{"text":"t","user":"u","agent":"g","app":"p","run":"r","actor":"Caroline","role":"assistant","kind":"core","metadata":{{ "a" : 1.0e2 }},"key":"k","at":"2023-05-08T15:56:00+02:00","valid_from":-1,"valid_to":"2023-05-08","expires_at":"1683554160000","links":[{{"relation":"supersedes","target":"{0}"}},{{"relation":"about","target":"{0}"}}]}}"#,
        id(1)
    );
    let text = |text: &str| Some(text.to_owned());
    let expected = Content {
        text: "t".to_owned(),
        scope: Scope { user: text("u"), agent: text("g"), app: text("p"), run: text("r") },
        key: text("k"),
        actor: text("Caroline"),
        role: Some(Role::Assistant),
        kind: Kind::Core,
        metadata: r#"{ "a" : 1.0e2 }"#.to_owned(),
        at: Some(1_683_554_160_000),
        valid_from: Some(-1),
        valid_to: Some(1_683_504_000_000),
        expires_at: Some(1_683_554_160_000),
        links: vec![
            Link { relation: Relation::Supersedes, target: id(1) },
            Link { relation: Relation::Other("about".to_owned()), target: id(1) },
        ],
    };
    reads_with(&rules(), &line, &expected);
}

#[test]
fn the_given_scope_fills_what_a_line_leaves_out() {
    let scope = Scope { user: Some("u".to_owned()), run: Some("r".to_owned()), ..super::super::everywhere() };
    let rules = Rules { scope: scope.clone(), ..rules() };
    let mut expected = plain("a".to_owned());
    expected.scope = scope;
    reads_with(&rules, r#"{"text":"a"}"#, &expected);
    expected.scope.run = Some("own".to_owned());
    reads_with(&rules, r#"{"text":"a","run":"own"}"#, &expected);
}

#[test]
fn a_tag_is_set_in_the_metadata_and_only_there() {
    let rules = Rules { tag: Some("to\"day".to_owned()), ..rules() };
    let mut expected = for_default("a");
    expected.metadata = r#"{"import":"to\"day"}"#.to_owned();
    reads_with(&rules, r#"{"text":"a"}"#, &expected);
    expected.metadata = r#"{"x":[1, 2],"import": "to\"day" }"#.to_owned();
    reads_with(&rules, r#"{"text":"a","metadata":{"x":[1, 2],"import": null }}"#, &expected);
}

#[test]
fn a_lenient_import_keeps_unknown_fields_in_the_metadata() {
    let rules = Rules { lenient: true, ..rules() };
    let mut expected = for_default("a");
    expected.metadata = r#"{"score":1,"colour":[1, 2e5],"version":3}"#.to_owned();
    let line = r#"{"colour":[1, 2e5],"text":"a","metadata":{"score":1},"score":2,"version":3}"#;
    reads_with(&rules, line, &expected);
}

#[test]
fn bad_lines_say_what_is_wrong_with_them() {
    refuses("hello", "", "not JSON: expected value at column 1");
    refuses(r#"["text"]"#, "", "invalid type: sequence, expected a JSON object");
    refuses(r#"{"text":"a"#, "", "not JSON: EOF while parsing a string at column 10");
    refuses(r#"{"text":"a"}{"text":"b"}"#, "", "not JSON: trailing characters at column 13");
    refuses(r#"{"text":"a","text":"b"}"#, "", r#"the field "text" is there twice"#);
    refuses(
        "{\"text\":\"a\0b\"}",
        "",
        "not JSON: control character (\\u0000-\\u001F) found while parsing a string at column 10",
    );
    refuses(r#"{"user":"u"}"#, "text", "is missing");
    refuses(r#"{"text":null}"#, "text", "is missing");
    refuses(r#"{"text":5}"#, "text", "must be a text, not a number");
    refuses(r#"{"text":["a"]}"#, "text", "must be a text, not a list");
    refuses(r#"{"text":"\ud800"}"#, "text", "not JSON: half of a surrogate pair at column 8");
    refuses(r#"{"text":"a","user":7}"#, "user", "must be a text, not a number");
    refuses(r#"{"text":"a","metadata":"{}"}"#, "metadata", "must be an object, not a text");
    refuses(r#"{"text":"a","metadata":{"b":1,"b":2}}"#, "metadata", "has the name \"b\" twice in one object");
    refuses(r#"{"text":"a","links":{}}"#, "links", "must be a list, not an object");
    refuses(r#"{"text":"a","links":[{"relation":"about"}]}"#, "links[0].target", "is missing");
    refuses(
        r#"{"text":"a","at":"2023-05-08T13:56:00"}"#,
        "at",
        "\"2023-05-08T13:56:00\" is not a time: write 2023-05-08T13:56:00Z, 2023-05-08 or Unix milliseconds",
    );
    refuses(
        r#"{"text":"a","at":-99999999999999999999}"#,
        "at",
        "\"-99999999999999999999\" is outside the years 1 to 9999",
    );
    refuses(r#"{"text":"a","at":true}"#, "at", "must be a time, not true or false");
}

#[test]
fn unknown_words_come_with_the_nearest_known_one() {
    refuses(r#"{"text":"a","usr":"u"}"#, "usr", "is an unknown field; did you mean user?");
    refuses(r#"{"content":"a"}"#, "content", "is an unknown field; did you mean text?");
    refuses(r#"{"text":"a","session_id":"s"}"#, "session_id", "is an unknown field; did you mean run?");
    refuses(r#"{"text":"a","colour":"u"}"#, "colour", "is an unknown field");
    refuses(r#"{"text":"a","version":1}"#, "version", "is only taken beside an id");
    refuses(r#"{"text":"a","change":"added"}"#, "change", "is only taken beside an id");
    refuses(r#"{"text":"a","role":"assistent"}"#, "role", "is \"assistent\"; did you mean assistant?");
    refuses(r#"{"text":"a","kind":"memory"}"#, "kind", "must be one of fact, episode, procedure, core");
}

#[test]
fn deep_json_is_refused_without_a_deep_stack() {
    for depth in [200, 200_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        refuses(&format!(r#"{{"text":"a","metadata":{{"b":{deep}}}}}"#), "metadata", "is deeper than 64 levels");
        refuses(&format!(r#"{{"text":{deep}}}"#), "text", "must be a text, not a list");
        refuses(
            &format!(r#"{{"text":"a","links":[{deep}]}}"#),
            "links[0]",
            "invalid type: sequence, expected a JSON object",
        );
        refuses(&deep, "", "invalid type: sequence, expected a JSON object");
    }
}

#[test]
fn a_key_of_a_megabyte_is_left_to_the_engine() {
    let key = "k".repeat(1 << 20);
    let mut expected = for_default("a");
    expected.key = Some(key.clone());
    reads_with(&rules(), &format!(r#"{{"text":"a","key":"{key}"}}"#), &expected);
}

#[test]
fn a_header_is_told_from_a_memory() {
    assert_eq!(read(r#"{"cairn":1,"memories":3}"#, &rules()), Ok(Line::Header("1".to_owned())));
    refuses(r#"{"cairn":1,"text":"a"}"#, "cairn", "is an unknown field");
}

fn memory(n: u32, text: &str) -> Memory {
    let mut content = plain(text.to_owned());
    content.scope.run = Some("r".to_owned());
    content.metadata = r#"{"b":1.0,  "a":"\u00e9"}"#.to_owned();
    content.role = Some(Role::Tool);
    content.at = Some(-5);
    content.links = vec![Link { relation: Relation::MaySupersede, target: id(9) }];
    Memory {
        id: id(n),
        version: n,
        content,
        state: State::Deleted,
        superseded_by: Some(id(7)),
        created_at: 1_000,
        updated_at: 1_683_554_160_007,
    }
}

#[test]
fn a_memory_is_printed_in_the_order_of_the_interchange_format() {
    let printed = serde_json::to_string(&MemoryJson::from(&memory(2, "t"))).unwrap();
    let expected = format!(
        r#"{{"id":"{}","text":"t","run":"r","role":"tool","kind":"fact","metadata":{{"b":1.0,  "a":"\u00e9"}},"at":"1969-12-31T23:59:59.995Z","created_at":"1970-01-01T00:00:01.000Z","updated_at":"2023-05-08T13:56:00.007Z","version":2,"links":[{{"relation":"may-supersede","target":"{}"}}],"state":"deleted","superseded_by":"{}"}}"#,
        id(2),
        id(9),
        id(7)
    );
    assert_eq!(printed, expected);
}

#[test]
fn nasty_texts_come_back_byte_for_byte() {
    let texts = [
        "\0",
        "\u{1}\u{7f}\u{85}",
        "a\nb\r\nc\t",
        "\\\\\"\\n",
        "\u{feff}",
        "\u{202e}abc",
        "e\u{301} \u{e9}",
        "👩‍👩‍👧‍👦 🇺🇸",
        "\u{10ffff}",
        "</script><script>alert(1)</script>",
        "'; DROP TABLE memories; --",
        "%s%n",
        "田中さん",
        " outer ",
        "\u{2028}\u{2029}",
        "{\"text\":1}",
    ];
    for text in texts {
        let mut expected = memory(1, text);
        expected.content.key = Some(text.to_owned());
        let printed = serde_json::to_string(&MemoryJson::from(&expected)).unwrap();
        assert!(!printed.contains(['\n', '\r']), "{printed}");
        match read(&printed, &rules()) {
            Ok(Line::Item(Item::Archive(archive))) => {
                let present =
                    Version { memory: expected, change: Change::Deleted, reason: Reason::Requested, similarity: None };
                assert_eq!(*archive, Archive { present, earlier: vec![] });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn metadata_over_several_lines_are_printed_on_one() {
    let mut spread = memory(1, "t");
    spread.content.metadata = "{\n\"a\":\r\n\"\\n\"}".to_owned();
    assert_eq!(MemoryJson::from(&spread).metadata.unwrap().get(), "{ \"a\":  \"\\n\"}");
    spread.content.metadata = String::new();
    assert!(MemoryJson::from(&spread).metadata.is_none());
}

#[test]
fn what_made_a_memory_follows_from_the_rest_or_is_said() {
    let check = |rest: &str, change: Change, reason: Reason, similarity: Option<f32>| {
        let line = format!(r#"{{"id":"{}","created_at":0,"updated_at":0,{rest}}}"#, id(1));
        match read(&line, &rules()) {
            Ok(Line::Item(Item::Archive(archive))) => {
                let Version { memory, .. } = archive.present.clone();
                assert_eq!(archive.present, Version { memory, change, reason, similarity }, "{line}");
            }
            other => panic!("{other:?}"),
        }
    };
    check(r#""text":"a","version":1"#, Change::Added, Reason::Requested, None);
    check(r#""text":"a","version":2"#, Change::Updated, Reason::Requested, None);
    check(r#""text":"a","version":1,"state":"deleted""#, Change::Deleted, Reason::Requested, None);
    check(r#""text":"","version":2,"state":"deleted""#, Change::Erased, Reason::Requested, None);
    check(r#""text":"a","version":2,"change":"restored""#, Change::Restored, Reason::Requested, None);
    let said = r#""text":"a","version":1,"reason":"extracted","similarity":0.5"#;
    check(said, Change::Added, Reason::Extracted, Some(0.5));
}

#[test]
fn lines_with_an_id_are_whole_memories() {
    let line = |rest: &str| format!(r#"{{"id":"{}","text":"a","created_at":0{rest}}}"#, id(1));
    refuses(&line(r#","updated_at":0"#), "version", "is missing");
    refuses(&line(r#","version":1"#), "updated_at", "is missing");
    refuses(&line(r#","version":-1"#), "version", "must be a whole number from 0 to 4294967295");
    refuses(&line(r#","updated":0"#), "updated", "is an unknown field");
    let history = |entry: &str| line(&format!(r#","updated_at":0,"version":2,"history":[{entry}]"#));
    refuses(&history("{}"), "history[0].memory", "is missing");
    refuses(&history(r#"{"memory":{"text":"a"}}"#), "history[0].memory.id", "is missing");
    let inner = line(r#","updated_at":0,"version":1"#);
    refuses(
        &history(&format!(r#"{{"memory":{inner},"version":3}}"#)),
        "history[0].version",
        "is another than that of its memory",
    );
    refuses(&history(&format!(r#"{{"memory":{inner}}}"#)), "history[0].change", "is missing");
}

#[test]
fn messages_become_episodes() {
    let message = r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"Ann","created_at":5}"#;
    let mut expected = for_default("a\nb");
    expected.kind = Kind::Episode;
    expected.role = Some(Role::User);
    expected.actor = Some("Ann".to_owned());
    expected.at = Some(5);
    assert_eq!(read_message(message, &rules()), Ok(Item::Add(Box::new(expected))));

    let refuses = |message: &str, place: &str, expected: &str| {
        assert_eq!(read_message(message, &rules()), Err(refusal(place, expected.to_owned())));
    };
    refuses(r#"{"role":"user"}"#, "content", "is missing");
    refuses(r#"{"role":"usr","content":"a"}"#, "role", "is \"usr\"; did you mean user?");
    refuses(
        r#"{"content":[{"type":"image_url","image_url":{}}]}"#,
        "content[0].type",
        "is \"image_url\"; only text is taken",
    );
    refuses(r#"{"content":"a","tool_calls":[]}"#, "tool_calls", "is an unknown field");
}
