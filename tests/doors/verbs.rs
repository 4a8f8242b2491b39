//! What holds for every verb: its help, and that it does not read the model unless it needs it.
use crate::common::Home;

/// The verbs that `cairn --help` shows.
fn verbs(home: &Home) -> Vec<String> {
    let help = home.does(&["--help"]);
    let commands = help.split_once("Commands:\n").expect("the help lists the commands").1;
    let names = commands.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_verb_teaches() {
    let home = Home::new();
    let verbs = verbs(&home);
    assert!(verbs.len() >= 20, "{verbs:?}");
    for verb in &verbs {
        let help = home.does(&[verb, "--help"]);
        assert!(help.contains("Usage: cairn "), "{verb}: {help}");
        if !matches!(verb.as_str(), "version" | "completions") {
            assert!(help.contains(&format!("cairn {verb}")) && help.contains("Examples:"), "{verb} has no examples");
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = home.does(&["completions", shell]);
        let unknown: Vec<&String> = verbs.iter().filter(|verb| !script.contains(verb.as_str())).collect();
        assert!(unknown.is_empty(), "{shell} does not complete {unknown:?}");
    }
    assert_eq!(home.cairn(&[]).code, Some(2));
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "help makes no store");
}

#[test]
fn the_demo_comes_out_as_told() {
    let home = Home::new();
    let told = home.does(&["demo"]);
    assert!(told.contains("came out as told"), "{told}");
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "the demo has a store of its own");
}

#[test]
fn verbs_that_need_no_model_do_not_read_it() {
    let home = Home::new();
    let folder = super::cut_model(home.path());
    home.does(&["add", "a text", "-u", "ana", "--key", "k", "--deferred", "--model", &folder]);
    let named = ["--key", "k", "-u", "ana"];
    let rows: &[&[&str]] = &[&["get"], &["history"], &["update", "-m", "a=1"], &["restore", "--version", "1"]];
    for row in rows {
        home.does(&[row, &named[..], &["--model", &folder]].concat());
    }
    for verb in ["list", "scopes", "stats", "doctor", "export", "config", "version", "component"] {
        home.does(&[verb, "--model", &folder]);
    }
    home.does(&["delete", "--key", "k", "-u", "ana", "--model", &folder]);
    for verb in [&["add", "another text"][..], &["search", "a text"], &["model", "info"]] {
        let refused = home.cairn(&[verb, &["--model", &folder]].concat());
        assert_eq!(refused.code, Some(1), "{verb:?}: {refused:?}");
        assert!(refused.err.contains("it may have been cut short"), "{verb:?}: {}", refused.err);
    }
}
