"""Items with lineage and files, drawn at random, and what has to be the same after they were stored."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from engine.items import NO_FILES, FileRef, Groups, Items, Lineage
from tests.support.drawn import ROWS, TEXTS, typed

FILES = st.builds(FileRef, key=TEXTS, name=TEXTS, media_type=TEXTS, size_bytes=st.integers(0, 2**40))


def sources(count: int) -> st.SearchStrategy[Any]:
    """Where `count` items came from, of every kind there is."""
    index = st.integers(0, 9)
    return (
        st.none()
        | st.lists(st.integers(-1, 9), min_size=count, max_size=count)
        | st.lists(st.lists(index, max_size=3).map(tuple), min_size=count, max_size=count)
        | st.lists(st.integers(-1, max(count - 1, -1)), max_size=6).map(Groups)
        | st.just(range(count))
    )


def lineages(count: int) -> st.SearchStrategy[Lineage | None]:
    return st.none() | st.dictionaries(TEXTS, sources(count), max_size=3).map(Lineage)


@st.composite
def stored_items(draw: st.DrawFn) -> Items:
    """Items of any JSON rows, as rows or as a table."""
    rows = draw(ROWS)
    of_item = st.just(NO_FILES) | st.dictionaries(TEXTS, FILES, max_size=2)
    files = draw(st.none() | st.lists(of_item, min_size=len(rows), max_size=len(rows)))
    items = Items(rows, files=files, lineage=draw(lineages(len(rows))))
    if items.table is not None and draw(st.booleans()):
        return Items(table=items.table, files=files, lineage=items.lineage)
    return items


def all_of(items: Items) -> Any:
    """All that has to be the same: rows with their types, files, and where each item came from."""
    lineage = items.lineage
    origins = None if lineage is None else [lineage.of(index) for index in range(len(items))]
    return typed(items.rows), [dict(of_item) for of_item in items.files], origins


def million() -> Items:
    """1,000,000 items in a table of 8 columns."""
    chance = np.random.default_rng(7)
    count = 1_000_000
    numbers = {f"n{i}": chance.integers(0, 10**6, count) for i in range(3)} | {"half": chance.random(count)}
    texts = {f"t{i}": pa.array(chance.integers(0, 10**5, count)).cast(pa.string()) for i in range(3)}
    return Items(table=pa.table({**numbers, **texts, "flag": chance.random(count) > 0.5}))
