"""The database's schema: brought up to date, back, and looked at."""

import logging
from collections.abc import Callable
from pathlib import Path

import alembic.command
import alembic.config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from engine.errors import DefinitionError
from engine.runtime.store import Store

# Beside the packages: the project is installed from its checkout.
SCRIPTS = Path(__file__).parents[2] / "alembic"


def upgrade(store: Store, revision: str = "head") -> None:
    """Bring the schema to the newest state. Two processes that do so at once wait for each other."""
    _run(store, lambda config: alembic.command.upgrade(config, revision))


def downgrade(store: Store, revision: str) -> None:
    """Bring the schema back to an older state; `base` removes all tables."""
    _run(store, lambda config: alembic.command.downgrade(config, revision))


def current(store: Store) -> str | None:
    """The revision that the database is at; None where it has no tables."""
    with store.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory(str(SCRIPTS)).get_current_head()
    assert head is not None
    return head


def require_current(store: Store) -> None:
    """Raises DefinitionError, saying what to do, where the schema is not that of this code."""
    found = current(store)
    if found != newest():
        state = "has no tables yet" if found is None else f"is at {found}, and this Flowleaf needs {newest()}"
        raise DefinitionError(f"the database {state}", hint="Run: flowleaf db upgrade")


def _run(store: Store, command: Callable[[alembic.config.Config], None]) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = alembic.config.Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    with store.write() as connection:
        if not store.is_sqlite:
            # One at a time: a lock of the transaction, with a number of our own.
            connection.execute(text("SELECT pg_advisory_xact_lock(7311902)"))
        config.attributes["connection"] = connection
        command(config)
