"""Lists as a whole: sums, extremes, order."""

from collections.abc import Callable, Sequence
from typing import Any

from engine.errors import ExpressionError
from engine.expressions.failures import Missing
from engine.expressions.library import offered
from engine.expressions.operators import bounded_number
from engine.expressions.scope import Scope
from engine.expressions.terms import part_of
from engine.expressions.values import kind_of

offer = offered("list")

_ORDERED: dict[type, str] = {int: "number", float: "number", str: "text", bool: "boolean"}


def picker(attribute: str | None) -> Callable[[Any], Any]:
    """A function from an element to one field of it, such as "city" or "address.city"; to itself for None.

    It raises Missing where an element has no such field. A field whose name has dots goes before a path.
    """
    if attribute is None:
        return lambda element: element
    path = attribute.split(".")

    def pick(element: Any) -> Any:
        if type(element) is dict and attribute in element:
            return element[attribute]
        for name in path:
            key = int(name) if type(element) is list and name.isdecimal() and len(name) < 10 else name
            element = part_of(element, key, "an element of the list")
        return element

    return pick


def _picked(function: str, values: Sequence[Any], attribute: str | None) -> list[Any]:
    """The field of every element; all of one kind that has an order.

    Raises:
        ExpressionError: they are of several kinds, or lists or objects.
    """
    pick = picker(attribute)
    picked = [pick(value) for value in values]
    kinds = {_ORDERED.get(kind) for kind in set(map(type, picked))}
    if len(kinds) > 1 or None in kinds:
        names = sorted({kind_of(value) for value in picked})
        hint = "`| compact` leaves out null and empty text." if None in picked else None
        raise ExpressionError(
            f"{function} needs elements of one kind, numbers or texts, not {' and '.join(names)}", hint=hint
        )
    return picked


def _numbers(function: str, values: list[Any], attribute: str | None) -> list[Any]:
    numbers = _picked(function, values, attribute)
    if numbers and _ORDERED[type(numbers[0])] != "number":
        raise ExpressionError(
            f"{function} needs numbers, not {kind_of(numbers[0])}", hint='`| map("float")` reads texts.'
        )
    return numbers


@offer("filter", "function", name="sum")
def total(values: list[Any], attribute: str | None = None, start: float = 0) -> Any:
    """The sum of the numbers, or of one field of every element.

    >>> [1, 2, 3.5] | sum
    6.5
    >>> items | sum(attribute="qty")
    6
    """
    return bounded_number(sum(_numbers("sum", values, attribute), start))


@offer("filter", "function", aliases=("avg",))
def average(values: list[Any], attribute: str | None = None) -> Any:
    """The mean of the numbers, or of one field of every element. Of an empty list there is none.

    >>> items | average("qty")
    2.0
    """
    numbers = _numbers("average", values, attribute)
    return bounded_number(sum(numbers) / len(_not_empty("average", numbers)))


@offer("filter", name="min")
def smallest(scope: Scope, values: list[Any], attribute: str | None = None) -> Any:
    """The smallest element, or the first one whose field is smallest. Of an empty list there is none.

    >>> [3, 1, 2] | min
    1
    >>> (items | min(attribute="price")).name
    "Grace Hopper"
    """
    return _extreme("min", scope, values, attribute)


@offer("filter", name="max")
def largest(scope: Scope, values: list[Any], attribute: str | None = None) -> Any:
    """The largest element, or the first one whose field is largest. Of an empty list there is none.

    >>> ["2026-03-01", "2026-02-01"] | max
    "2026-03-01"
    """
    return _extreme("max", scope, values, attribute)


@offer("function", name="min")
def min_of(scope: Scope, *values: Any) -> Any:
    """The smallest of the values, or of one list.

    >>> min(item.qty, 2)
    2
    """
    return _extreme("min", scope, values[0] if len(values) == 1 and type(values[0]) is list else values, None)


@offer("function", name="max")
def max_of(scope: Scope, *values: Any) -> Any:
    """The largest of the values, or of one list.

    >>> max(item.qty, 5)
    5
    """
    return _extreme("max", scope, values[0] if len(values) == 1 and type(values[0]) is list else values, None)


def _extreme(function: str, scope: Scope, values: Sequence[Any], attribute: str | None) -> Any:
    keys = _picked(function, _not_empty(function, values), attribute)
    if type(keys[0]) is str:
        _pay_for_texts(scope, keys)
    best = min(keys) if function == "min" else max(keys)
    return values[keys.index(best)]


def _pay_for_texts(scope: Scope, texts: list[str]) -> None:
    scope.walk(sum(map(len, texts)) >> 3)


def _not_empty(function: str, values: Sequence[Any]) -> Sequence[Any]:
    if not values:
        raise Missing(f"the list is empty, so it has no {function}", "`| default(...)` gives a value for it.")
    return values


@offer("filter")
def sort(
    scope: Scope,
    values: list[Any],
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: str | None = None,
) -> list[Any]:
    """The elements in order, by themselves or by one field; equal ones keep their places, null comes last.

    All must be numbers, or all texts; small and capital letters are equal unless told.

    >>> [3, none, 1] | sort
    [1, 3, null]
    >>> items | sort(attribute="price", reverse=true) | map(attribute="price")
    [40, 12.5, 3]
    """
    pick = picker(attribute)
    pairs = [(pick(value), value) for value in values]
    filled = [pair for pair in pairs if pair[0] is not None]
    keys = _picked("sort", [key for key, _ in filled], None)
    if keys and type(keys[0]) is str:
        # Comparing two texts may read both to their end.
        _pay_for_texts(scope, keys)
        keys = keys if case_sensitive else [key.lower() for key in keys]
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=reverse)
    return [filled[place][1] for place in order] + [value for key, value in pairs if key is None]
