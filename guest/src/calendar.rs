//! Days, months and RFC 3339: what the logic needs of a calendar. Proleptic Gregorian, UTC, years 1 to 9999.
use crate::types::Timestamp;

pub(crate) const DAY_MS: i64 = 86_400_000;
/// 0001-01-01T00:00:00Z.
pub(crate) const FIRST_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z.
pub(crate) const LAST_MS: i64 = 253_402_300_799_999;

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A day of the calendar; `month` and `day` from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
}

impl Date {
    /// The day in which a moment lies.
    pub(crate) fn of(at: Timestamp) -> Date {
        Date::from_days(at.div_euclid(DAY_MS))
    }

    /// Days since 1970-01-01 to a date (Hinnant, "chrono-compatible low-level date algorithms").
    pub(crate) fn from_days(days: i64) -> Date {
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date { year, month: narrow(month), day: narrow(day) }
    }

    /// The inverse of [`Date::from_days`].
    pub(crate) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = i64::from(self.month);
        let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// Whether there is such a day, in the years that timestamps reach.
    pub(crate) fn exists(self) -> bool {
        (1..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && self.day >= 1
            && Date::from_days(self.days()) == self
    }

    /// `7 May 2023`, the form in which dates stand among a memory's words.
    pub(crate) fn spoken(self) -> String {
        let month = MONTHS[self.month as usize - 1];
        format!("{} {month} {}", self.day, self.year)
    }
}

fn narrow(value: i64) -> u32 {
    u32::try_from(value).expect("months and days are small and positive")
}

/// Reads an RFC 3339 text, as in `2023-05-08T13:56:00.5+02:00`; a date alone is its first moment in UTC.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        (digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    let is = |place: usize, wanted: &[u8]| bytes.get(place).is_some_and(|b| wanted.contains(b));
    if !is(4, b"-") || !is(7, b"-") {
        return None;
    }
    let date = Date {
        year: number(0, 4)?,
        month: u32::try_from(number(5, 7)?).ok()?,
        day: u32::try_from(number(8, 10)?).ok()?,
    };
    if !date.exists() {
        return None;
    }
    let midnight = date.days() * DAY_MS;
    if bytes.len() == 10 {
        return Some(midnight);
    }
    if !is(10, b"Tt ") || !is(13, b":") || !is(16, b":") {
        return None;
    }
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut place = 19;
    let mut millis = 0;
    if is(place, b".") {
        let digits = bytes[place + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(3);
        let scale = [100, 10, 1][kept - 1];
        millis = number(place + 1, place + 1 + kept)? * scale;
        place += 1 + digits;
    }
    let offset = if is(place, b"Zz") && bytes.len() == place + 1 {
        0
    } else if is(place, b"+-") && is(place + 3, b":") && bytes.len() == place + 6 {
        let (hours, minutes) = (number(place + 1, place + 3)?, number(place + 4, place + 6)?);
        if hours > 23 || minutes > 59 {
            return None;
        }
        (hours * 60 + minutes) * if is(place, b"-") { -1 } else { 1 }
    } else {
        return None;
    };
    let at = midnight + ((hour * 60 + minute - offset) * 60 + second.min(59)) * 1000 + millis;
    (FIRST_MS..=LAST_MS).contains(&at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse(text), expected, "{text}");
    }

    #[test]
    fn rfc_3339_texts() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-02", Some(DAY_MS));
        check("1969-12-31T23:59:59.999Z", Some(-1));
        check("2023-05-08T13:56:00.25+02:00", Some(1_683_546_960_250));
        check("0001-01-01T00:00:00Z", Some(FIRST_MS));
        check("9999-12-31T23:59:59.999Z", Some(LAST_MS));
        check("0001-01-01T00:00:00+01:00", None);
        check("2023-02-29", None);
        check("2024-02-29", Some(19_782 * DAY_MS));
        check("2023-13-01", None);
        check("2023-05-08T13:56", None);
        check("2023-05-08T13:56:00", None);
        check("2023-05-08T13:56:00.Z", None);
        check("8 May 2023", None);
        check("", None);
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in
            (Date { year: 1, month: 1, day: 1 }.days()..Date { year: 9999, month: 12, day: 31 }.days()).step_by(97)
        {
            assert_eq!(Date::from_days(days).days(), days);
            assert!(Date::from_days(days).exists());
        }
        assert_eq!(Date::of(-1), Date { year: 1969, month: 12, day: 31 });
        assert_eq!(Date::of(0).spoken(), "1 January 1970");
    }
}
