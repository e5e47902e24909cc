"""Who may run an execution: a worker's lease, and the claims it makes while the lease lasts."""

import os
import socket
from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, TextClause, text

from engine.runtime import bulk
from engine.runtime.ids import new_id, now_ms
from engine.runtime.models import SLOTS
from engine.runtime.store import Store

LEASE_MS = 6_000
BEAT_S = 0.5
# An execution that takes its worker down each time is given up.
MOST_ATTEMPTS = 5
GIVEN_UP = (
    '{"code": "internal.worker_died", "message": "its worker died each of the '
    f'{MOST_ATTEMPTS} times it was run", '
    '"hint": "Look for what takes too much memory; then retry it."}'
)


class Claim(NamedTuple):
    """An execution that this worker may run. The names are those of its row."""

    id: str
    project_id: str
    workflow_id: str
    revision_id: str | None
    kind: str
    source: str
    trigger_id: str | None
    slot: str
    fence: int
    attempts: int
    reply_to: str | None
    origin_id: str | None
    from_node: str | None
    created_ms: int
    worker_id: str = ""


COLUMNS = ", ".join(f"execution.{name}" for name in Claim._fields)
QUEUED = "status = 'queued' AND limited = 0"
LIMITED = "status = 'queued' AND limited = 1"
# What takes a place of a workflow's limit: draft runs do not.
COUNTED = "status = 'running' AND kind = 'published'"
OPEN = f"{QUEUED} AND slot = :slot AND project_id = :project"
LIMITS = f"{LIMITED} AND workflow_id = :workflow AND slot = :slot"
TAKEN = (
    "status = 'running', worker_id = :worker, fence = fence + 1, attempts = attempts + 1, "
    "started_ms = coalesce(started_ms, :now)"
)

# Which (slot, project) have something queued: within each slot a step from one project to the next along the index,
# whatever lies between.
NEXT = f"SELECT project_id FROM execution WHERE {QUEUED} AND slot ="  # noqa: S608
SLOT_NAMES = " UNION ALL ".join(f"SELECT CAST('{slot}' AS varchar) AS slot" for slot in SLOTS)
PAIRS = text(f"""
    WITH RECURSIVE pair(slot, project_id) AS (
        SELECT given.slot, ({NEXT} given.slot ORDER BY project_id LIMIT 1) FROM ({SLOT_NAMES}) AS given
        UNION ALL
        SELECT pair.slot, ({NEXT} pair.slot AND project_id > pair.project_id ORDER BY project_id LIMIT 1)
        FROM pair WHERE pair.project_id IS NOT NULL
    )
    SELECT slot, project_id FROM pair WHERE project_id IS NOT NULL LIMIT 1000""")  # noqa: S608  no value of others in it

BUSY_WORKFLOWS = text(f"""
    WITH RECURSIVE busy(id) AS (
        SELECT * FROM (SELECT workflow_id FROM execution WHERE {LIMITED} ORDER BY workflow_id LIMIT 1) AS first
        UNION ALL
        SELECT (SELECT workflow_id FROM execution WHERE {LIMITED} AND workflow_id > busy.id
                ORDER BY workflow_id LIMIT 1)
        FROM busy WHERE busy.id IS NOT NULL
    )
    SELECT id FROM busy WHERE id IS NOT NULL LIMIT 1000""")  # noqa: S608


TAKE = text(f"UPDATE execution SET {TAKEN} WHERE id IN (SELECT value FROM json_each(:ids))")  # noqa: S608


@cache
def _claiming(where: str) -> TextClause:
    """On PostgreSQL: takes them, whoever else claims at the same time."""
    return text(f"""
        WITH picked AS (
            SELECT id FROM execution WHERE {where} ORDER BY priority, id LIMIT :count FOR UPDATE SKIP LOCKED
        )
        UPDATE execution SET {TAKEN} FROM picked WHERE execution.id = picked.id RETURNING {COLUMNS}""")  # noqa: S608


class Claims:
    """A worker's lease and claims. The methods that take a connection belong into a transaction that writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = "" if store.is_sqlite else "FOR UPDATE SKIP LOCKED"
        self._turn = 0
        self._earlier = ""
        self.worker_id = ""

    def register(self) -> str:
        """Begin a lease under a new id; what an earlier one of this very worker ran is no longer its own."""
        worker_id = new_id()
        mine = {"id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "now": now_ms(), "lease": LEASE_MS}
        with self._store.write() as connection:
            connection.execute(
                text(
                    "INSERT INTO worker (id, host, pid, started_ms, lease_until_ms) "  # noqa: S608
                    f"VALUES (:id, :host, :pid, :now, {self._store.clock} + :lease)"
                ),
                mine,
            )
            connection.execute(text("UPDATE worker SET lease_until_ms = 0 WHERE id = :id"), {"id": self._earlier})
        self._earlier = worker_id
        self.worker_id = worker_id
        return worker_id

    def beat(self) -> list[str] | None:
        """Renew the lease; gives ids of own executions that are to be cancelled. None: the lease was lost."""
        mine = {"worker": self.worker_id, "now": now_ms(), "lease": LEASE_MS}
        clock = self._store.clock
        with self._store.write(durable=False) as connection:
            kept = connection.execute(
                text(
                    f"UPDATE worker SET lease_until_ms = {clock} + :lease "  # noqa: S608
                    f"WHERE id = :worker AND lease_until_ms > {clock}"
                ),
                mine,
            ).rowcount
            if not kept:
                return None
            found = connection.execute(
                text("SELECT id FROM execution WHERE worker_id = :worker AND status = 'running' AND cancel = 1"), mine
            )
            return list(found.scalars())

    def end(self) -> None:
        """Give the lease back: what still runs is recovered by others at once."""
        mine = {"id": self.worker_id}
        with self._store.write() as connection:
            connection.execute(text("UPDATE worker SET lease_until_ms = 0 WHERE id = :id"), mine)
            # That it ended is not the fault of what it ran. Never below 1: it was begun, so nodes may have done half.
            connection.execute(
                text(
                    "UPDATE execution SET attempts = CASE WHEN attempts > 1 THEN attempts - 1 ELSE attempts END "
                    "WHERE worker_id = :id AND status = 'running'"
                ),
                mine,
            )
            self.recover(connection)

    def recover(self, connection: Connection) -> int:
        """Queue what lapsed leases leave behind; gives how many executions that were."""
        now = {"now": now_ms(), "most": MOST_ATTEMPTS, "error": GIVEN_UP}
        lapsed = list(
            # Locked first: a worker that claims at this very moment is seen by `holds`, or sees that it has lapsed.
            connection.execute(
                text(f"SELECT id FROM worker WHERE lease_until_ms <= {self._store.clock} {self._lock}"),  # noqa: S608
                now,
            ).scalars()
        )
        count = 0
        for worker_id in lapsed:
            who = {**now, "worker": worker_id}
            connection.execute(
                text(
                    "UPDATE execution SET status = 'failed', finished_ms = :now, error = :error "
                    "WHERE worker_id = :worker AND status = 'running' AND attempts >= :most AND cancel = 0"
                ),
                who,
            )
            connection.execute(
                text(
                    "UPDATE execution SET status = 'cancelled', finished_ms = :now "
                    "WHERE worker_id = :worker AND status = 'running' AND cancel = 1"
                ),
                who,
            )
            count += connection.execute(
                text(
                    "UPDATE execution SET status = 'queued', worker_id = NULL "
                    "WHERE worker_id = :worker AND status = 'running'"
                ),
                who,
            ).rowcount
            connection.execute(text("DELETE FROM worker WHERE id = :worker"), who)
        return count

    def holds(self, connection: Connection) -> bool:
        """Whether the lease lasts; on PostgreSQL nobody can take it away before the transaction ends."""
        share = "" if self._store.is_sqlite else "FOR SHARE"
        found = connection.execute(
            text(f"SELECT 1 FROM worker WHERE id = :worker AND lease_until_ms > {self._store.clock} {share}"),  # noqa: S608
            {"worker": self.worker_id, "now": now_ms()},
        )
        return found.first() is not None

    def claim(self, connection: Connection, free: Mapping[str, int]) -> list[Claim]:
        """As many queued executions as there are free slots, by slot; fair over projects, priority then age in each."""
        left = {slot: count for slot, count in free.items() if count > 0}
        if not left:
            return []
        claimed = self._limited(connection, left)
        pairs = [(slot, project) for slot, project in connection.execute(PAIRS) if left.get(slot, 0) > 0]
        self._turn += 1
        for slot in {slot for slot, _ in pairs}:
            projects = [project for other, project in pairs if other == slot]
            turn = self._turn % len(projects)
            waiting = projects[turn:] + projects[:turn]
            while waiting and left[slot] > 0:
                share = max(left[slot] // len(waiting), 1)
                still = []
                for project in waiting:
                    if left[slot] <= 0:
                        break
                    count = min(share, left[slot])
                    found = self._rows(connection, OPEN, count, slot=slot, project=project)
                    claimed += found
                    left[slot] -= len(found)
                    if len(found) == count:
                        still.append(project)
                waiting = still
        return claimed

    def again(self, connection: Connection, claim: Claim) -> Claim:
        """The claim with a higher fence, so that what runs by an earlier one of this worker writes nothing."""
        found = connection.execute(
            text("UPDATE execution SET fence = fence + 1 WHERE id = :id RETURNING fence"), {"id": claim.id}
        )
        return claim._replace(fence=found.scalar_one())

    def _rows(self, connection: Connection, where: str, count: int, **named: str) -> list[Claim]:
        values = {"worker": self.worker_id, "now": now_ms(), "count": count, **named}
        if not self._store.is_sqlite:
            return [Claim._make(row) for row in connection.execute(_claiming(where), values)]
        # There is one writer at a time: what is found is still there when it is taken.
        rest = f"FROM execution WHERE {where} ORDER BY priority, id LIMIT :count"
        found = [Claim._make(row) for row in bulk.select(connection, Claim._fields, rest, values)]
        if found:
            connection.execute(TAKE, {**values, "ids": orjson.dumps([claim.id for claim in found]).decode()})
        return [
            claim._replace(fence=claim.fence + 1, attempts=claim.attempts + 1, worker_id=self.worker_id)
            for claim in found
        ]

    def _limited(self, connection: Connection, left: MutableMapping[str, int]) -> list[Claim]:
        """Claims of workflows that limit how many of their executions run at a time."""
        claimed: list[Claim] = []
        for workflow_id in list(connection.execute(BUSY_WORKFLOWS).scalars()):
            # Locked, so that two workers do not both count the same free places.
            limit = connection.execute(
                text(f"SELECT max_running, when_full FROM workflow WHERE id = :workflow {self._lock}"),  # noqa: S608
                {"workflow": workflow_id},
            ).first()
            if limit is None:
                continue
            most, when_full = limit
            running = connection.execute(
                text(f"SELECT count(*) FROM execution WHERE workflow_id = :workflow AND {COUNTED}"),  # noqa: S608
                {"workflow": workflow_id},
            ).scalar_one()
            if when_full == "cancel_oldest":
                self._make_room(connection, workflow_id, most or 1, running)
            places = (most or 2**31) - running
            taken: list[Claim] = []
            for slot in [slot for slot, count in left.items() if count > 0]:
                room = min(places - len(taken), left[slot])
                if room > 0:
                    found = self._rows(connection, LIMITS, room, workflow=workflow_id, slot=slot)
                    left[slot] -= len(found)
                    taken += found
            claimed += taken
            if when_full == "skip" and len(taken) >= places:
                connection.execute(
                    text(
                        "UPDATE execution SET status = 'skipped', finished_ms = :now "  # noqa: S608
                        f"WHERE workflow_id = :workflow AND {LIMITED}"
                    ),
                    {"workflow": workflow_id, "now": now_ms()},
                )
        return claimed

    def _make_room(self, connection: Connection, workflow_id: str, most: int, running: int) -> None:
        """Cancel the oldest, so that the newest `most` are left: queued ones at once, running ones by their worker."""
        values = {"workflow": workflow_id, "most": most, "now": now_ms()}
        connection.execute(
            text(
                "UPDATE execution SET status = 'cancelled', finished_ms = :now WHERE id IN ("  # noqa: S608
                f"SELECT id FROM execution WHERE workflow_id = :workflow AND {LIMITED} "
                "ORDER BY id DESC LIMIT 1000000 OFFSET :most)"
            ),
            values,
        )
        queued = connection.execute(
            text(f"SELECT count(*) FROM execution WHERE workflow_id = :workflow AND {LIMITED}"),  # noqa: S608
            values,
        ).scalar_one()
        excess = running + queued - most
        if excess > 0:
            connection.execute(
                text(
                    "UPDATE execution SET cancel = 1 WHERE id IN (SELECT id FROM execution "  # noqa: S608
                    f"WHERE workflow_id = :workflow AND {COUNTED} ORDER BY id LIMIT :excess)"
                ),
                {**values, "excess": excess},
            )


def lapse(store: Store, host: str, pid: int) -> None:
    """End the lease of a worker process that is known to be dead: what it ran is recovered at once."""
    with store.write() as connection:
        connection.execute(
            text("UPDATE worker SET lease_until_ms = 0 WHERE host = :host AND pid = :pid"), {"host": host, "pid": pid}
        )


def lapse_all(store: Store) -> None:
    """End all leases. Only where no other worker can be: on SQLite, with the lock of the one worker held."""
    with store.write() as connection:
        connection.execute(text("UPDATE worker SET lease_until_ms = 0"))
