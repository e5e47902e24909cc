"""What becomes of a node run: its items in order, with lineage; those that failed go on, aside, or fail the node."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, cast

import orjson

from engine.context import StepState
from engine.convert import STRICT, dumps
from engine.errors import ExecutionCancelled, NodeError, StudioError
from engine.events import NodeResult
from engine.items import FileRef, Item, Items, Lineage, Outputs
from engine.node_type import NodeType
from engine.params import Template
from engine.workflow import Node

NOTHING = Items([])
NONE = Lineage({})


@cache
def _same(input_name: str) -> Lineage:
    """The lineage of items that are an input's own."""
    return Lineage({input_name: None})


class RecordedError(NodeError):
    """An error that was put down as plain data, in a run before this one."""

    retryable = False

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        super().__init__(recorded["message"], hint=recorded.get("hint"))
        self.recorded = recorded

    def as_json(self) -> dict[str, Any]:
        return dict(self.recorded)


class NodeRun:
    """One run of one node: what it was given, and what becomes of what the node makes of it.

    Args:
        inputs: input name -> items; the lineage they carry is not looked at.
    """

    __slots__ = ("inputs", "items", "node", "node_type", "state", "template")

    def __init__(
        self, node: Node, node_type: NodeType, template: Template, inputs: Mapping[str, Items], state: StepState
    ) -> None:
        self.node = node
        self.node_type = node_type
        self.template = template
        self.inputs = {name: items.with_lineage(_same(name)) for name, items in inputs.items()}
        # The items of its first input; a trigger has none.
        self.items = next(iter(self.inputs.values()), NOTHING)
        self.state = state

    def outcome_of(self, index: int, made: Any) -> dict[str, Any] | None:
        """What an item-by-item node made of an item, as plain data: see `execute`. None where it is none.

        What is none fails the node in the end.
        """
        if index in self.state.rejected:
            return {"error": self.state.rejected[index].as_json()}
        try:
            found = _several(made, self.node_type)
            outcome: dict[str, Any] = {"rows": [item.json for item in found]}
            if any(item.files for item in found):
                outcome["files"] = [{name: asdict(ref) for name, ref in item.files.items()} for item in found]
            if not self.node_type.name.startswith("core."):
                dumps(outcome)
        except (NodeError, TypeError):
            return None
        return outcome

    def recall(self, index: int, outcome: Mapping[str, Any]) -> Any:
        """What the node made of an item in a run before this one."""
        if "error" in outcome:
            self.state.rejected[index] = RecordedError(outcome["error"])
            return None
        self.state.rejected.pop(index, None)  # its params may not be what they were
        files = outcome.get("files") or [{}] * len(outcome["rows"])
        refs = [{name: FileRef(**ref) for name, ref in named.items()} for named in files]
        return [Item(row, named) for row, named in zip(outcome["rows"], refs, strict=True)]

    def gathered(self, made: Sequence[Any]) -> Outputs:
        """The outputs of an item-by-item node. Items that were given up go on here, or aside, or are gone."""
        goes_on = self.node.on_error == "continue"
        parts: list[Items] = []  # what nodes gave as Items stays a table where it is one
        single: list[Item] = []
        sources: list[int] = []
        for index, result in enumerate(made):
            if index in self.state.rejected:
                result = _with_error(self.items[index], self.state.rejected[index]) if goes_on else None
            found = _several(result, self.node_type)
            sources += [index] * len(found)
            if isinstance(found, Items):
                parts += [_of_items(single), found]
                single = []
            else:
                single += found
        items = Items.concat([*parts, _of_items(single)])
        one_to_one = sources == list(range(len(made)))
        lineage = Lineage({"main": None if one_to_one else sources})
        first = self.template.outputs[0]
        return self._with_aside(self._complete({first: items.with_lineage(lineage)}))

    def outputs_of(self, made: Any, kept: Sequence[int] | None) -> Outputs:
        """The outputs of a node that takes all items at once."""
        if self.node_type.shape == "frame":
            from engine.convert import items_from_frame  # noqa: PLC0415  with pandas only

            made = items_from_frame(made, length=len(self.items))
        if type(made) is Items:
            outputs: Outputs = {self.template.outputs[0]: made}
        else:
            named = made if isinstance(made, dict) else {self.template.outputs[0]: made}
            outputs = {name: _items(items, name, self.node_type) for name, items in named.items()}
        if self.node_type.shape in ("inputs", "trigger"):
            return self._with_aside(self._complete(outputs))
        for name, items in outputs.items():
            if items.lineage is None and len(self.items) == 1:
                outputs[name] = items.with_lineage(Lineage({"main": [0] * len(items)}))
            elif items.lineage is not None and kept is not None:
                outputs[name] = items.with_lineage(items.lineage.over(kept))
        if self.node.on_error == "continue" and self.state.rejected:
            first = next(iter(outputs))
            outputs[first] = _joined(outputs[first], self._aside())
        return self._with_aside(self._complete(outputs))

    def _complete(self, outputs: Outputs) -> Outputs:
        """All declared outputs, in their order; a name that is not declared is an error."""
        declared = self.template.outputs
        for name in outputs:
            if name not in declared:
                raise NodeError(
                    f"{self.node_type.name} gave the output {name!r}, which it does not declare",
                    hint="This is a fault of the package that brings the node.",
                    retryable=False,
                )
        if not self.node_type.name.startswith("core."):
            for name, items in outputs.items():
                _plain_data(items, name, self.node_type)
        if len(outputs) == len(declared) == 1:
            return outputs
        return {name: outputs[name] if name in outputs else Items([], lineage=NONE) for name in declared}

    def _with_aside(self, outputs: Outputs) -> Outputs:
        if self.node.on_error == "output":
            outputs["error"] = self._aside()
        return outputs

    def _aside(self) -> Items:
        """The items that were given up, each with its `error`."""
        rejected = self.state.rejected
        items = [_with_error(self.items[index], rejected[index]) for index in sorted(rejected)]
        return Items.of(items).with_lineage(Lineage({"main": sorted(rejected)}))

    def _all_aside(self, error: StudioError) -> Items:
        """All items of all inputs, one input after the other, each with the `error`."""
        items = [_with_error(item, error) for given in self.inputs.values() for item in given]
        sources: dict[str, list[int]] = {}
        for name in self.inputs:
            sources[name] = [
                i if other == name else -1 for other, given in self.inputs.items() for i in range(len(given))
            ]
        return Items.of(items).with_lineage(Lineage(sources))

    def succeeded(self, outputs: Outputs) -> NodeResult:
        """A run that went well, with its answer to the call where it gave one."""
        response = self.state.response
        if response is None:
            return NodeResult("succeeded", outputs)
        try:
            if not self.node_type.name.startswith("core."):
                dumps(response)
        except TypeError as exc:
            raise NodeError(
                f"{self.node_type.name} answers with what is no JSON data: {exc}",
                hint="This is a fault of the package that brings the node.",
                retryable=False,
            ) from exc
        return NodeResult("succeeded", outputs, response=response)

    def failed(self, error: StudioError) -> NodeResult:
        """A failed run; or, where failing items go on or aside, a run in which all of them failed."""
        if self.state.stop or isinstance(error, ExecutionCancelled):
            return NodeResult("failed", error=error.as_json())
        if not any(map(len, self.inputs.values())):
            aside = Items([{"error": error.as_json()}], lineage=Lineage({}))
        elif self.node_type.shape == "inputs":
            aside = self._all_aside(error)
        else:
            self.state.rejected = dict.fromkeys(range(len(self.items)), error) | self.state.rejected
            aside = self._aside()
        names = self.template.outputs
        outputs = {name: Items([], lineage=Lineage({})) for name in names}
        outputs["error" if self.node.on_error == "output" else names[0]] = aside
        return NodeResult("succeeded", outputs)


def _with_error(item: Item, error: StudioError) -> Item:
    return item.derive(error=error.as_json())


def _of_items(made: list[Item]) -> Items:
    """Items of fresh records: their fields are not copied again."""
    files = [item.files for item in made]
    return Items([cast(dict[str, Any], item.json) for item in made], files=files if any(files) else None)


def _several(result: Any, node_type: NodeType) -> Sequence[Item]:
    """What an item-by-item node gave for one item, as items."""
    if result is None:
        return ()
    if isinstance(result, Item):
        return (result,)
    if isinstance(result, Items) or (isinstance(result, list) and all(isinstance(r, Item) for r in result)):
        return result
    raise _no_items(result, "main", node_type)


def _items(made: Any, name: str, node_type: NodeType) -> Items:
    if isinstance(made, Items):
        return made
    if isinstance(made, (list, tuple)) and all(isinstance(item, Item) for item in made):
        return Items.of(made)
    raise _no_items(made, name, node_type)


def _no_items(made: Any, name: str, node_type: NodeType) -> NodeError:
    return NodeError(
        f"{node_type.name} gave {type(made).__name__} as its output {name!r}, not Items",
        hint="This is a fault of the package that brings the node.",
        retryable=False,
    )


def _plain_data(items: Items, name: str, node_type: NodeType) -> None:
    """Refuse values that are no JSON data: what a package of others gives is stored and shown as such."""
    if items.is_table:
        return
    if odd := [row for row in items.rows if type(row) is not dict]:
        raise _no_items(odd[0], name, node_type)
    try:
        orjson.dumps(items.rows, option=STRICT)
    except orjson.JSONEncodeError:
        for index, row in enumerate(items.rows):
            try:
                dumps(row)
            except TypeError as exc:
                raise NodeError(
                    f"{node_type.name}: item {index} of its output {name!r} is no JSON data: {exc}",
                    hint="This is a fault of the package that brings the node.",
                    retryable=False,
                ) from exc


def _joined(items: Items, more: Items) -> Items:
    """The items of both, with their lineage: in the order of the input where `items` are, else `more` at the end."""
    whole = Items.concat([items, more])
    if items.lineage is None or set(items.lineage.sources) != {"main"}:
        return whole
    sources: list[tuple[int, ...]] = []
    for part in (items, more):
        assert part.lineage is not None
        sources += [part.lineage.of(index)["main"] for index in range(len(part))]
    whole = whole.with_lineage(Lineage({"main": sources}))
    kept = sources[: len(items)]
    if all(len(source) == 1 for source in kept) and kept == sorted(kept):
        return whole.take(sorted(range(len(whole)), key=sources.__getitem__))
    return whole
