//! Scopes: whom a memory belongs to, as bytes and as a restriction.
use crate::memory::ScopeField;
use crate::types::Scope;

pub(crate) const FIELDS: [ScopeField; 4] = [ScopeField::User, ScopeField::Agent, ScopeField::App, ScopeField::Run];

/// Restricts to nothing.
pub(crate) const EVERYTHING: Scope = Scope { user: None, agent: None, app: None, run: None };

/// The value of one field.
pub(crate) fn field(scope: &Scope, field: ScopeField) -> Option<&str> {
    match field {
        ScopeField::User => scope.user.as_deref(),
        ScopeField::Agent => scope.agent.as_deref(),
        ScopeField::App => scope.app.as_deref(),
        ScopeField::Run => scope.run.as_deref(),
    }
}

/// The field's name in filters and places.
pub(crate) fn name(field: ScopeField) -> &'static str {
    match field {
        ScopeField::User => "user",
        ScopeField::Agent => "agent",
        ScopeField::App => "app",
        ScopeField::Run => "run",
    }
}

/// Whether a read restricted to `wanted` sees what lies in `place`.
pub(crate) fn admits(wanted: &Scope, place: &Scope) -> bool {
    FIELDS.iter().all(|f| field(wanted, *f).is_none_or(|value| field(place, *f) == Some(value)))
}

/// Whether no field is set.
pub(crate) fn is_empty(scope: &Scope) -> bool {
    FIELDS.iter().all(|f| field(scope, *f).is_none())
}

/// The exact four-tuple as bytes: for each field 0, or 1 and the value and 0. Values hold no control characters.
pub(crate) fn encode(scope: &Scope, out: &mut Vec<u8>) {
    for f in FIELDS {
        match field(scope, f) {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                out.extend_from_slice(value.as_bytes());
                out.push(0);
            }
        }
    }
}

/// The inverse of [`encode`], and what follows it.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<(Scope, &[u8])> {
    let mut values = [None, None, None, None];
    for value in &mut values {
        let (there, rest) = bytes.split_first()?;
        bytes = rest;
        if *there == 1 {
            let end = bytes.iter().position(|b| *b == 0)?;
            *value = Some(std::str::from_utf8(&bytes[..end]).ok()?.to_owned());
            bytes = &bytes[end + 1..];
        }
    }
    let [user, agent, app, run] = values;
    Some((Scope { user, agent, app, run }, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(user: Option<&str>, run: Option<&str>) -> Scope {
        Scope { user: user.map(Into::into), agent: None, app: None, run: run.map(Into::into) }
    }

    #[test]
    fn bytes_keep_the_exact_tuple() {
        for place in [scope(None, None), scope(Some("u"), None), scope(None, Some("u")), scope(Some("ü u"), Some("r"))]
        {
            let mut bytes = vec![];
            encode(&place, &mut bytes);
            bytes.push(7);
            assert_eq!(decode(&bytes), Some((place, &[7][..])));
        }
        assert_eq!(decode(&[1, b'u']), None);
    }

    #[test]
    fn fields_that_are_set_restrict() {
        assert!(admits(&scope(None, None), &scope(Some("u"), Some("r"))));
        assert!(admits(&scope(Some("u"), None), &scope(Some("u"), Some("r"))));
        assert!(!admits(&scope(Some("u"), Some("r")), &scope(Some("u"), None)));
        assert!(!admits(&scope(Some("u"), None), &scope(Some("v"), None)));
    }
}
