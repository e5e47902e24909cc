"""Brings an installation back from a backup: checked first, then all of it in one transaction."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, insert, text
from sqlalchemy.exc import DataError, IntegrityError

from engine.errors import CredentialError, DefinitionError, InternalError
from engine.runtime import schema
from engine.runtime.backups.backup_file import LEFT_OUT, BackupReader, UnusableBackup, tables
from engine.runtime.context import vault_context
from engine.runtime.credentials.vault import KEY_FILE
from engine.runtime.data.payloads import TEMPORARY, Payloads
from engine.runtime.ids import now_ms
from engine.runtime.logs import get_logger
from engine.runtime.models import metadata
from engine.runtime.parts import Parts

ROWS = 500
ROWS_BYTES = 8 * 2**20
# What may lie in a database that nobody has worked with.
NO_WORK = ("project", "setting")

CANCELLED = text(
    "UPDATE execution SET status = 'cancelled', finished_ms = :now, worker_id = NULL "
    "WHERE status = 'running' AND cancel = 1"
)
QUEUED = text("UPDATE execution SET status = 'queued', worker_id = NULL WHERE status = 'running'")

log = get_logger()


class Restored(NamedTuple):
    """What was brought back.

    Attributes:
        rows: table -> how many.
        queued: executions that ran when the backup was made; they are queued anew.
        warnings: sentences for the operator, such as about credentials that the key here does not open.
    """

    rows: dict[str, int]
    payloads: int
    queued: int
    warnings: list[str]


def restore(parts: Parts, path: Path, *, force: bool = False) -> Restored:
    """Put a backup in the place of what is here. Not on an event loop, and with no worker running.

    All rows come in one transaction: they are all there, or nothing was changed. Payload files come before; what a
    restore that failed left of them is removed by retention.

    Args:
        force: replace what the database holds.

    Raises:
        UnusableBackup: the file is damaged or of another release; nothing was changed.
        DefinitionError: the database is not empty, or workers run on it; nothing was changed.
        InternalError: a file or the database cannot be written; no row was changed.
    """
    with BackupReader(path) as found:
        if found.manifest.schema_revision != schema.newest():
            raise UnusableBackup(
                f"{path} was made by Flowleaf {found.manifest.flowleaf} with the schema "
                f"{found.manifest.schema_revision}, and this one needs {schema.newest()}",
                hint="Restore it with that release, then upgrade. Nothing was changed.",
            )
        columns = {table.name: [column.name for column in table.columns] for table in tables()}
        if {name: facts.columns for name, facts in found.manifest.tables.items()} != columns:
            raise UnusableBackup(f"the tables of {path} are not those of its schema", hint="Nothing was changed.")
        found.verify()
        if schema.current(parts.store) is None:
            schema.upgrade(parts.store)
        schema.require_current(parts.store)
        with parts.store.read() as connection:
            _require_room(parts, connection, force)
        payloads = sum(_save_payload(parts.payloads, hash_, found.pieces(name)) for hash_, name in found.payloads())
        try:
            with parts.store.write() as connection:
                _require_room(parts, connection, force)
                rows = {table.name: _fill(connection, table, found) for table in tables()}
                for name in LEFT_OUT:
                    connection.execute(delete(metadata.tables[name]))
                connection.execute(CANCELLED, {"now": now_ms()})
                queued = connection.execute(QUEUED).rowcount
        except (DataError, IntegrityError) as exc:
            raise UnusableBackup(f"the database does not take a row: {exc.orig}", hint="Nothing was changed.") from exc
        warnings = [*_missing(found), *_closed_credentials(parts)]
    log.info("a backup was restored", file=str(path), rows=sum(rows.values()), payloads=payloads, queued=queued)
    for warning in warnings:
        log.warning(warning)
    return Restored(rows, payloads, queued, warnings)


def _require_room(parts: Parts, connection: Connection, force: bool) -> None:
    clock = parts.store.clock
    alive = connection.execute(
        text(f"SELECT count(*) FROM worker WHERE lease_until_ms > {clock}"),  # noqa: S608  no value of others in it
        {"now": now_ms()},
    ).scalar_one()
    if alive:
        raise DefinitionError(
            f"{alive} worker(s) run on this database",
            hint="Stop Flowleaf first; one that was killed is known to be gone after 6 seconds.",
        )
    if not force:
        for table in tables():
            if table.name not in NO_WORK and connection.execute(table.select().limit(1)).first() is not None:
                raise DefinitionError(
                    f"the database is not empty: it has rows in {table.name}",
                    hint="Restore into a new one, or replace all that is in it by: flowleaf restore FILE --force",
                )


def _fill(connection: Connection, table: Table, found: BackupReader) -> int:
    """The rows of a table in place of those there are."""
    connection.execute(delete(table))
    columns = [column.name for column in table.columns]
    statement, count = insert(table), 0
    for rows in _batches(found.rows(table)):
        connection.execute(statement, [dict(zip(columns, row, strict=True)) for row in rows])
        count += len(rows)
    return count


def _batches(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    batch: list[list[Any]] = []
    size_bytes = 0
    for row in rows:
        batch.append(row)
        size_bytes += sum(len(value) for value in row if isinstance(value, bytes | str))
        if len(batch) >= ROWS or size_bytes > ROWS_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _save_payload(payloads: Payloads, hash_: str, pieces: Iterator[bytes]) -> int:
    """Put a payload file where it belongs; one that is there is the same, and becomes young."""
    path = payloads.path_of(hash_)
    if path.parent != payloads.folder or hash_.startswith("."):
        raise UnusableBackup(f"{hash_!r} is no name of a payload", hint="Nothing was changed.")
    draft = payloads.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with draft.open("xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as exc:
        raise InternalError(
            f"a payload file cannot be written: {exc.strerror or exc}",
            hint="See to the disk. No row was changed.",
        ) from exc
    finally:
        draft.unlink(missing_ok=True)
    return 1


def _missing(found: BackupReader) -> Iterator[str]:
    if count := len(found.manifest.missing_payloads):
        yield f"{count} payload file(s) were missing when the backup was made: those outputs cannot be shown."


def _closed_credentials(parts: Parts) -> Iterator[str]:
    """What to say about credentials that the key at hand does not open."""
    with parts.store.read() as connection:
        sealed = connection.execute(text("SELECT id, project_id, name, sealed FROM credential ORDER BY name")).all()
    if not sealed:
        return
    bring = "Bring back the key of the installation that was backed up, or enter them anew."
    # Asking for the vault would make a new key, in the place where the old one is to be put.
    if parts.settings.key is None and not (parts.home / KEY_FILE).exists():
        yield f"There is no key here to open {len(sealed)} credential(s). {bring}"
        return
    closed = []
    try:
        vault = parts.vault()
    except CredentialError as exc:
        yield f"{len(sealed)} credential(s) cannot be opened: {exc.message}. {bring}"
        return
    for id_, project_id, name, data in sealed:
        try:
            vault.open(bytes(data), context=vault_context(project_id, id_))
        except CredentialError:
            closed.append(name)
    if closed:
        some = ", ".join(closed[:10]) + (" ..." if len(closed) > 10 else "")
        yield f"The key here does not open {len(closed)} credential(s): {some}. {bring}"
