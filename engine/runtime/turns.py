"""Work that one process of an installation does at a time: a turn, taken by a conditional update; and holds on it."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import text

from engine.runtime.ids import now_ms
from engine.runtime.store import Store

# The rows of the installation itself among the settings: no project has this id.
INSTALLATION = "0" * 32
TURN_MS = 55_000

READ = text("SELECT value FROM setting WHERE project_id = :project AND name = :name")
MAKE = text("INSERT INTO setting (project_id, name, value) VALUES (:project, :name, :value) ON CONFLICT DO NOTHING")
PUT = text(
    "INSERT INTO setting (project_id, name, value) VALUES (:project, :name, :value) "
    "ON CONFLICT (project_id, name) DO UPDATE SET value = excluded.value"
)
SWAP = text("UPDATE setting SET value = :new WHERE project_id = :project AND name = :name AND value = :old")


@dataclass
class Turn:
    """A turn that was taken. What is put into `state` is there in the next one, whoever takes it."""

    _store: Store
    _name: str
    _value: str
    state: dict[str, Any]

    def save(self) -> None:
        """Keep the state, unless somebody took the next turn meanwhile. Raises StoreUnavailable."""
        until_ms = orjson.loads(self._value)["until_ms"]
        _swap(self._store, self._name, self._value, _text({"until_ms": until_ms, "state": self.state}))


def take_turn(store: Store, name: str, *, length_ms: int = TURN_MS) -> Turn | None:
    """A turn of its own; None while the last one, of whichever process, is not over.

    Raises:
        StoreUnavailable: the database cannot be used now.
    """
    now = now_ms()
    old = _read(store, name)
    if old is None:
        with store.write() as connection:
            connection.execute(MAKE, {"project": INSTALLATION, "name": name, "value": _text({"until_ms": 0})})
        old = _read(store, name) or ""
    found = orjson.loads(old)
    # One that ends much later than any could was written by a clock that was ahead. Much: clocks differ a little, and
    # time has passed since this one was asked.
    if now < found["until_ms"] <= now + 2 * length_ms:
        return None
    state = found.get("state", {})
    new = _text({"until_ms": now + length_ms, "state": state})
    return Turn(store, name, new, state) if _swap(store, name, old, new) else None


def hold(store: Store, name: str, length_ms: int) -> None:
    """Ask others to leave something alone for so long; 0 ends it."""
    with store.write() as connection:
        value = _text({"until_ms": now_ms() + length_ms if length_ms else 0})
        connection.execute(PUT, {"project": INSTALLATION, "name": f"hold {name}", "value": value})


def is_held(store: Store, name: str) -> bool:
    """Whether somebody asked to leave it alone."""
    found = _read(store, f"hold {name}")
    return found is not None and bool(orjson.loads(found)["until_ms"] > now_ms())


def _read(store: Store, name: str) -> str | None:
    with store.read() as connection:
        value: str | None = connection.execute(READ, {"project": INSTALLATION, "name": name}).scalar()
        return value


def _swap(store: Store, name: str, old: str, new: str) -> bool:
    with store.write(durable=False) as connection:
        values = {"project": INSTALLATION, "name": name, "old": old, "new": new}
        return connection.execute(SWAP, values).rowcount == 1


def _text(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()
