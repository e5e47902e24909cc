"""What a process counts, as Prometheus metrics."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

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
        self._durations = Histogram(
            "flowleaf_execution_seconds",
            "Time from the claim to the end.",
            ["workflow_id", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._nodes = Histogram(
            "flowleaf_node_seconds", "Time of node runs.", ["type", "status"], buckets=SECONDS, registry=self.registry
        )
        self._waits = Histogram(
            "flowleaf_queue_seconds", "Time from the acceptance to the claim.", ["slot"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._known: dict[tuple[str, ...], Histogram] = {}

    def claimed(self, count: int) -> None:
        """A batch of claims."""
        self._claims.inc(count)

    def waited(self, claim: Claim, now_s: float) -> None:
        """How long a claimed execution was queued."""
        self._labelled(self._waits, "wait", claim.slot).observe(max(now_s - claim.created_ms / 1000, 0))

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
        self._labelled(self._durations, "execution", claim.workflow_id, status).observe(duration_ms / 1000)
        for type_, node_status, node_ms in nodes.values():
            self._labelled(self._nodes, "node", type_, node_status).observe(node_ms / 1000)

    def _labelled(self, metric: Histogram, kind: str, *labels: str) -> Histogram:
        """The metric with labels; looked up once, at 2 us each time else."""
        key = (kind, *labels)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = metric.labels(*labels)
        return found
