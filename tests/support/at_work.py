"""The service on a real database and Redis, with a worker in a thread of this process."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.runtime import schema
from engine.runtime.parts import Parts
from engine.runtime.service import OWNER, ExecutionDetail, Preview, Service
from engine.runtime.service.workflow_rows import packed_workflow
from engine.runtime.settings import Settings
from engine.runtime.worker import SLOTS, Worker
from engine.workflow import Workflow, save

ENDED = ("succeeded", "failed", "cancelled", "skipped", "needs_decision")
LIMIT_S = 15.0


class AtWork:
    """What a test sees of it.

    Attributes:
        service: called from the test's thread.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.parts = Parts(settings)
        self.service = Service(self.parts)
        self.store = self.parts.store

    def create(self, workflow: Workflow) -> str:
        return self.service.workflows.create(OWNER, save(workflow)).id

    def publish(self, workflow: Workflow) -> str:
        """The id of the workflow, published."""
        workflow_id = self.create(workflow)
        self.service.workflows.publish(OWNER, workflow_id)
        return workflow_id

    def change(self, workflow_id: str, workflow: Workflow) -> None:
        """Make the draft another one."""
        self.write("UPDATE workflow SET draft = :draft WHERE id = :id", id=workflow_id, draft=packed_workflow(workflow))

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(text(statement), values).all())

    def write(self, statement: str, **values: Any) -> None:
        with self.store.write() as connection:
            connection.execute(text(statement), values)

    def status(self, execution_id: str) -> str:
        return self.service.executions.find(OWNER, execution_id).status

    def wait(self, execution_id: str, *statuses: str) -> ExecutionDetail:
        """The execution once it has one of these statuses; without any, once it has ended."""
        ends = time.monotonic() + LIMIT_S
        while (status := self.status(execution_id)) not in (statuses or ENDED):
            assert time.monotonic() < ends, f"still {status}"
            time.sleep(0.005)
        return self.service.executions.get(OWNER, execution_id)

    def previewed(self, workflow_id: str, **more: Any) -> Preview:
        """The preview once the draft run that it queued has ended."""
        found = self.service.drafts.preview(OWNER, workflow_id, **more)
        if found.execution_id is None:
            return found
        self.wait(found.execution_id)
        more = {name: value for name, value in more.items() if name in ("target", "sample", "trigger_id")}
        return self.service.drafts.preview(OWNER, workflow_id, **more)

    @contextmanager
    def worker(self, slots: Mapping[str, int] = SLOTS) -> Iterator[Worker]:
        """A worker, on a loop of its own."""
        found: list[Any] = []
        running = threading.Event()

        async def work() -> None:
            parts = Parts(self.settings)
            local = parts.local()
            worker = Worker(parts.store, parts.bus, parts.wakes, parts.payloads, local, parts.vault, slots=slots)
            found.extend((worker, asyncio.get_running_loop()))
            running.set()
            try:
                await worker.run()
            finally:
                await local.aclose()
                await parts.close()

        thread = threading.Thread(target=asyncio.run, args=(work(),), name="worker")
        thread.start()
        assert running.wait(LIMIT_S)
        worker, loop = found
        try:
            yield worker
        finally:
            loop.call_soon_threadsafe(worker.stop)
            thread.join(LIMIT_S)
            assert not thread.is_alive()


@contextmanager
def at_work(home: Path, database_url: str, redis_url: str, **settings: Any) -> Iterator[AtWork]:
    """The service with a migrated database; without a worker."""
    made = AtWork(
        Settings(home=home, database_url=database_url, redis_url=redis_url, http_allow=("127.0.0.1",), **settings)
    )
    schema.upgrade(made.store)
    try:
        yield made
    finally:
        asyncio.run(made.parts.close())
