"""Counts, sums and groups items."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import Any, Literal

from pydantic import model_validator

from engine.api import Context, Groups, Items, Lineage, NodeError, Params, column_of, match_key, node
from engine.api import field as form_field
from engine.convert import type_name

Function = Literal["count", "sum", "mean", "median", "min", "max", "distinct", "first", "last", "list"]
NUMERIC = ("sum", "mean", "median")


class Figure(Params):
    """One figure of each group."""

    function: Function = form_field(help="What to work out; null is left out. distinct counts different values.")
    field: str | None = form_field(
        None, help="Of which field, by name or a path such as body.total; count without one counts items."
    )
    name: str | None = form_field(None, help="Name of the new field; nothing makes one, such as sum_total.")

    @model_validator(mode="after")
    def _of_a_field(self) -> "Figure":
        if not self.field and self.function != "count":
            raise ValueError(f"{self.function} needs a field")
        return self


class SummarizeParams(Params):
    group_by: list[str] = form_field([], help="Fields whose values make the groups; none takes all items together.")
    figures: list[Figure] = form_field(
        [Figure(function="count")], help="What to work out for each group.", min_length=1
    )


@node(
    "core.summarize",
    group="transform",
    effects="pure",
    keywords=("group", "count", "sum", "average", "aggregate", "pivot", "total", "statistics"),
)
def summarize(ctx: Context, items: Items, params: SummarizeParams) -> Items:
    """Work out figures over all items, or for each group of them, in the order the groups first appear.

    A missing field counts as null, and null makes a group of its own. Over no values, sum and count are 0, a list is
    empty, and the others are null.

    Example:
      params:
        group_by: [country]
        figures: [{function: sum, field: total}, {function: count}]
      main: [{country: DE, total: 2}, {country: FR, total: 5}, {country: DE, total: 3}]
      gives: [{country: DE, sum_total: 5, count: 2}, {country: FR, sum_total: 5, count: 1}]
    """
    if not items:
        return items
    names = _names(items, params)
    keys = [column_of(items, name) for name in params.group_by]
    columns = {figure.field: column_of(items, figure.field) for figure in params.figures if figure.field}
    given_up = _without_number(ctx, params, columns)
    codes, firsts = _groups(keys, len(items), given_up)
    made: list[list[Any]] = [[column[index] for index in firsts] for column in keys]
    members: dict[str | None, list[list[Any]]] = {}
    for figure in params.figures:
        if figure.field not in members:
            members[figure.field] = _members(columns.get(figure.field or ""), codes, len(firsts))
        made.append([_worked_out(figure, values) for values in members[figure.field]])
    rows = [dict(zip(names, values, strict=True)) for values in zip(*made, strict=True)]
    return Items(rows, lineage=Lineage({"main": Groups(codes)}))


def _names(items: Items, params: SummarizeParams) -> list[str]:
    """Names of the new fields; that of a path is its last part."""
    known = set(items.fields)

    def last(name: str) -> str:
        return name if name in known else name.rpartition(".")[2]

    figures = [f.name or (f"{f.function}_{last(f.field)}" if f.field else "count") for f in params.figures]
    names = [*map(last, params.group_by), *figures]
    for name in names:
        if names.count(name) > 1:
            raise NodeError(
                f"two fields of the result are called {name!r}",
                hint="Leave one out, or give a figure another name.",
                retryable=False,
            )
    return names


def _without_number(ctx: Context, params: SummarizeParams, columns: Mapping[str, list[Any]]) -> set[int]:
    """Give up the items that hold something else where a number is needed."""
    given_up: set[int] = set()
    for place, figure in enumerate(params.figures):
        values = columns[figure.field] if figure.field and figure.function in NUMERIC else []
        if set(map(type, values)) <= {int, float, type(None)}:
            continue
        for index, value in enumerate(values):
            if type(value) in (int, float, type(None)) or index in given_up:
                continue
            error = NodeError(
                f"{figure.function} needs numbers, and {figure.field} of item {index} is {type_name(value)}",
                hint="Convert it before with a Set node, such as {{ item.%s | float }}." % figure.field,  # noqa: UP031
                retryable=False,
            )
            error.param = f"figures[{place}].field"
            ctx.reject(index, error)
            given_up.add(index)
    return given_up


def _groups(keys: Sequence[list[Any]], count: int, given_up: set[int]) -> tuple[list[int], list[int]]:
    """The number of each item's group, -1 for none; and the first item of each group."""
    if not keys and not given_up:
        return [0] * count, [0]
    comparable = [list(map(match_key, column)) if _mixed(column) else column for column in keys]
    together = list(zip(*comparable, strict=True)) or [()] * count
    of_item: Sequence[Hashable] = comparable[0] if len(keys) == 1 else together
    seen: dict[Hashable, int] = {}
    codes: list[int] = []
    firsts: list[int] = []
    for index, key in enumerate(of_item):
        if index in given_up:
            codes.append(-1)
            continue
        code = seen.setdefault(key, len(firsts))
        if code == len(firsts):
            firsts.append(index)
        codes.append(code)
    return codes, firsts


def _mixed(values: list[Any]) -> bool:
    """Whether they hold what cannot be hashed, or is equal in Python only, as 1 and true are."""
    return not set(map(type, values)) <= {str, int, float, type(None)}


def _members(values: list[Any] | None, codes: Sequence[int], groups: int) -> list[list[Any]]:
    """The values of each group that are not null; without values, one for each item."""
    found: list[list[Any]] = [[] for _ in range(groups)]
    for code, value in zip(codes, values if values is not None else [True] * len(codes), strict=True):
        if value is not None and code >= 0:
            found[code].append(value)
    return found


def _worked_out(figure: Figure, values: list[Any]) -> Any:
    try:
        value = FUNCTIONS[figure.function](values)
    except TypeError as exc:
        kinds = " and ".join(sorted({type_name(value) for value in values}))
        raise NodeError(
            f"{figure.function} needs numbers only, or text only, and {figure.field} holds {kinds}",
            hint="Convert the values before with a Set node, or filter the items.",
            retryable=False,
        ) from exc
    except OverflowError:
        value = math.inf
    if isinstance(value, float) and not math.isfinite(value):
        raise NodeError(f"the {figure.function} of {figure.field} is too large for a number", retryable=False)
    return value


def _sum(values: list[Any]) -> float:
    """Whole numbers exactly; of others the shortest number that their own rounding leaves open: 0.1 and 0.2 make 0.3.

    Each of them stands for a decimal number up to 2**-53 of it away, and the order of the items makes no difference.
    """
    if set(map(type, values)) <= {int}:
        return int(sum(values))
    exact = math.fsum(values)
    slack = math.fsum(map(abs, values)) * 2.0**-53 + math.ulp(exact) / 2
    if slack > abs(exact) * 1e-9:  # large numbers that cancel out: what is left is not noise
        return exact
    shorter = (round(exact, digits) for digits in range(16))
    return next((number for number in shorter if abs(number - exact) <= slack), exact)


def _extreme(pick: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def extreme(values: list[Any]) -> Any:
        kinds = set(map(type, values))
        if not (kinds <= {int, float} or kinds == {str} or kinds == {bool}):
            raise TypeError
        return pick(values) if values else None

    return extreme


FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "sum": _sum,
    "mean": lambda values: _sum(values) / len(values) if values else None,
    "median": lambda values: median(values) if values else None,
    "min": _extreme(min),
    "max": _extreme(max),
    "distinct": lambda values: len(set(map(match_key, values) if _mixed(values) else values)),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "list": list,
}
