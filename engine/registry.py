"""Node types by name. A type is imported when it is first asked for; `discover` imports all, for the catalogue."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from engine.errors import UnknownNodeType, did_you_mean, nearest
from engine.node_type import NAME, NodeType

ENTRY_POINTS = "flowleaf.nodes"
# Name before the dot -> the package whose modules bear the names after it.
CATALOGUE = {"core": "nodes"}


class Registry:
    """Node types by name. Two packages with one name are an error of the second, never a silent override.

    Attributes:
        failures: package -> why it (or one of its node types) did not load.
    """

    def __init__(self, types: Iterable[NodeType] = (), *, installed: Iterable[EntryPoint] | None = None) -> None:
        """
        Args:
            types: more types, as tests have them.
            installed: entry points of third-party packages; None looks for those that are installed.
        """
        self._types: dict[str, NodeType] = {}
        self._origins: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self._waiting: list[EntryPoint] | None = None if installed is None else list(installed)
        for node_type in types:
            self._add(node_type, "given")

    def get(self, name: str) -> NodeType:
        """The node type called `name`. Raises UnknownNodeType with the nearest name."""
        if name not in self._types:
            self._find(name)
        try:
            return self._types[name]
        except KeyError:
            raise UnknownNodeType(f"no node type {name!r} is installed", hint=self._hint(name)) from None

    def __contains__(self, name: str) -> bool:
        try:
            self.get(name)
        except UnknownNodeType:
            return False
        return True

    def discover(self) -> list[NodeType]:
        """All installed node types, by name. A package that does not load is put into `failures`."""
        for prefix in CATALOGUE:
            for name in _names(prefix):
                self._find(name)
        self._load_installed()
        return [self._types[name] for name in sorted(self._types)]

    def _find(self, name: str) -> None:
        """Import what may bring `name`."""
        if not NAME.fullmatch(name):
            return
        prefix, _, rest = name.partition(".")
        if prefix not in CATALOGUE:
            self._load_installed()
        elif name in _names(prefix):
            self._add_module(importlib.import_module(f"{CATALOGUE[prefix]}.{rest}"), CATALOGUE[prefix])

    def _load_installed(self) -> None:
        if self._waiting is None:
            self._waiting = list(entry_points(group=ENTRY_POINTS))
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            try:
                for module in _modules(entry.load()):
                    self._add_module(module, entry.name, own=False)
            # A package of others may fail in any way, SystemExit included; the studio goes on without it.
            except (Exception, SystemExit) as exc:  # noqa: BLE001
                self.failures[entry.name] = f"{type(exc).__name__}: {exc}"

    def _add_module(self, module: ModuleType, origin: str, *, own: bool = True) -> None:
        for value in vars(module).values():
            if isinstance(value, NodeType) and value.run.__module__ == module.__name__:
                self._add(value, origin, own=own)

    def _add(self, node_type: NodeType, origin: str, *, own: bool = True) -> None:
        prefix = node_type.name.partition(".")[0]
        if prefix in CATALOGUE and not own:
            self.failures[origin] = f"{node_type.name}: names that start with {prefix}. are Flowleaf's own"
        elif (known := self._types.get(node_type.name)) and known is not node_type:
            self.failures[origin] = f"{node_type.name} is already brought by {self._origins[node_type.name]}"
        else:
            self._types[node_type.name] = node_type
            self._origins[node_type.name] = origin

    def _hint(self, name: str) -> str:
        known = sorted({*self._types, *(n for prefix in CATALOGUE for n in _names(prefix))})
        broken = "; ".join(f"the package {origin} did not load: {why}" for origin, why in self.failures.items())
        if "." not in name and (near := nearest(f"core.{name}", known)):
            return f"Did you mean {near!r}?"
        return did_you_mean(name, known) + (f" ({broken})" if broken else "")

    def __iter__(self) -> Iterator[NodeType]:
        return iter(self._types.values())


@cache
def _names(prefix: str) -> frozenset[str]:
    """Names of the types that a package of the catalogue brings, read from its file names: nothing is imported.

    A folder in it holds what several of them share.
    """
    package = importlib.import_module(CATALOGUE[prefix])
    modules = pkgutil.iter_modules(package.__path__)
    return frozenset(f"{prefix}.{module.name}" for module in modules if not module.ispkg)


def _modules(loaded: object) -> Iterator[ModuleType]:
    """The module an entry point names, and those inside it where it is a package."""
    if not isinstance(loaded, ModuleType):
        raise TypeError(f"the entry point names {loaded!r}, not a module")
    yield loaded
    for info in pkgutil.walk_packages(getattr(loaded, "__path__", ()), loaded.__name__ + "."):
        yield importlib.import_module(info.name)
