"""How long a project keeps what its runs leave behind: read and changed by people."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import text

from engine.runtime.parts import Parts
from engine.runtime.retention import Rules, rules_of
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest

PUT = text(
    "INSERT INTO setting (project_id, name, value) VALUES (:project, 'retention', :value) "
    "ON CONFLICT (project_id, name) DO UPDATE SET value = excluded.value"
)


class RetentionRules:
    """The rules of retention of the actor's project."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    def get(self, actor: Actor) -> Rules:
        """The rules as they are now."""
        project_id = require(actor).project_id
        with self._store.read() as connection:
            return rules_of(connection, project_id)

    def change(self, actor: Actor, changes: Mapping[str, Any]) -> Rules:
        """The rules with some of them changed; the scheduler goes by them from its next turn on.

        Raises:
            BadRequest: a rule that does not exist, or a number out of its range; nothing was changed.
        """
        project_id = require(actor).project_id
        with self._store.write() as connection:
            known = rules_of(connection, project_id)
            try:
                rules = Rules.model_validate({**known.model_dump(), **changes})
            except ValidationError as exc:
                problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in exc.errors()]
                raise BadRequest("; ".join(problems), hint=f"There are: {', '.join(Rules.model_fields)}.") from exc
            # Only what differs: another default of a later release is then taken over.
            kept = rules.model_dump(exclude_defaults=True)
            connection.execute(PUT, {"project": project_id, "value": _json(kept)})
        return rules


def _json(value: Mapping[str, Any]) -> str:
    return Rules.model_construct(**value).model_dump_json(exclude_unset=True)
