"""The host believes no child: what has not the form of an answer is refused, whatever it is."""

import json
from collections import UserList
from types import MappingProxyType

import pytest

from engine.errors import CodeError, CodeLimitExceeded
from engine.sandbox import Limits, wire
from engine.sandbox.answer import read_failure, read_line, read_result
from engine.sandbox.process import Garbage

FACTS = {"sources": [0], "errors": {}}
GONE = {"message": "gone"}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"o", b"j", b"x[]", b"[]", b"o[", b"onull", b"o{}", b"o[1]", b"o[[]]", b'o[{"a":]', b"o\xff\xfe", b"jNaN",
        b'j[{"a":NaN}]', b'j[{"a":Infinity}]', b"j\xff", b"\x80\x04K\x01.", b"j" + b"[" * 100_000,
        b"o" + b"[" * 100_000, b'j[{"a":' + b"9" * 5000 + b"}]", b'j[{"a":1e999}]',
    ],
)  # fmt: skip
def test_items_that_are_none_are_refused(payload):
    with pytest.raises(Garbage):
        read_result(bytearray(payload), bytearray(wire.encode(FACTS)), 1)


@pytest.mark.parametrize(
    "facts",
    [
        None, [], {}, {"sources": [0]}, FACTS | {"sources": 0}, FACTS | {"sources": []}, FACTS | {"sources": [1]},
        FACTS | {"sources": [-1]}, FACTS | {"sources": ["0"]}, FACTS | {"sources": [True]}, FACTS | {"sources": [0.0]},
        FACTS | {"errors": []}, FACTS | {"errors": {"1": GONE}}, FACTS | {"errors": {"x": GONE}},
        FACTS | {"errors": {"-0": GONE}}, FACTS | {"errors": {"0": "x"}}, FACTS | {"errors": {"0": {}}},
        FACTS | {"errors": {"0": {"message": 1}}}, FACTS | {"errors": {"0": GONE | {"hint": 1}}},
        FACTS | {"errors": {"9" * 50: GONE}}, FACTS | {"errors": {"0": GONE, "00": GONE}},
    ],
)  # fmt: skip
def test_facts_that_are_none_are_refused(facts):
    with pytest.raises(Garbage):
        read_result(bytearray(b'o[{"a":1}]'), bytearray(wire.encode(facts)), 1)


def test_an_answer_is_read():
    facts = {"sources": [None], "errors": {"1": {"message": "m" * 5000, "hint": "h", "line": 3, "other": 1}}}
    result = read_result(bytearray(b'o[{"a":1}]'), bytearray(wire.encode(facts)), 2)
    error = result.errors[1]
    assert (result.items, result.sources) == ([{"a": 1}], [None])
    assert (error.line, error.hint, error.item_index, len(error.message)) == (3, "h", 1, 2100)


@pytest.mark.parametrize(
    "payload", [b"", b"onull", b"o[]", b'o["a"]', b'o["a","1"]', b"o[1,1]", b'o["a",1,2]', b'o{"a":1}']
)
def test_log_lines_that_are_none_are_refused(payload):
    with pytest.raises(Garbage):
        read_line(bytearray(payload))


@pytest.mark.parametrize("facts", [None, [], {}, {"kind": "error"}, {"message": []}, {"message": "x", "hint": {}}])
def test_failures_that_are_none_are_refused(facts):
    with pytest.raises(Garbage):
        read_failure(bytearray(wire.encode(facts)), Limits())


@pytest.mark.parametrize(
    ("facts", "kind", "message", "line"),
    [
        ({"kind": "error", "message": "m", "line": 4}, CodeError, "m", 4),
        ({"kind": "error", "message": "m", "line": -4}, CodeError, "m", None),
        ({"kind": "error", "message": "m", "line": "4"}, CodeError, "m", None),
        ({"kind": "memory", "line": 2}, CodeLimitExceeded, "line 2: the code took more than 512 MB of memory", 2),
        ({"kind": "memory"}, CodeLimitExceeded, "the code took more than 512 MB of memory", None),
        (
            {"kind": "result", "size": 2**27},
            CodeLimitExceeded,
            "the code returned 128.0 MB of JSON, of which 64 MB is allowed",
            None,
        ),
        ({"kind": "result"}, CodeLimitExceeded, "the code returned more of JSON, of which 64 MB is allowed", None),
    ],
)
def test_a_failure_is_read(facts, kind, message, line):
    error = read_failure(bytearray(wire.encode(facts)), Limits())
    assert (type(error), error.message, error.line) == (kind, message, line)


@pytest.mark.parametrize("value", [{"a": 1}, [2**70, 1.0, "é😀", None, True], {"x": "\ud800"}, [], "text"])
def test_what_is_sent_is_what_arrives(value):
    assert wire.decode(wire.encode(value)) == value


def test_other_mappings_and_sequences_are_sent_as_dicts_and_lists():
    sent = wire.encode({"a": MappingProxyType({"b": UserList((1, 2**80))})}, wire.plain_container)
    assert wire.decode(sent) == {"a": {"b": [1, 2**80]}}
    assert json.loads(sent[1:]) == {"a": {"b": [1, 2**80]}}
