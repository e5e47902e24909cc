"""What is kept how long, and that removing the rest disturbs nobody."""

import contextlib
import os
import statistics
import threading
import time

import pytest
from sqlalchemy import text

from engine.items import Items
from engine.runtime import schema
from engine.runtime.data.payload_sweep import ASIDE, sweep_payloads
from engine.runtime.data.payloads import Payloads
from engine.runtime.ids import new_id, now_ms
from engine.runtime.measures import Measures
from engine.runtime.parts import Parts
from engine.runtime.retention import BATCH, DAY_MS, Retention
from engine.runtime.run_data import owner_of
from engine.runtime.service.actor import LOCAL_PROJECT, OWNER, Actor
from engine.runtime.service.errors import BadRequest
from engine.runtime.service.retention import RetentionRules
from engine.runtime.settings import Settings
from engine.runtime.store import Store
from engine.runtime.turns import TURN_MS, hold, take_turn
from tests.support.rows import add

OTHER = Actor("other", "0" * 31 + "2")


@pytest.fixture
def parts(database_url, tmp_path):
    parts = Parts(Settings(home=tmp_path, database_url=database_url))
    schema.upgrade(parts.store)
    yield parts
    parts.store.close()


@pytest.fixture
def measures():
    return Measures()


@pytest.fixture
def retention(parts, measures):
    return Retention(parts.store, parts.payloads, measures)


def execution(store: Store, days: float, status: str = "succeeded", **values: object) -> str:
    id_ = new_id(int(now_ms() - days * DAY_MS))
    with store.write() as connection:
        add(connection, "execution", **{"id": id_, "status": status, "kind": "published", **values})
        add(connection, "record", execution_id=id_, part=0)
        add(connection, "record", execution_id=id_, part=1)
        add(connection, "payload_use", owner=id_, hash="shared")
    return id_


def left(store: Store) -> set[str]:
    """Ids of the executions that are left, all of them with what belongs to them, and nothing that belongs to none."""
    with store.read() as connection:
        ids = set(connection.execute(text("SELECT id FROM execution")).scalars())
        assert set(connection.execute(text("SELECT execution_id FROM record")).scalars()) == ids
        assert set(connection.execute(text("SELECT owner FROM payload_use")).scalars()) == ids
        assert connection.execute(text("SELECT count(*) FROM record")).scalar() == 2 * len(ids)
    return ids


def test_each_kind_of_execution_is_kept_for_its_days(parts, retention):
    kept = {
        execution(parts.store, 29),
        execution(parts.store, 29, "cancelled"),
        execution(parts.store, 89, "failed"),
        execution(parts.store, 1.9, kind="draft"),
        execution(parts.store, 1.9, "failed", kind="test"),
    }
    for status in ("succeeded", "cancelled", "skipped"):
        execution(parts.store, 31, status)
    execution(parts.store, 91, "failed")
    execution(parts.store, 2.1, kind="draft")
    execution(parts.store, 2.1, "failed", kind="test")
    retention.remove({})
    assert left(parts.store) == kept


@pytest.mark.parametrize("status", ["queued", "running", "waiting", "needs_decision"])
def test_what_has_not_ended_is_kept_however_old_it_is_and_removed_once_it_has(parts, retention, status):
    state: dict[str, object] = {}
    id_ = execution(parts.store, 1000, status)
    RetentionRules(parts).change(OWNER, {"executions": 1, "days": 1})
    young = execution(parts.store, 0)
    retention.remove(state)
    assert left(parts.store) == {id_, young}
    with parts.store.write() as connection:
        connection.execute(text("UPDATE execution SET status = 'succeeded' WHERE id = :id"), {"id": id_})
    state["passes"][LOCAL_PROJECT]["began_ms"] -= DAY_MS + 1  # type: ignore[index]
    retention.remove(state)
    assert left(parts.store) == {young}


def test_only_the_newest_are_kept_where_there_are_too_many(parts, retention):
    RetentionRules(parts).change(OWNER, {"executions": 3})
    ids = [execution(parts.store, age / 100, "failed" if age % 2 else "succeeded") for age in range(8, 0, -1)]
    retention.remove({})
    assert left(parts.store) == set(ids[-3:])


def test_each_project_goes_by_its_own_rules(parts, retention):
    RetentionRules(parts).change(OTHER, {"days": 5})
    mine = execution(parts.store, 10)
    execution(parts.store, 10, project_id=OTHER.project_id)
    retention.remove({})
    assert left(parts.store) == {mine}


def test_what_a_retry_that_has_not_ended_repeats_is_kept(parts, retention):
    kept = set()
    for status in ("queued", "running", "waiting", "needs_decision"):
        origin = execution(parts.store, 40)
        kept |= {origin, execution(parts.store, 0, status, origin_id=origin)}
    gone = execution(parts.store, 40)
    kept.add(execution(parts.store, 0, "succeeded", origin_id=gone))
    retention.remove({})
    assert left(parts.store) == kept


def test_more_than_a_batch_goes_in_one_turn_and_is_counted(parts, retention, measures):
    now = now_ms()
    with parts.store.write() as connection:
        for number in range(BATCH * 2 + 10):
            id_ = new_id(now - 40 * DAY_MS + number)
            add(connection, "execution", id=id_, status="succeeded", kind="published")
    retention.remove({})
    assert left(parts.store) == set()
    count = measures.registry.get_sample_value("flowleaf_removed_total", {"what": "executions"})
    assert count == BATCH * 2 + 10


def test_a_turn_that_is_stopped_goes_on_where_it_was(parts, retention):
    for _ in range(5):
        execution(parts.store, 40)
    state: dict[str, object] = {}
    retention.remove(state, stopped=lambda: True)
    assert len(left(parts.store)) == 5
    retention.remove(state)
    assert left(parts.store) == set()


def test_unused_results_of_draft_runs_go_with_what_they_need(parts, retention):
    with parts.store.write() as connection:
        for number in range(BATCH + 10):
            add(connection, "run_data", key=f"old{number}", used_ms=now_ms() - 8 * DAY_MS)
        add(connection, "payload_use", hash="a", owner=owner_of(LOCAL_PROJECT, "old1"))
        add(connection, "run_data", key="young", used_ms=now_ms() - 6 * DAY_MS)
        add(connection, "payload_use", hash="a", owner=owner_of(LOCAL_PROJECT, "young"))
        add(connection, "workflow")
    retention.remove({})
    with parts.store.read() as connection:
        assert list(connection.execute(text("SELECT key FROM run_data")).scalars()) == ["young"]
        owners = list(connection.execute(text("SELECT owner FROM payload_use")).scalars())
    assert owners == [owner_of(LOCAL_PROJECT, "young")]


def test_one_process_has_the_turn_and_its_state_goes_to_the_next(parts):
    barrier = threading.Barrier(8)
    taken = []

    def take() -> None:
        barrier.wait()
        if (turn := take_turn(parts.store, "upkeep")) is not None:
            turn.state["by"] = "me"
            turn.save()
            taken.append(turn)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert take_turn(parts.store, "upkeep") is None
    with parts.store.write() as connection:  # as a minute later
        (value,) = connection.execute(text("SELECT value FROM setting")).scalars()
        until = now_ms() - 1
        connection.execute(
            text("UPDATE setting SET value = :value"), {"value": value.replace(value[12:25], str(until))}
        )
    turn = take_turn(parts.store, "upkeep")
    assert turn is not None and turn.state == {"by": "me"}


def test_a_turn_taken_by_a_clock_that_was_far_ahead_does_not_stop_retention(parts):
    with parts.store.write() as connection:
        ahead = f'{{"until_ms": {now_ms() + 2 * TURN_MS + 60_000}}}'
        add(connection, "setting", project_id="0" * 32, name="upkeep", value=ahead)
    assert take_turn(parts.store, "upkeep") is not None


def test_an_edit_beside_it_does_not_wait(parts, retention):
    now = now_ms()
    with parts.store.write() as connection:
        for number in range(6_000):
            add(connection, "execution", id=new_id(now - 40 * DAY_MS + number), status="succeeded", kind="published")
    remover = threading.Thread(target=retention.remove, args=({},))
    waits = []
    remover.start()
    while remover.is_alive():
        began = time.perf_counter()
        with parts.store.write() as connection:
            add(connection, "confirmed", node_id=f"n{len(waits)}")
        waits.append(time.perf_counter() - began)
        time.sleep(0.005)
    assert left(parts.store) == set()
    assert len(waits) > 20
    assert statistics.quantiles(waits, n=20)[-1] < 0.25  # generous: tests run beside others


def test_rules_are_the_defaults_until_they_are_changed(parts):
    rules = RetentionRules(parts)
    assert rules.get(OWNER).model_dump() == {
        "days": 30, "failed_days": 90, "drafts_days": 2, "run_data_days": 7, "executions": 1_000_000,
    }  # fmt: skip
    assert rules.change(OWNER, {"days": 3}).days == 3
    assert rules.change(OWNER, {"drafts_days": 1}).days == 3
    assert (rules.get(OWNER).drafts_days, rules.get(OTHER).days) == (1, 30)


@pytest.mark.parametrize("changes", [{"days": 0}, {"hours": 3}, {"days": "soon"}, {"executions": -1}])
def test_rules_that_make_no_sense_change_nothing(parts, changes):
    with pytest.raises(BadRequest, match=next(iter(changes))):
        RetentionRules(parts).change(OWNER, {"drafts_days": 9, **changes})
    assert RetentionRules(parts).get(OWNER).drafts_days == 2


def age(payloads: Payloads, hash_: str, seconds: float = 7_200) -> None:
    at = time.time() - seconds
    os.utime(payloads.path_of(hash_), (at, at))


def test_files_go_when_they_are_old_and_nobody_needs_them(parts, retention, measures):
    payloads = parts.payloads
    old, needed, young = (payloads.save(Items.of([{"n": n}])).hash for n in range(3))
    payloads.save_beside(old, "profile", b"{}")
    for hash_ in (old, needed):
        age(payloads, hash_)
    with parts.store.write() as connection:
        add(connection, "payload_use", hash=needed, owner="somebody")
    state: dict[str, object] = {}
    retention.remove(state)
    assert {stored.hash for stored in payloads.all()} == {needed, young}
    assert not list(payloads.folder.glob(f"*{old}*"))
    assert measures.registry.get_sample_value("flowleaf_removed_total", {"what": "payloads"}) == 1
    age(payloads, young)
    retention.remove(state)
    assert payloads.exists(young), "the folder is looked through every ten minutes only"


def test_files_stay_while_a_backup_holds_them(parts, retention):
    hash_ = parts.payloads.save(Items.of([{"n": 1}])).hash
    age(parts.payloads, hash_)
    hold(parts.store, "payloads", 60_000)
    retention.remove({})
    assert parts.payloads.exists(hash_)
    hold(parts.store, "payloads", 0)
    retention.remove({})
    assert not parts.payloads.exists(hash_)


def test_a_file_that_is_saved_again_while_it_is_swept_is_there_afterwards(parts):
    payloads, items = parts.payloads, Items.of([{"n": "again"}])
    hash_ = payloads.save(items).hash
    lost, saved = [], 0
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            sweep_payloads(parts.store, payloads)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    ends_at = time.monotonic() + 3
    while time.monotonic() < ends_at:
        with contextlib.suppress(FileNotFoundError):
            age(payloads, hash_)
        time.sleep(0.0005 * (saved % 7))
        payloads.save(items)
        saved += 1
        time.sleep(0.06)  # longer than one is watched that was set aside
        if not payloads.exists(hash_):
            lost.append(saved)
    ended.set()
    sweeper.join()
    assert lost == []
    assert saved > 20


def test_what_a_killed_sweep_set_aside_is_settled_by_the_next(parts):
    payloads = parts.payloads
    wanted, unwanted = (payloads.save(Items.of([{"n": n}])).hash for n in range(2))
    age(payloads, unwanted)
    for hash_ in (wanted, unwanted):
        payloads.path_of(hash_).rename(payloads.folder / f"{ASIDE}{hash_}")
    sweep_payloads(parts.store, payloads)
    assert payloads.exists(wanted)
    assert [path.name for path in payloads.folder.iterdir()] == [wanted]
