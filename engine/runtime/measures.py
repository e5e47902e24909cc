"""What a process counts, as Prometheus metrics."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from engine.runtime.claims import Claim

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Measures:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._claims = Counter("flowleaf_claims", "Executions claimed by workers.", registry=self.registry)
        self._batches = Counter("flowleaf_journal_batches", "Commits of the journals.", registry=self.registry)
        self._entries = Counter("flowleaf_journal_entries", "Entries in those commits.", registry=self.registry)
        self._lapsed = Counter("flowleaf_lapsed_leases", "Leases that workers lost.", registry=self.registry)
        self._reuse = Counter("flowleaf_reuse", "Steps of draft runs, by reuse.", ["outcome"], registry=self.registry)
        self._durations = Times(
            "flowleaf_execution_seconds", "Time from the claim to the end.", "workflow_id", "status"
        )
        self._nodes = Times("flowleaf_node_seconds", "Time of node runs.", "type", "status")
        self._waits = Times("flowleaf_queue_seconds", "Time from the acceptance to the claim.", "slot")
        for times in (self._durations, self._nodes, self._waits):
            self.registry.register(times)
        self._firings = Counter("flowleaf_firings", "Executions that schedules started.", registry=self.registry)
        self._recovered = Counter(
            "flowleaf_recovered", "Executions that the scheduler queued anew for a worker that died.",
            registry=self.registry,
        )  # fmt: skip
        self._removed = Counter("flowleaf_removed", "What retention removed.", ["what"], registry=self.registry)

    def claimed(self, count: int) -> None:
        """A batch of claims."""
        self._claims.inc(count)

    def waited(self, claim: Claim, now_s: float) -> None:
        """How long a claimed execution was queued."""
        self._waits.add(max(now_s - claim.created_ms / 1000, 0), claim.slot)

    def committed(self, entries: int) -> None:
        """A commit of the journal."""
        self._batches.inc()
        self._entries.inc(entries)

    def lease_lost(self) -> None:
        """A lease lapsed."""
        self._lapsed.inc()

    def reused(self, hits: int, misses: int) -> None:
        """What a draft run could reuse."""
        self._reuse.labels("hit").inc(hits)
        self._reuse.labels("miss").inc(misses)

    def execution_ended(
        self, claim: Claim, status: str, duration_ms: float, nodes: Mapping[str, tuple[str, str, float]]
    ) -> None:
        """An execution ended; `nodes`: node id -> type, status, milliseconds."""
        self._durations.add(duration_ms / 1000, claim.workflow_id, status)
        for type_, node_status, node_ms in nodes.values():
            self._nodes.add(node_ms / 1000, type_, node_status)

    def fired(self, count: int) -> None:
        """Executions that schedules started."""
        self._firings.inc(count)

    def recovered(self, count: int) -> None:
        """Executions that a worker left behind and the scheduler queued anew."""
        self._recovered.inc(count)

    def removed(self, what: str, count: int) -> None:
        """What retention removed: executions, run_data or payloads."""
        self._removed.labels(what).inc(count)


class Times(Collector):
    """A histogram with labels. The library's own takes 4 us to add to, this 0.4: an execution adds seven times."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self._name, self._help, self._labels = name, help, labels
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, seconds: float, *labels: str) -> None:
        """Count one."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(SECONDS) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(SECONDS, seconds)] += 1
        self._sums[labels] += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """As the library writes it."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, counts in list(self._counts.items()):
            total, buckets = 0, []
            for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family
