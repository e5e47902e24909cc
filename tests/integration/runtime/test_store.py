"""Transactions on both databases: one writer at a time on SQLite, and errors that say what to do."""

import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.runtime.store import POOL, Store, StoreUnavailable
from tests.support.servers import PostgresServer

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = Store(database_url)
    with made.write() as connection:
        connection.execute(text("CREATE TABLE entry (id INTEGER PRIMARY KEY, said TEXT)"))
        connection.execute(text("INSERT INTO entry VALUES (0, '0')"))
    yield made
    made.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'flowleaf.db'}")
    with made.write() as connection:
        connection.execute(text("CREATE TABLE entry (id INTEGER PRIMARY KEY, said TEXT)"))
        connection.execute(text("INSERT INTO entry VALUES (0, '0')"))
    yield made
    made.close()


def count(store: Store) -> int:
    with store.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM entry")).scalar_one())


def add(store: Store, id_: int, said: str = "") -> None:
    with store.write() as connection:
        connection.execute(text("INSERT INTO entry VALUES (:id, :said)"), {"id": id_, "said": said})


def raise_by_one(store: Store, times: int) -> None:
    """Read, then write: two that do so at once lose something where they do not wait for each other."""
    lock = "" if store.is_sqlite else "FOR UPDATE"
    for _ in range(times):
        with store.write() as connection:
            said = int(connection.execute(text(f"SELECT said FROM entry WHERE id = 0 {lock}")).scalar_one())
            connection.execute(text("UPDATE entry SET said = :said WHERE id = 0"), {"said": str(said + 1)})


def raise_apart(url: str, times: int) -> None:
    store = Store(url)
    raise_by_one(store, times)
    store.close()


def value(store: Store) -> str:
    with store.read() as connection:
        return str(connection.execute(text("SELECT said FROM entry WHERE id = 0")).scalar_one())


def test_a_block_that_raises_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(KeyError), store.write() as connection:
        connection.execute(text("INSERT INTO entry VALUES (1, 'x')"))
        raise KeyError
    assert count(store) == 1
    add(store, 1)  # and the lock is free


def test_threads_that_read_and_write_lose_nothing(store: Store) -> None:
    threads = [threading.Thread(target=raise_by_one, args=(store, 25)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(store) == "200"


def test_processes_that_read_and_write_lose_nothing(store: Store, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=raise_apart, args=(database_url, 50)) for _ in range(3)]
    for process in processes:
        process.start()
    raise_by_one(store, 50)
    for process in processes:
        process.join()
    assert value(store) == "200"


def test_a_write_on_sqlite_begins_as_a_writer(sqlite_store: Store) -> None:
    """A deferred transaction that reads first fails at once where somebody else wrote meanwhile."""
    other = sqlite3.connect(sqlite_store.url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
    with sqlite_store.write() as connection:
        connection.execute(text("SELECT * FROM entry"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()


def test_a_read_waits_for_no_writer(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("INSERT INTO entry VALUES (1, 'x')"))
        assert count(store) == 1
    assert count(store) == 2


def test_a_commit_that_need_not_be_durable_leaves_the_next_one_durable(sqlite_store: Store) -> None:
    with sqlite_store.write(durable=False) as connection:
        connection.execute(text("INSERT INTO entry VALUES (1, 'x')"))
    with sqlite_store.write() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    assert count(sqlite_store) == 2


def test_a_process_that_holds_the_lock_for_long_is_named_and_waited_for_a_while(sqlite_store: Store) -> None:
    path = sqlite_store.url.removeprefix("sqlite:///")
    holds = (
        "import fcntl, os, sys, time; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); "
        "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holds, path + ".lock"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="another process holds"):
            add(sqlite_store, 1)
        assert time.monotonic() - began < 8
        process.kill()
    add(sqlite_store, 1)


def test_a_thread_waits_for_the_lock_no_longer_than_a_process(sqlite_store: Store) -> None:
    """However many others wait before it: each of them has given up by then."""
    release = threading.Event()

    def hold() -> None:
        with sqlite_store.write():
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    time.sleep(0.1)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        add(sqlite_store, 1)
    assert time.monotonic() - began < 8
    release.set()
    holder.join()


def test_a_call_that_gets_no_connection_is_told_that_too_many_wait(store: Store) -> None:
    release = threading.Event()
    taken = threading.Barrier(2 * POOL + 1)

    def hold() -> None:
        with store.read():
            taken.wait(20)
            release.wait(20)

    threads = [threading.Thread(target=hold) for _ in range(2 * POOL)]
    for thread in threads:
        thread.start()
    taken.wait(20)
    began = time.monotonic()
    try:
        with pytest.raises(StoreUnavailable, match="too many calls"):
            count(store)
    finally:
        release.set()
        for thread in threads:
            thread.join()
    assert time.monotonic() - began < 8
    assert count(store) == 1


def test_an_error_of_the_block_stays_what_it_is(store: Store) -> None:
    with pytest.raises(TimeoutError, match="mine"), store.read():
        raise TimeoutError("mine")


def test_a_full_database_says_that_the_disk_is_full_and_recovers(sqlite_store: Store) -> None:
    with sqlite_store.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    path = sqlite_store.url.removeprefix("sqlite:///")
    sqlite_store.close()
    full = Store(f"sqlite:///{path}")
    with full.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="the disk is full") as said:
        add(full, 1, "x" * 100_000)
    assert said.value.hint is not None
    assert count(full) == 1
    full.close()
    again = Store(f"sqlite:///{path}")
    add(again, 1, "x" * 100_000)
    again.close()


LIMITED = """
import resource, signal, sys
from sqlalchemy import text
from engine.runtime.store import Store, StoreUnavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(sys.argv[1])
with store.write() as connection:
    connection.execute(text("UPDATE entry SET said = 'before' WHERE id = 0"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    with store.write() as connection:
        connection.execute(text("INSERT INTO entry VALUES (1, :said)"), {"said": "x" * 1_000_000})
except StoreUnavailable as exc:
    print(exc.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with store.write() as connection:
    connection.execute(text("INSERT INTO entry VALUES (2, :said)"), {"said": "x" * 1_000_000})
store.close()
"""


def test_a_file_that_cannot_grow_fails_one_write_and_no_later_one(sqlite_store: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, sqlite_store.url], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "disk" in done.stdout
    with sqlite_store.read() as connection:
        assert list(connection.execute(text("SELECT id FROM entry ORDER BY id")).scalars()) == [0, 2]


READ_ONLY = """
import os, sys
from sqlalchemy import text
from engine.runtime.store import Store, StoreUnavailable
os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = Store(sys.argv[1])
try:
    with store.write() as connection:
        connection.execute(text("INSERT INTO entry VALUES (1, 'x')"))
except StoreUnavailable as exc:
    print(exc.message, exc.hint)
"""


def test_a_folder_that_may_not_be_written_says_so(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.close()
    for path in (*tmp_path.iterdir(), tmp_path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = READ_ONLY if os.geteuid() == 0 else READ_ONLY.replace("os.setgroups", "#")
    above = tmp_path.parents
    made_open = [folder for folder in above if folder.owner() != "nobody" and str(folder).startswith("/tmp/pytest")]
    for folder in made_open:
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[2])" + code, sqlite_store.url, str(ROOT)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the data folder" in done.stdout or "cannot be locked" in done.stdout


def test_a_database_without_tables_says_how_to_make_them(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(StoreUnavailable, match="has no tables") as said:
        count(store)
    assert said.value.hint == "Run: flowleaf db upgrade"
    store.close()


def test_errors_hold_no_values(store: Store) -> None:
    with pytest.raises(Exception) as said, store.read() as connection:
        connection.execute(text("SELECT * FROM nowhere WHERE a = :secret"), {"secret": "canary"})
    if isinstance(said.value, StoreUnavailable):
        assert "canary" not in str(said.value)


def test_a_stopped_postgres_is_unavailable_and_comes_back(postgres_server: PostgresServer, postgres_url: str) -> None:
    store = Store(postgres_url)
    with store.write() as connection:
        connection.execute(text("CREATE TABLE entry (id INTEGER PRIMARY KEY, said TEXT)"))
    postgres_server.stop()
    try:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                add(store, 1)
            with pytest.raises(StoreUnavailable, match="does not answer"):
                count(store)
    finally:
        postgres_server.start()
    add(store, 1)
    assert count(store) == 1
    store.close()


def test_a_transaction_in_which_postgres_dies_is_unavailable(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    store = Store(postgres_url)
    with pytest.raises(StoreUnavailable), store.write() as connection:
        connection.execute(text("CREATE TABLE entry (id INTEGER PRIMARY KEY, said TEXT)"))
        postgres_server.restart()
        connection.execute(text("SELECT 1"))
    with store.read() as connection:
        assert connection.execute(text("SELECT to_regclass('entry')")).scalar() is None
    store.close()


def write_without_a_gap(url: str, first: int, ends_at: float) -> None:
    store = Store(url)
    id_ = first
    while time.time() < ends_at:
        with store.write() as connection:
            rows = [{"id": id_ + i, "said": "x" * 1_000} for i in range(30)]
            connection.execute(text("INSERT INTO entry VALUES (:id, :said)"), rows)
        id_ += 30
    store.close()


def test_an_edit_beside_two_writers_without_a_gap_is_committed_soon(sqlite_store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    ends_at = time.time() + 5
    processes = [
        context.Process(target=write_without_a_gap, args=(sqlite_store.url, (i + 1) * 10_000_000, ends_at))
        for i in range(2)
    ]
    for process in processes:
        process.start()
    while count(sqlite_store) < 1_000:
        time.sleep(0.05)
    took: list[float] = []
    while time.time() < ends_at - 0.5:
        began = time.perf_counter()
        add(sqlite_store, len(took) + 1)
        took.append((time.perf_counter() - began) * 1_000)
        time.sleep(0.02)
    for process in processes:
        process.join()
    p95 = statistics.quantiles(took, n=20)[-1]
    print(f"edit_commit_p95_ms {p95:.1f} of {len(took)}")
    assert len(took) > 20
    assert p95 < 150, took  # 7 ms alone; room for a busy machine


def test_the_write_ahead_log_is_moved_into_the_database_meanwhile(sqlite_store: Store) -> None:
    path = Path(sqlite_store.url.removeprefix("sqlite:///"))
    before = path.stat().st_size
    for id_ in range(1, 21):
        add(sqlite_store, id_, "x" * 1_000_000)
    ends_at = time.monotonic() + 10
    while path.stat().st_size < before + 10_000_000:
        assert time.monotonic() < ends_at, "no checkpoint came"
        time.sleep(0.1)


def test_the_database_is_readable_by_its_owner_only(sqlite_store: Store) -> None:
    path = Path(sqlite_store.url.removeprefix("sqlite:///"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.with_name(path.name + ".lock").stat().st_mode & 0o077 == 0


def test_a_database_file_that_was_removed_is_not_made_anew_unseen(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"), Store(f"sqlite:///{tmp_path}/no/such.db").read():
        pass
