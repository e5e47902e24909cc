"""Starts by the clock."""

from pydantic import model_validator

from engine.api import Context, Items, Params, Request, field, node

FIVE_FIELDS = r"^\s*\S+(\s+\S+){4}\s*$"


class ScheduleParams(Params):
    cron: str | None = field(
        None,
        help="Minute, hour, day of month, month, day of week: 30 9 * * mon-fri. In the workflow's time zone.",
        pattern=FIVE_FIELDS,
        expressions=False,
    )
    every_s: int | None = field(
        None,
        help="Instead of cron: seconds from one start to the next.",
        label="Every so many seconds",
        ge=1,
        expressions=False,
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "ScheduleParams":
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("give either cron or every_s")
        return self


@node("core.schedule", group="trigger", effects="pure", keywords=("cron", "timer", "interval", "daily", "clock"))
def schedule(ctx: Context, request: Request, params: ScheduleParams) -> Items:
    """Start at set times, with one item that says when.

    Example:
      params: {cron: "0 9 * * *"}
      request: [{time: "2026-11-23T09:00:00+00:00"}]
      gives: [{time: "2026-11-23T09:00:00+00:00"}]
    """
    return Items.of([{"time": ctx.now}] if request.items is None else request.items)
