//! Times that a query names, by the calendar or from the reader's day, and how near a memory's day is to them.
use crate::calendar::{self, DAY_MS, Date, MONTHS};
use crate::moments::{Moment, chinese_number, moments, month_of, year_of};
use crate::types::Timestamp;
use std::ops::Range;

/// A time as far as the query tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    /// The words that were taken for it.
    pub(crate) words: String,
    when: When,
}

#[derive(Clone, Debug, PartialEq)]
enum When {
    /// What of a date is told; `this_year` is the reader's, for the trace.
    Date { year: Option<i64>, month: Option<u32>, day: Option<u32>, this_year: i64 },
    /// First and last day, counted from 1970-01-01.
    Days(i64, i64),
}

impl Named {
    /// 0 to 1: how near the day of `at` is. The steps are those of the measured pipeline; the less exact a time is told,
    /// the less it says.
    pub(crate) fn likeness(&self, at: Timestamp) -> f32 {
        let of = Date::of(at);
        let (year, month, day) = match self.when {
            When::Days(first, last) => return likeness_to_days(first, last, of.days()),
            When::Date { year, month, day, .. } => (year, month, day),
        };
        let Some(month) = month else {
            return if year == Some(of.year) { 0.3 } else { 0.0 };
        };
        let years = match year {
            Some(year) => year..=year,
            None => of.year - 1..=of.year + 1,
        };
        let distance = |day: u32| {
            let days = of.days();
            years.clone().map(|year| (Date { year, month, day }.days() - days).abs()).min().unwrap_or(i64::MAX)
        };
        match day {
            Some(day) => near_a_day(distance(day)),
            None if of.month == month && year.is_none_or(|year| year == of.year) => 1.0,
            None if distance(15) <= 25 => 0.4,
            None => 0.0,
        }
    }

    /// First and last day, for the trace.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        let (first, last) = self.days();
        (first * DAY_MS, last * DAY_MS)
    }

    fn days(&self) -> (i64, i64) {
        match self.when {
            When::Days(first, last) => (first, last),
            When::Date { year, month, day, this_year } => {
                let year = year.unwrap_or(this_year);
                match (month, day) {
                    (None, _) => year_of(year),
                    (Some(month), None) => month_of(year, month),
                    (Some(month), Some(day)) => {
                        let day = Date { year, month, day }.days();
                        (day, day)
                    }
                }
            }
        }
    }
}

fn near_a_day(distance: i64) -> f32 {
    match distance {
        0..=3 => 1.0,
        4..=10 => 0.6,
        _ => 0.0,
    }
}

fn likeness_to_days(first: i64, last: i64, day: i64) -> f32 {
    let distance = (first - day).max(day - last).max(0);
    match (last - first, distance) {
        (..=2, _) => near_a_day(distance),
        (..=45, 0) => 1.0,
        (..=45, ..=10) => 0.4,
        (..=120, 0) => 0.6,
        (..=120, ..=15) | (_, 0) => 0.3,
        _ => 0.0,
    }
}

/// More times than this nobody asks for at once.
const TIMES: usize = 16;

/// Finds the times that a query names, sixteen at most, in English and Chinese or as `2023-05-08`; `now` is the reader's.
pub(crate) fn named(query: &str, now: Timestamp) -> Vec<Named> {
    let today = Date::of(now).days();
    let told = |moment: Moment| Named { words: moment.words, when: When::Days(moment.first, moment.last) };
    let relative: Vec<Named> = moments(query, today).into_iter().map(told).take(TIMES).collect();
    let mut out = english(query, today);
    out.truncate(TIMES);
    // What stands in a relative time is none of its own: the May of "last May".
    out.retain(|date| !relative.iter().any(|moment| moment.words.ends_with(date.words.as_str())));
    out.extend(relative);
    if !query.is_ascii() {
        chinese(query, Date::of(now).year, &mut out);
    }
    out.truncate(TIMES);
    out
}

/// Dates of the calendar in English, and stretches between two of them.
fn english(query: &str, today: i64) -> Vec<Named> {
    let this_year = Date::from_days(today).year;
    let mut words: Vec<String> = vec![];
    for stretch in query.split_whitespace() {
        let bare = stretch.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.len() == 10 && calendar::parse(bare).is_some() {
            words.push(bare.to_owned());
            continue;
        }
        let parts = stretch.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        words.extend(parts.map(str::to_lowercase));
    }
    // With the places of the first and the last word.
    let mut found: Vec<(Named, usize, usize)> = vec![];
    for place in 0..words.len() {
        if let Some((date, first, last)) = english_at(&words, place, this_year) {
            found.push((date, first, last));
        }
    }
    stretches(&words, found, today)
}

fn english_at(words: &[String], place: usize, this_year: i64) -> Option<(Named, usize, usize)> {
    let word = |place: usize| words.get(place).map(String::as_str);
    let before = |steps: usize| place.checked_sub(steps).and_then(word);
    let named = |first: usize, last: usize, year, month, day| {
        let when = When::Date { year, month, day, this_year };
        Some((Named { words: words[first..=last].join(" "), when }, first, last))
    };
    if let Some(at) = calendar::parse(&words[place]) {
        let Date { year, month, day } = Date::of(at);
        return named(place, place, Some(year), Some(month), Some(day));
    }
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
        let is_verb = words[place] == "may" && day.is_none() && year.is_none() && !before(1).is_some_and(leads_to_time);
        let month = u32::try_from(month + 1).expect("twelve months");
        // A 30th of February names no day: the month is meant.
        let day = day.filter(|day| Date { year: year.unwrap_or(2_024), month, day: *day }.exists());
        return if is_verb { None } else { named(first, last, year, Some(month), day) };
    }
    let year = year(&words[place])?;
    let of_month = before(2).is_some_and(|w| MONTHS.iter().any(|name| name.eq_ignore_ascii_case(w)));
    let alone = matches!(before(1), Some("in" | "during" | "of" | "since" | "before" | "after" | "until" | "from"));
    if alone && !of_month { named(place, place, Some(year), None, None) } else { None }
}

/// Makes one time of two that a query joins, as in "from March to May 2023", and of one that it leaves open, as in "since
/// May": up to today. What lies before a date is not told by it.
fn stretches(words: &[String], found: Vec<(Named, usize, usize)>, today: i64) -> Vec<Named> {
    let mut out: Vec<Named> = vec![];
    let mut dates = found.into_iter().peekable();
    while let Some((date, first, last)) = dates.next() {
        let opens = first.checked_sub(1).map(|place| words[place].as_str());
        if matches!(opens, Some("from" | "between"))
            && let Some((end, _, end_place)) = dates.next_if(|(_, next, _)| {
                *next == last + 2 && matches!(words[last + 1].as_str(), "to" | "until" | "till" | "and")
            })
        {
            let (start, stop) = joined(&date, &end);
            if start <= stop {
                out.push(Named { words: words[first..=end_place].join(" "), when: When::Days(start, stop) });
                continue;
            }
            out.extend([date, end]);
        } else if opens == Some("since") && date.days().0 <= today {
            let when = When::Days(date.days().0, today.max(date.days().1));
            out.push(Named { words: words[first - 1..=last].join(" "), when });
        } else {
            out.push(date);
        }
    }
    out
}

/// First and last day of two dates; a year that only the second tells holds for the first.
fn joined(start: &Named, end: &Named) -> (i64, i64) {
    let start = match (&start.when, &end.when) {
        (When::Date { year: None, month, day, this_year }, When::Date { year: Some(year), .. }) => Named {
            words: String::new(),
            when: When::Date { year: Some(*year), month: *month, day: *day, this_year: *this_year },
        },
        _ => start.clone(),
    };
    (start.days().0, end.days().1)
}

/// `2023年5月8日`, `五月`, `2023年`: each as far as it is told.
fn chinese(query: &str, this_year: i64, out: &mut Vec<Named>) {
    let mut rest = query;
    // A number behind a relative year, as in 去年五月, has been told with it.
    let places = out.iter().flat_map(|named| query.match_indices(named.words.as_str()));
    let told: Vec<Range<usize>> = places.map(|(place, words)| place..place + words.len()).collect();
    while out.len() < TIMES
        && let Some(first) = rest.chars().next()
    {
        let start = query.len() - rest.len();
        match chinese_date(rest) {
            Some((after, (year, month, day))) if !told.iter().any(|told| told.start < start && start < told.end) => {
                let words = rest[..rest.len() - after.len()].to_owned();
                out.push(Named { words, when: When::Date { year, month, day, this_year } });
                rest = after;
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
}

type Told = (Option<i64>, Option<u32>, Option<u32>);

fn chinese_date(text: &str) -> Option<(&str, Told)> {
    let mut rest = text;
    let mut take = |unit: &[char]| {
        let (number, behind) = chinese_number(rest)?;
        rest = behind.strip_prefix(unit)?;
        Some(number)
    };
    let year = take(&['年']).filter(|year| (1900..=2100).contains(year));
    let month = take(&['月']).and_then(|month| u32::try_from(month).ok()).filter(|month| (1..=12).contains(month));
    let day = month.and_then(|_| take(&['日', '号'])).and_then(|day| u32::try_from(day).ok());
    let day = day.filter(|day| Date { year: year.unwrap_or(2_024), month: month.unwrap_or(1), day: *day }.exists());
    (year.is_some() || month.is_some()).then_some((rest, (year, month, day)))
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
    fn check(query: &str, expected: &[Told]) {
        let told = |named: Named| match named.when {
            When::Date { year, month, day, .. } => (year, month, day),
            When::Days(..) => panic!("{query} names {named:?}"),
        };
        assert_eq!(named(query, 0).into_iter().map(told).collect::<Vec<_>>(), expected, "{query}");
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
    fn chinese_dates() {
        check("2023年5月8日她做了什么", &[(Some(2023), Some(5), Some(8))]);
        check("五月十二号去哪里", &[(None, Some(5), Some(12))]);
        check("2022年的旅行", &[(Some(2022), None, None)]);
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
        assert_eq!(span("yesterday"), ("29 February 2024".into(), "29 February 2024".into()));
        assert_eq!(span("last May"), ("1 May 2023".into(), "31 May 2023".into()));
        assert_eq!(span("去年五月"), ("1 May 2023".into(), "31 May 2023".into()));
        assert_eq!(span("from March to May 2023"), ("1 March 2023".into(), "31 May 2023".into()));
        assert_eq!(span("between 3 May 2022 and June 2023"), ("3 May 2022".into(), "30 June 2023".into()));
        assert_eq!(span("since January 2024"), ("1 January 2024".into(), "1 March 2024".into()));
        assert_eq!(span("since 2025"), ("1 January 2025".into(), "31 December 2025".into()));
    }

    #[test]
    fn a_time_is_named_once() {
        for query in ["last May", "去年五月", "last summer", "from March to May 2023", "since May 2023", "去年夏天"]
        {
            assert_eq!(named(query, calendar::parse("2024-03-01").unwrap()).len(), 1, "{query}");
        }
    }

    #[test]
    fn likeness_to_stretches() {
        let of = |query: &str, day: &str| {
            named(query, calendar::parse("2023-05-10").unwrap())[0].likeness(calendar::parse(day).unwrap())
        };
        for (query, day, expected) in [
            ("yesterday", "2023-05-09", 1.0),
            ("yesterday", "2023-05-01", 0.6),
            ("last week", "2023-05-01", 1.0),
            ("last week", "2023-04-25", 0.4),
            ("last summer", "2022-07-01", 0.6),
            ("last summer", "2022-09-10", 0.3),
            ("last year", "2022-01-01", 0.3),
            ("last year", "2023-01-01", 0.0),
        ] {
            assert!((of(query, day) - expected).abs() < 1e-6, "{query} {day}");
        }
    }
}
