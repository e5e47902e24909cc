"""The database: SQLite in one file, or PostgreSQL. Transactions; on SQLite the one write lock of all processes."""

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from engine.errors import InternalError

# Two processes that write without a gap starve a third for seconds: SQLite's own waiting polls and is unfair. With a
# file lock and this pause after each commit an edit beside them waits 7 ms at p95 instead of 1.6 s.
PAUSE_S = 0.0005
BUSY_S = 5
IDLE_MS = 5_000
ASK_S = 0.0003
# A server whose host vanished is noticed in half a minute; TCP alone waits for hours. libpq's names.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
CHECKPOINT_PAGES = 4_000  # 16 MB
POOL = 16
PATIENCE_S = 0.5

T = TypeVar("T")


class StoreUnavailable(InternalError):
    """The database cannot be used now; nothing was changed. The same call may go well later."""

    code = "store.unavailable"


class Store:
    """Transactions on the database. Used from threads, never on an event loop.

    Args:
        url: `sqlite:///PATH` or `postgresql://...`.
    """

    def __init__(self, url: str) -> None:
        self.url = normal_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self._lock = _WriteLock(Path(self.url.removeprefix("sqlite:///"))) if self.is_sqlite else None
        self._closing = threading.Event()
        self._checkpoints: threading.Thread | None = None
        self.engine = self._sqlite() if self.is_sqlite else self._postgres()

    def _sqlite(self) -> Engine:
        path = Path(self.url.removeprefix("sqlite:///"))
        engine = create_engine(
            self.url,
            poolclass=QueuePool,
            pool_size=POOL,
            max_overflow=POOL,
            pool_timeout=BUSY_S,
            connect_args={"check_same_thread": False, "timeout": BUSY_S},
        )

        @event.listens_for(engine, "connect")
        def connect(connection: sqlite3.Connection, _: Any) -> None:
            connection.isolation_level = (
                None  # BEGIN is said below: pysqlite's own is deferred, and fails at the upgrade
            )
            for pragma in (
                "journal_mode=wal",
                "synchronous=full",
                "foreign_keys=on",
                "temp_store=memory",
                "cache_size=-16000",
                "wal_autocheckpoint=0",  # in the background instead: p99 of a commit 65 -> 12 ms
            ):
                connection.execute(f"pragma {pragma}")
            if not path.exists():  # made by the connection above: a file of secrets' neighbours
                raise sqlite3.OperationalError("unable to open database file")
            with suppress(OSError):
                path.chmod(0o600)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get("writes")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _postgres(self) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=POOL,
            max_overflow=POOL,
            pool_timeout=BUSY_S,
            connect_args={"connect_timeout": BUSY_S, "application_name": "flowleaf", **KEEPALIVES},
        )

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _: Any) -> None:
            # The server lets go of what a process holds that was stopped in the middle of a transaction.
            connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_MS}")
            connection.commit()

        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises StoreUnavailable."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction; committed at the end, taken back where the block raises. Raises StoreUnavailable.

        Args:
            durable: False where the commit may be lost with the machine's power, though not with the process: it
                saves the wait for the disk. A later durable commit makes it durable as well.
        """
        with self._translated():
            if self._lock is None:
                with self.engine.connect() as connection, connection.begin():
                    if not durable:
                        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                    yield connection
                return
            with self.engine.connect().execution_options(writes=True) as connection, self._lock.held():
                driver = connection.connection.driver_connection
                assert driver is not None
                if not durable:
                    driver.execute("pragma synchronous=normal")
                try:
                    with connection.begin():
                        yield connection
                finally:
                    if not durable:
                        driver.execute("pragma synchronous=full")
            self._start_checkpoints()
        time.sleep(PAUSE_S)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with _translated():
                yield
        except StoreUnavailable as exc:
            if self.is_sqlite and "readonly" in str(exc.__cause__):
                # What was opened while the file could not be written never can, nor what shares memory with it in
                # this process: all are closed, and others take their place.
                self.engine.dispose()
            raise

    def _start_checkpoints(self) -> None:
        """Let the write-ahead log be moved into the database beside the work; by the processes that write."""
        if self._checkpoints is None:
            self._checkpoints = threading.Thread(target=self._checkpoint, name="checkpoints", daemon=True)
            self._checkpoints.start()

    def _checkpoint(self) -> None:
        path = self.url.removeprefix("sqlite:///")
        wal = Path(path + "-wal")
        while not self._closing.wait(1):
            with suppress(sqlite3.Error, OSError):
                if wal.stat().st_size > CHECKPOINT_PAGES * 4096:
                    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
                    try:
                        # Passive: waits for nobody. Where it got through, the log starts over by itself.
                        connection.execute("pragma wal_checkpoint(passive)")
                    finally:
                        connection.close()

    @property
    def clock(self) -> str:
        """SQL for the time now, in milliseconds: the server's where machines share one, so that leases agree."""
        if self.is_sqlite:
            return ":now"
        return "CAST(CAST(:now AS bigint) * 0 + extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"

    def close(self) -> None:
        """Give back all connections."""
        self._closing.set()
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()


class _WriteLock:
    """One writer at a time, among threads and processes."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._threads = threading.Lock()
        self._file: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        # No longer than for another process: whoever waits here for one that is stuck has to be told as well.
        if not self._threads.acquire(timeout=BUSY_S):
            raise StoreUnavailable("another thread holds the database's write lock", hint="It is tried again.")
        try:
            if self._file is None:
                try:
                    self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except OSError as exc:
                    raise StoreUnavailable(f"the database cannot be locked: {exc.strerror}: {self._path}") from exc
            self._take(self._file)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _take(self, file: int) -> None:
        """Asks again and again: whoever waits in the system's own call cannot give up when a holder was stopped."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        "another process holds the database's write lock", hint="It is tried again."
                    ) from None
                time.sleep(ASK_S)

    def close(self) -> None:
        with self._threads:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def normal_url(url: str) -> str:
    """The address as SQLAlchemy takes it, with the driver that is installed."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


# What SQLite says, in part, and what it means for people.
SQLITE_SAYS = {
    "disk is full": ("the disk is full", "Free some space; work goes on by itself."),
    "readonly": ("the database may not be written", "Give this user the right to write the data folder and all in it."),
    "disk i/o": ("the disk gives errors", "Look at the system's log, and at the space that is left."),
    "locked": ("the database is locked by another program", "End what else has the file open."),
    "unable to open": ("the database file cannot be opened", "Look at the rights of the data folder."),
    "malformed": ("the database file is damaged", "Restore a backup: flowleaf restore FILE."),
    "no such table": ("the database has no tables yet", "Run: flowleaf db upgrade"),
}


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors about the database's state into ours; those about our statements pass."""
    try:
        yield
    except (OperationalError, InterfaceError) as exc:
        raise unavailable(exc) from exc
    except DBAPIError as exc:
        # A server that was made read-only, as a standby is.
        if exc.connection_invalidated or getattr(exc.orig, "sqlstate", None) == "25006":
            raise unavailable(exc) from exc
        raise
    except PoolTimeout as exc:
        raise StoreUnavailable("too many calls wait for the database", hint="Try again in a moment.") from exc


def unavailable(exc: DBAPIError) -> StoreUnavailable:
    """The error as people can read it; never the statement's values."""
    said = str(exc.orig).strip().splitlines()[0] if exc.orig and str(exc.orig).strip() else type(exc).__name__
    for part, (message, hint) in SQLITE_SAYS.items():
        if part in said.lower():
            return StoreUnavailable(message, hint=hint)
    return StoreUnavailable(f"the database does not answer: {said[:200]}", hint="Is it running? It is tried again.")


async def patiently(work: Callable[[], T]) -> T:
    """What the work gives, done in a thread; a database that is away is waited for, for as long as it takes."""
    while True:
        try:
            return await asyncio.to_thread(work)
        except StoreUnavailable:
            await asyncio.sleep(PATIENCE_S)


def chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The rows in parts of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
