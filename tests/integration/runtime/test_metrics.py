"""`/metrics`: all processes as one text that Prometheus reads, and what the database shows."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from engine.runtime import metrics, schema
from engine.runtime.claims import Claim
from engine.runtime.ids import new_id, now_ms
from engine.runtime.measures import Measures
from engine.runtime.metrics import COUNTED, Scrape, merged, metrics_text, publish_metrics
from engine.runtime.parts import Parts
from engine.runtime.settings import Settings
from engine.runtime.store import Store
from tests.support.rows import add

ROOT = Path(__file__).parents[3]
PROCESS = """
import asyncio, sys
from pathlib import Path
from engine.runtime.measures import Measures
from engine.runtime.metrics import publish_metrics
from engine.runtime.parts import Parts
from engine.runtime.settings import Settings

measures = Measures()
measures.fired(int(sys.argv[3]))
parts = Parts(Settings(home=Path(sys.argv[1]), redis_url=sys.argv[2]))
asyncio.run(publish_metrics(parts, measures, "scheduler"))
"""


@pytest.fixture
def parts(database_url, redis_server, tmp_path):
    parts = Parts(Settings(home=tmp_path, database_url=database_url, redis_url=redis_server.url))
    schema.upgrade(parts.store)
    yield parts
    asyncio.run(parts.close())


def samples(data: bytes) -> dict[tuple[str, ...], float]:
    """(name, then the values of its labels by their names' order) -> value; no sample is there twice."""
    found: dict[tuple[str, ...], float] = {}
    names: set[str] = set()
    for family in text_string_to_metric_families(data.decode()):
        assert family.name not in names, f"{family.name} comes in two places"
        names.add(family.name)
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def shown(parts: Parts) -> dict[tuple[str, ...], float]:
    return samples(Scrape(parts).text(Measures(), "web"))


def execution(parts: Parts, status: str, **values: object) -> None:
    with parts.store.write() as connection:
        add(connection, "execution", **{"status": status, "slot": "async", "limited": 0, "priority": 1, **values})


def test_an_empty_installation_shows_zeros(parts):
    found = shown(parts)
    assert found["flowleaf_database_up",] == found["flowleaf_redis_up",] == 1
    assert found["flowleaf_queue_depth", "async"] == found["flowleaf_queue_oldest_seconds", "draft"] == 0
    assert found["flowleaf_executions", "failed"] == found["flowleaf_workers",] == 0
    assert found["flowleaf_database_bytes",] > 10_000
    assert found["flowleaf_disk_free_bytes",] > 0


def test_the_queue_is_counted_by_slot_with_the_age_of_its_oldest(parts):
    now = now_ms()
    execution(parts, "queued", id=new_id(now - 5_000), priority=2)
    execution(parts, "queued", id=new_id(now - 30_000), priority=1, project_id=new_id())
    execution(parts, "queued", id=new_id(now - 50_000), slot="code")
    execution(parts, "queued", id=new_id(now - 70_000), slot="heavy", limited=1)
    execution(parts, "succeeded", id=new_id(now - 90_000))
    found = shown(parts)
    depths = {slot: found["flowleaf_queue_depth", slot] for slot in ("async", "code", "heavy", "draft")}
    assert depths == {"async": 2, "code": 1, "heavy": 1, "draft": 0}
    ages = [found["flowleaf_queue_oldest_seconds", slot] for slot in ("async", "code", "heavy", "draft")]
    assert ages == pytest.approx([30, 50, 70, 0], abs=2)


def test_executions_are_counted_by_status_and_workers_by_their_leases(parts):
    with parts.store.write() as connection:
        for number in range(3):
            add(connection, "worker", lease_until_ms=now_ms() + (60_000 if number else -1))
        add(connection, "workflow")
    for status, count in {"running": 2, "needs_decision": 3, "failed": 1, "waiting": 1, "succeeded": 4}.items():
        for _ in range(count):
            execution(parts, status)
    found = shown(parts)
    assert {key[1]: value for key, value in found.items() if key[0] == "flowleaf_executions" and value} == {
        "running": 2, "needs_decision": 3, "failed": 1, "waiting": 1,
    }  # fmt: skip
    assert found["flowleaf_workers",] == 2


def test_what_a_scrape_costs_does_not_grow_with_the_queue(parts):
    with parts.store.write(durable=False) as connection:
        statement = text(
            "INSERT INTO execution (id, project_id, workflow_id, kind, source, slot, priority, limited, status, fence, "
            "attempts, cancel, created_ms) "
            "VALUES (:id, 'p', 'w', 'published', 'api', 'async', 1, 0, 'queued', 0, 0, 0, 0)"
        )
        connection.execute(statement, [{"id": new_id()} for _ in range(COUNTED + 5_000)])
    if not parts.store.is_sqlite:
        with parts.store.write() as connection:
            connection.execute(text("ANALYZE execution"))
    began = time.perf_counter()
    found = shown(parts)
    assert time.perf_counter() - began < 0.5  # generous: tests run beside others
    assert found["flowleaf_queue_depth", "async"] == COUNTED


def test_every_count_goes_by_an_index_on_sqlite_too(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'flowleaf.db'}")
    schema.upgrade(store)
    values = {"project": "p", "status": "failed", "count": 5, "slot": "async", "priority": 1}
    with store.read() as connection:
        for statement in (metrics.OTHERS, metrics.QUEUED, metrics.FIRST, metrics.LIMITED, metrics.RUNNING):
            found = connection.execute(text(f"EXPLAIN QUERY PLAN {statement.text}"), values)
            plan = " ".join(str(row[3]) for row in found)
            assert "USING INDEX ix_execution" in plan or "USING COVERING INDEX ix_execution" in plan, plan
    store.close()


def test_all_processes_are_one_text_told_apart_by_a_label(parts, redis_server):
    own = Measures()
    own.fired(1)
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(parts.home), redis_server.url, str(n)], cwd=ROOT)
        for n in (20, 300)
    ]
    try:
        wanted = {f"-{process.pid}": n for process, n in zip(processes, (20.0, 300.0), strict=True)}
        ends_at = time.monotonic() + 15
        while True:
            found = samples(metrics_text(parts, own))
            firings = {key[1]: value for key, value in found.items() if key[0] == "flowleaf_firings_total"}
            if len(firings) == 3:
                break
            assert time.monotonic() < ends_at, firings
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert {id_: value for id_, value in firings.items() if id_.startswith("web-")}.popitem()[1] == 1
    for ending, value in wanted.items():
        (id_,) = [id_ for id_ in firings if id_.endswith(ending)]
        assert id_.startswith("scheduler-")
        assert firings[id_] == value


def test_what_a_process_published_is_gone_some_time_after_its_end(parts, redis_server, monkeypatch):
    monkeypatch.setattr("engine.runtime.metrics.EXPIRE_S", 1)

    async def publish() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(publish_metrics(parts, Measures(), "worker"), 0.3)

    asyncio.run(publish())
    assert any("worker-" in key[1] for key in samples(metrics_text(parts, Measures())) if len(key) > 1)
    time.sleep(1.2)
    assert not any("worker-" in key[1] for key in samples(metrics_text(parts, Measures())) if len(key) > 1)


def test_without_redis_and_database_there_is_still_an_answer(mortal_redis, tmp_path):
    parts = Parts(Settings(home=tmp_path, redis_url=mortal_redis.url))
    own = Measures()
    own.fired(7)
    mortal_redis.kill()
    began = time.monotonic()
    found = samples(metrics_text(parts, own))
    assert time.monotonic() - began < 1
    assert found["flowleaf_redis_up",] == found["flowleaf_database_up",] == 0
    assert next(value for key, value in found.items() if key[0] == "flowleaf_firings_total") == 7
    asyncio.run(parts.close())


def test_labels_and_values_survive_merging_whatever_they_hold():
    text_ = (
        b'# HELP a_total Says "what" {x} it is.\n# TYPE a_total counter\n'
        b'a_total{l="v } \\"w\\" \\\\"} 1.0\na_total{l=""} 2e+06\n'
        b"# HELP a_created When.\n# TYPE a_created gauge\na_created 1.0\n"
        b"# HELP b It.\n# TYPE b gauge\nb NaN\n"
    )
    found = samples(merged({'p"1\\': text_, "p2": text_}))
    assert found["a_total", 'v } "w" \\', 'p"1\\'] == 1
    assert found["a_total", "", "p2"] == 2_000_000
    assert {key[0] for key in found} == {"a_total", "b"}
    assert merged({"p1": text_, "p2": text_}).count(b"# HELP a_total ") == 1


def test_every_metric_is_in_the_operators_pages(parts):
    page = (ROOT / "docs" / "operations.md").read_text()
    own = Measures()
    claim = Claim(
        "id", "project", "workflow", None, "published", "api", None, "async", 1, 1, None, None, None, created_ms=0
    )
    own.waited(claim, 1.0)
    own.execution_ended(claim, "succeeded", 5.0, {"n": ("core.set", "succeeded", 1.0)})
    own.reused(1, 1)
    own.removed("executions", 1)
    names = {
        family.name
        for family in text_string_to_metric_families(metrics_text(parts, own).decode())
        if family.name.startswith("flowleaf_")
    }
    assert len(names) >= 18
    assert [name for name in sorted(names) if f"`{name}" not in page] == []
