"""The node runs of an execution as they are shown: without their outputs, but with counts and first rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import Summary, summaries, unpack


class NodeRunView(BaseModel):
    """A node run that has ended.

    Attributes:
        key: preview key.
        at_ms: when it ended.
        counts: output name -> number of items.
        first: output name -> `{"rows", "cuts"}`: the first rows, long values cut.
        held: of a held node, what it would do, per item.
    """

    model_config = ConfigDict(frozen=True)

    node_id: str
    status: str
    key: str | None
    duration_ms: float | None
    at_ms: int
    counts: Mapping[str, int]
    first: Mapping[str, Any]
    error: Mapping[str, Any] | None = None
    log: tuple[str, ...] = ()
    held: tuple[Mapping[str, Any], ...] = ()


def all_summaries(parts: Sequence[bytes]) -> dict[str, Summary]:
    """Node id -> how its run ended, of the parts of a record, part 0 left out."""
    found: dict[str, Summary] = {}
    for data in parts:
        found.update(summaries(data))
    return found


def runs_of(
    parts: Sequence[bytes], found: Mapping[str, Summary], kept: Mapping[str, bytes], payloads: Payloads
) -> tuple[NodeRunView, ...]:
    """The node runs in the order they ended.

    Args:
        kept: preview key -> what is kept under it: what a draft run reused gave.
    """
    held: dict[str, tuple[Mapping[str, Any], ...]] = {}
    if any(one.status == "held" for one in found.values()):
        for data in parts:
            held |= {run.node_id: run.result.held for run in unpack(data, payloads, outputs=False).runs}
    made = []
    for one in sorted(found.values(), key=lambda summary: summary.at_ms):
        shown = one
        if one.status == "reused" and one.key is not None and one.key in kept:
            shown = kept_summary(kept[one.key])._replace(node_id=one.node_id, status="reused")
        made.append(run_of(shown, held.get(one.node_id, ())))
    return tuple(made)


def run_of(summary: Summary, held: tuple[Mapping[str, Any], ...] = ()) -> NodeRunView:
    """A summary as it is shown."""
    first = {name: rows.as_json() for name, rows in summary.first.items()}
    return NodeRunView(**{**summary._asdict(), "first": first, "held": held})


def kept_summary(data: bytes) -> Summary:
    """The one run that a row of `run_data` holds; its node may be another one of the same key."""
    return next(iter(summaries(data).values()))
