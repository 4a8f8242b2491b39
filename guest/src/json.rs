//! JSON as the contract wants it (RFC 8259): numbers keep their spelling, duplicate names and lone surrogates are refused,
//! depth is limited. Used for metadata and filters alone.
use std::fmt::Write as _;

/// A JSON value. Objects keep the order of their names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Writes the value without any space.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(spelling) => out.push_str(spelling),
            Json::Text(text) => write_text(text, out),
            Json::List(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// JSON merge patch (RFC 7396): members are set, `null` removes, others stay.
    pub(crate) fn merge(&mut self, patch: Json) {
        let Json::Object(changes) = patch else {
            *self = patch;
            return;
        };
        if !matches!(self, Json::Object(_)) {
            *self = Json::Object(vec![]);
        }
        let Json::Object(members) = self else { unreachable!("made an object above") };
        for (name, change) in changes {
            let place = members.iter().position(|(n, _)| *n == name);
            match (place, change) {
                (Some(place), Json::Null) => {
                    members.remove(place);
                }
                (None, Json::Null) => {}
                (Some(place), change) => members[place].1.merge(change),
                (None, change) => {
                    let mut value = Json::Null;
                    value.merge(change);
                    members.push((name, value));
                }
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// How much a JSON text may hold.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Nesting, the outermost object being level 1.
    pub(crate) levels: usize,
    /// Scalars, lists and objects together, without the outermost.
    pub(crate) values: usize,
}

/// Why a text is not taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    /// Not JSON, or not the JSON we take; with the byte at which it shows.
    Malformed(String),
    /// Above the bounds.
    TooLarge(String),
}

/// Reads a whole text.
pub(crate) fn parse(text: &str, bounds: Bounds) -> std::result::Result<Json, Fault> {
    let mut reader = Reader { text, place: 0, values: 0, bounds };
    reader.space();
    let value = reader.value(1)?;
    reader.space();
    if reader.place < text.len() {
        return Err(reader.malformed("has something behind its end"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
    values: usize,
    bounds: Bounds,
}

impl Reader<'_> {
    fn malformed(&self, what: &str) -> Fault {
        Fault::Malformed(format!("{what} at byte {}", self.place))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.place += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.place += usize::from(there);
        there
    }

    fn value(&mut self, level: usize) -> std::result::Result<Json, Fault> {
        match self.peek() {
            Some(b'{') => self.object(level),
            Some(b'[') => self.list(level),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                for (word, value) in
                    [("null", Json::Null), ("true", Json::Boolean(true)), ("false", Json::Boolean(false))]
                {
                    if self.text[self.place..].starts_with(word) {
                        self.place += word.len();
                        return Ok(value);
                    }
                }
                Err(self.malformed("is not JSON"))
            }
            None => Err(self.malformed("ends too early")),
        }
    }

    fn enter(&mut self, level: usize) -> std::result::Result<(), Fault> {
        self.place += 1;
        if level > self.bounds.levels {
            return Err(Fault::TooLarge(format!("has more than {} levels", self.bounds.levels)));
        }
        self.space();
        Ok(())
    }

    fn count(&mut self) -> std::result::Result<(), Fault> {
        self.values += 1;
        if self.values > self.bounds.values {
            return Err(Fault::TooLarge(format!("has more than {} values", self.bounds.values)));
        }
        Ok(())
    }

    fn object(&mut self, level: usize) -> std::result::Result<Json, Fault> {
        self.enter(level)?;
        let mut members: Vec<(String, Json)> = vec![];
        let mut names = std::collections::BTreeSet::new();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.malformed("needs a name in quotes"));
            }
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return Err(self.malformed(&format!("has the name {name:?} twice")));
            }
            self.space();
            if !self.take(b':') {
                return Err(self.malformed("needs a colon"));
            }
            self.space();
            self.count()?;
            members.push((name, self.value(level + 1)?));
            self.space();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.malformed("needs a comma or a closing brace"));
            }
            self.space();
        }
    }

    fn list(&mut self, level: usize) -> std::result::Result<Json, Fault> {
        self.enter(level)?;
        let mut items = vec![];
        if self.take(b']') {
            return Ok(Json::List(items));
        }
        loop {
            self.count()?;
            items.push(self.value(level + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Json::List(items));
            }
            if !self.take(b',') {
                return Err(self.malformed("needs a comma or a closing bracket"));
            }
            self.space();
        }
    }

    fn number(&mut self) -> std::result::Result<Json, Fault> {
        let start = self.place;
        let digits = |reader: &mut Self| {
            let from = reader.place;
            while matches!(reader.peek(), Some(b'0'..=b'9')) {
                reader.place += 1;
            }
            reader.place - from
        };
        self.take(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let whole = digits(self);
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.malformed("is not a number"));
        }
        if self.take(b'.') && digits(self) == 0 {
            return Err(self.malformed("is not a number"));
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            if digits(self) == 0 {
                return Err(self.malformed("is not a number"));
            }
        }
        Ok(Json::Number(self.text[start..self.place].to_owned()))
    }

    fn string(&mut self) -> std::result::Result<String, Fault> {
        self.place += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.place..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.place += plain;
            match self.peek() {
                Some(b'"') => {
                    self.place += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(self.malformed("has a bare control character in a text")),
                None => return Err(self.malformed("ends within a text")),
            }
        }
    }

    fn escape(&mut self) -> std::result::Result<char, Fault> {
        self.place += 1;
        let kind = self.peek();
        self.place += 1;
        Ok(match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex()?;
                let code = if (0xd800..0xdc00).contains(&high) && self.take(b'\\') && self.take(b'u') {
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(self.malformed("has a lone surrogate"));
                    }
                    0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    high
                };
                char::from_u32(code).ok_or_else(|| self.malformed("has a lone surrogate"))?
            }
            _ => return Err(self.malformed("has an unknown escape")),
        })
    }

    fn hex(&mut self) -> std::result::Result<u32, Fault> {
        let digits = self.text.get(self.place..self.place + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.place += 4;
        code.ok_or_else(|| Fault::Malformed(format!("has a bad escape at byte {}", self.place - 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { levels: 4, values: 6 };

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut out = String::new();
        match parse(text, BOUNDS) {
            Ok(json) => json.write(&mut out),
            Err(Fault::Malformed(what) | Fault::TooLarge(what)) => out = what,
        }
        assert_eq!(out, expected, "{text}");
    }

    #[test]
    fn values_keep_their_spelling() {
        check(r#" { "a" : [1.50, -0, 1E+2, true, null] } "#, r#"{"a":[1.50,-0,1E+2,true,null]}"#);
        check(r#""\u00e9\ud83d\ude00\n\/\u0001""#, "\"é😀\\n/\\u0001\"");
        check("12345678901234567890", "12345678901234567890");
    }

    #[test]
    fn what_is_refused() {
        check(r#"{"a":1,"a":2}"#, "has the name \"a\" twice at byte 10");
        check(r#""\ud800""#, "has a lone surrogate at byte 7");
        check(r#""\ud800\u0041""#, "has a lone surrogate at byte 13");
        check(r#"{"a":1} x"#, "has something behind its end at byte 8");
        check("{\"a\":\"\u{0}\"}", "has a bare control character in a text at byte 6");
        check("[[[[[]]]]]", "has more than 4 levels");
        check("[1,2,3,4,5,6,7]", "has more than 6 values");
        check("{'a':1}", "needs a name in quotes at byte 1");
        check("01", "is not a number at byte 2");
        check("", "ends too early at byte 0");
        check("nul", "is not JSON at byte 0");
        check("\"\\u12", "has a bad escape at byte 3");
        check("\"é\\u00é0\"", "has a bad escape at byte 5");
    }

    #[test]
    fn merge_patch_as_in_rfc_7396() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            (r#"{"a":"foo"}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
        ] {
            let bounds = Bounds { levels: 9, values: 99 };
            let mut value = parse(target, bounds).unwrap();
            value.merge(parse(patch, bounds).unwrap());
            let mut out = String::new();
            value.write(&mut out);
            assert_eq!(out, result, "{target} {patch}");
        }
    }
}
