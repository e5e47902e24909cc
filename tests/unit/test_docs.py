"""The pages that are made from the code are current, and what pages show is true."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from docs.generate import DOCS, GROUPS, kind_of, pages
from engine.api import Params, field
from engine.registry import Registry
from nodes.conditions.vocabulary import MEANINGS, TESTS

PAGES = pages()
TYPES = Registry(installed=()).discover()
TUTORIAL = DOCS / "write_a_node.md"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_current(path):
    page = DOCS / path
    assert page.exists(), "make docs"
    assert page.read_text(encoding="utf-8") == PAGES[path], "make docs"


def test_there_is_no_page_of_a_node_type_that_is_gone():
    assert {f"nodes/{page.name}" for page in (DOCS / "nodes").iterdir()} == {p for p in PAGES if p.startswith("nodes/")}


def test_the_index_leads_to_every_page():
    index = PAGES["nodes/README.md"]
    assert {t.group for t in TYPES} == set(GROUPS)
    for path in PAGES:
        if path.startswith("nodes/core."):
            assert index.count(f"]({Path(path).name})") == 1


@pytest.mark.parametrize("page", [*(DOCS / path for path in PAGES), TUTORIAL], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        target, _, part = link.partition("#")
        assert link.startswith("https://") or (page.parent / target).exists(), link
        if part and not target:
            assert f"### {part}" in page.read_text(encoding="utf-8").lower(), link


@pytest.mark.parametrize("node_type", TYPES, ids=lambda t: t.name)
def test_the_examples_of_a_page_are_those_that_are_tested(node_type):
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", PAGES[f"nodes/{node_type.name}.md"], re.S)]
    tested = [
        part
        for example in node_type.examples()
        for part in (example.params, *example.inputs.values(), *example.gives.values())
    ]
    assert shown == tested


@pytest.mark.parametrize("node_type", TYPES, ids=lambda t: t.name)
def test_a_page_names_every_param(node_type):
    page = PAGES[f"nodes/{node_type.name}.md"]
    for name, known in node_type.params.model_fields.items():
        (line,) = re.findall(rf"^\| `{name}` \|.*$", page, re.M)
        assert str(known.description).replace("`", "") in line.replace("`", "")


def test_every_test_of_conditions_is_explained():
    assert list(MEANINGS) == list(TESTS)


class Sample(Params):
    number: float | None = field(None, help="x")
    names: list[str] = field([], help="x")
    table: dict[str, list[int]] = field({}, help="x")
    sure: bool = field(False, help="x")
    one: list["Sample"] = field([], help="x")


def test_types_are_said_in_plain_words():
    properties = Sample.model_json_schema()["$defs"]["Sample"]["properties"]
    assert {name: kind_of(known) for name, known in properties.items()} == {
        "number": "number or null",
        "names": "list of text",
        "table": "object of list of whole number",
        "sure": "true or false",
        "one": "list of [Sample](#sample)",
    }


def test_what_the_tutorial_shows_runs():
    text = TUTORIAL.read_text(encoding="utf-8")
    module = ModuleType("tutorial")
    sys.modules[module.__name__] = module
    try:
        for found in re.finditer(r"^```python runnable\n(.*?)^```$", text, re.S | re.M):
            # Empty lines before it, so that an error names the line of the page.
            before = "\n" * text.count("\n", 0, found.start(1))
            exec(compile(before + found[1], str(TUTORIAL), "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]
    assert len(re.findall(r"^```python", text, re.M)) == len(re.findall(r"^```python runnable$", text, re.M)) >= 10
