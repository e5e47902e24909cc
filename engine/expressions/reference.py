"""What an expression may hold, as data and as a page: taken from the library's own docstrings."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, NamedTuple

from engine.expressions.calls import functions as functions  # fills the library
from engine.expressions.library import FILTERS, FUNCTIONS, METHODS, TESTS, Form, Function, signature
from engine.expressions.scope import Scope
from engine.expressions.values import as_json

ITEM: dict[str, Any] = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "city": "London",
    "price": 12.5,
    "qty": 3,
    "tags": ["new", "vip"],
    "address": {"city": "London", "zip": None},
    "created": "2026-03-01T10:30:00Z",
}
ITEMS: list[dict[str, Any]] = [
    ITEM,
    {"name": "Alan Turing", "city": "London", "price": 40, "qty": 1, "tags": []},
    {"name": "Grace Hopper", "city": "New York", "price": 3, "qty": 2, "tags": ["vip"]},
]
VARS: dict[str, Any] = {"rate": 1.19}
NOW = "2026-03-15T12:00:00+00:00"


class Example(NamedTuple):
    """An expression, the names it reads with their values, and what it gives."""

    expression: str
    given: dict[str, Any]
    result: Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing an expression may use. `kind`: name, filter, function, method, test or form."""

    kind: str
    name: str
    signature: str
    group: str
    summary: str
    examples: tuple[Example, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _SampleRows:
    items: Sequence[dict[str, Any]]

    @property
    def first(self) -> dict[str, Any]:
        return self.items[0]

    @property
    def last(self) -> dict[str, Any]:
        return self.items[-1]

    def item(self, index: int) -> dict[str, Any]:
        return self.items[index]


def sample_scope() -> Scope:
    """The scope of the examples."""
    return Scope(
        item=ITEM,
        items=ITEMS,
        node=lambda label: _SampleRows(ITEMS),
        vars=VARS,
        workflow_name="Orders",
        execution_id="e1",
        now=NOW,
    )
