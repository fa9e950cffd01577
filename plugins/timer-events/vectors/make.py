#!/usr/bin/env python3
"""Makes occurrences.jsonl: when cron lines are due, by implementations that are not ours.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install croniter==7.0.0 tzdata==2026.6
    PYTHONTZPATH= /tmp/venv/bin/python make.py > occurrences.jsonl

Two implementations, neither related to the plugin:

- `croniter` from PyPI, wherever the zone's clock is not changed between the first and the last
  occurrence, and in UTC. It reads the line and finds the times by itself.
- `brute`, below, where the clock is changed: it asks for every second or minute of the stretch what
  the clock shows (zoneinfo of the standard library), and compares with the sets that croniter's
  parser reads from the line. What happens at a change is written down as cron(8) has it: a line
  with `*` at the start of its minute or hour runs whenever the clock shows a matching time; any
  other line runs once for each time, and right after a gap for those in it.

Without a change both have to agree, or the program ends. At changes they agree in nine of ten
stretches. In the others croniter runs lists such as `0,30 1-3 * * *` twice in the hour that comes
twice, some single times too (`30 2 * * *` in Sydney), and makes up `0 */2 * * *` after a gap:
cron(8) does neither, so that `brute` counts there.
"""

import json
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "America/New_York",
    "America/Sao_Paulo", "America/St_Johns", "America/Los_Angeles", "Asia/Kolkata",
    "Asia/Kathmandu", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Auckland",
    "Pacific/Chatham", "Asia/Tehran", "Africa/Casablanca", "America/Santiago", "Asia/Tokyo",
]
LINES = [
    "* * * * *", "*/10 * * * *", "0 * * * *", "7-59/13 * * * *", "0 */6 * * *", "30 1,2,3 * * *",
    "0 0 * * *", "30 2 * * *", "15 0 * * *", "*/20 1-3 * * *", "0 9 * * MON-FRI", "0 12 1 * *",
    "0 0 31 * *", "0 0 29 2 *", "59 23 28-31 * *", "0 3 * * 0", "0 3 * * 7", "0 0 13 * 5",
    "5 4 1,15 * WED", "0 0 1 1 *", "0 22 * * 1-5", "23 0-20/2 * * *", "0 0 1 */3 *",
    "0 8 1-7 * MON", "45 23 * JAN,JUL sat", "0 2 * * *", "0 0 L * *", "0 10 * * 1#2",
    "*/5 0 * * 6,0", "0 0 28 2 *", "30 0-23/1 * * *", "2 2 2 2 *",
]
# Ends of years and of months, leap days. All in the past, which no later rule of a zone changes.
STARTS = ["2019-12-31T12:34:56", "2023-02-27T23:59:59", "2024-02-28T00:00:00", "2021-06-30T18:00:00"]
# Shortly before changes: zone, UTC.
CHANGES = [
    ("Europe/Berlin", "2024-03-30T12:00:00"), ("Europe/Berlin", "2024-10-26T12:00:00"),
    ("Europe/London", "2025-03-29T12:00:00"), ("Europe/London", "2025-10-25T12:00:00"),
    ("Europe/Lisbon", "2023-03-25T12:00:00"), ("Europe/Lisbon", "2023-10-28T12:00:00"),
    ("America/New_York", "2024-03-09T12:00:00"), ("America/New_York", "2024-11-02T12:00:00"),
    ("America/Los_Angeles", "2025-03-08T12:00:00"), ("America/Los_Angeles", "2025-11-01T12:00:00"),
    ("America/St_Johns", "2024-03-09T12:00:00"), ("America/St_Johns", "2024-11-02T12:00:00"),
    ("America/Sao_Paulo", "2018-11-03T12:00:00"), ("America/Sao_Paulo", "2019-02-16T12:00:00"),
    ("Australia/Lord_Howe", "2024-04-06T06:00:00"), ("Australia/Lord_Howe", "2024-10-05T06:00:00"),
    ("Australia/Sydney", "2024-04-06T06:00:00"), ("Australia/Sydney", "2024-10-05T06:00:00"),
    ("Pacific/Chatham", "2024-04-06T06:00:00"), ("Pacific/Chatham", "2024-09-28T06:00:00"),
    ("Asia/Tehran", "2022-03-21T06:00:00"), ("Asia/Tehran", "2022-09-21T06:00:00"),
    ("Africa/Casablanca", "2024-03-09T12:00:00"), ("Africa/Casablanca", "2024-04-13T12:00:00"),
    ("America/Santiago", "2024-04-06T12:00:00"), ("America/Santiago", "2024-09-07T12:00:00"),
]
CHANGE_LINES = [
    "* * * * *", "*/10 * * * *", "*/30 * * * *", "0 * * * *", "30 * * * *", "0 */2 * * *",
    "0 0 * * *", "30 0 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *", "15 2 * * *", "30 2 * * *",
    "0 3 * * *", "0,30 1-3 * * *", "15,45 0-4 * * *", "5 */3 * * *", "*/15 2 * * *", "0 2 * * SUN",
    "30 2 29-31 * *", "59 1 * * *", "0 12 * * *", "7 0,1,2,3,4,5 * * *",
]
# With seconds first; croniter has them last.
SECOND_LINES = ["*/15 * * * * *", "30 0 2 * * *", "0,30 59 1,2 * * *", "5 */20 * * * *"]
MANY = 12


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def is_fixed(zone, first, last):
    """Whether the zone's clock is not changed from one time to another."""
    step, offsets, time = timedelta(hours=12), set(), first
    while time <= last + step:
        offsets.add(time.astimezone(zone).utcoffset())
        time += step
    return len(offsets) == 1


def by_croniter(line, zone, start, many=MANY):
    times = croniter(line, start.astimezone(zone), max_years_between_matches=50)
    return [int(times.get_next(datetime).timestamp()) for _ in range(many)]


def words_of(line):
    words = line.split()
    return (words if len(words) == 6 else ["0"] + words)


def matcher(line):
    """What croniter's parser makes of a line, as a test of what a clock shows."""
    second, *rest = words_of(line)
    fields, nth = croniter.expand(" ".join(rest))
    assert not nth, line
    (seconds, *_), _ = croniter.expand(f"{second} * * * *")
    sets = [None if "*" in field else {int(it) for it in field} for field in [seconds] + fields]
    has = lambda values, value: values is None or value in values

    def matches(shown):
        if not (has(sets[0], shown.second) and has(sets[1], shown.minute)):
            return False
        if not (has(sets[2], shown.hour) and has(sets[4], shown.month)):
            return False
        day, weekday = has(sets[3], shown.day), has(sets[5], shown.isoweekday() % 7)
        either = sets[3] is not None and sets[5] is not None
        return (day or weekday) if either else (day and weekday)

    return matches


def brute(line, zone, start, hours):
    words, matches = words_of(line), matcher(line)
    step = timedelta(seconds=1 if words[0] != "0" else 60)
    time = start.replace(second=0) if step.seconds == 60 else start
    passing = any(word.startswith("*") for word in words[:3])
    times, seen = [], set()
    end = start + timedelta(hours=hours)
    before = (time - step).astimezone(zone).replace(tzinfo=None)
    while time < end:
        shown = time.astimezone(zone).replace(tzinfo=None)
        if passing:
            due = matches(shown)
        else:
            # All that the clock would have shown since the last step, a gap included.
            due, since = False, before + step
            while since <= shown:
                if since not in seen and matches(since):
                    due = True
                    seen.add(since)
                since += step
        if due and time > start:
            times.append(int(time.timestamp()))
        before, time = shown, time + step
    return times[:MANY * 4]


def write(line, zone, start, times, by):
    case = {"cron": line, "zone": zone, "after": int(start.timestamp()), "times": times, "by": by}
    print(json.dumps(case, separators=(",", ":")))


def main():
    for zone_name in ZONES:
        zone = ZoneInfo(zone_name)
        for line in LINES:
            for start_text in STARTS:
                start = utc(start_text)
                many = MANY
                times = by_croniter(line, zone, start, many)
                while many > 3 and not is_fixed(zone, start, datetime.fromtimestamp(times[-1], timezone.utc)):
                    many //= 2
                    times = times[:many]
                if is_fixed(zone, start, datetime.fromtimestamp(times[-1], timezone.utc)):
                    write(line, zone_name, start, times, "croniter")
    differences = 0
    for zone_name, start_text in CHANGES:
        zone, start = ZoneInfo(zone_name), utc(start_text)
        assert not is_fixed(zone, start, start + timedelta(hours=36)), (zone_name, start_text)
        for line in CHANGE_LINES + SECOND_LINES:
            hours = 36 if len(line.split()) == 5 else 24
            times = brute(line, zone, start, hours)
            # Up to the change, and in UTC, both have to agree.
            plain = brute(line, ZoneInfo("UTC"), start, hours)
            if len(line.split()) == 5 and plain:
                assert plain == by_croniter(line, ZoneInfo("UTC"), start, len(plain)), line
            if len(line.split()) == 5 and times:
                differences += times != by_croniter(line, zone, start, len(times))
            if times:
                write(line, zone_name, start, times, "brute")
    print(f"{differences} stretches with a change differ from croniter's own rules", file=sys.stderr)


main()
