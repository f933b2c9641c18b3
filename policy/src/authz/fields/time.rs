//! `when` on `request.time`: when a request is decided, by the week's clock in UTC.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{ConditionReader, FieldContext};
use crate::collections::sort::sort_by;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::{Matched, ValueId};

const MINUTES_A_DAY: u16 = 24 * 60;
const MINUTES_A_WEEK: u16 = 7 * MINUTES_A_DAY;

/// Maximum number of windows in the interval table; the rest are tested one by one.
const MAX_WINDOWS: usize = 256;

/// Weekdays in the order of Unix time, which begins on a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Some days of the week, and a time on each of them: `Mon-Fri 09:00-17:00`, in UTC.
///
/// The end is not in it. A window that ends before it starts goes on into the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimeWindow {
    first_day: u8,
    last_day: u8,
    /// Minutes of the day.
    start: u16,
    end: u16,
}

impl TimeWindow {
    /// Parses `Mon-Fri 09:00-17:00`, `Sat 00:00-24:00` or `Fri-Mon 22:00-06:00`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = |problem: &str| format!("bad time `{text}`: {problem}, write it in UTC as in `Mon-Fri 09:00-17:00`");
        let (days, times) = text.split_once(' ').ok_or_else(|| bad("expected days and times"))?;
        let day = |name: &str| (0_u8..).zip(DAYS).find(|(_, known)| *known == name).map(|(day, _)| day);
        let (first_day, last_day) = days.split_once('-').unwrap_or((days, days));
        let (Some(first_day), Some(last_day)) = (day(first_day), day(last_day)) else {
            return Err(bad("days are Mon, Tue, Wed, Thu, Fri, Sat and Sun"));
        };
        let (start, end) = times.split_once('-').ok_or_else(|| bad("expected a start and an end"))?;
        let (Some(start), Some(end)) = (minute_of_day(start), minute_of_day(end)) else {
            return Err(bad("times are 00:00 to 24:00"));
        };
        match start == end || start == MINUTES_A_DAY {
            true => Err(bad("it holds no time")),
            false => Ok(Self { first_day, last_day, start, end }),
        }
    }

    /// Reports whether it holds a minute, counted from Thursday 00:00.
    pub(crate) fn contains(self, minute_of_week: u16) -> bool {
        let (day, minute) = (minute_of_week / MINUTES_A_DAY, minute_of_week % MINUTES_A_DAY);
        let on = |day: u16| {
            let since = |first: u8| (day + 7 - u16::from(first)) % 7;
            since(self.first_day) <= (u16::from(self.last_day) + 7 - u16::from(self.first_day)) % 7
        };
        match self.start < self.end {
            true => on(day) && (self.start..self.end).contains(&minute),
            false => (on(day) && minute >= self.start) || (on((day + 6) % 7) && minute < self.end),
        }
    }
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| match digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<u16>().ok(),
        false => None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= MINUTES_A_DAY).then_some(minute)
}

/// The minute of the week, counted from Thursday 00:00 in UTC.
pub(crate) fn minute_of_week(since_epoch: Duration) -> u16 {
    u16::try_from(since_epoch.as_secs() / 60 % u64::from(MINUTES_A_WEEK)).unwrap_or_default()
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |day: u8| DAYS.get(usize::from(day)).copied().unwrap_or_default();
        f.write_str(day(self.first_day))?;
        if self.first_day != self.last_day {
            write!(f, "-{}", day(self.last_day))?;
        }
        let [start, end] = [self.start, self.end];
        write!(f, " {:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
    }
}

/// The stretches of the week within which the same windows hold, by the minute at which each starts.
pub(crate) struct Index {
    stretches: Vec<(u16, Matched)>,
    /// Windows beyond [`MAX_WINDOWS`], tested one by one.
    more: Vec<(TimeWindow, ValueId)>,
}

impl Index {
    pub(crate) fn new(windows: impl Iterator<Item = (TimeWindow, ValueId)>) -> Self {
        let mut windows: Vec<_> = windows.collect();
        let more = windows.split_off(windows.len().min(MAX_WINDOWS));
        let edges = |window: &TimeWindow| [0, window.start, window.end];
        let mut minutes: Vec<u16> = windows.iter().flat_map(|(window, _)| edges(window)).collect();
        sort_by(&mut minutes, Ord::cmp);
        minutes.dedup();
        let starts = (0..7).flat_map(|day| minutes.iter().map(move |minute| day * MINUTES_A_DAY + minute));
        let starts = starts.filter(|start| *start < MINUTES_A_WEEK);
        let holding = |start| windows.iter().filter(move |(window, _)| window.contains(start)).map(|(_, id)| *id);
        let mut stretches: Vec<(u16, Matched)> = starts.map(|start| (start, holding(start).collect())).collect();
        stretches.dedup_by(|later, earlier| later.1 == earlier.1);
        Self { stretches, more }
    }

    pub(crate) fn lookup(&self, since_epoch: Duration, matched: &mut Matched) {
        let minute = minute_of_week(since_epoch);
        let after = self.stretches.partition_point(|(start, _)| *start <= minute);
        if let Some((_, holding)) = after.checked_sub(1).and_then(|at| self.stretches.get(at)) {
            matched.extend_from_slice(holding);
        }
        matched.extend(self.more.iter().filter(|(window, _)| window.contains(minute)).map(|(_, id)| *id));
    }
}

impl FieldIndex for Index {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        Index::lookup(self, request.time()?, &mut found.any);
        Ok(())
    }
}

/// The time of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestTime;

impl MatchField for RequestTime {
    type Pattern = TimeWindow;

    const RANK: u8 = 25;

    fn subject(&self) -> Cow<'static, str> {
        "time (UTC)".into()
    }

    fn index(self, patterns: Vec<(TimeWindow, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(Index::new(patterns.into_iter()))
    }
}

/// `when` on `request.time`, which Istio does not have.
pub(crate) const CONDITION: ConditionReader = ConditionReader { key: "request.time", read };

fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    Some(FieldValues::shared(RequestTime, read_values(node, TimeWindow::parse)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1970-01-01 was a Thursday.
    fn at(day: &str, hour: u64, minute: u64) -> Duration {
        let day = (0..).zip(DAYS).find(|(_, known)| *known == day).map(|(day, _)| day).expect("a day");
        // Some weeks later: the week alone counts.
        Duration::from_secs((((day + 7 * 2900) * 24 + hour) * 60 + minute) * 60 + 59)
    }

    #[test]
    fn rows() {
        let rows = [
            ("Mon-Fri 09:00-17:00", at("Mon", 9, 0), true),
            ("Mon-Fri 09:00-17:00", at("Mon", 8, 59), false),
            ("Mon-Fri 09:00-17:00", at("Fri", 16, 59), true),
            ("Mon-Fri 09:00-17:00", at("Fri", 17, 0), false),
            ("Mon-Fri 09:00-17:00", at("Sat", 12, 0), false),
            ("Mon-Fri 09:00-17:00", at("Sun", 12, 0), false),
            ("Sat 00:00-24:00", at("Sat", 23, 59), true),
            ("Sat 00:00-24:00", at("Sun", 0, 0), false),
            ("Fri-Mon 22:00-06:00", at("Sun", 23, 0), true),
            ("Fri-Mon 22:00-06:00", at("Tue", 5, 59), true),
            ("Fri-Mon 22:00-06:00", at("Tue", 22, 0), false),
            ("Fri-Mon 22:00-06:00", at("Fri", 5, 0), false),
            ("Wed 23:00-01:00", at("Thu", 0, 30), true),
            ("Mon-Sun 00:00-24:00", at("Thu", 0, 0), true),
        ];
        for (text, time, expected) in rows {
            let window = TimeWindow::parse(text).expect(text);
            assert_eq!(window.to_string(), text);
            assert_eq!(window.contains(minute_of_week(time)), expected, "{text} at {time:?}");
        }
    }

    #[test]
    fn the_index_agrees_with_each_window_in_every_minute() {
        let texts =
            ["Mon-Fri 09:00-17:00", "Fri-Mon 22:00-06:00", "Wed 23:00-01:00", "Sat 00:00-24:00", "Thu 00:00-00:01"];
        let windows: Vec<_> = texts.iter().flat_map(|text| TimeWindow::parse(text)).collect();
        assert_eq!(windows.len(), texts.len());
        let index = Index::new(windows.iter().copied().zip((0..).map(ValueId)));
        for minute in 0..MINUTES_A_WEEK {
            let mut found = Matched::new();
            index.lookup(Duration::from_secs(u64::from(minute) * 60), &mut found);
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&windows)
                .filter(|(_, window)| window.contains(minute))
                .map(|(id, _)| id)
                .collect();
            assert_eq!(found.to_vec(), expected, "minute {minute}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let hint = "write it in UTC as in `Mon-Fri 09:00-17:00`";
        let rows = [
            ("09:00-17:00", "expected days and times"),
            ("Mon-Fri", "expected days and times"),
            ("Mo-Fr 09:00-17:00", "days are Mon, Tue, Wed, Thu, Fri, Sat and Sun"),
            ("mon 09:00-17:00", "days are Mon, Tue, Wed, Thu, Fri, Sat and Sun"),
            ("Mon 09:00", "expected a start and an end"),
            ("Mon 9:00-17:00", "times are 00:00 to 24:00"),
            ("Mon 09:00-24:01", "times are 00:00 to 24:00"),
            ("Mon 09:60-17:00", "times are 00:00 to 24:00"),
            ("Mon 09:00-17:00 CET", "times are 00:00 to 24:00"),
            ("Mon 09:00-09:00", "it holds no time"),
            ("Mon 24:00-06:00", "it holds no time"),
        ];
        for (text, problem) in rows {
            assert_eq!(TimeWindow::parse(text), Err(format!("bad time `{text}`: {problem}, {hint}")));
        }
    }

    #[test]
    fn windows_beyond_the_table_are_found_too() {
        let window = |minute| TimeWindow { first_day: 0, last_day: 0, start: minute, end: MINUTES_A_DAY };
        let index = Index::new((0..300).map(window).zip((0..).map(ValueId)));
        let mut found = Matched::new();
        index.lookup(Duration::from_secs(280 * 60), &mut found);
        assert_eq!(found.to_vec(), (0..=280).map(ValueId).collect::<Vec<_>>());
    }
}
