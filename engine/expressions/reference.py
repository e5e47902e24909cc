"""What an expression may hold, as data and as a page: taken from the library's own docstrings."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, NamedTuple

from engine.expressions.expression import parse
from engine.expressions.library import FILTERS, FUNCTIONS, METHODS, TESTS, Form, Function, signature
from engine.expressions.scope import LIST_LIMIT, TEXT_LIMIT, Scope
from engine.expressions.values import as_json
from engine.expressions.words import WORDS

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
    """One thing an expression may use. `kind`: name, filter, function, method or test."""

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


def documented() -> list[Entry]:
    """Every name, filter, function, method and test, in the page's order: by group and name."""
    entries = [_entry(word.kind, word.name, word.signature, word.group, word.text) for word in WORDS]
    entries += [
        _entry(
            form,
            function.name,
            signature(function, form),
            function.group,
            function.call.__doc__ or "",
            function.aliases,
        )
        for form, function in _functions()
    ]
    order = list(_GROUPS)
    return sorted(entries, key=lambda entry: (order.index(entry.group), entry.group != "names" and entry.name))


def _functions() -> Iterator[tuple[Form, Function]]:
    by_form: dict[Form, list[Function]] = {
        "filter": list(FILTERS.values()),
        "function": list(FUNCTIONS.values()),
        "method": [function for kinds in METHODS.values() for function in kinds.values()],
        "test": list(TESTS.values()),
    }
    for form, functions in by_form.items():
        # An alias is the same function under another key.
        for function in dict.fromkeys(functions):
            yield form, function


def _entry(kind: str, name: str, form: str, group: str, text: str, aliases: tuple[str, ...] = ()) -> Entry:
    summary, *examples = cleandoc(text).split(">>> ")
    return Entry(kind, name, form, group, " ".join(summary.split()), tuple(map(_example, examples)), aliases)


def _example(lines: str) -> Example:
    expression, result = lines.strip().split("\n", 1)
    parsed = parse("{{ " + expression + " }}")
    uses = parsed.uses if parsed else frozenset()
    sample: dict[str, Any] = {"item": ITEM, "items": ITEMS, "vars": VARS, "now": NOW}
    return Example(expression, {name: value for name, value in sample.items() if name in uses}, json.loads(result))


def reference_page() -> str:
    """The page on expressions, in Markdown."""
    sections = [_INTRODUCTION.format(item=as_json(ITEM, indent=2), texts=f"{TEXT_LIMIT:,}", elements=f"{LIST_LIMIT:,}")]
    entries = documented()
    for group, title in _GROUPS.items():
        sections.append(f"## {title}\n\n" + "\n".join(_sections([entry for entry in entries if entry.group == group])))
    return "\n\n".join(sections) + "\n"


def _sections(entries: Sequence[Entry]) -> Iterator[str]:
    """One paragraph for each name; its forms, where they say the same, in one."""
    merged: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        merged.setdefault((entry.name, entry.summary), []).append(entry)
    for (name, summary), forms in merged.items():
        first = forms[0]
        also = f" Also `{'`, `'.join(first.aliases)}`." if first.aliases else ""
        shown = ", ".join(f"`{form.signature}`" for form in forms)
        yield f"- **{name}**: {shown}  \n  {summary}{also}"
        yield from (
            f"    - `{e.expression}` gives `{json.dumps(e.result, ensure_ascii=False)}`" for e in first.examples
        )


_GROUPS = {
    "names": "Names",
    "logic": "Choosing and testing",
    "text": "Text",
    "number": "Numbers",
    "list": "Lists",
    "object": "Objects",
    "date": "Dates and times",
    "JSON": "JSON",
    "URL": "Addresses",
    "hash": "Hashes and encodings",
}

_INTRODUCTION = """\
# Expressions

A param may hold expressions between `{{{{` and `}}}}`. They are written as in Jinja2 and work on plain JSON data.

- A param that is one expression keeps the value's type: `{{{{ item.price }}}}` is a number. In a text around it, values
  are written as text: null is empty, lists and objects are JSON.
- A field is read by `item.name`, or `item["first name"]` for any name; an element by `item.tags[0]`, the last one by
  `[-1]`, some by `[0:2]`. A field goes before a method: `item.items` is the field, `item.items()` the method.
- A field that is missing is an error, which names the nearest field there is. Where a field may be missing, write
  `item.get("phone")` or `item.phone | default("none")`, which also takes null, at any step: `item.a.b.c | default(0)`.
- Operators: `+ - * / // % **` on numbers; `+` also joins two texts or two lists; `~` joins any values as text;
  `== != < <= > >=`, `in`, `not in`, `is`; `and`, `or`, `not`; `a if b else c`. Two numbers or two texts have an order.
  A boolean is no number: `true + 1` is an error. Without `else`, `a if b` gives null.
- A filter binds more tightly than an operator: write `(item.price * item.qty) | round(2)`.
- Values are written as `"text"`, `1`, `2.5`, `true`, `none`, `[1, 2]`, `{{"name": "value"}}`. In a text, `\\n`, `\\r`,
  `\\t`, `\\"`, `\\'`, `\\\\`, `\\xe9` and `\\u00e9` are escapes; any other backslash stays, so that patterns are
  written as usual: `"\\d+"`.
- Statements (`{{% ... %}}`) are not allowed; use an expression or a Code node. For the braces themselves write
  `{{{{ "{{{{" }}}}`.
- A text may have {texts} characters, and a list {elements} elements.

The examples on this page use three items, of which the first is the `item` below, and the variable `rate` of 1.19. The
others are Alan Turing (London, price 40, qty 1, no tags) and Grace Hopper (New York, price 3, qty 2, the tag "vip").

```json
{item}
```"""
