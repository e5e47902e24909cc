"""When a schedule is due: cron in a time zone, or an interval.

The rule on the days the clocks change is that of Debian's cron (cron(8)), which people's expectations were formed by:

- A cron line with a set minute and hour (`30 2 * * *`, `0 1-5 * * *`) goes by the clock on the wall and fires once for
  each time it names: a time that the clock jumps over comes at the first moment after the jump (times that fall
  together there are one), a time that the clock shows twice counts the first time only.
- A line whose minute or hour begins with a star (`0 * * * *`, `*/15 * * * *`, `*/15 2 * * *`) goes by real time: it
  fires whenever the clock shows a time that fits, so twice in an hour that comes twice, and not in one that is jumped.

As in cron, where day of month and day of week are both restricted, either will do; beginning with a star is no
restriction. `cronsim` reads the lines and finds the times on the wall. From there to real time is done here: its own
way steps by whole hours, and passes over times where clocks change by half an hour (Lord Howe).

An interval counts from its anchor, not from the last firing, so a restart does not shift it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from engine.errors import DefinitionError

Missed = Literal["skip", "once", "all"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# More than any zone has set its clock back by since there is UTC.
LARGEST_CHANGE = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Either a cron line of five fields, read in a time zone, or an interval.

    Attributes:
        timezone: IANA name; means nothing for an interval.
        every_s: seconds; due at the anchor and at every multiple before and after it.

    Raises:
        DefinitionError: neither or both, a line that cannot be read or fits no date, an unknown zone.
    """

    cron: str | None = None
    timezone: str = "UTC"
    every_s: int | None = None
    anchor: datetime = EPOCH

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every_s is None):
            raise DefinitionError("a schedule has either a cron line or an interval")
        if self.every_s is not None and self.every_s < 1:
            raise DefinitionError(f"an interval is a second or more, not {self.every_s}")
        if self.anchor.tzinfo is None:
            raise DefinitionError("the anchor of an interval needs a time zone")
        if self.cron is not None:
            if len(self.cron.split()) != 5:
                raise DefinitionError(f"a cron line has five fields, and {self.cron!r} has {len(self.cron.split())}")
            try:
                ZoneInfo(self.timezone)
            # A name with a NUL or of a folder gives ValueError or OSError.
            except (LookupError, ValueError, OSError) as exc:
                raise DefinitionError(f"no time zone is called {self.timezone!r}") from exc
            next_due(self, datetime.now(UTC))


def next_due(schedule: Schedule, after: datetime) -> datetime:
    """The first due time later than `after`, in UTC.

    Raises:
        DefinitionError: the cron line fits no date in the 50 years to come, or cannot be read.
    """
    return next(_due(schedule, after))


def due_between(schedule: Schedule, after: datetime, until: datetime, limit: int = 1000) -> list[datetime]:
    """The due times later than `after` and not later than `until`, oldest first, `limit` of them at most."""
    found: list[datetime] = []
    for due in islice(_due(schedule, after), limit):
        if due > until:
            break
        found.append(due)
    return found


def firings(
    schedule: Schedule,
    last: datetime,
    now: datetime,
    missed: Missed,
    *,
    limit: int = 1000,
    grace_s: float = 60,
) -> list[datetime]:
    """The due times to fire now, of those later than `last`; oldest first.

    Due times of the last `grace_s` seconds (both ends count) are on time, and always fire. Older ones were missed:
    "skip" drops them, "once" keeps the newest, "all" keeps them. The next `last` is `now`; where `limit` were given, it
    is the newest of them, since more may be due.

    Args:
        last: up to when firings are settled.
        limit: so many at most, the oldest first; "once" may give one more.
    """
    on_time_from = max(last, now - timedelta(seconds=grace_s) - timedelta.resolution)
    if missed == "all":
        return due_between(schedule, last, now, limit)
    on_time = due_between(schedule, on_time_from, now, limit)
    if missed == "skip":
        return on_time
    newest = _newest(schedule, last, on_time_from)
    return ([newest] if newest else []) + on_time


def _newest(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """The last due time of a span; looks back twice as far each time, so a long span costs no more than a short one."""
    span = MINUTE
    while after < until:
        start = max(after, until - span)
        if next_due(schedule, start) <= until:
            *_, newest = takewhile(lambda due: due <= until, _due(schedule, start))
            return newest
        if start == after:
            return None
        span *= 2
    return None


def _due(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Every due time later than `after`, for ever."""
    after = after.astimezone(UTC)
    if schedule.every_s is not None:
        every = timedelta(seconds=schedule.every_s)
        due = schedule.anchor.astimezone(UTC) + ((after - schedule.anchor) // every + 1) * every
        while True:
            yield due
            due += every
    assert schedule.cron is not None  # one of the two is set
    zone = ZoneInfo(schedule.timezone)
    find = _by_real_time if _goes_by_real_time(schedule.cron) else _by_the_wall
    while True:
        after = find(schedule.cron, zone, after)
        yield after


def _goes_by_real_time(cron: str) -> bool:
    minute, hour, *_ = cron.split()
    return minute.startswith("*") or hour.startswith("*")


def _by_the_wall(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first due time of a line with a set minute and hour."""
    for wall in _walls(cron, after.astimezone(zone).replace(tzinfo=None, fold=0)):
        due = _first_moment(wall, zone)
        if due > after:
            return due
    raise AssertionError("the walls never end")


def _by_real_time(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first due time of a line that goes by real time."""
    local = after.astimezone(zone)
    here = local.replace(tzinfo=None, fold=0)
    soon = (after + LARGEST_CHANGE).astimezone(zone)
    # Where the clock is about to be set back, what it has shown comes once more.
    back = max(_offset(local) - _offset(soon), timedelta())
    best = None
    for wall in _walls(cron, here - back):
        later = [moment for moment in _moments(wall, zone) if moment > after]
        best = min([*later, best] if best else later, default=None)
        if best is not None and wall > here:
            return best
    raise AssertionError("the walls never end")


def _walls(cron: str, after: datetime) -> Iterator[datetime]:
    """The times on the wall that fit a line, later than `after`; both without a zone."""
    try:
        yield from CronSim(cron, after)
    except CronSimError as exc:
        raise DefinitionError(f"the cron line {cron!r} cannot be used: {exc}") from exc
    raise DefinitionError(f"no date fits the cron line {cron!r}")


def _moments(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """When the clock shows this: once, twice where it is set back, never where it jumps; in order."""
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(moment for moment in both if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall)


def _first_moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock first shows this; the end of the jump where it jumps over it."""
    while not (moments := _moments(wall, zone)):
        wall += MINUTE
    return moments[0]


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta()
