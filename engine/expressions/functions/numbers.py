"""Numbers: reading them from texts, rounding, writing them for people, chance."""

import math
import random as chance
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Any

from engine.errors import ExpressionError
from engine.expressions.library import offered

offer = offered("number", cost=5)
DIGITS_LIMIT = 30
LENGTH_LIMIT = 1_000  # characters of a text that may be a number
RANGE_LIMIT = 100_000

# The longest whole number has 1,234 digits.
_CONTEXT = Context(prec=2_000)
_ROUNDINGS = {"common": ROUND_HALF_UP, "ceil": ROUND_CEILING, "floor": ROUND_FLOOR}
_SYMBOLS = "$€£¥₹₩₽₺₴"


@offer("filter", "function", name="abs")
def absolute(number: float) -> float:
    """The number without its sign.

    >>> -4.5 | abs
    4.5
    """
    return abs(number)


@offer("filter", "function", name="round")
def rounded(number: float, precision: int = 0, method: str = "common") -> float:
    """The number rounded to so many decimals; a whole number for 0. The method is "common", "ceil" or "floor".

    "common" rounds halves away from zero, by the digits as they are written: 2.675 becomes 2.68.

    >>> 2.5 | round
    3
    >>> (item.price * 1.19) | round(2)
    14.88
    >>> 2.001 | round(2, "ceil")
    2.01
    """
    result = _rounded(number, precision, method)
    return int(result) if precision <= 0 else float(result)


def _rounded(number: float, precision: int, method: str = "common") -> Decimal:
    if method not in _ROUNDINGS:
        raise ExpressionError('round takes the method "common", "ceil" or "floor"')
    if abs(precision) > DIGITS_LIMIT:
        raise ExpressionError(f"round takes at most {DIGITS_LIMIT} decimals")
    exact = Decimal(repr(number))
    if not exact.is_finite():
        raise ExpressionError("this number is not finite")
    result = exact.quantize(Decimal((0, (1,), -precision)), _ROUNDINGS[method], _CONTEXT)
    # No "-0.00".
    return result if result else abs(result)


@offer("filter", "function")
def floor(number: float) -> int:
    """The largest whole number that is not above.

    >>> 2.7 | floor
    2
    """
    return math.floor(number)


@offer("filter", "function")
def ceil(number: float) -> int:
    """The smallest whole number that is not below.

    >>> 2.1 | ceil
    3
    """
    return math.ceil(number)


@offer("filter", "function")
def sqrt(number: float) -> float:
    """The square root.

    >>> 9 | sqrt
    3.0
    """
    if number < 0:
        raise ExpressionError("a negative number has no square root")
    return math.sqrt(number)


@offer("filter", "function", name="int")
def integer(value: str | float | bool | None, default: Any = None, base: int = 10) -> Any:
    """The value as a whole number: text is read, decimals are cut off, true is 1. `default` is for what is no number.

    >>> "42" | int
    42
    >>> "12.9" | int
    12
    >>> "n/a" | int(0)
    0
    >>> "ff" | int(base=16)
    255
    """
    if not 2 <= base <= 36:
        raise ExpressionError("int takes a base from 2 to 36")
    try:
        if isinstance(value, str) and len(value) <= LENGTH_LIMIT and (base != 10 or _whole(value)):
            return int(value, base)
        return int(_read(value))
    except (ValueError, OverflowError):
        return _or_default("int", value, default)


@offer("filter", "function", name="float")
def decimal(value: str | float | bool | None, default: Any = None) -> Any:
    """The value as a number with decimals: text is read, true is 1. `default` is for what is no number.

    >>> "12.50" | float
    12.5
    >>> "n/a" | float(0.0)
    0.0
    """
    try:
        return float(_read(value))
    except (ValueError, OverflowError):
        return _or_default("float", value, default)


def _whole(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


def _read(value: str | float | bool | None) -> float:
    if value is None or (isinstance(value, str) and len(value) > LENGTH_LIMIT):
        raise ValueError
    number = value if type(value) is int else float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _or_default(name: str, value: Any, default: Any) -> Any:
    if default is None:
        what = "null is" if value is None else "this text is" if type(value) is str else "this is"
        raise ExpressionError(f"{name}: {what} no number", hint=f"`| {name}(0)` gives 0 for it.")
    return default


@offer("filter")
def number(value: float, decimals: int = 2, thousands: str = ",", point: str = ".") -> str:
    """The number for people to read, with so many decimals.

    >>> 1234567.891 | number
    "1,234,567.89"
    >>> 1234.5 | number(2, ".", ",")
    "1.234,50"
    >>> 1234.5 | number(0, "")
    "1235"
    """
    if not 0 <= decimals <= DIGITS_LIMIT or len(thousands) > 3 or len(point) > 3:
        raise ExpressionError(f"number takes 0 to {DIGITS_LIMIT} decimals, and separators of up to 3 characters")
    text = f"{_rounded(value, decimals):,f}"
    return text.replace(",", "\0").replace(".", point).replace("\0", thousands)


@offer("filter")
def money(value: float, currency: str = "", decimals: int = 2, thousands: str = ",", point: str = ".") -> str:
    """The amount for people to read; a sign such as $ stands before it, a code such as EUR after it.

    >>> 1234.5 | money("$")
    "$1,234.50"
    >>> 1234.5 | money("EUR")
    "1,234.50 EUR"
    >>> -8 | money("€", 2, ".", ",")
    "-€8,00"
    """
    if len(currency) > 20:
        raise ExpressionError("money takes a currency of up to 20 characters")
    text = number(value, decimals, thousands, point)
    if currency and currency in _SYMBOLS:
        return f"-{currency}{text[1:]}" if text.startswith("-") else currency + text
    return f"{text} {currency}".rstrip()


@offer("function", name="range")
def numbers(start: int, stop: int | None = None, step: int = 1) -> list[int]:
    """Whole numbers from `start` up to `stop`, which is not among them; with one argument, from 0. At most 100,000.

    >>> range(3)
    [0, 1, 2]
    >>> range(10, 0, -5)
    [10, 5]
    """
    if step == 0:
        raise ExpressionError("range needs a step other than 0")
    first, last = (0, start) if stop is None else (start, stop)
    if (last - first) // step > RANGE_LIMIT:
        raise ExpressionError(f"range gives at most {RANGE_LIMIT:,} numbers")
    return list(range(first, last, step))


@offer("function", uses=("random",))
def random() -> float:
    """A number by chance, from 0 up to 1, which is not among them. Not for secrets.

    >>> random() < 1
    true
    """
    return chance.random()


@offer("function", uses=("random",))
def random_int(low: int, high: int) -> int:
    """A whole number by chance from `low` to `high`, both included. Not for secrets.

    >>> random_int(5, 5)
    5
    """
    if low > high:
        raise ExpressionError("random_int needs the lower number first")
    return chance.randint(low, high)
