"""Executions followed as they go: a real bus, a real worker, followers that come and go."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.runtime.service import OWNER, BadRequest, NotFound, Told
from engine.runtime.service.following import Place, place_of
from engine.workflow import Workflow
from tests.support.at_work import LIMIT_S, AtWork, at_work
from tests.support.build import chain, node, start
from tests.support.http_server import Server, http_server
from tests.support.installation import COMMAND
from tests.support.servers import OwnRedis

KILLED_S = 12.0  # a lease of 6 s has to lapse


@pytest.fixture
def place(tmp_path: Path, database_url: str, redis_server: OwnRedis) -> Iterator[AtWork]:
    with at_work(tmp_path, database_url, redis_server.url) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as running:
        yield running


def slow(server: Server, count: int, s: float) -> Workflow:
    """A workflow of so many nodes after its trigger, each of which takes so long."""
    nodes = [node(f"n{n}", "core.http_request", {"url": f"{server.url}/slow?s={s}"}) for n in range(count)]
    return chain(node("start", "core.manual"), *nodes)


def follow(
    place: AtWork,
    id_: str,
    after: Place | None = None,
    *,
    until: Callable[[list[Told]], bool] = lambda told: False,
    limit_s: float = LIMIT_S,
) -> list[Told]:
    """What a follower is told, to the end or until it has what it wants."""
    told: list[Told] = []

    async def go() -> None:
        async with aclosing(place.service.following.follow_execution(OWNER, id_, after)) as messages:
            async for one in messages:
                told.append(one)
                if until(told):
                    return

    asyncio.run(asyncio.wait_for(go(), limit_s))
    return told


def events(told: list[Told]) -> list[dict[str, Any]]:
    return [event for one in told if one.kind == "events" for event in one.data["events"]]


def seqs(told: list[Told]) -> list[int]:
    return [event["seq"] for event in events(told)]


def in_background(act: Callable[[], Any], after_s: float) -> threading.Timer:
    timer = threading.Timer(after_s, act)
    timer.start()
    return timer


def test_a_follower_is_told_all_that_happens_in_order(place: AtWork, server: Server) -> None:
    workflow_id = place.publish(slow(server, 4, 0.1))
    id_ = place.service.actions.run(OWNER, workflow_id)
    with place.worker():
        told = follow(place, id_)

    assert told[0].kind == "snapshot"
    assert told[0].data["execution"].status == "queued"
    assert seqs(told) == list(range(1, len(seqs(told)) + 1))
    finished = [event["node_id"] for event in events(told) if event["kind"] == "node.finished"]
    assert finished == ["start", "n0", "n1", "n2", "n3"]
    assert events(told)[-1]["kind"] == "execution.finished"
    assert told[-1].kind == "end"
    assert told[-1].data["execution"].status == "succeeded"


def test_a_follower_that_comes_back_misses_nothing_and_hears_nothing_twice(place: AtWork, server: Server) -> None:
    workflow_id = place.publish(slow(server, 12, 0.06))
    id_ = place.service.actions.run(OWNER, workflow_id)
    with place.worker():
        told = follow(place, id_, until=lambda told: len(seqs(told)) >= 3)
        for _ in range(3):
            time.sleep(0.15)
            last = told[-1].place
            assert last is not None
            told += follow(place, id_, last, until=lambda told: len(seqs(told)) >= 3)
        last = told[-1].place
        place.wait(id_)
        told += follow(place, id_, last)

    assert seqs(told) == list(range(1, seqs(told)[-1] + 1))
    assert events(told)[-1]["kind"] == "execution.finished"


def test_a_follower_that_comes_late_finds_in_the_snapshot_what_was(place: AtWork, server: Server) -> None:
    workflow_id = place.publish(slow(server, 8, 0.1))
    id_ = place.service.actions.run(OWNER, workflow_id)
    with place.worker():
        while not any(one.status == "succeeded" and one.node_id == "n2" for one in
                      place.service.executions.get(OWNER, id_).runs):  # fmt: skip
            time.sleep(0.01)
        told = follow(place, id_)

    known = {run.node_id for run in told[0].data["execution"].runs}
    later = {event["node_id"] for event in events(told) if event["kind"] == "node.finished"}
    assert {"start", "n0", "n1", "n2"} <= known
    assert known | later == {"start", *(f"n{n}" for n in range(8))}
    assert not known & later


def test_an_execution_that_nobody_could_follow_ends_all_the_same(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual"), node("set")))
    id_ = place.service.actions.run(OWNER, workflow_id)
    with place.worker():
        began = time.monotonic()
        told = follow(place, id_)

    assert time.monotonic() - began < 3
    assert [one.kind for one in told][-2:] == ["snapshot", "end"]
    assert {run.node_id: run.status for run in told[-2].data["execution"].runs} == {
        "start": "succeeded",
        "set": "succeeded",
    }


def test_what_has_ended_is_told_at_once(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual")))
    with place.worker():
        id_ = place.wait(place.service.actions.run(OWNER, workflow_id)).id
    began = time.monotonic()
    told = follow(place, id_)

    assert [one.kind for one in told] == ["snapshot", "end"]
    assert time.monotonic() - began < 0.5


def test_cancelling_what_is_queued_is_told_at_once(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual")))
    id_ = place.service.actions.run(OWNER, workflow_id)
    cancelled_s: list[float] = []

    def cancel() -> None:
        place.service.actions.cancel(OWNER, id_)
        cancelled_s.append(time.monotonic())

    timer = in_background(cancel, 0.3)
    told = follow(place, id_)
    timer.join()

    assert told[-1].data["execution"].status == "cancelled"
    assert time.monotonic() - cancelled_s[0] < 0.5


def test_a_follower_gets_the_first_items_and_long_values_cut(place: AtWork, server: Server) -> None:
    drawn = chain(start([{"n": n, "text": "x" * 5_000} for n in range(200)]), node("set"))
    id_ = place.service.drafts.preview(OWNER, place.create(drawn)).execution_id
    assert id_ is not None
    with place.worker():
        told = follow(place, id_)

    last = next(event for event in events(told) if event["kind"] == "node.finished" and event["node_id"] == "set")
    assert last["counts"] == {"main": 200}
    assert len(last["preview"]["main"]["rows"]) == 50
    assert len(last["preview"]["main"]["rows"][0]["text"]) < 1_100


def test_there_are_at_most_20_messages_a_second(place: AtWork, server: Server, redis_server: OwnRedis) -> None:
    id_ = place.service.actions.run(OWNER, place.publish(slow(server, 60, 0.01)))
    with place.worker():
        began = time.monotonic()
        told = follow(place, id_)
        took_s = time.monotonic() - began

    assert took_s > 0.6
    assert len(events(told)) >= 120
    most = 20 * took_s + 2
    assert len([one for one in told if one.kind == "events"]) <= most
    with redis.Redis.from_url(redis_server.url, db=1) as client:
        (stream,) = client.keys(f"*execution:{id_}")
        assert client.xlen(stream) <= most


def test_a_follower_is_not_left_alone_when_redis_loses_everything(
    tmp_path: Path, mortal_redis: OwnRedis, server: Server
) -> None:
    with at_work(tmp_path, f"sqlite:///{tmp_path / 'flowleaf.db'}", mortal_redis.url) as place:
        id_ = place.service.actions.run(OWNER, place.publish(slow(server, 6, 0.5)))
        with place.worker():
            timer = in_background(mortal_redis.restart, 1.0)
            told = follow(place, id_)
            timer.join()

    assert told[-1].data["execution"].status == "succeeded"
    ended = {run.node_id for one in told if one.kind == "snapshot" for run in one.data["execution"].runs}
    heard = {event["node_id"] for event in events(told) if event["kind"] == "node.finished"}
    assert ended | heard == {"start", *(f"n{n}" for n in range(6))}
    assert len(set(seqs(told))) == len(seqs(told))


def worker_process(place: AtWork, redis_url: str, database_url: str) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLOWLEAF_")}
    environment |= {
        "FLOWLEAF_HOME": str(place.settings.home),
        "FLOWLEAF_REDIS_URL": redis_url,
        "FLOWLEAF_DATABASE_URL": database_url,
        "FLOWLEAF_HTTP_ALLOW": "127.0.0.1",
    }
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [*COMMAND, "worker"], env=environment, cwd=root,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_follower_is_carried_over_to_the_worker_that_goes_on(
    place: AtWork, server: Server, redis_server: OwnRedis, database_url: str
) -> None:
    id_ = place.service.actions.run(OWNER, place.publish(slow(server, 8, 0.3)))
    dying = worker_process(place, redis_server.url, database_url)
    others = []

    def die() -> None:
        place.wait(id_, "running")
        time.sleep(1.2)
        dying.send_signal(signal.SIGKILL)
        dying.wait()
        others.append(worker_process(place, redis_server.url, database_url))

    try:
        timer = in_background(die, 0)
        told = follow(place, id_, limit_s=LIMIT_S + KILLED_S)
        timer.join()
    finally:
        for process in (dying, *others):
            process.terminate()
            process.wait()

    assert told[-1].data["execution"].status == "succeeded"
    assert {event["fence"] for event in events(told)} == {1, 2}
    heard = [(event["fence"], event["seq"]) for event in events(told)]
    assert heard == sorted(set(heard))
    second = next(
        number for number, one in enumerate(told) if one.kind == "events" and one.place and one.place.fence == 2
    )
    assert told[second - 1].kind == "snapshot"  # what the first one did not come to tell
    ended = {run.node_id for run in told[second - 1].data["execution"].runs}
    later = {event["node_id"] for event in events(told[second:]) if event["kind"] == "node.finished"}
    assert ended | later == {"start", *(f"n{n}" for n in range(8))}


def test_a_follower_that_leaves_leaves_nothing_behind(place: AtWork, redis_server: OwnRedis) -> None:
    id_ = place.service.actions.run(OWNER, place.publish(chain(node("start", "core.manual"))))
    with redis.Redis.from_url(redis_server.url) as client:
        follow(place, id_, until=lambda told: True)
        place.parts.wakes.send("runs")  # now the connection that wakes workers is open, too
        before = len(client.client_list())
        for _ in range(5):
            follow(place, id_, until=lambda told: True)
        left = len(client.client_list())
        threads = [thread.name for thread in threading.enumerate() if "asyncio" in thread.name]

    assert left == before
    assert threads == []


def test_what_is_not_there_cannot_be_followed(place: AtWork) -> None:
    with pytest.raises(NotFound):
        follow(place, "f" * 32)
    for text in ("1", "1-", "a-b", "1-2-3", "-1-2"):
        with pytest.raises(BadRequest):
            place_of(text)
    assert place_of("3-17") == Place(3, 17)


def test_waiting_for_the_end_takes_hardly_longer_than_the_execution(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual")))
    with place.worker():
        place.wait(place.service.actions.run(OWNER, workflow_id))
        id_ = place.service.actions.run(OWNER, workflow_id)
        began = time.monotonic()
        found = asyncio.run(place.service.following.until_ended(OWNER, id_, 10))

    assert found.status == "succeeded"
    assert time.monotonic() - began < 1
    queued = place.service.actions.run(OWNER, workflow_id)
    assert asyncio.run(place.service.following.until_ended(OWNER, queued, 0.1)).status == "queued"
