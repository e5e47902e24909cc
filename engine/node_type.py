"""A node type: one decorated function, one params model, one docstring."""

import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from dataclasses import field as _dataclass_field
from functools import cached_property
from typing import Any, Literal

from engine.errors import InvalidParams
from engine.fields import Params
from engine.file_text import parse

Effects = Literal["pure", "read", "write"]
EFFECTS = typing.get_args(Effects)
Shape = Literal["each", "items", "inputs", "frame", "trigger"]
# A node's shape is the name of its second parameter.
SHAPES: dict[str, Shape] = {
    "item": "each",
    "items": "items",
    "inputs": "inputs",
    "frame": "frame",
    "request": "trigger",
}
NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Example:
    """One run of a node, from its docstring: shown in its docs page and run by a test.

    Attributes:
        inputs: input name -> rows.
        gives: output name -> rows.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, list[dict[str, Any]]]
    gives: Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class NodeType:
    """A node type as the registry knows it.

    Attributes:
        name: stable id such as `core.http_request`; stored in every workflow.
        run: the node's function; a plain `def` computes (and is moved to a thread when there is much), an
            `async def` waits for something.
        run_empty: whether it runs when no item came in.
    """

    name: str
    version: int
    label: str
    group: str
    shape: Shape
    inputs: tuple[str, ...]
    keywords: tuple[str, ...]
    run_empty: bool
    params: type[Params]
    run: Callable[..., Any]
    summary: str
    description: str
    _effects: Effects | Callable[[Mapping[str, Any]], Effects]
    _outputs: tuple[str, ...] | Callable[[Mapping[str, Any]], Sequence[str]]
    upgrades: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = _dataclass_field(default_factory=dict)

    @property
    def is_trigger(self) -> bool:
        """Whether it starts executions."""
        return self.shape == "trigger"

    @cached_property
    def is_async(self) -> bool:
        """Whether it waits for something, rather than computes."""
        return inspect.iscoroutinefunction(self.run)

    def effects(self, params: Mapping[str, Any]) -> Effects:
        """What a run with these raw params does outside; `write` where an expression decides."""
        return self._effects(params) if callable(self._effects) else self._effects

    def outputs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Output names with these raw params."""
        return tuple(self._outputs(params)) if callable(self._outputs) else self._outputs

    @property
    def has_fixed_outputs(self) -> bool:
        """Whether its outputs are the same whatever its params."""
        return not callable(self._outputs)

    def upgrade_from(
        self, version: int
    ) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], Callable[[dict[str, Any]], dict[str, Any]]]:
        """Decorator: turns raw params of `version` into those of `version + 1`."""

        def declare(fn: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
            self.upgrades[version] = fn
            return fn

        return declare

    def upgraded(self, params: Mapping[str, Any], version: int) -> dict[str, Any]:
        """Raw params in the form of this version.

        Raises:
            InvalidParams: they come from a newer version, or there is no way from theirs to this one.
        """
        if version > self.version:
            raise InvalidParams(
                f"{self.name} is installed in version {self.version}; this node was made with version {version}",
                hint="Update the package that brings the node.",
            )
        raw = dict(params) if version == self.version else deepcopy(dict(params))
        for number in range(version, self.version):
            try:
                raw = self.upgrades[number](raw)
            except Exception as exc:  # of a package, on params that may be anything
                raise InvalidParams(
                    f"the params of version {number} cannot be brought to version {number + 1}: {exc!r}",
                    hint="Set them anew, or ask whoever brings the node.",
                ) from exc
        return raw

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the params: what the form is drawn from."""
        return self.params.model_json_schema() | {"title": self.label}

    def examples(self) -> list[Example]:
        """The examples of the docstring: YAML blocks under lines that say `Example:`."""
        found = []
        for block in re.findall(r"^Example:\n((?:[ \t]+.*\n|\n)+)", self.description + "\n", re.MULTILINE):
            parts = parse(textwrap.dedent(block))
            inputs = {name: parts[name] for name in self.inputs if name in parts}
            if self.is_trigger and "request" in parts:
                inputs = {"request": parts["request"]}
            gives = parts["gives"]
            found.append(
                Example(parts.get("params", {}), inputs, gives if isinstance(gives, dict) else {"main": gives})
            )
        return found


def node(
    name: str,
    *,
    version: int = 1,
    group: str,
    effects: Effects | Callable[[Mapping[str, Any]], Effects],
    inputs: tuple[str, ...] = ("main",),
    outputs: tuple[str, ...] | Callable[[Mapping[str, Any]], Sequence[str]] = ("main",),
    label: str = "",
    keywords: tuple[str, ...] = (),
    run_empty: bool = False,
) -> Callable[[Callable[..., Any]], NodeType]:
    """Declare a node type. The name of the function's second parameter is its shape.

    `item` (one item at a time), `items` (all at once), `inputs` (input name -> items, for several inputs), `frame`
    (all as a pandas DataFrame), `request` (a trigger). Returns: Item, Items or None for `item`; Items, a list of Item,
    or output name -> Items for `items`, `inputs` and `request`; a DataFrame for `frame`.

    Args:
        name: `package.name`; stored in workflows, never changed.
        effects: `pure` computes, `read` looks outside, `write` changes something there; or a function of the raw
            params. Only pure nodes run by themselves while a workflow is edited.
        outputs: names, or a function of the raw params.
        run_empty: whether it runs when no item came in.

    Raises:
        TypeError: the declaration is wrong; the message says how.
    """

    def declare(fn: Callable[..., Any]) -> NodeType:
        names = list(inspect.signature(fn).parameters)
        description = inspect.getdoc(fn) or ""
        summary = description.split("\n", 1)[0]
        if not NAME.fullmatch(name):
            raise TypeError(f"{name!r}: a node type is called package.name, in small letters")
        for mistake, is_there in (
            (
                f"the function takes (ctx, {' | '.join(SHAPES)}, params), not ({', '.join(names)})",
                len(names) != 3 or names[0] != "ctx" or names[1] not in SHAPES or names[2] != "params",
            ),
            (
                "the docstring's first line is shown in the catalogue: a sentence with a full stop",
                not summary.endswith("."),
            ),
            ("its version is 1 or more", version < 1),
            (f"effects are pure, read or write, not {effects!r}", not callable(effects) and effects not in EFFECTS),
            ('inputs is a tuple of names, such as ("main",)', not _is_names(inputs)),
            (
                'outputs is a tuple of names, such as ("main",), or a function',
                not (callable(outputs) or _is_names(outputs)),
            ),
            (
                'only several inputs have names of their own: one input is called "main"',
                "inputs" not in names and len(inputs) == 1 and inputs != ("main",),
            ),
            (
                "several inputs need a function that takes (ctx, inputs, params)",
                len(inputs) > 1 and "inputs" not in names,
            ),
        ):
            if is_there:
                raise TypeError(f"{name}: {mistake}")
        shape = SHAPES[names[1]]
        return NodeType(
            name=name,
            version=version,
            label=label or name.split(".")[-1].replace("_", " ").capitalize(),
            group=group,
            shape=shape,
            inputs=() if shape == "trigger" else inputs,
            keywords=keywords,
            run_empty=run_empty,
            params=_params_of(name, fn),
            run=fn,
            summary=summary,
            description=description,
            _effects=effects,
            _outputs=outputs,
        )

    return declare


def _is_names(value: object) -> bool:
    """Whether it is a tuple of different names; `error` is the output that every node may have."""
    return isinstance(value, tuple) and 0 < len({*value} - {"error"}) == len(value)


def _params_of(name: str, fn: Callable[..., Any]) -> type[Params]:
    """The class that `params` is annotated with."""
    annotation = inspect.signature(fn).parameters["params"].annotation
    if isinstance(annotation, str):  # from __future__ import annotations
        annotation = fn.__globals__.get(annotation)
    if not (isinstance(annotation, type) and issubclass(annotation, Params)):
        raise TypeError(f"{name}: annotate `params` with a class derived from Params")
    return annotation
