"""Schedulers in processes of their own, and what they started."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.runtime.orders import unpack_order
from engine.runtime.store import Store

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from engine.runtime.logs import configure_logs
from engine.runtime.parts import Parts
from engine.runtime.scheduler import Scheduler, run_until_signal
from engine.runtime.settings import Settings

async def main():
    home, database_url, redis_url = sys.argv[1:]
    configure_logs("info", process="scheduler")
    parts = Parts(Settings(home=Path(home), database_url=database_url, redis_url=redis_url))
    await run_until_signal(Scheduler(parts))
    await parts.close()

asyncio.run(main())
"""


@contextmanager
def scheduler_process(home: Path, database_url: str, redis_url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A running scheduler that logs to `scheduler.log`: killed at the end, where it has not ended."""
    with (home / "scheduler.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home), database_url, redis_url], cwd=ROOT, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def logged(home: Path, event: str) -> list[dict[str, Any]]:
    """The lines of an event in the log of the schedulers; one that was cut off by a kill is left out."""
    lines = [line for line in (home / "scheduler.log").read_text().splitlines() if line.endswith("}")]
    return [line for line in map(json.loads, lines) if line["event"] == event]


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
