"""Brings two branches together."""

from collections.abc import Hashable, Mapping
from typing import Literal

from pydantic import model_validator

from engine.api import Context, Items, Lineage, NodeError, Params, column_of, field, match_key, node

# Above what both sides hold. A join of items that are all alike gives each with each.
MAX_PAIRS = 1_000_000
Pairs = list[tuple[int, int]]  # left and right index, -1 for none


class FieldPair(Params):
    """A field of the left items and one of the right that have to be equal."""

    left: str = field(help="Field of the left items, by name or a path such as body.id.", min_length=1)
    right: str | None = field(None, help="Field of the right items; nothing takes the same name.")


class MergeParams(Params):
    mode: Literal["append", "join", "position"] = field(
        "append", help="One after the other; by equal fields; or first with first, second with second."
    )
    on: list[FieldPair] = field([], help="Join: fields that have to be equal. Null and missing are equal to nothing.")
    keep: Literal["inner", "left", "outer"] = field(
        "inner", help="Join, position: what stays: pairs only; all left items; all items of both."
    )
    suffix: str = field("_right", help="Put behind a right field whose name the left item has too.", min_length=1)

    @model_validator(mode="after")
    def _fields_to_join(self) -> "MergeParams":
        if self.mode == "join" and not self.on:
            raise ValueError("a join needs `on`: the fields that have to be equal")
        return self


@node(
    "core.merge",
    group="flow",
    effects="pure",
    inputs=("left", "right"),
    keywords=("join", "combine", "append", "union", "lookup", "enrich", "zip"),
)
def merge(ctx: Context, inputs: Mapping[str, Items], params: MergeParams) -> Items:
    """Bring two branches together: append, join by fields, or pair by position.

    A joined item has the left item's fields and then the right item's.

    Example:
      params: {mode: join, on: [{left: customer, right: id}], keep: left}
      left: [{order: 1, customer: 7}, {order: 2, customer: 9}]
      right: [{id: 7, name: Ada}]
      gives: [{order: 1, customer: 7, id: 7, name: Ada}, {order: 2, customer: 9}]
    """
    left, right = inputs["left"], inputs["right"]
    if params.mode == "append":
        pairs: Pairs = [(i, -1) for i in range(len(left))] + [(-1, i) for i in range(len(right))]
        whole = Items.concat([left, right])
    else:
        pairs = _by_position(left, right, params) if params.mode == "position" else _by_fields(left, right, params)
        whole = _paired(left, right, pairs, params)
    lineage = Lineage({"left": [pair[0] for pair in pairs], "right": [pair[1] for pair in pairs]})
    return whole.with_lineage(lineage)


def _by_position(left: Items, right: Items, params: MergeParams) -> Pairs:
    both = min(len(left), len(right))
    pairs: Pairs = [(i, i) for i in range(both)]
    if params.keep != "inner":
        pairs += [(i, -1) for i in range(both, len(left))]
    if params.keep == "outer":
        pairs += [(-1, i) for i in range(both, len(right))]
    return pairs


def _by_fields(left: Items, right: Items, params: MergeParams) -> Pairs:
    """Pairs in the order of the left items, then of the right; last the right items without a partner."""
    left_keys = _keys(left, [on.left for on in params.on], "left item")
    right_keys = _keys(right, [on.right or on.left for on in params.on], "right item")
    partners: dict[Hashable, list[int]] = {}
    for index, key in enumerate(right_keys):
        if key is not None:
            partners.setdefault(key, []).append(index)
    count = sum(len(partners.get(key, ())) for key in left_keys)
    if count > MAX_PAIRS + len(left) + len(right):
        raise NodeError(
            f"the join would give {count:,} items: many have equal {' and '.join(on.left for on in params.on)}",
            hint="Join by more fields, or leave only one item of each kind on one side.",
            retryable=False,
        )
    pairs: Pairs = []
    for index, key in enumerate(left_keys):
        found = partners.get(key, ())
        pairs += [(index, other) for other in found]
        if not found and params.keep != "inner":
            pairs.append((index, -1))
    if params.keep == "outer":
        met = {pair[1] for pair in pairs}
        pairs += [(-1, index) for index in range(len(right)) if index not in met]
    return pairs


def _keys(items: Items, names: list[str], what: str) -> list[Hashable]:
    """What each item is joined by; None where one of the fields is null or missing."""
    columns = [map(match_key, column_of(items, name, what=what)) for name in names]
    return [None if None in values else values for values in zip(*columns, strict=True)]


def _paired(left: Items, right: Items, pairs: Pairs, params: MergeParams) -> Items:
    same = {on.left for on in params.on if (on.right or on.left) == on.left}
    rows = []
    for one, other in pairs:
        row = dict(left.rows[one]) if one >= 0 else {}
        for name, value in right.rows[other].items() if other >= 0 else ():
            if name in row and name in same:
                continue
            free = name
            while free in row:
                free += params.suffix
            row[free] = value
        rows.append(row)
    lefts, rights = left.files, right.files
    files = [{**(lefts[i] if i >= 0 else {}), **(rights[j] if j >= 0 else {})} for i, j in pairs]
    return Items(rows, files=files if any(files) else None)
