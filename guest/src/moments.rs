//! Time told from a speaker's day, in English and Chinese: "yesterday", "two weeks ago", 上周五, and the days that are meant.
//! Knows no memory and no query.
use crate::calendar::{Date, MONTHS};

/// Words and the days they mean, counted from 1970-01-01; the last one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) words: String,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Moment {
    /// How one would write it without knowing the day of the speaker: `7 May 2023`, `May 2023` or `2023`.
    pub(crate) fn spoken(&self) -> String {
        let middle = Date::from_days(self.first + (self.last - self.first) / 2);
        match self.last - self.first {
            0 => middle.spoken(),
            1..=45 => format!("{} {}", MONTHS[middle.month as usize - 1], middle.year),
            _ => middle.year.to_string(),
        }
    }
}

/// Everything in a text that tells a time from `today`, a day counted from 1970-01-01.
pub(crate) fn moments(text: &str, today: i64) -> Vec<Moment> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut out = vec![];
    let mut place = 0;
    while place < words.len() {
        match english(&words[place..], today) {
            Some((taken, (first, last))) => {
                out.push(Moment { words: words[place..place + taken].join(" "), first, last });
                place += taken;
            }
            None => place += 1,
        }
    }
    if !text.is_ascii() {
        chinese(text, today, &mut out);
    }
    out.retain(|moment| exists(moment.first) && exists(moment.last));
    out
}

fn exists(day: i64) -> bool {
    Date::from_days(day).exists()
}

type Days = (i64, i64);

/// What a text begins with, and how many words tell it.
fn english(words: &[&str], today: i64) -> Option<(usize, Days)> {
    let one = |day: i64| (day, day);
    let found = match *words {
        ["day", "before", "yesterday", ..] => (3, one(today - 2)),
        ["day", "after", "tomorrow", ..] => (3, one(today + 2)),
        ["yesterday", ..] => (1, one(today - 1)),
        ["last", "night", ..] => (2, one(today - 1)),
        ["today" | "tonight", ..] => (1, one(today)),
        ["this", "morning" | "afternoon" | "evening", ..] => (2, one(today)),
        ["tomorrow", ..] => (1, one(today + 1)),
        [which @ ("last" | "past" | "this" | "next"), name, ..] => match period(which, name, today) {
            Some(days) => (2, days),
            None => (3, stretch(which, name, words.get(2)?, today)?),
        },
        [many, unit, "ago", ..] => (3, ago(number(many)?, unit, today)?),
        ["in", many, unit, ..] => (3, ago(-number(many)?, unit, today)?),
        _ => return None,
    };
    Some(found)
}

/// `last week`, `this summer`, `next Friday`, `last May`.
fn period(which: &str, name: &str, today: i64) -> Option<Days> {
    let by = match which {
        "this" => 0,
        "next" => 1,
        _ => -1,
    };
    if let Some(weekday) = WEEKDAYS.iter().position(|day| *day == name) {
        let weekday = i64::try_from(weekday).ok()?;
        // Strictly before, or strictly after; this one is in the present week.
        let day = match by {
            0 => monday(today) + weekday,
            1 => today + 1 + (weekday - weekday_of(today) - 1).rem_euclid(7),
            _ => today - 1 - (weekday_of(today) - weekday - 1).rem_euclid(7),
        };
        return Some((day, day));
    }
    let date = Date::from_days(today);
    if let Some(month) = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name)) {
        let month = u32::try_from(month + 1).ok()?;
        let year = match by {
            0 => date.year,
            1 => date.year + i64::from(month <= date.month),
            _ => date.year - i64::from(month >= date.month),
        };
        return Some(month_of(year, month));
    }
    Some(match name {
        "week" => (monday(today) + 7 * by, monday(today) + 7 * by + 6),
        "weekend" => (monday(today) + 7 * by + 5, monday(today) + 7 * by + 6),
        "month" => months_away(date, by),
        "year" => year_of(date.year + by),
        _ => {
            let season = season(name)?;
            let this = season_of(date.year, season);
            match by {
                0 => this,
                1 if this.0 > today => this,
                1 => season_of(date.year + 1, season),
                _ if this.1 < today => this,
                _ => season_of(date.year - 1, season),
            }
        }
    })
}

/// `last three weeks`: up to today.
fn stretch(which: &str, many: &str, unit: &str, today: i64) -> Option<Days> {
    let many = number(many)?;
    match which {
        "last" | "past" => Some((ago(many, unit, today)?.0, today)),
        "next" => Some((today, ago(-many, unit, today)?.1)),
        _ => None,
    }
}

/// So many units before today; a negative number looks ahead. Longer units are told less exactly.
fn ago(many: i64, unit: &str, today: i64) -> Option<Days> {
    let date = Date::from_days(today);
    Some(match unit.strip_suffix('s').unwrap_or(unit) {
        "day" => (today - many, today - many),
        "week" => (today - 7 * many - 3, today - 7 * many + 3),
        "month" => months_away(date, -many),
        "year" => year_of(date.year - many),
        _ => return None,
    })
}

/// Up to a thousand, in digits or in words.
fn number(word: &str) -> Option<i64> {
    const NUMBERS: [&str; 13] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    if matches!(word, "a" | "an") {
        return Some(1);
    }
    if let Some(number) = NUMBERS.iter().position(|number| *number == word) {
        return i64::try_from(number).ok();
    }
    word.parse().ok().filter(|number| (0..1_000).contains(number))
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// 0 is Monday; 1970-01-01 was a Thursday.
fn weekday_of(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

fn monday(day: i64) -> i64 {
    day - weekday_of(day)
}

fn first_of(year: i64, month: u32) -> i64 {
    Date { year, month, day: 1 }.days()
}

/// First and last day of a month.
pub(crate) fn month_of(year: i64, month: u32) -> Days {
    let next = if month == 12 { first_of(year + 1, 1) } else { first_of(year, month + 1) };
    (first_of(year, month), next - 1)
}

/// First and last day of a year.
pub(crate) fn year_of(year: i64) -> Days {
    (first_of(year, 1), first_of(year + 1, 1) - 1)
}

fn months_away(date: Date, by: i64) -> Days {
    let months = date.year * 12 + i64::from(date.month) - 1 + by;
    let month = u32::try_from(months.rem_euclid(12) + 1).expect("a remainder of twelve is small");
    month_of(months.div_euclid(12), month)
}

/// The month in which a season begins, as the northern hemisphere has it.
fn season(name: &str) -> Option<u32> {
    match name {
        "spring" => Some(3),
        "summer" => Some(6),
        "autumn" | "fall" => Some(9),
        "winter" => Some(12),
        _ => None,
    }
}

fn season_of(year: i64, month: u32) -> Days {
    let last = if month == 12 { month_of(year + 1, 2) } else { month_of(year, month + 2) };
    (first_of(year, month), last.1)
}

// ---- Chinese

/// Days away.
const DAYS: [(&str, i64); 15] = [
    ("大前天", -3),
    ("前天", -2),
    ("昨天", -1),
    ("昨日", -1),
    ("昨晚", -1),
    ("昨夜", -1),
    ("今天", 0),
    ("今日", 0),
    ("今晚", 0),
    ("今早", 0),
    ("明天", 1),
    ("明日", 1),
    ("明晚", 1),
    ("大后天", 3),
    ("后天", 2),
];
const WEEKS: [(&str, i64); 12] = [
    ("上个星期", -1),
    ("上个礼拜", -1),
    ("上星期", -1),
    ("上礼拜", -1),
    ("上周", -1),
    ("这个星期", 0),
    ("这星期", 0),
    ("这周", 0),
    ("本周", 0),
    ("下个星期", 1),
    ("下星期", 1),
    ("下周", 1),
];
const MONTHS_AWAY: [(&str, i64); 6] =
    [("上个月", -1), ("上月", -1), ("这个月", 0), ("本月", 0), ("下个月", 1), ("下月", 1)];
const YEARS: [(&str, i64); 4] = [("前年", -2), ("去年", -1), ("今年", 0), ("明年", 1)];
const SEASONS: [(&str, u32); 8] =
    [("春天", 3), ("夏天", 6), ("秋天", 9), ("冬天", 12), ("春季", 3), ("夏季", 6), ("秋季", 9), ("冬季", 12)];

fn chinese(text: &str, today: i64, out: &mut Vec<Moment>) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match chinese_here(rest, today) {
            Some((after, (first, last))) => {
                let taken = rest.len() - after.len();
                out.push(Moment { words: rest[..taken].to_owned(), first, last });
                taken
            }
            None => first.len_utf8(),
        };
        rest = &rest[taken..];
    }
}

/// What a text begins with, and the rest of it.
fn chinese_here(text: &str, today: i64) -> Option<(&str, Days)> {
    let date = Date::from_days(today);
    if let Some((rest, by)) = one_of(text, &DAYS) {
        return Some((rest, (today + by, today + by)));
    }
    if let Some((rest, by)) = one_of(text, &WEEKS) {
        let week = monday(today) + 7 * by;
        if let Some(rest) = rest.strip_prefix("末") {
            return Some((rest, (week + 5, week + 6)));
        }
        let weekday = rest.chars().next().and_then(|c| "一二三四五六日".chars().position(|day| day == c));
        let weekday = weekday.or(rest.starts_with('天').then_some(6)).and_then(|day| i64::try_from(day).ok());
        return Some(match weekday {
            Some(weekday) => {
                let after = rest.chars().next().map_or(rest, |c| &rest[c.len_utf8()..]);
                (after, (week + weekday, week + weekday))
            }
            None => (rest, (week, week + 6)),
        });
    }
    if let Some((rest, by)) = one_of(text, &MONTHS_AWAY) {
        return Some((rest, months_away(date, by)));
    }
    if let Some((rest, by)) = one_of(text, &YEARS) {
        let year = date.year + by;
        if let Some((rest, month)) = one_of(rest.strip_prefix('的').unwrap_or(rest), &SEASONS) {
            return Some((rest, season_of(year, month)));
        }
        if let Some((month, after)) = chinese_number(rest)
            && (1..=12).contains(&month)
            && let Some(rest) = after.strip_prefix('月')
        {
            return Some((rest, month_of(year, u32::try_from(month).ok()?)));
        }
        return Some((rest, year_of(year)));
    }
    let (many, rest) = chinese_number(text)?;
    let units =
        [("天", "day"), ("个星期", "week"), ("星期", "week"), ("周", "week"), ("个月", "month"), ("年", "year")];
    let (rest, unit) = units.into_iter().find_map(|(name, unit)| Some((rest.strip_prefix(name)?, unit)))?;
    Some((rest.strip_prefix("前")?, ago(many, unit, today)?))
}

fn one_of<'t, T: Copy>(text: &'t str, names: &[(&str, T)]) -> Option<(&'t str, T)> {
    names.iter().find_map(|(name, value)| Some((text.strip_prefix(name)?, *value)))
}

/// A number below a hundred, or of up to four digits, and what follows it.
pub(crate) fn chinese_number(text: &str) -> Option<(i64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits > 0 {
        return (digits <= 4).then(|| text[..digits].parse().ok()).flatten().map(|number| (number, &text[digits..]));
    }
    let digit = |c: char| match c {
        '两' => Some(2),
        _ => "〇一二三四五六七八九".chars().position(|d| d == c).and_then(|d| i64::try_from(d).ok()),
    };
    let (mut value, mut taken, mut tens) = (0, 0, false);
    for c in text.chars() {
        match digit(c) {
            Some(number) if taken == 0 || (tens && value % 10 == 0) => value += number,
            None if c == '十' && !tens => {
                value = value.max(1) * 10;
                tens = true;
            }
            _ => break,
        }
        taken += c.len_utf8();
    }
    (taken > 0).then(|| (value, &text[taken..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar;

    /// Seen from Wednesday, 10 May 2023.
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, &str)]) {
        let today = calendar::parse("2023-05-10").unwrap().div_euclid(calendar::DAY_MS);
        let day = |days: i64| {
            let Date { year, month, day } = Date::from_days(days);
            format!("{year:04}-{month:02}-{day:02}")
        };
        let found: Vec<(String, String, String)> =
            moments(text, today).into_iter().map(|m| (m.words, day(m.first), day(m.last))).collect();
        let found: Vec<(&str, &str, &str)> = found.iter().map(|(a, b, c)| (&a[..], &b[..], &c[..])).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn days_in_english() {
        check("I went yesterday.", &[("yesterday", "2023-05-09", "2023-05-09")]);
        check(
            "Last night, and tomorrow",
            &[("last night", "2023-05-09", "2023-05-09"), ("tomorrow", "2023-05-11", "2023-05-11")],
        );
        check("the day before yesterday", &[("day before yesterday", "2023-05-08", "2023-05-08")]);
        check("last Wednesday", &[("last wednesday", "2023-05-03", "2023-05-03")]);
        check("last Friday", &[("last friday", "2023-05-05", "2023-05-05")]);
        check("next Friday", &[("next friday", "2023-05-12", "2023-05-12")]);
        check("next Wednesday", &[("next wednesday", "2023-05-17", "2023-05-17")]);
        check("three days ago", &[("three days ago", "2023-05-07", "2023-05-07")]);
        check("in 2 days", &[("in 2 days", "2023-05-12", "2023-05-12")]);
    }

    #[test]
    fn longer_times_in_english() {
        check("last week", &[("last week", "2023-05-01", "2023-05-07")]);
        check("last weekend", &[("last weekend", "2023-05-06", "2023-05-07")]);
        check("two weeks ago", &[("two weeks ago", "2023-04-23", "2023-04-29")]);
        check("the past 2 weeks", &[("past 2 weeks", "2023-04-23", "2023-05-10")]);
        check("a month ago", &[("a month ago", "2023-04-01", "2023-04-30")]);
        check("last month", &[("last month", "2023-04-01", "2023-04-30")]);
        check("last year", &[("last year", "2022-01-01", "2022-12-31")]);
        check("last summer", &[("last summer", "2022-06-01", "2022-08-31")]);
        check("last spring", &[("last spring", "2022-03-01", "2022-05-31")]);
        check("last winter", &[("last winter", "2022-12-01", "2023-02-28")]);
        check("next summer", &[("next summer", "2023-06-01", "2023-08-31")]);
        check("last May", &[("last may", "2022-05-01", "2022-05-31")]);
        check("last April", &[("last april", "2023-04-01", "2023-04-30")]);
    }

    #[test]
    fn chinese_times() {
        check("我昨天去了", &[("昨天", "2023-05-09", "2023-05-09")]);
        check("大前天和后天", &[("大前天", "2023-05-07", "2023-05-07"), ("后天", "2023-05-12", "2023-05-12")]);
        check("上周五", &[("上周五", "2023-05-05", "2023-05-05")]);
        check("上周末", &[("上周末", "2023-05-06", "2023-05-07")]);
        check("上个星期去", &[("上个星期", "2023-05-01", "2023-05-07")]);
        check("上个月", &[("上个月", "2023-04-01", "2023-04-30")]);
        check("去年夏天", &[("去年夏天", "2022-06-01", "2022-08-31")]);
        check("去年十二月", &[("去年十二月", "2022-12-01", "2022-12-31")]);
        check("去年", &[("去年", "2022-01-01", "2022-12-31")]);
        check("三天前", &[("三天前", "2023-05-07", "2023-05-07")]);
        check("两个月前", &[("两个月前", "2023-03-01", "2023-03-31")]);
    }

    #[test]
    fn what_tells_no_time() {
        check("the last of them, this one; in two minds, a day", &[]);
        check("9999999999 years ago", &[]);
        check("", &[]);
    }

    #[test]
    fn written_out() {
        let spoken = |text: &str| moments(text, 19_487).remove(0).spoken();
        assert_eq!(spoken("yesterday"), "9 May 2023");
        assert_eq!(spoken("two weeks ago"), "April 2023");
        assert_eq!(spoken("last summer"), "2022");
        assert_eq!(spoken("three years ago"), "2020");
    }
}
