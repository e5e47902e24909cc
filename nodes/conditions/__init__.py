"""The tests that If, Switch and Filter share: one vocabulary, one meaning."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from engine.api import Context, Items, MissingValue, NodeError, Params, PerItemOrMissing, field
from nodes.conditions.vocabulary import ALONE, PREPARED, TESTS, Test

__all__ = ["Combine", "Condition", "decide"]

Combine = Literal["all", "any"]


class Condition(Params):
    """One test on a value of each item."""

    value: PerItemOrMissing[Any] = field(help="What to look at, such as {{ item.total }}.")
    test: Test = field(help="How to compare. A number written as text counts as one beside a number.")
    other: PerItemOrMissing[Any] = field(
        None,
        help="What to compare with. is_empty, is_true, exists and the like need nothing.",
        label="Compare with",
    )

    @field_validator("other")
    @classmethod
    def _usable(cls, other: PerItemOrMissing[Any], info: ValidationInfo) -> PerItemOrMissing[Any]:
        if other.constant and other[0] is not None and info.data.get("test") in PREPARED:
            try:
                PREPARED[info.data["test"]](other[0])
            except NodeError as exc:
                raise ValueError(f"{exc.message}. {exc.hint}" if exc.hint else exc.message) from exc
        return other

    @model_validator(mode="after")
    def _has_other(self) -> "Condition":
        may_be_null = (*ALONE, "equals", "not_equals")
        if self.test not in may_be_null and self.other.constant and self.other[0] is None:
            raise ValueError(f"{self.test} needs `other`: what to compare with")
        return self


def decide(
    ctx: Context,
    items: Items,
    conditions: Sequence[Condition],
    combine: Combine,
    *,
    indexes: Sequence[int] | None = None,
    param: str = "conditions",
) -> tuple[list[int], list[int]]:
    """Indexes of the items that pass all (or any) of the conditions, and of those that do not.

    An item that cannot be tested is given up, and in neither. Conditions are tried in order, no further than needed.

    Args:
        indexes: of the items to look at; None means all.
        param: where the conditions stand in the params, for errors.
    """
    undecided: Sequence[int] = range(len(items)) if indexes is None else indexes
    goes_on = combine == "all"
    decided: list[int] = []
    for number, condition in enumerate(conditions):
        verdict_of = _tester(condition, len(items))
        remaining: list[int] = []
        for index in undecided:
            try:
                verdict = verdict_of(index)
            except NodeError as exc:
                exc.param = exc.param or f"{param}[{number}].value"
                ctx.reject(index, exc)
                continue
            (remaining if verdict is goes_on else decided).append(index)
        undecided = remaining
    decided.sort()
    return (list(undecided), decided) if goes_on else (decided, list(undecided))


def _tester(condition: Condition, count: int) -> Callable[[int], bool]:
    """What the condition says of the item at an index."""
    test, holds, prepare = condition.test, TESTS[condition.test], PREPARED.get(condition.test)
    values, others = condition.value.values(count), condition.other.values(count)
    if prepare and condition.other.constant and count:
        others, prepare = [prepare(others[0])] * count, None

    def verdict_of(index: int) -> bool:
        value, other = values[index], others[index]
        if isinstance(value, MissingValue):
            return _of_missing(test, value)
        if isinstance(other, MissingValue):
            if test not in ALONE:
                raise other
        elif prepare:
            other = prepare(other)
        return holds(value, other)

    return verdict_of


def _of_missing(test: Test, error: MissingValue) -> bool:
    """What a test says of a field that is not there: most cannot say anything."""
    if test in ("exists", "is_not_empty"):
        return False
    if test == "is_empty":
        return True
    raise error
