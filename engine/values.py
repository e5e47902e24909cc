"""JSON values as nodes see them: fields inside objects, which values are equal, which come first."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from engine.errors import NodeError, did_you_mean
from engine.items import Items

# Where a hint lists fields inside objects: how many items are looked at, and how many objects deep.
LOOKED_AT = 20
DEPTH = 3


def field_value(fields: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The field called `name`, or the one that a path such as `body.total` leads to through objects.

    A field whose own name has dots goes before a path. `default` where there is neither.
    """
    if name in fields or "." not in name:
        return fields.get(name, default)
    found: Any = fields
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return default
        found = found[part]
    return found


def column_of(items: Items, name: str, *, what: str = "item") -> list[Any]:
    """A field of every item, by name or path; null where an item lacks it.

    Args:
        what: what an item is called in the error.

    Raises:
        NodeError: no item has the field; the hint names the nearest one.
    """
    if name in items.fields or not items:
        return items.column(name)
    values = [field_value(row, name, NO_VALUE) for row in items.rows] if "." in name else []
    if all(value is NO_VALUE for value in values):
        raise NodeError(
            f"no {what} has the field {name!r}", hint=did_you_mean(name, known_fields(items)), retryable=False
        )
    return [None if value is NO_VALUE else value for value in values]


NO_VALUE: Any = object()


def known_fields(items: Items) -> list[str]:
    """Names of the fields, then paths to those inside objects, of the first items."""
    inner = [path for row in items[:LOOKED_AT].rows for path in _paths(row, "", DEPTH)]
    return list(dict.fromkeys([*items.fields, *inner]))


def _paths(fields: Mapping[str, Any], before: str, depth: int) -> Iterator[str]:
    for name, value in fields.items():
        if before:
            yield before + name
        if isinstance(value, Mapping) and depth > 1:
            yield from _paths(value, f"{before}{name}.", depth - 1)


def match_key(value: Any) -> Hashable:
    """A stand-in that can be hashed and is equal where the values are: 1 and 1.0 are, 1 and true are not.

    Lists are equal element by element, objects whatever the order of their fields.
    """
    kind = type(value)
    if kind is str or kind is int or kind is float or value is None:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return bool, value
    if isinstance(value, Mapping):
        return dict, frozenset((name, match_key(inner)) for name, inner in value.items())
    return list, tuple(map(match_key, value))


def equal(a: Any, b: Any) -> bool:
    """Whether two values are the same, as `match_key` has it."""
    kind = type(a)
    if kind is type(b) and kind is not list and kind is not dict:
        return bool(a == b)
    return match_key(a) == match_key(b)


def order_key(value: Any) -> tuple[int, Any]:
    """What to sort values of any types by: numbers, then text, then false and true, then the rest as text.

    Null has no place among them: it is not to be given.
    """
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, (int, float)):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, repr(value))
