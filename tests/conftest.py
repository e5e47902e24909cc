"""Fixtures that start real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from tests.support.servers import OwnRedis, PostgresServer, own_redis, postgres

# Several tests run at a time, so one of them may stand still for a while.
settings.register_profile("flowleaf", deadline=None)
settings.load_profile("flowleaf")


@pytest.fixture(scope="session")
def _session_redis() -> Iterator[OwnRedis]:
    with own_redis() as server:
        yield server


@pytest.fixture
def redis_server(_session_redis: OwnRedis) -> OwnRedis:
    """A running, empty Redis that tests share one after the other: leave it running."""
    with redis.Redis.from_url(_session_redis.url) as client:
        client.flushall()
        client.script_flush()
    return _session_redis


@pytest.fixture
def mortal_redis() -> Iterator[OwnRedis]:
    """A running Redis of the test's own: it may be killed, and started again at the same url."""
    with own_redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL that tests share: who stops it starts it again."""
    with postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The url of a fresh PostgreSQL database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The url of a fresh database: a SQLite file, then one on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flowleaf.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
