"""`flowleaf node new`: a package with one node type, ready to install, to test and to change."""

import keyword
import re
from pathlib import Path

from engine.errors import DefinitionError

NAME = re.compile(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)")
OWN = ("core",)
TAKEN = ("node", "field", "item", "items", "params", "ctx", "test")

PYPROJECT = """\
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "flowleaf-{dashed}"
version = "0.1.0"
description = "Flowleaf node types: {package}."
requires-python = ">=3.11"
dependencies = ["flowleaf"]

# Flowleaf finds the package by this entry point.
[project.entry-points."flowleaf.nodes"]
{package} = "flowleaf_{package}"

[tool.setuptools.packages.find]
where = ["src"]
"""
NODE = '''\
"""Says what the node is for, in one line."""

from engine.api import Context, Item, Params, field, node


class {title}Params(Params):
    text: str = field("Hello", help="What to put into the item; may be an expression such as {{{{ item.name }}}}.")


@node("{package}.{name}", group="transform", effects="pure", keywords=("{name}",))
def {name}(ctx: Context, item: Item, params: {title}Params) -> Item:
    """Add a text to each item.

    Example:
      params: {{text: "{{{{ item.name }}}}!"}}
      main: [{{name: Ada}}]
      gives: [{{name: Ada, {name}: Ada!}}]
    """
    return item.derive({name}=params.text)
'''
TEST = '''\
"""The example of each node's docstring gives what it says."""

import asyncio

import pytest

from engine.registry import Registry
from engine.run import LocalServices, run_workflow
from engine.workflow import Connection, Node, Workflow
from flowleaf_{package}.{name} import {name}


@pytest.mark.parametrize("example", {name}.examples())
def test_the_example_gives_what_it_says(example):
    start = Node(id="start", type="core.manual", label="Start", pinned=dict(example.inputs))
    node = Node(id="node", type="{package}.{name}", label="Node", params=dict(example.params))
    workflow = Workflow(nodes=(start, node), connections=(Connection(source="start", target="node"),))
    finished = asyncio.run(run_workflow(workflow, Registry([{name}]), LocalServices()))
    assert finished.rows("node") == example.gives["main"]
'''
README = """\
# flowleaf-{dashed}

Node types for Flowleaf.

    pip install -e .
    flowleaf nodes
    pytest

`src/flowleaf_{package}/{name}.py` declares `{package}.{name}`: change its params and its function, and add
files beside it.
"""


def make_package(name: str, folder: Path) -> Path:
    """Write the package into a new folder below `folder`; gives its path.

    Raises:
        DefinitionError: the name cannot be used, or the folder is there already.
    """
    found = NAME.fullmatch(name)
    if not found:
        raise DefinitionError(
            f"{name!r} is no name for a node type", hint="Write package.name in small letters, such as acme.reverse."
        )
    package, node = found.groups()
    for word in (package, node):
        if keyword.iskeyword(word) or word in TAKEN:
            raise DefinitionError(f"{word!r} is a word of Python or of engine.api", hint="Choose another name.")
    if not folder.is_dir():
        raise DefinitionError(f"there is no folder {folder}")
    if package in OWN:
        raise DefinitionError(f"names that start with {package}. are Flowleaf's own", hint=f"Try acme.{node}.")
    root = folder / f"flowleaf_{package}"
    if root.exists():
        raise DefinitionError(f"{root} is there already", hint="Add a file to it, or choose another name or --in.")
    words = {"package": package, "name": node, "dashed": package.replace("_", "-")}
    words["title"] = "".join(part.capitalize() for part in node.split("_"))
    files = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/flowleaf_{package}/{node}.py": NODE,
        f"tests/test_{node}.py": TEST,
    }
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.format(**words), encoding="utf-8")
    (root / f"src/flowleaf_{package}/__init__.py").write_text(f'"""Node types of {package}."""\n', encoding="utf-8")
    return root
