"""Puts items in order."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.api import Context, Items, NodeError, Params, did_you_mean, node
from engine.api import field as form_field


class Key(BaseModel):
    """One field to sort by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str = form_field(help="Name of the field.", min_length=1)
    order: Literal["ascending", "descending"] = form_field("ascending", help="Smallest or largest first.")


class SortParams(Params):
    by: list[Key] = form_field(help="Fields to sort by; later ones decide between equal ones.", min_length=1)


@node("core.sort", group="transform", effects="pure", keywords=("order", "rank", "ascending", "descending"))
def sort(ctx: Context, items: Items, params: SortParams) -> Items:
    """Put items in order of their fields; those that are equal keep their order, and null comes last.

    Numbers come before text, text before everything else.

    Example:
      params: {by: [{field: total, order: descending}]}
      main: [{total: 1}, {total: 3}, {total: 2}]
      gives: [{total: 3}, {total: 2}, {total: 1}]
    """
    import pandas as pd  # noqa: PLC0415  0.35 s

    known = items.fields
    for key in params.by:
        if items and key.field not in known:
            raise NodeError(
                f"no item has the field {key.field!r}", hint=did_you_mean(key.field, known), retryable=False
            )
    frame = pd.DataFrame(index=pd.RangeIndex(len(items)))
    for position, key in enumerate(params.by):
        frame[position] = _sortable(items.column(key.field))
    ordered = frame.sort_values(
        list(frame.columns),
        ascending=[key.order == "ascending" for key in params.by],
        kind="stable",
        na_position="last",
    )
    return items.take(ordered.index.to_list())


def _sortable(values: list[Any]) -> "Any":
    """Values as a column that pandas can order: as they are, or as their rank where types are mixed."""
    import pandas as pd  # noqa: PLC0415

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int} and all(abs(v) < 2**63 for v in values if v is not None):
        return pd.array(values, dtype="Int64")
    if kinds <= {float} or kinds <= {str} or kinds <= {bool}:
        return pd.array(
            values, dtype={str: "string[pyarrow]", bool: "boolean"}.get(next(iter(kinds), float), "Float64")
        )
    present = [value for value in values if value is not None]
    ranks: dict[Any, int] = {key: place for place, key in enumerate(sorted({_rank(v) for v in present}))}
    return pd.array([None if v is None else ranks[_rank(v)] for v in values], dtype="Int64")


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, (int, float)):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, repr(value))
