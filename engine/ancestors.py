"""What expressions see of earlier nodes: `node("Label")`, and the one item of it that an item came from."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.errors import ExpressionError, MissingValue
from engine.events import NodeResult
from engine.items import Items
from engine.program import Program
from engine.workflow import Connection

Row = dict[str, Any]
Origin = tuple[str, int]  # output name, index


class Lineages:
    """Follows items back through the nodes of one execution.

    `run_data` is the execution's: node id -> result. It is read when asked, so it may fill up meanwhile.
    """

    def __init__(self, program: Program, run_data: Mapping[str, NodeResult]) -> None:
        self.program = program
        self.run_data = run_data
        self._ancestors: dict[str, set[str]] = {}
        self._parts: dict[tuple[str, str], tuple[list[int], list[Connection]]] = {}

    def origins(self, node_id: str, input_name: str, index: int, target: str) -> set[Origin]:
        """The items of `target` that item `index` of a node's input came from; two of them where they are more.

        Raises:
            ExpressionError: a node on the way lost the lineage; the message names it.
        """
        found: set[Origin] = set()
        seen: set[tuple[str, str, int]] = set()  # ways that part may meet again
        ways = [iter([(node_id, input_name, index)])]
        while ways and len(found) < 2:
            way = next(ways[-1], None)
            if way is None:
                ways.pop()
            elif way not in seen:
                seen.add(way)
                connection, place = self._part(*way)
                if connection is None or connection.source == target:
                    found |= {(connection.output, place)} if connection else set()
                elif target in self._before(connection.source):
                    ways.append(self._before_item(connection, place, target))
        return found

    def _before_item(self, connection: Connection, place: int, target: str) -> Iterator[tuple[str, str, int]]:
        """The input items that an item of an output came from."""
        node = self.program.graph.nodes[connection.source]
        lineage = self.run_data[node.id].outputs[connection.output].lineage
        if lineage is None or node.pinned is not None:
            why = "its items are pinned" if node.pinned is not None else "it makes new items"
            label = self._label(target)
            raise ExpressionError(
                f'which item of "{label}" this one came from is not known after "{node.label}": {why}',
                hint=f'Use node("{label}").items, .first or .last.',
            )
        return ((node.id, name, one) for name, indexes in lineage.of(place).items() for one in indexes)

    def _part(self, node_id: str, input_name: str, index: int) -> tuple[Connection | None, int]:
        """The connection through which item `index` of an input came, and its place in that output."""
        found = self._parts.get((node_id, input_name))
        if found is None:
            ends, connections, end = [], [], 0
            for connection in self.program.graph.incoming[node_id]:
                if connection.input == input_name and connection.source in self.run_data:
                    end += len(self.run_data[connection.source].outputs.get(connection.output, ()))
                    ends.append(end)
                    connections.append(connection)
            # The node has its inputs, or it would not ask: they do not change any more.
            found = self._parts[node_id, input_name] = (ends, connections)
        ends, connections = found
        part = bisect_right(ends, index)
        if part == len(ends):
            return None, 0
        return connections[part], index - (ends[part - 1] if part else 0)

    def _before(self, node_id: str) -> set[str]:
        if node_id not in self._ancestors:
            self._ancestors[node_id] = self.program.graph.ancestors([node_id])
        return self._ancestors[node_id]

    def _label(self, node_id: str) -> str:
        return self.program.graph.nodes[node_id].label


class Ancestor:
    """One earlier node as the expressions of `reader` see it."""

    def __init__(self, lineages: Lineages, reader: str, node_id: str) -> None:
        self._lineages = lineages
        self._reader = reader
        self._node_id = node_id
        self._label = lineages.program.graph.nodes[node_id].label

    def item(self, index: int) -> Row:
        """The item of this node that the reader's item `index` came from."""
        found = self._lineages.origins(self._reader, "main", index, self._node_id)
        if len(found) != 1:
            what = "several items" if found else "no item"
            raise ExpressionError(
                f'this item came from {what} of "{self._label}", not from one',
                hint=f'Use node("{self._label}").items, .first or .last.',
            )
        output, place = found.pop()
        return self._outputs()[output].rows[place]

    @property
    def items(self) -> Sequence[Row]:
        """All its items: of `main`, or of all outputs one after the other where it has no `main`."""
        outputs = self._outputs()
        return (outputs["main"] if "main" in outputs else Items.concat(list(outputs.values()))).rows

    @property
    def first(self) -> Row:
        """Its first item."""
        return self._end(0)

    @property
    def last(self) -> Row:
        """Its last item."""
        return self._end(-1)

    def _end(self, index: int) -> Row:
        items = self.items
        if not items:
            raise MissingValue(
                f'"{self._label}" gave no items', hint=f'Write node("{self._label}").items and | default(...).'
            )
        return items[index]

    def _outputs(self) -> Mapping[str, Items]:
        result = self._lineages.run_data.get(self._node_id)
        if result is None or result.stops:
            raise ExpressionError(f'"{self._label}" has no output: it did not run')
        return result.outputs
