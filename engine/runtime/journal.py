"""Commits what executions produce, many in one transaction, and claims new ones in the same: one thread of a worker.

A transaction first looks which of its executions still bear their fence, drops the rest, then writes: a worker that
comes back from the dead writes nothing. One commit is in flight at a time; what comes meanwhile makes the next.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engine.runtime import bulk
from engine.runtime.answers import Answer
from engine.runtime.claims import LIMITED, QUEUED, Claim, Claims
from engine.runtime.ids import now_ms
from engine.runtime.logs import get_logger
from engine.runtime.store import Store, StoreUnavailable

# How long a database that is away is left alone; doubled each time, up to the last.
WAIT_S = (0.1, 2.0)
# A worker without anything to do looks this often: for what a lost message would have told it, and for lapsed leases.
IDLE_S = 1.0
BATCH = 500
# Under load a little patience makes larger batches: a transaction costs 0.6 ms of work however small it is, and two
# busy threads hinder each other. After a batch of so many the next waits for ENOUGH, up to BUSY_S from its beginning.
BUSY_ENTRIES = 8
ENOUGH = 24
BUSY_S = 0.012
LOOK_S = 0.001

RECORD = ("execution_id", "part", "data")
# Parts up to this are read as hexadecimal text, many at once.
SMALL_BYTES = 16_384
PART = text("SELECT data FROM record WHERE execution_id = :id AND part = :part")
# Of a batch whose commit may have gone well though nobody heard of it: its parts may be there.
AGAIN = "ON CONFLICT DO NOTHING"
ENDED = ("status", "finished_ms", "error", "waiting", "worker_id")
ENDED_TYPES = ("varchar", "bigint", "text", "text", "varchar")
REFUSED = (
    '{"code": "internal.not_written", "message": "what this execution gave could not be written", '
    '"hint": "This is a fault of Flowleaf; its log says more."}'
)
USE = "INSERT INTO payload_use (hash, owner, project_id) VALUES (:hash, :owner, :project_id) ON CONFLICT DO NOTHING"

log = get_logger()


@dataclass(frozen=True, slots=True)
class Entry:
    """What one execution has to be written.

    Attributes:
        part, data: a part of its record; None where there is none.
        uses: hashes of payload files that the part needs.
        status: the status it moves to; None while it goes on.
        written: called in the journal's thread after the commit: with True, or False where the claim was lost.
        apart: statements that belong into the same transaction, given the connection: results by preview key.
        events: what to publish after the commit, in order.
        answer: what the call that waits is answered.
    """

    claim: Claim
    part: int = 0
    data: bytes | None = None
    uses: tuple[str, ...] = ()
    status: str | None = None
    error: str | None = None
    waiting: str | None = None
    written: Callable[[bool], None] | None = None
    apart: Callable[[Connection], None] | None = None
    events: Sequence[Mapping[str, Any]] = ()
    answer: Answer | None = None

    @property
    def stores(self) -> bool:
        """Whether there is something for the database, and not only for who watches."""
        return self.data is not None or self.status is not None or self.apart is not None


class Claimed(NamedTuple):
    """A claim with the parts of its record, in order."""

    claim: Claim
    parts: list[bytes]


class Journal:
    """The writing thread of a worker.

    Args:
        slots: slot -> how many executions at a time.
        claimed: called in the thread with what was claimed, after the commit.
        committed: called in the thread after each commit with the entries that were written, to publish them.
        lost: called in the thread when the lease is found lost.
    """

    def __init__(
        self,
        store: Store,
        claims: Claims,
        slots: Mapping[str, int],
        *,
        claimed: Callable[[Sequence[Claimed]], None],
        committed: Callable[[Sequence[Entry]], None],
        lost: Callable[[], None],
    ) -> None:
        self._store = store
        self._claims = claims
        self._free = dict(slots)
        self._running: dict[str, Claim] = {}
        self._claimed = claimed
        self._committed = committed
        self._lost = lost
        self._entries: deque[Entry] = deque()
        self._wanted = True
        self._some = threading.Condition()
        self._closing = False
        self._claiming = True
        self._looked_at = 0.0
        self._suspect = False
        self._unsure = False  # whether the last transaction may have been committed though it failed
        lock = "" if store.is_sqlite else "FOR UPDATE"
        among = "IN (SELECT value FROM json_each(:ids))" if store.is_sqlite else "= ANY(CAST(:ids AS varchar[]))"
        self._held = f"FROM execution WHERE id {among} AND worker_id = :worker AND status = 'running' {lock}"
        self._parts = f"FROM record WHERE execution_id {among} ORDER BY execution_id, part"
        unknown = f"WHERE worker_id = :worker AND status = 'running' AND NOT id {among}"
        self._give_back = text(
            f"UPDATE execution SET status = 'queued', worker_id = NULL, attempts = attempts - 1 {unknown}"  # noqa: S608
        )
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self.batches = 0
        self.away_since: float | None = None

    def start(self) -> None:
        """Begin to write and to claim."""
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Write this with the next commit. From any thread."""
        with self._some:
            self._entries.append(entry)
            self._some.notify()

    def wake(self) -> None:
        """Something may be queued: claim."""
        with self._some:
            self._wanted = True
            self._some.notify()

    def stop_claiming(self) -> None:
        """Claim nothing any more."""
        self._claiming = False

    def forget(self, slots: Mapping[str, int]) -> None:
        """All that was claimed is lost: its slots are free again, nothing of it need be written."""
        with self._some:
            entries, self._entries = self._entries, deque()
            self._free = dict(slots)
            self._running.clear()
        for entry in entries:
            _guarded(entry.written, False)

    def release(self, claim: Claim) -> None:
        """Free the slot of a claim that ends without an entry."""
        with self._some:
            if self._leaves(claim):
                self._some.notify()

    def _leaves(self, claim: Claim) -> bool:
        """Whether the claim was among what runs here; its slot is free from now on."""
        if self._running.get(claim.id) is not claim:
            return False
        del self._running[claim.id]
        self._free[claim.slot] += 1
        return True

    def check_lease(self) -> None:
        """The lease seems lost: look, and begin anew where it is."""
        with self._some:
            self._suspect = True
            self._wanted = True
            self._some.notify()

    def close(self, timeout_s: float) -> None:
        """Write what is there, then end."""
        with self._some:
            self._closing = True
            self._some.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        wait_s = WAIT_S[0]
        batch: list[Entry] = []
        began, busy = 0.0, False
        while True:
            while busy and len(self._entries) < ENOUGH and time.monotonic() < began + BUSY_S and not self._closing:
                time.sleep(LOOK_S)
            with self._some:
                if not batch and not self._entries and not self._wants_claims() and not self._closing:
                    self._some.wait(IDLE_S)
                while self._entries and len(batch) < BATCH:
                    batch.append(self._entries.popleft())
                if self._closing and not batch:
                    return
            began, busy = time.monotonic(), len(batch) >= BUSY_ENTRIES
            try:
                self._commit(batch)
            except StoreUnavailable:
                self._unsure = True
                # Kept and tried again. Nothing new is claimed meanwhile, so memory is bounded by the slots.
                self.away_since = self.away_since or time.monotonic()
                if self._closing:
                    return
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, WAIT_S[1])
            except Exception:  # this thread must not end: the worker would keep its lease and write nothing
                log.exception("the database does not take a batch", entries=len(batch))
                batch = self._without_refused(batch)
                time.sleep(wait_s)
            else:
                self.away_since = None
                wait_s = WAIT_S[0]
                batch = []

    def _without_refused(self, batch: list[Entry]) -> list[Entry]:
        """The batch to try again. What the database does not take fails its execution, and not its neighbours."""
        for index, entry in enumerate(batch):
            try:
                self._commit([entry])
            except StoreUnavailable:
                return batch[index:]
            except Exception:
                log.exception("a result cannot be written", execution_id=entry.claim.id)
                try:
                    self._commit([Entry(entry.claim, status="failed", error=REFUSED)])
                except StoreUnavailable:
                    return batch[index:]
                except Exception:
                    log.exception("an execution cannot be ended", execution_id=entry.claim.id)
                _guarded(entry.written, False)
        return []

    def _wants_claims(self) -> bool:
        return self._claiming and self._wanted and any(self._free.values())

    def _commit(self, batch: Sequence[Entry]) -> None:
        """One transaction: the batch, then claims."""
        now = time.monotonic()
        looks = now - self._looked_at > IDLE_S
        freed: dict[str, int] = {}
        ended = {entry.claim.id: entry.claim for entry in batch if entry.status is not None}
        for claim in ended.values():
            if self._running.get(claim.id) is claim:
                freed[claim.slot] = freed.get(claim.slot, 0) + 1
        claims = self._claiming and (self._wanted or looks or bool(freed))
        if not claims and not any(entry.stores for entry in batch):
            self._tell(batch, [True] * len(batch))
            return
        if claims:  # else one that came since must not be forgotten
            self._wanted = False  # a wake-up that comes from here on is not to be missed
        suspect, self._suspect = self._suspect, False
        unsure = self._unsure
        if not batch and not suspect and not unsure and not self._something_queued(looks):
            return
        free = {slot: count + freed.get(slot, 0) for slot, count in self._free.items()}
        found: list[Claim] = []
        parts: dict[str, list[bytes]] = {}
        holds = True
        with self._store.write(durable=bool(batch)) as connection:
            kept = self._write(connection, batch) if batch else []
            if unsure:
                # What was claimed by a commit whose answer got lost runs nowhere.
                values = {"worker": self._claims.worker_id, "ids": self._ids(list(self._running))}
                connection.execute(self._give_back, values)
            if suspect or claims:
                if looks:
                    self._claims.recover(connection)
                holds = self._claims.holds(connection)
                found = self._claims.claim(connection, free) if claims and holds else []
                # A server that crashed may have forgotten a claim made without a wait for its disk: what runs here by
                # that one must not write what runs by the new one.
                found = [
                    self._claims.again(connection, claim)
                    if claim.id in self._running and claim.id not in ended
                    else claim
                    for claim in found
                ]
                parts = self._parts_of(connection, found) if found else {}
        if looks:
            self._looked_at = now
        self.batches += 1
        self._unsure = False
        with self._some:
            for claim in ended.values():
                self._leaves(claim)
            for claim in found:
                if (forgotten := self._running.get(claim.id)) is not None:
                    self._leaves(forgotten)
                self._running[claim.id] = claim
                self._free[claim.slot] -= 1
            # Where as many were found as there was room for, more may wait.
            if found:
                self._wanted = True
        self._tell(batch, kept)
        if found:
            _guarded(self._claimed, [Claimed(claim, parts.get(claim.id, [])) for claim in found])
        if not holds:
            self._lost()

    def _something_queued(self, looks: bool) -> bool:
        """Whether it is worth taking the write lock: most looks of an idle worker find nothing."""
        with self._store.read() as connection:
            # One by one: each has an index of its own, and without one this looks at every execution there ever was.
            for where in (QUEUED, LIMITED):
                if connection.execute(text(f"SELECT 1 FROM execution WHERE {where} LIMIT 1")).first():  # noqa: S608
                    return True
            if looks:
                self._looked_at = time.monotonic()
                lapsed = text(f"SELECT 1 FROM worker WHERE lease_until_ms <= {self._store.clock} LIMIT 1")  # noqa: S608
                return connection.execute(lapsed, {"now": now_ms()}).first() is not None
        return False

    def _write(self, connection: Connection, batch: Sequence[Entry]) -> list[bool]:
        """Write the entries whose executions are still ours; says of each whether it is."""
        ids = list({entry.claim.id for entry in batch})
        values = {"ids": self._ids(ids), "worker": self._claims.worker_id}
        mine = {row[0]: row[1] for row in bulk.select(connection, ("id", "fence"), self._held, values)}
        kept: list[bool] = []
        records: list[bulk.Row] = []
        ended: list[bulk.Row] = []
        uses: list[dict[str, Any]] = []
        now = now_ms()
        for entry in batch:
            id_ = entry.claim.id
            kept.append(mine.get(id_) == entry.claim.fence and entry.claim.worker_id == self._claims.worker_id)
            if not kept[-1]:
                continue
            if entry.data is not None:
                records.append((id_, entry.part, entry.data))
            uses += [{"hash": hash_, "owner": id_, "project_id": entry.claim.project_id} for hash_ in entry.uses]
            if entry.status is not None:
                mine.pop(id_, None)
                finished = None if entry.status in ("waiting", "queued", "needs_decision") else now
                ended.append((id_, entry.status, finished, entry.error, entry.waiting, None))
            if entry.apart is not None:
                entry.apart(connection)
        if records:
            bulk.insert(connection, "record", RECORD, records, AGAIN if self._unsure else "")
        if uses:
            connection.execute(text(USE), uses)
        if ended:
            bulk.update(connection, "execution", ENDED, ENDED_TYPES, ended)
        return kept

    def _parts_of(self, connection: Connection, found: Sequence[Claim]) -> dict[str, list[bytes]]:
        """Execution id -> the parts of its record. Small ones come together, as text; each large one by itself."""
        values = {"ids": self._ids([claim.id for claim in found])}
        parts: dict[str, list[bytes]] = {}
        if not self._store.is_sqlite:
            for id_, data in bulk.select(connection, ("execution_id", "data"), self._parts, values):
                parts.setdefault(id_, []).append(data)
            return parts
        columns = ("execution_id", "part", f"CASE WHEN length(data) <= {SMALL_BYTES} THEN hex(data) END AS small")
        for id_, part, small in bulk.select(connection, columns, self._parts, values):
            data = bytes.fromhex(small) if small is not None else connection.execute(PART, {"id": id_, "part": part})
            parts.setdefault(id_, []).append(data if isinstance(data, bytes) else data.scalar_one())
        return parts

    def _ids(self, ids: list[str]) -> Any:
        if not self._store.is_sqlite:
            return ids
        return '["' + '","'.join(ids) + '"]'  # hex: nothing to escape

    def _tell(self, batch: Sequence[Entry], kept: Sequence[bool]) -> None:
        written = [entry for entry, is_mine in zip(batch, kept, strict=True) if is_mine]
        if written:
            _guarded(self._committed, written)
        for entry, is_mine in zip(batch, kept, strict=True):
            _guarded(entry.written, is_mine)


def _guarded(call: Callable[[Any], None] | None, value: Any) -> None:
    """Tell somebody. What is committed is committed, whatever they make of it."""
    if call is not None:
        try:
            call(value)
        except Exception:
            log.exception("after a commit something failed")
