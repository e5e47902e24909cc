"""Lists: length, ends, parts, joining, flattening."""

from collections.abc import Callable
from typing import Any

from engine.errors import ExpressionError
from engine.expressions.failures import Missing
from engine.expressions.functions.order import picker
from engine.expressions.library import offered
from engine.expressions.operators import pay_for_search
from engine.expressions.scope import TEXT_LIMIT, Scope, as_text
from engine.expressions.values import as_json, kind_of, size_of

offer = offered("list")


@offer("filter", aliases=("count",))
@offer("function", name="len")
def length(value: str | list[Any] | dict[str, Any]) -> int:
    """How many elements, characters or fields.

    >>> item.tags | length
    2
    >>> len(item.name)
    12
    """
    return len(value)


@offer("filter")
def first(value: list[Any] | str) -> Any:
    """The first element or character. Of an empty list there is none: `default` gives a value for it.

    >>> item.tags | first
    "new"
    >>> [] | first | default("none")
    "none"
    """
    return _end(value, 0)


@offer("filter")
def last(value: list[Any] | str) -> Any:
    """The last element or character. Of an empty list there is none: `default` gives a value for it.

    >>> item.tags | last
    "vip"
    """
    return _end(value, -1)


def _end(value: list[Any] | str, position: int) -> Any:
    if not value:
        name = "last" if position else "first"
        what = f"{kind_of(value)} is empty"
        raise Missing(f"{what}, so it has no {name} element", "`| default(...)` gives a value for it.")
    return value[position]


@offer("filter")
def join(scope: Scope, values: list[Any], separator: str = "", attribute: str | None = None) -> str:
    """The elements (or one field of each) as one text, the separator between them.

    >>> item.tags | join(" + ")
    "new + vip"
    >>> items | join(", ", attribute="name")
    "Ada Lovelace, Alan Turing, Grace Hopper"
    """
    texts = [as_text(value, scope) for value in _picked(values, attribute)]
    scope.text(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _picked(values: list[Any], attribute: str | None) -> list[Any]:
    if attribute is None:
        return values
    pick = picker(attribute)
    return [pick(value) for value in values]


@offer("filter", name="list")
def as_list(scope: Scope, value: str | list[Any] | dict[str, Any]) -> list[Any]:
    """A list as it is; the characters of a text; the names of an object's fields.

    >>> "abc" | list
    ["a", "b", "c"]
    """
    if isinstance(value, list):
        return value
    scope.elements(len(value))
    return list(value)


@offer("filter")
def reverse(value: str | list[Any]) -> Any:
    """The elements or characters in the opposite order.

    >>> [1, 2, 3] | reverse
    [3, 2, 1]
    """
    return value[::-1]


@offer("filter")
def compact(values: list[Any]) -> list[Any]:
    """The elements without null and empty text.

    >>> ["a", "", none, 0] | compact
    ["a", 0]
    """
    return [value for value in values if value is not None and value != ""]


@offer("filter")
def flatten(scope: Scope, values: list[Any], levels: int = 1) -> list[Any]:
    """The elements of inner lists in place of the lists, so many levels deep.

    >>> [1, [2, [3]]] | flatten
    [1, 2, [3]]
    >>> [1, [2, [3]]] | flatten(2)
    [1, 2, 3]
    """
    if not 0 <= levels <= 100:
        raise ExpressionError("flatten goes 0 to 100 levels deep")
    for _ in range(levels):
        inner = [value for value in values if type(value) is list]
        if not inner:
            break
        scope.elements(len(values) - len(inner) + sum(map(len, inner)))
        values = [part for value in values for part in (value if type(value) is list else (value,))]
    return values


@offer("filter")
def batch(scope: Scope, values: list[Any], size: int, fill: Any = None) -> list[list[Any]]:
    """The elements in lists of this size; `fill`, if given, fills up the last one.

    >>> [1, 2, 3] | batch(2)
    [[1, 2], [3]]
    >>> [1, 2, 3] | batch(2, 0)
    [[1, 2], [3, 0]]
    """
    if size < 1:
        raise ExpressionError("batch needs a size of at least 1")
    scope.elements(2 * len(values))
    batches = [values[start : start + size] for start in range(0, len(values), size)]
    if fill is not None and batches:
        scope.elements(size)
        batches[-1] += [fill] * (size - len(batches[-1]))
    return batches


@offer("filter")
def groupby(scope: Scope, values: list[Any], attribute: str) -> list[dict[str, Any]]:
    """Objects of `grouper` (the field's value) and `list` (the elements that have it), in order of appearance.

    >>> items | groupby("city") | map(attribute="grouper")
    ["London", "New York"]
    >>> (items | groupby("city") | first).list | length
    2
    """
    pick, key_of = picker(attribute), hash_key(scope)
    scope.elements(3 * len(values))
    groups: dict[Any, dict[str, Any]] = {}
    for value in values:
        found = pick(value)
        groups.setdefault(key_of(found), {"grouper": found, "list": []})["list"].append(value)
    return list(groups.values())


@offer("filter")
def unique(scope: Scope, values: list[Any], case_sensitive: bool = False, attribute: str | None = None) -> list[Any]:
    """The first of equal elements (or of those with an equal field); small and capital letters are equal unless told.

    >>> ["a", "b", "A"] | unique
    ["a", "b"]
    >>> items | unique(attribute="city") | length
    2
    """
    key_of = hash_key(scope)
    found: dict[Any, Any] = {}
    for value, key in zip(values, _picked(values, attribute), strict=True):
        if type(key) is str:
            scope.read(len(key))
        folded = key.lower() if type(key) is str and not case_sensitive else key
        found.setdefault(key_of(folded), value)
    return list(found.values())


def hash_key(scope: Scope) -> Callable[[Any], Any]:
    """A function from any value to one that can be looked up; equal values have equal keys, true and 1 do not."""

    def key_of(value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is int or kind is float:
            return value
        if kind is list or kind is dict:
            return kind, sorted_json(value, scope)
        return kind, value

    return key_of


def sorted_json(value: Any, scope: Scope) -> str:
    """The value as JSON, the fields of objects sorted."""
    scope.text(size_of(value, TEXT_LIMIT))
    return as_json(value, sort_keys=True)


@offer("method")
def index(scope: Scope, values: list[Any], value: Any) -> int:
    """The position of the first element that equals the value. There must be one.

    >>> item.tags.index("vip")
    1
    """
    pay_for_search(values, value, scope)
    try:
        return values.index(value)
    except ValueError:
        raise Missing("no element of the list equals the value", "`| default(-1)` gives a number for it.") from None


@offer("method", name="count")
def count_equal(scope: Scope, values: list[Any], value: Any) -> int:
    """How many elements equal the value.

    >>> [1, 2, 1].count(1)
    2
    """
    pay_for_search(values, value, scope)
    return values.count(value)
