//! Times as text, and back: RFC 3339, and HTTP's dates. All are nanoseconds since 1970, in UTC.

use std::io::Write;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Write a time as RFC 3339 has it.
pub fn write_rfc3339(nanoseconds: i64, to: &mut Vec<u8>) {
    let seconds = nanoseconds.div_euclid(SECOND);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let (clock, fraction) = (seconds.rem_euclid(DAY), nanoseconds.rem_euclid(SECOND));
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let _ = write!(to, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z");
}

/// Read a time as RFC 3339 has it; None if it is none.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let mut parts = day.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let (clock, rest) = rest.split_at_checked(8)?;
    let seconds = read_clock(clock)?;
    let digits = rest
        .strip_prefix(['.', ','])
        .map_or("", |rest| &rest[..rest.find(|one: char| !one.is_ascii_digit()).unwrap_or(rest.len())]);
    let zone = &rest[if digits.is_empty() { 0 } else { digits.len() + 1 }..];
    let fraction = if digits.is_empty() { 0 } else { number(&format!("{digits:0<9}")[..9])? };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            sign * (number(hours)? * 3600 + number(minutes)? * 60)
        }
    };
    let seconds = days(year, month, day)? * DAY + seconds - offset;
    seconds.checked_mul(SECOND)?.checked_add(fraction)
}

/// Read one of HTTP's dates, `Sun, 06 Nov 1994 08:49:37 GMT`; None if it is none.
#[must_use]
pub fn read_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let day = number(words.next()?)?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    let year = number(words.next()?)?;
    let seconds = read_clock(words.next()?)?;
    (days(year, month, day)? * DAY + seconds).checked_mul(SECOND)
}

fn read_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hour, minute, second) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Return the days since 1970 of a date in the Gregorian calendar, whose years begin in March here.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468)
}

/// Return year, month and day of a number of days since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-27T22:30:00+01:30", 1_795_813_200),
            ("1969-12-31t23:59:59-00:00", -1),
        ] {
            assert_eq!(read_rfc3339(text), Some(seconds * SECOND), "{text}");
        }
        assert_eq!(read_rfc3339("2026-01-01 00:00:00.5Z").map(|time| time % SECOND), Some(SECOND / 2));
        assert_eq!(read_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777 * SECOND));
        for text in ["", "now", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00", "é026-01-01T0"]
        {
            assert_eq!(read_rfc3339(text), None, "{text}");
        }
        assert_eq!(read_http_date("soon"), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(time: i64) {
            let mut text = Vec::new();
            write_rfc3339(time, &mut text);
            prop_assert_eq!(read_rfc3339(std::str::from_utf8(&text).unwrap()), Some(time));
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = (read_rfc3339(&text), read_http_date(&text));
        }
    }
}
