"""The migrations, on both databases."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from engine.errors import DefinitionError
from engine.runtime import schema
from engine.runtime.models import metadata
from engine.runtime.store import Store
from tests.support.rows import add

ROOT = Path(__file__).parents[3]
UPGRADE = """
import sys
from engine.runtime.schema import upgrade
from engine.runtime.store import Store
sys.stdin.readline()
upgrade(Store(sys.argv[1]))
"""


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    yield store
    store.close()


def indexes(store: Store) -> dict[str, dict[str, tuple[tuple[str, ...], bool, str]]]:
    """Of the tables that the models name: name -> columns, whether unique, condition."""
    found = inspect(store.engine)
    where = f"{store.engine.dialect.name}_where"
    return {
        table: {
            index["name"]: (
                tuple(index["column_names"]),
                bool(index["unique"]),
                "".join(c for c in str(index.get("dialect_options", {}).get(where, "")).lower() if c.isalnum()),
            )
            for index in found.get_indexes(table)
        }
        for table in metadata.tables
    }


def test_the_migrations_make_what_the_models_say(store):
    schema.upgrade(store)
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert schema.current(store) == schema.newest()
    schema.require_current(store)


def test_the_migrations_make_the_indexes_of_the_models_with_their_conditions(store, tmp_path):
    schema.upgrade(store)
    migrated = indexes(store)
    if store.is_sqlite:
        other = Store(f"sqlite:///{tmp_path / 'models.db'}")
        metadata.create_all(other.engine)
        drawn = indexes(other)
        other.close()
    else:
        schema.downgrade(store, "base")
        metadata.create_all(store.engine)
        drawn = indexes(store)
    assert migrated == drawn
    assert any(condition for found in drawn.values() for _, _, condition in found.values())


def test_forward_and_back_and_forward_with_rows_in_every_table(store):
    schema.upgrade(store)
    for _ in range(2):
        with store.write() as connection:
            rows = {name: add(connection, name) for name in metadata.tables}
        with store.read() as connection:
            found = {
                name: dict(connection.execute(select(table)).mappings().one())
                for name, table in metadata.tables.items()
            }
        assert found == rows
        schema.downgrade(store, "base")
        assert set(inspect(store.engine).get_table_names()) <= {"alembic_version"}
        schema.upgrade(store)


def test_bringing_up_to_date_what_is_up_to_date_changes_nothing(store):
    schema.upgrade(store)
    with store.write() as connection:
        add(connection, "workflow")
    schema.upgrade(store)
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM workflow")).scalar() == 1


def test_processes_that_upgrade_at_once_wait_for_each_other(database_url):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, database_url], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    store = Store(database_url)
    schema.require_current(store)
    store.close()


def test_a_database_without_tables_is_refused_with_what_to_do(store):
    with pytest.raises(DefinitionError, match="has no tables yet") as caught:
        schema.require_current(store)
    assert "flowleaf db upgrade" in str(caught.value.hint)
