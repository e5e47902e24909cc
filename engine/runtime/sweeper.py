"""Puts right what others left lying: lapsed leases, lost wake-ups, waits that are over, keys that have expired."""

import time

from sqlalchemy import text

from engine.runtime.claims import Claims
from engine.runtime.ids import new_id, now_ms
from engine.runtime.logs import get_logger
from engine.runtime.measures import Measures
from engine.runtime.parts import Parts

# Queued for longer than this without a claim: its wake-up may have been lost.
LYING_MS = 1_000
BATCH = 500
# Of expired keys in one sweep: more than come in within its second at full load.
BATCHES = 10
PAUSE_S = 0.02

# Read first: a sweep of a quiet installation writes nothing. `queued`: id bounds by time, since ids sort by it.
LOOK = """
    SELECT EXISTS (SELECT 1 FROM worker WHERE lease_until_ms <= {clock}),
           EXISTS (SELECT 1 FROM execution WHERE status = 'queued' AND limited = 0 AND slot = 'draft' AND id < :before),
           EXISTS (SELECT 1 FROM execution WHERE status = 'queued' AND limited = 0
                   AND slot IN ('async', 'code', 'heavy') AND id < :before)
               OR EXISTS (SELECT 1 FROM execution WHERE status = 'queued' AND limited = 1 AND id < :before),
           EXISTS (SELECT 1 FROM execution WHERE status = 'waiting' AND resume_ms <= :now),
           EXISTS (SELECT 1 FROM seen WHERE until_ms < :now)
"""
RESUME = text(
    "UPDATE execution SET status = 'queued', resume_ms = NULL WHERE status = 'waiting' AND id IN ("
    "SELECT id FROM execution WHERE status = 'waiting' AND resume_ms <= :now ORDER BY resume_ms LIMIT :count)"
)
# The time is asked for twice: the key may just have been taken anew.
FORGET = text(
    "DELETE FROM seen WHERE until_ms < :now AND (scope, key) IN ("
    "SELECT scope, key FROM seen WHERE until_ms < :now ORDER BY until_ms LIMIT :count)"
)

log = get_logger()


class Sweeper:
    """Looks over the database, once a second or so. Workers do most of it too; this makes up for none running."""

    def __init__(self, parts: Parts, measures: Measures) -> None:
        self._parts = parts
        self._store = parts.store
        self._measures = measures
        self._claims = Claims(parts.store)
        self._look = text(LOOK.format(clock=parts.store.clock))

    def sweep(self) -> None:
        """One look, and what it asks for. Not on an event loop. Raises StoreUnavailable."""
        now = now_ms()
        with self._store.read() as connection:
            found = connection.execute(self._look, {"now": now, "before": new_id(now - LYING_MS)}).one()
        lapsed, drafts, runs, resumable, expired = map(bool, found)
        recovered = self._recover() if lapsed else 0
        resumed = self._resume(now) if resumable else 0
        if drafts or recovered:
            self._parts.wakes.send("drafts")
        if runs or recovered or resumed:
            self._parts.wakes.send("runs")
        if expired:
            self._forget(now)

    def _recover(self) -> int:
        with self._store.write() as connection:
            count = self._claims.recover(connection)
        if count:
            self._measures.recovered(count)
            log.warning("executions of a worker that is gone are queued again", count=count)
        return count

    def _resume(self, now: int) -> int:
        with self._store.write() as connection:
            count = connection.execute(RESUME, {"now": now, "count": BATCH}).rowcount
        log.info("executions go on after their wait", count=count)
        return count

    def _forget(self, now: int) -> None:
        for _ in range(BATCHES):
            with self._store.write(durable=False) as connection:
                count = connection.execute(FORGET, {"now": now, "count": BATCH}).rowcount
            if count < BATCH:
                return
            time.sleep(PAUSE_S)
