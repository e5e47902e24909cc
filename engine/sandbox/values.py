"""Values of the author's code as plain JSON data.

Most results are plain already and are written by orjson at once, which asks `simpler` about what it does not know. What
then still does not fit is walked through by `plain`, slowly, which names the field at fault.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import orjson

from engine.sandbox import wire
from engine.sandbox.guards import with_article

DEEPEST = 250  # levels; orjson stops a little later
MOST_BITS = 14_280  # of a whole number: 4,300 digits, where Python refuses to write them
SIMPLE = (str, int, bool, float, type(None))

HINTS = {
    "DataFrame": 'df.to_dict("records") is a list of dicts.',
    "bytearray": "Decode it to text, or use base64.b64encode(...).decode().",
    "bytes": "Decode it to text, or use base64.b64encode(...).decode().",
    "generator": "Make a list of it: list(...).",
    "map": "Make a list of it: list(...).",
    "filter": "Make a list of it: list(...).",
    "zip": "Make a list of it: list(...).",
    "timedelta": "Use .total_seconds().",
    "Timedelta": "Use .total_seconds().",
    "Fraction": "Make it a number with float(...), or text with str(...).",
    "Series": "Return a DataFrame: .to_frame() or .reset_index() makes one.",
}
WORDS = {
    "NoneType": "nothing",
    "bytes": "bytes",
    "bool": "True or False",
    "builtin_function_or_method": "a function",
    "float": "a number",
    "int": "a number",
    "ndarray": "an array",
    "str": "text",
    "type": "a class",
}


class NotPlain(TypeError):
    """A value that JSON has no form for; the message names its place and what it is."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def describe(value: Any) -> str:
    """What a value is, with its article, such as "a function"."""
    name = type(value).__name__
    return WORDS.get(name) or with_article(name)


def fast_json(rows: list[Any]) -> bytes:
    """The rows as a payload. Raises TypeError where they need `plain`, or are no JSON at all."""
    return b"o" + orjson.dumps(rows, default=Simpler())


def plain_json(rows: list[Any]) -> bytes:
    """The rows, which `plain` made, as a payload."""
    return wire.encode(rows)


class Simpler:
    """Calling it takes a value of another type one step towards JSON. Made after the code ran.

    It knows the types of the modules that are loaded by then: a value of another one cannot be there.
    """

    def __init__(self) -> None:
        self._steps: dict[type, Callable[[Any], Any]] = {set: _ordered, frozenset: _ordered, range: list}
        views: tuple[Any, ...] = ({}.keys(), {}.values(), {}.items())
        self._steps |= {type(view): list for view in views}
        for module, name, step in STEPS:
            if module in sys.modules:
                self._steps[getattr(sys.modules[module], name)] = step
        self._numpy: Any = sys.modules.get("numpy")
        if pandas := sys.modules.get("pandas"):
            self._steps |= {type(pandas.NA): _nothing, type(pandas.NaT): _nothing, pandas.Timestamp: _iso}
            self._arrays: Any = (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)
        else:
            self._arrays = ()

    def __call__(self, value: Any) -> Any:
        if (step := self._steps.get(type(value))) is not None:
            return step(value)
        for base, step in BASES:  # classes of the author's, named tuples, Counter and the like
            if isinstance(value, base):
                return step(value)
        if self._numpy is not None and isinstance(value, self._numpy.generic | self._numpy.ndarray):
            return _numpy(value)
        if isinstance(value, self._arrays):
            return value.tolist()
        raise NotPlain(f"{describe(value)}, which is no JSON data", HINTS.get(type(value).__name__))


def plain(value: Any, simpler: Simpler, path: str = "", depth: int = 0) -> Any:
    """The value made of dict, list, str, int, float, bool and None only, copied.

    Raises:
        NotPlain: the message begins with the field.
    """
    kind = type(value)
    if kind in SIMPLE:
        return _simple(value, path)
    if depth > DEEPEST:
        raise NotPlain(f"{_field(path[:60])} is nested more than {DEEPEST} levels deep, or holds itself")
    if kind is dict:
        return {
            _key(key, simpler, path): plain(inner, simpler, f"{path}.{key}" if path else str(key), depth + 1)
            for key, inner in value.items()
        }
    if kind is list or kind is tuple:
        return [plain(inner, simpler, f"{path}[{index}]", depth + 1) for index, inner in enumerate(value)]
    try:
        step = simpler(value)
    except NotPlain as error:
        raise NotPlain(f"{_field(path)} holds {error.message}", error.hint) from None
    return plain(step, simpler, path, depth + 1)


def _simple(value: Any, path: str) -> Any:
    kind = type(value)
    if kind is float and not math.isfinite(value):
        return None
    if kind is int and value.bit_length() > MOST_BITS:
        raise NotPlain(f"{_field(path)} holds a number of more than 4,300 digits", "Make it text in another form.")
    if kind is str and not value.isascii():
        _check_text(value, path)
    return value


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotPlain(f"{_field(path)} holds text with half of a character (a lone surrogate)") from None


def _key(key: Any, simpler: Simpler, path: str) -> str:
    """A key as JSON has it; numbers, dates, True and None become text, as the json module makes them."""
    if type(key) is str:
        _check_text(key, path)
        return key
    if type(key) is float:
        return repr(key)
    if key is None or type(key) is bool:
        return {None: "null", True: "true", False: "false"}[key]
    if type(key) is int:
        return str(key)
    step = None if isinstance(key, tuple | frozenset) else _step_of(key, simpler)
    if step is None or isinstance(step, dict | list):
        raise NotPlain(f"{_field(path)} has {describe(key)} for a key; keys are text", "Make it text with str(...).")
    return _key(step, simpler, path)


def _step_of(key: Any, simpler: Simpler) -> Any:
    try:
        return simpler(key)
    except NotPlain:
        return None


def key_text(key: Any) -> str:
    """A column label as a key. Raises NotPlain."""
    return _key(key, Simpler(), "")


def _field(path: str) -> str:
    return f"field {path!r}" if path else "it"


def _ordered(value: Any) -> list[Any]:
    # Sorted where that can be: the order of a set of texts differs from run to run.
    kinds = set(map(type, value))
    return sorted(value) if kinds <= {int, float} or kinds == {str} else list(value)


def _nothing(_: Any) -> None:
    return None


def _iso(value: Any) -> str:
    text: str = value.isoformat()
    return text


def _decimal(value: Any) -> Any:
    """A number where that says exactly the same, else text."""
    if not value.is_finite():
        return None
    if value.as_tuple().exponent >= 0:
        return int(value) if value.adjusted() < 300 else str(value)
    number = float(value)
    return number if math.isfinite(number) and type(value)(repr(number)) == value else str(value)


def _numpy(value: Any) -> Any:
    kind = value.dtype.kind
    if kind == "M" and value.ndim == 0:
        text = str(value)
        return None if text == "NaT" else text
    if kind in "biufUOM":
        return value.tolist()
    raise NotPlain(f"{describe(value)}, which is no JSON data")


# module, type, one step: exact types.
STEPS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("datetime", "date", _iso),
    ("datetime", "datetime", _iso),
    ("datetime", "time", _iso),
    ("decimal", "Decimal", _decimal),
    ("uuid", "UUID", str),
    ("collections", "deque", list),
)
# Not by the methods of a subclass: it may be the author's.
BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (dict, lambda value: dict(dict.items(value))),
    (list, lambda value: [*list.__iter__(value)]),
    (tuple, lambda value: [*tuple.__iter__(value)]),
    (set, lambda value: _ordered([*set.__iter__(value)])),
    (str, str.__str__),
    (int, lambda value: int.__add__(value, 0)),
    (float, float.__pos__),
)
