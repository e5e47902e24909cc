"""Objects: their fields, some of them, several objects in one."""

from typing import Any

from engine.errors import ExpressionError
from engine.expressions.library import offered
from engine.expressions.scope import Scope
from engine.expressions.values import kind_of

offer = offered("object")


@offer("method")
def get(object: dict[str, Any], field: str, default: Any = None) -> Any:
    """The field, or `default` (null unless told) where the object has none.

    >>> item.get("phone")
    null
    >>> item.get("phone", "unknown")
    "unknown"
    """
    return object.get(field, default)


@offer("filter", "method")
def keys(object: dict[str, Any]) -> list[str]:
    """The names of the fields, in their order.

    >>> item.address | keys
    ["city", "zip"]
    """
    return list(object)


@offer("filter", "method")
def values(object: dict[str, Any]) -> list[Any]:
    """The values of the fields, in their order.

    >>> item.address | values
    ["London", null]
    """
    return list(object.values())


@offer("filter", "method")
def items(scope: Scope, object: dict[str, Any]) -> list[list[Any]]:
    """The fields as pairs of name and value.

    >>> item.address | items
    [["city", "London"], ["zip", null]]
    """
    scope.elements(3 * len(object))
    return [[name, value] for name, value in object.items()]


@offer("filter")
def dictsort(scope: Scope, object: dict[str, Any], reverse: bool = False) -> list[list[Any]]:
    """The fields as pairs of name and value, sorted by name.

    >>> {"b": 1, "a": 2} | dictsort
    [["a", 2], ["b", 1]]
    """
    scope.elements(3 * len(object))
    return [[name, object[name]] for name in sorted(object, key=str.lower, reverse=reverse)]


@offer("filter")
def pick(object: dict[str, Any], *fields: str | list[str]) -> dict[str, Any]:
    """Only these fields of the object, in this order; those it lacks are left out.

    >>> item | pick("name", "qty")
    {"name": "Ada Lovelace", "qty": 3}
    """
    return {name: object[name] for name in _names("pick", fields) if name in object}


@offer("filter")
def omit(object: dict[str, Any], *fields: str | list[str]) -> dict[str, Any]:
    """The object without these fields.

    >>> item.address | omit("zip")
    {"city": "London"}
    """
    left_out = set(_names("omit", fields))
    return {name: value for name, value in object.items() if name not in left_out}


def _names(function: str, fields: tuple[Any, ...]) -> list[str]:
    names: list[str] = []
    for field in fields:
        names += [field] if type(field) is str else field
    for name in names:
        if type(name) is not str:
            raise ExpressionError(f"{function} needs names of fields, not {kind_of(name)}")
    return names


@offer("filter")
def merge(scope: Scope, object: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """One object of all fields; of two with the same name the later one stays.

    >>> item.address | merge({"country": "UK", "zip": "W1"})
    {"city": "London", "zip": "W1", "country": "UK"}
    """
    scope.elements(len(object) + sum(map(len, others)))
    merged = dict(object)
    for other in others:
        merged |= other
    return merged
