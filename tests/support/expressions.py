"""Computing one expression in a test."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import ExpressionError
from engine.expressions import Scope, parse

NOW = "2026-03-15T12:00:00+00:00"


class Rows:
    """An earlier node's rows, as `node("Label")` sees them: row n of it is what item n came from."""

    def __init__(self, items: Sequence[dict[str, Any]]) -> None:
        self.items = items

    def item(self, index: int) -> dict[str, Any]:
        return self.items[index]

    @property
    def first(self) -> dict[str, Any]:
        return self.items[0]

    @property
    def last(self) -> dict[str, Any]:
        return self.items[-1]


def scope(
    item: dict[str, Any] | None = None,
    *,
    nodes: Mapping[str, Sequence[dict[str, Any]]] | None = None,
    **more: Any,
) -> Scope:
    """A scope with what a test needs; `nodes`: label -> rows."""
    more.setdefault("now", NOW)
    return Scope(item=item, node=lambda label: Rows((nodes or {})[label]), **more)


def value_of(text: str, item: dict[str, Any] | None = None, **more: Any) -> Any:
    """The value of a text with braces; of an expression, if it has none."""
    parsed = parse(text if "{{" in text else "{{ " + text + " }}")
    assert parsed is not None
    return parsed.evaluate(scope(item, **more))


def error_of(text: str, item: dict[str, Any] | None = None, **more: Any) -> ExpressionError:
    """The error of a text or expression that must fail, when parsed or when computed."""
    try:
        value = value_of(text, item, **more)
    except ExpressionError as exc:
        return exc
    raise AssertionError(f"{text!r} gave {value!r}")
