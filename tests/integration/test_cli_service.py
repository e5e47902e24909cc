"""The commands around the service: help, import and export, upgrade, doctor, and what is refused."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.runtime.locks import FileLock, Locked
from engine.workflow import read, save
from tests.support.build import chain, node, start

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "up", "web", "hooks", "worker", "scheduler", "import", "export", "db", "db upgrade", "backup", "restore", "doctor",
    "run", "nodes", "node new",
)  # fmt: skip


@pytest.fixture
def flowleaf(tmp_path):
    """Calls the command in a folder of its own, with an environment of its own."""

    def call(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "from studio.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_hides_what_is_internal(flowleaf, command):
    done = flowleaf(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Example: flowleaf {command.split()[0]}" in done.stdout
    assert "--pulse" not in done.stdout and "--listener" not in done.stdout


def test_help_comes_at_once(flowleaf):
    def took() -> float:
        began = time.monotonic()
        assert flowleaf("--help").returncode == 0
        return time.monotonic() - began

    assert min(took() for _ in range(5)) < 0.3


def test_a_file_that_is_imported_and_published_comes_back_as_it_was(flowleaf, tmp_path):
    workflow = chain(node("hook", "core.webhook", {"path": "orders"}), node("last", "core.limit"), name="Orders")
    (tmp_path / "w.json").write_text(save(workflow))
    refused = flowleaf("import", "w.json")
    assert refused.returncode == 2
    assert "flowleaf db upgrade" in refused.stderr
    assert flowleaf("db", "upgrade").stdout == "SQLite, made\n"
    assert flowleaf("db", "upgrade").stdout == "SQLite, up to date\n"
    made = flowleaf("import", "w.json", "--publish")
    assert made.returncode == 0, made.stderr
    id_ = made.stdout.strip()
    assert len(id_) == 32
    exported = flowleaf("export", id_)
    assert exported.stdout == save(workflow)
    assert not read(exported.stdout).problems
    assert flowleaf("export", "0" * 32).returncode != 0


def test_what_cannot_be_published_is_stored_and_says_so(flowleaf, tmp_path):
    (tmp_path / "w.json").write_text(save(chain(node("first", "core.limit"), node("last", "core.limit"))))
    flowleaf("db", "upgrade")
    done = flowleaf("import", "w.json", "--publish")
    assert done.returncode != 0
    assert "not published" in done.stderr and "error: " in done.stderr
    (tmp_path / "broken.json").write_text("{")
    assert flowleaf("import", "broken.json").returncode == 2


def test_a_backup_is_restored_into_an_empty_folder(flowleaf, tmp_path):
    (tmp_path / "w.json").write_text(save(chain(start([{"n": 1}]), node("last", "core.limit"))))
    flowleaf("db", "upgrade")
    id_ = flowleaf("import", "w.json").stdout.strip()
    made = flowleaf("backup", "all.backup")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("all.backup: ")
    assert flowleaf("backup", "all.backup").returncode == 2
    restored = flowleaf("restore", "all.backup", FLOWLEAF_HOME="other")
    assert restored.returncode == 0, restored.stderr
    assert flowleaf("export", id_, FLOWLEAF_HOME="other").stdout == flowleaf("export", id_).stdout
    assert flowleaf("restore", "all.backup").returncode == 2


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_a_process_alone_needs_a_redis_that_is_named(flowleaf, command):
    flowleaf("db", "upgrade")
    done = flowleaf(command)
    assert done.returncode == 2
    assert "FLOWLEAF_REDIS_URL" in done.stderr


@pytest.mark.parametrize("slots", ["async", "async=x", "other=3", "async=-1", "async=0", "async=99999", ""])
def test_slots_that_make_no_sense_are_refused(flowleaf, slots):
    done = flowleaf("worker", "--slots", slots)
    assert done.returncode == 2
    assert "Example: --slots async=200,code=8" in done.stderr


def test_web_beyond_loopback_needs_a_password(flowleaf):
    done = flowleaf("web", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "FLOWLEAF_PASSWORD" in done.stderr


def test_doctor_finds_what_is_wrong_with_the_installation(flowleaf, tmp_path):
    well = flowleaf("doctor", FLOWLEAF_PORT="18743")
    assert well.returncode == 0, well.stdout
    for what in ("data folder", "key", "database", "redis", "address", "code nodes"):
        assert f"ok    {what}: " in well.stdout
    assert not (tmp_path / ".flowleaf").exists()  # asked for, not made
    flowleaf("db", "upgrade")
    (tmp_path / ".flowleaf" / "key").write_text("x")
    (tmp_path / ".flowleaf" / "key").chmod(0o644)
    ill = flowleaf(
        "doctor",
        FLOWLEAF_REDIS_URL="redis://:secret-word@127.0.0.1:1/0",
        FLOWLEAF_DATABASE_URL="postgresql://me:secret-word@127.0.0.1:1/none",
        FLOWLEAF_HOST="0.0.0.0",
    )
    assert ill.returncode == 1
    for what in ("key", "database", "redis", "address"):
        assert f"WRONG {what}: " in ill.stdout
    assert "secret-word" not in ill.stdout + ill.stderr


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("studio.cli", ("sqlalchemy", "fastapi", "uvicorn", "redis", "pandas")),
        ("studio.up", ("sqlalchemy", "alembic", "fastapi", "uvicorn", "redis")),
        ("studio.hooks", ("fastapi", "alembic", "pandas", "reflex")),
        ("studio.process, engine.runtime.worker", ("fastapi", "uvicorn", "alembic", "pandas")),
        ("studio.process, engine.runtime.scheduler", ("fastapi", "uvicorn", "pandas")),
        ("studio.web", ("alembic", "pandas", "reflex")),
    ],
)
def test_a_process_loads_what_it_needs_and_no_more(module, without):
    code = f"import sys, {module}; print(sorted({set(without)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_lock_is_one_process_s_until_it_gives_it_back(tmp_path):
    lock = FileLock(tmp_path / "lock", about="flowleaf up (process 7)")
    with pytest.raises(Locked, match=r"flowleaf up \(process 7\)"):
        FileLock(tmp_path / "lock", about="other")
    lock.release()
    FileLock(tmp_path / "lock", about="other").release()
