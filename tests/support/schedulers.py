"""Schedulers in processes of their own, and what they started."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from engine.runtime.orders import unpack_order
from engine.runtime.store import Store

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from engine.runtime.parts import Parts
from engine.runtime.scheduler import Scheduler, run_until_signal
from engine.runtime.settings import Settings

async def main():
    home, database_url, redis_url = sys.argv[1:]
    parts = Parts(Settings(home=Path(home), database_url=database_url, redis_url=redis_url))
    await run_until_signal(Scheduler(parts))
    await parts.close()

asyncio.run(main())
"""


@contextmanager
def scheduler_process(home: Path, database_url: str, redis_url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A running scheduler: killed at the end, where it has not ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home), database_url, redis_url], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started(store: Store) -> Counter[tuple[str, str]]:
    """(workflow id, time of its item) -> how many executions there are."""
    with store.read() as connection:
        found = connection.execute(
            text(
                "SELECT e.workflow_id, r.data FROM execution e JOIN record r ON r.execution_id = e.id AND r.part = 0 "
                "WHERE e.source = 'schedule'"
            )
        ).all()
    times: Counter[tuple[str, str]] = Counter()
    for workflow_id, data in found:
        (item,) = unpack_order(data).items or ()
        times[workflow_id, item["time"]] += 1
    return times
