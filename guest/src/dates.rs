//! Dates that a query names, in English or as `2023-05-08`, and how near a memory's day is to them.
use crate::calendar::{self, DAY_MS, Date, MONTHS};
use crate::types::Timestamp;

/// A date as far as the query tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    /// The words that were taken for it.
    pub(crate) words: String,
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    /// Where a year is not told: the reader's.
    this_year: i64,
}

impl Named {
    /// 0 to 1: how near the day of `at` is. The steps are those of the measured pipeline.
    pub(crate) fn likeness(&self, at: Timestamp) -> f32 {
        let of = Date::of(at);
        let Some(month) = self.month else {
            return if self.year == Some(of.year) { 0.3 } else { 0.0 };
        };
        let years = match self.year {
            Some(year) => year..=year,
            None => of.year - 1..=of.year + 1,
        };
        let distance = |day: u32| {
            let days = of.days();
            years.clone().map(|year| (Date { year, month, day }.days() - days).abs()).min().unwrap_or(i64::MAX)
        };
        match self.day {
            Some(day) => match distance(day) {
                0..=3 => 1.0,
                4..=10 => 0.6,
                _ => 0.0,
            },
            None if of.month == month && self.year.is_none_or(|year| year == of.year) => 1.0,
            None if distance(15) <= 25 => 0.4,
            None => 0.0,
        }
    }

    /// First and last day, for the trace.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        let year = self.year.unwrap_or(self.this_year);
        let first = Date { year, month: self.month.unwrap_or(1), day: self.day.unwrap_or(1) };
        let last = match (self.month, self.day) {
            (None, _) => Date { year, month: 12, day: 31 }.days(),
            (Some(_), Some(_)) => first.days(),
            (Some(12), None) => first.days() + 30,
            (Some(month), None) => Date { year, month: month + 1, day: 1 }.days() - 1,
        };
        (first.days() * DAY_MS, last * DAY_MS)
    }
}

/// Finds the dates in a query.
pub(crate) fn named(query: &str, now: Timestamp) -> Vec<Named> {
    let this_year = Date::of(now).year;
    let mut out = vec![];
    let mut words: Vec<String> = vec![];
    for stretch in query.split_whitespace() {
        let bare = stretch.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.len() == 10
            && let Some(at) = calendar::parse(bare)
        {
            let Date { year, month, day } = Date::of(at);
            out.push(Named { words: bare.to_owned(), year: Some(year), month: Some(month), day: Some(day), this_year });
            continue;
        }
        let parts = stretch.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        words.extend(parts.map(str::to_lowercase));
    }
    let word = |place: usize| words.get(place).map(String::as_str);
    for place in 0..words.len() {
        let before = |steps: usize| place.checked_sub(steps).and_then(word);
        if let Some(month) = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(&words[place])) {
            let (first, day_before) = match (before(1).and_then(day), before(1), before(2).and_then(day)) {
                (Some(day), _, _) => (place - 1, Some(day)),
                (None, Some("of"), Some(day)) => (place - 2, Some(day)),
                _ => (place, None),
            };
            let day_after = if day_before.is_none() { word(place + 1).and_then(day) } else { None };
            let mut last = place + usize::from(day_after.is_some());
            let year = word(last + 1).and_then(year);
            last += usize::from(year.is_some());
            let day = day_before.or(day_after);
            let is_verb =
                words[place] == "may" && day.is_none() && year.is_none() && !before(1).is_some_and(leads_to_time);
            let month = u32::try_from(month + 1).expect("twelve months");
            // A 30th of February names no day: the month is meant.
            let day = day.filter(|day| Date { year: year.unwrap_or(2_024), month, day: *day }.exists());
            if !is_verb {
                out.push(Named { words: words[first..=last].join(" "), year, month: Some(month), day, this_year });
            }
        } else if let (Some(year), Some("in" | "during" | "of")) = (year(&words[place]), before(1)) {
            let of_month = before(2).is_some_and(|w| MONTHS.iter().any(|name| name.eq_ignore_ascii_case(w)));
            if !of_month {
                out.push(Named { words: words[place].clone(), year: Some(year), month: None, day: None, this_year });
            }
        }
    }
    out
}

fn leads_to_time(word: &str) -> bool {
    matches!(
        word,
        "in" | "on"
            | "during"
            | "of"
            | "since"
            | "until"
            | "by"
            | "before"
            | "after"
            | "last"
            | "next"
            | "this"
            | "early"
            | "late"
            | "mid"
    )
}

/// `1`, `1st` … `31st`.
fn day(word: &str) -> Option<u32> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    (digits.len() <= 2).then(|| digits.parse().ok())?.filter(|day| (1..=31).contains(day))
}

fn year(word: &str) -> Option<i64> {
    (word.len() == 4).then(|| word.parse().ok())?.filter(|year| (1900..=2100).contains(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: &[(Option<i64>, Option<u32>, Option<u32>)]) {
        let found: Vec<_> = named(query, 0).iter().map(|n| (n.year, n.month, n.day)).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn english_dates() {
        check("What did Ana do on 8 May 2023?", &[(Some(2023), Some(5), Some(8))]);
        check("on May 8th, 2023", &[(Some(2023), Some(5), Some(8))]);
        check("the 1st of June", &[(None, Some(6), Some(1))]);
        check("in October", &[(None, Some(10), None)]);
        check("in October 2022 or in 2021", &[(Some(2022), Some(10), None), (Some(2021), None, None)]);
        check("on 2023-05-08?", &[(Some(2023), Some(5), Some(8))]);
        check("30 February", &[(None, Some(2), None)]);
    }

    #[test]
    fn what_is_no_date() {
        check("What may Ana eat?", &[]);
        check("in May", &[(None, Some(5), None)]);
        check("room 2023", &[]);
        check("the mayor marched", &[]);
        check("", &[]);
    }

    #[test]
    fn likeness_of_days() {
        let of = |query: &str, day: &str| named(query, 0)[0].likeness(calendar::parse(day).unwrap());
        for (query, day, expected) in [
            ("8 May 2023", "2023-05-11", 1.0),
            ("8 May 2023", "2023-05-18", 0.6),
            ("8 May 2023", "2023-05-19", 0.0),
            ("8 May 2023", "2022-05-08", 0.0),
            ("8 May", "2022-05-08", 1.0),
            ("1 January", "2022-12-31", 1.0),
            ("in May 2023", "2023-05-31", 1.0),
            ("in May 2023", "2023-06-05", 0.4),
            ("in May 2023", "2022-05-15", 0.0),
            ("in May", "2020-05-15", 1.0),
            ("in 2023", "2023-12-31", 0.3),
            ("in 2023", "2022-12-31", 0.0),
        ] {
            assert!((of(query, day) - expected).abs() < 1e-6, "{query} {day}");
        }
    }

    #[test]
    fn spans() {
        let span = |query: &str| {
            let (first, last) = named(query, calendar::parse("2024-03-01").unwrap())[0].span();
            (Date::of(first).spoken(), Date::of(last).spoken())
        };
        assert_eq!(span("in May 2023"), ("1 May 2023".into(), "31 May 2023".into()));
        assert_eq!(span("in December"), ("1 December 2024".into(), "31 December 2024".into()));
        assert_eq!(span("in 2021"), ("1 January 2021".into(), "31 December 2021".into()));
        assert_eq!(span("2 June"), ("2 June 2024".into(), "2 June 2024".into()));
    }
}
