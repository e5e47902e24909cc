"""The log: one form for all, no secrets, and never in the way."""

import json
import logging
import subprocess
import sys
import threading
import timeit
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from engine.errors import DefinitionError
from engine.runtime.logs import LEVELS, QUIETER, ROUTED, bound, configure_logs, get_logger

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _the_log_is_given_back():
    config, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    loggers = {name: logging.getLogger(name) for name in {*ROUTED, *QUIETER}}
    before = {name: (list(log.handlers), log.level, log.propagate) for name, log in loggers.items()}
    yield
    logging.captureWarnings(False)
    structlog.configure(**config)
    root.handlers, root.level = handlers, level
    for name, (its_handlers, its_level, propagate) in before.items():
        log = loggers[name]
        log.handlers, log.propagate = its_handlers, propagate
        log.setLevel(its_level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_says_when_where_and_what(capsys):
    configure_logs("info", process="worker")
    get_logger().info("execution finished", execution_id="e1", duration_ms=12)
    (line,) = lines(capsys)
    at = datetime.fromisoformat(line.pop("at"))
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=10)
    assert line == {
        "level": "info",
        "process": "worker",
        "event": "execution finished",
        "execution_id": "e1",
        "duration_ms": 12,
    }


def test_what_is_bound_is_in_each_line_within(capsys):
    configure_logs("info", process="worker")
    log = get_logger()
    with bound(execution_id="e1", workflow_id="w1"):
        log.info("one", node_id="n1")
        logging.getLogger("some.library").warning("two")
    log.info("three")
    one, two, three = lines(capsys)
    assert (one["execution_id"], one["workflow_id"], one["node_id"]) == ("e1", "w1", "n1")
    assert (two["execution_id"], two["logger"], two["level"]) == ("e1", "some.library", "warning")
    assert "execution_id" not in three


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_leaves_out_what_is_below_it(capsys, level):
    configure_logs(level, process="web")
    log, library = get_logger(), logging.getLogger("some.library")
    for name in LEVELS:
        getattr(log, name)("ours")
        getattr(library, name)("theirs")
    written = [(line["level"], line["event"]) for line in lines(capsys)]
    expected = list(LEVELS)[list(LEVELS).index(level) :]
    assert written == [(name, event) for name in expected for event in ("ours", "theirs")]


def test_before_it_is_set_up_the_log_writes_warnings_and_nothing_to_stdout(capsys):
    get_logger().info("nobody hears")
    get_logger().warning("trouble", path="/x")
    out, err = capsys.readouterr()
    assert out == ""
    assert err[12:] == " warning flowleaf  trouble  path=/x\n"


def test_an_unknown_level_is_named():
    with pytest.raises(DefinitionError, match="no level of the log is called 'inf'") as caught:
        configure_logs("inf", process="web")
    assert caught.value.hint == "Did you mean 'info'?"


@pytest.mark.parametrize("name", ["uvicorn.error", "uvicorn.access", "dramatiq.worker.WorkerThread", "alembic.runtime"])
def test_libraries_write_each_line_once_in_the_same_form(capsys, name):
    its_own = logging.getLogger(name.partition(".")[0])
    its_own.addHandler(logging.StreamHandler(sys.stderr))
    its_own.propagate = False
    configure_logs("info", process="web")
    logging.getLogger(name).info('%s - "%s %s"', "127.0.0.1", "GET", "/livez")
    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["process"]) == ('127.0.0.1 - "GET /livez"', name, "web")


def test_statements_with_their_values_are_not_logged_even_at_debug(capsys):
    configure_logs("debug", process="web")
    logging.getLogger("sqlalchemy.engine.Engine").info("INSERT ... ('canary')")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com/?q=canary")
    assert lines(capsys) == []


def test_warnings_are_lines_too(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logs("info", process="web")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines(capsys)
    assert "DeprecationWarning: old thing" in line["event"]


def raise_with_a_secret() -> None:
    password = "canary-4711"  # noqa: F841  must not be shown
    raise ValueError("no such row")


def test_an_exception_is_told_without_the_values_of_variables(capsys):
    configure_logs("info", process="worker")
    for log in (get_logger(), logging.getLogger("some.library")):
        try:
            raise_with_a_secret()
        except ValueError:
            log.exception("failed")
    out = lines(capsys)
    for line in out:
        assert (line["level"], line["event"], line["error"]) == ("error", "failed", "ValueError")
        assert "ValueError: no such row" in line["traceback"]
        assert "in raise_with_a_secret" in line["traceback"]
        assert "password =" not in line["traceback"]
    assert len(out) == 2


def test_secrets_are_masked_by_name_and_in_addresses(capsys):
    configure_logs("info", process="web")
    log = get_logger()
    log.info("call", headers={"Authorization": "Bearer canary", "accept": "*/*"}, password="canary", cookie="canary")
    log.info("Open http://127.0.0.1:8000/?token=canary", url="postgresql://u:canary@db/f")
    logging.getLogger("uvicorn.access").info('"GET /?token=%s HTTP/1.1"', "canary")
    try:
        raise ValueError("cannot reach redis://:canary@cache")
    except ValueError:
        log.exception("failed")
    written = lines(capsys)
    assert "canary" not in json.dumps(written)
    assert written[0]["headers"] == {"Authorization": "***", "accept": "*/*"}


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


CYCLE: dict = {}
CYCLE["self"] = CYCLE
ODD = {
    "a lone surrogate": "\ud800",
    "a large integer": 2**80,
    "not a number": float("nan"),
    "an object": object(),
    "an object that cannot be shown": Broken(),
    "keys of all kinds": {1: "a", (2, 3): "b", None: "c"},
    "bytes": b"\xff",
    "itself": CYCLE,
    "a time": datetime(2026, 1, 1, tzinfo=UTC),
    "a line break": "a\nb\u2028c",
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("readable", [False, True])
def test_nothing_that_is_logged_breaks_the_line(capsys, value, readable):
    configure_logs("info", process="web", readable=readable)
    get_logger().info("odd", value=value)
    get_logger().info(value, process="mine")
    logging.getLogger("some.library").info("odd %d", value)
    out = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert len(out) == 3
    if not readable:
        assert [json.loads(line)["process"] for line in out] == ["web"] * 3
        assert json.loads(out[1])["process_"] == "mine"


def test_readable_lines_are_for_people_and_do_not_steer_the_terminal(capsys):
    configure_logs("info", process="web", readable=True)
    get_logger().info("call \x1b[2J refused", path="/\r\n/x", duration_ms=1.5)
    (line,) = capsys.readouterr().err.splitlines()
    assert line[12:] == " info    web       call \\x1b[2J refused  path=/\\r\\n/x  duration_ms=1.5"


def test_a_readable_exception_is_shown_below_its_line(capsys):
    configure_logs("info", process="web", readable=True)
    try:
        raise_with_a_secret()
    except ValueError:
        get_logger().exception("failed")
    out = capsys.readouterr().err.splitlines()
    assert out[0].endswith("failed  error=ValueError")
    assert out[-1] == "  ValueError: no such row"


@pytest.mark.parametrize("stream", ["closed", None, "/dev/full"])
def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch, stream):
    file = stream and Path("/dev/full" if stream == "/dev/full" else "/dev/null").open("w")  # noqa: SIM115
    if stream == "closed":
        file.close()
    monkeypatch.setattr(sys, "stderr", file)
    configure_logs("info", process="web")
    get_logger().info("lost")
    logging.getLogger("some.library").warning("lost")
    if stream == "/dev/full":
        with pytest.raises(OSError, match="No space"):
            file.close()


def test_lines_of_threads_do_not_mix(tmp_path):
    program = """
import logging, threading
from engine.runtime.logs import configure_logs, get_logger
configure_logs("info", process="worker")
log, library = get_logger(), logging.getLogger("some.library")
def write(number):
    for _ in range(200):
        log.info("x" * 500, thread=number)
        library.info("y" * 500)
threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert sorted(events) == ["x" * 500] * 800 + ["y" * 500] * 800
    assert done.stdout == ""


def test_what_is_bound_in_one_thread_is_not_in_another(capsys):
    configure_logs("info", process="worker")
    with bound(execution_id="e1"):
        thread = threading.Thread(target=lambda: get_logger().info("other"))
        thread.start()
        thread.join()
    assert "execution_id" not in lines(capsys)[0]


def test_a_debug_call_that_is_left_out_takes_under_two_microseconds():
    configure_logs("info", process="worker")
    log = get_logger()
    took_s = min(timeit.repeat(lambda: log.debug("step", node_id="n1", items=3), number=20_000, repeat=5)) / 20_000
    assert took_s < 2e-6


def test_the_command_starts_without_the_log():
    program = "import sys, studio.cli; sys.exit(int('structlog' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
