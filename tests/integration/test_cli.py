"""The command as people call it: a process, its two streams, its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.workflow import Workflow, save
from tests.support.build import chain, node, start, workflow
from tests.support.http_server import http_server

ROOT = Path(__file__).parents[2]
FLOWLEAF = [sys.executable, "-c", "from studio.cli import main; main()"]
ABOVE_100 = {"conditions": [{"value": "{{ item.body.total }}", "test": "greater_than", "other": 100}]}


class Called:
    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def flowleaf(tmp_path):
    """Calls the command in a folder of its own, with an environment of its own."""

    def call(
        *arguments: str, input: str | None = None, file: Workflow | str | None = None, **environment: str
    ) -> Called:
        if file is not None:
            (tmp_path / "w.json").write_text(file if isinstance(file, str) else save(file))
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        done = subprocess.run(
            [*FLOWLEAF, *arguments],
            cwd=tmp_path,
            env={**known, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **environment},
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Called(done)

    return call


def hook(**more) -> Workflow:
    return chain(node("hook", "core.webhook", {"path": "orders"}, **more), node("big", "core.filter", ABOVE_100))


def test_run_prints_the_items_of_the_last_node(flowleaf):
    called = flowleaf(
        "run", "w.json", file=chain(start([{"n": 1}]), node("s", params={"fields": {"m": "{{ item.n + 1 }}"}}))
    )
    assert called.code == 0
    assert called.json == [{"n": 1, "m": 2}]
    assert called.err == ""


def test_run_prints_every_last_node_by_label(flowleaf):
    flow = workflow(
        start([{"n": 1}]),
        node("a", "core.limit"),
        node("b", "core.limit", {"count": 0}),
        paths=("start > a", "start > b"),
    )
    assert flowleaf("run", "w.json", file=flow).json == {"a": [{"n": 1}], "b": []}


def test_a_node_without_main_gives_its_outputs_by_name(flowleaf):
    flow = chain(
        start([{"n": 1}]),
        node("if", "core.if", {"conditions": [{"value": "{{ item.n }}", "test": "equals", "other": 1}]}),
    )
    assert flowleaf("run", "w.json", file=flow).json == {"true": [{"n": 1}], "false": []}


def test_node_runs_only_what_it_needs(flowleaf):
    flow = chain(start([{"n": 1}]), node("a", "core.limit"), node("bad", params={"fields": {"x": "{{ item.gone }}"}}))
    called = flowleaf("run", "w.json", "--node", "a", file=flow)
    assert (called.code, called.json) == (0, [{"n": 1}])


INPUTS = {
    "a list": '[{"total": 250}, {"total": 40}]',
    "NDJSON": '{"total": 250}\n{"total": 40}\n',
    "whole calls": '[{"body": {"total": 250}}, {"body": {"total": 40}, "query": {"a": "1"}}]',
    "one object": '{"total": 250}',
}


@pytest.mark.parametrize("text", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("way", ["-", "file"])
def test_input_is_what_the_trigger_gives(flowleaf, tmp_path, text, way):
    (tmp_path / "in.json").write_text(text)
    source = "-" if way == "-" else "in.json"
    called = flowleaf("run", "w.json", "--input", source, file=hook(), input=text)
    assert [row["body"]["total"] for row in called.json] == [250]
    assert called.json[0]["method"] == "POST"


def test_input_goes_before_pin_data_and_pin_data_before_nothing(flowleaf):
    flow = hook(pinned={"main": [{"body": {"total": 999}}]})
    assert flowleaf("run", "w.json", file=flow).json == [{"body": {"total": 999}}]
    assert flowleaf("run", "w.json", "--input", "-", input='{"total": 500}', file=flow).json[0]["body"] == {
        "total": 500
    }


def test_set_gives_variables_with_their_types(flowleaf):
    flow = chain(
        start([{"n": 10}]), node("s", params={"fields": {"x": "{{ item.n * vars.rate }}", "who": "{{ vars.who }}"}})
    )
    called = flowleaf("run", "w.json", "--set", "rate=1.5", "--set", "who=a=b c", file=flow)
    assert called.json == [{"n": 10, "x": 15.0, "who": "a=b c"}]


def test_several_triggers_need_one_named(flowleaf):
    flow = workflow(
        node("a", "core.manual"), node("b", "core.manual"), node("x", "core.limit"), node("y", "core.limit"),
        paths=("a > x", "b > y"),
    )  # fmt: skip
    refused = flowleaf("run", "w.json", file=flow)
    assert refused.code == 2
    assert "'a', 'b'" in refused.err
    assert "--trigger" in refused.err
    assert flowleaf("run", "w.json", "--trigger", "b", "--input", "-", input="[{}]", file=flow).json == {
        "x": [],
        "y": [{}],
    }


def test_ndjson_and_table(flowleaf):
    flow = chain(start([{"n": 1, "t": "[red]x"}, {"n": 2}]), node("l", "core.limit"))
    assert flowleaf("run", "w.json", "--output", "ndjson", file=flow).out == '{"n":1,"t":"[red]x"}\n{"n":2}\n'
    table = flowleaf("run", "w.json", "--output", "table").out.splitlines()
    assert [line.split() for line in table] == [["n", "t"], ["1", "[red]x"], ["2"]]


def test_a_failed_run_says_node_item_field_and_what_to_do(flowleaf):
    called = flowleaf(
        "run", "w.json", file=chain(start([{"nam": 1}]), node("s", params={"fields": {"x": "{{ item.name }}"}}))
    )
    assert called.code == 1
    assert called.json == []
    assert (
        called.err.splitlines()[0]
        == 'error: node "s" (item 0, fields.x): item has no field "name"; did you mean "nam"?'
    )
    assert "->" in called.err
    assert "Traceback" not in called.err


def test_a_dry_run_shows_the_request_and_sends_nothing(flowleaf):
    with http_server() as server:
        params = {"url": server.url + "/echo", "method": "POST", "body": {"n": "{{ item.n }}"}}
        flow = chain(start([{"n": 1}]), node("send", "core.http_request", params))
        called = flowleaf("run", "w.json", "--dry-run", file=flow, FLOWLEAF_HTTP_ALLOW="127.0.0.1")
        assert server.requests == []
        assert (called.code, called.json) == (0, [])
        assert 'held: node "send"' in called.err
        assert '"body":{"n":1}' in called.err
        assert flowleaf("run", "w.json", FLOWLEAF_HTTP_ALLOW="127.0.0.1").code == 0
        assert len(server.requests) == 1


def test_files_are_found_beside_the_workflow_in_the_allowed_folders_and_among_the_samples(flowleaf, tmp_path):
    (tmp_path / "here.csv").write_text("n\n1\n")
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "there.csv").write_text("n\n2\n")
    for name, count in (("here.csv", 1), ("there.csv", 1), ("orders.csv", 10)):
        flow = chain(node("f", "core.read_file", {"path": name}), node("l", "core.limit"))
        called = flowleaf("run", "w.json", file=flow, FLOWLEAF_FILES=str(tmp_path / "allowed"))
        assert len(called.json) == count, called.err
    (tmp_path.parent / "outside.csv").write_text("n\n3\n")
    flow = workflow(node("f", "core.read_file", {"path": "../outside.csv"}))
    refused = flowleaf("run", "w.json", file=flow)
    assert refused.code == 1
    assert "FLOWLEAF_FILES" in refused.err


WRONG_CALLS = {
    "no such file": (["run", "gone.json"], None, "there is no file gone.json"),
    "a folder": (["run", "."], None, "is a folder"),
    "no such node": (["run", "w.json", "--node", "stat"], None, "Did you mean 'start'?"),
    "no such trigger": (["run", "w.json", "--trigger", "l"], None, "is no trigger"),
    "an output form": (["run", "w.json", "--output", "xml"], None, "json or ndjson or table"),
    "a variable": (["run", "w.json", "--set", "rate"], None, "name=value"),
    "no input": (["run", "w.json", "--input", "-"], "", "standard input is empty"),
    "broken input": (["run", "w.json", "--input", "-"], "{]", "neither JSON nor NDJSON"),
    "input of no objects": (["run", "w.json", "--input", "-"], "[1]", "element 0 is no object"),
    "no input file": (["run", "w.json", "--input", "gone"], None, "gone cannot be read"),
    "an unknown option": (["run", "w.json", "--nope"], None, "No such option"),
    "an unknown command": (["fly"], None, "No such command"),
    "a nodes form": (["nodes", "--output", "xml"], None, "json or table"),
    "a node name": (["node", "new", "Acme"], None, "acme.reverse"),
    "a node name of Python": (["node", "new", "acme.class"], None, "a word of Python"),
    "no such folder": (["node", "new", "acme.x", "--in", "gone"], None, "there is no folder gone"),
    "a core name": (["node", "new", "core.x"], None, "Flowleaf's own"),
}


@pytest.mark.parametrize(("arguments", "input", "message"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call_is_told_in_a_few_lines(flowleaf, arguments, input, message):
    called = flowleaf(*arguments, input=input, file=chain(start([{}]), node("l", "core.limit")))
    assert called.code == 2
    assert message in called.err
    assert called.out == ""
    assert len(called.err.splitlines()) <= 6
    assert "Traceback" not in called.err


def test_a_wrong_file_lists_all_that_is_wrong(flowleaf):
    text = json.loads(
        save(chain(start([{}]), node("l", "core.limti"), node("s", params={"fields": {"x": "{{ itm.a }}"}})))
    )
    text["nodes"][2]["colour"] = "red"
    text["connections"].append({"source": "gone", "output": "main", "target": "l", "input": "main"})
    called = flowleaf("run", "w.json", file=json.dumps(text))
    assert called.code == 2
    assert "4 problems" in called.err
    for part in ("unknown key 'colour'", "core.limit", "unknown name 'itm'", "'gone' is no node's id"):
        assert part in called.err


def test_a_webhook_without_a_call_is_a_wrong_call(flowleaf):
    called = flowleaf("run", "w.json", file=hook())
    assert called.code == 2
    assert "--input" in called.err


def test_input_without_a_trigger_is_a_wrong_call(flowleaf):
    called = flowleaf("run", "w.json", "--input", "-", input="{}", file=workflow(node("s", "core.set")))
    assert called.code == 2
    assert "no trigger" in called.err


def test_an_unknown_setting_is_a_wrong_call(flowleaf):
    called = flowleaf("run", "w.json", file=workflow(node("s", "core.set")), FLOWLEAF_FLIES="x")
    assert called.code == 2
    assert "FLOWLEAF_FILES" in called.err


def test_debug_shows_the_traceback_and_keeps_the_exit_code(flowleaf):
    called = flowleaf("run", "gone.json", "--debug")
    assert "Traceback" in called.err
    assert called.code == 2


def test_what_code_prints_goes_to_stderr(flowleaf):
    flow = chain(start([{"n": 1}]), node("c", "core.code", {"source": "print('hello', items[0]['n'])"}))
    called = flowleaf("run", "w.json", file=flow)
    assert called.json == [{"n": 1}]
    assert "[c] hello 1" in called.err


def test_nodes_as_json_has_what_a_catalogue_needs(flowleaf):
    listed = {entry["type"]: entry for entry in flowleaf("nodes", "--output", "json").json}
    assert {"core.webhook", "core.if", "core.summarize", "core.respond"} <= listed.keys()
    assert len(listed) == 16
    entry = listed["core.merge"]
    assert entry.keys() == {
        "type", "version", "label", "group", "effects", "inputs", "outputs", "summary", "keywords", "params"
    }  # fmt: skip
    assert entry["inputs"] == ["left", "right"]
    assert entry["params"]["properties"]["mode"]["description"]
    assert "core.merge" in flowleaf("nodes").out


def test_help_of_every_command_has_an_example(flowleaf):
    for arguments in ((), ("run",), ("nodes",), ("doctor",), ("node", "new")):
        called = flowleaf(*arguments, "--help")
        assert called.code == 0
        assert "Example: flowleaf" in called.out


def test_doctor_finds_everything_in_order(flowleaf):
    called = flowleaf("doctor")
    assert called.code == 0, called.out
    assert "code nodes: run in a child process" in called.out


def test_doctor_names_what_is_wrong(flowleaf):
    called = flowleaf("doctor", FLOWLEAF_PORT="99999999")
    assert called.code == 1
    assert "WRONG settings: FLOWLEAF_PORT" in called.out


def test_a_new_node_package_passes_its_own_test_and_is_found(flowleaf, tmp_path):
    made = flowleaf("node", "new", "acme.reverse")
    assert made.code == 0, made.err
    package = tmp_path / "flowleaf_acme"
    source = str(package / "src")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)],
        cwd=package,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([source, str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    again = flowleaf("node", "new", "acme.reverse")
    assert again.code == 2
    assert "is there already" in again.err


def test_closing_the_pipe_early_ends_quietly(flowleaf, tmp_path):
    (tmp_path / "w.json").write_text(
        save(chain(start([{"n": "x" * 100}] * 2000), node("l", "core.limit", {"count": 2000})))
    )
    done = subprocess.run(
        f"{sys.executable} -c 'from studio.cli import main; main()' run w.json --output ndjson | head -1",
        shell=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_items_that_leave_by_an_error_output_to_nowhere_are_told(flowleaf):
    bad = node("s", params={"fields": {"x": "{{ item.n + 1 }}"}}, on_error="output")
    called = flowleaf("run", "w.json", file=chain(start([{"n": 1}, {"n": "x"}]), bad))
    assert called.code == 0
    assert 'note: 1 item of "s" failed and left by the output error, which leads nowhere' in called.err


def test_a_dry_run_shows_no_secrets(flowleaf):
    params = {"url": "https://example.org", "method": "POST", "headers": {"Authorization": "Bearer s3cr3t", "X": "y"}}
    called = flowleaf("run", "w.json", "--dry-run", file=chain(start([{}]), node("h", "core.http_request", params)))
    assert "s3cr3t" not in called.err
    assert '"X":"y"' in called.err


def test_data_sends_no_commands_to_the_terminal(flowleaf):
    rows = [{"a": "\x1b[31mred\x1b]0;title\x07"}]
    flow = chain(start(rows), node("c", "core.code", {"source": "print('\x1b[2J')"}))
    called = flowleaf("run", "w.json", "--output", "table", file=flow)
    assert "\x1b" not in called.out + called.err


def test_a_thread_that_computes_on_does_not_hold_up_the_end(flowleaf):
    fields = {f"f{i}": "{{ item.n * 1.5 + item.n ** 2 }}" for i in range(60)}
    flow = chain(node("t", "core.manual"), node("slow", params={"fields": fields}, timeout_s=0.2))
    rows = json.dumps([{"n": i} for i in range(60_000)])
    began = time.perf_counter()
    called = flowleaf("run", "w.json", "--input", "-", input=rows, file=flow)
    assert called.code == 1
    assert "did not finish in 0.2 s" in called.err
    assert time.perf_counter() - began < 4


def test_an_interrupt_ends_at_once_and_quietly(tmp_path):
    (tmp_path / "w.json").write_text(save(chain(start([{}]), node("c", "core.code", {"source": "while True: pass"}))))
    process = subprocess.Popen(
        [*FLOWLEAF, "run", "w.json"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    began = time.perf_counter()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "stopped\n"
    assert time.perf_counter() - began < 3


def test_a_wrong_allow_list_is_named_as_such(flowleaf):
    flow = chain(start([{}]), node("h", "core.http_request", {"url": "http://127.0.0.1:9"}))
    called = flowleaf("run", "w.json", file=flow, FLOWLEAF_HTTP_ALLOW="127.0.0.0/99")
    assert called.code == 1
    assert "FLOWLEAF_HTTP_ALLOW" in called.err
    assert "fault of the package" not in called.err
    assert "WRONG http allow" in flowleaf("doctor", FLOWLEAF_HTTP_ALLOW="127.0.0.0/99").out


def test_what_code_printed_before_it_failed_is_shown(flowleaf):
    flow = chain(start([{"n": 1}]), node("c", "core.code", {"source": "print('so far')\nreturn items[3]"}))
    called = flowleaf("run", "w.json", file=flow)
    assert called.code == 1
    assert "[c] so far" in called.err
    assert "line 2" in called.err
