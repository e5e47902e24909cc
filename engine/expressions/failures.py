"""Why an expression gave no value, told in one place."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from engine.errors import ExpressionError, MissingValue, StudioError, nearest
from engine.expressions.values import kind_of

# Searching for a near name is slow, and data may hold very many or very long keys.
NAMES_SEARCHED = 200
NAME_LENGTH = 60

# Names of the library, which fills them in: people write `.upper` for `.upper()`, `.length` for `| length`.
METHOD_NAMES: set[str] = set()
FILTER_NAMES: set[str] = set()


class Refused(Exception):
    """The expression cannot be read. `offset` counts characters from the start of the whole text."""

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class Missing(Exception):
    """There is no value: `default`, `coalesce` and `is defined` take this for an answer; all else fails with it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def describe(self) -> tuple[str, str | None]:
        """Message and hint."""
        return self.message, self.hint


class MissingField(Missing):
    """`holder` has nothing under `key`. The message is made only when someone asks: rows may lack a field in masses."""

    def __init__(self, label: str, holder: Any, key: Any) -> None:
        super().__init__("")
        self.label = label or "this value"
        self.holder = holder
        self.key = key

    def describe(self) -> tuple[str, str | None]:
        """Message and hint, with the nearest field of the same object."""
        holder, key = self.holder, self.key
        if type(key) is int and type(holder) in (list, str):
            return f"{self.label} has no position {key}: its length is {len(holder)}", _may_be_missing(self.label)
        if type(key) is not str:
            return _wrong_key(self.label, holder, key)
        name = f'"{key if len(key) <= NAME_LENGTH else key[:NAME_LENGTH] + "..."}"'
        if type(holder) is dict:
            if self.label == "vars":
                return (
                    f"there is no variable {name}{_nearby(key, holder)}",
                    "Variables come from outside the workflow: flowleaf run --set name=value.",
                )
            hint = _other_form(self.label, key) or _may_be_missing(self.label, key)
            return f"{self.label} has no field {name}{_nearby(key, holder)}", hint
        if holder is None:
            return f"{self.label} is null, so it has no field {name}", _may_be_missing(self.label)
        hint = f'For one field of every element write | map(attribute="{key[:NAME_LENGTH]}").'
        hint = _other_form(self.label, key) or (hint if type(holder) is list else "Only objects have fields.")
        return f"{self.label} is {kind_of(holder)}, so it has no field {name}", hint


def _wrong_key(label: str, holder: Any, key: Any) -> tuple[str, str | None]:
    if type(holder) is dict:
        return f"{label} is an object: its fields have names, not {kind_of(key)}", None
    if type(holder) in (list, str):
        return f"{label} is {kind_of(holder)}: its positions are whole numbers, not {kind_of(key)}", None
    return f"{label} is {kind_of(holder)}, so it has no parts", None


def _other_form(label: str, key: str) -> str | None:
    value = "value" if " " in label else label
    if key in METHOD_NAMES:
        return f"A method has brackets: {value}.{key}()."
    return f"A filter follows a bar: {value} | {key}." if key in FILTER_NAMES else None


def _may_be_missing(label: str, key: str | None = None) -> str:
    get = f'{label}.get("{key}") or ' if key and len(key) <= NAME_LENGTH and " " not in label else ""
    return f"Where it may be missing, write {get}... | default(...)."


def _nearby(key: str, known: Iterable[str]) -> str:
    names = tuple(name for name, _ in zip(known, range(NAMES_SEARCHED), strict=False) if _searchable(name))
    if not names:
        return ""
    near = _nearest(key, names) if len(key) <= NAME_LENGTH else None
    if near is not None:
        return f'; did you mean "{near}"?'
    return "; it has " + ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _searchable(name: Any) -> bool:
    return type(name) is str and len(name) <= NAME_LENGTH


@lru_cache(maxsize=512)
def _nearest(key: str, names: tuple[str, ...]) -> str | None:
    return nearest(key, names)


def failure(exc: Exception, index: int | None = None) -> ExpressionError:
    """The ExpressionError to show for anything that went wrong while an expression was computed.

    Args:
        index: the item to blame; an error that names one already keeps it.

    Raises:
        StudioError: `exc` itself, where it is ours but not about the expression: a cancelled execution goes on up.
    """
    if isinstance(exc, StudioError) and not isinstance(exc, ExpressionError):
        raise exc
    if isinstance(exc, ExpressionError):
        kind = MissingValue if isinstance(exc, MissingValue) else ExpressionError
        blamed = index if exc.item_index is None else exc.item_index
        return kind(exc.message, hint=exc.hint, item_index=blamed)
    if isinstance(exc, Missing):
        message, hint = exc.describe()
        return MissingValue(message, hint=hint, item_index=index)
    return ExpressionError(_reason(exc), item_index=index)


def _reason(exc: Exception) -> str:
    for kind, message in _REASONS:
        if isinstance(exc, kind):
            return message
    return "this data does not fit the expression"


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ZeroDivisionError, "division by zero"),
    (OverflowError, "a number is too large"),
    (RecursionError, "the data is nested too deeply"),
    (MemoryError, "the result is too large"),
    (UnicodeError, "a text holds bytes that are no characters"),
)
