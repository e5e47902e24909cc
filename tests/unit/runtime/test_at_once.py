"""What runs from claim to entry in one go, and what becomes an attempt."""

from pathlib import Path
from typing import Any

import pytest

from engine.registry import Registry
from engine.run import LocalServices
from engine.runtime.at_once import run_at_once
from engine.runtime.attempt import Attempt, Shared
from engine.runtime.claims import Claim
from engine.runtime.context import Outside
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import unpack
from engine.runtime.journal import Entry
from engine.runtime.measures import Measures
from engine.runtime.orders import pack_items
from engine.runtime.programs import Programs, make_ready
from tests.support.build import chain, node


def outcome(tmp_path: Path, items: list[dict[str, Any]], *nodes: Any, **claim: Any) -> tuple[Entry | Attempt, Payloads]:
    programs, payloads = Programs(None, Registry()), Payloads(tmp_path)
    programs._kept["r"] = make_ready(chain(node("start", "core.manual"), *nodes), programs.registry)
    outside = Outside(None, LocalServices(), lambda: None)
    shared = Shared(None, None, programs, outside, payloads, Measures())
    given = {"kind": "published", "trigger_id": "start", "slot": "async", "fence": 1, "attempts": 1, "source": "api"}
    more = {"reply_to": None, "origin_id": None, "from_node": None, "created_ms": 1_795_000_000_000, "revision_id": "r"}
    made = Claim(**{"id": "e" * 32, "project_id": "p", "workflow_id": "w", **given, **more, **claim})
    return run_at_once(made, [pack_items(items)], shared), payloads


def test_what_only_computes_ends_in_an_entry_with_all_its_node_runs(tmp_path):
    entry, payloads = outcome(tmp_path, [{"n": 2}], node("a", params={"fields": {"n": "{{ item.n * 2 }}"}}))
    assert isinstance(entry, Entry)
    assert (entry.status, entry.part, entry.error) == ("succeeded", 1, None)
    runs = {run.node_id: run for run in unpack(entry.data, payloads).runs}
    assert list(runs) == ["start", "a"]
    assert runs["a"].result.outputs["main"].rows == [{"n": 4}]


def test_what_waits_goes_on_as_an_attempt_with_what_was_run(tmp_path):
    slow = node("slow", "core.http_request", {"url": "http://127.0.0.1:9/"})
    attempt, _ = outcome(tmp_path, [{"n": 2}], node("a", params={"fields": {"n": 1}}), slow)
    assert isinstance(attempt, Attempt)
    assert list(attempt.results) == ["start", "a"]
    assert [run.node_id for run in attempt.before] == ["start", "a"]


@pytest.mark.parametrize(
    ("items", "fields"),
    [
        ([{"n": 1}], {"n": "{{ item.missing }}"}),  # fails: an attempt says why
        ([{"n": i} for i in range(51)], {"n": 1}),  # may be much to write down
    ],
)
def test_what_fails_or_gives_many_items_goes_on_as_an_attempt(tmp_path, items, fields):
    attempt, _ = outcome(tmp_path, items, node("a", params={"fields": fields}))
    assert isinstance(attempt, Attempt)
    assert list(attempt.results) == ["start", "a"]


@pytest.mark.parametrize("claim", [{"kind": "draft"}, {"origin_id": "o" * 32}, {"revision_id": "unknown"}])
def test_drafts_repeats_and_programs_not_at_hand_are_attempts_from_the_start(tmp_path, claim):
    attempt, _ = outcome(tmp_path, [{"n": 1}], node("a", params={"fields": {"n": 1}}), **claim)
    assert isinstance(attempt, Attempt)
    assert attempt.results == {}


def test_a_damaged_order_is_left_to_the_attempt(tmp_path):
    made, _ = outcome(tmp_path, [{"n": 1}], node("a", params={"fields": {"n": 1}}))
    assert isinstance(made, Entry)
    programs = Programs(None, Registry())
    programs._kept["r"] = make_ready(chain(node("start", "core.manual")), programs.registry)
    shared = Shared(None, None, programs, Outside(None, LocalServices(), lambda: None), Payloads(tmp_path), Measures())
    assert isinstance(run_at_once(made.claim, [b"\0{broken"], shared), Attempt)
