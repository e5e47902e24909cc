"""Bundles of node runs as bytes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InternalError
from engine.events import NodeResult
from engine.items import Groups, Items, Lineage
from engine.runtime.data.payloads import PayloadRef, Payloads
from engine.runtime.data.records import (
    Bundle,
    StoredRun,
    output_of,
    pack,
    pack_json,
    payload_hashes,
    summaries,
    unpack,
    unpack_json,
)
from tests.support.drawn import ROW, TEXTS, VALUES, typed
from tests.support.stored import all_of, stored_items

LARGE = [{"n": number, "name": f"name {number}", "half": number / 2} for number in range(5_000)]
SMALL = [{"n": 1}, {"n": 2}]


@pytest.fixture
def payloads(tmp_path):
    return Payloads(tmp_path / "payloads")


def ran(node_id="a", **outputs):
    result = NodeResult("succeeded", outputs)
    return StoredRun(node_id, "succeeded", "key", 1.5, 1_790_000_000_000, result)


def bundle_of(*runs, **more):
    return Bundle(tuple(runs), **more)


ERRORS = st.fixed_dictionaries({"code": TEXTS, "message": TEXTS}, optional={"item": st.integers(0, 9)})
RESULTS = st.builds(
    NodeResult,
    status=st.sampled_from(["succeeded", "failed", "reused", "skipped", "held"]),
    outputs=st.dictionaries(TEXTS, stored_items(), max_size=2),
    error=st.none() | ERRORS,
    blocked=st.booleans(),
    held=st.lists(ROW, max_size=2).map(tuple),
    response=st.none() | st.fixed_dictionaries({"status": st.integers(200, 599), "headers": ROW, "body": VALUES}),
)
RUNS = st.builds(
    StoredRun,
    node_id=TEXTS,
    status=st.sampled_from(["succeeded", "failed", "reused"]),
    key=st.none() | TEXTS,
    duration_ms=st.none() | st.floats(0, 1e6),
    at_ms=st.integers(0, 2**53),
    result=RESULTS,
    log=st.lists(TEXTS, max_size=2).map(tuple),
)
OUTCOMES = st.fixed_dictionaries({"rows": st.lists(ROW, max_size=2)}) | st.fixed_dictionaries({"error": ERRORS})
BUNDLES = st.builds(
    Bundle,
    runs=st.lists(RUNS, max_size=3).map(tuple),
    started=st.lists(TEXTS, max_size=2).map(tuple),
    items=st.dictionaries(TEXTS, st.dictionaries(st.integers(0, 99), OUTCOMES, max_size=2), max_size=2),
)


def parts(bundle: Bundle):
    runs = [
        (
            typed(list(run._replace(result=None, log=list(run.log)))),
            typed(list(run.result._replace(outputs={}, held=list(run.result.held)))),
            {name: all_of(items) for name, items in run.result.outputs.items()},
        )
        for run in bundle.runs
    ]
    return runs, bundle.started, {node: {i: typed(o) for i, o in by.items()} for node, by in bundle.items.items()}


@settings(max_examples=200, deadline=None)
@given(BUNDLES)
def test_a_bundle_comes_back_as_it_was(bundle):
    with TemporaryDirectory() as folder:
        payloads = Payloads(Path(folder))
        data = pack(bundle, payloads)
        assert parts(unpack(data, payloads)) == parts(bundle)
        assert payload_hashes(data) == set()


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_any_json_value_comes_back_with_its_types(value):
    assert typed(unpack_json(pack_json(value))) == typed(value)


@pytest.mark.parametrize(
    "value", [{"n": 10**30}, {"half": "\ud800"}, [2**64 - 1, -(2**63), 0.1, "12345678901234567890"]]
)
@pytest.mark.parametrize("padding", ["", "x" * 1_000])
def test_what_is_seldom_written_survives_raw_and_compressed(value, padding):
    data = pack_json([value, padding])
    assert unpack_json(data) == [value, padding]
    assert data[0] & 1 == bool(padding)


def test_repeating_text_is_compressed():
    assert len(pack_json(["the same"] * 1_000)) < 100


@pytest.mark.parametrize("data", [b"", b"\x09{}", b"\x00{", b"\x01nothing", b"\x00[2,[],[],{}]", b"\x00{}"])
def test_a_record_that_cannot_be_read_is_an_error_of_ours(payloads, data):
    with pytest.raises(InternalError):
        unpack(data, payloads)


def test_mappings_that_are_no_dicts_are_written_as_objects(payloads):
    result = NodeResult("failed", error=MappingProxyType({"code": "node"}), held=(MappingProxyType({"url": "x"}),))
    run = StoredRun("a", "failed", None, None, 0, result)
    (back,) = unpack(pack(bundle_of(run), payloads), payloads).runs
    assert back.result.error == {"code": "node"}
    assert back.result.held == ({"url": "x"},)


def test_a_large_output_goes_to_the_payloads_and_a_small_one_stays(payloads):
    lineage = Lineage({"main": list(range(5_000, 0, -1))})
    bundle = bundle_of(ran("big", main=Items(LARGE, lineage=lineage)), ran("small", main=Items(SMALL)))
    data = pack(bundle, payloads)
    assert len(data) < 3_000
    big = output_of(data, "big")
    assert isinstance(big, PayloadRef)
    assert output_of(data, "small") == Items(SMALL)
    assert output_of(data, "small", "rejected") is None
    assert payload_hashes(data) == set(big.hashes) == {stored.hash for stored in payloads.all()}
    assert parts(unpack(data, payloads)) == parts(bundle)


def test_large_rows_that_fit_no_table_go_to_the_payloads_too(payloads):
    items = Items([{"text": "x" * 50_000}, {"list": ["y" * 50_000], "n": 10**20}])
    data = pack(bundle_of(ran(main=items)), payloads)
    assert output_of(data, "a").form == "ndjson"
    assert unpack(data, payloads).runs[0].result.outputs["main"] == items


def test_many_small_outputs_stay_where_they_are(payloads):
    bundle = bundle_of(*(ran(f"n{number}", main=Items(LARGE[:100])) for number in range(40)))
    data = pack(bundle, payloads)
    assert list(payloads.all()) == []
    assert parts(unpack(data, payloads)) == parts(bundle)


def test_an_output_that_several_nodes_pass_on_is_saved_once(payloads):
    items = Items(LARGE)
    data = pack(bundle_of(ran("a", main=items), ran("b", main=items, other=items)), payloads)
    assert len(list(payloads.all())) == 1
    assert all(items == found for run in unpack(data, payloads).runs for found in run.result.outputs.values())


def test_a_table_with_many_rows_is_not_turned_into_rows_to_be_packed(payloads):
    items = Items(table=Items(LARGE).table)
    pack(bundle_of(ran(main=items)), payloads)
    assert items.is_table


def test_a_long_lineage_of_few_items_goes_to_the_payloads(payloads):
    items = Items(SMALL, lineage=Lineage({"main": Groups(np.arange(100_000) % 2)}))
    data = pack(bundle_of(ran(main=items)), payloads)
    assert len(data) < 500
    assert len(payload_hashes(data)) == 1
    back = unpack(data, payloads).runs[0].result.outputs["main"]
    assert all_of(back) == all_of(items)


def test_large_outcomes_of_items_go_to_the_payloads(payloads):
    outcomes = {index: {"rows": [{"text": f"{index}" * 20_000}]} for index in range(100)}
    bundle = Bundle(started=("send",), items={"send": outcomes, "other": {3: {"error": {"code": "node"}}}})
    data = pack(bundle, payloads)
    assert len(data) < 500
    assert len(payload_hashes(data)) == 1
    assert unpack(data, payloads) == bundle


def test_results_without_outputs_need_no_payload(payloads):
    data = pack(bundle_of(ran("big", main=Items(LARGE))), payloads)
    for digest in payload_hashes(data):
        payloads.delete(digest)
    (run,) = unpack(data, payloads, outputs=False).runs
    assert (run.status, run.duration_ms, run.result.outputs) == ("succeeded", 1.5, {})
    with pytest.raises(InternalError, match="not there any more"):
        unpack(data, payloads)


def test_summaries_give_counts_errors_and_first_rows_without_payloads(payloads):
    failed = NodeResult("failed", error={"code": "node", "message": "no"})
    runs = (
        ran("big", main=Items(LARGE), rejected=Items([])),
        ran("long", main=Items([{"text": "x" * 5_000}])),
        StoredRun("bad", "failed", None, 2.0, 7, failed, ("line 1", "line 2")),
    )
    data = pack(bundle_of(*runs), payloads)
    for digest in payload_hashes(data):
        payloads.delete(digest)
    found = summaries(data)
    assert found["big"].counts == {"main": 5_000, "rejected": 0}
    assert found["big"].first["main"].rows == LARGE[:50]
    assert summaries(data, first=2)["big"].first["main"].rows == LARGE[:2]
    assert found["long"].first["main"].cuts[0].size == 5_000
    bad = found["bad"]
    assert (bad.status, bad.error, bad.log, bad.duration_ms, bad.at_ms) == (
        "failed",
        failed.error,
        ("line 1", "line 2"),
        2.0,
        7,
    )


def test_a_record_of_the_first_release_can_be_read(payloads):
    data = (
        b'\x00[1,[["a","succeeded","k",1.5,7,{"main":[[{"n":1}],{"main":[0]}]}]],["send"],{"send":{"0":{"rows":[]}}}]'
    )
    items = Items([{"n": 1}], lineage=Lineage({"main": [0]}))
    run = StoredRun("a", "succeeded", "k", 1.5, 7, NodeResult("succeeded", {"main": items}))
    assert unpack(data, payloads) == Bundle((run,), ("send",), {"send": {0: {"rows": []}}})
