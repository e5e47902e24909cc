"""Puts items in order."""

from typing import Any, Literal

from engine.api import Context, Items, Params, column_of, node, order_key
from engine.api import field as form_field


class Key(Params):
    """One field to sort by."""

    field: str = form_field(help="Name of the field, or a path such as body.total.", min_length=1)
    order: Literal["ascending", "descending"] = form_field("ascending", help="Smallest or largest first.")


class SortParams(Params):
    by: list[Key] = form_field(help="Fields to sort by; later ones decide between equal ones.", min_length=1)
    ignore_case: bool = form_field(False, help="Whether small and capital letters are the same; else A to Z, a to z.")


@node("core.sort", group="transform", effects="pure", keywords=("order", "rank", "ascending", "descending"))
def sort(ctx: Context, items: Items, params: SortParams) -> Items:
    """Put items in order of their fields; equal ones keep their places, and null comes last.

    Where a field holds values of several types, numbers come first, then text, then false and true, then the rest. A
    missing field counts as null.

    Example:
      params: {by: [{field: total, order: descending}]}
      main: [{total: 1}, {total: 3}, {total: 2}]
      gives: [{total: 3}, {total: 2}, {total: 1}]
    """
    indexes = list(range(len(items)))
    for key in reversed(params.by):
        values = _sortable(column_of(items, key.field), params.ignore_case)
        present = [index for index in indexes if values[index] is not None]
        # Python's sort keeps the places of equal elements, in reverse too.
        present.sort(key=values.__getitem__, reverse=key.order == "descending")
        indexes = present + [index for index in indexes if values[index] is None]
    return items.take(indexes)


def _sortable(values: list[Any], ignore_case: bool) -> list[Any]:
    """Values that can be compared with each other; null stays null."""
    if ignore_case:
        values = [value.casefold() if isinstance(value, str) else value for value in values]
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {int, float} or kinds == {str} or kinds == {bool}:
        return values
    return [None if value is None else order_key(value) for value in values]
