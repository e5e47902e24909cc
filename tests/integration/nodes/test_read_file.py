"""core.read_file: CSV, JSON and NDJSON below the allowed folders."""

import json

import pytest

from engine.run import LocalServices
from tests.support.build import chain, node, run, run_node, workflow
from tests.support.nodes import refusals


@pytest.fixture
def read(tmp_path):
    """Reads a file with these bytes in it; gives the run."""

    def read(name, data, **params):
        (tmp_path / name).write_bytes(data)
        services = LocalServices(folders=[tmp_path])
        return run(workflow(node("node", "core.read_file", {"path": name, **params})), services=services)

    return read


TABLE = [{"name": "Ada", "age": 36}, {"name": "Zoë", "age": 7}]
FILES = {
    "csv": ("a.csv", "name,age\nAda,36\nZoë,7\n".encode(), {}),
    "an ending in capitals": ("A.CSV", "name,age\nAda,36\nZoë,7\n".encode(), {}),
    "csv with a byte order mark": ("a.csv", "\ufeffname,age\nAda,36\nZoë,7\n".encode(), {}),
    "semicolons": ("a.csv", "name;age\nAda;36\nZoë;7\n".encode(), {}),
    "a delimiter that is told": ("a.csv", "name|age\nAda|36\nZoë|7\n".encode(), {"delimiter": "|"}),
    "tabs": ("a.tsv", "name\tage\nAda\t36\nZoë\t7\n".encode(), {}),
    "lines of Windows in its encoding": (
        "a.csv",
        "name,age\r\nAda,36\r\nZoë,7\r\n".encode("cp1252"),
        {"encoding": "cp1252"},
    ),
    "utf-16": ("a.csv", "name,age\nAda,36\nZoë,7\n".encode("utf-16"), {"encoding": "utf-16"}),
    "json": ("a.json", json.dumps(TABLE).encode(), {}),
    "json with a byte order mark": ("a.json", json.dumps(TABLE).encode("utf-8-sig"), {}),
    "ndjson": ("a.ndjson", b"".join(json.dumps(row).encode() + b"\n" for row in TABLE), {}),
    "jsonl with empty lines": (
        "a.jsonl",
        b"\xef\xbb\xbf" + b"\r\n\n".join(json.dumps(row).encode() for row in TABLE),
        {},
    ),
    "a format that is told": ("a.txt", json.dumps(TABLE).encode(), {"format": "json"}),
    "a format that is told, against the ending": ("a.csv", json.dumps(TABLE).encode(), {"format": "json"}),
}


@pytest.mark.parametrize(("name", "data", "params"), FILES.values(), ids=FILES)
def test_a_file_becomes_items(read, name, data, params):
    ran = read(name, data, **params)
    assert ran.status == "succeeded", ran.error("node")
    assert ran["node"] == TABLE


SMALL = {
    "one object": ("a.json", b'{"a": 1}', {}, [{"a": 1}]),
    "an empty list": ("a.json", b"[]", {}, []),
    "a header only": ("a.csv", b"a,b\n", {}, []),
    "an empty csv": ("a.csv", b"", {}, []),
    "an empty ndjson": ("a.ndjson", b"", {}, []),
    "all as text": (
        "a.csv",
        b"n,ok\n1,true\n2.5,false\n",
        {"types": False},
        [{"n": "1", "ok": "true"}, {"n": "2.5", "ok": "false"}],
    ),
    "types": (
        "a.csv",
        b"n,ok,zip\n1,true,007\n2.5,,010\n",
        {},
        [
            {"n": 1.0, "ok": True, "zip": "007"},
            {"n": 2.5, "ok": None, "zip": "010"},
        ],
    ),
    "numbers beyond 64 bits": ("a.json", b'[{"n": 1180591620717411303424}]', {}, [{"n": 2**70}]),
    "a cell with line breaks": ("a.csv", b'a,b\n"x\ny",1\n', {}, [{"a": "x\ny", "b": 1}]),
}


@pytest.mark.parametrize(("name", "data", "params", "expected"), SMALL.values(), ids=SMALL)
def test_what_a_file_may_hold(read, name, data, params, expected):
    assert read(name, data, **params)["node"] == expected


BROKEN = {
    "no known ending": (
        "a.txt",
        b"",
        {},
        "a.txt: its ending does not say what it holds",
        "Set format to csv, json or ndjson.",
    ),
    "no ending": ("csv", b"", {}, "csv: its ending does not say what it holds", "Set format"),
    "broken json": ("a.json", b'[{"a": 1},\n {"a": }]', {}, "a.json: this is not JSON: line 2, column", ""),
    "broken ndjson": ("a.ndjson", b'{"a": 1}\n{"a"\n', {}, "a.ndjson: line 2 is not JSON:", ""),
    "json of numbers": (
        "a.json",
        b"[{}, 5]",
        {},
        "element 1 of the JSON is a number, not an object",
        "Items are objects",
    ),
    "json in another encoding": ("a.json", '{"a": "ö"}'.encode("cp1252"), {}, "a.json: this is not JSON", ""),
    "csv in another encoding": (
        "a.csv",
        "a\nö\n".encode("cp1252"),
        {},
        "a.csv is not utf-8: byte 2 cannot be read",
        "Set its encoding, for example cp1252",
    ),
    "an encoding that is none": (
        "a.csv",
        b"a\n1\n",
        {"encoding": "utf-9"},
        "no encoding is called 'utf-9'",
        "For example utf-8",
    ),
    "a row too long": (
        "a.csv",
        b"a,b\n1,2\n1,2,3\n",
        {},
        "a.csv: line 3 has 3 cells, the header has 2",
        "Check the delimiter",
    ),
}


@pytest.mark.parametrize(("name", "data", "params", "message", "hint"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_with_a_file_is_told_with_its_name(read, name, data, params, message, hint):
    error = read(name, data, **params).error("node")
    assert message in error["message"]
    assert hint in error.get("hint", "")


def test_files_outside_the_folders_cannot_be_read(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    secret = tmp_path / "secret.json"
    secret.write_text('{"a": 1}')
    (inside / "link.json").symlink_to(secret)
    for path in ("../secret.json", str(secret), "link.json"):
        error = run_node("core.read_file", {"path": path}, [{}], services=LocalServices(folders=[inside])).error("node")
        assert "FLOWLEAF_FILES" in error["hint"]
        assert path in error["message"]


def test_a_file_that_is_not_there_is_named_with_where_it_was_looked_for(tmp_path):
    error = run_node("core.read_file", {"path": "a.csv"}, [{}], services=LocalServices(folders=[tmp_path])).error(
        "node"
    )
    assert error["message"] == "there is no file a.csv"
    assert str(tmp_path) in error["hint"]


def test_it_reads_one_file_for_each_item_and_goes_on_without_those_that_fail(tmp_path):
    (tmp_path / "a.json").write_text('[{"n": 1}, {"n": 2}]')
    (tmp_path / "b.json").write_text('[{"n": 3}]')
    rows = [{"file": "b.json"}, {"file": "c.json"}, {"file": "a.json"}]
    ran = run_node(
        "core.read_file",
        {"path": "{{ item.file }}"},
        rows,
        services=LocalServices(folders=[tmp_path]),
        on_error="output",
    )
    assert ran["node"] == [{"n": 3}, {"n": 1}, {"n": 2}]
    outputs = ran.result("node").outputs
    assert [outputs["main"].lineage.of(i)["main"] for i in range(3)] == [(0,), (2,), (2,)]
    assert [row["file"] for row in outputs["error"].rows] == ["c.json"]


def test_other_branches_go_on_while_a_large_file_is_read(tmp_path):
    lines = "".join(f"{n},{n / 7},text {n}\n" for n in range(60_000))
    (tmp_path / "large.csv").write_text("a,b,c\n" + lines)
    flow = chain(node("read", "core.read_file", {"path": "large.csv"}), node("end", "core.limit", {"count": 1}))
    beside = node("beside", "core.set", {"fields": {"x": 1}})
    drawn = flow.model_copy(update={"nodes": (*flow.nodes, beside)})
    ran = run(drawn, services=LocalServices(folders=[tmp_path]))
    finished = [event.node_id for event in ran.events if event.kind == "node.finished"]
    assert finished == ["beside", "read", "end"]


BAD = {
    "no path": ({}, "'path' is missing"),
    "an empty path": ({"path": ""}, "params.path: should have at least 1 character"),
    "a format that is none": (
        {"path": "a", "format": "xml"},
        "params.format: should be 'auto', 'csv', 'json' or 'ndjson'",
    ),
    "a delimiter that is none": ({"path": "a", "delimiter": "comma"}, "params.delimiter: should be"),
}


@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(params, said):
    assert said in refusals("core.read_file", params)[0]
