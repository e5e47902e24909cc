"""What a process counts."""

from prometheus_client import generate_latest

from engine.runtime.claims import Claim
from engine.runtime.measures import SECONDS, Measures

CLAIM = Claim("e", "p", "w", "r", "published", "webhook", "n", "async", 1, 1, None, None, None, 1_000)


def text(measures: Measures) -> str:
    return generate_latest(measures.registry).decode()


def test_counts_add_up() -> None:
    measures = Measures()
    measures.claimed(3)
    measures.claimed(2)
    measures.committed(7)
    measures.lease_lost()
    measures.reused(4, 1)
    found = text(measures)
    for line in (
        "flowleaf_claims_total 5.0", "flowleaf_journal_batches_total 1.0", "flowleaf_journal_entries_total 7.0",
        "flowleaf_lapsed_leases_total 1.0", 'flowleaf_reuse_total{outcome="hit"} 4.0',
        'flowleaf_reuse_total{outcome="miss"} 1.0',
    ):  # fmt: skip
        assert line in found


def test_a_time_counts_in_every_bucket_that_it_fits_into_bounds_included() -> None:
    measures = Measures()
    for seconds in (0.001, 0.0011, 5_000):
        measures.execution_ended(CLAIM, "succeeded", seconds * 1_000, {})
    found = text(measures)
    labels = 'status="succeeded",workflow_id="w"'
    bucket = 'flowleaf_execution_seconds_bucket{le="%s",' + labels + "}"
    assert bucket % "0.001" + " 1.0" in found
    assert bucket % "0.0025" + " 2.0" in found
    assert bucket % SECONDS[-1] + " 2.0" in found
    assert bucket % "+Inf" + " 3.0" in found
    assert "flowleaf_execution_seconds_count{" + labels + "} 3.0" in found
    assert "flowleaf_execution_seconds_sum{" + labels + "} 5000.0021" in found


def test_node_runs_are_timed_by_type_and_status() -> None:
    measures = Measures()
    measures.execution_ended(
        CLAIM, "failed", 5, {"a": ("core.set", "succeeded", 1.0), "b": ("core.set", "failed", 2.0)}
    )
    assert 'flowleaf_node_seconds_count{status="failed",type="core.set"} 1.0' in text(measures)


def test_a_clock_that_went_back_makes_no_negative_wait() -> None:
    measures = Measures()
    measures.waited(CLAIM, 0.5)
    assert 'flowleaf_queue_seconds_sum{slot="async"} 0.0' in text(measures)
