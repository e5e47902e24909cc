"""Operators over JSON values: arithmetic, joining, comparing, logic.

Numbers are whole numbers of up to 4,096 bits, and floats; a boolean is no number. Nothing becomes infinite, and no text
or list is made that was not paid for.
"""

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

from engine.errors import ExpressionError
from engine.expressions.scope import FREE_TEXT, Scope, as_text
from engine.expressions.terms import Run, Term
from engine.expressions.values import kind_of, size_of

INTEGER_BITS = 4_096
_LARGEST = sys.float_info.max
_COUNT_LIMIT = 100_000_000

Operation = Callable[[Any, Any], Any]


def power(base: Any, exponent: Any) -> Any:
    """`base ** exponent`, refused before it is computed where the result would be too large."""
    whole = type(base) is int and type(exponent) is int and exponent > 0
    if whole and base not in (-1, 0, 1) and base.bit_length() * exponent > 2 * INTEGER_BITS:
        raise OverflowError
    result = base**exponent
    if type(result) is complex:
        raise ExpressionError("a negative number has no fractional power")
    return result


ARITHMETIC: dict[str, Operation] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": power,
}
ORDER: dict[str, Operation] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def bounded_number(value: Any) -> Any:
    """The number, if it is one that JSON can hold and not larger than allowed.

    Raises:
        ExpressionError: too large, or no number.
    """
    if type(value) is int and value.bit_length() > INTEGER_BITS:
        raise ExpressionError(f"a whole number of more than {INTEGER_BITS:,} bits is too large")
    if type(value) is float and not -_LARGEST <= value <= _LARGEST:
        raise ExpressionError("the result is no number: it is too large, or made from one that is none")
    return value


def arithmetic(sign: str, left: Term, right: Term) -> Run:
    """`left sign right`; `+` also joins two texts or two lists."""
    compute = ARITHMETIC[sign]
    first, second = left.run, right.run

    def other(a: Any, b: Any, scope: Scope) -> Any:
        if sign == "+" and type(a) is type(b) and type(a) in (str, list):
            size = len(a) + len(b)
            if type(a) is list:
                scope.elements(size)
            elif size > FREE_TEXT:
                scope.text(size)
            return a + b
        if _is_number(a) and _is_number(b):
            return bounded_number(compute(a, b))
        raise _unfit(sign, left, a, right, b)

    if type(right.value) in (int, float):
        fixed = right.value

        def with_constant(scope: Scope) -> Any:
            a = first(scope)
            if type(a) is float or type(a) is int:
                result = compute(a, fixed)
                if -_LARGEST <= result <= _LARGEST:
                    return result
            return other(a, fixed, scope)

        return with_constant

    def run(scope: Scope) -> Any:
        a = first(scope)
        b = second(scope)
        if (type(a) is float or type(a) is int) and (type(b) is float or type(b) is int):
            result = compute(a, b)
            if -_LARGEST <= result <= _LARGEST:
                return result
        return other(a, b, scope)

    return run


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _unfit(sign: str, left: Term, a: Any, right: Term, b: Any) -> ExpressionError:
    source = f": {left.label} {sign} {right.label}" if left.label and right.label else ""
    hint = None
    if str in (type(a), type(b)):
        hint = "`~` joins values as text; `| float` and `| int` read a number from a text."
        if sign == "%":
            hint = "Texts are not formatted with %: write `| number(2)`, and join with `~`."
    elif bool in (type(a), type(b)):
        hint = "A boolean is no number; `| int` makes it 1 or 0."
    elif a is None or b is None:
        hint = "`| default(0)` gives a number where there is none."
    return ExpressionError(f"cannot use {sign} with {kind_of(a)} and {kind_of(b)}{source}", hint=hint)


def negated(term: Term, sign: str) -> Run:
    """`-term` or `+term`, of a number."""
    inner = term.run

    def run(scope: Scope) -> Any:
        value = inner(scope)
        if not _is_number(value):
            raise ExpressionError(f"cannot use {sign} with {kind_of(value)}")
        return -value if sign == "-" else value

    return run


def joined(terms: Sequence[Term]) -> Run:
    """`a ~ b ~ c`: the values as one text."""
    runs = [term.run for term in terms]

    def run(scope: Scope) -> str:
        texts = [as_text(part(scope), scope) for part in runs]
        length = sum(map(len, texts))
        if length > FREE_TEXT:
            scope.text(length)
        return "".join(texts)

    return run


def equal(a: Any, b: Any, scope: Scope) -> bool:
    """Whether two values are the same; comparing lists and objects is paid for by their size."""
    if type(a) is type(b):
        if type(a) is str:
            scope.read(len(a))
        elif type(a) in (list, dict):
            scope.walk(size_of(a, _COUNT_LIMIT) // 8)
    return bool(a == b)


def in_order(sign: str, a: Any, b: Any, scope: Scope) -> bool:
    """`a < b` and the like: two numbers, or two texts.

    Raises:
        ExpressionError: of other kinds.
    """
    if type(a) is str and type(b) is str:
        scope.read(len(a))
        return bool(ORDER[sign](a, b))
    if _is_number(a) and _is_number(b):
        return bool(ORDER[sign](a, b))
    hint = "`| float` reads a number from a text." if str in (type(a), type(b)) else None
    if a is None or b is None:
        hint = "`| default(...)` gives a value where there is none."
    raise ExpressionError(f"cannot compare {kind_of(a)} with {kind_of(b)} by {sign}", hint=hint)


def contains(holder: Any, value: Any, scope: Scope) -> bool:
    """`value in holder`: part of a text, element of a list, or field of an object."""
    kind = type(holder)
    if kind is dict:
        return type(value) is str and value in holder
    if kind is str and type(value) is str:
        scope.read(len(holder))
        return value in holder
    if kind is list:
        pay_for_search(holder, value, scope)
        return value in holder
    raise ExpressionError(f"cannot look for {kind_of(value)} in {kind_of(holder)}")


def pay_for_search(values: list[Any], value: Any, scope: Scope) -> None:
    """Pays for comparing the value with every element."""
    weight = 1
    if type(value) in (list, dict):
        weight = size_of(value, _COUNT_LIMIT) // 8
    elif type(value) is str:
        weight += len(value) >> 8
    scope.walk(len(values) * weight)


# Names are those of Jinja2's syntax tree.
_COMPARED: dict[str, Callable[[Any, Any, Scope], bool]] = {
    "eq": equal,
    "ne": lambda a, b, scope: not equal(a, b, scope),
    "in": lambda a, b, scope: contains(b, a, scope),
    "notin": lambda a, b, scope: not contains(b, a, scope),
    "lt": lambda a, b, scope: in_order("<", a, b, scope),
    "lteq": lambda a, b, scope: in_order("<=", a, b, scope),
    "gt": lambda a, b, scope: in_order(">", a, b, scope),
    "gteq": lambda a, b, scope: in_order(">=", a, b, scope),
}
_FAST: dict[str, Operation] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}


def comparison(first: Term, others: Sequence[tuple[str, Term]]) -> Run:
    """`a < b <= c`: whether every pair holds; stops at the first that does not."""
    if len(others) == 1 and others[0][0] in _FAST:
        return _one_comparison(first, *others[0])
    pairs = [(_COMPARED[name], term.run) for name, term in others]
    start = first.run

    def run(scope: Scope) -> bool:
        a = start(scope)
        for holds, other in pairs:
            b = other(scope)
            if not holds(a, b, scope):
                return False
            a = b
        return True

    return run


def _one_comparison(left: Term, name: str, right: Term) -> Run:
    fast, careful = _FAST[name], _COMPARED[name]
    first, second = left.run, right.run

    def run(scope: Scope) -> bool:
        a = first(scope)
        b = second(scope)
        kind = type(a)
        if kind is type(b) and (kind is float or kind is int or (kind is str and len(a) <= FREE_TEXT)):
            return fast(a, b)  # type: ignore[no-any-return]
        return careful(a, b, scope)

    return run


def either(left: Term, right: Term) -> Run:
    """`left or right`: the first that counts as true, else the last, as in Python."""
    first, second = left.run, right.run
    return lambda scope: first(scope) or second(scope)


def both(left: Term, right: Term) -> Run:
    """`left and right`: the first that counts as false, else the last, as in Python."""
    first, second = left.run, right.run
    return lambda scope: first(scope) and second(scope)


def choice(test: Term, yes: Term, no: Term) -> Run:
    """`yes if test else no`."""
    condition, then, otherwise = test.run, yes.run, no.run
    return lambda scope: then(scope) if condition(scope) else otherwise(scope)
