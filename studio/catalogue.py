"""The installed node types as plain data: what the command prints and the API answers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api import NodeType


def catalogue(types: "Iterable[NodeType]") -> list[dict[str, Any]]:
    """The node types; `params` is the JSON Schema of their params."""
    return [
        {
            "type": t.name,
            "version": t.version,
            "label": t.label,
            "group": t.group,
            "effects": t.effects({}),
            "inputs": list(t.inputs),
            "outputs": list(t.outputs({})),
            "summary": t.summary,
            "keywords": list(t.keywords),
            "params": t.schema(),
        }
        for t in types
    ]
