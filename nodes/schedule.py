"""Starts by the clock."""

from datetime import datetime
from typing import Literal, NamedTuple

from cronsim import CronSim, CronSimError
from pydantic import field_validator, model_validator

from engine.api import Context, Items, Params, Request, field, node


class Part(NamedTuple):
    """One of the five fields of a cron line, and what may stand there."""

    name: str
    known: str


# As in Debian's crontab(5), with L, LW, 5L and 1#2 on top: what CronSim reads.
PARTS = (
    Part("minute", "0 to 59"),
    Part("hour", "0 to 23"),
    Part("day of month", "1 to 31, or L for the last"),
    Part("month", "1 to 12, or jan ..."),
    Part("day of week", "0 to 7, or sun ..."),
)
# Where the times of a line are looked for: CronSim gives up 50 years later.
SOME_DAY = datetime(2026, 1, 1)


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
    missed: Literal["skip", "once", "all"] = field(
        "once",
        help="What to do about times that passed while nothing ran: nothing, one start for all of them, or each.",
        expressions=False,
    )

    @field_validator("cron")
    @classmethod
    def _times(cls, cron: str | None) -> str | None:
        if cron is None:
            return None
        written = cron.split()
        if len(written) != len(PARTS):
            names = ", ".join(part.name for part in PARTS)
            raise ValueError(f"a cron line has five fields ({names}), and {cron!r} has {len(written)}")
        for index, (part, text) in enumerate(zip(PARTS, written, strict=True)):
            for element in text.split(","):
                if not _is_read(["*"] * index + [element] + ["*"] * (len(PARTS) - index - 1)):
                    raise ValueError(
                        f"{element!r} is no {part.name} of a cron line: {part.known}, or *; 1-5 and */2 work too"
                    )
        if not _is_read(written) or next(CronSim(cron, SOME_DAY), None) is None:
            raise ValueError(f"{cron!r} names a day that never comes")
        return cron

    @model_validator(mode="after")
    def _one_of_them(self) -> "ScheduleParams":
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("give either cron or every_s")
        return self


def _is_read(fields: list[str]) -> bool:
    """Whether CronSim takes them for a cron line."""
    try:
        CronSim(" ".join(fields), SOME_DAY)
    except (CronSimError, ValueError):  # ValueError: a number of thousands of digits
        return False
    return True


@node("core.schedule", group="trigger", effects="pure", keywords=("cron", "timer", "interval", "daily", "clock"))
def schedule(ctx: Context, request: Request, params: ScheduleParams) -> Items:
    """Start at set times, with one item that says when.

    Example:
      params: {cron: "0 9 * * *"}
      request: [{time: "2026-11-23T09:00:00+00:00"}]
      gives: [{time: "2026-11-23T09:00:00+00:00"}]
    """
    return Items.of([{"time": ctx.now}] if request.items is None else request.items)
