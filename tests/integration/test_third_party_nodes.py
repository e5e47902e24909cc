"""Packages of others bring node types by an entry point; one that is broken is named, and stops nothing."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "flowleaf_greetings"

DISCOVER = """
import json
from engine.registry import Registry

registry = Registry()
names = [node_type.name for node_type in registry.discover()]
print(json.dumps({"names": names, "failures": registry.failures}))
"""
RUN = """
import asyncio, json, sys
from engine.checks import load
from engine.registry import Registry
from engine.run import LocalServices, Request, run_workflow

registry = Registry()
workflow = load(sys.argv[1], registry)
request = Request(json.loads(sys.argv[2]))
finished = asyncio.run(run_workflow(workflow, registry, LocalServices(), request=request))
print(json.dumps({n.label: finished.rows(n.id) for n in workflow.nodes}))
"""
WORKFLOW = """
flowleaf: 1
name: Ranked greetings
nodes:
  - {id: n1, type: core.manual, label: Start}
  - {id: n2, type: greetings.rank, label: Rank, params: {by: points}}
  - {id: n3, type: greetings.greet, label: Greet, params: {name: "{{ item.name }} ({{ node('Start').item.team }})"}}
connections:
  - {source: n1, target: n2}
  - {source: n2, target: n3}
"""
BROKEN = """
import a_library_that_is_not_there
"""
DUPLICATE = """
from engine.api import Context, Item, Params, node

@node("greetings.greet", group="transform", effects="pure")
def greet(ctx: Context, item: Item, params: Params) -> Item:
    '''Greet in another way.'''
    return item.derive(greeting="Ahoy!")

@node("again.wave", group="transform", effects="pure")
def wave(ctx: Context, item: Item, params: Params) -> Item:
    '''Wave.'''
    return item
"""
INTRUDER = """
from engine.api import Context, Item, Params, node

@node("core.x", group="transform", effects="pure")
def x(ctx: Context, item: Item, params: Params) -> Item:
    '''Pose as one of Flowleaf's own.'''
    return item
"""


def python(*arguments: str, path: Iterable[Path] = ()) -> str:
    """What a Python of its own prints; `path` is where it finds packages, besides this project."""
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
            "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT])),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def child(script: str, *arguments: str, path: Iterable[Path]) -> Any:
    """The JSON that a script prints."""
    return json.loads(python("-c", script, *arguments, path=path))


def pretend(folder: Path, name: str, source: str) -> None:
    """Put a module and what an installer would write about it into `folder`."""
    (folder / f"{name}.py").write_text(source)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[flowleaf.nodes]\n{name} = {name}\n")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the example: building leaves things beside what is built."""
    return Path(shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "flowleaf_greetings"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory, source) -> Path:
    """A folder into which the example is installed as people install packages, but offline."""
    target = tmp_path_factory.mktemp("installed")
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    python("-m", "pip", "install", "--quiet", *offline, "--target", str(target), str(source))
    return target


def test_an_installed_package_is_in_the_catalogue(installed):
    found = child(DISCOVER, path=[installed])
    assert [name for name in found["names"] if name.startswith("greetings.")] == [
        "greetings.greet",
        "greetings.look_up",
        "greetings.rank",
    ]
    assert "core.sort" in found["names"]
    assert found["failures"] == {}


def test_without_the_package_its_node_types_are_not_there():
    found = child(DISCOVER, path=[])
    assert [name for name in found["names"] if not name.startswith("core.")] == []


def test_a_workflow_runs_with_nodes_of_a_package_and_keeps_their_lineage(installed):
    rows = [
        {"name": "Ada", "points": 7, "team": "blue"},
        {"name": "Ben", "points": 9, "team": "red"},
        {"name": "Cleo", "points": 7, "team": "green"},
    ]
    found = child(RUN, WORKFLOW, json.dumps(rows), path=[installed])
    assert [(row["rank"], row["greeting"]) for row in found["Greet"]] == [
        (1, "Hello Ben (red)!"),
        (2, "Hello Ada (blue)!"),
        (2, "Hello Cleo (green)!"),
    ]


def test_the_tests_of_the_package_itself_pass(installed, source):
    command = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(source)]
    assert " passed" in python(*command, str(source / "tests"), path=[installed])


def test_a_broken_package_is_named_with_its_error_and_stops_nothing(installed, tmp_path):
    for name, text in {"broken": BROKEN, "again": DUPLICATE, "intruder": INTRUDER}.items():
        pretend(tmp_path, name, text)
    # In the order of the path: of two that bring one name, the first keeps it.
    found = child(DISCOVER, path=[installed, tmp_path])
    assert found["failures"] == {
        "broken": "ModuleNotFoundError: No module named 'a_library_that_is_not_there'",
        "again": "greetings.greet is already brought by greetings",
        "intruder": "core.x: names that start with core. are Flowleaf's own",
    }
    assert {"greetings.greet", "again.wave", "core.sort"} <= set(found["names"])
    assert "core.x" not in found["names"]
    greeted = child(
        RUN, WORKFLOW, json.dumps([{"name": "Ada", "points": 7, "team": "blue"}]), path=[installed, tmp_path]
    )
    assert greeted["Greet"][0]["greeting"] == "Hello Ada (blue)!"
