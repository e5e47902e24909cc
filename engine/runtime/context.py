"""What the nodes of an execution may do outside: services of `engine.context`, with vars and secrets of a project."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from sqlalchemy import text

from engine.api import HttpRequests
from engine.convert import loads
from engine.errors import CredentialError, did_you_mean
from engine.run import LocalServices
from engine.runtime.credentials.kinds import outgoing
from engine.runtime.credentials.vault import Vault
from engine.runtime.store import Store, patiently

if TYPE_CHECKING:
    from engine.sandbox import CodeResult

VARS_S = 1.0  # how long a project's variables are kept at hand


def vault_context(project_id: str, credential_id: str) -> str:
    """What a sealed credential is bound to, so that it opens in its own row only."""
    return f"{project_id}/{credential_id}"


class Outside:
    """What all executions of a process share: the HTTP client, files, code, the vault, variables kept for a moment."""

    def __init__(self, store: Store, local: LocalServices, vault: Callable[[], Vault]) -> None:
        self.store = store
        self.local = local
        self.vault = vault
        self._vars: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def known_vars(self, project_id: str) -> Mapping[str, Any] | None:
        """The project's variables, where they were read just now."""
        kept = self._vars.get(project_id)
        return kept[1] if kept is not None and time.monotonic() - kept[0] < VARS_S else None

    def load_vars(self, project_id: str) -> Mapping[str, Any]:
        """The project's variables. Not on an event loop."""
        with self.store.read() as connection:
            found = connection.execute(
                text("SELECT name, value FROM variable WHERE project_id = :project"), {"project": project_id}
            )
            values = {name: loads(value.encode()) for name, value in found}
        if len(self._vars) > 1000:
            self._vars.clear()
        self._vars[project_id] = (time.monotonic(), values)
        return values

    def secret(self, project_id: str, name: str) -> Mapping[str, str]:
        """The fields of a credential, as nodes get them. Not on an event loop. Raises CredentialError."""
        with self.store.read() as connection:
            found = connection.execute(
                text("SELECT id, kind, sealed FROM credential WHERE project_id = :project AND name = :name"),
                {"project": project_id, "name": name},
            ).first()
            if found is None:
                names = connection.execute(
                    text("SELECT name FROM credential WHERE project_id = :project ORDER BY name LIMIT 100"),
                    {"project": project_id},
                ).scalars()
                raise CredentialError(f"there is no credential {name!r}", hint=did_you_mean(name, list(names)))
        id_, kind, sealed = found
        return outgoing(name, kind, self.vault().open(sealed, context=vault_context(project_id, id_)))


class ExecutionServices:
    """The services of one execution."""

    __slots__ = ("_outside", "_project_id", "now", "vars")

    def __init__(self, outside: Outside, project_id: str, now_ms: int, vars: Mapping[str, Any]) -> None:
        self._outside = outside
        self._project_id = project_id
        self.now = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()
        self.vars = vars

    @property
    def http(self) -> HttpRequests:
        """The process's HTTP client."""
        return self._outside.local.http

    async def credential(self, name: str) -> Mapping[str, str]:
        """The secret fields of a credential of the project. Raises CredentialError."""
        return await patiently(partial(self._outside.secret, self._project_id, name))

    async def run_code(
        self,
        source: str,
        rows: list[dict[str, Any]],
        *,
        shape: Literal["items", "item"],
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        keep_going: bool,
        timeout_s: float | None,
        on_log: Callable[[str, int], None],
    ) -> "CodeResult":
        """The author's Python, in a child process."""
        return await self._outside.local.run_code(
            source, rows, shape=shape, inputs=inputs, keep_going=keep_going, timeout_s=timeout_s, on_log=on_log
        )

    def open_file(self, path: str) -> BinaryIO:
        """A file below the allowed folders."""
        return self._outside.local.open_file(path)
