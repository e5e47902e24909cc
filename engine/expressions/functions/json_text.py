"""JSON: values to text and back."""

from typing import Any

import orjson

from engine.errors import ExpressionError
from engine.expressions.library import offered
from engine.expressions.scope import Scope, written

offer = offered("JSON", cost=10)


@offer("filter", aliases=("to_json",))
def tojson(scope: Scope, value: Any, indent: int | None = None) -> str:
    """The value as JSON; compact, or indented by so many spaces, at most 8.

    >>> item.tags | tojson
    "[\\"new\\",\\"vip\\"]"
    """
    if indent is not None and not 0 <= indent <= 8:
        raise ExpressionError("tojson indents by 0 to 8 spaces")
    return written(value, scope, indent or 0)


@offer("filter", aliases=("fromjson",))
def from_json(scope: Scope, text: str) -> Any:
    """The value that the JSON text stands for.

    >>> '{"total": 3}' | from_json
    {"total": 3}
    """
    scope.text(len(text))
    # Every element but the first of its list follows a comma: never more elements than these marks.
    scope.elements(sum(map(text.count, ",[{:")))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise ExpressionError(f"this text is no JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
