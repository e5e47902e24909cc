"""The form of a backup: a zip file with a manifest, tables as compressed NDJSON, and payload files.

    manifest.json                    what is in it, with the SHA-256 of every other member
    tables/execution.0001.ndjson.zst a row per line: a list of the values of the manifest's columns
    payloads/HASH                    the payload files that the rows name

Bytes are in base64. Members are checked against the manifest before anything is changed.
"""

import base64
import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import LargeBinary, Table

from engine.errors import DefinitionError
from engine.runtime.models import metadata

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES = 256 * 2**20
PIECE_BYTES = 2**20
# Leases of workers, who are not there after a restore.
LEFT_OUT = ("worker",)
THE_KEY = "not in this file: keep FLOWLEAF_HOME/key or FLOWLEAF_KEY apart from it; without it credentials do not open"
ANOTHER = "Take another backup. Nothing was changed."


class UnusableBackup(DefinitionError):
    """The file is no backup, is damaged, or is of another release. Nothing was changed."""

    code = "backup.unusable"


class Member(BaseModel):
    """A file in the backup."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size_bytes: int


class TableFacts(BaseModel):
    """A table in the backup."""

    model_config = ConfigDict(frozen=True)

    columns: list[str]
    rows: int
    members: list[str]


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(frozen=True)

    flowleaf_backup: int
    flowleaf: str
    schema_revision: str
    made: str
    database: str
    tables: dict[str, TableFacts]
    payloads: int
    missing_payloads: list[str]
    members: dict[str, Member]
    credential_key: str = THE_KEY


def tables() -> list[Table]:
    """The tables that a backup holds, by name."""
    return [table for name, table in sorted(metadata.tables.items()) if name not in LEFT_OUT]


def binary_columns(table: Table) -> list[int]:
    """Which of its columns hold bytes."""
    return [index for index, column in enumerate(table.columns) if isinstance(column.type, LargeBinary)]


def row_as_line(row: Sequence[Any], binary: Sequence[int]) -> bytes:
    """A row as a line, with its end."""
    values = list(row)
    for index in binary:
        values[index] = base64.b64encode(values[index]).decode()
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def row_of_line(line: bytes, binary: Sequence[int]) -> list[Any]:
    """The row that was written."""
    values: list[Any] = orjson.loads(line)
    for index in binary:
        values[index] = base64.b64decode(values[index])
    return values


class BackupReader:
    """A backup that was opened: its manifest has been read, nothing else yet.

    Raises:
        UnusableBackup: the file is none, or of another release.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError as exc:
            raise UnusableBackup(f"there is no file {path}", hint="Is its name right?") from exc
        except OSError as exc:
            raise UnusableBackup(
                f"{path} cannot be read: {exc.strerror}", hint="See to the file and its disk."
            ) from exc
        except (zipfile.BadZipFile, ValueError) as exc:
            raise UnusableBackup(f"{path} is no backup, or its end is missing", hint=ANOTHER) from exc
        try:
            self.manifest = self._manifest(path)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "BackupReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _manifest(self, path: Path) -> Manifest:
        try:
            info = self._zip.getinfo(MANIFEST)
            if info.file_size > MANIFEST_BYTES:
                raise UnusableBackup(f"the manifest of {path} is too large", hint=ANOTHER)
            data = orjson.loads(self._zip.read(info))
        except KeyError as exc:
            raise UnusableBackup(f"{path} is no backup: it has no manifest", hint=ANOTHER) from exc
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as exc:
            raise UnusableBackup(f"the manifest of {path} is damaged", hint=ANOTHER) from exc
        form = data.get("flowleaf_backup") if isinstance(data, dict) else None
        if form != FORMAT:
            raise UnusableBackup(
                f"{path} has the form {form!r}, and this Flowleaf reads form {FORMAT}",
                hint="Restore it with the release that wrote it. Nothing was changed.",
            )
        try:
            return Manifest.model_validate(data)
        except ValidationError as exc:
            raise UnusableBackup(f"the manifest of {path} is damaged", hint=ANOTHER) from exc

    def verify(self) -> None:
        """Read every member and compare it with the manifest.

        Raises:
            UnusableBackup: one is damaged, missing, or not named there.
        """
        there = {info.filename for info in self._zip.infolist()} - {MANIFEST}
        if there != set(self.manifest.members):
            name = min(there ^ set(self.manifest.members))
            state = "is not in its manifest" if name in there else "is missing"
            raise UnusableBackup(f"the backup is damaged: {name} {state}", hint=ANOTHER)
        for name, member in self.manifest.members.items():
            digest = hashlib.sha256()
            try:
                for piece in self.pieces(name):
                    digest.update(piece)
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as exc:
                raise UnusableBackup(f"the backup is damaged: {name} cannot be read", hint=ANOTHER) from exc
            if digest.hexdigest() != member.sha256:
                raise UnusableBackup(f"the backup is damaged: {name} is not what was written", hint=ANOTHER)

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a member."""
        with self._zip.open(name) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def payloads(self) -> Iterator[tuple[str, str]]:
        """Hash and member name of each payload file."""
        for name in self.manifest.members:
            if name.startswith("payloads/"):
                yield name.removeprefix("payloads/"), name

    def rows(self, table: Table) -> Iterator[list[Any]]:
        """The rows of a table. Raises UnusableBackup where they are not as many as the manifest says."""
        facts, binary, count = self.manifest.tables[table.name], binary_columns(table), 0
        for name in facts.members:
            with self._zip.open(name) as file:
                for line in _lines(file):
                    count += 1
                    yield row_of_line(line, binary)
        if count != facts.rows:
            raise UnusableBackup(f"the backup has {count} rows of {table.name}, not {facts.rows}", hint=ANOTHER)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a compressed member, read piece by piece."""
    rest = b""
    with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
        while piece := reader.read(PIECE_BYTES):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
    if rest:
        yield rest
