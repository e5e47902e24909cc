"""What a worker commits: fenced, once, in order, published afterwards; on both databases."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from engine.runtime.claims import Claim, Claims
from engine.runtime.data.packed import pack_json
from engine.runtime.journal import Claimed, Entry, Journal
from tests.support.build import chain, node, start
from tests.support.runtime import Place, Published, order, place
from tests.support.servers import PostgresServer

FLOW = chain(start([{}]), node("copy"))
DATA = pack_json([1, [], [], {}])
SLOTS = {"async": 50, "code": 2}


@pytest.fixture
def here(database_url: str, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path) as made:
        yield made


class Kept:
    """A running journal, and all that it told."""

    def __init__(self, here: Place, slots: Mapping[str, int] = SLOTS) -> None:
        self.here = here
        self.claims = Claims(here.store)
        self.claims.register()
        self.claimed: list[Claim] = []
        self.parts: dict[str, list[bytes]] = {}
        self.committed: list[Entry] = []
        self.seen: list[tuple[str, str]] = []  # of each entry with a status: what it says, what the database says then
        self.broken = False
        self.lost = 0
        self.journal = Journal(
            here.store, self.claims, slots, claimed=self._claimed, committed=self._committed, lost=self._lost
        )

    def _claimed(self, claimed: Sequence[Claimed]) -> None:
        for claim, parts in claimed:
            self.claimed.append(claim)
            self.parts[claim.id] = list(parts)

    def _committed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.status is not None:
                self.seen.append((entry.status, self.here.statuses(entry.claim.id)[0]))
        self.committed += entries
        if self.broken:
            raise RuntimeError("no bus")

    def _lost(self) -> None:
        self.lost += 1
        self.claims.worker_id = ""
        self.journal.forget(SLOTS)
        self.claims.register()

    def claim(self, published: Published, count: int = 1) -> list[Claim]:
        """Claims of new executions of it."""
        before = len(self.claimed)
        self.here.insert(*(order(published) for _ in range(count)))
        self.journal.wake()
        self.here.wait(lambda: len(self.claimed) == before + count, "the claims")
        return self.claimed[before:]


@contextmanager
def journal(here: Place, slots: Mapping[str, int] = SLOTS) -> Iterator[Kept]:
    kept = Kept(here, slots)
    kept.journal.start()
    try:
        yield kept
    finally:
        kept.journal.close(5)


def parts_of(here: Place, claim: Claim) -> list[int]:
    return [
        part for (part,) in here.rows("SELECT part FROM record WHERE execution_id = :id ORDER BY part", id=claim.id)
    ]


class Written:
    """What an entry's writer was told."""

    def __init__(self) -> None:
        self.told: list[bool] = []

    def __call__(self, is_mine: bool) -> None:
        self.told.append(is_mine)


def test_a_claim_comes_with_the_parts_of_its_record_in_order(here: Place) -> None:
    published = here.publish(FLOW)
    id_ = here.start(published)
    for part in (2, 1, 3):
        here.change("INSERT INTO record VALUES (:id, :part, :data)", id=id_, part=part, data=b"part %d" % part)
    with journal(here) as kept:
        here.wait(lambda: kept.claimed, "the claim")
        assert kept.parts[id_][1:] == [b"part 1", b"part 2", b"part 3"]


def test_many_entries_share_a_few_commits_and_their_slots_are_claimed_in_the_same(here: Place) -> None:
    published = here.publish(FLOW)
    here.insert(*(order(published) for _ in range(500)))
    with journal(here) as kept:
        done = 0
        while done < 500:
            here.wait(lambda: len(kept.claimed) > done, "more claims")  # noqa: B023
            some = kept.claimed[done:]
            done += len(some)
            for claim in some:
                kept.journal.put(Entry(claim, part=1, data=DATA, status="succeeded"))
        here.wait(lambda: here.counts() == {"succeeded": 500}, "the end of all")
        assert kept.journal.batches < 150


def test_what_was_claimed_by_another_meanwhile_is_not_written(here: Place) -> None:
    """Not its part, not its end, not its results by key; and it is told to nobody."""
    published = here.publish(FLOW)
    apart: list[str] = []
    with journal(here) as kept:
        stale, good = kept.claim(published, 2)
        here.change("UPDATE execution SET fence = fence + 1, worker_id = 'other' WHERE id = :id", id=stale.id)
        written, also = Written(), Written()
        kept.journal.put(
            Entry(stale, part=1, data=DATA, uses=("h",), status="succeeded", written=written,
                  apart=lambda connection: apart.append("stale"))
        )  # fmt: skip
        kept.journal.put(Entry(good, part=1, data=DATA, status="succeeded", written=also))
        here.wait(lambda: written.told and also.told, "the answers")
        assert (written.told, also.told) == ([False], [True])
        assert parts_of(here, stale) == [0]
        assert here.statuses(stale.id, good.id) == ["running", "succeeded"]
        assert [entry.claim.id for entry in kept.committed] == [good.id]
        assert apart == []
        assert here.rows("SELECT * FROM payload_use") == []


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "skipped"])
def test_a_terminal_status_never_changes(here: Place, status: str) -> None:
    published = here.publish(FLOW)
    with journal(here) as kept:
        (claim,) = kept.claim(published)
        here.change("UPDATE execution SET status = :status WHERE id = :id", status=status, id=claim.id)
        written = Written()
        kept.journal.put(Entry(claim, part=1, data=DATA, status="failed", error="{}", written=written))
        here.wait(lambda: written.told, "the answer")
        assert written.told == [False]
        assert here.statuses(claim.id) == [status]
        assert parts_of(here, claim) == [0]


def test_an_execution_ends_once_in_a_batch(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here) as kept:
        (claim,) = kept.claim(published)
        first, second = Written(), Written()
        kept.journal.put(Entry(claim, part=1, data=DATA, status="succeeded", written=first))
        kept.journal.put(Entry(claim, part=2, data=DATA, status="failed", written=second))
        here.wait(lambda: first.told and second.told, "the answers")
        assert (first.told, second.told) == ([True], [False])
        assert here.statuses(claim.id) == ["succeeded"]


def test_entries_are_told_after_their_commit_and_in_order(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here) as kept:
        claims = kept.claim(published, 20)
        for part in range(1, 6):
            for claim in claims:
                kept.journal.put(Entry(claim, part=part, data=DATA, events=[{"seq": part}]))
        for claim in claims:
            kept.journal.put(Entry(claim, events=[{"seq": 6}], status="succeeded"))
        here.wait(lambda: len(kept.committed) == 120, "all")
        assert kept.seen == [("succeeded", "succeeded")] * 20
        for claim in claims:
            seqs = [entry.events[0]["seq"] for entry in kept.committed if entry.claim.id == claim.id]
            assert seqs == [1, 2, 3, 4, 5, 6]


def test_a_bus_that_fails_keeps_nothing_from_being_written_or_told_twice(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here) as kept:
        first, second = kept.claim(published, 2)
        kept.broken = True
        written = Written()
        kept.journal.put(Entry(first, part=1, data=DATA, status="succeeded", written=written))
        here.wait(lambda: written.told, "the answer")
        kept.journal.put(Entry(second, part=1, data=DATA, status="succeeded"))
        here.wait(lambda: here.counts() == {"succeeded": 2}, "both")
        here.wait(lambda: len(kept.committed) == 2, "both told")
        assert written.told == [True]


def test_what_the_database_does_not_take_fails_its_execution_and_no_other(here: Place) -> None:
    published = here.publish(FLOW)

    def broken(connection: Connection) -> None:
        connection.execute(text("INSERT INTO execution (id) VALUES (NULL)"))

    with journal(here, {"async": 4}) as kept:
        bad, *good = kept.claim(published, 4)
        here.store.engine.dispose()
        written = Written()
        for entry in (
            Entry(good[0], part=1, data=DATA, status="succeeded"),
            Entry(bad, part=1, data=DATA, status="succeeded", apart=broken, written=written),
            Entry(good[1], part=1, data=DATA, status="succeeded"),
            Entry(good[2], part=1, data=DATA, status="succeeded"),
        ):
            kept.journal.put(entry)
        here.wait(lambda: written.told, "the answer")
        here.wait(lambda: here.counts() == {"succeeded": 3, "failed": 1}, "the end of all")
        assert written.told == [False]
        assert here.statuses(bad.id) == ["failed"]
        assert len(kept.claim(published, 4)) == 4  # its slot is free again


def test_what_waits_while_postgres_is_away_is_written_once_afterwards(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    with place(postgres_url, tmp_path) as here:
        published = here.publish(FLOW)
        with journal(here) as kept:
            claims = kept.claim(published, 20)
            written = [Written() for _ in claims]
            time.sleep(1)  # a claim is made without waiting for the disk; one that a crash forgot is made anew
            postgres_server.stop()
            try:
                for claim, answer in zip(claims, written, strict=True):
                    kept.journal.put(Entry(claim, part=1, data=DATA, written=answer, events=[{"seq": 1}]))
                time.sleep(2)
                assert not any(answer.told for answer in written)
                assert kept.committed == []
                assert kept.journal.away_since is not None
            finally:
                postgres_server.start()
            here.wait(lambda: all(answer.told for answer in written), "the commit")
            assert [answer.told for answer in written] == [[True]] * 20
            assert len(kept.committed) == 20
            assert all(parts_of(here, claim) == [0, 1] for claim in claims)
            assert kept.journal.away_since is None


def test_a_commit_whose_answer_got_lost_is_not_made_twice(here: Place) -> None:
    """The database committed and the connection broke: what is tried again is there already."""
    published = here.publish(FLOW)
    with journal(here) as kept:
        (claim,) = kept.claim(published)
        failing: list[bool] = []
        tries: list[bool] = []

        def write(connection: Connection) -> None:
            tries.append(True)
            if len(tries) == 1:
                failing.append(True)

        def fail(connection: Any) -> None:
            if failing and threading.current_thread().name == "journal":
                failing.clear()
                connection.connection.driver_connection.commit()
                raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

        event.listen(here.store.engine, "commit", fail)
        written = Written()
        kept.journal.put(Entry(claim, part=1, data=DATA, written=written, apart=write))
        here.wait(lambda: written.told, "the answer")
        assert written.told == [True]
        kept.journal.put(Entry(claim, part=2, data=DATA, status="succeeded"))
        here.wait(lambda: here.statuses(claim.id) == ["succeeded"], "the end")
        assert parts_of(here, claim) == [0, 1, 2]


def test_no_wake_up_is_lost_while_it_writes(here: Place) -> None:
    published = here.publish(FLOW)
    took: list[float] = []
    with journal(here) as kept:
        (busy,) = kept.claim(published)
        stop = threading.Event()

        def keep_writing() -> None:
            part = 0
            while not stop.wait(0.001):
                part += 1
                kept.journal.put(Entry(busy, part=part, data=DATA))

        thread = threading.Thread(target=keep_writing)
        thread.start()
        for _ in range(40):
            began = time.monotonic()
            kept.claim(published)
            took.append(time.monotonic() - began)
        stop.set()
        thread.join()
    assert sorted(took)[-3] < 0.5


def test_what_was_never_woken_for_is_found_within_two_seconds(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here) as kept:
        time.sleep(0.2)
        began = time.monotonic()
        here.start(published)
        here.wait(lambda: kept.claimed, "the claim")
        assert time.monotonic() - began < 2.5


def test_a_lost_lease_is_told_once_and_slots_are_whole_again(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here, SLOTS) as kept:
        kept.claim(published, 50)
        here.change("UPDATE worker SET lease_until_ms = 1")
        kept.journal.check_lease()
        here.wait(lambda: kept.lost == 1, "the loss")
        here.wait(lambda: len(kept.claimed) == 100, "all claimed anew")
        assert {claim.fence for claim in kept.claimed[50:]} == {2}
        assert kept.lost == 1


def test_a_claim_that_is_released_frees_its_slot_once(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here, {"async": 1}) as kept:
        (claim,) = kept.claim(published)
        for _ in range(3):
            kept.journal.release(claim)
        here.insert(*(order(published) for _ in range(3)))
        kept.journal.wake()
        here.wait(lambda: len(kept.claimed) == 2, "the next claim")
        time.sleep(0.3)
        assert len(kept.claimed) == 2


def test_closing_writes_what_is_there(here: Place) -> None:
    published = here.publish(FLOW)
    with journal(here) as kept:
        claims = kept.claim(published, 30)
        kept.journal.stop_claiming()
        for claim in claims:
            kept.journal.put(Entry(claim, part=1, data=DATA, status="succeeded"))
    assert here.counts() == {"succeeded": 30}


def test_looking_for_work_reads_an_index_and_not_all_there_ever_was(here: Place) -> None:
    """However many executions ended: an idle worker looks every second."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith("SELECT 1 FROM execution"):
            asked.append(statement)

    event.listen(here.store.engine, "before_cursor_execute", note)
    with journal(here) as kept:
        kept.journal.wake()
        here.wait(lambda: asked, "a look")
    event.remove(here.store.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if here.store.is_sqlite else "EXPLAIN "
    for statement in set(asked):
        with here.store.write() as connection:
            if not here.store.is_sqlite:
                connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = str(connection.execute(text(explain + statement)).all())
        assert "ix_execution_" in plan, (statement, plan)
