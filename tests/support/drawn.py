"""Data and workflows drawn at random, for tests of what has to hold for all of them."""

from typing import Any

from hypothesis import strategies as st

from engine.workflow import Connection, Node, Note, Retry, Settings, Workflow

# Half a surrogate pair is text that JSON can write and UTF-8 cannot.
TEXTS = st.text(max_size=6) | st.sampled_from(["", "\ud800", "a\udc00b", "\x00", "é", "e\u0301", "𝄞", "a.b", "(item)"])
WHOLE_NUMBERS = st.integers() | st.sampled_from([0, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**30, -(10**30)])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, 1e300, 5e-324])
SINGLES = st.none() | st.booleans() | WHOLE_NUMBERS | NUMBERS | TEXTS
VALUES = st.recursive(
    SINGLES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
ROW = st.dictionaries(TEXTS, VALUES, max_size=4)
# Columns of one type, nulls among them: what a table can hold, if numbers and texts allow.
KINDS = [st.none(), *(st.none() | kind for kind in (st.booleans(), WHOLE_NUMBERS, NUMBERS, TEXTS))]


@st.composite
def even_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows that all have the same fields, each of one type."""
    count = draw(st.integers(1, 5))
    fields = draw(st.dictionaries(TEXTS, st.sampled_from(KINDS), min_size=1, max_size=4))
    columns = {name: draw(st.lists(kind, min_size=count, max_size=count)) for name, kind in fields.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


ROWS = st.lists(ROW, max_size=5) | even_rows()


def typed(value: Any) -> Any:
    """The value with the type of every part, so that 1, 1.0 and true differ, as do 0.0 and -0.0."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return type(value), str(value)


POSITIONS = st.tuples(*[st.integers(-500, 500) | st.floats(-500, 500)] * 2)
WORDS = st.sampled_from(["main", "error", "left", "right", "true"])
PARAMS = st.dictionaries(st.sampled_from(["count", "fields", "list", "a/b"]), VALUES, max_size=3)
RETRIES = st.builds(Retry, attempts=st.integers(1, 5), wait_s=st.floats(0, 10), jitter=st.floats(0, 1))


def nodes(ids: st.SearchStrategy[str]) -> st.SearchStrategy[Node]:
    """Nodes whose label is their id in capitals."""
    return ids.flatmap(
        lambda node_id: st.builds(
            Node,
            id=st.just(node_id),
            type=st.sampled_from(["core.set", "core.limit", "shop.order"]),
            type_version=st.integers(1, 3),
            label=st.just(node_id.upper()),
            params=PARAMS,
            disabled=st.booleans(),
            parent=st.none() | st.just("a"),
            pinned=st.none() | st.dictionaries(WORDS, st.lists(ROW, max_size=2), max_size=2),
            on_error=st.sampled_from(["stop", "continue", "output"]),
            on_crash=st.sampled_from(["retry", "stop"]),
            retry=st.none() | RETRIES,
            timeout_s=st.none() | st.floats(0.1, 100),
            note=st.text(max_size=4),
            position=POSITIONS,
        )
    )


SETTINGS = st.builds(
    Settings,
    timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
    priority=st.sampled_from(["high", "default", "low"]),
    concurrency=st.none() | st.integers(1, 5),
    when_full=st.sampled_from(["queue", "skip", "cancel_oldest"]),
)


@st.composite
def workflows(draw: st.DrawFn, names: str = "abcd") -> Workflow:
    """Workflows whose nodes have ids out of `names`; connections are drawn once each, loops among them."""
    ids = draw(st.lists(st.sampled_from(names), unique=True, max_size=len(names)))
    ends = st.sampled_from(ids) if ids else st.nothing()
    arrows = st.lists(
        st.builds(Connection, source=ends, output=WORDS, target=ends, input=WORDS), unique=True, max_size=6
    )
    return Workflow(
        name=draw(st.text(min_size=1, max_size=5)),
        settings=draw(SETTINGS),
        nodes=tuple(draw(nodes(st.just(node_id))) for node_id in ids),
        connections=tuple(draw(arrows)) if ids else (),
        notes=tuple(draw(st.lists(st.builds(Note, id=st.text("xyz", min_size=1), position=POSITIONS), max_size=2))),
    )
