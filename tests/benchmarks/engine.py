"""Figures of the engine: `python -m tests.benchmarks.engine` writes build/bench/engine.json.

Every figure is the median of several runs. They are for comparing on one machine, never asserted by tests.
"""

import asyncio
import csv
import gc
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.api import Request
from engine.checks import check
from engine.events import NodeResult
from engine.executor import execute
from engine.expressions import Scope, parse
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Workflow, load, save
from tests.support.build import chain, node, workflow

OUT = Path("build/bench/engine.json")
FLOWLEAF = [str(Path(sys.executable).parent / "flowleaf")]


def median_ms(work: Callable[[], Any], times: int = 7) -> float:
    """Median wall time of `work`, milliseconds."""
    taken = []
    for _ in range(times):
        gc.collect()
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def orders_workflow() -> Workflow:
    """Five nodes as they are in daily use: a call, fields, a branch, fields, an answer."""
    big = [{"value": "{{ item.gross }}", "test": "greater_than", "other": 100}]
    return workflow(
        node("call", "core.webhook", {"path": "orders"}),
        node("gross", params={"fields": {"gross": "{{ item.body.total * 1.2 }}", "who": "{{ item.body.name }}"}}),
        node("big", "core.if", {"conditions": big}),
        node("text", params={"fields": {"text": "Order of {{ item.who }}: {{ item.gross }}"}}),
        node("answer", "core.respond"),
        paths=("call > gross > big", "big.true > text > answer"),
    )


def executions(drawn: Workflow, request: Request | None, count: int, registry: Registry) -> float:
    """Microseconds for one execution, planned before, events drained."""
    services = LocalServices()
    steps = plan(drawn, registry)

    async def one(number: int) -> None:
        run_data: dict[str, NodeResult] = {}
        async for _ in execute(str(number), drawn, steps, registry, services, run_data, request):
            pass
        assert all(result.status == "succeeded" for result in run_data.values())

    async def many() -> float:
        began = time.perf_counter()
        for number in range(count):
            await one(number)
        return (time.perf_counter() - began) / count * 1e6

    asyncio.run(many())
    return statistics.median(asyncio.run(many()) for _ in range(7))


def executor_5_nodes_us(registry: Registry) -> float:
    """One execution of 5 nodes with 1 item."""
    return executions(orders_workflow(), Request([{"total": 250, "name": "Ada"}]), 500, registry)


def expression_100k_ms() -> float:
    """100,000 items x `{{ item.price * 1.2 }}`."""
    rows = [{"price": float(i % 1000), "name": "x"} for i in range(100_000)]
    expression = parse("{{ item.price * 1.2 }}")
    assert expression is not None
    return median_ms(lambda: expression.evaluate_all(Scope(items=rows), rows))


def pipeline_10k_ms(registry: Registry) -> float:
    """10,000 items: trigger -> set with 3 expressions -> if -> filter -> sort -> summarize; plan included."""
    chance = random.Random(7)
    rows = [
        {
            "id": i,
            "price": round(chance.uniform(1, 500), 2),
            "quantity": chance.randint(1, 9),
            "country": c,
            "name": "x",
        }
        for i, c in enumerate(chance.choices(["DE", "FR", "US", "BR"], k=10_000))
    ]
    drawn = workflow(
        node("start", "core.manual"),
        node(
            "set",
            params={
                "fields": {
                    "total": "{{ item.price * item.quantity }}",
                    "label": "{{ item.country }}-{{ item.id }}",
                    "upper": "{{ item.name | upper }}",
                }
            },
        ),
        node("if", "core.if", {"conditions": [{"value": "{{ item.total }}", "test": "greater_than", "other": 100}]}),
        node(
            "filter",
            "core.filter",
            {"conditions": [{"value": "{{ item.country }}", "test": "not_equals", "other": "US"}]},
        ),
        node("sort", "core.sort", {"by": [{"field": "total", "order": "descending"}]}),
        node("sum", "core.summarize", {"group_by": ["country"], "figures": [{"function": "sum", "field": "total"}]}),
        paths=("start > set > if", "if.true > filter > sort > sum"),
    )
    services = LocalServices()

    async def go() -> None:
        run_data: dict[str, NodeResult] = {}
        steps = plan(drawn, registry)
        async for _ in execute("e", drawn, steps, registry, services, run_data, Request(rows)):
            pass
        assert run_data["sum"].status == "succeeded", run_data["sum"]

    return median_ms(lambda: asyncio.run(go()))


def million(folder: Path) -> tuple[float, float]:
    """1,000,000 rows of CSV -> filter -> summarize as a whole process: seconds, and megabytes at the most."""
    chance = random.Random(7)
    with (folder / "million.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ordered_at", "customer", "country", "product", "quantity", "unit_price", "status"])
        countries = chance.choices(["DE", "FR", "US", "BR", "IN"], k=1000)
        for i in range(1_000_000):
            price = f"{(i * 37 % 50_000) / 100:.2f}"
            writer.writerow(
                [i, f"2026-{i % 12 + 1:02}-{i % 28 + 1:02}", f"C{i % 5000:05}", countries[i % 1000],
                 f"product {i % 90}", i % 9 + 1, price, "done" if i % 5 else "open"]
            )  # fmt: skip
    drawn = chain(
        node("read", "core.read_file", {"path": "million.csv"}),
        node(
            "filter",
            "core.filter",
            {"conditions": [{"value": "{{ item.unit_price }}", "test": "greater_than", "other": 100}]},
        ),
        node(
            "sum",
            "core.summarize",
            {"group_by": ["country"], "figures": [{"function": "sum", "field": "quantity"}, {"function": "count"}]},
        ),
    )
    (folder / "million.json").write_text(save(drawn))
    seconds, kilobytes = [], []
    for _ in range(3):
        began = time.perf_counter()
        process = subprocess.Popen([*FLOWLEAF, "run", "million.json"], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0
        seconds.append(time.perf_counter() - began)
        kilobytes.append(used.ru_maxrss)
    return statistics.median(seconds), statistics.median(kilobytes) / 1024


def plan_2000_ms() -> float:
    """2,000 nodes of eight kinds in a tree: load the file's text, check, plan; nothing known from before.

    Three of eight nodes hold an expression, every one of them different.
    """

    def kind(i: int, run: int) -> tuple[str, dict[str, Any]]:
        test = {"value": f"{{{{ item.price_{i}_{run} }}}}", "test": "greater_than", "other": i}
        return [
            ("core.set", {"fields": {f"f{i}": f"{{{{ item.price * {i + run / 10} }}}}"}}),
            ("core.if", {"conditions": [test]}),
            ("core.sort", {"by": [{"field": f"f{i}"}]}),
            ("core.filter", {"conditions": [test]}),
            ("core.limit", {"count": i}),
            ("core.summarize", {"group_by": [f"f{i}"]}),
            ("core.split_out", {"field": f"f{i}"}),
            ("core.set", {"fields": {"done": True}}),
        ][i % 8]

    def text(run: int) -> str:
        nodes = [node("n0", "core.manual"), *(node(f"n{i}", *kind(i, run)) for i in range(1, 2000))]
        parent = {i: f"n{(i - 1) // 2}" for i in range(1, 2000)}
        paths = tuple(f"{parent[i]}{'.true' if nodes[(i - 1) // 2].type == 'core.if' else ''} > n{i}" for i in parent)
        return save(workflow(*nodes, paths=paths))

    texts = iter([text(run) for run in range(7)])

    def work() -> None:
        registry = Registry()
        drawn = load(next(texts))
        assert not check(drawn, registry)
        assert len(plan(drawn, registry)) == 2000

    return median_ms(work)


def process_ms(arguments: list[str], cwd: Path, times: int = 9) -> float:
    """Median wall time of the whole command, interpreter start included."""

    def work() -> None:
        subprocess.run([*FLOWLEAF, *arguments], cwd=cwd, check=True, capture_output=True, env=environment())

    work()
    return median_ms(work, times)


def environment() -> dict[str, str]:
    """The environment of a child that finds this checkout from elsewhere."""
    return {**os.environ, "PYTHONPATH": str(Path.cwd())}


def three_nodes(folder: Path) -> Path:
    """A file of three nodes on a small CSV."""
    (folder / "small.csv").write_text("name,total\nAda,250\nBen,40\n")
    drawn = chain(
        node("read", "core.read_file", {"path": "small.csv"}),
        node(
            "filter",
            "core.filter",
            {"conditions": [{"value": "{{ item.total }}", "test": "greater_than", "other": 100}]},
        ),
        node("sum", "core.summarize", {"figures": [{"function": "sum", "field": "total"}]}),
    )
    path = folder / "three.json"
    path.write_text(save(drawn))
    return path


def fit(points: list[tuple[int, float]]) -> tuple[float, float, float]:
    """Least squares of cost over size: slope, offset, and R squared."""
    slope, offset = statistics.linear_regression([p[0] for p in points], [p[1] for p in points])
    return slope, offset, statistics.correlation([p[0] for p in points], [p[1] for p in points]) ** 2


def linear(registry: Registry) -> dict[str, float]:
    """How the cost of an execution grows with nodes and with items."""
    by_nodes = []
    for count in (10, 50, 100, 200, 400):
        drawn = chain(
            node("n0", "core.manual"),
            *(node(f"n{i}", params={"fields": {"a": "{{ item.a }}"}}) for i in range(1, count)),
        )
        by_nodes.append((count, executions(drawn, Request([{"a": 1}]), 20, registry)))
    by_items = []
    for count in (1000, 5000, 10_000, 20_000, 40_000):
        drawn = chain(node("start", "core.manual"), node("set", params={"fields": {"b": "{{ item.a * 2 }}"}}))
        by_items.append((count, executions(drawn, Request([{"a": i} for i in range(count)]), 3, registry)))
    per_node, _, nodes_r2 = fit(by_nodes)
    per_item, _, items_r2 = fit(by_items)
    for what, points, slope, r2 in (("node", by_nodes, per_node, nodes_r2), ("item", by_items, per_item, items_r2)):
        print(f"per {what}: {slope:.2f} us, R2 {r2:.4f}; " + ", ".join(f"{n}: {us:,.0f} us" for n, us in points))
    return {"per_node_us": per_node, "per_node_r2": nodes_r2, "per_item_us": per_item, "per_item_r2": items_r2}


def fsync_ms(folder: Path) -> float:
    """One write and fsync of 4 KB: how quick the disk is."""
    with (folder / "fsync").open("wb") as file:

        def work() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

        return median_ms(work, 25)


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Measure everything, print it, write it."""
    OUT.unlink(missing_ok=True)
    registry = Registry()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        three = three_nodes(folder)
        seconds, megabytes = million(folder)
        figures: dict[str, Any] = {
            "executor_5_nodes_us": executor_5_nodes_us(registry),
            "expression_100k_ms": expression_100k_ms(),
            "pipeline_10k_ms": pipeline_10k_ms(registry),
            "million_s": seconds,
            "million_mb": megabytes,
            "plan_2000_ms": plan_2000_ms(),
            "help_ms": process_ms(["--help"], folder),
            "run_3_nodes_ms": process_ms(["run", str(three)], folder),
            **linear(registry),
            "fsync_ms": fsync_ms(folder),
        }
    figures = {name: round(value, 3) for name, value in figures.items()}
    figures |= {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
    figures["self_peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
