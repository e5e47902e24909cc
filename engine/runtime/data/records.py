"""Results of node runs as the few bytes that a record row holds, and back.

A record is JSON in the form of `packed`: `[1, runs, started, items]`. A run is a list in the order of `StoredRun`, its
result taken apart; an output is `[rows, lineage]`, `[rows, lineage, files]`, or `{"ref", "first"}` where it is large
and lies in the payload folder. Many indexes of a lineage lie there too: then the lineage is the hash of their file.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from engine.errors import InternalError
from engine.events import PREVIEW_ITEMS, NodeResult, NodeStatus
from engine.items import Items, Lineage
from engine.runtime.data.cuts import CutRows, cut
from engine.runtime.data.origins import (
    entries,
    files_as_json,
    files_from_json,
    lineage_as_json,
    lineage_from_json,
    origins_as_bytes,
    origins_from_bytes,
)
from engine.runtime.data.packed import json_text, pack_json, pack_text, unpack_json
from engine.runtime.data.payloads import PayloadRef, Payloads

__all__ = [
    "Bundle", "Packed", "StoredRun", "Summary", "output_of", "pack", "pack_json", "packed", "payload_hashes",
    "summaries", "unpack", "unpack_json",
]  # fmt: skip

VERSION = 1
# Outputs over this, as JSON, go to the payload folder; the whole record may be larger.
SPILL_BYTES = 64 * 1024
# `{},` is the shortest row: so many take more than SPILL_BYTES, and need not be written to know it.
SPILL_ROWS = SPILL_BYTES // 3
# Indexes of a lineage that stand in the record at most.
INLINE_ENTRIES = 8_192
# What items of write nodes gave, over this, goes to the payload folder too.
SPILL_ITEMS_BYTES = 1 << 20


class StoredRun(NamedTuple):
    """One ended node run.

    Attributes:
        key: its preview key; None where it has none.
        duration_ms: None where it was not measured.
        at_ms: when it ended, milliseconds since 1970 UTC.
        log: its lines.
    """

    node_id: str
    status: NodeStatus
    key: str | None
    duration_ms: float | None
    at_ms: int
    result: NodeResult
    log: tuple[str, ...] = ()


class Bundle(NamedTuple):
    """What one commit keeps of an execution.

    Attributes:
        started: ids of write nodes that were about to run.
        items: node id -> item index -> what that item of a write node gave: `{"rows": [...]}` or `{"error": {...}}`.
    """

    runs: tuple[StoredRun, ...] = ()
    started: tuple[str, ...] = ()
    items: Mapping[str, Mapping[int, Mapping[str, Any]]] = {}


class Summary(NamedTuple):
    """A node run without its outputs.

    Attributes:
        counts: output name -> number of items.
        first: output name -> its first rows, long values cut.
    """

    node_id: str
    status: NodeStatus
    key: str | None
    duration_ms: float | None
    at_ms: int
    counts: Mapping[str, int]
    error: Mapping[str, Any] | None
    log: tuple[str, ...]
    first: Mapping[str, CutRows]


class Packed(NamedTuple):
    """A packed bundle, and the hashes of the payload files that it needs."""

    data: bytes
    hashes: tuple[str, ...] = ()


class _Saving:
    """The payloads as `pack` writes to them: takes note of what is saved."""

    def __init__(self, payloads: Payloads) -> None:
        self.rows = payloads.rows
        self.hashes: dict[str, None] = {}
        self._payloads = payloads

    def save(self, items: Items) -> PayloadRef:
        ref = self._payloads.save(items)
        self.hashes.update(dict.fromkeys(ref.hashes))
        return ref

    def save_bytes(self, data: bytes) -> str:
        hash_ = self._payloads.save_bytes(data)
        self.hashes[hash_] = None
        return hash_


def pack(bundle: Bundle, payloads: Payloads) -> bytes:
    """As `packed`, the bytes alone."""
    return packed(bundle, payloads).data


def packed(bundle: Bundle, payloads: Payloads) -> Packed:
    """The bundle as few bytes. Outputs over 64 KiB are saved to `payloads`, before this returns.

    Raises:
        InternalError: a payload could not be written.
    """
    saving = _Saving(payloads)
    return Packed(_pack(bundle, saving), tuple(saving.hashes))


def _pack(bundle: Bundle, payloads: _Saving) -> bytes:
    runs = [_run_as_json(run, payloads) for run in bundle.runs]
    items: dict[str, Any] = {}
    for node_id, outcomes in bundle.items.items():
        items[node_id] = {str(index): outcome for index, outcome in outcomes.items()}
    value = [VERSION, runs, bundle.started, items]
    text, long = json_text(value)
    if len(text) > SPILL_BYTES and _spill(bundle, runs, items, payloads):
        text, long = json_text(value)
    return pack_text(text, long)


def _run_as_json(run: StoredRun, payloads: _Saving) -> list[Any]:
    node_id, status, key, duration_ms, at_ms, result, log = run
    outputs = {name: _output_as_json(items, payloads) for name, items in result.outputs.items()}
    # Fields that are mostly empty come last, and are left out together.
    made: list[Any] = [node_id, status, key, duration_ms, at_ms, outputs]
    differs = status != result.status
    if log or result.error or result.blocked or result.held or result.response is not None or differs:
        made += [log, result.error, result.blocked, result.held, result.response]
    if differs:
        made.append(result.status)
    return made


def _output_as_json(items: Items, payloads: _Saving) -> Any:
    if len(items) > SPILL_ROWS:
        return _spilled(items, payloads)
    if items.is_table:
        table = items.table
        if table is not None and table.nbytes > SPILL_BYTES:  # its JSON is longer still, and slow to make
            return _spilled(items, payloads)
    lineage: Any = lineage_as_json(items.lineage)
    if lineage and entries(items.lineage) > INLINE_ENTRIES:
        lineage = payloads.save_bytes(origins_as_bytes(items.lineage))
    files = files_as_json(items.files)
    return [items.rows, lineage] if files is None else [items.rows, lineage, files]


def _spilled(items: Items, payloads: _Saving) -> dict[str, Any]:
    ref = payloads.save(items)
    first = payloads.rows(ref, 0, PREVIEW_ITEMS)
    return {"ref": ref.as_json(), "first": cut(first).as_json()}


def _spill(bundle: Bundle, runs: list[list[Any]], items: dict[str, Any], payloads: _Saving) -> bool:
    """Put what is large by itself into the payload folder; whether there was such a thing."""
    done: dict[int, dict[str, Any]] = {}  # nodes that pass items on share them
    found = False
    for run, packed in zip(bundle.runs, runs, strict=True):
        for name, given in run.result.outputs.items():
            written = packed[5][name]
            if type(written) is list and len(json_text(written)[0]) > SPILL_BYTES:
                if id(given) not in done:
                    done[id(given)] = _spilled(given, payloads)
                packed[5][name] = done[id(given)]
                found = True
    for node_id, outcomes in items.items():
        if len(json_text(outcomes)[0]) > SPILL_ITEMS_BYTES:
            items[node_id] = payloads.save_bytes(pack_json(outcomes))
            found = True
    return found


def _record(data: bytes) -> tuple[list[list[Any]], list[str], dict[str, Any]]:
    record = unpack_json(data)
    if not isinstance(record, list) or len(record) != 4 or record[0] != VERSION:
        raise InternalError("a stored record has a form that is not known here", hint="Is it of a newer release?")
    return record[1], record[2], record[3]


def unpack(data: bytes, payloads: Payloads, *, outputs: bool = True) -> Bundle:
    """The bundle that `pack` was given.

    Args:
        outputs: False where results are wanted without their outputs: no payload is read for them.

    Raises:
        InternalError: the record is damaged, or a payload is not there any more.
    """
    runs, started, items = _record(data)
    return Bundle(
        tuple([_run_from_json(run, payloads, outputs) for run in runs]),
        tuple(started),
        {node_id: _outcomes(outcomes, payloads) for node_id, outcomes in items.items()} if items else {},
    )


def _outcomes(outcomes: Any, payloads: Payloads) -> dict[int, Mapping[str, Any]]:
    found = unpack_json(payloads.load_bytes(outcomes)) if isinstance(outcomes, str) else outcomes
    return {int(index): outcome for index, outcome in found.items()}


def _run_from_json(run: list[Any], payloads: Payloads, with_outputs: bool) -> StoredRun:
    node_id, status, key, duration_ms, at_ms, written = run[:6]
    outputs = {name: _items(output, payloads) for name, output in written.items()} if with_outputs else {}
    if len(run) == 6:
        return StoredRun(node_id, status, key, duration_ms, at_ms, NodeResult(status, outputs))
    log, error, blocked, held, response, *other = run[6:]
    result = NodeResult(other[0] if other else status, outputs, error, blocked, tuple(held), response)
    return StoredRun(node_id, status, key, duration_ms, at_ms, result, tuple(log))


def _items(output: Any, payloads: Payloads) -> Items:
    if type(output) is dict:
        return payloads.load(PayloadRef.from_json(output["ref"]))
    rows, origins = output[0], output[1]
    lineage: Lineage | None
    if type(origins) is str:
        lineage, _ = origins_from_bytes(payloads.load_bytes(origins), 0)
    else:
        lineage = lineage_from_json(origins)
    files = files_from_json(output[2], len(rows)) if len(output) > 2 else None
    return Items(rows, files=files, lineage=lineage)


def summaries(data: bytes, *, first: int = PREVIEW_ITEMS) -> dict[str, Summary]:
    """Node id -> how its run ended, with counts and first rows of its outputs; no payload is read."""
    found = {}
    for run in _record(data)[0]:
        node_id, status, key, duration_ms, at_ms, written = run[:6]
        log, error = (run[6], run[7]) if len(run) > 6 else ((), None)
        counts, rows = {}, {}
        for name, output in written.items():
            if type(output) is dict:
                counts[name] = output["ref"]["count"]
                kept = CutRows.from_json(output["first"])
                rows[name] = CutRows(kept.rows[:first], tuple(one for one in kept.cuts if one.row < first))
            else:
                counts[name] = len(output[0])
                rows[name] = cut(output[0][:first])
        found[node_id] = Summary(node_id, status, key, duration_ms, at_ms, counts, error, tuple(log), rows)
    return found


def output_of(data: bytes, node_id: str, output: str = "main") -> PayloadRef | Items | None:
    """One output to page through, unread where it lies in the payload folder; None where there is none.

    Its lineage is left out where it stands in the record.
    """
    for run in _record(data)[0]:
        if run[0] == node_id and output in run[5]:
            written = run[5][output]
            return PayloadRef.from_json(written["ref"]) if type(written) is dict else Items(written[0])
    return None


def payload_hashes(data: bytes) -> set[str]:
    """The payloads that a record needs: what retention must leave alone."""
    return set(_hashes(data))


def _hashes(data: bytes) -> Iterator[str]:
    runs, _, items = _record(data)
    for run in runs:
        for output in run[5].values():
            if type(output) is dict:
                yield from PayloadRef.from_json(output["ref"]).hashes
            elif type(output[1]) is str:
                yield output[1]
    yield from (outcomes for outcomes in items.values() if isinstance(outcomes, str))
