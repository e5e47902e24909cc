"""Tables as Arrow files of compressed record batches, mapped into memory and read in parts."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

BATCH_ROWS = 8_192
BATCH_BYTES = 16 << 20  # large rows make batches of fewer rows
PER_BATCH = b"flowleaf.rows_per_batch"


def write_table(table: "pa.Table", file: BinaryIO) -> None:
    """Write a table in batches of one length, which stands in the metadata: so a row's batch is known unread."""
    import pyarrow as pa  # noqa: PLC0415  0.2 s, and only tables need it

    count = table.num_rows
    per_batch = max(1, min(BATCH_ROWS, BATCH_BYTES * count // max(table.nbytes, 1)))
    schema = table.schema.with_metadata({PER_BATCH: str(per_batch).encode()})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(file, schema, options=options) as writer:
        for start in range(0, count, per_batch):
            # Made one piece, whatever pieces the table is in.
            (batch,) = table.slice(start, per_batch).combine_chunks().to_batches()
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))


@contextmanager
def _opened(path: Path) -> "Iterator[tuple[Any, int]]":
    import pyarrow as pa  # noqa: PLC0415

    with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
        yield reader, int(reader.schema.metadata[PER_BATCH])


def read_table(path: Path) -> "pa.Table":
    """The whole table."""
    with _opened(path) as (reader, _):
        return reader.read_all().replace_schema_metadata(None)


def read_rows(path: Path, start: int, stop: int) -> list[dict[str, Any]]:
    """The rows from `start` up to `stop`, as dicts; only their batches are read."""
    found: list[dict[str, Any]] = []
    with _opened(path) as (reader, per_batch):
        for number in range(start // per_batch, -(-stop // per_batch)) if start < stop else ():
            first = number * per_batch
            low, high = max(start - first, 0), min(stop - first, per_batch)
            found += reader.get_batch(number).slice(low, high - low).to_pylist()
    return found


def take_rows(path: Path, indexes: Sequence[int]) -> list[dict[str, Any]]:
    """The rows at `indexes`, in that order; each of their batches is read once."""
    read: dict[int, Any] = {}
    found: list[dict[str, Any]] = []
    with _opened(path) as (reader, per_batch):
        for index in indexes:
            number, place = divmod(int(index), per_batch)
            if number not in read:
                read[number] = reader.get_batch(number)
            found += read[number].slice(place, 1).to_pylist()
    return found
