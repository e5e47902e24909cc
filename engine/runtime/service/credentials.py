"""Credentials: sealed when they come in, and never given out again. Workers and webhooks open them by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from engine.convert import dumps, loads
from engine.program import Program, program_of
from engine.runtime.bus import BusUnavailable
from engine.runtime.context import vault_context
from engine.runtime.credentials.kinds import Hmac, shown, validate
from engine.runtime.ids import new_id, now_ms
from engine.runtime.parts import Parts
from engine.runtime.programs import read_workflow
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest, InUse, NotFound, Taken
from engine.runtime.service.listing import LIMIT, Page, bounded, known_id, page_of, place_of
from engine.runtime.service.storable import storable
from engine.runtime.webhooks.ingress import ROUTES

MOST_NAME = 200

COLUMNS = "id, name, kind, shown, created_ms, updated_ms"
LIST = text(
    f"SELECT {COLUMNS} FROM credential WHERE project_id = :project AND id > :after ORDER BY id LIMIT :n"  # noqa: S608
)
ONE = text(f"SELECT {COLUMNS}, sealed FROM credential WHERE project_id = :project AND id = :id")  # noqa: S608
INSERT = text(
    "INSERT INTO credential (id, project_id, name, kind, shown, sealed, revision, created_ms, updated_ms) "
    "VALUES (:id, :project, :name, :kind, :shown, :sealed, :revision, :now, :now)"
)
UPDATE = text(
    "UPDATE credential SET name = :name, shown = :shown, sealed = :sealed, revision = :revision, updated_ms = :now "
    "WHERE id = :id"
)
PUBLISHED = text(
    "SELECT w.name, r.workflow FROM workflow w JOIN revision r ON r.id = w.revision_id WHERE w.project_id = :project"
)


class CredentialView(BaseModel):
    """A credential as it is shown: without its secret fields.

    Attributes:
        fields: those that are no secret.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    kind: str
    fields: dict[str, Any]
    created_ms: int
    updated_ms: int


class Credentials:
    """The credentials of a project. No method gives a secret back."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store

    def list(self, actor: Actor, *, cursor: str | None = None, limit: int = LIMIT) -> Page[CredentialView]:
        """The oldest first."""
        actor = require(actor)
        values = {"project": actor.project_id, "after": place_of(cursor) or "", "n": bounded(limit) + 1}
        with self._store.read() as connection:
            rows = connection.execute(LIST, values).all()
        return page_of(rows, limit, lambda row: str(row.id), _view)

    def get(self, actor: Actor, credential_id: str) -> CredentialView:
        """One of them. Raises NotFound."""
        actor = require(actor)
        with self._store.read() as connection:
            return _view(self._row(connection, actor, credential_id))

    def create(self, actor: Actor, name: str, kind: str, fields: Mapping[str, Any]) -> CredentialView:
        """Keep a secret under a name.

        Raises:
            CredentialError: fields that do not fit the kind, or a key that cannot be used.
            Taken: another one has the name.
        """
        actor = require(actor)
        kept = validate(kind, fields)
        id_ = new_id()
        values = {"project": actor.project_id, "kind": kind, **self._written(actor, id_, _name(name), kind, kept)}
        with _unique(name), self._store.write() as connection:
            connection.execute(INSERT, values)
        self._tell()
        return self.get(actor, id_)

    def update(
        self,
        actor: Actor,
        credential_id: str,
        *,
        name: str | None = None,
        fields: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> CredentialView:
        """Change the name, or some fields; those that are left out stay as they are.

        Args:
            force: give it another name though a published workflow asks for it by this one.

        Raises:
            NotFound: there is no such credential.
            CredentialError: the fields do not fit, or what is kept cannot be opened.
            InUse, Taken: the name cannot be changed.
        """
        actor = require(actor)
        with self._store.read() as connection:
            row = self._row(connection, actor, credential_id)
            if name not in (None, row.name) and not force:
                self._must_be_unused(connection, actor, row.name)
        kept = self._parts.vault().open(bytes(row.sealed), context=vault_context(actor.project_id, row.id))
        if fields is not None:
            if fields.get("preset", kept.get("preset")) != kept.get("preset"):
                kept = {field: value for field, value in kept.items() if field not in Hmac.FORM}
            kept = validate(row.kind, {**kept, **fields})
        values = self._written(actor, row.id, row.name if name is None else _name(name), row.kind, kept)
        with _unique(values["name"]), self._store.write() as connection:
            self._row(connection, actor, credential_id)
            connection.execute(UPDATE, values)
        self._tell()
        return self.get(actor, row.id)

    def delete(self, actor: Actor, credential_id: str, *, force: bool = False) -> None:
        """Forget a secret.

        Raises:
            NotFound: there is no such credential.
            InUse: a published workflow names it, and it is not forced.
        """
        actor = require(actor)
        with self._store.read() as connection:
            row = self._row(connection, actor, credential_id)
            if not force:
                self._must_be_unused(connection, actor, row.name)
        with self._store.write() as connection:
            connection.execute(text("DELETE FROM credential WHERE id = :id"), {"id": row.id})
        self._tell()

    def _row(self, connection: Connection, actor: Actor, id_: str) -> Any:
        values = {"project": actor.project_id, "id": known_id("credential", id_)}
        row = connection.execute(ONE, values).first()
        if row is None:
            raise NotFound("credential", id_)
        return row

    def _written(self, actor: Actor, id_: str, name: str, kind: str, kept: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": id_,
            "name": name,
            "shown": dumps(shown(kind, kept)).decode(),
            "sealed": self._parts.vault().seal(kept, context=vault_context(actor.project_id, id_)),
            "revision": new_id(),
            "now": now_ms(),
        }

    def _must_be_unused(self, connection: Connection, actor: Actor, name: str) -> None:
        """Raises InUse where published workflows name the credential."""
        using = [
            workflow_name
            for workflow_name, packed in connection.execute(PUBLISHED, {"project": actor.project_id})
            if name in credentials_of(program_of(read_workflow(bytes(packed)), self._parts.registry))
        ]
        if using:
            listed = ", ".join(f'"{workflow}"' for workflow in using[:10])
            raise InUse(
                f"the credential {name!r} is used by {listed}{' and others' if len(using) > 10 else ''}",
                hint="Change or unpublish these first, or force it.",
            )

    def _tell(self) -> None:
        """Let those that keep opened credentials look again."""
        with suppress(BusUnavailable):
            self._parts.bus.publish_many_sync([(ROUTES, {})])


def credentials_of(program: Program) -> set[str]:
    """Names of the credentials that the nodes' params name, as far as they are written out."""
    found = set()
    for node_id, template in program.templates.items():
        for field, known in program.types[node_id].params.model_fields.items():
            extra = known.json_schema_extra
            if isinstance(extra, dict) and extra.get("widget") == "credential":
                value = template.raw.get(field)
                found |= {value} if isinstance(value, str) else set()
    return found


@contextmanager
def _unique(name: str) -> Iterator[None]:
    """Turns what a database says about a name that is there already into Taken."""
    try:
        yield
    except IntegrityError:
        # Not `from exc`: its statement has the values in it.
        raise Taken(f"there is a credential {name!r} already", hint="Choose another name.") from None


def _name(name: str) -> str:
    """The name. Raises BadRequest."""
    if not 1 <= len(name) <= MOST_NAME or name != name.strip() or not name.isprintable():
        raise BadRequest(
            f"a credential's name has 1 to {MOST_NAME} characters, no control characters, and no space at its ends"
        )
    return storable(name, "the name")


def _view(row: Any) -> CredentialView:
    return CredentialView(
        id=row.id,
        name=row.name,
        kind=row.kind,
        fields=loads(row.shown),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )
