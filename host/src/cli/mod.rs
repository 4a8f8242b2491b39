//! The command line: reads the arguments, runs one verb, and answers with its exit code. What a verb means is the
//! engine's; how it is asked and shown is in the files below, one verb or noun each.
mod add;
mod arguments;
mod asking;
mod backup;
mod bench;
mod change;
mod component;
mod context;
mod delete;
mod demo;
mod export;
mod failure;
mod import;
mod lines;
mod metadata;
mod model;
mod outcomes;
mod output;
mod queries;
mod read;
mod reembed;
mod search;
mod session;
mod settings;
mod store;
mod warm;
mod why_not;

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Flags};
use crate::wire::ErrorObject;
use failure::{Exit, Failure};
use output::{Form, Output};
use session::{Interrupt, Session};

const EXAMPLES: &str = "\
Start here:
  cairn demo                                             the whole path on a small story
  cairn add -u ana \"Ana is vegetarian\"
  cairn search -u ana \"what can she eat\" --explain

Without -u, --agent, --app or -r, `add` goes to user `default`, and reads see everything.
`cairn VERB --help` has examples of each verb. Exit codes: 0 done, 1 failed, 2 wrong usage,
3 what one asked for is not there, 130 interrupted.";

/// Long-term memory for AI agents that runs where the agent runs.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, about, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    flags: Flags,
    /// One JSON document on stdout
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// One JSON object a line on stdout
    #[arg(long, global = true, conflicts_with = "json", help_heading = "Output")]
    jsonl: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the whole path on a small story, in a store of its own
    #[command(after_help = demo::EXAMPLES)]
    Demo,
    /// Remembers a text, or one a line from stdin
    #[command(after_help = add::EXAMPLES)]
    Add(Box<add::Arguments>),
    /// Finds memories by words and by meaning
    #[command(after_help = search::EXAMPLES)]
    Search(search::Arguments),
    /// Says why a memory did not come back
    #[command(after_help = why_not::EXAMPLES)]
    WhyNot(why_not::Arguments),
    /// Composes what a prompt should carry, with citations
    #[command(after_help = context::EXAMPLES)]
    Context(context::Arguments),
    /// Shows memories by id or key
    #[command(after_help = read::GET_EXAMPLES)]
    Get(read::GetArguments),
    /// Lists memories page by page
    #[command(after_help = read::LIST_EXAMPLES)]
    List(read::ListArguments),
    /// Lists users, agents, apps or runs
    #[command(after_help = read::SCOPES_EXAMPLES)]
    Scopes(read::ScopesArguments),
    /// Changes a memory; the earlier version stays in its history
    #[command(after_help = change::UPDATE_EXAMPLES)]
    Update(Box<change::UpdateArguments>),
    /// Hides memories and keeps their history
    #[command(after_help = delete::DELETE_EXAMPLES)]
    Delete(delete::DeleteArguments),
    /// Erases memories for good, with their history
    #[command(after_help = delete::FORGET_EXAMPLES)]
    Forget(delete::ForgetArguments),
    /// Shows the versions of a memory
    #[command(after_help = change::HISTORY_EXAMPLES)]
    History(change::HistoryArguments),
    /// Brings an earlier version back, of a deleted memory too
    #[command(after_help = change::RESTORE_EXAMPLES)]
    Restore(change::RestoreArguments),
    /// Takes in a file: JSON lines, an export, text, Markdown or chat messages
    #[command(after_help = import::EXAMPLES)]
    Import(import::Arguments),
    /// Writes memories as JSON lines
    #[command(after_help = export::EXAMPLES)]
    Export(export::Arguments),
    /// Shows counts and sizes
    #[command(after_help = store::STATS_EXAMPLES)]
    Stats,
    /// Waits until all is durable and found by meaning
    #[command(after_help = store::FLUSH_EXAMPLES)]
    Flush(store::FlushArguments),
    /// Looks for damage
    #[command(after_help = store::DOCTOR_EXAMPLES)]
    Doctor(store::DoctorArguments),
    /// Writes the store's file anew, without gaps
    #[command(after_help = backup::COMPACT_EXAMPLES)]
    Compact,
    /// Copies the store as it is now to another directory, and checks the copy
    #[command(after_help = backup::BACKUP_EXAMPLES)]
    Backup(backup::BackupArguments),
    /// Moves the store to the model of the settings
    #[command(after_help = reembed::EXAMPLES)]
    Reembed,
    /// Shows each setting and where it comes from
    #[command(after_help = settings::EXAMPLES)]
    Config,
    /// Lists or describes models
    #[command(after_help = model::MODEL_EXAMPLES, subcommand)]
    Model(model::ModelVerb),
    /// Turns texts from stdin into vectors, one a line
    #[command(after_help = model::EMBED_EXAMPLES)]
    Embed(model::EmbedArguments),
    /// Fills the cache of vectors ahead of time
    #[command(after_help = warm::EXAMPLES)]
    Warm(warm::Arguments),
    /// Measures how fast this machine does it
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// Gives the WebAssembly component and its contract
    #[command(after_help = component::EXAMPLES)]
    Component(component::Arguments),
    /// Prints a script that completes commands: cairn completions bash > cairn.bash
    Completions { shell: clap_complete::Shell },
    /// Shows the version, the component, the model and the processor's features
    Version,
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Add(_) => "add",
            Self::Search(_) => "search",
            Self::WhyNot(_) => "why-not",
            Self::Context(_) => "context",
            Self::Get(_) => "get",
            Self::List(_) => "list",
            Self::Scopes(_) => "scopes",
            Self::Update(_) => "update",
            Self::Delete(_) => "delete",
            Self::Forget(_) => "forget",
            Self::History(_) => "history",
            Self::Restore(_) => "restore",
            Self::Import(_) => "import",
            Self::Export(_) => "export",
            Self::Stats => "stats",
            Self::Flush(_) => "flush",
            Self::Doctor(_) => "doctor",
            Self::Compact => "compact",
            Self::Backup(_) => "backup",
            Self::Reembed => "reembed",
            Self::Config => "config",
            Self::Model(_) => "model",
            Self::Embed(_) => "embed",
            Self::Warm(_) => "warm",
            Self::Bench(_) => "bench",
            Self::Component(_) => "component",
            Self::Completions { .. } => "completions",
            Self::Version => "version",
        }
    }
}

/// Runs one command and returns its exit code. Inside a runtime.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let given: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&given) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, &given),
    };
    let form = match (arguments.json, arguments.jsonl) {
        (true, _) => Form::Json,
        (_, true) => Form::Lines,
        _ => Form::People,
    };
    let output = Output::new(form);
    let result = match session(&arguments, output.clone()) {
        Ok(session) => {
            let result = perform(arguments.verb, &session).await;
            // What was done has been said; whoever pressed Ctrl-C learns that it was not all.
            match result {
                Ok(_) if session.interrupt.requested() => Ok(Exit::Interrupted),
                result => result,
            }
        }
        Err(failure) => Err(failure),
    };
    match result {
        Ok(exit) => exit as u8,
        Err(failure) => {
            if let Some(error) = failure.error() {
                output.failure(error);
            }
            failure.code()
        }
    }
}

fn session(arguments: &Arguments, output: Output) -> Result<Session, Failure> {
    let config = Config::load(&arguments.flags, &|name| std::env::var_os(name))?;
    let filter = EnvFilter::try_new(&config.log.value).map_err(|error| {
        let message = format!("{:?} is no filter for messages: {error}", config.log.value);
        Failure::usage(message, format!("it comes from {}; try info, debug or cairn=debug", config.log.origin))
    })?;
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Only a second command in one process, as in a test, finds a subscriber already there; the first one serves both.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(coloured).try_init();
    Ok(Session { config, output, interrupt: Interrupt::listen(), verb: arguments.verb.name() })
}

async fn perform(verb: Verb, session: &Session) -> Result<Exit, Failure> {
    match verb {
        Verb::Demo => demo::run(session).await,
        Verb::Add(arguments) => add::run(&arguments, session).await,
        Verb::Search(arguments) => search::run(&arguments, session).await,
        Verb::WhyNot(arguments) => why_not::run(&arguments, session).await,
        Verb::Context(arguments) => context::run(&arguments, session).await,
        Verb::Get(arguments) => read::get(&arguments, session).await,
        Verb::List(arguments) => read::list(&arguments, session).await,
        Verb::Scopes(arguments) => read::scopes(&arguments, session).await,
        Verb::Update(arguments) => change::update(&arguments, session).await,
        Verb::Delete(arguments) => delete::delete(&arguments, session).await,
        Verb::Forget(arguments) => delete::forget(&arguments, session).await,
        Verb::History(arguments) => change::history(&arguments, session).await,
        Verb::Restore(arguments) => change::restore(&arguments, session).await,
        Verb::Import(arguments) => import::run(&arguments, session).await,
        Verb::Export(arguments) => export::run(&arguments, session).await,
        Verb::Stats => store::stats(session).await,
        Verb::Flush(arguments) => store::flush(&arguments, session).await,
        Verb::Doctor(arguments) => store::doctor(&arguments, session).await,
        Verb::Compact => backup::compact(session).await,
        Verb::Backup(arguments) => backup::backup(&arguments, session).await,
        Verb::Reembed => reembed::run(session).await,
        Verb::Config => settings::run(session),
        Verb::Model(verb) => model::run(&verb, session),
        Verb::Embed(arguments) => model::embed(&arguments, session).await,
        Verb::Warm(arguments) => warm::run(&arguments, session).await,
        Verb::Bench(arguments) => bench::run(&arguments, session).await,
        Verb::Component(arguments) => component::run(&arguments, session),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "cairn", &mut script);
            io::Write::write_all(&mut io::stdout(), &script)?;
            Ok(Exit::Done)
        }
        Verb::Version => component::version(session),
    }
}

/// Help and version go to stdout with 0; wrong usage to stderr with 2, and as an object to stdout if programs asked.
fn usage(error: &clap::Error, given: &[OsString]) -> u8 {
    // Whoever closed the pipe does not want the text.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    let programs = given
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json" || argument == "--jsonl");
    if programs {
        #[derive(serde::Serialize)]
        struct Report {
            error: ErrorObject,
        }
        let error =
            ErrorObject::new("invalid-argument", wrong_usage(error)).hint("`cairn VERB --help` shows what it takes");
        let _ = Output::object(&Report { error });
    }
    2
}

/// What is wrong, with all that the first paragraph lists.
fn wrong_usage(error: &clap::Error) -> String {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return "no verb is given".to_owned();
    }
    let text = error.render().to_string();
    let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let sentence = paragraph.join(" ");
    sentence.strip_prefix("error: ").unwrap_or(&sentence).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_contradict_nothing() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn parses(line: &str) -> Arguments {
        match Arguments::try_parse_from(line.split(' ')) {
            Ok(arguments) => arguments,
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[track_caller]
    fn refuses(line: &str) {
        assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
    }

    #[test]
    fn wrong_usage_names_what_is_missing() {
        let told = |line: &str| wrong_usage(&Arguments::try_parse_from(line.split(' ')).unwrap_err());
        let expected = "the following required arguments were not provided: <ID> <QUERY>";
        assert_eq!(told("cairn why-not --json"), expected);
        assert_eq!(told("cairn --json"), "no verb is given");
        assert_eq!(told("cairn list --limit x"), "invalid value 'x' for '--limit <N>': invalid digit found in string");
    }

    #[test]
    fn global_flags_stand_on_either_side_of_the_verb() {
        for line in ["cairn -u ana -r s3 --json list", "cairn list -u ana -r s3 --json"] {
            let arguments = parses(line);
            assert_eq!(arguments.flags.user.as_deref(), Some("ana"));
            assert_eq!(arguments.flags.run.as_deref(), Some("s3"));
            assert!(arguments.json);
        }
    }

    #[test]
    fn what_the_help_shows_is_taken() {
        for line in [
            "cairn add - --deferred",
            "cairn add text --at -1000 --metadata a:=1 --kind core --role tool",
            "cairn search --queries q.jsonl --limit 10 --jsonl",
            "cairn search words --pipeline core --min-similarity -0.5 --explain",
            "cairn search words --recency 0.1 --spread 0.3 --per-run 2 --now 2023-05-08",
            "cairn why-not id words --limit 3",
            "cairn context words --tokens 500 --around 2",
            "cairn context",
            "cairn get a b --key c --known-at 2023-05-08",
            "cairn list --include outdated,deleted --newest-first --after x",
            "cairn update id --expires none",
            "cairn update --key k text",
            "cairn delete --matching --filter {} --dry-run",
            "cairn history --key k",
            "cairn restore id --version 3",
            "cairn backup somewhere/else",
            "cairn model info",
            "cairn warm --from-store",
            "cairn warm -",
            "cairn completions zsh",
        ] {
            parses(line);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "cairn list --json --jsonl",
            "cairn search words --queries q.jsonl",
            "cairn search",
            "cairn delete id --matching",
            "cairn history",
            "cairn warm",
            "cairn warm file --from-store",
            "cairn restore id",
            "cairn add text --kind feeling",
            "cairn add text --at 10000-01-01",
            "cairn why-not id",
        ] {
            refuses(line);
        }
    }
}
