"""Sends items one of many ways."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import field_validator

from engine.api import Context, Items, Outputs, Params, field, node
from nodes.conditions import Combine, Condition, decide

FALLBACK = "fallback"
TAKEN = {FALLBACK: "items that pass no case leave by it", "error": "failing items may leave by it"}


class Case(Params):
    """One way out, and who takes it."""

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
            if name in TAKEN:
                raise ValueError(f"no case can be called {name!r}: {TAKEN[name]}")
            if names.count(name) > 1:
                raise ValueError(f"two cases are called {name!r}: each needs a name of its own")
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
    made: Outputs = {}
    left: Sequence[int] = range(len(items))
    for number, case in enumerate(params.cases):
        param = f"cases[{number}].conditions"
        passed, left = decide(ctx, items, case.conditions, case.combine, indexes=left, param=param)
        made[case.name] = items.take(passed)
    return {**made, FALLBACK: items.take(left)}
