//! Points in time at the doors: RFC 3339 texts outside, milliseconds since 1970 inside. Never a clock, and never a time
//! zone other than the offset that a text names.
use time::format_description::{BorrowedFormatItem, well_known::Rfc3339};
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcDateTime};

/// The first millisecond of year 1.
pub const EARLIEST: i64 = -62_135_596_800_000;
/// The last millisecond of year 9999.
pub const LATEST: i64 = 253_402_300_799_999;

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const PRINTED: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Reads a time: RFC 3339 with any offset, a date alone (midnight UTC), or Unix milliseconds as digits with an optional
/// minus. What is finer than a millisecond is dropped towards the past.
///
/// # Errors
/// A sentence without full stop, if the text is none of these or lies outside the years 1 to 9999.
pub fn parse(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // A text of digits that is no i64 is far outside the years.
        return in_years(text.parse().unwrap_or(i64::MAX), text);
    }
    if let Ok(date) = Date::parse(text, DATE) {
        return in_years(milliseconds(date.midnight().assume_utc()), text);
    }
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(moment) => in_years(milliseconds(moment), text),
        Err(_) => {
            Err(format!("{} is not a time: write 2023-05-08T13:56:00Z, 2023-05-08 or Unix milliseconds", shown(text)))
        }
    }
}

/// Checks that Unix milliseconds lie in the years 1 to 9999.
///
/// # Errors
/// A sentence without full stop.
pub fn check(ms: i64) -> Result<i64, String> {
    in_years(ms, &ms.to_string())
}

/// Writes Unix milliseconds as RFC 3339 in UTC with milliseconds, as in `2023-05-08T13:56:00.000Z`. What lies outside the
/// years 1 to 9999, which a store never holds, is written as digits.
#[must_use]
pub fn format(ms: i64) -> String {
    if !(EARLIEST..=LATEST).contains(&ms) {
        return ms.to_string();
    }
    UtcDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(PRINTED).ok())
        .unwrap_or_else(|| ms.to_string())
}

fn in_years(ms: i64, text: &str) -> Result<i64, String> {
    if (EARLIEST..=LATEST).contains(&ms) {
        return Ok(ms);
    }
    Err(format!("{} is outside the years 1 to 9999", shown(text)))
}

/// The text in quotes, cut if it is no time by far.
fn shown(text: &str) -> String {
    if text.chars().count() <= 40 {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(40).collect::<String>())
}

fn milliseconds(moment: OffsetDateTime) -> i64 {
    let ms = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    // The years of `time` end long before those of an i64 of milliseconds.
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: i64) {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
    }

    #[track_caller]
    fn writes(ms: i64, expected: &str) {
        assert_eq!(format(ms), expected);
        assert_eq!(parse(expected), Ok(ms), "does not come back");
    }

    #[test]
    fn times_are_read_in_every_accepted_form() {
        reads("2023-05-08T13:56:00Z", 1_683_554_160_000);
        reads("2023-05-08t13:56:00z", 1_683_554_160_000);
        reads("2023-05-08T13:56:00.5Z", 1_683_554_160_500);
        reads("2023-05-08T13:56:00.1239Z", 1_683_554_160_123);
        reads("1969-12-31T23:59:59.9999Z", -1);
        reads("2023-05-08T15:56:00+02:00", 1_683_554_160_000);
        reads("2023-05-07T23:56:00-14:00", 1_683_554_160_000);
        reads("2023-05-08", 1_683_504_000_000);
        reads("2024-02-29", 1_709_164_800_000);
        reads("0", 0);
        reads("-1", -1);
        reads("1683554160000", 1_683_554_160_000);
        reads("0001-01-01", EARLIEST);
        reads("9999-12-31T23:59:59.999Z", LATEST);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            " ",
            "-",
            "yesterday",
            "2023-05-08T13:56:00",
            "2023-02-29",
            "2023-13-01",
            "08.05.2023",
            "1e3",
            "1.5",
            " 2023-05-08",
            "2023-05-08T25:00:00Z",
        ] {
            let expected =
                format!("{text:?} is not a time: write 2023-05-08T13:56:00Z, 2023-05-08 or Unix milliseconds");
            refuses(text, &expected);
        }
    }

    #[test]
    fn years_outside_1_to_9999_are_refused() {
        for text in [
            "0000-12-31",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "253402300800000",
            "99999999999999999999999",
            "-99999999999999999999999",
        ] {
            refuses(text, &format!("{text:?} is outside the years 1 to 9999"));
        }
    }

    #[test]
    fn times_are_written_with_milliseconds_in_utc() {
        writes(1_683_554_160_000, "2023-05-08T13:56:00.000Z");
        writes(1_683_554_160_007, "2023-05-08T13:56:00.007Z");
        writes(0, "1970-01-01T00:00:00.000Z");
        writes(-1, "1969-12-31T23:59:59.999Z");
        writes(EARLIEST, "0001-01-01T00:00:00.000Z");
        writes(LATEST, "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_no_store_holds_is_written_as_digits() {
        assert_eq!(format(i64::MAX), "9223372036854775807");
        assert_eq!(format(i64::MIN), "-9223372036854775808");
    }
}
