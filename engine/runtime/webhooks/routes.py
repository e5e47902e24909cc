"""Which webhook a path belongs to: the published ones in memory, brought up to date when something is published."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import text

from engine.convert import loads
from engine.runtime.store import Store

# Without a word from the bus, what was published elsewhere is known after this.
STALE_S = 1.0
# A path that is not known is looked for in the database, but no more often than this.
AGAIN_S = 0.05
PUBLISHED = text(
    "SELECT w.workflow_id, w.project_id, w.revision_id, w.node_id, w.path, w.params, r.slot, r.priority, r.limited "
    "FROM webhook w JOIN revision r ON r.id = w.revision_id WHERE w.draft = 0"
)
DRAFTS = text(
    "SELECT workflow_id, project_id, revision_id, node_id, path, params, 'draft', 1, 0 "
    "FROM webhook WHERE draft = 1 ORDER BY updated_ms"
)


class Route(NamedTuple):
    """A webhook, with what an execution's row needs."""

    workflow_id: str
    project_id: str
    revision_id: str | None
    node_id: str
    path: str
    params: Mapping[str, Any]
    slot: str
    priority: int
    limited: bool
    methods: frozenset[str]
    respond: str


@dataclass(slots=True)
class _Place:
    """What may follow after some parts of a path."""

    named: dict[str, "_Place"] = field(default_factory=dict)
    any: "_Place | None" = None
    route: Route | None = None
    names: tuple[str, ...] = ()


def shape_of(path: str) -> str:
    """The path with its names left out: two paths of one shape answer to the same addresses."""
    return "/".join(":" if part.startswith(":") else part for part in path.split("/"))


class Table:
    """Paths with names in them, looked up part by part; a part that is written out goes before a name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Place()
        for route in routes:
            place, names = self._root, []
            for part in route.path.split("/"):
                if part.startswith(":"):
                    names.append(part[1:])
                    place.any = place.any or _Place()
                    place = place.any
                else:
                    place = place.named.setdefault(part, _Place())
            place.route, place.names = route, tuple(names)

    def match(self, path: str) -> tuple[Route, dict[str, str]] | None:
        """The webhook of a path, and what its names stand for."""
        return self._match(self._root, path.split("/"), 0, ())

    def _match(
        self, place: _Place, parts: list[str], at: int, values: tuple[str, ...]
    ) -> tuple[Route, dict[str, str]] | None:
        if at == len(parts):
            return (place.route, dict(zip(place.names, values, strict=True))) if place.route is not None else None
        if (named := place.named.get(parts[at])) is not None:
            found = self._match(named, parts, at + 1, values)
            if found is not None:
                return found
        if place.any is not None and parts[at]:
            return self._match(place.any, parts, at + 1, (*values, parts[at]))
        return None


def _route(row: Any) -> Route:
    workflow_id, project_id, revision_id, node_id, path, raw, slot, priority, limited = row
    params = loads(raw.encode())
    return Route(
        workflow_id, project_id, revision_id, node_id, path, params, slot, priority, bool(limited),
        frozenset(params.get("methods", ["POST"])), str(params.get("respond", "at_once")),
    )  # fmt: skip


class Routes:
    """The published webhooks. `table` may be read on an event loop; `refresh` reads the database.

    Attributes:
        read_s: when the last reading began, by the monotonic clock.
    """

    def __init__(self, store: Store, *, drafts: bool = False) -> None:
        self._store = store
        self._statement = DRAFTS if drafts else PUBLISHED
        self._lock = threading.Lock()
        self.table = Table(())
        self.read_s = 0.0

    @property
    def is_stale(self) -> bool:
        """Whether something may have been published that is not known here."""
        return time.monotonic() - self.read_s > STALE_S

    def refresh(self) -> None:
        """Read the webhooks anew. Raises StoreUnavailable."""
        with self._lock:
            began = time.monotonic()
            with self._store.read() as connection:
                rows = connection.execute(self._statement).all()
            self.table = Table(map(_route, rows))
            self.read_s = began
