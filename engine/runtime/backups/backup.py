"""Backs up an installation while it runs: one consistent state of the database, and the files that it names."""

import hashlib
import importlib.metadata
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

import zstandard
from sqlalchemy import Connection, Table, select, text

from engine.errors import DefinitionError, InternalError
from engine.runtime.backups.backup_file import (
    FORMAT,
    MANIFEST,
    PIECE_BYTES,
    Manifest,
    Member,
    TableFacts,
    binary_columns,
    row_as_line,
    tables,
)
from engine.runtime.logs import get_logger
from engine.runtime.parts import Parts
from engine.runtime.schema import newest, require_current
from engine.runtime.store import Store
from engine.runtime.turns import INSTALLATION, hold

# Of uncompressed lines in one member.
MEMBER_BYTES = 32 * 2**20
# Rows fetched at a time; of tables with bytes in them fewer, for a request may be 16 MB.
FETCH, FETCH_LARGE = 500, 8
LEVEL = 6
# Longer than copying the payload files takes; a backup that is killed leaves no more behind than this.
HOLD_MS = 6 * 3_600_000

HASHES = text("SELECT DISTINCT hash FROM payload_use ORDER BY hash")

log = get_logger()


class BackupMade(NamedTuple):
    """What a backup holds.

    Attributes:
        rows: table -> how many.
        missing_payloads: hashes of payload files that rows name and the folder does not have.
    """

    path: Path
    rows: dict[str, int]
    payloads: int
    missing_payloads: list[str]
    size_bytes: int


def backup(parts: Parts, path: Path) -> BackupMade:
    """Write a backup to a new file, readable for this user only. Others go on working. Not on an event loop.

    Raises:
        DefinitionError: the file is there already, or the database has not the schema of this release.
        InternalError: the file cannot be written; nothing is left of it.
        StoreUnavailable: the database cannot be used.
    """
    if path.exists():
        raise DefinitionError(f"{path} is there already", hint="Name a new file, or move the old one away.")
    require_current(parts.store)
    # Retention removes rows beside us, but no files that the state we keep may name.
    hold(parts.store, "payloads", HOLD_MS)
    draft = path.with_name(f".{path.name}.writing")
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w+b") as file:
            made = _write(parts, file)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link replaces nothing.
        path.hardlink_to(draft)
    except OSError as exc:
        raise InternalError(
            f"the backup cannot be written to {path}: {exc.strerror or exc}", hint="See to the folder and its space."
        ) from exc
    finally:
        draft.unlink(missing_ok=True)
        with suppress(InternalError):
            hold(parts.store, "payloads", 0)
    rows = {name: facts.rows for name, facts in made.tables.items()}
    log.info("a backup was written", file=str(path), rows=sum(rows.values()), payloads=made.payloads)
    if made.missing_payloads:
        log.warning("payload files are missing, and are not in the backup", count=len(made.missing_payloads))
    return BackupMade(path, rows, made.payloads, made.missing_payloads, path.stat().st_size)


@dataclass
class _Draft:
    """A backup being written."""

    zip: zipfile.ZipFile
    members: dict[str, Member] = field(default_factory=dict)

    def add(self, name: str, pieces: Iterator[bytes]) -> None:
        """A member, hashed as it is written."""
        digest, size_bytes = hashlib.sha256(), 0
        with self.zip.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
            for piece in pieces:
                digest.update(piece)
                size_bytes += len(piece)
                file.write(piece)
        self.members[name] = Member(sha256=digest.hexdigest(), size_bytes=size_bytes)


def _write(parts: Parts, file: IO[bytes]) -> Manifest:
    with zipfile.ZipFile(file, "w", allowZip64=True) as zipped, tempfile.TemporaryFile() as hashes:
        draft, found = _Draft(zipped), {}
        with parts.store.read() as connection:
            _take_snapshot(parts.store, connection)
            for table in tables():
                found[table.name] = _write_table(draft, connection, table)
            hashes.writelines(f"{hash_}\n".encode() for hash_ in connection.execute(HASHES).scalars())
        hashes.seek(0)
        # After the transaction: files never change, and copying them may take long.
        missing = []
        for line in hashes:
            hash_ = line.decode().strip()
            try:
                with parts.payloads.path_of(hash_).open("rb") as payload:
                    draft.add(f"payloads/{hash_}", iter(lambda: payload.read(PIECE_BYTES), b""))
            except FileNotFoundError:
                missing.append(hash_)
        manifest = Manifest(
            flowleaf_backup=FORMAT,
            flowleaf=importlib.metadata.version("flowleaf"),
            schema_revision=newest(),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            database="sqlite" if parts.store.is_sqlite else "postgresql",
            tables=found,
            payloads=sum(name.startswith("payloads/") for name in draft.members),
            missing_payloads=missing,
            members=draft.members,
        )
        # Last, and the zip's own list after it: a file that breaks off has neither.
        zipped.writestr(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _take_snapshot(store: Store, connection: Connection) -> None:
    """From here on the transaction sees one state. On SQLite each does."""
    if not store.is_sqlite:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _write_table(draft: _Draft, connection: Connection, table: Table) -> TableFacts:
    statement = select(table)
    if table.name == "setting":
        statement = statement.where(table.c.project_id != INSTALLATION)
    binary = binary_columns(table)
    found = connection.execute(statement, execution_options={"yield_per": FETCH_LARGE if binary else FETCH})
    lines = _Lines(row_as_line(row, binary) for row in found)
    members: list[str] = []
    while lines.are_left:
        name = f"tables/{table.name}.{len(members) + 1:04}.ndjson.zst"
        draft.add(name, _compressed(lines.some(MEMBER_BYTES)))
        members.append(name)
    return TableFacts(columns=[column.name for column in table.columns], rows=lines.count, members=members)


class _Lines:
    """Lines, taken a part at a time."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._next = next(lines, None)
        self.count = 0

    @property
    def are_left(self) -> bool:
        return self._next is not None

    def some(self, size_bytes: int) -> Iterator[bytes]:
        """At least one, and so many bytes or a little more."""
        while self._next is not None and size_bytes > 0:
            line, self._next = self._next, next(self._lines, None)
            size_bytes -= len(line)
            self.count += 1
            yield line


def _compressed(lines: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    for line in lines:
        if piece := compressor.compress(line):
            yield piece
    yield compressor.flush()
