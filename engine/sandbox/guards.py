"""What the author's code may touch while it runs: denied by default, allowed by type.

Every attribute written in the source, and every `getattr`, comes here. What may be read depends on the type of the
object alone: `NAMES` lists per type what its objects give, `CLASS_NAMES` what the class itself gives. A type that
stands in neither gives nothing. Names are compared only when they are exactly `str`: a subclass may lie about itself.

In this form of the sandbox these guards, with the policy, are the only wall between the code and the files that the
child process could read. Think of that before adding a row.
"""

import operator
from collections.abc import Callable, Container, Iterable, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

Reader = Callable[[Any, str], Any]


def words(text: str) -> frozenset[str]:
    """The words of a list that is written as one text."""
    return frozenset(text.split())


NAMES: dict[type, frozenset[str]] = {}
CLASS_NAMES: dict[type, frozenset[str]] = {}
# (type, name) -> what to give instead of the attribute, made from the object.
REPLACED: dict[tuple[type, str], Callable[[Any], Any]] = {}
# Attributes that are data, such as the columns of a frame: reader(object, name) gives them or NotImplemented.
FIELDS: dict[type, Reader] = {}
# Types whose items may be set, and attributes that may be set.
WRITABLE: set[type] = set()
WRITABLE_NAMES: dict[type, frozenset[str]] = {}
# What a class of the author's may be built on, beside other such classes.
BASES: set[type] = {object, dict, list, set, str, int, float, tuple}

EXCEPTION_NAMES = words("args msg pos lineno colno value reason start end errno strerror")
RECORD_NAMES = frozenset(("count", "index", "_asdict", "_replace", "_fields"))
NAMED = (FunctionType, BuiltinFunctionType, MethodType)
FORBIDDEN = frozenset(("format", "format_map", "mro", "with_traceback"))

INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "//=": operator.ifloordiv,
    "%=": operator.imod,
    "**=": operator.ipow,
    "@=": operator.imatmul,
    "<<=": operator.ilshift,
    ">>=": operator.irshift,
    "&=": operator.iand,
    "|=": operator.ior,
    "^=": operator.ixor,
}

_MISSING = object()


class Denied(Exception):
    """Something that code nodes may not do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ModuleProxy:
    """Stands for a module and gives the listed names only. Cannot be written to."""

    __slots__ = ("contents", "name")

    def __init__(self, name: str, contents: dict[str, Any]) -> None:
        self.name = name
        self.contents = contents

    def __repr__(self) -> str:
        return f"<module {self.name}>"


class AuthorClass(type):
    """The type of the classes that the author's code defines."""


def with_article(name: str) -> str:
    """`a dict`, `an Order`."""
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def allow(kind: type, names: Iterable[str] | None = None, *, on_class: Iterable[str] = ()) -> None:
    """Let the objects of this type give these attributes, by default all public ones but `format`.

    Args:
        on_class: what the class itself gives.
    """
    if names is None:
        names = (name for name in dir(kind) if not name.startswith("_") and name not in FORBIDDEN)
    NAMES[kind] = frozenset(names)
    CLASS_NAMES[kind] = frozenset(on_class)


def get_attribute(ob: Any, name: Any, default: Any = _MISSING) -> Any:
    """`getattr` of the author's code. A refusal is never turned into the default."""
    if type(name) is not str:
        raise TypeError("attribute name must be a string")
    kind = type(ob)
    if name in NAMES.get(kind, ()):
        if (replaced := REPLACED.get((kind, name))) is not None:
            return replaced(ob)
    elif kind is ModuleProxy:
        return _module_attribute(ob, name, default)
    elif not _is_allowed(ob, kind, name):
        if (reader := FIELDS.get(kind)) is not None and (value := reader(ob, name)) is not NotImplemented:
            return value
        _refuse(ob, kind, name, default is not _MISSING)
        return default
    return getattr(ob, name) if default is _MISSING else getattr(ob, name, default)


def has_attribute(ob: Any, name: Any) -> bool:
    """`hasattr` of the author's code: what is refused is not there."""
    try:
        get_attribute(ob, name)
    except (AttributeError, Denied):
        return False
    return True


def set_attribute(ob: Any, name: Any, value: Any) -> None:
    """`setattr` of the author's code: on objects and classes of its own."""
    _check_own(ob, name)
    setattr(ob, name, value)


def delete_attribute(ob: Any, name: Any) -> None:
    """`delattr` of the author's code."""
    _check_own(ob, name)
    delattr(ob, name)


def writable(ob: Any, name: str | None = None) -> Any:
    """The object itself, if its items, or the attribute of this name, may be set and deleted."""
    kind = type(ob)
    if kind is AuthorClass or type(kind) is AuthorClass:
        return ob
    may = kind in WRITABLE if name is None else name in WRITABLE_NAMES.get(kind, ()) or _is_field(ob, kind, name)
    if may:
        return ob
    if name is not None and kind in NAMES and not hasattr(kind, name):
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}", name=name, obj=ob)
    raise Denied(f"{_describe(ob)} cannot be changed by code nodes")


def get_item(ob: Any, key: Any) -> Any:
    """`ob[key]`; the KeyError remembers where it looked, for the hint."""
    try:
        return ob[key]
    except KeyError as error:
        missed.error, missed.container = error, ob
        raise


def inplace(symbol: str, old: Any, value: Any) -> Any:
    """What `old += value` and the like leave in old."""
    return INPLACE[symbol](old, value)


def kind_of(ob: Any) -> type:
    """`type(ob)`, for the types that code nodes know anyway."""
    kind = type(ob)
    if kind in NAMES or type(kind) is AuthorClass or isinstance(ob, BaseException):
        return kind
    raise Denied(f"type() does not tell the type of {_describe(ob)}", "Use isinstance() instead.")


def make_class(name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> AuthorClass:
    """The metaclass of the author's classes."""
    for base in bases:
        if type(base) is not AuthorClass and not (type(base) is type and _may_be_base(base)):
            raise Denied(f"a class cannot be built on {_describe(base)}", "Use one of your own classes, or dict.")
    return AuthorClass(name, bases, namespace)


class Missed:
    """The last KeyError and the container it came from."""

    error: BaseException | None = None
    container: Any = None


missed = Missed()


def _is_field(ob: Any, kind: type, name: str) -> bool:
    reader = FIELDS.get(kind)
    return reader is not None and reader(ob, name) is not NotImplemented


def _may_be_base(base: type) -> bool:
    return base in BASES or _is_record(base) or (issubclass(base, Exception) and base.__module__ == "builtins")


def _is_allowed(ob: Any, kind: type, name: str) -> bool:
    """Whether the rules that are not by the exact type allow the name."""
    if name == "__name__":
        return isinstance(ob, NAMED) or kind is AuthorClass or (kind is type and _is_known(ob))
    if name in INSPECT_ATTRIBUTES:
        return False
    if kind is type:
        return name in CLASS_NAMES.get(ob, ()) or (_is_record(ob) and name in ("_fields", "_make"))
    if kind is AuthorClass:
        return _gives(ob.__mro__, name)
    if kind is super:
        return name == "__init__" or _gives(_order_after(ob), name)
    if type(kind) is AuthorClass:
        return _gives(kind.__mro__, name, own=ob.__dict__)
    return _gives_field(kind, name)


def _order_after(ob: Any) -> Sequence[type]:
    """The classes that `super()` looks through."""
    if ob.__self_class__ is None:
        return ()
    order: tuple[type, ...] = ob.__self_class__.__mro__
    return order[order.index(ob.__thisclass__) + 1 :]


def _gives(order: Iterable[type], name: str, *, own: Container[str] = ()) -> bool:
    """Whether the class where Python would find the name is the author's, or gives it to authors.

    Only that class counts: one further on in the order may have an innocent attribute of the same name.
    """
    if name.startswith("_") and name not in RECORD_NAMES:
        return False
    for base in order:
        if name in vars(base):
            if type(base) is AuthorClass or name in NAMES.get(base, ()):
                return True
            return _gives_field(base, name)
    return name in own


def _gives_field(kind: Any, name: str) -> bool:
    """Whether this is an exception or named tuple, and the name a field of it."""
    if issubclass(kind, BaseException):
        return name in EXCEPTION_NAMES
    return _is_record(kind) and (name in RECORD_NAMES or name in kind._fields)


def _is_known(kind: type) -> bool:
    return kind in NAMES or issubclass(kind, BaseException)


def _is_record(kind: Any) -> bool:
    """Whether this is a named tuple: nothing else brings `_fields`, since authors cannot write that name."""
    return type(kind) is type and issubclass(kind, tuple) and type(getattr(kind, "_fields", None)) is tuple


def _module_attribute(module: ModuleProxy, name: str, default: Any) -> Any:
    if name in module.contents:
        return module.contents[name]
    if default is not _MISSING and not name.startswith("_"):
        return default
    raise Denied(f"{module.name}.{name} is not available in code nodes", f"It has: {', '.join(module.contents)}.")


def _refuse(ob: Any, kind: type, name: str, has_default: bool) -> None:
    """Raise AttributeError for what is not there, Denied for what is there, or would be internal."""
    place = ob if isinstance(ob, type) else kind
    if name.startswith("_") or name in INSPECT_ATTRIBUTES or hasattr(place, name):
        hint = "Use an f-string, or the % operator." if name in ("format", "format_map") else None
        raise Denied(f"the attribute {name!r} of {_describe(ob)} is not available in code nodes", hint)
    if not has_default:
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}", name=name, obj=ob)


def _check_own(ob: Any, name: Any) -> None:
    if type(name) is not str:
        raise TypeError("attribute name must be a string")
    if name.startswith("_") or name in INSPECT_ATTRIBUTES:
        raise Denied(f"the attribute {name!r} is not available in code nodes")
    kind = type(ob)
    if kind is not AuthorClass and type(kind) is not AuthorClass:
        raise Denied(f"{_describe(ob)} cannot be changed by code nodes")


def _describe(ob: Any) -> str:
    if isinstance(ob, ModuleProxy):
        return f"the module {ob.name}"
    if isinstance(ob, type):
        return f"the class {ob.__name__}"
    return with_article(type(ob).__name__)
