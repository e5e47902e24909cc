"""What went wrong in the author's code, for the author: message, line and hint."""

import traceback
from types import CodeType, TracebackType
from typing import Any

from engine.errors import did_you_mean, nearest
from engine.sandbox.guards import NAMES, Denied, missed, words
from engine.sandbox.modules import IMPORTABLE
from engine.sandbox.policy import SourceError
from engine.sandbox.program import FILENAME
from engine.sandbox.values import NotPlain

LONGEST_MESSAGE = 2000  # characters

Facts = dict[str, Any]

REFUSED = words(
    "open exec eval compile input globals locals vars dir help id memoryview breakpoint exit quit requests os sys "
    "subprocess socket pathlib"
)
COMMON = {
    "pd": "Add: import pandas as pd",
    "np": "Add: import numpy as np",
    "item": "The code runs once for all items, which are in `items`; or set it to run once for each item.",
    "items": "The code runs once for each item, which is in `item`; or set it to run once for all items.",
    "df": "`df` is there where the code reads it before it sets it.",
}


def explain(error: BaseException) -> Facts:
    """`{"message", "line", "hint"}` of an error; line and hint may be None. Never raises."""
    if isinstance(error, SourceError):
        line, message, hint = error.line, error.message, error.hint
    else:
        line = innermost_line(error.__traceback__)
        message, hint = _message(error), _safe_hint(error)
    place = f"line {line}: " if line else ""
    return {"message": (place + message)[:LONGEST_MESSAGE], "line": line, "hint": hint and hint[:LONGEST_MESSAGE]}


def innermost_line(trace: TracebackType | None) -> int | None:
    """The last line of the author's on the way to an error; what it called further in is ours or a library's."""
    found = None
    for frame, line in traceback.walk_tb(trace):
        if frame.f_code.co_filename == FILENAME:
            found = line
    return found


def _message(error: BaseException) -> str:
    if isinstance(error, Denied | NotPlain):
        return str(error)
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 (the author's __str__)
        text = "(its message cannot be shown)"
    return f"{name}: {text}" if text else name


def _safe_hint(error: BaseException) -> str | None:
    try:
        return _hint(error)
    except Exception:  # noqa: BLE001 (an error of the author's own class may hold anything)
        return None


def _hint(error: BaseException) -> str | None:
    if isinstance(error, Denied | NotPlain):
        return error.hint
    if isinstance(error, KeyError) and missed.error is error:
        return _key_hint(error, missed.container)
    if isinstance(error, NameError) and type(error.name) is str:
        return _name_hint(error.name, error.__traceback__)
    if isinstance(error, AttributeError) and type(error.name) is str:
        return _attribute_hint(error.name, error.obj)
    return None


def _key_hint(error: KeyError, container: Any) -> str | None:
    key = error.args[0] if error.args else None
    known = _keys(container)
    return did_you_mean(key, known) if type(key) is str and known is not None else None


def _keys(container: Any) -> list[str] | None:
    if isinstance(container, dict):
        keys = dict.keys(container)
    elif type(container).__name__ in ("DataFrame", "Series"):
        keys = container.keys()
    else:
        return None
    return [key for key in keys if type(key) is str]


def _name_hint(name: str, trace: TracebackType | None) -> str | None:
    if name in REFUSED:
        return "Code nodes reach no files, no network and no processes. Other nodes do: feed their items to this one."
    if name in COMMON:
        return COMMON[name]
    if name in IMPORTABLE:
        return f"Add: import {name}"
    known: set[str] = set()
    for frame, _ in traceback.walk_tb(trace):
        if frame.f_code.co_filename == FILENAME:
            known.update(frame.f_locals, _names(frame.f_code), frame.f_builtins)
    near = nearest(name, [each for each in known if not each.startswith("_") and each != name])
    return f"Did you mean {near!r}?" if near else None


def _names(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames + code.co_cellvars + code.co_freevars


def _attribute_hint(name: str, ob: Any) -> str | None:
    if isinstance(ob, dict):
        return f'Fields are read with brackets: item["{name}"].'
    if type(ob).__name__ == "DataFrame":
        return f'A column is made with brackets: df["{name}"] = ...'
    near = nearest(name, NAMES.get(type(ob), ()))
    return f"Did you mean {near!r}?" if near else None
