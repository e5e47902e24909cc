"""What is kept how long: rules per project, and the removal of what they say, a little at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, bindparam, text

from engine.runtime.data.payload_sweep import sweep_payloads
from engine.runtime.data.payloads import Payloads
from engine.runtime.ids import new_id, now_ms
from engine.runtime.logs import get_logger
from engine.runtime.measures import Measures
from engine.runtime.store import Store
from engine.runtime.turns import is_held, take_turn

SETTING = "retention"
DAY_MS = 86_400_000
# One turn a minute, of at most this long: the rest comes with the next.
TURN_S = 45.0
FILES_EVERY_MS = 10 * 60_000
COUNT_EVERY_MS = 10 * 60_000
# Executions of one transaction, and the pause after it: who edits beside it waits for one such transaction at most.
BATCH = 500
PAUSE_S = 0.02
# Executions looked through at a time; and all of them anew after this, for those that had not ended the last time.
WINDOW = 5_000
AGAIN_MS = DAY_MS

# `failed` has a rule and a pass of its own.
FINISHED = "status IN ('succeeded', 'cancelled', 'skipped')"
ENDED = "status IN ('succeeded', 'failed', 'cancelled', 'skipped')"
UNUSUAL = "status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting')"  # as its index has it

PROJECTS = text("""
    WITH RECURSIVE known(id) AS (
        SELECT min(project_id) FROM execution
        UNION ALL
        SELECT (SELECT min(project_id) FROM execution WHERE project_id > known.id) FROM known WHERE known.id IS NOT NULL
    )
    SELECT id FROM known WHERE id IS NOT NULL
    UNION SELECT project_id FROM setting WHERE name = 'retention'
    UNION SELECT DISTINCT project_id FROM workflow""")
RULES = text("SELECT value FROM setting WHERE project_id = :project AND name = 'retention'")
NTH = text("SELECT id FROM execution WHERE project_id = :project ORDER BY id DESC LIMIT 1 OFFSET :kept")
WINDOW_END = text(
    "SELECT id FROM execution WHERE project_id = :project AND id > :after AND id < :before "
    "ORDER BY id LIMIT 1 OFFSET :window"
)
WITHIN = "SELECT id FROM execution WHERE project_id = :project AND id > :after AND id < :before AND "
FAILED = text(
    f"SELECT id FROM execution WHERE {UNUSUAL} AND project_id = :project AND status = 'failed' "  # noqa: S608
    "AND id < :before AND id > :after ORDER BY id LIMIT :count"
)
# A retry or replay that has not ended reads what its origin gave.
NEEDED = text(
    "SELECT origin_id FROM execution WHERE status = 'queued' AND limited = 0 AND origin_id IS NOT NULL "
    "UNION SELECT origin_id FROM execution WHERE status = 'queued' AND limited = 1 AND origin_id IS NOT NULL "
    "UNION SELECT origin_id FROM execution WHERE status = 'running' AND origin_id IS NOT NULL "
    "UNION SELECT origin_id FROM execution "
    "WHERE status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting') "
    "AND status IN ('waiting', 'needs_decision') AND origin_id IS NOT NULL"
)


def _among(statement: str) -> Any:
    return text(statement).bindparams(bindparam("ids", expanding=True))


# Ended states never change, so what was found to have ended may be removed without another look.
REMOVE = [
    _among("DELETE FROM record WHERE execution_id IN :ids"),
    _among("DELETE FROM payload_use WHERE owner IN :ids"),
    _among("DELETE FROM execution WHERE id IN :ids"),
]
# The time is asked for twice: a draft run may just have used it.
RUN_DATA = text(
    "DELETE FROM run_data WHERE used_ms < :before AND (project_id, key) IN ("
    "SELECT project_id, key FROM run_data WHERE project_id = :project AND used_ms < :before "
    "ORDER BY used_ms LIMIT :count) RETURNING project_id, key"
)
RUN_DATA_USES = _among("DELETE FROM payload_use WHERE owner IN :ids")

log = get_logger()


class Rules(BaseModel):
    """How long a project keeps what its runs leave behind. What has not ended is always kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(30, ge=1, le=36_500, description="Days that executions are kept.")
    failed_days: int = Field(90, ge=1, le=36_500, description="Days that failed executions are kept.")
    drafts_days: int = Field(2, ge=1, le=36_500, description="Days that draft runs and tests are kept.")
    run_data_days: int = Field(7, ge=1, le=36_500, description="Days that unused results of draft runs are kept.")
    executions: int = Field(1_000_000, ge=1, description="Executions kept at most, the newest, whatever their age.")


def rules_of(connection: Connection, project_id: str) -> Rules:
    """The rules of a project: the defaults, and what was changed of them."""
    found = connection.execute(RULES, {"project": project_id}).scalar()
    return Rules() if found is None else Rules.model_validate(orjson.loads(found))


class Retention:
    """Removes what the rules of each project say. Safe beside everything else; one process does it at a time."""

    def __init__(self, store: Store, payloads: Payloads, measures: Measures) -> None:
        self._store = store
        self._payloads = payloads
        self._measures = measures

    def take_turn(self, *, stopped: Callable[[], bool] = lambda: False, limit_s: float = TURN_S) -> bool:
        """Remove for a while, unless another process did within this minute; True where it was this one's turn.

        Raises:
            StoreUnavailable: the database cannot be used now; what was removed is removed.
        """
        turn = take_turn(self._store, "upkeep")
        if turn is None:
            return False
        until_s = time.monotonic() + limit_s
        self.remove(turn.state, stopped=lambda: stopped() or time.monotonic() > until_s)
        turn.save()
        return True

    def remove(self, state: dict[str, Any], *, stopped: Callable[[], bool] = lambda: False) -> None:
        """Remove all there is to remove, or until stopped.

        Args:
            state: how far earlier turns came; JSON, brought up to date.
        """
        with self._store.read() as connection:
            projects = list(connection.execute(PROJECTS).scalars())
            needed = set(connection.execute(NEEDED).scalars())
        passes = state.setdefault("passes", {})
        for project_id in projects:
            _Project(self, project_id, passes.setdefault(project_id, {}), needed, stopped).remove()
        now = now_ms()
        if state.get("files_ms", 0) <= now and not stopped():
            removed = sweep_payloads(
                self._store, self._payloads, stopped=lambda: stopped() or is_held(self._store, "payloads")
            )
            self.count("payloads", removed)
            state["files_ms"] = now + FILES_EVERY_MS

    @property
    def store(self) -> Store:
        """The database."""
        return self._store

    def count(self, what: str, count: int) -> None:
        """Note how much was removed."""
        if count:
            self._measures.removed(what, count)
            log.info("retention removed what is no longer kept", what=what, count=count)


class _Project:
    """Removes from one project.

    Args:
        seen: pass -> the id up to which it has looked; it begins anew once a day.
    """

    def __init__(
        self,
        retention: Retention,
        project_id: str,
        seen: dict[str, Any],
        needed: set[str],
        stopped: Callable[[], bool],
    ) -> None:
        self._retention = retention
        self._store = retention.store
        self._project_id = project_id
        self._seen = seen
        self._needed = needed
        self._stopped = stopped

    def remove(self) -> None:
        """All passes, each by id: ids sort by time."""
        now = now_ms()
        if now - self._seen.get("began_ms", 0) > AGAIN_MS:
            self._seen.clear()
            self._seen["began_ms"] = now
        with self._store.read() as connection:
            rules = rules_of(connection, self._project_id)
            surplus = self._surplus(connection, rules.executions, now)
        removed = self._pass("finished", FINISHED, max(_before(now, rules.days), surplus))
        removed += self._pass("drafts", f"{ENDED} AND kind != 'published'", _before(now, rules.drafts_days))
        removed += self._remove_all(self._failed(max(_before(now, rules.failed_days), surplus)))
        self._retention.count("executions", removed)
        self._retention.count("run_data", self._remove_run_data(now - rules.run_data_days * DAY_MS))

    def _surplus(self, connection: Connection, kept: int, now: int) -> str:
        """The id below which there are too many. Found out now and then: it counts a million rows where there are."""
        if self._seen.get("kept") != kept or now - self._seen.get("counted_ms", 0) > COUNT_EVERY_MS:
            found = connection.execute(NTH, {"project": self._project_id, "kept": kept - 1}).scalar()
            self._seen |= {"kept": kept, "counted_ms": now, "surplus": found or ""}
        return str(self._seen["surplus"])

    def _pass(self, name: str, which: str, before: str) -> int:
        """Remove those of `which` up to an id, from where the last turn came to."""
        statement = text(WITHIN + which)
        removed = 0
        while not self._stopped():
            where = {"project": self._project_id, "after": self._seen.get(name, ""), "before": before}
            with self._store.read() as connection:
                end = connection.execute(WINDOW_END, {**where, "window": WINDOW}).scalar() or before
                ids = list(connection.execute(statement, {**where, "before": end}).scalars())
            removed += self._remove_all([ids])
            if self._stopped():
                return removed
            # The end itself is looked at with the next window.
            self._seen[name] = max(where["after"], _just_below(end))
            if end == before:
                return removed
        return removed

    def _failed(self, before: str) -> Iterator[list[str]]:
        after = ""
        while not self._stopped():
            with self._store.read() as connection:
                values = {"project": self._project_id, "before": before, "after": after, "count": BATCH}
                ids = list(connection.execute(FAILED, values).scalars())
            yield ids
            if len(ids) < BATCH:
                return
            after = ids[-1]

    def _remove_all(self, found: Iterator[list[str]] | Sequence[list[str]]) -> int:
        removed = 0
        for ids in found:
            ids = [id_ for id_ in ids if id_ not in self._needed]
            for start in range(0, len(ids), BATCH):
                if self._stopped():
                    return removed
                some = ids[start : start + BATCH]
                # Not durable: what a power cut brings back is removed again.
                with self._store.write(durable=False) as connection:
                    for statement in REMOVE:
                        connection.execute(statement, {"ids": some})
                removed += len(some)
                time.sleep(PAUSE_S)
        return removed

    def _remove_run_data(self, before_ms: int) -> int:
        removed = 0
        while not self._stopped():
            with self._store.write(durable=False) as connection:
                values = {"project": self._project_id, "before": before_ms, "count": BATCH}
                owners = [f"{project}/{key}" for project, key in connection.execute(RUN_DATA, values)]
                if owners:
                    connection.execute(RUN_DATA_USES, {"ids": owners})
            removed += len(owners)
            if len(owners) < BATCH:
                break
            time.sleep(PAUSE_S)
        return removed


def _before(now: int, days: int) -> str:
    """All ids made more than so many days ago are less than this."""
    return new_id(max(now - days * DAY_MS, 0))[:12]


def _just_below(id_: str) -> str:
    """Less than the id, and more than nearly every id before it."""
    return f"{int(id_, 16) - 1:0{len(id_)}x}" if id_.strip("0") else ""
