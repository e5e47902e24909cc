"""A disk that is full or may not be written: callers are told, and all goes on by itself when it may be again."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import chaos_workflows
from tests.support.chaos_calls import Calls
from tests.support.chaos_ledger import Ledger, settle
from tests.support.chaos_target import Target
from tests.support.installation import Installation, installation
from tests.support.servers import OwnRedis
from tests.support.small_disk import may_mount, small_disk

KINDS = {"orders": 8, "once": 3, "answers": 3, "writes": 3, "slow": 3}
FULL_S = float(os.environ.get("CHAOS_AWAY_S", "2.5"))


def test_a_full_disk_is_told_to_callers_and_waited_for(tmp_path: Path, mortal_redis: OwnRedis, service: Target) -> None:
    mount = may_mount(tmp_path / "try")
    with (
        small_disk(tmp_path / "disk", mount=mount) as disk,
        installation(disk.folder, mortal_redis.url, logs=tmp_path / "logs") as made,
    ):
        for workflow in chaos_workflows.called(service.url):
            made.publish(workflow)
        hooks, worker = made.start_all("hooks", "worker")
        with Ledger(made) as ledger, Calls([made.port], KINDS) as calls:
            time.sleep(1)
            before_mb = {process: process.rss_mb for process in (hooks, worker)}
            disk.fill(made.processes)
            time.sleep(1)
            refused = calls.promises.statuses[503]
            time.sleep(FULL_S - 1)
            assert calls.promises.statuses[503] > refused + 20
            status, body = made.post("orders")
            assert status == 503 and b"store.unavailable" in body
            for process, mb in before_mb.items():
                assert process.rss_mb < mb + 60, f"{process.role} grew"
            disk.free(made.processes)
            time.sleep(1.2)
            promises = calls.stop()
            accepted = promises.statuses[202]
            made.wait_until_all_ended()
        assert made.post("orders")[0] == 202
        made.wait_until_all_ended()
        settle(made, promises)
        assert not ledger.moved()
        assert hooks.alive and worker.alive
        assert accepted > 100


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hooks_started_on_a_read_only_database_accept_calls_once_it_may_be_written(
    made: Installation, service: Target
) -> None:
    hooks, _ = made.start_all("hooks", "worker")
    assert made.post("orders")[0] == 202
    made.wait_until_all_ended()
    hooks.kill()
    with read_only(made.home):
        hooks.start()
        for _ in range(3):
            status, body = made.post("orders")
            assert status == 503 and b"store.unavailable" in body
    assert made.post("orders")[0] in (202, 503)  # a connection of before may be tried once more
    answers = [made.post("orders") for _ in range(20)]
    assert {status for status, _ in answers} == {202}, [body for status, body in answers if status != 202]
    made.wait_until_all_ended()


@contextmanager
def read_only(home: Path) -> Iterator[None]:
    """Nobody may write the database meanwhile, nor its folder."""
    paths = [home, *(path for path in home.iterdir() if path.name.startswith("flowleaf.db"))]
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path in paths:
        path.chmod(before[path] & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(before[path])
