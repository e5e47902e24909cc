"""The fields of a node's params: `field` declares one, `PerItem` lets it differ from item to item."""

import typing
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from engine.errors import NodeError

T = TypeVar("T")


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
    expressions: bool | Literal["later"] = True,
    **rules: Any,
) -> Any:
    """A field of the form.

    Args:
        help: shown under the field, a sentence for people.
        label: shown over it; None makes one of the field's name.
        widget: how it is edited, where its type does not say: code, text, file, credential, json.
        expressions: False where `{{` means nothing, as in code; "later" where the node is given the text of the
            expression, which somebody else works out for an item: it is checked, and may read `item` only.
        rules: pydantic's, such as ge, le, min_length, pattern.
    """
    extra: dict[str, Any] = {"widget": widget} if widget else {}
    if expressions is not True:
        extra["expressions"] = expressions
    # Validated too, because only that makes a PerItem of a plain default.
    rules = {"validate_default": True, **rules}
    return Field(default, title=label, description=help, json_schema_extra=extra or None, **rules)
