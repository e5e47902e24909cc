"""Reading and writing moments: the formats, the zones, the calendar."""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from engine.errors import ExpressionError

TEXT_LENGTH = 80
FORMAT_LENGTH = 200
_MILLISECONDS_FROM = 1e11  # seconds reach this in the year 5138, milliseconds did in 1973

_DIRECTIVE = re.compile(r"%(-?)(.)?", re.DOTALL)
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,3}")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# A date of two slashes and the year last is not read: 03/01 is two days.
_DATE = (
    r"(?P<y1>\d{4})/(?P<m1>\d{1,2})/(?P<d1>\d{1,2})"
    r"|(?P<d2>\d{1,2})\.(?P<m2>\d{1,2})\.(?P<y2>\d{4})"
    r"|(?P<d3>\d{1,2})\.? (?P<m3>[a-z]{3,9})\.?,? (?P<y3>\d{4})"
    r"|(?P<m4>[a-z]{3,9})\.? (?P<d4>\d{1,2}),? (?P<y4>\d{4})"
)
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?: ?(?P<half>am|pm))?"
_KNOWN = re.compile(rf"(?:{_DATE})(?:,?[ t]{_TIME})?", re.IGNORECASE)
_MONTH_NUMBERS = {name[:length].lower(): n + 1 for n, name in enumerate(_MONTHS) for length in (3, 4, len(name))}


class Moment(NamedTuple):
    """A point in time with its offset; `only_date`: it was given as a date without a time."""

    at: datetime
    only_date: bool

    def iso(self) -> str:
        """ISO 8601: `2026-03-01`, or `2026-03-01T10:30:00+00:00`."""
        return self.at.date().isoformat() if self.only_date else self.at.isoformat()


def read_moment(value: str | float, zone: str) -> Moment:
    """The moment meant by an ISO text, another known text, or a Unix number; in `zone` where it names no offset.

    Raises:
        ExpressionError: it is none of these.
    """
    if not isinstance(value, str):
        return _from_number(value)
    text = value.strip()
    if len(text) > TEXT_LENGTH:
        raise _unknown()
    if text.isdecimal() and len(text) > 8:
        return _from_number(int(text))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found, only_date = _other(text)
    else:
        # The longest date without a time is 2026-W10-1.
        only_date = len(text) <= 10
    return Moment(_with_zone(found, zone), only_date)


def read_as(value: str | float, format: str, zone: str) -> Moment:
    """The moment in a text of this format, as in Python's strptime."""
    if not isinstance(value, str) or len(value) > TEXT_LENGTH or len(format) > FORMAT_LENGTH:
        raise ExpressionError("date reads only short texts by a format")
    try:
        found = datetime.strptime(value, format)
    except (ValueError, re.error):
        raise ExpressionError("this text is no date of the format given") from None
    return Moment(_with_zone(found, zone), not re.search(r"%[HIMScXfsp]", format))


def _from_number(value: float) -> Moment:
    seconds = value / 1000 if abs(value) > _MILLISECONDS_FROM else value
    try:
        return Moment(datetime.fromtimestamp(seconds, UTC), only_date=False)
    except (ValueError, OverflowError, OSError):
        raise ExpressionError("this number is no Unix time") from None


def _other(text: str) -> tuple[datetime, bool]:
    try:
        if found := _KNOWN.fullmatch(" ".join(text.split())):
            return _from_parts(
                {name[:1] if name[-1].isdecimal() else name: v for name, v in found.groupdict().items() if v}
            )
        # Mail headers are rare, and their parser is slow to load.
        from email.utils import parsedate_to_datetime  # noqa: PLC0415

        return parsedate_to_datetime(text), False
    except (ValueError, TypeError, LookupError, OverflowError):
        raise _unknown() from None


def _from_parts(parts: dict[str, str]) -> tuple[datetime, bool]:
    month = parts["m"].lower()
    hour = int(parts.get("hour", 0))
    if half := parts.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + 12 * (half.lower() == "pm")
    at = datetime(
        int(parts["y"]),
        int(month) if month.isdecimal() else _MONTH_NUMBERS[month],
        int(parts["d"]),
        hour,
        int(parts.get("minute", 0)),
        int(parts.get("second", 0)),
    )
    return at, "hour" not in parts


def _unknown() -> ExpressionError:
    return ExpressionError("this text is no date that is known here", hint='Say how to read it: date("%d/%m/%Y").')


def _with_zone(found: datetime, zone: str) -> datetime:
    return found if found.tzinfo else found.replace(tzinfo=_zone(zone))


def in_zone(at: datetime, zone: str) -> datetime:
    """The same moment with another zone's offset."""
    return at.astimezone(_zone(zone))


@lru_cache(maxsize=128)
def _zone(name: str) -> tzinfo:
    try:
        if len(name) <= TEXT_LENGTH and _ZONE_NAME.fullmatch(name):
            return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise ExpressionError("there is no such timezone", hint='Names are those of the IANA database: "Europe/Berlin".')


def shifted_months(at: datetime, months: int) -> datetime:
    """So many months later, on the same day or the month's last."""
    year, month = divmod(12 * at.year + at.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1]))


def formatted(at: datetime, format: str) -> str:
    """The moment by a format as in strftime; always English, the same on every machine.

    Raises:
        ExpressionError: the format is too long, or has a directive that is not known.
    """
    if len(format) > FORMAT_LENGTH:
        raise ExpressionError(f"a date format may have {FORMAT_LENGTH} characters")
    return _DIRECTIVE.sub(lambda found: _directive(at, found.group(1), found.group(2) or ""), format)


def _directive(at: datetime, dash: str, letter: str) -> str:
    if letter in _PADDED:
        width, number = _PADDED[letter](at)
        return str(number) if dash else f"{number:0{width}d}"
    if letter in _WORDS and not dash:
        return _WORDS[letter](at)
    known = " ".join(f"%{letter}" for letter in sorted([*_PADDED, *_WORDS]))
    raise ExpressionError(f"a date format has no %{dash}{letter}", hint=f"Known are {known}.")


# Width and number, and plain texts, by the letter of the directive.
_PADDED: dict[str, Callable[[datetime], tuple[int, int]]] = {
    "Y": lambda at: (4, at.year),
    "y": lambda at: (2, at.year % 100),
    "m": lambda at: (2, at.month),
    "d": lambda at: (2, at.day),
    "H": lambda at: (2, at.hour),
    "I": lambda at: (2, at.hour % 12 or 12),
    "M": lambda at: (2, at.minute),
    "S": lambda at: (2, at.second),
    "f": lambda at: (6, at.microsecond),
    "j": lambda at: (3, at.timetuple().tm_yday),
    "G": lambda at: (4, at.isocalendar().year),
    "V": lambda at: (2, at.isocalendar().week),
    "u": lambda at: (1, at.isoweekday()),
    "w": lambda at: (1, at.isoweekday() % 7),
}
_WORDS: dict[str, Callable[[datetime], str]] = {
    "B": lambda at: _MONTHS[at.month - 1],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "A": lambda at: _WEEKDAYS[at.weekday()],
    "a": lambda at: _WEEKDAYS[at.weekday()][:3],
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "z": lambda at: at.strftime("%z"),
    "Z": lambda at: at.tzname() or "",
    "F": lambda at: at.date().isoformat(),
    "T": lambda at: at.time().isoformat("seconds"),
    "%": lambda at: "%",
}
