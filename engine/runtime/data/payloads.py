"""The payload folder: outputs too large for a row, each under the hash of its content, so that it is kept once."""

import errno
import hashlib
import mmap
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from zstandard import ZstdError

from engine.errors import InternalError
from engine.items import Items
from engine.runtime.data.arrow_files import read_rows, read_table, take_rows, write_table
from engine.runtime.data.ndjson_frames import Frames, write_rows
from engine.runtime.data.origins import (
    Files,
    entries,
    files_as_json,
    files_from_json,
    is_small,
    lineage_as_json,
    lineage_from_json,
    origins_as_bytes,
    origins_from_bytes,
)

TEMPORARY = ".writing-"
HASH_BYTES = 20
# Origins longer than this, as JSON, get a file of their own.
ORIGINS_BYTES = 2_048
ORIGINS_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class PayloadRef:
    """Names an output in the payload folder.

    Attributes:
        hash: of the bytes of its file, which bears it as its name.
        form: "arrow" for a table, "ndjson" for rows.
        count: of items.
        size_bytes: of its file.
        origins: lineage and files of the items: `{"lineage", "files"}`, or the hash of the file that holds them.
            Outputs of the same rows that came from elsewhere share their payload.
    """

    hash: str
    form: Literal["arrow", "ndjson"]
    count: int
    size_bytes: int
    origins: Mapping[str, Any] | str

    def as_json(self) -> dict[str, Any]:
        """Plain data for `from_json`."""
        return {
            "hash": self.hash,
            "form": self.form,
            "count": self.count,
            "size_bytes": self.size_bytes,
            "origins": self.origins,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PayloadRef":
        """The ref that `as_json` described."""
        return cls(data["hash"], data["form"], data["count"], data["size_bytes"], data["origins"])

    @property
    def hashes(self) -> tuple[str, ...]:
        """Of all files that it needs."""
        return (self.hash, self.origins) if isinstance(self.origins, str) else (self.hash,)


class Stored(NamedTuple):
    """One payload as it lies in the folder. `modified_at_s`: when it was last saved, in seconds since 1970."""

    hash: str
    size_bytes: int
    modified_at_s: float


class Payloads:
    """Large outputs by content. Any number of threads and processes may write to one folder.

    A file is written under a temporary name, brought to disk, and only then named by its hash. Saving what is there
    already makes it young again, so that retention, which removes what is old and named nowhere, leaves it alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, items: Items) -> PayloadRef:
        """Keep an output: as a table where it is one without loss, else as rows.

        Raises:
            InternalError: the disk is full or cannot be written; nothing is left of the attempt.
        """
        table = items.table
        if table is not None:
            digest, size_bytes = self._save(lambda file: write_table(table, file))
        else:
            digest, size_bytes = self._save(lambda file: write_rows(items.rows, file.write))
        form: Literal["arrow", "ndjson"] = "ndjson" if table is None else "arrow"
        return PayloadRef(digest, form, len(items), size_bytes, self._save_origins(items))

    def _save_origins(self, items: Items) -> Mapping[str, Any] | str:
        files: Files = items.files if any(items.files) else None
        if entries(items.lineage) <= ORIGINS_ENTRIES:
            origins = {"lineage": lineage_as_json(items.lineage), "files": files_as_json(files)}
            if is_small(origins, ORIGINS_BYTES):
                return origins
        return self.save_bytes(origins_as_bytes(items.lineage, files))

    def load(self, ref: PayloadRef) -> Items:
        """The output, with its lineage and files. A table stays one."""
        if isinstance(ref.origins, str):
            lineage, files = origins_from_bytes(self.load_bytes(ref.origins), ref.count)
        else:
            lineage = lineage_from_json(ref.origins["lineage"])
            files = files_from_json(ref.origins["files"], ref.count)
        if ref.form == "arrow":
            with self._reading(ref.hash) as path:
                return Items(table=read_table(path), files=files, lineage=lineage)
        with self._frames(ref.hash) as frames:
            return Items(frames.rows(0, len(frames)), files=files, lineage=lineage)

    def rows(self, ref: PayloadRef, start: int, stop: int) -> list[dict[str, Any]]:
        """The rows from `start` up to `stop`, counted from 0; only the parts of the file that hold them are read."""
        start, stop = max(start, 0), min(stop, ref.count)
        if ref.form == "arrow":
            with self._reading(ref.hash) as path:
                return read_rows(path, start, stop)
        with self._frames(ref.hash) as frames:
            return frames.rows(start, stop)

    def take(self, ref: PayloadRef, indexes: Sequence[int]) -> list[dict[str, Any]]:
        """The rows at `indexes`, in that order."""
        if ref.form == "arrow":
            with self._reading(ref.hash) as path:
                return take_rows(path, indexes)
        with self._frames(ref.hash) as frames:
            return list(frames.take(indexes))

    def save_bytes(self, data: bytes) -> str:
        """Keep bytes by content; gives their hash. Raises as `save`."""
        return self._save(lambda file: file.write(data))[0]

    def load_bytes(self, digest: str) -> bytes:
        """What `save_bytes` kept."""
        with self._reading(digest) as path:
            return path.read_bytes()

    def path_of(self, digest: str) -> Path:
        """Where the payload lies, whether it is there or not."""
        return self.folder / digest

    def beside(self, digest: str, name: str) -> bytes | None:
        """What was kept beside a payload under `name`; None where nothing was."""
        try:
            return self._path_beside(digest, name).read_bytes()
        except FileNotFoundError:
            return None

    def save_beside(self, digest: str, name: str, data: bytes) -> None:
        """Keep something made of a payload, such as its profile, as long as it is kept itself."""
        self._save(lambda file: file.write(data), self._path_beside(digest, name))

    def _path_beside(self, digest: str, name: str) -> Path:
        return self.folder / f"{digest}.{name}.json"

    def exists(self, digest: str) -> bool:
        """Whether the payload is there."""
        return self.path_of(digest).exists()

    def delete(self, digest: str) -> None:
        """Remove a payload and what was made of it; one that is not there is no error."""
        for path in (self.path_of(digest), *self.folder.glob(f"{digest}.*.json")):
            path.unlink(missing_ok=True)

    def all(self) -> Iterator[Stored]:
        """Every payload there is, in no order."""
        with os.scandir(self.folder) as found:
            for entry in found:
                if "." not in entry.name:
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        facts = entry.stat()
                        yield Stored(entry.name, facts.st_size, facts.st_mtime)

    def sweep(self, older_than_s: float = 3_600) -> int:
        """Remove what writers that were killed left behind; gives the number of files."""
        removed = 0
        for path in self.folder.glob(f"{TEMPORARY}*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime >= older_than_s:
                    path.unlink()
                    removed += 1
        return removed

    def _save(self, write: Callable[[BinaryIO], Any], target: Path | None = None) -> tuple[str, int]:
        """Hash and size of what `write` wrote. It is now the file of that hash, or `target`."""
        temporary = self.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as raw:
                file = _HashingFile(raw)
                write(cast(BinaryIO, file))
                digest, path = file.digest(), target or self.path_of(file.digest())
                if target is None and path.exists():
                    try:
                        os.utime(path)
                        _sync_folder(self.folder)  # who wrote it may not have come to that yet
                        return digest, file.size_bytes
                    except FileNotFoundError:  # retention was quicker: then this one takes its place
                        pass
                raw.flush()
                os.fsync(raw.fileno())
            temporary.replace(path)
            _sync_folder(self.folder)
        except OSError as exc:
            full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if full else str(exc.strerror or exc).lower()
            raise InternalError(
                f"an output could not be written to the payload folder: {what}",
                hint="Make room on the disk, or keep fewer executions." if full else "See to the folder and its disk.",
            ) from exc
        finally:
            temporary.unlink(missing_ok=True)
        return digest, file.size_bytes

    @contextmanager
    def _reading(self, digest: str) -> Iterator[Path]:
        """Where to read a payload; what goes wrong becomes an InternalError."""
        try:
            yield self.path_of(digest)
        except FileNotFoundError as exc:
            raise InternalError(
                f"the stored output {digest} is not there any more", hint="Run the node again to make it anew."
            ) from exc
        except (OSError, ValueError, KeyError, ZstdError) as exc:  # pyarrow's errors are ValueErrors or OSErrors
            raise InternalError(
                f"the stored output {digest} cannot be read: {exc}", hint="Run the node again, or restore a backup."
            ) from exc

    @contextmanager
    def _frames(self, digest: str) -> Iterator[Frames]:
        with self._reading(digest) as path, path.open("rb") as file:
            # Closed when nothing looks into it any more: the traceback of a damaged file still does.
            yield Frames(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


class _HashingFile:
    """A file to write to that hashes and counts what goes through it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.blake2b(digest_size=HASH_BYTES)
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._file.write(data)
        self.size_bytes += memoryview(data).nbytes
        return memoryview(data).nbytes

    def digest(self) -> str:
        return self._hash.hexdigest()

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        """Nothing: what counts is the one sync at the end."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def _sync_folder(folder: Path) -> None:
    """Bring a new name to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
