"""What is due when, of a workflow that is published."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from engine.errors import DefinitionError, InvalidWorkflow, Problem
from engine.runtime.clock import Schedule, next_due
from engine.runtime.ids import new_id
from engine.runtime.service.workflow_rows import Trigger

# Ten years: what counts in 64 bits of milliseconds, and in 32 bits of seconds.
LONGEST_S = 315_360_000
FORM = ("node_id", "cron", "every_s", "timezone", "missed")

STORED = text("SELECT id, node_id, cron, every_s, timezone, missed FROM schedule WHERE workflow_id = :workflow")
KEEP = text("UPDATE schedule SET revision_id = :revision_id WHERE id = :id")
DROP = text("DELETE FROM schedule WHERE id = :id")
INSERT = text(
    "INSERT INTO schedule (id, project_id, workflow_id, revision_id, node_id, cron, every_s, timezone, missed, "
    "anchor_ms, next_ms) VALUES (:id, :project_id, :workflow_id, :revision_id, :node_id, :cron, :every_s, :timezone, "
    ":missed, :anchor_ms, :next_ms)"
)


def schedule_values(triggers: Sequence[Trigger], timezone: str, now_ms: int) -> list[dict[str, Any]]:
    """The rows of schedules, without whose they are. An interval counts from now.

    Raises:
        InvalidWorkflow: one is never due, or not within the years that clocks count.
    """
    rows, problems = [], []
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    for node, params in triggers:
        every_s, cron = params["every_s"], params["cron"]
        try:
            if every_s is not None and every_s > LONGEST_S:
                raise DefinitionError(f"an interval is at most {LONGEST_S} seconds, which is ten years")
            due = next_due(Schedule(cron=cron, timezone=timezone, every_s=every_s, anchor=now), now)
        except DefinitionError as exc:
            problems.append(Problem(exc.code, exc.message, exc.hint, f'node "{node.label}"', node.id, "params"))
            continue
        rows.append(
            {
                "node_id": node.id,
                "cron": cron,
                "every_s": every_s,
                "timezone": timezone,
                "missed": params["missed"],
                "anchor_ms": now_ms,
                "next_ms": int(due.timestamp() * 1000),
            }
        )
    if problems:
        raise InvalidWorkflow(problems)
    return rows


def write_schedules(
    connection: Connection, project_id: str, workflow_id: str, revision_id: str, rows: Sequence[dict[str, Any]]
) -> None:
    """Put the schedules of a published revision in place; one that says the same as before goes on as it was."""
    wanted = {tuple(row[name] for name in FORM): row for row in rows}
    for stored in connection.execute(STORED, {"workflow": workflow_id}).all():
        if wanted.pop(tuple(getattr(stored, name) for name in FORM), None) is None:
            connection.execute(DROP, {"id": stored.id})
        else:
            connection.execute(KEEP, {"id": stored.id, "revision_id": revision_id})
    whose = {"project_id": project_id, "workflow_id": workflow_id, "revision_id": revision_id}
    for row in wanted.values():
        connection.execute(INSERT, {"id": new_id(), **whose, **row})
