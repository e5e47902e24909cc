"""Imports of the author's code: proxies that give the listed names only.

A module is loaded when it is first asked for. Then the guards also learn what objects of its types give.
"""

import importlib
from typing import Any

from engine.sandbox import guards
from engine.sandbox.guards import ModuleProxy
from engine.sandbox.stdlib import ALL, TABLE, Entry

FRAME_MODULES = frozenset(("numpy", "pandas"))
IMPORTABLE = FRAME_MODULES.union(TABLE)

_loaded: dict[str, ModuleProxy] = {}


def import_name(module: str, part: str | None = None) -> Any:
    """The proxy of a module, or one name of it: what `import` and `from ... import` give the author's code.

    Raises:
        ImportError: not available; the message lists what is.
    """
    proxy = load(module)
    if part is None:
        return proxy
    if part not in proxy.contents:
        raise ImportError(f"{module!r} has no {part!r} in code nodes; it has: {', '.join(sorted(proxy.contents))}")
    return proxy.contents[part]


def load(name: str) -> ModuleProxy:
    """The proxy of a module, made once. Raises ImportError."""
    if name not in _loaded:
        if name in FRAME_MODULES:
            # Not at the top: pandas takes a third of a second, and few programs need it.
            from engine.sandbox import pandas_proxy  # noqa: PLC0415

            for needed in ("datetime", "decimal"):  # types that frames hand out
                load(needed)
            _loaded.update(pandas_proxy.make_proxies())
        elif name in TABLE:
            _loaded[name] = _make(name, TABLE[name])
        else:
            raise ImportError(f"module {name!r} is not available; available: {', '.join(sorted(IMPORTABLE))}")
    return _loaded[name]


def _make(name: str, entry: Entry) -> ModuleProxy:
    module = importlib.import_module(name)
    contents = {each: getattr(module, each) for each in entry.names.split() if hasattr(module, each)}
    if entry.more is not None:
        contents |= entry.more(module)
    for inner in TABLE:
        package, _, last = inner.rpartition(".")
        if package == name:
            contents[last] = load(inner)
    for each, names in entry.types.items():
        on_class = entry.on_class.get(each, "").split()
        guards.allow(getattr(module, each), None if names == ALL else names.split(), on_class=on_class)
    guards.WRITABLE.update(getattr(module, each) for each in entry.writable.split())
    return ModuleProxy(name, contents)
