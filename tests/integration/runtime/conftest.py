"""The service on each database."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import make_url

from engine.runtime import schema
from engine.runtime.bus import MemoryBus
from engine.runtime.parts import Parts
from engine.runtime.service import Service
from engine.runtime.settings import Settings
from engine.runtime.store import Store
from tests.support.servers import PostgresServer


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to be copied: migrating for each test takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "flowleaf.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a PostgreSQL database with empty tables, to be copied."""
    with postgres_server.database() as url:
        _migrate(url)
        yield str(make_url(url).database)


def _migrate(url: str) -> None:
    store = Store(url)
    schema.upgrade(store)
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Parts]:
    """The parts of an installation with empty tables, on SQLite and then on PostgreSQL, and a bus in memory."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            template = request.getfixturevalue("sqlite_template")
            url = f"sqlite:///{shutil.copy(template, tmp_path / 'flowleaf.db')}"
        else:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database(request.getfixturevalue("postgres_template")))
        made = Parts(Settings(home=tmp_path / "home", database_url=url), bus=MemoryBus())
        stack.callback(made.store.close)
        yield made


@pytest.fixture
def service(parts: Parts) -> Service:
    """The service of `parts`."""
    return Service(parts)
