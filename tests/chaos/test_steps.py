"""A step whose outcome is committed never runs again; one that was under way comes again with the same key."""

import http.client
import uuid
from collections import Counter

import pytest

from tests.support.chaos_calls import Calls
from tests.support.chaos_ledger import committed, settle
from tests.support.chaos_target import Target
from tests.support.installation import Installation, Process, wait_until


def call(calls: Calls, made: Installation, kind: str) -> str:
    """The id of the execution of one call."""
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10)
    id_ = calls.call(kind, uuid.uuid4().hex, connection)
    connection.close()
    assert id_ is not None
    return id_


def replace(made: Installation, worker: Process) -> None:
    """Kill the worker; another takes its place."""
    worker.kill()
    worker.start()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_of_two_steps_the_committed_one_is_not_called_again(made: Installation, service: Target) -> None:
    _, worker = made.start_all("hooks", "worker")
    calls = Calls([made.port], {"writes": 1})
    service.hold("/second")
    ids = [call(calls, made, "writes") for _ in range(4)]
    wait_until(lambda: len(service.calls("/second")) == 4, 10, "the second steps are under way")
    replace(made, worker)
    service.release("/second")
    made.wait_until_all_ended(20)
    firsts, seconds = service.calls("/first"), service.calls("/second")
    assert len(firsts) == 4 and {effect.number for effect in firsts} == {1}
    assert Counter(effect.number for effect in seconds) == {1: 4, 2: 4}  # in flight: again, with the same keys
    for id_ in ids:
        assert sorted(committed(made, id_).values()) == [1, 2]
    settle(made, calls.promises, service)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_of_many_items_the_committed_ones_are_not_called_again(made: Installation, service: Target) -> None:
    _, worker = made.start_all("hooks", "worker")
    calls = Calls([made.port], {"many": 1})
    service.hold("/item", after=170)
    id_ = call(calls, made, "many")
    wait_until(lambda: len(service.calls("/item")) >= 180, 10, "the last items are under way")
    worker.kill()
    before = committed(made, id_)
    called = Counter(effect.key for effect in service.effects)
    assert 100 <= len(before) <= 170
    service.release("/item")
    worker.start()
    made.wait_until_all_ended(20)
    after = Counter(effect.key for effect in service.effects)
    assert len(after) == 300
    assert {key for key, count in after.items() if count > 1} == called.keys() - before.keys()
    assert max(after.values()) == 2
    assert len(committed(made, id_)) == 300
    settle(made, calls.promises, service)
