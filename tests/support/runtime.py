"""A running engine for tests: a migrated database, published workflows, orders, a worker here or in its own process."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.convert import dumps
from engine.registry import Registry
from engine.run import LocalServices
from engine.runtime import schema
from engine.runtime.bus import Bus, RedisBus
from engine.runtime.credentials.vault import Vault
from engine.runtime.data.packed import pack_json
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import StoredRun, unpack
from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Accepted, Once, Order, execution_row, insert_orders
from engine.runtime.orders import Order as Started
from engine.runtime.orders import pack_items, pack_order
from engine.runtime.programs import make_ready, slot_of
from engine.runtime.queue import Wakes
from engine.runtime.service.actor import LOCAL_PROJECT
from engine.runtime.store import Store
from engine.runtime.webhooks.routes import shape_of
from engine.runtime.worker import SLOTS, Worker
from engine.workflow import Workflow, as_data
from nodes.webhook import WebhookParams

NO_REDIS = "unix:///nowhere/redis.sock"
ENDED = ("succeeded", "failed", "cancelled", "skipped", "needs_decision")
ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))


@dataclass(frozen=True)
class Published:
    """A published workflow."""

    workflow_id: str
    revision_id: str
    trigger_id: str
    slot: str
    project_id: str = LOCAL_PROJECT
    priority: int = 1
    limited: bool = False


@dataclass
class Place:
    """An installation: its database, payload folder and Redis, with what tests ask and change."""

    database_url: str
    folder: Path
    redis_url: str = NO_REDIS
    store: Store = field(init=False)
    payloads: Payloads = field(init=False)
    payloads_folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.database_url)
        self.payloads_folder = self.folder / "payloads"
        self.payloads = Payloads(self.payloads_folder)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """What a statement finds."""
        with self.store.read() as connection:
            return list(connection.execute(text(statement), values))

    def change(self, statement: str, **values: Any) -> None:
        """Change rows."""
        with self.store.write() as connection:
            connection.execute(text(statement), values)

    def statuses(self, *ids: str) -> list[str]:
        """The statuses of executions, in the order asked for."""
        found = {row[0]: row[1] for row in self.rows("SELECT id, status FROM execution")}
        return [found[id_] for id_ in ids]

    def counts(self) -> dict[str, int]:
        """Status -> how many executions have it."""
        return {row[0]: row[1] for row in self.rows("SELECT status, count(*) FROM execution GROUP BY status")}

    def execution(self, id_: str) -> Any:
        """The row of an execution."""
        return self.rows("SELECT * FROM execution WHERE id = :id", id=id_)[0]

    def runs(self, id_: str) -> dict[str, StoredRun]:
        """Node id -> how its run ended, as committed."""
        found = self.rows("SELECT data FROM record WHERE execution_id = :id AND part > 0 ORDER BY part", id=id_)
        return {run.node_id: run for (data,) in found for run in unpack(bytes(data), self.payloads).runs}

    def rows_of(self, id_: str, node_id: str, output: str = "main") -> list[dict[str, Any]]:
        """The items that a node gave, as committed."""
        return list(self.runs(id_)[node_id].result.outputs[output].rows)

    def publish(
        self,
        workflow: Workflow,
        *,
        project_id: str = LOCAL_PROJECT,
        priority: int = 1,
        max_running: int | None = None,
        when_full: str = "queue",
        slot: str | None = None,
    ) -> Published:
        """A published workflow, with the routes of its webhooks."""
        ready = make_ready(workflow, Registry())
        workflow_id, revision_id, now = new_id(), new_id(), now_ms()
        data = pack_json(as_data(workflow))
        common = {"workflow": workflow_id, "revision": revision_id, "project": project_id, "now": now, "data": data}
        limited = int(max_running is not None)
        found = slot or slot_of(ready)
        with self.store.write() as connection:
            connection.execute(
                text(
                    "INSERT INTO workflow (id, project_id, name, draft, draft_seq, revision_id, tags, max_running, "
                    "when_full, created_ms, updated_ms) VALUES (:workflow, :project, 'w', :data, 0, :revision, '[]', "
                    ":most, :full, :now, :now)"
                ),
                {**common, "most": max_running, "full": when_full},
            )
            connection.execute(
                text(
                    "INSERT INTO revision (id, project_id, workflow_id, number, name, note, slot, priority, limited, "
                    "workflow, created_by, created_ms, published_ms) VALUES (:revision, :project, :workflow, 1, '', "
                    "'', :slot, :priority, :limited, :data, 'test', :now, :now)"
                ),
                {**common, "slot": found, "priority": priority, "limited": limited},
            )
            for node in workflow.nodes:
                if node.type == "core.webhook":
                    params = WebhookParams.model_validate(node.params).model_dump(mode="json")
                    connection.execute(
                        text(
                            "INSERT INTO webhook (id, project_id, workflow_id, revision_id, node_id, draft, shape, "
                            "path, params, updated_ms) VALUES (:id, :project, :workflow, :revision, :node, 0, "
                            ":shape, :path, :params, :now)"
                        ),
                        {
                            **common, "id": new_id(), "node": node.id, "shape": shape_of(params["path"]),
                            "path": params["path"], "params": dumps(params).decode(),
                        },
                    )  # fmt: skip
        trigger = next(node.id for node in workflow.nodes if node.type.split(".")[1] in ("manual", "webhook"))
        return Published(workflow_id, revision_id, trigger, found, project_id, priority, bool(limited))

    def start(self, published: Published, items: Sequence[Mapping[str, Any]] = ({},), **more: Any) -> str:
        """The id of a queued execution of it, committed."""
        return self.insert(order(published, items, **more))[0].execution_id

    def insert(self, *orders: Order) -> list[Accepted]:
        """Insert executions."""
        with self.store.write() as connection:
            return insert_orders(connection, orders)

    def set_variable(self, name: str, value: Any) -> None:
        """A variable of the project."""
        self.change(
            "INSERT INTO variable (project_id, name, value, updated_ms) VALUES (:p, :name, :value, 0)",
            p=LOCAL_PROJECT, name=name, value=dumps(value).decode(),
        )  # fmt: skip

    def set_credential(self, name: str, kind: str, fields: Mapping[str, Any]) -> None:
        """A credential of the project."""
        id_ = new_id()
        sealed = vault().seal(fields, context=f"{LOCAL_PROJECT}/{id_}")
        self.change(
            "INSERT INTO credential (id, project_id, name, kind, shown, sealed, revision, created_ms, updated_ms) "
            "VALUES (:id, :p, :name, :kind, '{}', :sealed, :id, 0, 0)",
            id=id_, p=LOCAL_PROJECT, name=name, kind=kind, sealed=sealed,
        )  # fmt: skip

    def wait(self, condition: Callable[[], Any], what: str = "it", limit_s: float = 15.0) -> Any:
        """What the condition gives once it is true; asked again and again."""
        ends_at = time.monotonic() + limit_s
        while not (found := condition()):
            assert time.monotonic() < ends_at, f"{what} did not come about in {limit_s} s; {self.counts()}"
            time.sleep(0.01)
        return found

    def ended(self, *ids: str, limit_s: float = 15.0) -> list[str]:
        """The statuses of executions, once all have ended."""
        self.wait(lambda: all(s in ENDED for s in self.statuses(*ids)), "the end of all", limit_s)
        return self.statuses(*ids)


def vault() -> Vault:
    """A vault with the key of tests."""
    return Vault(KEY)


def order(
    published: Published,
    items: Sequence[Mapping[str, Any]] = ({},),
    *,
    once: tuple[Once, ...] = (),
    kind: str = "published",
    started: Started | None = None,
    **row: Any,
) -> Order:
    """An order of a published workflow's execution; `started`: part 0, where it is more than items."""
    values: dict[str, Any] = {
        "id": new_id(),
        "project_id": published.project_id,
        "workflow_id": published.workflow_id,
        "revision_id": published.revision_id,
        "kind": kind,
        "source": "webhook",
        "trigger_id": published.trigger_id,
        "slot": "draft" if kind == "draft" else published.slot,
        "priority": published.priority,
        "limited": published.limited,
    }
    part = (
        pack_order(started)
        if started is not None
        else pack_items(items)
        if items is not None
        else pack_order(Started())
    )
    return Order(execution_row(**values | row), part, once)


@contextmanager
def place(database_url: str, folder: Path, redis_url: str = NO_REDIS) -> Iterator[Place]:
    """An installation with a migrated, empty database."""
    made = Place(database_url, folder, redis_url)
    try:
        schema.upgrade(made.store)
        yield made
    finally:
        made.store.close()


@dataclass
class Here:
    """A worker that runs on this event loop."""

    place: Place
    worker: Worker
    bus: Bus
    wakes: Wakes

    def start(self, published: Published, items: Sequence[Mapping[str, Any]] = ({},), **more: Any) -> str:
        """The id of a new execution; the worker is woken."""
        made = order(published, items, **more)
        self.place.insert(made)
        self.wakes.send("drafts" if made.row["slot"] == "draft" else "runs")
        return str(made.row["id"])

    async def ended(self, *ids: str, limit_s: float = 15.0) -> list[str]:
        """The statuses of executions, once all have ended."""
        return await asyncio.to_thread(self.place.ended, *ids, limit_s=limit_s)

    async def wait(self, condition: Callable[[], Any], what: str = "it", limit_s: float = 15.0) -> Any:
        """What the condition gives once it is true; it is asked in a thread."""
        return await asyncio.to_thread(self.place.wait, condition, what, limit_s)


@asynccontextmanager
async def working(place: Place, *, slots: Mapping[str, int] = SLOTS, bus: Bus | None = None) -> AsyncIterator[Here]:
    """A worker on this event loop, until the end of the block."""
    own = bus or RedisBus(place.redis_url)
    wakes = Wakes(place.redis_url)
    sending = Wakes(place.redis_url)
    local = LocalServices(folders=[], http_allow=["127.0.0.1"])
    worker = Worker(place.store, own, wakes, place.payloads, local, vault, slots=slots)
    running = asyncio.create_task(worker.run())
    try:
        yield Here(place, worker, own, sending)
    finally:
        worker.stop()
        await asyncio.wait_for(running, 10)
        await local.aclose()
        await own.close()
        wakes.close()
        sending.close()


@dataclass
class Apart:
    """A worker in a process of its own."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def worker_process(place: Place) -> Iterator[Apart]:
    """A worker in a process of its own, which has begun to claim."""
    told, tells = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.runtime", place.database_url, place.folder, place.redis_url, str(tells)],
        cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[tells],
    )  # fmt: skip
    os.close(tells)
    apart = Apart(process)
    try:
        assert select.select([told], [], [], 20)[0], "the worker did not start in time"
        assert os.read(told, 10) == b"ready", "the worker ended at once"
        yield apart
    finally:
        apart.kill()
        os.close(told)


async def _work(database_url: str, folder: str, redis_url: str, tells: str) -> None:
    async with working(Place(database_url, Path(folder), redis_url)) as here:
        await here.wait(lambda: here.place.rows("SELECT 1 FROM worker WHERE pid = :pid", pid=os.getpid()))
        os.write(int(tells), b"ready")
        await asyncio.Event().wait()


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, run on an event loop of its own."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
