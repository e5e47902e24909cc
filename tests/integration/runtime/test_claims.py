"""Who may run what: claims by free slots, limits, leases and their loss, on both databases."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.runtime.claims import MOST_ATTEMPTS, Claim, Claims
from engine.runtime.ids import new_id
from tests.support.build import chain, node, start
from tests.support.runtime import Place, Published, order, place

FLOW = chain(start([{}]), node("copy", params={}))


@pytest.fixture
def here(database_url: str, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path) as made:
        yield made


def registered(here: Place) -> Claims:
    claims = Claims(here.store)
    claims.register()
    return claims


def claim(here: Place, claims: Claims, **free: int) -> list[Claim]:
    with here.store.write() as connection:
        return claims.claim(connection, free)


def recover(here: Place, claims: Claims) -> int:
    with here.store.write() as connection:
        return claims.recover(connection)


def lapse(here: Place, claims: Claims) -> None:
    here.change("UPDATE worker SET lease_until_ms = 1 WHERE id = :id", id=claims.worker_id)


def queue(here: Place, published: Published, count: int, **row: object) -> list[str]:
    """Ids of new executions, the oldest first: within a millisecond the order is by chance."""
    ids = sorted(new_id() for _ in range(count))
    time.sleep(0.002)
    here.insert(*(order(published, id=id_, **row) for id_ in ids))
    return ids


def finish(here: Place, *claims: Claim) -> None:
    for one in claims:
        here.change("UPDATE execution SET status = 'succeeded', worker_id = NULL WHERE id = :id", id=one.id)


def test_as_many_are_claimed_as_there_are_free_slots_of_each_kind(here: Place) -> None:
    for slot in ("async", "code", "heavy", "draft"):
        queue(here, here.publish(FLOW, slot=slot), 5)
    found = claim(here, registered(here), **{"async": 3, "code": 0, "heavy": 2, "draft": 9})
    assert Counter(one.slot for one in found) == {"async": 3, "heavy": 2, "draft": 5}


def test_draft_runs_leave_the_slots_of_others_alone(here: Place) -> None:
    published = here.publish(FLOW)
    queue(here, published, 5, kind="draft")
    assert claim(here, registered(here), **{"async": 5}) == []


def test_three_projects_share_the_slots_evenly(here: Place) -> None:
    many = here.publish(FLOW, project_id=new_id())
    queue(here, many, 30)
    few = [here.publish(FLOW, project_id=new_id()) for _ in range(2)]
    for published in few:
        queue(here, published, 4)
    found = Counter(one.project_id for one in claim(here, registered(here), **{"async": 9}))
    assert found == {published.project_id: 3 for published in (many, *few)}


def test_what_one_project_leaves_is_taken_by_the_others(here: Place) -> None:
    many, few = here.publish(FLOW, project_id=new_id()), here.publish(FLOW, project_id=new_id())
    queue(here, many, 30)
    queue(here, few, 2)
    found = Counter(one.project_id for one in claim(here, registered(here), **{"async": 10}))
    assert found == {many.project_id: 8, few.project_id: 2}


def test_priority_goes_before_age_and_age_before_chance(here: Place) -> None:
    low, default, high = (here.publish(FLOW, priority=priority) for priority in (2, 1, 0))
    ids = queue(here, low, 2) + queue(here, default, 2) + queue(here, high, 2)
    claims = registered(here)
    order_ = [one.id for _ in range(6) for one in claim(here, claims, **{"async": 1})]
    assert order_ == ids[4:] + ids[2:4] + ids[:2]


def test_a_limit_lets_so_many_run_and_keeps_the_others_queued(here: Place) -> None:
    published = here.publish(FLOW, max_running=2)
    ids = queue(here, published, 5)
    claims = registered(here)
    first = claim(here, claims, **{"async": 10})
    assert sorted(one.id for one in first) == ids[:2]
    assert claim(here, claims, **{"async": 10}) == []
    finish(here, min(first))
    assert [one.id for one in claim(here, claims, **{"async": 10})] == ids[2:3]


def test_a_limit_that_skips_ends_what_finds_no_place(here: Place) -> None:
    ids = queue(here, here.publish(FLOW, max_running=1, when_full="skip"), 3)
    claim(here, registered(here), **{"async": 10})
    assert here.statuses(*ids) == ["running", "skipped", "skipped"]


def test_a_limit_that_skips_does_not_skip_for_want_of_slots(here: Place) -> None:
    ids = queue(here, here.publish(FLOW, max_running=5, when_full="skip"), 3)
    claim(here, registered(here), **{"async": 1})
    assert here.statuses(*ids) == ["running", "queued", "queued"]


def test_a_limit_that_cancels_the_oldest_makes_room_for_the_newest(here: Place) -> None:
    published = here.publish(FLOW, max_running=1, when_full="cancel_oldest")
    claims = registered(here)
    queue(here, published, 1)
    (running,) = claim(here, claims, **{"async": 1})
    ids = queue(here, published, 3)
    assert claim(here, claims, **{"async": 10}) == []
    assert here.statuses(*ids) == ["cancelled", "cancelled", "queued"]
    assert claims.beat() == [running.id]
    finish(here, running)
    assert [one.id for one in claim(here, claims, **{"async": 10})] == ids[2:]


def test_a_limited_execution_waits_for_a_slot_of_its_own_kind(here: Place) -> None:
    queue(here, here.publish(FLOW, max_running=5), 3)
    claims = registered(here)
    assert claim(here, claims, **{"async": 0, "draft": 8}) == []
    assert len(claim(here, claims, **{"async": 2, "heavy": 1})) == 2


def test_a_draft_run_takes_no_place_of_the_limit(here: Place) -> None:
    published = here.publish(FLOW, max_running=1, when_full="skip")
    queue(here, published, 1, kind="draft", limited=False)
    claims = registered(here)
    assert len(claim(here, claims, draft=1)) == 1
    ids = queue(here, published, 1)
    assert [one.id for one in claim(here, claims, **{"async": 1})] == ids


def test_two_workers_at_once_never_run_more_than_the_limit(postgres_url: str, tmp_path: Path) -> None:
    with place(postgres_url, tmp_path) as here:
        published = here.publish(FLOW, max_running=3)
        queue(here, published, 60)
        over: list[int] = []
        done: list[str] = []

        def work() -> None:
            claims = registered(here)
            while len(done) < 60:
                found = claim(here, claims, **{"async": 5})
                ((running,),) = here.rows("SELECT count(*) FROM execution WHERE status = 'running'")
                over.append(running)
                finish(here, *found)
                done.extend(one.id for one in found)

        with ThreadPoolExecutor(3) as pool:
            for future in [pool.submit(work) for _ in range(3)]:
                future.result(30)
        assert max(over) <= 3
        assert len(set(done)) == len(done) == 60


def test_what_is_claimed_by_one_is_claimed_by_no_other(here: Place) -> None:
    ids = queue(here, here.publish(FLOW), 400)
    found: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        claims = registered(here)
        while some := claim(here, claims, **{"async": 7}):
            with lock:
                found.extend(one.id for one in some)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result(30)
    assert sorted(found) == sorted(ids)


def test_what_a_lapsed_lease_leaves_is_claimed_anew_with_a_higher_fence(here: Place) -> None:
    ids = queue(here, here.publish(FLOW), 2)
    dead, other = registered(here), registered(here)
    before = claim(here, dead, **{"async": 9})
    assert claim(here, other, **{"async": 9}) == []
    lapse(here, dead)
    assert recover(here, other) == 2
    after = claim(here, other, **{"async": 9})
    assert sorted(one.id for one in after) == ids
    assert {one.fence for one in before} == {1}
    assert {(one.fence, one.attempts) for one in after} == {(2, 2)}


def test_a_second_worker_leaves_the_lease_of_the_first_alone(here: Place) -> None:
    first = registered(here)
    registered(here)
    assert first.beat() == []


def test_a_worker_without_lease_is_told_so_and_holds_nothing(here: Place) -> None:
    claims = registered(here)
    with here.store.write() as connection:
        assert claims.holds(connection)
    lapse(here, claims)
    recover(here, claims)
    assert claims.beat() is None
    with here.store.write() as connection:
        assert not claims.holds(connection)


def test_an_execution_that_takes_its_worker_down_is_given_up_after_five_times(here: Place) -> None:
    (id_,) = queue(here, here.publish(FLOW), 1)
    for _ in range(MOST_ATTEMPTS):
        claims = registered(here)
        assert [one.id for one in claim(here, claims, **{"async": 1})] == [id_]
        lapse(here, claims)
        recover(here, claims)
    row = here.execution(id_)
    assert row.status == "failed"
    assert "internal.worker_died" in row.error


def test_workers_that_end_in_order_are_no_reason_to_give_up(here: Place) -> None:
    (id_,) = queue(here, here.publish(FLOW), 1)
    for _ in range(MOST_ATTEMPTS + 2):
        claims = registered(here)
        assert [one.id for one in claim(here, claims, **{"async": 1})] == [id_]
        claims.end()
    assert here.statuses(id_) == ["queued"]


def test_an_execution_that_goes_on_after_an_orderly_end_knows_that_it_was_begun_before(here: Place) -> None:
    queue(here, here.publish(FLOW), 1)
    first, second = registered(here), registered(here)
    claim(here, first, **{"async": 1})
    first.end()
    (again,) = claim(here, second, **{"async": 1})
    assert again.attempts > 1


def test_a_cancelled_execution_of_a_dead_worker_ends_as_cancelled(here: Place) -> None:
    (id_,) = queue(here, here.publish(FLOW), 1)
    claims = registered(here)
    claim(here, claims, **{"async": 1})
    here.change("UPDATE execution SET cancel = 1 WHERE id = :id", id=id_)
    lapse(here, claims)
    recover(here, claims)
    assert here.statuses(id_) == ["cancelled"]


def test_recovering_and_claiming_at_once_runs_nothing_twice(postgres_url: str, tmp_path: Path) -> None:
    """Leases lapse all the time while their workers go on claiming: no fence is given twice."""
    with place(postgres_url, tmp_path) as here:
        ids = queue(here, here.publish(FLOW), 40)
        stop = threading.Event()
        fences: list[tuple[str, int]] = []
        lock = threading.Lock()

        def work() -> None:
            claims = registered(here)
            while not stop.is_set():
                with here.store.write() as connection:
                    claims.recover(connection)
                    held = claims.holds(connection)
                    found = claims.claim(connection, {"async": 5}) if held else []
                with lock:
                    fences.extend((one.id, one.fence) for one in found)
                if not held:
                    claims.register()

        def lapses() -> None:
            while not stop.wait(0.01):
                for (worker_id,) in here.rows("SELECT id FROM worker"):
                    here.change("UPDATE worker SET lease_until_ms = 1 WHERE id = :id", id=worker_id)

        threads = [threading.Thread(target=target) for target in (work, work, work, lapses)]
        for thread in threads:
            thread.start()
        stop.wait(3)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert len(fences) == len(set(fences)), "two workers were given the same fence"
        here.change("UPDATE worker SET lease_until_ms = 1")
        recover(here, registered(here))
        # Each was claimed often: those that were claimed five times are given up, none is left with a lapsed worker.
        assert set(here.statuses(*ids)) <= {"queued", "failed"}
