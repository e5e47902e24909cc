"""Variables of a project: what expressions read as `vars.name`."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from engine.convert import dumps, loads
from engine.runtime.ids import now_ms
from engine.runtime.parts import Parts
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest, NotFound
from engine.runtime.service.listing import LIMIT, Page, bounded, page_of, place_of
from engine.runtime.service.storable import shallow

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MOST_BYTES = 65_536

LIST = text(
    "SELECT name, value, updated_ms FROM variable WHERE project_id = :project AND name > :after ORDER BY name LIMIT :n"
)
SET = text(
    "INSERT INTO variable (project_id, name, value, updated_ms) VALUES (:project, :name, :value, :now) "
    "ON CONFLICT (project_id, name) DO UPDATE SET value = excluded.value, updated_ms = excluded.updated_ms"
)


class VariableView(BaseModel):
    """A variable, as it is shown."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: Any
    updated_ms: int


class Variables:
    """The variables of a project. Workers know a change within a second."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    def list(self, actor: Actor, *, cursor: str | None = None, limit: int = LIMIT) -> Page[VariableView]:
        """By name."""
        actor = require(actor)
        values = {"project": actor.project_id, "after": place_of(cursor) or "", "n": bounded(limit) + 1}
        with self._store.read() as connection:
            rows = connection.execute(LIST, values).all()
        return page_of(
            rows,
            limit,
            lambda row: str(row.name),
            lambda row: VariableView(name=row.name, value=loads(row.value), updated_ms=row.updated_ms),
        )

    def set(self, actor: Actor, name: str, value: Any) -> VariableView:
        """Give a variable a JSON value. Raises BadRequest where name or value cannot be used."""
        actor = require(actor)
        if not NAME.fullmatch(name):
            raise BadRequest(
                f"{name[:100]!r} is no name of a variable", hint="Letters, digits and _, with no digit first: tax_rate."
            )
        try:
            written = dumps(shallow(value, f"the value of {name}"))
        except TypeError as exc:
            raise BadRequest(f"the value of {name} is no JSON: {exc}") from exc
        if len(written) > MOST_BYTES:
            raise BadRequest(
                f"the value of {name} has {len(written)} bytes, and a variable holds {MOST_BYTES}",
                hint="Keep large data in a file.",
            )
        now = now_ms()
        values = {"project": actor.project_id, "name": name, "value": written.decode(), "now": now}
        with self._store.write() as connection:
            connection.execute(SET, values)
        return VariableView(name=name, value=loads(written), updated_ms=now)

    def delete(self, actor: Actor, name: str) -> None:
        """Remove a variable. Raises NotFound."""
        actor = require(actor)
        gone = 0
        if NAME.fullmatch(name):
            with self._store.write() as connection:
                gone = connection.execute(
                    text("DELETE FROM variable WHERE project_id = :project AND name = :name"),
                    {"project": actor.project_id, "name": name},
                ).rowcount
        if not gone:
            raise NotFound("variable", name)
