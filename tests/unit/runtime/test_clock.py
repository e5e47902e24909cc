"""Schedules are due when people expect it, also on the days the clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DefinitionError
from engine.runtime.clock import Schedule, due_between, firings, next_due

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
BERLIN, NEW_YORK, LORD_HOWE, HAVANA = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"


def local(zone: str, *parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone))


def of_day(cron: str, zone: str, year: int, month: int, day: int) -> list[str]:
    """The times of a day in a zone, with their offsets."""
    start = local(zone, year, month, day)
    end = datetime(year, month, day, tzinfo=UTC) + timedelta(days=1)
    end = end.replace(tzinfo=ZoneInfo(zone))
    due = due_between(Schedule(cron, zone), start.astimezone(UTC) - timedelta.resolution, end.astimezone(UTC) - MINUTE)
    return [time.astimezone(ZoneInfo(zone)).strftime("%H:%M%z") for time in due]


CHANGES = {
    "daily at 2:30, forward": ("30 2 * * *", BERLIN, (2026, 3, 29), ["03:00+0200"]),
    "daily at 2:30, back": ("30 2 * * *", BERLIN, (2026, 10, 25), ["02:30+0200"]),
    "daily at 2:30, New York forward": ("30 2 * * *", NEW_YORK, (2026, 3, 8), ["03:00-0400"]),
    "daily at 1:30, New York back": ("30 1 * * *", NEW_YORK, (2026, 11, 1), ["01:30-0400"]),
    "daily at 2:15, Lord Howe forward": ("15 2 * * *", LORD_HOWE, (2026, 10, 4), ["02:30+1100"]),
    "daily at 1:45, Lord Howe back": ("45 1 * * *", LORD_HOWE, (2026, 4, 5), ["01:45+1100"]),
    "daily at midnight, Havana forward": ("0 0 * * *", HAVANA, (2026, 3, 8), ["01:00-0400"]),
    "daily at midnight, Havana back": ("0 0 * * *", HAVANA, (2026, 11, 1), ["00:00-0400"]),
    "times that fall together are one": ("0,30 2-3 * * *", BERLIN, (2026, 3, 29), ["03:00+0200", "03:30+0200"]),
    "set hours, back": (
        "0 1-3 * * *",
        BERLIN,
        (2026, 10, 25),
        ["01:00+0200", "02:00+0200", "03:00+0100"],
    ),
    "a star's hour that is jumped": ("*/15 2 * * *", BERLIN, (2026, 3, 29), []),
    "a star's hour that comes twice": (
        "*/30 2 * * *",
        BERLIN,
        (2026, 10, 25),
        ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"],
    ),
    "a star's half hour that comes twice": (
        "*/10 1 * * *",
        LORD_HOWE,
        (2026, 4, 5),
        [f"01:{minute}0+1100" for minute in range(6)] + [f"01:{minute}0+1030" for minute in (3, 4, 5)],
    ),
    "a star's hour after a half hour's change": (
        "*/20 2 * * *",
        LORD_HOWE,
        (2026, 4, 5),
        ["02:00+1030", "02:20+1030", "02:40+1030"],
    ),
}


@pytest.mark.parametrize(("cron", "zone", "day", "times"), CHANGES.values(), ids=CHANGES)
def test_the_days_clocks_change_follow_the_rule(cron, zone, day, times):
    assert of_day(cron, zone, *day) == times


DAYS = [
    (BERLIN, (2026, 3, 29)),
    (BERLIN, (2026, 10, 25)),
    (NEW_YORK, (2026, 3, 8)),
    (NEW_YORK, (2026, 11, 1)),
    (LORD_HOWE, (2026, 10, 4)),
    (LORD_HOWE, (2026, 4, 5)),
    (HAVANA, (2026, 3, 8)),
    (HAVANA, (2026, 11, 1)),
]


@pytest.mark.parametrize(("zone", "day"), DAYS)
@pytest.mark.parametrize("minute", range(0, 180, 15))
def test_a_daily_time_comes_once_on_every_day(zone, day, minute):
    assert len(of_day(f"{minute % 60} {minute // 60} * * *", zone, *day)) == 1


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_every_fifteen_minutes_goes_by_real_time(zone, day):
    start = local(zone, *day).astimezone(UTC) - 6 * HOUR
    due = due_between(Schedule("*/15 * * * *", zone), start, start + 36 * HOUR)
    assert due == [start + (n + 1) * 15 * MINUTE for n in range(36 * 4)]


@pytest.mark.parametrize(("zone", "day"), [case for case in DAYS if case[0] != LORD_HOWE])
def test_every_hour_goes_by_real_time(zone, day):
    start = local(zone, *day).astimezone(UTC) - 6 * HOUR
    due = due_between(Schedule("0 * * * *", zone), start, start + 36 * HOUR)
    assert due == [start + (n + 1) * HOUR for n in range(36)]


ORDINARY = [
    ("0 9 * * mon-fri", BERLIN, "2026-11-27T08:00", "2026-11-30T08:00"),
    ("30 9 1 * *", "UTC", "2026-11-28T00:00", "2026-12-01T09:30"),
    ("0 0 29 2 *", "UTC", "2026-11-28T00:00", "2028-02-29T00:00"),
    ("0 0 13 * fri", "UTC", "2026-11-14T00:00", "2026-11-20T00:00"),
    ("0 0 13 * fri", "UTC", "2026-12-11T00:00", "2026-12-13T00:00"),
    ("0 0 * * 7", "UTC", "2026-11-28T00:00", "2026-11-29T00:00"),
    ("*/20 22-23 31 12 *", "Asia/Kathmandu", "2026-11-28T00:00", "2026-12-31T16:15"),
    ("0 12 * jan *", "Pacific/Auckland", "2026-11-28T00:00", "2026-12-31T23:00"),
]


@pytest.mark.parametrize(("cron", "zone", "after", "due"), ORDINARY)
def test_an_ordinary_line_is_due_when_it_says(cron, zone, after, due):
    at = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert next_due(Schedule(cron, zone), at) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_due_time_is_later_than_the_time_asked_from_and_in_utc():
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    schedule = Schedule("0 12 * * *")
    assert next_due(schedule, noon) == noon + timedelta(days=1)
    assert next_due(schedule, noon - timedelta.resolution) == noon
    assert next_due(schedule, local(BERLIN, 2026, 11, 28, 12)) == noon
    assert next_due(schedule, local(BERLIN, 2026, 11, 28, 12)).tzinfo is UTC


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, HAVANA, "UTC", "Africa/Casablanca", "Asia/Kathmandu"])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
# Days before and after a change, where everything that is hard happens.
NEAR = st.builds(
    lambda case, shift_s: local(case[0], *case[1]).astimezone(UTC) + timedelta(seconds=shift_s),
    st.sampled_from(DAYS),
    st.integers(-40_000, 40_000),
)
MINUTES = st.sampled_from(["*", "*/7", "0", "30", "0,45", "15-20", "59"])
HOURS = st.sampled_from(["*", "*/2", "0", "1", "2", "1-3", "23"])
LINES = st.builds(
    lambda minute, hour, day: f"{minute} {hour} {day} * *", MINUTES, HOURS, st.sampled_from(["*", "1-20"])
)


def fits(cron: str, wall: datetime) -> bool:
    return next(CronSim(cron, wall - timedelta(seconds=1))) == wall


@settings(max_examples=150)
@given(LINES.filter(lambda cron: "*" in (cron[0], cron.split()[1][0])), ZONES, NEAR)
def test_a_line_with_a_star_is_due_in_each_minute_whose_wall_fits(cron, zone, after):
    until = after + 5 * HOUR
    minutes = (after.replace(second=0, microsecond=0) + n * MINUTE for n in range(302))
    expected = [
        minute
        for minute in minutes
        if after < minute <= until and fits(cron, minute.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0))
    ]
    assert due_between(Schedule(cron, zone), after, until) == expected


@settings(max_examples=150)
@given(LINES, st.sampled_from([BERLIN, NEW_YORK, HAVANA, "UTC"]), NEAR | MOMENTS)
def test_where_clocks_change_by_hours_the_library_agrees(cron, zone, after):
    theirs = CronSim(cron, after.astimezone(ZoneInfo(zone)))
    expected = [next(theirs).astimezone(UTC) for _ in range(8)]
    # It gives a time of the past again after a jump, and one more where times fall together.
    distinct = sorted({due for due in expected if due > after})
    assert due_between(Schedule(cron, zone), after, distinct[-1]) == distinct


@given(LINES, ZONES, NEAR)
def test_asking_one_by_one_gives_the_same_as_asking_for_all(cron, zone, after):
    schedule = Schedule(cron, zone)
    due = due_between(schedule, after, after + timedelta(days=400), limit=10)
    assert due == sorted(set(due))
    for one in due:
        assert next_due(schedule, after) == one
        after = one


@given(st.integers(1, 10**7), MOMENTS, MOMENTS)
def test_an_interval_counts_from_its_anchor(every_s, anchor, after):
    schedule = Schedule(every_s=every_s, anchor=anchor)
    due = next_due(schedule, after)
    assert timedelta() < due - after <= timedelta(seconds=every_s)
    assert (due - anchor) % timedelta(seconds=every_s) == timedelta()
    assert due_between(schedule, after, due + timedelta(seconds=2 * every_s)) == [
        due + n * timedelta(seconds=every_s) for n in range(3)
    ]


WRONG = [
    {},
    {"cron": "* * * * *", "every_s": 5},
    {"every_s": 0},
    {"every_s": 5, "anchor": datetime(2026, 1, 1)},
    {"cron": ""},
    {"cron": "* * * *"},
    {"cron": "61 * * * *"},
    {"cron": "0 0 30 2 *"},
    {"cron": "0 0 31 4,6 *"},
    {"cron": "* * * * * *"},
    {"cron": "@daily"},
    {"cron": "* * * * *", "timezone": "Europe/Bärlin"},
    {"cron": "* * * * *", "timezone": "Europe"},
    {"cron": "* * * * *", "timezone": "../etc/passwd"},
    {"cron": "* * * * *", "timezone": "a\0b"},
    {"cron": "* * * * *", "timezone": ""},
]


@pytest.mark.parametrize("fields", WRONG)
def test_what_is_no_schedule_is_refused(fields):
    with pytest.raises(DefinitionError):
        Schedule(**fields)


NOW = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
EVERY_MINUTE, EVERY_HOUR = Schedule("* * * * *"), Schedule("0 * * * *")


def at(*times: str) -> list[datetime]:
    return [datetime.fromisoformat(f"2026-11-28T{time}+00:00") for time in times]


# schedule, last, missed, now, what fires
FIRINGS = [
    (EVERY_HOUR, "11:30", "skip", "12:00:30", ["12:00"]),
    (EVERY_HOUR, "11:30", "skip", "12:01:00", ["12:00"]),
    (EVERY_HOUR, "11:30", "skip", "12:01:01", []),
    (EVERY_HOUR, "08:30", "skip", "12:00:30", ["12:00"]),
    (EVERY_HOUR, "08:30", "once", "12:00:30", ["11:00", "12:00"]),
    (EVERY_HOUR, "08:30", "once", "12:30:00", ["12:00"]),
    (EVERY_HOUR, "08:30", "all", "12:30:00", ["09:00", "10:00", "11:00", "12:00"]),
    (EVERY_HOUR, "12:00", "all", "12:00:30", []),
    (EVERY_HOUR, "12:00", "once", "12:59:59", []),
    (EVERY_HOUR, "12:30", "once", "12:00:00", []),
    (EVERY_MINUTE, "11:57", "all", "12:00:00", ["11:58", "11:59", "12:00"]),
    (EVERY_MINUTE, "11:57", "once", "12:00:30", ["11:59", "12:00"]),
    (EVERY_MINUTE, "11:57", "skip", "12:00:00", ["11:59", "12:00"]),
    (Schedule(every_s=1800), "08:30", "once", "12:10:00", ["12:00"]),
]


@pytest.mark.parametrize(("schedule", "last", "missed", "now", "fired"), FIRINGS)
def test_missed_firings_follow_the_policy(schedule, last, missed, now, fired):
    assert firings(schedule, *at(last, now), missed) == at(*fired)


def test_all_that_was_missed_comes_in_portions():
    last, now = at("08:30", "12:30")
    first = firings(EVERY_HOUR, last, now, "all", limit=3)
    assert first == at("09:00", "10:00", "11:00")
    assert firings(EVERY_HOUR, first[-1], now, "all", limit=3) == at("12:00")


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_ten_years_of_downtime_are_settled_with_little_work(missed, monkeypatch):
    found = []
    monkeypatch.setattr(CronSim, "__next__", lambda self, next_one=CronSim.__next__: found.append(1) or next_one(self))
    fired = firings(EVERY_MINUTE, NOW - timedelta(days=3650), NOW, missed)
    assert 1 <= len(fired) <= 1000
    assert len(found) < 2100


@given(LINES, ZONES, NEAR, st.integers(0, 200_000), st.integers(0, 7200))
def test_policies_agree_on_what_is_due(cron, zone, last, away_s, grace_s):
    schedule, now = Schedule(cron, zone), last + timedelta(seconds=away_s)
    everything = firings(schedule, last, now, "all", limit=10_000, grace_s=grace_s)
    assert everything == due_between(schedule, last, now, 10_000)
    on_time = [due for due in everything if now - due <= timedelta(seconds=grace_s)]
    late = [due for due in everything if due not in on_time]
    assert firings(schedule, last, now, "skip", limit=10_000, grace_s=grace_s) == on_time
    assert firings(schedule, last, now, "once", limit=10_000, grace_s=grace_s) == late[-1:] + on_time
