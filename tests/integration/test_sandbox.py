"""Code in real child processes: limits, ends, and what the process can reach."""

import asyncio
import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from engine.errors import CodeError, CodeLimitExceeded, InternalError
from engine.sandbox import CodeResult, Limits, check_source, run_code
from engine.sandbox.host import ask
from engine.sandbox.process import ENVIRONMENT, command

SMALL = Limits(wall_s=5, cpu_s=5, memory_mb=64, result_bytes=1000, log_bytes=100)
JOB = {"source": "", "items": [{"a": 1}], "shape": "items", "inputs": {}, "keep_going": False, "check_only": False}


def result(source, items=(), **options):
    return asyncio.run(run_code(source, items, **options))


def error(source, items=(), **options):
    with pytest.raises(CodeError) as caught:
        result(source, items, **options)
    return caught.value


def children():
    """Ids of processes whose parent this one is, dead ones too; without servers that were started for other tests."""
    own, found = str(os.getpid()), set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended meanwhile
            if path.read_text().rpartition(")")[2].split()[1] == own:
                found.add(path.parent.name)
    return sorted(found - SERVERS)


SERVERS: set[str] = set()


@pytest.fixture(autouse=True)
def _servers_of_other_tests():
    SERVERS.clear()
    SERVERS.update(children())


def test_a_run_gives_items_lineage_and_log():
    lines = []
    items = [{"n": 1, "big": 2**70, "text": "é😀"}, {"n": 2, "real": 1.0}]
    got = result("print('hi')\n\nlog(params['x'])", items, inputs={"x": 5}, on_log=lambda *line: lines.append(line))
    assert got == CodeResult(items, [0, 1], {}, ["hi", "5"], [1, 3])
    assert lines == [("hi", 1), ("5", 3)]
    assert type(got.items[1]["real"]) is float


def test_one_run_per_item_keeps_going():
    got = result("return {'x': 6 // item['n']}", [{"n": 2}, {"n": 0}, {"n": 3}], shape="item", keep_going=True)
    assert (got.items, got.sources) == ([{"x": 3}, {"x": 2}], [0, 2])
    assert (got.errors[1].message, got.errors[1].line, got.errors[1].item_index) == (
        "line 1: ZeroDivisionError: integer division or modulo by zero", 1, 1,
    )  # fmt: skip


def test_one_run_per_item_stops_at_the_first_failure():
    failed = error("return {'x': 6 // item['n']}", [{"n": 2}, {"n": 0}, {"n": 0}], shape="item")
    assert (failed.item_index, failed.line, failed.code) == (1, 1, "node.code")


def test_there_must_be_as_many_inputs_as_items():
    with pytest.raises(ValueError, match="1 inputs for 2 items"):
        result("pass", [{}, {}], shape="item", inputs=[{}])


def test_frames_work_within_the_limits():
    source = "print(df.groupby('k').agg(n=('v', 'sum')).n.max())\nreturn df.sort_values('v', ascending=False)"
    got = result(source, [{"k": "a", "v": 1}, {"k": "b", "v": 2}], limits=Limits(memory_mb=128))
    assert (got.sources, got.log) == ([1, 0], ["2"])


def test_an_error_is_told_with_line_and_hint_and_the_log_before_it():
    lines = []
    failed = error("print('before')\nreturn items[0]['prise']", [{"price": 1}], on_log=lambda *line: lines.append(line))
    assert (failed.message, failed.line, failed.hint) == ("line 2: KeyError: 'prise'", 2, "Did you mean 'price'?")
    assert lines == [("before", 1)]


@pytest.mark.parametrize(
    ("source", "limits", "message"),
    [
        ("while True: pass", {"wall_s": 0.3}, "the code ran longer than 0.3 s"),
        ("while True: pass", {"cpu_s": 0.2}, "the code used more than 0.2 s of processor time"),
        ("try:\n    sum(iter(int, 1))\nexcept BaseException:\n    pass", {"cpu_s": 0.2}, "processor time"),
        ("sum(iter(int, 1))", {"cpu_s": 0.2}, "processor time"),
        ("x = 10 ** 10 ** 8", {"cpu_s": 0.2}, "processor time"),
        ("import re\nre.match('(a|a)*$', 'a' * 50 + 'b')", {"cpu_s": 0.2}, "processor time"),
        ("import itertools\n-1 in itertools.count()", {"wall_s": 0.3}, "longer than 0.3 s"),
        ("list(range(10 ** 10))", {}, "line 1: the code took more than 64 MB of memory"),
        ("x = []\nwhile True:\n    x.append(x * 2)", {}, "more than 64 MB of memory"),
        ("x = 'ab' * 10 ** 9", {}, "more than 64 MB"),
        ("x = 1 << 10 ** 10", {}, "more than 64 MB"),
        ("return {'x': '%0900000000d' % 1}", {}, "more than 64 MB"),
        ("while True:\n    try:\n        x = bytearray(10 ** 9)\n    except MemoryError:\n        raise", {}, "64 MB"),
        ("return {'x': 'y' * 2000}", {}, "the code returned 0.0 MB of JSON, of which 0.000953674 MB is allowed"),
        ("d = {}\nfor i in range(20):\n    d = {'a': d, 'b': d}\nreturn d", {}, "of which"),
    ],
)  # fmt: skip
def test_a_limit_stops_the_code_and_is_named(source, limits, message):
    began = time.monotonic()
    failed = error(source, limits=Limits(**{"wall_s": 5, "cpu_s": 5, "memory_mb": 64, "result_bytes": 1000} | limits))
    assert type(failed) is CodeLimitExceeded
    assert message in failed.message
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "source",
    [
        "import itertools\nx = iter(())\nfor i in range(10 ** 6):\n    x = itertools.chain(x)\nnext(x, 0)",
        "x = iter(())\nfor i in range(10 ** 6):\n    x = map(abs, x)\nlist(x)",
    ],
)
def test_code_that_breaks_the_interpreter_breaks_only_its_process(source):
    failed = error(source, limits=Limits(wall_s=10, cpu_s=10, memory_mb=512))
    assert type(failed) is CodeLimitExceeded
    assert "512 MB" in failed.message


def test_a_flood_of_lines_is_cut():
    got = result("for i in range(10 ** 5):\n    print('x' * 60)\nreturn {'done': 1}", limits=SMALL)
    assert got.items == [{"done": 1}]
    assert got.log == ["x" * 60, "x" * 39, "(the log was cut here: it is longer than 100 bytes)"]
    assert got.log_lines == [2, 2, 0]


@pytest.mark.parametrize(
    "source", ["raise SystemExit(0)", "raise KeyboardInterrupt", "import os", "().__class__", "x = ("]
)
def test_what_fails_in_the_child_is_an_error_of_the_code(source):
    assert type(error(source)) is CodeError


# Put in the place of the runner: what a child could reach if the wall of the language were not there.
SPY = """
import json, os, resource
from engine.sandbox import child, runner

def look(job, log):
    try:
        os.write(os.open("/tmp/flowleaf-was-here", os.O_CREAT | os.O_WRONLY), b"x")
    except OSError as error:
        wrote = error.errno
    limit = lambda name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))
    found = {
        "environment": sorted(os.environ), "folder": os.getcwd(), "leads": os.getsid(0) == os.getpid(), "wrote": wrote,
        "limits": [limit(name) for name in ("NOFILE", "FSIZE", "CORE", "NPROC")],
        "open": [number for number in range(16) if os.path.exists(f"/proc/self/fd/{number}")],
        "no_new_rights": "NoNewPrivs:\\t1" in open("/proc/self/status").read(),
    }
    return runner.Outcome(b"o" + json.dumps([found]).encode(), None, {})

child.run = look
"""


def test_a_child_has_no_environment_no_files_and_no_room_to_move():
    words = command(SMALL)
    boot = words.index("-c") + 1
    words[boot] = words[boot].replace(
        "from engine.sandbox.child import main", SPY + "from engine.sandbox.child import main"
    )
    found = asyncio.run(ask(words, JOB, SMALL)).items[0]
    Path("/tmp/flowleaf-was-here").unlink()
    assert set(found.pop("environment")) <= {*ENVIRONMENT, "LC_CTYPE"}
    assert found == {
        "folder": "/",
        "leads": True,
        "wrote": errno.EFBIG,
        "limits": [[16, 16], [0, 0], [0, 0], [0, 0]],
        "open": [0, 1, 2, 3],  # 3 is the file that the look itself opened
        "no_new_rights": True,
    }


HELLO = """
import os, struct, sys, time
def say(*frames):
    os.write(0, b"".join(struct.pack("<cI", kind, len(payload)) + payload for kind, payload in frames))
say((b"R", b""))
"""


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("say((b'I', b'o[{}]'), (b'F', b'onull'))", CodeError),
        ("say((b'I', b'hello'), (b'F', b'o{}'))", CodeError),
        ("say((b'I', b'o[{}]'), (b'I', b'o[{}]'))", CodeError),
        ("say((b'F', b'o{}'))", CodeError),
        ("say((b'Z', b''))", CodeError),
        ("say((b'L', b'o[1,2]'))", CodeError),
        ("say((b'E', b'\\x80'))", CodeError),
        ("os.write(0, b'\\xff' * 64)", CodeError),
        ("os.write(0, b'I' + b'\\xff' * 4); time.sleep(9)", CodeLimitExceeded),
        ("os.write(0, b'E' + b'\\xff' * 4); time.sleep(9)", CodeError),
        ("say((b'I', b'o[{}]')); os.write(0, b'F' + b'\\xff' * 4); time.sleep(9)", CodeError),
        ("say(*[(b'L', b'o[\"' + b'x' * 90 + b'\",1]')] * 9); time.sleep(9)", CodeError),
        ("say((b'I', b'o[{\"a\":' )); os.write(0, b'F')", CodeError),
        ("sys.exit(3)", CodeError),
        ("os.kill(os.getpid(), 9)", CodeLimitExceeded),
        ("os.kill(os.getpid(), 11)", CodeLimitExceeded),
        ("os.write(0, b'I')", CodeError),
        ("os.close(0); time.sleep(9)", CodeLimitExceeded),
    ],
)
def test_a_child_that_says_anything_at_all_does_no_harm(program, kind):
    words = [sys.executable, "-I", "-S", "-c", HELLO + program]
    with pytest.raises(CodeError) as caught:
        asyncio.run(ask(words, JOB, SMALL))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ImportError('no such library')", "ImportError: no such library"),
        ("pass", "it said nothing"),
        ("import os; os.write(0, b'J1234')", "it spoke out of turn"),
    ],
)
def test_a_child_that_does_not_start_is_our_fault(program, reason):
    with pytest.raises(InternalError, match=reason):
        asyncio.run(ask([sys.executable, "-I", "-S", "-c", program], JOB, SMALL))


def test_a_command_that_is_not_there_leaves_nothing_open():
    with pytest.raises(FileNotFoundError):
        asyncio.run(ask(["/nowhere/python"], JOB, SMALL))


def test_a_child_that_is_slow_to_start_is_given_up():
    with pytest.raises(InternalError, match=r"it took longer than 0\.1 s"):
        asyncio.run(ask([sys.executable, "-I", "-S", "-c", "import time; time.sleep(9)"], JOB, SMALL, start_s=0.1))


def test_cancelling_ends_the_process_and_leaves_no_zombie():
    async def cancelled():
        running = asyncio.create_task(run_code("while True: pass", []))
        await asyncio.sleep(0.2)
        assert children()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return children()

    assert asyncio.run(cancelled()) == []


def test_cancelling_twice_leaves_no_zombie_either():
    async def cancelled():
        running = asyncio.create_task(run_code("while True: pass", []))
        await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return children()

    assert asyncio.run(cancelled()) == []


def test_no_run_leaves_a_process():
    error("while True: pass", limits=Limits(wall_s=0.2))
    result("return {'x': 1}")
    assert children() == []


def test_runs_at_the_same_time_do_not_mix():
    async def together():
        runs = [
            run_code(f"print({n})\nreturn {{'n': item['n'] * {n}}}", [{"n": n}] * n, shape="item") for n in range(12)
        ]
        return await asyncio.gather(*runs)

    for n, got in enumerate(asyncio.run(together())):
        assert got.items == [{"n": n * n}] * n
        assert got.log == [str(n)] * n


def test_the_loop_goes_on_while_code_runs():
    async def ticks():
        running = asyncio.create_task(run_code("while True: pass", [], limits=Limits(wall_s=0.4)))
        count = 0
        while not running.done():
            await asyncio.sleep(0.02)
            count += 1
        with pytest.raises(CodeLimitExceeded):
            await running
        return count

    assert asyncio.run(ticks()) > 8


def test_a_hundred_thousand_items_go_there_and_back():
    items = [{"id": n, "name": f"name {n}", "price": n * 1.5, "tags": ["a", "b"], "big": None} for n in range(100_000)]
    got = result("for item in items:\n    item['id'] += 1", items)
    assert len(got.items) == 100_000
    assert got.items[-1] == items[-1] | {"id": 100_000}
    assert got.sources == list(range(100_000))


def test_a_source_is_checked_without_running_it():
    check_source("import re\nfor i in items:\n    i['x'] = 1\nreturn 1 / 0")
    with pytest.raises(CodeError) as caught:
        check_source("x = 1\nimport os")
    assert (caught.value.line, caught.value.message) == (2, "line 2: module 'os' is not available in code nodes")
    assert "Available: base64" in caught.value.hint


def test_a_source_may_be_checked_from_within_a_loop():
    async def checks():
        with pytest.raises(CodeError, match="line 1: SyntaxError"):
            check_source("x = ]")

    asyncio.run(checks())
