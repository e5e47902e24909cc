"""The names that the author's code starts with, and what the objects of built-in types give."""

import builtins
import sys
from collections.abc import Callable
from types import GeneratorType
from typing import Any

from engine.sandbox import guards, modules

BUILTIN_NAMES = guards.words(
    "abs all any ascii bin bool bytearray bytes callable chr classmethod complex dict divmod enumerate filter float "
    "format frozenset hash hex int isinstance issubclass iter len list map max min next object oct ord pow property "
    "range repr reversed round set slice sorted staticmethod str sum super tuple zip "
    "None True False Ellipsis NotImplemented __build_class__"
)

# What C code of these imports while it runs, by the `__import__` of the frame that called it.
C_IMPORTS = frozenset(("_decimal", "_strptime", "numpy", "pandas", "pyarrow", "time", "unicodedata", "zoneinfo"))

_real_import = builtins.__import__


def new_namespace(output: Callable[..., None], log: Callable[..., None]) -> dict[str, Any]:
    """Globals for one program: the guards that the policy writes into it, and its built-in names."""
    names = {name: getattr(builtins, name) for name in BUILTIN_NAMES}
    names |= {name: value for name, value in vars(builtins).items() if _is_exception(name, value)}
    names |= {
        "delattr": guards.delete_attribute,
        "getattr": guards.get_attribute,
        "hasattr": guards.has_attribute,
        "setattr": guards.set_attribute,
        "type": guards.kind_of,
        "print": output,
        "log": log,
        "__import__": import_for_c,
    }
    return {
        "__builtins__": names,
        "__metaclass__": guards.make_class,
        "__name__": "code",
        "_getattr_": guards.get_attribute,
        "_getitem_": guards.get_item,
        "_import_": modules.import_name,
        "_inplace_": guards.inplace,
        "_write_": guards.writable,
    }


def import_for_c(name: str, *arguments: Any, **keywords: Any) -> Any:
    """`__import__` for C code only: the policy turns the author's imports into calls of `_import_`."""
    if name in sys.modules or name.partition(".")[0] in C_IMPORTS:
        return _real_import(name, *arguments, **keywords)
    raise ImportError(f"module {name!r} is not available in code nodes")


def _is_exception(name: str, value: Any) -> bool:
    # Not the groups: `split` and `subgroup` of one would call the author's functions from C with any exception.
    return isinstance(value, type) and issubclass(value, BaseException) and not name.endswith("ExceptionGroup")


def _allow_builtins() -> None:
    """The guards' rows for the built-in types."""
    shared: tuple[type, ...] = (str, int, float, dict, list, set, frozenset, tuple, bytes, bytearray)
    for kind in shared:
        guards.allow(kind)
        guards.CLASS_NAMES[kind] = guards.NAMES[kind]
    views: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
    plain: tuple[type, ...] = (bool, complex, type(None), range, slice)
    for kind in (*plain, type(NotImplemented), object, *views):
        guards.allow(kind)
    guards.allow(GeneratorType, ("send", "close"))
    guards.allow(property, ("setter", "getter", "deleter"))
    # Those that cannot be changed say so themselves.
    guards.WRITABLE.update(shared, plain)


_allow_builtins()
