"""Outputs as they are paged through: of an execution's node run, or of what is kept by preview key."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from engine.errors import InternalError
from engine.events import NodeResult
from engine.graph import Graph
from engine.items import Items
from engine.runtime.data.cuts import cut
from engine.runtime.data.pages import Filter, Pages, SortKey
from engine.runtime.data.payloads import PayloadRef
from engine.runtime.data.profiles import Profile, profile_of
from engine.runtime.data.records import output_of, summaries
from engine.runtime.history import past_of
from engine.runtime.orders import unpack_order
from engine.runtime.parts import Parts
from engine.runtime.programs import read_workflow
from engine.runtime.run_data import load_kept
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest, NotFound
from engine.runtime.service.listing import known_id
from engine.workflow import Connection, Workflow, from_data

MOST_ROWS = 1_000
# How many items of one node an item is followed back to.
MOST_ORIGINS = 1_000
OWN = text("SELECT revision_id FROM execution WHERE id = :id AND project_id = :project")
PARTS = text("SELECT data FROM record WHERE execution_id = :id ORDER BY part")
KEPT = text("SELECT data FROM run_data WHERE project_id = :project AND key = :key")
REVISION = text("SELECT workflow FROM revision WHERE id = :id")


class OutputPage(BaseModel):
    """Some rows of an output.

    Attributes:
        rows: with long values cut, unless they were asked for whole.
        cuts: `{"row", "path", "kind", "size"}` of each value that was cut; rows count from 0 within the page.
        indexes: the place of each row in the output, from 0.
        matching: how many items the filters and the search leave; `total`: how many there are.
    """

    model_config = ConfigDict(frozen=True)

    rows: tuple[Mapping[str, Any], ...]
    cuts: tuple[Mapping[str, Any], ...]
    indexes: tuple[int, ...]
    matching: int
    total: int


class OriginView(BaseModel):
    """What an item came from at one node before.

    Attributes:
        items: `{"output", "index"}`, 1,000 at the most; then `more` is true.
        is_lost: where the items of this node came from is not known: it makes new ones, or they are pinned.
    """

    model_config = ConfigDict(frozen=True)

    node_id: str
    items: tuple[Mapping[str, Any], ...]
    more: bool = False
    is_lost: bool = False


class RunData:
    """Reads outputs. What is kept of an output by others of the project is not found."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._payloads = parts.payloads
        self._pages = Pages(parts.payloads)

    def page(
        self,
        actor: Actor,
        of: str,
        node_id: str | None = None,
        output: str = "main",
        *,
        start: int = 0,
        count: int = 50,
        sort: Sequence[SortKey] = (),
        filters: Sequence[Filter] = (),
        search: str | None = None,
        whole: bool = False,
    ) -> OutputPage:
        """`count` rows (1,000 at the most) from place `start` of what the filters and the search leave, in order.

        Args:
            of: id of an execution, with `node_id`; or a preview key.
            whole: long values are not cut.

        Raises:
            NotFound: there is no such output, or it is not kept any more.
            NodeError: no item has a field that is named.
            BadRequest, DefinitionError: a test, an order or a number that cannot be.
        """
        actor = require(actor)
        if not 0 <= count <= MOST_ROWS or start < 0:
            raise BadRequest(f"a page has 0 to {MOST_ROWS} rows, from 0 on")
        source = self._source(actor, of, node_id, output)
        try:
            found = self._pages.page(
                source, start=start, count=count, sort=sort, filters=filters, search=search or None
            )
        except InternalError as exc:
            raise self._gone(source, exc) from exc
        rows, cuts = (found.rows, ()) if whole else cut(found.rows)
        return OutputPage(
            rows=tuple(rows),
            cuts=tuple({**one._asdict(), "path": list(one.path)} for one in cuts),
            indexes=tuple(found.indexes),
            matching=found.matching,
            total=found.total,
        )

    def profile(self, actor: Actor, of: str, node_id: str | None = None, output: str = "main") -> Profile:
        """What the values of each field are like: see `engine.runtime.data.profiles`. Raises NotFound."""
        source = self._source(require(actor), of, node_id, output)
        try:
            return profile_of(source, self._payloads)
        except InternalError as exc:
            raise self._gone(source, exc) from exc

    def lineage(
        self, actor: Actor, execution_id: str, node_id: str, output: str = "main", index: int = 0
    ) -> tuple[OriginView, ...]:
        """Which items of each node before it one item of an output came from, the nearest nodes first.

        Raises:
            NotFound: there is no such output, or it has no such item.
        """
        actor = require(actor)
        parts, revision_id = self._parts(actor, execution_id)
        workflow = self._workflow(parts, revision_id)
        results = self._results(actor, parts[1:])
        found = results.get(node_id)
        if found is None or output not in found.outputs or not 0 <= index < len(found.outputs[output]):
            raise NotFound("item", f"{node_id}/{output}/{index}")
        return tuple(Origins(workflow, results).of(node_id, output, index))

    def _source(self, actor: Actor, of: str, node_id: str | None, output: str) -> PayloadRef | Items:
        found = self._of_key(actor, of, output) if node_id is None else self._of_run(actor, of, node_id, output)
        if found is None:
            raise NotFound("output", f"{node_id or of}/{output}")
        return found

    def _of_key(self, actor: Actor, key: str, output: str) -> PayloadRef | Items | None:
        if not key.isascii() or not key.isalnum() or len(key) > 40:
            return None
        with self._store.read() as connection:
            data = connection.execute(KEPT, {"project": actor.project_id, "key": key}).scalar()
        if data is None:
            return None
        return output_of(bytes(data), next(iter(summaries(bytes(data), first=0))), output)

    def _of_run(self, actor: Actor, execution_id: str, node_id: str, output: str) -> PayloadRef | Items | None:
        parts, _ = self._parts(actor, execution_id)
        for data in reversed(parts[1:]):
            found = output_of(data, node_id, output)
            if found is not None:
                return found
        for data in reversed(parts[1:]):
            run = summaries(data, first=0).get(node_id)
            if run is not None and run.status == "reused" and run.key:
                return self._of_key(actor, run.key, output)
        return None

    def _parts(self, actor: Actor, execution_id: str) -> tuple[list[bytes], str | None]:
        with self._store.read() as connection:
            who = {"id": known_id("execution", execution_id), "project": actor.project_id}
            row = connection.execute(OWN, who).first()
            if row is None:
                raise NotFound("execution", execution_id)
            return [bytes(data) for data in connection.execute(PARTS, who).scalars()], row.revision_id

    def _workflow(self, parts: Sequence[bytes], revision_id: str | None) -> Workflow:
        """What the execution ran."""
        if parts and (order := unpack_order(parts[0])).workflow is not None:
            return from_data(order.workflow).workflow
        with self._store.read() as connection:
            data = connection.execute(REVISION, {"id": revision_id}).scalar()
        if data is None:
            raise NotFound("revision", str(revision_id))
        return read_workflow(bytes(data))

    def _results(self, actor: Actor, parts: Sequence[bytes]) -> dict[str, NodeResult]:
        """Node id -> result, what was reused by key included."""
        results = past_of(parts, self._payloads).results
        keys = {
            run.node_id: run.key
            for data in parts
            for run in summaries(data, first=0).values()
            if run.status == "reused" and run.key
        }
        kept = load_kept(self._store, self._payloads, actor.project_id, list(set(keys.values())))
        return results | {node_id: kept[key] for node_id, key in keys.items() if key in kept}

    def _gone(self, source: PayloadRef | Items, exc: InternalError) -> Exception:
        """What a failed reading means: a payload that was removed with what it belonged to is not found."""
        if isinstance(source, PayloadRef) and not all(map(self._payloads.exists, source.hashes)):
            return NotFound("output", source.hash)
        return exc


class Origins:
    """Follows an item back through the results of an execution."""

    def __init__(self, workflow: Workflow, results: Mapping[str, NodeResult]) -> None:
        self._graph = Graph(workflow)
        self._results = results

    def of(self, node_id: str, output: str, index: int) -> list[OriginView]:
        """The items of each node before it, the nearest nodes first."""
        found: dict[str, dict[tuple[str, int], None]] = {}
        lost: set[str] = set()
        more: set[str] = set()
        queue = deque([(node_id, output, index)])
        while queue:
            node, name, at = queue.popleft()
            behind = self._behind(node, name, at)
            if behind is None:
                lost.add(node)
                continue
            for connection, place in behind:
                seen = found.setdefault(connection.source, {})
                one = (connection.output, place)
                if one in seen:
                    continue
                if len(seen) >= MOST_ORIGINS:
                    more.add(connection.source)
                    continue
                seen[one] = None
                queue.append((connection.source, *one))
        views = [self._view(id_, items, id_ in more, id_ in lost) for id_, items in found.items()]
        return [*views, self._view(node_id, {}, False, True)] if node_id in lost else views

    def _view(self, node_id: str, items: Iterable[tuple[str, int]], more: bool, is_lost: bool) -> OriginView:
        shown = tuple({"output": output, "index": index} for output, index in items)
        return OriginView(node_id=node_id, items=shown, more=more, is_lost=is_lost)

    def _behind(self, node_id: str, output: str, index: int) -> list[tuple[Connection, int]] | None:
        """The items, by the connection they came through, of which one was made; None where that is not known."""
        incoming = self._graph.incoming.get(node_id, [])
        result = self._results.get(node_id)
        if not incoming or result is None or output not in result.outputs:
            return []
        lineage = result.outputs[output].lineage
        if lineage is None or self._graph.nodes[node_id].pinned is not None:
            return None
        came = (self._came(incoming, name, one) for name, indexes in lineage.of(index).items() for one in indexes)
        return [one for one in came if one is not None]

    def _came(self, incoming: Sequence[Connection], name: str, index: int) -> tuple[Connection, int] | None:
        """The connection through which item `index` of an input came, and its place in that output."""
        for connection in incoming:
            if connection.input == name and connection.source in self._results:
                count = len(self._results[connection.source].outputs.get(connection.output, ()))
                if index < count:
                    return connection, index
                index -= count
        return None
