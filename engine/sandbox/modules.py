"""What may be imported, and what of it: proxies that give the listed names only.

A module is loaded when it is first asked for; then the guards also learn what its types give. What stands here must
not read attributes by a name that is data (`attrgetter`, `Formatter`), open files, start anything, or hand out modules.
"""

import importlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from engine.sandbox.guards import CLASS_NAMES, NAMES, WRITABLE, Denied, ModuleProxy, allow

ALL = "*"


class Entry(NamedTuple):
    """What a module gives.

    Attributes:
        names: taken from the module as they are.
        types: type -> the attributes of its objects; "*" for all public ones.
        on_class: type -> the attributes of the class itself.
        writable: types whose items or attributes may be set.
        extra: makes further contents, or other ones of the same name.
    """

    names: str
    types: dict[str, str] = {}
    on_class: dict[str, str] = {}
    writable: str = ""
    extra: Callable[[ModuleType], dict[str, Any]] | None = None


def import_name(module: str, part: str | None = None) -> Any:
    """The proxy of a module, or one name of it: what `import` and `from ... import` give the author's code."""
    proxy = _proxy(module)
    if part is None:
        return proxy
    if part not in proxy.contents:
        raise ImportError(f"{module!r} has no {part!r} in code nodes; it has: {', '.join(sorted(proxy.contents))}")
    return proxy.contents[part]


def load(*names: str) -> None:
    """Make the guards know the types of these modules."""
    for name in names:
        _proxy(name)


def _proxy(name: str) -> ModuleProxy:
    if name in _loaded:
        return _loaded[name]
    if name in ("pandas", "numpy"):
        # Imported here since it takes a third of a second, which few programs need.
        from engine.sandbox import pandas_proxy  # noqa: PLC0415

        _loaded.update(pandas_proxy.make_proxies())
    elif name in TABLE:
        _loaded[name] = _make(name, TABLE[name])
    else:
        raise ImportError(f"module {name!r} is not available in code nodes; available: {', '.join(sorted(IMPORTABLE))}")
    return _loaded[name]


def _make(name: str, entry: Entry) -> ModuleProxy:
    module = importlib.import_module(name)
    contents = {each: getattr(module, each) for each in entry.names.split() if hasattr(module, each)}
    if entry.extra is not None:
        contents |= entry.extra(module)
    for path, names in entry.types.items():
        kind = getattr(module, path)
        allow(kind, None if names == ALL else names.split(), on_class=entry.on_class.get(path, "").split())
    for path in entry.writable.split():
        WRITABLE.add(getattr(module, path))
    return ModuleProxy(name, contents)


def allow_results(module: ModuleType, *samples: Any) -> None:
    """Let objects of the types of these samples, which have no public name, give all that is public."""
    for sample in samples:
        allow(type(sample))


# What follows are the contents that differ from the module's own.


def _csv(module: Any) -> dict[str, Any]:
    allow(type(module.reader([])), ("line_num", "dialect"))
    allow(type(module.writer(_NoFile())), ("writerow", "writerows"))
    return {}


class _NoFile:
    def write(self, text: str) -> None:
        """Nothing."""


def _collections(module: Any) -> dict[str, Any]:
    def namedtuple(typename: str, field_names: Any, *, rename: bool = False, defaults: Any = None) -> type:
        """As in collections; names must be plain text, since they become part of a program there."""
        fields = field_names.replace(",", " ").split() if type(field_names) is str else list(field_names)
        if type(typename) is not str or any(type(field) is not str for field in fields):
            raise TypeError("namedtuple takes names that are text")
        made: type = module.namedtuple(typename, fields, rename=bool(rename), defaults=defaults, module="code")
        return made

    return {"namedtuple": namedtuple}


def _functools(module: Any) -> dict[str, Any]:
    allow(type(module.lru_cache(len)), ("cache_info", "cache_clear"))

    def wraps(wrapped: Any, *_: Any) -> Any:
        """Leaves the function as it is: the real one copies attributes by name."""
        return lambda function: function

    return {"wraps": wraps}


def _hashlib(module: Any) -> dict[str, Any]:
    for sample in (module.sha256(), module.blake2b(), module.blake2s(), module.shake_128()):
        allow(type(sample), "block_size copy digest digest_size hexdigest name update".split())
    return {}


def _random(module: Any) -> dict[str, Any]:
    names = "betavariate choice choices expovariate gauss getrandbits normalvariate randbytes randint random randrange"
    generator_names = f"{names} sample seed shuffle triangular uniform".split()
    allow(module.Random, generator_names)
    return {name: getattr(module, name) for name in generator_names}


def _time(module: Any) -> dict[str, Any]:
    names = [name for name in dir(module.struct_time) if name.startswith("tm_")]
    allow(module.struct_time, [*names, "count", "index"])
    return {}


def _typing(_: Any) -> dict[str, Any]:
    # Annotations are never evaluated, so that these are only ever imported; an alias made of one is one again.
    names = "Any Callable Dict Iterable Iterator List Literal Mapping Optional Sequence Set Tuple Type Union"
    return {name: _Hint() for name in names.split()} | {"cast": lambda kind, value: value}


class _Hint:
    def __getitem__(self, _: Any) -> "_Hint":
        return self

    def __or__(self, _: Any) -> "_Hint":
        return self

    __ror__ = __or__


def _urllib(module: Any) -> dict[str, Any]:
    return {"parse": import_name("urllib.parse")}


def _zoneinfo(module: Any) -> dict[str, Any]:
    def zone(key: str) -> Any:
        """A time zone by its name: a word or words with slashes, so that it is never a path to elsewhere."""
        if type(key) is not str or not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", key):
            raise ValueError("ZoneInfo takes the name of a time zone, such as Europe/Berlin")
        return module.ZoneInfo(key)

    return {"ZoneInfo": zone}


def _calendar(module: Any) -> dict[str, Any]:
    names = ("month_name", "month_abbr", "day_name", "day_abbr")
    return {name: tuple(getattr(module, name)) for name in names}
