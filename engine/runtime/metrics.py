"""What `/metrics` says: what all processes count, and what the database shows now."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from engine.runtime.claims import PAIRS
from engine.runtime.ids import now_ms, time_of
from engine.runtime.measures import Measures
from engine.runtime.models import PRIORITIES, SLOTS, UNUSUAL
from engine.runtime.parts import Parts
from engine.runtime.redis_clients import thread_client
from engine.runtime.store import Store, StoreUnavailable

PUBLISH_S = 2.0
# What a process that died published is gone after this.
EXPIRE_S = 15
PREFIX = "flowleaf:metrics:"
PROCESSES = "flowleaf:metrics"  # a sorted set of their ids, by when they last published
DATABASE = 1  # where the url names none: not where the queue's maintenance lists all keys
LIMIT_S = 0.2
# Rows of the database that are counted at most: a scrape must stay cheap beside a long queue.
COUNTED = 10_000
COUNTED_OTHERS = 1_000  # those that have ended lie far apart: each is a page of its own
PROJECTS = 50
CACHED_S = 1.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

QUEUED = text(
    "SELECT count(*) FROM (SELECT 1 FROM execution WHERE status = 'queued' AND limited = 0 AND slot = :slot "
    "LIMIT :count) AS few"
)
FIRST = text(
    "SELECT id FROM execution WHERE status = 'queued' AND limited = 0 AND slot = :slot AND project_id = :project "
    "AND priority = :priority ORDER BY id LIMIT 1"
)
LIMITED = text(
    "SELECT slot, count(*), min(id) FROM (SELECT slot, id FROM execution WHERE status = 'queued' AND limited = 1 "
    "LIMIT :count) AS few GROUP BY slot"
)
RUNNING = text("SELECT count(*) FROM (SELECT 1 FROM execution WHERE status = 'running' LIMIT :count) AS few")
# The first condition is that of the index, which SQLite only uses where it stands there word for word.
OTHERS = text(
    "SELECT count(*) FROM (SELECT 1 FROM execution "
    "WHERE status IN ('failed', 'needs_decision', 'cancelled', 'skipped', 'waiting') "
    "AND project_id = :project AND status = :status LIMIT :count) AS few"
)
PROJECT_IDS = text("SELECT DISTINCT project_id FROM workflow LIMIT :count")


async def publish_metrics(parts: Parts, measures: Measures, process: str) -> None:
    """Let `/metrics` of the web process know what this one counts, every other second, until cancelled.

    Args:
        process: what it is, such as worker: its host and pid are added.
    """
    if not parts.settings.redis_url:
        return  # alone: nobody else asks
    client = thread_client(parts.settings.redis_url, database=DATABASE, limit_s=LIMIT_S)
    process_id = f"{process}-{socket.gethostname()}-{os.getpid()}"

    def publish() -> None:
        try:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.set(PREFIX + process_id, generate_latest(measures.registry), ex=EXPIRE_S)
                pipeline.zadd(PROCESSES, {process_id: time.time()})
                pipeline.zremrangebyscore(PROCESSES, 0, time.time() - EXPIRE_S)
                pipeline.execute()
        except (RedisError, OSError):
            return  # counted on; told with the next

    try:
        while True:
            await asyncio.to_thread(publish)
            await asyncio.sleep(PUBLISH_S)
    finally:
        client.close()


def metrics_text(parts: Parts, own: Measures, process: str = "web") -> bytes:
    """The metrics of the whole installation, as Prometheus reads them. Not on an event loop. Raises nothing."""
    with _LOCK:
        scrape = _SCRAPES.get(parts)
        if scrape is None:
            scrape = _SCRAPES[parts] = Scrape(parts)
    return scrape.text(own, process)


_LOCK = threading.Lock()
_SCRAPES: "WeakKeyDictionary[Parts, Scrape]" = WeakKeyDictionary()


class Scrape:
    """Gathers the metrics of an installation; what costs something is kept for a second."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        url = parts.settings.redis_url
        self._client = thread_client(url, database=DATABASE, limit_s=LIMIT_S) if url else None
        self._lock = threading.Lock()
        self._shown = b""
        self._shown_at_s = -CACHED_S

    def text(self, own: Measures, process: str) -> bytes:
        """All metrics: those of processes with the label `process`, those of the installation without."""
        others, redis_up = self._published()
        own_id = f"{process}-{socket.gethostname()}-{os.getpid()}"
        texts = {**others, own_id: generate_latest(own.registry)}
        return merged(texts) + self._installation(redis_up)

    def _published(self) -> tuple[dict[str, bytes], bool]:
        if self._client is None:
            return {}, False
        try:
            since = time.time() - EXPIRE_S
            ids = [id_.decode() for id_ in cast(list[bytes], self._client.zrangebyscore(PROCESSES, since, "+inf"))]
            found = cast(list[bytes | None], self._client.mget([PREFIX + id_ for id_ in ids]) if ids else [])
        except (RedisError, OSError):
            return {}, False
        return {id_: data for id_, data in zip(ids, found, strict=True) if data is not None}, True

    def _installation(self, redis_up: bool) -> bytes:
        with self._lock:  # scrapes at the same time wait for one reading
            if time.monotonic() - self._shown_at_s >= CACHED_S:
                registry = CollectorRegistry()
                registry.register(_Shown(list(installation(self._parts, redis_up))))
                self._shown = generate_latest(registry)
                self._shown_at_s = time.monotonic()
            return self._shown


class _Shown(Collector):
    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families


def merged(texts: Mapping[str, bytes]) -> bytes:
    """Metrics of several processes as one text, told apart by the label `process`.

    The texts are those that the library wrote here and in our other processes, so lines are enough to go by: to parse
    them into its objects and write these again would take twenty times as long.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for process_id, text_ in sorted(texts.items()):
        label = f'process="{_escaped(process_id)}"'
        name = ""
        for line in text_.decode().splitlines():
            if line.startswith("#"):
                name = line.split(" ", 3)[2]
                head = heads.setdefault(name, [])
                if len(head) < 2 and line not in head:  # HELP and TYPE, once
                    head.append(line)
            elif line and not name.endswith("_created"):
                samples.setdefault(name, []).append(_labelled(line, label))
    lines = [line for name, found in samples.items() for line in (*heads.get(name, ()), *found)]
    return "".join(f"{line}\n" for line in lines).encode()


def _labelled(line: str, label: str) -> str:
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f"{name}{{{label},{rest}"
    name, _, value = line.partition(" ")
    return f"{name}{{{label}}} {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def installation(parts: Parts, redis_up: bool) -> Iterator[GaugeMetricFamily]:
    """What the database and the disk show now; without the database only that it is away."""
    yield GaugeMetricFamily("flowleaf_redis_up", "Whether Redis answers.", value=float(redis_up))
    disk = os.statvfs(parts.home)
    yield GaugeMetricFamily(
        "flowleaf_disk_free_bytes", "Space left on the disk of the data folder.", value=disk.f_bavail * disk.f_frsize
    )
    try:
        with parts.store.read() as connection:
            found = list(_from_database(parts.store, connection))
    except (StoreUnavailable, DBAPIError):  # the last: PostgreSQL without its tables
        found = []
    yield GaugeMetricFamily("flowleaf_database_up", "Whether the database answers.", value=float(bool(found)))
    yield from found


def _from_database(store: Store, connection: Connection) -> Iterator[GaugeMetricFamily]:
    depths, oldest = _queue(connection)
    depth = GaugeMetricFamily("flowleaf_queue_depth", "Queued executions, counted up to 10,000.", labels=["slot"])
    age = GaugeMetricFamily("flowleaf_queue_oldest_seconds", "Age of the oldest queued execution.", labels=["slot"])
    for slot in SLOTS:
        depth.add_metric([slot], depths[slot])
        age.add_metric([slot], max(now_ms() - time_of(oldest[slot]), 0) / 1000 if slot in oldest else 0)
    yield from (depth, age)
    states = GaugeMetricFamily("flowleaf_executions", "Executions by status, counted up to a bound.", labels=["status"])
    states.add_metric(["queued"], sum(depths.values()))
    states.add_metric(["running"], connection.execute(RUNNING, {"count": COUNTED}).scalar_one())
    projects = list(connection.execute(PROJECT_IDS, {"count": PROJECTS}).scalars())
    for status in UNUSUAL:
        counts = (
            connection.execute(OTHERS, {"project": project, "status": status, "count": COUNTED_OTHERS}).scalar_one()
            for project in projects
        )
        states.add_metric([status], min(sum(counts), COUNTED_OTHERS))
    yield states
    workers = text(f"SELECT count(*) FROM worker WHERE lease_until_ms > {store.clock}")  # noqa: S608
    alive = connection.execute(workers, {"now": now_ms()}).scalar_one()
    yield GaugeMetricFamily("flowleaf_workers", "Workers whose lease lasts.", value=alive)
    yield GaugeMetricFamily("flowleaf_database_bytes", "Size of the database.", value=_size_bytes(store, connection))


def _queue(connection: Connection) -> tuple[dict[str, int], dict[str, str]]:
    """How many are queued by slot, and the id of the oldest: by seeks along the index, however many lie between."""
    depths = {slot: connection.execute(QUEUED, {"slot": slot, "count": COUNTED}).scalar_one() for slot in SLOTS}
    oldest: dict[str, str] = {}

    def note(slot: str, id_: str) -> None:
        oldest[slot] = min(oldest.get(slot, id_), id_)

    for slot, project_id in connection.execute(PAIRS).all()[: PROJECTS * len(SLOTS)]:
        for priority in PRIORITIES.values():
            where = {"slot": slot, "project": project_id, "priority": priority}
            if (first := connection.execute(FIRST, where).scalar()) is not None:
                note(slot, first)
    for slot, count, first in connection.execute(LIMITED, {"count": COUNTED}):
        depths[slot] = min(depths[slot] + count, COUNTED)
        note(slot, first)
    return depths, oldest


def _size_bytes(store: Store, connection: Connection) -> int:
    if not store.is_sqlite:
        size: Any = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        return int(size)
    path = store.url.removeprefix("sqlite:///")
    return sum(file.stat().st_size for file in (Path(path), Path(f"{path}-wal")) if file.exists())
