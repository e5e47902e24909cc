"""Everything a node file may import. Stable: changed as a public library is, by semantic versioning.

A node type is one decorated function, one params model, one docstring. The form, the catalogue, the validation, the
docs page and the conformance test all come from those::

    class LimitParams(Params):
        count: int = field(10, help="How many items to keep.", ge=0)


    @node("core.limit", group="transform", effects="pure")
    def limit(ctx: Context, items: Items, params: LimitParams) -> Items:
        \"\"\"Keep the first items and drop the rest.\"\"\"
        return items[: params.count]
"""

import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from dataclasses import field as _dataclass_field
from functools import cached_property
from typing import Any, BinaryIO, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from engine.errors import (
    AddressRefused,
    CodeError,
    CodeLimitExceeded,
    CredentialError,
    DefinitionError,
    ExpressionError,
    InvalidParams,
    MissingValue,
    NodeError,
    RequestMissing,
    StudioError,
    UpstreamError,
    did_you_mean,
)
from engine.file_text import parse
from engine.items import FileRef, Groups, Item, Items, Lineage, Outputs
from engine.values import column_of, equal, field_value, match_key, order_key

if typing.TYPE_CHECKING:
    import httpx

__all__ = [
    "AddressRefused",
    "CodeError",
    "CodeLimitExceeded",
    "Context",
    "CredentialError",
    "DefinitionError",
    "Effects",
    "ExpressionError",
    "FileRef",
    "Groups",
    "InvalidParams",
    "Item",
    "Items",
    "Lineage",
    "MissingValue",
    "NodeError",
    "NodeType",
    "Outputs",
    "Params",
    "PerItem",
    "PerItemOrMissing",
    "Request",
    "RequestMissing",
    "StudioError",
    "UpstreamError",
    "column_of",
    "did_you_mean",
    "equal",
    "field",
    "field_value",
    "match_key",
    "node",
    "order_key",
]

T = TypeVar("T")
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


class HttpRequests(Protocol):
    """The one way out: every address is checked, every answer bounded."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        json: Any = ...,
        content: bytes | str | None = None,
        form: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        follow_redirects: bool = True,
    ) -> "httpx.Response":
        """The answer, body read. Raises AddressRefused, or UpstreamError when no answer came; a 404 is an answer."""


class Context(Protocol):
    """What a running node may do to the outside world."""

    @property
    def http(self) -> HttpRequests:
        """The HTTP client."""

    @property
    def cancelled(self) -> bool:
        """Whether the execution was stopped: work in a loop looks here now and then."""

    @property
    def idempotency_key(self) -> str:
        """The same for each attempt at this item of this node run, and for no other: for services that take one."""

    @property
    def now(self) -> str:
        """The start of the execution, ISO 8601 with the workflow's time zone."""

    async def credential(self, name: str) -> Mapping[str, str]:
        """The secret fields of a credential. Raises CredentialError."""

    async def run_code(
        self,
        source: str,
        items: Items,
        *,
        shape: Literal["items", "item"] = "items",
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> Items:
        """What the author's Python makes of the items, inside the sandbox. Raises CodeError, CodeLimitExceeded."""

    def open_file(self, path: str) -> BinaryIO:
        """A file below the allowed folders, opened to read. Raises NodeError, naming the setting."""

    def log(self, message: str) -> None:
        """A line for the node's log."""

    def reject(self, item_index: int, error: NodeError) -> None:
        """Give up one item. Raises `error` unless the node's author lets failing items go on or aside."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a trigger is started with: the items of the call, or None when it is started by hand without any."""

    items: Sequence[Mapping[str, Any]] | None = None


class PerItem(Generic[T]):
    """A field that may differ from item to item: `params.value[i]` is its value for item i.

    For nodes that take all items at once. A plain value is the same for every item.

    Attributes:
        refused: index -> why the value for that item is none that the field takes.
    """

    __slots__ = ("_values", "accepted", "constant", "keeps_missing", "refused", "takes_any")
    takes_missing = False

    def __init__(self, values: Any, *, constant: bool) -> None:
        self._values = values
        self.constant = constant
        self.accepted = False
        self.keeps_missing = False
        self.takes_any = False
        self.refused: dict[int, ValidationError] = {}

    def __getitem__(self, index: int) -> T:
        value: T = self._values if self.constant else self._values[index]
        return value

    def values(self, length: int) -> Sequence[T]:
        """One value for each of `length` items."""
        return [self._values] * length if self.constant else self._values

    def keep(self, indexes: Sequence[int]) -> None:
        """Forget the values of all other items."""
        if not self.constant:
            self._values = [self._values[i] for i in indexes]
            self.refused = {}

    def once(self, what: str) -> T:
        """The value where it is the same for all items; NodeError otherwise."""
        if self.constant:
            value: T = self._values
            return value
        raise NodeError(
            f"{what} is used once for all items, so it cannot depend on `item`",
            hint="Use items[0], node(...).first or vars.",
            retryable=False,
        )

    # Not iterable: a field that is the same for all items has no length of its own.
    __iter__ = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (inner,) = typing.get_args(source) or (Any,)

        def accept(given: Any, check: core_schema.ValidatorFunctionWrapHandler) -> "PerItem[Any]":
            value = given
            if not isinstance(value, PerItem):
                columns = list(_columns_in(value))
                if not columns:
                    return cls(check(value), constant=True)
                # An object or list with such fields inside is one for each item.
                for column in columns:
                    column.accepted = True
                value = PerItem([_of_item(value, i) for i in range(len(columns[0]._values))], constant=False)
            bound: PerItem[Any] = value
            bound.accepted = True
            bound.keeps_missing = cls.takes_missing
            bound.takes_any = inner is Any
            if bound.constant:
                bound._values = check(bound._values)
            elif inner is not Any:
                bound._values = list(bound._values)
                for index, one in enumerate(bound._values):
                    try:
                        bound._values[index] = one if isinstance(one, NodeError) else check(one)
                    except ValidationError as exc:
                        bound.refused[index] = exc
            if bound.refused and bound is not given:
                raise next(iter(bound.refused.values()))
            return bound

        return core_schema.no_info_wrap_validator_function(
            accept,
            handler.generate_schema(inner),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda column: column._values),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "per_item": True}


class PerItemOrMissing(PerItem[T]):
    """As PerItem; where an item lacks what the expression names, its value is the MissingValue error."""

    __slots__ = ()
    takes_missing = True


def _columns_in(value: Any) -> Iterator[PerItem[Any]]:
    """The fields per item inside an object or list."""
    if isinstance(value, PerItem):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _columns_in(inner)


def _of_item(value: Any, index: int) -> Any:
    """The value with those of one item in place of its fields per item; the first error among them instead."""
    failed = next((c[index] for c in _columns_in(value) if isinstance(c[index], NodeError)), None)
    return failed or _filled(value, index)


def _filled(value: Any, index: int) -> Any:
    if isinstance(value, PerItem):
        return value[index]
    if isinstance(value, dict):
        return {name: _filled(inner, index) for name, inner in value.items()}
    return [_filled(inner, index) for inner in value] if isinstance(value, list) else value


class Params(BaseModel):
    """Base of a node's params, and of objects within them. The list of fields is the form."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        coerce_numbers_to_str=True,  # an expression in a text field may give a number
        field_title_generator=lambda name, _: name.replace("_", " ").capitalize(),
    )


def field(
    default: Any = ...,
    *,
    help: str,
    label: str | None = None,
    widget: str | None = None,
    expressions: bool = True,
    **rules: Any,
) -> Any:
    """A field of the form.

    Args:
        help: shown under the field, a sentence for people.
        label: shown over it; None makes one of the field's name.
        widget: how it is edited, where its type does not say: code, text, file, credential, json.
        expressions: False where `{{` means nothing, as in code.
        rules: pydantic's, such as ge, le, min_length, pattern.
    """
    extra: dict[str, Any] = {"widget": widget} if widget else {}
    if not expressions:
        extra["expressions"] = False
    # Validated too, because only that makes a PerItem of a plain default.
    rules = {"validate_default": True, **rules}
    return Field(default, title=label, description=help, json_schema_extra=extra or None, **rules)


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
