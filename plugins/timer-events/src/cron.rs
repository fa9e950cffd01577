//! Cron lines: five fields, or six with seconds first, in the dialect of cron(8).
//!
//! Sunday is 0 and 7. Days of month and weekdays are alternatives when both are restricted, and
//! conditions when one of them starts with `*`. Beyond cron: `L` for the last day of the month,
//! `FRI#2` for the second Friday, `FRIL` for the last one, `?` for `*` in the two fields of days.
//!
//! Must never: know time zones or dates; [`crate::calendar`] does.

/// Something that is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CronProblem {
    /// In characters, from 1.
    pub(crate) column: u32,
    pub(crate) message: String,
}

/// What a line says. Sets are bits: bit 5 of `hours` is five o'clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    pub(crate) seconds: u64,
    pub(crate) minutes: u64,
    pub(crate) hours: u64,
    pub(crate) days: u64,
    /// The last day of the month, whichever it is.
    pub(crate) last_day: bool,
    pub(crate) months: u64,
    /// Bit 0 is Sunday.
    pub(crate) weekdays: u64,
    /// For each weekday the weeks of the month in which it counts: bit 1 is the first.
    pub(crate) nth: [u8; 7],
    /// Weekdays that count when they are the last of the month.
    pub(crate) last_weekdays: u64,
    /// Both kinds of days have to fit, rather than one of them.
    pub(crate) days_and_weekdays: bool,
    /// Seconds, minutes or hours start with `*`: it runs by the time that passes, and not once for
    /// each time on the clock when the clock is changed.
    pub(crate) is_interval: bool,
}

struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
    /// What the first of `names` stands for.
    first_name: u8,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const SECOND: Field = Field { name: "second", least: 0, most: 59, names: &[], first_name: 0 };
const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[], first_name: 0 };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[], first_name: 0 };
const DAY: Field = Field { name: "day of month", least: 1, most: 31, names: &[], first_name: 0 };
const MONTH: Field = Field { name: "month", least: 1, most: 12, names: &MONTHS, first_name: 1 };
const WEEKDAY: Field =
    Field { name: "weekday", least: 0, most: 7, names: &WEEKDAYS, first_name: 0 };

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A word of the line, and the column in which it starts.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    column: u32,
}

impl<'a> Word<'a> {
    fn parts(self, separator: char) -> impl Iterator<Item = Word<'a>> {
        let mut column = self.column;
        self.text.split(separator).map(move |text| {
            let word = Word { text, column };
            column += length(text) + 1;
            word
        })
    }

    fn problem(self, message: String) -> CronProblem {
        CronProblem { column: self.column, message }
    }
}

fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX / 2)
}

fn words(line: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut column = 1;
    for text in line.split(char::is_whitespace) {
        if !text.is_empty() {
            words.push(Word { text, column });
        }
        column += length(text) + 1;
    }
    words
}

impl Cron {
    /// Reads a line, or says everything that is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Cron, Vec<CronProblem>> {
        let words = words(line);
        if let [word] = words.as_slice()
            && word.text.starts_with('@')
        {
            let name = word.text.to_ascii_lowercase();
            return match NICKNAMES.iter().find(|(known, _)| *known == name) {
                Some((_, line)) => Cron::parse(line),
                None => {
                    let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                    let known = known.join(", ");
                    Err(vec![word.problem(format!("`{}` is none of {known}", word.text))])
                }
            };
        }
        let (second, rest) = match words.as_slice() {
            rest @ [_, _, _, _, _] => (Word { text: "0", column: 1 }, rest),
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            _ => {
                let message = format!(
                    "a cron line has five fields: minute, hour, day of month, month, weekday; or \
                     six with the second first; this has {}",
                    words.len()
                );
                return Err(vec![CronProblem { column: 1, message }]);
            }
        };
        let mut problems = Vec::new();
        let mut read = |field: &Field, word: Word<'_>| {
            set(field, word).unwrap_or_else(|found| {
                problems.extend(found);
                0
            })
        };
        let seconds = read(&SECOND, second);
        let (minutes, hours) = (read(&MINUTE, rest[0]), read(&HOUR, rest[1]));
        let months = read(&MONTH, rest[3]);
        let (day, weekday) = (rest[2], rest[4]);
        let days = days(day).unwrap_or_else(|found| {
            problems.extend(found);
            Days::default()
        });
        let weekdays = weekdays(weekday).unwrap_or_else(|found| {
            problems.extend(found);
            Weekdays::default()
        });
        if !problems.is_empty() {
            problems.sort_by_key(|it| it.column);
            return Err(problems);
        }
        let starts_open = |word: Word<'_>| word.text.starts_with(['*', '?']);
        Ok(Cron {
            seconds,
            minutes,
            hours,
            days: days.plain,
            last_day: days.last,
            months,
            weekdays: weekdays.plain,
            nth: weekdays.nth,
            last_weekdays: weekdays.last,
            days_and_weekdays: starts_open(day) || starts_open(weekday),
            is_interval: [second, rest[0], rest[1]].into_iter().any(starts_open),
        })
    }
}

/// A set of plain values.
fn set(field: &Field, word: Word<'_>) -> Result<u64, Vec<CronProblem>> {
    let mut bits = 0;
    let mut problems = Vec::new();
    for item in word.parts(',') {
        match range(field, item) {
            Ok(range) => bits |= range,
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(bits) } else { Err(problems) }
}

#[derive(Default)]
struct Days {
    plain: u64,
    last: bool,
}

fn days(word: Word<'_>) -> Result<Days, Vec<CronProblem>> {
    let mut days = Days::default();
    let mut problems = Vec::new();
    for item in word.parts(',') {
        if item.text.eq_ignore_ascii_case("L") {
            days.last = true;
            continue;
        }
        match range(&DAY, item) {
            Ok(range) => days.plain |= range,
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(days) } else { Err(problems) }
}

#[derive(Default)]
struct Weekdays {
    plain: u64,
    nth: [u8; 7],
    last: u64,
}

fn weekdays(word: Word<'_>) -> Result<Weekdays, Vec<CronProblem>> {
    let mut weekdays = Weekdays::default();
    let mut problems = Vec::new();
    for item in word.parts(',') {
        if let Err(problem) = weekdays.add(item) {
            problems.push(problem);
        }
    }
    if problems.is_empty() { Ok(weekdays) } else { Err(problems) }
}

impl Weekdays {
    fn add(&mut self, item: Word<'_>) -> Result<(), CronProblem> {
        let at_end = |text| Word { text, column: item.column };
        if let Some((day, week)) = item.text.split_once('#') {
            let day = value(&WEEKDAY, at_end(day))? % 7;
            let Some(week) = week.parse().ok().filter(|it| (1..=5u8).contains(it)) else {
                let message = format!("`{}`: a month has weeks 1 to 5", item.text);
                return Err(item.problem(message));
            };
            self.nth[usize::from(day)] |= 1 << week;
            return Ok(());
        }
        if let Some(day) = item.text.strip_suffix(['L', 'l'])
            && !day.is_empty()
        {
            self.last |= 1 << (value(&WEEKDAY, at_end(day))? % 7);
            return Ok(());
        }
        let bits = range(&WEEKDAY, item)?;
        // Seven is Sunday too.
        self.plain |= (bits | bits >> 7) & 0x7f;
        Ok(())
    }
}

/// `*`, a value or a range, with or without a step.
fn range(field: &Field, item: Word<'_>) -> Result<u64, CronProblem> {
    let (span, step) = match item.text.split_once('/') {
        Some((span, step)) => (span, Some(step)),
        None => (item.text, None),
    };
    let span_word = Word { text: span, column: item.column };
    let is_day = matches!(field.name, "day of month" | "weekday");
    let (first, last) = match span.split_once('-') {
        _ if span == "*" || (span == "?" && is_day) => (field.least, field.most),
        Some((first, last)) => {
            let last_column = item.column + length(first) + 1;
            let last_word = Word { text: last, column: last_column };
            let first = value(field, Word { text: first, column: item.column })?;
            let last = match value(field, last_word)? {
                // From Saturday to Sunday.
                0 if field.name == "weekday" && first > 0 => 7,
                last => last,
            };
            (first, last)
        }
        None => {
            let single = value(field, span_word)?;
            if step.is_some() {
                let message = format!(
                    "`{}`: a step needs a range; write `{span}-{}/…` or `*/…`",
                    item.text, field.most
                );
                return Err(item.problem(message));
            }
            (single, single)
        }
    };
    if first > last {
        let message = format!(
            "`{span}` goes backwards; write `{first}-{},{}-{last}`",
            field.most, field.least
        );
        return Err(item.problem(message));
    }
    let step = match step {
        None => 1,
        Some(step) => match step.parse::<u8>() {
            Ok(step) if step > 0 && is_digits(item.text.rsplit('/').next()) => step,
            Ok(_) | Err(_) => {
                let most = field.most;
                let message =
                    format!("`{}`: a step is a number from 1, such as `*/{most}`", item.text);
                return Err(item.problem(message));
            }
        },
    };
    Ok((first..=last).step_by(usize::from(step)).fold(0, |bits, value| bits | 1 << value))
}

fn is_digits(text: Option<&str>) -> bool {
    text.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A number or a name.
fn value(field: &Field, word: Word<'_>) -> Result<u8, CronProblem> {
    let named = field.names.iter().zip(field.first_name..);
    if let Some((_, value)) = named.into_iter().find(|(it, _)| it.eq_ignore_ascii_case(word.text)) {
        return Ok(value);
    }
    let number = word.text.parse().ok().filter(|_| is_digits(Some(word.text)));
    number.filter(|it| (field.least..=field.most).contains(it)).ok_or_else(|| {
        let names = match (field.names.first(), field.names.last()) {
            (Some(first), Some(last)) => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        let Field { name, least, most, .. } = field;
        word.problem(format!("`{}` is no {name}: {least} to {most}{names}", word.text))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(values: impl IntoIterator<Item = u8>) -> u64 {
        values.into_iter().fold(0, |bits, value| bits | 1 << value)
    }

    #[test]
    fn fields() {
        let cron = Cron::parse("*/20 9-17/4 1,15,L jan-mar,12 Sat-Sun,3").unwrap();
        assert_eq!(cron.seconds, 1);
        assert_eq!(cron.minutes, bits([0, 20, 40]));
        assert_eq!(cron.hours, bits([9, 13, 17]));
        assert_eq!((cron.days, cron.last_day), (bits([1, 15]), true));
        assert_eq!(cron.months, bits([1, 2, 3, 12]));
        assert_eq!(cron.weekdays, bits([0, 3, 6]));
        assert!(cron.is_interval && !cron.days_and_weekdays);

        let cron = Cron::parse("30 5 4 ? * FRI#2,1L,5-7").unwrap();
        assert_eq!((cron.seconds, cron.minutes, cron.hours), (bits([30]), bits([5]), bits([4])));
        assert_eq!((cron.nth[5], cron.last_weekdays), (0b100, bits([1])));
        assert_eq!(cron.weekdays, bits([0, 5, 6]));
        assert!(!cron.is_interval && cron.days_and_weekdays);
    }

    #[test]
    fn nicknames() {
        assert_eq!(Cron::parse("@daily"), Cron::parse("0 0 * * *"));
        assert_eq!(Cron::parse(" @Midnight "), Cron::parse("0 0 * * *"));
        assert_eq!(Cron::parse("@weekly"), Cron::parse("0 0 * * 7"));
    }

    #[test]
    fn what_is_wrong() {
        for (line, expected) in [
            ("61 * * * *", "1: `61` is no minute: 0 to 59"),
            ("0 24 * * *", "3: `24` is no hour: 0 to 23"),
            ("0  0 0 * *", "6: `0` is no day of month: 1 to 31"),
            ("0 0 1,32 * *", "7: `32` is no day of month: 1 to 31"),
            ("0 0 * 13 *", "7: `13` is no month: 1 to 12, or JAN to DEC"),
            ("0 0 * * 8", "9: `8` is no weekday: 0 to 7, or SUN to SAT"),
            ("0 0 * * MON-FRY", "13: `FRY` is no weekday: 0 to 7, or SUN to SAT"),
            ("5/15 * * * *", "1: `5/15`: a step needs a range; write `5-59/…` or `*/…`"),
            ("*/0 * * * *", "1: `*/0`: a step is a number from 1, such as `*/59`"),
            ("*/+5 * * * *", "1: `*/+5`: a step is a number from 1, such as `*/59`"),
            ("0 22-2 * * *", "3: `22-2` goes backwards; write `22-23,0-2`"),
            ("+5 * * * *", "1: `+5` is no minute: 0 to 59"),
            ("1,,2 * * * *", "3: `` is no minute: 0 to 59"),
            ("? * * * *", "1: `?` is no minute: 0 to 59"),
            ("0 0 * * 1#6", "9: `1#6`: a month has weeks 1 to 5"),
            (
                "@reboot",
                "1: `@reboot` is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
            ),
        ] {
            let problems = Cron::parse(line).unwrap_err();
            let found = format!("{}: {}", problems[0].column, problems[0].message);
            assert_eq!((found.as_str(), problems.len()), (expected, 1), "{line}");
        }
        for line in ["", "* * * *", "* * * * * * *", "every day"] {
            let problem = Cron::parse(line).unwrap_err().remove(0);
            assert!(problem.message.starts_with("a cron line has five fields"), "{line}");
        }
        assert_eq!(Cron::parse("60 24 * * MUN").unwrap_err().len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(line in ".{0,40}") {
            let _ = Cron::parse(&line);
        }

        #[test]
        fn anything_like_a_line_is_read_or_refused(line in "[0-9*/,?#L@A-Z -]{0,30}") {
            let columns = line.chars().count() + 1;
            if let Err(problems) = Cron::parse(&line) {
                prop_assert!(problems.iter().all(|it| (1..=columns).contains(&(it.column as usize))));
            }
        }
    }
}
