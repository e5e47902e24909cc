"""What is committed before and while a node changes something outside, and where recovery goes on after a crash."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.runtime.attempt import DECIDED
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import unpack
from engine.workflow import Workflow
from tests.support.build import chain, node
from tests.support.runtime import Place, on_loop, order, place, worker_process, working
from tests.support.servers import OwnRedis


@pytest.fixture
def here(database_url: str, redis_server: OwnRedis, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path, redis_server.url) as made:
        yield made


@dataclass
class Target:
    """A server that is called by write nodes, and looks around while it is.

    Attributes:
        calls: path and idempotency key of each call.
        during: called with the number of a call before it is answered; False: no answer.
    """

    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    during: Callable[[int], Any] = lambda number: None

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self.calls]


@contextmanager
def target() -> Iterator[Target]:
    seen = Target()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                seen.calls.append((self.path, self.headers.get("idempotency-key", "")))
                number = len(seen.calls)
            status = seen.during(number) or 200
            body = b'{"ok": true}'
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that were killed."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        seen.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield seen
        finally:
            listener.shutdown()
            thread.join()


def send(url: str, label: str = "send", **more: Any) -> Any:
    params = {"url": f"{url}/{label}/{{{{ item.n }}}}", "method": "POST", "result": "field"}
    return node(label, "core.http_request", params, **more)


def sending(url: str, **more: Any) -> Workflow:
    return chain(node("start", "core.manual"), node("before", params={"fields": {"m": 1}}), send(url, **more))


def items_of(here: Place, id_: str) -> int:
    """How many items of write nodes are committed."""
    found = here.rows("SELECT data FROM record WHERE execution_id = :id AND part > 0", id=id_)
    bundles = [unpack(bytes(data), Payloads(here.payloads_folder)) for (data,) in found]
    return sum(len(outcomes) for bundle in bundles for outcomes in bundle.items.values())


def started_of(here: Place, id_: str) -> list[str]:
    found = here.rows("SELECT data FROM record WHERE execution_id = :id AND part > 0 ORDER BY part", id=id_)
    return [node_id for (data,) in found for node_id in unpack(bytes(data), here.payloads).started]


def lapse(here: Place) -> None:
    here.change("UPDATE worker SET lease_until_ms = 1")


@on_loop
async def test_all_that_a_write_depends_on_is_committed_before_it_begins(here: Place) -> None:
    found: list[tuple[list[str], list[str]]] = []
    with target() as server:
        published = here.publish(sending(server.url))
        async with working(here) as there:
            id_ = order(published, [{"n": 1}]).row["id"]
            server.during = lambda number: found.append((list(here.runs(id_)), started_of(here, id_)))
            there.start(published, [{"n": 1}], id=id_)
            assert await there.ended(id_) == ["succeeded"]
    assert found == [(["start", "before"], ["send"])]


@on_loop
async def test_outcomes_of_a_write_are_committed_every_hundred_items(here: Place) -> None:
    most = 0
    with target() as server:
        published = here.publish(sending(server.url))
        async with working(here) as there:
            id_ = order(published).row["id"]

            def look(number: int) -> None:
                nonlocal most
                if number % 25 == 0:
                    most = max(most, number - items_of(here, id_))

            server.during = look
            there.start(published, [{"n": n} for n in range(450)], id=id_)
            assert await there.ended(id_, limit_s=40) == ["succeeded"], here.execution(id_).error
    assert most <= 125  # a hundred, and those under way
    assert len(set(server.keys)) == len(server.keys) == 450


@on_loop
async def test_outcomes_of_a_slow_write_are_committed_every_second(here: Place) -> None:
    with target() as server:
        published = here.publish(sending(server.url))
        server.during = lambda number: time.sleep(0.3)
        async with working(here) as there:
            id_ = there.start(published, [{"n": n} for n in range(100)])
            await there.wait(lambda: len(server.calls) > 60, "some calls")
            assert items_of(here, id_) > 0
            assert await there.ended(id_) == ["succeeded"]


def test_after_a_crash_recovery_goes_on_at_the_item(here: Place) -> None:
    """What was committed never runs again; what was under way runs again under the same keys."""
    hold = threading.Event()
    with target() as server:
        published = here.publish(sending(server.url))

        def during(number: int) -> None:
            if number > 250:
                hold.wait(20)

        server.during = during
        id_ = here.start(published, [{"n": n} for n in range(400)])
        with worker_process(here) as first:
            here.wait(lambda: len(server.calls) >= 255, "the calls")
            first.kill()
        committed = items_of(here, id_)
        before = len(server.calls)
        assert committed >= 100
        server.during = lambda number: None
        hold.set()
        lapse(here)
        with worker_process(here):
            assert here.ended(id_, limit_s=30) == ["succeeded"]
        paths = [path for path, _ in server.calls]
        assert len(set(paths)) == 400
        again = [path for path in paths[:before] if path in paths[before:]]
        assert len(again) <= before - committed
        by_path: dict[str, set[str]] = {}
        for path, key in server.calls:
            by_path.setdefault(path, set()).add(key)
        assert {len(keys) for keys in by_path.values()} == {1}
    assert len(here.rows_of(id_, "send")) == 400
    assert [row["n"] for row in here.rows_of(id_, "send")] == list(range(400))
    assert here.execution(id_).attempts == 2


def test_a_committed_node_never_runs_again(here: Place) -> None:
    hold = threading.Event()
    with target() as server:
        flow = chain(node("start", "core.manual"), send(server.url, "one"), send(server.url, "two"))
        published = here.publish(flow)
        server.during = lambda number: (
            hold.wait(20) and None if server.calls[number - 1][0].startswith("/two") else None
        )
        id_ = here.start(published, [{"n": 1}])
        with worker_process(here) as first:
            here.wait(lambda: len(server.calls) == 2, "both calls")
            first.kill()
        hold.set()
        lapse(here)
        with worker_process(here):
            assert here.ended(id_, limit_s=30) == ["succeeded"]
        assert [path for path, _ in server.calls] == ["/one/1", "/two/1", "/two/1"]
        assert server.keys[1] == server.keys[2] != server.keys[0]


def test_a_write_that_stops_on_a_crash_waits_for_a_person_and_then_goes_on(here: Place) -> None:
    hold = threading.Event()
    with target() as server:
        published = here.publish(sending(server.url, on_crash="stop"))
        server.during = lambda number: hold.wait(20) and None
        id_ = here.start(published, [{"n": 1}])
        with worker_process(here) as first:
            here.wait(lambda: server.calls, "the call")
            first.kill()
        hold.set()
        lapse(here)
        with worker_process(here):
            assert here.ended(id_) == ["needs_decision"]
            row = here.execution(id_)
            assert "execution.needs_decision" in row.error
            assert row.finished_ms is None
            time.sleep(1.5)
            assert len(server.calls) == 1
            with here.store.write() as connection:
                connection.execute(DECIDED, {"id": id_})
            here.wait(lambda: here.statuses(id_) == ["succeeded"], "the end")
        assert server.keys[0] == server.keys[1]
    assert here.execution(id_).error is None


@on_loop
async def test_an_orderly_stop_in_the_middle_of_a_write_is_asked_about_as_well(here: Place) -> None:
    hold = threading.Event()
    with target() as server:
        published = here.publish(sending(server.url, on_crash="stop"))
        server.during = lambda number: hold.wait(20) and None
        async with working(here) as there:
            id_ = there.start(published, [{"n": 1}])
            await there.wait(lambda: server.calls, "the call")
        hold.set()
        assert here.statuses(id_) == ["queued"]
        async with working(here) as there:
            assert await there.ended(id_) == ["needs_decision"]
        assert len(server.calls) == 1


def test_a_worker_that_was_frozen_past_its_lease_writes_nothing(here: Place) -> None:
    hold = threading.Event()
    with target() as server:
        published = here.publish(sending(server.url))
        server.during = lambda number: hold.wait(20) and None if number == 1 else None
        id_ = here.start(published, [{"n": 1}])
        with worker_process(here) as first:
            here.wait(lambda: server.calls, "the call")
            first.freeze()
            if not here.store.is_sqlite:
                time.sleep(0.1)
            lapse(here)
            with worker_process(here):
                assert here.ended(id_) == ["succeeded"]
                parts = here.rows("SELECT part FROM record WHERE execution_id = :id ORDER BY part", id=id_)
                finished = here.execution(id_)
                hold.set()
                first.thaw()
                time.sleep(2)
                assert here.rows("SELECT part FROM record WHERE execution_id = :id ORDER BY part", id=id_) == parts
                assert here.execution(id_) == finished
                assert finished.fence == 2


@on_loop
async def test_a_retry_runs_what_failed_and_no_item_that_went_well(here: Place) -> None:
    with target() as server:
        flow = chain(node("start", "core.manual"), send(server.url, "one"), send(server.url, "two"))
        published = here.publish(flow)
        failing = True
        server.during = lambda number: 404 if failing and server.calls[number - 1][0] == "/two/5" else None
        async with working(here) as there:
            first = there.start(published, [{"n": n} for n in range(8)])
            assert await there.ended(first) == ["failed"]
            done = {path for path, _ in server.calls}
            failing = False
            before = len(server.calls)
            retry = there.start(published, [{"n": n} for n in range(8)], source="retry", origin_id=first)
            assert await there.ended(retry) == ["succeeded"]
        again = [path for path, _ in server.calls[before:]]
        assert not [path for path in again if path.startswith("/one")]
        assert "/two/5" in again
        assert not set(again) & (done - {"/two/5", "/two/6", "/two/7"})
    assert len(here.rows_of(retry, "two")) == 8


@on_loop
async def test_a_replay_from_a_node_takes_over_what_does_not_depend_on_it(here: Place) -> None:
    with target() as server:
        flow = chain(node("start", "core.manual"), send(server.url, "one"), send(server.url, "two"))
        published = here.publish(flow)
        async with working(here) as there:
            first = there.start(published, [{"n": 1}])
            await there.ended(first)
            part = there.start(published, [{"n": 1}], source="replay", origin_id=first, from_node="two")
            assert await there.ended(part) == ["succeeded"]
            assert [path for path, _ in server.calls] == ["/one/1", "/two/1", "/two/1"]
            whole = there.start(published, [{"n": 1}], source="replay", origin_id=first)
            assert await there.ended(whole) == ["succeeded"]
        assert [path for path, _ in server.calls[3:]] == ["/one/1", "/two/1"]
        assert len(set(server.keys)) == 5  # new on replay
    assert len(here.rows_of(whole, "two")) == 1


@on_loop
async def test_a_replay_from_a_node_that_is_not_there_says_so(here: Place) -> None:
    with target() as server:
        published = here.publish(sending(server.url))
        async with working(here) as there:
            first = there.start(published, [{"n": 1}])
            await there.ended(first)
            replay = there.start(published, source="replay", origin_id=first, from_node="gone")
            assert await there.ended(replay) == ["failed"]
    assert "gone" in here.execution(replay).error


def test_everything_accepted_ends_once_while_workers_are_killed(here: Place) -> None:
    flow = chain(node("start", "core.manual"), node("a"), node("b"))
    published = here.publish(flow)
    ids = [a.execution_id for a in here.insert(*(order(published, [{"n": n}]) for n in range(600)))]
    for _ in range(3):
        with worker_process(here) as worker:
            time.sleep(0.05)
            worker.kill()
        lapse(here)
    with worker_process(here):
        assert set(here.ended(*ids, limit_s=40)) == {"succeeded"}
    ((parts,),) = here.rows("SELECT count(*) FROM record WHERE part > 0")
    assert parts == 600
