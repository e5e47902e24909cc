"""Credentials that check incoming calls, kept opened for a moment."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import text

from engine.errors import CredentialError
from engine.runtime.context import vault_context
from engine.runtime.credentials.vault import Vault
from engine.runtime.store import Store

KEPT_S = 2.0


class Keyring:
    """Opened credentials by project and name. On one event loop."""

    def __init__(self, store: Store, vault: Callable[[], Vault]) -> None:
        self._store = store
        self._vault = vault
        self._kept: dict[tuple[str, str], tuple[float, str, Mapping[str, Any]]] = {}

    async def get(self, project_id: str, name: str) -> tuple[str, Mapping[str, Any]]:
        """Kind and fields. Raises CredentialError, StoreUnavailable."""
        kept = self._kept.get((project_id, name))
        if kept is None or time.monotonic() - kept[0] > KEPT_S:
            kind, fields = await asyncio.to_thread(self._open, project_id, name)
            kept = self._kept[project_id, name] = (time.monotonic(), kind, fields)
        return kept[1], kept[2]

    def forget(self) -> None:
        """Open them anew when they are next asked for."""
        self._kept.clear()

    def _open(self, project_id: str, name: str) -> tuple[str, Mapping[str, Any]]:
        with self._store.read() as connection:
            found = connection.execute(
                text("SELECT id, kind, sealed FROM credential WHERE project_id = :project AND name = :name"),
                {"project": project_id, "name": name},
            ).first()
        if found is None:
            raise CredentialError(f"there is no credential {name!r}")
        return found[1], self._vault().open(bytes(found[2]), context=vault_context(project_id, found[0]))
