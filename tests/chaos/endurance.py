"""Load, and things breaking at random, for a long time: `make chaos`, or `python -m tests.chaos.endurance`.

Half of CHAOS_S seconds (1800) on SQLite, half on PostgreSQL. Writes build/bench/chaos.json; exit code 1 where
something that was accepted got lost, or was done twice. CHAOS_SEED repeats the order of what breaks.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engine.runtime.orders import unpack_order
from tests.support import chaos_workflows
from tests.support.chaos_calls import Calls, Promises
from tests.support.chaos_ledger import Ledger, doubled, lost, run_again
from tests.support.chaos_target import Target, target
from tests.support.installation import ENDED, Installation, Process, free_port, installation
from tests.support.servers import OwnRedis, PostgresServer, own_redis, postgres

RESULT = Path("build/bench/chaos.json")
KINDS = {"orders": 10, "once": 3, "answers": 2, "writes": 4, "slow": 3, "many": 0.03}
RATE = 150
PAUSE_S = (0.3, 2.5)
LEASE_S = 6.0
SETTLE_S = 120.0


class Breaking:
    """Breaks one thing after the other, several at a time, and mends each after a while.

    Attributes:
        counts: how often what was done.
        stale: begin and end of the times in which a worker could not know that its lease was over.
    """

    def __init__(
        self, made: Installation, redis: OwnRedis, database: PostgresServer | None, chance: random.Random
    ) -> None:
        self._made, self._redis, self._database, self._chance = made, redis, database, chance
        self._mends: list[tuple[float, str, Callable[[], Any]]] = []
        self.counts: Counter[str] = Counter()
        self.stale: list[tuple[float, float]] = []

    def run(self, seconds: float) -> None:
        """Go on for so long; in the end all is mended."""
        ends_at = time.monotonic() + seconds
        next_at = time.monotonic() + 1
        while (now := time.monotonic()) < ends_at:
            self._mend(now)
            if now >= next_at:
                self._break(now)
                next_at = now + self._chance.uniform(*PAUSE_S)
            for process in self._made.processes:
                if not process.alive and not self._is_broken(process):
                    self._start_again(process)
            time.sleep(0.05)
        self._mend(float("inf"))
        for process in self._made.processes:
            if not process.alive:
                self._start_again(process)
            process.wait_until_ready()

    def _is_broken(self, process: Process) -> bool:
        return any(name == str(id(process)) for _, name, _ in self._mends)

    def _start_again(self, process: Process) -> None:
        """As `flowleaf up` does; only one that found no database when it started may end by itself."""
        assert "error: the database" in process.said, f"{process.role} ended by itself: {process.said[-3000:]}"
        self.counts["started_without_database"] += 1
        process.start(wait=False)

    def _mend(self, now: float) -> None:
        for mend in [mend for mend in self._mends if mend[0] <= now]:
            mend[2]()
            self._mends.remove(mend)

    def _later(self, after_s: float, name: str, mend: Callable[[], Any]) -> None:
        self._mends.append((time.monotonic() + after_s, name, mend))

    def _break(self, now: float) -> None:
        broken = {name for _, name, _ in self._mends}
        whole = [process for process in self._made.processes if str(id(process)) not in broken]
        what = self._chance.choice(["kill", "kill", "kill", "freeze", "redis", "database"])
        if what in ("kill", "freeze") and whole:
            process = self._chance.choice(whole)
            if what == "kill":
                self._kill(process)
            else:
                self._freeze(process)
        elif what == "redis" and "redis" not in broken:
            self.counts["redis_wiped"] += 1
            self._redis.kill()
            self._later(self._chance.choice([0, 0, 3]), "redis", self._redis.start)
        elif what == "database" and "database" not in broken and self._database is not None:
            self.counts["postgres_crashed"] += 1
            self._database.stop()
            # Always less than a lease: then nobody can lose his.
            self._later(self._chance.choice([0, 0, 1.5]), "database", self._database.start)

    def _kill(self, process: Process) -> None:
        self.counts[f"{process.role}_killed"] += 1
        process.kill()
        self._later(self._chance.uniform(0, 1.5), str(id(process)), lambda: process.start(wait=False))

    def _freeze(self, process: Process) -> None:
        self.counts[f"{process.role}_frozen"] += 1
        began, for_s = time.time(), self._chance.choice([0.5, 2, LEASE_S + 2])
        process.freeze()

        def thaw() -> None:
            process.thaw()
            if process.role == "worker" and time.time() - began > LEASE_S - 2:
                self.stale.append((began, time.time() + 2))

        self._later(for_s, str(id(process)), thaw)


def fired_twice(made: Installation) -> int:
    """Due times of the schedule for which more than one execution was started."""
    found = made.rows(
        "SELECT r.data FROM execution e JOIN record r ON r.execution_id = e.id AND r.part = 0 WHERE source = 'schedule'"
    )
    times = Counter((unpack_order(bytes(data)).items or [{}])[0].get("time") for (data,) in found)
    return sum(count - 1 for count in times.values())


def endure(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """The figures of one database."""
    chance = random.Random(f"{seed}-{name}")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowleaf-chaos-")))
        redis, service = stack.enter_context(own_redis()), stack.enter_context(target())
        server = stack.enter_context(postgres()) if name == "postgres" else None
        url = stack.enter_context(server.database()) if server is not None else None
        made = stack.enter_context(installation(home, redis.url, url))
        for workflow in (*chaos_workflows.called(service.url), chaos_workflows.ticks()):
            made.publish(workflow)
        made.start_all("hooks", *["worker"] * (1 if server is None else 3), "scheduler", "scheduler")
        ports = [made.port, free_port(), free_port()]
        for role, port in zip(("hooks", "web"), ports[1:], strict=True):
            made.start(role, port=port)
        breaking = Breaking(made, redis, server, chance)
        with Ledger(made) as ledger, Calls(ports, KINDS, rate=RATE, threads=6) as calls:
            breaking.run(seconds)
            promises = calls.stop()
            made.write("UPDATE schedule SET next_ms = 9000000000000")
            made.wait_until_all_ended(SETTLE_S)
        return account(made, service, promises, ledger, breaking)


def account(
    made: Installation, service: Target, promises: Promises, ledger: Ledger, breaking: Breaking
) -> dict[str, Any]:
    """What there is to say in the end."""
    statuses = dict(made.rows("SELECT status, count(*) FROM execution GROUP BY status"))
    missing, twice = lost(made, promises), doubled(made, promises)
    again, changed = run_again(made, service, breaking.stale), ledger.moved()
    for what, ids in (("lost", missing), ("doubled", twice), ("called again", again), ("changed", changed)):
        if ids:
            print(f"{what}: {ids[:20]}", file=sys.stderr)
    return {
        "accepted": len(promises.accepted),
        "unknown": len(promises.unknown),
        "finished": sum(statuses.get(status, 0) for status in ENDED),
        "failed": statuses.get("failed", 0),
        "lost": len(missing),
        "doubled": len(twice) + len(again) + fired_twice(made),
        "changed_after_end": len(changed),
        "refused_badly": len(promises.rude),
        "kills": sum(count for what, count in breaking.counts.items() if what.endswith("_killed")),
        "effects": len(service.effects),
        **dict(sorted(breaking.counts.items())),
    }


def main() -> int:
    seconds = float(os.environ.get("CHAOS_S", "1800"))
    seed = int(os.environ.get("CHAOS_SEED", str(random.randrange(2**32))))
    print(f"CHAOS_S={seconds:g} CHAOS_SEED={seed}", flush=True)
    total: Counter[str] = Counter()
    figures: dict[str, Any] = {}
    for name in ("sqlite", "postgres"):
        found = endure(name, seconds / 2, seed)
        print(name, json.dumps(found), flush=True)
        total.update(found)
        figures |= {f"{what}_{name}": number for what, number in found.items()}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({**total, **figures, "seconds": seconds, "seed": seed}, indent=2) + "\n")
    bad = sum(total[what] for what in ("lost", "doubled", "changed_after_end", "refused_badly"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
