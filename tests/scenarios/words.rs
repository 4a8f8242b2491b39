// The words of the steps: requests with one thing set, answers as short lines.

/// 2024-01-01, when the clock of the scenarios starts.
const START: i64 = 1_704_067_200_000;
const DAY: i64 = 86_400_000;

fn scope(user: &str) -> Scope {
    Scope { user: Some(user.to_owned()), agent: None, app: None, run: None }
}

/// What belongs to the whole tenant; on a read, everything.
fn everywhere() -> Scope {
    Scope { user: None, agent: None, app: None, run: None }
}

fn of(user: &str, text: &str) -> Content {
    Content {
        text: text.to_owned(),
        scope: scope(user),
        key: None,
        actor: None,
        role: None,
        kind: Kind::Fact,
        metadata: String::new(),
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: vec![],
    }
}

fn fact(text: &str) -> Content {
    of("ana", text)
}

fn keyed(key: &str, text: &str) -> Content {
    Content { key: Some(key.to_owned()), ..fact(text) }
}

fn link(relation: Relation, target: &str) -> Link {
    Link { relation, target: target.to_owned() }
}

fn plain() -> WriteOptions {
    WriteOptions { promise: Promise::Indexed, idempotency_key: None }
}

fn once(key: &str) -> WriteOptions {
    WriteOptions { idempotency_key: Some(key.to_owned()), ..plain() }
}

fn exact() -> AddOptions {
    AddOptions { write: plain(), comparison: Comparison::Exact, extraction: Extraction::None }
}

fn id(id: &str) -> Target {
    Target::Id(id.to_owned())
}

fn key(key: &str) -> Target {
    Target::Key(ScopedKey { scope: scope("ana"), key: key.to_owned() })
}

fn now() -> View {
    View { now: None, valid_at: None, known_at: None, including: Including::empty() }
}

fn also(including: Including) -> View {
    View { including, ..now() }
}

fn all() -> View {
    also(Including::OUTDATED | Including::EXPIRED | Including::DELETED)
}

fn request(scope: Scope) -> ListRequest {
    ListRequest { scope, filter: None, view: now(), order: Order::OldestFirst, limit: 100, after: None, count: false }
}

fn unpatched() -> Patch {
    Patch {
        text: None,
        metadata: None,
        kind: None,
        at: None,
        valid_from: None,
        valid_to: None,
        expires_at: None,
        links: None,
    }
}

fn edit(target: Target, patch: Patch) -> Edit {
    Edit { target, patch, expect_version: None }
}

fn deletion(target: Target) -> Deletion {
    Deletion { target, expect_version: None }
}

fn selection(filter: &str) -> Selection {
    Selection { scope: scope("ana"), filter: Some(filter.to_owned()), limit: 100, dry_run: false }
}

fn query(text: &str) -> Query {
    Query {
        text: text.to_owned(),
        scope: scope("ana"),
        filter: None,
        view: now(),
        limit: 10,
        minimum: None,
        diversity: None,
        rerank: false,
        tuning: None,
        explain: false,
    }
}

fn untuned() -> Tuning {
    Tuning {
        pipeline: None,
        dense: None,
        k1: None,
        b: None,
        actor: None,
        date: None,
        neighbours: None,
        run: None,
        answer: None,
        late: None,
        question: None,
        recency: None,
        mask_share: None,
        mask_floor: None,
        candidates: None,
    }
}

// ---- what was answered

fn refused(error: &Error) -> String {
    match error {
        Error::InvalidArgument(refusal) => format!("invalid {}: {}", refusal.place, refusal.message),
        Error::LimitExceeded(refusal) => format!("limit {}: {}", refusal.place, refusal.message),
        Error::NotFound(what) => format!("not found: {what}"),
        Error::Conflict(what) => format!("conflict: {what}"),
        Error::Unavailable(what) => format!("unavailable: {what}"),
        other => format!("{other:?}"),
    }
}

fn did(effect: &Effect) -> String {
    let name = |text: String| text.rsplit("::").next().unwrap_or_default().to_owned();
    match effect.reason {
        Reason::Requested => format!("{} {}", name(format!("{:?}", effect.change)), effect.version),
        reason => {
            format!("{} {} {}", name(format!("{:?}", effect.change)), effect.version, name(format!("{reason:?}")))
        }
    }
}

/// `Added 1`, `Unchanged 1 SameText`, `Added 1, Superseded 2`, or why not; one line an item.
fn told(outcomes: &[Result<Outcome, Error>]) -> Vec<String> {
    let one = |outcome: &Result<Outcome, Error>| match outcome {
        Ok(outcome) => std::iter::once(&outcome.item).chain(&outcome.others).map(did).collect::<Vec<_>>().join(", "),
        Err(error) => refused(error),
    };
    outcomes.iter().map(one).collect()
}

fn ids(outcomes: &[Result<Outcome, Error>]) -> Vec<String> {
    outcomes.iter().map(|outcome| outcome.as_ref().unwrap().item.id.clone()).collect()
}

/// Adds what is all accepted; the ids.
#[track_caller]
fn added(subject: &mut Subject, items: Vec<Content>) -> Vec<String> {
    ids(&subject.add(items, exact()).unwrap().items)
}

#[track_caller]
fn one(subject: &mut Subject, item: Content) -> String {
    added(subject, vec![item]).remove(0)
}

fn line(memory: &Memory) -> String {
    let state = match memory.state {
        State::Live => "live",
        State::Outdated => "outdated",
        State::Expired => "expired",
        State::Deleted => "deleted",
    };
    format!("{} ({state} {})", memory.content.text, memory.version)
}

#[track_caller]
fn seen(subject: &mut Subject, target: Target, view: View) -> Option<String> {
    subject.get(vec![target], view).unwrap().remove(0).as_ref().map(line)
}

#[track_caller]
fn listed(subject: &mut Subject, request: ListRequest) -> Vec<String> {
    subject.list(request).unwrap().memories.iter().map(line).collect()
}

#[track_caller]
fn filtered(subject: &mut Subject, filter: &str) -> Vec<String> {
    let request = ListRequest { filter: Some(filter.to_owned()), ..request(everywhere()) };
    subject.list(request).unwrap().memories.into_iter().map(|memory| memory.content.text).collect()
}

#[track_caller]
fn found(subject: &mut Subject, query: Query) -> Found {
    subject.search(vec![query]).unwrap().remove(0).unwrap()
}

#[track_caller]
fn hits(subject: &mut Subject, query: Query) -> Vec<String> {
    found(subject, query).hits.into_iter().map(|hit| hit.memory.content.text).collect()
}

/// `Updated 2: text`, newest first.
#[track_caller]
fn versions(subject: &mut Subject, target: Target) -> Vec<String> {
    let history = subject.history(vec![target], 100, None).unwrap().remove(0);
    let change = |version: &Version| format!("{:?}", version.change).rsplit("::").next().unwrap_or_default().to_owned();
    history.iter().map(|v| format!("{} {}: {}", change(v), v.memory.version, v.memory.content.text)).collect()
}
