"""Counts, sums and groups items."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from engine.api import Context, Groups, Items, Lineage, NodeError, Params, did_you_mean, node
from engine.api import field as form_field
from engine.convert import items_from_frame

Function = Literal["count", "sum", "mean", "median", "min", "max", "distinct", "first", "last", "list"]
NUMERIC = ("sum", "mean", "median")
PANDAS = {"distinct": "nunique"}


class Figure(BaseModel):
    """One figure of each group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: Function = form_field(help="What to work out; null is left out.")
    field: str | None = form_field(None, help="Of which field; count without one counts items.")
    name: str | None = form_field(None, help="Name of the new field; nothing makes one, such as sum_total.")

    @model_validator(mode="after")
    def _of_a_field(self) -> "Figure":
        if self.field is None and self.function != "count":
            raise ValueError(f"{self.function} needs a field")
        return self

    @property
    def into(self) -> str:
        """Name of the new field."""
        return self.name or (f"{self.function}_{self.field}" if self.field else "count")


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

    Example:
      params:
        group_by: [country]
        figures: [{function: sum, field: total}, {function: count}]
      main: [{country: DE, total: 2}, {country: FR, total: 5}, {country: DE, total: 3}]
      gives: [{country: DE, sum_total: 5, count: 2}, {country: FR, sum_total: 5, count: 1}]
    """
    import pandas as pd  # noqa: PLC0415  0.35 s

    _known(items, params)
    frame = _columns(items, params)
    keys = [frame[name] for name in params.group_by]
    codes = pd.Series(0, index=frame.index) if not keys else frame.groupby(keys, sort=False, dropna=False).ngroup()
    groups = frame.groupby(codes.to_numpy(), sort=True)
    made: dict[str, Any] = {name: groups[name].nth(0).set_axis(groups.size().index) for name in params.group_by}
    for figure in params.figures:
        made[figure.into] = _figure(groups, figure)
    summary = items_from_frame(pd.DataFrame(made))
    return summary.with_lineage(Lineage({"main": Groups(codes.to_list())}))


def _known(items: Items, params: SummarizeParams) -> None:
    """Refuse fields that no item has, and figures of one name."""
    known = items.fields
    for name in [*params.group_by, *(f.field for f in params.figures if f.field)]:
        if name not in known:
            raise NodeError(f"no item has the field {name!r}", hint=did_you_mean(name, known), retryable=False)
    names = [*params.group_by, *(figure.into for figure in params.figures)]
    for name in names:
        if names.count(name) > 1:
            raise NodeError(f"two fields of the result are called {name!r}", hint="Give one a name.", retryable=False)


def _columns(items: Items, params: SummarizeParams) -> Any:
    """A frame of the fields that are needed; where types are mixed, numbers are refused what text is in them."""
    import pandas as pd  # noqa: PLC0415

    needed = list(dict.fromkeys([*params.group_by, *(f.field for f in params.figures if f.field)]))
    frame = items.frame(needed)
    for name in needed:
        if frame[name].dtype == object:
            frame[name] = _hashable(frame[name].to_list())
    numeric = {name for name in needed if _is_numeric(frame[name])}
    for figure in params.figures:
        if figure.function in NUMERIC and figure.field not in numeric:
            index, value = _not_a_number(items.column(str(figure.field)))
            raise NodeError(
                f"{figure.function} needs numbers, and {figure.field} of item {index} is {value!r}",
                hint="Convert it before, for example with a Set node and | float.",
                item_index=index,
                retryable=False,
            )
    return frame


def _not_a_number(values: list[Any]) -> tuple[int, Any]:
    for index, value in enumerate(values):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            return index, value
    return 0, None


def _is_numeric(column: Any) -> bool:
    import pandas as pd  # noqa: PLC0415

    kind = column.dtype
    is_number = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    return is_number or (kind == object and column.isna().all())


def _hashable(values: list[Any]) -> Any:
    """A column of mixed types: numbers where whole ones and fractions are mixed, else objects."""
    import pandas as pd  # noqa: PLC0415

    if {type(value) for value in values} <= {int, float, type(None)}:
        return pd.array([None if value is None else float(value) for value in values], dtype="Float64")
    return pd.Series(values, dtype=object)


def _figure(groups: Any, figure: Figure) -> Any:
    """One figure for each group."""
    if figure.field is None:
        return groups.size()
    column = groups[figure.field]
    try:
        if figure.function == "list":
            return column.apply(lambda values: values.dropna().to_list())
        return column.agg(PANDAS.get(figure.function, figure.function))
    except TypeError as exc:
        raise NodeError(
            f"{figure.function} cannot compare the values of {figure.field}: they are of different types",
            hint="Convert them before, for example with a Set node.",
            retryable=False,
        ) from exc
