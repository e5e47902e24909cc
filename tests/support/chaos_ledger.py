"""What became of what was promised, from the database and from the service that was called."""

import json
import threading
from contextlib import suppress
from typing import Any

from engine.runtime.history import Past, past_of
from engine.runtime.orders import unpack_order
from tests.support.chaos_calls import Promises
from tests.support.chaos_target import Target
from tests.support.installation import ENDED, Installation

WRITING = ("first", "second", "item")
AT_ONCE = 2_000


class Ledger:
    """Watches what has ended while things break, and settles the account afterwards."""

    def __init__(self, made: Installation) -> None:
        self._made = made
        self._ended: dict[str, tuple[Any, ...]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ledger")
        self.changed: list[str] = []

    def __enter__(self) -> "Ledger":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(0.5):
            with suppress(Exception):  # the database may be away
                self._look()

    def _look(self) -> None:
        for row in self._made.rows(
            f"SELECT id, status, finished_ms, error, fence, attempts FROM execution "
            f"WHERE status IN {ENDED} ORDER BY id DESC LIMIT 500"
        ):
            self._ended.setdefault(row[0], tuple(row))

    def moved(self) -> list[str]:
        """Ids of executions that had ended and were changed afterwards."""
        now = {}
        for row in self._made.rows("SELECT id, status, finished_ms, error, fence, attempts FROM execution"):
            now[row[0]] = tuple(row)
        return [id_ for id_, before in self._ended.items() if now.get(id_) != before]


def started(made: Installation) -> dict[str, list[tuple[str, str]]]:
    """Call id -> id and status of the executions that it started."""
    found: dict[str, list[tuple[str, str]]] = {}
    after = ""
    while rows := made.rows(
        "SELECT e.id, e.status, r.data FROM execution e JOIN record r ON r.execution_id = e.id AND r.part = 0 "
        "WHERE e.source = 'webhook' AND e.id > :after ORDER BY e.id LIMIT :n",
        after=after,
        n=AT_ONCE,
    ):
        for id_, status, data in rows:
            items = unpack_order(bytes(data)).items or ()
            found.setdefault(items[0]["body"]["id"], []).append((id_, status))
        after = rows[-1][0]
    return found


def lost(made: Installation, promises: Promises) -> list[str]:
    """Ids of accepted calls whose execution is not there or has not ended."""
    found = started(made)
    return [
        call_id
        for call_id, execution_id in promises.accepted.items()
        if not any(status in ENDED and execution_id in (id_, "") for id_, status in found.get(call_id, ()))
    ]


def doubled(made: Installation, promises: Promises) -> list[str]:
    """Ids of calls that started more than one execution."""
    found = started(made)
    assert not [pair for pair in promises.again if pair[0] != pair[1]], "two ids for one key"
    return [call_id for call_id, executions in found.items() if len(executions) > 1]


def past(made: Installation, execution_id: str) -> Past:
    """What is committed of an execution."""
    parts = made.rows("SELECT data FROM record WHERE execution_id = :id AND part > 0 ORDER BY part", id=execution_id)
    return past_of([bytes(data) for (data,) in parts], made.parts.payloads)


def committed(made: Installation, execution_id: str) -> dict[str, int]:
    """Idempotency key -> which call with it the committed outcome is from."""
    known = past(made, execution_id)
    answers: list[Any] = []
    for node_id in WRITING:
        if node_id in known.results and known.results[node_id].outputs:
            answers += known.results[node_id].outputs["main"].rows
        for outcome in known.outcomes.get(node_id, {}).values():
            answers += _answers(outcome)
    return {answer["key"]: answer["number"] for answer in answers}


def _answers(outcome: Any) -> list[Any]:
    """The answers of the service in the stored outcome of an item."""
    if isinstance(outcome, dict):
        if "key" in outcome and "number" in outcome:
            return [outcome]
        return [answer for inner in outcome.values() for answer in _answers(inner)]
    if isinstance(outcome, list):
        return [answer for inner in outcome for answer in _answers(inner)]
    return []


def run_again(made: Installation, target: Target, spans: list[tuple[float, float]] = []) -> list[str]:  # noqa: B006
    """Keys of steps that were called again after their outcome was committed.

    Args:
        spans: times (in seconds since 1970) in which a worker was without its lease and could not know: calls that
            were under way then may come after those of the worker that took over.
    """
    again = {effect.id.partition("-")[0] for effect in target.effects if effect.number > 1}
    known: dict[str, int] = {}
    if again:
        found = started(made)
        for call_id in again & found.keys():
            for id_, _ in found[call_id]:
                known.update(committed(made, id_))
    return [
        effect.key
        for effect in target.effects
        if effect.number > known.get(effect.key, 2**31) and not any(begin <= effect.at_s <= end for begin, end in spans)
    ]


def settle(made: Installation, promises: Promises, target: Target | None = None) -> None:
    """All promises kept."""
    missing = lost(made, promises)
    assert not missing, f"{len(missing)} of {len(promises.accepted)} lost: {missing[:5]} {made.last_words()}"
    assert not doubled(made, promises)
    wrong = made.rows("SELECT id, status, error FROM execution WHERE status != 'succeeded'")
    assert not wrong, f"{len(wrong)} did not succeed: {wrong[:3]}"
    if target is not None:
        assert not run_again(made, target)
    assert not promises.rude, json.dumps([(s, d.decode()) for s, d in promises.rude[:5]])
