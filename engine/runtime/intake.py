"""Accepts executions: those that come in within the same few milliseconds are inserted in one transaction."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engine.errors import InternalError
from engine.runtime import bulk
from engine.runtime.ids import now_ms
from engine.runtime.logs import get_logger
from engine.runtime.store import Store, StoreUnavailable

BATCH = 500
# Accepted by nobody yet, so all of it is lost memory while the database is away.
WAITING = 5_000
WAITING_BYTES = 256 * 2**20
# Under load a little patience makes larger batches: a transaction costs 0.6 ms of work however small it is, and two
# busy threads hinder each other. After a batch of so many the next waits for ENOUGH, up to BUSY_S from its beginning.
BUSY_ORDERS = 8
ENOUGH = 24
BUSY_S = 0.008
LOOK_S = 0.001

RECORD = ("execution_id", "part", "data")
SEEN = text(
    "INSERT INTO seen (scope, key, project_id, execution_id, until_ms) "
    "VALUES (:scope, :key, :project_id, :execution_id, :until_ms) "
    "ON CONFLICT (scope, key) DO UPDATE SET execution_id = excluded.execution_id, until_ms = excluded.until_ms "
    "WHERE seen.until_ms < :now RETURNING execution_id"
)
FIRST = text("SELECT execution_id FROM seen WHERE scope = :scope AND key = :key")
SAME = text("UPDATE seen SET execution_id = :first WHERE scope = :scope AND key = :key")

log = get_logger()


class Overloaded(InternalError):
    """More waits to be accepted than memory should hold. Try again in a moment."""

    code = "intake.overloaded"


class Once(NamedTuple):
    """A key that starts one execution only, until a time.

    Attributes:
        scope: what the key is unique in, such as a webhook.
    """

    scope: str
    key: str
    until_ms: int


class Accepted(NamedTuple):
    """What became of a call: committed. `first` is False where an earlier call with its key started the execution."""

    execution_id: str
    first: bool = True


class Order(NamedTuple):
    """An execution to be inserted: its row (`execution_row`), and part 0 of its record."""

    row: Mapping[str, Any]
    record: bytes
    once: tuple[Once, ...] = ()


def execution_row(
    *,
    id: str,
    project_id: str,
    workflow_id: str,
    kind: str,
    source: str,
    slot: str,
    revision_id: str | None = None,
    trigger_id: str | None = None,
    priority: int = 1,
    limited: bool = False,
    reply_to: str | None = None,
    origin_id: str | None = None,
    from_node: str | None = None,
    created_ms: int | None = None,
) -> dict[str, Any]:
    """A queued execution's row, with all columns that an insert sets."""
    return {
        "id": id,
        "project_id": project_id,
        "workflow_id": workflow_id,
        "revision_id": revision_id,
        "kind": kind,
        "source": source,
        "trigger_id": trigger_id,
        "slot": slot,
        "priority": priority,
        "limited": int(limited),
        "status": "queued",
        "fence": 0,
        "attempts": 0,
        "cancel": 0,
        "reply_to": reply_to,
        "origin_id": origin_id,
        "from_node": from_node,
        "created_ms": now_ms() if created_ms is None else created_ms,
    }


COLUMNS = tuple(execution_row(id="", project_id="", workflow_id="", kind="", source="", slot=""))


def insert_orders(connection: Connection, orders: Sequence[Order]) -> list[Accepted]:
    """Insert executions within a transaction; one answer each, in their order."""
    now = now_ms()
    accepted = [Accepted(order.row["id"]) for order in orders]
    # By key, so that two processes with the same keys at once do not wait for each other in a circle.
    for _, index in sorted((order.once, index) for index, order in enumerate(orders) if order.once):
        accepted[index] = _once(connection, orders[index], now)
    first = [order for order, answer in zip(orders, accepted, strict=True) if answer.first]
    if first:
        bulk.insert(connection, "execution", COLUMNS, [[order.row[name] for name in COLUMNS] for order in first])
        bulk.insert(connection, "record", RECORD, [(order.row["id"], 0, order.record) for order in first])
    return accepted


def _once(connection: Connection, order: Order, now: int) -> Accepted:
    """Whether the order is the first with its keys; they are remembered then."""
    row = order.row
    for number, once in enumerate(order.once):
        key = {"scope": once.scope, "key": once.key}
        values = {**key, "project_id": row["project_id"], "execution_id": row["id"], "until_ms": once.until_ms}
        if connection.execute(SEEN, {**values, "now": now}).first() is None:
            first: str = connection.execute(FIRST, key).scalar_one()
            for mine in order.once[:number]:  # these were new: from now on they stand for the first one as well
                connection.execute(SAME, {"scope": mine.scope, "key": mine.key, "first": first})
            return Accepted(first, first=False)
    return Accepted(row["id"])


class _Waiting(NamedTuple):
    order: Order
    answer: "asyncio.Future[Accepted]"


class Intake:
    """Inserts what many callers of one event loop bring, a batch a transaction; a batch fills while one commits.

    Args:
        committed: called in the thread with the orders of each batch, after its commit: wakes the workers.
    """

    def __init__(self, store: Store, committed: Callable[[Sequence[Order]], None]) -> None:
        self._store = store
        self._committed = committed
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._some = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
        self._thread.start()

    async def accept(self, order: Order) -> Accepted:
        """Returns once the order is committed.

        Raises:
            StoreUnavailable: the database cannot be used; nothing was accepted.
            Overloaded: too much waits already.
        """
        if self._closing:
            raise StoreUnavailable("this process is about to end", hint="Try again in a moment.")
        if len(self._waiting) >= WAITING or self._waiting_bytes > WAITING_BYTES:
            raise Overloaded("too many calls wait to be accepted", hint="Try again in a moment.")
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        with self._some:
            self._waiting_bytes += len(order.record)
            self._waiting.append(_Waiting(order, answer))
            self._some.notify()
        return await answer

    def _work(self) -> None:
        began, busy = 0.0, False
        while True:
            while busy and len(self._waiting) < ENOUGH and time.monotonic() < began + BUSY_S and not self._closing:
                time.sleep(LOOK_S)
            with self._some:
                while not self._waiting:
                    if self._closing:
                        return
                    self._some.wait()
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._waiting_bytes -= sum(len(waiting.order.record) for waiting in batch)
            began, busy = time.monotonic(), len(batch) >= BUSY_ORDERS
            self._insert(batch)

    def _insert(self, batch: Sequence[_Waiting]) -> None:
        orders = [waiting.order for waiting in batch]
        try:
            with self._store.write() as connection:
                accepted = insert_orders(connection, orders)
        except StoreUnavailable as exc:
            self._tell(batch, [exc] * len(batch))
        except Exception as exc:  # noqa: BLE001  one that the database does not take must not fail its neighbours
            if len(batch) == 1:
                self._tell(batch, [exc])
            for waiting in batch if len(batch) > 1 else ():
                self._insert([waiting])
        else:
            self._wake([order for order, answer in zip(orders, accepted, strict=True) if answer.first])
            self._tell(batch, accepted)

    def _wake(self, orders: Sequence[Order]) -> None:
        try:
            self._committed(orders)
        except Exception:
            log.exception("workers could not be woken")

    def _tell(self, batch: Sequence[_Waiting], answers: Sequence[Accepted | Exception]) -> None:
        def tell() -> None:
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():  # its caller has gone
                    continue
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)

        loop = batch[0].answer.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell)

    def close(self) -> None:
        """Insert what waits, then end. Blocks; at most for as long as the database lets it wait."""
        with self._some:
            self._closing = True
            self._some.notify()
        self._thread.join(timeout=6)
