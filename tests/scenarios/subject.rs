//! The two subjects of a scenario, with one method a verb, and the comparison of what they answered. The records of the
//! contract are two families of types with the same names; the steps are compiled once with each.

/// Calls `$apply` with every verb: its parameters, its answer, and how the memory logic is called natively.
macro_rules! every_verb {
    ($apply:ident) => {
        $apply! {
            add(items: Vec<Content>, options: AddOptions) -> Added = add::add[&items, &options];
            get(targets: Vec<Target>, view: View) -> Vec<Option<Memory>> = get::get[&targets, &view];
            list(request: ListRequest) -> Page = list::list[&request];
            update(items: Vec<Edit>, options: WriteOptions) -> Vec<Result<Outcome, Error>> = update::update[&items, &options];
            delete(items: Vec<Deletion>, erasure: Erasure, options: WriteOptions) -> Vec<Result<Outcome, Error>>
                = delete::delete[&items, erasure, &options];
            update_matching(selection: Selection, patch: Patch, options: WriteOptions) -> Matched
                = update::update_matching[&selection, &patch, &options];
            delete_matching(selection: Selection, erasure: Erasure, options: WriteOptions) -> Matched
                = delete::delete_matching[&selection, erasure, &options];
            history(targets: Vec<Target>, limit: u32, before: Option<u32>) -> Vec<Vec<Version>>
                = history::history[&targets, limit, before];
            restore(items: Vec<Restoration>, options: WriteOptions) -> Vec<Result<Outcome, Error>>
                = update::restore[&items, &options];
            import_memories(items: Vec<Archive>, options: WriteOptions) -> Vec<Result<Outcome, Error>>
                = archive::import_memories[&items, &options];
            search(queries: Vec<Query>) -> Vec<Result<Found, Error>> = search::search[&queries];
            why_not(query: Query, targets: Vec<Target>) -> Vec<Verdict> = why::why_not[&query, &targets];
            context(requests: Vec<ContextRequest>) -> Vec<Result<Pack, Error>> = context::context[&requests];
            scopes(request: ScopesRequest) -> ScopesPage = scopes::scopes[&request];
            stats(scope: Scope) -> Statistics = stats::stats[&scope];
            flush(timeout_ms: u32) -> () = stats::flush[timeout_ms];
            maintain(chores: Chores, limit: u32) -> Maintained = maintain::maintain[chores, limit];
            embedded_texts(ids: Vec<String>) -> Vec<Option<Vec<String>>> = maintain::embedded_texts[&ids];
        }
    };
}

/// The logic natively, on fakes that split, count and embed as the host does.
pub(super) mod native {
    use cairn::embedder::{self, Encoder, HashEncoder};
    use guest::embedding::{Purpose, TokenCount};
    use guest::fakes::Fake;
    use guest::index::Token;
    use guest::memory::*;
    use guest::types::{Content, Error, Kind, Link, Memory, Relation, Role, Scope, State};

    pub(crate) struct Subject {
        host: Fake,
        pub(crate) transcript: Vec<String>,
    }

    impl Subject {
        pub(crate) fn new() -> Self {
            let mut host = Fake::new();
            host.analyze = analyze;
            host.embed = Some(embed);
            host.measure = measure;
            Subject { host, transcript: vec![] }
        }

        pub(crate) fn without_a_model() -> Self {
            let mut subject = Subject::new();
            subject.host.embed = None;
            subject
        }

        pub(crate) fn advance(&mut self, ms: i64) {
            self.host.advance(ms);
        }

        pub(crate) fn break_model(&mut self, broken: bool) {
            self.host.broken_model.set(broken);
        }
    }

    macro_rules! on_fakes {
        ($($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty = $room:ident::$function:ident[$($given:expr),*];)*) => {
            impl Subject {
                $(pub(crate) fn $verb(&mut self, $($argument: $type),*) -> Result<$answer, Error> {
                    let answer = guest::$room::$function(&self.host, $($given),*);
                    super::note(&mut self.transcript, stringify!($verb), answer)
                })*
            }
        };
    }
    every_verb!(on_fakes);

    fn analyze(text: &str) -> Vec<Token> {
        let tokens = cairn::index::analyzer::analyze(text).into_iter();
        tokens.map(|token| Token { word: token.word, term: token.term, stop_word: token.stop_word }).collect()
    }

    fn measure(text: &str) -> TokenCount {
        let count = super::encoder().tokens(text, embedder::Purpose::Document).expect("hashing cannot fail").count;
        TokenCount { tokens: count.tokens, unknown: count.unknown }
    }

    /// In the precision of the store.
    fn embed(text: &str, purpose: Purpose) -> Vec<f32> {
        let encoder: HashEncoder = super::encoder();
        let read = encoder.tokens(text, embedder::Purpose::Document).expect("hashing cannot fail");
        let vector = encoder.encode(&[&read.ids]).expect("the words do not cancel each other out").remove(0);
        match purpose {
            Purpose::Document => vector.into_iter().map(|x| half::f16::from_f32(x).to_f32()).collect(),
            Purpose::Query => vector,
        }
    }

    include!("words.rs");
    pub(crate) mod adding {
        use super::*;
        include!("adding.rs");
    }
    pub(crate) mod reading {
        use super::*;
        include!("reading.rs");
    }
    pub(crate) mod changing {
        use super::*;
        include!("changing.rs");
    }
    pub(crate) mod searching {
        use super::*;
        include!("searching.rs");
    }
    pub(crate) mod comparing {
        use super::*;
        include!("comparing.rs");
    }
    pub(crate) mod understanding {
        use super::*;
        include!("understanding.rs");
    }
}

/// The same through the component, over the real host in memory.
pub(super) mod through_component {
    use cairn::contract::memory::*;
    use cairn::contract::types::{Content, Error, Kind, Link, Memory, Relation, Role, Scope, State};
    use cairn::embedder::{EmbedError, Encoder, HashEncoder, Purpose, Tokens};
    use cairn::{Engine, ModelChoice, Options};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    pub(crate) struct Subject {
        runtime: tokio::runtime::Runtime,
        engine: Engine,
        hands: Arc<Hands>,
        model: Arc<Hashing>,
        pub(crate) transcript: Vec<String>,
    }

    /// The clock and chance of the fakes.
    #[derive(Default)]
    struct Hands(Mutex<guest::fakes::Clock>);

    impl cairn::system::System for Hands {
        fn now(&self) -> i64 {
            self.0.lock().unwrap().now()
        }
        fn reserve(&self, count: u32, _after: i64) -> cairn::contract::system::Stamp {
            let stamp = self.0.lock().unwrap().reserve(count);
            cairn::contract::system::Stamp { at: stamp.at, first: stamp.first }
        }
        fn random(&self, length: u32) -> Vec<u8> {
            self.0.lock().unwrap().random(length)
        }
    }

    /// Hashes words, unless it is out of order.
    struct Hashing {
        hash: HashEncoder,
        broken: AtomicBool,
    }

    impl Encoder for Hashing {
        fn tokens(&self, text: &str, purpose: Purpose) -> Result<Tokens, EmbedError> {
            self.hash.tokens(text, purpose)
        }
        fn prepare(&self) -> Result<(), EmbedError> {
            Ok(())
        }
        fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
            if self.broken.load(Ordering::SeqCst) {
                return Err(EmbedError::Run { reason: "it is out of order".to_owned() });
            }
            self.hash.encode(sequences)
        }
    }

    impl Subject {
        pub(crate) fn new() -> Self {
            Self::open(true)
        }

        pub(crate) fn without_a_model() -> Self {
            Self::open(false)
        }

        fn open(with_model: bool) -> Self {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let hands = Arc::new(Hands::default());
            let model = Arc::new(Hashing { hash: super::encoder(), broken: AtomicBool::new(false) });
            let given = ModelChoice::Given(super::encoder().info(), model.clone());
            let choice = if with_model { given } else { ModelChoice::None };
            let options = Options { model: choice, system: hands.clone(), ..Options::default() };
            let engine = runtime.block_on(async { options.in_memory() }).unwrap();
            Subject { runtime, engine, hands, model, transcript: vec![] }
        }

        pub(crate) fn advance(&mut self, ms: i64) {
            self.hands.0.lock().unwrap().advance(ms);
        }

        pub(crate) fn break_model(&mut self, broken: bool) {
            self.model.broken.store(broken, Ordering::SeqCst);
        }
    }

    macro_rules! on_engine {
        ($($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty = $room:ident::$function:ident[$($given:expr),*];)*) => {
            impl Subject {
                $(pub(crate) fn $verb(&mut self, $($argument: $type),*) -> Result<$answer, Error> {
                    let answer = self.runtime.block_on(self.engine.$verb($($argument),*));
                    super::note(&mut self.transcript, stringify!($verb), answer)
                })*
            }
        };
    }
    every_verb!(on_engine);

    include!("words.rs");
    pub(crate) mod adding {
        use super::*;
        include!("adding.rs");
    }
    pub(crate) mod reading {
        use super::*;
        include!("reading.rs");
    }
    pub(crate) mod changing {
        use super::*;
        include!("changing.rs");
    }
    pub(crate) mod searching {
        use super::*;
        include!("searching.rs");
    }
    pub(crate) mod comparing {
        use super::*;
        include!("comparing.rs");
    }
    pub(crate) mod understanding {
        use super::*;
        include!("understanding.rs");
    }
}

fn encoder() -> cairn::embedder::HashEncoder {
    cairn::embedder::HashEncoder::new(64, 256)
}

fn note<T: std::fmt::Debug>(transcript: &mut Vec<String>, verb: &str, answer: T) -> T {
    let said = format!("{answer:?}");
    // What lies on disk differs, and how long a snapshot was open.
    let sizes = [" bytes: ", " oldest_snapshot_ms: "];
    let said = if verb == "stats" { sizes.into_iter().fold(said, |said, name| without(&said, name)) } else { said };
    transcript.push(format!("{verb}: {said}"));
    answer
}

/// The text without the number behind a name.
fn without(text: &str, name: &str) -> String {
    match text.split_once(name) {
        Some((before, rest)) => format!("{before}{name}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => text.to_owned(),
    }
}

/// Equal answers, step by step; scores to three digits, because sums of floats depend on the processor.
#[track_caller]
pub(super) fn compare(fakes: &[String], component: &[String]) {
    for (step, (left, right)) in fakes.iter().zip(component).enumerate() {
        let (plain_left, plain_right) = (without_exponents(left), without_exponents(right));
        let (left_words, right_words) = (pieces(&plain_left), pieces(&plain_right));
        let same = left_words.len() == right_words.len()
            && left_words.iter().zip(&right_words).all(|(left, right)| left == right || near(left, right));
        assert!(same, "step {step} differs:\non fakes     {left}\nin component {right}");
    }
    assert_eq!(fakes.len(), component.len(), "one of them took more steps");
}

/// Numbers that are so small that they are written with an exponent are 0.
fn without_exponents(text: &str) -> String {
    let is_number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_number(c) != is_number(first)).unwrap_or(rest.len());
        let is_small = rest[..end].contains("e-") && rest[..end].parse::<f64>().is_ok_and(|number| number.abs() < 1e-3);
        out.push_str(if is_small { "0.0" } else { &rest[..end] });
        rest = &rest[end..];
    }
    out
}

/// Numbers and what stands between them.
fn pieces(text: &str) -> Vec<&str> {
    let mut out = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| is_number(c) != is_number(first)).unwrap_or(rest.len());
        out.push(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

fn near(left: &str, right: &str) -> bool {
    let number = |text: &str| text.contains('.').then(|| text.parse::<f64>().ok()).flatten();
    matches!((number(left), number(right)), (Some(left), Some(right)) if (left - right).abs() < 1e-3)
}

#[test]
#[should_panic(expected = "step 1 differs")]
fn another_answer_is_a_difference() {
    let said = |texts: [&str; 2]| texts.map(str::to_owned);
    compare(&said(["score: 0.50001, n: 1", "version: 1"]), &said(["score: 0.50002, n: 1", "version: 2"]));
}
