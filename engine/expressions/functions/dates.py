"""Dates and times: reading, writing, moving, comparing. They travel as ISO 8601 text, or as Unix numbers.

A text without an offset is in the workflow's timezone. A text that is only a date stays one, as long as only whole days
are added. Unix numbers above 100 billion are milliseconds.
"""

from datetime import date as day
from datetime import datetime, timedelta

from engine.errors import ExpressionError, did_you_mean
from engine.expressions.functions.clock import Moment, formatted, in_zone, read_as, read_moment, shifted_months
from engine.expressions.library import offered
from engine.expressions.scope import Scope

offer = offered("date", cost=20)
TIMEZONE = ("workflow",)  # what a text without an offset depends on

_UNITS: dict[str, timedelta] = {
    "weeks": timedelta(weeks=1),
    "days": timedelta(days=1),
    "hours": timedelta(hours=1),
    "minutes": timedelta(minutes=1),
    "seconds": timedelta(seconds=1),
    "milliseconds": timedelta(milliseconds=1),
}
_STARTS = ("year", "month", "week", "day", "hour", "minute")


@offer("filter", uses=TIMEZONE)
def date(scope: Scope, value: str | float, format: str | None = None, timezone: str | None = None) -> str:
    """The date or time as ISO 8601 text. Read are ISO 8601, Unix numbers, `2026/03/01`, `01.03.2026`, `1 March 2026`,
    `March 1, 2026`, each with or without a time, and the dates of mails (RFC 2822); all else by `format`, as in
    date_format.

    >>> "2026-03-01 10:30" | date
    "2026-03-01T10:30:00+00:00"
    >>> 1772361000 | date
    "2026-03-01T10:30:00+00:00"
    >>> "03/01/2026" | date("%m/%d/%Y")
    "2026-03-01"
    >>> "2026-07-01 10:30" | date(timezone="Europe/Berlin")
    "2026-07-01T10:30:00+02:00"
    """
    zone = timezone or scope.timezone
    moment = read_moment(value, zone) if format is None else read_as(value, format, zone)
    return moment.iso()


@offer("filter", uses=TIMEZONE)
def date_format(scope: Scope, value: str | float, format: str = "%Y-%m-%d", timezone: str | None = None) -> str:
    """The date or time as text: %Y year, %m month, %d day, %H hour, %M minute, %S second, %f microsecond, %y %I %p %j,
    %B %b month and %A %a weekday in English, %u weekday as a number from Monday, %V week, %z offset, %Z zone; %-d and
    the like without a zero in front. `timezone` converts before.

    >>> item.created | date_format("%d.%m.%Y %H:%M")
    "01.03.2026 10:30"
    >>> item.created | date_format("%A, %-d %B", "Asia/Tokyo")
    "Sunday, 1 March"
    """
    moment = read_moment(value, scope.timezone)
    return formatted(in_zone(moment.at, timezone) if timezone else moment.at, format)


@offer("filter", uses=TIMEZONE)
def date_add(
    scope: Scope,
    value: str | float,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    weeks: float = 0,
    months: int = 0,
    years: int = 0,
) -> str:
    """The date or time so much later, or earlier for numbers below 0. A month after the 31st is the
    month's last day.

    >>> "2026-01-31" | date_add(months=1)
    "2026-02-28"
    >>> item.created | date_add(days=-1, hours=2)
    "2026-02-28T12:30:00+00:00"
    """
    moment = read_moment(value, scope.timezone)
    whole_days = float(days).is_integer() and float(weeks).is_integer() and not (hours or minutes or seconds)
    later = shifted_months(moment.at, 12 * years + months)
    later += timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return Moment(later, moment.only_date and whole_days).iso()


@offer("filter", uses=TIMEZONE)
def date_diff(scope: Scope, value: str | float, other: str | float, unit: str = "days") -> float:
    """How much later the value is than `other`; below 0 if it is earlier. The unit is "years", "months" (both whole),
    "weeks", "days", "hours", "minutes", "seconds" or "milliseconds".

    >>> "2026-03-31" | date_diff("2026-03-01")
    30
    >>> item.created | date_diff("2026-03-01T00:00:00Z", "hours")
    10.5
    """
    first, second = read_moment(value, scope.timezone).at, read_moment(other, scope.timezone).at
    unit = unit if unit.endswith("s") else unit + "s"
    if unit in ("months", "years"):
        return _months(first, second) if unit == "months" else int(_months(first, second) / 12)
    if unit not in _UNITS:
        hint = did_you_mean(unit[:20], ["years", "months", *_UNITS])
        raise ExpressionError("date_diff knows no such unit", hint=hint)
    found = (first - second) / _UNITS[unit]
    return int(found) if found.is_integer() else found


def _months(later: datetime, earlier: datetime) -> int:
    if later < earlier:
        return -_months(earlier, later)
    months = 12 * (later.year - earlier.year) + later.month - earlier.month
    return months - (shifted_months(earlier, months) > later)


@offer("filter", uses=TIMEZONE)
def start_of(scope: Scope, value: str | float, unit: str = "day") -> str:
    """The beginning of the "year", "month", "week" (Monday), "day", "hour" or "minute" that the time lies in.

    >>> item.created | start_of("month")
    "2026-03-01T00:00:00+00:00"
    >>> "2026-03-18" | start_of("week")
    "2026-03-16"
    """
    if unit not in _STARTS:
        raise ExpressionError("start_of knows no such unit", hint=did_you_mean(unit[:20], _STARTS))
    moment = read_moment(value, scope.timezone)
    start = moment.at.replace(second=0, microsecond=0)
    depth = _STARTS.index(unit)
    start = start.replace(minute=0) if depth < 5 else start
    start = start.replace(hour=0) if depth < 4 else start
    if unit == "week":
        start -= timedelta(days=start.weekday())
    elif depth < 2:
        start = start.replace(day=1, month=1 if unit == "year" else start.month)
    return Moment(start, moment.only_date).iso()


@offer("filter", uses=TIMEZONE)
def timezone(scope: Scope, value: str | float, zone: str) -> str:
    """The same moment as a clock in another timezone shows it.

    >>> item.created | timezone("America/New_York")
    "2026-03-01T05:30:00-05:00"
    """
    return in_zone(read_moment(value, scope.timezone).at, zone).isoformat()


@offer("filter", uses=TIMEZONE)
def timestamp(scope: Scope, value: str | float, unit: str = "seconds") -> float:
    """The time as a Unix number, in "seconds" or "milliseconds" since 1970.

    >>> item.created | timestamp
    1772361000
    """
    if unit not in ("seconds", "milliseconds"):
        raise ExpressionError('timestamp gives "seconds" or "milliseconds"')
    found = read_moment(value, scope.timezone).at.timestamp() * (1 if unit == "seconds" else 1000)
    return int(found) if found.is_integer() else found


@offer("function", uses=("now",))
def today(scope: Scope) -> str:
    """The date of `now`, in the workflow's timezone.

    >>> today()
    "2026-03-15"
    """
    return day.fromisoformat(scope.now[:10]).isoformat()
