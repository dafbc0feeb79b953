//! HTTP dates (RFC 9110, 5.6.7): written as IMF-fixdate, read in all three forms. Used by the
//! encoder for `Date` and by whoever answers conditional requests. Never asks for the time:
//! where "now" matters the caller passes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const LONG_DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const DAY_SECONDS: u64 = 86_400;
/// The last second of the year 9999, the last one four digits can name.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Formats a time as IMF-fixdate. Times before 1970 become the epoch, times after the year
/// 9999 its last second; fractions of a second are cut off.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// let text = tarae_http::date::format(UNIX_EPOCH + Duration::from_secs(784_111_777));
/// assert_eq!(text, "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn format(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    format_unix(seconds)
        .iter()
        .map(|&byte| byte as char)
        .collect()
}

/// Formats seconds since 1970 as IMF-fixdate, without allocating.
///
/// ```
/// assert_eq!(&tarae_http::date::format_unix(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
/// ```
pub fn format_unix(seconds: u64) -> [u8; 29] {
    let seconds = seconds.min(SECONDS_MAX);
    let days = seconds / DAY_SECONDS;
    let (year, month, day) = civil_from_days(days);
    let rest = seconds % DAY_SECONDS;
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1 January 1970 was a Thursday.
    out[0..3].copy_from_slice(DAYS[((days + 3) % 7) as usize]);
    two_digits(&mut out[5..7], day);
    out[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    two_digits(&mut out[12..14], year / 100);
    two_digits(&mut out[14..16], year % 100);
    two_digits(&mut out[17..19], rest / 3600);
    two_digits(&mut out[20..22], rest / 60 % 60);
    two_digits(&mut out[23..25], rest % 60);
    out
}

/// Reads an HTTP date in any of its three forms: IMF-fixdate, RFC 850 and asctime.
///
/// `now` decides the century of an RFC 850 date: a year that would lie more than 50 years
/// ahead belongs to the past. Dates before 1970 and everything malformed give `None`.
///
/// ```
/// use std::time::{Duration, SystemTime, UNIX_EPOCH};
/// let want = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
/// let now = SystemTime::now();
/// assert_eq!(tarae_http::date::parse("Sun, 06 Nov 1994 08:49:37 GMT", now), want);
/// assert_eq!(tarae_http::date::parse("Sunday, 06-Nov-94 08:49:37 GMT", now), want);
/// assert_eq!(tarae_http::date::parse("Sun Nov  6 08:49:37 1994", now), want);
/// assert_eq!(tarae_http::date::parse("yesterday", now), None);
/// ```
pub fn parse(text: impl AsRef<[u8]>, now: SystemTime) -> Option<SystemTime> {
    let text = text.as_ref();
    let seconds = match text.get(3)? {
        b',' => parse_imf(text)?,
        b' ' => parse_asctime(text)?,
        _ => parse_rfc850(text, now)?,
    };
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_imf(text: &[u8]) -> Option<u64> {
    let text: &[u8; 29] = text.try_into().ok()?;
    day_name(&text[0..3])?;
    literal(&text[3..5], b", ")?;
    literal(&text[7..8], b" ")?;
    literal(&text[11..12], b" ")?;
    literal(&text[16..17], b" ")?;
    literal(&text[25..29], b" GMT")?;
    let year = number(&text[12..16])?;
    seconds(
        year,
        month(&text[8..11])?,
        number(&text[5..7])?,
        &text[17..25],
    )
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn parse_rfc850(text: &[u8], now: SystemTime) -> Option<u64> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    LONG_DAYS
        .iter()
        .find(|name| name.as_bytes() == &text[..comma])?;
    let text: &[u8; 24] = text[comma..].try_into().ok()?;
    literal(&text[0..2], b", ")?;
    literal(&text[4..5], b"-")?;
    literal(&text[8..9], b"-")?;
    literal(&text[11..12], b" ")?;
    literal(&text[20..24], b" GMT")?;
    let short = number(&text[9..11])?;
    let now_seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (this_year, ..) = civil_from_days(now_seconds.min(SECONDS_MAX) / DAY_SECONDS);
    let mut year = this_year / 100 * 100 + short;
    if year > this_year + 50 {
        year = year.checked_sub(100)?;
    } else if year + 50 <= this_year {
        // "More than 50 years in the future" leaves the next century open for small years.
        year += 100;
    }
    seconds(
        year,
        month(&text[5..8])?,
        number(&text[2..4])?,
        &text[12..20],
    )
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(text: &[u8]) -> Option<u64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    day_name(&text[0..3])?;
    literal(&text[3..4], b" ")?;
    literal(&text[7..8], b" ")?;
    literal(&text[10..11], b" ")?;
    literal(&text[19..20], b" ")?;
    let day = if text[8] == b' ' {
        number(&text[9..10])?
    } else {
        number(&text[8..10])?
    };
    seconds(
        number(&text[20..24])?,
        month(&text[4..7])?,
        day,
        &text[11..19],
    )
}

fn seconds(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<u64> {
    literal(&clock[2..3], b":")?;
    literal(&clock[5..6], b":")?;
    let (hour, minute, second) = (
        number(&clock[0..2])?,
        number(&clock[3..5])?,
        number(&clock[6..8])?,
    );
    // A leap second is written as 60.
    let in_range = year >= 1970 && (1..=days_in(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(days * DAY_SECONDS + hour * 3600 + minute * 60 + second)
}

fn literal(text: &[u8], want: &[u8]) -> Option<()> {
    (text == want).then_some(())
}

fn day_name(text: &[u8]) -> Option<()> {
    DAYS.iter()
        .any(|name| name.as_slice() == text)
        .then_some(())
}

fn month(text: &[u8]) -> Option<u64> {
    let index = MONTHS.iter().position(|name| name.as_slice() == text)?;
    Some(index as u64 + 1)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + u64::from(byte - b'0'))
    })
}

fn two_digits(out: &mut [u8], value: u64) {
    out[0] = b'0' + (value / 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 to (year, month, day): the proleptic Gregorian calendar in years that begin
/// in March, so that the leap day comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let year_of_era = year % 400;
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    year / 400 * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn known_dates() {
        for (seconds, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_210_096, "Thu, 29 Feb 2024 12:34:56 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&format_unix(seconds)), want);
            assert_eq!(parse(want, at(0)), Some(at(seconds.min(SECONDS_MAX))));
        }
        assert_eq!(
            format(UNIX_EPOCH - Duration::from_secs(5)),
            format(UNIX_EPOCH)
        );
        assert_eq!(format(at(7) + Duration::from_millis(999)), format(at(7)));
    }

    #[test]
    fn every_day_of_four_centuries_survives_a_round_trip() {
        for day in 0..146_097 + 400 {
            let seconds = day * DAY_SECONDS + day % DAY_SECONDS;
            assert_eq!(
                parse(format_unix(seconds), at(0)),
                Some(at(seconds)),
                "day {day}"
            );
        }
    }

    #[test]
    fn the_century_of_an_rfc850_date_follows_the_fifty_year_rule() {
        let year = |text: &str, now: SystemTime| {
            parse(text, now).map(|time| format(time)[12..16].to_owned())
        };
        let now_2026 = at(1_770_000_000);
        assert_eq!(
            year("Sunday, 06-Nov-94 08:49:37 GMT", now_2026),
            Some("1994".into())
        );
        assert_eq!(
            year("Sunday, 06-Nov-76 08:49:37 GMT", now_2026),
            Some("2076".into())
        );
        assert_eq!(
            year("Sunday, 06-Nov-77 08:49:37 GMT", now_2026),
            Some("1977".into())
        );
        assert_eq!(
            year("Sunday, 06-Nov-26 08:49:37 GMT", now_2026),
            Some("2026".into())
        );
        let now_2090 = at(3_800_000_000);
        assert_eq!(
            year("Sunday, 06-Nov-94 08:49:37 GMT", now_2090),
            Some("2094".into())
        );
        assert_eq!(
            year("Sunday, 06-Nov-10 08:49:37 GMT", now_2090),
            Some("2110".into())
        );
        assert_eq!(
            year("Sunday, 06-Nov-70 08:49:37 GMT", now_2090),
            Some("2070".into())
        );
    }

    #[test]
    fn malformed_dates_are_refused() {
        for text in [
            "",
            "Sun",
            "Sun,",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Xxx, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Xxx 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Thu, 29 Feb 2100 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08-49-37 GMT",
            "Someday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 94  ",
            "\u{1d4b6}\u{1d4b6}\u{1d4b6}",
        ] {
            assert_eq!(parse(text, at(1_770_000_000)), None, "{text}");
        }
        assert!(parse("Fri, 30 Dec 2016 23:59:60 GMT", at(0)).is_some());
    }
}
