"""Node types by name: found when asked for, refused where names clash, upgraded between versions."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from engine.api import Context, Items, NodeType, Params, field
from engine.api import node as declare
from engine.errors import InvalidParams, UnknownNodeType
from engine.registry import Registry

ROOT = Path(__file__).parents[2]
MODULE = '''
from engine.api import Context, Items, Params, node

@node("{name}", group="shop", effects="pure")
def {function}(ctx: Context, items: Items, params: Params) -> Items:
    """Order something."""
    return items
'''

Install = Callable[..., EntryPoint]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes modules (file -> source) and gives the entry point of one of them."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(value: str, name: str = "shop", **files: str) -> EntryPoint:
        for file, source in files.items():
            path = tmp_path / (file.replace("__in__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
            monkeypatch.delitem(sys.modules, file.replace("__in__", ".").removesuffix(".__init__"), raising=False)
        importlib.invalidate_caches()
        return EntryPoint(name, value, "flowleaf.nodes")

    return write


def of(name: str, function: str = "order") -> str:
    return MODULE.format(name=name, function=function)


def names(registry: Registry) -> list[str]:
    return [node_type.name for node_type in registry.discover() if not node_type.name.startswith("core.")]


@declare("shop.order", group="shop", effects="pure")
def order(ctx: Context, items: Items, params: Params) -> Items:
    """Order something."""
    return items


@declare("core.limit", group="shop", effects="pure")
def own_limit(ctx: Context, items: Items, params: Params) -> Items:
    """Limit in a way of one's own."""
    return items


# Found


def test_a_type_of_the_catalogue_is_found_by_its_name():
    registry = Registry(installed=[])
    assert registry.get("core.limit").name == "core.limit"
    assert registry.get("core.if").outputs({}) == ("true", "false")
    assert [node_type.name for node_type in registry] == ["core.limit", "core.if"]


def test_a_type_is_the_same_object_each_time():
    registry = Registry(installed=[])
    assert registry.get("core.limit") is registry.get("core.limit") is Registry().get("core.limit")


def test_the_catalogue_is_found_whole_and_by_name():
    found = [node_type.name for node_type in Registry(installed=[]).discover()]
    assert found == sorted(found)
    assert {f"core.{file.stem}" for file in (ROOT / "nodes").glob("[a-z]*.py")} == set(found)


def test_types_can_be_given():
    assert Registry([order], installed=[]).get("shop.order") is order
    assert Registry([own_limit], installed=[]).get("core.limit") is own_limit


@pytest.mark.parametrize(
    "name", ["core.limit", "shop.order", "core.conditions", "core.lmit", "x", "", "../etc", "core."]
)
def test_a_name_is_there_or_not(name):
    assert (name in Registry([order], installed=[])) is (name in ("core.limit", "shop.order"))


HINTS = [
    ("core.lmit", "Did you mean 'core.limit'?"),
    ("Core.Limit", "Did you mean 'core.limit'?"),
    ("limit", "Did you mean 'core.limit'?"),
    ("shop.ordr", "Did you mean 'shop.order'?"),
    ("zzz.qqq", "Known here: core.code, "),
]


@pytest.mark.parametrize(("name", "hint"), HINTS)
def test_a_type_that_is_not_there_is_named_with_the_nearest(name, hint):
    with pytest.raises(UnknownNodeType) as caught:
        Registry([order], installed=[]).get(name)
    assert caught.value.message == f"no node type {name!r} is installed"
    assert str(caught.value.hint).startswith(hint)


def test_installed_packages_are_looked_for_where_none_are_given():
    with pytest.raises(UnknownNodeType):
        Registry().get("nobody.brings_this")


IMPORTS = """
import sys
from engine.registry import Registry
registry = Registry()
assert registry.get("core.limit").summary
assert "core.lmit" not in registry
print(sorted({"pandas", "pyarrow", "httpx", "yaml", "nodes.http_request", "nodes.sort"} & set(sys.modules)))
registry.discover()
print("nodes.sort" in sys.modules)
"""


def test_only_the_type_asked_for_is_imported():
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert found.stderr == ""
    assert found.stdout.split("\n") == ["[]", "True", ""]


# Packages of others


def test_a_package_is_imported_when_a_name_of_another_is_asked_for(install):
    registry = Registry(installed=[install("reg_one", reg_one=of("shop.one"))])
    registry.get("core.limit")
    assert "reg_one" not in sys.modules
    assert registry.get("shop.one").summary == "Order something."


def test_a_package_brings_the_types_of_all_its_modules(install):
    entry = install("reg_many", reg_many__in____init__=of("shop.a"), reg_many__in__b=of("shop.b"))
    assert names(Registry(installed=[entry])) == ["shop.a", "shop.b"]


def test_a_type_that_a_module_only_imports_is_not_its_own(install):
    first = install("reg_first", "first", reg_first=of("shop.a"))
    second = install("reg_second", "second", reg_second="from reg_first import order\n" + of("shop.b", "other"))
    registry = Registry(installed=[second, first])
    assert names(registry) == ["shop.a", "shop.b"]
    assert registry.failures == {}


BROKEN = {
    "a module that is not there": ("reg_none", {}, "ModuleNotFoundError: No module named 'reg_none'"),
    "a module that fails": ("reg_bad", {"reg_bad": "1 / 0"}, "ZeroDivisionError: division by zero"),
    "a module that leaves": ("reg_exit", {"reg_exit": "raise SystemExit(3)"}, "SystemExit: 3"),
    "a module inside that fails": (
        "reg_deep",
        {"reg_deep__in____init__": "", "reg_deep__in__x": "import reg_nowhere"},
        "ModuleNotFoundError: No module named 'reg_nowhere'",
    ),
    "a function": ("reg_fn:order", {"reg_fn": of("shop.fn")}, "TypeError: the entry point names NodeType"),
    "one of Flowleaf's names": (
        "reg_core",
        {"reg_core": of("core.x")},
        "core.x: names that start with core. are Flowleaf's own",
    ),
}


@pytest.mark.parametrize(("value", "files", "why"), BROKEN.values(), ids=BROKEN)
def test_a_package_that_does_not_load_stops_nothing(install, value, files, why):
    registry = Registry(installed=[install(value, "bad", **files), install("reg_good", reg_good=of("shop.good"))])
    assert names(registry) == ["shop.good"]
    assert registry.failures["bad"].startswith(why)
    with pytest.raises(UnknownNodeType) as caught:
        registry.get("bad.node")
    assert f"(the package bad did not load: {why}" in str(caught.value.hint)


def test_of_two_packages_with_one_name_the_second_is_refused(install):
    registry = Registry(
        installed=[
            install("reg_a", "first", reg_a=of("shop.order")),
            install("reg_b", "second", reg_b=of("shop.order") + of("shop.more", "more")),
        ]
    )
    assert registry.get("shop.order").run.__module__ == "reg_a"
    assert registry.failures == {"second": "shop.order is already brought by first"}
    assert "shop.more" in registry


def test_a_package_is_not_imported_twice(install):
    registry = Registry(installed=[install("reg_once", reg_once=of("shop.once"))])
    registry.discover()
    registry.discover()
    assert "shop.other" not in registry
    assert names(registry) == ["shop.once"]


# Versions


class Third(Params):
    amount: int = field(1, help="How much.")
    tags: list[str] = field([], help="What for.")


@declare("shop.pay", version=3, group="shop", effects="write")
def pay(ctx: Context, items: Items, params: Third) -> Items:
    """Pay."""
    return items


@pay.upgrade_from(1)
def _renamed(params: dict[str, Any]) -> dict[str, Any]:
    return {"sum": params.pop("price"), **params}


@pay.upgrade_from(2)
def _in_place(params: dict[str, Any]) -> dict[str, Any]:
    params["amount"] = params.pop("sum")
    params.get("tags", []).append("old")
    return params


def test_params_are_upgraded_step_by_step():
    assert pay.upgraded({"price": 5}, 1) == {"amount": 5}
    assert pay.upgraded({"sum": 5}, 2) == {"amount": 5}
    assert pay.upgraded({"amount": 5}, 3) == {"amount": 5}


def test_an_upgrade_leaves_the_params_of_the_workflow_as_they_are():
    params = {"price": 5, "tags": ["new"]}
    assert pay.upgraded(params, 1) == {"amount": 5, "tags": ["new", "old"]}
    assert params == {"price": 5, "tags": ["new"]}


def test_params_of_a_newer_version_are_refused():
    with pytest.raises(InvalidParams, match=r"shop\.pay is installed in version 3; this node was made with version 4"):
        pay.upgraded({}, 4)


def test_params_that_cannot_be_upgraded_are_refused():
    with pytest.raises(InvalidParams, match="of version 1 cannot be brought to version 2: KeyError"):
        pay.upgraded({}, 1)


def test_a_type_is_one_value():
    assert isinstance(pay, NodeType)
    assert pay.effects({}) == "write"
