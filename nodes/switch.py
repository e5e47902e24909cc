"""Sends items one of many ways."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from engine.api import Context, Items, Outputs, Params, field, node
from nodes.conditions import Combine, Condition, decide

FALLBACK = "fallback"


class Case(BaseModel):
    """One way out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = field(help="Name of the output.", min_length=1, max_length=40, expressions=False)
    conditions: list[Condition] = field(help="Tests on each item.", min_length=1)
    combine: Combine = field("all", help="Whether an item has to pass all of the tests, or any one.")


class SwitchParams(Params):
    cases: list[Case] = field(
        help="Tried from first to last; an item leaves by the first case it passes.", min_length=1
    )

    @field_validator("cases")
    @classmethod
    def _names(cls, cases: list[Case]) -> list[Case]:
        names = [case.name for case in cases]
        for name in names:
            if names.count(name) > 1 or name in (FALLBACK, "error"):
                raise ValueError(f"the output name {name!r} is taken: each case needs its own")
        return cases


def outputs(params: Mapping[str, Any]) -> list[str]:
    """The names of the cases, and `fallback`."""
    cases = params.get("cases")
    names = [c["name"] for c in cases if isinstance(c, dict) and "name" in c] if isinstance(cases, list) else []
    return [*map(str, names), FALLBACK]


@node("core.switch", group="flow", effects="pure", outputs=outputs, keywords=("branch", "case", "route", "condition"))
def switch(ctx: Context, items: Items, params: SwitchParams) -> Outputs:
    """Send each item to the first case it passes, or to `fallback`.

    Example:
      params:
        cases:
          - name: big
            conditions: [{value: "{{ item.total }}", test: greater_or_equal, other: 1000}]
          - name: small
            conditions: [{value: "{{ item.total }}", test: less_than, other: 50}]
      main: [{total: 2000}, {total: 500}, {total: 20}]
      gives:
        big: [{total: 2000}]
        small: [{total: 20}]
        fallback: [{total: 500}]
    """
    chosen: list[str | None] = [FALLBACK] * len(items)
    for case in params.cases:
        for index, verdict in enumerate(decide(ctx, items, case.conditions, case.combine)):
            if verdict is None:
                chosen[index] = None
            elif verdict and chosen[index] == FALLBACK:
                chosen[index] = case.name
    names = [*(case.name for case in params.cases), FALLBACK]
    return {name: items.take([i for i, way in enumerate(chosen) if way == name]) for name in names}
