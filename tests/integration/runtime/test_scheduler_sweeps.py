"""What the scheduler puts right beside its schedules."""

import asyncio
import threading

import pytest
from sqlalchemy import text

from engine.runtime import schema
from engine.runtime.claims import Claims
from engine.runtime.ids import new_id, now_ms
from engine.runtime.measures import Measures
from engine.runtime.parts import Parts
from engine.runtime.settings import Settings
from engine.runtime.sweeper import BATCH, LYING_MS, Sweeper
from tests.support.rows import add


@pytest.fixture
def parts(database_url, redis_server, tmp_path):
    parts = Parts(Settings(home=tmp_path, database_url=database_url, redis_url=redis_server.url))
    schema.upgrade(parts.store)
    yield parts
    asyncio.run(parts.close())


@pytest.fixture
def woken(parts):
    queues: set[str] = set()
    changed = threading.Condition()

    def on_wake(queue: str) -> None:
        with changed:
            queues.add(queue)
            changed.notify_all()

    def wait_for(*wanted: str, limit_s: float = 3.0) -> bool:
        with changed:
            return changed.wait_for(lambda: queues == set(wanted), limit_s)

    consumer = parts.wakes.consume(["runs", "drafts"], on_wake)
    yield wait_for
    consumer.stop()


def execution(parts: Parts, **values: object) -> str:
    row = {"status": "queued", "slot": "async", "limited": 0, "cancel": 0, "attempts": 1, **values}
    with parts.store.write() as connection:
        return str(add(connection, "execution", **row)["id"])


def rows(parts: Parts, table: str = "execution") -> dict[str, dict[str, object]]:
    with parts.store.read() as connection:
        found = connection.execute(text(f"SELECT * FROM {table}")).mappings()
        return {str(row.get("id", row.get("key"))): dict(row) for row in found}


def old() -> str:
    return new_id(now_ms() - LYING_MS - 50)


@pytest.mark.parametrize(
    ("values", "queue"),
    [({"slot": "heavy"}, "runs"), ({"slot": "draft"}, "drafts"), ({"limited": 1}, "runs")],
)
def test_work_that_lies_without_a_wake_up_is_woken_for(parts, woken, values, queue):
    execution(parts, id=old(), **values)
    Sweeper(parts, Measures()).sweep()
    assert woken(queue)


def test_work_that_was_queued_just_now_is_left_to_its_own_wake_up(parts, woken):
    execution(parts)
    Sweeper(parts, Measures()).sweep()
    assert not woken("runs", limit_s=0.5)


def test_what_a_dead_worker_ran_is_queued_again_and_woken_for(parts, woken):
    alive = Claims(parts.store)
    alive.register()
    with parts.store.write() as connection:
        add(connection, "worker", id="dead", lease_until_ms=now_ms() - 1)
    lost = execution(parts, status="running", worker_id="dead")
    cancelled = execution(parts, status="running", worker_id="dead", cancel=1)
    kept = execution(parts, status="running", worker_id=alive.worker_id)
    measures = Measures()
    Sweeper(parts, measures).sweep()
    found = rows(parts)
    assert [found[id_]["status"] for id_ in (lost, cancelled, kept)] == ["queued", "cancelled", "running"]
    assert found[lost]["worker_id"] is None
    assert set(rows(parts, "worker")) == {alive.worker_id}
    assert measures.registry.get_sample_value("flowleaf_recovered_total") == 1
    assert woken("runs", "drafts")


def test_a_wait_that_is_over_is_queued_again(parts, woken):
    over = execution(parts, status="waiting", resume_ms=now_ms() - 1, waiting="{}")
    later = execution(parts, status="waiting", resume_ms=now_ms() + 60_000)
    open_ended = execution(parts, status="waiting")
    Sweeper(parts, Measures()).sweep()
    found = rows(parts)
    assert [found[id_]["status"] for id_ in (over, later, open_ended)] == ["queued", "waiting", "waiting"]
    assert found[over]["resume_ms"] is None
    assert woken("runs")


def test_expired_keys_are_removed_and_others_stay(parts):
    now = now_ms()
    with parts.store.write() as connection:
        for number in range(BATCH + 20):
            add(connection, "seen", scope="s", key=f"old {number}", until_ms=now - 1)
        add(connection, "seen", scope="s", key="young", until_ms=now + 60_000)
    Sweeper(parts, Measures()).sweep()
    assert set(rows(parts, "seen")) == {"young"}


def test_a_sweep_that_finds_nothing_writes_nothing(parts):
    Sweeper(parts, Measures()).sweep()
    with parts.store.write():
        # A sweep that asked for the write lock would wait here until it gives up.
        sweep = threading.Thread(target=Sweeper(parts, Measures()).sweep)
        sweep.start()
        sweep.join(2)
        assert not sweep.is_alive()
