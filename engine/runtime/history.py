"""What an execution has behind it: its own committed parts, or those of the execution that it repeats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from engine.errors import DefinitionError
from engine.events import NodeResult
from engine.runtime.claims import Claim
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import unpack
from engine.runtime.programs import Ready
from engine.runtime.store import Store


@dataclass
class Past:
    """Committed outcomes.

    Attributes:
        results: node id -> how its run ended.
        outcomes: node id -> item index -> what that item of a write node gave, where the node has not succeeded.
        started: ids of write nodes that were about to run.
    """

    results: dict[str, NodeResult] = field(default_factory=dict)
    outcomes: dict[str, dict[int, Any]] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)


def past_of(parts: Sequence[bytes], payloads: Payloads) -> Past:
    """The past that the parts of a record hold, part 0 left out."""
    past = Past()
    for data in parts:
        bundle = unpack(data, payloads)
        past.started += [node_id for node_id in bundle.started if node_id not in past.started]
        for node_id, outcomes in bundle.items.items():
            past.outcomes.setdefault(node_id, {}).update(outcomes)
        for run in bundle.runs:
            # What a draft run reused is written down without its outputs, which lie under its key; what a retry takes
            # over has no key, and its outputs.
            if run.status != "reused" or run.key is None:
                past.results[run.node_id] = run.result
    for node_id, result in past.results.items():
        if not result.stops:
            past.outcomes.pop(node_id, None)
    return past


def parts_of(store: Store, execution_id: str) -> list[bytes]:
    """The parts of an execution's record, in order."""
    with store.read() as connection:
        found = connection.execute(
            text("SELECT data FROM record WHERE execution_id = :id ORDER BY part"), {"id": execution_id}
        )
        return [bytes(data) for data in found.scalars()]


def repeated(store: Store, payloads: Payloads, claim: Claim, ready: Ready) -> Past:
    """What a retry or replay takes over from the execution it repeats.

    A retry takes over every node that did not fail or wait for one that did, and within a failed node that changes
    something outside the items that went well. A replay from a node takes over what does not depend on that node;
    one without a node takes over nothing.

    Raises:
        DefinitionError: the node to begin at is not in this revision.
    """
    assert claim.origin_id is not None
    if claim.source == "replay" and claim.from_node is None:
        return Past()
    past = past_of(parts_of(store, claim.origin_id)[1:], payloads)
    graph = ready.program.graph
    again: set[str] = set()
    if claim.from_node is not None:
        if claim.from_node not in graph.nodes:
            raise DefinitionError(f"this revision has no node {claim.from_node!r} to begin at")
        again = {claim.from_node} | graph.descendants([claim.from_node])
    kept = {
        node_id: result
        for node_id, result in past.results.items()
        if node_id in graph.nodes and node_id not in again and not result.stops
    }
    # What follows a node that runs again runs again.
    for node_id in graph.order():
        if not kept.keys() >= ready.program.feeders(node_id):
            kept.pop(node_id, None)
    outcomes: dict[str, dict[int, Any]] = {}
    if claim.source == "retry":
        for node_id, found in past.outcomes.items():
            well = {index: outcome for index, outcome in found.items() if "error" not in outcome}
            if well and node_id in graph.nodes and node_id not in kept:
                outcomes[node_id] = well
    return Past(results=kept, outcomes=outcomes)


def again_with_effects(ready: Ready, kept: Mapping[str, NodeResult]) -> list[str]:
    """Ids of the nodes that change something outside and would run, where these results are taken over."""
    return [step.node_id for step in ready.steps if step.node_id in ready.writes and step.node_id not in kept]
