"""Questions about the shape of a workflow."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from engine.errors import CycleError
from engine.workflow import Connection, Node, Workflow


class Graph:
    """A read-only view of a workflow, indexed for walking.

    Attributes:
        nodes: id -> node, in the order drawn.
        incoming, outgoing: id -> connections, in the order drawn.
    """

    __slots__ = ("_order", "incoming", "nodes", "outgoing")

    def __init__(self, workflow: Workflow) -> None:
        self._order: list[str] | None = None
        self.nodes: dict[str, Node] = {node.id: node for node in workflow.nodes}
        self.incoming: dict[str, list[Connection]] = {node_id: [] for node_id in self.nodes}
        self.outgoing: dict[str, list[Connection]] = {node_id: [] for node_id in self.nodes}
        for connection in workflow.connections:
            if connection.source in self.nodes and connection.target in self.nodes:
                self.incoming[connection.target].append(connection)
                self.outgoing[connection.source].append(connection)

    def order(self) -> list[str]:
        """Node ids, parents first; among those that are ready, the one drawn first.

        Raises:
            CycleError: the connections form a loop; the message lists it by label.
        """
        if self._order is None:
            self._order = self._ordered()
        return self._order

    def _ordered(self) -> list[str]:
        place = {node_id: index for index, node_id in enumerate(self.nodes)}
        ids = list(self.nodes)
        missing = {node_id: len({c.source for c in sources}) for node_id, sources in self.incoming.items()}
        ready = [place[node_id] for node_id, count in missing.items() if count == 0]
        heapify(ready)
        ordered = []
        while ready:
            node_id = ids[heappop(ready)]
            ordered.append(node_id)
            for target in {c.target for c in self.outgoing[node_id]}:
                missing[target] -= 1
                if missing[target] == 0:
                    heappush(ready, place[target])
        if len(ordered) < len(ids):
            loop = self.cycle(set(ids) - set(ordered))
            labels = " -> ".join(f'"{self.nodes[n].label}"' for n in [*loop, loop[0]])
            raise CycleError(
                f"the connections form a loop: {labels}",
                hint="Remove one of these connections.",
            )
        return ordered

    def cycle(self, among: set[str]) -> list[str]:
        """One loop within `among`, nodes that all stand on or behind one; it starts with the node drawn first."""
        trail: dict[str, int] = {}
        node_id = next(n for n in self.nodes if n in among)
        while node_id not in trail:
            trail[node_id] = len(trail)
            node_id = next(c.source for c in self.incoming[node_id] if c.source in among)
        loop = [n for n, index in trail.items() if index >= trail[node_id]][::-1]
        first = min(loop, key=list(self.nodes).index)
        at = loop.index(first)
        return loop[at:] + loop[:at]

    def ancestors(self, node_ids: Iterable[str]) -> set[str]:
        """Every node that feeds one of `node_ids`, those themselves not included unless they feed another."""
        return self._reach((c.source for n in node_ids for c in self.incoming[n]), "incoming")

    def descendants(self, node_ids: Iterable[str]) -> set[str]:
        """Every node that one of `node_ids` feeds."""
        return self._reach((c.target for n in node_ids for c in self.outgoing[n]), "outgoing")

    def _reach(self, start: Iterable[str], direction: str) -> set[str]:
        seen: set[str] = set()
        stack = list(start)
        while stack:
            node_id = stack.pop()
            if node_id not in seen:
                seen.add(node_id)
                if direction == "incoming":
                    stack += [c.source for c in self.incoming[node_id]]
                else:
                    stack += [c.target for c in self.outgoing[node_id]]
        return seen
