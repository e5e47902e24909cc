"""The figures of the runtime: `make bench-runtime` writes build/bench/runtime.json.

The load generator runs on the same cores. Traffic goes to 127.0.0.1 only, for a bounded time.
"""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Order, execution_row, insert_orders
from engine.runtime.models import Execution
from engine.runtime.orders import pack_items
from engine.runtime.service.actor import LOCAL_PROJECT
from engine.runtime.store import Store, chunks
from engine.workflow import Workflow, as_data
from tests.benchmarks.engine import cpu, fsync_ms, orders_workflow
from tests.benchmarks.load import BODY
from tests.benchmarks.up import Up, cpu_s, installation, load, pss_mb
from tests.support.build import chain, node
from tests.support.http_server import http_server
from tests.support.servers import postgres

OUT = Path("build/bench/runtime.json")
RUNS = 3
SECONDS = float(os.environ.get("BENCH_S", "8"))
QUEUED = 100_000
LISTED = 1_000_000
EXECUTION_TABLE: Any = Execution.__table__
Figures = dict[str, float]


def orders(respond: str = "at_once", path: str = "orders") -> Workflow:
    """The workflow of five nodes, answering in this way."""
    drawn = orders_workflow()
    params = {"path": path, "respond": respond}
    nodes = tuple(n.model_copy(update={"params": params}) if n.type == "core.webhook" else n for n in drawn.nodes)
    return drawn.model_copy(update={"name": f"Orders {path}", "nodes": nodes})


def store_of(up: Up) -> Store:
    """The installation's database."""
    return Store(up._environment.get("FLOWLEAF_DATABASE_URL") or f"sqlite:///{up.home / 'flowleaf.db'}")


def wait_done(store: Store, timeout_s: float = 180) -> None:
    """Wait until nothing is queued or running."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with store.read() as connection:
            if not connection.execute(text("SELECT 1 FROM execution WHERE status = 'queued' LIMIT 1")).first() and not (
                connection.execute(text("SELECT 1 FROM execution WHERE status = 'running' LIMIT 1")).first()
            ):
                return
        time.sleep(0.02)
    raise TimeoutError("executions did not end")


def count(store: Store) -> int:
    """How many executions succeeded."""
    with store.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM execution WHERE status = 'succeeded'")).scalar_one())


def throughput(up: Up, more_pids: Callable[[], list[int]]) -> tuple[float, float]:
    """Executions per second, accepted and finished; and per second of processor time of all that serves them."""
    store = store_of(up)
    before, pids = count(store), [*up.processes(), *more_pids()]
    used, began = cpu_s(pids), time.perf_counter()
    load(f"{up.url}/hooks/orders", seconds=SECONDS)
    wait_done(store)
    took, done = time.perf_counter() - began, count(store) - before
    used = cpu_s([*up.processes(), *more_pids()]) - used
    store.close()
    return done / took, done / used


def finish(up: Up, rate: float) -> tuple[dict[int, float], float]:
    """Open loop: quantiles of due -> finished, and the 95th of due -> accepted; milliseconds."""
    store = store_of(up)
    result = load(f"{up.url}/hooks/orders", seconds=SECONDS, rate=rate, times=True)
    wait_done(store)
    took = finished_after(store, result["due_at"])
    store.close()
    return {q: took[min(int(len(took) * q / 100), len(took) - 1)] for q in (50, 95, 99)}, result["p95_ms"]


def finished_after(store: Store, due_at: dict[str, float]) -> list[float]:
    """How long after they were due executions had finished, sorted; milliseconds."""
    took: list[float] = []
    with store.read() as connection:
        for row in connection.execute(text("SELECT id, finished_ms FROM execution")):
            if row[0] in due_at:
                took.append(row[1] - due_at[row[0]] * 1000)
    return sorted(took)


def mixed(up: Up) -> float:
    """2 % of executions take 2 s, 500 a second: the others' 95th of due -> finished; milliseconds."""
    with http_server() as slow:
        drawn = chain(
            node("call", "core.webhook", {"path": "slow"}),
            node("wait", "core.http_request", {"url": f"{slow.url}/slow?s=2", "timeout_s": 20}),
        )
        up.publish(drawn.model_copy(update={"name": "Slow"}))
        store = store_of(up)
        others: list[Any] = []
        beside = threading.Thread(
            target=lambda: others.append(load(f"{up.url}/hooks/slow", seconds=SECONDS, rate=10, connections=10))
        )
        beside.start()
        result = load(f"{up.url}/hooks/orders", seconds=SECONDS, rate=490, times=True)
        beside.join()
        wait_done(store)
        took = finished_after(store, result["due_at"])
        store.close()
        assert others[0]["statuses"].keys() == {"202"}
        return took[int(len(took) * 0.95)]


def edits(up: Up) -> float:
    """An edit's commit beside full load: the 95th; milliseconds."""
    made = up.api("POST", "/workflows", json=_named("Edited"))
    beside = threading.Thread(target=lambda: load(f"{up.url}/hooks/orders", seconds=SECONDS))
    beside.start()
    time.sleep(0.5)
    script = [sys.executable, "-m", "tests.benchmarks.edits", made["id"], str(SECONDS - 1.5)]
    done = subprocess.run(script, env=up._environment, capture_output=True, check=True)
    beside.join()
    took = sorted(json.loads(done.stdout))
    return float(took[int(len(took) * 0.95)])


def _named(name: str) -> dict[str, Any]:
    return as_data(orders(path="edited").model_copy(update={"name": name}))


def pickup(up: Up) -> float:
    """Idle: the 95th of accepted -> claimed; milliseconds, whole ones."""
    store = store_of(up)
    load(f"{up.url}/hooks/orders", seconds=SECONDS, rate=12, connections=2)
    wait_done(store)
    with store.read() as connection:
        rows = connection.execute(text("SELECT started_ms - created_ms FROM execution ORDER BY id DESC LIMIT 60"))
        took = sorted(rows.scalars())
    store.close()
    return float(took[int(len(took) * 0.95)])


def recovery(up: Up) -> float:
    """From kill -9 of the worker until its execution runs again; seconds."""
    with http_server() as slow:
        drawn = chain(
            node("call", "core.webhook", {"path": "long"}),
            node("wait", "core.http_request", {"url": f"{slow.url}/slow?s=30", "timeout_s": 60}),
        )
        up.publish(drawn.model_copy(update={"name": "Long"}))
        store = store_of(up)
        load(f"{up.url}/hooks/long", seconds=0.1, rate=10, connections=1)

        def running() -> Any:
            with store.read() as connection:
                return connection.execute(
                    text("SELECT attempts FROM execution WHERE status = 'running' ORDER BY attempts DESC LIMIT 1")
                ).scalar()

        while running() is None:
            time.sleep(0.01)
        began = time.perf_counter()
        os.kill(up.worker(), signal.SIGKILL)
        while (running() or 0) < 2:
            time.sleep(0.01)
            assert time.perf_counter() - began < 60
        took = time.perf_counter() - began
        with store.write() as connection:
            connection.execute(text("UPDATE execution SET cancel = 1 WHERE status = 'running'"))
        wait_done(store)
        store.close()
        return took


def cold_restart(up: Up, workflow_id: str) -> float:
    """From the start with many queued until all have ended; seconds."""
    up.stop()
    store = store_of(up)
    with store.read() as connection:
        revision = connection.execute(
            text("SELECT revision_id FROM workflow WHERE id = :id"), {"id": workflow_id}
        ).scalar_one()
    record = pack_items([{"body": BODY, "query": {}, "headers": {}, "params": {}, "method": "POST", "path": "orders"}])
    many = [
        Order(
            execution_row(
                id=new_id(), project_id=LOCAL_PROJECT, workflow_id=workflow_id, revision_id=revision,
                kind="published", source="webhook", trigger_id="call", slot="async",
            ),
            record,
        )
        for _ in range(QUEUED)
    ]  # fmt: skip
    for some in chunks(many, 5_000):
        with store.write() as connection:
            insert_orders(connection, some)
    began = time.perf_counter()
    up.start()
    wait_done(store)
    store.close()
    return time.perf_counter() - began


def lists(up: Up, workflow_id: str) -> float:
    """Pages of the list of executions with a million of them: the 95th; milliseconds."""
    store = store_of(up)
    began = now_ms() - LISTED * 10
    statuses = ["succeeded"] * 97 + ["failed", "cancelled", "failed"]
    for start in range(0, LISTED, 20_000):
        rows = [
            {
                **execution_row(
                    id=new_id(began + i * 10), project_id=LOCAL_PROJECT, workflow_id=workflow_id, kind="published",
                    source="webhook", slot="async", created_ms=began + i * 10,
                ),
                "status": statuses[i % 100], "started_ms": began + i * 10, "finished_ms": began + i * 10 + 5,
            }
            for i in range(start, start + 20_000)
        ]  # fmt: skip
        with store.write() as connection:
            connection.execute(EXECUTION_TABLE.insert(), rows)
    store.close()
    took: list[float] = []
    for query in ("", "?status=failed", f"?workflow_id={workflow_id}", "?status=succeeded", "?status=running",
                  f"?workflow_id={workflow_id}&status=cancelled"):  # fmt: skip
        cursor = ""
        for _ in range(15):
            sign = "&" if query else "?"
            began_s = time.perf_counter()
            page = up.api("GET", f"/executions{query}{sign}limit=50" + (f"&cursor={cursor}" if cursor else ""))
            took.append((time.perf_counter() - began_s) * 1000)
            cursor = page["next"]
            if not cursor:
                break
    took.sort()
    return took[int(len(took) * 0.95)]


def several(work: Callable[[], Any]) -> list[Any]:
    """What several runs give."""
    return [work() for _ in range(RUNS)]


def on_sqlite() -> Figures:
    """All figures on SQLite."""
    with installation() as up:
        time.sleep(10)
        found: Figures = {"idle_mb": pss_mb(list(up.processes())), "up_s": up.started_s}
        workflow_id = up.publish(orders())
        up.publish(orders("last_node", "answered"))
        load(f"{up.url}/hooks/orders", seconds=2)  # warm
        found["pickup_p95_ms"] = pickup(up)
        rates = several(lambda: throughput(up, list))
        found["exec_per_s_sqlite"] = statistics.median(r[0] for r in rates)
        found["exec_per_cpu_s_sqlite"] = statistics.median(r[1] for r in rates)
        answered = several(lambda: load(f"{up.url}/hooks/answered", seconds=SECONDS))
        found["respond_per_s"] = statistics.median(r["per_s"] for r in answered)
        found["respond_p95_ms"] = statistics.median(r["p95_ms"] for r in answered)
        ended = several(lambda: finish(up, 500)[0])
        for q in (50, 95, 99):
            found[f"finish_p{q}_ms"] = statistics.median(r[q] for r in ended)
        found["accept_1000_p95_ms"] = statistics.median(several(lambda: finish(up, 1000)[1]))
        found["mixed_p95_ms"] = mixed(up)
        found["edit_commit_p95_ms"] = edits(up)
        found["recovery_s"] = recovery(up)
        found["cold_restart_s"] = cold_restart(up, workflow_id)
        found["list_p95_ms"] = lists(up, workflow_id)
        return found


def on_postgres() -> Figures:
    """The rates on PostgreSQL, with synchronous commits."""
    with postgres() as server, server.database() as url, installation(FLOWLEAF_DATABASE_URL=url) as up:
        up.publish(orders())
        load(f"{up.url}/hooks/orders", seconds=2)
        rates = several(lambda: throughput(up, lambda: [server.pid, *children(server.pid)]))
        return {
            "exec_per_s_postgres": statistics.median(r[0] for r in rates),
            "exec_per_cpu_s_postgres": statistics.median(r[1] for r in rates),
        }


def children(pid: int) -> list[int]:
    """Pids of a process's children."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def main() -> None:
    """Measure everything, print it, write it."""
    OUT.unlink(missing_ok=True)
    figures: dict[str, Any] = {**on_sqlite(), **on_postgres()}
    with tempfile.TemporaryDirectory() as folder:
        figures["fsync_ms"] = fsync_ms(Path(folder))
    figures = {name: round(value, 3) for name, value in figures.items()}
    figures |= {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
