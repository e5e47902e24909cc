"""Processes killed at once, with nothing put in order before: what was accepted ends, once."""

import json
import time
from collections import Counter
from itertools import pairwise

import pytest

from engine.runtime.orders import unpack_order
from tests.support import chaos_workflows
from tests.support.chaos_calls import Calls
from tests.support.chaos_ledger import Ledger, settle
from tests.support.chaos_target import Target
from tests.support.installation import Installation, free_port, wait_until

KINDS = {"orders": 8, "once": 3, "answers": 2, "writes": 4, "slow": 3}
RECOVERY_S = 10.0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_killed_hooks_and_web_lose_and_double_nothing(made: Installation, service: Target) -> None:
    ports = [made.port, free_port()]
    hooks, web = made.start("hooks", wait=False), made.start("web", port=ports[1], wait=False)
    made.start_all("worker")
    hooks.wait_until_ready()
    web.wait_until_ready()
    with Ledger(made) as ledger, Calls(ports, KINDS, rate=300) as calls:
        for process in (hooks, web, hooks, web):
            time.sleep(0.5)
            process.kill()
            process.start(wait=False)
        time.sleep(0.5)
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises, service)
    assert not ledger.moved()
    assert len(promises.accepted) > 100


def test_what_a_killed_worker_ran_goes_on_within_ten_seconds(made: Installation, service: Target) -> None:
    worker, *_ = made.start_all("worker", "hooks", *[] if made.store.is_sqlite else ["worker"])
    with Ledger(made) as ledger, Calls([made.port], KINDS) as calls:
        time.sleep(1.5)
        mine = made.rows("SELECT id FROM worker WHERE pid = :pid", pid=worker.pid)[0][0]
        worker.kill()
        ran = {id_ for (id_,) in made.rows("SELECT id FROM execution WHERE worker_id = :id", id=mine)}
        began = time.monotonic()
        if made.store.is_sqlite:  # which is for one worker: it is started again
            worker.start()
        wait_until(lambda: not ran & _not_taken_up(made, mine), RECOVERY_S + 5, "what it ran goes on")
        recovery_s = time.monotonic() - began
        print(f"recovery_s {recovery_s:.1f}")
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises, service)
    assert ran
    assert recovery_s < RECOVERY_S
    assert not ledger.moved()


def _not_taken_up(made: Installation, worker_id: str) -> set[str]:
    """Ids of the executions that wait for a worker, or are still that one's."""
    found = made.rows(
        "SELECT id FROM execution WHERE status = 'queued' OR (status = 'running' AND worker_id = :id)", id=worker_id
    )
    return {id_ for (id_,) in found}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_all_processes_killed_at_once_go_on_where_they_were(made: Installation, service: Target) -> None:
    made.start_all("hooks", "worker", "scheduler")
    with Ledger(made) as ledger, Calls([made.port], KINDS) as calls:
        time.sleep(1)
        for process in made.processes:
            process.kill()
        for process in made.processes:
            process.start(wait=False)
        for process in made.processes:
            process.wait_until_ready()
        time.sleep(0.5)
        promises = calls.stop()
        made.wait_until_all_ended()
    settle(made, promises, service)
    assert not ledger.moved()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_second_fires_once_while_schedulers_are_killed(made: Installation) -> None:
    _, *schedulers = made.start_all("worker", "scheduler", "scheduler")
    workflow_id = made.publish(chaos_workflows.ticks())
    for process in schedulers * 2:
        time.sleep(0.7)
        process.kill()
        process.start(wait=False)
    for process in schedulers:
        process.wait_until_ready()
    time.sleep(1.2)
    made.unpublish(workflow_id)
    made.wait_until_all_ended()
    fired = made.rows(
        "SELECT r.data FROM execution e JOIN record r ON r.execution_id = e.id AND r.part = 0 WHERE source = 'schedule'"
    )
    times = sorted(unpack_order(bytes(data)).items[0]["time"] for (data,) in fired)
    assert len(times) >= 4
    assert not [time_ for time_, count in Counter(times).items() if count > 1]
    seconds = [int(json.loads(f'"{time_}"')[17:19]) for time_ in times]
    assert all((later - before) % 60 == 1 for before, later in pairwise(seconds))
