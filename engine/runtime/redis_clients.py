"""Redis clients that do not try again by themselves: who uses one decides how long to wait."""

from typing import TypedDict

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.errors import DefinitionError

CONNECT_LIMIT_S = 0.5


class _Options(TypedDict):
    db: int
    protocol: int
    socket_timeout: float
    socket_connect_timeout: float


def thread_client(url: str, *, database: int, limit_s: float) -> redis.Redis:
    """A client for threads; it connects when first used.

    Args:
        database: taken where the url names none.
        limit_s: how long an answer may take.

    Raises:
        DefinitionError: the url is none of Redis.
    """
    try:
        return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options(database, limit_s))
    except ValueError as exc:
        raise _refused() from exc


def loop_client(url: str, *, database: int, limit_s: float) -> redis.asyncio.Redis:
    """As `thread_client`, for one event loop."""
    try:
        return redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **_options(database, limit_s))
    except ValueError as exc:
        raise _refused() from exc


def _options(database: int, limit_s: float) -> _Options:
    # Protocol 2 everywhere: streams are answered in another shape by 3, which Redis before 6 does not know.
    return {
        "db": database,
        "protocol": 2,
        "socket_timeout": limit_s,
        "socket_connect_timeout": min(CONNECT_LIMIT_S, limit_s),
    }


def _refused() -> DefinitionError:
    # Without the url: it may hold a password.
    return DefinitionError(
        "The address of Redis cannot be used.",
        hint="FLOWLEAF_REDIS_URL is like redis://localhost:6379, rediss://... or unix:///path/to/socket.",
    )
