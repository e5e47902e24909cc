"""An installation with workflows that change something outside, and the service that they call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import chaos_workflows
from tests.support.chaos_target import Target, target
from tests.support.installation import Installation, installation
from tests.support.servers import OwnRedis


@pytest.fixture
def service() -> Iterator[Target]:
    """The service that workflows call."""
    with target() as made:
        yield made


@pytest.fixture
def made(tmp_path: Path, mortal_redis: OwnRedis, database_url: str, service: Target) -> Iterator[Installation]:
    """An installation on SQLite, then on PostgreSQL, with all workflows but the schedule; nothing runs yet."""
    with installation(tmp_path, mortal_redis.url, None if database_url.startswith("sqlite") else database_url) as it:
        for workflow in chaos_workflows.called(service.url):
            it.publish(workflow)
        yield it
