"""What the processes of an installation are put together from, and what is looked at before they start."""

import asyncio
import hmac
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.runtime.bus import BusUnavailable
from engine.runtime.claims import lapse, lapse_all
from engine.runtime.credentials.vault import load_key
from engine.runtime.ids import new_id
from engine.runtime.intake import Intake
from engine.runtime.parts import Parts
from engine.runtime.programs import Programs
from engine.runtime.schema_state import STATEMENT, newest_revision
from engine.runtime.store import StoreUnavailable
from engine.runtime.webhooks.ingress import Ingress, PublishedIngress
from engine.runtime.webhooks.keyring import Keyring
from engine.runtime.webhooks.replies import Replies
from engine.runtime.webhooks.routes import Routes

Step: TypeAlias = Callable[[], Awaitable[None]]
READY_LIMIT_S = 2.0
COUNTED = {
    "Workflows": "SELECT 1 FROM workflow WHERE deleted_ms IS NULL",
    "Executions": "SELECT 1 FROM execution",
    "Running now": "SELECT 1 FROM execution WHERE status = 'running'",
}


def make_ingress(parts: Parts) -> tuple[Ingress, Step, Step]:
    """What answers webhooks, with what begins it and what ends it. On the event loop it is to run on."""
    process_id = new_id()
    topic = f"reply:{process_id}"  # as the worker's `reply_topic` says
    intake = Intake(parts.store, parts.woken)
    replies = Replies(parts.store, parts.bus, Programs(parts.store, parts.registry), parts.payloads, topic)
    keyring = Keyring(parts.store, parts.vault)
    ingress = PublishedIngress(Routes(parts.store), intake, replies, keyring, parts.bus, reply_to=process_id)

    async def startup() -> None:
        replies.start()
        await ingress.start()

    async def shutdown() -> None:
        await ingress.close()
        await asyncio.to_thread(intake.close)
        await replies.close()

    return ingress, startup, shutdown


async def is_ready(parts: Parts) -> tuple[bool, dict[str, str]]:
    """Whether calls can be accepted, and how the parts that takes are.

    Without Redis they can: workers find the work in the database.
    """
    state = {"database": "ok", "redis": "ok"}
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            await asyncio.to_thread(_ask, parts)
    except (StoreUnavailable, DBAPIError, TimeoutError):
        state["database"] = "away"
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            await parts.bus.publish("ready", {})
    except (BusUnavailable, TimeoutError):
        state["redis"] = "away"
    return state["database"] == "ok", state


def _ask(parts: Parts) -> None:
    with parts.store.read() as connection:
        connection.execute(text("SELECT 1 FROM worker LIMIT 1"))


def session_secret(parts: Parts) -> bytes:
    """What the sessions of browsers are signed with: made from the installation's key, and not that key."""
    return hmac.digest(load_key(parts.home, parts.settings.key), b"flowleaf sessions", "sha256")


def front_counts(parts: Parts) -> dict[str, str]:
    """How many workflows and executions there are; counted up to a thousand."""
    with parts.store.read() as connection:
        return {
            name: _capped(connection.execute(text(f"SELECT count(*) FROM ({rows} LIMIT 1001) AS few")).scalar_one())  # noqa: S608
            for name, rows in COUNTED.items()
        }


def _capped(count: int) -> str:
    return f"{count:,}" if count <= 1_000 else "over 1,000"


def prepare(parts: Parts) -> str:
    """Bring the database to what this code needs; says what was done.

    Raises:
        StoreUnavailable: the database cannot be used now.
    """
    from engine.runtime import schema  # noqa: PLC0415  Alembic costs a fifth of a second, and is needed seldom

    found = schema.current(parts.store)
    if found != schema.newest():
        schema.upgrade(parts.store)
    state = "made" if found is None else "up to date" if found == schema.newest() else "brought up to date"
    return f"{'SQLite' if parts.store.is_sqlite else 'PostgreSQL'}, {state}"


def require_schema(parts: Parts) -> None:
    """Raises DefinitionError, saying what to do, where the database is not what this code needs."""
    with suppress(DBAPIError, StoreUnavailable), parts.store.read() as connection:
        if connection.execute(text(STATEMENT)).scalar() == newest_revision():
            return
    from engine.runtime import schema  # noqa: PLC0415  as above

    schema.require_current(parts.store)


def free_leases(parts: Parts, pid: int | None = None) -> None:
    """End the leases of dead workers, so that what they ran is recovered at once.

    Args:
        pid: of the one of this host that died; None: of all, where no other worker can be.
    """
    if pid is None:
        lapse_all(parts.store)
    else:
        lapse(parts.store, socket.gethostname(), pid)
