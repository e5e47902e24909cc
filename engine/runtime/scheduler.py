"""Starts what is due by the clock. Any number of schedulers may run: each due time fires once."""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from engine.errors import DefinitionError
from engine.runtime.clock import Missed, Schedule, firings, next_due
from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Order, execution_row, insert_orders
from engine.runtime.logs import bound, get_logger
from engine.runtime.measures import Measures
from engine.runtime.orders import pack_items
from engine.runtime.parts import Parts
from engine.runtime.retention import Retention
from engine.runtime.store import StoreUnavailable
from engine.runtime.sweeper import Sweeper
from engine.runtime.webhooks.ingress import ROUTES

# A schedule published elsewhere is seen after this, also where the bus says nothing.
LOOK_S = 1.0
SWEEP_S = 1.0
RETENTION_LOOK_S = 10.0
# Schedules and executions of one transaction: an edit beside it must not wait.
SCHEDULES = 200
EXECUTIONS = 1_000
# One that cannot be read is looked at again after this, so that it does not stand in the way of the others.
BROKEN_MS = 60_000

DUE = text(
    "SELECT s.id, s.project_id, s.workflow_id, s.revision_id, s.node_id, s.cron, s.every_s, s.timezone, s.missed, "
    "s.anchor_ms, s.next_ms, r.slot, r.priority, r.limited "
    "FROM schedule s LEFT JOIN revision r ON r.id = s.revision_id "
    "WHERE s.next_ms <= :now ORDER BY s.next_ms LIMIT :count"
)
NEXT = text("SELECT min(next_ms) FROM schedule WHERE next_ms > :now")
# The condition is what makes one of two schedulers the one that fires, and of the revision that is published now.
MOVE = text(
    "UPDATE schedule SET next_ms = :next, last_ms = :last WHERE id = :id AND next_ms = :due AND revision_id = :revision"
)
PUT_OFF = text("UPDATE schedule SET next_ms = :next WHERE id = :id AND next_ms = :due")

log = get_logger()


class Firing(NamedTuple):
    """What a due schedule is to start.

    Attributes:
        row: of the schedule, with slot, priority and limited of its revision.
        times: the due times to start an execution for, oldest first; none where they were missed and are skipped.
        next_ms: when it is due after these.
    """

    row: Any
    times: list[datetime]
    next_ms: int


class Scheduler:
    """Fires schedules, sweeps up what others left lying, and lets retention have its turn, until told to stop.

    Args:
        now: the clock, in milliseconds since 1970.
    """

    def __init__(self, parts: Parts, *, now: Callable[[], int] = now_ms, measures: Measures | None = None) -> None:
        self._parts = parts
        self._store = parts.store
        self._now = now
        self._measures = measures or Measures()
        self._sweeper = Sweeper(parts, self._measures)
        self._retention = Retention(parts.store, parts.payloads, self._measures)
        self._look = asyncio.Event()
        self._is_stopping = False
        self._ended = threading.Event()

    def stop(self) -> None:
        """Start nothing more; `run` returns when what is being written is written. On the loop of `run`."""
        self._is_stopping = True
        self._ended.set()
        self._look.set()

    async def run(self) -> None:
        """Work until `stop`."""
        log.info("scheduler started")
        # Beside each other: a long turn of retention must not make a schedule late.
        helpers = [
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._repeat(self._sweeper.sweep, SWEEP_S)),
            asyncio.create_task(self._repeat(self._keep, RETENTION_LOOK_S)),
        ]
        try:
            while not self._is_stopping:
                self._look.clear()
                wait_s = await asyncio.to_thread(self._guarded, self.fire_due)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._look.wait(), LOOK_S if wait_s is None else wait_s)
        finally:
            self._ended.set()
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            log.info("scheduler stopped")

    async def _follow(self) -> None:
        """Look at once when something was published."""
        async for _ in self._parts.bus.follow([ROUTES], "now"):
            self._look.set()

    async def _repeat(self, work: Callable[[], Any], every_s: float) -> None:
        while True:
            await asyncio.to_thread(self._guarded, work)
            await asyncio.sleep(every_s)

    def _keep(self) -> None:
        self._retention.take_turn(stopped=self._ended.is_set)

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """What the work gives; None where it failed. A scheduler goes on, whatever a row or the database says."""
        try:
            return work()
        except StoreUnavailable as exc:
            log.warning("the scheduler waits for the database", reason=exc.message, hint=exc.hint)
        except Exception:
            log.exception("the scheduler failed at something, and tries it again")
        return None

    def fire_due(self) -> float:
        """Start what is due; gives how many seconds to wait before looking again. Not on an event loop.

        Raises:
            StoreUnavailable: the database cannot be used now; nothing was started.
        """
        now = self._now()
        with self._store.read() as connection:
            rows = connection.execute(DUE, {"now": now, "count": SCHEDULES}).all()
            next_ms: int | None = connection.execute(NEXT, {"now": now}).scalar()
        due: list[Firing] = []
        broken: list[Any] = []
        for row in rows:
            try:
                due.append(firing(row, now))
            except DefinitionError as exc:
                log.error("a schedule cannot be read", workflow_id=row.workflow_id, node_id=row.node_id,
                          schedule_id=row.id, reason=exc.message)  # fmt: skip
                broken.append(row)
            if sum(len(one.times) for one in due) >= EXECUTIONS:
                break
        if due or broken:
            self._fire(due, broken, now)
            return 0.0
        return LOOK_S if next_ms is None else min(max((next_ms - self._now()) / 1000, 0.0), LOOK_S)

    def _fire(self, due: list[Firing], broken: list[Any], now: int) -> None:
        """One transaction: each schedule moved on, and its executions inserted where it was this one that moved it."""
        orders: list[Order] = []
        with self._store.write() as connection:
            # In one order everywhere, so that two schedulers do not wait for each other.
            for one in sorted(due, key=lambda one: str(one.row.id)):
                if _move(connection, one):
                    orders += orders_of(one)
            for row in broken:
                connection.execute(PUT_OFF, {"id": row.id, "due": row.next_ms, "next": now + BROKEN_MS})
            insert_orders(connection, orders)
        if not orders:
            return
        self._measures.fired(len(orders))
        for order in orders:
            row = order.row
            with bound(execution_id=row["id"], workflow_id=row["workflow_id"], node_id=row["trigger_id"]):
                log.info("a schedule started an execution")
        self._parts.woken(orders)


def firing(row: Any, now: int) -> Firing:
    """What a due schedule is to start now, and when it is due after that.

    Raises:
        DefinitionError: the schedule or its revision cannot be used.
    """
    if row.slot is None:
        raise DefinitionError("its revision is not there")
    schedule = Schedule(
        cron=row.cron,
        every_s=row.every_s,
        timezone=row.timezone,
        anchor=_moment(row.anchor_ms),
    )
    missed: Missed = row.missed
    # Just before what is due, which then is the first that may fire.
    before = _moment(row.next_ms) - timedelta.resolution
    times = firings(schedule, before, _moment(now), missed, limit=EXECUTIONS)
    # A long list is cut: what is left comes with the next turn.
    settled = times[-1] if len(times) >= EXECUTIONS else _moment(now)
    return Firing(row, times, _ms(next_due(schedule, settled)))


def orders_of(one: Firing) -> list[Order]:
    """An execution for each of the times, with its time as the item."""
    row, zone = one.row, ZoneInfo(one.row.timezone)
    return [
        Order(
            execution_row(
                id=new_id(),
                project_id=row.project_id,
                workflow_id=row.workflow_id,
                revision_id=row.revision_id,
                kind="published",
                source="schedule",
                trigger_id=row.node_id,
                slot=row.slot,
                priority=row.priority,
                limited=bool(row.limited),
            ),
            pack_items([{"time": time.astimezone(zone).isoformat()}]),
        )
        for time in one.times
    ]


def _move(connection: Connection, one: Firing) -> bool:
    last_ms = _ms(one.times[-1]) if one.times else one.row.next_ms
    row = one.row
    values = {"id": row.id, "due": row.next_ms, "revision": row.revision_id, "next": one.next_ms, "last": last_ms}
    return connection.execute(MOVE, values).rowcount == 1


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def _ms(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


async def run_until_signal(scheduler: Scheduler) -> None:
    """Run until SIGTERM or SIGINT, also where SIGINT came in ignored."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, scheduler.stop)
    await scheduler.run()
