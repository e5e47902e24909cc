"""Tests: what may stand after `is`, and in `select` and `selectattr`."""

from typing import Any

from engine.expressions.library import offered
from engine.expressions.operators import contains, equal, in_order
from engine.expressions.scope import Scope

offer = offered("logic")


@offer("test")
def defined(value: Any) -> bool:
    """There is such a field; it may be null.

    >>> item.phone is defined
    false
    """
    return True


@offer("test")
def undefined(value: Any) -> bool:
    """There is no such field.

    >>> item.phone is undefined
    true
    """
    return False


@offer("test", name="none", aliases=("null",))
def is_null(value: Any) -> bool:
    """The value is null.

    >>> item.address.zip is none
    true
    """
    return value is None


@offer("test")
def empty(value: Any) -> bool:
    """The value is null, an empty text, an empty list or an empty object.

    >>> item.tags is not empty
    true
    """
    return value is None or (type(value) in (str, list, dict) and not value)


@offer("test", name="string", aliases=("text",))
def is_text(value: Any) -> bool:
    """The value is a text.

    >>> item.name is string
    true
    """
    return type(value) is str


@offer("test", name="number")
def is_number(value: Any) -> bool:
    """The value is a number; a boolean is none.

    >>> item.price is number
    true
    """
    return type(value) in (int, float)


@offer("test", name="integer")
def is_integer(value: Any) -> bool:
    """The value is a whole number.

    >>> item.qty is integer
    true
    """
    return type(value) is int


@offer("test", name="float")
def is_float(value: Any) -> bool:
    """The value is a number with decimals.

    >>> item.price is float
    true
    """
    return type(value) is float


@offer("test", name="boolean")
def is_boolean(value: Any) -> bool:
    """The value is true or false.

    >>> false is boolean
    true
    """
    return type(value) is bool


@offer("test", name="true")
def is_true(value: Any) -> bool:
    """The value is true itself.

    >>> 1 is true
    false
    """
    return value is True


@offer("test", name="false")
def is_false(value: Any) -> bool:
    """The value is false itself.

    >>> false is false
    true
    """
    return value is False


@offer("test", name="list", aliases=("sequence",))
def is_list(value: Any) -> bool:
    """The value is a list.

    >>> item.tags is list
    true
    """
    return type(value) is list


@offer("test", name="mapping", aliases=("object",))
def is_object(value: Any) -> bool:
    """The value is an object.

    >>> item.address is mapping
    true
    """
    return type(value) is dict


@offer("test")
def iterable(value: Any) -> bool:
    """The value is a list, an object or a text.

    >>> item.qty is iterable
    false
    """
    return type(value) in (list, dict, str)


@offer("test")
def odd(number: float) -> bool:
    """The number is odd.

    >>> item.qty is odd
    true
    """
    return number % 2 == 1


@offer("test")
def even(number: float) -> bool:
    """The number is even.

    >>> item.qty is even
    false
    """
    return number % 2 == 0


@offer("test")
def divisibleby(number: float, divisor: float) -> bool:
    """The number has no remainder when divided.

    >>> item.qty is divisibleby(3)
    true
    """
    return number % divisor == 0


@offer("test", name="lower")
def is_lower(text: str) -> bool:
    """The text has no capital letter, and at least one small one.

    >>> "ada" is lower
    true
    """
    return text.islower()


@offer("test", name="upper")
def is_upper(text: str) -> bool:
    """The text has no small letter, and at least one capital.

    >>> "ADA" is upper
    true
    """
    return text.isupper()


@offer("test", name="in")
def is_in(scope: Scope, value: Any, values: str | list[Any] | dict[str, Any]) -> bool:
    """The value is part of the text, an element of the list, or a field of the object.

    >>> item.qty is in [1, 2, 3]
    true
    """
    return contains(values, value, scope)


@offer("test", aliases=("equalto", "=="))
def eq(scope: Scope, value: Any, other: Any) -> bool:
    """The two values are the same.

    >>> items | selectattr("city", "eq", "London") | length
    2
    """
    return equal(value, other, scope)


@offer("test", aliases=("!=",))
def ne(scope: Scope, value: Any, other: Any) -> bool:
    """The two values are not the same.

    >>> [1, 2, 1] | select("ne", 1)
    [2]
    """
    return not equal(value, other, scope)


@offer("test", aliases=("lessthan", "<"))
def lt(scope: Scope, value: Any, other: Any) -> bool:
    """The value is smaller.

    >>> [1, 2, 3] | select("<", 2)
    [1]
    """
    return in_order("<", value, other, scope)


@offer("test", aliases=("<=",))
def le(scope: Scope, value: Any, other: Any) -> bool:
    """The value is smaller or the same.

    >>> [1, 2, 3] | select("<=", 2)
    [1, 2]
    """
    return in_order("<=", value, other, scope)


@offer("test", aliases=("greaterthan", ">"))
def gt(scope: Scope, value: Any, other: Any) -> bool:
    """The value is larger.

    >>> items | selectattr("price", ">", 10) | map(attribute="name")
    ["Ada Lovelace", "Alan Turing"]
    """
    return in_order(">", value, other, scope)


@offer("test", aliases=(">=",))
def ge(scope: Scope, value: Any, other: Any) -> bool:
    """The value is larger or the same.

    >>> [1, 2, 3] | select(">=", 2)
    [2, 3]
    """
    return in_order(">=", value, other, scope)
