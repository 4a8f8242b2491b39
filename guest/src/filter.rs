//! Filters: the one evaluator, and what an index can use of a filter. The grammar and its truth table stand in
//! `wit/memory.wit`.
//!
//! A filter is either expressed *exactly* by the index's conditions, or not at all: then the caller lists what the
//! evaluator admits. Between the two, answers could go missing.
use crate::Result;
use crate::calendar;
use crate::check::{invalid, nearest, too_much};
use crate::index::{Condition, Test, Value};
use crate::json::{self, Bounds, Fault, Json};
use crate::record::Record;
use crate::text::fold;
use crate::types::{Content, Kind, Role};

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Leaf(Field, Operator),
}

/// What a filter can ask about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Reserved(Reserved),
    /// The path into the metadata, from the outside.
    Metadata(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    Id,
    Key,
    User,
    Agent,
    App,
    Run,
    Actor,
    Role,
    Kind,
    Text,
    CreatedAt,
    UpdatedAt,
    At,
    ValidFrom,
    ValidTo,
    ExpiresAt,
    Version,
    Links,
}

const RESERVED: [(&str, Reserved); 18] = [
    ("id", Reserved::Id),
    ("key", Reserved::Key),
    ("user", Reserved::User),
    ("agent", Reserved::Agent),
    ("app", Reserved::App),
    ("run", Reserved::Run),
    ("actor", Reserved::Actor),
    ("role", Reserved::Role),
    ("kind", Reserved::Kind),
    ("text", Reserved::Text),
    ("created_at", Reserved::CreatedAt),
    ("updated_at", Reserved::UpdatedAt),
    ("at", Reserved::At),
    ("valid_from", Reserved::ValidFrom),
    ("valid_to", Reserved::ValidTo),
    ("expires_at", Reserved::ExpiresAt),
    ("version", Reserved::Version),
    ("links", Reserved::Links),
];

impl Reserved {
    fn is_time(self) -> bool {
        use Reserved::{At, CreatedAt, ExpiresAt, UpdatedAt, ValidFrom, ValidTo};
        matches!(self, CreatedAt | UpdatedAt | At | ValidFrom | ValidTo | ExpiresAt)
    }

    fn name(self) -> &'static str {
        RESERVED.iter().find(|(_, r)| *r == self).map_or("", |(name, _)| name)
    }
}

/// What is asked of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operator {
    Equal(Scalar),
    OneOf(Vec<Scalar>),
    Above(Scalar),
    AtLeast(Scalar),
    Below(Scalar),
    AtMost(Scalar),
    Contains(Scalar),
    /// Folded.
    ContainsFolded(String),
    Exists,
}

const OPERATORS: [&str; 11] = ["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "contains", "icontains", "exists"];

/// A value that can be compared. Numbers compare as 64-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
}

/// What a field of a memory holds.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    Missing,
    One(Scalar),
    /// The elements that can be compared.
    Many(Vec<Scalar>),
    /// An object: there, but nothing to compare.
    Object,
}

const FILTER: usize = 16 << 10;
const LEVELS: usize = 16;
const LIST: usize = 1_000;
/// Conditions that one probe takes.
const CONDITIONS: usize = 1_024;

impl Filter {
    /// Reads a filter; refusals name their place below `place`.
    pub(crate) fn parse(text: &str, place: &str) -> Result<Filter> {
        if text.len() > FILTER {
            return Err(too_much(place, format!("the filter has {} bytes, at most {FILTER} are taken", text.len())));
        }
        match json::parse(text, Bounds { levels: LEVELS, values: usize::MAX }) {
            Ok(json) => expression(&json, &format!("{place}#")),
            Err(Fault::Malformed(what)) => Err(invalid(place, format!("the filter {what}"))),
            Err(Fault::TooLarge(what)) => Err(too_much(place, format!("the filter {what}"))),
        }
    }

    /// The place of the part that keeps a memory out, as refusals write it; none: it passes. `text` was parsed before.
    pub(crate) fn blame(text: &str, place: &str, record: &Record) -> Result<Option<String>> {
        match json::parse(text, Bounds { levels: LEVELS, values: usize::MAX }) {
            Ok(json) => blame(&json, &format!("{place}#"), record),
            Err(Fault::Malformed(what) | Fault::TooLarge(what)) => Err(invalid(place, format!("the filter {what}"))),
        }
    }

    /// Whether the filter lets everything through by its form.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(Filter::is_empty),
            Filter::Any(parts) => parts.iter().any(Filter::is_empty),
            Filter::Not(_) | Filter::Leaf(..) => false,
        }
    }

    /// Whether a memory passes.
    pub(crate) fn admits(&self, record: &Record) -> bool {
        let metadata = std::cell::OnceCell::new();
        self.holds(record, &metadata)
    }

    fn holds(&self, record: &Record, metadata: &std::cell::OnceCell<Json>) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.holds(record, metadata)),
            Filter::Any(parts) => parts.iter().any(|part| part.holds(record, metadata)),
            Filter::Not(part) => !part.holds(record, metadata),
            Filter::Leaf(field, operator) => match field {
                Field::Reserved(name) => operator.holds(&reserved(record, *name)),
                Field::Metadata(path) => {
                    let object = metadata.get_or_init(|| parsed_metadata(&record.content));
                    operator.holds(&at_path(object, path))
                }
            },
        }
    }

    /// The same as conditions of the index: all of the outer list, one of each inner list. None where they could not say
    /// it exactly.
    pub(crate) fn conditions(&self) -> Option<Vec<Vec<Condition>>> {
        let clauses = self.normal_form(false)?;
        (clauses.iter().map(Vec::len).sum::<usize>() <= CONDITIONS).then_some(clauses)
    }

    /// Conjunctive normal form, negated or not.
    fn normal_form(&self, negated: bool) -> Option<Vec<Vec<Condition>>> {
        match (self, negated) {
            (Filter::Not(part), _) => part.normal_form(!negated),
            (Filter::All(parts), false) | (Filter::Any(parts), true) => {
                let clauses: Option<Vec<_>> = parts.iter().map(|part| part.normal_form(negated)).collect();
                Some(clauses?.concat())
            }
            (Filter::Any(parts), false) | (Filter::All(parts), true) => {
                let mut out = vec![vec![]];
                for part in parts {
                    let clauses = part.normal_form(negated)?;
                    if out.len() * clauses.len() > CONDITIONS {
                        return None;
                    }
                    out = out
                        .iter()
                        .flat_map(|left| clauses.iter().map(move |right| [&left[..], right].concat()))
                        .collect();
                }
                Some(out)
            }
            (Filter::Leaf(field, operator), _) => leaf(field, operator, negated),
        }
    }
}

fn leaf(field: &Field, operator: &Operator, negated: bool) -> Option<Vec<Vec<Condition>>> {
    if matches!(field, Field::Reserved(Reserved::Id | Reserved::Text)) {
        return None;
    }
    let name = attribute_name(field);
    let one = |test: Test| Condition { field: name.clone(), test, negated: false };
    let mut exists = vec![one(Test::Present)];
    if matches!(field, Field::Metadata(_)) {
        exists.push(Condition { field: container_name(&name), test: Test::Present, negated: false });
    }
    // A disjunction, or its negation.
    let (any, negative): (Vec<Condition>, bool) = match operator {
        Operator::Exists => (exists, false),
        Operator::Equal(Scalar::Null) => (exists, true),
        Operator::Equal(value) => (vec![one(Test::AnyOf(vec![value.value()?]))], false),
        Operator::OneOf(values) => {
            let listed: Vec<Value> = values.iter().filter_map(Scalar::value).collect();
            if listed.len() < values.len() {
                return None;
            }
            (vec![one(Test::AnyOf(listed))], false)
        }
        Operator::Above(value) => (vec![one(Test::Above(value.value()?))], false),
        Operator::AtLeast(value) => (vec![one(Test::AtLeast(value.value()?))], false),
        Operator::Below(value) => (vec![one(Test::Below(value.value()?))], false),
        Operator::AtMost(value) => (vec![one(Test::AtMost(value.value()?))], false),
        Operator::Contains(Scalar::Text(part)) => (vec![one(Test::Contains(part.clone()))], false),
        // Whether the field is a list cannot be asked of the index.
        Operator::Contains(_) => return None,
        Operator::ContainsFolded(part) => (vec![one(Test::Icontains(part.clone()))], false),
    };
    Some(if negative == negated {
        vec![any]
    } else {
        any.into_iter().map(|condition| vec![Condition { negated: true, ..condition }]).collect()
    })
}

impl Operator {
    fn holds(&self, field: &Values) -> bool {
        let (elements, is_list) = match field {
            Values::One(value) => (std::slice::from_ref(value), false),
            Values::Many(values) => (&values[..], true),
            Values::Missing | Values::Object => (&[][..], false),
        };
        let missing = *field == Values::Missing;
        let any = |test: &dyn Fn(&Scalar) -> bool| elements.iter().any(test);
        match self {
            Operator::Exists => !missing,
            Operator::Equal(Scalar::Null) => missing,
            Operator::Equal(value) => any(&|element| element == value),
            Operator::OneOf(values) => {
                missing && values.contains(&Scalar::Null) || any(&|element| values.contains(element))
            }
            Operator::Above(value) => any(&|element| element.order(value) == Some(std::cmp::Ordering::Greater)),
            Operator::AtLeast(value) => any(&|element| element.order(value).is_some_and(std::cmp::Ordering::is_ge)),
            Operator::Below(value) => any(&|element| element.order(value) == Some(std::cmp::Ordering::Less)),
            Operator::AtMost(value) => any(&|element| element.order(value).is_some_and(std::cmp::Ordering::is_le)),
            Operator::Contains(Scalar::Text(part)) => {
                any(&|element| matches!(element, Scalar::Text(text) if text.contains(part)))
            }
            Operator::Contains(value) => is_list && any(&|element| element == value),
            Operator::ContainsFolded(part) => {
                any(&|element| matches!(element, Scalar::Text(text) if fold(text).contains(part)))
            }
        }
    }
}

impl Scalar {
    /// Null where there is nothing to compare.
    fn of(json: &Json) -> Option<Scalar> {
        match json {
            Json::Null => Some(Scalar::Null),
            Json::Boolean(value) => Some(Scalar::Boolean(*value)),
            Json::Number(spelling) => spelling.parse().ok().map(Scalar::Number),
            Json::Text(text) => Some(Scalar::Text(text.clone())),
            Json::List(_) | Json::Object(_) => None,
        }
    }

    fn value(&self) -> Option<Value> {
        match self {
            Scalar::Null => None,
            Scalar::Boolean(value) => Some(Value::Boolean(*value)),
            Scalar::Number(number) => Some(Value::Number(*number)),
            Scalar::Text(text) => Some(Value::Text(text.clone())),
        }
    }

    fn order(&self, other: &Scalar) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Scalar::Number(a), Scalar::Number(b)) => a.partial_cmp(b),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

// ---- reading

fn expression(json: &Json, place: &str) -> Result<Filter> {
    let Json::Object(members) = json else {
        return Err(invalid(place, "a filter is an object, as in {\"user\": \"ana\"}"));
    };
    let mut parts = vec![];
    for (name, value) in members {
        let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
        parts.push(match name.as_str() {
            "AND" => Filter::All(list(value, &place)?),
            "OR" => Filter::Any(list(value, &place)?),
            "NOT" => Filter::Not(Box::new(Filter::Any(list(value, &place)?))),
            _ => on_field(&field(name, &place)?, value, &place)?,
        });
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
}

fn blame(json: &Json, place: &str, record: &Record) -> Result<Option<String>> {
    let Json::Object(members) = json else { return Ok(None) };
    for (name, value) in members {
        if expression(&Json::Object(vec![(name.clone(), value.clone())]), place)?.admits(record) {
            continue;
        }
        let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
        if let (true, Json::List(parts)) = (name == "AND", value) {
            for (n, part) in parts.iter().enumerate() {
                if let Some(found) = blame(part, &format!("{place}/{n}"), record)? {
                    return Ok(Some(found));
                }
            }
        }
        return Ok(Some(place));
    }
    Ok(None)
}

fn list(json: &Json, place: &str) -> Result<Vec<Filter>> {
    match json {
        Json::List(items) if !items.is_empty() => {
            items.iter().enumerate().map(|(n, item)| expression(item, &format!("{place}/{n}"))).collect()
        }
        _ => Err(invalid(place, "AND, OR and NOT take a list of filters that is not empty")),
    }
}

fn field(name: &str, place: &str) -> Result<Field> {
    if let Some((_, reserved)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Ok(Field::Reserved(*reserved));
    }
    if let Some(path) = name.strip_prefix("metadata.") {
        let mut steps = vec![String::new()];
        let mut escaped = false;
        for c in path.chars() {
            let last = steps.last_mut().expect("never empty");
            match c {
                '.' if escaped => {
                    last.pop();
                    last.push('.');
                }
                '.' => steps.push(String::new()),
                c => last.push(c),
            }
            escaped = c == '\\';
        }
        if steps.iter().all(|step| !step.is_empty()) {
            return Ok(Field::Metadata(steps));
        }
        return Err(invalid(place, "a level of the metadata has no name"));
    }
    let hint = match nearest(name, RESERVED.iter().map(|(name, _)| *name).chain(["AND", "OR", "NOT"])) {
        Some(near) => format!("; did you mean {near:?} or \"metadata.{name}\"?"),
        None => format!("; did you mean \"metadata.{name}\"?"),
    };
    Err(invalid(place, format!("there is no field {name:?}{hint}")))
}

fn on_field(field: &Field, json: &Json, place: &str) -> Result<Filter> {
    let leaf = |operator| Filter::Leaf(field.clone(), operator);
    match json {
        Json::Text(any) if any == "*" => Ok(leaf(Operator::Exists)),
        Json::Object(members) if !members.is_empty() => {
            let mut parts = vec![];
            for (name, value) in members {
                parts.push(operation(
                    field,
                    name,
                    value,
                    &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")),
                )?);
            }
            Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
        }
        Json::Object(_) => Err(invalid(place, "an operator is missing, as in {\"gte\": 3}")),
        Json::List(_) => Err(invalid(place, "a list needs an operator, as in {\"in\": [1, 2]}")),
        scalar => Ok(leaf(Operator::Equal(comparable(field, scalar, place)?))),
    }
}

fn operation(field: &Field, name: &str, json: &Json, place: &str) -> Result<Filter> {
    let leaf = |operator| Filter::Leaf(field.clone(), operator);
    let not = |filter| Filter::Not(Box::new(filter));
    let value = || comparable(field, json, place);
    let ordered = || match value()? {
        value @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(value),
        _ => Err(invalid(place, format!("{name} takes a number, a text or a time"))),
    };
    Ok(match name {
        "eq" => leaf(Operator::Equal(value()?)),
        "ne" => not(leaf(Operator::Equal(value()?))),
        "gt" => leaf(Operator::Above(ordered()?)),
        "gte" => leaf(Operator::AtLeast(ordered()?)),
        "lt" => leaf(Operator::Below(ordered()?)),
        "lte" => leaf(Operator::AtMost(ordered()?)),
        "in" => leaf(Operator::OneOf(values(field, json, place)?)),
        "nin" => not(leaf(Operator::OneOf(values(field, json, place)?))),
        "contains" => match value()? {
            Scalar::Null => return Err(invalid(place, "contains takes a value")),
            value => leaf(Operator::Contains(value)),
        },
        "icontains" => match json {
            Json::Text(part) => leaf(Operator::ContainsFolded(fold(part))),
            _ => return Err(invalid(place, "icontains takes a text")),
        },
        "exists" => match json {
            Json::Boolean(true) => leaf(Operator::Exists),
            Json::Boolean(false) => not(leaf(Operator::Exists)),
            _ => return Err(invalid(place, "exists takes true or false")),
        },
        _ => {
            let hint = nearest(name, OPERATORS).map_or_else(
                || format!("; the operators are {}", OPERATORS.join(" ")),
                |near| format!("; did you mean {near:?}?"),
            );
            return Err(invalid(place, format!("there is no operator {name:?}{hint}")));
        }
    })
}

fn values(field: &Field, json: &Json, place: &str) -> Result<Vec<Scalar>> {
    let Json::List(items) = json else {
        return Err(invalid(place, "in and nin take a list"));
    };
    if items.len() > LIST {
        return Err(too_much(place, format!("the list has {} values, at most {LIST} are taken", items.len())));
    }
    items.iter().enumerate().map(|(n, item)| comparable(field, item, &format!("{place}/{n}"))).collect()
}

/// The value as the field holds it: on a time, RFC 3339 texts become milliseconds.
fn comparable(field: &Field, json: &Json, place: &str) -> Result<Scalar> {
    let value = Scalar::of(json).ok_or_else(|| invalid(place, "a text, a number, true, false or null is needed"))?;
    match (field, value) {
        (Field::Reserved(name), Scalar::Text(text)) if name.is_time() => {
            let at = calendar::parse(&text)
                .ok_or_else(|| invalid(place, format!("{text:?} is no time; write it as in 2023-05-08T13:56:00Z")))?;
            Ok(Scalar::Number(number(at)))
        }
        (_, value) => Ok(value),
    }
}

// ---- what a memory holds

fn reserved(record: &Record, name: Reserved) -> Values {
    let content = &record.content;
    let text = |value: Option<&str>| value.map_or(Values::Missing, |value| Values::One(Scalar::Text(value.to_owned())));
    let time = |at: Option<i64>| at.map_or(Values::Missing, |at| Values::One(Scalar::Number(number(at))));
    match name {
        Reserved::Id => text(Some(&record.id.text())),
        Reserved::Key => text(content.key.as_deref()),
        Reserved::User => text(content.scope.user.as_deref()),
        Reserved::Agent => text(content.scope.agent.as_deref()),
        Reserved::App => text(content.scope.app.as_deref()),
        Reserved::Run => text(content.scope.run.as_deref()),
        Reserved::Actor => text(content.actor.as_deref()),
        Reserved::Role => text(content.role.map(role_name)),
        Reserved::Kind => text(Some(kind_name(content.kind))),
        Reserved::Text => text(Some(&content.text)),
        Reserved::CreatedAt => time(Some(record.created_at)),
        Reserved::UpdatedAt => time(Some(record.updated_at)),
        Reserved::At => time(content.at),
        Reserved::ValidFrom => time(content.valid_from),
        Reserved::ValidTo => time(content.valid_to),
        Reserved::ExpiresAt => time(content.expires_at),
        Reserved::Version => Values::One(Scalar::Number(f64::from(record.version))),
        Reserved::Links if content.links.is_empty() => Values::Missing,
        Reserved::Links => Values::Many(content.links.iter().map(|link| Scalar::Text(link.target.clone())).collect()),
    }
}

fn parsed_metadata(content: &Content) -> Json {
    // What was stored was checked; anything else has no fields.
    json::parse(&content.metadata, Bounds { levels: 64, values: usize::MAX }).unwrap_or(Json::Null)
}

fn at_path(metadata: &Json, path: &[String]) -> Values {
    let found = path.iter().try_fold(metadata, |json, step| json.get(step));
    found.map_or(Values::Missing, Values::of)
}

impl Values {
    fn of(json: &Json) -> Values {
        match json {
            Json::Null => Values::Missing,
            Json::Object(_) => Values::Object,
            Json::List(items) => {
                Values::Many(items.iter().filter_map(Scalar::of).filter(|value| *value != Scalar::Null).collect())
            }
            scalar => Scalar::of(scalar).map_or(Values::Missing, Values::One),
        }
    }
}

/// Everything that conditions can ask about a memory, as attributes of its entry: exactly what the evaluator sees.
pub(crate) fn attributes(record: &Record) -> Vec<(String, Value)> {
    let mut out = vec![];
    for (name, field) in RESERVED {
        if matches!(field, Reserved::Id | Reserved::Text) {
            continue;
        }
        push(&mut out, name, &reserved(record, field));
    }
    if !matches!(record.content.metadata.as_str(), "" | "{}")
        && let Json::Object(members) = parsed_metadata(&record.content)
    {
        let mut path = String::from("metadata");
        for (name, value) in &members {
            push_metadata(&mut out, &mut path, name, value);
        }
    }
    out
}

fn push_metadata(out: &mut Vec<(String, Value)>, path: &mut String, name: &str, json: &Json) {
    let outer = path.len();
    path.push('.');
    path.push_str(&name.replace('.', "\\."));
    let values = Values::of(json);
    push(out, path, &values);
    if matches!(values, Values::Many(_) | Values::Object) {
        out.push((container_name(path), Value::Boolean(true)));
    }
    if let Json::Object(members) = json {
        for (name, value) in members {
            push_metadata(out, path, name, value);
        }
    }
    path.truncate(outer);
}

fn push(out: &mut Vec<(String, Value)>, name: &str, values: &Values) {
    match values {
        Values::One(value) => out.extend(value.value().map(|value| (name.to_owned(), value))),
        Values::Many(elements) => {
            out.extend(elements.iter().filter_map(Scalar::value).map(|value| (name.to_owned(), value)));
        }
        Values::Missing | Values::Object => {}
    }
}

fn attribute_name(field: &Field) -> String {
    match field {
        Field::Reserved(reserved) => reserved.name().to_owned(),
        Field::Metadata(path) => {
            let mut out = String::from("metadata");
            for step in path {
                out.push('.');
                out.push_str(&step.replace('.', "\\."));
            }
            out
        }
    }
}

/// Marks lists and objects, which exist even where they have no value to compare.
fn container_name(name: &str) -> String {
    format!("#{name}")
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
        Role::Tool => "tool",
    }
}

pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Fact => "fact",
        Kind::Episode => "episode",
        Kind::Procedure => "procedure",
        Kind::Core => "core",
    }
}

/// A time as conditions and filters compare it; exact for all years.
#[expect(clippy::cast_precision_loss, reason = "timestamps stay below 2^53")]
pub(crate) fn number(at: i64) -> f64 {
    at as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes;
    use crate::types::Error;

    fn record(metadata: &str) -> Record {
        let mut content = fakes::content("Ana eats Tofu", "ana");
        content.metadata = metadata.to_owned();
        content.at = Some(1_683_554_160_000);
        fakes::record(content)
    }

    /// The filter decides so, and the index's conditions, where there are any, decide the same.
    #[track_caller]
    fn check(metadata: &str, filter: &str, expected: bool) {
        let record = record(metadata);
        let parsed = Filter::parse(filter, "filter").unwrap();
        assert_eq!(parsed.admits(&record), expected, "{filter} on {metadata}");
        if let Some(conditions) = parsed.conditions() {
            let attributes = attributes(&record);
            assert_eq!(fakes::passes(&conditions, &attributes), expected, "conditions of {filter} on {metadata}");
        }
    }

    /// The truth table of `wit/memory.wit`: for each operator a field that is missing, null, fitting, not fitting, a list
    /// with and without a fitting element, empty, an object, of another type.
    #[test]
    fn truth_table() {
        let fields = [
            "{}",
            r#"{"a":null}"#,
            r#"{"a":5}"#,
            r#"{"a":4}"#,
            r#"{"a":[1,5]}"#,
            r#"{"a":[1,4]}"#,
            r#"{"a":[]}"#,
            r#"{"a":{"b":5}}"#,
            r#"{"a":"5"}"#,
        ];
        for (operator, expected) in [
            (r"5", "001010000"),
            (r#"{"eq":5}"#, "001010000"),
            (r#"{"ne":5}"#, "110101111"),
            (r#"{"eq":null}"#, "110000000"),
            (r#"{"ne":null}"#, "001111111"),
            (r#"{"gt":4}"#, "001010000"),
            (r#"{"gte":5}"#, "001010000"),
            (r#"{"lt":5}"#, "000111000"),
            (r#"{"lte":4}"#, "000111000"),
            (r#"{"in":[5,7]}"#, "001010000"),
            (r#"{"nin":[5,7]}"#, "110101111"),
            (r#"{"in":[null,5]}"#, "111010000"),
            (r#"{"nin":[null,5]}"#, "000101111"),
            (r#"{"in":[]}"#, "000000000"),
            (r#"{"contains":5}"#, "000010000"),
            (r#"{"contains":"5"}"#, "000000001"),
            (r#"{"icontains":"5"}"#, "000000001"),
            (r#"{"exists":true}"#, "001111111"),
            (r#"{"exists":false}"#, "110000000"),
            (r#""*""#, "001111111"),
            (r#"{"gt":4,"lt":6}"#, "001010000"),
        ] {
            for (metadata, expected) in fields.iter().zip(expected.chars()) {
                check(metadata, &format!(r#"{{"metadata.a":{operator}}}"#), expected == '1');
            }
        }
    }

    #[test]
    fn texts_lists_and_paths() {
        check(r#"{"t":["Vegan","Tofu"]}"#, r#"{"metadata.t":{"contains":"ofu"}}"#, true);
        check(r#"{"t":["Vegan","Tofu"]}"#, r#"{"metadata.t":{"contains":"tofu"}}"#, false);
        check(r#"{"t":["Vegan","Tofu"]}"#, r#"{"metadata.t":{"icontains":"TOFU"}}"#, true);
        check(r#"{"t":"b"}"#, r#"{"metadata.t":{"gt":"a"}}"#, true);
        check(r#"{"a":{"b":{"c":1}}}"#, r#"{"metadata.a.b.c":1.0}"#, true);
        check(r#"{"a.b":1}"#, r#"{"metadata.a\\.b":1}"#, true);
        check(r#"{"a.b":1}"#, r#"{"metadata.a.b":1}"#, false);
        check(r#"{"a":true}"#, r#"{"metadata.a":true}"#, true);
        check(r#"{"a":[[5]]}"#, r#"{"metadata.a":5}"#, false);
        check(r#"{"a":1e400}"#, r#"{"metadata.a":{"gt":1}}"#, true);
    }

    #[test]
    fn reserved_names_and_times() {
        for (filter, expected) in [
            (r#"{"user":"ana"}"#, true),
            (r#"{"agent":"*"}"#, false),
            (r#"{"kind":{"in":["fact","core"]}}"#, true),
            (r#"{"text":{"icontains":"tofu"}}"#, true),
            (r#"{"at":{"gte":"2023-05-08","lt":"2023-05-09"}}"#, true),
            (r#"{"at":1683554160000}"#, true),
            (r#"{"expires_at":null}"#, true),
            (r#"{"version":1}"#, true),
            (r#"{"links":"*"}"#, false),
            ("{}", true),
        ] {
            check("{}", filter, expected);
        }
    }

    #[test]
    fn combinations() {
        for (filter, expected) in [
            (r#"{"AND":[{"user":"ana"},{"kind":"fact"}]}"#, true),
            (r#"{"OR":[{"user":"bob"},{"kind":"fact"}]}"#, true),
            (r#"{"NOT":[{"user":"bob"},{"kind":"core"}]}"#, true),
            (r#"{"NOT":[{"user":"bob"},{"kind":"fact"}]}"#, false),
            (r#"{"user":"ana","kind":"core"}"#, false),
            (
                r#"{"OR":[{"AND":[{"user":"bob"},{"kind":"fact"}]},{"NOT":[{"agent":"*"},{"NOT":[{"user":"ana"}]}]}]}"#,
                true,
            ),
        ] {
            check("{}", filter, expected);
        }
        let wide = format!(r#"{{"OR":[{}]}}"#, [r#"{"user":"a","kind":"b"}"#; 12].join(","));
        assert_eq!(
            Filter::parse(&wide, "").unwrap().conditions(),
            None,
            "a normal form that grows too far is not used"
        );
    }

    #[test]
    fn refusals_name_their_place() {
        for (filter, expected) in [
            (
                r#"{"AND":[{"user":1},{"colour":"red"}]}"#,
                "filter#/AND/1/colour: there is no field \"colour\"; did you mean \"metadata.colour\"?",
            ),
            (r#"{"usr":1}"#, "filter#/usr: there is no field \"usr\"; did you mean \"user\" or \"metadata.usr\"?"),
            (
                r#"{"user":{"equals":1}}"#,
                "filter#/user/equals: there is no operator \"equals\"; the operators are eq ne gt gte lt lte in nin contains icontains exists",
            ),
            (r#"{"user":{"niin":[1]}}"#, "filter#/user/niin: there is no operator \"niin\"; did you mean \"nin\"?"),
            (r#"{"AND":[]}"#, "filter#/AND: AND, OR and NOT take a list of filters that is not empty"),
            (r#"{"NOT":{"user":1}}"#, "filter#/NOT: AND, OR and NOT take a list of filters that is not empty"),
            (r#"{"user":[1]}"#, "filter#/user: a list needs an operator, as in {\"in\": [1, 2]}"),
            (r#"{"user":{}}"#, "filter#/user: an operator is missing, as in {\"gte\": 3}"),
            (r#"{"at":"yesterday"}"#, "filter#/at: \"yesterday\" is no time; write it as in 2023-05-08T13:56:00Z"),
            (r#"{"metadata.a":{"gt":true}}"#, "filter#/metadata.a/gt: gt takes a number, a text or a time"),
            (r#"{"metadata.":1}"#, "filter#/metadata.: a level of the metadata has no name"),
            (r#"{"metadata.a/b":{"exists":1}}"#, "filter#/metadata.a~1b/exists: exists takes true or false"),
            ("[1]", "filter#: a filter is an object, as in {\"user\": \"ana\"}"),
            (r#"{"a"}"#, "filter: the filter needs a colon at byte 4"),
            (r#"{"user":{"in":[[1]]}}"#, "filter#/user/in/0: a text, a number, true, false or null is needed"),
        ] {
            match Filter::parse(filter, "filter") {
                Err(Error::InvalidArgument(refusal)) => {
                    assert_eq!(format!("{}: {}", refusal.place, refusal.message), expected);
                }
                other => panic!("{filter}: {other:?}"),
            }
        }
        let deep = format!("{}{}{}", r#"{"NOT":["#.repeat(200), r#"{"user":1}"#, "]}".repeat(200));
        assert!(matches!(Filter::parse(&deep, ""), Err(Error::LimitExceeded(_))));
        let long = format!(r#"{{"user":{{"in":[{}]}}}}"#, vec!["1"; 1_001].join(","));
        assert!(matches!(Filter::parse(&long, ""), Err(Error::LimitExceeded(_))));
    }
}
