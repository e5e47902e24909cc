"""Schedules fire once per due time, whatever the clocks and the processes do."""

import asyncio
import signal
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from engine.runtime import schema
from engine.runtime.ids import now_ms
from engine.runtime.parts import Parts
from engine.runtime.scheduler import BROKEN_MS, DUE, EXECUTIONS, Scheduler, firing
from engine.runtime.settings import Settings
from engine.runtime.webhooks.ingress import ROUTES
from tests.support.rows import add_schedule
from tests.support.schedulers import logged, scheduler_process, started

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def parts(database_url, redis_server, tmp_path):
    parts = Parts(Settings(home=tmp_path, database_url=database_url, redis_url=redis_server.url))
    schema.upgrade(parts.store)
    yield parts
    asyncio.run(parts.close())


class Clock:
    """A clock that the test sets."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> int:
        return ms(self.at)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def schedule(parts: Parts, **values: object) -> str:
    with parts.store.write() as connection:
        workflow_id: str = add_schedule(connection, **values)["workflow_id"]
    return workflow_id


def times(parts: Parts) -> list[str]:
    found = started(parts.store)
    assert set(found.values()) <= {1}, "a due time fired twice"
    return sorted(time for _, time in found)


def work_until(scheduler: Scheduler, clock: Clock, until: datetime, step: timedelta = timedelta(minutes=1)) -> None:
    while clock.at <= until:
        while scheduler.fire_due() == 0.0:
            pass
        clock.at += step


def test_two_schedulers_fire_each_due_time_once_though_some_are_killed(parts, tmp_path, redis_server):
    begin = now_ms() // 1000 * 1000 + 2_000
    workflows = {schedule(parts, every_s=1, next_ms=begin) for _ in range(50)}
    url = parts.store.url
    with scheduler_process(tmp_path, url, redis_server.url) as other:
        with scheduler_process(tmp_path, url, redis_server.url) as first:
            time.sleep(max(begin / 1000 - time.time(), 0) + 2.2)
            first.send_signal(signal.SIGKILL)
        for _ in range(3):
            with scheduler_process(tmp_path, url, redis_server.url) as third:
                time.sleep(1.4)
                third.send_signal(signal.SIGKILL)
        end = now_ms()
        time.sleep(1.5)
        other.send_signal(signal.SIGTERM)
        assert other.wait(6) == 0
    found = started(parts.store)
    assert set(found.values()) == {1}
    assert {workflow_id for workflow_id, _ in found} == workflows
    seconds = range(begin // 1000, end // 1000 + 1)
    due = {(workflow, datetime.fromtimestamp(s, UTC).isoformat()) for workflow in workflows for s in seconds}
    assert due <= set(found)
    with parts.store.read() as connection:
        rows = dict(connection.execute(text("SELECT id, workflow_id FROM execution")).all())
    lines = logged(tmp_path, "a schedule started an execution")
    assert len(lines) > len(rows) / 2, "each is logged, but for what a kill came in between"
    for line in lines:
        assert rows[line["execution_id"]] == line["workflow_id"]
        assert line["node_id"] == "clock"
    assert len(seconds) >= 6


def test_a_start_has_its_row_its_item_and_its_place_in_the_queue(parts, redis_server):
    at = datetime(2026, 11, 23, 9, tzinfo=BERLIN)
    clock = Clock(at + timedelta(milliseconds=200))
    workflow_id = schedule(parts, cron="0 9 * * *", timezone="Europe/Berlin", next_ms=ms(at))
    with parts.store.write() as connection:
        connection.execute(text("UPDATE revision SET slot = 'code', priority = 2, limited = 1"))
    assert Scheduler(parts, now=clock).fire_due() == 0.0
    with parts.store.read() as connection:
        row = connection.execute(text("SELECT * FROM execution")).mappings().one()
        moved = connection.execute(text("SELECT next_ms, last_ms, revision_id FROM schedule")).one()
    assert (row["workflow_id"], row["kind"], row["source"], row["trigger_id"], row["status"]) == (
        workflow_id, "published", "schedule", "clock", "queued",
    )  # fmt: skip
    assert (row["slot"], row["priority"], row["limited"], row["revision_id"]) == ("code", 2, 1, moved.revision_id)
    assert times(parts) == ["2026-11-23T09:00:00+01:00"]
    assert (moved.next_ms, moved.last_ms) == (ms(at + timedelta(days=1)), ms(at))


@pytest.mark.parametrize(
    "cron, day, fires",
    [
        ("30 2 * * *", "2026-03-29", ["03-28T02:30:00+01:00", "03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]),
        ("30 2 * * *", "2026-10-25", ["10-24T02:30:00+02:00", "10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]),
        ("0 3 * * *", "2026-03-29", ["03-28T03:00:00+01:00", "03-29T03:00:00+02:00", "03-30T03:00:00+02:00"]),
    ],
)
def test_a_time_of_day_fires_once_on_the_days_the_clocks_change(parts, cron, day, fires):
    start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=BERLIN) - timedelta(days=1)
    clock = Clock(start.astimezone(UTC))
    first = datetime.fromisoformat(f"2026-{fires[0]}")
    schedule(parts, cron=cron, timezone="Europe/Berlin", next_ms=ms(first))
    work_until(Scheduler(parts, now=clock), clock, clock.at + timedelta(days=2, hours=10), timedelta(minutes=30))
    assert times(parts) == [f"2026-{fire}" for fire in fires]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_each_hour_fires_as_often_as_the_day_has_hours(parts, day, hours):
    start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=BERLIN).astimezone(UTC)
    clock = Clock(start)
    schedule(parts, cron="0 * * * *", timezone="Europe/Berlin", next_ms=ms(start))
    end = start + timedelta(hours=hours) - timedelta(minutes=1)
    work_until(Scheduler(parts, now=clock), clock, end, timedelta(minutes=20))
    assert len(times(parts)) == hours


@pytest.mark.parametrize(
    ("missed", "fires"),
    [
        ("skip", []),
        ("once", ["12:00"]),
        ("all", ["09:00", "10:00", "11:00", "12:00"]),
    ],
)
def test_what_was_missed_while_no_scheduler_ran_goes_by_the_policy(parts, missed, fires):
    nine = datetime(2026, 11, 23, 9, tzinfo=UTC)
    clock = Clock(nine + timedelta(hours=3, minutes=30))
    schedule(parts, cron="0 * * * *", missed=missed, next_ms=ms(nine))
    scheduler = Scheduler(parts, now=clock)
    work_until(scheduler, clock, clock.at)
    assert times(parts) == [f"2026-11-23T{fire}:00+00:00" for fire in fires]
    # From then on it goes by the clock again.
    clock.at = nine + timedelta(hours=4, seconds=1)
    work_until(scheduler, clock, clock.at)
    assert times(parts)[len(fires) :] == ["2026-11-23T13:00:00+00:00"]


def test_more_missed_times_than_fit_a_transaction_all_come(parts):
    begin = datetime(2026, 11, 23, 9, tzinfo=UTC)
    count = EXECUTIONS + 500
    clock = Clock(begin + timedelta(seconds=count - 1))
    schedule(parts, every_s=1, missed="all", next_ms=ms(begin))
    work_until(Scheduler(parts, now=clock), clock, clock.at)
    assert len(times(parts)) == count


def test_a_schedule_that_cannot_be_read_does_not_stand_in_the_way(parts):
    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    clock = Clock(at)
    broken = schedule(parts, cron="0 9 * * *", timezone="Nowhere/Land", next_ms=ms(at) - 5)
    good = schedule(parts, cron="0 9 * * *", next_ms=ms(at))
    scheduler = Scheduler(parts, now=clock)
    while scheduler.fire_due() == 0.0:
        pass
    assert {workflow_id for workflow_id, _ in started(parts.store)} == {good}
    with parts.store.read() as connection:
        statement = text("SELECT next_ms FROM schedule WHERE workflow_id = :id")
        assert connection.execute(statement, {"id": broken}).scalar() == ms(at) + BROKEN_MS


def test_a_schedule_published_anew_while_it_is_looked_at_does_not_start_the_old_revision(parts):
    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    schedule(parts, cron="0 9 * * *", next_ms=ms(at))
    with parts.store.read() as connection:
        (row,) = connection.execute(DUE, {"now": ms(at), "count": 1}).all()
    with parts.store.write() as connection:
        connection.execute(text("UPDATE schedule SET revision_id = 'new'"))
    Scheduler(parts)._fire([firing(row, ms(at))], [], ms(at))
    assert times(parts) == []


def test_a_schedule_of_a_revision_that_is_gone_starts_nothing(parts):
    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    schedule(parts, cron="0 9 * * *", next_ms=ms(at))
    with parts.store.write() as connection:
        connection.execute(text("DELETE FROM revision"))
    assert Scheduler(parts, now=Clock(at)).fire_due() == 0.0
    assert times(parts) == []


async def wait_for(condition, limit_s: float = 5.0) -> None:
    ends_at = time.monotonic() + limit_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.02)


def test_what_is_published_while_it_sleeps_is_fired_on_time_and_wakes_a_worker(database_url, redis_server, tmp_path):
    async def main() -> tuple[float, int]:
        parts = Parts(Settings(home=tmp_path, database_url=database_url, redis_url=redis_server.url))
        await asyncio.to_thread(schema.upgrade, parts.store)
        woken: list[float] = []
        consumer = parts.wakes.consume(["runs"], lambda queue: woken.append(time.time()))
        scheduler = Scheduler(parts)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.3)
        due = now_ms() + 300
        await asyncio.to_thread(schedule, parts, every_s=3600, anchor_ms=due, next_ms=due)
        await parts.bus.publish(ROUTES, {})
        await wait_for(lambda: bool(woken))
        scheduler.stop()
        await asyncio.wait_for(running, 6)
        await asyncio.to_thread(consumer.stop)
        count = len(started(parts.store))
        await parts.close()
        return woken[0] - due / 1000, count

    late_s, count = asyncio.run(main())
    assert count == 1
    assert 0 <= late_s < 0.5


def test_a_scheduler_goes_on_when_the_database_comes_back(mortal_redis, postgres_server, tmp_path):
    async def main(url: str) -> int:
        parts = Parts(Settings(home=tmp_path, database_url=url, redis_url=mortal_redis.url))
        await asyncio.to_thread(schema.upgrade, parts.store)
        await asyncio.to_thread(schedule, parts, every_s=1, next_ms=now_ms() // 1000 * 1000)
        scheduler = Scheduler(parts)
        running = asyncio.create_task(scheduler.run())
        await wait_for(lambda: len(started(parts.store)) > 0)
        before = await asyncio.to_thread(lambda: len(started(parts.store)))
        # On this thread: servers die with the thread that started them.
        postgres_server.stop()
        mortal_redis.restart()
        await asyncio.sleep(1.5)
        postgres_server.start()
        await wait_for(lambda: len(started(parts.store)) > before + 3, 15)
        scheduler.stop()
        await asyncio.wait_for(running, 6)
        most = max(started(parts.store).values())
        await parts.close()
        return most

    with postgres_server.database() as url:
        assert asyncio.run(main(url)) == 1
