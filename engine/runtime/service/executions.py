"""Executions as they are listed, counted and looked at. Each list names the index that it walks, newest first.

What no index knows (kind, source, the usual statuses) is looked for in windows of the walk, for a bounded time: then a
page may hold fewer rows than were asked for, and `next` still leads on.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, bindparam, text

from engine.convert import loads
from engine.events import ExecutionStatus
from engine.runtime.ids import now_ms
from engine.runtime.models import PRIORITIES, SLOTS, UNUSUAL
from engine.runtime.node_runs import NodeRunView, all_summaries, runs_of
from engine.runtime.parts import Parts
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import NotFound, one_of
from engine.runtime.service.listing import LIMIT, Page, bounded, cursor_of, known_id, page_of, place_of

KINDS = ("published", "test", "draft")
SOURCES = ("webhook", "schedule", "manual", "api", "retry", "replay", "preview")
STATUSES: tuple[str, ...] = get_args(ExecutionStatus)
# The first window is small: most lists find enough in it.
FIRST_WINDOW, WINDOW = 500, 5_000
# Rows of an index that holds few of them lie far apart.
SPARSE_WINDOW = 1_000
LOOK_S = 0.015
COUNTED = 1_000
NEWEST = 5_000
COLUMNS = (
    "id, workflow_id, revision_id, kind, source, trigger_id, status, cancel, attempts, origin_id, from_node, "
    "created_ms, started_ms, finished_ms, error"
)
# Said in the very words of the index: SQLite uses a partial index for no others.
IS_UNUSUAL = "status IN ({})".format(", ".join(f"'{status}'" for status in UNUSUAL))
QUEUED, LIMITED = "status = 'queued' AND limited = 0", "status = 'queued' AND limited = 1"
BEYOND = "g"  # behind every id
ONE = text(f"SELECT {COLUMNS} FROM execution WHERE id = :id AND project_id = :project")  # noqa: S608
PARTS = text("SELECT data FROM record WHERE execution_id = :id ORDER BY part")
KEPT = text("SELECT key, data FROM run_data WHERE project_id = :project AND key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)


class ExecutionView(BaseModel):
    """An execution, as it is listed.

    Attributes:
        cancelling: it is to stop, and has not yet.
        duration_ms: from its start to its end, or to now while it runs; None before it started.
        error: `{"code", "message", "hint"?, "node_id"?}`.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    workflow_id: str
    revision_id: str | None
    kind: str
    source: str
    trigger_id: str | None
    status: str
    cancelling: bool
    attempts: int
    origin_id: str | None
    from_node: str | None
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    duration_ms: int | None
    error: Mapping[str, Any] | None


class ExecutionDetail(ExecutionView):
    """An execution with the node runs that have ended, in that order; no output is read whole."""

    runs: tuple[NodeRunView, ...]


class Count(BaseModel):
    """How many executions; `at_least`: counting stopped there."""

    model_config = ConfigDict(frozen=True)

    count: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """An index, newest first: what it holds of the list, and what still has to be looked at row by row."""

    index: str
    where: str
    filters: tuple[str, ...]
    window: int = WINDOW


def view_of(row: Any) -> dict[str, Any]:
    """The fields of an ExecutionView, of a row with COLUMNS."""
    ended = row.finished_ms if row.finished_ms is not None else now_ms() if row.status == "running" else None
    fields = dict(row._mapping)
    fields["cancelling"] = bool(fields.pop("cancel")) and row.status == "running"
    fields["duration_ms"] = None if row.started_ms is None or ended is None else max(ended - row.started_ms, 0)
    fields["error"] = loads(row.error) if row.error else None
    return fields


class Executions:
    """The executions of a project."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._payloads = parts.payloads

    def list(
        self,
        actor: Actor,
        *,
        workflow_id: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        source: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        cursor: str | None = None,
        limit: int = LIMIT,
    ) -> Page[ExecutionView]:
        """Newest first; draft runs only where their kind is asked for.

        Args:
            since_ms, until_ms: when they were accepted; the first counts, the second does not.

        Raises:
            BadRequest: a status, kind, source or cursor that is none.
        """
        actor = require(actor)
        limit = bounded(limit)
        below = min(place_of(cursor) or BEYOND, BEYOND if until_ms is None else _first_id(until_ms))
        values: dict[str, Any] = {
            "project": actor.project_id,
            "below": below,
            "since": "" if since_ms is None else _first_id(since_ms),
            "n": limit + 1,
        }
        filters = ["kind <> 'draft'"] if kind is None else ["kind = :kind"]
        if kind is not None:
            values["kind"] = one_of(kind, KINDS, "kind of execution")
        if source is not None:
            filters.append("source = :source")
            values["source"] = one_of(source, SOURCES, "source of executions")
        if status is not None:
            values["status"] = one_of(status, STATUSES, "status of executions")
        if workflow_id is not None:
            values["workflow"] = known_id("workflow", workflow_id)
        with self._store.read() as connection:
            if status == "running" or (status == "queued" and workflow_id is None):
                rows = connection.execute(text(self._unfinished(values, filters)), values).all()
                return page_of(rows, limit, lambda row: str(row.id), _listed)
            rows, more = self._walk(connection, _walk_of(values, filters), values, limit)
        page = page_of(rows, limit, lambda row: str(row.id), _listed)
        return page if page.next or more is None else Page(items=page.items, next=cursor_of(more))

    def _from(self, index: str) -> str:
        # SQLite counts no rows, so it would take an index for its order where another leaves a thousandth of them.
        return f"execution INDEXED BY {index}" if self._store.is_sqlite else "execution"

    def _walk(
        self, connection: Connection, walk: Walk, values: dict[str, Any], limit: int
    ) -> tuple[Sequence[Any], str | None]:
        """Rows of a list, one more than `limit` where there are so many; else where to look on, or None at the end."""
        table, within = self._from(walk.index), f"{walk.where} AND id < :below AND id >= :since"
        last = text(f"SELECT id FROM {table} WHERE {within} ORDER BY id DESC LIMIT 1 OFFSET :size")  # noqa: S608
        found = text(
            f"SELECT {COLUMNS} FROM {table} WHERE {within} AND {' AND '.join(walk.filters)} "  # noqa: S608
            "ORDER BY id DESC LIMIT :n"
        )
        rows: list[Any] = []
        ends_s, size = time.monotonic() + LOOK_S, FIRST_WINDOW
        while True:
            end = connection.execute(last, {**values, "size": size - 1}).scalar()
            values = {**values, "n": limit + 1 - len(rows)}
            # One lower bound, not two: SQLite uses the first, and would walk on to the other end.
            rows += connection.execute(found, {**values, "since": max(end or "", values["since"])}).all()
            if end is None or len(rows) > limit:
                return rows, None
            if time.monotonic() > ends_s:
                return rows, str(end)
            values, size = {**values, "below": end}, walk.window

    def _unfinished(self, values: Mapping[str, Any], filters: Sequence[str]) -> str:
        """The statement for what runs or is queued: such indexes hold these rows only, in the order they are claimed.

        Of the queued, the newest of each slot and priority are picked out of the index.
        """
        also = "project_id = :project AND id < :below AND id >= :since"
        if "workflow" in values:
            also += " AND workflow_id = :workflow"
        if values["status"] == "running":
            ids = [f"SELECT id FROM {self._from('ix_execution_running')} WHERE status = 'running'"]  # noqa: S608
        else:
            ids = [
                f"SELECT id FROM {self._from('ix_execution_queued')} WHERE {QUEUED} AND slot = '{slot}' AND {also} "  # noqa: S608
                f"AND priority = {priority} ORDER BY id DESC LIMIT :n"
                for slot in SLOTS
                for priority in PRIORITIES.values()
            ]
            ids.append(
                f"SELECT id FROM {self._from('ix_execution_limited')} WHERE {LIMITED} AND {also} "  # noqa: S608
                "ORDER BY id DESC LIMIT :n"
            )
        union = " UNION ALL ".join(f"SELECT id AS picked_id FROM ({one}) AS part" for one in ids)  # noqa: S608
        where = " AND ".join([also, "status = :status", *filters])
        # CROSS: SQLite then begins with what was picked.
        return (
            f"SELECT {COLUMNS} FROM ({union}) AS picked CROSS JOIN execution "  # noqa: S608
            f"WHERE id = picked_id AND {where} ORDER BY id DESC LIMIT :n"
        )

    def counts(self, actor: Actor, *, workflow_id: str | None = None) -> dict[str, Count]:
        """Status -> how many, drafts left out; at the same cost however many there are.

        Those of a workflow, and what succeeded, are counted among the newest 5,000; others up to 1,000 each.
        """
        actor = require(actor)
        values: dict[str, Any] = {"project": actor.project_id, "most": COUNTED + 1, "newest": NEWEST + 1}
        index, where = "ix_execution_project", "project_id = :project"
        if workflow_id is not None:
            values["workflow"] = known_id("workflow", workflow_id)
            index, where = "ix_execution_workflow", "workflow_id = :workflow AND project_id = :project"
        newest = text(
            f"SELECT status, kind, count(*) FROM (SELECT status, kind FROM {self._from(index)} WHERE {where} "  # noqa: S608
            "ORDER BY id DESC LIMIT :newest) AS newest GROUP BY status, kind"
        )
        with self._store.read() as connection:
            found = connection.execute(newest, values).all()
            is_part = sum(row[2] for row in found) > NEWEST
            counts = dict.fromkeys(STATUSES, 0)
            for status, kind, count in found:
                counts[status] += count if kind != "draft" else 0
            made = {status: Count(count=count, at_least=is_part) for status, count in counts.items()}
            if is_part and workflow_id is None:
                for status in (*UNUSUAL, "queued", "running"):
                    made[status] = self._count(connection, status, values)
        return made

    def _count(self, connection: Connection, status: str, values: Mapping[str, Any]) -> Count:
        """Those of a status that has an index of its own."""
        if status in UNUSUAL:
            where = [f"project_id = :project AND status = '{status}' AND {IS_UNUSUAL}"]
        else:
            where = [QUEUED, LIMITED] if status == "queued" else [f"status = '{status}'"]
        parts = " UNION ALL ".join(
            f"SELECT id AS picked_id FROM (SELECT id FROM execution WHERE {one} LIMIT :most) AS part"  # noqa: S608
            for one in where
        )
        statement = (
            "SELECT count(*), count(*) FILTER (WHERE project_id = :project AND kind <> 'draft') "  # noqa: S608
            f"FROM ({parts}) AS picked CROSS JOIN execution WHERE id = picked_id"
        )
        looked_at, count = connection.execute(text(statement), dict(values)).one()
        return Count(count=min(count, COUNTED), at_least=looked_at > COUNTED)

    def find(self, actor: Actor, id_: str) -> ExecutionView:
        """One execution, without its node runs. Raises NotFound."""
        actor = require(actor)
        with self._store.read() as connection:
            row = connection.execute(ONE, {"id": known_id("execution", id_), "project": actor.project_id}).first()
        if row is None:
            raise NotFound("execution", id_)
        return _listed(row)

    def get(self, actor: Actor, id_: str) -> ExecutionDetail:
        """One execution with its node runs: counts, first rows, errors, logs. Raises NotFound."""
        actor = require(actor)
        with self._store.read() as connection:
            row = connection.execute(ONE, {"id": known_id("execution", id_), "project": actor.project_id}).first()
            if row is None:
                raise NotFound("execution", id_)
            parts = [bytes(data) for data in connection.execute(PARTS, {"id": id_}).scalars()]
            found = all_summaries(parts[1:])
            keys = [one.key for one in found.values() if one.status == "reused" and one.key and not one.counts]
            kept = {
                key: bytes(data)
                for start in range(0, len(keys), 500)
                for key, data in connection.execute(
                    KEPT, {"project": actor.project_id, "keys": keys[start : start + 500]}
                )
            }
        return ExecutionDetail(**view_of(row), runs=runs_of(parts[1:], found, kept, self._payloads))


def _listed(row: Any) -> ExecutionView:
    return ExecutionView(**view_of(row))


def _first_id(at_ms: int) -> str:
    """What the ids of a millisecond begin with: ids sort by time."""
    return f"{min(max(at_ms, 0), 16**12 - 1):012x}"


def _walk_of(values: Mapping[str, Any], filters: list[str]) -> Walk:
    """The index to walk for what has ended or waits: few rows are failed, many of one workflow, most of the project."""
    where, more = "project_id = :project", list(filters)
    if values.get("status") in UNUSUAL:
        where += f" AND status = :status AND {IS_UNUSUAL}"
        if "workflow" in values:
            more.append("workflow_id = :workflow")
        return Walk("ix_execution_unusual", where, tuple(more), SPARSE_WINDOW)
    if "status" in values:
        more.append("status = :status")
    if "workflow" in values:
        return Walk("ix_execution_workflow", "workflow_id = :workflow", (*more, "project_id = :project"))
    return Walk("ix_execution_project", where, tuple(more))
