"""A worker that was stopped past its lease and comes back: its work is another's by then, and it writes nothing."""

import fcntl
import http.client
import os
import time
import uuid
from typing import Any

import pytest

from tests.support.chaos_calls import Calls
from tests.support.chaos_ledger import Ledger, settle
from tests.support.chaos_target import Target
from tests.support.installation import Installation, Process, wait_until

LEASE_S = 6.0


def state_of(made: Installation, ids: list[str]) -> list[Any]:
    """All that is stored of executions."""
    found = []
    for id_ in ids:
        found += made.rows("SELECT * FROM execution WHERE id = :id", id=id_)
        found += made.rows("SELECT part, data FROM record WHERE execution_id = :id ORDER BY part", id=id_)
    return [tuple(row) for row in found]


def call(made: Installation, kind: str, count: int, **more: Any) -> list[str]:
    """Ids of the executions of so many calls."""
    calls = Calls([made.port], {kind: 1})
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10)
    found = [calls.call(kind, uuid.uuid4().hex, connection) for _ in range(count)]
    connection.close()
    assert None not in found
    return [id_ for id_ in found if id_ is not None]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_worker_back_from_beyond_its_lease_overwrites_nothing(made: Installation, service: Target) -> None:
    _, stale = made.start_all("hooks", "worker")
    ids = call(made, "slow", 5)
    service.hold("/first")
    ids += call(made, "writes", 3)
    wait_until(lambda: len(service.calls("/first")) == 3, 5, "the first calls are under way")
    stale.freeze()
    ran = made.rows("SELECT id FROM execution WHERE status = 'running'")
    assert ran
    service.release("/first")
    made.start("worker")
    made.wait_until_all_ended(15)
    before = state_of(made, ids)
    stale.thaw()
    wait_until(lambda: "the lease was lost" in stale.said, 5, "it has noticed")
    time.sleep(1.5)
    assert state_of(made, ids) == before
    # The three were called twice, by the one and the other, with the same keys; nothing came after that.
    assert sorted(effect.number for effect in service.calls("/first")) == [1, 1, 1, 2, 2, 2]
    assert [effect.number for effect in service.calls("/second")] == [1, 1, 1]
    # It goes on as a worker like any other.
    call(made, "slow", 1)
    made.wait_until_all_ended(5)
    for process in made.processes:
        process.stop()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_only_worker_stopped_with_the_write_lock_beyond_its_lease_takes_up_its_work_again(
    made: Installation, service: Target
) -> None:
    _, worker = made.start_all("hooks", "worker")
    with Ledger(made) as ledger, Calls([made.port], {"orders": 5, "slow": 2, "writes": 3}, rate=120) as calls:
        time.sleep(0.5)
        freeze_where(made, worker, holds_lock=True)
        time.sleep(LEASE_S + 0.7)
        worker.thaw()
        time.sleep(1)
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises)
    assert not ledger.moved()
    assert "the lease was lost" in worker.said
    # Nobody can write while one that was stopped holds the lock: who calls is told to come again.
    assert promises.statuses[503]
    assert promises.longest_s < 11


def freeze_where(made: Installation, worker: Process, holds_lock: bool) -> None:
    """Stop a worker on SQLite where it holds the write lock, or where it does not."""
    file = os.open(made.home / "flowleaf.db.lock", os.O_RDWR)
    try:
        for _ in range(3_000):
            worker.freeze()
            if _is_held(file) == holds_lock:
                return
            worker.thaw()
            time.sleep(0.0013)
    finally:
        os.close(file)
    raise AssertionError("it was never found at the right moment")


def _is_held(file: int) -> bool:
    """Whether somebody holds the lock for longer than a transaction takes."""
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.001)
        else:
            fcntl.flock(file, fcntl.LOCK_UN)
            return False
    return True


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_worker_stopped_within_a_transaction_does_not_keep_its_work(made: Installation, service: Target) -> None:
    _, stale = made.start_all("hooks", "worker")
    with Ledger(made) as ledger, Calls([made.port], {"orders": 5, "slow": 2}, rate=150) as calls:
        time.sleep(0.5)
        for _ in range(3_000):
            stale.freeze()
            time.sleep(0.02)
            if made.rows(
                "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND xact_start < "
                "clock_timestamp() - interval '15 ms' AND query LIKE '%execution%' AND datname = current_database()"
            ):
                break
            stale.thaw()
            time.sleep(0.0013)
        else:
            raise AssertionError("it was never found within a transaction")
        mine = {id_ for (id_,) in made.rows("SELECT id FROM execution WHERE status = 'running'")}
        made.start("worker")
        wait_until(lambda: not mine & {id_ for id_, *_ in made.unended()}, 12, "what it ran is done")
        promises = calls.stop()
        made.wait_until_all_ended()
        stale.thaw()
        time.sleep(1)
    settle(made, promises)
    assert not ledger.moved()
