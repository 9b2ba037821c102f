//! Maintenance windows: `Sat,Sun 02:00-04:00`, `Mon-Fri 22:00-05:00`, `03:00-04:30`.
//!
//! Days are those on which a window begins: one that crosses midnight ends on the day after. Times are the device's
//! local ones, as its clock shows them, so a window follows daylight saving time.

use std::{fmt, str::FromStr};

use jiff::civil::{DateTime, Weekday};
use serde::{Deserialize, Serialize};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

const NAMES: [(Weekday, &str); 7] = [
    (Weekday::Monday, "Mon"),
    (Weekday::Tuesday, "Tue"),
    (Weekday::Wednesday, "Wed"),
    (Weekday::Thursday, "Thu"),
    (Weekday::Friday, "Fri"),
    (Weekday::Saturday, "Sat"),
    (Weekday::Sunday, "Sun"),
];

/// A span of time that comes back every week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// The days on which it begins, in the order of [`NAMES`].
    days: [bool; 7],
    /// The first minute of the day that is in it.
    from: u16,
    /// The first minute that is not; on the day after if it is not behind `from`.
    to: u16,
}

/// Why a text is not a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a maintenance window: {why}; expected one such as `Sat,Sun 02:00-04:00`")]
pub struct WindowError {
    text: String,
    why: &'static str,
}

impl Window {
    /// Whether a moment of local time is in it.
    pub fn contains(&self, time: DateTime) -> bool {
        let minute = u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        let today = index(time.weekday());
        let yesterday = (today + 6) % 7;
        if self.from < self.to {
            self.days[today] && (self.from..self.to).contains(&minute)
        } else {
            (self.days[today] && minute >= self.from) || (self.days[yesterday] && minute < self.to)
        }
    }
}

/// Whether something may be done at a moment of local time; with no windows always.
pub fn is_open(windows: &[Window], time: DateTime) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.contains(time))
}

fn index(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

fn day(text: &str) -> Option<usize> {
    NAMES.iter().position(|(_, name)| name.eq_ignore_ascii_case(text))
}

/// `Sat,Sun` or `Mon-Fri`, or both: `Mon-Wed,Sat`.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for piece in text.split(',') {
        let (first, last) = match piece.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(piece)?, day(piece)?),
        };
        // `Sat-Mon` goes over the week's end.
        let count = (last + 7 - first) % 7;
        for step in 0..=count {
            days[(first + step) % 7] = true;
        }
    }
    Some(days)
}

/// `02:00`, in minutes; 24:00 is the end of a day.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok());
    let (hour, minute): (u16, u16) = (number(hour)??, number(minute)??);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY).then_some(total)
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let refused = |why| WindowError {
            text: text.chars().take(60).collect(),
            why,
        };
        let (names, times) = match text.trim().rsplit_once(' ') {
            Some((names, times)) => (Some(names.trim()), times),
            None => (None, text.trim()),
        };
        let days = names.map_or(Some([true; 7]), days);
        let days = days.ok_or_else(|| refused("days are Mon, Tue, Wed, Thu, Fri, Sat and Sun, with `,` and `-`"))?;
        let times = times
            .split_once('-')
            .and_then(|(from, to)| Some((minutes(from)?, minutes(to)?)));
        match times.ok_or_else(|| refused("times are 00:00 to 24:00, with `-` between them"))? {
            (DAY, _) | (_, 0) => Err(refused("a window begins before 24:00, and ends after 00:00")),
            (from, to) if from == to => Err(refused("it is empty")),
            (from, to) => Ok(Self { days, from, to }),
        }
    }
}

impl TryFrom<String> for Window {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let names = NAMES.iter().zip(self.days).filter(|(_, is_in)| *is_in);
            let names: Vec<_> = names.map(|((_, name), _)| *name).collect();
            write!(f, "{} ", names.join(","))?;
        }
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_window() {
        // The 28th of November 2026 is a Saturday.
        for (window, time, expected) in [
            ("02:00-04:00", "2026-11-25T01:59:59", false),
            ("02:00-04:00", "2026-11-25T02:00:00", true),
            ("02:00-04:00", "2026-11-25T03:59:59", true),
            ("02:00-04:00", "2026-11-25T04:00:00", false),
            ("Sat,Sun 02:00-04:00", "2026-11-27T03:00:00", false),
            ("Sat,Sun 02:00-04:00", "2026-11-28T03:00:00", true),
            ("Sat,Sun 02:00-04:00", "2026-11-29T03:00:00", true),
            ("Sat,Sun 02:00-04:00", "2026-11-30T03:00:00", false),
            // Across midnight: the day is the one on which it begins.
            ("Sat 23:00-01:00", "2026-11-28T22:59:00", false),
            ("Sat 23:00-01:00", "2026-11-28T23:00:00", true),
            ("Sat 23:00-01:00", "2026-11-29T00:59:00", true),
            ("Sat 23:00-01:00", "2026-11-29T01:00:00", false),
            ("Sat 23:00-01:00", "2026-11-28T00:30:00", false),
            ("Sun 23:00-01:00", "2026-11-30T00:30:00", true),
            ("Mon-Fri 22:00-05:00", "2026-11-28T04:00:00", true),
            ("Mon-Fri 22:00-05:00", "2026-11-30T04:00:00", false),
            ("Sat-Mon 00:00-24:00", "2026-11-30T23:59:59", true),
            ("Sat-Mon 00:00-24:00", "2026-12-01T00:00:00", false),
            ("22:00-24:00", "2026-11-28T23:59:59", true),
            ("22:00-24:00", "2026-11-28T00:00:00", false),
        ] {
            let time: DateTime = time.parse().unwrap();
            assert_eq!(
                window.parse::<Window>().unwrap().contains(time),
                expected,
                "{window} {time}"
            );
        }
    }

    #[test]
    fn without_windows_it_is_always_open() {
        let time = "2026-11-28T12:00:00".parse().unwrap();
        assert!(is_open(&[], time));
        let windows = ["Sat 01:00-02:00", "12:00-13:00"].map(|text| text.parse().unwrap());
        assert!(is_open(&windows, time));
        assert!(!is_open(&windows[..1], time));
    }

    #[test]
    fn what_is_no_window() {
        for text in [
            "",
            "Sat",
            "02:00",
            "02:00-",
            "2:00-4:00",
            "02:00-04:60",
            "02:00-24:01",
            "25:00-26:00",
            "02:00-02:00",
            "24:00-02:00",
            "22:00-00:00",
            "Sun Sat 02:00-04:00",
            "Sam 02:00-04:00",
            "Sat, 02:00-04:00",
            "Sat 02:00 - 04:00",
            "+2:00-04:00",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }

    #[test]
    fn windows_come_back() {
        for (text, shown) in [
            ("sat,SUN 02:00-04:00", "Sat,Sun 02:00-04:00"),
            ("Mon-Wed,Sat 02:00-04:00", "Mon,Tue,Wed,Sat 02:00-04:00"),
            ("02:00-24:00", "02:00-24:00"),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!(window.to_string(), shown);
            assert_eq!(shown.parse::<Window>().unwrap(), window);
        }
    }
}
