"""Backups are one consistent state, whole and without secrets; what is damaged changes nothing."""

import hashlib
import os
import shutil
import stat
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from sqlalchemy import delete, select, text

from engine.errors import DefinitionError, InternalError
from engine.items import Items
from engine.runtime import schema
from engine.runtime.backups.backup import backup
from engine.runtime.backups.backup_file import MANIFEST, UnusableBackup
from engine.runtime.backups.restore import restore
from engine.runtime.bus import MemoryBus
from engine.runtime.claims import Claims
from engine.runtime.context import vault_context
from engine.runtime.credentials.vault import KEY_FILE
from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Order, execution_row, insert_orders
from engine.runtime.models import metadata
from engine.runtime.orders import pack_items
from engine.runtime.parts import Parts
from engine.runtime.service.actor import LOCAL_PROJECT
from engine.runtime.settings import Settings
from engine.runtime.store import Store
from engine.runtime.turns import INSTALLATION, is_held
from tests.support.rows import add

SECRET = "canary-5f2c-do-not-leak"


@contextmanager
def installation(home: Path, database_url: str) -> Iterator[Parts]:
    parts = Parts(Settings(home=home, database_url=database_url), bus=MemoryBus())
    schema.upgrade(parts.store)
    yield parts
    parts.store.close()


def rows(store: Store) -> dict[str, dict[Any, Any]]:
    """Table -> primary key -> row, of all that a backup holds."""
    found: dict[str, dict[Any, Any]] = {}
    with store.read() as connection:
        for name, table in metadata.tables.items():
            keys = [column.name for column in table.primary_key]
            found[name] = {
                tuple(row[key] for key in keys): dict(row) for row in connection.execute(select(table)).mappings()
            }
    del found["worker"]
    found["setting"] = {key: row for key, row in found["setting"].items() if key[0] != INSTALLATION}
    return found


def fill(parts: Parts) -> str:
    """A row in every table, what is hard to write down among them; a credential and payload files. Gives a hash."""
    hash_ = parts.payloads.save(Items.of([{"n": n, "text": "x" * 50} for n in range(2_000)])).hash
    with parts.store.write() as connection:
        for name in metadata.tables:
            if name not in ("credential", "execution", "payload_use"):
                add(connection, name)
        connection.execute(delete(metadata.tables["worker"]))
        for status in ("succeeded", "queued", "waiting", "failed", "needs_decision"):
            row = add(connection, "execution", status=status, kind="published", cancel=0, error='ü "\n\\ ✓')
            add(connection, "record", execution_id=row["id"], part=0, data=bytes(range(256)))
            add(connection, "record", execution_id=row["id"], part=1, data=b"")
        add(connection, "payload_use", hash=hash_, owner=row["id"])
        id_ = new_id()
        sealed = parts.vault().seal({"token": SECRET}, context=vault_context(LOCAL_PROJECT, id_))
        add(connection, "credential", id=id_, name="canary", kind="bearer", sealed=sealed)
    return hash_


@pytest.fixture
def source(database_url, tmp_path):
    with installation(tmp_path / "source", database_url) as parts:
        yield parts


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'target.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server")
        with url.database() as other, installation(tmp_path / "target", other) as parts:
            yield parts
        return
    with installation(tmp_path / "target", url) as parts:
        yield parts


@pytest.fixture
def made(tmp_path):
    """A small installation on SQLite with its backup."""
    with installation(tmp_path / "made", f"sqlite:///{tmp_path / 'made.db'}") as parts:
        fill(parts)
        backup(parts, tmp_path / "made.zip")
    return tmp_path / "made.zip"


@pytest.fixture
def empty(tmp_path):
    with installation(tmp_path / "empty", f"sqlite:///{tmp_path / 'empty.db'}") as parts:
        yield parts


def test_all_rows_and_files_come_back_on_the_same_and_the_other_database(source, target, tmp_path):
    hash_ = fill(source)
    result = backup(source, tmp_path / "b.zip")
    assert result.missing_payloads == []
    shutil.copy(source.home / KEY_FILE, target.home / KEY_FILE)
    restored = restore(target, tmp_path / "b.zip")
    assert rows(target.store) == rows(source.store)
    assert all(found for found in rows(target.store).values()), "every table had a row"
    assert target.payloads.path_of(hash_).read_bytes() == source.payloads.path_of(hash_).read_bytes()
    assert (restored.warnings, restored.payloads, restored.rows) == ([], 1, result.rows)


def test_a_backup_made_while_executions_come_in_and_end_is_one_state(source, target, tmp_path):
    fill(source)
    with source.store.write() as connection:
        # Read between executions and their records, so that time passes there.
        for number in range(5_000):
            add(connection, "payload_use", hash="none", owner=str(number))
    ended = threading.Event()
    counter = iter(range(10**9))

    def work() -> None:
        """Each execution has three records, and one that ended has five: never anything between."""
        claims = Claims(source.store)
        claims.register()
        while not ended.is_set():
            number = next(counter)
            row = execution_row(
                id=new_id(), project_id=LOCAL_PROJECT, workflow_id=new_id(), kind="published", source="api",
                slot="async", trigger_id=f"run {number}",
            )  # fmt: skip
            with source.store.write(durable=False) as connection:
                insert_orders(connection, [Order(row, pack_items([{"n": number}]))])
                add(connection, "record", execution_id=row["id"], part=1)
                add(connection, "record", execution_id=row["id"], part=2)
                for claim in claims.claim(connection, {"async": 1}):
                    add(connection, "record", execution_id=claim.id, part=3)
                    add(connection, "record", execution_id=claim.id, part=4)
                    if number % 3:
                        values = {"id": claim.id, "now": now_ms()}
                        connection.execute(
                            text("UPDATE execution SET status = 'succeeded', finished_ms = :now WHERE id = :id"), values
                        )
        claims.end()

    made_before = rows(source.store)["record"]
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    result = backup(source, tmp_path / "b.zip")
    time.sleep(0.3)
    ended.set()
    for thread in threads:
        thread.join()
    restored = restore(target, tmp_path / "b.zip")
    before, after = rows(source.store), rows(target.store)
    assert len(before["execution"]) > len(after["execution"]) > 50
    for (id_,), execution in after["execution"].items():
        if (execution["trigger_id"] or "").startswith("run "):
            parts_there = [part for owner, part in after["record"] if owner == id_]
            was_claimed = execution["attempts"] > 0
            assert sorted(parts_there) == ([0, 1, 2, 3, 4] if was_claimed else [0, 1, 2])
            assert execution["status"] == "succeeded" or (execution["status"], execution["worker_id"]) == (
                "queued",
                None,
            )
    owners = {owner for owner, _ in after["record"]}
    assert owners <= {id_ for (id_,) in after["execution"]} | {owner for owner, _ in made_before}
    assert restored.queued > 0
    assert restored.rows["execution"] == result.rows["execution"] == len(after["execution"])
    for key, record in after["record"].items():
        assert before["record"][key] == record


def test_what_ran_is_queued_and_what_was_being_cancelled_is_cancelled(source, target, tmp_path):
    with source.store.write() as connection:
        ran = add(connection, "execution", status="running", worker_id="w", cancel=0, fence=3)["id"]
        cancelled = add(connection, "execution", status="running", worker_id="w", cancel=1)["id"]
    backup(source, tmp_path / "b.zip")
    assert restore(target, tmp_path / "b.zip").queued == 1
    found = rows(target.store)["execution"]
    assert (found[ran,]["status"], found[ran,]["worker_id"], found[ran,]["fence"]) == ("queued", None, 3)
    assert found[cancelled,]["status"] == "cancelled"


def test_a_database_that_is_in_use_is_replaced_only_when_forced(made, source):
    with source.store.write() as connection:
        add(connection, "workflow", name="mine")
    before = rows(source.store)
    with pytest.raises(DefinitionError, match="not empty: it has rows in workflow") as caught:
        restore(source, made)
    assert "--force" in str(caught.value.hint)
    assert rows(source.store) == before
    restore(source, made, force=True)
    assert [row["name"] for row in rows(source.store)["workflow"].values()] == ["some name"]


def test_a_database_with_running_workers_is_left_alone(made, source):
    claims = Claims(source.store)
    claims.register()
    with pytest.raises(DefinitionError, match="1 worker"):
        restore(source, made, force=True)
    claims.end()
    restore(source, made)


def test_a_database_without_tables_gets_them(made, tmp_path):
    parts = Parts(Settings(home=tmp_path / "new"), bus=MemoryBus())
    restore(parts, made)
    schema.require_current(parts.store)
    assert len(rows(parts.store)["workflow"]) == 1
    parts.store.close()


def members(path: Path) -> dict[str, bytes]:
    """Member name -> its bytes, uncompressed."""
    with zipfile.ZipFile(path) as found:
        data = {name: found.read(name) for name in found.namelist()}
    decompress = zstandard.ZstdDecompressor().decompressobj
    return {name: decompress().decompress(raw) if name.endswith(".zst") else raw for name, raw in data.items()}


def test_no_secret_and_no_key_is_in_the_file(made, tmp_path):
    key = (tmp_path / "made" / KEY_FILE).read_bytes().strip()
    found = members(made)
    assert any(b'"canary"' in data for data in found.values()), "the credential itself is there, sealed"
    for name, data in {**found, "the file": made.read_bytes()}.items():
        assert SECRET.encode() not in data, name
        assert key not in data, name
    assert "not in this file" in orjson.loads(found[MANIFEST])["credential_key"]
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["none", "another"])
def test_credentials_that_do_not_open_are_named(made, empty, key):
    if key == "another":
        empty.vault()
    (warning,) = restore(empty, made).warnings
    assert ("1 credential(s)" in warning) and ("canary" in warning or key == "none")
    assert (empty.home / KEY_FILE).exists() == (key == "another"), "no new key in the place of the old one"


def rewritten(path: Path, change) -> Path:
    """The backup with other members."""
    with zipfile.ZipFile(path) as found:
        data = {name: found.read(name) for name in found.namelist()}
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as out:
        for name, raw in change(data).items():
            out.writestr(name, raw)
    return changed


def manifest_with(**changes: Any):
    return lambda data: {**data, MANIFEST: orjson.dumps({**orjson.loads(data[MANIFEST]), **changes})}


def one(data: dict[str, bytes], start: str) -> str:
    return next(name for name in data if name.startswith(start))


DAMAGE = {
    "another form": (manifest_with(flowleaf_backup=2), "has the form 2"),
    "another schema": (manifest_with(schema_revision="0099"), "with the schema 0099"),
    "a manifest that lacks something": (manifest_with(tables=None), "manifest .* is damaged"),
    "a table too few": (manifest_with(tables={}), "tables of"),
    "no manifest": (lambda data: {k: v for k, v in data.items() if k != MANIFEST}, "has no manifest"),
    "a manifest of bytes": (lambda data: {**data, MANIFEST: b"\xff{"}, "manifest .* is damaged"),
    "a table's member changed": (
        lambda data: {**data, one(data, "tables/execution"): zstandard.ZstdCompressor().compress(b"[]\n")},
        "tables/execution.* is not what was written",
    ),
    "a payload missing": (lambda data: {k: v for k, v in data.items() if not k.startswith("payloads/")}, "is missing"),
    "a member too many": (lambda data: {**data, "tables/more": b""}, "tables/more is not in its manifest"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_backup_that_is_damaged_or_of_another_release_changes_nothing(made, empty, damage):
    change, message = DAMAGE[damage]
    path = rewritten(made, change)
    with empty.store.write() as connection:
        add(connection, "workflow")
    before = rows(empty.store)
    with pytest.raises(UnusableBackup, match=message):
        restore(empty, path, force=True)
    assert rows(empty.store) == before
    assert list(empty.payloads.all()) == []


def test_a_backup_cut_off_anywhere_or_with_a_changed_byte_changes_nothing(made, empty):
    whole = made.read_bytes()
    with empty.store.write() as connection:
        add(connection, "workflow")
    before = rows(empty.store)
    broken = [whole[: len(whole) * part // 20] for part in range(20)] + [whole[:-1], whole[10:]]
    with zipfile.ZipFile(made) as found:
        for info in found.infolist():
            extra_bytes = int.from_bytes(whole[info.header_offset + 28 : info.header_offset + 30], "little")
            begin = info.header_offset + 30 + len(info.filename) + extra_bytes
            middle = begin + info.compress_size // 2
            broken.append(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert len(broken) > 30
    for number, data in enumerate(broken):
        made.write_bytes(data)
        with pytest.raises(UnusableBackup):
            restore(empty, made, force=True)
        assert rows(empty.store) == before, number


def test_a_row_that_the_database_does_not_take_takes_all_back(made, empty):
    def without_project(data: dict[str, bytes]) -> dict[str, bytes]:
        manifest = orjson.loads(data[MANIFEST])
        name = one(data, "tables/workflow")
        (line,) = zstandard.ZstdDecompressor().decompressobj().decompress(data[name]).splitlines()
        raw = zstandard.ZstdCompressor().compress(
            orjson.dumps([*orjson.loads(line)[:1], None, *orjson.loads(line)[2:]])
        )
        manifest["members"][name] = {"sha256": hashlib.sha256(raw).hexdigest(), "size_bytes": len(raw)}
        return {**data, name: raw, MANIFEST: orjson.dumps(manifest)}

    with empty.store.write() as connection:
        add(connection, "workflow")
    before = rows(empty.store)
    with pytest.raises(UnusableBackup, match="does not take a row"):
        restore(empty, rewritten(made, without_project), force=True)
    assert rows(empty.store) == before


@pytest.mark.parametrize("what", ["nothing", "a folder", "text"])
def test_what_is_no_backup_is_refused(empty, tmp_path, what):
    path = tmp_path / "b.zip"
    if what == "a folder":
        path.mkdir()
    elif what == "text":
        path.write_text("hello")
    with pytest.raises(UnusableBackup):
        restore(empty, path)


def test_a_file_that_is_there_is_not_overwritten(made, empty):
    before = made.read_bytes()
    with pytest.raises(DefinitionError, match="is there already"):
        backup(empty, made)
    assert made.read_bytes() == before


def test_a_backup_that_cannot_be_written_leaves_nothing(empty, tmp_path):
    with pytest.raises(InternalError, match="cannot be written"):
        backup(empty, tmp_path / "nowhere" / "b.zip")
    assert not is_held(empty.store, "payloads")
    assert list(tmp_path.glob("*.writing")) == []


def test_payload_files_that_are_gone_are_told_and_the_rest_is_kept(source, target, tmp_path):
    hash_ = fill(source)
    source.payloads.delete(hash_)
    assert backup(source, tmp_path / "b.zip").missing_payloads == [hash_]
    warnings = restore(target, tmp_path / "b.zip").warnings
    assert any("1 payload file(s) were missing" in warning for warning in warnings)


def test_memory_is_bounded_however_much_there_is(tmp_path, empty):
    """100 MB of records that do not compress, through less memory."""
    with empty.store.write(durable=False) as connection:
        for _ in range(100):
            row = add(connection, "execution", status="succeeded")
            add(connection, "record", execution_id=row["id"], part=0, data=os.urandom(2**20))
    tracemalloc.start()
    backup(empty, tmp_path / "b.zip")
    backed_up = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    with installation(tmp_path / "other", f"sqlite:///{tmp_path / 'other.db'}") as other:
        restore(other, tmp_path / "b.zip")
        restored = tracemalloc.get_traced_memory()[1]
        assert len(rows(other.store)["record"]) == 100
    tracemalloc.stop()
    assert max(backed_up, restored) < 75 * 2**20, (backed_up, restored)
