"""Calls accepted together: few commits, no neighbour harmed, one execution for one key; on both databases."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import event

from engine.runtime.ids import now_ms
from engine.runtime.intake import WAITING, Accepted, Intake, Once, Order, Overloaded
from engine.runtime.store import Store, StoreUnavailable
from tests.support.build import chain, node, start
from tests.support.runtime import Place, Published, order, place
from tests.support.servers import PostgresServer

FLOW = chain(start([{}]), node("copy", params={}))


@pytest.fixture
def here(database_url: str, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path) as made:
        yield made


@pytest.fixture
def published(here: Place) -> Published:
    return here.publish(FLOW)


class Woken:
    """Takes note of what workers would be woken for."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.batches = 0

    def __call__(self, orders: Sequence[Order]) -> None:
        self.batches += 1
        self.orders += orders


def accept(store: Store, orders: Sequence[Order], woken: Woken | None = None) -> list[Accepted | BaseException]:
    """What becomes of orders that are brought at the same moment."""

    async def bring() -> list[Accepted | BaseException]:
        intake = Intake(store, woken or Woken())
        try:
            return await asyncio.gather(*map(intake.accept, orders), return_exceptions=True)
        finally:
            await asyncio.to_thread(intake.close)

    return asyncio.run(bring())


def once(key: str, for_ms: int = 60_000, scope: str = "hook") -> tuple[Once, ...]:
    return (Once(scope, key, now_ms() + for_ms),)


def commits(store: Store) -> list[float]:
    """The moments of commits, from now on."""
    found: list[float] = []
    event.listen(store.engine, "commit", lambda _: found.append(time.monotonic()))
    return found


def test_a_thousand_calls_at_once_share_a_few_commits(here: Place, published: Published) -> None:
    seen, woken = commits(here.store), Woken()
    answers = accept(here.store, [order(published) for _ in range(1_000)], woken)
    assert all(isinstance(answer, Accepted) and answer.first for answer in answers)
    assert here.counts() == {"queued": 1_000}
    assert len(seen) < 30
    assert len(woken.orders) == 1_000
    assert woken.batches < 30


def test_what_is_answered_is_committed_and_only_then_told(here: Place, published: Published) -> None:
    found: list[list[str]] = []

    def woken(orders: Sequence[Order]) -> None:
        found.append(here.statuses(*(one.row["id"] for one in orders)))

    async def bring() -> str:
        intake = Intake(here.store, woken)
        accepted = await intake.accept(order(published, [{"a": 1}]))
        assert here.statuses(accepted.execution_id) == ["queued"]
        await asyncio.to_thread(intake.close)
        return accepted.execution_id

    id_ = asyncio.run(bring())
    assert found == [["queued"]]
    assert here.rows("SELECT part FROM record WHERE execution_id = :id", id=id_) == [(0,)]


def test_one_bad_row_does_not_fail_its_neighbours(here: Place, published: Published) -> None:
    twice = order(published)
    bad = order(published, id=None)
    answers = accept(here.store, [order(published), twice, bad, twice, order(published)])
    assert [isinstance(answer, Accepted) for answer in answers] == [True, True, False, False, True]
    assert here.counts() == {"queued": 3}


def test_a_key_that_comes_twice_in_a_batch_starts_one_execution(here: Place, published: Published) -> None:
    orders = [order(published, once=once("a")), order(published), order(published, once=once("a"))]
    one, _, other = accept(here.store, orders)
    assert one == Accepted(orders[0].row["id"], True)
    assert other == Accepted(orders[0].row["id"], False)
    assert here.counts() == {"queued": 2}


def test_a_key_that_came_before_starts_nothing_until_its_time_is_over(here: Place, published: Published) -> None:
    first, again, later = (order(published, once=once("a", for_ms=300)) for _ in range(3))
    accept(here.store, [first])
    assert accept(here.store, [again]) == [Accepted(first.row["id"], False)]
    time.sleep(0.4)
    assert accept(here.store, [later]) == [Accepted(later.row["id"], True)]
    assert here.counts() == {"queued": 2}


def test_workers_are_not_woken_for_what_starts_nothing(here: Place, published: Published) -> None:
    accept(here.store, [order(published, once=once("a"))])
    woken = Woken()
    accept(here.store, [order(published, once=once("a"))], woken)
    assert woken.orders == []


def test_two_processes_at_once_start_one_execution_for_a_key(here: Place, published: Published) -> None:
    """Each with a store of its own, and the keys in opposite order."""
    others = [Store(here.database_url) for _ in range(2)]
    keys = [f"key {i}" for i in range(60)]
    found: list[list[Accepted | BaseException]] = []

    def bring(store: Store, some: Sequence[str]) -> None:
        found.append(accept(store, [order(published, once=once(key)) for key in some]))

    threads = [
        threading.Thread(target=bring, args=(others[0], keys)),
        threading.Thread(target=bring, args=(others[1], keys[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for store in others:
        store.close()
    answers = [answer for some in found for answer in some]
    assert [answer for answer in answers if not isinstance(answer, Accepted)] == []
    assert here.counts() == {"queued": 60}
    assert sum(answer.first for answer in answers if isinstance(answer, Accepted)) == 60
    assert len({answer.execution_id for answer in answers if isinstance(answer, Accepted)}) == 60


def test_a_call_with_two_keys_of_which_one_is_known_leaves_both_with_the_first_execution(
    here: Place, published: Published
) -> None:
    """A sender signs its retry anew: the signature is new, what it says is not."""
    signed = [(*once(f"signature {i}", scope="replay"), *once("order 7")) for i in range(3)]
    (first,) = accept(here.store, [order(published, once=signed[0])])
    assert isinstance(first, Accepted)
    for keys in (signed[1], signed[1][:1]):
        assert accept(here.store, [order(published, once=keys)]) == [Accepted(first.execution_id, False)]
    assert here.counts() == {"queued": 1}


def test_more_than_memory_should_hold_is_refused(here: Place, published: Published) -> None:
    held = threading.Event()

    async def bring() -> list[Accepted | BaseException]:
        intake = Intake(here.store, lambda orders: held.wait(20) and None)
        try:
            bringing = [asyncio.create_task(intake.accept(order(published))) for _ in range(WAITING + 700)]
            await asyncio.sleep(0.5)
            held.set()
            return await asyncio.gather(*bringing, return_exceptions=True)
        finally:
            held.set()
            await asyncio.to_thread(intake.close)

    answers = asyncio.run(bring())
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert refused
    assert {type(answer) for answer in refused} == {Overloaded}
    assert here.counts() == {"queued": len(answers) - len(refused)}


def test_a_database_that_is_away_accepts_nothing_and_says_so(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    with place(postgres_url, tmp_path) as here:
        published = here.publish(FLOW)
        postgres_server.stop()
        try:
            answers = accept(here.store, [order(published) for _ in range(5)])
        finally:
            postgres_server.start()
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 5
        assert here.counts() == {}
        assert isinstance(accept(here.store, [order(published)])[0], Accepted)


def test_workers_that_cannot_be_woken_are_no_reason_to_stop_accepting(here: Place, published: Published) -> None:
    def broken(orders: Sequence[Order]) -> None:
        raise RuntimeError("no Redis")

    async def bring() -> list[Accepted]:
        intake = Intake(here.store, broken)
        try:
            return [await asyncio.wait_for(intake.accept(order(published)), 5) for _ in range(2)]
        finally:
            await asyncio.to_thread(intake.close)

    assert len(asyncio.run(bring())) == 2


def test_a_caller_that_has_gone_leaves_the_others_their_answers(here: Place, published: Published) -> None:
    async def bring() -> list[Accepted | BaseException]:
        intake = Intake(here.store, Woken())
        calls = [asyncio.create_task(intake.accept(order(published))) for _ in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        try:
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await asyncio.to_thread(intake.close)

    answers = asyncio.run(bring())
    assert [isinstance(answer, Accepted) for answer in answers] == [False, True] * 10


def test_what_waits_when_it_is_closed_is_accepted_and_what_comes_later_refused(
    here: Place, published: Published
) -> None:
    async def bring() -> list[Accepted | BaseException]:
        intake = Intake(here.store, Woken())
        calls = [asyncio.create_task(intake.accept(order(published))) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(intake.close)
        calls.append(asyncio.create_task(intake.accept(order(published))))
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)

    answers = asyncio.run(bring())
    assert [type(answer) for answer in answers] == [Accepted] * 20 + [StoreUnavailable]
    assert here.counts() == {"queued": 20}
