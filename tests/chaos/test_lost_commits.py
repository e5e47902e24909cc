"""Commits whose answer got lost, claims that the database forgot, results that it does not take."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from engine.runtime.journal import Entry
from engine.runtime.store import Store, StoreUnavailable
from engine.workflow import Workflow
from tests.support.build import chain, node
from tests.support.chaos_target import Target
from tests.support.runtime import Place, on_loop, place, working
from tests.support.servers import OwnRedis


class ShakyStore(Store):
    """A store as it is before a server that crashes now and then.

    Attributes:
        losing: share of the journal's commits that go well without anybody hearing of it.
        lost: how many that were.
        is_away: whether all but the journal find nobody.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.losing = 0.0
        self.lost = 0
        self.is_away = False
        self._chance = random.Random(7)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        if self.is_away and threading.current_thread().name not in ("journal", "MainThread"):
            raise StoreUnavailable("nobody is there")
        with super().read() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        with super().write(durable=durable) as connection:
            yield connection
        if threading.current_thread().name == "journal" and self._chance.random() < self.losing:
            self.lost += 1
            raise StoreUnavailable("the answer got lost")


@pytest.fixture
def here(database_url: str, redis_server: OwnRedis, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path, redis_server.url) as made:
        made.store.close()
        made.store = ShakyStore(database_url)
        yield made


def two_posts(url: str, wait_s: float = 0) -> Workflow:
    return chain(
        node("start", "core.manual"),
        node("wait", "core.http_request", {"url": f"{url}/wait/{wait_s}"}),
        node("first", "core.http_request", {"url": f"{url}/first", "method": "POST", "body": {"id": "a"}}),
        node("second", "core.http_request", {"url": f"{url}/second", "method": "POST", "body": {"id": "b"}}),
    )


@on_loop
async def test_what_was_committed_unheard_is_done_once_and_ends(here: Place, service: Target) -> None:
    published = here.publish(two_posts(service.url))
    assert isinstance(here.store, ShakyStore)
    async with working(here) as there:
        here.store.losing = 0.4
        ids = [there.start(published) for _ in range(30)]
        statuses = await there.ended(*ids, limit_s=30)
        here.store.losing = 0
    assert here.store.lost > 5
    assert Counter(statuses) == {"succeeded": 30}
    assert Counter(effect.number for effect in service.effects) == {1: 60}
    assert {here.execution(id_).attempts for id_ in ids} == {1}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@on_loop
async def test_a_claim_that_a_crashed_server_forgot_runs_its_steps_once(here: Place, service: Target) -> None:
    published = here.publish(two_posts(service.url, wait_s=1))
    async with working(here) as there:
        id_ = there.start(published)
        await there.wait(lambda: here.statuses(id_) == ["running"])
        # Claims are made without a wait for the disk: a server that crashes right then is as it was before.
        here.change(
            "UPDATE execution SET status = 'queued', worker_id = NULL, fence = 0, attempts = 0 WHERE id = :id", id=id_
        )
        there.wakes.send("runs")
        await there.wait(lambda: here.statuses(id_) == ["running"])
        assert await there.ended(id_) == ["succeeded"]
        await asyncio.sleep(0.3)
        assert [effect.number for effect in service.effects] == [1, 1]
        # No slot was counted twice.
        await there.wait(lambda: there.worker._journal._free == there.worker._slots, limit_s=3)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@on_loop
async def test_a_result_that_the_database_does_not_take_fails_its_execution_alone(here: Place, service: Target) -> None:
    published = here.publish(two_posts(service.url, wait_s=0.5))
    async with working(here) as there:
        ids = [there.start(published) for _ in range(5)]
        await there.wait(lambda: set(ids) <= there.worker._attempts.keys())
        claim = there.worker._attempts[ids[2]][0].claim
        there.worker._journal.put(Entry(claim, status="failed", error="\ud800"))  # half a character
        statuses = await there.ended(*ids)
        assert statuses == ["succeeded", "succeeded", "failed", "succeeded", "succeeded"]
        assert "internal.not_written" in here.execution(ids[2]).error
        assert await there.ended(there.start(published)) == ["succeeded"]
        await there.wait(lambda: there.worker._journal._free == there.worker._slots, limit_s=3)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@on_loop
async def test_an_execution_waits_for_a_database_that_is_away_when_it_begins(here: Place, service: Target) -> None:
    published = here.publish(two_posts(service.url))
    assert isinstance(here.store, ShakyStore)
    async with working(here) as there:
        await there.wait(lambda: here.rows("SELECT 1 FROM worker"))
        here.store.is_away = True
        id_ = there.start(published)
        await asyncio.sleep(1)
        assert here.statuses(id_) == ["running"]
        here.store.is_away = False
        assert await there.ended(id_) == ["succeeded"]
