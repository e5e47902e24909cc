"""What expressions see of earlier nodes: `node("Label")`, and the one item of it that an item came from."""

from collections.abc import Mapping, Sequence
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

    def origins(self, node_id: str, input_name: str, index: int, target: str) -> set[Origin]:
        """The items of `target` that item `index` of a node's input came from.

        Raises:
            ExpressionError: a node on the way lost the lineage; the message names it.
        """
        connection, place = self._part(node_id, input_name, index)
        if connection is None:
            return set()
        if connection.source == target:
            return {(connection.output, place)}
        if target not in self._before(connection.source):
            return set()
        node = self.program.graph.nodes[connection.source]
        lineage = self.run_data[node.id].outputs[connection.output].lineage
        if lineage is None or node.pinned is not None:
            why = "its items are pinned" if node.pinned is not None else "it makes new items"
            label = self._label(target)
            raise ExpressionError(
                f'which item of "{label}" this one came from is not known after "{node.label}": {why}',
                hint=f'Use node("{label}").items, .first or .last.',
            )
        found: set[Origin] = set()
        for name, indexes in lineage.of(place).items():
            for one in indexes:
                found |= self.origins(node.id, name, one, target)
        return found

    def _part(self, node_id: str, input_name: str, index: int) -> tuple[Connection | None, int]:
        """The connection through which item `index` of an input came, and its place in that output."""
        for connection in self.program.graph.incoming[node_id]:
            if connection.input != input_name or connection.source not in self.run_data:
                continue
            count = len(self.run_data[connection.source].outputs.get(connection.output, ()))
            if index < count:
                return connection, index
            index -= count
        return None, 0

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
            what = f"{len(found)} items" if found else "no item"
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
