"""Starts by the clock."""

import re
from typing import NamedTuple

from pydantic import field_validator, model_validator

from engine.api import Context, Items, Params, Request, field, node


class Part(NamedTuple):
    """One of the five fields of a cron line; both ends of its range count."""

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()


# POSIX.1-2017, crontab; names, steps and 7 for Sunday as in the cron of BSD and Linux (crontab(5)).
PARTS = (
    Part("minute", 0, 59),
    Part("hour", 0, 23),
    Part("day of month", 1, 31),
    Part("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    Part("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
ELEMENT = re.compile(r"(?:\*|(?P<one>\w+)(?:-(?P<to>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)


class ScheduleParams(Params):
    cron: str | None = field(
        None,
        help="Minute, hour, day of month, month, day of week: 30 9 * * mon-fri. In the workflow's time zone.",
        expressions=False,
    )
    every_s: int | None = field(
        None,
        help="Instead of cron: seconds from one start to the next.",
        label="Every so many seconds",
        ge=1,
        expressions=False,
    )

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str | None) -> str | None:
        written = cron.split() if cron is not None else None
        if written is not None and len(written) != len(PARTS):
            names = ", ".join(part.name for part in PARTS)
            raise ValueError(f"a cron line has five fields ({names}), and {cron!r} has {len(written)}")
        for part, text in zip(PARTS, written or (), strict=False):
            for element in text.split(","):
                if not _fits(element.lower(), part):
                    known = f"{part.first} to {part.last}" + (f", or {part.words[0]} ..." if part.words else "")
                    raise ValueError(
                        f"{element!r} is no {part.name} of a cron line: {known}, or *; 1-5 and */2 work too"
                    )
        return cron

    @model_validator(mode="after")
    def _one_of_them(self) -> "ScheduleParams":
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("give either cron or every_s")
        return self


def _fits(element: str, part: Part) -> bool:
    """Whether a cron field may hold this: a number, a range or a star, each with a step or without."""
    found = ELEMENT.fullmatch(element)
    if not found or found["step"] == "0":
        return False
    ends = [_number(word, part) for word in (found["one"], found["to"]) if word is not None]
    return all(part.first <= end <= part.last for end in ends) and ends == sorted(ends)


def _number(word: str, part: Part) -> int:
    if word in part.words:
        return part.words.index(word) + part.first
    return int(word) if word.isdecimal() and len(word) < 4 else -1


@node("core.schedule", group="trigger", effects="pure", keywords=("cron", "timer", "interval", "daily", "clock"))
def schedule(ctx: Context, request: Request, params: ScheduleParams) -> Items:
    """Start at set times, with one item that says when.

    Example:
      params: {cron: "0 9 * * *"}
      request: [{time: "2026-11-23T09:00:00+00:00"}]
      gives: [{time: "2026-11-23T09:00:00+00:00"}]
    """
    return Items.of([{"time": ctx.now}] if request.items is None else request.items)
